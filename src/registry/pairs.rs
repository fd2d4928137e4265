//! Pairs: adding, moving, removing, and access in place.

use super::{Pair, Registry, RemovedPair, Seat, pair_mut};
use crate::channel::Channel;
use crate::channel::member::Member;
use crate::channel::slots::{Absent, Left, Wake};
use crate::error::{AddStreamError, MultiplexerError};
use crate::event::Departure;
use crate::id::{ChannelId, StreamId};
use crate::sink::flush_set::FlushSet;
use crate::sink::slot::SinkSlot;
use crate::unwind::{afterwards, on_panic};
use std::pin::Pin;
use std::sync::Arc;

/// Pairs.
impl<St, Si> Registry<St, Si> {
    /// Adds a stream, with the slot that `slot` makes of its sink. On error, returns both.
    pub(crate) fn add<S>(
        &self,
        stream: St,
        sink: S,
        slot: impl FnOnce(StreamId, S, &Arc<FlushSet<SinkSlot<Si>>>) -> Option<Arc<SinkSlot<Si>>>,
        channel: ChannelId,
    ) -> Result<StreamId, AddStreamError<St, S>> {
        let mut guard = self.state.lock();
        let state = &mut *guard;
        let found = match state.channels.closed {
            true => Err(MultiplexerError::Closed),
            false => state.channels.find_with_place(channel),
        };
        let (channel_key, channel) = match found {
            Ok((key, channel)) => (key, Arc::clone(channel)),
            Err(error) => {
                drop(guard);
                return Err(AddStreamError::new(error, sink, stream));
            }
        };
        let vacant = state.pairs.vacant_entry();
        let id = StreamId::new(state.next, vacant.key());
        state.next = state.next.checked_add(1).expect("fewer than 2^64 pairs are ever added");
        let (key, wake) = channel.seat(Member::new(id, stream));
        let seat = Seat::new(channel_key, key);
        vacant.insert(Pair { serial: id.serial(), seat, sink: slot(id, sink, &self.flushes) });
        drop(guard);

        channel.wake(wake);
        Ok(id)
    }

    pub(crate) fn change_channel(&self, id: StreamId, to: ChannelId) -> Result<(), MultiplexerError> {
        let mut guard = self.state.lock();
        let state = &mut *guard;
        let pair = pair_mut(&mut state.pairs, id).ok_or(MultiplexerError::UnknownStream(id))?;
        let from = Arc::clone(state.channels.of(pair.seat));
        if from.id() == to && state.channels.find(to).is_ok_and(|(key, _)| key == pair.seat.channel()) {
            return Ok(());
        }
        let (to_key, listed) = state.channels.find_open(to)?;
        if listed.is_full() {
            // The permanent reason is reported first.
            let has_ended = from.is_kept(pair.seat.key());
            return Err(if has_ended { MultiplexerError::Ended(id) } else { listed.refuse() });
        }
        let to = Arc::clone(&listed.channel);
        let departure = Departure::Moved(to.id());
        let left = from.depart(pair.seat.key(), id, departure).map_err(|_| MultiplexerError::Ended(id))?;
        let (key, wake_to) = match left.member {
            Some(member) => to.seat_moved(member, left.is_paused),
            None => (to.expect(id.key(), left.is_paused), Wake::NONE),
        };
        pair.seat = Seat::new(to_key, key);
        drop(guard);

        let woken_there = afterwards(|| to.wake(wake_to));
        from.wake(left.wake);
        drop(woken_there);
        Ok(())
    }

    /// Removes a pair.
    pub(crate) fn remove(&self, id: StreamId) -> Option<RemovedPair<St, Si>> {
        self.remove_if(id, |_, _| true)
    }

    /// Removes a pair if it is in this channel.
    pub(crate) fn remove_from(&self, id: StreamId, channel: ChannelId) -> Option<RemovedPair<St, Si>> {
        self.remove_if(id, |current, _| current.id() == channel)
    }

    /// Removes a pair whose sink was closed, if its stream has ended and was kept for the sink.
    pub(crate) fn remove_closed(&self, id: StreamId) -> Option<RemovedPair<St, Si>> {
        self.remove_if(id, Channel::is_kept)
    }

    pub(super) fn remove_if(
        &self,
        id: StreamId,
        is_meant: impl FnOnce(&Channel<St>, usize) -> bool,
    ) -> Option<RemovedPair<St, Si>> {
        let mut guard = self.state.lock();
        let state = &mut *guard;
        let seat = pair_mut(&mut state.pairs, id)?.seat;
        let channel = Arc::clone(state.channels.of(seat));
        if !is_meant(&channel, seat.key()) {
            return None;
        }
        let pair = state.pairs.remove(id.key());
        let left = channel.depart(seat.key(), id, Departure::Removed);
        let Left { member, wake, .. } = left.expect("any stream may be removed");
        let is_over = state.is_over();
        drop(guard);

        let pair = RemovedPair::new(id, member, pair.sink);
        let flushers_woken = self.wake_flushers_if(is_over);
        channel.wake(wake);
        drop(flushers_woken);
        Some(pair)
    }

    pub(crate) fn channel_of(&self, id: StreamId) -> Option<ChannelId> {
        let mut guard = self.state.lock();
        let state = &mut *guard;
        let seat = pair_mut(&mut state.pairs, id)?.seat;
        Some(state.channels.of(seat).id())
    }

    pub(crate) fn sink(&self, id: StreamId) -> Option<Arc<SinkSlot<Si>>> {
        pair_mut(&mut self.state.lock().pairs, id)?.sink.clone()
    }

    /// Collects the sinks of some streams, in their order, at one lock pair.
    pub(crate) fn sinks(&self, ids: impl Iterator<Item = StreamId>, sinks: &mut [Option<Arc<SinkSlot<Si>>>]) {
        let mut state = self.state.lock();
        for (id, sink) in ids.zip(sinks) {
            debug_assert!(sink.is_none());
            *sink = pair_mut(&mut state.pairs, id).and_then(|pair| pair.sink.clone());
        }
    }
}

/// Streams and sinks in place.
impl<St, Si> Registry<St, Si> {
    /// Runs `f` with a stream, taken out of its channel as for a poll.
    pub(crate) fn with_stream<R>(
        &self,
        id: StreamId,
        f: impl FnOnce(Pin<&mut St>) -> R,
    ) -> Result<R, MultiplexerError> {
        let mut guard = self.state.lock();
        let state = &mut *guard;
        let seat = pair_mut(&mut state.pairs, id).ok_or(MultiplexerError::UnknownStream(id))?.seat;
        let channel = Arc::clone(state.channels.of(seat));
        let member = channel.take_out(seat.key());
        drop(guard);
        let member = member.map_err(|absent| match absent {
            Absent::Away => MultiplexerError::Busy(id),
            Absent::Ended => MultiplexerError::Ended(id),
        })?;
        Ok(channel.with_stream(self, seat.key(), member, f))
    }

    /// Runs `f` with a sink, taken out of its slot as for a poll.
    pub(crate) fn with_sink<R>(
        &self,
        id: StreamId,
        f: impl FnOnce(&mut Si) -> R,
    ) -> Result<R, MultiplexerError> {
        let slot = self.sink(id).ok_or(MultiplexerError::UnknownStream(id))?;
        let lost = on_panic(|| {
            if slot.is_over() {
                drop(self.remove(id));
            }
        });
        let result = slot.with(f);
        lost.defuse();
        result.ok_or_else(|| {
            if slot.is_over() { MultiplexerError::UnknownStream(id) } else { MultiplexerError::Busy(id) }
        })
    }
}
