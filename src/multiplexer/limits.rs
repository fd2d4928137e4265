//! Limits and statistics of a channel, by the handle.

use super::Multiplexer;
use crate::error::MultiplexerError;
use crate::id::ChannelId;
use crate::stats::ChannelStats;

/// Limits and statistics.
impl<St, Si> Multiplexer<St, Si> {
    /// Returns how many streams a channel [admits](crate::ChannelOptions::max_streams); `Ok(None)` if it has no limit.
    ///
    /// Cost: one lock pair.
    ///
    /// # Errors
    ///
    /// [`UnknownChannel`](MultiplexerError::UnknownChannel).
    ///
    /// ```
    /// use stream_multiplexer::{ChannelOptions, Multiplexer};
    ///
    /// let multiplexer: Multiplexer<futures::stream::Pending<()>> = Multiplexer::new();
    /// multiplexer.add_channel_with(1, ChannelOptions::new().max_streams(100))?;
    /// multiplexer.add_channel(2)?;
    /// assert_eq!(multiplexer.max_streams(1)?, Some(100));
    /// assert_eq!(multiplexer.max_streams(2)?, None);
    /// # Ok::<(), stream_multiplexer::MultiplexerError>(())
    /// ```
    pub fn max_streams(&self, channel: ChannelId) -> Result<Option<usize>, MultiplexerError> {
        self.registry().max_streams(channel)
    }

    /// Returns how many streams are in a channel, and counts of what has happened there since it was added. `None` if there
    /// is no channel with this id.
    ///
    /// Cost: two lock pairs, however many streams there are. Counting costs an item two additions and a comparison.
    ///
    /// ```
    /// use futures::stream;
    /// use stream_multiplexer::{ChannelOptions, Multiplexer};
    ///
    /// let multiplexer = Multiplexer::without_sinks();
    /// multiplexer.add_channel_with(1, ChannelOptions::new().max_streams(1))?;
    /// multiplexer.add_stream(stream::pending::<()>(), 1)?;
    /// assert!(multiplexer.add_stream(stream::pending(), 1).is_err());
    ///
    /// let stats = multiplexer.stats(1).unwrap();
    /// assert_eq!((stats.members, stats.refused), (1, 1));
    /// # Ok::<(), stream_multiplexer::MultiplexerError>(())
    /// ```
    #[must_use]
    pub fn stats(&self, channel: ChannelId) -> Option<ChannelStats> {
        self.registry().stats(channel)
    }

    /// Sets how many streams a channel [admits](crate::ChannelOptions::max_streams) from now on; `None` for no limit.
    ///
    /// A limit below the present number removes no stream. The channel refuses new ones until enough have left.
    ///
    /// Cost: one lock pair.
    ///
    /// # Errors
    ///
    /// [`UnknownChannel`](MultiplexerError::UnknownChannel).
    ///
    /// ```
    /// use futures::stream;
    /// use stream_multiplexer::Multiplexer;
    ///
    /// let multiplexer = Multiplexer::without_sinks();
    /// multiplexer.add_channel(1)?;
    /// multiplexer.add_stream(stream::pending::<()>(), 1)?;
    ///
    /// multiplexer.set_max_streams(1, Some(0))?;
    /// assert!(multiplexer.add_stream(stream::pending(), 1).is_err());
    /// assert_eq!(multiplexer.channel_len(1), Some(1));
    ///
    /// multiplexer.set_max_streams(1, None)?;
    /// assert!(multiplexer.add_stream(stream::pending(), 1).is_ok());
    /// # Ok::<(), stream_multiplexer::MultiplexerError>(())
    /// ```
    pub fn set_max_streams(&self, channel: ChannelId, limit: Option<usize>) -> Result<(), MultiplexerError> {
        self.registry().set_max_streams(channel, limit)
    }
}
