//! One error per operation; what was handed in comes back.

use crate::id::{ChannelId, StreamId};
use std::error::Error;
use std::fmt;

/// What a [`Multiplexer`](crate::Multiplexer) refused, and why.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum MultiplexerError {
    /// There is a channel of this name already.
    DuplicateChannel(ChannelId),
    /// There is no channel of this name (any more).
    UnknownChannel(ChannelId),
    /// There is no stream of this name (any more).
    UnknownStream(StreamId),
    /// The multiplexer takes no more pairs and channels.
    Closed,
}

impl fmt::Display for MultiplexerError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::DuplicateChannel(channel) => write!(f, "channel {channel} exists already"),
            Self::UnknownChannel(channel) => write!(f, "channel {channel} is unknown"),
            Self::UnknownStream(stream) => write!(f, "stream {stream} is unknown"),
            Self::Closed => f.write_str("the multiplexer is closed"),
        }
    }
}

impl Error for MultiplexerError {}

/// A pair was not added. It comes back.
pub struct AddStreamError<St, Si> {
    /// Why.
    pub error: MultiplexerError,
    /// The stream that was not added.
    pub stream: St,
    /// The sink that was not added.
    pub sink: Si,
}

impl<St, Si> AddStreamError<St, Si> {
    /// The stream and the sink that were not added.
    pub fn into_inner(self) -> (St, Si) {
        (self.stream, self.sink)
    }
}

impl<St, Si> From<AddStreamError<St, Si>> for MultiplexerError {
    fn from(error: AddStreamError<St, Si>) -> Self {
        error.error
    }
}

impl<St, Si> fmt::Debug for AddStreamError<St, Si> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("AddStreamError").field("error", &self.error).finish_non_exhaustive()
    }
}

impl<St, Si> fmt::Display for AddStreamError<St, Si> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "stream pair not added: {}", self.error)
    }
}

impl<St, Si> Error for AddStreamError<St, Si> {
    fn source(&self) -> Option<&(dyn Error + 'static)> {
        Some(&self.error)
    }
}

/// Nothing was received at once.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum TryRecvError {
    /// This call found nothing; see [`try_recv`](crate::Multiplexer::try_recv).
    Empty,
    /// There is no channel of this name, or it is closed and empty.
    UnknownChannel(ChannelId),
}

impl fmt::Display for TryRecvError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Empty => f.write_str("nothing to receive now"),
            Self::UnknownChannel(channel) => write!(f, "channel {channel} is unknown"),
        }
    }
}

impl Error for TryRecvError {}

/// An item was not sent to a stream, or not surely.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum SendError<E> {
    /// There is no stream of this name (any more). The item did not reach its sink.
    UnknownStream(StreamId),
    /// The stream is being closed, or was closed meanwhile. The item did not reach its sink.
    Closed(StreamId),
    /// The pair was removed before the sink was flushed. The sink has the item, and maybe did not pass it on.
    Unflushed(StreamId),
    /// The sink failed. The pair stays, until it is removed.
    Sink {
        /// Whose sink.
        id: StreamId,
        /// What the sink said.
        error: E,
    },
}

impl<E> SendError<E> {
    /// Which stream it was.
    #[must_use]
    pub fn stream_id(&self) -> StreamId {
        match self {
            Self::UnknownStream(id) | Self::Closed(id) | Self::Unflushed(id) | Self::Sink { id, .. } => *id,
        }
    }
}

impl<E> fmt::Display for SendError<E> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::UnknownStream(id) => write!(f, "stream {id} is unknown"),
            Self::Closed(id) => write!(f, "stream {id} is closed"),
            Self::Unflushed(id) => write!(f, "stream {id} was removed before its sink was flushed"),
            Self::Sink { id, .. } => write!(f, "the sink of stream {id} failed"),
        }
    }
}

impl<E: Error + 'static> Error for SendError<E> {
    fn source(&self) -> Option<&(dyn Error + 'static)> {
        match self {
            Self::Sink { error, .. } => Some(error),
            Self::UnknownStream(_) | Self::Closed(_) | Self::Unflushed(_) => None,
        }
    }
}
