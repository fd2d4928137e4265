//! The control plane: it records the place of every pair, and makes every move.
//!
//! One lock orders all operations that add, move and remove pairs and channels. When such a call returns, the registry has
//! recorded the channel to which the stream belongs. If the stream is being polled at that moment, it arrives there when the
//! poll returns ([`Control::arrive`](crate::channel::Control::arrive)).
//!
//! **Lock order**: the registry's lock, then a channel's or a sink's, then that of the set of sinks to flush, then that of a
//! wait list. No foreign code runs under any of these locks: wakers to call and values to drop are returned to the caller,
//! which handles them after unlocking.

mod control;
mod flushing;
mod memory;
mod pairs;
mod pausing;
mod reach;
mod removed;

pub(crate) use removed::RemovedPair;

use crate::channel::Channel;
use crate::channel::slots::{Wake, Which};
use crate::error::MultiplexerError;
use crate::id::{ChannelId, StreamId};
use crate::options::ChannelOptions;
use crate::sink::flush_set::FlushSet;
use crate::sink::slot::SinkSlot;
use crate::stats::ChannelStats;
use crate::sync::Mutex;
use crate::threads::Threads;
use crate::unwind::for_each;
use slab::Slab;
use std::collections::BTreeMap;
use std::collections::btree_map::Entry;
use std::mem;
use std::num::{NonZeroU32, NonZeroU64};
use std::ops::Bound;
use std::sync::Arc;

/// The number of pairs or channels that are visited under one lock pair. It bounds how long other threads wait for the lock.
const BATCH: usize = 64;

/// The number of sinks that are looked up under one lock pair, and kept on the stack.
pub(crate) const LOOKUP: usize = 32;

pub(crate) struct Registry<St, Si> {
    state: Mutex<State<St, Si>>,
    /// The threads that wait until the multiplexer is closed.
    pub(crate) closing: Threads,
    /// The unflushed sinks. Flushers end when the multiplexer is closed and the last pair has left.
    flushes: Arc<FlushSet<SinkSlot<Si>>>,
}

struct State<St, Si> {
    channels: Channels<St>,
    pairs: Slab<Pair<Si>>,
    /// The serial of the next pair.
    next: NonZeroU64,
    /// All handles were dropped.
    abandoned: bool,
}

/// Which streams of a channel to list.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Listing {
    All,
    /// Streams that have a sink.
    WithSink,
}

struct Pair<Si> {
    serial: NonZeroU64,
    seat: Seat,
    /// `None` if the stream was added without a sink.
    sink: Option<Arc<SinkSlot<Si>>>,
}

/// A stream's slot in a channel, in eight bytes.
#[derive(Clone, Copy)]
struct Seat {
    /// The channel's key in [`Channels`], plus 1.
    channel: NonZeroU32,
    key: u32,
}

impl Seat {
    fn new(channel: usize, key: usize) -> Self {
        let short = |key| u32::try_from(key).expect("fewer than 2^32 channels, and members of each");
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
    /// The keys in `all`, by id.
    names: BTreeMap<ChannelId, usize>,
    /// The channels in `names`, and channels that are being removed.
    all: Slab<Listed<St>>,
    /// All channels are closed, including channels that [`Registry::close`] has not visited yet.
    closed: bool,
}

struct Listed<St> {
    channel: Arc<Channel<St>>,
    /// Whether the channel admits streams. Also kept here because it is checked before a stream is boxed, or leaves its
    /// channel.
    is_open: bool,
    /// The limit on the channel's streams. Kept here for the same reason.
    max_streams: Option<usize>,
    /// The number of additions and moves that were refused because of the limit.
    refused: u64,
}

impl<St> Listed<St> {
    fn is_full(&self) -> bool {
        self.max_streams.is_some_and(|limit| self.channel.is_full(limit))
    }

    /// Counts a refusal, and returns its error.
    fn refuse(&mut self) -> MultiplexerError {
        self.refused += 1;
        MultiplexerError::ChannelFull(self.channel.id())
    }
}

impl<St> Channels<St> {
    fn find(&self, id: ChannelId) -> Result<(usize, &Listed<St>), MultiplexerError> {
        let key = *self.names.get(&id).ok_or(MultiplexerError::UnknownChannel(id))?;
        Ok((key, &self.all[key]))
    }

    /// Finds a channel that admits streams, unless it is full.
    fn find_open(&mut self, id: ChannelId) -> Result<(usize, &mut Listed<St>), MultiplexerError> {
        let (key, listed) = self.find(id)?;
        if self.is_open(listed) { Ok((key, &mut self.all[key])) } else { Err(MultiplexerError::Closed) }
    }

    /// Finds a channel that admits a new stream. The result stays valid until the registry's lock is released.
    fn find_with_place(&mut self, id: ChannelId) -> Result<(usize, &Arc<Channel<St>>), MultiplexerError> {
        let (key, listed) = self.find_open(id)?;
        if listed.is_full() { Err(listed.refuse()) } else { Ok((key, &listed.channel)) }
    }

    fn is_open(&self, listed: &Listed<St>) -> bool {
        listed.is_open && !self.closed
    }

    fn of(&self, seat: Seat) -> &Arc<Channel<St>> {
        &self.all[seat.channel()].channel
    }

    /// Closes a channel. Runs under the registry's lock, so that no move is half done.
    fn close(&mut self, key: usize) -> (Arc<Channel<St>>, Wake) {
        let listed = &mut self.all[key];
        listed.is_open = false;
        (Arc::clone(&listed.channel), listed.channel.close())
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
                let max_streams = options.max_streams;
                vacant.insert(all.insert(Listed { channel, is_open: true, max_streams, refused: 0 }));
                Ok(())
            }
        }
    }

    pub(crate) fn channel(&self, id: ChannelId) -> Result<Arc<Channel<St>>, MultiplexerError> {
        self.state.lock().channels.find(id).map(|(_, listed)| Arc::clone(&listed.channel))
    }

    /// Returns a channel, and the serial of the next pair.
    pub(crate) fn channel_now(
        &self,
        id: ChannelId,
    ) -> Result<(Arc<Channel<St>>, NonZeroU64), MultiplexerError> {
        let state = self.state.lock();
        let (_, listed) = state.channels.find(id)?;
        Ok((Arc::clone(&listed.channel), state.next))
    }

    pub(crate) fn channel_ids(&self) -> Vec<ChannelId> {
        self.state.lock().channels.names.keys().copied().collect()
    }

    /// Lists the streams of a channel, the oldest first. The list contains all streams that are in the channel during the
    /// whole call, and may contain streams that enter or leave during the call.
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
        // A stream that left and came back during the call was listed twice.
        streams.dedup();
        Some(streams)
    }

    /// Collects the sinks of pairs in a channel that were added before the pair `end`, from slot `from` on. Visits as many
    /// pairs as `sinks` has elements, at two lock pairs. Returns the next slot, if there are more.
    pub(crate) fn channel_sinks(
        &self,
        channel: &Channel<St>,
        end: NonZeroU64,
        from: usize,
        sinks: &mut [Option<Arc<SinkSlot<Si>>>],
    ) -> Option<usize> {
        let limit = sinks.len();
        let mut room = sinks.iter_mut();
        let state = self.state.lock();
        channel.pairs(from, limit, |pair| {
            let room = room.next().expect("at most `limit` pairs are visited");
            let pair = &state.pairs[pair];
            if pair.serial < end {
                room.clone_from(&pair.sink);
            }
        })
    }

    /// Removes a channel, and returns its pairs, the oldest first.
    pub(crate) fn remove_channel(&self, id: ChannelId) -> Option<Vec<RemovedPair<St, Si>>> {
        let mut state = self.state.lock();
        let key = state.channels.names.remove(&id)?;
        // From here on no stream enters the channel.
        let channel = Arc::clone(&state.channels.all[key].channel);
        let unheard = channel.remove();
        drop(state);

        let mut pairs = Vec::with_capacity(channel.len());
        let is_over = self.take_pairs(&channel, Which::All, |pair| pairs.push(pair));
        let flushers_woken = self.wake_flushers_if(is_over);
        let listed = self.state.lock().channels.all.remove(key);
        pairs.sort_unstable_by_key(|pair| pair.id);
        drop(listed);
        unheard.drop_all();
        channel.wake_if_over();
        drop(flushers_woken);
        Some(pairs)
    }

    /// Removes the pairs of a channel in batches. Returns whether no pair is left and none will come: the caller then wakes
    /// the drivers of the flush set, after its other work, because their wakers may panic.
    fn take_pairs(
        &self,
        channel: &Channel<St>,
        which: Which,
        mut tell: impl FnMut(RemovedPair<St, Si>),
    ) -> bool {
        let mut batch = Vec::with_capacity(BATCH);
        let (mut from, mut is_over) = (Some(0), false);
        while let Some(key) = from {
            let mut state = self.state.lock();
            from = channel.take_pairs(key, BATCH, which, |(key, member)| {
                let pair = state.pairs.remove(key);
                batch.push(RemovedPair::new(StreamId::new(pair.serial, key), member, pair.sink));
            });
            is_over = state.is_over();
            drop(state);
            batch.drain(..).for_each(&mut tell);
        }
        is_over
    }

    pub(crate) fn max_streams(&self, id: ChannelId) -> Result<Option<usize>, MultiplexerError> {
        self.state.lock().channels.find(id).map(|(_, listed)| listed.max_streams)
    }

    pub(crate) fn stats(&self, id: ChannelId) -> Option<ChannelStats> {
        let state = self.state.lock();
        let (_, listed) = state.channels.find(id).ok()?;
        Some(ChannelStats { refused: listed.refused, ..listed.channel.stats() })
    }

    pub(crate) fn set_max_streams(
        &self,
        id: ChannelId,
        limit: Option<usize>,
    ) -> Result<(), MultiplexerError> {
        let mut state = self.state.lock();
        let (key, _) = state.channels.find(id)?;
        state.channels.all[key].max_streams = limit;
        Ok(())
    }

    /// Closes a channel: it admits no more streams, and ends when it is empty.
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
        let mut state = self.state.lock();
        if mem::replace(&mut state.channels.closed, true) {
            return;
        }
        let is_over = state.is_over();
        drop(state);
        self.closing.wake_all();
        let flushers_woken = self.wake_flushers_if(is_over);
        // Allocated here, and not under the lock.
        let mut closed = Vec::with_capacity(self.len().0);
        self.for_each_channel(|channels, key| closed.push(channels.close(key)));
        for_each(closed, |(channel, wake)| channel.wake(wake));
        drop(flushers_woken);
    }

    /// Visits the channels in the order of their ids, in batches, under the registry's lock.
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

    /// The numbers of channels and of pairs.
    pub(crate) fn len(&self) -> (usize, usize) {
        let state = self.state.lock();
        (state.channels.names.len(), state.pairs.len())
    }
}

impl<St, Si> State<St, Si> {
    fn is_over(&self) -> bool {
        self.channels.closed && self.pairs.is_empty()
    }
}

fn pair_mut<Si>(pairs: &mut Slab<Pair<Si>>, id: StreamId) -> Option<&mut Pair<Si>> {
    pairs.get_mut(id.key()).filter(|pair| pair.serial == id.serial())
}

/// Whether a pair has a sink that still accepts items, or can still be closed.
fn has_live_sink<Si>(pairs: &Slab<Pair<Si>>, id: StreamId) -> bool {
    let pair = pairs.get(id.key()).filter(|pair| pair.serial == id.serial());
    pair.and_then(|pair| pair.sink.as_ref()).is_some_and(|sink| !sink.is_over())
}
