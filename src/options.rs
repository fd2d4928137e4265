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
}

impl ChannelOptions {
    /// The options of a channel that [`Multiplexer::add_channel`](crate::Multiplexer::add_channel) makes.
    pub fn new() -> Self {
        Self { half_close: false, report_departures: true }
    }

    /// Whether a pair stays when its stream ends in this channel. Off by default.
    ///
    /// A peer that has shut down its writing side may still wait for an answer. So the pair stays in the channel
    /// and can be sent to, until it is [removed](crate::Multiplexer::remove_stream) or
    /// [closed](crate::Multiplexer::close_stream), or the last handle is gone. Removing it hands back the stream,
    /// too. A stream without a sink does not stay.
    pub fn half_close(mut self, keep_pair: bool) -> Self {
        self.half_close = keep_pair;
        self
    }

    /// Whether the channel reports that a stream was moved or removed. On by default.
    ///
    /// A departure that nobody receives takes 32 bytes until somebody does. Turn this off for a channel that
    /// nobody receives from, or where nobody needs to know. The end of a stream,
    /// [`Ended`](crate::StreamEvent::Ended), is reported all the same: it is received in place of an item.
    pub fn report_departures(mut self, report: bool) -> Self {
        self.report_departures = report;
        self
    }
}

impl Default for ChannelOptions {
    fn default() -> Self {
        Self::new()
    }
}
