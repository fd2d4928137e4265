//! Sending without waiting: to one, to many, and to all in a channel.

use crate::error::{MultiplexerError, TrySendError};
use crate::id::{ChannelId, StreamId};
use crate::registry::{LOOKUP, Registry};
use crate::sink::delivery::{poll_flush, poll_ready, remove_if_over, start_send};
use crate::sink::flush_set::Notes;
use crate::sink::slot::{Phase, SinkSlot, Truth};
use crate::unwind::{Steps, on_panic};
use futures_sink::Sink;
use std::sync::Arc;
use std::task::{Context, Poll};

/// When an item is flushed that a sink has taken.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Flush {
    /// In the same poll.
    Now,
    /// By a later send, or by a driver of the flush set.
    Later,
}

/// The result for one sink.
type Tried<Si, T> = Result<(), TrySendError<T, <Si as Sink<T>>::Error>>;

/// Offers an item to one stream.
#[inline]
pub(crate) fn to_one<St, Si: Sink<T> + Unpin, T>(
    registry: &Registry<St, Si>,
    id: StreamId,
    item: T,
    flush: Flush,
) -> Tried<Si, T> {
    match registry.sink(id) {
        Some(sink) => offer(registry, &sink, item, flush),
        None => Err(TrySendError::Unknown(item)),
    }
}

/// Offers clones of an item to many streams. Returns how many sinks have one.
pub(crate) fn to_many<St, Si: Sink<T> + Unpin, T: Clone>(
    registry: &Registry<St, Si>,
    ids: impl IntoIterator<Item = StreamId>,
    item: &T,
    flush: Flush,
    mut refused: impl FnMut(StreamId, TrySendError<T, Si::Error>),
) -> usize {
    let mut ids = ids.into_iter();
    let mut batch = Batch { registry, item, flush, sent: 0, steps: Steps::default() };
    let mut sinks = [const { None }; LOOKUP];
    loop {
        let mut names = [None; LOOKUP];
        let filled =
            names.iter_mut().zip(ids.by_ref().take(LOOKUP)).map(|(name, id)| *name = Some(id)).count();
        if filled == 0 {
            return batch.finish();
        }
        registry.sinks(names.iter().flatten().copied(), &mut sinks);
        let found = names.iter().flatten().zip(&mut sinks).map(|(id, sink)| (*id, sink.take()));
        batch.offer(found, &mut refused);
    }
}

/// Offers clones of an item to all streams that are in a channel. Returns how many sinks have one.
pub(crate) fn to_channel<St, Si: Sink<T> + Unpin, T: Clone>(
    registry: &Registry<St, Si>,
    channel: ChannelId,
    item: &T,
    flush: Flush,
    mut refused: impl FnMut(StreamId, TrySendError<T, Si::Error>),
) -> Result<usize, MultiplexerError> {
    // `refused` may add streams to the channel. Without an end, it might add one for each that it was called for.
    let (channel, end) = registry.channel_now(channel)?;
    let mut batch = Batch { registry, item, flush, sent: 0, steps: Steps::default() };
    let mut sinks = [const { None }; LOOKUP];
    let mut from = Some(0);
    while let Some(key) = from {
        from = registry.channel_sinks(&channel, end, key, &mut sinks);
        let found = sinks.iter_mut().filter_map(Option::take).map(|sink| (sink.id(), Some(sink)));
        batch.offer(found, &mut refused);
    }
    Ok(batch.finish())
}

/// An item that is offered to many sinks. If one of them panics, the others are tried all the same, and then that panic
/// goes on.
struct Batch<'a, St, Si, T> {
    registry: &'a Registry<St, Si>,
    item: &'a T,
    flush: Flush,
    sent: usize,
    steps: Steps,
}

impl<St, Si: Sink<T> + Unpin, T: Clone> Batch<'_, St, Si, T> {
    fn offer(
        &mut self,
        sinks: impl Iterator<Item = (StreamId, Option<Arc<SinkSlot<Si>>>)>,
        mut refused: impl FnMut(StreamId, TrySendError<T, Si::Error>),
    ) {
        let Self { registry, item, flush, sent, steps } = self;
        steps.for_each(sinks, |(id, sink)| {
            let item = (*item).clone();
            let offered = match sink {
                Some(sink) => offer(registry, &sink, item, *flush),
                None => Err(TrySendError::Unknown(item)),
            };
            match offered {
                Ok(()) => *sent += 1,
                Err(error) => refused(id, error),
            }
        });
    }
}

impl<St, Si, T> Batch<'_, St, Si, T> {
    fn finish(self) -> usize {
        self.steps.finish();
        self.sent
    }
}

/// Gives an item to a sink that takes it now.
#[inline]
fn offer<St, Si: Sink<T> + Unpin, T>(
    registry: &Registry<St, Si>,
    slot: &SinkSlot<Si>,
    item: T,
    flush: Flush,
) -> Tried<Si, T> {
    let mut item = Some(item);
    let lost = on_panic(|| remove_if_over(registry, slot.id(), slot));
    let notes = &Notes::default();
    let tried = slot.try_noting(notes, |truth, sink| {
        let Some((sink, cx)) = sink else { return Err(gone(&mut item, truth.phase)) };
        if truth.phase != Phase::Open {
            return Err(gone(&mut item, truth.phase));
        }
        match poll_ready(truth, sink, cx) {
            Poll::Ready(Ok(())) => {}
            Poll::Ready(Err(error)) => return Err(TrySendError::Sink { item: item.take(), error }),
            Poll::Pending => return Err(TrySendError::Full(item.take().expect("put in above"))),
        }
        let given = start_send(truth, sink, item.take().expect("put in above"));
        let flushed = given.and_then(|()| match flush {
            Flush::Now => match poll_flush(truth, sink, cx) {
                Poll::Ready(flushed) => flushed,
                Poll::Pending => flush_once_more(slot, notes, truth, sink, cx),
            },
            Flush::Later => Ok(()),
        });
        flushed.map_err(|error| TrySendError::Sink { item: None, error })
    });
    lost.defuse();
    tried.unwrap_or_else(|| Err(TrySendError::Busy(item.take().expect("put in above"))))
}

/// Flushes a sink again whose flush was not complete. The sink is about to get a place in the flush set, if that has a
/// driver. This second flush comes after the epoch was read, so the place can wait for the sink's wake and needs no turn
/// before that. (A turn would wake the driver, which would only flush in vain once more.)
#[cold]
fn flush_once_more<Si: Sink<T> + Unpin, T>(
    slot: &SinkSlot<Si>,
    notes: &Notes,
    truth: &mut Truth<Si>,
    sink: &mut Si,
    cx: &mut Context<'_>,
) -> Result<(), Si::Error> {
    if truth.has_place {
        return Ok(());
    }
    notes.epoch.set(slot.epoch_for_place());
    if notes.epoch.get().is_none() {
        return Ok(());
    }
    match poll_flush(truth, sink, cx) {
        Poll::Ready(flushed) => flushed,
        Poll::Pending => Ok(()),
    }
}

/// The error of a sink that is gone, or is about to go. Takes the item out.
#[cold]
fn gone<T, E>(item: &mut Option<T>, phase: Phase) -> TrySendError<T, E> {
    let item = item.take().expect("it has it still");
    match phase {
        Phase::Closing | Phase::Closed | Phase::Failed => TrySendError::Closed(item),
        Phase::Open | Phase::Ending | Phase::Gone => TrySendError::Unknown(item),
    }
}
