//! Unflushed sinks, and the flushers and selects that drive them.

use super::{BATCH, LOOKUP, Registry};
use crate::sink::flush_set::FlushSet;
use crate::sink::slot::SinkSlot;
use crate::unwind::{Afterwards, afterwards, for_each};
use std::sync::Arc;

/// Unflushed sinks.
impl<St, Si> Registry<St, Si> {
    pub(crate) fn flushes(&self) -> &FlushSet<SinkSlot<Si>> {
        &self.flushes
    }

    /// Counts a driver: a flusher or a select.
    pub(crate) fn attach_flusher(&self) {
        if self.flushes.attach() {
            self.for_each_sink(|sink| sink.leave_unflushed());
        }
    }

    /// Uncounts a driver. Without a driver, the set of unflushed sinks is emptied.
    pub(crate) fn detach_flusher(&self) {
        if !self.flushes.detach() {
            return;
        }
        let mut sinks = [const { None }; LOOKUP];
        let mut from = 0;
        while let Some(next) = self.flushes.some(from, &mut sinks) {
            from = next;
            for_each(sinks.iter_mut().filter_map(Option::take), |sink| sink.stop_flushing());
        }
    }

    /// Calls `visit` with each sink, in batches, with no lock held.
    fn for_each_sink(&self, mut visit: impl FnMut(Arc<SinkSlot<Si>>)) {
        let mut sinks = [const { None }; LOOKUP];
        let mut from = Some(0);
        while let Some(slot) = from {
            from = self.some_sinks(slot, &mut sinks);
            for_each(sinks.iter_mut().filter_map(Option::take), &mut visit);
        }
    }

    /// Collects the sinks of pairs from slot `from` on, as many as `sinks` has room for, at one lock pair. Visits at most
    /// [`BATCH`] slots. Returns the next slot, if there are more.
    pub(crate) fn some_sinks(&self, from: usize, sinks: &mut [Option<Arc<SinkSlot<Si>>>]) -> Option<usize> {
        let state = self.state.lock();
        let end = state.pairs.capacity();
        let mut room = sinks.iter_mut();
        for slot in from..end.min(from + BATCH) {
            let Some(sink) = state.pairs.get(slot).and_then(|pair| pair.sink.as_ref()) else { continue };
            match room.next() {
                Some(room) => *room = Some(Arc::clone(sink)),
                None => return Some(slot),
            }
        }
        Some(from + BATCH).filter(|next| *next < end)
    }

    /// Ends the drivers if `is_over`: the multiplexer is closed, and no pair is left.
    pub(super) fn wake_flushers_if(&self, is_over: bool) -> Afterwards<impl FnOnce() + use<'_, St, Si>> {
        afterwards(move || {
            if is_over {
                self.flushes.end();
            }
        })
    }
}
