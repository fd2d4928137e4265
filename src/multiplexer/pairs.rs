//! Adding, moving and removing pairs, and using them in place, by the handle.

use super::Multiplexer;
use crate::error::{AddStreamError, MultiplexerError};
use crate::event::StreamPair;
use crate::id::{ChannelId, StreamId};
use crate::registry::RemovedPair;
use crate::sink::slot::SinkSlot;
use futures_core::Stream;
use std::pin::Pin;
use std::sync::Arc;

/// Pairs.
impl<St, Si> Multiplexer<St, Si> {
    /// Adds a pair to a channel. When this returns, the pair can be received from and sent to.
    ///
    /// Cost: two lock pairs, three if the channel [has a limit](crate::ChannelOptions::max_streams); one allocation for the
    /// stream and two for the sink. When the pair leaves, the channel keeps its departure, 32 bytes, until that is received,
    /// unless the channel [does not report departures](crate::ChannelOptions::report_departures).
    ///
    /// ```
    /// use futures::{StreamExt, channel::mpsc, stream};
    /// use stream_multiplexer::Multiplexer;
    ///
    /// let multiplexer = Multiplexer::new();
    /// multiplexer.add_channel(1)?;
    /// let (sink, _peer) = mpsc::channel::<&str>(8);
    /// let id = multiplexer.add_stream_pair(sink, stream::iter(["hello"]), 1)?;
    /// assert_eq!(multiplexer.channel_streams(1), Some(vec![id]));
    /// # Ok::<(), stream_multiplexer::MultiplexerError>(())
    /// ```
    ///
    /// # Two wakers
    ///
    /// The stream and the sink are polled with different wakers, possibly by two threads at the same time, as the halves of
    /// any split connection are. So a transport must keep two wakers: one from the last poll of its stream, and one from
    /// the last poll of its sink. (All senders poll one sink with the same waker.) The sockets of tokio and of
    /// async-io do so, and so do channels and tokio-tungstenite. A transport that keeps only the last waker, of whichever
    /// half was polled, loses the wakes of the other half, which then stalls for ever. A stream of yamux 0.14.0 does this
    /// when different tasks read and write it. Put such a transport behind a task of its own and two channels.
    ///
    /// # Errors
    ///
    /// [`UnknownChannel`](MultiplexerError::UnknownChannel); [`Closed`](MultiplexerError::Closed) after
    /// [`close`](Self::close) or [`close_channel`](Self::close_channel);
    /// [`ChannelFull`](MultiplexerError::ChannelFull) if the channel's limit is reached. The error holds the pair.
    pub fn add_stream_pair(
        &self,
        sink: Si,
        stream: St,
        channel: ChannelId,
    ) -> Result<StreamId, AddStreamError<St, Si>>
    where
        St: Stream,
    {
        let slot = |id, sink, flushes: &Arc<_>| Some(SinkSlot::new(id, sink, Arc::clone(flushes)));
        self.registry().add(stream, sink, slot, channel)
    }

    /// Adds a stream without a sink to a channel. Otherwise as [`add_stream_pair`](Self::add_stream_pair).
    ///
    /// Many receivers that are no `Stream` have an adapter. For tokio's channels use
    /// `tokio_stream::wrappers::ReceiverStream`.
    ///
    /// ```
    /// use futures::{executor::block_on, stream};
    /// use stream_multiplexer::Multiplexer;
    ///
    /// let multiplexer = Multiplexer::without_sinks();
    /// multiplexer.add_channel(1)?;
    /// let id = multiplexer.add_stream(stream::iter([5]), 1)?;
    /// assert_eq!(block_on(multiplexer.recv(1))?, (id, Some(5)));
    /// # Ok::<(), stream_multiplexer::MultiplexerError>(())
    /// ```
    ///
    /// # Errors
    ///
    /// As [`add_stream_pair`](Self::add_stream_pair). The error holds the stream.
    pub fn add_stream(&self, stream: St, channel: ChannelId) -> Result<StreamId, AddStreamError<St, ()>>
    where
        St: Stream,
    {
        self.registry().add(stream, (), |_, (), _| None, channel)
    }

    /// Moves a stream to another channel.
    ///
    /// The move is done when this returns, even if no task receives from the channels. The old channel reports
    /// [`Moved`](crate::StreamEvent::Moved), after the items that were received there; the new channel yields the next item.
    /// If the stream is being polled at this moment, the item of that poll still belongs to the old channel. A move to
    /// the channel that the stream is in does nothing.
    ///
    /// Keep receiving from a channel that many streams pass through: unread departures accumulate, 32 bytes each, unless
    /// the channel [does not report them](crate::ChannelOptions::report_departures).
    ///
    /// Cost: three lock pairs, four if the other channel [has a limit](crate::ChannelOptions::max_streams). Allocates only when a
    /// channel has more streams, or more unread departures, than ever before.
    ///
    /// ```
    /// use futures::stream;
    /// use stream_multiplexer::Multiplexer;
    ///
    /// let multiplexer = Multiplexer::without_sinks();
    /// multiplexer.add_channel(1)?;
    /// multiplexer.add_channel(2)?;
    /// let id = multiplexer.add_stream(stream::pending::<()>(), 1)?;
    /// multiplexer.change_stream_channel(id, 2)?;
    /// assert_eq!(multiplexer.channel_of(id), Some(2));
    /// # Ok::<(), stream_multiplexer::MultiplexerError>(())
    /// ```
    ///
    /// # Errors
    ///
    /// [`UnknownStream`](MultiplexerError::UnknownStream); [`UnknownChannel`](MultiplexerError::UnknownChannel);
    /// [`Closed`](MultiplexerError::Closed) if the other channel is closed;
    /// [`ChannelFull`](MultiplexerError::ChannelFull) if its limit is reached;
    /// [`Ended`](MultiplexerError::Ended) if the stream has ended and only [stays](crate::ChannelOptions::half_close). The
    /// stream stays where it was.
    pub fn change_stream_channel(
        &self,
        stream: StreamId,
        channel: ChannelId,
    ) -> Result<(), MultiplexerError> {
        self.registry().change_channel(stream, channel)
    }

    /// Returns the channel that a stream is in. `None` if there is no stream with this id.
    ///
    /// ```
    /// use futures::stream;
    /// use stream_multiplexer::Multiplexer;
    ///
    /// let multiplexer = Multiplexer::without_sinks();
    /// multiplexer.add_channel(1)?;
    /// let id = multiplexer.add_stream(stream::pending::<()>(), 1)?;
    /// assert_eq!(multiplexer.channel_of(id), Some(1));
    /// # Ok::<(), stream_multiplexer::MultiplexerError>(())
    /// ```
    #[must_use]
    pub fn channel_of(&self, stream: StreamId) -> Option<ChannelId> {
        self.registry().channel_of(stream)
    }

    /// Removes a pair and returns it. `None` if there is no stream with this id.
    ///
    /// Its channel reports [`Removed`](crate::StreamEvent::Removed), and keeps this departure, 32 bytes, until it is
    /// received, unless the channel [does not report departures](crate::ChannelOptions::report_departures). Sends that wait
    /// for the sink fail; [`SendError`](crate::SendError) says whether the sink received the item.
    ///
    /// ```
    /// use futures::stream;
    /// use stream_multiplexer::Multiplexer;
    ///
    /// let multiplexer = Multiplexer::without_sinks();
    /// multiplexer.add_channel(1)?;
    /// let id = multiplexer.add_stream(stream::pending::<()>(), 1)?;
    /// let pair = multiplexer.remove_stream(id).expect("it was there");
    /// assert!(pair.stream.is_some());
    /// assert!(multiplexer.remove_stream(id).is_none());
    /// # Ok::<(), stream_multiplexer::MultiplexerError>(())
    /// ```
    ///
    /// # Panics
    ///
    /// If a task's waker panics. The pair is removed all the same, and dropped.
    pub fn remove_stream(&self, stream: StreamId) -> Option<StreamPair<St, Si>>
    where
        St: Unpin,
    {
        self.registry().remove(stream).map(hand_back)
    }

    /// Removes a pair if it is in `channel`, and returns it. `None` if it is not there.
    ///
    /// Use it when the removal depends on the class. A login timeout, for example, removes a stream from the guests, unless the
    /// login has just moved it. Otherwise as [`remove_stream`](Self::remove_stream).
    ///
    /// ```
    /// use futures::stream;
    /// use stream_multiplexer::Multiplexer;
    ///
    /// const GUESTS: usize = 1;
    /// const MEMBERS: usize = 2;
    ///
    /// let multiplexer = Multiplexer::without_sinks();
    /// multiplexer.add_channel(GUESTS)?;
    /// multiplexer.add_channel(MEMBERS)?;
    /// let id = multiplexer.add_stream(stream::pending::<()>(), GUESTS)?;
    /// multiplexer.change_stream_channel(id, MEMBERS)?;
    /// assert!(multiplexer.remove_stream_from(id, GUESTS).is_none());
    /// assert!(multiplexer.remove_stream_from(id, MEMBERS).is_some());
    /// # Ok::<(), stream_multiplexer::MultiplexerError>(())
    /// ```
    pub fn remove_stream_from(&self, stream: StreamId, channel: ChannelId) -> Option<StreamPair<St, Si>>
    where
        St: Unpin,
    {
        self.registry().remove_from(stream, channel).map(hand_back)
    }

    /// Removes a pair and drops it. As [`remove_stream`](Self::remove_stream), but also for streams that are not `Unpin`.
    /// Returns whether it was there.
    ///
    /// ```
    /// use futures::stream;
    /// use stream_multiplexer::Multiplexer;
    ///
    /// let multiplexer = Multiplexer::without_sinks();
    /// multiplexer.add_channel(1)?;
    /// let id = multiplexer.add_stream(stream::once(async { 5 }), 1)?;
    /// assert!(multiplexer.discard_stream(id));
    /// assert!(!multiplexer.discard_stream(id));
    /// # Ok::<(), stream_multiplexer::MultiplexerError>(())
    /// ```
    ///
    /// # Panics
    ///
    /// If a task's waker or the drop of the stream or sink panics. The rest is done all the same.
    pub fn discard_stream(&self, stream: StreamId) -> bool {
        self.registry().remove(stream).is_some()
    }

    /// Removes a pair if it is in `channel`, and drops it. As [`remove_stream_from`](Self::remove_stream_from), but also for
    /// streams that are not `Unpin`. Returns whether it was there.
    ///
    /// ```
    /// use futures::stream;
    /// use stream_multiplexer::Multiplexer;
    ///
    /// let multiplexer = Multiplexer::without_sinks();
    /// multiplexer.add_channel(1)?;
    /// let id = multiplexer.add_stream(stream::once(async { 5 }), 1)?;
    /// assert!(!multiplexer.discard_stream_from(id, 2));
    /// assert!(multiplexer.discard_stream_from(id, 1));
    /// # Ok::<(), stream_multiplexer::MultiplexerError>(())
    /// ```
    pub fn discard_stream_from(&self, stream: StreamId, channel: ChannelId) -> bool {
        self.registry().remove_from(stream, channel).is_some()
    }

    /// Calls `f` with a stream, in place. No lock is held, so `f` may call the multiplexer. The stream gets a turn
    /// afterwards, so `f` may change it in any way.
    ///
    /// ```
    /// use futures::{executor::block_on, stream};
    /// use stream_multiplexer::Multiplexer;
    ///
    /// let multiplexer = Multiplexer::without_sinks();
    /// multiplexer.add_channel(1)?;
    /// let id = multiplexer.add_stream(stream::iter(vec![1, 2, 3]), 1)?;
    /// multiplexer.with_stream(id, |mut stream| stream.set(stream::iter(vec![7])))?;
    /// assert_eq!(block_on(multiplexer.recv(1))?, (id, Some(7)));
    /// # Ok::<(), stream_multiplexer::MultiplexerError>(())
    /// ```
    ///
    /// # Errors
    ///
    /// [`UnknownStream`](MultiplexerError::UnknownStream); [`Busy`](MultiplexerError::Busy) if the stream is being
    /// polled at this moment; [`Ended`](MultiplexerError::Ended). `f` is not called then.
    ///
    /// # Panics
    ///
    /// If `f` panics. The pair is removed, as after a panic in the stream's poll.
    pub fn with_stream<R>(
        &self,
        stream: StreamId,
        f: impl FnOnce(Pin<&mut St>) -> R,
    ) -> Result<R, MultiplexerError> {
        self.registry().with_stream(stream, f)
    }

    /// Calls `f` with the sink of a stream, in place. No lock is held, so `f` may call the multiplexer. Senders that wait for
    /// the sink try again afterwards.
    ///
    /// ```
    /// use futures::{channel::mpsc, stream};
    /// use stream_multiplexer::Multiplexer;
    ///
    /// let multiplexer = Multiplexer::new();
    /// multiplexer.add_channel(1)?;
    /// let (sink, _peer) = mpsc::channel::<u8>(8);
    /// let id = multiplexer.add_stream_pair(sink, stream::pending::<u8>(), 1)?;
    /// assert_eq!(multiplexer.with_sink(id, |sink| sink.is_closed())?, false);
    /// # Ok::<(), stream_multiplexer::MultiplexerError>(())
    /// ```
    ///
    /// # Errors
    ///
    /// [`UnknownStream`](MultiplexerError::UnknownStream), also for a stream without a sink;
    /// [`Busy`](MultiplexerError::Busy) if the sink is being polled at this moment. `f` is not called then.
    ///
    /// # Panics
    ///
    /// If `f` panics. The pair is removed, as after a panic in the sink's poll.
    pub fn with_sink<R>(
        &self,
        stream: StreamId,
        f: impl FnOnce(&mut Si) -> R,
    ) -> Result<R, MultiplexerError> {
        self.registry().with_sink(stream, f)
    }
}

fn hand_back<St: Unpin, Si>(mut pair: RemovedPair<St, Si>) -> StreamPair<St, Si> {
    pair.reclaim_sink();
    pair.hand_back()
}
