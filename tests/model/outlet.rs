//! The sinks of the model, and the items that they received.

use futures::Sink;
use std::cell::{Cell, RefCell};
use std::pin::Pin;
use std::rc::Rc;
use std::task::{Context, Poll, Waker};

/// The error of a sink.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Broken;

/// The state of a sink, shared by the test and the sink.
pub(crate) struct Account {
    pub(crate) is_ready: bool,
    /// Whether the sink flushes and closes.
    pub(crate) flushes: bool,
    /// The next poll fails.
    pub(crate) fails: bool,
    given: Vec<u32>,
    flushed: usize,
    /// The items that a call reported as accepted.
    accepted: Vec<u32>,
    /// The sink has failed, and must not be polled any more.
    has_failed: bool,
    /// The sink failed, and no call has reported the failure.
    untold: bool,
    is_closing: bool,
    is_closed: bool,
    /// The sink was ready in its last poll, and has received no item since.
    was_ready: bool,
    waker: Option<Waker>,
}

/// The expected result for an item.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Fate {
    Taken,
    Full,
    Closed,
    Fails,
}

impl Account {
    pub(crate) fn new() -> Self {
        Self {
            is_ready: true,
            flushes: true,
            fails: false,
            given: Vec::new(),
            flushed: 0,
            accepted: Vec::new(),
            has_failed: false,
            untold: false,
            is_closing: false,
            is_closed: false,
            was_ready: false,
            waker: None,
        }
    }

    /// The next item for this sink, and its expected result.
    pub(crate) fn next(&self) -> (u32, Fate) {
        let fate = match () {
            () if self.has_failed || self.is_closing => Fate::Closed,
            () if self.fails => Fate::Fails,
            () if self.is_ready => Fate::Taken,
            () => Fate::Full,
        };
        (u32::try_from(self.accepted.len()).expect("a few"), fate)
    }

    /// A call reported that the sink has accepted the items, and whether it tried to flush them.
    pub(crate) fn accepted(&mut self, items: impl IntoIterator<Item = u32>, was_flushed: bool) {
        self.accepted.extend(items);
        assert_eq!(self.given, self.accepted, "each once, in the order of the calls");
        assert!(!was_flushed || !self.flushes || self.is_flushed(), "it was not flushed");
    }

    /// A call reported that the sink failed.
    pub(crate) fn told(&mut self) {
        assert!(std::mem::take(&mut self.untold), "it has not failed, or somebody was told");
    }

    pub(crate) fn is_flushed(&self) -> bool {
        self.flushed == self.given.len()
    }

    /// Whether a flusher has work here.
    pub(crate) fn is_to_be_flushed(&self) -> bool {
        !self.is_flushed() && !self.has_failed && !self.is_closed && (self.flushes || self.fails)
    }

    pub(crate) fn close(&mut self) {
        self.is_closing = true;
    }

    pub(crate) fn has_failed(&self) -> bool {
        self.has_failed
    }

    pub(crate) fn is_closed(&self) -> bool {
        self.is_closed
    }

    /// Takes the sink's waker, to wake it for a change.
    pub(crate) fn take_waker(&mut self) -> Option<Waker> {
        self.waker.take()
    }

    /// Checks that the reports match the state.
    pub(crate) fn check(&self) {
        // The items themselves are compared when they are accepted.
        assert_eq!(self.given.len(), self.accepted.len(), "each item is delivered once, or handed back");
        assert!(!self.untold, "a failure is told to nobody");
    }

    fn poll(&mut self, cx: &Context<'_>, done: bool) -> Poll<Result<(), Broken>> {
        assert!(!self.has_failed && !self.is_closed, "it is polled after its end");
        if self.fails {
            (self.has_failed, self.untold) = (true, true);
            return Poll::Ready(Err(Broken));
        }
        if done {
            return Poll::Ready(Ok(()));
        }
        self.waker = Some(cx.waker().clone());
        Poll::Pending
    }
}

/// A sink that acts as its account requires.
pub(crate) struct Outlet {
    pub(crate) account: Rc<RefCell<Account>>,
    /// Counts the sinks that were not dropped, and their flushes.
    pub(crate) count: Rc<Cell<usize>>,
}

impl Sink<u32> for Outlet {
    type Error = Broken;

    fn poll_ready(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Result<(), Broken>> {
        let mut account = self.account.borrow_mut();
        account.was_ready = account.is_ready;
        let is_ready = account.is_ready;
        account.poll(cx, is_ready)
    }

    fn start_send(self: Pin<&mut Self>, item: u32) -> Result<(), Broken> {
        let mut account = self.account.borrow_mut();
        assert!(std::mem::take(&mut account.was_ready), "it was not ready");
        account.given.push(item);
        Ok(())
    }

    fn poll_flush(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Result<(), Broken>> {
        let mut account = self.account.borrow_mut();
        assert!(!account.is_flushed(), "there is nothing to flush");
        self.count.set(self.count.get() + 1);
        let flushes = account.flushes;
        let flushed = account.poll(cx, flushes);
        if let Poll::Ready(Ok(())) = flushed {
            account.flushed = account.given.len();
        }
        flushed
    }

    fn poll_close(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Result<(), Broken>> {
        let mut account = self.account.borrow_mut();
        let closes = account.flushes;
        let closed = account.poll(cx, closes);
        if let Poll::Ready(Ok(())) = closed {
            account.flushed = account.given.len();
            account.is_closed = true;
        }
        closed
    }
}
