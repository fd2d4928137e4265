//! Cancel safety of receiving: `recv`, `next` and `recv_many` may be dropped at any point. No event is lost or repeated, and
//! no waker is left behind.

use crate::support;
use futures::{FutureExt, StreamExt, select_biased};
use pollster::block_on;
use std::sync::Arc;
use std::task::{Poll, Wake, Waker};
use std::thread;
use stream_multiplexer::StreamEvent::{self, Item};
use stream_multiplexer::{Multiplexer, StreamId, TryRecvError};
use support::{Feed, Pipe, Wakes, finishes, pipe, poll_future};

const A: usize = 1;
const B: usize = 2;

type Streams = Multiplexer<Pipe<u32>>;

fn multiplexer() -> Streams {
    let multiplexer = Multiplexer::new();
    multiplexer.add_channel(A).unwrap();
    multiplexer.add_channel(B).unwrap();
    multiplexer
}

fn add(multiplexer: &Streams, channel: usize) -> (StreamId, Feed<u32>) {
    let (feed, pipe) = pipe();
    (multiplexer.add_stream(pipe, channel).unwrap(), feed)
}

/// When a future is dropped.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Dropped {
    Unpolled,
    Waiting,
    Woken,
}

/// How the dropped future receives.
#[derive(Clone, Copy, Debug)]
enum By {
    Recv,
    Next,
    RecvMany,
}

/// Begins to receive from channel `A`, lets an event `happen`, and drops the future at the time `dropped`.
fn cancel(multiplexer: &Streams, by: By, dropped: Dropped, happen: impl FnOnce()) {
    let mut receiver = multiplexer.receiver(A).unwrap();
    let mut buffer = Vec::new();
    match by {
        By::Recv => begin_and_drop(multiplexer.recv(A), dropped, happen),
        By::Next => begin_and_drop(receiver.next(), dropped, happen),
        By::RecvMany => begin_and_drop(receiver.recv_many(&mut buffer, 10), dropped, happen),
    }
    assert_eq!(buffer, []);
}

fn begin_and_drop(mut future: impl Future + Unpin, dropped: Dropped, happen: impl FnOnce()) {
    let (wakes, waker) = Wakes::new();
    if dropped != Dropped::Unpolled {
        assert!(poll_future(&mut future, &waker).is_pending());
    }
    if dropped == Dropped::Woken {
        happen();
        assert_eq!(wakes.take(), 1);
        drop(future);
    } else {
        drop(future);
        happen();
    }
}

fn cancel_in_all_ways(test: impl Fn(By, Dropped)) {
    for by in [By::Recv, By::Next, By::RecvMany] {
        for dropped in [Dropped::Unpolled, Dropped::Waiting, Dropped::Woken] {
            test(by, dropped);
        }
    }
}

#[test]
fn an_item_is_received_by_the_next_call() {
    cancel_in_all_ways(|by, dropped| {
        let multiplexer = multiplexer();
        let (id, feed) = add(&multiplexer, A);
        cancel(&multiplexer, by, dropped, || feed.push(1));
        assert_eq!(multiplexer.try_recv(A), Ok((id, Some(1))), "{by:?} {dropped:?}");
        assert_eq!(multiplexer.try_recv(A), Err(TryRecvError::Empty), "{by:?} {dropped:?}");
    });
}

#[test]
fn a_departure_is_received_by_the_next_call() {
    cancel_in_all_ways(|by, dropped| {
        let multiplexer = multiplexer();
        let (ends, feed) = add(&multiplexer, A);
        cancel(&multiplexer, by, dropped, || feed.end());
        assert_eq!(multiplexer.try_recv(A), Ok((ends, None)), "{by:?} {dropped:?}");

        let (moves, _feed) = add(&multiplexer, A);
        let change = || multiplexer.change_stream_channel(moves, B).unwrap();
        cancel(&multiplexer, by, dropped, change);
        assert_eq!(multiplexer.try_recv(A), Ok((moves, None)), "{by:?} {dropped:?}");
        assert_eq!(multiplexer.try_recv(A), Err(TryRecvError::Empty), "{by:?} {dropped:?}");
    });
}

#[test]
fn a_stream_that_is_added_is_polled_by_the_next_call() {
    cancel_in_all_ways(|by, dropped| {
        let multiplexer = multiplexer();
        cancel(&multiplexer, by, dropped, || add(&multiplexer, A).1.push(1));
        assert!(matches!(multiplexer.try_recv(A), Ok((_, Some(1)))), "{by:?} {dropped:?}");
    });
}

#[test]
fn the_end_of_the_channel_is_received_by_the_next_call() {
    cancel_in_all_ways(|by, dropped| {
        let multiplexer = multiplexer();
        cancel(&multiplexer, by, dropped, || multiplexer.close());
        assert_eq!(multiplexer.try_recv(A), Err(TryRecvError::Closed), "{by:?} {dropped:?}");
    });
}

#[test]
fn before_its_first_poll_a_future_asks_no_stream() {
    let multiplexer = multiplexer();
    let (_, feed) = add(&multiplexer, A);
    feed.push(1);
    let mut receiver = multiplexer.receiver(A).unwrap();
    let mut buffer = Vec::new();
    drop(multiplexer.recv(A));
    drop(receiver.next());
    drop(receiver.recv_many(&mut buffer, 10));
    assert_eq!((feed.take_polls(), buffer), (0, vec![]));
}

/// The same receiver continues after its `next` was dropped.
#[test]
fn a_receiver_goes_on() {
    let multiplexer = multiplexer();
    let (id, feed) = add(&multiplexer, A);
    let mut receiver = multiplexer.receiver(A).unwrap();
    let mut received = Vec::new();
    for item in 0..20 {
        if item % 4 == 0 {
            assert_eq!(receiver.next().now_or_never(), None);
        }
        feed.push(item);
        if item % 3 == 0 {
            drop(receiver.next());
            let mut unused = Vec::new();
            drop(receiver.recv_many(&mut unused, 3));
        }
        received.push(receiver.next().now_or_never());
    }
    let all: Vec<_> = (0..20).map(|item| Some(Some((id, Item(item))))).collect();
    assert_eq!(received, all);
}

/// A waker; its `Arc` counts its clones.
struct Task;

impl Wake for Task {
    fn wake(self: Arc<Self>) {}
}

#[test]
fn a_future_that_is_dropped_lets_go_of_its_task() {
    let multiplexer = multiplexer();
    let (_, feed) = add(&multiplexer, A);
    let task = Arc::new(Task);
    let waker = Waker::from(Arc::clone(&task));

    let mut recv = multiplexer.recv(A);
    let mut receiver = multiplexer.receiver(A).unwrap();
    assert!(poll_future(&mut recv, &waker).is_pending());
    assert!(poll_future(&mut receiver.next(), &waker).is_pending());
    assert_eq!(Arc::strong_count(&task), 4);
    drop(recv);
    assert_eq!(Arc::strong_count(&task), 3);
    drop(receiver);
    assert_eq!(Arc::strong_count(&task), 2, "no more than the test has");
    feed.push(1);
    assert_eq!(Arc::strong_count(&task), 2);
}

/// The places of tasks that no longer wait are reused.
#[test]
fn many_that_are_dropped_leave_the_others_waiting() {
    let multiplexer = multiplexer();
    let (id, feed) = add(&multiplexer, A);
    let (wakes, waker) = Wakes::new();
    let mut stays = multiplexer.recv(A);
    for round in 0..100 {
        let mut before = multiplexer.recv(A);
        assert!(poll_future(&mut before, Waker::noop()).is_pending());
        if round == 50 {
            assert!(poll_future(&mut stays, &waker).is_pending());
        }
        assert_eq!(multiplexer.recv(A).now_or_never(), None);
    }
    feed.push(1);
    assert_eq!(wakes.take(), 1);
    assert_eq!(poll_future(&mut stays, &waker), Poll::Ready(Ok((id, Some(1)))));
}

const ITEMS: u32 = 2_000;

/// Feeds two streams, one in each channel, from another thread.
fn feed_both(multiplexer: &Streams) -> thread::JoinHandle<()> {
    let feeds = [A, B].map(|channel| add(multiplexer, channel).1);
    thread::spawn(move || {
        for item in 0..ITEMS {
            feeds.iter().for_each(|feed| feed.push(item));
        }
        feeds.iter().for_each(Feed::end);
    })
}

/// The favoured channel is polled first, each time with new futures, and the losing future is dropped.
#[test]
fn a_select_that_drops_the_loser_loses_nothing() {
    finishes(|| {
        let multiplexer = multiplexer();
        let feeding = feed_both(&multiplexer);
        let (mut from_a, mut from_b) = (Vec::new(), Vec::new());
        block_on(async {
            while from_a.last() != Some(&None) || from_b.last() != Some(&None) {
                select_biased! {
                    received = multiplexer.recv(A).fuse() => from_a.push(received.unwrap().1),
                    received = multiplexer.recv(B).fuse() => from_b.push(received.unwrap().1),
                }
            }
        });
        feeding.join().unwrap();
        let all: Vec<_> = (0..ITEMS).map(Some).chain([None]).collect();
        assert_eq!(from_a, all);
        assert_eq!(from_b, all);
    });
}

/// Tokio's `select!` starts with a random branch. With two receivers, one `recv_many` may lose in the middle.
#[test]
fn a_tokio_select_that_drops_the_loser_loses_nothing() {
    finishes(|| {
        let multiplexer = multiplexer();
        let feeding = feed_both(&multiplexer);
        let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
        let (mut from_a, mut from_b) = (Vec::new(), Vec::new());
        runtime.block_on(async {
            let mut receivers = [A, B].map(|channel| multiplexer.receiver(channel).unwrap());
            let [a, b] = &mut receivers;
            while !ended(&from_a) || !ended(&from_b) {
                tokio::select! {
                    _ = a.recv_many(&mut from_a, 7) => {}
                    received = b.next() => from_b.extend(received),
                }
            }
        });
        feeding.join().unwrap();
        let all: Vec<_> = (0..ITEMS).map(Item).chain([StreamEvent::Ended]).collect();
        for received in [from_a, from_b] {
            assert_eq!(received.into_iter().map(|(_, event)| event).collect::<Vec<_>>(), all);
        }
    });
}

fn ended(received: &[(StreamId, StreamEvent<u32>)]) -> bool {
    received.last().is_some_and(|(_, event)| *event == StreamEvent::Ended)
}
