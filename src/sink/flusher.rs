//! [`Flusher`]: drives what was left unflushed.

use crate::engine::patience::Patience;
use crate::id::StreamId;
use crate::registry::Registry;
use crate::sink::delivery::{flush, flush_unnamed};
use crate::sink::flush_set::Turn;
use crate::sink::flush_turn::take_turn;
use crate::unwind::afterwards;
use crate::wait_list::Waiter;
use futures_core::Stream;
use futures_core::stream::FusedStream;
use futures_sink::Sink;
use std::fmt;
use std::marker::PhantomData;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

/// Flushes the sinks of a multiplexer that have something unflushed, each when it wakes. Yields the sinks that fail.
///
/// Created by [`Multiplexer::flusher`](crate::Multiplexer::flusher). A program that polls a
/// [`ChannelSelect`](crate::ChannelSelect) needs none: the select does the same.
///
/// What [`try_send`](crate::Multiplexer::try_send) could not flush lies in the sink's own buffer, and so does what a dropped
/// send or sender left there. As long as a flusher is polled, these sinks are flushed when their peers take it, without
/// another send. Spawn the flusher, or poll it beside the receivers, and keep it: creating one looks at every sink once.
///
/// It yields `(StreamId, Si::Error)` for a sink that fails in its poll. That error is not reported elsewhere. Nothing more
/// is sent to the sink, and the pair stays until it is removed.
///
/// It ends when the multiplexer is [closed](crate::Multiplexer::close), or its handles are dropped, and the last pair has
/// left. When a pair leaves, what is still unflushed is dropped with its sink. To flush it first, close the stream by
/// [`close_stream`](crate::Multiplexer::close_stream). For peers that shut down their writing side and read on, keep the
/// pair by [`half_close`](crate::ChannelOptions::half_close).
///
/// There may be several flushers; each failure goes to one of them.
///
/// ```
/// use futures::{StreamExt, channel::mpsc, executor::block_on, sink::SinkExt, stream};
/// use stream_multiplexer::Multiplexer;
///
/// let multiplexer = Multiplexer::new();
/// multiplexer.add_channel(1)?;
/// // A peer that takes one line at a time, and a buffer of eight lines on our side.
/// let (sink, peer) = mpsc::channel(0);
/// let id = multiplexer.add_stream_pair(sink.buffer(8), stream::pending::<()>(), 1)?;
///
/// for line in 0..5 {
///     multiplexer.try_send(id, line).unwrap();
/// }
/// let mut flusher = multiplexer.flusher::<i32>();
/// block_on(async {
///     let mut received = peer.take(5).collect::<Vec<_>>();
///     futures::select! {
///         failure = flusher.next() => panic!("{failure:?}"),
///         lines = received => assert_eq!(lines, [0, 1, 2, 3, 4]),
///     }
/// });
/// # Ok::<(), stream_multiplexer::MultiplexerError>(())
/// ```
///
/// # Cost
///
/// A sink that was woken: five lock pairs, one atomic read-modify-write, and its own poll; it does not matter how many
/// others wait. Going to sleep and being woken: three lock pairs and two read-modify-writes. A sink that a send left
/// unflushed in vain does not wake the flusher's task, but waits for its own wake. Nothing is allocated per item or
/// wake. Memory: a place of some 60 bytes and a waker for each sink that has something unflushed at one time. Without a
/// flusher nothing of this is kept.
///
/// # Yielding
///
/// One poll flushes at most 64 sinks, and at most two in a row that wake themselves in their own poll. Then it wakes its
/// task and returns `Pending`.
///
/// # Panics
///
/// A panic in a sink's poll reaches the caller. The pair is removed; everything else goes on.
///
/// # Cancel safety
///
/// Dropping a `next()` loses nothing. When the last flusher is dropped, what is unflushed stays in the sinks, and the next
/// flusher finds it.
pub struct Flusher<St, Si, T> {
    registry: Arc<Registry<St, Si>>,
    waiter: Waiter,
    terminated: bool,
    items: PhantomData<fn(T)>,
}

impl<St, Si, T> Flusher<St, Si, T> {
    pub(crate) fn new(registry: &Arc<Registry<St, Si>>) -> Self {
        registry.attach_flusher();
        let registry = Arc::clone(registry);
        Self { registry, waiter: Waiter::default(), terminated: false, items: PhantomData }
    }
}

/// Nothing in it is pinned.
impl<St, Si, T> Unpin for Flusher<St, Si, T> {}

impl<St, Si: Sink<T> + Unpin, T> Stream for Flusher<St, Si, T> {
    type Item = (StreamId, Si::Error);

    fn poll_next(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        let this = self.get_mut();
        if this.terminated {
            return Poll::Ready(None);
        }
        let flushes = this.registry.flushes();
        // There may be drivers beside it that do not know.
        if flushes.how().is_none() && flushes.learn(flush_unnamed::<Si, T>) {
            flushes.wake();
        }
        let mut patience = Patience::default();
        loop {
            match flushes.next_turn(&mut patience) {
                Turn::Poll(key, entry) => {
                    let id = entry.sink.id();
                    let flushed = take_turn(&this.registry, key, entry, &mut patience, flush::<Si, T>);
                    if let Poll::Ready(Err(error)) = flushed {
                        return Poll::Ready(Some((id, error)));
                    }
                }
                Turn::Idle(epoch) => {
                    if flushes.has_ended() {
                        this.terminated = true;
                        return Poll::Ready(None);
                    }
                    if flushes.tasks().wait(&mut this.waiter, epoch, cx.waker().clone()) {
                        return Poll::Pending;
                    }
                }
                Turn::Yield => {
                    cx.waker().wake_by_ref();
                    return Poll::Pending;
                }
            }
        }
    }
}

impl<St, Si: Sink<T> + Unpin, T> FusedStream for Flusher<St, Si, T> {
    fn is_terminated(&self) -> bool {
        self.terminated
    }
}

impl<St, Si, T> Drop for Flusher<St, Si, T> {
    fn drop(&mut self) {
        let detached = afterwards(|| self.registry.detach_flusher());
        self.registry.flushes().tasks().leave(&mut self.waiter);
        drop(detached);
    }
}

impl<St, Si, T> fmt::Debug for Flusher<St, Si, T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Flusher").field("terminated", &self.terminated).finish_non_exhaustive()
    }
}
