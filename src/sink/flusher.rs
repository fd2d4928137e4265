//! [`Flusher`]: flushes unflushed sinks.

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

/// Flushes the unflushed sinks of a multiplexer, each when it wakes, and yields the sinks that fail.
///
/// Created by [`Multiplexer::flusher`](crate::Multiplexer::flusher). A program that polls a
/// [`ChannelSelect`](crate::ChannelSelect) needs no flusher: the select also flushes sinks.
///
/// Items that [`try_send`](crate::Multiplexer::try_send) cannot flush stay in the sink's own buffer, and so do items that a
/// dropped send or sender has left there. While a task polls a flusher, these items are flushed when the peer can take
/// them; no other send is needed. Spawn the flusher, or poll it beside the receivers. Keep the flusher: creating one visits
/// every sink once.
///
/// The flusher yields `(StreamId, Si::Error)` if a sink fails in its flush. No other method reports this error. No item is
/// sent to the sink afterwards. The pair stays until it is removed.
///
/// The flusher ends when the multiplexer is [closed](crate::Multiplexer::close), or all its handles are dropped, and the
/// last pair has left. When a pair leaves, its unflushed items are dropped with its sink. To flush them first, close the
/// stream with [`close_stream`](crate::Multiplexer::close_stream). If a peer shuts down its writing side and continues to
/// read, keep the pair with [`half_close`](crate::ChannelOptions::half_close).
///
/// A multiplexer may have several flushers; each failure goes to one of them.
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
/// For a woken sink: five lock pairs, one atomic read-modify-write, and the poll of the sink, whatever the number of waiting
/// sinks. To go to sleep and be woken: three lock pairs and two read-modify-writes. If the flush of a send returned
/// `Pending`, the flusher's task is not woken; the sink waits for its own wake. No item and no wake allocates. Memory: for
/// each sink that is unflushed at the same time, some 60 bytes and a waker. Without a flusher and without a select that
/// flushes, this memory is not used.
///
/// # Yielding
///
/// One poll of the flusher flushes at most 64 sinks, and at most two in a row that wake themselves in their own poll. The
/// flusher then wakes its task and returns `Pending`.
///
/// # Panics
///
/// A panic in the poll of a sink propagates to the caller. The pair is removed; other pairs are not affected.
///
/// # Cancel safety
///
/// A `next()` may be dropped at any point; no failure is lost. When the last flusher is dropped, unflushed items stay in
/// their sinks. The next flusher finds these sinks.
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

/// No field is pinned.
impl<St, Si, T> Unpin for Flusher<St, Si, T> {}

impl<St, Si: Sink<T> + Unpin, T> Stream for Flusher<St, Si, T> {
    type Item = (StreamId, Si::Error);

    fn poll_next(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        let this = self.get_mut();
        if this.terminated {
            return Poll::Ready(None);
        }
        let flushes = this.registry.flushes();
        // A select that also drives the flush set may not know yet how to flush a sink.
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
