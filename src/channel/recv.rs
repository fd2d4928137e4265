//! [`Recv`]: the next event of a channel that is named.

use crate::channel::Channel;
use crate::channel::turns::Turns;
use crate::engine::patience::Patience;
use crate::error::{MultiplexerError, TryRecvError};
use crate::id::{ChannelId, StreamId};
use crate::registry::Registry;
use crate::wait_list::Waiter;
use futures_core::Stream;
use std::fmt;
use std::future::Future;
use std::ops::ControlFlow;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};

/// The next event of a channel; from [`Multiplexer::recv`](crate::Multiplexer::recv).
#[must_use = "futures do nothing unless awaited"]
pub struct Recv<'a, St, Si> {
    registry: &'a Registry<St, Si>,
    id: ChannelId,
    /// Found when it is first polled.
    channel: Option<Arc<Channel<St>>>,
    waiter: Waiter,
}

impl<'a, St, Si> Recv<'a, St, Si> {
    pub(crate) fn new(registry: &'a Registry<St, Si>, id: ChannelId) -> Self {
        Self { registry, id, channel: None, waiter: Waiter::default() }
    }
}

impl<St: Stream + Unpin, Si> Future for Recv<'_, St, Si> {
    type Output = Result<(StreamId, Option<St::Item>), MultiplexerError>;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let this = self.get_mut();
        let channel = match &this.channel {
            Some(channel) => channel,
            None => this.channel.insert(this.registry.channel(this.id)?),
        };
        let event = ready!(channel.poll_event(cx, &mut this.waiter, this.registry));
        Poll::Ready(match event {
            Some((stream, event)) => Ok((stream, event.item())),
            None => Err(MultiplexerError::UnknownChannel(this.id)),
        })
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

/// The next event of a channel, if there is one at once.
pub(crate) fn try_recv<St: Stream + Unpin, Si>(
    registry: &Registry<St, Si>,
    id: ChannelId,
) -> Result<(StreamId, Option<St::Item>), TryRecvError> {
    let channel = registry.channel(id).map_err(|_| TryRecvError::UnknownChannel(id))?;
    let mut told = None;
    let turns = channel.take_turns(registry, &mut Patience::default(), |event| {
        told = Some(event);
        ControlFlow::Break(())
    });
    match (told, turns) {
        (Some((stream, event)), _) => Ok((stream, event.item())),
        (None, Turns::Ended) => Err(TryRecvError::UnknownChannel(id)),
        (None, _) => Err(TryRecvError::Empty),
    }
}
