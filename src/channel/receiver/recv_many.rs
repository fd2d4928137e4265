//! [`RecvMany`]: receives several events from a [`ChannelReceiver`].

use crate::channel::receiver::ChannelReceiver;
use crate::event::StreamEvent;
use crate::id::StreamId;
use futures_core::Stream;
use futures_core::future::FusedFuture;
use std::fmt;
use std::future::Future;
use std::pin::Pin;
use std::task::{Context, Poll, ready};

/// A future that receives the next events of a channel. Returned by [`ChannelReceiver::recv_many`], which has an example.
#[must_use = "futures do nothing unless awaited"]
pub struct RecvMany<'a, St: Stream, Si> {
    receiver: &'a mut ChannelReceiver<St, Si>,
    buffer: &'a mut Vec<(StreamId, StreamEvent<St::Item>)>,
    limit: usize,
    is_done: bool,
}

impl<'a, St: Stream, Si> RecvMany<'a, St, Si> {
    pub(crate) fn new(
        receiver: &'a mut ChannelReceiver<St, Si>,
        buffer: &'a mut Vec<(StreamId, StreamEvent<St::Item>)>,
        limit: usize,
    ) -> Self {
        Self { receiver, buffer, limit, is_done: false }
    }
}

impl<St: Stream, Si> Future for RecvMany<'_, St, Si> {
    type Output = usize;

    /// # Panics
    ///
    /// If a stream's poll panics, or if the future is polled again after it has completed.
    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<usize> {
        let this = self.get_mut();
        assert!(!this.is_done, "polled after completion");
        let received = ready!(this.receiver.poll_recv_many(cx, this.buffer, this.limit));
        this.is_done = true;
        Poll::Ready(received)
    }
}

impl<St: Stream, Si> FusedFuture for RecvMany<'_, St, Si> {
    fn is_terminated(&self) -> bool {
        self.is_done
    }
}

impl<St: Stream, Si> fmt::Debug for RecvMany<'_, St, Si> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("RecvMany").field("limit", &self.limit).finish_non_exhaustive()
    }
}
