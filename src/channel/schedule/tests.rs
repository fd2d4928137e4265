//! The same turns as by looking at all channels, which nobody could mistake.

use super::queue::{Entry, Queue};
use super::{Counts, FRACTION_BITS, Schedule, Time};
use crate::channel::share::Share;
use quickcheck::{Arbitrary, Gen, QuickCheck};
use random::{below, below_u8};
use std::fmt::Debug;
use std::num::NonZeroU32;

#[path = "../../../tests/support/random.rs"]
mod random;

const CHANNELS: usize = 6;

/// A schedule that looks at all channels for each turn.
#[derive(Default)]
struct Plain {
    places: [Option<Channel>; CHANNELS],
    /// The time at which the last turn of a priority began.
    now: [Time; 4],
    bound: u32,
    ahead: u32,
    /// Those that have a turn in this relief round, with their tickets.
    relief: Vec<(u64, usize)>,
    tickets: u64,
    turns: u64,
    in_vain: u64,
}

#[derive(Clone, Copy)]
struct Channel {
    share: Share,
    time: Time,
    ticket: u64,
    is_ready: bool,
    /// How many turns there had been when it began to wait.
    since: u64,
    turns: u64,
    cost: u64,
    longest_wait: u64,
}

impl Plain {
    fn place(&mut self, key: usize) -> &mut Channel {
        self.places[key].as_mut().unwrap()
    }

    fn draw_ticket(&mut self) -> u64 {
        self.tickets += 1;
        self.tickets
    }

    fn ready(&self) -> impl Iterator<Item = (usize, Channel)> + '_ {
        let places = self.places.iter().enumerate();
        places.filter_map(|(key, place)| place.filter(|place| place.is_ready).map(|place| (key, place)))
    }

    fn add(&mut self, key: usize, share: Share) {
        self.places[key] = Some(Channel {
            share,
            time: 0,
            ticket: 0,
            is_ready: false,
            since: 0,
            turns: 0,
            cost: 0,
            longest_wait: 0,
        });
        self.wake(key);
    }

    fn wake(&mut self, key: usize) {
        let (ticket, turns) = (self.draw_ticket(), self.turns);
        let Some(place) = &mut self.places[key] else { return };
        if !place.is_ready {
            let time = place.time.max(self.now[place.share.priority as usize]);
            (place.time, place.ticket, place.is_ready, place.since) = (time, ticket, true, turns);
        }
    }

    /// It keeps its debt, in cost.
    fn set_share(&mut self, key: usize, share: Share) {
        let now = self.now;
        let place = self.place(key);
        let debt = place.time.saturating_sub(now[place.share.priority as usize]);
        let [old, new] = [place.share, share].map(|share| Time::from(share.weight.get()));
        place.time = now[share.priority as usize] + debt / new * old + debt % new * old / new;
        place.share = share;
    }

    fn remove(&mut self, key: usize) {
        self.places[key] = None;
    }

    fn next(&mut self) -> Option<usize> {
        let first = self.ready().min_by_key(|(_, at)| (at.share.priority, at.time, at.ticket));
        let (first, Channel { share: Share { priority, .. }, .. }) = first?;
        let is_relief = !self.relief.is_empty();
        let is_lower = |at: &Channel| at.share.priority != priority;
        while self.ready().any(|(_, at)| is_lower(&at)) {
            let Some(&(ticket, key)) = self.relief.first() else { break };
            if self.ready().any(|(ready, at)| (ready, at.ticket) == (key, ticket) && is_lower(&at)) {
                return Some(key);
            }
            self.relief.remove(0);
        }
        if is_relief {
            self.relief.clear();
            self.ahead = 0;
        }
        Some(first)
    }

    /// Whether one channel is next until another becomes ready or a round begins.
    fn has_leader(&self) -> bool {
        let highest = self.ready().map(|(_, at)| at.share.priority).min();
        let of_the_highest = self.ready().filter(|(_, at)| Some(at.share.priority) == highest);
        self.relief.is_empty() && of_the_highest.count() == 1
    }

    fn served(&mut self, key: usize, cost: u64) {
        let ticket = self.draw_ticket();
        let Channel { share, time, .. } = *self.place(key);
        if self.relief.is_empty() {
            self.now[share.priority as usize] = time;
        }
        let turns = self.turns;
        self.turns += 1;
        let place = self.place(key);
        place.ticket = ticket;
        place.turns += 1;
        place.cost += cost;
        place.longest_wait = place.longest_wait.max(turns - place.since);
        place.since = turns + 1;
        self.place(key).time +=
            Time::from(cost) * Time::from((1_u64 << FRACTION_BITS) / u64::from(share.weight.get()));
        if self.relief.is_empty() {
            let is_ahead = self.ready().any(|(_, at)| at.share.priority != share.priority);
            self.ahead = if is_ahead { self.ahead + 1 } else { 0 };
            if self.bound != 0 && self.ahead >= self.bound {
                self.relief = self.ready().map(|(key, at)| (at.ticket, key)).collect();
                self.relief.sort_unstable();
                for (priority, now) in (0..).zip(&mut self.now) {
                    let ready = self.places.iter().flatten();
                    let ready = ready.filter(|place| place.is_ready && place.share.priority == priority);
                    *now = ready.map(|place| place.time).min().unwrap_or(*now);
                }
            }
        }
    }
}

#[derive(Clone, Copy, Debug)]
enum Step {
    AddOrRemove(usize, Share),
    SetShare(usize, Share),
    Wake(usize),
    Bound(u32),
    Idle,
    Served(u64),
    /// So many of one that leads, as in a batch, and an end by a panic.
    Batch(u8, bool),
    Panic,
}

fn capacities(schedule: &Schedule) -> [usize; 3] {
    let Queue { line, heap, .. } = &schedule.queue;
    [line.capacity(), heap.capacity(), schedule.relief.capacity()]
}

impl Arbitrary for Step {
    fn arbitrary(g: &mut Gen) -> Self {
        match below(g, 36) {
            0 => Self::AddOrRemove(below(g, CHANNELS), share(g)),
            1 => Self::SetShare(below(g, CHANNELS), share(g)),
            2 => Self::Bound(below_u8(g, 5).into()),
            3 => Self::Panic,
            4..12 => Self::Wake(below(g, CHANNELS)),
            12..16 => Self::Idle,
            16..20 => Self::Batch(below_u8(g, 9), bool::arbitrary(g)),
            _ => Self::Served(1 + u64::from(below_u8(g, 3))),
        }
    }
}

fn share(g: &mut Gen) -> Share {
    Share::new().priority(below_u8(g, 4).into()).weight(1 + u32::from(below_u8(g, 3)))
}

fn check<T: Arbitrary + Debug>(property: fn(Vec<T>)) {
    QuickCheck::new().rng(Gen::new(300)).quickcheck(property);
}

#[test]
fn the_turns_are_those_of_one_that_looks_at_all() {
    check(|steps: Vec<Step>| {
        let (mut schedule, mut plain) = (Schedule::new(0), Plain::default());
        let (mut most, mut room) = (0, [0; 3]);
        for step in steps {
            match step {
                Step::AddOrRemove(key, share) if plain.places[key].is_none() => {
                    schedule.add(key, share);
                    plain.add(key, share);
                    (most, room) = (most.max(schedule.len()), capacities(&schedule));
                }
                Step::AddOrRemove(key, _) => {
                    schedule.remove(key);
                    plain.remove(key);
                }
                Step::SetShare(key, share) => {
                    if plain.places[key].is_some() {
                        schedule.set_share(key, share);
                        plain.set_share(key, share);
                    }
                }
                Step::Wake(key) => {
                    schedule.wake(key);
                    plain.wake(key);
                }
                Step::Bound(bound) => {
                    schedule.set_bound(NonZeroU32::new(bound));
                    plain.bound = bound;
                }
                Step::Idle | Step::Served(_) => {
                    let next = schedule.next();
                    assert_eq!(next, plain.next());
                    let Some(key) = next else { continue };
                    schedule.begin(key).end();
                    if let Step::Served(cost) = step {
                        schedule.served(key, cost);
                        plain.served(key, cost);
                    } else {
                        schedule.idle(key);
                        plain.place(key).is_ready = false;
                    }
                }
                Step::Batch(..) | Step::Panic => {
                    let next = schedule.next();
                    assert_eq!(next, plain.next());
                    let Some(key) = next else { continue };
                    let (turns, panics) = match step {
                        Step::Batch(turns, panics) => (turns, panics),
                        _ => (0, true),
                    };
                    let turn = schedule.begin(key);
                    for _ in 0..turns {
                        if !turn.schedule.has_leader() {
                            break;
                        }
                        turn.schedule.served(key, 1);
                        plain.served(key, 1);
                        if turn.schedule.has_leader() {
                            assert_eq!(plain.next(), Some(key));
                        }
                    }
                    if panics {
                        drop(turn);
                        plain.served(key, 1);
                        plain.in_vain += 1;
                    } else {
                        turn.end();
                    }
                }
            }
            assert_eq!(capacities(&schedule), room, "only a channel that comes may allocate");
            assert!(schedule.classes.len() <= most);
            assert_eq!(schedule.has_leader(), plain.has_leader());
            assert_eq!(schedule.events(), plain.turns - plain.in_vain);
            for (key, place) in plain.places.iter().enumerate() {
                let Some(place) = place else { continue };
                let Counts { turns, cost, longest_wait } = schedule.counts(key);
                assert_eq!((turns, cost, longest_wait), (place.turns, place.cost, place.longest_wait));
            }
        }
    });
}

#[derive(Clone, Debug)]
struct EntryOrEnd {
    key: usize,
    priority: u32,
    time: u8,
    stays: bool,
}

impl Arbitrary for EntryOrEnd {
    fn arbitrary(g: &mut Gen) -> Self {
        Self {
            key: below(g, CHANNELS),
            priority: below_u8(g, 3).into(),
            time: below_u8(g, 4),
            stays: bool::arbitrary(g),
        }
    }
}

/// The entries of so many channels: each step is the next entry of one of them, or its end.
#[test]
fn the_first_of_a_queue_is_the_first_that_is_not_over() {
    check(|steps: Vec<EntryOrEnd>| {
        let (mut queue, mut present) = (Queue::default(), [None::<Entry>; CHANNELS]);
        queue.reserve(CHANNELS);
        let room = (queue.line.capacity(), queue.heap.capacity());
        for (ticket, step) in steps.into_iter().enumerate() {
            let EntryOrEnd { key, priority, time, stays } = step;
            let next = Entry::new(key, priority, Time::from(time), ticket as u64);
            let before = present[key].take();
            present[key] = stays.then_some(next);
            let is_over = |entry: &Entry| present[entry.key()].as_ref() != Some(entry);
            match (before, stays) {
                (None, true) => queue.push(next),
                (Some(_), true) => queue.replace(next, is_over),
                (Some(_), false) => queue.end(key, is_over),
                (None, false) => {}
            }
            assert_eq!(queue.first(), present.iter().flatten().max());
            assert_eq!(queue.len(), present.iter().flatten().count());
            assert!(queue.line.len() + queue.heap.len() <= 2 * queue.len() + 1);
            assert_eq!((queue.line.capacity(), queue.heap.capacity()), room);
        }
    });
}

/// A debt of three turns at the greatest weight is less than twice that weight.
#[test]
fn a_new_share_keeps_the_debt_to_the_turn() {
    let share = Share::new().weight(u32::MAX);
    let mut schedule = Schedule::new(0);
    (0..2).for_each(|key| schedule.add(key, share));
    for (turn, cost) in [(0, 3), (1, 1), (1, 1), (1, 1), (0, 1)] {
        assert_eq!(schedule.next(), Some(turn));
        schedule.begin(turn).end();
        schedule.served(turn, cost);
        schedule.set_share(turn, share);
    }
}

/// Entries that come after all others go to the end of the line, also if only their tickets say that they do.
#[test]
fn equals_take_turns_in_the_line() {
    let mut queue = Queue::default();
    queue.reserve(3);
    (0..3).for_each(|key| queue.push(Entry::new(key, 0, 0, key as u64)));
    for ticket in 3..12 {
        let next = Entry::new(queue.first().expect("three are in it").key(), 0, 0, ticket);
        let is_over = |entry: &Entry| entry.ticket + 3 <= ticket;
        queue.replace(next, is_over);
    }
    assert_eq!((queue.line.len(), queue.heap.len()), (3, 0));
}

/// The line has room for the entries of two channels, for as many that are over, and for one more.
#[test]
fn an_entry_that_is_replaced_again_and_again_takes_no_more_room() {
    let mut queue = Queue::default();
    queue.reserve(2);
    let (room, mut present) = (queue.line.capacity(), [Entry::new(0, 0, 0, 0), Entry::new(1, 0, 0, 1)]);
    present.into_iter().for_each(|entry| queue.push(entry));
    for ticket in 2..20 {
        // Once that of the first channel, so that it is the first of the line. From then on those of the other one.
        let key = usize::from(ticket > 2);
        present[key] = Entry::new(key, 0, Time::from(ticket * u64::from(ticket > 2)), ticket);
        queue.replace(present[key], |entry| present[entry.key()] != *entry);
        assert_eq!(queue.line.capacity(), room);
    }
}
