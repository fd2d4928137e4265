//! The close of one sink.

use crate::error::SendError;
use crate::id::StreamId;
use crate::registry::Registry;
use crate::sink::slot::{Phase, SinkSlot};
use crate::unwind::on_panic;
use crate::wait_list::Waiter;
use futures_sink::Sink;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};

/// Whether a pair stays when its sink is closed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Pair {
    /// The pair stays until its stream ends. It also stays if the sink fails.
    Stays,
    /// The pair is removed, also if the sink fails.
    Goes,
}

impl Pair {
    /// Removes the pair, or keeps it. The caller calls this when the close has completed.
    pub(crate) fn settle<St, Si>(self, registry: &Registry<St, Si>, id: StreamId, is_closed: bool) {
        match self {
            Self::Goes => drop(registry.remove(id)),
            Self::Stays if is_closed => drop(registry.remove_closed(id)),
            Self::Stays => {}
        }
    }

    /// Settles the pair after a panic, if its sink is closed, failed or gone. The sink's poll panicked then, or a waker that
    /// the close called. If a task's waker panics while the sink can still be used, the pair stays.
    #[cold]
    fn settle_after_panic<St, Si>(self, registry: &Registry<St, Si>, sink: &SinkSlot<Si>) {
        match sink.phase() {
            Phase::Gone => drop(registry.remove(sink.id())),
            phase @ (Phase::Closed | Phase::Failed) => {
                self.settle(registry, sink.id(), phase == Phase::Closed);
            }
            Phase::Open | Phase::Ending | Phase::Closing => {}
        }
    }
}

/// A sink that is being flushed and closed.
pub(crate) struct Closing<Si> {
    sink: Arc<SinkSlot<Si>>,
    waiter: Waiter,
    begun: bool,
}

impl<Si> Closing<Si> {
    pub(crate) fn new(sink: Arc<SinkSlot<Si>>) -> Self {
        Self { sink, waiter: Waiter::default(), begun: false }
    }

    pub(crate) fn id(&self) -> StreamId {
        self.sink.id()
    }

    /// Flushes and closes the sink. From the first call on, no item is given to the sink. With a context, it waits if the sink
    /// is not ready. When it returns `Ready`, the caller [settles](Pair::settle) the pair. After a panic it may be called
    /// again, and continues.
    pub(crate) fn poll<St, T>(
        &mut self,
        registry: &Registry<St, Si>,
        pair: Pair,
        cx: Option<&mut Context<'_>>,
    ) -> Poll<Result<(), SendError<Si::Error>>>
    where
        Si: Sink<T> + Unpin,
    {
        let Self { sink, waiter, begun } = self;
        let id = sink.id();
        let panicked = on_panic(|| pair.settle_after_panic(registry, sink));
        if !*begun {
            *begun = true;
            drop(sink.advance(Phase::Closing));
        }
        let closed = sink.poll_with(cx.map(|cx| (cx, waiter)), |truth, sink| match sink {
            Some((sink, cx)) => {
                let polled = Pin::new(sink).poll_close(cx);
                truth.is_pending = Some(polled.is_pending());
                let closed = ready!(polled);
                // From here on the sink is not polled any more.
                truth.phase = if closed.is_ok() { Phase::Closed } else { Phase::Failed };
                truth.unflushed = false;
                Poll::Ready(closed.map_err(|error| SendError::Sink { id, error }))
            }
            None if truth.phase == Phase::Closed => Poll::Ready(Ok(())),
            // The error was reported by the call that polled the sink.
            None if truth.phase == Phase::Failed => Poll::Ready(Err(SendError::Closed(id))),
            None => Poll::Ready(Err(SendError::UnknownStream(id))),
        });
        panicked.defuse();
        closed
    }
}

impl<Si> Drop for Closing<Si> {
    fn drop(&mut self) {
        self.sink.leave(&mut self.waiter);
    }
}
