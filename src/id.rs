//! [`ChannelId`] and [`StreamId`].

use std::fmt;
use std::num::NonZeroU64;

/// The id of a channel, chosen by the user.
///
/// ```
/// use stream_multiplexer::{ChannelId, Multiplexer};
///
/// const GUESTS: ChannelId = 1;
///
/// let multiplexer = Multiplexer::<futures::stream::Pending<()>>::without_sinks();
/// multiplexer.add_channel(GUESTS)?;
/// # Ok::<(), stream_multiplexer::MultiplexerError>(())
/// ```
pub type ChannelId = usize;

/// The id of a stream pair. A [`Multiplexer`](crate::Multiplexer) assigns it and never reuses it.
///
/// Ids are ordered by age: a pair that was added later has a greater id. Ids of different multiplexers are unrelated and may
/// compare equal.
///
/// ```
/// use futures::stream;
/// use stream_multiplexer::Multiplexer;
///
/// let multiplexer = Multiplexer::without_sinks();
/// multiplexer.add_channel(1)?;
/// let older = multiplexer.add_stream(stream::pending::<()>(), 1)?;
/// let younger = multiplexer.add_stream(stream::pending::<()>(), 1)?;
/// assert!(older < younger);
/// assert_eq!(older.to_string(), "1");
/// # Ok::<(), stream_multiplexer::MultiplexerError>(())
/// ```
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct StreamId {
    /// The number of this pair, in the order of addition, from 1. The first field, because it determines the order of ids.
    serial: NonZeroU64,
    /// The key of the pair in the registry. Later pairs reuse it.
    key: usize,
}

impl StreamId {
    pub(crate) fn new(serial: NonZeroU64, key: usize) -> Self {
        Self { serial, key }
    }

    pub(crate) fn serial(self) -> NonZeroU64 {
        self.serial
    }

    pub(crate) fn key(self) -> usize {
        self.key
    }
}

impl fmt::Display for StreamId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.serial.fmt(f)
    }
}

impl fmt::Debug for StreamId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "StreamId({})", self.serial)
    }
}
