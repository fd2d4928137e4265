//! [`SenderClosed`] completes when nothing more can be sent to a stream.

use crate::sink::slot::SinkSlot;
use crate::wait_list::Waiter;
use std::fmt;
use std::future::Future;
use std::pin::Pin;
use std::sync::Weak;
use std::task::{Context, Poll};

/// A future that completes when nothing more can be sent. Returned by
/// [`StreamSender::closed`](crate::StreamSender::closed), which has an example.
#[must_use = "futures do nothing unless awaited"]
pub struct SenderClosed<'a, Si> {
    /// `None` if there is nothing to wait for. It does not keep the sink.
    sink: Option<&'a Weak<SinkSlot<Si>>>,
    waiter: Waiter,
}

impl<'a, Si> SenderClosed<'a, Si> {
    pub(crate) fn new(sink: Option<&'a Weak<SinkSlot<Si>>>) -> Self {
        Self { sink, waiter: Waiter::default() }
    }
}

impl<Si> Future for SenderClosed<'_, Si> {
    type Output = ();

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<()> {
        let this = self.get_mut();
        // Before the last strong reference is dropped, the sink has left `Open`, and that wakes all waiters.
        match this.sink.and_then(Weak::upgrade) {
            Some(sink) => sink.poll_not_open(cx, &mut this.waiter),
            None => Poll::Ready(()),
        }
    }
}

impl<Si> Drop for SenderClosed<'_, Si> {
    fn drop(&mut self) {
        if let Some(sink) = self.sink.and_then(Weak::upgrade) {
            sink.leave(&mut self.waiter);
        }
    }
}

impl<Si> fmt::Debug for SenderClosed<'_, Si> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("SenderClosed").finish_non_exhaustive()
    }
}
