//! The members and sinks of the benchmarks. They are as cheap as possible, so that the benchmarks measure the crate.

#![allow(dead_code, reason = "each benchmark uses its part")]

use futures::{Sink, Stream};
use std::cell::{Cell, RefCell};
use std::convert::Infallible;
use std::pin::Pin;
use std::rc::Rc;
use std::task::{Context, Poll, Waker};

/// What a member yields next, and its waker. The member and the benchmark share it, in one thread.
#[derive(Default)]
pub(crate) struct Slot {
    items: Cell<u64>,
    ends: Cell<bool>,
    waker: RefCell<Option<Waker>>,
}

impl Slot {
    /// Adds items, and wakes the member.
    pub(crate) fn push(&self, items: u64) {
        self.items.set(self.items.get() + items);
        if let Some(waker) = self.waker.take() {
            waker.wake();
        }
    }

    /// Ends the member after its items.
    pub(crate) fn end(&self) {
        self.ends.set(true);
    }

    pub(crate) fn left(&self) -> u64 {
        self.items.get()
    }
}

/// A stream with `SIZE` bytes of its own.
pub(crate) struct Member<const SIZE: usize> {
    slot: Rc<Slot>,
    _own: [u8; SIZE],
}

impl<const SIZE: usize> Member<SIZE> {
    pub(crate) fn new(slot: &Rc<Slot>) -> Self {
        Self { slot: Rc::clone(slot), _own: [0; SIZE] }
    }
}

impl<const SIZE: usize> Stream for Member<SIZE> {
    type Item = u64;

    fn poll_next(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<u64>> {
        let slot = &self.slot;
        match slot.items.get() {
            0 if slot.ends.get() => Poll::Ready(None),
            0 => {
                slot.waker.replace(Some(cx.waker().clone()));
                Poll::Pending
            }
            items => {
                slot.items.set(items - 1);
                Poll::Ready(Some(items))
            }
        }
    }
}

/// A sink that counts. While it is shut, it is not ready.
#[derive(Default)]
pub(crate) struct Count {
    pub(crate) items: Cell<u64>,
    pub(crate) is_shut: Cell<bool>,
    waker: RefCell<Option<Waker>>,
}

impl Count {
    pub(crate) fn open(&self) {
        self.is_shut.set(false);
        if let Some(waker) = self.waker.take() {
            waker.wake();
        }
    }
}

/// Takes items for a [`Count`].
pub(crate) struct Counting(pub(crate) Rc<Count>);

impl Sink<u64> for Counting {
    type Error = Infallible;

    fn poll_ready(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
        if self.0.is_shut.get() {
            self.0.waker.replace(Some(cx.waker().clone()));
            return Poll::Pending;
        }
        Poll::Ready(Ok(()))
    }

    fn start_send(self: Pin<&mut Self>, item: u64) -> Result<(), Infallible> {
        self.0.items.set(self.0.items.get() + item);
        Ok(())
    }

    fn poll_flush(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
        Poll::Ready(Ok(()))
    }

    fn poll_close(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
        Poll::Ready(Ok(()))
    }
}

/// The numbers below `end`, in an order that no cache predicts, the same in each run.
pub(crate) struct Picks {
    state: u64,
    end: usize,
}

impl Picks {
    pub(crate) fn below(end: usize) -> Self {
        Self { state: 0x9e37_79b9_7f4a_7c15, end }
    }

    pub(crate) fn pick(&mut self) -> usize {
        self.state ^= self.state << 13;
        self.state ^= self.state >> 7;
        self.state ^= self.state << 17;
        usize::try_from(self.state >> 32).expect("32 bits") % self.end
    }
}
