//! [`SelectMany`]: the next events of a select.

use crate::channel::select::{ChannelSelect, SelectEvent};
use futures_core::Stream;
use futures_core::future::FusedFuture;
use std::fmt;
use std::future::Future;
use std::pin::Pin;
use std::task::{Context, Poll, ready};

/// A future of the next events of several channels. Returned by [`ChannelSelect::recv_many`], which has an example.
#[must_use = "futures do nothing unless awaited"]
pub struct SelectMany<'a, St: Stream, Si> {
    select: &'a mut ChannelSelect<St, Si>,
    buffer: &'a mut Vec<SelectEvent<St::Item>>,
    limit: usize,
    is_done: bool,
}

impl<'a, St: Stream, Si> SelectMany<'a, St, Si> {
    pub(super) fn new(
        select: &'a mut ChannelSelect<St, Si>,
        buffer: &'a mut Vec<SelectEvent<St::Item>>,
        limit: usize,
    ) -> Self {
        Self { select, buffer, limit, is_done: false }
    }
}

impl<St: Stream, Si> Future for SelectMany<'_, St, Si> {
    type Output = usize;

    /// # Panics
    ///
    /// If the poll of a stream panics, or if the future is polled after it has completed.
    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<usize> {
        let this = self.get_mut();
        assert!(!this.is_done, "polled after completion");
        let received = ready!(this.select.poll_recv_many(cx, this.buffer, this.limit));
        this.is_done = true;
        Poll::Ready(received)
    }
}

impl<St: Stream, Si> FusedFuture for SelectMany<'_, St, Si> {
    fn is_terminated(&self) -> bool {
        self.is_done
    }
}

impl<St: Stream, Si> fmt::Debug for SelectMany<'_, St, Si> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("SelectMany").field("limit", &self.limit).finish_non_exhaustive()
    }
}
