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

/// Stream pairs in channels: received from channel by channel, sent to one by one or many at a time.
///
/// It is a handle: clones are cheap and name the same multiplexer, every method takes `&self`, and it may
/// be used from any thread if the streams and sinks are `Send`. When the last clone is dropped the
/// multiplexer is [closed](Self::close).
///
/// `St` are the streams and `Si` the sinks. A stream may be of any type, `Unpin` or not; only to have it handed back it
/// must be `Unpin` (or boxed, as `Pin<Box<_>>`). A sink is `Unpin`, or boxed. Streams of several types come as
/// `Pin<Box<dyn Stream<Item = ...> + Send>>`. Streams without sinks are added by
/// [`add_stream`](Multiplexer::add_stream); where all are such, make it by
/// [`without_sinks`](Multiplexer::without_sinks).
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
    /// Makes a multiplexer without channels.
    #[must_use]
    pub fn new() -> Self {
        Self { handle: Arc::new(Handle { registry: Arc::new(Registry::new()) }) }
    }

    /// Adds a channel.
    ///
    /// # Errors
    ///
    /// [`DuplicateChannel`](MultiplexerError::DuplicateChannel) if there is one of this name;
    /// [`Closed`](MultiplexerError::Closed) after [`close`](Self::close).
    pub fn add_channel(&self, channel: ChannelId) -> Result<(), MultiplexerError> {
        self.add_channel_with(channel, ChannelOptions::new())
    }

    /// Adds a channel that behaves as `options` say.
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

    /// Whether there is a channel of this name.
    #[must_use]
    pub fn has_channel(&self, channel: ChannelId) -> bool {
        self.registry().channel(channel).is_ok()
    }

    /// The names of all channels, in ascending order.
    #[must_use]
    pub fn channels(&self) -> Vec<ChannelId> {
        self.registry().channel_ids()
    }

    /// How many streams are in a channel, with those that have [ended and stay](ChannelOptions::half_close).
    #[must_use]
    pub fn channel_len(&self, channel: ChannelId) -> Option<usize> {
        self.registry().channel(channel).ok().map(|channel| channel.len())
    }

    /// The streams that are in a channel, the oldest first, with those that have
    /// [ended and stay](ChannelOptions::half_close); to send to all of them, for example. `None` if there is no
    /// channel with this id.
    ///
    /// A stream that comes or leaves during the call may be in the list or not.
    ///
    /// Cost: two lock pairs for 64 streams, and sorting them; it does not matter how many were there before.
    #[must_use]
    pub fn channel_streams(&self, channel: ChannelId) -> Option<Vec<StreamId>> {
        self.registry().channel_streams(channel, Listing::All)
    }

    /// Removes a channel and hands back the pairs that were in it, the oldest first. `None` if there is no channel
    /// with this id.
    ///
    /// Its receivers end at once: events that they did not receive by now are not reported any more. A stream that
    /// another thread moves out of the channel during the call may be moved or handed back.
    ///
    /// Cost: two lock pairs for 64 pairs. Others wait for one such batch at the longest.
    ///
    /// # Panics
    ///
    /// When a task's waker panics. The channel is removed all the same, and its pairs are dropped.
    pub fn remove_channel(&self, channel: ChannelId) -> Option<Vec<StreamPair<St, Si>>>
    where
        St: Unpin,
    {
        let mut pairs = self.registry().remove_channel(channel)?;
        for_each(&mut pairs, RemovedPair::reclaim_sink);
        Some(pairs.into_iter().map(RemovedPair::hand_back).collect())
    }

    /// Removes a channel and drops the pairs that were in it: [`remove_channel`](Self::remove_channel), also for
    /// streams that are not `Unpin`. Returns whether there was a channel with this id.
    ///
    /// # Panics
    ///
    /// When a task's waker or the drop of a stream or sink panics; all the others are dropped all the same.
    pub fn discard_channel(&self, channel: ChannelId) -> bool {
        self.registry().remove_channel(channel).is_some()
    }

    /// Closes a channel: it admits no more streams, neither new nor moved ones. Those that are in it go on. Its
    /// receivers end when it is empty; see also [`drained`](Self::drained).
    ///
    /// # Errors
    ///
    /// [`UnknownChannel`](MultiplexerError::UnknownChannel). Closing a closed channel is no error.
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
    #[must_use]
    pub fn is_channel_closed(&self, channel: ChannelId) -> Option<bool> {
        self.registry().is_channel_closed(channel)
    }

    /// Waits until a channel is closed and no stream is in it that could still bring something.
    ///
    /// Resolves to `Result<(), MultiplexerError>`. Streams end only while somebody receives from them, and those that are
    /// [paused](Self::pause_stream) not before they are resumed. Pairs that
    /// [stay](ChannelOptions::half_close) after the end of their stream are not waited for, nor are departures that
    /// nobody has received. The removal of the channel counts as its end.
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
    /// When polled again after completion.
    ///
    /// # Cancel safety
    ///
    /// It takes nothing, so nothing is lost when it is dropped.
    pub fn drained(&self, channel: ChannelId) -> Drained<'_, St, Si> {
        Drained::new(self.registry(), channel)
    }

    /// Adds a pair to a channel. It can be received from and sent to when this returns.
    ///
    /// Cost: two lock pairs, three if the channel [has a limit](ChannelOptions::max_streams); one allocation for the
    /// stream and two for the sink. What a pair leaves behind in a channel that nobody receives from is its departure,
    /// 32 bytes, unless the channel [does not report it](ChannelOptions::report_departures).
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
    /// What is received from but is no [`Stream`] has an adapter, as a rule: for tokio's channels that is
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
    /// It is done when this returns, whether anybody receives from the channels or not. The old one tells
    /// [`Moved`](crate::StreamEvent::Moved), after the items that were received there; the next item comes
    /// in the new one. If the stream is being polled at this moment, that poll's item still belongs to the
    /// old channel. A move to the channel it is in does nothing.
    ///
    /// A channel keeps a departure until it is received, 32 bytes each, unless it
    /// [does not report them](ChannelOptions::report_departures). So keep receiving from a channel that many streams
    /// pass through.
    ///
    /// Cost: three lock pairs, four if the other channel [has a limit](ChannelOptions::max_streams). Allocates only when a
    /// channel has more streams, or more unread departures, than ever before.
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

    /// Removes a pair and hands it back. `None` if it is not there (any more).
    ///
    /// Its channel reports [`Removed`](crate::StreamEvent::Removed), and keeps that until it is received: 32 bytes,
    /// unless it [does not report them](ChannelOptions::report_departures). Sends that wait for its sink fail; see
    /// [`SendError`](crate::SendError) on what they did.
    ///
    /// # Panics
    ///
    /// When a task's waker panics. The pair is removed all the same, and dropped.
    pub fn remove_stream(&self, stream: StreamId) -> Option<StreamPair<St, Si>>
    where
        St: Unpin,
    {
        self.registry().remove(stream).map(hand_back)
    }

    /// Removes a pair if it is in `channel`, and hands it back. `None` if it is not there (any more).
    ///
    /// For decisions about a class: whoever failed to log in is removed from the guests, unless its login has just
    /// moved it away. Otherwise as [`remove_stream`](Self::remove_stream).
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

    /// Removes a pair and drops it: [`remove_stream`](Self::remove_stream), also for streams that are not `Unpin`.
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
    /// When a task's waker or the drop of the stream or sink panics. The rest is done all the same.
    pub fn discard_stream(&self, stream: StreamId) -> bool {
        self.registry().remove(stream).is_some()
    }

    /// Removes a pair if it is in `channel`, and drops it:
    /// [`remove_stream_from`](Self::remove_stream_from), also for streams that are not `Unpin`. Returns whether it was
    /// there.
    pub fn discard_stream_from(&self, stream: StreamId, channel: ChannelId) -> bool {
        self.registry().remove_from(stream, channel).is_some()
    }

    /// Runs `f` with a stream, where it is. The stream is taken out as for a poll: no lock is held, and `f` may call
    /// the multiplexer. It has a turn afterwards, so it may have been changed in any way.
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
    /// polled at this moment; [`Ended`](MultiplexerError::Ended). `f` does not run then.
    ///
    /// # Panics
    ///
    /// When `f` panics. The pair is removed, as by a panic of the stream's poll.
    pub fn with_stream<R>(
        &self,
        stream: StreamId,
        f: impl FnOnce(Pin<&mut St>) -> R,
    ) -> Result<R, MultiplexerError> {
        self.registry().with_stream(stream, f)
    }

    /// Runs `f` with the sink of a stream, where it is. The sink is taken out as for a poll: no lock is held, and `f` may
    /// call the multiplexer. Senders that wait for the sink look again afterwards.
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
    /// [`Busy`](MultiplexerError::Busy) if the sink is being polled at this moment. `f` does not run then.
    ///
    /// # Panics
    ///
    /// When `f` panics. The pair is removed, as by a panic of the sink's poll.
    pub fn with_sink<R>(
        &self,
        stream: StreamId,
        f: impl FnOnce(&mut Si) -> R,
    ) -> Result<R, MultiplexerError> {
        self.registry().with_sink(stream, f)
    }

    /// The channel a stream is in.
    #[must_use]
    pub fn channel_of(&self, stream: StreamId) -> Option<ChannelId> {
        self.registry().channel_of(stream)
    }

    /// Closes the multiplexer and all its channels: no more channels and streams are admitted, and no stream is
    /// moved to another channel. Those that are there go on and may be sent to. A receiver ends when its channel is
    /// empty; see also [`drained`](Self::drained), and [`shutdown`](Self::shutdown) to end those that are left.
    pub fn close(&self) {
        self.registry().close();
    }

    /// Gives back memory that was needed for more streams, departures and waiting tasks than there are now.
    ///
    /// What is left is in proportion to the streams that are there, but for 24 bytes for each id: up to the youngest
    /// stream's place, which later streams use again.
    ///
    /// Cost: a walk through all streams; others wait for that of one channel at the longest (some 80 ns for each of its
    /// streams). Every stream is polled once more, for its place in its channel is another one. A channel in which a
    /// stream is being polled at this moment, or was moved in and waits behind departures, gives back only what is behind
    /// its last stream.
    pub fn shrink_to_fit(&self) {
        self.registry().shrink_to_fit();
    }

    /// Whether [`close`](Self::close) was called.
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
    /// Makes a multiplexer without channels, for streams without sinks: `new()`, where nothing else would say what
    /// `Si` is.
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
