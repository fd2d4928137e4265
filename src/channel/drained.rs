//! [`Drained`]: waits until a channel is closed and has no stream.

use crate::channel::Channel;
use crate::error::MultiplexerError;
use crate::id::ChannelId;
use crate::registry::Registry;
use crate::wait_list::Waiter;
use futures_core::future::FusedFuture;
use std::fmt;
use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};

/// A future that completes when a channel is closed and has no stream. Returned by
/// [`Multiplexer::drained`](crate::Multiplexer::drained), which has an example.
#[must_use = "futures do nothing unless awaited"]
pub struct Drained<'a, St, Si> {
    registry: &'a Registry<St, Si>,
    id: ChannelId,
    /// Looked up in the first poll.
    channel: Option<Arc<Channel<St>>>,
    waiter: Waiter,
    is_done: bool,
}

impl<'a, St, Si> Drained<'a, St, Si> {
    pub(crate) fn new(registry: &'a Registry<St, Si>, id: ChannelId) -> Self {
        Self { registry, id, channel: None, waiter: Waiter::default(), is_done: false }
    }

    fn wait(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), MultiplexerError>> {
        let channel = match &self.channel {
            Some(channel) => channel,
            None => self.channel.insert(self.registry.channel(self.id)?),
        };
        channel.drained().poll(cx, &mut self.waiter, || channel.is_drained()).map(Ok)
    }
}

impl<St, Si> Future for Drained<'_, St, Si> {
    type Output = Result<(), MultiplexerError>;

    /// # Panics
    ///
    /// If it is polled again after it has completed.
    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let this = self.get_mut();
        assert!(!this.is_done, "polled after completion");
        let drained = ready!(this.wait(cx));
        this.is_done = true;
        Poll::Ready(drained)
    }
}

impl<St, Si> FusedFuture for Drained<'_, St, Si> {
    fn is_terminated(&self) -> bool {
        self.is_done
    }
}

impl<St, Si> Drop for Drained<'_, St, Si> {
    fn drop(&mut self) {
        if let Some(channel) = &self.channel {
            channel.drained().leave(&mut self.waiter);
        }
    }
}

impl<St, Si> fmt::Debug for Drained<'_, St, Si> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Drained").field("channel", &self.id).finish_non_exhaustive()
    }
}
