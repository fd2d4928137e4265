//! The bound on fairness, for the engine and for channels: after a stream was polled, every other stream of its channel that
//! was ready at that moment is polled before it is polled again. "That moment" is the moment at which the poll began.
//!
//! Here the turns do not overlap. In this case the bound also holds for members that became ready before the first turn
//! ended, and this is what the tests check.

use crate::random::below;
use crate::support;
use futures::{FutureExt, Stream, StreamExt};
use quickcheck::{Arbitrary, Gen, QuickCheck};
use std::cell::{Cell, RefCell};
use std::collections::BTreeMap;
use std::pin::Pin;
use std::rc::Rc;
use std::task::{Context, Poll, Waker};
use stream_multiplexer::{ChannelReceiver, Multiplexer, StreamEvent, StreamId, StreamSlab};
use support::poll;

/// The history of the members.
enum Entry {
    /// A poll of a member, and the members that were ready when it returned: without that member, all that were ready
    /// when the poll began, and all that were woken during the poll.
    Turn {
        member: usize,
        ready: Vec<usize>,
    },
    Left {
        member: usize,
    },
}

impl Entry {
    fn member(&self) -> usize {
        match self {
            Self::Turn { member, .. } | Self::Left { member } => *member,
        }
    }

    fn is_turn_of(&self, whose: usize) -> bool {
        matches!(self, Self::Turn { member, .. } if *member == whose)
    }
}

/// The oracle: checks that between any two turns of one member, all members that were ready have a turn.
fn check_bound(entries: &[Entry]) {
    for (at, entry) in entries.iter().enumerate() {
        let Entry::Turn { member, ready } = entry else { continue };
        let later = &entries[at + 1..];
        let Some(next) = later.iter().position(|entry| entry.is_turn_of(*member)) else { continue };
        for other in ready {
            let had_one = later[..next].iter().any(|entry| entry.member() == *other);
            assert!(had_one, "{other} was ready at turn {at}, and {member} had its next one before it");
        }
    }
}

/// An unlimited number of items.
const ENDLESS: usize = usize::MAX;

/// The next actions of a member.
#[derive(Default)]
struct Part {
    present: bool,
    items: usize,
    ends: bool,
    /// The members that its next poll wakes.
    wakes: Vec<usize>,
    waker: Option<Waker>,
    /// The member was inserted or woken, or had an item, and was not polled since. This is the stream's own record, not the
    /// library's state.
    ready: bool,
}

/// The members of a test, by numbers that are never reused.
#[derive(Default)]
struct Script {
    parts: Vec<Part>,
    entries: Vec<Entry>,
}

impl Script {
    /// Makes a member ready. The caller calls the returned waker outside of the borrow.
    fn wake(&mut self, member: usize) -> Option<Waker> {
        let part = &mut self.parts[member];
        part.ready = part.present;
        part.waker.clone()
    }

    fn begin_turn(&mut self, member: usize, waker: &Waker) -> Vec<usize> {
        let part = &mut self.parts[member];
        part.ready = false;
        part.waker = Some(waker.clone());
        std::mem::take(&mut part.wakes)
    }

    fn end_turn(&mut self, member: usize) -> Poll<Option<()>> {
        let ready = (0..self.parts.len()).filter(|&other| other != member && self.parts[other].ready);
        self.entries.push(Entry::Turn { member, ready: ready.collect() });
        let part = &mut self.parts[member];
        match part.items {
            0 if part.ends => {
                self.leave(member);
                Poll::Ready(None)
            }
            0 => Poll::Pending,
            items => {
                part.items = if items == ENDLESS { ENDLESS } else { items - 1 };
                part.ready = true;
                Poll::Ready(Some(()))
            }
        }
    }

    fn leave(&mut self, member: usize) {
        self.parts[member] = Part::default();
        self.entries.push(Entry::Left { member });
    }
}

/// A member, which acts as its [`Part`] requires and records its turns.
struct Member {
    number: usize,
    script: Rc<RefCell<Script>>,
}

impl Stream for Member {
    type Item = ();

    fn poll_next(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<()>> {
        let woken = self.script.borrow_mut().begin_turn(self.number, cx.waker());
        for other in woken {
            let waker = self.script.borrow_mut().wake(other);
            waker.into_iter().for_each(Waker::wake);
        }
        self.script.borrow_mut().end_turn(self.number)
    }
}

/// The set that polls the members.
trait Engine {
    fn insert(&mut self, member: Member);
    fn remove(&mut self, number: usize);
    /// Polls once.
    fn poll(&mut self);
}

#[derive(Default)]
struct Slab {
    slab: StreamSlab<Member>,
    keys: BTreeMap<usize, usize>,
}

impl Engine for Slab {
    fn insert(&mut self, member: Member) {
        let number = member.number;
        let key = self.slab.insert(member);
        self.keys.insert(number, key);
    }

    fn remove(&mut self, number: usize) {
        assert!(self.slab.remove(self.keys[&number]).is_some());
    }

    fn poll(&mut self) {
        let _ = poll(&mut self.slab);
    }
}

/// A channel that is received from in all ways, in turn. Every other member is moved in from another channel.
struct Channel {
    multiplexer: Multiplexer<Member>,
    receivers: [ChannelReceiver<Member, ()>; 2],
    ids: BTreeMap<usize, StreamId>,
    polls: usize,
}

const CHANNEL: usize = 1;
const ELSEWHERE: usize = 2;

impl Default for Channel {
    fn default() -> Self {
        let multiplexer = Multiplexer::new();
        multiplexer.add_channel(CHANNEL).unwrap();
        multiplexer.add_channel(ELSEWHERE).unwrap();
        let receivers = [(); 2].map(|()| multiplexer.receiver(CHANNEL).unwrap());
        Self { multiplexer, receivers, ids: BTreeMap::new(), polls: 0 }
    }
}

impl Engine for Channel {
    fn insert(&mut self, member: Member) {
        let number = member.number;
        let first = if number % 2 == 0 { CHANNEL } else { ELSEWHERE };
        let id = self.multiplexer.add_stream(member, first).unwrap();
        self.multiplexer.change_stream_channel(id, CHANNEL).unwrap();
        self.ids.insert(number, id);
    }

    fn remove(&mut self, number: usize) {
        let id = self.ids[&number];
        if number % 3 == 0 {
            self.multiplexer.change_stream_channel(id, ELSEWHERE).unwrap();
        } else {
            assert!(self.multiplexer.remove_stream(id).is_some());
        }
    }

    fn poll(&mut self) {
        self.polls += 1;
        match self.polls % 4 {
            2 => drop(self.multiplexer.recv(CHANNEL).now_or_never()),
            3 => drop(self.multiplexer.try_recv(CHANNEL)),
            receiver => drop(poll(&mut self.receivers[receiver])),
        }
    }
}

/// An engine, and the script of its members.
struct Scene {
    engine: Box<dyn Engine>,
    script: Rc<RefCell<Script>>,
    /// The part of the history that was already returned.
    asked: usize,
}

impl Scene {
    fn new(engine: impl Engine + 'static) -> Self {
        Self { engine: Box::new(engine), script: Rc::default(), asked: 0 }
    }

    /// Runs a test with each engine, and the oracle on the history.
    fn each(test: impl Fn(&mut Self)) {
        for mut scene in [Self::new(Slab::default()), Self::new(Channel::default())] {
            test(&mut scene);
            check_bound(&scene.script.borrow().entries);
        }
    }

    fn insert(&mut self, items: usize) -> usize {
        let number = self.script.borrow().parts.len();
        self.script.borrow_mut().parts.push(Part { present: true, items, ready: true, ..Part::default() });
        self.engine.insert(Member { number, script: Rc::clone(&self.script) });
        number
    }

    fn insert_many(&mut self, count: usize, items: usize) {
        for _ in 0..count {
            self.insert(items);
        }
    }

    fn remove(&mut self, member: usize) {
        self.engine.remove(member);
        self.script.borrow_mut().leave(member);
    }

    fn wake(&self, member: usize) {
        let waker = self.script.borrow_mut().wake(member);
        waker.into_iter().for_each(Waker::wake);
    }

    fn feed(&self, member: usize, items: usize) {
        self.script.borrow_mut().parts[member].items = items;
        self.wake(member);
    }

    fn feed_all(&self, members: &[usize], items: usize) {
        members.iter().for_each(|member| self.feed(*member, items));
    }

    fn end(&self, member: usize) {
        self.script.borrow_mut().parts[member].ends = true;
        self.wake(member);
    }

    /// The next poll of `waking` wakes `woken`.
    fn wake_in_poll_of(&self, waking: usize, woken: &[usize]) {
        self.script.borrow_mut().parts[waking].wakes.extend(woken);
    }

    fn poll(&mut self, times: usize) {
        for _ in 0..times {
            self.engine.poll();
        }
    }

    /// Returns the turns since the last call.
    fn take_turns(&mut self) -> Vec<usize> {
        let script = self.script.borrow();
        let new = &script.entries[self.asked..];
        self.asked = script.entries.len();
        let turns = new.iter().filter(|entry| matches!(entry, Entry::Turn { .. }));
        turns.map(Entry::member).collect()
    }

    fn last_turn(&self) -> usize {
        self.script.borrow().entries.last().expect("there was one").member()
    }

    /// The present members.
    fn present(&self) -> Vec<usize> {
        let parts = &self.script.borrow().parts;
        (0..parts.len()).filter(|&member| parts[member].present).collect()
    }

    /// Inserts `idle` members. Each was polled in vain, and the last poll of the engine was in vain.
    fn insert_idle(&mut self, idle: usize) {
        self.insert_many(idle, 0);
        self.poll(idle / 64 + 2);
        assert_eq!(self.take_turns().len(), idle);
    }
}

/// Some of the peers fail this test.
#[test]
fn members_that_are_always_ready_have_their_turns_evenly() {
    Scene::each(|scene| {
        scene.insert_many(64, ENDLESS);
        scene.poll(6_400);
        let expected: Vec<_> = (0..6_400).map(|turn| turn % 64).collect();
        assert_eq!(scene.take_turns(), expected);
    });
}

#[test]
fn a_member_woken_ahead_of_the_cursor_has_its_turn_in_the_same_round() {
    Scene::each(|scene| {
        scene.insert_idle(4);
        scene.feed_all(&[0, 1, 3], ENDLESS);
        scene.poll(1);
        scene.feed(2, 1);
        scene.poll(4);
        assert_eq!(scene.take_turns(), [0, 1, 2, 3, 0]);
    });
}

#[test]
fn a_member_woken_behind_the_cursor_has_its_turn_before_the_next_round() {
    Scene::each(|scene| {
        scene.insert_idle(4);
        scene.feed_all(&[1, 2, 3], ENDLESS);
        scene.poll(2);
        scene.feed(0, 1);
        scene.poll(3);
        assert_eq!(scene.take_turns(), [1, 2, 3, 0, 1]);
    });
}

#[test]
fn members_woken_in_the_poll_of_another_have_their_turn_in_the_same_round() {
    Scene::each(|scene| {
        scene.insert_idle(5);
        scene.feed_all(&[1, 3], ENDLESS);
        scene.wake_in_poll_of(1, &[0, 2, 4]);
        scene.poll(3);
        assert_eq!(scene.take_turns(), [1, 2, 3, 4, 0, 1]);
    });
}

/// Not a promise, but an optimisation that avoids a search for each item: a single ready member has its second poll, in
/// vain, before a member that was woken since; also if more members were ready before.
#[test]
fn the_only_one_that_is_ready_has_its_second_poll_first() {
    Scene::each(|scene| {
        scene.insert_idle(5);
        scene.feed(1, 1);
        scene.feed(3, 1);
        scene.poll(2);
        assert_eq!(scene.take_turns(), [1, 3]);
        scene.feed(3, 1);
        scene.poll(1);
        assert_eq!(scene.take_turns(), [1, 3], "now the third is the only one");
        scene.feed(4, 1);
        scene.poll(1);
        assert_eq!(scene.take_turns(), [3, 4]);
        scene.feed(0, 1);
        scene.poll(1);
        assert_eq!(scene.take_turns(), [4, 0]);
    });
}

/// With members ahead of and behind the cursor, at every border between the words of the set.
#[test]
fn the_bound_holds_across_the_words_of_the_set() {
    Scene::each(|scene| {
        let busy = [0, 63, 64, 65, 127, 128, 1_663, 1_664, 2_000, 2_001, 4_400];
        let sleepers = [1, 66, 1_000, 1_665, 2_002, 4_399];
        scene.insert_idle(4_401);
        scene.feed_all(&busy, ENDLESS);
        for waking in busy {
            scene.wake_in_poll_of(waking, &sleepers);
            scene.poll(2 * busy.len());
            let turns = scene.take_turns();
            assert!(sleepers.iter().all(|woken| turns.contains(woken)), "woken in the poll of {waking}");
        }
    });
}

/// Two members wake each other in turn. A third member, between or around them, is not passed over.
#[test]
fn members_that_wake_each_other_do_not_starve_the_others() {
    Scene::each(|scene| {
        scene.insert_idle(70);
        for (one, two, third) in [(0, 2, 1), (0, 1, 2), (1, 2, 0), (62, 64, 63), (63, 64, 69), (5, 68, 0)] {
            scene.feed(third, 1);
            scene.wake(one);
            for _ in 0..3 {
                scene.wake_in_poll_of(one, &[two]);
                scene.wake_in_poll_of(two, &[one]);
                scene.poll(1);
            }
            scene.poll(1);
            assert!(scene.take_turns().contains(&third));
        }
    });
}

/// The adversary wakes the member behind the cursor after each turn.
#[test]
fn members_woken_right_behind_the_cursor_do_not_starve_those_ahead() {
    Scene::each(|scene| {
        scene.insert_idle(8);
        let odd = [1, 3, 5, 7];
        scene.feed_all(&odd, ENDLESS);
        for turn in 0..64 {
            scene.poll(1);
            let last = scene.last_turn();
            scene.feed(((last + 7) % 8) & !1, 1);
            if turn % 3 == 0 {
                scene.wake_in_poll_of(odd[turn % 4], &[last & !1]);
            }
        }
        let turns = scene.take_turns();
        for member in odd {
            assert!(turns.iter().filter(|turn| **turn == member).count() >= 64 / 8);
        }
    });
}

#[test]
fn a_call_takes_64_turns_in_vain_at_most() {
    for _ in 0..4 {
        Scene::each(|scene| {
            scene.insert_many(130, 0);
            for turns in [64, 64, 2, 0] {
                scene.poll(1);
                assert_eq!(scene.take_turns().len(), turns);
            }
        });
    }
}

#[test]
fn a_call_takes_two_turns_in_a_row_of_members_that_wake_themselves() {
    Scene::each(|scene| {
        scene.insert_idle(6);
        for _ in 0..4 {
            for member in [1, 2, 4, 5] {
                scene.wake_in_poll_of(member, &[member]);
                scene.wake(member);
            }
            scene.wake(3);
            scene.poll(1);
            assert_eq!(scene.take_turns(), [1, 2]);
            scene.poll(1);
            assert_eq!(scene.take_turns(), [3, 4, 5]);
            scene.poll(1);
            assert_eq!(scene.take_turns(), [1, 2, 4, 5]);
        }
    });
}

#[test]
fn rounds_go_on_across_yields() {
    Scene::each(|scene| {
        scene.insert_many(130, 0);
        scene.poll(1);
        (0..64).for_each(|member| scene.wake(member));
        scene.poll(4);
        let expected: Vec<_> = (0..130).chain(0..64).collect();
        assert_eq!(scene.take_turns(), expected);
    });
}

/// With the key of a removed member, ahead of the cursor or behind it.
#[test]
fn a_member_inserted_in_the_middle_of_a_round_has_its_turn_in_it() {
    for leaving in 0..4 {
        Scene::each(|scene| {
            scene.insert_many(4, ENDLESS);
            scene.poll(2);
            scene.remove(leaving);
            let new = scene.insert(ENDLESS);
            scene.poll(6);
            assert!(scene.take_turns().contains(&new));
        });
    }
}

/// A departure has a turn like a member, and is received within a round.
#[test]
fn a_departure_is_reported_within_a_round() {
    for leaving in 0..4 {
        let mut channel = Channel::default();
        let script = Rc::<RefCell<Script>>::default();
        for number in 0..4 {
            script.borrow_mut().parts.push(Part { items: ENDLESS, ..Part::default() });
            channel.insert(Member { number, script: Rc::clone(&script) });
        }
        channel.poll();
        channel.poll();
        channel.remove(leaving);
        let events = [(); 4].map(|()| poll(&mut channel.receivers[0]));
        let departure = if leaving % 3 == 0 { StreamEvent::Moved(ELSEWHERE) } else { StreamEvent::Removed };
        assert!(events.contains(&Poll::Ready(Some((channel.ids[&leaving], departure)))));
    }
}

/// One step of a schedule. Members are numbered among the present ones.
#[derive(Clone, Debug)]
enum Step {
    Poll(usize),
    Insert { items: usize },
    Remove(usize),
    Feed(usize, usize),
    Wake(usize),
    WakeInPollOf(usize, usize),
    End(usize),
}

impl Arbitrary for Step {
    fn arbitrary(g: &mut Gen) -> Self {
        let (member, other) = (below(g, 100), below(g, 100));
        let items = if bool::arbitrary(g) { below(g, 4) } else { ENDLESS };
        match below(g, 24) {
            0..8 => Self::Poll(1 + below(g, 3)),
            8..10 => Self::Insert { items },
            10 => Self::Remove(member),
            11..15 => Self::Feed(member, items),
            15..19 => Self::Wake(member),
            19..23 => Self::WakeInPollOf(member, other),
            _ => Self::End(member),
        }
    }
}

impl Scene {
    fn take(&mut self, step: &Step) {
        let present = self.present();
        if let Step::Poll(times) = *step {
            return self.poll(times);
        }
        if let Step::Insert { items } = *step {
            self.insert(items);
            return;
        }
        if present.is_empty() {
            return;
        }
        let member = |nth: usize| present[nth % present.len()];
        match *step {
            Step::Remove(nth) => self.remove(member(nth)),
            Step::Feed(nth, items) => self.feed(member(nth), items),
            Step::Wake(nth) => self.wake(member(nth)),
            Step::WakeInPollOf(waking, woken) => self.wake_in_poll_of(member(waking), &[member(woken)]),
            Step::End(nth) => self.end(member(nth)),
            Step::Poll(_) | Step::Insert { .. } => unreachable!("taken above"),
        }
    }
}

/// A number of idle members: none, few, or up to the borders between the words of the set.
#[derive(Clone, Debug)]
struct Idle(usize);

impl Arbitrary for Idle {
    fn arbitrary(g: &mut Gen) -> Self {
        let number = [0, 1 + below(g, 7), 28 + below(g, 12), 90 + below(g, 10)];
        Self(number[below(g, 4)])
    }
}

#[test]
fn the_bound_holds_on_every_schedule() {
    fn holds(idle: Idle, steps: Vec<Step>) {
        Scene::each(|scene| {
            scene.insert_idle(idle.0);
            steps.iter().for_each(|step| scene.take(step));
        });
    }
    QuickCheck::new().rng(Gen::new(120)).quickcheck(holds as fn(Idle, Vec<Step>));
}

/// A self-wake counts even if another receiver absorbed it.
#[test]
fn a_call_takes_two_turns_in_a_row_of_self_waking_streams_beside_other_receivers() {
    let multiplexer = Multiplexer::without_sinks();
    multiplexer.add_channel(1).unwrap();
    let turns = Rc::new(Cell::new(0));
    let taken = Rc::clone(&turns);
    let mut other = multiplexer.receiver(1).unwrap();
    let stream = futures::stream::poll_fn(move |cx| {
        taken.set(taken.get() + 1);
        cx.waker().wake_by_ref();
        assert!(poll(&mut other).is_pending());
        Poll::<Option<()>>::Pending
    });
    multiplexer.add_stream(stream.boxed_local(), 1).unwrap();
    assert!(poll(&mut multiplexer.receiver(1).unwrap()).is_pending());
    assert_eq!(turns.get(), 2);
}

/// A task that a member wakes whenever the task is about to sleep: the clone of the task's waker wakes the member.
mod restless {
    use super::*;
    use std::task::{RawWaker, RawWakerVTable};

    thread_local! {
        static MEMBER: RefCell<Option<Waker>> = const { RefCell::new(None) };
        static TURNS: Cell<usize> = const { Cell::new(0) };
    }

    const TABLE: RawWakerVTable = RawWakerVTable::new(clone, |_| {}, |_| {}, |_| {});
    const WAKER: RawWaker = RawWaker::new(std::ptr::null(), &TABLE);

    fn clone(_: *const ()) -> RawWaker {
        // At most a thousand times, so that a failing test ends.
        let member = MEMBER.take().filter(|_| TURNS.get() < 1_000);
        member.into_iter().for_each(Waker::wake);
        WAKER
    }

    fn stream() -> impl Stream<Item = ()> + Unpin {
        futures::stream::poll_fn(|cx| {
            TURNS.set(TURNS.get() + 1);
            MEMBER.set(Some(cx.waker().clone()));
            Poll::Pending
        })
    }

    fn turns(mut set: impl Stream + Unpin) -> usize {
        // SAFETY: the functions of the table use no data.
        #[allow(unsafe_code)]
        let waker = unsafe { Waker::from_raw(WAKER) };
        assert!(Pin::new(&mut set).poll_next(&mut Context::from_waker(&waker)).is_pending());
        TURNS.take()
    }

    #[test]
    fn takes_64_turns_in_vain_in_a_call_at_most() {
        assert_eq!(turns(StreamSlab::from_iter([stream()])), 64);
        let multiplexer = Multiplexer::without_sinks();
        multiplexer.add_channel(1).unwrap();
        multiplexer.add_stream(stream(), 1).unwrap();
        assert_eq!(turns(multiplexer.receiver(1).unwrap()), 64);
    }
}

/// Streams get new slots. Their order must not begin anew.
#[test]
fn the_order_of_turns_outlasts_shrink_to_fit() {
    let multiplexer = Multiplexer::without_sinks();
    multiplexer.add_channel(0).unwrap();
    let mut ids = [(); 5].map(|()| multiplexer.add_stream(futures::stream::repeat(()), 0).unwrap());
    let mut receiver = multiplexer.receiver(0).unwrap();
    for round in 0..3 {
        for id in ids {
            assert_eq!(
                receiver.next().now_or_never(),
                Some(Some((id, StreamEvent::Item(())))),
                "round {round}"
            );
            multiplexer.shrink_to_fit();
        }
    }
    // With vacant slots before and behind the next turn.
    receiver.next().now_or_never();
    multiplexer.remove_stream(ids[0]);
    multiplexer.remove_stream(ids[3]);
    multiplexer.shrink_to_fit();
    ids = [ids[1], ids[2], ids[4], ids[1], ids[2]];
    let mut items = vec![];
    while items.len() < ids.len() {
        if let Some(Some((id, StreamEvent::Item(())))) = receiver.next().now_or_never() {
            items.push(id);
        }
    }
    assert_eq!(items, ids);
}
