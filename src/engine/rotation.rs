//! Slots with a waker each, whose turn comes round: see [`ReadySet`] for the bound on fairness.

use crate::engine::ready_set::ReadySet;
use crate::wait_list::WaitList;
use slab::Slab;
use std::sync::Arc;
use std::task::Waker;

#[derive(Debug)]
pub(crate) struct Rotation<T> {
    slots: Slab<T>,
    /// The wakers of vacant slots, with their keys. A tenant has its slot's waker beside its stream, where the poll needs
    /// it. A slot keeps its waker from one tenant to the next, so that nothing is allocated then; so a stale wake reaches
    /// the next tenant: a spurious poll.
    ///
    /// In the order in which the slots became vacant. The slab fills the one that became vacant last, so that one's
    /// waker is the last here. If it is another's, the slot has none, because it is used for the first time.
    spare: Vec<(usize, Waker)>,
    ready: ReadySet,
    tasks: Arc<WaitList>,
}

impl<T> Rotation<T> {
    /// An empty rotation with room for `capacity` slots.
    pub(crate) fn with_capacity(capacity: usize) -> Self {
        Self::new(capacity, Arc::new(WaitList::new()))
    }

    fn new(capacity: usize, tasks: Arc<WaitList>) -> Self {
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

    /// The key behind the last tenant's.
    pub(crate) fn end(&self) -> usize {
        self.slots.iter().next_back().map_or(0, |(last, _)| last + 1)
    }

    /// Fills a vacant slot with a tenant that gets the slot's waker. It has no turn before
    /// [`set_ready`](Self::set_ready).
    ///
    /// Cost: allocates one waker if the slot has none, and storage when there are more slots than ever before.
    pub(crate) fn fill_with(&mut self, tenant: impl FnOnce(Waker) -> T) -> usize {
        let key = self.slots.vacant_key();
        let waker = match self.spare.last() {
            Some(&(of, _)) if of == key => self.spare.pop().expect("looked above").1,
            _ => Waker::from(self.ready.waker(key)),
        };
        self.slots.insert(tenant(waker))
    }

    /// Vacates a slot, and takes the waker from its tenant.
    pub(crate) fn vacate<R>(&mut self, key: usize, split: impl FnOnce(T) -> (Waker, R)) -> Option<R> {
        let tenant = self.slots.try_remove(key)?;
        self.ready.remove(key);
        let (waker, rest) = split(tenant);
        self.spare.push((key, waker));
        Some(rest)
    }

    /// Whose turn it is, if anyone's: [`keep_ready`](Self::keep_ready) or [`clear_ready`](Self::clear_ready) it
    /// when that has ended. The slot may turn out to be vacant, by a stale wake.
    #[inline]
    pub(crate) fn next_turn(&mut self) -> Option<usize> {
        self.ready.next_turn()
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

#[cfg(test)]
mod tests {
    use super::*;

    /// Its tenants are their wakers.
    fn rotation(tenants: usize) -> Rotation<Waker> {
        let mut rotation = Rotation::with_capacity(0);
        (0..tenants).for_each(|key| assert_eq!(rotation.fill_with(|waker| waker), key));
        rotation
    }

    fn vacate(rotation: &mut Rotation<Waker>, key: usize) -> Waker {
        rotation.vacate(key, |waker| (waker.clone(), waker)).expect("there is one")
    }

    /// Whose turns come, and then none.
    fn turns(rotation: &mut Rotation<Waker>) -> Vec<usize> {
        let mut turns = Vec::new();
        while let Some(key) = rotation.next_turn() {
            rotation.clear_ready(key);
            turns.push(key);
        }
        turns
    }

    fn check_wakers(rotation: &mut Rotation<Waker>) {
        let wakers: Vec<_> = rotation.slots().iter().map(|(key, waker)| (key, waker.clone())).collect();
        for (key, waker) in wakers {
            waker.wake();
            assert_eq!(turns(rotation), [key]);
        }
    }

    #[test]
    fn a_slot_keeps_its_waker() {
        let mut rotation = rotation(100);
        let before = [70, 3, 50].map(|key| vacate(&mut rotation, key));
        for _ in 0..3 {
            let key = rotation.fill_with(|waker| waker);
            assert!(before.iter().any(|waker| waker.will_wake(&rotation.slots()[key])));
        }
        check_wakers(&mut rotation);
    }

    /// Then the wakers that are spare are not those of the slots that are filled next.
    #[test]
    fn a_slot_that_was_emptied_without_giving_its_waker_back_gets_another() {
        let mut rotation = rotation(100);
        vacate(&mut rotation, 7);
        rotation.slots_mut().retain(|key, _| key % 2 == 0);
        for _ in 0..60 {
            rotation.fill_with(|waker| waker);
        }
        check_wakers(&mut rotation);
    }
}
