//! Pausing streams and channels, by the handle.

use super::Multiplexer;
use crate::error::MultiplexerError;
use crate::id::{ChannelId, StreamId};

/// Pausing.
///
/// A stream in a paused channel, or a paused stream, is not polled. So it answers no pings, and the server does not notice
/// that its peer has left. Its sink can still be sent to.
///
/// When the last handle is dropped, everything paused is resumed, because nothing else could resume it.
impl<St, Si> Multiplexer<St, Si> {
    /// Pauses a stream: it has no turns until it is [resumed](Self::resume_stream), whatever wakes it.
    ///
    /// It stays in its channel, counts as one of its streams, and [`drained`](Self::drained) waits for it. It may be moved,
    /// and stays paused in its new channel; it may be removed, and [used in place](Self::with_stream). If it is being polled
    /// at this moment, by another thread or because it calls this itself, it is paused from the end of that poll, and the
    /// item of that poll is received. Pausing a paused stream does nothing.
    ///
    /// Cost: two lock pairs. A wake of a paused stream may wake a receiver of its channel, in vain.
    ///
    /// # Errors
    ///
    /// [`UnknownStream`](MultiplexerError::UnknownStream); [`Ended`](MultiplexerError::Ended) if the stream has ended and
    /// only [stays](crate::ChannelOptions::half_close).
    ///
    /// ```
    /// use futures::stream;
    /// use stream_multiplexer::{Multiplexer, TryRecvError};
    ///
    /// let multiplexer = Multiplexer::without_sinks();
    /// multiplexer.add_channel(1)?;
    /// let id = multiplexer.add_stream(stream::iter([5]), 1)?;
    ///
    /// multiplexer.pause_stream(id)?;
    /// assert_eq!(multiplexer.try_recv(1), Err(TryRecvError::Empty));
    /// multiplexer.resume_stream(id)?;
    /// assert_eq!(multiplexer.try_recv(1), Ok((id, Some(5))));
    /// # Ok::<(), stream_multiplexer::MultiplexerError>(())
    /// ```
    pub fn pause_stream(&self, stream: StreamId) -> Result<(), MultiplexerError> {
        self.registry().pause_stream(stream)
    }

    /// Resumes a stream that was [paused](Self::pause_stream). It gets a turn, so a wake during the pause is not lost.
    /// Resuming a stream that is not paused does nothing.
    ///
    /// Cost: two lock pairs, and waking the receivers of its channel if they wait.
    ///
    /// # Errors
    ///
    /// As [`pause_stream`](Self::pause_stream).
    ///
    /// # Panics
    ///
    /// If a task's waker panics. The stream is resumed all the same.
    ///
    /// ```
    /// use futures::{executor::block_on, stream};
    /// use stream_multiplexer::Multiplexer;
    ///
    /// let multiplexer = Multiplexer::without_sinks();
    /// multiplexer.add_channel(1)?;
    /// let id = multiplexer.add_stream(stream::iter([5]), 1)?;
    /// multiplexer.pause_stream(id)?;
    /// multiplexer.resume_stream(id)?;
    /// assert_eq!(block_on(multiplexer.recv(1))?, (id, Some(5)));
    /// # Ok::<(), stream_multiplexer::MultiplexerError>(())
    /// ```
    pub fn resume_stream(&self, stream: StreamId) -> Result<(), MultiplexerError> {
        self.registry().resume_stream(stream)
    }

    /// Whether a stream is [paused](Self::pause_stream). `None` if there is no stream with this id. It does not
    /// say whether its channel is paused.
    ///
    /// ```
    /// use futures::stream;
    /// use stream_multiplexer::Multiplexer;
    ///
    /// let multiplexer = Multiplexer::without_sinks();
    /// multiplexer.add_channel(1)?;
    /// let id = multiplexer.add_stream(stream::pending::<()>(), 1)?;
    /// multiplexer.pause_stream(id)?;
    /// assert_eq!(multiplexer.is_paused(id), Some(true));
    /// # Ok::<(), stream_multiplexer::MultiplexerError>(())
    /// ```
    #[must_use]
    pub fn is_paused(&self, stream: StreamId) -> Option<bool> {
        self.registry().is_paused(stream)
    }

    /// Pauses a channel: nothing is received from it until it is [resumed](Self::resume_channel), neither items nor
    /// departures. Its receivers wait; [`try_recv`](Self::try_recv) finds nothing.
    ///
    /// Streams may be added, moved and removed meanwhile. Their departures are kept until they can be received, 32 bytes
    /// each; a [limit](crate::ChannelOptions::max_streams) bounds them. A poll that is going on at this moment ends, and
    /// its item is received. The receivers end if the channel is removed, or if it is closed and has neither streams nor
    /// departures. Pausing a paused channel does nothing.
    ///
    /// Cost: two lock pairs. Wakes of its streams wake its receivers no more than once.
    ///
    /// # Errors
    ///
    /// [`UnknownChannel`](MultiplexerError::UnknownChannel).
    ///
    /// ```
    /// use futures::stream;
    /// use stream_multiplexer::{Multiplexer, TryRecvError};
    ///
    /// let multiplexer = Multiplexer::without_sinks();
    /// multiplexer.add_channel(1)?;
    /// let id = multiplexer.add_stream(stream::iter([5]), 1)?;
    ///
    /// multiplexer.pause_channel(1)?;
    /// assert_eq!(multiplexer.try_recv(1), Err(TryRecvError::Empty));
    /// multiplexer.resume_channel(1)?;
    /// assert_eq!(multiplexer.try_recv(1), Ok((id, Some(5))));
    /// # Ok::<(), stream_multiplexer::MultiplexerError>(())
    /// ```
    pub fn pause_channel(&self, channel: ChannelId) -> Result<(), MultiplexerError> {
        self.registry().pause_channel(channel)
    }

    /// Resumes a channel that was [paused](Self::pause_channel), and wakes its receivers. Its streams that are
    /// [paused themselves](Self::pause_stream) stay paused. Resuming a channel that is not paused does nothing.
    ///
    /// Cost: two lock pairs, and waking the receivers if it was paused.
    ///
    /// # Errors
    ///
    /// [`UnknownChannel`](MultiplexerError::UnknownChannel).
    ///
    /// # Panics
    ///
    /// If a task's waker panics. The channel is resumed all the same.
    ///
    /// ```
    /// use futures::{executor::block_on, stream};
    /// use stream_multiplexer::Multiplexer;
    ///
    /// let multiplexer = Multiplexer::without_sinks();
    /// multiplexer.add_channel(1)?;
    /// let id = multiplexer.add_stream(stream::iter([5]), 1)?;
    /// multiplexer.pause_channel(1)?;
    /// multiplexer.resume_channel(1)?;
    /// assert_eq!(block_on(multiplexer.recv(1))?, (id, Some(5)));
    /// # Ok::<(), stream_multiplexer::MultiplexerError>(())
    /// ```
    pub fn resume_channel(&self, channel: ChannelId) -> Result<(), MultiplexerError> {
        self.registry().resume_channel(channel)
    }

    /// Whether a channel is [paused](Self::pause_channel). `None` if there is no channel with this id.
    ///
    /// ```
    /// use stream_multiplexer::Multiplexer;
    ///
    /// let multiplexer: Multiplexer<futures::stream::Pending<()>> = Multiplexer::new();
    /// multiplexer.add_channel(1)?;
    /// assert_eq!(multiplexer.is_channel_paused(1), Some(false));
    /// assert_eq!(multiplexer.is_channel_paused(2), None);
    /// # Ok::<(), stream_multiplexer::MultiplexerError>(())
    /// ```
    #[must_use]
    pub fn is_channel_paused(&self, channel: ChannelId) -> Option<bool> {
        self.registry().is_channel_paused(channel)
    }
}
