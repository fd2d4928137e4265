//! Who is where: the control plane.
//!
//! One lock orders all that adds, moves and removes pairs and channels. Where a pair's stream belongs is
//! what the registry says, from the moment a call returns; if the stream is being polled at that moment it
//! comes there when the poll returns ([`Control::arrive`]).
//!
//! **Lock order**: the registry's, then a channel's. A sink's is taken alone. No foreign code runs under
//! any of them: what is to be dropped or woken is carried out of the lock.

use crate::channel::slots::{Member, Wake};
use crate::channel::{Channel, Control};
use crate::error::{AddStreamError, MultiplexerError};
use crate::event::{Departure, StreamPair};
use crate::id::{ChannelId, StreamId};
use crate::sink::slot::{Phase, SinkSlot};
use crate::sync::Mutex;
use crate::unwind::{afterwards, for_each, on_panic};
use slab::Slab;
use std::collections::BTreeMap;
use std::collections::btree_map::Entry;
use std::num::{NonZeroU32, NonZeroU64};
use std::sync::Arc;

pub(crate) struct Registry<St, Si> {
    state: Mutex<State<St, Si>>,
}

struct State<St, Si> {
    channels: Channels<St>,
    pairs: Slab<Pair<Si>>,
    /// The serial of the next pair.
    next: NonZeroU64,
    closed: bool,
    /// All handles are gone.
    abandoned: bool,
}

struct Pair<Si> {
    serial: NonZeroU64,
    /// `None` when the stream ended and the sink was kept.
    seat: Option<Seat>,
    /// `None` when the stream was added without one.
    sink: Option<Arc<SinkSlot<Si>>>,
}

/// A stream's slot in a channel: eight bytes, also where there is none.
#[derive(Clone, Copy)]
struct Seat {
    /// The channel's key in [`Channels`], plus 1.
    channel: NonZeroU32,
    key: u32,
}

impl Seat {
    fn new(channel: usize, key: usize) -> Self {
        let short = |key| u32::try_from(key).expect("there are not that many channels, nor members of one");
        Self { channel: NonZeroU32::MIN.saturating_add(short(channel)), key: short(key) }
    }

    fn channel(self) -> usize {
        self.channel.get() as usize - 1
    }

    fn key(self) -> usize {
        self.key as usize
    }
}

struct Channels<St> {
    /// The keys of the others.
    names: BTreeMap<ChannelId, usize>,
    all: Slab<Arc<Channel<St>>>,
}

impl<St> Channels<St> {
    fn find(&self, id: ChannelId) -> Result<(usize, &Arc<Channel<St>>), MultiplexerError> {
        let key = *self.names.get(&id).ok_or(MultiplexerError::UnknownChannel(id))?;
        Ok((key, &self.all[key]))
    }

    fn of(&self, seat: Seat) -> &Arc<Channel<St>> {
        &self.all[seat.channel()]
    }

    /// In the order of their names.
    fn iter(&self) -> impl Iterator<Item = &Arc<Channel<St>>> {
        self.names.values().map(|&key| &self.all[key])
    }
}

impl<St, Si> Registry<St, Si> {
    pub(crate) fn new() -> Self {
        let state = State {
            channels: Channels { names: BTreeMap::new(), all: Slab::new() },
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
        let Channels { names, all } = &mut state.channels;
        match names.entry(id) {
            Entry::Occupied(_) => Err(MultiplexerError::DuplicateChannel(id)),
            Entry::Vacant(vacant) => {
                vacant.insert(all.insert(Arc::new(Channel::new(id, half_close))));
                Ok(())
            }
        }
    }

    pub(crate) fn channel(&self, id: ChannelId) -> Result<Arc<Channel<St>>, MultiplexerError> {
        self.state.lock().channels.find(id).map(|(_, channel)| Arc::clone(channel))
    }

    pub(crate) fn channel_ids(&self) -> Vec<ChannelId> {
        self.state.lock().channels.names.keys().copied().collect()
    }

    /// The streams of a channel, the oldest first.
    pub(crate) fn channel_streams(&self, id: ChannelId) -> Option<Vec<StreamId>> {
        let state = self.state.lock();
        let pairs = state.channels.find(id).ok()?.1.pairs();
        let mut streams: Vec<_> =
            pairs.into_iter().map(|key| StreamId::new(state.pairs[key].serial, key)).collect();
        drop(state);
        streams.sort_unstable();
        Some(streams)
    }

    pub(crate) fn remove_channel(&self, id: ChannelId) -> Option<Vec<StreamPair<St, Si>>> {
        let mut state = self.state.lock();
        let key = state.channels.names.remove(&id)?;
        let channel = state.channels.all.remove(key);
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
        let found = match state.channels.find(channel) {
            _ if state.closed => Err(MultiplexerError::Closed),
            found => found,
        };
        let (channel_key, channel) = match found {
            Ok((key, channel)) => (key, Arc::clone(channel)),
            Err(error) => {
                drop(guard);
                return Err(AddStreamError { error, stream, sink });
            }
        };
        let vacant = state.pairs.vacant_entry();
        let id = StreamId::new(state.next, vacant.key());
        state.next = state.next.checked_add(1).expect("nobody lives to see 2^64 pairs");
        let (key, wake) = channel.seat(Box::new(Member::new(id, stream)));
        let seat = Some(Seat::new(channel_key, key));
        vacant.insert(Pair { serial: id.serial(), seat, sink: slot(sink) });
        drop(guard);

        channel.wake(wake);
        Ok(id)
    }

    pub(crate) fn change_channel(&self, id: StreamId, to: ChannelId) -> Result<(), MultiplexerError> {
        let mut guard = self.state.lock();
        let state = &mut *guard;
        let Some(seat) = pair_mut(&mut state.pairs, id).and_then(|pair| pair.seat.as_mut()) else {
            return Err(MultiplexerError::UnknownStream(id));
        };
        let from = Arc::clone(state.channels.of(*seat));
        let (to_key, to) = state.channels.find(to)?;
        if Arc::ptr_eq(&from, to) {
            return Ok(());
        }
        let to = Arc::clone(to);
        let (member, wake_from) = from.depart(seat.key(), id, Departure::Moved(to.id()));
        let (key, wake_to) = match member {
            Some(member) => to.seat(member),
            None => (to.expect(id.key()), Wake::NONE),
        };
        *seat = Seat::new(to_key, key);
        drop(guard);

        let told_there = afterwards(|| to.wake(wake_to));
        from.wake(wake_from);
        drop(told_there);
        Ok(())
    }

    pub(crate) fn remove(&self, id: StreamId) -> Option<StreamPair<St, Si>> {
        let mut guard = self.state.lock();
        let state = &mut *guard;
        pair_mut(&mut state.pairs, id)?;
        let pair = state.pairs.remove(id.key());
        let left = pair.seat.map(|seat| {
            let channel = Arc::clone(state.channels.of(seat));
            (channel.depart(seat.key(), id, Departure::Removed), channel)
        });
        drop(guard);

        let Some(((member, wake), channel)) = left else { return Some(pair.hand_back(id, None)) };
        let receivers_told = afterwards(|| channel.wake(wake));
        let pair = pair.hand_back(id, member);
        drop(receivers_told);
        Some(pair)
    }

    pub(crate) fn channel_of(&self, id: StreamId) -> Option<ChannelId> {
        let mut guard = self.state.lock();
        let state = &mut *guard;
        pair_mut(&mut state.pairs, id)?.seat.map(|seat| state.channels.of(seat).id())
    }

    pub(crate) fn sink(&self, id: StreamId) -> Option<Arc<SinkSlot<Si>>> {
        pair_mut(&mut self.state.lock().pairs, id)?.sink.clone()
    }

    /// The sinks of some streams, in their order, at one lock pair.
    pub(crate) fn sinks(&self, ids: impl Iterator<Item = StreamId>, sinks: &mut [Option<Arc<SinkSlot<Si>>>]) {
        let mut state = self.state.lock();
        for (id, sink) in ids.zip(sinks) {
            debug_assert!(sink.is_none());
            *sink = pair_mut(&mut state.pairs, id).and_then(|pair| pair.sink.clone());
        }
    }

    pub(crate) fn close(&self) {
        let mut state = self.state.lock();
        if std::mem::replace(&mut state.closed, true) {
            return;
        }
        let channels: Vec<_> = state.channels.iter().cloned().collect();
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
        (state.channels.names.len(), state.pairs.len())
    }
}

impl<St, Si> Drop for Registry<St, Si> {
    /// Drops each stream and sink, whichever of them panics. Tells the senders that hold a sink weakly; sends
    /// in flight go on.
    fn drop(&mut self) {
        let mut state = self.state.lock();
        let channels: Vec<_> = state.channels.iter().cloned().collect();
        let pairs = std::mem::take(&mut state.pairs);
        drop(state);
        let streams = channels.iter().flat_map(|channel| channel.remove().0);
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
        let Some(seat) = pair_mut(&mut state.pairs, member.id).and_then(|pair| pair.seat) else {
            drop(guard);
            drop(member);
            return;
        };
        let channel = Arc::clone(state.channels.of(seat));
        let wake = channel.land(seat.key(), member);
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
        if let Some(pair) = pair_mut(&mut state.pairs, member.id) {
            let seat = pair.seat.take().expect("a stream that is polled has a seat");
            let seat_channel = state.channels.of(seat);
            let half_closes = how == Departure::Ended && seat_channel.half_close();
            let keeps_sink = half_closes && pair.sink.is_some() && !abandoned;
            if !lasted {
                // It was moved while it was polled, and never arrives.
                let (_, wake) = seat_channel.depart(seat.key(), member.id, how);
                elsewhere = Some((Arc::clone(seat_channel), wake));
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

fn pair_mut<Si>(pairs: &mut Slab<Pair<Si>>, id: StreamId) -> Option<&mut Pair<Si>> {
    pairs.get_mut(id.key()).filter(|pair| pair.serial == id.serial())
}

impl<Si> Pair<Si> {
    fn hand_back<St>(self, id: StreamId, member: Option<Box<Member<St>>>) -> StreamPair<St, Si> {
        let stream = member.map(|member| member.stream);
        let sink = self.sink.and_then(|slot| slot.advance(Phase::Gone));
        StreamPair { id, stream, sink }
    }
}
