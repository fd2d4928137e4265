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
    /// The sink is asked whether it is ready, is given the item, and is flushed by one poll (by two, if the first is in
    /// vain and there is a flusher that does not wait for this sink yet). What that leaves unflushed
    /// lies in the sink's own buffer, and a [`flusher`](Self::flusher) passes it on when the peer takes it. So nothing
    /// is buffered here: how much may wait for one peer is set on the sink, by tokio-util's
    /// `Framed::set_backpressure_boundary` or `SinkExt::buffer`, and beyond that it is [`Full`](TrySendError::Full).
    ///
    /// What one caller sends to one stream, by this and in any other way, arrives in the order of its calls.
    ///
    /// Cost: three lock pairs and two reference counts beyond the sink's own polls; two more lock pairs to put the sink
    /// among those that a flusher waits for. Allocates nothing, unless the flusher waits for more sinks than ever before.
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
    /// The pair leaves its channel when its stream ends, also where pairs [stay](crate::ChannelOptions::half_close) after that.
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

    /// Shuts down: [closes](Self::close) the multiplexer, and flushes and closes the sinks of all streams, each as
    /// [`close_stream`](Self::close_stream) does. It waits for all peers together, so a peer that reads nothing holds up
    /// none of the others.
    ///
    /// Resolves to `Vec<SendError<Si::Error>>`: why some could not be closed, in no particular order. The caller decides
    /// how long to wait. After a deadline [`Shutdown::pending`] returns the streams whose sinks are not closed, and
    /// [`Shutdown::closed`] how many are.
    ///
    /// The first poll closes the multiplexer, so no stream comes later. When a sink is closed its pair is removed, and the
    /// channel reports [`Removed`](crate::StreamEvent::Removed). Until then the stream is received from. A TCP connection
    /// that is removed while its peer talks on is reset, and the peer may lose what it has not read: where peers may do
    /// so, use [`keep_streams`](Shutdown::keep_streams), and receive until the streams end.
    ///
    /// Streams without a sink stay, and are not waited for. They end by themselves, or by
    /// [`remove_stream`](Self::remove_stream) or [`remove_channel`](Self::remove_channel).
    ///
    /// One poll begins to close at most 64 sinks, and then goes on with at most 64 of those that were woken. If there are
    /// more it wakes its task and yields. Once a sink is begun to be closed nothing more is sent to it: sends that still
    /// wait for it fail with [`Closed`](crate::SendError::Closed).
    ///
    /// Cost: one lock pair finds the next 32 sinks, and some ten close one, beyond its own polls. Allocates nothing for a
    /// sink that closes immediately, and a place with a waker for each other one. That is polled when it is woken, and a
    /// wake allocates nothing.
    ///
    /// The end of a server: it admits nobody, receives until the streams have ended or a deadline has passed, says
    /// good-bye, and closes what it can within another deadline.
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
    /// // A peer that reads one line and no more, and has not ended.
    /// let (sink, _reads_no_more) = mpsc::channel(0);
    /// let (_says_nothing, stream) = mpsc::channel::<&str>(0);
    /// let id = multiplexer.add_stream_pair(sink.buffer(8), stream, 1)?;
    /// multiplexer.try_send(id, "welcome").unwrap();
    ///
    /// // Nobody is admitted any more. The receiver ends when the last stream has.
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
    /// [`UnknownStream`](crate::SendError::UnknownStream) for a pair that somebody removed meanwhile, or that a panic
    /// cost.
    ///
    /// # Panics
    ///
    /// When a sink's poll panics. That pair is removed; the others go on when it is polled again. Also when it is polled
    /// again after it was ready.
    ///
    /// # Cancel safety
    ///
    /// Nothing happens before the first poll. Dropped later, the multiplexer is closed, and some sinks may be partly
    /// closed: nothing can be sent to them any more, and nobody drives them, until their pairs are removed or closed
    /// again. Call it again to go on with all that are left. Several may run at one time.
    pub fn shutdown<T>(&self) -> Shutdown<'_, St, Si, T>
    where
        Si: Sink<T> + Unpin,
    {
        Shutdown::new(self.registry())
    }
}
