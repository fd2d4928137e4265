//! [`Signal`]: something that comes true and then stays so; tasks and threads wait for it.

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

    /// It has come true: wakes all who wait.
    pub(crate) fn raise(&self) {
        // Threads first, for a task's waker may panic.
        self.threads.wake_all();
        self.tasks.wake_all();
    }

    /// Waits until `is_raised`. Who makes that true calls [`raise`](Self::raise) next.
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

    /// Blocks the thread until `is_raised`, or until the deadline if there is one. Returns whether it is raised.
    #[cfg(all(feature = "blocking", not(target_family = "wasm")))]
    pub(crate) fn wait(&self, deadline: Option<Instant>, is_raised: impl Fn() -> bool) -> bool {
        self.threads.wait(deadline, is_raised)
    }

    /// Gives back memory that no task waits in; to be dropped with no lock held.
    pub(crate) fn shrink_to_fit(&self) -> Option<Box<Crowd>> {
        self.tasks.shrink_to_fit()
    }

    /// Waits no more.
    pub(crate) fn leave(&self, waiter: &mut Waiter) {
        self.tasks.leave(waiter);
    }
}
