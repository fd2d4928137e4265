//! Sending.

use crate::parts::{CHANNEL, Control, Mux, add, multiplexer, poll_future, shuffled};
use crate::table::{Case, Unit, time};
use crate::tasks::Tasks;
use std::sync::Arc;
use stream_multiplexer::StreamId;

pub(crate) fn cases() -> Vec<Case> {
    let case = |name, should, measure| Case { name, unit: Unit::Nanoseconds, should, measure };
    vec![
        case("n waiting senders dropped in random order, each", "O(log n)", drop_waiting),
        case("one wake of n senders that wait again in place, each", "O(log n)", wake_in_place),
        case("first poll of a `send` to n ready sinks", "bounded, then it yields", broadcast),
        case("`shutdown` of n sinks that are not ready and then wake together, each", "O(1)", shut_down),
        Case {
            name: "n senders, their sink takes one item at a time: polls per item",
            unit: Unit::Polls,
            should: "O(1)",
            measure: sends_one_by_one,
        },
    ]
}

/// A pair whose sink is not ready.
fn shut() -> (Mux, StreamId, Arc<Control>) {
    let multiplexer = multiplexer();
    let sink = Control::ready(0);
    let id = add(&multiplexer, &Control::ready(0), &sink, CHANNEL);
    (multiplexer, id, sink)
}

/// Should be O(log n).
fn drop_waiting(n: usize) -> f64 {
    let (multiplexer, id, _) = shut();
    let mut sends: Vec<_> = (0..n).map(|_| Some(multiplexer.send_one(id, ()))).collect();
    for send in sends.iter_mut().flatten() {
        assert!(poll_future(send).is_pending());
    }
    let order = shuffled(n);
    time(|| order.into_iter().for_each(|at| drop(sends[at].take()))) / n as f64
}

/// Should be O(log n), including the poll.
fn wake_in_place(n: usize) -> f64 {
    let (multiplexer, id, sink) = shut();
    let mut tasks = Tasks::default();
    for _ in 0..n {
        let multiplexer = multiplexer.clone();
        tasks.spawn_in_place(async move { multiplexer.send_one(id, ()).await.unwrap() });
    }
    let before = tasks.polls();
    let woken = time(|| sink.wake());
    assert!(tasks.polls() - before >= n);
    woken / n as f64
}

/// Should be O(1): each send is polled in its turn, when it begins to wait and when it was woken.
fn shut_down(n: usize) -> f64 {
    let multiplexer = multiplexer();
    let sinks: Vec<_> = (0..n).map(|_| Control::ready(0)).collect();
    for sink in &sinks {
        add(&multiplexer, &Control::ready(0), sink, CHANNEL);
    }
    let mut shutdown = multiplexer.shutdown::<()>();
    let took = time(|| {
        // At most 64 in one poll, in the first turns and in later ones.
        (0..n / 32 + 2).for_each(|_| assert!(poll_future(&mut shutdown).is_pending()));
        sinks.iter().for_each(|sink| sink.push());
        while poll_future(&mut shutdown).is_pending() {}
    });
    took / n as f64
}

/// Should be bounded, as every other poll, because the executor cannot run during the poll.
fn broadcast(n: usize) -> f64 {
    let multiplexer = multiplexer();
    let (stream, sink) = (Control::ready(0), Control::ready(usize::MAX / 2));
    let ids: Vec<_> = (0..n).map(|_| add(&multiplexer, &stream, &sink, CHANNEL)).collect();
    let mut send = multiplexer.send(ids, ());
    let mut is_done = false;
    let first = time(|| is_done = poll_future(&mut send).is_ready());
    while !is_done {
        is_done = poll_future(&mut send).is_ready();
    }
    first
}

/// Could be O(1): at present each item wakes all waiting tasks.
fn sends_one_by_one(n: usize) -> f64 {
    let (multiplexer, id, sink) = shut();
    let mut tasks = Tasks::default();
    for _ in 0..n {
        let multiplexer = multiplexer.clone();
        tasks.spawn(async move { multiplexer.send_one(id, ()).await.unwrap() });
    }
    let before = tasks.polls();
    for _ in 0..n {
        sink.push();
        tasks.run();
    }
    assert!(tasks.are_done());
    (tasks.polls() - before) as f64 / n as f64
}
