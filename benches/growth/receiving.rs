//! Receiving, and membership of channels.

use crate::parts::{
    CHANNEL, Control, Mux, OTHER, add, add_idle, drain, idle_members, multiplexer, poll, poll_future,
    shuffled,
};
use crate::table::{Case, Unit, time};
use crate::tasks::Tasks;
use std::sync::mpsc;
use stream_multiplexer::StreamId;

pub(crate) fn cases() -> Vec<Case> {
    let case = |name, should, measure| Case { name, unit: Unit::Nanoseconds, should, measure };
    vec![
        case("one poll after n stale wakes of vacant slots", "bounded, then it yields", stale_wakes),
        case("one poll after n members were woken", "n / 64 loads, or less", many_wakes),
        case("remove another while one moves n times in its own poll", "O(1)", remove_beside_moves),
        case("`recv_many` of n departures, one poll", "bounded, then it yields", many_departures),
        case("add and remove a pair beside n members", "O(1)", add_and_remove),
        case(
            "remove one of n at random, and add another",
            "O(1), and what the cache misses",
            replace_at_random,
        ),
        case("move a stream there and back beside n members", "O(1)", move_there_and_back),
        case("`channel_streams` of 3 after a burst of n", "O(members)", list_after_burst),
        Case {
            name: "n `recv`, items one by one: polls per item",
            unit: Unit::Polls,
            should: "O(1)",
            measure: receives_one_by_one,
        },
    ]
}

/// Should be bounded: each wake costs a turn in vain, and a poll takes at most 64 of these turns.
fn stale_wakes(n: usize) -> f64 {
    let (multiplexer, mut receiver, members) = idle_members(n);
    let wakers: Vec<_> = members.iter().map(|(_, stream)| stream.waker().unwrap()).collect();
    for (id, _) in &members {
        multiplexer.remove_stream(*id).unwrap();
    }
    assert_eq!(drain(&mut receiver), n);
    wakers.into_iter().for_each(|waker| waker.wake());
    time(|| assert!(poll(&mut receiver).is_pending()))
}

/// Takes the wakes of all members, 64 at a time. Could cost less.
fn many_wakes(n: usize) -> f64 {
    let (_multiplexer, mut receiver, members) = idle_members(n);
    members.iter().for_each(|(_, stream)| stream.push());
    time(|| assert!(poll(&mut receiver).is_ready()))
}

/// Should be O(1), because the held departures belong to other streams.
fn remove_beside_moves(n: usize) -> f64 {
    let multiplexer = multiplexer();
    let mut receiver = multiplexer.receiver(CHANNEL).unwrap();
    let (mover, stream) = add_idle(&multiplexer, CHANNEL);
    let (other, _) = add_idle(&multiplexer, CHANNEL);
    let (tell, told) = mpsc::channel();
    let inside = multiplexer.clone();
    stream.act(move || {
        move_to_and_fro(&inside, mover, n);
        tell.send(time(|| inside.remove_stream(other).unwrap())).unwrap();
    });
    while poll(&mut receiver).is_ready() {}
    told.recv().unwrap()
}

pub(crate) fn move_to_and_fro(multiplexer: &Mux, id: StreamId, times: usize) {
    for time in 0..times {
        multiplexer.change_stream_channel(id, if time % 2 == 0 { OTHER } else { CHANNEL }).unwrap();
    }
}

/// Should be bounded, whatever limit the caller passes, because the executor cannot run during the call.
fn many_departures(n: usize) -> f64 {
    let multiplexer = multiplexer();
    let mut receiver = multiplexer.receiver(CHANNEL).unwrap();
    for _ in 0..n {
        let (id, _) = add_idle(&multiplexer, CHANNEL);
        multiplexer.remove_stream(id).unwrap();
    }
    let mut events = Vec::with_capacity(n);
    let one_poll = time(|| poll_future(&mut receiver.recv_many(&mut events, usize::MAX)));
    assert_eq!(events.len() + drain(&mut receiver), n);
    one_poll
}

/// Should be O(1). The departure is read, too.
fn add_and_remove(n: usize) -> f64 {
    const TIMES: usize = 10_000;
    let (multiplexer, mut receiver, members) = idle_members(n);
    let (stream, sink) = (Control::ready(0), Control::ready(0));
    let all = time(|| {
        for _ in 0..TIMES {
            let id = add(&multiplexer, &stream, &sink, CHANNEL);
            multiplexer.remove_stream(id).unwrap();
            assert!(poll(&mut receiver).is_ready());
        }
    });
    drop(members);
    all / TIMES as f64
}

/// Should be O(1), plus cache misses. No task receives.
fn replace_at_random(n: usize) -> f64 {
    const TIMES: usize = 10_000;
    let multiplexer = multiplexer();
    let mut ids: Vec<_> = (0..n).map(|_| add_idle(&multiplexer, CHANNEL).0).collect();
    let picks = shuffled(n);
    let all = time(|| {
        for pick in picks.iter().cycle().take(TIMES) {
            multiplexer.remove_stream(ids[*pick]).unwrap();
            ids[*pick] = add_idle(&multiplexer, CHANNEL).0;
        }
    });
    all / TIMES as f64
}

/// Should be O(1). The departures are read, too.
fn move_there_and_back(n: usize) -> f64 {
    const TIMES: usize = 10_000;
    let (multiplexer, mut receiver, members) = idle_members(n);
    let mut other = multiplexer.receiver(OTHER).unwrap();
    let id = members[n / 2].0;
    let all = time(|| {
        for _ in 0..TIMES {
            multiplexer.change_stream_channel(id, OTHER).unwrap();
            multiplexer.change_stream_channel(id, CHANNEL).unwrap();
            assert!(poll(&mut receiver).is_ready());
            assert!(poll(&mut other).is_ready());
        }
    });
    all / TIMES as f64
}

/// Should be O(present members), independent of earlier members.
fn list_after_burst(n: usize) -> f64 {
    let (multiplexer, mut receiver, members) = idle_members(n);
    for (id, _) in &members[3..] {
        multiplexer.remove_stream(*id).unwrap();
    }
    drain(&mut receiver);
    let list = || assert_eq!(multiplexer.channel_streams(CHANNEL).unwrap().len(), 3);
    // In the first allocation after a burst, the allocator sorts the memory that the burst freed.
    list();
    time(|| (0..10).for_each(|_| list())) / 10.0
}

/// Could be O(1): at present each item wakes all waiting tasks.
fn receives_one_by_one(n: usize) -> f64 {
    let multiplexer = multiplexer();
    let (_, stream) = add_idle(&multiplexer, CHANNEL);
    let mut tasks = Tasks::default();
    for _ in 0..n {
        let multiplexer = multiplexer.clone();
        tasks.spawn(async move { assert!(multiplexer.recv(CHANNEL).await.unwrap().1.is_some()) });
    }
    let before = tasks.polls();
    for _ in 0..n {
        stream.push();
        tasks.run();
    }
    assert!(tasks.are_done());
    (tasks.polls() - before) as f64 / n as f64
}
