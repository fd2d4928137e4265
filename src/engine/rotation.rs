//! Slots with a waker each, whose turn comes round: see [`ReadySet`] for the bound on fairness.

use crate::engine::ready_set::ReadySet;
use crate::engine::wake_tree;
use crate::wait_list::WaitList;
use slab::Slab;
use std::mem;
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
    /// waker is the last here. If it is another's, the slot has none: it is used for the first time, or for the first
    /// time since [`shrink_to_fit`](Self::shrink_to_fit).
    spare: Vec<(usize, Waker)>,
    ready: ReadySet,
    tasks: Arc<WaitList>,
}

/// What [`Rotation::shrink_to_fit`] took out, for the caller to drop when nobody waits for that: as many blocks of memory
/// as there were vacant slots.
#[must_use = "to be dropped with no lock held"]
pub(crate) struct Surplus(
    #[allow(dead_code, reason = "to be dropped")] Vec<(usize, Waker)>,
    #[allow(dead_code, reason = "to be dropped")] wake_tree::Surplus,
);

impl<T> Rotation<T> {
    /// An empty rotation with room for `capacity` slots.
    pub(crate) fn with_capacity(capacity: usize) -> Self {
        Self::new(capacity, Arc::new(WaitList::new()))
    }

    /// An empty rotation that takes the place of another, for the same tasks. Filling its first `tenants` slots allocates
    /// nothing.
    ///
    /// This is how a rotation shrinks whose keys nobody knows: it is made with no lock held; then each tenant is moved
    /// from the old one, [made ready](Self::set_ready) and polled with its new waker; and who moves them owes the tasks
    /// what [`unpark`](Self::unpark) of the old one says. The old wakers mark the old rotation's root, which nobody
    /// reads any more. That loses nothing: whatever a tenant has to tell, it tells in the poll that it has now. The first
    /// of these wakes may wake the tasks in vain; those after it do not.
    pub(crate) fn replacing(tasks: Arc<WaitList>, tenants: usize) -> Self {
        let mut rotation = Self::new(tenants, tasks);
        // The slab fills its slots from 0 on, and so the first one's waker is the last.
        let wakers = (0..tenants).map(|key| (key, Waker::from(rotation.ready.waker(key))));
        rotation.spare = wakers.collect();
        rotation.spare.reverse();
        rotation
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

    /// Gives memory back: that of slots behind the last tenant's, and the wakers of all vacant slots. Keys stay.
    ///
    /// Cost: a walk through the slots.
    pub(crate) fn shrink_to_fit(&mut self) -> Surplus {
        self.slots.shrink_to_fit();
        Surplus(mem::take(&mut self.spare), self.ready.truncate(self.end()))
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

    /// Takes all wakes and says whose they are, for an owner that keeps the ready ones itself. The slot may turn out to be vacant, by
    /// a stale wake.
    #[inline]
    pub(crate) fn take_woken(&mut self, tell: impl FnMut(usize)) {
        self.ready.take_woken(tell);
    }

    /// Whether any slot was woken since wakes were last absorbed, by [`next_turn`](Self::next_turn).
    #[inline]
    pub(crate) fn is_woken(&self) -> bool {
        self.ready.is_woken()
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
    fn a_slot_keeps_its_waker_until_the_rotation_shrinks() {
        let mut rotation = rotation(100);
        for shrinks in [false, true] {
            let before = [70, 3, 50].map(|key| vacate(&mut rotation, key));
            if shrinks {
                drop(rotation.shrink_to_fit());
            }
            let mut kept = Vec::new();
            for _ in 0..3 {
                let key = rotation.fill_with(|waker| waker);
                kept.push(before.iter().any(|waker| waker.will_wake(&rotation.slots()[key])));
            }
            assert_eq!(kept, [!shrinks; 3]);
            check_wakers(&mut rotation);
        }
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

    #[test]
    fn a_rotation_that_replaces_another_has_its_wakers_at_hand() {
        let mut old = rotation(200);
        let stale = old.slots()[1].clone();
        let mut new = Rotation::replacing(Arc::clone(old.tasks()), 70);
        assert_eq!((new.slots().capacity(), new.spare.len()), (70, 70));
        for key in 0..70 {
            assert_eq!(new.fill_with(|waker| waker), key);
        }
        assert!(new.spare.is_empty());
        check_wakers(&mut new);
        assert_eq!(new.fill_with(|waker| waker), 70, "there may be more");
        check_wakers(&mut new);

        stale.wake();
        assert_eq!(turns(&mut new), [], "its wake is for the old one");
        assert_eq!(turns(&mut old), [1]);
        let epoch = new.park().expect("none is ready");
        new.slots()[5].wake_by_ref();
        assert_ne!(old.tasks().epoch(), epoch, "they have the same tasks");
    }
}
