//! [`SendOne`]: one item to one stream.

use crate::error::SendError;
use crate::id::StreamId;
use crate::registry::Registry;
use crate::sink::delivery::Delivery;
use futures_core::future::FusedFuture;
use futures_sink::Sink;
use std::fmt;
use std::future::Future;
use std::pin::Pin;
use std::task::{Context, Poll, ready};

/// One item on its way to one stream; from [`Multiplexer::send_one`](crate::Multiplexer::send_one).
///
/// # Panics
///
/// When polled again after it was ready.
#[must_use = "futures do nothing unless awaited"]
pub struct SendOne<'a, St, Si, T> {
    registry: &'a Registry<St, Si>,
    id: StreamId,
    /// Until it is first polled.
    item: Option<T>,
    delivery: Option<Delivery<Si, T>>,
}

impl<'a, St, Si, T> SendOne<'a, St, Si, T> {
    pub(crate) fn new(registry: &'a Registry<St, Si>, id: StreamId, item: T) -> Self {
        Self { registry, id, item: Some(item), delivery: None }
    }
}

/// Nothing in it is pinned.
impl<St, Si, T> Unpin for SendOne<'_, St, Si, T> {}

impl<St, Si: Sink<T> + Unpin, T> Future for SendOne<'_, St, Si, T> {
    type Output = Result<(), SendError<Si::Error>>;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let this = self.get_mut();
        if let Some(item) = this.item.take() {
            let Some(sink) = this.registry.sink(this.id) else {
                return Poll::Ready(Err(SendError::UnknownStream(this.id)));
            };
            this.delivery = Some(Delivery::new(this.id, sink, Some(item)));
        }
        let delivery = this.delivery.as_mut().expect("polled after it was ready");
        let sent = ready!(delivery.poll(this.registry, cx));
        this.delivery = None;
        Poll::Ready(sent.map(|_| ()))
    }
}

impl<St, Si: Sink<T> + Unpin, T> FusedFuture for SendOne<'_, St, Si, T> {
    fn is_terminated(&self) -> bool {
        self.item.is_none() && self.delivery.is_none()
    }
}

impl<St, Si, T> fmt::Debug for SendOne<'_, St, Si, T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("SendOne").field("id", &self.id).finish_non_exhaustive()
    }
}
