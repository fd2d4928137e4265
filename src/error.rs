//! Error types. An error returns what the caller passed in.
//!
//! A call that requires an existing channel or stream returns a `Result`. The methods of the control plane share one error,
//! [`MultiplexerError`]. A call that returns something to the caller on failure, or has its own reasons to fail, has its own
//! error type. Queries (`has_channel`, `channel_len`, `channel_of` …) and removals return an `Option` or a `bool`, as the
//! methods of a map do. (The result of `max_streams` is an `Option` itself, and is therefore wrapped in a `Result`.) A call
//! that changes nothing is no error: closing a closed channel, pausing a paused stream.

use crate::id::{ChannelId, StreamId};
use std::error::Error;
use std::fmt;
use std::sync::{Mutex, PoisonError};

/// The reason why a [`Multiplexer`](crate::Multiplexer) refused an operation.
///
/// ```
/// use futures::stream::Pending;
/// use stream_multiplexer::{Multiplexer, MultiplexerError};
///
/// let multiplexer = Multiplexer::<Pending<()>>::without_sinks();
/// multiplexer.add_channel(1)?;
/// assert_eq!(multiplexer.add_channel(1), Err(MultiplexerError::DuplicateChannel(1)));
/// # Ok::<(), MultiplexerError>(())
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum MultiplexerError {
    /// A channel with this id already exists.
    DuplicateChannel(ChannelId),
    /// There is no channel with this id, or the channel was removed.
    UnknownChannel(ChannelId),
    /// There is no stream with this id, or the stream has left the multiplexer.
    UnknownStream(StreamId),
    /// The channel is full: it has reached its [limit](crate::ChannelOptions::max_streams) on streams, or on streams and
    /// unread departures together.
    ChannelFull(ChannelId),
    /// The multiplexer or the channel is closed, and admits no more streams or channels. Receiving from a closed channel
    /// returns this error when the channel is empty.
    Closed,
    /// The stream has ended. Its pair is kept for its sink: you can send to it, close it and remove it.
    Ended(StreamId),
    /// The stream or sink is being polled at this moment, by another thread or by a caller of this function.
    Busy(StreamId),
}

impl fmt::Display for MultiplexerError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::DuplicateChannel(channel) => write!(f, "channel {channel} already exists"),
            Self::UnknownChannel(channel) => write!(f, "channel {channel} is unknown"),
            Self::UnknownStream(stream) => write!(f, "stream {stream} is unknown"),
            Self::ChannelFull(channel) => write!(f, "channel {channel} is full"),
            Self::Closed => f.write_str("the multiplexer or the channel is closed"),
            Self::Ended(stream) => write!(f, "stream {stream} has ended"),
            Self::Busy(stream) => write!(f, "stream {stream} is being polled"),
        }
    }
}

impl Error for MultiplexerError {}

/// The error of adding a pair. It contains the pair.
///
/// The error is `Send` and `Sync` if both parts are `Send`. The `?` operator can then convert it into a
/// `Box<dyn Error + Send + Sync>`.
///
/// ```
/// use futures::stream;
/// use stream_multiplexer::{Multiplexer, MultiplexerError};
///
/// let multiplexer = Multiplexer::without_sinks();
/// let refused = multiplexer.add_stream(stream::iter([1, 2]), 7).unwrap_err();
/// assert_eq!(refused.reason(), MultiplexerError::UnknownChannel(7));
/// let ((), stream) = refused.into_parts();
/// assert_eq!(stream.collect_vec(), [1, 2]);
/// # trait CollectVec { fn collect_vec(self) -> Vec<i32>; }
/// # impl<S: futures::Stream<Item = i32>> CollectVec for S {
/// #     fn collect_vec(self) -> Vec<i32> {
/// #         futures::executor::block_on(futures::StreamExt::collect(self))
/// #     }
/// # }
/// ```
pub struct AddStreamError<St, Si> {
    reason: MultiplexerError,
    /// In a mutex that is never locked. It makes the error `Sync` for streams that are not `Sync`, such as boxed streams.
    parts: Mutex<(Si, St)>,
}

impl<St, Si> AddStreamError<St, Si> {
    pub(crate) fn new(reason: MultiplexerError, sink: Si, stream: St) -> Self {
        Self { reason, parts: Mutex::new((sink, stream)) }
    }

    /// Returns the reason why the pair was not added.
    ///
    /// ```
    /// use futures::stream;
    /// use stream_multiplexer::{Multiplexer, MultiplexerError};
    ///
    /// let multiplexer = Multiplexer::without_sinks();
    /// let error = multiplexer.add_stream(stream::pending::<()>(), 7).unwrap_err();
    /// assert_eq!(error.reason(), MultiplexerError::UnknownChannel(7));
    /// ```
    #[must_use]
    pub fn reason(&self) -> MultiplexerError {
        self.reason
    }

    /// Returns the sink and the stream that were not added, in the order in which
    /// [`add_stream_pair`](crate::Multiplexer::add_stream_pair) takes them.
    ///
    /// ```
    /// use futures::{channel::mpsc, stream};
    /// use stream_multiplexer::Multiplexer;
    ///
    /// let multiplexer = Multiplexer::new();
    /// let (sink, _peer) = mpsc::channel::<u8>(8);
    /// let error = multiplexer.add_stream_pair(sink, stream::pending::<()>(), 7).unwrap_err();
    /// let (sink, stream) = error.into_parts();
    /// # drop((sink, stream));
    /// ```
    #[must_use]
    pub fn into_parts(self) -> (Si, St) {
        self.parts.into_inner().unwrap_or_else(PoisonError::into_inner)
    }
}

impl<St, Si> From<AddStreamError<St, Si>> for MultiplexerError {
    fn from(error: AddStreamError<St, Si>) -> Self {
        error.reason
    }
}

impl<St, Si> fmt::Debug for AddStreamError<St, Si> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("AddStreamError").field("reason", &self.reason).finish_non_exhaustive()
    }
}

impl<St, Si> fmt::Display for AddStreamError<St, Si> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "stream pair not added: {}", self.reason)
    }
}

impl<St, Si> Error for AddStreamError<St, Si> {
    fn source(&self) -> Option<&(dyn Error + 'static)> {
        Some(&self.reason)
    }
}

/// The reason why [`try_recv`](crate::Multiplexer::try_recv) returned no event.
///
/// ```
/// use futures::stream::Pending;
/// use stream_multiplexer::{Multiplexer, TryRecvError};
///
/// let multiplexer = Multiplexer::<Pending<()>>::without_sinks();
/// multiplexer.add_channel(1)?;
/// assert_eq!(multiplexer.try_recv(1), Err(TryRecvError::Empty));
/// assert_eq!(multiplexer.try_recv(2), Err(TryRecvError::UnknownChannel(2)));
/// # Ok::<(), stream_multiplexer::MultiplexerError>(())
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum TryRecvError {
    /// This call found no event. See [`try_recv`](crate::Multiplexer::try_recv).
    Empty,
    /// There is no channel with this id, or the channel was removed.
    UnknownChannel(ChannelId),
    /// The channel is closed and empty.
    Closed,
}

impl fmt::Display for TryRecvError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Empty => f.write_str("nothing to receive now"),
            Self::UnknownChannel(channel) => write!(f, "channel {channel} is unknown"),
            Self::Closed => f.write_str("the channel is closed and empty"),
        }
    }
}

impl Error for TryRecvError {}

/// The reason why an item was not sent, or may not have been sent.
///
/// ```
/// use futures::{channel::mpsc, executor::block_on, stream};
/// use stream_multiplexer::{Multiplexer, SendError};
///
/// let multiplexer = Multiplexer::new();
/// multiplexer.add_channel(1)?;
/// let (sink, _peer) = mpsc::channel(8);
/// let id = multiplexer.add_stream_pair(sink, stream::pending::<()>(), 1)?;
/// multiplexer.remove_stream(id);
/// assert_eq!(block_on(multiplexer.send_one(id, 5)), Err(SendError::UnknownStream(id)));
/// # Ok::<(), stream_multiplexer::MultiplexerError>(())
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum SendError<E> {
    /// There is no stream with this id. The item was not passed to a sink.
    UnknownStream(StreamId),
    /// The sink is closing, is closed, or failed earlier. It does not have the item.
    Closed(StreamId),
    /// The sink was not ready yet when [`SendMany::into_sent`](crate::SendMany::into_sent) was called. It does not have the
    /// item.
    NotReady(StreamId),
    /// The sink has the item, but may not have sent it. Either the sink was not flushed yet when
    /// [`SendMany::into_sent`](crate::SendMany::into_sent) was called, or the pair was removed before the flush was
    /// complete, or another call reported a failure of the sink.
    Unflushed(StreamId),
    /// The sink failed. The failure is reported once, to the call that polled the sink; later calls return
    /// [`Closed`](Self::Closed). The pair stays in its channel until it is removed, and its stream can still yield items.
    Sink {
        /// The stream whose sink failed.
        id: StreamId,
        /// The sink's error.
        error: E,
    },
}

impl<E> SendError<E> {
    /// Returns the stream to which the item was sent.
    ///
    /// ```
    /// use futures::{channel::mpsc, executor::block_on, stream};
    /// use stream_multiplexer::Multiplexer;
    ///
    /// let multiplexer = Multiplexer::new();
    /// multiplexer.add_channel(1)?;
    /// let (sink, _) = mpsc::channel(8);
    /// let id = multiplexer.add_stream_pair(sink, stream::pending::<()>(), 1)?;
    /// // The peer is gone.
    /// assert_eq!(block_on(multiplexer.send_one(id, 5)).unwrap_err().stream_id(), id);
    /// # Ok::<(), stream_multiplexer::MultiplexerError>(())
    /// ```
    #[must_use]
    pub fn stream_id(&self) -> StreamId {
        match self {
            Self::UnknownStream(id)
            | Self::Closed(id)
            | Self::NotReady(id)
            | Self::Unflushed(id)
            | Self::Sink { id, .. } => *id,
        }
    }
}

impl<E> fmt::Display for SendError<E> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::UnknownStream(id) => write!(f, "stream {id} is unknown"),
            Self::Closed(id) => write!(f, "stream {id} is closed"),
            Self::NotReady(id) => write!(f, "the sink of stream {id} was not ready"),
            Self::Unflushed(id) => write!(f, "the sink of stream {id} was not flushed"),
            Self::Sink { id, .. } => write!(f, "the sink of stream {id} failed"),
        }
    }
}

impl<E: Error + 'static> Error for SendError<E> {
    fn source(&self) -> Option<&(dyn Error + 'static)> {
        match self {
            Self::Sink { error, .. } => Some(error),
            Self::UnknownStream(_) | Self::Closed(_) | Self::NotReady(_) | Self::Unflushed(_) => None,
        }
    }
}

/// The reason why [`try_send`](crate::Multiplexer::try_send) did not send an item. It contains the item, unless the sink has
/// it.
///
/// | error | what to do |
/// |---|---|
/// | [`Full`](Self::Full) | the peer is too far behind: [drop the item, disconnect, or wait](crate::guide::slow_peers) |
/// | [`Busy`](Self::Busy) | another thread uses the sink: await [`send_one`](crate::Multiplexer::send_one), or try again |
/// | [`Closed`](Self::Closed), [`Sink`](Self::Sink) | no more items can be sent: keep receiving until the stream ends or fails, or remove the pair |
/// | [`Unknown`](Self::Unknown) | the pair has left, and its channel reports the departure; or it has no sink |
///
/// ```
/// use futures::{channel::mpsc, stream};
/// use stream_multiplexer::{Multiplexer, TrySendError};
///
/// let multiplexer = Multiplexer::new();
/// multiplexer.add_channel(1)?;
/// let (sink, _peer) = mpsc::channel(0);
/// let id = multiplexer.add_stream_pair(sink, stream::pending::<()>(), 1)?;
/// multiplexer.try_send(id, "one").unwrap();
/// match multiplexer.try_send(id, "two") {
///     Err(TrySendError::Full(item)) => assert_eq!(item, "two"),
///     other => panic!("{other:?}"),
/// }
/// # Ok::<(), stream_multiplexer::MultiplexerError>(())
/// ```
#[derive(Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum TrySendError<T, E> {
    /// The sink is not ready. In nearly all cases its buffer is full, because the peer reads too slowly. There are two other
    /// causes:
    ///
    /// - A tokio socket is not ready after its *task* has used up the cooperative budget of 128 reads and writes. Run the
    ///   loop that sends in `tokio::task::unconstrained`; see [slow peers](crate::guide::slow_peers#on-tokio).
    /// - The halves of `StreamExt::split` share a lock. Such a sink is not ready while another thread polls its stream.
    Full(T),
    /// The sink is being polled at this moment, by another thread or by a caller of this function. The sink does not
    /// have the item. Await [`send_one`](crate::Multiplexer::send_one), which is woken when the poll of the sink
    /// returns. If only a `try_send` of another thread can be the cause, you can also try again. (Two threads that only
    /// send to one stream get this error for half of their items. Let one thread send, and pass the items of the other
    /// thread to it.)
    Busy(T),
    /// The sink is closing, is closed, or failed earlier.
    Closed(T),
    /// There is no stream with this id, or the stream has no sink.
    Unknown(T),
    /// The sink failed. The failure is reported once; later calls return [`Closed`](Self::Closed). The pair stays until it
    /// is removed.
    Sink {
        /// The item, if the sink did not take it.
        item: Option<T>,
        /// The sink's error.
        error: E,
    },
}

impl<T, E> TrySendError<T, E> {
    /// Returns the item, unless the sink has it.
    ///
    /// ```
    /// # use futures::{channel::mpsc, stream};
    /// # use stream_multiplexer::Multiplexer;
    /// # let multiplexer = Multiplexer::new();
    /// # multiplexer.add_channel(1)?;
    /// # let (sink, _peer) = mpsc::channel(0);
    /// # let id = multiplexer.add_stream_pair(sink, stream::pending::<()>(), 1)?;
    /// multiplexer.try_send(id, "one").unwrap();
    /// let error = multiplexer.try_send(id, "two").unwrap_err();
    /// assert_eq!(error.into_item(), Some("two"));
    /// # Ok::<(), stream_multiplexer::MultiplexerError>(())
    /// ```
    #[must_use]
    pub fn into_item(self) -> Option<T> {
        match self {
            Self::Full(item) | Self::Busy(item) | Self::Closed(item) | Self::Unknown(item) => Some(item),
            Self::Sink { item, .. } => item,
        }
    }

    /// Returns whether this is [`Full`](Self::Full): the sink was not ready.
    ///
    /// ```
    /// # use futures::{channel::mpsc, stream};
    /// # use stream_multiplexer::Multiplexer;
    /// # let multiplexer = Multiplexer::new();
    /// # multiplexer.add_channel(1)?;
    /// # let (sink, _peer) = mpsc::channel(0);
    /// # let id = multiplexer.add_stream_pair(sink, stream::pending::<()>(), 1)?;
    /// multiplexer.try_send(id, "one").unwrap();
    /// let error = multiplexer.try_send(id, "two").unwrap_err();
    /// assert!(error.is_full());
    /// # Ok::<(), stream_multiplexer::MultiplexerError>(())
    /// ```
    #[must_use]
    pub fn is_full(&self) -> bool {
        matches!(self, Self::Full(_))
    }

    /// Returns whether this is [`Busy`](Self::Busy): the sink was being polled.
    ///
    /// ```
    /// # use futures::{channel::mpsc, stream};
    /// # use stream_multiplexer::Multiplexer;
    /// # let multiplexer = Multiplexer::new();
    /// # multiplexer.add_channel(1)?;
    /// # let (sink, _peer) = mpsc::channel(0);
    /// # let id = multiplexer.add_stream_pair(sink, stream::pending::<()>(), 1)?;
    /// multiplexer.try_send(id, "one").unwrap();
    /// let error = multiplexer.try_send(id, "two").unwrap_err();
    /// assert!(!error.is_busy());
    /// # Ok::<(), stream_multiplexer::MultiplexerError>(())
    /// ```
    #[must_use]
    pub fn is_busy(&self) -> bool {
        matches!(self, Self::Busy(_))
    }
}

impl<T, E: fmt::Debug> fmt::Debug for TrySendError<T, E> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Full(_) => f.write_str("Full(..)"),
            Self::Busy(_) => f.write_str("Busy(..)"),
            Self::Closed(_) => f.write_str("Closed(..)"),
            Self::Unknown(_) => f.write_str("Unknown(..)"),
            Self::Sink { error, .. } => f.debug_struct("Sink").field("error", error).finish_non_exhaustive(),
        }
    }
}

impl<T, E> fmt::Display for TrySendError<T, E> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Full(_) => "the sink is not ready",
            Self::Busy(_) => "the sink is being polled",
            Self::Closed(_) => "the sink is closed",
            Self::Unknown(_) => "the stream is unknown",
            Self::Sink { .. } => "the sink failed",
        })
    }
}

impl<T, E: Error + 'static> Error for TrySendError<T, E> {
    fn source(&self) -> Option<&(dyn Error + 'static)> {
        match self {
            Self::Sink { error, .. } => Some(error),
            Self::Full(_) | Self::Busy(_) | Self::Closed(_) | Self::Unknown(_) => None,
        }
    }
}
