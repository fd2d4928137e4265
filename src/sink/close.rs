//! [`CloseSink`] flushes and closes a sink. [`CloseStream`] also removes its pair.

use crate::error::SendError;
use crate::id::StreamId;
use crate::registry::Registry;
use crate::sink::closing::{Closing, Pair};
use futures_core::future::FusedFuture;
use futures_sink::Sink;
use std::fmt;
use std::future::Future;
use std::marker::PhantomData;
use std::pin::Pin;
use std::task::{Context, Poll, ready};

/// A future that closes a sink. Returned by [`Multiplexer::close_sink`](crate::Multiplexer::close_sink), which has an
/// example.
///
/// # Panics
///
/// If it is polled again after it has completed.
#[must_use = "futures do nothing unless awaited"]
pub struct CloseSink<'a, St, Si, T> {
    close: Close<'a, St, Si, T>,
}

/// A future that closes a pair. Returned by [`Multiplexer::close_stream`](crate::Multiplexer::close_stream), which has an
/// example.
///
/// # Panics
///
/// If it is polled again after it has completed.
#[must_use = "futures do nothing unless awaited"]
pub struct CloseStream<'a, St, Si, T> {
    close: Close<'a, St, Si, T>,
}

struct Close<'a, St, Si, T> {
    registry: &'a Registry<St, Si>,
    id: StreamId,
    pair: Pair,
    /// Created by the first poll.
    closing: Option<Closing<Si>>,
    terminated: bool,
    items: PhantomData<fn(T)>,
}

impl<'a, St, Si, T> Close<'a, St, Si, T> {
    fn new(registry: &'a Registry<St, Si>, id: StreamId, pair: Pair) -> Self {
        Self { registry, id, pair, closing: None, terminated: false, items: PhantomData }
    }
}

impl<St, Si: Sink<T> + Unpin, T> Close<'_, St, Si, T> {
    fn poll(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), SendError<Si::Error>>> {
        let Self { registry, id, pair, closing, terminated, .. } = self;
        assert!(!*terminated, "polled after completion");
        let closing = match closing {
            Some(closing) => closing,
            None => match registry.sink(*id) {
                Some(sink) => closing.insert(Closing::new(sink)),
                None => {
                    *terminated = true;
                    // A stream without a sink. All that is left to do is to remove it.
                    pair.settle(registry, *id, false);
                    return Poll::Ready(Err(SendError::UnknownStream(*id)));
                }
            },
        };
        let closed = ready!(closing.poll(registry, *pair, Some(cx)));
        *terminated = true;
        pair.settle(registry, *id, closed.is_ok());
        Poll::Ready(closed)
    }
}

impl<'a, St, Si, T> CloseSink<'a, St, Si, T> {
    pub(crate) fn new(registry: &'a Registry<St, Si>, id: StreamId) -> Self {
        Self { close: Close::new(registry, id, Pair::Stays) }
    }
}

impl<St, Si: Sink<T> + Unpin, T> Future for CloseSink<'_, St, Si, T> {
    type Output = Result<(), SendError<Si::Error>>;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        self.get_mut().close.poll(cx)
    }
}

impl<St, Si: Sink<T> + Unpin, T> FusedFuture for CloseSink<'_, St, Si, T> {
    fn is_terminated(&self) -> bool {
        self.close.terminated
    }
}

impl<St, Si, T> fmt::Debug for CloseSink<'_, St, Si, T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("CloseSink").field("id", &self.close.id).finish_non_exhaustive()
    }
}

impl<'a, St, Si, T> CloseStream<'a, St, Si, T> {
    pub(crate) fn new(registry: &'a Registry<St, Si>, id: StreamId) -> Self {
        Self { close: Close::new(registry, id, Pair::Goes) }
    }
}

impl<St, Si: Sink<T> + Unpin, T> Future for CloseStream<'_, St, Si, T> {
    type Output = Result<(), SendError<Si::Error>>;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        self.get_mut().close.poll(cx)
    }
}

impl<St, Si: Sink<T> + Unpin, T> FusedFuture for CloseStream<'_, St, Si, T> {
    fn is_terminated(&self) -> bool {
        self.close.terminated
    }
}

impl<St, Si, T> fmt::Debug for CloseStream<'_, St, Si, T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("CloseStream").field("id", &self.close.id).finish_non_exhaustive()
    }
}
