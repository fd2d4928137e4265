//! The same turns as by looking at all channels, which nobody could mistake.

use super::queue::{Entry, Queue};
use super::{Counts, FRACTION_BITS, Schedule, Time};
use crate::channel::share::Share;
use proptest::prelude::*;
use std::num::NonZeroU32;

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

fn share() -> impl Strategy<Value = Share> {
    (0..4_u32, 1..4_u32).prop_map(|(priority, weight)| Share::new().priority(priority).weight(weight))
}

fn step() -> impl Strategy<Value = Step> {
    prop_oneof![
        1 => (0..CHANNELS, share()).prop_map(|(key, share)| Step::AddOrRemove(key, share)),
        1 => (0..CHANNELS, share()).prop_map(|(key, share)| Step::SetShare(key, share)),
        1 => (0..5_u32).prop_map(Step::Bound),
        8 => (0..CHANNELS).prop_map(Step::Wake),
        4 => Just(Step::Idle),
        16 => (1..4_u64).prop_map(Step::Served),
        4 => (0..9_u8, any::<bool>()).prop_map(|(turns, panics)| Step::Batch(turns, panics)),
        1 => Just(Step::Panic),
    ]
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::with_cases(128) })]

    #[test]
    fn the_turns_are_those_of_one_that_looks_at_all(steps in prop::collection::vec(step(), 1..300)) {
        let (mut schedule, mut plain) = (Schedule::new(0), Plain::default());
        for step in steps {
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
                    prop_assert_eq!(next, plain.next());
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
                    prop_assert_eq!(next, plain.next());
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
                            prop_assert_eq!(plain.next(), Some(key));
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
            prop_assert_eq!(schedule.events(), plain.turns - plain.in_vain);
            for (key, place) in plain.places.iter().enumerate() {
                let Some(place) = place else { continue };
                let Counts { turns, cost, longest_wait } = schedule.counts(key);
                prop_assert_eq!((turns, cost, longest_wait), (place.turns, place.cost, place.longest_wait));
            }
        }
    }

    /// The entries of so many channels: each step is the next entry of one of them, or its end.
    #[test]
    fn the_first_of_a_queue_is_the_first_that_is_not_over(
        steps in prop::collection::vec((0..CHANNELS, 0..3_u32, 0..4_u8, any::<bool>()), 1..300),
    ) {
        let (mut queue, mut present) = (Queue::default(), [None::<Entry>; CHANNELS]);
        queue.reserve(CHANNELS);
        let room = (queue.line.capacity(), queue.heap.capacity());
        for (ticket, (key, priority, time, stays)) in steps.into_iter().enumerate() {
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
            prop_assert_eq!(queue.first(), present.iter().flatten().max());
            prop_assert_eq!(queue.len(), present.iter().flatten().count());
            prop_assert!(queue.line.len() + queue.heap.len() <= 2 * queue.len() + 1);
            prop_assert_eq!((queue.line.capacity(), queue.heap.capacity()), room);
        }
    }
}
