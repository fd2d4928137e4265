//! Who is where: the control plane.
//!
//! One lock orders all that adds, moves and removes pairs and channels. Where a pair's stream belongs is
//! what the registry says, from the moment a call returns; if the stream is being polled at that moment it
//! comes there when the poll returns ([`Control::arrive`]).
//!
//! **Lock order**: the registry's, then a channel's or a sink's, then that of the set of sinks to be flushed. No
//! foreign code runs under any of them: what is to be dropped or woken is carried out of the lock.

use crate::channel::member::{BoxedMember, Member};
use crate::channel::slots::{Absent, Wake, Which};
use crate::channel::{Channel, Control};
use crate::error::{AddStreamError, MultiplexerError};
use crate::event::{Departure, StreamPair};
use crate::id::{ChannelId, StreamId};
use crate::options::ChannelOptions;
use crate::sink::flush_set::FlushSet;
use crate::sink::slot::{Phase, SinkSlot};
use crate::sync::Mutex;
use crate::threads::Threads;
use crate::unwind::{Afterwards, afterwards, for_each, on_panic};
use slab::Slab;
use std::collections::BTreeMap;
use std::collections::btree_map::Entry;
use std::mem;
use std::num::{NonZeroU32, NonZeroU64};
use std::ops::Bound;
use std::pin::Pin;
use std::sync::Arc;

/// How many pairs, or channels, are gone through at one lock pair: others wait no longer than for these.
const BATCH: usize = 64;

/// How many sinks are looked up at one lock pair, and kept on the stack.
pub(crate) const LOOKUP: usize = 32;

pub(crate) struct Registry<St, Si> {
    state: Mutex<State<St, Si>>,
    /// Who waits for it to be closed.
    pub(crate) closing: Threads,
    /// The sinks with something unflushed. Those who drive it end with the last pair, when it is closed.
    flushes: Arc<FlushSet<SinkSlot<Si>>>,
}

struct State<St, Si> {
    channels: Channels<St>,
    pairs: Slab<Pair<Si>>,
    /// The serial of the next pair.
    next: NonZeroU64,
    /// All handles are gone.
    abandoned: bool,
}

/// Which streams of a channel are listed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Listing {
    All,
    /// Those that have a sink.
    WithSink,
}

struct Pair<Si> {
    serial: NonZeroU64,
    seat: Seat,
    /// `None` when the stream was added without one.
    sink: Option<Arc<SinkSlot<Si>>>,
}

/// A stream's slot in a channel: eight bytes.
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
    /// Those of `names`, and those that are being removed.
    all: Slab<Listed<St>>,
    /// All are closed, also those that [`Registry::close`] has not come to yet.
    closed: bool,
}

struct Listed<St> {
    channel: Arc<Channel<St>>,
    /// Whether a stream may come. Kept here, too, for it is asked before a stream is boxed or leaves elsewhere.
    is_open: bool,
}

impl<St> Channels<St> {
    fn find(&self, id: ChannelId) -> Result<(usize, &Listed<St>), MultiplexerError> {
        let key = *self.names.get(&id).ok_or(MultiplexerError::UnknownChannel(id))?;
        Ok((key, &self.all[key]))
    }

    /// A channel that a stream may come to.
    fn find_open(&self, id: ChannelId) -> Result<(usize, &Arc<Channel<St>>), MultiplexerError> {
        let (key, listed) = self.find(id)?;
        if self.is_open(listed) { Ok((key, &listed.channel)) } else { Err(MultiplexerError::Closed) }
    }

    fn is_open(&self, listed: &Listed<St>) -> bool {
        listed.is_open && !self.closed
    }

    fn of(&self, seat: Seat) -> &Arc<Channel<St>> {
        &self.all[seat.channel()].channel
    }

    /// Nobody comes to it any more. Done under the registry's lock, so no move is half done.
    fn close(&mut self, key: usize) -> (Arc<Channel<St>>, Wake) {
        let listed = &mut self.all[key];
        listed.is_open = false;
        (Arc::clone(&listed.channel), listed.channel.close())
    }
}

/// A pair that was taken out of the registry, with all that is foreign in it. Its parts are dropped one by one,
/// whichever of them panics.
pub(crate) struct RemovedPair<St, Si> {
    id: StreamId,
    member: Option<BoxedMember<St>>,
    slot: Option<Arc<SinkSlot<Si>>>,
    /// The sink, when it was taken out of its slot.
    sink: Option<Si>,
    /// What becomes of its slot.
    phase: Phase,
}

impl<St, Si> RemovedPair<St, Si> {
    fn new(id: StreamId, member: Option<BoxedMember<St>>, slot: Option<Arc<SinkSlot<Si>>>) -> Self {
        Self { id, member, slot, sink: None, phase: Phase::Gone }
    }

    /// Takes the sink out of its slot, and wakes those who wait for it.
    pub(crate) fn reclaim_sink(&mut self) {
        let phase = self.phase;
        self.sink = self.slot.take().and_then(|slot| slot.advance(phase));
    }

    /// The pair for the user, when its sink was reclaimed.
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

/// Channels.
impl<St, Si> Registry<St, Si> {
    pub(crate) fn new() -> Self {
        let state = State {
            channels: Channels { names: BTreeMap::new(), all: Slab::new(), closed: false },
            pairs: Slab::new(),
            next: NonZeroU64::MIN,
            abandoned: false,
        };
        Self { state: Mutex::new(state), closing: Threads::default(), flushes: Arc::new(FlushSet::new()) }
    }

    pub(crate) fn add_channel(&self, id: ChannelId, options: ChannelOptions) -> Result<(), MultiplexerError> {
        let mut state = self.state.lock();
        let Channels { names, all, closed } = &mut state.channels;
        if *closed {
            return Err(MultiplexerError::Closed);
        }
        match names.entry(id) {
            Entry::Occupied(_) => Err(MultiplexerError::DuplicateChannel(id)),
            Entry::Vacant(vacant) => {
                let channel = Arc::new(Channel::new(id, options));
                vacant.insert(all.insert(Listed { channel, is_open: true }));
                Ok(())
            }
        }
    }

    pub(crate) fn channel(&self, id: ChannelId) -> Result<Arc<Channel<St>>, MultiplexerError> {
        self.state.lock().channels.find(id).map(|(_, listed)| Arc::clone(&listed.channel))
    }

    pub(crate) fn channel_ids(&self) -> Vec<ChannelId> {
        self.state.lock().channels.names.keys().copied().collect()
    }

    /// The streams of a channel, the oldest first: all that are in it from the beginning of the call to its end,
    /// and of the others some.
    pub(crate) fn channel_streams(&self, id: ChannelId, which: Listing) -> Option<Vec<StreamId>> {
        let channel = self.channel(id).ok()?;
        let mut streams = Vec::with_capacity(channel.len());
        let mut from = Some(0);
        while let Some(key) = from {
            streams.reserve(BATCH);
            let state = self.state.lock();
            from = channel.pairs(key, BATCH, |key| {
                let pair = &state.pairs[key];
                if which == Listing::All || pair.sink.is_some() {
                    streams.push(StreamId::new(pair.serial, key));
                }
            });
        }
        streams.sort_unstable();
        // One that left and came back meanwhile was seen twice.
        streams.dedup();
        Some(streams)
    }

    /// The sinks in slot `from` of a channel and behind, as many as `sinks` has room for pairs, at two lock pairs.
    /// Returns the slot to go on from, if there are more.
    pub(crate) fn channel_sinks(
        &self,
        channel: &Channel<St>,
        from: usize,
        sinks: &mut [Option<Arc<SinkSlot<Si>>>],
    ) -> Option<usize> {
        let limit = sinks.len();
        let mut room = sinks.iter_mut();
        let state = self.state.lock();
        channel.pairs(from, limit, |pair| {
            *room.next().expect("as many as asked for") = state.pairs[pair].sink.clone();
        })
    }

    /// Takes a channel and all its pairs out, the oldest first.
    pub(crate) fn remove_channel(&self, id: ChannelId) -> Option<Vec<RemovedPair<St, Si>>> {
        let mut state = self.state.lock();
        let key = state.channels.names.remove(&id)?;
        // From here on nobody comes to it.
        let channel = Arc::clone(&state.channels.all[key].channel);
        let unheard = channel.remove();
        drop(state);

        let mut pairs = Vec::with_capacity(channel.len());
        self.take_pairs(&channel, Which::All, |pair| pairs.push(pair));
        let listed = self.state.lock().channels.all.remove(key);
        pairs.sort_unstable_by_key(|pair| pair.id);
        drop(listed);
        unheard.drop_all();
        channel.wake_if_over();
        Some(pairs)
    }

    /// Takes the pairs of a channel out, batch by batch.
    fn take_pairs(&self, channel: &Channel<St>, which: Which, mut tell: impl FnMut(RemovedPair<St, Si>)) {
        let mut batch = Vec::with_capacity(BATCH);
        let mut from = Some(0);
        while let Some(key) = from {
            let mut state = self.state.lock();
            from = channel.take_pairs(key, BATCH, which, |(key, member)| {
                let pair = state.pairs.remove(key);
                batch.push(RemovedPair::new(StreamId::new(pair.serial, key), member, pair.sink));
            });
            let is_over = state.is_over();
            drop(state);
            let flushers_woken = self.wake_flushers_if(is_over);
            batch.drain(..).for_each(&mut tell);
            drop(flushers_woken);
        }
    }

    /// Lets a channel admit nobody more, and end when it is empty.
    pub(crate) fn close_channel(&self, id: ChannelId) -> Result<(), MultiplexerError> {
        let mut state = self.state.lock();
        let (key, _) = state.channels.find(id)?;
        let (channel, wake) = state.channels.close(key);
        drop(state);
        channel.wake(wake);
        Ok(())
    }

    pub(crate) fn is_channel_closed(&self, id: ChannelId) -> Option<bool> {
        let state = self.state.lock();
        state.channels.find(id).ok().map(|(_, listed)| !state.channels.is_open(listed))
    }

    pub(crate) fn close(&self) {
        if mem::replace(&mut self.state.lock().channels.closed, true) {
            return;
        }
        self.closing.wake_all();
        let flushers_woken = afterwards(|| self.flushes.wake());
        // Grown before, and not under the lock.
        let mut closed = Vec::with_capacity(self.len().0);
        self.for_each_channel(|channels, key| closed.push(channels.close(key)));
        for_each(closed, |(channel, wake)| channel.wake(wake));
        drop(flushers_woken);
    }

    /// Goes through the channels in the order of their names, batch by batch, under the registry's lock.
    fn for_each_channel(&self, mut visit: impl FnMut(&mut Channels<St>, usize)) {
        let mut batch = Vec::with_capacity(BATCH);
        let mut from = Bound::Unbounded;
        loop {
            let mut state = self.state.lock();
            let names = state.channels.names.range((from, Bound::Unbounded));
            batch.extend(names.take(BATCH).map(|(name, key)| (*name, *key)));
            let Some((last, _)) = batch.last() else { return };
            from = Bound::Excluded(*last);
            batch.drain(..).for_each(|(_, key)| visit(&mut state.channels, key));
        }
    }

    pub(crate) fn is_closed(&self) -> bool {
        self.state.lock().channels.closed
    }

    /// How many channels and pairs there are.
    pub(crate) fn len(&self) -> (usize, usize) {
        let state = self.state.lock();
        (state.channels.names.len(), state.pairs.len())
    }
}

/// Memory.
impl<St, Si> Registry<St, Si> {
    pub(crate) fn shrink_to_fit(&self) {
        let mut channels = Vec::new();
        self.for_each_channel(|all, key| channels.push((key, Arc::clone(&all.all[key].channel))));
        for_each(channels, |(key, channel)| self.compact(key, &channel));
        self.shrink_sinks();
        let mut state = self.state.lock();
        state.pairs.shrink_to_fit();
        state.channels.all.shrink_to_fit();
    }

    /// Under the registry's lock, for it says where each pair is.
    fn compact(&self, key: usize, channel: &Channel<St>) {
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

    fn shrink_sinks(&self) {
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

/// Who can still reach what.
impl<St, Si> Registry<St, Si> {
    /// A channel, for a receiver.
    pub(crate) fn attach(&self, id: ChannelId) -> Result<Arc<Channel<St>>, MultiplexerError> {
        let state = self.state.lock();
        let channel = Arc::clone(&state.channels.find(id)?.1.channel);
        channel.attach();
        Ok(channel)
    }

    /// A receiver is gone. When the handles are gone, too, nobody reaches the channel without one.
    pub(crate) fn detach(&self, channel: &Channel<St>) {
        let state = self.state.lock();
        let is_unreachable = channel.detach() == 0 && state.abandoned;
        drop(state);
        if is_unreachable {
            self.let_go(channel, Which::All);
        }
    }

    /// All handles are gone: closes, and lets go of what nobody can reach any more. That is all in channels
    /// without a receiver, and in the others the pairs whose stream has ended.
    pub(crate) fn abandon(&self) {
        let closed = afterwards(|| self.close());
        self.state.lock().abandoned = true;
        let mut channels = Vec::new();
        self.for_each_channel(|all, key| {
            let channel = Arc::clone(&all.all[key].channel);
            let which = if channel.receivers() == 0 { Which::All } else { Which::Ended };
            channels.push((channel, which));
        });
        for_each(channels, |(channel, which)| self.let_go(&channel, which));
        drop(closed);
    }

    fn let_go(&self, channel: &Channel<St>, which: Which) {
        let mut pairs = Vec::new();
        self.take_pairs(channel, which, |mut pair| {
            // Sends in flight go on.
            pair.phase = Phase::Ending;
            pairs.push(pair);
        });
        drop(pairs);
    }
}

/// Pairs.
impl<St, Si> Registry<St, Si> {
    /// Adds a stream, with the slot that `slot` makes of what comes with it; or says why not and gives both
    /// back.
    pub(crate) fn add<S>(
        &self,
        stream: St,
        sink: S,
        slot: impl FnOnce(StreamId, S, &Arc<FlushSet<SinkSlot<Si>>>) -> Option<Arc<SinkSlot<Si>>>,
        channel: ChannelId,
    ) -> Result<StreamId, AddStreamError<St, S>> {
        let mut guard = self.state.lock();
        let state = &mut *guard;
        let found = match state.channels.find_open(channel) {
            _ if state.channels.closed => Err(MultiplexerError::Closed),
            found => found,
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
        state.next = state.next.checked_add(1).expect("nobody lives to see 2^64 pairs");
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
        let (to_key, to) = state.channels.find_open(to)?;
        let to = Arc::clone(to);
        let departure = Departure::Moved(to.id());
        let (member, wake_from) =
            from.depart(pair.seat.key(), id, departure).map_err(|_| MultiplexerError::Ended(id))?;
        let (key, wake_to) = match member {
            Some(member) => to.seat_moved(member),
            None => (to.expect(id.key()), Wake::NONE),
        };
        pair.seat = Seat::new(to_key, key);
        drop(guard);

        let woken_there = afterwards(|| to.wake(wake_to));
        from.wake(wake_from);
        drop(woken_there);
        Ok(())
    }

    /// Takes a pair out, if it is there.
    pub(crate) fn remove(&self, id: StreamId) -> Option<RemovedPair<St, Si>> {
        self.remove_if(id, |_, _| true)
    }

    /// Takes a pair out, if it is in that channel.
    pub(crate) fn remove_from(&self, id: StreamId, channel: ChannelId) -> Option<RemovedPair<St, Si>> {
        self.remove_if(id, |current, _| current.id() == channel)
    }

    /// The sink of a pair was closed: takes the pair out if its stream has ended, too, and was kept for that sink.
    pub(crate) fn remove_closed(&self, id: StreamId) -> Option<RemovedPair<St, Si>> {
        self.remove_if(id, Channel::is_kept)
    }

    fn remove_if(
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
        let (member, wake) = left.expect("any stream may be removed");
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

    /// The sinks of some streams, in their order, at one lock pair.
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

/// Sinks with something unflushed.
impl<St, Si> Registry<St, Si> {
    pub(crate) fn flushes(&self) -> &FlushSet<SinkSlot<Si>> {
        &self.flushes
    }

    /// Whether it is closed and no pair is left, so that nothing will be sent any more.
    pub(crate) fn is_over(&self) -> bool {
        self.state.lock().is_over()
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

    fn wake_flushers_if(&self, is_over: bool) -> Afterwards<impl FnOnce() + use<'_, St, Si>> {
        afterwards(move || {
            if is_over {
                self.flushes.wake();
            }
        })
    }
}

impl<St, Si> State<St, Si> {
    fn is_over(&self) -> bool {
        self.channels.closed && self.pairs.is_empty()
    }
}

impl<St, Si> Control<St> for Registry<St, Si> {
    fn arrive(&self, member: BoxedMember<St>) {
        let mut guard = self.state.lock();
        let state = &mut *guard;
        let Some(pair) = pair_mut(&mut state.pairs, member.id) else {
            drop(guard);
            drop(member);
            return;
        };
        let channel = Arc::clone(state.channels.of(pair.seat));
        let wake = channel.land(pair.seat.key(), member);
        drop(guard);
        channel.wake(wake);
    }

    fn finish(&self, channel: &Channel<St>, key: usize, member: BoxedMember<St>, how: Departure) -> bool {
        let id = member.id;
        let mut member = Some(member);
        let mut guard = self.state.lock();
        let state = &mut *guard;
        let may_be_kept = how == Departure::Ended && !state.abandoned;
        // Whoever closes the sink from now on finds that the stream has ended.
        let keeps = |pairs: &Slab<Pair<Si>>, there: &Channel<St>| {
            may_be_kept && there.half_close() && has_live_sink(pairs, id)
        };
        let is_kept_here = keeps(&state.pairs, channel);
        let (lasted, wake) = channel.retire(key, &mut member, how, is_kept_here);
        let mut elsewhere = None;
        let seat = pair_mut(&mut state.pairs, id).map(|pair| pair.seat);
        if let (false, Some(seat)) = (lasted, seat) {
            // It was moved while it was polled, and never arrives.
            let there = Arc::clone(state.channels.of(seat));
            let wake = if keeps(&state.pairs, &there) {
                there.keep_expected(seat.key(), member.take().expect("it was not kept here"))
            } else {
                there.depart(seat.key(), id, how).expect("it has not ended there").1
            };
            elsewhere = Some((there, wake));
        }
        let mut sink = None;
        if member.is_some() && pair_mut(&mut state.pairs, id).is_some() {
            sink = state.pairs.remove(id.key()).sink;
        }
        let is_over = state.is_over();
        drop(guard);

        // Each of these runs foreign code, and all of them must happen.
        let flushers_woken = self.wake_flushers_if(is_over);
        let unreported = on_panic(|| {
            if lasted && how == Departure::Ended {
                channel.report_departure(id, how);
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
        drop(flushers_woken);
        unreported.defuse();
        lasted
    }
}

fn pair_mut<Si>(pairs: &mut Slab<Pair<Si>>, id: StreamId) -> Option<&mut Pair<Si>> {
    pairs.get_mut(id.key()).filter(|pair| pair.serial == id.serial())
}

/// Whether a pair has a sink that can still be sent to, or closed.
fn has_live_sink<Si>(pairs: &Slab<Pair<Si>>, id: StreamId) -> bool {
    let pair = pairs.get(id.key()).filter(|pair| pair.serial == id.serial());
    pair.and_then(|pair| pair.sink.as_ref()).is_some_and(|sink| !sink.is_over())
}
