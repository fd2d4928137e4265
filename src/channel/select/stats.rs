//! [`SelectStats`]: counts of a select's events.

use crate::channel::share::Share;
use crate::id::ChannelId;

/// Counts of the events of a [`ChannelSelect`](crate::ChannelSelect) so far. Returned by
/// [`stats`](crate::ChannelSelect::stats), which has an example.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct SelectStats {
    /// The events that the select yielded.
    pub events: u64,
    /// How often the select yielded to the executor because of [`yield_every`](crate::ChannelSelect::yield_every).
    pub yields: u64,
    /// The channels of the select, in ascending order of their ids.
    pub channels: Vec<ShareStats>,
}

/// The service that a channel received from a [`ChannelSelect`](crate::ChannelSelect) since it was added.
/// [`stats`](crate::ChannelSelect::stats) has an example.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct ShareStats {
    /// The channel.
    pub channel: ChannelId,
    /// Its current share.
    pub share: Share,
    /// Its turns: its events; the turns that ended without an event because 64 streams were polled in vain or two in a row
    /// woke themselves; and the polls that panicked.
    pub turns: u64,
    /// The total cost of these turns.
    pub cost: u64,
    /// The largest number of turns of other channels that it waited for while it was ready.
    pub longest_wait: u64,
}

impl SelectStats {
    /// Returns a channel's fraction of the total cost of all current channels. Returns `None` if the select does not have
    /// the channel, or if the total cost is 0.
    ///
    /// ```
    /// use futures::{StreamExt, executor::block_on, stream};
    /// use stream_multiplexer::{Multiplexer, Share};
    ///
    /// let multiplexer = Multiplexer::without_sinks();
    /// multiplexer.add_channel(1)?;
    /// multiplexer.add_channel(2)?;
    /// multiplexer.add_stream(stream::repeat("hello"), 1)?;
    /// multiplexer.add_stream(stream::repeat("hello"), 2)?;
    /// let mut select = multiplexer.select();
    /// select.add(1, Share::new().weight(3))?;
    /// select.add(2, Share::new())?;
    ///
    /// block_on(select.by_ref().take(400).for_each(|_| async {}));
    /// assert_eq!(select.stats().fraction(1), Some(0.75));
    /// # Ok::<(), stream_multiplexer::MultiplexerError>(())
    /// ```
    #[must_use]
    pub fn fraction(&self, channel: ChannelId) -> Option<f64> {
        let all: u128 = self.channels.iter().map(|channel| u128::from(channel.cost)).sum();
        let found = self.channels.iter().find(|stats| stats.channel == channel)?;
        (all != 0).then(|| found.cost as f64 / all as f64)
    }
}
