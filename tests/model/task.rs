//! A task that receives, and a check of its wakes.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::task::{Wake, Waker};

/// A waker that counts.
#[derive(Default)]
struct Wakes(AtomicUsize);

impl Wake for Wakes {
    fn wake(self: Arc<Self>) {
        self.wake_by_ref();
    }

    fn wake_by_ref(self: &Arc<Self>) {
        self.0.fetch_add(1, Ordering::Relaxed);
    }
}

#[derive(Default)]
pub(crate) struct Task {
    wakes: Arc<Wakes>,
    /// The next poll has the waker of another task.
    changes: bool,
    /// The last poll was in vain, and did not wake the task.
    is_parked: bool,
}

impl Task {
    pub(crate) fn change(&mut self) {
        self.changes = true;
    }

    /// Starts a poll, and returns its waker.
    pub(crate) fn unpark(&mut self) -> Waker {
        self.is_parked = false;
        if std::mem::take(&mut self.changes) {
            self.wakes = Arc::default();
        }
        self.wakes.0.store(0, Ordering::Relaxed);
        Waker::from(Arc::clone(&self.wakes))
    }

    /// After a poll in vain: sleeps, unless the task was woken in the meantime. Returns whether it was woken.
    pub(crate) fn park(&mut self) -> bool {
        self.is_parked = self.wakes() == 0;
        !self.is_parked
    }

    /// Checks that a sleeping task is woken when there is an event to receive, and not again until it polls.
    pub(crate) fn check(&self, has_something: bool) {
        self.check_in_lists(has_something, 1);
    }

    /// [`check`](Self::check) for a task that waits in so many lists. Each of them may wake it once.
    pub(crate) fn check_in_lists(&self, has_something: bool, lists: usize) {
        if self.is_parked {
            assert!(self.wakes() > 0 || !has_something, "a task sleeps while there is something to receive");
            assert!(self.wakes() <= lists, "a task was woken {} times", self.wakes());
        }
    }

    fn wakes(&self) -> usize {
        self.wakes.0.load(Ordering::Relaxed)
    }
}
