//! [`RemovedPair`]: a pair that was removed from the registry.

use crate::channel::member::{BoxedMember, Member};
use crate::event::StreamPair;
use crate::id::StreamId;
use crate::sink::slot::{Phase, SinkSlot};
use crate::unwind::afterwards;
use std::sync::Arc;

/// A pair that was removed from the registry, with its foreign values. The values are dropped one by one, even if a drop
/// panics.
pub(crate) struct RemovedPair<St, Si> {
    pub(super) id: StreamId,
    member: Option<BoxedMember<St>>,
    slot: Option<Arc<SinkSlot<Si>>>,
    /// The sink, after it was taken out of its slot.
    sink: Option<Si>,
    /// The phase to which the slot advances.
    pub(super) phase: Phase,
}

impl<St, Si> RemovedPair<St, Si> {
    pub(super) fn new(
        id: StreamId,
        member: Option<BoxedMember<St>>,
        slot: Option<Arc<SinkSlot<Si>>>,
    ) -> Self {
        Self { id, member, slot, sink: None, phase: Phase::Gone }
    }

    /// Takes the sink out of its slot, and wakes the tasks that wait for it.
    pub(crate) fn reclaim_sink(&mut self) {
        let phase = self.phase;
        self.sink = self.slot.take().and_then(|slot| slot.advance(phase));
    }

    /// Returns the pair for the user. To be called after [`reclaim_sink`](Self::reclaim_sink).
    pub(crate) fn hand_back(mut self) -> StreamPair<St, Si>
    where
        St: Unpin,
    {
        let stream = self.member.take().map(Member::into_stream);
        StreamPair { id: self.id, stream, sink: self.sink.take() }
    }
}

impl<St, Si> Drop for RemovedPair<St, Si> {
    fn drop(&mut self) {
        let stream_dropped = self.member.take().map(|member| afterwards(|| drop(member)));
        let sink_dropped = self.sink.take().map(|sink| afterwards(|| drop(sink)));
        let phase = self.phase;
        drop(self.slot.take().map(|slot| afterwards(move || drop(slot.advance(phase)))));
        drop(sink_dropped);
        drop(stream_dropped);
    }
}
