//! [`Signal`]: a condition that becomes true once and stays true. Tasks and threads wait for it.

use crate::threads::Threads;
use crate::wait_list::crowd::Crowd;
use crate::wait_list::{WaitList, Waiter};
use std::task::{Context, Poll};
#[cfg(all(feature = "blocking", not(target_family = "wasm")))]
use std::time::Instant;

#[derive(Debug)]
pub(crate) struct Signal {
    tasks: WaitList,
    threads: Threads,
}

impl Signal {
    pub(crate) fn new() -> Self {
        Self { tasks: WaitList::new(), threads: Threads::default() }
    }

    /// Wakes all waiting tasks and threads, because the condition has become true.
    pub(crate) fn raise(&self) {
        // Threads first, because a task's waker may panic.
        self.threads.wake_all();
        self.tasks.wake_all();
    }

    /// Waits until `is_raised` returns `true`. Code that makes the condition true must call [`raise`](Self::raise)
    /// after that.
    pub(crate) fn poll(
        &self,
        cx: &mut Context<'_>,
        waiter: &mut Waiter,
        is_raised: impl Fn() -> bool,
    ) -> Poll<()> {
        loop {
            let epoch = self.tasks.epoch();
            if is_raised() {
                return Poll::Ready(());
            }
            if self.tasks.wait(waiter, epoch, cx.waker().clone()) {
                return Poll::Pending;
            }
        }
    }

    /// Blocks the thread until `is_raised` returns `true`, or until the deadline, if any. Returns the last result of
    /// `is_raised`.
    #[cfg(all(feature = "blocking", not(target_family = "wasm")))]
    pub(crate) fn wait(&self, deadline: Option<Instant>, is_raised: impl Fn() -> bool) -> bool {
        self.threads.wait(deadline, is_raised)
    }

    /// Returns memory that no waiting task uses, to be dropped with no lock held.
    pub(crate) fn shrink_to_fit(&self) -> Option<Box<Crowd>> {
        self.tasks.shrink_to_fit()
    }

    /// Stops waiting.
    pub(crate) fn leave(&self, waiter: &mut Waiter) {
        self.tasks.leave(waiter);
    }
}
