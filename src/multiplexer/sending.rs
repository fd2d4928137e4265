//! Sending, by the handle.

use super::Multiplexer;
use crate::error::{MultiplexerError, TrySendError};
use crate::id::{ChannelId, StreamId};
use crate::registry::Listing;
use crate::sink::close::{CloseSink, CloseStream};
use crate::sink::flusher::Flusher;
use crate::sink::many::SendMany;
use crate::sink::one::SendOne;
use crate::sink::sender::StreamSender;
use crate::sink::shutdown::Shutdown;
use crate::sink::try_send::{self, Flush};
use futures_sink::Sink;
use std::borrow::Borrow;

/// Sending. `T` is the type of item that the sinks take. If they take several, and the call does not determine which, name
/// it: `close_stream::<String>(id)`.
impl<St, Si> Multiplexer<St, Si> {
    /// Sends clones of an item to many streams, and waits until each sink has it and is flushed, or has failed.
    ///
    /// Resolves to [`Sent`](crate::Sent): a `Result<StreamId, SendError<Si::Error>>` for each stream, in the order of the
    /// ids. A slow or failed sink neither delays nor fails the others. An unknown id yields an error in its place; an id
    /// that is given twice gets the item twice. Nothing is buffered: the future waits for sinks that are not ready. If a
    /// peer may stop reading, add a timeout, or call [`remove_stream`](Self::remove_stream).
    ///
    /// Two sends to one stream arrive in the order in which they pass their items to the sink. A caller that awaits each
    /// send before the next keeps its order.
    ///
    /// One poll passes the item to at most 64 sinks. If there are more, it wakes its task and lets others run.
    ///
    /// Cost: per sink two lock pairs, two reference counts and a clone of the item beyond the sink's own polls, and one lock
    /// pair for 32 ids. Allocates the results, and a [`StreamSlab`](crate::StreamSlab) of the sinks that are not ready, so
    /// that a wake polls only the sink that woke.
    ///
    /// ```
    /// # use futures::{StreamExt, channel::mpsc, executor::block_on, stream};
    /// # use stream_multiplexer::Multiplexer;
    /// # let multiplexer = Multiplexer::new();
    /// # multiplexer.add_channel(1)?;
    /// # let (sink, mut peer) = mpsc::unbounded();
    /// # multiplexer.add_stream_pair(sink, stream::pending::<()>(), 1)?;
    /// # block_on(async {
    /// // To all streams of the channel.
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
    /// If a sink's poll panics. Its pair is removed; everything else goes on. Also if it is polled again after it has
    /// completed.
    ///
    /// # Cancel safety
    ///
    /// Nothing is sent before the first poll. If the future is dropped later, each sink has the whole item or nothing, and
    /// may not have been flushed. The sinks that became ready before the drop have it. Before you drop it,
    /// [`SendMany::pending`] lists the streams that it still waits for, and [`SendMany::into_sent`] returns all results.
    /// A sink that is left unflushed is flushed by a [`flusher`](Self::flusher) or a [`select`](Self::select), or by
    /// the next send.
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

    /// Sends clones of an item to all streams that are in a channel now and have a sink, as [`send`](Self::send) does.
    ///
    /// Cost: as [`channel_streams`](Self::channel_streams) and `send`. [`try_send_to`](Self::try_send_to) does not wait, and
    /// allocates nothing.
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
    /// [`UnknownChannel`](MultiplexerError::UnknownChannel), immediately. The results for the streams are in
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
    /// Cost: three lock pairs beyond the sink's own polls, and two reference counts. Allocates only when more senders wait
    /// for the sink than ever before.
    ///
    /// When a sink may be ready, all tasks that wait for it are woken, the one that has waited longest first. (If only that
    /// one were woken, and its future kept aside without being polled, the others would never be woken.) So n tasks that
    /// wait for one sink, which takes their items one by one, make n²/2 polls: 501,500 for 1,000 tasks (0.06 s), 32
    /// million for 8,000 (4 s). If so many tasks send to one stream, let one task send, and pass the items to that by a
    /// queue.
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
    /// See [`SendError`](crate::SendError): it says whether the sink has the item. If not, [`SendOne::take_item`] returns
    /// it.
    ///
    /// # Panics
    ///
    /// If the sink's poll panics. The pair is removed; everything else goes on. Also if it is polled again after it has
    /// completed.
    ///
    /// # Cancel safety
    ///
    /// Nothing is sent before the first poll. If the future is dropped later, the sink has the whole item or nothing, and
    /// may not have been flushed. The sink received the item if it became ready before the future was dropped. Before you
    /// drop it, [`SendOne::take_item`] returns the item if the sink does not have it. A sink that is left unflushed is
    /// flushed by a [`flusher`](Self::flusher) or a [`select`](Self::select), or by the next send.
    pub fn send_one<T>(&self, stream: StreamId, item: T) -> SendOne<'_, St, Si, T>
    where
        Si: Sink<T> + Unpin,
    {
        SendOne::new(self.registry(), stream, item)
    }

    /// Sends an item to one stream, if its sink takes it now. It does not wait.
    ///
    /// If the sink is ready, it receives the item and is flushed, as far as that is possible without waiting. An item that stays
    /// unflushed lies in the sink's own buffer. A [`select`](Self::select) or a [`flusher`](Self::flusher) flushes it when the
    /// peer takes it. The crate buffers
    /// nothing. How much may wait for one peer is set on the sink, by tokio-util's `Framed::set_backpressure_boundary` or
    /// `SinkExt::buffer`; beyond that this returns [`Full`](TrySendError::Full).
    ///
    /// Items that one caller sends to one stream, by this or any other method, arrive in the order of the calls.
    ///
    /// Cost: three lock pairs and two reference counts beyond the sink's own polls; two more lock pairs if a flusher has to
    /// wait for the sink from now on. Allocates only when the flusher waits for more sinks than ever before.
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
    /// See [`TrySendError`]. It holds the item, unless the sink has it. `Busy` is rare unless several threads send to one
    /// stream. A tokio socket is also not ready when its *task* has used up the cooperative budget;
    /// [run the loop without it](crate::guide::slow_peers#on-tokio), or yield to the executor between long runs of sends.
    ///
    /// # Panics
    ///
    /// If the sink's poll panics. The pair is removed; everything else goes on.
    #[inline]
    pub fn try_send<T>(&self, stream: StreamId, item: T) -> Result<(), TrySendError<T, Si::Error>>
    where
        Si: Sink<T> + Unpin,
    {
        try_send::to_one(self.registry(), stream, item, Flush::Now)
    }

    /// Passes an item to the sink of one stream, if that takes it now, and does not flush it: [`try_send`](Self::try_send)
    /// without the flush, for batches.
    ///
    /// The item lies in the sink's own buffer until the sink is flushed: by the next `try_send` or `send` to this stream, by a
    /// [`select`](Self::select) or a [`flusher`](Self::flusher) that is polled, or by a close. Otherwise it stays there, and
    /// the peer may never receive it. If the pair is removed, it is dropped with its sink.
    ///
    /// End a batch by `try_send`. That costs less than a flush by a select or a flusher. Eight lines to each of 100 sockets
    /// took 15 µs per socket with eight flushes, and 2.3 µs with one.
    ///
    /// Cost: as `try_send`, without the flush. If a select or a flusher is there, the first item that is left unflushed costs
    /// two more lock pairs, and wakes it.
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
    /// If the sink's poll panics. The pair is removed; everything else goes on.
    #[inline]
    pub fn try_feed<T>(&self, stream: StreamId, item: T) -> Result<(), TrySendError<T, Si::Error>>
    where
        Si: Sink<T> + Unpin,
    {
        try_send::to_one(self.registry(), stream, item, Flush::Later)
    }

    /// Sends clones of an item to many streams, to each by [`try_send`](Self::try_send). Returns how many sinks have it, and
    /// calls `refused` for each of the others, with no lock held.
    ///
    /// Cost: per sink two lock pairs, two reference counts and a clone of the item beyond the sink's own polls, and one
    /// lock pair for 32 ids. Allocates as `try_send`.
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
    /// If a sink's poll, a clone of the item or `refused` panics. The other streams are tried all the same; then the first
    /// of these panics goes on.
    pub fn try_send_many<T: Clone>(
        &self,
        streams: impl IntoIterator<Item: Borrow<StreamId>>,
        item: T,
        refused: impl FnMut(StreamId, TrySendError<T, Si::Error>),
    ) -> usize
    where
        Si: Sink<T> + Unpin,
    {
        let ids = streams.into_iter().map(|id| *id.borrow());
        try_send::to_many(self.registry(), ids, &item, Flush::Now, refused)
    }

    /// Sends clones of an item to all streams that are in a channel and have a sink, to each by
    /// [`try_send`](Self::try_send). Returns how many sinks have it, and calls `refused` for each of the others, with no
    /// lock held.
    ///
    /// A stream that is in the channel from the beginning of the call to its end gets the item once. A stream that is moved in
    /// or leaves meanwhile may or may not get it, and one that leaves and comes back may get it twice. A stream that is added
    /// meanwhile, by `refused` for example, does not get it.
    ///
    /// On tokio, run the loop that sends to many streams [without the cooperative
    /// budget](crate::guide::slow_peers#on-tokio), or healthy peers look full.
    ///
    /// Cost: per sink two lock pairs, two reference counts and a clone of the item beyond the sink's own polls, and two
    /// lock pairs for 32 streams. Allocates as `try_send`.
    ///
    /// ```
    /// # use futures::{channel::mpsc, stream};
    /// # use stream_multiplexer::Multiplexer;
    /// # let multiplexer = Multiplexer::new();
    /// # multiplexer.add_channel(1)?;
    /// # let (sink, _peer) = mpsc::channel(0);
    /// # let id = multiplexer.add_stream_pair(sink, stream::pending::<()>(), 1)?;
    /// # multiplexer.try_send(id, "you are slow").unwrap();
    /// // A peer that is too far behind is disconnected.
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
        try_send::to_channel(self.registry(), channel, &item, Flush::Now, refused)
    }

    /// Feeds clones of an item to many streams, to each by [`try_feed`](Self::try_feed): it does not flush. Returns how
    /// many sinks have it, and calls `refused` for each of the others, with no lock held.
    ///
    /// Broadcast the last item of a batch by [`try_send_many`](Self::try_send_many), which flushes all of them.
    ///
    /// Cost: as `try_send_many`, without the flush.
    ///
    /// ```
    /// # use futures::{channel::mpsc, stream};
    /// # use stream_multiplexer::Multiplexer;
    /// # let multiplexer = Multiplexer::new();
    /// # multiplexer.add_channel(1)?;
    /// # let (sink, _peer) = mpsc::unbounded();
    /// # let id = multiplexer.add_stream_pair(sink, stream::pending::<()>(), 1)?;
    /// let players = [id];
    /// multiplexer.try_feed_many(players, "ann: 12 points", |id, error| eprintln!("{id}: {error}"));
    /// multiplexer.try_send_many(players, "bob: 9 points", |id, error| eprintln!("{id}: {error}"));
    /// # Ok::<(), stream_multiplexer::MultiplexerError>(())
    /// ```
    ///
    /// # Panics
    ///
    /// As [`try_send_many`](Self::try_send_many).
    pub fn try_feed_many<T: Clone>(
        &self,
        streams: impl IntoIterator<Item: Borrow<StreamId>>,
        item: T,
        refused: impl FnMut(StreamId, TrySendError<T, Si::Error>),
    ) -> usize
    where
        Si: Sink<T> + Unpin,
    {
        let ids = streams.into_iter().map(|id| *id.borrow());
        try_send::to_many(self.registry(), ids, &item, Flush::Later, refused)
    }

    /// Feeds clones of an item to all streams that are in a channel and have a sink, to each by
    /// [`try_feed`](Self::try_feed): it does not flush. Returns how many sinks have it, and calls `refused` for each of the
    /// others, with no lock held.
    ///
    /// Broadcast the last item of a batch by [`try_send_to`](Self::try_send_to), which flushes all of them.
    ///
    /// Cost: as `try_send_to`, without the flush.
    ///
    /// ```
    /// use futures::{StreamExt, channel::mpsc, executor::block_on, stream};
    /// use stream_multiplexer::Multiplexer;
    ///
    /// let multiplexer = Multiplexer::new();
    /// multiplexer.add_channel(1)?;
    /// let (sink, peer) = mpsc::unbounded();
    /// multiplexer.add_stream_pair(sink, stream::pending::<()>(), 1)?;
    ///
    /// // A batch of lines for everybody, and one flush for each sink.
    /// let lines = ["one", "two", "three"];
    /// if let Some((last, first)) = lines.split_last() {
    ///     for line in first {
    ///         multiplexer.try_feed_to(1, *line, |_, _| {})?;
    ///     }
    ///     multiplexer.try_send_to(1, *last, |_, _| {})?;
    /// }
    /// assert_eq!(block_on(peer.take(3).collect::<Vec<_>>()), lines);
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
    pub fn try_feed_to<T: Clone>(
        &self,
        channel: ChannelId,
        item: T,
        refused: impl FnMut(StreamId, TrySendError<T, Si::Error>),
    ) -> Result<usize, MultiplexerError>
    where
        Si: Sink<T> + Unpin,
    {
        try_send::to_channel(self.registry(), channel, &item, Flush::Later, refused)
    }

    /// Creates a [`Flusher`], which flushes sinks that [`try_send`](Self::try_send) and other sends left unflushed. A program
    /// that polls a [`select`](Self::select) needs none.
    ///
    /// Create it once, and spawn it or poll it beside the receivers.
    ///
    /// Cost: the first one looks at every sink, at one lock pair each.
    ///
    /// ```
    /// use futures::{StreamExt, channel::mpsc, stream::{self, Pending}};
    /// use stream_multiplexer::Multiplexer;
    ///
    /// let multiplexer = Multiplexer::<Pending<()>, mpsc::Sender<String>>::new();
    /// let mut flusher = multiplexer.flusher::<String>();
    /// let task = async move {
    ///     while let Some((id, error)) = flusher.next().await {
    ///         eprintln!("the sink of stream {id} has failed: {error}");
    ///     }
    /// };
    /// # drop(task);
    /// ```
    pub fn flusher<T>(&self) -> Flusher<St, Si, T>
    where
        Si: Sink<T> + Unpin,
    {
        Flusher::new(self.registry())
    }

    /// A `Sink` for one stream.
    ///
    /// ```
    /// # use futures::{SinkExt, channel::mpsc, executor::block_on, stream};
    /// # use stream_multiplexer::Multiplexer;
    /// # let multiplexer = Multiplexer::new();
    /// # multiplexer.add_channel(1)?;
    /// # let (sink, _peer) = mpsc::channel(8);
    /// # let id = multiplexer.add_stream_pair(sink, stream::pending::<()>(), 1)?;
    /// let mut sender = multiplexer.sender(id)?;
    /// block_on(sender.send("hello")).unwrap();
    /// # Ok::<(), stream_multiplexer::MultiplexerError>(())
    /// ```
    ///
    /// # Errors
    ///
    /// [`UnknownStream`](MultiplexerError::UnknownStream) if there is no stream with this id, or it has no sink.
    pub fn sender<T>(&self, stream: StreamId) -> Result<StreamSender<St, Si, T>, MultiplexerError>
    where
        Si: Sink<T> + Unpin,
    {
        StreamSender::new(self.registry(), stream)
    }

    /// Flushes and closes the sink of a stream (`poll_close`), and leaves the stream in its channel until it ends. So the
    /// peer's last items are received, also its answer to the close.
    ///
    /// Resolves to `Result<(), SendError<Si::Error>>`. From its first poll on, nothing more is sent to the stream: sends
    /// that wait for the sink fail with [`Closed`](crate::SendError::Closed). A closed sink is dropped. The pair leaves its
    /// channel when its stream ends, even where pairs [stay](crate::ChannelOptions::half_close) after that.
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
    /// [`UnknownStream`](crate::SendError::UnknownStream) if there is no such stream, or it has no sink;
    /// [`Sink`](crate::SendError::Sink) if its sink failed, and [`Closed`](crate::SendError::Closed) if it had failed
    /// before. The pair stays then.
    ///
    /// # Panics
    ///
    /// If the sink's poll panics. The pair is removed; everything else goes on. Also if it is polled again after it has
    /// completed.
    ///
    /// # Cancel safety
    ///
    /// Nothing happens before the first poll. Dropped later, the sink may be partly closed: nothing can be
    /// sent to it any more. Call `close_sink` again to continue.
    pub fn close_sink<T>(&self, stream: StreamId) -> CloseSink<'_, St, Si, T>
    where
        Si: Sink<T> + Unpin,
    {
        CloseSink::new(self.registry(), stream)
    }

    /// Flushes and closes the sink of a stream (`poll_close`), and then removes the pair. Items of the peer that were not
    /// received by then are lost, and a TCP connection with unread input is reset. To receive the peer's last items, or its
    /// answer to the close, use [`close_sink`](Self::close_sink) and receive until the stream ends.
    ///
    /// Resolves to `Result<(), SendError<Si::Error>>`.
    ///
    /// From its first poll on, nothing more is sent to the stream: sends that wait for its sink fail with
    /// [`Closed`](crate::SendError::Closed). The stream stays in its channel until the pair is removed.
    ///
    /// ```
    /// # use futures::{channel::mpsc, executor::block_on, stream};
    /// # use stream_multiplexer::Multiplexer;
    /// # let multiplexer = Multiplexer::new();
    /// # multiplexer.add_channel(1)?;
    /// # let (sink, _peer) = mpsc::channel(8);
    /// # let id = multiplexer.add_stream_pair(sink, stream::pending::<()>(), 1)?;
    /// multiplexer.try_send(id, "good-bye").unwrap();
    /// block_on(multiplexer.close_stream::<&str>(id)).unwrap();
    /// assert_eq!(multiplexer.channel_of(id), None);
    /// # Ok::<(), stream_multiplexer::MultiplexerError>(())
    /// ```
    ///
    /// # Errors
    ///
    /// [`UnknownStream`](crate::SendError::UnknownStream) if there is no such stream, or it has no sink;
    /// [`Sink`](crate::SendError::Sink) if its sink failed, and [`Closed`](crate::SendError::Closed) if it had failed
    /// before; the pair is removed all the same.
    ///
    /// # Panics
    ///
    /// If the sink's poll panics. The pair is removed; everything else goes on. Also if it is polled again after it has
    /// completed.
    ///
    /// # Cancel safety
    ///
    /// Nothing happens before the first poll. Dropped later, the sink may be partly closed: nothing can be
    /// sent to it any more, and the pair stays until it is removed or `close_stream` is called again.
    pub fn close_stream<T>(&self, stream: StreamId) -> CloseStream<'_, St, Si, T>
    where
        Si: Sink<T> + Unpin,
    {
        CloseStream::new(self.registry(), stream)
    }

    /// Shuts down: [closes](Self::close) the multiplexer, and flushes and closes the sinks of all streams, each as
    /// [`close_stream`](Self::close_stream) does. It waits for all peers together, so a peer that reads nothing holds up
    /// none of the others.
    ///
    /// Resolves to `Vec<SendError<Si::Error>>`: an error for each sink that could not be closed, in no particular order. The
    /// caller decides how long to wait. After a deadline [`Shutdown::pending`] returns the streams whose sinks are not closed,
    /// and [`Shutdown::closed`] how many are.
    ///
    /// The first poll closes the multiplexer, so no stream is added later. When a sink is closed, its pair is removed, and the
    /// channel reports [`Removed`](crate::StreamEvent::Removed). Until then the stream can be received from. A TCP connection
    /// that is removed while its peer still sends is reset, and the peer may lose items that it has not read. If peers may
    /// still send, use [`keep_streams`](Shutdown::keep_streams), and receive until the streams end.
    ///
    /// Streams without a sink stay, and the shutdown does not wait for them. They end by themselves, or by
    /// [`remove_stream`](Self::remove_stream) or [`remove_channel`](Self::remove_channel).
    ///
    /// One poll begins to close at most 64 sinks, and then continues with at most 64 sinks that were woken. If there are more,
    /// it wakes its task and yields. When the close of a sink has begun, nothing more is sent to it: sends that still wait for
    /// it fail with [`Closed`](crate::SendError::Closed).
    ///
    /// Cost: one lock pair finds the next 32 sinks, and some ten lock pairs close one sink, beyond its own polls. Allocates
    /// nothing for a sink that closes immediately, and a place with a waker for each other sink. That sink is polled when it
    /// is woken, and a wake allocates nothing.
    ///
    /// The end of a server: it admits no more peers, receives until the streams have ended or a deadline has passed, says
    /// good-bye, and closes the sinks within another deadline.
    ///
    /// ```
    /// use futures::{SinkExt, StreamExt, channel::mpsc};
    /// use std::time::Duration;
    /// use stream_multiplexer::Multiplexer;
    /// use tokio::time::timeout;
    ///
    /// const DEADLINE: Duration = Duration::from_millis(10);
    ///
    /// # let runtime = tokio::runtime::Builder::new_current_thread().enable_time().build()?;
    /// # runtime.block_on(async {
    /// let multiplexer = Multiplexer::new();
    /// multiplexer.add_channel(1)?;
    /// // A peer that reads one line and no more, and whose stream does not end.
    /// let (sink, _reads_no_more) = mpsc::channel(0);
    /// let (_says_nothing, stream) = mpsc::channel::<&str>(0);
    /// let id = multiplexer.add_stream_pair(sink.buffer(8), stream, 1)?;
    /// multiplexer.try_send(id, "welcome").unwrap();
    ///
    /// // No more peers are admitted. The receiver ends when the last stream has ended.
    /// multiplexer.close();
    /// let mut receiver = multiplexer.receiver(1)?;
    /// let hear_out = async {
    ///     while let Some((id, event)) = receiver.next().await {
    ///         println!("{id}: {event:?}");
    ///     }
    /// };
    /// let all_have_ended = timeout(DEADLINE, hear_out).await.is_ok();
    ///
    /// multiplexer.try_send_to(1, "good-bye", |_, _| {})?;
    /// let mut shutdown = multiplexer.shutdown::<&str>();
    /// if timeout(DEADLINE, &mut shutdown).await.is_err() {
    ///     for id in shutdown.pending() {
    ///         multiplexer.remove_stream(id);
    ///     }
    /// }
    /// assert_eq!((all_have_ended, multiplexer.channel_len(1)), (false, Some(0)));
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// # })?;
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    ///
    /// # Errors
    ///
    /// The output holds [`Sink`](crate::SendError::Sink) for a sink that failed,
    /// [`Closed`](crate::SendError::Closed) for one that had failed before, and
    /// [`UnknownStream`](crate::SendError::UnknownStream) for a pair that was removed meanwhile, by a call or by a panic.
    ///
    /// # Panics
    ///
    /// If a sink's poll panics. That pair is removed; the other closes continue when the future is polled again. Also if it is
    /// polled again after it has completed.
    ///
    /// # Cancel safety
    ///
    /// Nothing happens before the first poll. Dropped later, the multiplexer is closed, and some sinks may be partly
    /// closed: nothing can be sent to them any more, and nothing drives them, until their pairs are removed or closed
    /// again. Call `shutdown` again to continue with the remaining sinks. Several shutdowns may run at one time.
    pub fn shutdown<T>(&self) -> Shutdown<'_, St, Si, T>
    where
        Si: Sink<T> + Unpin,
    {
        Shutdown::new(self.registry())
    }
}
