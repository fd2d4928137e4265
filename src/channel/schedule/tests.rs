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
    /// The one whose turn was left by a panic.
    panicked: Option<usize>,
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
        self.panicked = self.panicked.filter(|panicked| *panicked != key);
    }

    fn next(&mut self) -> Option<usize> {
        if let Some(key) = self.panicked.take() {
            self.served(key, 1);
            self.in_vain += 1;
        }
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

    fn served(&mut self, key: usize, cost: u64) {
        let ticket = self.draw_ticket();
        let Channel { share, time, .. } = *self.place(key);
        self.now[share.priority as usize] = time;
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
        for step in steps {
            // It is charged with the next turn: as ahead of whichever is ready then.
            let may_change = matches!(step, Step::AddOrRemove(..) | Step::SetShare(..) | Step::Wake(_));
            if plain.panicked.is_some() && may_change {
                continue;
            }
            match step {
                Step::AddOrRemove(key, share) if plain.places[key].is_none() => {
                    schedule.add(key, share);
                    plain.add(key, share);
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
                    schedule.end();
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
                    for _ in 0..turns {
                        if !schedule.has_leader() {
                            break;
                        }
                        schedule.served(key, 1);
                        plain.served(key, 1);
                        if schedule.has_leader() {
                            assert_eq!(plain.next(), Some(key));
                        }
                    }
                    if panics {
                        plain.panicked = Some(key);
                    } else {
                        schedule.end();
                    }
                }
            }
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
