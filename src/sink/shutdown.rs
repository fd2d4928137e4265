//! [`Shutdown`] flushes and closes all sinks, each at its own pace.

use crate::engine::stream_slab::StreamSlab;
use crate::error::SendError;
use crate::id::StreamId;
use crate::registry::{LOOKUP, Registry};
use crate::sink::closing::{Closing, Pair};
use crate::unwind::{Steps, afterwards};
use futures_core::Stream;
use futures_core::future::FusedFuture;
use futures_sink::Sink;
use std::any::Any;
use std::fmt;
use std::future::Future;
use std::marker::PhantomData;
use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};
use std::pin::Pin;
use std::task::{Context, Poll, ready};

/// How many sinks are closed in one poll, before the future yields to the executor. Half of tokio's cooperative budget, as in
/// [`SendMany`](crate::SendMany).
const PER_POLL: usize = 64;

/// A future that flushes and closes all sinks of a multiplexer. Returned by
/// [`Multiplexer::shutdown`](crate::Multiplexer::shutdown), which has an example.
///
/// # Panics
///
/// If it is polled again after it has completed.
#[must_use = "futures do nothing unless awaited"]
pub struct Shutdown<'a, St, Si: Sink<T>, T> {
    registry: &'a Registry<St, Si>,
    pair: Pair,
    /// The slot of the registry from which on no sink was tried yet. `None` if all were tried.
    untried: Option<usize>,
    /// The sinks that could not be closed immediately. Each is polled with a waker of its own, so only the sinks that were
    /// woken are polled.
    waiting: StreamSlab<Waiting<'a, St, Si, T>>,
    closed: usize,
    failures: Vec<SendError<Si::Error>>,
    terminated: bool,
}

/// A sink that waits to be closed.
struct Waiting<'a, St, Si, T> {
    registry: &'a Registry<St, Si>,
    pair: Pair,
    closing: Closing<Si>,
    items: PhantomData<fn(T)>,
}

impl<'a, St, Si: Sink<T>, T> Shutdown<'a, St, Si, T> {
    pub(crate) fn new(registry: &'a Registry<St, Si>) -> Self {
        Self {
            registry,
            pair: Pair::Goes,
            untried: Some(0),
            waiting: StreamSlab::new(),
            closed: 0,
            failures: Vec::new(),
            terminated: false,
        }
    }

    /// Leaves each stream where it is when its sink is closed, as [`close_sink`](crate::Multiplexer::close_sink) does: the
    /// pair leaves its channel when the stream ends. A pair whose sink fails stays as well.
    /// [Resume](crate::Multiplexer::resume_stream) paused streams: a paused stream is not polled, so it does not end.
    ///
    /// Receive meanwhile, and afterwards until the channels have ended or a deadline has passed. The peers read to the end of
    /// their streams, and close their side. So nothing is lost. (A TCP connection that is dropped with unread input is reset,
    /// and its peer may lose items that it has not read.) The peer of a WebSocket has time to answer the closing frame.
    ///
    /// ```
    /// use futures::{FutureExt, SinkExt, StreamExt, channel::mpsc, executor::block_on, future::join};
    /// use stream_multiplexer::Multiplexer;
    ///
    /// let multiplexer = Multiplexer::new();
    /// multiplexer.add_channel(1)?;
    /// let (sink, mut from_us) = mpsc::unbounded::<&str>();
    /// let (mut to_us, stream) = mpsc::unbounded();
    /// let id = multiplexer.add_stream_pair(sink, stream, 1)?;
    /// // A peer that sends a last item when our side is closed.
    /// let peer = async move {
    ///     assert_eq!(from_us.next().await, None);
    ///     to_us.send("last words").await.unwrap();
    /// };
    ///
    /// multiplexer.close();
    /// let mut receiver = multiplexer.receiver(1)?;
    /// let closing = async {
    ///     let failures = multiplexer.shutdown::<&str>().keep_streams().await;
    ///     assert!(failures.is_empty());
    ///     // With a timer beside it.
    ///     while let Some((from, event)) = receiver.next().await {
    ///         println!("{from}: {event:?}");
    ///     }
    /// };
    /// block_on(join(closing, peer));
    /// assert_eq!(multiplexer.drained(1).now_or_never(), Some(Ok(())));
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn keep_streams(mut self) -> Self {
        self.pair = Pair::Stays;
        self
    }

    /// Returns the streams whose sinks are not closed yet, in no particular order. After a deadline they are the streams of
    /// slow peers. A pair that was removed meanwhile may still be among them.
    ///
    /// Cost: goes through the pairs that it has not begun to close, and allocates sixteen bytes for each.
    ///
    /// ```
    /// use futures::{FutureExt, channel::mpsc, sink::SinkExt, stream};
    /// use stream_multiplexer::Multiplexer;
    ///
    /// let multiplexer = Multiplexer::new();
    /// multiplexer.add_channel(1)?;
    /// // A peer that does not read.
    /// let (sink, _peer) = mpsc::channel(0);
    /// let id = multiplexer.add_stream_pair(sink.buffer(8), stream::pending::<()>(), 1)?;
    /// (0..3).for_each(|item| multiplexer.try_send(id, item).unwrap());
    ///
    /// // With a timer: `if timeout(SECOND, &mut shutdown).await.is_err() {`
    /// let mut shutdown = multiplexer.shutdown::<i32>();
    /// if (&mut shutdown).now_or_never().is_none() {
    ///     assert_eq!(shutdown.pending().collect::<Vec<_>>(), [id]);
    /// }
    /// # Ok::<(), stream_multiplexer::MultiplexerError>(())
    /// ```
    pub fn pending(&self) -> impl Iterator<Item = StreamId> + '_ {
        let mut untried = Vec::new();
        let mut sinks = [const { None }; LOOKUP];
        let mut from = self.untried;
        while let Some(slot) = from {
            from = self.registry.some_sinks(slot, &mut sinks);
            untried.extend(sinks.iter_mut().filter_map(Option::take).map(|sink| sink.id()));
        }
        self.waiting.iter().map(|(_, waiting)| waiting.closing.id()).chain(untried)
    }

    /// Returns how many sinks this shutdown has closed.
    ///
    /// ```
    /// use futures::{FutureExt, channel::mpsc, stream};
    /// use stream_multiplexer::Multiplexer;
    ///
    /// let multiplexer = Multiplexer::new();
    /// multiplexer.add_channel(1)?;
    /// let (sink, _peer) = mpsc::channel::<u8>(8);
    /// multiplexer.add_stream_pair(sink, stream::pending::<()>(), 1)?;
    /// let mut shutdown = multiplexer.shutdown::<u8>();
    /// assert!((&mut shutdown).now_or_never().is_some());
    /// assert_eq!(shutdown.closed(), 1);
    /// # Ok::<(), stream_multiplexer::MultiplexerError>(())
    /// ```
    #[must_use]
    pub fn closed(&self) -> usize {
        self.closed
    }

    fn note(&mut self, closed: Result<(), SendError<Si::Error>>) {
        match closed {
            Ok(()) => self.closed += 1,
            Err(error) => self.failures.push(error),
        }
    }
}

/// Nothing in it is pinned.
impl<St, Si: Sink<T>, T> Unpin for Shutdown<'_, St, Si, T> {}

impl<St, Si: Sink<T> + Unpin, T> Future for Shutdown<'_, St, Si, T> {
    type Output = Vec<SendError<Si::Error>>;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let this = self.get_mut();
        assert!(!this.terminated, "polled after completion");
        this.try_some();
        if this.untried.is_some() {
            cx.waker().wake_by_ref();
            return Poll::Pending;
        }
        ready!(this.poll_waiting(cx));
        this.terminated = true;
        Poll::Ready(std::mem::take(&mut this.failures))
    }
}

impl<St, Si: Sink<T> + Unpin, T> FusedFuture for Shutdown<'_, St, Si, T> {
    fn is_terminated(&self) -> bool {
        self.terminated
    }
}

impl<St, Si: Sink<T> + Unpin, T> Shutdown<'_, St, Si, T> {
    /// Closes the next sinks that can be closed immediately, and lets the others wait. If one panics, all sinks of this round
    /// are tried, and then that panic goes on.
    fn try_some(&mut self) {
        if self.untried == Some(0) {
            // After that no pair is added, so every sink that is to be closed is found from slot 0 on.
            self.registry.close();
        }
        let mut steps = Steps::default();
        let mut sinks = [const { None }; LOOKUP];
        let mut tried = 0;
        // Most slots of the registry may be vacant.
        for _ in 0..PER_POLL {
            let Some(slot) = self.untried else { break };
            let room = LOOKUP.min(PER_POLL - tried);
            self.untried = self.registry.some_sinks(slot, &mut sinks[..room]);
            for sink in sinks.iter_mut().filter_map(Option::take) {
                tried += 1;
                self.attempt(Closing::new(sink), &mut steps);
            }
            if tried == PER_POLL {
                break;
            }
        }
        steps.finish();
    }

    fn attempt(&mut self, mut closing: Closing<Si>, steps: &mut Steps) {
        let (registry, pair) = (self.registry, self.pair);
        match steps.take(|| closing.poll(registry, pair, None)) {
            Some(Poll::Ready(closed)) => {
                let is_closed = closed.is_ok();
                self.note(closed);
                steps.take(|| pair.settle(registry, closing.id(), is_closed));
            }
            // After a panic, the next poll returns the result.
            Some(Poll::Pending) | None => {
                let waiting = Waiting { registry, pair, closing, items: PhantomData };
                steps.take(|| self.waiting.insert(waiting));
            }
        }
    }

    /// Polls the sinks that were woken.
    fn poll_waiting(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        let mut polls = 0;
        while let Some((key, closed)) = ready!(Pin::new(&mut self.waiting).poll_next(cx)) {
            match closed {
                Some(Ok((id, closed))) => {
                    let is_closed = closed.is_ok();
                    self.note(closed);
                    let settled = afterwards(|| self.pair.settle(self.registry, id, is_closed));
                    drop(self.waiting.remove(key));
                    drop(settled);
                }
                // It stays, and returns its result when it is polled again.
                Some(Err(panic)) => resume_unwind(panic),
                None => {}
            }
            polls += 1;
            if polls == PER_POLL && !self.waiting.is_empty() {
                cx.waker().wake_by_ref();
                return Poll::Pending;
            }
        }
        Poll::Ready(())
    }
}

impl<St, Si, T> Unpin for Waiting<'_, St, Si, T> {}

/// Yields the result, and is then taken out of the slab. Or yields the panic of its poll, and stays.
impl<St, Si: Sink<T> + Unpin, T> Stream for Waiting<'_, St, Si, T> {
    type Item = Result<(StreamId, Result<(), SendError<Si::Error>>), Box<dyn Any + Send>>;

    fn poll_next(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        let Self { registry, pair, closing, .. } = self.get_mut();
        match catch_unwind(AssertUnwindSafe(|| closing.poll(registry, *pair, Some(cx)))) {
            Ok(polled) => polled.map(|closed| Some(Ok((closing.id(), closed)))),
            Err(panic) => Poll::Ready(Some(Err(panic))),
        }
    }
}

impl<St, Si: Sink<T>, T> fmt::Debug for Shutdown<'_, St, Si, T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Shutdown")
            .field("closed", &self.closed)
            .field("failed", &self.failures.len())
            .field("waiting", &self.waiting.len())
            .finish_non_exhaustive()
    }
}
