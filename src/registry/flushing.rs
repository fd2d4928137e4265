//! The sinks that have something unflushed, and who drives them.

use super::{BATCH, LOOKUP, Registry};
use crate::sink::flush_set::FlushSet;
use crate::sink::slot::SinkSlot;
use crate::unwind::{Afterwards, afterwards, for_each};
use std::sync::Arc;

/// Sinks with something unflushed.
impl<St, Si> Registry<St, Si> {
    pub(crate) fn flushes(&self) -> &FlushSet<SinkSlot<Si>> {
        &self.flushes
    }

    /// Counts somebody who drives them.
    pub(crate) fn attach_flusher(&self) {
        if self.flushes.attach() {
            self.for_each_sink(|sink| sink.leave_unflushed());
        }
    }

    /// Counts him no more. When nobody drives them they are not kept.
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

    /// Calls `visit` with each sink, with no lock held, batch by batch.
    fn for_each_sink(&self, mut visit: impl FnMut(Arc<SinkSlot<Si>>)) {
        let mut sinks = [const { None }; LOOKUP];
        let mut from = Some(0);
        while let Some(slot) = from {
            from = self.some_sinks(slot, &mut sinks);
            for_each(sinks.iter_mut().filter_map(Option::take), &mut visit);
        }
    }

    /// The sinks of the pairs in slot `from` and behind, as many as `sinks` has room for, at one lock pair. Goes through
    /// so many slots as others may wait for, and returns the slot to go on from, if there are more.
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

    /// It is closed and no pair is left, if so: whoever drives the sinks ends.
    pub(super) fn wake_flushers_if(&self, is_over: bool) -> Afterwards<impl FnOnce() + use<'_, St, Si>> {
        afterwards(move || {
            if is_over {
                self.flushes.end();
            }
        })
    }
}
