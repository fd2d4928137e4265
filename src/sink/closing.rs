//! One sink on its way to being closed.

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

/// What becomes of the pair of a sink that was closed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Pair {
    /// It stays until its stream ends. If the sink fails it stays, too.
    Stays,
    /// It is removed, also if the sink fails.
    Goes,
}

impl Pair {
    /// To be called when the closing has come to its end.
    pub(crate) fn settle<St, Si>(self, registry: &Registry<St, Si>, id: StreamId, is_closed: bool) {
        match self {
            Self::Goes => drop(registry.remove(id)),
            Self::Stays if is_closed => drop(registry.remove_closed(id)),
            Self::Stays => {}
        }
    }

    /// A sink's poll panicked, or somebody who was told of its end: whatever is over is settled. A task's waker that
    /// panics while the sink goes on costs no pair.
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

/// A sink, for as long as it takes to flush and close it.
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

    /// From its first call on nothing more is handed to the sink. Waits if it gets a context. When it is ready the
    /// caller [settles](Pair::settle) what becomes of the pair; after a panic it may be called again, and goes on.
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
                let closed = ready!(Pin::new(sink).poll_close(cx));
                // From here on nobody polls it any more.
                truth.phase = if closed.is_ok() { Phase::Closed } else { Phase::Failed };
                truth.unflushed = false;
                Poll::Ready(closed.map_err(|error| SendError::Sink { id, error }))
            }
            None if truth.phase == Phase::Closed => Poll::Ready(Ok(())),
            // Somebody was told how.
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
