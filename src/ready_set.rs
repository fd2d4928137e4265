//! Which members are ready, found in a few loads among a million.
//!
//! # Two halves
//!
//! | half | who touches it | what it says |
//! |---|---|---|
//! | shared: the `bits` of every [`Node`] | wakers, from any thread; the owner takes | woken since the owner last took |
//! | the owner's: the `ready` bits of [`ReadySet`] | the owner alone, plain memory | worth polling now |
//!
//! A wake sets the member's shared bit. The owner absorbs the shared half into its own before each
//! turn (one load tells that there is nothing to absorb), and only its own half decides whose turn it
//! is. So a member that gives item after item stays ready at no atomic operation at all.
//!
//! **No wake is lost.** The owner clears a member's *own* bit when its poll returned `Pending`; a wake
//! during that poll set the *shared* bit, which stays until it is absorbed, and then the member is
//! ready again. A bit is absorbed by a swap, so whatever the waking thread wrote before its wake is seen
//! by the poll that follows.
//!
//! The owner's half is a plain [`BitSet`]. The shared half is a tree that grows and never moves: a waker,
//! made once, knows its word for ever.
//!
//! # The tree
//!
//! One root word. Its highest bits are members, those below are branches (words whose bits are members),
//! those below branches of branches, and so on. The last bit is the flag [`PARKED`]. With 64-bit words:
//!
//! ```text
//! root bit   45..64   29..45    4..29      3        2        1         0
//! level         0        1        2        3        4        5      PARKED
//! members      19    1,024  102,400     2^18     2^24     2^30
//! ```
//!
//! Keys are given out in this order: a small set is one word, a thousand members are two words deep, a
//! hundred thousand three. Members are *items* of level 0, a branch that holds level-0 items is itself an
//! item of level 1, and so on; on each level the first [`IN_ROOT`] items are bits of the root and the others
//! are grouped by [`BITS`] into branches.
//!
//! A wake goes up only while the word it marked was empty before; whoever made it non-empty marks the
//! word above, so a non-empty word is marked above, or the thread that filled it is about to.
//! The owner goes down, swapping each marked word for zero, the upper one first: a wake that comes
//! between the two swaps is either taken by the lower one, or found the lower word empty and marks the
//! upper one anew.
//!
//! The owner's half counts from [`OFFSET`], so that each word of members is one of its words: key 0 is
//! number 45 there, bits 45..64 of its first word are those of the root, and branch *n* is word *n* + 1.
//!
//! # Parking
//!
//! `PARKED` shares the root word with the bits, so one atomic operation orders *nothing is ready, I
//! sleep* against *this one is ready*:
//!
//! | root before | operation | root after | who must wake the owner's tasks |
//! |---|---|---|---|
//! | 0 | [`park`](ReadySet::park) | `PARKED` | |
//! | bits | `park` | unchanged, refused | |
//! | 0 or bits | a wake | bits | nobody, no one is parked |
//! | `PARKED` | a wake | `PARKED` + bit | this waker |
//! | `PARKED` + bits | a wake | `PARKED` + bits | the waker before, already on its way |
//! | `PARKED` + bits | absorb | 0 | |
//! | `PARKED` (+ bits) | [`unpark`](ReadySet::unpark) | 0 (+ bits) | the caller |
//!
//! Whenever the flag is cleared, someone calls [`WaitList::wake_all`] after it was set.

use crate::bit_set::BitSet;
use crate::sync::{AtomicUsize, Ordering, WORD_BITS as BITS};
use crate::wait_list::WaitList;
use std::fmt;
use std::sync::Arc;
use std::task::Wake;

/// The flag in the root word: a task sleeps until a member is woken.
const PARKED: usize = 1;

/// How many items of each level are bits of the root.
const IN_ROOT: [usize; 6] = match BITS {
    64 => [19, 16, 25, 1, 1, 1],
    32 => [9, 8, 11, 1, 1, 1],
    // In the models.
    _ => [2, 1, 0, 0, 0, 0],
};

const LEVELS: usize = IN_ROOT.len();

/// The root's bit of the first item of each level: the higher the level, the lower.
const FIRST: [usize; LEVELS] = {
    let mut first = [0; LEVELS];
    let (mut level, mut bit) = (0, BITS);
    while level < LEVELS {
        bit -= IN_ROOT[level];
        first[level] = bit;
        level += 1;
    }
    assert!(bit == 1, "all bits but the flag are given out");
    first
};

/// Key 0 in the owner's half, and the bits of the root that are members.
const OFFSET: usize = FIRST[0];
const MEMBERS: usize = !0 << OFFSET;

/// A word of the shared half.
#[derive(Debug)]
struct Node {
    bits: AtomicUsize,
    above: Above,
}

#[derive(Debug)]
enum Above {
    /// This is the root: these tasks are to be woken when it was [`PARKED`].
    Tasks(Arc<WaitList>),
    /// The node above, and this node's mark in it.
    Node { node: Arc<Node>, mark: usize },
}

/// What a member's I/O wakes: sets the member's bit. Made once per key and never changed.
pub(crate) struct MemberWaker {
    node: Arc<Node>,
    mark: usize,
}

impl MemberWaker {
    /// Marks the member ready, and wakes the owner's tasks if they sleep.
    ///
    /// Cost: one atomic read-modify-write; one more for each empty word above (at most 5, and none
    /// for the first 19 members).
    #[inline]
    pub(crate) fn set_ready(&self) {
        let (mut node, mut mark) = (&*self.node, self.mark);
        loop {
            // Ordering: Release pairs with the Acquire swap in `absorb`, so that the poll sees what
            // was written before the wake, also through a bit that was set already (a
            // read-modify-write continues the release sequence). Acquire pairs with the Release in
            // `park`: who sees the flag sees the epoch that the parked task read, as past.
            let before = node.bits.fetch_or(mark, Ordering::AcqRel);
            match &node.above {
                Above::Node { .. } if before != 0 => return,
                Above::Node { node: above, mark: above_mark } => (node, mark) = (above, *above_mark),
                Above::Tasks(tasks) => {
                    if before == PARKED {
                        tasks.wake_all();
                    }
                    return;
                }
            }
        }
    }
}

impl Wake for MemberWaker {
    fn wake(self: Arc<Self>) {
        self.set_ready();
    }

    fn wake_by_ref(self: &Arc<Self>) {
        self.set_ready();
    }
}

/// The owner's half, and the way to the shared one.
pub(crate) struct ReadySet {
    root: Arc<Node>,
    /// `branches[level]` are the words whose bits are items of `level`.
    branches: [Vec<Arc<Node>>; LEVELS - 1],
    /// What is worth polling, counted from [`OFFSET`].
    ready: BitSet,
    /// Keys given out: all below this.
    keys: usize,
}

impl ReadySet {
    /// An empty set, whose wakes are for `tasks`.
    pub(crate) fn new(tasks: Arc<WaitList>) -> Self {
        let mut ready = BitSet::default();
        ready.add_word();
        Self {
            root: Arc::new(Node { bits: AtomicUsize::new(0), above: Above::Tasks(tasks) }),
            branches: [const { Vec::new() }; LEVELS - 1],
            ready,
            keys: 0,
        }
    }

    /// How many keys were given out: all below this.
    #[inline]
    pub(crate) fn keys(&self) -> usize {
        self.keys
    }

    /// Makes room for the next key and returns it with its waker.
    ///
    /// # Panics
    ///
    /// Beyond some 1.1 billion keys (with 32-bit words: 34 million), which the tree does not hold.
    pub(crate) fn add_key(&mut self) -> (usize, Arc<MemberWaker>) {
        let key = self.keys;
        let (node, mark) = self.node_of(0, key);
        self.keys += 1;
        (key, Arc::new(MemberWaker { node, mark }))
    }

    /// The node that holds an item, made if it is the first of its branch, and the item's mark in it.
    fn node_of(&mut self, level: usize, index: usize) -> (Arc<Node>, usize) {
        let Some(grouped) = index.checked_sub(IN_ROOT[level]) else {
            return (Arc::clone(&self.root), 1 << (FIRST[level] + index));
        };
        assert!(level < LEVELS - 1, "no room for more members");
        let (at, bit) = (grouped / BITS, grouped % BITS);
        if at == self.branches[level].len() {
            let (node, mark) = self.node_of(level + 1, at);
            let above = Above::Node { node, mark };
            self.branches[level].push(Arc::new(Node { bits: AtomicUsize::new(0), above }));
            if level == 0 {
                self.ready.add_word();
            }
        }
        (Arc::clone(&self.branches[level][at]), 1 << bit)
    }

    /// Marks `key` ready in the owner's half.
    #[inline]
    pub(crate) fn set(&mut self, key: usize) {
        self.ready.insert(OFFSET + key);
    }

    /// Clears `key` in the owner's half. A wake since the last [`absorb`](Self::absorb) stays.
    #[inline]
    pub(crate) fn clear(&mut self, key: usize) {
        self.ready.remove(OFFSET + key);
    }

    /// Whether any key is marked in the owner's half.
    #[inline]
    pub(crate) fn any(&self) -> bool {
        !self.ready.is_empty()
    }

    /// The first key at `from` or behind it that is marked in the owner's half, or else the first of all.
    #[inline]
    pub(crate) fn next_from(&self, from: usize) -> Option<usize> {
        self.ready.next_from(OFFSET + from).map(|number| number - OFFSET)
    }

    /// Whether `key` was woken since the last [`absorb`](Self::absorb).
    #[inline]
    pub(crate) fn is_woken(&self, key: usize) -> bool {
        // Ordering: only a hint; the wake itself is ordered by the swap that absorbs it.
        let root = self.root.bits.load(Ordering::Relaxed);
        if root & !PARKED == 0 {
            return false;
        }
        let number = OFFSET + key;
        let bits = match (number / BITS).checked_sub(1) {
            None => root,
            Some(branch) => self.branches[0][branch].bits.load(Ordering::Relaxed),
        };
        bits & (1 << (number % BITS)) != 0
    }

    /// Takes all wakes into the owner's half.
    ///
    /// Cost: one load if there are none; else one swap for each marked word.
    #[inline]
    pub(crate) fn absorb(&mut self) {
        // Ordering: a hint; a wake that is not seen here is seen by `park`, a read-modify-write.
        if self.root.bits.load(Ordering::Relaxed) & !PARKED != 0 {
            self.absorb_root();
        }
    }

    fn absorb_root(&mut self) {
        // Ordering: Acquire pairs with the Release in `set_ready`.
        let taken = self.root.bits.swap(0, Ordering::Acquire) & !PARKED;
        if taken & MEMBERS != 0 {
            self.ready.merge(0, taken & MEMBERS);
        }
        let mut branches = taken & !MEMBERS;
        while branches != 0 {
            let bit = branches.trailing_zeros() as usize;
            branches &= branches - 1;
            if bit >= FIRST[1] {
                self.absorb_members(bit - FIRST[1]);
            } else {
                let level = FIRST.iter().position(|&first| bit >= first).expect("the flag is no branch");
                self.absorb_branch(level - 1, bit - FIRST[level]);
            }
        }
    }

    /// Takes the wakes of a branch of members.
    #[inline]
    fn absorb_members(&mut self, at: usize) {
        // Ordering: as in `absorb_root`.
        let taken = self.branches[0][at].bits.swap(0, Ordering::Acquire);
        // Marked above once for each time it became non-empty, and emptied only here.
        debug_assert_ne!(taken, 0);
        self.ready.merge(at + 1, taken);
    }

    /// Takes the wakes of a branch whose items are branches, of `level`.
    fn absorb_branch(&mut self, level: usize, at: usize) {
        // Ordering: as in `absorb_root`.
        let mut taken = self.branches[level][at].bits.swap(0, Ordering::Acquire);
        debug_assert_ne!(taken, 0);
        while taken != 0 {
            let bit = taken.trailing_zeros() as usize;
            taken &= taken - 1;
            let item = IN_ROOT[level] + at * BITS + bit;
            if level == 1 { self.absorb_members(item) } else { self.absorb_branch(level - 1, item) }
        }
    }

    /// Asks wakes to call [`WaitList::wake_all`]. `false` if one has come already: absorb it instead.
    ///
    /// To be called between [`WaitList::epoch`] and [`WaitList::wait`].
    #[inline]
    pub(crate) fn park(&self) -> bool {
        // Ordering: Release pairs with the Acquire in `set_ready`: the epoch was read before. On
        // failure the bits are absorbed by a swap, which acquires.
        match self.root.bits.compare_exchange(0, PARKED, Ordering::Release, Ordering::Relaxed) {
            Ok(_) => true,
            Err(bits) => bits == PARKED,
        }
    }

    /// Whether a task may sleep, and no more: the caller owes it a [`WaitList::wake_all`].
    ///
    /// To be called when something else than a wake gave the owner something to do.
    #[inline]
    #[must_use]
    pub(crate) fn unpark(&self) -> bool {
        // Ordering: the flag is set and cleared by the owner's side only, which orders itself. A
        // wake that takes the flag away is absorbed by the owner, too.
        if self.root.bits.load(Ordering::Relaxed) & PARKED == 0 {
            return false;
        }
        self.root.bits.fetch_and(!PARKED, Ordering::Relaxed) & PARKED != 0
    }
}

impl fmt::Debug for ReadySet {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ReadySet").field("keys", &self.keys).finish_non_exhaustive()
    }
}
