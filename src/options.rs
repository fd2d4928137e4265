//! How a channel behaves.

/// How a channel behaves; for [`Multiplexer::add_channel_with`](crate::Multiplexer::add_channel_with).
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
    /// Returns the options of a channel that [`Multiplexer::add_channel`](crate::Multiplexer::add_channel) adds.
    ///
    /// ```
    /// use stream_multiplexer::ChannelOptions;
    ///
    /// assert_eq!(ChannelOptions::new(), ChannelOptions::default());
    /// ```
    pub fn new() -> Self {
        Self { half_close: false, report_departures: true, max_streams: None }
    }

    /// Whether a pair stays when its stream ends in this channel. Off by default.
    ///
    /// A peer that has shut down its writing side may still wait for an answer. With this option the pair stays in the
    /// channel and can be sent to, until it is [removed](crate::Multiplexer::remove_stream) or
    /// [closed](crate::Multiplexer::close_stream), or the last handle is dropped. Removing it returns the stream,
    /// too. A stream without a sink does not stay. The [guide](crate::guide::connections#half-closed-peers) has a program.
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

    /// Whether the channel reports that a stream was moved or removed. On by default.
    ///
    /// A departure takes 32 bytes until it is received. Turn this off for a channel that nobody receives from, or in which
    /// nobody needs to know. The end of a stream, [`Ended`](crate::StreamEvent::Ended), is reported all the same: it is
    /// received in place of an item.
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

    /// How many streams the channel admits. Unlimited by default;
    /// [`Multiplexer::set_max_streams`](crate::Multiplexer::set_max_streams) changes it later.
    ///
    /// An addition or a move to a channel that has as many is refused:
    /// [`ChannelFull`](crate::MultiplexerError::ChannelFull). Pairs that [stay](Self::half_close) after the end of their
    /// stream count. A place is free as soon as its stream has ended or was moved or removed, even before that departure is
    /// received. At 0 nothing is admitted.
    ///
    /// Unread departures are limited as well: a channel is also full when its streams and unread departures together reach
    /// twice the limit. So a channel that nobody receives from fills up, whatever passes through it, and its memory is
    /// bounded. This is its backpressure. (Departures that are
    /// [not reported](Self::report_departures) do not count.)
    ///
    /// Cost: one more lock pair for each addition and move to this channel; none without a limit.
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
