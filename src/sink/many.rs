//! [`SendMany`]: one item to many streams.

use crate::engine::stream_slab::StreamSlab;
use crate::error::SendError;
use crate::id::StreamId;
use crate::registry::{LOOKUP, Registry};
use crate::sink::delivery::{Delivery, attempt};
use crate::sink::sent::Sent;
use crate::sink::slot::SinkSlot;
use crate::unwind::afterwards;
use futures_core::Stream;
use futures_core::future::FusedFuture;
use futures_sink::Sink;
use std::any::Any;
use std::fmt;
use std::future::Future;
use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};

/// How many sinks get the item in one poll, before the future yields to the executor.
///
/// This is half of tokio's cooperative budget. When the budget is used up, the remaining sinks report that they are not ready;
/// each is then polled twice and needs a place to wait. With 4,000 TCP connections that takes twice as long (70 ms against
/// 34 ms).
const PER_POLL: usize = 64;

const _: () = assert!(PER_POLL % LOOKUP == 0, "each poll begins with a lookup");

/// A future that sends one item to many streams. Returned by [`Multiplexer::send`](crate::Multiplexer::send), which has
/// examples, and by [`send_to`](crate::Multiplexer::send_to).
///
/// # Panics
///
/// If it is polled again after it has completed.
#[must_use = "futures do nothing unless awaited"]
pub struct SendMany<'a, St, Si: Sink<T>, T> {
    registry: &'a Registry<St, Si>,
    /// `None` when the last sink was tried.
    item: Option<T>,
    /// How many sinks were tried.
    tried: usize,
    /// In the order of the ids. The result of a delivery that has not completed is `UnknownStream` for the time being.
    results: Vec<Outcome<Si, T>>,
    waiting: Waiting<'a, St, Si, T>,
    terminated: bool,
}

/// The deliveries that did not complete in the first poll of their sink.
enum Waiting<'a, St, Si: Sink<T>, T> {
    None,
    /// Polled with the task's waker: allocates nothing.
    One(Numbered<'a, St, Si, T>),
    /// Each is polled with a waker of its own, so only those are polled whose sinks were woken.
    Many(Box<StreamSlab<Numbered<'a, St, Si, T>>>),
}

/// The result for one stream.
type Outcome<Si, T> = Result<StreamId, SendError<<Si as Sink<T>>::Error>>;

/// A delivery, and the place of its result.
struct Numbered<'a, St, Si, T> {
    registry: &'a Registry<St, Si>,
    index: usize,
    delivery: Delivery<Si, T>,
}

impl<'a, St, Si: Sink<T>, T> SendMany<'a, St, Si, T> {
    pub(crate) fn new(registry: &'a Registry<St, Si>, ids: impl Iterator<Item = StreamId>, item: T) -> Self {
        let results = ids.map(|id| Err(SendError::UnknownStream(id))).collect();
        let waiting = Waiting::None;
        Self { registry, item: Some(item), tried: 0, results, waiting, terminated: false }
    }
}

/// Its state before it has completed.
impl<St, Si: Sink<T>, T> SendMany<'_, St, Si, T> {
    /// Returns the streams that it still waits for, in no particular order. Their sinks were not ready, or are not
    /// flushed. After a deadline they are the streams of slow peers. There are none once it has completed.
    ///
    /// ```
    /// use futures::{FutureExt, channel::mpsc, stream};
    /// use stream_multiplexer::Multiplexer;
    ///
    /// let multiplexer = Multiplexer::new();
    /// multiplexer.add_channel(1)?;
    /// let [(sink, _quick), (full, _slow)] = [8, 0].map(mpsc::channel);
    /// let quick = multiplexer.add_stream_pair(sink, stream::pending::<()>(), 1)?;
    /// let slow = multiplexer.add_stream_pair(full, stream::pending::<()>(), 1)?;
    /// multiplexer.try_send(slow, 1).unwrap();
    ///
    /// // With a timer: `if timeout(SECOND, &mut send).await.is_err() {`
    /// let mut send = multiplexer.send([quick, slow], 2);
    /// if (&mut send).now_or_never().is_none() {
    ///     for id in send.pending() {
    ///         multiplexer.remove_stream(id);
    ///     }
    /// }
    /// assert_eq!(multiplexer.channel_streams(1), Some(vec![quick]));
    /// # Ok::<(), stream_multiplexer::MultiplexerError>(())
    /// ```
    pub fn pending(&self) -> impl Iterator<Item = StreamId> + '_ {
        let untried = self.results[self.tried..].iter().map(id_of);
        let (one, many) = match &self.waiting {
            Waiting::None => (None, None),
            Waiting::One(one) => (Some(one), None),
            Waiting::Many(many) => (None, Some(many.iter().map(|(_, numbered)| numbered))),
        };
        let waiting = one.into_iter().chain(many.into_iter().flatten());
        waiting.map(|numbered| id_of(&self.results[numbered.index])).chain(untried)
    }

    /// Stops waiting and returns the result of each stream. For a stream that it still waited for, that is
    /// [`NotReady`](SendError::NotReady) if the sink does not have the item, and [`Unflushed`](SendError::Unflushed) if it
    /// does. Once the future has completed and so returned all results, this is empty.
    ///
    /// ```
    /// use futures::{FutureExt, channel::mpsc, stream};
    /// use stream_multiplexer::{Multiplexer, SendError};
    ///
    /// let multiplexer = Multiplexer::new();
    /// multiplexer.add_channel(1)?;
    /// let (sink, _slow_peer) = mpsc::channel(0);
    /// let id = multiplexer.add_stream_pair(sink, stream::pending::<()>(), 1)?;
    /// multiplexer.try_send(id, 1).unwrap();
    ///
    /// let mut send = multiplexer.send([id], 2);
    /// assert!((&mut send).now_or_never().is_none());
    /// assert_eq!(send.into_sent().as_slice(), [Err(SendError::NotReady(id))]);
    /// # Ok::<(), stream_multiplexer::MultiplexerError>(())
    /// ```
    pub fn into_sent(mut self) -> Sent<Si::Error> {
        let set = |result: &mut Outcome<Si, T>, has_item: bool| {
            let id = id_of(result);
            *result = Err(if has_item { SendError::Unflushed(id) } else { SendError::NotReady(id) });
        };
        let mut results = std::mem::take(&mut self.results);
        results[self.tried..].iter_mut().for_each(|result| set(result, false));
        match &self.waiting {
            Waiting::None => {}
            Waiting::One(one) => set(&mut results[one.index], one.delivery.is_handed_over()),
            Waiting::Many(many) => many.iter().for_each(|(_, numbered)| {
                set(&mut results[numbered.index], numbered.delivery.is_handed_over());
            }),
        }
        Sent::new(results)
    }
}

/// Nothing in it is pinned.
impl<St, Si: Sink<T>, T> Unpin for SendMany<'_, St, Si, T> {}

impl<St, Si: Sink<T> + Unpin, T: Clone> Future for SendMany<'_, St, Si, T> {
    type Output = Sent<Si::Error>;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let this = self.get_mut();
        assert!(!this.terminated, "polled after completion");
        if this.tried < this.results.len() {
            this.try_some();
            if this.tried < this.results.len() {
                cx.waker().wake_by_ref();
                return Poll::Pending;
            }
        }
        ready!(this.poll_waiting(cx));
        // The last stream may have been unknown.
        drop(this.item.take());
        this.terminated = true;
        // For `pending` and `into_sent`: nothing is pending any more, and no result is left.
        this.tried = 0;
        Poll::Ready(Sent::new(std::mem::take(&mut this.results)))
    }
}

impl<St, Si: Sink<T> + Unpin, T: Clone> FusedFuture for SendMany<'_, St, Si, T> {
    fn is_terminated(&self) -> bool {
        self.terminated
    }
}

impl<'a, St, Si: Sink<T> + Unpin, T: Clone> SendMany<'a, St, Si, T> {
    /// Delivers to the next sinks that are ready, and lets the others wait.
    fn try_some(&mut self) {
        let until = self.results.len().min(self.tried + PER_POLL);
        Round { send: self, sinks: [const { None }; LOOKUP], until, item: None, is_over: false }.deliver();
    }

    /// Polls the deliveries whose sinks were woken.
    fn poll_waiting(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        match &mut self.waiting {
            Waiting::None => {}
            Waiting::One(one) => {
                let (index, outcome) = ready!(one.poll(cx));
                self.results[index] = outcome;
            }
            Waiting::Many(many) => {
                let mut polls = 0;
                while let Some((key, outcome)) = ready!(Pin::new(&mut **many).poll_next(cx)) {
                    match outcome {
                        Some(Ok((index, outcome))) => self.results[index] = outcome,
                        // The delivery stays. It returns its result when it is polled again.
                        Some(Err(panic)) => resume_unwind(panic),
                        None => {}
                    }
                    drop(many.remove(key));
                    polls += 1;
                    if polls == PER_POLL && !many.is_empty() {
                        cx.waker().wake_by_ref();
                        return Poll::Pending;
                    }
                }
            }
        }
        self.waiting = Waiting::None;
        Poll::Ready(())
    }

    #[cold]
    fn wait(&mut self, numbered: Numbered<'a, St, Si, T>) {
        if self.results.len() == 1 {
            self.waiting = Waiting::One(numbered);
        } else if let Waiting::Many(many) = &mut self.waiting {
            many.insert(numbered);
        } else {
            self.waiting = Waiting::Many(Box::new(StreamSlab::from_iter([numbered])));
        }
    }
}

/// Tries the next sinks, as many as one poll may. If one panics, it tries all others of the send, and then that panic goes
/// on, because the task is not likely to poll again.
struct Round<'s, 'a, St, Si: Sink<T> + Unpin, T: Clone> {
    send: &'s mut SendMany<'a, St, Si, T>,
    /// Each entry is `None` when its sink was tried.
    sinks: [Option<Arc<SinkSlot<Si>>>; LOOKUP],
    /// How many sinks of the send are to be tried when the round ends.
    until: usize,
    /// The item for the sink that is being tried. `Some(None)` if that sink has it.
    item: Option<Option<T>>,
    is_over: bool,
}

impl<St, Si: Sink<T> + Unpin, T: Clone> Round<'_, '_, St, Si, T> {
    #[inline]
    fn deliver(&mut self) {
        while self.send.tried < self.until {
            let index = self.send.tried;
            if index % LOOKUP == 0 {
                self.look_up();
            }
            self.send.tried += 1;
            let Some(sink) = &self.sinks[index % LOOKUP] else { continue };
            let is_last = index + 1 == self.send.results.len();
            let item = if is_last { self.send.item.take() } else { self.send.item.clone() };
            debug_assert!(item.is_some(), "given away last");
            let item = self.item.insert(item);
            let result = &mut self.send.results[index];
            let Poll::Ready(outcome) = attempt(self.send.registry, id_of(result), sink, item, None) else {
                self.put_aside();
                continue;
            };
            *result = outcome;
            self.item = None;
            self.sinks[index % LOOKUP] = None;
        }
        self.is_over = true;
    }

    fn look_up(&mut self) {
        let ids = self.send.results[self.send.tried..].iter().take(LOOKUP).map(id_of);
        self.send.registry.sinks(ids, &mut self.sinks);
    }

    /// Lets a delivery wait that did not complete. When it is polled it continues, also after a panic, and returns its
    /// result.
    #[cold]
    fn put_aside(&mut self) {
        let index = self.send.tried - 1;
        let sink = self.sinks[index % LOOKUP].take();
        // If the clone of the item panicked, there is no item, and this sink does not get one.
        if let (Some(sink), Some(item)) = (sink, self.item.take()) {
            let delivery = Delivery::new(id_of(&self.send.results[index]), sink, item);
            self.send.wait(Numbered { registry: self.send.registry, index, delivery });
        }
    }
}

impl<St, Si: Sink<T> + Unpin, T: Clone> Drop for Round<'_, '_, St, Si, T> {
    fn drop(&mut self) {
        // Only after a panic are sinks left.
        while !self.is_over {
            drop(afterwards(|| self.put_aside()));
            self.until = self.send.results.len();
            drop(afterwards(|| self.deliver()));
        }
    }
}

fn id_of<E>(result: &Result<StreamId, SendError<E>>) -> StreamId {
    match result {
        Ok(id) => *id,
        Err(error) => error.stream_id(),
    }
}

impl<St, Si: Sink<T> + Unpin, T> Numbered<'_, St, Si, T> {
    #[inline]
    fn poll(&mut self, cx: &mut Context<'_>) -> Poll<(usize, Outcome<Si, T>)> {
        self.delivery.poll(self.registry, cx).map(|outcome| (self.index, outcome))
    }
}

impl<St, Si, T> Unpin for Numbered<'_, St, Si, T> {}

/// Yields the result, and is then taken out of the slab. Or yields the panic of its poll, and stays.
impl<St, Si: Sink<T> + Unpin, T> Stream for Numbered<'_, St, Si, T> {
    type Item = Result<(usize, Outcome<Si, T>), Box<dyn Any + Send>>;

    fn poll_next(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        let this = self.get_mut();
        match catch_unwind(AssertUnwindSafe(|| this.poll(cx))) {
            Ok(polled) => polled.map(|outcome| Some(Ok(outcome))),
            Err(panic) => Poll::Ready(Some(Err(panic))),
        }
    }
}

impl<St, Si: Sink<T>, T> fmt::Debug for SendMany<'_, St, Si, T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("SendMany").field("streams", &self.results.len()).finish_non_exhaustive()
    }
}
