//! [`Signal`]: something that comes true and then stays so; tasks wait for it.

use crate::wait_list::{WaitList, Waiter};
use std::task::{Context, Poll};

#[derive(Debug)]
pub(crate) struct Signal {
    tasks: WaitList,
}

impl Signal {
    pub(crate) fn new() -> Self {
        Self { tasks: WaitList::new() }
    }

    /// It has come true: wakes all who wait.
    pub(crate) fn raise(&self) {
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

    /// Waits no more.
    pub(crate) fn leave(&self, waiter: &mut Waiter) {
        self.tasks.leave(waiter);
    }
}
