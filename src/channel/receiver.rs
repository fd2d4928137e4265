//! [`ChannelReceiver`]: a channel as a [`Stream`].

use crate::channel::Channel;
use crate::channel::pace::Pace;
use crate::error::MultiplexerError;
use crate::event::StreamEvent;
use crate::id::{ChannelId, StreamId};
use crate::registry::Registry;
use crate::unwind::afterwards;
use crate::wait_list::Waiter;
use futures_core::Stream;
use futures_core::stream::FusedStream;
use std::fmt;
use std::num::NonZeroU32;
use std::ops::ControlFlow;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

mod recv_many;

pub use recv_many::RecvMany;

/// The maximum number of events that one poll of [`ChannelReceiver::recv_many`] takes. It bounds a poll even if a stream
/// always has an item, or a million departures are unread.
pub(crate) const EVENTS_PER_POLL: usize = 4096;

/// Receives the items of the streams in one channel, and reports when a stream leaves it.
///
/// Created by [`Multiplexer::receiver`](crate::Multiplexer::receiver). A channel may have several receivers, and concurrent
/// [`recv`](crate::Multiplexer::recv) calls; each event is yielded once, by one of them. The task that polls a receiver also
/// polls the channel's streams. To apply backpressure, stop receiving: the streams are then not polled.
///
/// The receiver ends (yields `None`) when its channel was removed, or when the channel is closed and empty. A channel
/// is closed by [`close_channel`](crate::Multiplexer::close_channel), by
/// [`Multiplexer::close`](crate::Multiplexer::close), or when the last handle is dropped. While an open channel is
/// empty, the receiver waits.
///
/// After the last handle was dropped, a channel continues as long as it has a receiver. Its streams are dropped with
/// the last receiver.
///
/// ```
/// use futures::{StreamExt, executor::block_on, stream};
/// use stream_multiplexer::{Multiplexer, StreamEvent};
///
/// let multiplexer = Multiplexer::without_sinks();
/// multiplexer.add_channel(1)?;
/// let id = multiplexer.add_stream(stream::iter(["hello"]), 1)?;
/// multiplexer.close();
///
/// let mut receiver = multiplexer.receiver(1)?;
/// block_on(async {
///     assert_eq!(receiver.next().await, Some((id, StreamEvent::Item("hello"))));
///     assert_eq!(receiver.next().await, Some((id, StreamEvent::Ended)));
///     assert_eq!(receiver.next().await, None);
/// });
/// # Ok::<(), stream_multiplexer::MultiplexerError>(())
/// ```
///
/// # Fairness
///
/// After a stream was polled, every other stream of its channel that was ready at that moment is polled before it is polled
/// again. The receivers of a channel share the turns. The [crate documentation](crate#fairness) defines "ready" and "that
/// moment", and describes how departures share the turns.
///
/// # Yielding
///
/// One poll takes at most about 64 turns in vain (including turns for stale wakes, from wakers of streams that have
/// left), and at most two consecutive turns of streams that wake themselves in their own poll. After that, the receiver
/// wakes its task and returns `Poll::Pending`. A stream that always has an item never makes the receiver yield: see
/// [`yield_every`](Self::yield_every).
///
/// # Panics
///
/// A panic in a stream's poll propagates to the caller. The pair is removed, the channel reports `Removed`, and all other
/// pairs continue. If the waker of another receiver panics, or the drop of a stream that was removed during its poll, the
/// item of that poll may be lost.
///
/// # Cancel safety
///
/// Dropping a `next()` or a [`recv_many`](Self::recv_many) loses no event.
pub struct ChannelReceiver<St, Si = ()> {
    registry: Arc<Registry<St, Si>>,
    channel: Arc<Channel<St>>,
    waiter: Waiter,
    pace: Pace,
    terminated: bool,
}

impl<St, Si> ChannelReceiver<St, Si> {
    pub(crate) fn new(
        registry: &Arc<Registry<St, Si>>,
        channel: ChannelId,
    ) -> Result<Self, MultiplexerError> {
        let channel = registry.attach(channel)?;
        let registry = Arc::clone(registry);
        Ok(Self { registry, channel, waiter: Waiter::default(), pace: Pace::new(None), terminated: false })
    }

    /// Returns the channel that this receiver receives from.
    ///
    /// ```
    /// use futures::stream::Pending;
    /// use stream_multiplexer::Multiplexer;
    ///
    /// let multiplexer = Multiplexer::<Pending<()>>::without_sinks();
    /// multiplexer.add_channel(7)?;
    /// assert_eq!(multiplexer.receiver(7)?.channel_id(), 7);
    /// # Ok::<(), stream_multiplexer::MultiplexerError>(())
    /// ```
    #[must_use]
    pub fn channel_id(&self) -> ChannelId {
        self.channel.id()
    }

    /// Sets after how many consecutive events, with no `Pending` in between, the receiver yields to the executor. To
    /// yield, it wakes its task and returns `Poll::Pending` once. With `None`, the default, it never yields because of
    /// events. [`ChannelSelect::yield_every`](crate::ChannelSelect::yield_every) describes the effect under each
    /// executor.
    ///
    /// Without this setting, a loop that receives from a stream that always has an item, and takes no part in a cooperative
    /// budget, never yields, and a timeout around the loop does not fire.
    ///
    /// ```
    /// # use futures::{FutureExt, StreamExt, stream};
    /// # use std::num::NonZeroU32;
    /// # use stream_multiplexer::Multiplexer;
    /// # let multiplexer = Multiplexer::without_sinks();
    /// # multiplexer.add_channel(1)?;
    /// # multiplexer.add_stream(stream::repeat(()), 1)?;
    /// let mut receiver = multiplexer.receiver(1)?;
    /// receiver.yield_every(NonZeroU32::new(1));
    /// assert!(receiver.next().now_or_never().is_some());
    /// assert!(receiver.next().now_or_never().is_none(), "the receiver yields");
    /// assert!(receiver.next().now_or_never().is_some());
    /// # Ok::<(), stream_multiplexer::MultiplexerError>(())
    /// ```
    pub fn yield_every(&mut self, events: Option<NonZeroU32>) -> &mut Self {
        self.pace = Pace::new(events);
        self
    }
}

impl<St: Stream, Si> ChannelReceiver<St, Si> {
    /// Waits for events and appends up to `limit` of them to `buffer`. Returns how many events it appended.
    ///
    /// The future waits for the first event only. It then takes further events that are available immediately, at most 4,096
    /// in all, whatever the `limit`. It returns 0 if the receiver has ended or `limit` is 0. `buffer` grows only as far as
    /// needed.
    ///
    /// Cost: one lock pair for each poll of a stream, and one more to begin. This is half the cost of as many `next()`
    /// calls. Small batches are [better for the caches](crate::ChannelSelect::recv_many).
    ///
    /// ```
    /// use futures::{executor::block_on, stream};
    /// use stream_multiplexer::Multiplexer;
    ///
    /// let multiplexer = Multiplexer::without_sinks();
    /// multiplexer.add_channel(1)?;
    /// multiplexer.add_stream(stream::iter(0..10), 1)?;
    ///
    /// let mut events = Vec::new();
    /// let received = block_on(multiplexer.receiver(1)?.recv_many(&mut events, 4));
    /// assert_eq!((received, events.len()), (4, 4));
    /// # Ok::<(), stream_multiplexer::MultiplexerError>(())
    /// ```
    ///
    /// # Panics
    ///
    /// If a stream's poll panics. The events that were received before are in `buffer`.
    ///
    /// # Cancel safety
    ///
    /// The future takes no event before it completes. Dropping it loses no event.
    pub fn recv_many<'a>(
        &'a mut self,
        buffer: &'a mut Vec<(StreamId, StreamEvent<St::Item>)>,
        limit: usize,
    ) -> RecvMany<'a, St, Si> {
        RecvMany::new(self, buffer, limit)
    }

    /// Polls for events and appends up to `limit` of them to `buffer`, as [`recv_many`](Self::recv_many)
    /// does.
    ///
    /// - `Pending`: there is no event now. The task is woken when there is one.
    /// - `Ready(n)`: `n` events were appended. `n` is 0 if the receiver has ended or `limit` is 0.
    ///
    /// ```
    /// use futures::{executor::block_on, stream};
    /// use std::future::poll_fn;
    /// use stream_multiplexer::Multiplexer;
    ///
    /// let multiplexer = Multiplexer::without_sinks();
    /// multiplexer.add_channel(1)?;
    /// multiplexer.add_stream(stream::iter(0..10), 1)?;
    /// let mut receiver = multiplexer.receiver(1)?;
    /// let mut events = Vec::new();
    /// assert_eq!(block_on(poll_fn(|cx| receiver.poll_recv_many(cx, &mut events, 4))), 4);
    /// # Ok::<(), stream_multiplexer::MultiplexerError>(())
    /// ```
    ///
    /// # Panics
    ///
    /// If a stream's poll panics. The events that were received before are in `buffer`.
    pub fn poll_recv_many(
        &mut self,
        cx: &mut Context<'_>,
        buffer: &mut Vec<(StreamId, StreamEvent<St::Item>)>,
        limit: usize,
    ) -> Poll<usize> {
        if limit == 0 {
            return Poll::Ready(0);
        }
        if self.pace.is_over() && self.pace.rests() {
            cx.waker().wake_by_ref();
            return Poll::Pending;
        }
        let mut received = 0;
        let polled = self.channel.poll_events(cx, &mut self.waiter, &*self.registry, |event| {
            buffer.push(event);
            received += 1;
            if received == limit.min(EVENTS_PER_POLL) {
                ControlFlow::Break(())
            } else {
                ControlFlow::Continue(())
            }
        });
        if polled.is_pending() {
            self.pace.begin();
            return Poll::Pending;
        }
        self.pace.note(received);
        self.terminated = received == 0;
        Poll::Ready(received)
    }
}

impl<St: Stream, Si> Stream for ChannelReceiver<St, Si> {
    type Item = (StreamId, StreamEvent<St::Item>);

    fn poll_next(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        let this = self.get_mut();
        if this.pace.is_over() && this.pace.rests() {
            cx.waker().wake_by_ref();
            return Poll::Pending;
        }
        let polled = this.channel.poll_event(cx, &mut this.waiter, &*this.registry);
        match &polled {
            Poll::Ready(event) => {
                this.terminated = event.is_none();
                this.pace.note(1);
            }
            Poll::Pending => this.pace.begin(),
        }
        polled
    }
}

impl<St: Stream, Si> FusedStream for ChannelReceiver<St, Si> {
    /// Whether the receiver has ended. A receiver that has ended never yields again, because a closed channel admits no
    /// stream.
    fn is_terminated(&self) -> bool {
        self.terminated
    }
}

impl<St, Si> Drop for ChannelReceiver<St, Si> {
    /// If this is the last receiver of its channel, and all handles were dropped, drops the streams of the channel.
    fn drop(&mut self) {
        let detached = afterwards(|| self.registry.detach(&self.channel));
        self.channel.tasks().leave(&mut self.waiter);
        drop(detached);
    }
}

impl<St, Si> fmt::Debug for ChannelReceiver<St, Si> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ChannelReceiver").field("channel", &self.channel).finish_non_exhaustive()
    }
}
