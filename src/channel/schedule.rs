//! Whose turn it is among the channels of a select: pure data, without locks and wakers.
//!
//! # Priority
//!
//! The ready channels, if there are several, are in a heap over (priority, virtual time, since when it waits). The first
//! of them is asked before every event. When `bound` turns in a row were taken ahead of a ready lower channel, there is a **relief round**:
//! each lower channel that waited when it began has one turn, who waits longest first.
//!
//! **Bound.** Among n channels of distinct priorities, one that is ready waits at most `bound + n - 2` turns of others,
//! and the highest at most `n - 1`. For let X wait. It waits first for what is left of a round in which it has no turn
//! (any more), then for at most `bound` turns of higher ones, of which each counts, because X is ready and lower; then
//! for those who come before it in the next round. Who had a turn in the first of these rounds while X waited is behind X
//! in the second, for it waits less long. So nobody is in both, and in neither is X or the highest of all.
//!
//! # Weights
//!
//! Start-time fair queueing: a turn adds cost / weight to the channel's virtual time, and the least is next in its
//! priority; of equal ones, who waits longest. `now` is the time at which the last one began its turn. A channel that
//! becomes ready goes on from there if it is behind, so it saves up nothing; if it is ahead it keeps its debt. So a ready
//! channel is at `now` or ahead of it, by the cost of its last turn / its weight at most: `now` never goes back, and was
//! its own time then. Hence of two that stay ready, neither gets more in any span, by cost / weight, than the other and
//! the cost / weight of one turn of each.

use crate::channel::share::Share;
use std::cmp::Reverse;
use std::collections::BinaryHeap;
use std::mem;
use std::num::NonZeroU32;

/// A channel's key: its slot in the select.
type Key = usize;

const NONE: Key = Key::MAX;

/// Virtual time in units of 2^-63 turns of weight 1. At one unit of cost per nanosecond it lasts for a thousand years.
type Time = u128;

const FRACTION_BITS: u32 = 63;

#[derive(Debug)]
pub(crate) struct Schedule {
    /// By their keys.
    places: Vec<Option<Place>>,
    /// How many places there are.
    len: usize,
    classes: Vec<Class>,
    /// The only one that is ready, if there is but one; else [`NONE`].
    only: Key,
    /// The ready ones, a binary heap, if there are several. There is room for all.
    heap: Vec<Entry>,
    /// After how many turns ahead of a ready lower one there is a relief round. 0: never.
    bound: u32,
    /// How many of these there were in a row.
    ahead: u32,
    /// In a relief round: the tickets of those who waited when it began, who waits longest first; some had their turn
    /// since, or are not ready any more. There is room for all.
    relief: BinaryHeap<Reverse<(u64, Key)>>,
    /// How many turns there were, but for those in `solo`.
    turns: u64,
    /// Those of them that brought no event.
    in_vain: u64,
    tickets: u64,
    /// Who has its turn now; else [`NONE`].
    turn: Key,
    solo: Solo,
}

/// What one had in a row while no other was ready, and is not charged yet: so its turns, and becoming idle and ready in
/// between, cost next to nothing.
#[derive(Debug)]
struct Solo {
    /// The only one, or, if none is ready, the last one that was it; else [`NONE`].
    key: Key,
    run: Run,
}

/// Turns of one channel in a row.
#[derive(Debug, Default)]
struct Run {
    turns: u64,
    /// What they cost beyond 1 for each.
    more: u64,
    /// What the last of them cost beyond 1.
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
    /// Where it is in the heap; [`NONE`] if it is not.
    at: usize,
    /// How many turns there had been when it began to wait: when it became ready, or had its last turn.
    since: u64,
    /// Who has a smaller one waits longer.
    ticket: u64,
    counts: Counts,
}

/// One that is ready, and what decides whose turn it is.
#[derive(Clone, Copy, Debug)]
struct Entry {
    time: Time,
    ticket: u64,
    priority: u32,
    /// Short, so that this is not larger.
    key: u32,
}

const _: () = assert!(size_of::<Entry>() == 32);

impl Entry {
    #[inline(always)]
    fn is_before(&self, other: &Self) -> bool {
        if self.priority != other.priority {
            self.priority < other.priority
        } else if self.time != other.time {
            self.time < other.time
        } else {
            self.ticket < other.ticket
        }
    }
}

/// What became of a channel, counted.
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

/// The channels of one priority. Kept when there are none any more, until another priority needs the room.
#[derive(Debug)]
struct Class {
    priority: u32,
    /// The time at which the last one of it began its turn.
    now: Time,
    places: usize,
    /// How many are in the heap.
    ready: usize,
}

/// Control.
impl Schedule {
    pub(crate) fn new(bound: u32) -> Self {
        Self {
            places: Vec::new(),
            len: 0,
            classes: Vec::new(),
            only: NONE,
            heap: Vec::new(),
            bound,
            ahead: 0,
            relief: BinaryHeap::new(),
            turns: 0,
            in_vain: 0,
            tickets: 0,
            turn: NONE,
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
        self.heap.reserve(self.len - self.heap.len());
        self.relief.reserve(self.len.saturating_sub(self.relief.len()));
        let class = self.enter(share.priority);
        let place = Place {
            share,
            class,
            time: 0,
            stride: stride(share),
            at: NONE,
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
        if self.turn == key {
            self.turn = NONE;
        }
        if let Some(place) = self.places[key].take() {
            self.len -= 1;
            self.classes[place.class].places -= 1;
        }
    }

    /// From now on a channel has that share. What it is ahead of others, in cost, it stays.
    ///
    /// Cost: as [`add`](Self::add).
    pub(crate) fn set_share(&mut self, key: usize, share: Share) {
        self.settle();
        let is_ready = self.is_ready(key);
        if is_ready {
            self.leave_ready(key);
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

    /// How many turns brought an event.
    pub(crate) fn events(&self) -> u64 {
        self.turns + self.solo.run.turns - self.in_vain
    }

    /// The class of a priority, for one more.
    fn enter(&mut self, priority: u32) -> usize {
        let found = self.classes.iter().position(|class| class.priority == priority);
        let found = found.or_else(|| {
            // One that nobody is in, so that there never are more than channels.
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
        Self { priority, now: 0, places: 0, ready: 0 }
    }
}

fn stride(share: Share) -> u64 {
    (1 << FRACTION_BITS) / u64::from(share.weight.get())
}

/// Turns.
impl Schedule {
    /// A channel may have something. If there is none with that key, or it is ready, nothing is done.
    ///
    /// Cost: O(log ready).
    #[inline]
    pub(crate) fn wake(&mut self, key: usize) {
        // Nobody had a turn since it became idle.
        if key == self.solo.key && self.only == NONE {
            self.only = key;
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

    /// Whose turn it is, which begins. For each event it is [`served`](Self::served); it is [`idle`](Self::idle) if it
    /// turned out to have nothing; and it [`ends`](Self::end) the turn. If it does not, because of a panic, the turn counts
    /// as one [in vain](Self::served_in_vain).
    #[inline]
    pub(crate) fn next(&mut self) -> Option<usize> {
        if self.turn != NONE {
            self.end_by_panic();
        }
        let next = if self.only != NONE {
            self.only
        } else if self.relief.is_empty() {
            self.heap.first()?.key as Key
        } else {
            self.next_in_relief()?
        };
        self.turn = next;
        Some(next)
    }

    #[inline(always)]
    pub(crate) fn end(&mut self) {
        self.turn = NONE;
    }

    #[cold]
    fn end_by_panic(&mut self) {
        let key = mem::replace(&mut self.turn, NONE);
        // It may have been removed since, or idle.
        if self.places[key].is_some() && self.is_ready(key) {
            self.served_in_vain(key);
        }
    }

    /// A channel had a turn that brought no event, but counts.
    pub(crate) fn served_in_vain(&mut self, key: usize) {
        self.served(key, 1);
        self.in_vain += 1;
    }

    /// Whether one alone is ready.
    #[inline]
    pub(crate) fn has_only(&self) -> bool {
        self.only != NONE
    }

    /// Cost: each that was ready when the round began is looked at once in it, at O(log ready).
    #[cold]
    fn next_in_relief(&mut self) -> Option<Key> {
        let first = self.heap.first()?.key as Key;
        let highest = self.place(first).class;
        let has_lower = self.heap.len() > self.classes[highest].ready;
        while let (true, Some(&Reverse((ticket, key)))) = (has_lower, self.relief.peek()) {
            let waits = |place: &Place| place.at != NONE && place.ticket == ticket && place.class != highest;
            if self.places[key].as_ref().is_some_and(waits) {
                return Some(key);
            }
            self.relief.pop();
        }
        self.relief.clear();
        self.ahead = 0;
        Some(first)
    }

    /// A channel had an event, at this cost, and is still ready.
    ///
    /// Cost: O(log ready); every so many turns, when a relief round begins, O(ready).
    #[inline(always)]
    pub(crate) fn served(&mut self, key: usize, cost: u64) {
        if self.only == key {
            let Run { turns, more, last } = &mut self.solo.run;
            (*turns, *more, *last) = (*turns + 1, more.saturating_add(cost - 1), cost - 1);
        } else {
            self.served_among_others(key, cost);
        }
    }

    /// Charges what one had alone, which is the only one no more.
    #[inline]
    fn settle(&mut self) {
        if self.solo.run.turns != 0 {
            self.charge_solo();
        }
        self.solo.key = self.only;
    }

    #[inline(never)]
    fn charge_solo(&mut self) {
        let had = mem::take(&mut self.solo.run);
        self.charge(self.solo.key, had);
        // Nobody waited when it had the first of these.
        self.relief.clear();
        self.ahead = 0;
    }

    /// A channel had these turns. Returns whether there are others that are not of its priority in the heap.
    #[inline(always)]
    fn charge(&mut self, key: Key, had: Run) -> bool {
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
        self.heap.len() > class.ready
    }

    #[inline(never)]
    fn served_among_others(&mut self, key: Key, cost: u64) {
        let is_ahead = self.charge(key, Run { turns: 1, more: cost - 1, last: cost - 1 });
        let place = self.place(key);
        let (at, time, ticket) = (place.at, place.time, place.ticket);
        let entry = Entry { time, ticket, ..self.heap[at] };
        self.sift_down(at, entry);
        if !self.relief.is_empty() {
            return;
        }
        // It was the highest: the others are lower, but for those of its class.
        self.ahead = if is_ahead { self.ahead.saturating_add(1) } else { 0 };
        if self.bound != 0 && self.ahead >= self.bound {
            self.begin_relief();
        }
    }

    #[cold]
    fn begin_relief(&mut self) {
        let mut relief = mem::take(&mut self.relief).into_vec();
        relief.extend(self.heap.iter().map(|entry| Reverse((entry.ticket, entry.key as Key))));
        self.relief = BinaryHeap::from(relief);
    }

    /// A channel has nothing.
    ///
    /// Cost: O(log ready).
    #[inline]
    pub(crate) fn idle(&mut self, key: usize) {
        if self.only == key {
            self.only = NONE;
        } else {
            self.idle_among_others(key);
        }
    }

    #[inline(never)]
    fn idle_among_others(&mut self, key: usize) {
        if self.places[key].as_ref().is_some_and(|place| place.at != NONE) {
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

/// Who is ready.
impl Schedule {
    fn is_ready(&self, key: Key) -> bool {
        self.only == key || self.place(key).at != NONE
    }

    /// To be [settled](Self::settle) before.
    fn enter_ready(&mut self, key: Key) {
        if self.only == NONE && self.heap.is_empty() {
            (self.only, self.solo.key) = (key, key);
            return;
        }
        if self.only != NONE {
            let only = mem::replace(&mut self.only, NONE);
            self.solo.key = NONE;
            debug_assert_eq!(self.solo.run.turns, 0, "it was settled");
            self.enter_heap(only);
        }
        self.enter_heap(key);
    }

    fn leave_ready(&mut self, key: Key) {
        if self.only == key {
            (self.only, self.solo.key) = (NONE, NONE);
            return;
        }
        self.leave_heap(key);
        if let [last] = self.heap[..] {
            self.leave_heap(last.key as Key);
            (self.only, self.solo.key) = (last.key as Key, last.key as Key);
        }
    }
}

/// The heap.
impl Schedule {
    fn enter_heap(&mut self, key: Key) {
        let place = self.place(key);
        let class = place.class;
        let entry = Entry {
            time: place.time,
            ticket: place.ticket,
            priority: place.share.priority,
            key: u32::try_from(key).expect("there are fewer channels"),
        };
        self.classes[class].ready += 1;
        self.heap.push(entry);
        self.sift_up(self.heap.len() - 1, entry);
    }

    fn leave_heap(&mut self, key: Key) {
        let place = self.place_mut(key);
        let (at, class) = (place.at, place.class);
        place.at = NONE;
        self.classes[class].ready -= 1;
        let moved = self.heap.pop().expect("it is there");
        if moved.key as Key != key {
            self.sift_up(at, moved);
            let at = self.place(moved.key as Key).at;
            self.sift_down(at, moved);
        }
    }

    /// Puts an entry into the heap at a vacant place or above.
    fn sift_up(&mut self, mut at: usize, entry: Entry) {
        while at > 0 {
            let above = (at - 1) / 2;
            if !entry.is_before(&self.heap[above]) {
                break;
            }
            self.put(at, self.heap[above]);
            at = above;
        }
        self.put(at, entry);
    }

    /// Puts an entry into the heap at a vacant place or below.
    #[inline]
    fn sift_down(&mut self, mut at: usize, entry: Entry) {
        let (heap, places) = (&mut self.heap[..], &mut self.places[..]);
        let mut put = |at: usize, entry: Entry| {
            places[entry.key as Key].as_mut().expect("it is there").at = at;
            entry
        };
        while let Some(mut least) = heap.get(2 * at + 1).copied() {
            let mut below = 2 * at + 1;
            if let Some(other) = heap.get(below + 1) {
                if other.is_before(&least) {
                    (below, least) = (below + 1, *other);
                }
            }
            if !least.is_before(&entry) {
                break;
            }
            heap[at] = put(at, least);
            at = below;
        }
        heap[at] = put(at, entry);
    }

    #[inline]
    fn put(&mut self, at: usize, entry: Entry) {
        self.heap[at] = entry;
        self.place_mut(entry.key as Key).at = at;
    }
}
