//! Sending: each sink receives the item at most once and whole, and delays only its own senders. A wake polls only the sends
//! that it concerns. A dropped send did what its documentation states.

use crate::random::below;
use crate::support;
use futures::executor::LocalPool;
use futures::future::LocalBoxFuture;
use futures::task::LocalSpawnExt;
use futures::{FutureExt, Sink, SinkExt, StreamExt};
use pollster::block_on;
use quickcheck::{Arbitrary, Gen, QuickCheck};
use std::collections::{HashMap, HashSet};
use std::pin::Pin;
use std::sync::{Arc, Mutex, mpsc};
use std::task::{Context, Poll, Waker};
use std::thread;
use stream_multiplexer::{ChannelOptions, Multiplexer, SendError, Sent, Share, StreamId};
use support::{
    Broken, Feed, Gate, Gatekeeper, Pipe, Wakes, finishes, gate, pipe, poll_future, poll_with, run,
};

const CHANNEL: usize = 1;

type Pairs<Si = Gate<u32>> = Multiplexer<Pipe<u32>, Si>;
type Told<E = Broken> = Result<StreamId, SendError<E>>;

/// The test's access to a pair.
struct Peer {
    id: StreamId,
    feed: Feed<u32>,
    gate: Gatekeeper<u32>,
}

impl Peer {
    /// A pair whose sink has room for `room` items.
    fn new(multiplexer: &Pairs, room: usize) -> Self {
        let (gate, sink) = gate(room);
        let (id, feed) = add(multiplexer, sink);
        Self { id, feed, gate }
    }

    fn sent(&self) -> Told {
        Ok(self.id)
    }

    fn failed(&self) -> Told {
        Err(SendError::Sink { id: self.id, error: Broken })
    }

    fn unknown(&self) -> Told {
        Err(SendError::UnknownStream(self.id))
    }
}

fn multiplexer<Si>() -> Pairs<Si> {
    let multiplexer = Multiplexer::new();
    multiplexer.add_channel(CHANNEL).unwrap();
    multiplexer
}

fn add<Si>(multiplexer: &Pairs<Si>, sink: Si) -> (StreamId, Feed<u32>) {
    let (feed, pipe) = pipe();
    (multiplexer.add_stream_pair(sink, pipe, CHANNEL).unwrap(), feed)
}

/// Pairs whose sinks have room for these numbers of items.
fn peers<const N: usize>(rooms: [usize; N]) -> (Pairs, [Peer; N]) {
    let multiplexer = multiplexer();
    let peers = rooms.map(|room| Peer::new(&multiplexer, room));
    (multiplexer, peers)
}

fn ids(peers: &[Peer]) -> Vec<StreamId> {
    peers.iter().map(|peer| peer.id).collect()
}

/// Ends the stream, and lets its channel notice.
fn end(multiplexer: &Pairs, peer: &Peer) {
    peer.feed.end();
    while multiplexer.try_recv(CHANNEL).is_ok() {}
    assert_eq!(multiplexer.channel_of(peer.id), None);
}

/// The ways to send to a stream.
#[derive(Clone, Copy, Debug, PartialEq)]
enum By {
    SendOne,
    Send,
    /// `send` to this stream and to another one, which is ready.
    SendToMany,
    Sender,
}

const WAYS: [By; 4] = [By::SendOne, By::Send, By::SendToMany, By::Sender];

/// Sends to the first of two streams.
fn send<Si: Sink<u32> + Unpin>(
    by: By,
    multiplexer: &Pairs<Si>,
    to: [StreamId; 2],
    item: u32,
) -> LocalBoxFuture<'_, Result<(), SendError<Si::Error>>> {
    let first = |sent: Sent<Si::Error>| sent.into_vec().swap_remove(0).map(drop);
    match by {
        By::SendOne => multiplexer.send_one(to[0], item).boxed_local(),
        By::Send => multiplexer.send([to[0]], item).map(first).boxed_local(),
        By::SendToMany => multiplexer.send(to, item).map(first).boxed_local(),
        By::Sender => async move {
            let sender = multiplexer.sender(to[0]);
            sender.map_err(|_| SendError::UnknownStream(to[0]))?.send(item).await
        }
        .boxed_local(),
    }
}

/// Sends an item, in each way, to a peer whose sink has room for `room` items.
fn in_each_way(room: usize, test: impl Fn(&Pairs, &Peer, Sending<'_>)) {
    for by in WAYS {
        println!("by {by:?}");
        let (multiplexer, [peer, other]) = peers([room, usize::MAX]);
        let send = Sending { by, multiplexer: &multiplexer, to: [peer.id, other.id] };
        test(&multiplexer, &peer, send);
    }
}

/// One way to send to a peer.
#[derive(Clone, Copy)]
struct Sending<'a> {
    by: By,
    multiplexer: &'a Pairs,
    to: [StreamId; 2],
}

impl<'a> Sending<'a> {
    fn send(self, item: u32) -> LocalBoxFuture<'a, Result<(), SendError<Broken>>> {
        send(self.by, self.multiplexer, self.to, item)
    }
}

/// Each sink receives the item at most once and whole. It neither delays other sinks nor makes them fail.
mod each_sink {
    use super::*;

    #[test]
    fn gets_the_item_once_and_is_flushed() {
        in_each_way(2, |_, peer, sending| {
            assert_eq!(sending.send(5).now_or_never(), Some(Ok(())));
            assert_eq!(peer.gate.flushed(), 1);
            assert_eq!(peer.gate.take_items(), [5]);
        });
    }

    #[test]
    fn of_many_gets_the_item_once() {
        let (multiplexer, peers) = peers([2; 100]);
        let sent = run(multiplexer.send(ids(&peers), 5)).into_vec();
        assert_eq!(sent, peers.each_ref().map(Peer::sent));
        for peer in &peers {
            assert_eq!(peer.gate.flushed(), 1);
            assert_eq!(peer.gate.take_items(), [5]);
        }
    }

    /// No other clone is kept.
    #[test]
    fn gets_a_clone_of_its_own() {
        let multiplexer: Pairs<Gate<Arc<str>>> = multiplexer();
        let (open, sink) = gate(1);
        let (first, _) = add(&multiplexer, sink);
        let (shut, sink) = gate(0);
        let (second, _) = add(&multiplexer, sink);

        let item: Arc<str> = Arc::from("whole");
        let mut sending = multiplexer.send([first, second], Arc::clone(&item)).map(Sent::into_vec);
        assert!(poll_future(&mut sending, Waker::noop()).is_pending());
        assert_eq!(Arc::strong_count(&item), 3, "the test's, the first sink's, and one that waits");
        shut.make_room(1);
        assert!(poll_future(&mut sending, Waker::noop()).is_ready());
        assert_eq!(Arc::strong_count(&item), 3);
        assert_eq!(open.take_items(), [Arc::clone(&item)]);
        assert_eq!(shut.take_items(), [Arc::clone(&item)]);
        assert_eq!(Arc::strong_count(&item), 1);
    }

    #[test]
    fn has_flushed_the_item_when_the_send_completes() {
        in_each_way(1, |_, peer, sending| {
            let (wakes, waker) = Wakes::new();
            peer.gate.set_flushes(false);
            let mut sending = sending.send(5);
            assert_eq!(poll_future(&mut sending, &waker), Poll::Pending);
            assert_eq!(wakes.take(), 0);
            peer.gate.set_flushes(true);
            assert_ne!(wakes.take(), 0);
            assert_eq!(poll_future(&mut sending, &waker), Poll::Ready(Ok(())));
            assert_eq!(peer.gate.flushed(), 1);
            assert_eq!(peer.gate.take_items(), [5]);
        });
    }

    #[test]
    fn is_not_delayed_by_a_slow_one() {
        let (multiplexer, peers) = peers([0, 1, 0, 1]);
        let mut sending = multiplexer.send(ids(&peers), 5).map(Sent::into_vec);
        assert_eq!(poll_future(&mut sending, Waker::noop()), Poll::Pending);
        for peer in [&peers[1], &peers[3]] {
            assert_eq!(peer.gate.flushed(), 1);
            assert_eq!(peer.gate.take_items(), [5]);
        }
        peers[2].gate.make_room(1);
        assert_eq!(poll_future(&mut sending, Waker::noop()), Poll::Pending);
        assert_eq!(peers[2].gate.flushed(), 1, "not delayed by the first, either");
        peers[0].gate.make_room(1);
        assert_eq!(
            poll_future(&mut sending, Waker::noop()),
            Poll::Ready(peers.map(|peer| peer.sent()).into())
        );
    }

    #[test]
    fn is_not_delayed_by_one_that_is_slow_to_flush() {
        let (multiplexer, peers) = peers([1; 3]);
        peers[0].gate.set_flushes(false);
        let mut sending = multiplexer.send(ids(&peers), 5).map(Sent::into_vec);
        assert_eq!(poll_future(&mut sending, Waker::noop()), Poll::Pending);
        assert_eq!(peers.each_ref().map(|peer| peer.gate.flushed()), [0, 1, 1]);
        peers[0].gate.set_flushes(true);
        assert_eq!(
            poll_future(&mut sending, Waker::noop()),
            Poll::Ready(peers.map(|peer| peer.sent()).into())
        );
    }

    /// The items that a failing sink received before it failed.
    #[derive(Clone, Copy, Debug, PartialEq)]
    enum Fails {
        Never,
        BeforeIt,
        AtIt,
        AfterIt,
    }

    impl Fails {
        fn at(self, now: Self) -> Result<(), Broken> {
            if self == now { Err(Broken) } else { Ok(()) }
        }
    }

    impl Sink<u32> for Fails {
        type Error = Broken;

        fn poll_ready(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<Result<(), Broken>> {
            Poll::Ready(self.at(Self::BeforeIt))
        }

        fn start_send(self: Pin<&mut Self>, _: u32) -> Result<(), Broken> {
            self.at(Self::AtIt)
        }

        fn poll_flush(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<Result<(), Broken>> {
            Poll::Ready(self.at(Self::AfterIt))
        }

        fn poll_close(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<Result<(), Broken>> {
            Poll::Ready(Ok(()))
        }
    }

    /// Wherever sinks fail, each failure is reported once, in its place, and the pairs stay.
    #[test]
    fn is_not_failed_by_those_that_fail() {
        let multiplexer = multiplexer();
        let sinks = [Fails::Never, Fails::BeforeIt, Fails::Never, Fails::AtIt, Fails::AfterIt, Fails::Never];
        let peers = sinks.map(|sink| (add(&multiplexer, sink).0, sink));
        let expected = |(id, fails)| {
            if fails == Fails::Never { Ok(id) } else { Err(SendError::Sink { id, error: Broken }) }
        };
        let sent = multiplexer.send(peers.map(|(id, _)| id), 5).map(Sent::into_vec).now_or_never();
        assert_eq!(sent, Some(peers.map(expected).into()));

        for fails in sinks {
            for by in WAYS {
                let id = add(&multiplexer, fails).0;
                let sent = send(by, &multiplexer, [id, peers[0].0], 5).now_or_never().unwrap();
                assert_eq!(sent.map(|()| id), expected((id, fails)), "{fails:?} by {by:?}");
                let again = send(by, &multiplexer, [id, peers[0].0], 5).now_or_never().unwrap();
                let closed = if fails == Fails::Never { Ok(()) } else { Err(SendError::Closed(id)) };
                assert_eq!(again, closed, "{fails:?} by {by:?}");
                assert_eq!(multiplexer.channel_of(id), Some(CHANNEL));
            }
        }
    }

    #[test]
    fn is_not_failed_by_one_that_fails_while_it_waits() {
        let (multiplexer, peers) = peers([0; 3]);
        let (wakes, waker) = Wakes::new();
        let mut sending = multiplexer.send(ids(&peers), 5).map(Sent::into_vec);
        assert_eq!(poll_future(&mut sending, &waker), Poll::Pending);
        wakes.take();
        peers[1].gate.fail();
        assert_ne!(wakes.take(), 0);
        assert_eq!(poll_future(&mut sending, &waker), Poll::Pending);
        peers[0].gate.make_room(1);
        peers[2].gate.make_room(1);
        let expected = vec![peers[0].sent(), peers[1].failed(), peers[2].sent()];
        assert_eq!(poll_future(&mut sending, &waker), Poll::Ready(expected));
        assert_eq!(peers.map(|peer| peer.gate.take_items().len()), [1, 0, 1]);
    }

    #[test]
    fn that_fails_while_it_waits_wakes_the_sender() {
        in_each_way(0, |_, peer, sending| {
            let (wakes, waker) = Wakes::new();
            let mut sending = sending.send(5);
            assert_eq!(poll_future(&mut sending, &waker), Poll::Pending);
            wakes.take();
            peer.gate.fail();
            assert_ne!(wakes.take(), 0);
            let failed = Err(SendError::Sink { id: peer.id, error: Broken });
            assert_eq!(poll_future(&mut sending, &waker), Poll::Ready(failed));
        });
    }
}

/// The results are in the order of the ids, and unknown streams are reported in their place.
mod results {
    use super::*;

    /// With more ids than one lookup takes, and with unknown ids at the borders of the batches.
    #[test]
    fn are_in_the_order_of_the_ids() {
        const COUNT: usize = 200;
        let (multiplexer, peers) = peers([2; COUNT]);
        let is_unknown = |at: usize| at % 7 == 0 || matches!(at % 32, 0 | 31) || at == COUNT - 1;
        for peer in (0..COUNT).filter(|at| is_unknown(*at)).map(|at| &peers[at]) {
            multiplexer.remove_stream(peer.id).unwrap();
        }
        let expected = |at: usize| if is_unknown(at) { peers[at].unknown() } else { peers[at].sent() };

        let upwards = (0..COUNT).map(|at| peers[at].id);
        let sent = run(multiplexer.send(upwards.clone(), 5)).into_vec();
        assert_eq!(sent, (0..COUNT).map(expected).collect::<Vec<_>>());
        let sent = run(multiplexer.send(upwards.rev(), 6)).into_vec();
        assert_eq!(sent, (0..COUNT).rev().map(expected).collect::<Vec<_>>());
        for (at, peer) in peers.iter().enumerate().filter(|(at, _)| !is_unknown(*at)) {
            assert_eq!(peer.gate.take_items(), [5, 6], "{at}");
        }
    }

    #[test]
    fn are_in_the_order_of_the_ids_whichever_sink_is_ready_first() {
        let (multiplexer, peers) = peers([0, 1, 0, 0, 1, 0]);
        multiplexer.remove_stream(peers[2].id).unwrap();
        let mut sending = multiplexer.send(ids(&peers), 5).map(Sent::into_vec);
        for at in [5, 0, 3] {
            assert_eq!(poll_future(&mut sending, Waker::noop()), Poll::Pending);
            peers[at].gate.make_room(1);
        }
        let mut expected: Vec<_> = peers.iter().map(Peer::sent).collect();
        expected[2] = peers[2].unknown();
        assert_eq!(poll_future(&mut sending, Waker::noop()), Poll::Ready(expected));
    }

    #[test]
    fn of_an_id_that_is_given_twice_are_two() {
        let (multiplexer, [peer, other]) = peers([1, 1]);
        let mut sending = multiplexer.send([peer.id, other.id, peer.id], 5).map(Sent::into_vec);
        assert_eq!(poll_future(&mut sending, Waker::noop()), Poll::Pending);
        peer.gate.make_room(1);
        let expected = vec![peer.sent(), other.sent(), peer.sent()];
        assert_eq!(poll_future(&mut sending, Waker::noop()), Poll::Ready(expected));
        assert_eq!(peer.gate.take_items(), [5, 5]);
        assert_eq!(other.gate.take_items(), [5]);
    }

    #[test]
    fn of_no_ids_are_none() {
        let (multiplexer, []) = peers([]);
        let nobody: [StreamId; 0] = [];
        let sent = multiplexer.send(nobody, 5).now_or_never().unwrap();
        assert!(sent.is_empty() && sent.is_ok());
    }

    #[test]
    fn of_streams_that_are_gone_are_unknown() {
        in_each_way(1, |multiplexer, peer, sending| {
            multiplexer.remove_stream(peer.id).unwrap();
            assert_eq!(sending.send(5).now_or_never(), Some(Err(SendError::UnknownStream(peer.id))));
        });
        in_each_way(1, |multiplexer, peer, sending| {
            end(multiplexer, peer);
            assert_eq!(sending.send(5).now_or_never(), Some(Err(SendError::UnknownStream(peer.id))));
            assert!(peer.gate.is_dropped());
        });
    }

    /// An old id is not taken for the pair that has its place now.
    #[test]
    fn of_an_old_id_are_unknown_though_its_place_is_taken() {
        in_each_way(1, |multiplexer, peer, sending| {
            multiplexer.remove_stream(peer.id).unwrap();
            let next = Peer::new(multiplexer, 1);
            assert_eq!(sending.send(5).now_or_never(), Some(Err(SendError::UnknownStream(peer.id))));
            assert!(next.gate.take_items().is_empty());
        });
    }
}

/// The items of one caller arrive at one stream in the order of the calls.
mod order {
    use super::*;

    #[test]
    fn of_one_caller_is_kept() {
        in_each_way(1, |_, peer, sending| {
            for item in 0..10 {
                let mut sending = sending.send(item);
                if item > 0 {
                    assert_eq!(poll_future(&mut sending, Waker::noop()), Poll::Pending);
                    peer.gate.make_room(1);
                }
                assert_eq!(poll_future(&mut sending, Waker::noop()), Poll::Ready(Ok(())));
            }
            assert_eq!(peer.gate.take_items(), (0..10).collect::<Vec<_>>());
        });
    }

    /// In any combination of ways, while another thread makes room from time to time.
    #[test]
    fn of_one_caller_is_kept_in_all_ways_together() {
        const ITEMS: u32 = 400;
        finishes(|| {
            let (multiplexer, [peer, other]) = peers([0, usize::MAX]);
            let gate = peer.gate.clone();
            let makes_room = thread::spawn(move || {
                for _ in 0..ITEMS {
                    gate.make_room(1);
                    thread::yield_now();
                }
            });
            block_on(async {
                for (item, by) in (0..ITEMS).zip(WAYS.into_iter().cycle()) {
                    send(by, &multiplexer, [peer.id, other.id], item).await.unwrap();
                }
            });
            makes_room.join().unwrap();
            assert_eq!(peer.gate.take_items(), (0..ITEMS).collect::<Vec<_>>());
        });
    }

    /// An item that was handed over arrives before items that are sent later, flushed or not.
    #[test]
    fn is_that_in_which_items_are_handed_over() {
        let (multiplexer, [peer]) = peers([3]);
        peer.gate.set_flushes(false);
        let mut sends = [1, 2, 3].map(|item| multiplexer.send_one(peer.id, item));
        for at in [1, 0, 2] {
            assert_eq!(poll_future(&mut sends[at], Waker::noop()), Poll::Pending);
        }
        peer.gate.set_flushes(true);
        for sending in &mut sends {
            assert_eq!(poll_future(sending, Waker::noop()), Poll::Ready(Ok(())));
        }
        assert_eq!(peer.gate.take_items(), [2, 1, 3]);
    }
}

/// A sink that is not ready delays only its own senders; they do not delay each other.
mod waiting {
    use super::*;

    #[test]
    fn is_for_the_sink_to_be_ready() {
        in_each_way(0, |_, peer, sending| {
            let (wakes, waker) = Wakes::new();
            let mut sending = sending.send(5);
            assert_eq!(poll_future(&mut sending, &waker), Poll::Pending);
            assert_eq!(wakes.take(), 0, "it sleeps");
            assert!(peer.gate.take_items().is_empty());
            peer.gate.make_room(1);
            assert_ne!(wakes.take(), 0);
            assert_eq!(poll_future(&mut sending, &waker), Poll::Ready(Ok(())));
            assert_eq!(peer.gate.take_items(), [5]);
        });
    }

    #[test]
    fn is_not_for_the_sinks_of_others() {
        in_each_way(1, |multiplexer, peer, sending| {
            let slow = Peer::new(multiplexer, 0);
            let mut stuck = WAYS.map(|by| send(by, multiplexer, [slow.id, slow.id], 4));
            for stuck in &mut stuck {
                assert_eq!(poll_future(stuck, Waker::noop()), Poll::Pending);
            }
            assert_eq!(sending.send(5).now_or_never(), Some(Ok(())));
            assert_eq!(peer.gate.take_items(), [5]);
        });
    }

    #[test]
    fn ends_for_all_tasks_that_wait_for_one_sink() {
        in_each_way(0, |_, peer, sending| {
            let mut waiting: Vec<_> = (0..10).map(|item| (sending.send(item), Wakes::new())).collect();
            for (sending, (_, waker)) in &mut waiting {
                assert_eq!(poll_future(sending, waker), Poll::Pending);
            }
            for (_, (wakes, _)) in &waiting {
                wakes.take();
            }
            peer.gate.make_room(10);
            for (sending, (wakes, waker)) in &mut waiting {
                assert_ne!(wakes.take(), 0);
                assert_eq!(poll_future(sending, waker), Poll::Ready(Ok(())));
            }
            assert_eq!(peer.gate.take_items(), (0..10).collect::<Vec<_>>());
        });
    }

    /// With room for one item at a time, each sender has its turn in the end.
    #[test]
    fn continues_for_tasks_that_find_no_room() {
        in_each_way(0, |_, peer, sending| {
            let mut waiting: Vec<_> = (0..5).map(|item| (sending.send(item), Wakes::new())).collect();
            for (sending, (_, waker)) in &mut waiting {
                assert_eq!(poll_future(sending, waker), Poll::Pending);
            }
            while !waiting.is_empty() {
                peer.gate.make_room(1);
                let before = waiting.len();
                waiting.retain_mut(|(sending, (wakes, waker))| {
                    assert_ne!(wakes.take(), 0, "all are told");
                    poll_future(sending, waker).is_pending()
                });
                assert_eq!(waiting.len(), before - 1);
            }
            assert_eq!(peer.gate.take_items(), (0..5).collect::<Vec<_>>());
        });
    }

    #[test]
    fn wakes_the_task_that_polled_last() {
        in_each_way(0, |_, peer, sending| {
            let (before, first) = Wakes::new();
            let (wakes, second) = Wakes::new();
            let mut sending = sending.send(5);
            assert_eq!(poll_future(&mut sending, &first), Poll::Pending);
            assert_eq!(poll_future(&mut sending, &second), Poll::Pending);
            before.take();
            wakes.take();
            peer.gate.make_room(1);
            assert_eq!(before.take(), 0);
            assert_ne!(wakes.take(), 0);
        });
    }

    #[test]
    fn is_not_for_a_sender_that_is_not_polled() {
        in_each_way(0, |_, peer, sending| {
            let mut aside = sending.send(4);
            assert_eq!(poll_future(&mut aside, Waker::noop()), Poll::Pending);
            let (wakes, waker) = Wakes::new();
            let mut next = sending.send(5);
            assert_eq!(poll_future(&mut next, &waker), Poll::Pending);
            wakes.take();
            peer.gate.make_room(1);
            assert_ne!(wakes.take(), 0);
            assert_eq!(poll_future(&mut next, &waker), Poll::Ready(Ok(())));

            peer.gate.make_room(1);
            assert_eq!(poll_future(&mut aside, Waker::noop()), Poll::Ready(Ok(())));
            assert_eq!(peer.gate.take_items(), [5, 4]);
        });
    }

    #[test]
    fn is_not_for_a_sender_that_handed_over_and_does_not_flush() {
        in_each_way(1, |_, peer, sending| {
            peer.gate.set_flushes(false);
            let mut aside = sending.send(4);
            assert_eq!(poll_future(&mut aside, Waker::noop()), Poll::Pending);
            let (wakes, waker) = Wakes::new();
            let mut next = sending.send(5);
            assert_eq!(poll_future(&mut next, &waker), Poll::Pending);
            wakes.take();
            peer.gate.set_flushes(true);
            peer.gate.make_room(1);
            assert_ne!(wakes.take(), 0);
            assert_eq!(poll_future(&mut next, &waker), Poll::Ready(Ok(())));
            assert_eq!(peer.gate.flushed(), 2);
            assert_eq!(peer.gate.take_items(), [4, 5]);
            assert_eq!(poll_future(&mut aside, Waker::noop()), Poll::Ready(Ok(())));
        });
    }

    #[test]
    fn is_not_for_a_sender_that_was_woken_and_dropped() {
        in_each_way(0, |_, peer, sending| {
            let mut dropped = sending.send(4);
            assert_eq!(poll_future(&mut dropped, Waker::noop()), Poll::Pending);
            let (wakes, waker) = Wakes::new();
            let mut next = sending.send(5);
            assert_eq!(poll_future(&mut next, &waker), Poll::Pending);
            wakes.take();
            peer.gate.make_room(1);
            drop(dropped);
            assert_ne!(wakes.take(), 0);
            assert_eq!(poll_future(&mut next, &waker), Poll::Ready(Ok(())));
            assert_eq!(peer.gate.take_items(), [5]);
        });
    }

    /// The task that waits longest is woken first, even among tasks that send repeatedly.
    #[test]
    fn ends_for_all_in_turn() {
        for by in WAYS {
            println!("by {by:?}");
            const TASKS: u32 = 4;
            let (multiplexer, [peer, other]) = peers([0, usize::MAX]);
            let mut pool = LocalPool::new();
            let multiplexer: &'static Pairs = Box::leak(Box::new(multiplexer));
            for task in 0..TASKS {
                let to = [peer.id, other.id];
                let sends = async move { while send(by, multiplexer, to, task).await.is_ok() {} };
                pool.spawner().spawn_local(sends).unwrap();
            }
            for _ in 0..10 * TASKS {
                pool.run_until_stalled();
                peer.gate.make_room(1);
            }
            pool.run_until_stalled();
            let sent = peer.gate.take_items();
            for task in 0..TASKS {
                assert_eq!(sent.iter().filter(|item| **item == task).count(), 10, "{sent:?}");
            }
        }
    }

    #[test]
    fn is_over_for_a_sender_that_was_dropped() {
        in_each_way(0, |_, peer, sending| {
            let (wakes, waker) = Wakes::new();
            let mut dropped = sending.send(4);
            assert_eq!(poll_future(&mut dropped, &waker), Poll::Pending);
            drop(dropped);
            wakes.take();
            peer.gate.make_room(1);
            assert_eq!(wakes.take(), 0);
            drop(waker);
            assert_eq!(Arc::strong_count(&wakes), 1, "nothing keeps the task");
        });
    }

    /// For a sink that is not ready, the crate keeps nothing except the item that its sender holds.
    #[test]
    fn buffers_nothing() {
        let multiplexer: Pairs<Gate<Arc<str>>> = multiplexer();
        let (_gate, sink) = gate(0);
        let (id, _) = add(&multiplexer, sink);
        let item: Arc<str> = Arc::from("mine");
        let mut sends: Vec<_> = (0..4).map(|_| multiplexer.send_one(id, Arc::clone(&item))).collect();
        for sending in &mut sends {
            assert!(poll_future(sending, Waker::noop()).is_pending());
        }
        assert_eq!(Arc::strong_count(&item), 5);
        drop(sends);
        assert_eq!(Arc::strong_count(&item), 1);
    }
}

/// Any iterator over ids, or over references to ids, works.
#[test]
fn ids_come_by_value_or_by_reference() {
    let (multiplexer, [peer, other]) = peers([100, 100]);
    let (id, pair) = (peer.id, vec![peer.id, other.id]);
    let both = HashSet::from([id, other.id]);
    let lens = [
        run(multiplexer.send([id], 1)).len(),
        run(multiplexer.send([&id], 1)).len(),
        run(multiplexer.send(vec![id], 1)).len(),
        run(multiplexer.send(Some(id), 1)).len(),
        run(multiplexer.send(&pair, 1)).len(),
        run(multiplexer.send(&pair[..], 1)).len(),
        run(multiplexer.send(pair.iter(), 1)).len(),
        run(multiplexer.send(pair.iter().copied().filter(|to| *to != id), 1)).len(),
        run(multiplexer.send(pair.iter().filter(|to| **to != id), 1)).len(),
        run(multiplexer.send(multiplexer.channel_streams(CHANNEL).unwrap(), 1)).len(),
        run(multiplexer.send(&both, 1)).len(),
        run(multiplexer.send(HashSet::from([id]), 1)).len(),
        run(multiplexer.send(HashMap::from([(id, "it")]).keys(), 1)).len(),
        run(multiplexer.send(pair, 1)).len(),
    ];
    assert_eq!(lens, [1, 1, 1, 1, 2, 2, 2, 1, 1, 2, 2, 1, 1, 2]);
    assert_eq!(peer.gate.take_items().len(), 12);
}

/// A glob import of the crate hides nothing of the prelude.
mod a_glob_import {
    #![allow(unused_imports, reason = "that nothing else is needed is the point")]
    use stream_multiplexer::*;

    fn is_send<T: Send + Sync>() {}

    #[test]
    fn leaves_the_prelude_as_it_is() {
        is_send::<Multiplexer<super::Pipe<u32>, super::Gate<u32>>>();
        let all: Vec<Result<Option<Box<u32>>, String>> = Vec::from([Ok(Some(Box::new(1)))]);
        assert_eq!(all.into_iter().rev().count(), 1);
    }
}

mod the_result {
    use super::*;

    fn some_failed() -> (Sent<Broken>, [Told; 3]) {
        let (multiplexer, peers) = peers([1; 3]);
        peers[1].gate.fail();
        multiplexer.remove_stream(peers[2].id);
        let told = [peers[0].sent(), peers[1].failed(), peers[2].unknown()];
        (run(multiplexer.send(ids(&peers), 5)), told)
    }

    #[test]
    fn is_there_for_each_stream() {
        let (sent, told) = some_failed();
        assert_eq!((sent.len(), sent.is_empty()), (3, false));
        assert_eq!(sent.as_slice(), told);
        assert!(sent.iter().eq(&told));
        assert!((&sent).into_iter().eq(&told));
        assert_eq!(sent.clone().into_vec(), told);
        assert!(sent.into_iter().eq(told));
    }

    #[test]
    fn lists_the_failures() {
        let (sent, told) = some_failed();
        assert!(!sent.is_ok());
        assert!(sent.failures().eq(told[1..].iter().map(|told| told.as_ref().unwrap_err())));
        assert_eq!(sent.into_result().map(|()| told[0].unwrap()), told[1]);
    }

    #[test]
    fn is_ok_if_no_send_failed() {
        let (multiplexer, peers) = peers([1; 3]);
        let sent = run(multiplexer.send(ids(&peers), 5));
        assert!(sent.is_ok());
        assert_eq!(sent.failures().count(), 0);
        assert_eq!(sent.into_result(), Ok(()));
    }
}

/// Futures that have returned their result are terminated.
mod futures_that_are_over {
    use super::*;
    use crate::support::assert_over;

    #[test]
    fn say_so_and_panic_when_they_are_polled() {
        let (multiplexer, [peer, other]) = peers([100, 100]);
        let (id, nobody): (_, [StreamId; 0]) = (peer.id, []);
        assert_over(&mut multiplexer.send_one(id, 1));
        assert_over(&mut multiplexer.send([id], 1));
        assert_over(&mut multiplexer.send([id; 70], 1));
        assert_over(&mut multiplexer.send(nobody, 1));
        assert_over(&mut multiplexer.close_stream::<u32>(id));
        assert_over(&mut multiplexer.send_one(id, 1));
        assert_over(&mut multiplexer.send([id], 1));
        assert_over(&mut multiplexer.close_stream::<u32>(id));
        other.gate.fail();
        assert_over(&mut multiplexer.send_one(other.id, 1));
        assert_over(&mut multiplexer.close_stream::<u32>(other.id));
    }

    /// They need no `fuse()` in a `select!`, and are not polled after they have completed.
    #[test]
    fn are_passed_over_by_select() {
        let (multiplexer, [peer, other]) = peers([1, 1]);
        let mut one = multiplexer.send_one(peer.id, 1);
        let mut many = multiplexer.send([peer.id, other.id], 2);
        let mut close = multiplexer.close_stream::<u32>(other.id);
        let mut over = 0;
        block_on(async {
            loop {
                futures::select_biased! {
                    sent = one => assert_eq!(sent, Ok(())),
                    closed = close => assert_eq!(closed, Ok(())),
                    sent = many => assert_eq!(sent.into_result(), Err(SendError::UnknownStream(other.id))),
                    complete => break,
                    default => peer.gate.make_room(1),
                }
                over += 1;
            }
        });
        assert!(over >= 3);
        assert_eq!(peer.gate.take_items(), [1, 2]);
    }
}

type Action = Box<dyn FnOnce() + Send>;

/// A sink whose next poll first runs an action.
struct Hooked {
    sink: Gate<u32>,
    hook: Arc<Mutex<Option<Action>>>,
}

impl Hooked {
    fn gate(&mut self) -> Pin<&mut Gate<u32>> {
        let action = self.hook.lock().unwrap().take();
        if let Some(action) = action {
            action();
        }
        Pin::new(&mut self.sink)
    }
}

impl Sink<u32> for Hooked {
    type Error = Broken;

    fn poll_ready(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Result<(), Broken>> {
        self.gate().poll_ready(cx)
    }

    fn start_send(mut self: Pin<&mut Self>, item: u32) -> Result<(), Broken> {
        Pin::new(&mut self.sink).start_send(item)
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Result<(), Broken>> {
        self.gate().poll_flush(cx)
    }

    fn poll_close(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Result<(), Broken>> {
        self.gate().poll_close(cx)
    }
}

/// A send waits for a sink that is being polled at that moment, and is woken when that poll returns.
mod a_sink_that_another_thread_polls {
    use super::*;

    /// Runs `meanwhile` while another thread sends 1 and is in the middle of polling the sink, and `after` when that
    /// thread has returned. Before `after`, a send of 2 in each way was polled in vain.
    fn in_each_way(
        room: usize,
        after: impl Fn(&Gatekeeper<u32>, &mut LocalBoxFuture<'_, Result<(), SendError<Broken>>>, &Wakes, &Waker)
        + Clone
        + Send
        + 'static,
    ) {
        finishes(move || {
            for by in WAYS {
                println!("by {by:?}");
                let multiplexer = multiplexer();
                let (gate, sink) = gate(room);
                let hook = Arc::new(Mutex::new(None));
                let (id, _) = add(&multiplexer, Hooked { sink, hook: Arc::clone(&hook) });
                let (_other, sink) = support::gate(usize::MAX);
                let (other, _) = add(&multiplexer, Hooked { sink, hook: Arc::default() });

                let (entered, enters) = mpsc::channel();
                let (goes_on, go_on) = mpsc::channel::<()>();
                *hook.lock().unwrap() = Some(Box::new(move || {
                    entered.send(()).unwrap();
                    go_on.recv().unwrap();
                }));
                let (wakes, waker) = Wakes::new();
                let mut sending = send(by, &multiplexer, [id, other], 2);
                thread::scope(|scope| {
                    let first = scope.spawn(|| multiplexer.send_one(id, 1).now_or_never());
                    enters.recv().unwrap();
                    assert_eq!(poll_future(&mut sending, &waker), Poll::Pending);
                    assert_eq!(wakes.take(), 0, "it sleeps");
                    goes_on.send(()).unwrap();
                    assert_eq!(first.join().unwrap(), Some(Ok(())));
                });
                after(&gate, &mut sending, &wakes, &waker);
            }
        });
    }

    #[test]
    fn is_waited_for_and_wakes_the_sender_when_it_is_back() {
        in_each_way(2, |gate, sending, wakes, waker| {
            assert_ne!(wakes.take(), 0);
            assert_eq!(poll_future(sending, waker), Poll::Ready(Ok(())));
            assert_eq!(gate.take_items(), [1, 2]);
        });
    }

    #[test]
    fn is_waited_for_again_when_it_is_back_and_not_ready() {
        in_each_way(1, |gate, sending, wakes, waker| {
            assert_ne!(wakes.take(), 0);
            assert_eq!(poll_future(sending, waker), Poll::Pending);
            assert_eq!(wakes.take(), 0, "it sleeps");
            gate.make_room(1);
            assert_ne!(wakes.take(), 0);
            assert_eq!(poll_future(sending, waker), Poll::Ready(Ok(())));
            assert_eq!(gate.take_items(), [1, 2]);
        });
    }

    /// A sender that finds the sink busy has one waker there, however often it is polled, and none after it was dropped.
    #[test]
    fn keeps_one_waker_for_each_sender_that_found_it_busy() {
        for (by, is_dropped) in WAYS.into_iter().flat_map(|by| [(by, false), (by, true)]) {
            println!("by {by:?}");
            let multiplexer = multiplexer();
            let [(_gate, sink), (_other_gate, other)] = [2, usize::MAX].map(gate);
            let hook = Arc::new(Mutex::new(None));
            let (id, _) = add(&multiplexer, Hooked { sink, hook: Arc::clone(&hook) });
            let (other, _) = add(&multiplexer, Hooked { sink: other, hook: Arc::default() });
            let [(entered, enters), (goes_on, go_on)] = [(); 2].map(|()| mpsc::channel());
            *hook.lock().unwrap() = Some(Box::new(move || {
                entered.send(()).unwrap();
                // Fails if the test has failed.
                let _ = go_on.recv();
            }));
            let (wakes, waker) = Wakes::new();
            let mut sending = send(by, &multiplexer, [id, other], 2);
            thread::scope(|scope| {
                let goes_on = goes_on;
                let first = scope.spawn(|| multiplexer.send_one(id, 1).now_or_never());
                enters.recv().unwrap();
                for _ in 0..1_000 {
                    assert_eq!(poll_future(&mut sending, &waker), Poll::Pending);
                    assert_eq!(Arc::strong_count(&wakes), 3, "ours and the one with the sink");
                }
                if is_dropped {
                    drop(sending);
                    assert_eq!(Arc::strong_count(&wakes), 2);
                }
                goes_on.send(()).unwrap();
                assert_eq!(first.join().unwrap(), Some(Ok(())));
            });
            assert_eq!(wakes.take(), usize::from(!is_dropped));
            assert_eq!(Arc::strong_count(&wakes), 2);
        }
    }

    /// Senders that know that the sink is not ready keep sleeping, and so does the sender that polled it. Only a sender
    /// that found the sink busy is woken. (Otherwise senders in several threads would keep waking each other.)
    #[test]
    fn does_not_wake_senders_that_did_not_find_it_busy() {
        let multiplexer = multiplexer();
        let (_gate, sink) = gate(0);
        let hook = Arc::new(Mutex::new(None::<Action>));
        let (id, _) = add(&multiplexer, Hooked { sink, hook: Arc::clone(&hook) });
        let multiplexer: &'static Pairs<Hooked> = Box::leak(Box::new(multiplexer));
        let mut waiting: Vec<_> = (0..3).map(|item| (multiplexer.send_one(id, item), Wakes::new())).collect();
        for (sending, (_, waker)) in &mut waiting {
            assert!(poll_future(sending, waker).is_pending());
        }
        let (mut polls, (polls_wakes, polls_waker)) = (multiplexer.send_one(id, 3), Wakes::new());
        let misses = Arc::new(Mutex::new(multiplexer.send_one(id, 4)));
        let (misses_wakes, misses_waker) = Wakes::new();
        for _ in 0..3 {
            let (misses, waker) = (Arc::clone(&misses), misses_waker.clone());
            *hook.lock().unwrap() = Some(Box::new(move || {
                assert!(poll_future(&mut *misses.lock().unwrap(), &waker).is_pending());
            }));
            assert!(poll_future(&mut polls, &polls_waker).is_pending());
            assert_eq!(misses_wakes.take(), 1);
            assert_eq!(polls_wakes.take(), 0);
            assert!(waiting.iter().all(|(_, (wakes, _))| wakes.take() == 0));
        }
        assert!(poll_future(&mut *misses.lock().unwrap(), &misses_waker).is_pending());
        assert_eq!(misses_wakes.take(), 0, "it sleeps");
    }

    /// Senders that found the sink busy are woken immediately when it is removed.
    #[test]
    fn wakes_senders_that_found_it_busy_when_it_is_removed() {
        let multiplexer: &'static Pairs<Hooked> = Box::leak(Box::new(multiplexer()));
        let (_gate, sink) = gate(0);
        let hook = Arc::new(Mutex::new(None::<Action>));
        let (id, _) = add(multiplexer, Hooked { sink, hook: Arc::clone(&hook) });
        let misses = Arc::new(Mutex::new(multiplexer.send_one(id, 1)));
        let (wakes, waker) = Wakes::new();
        let in_poll = (Arc::clone(&misses), waker.clone());
        *hook.lock().unwrap() = Some(Box::new(move || {
            let (misses, waker) = &in_poll;
            assert!(poll_future(&mut *misses.lock().unwrap(), waker).is_pending());
            assert!(multiplexer.remove_stream(id).is_some());
        }));
        assert_eq!(multiplexer.send_one(id, 2).now_or_never(), None);
        assert_eq!(wakes.take(), 1);
        let unknown = Err(SendError::UnknownStream(id));
        assert_eq!(poll_future(&mut *misses.lock().unwrap(), &waker), Poll::Ready(unknown));
    }

    /// The stream has ended, so that only sends in flight know the sink.
    #[test]
    fn wakes_senders_that_found_it_busy_when_it_is_closed() {
        let multiplexer: &'static Pairs<Hooked> = Box::leak(Box::new(multiplexer()));
        let (gate, sink) = gate(0);
        gate.set_closes(false);
        let hook = Arc::new(Mutex::new(None::<Action>));
        let (id, feed) = add(multiplexer, Hooked { sink, hook: Arc::clone(&hook) });
        let (wakes, waker) = Wakes::new();
        let misses = Arc::new(Mutex::new(multiplexer.send_one(id, 1)));
        assert!(poll_future(&mut *misses.lock().unwrap(), &waker).is_pending());
        let mut closing = multiplexer.close_stream::<u32>(id);
        assert!(poll_future(&mut closing, Waker::noop()).is_pending());
        feed.end();
        assert!(multiplexer.try_recv(CHANNEL).is_ok());
        assert_eq!(multiplexer.channel_of(id), None);

        let in_poll = (Arc::clone(&misses), waker.clone());
        *hook.lock().unwrap() = Some(Box::new(move || {
            let (misses, waker) = &in_poll;
            assert!(poll_future(&mut *misses.lock().unwrap(), waker).is_pending());
        }));
        gate.set_closes(true);
        wakes.take();
        assert_eq!(poll_future(&mut closing, Waker::noop()), Poll::Ready(Ok(())));
        assert_eq!(wakes.take(), 1);
        let closed = Err(SendError::Closed(id));
        assert_eq!(poll_future(&mut *misses.lock().unwrap(), &waker), Poll::Ready(closed));
    }

    /// A wake of the sink during its poll, before the sender is registered, is not lost.
    #[test]
    fn is_not_missed_when_it_wakes_before_its_poll_returns() {
        for by in WAYS {
            println!("by {by:?}");
            let multiplexer = multiplexer();
            let (keeper, sink) = gate(0);
            let (id, _) = add(&multiplexer, WakesLate { sink, gate: keeper.clone() });
            let (other_keeper, sink) = gate(usize::MAX);
            let (other, _) = add(&multiplexer, WakesLate { sink, gate: other_keeper });
            let (wakes, waker) = Wakes::new();
            let mut sending = send(by, &multiplexer, [id, other], 2);
            let polled = poll_future(&mut sending, &waker);
            if polled.is_pending() {
                assert_ne!(wakes.take(), 0, "there is room");
                assert_eq!(poll_future(&mut sending, &waker), Poll::Ready(Ok(())));
            }
            assert_eq!(keeper.take_items(), [2]);
        }
    }

    /// A sink that has room just after it returned `Pending`.
    struct WakesLate {
        sink: Gate<u32>,
        gate: Gatekeeper<u32>,
    }

    impl Sink<u32> for WakesLate {
        type Error = Broken;

        fn poll_ready(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Result<(), Broken>> {
            let polled = Pin::new(&mut self.sink).poll_ready(cx);
            if polled.is_pending() {
                self.gate.make_room(1);
            }
            polled
        }

        fn start_send(mut self: Pin<&mut Self>, item: u32) -> Result<(), Broken> {
            Pin::new(&mut self.sink).start_send(item)
        }

        fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Result<(), Broken>> {
            Pin::new(&mut self.sink).poll_flush(cx)
        }

        fn poll_close(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Result<(), Broken>> {
            Pin::new(&mut self.sink).poll_close(cx)
        }
    }
}

/// A sink that wakes itself in its own poll, as all sinks do when tokio's cooperative budget is used up.
mod a_restless_sink {
    use super::*;
    use std::sync::atomic::{AtomicUsize, Ordering};

    /// Not ready while the budget is used up. Wakes itself in each poll.
    #[derive(Clone)]
    struct Restless {
        polls: Arc<AtomicUsize>,
        polls_in_vain: usize,
    }

    impl Restless {
        fn new(polls_in_vain: usize) -> Self {
            Self { polls: Arc::default(), polls_in_vain }
        }

        fn take_polls(&self) -> usize {
            self.polls.swap(0, Ordering::Relaxed)
        }
    }

    impl Sink<u32> for Restless {
        type Error = Broken;

        fn poll_ready(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Result<(), Broken>> {
            self.polls.fetch_add(1, Ordering::Relaxed);
            if self.polls_in_vain == 0 {
                return Poll::Ready(Ok(()));
            }
            self.polls_in_vain -= 1;
            cx.waker().wake_by_ref();
            Poll::Pending
        }

        fn start_send(self: Pin<&mut Self>, _: u32) -> Result<(), Broken> {
            Ok(())
        }

        fn poll_flush(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<Result<(), Broken>> {
            Poll::Ready(Ok(()))
        }

        fn poll_close(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<Result<(), Broken>> {
            Poll::Ready(Ok(()))
        }
    }

    #[test]
    fn lets_others_run_between_its_polls() {
        for by in WAYS {
            println!("by {by:?}");
            let multiplexer = multiplexer();
            let restless = Restless::new(usize::MAX);
            let (id, _) = add(&multiplexer, restless.clone());
            let (other, _) = add(&multiplexer, Restless::new(0));
            let (wakes, waker) = Wakes::new();
            let mut sending = send(by, &multiplexer, [id, other], 2);
            for _ in 0..100 {
                assert_eq!(poll_future(&mut sending, &waker), Poll::Pending);
                assert_ne!(wakes.take(), 0, "it wants to be polled again");
                // In its first turn, and as many times in a row as in a slab.
                assert!(matches!(restless.take_polls(), 1..=3));
            }
        }
    }

    /// Not all of fifty sinks are polled again at each wake.
    #[test]
    fn among_many_lets_others_run_between_their_polls() {
        const COUNT: usize = 50;
        let multiplexer = multiplexer();
        let restless = Restless::new(usize::MAX);
        let ids: Vec<_> = (0..COUNT).map(|_| add(&multiplexer, restless.clone()).0).collect();
        let (wakes, waker) = Wakes::new();
        let mut sending = multiplexer.send(ids, 5).map(Sent::into_vec);
        assert_eq!(poll_future(&mut sending, &waker), Poll::Pending);
        assert!(matches!(restless.take_polls(), COUNT..=52));
        for _ in 0..COUNT {
            assert_ne!(wakes.take(), 0, "it wants to be polled again");
            assert_eq!(poll_future(&mut sending, &waker), Poll::Pending);
            assert!(matches!(restless.take_polls(), 1..=2));
        }
    }

    #[test]
    fn gets_the_item_in_the_end() {
        finishes(|| {
            for by in WAYS {
                let multiplexer = multiplexer();
                let (id, _) = add(&multiplexer, Restless::new(50));
                let (other, _) = add(&multiplexer, Restless::new(70));
                assert_eq!(block_on(send(by, &multiplexer, [id, other], 2)), Ok(()));
            }
        });
    }
}

/// A broadcast polls the ready sinks, and not all sinks at each wake.
mod a_broadcast {
    use super::*;

    const COUNT: usize = 1_000;

    /// Polls until it sleeps.
    fn settle(mut sending: impl Future + Unpin, wakes: &Wakes, waker: &Waker) {
        for _ in 0..COUNT {
            assert!(poll_future(&mut sending, waker).is_pending());
            if wakes.take() == 0 {
                return;
            }
        }
        panic!("it does not sleep, though no sink is ready");
    }

    fn polls(peers: &[Peer]) -> usize {
        peers.iter().map(|peer| peer.gate.take_polls()).sum()
    }

    /// Each peer once, in an order that is neither ascending nor descending.
    fn all_over(peers: &[Peer]) -> impl Iterator<Item = &Peer> {
        (0..peers.len()).map(|at| &peers[at * 389 % peers.len()])
    }

    /// For readiness, and for flushing.
    #[test]
    fn polls_ready_sinks_twice() {
        let (multiplexer, peers) = peers([1; COUNT]);
        let sent = run(multiplexer.send(ids(&peers), 5));
        assert!(sent.is_ok());
        assert_eq!((sent.len(), polls(&peers)), (COUNT, 2 * COUNT));
    }

    /// The number of sinks that receive the item in one poll.
    const AT_ONCE: usize = 64;

    #[test]
    fn lets_others_run_before_all_ready_sinks_have_had_their_turn() {
        let (multiplexer, peers) = peers([1; COUNT]);
        let (wakes, waker) = Wakes::new();
        let mut sending = multiplexer.send(ids(&peers), 5);
        for some in peers.chunks(AT_ONCE) {
            let polled = poll_future(&mut sending, &waker);
            assert!(some.iter().all(|peer| peer.gate.take_items() == [5]));
            assert_eq!(polls(&peers), 2 * some.len());
            assert_eq!(
                (polled.is_pending(), wakes.take()),
                if some.len() < AT_ONCE { (false, 0) } else { (true, 1) }
            );
        }
    }

    /// Dropped in the middle, it has sent to the sinks whose turn has come.
    #[test]
    fn sends_to_some_when_it_is_dropped_between_its_first_polls() {
        let (multiplexer, peers) = peers([1; COUNT]);
        let mut sending = multiplexer.send(ids(&peers), 5);
        (0..2).for_each(|_| assert!(poll_future(&mut sending, Waker::noop()).is_pending()));
        drop(sending);
        let has_it = |peer: &Peer| peer.gate.take_items() == [5];
        assert!(peers[..2 * AT_ONCE].iter().all(has_it));
        assert!(!peers[2 * AT_ONCE..].iter().any(has_it));
    }

    #[test]
    fn yields_before_all_sinks_that_became_ready_have_had_their_turn() {
        let (multiplexer, peers) = peers([0; COUNT]);
        let (wakes, waker) = Wakes::new();
        let mut sending = multiplexer.send(ids(&peers), 5);
        settle(&mut sending, &wakes, &waker);
        polls(&peers);
        peers.iter().for_each(|peer| peer.gate.make_room(1));
        assert_eq!(wakes.take(), 1);
        let mut left = COUNT;
        while poll_future(&mut sending, &waker).is_pending() {
            assert_eq!((polls(&peers), wakes.take()), (2 * AT_ONCE, 1));
            left -= AT_ONCE;
        }
        assert!(left < AT_ONCE);
        assert_eq!(polls(&peers), 2 * left);
    }

    #[test]
    fn polls_one_of_a_thousand_sinks_when_one_is_ready() {
        let (multiplexer, peers) = peers([0; COUNT]);
        let (wakes, waker) = Wakes::new();
        let mut sending = multiplexer.send(ids(&peers), 5).map(Sent::into_vec);
        settle(&mut sending, &wakes, &waker);
        polls(&peers);

        let mut polled = Poll::Pending;
        for peer in all_over(&peers) {
            assert_eq!(polled, Poll::Pending);
            peer.gate.make_room(1);
            assert_eq!(wakes.take(), 1);
            polled = poll_future(&mut sending, &waker);
            assert_eq!(peer.gate.take_items(), [5]);
            assert_eq!(polls(std::slice::from_ref(peer)), 2);
            assert_eq!(polls(&peers), 0, "nobody else is asked");
        }
        assert_eq!(polled, Poll::Ready(peers.iter().map(Peer::sent).collect()));
    }

    #[test]
    fn polls_one_of_a_thousand_sinks_when_one_has_flushed() {
        let (multiplexer, peers) = peers([1; COUNT]);
        peers.iter().for_each(|peer| peer.gate.set_flushes(false));
        let (wakes, waker) = Wakes::new();
        let mut sending = multiplexer.send(ids(&peers), 5).map(Sent::into_vec);
        settle(&mut sending, &wakes, &waker);
        polls(&peers);

        let mut polled = Poll::Pending;
        for peer in all_over(&peers) {
            assert_eq!(polled, Poll::Pending);
            peer.gate.set_flushes(true);
            assert_eq!(wakes.take(), 1);
            polled = poll_future(&mut sending, &waker);
            assert_eq!(polls(std::slice::from_ref(peer)), 1);
            assert_eq!(polls(&peers), 0, "nobody else is asked");
        }
        assert_eq!(polled, Poll::Ready(peers.iter().map(Peer::sent).collect()));
    }

    #[test]
    fn polls_some_that_are_ready_together_in_one_go() {
        let (multiplexer, peers) = peers([0; COUNT]);
        let (wakes, waker) = Wakes::new();
        let mut sending = multiplexer.send(ids(&peers), 5).map(Sent::into_vec);
        settle(&mut sending, &wakes, &waker);
        polls(&peers);
        for peer in all_over(&peers).take(AT_ONCE - 1) {
            peer.gate.make_room(1);
        }
        assert_ne!(wakes.take(), 0);
        assert_eq!(poll_future(&mut sending, &waker), Poll::Pending);
        assert_eq!(polls(&peers), 2 * (AT_ONCE - 1));
        assert_eq!(wakes.take(), 0, "it sleeps");
    }

    #[test]
    fn is_done_when_the_last_are_ready_together() {
        let (multiplexer, peers) = peers([0; AT_ONCE]);
        let (wakes, waker) = Wakes::new();
        let mut sending = multiplexer.send(ids(&peers), 5);
        settle(&mut sending, &wakes, &waker);
        peers.iter().for_each(|peer| peer.gate.make_room(1));
        assert!(poll_future(&mut sending, &waker).is_ready());
    }

    #[test]
    fn does_not_poll_sinks_without_a_wake() {
        let (multiplexer, peers) = peers([0; COUNT]);
        let (wakes, waker) = Wakes::new();
        let mut sending = multiplexer.send(ids(&peers), 5).map(Sent::into_vec);
        settle(&mut sending, &wakes, &waker);
        polls(&peers);
        assert_eq!(poll_future(&mut sending, &waker), Poll::Pending);
        assert_eq!(polls(&peers), 0);
    }
}

/// What a dropped send may have sent.
mod cancelled {
    use super::*;

    #[test]
    fn before_its_first_poll_it_has_sent_nothing() {
        in_each_way(1, |_, peer, sending| {
            drop(sending.send(5));
            assert_eq!(peer.gate.take_polls(), 0);
            assert!(peer.gate.take_items().is_empty());
        });
    }

    /// The lookup also waits for the first poll: a stream that has left by then is unknown.
    #[test]
    fn before_its_first_poll_it_has_not_asked_for_the_stream() {
        let (multiplexer, [peer, other]) = peers([1, 1]);
        let one = multiplexer.send_one(peer.id, 5);
        let many = multiplexer.send([peer.id, other.id], 5).map(Sent::into_vec);
        multiplexer.remove_stream(peer.id).unwrap();
        assert_eq!(one.now_or_never(), Some(peer.unknown().map(drop)));
        assert_eq!(many.now_or_never(), Some(vec![peer.unknown(), other.sent()]));
    }

    #[test]
    fn while_the_sink_is_not_ready_it_has_sent_nothing_and_sends_nothing() {
        in_each_way(0, |_, peer, sending| {
            let mut sending = sending.send(5);
            assert_eq!(poll_future(&mut sending, Waker::noop()), Poll::Pending);
            drop(sending);
            peer.gate.make_room(1);
            assert!(peer.gate.take_items().is_empty());
        });
    }

    #[test]
    fn when_it_was_woken_and_not_polled_it_has_sent_nothing() {
        in_each_way(0, |_, peer, sending| {
            let mut sending = sending.send(5);
            assert_eq!(poll_future(&mut sending, Waker::noop()), Poll::Pending);
            peer.gate.make_room(1);
            drop(sending);
            assert!(peer.gate.take_items().is_empty());
        });
    }

    #[test]
    fn when_the_sink_was_ready_that_has_the_item_and_was_maybe_not_flushed() {
        in_each_way(1, |_, peer, sending| {
            peer.gate.set_flushes(false);
            let mut sending = sending.send(5);
            assert_eq!(poll_future(&mut sending, Waker::noop()), Poll::Pending);
            drop(sending);
            assert_eq!(peer.gate.flushed(), 0);
            assert_eq!(peer.gate.take_items(), [5]);
        });
    }

    #[test]
    fn when_the_sink_became_ready_in_a_later_poll_that_has_the_item() {
        in_each_way(0, |_, peer, sending| {
            peer.gate.set_flushes(false);
            let mut sending = sending.send(5);
            assert_eq!(poll_future(&mut sending, Waker::noop()), Poll::Pending);
            peer.gate.make_room(1);
            assert_eq!(poll_future(&mut sending, Waker::noop()), Poll::Pending);
            drop(sending);
            assert_eq!(peer.gate.take_items(), [5]);
        });
    }

    #[test]
    fn those_of_many_that_were_ready_have_the_item_and_the_others_do_not_get_it() {
        let (multiplexer, peers) = peers([0, 1, 0, 1, 0]);
        peers[3].gate.set_flushes(false);
        let mut sending = multiplexer.send(ids(&peers), 5).map(Sent::into_vec);
        assert_eq!(poll_future(&mut sending, Waker::noop()), Poll::Pending);
        peers[2].gate.make_room(1);
        assert_eq!(poll_future(&mut sending, Waker::noop()), Poll::Pending);
        drop(sending);
        peers.iter().for_each(|peer| peer.gate.make_room(1));
        assert_eq!(peers.each_ref().map(|peer| peer.gate.flushed()), [0, 1, 1, 0, 0]);
        assert_eq!(peers.map(|peer| peer.gate.take_items().len()), [0, 1, 1, 1, 0]);
    }

    #[test]
    fn it_drops_the_item() {
        let multiplexer: Pairs<Gate<Arc<str>>> = multiplexer();
        let (_gate, sink) = gate(0);
        let (id, _) = add(&multiplexer, sink);
        let item: Arc<str> = Arc::from("mine");
        for ids in [vec![], vec![id], vec![id, id, id]] {
            let mut sending = multiplexer.send(ids, Arc::clone(&item)).map(Sent::into_vec);
            let _ = poll_future(&mut sending, Waker::noop());
            drop(sending);
            assert_eq!(Arc::strong_count(&item), 1);
        }
    }
}

/// A send whose pair leaves before the send is complete.
mod when_the_pair_goes {
    use super::*;

    /// How the pair leaves.
    #[derive(Clone, Copy, Debug)]
    enum Going {
        Removed,
        WithItsChannel,
    }

    impl Going {
        fn go(self, multiplexer: &Pairs, peer: &Peer) {
            match self {
                Self::Removed => drop(multiplexer.remove_stream(peer.id).unwrap()),
                Self::WithItsChannel => drop(multiplexer.remove_channel(CHANNEL).unwrap()),
            }
        }
    }

    #[test]
    fn it_is_woken_and_fails_if_its_item_was_not_handed_over() {
        for going in [Going::Removed, Going::WithItsChannel] {
            in_each_way(0, |multiplexer, peer, sending| {
                let (wakes, waker) = Wakes::new();
                let mut sending = sending.send(5);
                assert_eq!(poll_future(&mut sending, &waker), Poll::Pending);
                wakes.take();
                going.go(multiplexer, peer);
                assert_ne!(wakes.take(), 0, "{going:?}");
                let unknown = Err(SendError::UnknownStream(peer.id));
                assert_eq!(poll_future(&mut sending, &waker), Poll::Ready(unknown));
                assert!(peer.gate.is_dropped());
            });
        }
    }

    #[test]
    fn it_is_woken_and_fails_if_its_item_was_not_flushed() {
        for going in [Going::Removed, Going::WithItsChannel] {
            in_each_way(1, |multiplexer, peer, sending| {
                peer.gate.set_flushes(false);
                let (wakes, waker) = Wakes::new();
                let mut sending = sending.send(5);
                assert_eq!(poll_future(&mut sending, &waker), Poll::Pending);
                wakes.take();
                going.go(multiplexer, peer);
                assert_ne!(wakes.take(), 0, "{going:?}");
                let unflushed = Err(SendError::Unflushed(peer.id));
                assert_eq!(poll_future(&mut sending, &waker), Poll::Ready(unflushed));
                assert!(peer.gate.is_dropped(), "a send does not keep a sink that was removed");
            });
        }
    }

    /// A sender's `send` is in flight after its item was handed over; other sends are from their first poll on.
    #[test]
    fn it_goes_on_if_the_stream_ended() {
        in_each_way(0, |multiplexer, peer, sending| {
            if sending.by == By::Sender {
                return;
            }
            let (wakes, waker) = Wakes::new();
            let mut sending = sending.send(5);
            assert_eq!(poll_future(&mut sending, &waker), Poll::Pending);
            end(multiplexer, peer);
            assert_eq!(poll_future(&mut sending, &waker), Poll::Pending);
            wakes.take();
            peer.gate.make_room(1);
            assert_ne!(wakes.take(), 0);
            assert_eq!(poll_future(&mut sending, &waker), Poll::Ready(Ok(())));
            assert_eq!(peer.gate.flushed(), 1);
            assert_eq!(peer.gate.take_items(), [5]);
        });
    }

    #[test]
    fn its_sink_is_flushed_before_it_is_dropped_if_the_stream_ended() {
        in_each_way(1, |multiplexer, peer, sending| {
            peer.gate.set_flushes(false);
            let mut sending = sending.send(5);
            assert_eq!(poll_future(&mut sending, Waker::noop()), Poll::Pending);
            end(multiplexer, peer);
            assert_eq!(poll_future(&mut sending, Waker::noop()), Poll::Pending);
            assert!(!peer.gate.is_dropped());
            peer.gate.set_flushes(true);
            assert_eq!(poll_future(&mut sending, Waker::noop()), Poll::Ready(Ok(())));
            assert_eq!(peer.gate.flushed(), 1);
            assert!(peer.gate.is_dropped());
        });
    }

    #[test]
    fn its_sink_is_dropped_with_the_last_send_in_flight_if_the_stream_ended() {
        in_each_way(1, |multiplexer, peer, sending| {
            peer.gate.set_flushes(false);
            let mut first = multiplexer.send_one(peer.id, 4);
            assert_eq!(poll_future(&mut first, Waker::noop()), Poll::Pending);
            peer.gate.make_room(1);
            let mut last = sending.send(5);
            assert_eq!(poll_future(&mut last, Waker::noop()), Poll::Pending);
            end(multiplexer, peer);
            drop(first);
            assert!(!peer.gate.is_dropped());
            drop(last);
            assert!(peer.gate.is_dropped());
            assert_eq!(peer.gate.take_items(), [4, 5]);
        });
    }

    #[test]
    fn its_sink_is_there_though_the_stream_ended_where_channels_half_close() {
        let multiplexer: Pairs = Multiplexer::new();
        multiplexer.add_channel_with(CHANNEL, ChannelOptions::new().half_close(true)).unwrap();
        let [peer, other] = [4, 4].map(|room| Peer::new(&multiplexer, room));
        peer.feed.end();
        assert_eq!(multiplexer.try_recv(CHANNEL), Ok((peer.id, None)));
        for (item, by) in (1..).zip(WAYS) {
            let sent = send(by, &multiplexer, [peer.id, other.id], item).now_or_never();
            assert_eq!(sent, Some(Ok(())), "by {by:?}");
        }
        assert_eq!(peer.gate.take_items(), [1, 2, 3, 4]);
    }

    #[test]
    fn the_others_of_many_get_the_item_all_the_same() {
        let (multiplexer, peers) = peers([0, 0, 0, 0]);
        let (wakes, waker) = Wakes::new();
        let mut sending = multiplexer.send(ids(&peers), 5).map(Sent::into_vec);
        assert_eq!(poll_future(&mut sending, &waker), Poll::Pending);
        wakes.take();
        multiplexer.remove_stream(peers[1].id).unwrap();
        assert_ne!(wakes.take(), 0);
        assert_eq!(poll_future(&mut sending, &waker), Poll::Pending);
        end(&multiplexer, &peers[2]);
        for at in [0, 2, 3] {
            peers[at].gate.make_room(1);
        }
        let expected = vec![peers[0].sent(), peers[1].unknown(), peers[2].sent(), peers[3].sent()];
        assert_eq!(poll_future(&mut sending, &waker), Poll::Ready(expected));
        assert_eq!(peers.map(|peer| peer.gate.take_items().len()), [1, 0, 1, 1]);
    }

    #[test]
    fn moving_it_changes_nothing() {
        in_each_way(0, |multiplexer, peer, sending| {
            multiplexer.add_channel(2).unwrap();
            let mut sending = sending.send(5);
            assert_eq!(poll_future(&mut sending, Waker::noop()), Poll::Pending);
            multiplexer.change_stream_channel(peer.id, 2).unwrap();
            peer.gate.make_room(1);
            assert_eq!(poll_future(&mut sending, Waker::noop()), Poll::Ready(Ok(())));
            assert_eq!(peer.gate.take_items(), [5]);
        });
    }

    #[test]
    fn closing_the_multiplexer_changes_nothing() {
        in_each_way(1, |multiplexer, peer, sending| {
            multiplexer.close();
            assert_eq!(sending.send(5).now_or_never(), Some(Ok(())));
            assert_eq!(peer.gate.take_items(), [5]);
        });
    }
}

/// Random sequences of events of sinks and pairs while sends are in progress: each sink receives each item at most
/// once, each result is correct, and every send that is polled only when it is woken completes.
mod whatever_happens {
    use super::*;

    const PEERS: usize = 4;

    #[derive(Clone, Debug)]
    enum Step {
        Send(Vec<usize>),
        SendOne(usize),
        SendByASender(usize),
        CloseStream(usize),
        Shutdown,
        /// Of as many tasks as there are then.
        Poll(usize),
        Drop(usize),
        MakeRoom(usize, usize),
        SetFlushes(usize, bool),
        SetCloses(usize, bool),
        Fail(usize),
        End(usize),
        Remove(usize),
    }

    impl Arbitrary for Step {
        fn arbitrary(g: &mut Gen) -> Self {
            if below(g, 81) == 0 {
                return Self::Shutdown;
            }
            let peer = below(g, PEERS);
            match below(g, 37) {
                0..4 => Self::Send((0..below(g, 6)).map(|_| below(g, PEERS)).collect()),
                4..7 => Self::SendOne(peer),
                7..10 => Self::SendByASender(peer),
                10 => Self::CloseStream(peer),
                11..23 => Self::Poll(below(g, 1_000)),
                23..25 => Self::Drop(below(g, 1_000)),
                25..29 => Self::MakeRoom(peer, 1 + below(g, 2)),
                29..32 => Self::SetFlushes(peer, bool::arbitrary(g)),
                32..34 => Self::SetCloses(peer, bool::arbitrary(g)),
                34 => Self::Fail(peer),
                35 => Self::End(peer),
                _ => Self::Remove(peer),
            }
        }
    }

    /// A send or a closing in progress, polled as a separate task.
    struct Task<'a> {
        item: u32,
        to: Vec<usize>,
        future: Option<LocalBoxFuture<'a, Results>>,
        wakes: Arc<Wakes>,
        waker: Waker,
        results: Option<Results>,
    }

    type Results = Vec<Result<(), SendError<Broken>>>;

    impl Task<'_> {
        fn poll(&mut self) {
            self.wakes.take();
            let Some(future) = &mut self.future else { return };
            if let Poll::Ready(results) = poll_future(future, &self.waker) {
                assert_eq!(results.len(), self.to.len());
                self.results = Some(results);
                self.future = None;
            }
        }

        /// The minimum and the maximum number of times that a sink may have received the item.
        fn owes(&self, peer: usize) -> (usize, usize) {
            let at = |(at, to): (usize, &usize)| (*to == peer).then_some(at);
            let mut owed = (0, 0);
            for at in self.to.iter().enumerate().filter_map(at) {
                let (least, most) = match self.results.as_ref().map(|results| results[at]) {
                    Some(Ok(()) | Err(SendError::Unflushed(_))) => (1, 1),
                    Some(Err(SendError::Sink { .. })) | None => (0, 1),
                    Some(Err(_)) => (0, 0),
                };
                owed = (owed.0 + least, owed.1 + most);
            }
            owed
        }

        /// The number of results that report that the sink has received and flushed the item.
        fn told_as_sent(&self, peer: usize) -> usize {
            let results = self.results.iter().flatten();
            self.to.iter().zip(results).filter(|(to, result)| **to == peer && result.is_ok()).count()
        }
    }

    struct Scene<'a> {
        multiplexer: &'a Pairs,
        peers: &'a [Peer; PEERS],
        tasks: Vec<Task<'a>>,
    }

    impl<'a> Scene<'a> {
        /// The item is the number of the task.
        fn start<F>(&mut self, to: Vec<usize>, future: impl FnOnce(&'a Pairs, Vec<StreamId>, u32) -> F)
        where
            F: Future<Output = Vec<Result<(), SendError<Broken>>>> + 'a,
        {
            let item = u32::try_from(self.tasks.len()).unwrap();
            let ids = to.iter().map(|at| self.peers[*at].id).collect();
            let future = Some(future(self.multiplexer, ids, item).boxed_local());
            let (wakes, waker) = Wakes::new();
            // A new task is polled once.
            waker.wake_by_ref();
            self.tasks.push(Task { item, to, future, wakes, waker, results: None });
        }

        fn run(&mut self, step: Step) {
            let peers = self.peers;
            match step {
                Step::Send(to) => self.start(to, |multiplexer, ids, item| {
                    let sending = multiplexer.send(ids, item).map(Sent::into_vec);
                    sending.map(|sent| sent.into_iter().map(|sent| sent.map(drop)).collect())
                }),
                Step::SendOne(to) => self.start(vec![to], |multiplexer, ids, item| {
                    multiplexer.send_one(ids[0], item).map(|sent| vec![sent])
                }),
                Step::SendByASender(to) => self.start(vec![to], |multiplexer, ids, item| {
                    send(By::Sender, multiplexer, [ids[0]; 2], item).map(|sent| vec![sent])
                }),
                Step::CloseStream(peer) => self.start(vec![], |multiplexer, _, _| {
                    multiplexer.close_stream(peers[peer].id).map(|_| vec![])
                }),
                Step::Shutdown => {
                    self.start(vec![], |multiplexer, _, _| multiplexer.shutdown::<u32>().map(|_| vec![]));
                }
                Step::Poll(_) | Step::Drop(_) if self.tasks.is_empty() => {}
                Step::Poll(task) => {
                    let at = task % self.tasks.len();
                    self.tasks[at].poll();
                }
                Step::Drop(task) => {
                    let at = task % self.tasks.len();
                    self.tasks[at].future = None;
                }
                Step::MakeRoom(peer, room) => peers[peer].gate.make_room(room),
                Step::SetFlushes(peer, flushes) => peers[peer].gate.set_flushes(flushes),
                Step::SetCloses(peer, closes) => peers[peer].gate.set_closes(closes),
                Step::Fail(peer) => peers[peer].gate.fail(),
                Step::End(peer) => {
                    peers[peer].feed.end();
                    while self.multiplexer.try_recv(CHANNEL).is_ok() {}
                }
                Step::Remove(peer) => drop(self.multiplexer.remove_stream(peers[peer].id)),
            }
        }

        /// Makes all sinks ready, and polls each task as often as it is woken.
        fn finish(&mut self) {
            for Peer { gate, .. } in self.peers {
                gate.make_room(1_000);
                gate.set_flushes(true);
                gate.set_closes(true);
            }
            let mut woken = true;
            while woken {
                woken = false;
                for task in self.tasks.iter_mut().filter(|task| task.wakes.take() > 0) {
                    task.poll();
                    woken = true;
                }
            }
            assert!(self.tasks.iter().all(|task| task.future.is_none()), "nobody waits for nothing");
        }

        fn check(&self) {
            for (at, peer) in self.peers.iter().enumerate() {
                let flushed = peer.gate.flushed();
                let items = peer.gate.take_items();
                for task in &self.tasks {
                    let got = items.iter().filter(|item| **item == task.item).count();
                    let (least, most) = task.owes(at);
                    let (item, results) = (task.item, &task.results);
                    assert!((least..=most).contains(&got), "{item} came {got} times: {results:?}");
                }
                for task in &self.tasks {
                    let told = task.told_as_sent(at);
                    let ours = items.iter().enumerate().filter(|(_, item)| **item == task.item);
                    let flushed = ours.filter(|(index, _)| *index < flushed || peer.gate.is_closed());
                    assert!(flushed.count() >= told, "{} was flushed", task.item);
                }
            }
        }
    }

    #[test]
    fn each_item_comes_at_most_once_and_each_result_is_true() {
        QuickCheck::new().rng(Gen::from_size_and_seed(80, 17)).quickcheck(any_steps as fn(Vec<Step>));
    }

    fn any_steps(steps: Vec<Step>) {
        let (multiplexer, peers) = peers([1, 0, 2, 0]);
        let mut scene = Scene { multiplexer: &multiplexer, peers: &peers, tasks: Vec::new() };
        steps.into_iter().for_each(|step| scene.run(step));
        scene.finish();
        scene.check();
    }
}

/// A sink wakes only if its last poll was in vain. Several senders poll one sink, so a poll that is not in vain may make it
/// forget the wake that others wait for.
mod sinks_that_forget_a_wake {
    use super::*;

    type Inbox = Pin<Box<dyn Sink<u32, Error = async_channel::SendError<u32>> + Send>>;

    /// Each item is sent by a future, which waits for room in the inbox and waits no more when it was dropped.
    fn inbox(sender: async_channel::Sender<u32>) -> Inbox {
        Box::pin(futures::sink::unfold(sender, |sender, item| async move {
            sender.send(item).await?;
            Ok(sender)
        }))
    }

    /// An inbox that is full, and the sinks of two pairs that send to it. Both wait for room, the first one longer.
    fn scene() -> (Pairs<Inbox>, async_channel::Receiver<u32>, [StreamId; 2]) {
        let multiplexer = multiplexer();
        let (sender, receiver) = async_channel::bounded(1);
        sender.try_send(0).unwrap();
        let ids = [(); 2].map(|()| add(&multiplexer, inbox(sender.clone())).0);
        (multiplexer, receiver, ids)
    }

    #[test]
    fn wake_a_send_that_waits() {
        let (multiplexer, receiver, [first, second]) = scene();
        assert_eq!(multiplexer.try_send(first, 1), Ok(()));
        let (wakes, waker) = Wakes::new();
        let mut send = multiplexer.send_one(second, 2);
        assert!(poll_future(&mut send, &waker).is_pending());
        // The inbox wakes the first one. The second one finds the room when it is asked whether it is ready.
        assert_eq!(receiver.try_recv(), Ok(0));
        assert_eq!(multiplexer.try_feed(second, 3), Ok(()));
        assert_eq!(wakes.take(), 1);
        assert!(poll_future(&mut send, &waker).is_pending());
        assert_eq!(receiver.try_recv(), Ok(2));
        assert_eq!(wakes.take(), 1);
        assert_eq!(poll_future(&mut send, &waker), Poll::Ready(Ok(())));
        assert_eq!(receiver.try_recv(), Ok(3));
    }

    #[test]
    fn wake_a_flusher() {
        let (multiplexer, receiver, [first, second]) = scene();
        let mut flusher = multiplexer.flusher::<u32>();
        let (wakes, waker) = Wakes::new();
        assert!(poll_with(&mut flusher, &waker).is_pending());
        assert_eq!(
            [(first, 1), (second, 2)].map(|(id, item)| multiplexer.try_send(id, item)),
            [Ok(()), Ok(())]
        );
        assert_eq!((receiver.try_recv(), wakes.take()), (Ok(0), 1));
        assert_eq!(multiplexer.try_feed(second, 3), Ok(()));
        let mut received = Vec::new();
        for _ in 0..3 {
            assert!(poll_with(&mut flusher, &waker).is_pending());
            received.extend(receiver.try_recv());
        }
        received.sort_unstable();
        assert_eq!(received, [1, 2, 3]);
    }

    /// The others are woken once, and not for each item.
    #[test]
    fn wake_a_send_once() {
        let (multiplexer, [peer]) = peers([1]);
        peer.gate.set_flushes(false);
        let (wakes, waker) = Wakes::new();
        let mut send = multiplexer.send_one(peer.id, 1);
        assert!(poll_future(&mut send, &waker).is_pending());
        peer.gate.make_room(9);
        assert_eq!(wakes.take(), 1, "the sink woke it");
        (0..3).for_each(|item| assert_eq!(multiplexer.try_feed(peer.id, item), Ok(())));
        assert_eq!(wakes.take(), 0, "it was woken before");
        assert!(poll_future(&mut send, &waker).is_pending());
        (0..3).for_each(|item| assert_eq!(multiplexer.try_feed(peer.id, item), Ok(())));
        assert_eq!(wakes.take(), 1, "another poll may have made the sink forget it");
        assert!(poll_future(&mut send, &waker).is_pending());
        (0..3).for_each(|item| assert_eq!(multiplexer.try_send(peer.id, item), Ok(())));
        assert_eq!(wakes.take(), 0, "the last poll of each was in vain, so the sink will wake it");
    }

    /// A sink that takes and flushes only so many items, and forgets its waker whenever a poll is not in vain. A change of
    /// these numbers, and the wake that it owes then, are two steps: other polls may come between.
    #[derive(Default)]
    struct Scarce {
        room: usize,
        flushes: usize,
        given: usize,
        flushed: usize,
        is_closed: bool,
        waker: Option<Waker>,
    }

    impl Scarce {
        fn poll(&mut self, cx: &Context<'_>, is_ready: bool) -> Poll<Result<(), Broken>> {
            self.waker = (!is_ready).then(|| cx.waker().clone());
            if is_ready { Poll::Ready(Ok(())) } else { Poll::Pending }
        }
    }

    #[derive(Clone, Default)]
    struct Shared(Arc<Mutex<Scarce>>);

    impl Shared {
        fn change<R>(&self, f: impl FnOnce(&mut Scarce) -> R) -> R {
            f(&mut self.0.lock().unwrap())
        }

        fn wake(&self) {
            let waker = self.change(|scarce| scarce.waker.take());
            waker.into_iter().for_each(Waker::wake);
        }
    }

    impl Sink<u32> for Shared {
        type Error = Broken;

        fn poll_ready(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Result<(), Broken>> {
            self.change(|scarce| scarce.poll(cx, scarce.room > 0))
        }

        fn start_send(self: Pin<&mut Self>, _: u32) -> Result<(), Broken> {
            self.change(|scarce| (scarce.room, scarce.given) = (scarce.room - 1, scarce.given + 1));
            Ok(())
        }

        fn poll_flush(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Result<(), Broken>> {
            self.change(|scarce| {
                scarce.flushed = scarce.given.min(scarce.flushes);
                scarce.poll(cx, scarce.flushed == scarce.given)
            })
        }

        fn poll_close(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Result<(), Broken>> {
            self.change(|scarce| {
                scarce.flushed = scarce.given.min(scarce.flushes);
                scarce.is_closed = scarce.flushed == scarce.given;
                scarce.poll(cx, scarce.is_closed)
            })
        }
    }

    #[derive(Clone, Copy, Debug)]
    enum Step {
        TrySend(usize),
        TryFeed(usize),
        SendOne(usize),
        SendToAll,
        /// By a `StreamSender`, which feeds it first.
        Sender(usize),
        CloseSink(usize),
        /// Polls a task, whether it was woken or not.
        Poll(usize),
        RunWoken,
        MakeRoom(usize),
        Flush(usize),
        Wake(usize),
    }

    const SINKS: usize = 2;

    impl Arbitrary for Step {
        fn arbitrary(g: &mut Gen) -> Self {
            let sink = below(g, SINKS);
            match below(g, 37) {
                0..4 => Self::TrySend(sink),
                4..8 => Self::TryFeed(sink),
                8..12 => Self::SendOne(sink),
                12 => Self::SendToAll,
                13..16 => Self::Sender(sink),
                16 => Self::CloseSink(sink),
                17..19 => Self::Poll(below(g, 9)),
                19..22 => Self::RunWoken,
                22..28 => Self::MakeRoom(sink),
                28..34 => Self::Flush(sink),
                _ => Self::Wake(sink),
            }
        }
    }

    struct Task {
        future: LocalBoxFuture<'static, ()>,
        wakes: Arc<Wakes>,
        waker: Waker,
        is_done: bool,
    }

    impl Task {
        fn new(future: impl Future<Output = ()> + 'static) -> Self {
            let (wakes, waker) = Wakes::new();
            let mut task = Self { future: future.boxed_local(), wakes, waker, is_done: false };
            task.poll();
            task
        }

        fn poll(&mut self) {
            self.is_done = self.is_done || poll_future(&mut self.future, &self.waker).is_ready();
        }

        /// Polls it if it was woken. Returns whether it was.
        fn run(&mut self) -> bool {
            let is_woken = !self.is_done && self.wakes.take() > 0;
            if is_woken {
                self.poll();
            }
            is_woken
        }
    }

    #[test]
    fn let_no_task_sleep() {
        QuickCheck::new().rng(Gen::new(60)).quickcheck(any_steps as fn(Vec<Step>, bool));
    }

    /// When there is room for all, every task ends, and the driver has flushed what was sent.
    fn any_steps(steps: Vec<Step>, by_select: bool) {
        let multiplexer: &'static Pairs<Shared> = Box::leak(Box::new(multiplexer()));
        let sinks: Vec<_> = (0..SINKS).map(|_| Shared::default()).collect();
        let pairs: Vec<_> = sinks.iter().map(|sink| add(multiplexer, sink.clone())).collect();
        let ids: Vec<_> = pairs.iter().map(|(id, _)| *id).collect();
        // The driver is the first task, and has no end.
        let mut tasks = vec![if by_select {
            let mut select = multiplexer.select();
            select.add(CHANNEL, Share::new()).unwrap();
            Task::new(select.for_each(|_| async {}))
        } else {
            Task::new(multiplexer.flusher::<u32>().for_each(|_| async {}))
        }];
        for step in steps {
            match step {
                Step::TrySend(sink) => _ = multiplexer.try_send(ids[sink], 0),
                Step::TryFeed(sink) => _ = multiplexer.try_feed(ids[sink], 0),
                Step::SendOne(sink) => tasks.push(Task::new(multiplexer.send_one(ids[sink], 0).map(drop))),
                Step::SendToAll => tasks.push(Task::new(multiplexer.send(&ids, 0).map(drop))),
                Step::Sender(sink) => {
                    let mut sender = multiplexer.sender(ids[sink]).unwrap();
                    tasks.push(Task::new(async move {
                        if sender.feed(0).await.is_ok() {
                            _ = sender.send(0).await;
                        }
                    }));
                }
                Step::CloseSink(sink) => {
                    tasks.push(Task::new(multiplexer.close_sink::<u32>(ids[sink]).map(drop)));
                }
                Step::Poll(task) => {
                    let tasks_now = tasks.len();
                    tasks[task % tasks_now].poll();
                }
                Step::RunWoken => tasks.iter_mut().for_each(|task| _ = task.run()),
                Step::MakeRoom(sink) => sinks[sink].change(|scarce| scarce.room += 1),
                Step::Flush(sink) => sinks[sink].change(|scarce| scarce.flushes += 2),
                Step::Wake(sink) => sinks[sink].wake(),
            }
        }
        sinks.iter().for_each(|sink| sink.change(|scarce| (scarce.room, scarce.flushes) = (1_000, 1_000)));
        loop {
            sinks.iter().for_each(Shared::wake);
            if tasks.iter_mut().map(Task::run).filter(|was_woken| *was_woken).count() == 0 {
                break;
            }
        }
        for (at, task) in tasks.iter().enumerate().skip(1) {
            assert!(task.is_done, "task {at} sleeps");
        }
        for sink in &sinks {
            assert!(sink.change(|scarce| scarce.flushed == scarce.given), "it is left unflushed");
        }
    }
}
