//! [`Multiplexer`]: the handle to it all.

use crate::channel::receiver::ChannelReceiver;
use crate::channel::recv::{Recv, try_recv};
use crate::error::{AddStreamError, MultiplexerError, TryRecvError};
use crate::event::StreamPair;
use crate::id::{ChannelId, StreamId};
use crate::options::ChannelOptions;
use crate::registry::Registry;
use crate::sink::close::CloseStream;
use crate::sink::many::SendMany;
use crate::sink::one::SendOne;
use crate::sink::sender::StreamSender;
use crate::sink::slot::SinkSlot;
use futures_core::Stream;
use futures_sink::Sink;
use std::borrow::Borrow;
use std::fmt;
use std::sync::Arc;

/// Stream pairs in channels: received from channel by channel, sent to one by one or many at a time.
///
/// It is a handle: clones are cheap and name the same multiplexer, every method takes `&self`, and it may
/// be used from any thread if the streams and sinks are `Send`. When the last clone is dropped the
/// multiplexer is [closed](Self::close).
///
/// `St` are the streams and `Si` the sinks; for streams without sinks leave `Si` out and use
/// [`add_stream`](Multiplexer::add_stream). They are `Unpin`, for they are handed back; one that is not
/// comes as `Pin<Box<_>>`. Streams of several types come as `Box<dyn Stream<Item = ...> + Unpin>`.
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
        self.registry().add_channel(channel, options.half_close)
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

    /// How many streams are in a channel.
    #[must_use]
    pub fn channel_len(&self, channel: ChannelId) -> Option<usize> {
        self.registry().channel(channel).ok().map(|channel| channel.len())
    }

    /// The streams that are in a channel, the oldest first; to send to all of them, for example. `None` if
    /// there is no channel of this name.
    #[must_use]
    pub fn channel_streams(&self, channel: ChannelId) -> Option<Vec<StreamId>> {
        self.registry().channel_streams(channel)
    }

    /// Removes a channel and hands back the pairs that were in it, the oldest first. `None` if there is
    /// none of this name.
    ///
    /// Its receivers end at once: events that they did not receive by now are not told any more.
    pub fn remove_channel(&self, channel: ChannelId) -> Option<Vec<StreamPair<St, Si>>> {
        self.registry().remove_channel(channel)
    }

    /// Adds a pair to a channel. It can be received from and sent to when this returns.
    ///
    /// Cost: two lock pairs; one allocation for the stream and two for the sink.
    ///
    /// # Errors
    ///
    /// [`UnknownChannel`](MultiplexerError::UnknownChannel); [`Closed`](MultiplexerError::Closed) after
    /// [`close`](Self::close). The error holds the pair.
    pub fn add_stream_pair(
        &self,
        sink: Si,
        stream: St,
        channel: ChannelId,
    ) -> Result<StreamId, AddStreamError<St, Si>>
    where
        St: Stream + Unpin,
    {
        self.registry().add(stream, sink, |sink| Some(Arc::new(SinkSlot::new(sink))), channel)
    }

    /// Moves a stream to another channel.
    ///
    /// It is done when this returns, whether anybody receives from the channels or not. The old one tells
    /// [`Moved`](crate::StreamEvent::Moved), after the items that were received there; the next item comes
    /// in the new one. If the stream is being polled at this moment, that poll's item still belongs to the
    /// old channel. A move to the channel it is in does nothing.
    ///
    /// A channel keeps what it has to tell until it is received, a word or two for each departure. So a
    /// channel that many streams pass through wants to be received from.
    ///
    /// Cost: three lock pairs. Allocates only when a channel has more streams, or more departures to tell,
    /// than ever before.
    ///
    /// # Errors
    ///
    /// [`UnknownStream`](MultiplexerError::UnknownStream), also if the stream ended and only its sink was kept;
    /// [`UnknownChannel`](MultiplexerError::UnknownChannel). The stream stays where it was.
    pub fn change_stream_channel(
        &self,
        stream: StreamId,
        channel: ChannelId,
    ) -> Result<(), MultiplexerError> {
        self.registry().change_channel(stream, channel)
    }

    /// Removes a pair and hands it back. `None` if it is not there (any more).
    ///
    /// Its channel tells [`Removed`](crate::StreamEvent::Removed). Sends that wait for its sink fail; see
    /// [`SendError`](crate::SendError) on what they did.
    pub fn remove_stream(&self, stream: StreamId) -> Option<StreamPair<St, Si>> {
        self.registry().remove(stream)
    }

    /// The channel a stream is in.
    #[must_use]
    pub fn channel_of(&self, stream: StreamId) -> Option<ChannelId> {
        self.registry().channel_of(stream)
    }

    /// Takes no more pairs and channels from now on. Those that are there go on, and may still be moved and
    /// sent to; a receiver ends when its channel is empty.
    pub fn close(&self) {
        self.registry().close();
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
impl<St> Multiplexer<St, ()> {
    /// Adds a stream without a sink to a channel. Otherwise as [`add_stream_pair`](Self::add_stream_pair).
    ///
    /// What is received from but is no [`Stream`] has an adapter, as a rule: for tokio's channels that is
    /// `tokio_stream::wrappers::ReceiverStream`.
    ///
    /// ```
    /// use futures::{executor::block_on, stream};
    /// use stream_multiplexer::Multiplexer;
    ///
    /// let multiplexer = Multiplexer::new();
    /// multiplexer.add_channel(1)?;
    /// let id = multiplexer.add_stream(stream::iter([5]), 1)?;
    /// assert_eq!(block_on(multiplexer.recv(1))?, (id, Some(5)));
    /// # Ok::<(), stream_multiplexer::MultiplexerError>(())
    /// ```
    ///
    /// # Errors
    ///
    /// [`UnknownChannel`](MultiplexerError::UnknownChannel); [`Closed`](MultiplexerError::Closed) after
    /// [`close`](Self::close). The error holds the stream.
    pub fn add_stream(&self, stream: St, channel: ChannelId) -> Result<StreamId, AddStreamError<St, ()>>
    where
        St: Stream + Unpin,
    {
        self.registry().add(stream, (), |()| None, channel)
    }
}

/// Receiving.
impl<St: Stream + Unpin, Si> Multiplexer<St, Si> {
    /// The next event of a channel: the stream, and an item or `None` when the stream left this channel.
    ///
    /// Resolves to `Result<(StreamId, Option<St::Item>), MultiplexerError>`. Whether a stream ended, was
    /// moved or was removed is told by a [`receiver`](Self::receiver), which also looks up the channel once
    /// and not for each event.
    ///
    /// # Errors
    ///
    /// [`UnknownChannel`](MultiplexerError::UnknownChannel) if there is none of this name, if it is removed, or
    /// if it is empty and the multiplexer was [closed](Self::close).
    ///
    /// # Panics
    ///
    /// When a stream's poll panics. Its pair is removed; everything else goes on.
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
    /// # let multiplexer = Multiplexer::new();
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
    /// [`UnknownChannel`](TryRecvError::UnknownChannel) as for [`recv`](Self::recv).
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
        let found = self.registry().channel(channel)?;
        Ok(ChannelReceiver::new(Arc::clone(self.registry()), found))
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
    /// may not have been flushed. Those have it that were ready when their turn came. Nothing tells which. To know,
    /// send to each by [`send_one`](Self::send_one).
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
    /// See [`SendError`](crate::SendError): it says whether the sink has the item.
    ///
    /// # Panics
    ///
    /// When the sink's poll panics. The pair is removed; everything else goes on. Also when it is polled
    /// again after it was ready.
    ///
    /// # Cancel safety
    ///
    /// Nothing is sent before the first poll. Dropped later, the sink has the item whole or not at all; if
    /// it has, it may not have been flushed. It has it unless it was not ready all the while.
    pub fn send_one<T>(&self, stream: StreamId, item: T) -> SendOne<'_, St, Si, T>
    where
        Si: Sink<T> + Unpin,
    {
        SendOne::new(self.registry(), stream, item)
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

    /// Flushes and closes the sink of a stream (`poll_close`), and then removes the pair.
    ///
    /// Resolves to `Result<(), SendError<Si::Error>>`.
    ///
    /// From its first poll on nothing more is sent to the stream: sends that still wait for its sink fail
    /// with [`Closed`](crate::SendError::Closed). The stream is received from until the pair is removed.
    ///
    /// # Errors
    ///
    /// [`UnknownStream`](crate::SendError::UnknownStream) if it is not there;
    /// [`Sink`](crate::SendError::Sink) if its sink failed, and the pair is removed all the same.
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
