//! [`CloseStream`]: a sink flushed and closed, and its pair removed.

use crate::error::SendError;
use crate::id::StreamId;
use crate::registry::Registry;
use crate::sink::delivery::remove_if_over;
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

/// A stream that is being closed; from [`Multiplexer::close_stream`](crate::Multiplexer::close_stream).
///
/// # Panics
///
/// When polled again after it was ready.
#[must_use = "futures do nothing unless awaited"]
pub struct CloseStream<'a, St, Si, T> {
    registry: &'a Registry<St, Si>,
    id: StreamId,
    /// Found when it is first polled.
    sink: Option<Arc<SinkSlot<Si>>>,
    waiter: Waiter,
    terminated: bool,
    items: PhantomData<fn(T)>,
}

impl<'a, St, Si, T> CloseStream<'a, St, Si, T> {
    pub(crate) fn new(registry: &'a Registry<St, Si>, id: StreamId) -> Self {
        Self { registry, id, sink: None, waiter: Waiter::default(), terminated: false, items: PhantomData }
    }
}

impl<St, Si: Sink<T> + Unpin, T> Future for CloseStream<'_, St, Si, T> {
    type Output = Result<(), SendError<Si::Error>>;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let Self { registry, id, sink, waiter, terminated, .. } = self.get_mut();
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
        // Also when it was closed, and whoever is told of it panics.
        let removal = on_panic(|| remove_if_over(registry, id, sink));
        let closed = sink.poll_with(Some((cx, waiter)), |truth, sink| match sink {
            Some((sink, cx)) => {
                let closed = ready!(Pin::new(sink).poll_close(cx));
                // From here on nobody polls it any more.
                truth.phase = if closed.is_ok() { Phase::Closed } else { Phase::Gone };
                truth.unflushed = false;
                Poll::Ready(closed.map_err(|error| SendError::Sink { id, error }))
            }
            None if truth.phase == Phase::Closed => Poll::Ready(Ok(())),
            // Somebody was told how.
            None if truth.phase == Phase::Failed => Poll::Ready(Err(SendError::Closed(id))),
            None => Poll::Ready(Err(SendError::UnknownStream(id))),
        });
        removal.defuse();
        let closed = ready!(closed);
        drop(registry.remove(id));
        *terminated = true;
        Poll::Ready(closed)
    }
}

impl<St, Si: Sink<T> + Unpin, T> FusedFuture for CloseStream<'_, St, Si, T> {
    fn is_terminated(&self) -> bool {
        self.terminated
    }
}

impl<St, Si, T> Drop for CloseStream<'_, St, Si, T> {
    fn drop(&mut self) {
        if let Some(sink) = &self.sink {
            sink.leave(&mut self.waiter);
        }
    }
}

impl<St, Si, T> fmt::Debug for CloseStream<'_, St, Si, T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("CloseStream").field("id", &self.id).finish_non_exhaustive()
    }
}
