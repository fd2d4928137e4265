//! Unflushed sinks, and the flushers and selects that drive them.

use super::{BATCH, LOOKUP, Registry};
use crate::sink::flush_set::FlushSet;
use crate::sink::slot::SinkSlot;
use crate::unwind::{Afterwards, Steps, afterwards, on_panic};
use std::sync::Arc;

/// Unflushed sinks.
impl<St, Si> Registry<St, Si> {
    pub(crate) fn flushes(&self) -> &FlushSet<SinkSlot<Si>> {
        &self.flushes
    }

    /// Counts a driver: a flusher or a select. If the wake of another driver panics, or the drop of a sink that has left,
    /// this one is not counted.
    pub(crate) fn attach_flusher(&self) {
        if self.flushes.attach() {
            self.place_unflushed();
        }
    }

    /// Gives each unflushed sink a place, for the first driver, which was counted just now.
    fn place_unflushed(&self) {
        let uncounted = on_panic(|| self.detach_flusher());
        self.for_each_sink(|sink| sink.leave_unflushed());
        uncounted.defuse();
    }

    /// Uncounts a driver. Without a driver, the set of unflushed sinks is emptied.
    pub(crate) fn detach_flusher(&self) {
        if !self.flushes.detach() {
            return;
        }
        let mut steps = Steps::default();
        let mut sinks = [const { None }; LOOKUP];
        let mut from = 0;
        while let Some(next) = self.flushes.some(from, &mut sinks) {
            from = next;
            steps.for_each(sinks.iter_mut().filter_map(Option::take), |sink| sink.stop_flushing());
        }
        steps.finish();
    }

    /// Calls `visit` with each sink, in batches, with no lock held. If one call panics, the others are made all the same:
    /// another driver may have been counted meanwhile, and that one does not visit the sinks.
    fn for_each_sink(&self, mut visit: impl FnMut(Arc<SinkSlot<Si>>)) {
        let mut steps = Steps::default();
        let mut sinks = [const { None }; LOOKUP];
        let mut from = Some(0);
        while let Some(slot) = from {
            from = self.some_sinks(slot, &mut sinks);
            steps.for_each(sinks.iter_mut().filter_map(Option::take), &mut visit);
        }
        steps.finish();
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

#[cfg(all(test, not(loom_models)))]
mod tests {
    use super::*;
    use crate::engine::patience::Patience;
    use crate::id::StreamId;
    use crate::options::ChannelOptions;
    use crate::sink::flush_set::Turn;
    use crate::wait_list::Waiter;
    use std::panic::{AssertUnwindSafe, catch_unwind};
    use std::task::{Wake, Waker};

    struct Panics;

    impl Wake for Panics {
        fn wake(self: Arc<Self>) {
            panic!("as the test wants");
        }
    }

    /// Takes the turns of all places, and returns how many those were.
    fn turns(registry: &Registry<(), ()>) -> (usize, usize) {
        let (mut turns, mut out) = (0, Vec::new());
        loop {
            match registry.flushes.next_turn(&mut Patience::default()) {
                Turn::Poll(key, entry) => {
                    turns += 1;
                    out.push((key, entry));
                }
                Turn::Idle(epoch) => return (turns, epoch),
                Turn::Yield => {}
            }
        }
    }

    /// A driver comes while the first one still visits the sinks, and its waker panics: every sink has a place, and the
    /// first one, which its owner never gets, is not counted.
    #[test]
    fn a_waker_that_panics_leaves_no_driver_behind() {
        const SINKS: usize = 200;
        let registry = Registry::<(), ()>::new();
        registry.add_channel(1, ChannelOptions::new()).unwrap();
        let ids: Vec<StreamId> = (0..SINKS)
            .map(|_| {
                let slot = |id, sink, flushes: &Arc<_>| Some(SinkSlot::new(id, sink, Arc::clone(flushes)));
                registry.add((), (), slot, 1).unwrap_or_else(|_| unreachable!("the channel is open"))
            })
            .collect();
        // What is done with a sink in place may leave it unflushed.
        ids.iter()
            .for_each(|id| registry.sink(*id).expect("it was added").with(|()| ()).expect("it is there"));

        assert!(registry.flushes.attach(), "the first one");
        assert!(!registry.flushes.attach(), "the other one does not visit the sinks");
        let (none, epoch) = turns(&registry);
        let mut waiter = Waiter::default();
        assert!(registry.flushes.tasks().wait(&mut waiter, epoch, Waker::from(Arc::new(Panics))));
        assert!(catch_unwind(AssertUnwindSafe(|| registry.place_unflushed())).is_err());
        assert_eq!((none, turns(&registry).0), (0, SINKS));
        assert!(registry.flushes.detach(), "the other one is the last");
    }
}
