//! [`Multiplexer`]: the handle to it all.

#[cfg(all(feature = "blocking", not(target_family = "wasm")))]
mod blocking;

use crate::channel::drained::Drained;
use crate::channel::receiver::ChannelReceiver;
use crate::channel::recv::{Recv, try_recv};
use crate::error::{AddStreamError, MultiplexerError, TryRecvError, TrySendError};
use crate::event::StreamPair;
use crate::id::{ChannelId, StreamId};
use crate::options::ChannelOptions;
use crate::registry::{Listing, Registry, RemovedPair};
use crate::sink::close::{CloseSink, CloseStream};
use crate::sink::flusher::Flusher;
use crate::sink::many::SendMany;
use crate::sink::one::SendOne;
use crate::sink::sender::StreamSender;
use crate::sink::slot::SinkSlot;
use crate::sink::try_send::{self, Flush};
use crate::unwind::for_each;
use futures_core::Stream;
use futures_sink::Sink;
use std::borrow::Borrow;
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
    /// Resolves to `Result<(), MultiplexerError>`. Streams end only while somebody receives from them. Pairs that
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
    /// Cost: two lock pairs; one allocation for the stream and two for the sink. What a pair leaves behind in a
    /// channel that nobody receives from is its departure, 32 bytes, unless the channel
    /// [does not report it](ChannelOptions::report_departures).
    ///
    /// # Errors
    ///
    /// [`UnknownChannel`](MultiplexerError::UnknownChannel); [`Closed`](MultiplexerError::Closed) after
    /// [`close`](Self::close) or [`close_channel`](Self::close_channel). The error holds the pair.
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
    /// Cost: three lock pairs. Allocates only when a channel has more streams, or more unread departures, than ever
    /// before.
    ///
    /// # Errors
    ///
    /// [`UnknownStream`](MultiplexerError::UnknownStream); [`UnknownChannel`](MultiplexerError::UnknownChannel);
    /// [`Closed`](MultiplexerError::Closed) if the other channel is closed;
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
    /// empty; see also [`drained`](Self::drained).
    pub fn close(&self) {
        self.registry().close();
    }

    /// Gives back memory that was needed for more streams, departures and waiting tasks than there are now.
    ///
    /// What is left is in proportion to the streams that are there, but for 24 bytes for each id: up to the youngest
    /// stream's place, which later streams use again.
    ///
    /// Cost: a walk through all streams; others wait for that of one channel at the longest (some 50 ns for each of its
    /// streams). Every stream is polled once more, for its place in its channel is another one. A channel in which a
    /// stream is being polled at this moment gives back only what is behind its last stream.
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

/// Receiving.
impl<St: Stream, Si> Multiplexer<St, Si> {
    /// The next event of a channel: the stream, and an item or `None` when the stream left this channel.
    ///
    /// Resolves to `Result<(StreamId, Option<St::Item>), MultiplexerError>`. Whether a stream ended, was
    /// moved or was removed is told by a [`receiver`](Self::receiver), which also looks up the channel once
    /// and not for each event.
    ///
    /// # Errors
    ///
    /// [`UnknownChannel`](MultiplexerError::UnknownChannel) if there is no channel with this id, or it was removed;
    /// [`Closed`](MultiplexerError::Closed) if it is empty and was [closed](Self::close).
    ///
    /// # Panics
    ///
    /// When a stream's poll panics. Its pair is removed; everything else goes on. Also when polled again after
    /// completion.
    ///
    /// # Cancel safety
    ///
    /// Dropped before it is ready, it has taken nothing, so nothing is lost.
    ///
    /// # One channel first
    ///
    /// The branches of a biased `select!` are asked in their order, and it waits for all of them. While the
    /// first always has something, the second is not asked; a program that does not want that asks the
    /// second one now and then, as the example `line_server` does.
    ///
    /// ```
    /// # use futures::{FutureExt, executor::block_on, select_biased, stream};
    /// # use stream_multiplexer::Multiplexer;
    /// # let multiplexer = Multiplexer::without_sinks();
    /// # multiplexer.add_channel(1)?;
    /// # multiplexer.add_channel(2)?;
    /// # multiplexer.add_stream(stream::iter([1]), 1)?;
    /// # block_on(async {
    /// let (id, item) = select_biased! {
    ///     paying = multiplexer.recv(1).fuse() => paying?,
    ///     free = multiplexer.recv(2).fuse() => free?,
    /// };
    /// # assert_eq!(item, Some(1));
    /// # Ok::<(), stream_multiplexer::MultiplexerError>(())
    /// # })?;
    /// # Ok::<(), stream_multiplexer::MultiplexerError>(())
    /// ```
    pub fn recv(&self, channel: ChannelId) -> Recv<'_, St, Si> {
        Recv::new(self.registry(), channel)
    }

    /// The next event of a channel, if there is one at once.
    ///
    /// It does not wait: whoever finds nothing and goes to sleep elsewhere is not woken by this channel. To
    /// wait for several channels and favour one see [`recv`](Self::recv).
    ///
    /// # Errors
    ///
    /// [`Empty`](TryRecvError::Empty) if this call found nothing. There may be more: one call polls a bounded
    /// number of streams ([`ChannelReceiver`] says how many), and a stream may say that it has nothing when
    /// its task has run for long enough, as tokio's do; let the executor run (`yield_now`) and ask again.
    /// [`UnknownChannel`](TryRecvError::UnknownChannel) and [`Closed`](TryRecvError::Closed) as for
    /// [`recv`](Self::recv).
    ///
    /// # Panics
    ///
    /// When a stream's poll panics. Its pair is removed; everything else goes on.
    pub fn try_recv(&self, channel: ChannelId) -> Result<(StreamId, Option<St::Item>), TryRecvError> {
        try_recv(self.registry(), channel)
    }

    /// A receiver for a channel: a [`Stream`] of its events.
    ///
    /// # Errors
    ///
    /// [`UnknownChannel`](MultiplexerError::UnknownChannel).
    pub fn receiver(&self, channel: ChannelId) -> Result<ChannelReceiver<St, Si>, MultiplexerError> {
        ChannelReceiver::new(self.registry(), channel)
    }
}

/// Sending. `T` is what the sinks take; where they take several types, and the call does not tell which,
/// name it: `close_stream::<String>(id)`. (A sink from `StreamExt::split` takes one type, whatever the whole
/// took.)
impl<St, Si> Multiplexer<St, Si> {
    /// Sends clones of an item to many streams, and waits until each sink has it and is flushed, or failed.
    ///
    /// Resolves to [`Sent`](crate::Sent): a `Result<StreamId, SendError<Si::Error>>` for each, in the order of the
    /// ids. A slow or failed sink neither delays nor fails the others; an id that is unknown is told in its place. An
    /// id that is given twice gets the item twice. Nothing is buffered: a sink that is not ready makes this future
    /// wait, and if a peer may stop reading, the caller's timeout or [`remove_stream`](Self::remove_stream)
    /// decides how long.
    ///
    /// Two sends to one stream arrive in the order in which they are handed over; a caller that awaits each
    /// before the next keeps its order.
    ///
    /// One poll gives the item to at most 64 sinks. If there are more it wakes its task and lets others run, and so
    /// it does with those that waited and are ready together.
    ///
    /// Cost: per sink two lock pairs, two reference counts and a clone of the item beyond the sink's own
    /// polls, and one lock pair for 32 ids. Allocates the results, and for the sinks that are not
    /// ready a [`StreamSlab`](crate::StreamSlab), so that a wake polls only those it is for.
    ///
    /// ```
    /// # use futures::{StreamExt, channel::mpsc, executor::block_on, stream};
    /// # use stream_multiplexer::Multiplexer;
    /// # let multiplexer = Multiplexer::new();
    /// # multiplexer.add_channel(1)?;
    /// # let (sink, mut peer) = mpsc::unbounded();
    /// # multiplexer.add_stream_pair(sink, stream::pending::<()>(), 1)?;
    /// # block_on(async {
    /// // To all who are in the channel.
    /// let ids = multiplexer.channel_streams(1).unwrap_or_default();
    /// let sent = multiplexer.send(&ids, "to all of you").await;
    /// for failure in sent.failures() {
    ///     eprintln!("{failure}");
    /// }
    /// # assert_eq!(peer.next().await, Some("to all of you"));
    /// # });
    /// # Ok::<(), stream_multiplexer::MultiplexerError>(())
    /// ```
    ///
    /// # Panics
    ///
    /// When a sink's poll panics. Its pair is removed; everything else goes on. Also when it is polled again after
    /// it was ready.
    ///
    /// # Cancel safety
    ///
    /// Nothing is sent before the first poll. Dropped later, a sink has the item whole or not at all; if it has, it
    /// may not have been flushed. Those have it that were ready when their turn came. Before it is dropped
    /// [`SendMany::pending`] tells for whom it still waits, and [`SendMany::into_sent`] what came of each. What is left
    /// unflushed a [`flusher`](Self::flusher) passes on, or the next send.
    pub fn send<T: Clone>(
        &self,
        streams: impl IntoIterator<Item: Borrow<StreamId>>,
        item: T,
    ) -> SendMany<'_, St, Si, T>
    where
        Si: Sink<T> + Unpin,
    {
        SendMany::new(self.registry(), streams.into_iter().map(|id| *id.borrow()), item)
    }

    /// Sends clones of an item to all who are in a channel at the call and have a sink, as [`send`](Self::send) does.
    ///
    /// Cost: as [`channel_streams`](Self::channel_streams) and `send`. What does not wait, and allocates nothing, is
    /// [`try_send_to`](Self::try_send_to).
    ///
    /// ```
    /// # use futures::{StreamExt, channel::mpsc, executor::block_on, stream};
    /// # use stream_multiplexer::Multiplexer;
    /// # let multiplexer = Multiplexer::new();
    /// # multiplexer.add_channel(1)?;
    /// # let (sink, mut peer) = mpsc::unbounded();
    /// # multiplexer.add_stream_pair(sink, stream::pending::<()>(), 1)?;
    /// # block_on(async {
    /// let sent = multiplexer.send_to(1, "to all of you")?.await;
    /// assert_eq!((sent.len(), sent.is_ok()), (1, true));
    /// # assert_eq!(peer.next().await, Some("to all of you"));
    /// # Ok::<(), stream_multiplexer::MultiplexerError>(())
    /// # })?;
    /// # Ok::<(), stream_multiplexer::MultiplexerError>(())
    /// ```
    ///
    /// # Errors
    ///
    /// [`UnknownChannel`](MultiplexerError::UnknownChannel), at once. What comes of each stream is in
    /// [`Sent`](crate::Sent).
    ///
    /// # Panics
    ///
    /// As `send`.
    ///
    /// # Cancel safety
    ///
    /// As `send`.
    pub fn send_to<T: Clone>(
        &self,
        channel: ChannelId,
        item: T,
    ) -> Result<SendMany<'_, St, Si, T>, MultiplexerError>
    where
        Si: Sink<T> + Unpin,
    {
        let ids = self.registry().channel_streams(channel, Listing::WithSink);
        let ids = ids.ok_or(MultiplexerError::UnknownChannel(channel))?;
        Ok(SendMany::new(self.registry(), ids.into_iter(), item))
    }

    /// Sends an item to one stream, and waits until its sink has it and is flushed.
    ///
    /// Resolves to `Result<(), SendError<Si::Error>>`.
    ///
    /// Cost: three lock pairs beyond the sink's own polls, and two reference counts. Allocates nothing,
    /// unless more senders wait for the sink than ever before.
    ///
    /// All who wait for a sink are woken when that may be ready, the one who waits longest first: if it were woken
    /// alone, and its future kept aside and not polled any more, the others would never be woken. So n tasks that
    /// wait at one sink, which takes their items one by one, make n²/2 polls: 501,500 for 1,000 tasks (0.06 s), 32
    /// million for 8,000 (4 s). Where so many have something for one stream, let one task send to it what the others
    /// hand to that by a queue.
    ///
    /// ```
    /// # use futures::{StreamExt, channel::mpsc, executor::block_on, stream};
    /// # use stream_multiplexer::Multiplexer;
    /// # let multiplexer = Multiplexer::new();
    /// # multiplexer.add_channel(1)?;
    /// # let (sink, mut peer) = mpsc::unbounded();
    /// # let id = multiplexer.add_stream_pair(sink, stream::pending::<()>(), 1)?;
    /// # block_on(async {
    /// multiplexer.send_one(id, "only you").await.unwrap();
    /// # assert_eq!(peer.next().await, Some("only you"));
    /// # });
    /// # Ok::<(), stream_multiplexer::MultiplexerError>(())
    /// ```
    ///
    /// # Errors
    ///
    /// See [`SendError`](crate::SendError): it says whether the sink has the item. If not, [`SendOne::take_item`] gives
    /// it back.
    ///
    /// # Panics
    ///
    /// When the sink's poll panics. The pair is removed; everything else goes on. Also when it is polled
    /// again after it was ready.
    ///
    /// # Cancel safety
    ///
    /// Nothing is sent before the first poll. Dropped later, the sink has the item whole or not at all; if
    /// it has, it may not have been flushed. It has it unless it was not ready all the while: before it is dropped,
    /// [`SendOne::take_item`] tells, and gives the item back. What is left unflushed a [`flusher`](Self::flusher) passes
    /// on, or the next send.
    pub fn send_one<T>(&self, stream: StreamId, item: T) -> SendOne<'_, St, Si, T>
    where
        Si: Sink<T> + Unpin,
    {
        SendOne::new(self.registry(), stream, item)
    }

    /// Sends an item to one stream, if its sink takes it now. It does not wait.
    ///
    /// The sink is asked whether it is ready, is given the item, and is flushed by one poll. What that leaves unflushed
    /// lies in the sink's own buffer, and a [`flusher`](Self::flusher) passes it on when the peer takes it. So nothing
    /// is buffered here: how much may wait for one peer is set on the sink, by tokio-util's
    /// `Framed::set_backpressure_boundary` or `SinkExt::buffer`, and beyond that it is [`Full`](TrySendError::Full).
    ///
    /// What one caller sends to one stream, by this and in any other way, arrives in the order of its calls.
    ///
    /// Cost: three lock pairs beyond the sink's own polls, one more if something is left unflushed. Allocates nothing.
    ///
    /// ```
    /// use futures::{channel::mpsc, stream};
    /// use stream_multiplexer::Multiplexer;
    ///
    /// let multiplexer = Multiplexer::new();
    /// multiplexer.add_channel(1)?;
    /// let (sink, _peer) = mpsc::channel(1);
    /// let id = multiplexer.add_stream_pair(sink, stream::pending::<()>(), 1)?;
    ///
    /// // A position that is out of date when the peer can take it: drop it.
    /// let sent = (0..100).filter(|position| multiplexer.try_send(id, *position).is_ok()).count();
    /// assert_eq!(sent, 2);
    /// # Ok::<(), stream_multiplexer::MultiplexerError>(())
    /// ```
    ///
    /// # Errors
    ///
    /// See [`TrySendError`]: the item comes back unless the sink has it. `Busy` is rare unless several threads send to
    /// one stream. A tokio socket says that it is not ready also when the *task* has used up its cooperative budget, so
    /// let that yield between long runs of sends.
    ///
    /// # Panics
    ///
    /// When the sink's poll panics. The pair is removed; everything else goes on.
    #[inline]
    pub fn try_send<T>(&self, stream: StreamId, item: T) -> Result<(), TrySendError<T, Si::Error>>
    where
        Si: Sink<T> + Unpin,
    {
        try_send::to_one(self.registry(), stream, item, Flush::AtOnce)
    }

    /// [`try_send`](Self::try_send) without the flush, for batches. Send the last of a batch by `try_send`, or leave the
    /// flush to a [`flusher`](Self::flusher).
    ///
    /// ```
    /// # use futures::{channel::mpsc, stream};
    /// # use stream_multiplexer::Multiplexer;
    /// # let multiplexer = Multiplexer::new();
    /// # multiplexer.add_channel(1)?;
    /// # let (sink, _peer) = mpsc::unbounded();
    /// # let id = multiplexer.add_stream_pair(sink, stream::pending::<()>(), 1)?;
    /// multiplexer.try_feed(id, "HTTP/1.1 200 OK").unwrap();
    /// multiplexer.try_feed(id, "Content-Length: 0").unwrap();
    /// multiplexer.try_send(id, "").unwrap();
    /// # Ok::<(), stream_multiplexer::MultiplexerError>(())
    /// ```
    ///
    /// # Errors
    ///
    /// As [`try_send`](Self::try_send).
    ///
    /// # Panics
    ///
    /// When the sink's poll panics. The pair is removed; everything else goes on.
    #[inline]
    pub fn try_feed<T>(&self, stream: StreamId, item: T) -> Result<(), TrySendError<T, Si::Error>>
    where
        Si: Sink<T> + Unpin,
    {
        try_send::to_one(self.registry(), stream, item, Flush::Later)
    }

    /// Sends clones of an item to many streams, to each by [`try_send`](Self::try_send). Returns how many sinks have it;
    /// `refused` is told of the others, with no lock held.
    ///
    /// Cost: as `try_send`, but one lock pair looks up 32 ids, and a clone of the item for each. Allocates nothing.
    ///
    /// ```
    /// # use futures::{channel::mpsc, stream};
    /// # use stream_multiplexer::Multiplexer;
    /// # let multiplexer = Multiplexer::new();
    /// # multiplexer.add_channel(1)?;
    /// # let (sink, _peer) = mpsc::unbounded();
    /// # let id = multiplexer.add_stream_pair(sink, stream::pending::<()>(), 1)?;
    /// let sent = multiplexer.try_send_many([id], "hello", |id, error| eprintln!("{id}: {error}"));
    /// assert_eq!(sent, 1);
    /// # Ok::<(), stream_multiplexer::MultiplexerError>(())
    /// ```
    ///
    /// # Panics
    ///
    /// When a sink's poll, a clone of the item or `refused` panics. The other streams are tried all the same, and then
    /// the first of these panics goes on.
    pub fn try_send_many<T: Clone>(
        &self,
        streams: impl IntoIterator<Item: Borrow<StreamId>>,
        item: T,
        refused: impl FnMut(StreamId, TrySendError<T, Si::Error>),
    ) -> usize
    where
        Si: Sink<T> + Unpin,
    {
        try_send::to_many(self.registry(), streams.into_iter().map(|id| *id.borrow()), &item, refused)
    }

    /// Sends clones of an item to all who are in a channel and have a sink, to each by [`try_send`](Self::try_send).
    /// Returns how many sinks have it; `refused` is told of the others, with no lock held.
    ///
    /// Whoever is in the channel from the beginning of the call to its end is sent to once. Who comes or leaves
    /// meanwhile may be sent to or not, and who leaves and comes back even twice.
    ///
    /// Cost: as `try_send`, but two lock pairs look up 32 streams, and a clone of the item for each. Allocates nothing.
    ///
    /// ```
    /// # use futures::{channel::mpsc, stream};
    /// # use stream_multiplexer::Multiplexer;
    /// # let multiplexer = Multiplexer::new();
    /// # multiplexer.add_channel(1)?;
    /// # let (sink, _peer) = mpsc::channel(0);
    /// # let id = multiplexer.add_stream_pair(sink, stream::pending::<()>(), 1)?;
    /// # multiplexer.try_send(id, "you are slow").unwrap();
    /// // Whoever is too far behind is disconnected.
    /// multiplexer.try_send_to(1, "to all of you", |id, error| {
    ///     if error.is_full() {
    ///         multiplexer.remove_stream(id);
    ///     }
    /// })?;
    /// # assert_eq!(multiplexer.channel_len(1), Some(0));
    /// # Ok::<(), stream_multiplexer::MultiplexerError>(())
    /// ```
    ///
    /// # Errors
    ///
    /// [`UnknownChannel`](MultiplexerError::UnknownChannel).
    ///
    /// # Panics
    ///
    /// As [`try_send_many`](Self::try_send_many).
    pub fn try_send_to<T: Clone>(
        &self,
        channel: ChannelId,
        item: T,
        refused: impl FnMut(StreamId, TrySendError<T, Si::Error>),
    ) -> Result<usize, MultiplexerError>
    where
        Si: Sink<T> + Unpin,
    {
        try_send::to_channel(self.registry(), channel, &item, refused)
    }

    /// A [`Flusher`] of all sinks: passes on what [`try_send`](Self::try_send) and others left unflushed.
    ///
    /// Make it once, and spawn it or poll it beside the receivers.
    ///
    /// Cost: the first one looks at every sink, at one lock pair each.
    pub fn flusher<T>(&self) -> Flusher<St, Si, T>
    where
        Si: Sink<T> + Unpin,
    {
        Flusher::new(self.registry())
    }

    /// A [`Sink`] for one stream.
    ///
    /// # Errors
    ///
    /// [`UnknownStream`](MultiplexerError::UnknownStream) if that is not there (any more), or has no sink.
    pub fn sender<T>(&self, stream: StreamId) -> Result<StreamSender<St, Si, T>, MultiplexerError>
    where
        Si: Sink<T> + Unpin,
    {
        StreamSender::new(self.registry(), stream)
    }

    /// Flushes and closes the sink of a stream (`poll_close`), and leaves the stream where it is: it is received from
    /// until it ends. So a peer's last words arrive, and it has the time to answer our closing.
    ///
    /// Resolves to `Result<(), SendError<Si::Error>>`. From its first poll on nothing more is sent to the stream: sends
    /// that still wait for its sink fail with [`Closed`](crate::SendError::Closed). When it is closed the sink is dropped.
    /// The pair leaves its channel when its stream ends, also where pairs [stay](ChannelOptions::half_close) after that.
    ///
    /// ```
    /// use futures::{channel::mpsc, executor::block_on, stream};
    /// use stream_multiplexer::Multiplexer;
    ///
    /// let multiplexer = Multiplexer::new();
    /// multiplexer.add_channel(1)?;
    /// let (sink, _peer) = mpsc::unbounded::<u8>();
    /// let id = multiplexer.add_stream_pair(sink, stream::iter(["last words"]), 1)?;
    /// block_on(async {
    ///     multiplexer.close_sink(id).await.unwrap();
    ///     assert_eq!(multiplexer.recv(1).await?, (id, Some("last words")));
    ///     assert_eq!(multiplexer.recv(1).await?, (id, None));
    ///     Ok::<(), stream_multiplexer::MultiplexerError>(())
    /// })?;
    /// # Ok::<(), stream_multiplexer::MultiplexerError>(())
    /// ```
    ///
    /// # Errors
    ///
    /// [`UnknownStream`](crate::SendError::UnknownStream) if it is not there;
    /// [`Sink`](crate::SendError::Sink) if its sink failed, and [`Closed`](crate::SendError::Closed) if it had failed
    /// before. The pair stays then.
    ///
    /// # Panics
    ///
    /// When the sink's poll panics. The pair is removed; everything else goes on. Also when it is polled
    /// again after it was ready.
    ///
    /// # Cancel safety
    ///
    /// Nothing happens before the first poll. Dropped later, the sink may be partly closed: nothing can be
    /// sent to it any more. Call it again to go on.
    pub fn close_sink<T>(&self, stream: StreamId) -> CloseSink<'_, St, Si, T>
    where
        Si: Sink<T> + Unpin,
    {
        CloseSink::new(self.registry(), stream)
    }

    /// Flushes and closes the sink of a stream (`poll_close`), and then removes the pair: what its peer has said and was
    /// not received by then is lost, and a TCP connection with such unread input is reset. To hear the peer out, or to
    /// await its answer to the closing, [`close_sink`](Self::close_sink) and receive until the stream ends.
    ///
    /// Resolves to `Result<(), SendError<Si::Error>>`.
    ///
    /// From its first poll on nothing more is sent to the stream: sends that still wait for its sink fail
    /// with [`Closed`](crate::SendError::Closed). The stream is received from until the pair is removed.
    ///
    /// # Errors
    ///
    /// [`UnknownStream`](crate::SendError::UnknownStream) if it is not there;
    /// [`Sink`](crate::SendError::Sink) if its sink failed, and [`Closed`](crate::SendError::Closed) if it had failed
    /// before; the pair is removed all the same.
    ///
    /// # Panics
    ///
    /// When the sink's poll panics. The pair is removed; everything else goes on. Also when it is polled
    /// again after it was ready.
    ///
    /// # Cancel safety
    ///
    /// Nothing happens before the first poll. Dropped later, the sink may be partly closed: nothing can be
    /// sent to it any more, and the pair stays until `close_stream` is called again or it is removed.
    pub fn close_stream<T>(&self, stream: StreamId) -> CloseStream<'_, St, Si, T>
    where
        Si: Sink<T> + Unpin,
    {
        CloseStream::new(self.registry(), stream)
    }
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
