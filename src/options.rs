//! How a channel behaves.

/// How a channel behaves; for [`Multiplexer::add_channel_with`](crate::Multiplexer::add_channel_with).
///
/// ```
/// use stream_multiplexer::ChannelOptions;
///
/// let options = ChannelOptions::new().half_close(true);
/// ```
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[must_use]
pub struct ChannelOptions {
    pub(crate) half_close: bool,
}

impl ChannelOptions {
    /// As [`Multiplexer::add_channel`](crate::Multiplexer::add_channel) makes them.
    pub fn new() -> Self {
        Self::default()
    }

    /// Whether the sink of a stream that ends in this channel is kept, until the pair is
    /// [removed](crate::Multiplexer::remove_stream) or [closed](crate::Multiplexer::close_stream). Off, unless set.
    ///
    /// A peer that has shut down its writing side may still wait for the answer. What nobody removes stays
    /// until the last handle is gone.
    pub fn half_close(mut self, keep_sink: bool) -> Self {
        self.half_close = keep_sink;
        self
    }
}
