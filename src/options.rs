//! [`ChannelOptions`]: the options of a channel.

/// The options of a channel, for [`Multiplexer::add_channel_with`](crate::Multiplexer::add_channel_with).
///
/// ```
/// use stream_multiplexer::ChannelOptions;
///
/// let options = ChannelOptions::new().half_close(true);
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[must_use]
pub struct ChannelOptions {
    pub(crate) half_close: bool,
    pub(crate) report_departures: bool,
    pub(crate) max_streams: Option<usize>,
}

impl ChannelOptions {
    /// Returns the default options, which [`Multiplexer::add_channel`](crate::Multiplexer::add_channel) uses.
    ///
    /// ```
    /// use stream_multiplexer::ChannelOptions;
    ///
    /// assert_eq!(ChannelOptions::new(), ChannelOptions::default());
    /// ```
    pub fn new() -> Self {
        Self { half_close: false, report_departures: true, max_streams: None }
    }

    /// Sets whether a pair stays in this channel after its stream has ended. Off by default.
    ///
    /// A peer that has shut down its writing side may still wait for an answer. With this option the pair stays in the
    /// channel, and you can send to it, until the pair is [removed](crate::Multiplexer::remove_stream) or
    /// [closed](crate::Multiplexer::close_stream), or the last handle is dropped. A removal also returns the stream.
    /// A stream without a sink does not stay. The [guide](crate::guide::connections#half-closed-peers) has a program.
    ///
    /// ```
    /// use stream_multiplexer::ChannelOptions;
    ///
    /// let options = ChannelOptions::new().half_close(true);
    /// ```
    pub fn half_close(mut self, keep_pair: bool) -> Self {
        self.half_close = keep_pair;
        self
    }

    /// Sets whether the channel reports that a stream was moved or removed. On by default.
    ///
    /// A departure takes 32 bytes until it is received. Turn this option off for a channel that no task receives from, or
    /// if the program does not need departures. The channel still reports the end of a stream,
    /// [`Ended`](crate::StreamEvent::Ended), which is received in place of an item.
    ///
    /// ```
    /// use stream_multiplexer::ChannelOptions;
    ///
    /// let options = ChannelOptions::new().report_departures(false);
    /// ```
    pub fn report_departures(mut self, report: bool) -> Self {
        self.report_departures = report;
        self
    }

    /// Limits how many streams the channel admits. Unlimited by default.
    /// [`Multiplexer::set_max_streams`](crate::Multiplexer::set_max_streams) changes the limit later.
    ///
    /// While the channel has this many streams, additions and moves to it return
    /// [`ChannelFull`](crate::MultiplexerError::ChannelFull). Pairs that [stay](Self::half_close) after the end of their
    /// stream count. A place is free as soon as its stream has ended, was moved or was removed, even before the departure is
    /// received. With a limit of 0, the channel admits no streams.
    ///
    /// Unread departures are limited as well: the channel is also full while its streams and unread departures together
    /// reach twice the limit. If no task receives from the channel, it fills up, whatever passes through it, and its
    /// memory stays bounded. This is the channel's backpressure. (Departures that are [not
    /// reported](Self::report_departures) do not count.)
    ///
    /// Cost: one more lock pair for each addition and move to this channel. Without a limit there is no cost.
    ///
    /// ```
    /// use futures::stream;
    /// use stream_multiplexer::{ChannelOptions, Multiplexer, MultiplexerError};
    ///
    /// let multiplexer = Multiplexer::without_sinks();
    /// multiplexer.add_channel_with(1, ChannelOptions::new().max_streams(1))?;
    /// let first = multiplexer.add_stream(stream::pending::<()>(), 1)?;
    ///
    /// let refused = multiplexer.add_stream(stream::pending(), 1).unwrap_err();
    /// assert_eq!(refused.reason(), MultiplexerError::ChannelFull(1));
    /// let ((), stream) = refused.into_parts();
    ///
    /// multiplexer.remove_stream(first);
    /// multiplexer.add_stream(stream, 1)?;
    /// # Ok::<(), MultiplexerError>(())
    /// ```
    pub fn max_streams(mut self, limit: usize) -> Self {
        self.max_streams = Some(limit);
        self
    }
}

impl Default for ChannelOptions {
    fn default() -> Self {
        Self::new()
    }
}
