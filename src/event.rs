//! What a channel yields, and what is handed back.

use crate::id::{ChannelId, StreamId};

/// What a [`ChannelReceiver`](crate::ChannelReceiver) or a [`ChannelSelect`](crate::ChannelSelect) yields of one stream.
///
/// Every stay of a stream in a channel yields any number of `Item`s, at most one `SinkFailed`, and then exactly one of
/// the others. (In a [half-closing](crate::ChannelOptions::half_close) channel the sink outlives the stream, so there
/// `SinkFailed` may come after `Ended`.)
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum StreamEvent<T> {
    /// The stream yielded this. An error of the stream is an item like any other.
    Item(T),
    /// The stream ended. The pair is gone (unless the channel is
    /// [half-closing](crate::ChannelOptions::half_close)).
    Ended,
    /// The stream was moved to this channel, where it goes on.
    Moved(ChannelId),
    /// The pair was removed or closed, or it panicked.
    Removed,
    /// The pair's sink failed when a [`ChannelSelect`](crate::ChannelSelect) flushed it, which is reported once, and by
    /// nothing else. The stream has not left: the pair stays, and is received from, until it is removed. Nothing more is
    /// sent to it.
    SinkFailed,
}

impl<T> StreamEvent<T> {
    /// The item, or `None` when the stream left the channel, or its sink failed.
    ///
    /// ```
    /// use stream_multiplexer::StreamEvent;
    ///
    /// assert_eq!(StreamEvent::Item(7).item(), Some(7));
    /// assert_eq!(StreamEvent::<i32>::Ended.item(), None);
    /// ```
    #[must_use]
    pub fn item(self) -> Option<T> {
        match self {
            Self::Item(item) => Some(item),
            Self::Ended | Self::Moved(_) | Self::Removed | Self::SinkFailed => None,
        }
    }
}

impl<T> From<StreamEvent<T>> for Option<T> {
    fn from(event: StreamEvent<T>) -> Self {
        event.item()
    }
}

/// Why a stream left a channel.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Departure {
    Ended,
    Moved(ChannelId),
    Removed,
}

impl<T> From<Departure> for StreamEvent<T> {
    fn from(departure: Departure) -> Self {
        match departure {
            Departure::Ended => Self::Ended,
            Departure::Moved(to) => Self::Moved(to),
            Departure::Removed => Self::Removed,
        }
    }
}

/// A stream pair that was removed, handed back.
#[derive(Debug)]
#[non_exhaustive]
pub struct StreamPair<St, Si> {
    /// The name it had.
    pub id: StreamId,
    /// `None` if the stream was being polled at that moment: then it is dropped when that poll returns. A stream that
    /// had ended in a [half-closing](crate::ChannelOptions::half_close) channel is here.
    pub stream: Option<St>,
    /// `None` if there was none, or it was being polled at that moment: then it is dropped when that poll
    /// returns.
    pub sink: Option<Si>,
}
