//! Who is where: the control plane.
//!
//! One lock orders all that adds, moves and removes pairs and channels. Where a pair's stream belongs is
//! what the registry says, from the moment a call returns; if the stream is being polled at that moment it
//! comes there when the poll returns ([`Control::arrive`]).
//!
//! **Lock order**: the registry's, then a channel's. A sink's is taken alone. No foreign code runs under
//! any of them: what is to be dropped or woken is carried out of the lock.

use crate::channel::{Channel, Control, Member, Wake};
use crate::error::{AddStreamError, MultiplexerError};
use crate::event::{Departure, StreamPair};
use crate::id::{ChannelId, StreamId};
use crate::sink_slot::{Phase, SinkSlot};
use crate::sync::Mutex;
use crate::unwind::{afterwards, for_each, on_panic};
use slab::Slab;
use std::collections::BTreeMap;
use std::collections::btree_map::Entry;
use std::num::NonZeroU64;
use std::sync::Arc;

pub(crate) struct Registry<St, Si> {
    state: Mutex<State<St, Si>>,
}

struct State<St, Si> {
    channels: BTreeMap<ChannelId, Arc<Channel<St>>>,
    pairs: Slab<Pair<St, Si>>,
    /// The serial of the next pair.
    next: NonZeroU64,
    closed: bool,
    /// All handles are gone.
    abandoned: bool,
}

struct Pair<St, Si> {
    serial: NonZeroU64,
    /// `None` when the stream ended and the sink was kept.
    seat: Option<Seat<St>>,
    /// `None` when the stream was added without one.
    sink: Option<Arc<SinkSlot<Si>>>,
}

/// A stream's slot in a channel.
struct Seat<St> {
    channel: Arc<Channel<St>>,
    key: usize,
}

impl<St, Si> Registry<St, Si> {
    pub(crate) fn new() -> Self {
        let state = State {
            channels: BTreeMap::new(),
            pairs: Slab::new(),
            next: NonZeroU64::MIN,
            closed: false,
            abandoned: false,
        };
        Self { state: Mutex::new(state) }
    }

    pub(crate) fn add_channel(&self, id: ChannelId, half_close: bool) -> Result<(), MultiplexerError> {
        let mut state = self.state.lock();
        if state.closed {
            return Err(MultiplexerError::Closed);
        }
        match state.channels.entry(id) {
            Entry::Occupied(_) => Err(MultiplexerError::DuplicateChannel(id)),
            Entry::Vacant(vacant) => {
                vacant.insert(Arc::new(Channel::new(id, half_close)));
                Ok(())
            }
        }
    }

    pub(crate) fn channel(&self, id: ChannelId) -> Result<Arc<Channel<St>>, MultiplexerError> {
        self.state.lock().channel(id).cloned()
    }

    pub(crate) fn channel_ids(&self) -> Vec<ChannelId> {
        self.state.lock().channels.keys().copied().collect()
    }

    /// The streams of a channel, the oldest first.
    pub(crate) fn channel_streams(&self, id: ChannelId) -> Option<Vec<StreamId>> {
        let state = self.state.lock();
        let pairs = state.channels.get(&id)?.pairs();
        let mut streams: Vec<_> =
            pairs.into_iter().map(|key| StreamId::new(state.pairs[key].serial, key)).collect();
        drop(state);
        streams.sort_unstable();
        Some(streams)
    }

    pub(crate) fn remove_channel(&self, id: ChannelId) -> Option<Vec<StreamPair<St, Si>>> {
        let mut state = self.state.lock();
        let channel = state.channels.remove(&id)?;
        let (streams, unheard) = channel.remove();
        let mut parts = Vec::with_capacity(streams.len());
        for (key, member) in streams {
            let pair = state.pairs.remove(key);
            parts.push((StreamId::new(pair.serial, key), member, pair));
        }
        drop(state);
        drop(unheard);

        parts.sort_unstable_by_key(|(id, ..)| *id);
        let mut pairs = Vec::with_capacity(parts.len());
        let receivers_told = afterwards(|| channel.tasks().wake_all());
        for_each(parts, |(id, member, pair)| pairs.push(pair.hand_back(id, member)));
        drop(receivers_told);
        Some(pairs)
    }

    /// Adds a stream, with the slot that `slot` makes of what comes with it; or says why not and gives both
    /// back.
    pub(crate) fn add<S>(
        &self,
        stream: St,
        sink: S,
        slot: impl FnOnce(S) -> Option<Arc<SinkSlot<Si>>>,
        channel: ChannelId,
    ) -> Result<StreamId, AddStreamError<St, S>> {
        let mut guard = self.state.lock();
        let state = &mut *guard;
        let channel = match state.channel(channel) {
            _ if state.closed => Err(MultiplexerError::Closed),
            found => found.cloned(),
        };
        let channel = match channel {
            Ok(channel) => channel,
            Err(error) => {
                drop(guard);
                return Err(AddStreamError { error, stream, sink });
            }
        };
        let vacant = state.pairs.vacant_entry();
        let id = StreamId::new(state.next, vacant.key());
        state.next = state.next.checked_add(1).expect("nobody lives to see 2^64 pairs");
        let (key, wake) = channel.seat(Box::new(Member::new(id, stream)));
        let seat = Some(Seat { channel: Arc::clone(&channel), key });
        vacant.insert(Pair { serial: id.serial(), seat, sink: slot(sink) });
        drop(guard);

        channel.wake(wake);
        Ok(id)
    }

    pub(crate) fn change_channel(&self, id: StreamId, to: ChannelId) -> Result<(), MultiplexerError> {
        let mut guard = self.state.lock();
        let state = &mut *guard;
        let to = state.channel(to).cloned();
        let Some(seat) = state.pair_mut(id).and_then(|pair| pair.seat.as_mut()) else {
            return Err(MultiplexerError::UnknownStream(id));
        };
        let to = to?;
        if Arc::ptr_eq(&seat.channel, &to) {
            return Ok(());
        }
        let (member, wake_from) = seat.channel.depart(seat.key, id, Departure::Moved(to.id()));
        let (key, wake_to) = match member {
            Some(member) => to.seat(member),
            None => (to.expect(id.key()), Wake::NONE),
        };
        let from = std::mem::replace(seat, Seat { channel: Arc::clone(&to), key }).channel;
        drop(guard);

        let told_there = afterwards(|| to.wake(wake_to));
        from.wake(wake_from);
        drop(told_there);
        Ok(())
    }

    pub(crate) fn remove(&self, id: StreamId) -> Option<StreamPair<St, Si>> {
        let mut guard = self.state.lock();
        let state = &mut *guard;
        state.pair_mut(id)?;
        let mut pair = state.pairs.remove(id.key());
        let seat = pair.seat.take();
        let left = seat.map(|seat| (seat.channel.depart(seat.key, id, Departure::Removed), seat.channel));
        drop(guard);

        let Some(((member, wake), channel)) = left else { return Some(pair.hand_back(id, None)) };
        let receivers_told = afterwards(|| channel.wake(wake));
        let pair = pair.hand_back(id, member);
        drop(receivers_told);
        Some(pair)
    }

    pub(crate) fn channel_of(&self, id: StreamId) -> Option<ChannelId> {
        let mut state = self.state.lock();
        state.pair_mut(id)?.seat.as_ref().map(|seat| seat.channel.id())
    }

    pub(crate) fn sink(&self, id: StreamId) -> Option<Arc<SinkSlot<Si>>> {
        self.state.lock().pair_mut(id)?.sink.clone()
    }

    /// The sinks of some streams, in their order, at one lock pair.
    pub(crate) fn sinks(&self, ids: impl Iterator<Item = StreamId>, sinks: &mut [Option<Arc<SinkSlot<Si>>>]) {
        let mut state = self.state.lock();
        for (id, sink) in ids.zip(sinks) {
            debug_assert!(sink.is_none());
            *sink = state.pair_mut(id).and_then(|pair| pair.sink.clone());
        }
    }

    pub(crate) fn close(&self) {
        let mut state = self.state.lock();
        if std::mem::replace(&mut state.closed, true) {
            return;
        }
        let channels: Vec<_> = state.channels.values().cloned().collect();
        channels.iter().for_each(|channel| channel.close());
        drop(state);

        for_each(&channels, |channel| channel.tasks().wake_all());
    }

    /// Closes, and lets go of the sinks that were kept without their streams: nobody is left to send to them.
    pub(crate) fn abandon(&self) {
        let closed = afterwards(|| self.close());
        let mut state = self.state.lock();
        state.abandoned = true;
        let kept: Vec<_> =
            state.pairs.iter().filter(|(_, pair)| pair.seat.is_none()).map(|(key, _)| key).collect();
        let sinks: Vec<_> = kept.into_iter().filter_map(|key| state.pairs.remove(key).sink).collect();
        drop(state);
        for_each(sinks, |sink| drop(sink.advance(Phase::Ending)));
        drop(closed);
    }

    pub(crate) fn is_closed(&self) -> bool {
        self.state.lock().closed
    }

    /// How many channels and pairs there are.
    pub(crate) fn len(&self) -> (usize, usize) {
        let state = self.state.lock();
        (state.channels.len(), state.pairs.len())
    }
}

impl<St, Si> Drop for Registry<St, Si> {
    /// Drops each stream and sink, whichever of them panics. Tells the senders that hold a sink weakly; sends
    /// in flight go on.
    fn drop(&mut self) {
        let mut state = self.state.lock();
        let channels = std::mem::take(&mut state.channels);
        let pairs = std::mem::take(&mut state.pairs);
        drop(state);
        let streams = channels.values().flat_map(|channel| channel.remove().0);
        let streams_dropped = afterwards(|| for_each(streams, drop));
        let sinks = pairs.into_iter().filter_map(|(_, pair)| pair.sink);
        for_each(sinks, |sink| drop(sink.advance(Phase::Ending)));
        drop(streams_dropped);
    }
}

impl<St, Si> Control<St> for Registry<St, Si> {
    fn arrive(&self, member: Box<Member<St>>) {
        let mut guard = self.state.lock();
        let state = &mut *guard;
        let Some(seat) = state.pair_mut(member.id).and_then(|pair| pair.seat.as_ref()) else {
            drop(guard);
            drop(member);
            return;
        };
        let wake = seat.channel.land(seat.key, member);
        let channel = Arc::clone(&seat.channel);
        drop(guard);
        channel.wake(wake);
    }

    fn finish(&self, channel: &Channel<St>, key: usize, mut member: Box<Member<St>>, how: Departure) -> bool {
        let mut guard = self.state.lock();
        let state = &mut *guard;
        let (lasted, wake) = channel.retire(key, &mut member, how);
        let mut elsewhere = None;
        let mut sink = None;
        let abandoned = state.abandoned;
        if let Some(pair) = state.pair_mut(member.id) {
            let seat = pair.seat.take().expect("a stream that is polled has a seat");
            let half_closes = how == Departure::Ended && seat.channel.half_close();
            let keeps_sink = half_closes && pair.sink.is_some() && !abandoned;
            if !lasted {
                // It was moved while it was polled, and never arrives.
                let (_, wake) = seat.channel.depart(seat.key, member.id, how);
                elsewhere = Some((seat.channel, wake));
            }
            if !keeps_sink {
                sink = state.pairs.remove(member.id.key()).sink;
            }
        }
        drop(guard);

        // Each of these runs foreign code, and all of them must happen.
        let id = member.id;
        let untold = on_panic(|| {
            if lasted && how == Departure::Ended {
                channel.tell_departure(id, how);
            }
        });
        let stream_dropped = afterwards(|| drop(member));
        let sink_let_go = afterwards(|| {
            let phase = if how == Departure::Ended { Phase::Ending } else { Phase::Gone };
            drop(sink.map(|sink| sink.advance(phase)));
        });
        let woken_elsewhere = afterwards(|| {
            if let Some((channel, wake)) = elsewhere {
                channel.wake(wake);
            }
        });
        drop(afterwards(|| channel.wake(wake)));
        drop(woken_elsewhere);
        drop(sink_let_go);
        drop(stream_dropped);
        untold.defuse();
        lasted
    }
}

impl<St, Si> State<St, Si> {
    fn channel(&self, id: ChannelId) -> Result<&Arc<Channel<St>>, MultiplexerError> {
        self.channels.get(&id).ok_or(MultiplexerError::UnknownChannel(id))
    }

    fn pair_mut(&mut self, id: StreamId) -> Option<&mut Pair<St, Si>> {
        self.pairs.get_mut(id.key()).filter(|pair| pair.serial == id.serial())
    }
}

impl<St, Si> Pair<St, Si> {
    fn hand_back(self, id: StreamId, member: Option<Box<Member<St>>>) -> StreamPair<St, Si> {
        let stream = member.map(|member| member.stream);
        let sink = self.sink.and_then(|slot| slot.advance(Phase::Gone));
        StreamPair { id, stream, sink }
    }
}
