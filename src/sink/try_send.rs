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

/// Whether what a sink took is flushed at once.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Flush {
    AtOnce,
    Later,
}

/// What came of one.
type Tried<Si, T> = Result<(), TrySendError<T, <Si as Sink<T>>::Error>>;

/// To one stream.
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

/// To many streams. Returns how many sinks have it.
pub(crate) fn to_many<St, Si: Sink<T> + Unpin, T: Clone>(
    registry: &Registry<St, Si>,
    ids: impl IntoIterator<Item = StreamId>,
    item: &T,
    mut refused: impl FnMut(StreamId, TrySendError<T, Si::Error>),
) -> usize {
    let mut ids = ids.into_iter();
    let mut batch = Batch { registry, item, sent: 0, steps: Steps::default() };
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

/// To all that are in a channel. Returns how many sinks have it.
pub(crate) fn to_channel<St, Si: Sink<T> + Unpin, T: Clone>(
    registry: &Registry<St, Si>,
    channel: ChannelId,
    item: &T,
    mut refused: impl FnMut(StreamId, TrySendError<T, Si::Error>),
) -> Result<usize, MultiplexerError> {
    let channel = registry.channel(channel)?;
    let mut batch = Batch { registry, item, sent: 0, steps: Steps::default() };
    let mut sinks = [const { None }; LOOKUP];
    let mut from = Some(0);
    while let Some(key) = from {
        from = registry.channel_sinks(&channel, key, &mut sinks);
        let found = sinks.iter_mut().filter_map(Option::take).map(|sink| (sink.id(), Some(sink)));
        batch.offer(found, &mut refused);
    }
    Ok(batch.finish())
}

/// An item that is offered to many. When one sink panics the others are tried all the same, and then that panic goes
/// on.
struct Batch<'a, St, Si, T> {
    registry: &'a Registry<St, Si>,
    item: &'a T,
    sent: usize,
    steps: Steps,
}

impl<St, Si: Sink<T> + Unpin, T: Clone> Batch<'_, St, Si, T> {
    fn offer(
        &mut self,
        sinks: impl Iterator<Item = (StreamId, Option<Arc<SinkSlot<Si>>>)>,
        mut refused: impl FnMut(StreamId, TrySendError<T, Si::Error>),
    ) {
        let Self { registry, item, sent, steps } = self;
        steps.for_each(sinks, |(id, sink)| {
            let item = (*item).clone();
            let offered = match sink {
                Some(sink) => offer(registry, &sink, item, Flush::AtOnce),
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
            Flush::AtOnce => match poll_flush(truth, sink, cx) {
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

/// A flush was tried, and is not complete: the sink goes to those who are to be flushed, if somebody drives them. It is
/// asked once more, after the epoch, so that it need have no turn there before it wakes: that would wake their driver,
/// which asks it the same.
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

/// Why a sink that is gone, or about to go, does not take an item.
#[cold]
fn gone<T, E>(item: &mut Option<T>, phase: Phase) -> TrySendError<T, E> {
    let item = item.take().expect("it has it still");
    match phase {
        Phase::Closing | Phase::Closed | Phase::Failed => TrySendError::Closed(item),
        Phase::Open | Phase::Ending | Phase::Gone => TrySendError::Unknown(item),
    }
}
