//! The delivery of one item to one sink.

use crate::error::SendError;
use crate::id::StreamId;
use crate::registry::Registry;
use crate::sink::flush_set::Notes;
use crate::sink::slot::{Phase, SinkSlot, Truth};
use crate::unwind::on_panic;
use crate::wait_list::Waiter;
use futures_sink::Sink;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};

/// An item and its sink, until the sink has the item and is flushed.
pub(crate) struct Delivery<Si, T> {
    id: StreamId,
    sink: Arc<SinkSlot<Si>>,
    item: Option<T>,
    waiter: Waiter,
}

impl<Si, T> Delivery<Si, T> {
    /// `item` is `None` if the sink already has it and only the flush is left.
    pub(crate) fn new(id: StreamId, sink: Arc<SinkSlot<Si>>, item: Option<T>) -> Self {
        Self { id, sink, item, waiter: Waiter::default() }
    }

    /// Whether the sink has the item.
    pub(crate) fn is_handed_over(&self) -> bool {
        self.item.is_none()
    }

    /// The item, if the sink does not have it.
    pub(crate) fn take_item(&mut self) -> Option<T> {
        self.item.take()
    }
}

impl<Si: Sink<T> + Unpin, T> Delivery<Si, T> {
    #[inline]
    pub(crate) fn poll<St>(
        &mut self,
        registry: &Registry<St, Si>,
        cx: &mut Context<'_>,
    ) -> Poll<Result<StreamId, SendError<Si::Error>>> {
        let Self { id, sink, item, waiter } = self;
        attempt(registry, *id, sink, item, Some((cx, waiter)))
    }
}

impl<Si, T> Drop for Delivery<Si, T> {
    fn drop(&mut self) {
        self.sink.leave(&mut self.waiter);
    }
}

/// Delivers an item as far as the sink allows now. With `waiting`, it waits for the rest.
///
/// The sink gets the item in the same poll in which it is ready, so no other sender comes between. From then on `item` is
/// `None`. Then the sink is flushed.
#[inline]
pub(crate) fn attempt<St, Si: Sink<T> + Unpin, T>(
    registry: &Registry<St, Si>,
    id: StreamId,
    sink: &SinkSlot<Si>,
    item: &mut Option<T>,
    waiting: Option<(&mut Context<'_>, &mut Waiter)>,
) -> Poll<Result<StreamId, SendError<Si::Error>>> {
    let removal = on_panic(|| remove_if_over(registry, id, sink));
    let polled = sink.poll_with(waiting, |truth, sink| match sink {
        Some((sink, cx)) => deliver(id, item, truth, sink, cx),
        None => Poll::Ready(without_sink(id, item.is_none(), truth.phase)),
    });
    removal.defuse();
    polled.map_ok(|()| id)
}

/// Removes a pair whose sink is gone because its own poll panicked. If a task's waker panics, the pair stays.
#[cold]
pub(crate) fn remove_if_over<St, Si>(registry: &Registry<St, Si>, id: StreamId, sink: &SinkSlot<Si>) {
    if sink.is_over() {
        drop(registry.remove(id));
    }
}

/// Gives the item to the sink, unless the sink has it, and flushes.
#[inline]
pub(crate) fn deliver<Si: Sink<T> + Unpin, T>(
    id: StreamId,
    item: &mut Option<T>,
    truth: &mut Truth<Si>,
    sink: &mut Si,
    cx: &mut Context<'_>,
) -> Poll<Result<(), SendError<Si::Error>>> {
    ready!(hand_over(id, item, truth, sink, cx))?;
    poll_flush(truth, sink, cx).map_err(|error| SendError::Sink { id, error })
}

/// Gives the item to the sink, unless the sink has it.
#[inline]
pub(crate) fn hand_over<Si: Sink<T> + Unpin, T>(
    id: StreamId,
    item: &mut Option<T>,
    truth: &mut Truth<Si>,
    sink: &mut Si,
    cx: &mut Context<'_>,
) -> Poll<Result<(), SendError<Si::Error>>> {
    if item.is_none() {
        return Poll::Ready(Ok(()));
    }
    if truth.phase == Phase::Closing {
        return Poll::Ready(Err(SendError::Closed(id)));
    }
    let sent = ready!(poll_ready(truth, sink, cx)).and_then(|()| {
        let item = item.take().expect("looked above");
        start_send(truth, sink, item)
    });
    Poll::Ready(sent.map_err(|error| SendError::Sink { id, error }))
}

/// Asks a sink whether it is ready.
#[inline]
pub(crate) fn poll_ready<Si: Sink<T> + Unpin, T>(
    truth: &mut Truth<Si>,
    sink: &mut Si,
    cx: &mut Context<'_>,
) -> Poll<Result<(), Si::Error>> {
    truth.asked += 1;
    let polled = Pin::new(sink).poll_ready(cx);
    truth.is_pending = Some(polled.is_pending());
    polled.map_err(|error| fail(truth, error))
}

/// Gives an item to a sink that is ready.
#[inline]
pub(crate) fn start_send<Si: Sink<T> + Unpin, T>(
    truth: &mut Truth<Si>,
    sink: &mut Si,
    item: T,
) -> Result<(), Si::Error> {
    truth.asked += 1;
    truth.unflushed = true;
    truth.how = Some(flush_unnamed::<Si, T>);
    Pin::new(sink).start_send(item).map_err(|error| fail(truth, error))
}

/// Flushes a sink, if it is unflushed.
#[inline]
pub(crate) fn poll_flush<Si: Sink<T> + Unpin, T>(
    truth: &mut Truth<Si>,
    sink: &mut Si,
    cx: &mut Context<'_>,
) -> Poll<Result<(), Si::Error>> {
    if !truth.unflushed {
        return Poll::Ready(Ok(()));
    }
    let polled = Pin::new(sink).poll_flush(cx);
    truth.is_pending = Some(polled.is_pending());
    match polled {
        Poll::Ready(flushed) => {
            truth.unflushed = false;
            Poll::Ready(flushed.map_err(|error| fail(truth, error)))
        }
        Poll::Pending => {
            truth.flush_waits = true;
            Poll::Pending
        }
    }
}

/// Flushes a sink in its turn. Waits if the flush does not complete.
#[inline]
pub(crate) fn flush<Si: Sink<T> + Unpin, T>(
    slot: &SinkSlot<Si>,
    notes: &Notes,
    cx: &mut Context<'_>,
    waiter: &mut Waiter,
) -> Poll<Result<(), Si::Error>> {
    slot.poll_noting(notes, Some((cx, waiter)), |truth, sink| match sink {
        Some((sink, cx)) => poll_flush(truth, sink, cx),
        // Its place in the flush set is over.
        None => Poll::Ready(Ok(())),
    })
}

/// [`flush`] for a driver that does not know `T`: a [`How`](crate::sink::flush_set::How).
pub(crate) fn flush_unnamed<Si: Sink<T> + Unpin, T>(
    slot: &SinkSlot<Si>,
    notes: &Notes,
    cx: &mut Context<'_>,
    waiter: &mut Waiter,
    failed: &mut Option<StreamId>,
) {
    if let Poll::Ready(Err(error)) = flush::<Si, T>(slot, notes, cx, waiter) {
        *failed = Some(slot.id());
        drop(error);
    }
}

/// Notes that a sink has failed: it is not polled again. The caller reports the error.
#[cold]
fn fail<Si, E>(truth: &mut Truth<Si>, error: E) -> E {
    truth.phase = Phase::Failed;
    error
}

/// The result for an item whose sink is gone or has failed.
pub(crate) fn without_sink<E>(id: StreamId, handed_over: bool, phase: Phase) -> Result<(), SendError<E>> {
    match (handed_over, phase) {
        // Closing flushes.
        (true, Phase::Closed) => Ok(()),
        (true, _) => Err(SendError::Unflushed(id)),
        (false, Phase::Closed | Phase::Failed) => Err(SendError::Closed(id)),
        (false, _) => Err(SendError::UnknownStream(id)),
    }
}
