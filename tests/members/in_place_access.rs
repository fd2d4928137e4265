//! `with_stream` and `with_sink`: access to a stream or sink in place, as in a poll.

use crate::support;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::task::{Poll, Waker};
use stream_multiplexer::{Multiplexer, MultiplexerError, StreamEvent, StreamId};
use support::{Feed, Gate, Gatekeeper, Pipe, Wakes, gate, pipe, poll, poll_future, poll_with};

const CHANNEL: usize = 1;
const OTHER: usize = 2;

type Pairs = Multiplexer<Pipe<u32>, Gate<u32>>;

fn scene(room: usize) -> (Pairs, StreamId, Feed<u32>, Gatekeeper<u32>) {
    let multiplexer = Pairs::new();
    multiplexer.add_channel(CHANNEL).unwrap();
    multiplexer.add_channel(OTHER).unwrap();
    let ((feed, stream), (keeper, sink)) = (pipe(), gate(room));
    let id = multiplexer.add_stream_pair(sink, stream, CHANNEL).unwrap();
    (multiplexer, id, feed, keeper)
}

/// The stream may have an item now, although it was not woken.
#[test]
fn a_stream_that_was_changed_has_a_turn() {
    let (multiplexer, id, feed, _) = scene(0);
    let mut receiver = multiplexer.receiver(CHANNEL).unwrap();
    let (wakes, task) = Wakes::new();
    assert!(poll_with(&mut receiver, &task).is_pending());
    let (other, stream) = pipe();
    other.push(5);
    multiplexer.with_stream(id, |mut place| *place = stream).unwrap();
    assert!(feed.is_dropped());
    assert_eq!(wakes.take(), 1);
    assert_eq!(poll_with(&mut receiver, &task), Poll::Ready(Some((id, StreamEvent::Item(5)))));
}

/// No lock is held during the call.
#[test]
fn the_multiplexer_may_be_called_during_the_access() {
    let (multiplexer, id, feed, _) = scene(1);
    let calls = || {
        assert_eq!(multiplexer.with_stream(id, |_| ()), Err(MultiplexerError::Busy(id)));
        assert_eq!(multiplexer.with_sink(id, |_| ()), Ok(()));
        multiplexer.change_stream_channel(id, OTHER).unwrap();
        assert_eq!(multiplexer.channel_of(id), Some(OTHER));
    };
    multiplexer.with_stream(id, |_| calls()).unwrap();
    feed.push(1);
    assert_eq!(multiplexer.try_recv(CHANNEL), Ok((id, None)));
    assert_eq!(multiplexer.try_recv(OTHER), Ok((id, Some(1))));
    let nested = multiplexer.with_sink(id, |_| multiplexer.with_sink(id, |_| ()));
    assert_eq!(nested, Ok(Err(MultiplexerError::Busy(id))));
}

#[test]
fn a_sender_that_waits_for_a_changed_sink_polls_it_again() {
    let (multiplexer, id, _feed, keeper) = scene(0);
    let mut sending = multiplexer.send_one(id, 1);
    let (wakes, task) = Wakes::new();
    assert!(poll_future(&mut sending, &task).is_pending());
    let (other, sink) = gate(1);
    multiplexer.with_sink(id, |place| *place = sink).unwrap();
    assert!(keeper.is_dropped());
    assert_eq!(wakes.take(), 1);
    assert_eq!(poll_future(&mut sending, &task), Poll::Ready(Ok(())));
    assert_eq!(other.take_items(), [1]);
}

#[test]
fn a_panic_costs_the_pair() {
    for in_stream in [true, false] {
        let (multiplexer, id, feed, keeper) = scene(1);
        let panics = catch_unwind(AssertUnwindSafe(|| {
            if in_stream {
                multiplexer.with_stream(id, |_| panic!("as the test wants"))
            } else {
                multiplexer.with_sink(id, |_| panic!("as the test wants"))
            }
        }));
        panics.map(|called: Result<(), _>| called.unwrap()).unwrap_err();
        assert!(feed.is_dropped() && keeper.is_dropped());
        let mut receiver = multiplexer.receiver(CHANNEL).unwrap();
        assert_eq!(poll(&mut receiver), Poll::Ready(Some((id, StreamEvent::Removed))));
        let unknown = MultiplexerError::UnknownStream(id);
        assert_eq!(multiplexer.with_stream(id, |_| ()), Err(unknown));
        assert_eq!(multiplexer.with_sink(id, |_| ()), Err(unknown));
        let sent = poll_future(&mut multiplexer.send_one(id, 1), Waker::noop());
        assert!(matches!(sent, Poll::Ready(Err(_))));
    }
}

#[test]
fn what_is_not_there_is_unknown() {
    let (multiplexer, id, _feed, keeper) = scene(1);
    let sinkless = multiplexer.add_stream(pipe().1, CHANNEL).unwrap();
    assert_eq!(multiplexer.with_sink(sinkless, |_| ()), Err(MultiplexerError::UnknownStream(sinkless)));
    assert_eq!(multiplexer.with_stream(sinkless, |_| ()), Ok(()));
    drop(multiplexer.remove_stream(id));
    assert!(keeper.is_dropped());
    assert_eq!(multiplexer.with_sink(id, |_| ()), Err(MultiplexerError::UnknownStream(id)));
}
