//! Members' wakes, from any thread, until the owner takes them.
//!
//! # One alone
//!
//! As a rule the owner keeps up: when a member is woken, no other wake is waiting. Such a wake writes its key
//! into the root word, one operation however many members there are, and who takes it has the key at hand.
//! Only those that come before it was taken go into the tree.
//!
//! # The tree
//!
//! Each member has a bit in a word of members. Such words are the *branches of level 0*; each has a bit in a
//! word of level 1, or in the root, and so on. It grows and never moves: a waker, made once, knows its word
//! for ever. The root word, with 64 bits:
//!
//! ```text
//! root bit   38..64   24..38    23      22      21    1..21      0
//! level         0        1       2       3       4    alone   PARKED
//! members    1,664   57,344   2^18    2^24    2^30
//! ```
//!
//! Keys are given out in this order: a wake among 1,664 members marks at most two words, among a hundred thousand
//! four.
//!
//! A wake goes up only while the word it marked was empty before; whoever made it non-empty marks the
//! word above, so a non-empty word is marked above, or the thread that filled it is about to.
//! The owner goes down, swapping each marked word for zero, the upper one first: a wake that comes
//! between the two swaps is either taken by the lower one, or found the lower word empty and marks the
//! upper one anew.
//!
//! # When a wake counts
//!
//! A wake goes up until it finds a word that is filled already. One that comes to the root counts when it has returned.
//! One that stops below leaves the rest of the way to the thread that filled that word, and may return before that one
//! comes to the root. If the scheduler stops that thread in between, the owner passes over both members, for as long as
//! it stands there. Nothing is lost: an owner that finds nothing parks, and is woken when the mark arrives.
//!
//! # Shrinking
//!
//! [`WakeTree::truncate`] takes the branches beyond the last key in use out of the tree; when such a key is given out
//! again, a new branch stands in the place of the old one. Foreign I/O may keep the old wakers for ever. These stale
//! wakers keep the old branch, and mark it, and what is above it:
//!
//! - *A branch of the tree never has its upper branch taken away*, because that is kept as long as one below it is. So
//!   what was said above holds for every branch that is in the tree, and no wake of a present member is lost.
//! - *A branch that was taken out is never emptied again.* So it marks the place above it at most once more, however
//!   often its stale wakers are woken.
//! - *The converse does not hold: a marked place may be empty, or not be there.* A stale wake marked it on behalf of the
//!   branch that was there before. The owner passes over it. It may also find there what a present member has just
//!   marked, before that wake's thread marked the place; then it is that thread's mark which finds the branch empty.
//! - The root may hold the key of a stale wake alone, and that may be beyond the last key.
//!
//! # Parking
//!
//! `PARKED` shares the root word with all else, so one atomic operation orders *nothing is ready, I
//! sleep* against *this one is ready*:
//!
//! | root before | operation | root after | who must wake the owner's tasks |
//! |---|---|---|---|
//! | 0 | [`park`](WakeTree::park) | `PARKED` | |
//! | wakes | `park` | unchanged, refused | |
//! | 0 or wakes | a wake | wakes | nobody, no one is parked |
//! | `PARKED` | a wake | `PARKED` + wake | this waker |
//! | `PARKED` + wakes | a wake | `PARKED` + wakes | the waker before, already on its way |
//! | `PARKED` + wakes | [`take`](WakeTree::take) | 0 | |
//! | `PARKED` | `park` | unchanged | |
//!
//! Who has woken the tasks for another reason leaves the flag: then the next wake calls [`WaitList::wake_all`],
//! perhaps in vain, or the next `park` finds it there.

use crate::sync::{AtomicUsize, Ordering, WORD_BITS as BITS};
use crate::wait_list::WaitList;
use std::fmt;
use std::sync::Arc;
use std::task::Wake;

/// The flag in the root word: a task sleeps until a member is woken.
const PARKED: usize = 1;

/// How many bits of the root hold the key of a wake that is alone, plus 1. Members with greater keys never are.
const ALONE_BITS: usize = match BITS {
    64 => 20,
    32 => 12,
    // In the models.
    _ => 2,
};

const ALONE: usize = ((1 << ALONE_BITS) - 1) << 1;

/// How many branches of each level are bits of the root.
const IN_ROOT: [usize; 5] = match BITS {
    64 => [26, 14, 1, 1, 1],
    32 => [9, 7, 1, 1, 1],
    // In the models.
    _ => [1, 1, 0, 0, 0],
};

const LEVELS: usize = IN_ROOT.len();

/// The root's bit of the first branch of each level: the higher the level, the lower.
const FIRST: [usize; LEVELS] = {
    let mut first = [0; LEVELS];
    let (mut level, mut bit) = (0, BITS);
    while level < LEVELS {
        bit -= IN_ROOT[level];
        first[level] = bit;
        level += 1;
    }
    assert!(bit == 1 + ALONE_BITS, "all bits are given out");
    first
};

#[derive(Debug)]
struct Root {
    bits: AtomicUsize,
    /// To be woken when it was [`PARKED`].
    tasks: Arc<WaitList>,
}

impl Root {
    /// Writes down the key, if no other wake is here; else returns `false`.
    #[inline]
    fn mark_alone(&self, key: usize) -> bool {
        if key >= ALONE >> 1 {
            return false;
        }
        // Ordering: a hint, and nothing was done yet on failure. Else as in `mark_in_tree`.
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

    /// Wakes the owner's tasks, if they slept `before` this wake.
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
    /// The branch above, if it is not the root.
    above: Option<Arc<Branch>>,
    /// This branch's bit there.
    mark: usize,
}

/// What a member's I/O wakes. It never changes.
pub(crate) struct MemberWaker {
    root: Arc<Root>,
    branch: Arc<Branch>,
    key: usize,
}

impl MemberWaker {
    /// Marks the member ready, and wakes the owner's tasks if they sleep.
    ///
    /// Cost: one atomic read-modify-write, if no other wake is waiting to be taken (and of the first million
    /// keys); else one, and one more for each empty word above, at most 5.
    #[inline]
    pub(crate) fn set_ready(&self) {
        if !self.root.mark_alone(self.key) {
            self.mark_in_tree();
        }
    }

    fn mark_in_tree(&self) {
        let (mut branch, mut mark) = (&self.branch, 1 << (self.key % BITS));
        // Ordering: Release pairs with the Acquire swaps in `take` and `for_each_word`, so that the poll sees
        // what was written before the wake, also through a bit that was set already (a
        // read-modify-write continues the release sequence). Acquire pairs with the Release in
        // `park`: who sees the flag sees the epoch that the parked task read, as past.
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

/// The owner's way to the wakes.
pub(crate) struct WakeTree {
    root: Arc<Root>,
    /// By their levels.
    branches: [Vec<Arc<Branch>>; LEVELS],
}

/// Branches that were taken out of the tree.
pub(crate) struct Surplus(#[allow(dead_code, reason = "to be dropped")] [Vec<Arc<Branch>>; LEVELS]);

/// The root but for its flag: who was woken.
#[derive(Clone, Copy)]
pub(crate) struct Woken(usize);

impl Woken {
    #[inline]
    pub(crate) fn is_empty(self) -> bool {
        self.0 == 0
    }

    /// The key, if it is one alone.
    #[inline]
    pub(crate) fn alone(self) -> Option<usize> {
        if self.0 & !ALONE == 0 { self.first() } else { None }
    }

    /// The key of the one that came first, if it is not in the tree.
    #[inline]
    fn first(self) -> Option<usize> {
        ((self.0 & ALONE) >> 1).checked_sub(1)
    }
}

impl WakeTree {
    /// An empty tree, whose wakes are for `tasks`.
    pub(crate) fn new(tasks: Arc<WaitList>) -> Self {
        Self {
            root: Arc::new(Root { bits: AtomicUsize::new(0), tasks }),
            branches: [const { Vec::new() }; LEVELS],
        }
    }

    /// Makes a waker for a key: the next one, for which there is room then, or one that was given out before.
    ///
    /// # Panics
    ///
    /// Beyond some 1.1 billion keys (with 32-bit words: 34 million), which the tree does not hold.
    pub(crate) fn waker(&mut self, key: usize) -> Arc<MemberWaker> {
        let branch = self.branch(0, key / BITS);
        Arc::new(MemberWaker { root: Arc::clone(&self.root), branch, key })
    }

    /// Keeps the first `keys` keys alone. Returns the branches that they do not need, for the caller to drop when
    /// nobody waits for that.
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

    /// The branch, made if it is not there yet.
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

    /// What there is to be [taken](Self::take), without taking it.
    ///
    /// Cost: one load.
    #[inline]
    pub(crate) fn peek(&self) -> Woken {
        // Ordering: a hint. A wake itself is ordered by the swap that takes it, and one that is not seen
        // here is seen by `park`.
        Woken(self.root.bits.load(Ordering::Relaxed) & !PARKED)
    }

    /// Whether `key` was woken and that was not taken yet.
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

    /// Tells what was taken, in words: `at` and `bits` are the keys `BITS * at + b`. Some may be beyond the last key, by
    /// stale wakes.
    ///
    /// Cost: one swap for each marked word. So it is bounded by the members' number, however many wakes there were: a
    /// million members have 16,384 words, and 256 above these.
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
                let level = FIRST.iter().position(|&first| bit >= first).expect("this is the root's last");
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

    /// Takes the word of a branch that is marked above. It is empty, or not there, if that was a stale wake.
    #[inline]
    fn take_word(&mut self, level: usize, at: usize) -> usize {
        // Ordering: as in `take`.
        self.branches[level].get(at).map_or(0, |branch| branch.bits.swap(0, Ordering::Acquire))
    }

    /// Asks the next wake to call [`WaitList::wake_all`]. `false` if one has come already: take it instead.
    ///
    /// To be called between [`WaitList::epoch`] and [`WaitList::wait`]: a wake that is not seen here comes later
    /// than that epoch, so either it finds the task waiting, or the task does not wait.
    ///
    /// Cost: one compare-and-exchange.
    #[inline]
    pub(crate) fn park(&self) -> bool {
        // Ordering: Release pairs with the Acquire in `mark_in_tree`: the epoch was read before. On
        // failure the wakes are taken by a swap, which acquires.
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
