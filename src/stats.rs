//! [`ChannelStats`]: the contents and the counters of a channel.

/// The contents of a channel, and counters since the channel was added. Returned by
/// [`Multiplexer::stats`](crate::Multiplexer::stats).
///
/// All values are taken at one moment. The counters never decrease: take the difference of two calls to compute rates.
///
/// The time that a ready stream waits for its turn is not included: each stream would have to record when it became
/// ready, at a cost for each item. The wait has a [bound](crate#fairness): at most one turn of each other member, which
/// is `members - 1` polls.
///
/// ```
/// use futures::{executor::block_on, stream};
/// use stream_multiplexer::Multiplexer;
///
/// let multiplexer = Multiplexer::without_sinks();
/// multiplexer.add_channel(1)?;
/// multiplexer.add_stream(stream::iter([5, 6]), 1)?;
/// let before = multiplexer.stats(1).unwrap();
/// while block_on(multiplexer.recv(1))?.1.is_some() {}
/// let after = multiplexer.stats(1).unwrap();
///
/// assert_eq!((before.members, after.members), (1, 0));
/// assert_eq!((after.items - before.items, after.ended), (2, 1));
/// // The last poll returned the end of the stream.
/// assert_eq!((after.polls, after.polls_in_vain, after.events), (3, 0, 3));
/// # Ok::<(), stream_multiplexer::MultiplexerError>(())
/// ```
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct ChannelStats {
    /// Streams in the channel that have not ended, including paused streams.
    pub members: usize,
    /// Pairs that [stay](crate::ChannelOptions::half_close) after their stream has ended. `members` and `half_closed` add up
    /// to the [`channel_len`](crate::Multiplexer::channel_len).
    pub half_closed: usize,
    /// [Paused](crate::Multiplexer::pause_stream) streams, which are also counted in `members`.
    pub paused: usize,
    /// Departures that were not received yet. Each takes 32 bytes.
    pub unread_departures: usize,
    /// Events that were received: items and departures.
    pub events: u64,
    /// Items that were received.
    pub items: u64,
    /// Polls of streams that returned an item, `Pending`, or the end of the stream. Polls that panicked do not count.
    pub polls: u64,
    /// Polls that returned `Pending`. About one for each item is normal for streams that wait for their peers. Many more
    /// indicate that streams wake without a reason.
    pub polls_in_vain: u64,
    /// Stays that ended because the stream ended.
    pub ended: u64,
    /// Stays that ended with a move to another channel. `ended`, `moved` and `removed` also count departures that were not
    /// received, or are [not reported](crate::ChannelOptions::report_departures).
    pub moved: u64,
    /// Stays that ended with a removal or a panic.
    pub removed: u64,
    /// Additions and moves that were refused with [`ChannelFull`](crate::MultiplexerError::ChannelFull), because of the
    /// channel's [limit](crate::ChannelOptions::max_streams).
    pub refused: u64,
}
