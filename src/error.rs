//! What can go wrong. What was handed in comes back.
//!
//! One rule: a call that names a channel or a stream which must be there returns a `Result`. The control plane has
//! one error, [`MultiplexerError`]; a call that hands something back, or fails for reasons of its own, has its own.
//! A question (`has_channel`, `channel_len`, `channel_of` …) and a removal answer as a map's do: by an `Option` or a
//! `bool`. (A question whose answer is an `Option` itself, `max_streams`, has its own `None`, and so a `Result` around
//! it.) What is so already is no error: closing a closed channel, pausing a paused stream.

use crate::id::{ChannelId, StreamId};
use std::error::Error;
use std::fmt;
use std::sync::{Mutex, PoisonError};

/// Why a [`Multiplexer`](crate::Multiplexer) refused something.
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
    /// There already is a channel with this id.
    DuplicateChannel(ChannelId),
    /// There is no channel with this id, or it was removed.
    UnknownChannel(ChannelId),
    /// There is no stream with this id, or it is gone.
    UnknownStream(StreamId),
    /// The channel has as many streams as it [admits](crate::ChannelOptions::max_streams).
    ChannelFull(ChannelId),
    /// The multiplexer or the channel is closed. It admits no streams and channels. Receiving from a closed channel
    /// returns this when the channel is empty.
    Closed,
    /// The stream has ended. Its pair stays because of its sink, and can only be sent to, closed and removed.
    Ended(StreamId),
    /// The stream or sink is being polled at this moment, by another thread, or by a function that called this one.
    Busy(StreamId),
}

impl fmt::Display for MultiplexerError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::DuplicateChannel(channel) => write!(f, "channel {channel} exists already"),
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

/// The error of adding a pair. It holds the pair.
///
/// It is `Send` and `Sync` whenever both parts are `Send`, so it goes through `?` into a
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
    /// In a mutex that is never locked, so that streams need not be `Sync`: a boxed one is not.
    parts: Mutex<(Si, St)>,
}

impl<St, Si> AddStreamError<St, Si> {
    pub(crate) fn new(reason: MultiplexerError, sink: Si, stream: St) -> Self {
        Self { reason, parts: Mutex::new((sink, stream)) }
    }

    /// Why the pair was not added.
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

/// Why [`try_recv`](crate::Multiplexer::try_recv) returned no event.
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
    /// This call found nothing. See [`try_recv`](crate::Multiplexer::try_recv).
    Empty,
    /// There is no channel with this id, or it was removed.
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

/// An item was not, or may not have been, sent.
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
    /// The sink is closing, is closed, or has failed before. It does not have the item.
    Closed(StreamId),
    /// The sink was not ready yet when [`SendMany::into_sent`](crate::SendMany::into_sent) was called. It does not have the
    /// item.
    NotReady(StreamId),
    /// The sink has the item, but may not have passed it on: it was not flushed yet when
    /// [`SendMany::into_sent`](crate::SendMany::into_sent) was called, or the pair was removed before it was flushed, or the
    /// sink failed and that was reported elsewhere.
    Unflushed(StreamId),
    /// The sink failed. This is reported once, to the call that polled it; later calls return [`Closed`](Self::Closed).
    /// The pair stays, and is received from, until it is removed.
    Sink {
        /// The stream whose sink failed.
        id: StreamId,
        /// The sink's error.
        error: E,
    },
}

impl<E> SendError<E> {
    /// Returns the stream that the send was for.
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

/// Why an item was not sent by [`try_send`](crate::Multiplexer::try_send). It holds the item, unless the sink has it.
///
/// | error | what to do |
/// |---|---|
/// | [`Full`](Self::Full) | the peer is too far behind: [drop the item, disconnect, or wait](crate::guide::slow_peers) |
/// | [`Busy`](Self::Busy) | another thread is at it: [`send_one`](crate::Multiplexer::send_one), or try again |
/// | [`Closed`](Self::Closed), [`Sink`](Self::Sink) | nothing more can be sent. Keep receiving: the stream ends or fails by itself. Or remove the pair |
/// | [`Unknown`](Self::Unknown) | the pair has left; its channel reports that |
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
    /// The sink is not ready; nothing else returns this. Nearly always its buffer is full because the peer reads too slowly.
    /// There are two other causes:
    ///
    /// - A tokio socket is not ready once its *task* has used up the cooperative budget of 128 reads and writes. Run the
    ///   loop that sends in `tokio::task::unconstrained`; see [slow peers](crate::guide::slow_peers#on-tokio).
    /// - The halves of `StreamExt::split` share a lock. Such a sink is not ready while another thread polls its stream.
    Full(T),
    /// The sink is being polled at this moment, by another thread, or by a function that called this one. The sink does not have the
    /// item. Await [`send_one`](crate::Multiplexer::send_one), which is woken when the sink is back; or try again, if only
    /// a `try_send` of another thread can be the reason. (Two threads that do nothing but send to one stream get this for
    /// half of their items. Let one thread send to it, and pass the items to that.)
    Busy(T),
    /// The sink is closing, is closed, or has failed before.
    Closed(T),
    /// There is no stream with this id, or it has no sink.
    Unknown(T),
    /// The sink failed. This is reported once; later calls return [`Closed`](Self::Closed). The pair stays until it is
    /// removed.
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

    /// Whether the sink was not ready.
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

    /// Whether the sink was being polled.
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
