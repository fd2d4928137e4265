//! One turn of an unflushed sink: take its entry out of the flush set, flush the sink, put the entry back.

use crate::engine::patience::Patience;
use crate::id::StreamId;
use crate::registry::Registry;
use crate::sink::delivery::remove_if_over;
use crate::sink::flush_set::{Entry, FlushSet, Notes, Polled, Turn};
use crate::sink::slot::{SinkSlot, leave};
use crate::unwind::{afterwards, on_panic};
use crate::wait_list::Waiter;
use std::task::Context;

/// The result of [`flush_next`].
pub(crate) enum Flushed {
    /// A sink had its turn.
    Turn,
    /// No sink is ready; the epoch for [`WaitList::wait`](crate::wait_list::WaitList::wait).
    Idle(usize),
    /// There were enough turns for one call.
    Yield,
}

/// Flushes the next sink, for a driver that does not know the item type of the sinks. If the sink fails, `failed` is set
/// to its id, even if the drop of the error panics.
///
/// Until [`FlushSet::learn`] is called, a turn does not poll the sink. `learn` makes every sink ready again.
pub(crate) fn flush_next<St, Si>(
    registry: &Registry<St, Si>,
    patience: &mut Patience,
    failed: &mut Option<StreamId>,
) -> Flushed {
    match registry.flushes().next_turn(patience) {
        Turn::Poll(key, entry) => {
            take_turn(registry, key, entry, patience, |sink, notes, cx, waiter| {
                if let Some(how) = registry.flushes().how() {
                    how(sink, notes, cx, waiter, failed);
                }
            });
            Flushed::Turn
        }
        Turn::Idle(epoch) => Flushed::Idle(epoch),
        Turn::Yield => Flushed::Yield,
    }
}

/// Polls the sink of an entry that was taken out, and puts the entry back.
#[inline]
pub(crate) fn take_turn<St, Si, R>(
    registry: &Registry<St, Si>,
    key: usize,
    entry: Entry<SinkSlot<Si>>,
    patience: &mut Patience,
    poll: impl FnOnce(&SinkSlot<Si>, &Notes, &mut Context<'_>, &mut Waiter) -> R,
) -> R {
    let notes = Notes { entry: Some(key), ..Notes::default() };
    let flushes = registry.flushes();
    let mut out = Out { flushes, key, entry: Some(entry), patience, notes: &notes, is_done: false };
    let Entry { sink, waiter, waker } = out.entry.as_mut().expect("put in above");
    let lost = on_panic(|| remove_if_over(registry, sink.id(), sink));
    let polled = poll(sink, &notes, &mut Context::from_waker(waker), waiter);
    lost.defuse();
    out.is_done = true;
    polled
}

/// An entry that was taken out. Its drop puts it back, even during a panic.
struct Out<'a, Si> {
    flushes: &'a FlushSet<SinkSlot<Si>>,
    key: usize,
    entry: Option<Entry<SinkSlot<Si>>>,
    patience: &'a mut Patience,
    notes: &'a Notes,
    /// Whether the poll of the sink has returned.
    is_done: bool,
}

impl<Si> Drop for Out<'_, Si> {
    #[inline]
    fn drop(&mut self) {
        let Some(entry) = self.entry.take() else { return };
        let polled = match self.is_done {
            _ if self.notes.is_over.get() => Polled::Over,
            true => Polled::Done,
            false => Polled::Again,
        };
        let (over, wake) = self.flushes.put_back(self.key, entry, polled, self.patience);
        if over.is_none() && !wake {
            return;
        }
        let drivers_woken = afterwards(|| {
            if wake {
                self.flushes.wake();
            }
        });
        drop(afterwards(|| leave(over)));
        drop(drivers_woken);
    }
}
