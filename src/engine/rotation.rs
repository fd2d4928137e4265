//! Slots with a waker each, whose turn comes round: see [`ReadySet`] for the bound on fairness.

use crate::engine::ready_set::ReadySet;
use crate::wait_list::WaitList;
use slab::Slab;
use std::sync::Arc;
use std::task::Waker;

#[derive(Debug)]
pub(crate) struct Rotation<T> {
    slots: Slab<T>,
    /// The wakers that are not lent to a stream (which has it beside itself, where the poll needs it), with
    /// their slots: those of vacant slots, as a rule. A waker is made when its slot is first used and kept
    /// for ever, so a stale wake reaches the slot's next tenant: a spurious poll.
    ///
    /// In the order in which slots became vacant, so the one that is filled next is the last here, or near.
    spare: Vec<(usize, Waker)>,
    ready: ReadySet,
    tasks: Arc<WaitList>,
}

impl<T> Rotation<T> {
    pub(crate) fn with_capacity(capacity: usize) -> Self {
        let tasks = Arc::new(WaitList::new());
        Self {
            slots: Slab::with_capacity(capacity),
            spare: Vec::new(),
            ready: ReadySet::new(Arc::clone(&tasks)),
            tasks,
        }
    }

    #[inline]
    pub(crate) fn slots(&self) -> &Slab<T> {
        &self.slots
    }

    #[inline]
    pub(crate) fn slots_mut(&mut self) -> &mut Slab<T> {
        &mut self.slots
    }

    /// Fills a vacant slot with a tenant that gets the slot's waker at once. It has no turn
    /// before [`set_ready`](Self::set_ready).
    ///
    /// Cost: as [`fill`](Self::fill).
    pub(crate) fn fill_with(&mut self, tenant: impl FnOnce(Waker) -> T) -> usize {
        let key = self.slots.vacant_key();
        let waker = self.new_waker(key).unwrap_or_else(|| self.lend_waker(key));
        self.slots.insert(tenant(waker))
    }

    /// Fills a vacant slot. It has no turn before [`set_ready`](Self::set_ready).
    ///
    /// Cost: allocates only when there are more slots than ever before: their storage and one waker.
    pub(crate) fn fill(&mut self, tenant: T) -> usize {
        let key = self.slots.insert(tenant);
        if let Some(waker) = self.new_waker(key) {
            self.give_back(key, waker);
        }
        key
    }

    /// Makes the waker of a slot, if that is used for the first time.
    #[inline]
    fn new_waker(&mut self, key: usize) -> Option<Waker> {
        if key < self.ready.keys() {
            return None;
        }
        let (added, waker) = self.ready.add_key();
        debug_assert_eq!(added, key);
        Some(Waker::from(waker))
    }

    /// Vacates a slot. Its waker must have been given back, or be given back next.
    pub(crate) fn vacate(&mut self, key: usize) -> Option<T> {
        let tenant = self.slots.try_remove(key)?;
        self.ready.remove(key);
        Some(tenant)
    }

    /// Lends the waker of a slot to its tenant's stream.
    #[inline]
    pub(crate) fn lend_waker(&mut self, key: usize) -> Waker {
        match self.spare.pop() {
            Some((of, waker)) if of == key => waker,
            Some(other) => self.lend_waker_further_down(key, other),
            None => unreachable!("the waker of a slot is lent once"),
        }
    }

    #[cold]
    fn lend_waker_further_down(&mut self, key: usize, last: (usize, Waker)) -> Waker {
        let at = self.spare.iter().rposition(|spare| spare.0 == key);
        let (_, waker) = self.spare.remove(at.expect("the waker of a slot is lent once"));
        self.spare.push(last);
        waker
    }

    /// Takes the waker of a slot back.
    pub(crate) fn give_back(&mut self, key: usize, waker: Waker) {
        self.spare.push((key, waker));
    }

    /// Whose turn it is, if anyone's: [`keep_ready`](Self::keep_ready) or [`clear_ready`](Self::clear_ready) it
    /// when that has ended. The slot may turn out to be vacant, by a stale wake.
    #[inline]
    pub(crate) fn next_turn(&mut self) -> Option<usize> {
        self.ready.next_turn()
    }

    /// The key behind the last turn's: from here on the next one is looked for.
    #[inline]
    pub(crate) fn cursor(&self) -> usize {
        self.ready.cursor()
    }

    /// The turn that was next is not taken: sets the cursor back to where it was.
    pub(crate) fn rewind(&mut self, cursor: usize) {
        self.ready.rewind(cursor);
    }

    #[inline]
    pub(crate) fn keep_ready(&mut self, key: usize) {
        self.ready.keep(key);
    }

    #[inline]
    pub(crate) fn set_ready(&mut self, key: usize) {
        self.ready.insert(key);
    }

    #[inline]
    pub(crate) fn clear_ready(&mut self, key: usize) {
        self.ready.remove(key);
    }

    /// Whether the slot was woken since its turn began: in its own poll, as a rule.
    #[inline]
    pub(crate) fn was_woken(&self, key: usize) -> bool {
        self.ready.was_woken(key)
    }

    /// Prepares to sleep: returns the epoch for [`WaitList::wait`] on [`tasks`](Self::tasks), or `None` if
    /// a slot was woken meanwhile.
    ///
    /// To be called when there is no turn to take, with the rotation still in exclusive hands.
    #[inline]
    pub(crate) fn park(&mut self) -> Option<usize> {
        debug_assert!(!self.ready.any());
        let epoch = self.tasks.epoch();
        self.ready.park().then_some(epoch)
    }

    /// Whether tasks may sleep although there is something to do now, other than by a wake: the caller owes
    /// them a
    /// [`WaitList::wake_all`].
    #[inline]
    #[must_use]
    pub(crate) fn unpark(&mut self) -> bool {
        self.ready.unpark()
    }

    /// The tasks that sleep until a slot is ready.
    #[inline]
    pub(crate) fn tasks(&self) -> &Arc<WaitList> {
        &self.tasks
    }
}
