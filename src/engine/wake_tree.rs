//! Wakes of members, from any thread, until the owner takes them.
//!
//! # A single wake
//!
//! Usually the owner keeps up: when a member is woken, no other wake is waiting. Such a wake writes its key into the root
//! word, which is one operation for any number of members, and the owner reads the key from the root. Only wakes that come
//! before the owner has taken that key go into the tree.
//!
//! # The tree
//!
//! Each member has a bit in a word of members. These words are the *branches of level 0*. Each branch has a bit in a word of
//! level 1, or in the root, and so on. The tree grows, but its words never move: a waker keeps its word forever. The root
//! word, with 64 bits:
//!
//! ```text
//! root bit   38..64   24..38    23      22      21    1..21      0
//! level         0        1       2       3       4    alone   PARKED
//! members    1,664   57,344   2^18    2^24    2^30
//! ```
//!
//! Keys are assigned in this order. A wake among 1,664 members marks at most two words, and among a hundred thousand members
//! at most four.
//!
//! A wake goes up only while the word that it marked was empty before. The thread that makes a word non-empty also
//! marks the word above. Therefore a non-empty word is marked above, or the thread that filled it is about to mark it.
//! The owner goes down and swaps each marked word for zero, the upper word first. A wake that comes between the swaps
//! of two words is either taken by the swap of the lower word, or finds the lower word empty and marks the upper word
//! again.
//!
//! # When a wake counts
//!
//! A wake goes up until it finds a word that is not empty. A wake that reaches the root counts when it has returned. A wake
//! that stops below the root relies on the thread that filled that word, and may return before that thread reaches the root.
//! If the scheduler stops that thread in between, the owner passes over both members until the thread continues. No wake is
//! lost: an owner that finds no wake parks, and is woken when the mark reaches the root.
//!
//! # Shrinking
//!
//! [`WakeTree::truncate`] removes the branches beyond the last key in use from the tree. When such a key is assigned again,
//! a new branch replaces the removed one. Foreign I/O may keep the old wakers forever. These stale wakers keep the removed
//! branch alive, mark it, and mark the words above it:
//!
//! - *The branch above a branch of the tree is never removed*, because it is kept as long as a branch below it is kept. The
//!   statements above therefore hold for every branch in the tree, and no wake of a present member is lost.
//! - *A removed branch is never emptied again.* It therefore marks the place above it at most once more, however often its
//!   stale wakers are woken.
//! - *The converse does not hold: the branch of a marked place may be empty or missing.* A stale wake marked the place on
//!   behalf of the removed branch. The owner passes over the place. The owner may also find a mark there that a present member
//!   has just set, before the thread of that wake marked the place; in that case the later mark of that thread leads to an
//!   empty branch.
//! - The root may hold the key of a single stale wake, and that key may be beyond the last key.
//!
//! # Parking
//!
//! `PARKED` shares the root word with all wakes. One atomic operation therefore orders *no member is ready, the owner
//! sleeps* against *this member is ready*:
//!
//! | root before | operation | root after | which waker must wake the owner's tasks |
//! |---|---|---|---|
//! | 0 | [`park`](WakeTree::park) | `PARKED` | |
//! | wakes | `park` | unchanged, refused | |
//! | 0 or wakes | a wake | wakes | none: no task is parked |
//! | `PARKED` | a wake | `PARKED` + wake | this waker |
//! | `PARKED` + wakes | a wake | `PARKED` + wakes | the previous waker, which is already about to |
//! | `PARKED` + wakes | [`take`](WakeTree::take) | 0 | |
//! | `PARKED` | `park` | unchanged | |
//!
//! Code that wakes the tasks for another reason leaves the flag set. The next wake then calls [`WaitList::wake_all`],
//! perhaps without need, or the next `park` finds the flag set.

use crate::sync::{AtomicUsize, Ordering, WORD_BITS as BITS};
use crate::wait_list::WaitList;
use std::fmt;
use std::sync::Arc;
use std::task::Wake;

/// The flag in the root word: tasks sleep until a member is woken.
const PARKED: usize = 1;

/// The number of bits in the root that hold the key of a single wake, plus 1. Wakes of members with greater keys always go
/// into the tree.
const ALONE_BITS: usize = match BITS {
    64 => 20,
    32 => 12,
    // In the models.
    _ => 2,
};

const ALONE: usize = ((1 << ALONE_BITS) - 1) << 1;

/// The number of branches of each level that have their bit in the root.
const IN_ROOT: [usize; 5] = match BITS {
    64 => [26, 14, 1, 1, 1],
    32 => [9, 7, 1, 1, 1],
    // In the models.
    _ => [1, 1, 0, 0, 0],
};

const LEVELS: usize = IN_ROOT.len();

/// The root's bit of the first branch of each level. Higher levels have lower bits.
const FIRST: [usize; LEVELS] = {
    let mut first = [0; LEVELS];
    let (mut level, mut bit) = (0, BITS);
    while level < LEVELS {
        bit -= IN_ROOT[level];
        first[level] = bit;
        level += 1;
    }
    assert!(bit == 1 + ALONE_BITS, "all bits of the root are assigned");
    first
};

#[derive(Debug)]
struct Root {
    bits: AtomicUsize,
    /// The tasks to wake if the root was [`PARKED`].
    tasks: Arc<WaitList>,
}

impl Root {
    /// Writes the key into the root, if no other wake is waiting. Otherwise returns `false`.
    #[inline]
    fn mark_alone(&self, key: usize) -> bool {
        if key >= ALONE >> 1 {
            return false;
        }
        // Ordering: the load is a hint, and a failed exchange has no effect. A successful exchange is as in `mark_in_tree`.
        let before = self.bits.load(Ordering::Relaxed);
        let after = before | (key + 1) << 1;
        let is_alone = before & !PARKED == 0
            && self.bits.compare_exchange(before, after, Ordering::AcqRel, Ordering::Relaxed).is_ok();
        if is_alone {
            self.marked(before);
        }
        is_alone
    }

    /// Marks a branch.
    #[inline]
    fn mark(&self, mark: usize) {
        // Ordering: as in `mark_in_tree`.
        self.marked(self.bits.fetch_or(mark, Ordering::AcqRel));
    }

    /// Wakes the owner's tasks, if the root was [`PARKED`] without wakes `before` this wake.
    #[inline]
    fn marked(&self, before: usize) {
        if before == PARKED {
            self.tasks.wake_all();
        }
    }
}

/// A word of the tree.
#[derive(Debug)]
struct Branch {
    bits: AtomicUsize,
    /// The branch above, unless that is the root.
    above: Option<Arc<Branch>>,
    /// This branch's bit in the word above.
    mark: usize,
}

/// The waker that a member's poll receives. It never changes.
pub(crate) struct MemberWaker {
    root: Arc<Root>,
    branch: Arc<Branch>,
    key: usize,
}

impl MemberWaker {
    /// Marks the member ready, and wakes the owner's tasks if they sleep.
    ///
    /// Cost: one atomic read-modify-write, if no other wake is waiting, for the first million keys. Otherwise one, and one
    /// more for each empty word above, at most 5 more.
    #[inline]
    pub(crate) fn set_ready(&self) {
        if !self.root.mark_alone(self.key) {
            self.mark_in_tree();
        }
    }

    fn mark_in_tree(&self) {
        let (mut branch, mut mark) = (&self.branch, 1 << (self.key % BITS));
        // Ordering: Release pairs with the Acquire swaps in `take` and `for_each_word`: the poll sees all writes before the
        // wake, even if the bit was already set (a read-modify-write continues the release sequence). Acquire pairs with
        // the Release in `park`: if this thread sees the flag, the parked task's read of the epoch happened before.
        while branch.bits.fetch_or(mark, Ordering::AcqRel) == 0 {
            mark = branch.mark;
            match &branch.above {
                Some(above) => branch = above,
                None => return self.root.mark(mark),
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

/// The owner's access to the wakes.
pub(crate) struct WakeTree {
    root: Arc<Root>,
    /// The branches of each level.
    branches: [Vec<Arc<Branch>>; LEVELS],
}

/// Branches that were removed from the tree.
pub(crate) struct Surplus(#[allow(dead_code, reason = "to be dropped")] [Vec<Arc<Branch>>; LEVELS]);

/// The root word without its flag: the wakes that were taken.
#[derive(Clone, Copy)]
pub(crate) struct Woken(usize);

impl Woken {
    #[inline]
    pub(crate) fn is_empty(self) -> bool {
        self.0 == 0
    }

    /// Returns the key of a single wake.
    #[inline]
    pub(crate) fn alone(self) -> Option<usize> {
        if self.0 & !ALONE == 0 { self.first() } else { None }
    }

    /// Returns the key of the wake that came first, if that wake is not in the tree.
    #[inline]
    fn first(self) -> Option<usize> {
        ((self.0 & ALONE) >> 1).checked_sub(1)
    }
}

impl WakeTree {
    /// Creates an empty tree, whose wakes wake `tasks`.
    pub(crate) fn new(tasks: Arc<WaitList>) -> Self {
        Self {
            root: Arc::new(Root { bits: AtomicUsize::new(0), tasks }),
            branches: [const { Vec::new() }; LEVELS],
        }
    }

    /// Creates a waker for a key: the first unassigned key, which it makes room for, or an assigned key.
    ///
    /// # Panics
    ///
    /// Beyond about 1.1 billion keys (34 million with 32-bit words), for which the tree has no room.
    pub(crate) fn waker(&mut self, key: usize) -> Arc<MemberWaker> {
        let branch = self.branch(0, key / BITS);
        Arc::new(MemberWaker { root: Arc::clone(&self.root), branch, key })
    }

    /// Keeps only the first `keys` keys. Returns the branches that these keys do not need. The caller drops them when no
    /// other thread waits for it.
    pub(crate) fn truncate(&mut self, keys: usize) -> Surplus {
        let mut needed = keys.div_ceil(BITS);
        let mut surplus = [const { Vec::new() }; LEVELS];
        for ((branches, surplus), in_root) in self.branches.iter_mut().zip(&mut surplus).zip(IN_ROOT) {
            *surplus = branches.split_off(needed);
            branches.shrink_to_fit();
            needed = needed.saturating_sub(in_root).div_ceil(BITS);
        }
        Surplus(surplus)
    }

    /// Returns a branch, and creates it if it does not exist.
    fn branch(&mut self, level: usize, at: usize) -> Arc<Branch> {
        assert!(level < LEVELS, "no room for more members");
        if at == self.branches[level].len() {
            let (above, bit) = match at.checked_sub(IN_ROOT[level]) {
                None => (None, FIRST[level] + at),
                Some(grouped) => (Some(self.branch(level + 1, grouped / BITS)), grouped % BITS),
            };
            self.branches[level].push(Arc::new(Branch { bits: AtomicUsize::new(0), above, mark: 1 << bit }));
        }
        Arc::clone(&self.branches[level][at])
    }

    /// Returns the wakes that [`take`](Self::take) would take.
    ///
    /// Cost: one load.
    #[inline]
    pub(crate) fn peek(&self) -> Woken {
        // Ordering: the load is a hint. The swap that takes a wake orders it, and `park` sees a wake that is not seen here.
        Woken(self.root.bits.load(Ordering::Relaxed) & !PARKED)
    }

    /// Whether a wake of `key` is waiting to be taken.
    #[inline]
    pub(crate) fn contains(&self, key: usize) -> bool {
        let woken = self.peek();
        !woken.is_empty() && (woken.first() == Some(key) || self.is_in_tree(woken, key))
    }

    #[inline]
    fn is_in_tree(&self, woken: Woken, key: usize) -> bool {
        // Ordering: as in `peek`.
        woken.0 & !ALONE != 0
            && self.branches[0][key / BITS].bits.load(Ordering::Relaxed) & (1 << (key % BITS)) != 0
    }

    /// Takes all wakes.
    ///
    /// Cost: one swap.
    #[inline]
    pub(crate) fn take(&mut self) -> Woken {
        // Ordering: Acquire pairs with the Release in `mark_alone` and `mark_in_tree`.
        Woken(self.root.bits.swap(0, Ordering::Acquire) & !PARKED)
    }

    /// Calls `tell` with the taken wakes, word by word: `at` and `bits` stand for the keys `BITS * at + b`. Stale wakes may
    /// lead to keys beyond the last key.
    ///
    /// Cost: one swap for each marked word. The number of members bounds the number of words, however many wakes there
    /// were: a million members have 15,625 words, and about 250 words above these.
    pub(crate) fn for_each_word(&mut self, woken: Woken, mut tell: impl FnMut(usize, usize)) {
        if let Some(key) = woken.first() {
            tell(key / BITS, 1 << (key % BITS));
        }
        let mut branches = woken.0 & !ALONE;
        while branches != 0 {
            let bit = branches.trailing_zeros() as usize;
            branches &= branches - 1;
            if bit >= FIRST[0] {
                self.take_members(bit - FIRST[0], &mut tell);
            } else {
                let level =
                    FIRST.iter().position(|&first| bit >= first).expect("every bit belongs to a level");
                self.take_branch(level, bit - FIRST[level], &mut tell);
            }
        }
    }

    /// Takes the wakes of a branch of members.
    #[inline]
    fn take_members(&mut self, at: usize, tell: &mut impl FnMut(usize, usize)) {
        let taken = self.take_word(0, at);
        if taken != 0 {
            tell(at, taken);
        }
    }

    /// Takes the wakes of a branch of a higher level.
    fn take_branch(&mut self, level: usize, at: usize, tell: &mut impl FnMut(usize, usize)) {
        let mut taken = self.take_word(level, at);
        while taken != 0 {
            let bit = taken.trailing_zeros() as usize;
            taken &= taken - 1;
            let below = IN_ROOT[level - 1] + at * BITS + bit;
            if level == 1 { self.take_members(below, tell) } else { self.take_branch(level - 1, below, tell) }
        }
    }

    /// Takes the word of a branch that is marked above. If a stale wake marked it, the branch may be empty or missing.
    #[inline]
    fn take_word(&mut self, level: usize, at: usize) -> usize {
        // Ordering: as in `take`.
        self.branches[level].get(at).map_or(0, |branch| branch.bits.swap(0, Ordering::Acquire))
    }

    /// Makes the next wake call [`WaitList::wake_all`]. Returns `false` if a wake is already waiting: take it instead.
    ///
    /// To be called between [`WaitList::epoch`] and [`WaitList::wait`]. A wake that is not seen here comes after that epoch:
    /// either it finds the task waiting, or `wait` refuses to wait.
    ///
    /// Cost: one compare-and-exchange.
    #[inline]
    pub(crate) fn park(&self) -> bool {
        // Ordering: Release pairs with the Acquire in `mark_in_tree`, because the epoch was read before. After a failure, a
        // swap takes the wakes, and acquires.
        match self.root.bits.compare_exchange(0, PARKED, Ordering::Release, Ordering::Relaxed) {
            Ok(_) => true,
            Err(bits) => bits == PARKED,
        }
    }
}

impl fmt::Debug for WakeTree {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("WakeTree").field("words", &self.branches[0].len()).finish_non_exhaustive()
    }
}
