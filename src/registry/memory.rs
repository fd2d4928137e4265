//! Releasing memory.

use super::{BATCH, Registry, Seat};
use crate::channel::Channel;
use crate::sink::slot::SinkSlot;
use crate::unwind::for_each;
use std::sync::Arc;

/// Memory.
impl<St, Si> Registry<St, Si> {
    pub(crate) fn shrink_to_fit(&self) {
        let mut channels = Vec::new();
        self.for_each_channel(|all, key| channels.push((key, Arc::clone(&all.all[key].channel))));
        for_each(channels, |(key, channel)| self.compact(key, &channel));
        self.shrink_sinks();
        drop(self.flushes.shrink_to_fit());
        let mut state = self.state.lock();
        state.pairs.shrink_to_fit();
        state.channels.all.shrink_to_fit();
    }

    /// Moves the members of a channel into a smaller rotation, under the registry's lock, because the registry records the
    /// slot of each pair.
    pub(super) fn compact(&self, key: usize, channel: &Channel<St>) {
        let rotation = channel.new_rotation();
        let mut state = self.state.lock();
        let pairs = &mut state.pairs;
        let (wake, surplus) = channel.compact(rotation, |pair, slot| pairs[pair].seat = Seat::new(key, slot));
        drop(state);
        drop(surplus);
        drop(channel.tasks().shrink_to_fit());
        drop(channel.drained().shrink_to_fit());
        channel.wake(wake);
    }

    pub(super) fn shrink_sinks(&self) {
        let mut batch = Vec::with_capacity(BATCH);
        let mut from = 0;
        loop {
            let state = self.state.lock();
            if from >= state.pairs.capacity() {
                return;
            }
            let sinks = (from..from + BATCH).filter_map(|key| state.pairs.get(key)?.sink.clone());
            batch.extend(sinks);
            drop(state);
            from += BATCH;
            batch.drain(..).for_each(|sink: Arc<SinkSlot<Si>>| drop(sink.shrink_to_fit()));
        }
    }
}
