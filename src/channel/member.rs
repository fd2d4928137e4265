//! [`Member`]: a stream in a channel.

use crate::id::StreamId;
use futures_core::Stream;
use pin_project_lite::pin_project;
use std::mem;
use std::pin::Pin;
use std::task::{Context, Poll, Waker};

pin_project! {
    /// A stream in a channel. It is boxed, so that taking it out or moving it copies one pointer, and pinned in its box, so
    /// that it need not be `Unpin`.
    pub(crate) struct Member<St> {
        pub(crate) id: StreamId,
        // The waker of its slot; a no-op waker while the member has no slot.
        waker: Waker,
        #[pin]
        stream: St,
    }
}

pub(crate) type BoxedMember<St> = Pin<Box<Member<St>>>;

impl<St> Member<St> {
    pub(crate) fn new(id: StreamId, stream: St) -> BoxedMember<St> {
        Box::pin(Self { id, waker: Waker::noop().clone(), stream })
    }

    pub(super) fn set_waker(self: Pin<&mut Self>, waker: Waker) {
        // The replaced waker is the no-op waker: its drop runs no foreign code.
        *self.project().waker = waker;
    }

    pub(super) fn take_waker(self: Pin<&mut Self>) -> Waker {
        mem::replace(self.project().waker, Waker::noop().clone())
    }

    pub(super) fn stream(self: Pin<&mut Self>) -> Pin<&mut St> {
        self.project().stream
    }

    pub(crate) fn into_stream(self: Pin<Box<Self>>) -> St
    where
        St: Unpin,
    {
        Pin::into_inner(self).stream
    }
}

impl<St: Stream> Member<St> {
    #[inline]
    pub(super) fn poll(self: Pin<&mut Self>) -> Poll<Option<St::Item>> {
        let this = self.project();
        this.stream.poll_next(&mut Context::from_waker(this.waker))
    }
}
