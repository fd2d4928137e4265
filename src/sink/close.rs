//! [`CloseSink`]: a sink flushed and closed. [`CloseStream`]: the same, and its pair removed.

use crate::error::SendError;
use crate::id::StreamId;
use crate::registry::Registry;
use crate::sink::slot::{Phase, SinkSlot};
use crate::unwind::on_panic;
use crate::wait_list::Waiter;
use futures_core::future::FusedFuture;
use futures_sink::Sink;
use std::fmt;
use std::future::Future;
use std::marker::PhantomData;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};

/// A sink that is being closed; from [`Multiplexer::close_sink`](crate::Multiplexer::close_sink).
///
/// # Panics
///
/// When polled again after it was ready.
#[must_use = "futures do nothing unless awaited"]
pub struct CloseSink<'a, St, Si, T> {
    registry: &'a Registry<St, Si>,
    id: StreamId,
    /// Found when it is first polled.
    sink: Option<Arc<SinkSlot<Si>>>,
    waiter: Waiter,
    terminated: bool,
    items: PhantomData<fn(T)>,
}

impl<'a, St, Si, T> CloseSink<'a, St, Si, T> {
    pub(crate) fn new(registry: &'a Registry<St, Si>, id: StreamId) -> Self {
        Self { registry, id, sink: None, waiter: Waiter::default(), terminated: false, items: PhantomData }
    }
}

impl<St, Si: Sink<T> + Unpin, T> CloseSink<'_, St, Si, T> {
    /// Closes the sink. What becomes of the pair is the caller's.
    fn poll_close(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), SendError<Si::Error>>> {
        let Self { registry, id, sink, waiter, terminated, .. } = self;
        assert!(!*terminated, "polled after it was ready");
        let (registry, id) = (*registry, *id);
        let sink = match sink {
            Some(sink) => sink,
            None => {
                let Some(found) = registry.sink(id) else {
                    *terminated = true;
                    return Poll::Ready(Err(SendError::UnknownStream(id)));
                };
                drop(found.advance(Phase::Closing));
                sink.insert(found)
            }
        };
        let closed = sink.poll_with(Some((cx, waiter)), |truth, sink| match sink {
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
        *terminated = closed.is_ready();
        closed
    }
}

impl<St, Si: Sink<T> + Unpin, T> Future for CloseSink<'_, St, Si, T> {
    type Output = Result<(), SendError<Si::Error>>;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let this = self.get_mut();
        let (registry, id) = (this.registry, this.id);
        // Also when it was closed, and whoever is told of it panics.
        let removal = on_panic(|| {
            if registry.sink(id).is_some_and(|sink| sink.phase() == Phase::Gone) {
                drop(registry.remove(id));
            } else {
                drop(registry.remove_closed(id));
            }
        });
        let closed = this.poll_close(cx);
        removal.defuse();
        if let Poll::Ready(Ok(())) = closed {
            drop(registry.remove_closed(id));
        }
        closed
    }
}

impl<St, Si: Sink<T> + Unpin, T> FusedFuture for CloseSink<'_, St, Si, T> {
    fn is_terminated(&self) -> bool {
        self.terminated
    }
}

impl<St, Si, T> Drop for CloseSink<'_, St, Si, T> {
    fn drop(&mut self) {
        if let Some(sink) = &self.sink {
            sink.leave(&mut self.waiter);
        }
    }
}

impl<St, Si, T> fmt::Debug for CloseSink<'_, St, Si, T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("CloseSink").field("id", &self.id).finish_non_exhaustive()
    }
}

/// A stream that is being closed; from [`Multiplexer::close_stream`](crate::Multiplexer::close_stream).
///
/// # Panics
///
/// When polled again after it was ready.
#[must_use = "futures do nothing unless awaited"]
pub struct CloseStream<'a, St, Si, T> {
    sink: CloseSink<'a, St, Si, T>,
}

impl<'a, St, Si, T> CloseStream<'a, St, Si, T> {
    pub(crate) fn new(registry: &'a Registry<St, Si>, id: StreamId) -> Self {
        Self { sink: CloseSink::new(registry, id) }
    }
}

impl<St, Si: Sink<T> + Unpin, T> Future for CloseStream<'_, St, Si, T> {
    type Output = Result<(), SendError<Si::Error>>;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let this = self.get_mut();
        let (registry, id) = (this.sink.registry, this.sink.id);
        // Also when it was closed, and whoever is told of it panics.
        let removal = on_panic(|| {
            if registry.sink(id).is_some_and(|sink| sink.phase() >= Phase::Failed) {
                drop(registry.remove(id));
            }
        });
        let closed = this.sink.poll_close(cx);
        removal.defuse();
        let closed = ready!(closed);
        drop(registry.remove(id));
        Poll::Ready(closed)
    }
}

impl<St, Si: Sink<T> + Unpin, T> FusedFuture for CloseStream<'_, St, Si, T> {
    fn is_terminated(&self) -> bool {
        self.sink.terminated
    }
}

impl<St, Si, T> fmt::Debug for CloseStream<'_, St, Si, T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("CloseStream").field("id", &self.sink.id).finish_non_exhaustive()
    }
}
