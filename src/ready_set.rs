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
//! One root word; its upper half are members, the quarter below are branches (words whose bits are
//! members), the eighth below branches of branches, and so on. The last bit is the flag [`PARKED`]. With
//! 64-bit words:
//!
//! ```text
//! root bit   32..64   16..32    8..16     4..8     2..4      1         0
//! height        0        1        2        3        4        5      PARKED
//! members      32    1,024   32,768     2^20     2^25     2^30
//! ```
//!
//! Keys are given out in this order, so a small set is one word. Members are *items* of level 0, a branch
//! that holds level-0 items is itself an item of level 1, and so on; on each level the first
//! [`in_root`]`(level)` items are bits of the root and the others are grouped by [`BITS`] into branches.
//!
//! A wake goes up only while the word it marked was empty before; whoever made it non-empty marks the
//! word above, so a non-empty word is marked above, or the thread that filled it is about to.
//! The owner goes down, swapping each marked word for zero, the upper one first: a wake that comes
//! between the two swaps is either taken by the lower one, or found the lower word empty and marks the
//! upper one anew.
//!
//! The owner's half counts from [`OFFSET`], so that each word of members is one of its words: key 0 is
//! number 32 there, bits 32..64 of its first word are those of the root, and branch *n* is word *n* + 1.
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

/// Key 0 in the owner's half, and the bits of the root that are members.
const OFFSET: usize = BITS / 2;
const MEMBERS: usize = !0 << OFFSET;

/// Levels with a share of the root.
const LEVELS: usize = BITS.ilog2() as usize;

/// How many items of `level` are bits of the root, and which bit is the first: half of what is left on each
/// level.
const fn in_root(level: usize) -> usize {
    OFFSET >> level
}

/// The item that is `bit` of the root, as (level, index).
fn root_item(bit: usize) -> (usize, usize) {
    let height = bit.ilog2() as usize;
    (LEVELS - 1 - height, bit - (1 << height))
}

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
    /// for the first 32 members).
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
    /// Beyond some 1.1 billion keys (with 32-bit words: 1.1 million), which the tree does not hold.
    pub(crate) fn add_key(&mut self) -> (usize, Arc<MemberWaker>) {
        let key = self.keys;
        let (node, mark) = self.node_of(0, key);
        self.keys += 1;
        (key, Arc::new(MemberWaker { node, mark }))
    }

    /// The node that holds an item, made if it is the first of its branch, and the item's mark in it.
    fn node_of(&mut self, level: usize, index: usize) -> (Arc<Node>, usize) {
        let Some(grouped) = index.checked_sub(in_root(level)) else {
            return (Arc::clone(&self.root), 1 << (in_root(level) + index));
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
        let mut branches = (taken & !MEMBERS) >> in_root(1);
        while branches != 0 {
            self.absorb_members(branches.trailing_zeros() as usize);
            branches &= branches - 1;
        }
        let mut higher = taken & ((1 << in_root(1)) - 1);
        while higher != 0 {
            let (level, index) = root_item(higher.trailing_zeros() as usize);
            higher &= higher - 1;
            self.absorb_branch(level - 1, index);
        }
    }

    /// Takes the wakes of one branch of members.
    #[inline]
    fn absorb_members(&mut self, at: usize) {
        // Ordering: as in `absorb_root`.
        let taken = self.branches[0][at].bits.swap(0, Ordering::Acquire);
        // Marked above once for each time it became non-empty, and emptied only here.
        debug_assert_ne!(taken, 0);
        self.ready.merge(at + 1, taken);
    }

    fn absorb_branch(&mut self, level: usize, at: usize) {
        if level == 0 {
            return self.absorb_members(at);
        }
        // Ordering: as in `absorb_root`.
        let taken = self.branches[level][at].bits.swap(0, Ordering::Acquire);
        debug_assert_ne!(taken, 0);
        self.absorb_below(level - 1, in_root(level) + at * BITS, taken);
    }

    /// Absorbs the branches that are items `first + b` of the level above, for the bits `b`.
    fn absorb_below(&mut self, level: usize, first: usize, mut bits: usize) {
        while bits != 0 {
            let bit = bits.trailing_zeros() as usize;
            bits &= bits - 1;
            self.absorb_branch(level, first + bit);
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
