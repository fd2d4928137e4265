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

/// A future that sends one item to one stream. Returned by [`Multiplexer::send_one`](crate::Multiplexer::send_one),
/// which has an example.
///
/// # Panics
///
/// If it is polled again after it has completed.
#[must_use = "futures do nothing unless awaited"]
pub struct SendOne<'a, St, Si, T> {
    registry: &'a Registry<St, Si>,
    id: StreamId,
    /// `None` after the first poll.
    item: Option<T>,
    delivery: Option<Delivery<Si, T>>,
    /// An item that the sink did not take.
    refused: Option<T>,
}

impl<'a, St, Si, T> SendOne<'a, St, Si, T> {
    pub(crate) fn new(registry: &'a Registry<St, Si>, id: StreamId, item: T) -> Self {
        Self { registry, id, item: Some(item), delivery: None, refused: None }
    }

    /// Takes the item back, if the sink does not have it: after an error, or instead of waiting any longer. Returns `None`
    /// if the sink has it.
    ///
    /// After this call the send no longer waits, as if it had been dropped.
    ///
    /// ```
    /// use futures::{FutureExt, channel::mpsc, stream};
    /// use stream_multiplexer::Multiplexer;
    ///
    /// let multiplexer = Multiplexer::new();
    /// multiplexer.add_channel(1)?;
    /// let (sink, _peer) = mpsc::channel(0);
    /// let id = multiplexer.add_stream_pair(sink, stream::pending::<()>(), 1)?;
    /// multiplexer.try_send(id, "one").unwrap();
    ///
    /// // With a timer: `if timeout(SECOND, &mut send).await.is_err() {`
    /// let mut send = multiplexer.send_one(id, "two");
    /// if (&mut send).now_or_never().is_none() {
    ///     assert_eq!(send.take_item(), Some("two"));
    /// }
    /// # Ok::<(), stream_multiplexer::MultiplexerError>(())
    /// ```
    pub fn take_item(&mut self) -> Option<T> {
        let of_delivery = self.delivery.take().and_then(|mut delivery| delivery.take_item());
        self.item.take().or(of_delivery).or_else(|| self.refused.take())
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
                this.refused = Some(item);
                return Poll::Ready(Err(SendError::UnknownStream(this.id)));
            };
            this.delivery = Some(Delivery::new(this.id, sink, Some(item)));
        }
        let delivery = this.delivery.as_mut().expect("polled after completion");
        let sent = ready!(delivery.poll(this.registry, cx));
        if sent.is_err() {
            this.refused = delivery.take_item();
        }
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
