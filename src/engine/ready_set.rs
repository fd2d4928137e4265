//! The ready members: the owner's half, in plain memory.
//!
//! A wake stays in the [`WakeTree`] until the owner absorbs it. Only absorbed wakes decide the next turn, so a member
//! that yields item after item stays ready without an atomic operation.
//!
//! **No wake is lost.** The owner clears a member here when its poll has returned `Pending`. A wake during that poll stays
//! in the tree until it is absorbed, and then the member is ready again. The owner absorbs wakes with a swap; therefore the
//! next poll sees everything that the waking thread wrote before its wake.
//!
//! # The only ready member
//!
//! Most often one member is ready at a time: it is woken, yields its item, and is polled once more, in vain. Therefore this
//! half is a single key while one member is ready. It becomes a [`BitSet`] when a second member is ready, and a single key
//! again when one is left.
//!
//! # Bound on fairness
//!
//! After a member was polled, every other member that was ready at that moment is polled before it is polled again. "That
//! moment" is the moment at which the poll began. A member is ready after it was inserted, after a turn that yielded an
//! item, and after a wake; [`wake_tree`](crate::engine::wake_tree) defines when a wake counts.
//!
//! In the bit set, the cursor keeps this bound. It moves behind the member that has the turn, and only forwards. Before it
//! returns to a member, it passes every other member. All wakes are absorbed before each of these turns: if a member ahead
//! of the cursor is woken in the middle of a round, the cursor passes it in the same round. (If wakes were absorbed only
//! when the cursor wraps, this member would wait for another round.)
//!
//! The only ready member may have its next turn before a member that was woken after the last turn ended, because that
//! member was not ready then. The second poll, which is in vain, therefore comes first, and the woken member is then the
//! only one. If a member was woken before the last turn ended (`others_first`), or if several were woken, all wakes are
//! absorbed and the cursor decides.
//!
//! With one owner, the bound even holds for members that became ready before the first turn *ended*. With several
//! receivers it does not: while the first turn is in progress, another receiver may take such a member out and put it back.

use crate::engine::bit_set::BitSet;
use crate::engine::waits::Waits;
use crate::engine::wake_tree::{MemberWaker, Surplus, WakeTree, Woken};
use crate::sync::WORD_BITS as BITS;
use crate::wait_list::WaitList;
use std::mem;
use std::sync::Arc;

#[derive(Debug)]
pub(crate) struct ReadySet {
    wakes: WakeTree,
    /// The key of the only ready member, or [`NOBODY`].
    only: usize,
    /// Whether members were woken before the last turn of the only ready member ended.
    others_first: bool,
    /// The ready members, while `only` is [`NOBODY`].
    set: BitSet,
    /// The key after that of the last turn.
    cursor: usize,
    /// Whether tasks may sleep.
    is_parked: bool,
    waits: Waits,
}

const NOBODY: usize = usize::MAX;

impl ReadySet {
    /// Creates an empty set. Its wakes wake `tasks`.
    pub(crate) fn new(tasks: Arc<WaitList>) -> Self {
        Self {
            wakes: WakeTree::new(tasks),
            only: NOBODY,
            others_first: false,
            set: BitSet::default(),
            cursor: 0,
            is_parked: false,
            waits: Waits::unmeasured(),
        }
    }

    /// Creates a waker for a key: a key for which a waker was created before, or the next one. The set then has room for it.
    ///
    /// # Panics
    ///
    /// As [`WakeTree::waker`].
    pub(crate) fn waker(&mut self, key: usize) -> Arc<MemberWaker> {
        let waker = self.wakes.waker(key);
        self.set.make_room(key);
        waker
    }

    /// Keeps only the first `keys` keys; see [`WakeTree::truncate`]. A later or unabsorbed wake of a removed key is ignored,
    /// or makes a key ready that is not in use.
    pub(crate) fn truncate(&mut self, keys: usize) -> Surplus {
        self.set.truncate(keys.div_ceil(BITS));
        self.wakes.truncate(keys)
    }

    /// Returns whether any key is ready, not counting wakes that are not absorbed yet.
    #[inline]
    pub(crate) fn any(&self) -> bool {
        self.only != NOBODY || !self.set.is_empty()
    }

    /// Ends the turn of `key`, which stays ready.
    #[inline]
    pub(crate) fn keep(&mut self, key: usize) {
        if self.only == key {
            self.others_first = !self.wakes.peek().is_empty();
        }
    }

    /// Makes `key` ready: a new key, or a key whose turn has ended.
    // `always`, here and below: the compiler does not inline these functions by itself, and the calls cost up to a tenth of
    // an item.
    #[inline(always)]
    pub(crate) fn insert(&mut self, key: usize) {
        if self.only == key || !self.any() {
            self.only = key;
            self.keep(key);
        } else {
            self.spread();
            self.set.insert(key);
        }
    }

    /// Clears `key`. A wake that is not absorbed yet remains in the tree.
    #[inline(always)]
    pub(crate) fn remove(&mut self, key: usize) {
        if self.only == NOBODY {
            self.set.remove(key);
            if let Some(only) = self.set.only() {
                self.set.remove(only);
                self.only = only;
                // The next turn is then the same as without the change to a single key.
                self.others_first = true;
            }
        } else if self.only == key {
            self.only = NOBODY;
        }
    }

    /// Moves the only ready member into the set, if there is one.
    #[inline]
    fn spread(&mut self) {
        if self.only != NOBODY {
            self.set.insert(self.only);
            self.only = NOBODY;
        }
    }

    /// Returns the key that has the next turn, if any is ready. When the turn has ended, the caller calls
    /// [`keep`](Self::keep) or [`remove`](Self::remove).
    ///
    /// Cost: one load if there are no wakes. Otherwise the wakes are absorbed, with one swap and one more for each marked
    /// word of the tree.
    #[inline(always)]
    pub(crate) fn next_turn(&mut self) -> Option<usize> {
        let woken = self.wakes.peek();
        if !woken.is_empty() && !self.goes_on(woken) {
            self.absorb();
        }
        let key = if self.only == NOBODY { self.set.next_from(self.cursor)? } else { self.only };
        self.cursor = key + 1;
        Some(key)
    }

    /// Returns whether the only ready member has its turn before woken members. It has it only before a single other
    /// member: if several were woken, it may be one of them, and its remaining wake would cost another poll.
    #[inline]
    fn goes_on(&self, woken: Woken) -> bool {
        self.only != NOBODY && !self.others_first && woken.alone().is_some_and(|key| key != self.only)
    }

    #[inline]
    fn absorb(&mut self) {
        let woken = self.wakes.take();
        // The first of these wakes has woken the tasks.
        self.is_parked = false;
        match woken.alone() {
            Some(key) if self.only == key || !self.any() => self.only = key,
            _ => self.absorb_many(woken),
        }
    }

    #[inline(never)]
    fn absorb_many(&mut self, woken: Woken) {
        self.spread();
        self.wakes.for_each_word(woken, |at, bits| self.set.merge(at, bits));
        self.disturb();
    }

    #[inline]
    pub(crate) fn waits(&self) -> &Waits {
        &self.waits
    }

    #[inline]
    pub(crate) fn waits_mut(&mut self) -> &mut Waits {
        &mut self.waits
    }

    /// Returns the key that has the last turn from now on, if any is ready.
    #[inline]
    pub(crate) fn last_turn(&self) -> Option<usize> {
        if self.only == NOBODY { self.set.last_before(self.cursor) } else { Some(self.only) }
    }

    /// A key was made ready, but not at the end of its turn. See [`Waits::disturb`].
    #[inline]
    pub(crate) fn disturb(&mut self) {
        // A single ready key does not wait. It does when the next one is made ready.
        if self.only == NOBODY && self.waits.disturb() {
            self.measure_after_next();
        }
    }

    /// A key was [removed](Self::remove), and had no turn. See [`Waits::stop`].
    #[inline]
    pub(crate) fn stop_waiting(&mut self, key: usize) {
        if self.waits.is_measured(key) {
            self.stop_measured();
        }
    }

    #[inline(never)]
    fn measure_after_next(&mut self) {
        self.waits.resume_with(self.set.next_from(self.cursor));
    }

    #[cold]
    #[inline(never)]
    fn stop_measured(&mut self) {
        let next = if self.only == NOBODY { self.set.next_from(self.cursor) } else { Some(self.only) };
        self.waits.stop(next);
    }

    /// Takes all wakes and reports their keys, for an owner that keeps the ready keys itself.
    #[inline]
    pub(crate) fn take_woken(&mut self, mut report: impl FnMut(usize)) {
        let woken = self.wakes.take();
        // As in `absorb`.
        self.is_parked = false;
        if let Some(key) = woken.alone() {
            return report(key);
        }
        self.wakes.for_each_word(woken, |at, mut bits| {
            while bits != 0 {
                report(at * BITS + bits.trailing_zeros() as usize);
                bits &= bits - 1;
            }
        });
    }

    /// The key after that of the last turn. The search for the next turn starts here.
    #[inline]
    pub(crate) fn cursor(&self) -> usize {
        self.cursor
    }

    /// Gives up the turn that [`next_turn`](Self::next_turn) returned: sets the cursor back.
    pub(crate) fn rewind(&mut self, cursor: usize) {
        self.cursor = cursor;
    }

    /// Returns whether there is a wake that is not absorbed yet.
    #[inline]
    pub(crate) fn is_woken(&self) -> bool {
        !self.wakes.peek().is_empty()
    }

    /// Returns whether `key` has a wake that is not absorbed yet.
    #[inline]
    pub(crate) fn was_woken(&self, key: usize) -> bool {
        self.wakes.contains(key)
    }

    /// Prepares for the tasks to sleep. Returns whether they may; see [`WakeTree::park`].
    #[inline]
    pub(crate) fn park(&mut self) -> bool {
        let parks = self.wakes.park();
        self.is_parked |= parks;
        parks
    }

    /// Ends the sleep of tasks. If this returns true, tasks may sleep, and the caller must call [`WaitList::wake_all`].
    ///
    /// To be called when the owner has something to do that no wake announces.
    #[inline]
    #[must_use]
    pub(crate) fn unpark(&mut self) -> bool {
        mem::take(&mut self.is_parked)
    }
}
