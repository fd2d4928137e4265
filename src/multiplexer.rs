//! [`Multiplexer`]: the handle to it all.

#[cfg(all(feature = "blocking", not(target_family = "wasm")))]
mod blocking;
mod limits;
mod pausing;
mod receiving;
mod sending;

use crate::channel::drained::Drained;
use crate::error::{AddStreamError, MultiplexerError};
use crate::event::StreamPair;
use crate::id::{ChannelId, StreamId};
use crate::options::ChannelOptions;
use crate::registry::{Listing, Registry, RemovedPair};
use crate::sink::slot::SinkSlot;
use crate::unwind::for_each;
use futures_core::Stream;
use std::fmt;
use std::pin::Pin;
use std::sync::Arc;

/// Stream pairs in channels. Receive from one channel or several; send to one pair or many.
///
/// It is a handle. Clones are cheap and name the same multiplexer, every method takes `&self`, and it may be used from
/// any thread if the streams and sinks are `Send`. When the last clone is dropped, the multiplexer is
/// [closed](Self::close).
///
/// `St` is the type of the streams and `Si` that of the sinks. A stream need not be `Unpin`, except for methods that return
/// it (a `Pin<Box<_>>` always is). A sink must be `Unpin`, or boxed. For streams of several types use
/// `Pin<Box<dyn Stream<Item = ...> + Send>>`. [`add_stream`](Multiplexer::add_stream) adds a stream without a sink; if
/// no stream has one, create the multiplexer by [`without_sinks`](Multiplexer::without_sinks).
///
/// ```
/// use futures::{StreamExt, channel::mpsc, executor::block_on, stream};
/// use stream_multiplexer::Multiplexer;
///
/// const GUESTS: usize = 1;
/// const MEMBERS: usize = 2;
///
/// let multiplexer = Multiplexer::new();
/// multiplexer.add_channel(GUESTS)?;
/// multiplexer.add_channel(MEMBERS)?;
///
/// let (sink, mut peer) = mpsc::unbounded();
/// let id = multiplexer.add_stream_pair(sink, stream::iter(["let me in", "thanks"]), GUESTS)?;
///
/// block_on(async {
///     assert_eq!(multiplexer.recv(GUESTS).await?, (id, Some("let me in")));
///     assert!(multiplexer.send([id], "welcome").await.is_ok());
///     multiplexer.change_stream_channel(id, MEMBERS)?;
///     assert_eq!(multiplexer.recv(GUESTS).await?, (id, None));
///     assert_eq!(multiplexer.recv(MEMBERS).await?, (id, Some("thanks")));
///     assert_eq!(peer.next().await, Some("welcome"));
///     Ok::<(), stream_multiplexer::MultiplexerError>(())
/// })?;
/// # Ok::<(), stream_multiplexer::MultiplexerError>(())
/// ```
pub struct Multiplexer<St, Si = ()> {
    handle: Arc<Handle<St, Si>>,
}

/// What the clones of a handle share; closes the multiplexer with the last of them.
struct Handle<St, Si> {
    registry: Arc<Registry<St, Si>>,
}

impl<St, Si> Drop for Handle<St, Si> {
    fn drop(&mut self) {
        self.registry.abandon();
    }
}

/// Channels and pairs.
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
        Self { handle: Arc::new(Handle { registry: Arc::new(Registry::new()) }) }
    }

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

    /// How many streams are in a channel, including those that have [ended and stay](ChannelOptions::half_close). `None`
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
    /// [ended and stay](ChannelOptions::half_close). `None` if there is no channel with this id.
    ///
    /// A stream that comes or leaves during the call may or may not be in the list.
    ///
    /// Cost: two lock pairs for 64 streams, and sorting them. How many were there before does not matter.
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

    /// Removes a channel and returns the pairs that were in it, the oldest first. `None` if there is no channel with this
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

    /// Removes a channel and drops the pairs that were in it. As [`remove_channel`](Self::remove_channel), but also for
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
    /// Resolves to `Result<(), MultiplexerError>`. Streams end only while somebody receives from them, and
    /// [paused](Self::pause_stream) ones not before they are resumed. It does not wait for pairs that
    /// [stay](ChannelOptions::half_close) after the end of their stream, nor for departures to be received. It also
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

    /// Adds a pair to a channel. It can be received from and sent to when this returns.
    ///
    /// Cost: two lock pairs, three if the channel [has a limit](ChannelOptions::max_streams); one allocation for the
    /// stream and two for the sink. What a pair leaves behind in a channel that nobody receives from is its departure,
    /// 32 bytes, unless the channel [does not report it](ChannelOptions::report_departures).
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
    /// The stream and the sink are polled with different wakers, and maybe by two threads at a time, as the halves of any
    /// connection are that was split. So a transport must keep two wakers: that of the last poll of its stream, and that
    /// of the last poll of its sink. (All who send to one sink poll it with the same waker.) The sockets of tokio and of
    /// async-io do, and channels, and tokio-tungstenite. A transport that keeps the last waker alone, whichever half was
    /// polled, loses the wakes of the other half, which then stalls for ever: a stream of yamux 0.14.0 does, when it is
    /// read and written by different tasks. Put such a transport behind a task of its own and two channels.
    ///
    /// # Errors
    ///
    /// [`UnknownChannel`](MultiplexerError::UnknownChannel); [`Closed`](MultiplexerError::Closed) after
    /// [`close`](Self::close) or [`close_channel`](Self::close_channel);
    /// [`ChannelFull`](MultiplexerError::ChannelFull) if the channel admits no more. The error holds the pair.
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
    /// What is received from but is no `Stream` has an adapter, as a rule: for tokio's channels that is
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
    /// The move is done when this returns, whether or not anybody receives from the channels. The old channel reports
    /// [`Moved`](crate::StreamEvent::Moved), after the items that were received there; the next item comes in the new
    /// one. If the stream is being polled at this moment, the item of that poll still belongs to the old channel. A move to
    /// the channel that the stream is in does nothing.
    ///
    /// Keep receiving from a channel that many streams pass through: unread departures accumulate, 32 bytes each, unless
    /// the channel [does not report them](ChannelOptions::report_departures).
    ///
    /// Cost: three lock pairs, four if the other channel [has a limit](ChannelOptions::max_streams). Allocates only when a
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
    /// [`ChannelFull`](MultiplexerError::ChannelFull) if it admits no more;
    /// [`Ended`](MultiplexerError::Ended) if the stream has ended and only [stays](ChannelOptions::half_close). The
    /// stream stays where it was.
    pub fn change_stream_channel(
        &self,
        stream: StreamId,
        channel: ChannelId,
    ) -> Result<(), MultiplexerError> {
        self.registry().change_channel(stream, channel)
    }

    /// Removes a pair and returns it. `None` if there is no stream with this id.
    ///
    /// Its channel reports [`Removed`](crate::StreamEvent::Removed), and keeps that until it is received: 32 bytes,
    /// unless it [does not report them](ChannelOptions::report_departures). Sends that wait for its sink fail;
    /// [`SendError`](crate::SendError) says whether the sink has the item.
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
    /// This is for decisions about a class. A login timeout, for example, removes a stream from the guests, unless its
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

    /// Closes the multiplexer and all its channels. It admits no more channels and streams, and moves no stream to
    /// another channel. The streams that are there go on and can be sent to. A receiver ends when its channel is empty. See
    /// also [`drained`](Self::drained), and [`shutdown`](Self::shutdown) to end the streams that are left.
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

    /// Gives back memory that a burst of streams, departures, unflushed sinks or waiting tasks has needed.
    ///
    /// What stays is in proportion to the streams that are there, except for 24 bytes for each place of an id, up to the
    /// last one in use; later streams use these places again.
    ///
    /// Cost: a walk through all streams. Other threads wait for the walk through at most one channel, some 80 ns for each of
    /// its streams. Every stream is polled once more, because its place in its channel is a new one. A channel in which a
    /// stream is being polled at this moment, or waits behind departures after a move, gives back only what is behind its
    /// last stream.
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

    fn registry(&self) -> &Arc<Registry<St, Si>> {
        &self.handle.registry
    }
}

/// Streams without sinks.
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

fn hand_back<St: Unpin, Si>(mut pair: RemovedPair<St, Si>) -> StreamPair<St, Si> {
    pair.reclaim_sink();
    pair.hand_back()
}

impl<St, Si> Clone for Multiplexer<St, Si> {
    fn clone(&self) -> Self {
        Self { handle: Arc::clone(&self.handle) }
    }
}

impl<St, Si> Default for Multiplexer<St, Si> {
    fn default() -> Self {
        Self::new()
    }
}

impl<St, Si> fmt::Debug for Multiplexer<St, Si> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (channels, pairs) = self.registry().len();
        f.debug_struct("Multiplexer")
            .field("channels", &channels)
            .field("pairs", &pairs)
            .finish_non_exhaustive()
    }
}
