//! [`StreamSender`]: one stream's sink, as a [`Sink`].

use crate::error::{MultiplexerError, SendError};
use crate::id::StreamId;
use crate::registry::Registry;
use crate::sink::delivery::{deliver, hand_over, poll_ready, remove_if_over, start_send, without_sink};
use crate::sink::sender_closed::SenderClosed;
use crate::sink::slot::{Phase, SinkSlot, Truth};
use crate::unwind::on_panic;
use crate::wait_list::Waiter;
use futures_sink::Sink;
use std::fmt;
use std::pin::Pin;
use std::sync::{Arc, Weak};
use std::task::{Context, Poll, ready};

/// A `Sink` for one stream. Returned by [`Multiplexer::sender`](crate::Multiplexer::sender).
///
/// One stream may have several senders. A sender does not keep the stream or the multiplexer alive: once the pair is
/// gone, it fails with [`SendError::UnknownStream`].
///
/// `poll_ready` is ready when the stream's sink is. If another sender comes between that and `start_send`, the sink may
/// not be ready any more. Then this sender keeps the one item, and passes it to the sink when it is next polled, by
/// `poll_flush` or `poll_ready` (as `SinkExt::send` and `forward` do). Items that are sent in other ways meanwhile
/// overtake it. If the sink is closed by then, that poll fails, and [`take_item`](Self::take_item) returns the item.
///
/// From `start_send` until the flush is complete the sender keeps the sink, even if the stream has gone. So an item that
/// was fed is not lost for lack of a flush. A flush covers everything in the sink, whichever sender put it there. What a
/// dropped sender leaves unflushed is flushed by a [`flusher`](crate::Multiplexer::flusher), or by the next send.
///
/// `poll_close` flushes, and closes this sender alone. To close the stream's sink use
/// [`Multiplexer::close_stream`](crate::Multiplexer::close_stream).
///
/// ```
/// use futures::{SinkExt, StreamExt, channel::mpsc, executor::block_on, stream};
/// use stream_multiplexer::Multiplexer;
///
/// let multiplexer = Multiplexer::new();
/// multiplexer.add_channel(1)?;
/// let (sink, mut peer) = mpsc::channel(8);
/// let id = multiplexer.add_stream_pair(sink, stream::pending::<()>(), 1)?;
///
/// let mut sender = multiplexer.sender(id)?;
/// block_on(async {
///     sender.send("one").await.unwrap();
///     stream::iter(["two", "three"]).map(Ok).forward(sender).await.unwrap();
///     assert_eq!(peer.next().await, Some("one"));
///     assert_eq!(peer.next().await, Some("two"));
///     assert_eq!(peer.next().await, Some("three"));
/// });
/// # Ok::<(), stream_multiplexer::MultiplexerError>(())
/// ```
///
/// # Cost
///
/// Each poll costs at most three lock pairs beyond the sink's own cost, and two reference counts. It allocates only when
/// more senders wait for the sink than ever before. If many wait, see [`send_one`](crate::Multiplexer::send_one).
///
/// # Panics
///
/// `start_send` panics if the sender still keeps an item, which may be so if it was called without `poll_ready` before.
/// A panic of the sink itself reaches the caller, and the pair is removed.
///
/// # Cancel safety
///
/// A `send` that is dropped before `start_send` sends nothing. After that, the item is flushed by the next flush, of this
/// sender or another. Dropping the sender drops an item that it still keeps.
pub struct StreamSender<St, Si, T> {
    registry: Weak<Registry<St, Si>>,
    id: StreamId,
    sink: Weak<SinkSlot<Si>>,
    /// The same sink, from `start_send` until the flush is complete, so that it is not dropped before.
    in_flight: Option<Arc<SinkSlot<Si>>>,
    /// An item that the sink was not ready for.
    item: Option<T>,
    /// An item that the sink cannot take any more.
    refused: Option<T>,
    /// [`Truth::asked`] when this sender found the sink ready.
    asked: Option<u64>,
    waiter: Waiter,
    closed: bool,
}

impl<St, Si, T> StreamSender<St, Si, T> {
    pub(crate) fn new(registry: &Arc<Registry<St, Si>>, id: StreamId) -> Result<Self, MultiplexerError> {
        let sink = registry.sink(id).ok_or(MultiplexerError::UnknownStream(id))?;
        Ok(Self::start(Arc::downgrade(registry), id, Arc::downgrade(&sink)))
    }

    fn start(registry: Weak<Registry<St, Si>>, id: StreamId, sink: Weak<SinkSlot<Si>>) -> Self {
        let waiter = Waiter::default();
        Self {
            registry,
            id,
            sink,
            in_flight: None,
            item: None,
            refused: None,
            asked: None,
            waiter,
            closed: false,
        }
    }

    /// Returns the stream that it sends to.
    ///
    /// ```
    /// # use futures::{channel::mpsc, stream};
    /// # use stream_multiplexer::Multiplexer;
    /// # let multiplexer = Multiplexer::new();
    /// # multiplexer.add_channel(1)?;
    /// # let (sink, _peer) = mpsc::channel(8);
    /// # let id = multiplexer.add_stream_pair(sink, stream::pending::<()>(), 1)?;
    /// let sender = multiplexer.sender::<u8>(id)?;
    /// assert_eq!(sender.stream_id(), id);
    /// # Ok::<(), stream_multiplexer::MultiplexerError>(())
    /// ```
    #[must_use]
    pub fn stream_id(&self) -> StreamId {
        self.id
    }

    /// Whether nothing more can be sent: this sender was closed, or the stream's sink is closing, is closed, has failed, or
    /// is gone.
    ///
    /// ```
    /// # use futures::{channel::mpsc, stream};
    /// # use stream_multiplexer::Multiplexer;
    /// # let multiplexer = Multiplexer::new();
    /// # multiplexer.add_channel(1)?;
    /// # let (sink, _peer) = mpsc::channel(8);
    /// # let id = multiplexer.add_stream_pair(sink, stream::pending::<()>(), 1)?;
    /// let sender = multiplexer.sender::<u8>(id)?;
    /// assert!(!sender.is_closed());
    /// multiplexer.remove_stream(id);
    /// assert!(sender.is_closed());
    /// # Ok::<(), stream_multiplexer::MultiplexerError>(())
    /// ```
    #[must_use]
    pub fn is_closed(&self) -> bool {
        self.closed || self.sink.upgrade().is_none_or(|sink| sink.phase() != Phase::Open)
    }

    /// Waits until nothing more can be sent; see [`is_closed`](Self::is_closed). It waits for the sink, and not for this
    /// sender to be closed, which only its owner can do.
    ///
    /// Cost: it is also woken each time the sink becomes ready for waiting senders, and then checks again.
    ///
    /// ```
    /// use futures::{FutureExt, channel::mpsc, executor::block_on, future::join, stream};
    /// use stream_multiplexer::Multiplexer;
    ///
    /// let multiplexer = Multiplexer::new();
    /// multiplexer.add_channel(1)?;
    /// let (sink, _peer) = mpsc::unbounded::<u8>();
    /// let id = multiplexer.add_stream_pair(sink, stream::pending::<()>(), 1)?;
    /// let sender = multiplexer.sender::<u8>(id)?;
    /// assert_eq!(sender.closed().now_or_never(), None);
    /// block_on(join(sender.closed(), async { multiplexer.remove_stream(id) }));
    /// assert!(sender.is_closed());
    /// # Ok::<(), stream_multiplexer::MultiplexerError>(())
    /// ```
    ///
    /// # Cancel safety
    ///
    /// Dropping it loses nothing.
    pub fn closed(&self) -> SenderClosed<'_, Si> {
        SenderClosed::new(if self.closed { None } else { Some(&self.sink) })
    }

    /// Takes back the item that this sender keeps, if any: one that the sink was not ready for because another sender had
    /// come between, or one that the sink cannot take any more, as an error has reported.
    ///
    /// ```
    /// # use futures::{channel::mpsc, stream};
    /// # use stream_multiplexer::Multiplexer;
    /// # let multiplexer = Multiplexer::new();
    /// # multiplexer.add_channel(1)?;
    /// # let (sink, _peer) = mpsc::channel(8);
    /// # let id = multiplexer.add_stream_pair(sink, stream::pending::<()>(), 1)?;
    /// let mut sender = multiplexer.sender::<u8>(id)?;
    /// assert_eq!(sender.take_item(), None);
    /// # Ok::<(), stream_multiplexer::MultiplexerError>(())
    /// ```
    pub fn take_item(&mut self) -> Option<T> {
        self.item.take().or_else(|| self.refused.take())
    }

    /// The stream's sink, if it takes new items.
    fn open_sink<E>(&self) -> Result<Arc<SinkSlot<Si>>, SendError<E>> {
        if self.closed {
            return Err(SendError::Closed(self.id));
        }
        let sink = self.in_flight.clone().or_else(|| self.sink.upgrade());
        let sink = sink.ok_or(SendError::UnknownStream(self.id))?;
        match sink.phase() {
            Phase::Open => Ok(sink),
            Phase::Closing | Phase::Failed => Err(SendError::Closed(self.id)),
            Phase::Ending | Phase::Closed | Phase::Gone => Err(SendError::UnknownStream(self.id)),
        }
    }
}

impl<St, Si: Sink<T> + Unpin, T> StreamSender<St, Si, T> {
    /// Polls the sink. If the sink's poll panics, the pair is removed.
    fn poll_sink<R>(
        &mut self,
        sink: &SinkSlot<Si>,
        cx: Option<&mut Context<'_>>,
        poll: impl FnOnce(&mut Option<T>, &mut Truth<Si>, Option<(&mut Si, &mut Context<'_>)>) -> Poll<R>,
    ) -> Poll<R> {
        let Self { registry, id, item, waiter, .. } = self;
        let removal = on_panic(|| {
            if let Some(registry) = registry.upgrade() {
                remove_if_over(&registry, *id, sink);
            }
        });
        let polled = sink.poll_with(cx.map(|cx| (cx, waiter)), |truth, sink| poll(item, truth, sink));
        removal.defuse();
        polled
    }

    /// Gives the sink an item that was kept. `asked` is [`Truth::asked`] of the moment when this sender found the sink ready.
    fn poll_kept(
        &mut self,
        cx: Option<&mut Context<'_>>,
        asked: Option<u64>,
    ) -> Poll<Result<(), SendError<Si::Error>>> {
        if self.item.is_none() {
            return Poll::Ready(Ok(()));
        }
        let id = self.id;
        let sink = self.in_flight.clone().expect("the sink of an item that is kept");
        let sent = ready!(self.poll_sink(&sink, cx, |item, truth, sink| match sink {
            Some((sink, cx)) => {
                // A user of `Sink` flushes after `start_send`, so the flush set need not.
                truth.is_flushed_next = true;
                // No other sender came between: the sink is still ready, and is not asked again.
                if asked == Some(truth.asked) && truth.phase != Phase::Closing {
                    let item = item.take().expect("looked above");
                    let sent = start_send(truth, sink, item);
                    return Poll::Ready(sent.map_err(|error| SendError::Sink { id, error }));
                }
                hand_over(id, item, truth, sink, cx)
            }
            None => Poll::Ready(without_sink(id, false, truth.phase)),
        }));
        if sent.is_err() {
            self.give_up();
        }
        Poll::Ready(sent)
    }

    /// Releases the sink. `take_item` returns an item that the sink can no longer take.
    fn give_up(&mut self) {
        if let Some(sink) = self.in_flight.take().or_else(|| self.sink.upgrade()) {
            sink.leave(&mut self.waiter);
        }
        if let Some(item) = self.item.take() {
            self.refused = Some(item);
        }
    }
}

/// Nothing in it is pinned.
impl<St, Si, T> Unpin for StreamSender<St, Si, T> {}

impl<St, Si: Sink<T> + Unpin, T> Sink<T> for StreamSender<St, Si, T> {
    type Error = SendError<Si::Error>;

    fn poll_ready(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Result<(), Self::Error>> {
        let this = self.get_mut();
        this.asked = None;
        ready!(this.poll_kept(Some(&mut *cx), None))?;
        let id = this.id;
        let sink = this.open_sink()?;
        let asked = ready!(this.poll_sink(&sink, Some(cx), |_, truth, sink| match sink {
            // The close began after `open_sink`.
            Some(_) if truth.phase == Phase::Closing => Poll::Ready(Err(SendError::Closed(id))),
            Some((sink, cx)) => {
                let ready = ready!(poll_ready(truth, sink, cx));
                Poll::Ready(ready.map(|()| truth.asked).map_err(|error| SendError::Sink { id, error }))
            }
            None => Poll::Ready(without_sink(id, false, truth.phase).map(|()| truth.asked)),
        }))?;
        this.asked = Some(asked);
        Poll::Ready(Ok(()))
    }

    fn start_send(self: Pin<&mut Self>, item: T) -> Result<(), Self::Error> {
        let this = self.get_mut();
        assert!(this.item.is_none(), "start_send without poll_ready");
        let sink = this.open_sink()?;
        this.in_flight = Some(sink);
        this.item = Some(item);
        let asked = this.asked.take();
        match this.poll_kept(None, asked) {
            Poll::Ready(sent) => {
                // For its next item, this sender waits behind the senders that wait now.
                if let Some(sink) = &this.in_flight {
                    sink.leave(&mut this.waiter);
                }
                sent
            }
            // Another sender came between.
            Poll::Pending => Ok(()),
        }
    }

    fn poll_flush(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Result<(), Self::Error>> {
        let this = self.get_mut();
        let id = this.id;
        // Items of other senders are flushed as well.
        let sent_some = this.in_flight.is_some();
        let Some(sink) = this.in_flight.clone().or_else(|| this.sink.upgrade()) else {
            return Poll::Ready(Ok(()));
        };
        let flushed = ready!(this.poll_sink(&sink, Some(cx), |item, truth, sink| match sink {
            Some((sink, cx)) => deliver(id, item, truth, sink, cx),
            None if sent_some => Poll::Ready(without_sink(id, item.is_none(), truth.phase)),
            None => Poll::Ready(Ok(())),
        }));
        this.give_up();
        Poll::Ready(flushed)
    }

    fn poll_close(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Result<(), Self::Error>> {
        let this = self.get_mut();
        let flushed = ready!(Pin::new(&mut *this).poll_flush(cx));
        this.closed = true;
        Poll::Ready(flushed)
    }
}

/// Creates another sender for the same stream.
impl<St, Si, T> Clone for StreamSender<St, Si, T> {
    fn clone(&self) -> Self {
        Self::start(Weak::clone(&self.registry), self.id, Weak::clone(&self.sink))
    }
}

impl<St, Si, T> Drop for StreamSender<St, Si, T> {
    fn drop(&mut self) {
        let in_flight = self.in_flight.take();
        let sent_some = in_flight.is_some();
        if let Some(sink) = in_flight.or_else(|| self.sink.upgrade()) {
            sink.leave(&mut self.waiter);
            if sent_some {
                sink.leave_unflushed();
            }
        }
    }
}

impl<St, Si, T> fmt::Debug for StreamSender<St, Si, T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("StreamSender").field("id", &self.id).finish_non_exhaustive()
    }
}
