//! The streams of the model.

use super::operation::{Operation, Trick};
use super::oracle::{Oracle, Outcome, Received};
use futures::Stream;
use std::cell::RefCell;
use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};
use std::pin::Pin;
use std::rc::{Rc, Weak};
use std::task::{Context, Poll, Waker};

/// Performs operations, also in the middle of a poll.
pub(crate) trait World {
    fn perform(&self, operation: &Operation);
}

/// A stream that acts as the oracle requires, and reports its polls to the oracle.
pub(crate) struct Script {
    pub(crate) number: usize,
    pub(crate) oracle: Rc<RefCell<Oracle>>,
    pub(crate) world: Weak<dyn World>,
}

/// The payload of a panic in a stream's poll.
struct Tantrum;

impl Script {
    fn perform(&self, operations: &[Operation]) {
        if let Some(world) = self.world.upgrade() {
            operations.iter().for_each(|operation| world.perform(operation));
        }
    }
}

impl Stream for Script {
    type Item = u32;

    fn poll_next(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<u32>> {
        let trick = self.oracle.borrow_mut().begin_poll(self.number, cx.waker());
        match &trick {
            Some(Trick::WakeItself) => {
                self.oracle.borrow_mut().wake(self.number);
                cx.waker().wake_by_ref();
            }
            Some(Trick::BeforeLook(operations)) => self.perform(operations),
            Some(Trick::AfterLook(_) | Trick::Panic | Trick::InDrop(_)) | None => {}
        }
        let look = self.oracle.borrow_mut().look(self.number, trick.as_ref());
        if let Some(Trick::AfterLook(operations)) = &trick {
            self.perform(operations);
        }
        let outcome = self.oracle.borrow_mut().end_poll(self.number, look);
        match outcome {
            Outcome::Item(item) => Poll::Ready(Some(item)),
            Outcome::Ended { .. } => Poll::Ready(None),
            Outcome::Pending { .. } => Poll::Pending,
            // Without the panic hook, because a fuzz target's hook takes every panic for a failure.
            Outcome::Panicked => resume_unwind(Box::new(Tantrum)),
        }
    }
}

impl Drop for Script {
    fn drop(&mut self) {
        if std::thread::panicking() {
            return;
        }
        let in_drop = self.oracle.borrow_mut().dropped(self.number);
        self.perform(&in_drop);
    }
}

/// Receives, and returns the panic of a stream as a result.
pub(crate) fn receive(poll: impl FnOnce() -> Received) -> Received {
    match catch_unwind(AssertUnwindSafe(poll)) {
        Ok(received) => received,
        Err(panic) if panic.is::<Tantrum>() => Received::Panicked,
        Err(panic) => resume_unwind(panic),
    }
}

/// Performs an operation that concerns only a stream. Returns `false` for other operations.
pub(crate) fn perform_on_stream(oracle: &RefCell<Oracle>, operation: &Operation) -> bool {
    let waker: Option<Waker> = match *operation {
        Operation::Push { stream } => oracle.borrow_mut().push(stream),
        Operation::End { stream } => oracle.borrow_mut().end(stream),
        Operation::Wake { stream } => oracle.borrow_mut().wake_any(stream),
        Operation::WakeStale { waker } => oracle.borrow_mut().stale_waker(waker),
        Operation::Trick { stream, ref trick } => oracle.borrow_mut().trick(stream, trick),
        _ => return false,
    };
    waker.into_iter().for_each(Waker::wake);
    true
}
