//! [`ChannelStats`]: the contents and the counters of a channel.

/// The contents of a channel, and counters since the channel was added. Returned by
/// [`Multiplexer::stats`](crate::Multiplexer::stats).
///
/// All values are taken at one moment. The counters never decrease: take the difference of two calls to compute rates.
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
/// // It had no other stream to wait for.
/// assert_eq!(after.longest_wait, 0);
///
/// for _ in 0..10 {
///     multiplexer.add_stream(stream::iter([7, 8]), 1)?;
/// }
/// while block_on(multiplexer.recv(1))?.1.is_some() {}
/// assert_eq!(multiplexer.stats(1).unwrap().longest_wait, 9);
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
    /// The largest number of turns of other streams of this channel that a stream was measured to wait for while it was ready.
    /// A turn is one poll. The [bound on fairness](crate#fairness) limits a wait to one turn of each other stream.
    ///
    /// One ready stream at a time is measured, because measuring all would slow each item down. A stream did wait for
    /// `longest_wait` turns, and none waited for more than `2 * longest_wait + 1` turns. If the streams became ready together, or
    /// are always ready, `longest_wait` is exact.
    ///
    /// Each further receiver that polls the channel at the same time adds 2 to that limit. If a measured stream leaves the
    /// channel or is paused before its turn, a longer wait of another stream may be missed.
    pub longest_wait: u64,
}
