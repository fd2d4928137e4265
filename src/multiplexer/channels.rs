//! Adding, closing and removing channels, by the handle.

use super::Multiplexer;
use crate::channel::drained::Drained;
use crate::error::MultiplexerError;
use crate::event::StreamPair;
use crate::id::{ChannelId, StreamId};
use crate::options::ChannelOptions;
use crate::registry::{Listing, RemovedPair};
use crate::unwind::for_each;

/// Channels.
impl<St, Si> Multiplexer<St, Si> {
    /// Adds a channel.
    ///
    /// ```
    /// use futures::stream;
    /// use stream_multiplexer::Multiplexer;
    ///
    /// let multiplexer = Multiplexer::without_sinks();
    /// # multiplexer.add_channel(0)?;
    /// # multiplexer.add_stream(stream::pending::<()>(), 0)?;
    /// multiplexer.add_channel(1)?;
    /// assert!(multiplexer.has_channel(1));
    /// # Ok::<(), stream_multiplexer::MultiplexerError>(())
    /// ```
    ///
    /// # Errors
    ///
    /// [`DuplicateChannel`](MultiplexerError::DuplicateChannel) if there is a channel with this id;
    /// [`Closed`](MultiplexerError::Closed) after [`close`](Self::close).
    pub fn add_channel(&self, channel: ChannelId) -> Result<(), MultiplexerError> {
        self.add_channel_with(channel, ChannelOptions::new())
    }

    /// Adds a channel with options.
    ///
    /// ```
    /// use futures::stream;
    /// use stream_multiplexer::Multiplexer;
    ///
    /// let multiplexer = Multiplexer::without_sinks();
    /// # multiplexer.add_channel(0)?;
    /// # multiplexer.add_stream(stream::pending::<()>(), 0)?;
    /// # use stream_multiplexer::ChannelOptions;
    /// multiplexer.add_channel_with(1, ChannelOptions::new().max_streams(1_000).half_close(true))?;
    /// assert_eq!(multiplexer.max_streams(1)?, Some(1_000));
    /// # Ok::<(), stream_multiplexer::MultiplexerError>(())
    /// ```
    ///
    /// # Errors
    ///
    /// As [`add_channel`](Self::add_channel).
    pub fn add_channel_with(
        &self,
        channel: ChannelId,
        options: ChannelOptions,
    ) -> Result<(), MultiplexerError> {
        self.registry().add_channel(channel, options)
    }

    /// Whether there is a channel with this id.
    ///
    /// ```
    /// use futures::stream;
    /// use stream_multiplexer::Multiplexer;
    ///
    /// let multiplexer = Multiplexer::without_sinks();
    /// # multiplexer.add_channel(0)?;
    /// # multiplexer.add_stream(stream::pending::<()>(), 0)?;
    /// multiplexer.add_channel(1)?;
    /// assert!(multiplexer.has_channel(1) && !multiplexer.has_channel(2));
    /// # Ok::<(), stream_multiplexer::MultiplexerError>(())
    /// ```
    #[must_use]
    pub fn has_channel(&self, channel: ChannelId) -> bool {
        self.registry().channel(channel).is_ok()
    }

    /// Returns the ids of all channels, in ascending order.
    ///
    /// ```
    /// use futures::stream;
    /// use stream_multiplexer::Multiplexer;
    ///
    /// let multiplexer = Multiplexer::without_sinks();
    /// multiplexer.add_channel(3)?;
    /// multiplexer.add_channel(1)?;
    /// # multiplexer.add_stream(stream::pending::<()>(), 1)?;
    /// assert_eq!(multiplexer.channels(), [1, 3]);
    /// # Ok::<(), stream_multiplexer::MultiplexerError>(())
    /// ```
    #[must_use]
    pub fn channels(&self) -> Vec<ChannelId> {
        self.registry().channel_ids()
    }

    /// How many streams are in a channel, including those that have [ended and stay](crate::ChannelOptions::half_close). `None`
    /// if there is no channel with this id.
    ///
    /// ```
    /// use futures::stream;
    /// use stream_multiplexer::Multiplexer;
    ///
    /// let multiplexer = Multiplexer::without_sinks();
    /// multiplexer.add_channel(1)?;
    /// multiplexer.add_stream(stream::pending::<()>(), 1)?;
    /// assert_eq!(multiplexer.channel_len(1), Some(1));
    /// assert_eq!(multiplexer.channel_len(2), None);
    /// # Ok::<(), stream_multiplexer::MultiplexerError>(())
    /// ```
    #[must_use]
    pub fn channel_len(&self, channel: ChannelId) -> Option<usize> {
        self.registry().channel(channel).ok().map(|channel| channel.len())
    }

    /// Returns the ids of the streams in a channel, the oldest first, including those that have
    /// [ended and stay](crate::ChannelOptions::half_close). `None` if there is no channel with this id.
    ///
    /// The list may or may not have a stream that is added or leaves during the call.
    ///
    /// Cost: two lock pairs for 64 streams, and sorting them. Streams that have left cost nothing.
    ///
    /// ```
    /// use futures::stream;
    /// use stream_multiplexer::Multiplexer;
    ///
    /// let multiplexer = Multiplexer::without_sinks();
    /// multiplexer.add_channel(1)?;
    /// let older = multiplexer.add_stream(stream::pending::<()>(), 1)?;
    /// let younger = multiplexer.add_stream(stream::pending::<()>(), 1)?;
    /// assert_eq!(multiplexer.channel_streams(1), Some(vec![older, younger]));
    /// # Ok::<(), stream_multiplexer::MultiplexerError>(())
    /// ```
    #[must_use]
    pub fn channel_streams(&self, channel: ChannelId) -> Option<Vec<StreamId>> {
        self.registry().channel_streams(channel, Listing::All)
    }

    /// Closes a channel. It admits no more streams, neither new nor moved ones; those in it go on. Its receivers end when
    /// it is empty. See also [`drained`](Self::drained).
    ///
    /// # Errors
    ///
    /// [`UnknownChannel`](MultiplexerError::UnknownChannel). Closing a closed channel is not an error.
    ///
    /// ```
    /// use futures::{executor::block_on, stream};
    /// use stream_multiplexer::{Multiplexer, MultiplexerError};
    ///
    /// let multiplexer = Multiplexer::without_sinks();
    /// multiplexer.add_channel(1)?;
    /// let id = multiplexer.add_stream(stream::iter([5]), 1)?;
    /// multiplexer.close_channel(1)?;
    /// assert_eq!(multiplexer.add_stream(stream::iter([6]), 1).unwrap_err().reason(), MultiplexerError::Closed);
    ///
    /// assert_eq!(block_on(multiplexer.recv(1))?, (id, Some(5)));
    /// assert_eq!(block_on(multiplexer.recv(1))?, (id, None));
    /// assert_eq!(block_on(multiplexer.recv(1)), Err(MultiplexerError::Closed));
    /// # Ok::<(), MultiplexerError>(())
    /// ```
    pub fn close_channel(&self, channel: ChannelId) -> Result<(), MultiplexerError> {
        self.registry().close_channel(channel)
    }

    /// Whether a channel was closed, by itself or with the multiplexer. `None` if there is no channel with this id.
    ///
    /// ```
    /// use futures::stream;
    /// use stream_multiplexer::Multiplexer;
    ///
    /// let multiplexer = Multiplexer::without_sinks();
    /// multiplexer.add_channel(1)?;
    /// # multiplexer.add_stream(stream::pending::<()>(), 1)?;
    /// assert_eq!(multiplexer.is_channel_closed(1), Some(false));
    /// multiplexer.close();
    /// assert_eq!(multiplexer.is_channel_closed(1), Some(true));
    /// # Ok::<(), stream_multiplexer::MultiplexerError>(())
    /// ```
    #[must_use]
    pub fn is_channel_closed(&self, channel: ChannelId) -> Option<bool> {
        self.registry().is_channel_closed(channel)
    }

    /// Waits until a channel is closed and all streams in it have ended or left.
    ///
    /// Resolves to `Result<(), MultiplexerError>`. Keep receiving from the channel: a stream ends only when it is polled, and
    /// a [paused](Self::pause_stream) stream only after it is resumed. This does not wait for pairs that
    /// [stay](crate::ChannelOptions::half_close) after the end of their stream, nor for departures to be received. It also
    /// completes when the channel is removed.
    ///
    /// ```
    /// use futures::{executor::block_on, future::join, stream};
    /// use stream_multiplexer::Multiplexer;
    ///
    /// let multiplexer = Multiplexer::without_sinks();
    /// multiplexer.add_channel(1)?;
    /// multiplexer.add_stream(stream::iter([5]), 1)?;
    /// multiplexer.close();
    /// let receive = async { while multiplexer.recv(1).await.is_ok() {} };
    /// block_on(join(receive, multiplexer.drained(1))).1?;
    /// # Ok::<(), stream_multiplexer::MultiplexerError>(())
    /// ```
    ///
    /// # Errors
    ///
    /// [`UnknownChannel`](MultiplexerError::UnknownChannel) if there is no channel with this id at the first poll.
    ///
    /// # Panics
    ///
    /// If it is polled again after completion.
    ///
    /// # Cancel safety
    ///
    /// Dropping it loses nothing.
    pub fn drained(&self, channel: ChannelId) -> Drained<'_, St, Si> {
        Drained::new(self.registry(), channel)
    }

    /// Removes a channel and returns its pairs, the oldest first. `None` if there is no channel with this
    /// id.
    ///
    /// Its receivers end immediately; events that they have not received are dropped. A stream that another thread moves
    /// out of the channel during the call may be moved or returned.
    ///
    /// Cost: two lock pairs for 64 pairs. Other threads wait for at most one such batch.
    ///
    /// ```
    /// use futures::stream;
    /// use stream_multiplexer::Multiplexer;
    ///
    /// let multiplexer = Multiplexer::without_sinks();
    /// multiplexer.add_channel(1)?;
    /// let id = multiplexer.add_stream(stream::pending::<()>(), 1)?;
    /// let pairs = multiplexer.remove_channel(1).expect("it was there");
    /// assert_eq!((pairs.len(), pairs[0].id), (1, id));
    /// assert!(multiplexer.remove_channel(1).is_none());
    /// # Ok::<(), stream_multiplexer::MultiplexerError>(())
    /// ```
    ///
    /// # Panics
    ///
    /// If a task's waker panics. The channel is removed all the same, and its pairs are dropped.
    pub fn remove_channel(&self, channel: ChannelId) -> Option<Vec<StreamPair<St, Si>>>
    where
        St: Unpin,
    {
        let mut pairs = self.registry().remove_channel(channel)?;
        for_each(&mut pairs, RemovedPair::reclaim_sink);
        Some(pairs.into_iter().map(RemovedPair::hand_back).collect())
    }

    /// Removes a channel and drops its pairs. As [`remove_channel`](Self::remove_channel), but also for
    /// streams that are not `Unpin`. Returns whether there was a channel with this id.
    ///
    /// ```
    /// use futures::stream;
    /// use stream_multiplexer::Multiplexer;
    ///
    /// let multiplexer = Multiplexer::without_sinks();
    /// multiplexer.add_channel(1)?;
    /// multiplexer.add_stream(stream::once(async { 5 }), 1)?;
    /// assert!(multiplexer.discard_channel(1));
    /// assert!(!multiplexer.discard_channel(1));
    /// # Ok::<(), stream_multiplexer::MultiplexerError>(())
    /// ```
    ///
    /// # Panics
    ///
    /// If a task's waker or the drop of a stream or sink panics. All the others are dropped.
    pub fn discard_channel(&self, channel: ChannelId) -> bool {
        self.registry().remove_channel(channel).is_some()
    }
}
