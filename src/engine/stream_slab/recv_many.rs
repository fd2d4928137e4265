//! [`RecvMany`]: receives several events from a [`StreamSlab`].

use crate::engine::stream_slab::StreamSlab;
use futures_core::Stream;
use futures_core::future::FusedFuture;
use std::fmt;
use std::future::Future;
use std::pin::Pin;
use std::task::{Context, Poll, ready};

/// A future that receives the next events of a [`StreamSlab`]. Returned by [`StreamSlab::recv_many`], which has an example.
///
/// # Panics
///
/// If it is polled again after it has completed.
#[must_use = "futures do nothing unless awaited"]
pub struct RecvMany<'a, St: Stream> {
    slab: &'a mut StreamSlab<St>,
    buffer: &'a mut Vec<(usize, Option<St::Item>)>,
    limit: usize,
    is_done: bool,
}

impl<'a, St: Stream> RecvMany<'a, St> {
    pub(super) fn new(
        slab: &'a mut StreamSlab<St>,
        buffer: &'a mut Vec<(usize, Option<St::Item>)>,
        limit: usize,
    ) -> Self {
        Self { slab, buffer, limit, is_done: false }
    }
}

impl<St: Stream + Unpin> Future for RecvMany<'_, St> {
    type Output = usize;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<usize> {
        let this = self.get_mut();
        assert!(!this.is_done, "polled after completion");
        let received = ready!(this.slab.poll_recv_many(cx, this.buffer, this.limit));
        this.is_done = true;
        Poll::Ready(received)
    }
}

impl<St: Stream + Unpin> FusedFuture for RecvMany<'_, St> {
    fn is_terminated(&self) -> bool {
        self.is_done
    }
}

impl<St: Stream> fmt::Debug for RecvMany<'_, St> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("RecvMany").field("limit", &self.limit).finish_non_exhaustive()
    }
}
