//! Whose turn it is among the channels of a select: pure data, without locks and wakers.
//!
//! # Priority
//!
//! The ready channels are in a heap over (priority, virtual time, since when it waits). The first of them is asked before
//! every event. When `bound` turns in a row were taken ahead of a ready lower channel, there is a **relief round**:
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
use std::cmp::Ordering;
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
    /// The ready ones, a binary heap. There is room for all.
    heap: Vec<Key>,
    /// The ends of the list of the ready ones, who waits longest first.
    first: Key,
    last: Key,
    /// After how many turns ahead of a ready lower one there is a relief round. 0: never.
    bound: u32,
    /// How many of these there were in a row.
    ahead: u32,
    relief: Option<Relief>,
    /// How many turns there were.
    turns: u64,
    /// What the only ready one had in a row, and is not charged yet: so that its turns cost next to nothing.
    solo: Run,
}

/// Turns of one channel in a row.
#[derive(Debug, Default)]
struct Run {
    turns: u64,
    cost: u64,
    /// What the last of these turns cost.
    last: u64,
}

/// A channel.
#[derive(Debug)]
struct Place {
    share: Share,
    class: usize,
    time: Time,
    /// 1 / weight.
    stride: u64,
    /// Where it is in the heap; [`NONE`] if it is not ready.
    at: Key,
    /// Its neighbours in the list.
    before: Key,
    behind: Key,
    /// How many turns there had been when it began to wait: when it became ready, or had its last turn.
    since: u64,
    counts: Counts,
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
        self.cost = self.cost.saturating_add(had.cost);
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
    ready: usize,
}

/// A relief round.
#[derive(Debug)]
struct Relief {
    /// Those are in it who waited then.
    until: u64,
    /// From here on in the list it goes on.
    next: Key,
}

/// Control.
impl Schedule {
    pub(crate) fn new(bound: u32) -> Self {
        Self {
            places: Vec::new(),
            len: 0,
            classes: Vec::new(),
            heap: Vec::new(),
            first: NONE,
            last: NONE,
            bound,
            ahead: 0,
            relief: None,
            turns: 0,
            solo: Run::default(),
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
        let class = self.enter(share.priority);
        let place = Place {
            share,
            class,
            time: 0,
            stride: stride(share),
            at: NONE,
            before: NONE,
            behind: NONE,
            since: 0,
            counts: Counts::default(),
        };
        debug_assert!(self.places[key].is_none());
        self.places[key] = Some(place);
        self.wake(key);
    }

    /// Cost: as [`idle`](Self::idle).
    pub(crate) fn remove(&mut self, key: usize) {
        self.idle(key);
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
        let is_ready = self.place(key).at != NONE;
        if is_ready {
            self.leave_heap(key);
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
            self.enter_heap(key);
        }
    }

    pub(crate) fn share(&self, key: usize) -> Share {
        self.place(key).share
    }

    pub(crate) fn counts(&self, key: usize) -> Counts {
        let place = self.place(key);
        let mut counts = place.counts;
        if self.solo.turns != 0 && key == self.first {
            counts.note(&self.solo, self.turns - place.since);
        }
        counts
    }

    /// How many turns there were.
    pub(crate) fn turns(&self) -> u64 {
        self.turns + self.solo.turns
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
    pub(crate) fn wake(&mut self, key: usize) {
        self.settle();
        let turns = self.turns;
        let Some(Some(place)) = self.places.get_mut(key) else { return };
        if place.at != NONE {
            return;
        }
        place.time = place.time.max(self.classes[place.class].now);
        place.since = turns;
        self.append(key);
        self.enter_heap(key);
    }

    /// Whose turn it is: when it had that, it is [`served`](Self::served), or [`idle`](Self::idle) if it turned out to
    /// have nothing.
    #[inline]
    pub(crate) fn next(&mut self) -> Option<usize> {
        let first = *self.heap.first()?;
        if self.relief.is_some() {
            return Some(self.next_in_relief(first));
        }
        Some(first)
    }

    /// Cost: each that is ready is looked at once in a round.
    #[cold]
    fn next_in_relief(&mut self, first: Key) -> Key {
        let highest = self.place(first).class;
        let has_lower = self.heap.len() > self.classes[highest].ready;
        if let (true, Some(Relief { until, mut next })) = (has_lower, self.relief.take()) {
            while next != NONE && self.place(next).since <= until {
                if self.place(next).class != highest {
                    self.relief = Some(Relief { until, next });
                    return next;
                }
                next = self.place(next).behind;
            }
        }
        self.relief = None;
        self.ahead = 0;
        first
    }

    /// A channel had its turn, at this cost, and is still ready.
    ///
    /// Cost: O(log ready).
    #[inline]
    pub(crate) fn served(&mut self, key: usize, cost: u64) {
        if self.heap.len() == 1 {
            let Run { turns, cost: all, last } = &mut self.solo;
            (*turns, *all, *last) = (*turns + 1, all.saturating_add(cost), cost);
            return;
        }
        self.served_among_others(key, cost);
    }

    /// Charges the only ready one what it had.
    #[inline]
    fn settle(&mut self) {
        if self.solo.turns != 0 {
            self.charge_solo();
        }
    }

    #[inline(never)]
    fn charge_solo(&mut self) {
        let had = mem::take(&mut self.solo);
        self.charge(self.first, had);
        self.ahead = 0;
    }

    /// A channel had these turns. Returns whether there are ready ones that are not of its priority.
    #[inline]
    fn charge(&mut self, key: Key, had: Run) -> bool {
        let place = self.places[key].as_mut().expect("it is there");
        let class = &mut self.classes[place.class];
        let charge = |cost: u64| Time::from(cost) * Time::from(place.stride);
        let end = place.time.saturating_add(charge(had.cost));
        // The beginning of the last turn.
        class.now = end - charge(had.last).min(end - place.time);
        place.time = end;
        place.counts.note(&had, self.turns - place.since);
        self.turns += had.turns;
        place.since = self.turns;
        self.heap.len() > class.ready
    }

    #[inline(never)]
    fn served_among_others(&mut self, key: Key, cost: u64) {
        let is_ahead = self.charge(key, Run { turns: 1, cost, last: cost });
        self.unlink(key);
        self.append(key);
        let at = self.place(key).at;
        self.sift_down(at, key);
        if self.relief.is_some() {
            return;
        }
        // It was the highest: the others are lower, but for those of its class.
        self.ahead = if is_ahead { self.ahead.saturating_add(1) } else { 0 };
        if self.bound != 0 && self.ahead >= self.bound {
            self.relief = Some(Relief { until: self.turns, next: self.first });
        }
    }

    /// A channel has nothing.
    ///
    /// Cost: O(log ready).
    pub(crate) fn idle(&mut self, key: usize) {
        self.settle();
        if self.places[key].as_ref().is_some_and(|place| place.at != NONE) {
            self.unlink(key);
            self.leave_heap(key);
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

/// The list.
impl Schedule {
    fn append(&mut self, key: Key) {
        let before = self.last;
        let place = self.place_mut(key);
        (place.before, place.behind) = (before, NONE);
        self.last = key;
        match before {
            NONE => self.first = key,
            before => self.place_mut(before).behind = key,
        }
    }

    fn unlink(&mut self, key: Key) {
        let Place { before, behind, .. } = *self.place(key);
        match before {
            NONE => self.first = behind,
            before => self.place_mut(before).behind = behind,
        }
        match behind {
            NONE => self.last = before,
            behind => self.place_mut(behind).before = before,
        }
        if let Some(relief) = &mut self.relief {
            if relief.next == key {
                relief.next = behind;
            }
        }
    }
}

/// The heap.
impl Schedule {
    fn enter_heap(&mut self, key: Key) {
        let class = self.place(key).class;
        self.classes[class].ready += 1;
        self.heap.push(key);
        self.sift_up(self.heap.len() - 1, key);
    }

    fn leave_heap(&mut self, key: Key) {
        let place = self.place_mut(key);
        let (at, class) = (place.at, place.class);
        place.at = NONE;
        self.classes[class].ready -= 1;
        let moved = self.heap.pop().expect("it is there");
        if moved != key {
            self.sift_up(at, moved);
            let at = self.place(moved).at;
            self.sift_down(at, moved);
        }
    }

    fn is_before(&self, one: Key, other: Key) -> bool {
        let (a, b) = (self.place(one), self.place(other));
        let by_time = || a.time.cmp(&b.time).then(a.since.cmp(&b.since)).then(one.cmp(&other));
        a.share.priority.cmp(&b.share.priority).then_with(by_time) == Ordering::Less
    }

    /// Puts a key into the heap at a vacant place or above.
    fn sift_up(&mut self, mut at: usize, key: Key) {
        while at > 0 {
            let above = (at - 1) / 2;
            if !self.is_before(key, self.heap[above]) {
                break;
            }
            self.put(at, self.heap[above]);
            at = above;
        }
        self.put(at, key);
    }

    /// Puts a key into the heap at a vacant place or below.
    fn sift_down(&mut self, mut at: usize, key: Key) {
        loop {
            let below = 2 * at + 1;
            if below >= self.heap.len() {
                break;
            }
            let other = below + 1;
            let is_other = other < self.heap.len() && self.is_before(self.heap[other], self.heap[below]);
            let least = if is_other { other } else { below };
            if !self.is_before(self.heap[least], key) {
                break;
            }
            self.put(at, self.heap[least]);
            at = least;
        }
        self.put(at, key);
    }

    fn put(&mut self, at: usize, key: Key) {
        self.heap[at] = key;
        self.place_mut(key).at = at;
    }
}
