//! [`Recv`]: receives the next event of a channel, given its id; and `try_recv`.

use crate::channel::Channel;
use crate::channel::turns::Turns;
use crate::engine::patience::Patience;
use crate::error::{MultiplexerError, TryRecvError};
use crate::id::{ChannelId, StreamId};
use crate::registry::Registry;
use crate::wait_list::Waiter;
use futures_core::Stream;
use futures_core::future::FusedFuture;
use std::fmt;
use std::future::Future;
use std::ops::ControlFlow;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};

/// The stream, and an item, or `None` if the stream left.
type Received<St> = Result<(StreamId, Option<<St as Stream>::Item>), MultiplexerError>;

/// A future that receives the next event of a channel. Returned by [`Multiplexer::recv`](crate::Multiplexer::recv),
/// which has an example.
#[must_use = "futures do nothing unless awaited"]
pub struct Recv<'a, St, Si> {
    registry: &'a Registry<St, Si>,
    id: ChannelId,
    /// Looked up in the first poll.
    channel: Option<Arc<Channel<St>>>,
    waiter: Waiter,
    is_done: bool,
}

impl<'a, St, Si> Recv<'a, St, Si> {
    pub(crate) fn new(registry: &'a Registry<St, Si>, id: ChannelId) -> Self {
        Self { registry, id, channel: None, waiter: Waiter::default(), is_done: false }
    }
}

impl<St: Stream, Si> Recv<'_, St, Si> {
    fn receive(&mut self, cx: &mut Context<'_>) -> Poll<Received<St>> {
        let channel = match &self.channel {
            Some(channel) => channel,
            None => self.channel.insert(self.registry.channel(self.id)?),
        };
        let event = ready!(channel.poll_event(cx, &mut self.waiter, self.registry));
        Poll::Ready(match event {
            Some((stream, event)) => Ok((stream, event.item())),
            None if channel.is_removed() => Err(MultiplexerError::UnknownChannel(self.id)),
            None => Err(MultiplexerError::Closed),
        })
    }
}

impl<St: Stream, Si> Future for Recv<'_, St, Si> {
    type Output = Received<St>;

    /// # Panics
    ///
    /// If a stream's poll panics, or if the future is polled again after it has completed.
    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let this = self.get_mut();
        assert!(!this.is_done, "polled after completion");
        let received = ready!(this.receive(cx));
        this.is_done = true;
        Poll::Ready(received)
    }
}

impl<St: Stream, Si> FusedFuture for Recv<'_, St, Si> {
    fn is_terminated(&self) -> bool {
        self.is_done
    }
}

impl<St, Si> Drop for Recv<'_, St, Si> {
    fn drop(&mut self) {
        if let Some(channel) = &self.channel {
            channel.tasks().leave(&mut self.waiter);
        }
    }
}

impl<St, Si> fmt::Debug for Recv<'_, St, Si> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Recv").field("channel", &self.id).finish_non_exhaustive()
    }
}

/// Returns the next event of a channel, if one is available immediately.
pub(crate) fn try_recv<St: Stream, Si>(
    registry: &Registry<St, Si>,
    id: ChannelId,
) -> Result<(StreamId, Option<St::Item>), TryRecvError> {
    let channel = registry.channel(id).map_err(|_| TryRecvError::UnknownChannel(id))?;
    let mut reported = None;
    let report = |event| {
        reported = Some(event);
        ControlFlow::Break(())
    };
    let turns = channel.take_turns(registry, &mut Patience::default(), report, || true);
    match (reported, turns) {
        (Some((stream, event)), _) => Ok((stream, event.item())),
        (None, Turns::Ended) if channel.is_removed() => Err(TryRecvError::UnknownChannel(id)),
        (None, Turns::Ended) => Err(TryRecvError::Closed),
        (None, _) => Err(TryRecvError::Empty),
    }
}
