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
    pub(super) fn for_each_sink(&self, mut visit: impl FnMut(Arc<SinkSlot<Si>>)) {
        let mut batch = Vec::with_capacity(BATCH);
        let mut from = 0;
        loop {
            let state = self.state.lock();
            let until = state.pairs.capacity().min(from + BATCH);
            let pairs = (from..until).filter_map(|key| state.pairs.get(key));
            batch.extend(pairs.filter_map(|pair| pair.sink.clone()));
            let is_done = until == state.pairs.capacity();
            drop(state);
            for_each(batch.drain(..), &mut visit);
            if is_done {
                return;
            }
            from = until;
        }
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
