//! Slots with one waker each, which have turns in rotation. [`ReadySet`] states the bound on fairness.

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
    /// The wakers of vacant slots, with their keys. A tenant keeps the waker of its slot beside its stream, where the poll
    /// needs it. The next tenant of the slot gets the same waker, so that no allocation is needed. A stale wake therefore
    /// reaches the next tenant and causes a spurious poll.
    ///
    /// The wakers are in the order in which their slots became vacant. The slab fills the slot that became vacant last, and
    /// the waker of that slot is the last one here. If the last waker belongs to another slot, the filled slot has no waker:
    /// it is used for the first time, or for the first time since [`shrink_to_fit`](Self::shrink_to_fit).
    spare: Vec<(usize, Waker)>,
    ready: ReadySet,
    tasks: Arc<WaitList>,
}

/// Memory that [`Rotation::shrink_to_fit`] took out: as many blocks as there were vacant slots. The caller drops it where no
/// other task waits for the drop.
#[must_use = "to be dropped with no lock held"]
pub(crate) struct Surplus(
    #[allow(dead_code, reason = "to be dropped")] Vec<(usize, Waker)>,
    #[allow(dead_code, reason = "to be dropped")] wake_tree::Surplus,
);

impl<T> Rotation<T> {
    /// Creates an empty rotation with room for `capacity` slots.
    pub(crate) fn with_capacity(capacity: usize) -> Self {
        Self::new(capacity, Arc::new(WaitList::new()))
    }

    /// Creates an empty rotation that replaces another, with the same tasks. Filling its first `tenants` slots does not
    /// allocate.
    ///
    /// A rotation shrinks in this way if no other code stores its keys. The new rotation is created with no lock held. Each
    /// tenant is then moved from the old one, [made ready](Self::set_ready), and polled with its new waker. The caller that
    /// moves the tenants calls [`unpark`](Self::unpark) on the old rotation and does what it requires. The old wakers mark
    /// the root of the old rotation, which is not read anymore. No wake is lost, because each tenant is polled after the
    /// move. The first of these wakes may wake the tasks in vain; later ones do not.
    pub(crate) fn replacing(tasks: Arc<WaitList>, tenants: usize) -> Self {
        let mut rotation = Self::new(tenants, tasks);
        // The slab fills its slots from 0 on, so the waker of slot 0 must be the last.
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

    /// The key after that of the last tenant.
    pub(crate) fn end(&self) -> usize {
        self.slots.iter().next_back().map_or(0, |(last, _)| last + 1)
    }

    /// Fills a vacant slot with a tenant, which gets the waker of the slot. The tenant has no turn before it is woken or
    /// [`set_ready`](Self::set_ready) is called.
    ///
    /// Cost: allocates a waker if the slot has none, and storage if there are more slots than ever before.
    pub(crate) fn fill_with(&mut self, tenant: impl FnOnce(Waker) -> T) -> usize {
        let key = self.slots.vacant_key();
        let waker = match self.spare.last() {
            Some(&(of, _)) if of == key => self.spare.pop().expect("looked above").1,
            _ => Waker::from(self.ready.waker(key)),
        };
        self.slots.insert(tenant(waker))
    }

    /// Vacates a slot. `split` takes the waker from the tenant.
    pub(crate) fn vacate<R>(&mut self, key: usize, split: impl FnOnce(T) -> (Waker, R)) -> Option<R> {
        let tenant = self.slots.try_remove(key)?;
        self.ready.remove(key);
        self.ready.stop_waiting(key);
        let (waker, rest) = split(tenant);
        self.spare.push((key, waker));
        Some(rest)
    }

    /// Releases the memory of the slots after the last tenant, and the wakers of all vacant slots. Keys do not change.
    ///
    /// Cost: a walk through the slots.
    pub(crate) fn shrink_to_fit(&mut self) -> Surplus {
        self.slots.shrink_to_fit();
        Surplus(mem::take(&mut self.spare), self.ready.truncate(self.end()))
    }

    /// Returns the key that has the next turn, if any is ready. When the turn has ended, the caller calls
    /// [`keep_ready`](Self::keep_ready) or [`clear_ready`](Self::clear_ready). After a stale wake, the slot may be vacant.
    #[inline]
    pub(crate) fn next_turn(&mut self) -> Option<usize> {
        self.ready.next_turn()
    }

    /// The key after that of the last turn. The search for the next turn starts here.
    #[inline]
    pub(crate) fn cursor(&self) -> usize {
        self.ready.cursor()
    }

    /// Gives up the turn that [`next_turn`](Self::next_turn) returned: sets the cursor back.
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

    /// Measures waits from now on; see [`Waits`](crate::engine::waits::Waits). To be called before any key is ready. The owner
    /// then calls [`begin_turn`](Self::begin_turn) for each turn, and the following methods. The counts of a rotation that this
    /// one replaces go on.
    pub(crate) fn measure_waits(&mut self, replaced: Option<&Self>) {
        let counts = replaced.unwrap_or(self).ready.waits().counts();
        self.ready.waits_mut().begin(counts);
    }

    /// The longest measured wait of a tenant for its turn, in turns of others.
    pub(crate) fn longest_wait(&self) -> u64 {
        self.ready.waits().longest()
    }

    /// Counts a turn of `key`, which was [cleared](Self::clear_ready) and begins its turn now. Returns whether its wait was
    /// measured. The caller then calls [`end_wait`](Self::end_wait).
    #[inline(always)]
    pub(crate) fn begin_turn(&mut self, key: usize) -> bool {
        self.ready.waits_mut().begin_turn(key)
    }

    /// Ends the measured wait. Returns whether another one is to be measured: that of the [last turn](Self::last_turn).
    #[inline]
    pub(crate) fn end_wait(&mut self) -> bool {
        self.ready.waits_mut().end()
    }

    /// Returns the key that has the last turn from now on, if any is ready.
    #[inline]
    pub(crate) fn last_turn(&self) -> Option<usize> {
        self.ready.last_turn()
    }

    /// Measures the wait of a ready key, which has begun with the turn that has just begun.
    #[inline]
    pub(crate) fn measure_wait(&mut self, key: usize) {
        self.ready.waits_mut().measure(key);
    }

    /// To be called when a key was made ready, unless its turn or a wake did that.
    #[inline]
    pub(crate) fn disturb_waits(&mut self) {
        self.ready.disturb();
    }

    /// To be called when `key` was cleared and had no turn.
    #[inline]
    pub(crate) fn stop_waiting(&mut self, key: usize) {
        self.ready.stop_waiting(key);
    }

    /// Takes all wakes and reports their keys, for an owner that keeps the ready keys itself. After a stale wake, the slot
    /// may be vacant.
    #[inline]
    pub(crate) fn take_woken(&mut self, report: impl FnMut(usize)) {
        self.ready.take_woken(report);
    }

    /// Returns whether any slot was woken since wakes were last absorbed, by [`next_turn`](Self::next_turn) or
    /// [`take_woken`](Self::take_woken).
    #[inline]
    pub(crate) fn is_woken(&self) -> bool {
        self.ready.is_woken()
    }

    /// Returns whether the slot has a wake that is not absorbed yet. After a poll, this usually means that the tenant woke
    /// itself in that poll.
    #[inline]
    pub(crate) fn was_woken(&self, key: usize) -> bool {
        self.ready.was_woken(key)
    }

    /// Prepares for the tasks to sleep. Returns the epoch for [`WaitList::wait`] on [`tasks`](Self::tasks), or `None` if a
    /// slot was woken meanwhile.
    ///
    /// To be called when [`next_turn`](Self::next_turn) has returned `None`, under the same lock or borrow.
    #[inline]
    pub(crate) fn park(&mut self) -> Option<usize> {
        debug_assert!(!self.ready.any());
        let epoch = self.tasks.epoch();
        self.ready.park().then_some(epoch)
    }

    /// Ends the sleep of tasks, because there is something to do that no wake announces. If this returns true, tasks may
    /// sleep, and the caller must call [`WaitList::wake_all`].
    #[inline]
    #[must_use]
    pub(crate) fn unpark(&mut self) -> bool {
        self.ready.unpark()
    }

    /// The tasks that wait for a ready slot.
    #[inline]
    pub(crate) fn tasks(&self) -> &Arc<WaitList> {
        &self.tasks
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A rotation in which each tenant is its own waker.
    fn rotation(tenants: usize) -> Rotation<Waker> {
        let mut rotation = Rotation::with_capacity(0);
        (0..tenants).for_each(|key| assert_eq!(rotation.fill_with(|waker| waker), key));
        rotation
    }

    fn vacate(rotation: &mut Rotation<Waker>, key: usize) -> Waker {
        rotation.vacate(key, |waker| (waker.clone(), waker)).expect("there is one")
    }

    /// Takes turns until no slot is ready. Returns their keys.
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

    /// The spare wakers then do not belong to the slots that are filled next.
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
