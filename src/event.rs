//! [`StreamEvent`]: an event of a stream. [`StreamPair`]: a removed pair.

use crate::id::{ChannelId, StreamId};

/// An event of one stream, yielded by a [`ChannelReceiver`](crate::ChannelReceiver) or a
/// [`ChannelSelect`](crate::ChannelSelect).
///
/// ```
/// use stream_multiplexer::StreamEvent;
///
/// fn log(event: &StreamEvent<String>) {
///     match event {
///         StreamEvent::Item(line) => println!("{line}"),
///         StreamEvent::Ended => println!("the peer closed the connection"),
///         StreamEvent::Moved(channel) => println!("the stream moved to channel {channel}"),
///         StreamEvent::Removed => println!("the pair was removed"),
///         StreamEvent::SinkFailed => println!("no more items can be sent to the peer"),
///     }
/// }
/// # log(&StreamEvent::Ended);
/// ```
///
/// Every stay of a stream in a channel yields any number of `Item`s, at most one `SinkFailed`, and then exactly one
/// departure: `Ended`, `Moved` or `Removed`. There are three exceptions:
///
/// - A channel may be configured [not to report](crate::ChannelOptions::report_departures) `Moved` and `Removed`.
/// - A channel that was removed reports nothing more.
/// - In a [half-closing](crate::ChannelOptions::half_close) channel the sink outlives the stream, and `SinkFailed` may follow
///   `Ended`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum StreamEvent<T> {
    /// The stream yielded this item. An error of the stream is an item, too.
    Item(T),
    /// The stream ended. The pair was removed, unless the channel is [half-closing](crate::ChannelOptions::half_close).
    Ended,
    /// The stream was moved to this channel, and continues there.
    Moved(ChannelId),
    /// The pair was removed or closed, or its stream or sink panicked.
    Removed,
    /// The pair's sink failed when a [`ChannelSelect`](crate::ChannelSelect) flushed it. This event is the only report
    /// of the failure. The stream has not left: the pair stays in its channel until it is removed, and the stream can
    /// still yield items. No more items can be sent to the pair.
    SinkFailed,
}

impl<T> StreamEvent<T> {
    /// Returns the item, or `None` if this event is a departure or `SinkFailed`.
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

/// The reason why a stream left a channel.
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

/// A stream pair that was removed. Returned by [`Multiplexer::remove_stream`](crate::Multiplexer::remove_stream), which has
/// an example, and by [`remove_channel`](crate::Multiplexer::remove_channel).
#[derive(Debug)]
#[non_exhaustive]
pub struct StreamPair<St, Si> {
    /// The id of the removed pair.
    pub id: StreamId,
    /// The stream, also if it had ended in a [half-closing](crate::ChannelOptions::half_close) channel. `None` if it
    /// was being polled when the pair was removed; it is then dropped when that poll returns.
    pub stream: Option<St>,
    /// The sink. `None` if the pair had no sink, or if the sink was being polled when the pair was removed; it is then
    /// dropped when that poll returns.
    pub sink: Option<Si>,
}
