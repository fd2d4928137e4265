//! Departures and items share the turns of a channel: neither starves the other, and stays keep their order.

use crate::random::below;
use crate::support;
use futures::Stream;
use quickcheck::{Arbitrary, Gen, QuickCheck};
use std::pin::Pin;
use std::task::{Context, Poll, Waker};
use stream_multiplexer::{ChannelOptions, ChannelReceiver, Multiplexer, StreamEvent, StreamId, TryRecvError};
use support::{Feed, Pipe, Wakes, pipe, poll, poll_with};

const CHANNEL: usize = 1;
const OTHER: usize = 2;

/// A stream that always has an item, or never has one.
enum Member {
    Endless,
    Idle,
}

impl Stream for Member {
    type Item = ();

    fn poll_next(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<Option<()>> {
        match *self {
            Self::Endless => Poll::Ready(Some(())),
            Self::Idle => Poll::Pending,
        }
    }
}

/// A channel in which some members always have an item, and a record of its events.
struct Scene {
    multiplexer: Multiplexer<Member>,
    receiver: ChannelReceiver<Member>,
    ready: usize,
    removed: Vec<StreamId>,
    /// The number of received departures.
    received: usize,
    /// For each turn of a ready member: the member, how many departures were received before the turn, and how many
    /// were waiting when the turn had ended.
    turns: Vec<(StreamId, usize, usize)>,
    /// For each departure: how many turns there had been when it happened, and how many others were waiting.
    came: Vec<(usize, usize)>,
}

impl Scene {
    fn new(ready: usize) -> Self {
        let multiplexer = Multiplexer::without_sinks();
        multiplexer.add_channel(CHANNEL).unwrap();
        multiplexer.add_channel(OTHER).unwrap();
        let receiver = multiplexer.receiver(CHANNEL).unwrap();
        for _ in 0..ready {
            multiplexer.add_stream(Member::Endless, CHANNEL).unwrap();
        }
        let (removed, turns, came) = (Vec::new(), Vec::new(), Vec::new());
        Self { multiplexer, receiver, ready, removed, received: 0, turns, came }
    }

    /// A stream enters and leaves.
    fn depart(&mut self, moves: bool) {
        let id = self.multiplexer.add_stream(Member::Idle, CHANNEL).unwrap();
        if moves {
            self.multiplexer.change_stream_channel(id, OTHER).unwrap();
        } else {
            assert!(self.multiplexer.discard_stream(id));
        }
        self.came.push((self.turns.len(), self.removed.len() - self.received));
        self.removed.push(id);
    }

    fn receive(&mut self) {
        let Poll::Ready(Some((id, event))) = poll(&mut self.receiver) else {
            assert_eq!(self.ready, 0, "there is always an item");
            assert_eq!(self.received, self.removed.len(), "all departures were received");
            return;
        };
        if event.item().is_some() {
            self.turns.push((id, self.received, self.removed.len() - self.received));
            return;
        }
        assert_eq!(id, self.removed[self.received], "in the order in which they came");
        let turns = self.turns.len() - self.came[self.received].0;
        let bound = 2 * self.ready + self.came[self.received].1;
        assert!(turns <= bound, "it waited for {turns} turns, not {bound}");
        self.received += 1;
    }

    /// Between two turns of a ready member, at most as many departures are received as waited when the first turn had
    /// ended, and at most as many as members are ready.
    fn check_bound(&self) {
        for (at, (member, received, waiting)) in self.turns.iter().enumerate() {
            let next = self.turns[at + 1..].iter().find(|(other, ..)| other == member);
            if let Some((_, received_by_then, _)) = next {
                let between = received_by_then - received;
                assert!(between <= *waiting, "{between} departures came, and {waiting} had waited");
                assert!(between <= self.ready, "{between} departures came, beside {} members", self.ready);
            }
        }
    }
}

/// One removal for each received event: the member has every second event.
#[test]
fn a_stream_of_departures_does_not_starve_a_ready_member() {
    for ready in 1..4 {
        let mut scene = Scene::new(ready);
        for _ in 0..1_000 {
            scene.receive();
            scene.depart(false);
        }
        scene.check_bound();
        let (turns, departures) = (scene.turns.len(), scene.received);
        assert!(turns >= 500 && departures >= 490, "{turns} turns and {departures} departures of 1,000");
    }
}

/// A hundred departures wait: they have every second event until all are received.
#[test]
fn many_that_wait_share_the_events_with_the_members() {
    let mut scene = Scene::new(3);
    scene.receive();
    (0..100).for_each(|_| scene.depart(true));
    (0..206).for_each(|_| scene.receive());
    assert_eq!(scene.received, 100);
    scene.check_bound();
}

#[test]
fn departures_do_not_wait_for_idle_members() {
    let multiplexer = Multiplexer::without_sinks();
    multiplexer.add_channel(CHANNEL).unwrap();
    let [left, _idle] = [(); 2].map(|()| multiplexer.add_stream(Member::Idle, CHANNEL).unwrap());
    assert_eq!(multiplexer.try_recv(CHANNEL), Err(TryRecvError::Empty));
    assert!(multiplexer.discard_stream(left));
    assert_eq!(multiplexer.try_recv(CHANNEL), Ok((left, None)));
}

/// The departures before an event, and whether they are moves.
#[derive(Clone, Debug)]
struct Step(usize, bool);

impl Arbitrary for Step {
    fn arbitrary(g: &mut Gen) -> Self {
        Self(below(g, 4).saturating_sub(1), bool::arbitrary(g))
    }
}

#[test]
fn the_bound_holds_however_they_come() {
    fn holds(ready: usize, steps: Vec<Step>) {
        let mut scene = Scene::new(ready % 5);
        for Step(departures, moves) in steps {
            (0..departures).for_each(|_| scene.depart(moves));
            scene.receive();
        }
        scene.check_bound();
    }
    QuickCheck::new().rng(Gen::new(200)).quickcheck(holds as fn(usize, Vec<Step>));
}

fn fed(multiplexer: &Multiplexer<Pipe<u32>>) -> (StreamId, Feed<u32>) {
    let (feed, stream) = pipe();
    (multiplexer.add_stream(stream, CHANNEL).unwrap(), feed)
}

/// With a queue shorter and longer than the part that is searched.
#[test]
fn the_end_of_a_stay_comes_before_the_items_of_the_next() {
    for others in [0, 1, 63, 64, 65, 1_000] {
        for before in [true, false] {
            let multiplexer = Multiplexer::without_sinks();
            multiplexer.add_channel(CHANNEL).unwrap();
            multiplexer.add_channel(OTHER).unwrap();
            let (id, feed) = fed(&multiplexer);
            let leave = || (0..others).for_each(|_| assert!(multiplexer.discard_stream(fed(&multiplexer).0)));
            if before {
                leave();
            }
            multiplexer.change_stream_channel(id, OTHER).unwrap();
            if !before {
                leave();
            }
            multiplexer.change_stream_channel(id, CHANNEL).unwrap();
            feed.push(1);
            let mut receiver = multiplexer.receiver(CHANNEL).unwrap();
            let mut events = Vec::new();
            while let Poll::Ready(Some((of, event))) = poll(&mut receiver) {
                if of == id {
                    events.push(event);
                }
            }
            assert_eq!(events, [StreamEvent::Moved(OTHER), StreamEvent::Item(1)]);
        }
    }
}

/// The arrival waits behind the departures of others; the stream is in the channel all the time.
#[test]
fn a_stream_that_waits_behind_departures_may_be_used_and_leave() {
    let multiplexer = Multiplexer::without_sinks();
    multiplexer.add_channel(CHANNEL).unwrap();
    multiplexer.add_channel(OTHER).unwrap();
    let (id, feed) = fed(&multiplexer);
    let there_and_back = || {
        multiplexer.change_stream_channel(id, OTHER).unwrap();
        multiplexer.change_stream_channel(id, CHANNEL).unwrap();
    };
    feed.push(7);
    there_and_back();
    assert_eq!(multiplexer.with_stream(id, |_| feed.take_polls()), Ok(0));
    there_and_back();
    assert_eq!(multiplexer.channel_streams(CHANNEL), Some(vec![id]));
    assert!(multiplexer.remove_stream(id).unwrap().stream.is_some());
    let mut receiver = multiplexer.receiver(CHANNEL).unwrap();
    let moved = || Poll::Ready(Some((id, StreamEvent::Moved(OTHER))));
    assert_eq!(poll(&mut receiver), moved());
    assert_eq!(poll(&mut receiver), moved());
    assert_eq!(poll(&mut receiver), Poll::Ready(Some((id, StreamEvent::Removed))));
    assert_eq!(poll(&mut receiver), Poll::Pending);
    assert_eq!(feed.take_polls(), 0);
}

/// Except for ends, which take the place of an item.
#[test]
fn may_be_turned_off() {
    let multiplexer = Multiplexer::without_sinks();
    multiplexer.add_channel_with(CHANNEL, ChannelOptions::new().report_departures(false)).unwrap();
    multiplexer.add_channel(OTHER).unwrap();
    let [moved, removed, ended] = [(); 3].map(|()| fed(&multiplexer));
    multiplexer.change_stream_channel(moved.0, OTHER).unwrap();
    multiplexer.remove_stream(removed.0).unwrap();
    ended.1.end();
    assert_eq!(multiplexer.try_recv(CHANNEL), Ok((ended.0, None)));
    assert_eq!(multiplexer.try_recv(CHANNEL), Err(TryRecvError::Empty));
    multiplexer.change_stream_channel(moved.0, CHANNEL).unwrap();
    moved.1.push(1);
    assert_eq!(multiplexer.try_recv(CHANNEL), Ok((moved.0, Some(1))));
    multiplexer.close();
    multiplexer.remove_stream(moved.0).unwrap();
    assert_eq!(multiplexer.try_recv(CHANNEL), Err(TryRecvError::Closed));
}

/// A poll takes a bounded number of these turns, and yields.
#[test]
fn stale_wakes_of_streams_that_left_cost_a_poll_a_bounded_number_of_turns() {
    const STREAMS: usize = 10_000;
    let multiplexer = Multiplexer::without_sinks();
    let options = ChannelOptions::new().report_departures(false);
    multiplexer.add_channel_with(CHANNEL, options).unwrap();
    let mut receiver = multiplexer.receiver(CHANNEL).unwrap();
    let streams: Vec<_> = (0..STREAMS).map(|_| fed(&multiplexer)).collect();
    while streams.last().unwrap().1.waker().is_none() {
        assert!(poll(&mut receiver).is_pending());
    }
    let stale: Vec<Waker> = streams.iter().map(|(_, feed)| feed.waker().unwrap()).collect();
    streams.iter().for_each(|(id, _)| assert!(multiplexer.discard_stream(*id)));
    let (last, feed) = fed(&multiplexer);
    assert!(poll(&mut receiver).is_pending());
    stale.iter().for_each(Waker::wake_by_ref);
    feed.push(1);
    let (wakes, task) = Wakes::new();
    let mut polls = 1;
    loop {
        match poll_with(&mut receiver, &task) {
            Poll::Pending => assert_eq!(wakes.take(), 1, "it yields, and goes on"),
            Poll::Ready(event) => break assert_eq!(event, Some((last, StreamEvent::Item(1)))),
        }
        polls += 1;
    }
    assert!(polls <= STREAMS / 64 + 2);
    let mut slow = 0;
    while wakes.take() > 0 || slow == 0 {
        assert!(poll_with(&mut receiver, &task).is_pending());
        slow += 1;
    }
    // In each poll one wake is handled outside of the bound.
    assert!(polls + slow >= STREAMS / 65, "{polls} and {slow} polls for {STREAMS} stale wakes");
}

/// Memory is given back, and the members have other slots: each has one turn before the departure, as without that.
#[test]
fn one_that_waits_while_memory_is_given_back_comes_after_one_round() {
    let mut scene = Scene::new(10);
    let ids = scene.multiplexer.channel_streams(CHANNEL).unwrap();
    ids[..7].iter().for_each(|id| assert!(scene.multiplexer.discard_stream(*id)));
    let mut next = || match poll(&mut scene.receiver) {
        Poll::Ready(Some(event)) => event,
        other => panic!("{other:?}"),
    };
    while scene.multiplexer.stats(CHANNEL).unwrap().unread_departures > 0 {
        next();
    }
    // The cursor is behind the stream in slot 8.
    while next().0 != ids[8] {}
    assert!(scene.multiplexer.discard_stream(ids[7]));
    scene.multiplexer.shrink_to_fit();
    let item = |id| (id, StreamEvent::Item(()));
    let expected = [item(ids[9]), item(ids[8]), (ids[7], StreamEvent::Removed)];
    assert_eq!([(); 3].map(|()| next()), expected);
}
