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

/// How many events one poll of [`ChannelReceiver::recv_many`] takes at most, so that it comes to an end though a
/// stream always has an item, or a million departures wait.
pub(crate) const EVENTS_PER_POLL: usize = 4096;

/// Receives the items of the streams in one channel, and reports when a stream leaves it.
///
/// Created by [`Multiplexer::receiver`](crate::Multiplexer::receiver). A channel may have several receivers, and
/// [`recv`](crate::Multiplexer::recv) calls besides; each event goes to one of them. A receiver polls the streams in the
/// task that polls it. To apply backpressure, stop receiving: then the streams are not polled.
///
/// It ends when its channel was removed, or when the channel is empty and was closed: by
/// [`close_channel`](crate::Multiplexer::close_channel), with the [whole multiplexer](crate::Multiplexer::close), or
/// because all handles are gone. An empty channel that is open waits.
///
/// When all handles have been dropped, a channel goes on as long as it has a receiver. Then what is in it is dropped.
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
/// Between two turns of one member, every member of the channel that was ready when the first of them began has one
/// turn. The receivers of a channel share these turns. What "ready" means, and how departures share the turns, is in the
/// [crate documentation](crate#fairness).
///
/// # Yielding
///
/// One poll takes at most some 64 turns in vain (also those of stale wakes, by wakers of streams that have left), and
/// at most two in a row of streams that wake themselves in their own poll. Then it wakes its task and returns
/// `Pending`. A stream that always has an item is polled for each event, and never lets the thread go by itself: see
/// [above](crate#fairness).
///
/// # Panics
///
/// A panic in a stream's poll reaches the caller. The pair is removed, and the channel reports `Removed`; everything else
/// goes on. If the waker of another receiver panics, or the drop of a stream that was removed while it was polled, the item
/// of that poll may be lost.
///
/// # Cancel safety
///
/// Dropping a `next()` or a [`recv_many`](Self::recv_many) loses nothing.
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

    /// The channel it receives from.
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

    /// After how many events in a row, with no `Pending` in between, it lets the executor run: it wakes its task and
    /// returns `Pending` once. `None`, the default: never. [`ChannelSelect::yield_every`](crate::ChannelSelect::yield_every)
    /// says why and how well that does with which executor.
    ///
    /// Without it, a stream that always has an item, and takes no part in a cooperative budget, never lets the thread go:
    /// a timeout around the loop does not fire.
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
    /// assert!(receiver.next().now_or_never().is_none(), "it yields");
    /// assert!(receiver.next().now_or_never().is_some());
    /// # Ok::<(), stream_multiplexer::MultiplexerError>(())
    /// ```
    pub fn yield_every(&mut self, events: Option<NonZeroU32>) -> &mut Self {
        self.pace = Pace::new(events);
        self
    }
}

impl<St: Stream, Si> ChannelReceiver<St, Si> {
    /// Waits for events and appends up to `limit` of them to `buffer`; returns how many.
    ///
    /// It waits for the first one only; then it takes what is there at once, 4,096 events at most, whatever the
    /// `limit`. It returns 0 when the receiver has ended, or `limit` is 0. `buffer` grows as it must, and not
    /// beyond.
    ///
    /// Cost: one lock pair for each poll, and one to begin; half of what as many `next()` cost.
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
    /// When a stream's poll panics; what was received before is in `buffer`.
    ///
    /// # Cancel safety
    ///
    /// It takes nothing before it is ready, so nothing is lost when it is dropped.
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
    /// - `Pending`: there is nothing now; the task is woken when there is.
    /// - `Ready(n)`: `n` were appended. 0 when the receiver has ended, or `limit` is 0.
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
    /// When a stream's poll panics; what was received before is in `buffer`.
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
    /// Whether it has ended. That is for good: a closed channel admits no stream.
    fn is_terminated(&self) -> bool {
        self.terminated
    }
}

impl<St, Si> Drop for ChannelReceiver<St, Si> {
    /// When all handles are gone, too, and this is the last receiver of its channel, what is in there goes with it.
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
