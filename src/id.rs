//! Names of channels and of streams.

use std::fmt;
use std::num::NonZeroU64;

/// The name of a channel, chosen by the user.
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

/// The name of a stream pair. A [`Multiplexer`](crate::Multiplexer) gives it out and never uses it again.
///
/// Ids are ordered by age: a pair that was added later has a greater id. The ids of two multiplexers are not related, and
/// may compare equal.
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
    /// Counts the pairs that were ever added, from 1 on. First, for the order.
    serial: NonZeroU64,
    /// Where the registry keeps the pair; reused by later ones.
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
