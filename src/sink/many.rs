//! [`Send`]: one item to many streams.

use crate::engine::stream_slab::StreamSlab;
use crate::error::SendError;
use crate::id::StreamId;
use crate::registry::Registry;
use crate::sink::delivery::{Delivery, attempt};
use crate::sink::slot::SinkSlot;
use crate::unwind::afterwards;
use futures_core::Stream;
use futures_sink::Sink;
use std::fmt;
use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};

/// How many sinks are looked up at one lock pair, and kept on the stack.
const LOOKUP: usize = 32;

/// One item on its way to many streams; from [`Multiplexer::send`](crate::Multiplexer::send).
#[must_use = "futures do nothing unless awaited"]
pub struct Send<'a, St, Si: Sink<T>, T> {
    registry: &'a Registry<St, Si>,
    /// Until it is first polled.
    item: Option<T>,
    /// In the order of the ids; of those that are on their way, this says that the stream is unknown.
    results: Vec<Sent<Si, T>>,
    waiting: Waiting<'a, St, Si, T>,
}

/// The deliveries that could not be made at once.
enum Waiting<'a, St, Si: Sink<T>, T> {
    None,
    /// Polled with the task's waker: allocates nothing.
    One(Numbered<'a, St, Si, T>),
    /// Each polled with a waker of its own, so only those are polled whose sinks were woken.
    Many(Box<StreamSlab<Numbered<'a, St, Si, T>>>),
}

/// What came of sending to one stream.
type Sent<Si, T> = Result<StreamId, SendError<<Si as Sink<T>>::Error>>;

/// A delivery, and the place of its result.
struct Numbered<'a, St, Si, T> {
    registry: &'a Registry<St, Si>,
    index: usize,
    delivery: Delivery<Si, T>,
}

impl<'a, St, Si: Sink<T>, T> Send<'a, St, Si, T> {
    pub(crate) fn new(
        registry: &'a Registry<St, Si>,
        ids: impl IntoIterator<Item = StreamId>,
        item: T,
    ) -> Self {
        let results = ids.into_iter().map(|id| Err(SendError::UnknownStream(id))).collect();
        Self { registry, item: Some(item), results, waiting: Waiting::None }
    }
}

/// Nothing in it is pinned.
impl<St, Si: Sink<T>, T> Unpin for Send<'_, St, Si, T> {}

impl<St, Si: Sink<T> + Unpin, T: Clone> Future for Send<'_, St, Si, T> {
    type Output = Vec<Sent<Si, T>>;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let this = self.get_mut();
        if let Some(item) = this.item.take() {
            this.start(item);
        }
        match &mut this.waiting {
            Waiting::None => {}
            Waiting::One(one) => {
                let (index, result) = ready!(one.poll(cx));
                this.results[index] = result;
            }
            Waiting::Many(many) => {
                while let Some((key, sent)) = ready!(Pin::new(&mut **many).poll_next(cx)) {
                    if let Some((index, result)) = sent {
                        this.results[index] = result;
                    }
                    drop(many.remove(key));
                }
            }
        }
        this.waiting = Waiting::None;
        Poll::Ready(std::mem::take(&mut this.results))
    }
}

impl<'a, St, Si: Sink<T> + Unpin, T: Clone> Send<'a, St, Si, T> {
    /// Delivers to every sink that is ready, and lets the others wait.
    fn start(&mut self, item: T) {
        let sinks = [const { None }; LOOKUP];
        Start { send: self, item: Some(item), sinks, next: 0 }.deliver();
    }

    #[inline]
    fn deliver(&mut self, index: usize, sink: Arc<SinkSlot<Si>>, item: T) {
        let id = match &self.results[index] {
            Ok(id) => *id,
            Err(error) => error.stream_id(),
        };
        let mut item = Some(item);
        if let Poll::Ready(result) = attempt(self.registry, id, &sink, &mut item, None) {
            self.results[index] = result;
        } else {
            let delivery = Delivery::new(id, sink, item);
            self.wait(Numbered { registry: self.registry, index, delivery });
        }
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

/// Delivers to each, also when one panics: then that panic goes on when the last has its item.
struct Start<'s, 'a, St, Si: Sink<T> + Unpin, T: Clone> {
    send: &'s mut Send<'a, St, Si, T>,
    /// Until the last has it.
    item: Option<T>,
    sinks: [Option<Arc<SinkSlot<Si>>>; LOOKUP],
    next: usize,
}

impl<St, Si: Sink<T> + Unpin, T: Clone> Start<'_, '_, St, Si, T> {
    #[inline]
    fn deliver(&mut self) {
        let len = self.send.results.len();
        while self.next < len {
            if self.next % LOOKUP == 0 {
                self.look_up();
            }
            let index = self.next;
            self.next += 1;
            let Some(sink) = self.sinks[index % LOOKUP].take() else { continue };
            let item = if self.next == len { self.item.take() } else { self.item.clone() };
            let item = item.expect("given away last");
            self.send.deliver(index, sink, item);
        }
    }

    fn look_up(&mut self) {
        let ids = self.send.results[self.next..].iter().take(LOOKUP).map(|result| match result {
            Ok(id) => *id,
            Err(error) => error.stream_id(),
        });
        self.send.registry.sinks(ids, &mut self.sinks);
    }
}

impl<St, Si: Sink<T> + Unpin, T: Clone> Drop for Start<'_, '_, St, Si, T> {
    fn drop(&mut self) {
        // There are some left only after a panic.
        while self.next < self.send.results.len() {
            drop(afterwards(|| self.deliver()));
        }
    }
}

impl<St, Si: Sink<T> + Unpin, T> Numbered<'_, St, Si, T> {
    #[inline]
    fn poll(&mut self, cx: &mut Context<'_>) -> Poll<(usize, Sent<Si, T>)> {
        self.delivery.poll(self.registry, cx).map(|result| (self.index, result))
    }
}

impl<St, Si, T> Unpin for Numbered<'_, St, Si, T> {}

/// Yields the result. It is taken out of the slab then, and not polled again.
impl<St, Si: Sink<T> + Unpin, T> Stream for Numbered<'_, St, Si, T> {
    type Item = (usize, Sent<Si, T>);

    fn poll_next(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        self.get_mut().poll(cx).map(Some)
    }
}

impl<St, Si: Sink<T>, T> fmt::Debug for Send<'_, St, Si, T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Send").field("streams", &self.results.len()).finish_non_exhaustive()
    }
}
