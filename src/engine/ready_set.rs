//! Which members are ready: the owner's half, in plain memory.
//!
//! A wake stays in the [`WakeTree`] until the owner absorbs it, and only what is absorbed decides whose turn it
//! is. So a member that gives item after item stays ready at no atomic operation at all.
//!
//! **No wake is lost.** The owner clears a member here when its poll returned `Pending`; a wake during that
//! poll is in the tree, where it stays until it is absorbed, and then the member is ready again. It is absorbed
//! by a swap, so whatever the waking thread wrote before its wake is seen by the poll that follows.
//!
//! # The only one
//!
//! Most often one member is ready at a time: it is woken, gives its item, and is polled once more, in vain. So
//! this half is a number as long as that will do, and a [`BitSet`] from when there are two until there is one.
//!
//! # Bound on fairness
//!
//! Between two turns of one member, every member that was ready when the first of them began has one turn.
//!
//! In the set, the cursor sees to that: it moves behind the member whose turn it is and only
//! forwards, so before it comes back it passes every other one. All wakes are absorbed before each of these
//! turns: a member that was woken ahead of the cursor, in the middle of a round, is passed in that same round.
//! (Absorbing only when the cursor wraps would make it wait for a second one.)
//!
//! The only one may have its next turn before one that was woken since its last one ended, for that was not ready
//! then. So its second poll, the one in vain, comes first, and the next one is the only one again. If any was woken
//! before, `others_first`, or more than one, all are absorbed and the cursor decides.
//!
//! So in exclusive hands the bound holds even for those that became ready before the first turn *ended*. Where several
//! receivers take turns at a time it does not: one may have taken such a member out, and brought it back, while the
//! first turn was still going on.
//!
//! Ready is who was inserted, gave an item in its last turn, or was woken; [`wake_tree`](crate::engine::wake_tree) says
//! from when a wake counts.

use crate::engine::bit_set::BitSet;
use crate::engine::wake_tree::{MemberWaker, Surplus, WakeTree, Woken};
use crate::sync::WORD_BITS as BITS;
use crate::wait_list::WaitList;
use std::mem;
use std::sync::Arc;

#[derive(Debug)]
pub(crate) struct ReadySet {
    wakes: WakeTree,
    /// The only member that is ready; else [`NOBODY`].
    only: usize,
    /// Some were woken before the last turn of the only one ended.
    others_first: bool,
    /// Those that are ready, while there is no only one.
    set: BitSet,
    /// The key behind the last turn's.
    cursor: usize,
    /// Tasks may sleep.
    is_parked: bool,
}

const NOBODY: usize = usize::MAX;

impl ReadySet {
    /// An empty set, whose wakes are for `tasks`.
    pub(crate) fn new(tasks: Arc<WaitList>) -> Self {
        Self {
            wakes: WakeTree::new(tasks),
            only: NOBODY,
            others_first: false,
            set: BitSet::default(),
            cursor: 0,
            is_parked: false,
        }
    }

    /// Makes a waker for a key: the next one, for which there is room then, or one that was given out before.
    ///
    /// # Panics
    ///
    /// As [`WakeTree::waker`].
    pub(crate) fn waker(&mut self, key: usize) -> Arc<MemberWaker> {
        let waker = self.wakes.waker(key);
        self.set.make_room(key);
        waker
    }

    /// Keeps the first `keys` keys alone; see [`WakeTree::truncate`]. Wakes of others that are still to come, or to be
    /// absorbed, are ignored or make one ready that is not there.
    pub(crate) fn truncate(&mut self, keys: usize) -> Surplus {
        self.set.truncate(keys.div_ceil(BITS));
        self.wakes.truncate(keys)
    }

    /// Whether any key is ready, as far as was absorbed.
    #[inline]
    pub(crate) fn any(&self) -> bool {
        self.only != NOBODY || !self.set.is_empty()
    }

    /// The turn of `key` has ended, and it is still ready.
    #[inline]
    pub(crate) fn keep(&mut self, key: usize) {
        if self.only == key {
            self.others_first = !self.wakes.peek().is_empty();
        }
    }

    /// Makes `key` ready: a new one, or one whose turn has ended.
    // Always, as below: the compiler takes these for too large, and calls cost up to a tenth of an item.
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

    /// Clears `key`. A wake that was not absorbed stays.
    #[inline(always)]
    pub(crate) fn remove(&mut self, key: usize) {
        if self.only == NOBODY {
            self.set.remove(key);
            if let Some(only) = self.set.only() {
                self.set.remove(only);
                self.only = only;
                // So the next turn is what it would have been.
                self.others_first = true;
            }
        } else if self.only == key {
            self.only = NOBODY;
        }
    }

    /// Puts the only one into the set, if there is one.
    #[inline]
    fn spread(&mut self) {
        if self.only != NOBODY {
            self.set.insert(self.only);
            self.only = NOBODY;
        }
    }

    /// Whose turn it is, if anyone's: [`keep`](Self::keep) or [`remove`](Self::remove) it when that has ended.
    ///
    /// Cost: one load of the wakes if there are none; else they are absorbed, at one swap and one more for each
    /// marked word of the tree.
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

    /// Whether the only one has its turn before those that were woken. Only before one alone: among more may be
    /// itself, and if its wake stayed it would be polled for it once more.
    #[inline]
    fn goes_on(&self, woken: Woken) -> bool {
        self.only != NOBODY && !self.others_first && woken.alone().is_some_and(|key| key != self.only)
    }

    #[inline]
    fn absorb(&mut self) {
        let woken = self.wakes.take();
        // By the first of these wakes.
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
    }

    /// Takes all wakes and tells whose they are, for an owner that keeps the ready ones itself.
    #[inline]
    pub(crate) fn take_woken(&mut self, mut tell: impl FnMut(usize)) {
        let woken = self.wakes.take();
        // As in `absorb`.
        self.is_parked = false;
        if let Some(key) = woken.alone() {
            return tell(key);
        }
        self.wakes.for_each_word(woken, |at, mut bits| {
            while bits != 0 {
                tell(at * BITS + bits.trailing_zeros() as usize);
                bits &= bits - 1;
            }
        });
    }

    /// The key behind the last turn's: from here on the next one is looked for.
    #[inline]
    pub(crate) fn cursor(&self) -> usize {
        self.cursor
    }

    /// The turn that was next is not taken: sets the cursor back to where it was.
    pub(crate) fn rewind(&mut self, cursor: usize) {
        self.cursor = cursor;
    }

    /// Whether any key was woken and that was not absorbed yet.
    #[inline]
    pub(crate) fn is_woken(&self) -> bool {
        !self.wakes.peek().is_empty()
    }

    /// Whether `key` was woken and that was not absorbed yet.
    #[inline]
    pub(crate) fn was_woken(&self, key: usize) -> bool {
        self.wakes.contains(key)
    }

    /// Whether tasks may go to sleep; see [`WakeTree::park`].
    #[inline]
    pub(crate) fn park(&mut self) -> bool {
        let parks = self.wakes.park();
        self.is_parked |= parks;
        parks
    }

    /// Whether tasks may sleep, and no more: the caller owes them a [`WaitList::wake_all`].
    ///
    /// To be called when something else than a wake gave the owner something to do.
    #[inline]
    #[must_use]
    pub(crate) fn unpark(&mut self) -> bool {
        mem::take(&mut self.is_parked)
    }
}
