//! `ChannelStats::longest_wait`, against the members' own record of their waits.
//!
//! As in `fairness_shared.rs`, further receivers are polled during polls of members, so that turns overlap.

use crate::random::below;
use crate::support;
use futures::Stream;
use quickcheck::{Arbitrary, Gen, QuickCheck};
use std::cell::RefCell;
use std::pin::Pin;
use std::rc::Rc;
use std::task::{Context, Poll, Waker};
use stream_multiplexer::{ChannelReceiver, Multiplexer, Share, StreamId};
use support::poll;

const CHANNEL: usize = 1;
const ELSEWHERE: usize = 2;

/// An unlimited number of items.
const ENDLESS: usize = usize::MAX;

#[derive(Default)]
struct Part {
    id: Option<StreamId>,
    items: usize,
    ends: bool,
    waker: Option<Waker>,
    is_paused: bool,
    /// The number of turns when it became ready. `None` if it is not ready.
    since: Option<u64>,
}

#[derive(Default)]
struct Script {
    parts: Vec<Part>,
    /// The number of turns that have begun.
    turns: u64,
    longest_wait: u64,
    present: usize,
    most_present: usize,
    /// The number of events that other receivers receive during each of the next polls.
    nested: Vec<usize>,
    receivers: Vec<Option<ChannelReceiver<Member>>>,
}

impl Script {
    fn make_ready(&mut self, member: usize) {
        let part = &mut self.parts[member];
        if part.id.is_some() && !part.is_paused {
            part.since.get_or_insert(self.turns);
        }
    }

    /// Ends the wait of a member, if it is ready.
    fn end_wait(&mut self, member: usize) {
        let since = self.parts[member].since.take();
        self.longest_wait = self.longest_wait.max(since.map_or(0, |since| self.turns - since));
    }

    /// The longest wait up to now.
    fn longest_wait(&self) -> u64 {
        let first = self.parts.iter().filter_map(|part| part.since).min();
        self.longest_wait.max(first.map_or(0, |since| self.turns - since))
    }

    fn leave(&mut self, member: usize) {
        self.end_wait(member);
        self.parts[member] = Part::default();
        self.present -= 1;
    }
}

struct Member {
    number: usize,
    script: Rc<RefCell<Script>>,
}

impl Stream for Member {
    type Item = ();

    fn poll_next(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<()>> {
        let Self { number, script } = &*self;
        let nested = {
            let script = &mut *script.borrow_mut();
            script.parts[*number].waker = Some(cx.waker().clone());
            script.end_wait(*number);
            script.turns += 1;
            script.nested.pop().unwrap_or(0)
        };
        for _ in 0..nested {
            receive(script);
        }
        let script = &mut *script.borrow_mut();
        let part = &mut script.parts[*number];
        match part.items {
            0 if part.ends => {
                script.leave(*number);
                Poll::Ready(None)
            }
            0 => Poll::Pending,
            items => {
                part.items = if items == ENDLESS { ENDLESS } else { items - 1 };
                script.make_ready(*number);
                Poll::Ready(Some(()))
            }
        }
    }
}

/// Polls a receiver that is not being polled, if there is one.
fn receive(script: &Rc<RefCell<Script>>) {
    let taken = {
        let receivers = &mut script.borrow_mut().receivers;
        (0..receivers.len()).find_map(|at| receivers[at].take().map(|receiver| (at, receiver)))
    };
    if let Some((at, mut receiver)) = taken {
        let _ = poll(&mut receiver);
        script.borrow_mut().receivers[at] = Some(receiver);
    }
}

/// Members of one channel, and their record.
struct Scene {
    multiplexer: Multiplexer<Member>,
    script: Rc<RefCell<Script>>,
}

impl Scene {
    fn new(receivers: usize) -> Self {
        let multiplexer = Multiplexer::without_sinks();
        multiplexer.add_channel(CHANNEL).unwrap();
        multiplexer.add_channel(ELSEWHERE).unwrap();
        let script = Rc::<RefCell<Script>>::default();
        script.borrow_mut().receivers = (0..receivers).map(|_| multiplexer.receiver(CHANNEL).ok()).collect();
        Self { multiplexer, script }
    }

    fn with(members: usize, items: usize) -> Self {
        let scene = Self::new(1);
        scene.insert_many(members, items);
        scene
    }

    fn insert(&self, items: usize) -> usize {
        let number = self.script.borrow().parts.len();
        let member = Member { number, script: Rc::clone(&self.script) };
        let id = self.multiplexer.add_stream(member, CHANNEL).unwrap();
        let mut script = self.script.borrow_mut();
        script.parts.push(Part { id: Some(id), items, ..Part::default() });
        script.make_ready(number);
        script.present += 1;
        script.most_present = script.most_present.max(script.present);
        number
    }

    fn insert_many(&self, members: usize, items: usize) {
        for _ in 0..members {
            self.insert(items);
        }
    }

    fn id(&self, member: usize) -> StreamId {
        self.script.borrow().parts[member].id.expect("it is present")
    }

    fn remove(&self, member: usize) {
        let id = self.id(member);
        self.script.borrow_mut().leave(member);
        if member % 2 == 0 {
            self.multiplexer.change_stream_channel(id, ELSEWHERE).unwrap();
        } else {
            assert!(self.multiplexer.discard_stream(id));
        }
    }

    fn pause(&self, member: usize, pauses: bool) {
        let id = self.id(member);
        if pauses {
            self.multiplexer.pause_stream(id).unwrap();
        } else {
            self.multiplexer.resume_stream(id).unwrap();
        }
        let script = &mut *self.script.borrow_mut();
        if std::mem::replace(&mut script.parts[member].is_paused, pauses) != pauses {
            script.end_wait(member);
            script.make_ready(member);
        }
    }

    fn touch(&self, member: usize) {
        self.multiplexer.with_stream(self.id(member), |_| {}).unwrap();
        self.script.borrow_mut().make_ready(member);
    }

    fn wake(&self, member: usize) {
        let waker = self.script.borrow().parts[member].waker.clone();
        if let Some(waker) = waker {
            self.script.borrow_mut().make_ready(member);
            waker.wake();
        }
    }

    fn feed(&self, member: usize, items: usize) {
        self.script.borrow_mut().parts[member].items = items;
        self.wake(member);
    }

    fn receive(&self, times: usize) {
        (0..times).for_each(|_| receive(&self.script));
    }

    fn longest_wait(&self) -> u64 {
        self.multiplexer.stats(CHANNEL).unwrap().longest_wait
    }

    /// The longest wait by the statistics, and by the members' record.
    fn longest_waits(&self) -> (u64, u64) {
        (self.longest_wait(), self.script.borrow().longest_wait())
    }
}

#[test]
fn a_stream_that_is_alone_does_not_wait() {
    let scene = Scene::with(1, ENDLESS);
    assert_eq!(scene.longest_waits(), (0, 0));
    scene.receive(10);
    assert_eq!(scene.longest_waits(), (0, 0));
}

/// Of many streams, one at a time is ready.
#[test]
fn streams_that_are_ready_one_at_a_time_do_not_wait() {
    let scene = Scene::with(200, 0);
    scene.receive(200 / 64 + 1);
    assert_eq!(scene.longest_waits(), (199, 199), "they were added ready");

    let scene = Scene::new(1);
    for member in 0..200 {
        scene.insert(0);
        scene.receive(1);
        assert_eq!(scene.longest_waits(), (0, 0));
        scene.feed(member / 2, 1);
        scene.receive(2);
    }
    assert_eq!(scene.longest_waits(), (0, 0));
}

#[test]
fn streams_that_are_always_ready_wait_for_all_others() {
    for members in [2, 3, 64, 65, 130, 5_000] {
        let scene = Scene::with(members, ENDLESS);
        for _ in 0..3 {
            scene.receive(members);
            let longest = members as u64 - 1;
            assert_eq!(scene.longest_waits(), (longest, longest));
        }
    }
}

#[test]
fn one_that_comes_makes_the_others_wait_for_one_more() {
    let scene = Scene::with(5, ENDLESS);
    for others in 5..9 {
        scene.receive(100);
        scene.insert(ENDLESS);
        assert_eq!(scene.longest_waits(), (others - 1, others - 1));
        scene.receive(20);
        assert_eq!(scene.longest_waits(), (others, others));
    }
    (0..5).for_each(|member| scene.remove(member));
    scene.receive(100);
    assert_eq!(scene.longest_waits(), (8, 8), "it never decreases");
}

/// All are woken together, and have one item each, or none.
#[test]
fn the_last_of_a_burst_waits_for_all_others() {
    for items in [0, 1] {
        let scene = Scene::with(3, 0);
        scene.receive(1);
        (3..100).for_each(|_| {
            scene.insert(0);
            scene.receive(1);
        });
        assert_eq!(scene.longest_waits(), (2, 2));
        (0..100).for_each(|member| scene.feed(member, items));
        scene.receive(200);
        assert_eq!(scene.longest_waits(), (99, 99));
    }
}

#[test]
fn the_count_goes_on_after_a_shrinking() {
    let scene = Scene::with(20, ENDLESS);
    scene.receive(50);
    (0..15).for_each(|member| scene.remove(member));
    scene.multiplexer.shrink_to_fit();
    scene.receive(50);
    assert_eq!(scene.longest_wait(), 19);
    scene.insert_many(20, ENDLESS);
    scene.receive(50);
    assert_eq!(scene.longest_wait(), 24);
}

/// A wake during a pause, and one of a stream that has left, do not begin a wait.
#[test]
fn a_wake_without_a_turn_is_no_wait() {
    let scene = Scene::with(3, 0);
    scene.receive(1);
    scene.feed(0, ENDLESS);
    let (stale, paused) = {
        let parts = &scene.script.borrow().parts;
        (parts[1].waker.clone().unwrap(), parts[2].waker.clone().unwrap())
    };
    scene.remove(1);
    scene.receive(2);
    scene.pause(2, true);
    let before = scene.longest_waits();
    for _ in 0..10 {
        stale.wake_by_ref();
        paused.wake_by_ref();
        scene.receive(3);
    }
    assert_eq!(scene.longest_waits(), before);
    scene.pause(2, false);
    scene.receive(3);
    assert_eq!(scene.longest_waits(), before);
}

/// Turns of other channels in a select do not count.
#[test]
fn in_a_select_each_channel_counts_its_own_turns() {
    let multiplexer = Multiplexer::without_sinks();
    let mut select = multiplexer.select();
    for (channel, members) in [(1, 1), (2, 4), (3, 7)] {
        multiplexer.add_channel(channel).unwrap();
        select.add(channel, Share::new()).unwrap();
        for _ in 0..members {
            multiplexer.add_stream(futures::stream::repeat(()), channel).unwrap();
        }
    }
    for _ in 0..200 {
        let _ = poll(&mut select);
    }
    let waits = [1, 2, 3].map(|channel| multiplexer.stats(channel).unwrap().longest_wait);
    assert_eq!(waits, [0, 3, 6]);
}

/// One step of a schedule. Members are numbered among the present ones.
#[derive(Clone, Debug)]
enum Step {
    Receive(usize),
    Insert { items: usize },
    Feed(usize, usize),
    Wake(usize),
    WakeAll,
    End(usize),
    Touch(usize),
    Remove(usize),
    Pause(usize, bool),
}

impl Step {
    /// A step in which no measured member leaves or is paused before its turn.
    fn lasting(g: &mut Gen) -> Self {
        let member = below(g, 100);
        let items = if bool::arbitrary(g) { below(g, 4) } else { ENDLESS };
        match below(g, 21) {
            0..8 => Self::Receive(1 + below(g, 4)),
            8..10 => Self::Insert { items },
            10..14 => Self::Feed(member, items),
            14..18 => Self::Wake(member),
            18 => Self::WakeAll,
            19 => Self::End(member),
            _ => Self::Touch(member),
        }
    }

    fn any(g: &mut Gen) -> Self {
        match below(g, 11) {
            0..8 => Self::lasting(g),
            8 => Self::Remove(below(g, 100)),
            _ => Self::Pause(below(g, 100), bool::arbitrary(g)),
        }
    }
}

/// Steps of several receivers. `ANY`: also such in which a measured member leaves or is paused before its turn.
#[derive(Clone, Debug)]
struct Steps<const ANY: bool> {
    receivers: usize,
    idle: usize,
    /// As [`Script::nested`].
    nested: Vec<usize>,
    steps: Vec<Step>,
}

impl<const ANY: bool> Arbitrary for Steps<ANY> {
    fn arbitrary(g: &mut Gen) -> Self {
        let step = if ANY { Step::any } else { Step::lasting };
        Self {
            receivers: 1 + below(g, 4),
            // Few, or up to the border between two words of the set.
            idle: if bool::arbitrary(g) { below(g, 9) } else { 60 + below(g, 10) },
            nested: (0..below(g, 60)).map(|_| below(g, 4)).collect(),
            steps: (0..below(g, 100)).map(|_| step(g)).collect(),
        }
    }

    fn shrink(&self) -> Box<dyn Iterator<Item = Self>> {
        let mut shrunk = Vec::new();
        for left_out in 0..self.steps.len() {
            let mut fewer = self.clone();
            fewer.steps.remove(left_out);
            shrunk.push(fewer);
        }
        Box::new(shrunk.into_iter())
    }
}

impl Scene {
    fn take(&self, step: &Step) {
        match *step {
            Step::Receive(times) => return self.receive(times),
            Step::Insert { items } => {
                self.insert(items);
                return;
            }
            _ => {}
        }
        let parts = self.script.borrow().parts.iter().map(|part| part.id.is_some()).collect::<Vec<_>>();
        let present: Vec<_> = (0..parts.len()).filter(|member| parts[*member]).collect();
        if present.is_empty() {
            return;
        }
        let member = |nth: usize| present[nth % present.len()];
        match *step {
            Step::Feed(nth, items) => self.feed(member(nth), items),
            Step::Wake(nth) => self.wake(member(nth)),
            Step::WakeAll => present.iter().for_each(|member| self.wake(*member)),
            Step::End(nth) => {
                self.script.borrow_mut().parts[member(nth)].ends = true;
                self.feed(member(nth), 0);
            }
            Step::Touch(nth) => self.touch(member(nth)),
            Step::Remove(nth) => self.remove(member(nth)),
            Step::Pause(nth, pauses) => self.pause(member(nth), pauses),
            Step::Receive(_) | Step::Insert { .. } => unreachable!("taken above"),
        }
    }

    /// Runs a schedule with several receivers. Checks after each step that no more is reported than a member waited for, and
    /// that the bound on fairness holds for it.
    fn run<const ANY: bool>(schedule: &Steps<ANY>) -> Self {
        let scene = Self::new(schedule.receivers);
        for _ in 0..schedule.idle {
            scene.insert(0);
            scene.receive(1);
        }
        scene.script.borrow_mut().nested.clone_from(&schedule.nested);
        for step in &schedule.steps {
            scene.take(step);
            let (reported, waited) = scene.longest_waits();
            assert!(reported <= waited, "{reported} of {waited}");
            let most = scene.script.borrow().most_present as u64;
            assert!(reported <= most.saturating_sub(1), "{reported} with {most} members");
        }
        scene
    }
}

/// At least half of each wait is measured.
#[test]
fn none_waits_longer_than_the_documented_bound() {
    fn holds(schedule: Steps<false>) {
        let (reported, waited) = Scene::run(&schedule).longest_waits();
        let others = schedule.receivers as u64 - 1;
        assert!(waited <= 2 * reported + 2 * others + 1, "{reported} of {waited}");
    }
    QuickCheck::new().quickcheck(holds as fn(Steps<false>));
}

#[test]
fn none_is_reported_that_no_stream_waited_for() {
    fn holds(schedule: Steps<true>) {
        Scene::run(&schedule);
    }
    QuickCheck::new().quickcheck(holds as fn(Steps<true>));
}
