//! The turn of a sink with something unflushed: taken out of its place, flushed, and put back.

use crate::engine::patience::Patience;
use crate::id::StreamId;
use crate::registry::Registry;
use crate::sink::delivery::remove_if_over;
use crate::sink::flush_set::{Entry, Turn};
use crate::sink::slot::{SinkSlot, leave};
use crate::unwind::{afterwards, on_panic};
use crate::wait_list::Waiter;
use std::task::Context;

/// What came of a turn.
pub(crate) enum Flushed {
    /// It is over.
    Turn,
    /// It is nobody's; the epoch for [`WaitList::wait`](crate::wait_list::WaitList::wait).
    Idle(usize),
    /// There were enough turns for one call.
    Yield,
}

/// Flushes the sink whose turn it is, by one who does not know what it takes. If that fails, `failed` has the name,
/// also if the drop of the error panics.
///
/// A sink is passed over as long as nobody has said how it is flushed; when somebody does, it has its turn.
pub(crate) fn flush_next<St, Si>(
    registry: &Registry<St, Si>,
    patience: &mut Patience,
    failed: &mut Option<StreamId>,
) -> Flushed {
    match registry.flushes().next_turn(patience) {
        Turn::Poll(key, entry) => {
            take_turn(registry, key, entry, patience, |sink, cx, waiter| {
                if let Some(how) = registry.flushes().how() {
                    how(sink, cx, waiter, failed);
                }
            });
            Flushed::Turn
        }
        Turn::Idle(epoch) => Flushed::Idle(epoch),
        Turn::Yield => Flushed::Yield,
    }
}

/// Polls a sink that was taken out of its place, and puts it back.
pub(crate) fn take_turn<St, Si, R>(
    registry: &Registry<St, Si>,
    key: usize,
    entry: Entry<SinkSlot<Si>>,
    patience: &mut Patience,
    poll: impl FnOnce(&SinkSlot<Si>, &mut Context<'_>, &mut Waiter) -> R,
) -> R {
    let mut out = Out { registry, key, entry: Some(entry), patience, again: true };
    let Entry { sink, waiter, waker } = out.entry.as_mut().expect("put in above");
    let lost = on_panic(|| remove_if_over(registry, sink.id(), sink));
    let polled = poll(sink, &mut Context::from_waker(waker), waiter);
    lost.defuse();
    out.again = false;
    polled
}

/// An entry that was taken out. It is put back, whatever panics.
struct Out<'a, St, Si> {
    registry: &'a Registry<St, Si>,
    key: usize,
    entry: Option<Entry<SinkSlot<Si>>>,
    patience: &'a mut Patience,
    /// Whether it is to have a turn at once: its poll did not come to an end.
    again: bool,
}

impl<St, Si> Drop for Out<'_, St, Si> {
    fn drop(&mut self) {
        let Some(entry) = self.entry.take() else { return };
        let flushes = self.registry.flushes();
        let (over, wake) = flushes.put_back(self.key, entry, self.again, self.patience);
        let drivers_woken = afterwards(|| {
            if wake {
                flushes.wake();
            }
        });
        drop(afterwards(|| leave(over)));
        drop(drivers_woken);
    }
}
