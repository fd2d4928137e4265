//! [`ChannelStats`]: what is in a channel, and what happened there.

/// What is in a channel at a moment, and what has happened there since it was added; from
/// [`Multiplexer::stats`](crate::Multiplexer::stats).
///
/// All of it is of one moment. The counters never decrease; the differences of two calls are rates.
///
/// How long a ready stream waits for its turn is not in here: each would have to keep when it became ready, at a cost for
/// each item. But there is a [bound](crate#fairness): it waits for at most one turn of each of the other members, so for
/// `members - 1` polls.
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
/// // Its last poll returned the end.
/// assert_eq!((after.polls, after.polls_in_vain, after.events), (3, 0, 3));
/// # Ok::<(), stream_multiplexer::MultiplexerError>(())
/// ```
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct ChannelStats {
    /// Streams that are in the channel and have not ended, with those that are paused.
    pub members: usize,
    /// Pairs whose stream has ended and that [stay](crate::ChannelOptions::half_close). With the `members` they are the
    /// [`channel_len`](crate::Multiplexer::channel_len).
    pub half_closed: usize,
    /// Those of the `members` that are [paused](crate::Multiplexer::pause_stream).
    pub paused: usize,
    /// Departures that happened and were not received yet. Each takes 32 bytes.
    pub unread_departures: usize,
    /// Events that were received: items and departures.
    pub events: u64,
    /// Items that were received.
    pub items: u64,
    /// Polls of streams that returned: with an item, in vain, or with the end. One that panicked is not among them.
    pub polls: u64,
    /// Polls that returned `Pending`. One for each item is the rule for streams that wait for their peers; many more
    /// are a sign of streams that wake for nothing.
    pub polls_in_vain: u64,
    /// Stays that ended because the stream ended.
    pub ended: u64,
    /// Stays that ended by a move to another channel. These count whether [they are
    /// reported](crate::ChannelOptions::report_departures) or not, and whether that was received or not; so do the
    /// other two.
    pub moved: u64,
    /// Stays that ended by a removal, or by a panic.
    pub removed: u64,
    /// Additions and moves that were refused, for the channel had as many streams as it
    /// [admits](crate::ChannelOptions::max_streams).
    pub refused: u64,
}
