//! The next turn among the channels of a select: pure data, without locks and wakers.
//!
//! # Priority
//!
//! The ready channels are in a queue, ordered by priority, virtual time, and the time at which they began to wait. The first
//! channel is asked before every event. When `bound` turns in a row were taken ahead of a ready lower channel, a **relief
//! round** begins: each lower channel that waited at that moment has one turn. The channel that has waited longest is first.
//!
//! **Bound.** Among n channels of distinct priorities, a ready channel waits for at most `bound + n - 2` turns of
//! others, and the highest channel for at most `n - 1`. Proof: let X wait. X waits first for the rest of a round in which it
//! has no turn (any more), then for at most `bound` turns of higher channels, each of which counts because X is ready and
//! lower, and then for the channels before it in the next round. A channel that had a turn in the first of these rounds
//! while X waited is behind X in the second round, because it has waited for less time. So no channel delays X in both
//! rounds, and neither X nor the highest channel is in either.
//!
//! # The leader
//!
//! A ready channel *leads* if no other ready channel has its priority or a higher one, and no relief round is in progress. It
//! stays first whatever its turns cost, until another channel becomes ready or a round begins. The leader is therefore not in
//! the queue. Its turns are only counted, and charged when it gives way. Usually one channel is ready at a time, and leads.
//!
//! # Weights
//!
//! Start-time fair queueing: a turn adds cost / weight to the channel's virtual time. Within a priority, the channel with the
//! smallest time is next; among equal times, the channel that has waited longest. `now` is the virtual time at which the last
//! turn of the priority began. A channel that becomes ready behind `now` continues at `now`, so it saves up nothing; a
//! channel ahead of `now` keeps its debt. A ready channel is therefore at `now`, or ahead of it by at most the cost of its
//! last turn / its weight, because `now` never decreases and was the channel's own time when that turn began. So of two
//! channels that stay ready, neither gets ahead of the other over any span, in cost / weight, by more than one turn of each.

mod queue;
#[cfg(all(test, not(loom_models)))]
mod tests;

use crate::channel::share::Share;
use queue::{Entry, Key, Queue, Time};
use std::cmp::Reverse;
use std::collections::BinaryHeap;
use std::mem;
use std::num::NonZeroU32;

const NONE: Key = Key::MAX;

const FRACTION_BITS: u32 = 63;

#[derive(Debug)]
pub(crate) struct Schedule {
    /// The channels, by key.
    places: Vec<Option<Place>>,
    /// The number of channels.
    len: usize,
    classes: Vec<Class>,
    /// The channel that leads, or [`NONE`].
    leader: Key,
    /// The other ready channels. It has room for all.
    queue: Queue,
    /// A relief round begins after this many turns ahead of a ready lower channel. 0: never.
    bound: u32,
    /// The number of such turns in a row.
    ahead: u32,
    /// In a relief round: the tickets of the channels that waited when it began, the longest wait first. Some of them have had
    /// their turn since, or are no longer ready. It has room for all.
    relief: BinaryHeap<Reverse<(u64, Key)>>,
    /// The number of turns, except those in `solo`.
    turns: u64,
    /// The number of turns that brought no event.
    in_vain: u64,
    tickets: u64,
    solo: Solo,
}

/// The leader's turns that are not charged yet. Its turns therefore cost next to nothing, and so does becoming idle and ready
/// in between while no other channel is ready.
#[derive(Debug)]
struct Solo {
    /// The leader; or the last leader, if no channel was ready since; or [`NONE`].
    key: Key,
    run: Run,
}

/// Turns of one channel in a row.
#[derive(Debug, Default)]
struct Run {
    turns: u64,
    /// Their cost, less 1 for each.
    more: u64,
    /// The cost of the last of them, less 1.
    last: u64,
}

impl Run {
    fn cost(&self) -> u64 {
        self.turns.saturating_add(self.more)
    }
}

/// A channel.
#[derive(Debug)]
struct Place {
    share: Share,
    class: usize,
    time: Time,
    /// 1 / weight.
    stride: u64,
    /// Whether it is in the queue.
    is_queued: bool,
    /// The number of turns when it began to wait: when it became ready, or had its last turn.
    since: u64,
    /// A channel with a smaller ticket has waited longer. Tickets are never reused.
    ticket: u64,
    counts: Counts,
}

/// The counts of a channel.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Counts {
    pub(crate) turns: u64,
    pub(crate) cost: u64,
    pub(crate) longest_wait: u64,
}

impl Counts {
    fn note(&mut self, had: &Run, waited: u64) {
        self.turns += had.turns;
        self.cost = self.cost.saturating_add(had.cost());
        self.longest_wait = self.longest_wait.max(waited);
    }
}

/// The channels of one priority. An empty class stays until another priority needs its place.
#[derive(Debug)]
struct Class {
    priority: u32,
    /// The virtual time at which the last turn of this priority began.
    now: Time,
    places: usize,
    /// The number of its channels in the queue.
    queued: usize,
}

/// Control.
impl Schedule {
    pub(crate) fn new(bound: u32) -> Self {
        Self {
            places: Vec::new(),
            len: 0,
            classes: Vec::new(),
            leader: NONE,
            queue: Queue::default(),
            bound,
            ahead: 0,
            relief: BinaryHeap::new(),
            turns: 0,
            in_vain: 0,
            tickets: 0,
            solo: Solo { key: NONE, run: Run::default() },
        }
    }

    pub(crate) fn len(&self) -> usize {
        self.len
    }

    pub(crate) fn set_bound(&mut self, bound: Option<NonZeroU32>) {
        self.bound = bound.map_or(0, NonZeroU32::get);
    }

    /// Adds a channel, ready.
    ///
    /// Cost: a walk through the priorities. Allocates when there are more than ever before.
    pub(crate) fn add(&mut self, key: usize, share: Share) {
        if key >= self.places.len() {
            self.places.resize_with(key + 1, || None);
        }
        self.len += 1;
        self.queue.reserve(self.len);
        self.relief.reserve(self.len.saturating_sub(self.relief.len()));
        let class = self.enter(share.priority);
        let place = Place {
            share,
            class,
            time: 0,
            stride: stride(share),
            is_queued: false,
            since: 0,
            ticket: 0,
            counts: Counts::default(),
        };
        debug_assert!(self.places[key].is_none());
        self.places[key] = Some(place);
        self.wake(key);
    }

    /// Cost: as [`idle`](Self::idle).
    pub(crate) fn remove(&mut self, key: usize) {
        self.settle();
        if self.is_ready(key) {
            self.leave_ready(key);
        }
        if let Some(place) = self.places[key].take() {
            self.len -= 1;
            self.classes[place.class].places -= 1;
        }
    }

    /// Changes a channel's share. The channel keeps its debt, in units of cost.
    ///
    /// Cost: as [`add`](Self::add).
    pub(crate) fn set_share(&mut self, key: usize, share: Share) {
        self.settle();
        let is_ready = self.is_ready(key);
        if is_ready {
            self.leave_ready(key);
            // The channel keeps its ticket, so an old entry in the queue would become valid again.
            self.queue.drop_over(|entry| is_over(&self.places, entry));
        }
        let from = self.place(key).class;
        let before = self.classes[from].now;
        self.classes[from].places -= 1;
        let class = self.enter(share.priority);
        let now = self.classes[class].now;
        let place = self.place_mut(key);
        let debt = place.time.saturating_sub(before);
        let (old, new) = (Time::from(place.share.weight.get()), Time::from(share.weight.get()));
        // `debt * old / new`, which might overflow.
        let debt = (debt / new).saturating_mul(old).saturating_add(debt % new * old / new);
        place.time = now.saturating_add(debt);
        (place.share, place.class, place.stride) = (share, class, stride(share));
        if is_ready {
            self.enter_ready(key);
        }
    }

    pub(crate) fn share(&self, key: usize) -> Share {
        self.place(key).share
    }

    pub(crate) fn counts(&self, key: usize) -> Counts {
        let place = self.place(key);
        let mut counts = place.counts;
        if self.solo.run.turns != 0 && key == self.solo.key {
            counts.note(&self.solo.run, self.turns - place.since);
        }
        counts
    }

    /// The number of turns that brought an event.
    pub(crate) fn events(&self) -> u64 {
        self.turns + self.solo.run.turns - self.in_vain
    }

    /// Adds a channel to the class of a priority, and returns the class.
    fn enter(&mut self, priority: u32) -> usize {
        let found = self.classes.iter().position(|class| class.priority == priority);
        let found = found.or_else(|| {
            // Reuse an empty class, so that there are never more classes than channels.
            let vacant = self.classes.iter().position(|class| class.places == 0);
            if let Some(class) = vacant {
                self.classes[class] = Class::new(priority);
            }
            vacant
        });
        let class = found.unwrap_or_else(|| {
            self.classes.push(Class::new(priority));
            self.classes.len() - 1
        });
        self.classes[class].places += 1;
        class
    }
}

impl Class {
    fn new(priority: u32) -> Self {
        Self { priority, now: 0, places: 0, queued: 0 }
    }
}

fn stride(share: Share) -> u64 {
    (1 << FRACTION_BITS) / u64::from(share.weight.get())
}

/// Turns.
impl Schedule {
    /// Makes a channel ready. Does nothing if there is no channel with that key, or if it is ready.
    ///
    /// Cost: O(log ready).
    #[inline]
    pub(crate) fn wake(&mut self, key: usize) {
        // No other channel had a turn since this one became idle.
        if key == self.solo.key && self.leader == NONE {
            self.leader = key;
        } else {
            self.wake_among_others(key);
        }
    }

    #[inline(never)]
    fn wake_among_others(&mut self, key: usize) {
        let Some(Some(_)) = self.places.get(key) else { return };
        if self.is_ready(key) {
            return;
        }
        self.settle();
        let (turns, ticket) = (self.turns, self.draw_ticket());
        let place = self.places[key].as_mut().expect("looked above");
        place.time = place.time.max(self.classes[place.class].now);
        (place.since, place.ticket) = (turns, ticket);
        self.enter_ready(key);
    }

    #[inline]
    fn draw_ticket(&mut self) -> u64 {
        self.tickets += 1;
        self.tickets
    }

    /// Returns the channel that has the next turn, if any is ready. The caller [begins](Self::begin) the turn.
    #[inline]
    pub(crate) fn next(&mut self) -> Option<usize> {
        if self.leader != NONE {
            Some(self.leader)
        } else if self.relief.is_empty() {
            Some(self.queue.first()?.key())
        } else {
            self.next_in_relief()
        }
    }

    /// Begins the turn of the [next](Self::next) channel. When the turn has [ended](Turn::end), the caller calls
    /// [`served`](Self::served) for each event, or [`idle`](Self::idle) if there was none.
    #[inline]
    pub(crate) fn begin(&mut self, key: usize) -> Turn<'_> {
        Turn { schedule: self, key }
    }

    /// Counts a turn that brought no event.
    #[cold]
    pub(crate) fn served_in_vain(&mut self, key: usize) {
        self.served(key, 1);
        self.in_vain += 1;
    }

    /// Whether this channel is the only ready one.
    #[inline]
    pub(crate) fn is_only(&self, key: usize) -> bool {
        self.leader == key && self.queue.is_empty()
    }

    /// Whether a channel leads: it has the next turns, until another channel is [woken](Self::wake) or a relief round begins.
    #[inline]
    pub(crate) fn has_leader(&self) -> bool {
        self.leader != NONE
    }

    /// Cost: a round looks once at each channel that was ready when it began, at O(log ready).
    #[cold]
    fn next_in_relief(&mut self) -> Option<Key> {
        let first = self.queue.first()?.key();
        let highest = self.place(first).class;
        let has_lower = self.queue.len() > self.classes[highest].queued;
        while let (true, Some(&Reverse((ticket, key)))) = (has_lower, self.relief.peek()) {
            let waits = |place: &Place| place.is_queued && place.ticket == ticket && place.class != highest;
            if self.places[key].as_ref().is_some_and(waits) {
                return Some(key);
            }
            self.relief.pop();
        }
        self.relief.clear();
        self.ahead = 0;
        self.elect();
        Some(first)
    }

    /// A channel had an event at this cost, and is still ready.
    ///
    /// Cost: O(log ready); every so many turns, when a relief round begins, O(ready).
    #[inline(always)]
    pub(crate) fn served(&mut self, key: usize, cost: u64) {
        if self.leader == key {
            let Run { turns, more, last } = &mut self.solo.run;
            (*turns, *more, *last) = (*turns + 1, more.saturating_add(cost - 1), cost - 1);
            if !self.queue.is_empty() {
                self.went_ahead();
            }
        } else {
            self.served_among_others(key, cost);
        }
    }

    /// Counts a turn ahead of a ready lower channel.
    #[inline]
    fn went_ahead(&mut self) {
        self.ahead = self.ahead.saturating_add(1);
        if self.bound != 0 && self.ahead >= self.bound {
            self.begin_relief();
        }
    }

    /// Charges the uncharged turns of the leader, or of the last leader.
    #[inline]
    fn settle(&mut self) {
        if self.solo.run.turns != 0 {
            self.charge_solo();
        }
        self.solo.key = self.leader;
    }

    #[inline(never)]
    fn charge_solo(&mut self) {
        let had = mem::take(&mut self.solo.run);
        self.charge(self.solo.key, had);
        if self.queue.is_empty() {
            // No other channel waited during the last of these turns.
            self.ahead = 0;
        }
    }

    /// Charges a channel for these turns. Returns its next entry, and whether the queue has channels of another priority.
    #[inline(always)]
    fn charge(&mut self, key: Key, had: Run) -> (Entry, bool) {
        let ticket = self.draw_ticket();
        let place = self.places[key].as_mut().expect("it is there");
        let class = &mut self.classes[place.class];
        let charge = |cost: u64| Time::from(cost) * Time::from(place.stride);
        let last = had.last.saturating_add(1);
        // The beginning of the last turn.
        class.now = place.time.saturating_add(charge(had.cost().saturating_sub(last)));
        place.time = place.time.saturating_add(charge(had.cost()));
        place.counts.note(&had, self.turns - place.since);
        self.turns += had.turns;
        (place.since, place.ticket) = (self.turns, ticket);
        (place.entry(key), self.queue.len() > class.queued)
    }

    #[inline(never)]
    fn served_among_others(&mut self, key: Key, cost: u64) {
        let (next, is_ahead) = self.charge(key, Run { turns: 1, more: cost - 1, last: cost - 1 });
        let Self { queue, places, .. } = self;
        queue.replace(next, |entry| is_over(places, entry));
        if !self.relief.is_empty() {
            return;
        }
        // This channel was the highest. The others are lower, except those of its class.
        if is_ahead {
            self.went_ahead();
        } else {
            self.ahead = 0;
        }
    }

    #[cold]
    fn begin_relief(&mut self) {
        self.settle();
        self.give_way();
        let mut relief = mem::take(&mut self.relief).into_vec();
        let waiting = self.queue.iter().filter(|entry| !is_over(&self.places, entry));
        relief.extend(waiting.map(|entry| Reverse((entry.ticket, entry.key()))));
        self.relief = BinaryHeap::from(relief);
    }

    /// A channel has no event.
    ///
    /// Cost: O(log ready).
    #[inline]
    pub(crate) fn idle(&mut self, key: usize) {
        // A leader without uncharged turns takes the long way: its wait brought no event, and is no part of the next wait.
        if self.is_only(key) && self.solo.run.turns != 0 {
            self.leader = NONE;
        } else {
            self.idle_among_others(key);
        }
    }

    #[inline(never)]
    fn idle_among_others(&mut self, key: usize) {
        if self.places[key].is_some() && self.is_ready(key) {
            self.settle();
            self.leave_ready(key);
        }
    }

    #[inline]
    fn place(&self, key: Key) -> &Place {
        self.places[key].as_ref().expect("it is there")
    }

    #[inline]
    fn place_mut(&mut self, key: Key) -> &mut Place {
        self.places[key].as_mut().expect("it is there")
    }
}

/// A turn of a channel. If a panic drops it before its [`end`](Self::end), it counts as a turn
/// [in vain](Schedule::served_in_vain).
pub(crate) struct Turn<'a> {
    pub(crate) schedule: &'a mut Schedule,
    key: Key,
}

impl Turn<'_> {
    #[inline(always)]
    pub(crate) fn end(self) {
        mem::forget(self);
    }
}

impl Drop for Turn<'_> {
    #[cold]
    fn drop(&mut self) {
        self.schedule.served_in_vain(self.key);
    }
}

/// The ready channels.
impl Schedule {
    fn is_ready(&self, key: Key) -> bool {
        self.leader == key || self.place(key).is_queued
    }

    /// The caller [settles](Self::settle) first.
    fn enter_ready(&mut self, key: Key) {
        let priority = self.place(key).share.priority;
        if self.leader != NONE && priority <= self.place(self.leader).share.priority {
            self.give_way();
        }
        let is_first = self.queue.first().is_none_or(|first| priority < first.priority);
        if self.leader == NONE && is_first && self.relief.is_empty() {
            (self.leader, self.solo.key) = (key, key);
        } else {
            self.enter_queue(key);
        }
    }

    /// The caller [settles](Self::settle) first.
    fn leave_ready(&mut self, key: Key) {
        if self.leader == key {
            (self.leader, self.solo.key) = (NONE, NONE);
        } else {
            self.leave_queue(key);
        }
        if self.leader == NONE && self.relief.is_empty() {
            self.elect();
        }
    }

    /// Makes the first channel the leader, if it is the only one of its class. No relief round may be in progress.
    fn elect(&mut self) {
        let Some(key) = self.queue.first().map(Entry::key) else { return };
        if self.classes[self.place(key).class].queued == 1 {
            self.leave_queue(key);
            (self.leader, self.solo.key) = (key, key);
        }
    }

    /// Puts the leader, if there is one, into the queue. The caller [settles](Self::settle) first.
    fn give_way(&mut self) {
        if self.leader != NONE {
            debug_assert_eq!(self.solo.run.turns, 0, "it was settled");
            let leader = mem::replace(&mut self.leader, NONE);
            self.solo.key = NONE;
            self.enter_queue(leader);
        }
    }
}

/// The queue.
impl Schedule {
    fn enter_queue(&mut self, key: Key) {
        let place = self.place_mut(key);
        place.is_queued = true;
        let (class, entry) = (place.class, place.entry(key));
        self.classes[class].queued += 1;
        self.queue.push(entry);
    }

    fn leave_queue(&mut self, key: Key) {
        let place = self.place_mut(key);
        place.is_queued = false;
        let class = place.class;
        self.classes[class].queued -= 1;
        self.queue.end(key, |entry| is_over(&self.places, entry));
    }
}

impl Place {
    #[inline]
    fn entry(&self, key: Key) -> Entry {
        Entry::new(key, self.share.priority, self.time, self.ticket)
    }
}

fn is_over(places: &[Option<Place>], entry: &Entry) -> bool {
    let place = places[entry.key()].as_ref();
    !place.is_some_and(|place| place.is_queued && place.ticket == entry.ticket)
}
