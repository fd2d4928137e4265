//! Creating and closing a multiplexer.

use super::Multiplexer;
use crate::registry::Registry;

/// Creating and closing.
impl<St, Si> Multiplexer<St, Si> {
    /// Creates a multiplexer without channels.
    ///
    /// ```
    /// use futures::{channel::mpsc, stream};
    /// use stream_multiplexer::Multiplexer;
    ///
    /// let multiplexer = Multiplexer::new();
    /// multiplexer.add_channel(1)?;
    /// let (sink, _peer) = mpsc::channel::<&str>(8);
    /// let id = multiplexer.add_stream_pair(sink, stream::iter(["hello"]), 1)?;
    /// # Ok::<(), stream_multiplexer::MultiplexerError>(())
    /// ```
    #[must_use]
    pub fn new() -> Self {
        Self::over(Registry::new())
    }

    /// Closes the multiplexer and all its channels. It admits no more channels and streams, and moves no stream to
    /// another channel. Its streams go on, and can be sent to. A receiver ends when its channel is empty. See
    /// also [`drained`](Self::drained), and [`shutdown`](Self::shutdown) to end the remaining streams.
    ///
    /// ```
    /// use futures::stream;
    /// use stream_multiplexer::Multiplexer;
    ///
    /// let multiplexer = Multiplexer::without_sinks();
    /// multiplexer.add_channel(1)?;
    /// multiplexer.add_stream(stream::pending::<()>(), 1)?;
    /// multiplexer.close();
    /// assert!(multiplexer.is_closed());
    /// assert!(multiplexer.add_stream(stream::pending(), 1).is_err());
    /// # Ok::<(), stream_multiplexer::MultiplexerError>(())
    /// ```
    pub fn close(&self) {
        self.registry().close();
    }

    /// Whether the multiplexer was [closed](Self::close).
    ///
    /// ```
    /// use futures::stream;
    /// use stream_multiplexer::Multiplexer;
    ///
    /// let multiplexer = Multiplexer::without_sinks();
    /// # multiplexer.add_channel(1)?;
    /// # multiplexer.add_stream(stream::pending::<()>(), 1)?;
    /// assert!(!multiplexer.is_closed());
    /// multiplexer.close();
    /// assert!(multiplexer.is_closed());
    /// # Ok::<(), stream_multiplexer::MultiplexerError>(())
    /// ```
    #[must_use]
    pub fn is_closed(&self) -> bool {
        self.registry().is_closed()
    }

    /// Frees memory that a burst of streams, departures, unflushed sinks or waiting tasks has needed.
    ///
    /// The memory that stays is proportional to the number of streams, plus 24 bytes for each id's place up to the
    /// last one in use. Later streams use these places again.
    ///
    /// Cost: a walk through all streams. Other threads wait for the walk through at most one channel, some 80 ns for each of
    /// its streams. Every stream is polled once more, because it gets a new place in its channel. If a stream of a channel
    /// is being polled at this moment, or waits behind departures after a move, or if another call is going through the
    /// streams, that channel frees only the memory behind its last stream.
    ///
    /// ```
    /// use futures::stream;
    /// use stream_multiplexer::Multiplexer;
    ///
    /// let multiplexer = Multiplexer::without_sinks();
    /// multiplexer.add_channel(1)?;
    /// for _ in 0..1_000 {
    ///     multiplexer.add_stream(stream::pending::<()>(), 1)?;
    /// }
    /// for id in multiplexer.channel_streams(1).unwrap_or_default() {
    ///     multiplexer.remove_stream(id);
    /// }
    /// multiplexer.shrink_to_fit();
    /// # Ok::<(), stream_multiplexer::MultiplexerError>(())
    /// ```
    pub fn shrink_to_fit(&self) {
        self.registry().shrink_to_fit();
    }
}

/// Creating one for streams without sinks.
impl<St> Multiplexer<St> {
    /// Creates a multiplexer without channels, for streams without sinks. It is `new()` with `Si = ()`.
    ///
    /// ```
    /// use futures::stream;
    /// use stream_multiplexer::Multiplexer;
    ///
    /// let multiplexer = Multiplexer::without_sinks();
    /// multiplexer.add_channel(1)?;
    /// multiplexer.add_stream(stream::iter([5]), 1)?;
    /// # Ok::<(), stream_multiplexer::MultiplexerError>(())
    /// ```
    #[must_use]
    pub fn without_sinks() -> Self {
        Self::new()
    }
}
