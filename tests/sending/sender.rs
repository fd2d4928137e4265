//! `StreamSender`: the sink of one stream as a `Sink`, alone, among other senders of the stream, and after its pair has
//! left.

use crate::support;
use futures::executor::LocalPool;
use futures::task::LocalSpawnExt;
use futures::{FutureExt, Sink, SinkExt, StreamExt, stream};
use pollster::block_on;
use std::pin::Pin;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Barrier};
use std::task::{Context, Poll, Waker};
use std::thread;
use stream_multiplexer::{Multiplexer, MultiplexerError, SendError, StreamId, StreamSender};
use support::{Broken, Feed, Gate, Gatekeeper, Pipe, Wakes, finishes, gate, pipe, poll_future};

const CHANNEL: usize = 1;

type Pairs = Multiplexer<Pipe<u32>, Gate<u32>>;
type Sender = StreamSender<Pipe<u32>, Gate<u32>, u32>;
type Polled = Poll<Result<(), SendError<Broken>>>;

const DONE: Polled = Poll::Ready(Ok(()));

/// The test's access to a pair.
struct Peer {
    id: StreamId,
    feed: Feed<u32>,
    gate: Gatekeeper<u32>,
}

impl Peer {
    fn unknown(&self) -> Polled {
        Poll::Ready(Err(SendError::UnknownStream(self.id)))
    }

    fn unflushed(&self) -> Polled {
        Poll::Ready(Err(SendError::Unflushed(self.id)))
    }

    fn closed(&self) -> Polled {
        Poll::Ready(Err(SendError::Closed(self.id)))
    }

    fn failed(&self) -> Polled {
        Poll::Ready(Err(SendError::Sink { id: self.id, error: Broken }))
    }
}

/// A pair whose sink has room for `room` items, and a sender for it.
fn scene(room: usize) -> (Pairs, Peer, Sender) {
    let multiplexer = Multiplexer::new();
    multiplexer.add_channel(CHANNEL).unwrap();
    let peer = add(&multiplexer, room);
    let sender = multiplexer.sender(peer.id).unwrap();
    (multiplexer, peer, sender)
}

fn add(multiplexer: &Pairs, room: usize) -> Peer {
    let (gate, sink) = gate(room);
    let (feed, stream) = pipe();
    let id = multiplexer.add_stream_pair(sink, stream, CHANNEL).unwrap();
    Peer { id, feed, gate }
}

/// Ends the stream, and lets its channel notice.
fn end(multiplexer: &Pairs, peer: &Peer) {
    peer.feed.end();
    while multiplexer.try_recv(CHANNEL).is_ok() {}
    assert_eq!(multiplexer.channel_of(peer.id), None);
}

fn ready_with(sender: &mut Sender, waker: &Waker) -> Polled {
    sender.poll_ready_unpin(&mut Context::from_waker(waker))
}

fn flush_with(sender: &mut Sender, waker: &Waker) -> Polled {
    sender.poll_flush_unpin(&mut Context::from_waker(waker))
}

fn close_with(sender: &mut Sender, waker: &Waker) -> Polled {
    sender.poll_close_unpin(&mut Context::from_waker(waker))
}

fn ready(sender: &mut Sender) -> Polled {
    ready_with(sender, Waker::noop())
}

fn flush(sender: &mut Sender) -> Polled {
    flush_with(sender, Waker::noop())
}

fn close(sender: &mut Sender) -> Polled {
    close_with(sender, Waker::noop())
}

/// The three kinds of polls.
const POLLS: [fn(&mut Sender) -> Polled; 3] = [ready, flush, close];

/// Makes a sender keep an item: another one sends 0 between its `poll_ready` and its `start_send`.
fn steal_and_keep(multiplexer: &Pairs, peer: &Peer, sender: &mut Sender, item: u32) {
    peer.gate.make_room(1);
    assert_eq!(ready(sender), DONE);
    assert_eq!(multiplexer.send_one(peer.id, 0).now_or_never(), Some(Ok(())));
    assert_eq!(sender.start_send_unpin(item), Ok(()));
    assert_eq!(peer.gate.take_items(), [0]);
}

/// The sender works with the combinators of futures for sinks.
mod as_a_sink {
    use super::*;

    #[test]
    fn it_sends() {
        let (_multiplexer, peer, mut sender) = scene(3);
        for item in 0..3 {
            assert_eq!(sender.send(item).now_or_never(), Some(Ok(())));
            assert_eq!(peer.gate.flushed(), usize::try_from(item).unwrap() + 1);
        }
        assert_eq!(peer.gate.take_items(), [0, 1, 2]);
    }

    #[test]
    fn it_knows_its_stream() {
        let (multiplexer, peer, sender) = scene(0);
        assert_eq!(sender.stream_id(), peer.id);
        assert_eq!(sender.clone().stream_id(), peer.id);
        multiplexer.remove_stream(peer.id).unwrap();
        assert_eq!(sender.stream_id(), peer.id);
    }

    #[test]
    fn it_feeds_and_flushes() {
        let (_multiplexer, peer, mut sender) = scene(3);
        for item in 0..3 {
            assert_eq!(sender.feed(item).now_or_never(), Some(Ok(())));
        }
        assert_eq!(peer.gate.flushed(), 0, "feeding does not flush");
        assert_eq!(sender.feed(3).now_or_never(), None, "there is no more room");
        assert_eq!(sender.flush().now_or_never(), Some(Ok(())));
        assert_eq!(peer.gate.flushed(), 3);
        assert_eq!(peer.gate.take_items(), [0, 1, 2]);
    }

    #[test]
    fn it_has_nothing_to_flush_before_it_sent() {
        let (_multiplexer, peer, mut sender) = scene(1);
        peer.gate.set_flushes(false);
        assert_eq!(flush(&mut sender), DONE);
        assert_eq!(peer.gate.take_polls(), 0);
    }

    #[test]
    fn it_flushes_what_it_fed_as_soon_as_the_sink_does() {
        let (_multiplexer, peer, mut sender) = scene(1);
        let (wakes, waker) = Wakes::new();
        peer.gate.set_flushes(false);
        assert_eq!(sender.feed(1).now_or_never(), Some(Ok(())));
        assert_eq!(flush_with(&mut sender, &waker), Poll::Pending);
        assert_eq!(wakes.take(), 0, "it sleeps");
        peer.gate.set_flushes(true);
        assert_ne!(wakes.take(), 0);
        assert_eq!(flush_with(&mut sender, &waker), DONE);
    }

    #[test]
    fn it_sends_all_of_a_stream() {
        let (_multiplexer, peer, mut sender) = scene(5);
        let sent = sender.send_all(&mut stream::iter(0..5).map(Ok)).now_or_never();
        assert_eq!(sent, Some(Ok(())));
        assert_eq!(peer.gate.flushed(), 5);
        assert_eq!(peer.gate.take_items(), [0, 1, 2, 3, 4]);
    }

    /// At the pace of the sink.
    #[test]
    fn a_stream_is_forwarded_to_it() {
        let (_multiplexer, peer, sender) = scene(0);
        let (wakes, waker) = Wakes::new();
        let mut forward = stream::iter(0..5).map(Ok).forward(sender);
        for item in 0..5 {
            assert_eq!(poll_future(&mut forward, &waker), Poll::Pending);
            assert!(peer.gate.take_items().is_empty(), "there is no room yet");
            wakes.take();
            peer.gate.make_room(1);
            assert_ne!(wakes.take(), 0);
            if item < 4 {
                assert_eq!(poll_future(&mut forward, &waker), Poll::Pending);
            } else {
                assert_eq!(poll_future(&mut forward, &waker), DONE);
            }
            assert_eq!(peer.gate.take_items(), [item]);
        }
        assert!(!peer.gate.is_closed(), "the stream's sink is not its own");
    }

    #[test]
    fn it_is_the_sink_of_a_fan_out() {
        let (multiplexer, peer, sender) = scene(1);
        let other = add(&multiplexer, 1);
        let mut both = sender.fanout(multiplexer.sender(other.id).unwrap());
        assert_eq!(both.send(5).now_or_never(), Some(Ok(())));
        assert_eq!(peer.gate.take_items(), [5]);
        assert_eq!(other.gate.take_items(), [5]);
    }

    #[test]
    fn it_is_not_ready_before_the_sink_is() {
        let (_multiplexer, peer, mut sender) = scene(0);
        let (wakes, waker) = Wakes::new();
        assert_eq!(ready_with(&mut sender, &waker), Poll::Pending);
        assert_eq!(wakes.take(), 0, "it sleeps");
        peer.gate.make_room(1);
        assert_ne!(wakes.take(), 0);
        assert_eq!(ready_with(&mut sender, &waker), DONE);
    }

    #[test]
    fn it_returns_the_sinks_error_once() {
        let (_multiplexer, peer, mut sender) = scene(1);
        assert_eq!(sender.feed(1).now_or_never(), Some(Ok(())));
        peer.gate.fail();
        assert_eq!(ready(&mut sender), peer.failed());
        assert_eq!(flush(&mut sender), Poll::Ready(Err(SendError::Unflushed(peer.id))));
        assert_eq!(flush(&mut sender), DONE, "there is nothing more to flush");
        peer.gate.take_polls();
        assert_eq!(ready(&mut sender), Poll::Ready(Err(SendError::Closed(peer.id))));
        assert_eq!(peer.gate.take_polls(), 0, "a sink that failed is not polled");
    }

    #[test]
    #[should_panic(expected = "start_send without poll_ready")]
    fn it_takes_no_second_item_while_it_keeps_one() {
        let (multiplexer, peer, mut sender) = scene(0);
        steal_and_keep(&multiplexer, &peer, &mut sender, 1);
        let _ = sender.start_send_unpin(2);
    }
}

/// Closing the sender flushes it, and closes only the sender.
mod closing {
    use super::*;

    #[test]
    fn flushes_and_leaves_the_sink_open() {
        let (_multiplexer, peer, mut sender) = scene(2);
        assert_eq!(sender.feed(1).now_or_never(), Some(Ok(())));
        let mut another = sender.clone();
        assert_eq!(sender.close().now_or_never(), Some(Ok(())));
        assert_eq!(peer.gate.flushed(), 1);
        assert!(!peer.gate.is_closed());
        assert_eq!(another.send(2).now_or_never(), Some(Ok(())));
        assert_eq!(peer.gate.take_items(), [1, 2]);
    }

    #[test]
    fn takes_nothing_more() {
        let (_multiplexer, peer, mut sender) = scene(2);
        assert_eq!(ready(&mut sender), DONE);
        assert_eq!(close(&mut sender), DONE);
        assert_eq!(sender.start_send_unpin(1), Err(SendError::Closed(peer.id)));
        assert_eq!(ready(&mut sender), peer.closed());
        assert_eq!(flush(&mut sender), DONE);
        assert_eq!(close(&mut sender), DONE, "it may be closed twice");
        assert!(peer.gate.take_items().is_empty());
    }

    #[test]
    fn waits_until_it_is_flushed() {
        let (_multiplexer, peer, mut sender) = scene(1);
        let (wakes, waker) = Wakes::new();
        assert_eq!(sender.feed(1).now_or_never(), Some(Ok(())));
        peer.gate.set_flushes(false);
        assert_eq!(close_with(&mut sender, &waker), Poll::Pending);
        assert_eq!(wakes.take(), 0, "it sleeps");
        peer.gate.set_flushes(true);
        assert_ne!(wakes.take(), 0);
        assert_eq!(close_with(&mut sender, &waker), DONE);
        assert_eq!(peer.gate.flushed(), 1);
    }

    #[test]
    fn hands_over_what_it_keeps() {
        let (multiplexer, peer, mut sender) = scene(0);
        steal_and_keep(&multiplexer, &peer, &mut sender, 1);
        assert_eq!(close(&mut sender), Poll::Pending);
        peer.gate.make_room(1);
        assert_eq!(close(&mut sender), DONE);
        assert_eq!(peer.gate.flushed(), 1);
        assert_eq!(peer.gate.take_items(), [1]);
    }
}

/// Several senders for one stream. Each may find that another one was faster.
mod among_others {
    use super::*;

    #[test]
    fn it_keeps_an_item_until_the_sink_takes_it() {
        let (multiplexer, peer, mut sender) = scene(0);
        let (wakes, waker) = Wakes::new();
        steal_and_keep(&multiplexer, &peer, &mut sender, 1);
        assert_eq!(flush_with(&mut sender, &waker), Poll::Pending);
        assert_eq!(wakes.take(), 0, "it sleeps");
        assert!(peer.gate.take_items().is_empty());
        peer.gate.make_room(2);
        assert_ne!(wakes.take(), 0);
        assert_eq!(flush_with(&mut sender, &waker), DONE);
        assert_eq!(peer.gate.take_items(), [1], "once");
        assert_eq!(flush_with(&mut sender, &waker), DONE);
        assert!(peer.gate.take_items().is_empty());
    }

    #[test]
    fn it_is_not_ready_while_it_keeps_an_item() {
        let (multiplexer, peer, mut sender) = scene(0);
        let (wakes, waker) = Wakes::new();
        steal_and_keep(&multiplexer, &peer, &mut sender, 1);
        assert_eq!(ready_with(&mut sender, &waker), Poll::Pending);
        assert_eq!(wakes.take(), 0, "it sleeps");
        peer.gate.make_room(1);
        assert_ne!(wakes.take(), 0);
        assert_eq!(
            ready_with(&mut sender, &waker),
            Poll::Pending,
            "the one place was for the item that it kept"
        );
        assert_eq!(peer.gate.take_items(), [1]);
        peer.gate.make_room(1);
        assert_eq!(ready_with(&mut sender, &waker), DONE);
        assert_eq!(sender.start_send_unpin(2), Ok(()));
        assert_eq!(peer.gate.take_items(), [2]);
    }

    #[test]
    fn it_gives_its_item_up_when_the_sink_fails() {
        for poll in POLLS {
            let (multiplexer, peer, mut sender) = scene(0);
            steal_and_keep(&multiplexer, &peer, &mut sender, 1);
            peer.gate.fail();
            assert_eq!(poll(&mut sender), peer.failed());
            assert_eq!(flush(&mut sender), DONE, "told once");
            assert!(peer.gate.take_items().is_empty());
        }
    }

    /// Two senders are ready at the same time, with room for one item.
    #[test]
    fn two_that_found_the_sink_ready_send_one_after_the_other() {
        let (_multiplexer, peer, mut first) = scene(1);
        let mut second = first.clone();
        assert_eq!(ready(&mut first), DONE);
        assert_eq!(ready(&mut second), DONE);
        assert_eq!(second.start_send_unpin(2), Ok(()));
        assert_eq!(first.start_send_unpin(1), Ok(()));
        assert_eq!(flush(&mut second), DONE);
        assert_eq!(flush(&mut first), Poll::Pending);
        peer.gate.make_room(1);
        assert_eq!(flush(&mut first), DONE);
        assert_eq!(peer.gate.take_items(), [2, 1]);
    }

    #[test]
    fn one_that_was_ready_and_sends_nothing_does_not_block_others() {
        let (multiplexer, peer, mut sender) = scene(1);
        assert_eq!(ready(&mut sender), DONE);
        assert_eq!(multiplexer.send_one(peer.id, 5).now_or_never(), Some(Ok(())));
        assert_eq!(peer.gate.take_items(), [5]);
    }

    #[test]
    fn one_that_keeps_an_item_and_is_not_polled_does_not_block_others() {
        let (multiplexer, peer, mut sender) = scene(0);
        steal_and_keep(&multiplexer, &peer, &mut sender, 1);
        peer.gate.make_room(1);
        assert_eq!(multiplexer.send_one(peer.id, 5).now_or_never(), Some(Ok(())));
        assert_eq!(peer.gate.take_items(), [5]);
    }

    #[test]
    fn one_that_is_dropped_leaves_the_others_waiting() {
        let (_multiplexer, peer, mut sender) = scene(0);
        let mut others = [sender.clone(), sender.clone()];
        let (wakes, waker) = Wakes::new();
        assert_eq!(ready(&mut sender), Poll::Pending);
        for other in &mut others {
            assert_eq!(ready_with(other, &waker), Poll::Pending);
        }
        drop(sender);
        assert_eq!(wakes.take(), 0);
        peer.gate.make_room(2);
        assert_eq!(wakes.take(), 2, "both are told");
        for other in &mut others {
            assert_eq!(other.send(7).now_or_never(), Some(Ok(())));
        }
        assert_eq!(peer.gate.take_items(), [7, 7]);
    }

    #[test]
    fn a_clone_has_nothing_of_what_is_under_way() {
        let (multiplexer, peer, mut sender) = scene(0);
        steal_and_keep(&multiplexer, &peer, &mut sender, 1);
        let mut clone = sender.clone();
        assert_eq!(flush(&mut clone), DONE);
        peer.gate.make_room(3);
        assert_eq!(clone.send(2).now_or_never(), Some(Ok(())));
        assert_eq!(peer.gate.take_items(), [2]);
        assert_eq!(close(&mut sender), DONE);
        assert_eq!(ready(&mut sender.clone()), DONE, "a clone of a closed one is open");
    }

    /// In several threads, into a sink with room for one item at a time.
    #[test]
    fn each_sends_all_of_its_items_in_order() {
        const SENDERS: usize = 4;
        const ITEMS: usize = 500;
        finishes(|| {
            let multiplexer = Multiplexer::new();
            multiplexer.add_channel(CHANNEL).unwrap();
            let (sink, received) = futures::channel::mpsc::channel::<(usize, usize)>(0);
            let stream = stream::pending::<()>();
            let id = multiplexer.add_stream_pair(sink, stream, CHANNEL).unwrap();
            let senders: Vec<_> = (0..SENDERS)
                .map(|at| {
                    let sender = multiplexer.sender(id).unwrap();
                    let items = stream::iter(0..ITEMS).map(move |item| Ok((at, item)));
                    thread::spawn(move || block_on(items.forward(sender)).unwrap())
                })
                .collect();

            let received: Vec<_> = block_on(received.take(SENDERS * ITEMS).collect());
            senders.into_iter().for_each(|sender| sender.join().unwrap());
            for at in 0..SENDERS {
                let items = received.iter().filter(|(of, _)| *of == at).map(|(_, item)| *item);
                assert!(items.eq(0..ITEMS), "of {at}");
            }
        });
    }
}

/// The item that it kept when the sink was closed is returned.
#[test]
fn what_it_keeps_comes_back_when_the_sink_is_closed() {
    let (multiplexer, peer, mut sender) = scene(0);
    steal_and_keep(&multiplexer, &peer, &mut sender, 5);
    assert!(!sender.is_closed());
    assert_eq!(multiplexer.close_stream::<u32>(peer.id).now_or_never(), Some(Ok(())));
    assert!(sender.is_closed());
    assert_eq!(flush(&mut sender), Poll::Ready(Err(SendError::Closed(peer.id))));
    assert_eq!(sender.take_item(), Some(5));
    assert_eq!(sender.take_item(), None);
}

/// `closed` waits for any end of the sink, and keeps nothing alive.
#[test]
fn it_waits_until_the_sink_is_closed() {
    let ends: [fn(&Pairs, &Peer); 5] = [
        |multiplexer, peer| drop(multiplexer.remove_stream(peer.id)),
        |multiplexer, peer| assert!(multiplexer.close_stream::<u32>(peer.id).now_or_never().is_some()),
        |multiplexer, _| assert!(multiplexer.discard_channel(CHANNEL)),
        end,
        |multiplexer, peer| {
            peer.gate.fail();
            assert!(multiplexer.try_send(peer.id, 1).is_err());
        },
    ];
    for end in ends {
        let (multiplexer, peer, sender) = scene(1);
        let (wakes, waker) = Wakes::new();
        let mut closed = sender.closed();
        assert_eq!(poll_future(&mut closed, &waker), Poll::Pending);
        end(&multiplexer, &peer);
        assert_ne!(wakes.take(), 0);
        assert_eq!(poll_future(&mut closed, &waker), Poll::Ready(()));
    }
}

/// The sender keeps neither the pair nor the multiplexer alive, and is woken when they are gone.
mod when_the_pair_goes {
    use super::*;

    /// How a pair leaves.
    type Going = fn(Pairs, &Peer) -> Option<Pairs>;

    const REMOVED: Going = |multiplexer, peer| {
        drop(multiplexer.remove_stream(peer.id).unwrap());
        Some(multiplexer)
    };
    const WITH_ITS_CHANNEL: Going = |multiplexer, _| {
        drop(multiplexer.remove_channel(CHANNEL).unwrap());
        Some(multiplexer)
    };
    const CLOSED: Going = |multiplexer, peer| {
        multiplexer.close_stream(peer.id).now_or_never().unwrap().unwrap();
        Some(multiplexer)
    };
    const ENDED: Going = |multiplexer, peer| {
        end(&multiplexer, peer);
        Some(multiplexer)
    };
    const WITH_THE_MULTIPLEXER: Going = |_, _| None;

    const ALL: [Going; 5] = [REMOVED, WITH_ITS_CHANNEL, CLOSED, ENDED, WITH_THE_MULTIPLEXER];

    #[test]
    fn it_keeps_nothing() {
        for going in ALL {
            let (multiplexer, peer, mut sender) = scene(1);
            assert_eq!(sender.send(1).now_or_never(), Some(Ok(())));
            assert_eq!(ready(&mut sender), Poll::Pending);
            let _multiplexer = going(multiplexer, &peer);
            assert!(peer.gate.is_dropped());
            assert!(peer.feed.is_dropped());
        }
    }

    #[test]
    fn it_fails() {
        for going in ALL {
            let (multiplexer, peer, mut sender) = scene(1);
            assert_eq!(ready(&mut sender), DONE);
            let _multiplexer = going(multiplexer, &peer);
            assert_eq!(sender.start_send_unpin(1), Err(SendError::UnknownStream(peer.id)));
            assert_eq!(ready(&mut sender), peer.unknown());
            assert_eq!(sender.send(2).now_or_never(), Some(Err(SendError::UnknownStream(peer.id))));
            assert_eq!(ready(&mut sender.clone()), peer.unknown());
            assert_eq!(flush(&mut sender), DONE, "it has nothing to flush");
            assert_eq!(close(&mut sender), DONE);
        }
    }

    #[test]
    fn it_is_woken_if_it_waits() {
        for going in ALL {
            let (multiplexer, peer, mut sender) = scene(0);
            let (wakes, waker) = Wakes::new();
            assert_eq!(ready_with(&mut sender, &waker), Poll::Pending);
            let mut sending = multiplexer.sender(peer.id).unwrap();
            let mut sending = sending.send(5);
            assert_eq!(poll_future(&mut sending, &waker), Poll::Pending);
            assert_eq!(wakes.take(), 0);
            let _multiplexer = going(multiplexer, &peer);
            assert_eq!(wakes.take(), 2, "both");
            assert_eq!(ready_with(&mut sender, &waker), peer.unknown());
            assert_eq!(poll_future(&mut sending, &waker), peer.unknown());
        }
    }

    /// Also while an item of another sender is in flight, for which the sink is kept.
    #[test]
    fn it_is_woken_even_if_another_send_is_in_flight() {
        for going in [ENDED, WITH_THE_MULTIPLEXER] {
            let (multiplexer, peer, mut sender) = scene(1);
            peer.gate.set_flushes(false);
            let mut other = sender.clone();
            assert_eq!(other.feed(1).now_or_never(), Some(Ok(())));
            let (wakes, waker) = Wakes::new();
            assert_eq!(ready_with(&mut sender, &waker), Poll::Pending);
            assert_eq!(wakes.take(), 0);

            let _multiplexer = going(multiplexer, &peer);
            assert_ne!(wakes.take(), 0);
            assert_eq!(ready_with(&mut sender, &waker), peer.unknown());
            assert_eq!(ready(&mut other), peer.unknown(), "nor does it take more of that one");
            peer.gate.set_flushes(true);
            assert_eq!(flush(&mut other), DONE);
            assert_eq!(peer.gate.flushed(), 1);
            assert!(peer.gate.is_dropped());
        }
    }

    /// A closed multiplexer still sends.
    #[test]
    fn closing_the_multiplexer_changes_nothing() {
        let (multiplexer, peer, mut sender) = scene(1);
        multiplexer.close();
        assert_eq!(sender.send(1).now_or_never(), Some(Ok(())));
        assert_eq!(peer.gate.take_items(), [1]);
    }

    #[test]
    fn what_was_handed_over_is_flushed_if_the_stream_ended() {
        for going in [ENDED, WITH_THE_MULTIPLEXER] {
            let (multiplexer, peer, mut sender) = scene(1);
            let (wakes, waker) = Wakes::new();
            peer.gate.set_flushes(false);
            let mut sending = sender.send(1);
            assert_eq!(poll_future(&mut sending, &waker), Poll::Pending);
            let _multiplexer = going(multiplexer, &peer);
            assert_eq!(poll_future(&mut sending, &waker), Poll::Pending);
            assert!(!peer.gate.is_dropped(), "an item is in flight");
            wakes.take();
            peer.gate.set_flushes(true);
            assert_ne!(wakes.take(), 0);
            assert_eq!(poll_future(&mut sending, &waker), DONE);
            assert_eq!(peer.gate.flushed(), 1);
            assert!(peer.gate.is_dropped());
        }
    }

    #[test]
    fn what_it_keeps_is_sent_if_the_stream_ended() {
        for going in [ENDED, WITH_THE_MULTIPLEXER] {
            let (multiplexer, peer, mut sender) = scene(0);
            steal_and_keep(&multiplexer, &peer, &mut sender, 1);
            let _multiplexer = going(multiplexer, &peer);
            assert_eq!(flush(&mut sender), Poll::Pending);
            peer.gate.make_room(1);
            assert_eq!(flush(&mut sender), DONE);
            assert_eq!(peer.gate.flushed(), 1);
            assert_eq!(peer.gate.take_items(), [1]);
            assert!(peer.gate.is_dropped());
        }
    }

    #[test]
    fn what_was_handed_over_is_lost_or_not_if_it_was_removed() {
        for going in [REMOVED, WITH_ITS_CHANNEL] {
            let (multiplexer, peer, mut sender) = scene(1);
            let (wakes, waker) = Wakes::new();
            peer.gate.set_flushes(false);
            assert_eq!(sender.feed(1).now_or_never(), Some(Ok(())));
            assert_eq!(flush_with(&mut sender, &waker), Poll::Pending);
            let _multiplexer = going(multiplexer, &peer);
            assert!(peer.gate.is_dropped(), "a sender does not keep a sink that was removed");
            assert_ne!(wakes.take(), 0);
            assert_eq!(flush_with(&mut sender, &waker), peer.unflushed());
            assert_eq!(flush_with(&mut sender, &waker), DONE, "told once");
        }
    }

    #[test]
    fn what_it_keeps_is_not_sent_if_it_was_removed() {
        for going in [REMOVED, WITH_ITS_CHANNEL] {
            for poll in POLLS {
                let (multiplexer, peer, mut sender) = scene(0);
                steal_and_keep(&multiplexer, &peer, &mut sender, 1);
                let multiplexer = going(multiplexer, &peer);
                assert!(peer.gate.is_dropped());
                assert_eq!(poll(&mut sender), peer.unknown());
                assert_eq!(flush(&mut sender), DONE, "told once");
                drop(multiplexer);
            }
        }
    }

    #[test]
    fn what_was_handed_over_is_flushed_by_closing_the_stream() {
        let (multiplexer, peer, mut sender) = scene(1);
        peer.gate.set_flushes(false);
        assert_eq!(sender.feed(1).now_or_never(), Some(Ok(())));
        assert_eq!(flush(&mut sender), Poll::Pending);
        assert_eq!(multiplexer.close_stream(peer.id).now_or_never(), Some(Ok(())));
        assert_eq!(flush(&mut sender), DONE);
    }

    #[test]
    fn it_takes_nothing_while_the_stream_is_being_closed() {
        let (multiplexer, peer, mut sender) = scene(0);
        let (wakes, waker) = Wakes::new();
        let mut waiting = sender.clone();
        let mut keeping = sender.clone();
        peer.gate.set_closes(false);
        steal_and_keep(&multiplexer, &peer, &mut keeping, 1);
        peer.gate.make_room(1);
        assert_eq!(sender.feed(2).now_or_never(), Some(Ok(())));
        assert_eq!(ready_with(&mut waiting, &waker), Poll::Pending);
        assert_eq!(wakes.take(), 0);

        let mut closing = multiplexer.close_stream(peer.id);
        assert_eq!(poll_future(&mut closing, Waker::noop()), Poll::Pending);
        assert_ne!(wakes.take(), 0);
        peer.gate.make_room(5);
        assert_eq!(ready(&mut waiting), peer.closed());
        assert_eq!(ready(&mut sender), peer.closed());
        assert_eq!(sender.start_send_unpin(3), Err(SendError::Closed(peer.id)));
        assert_eq!(ready(&mut keeping), peer.closed());
        assert_eq!(flush(&mut keeping), DONE, "told once");
        assert_eq!(flush(&mut sender), DONE, "what it sent before is flushed");
        assert_eq!(peer.gate.take_items(), [2]);
    }

    #[test]
    fn there_is_none_for_a_stream_that_is_gone() {
        let (multiplexer, peer, _sender) = scene(1);
        assert!(multiplexer.sender::<u32>(peer.id).is_ok());
        multiplexer.remove_stream(peer.id).unwrap();
        assert_eq!(multiplexer.sender::<u32>(peer.id).unwrap_err(), MultiplexerError::UnknownStream(peer.id));

        let peer = add(&multiplexer, 1);
        end(&multiplexer, &peer);
        assert_eq!(multiplexer.sender::<u32>(peer.id).unwrap_err(), MultiplexerError::UnknownStream(peer.id));
    }
}

/// What a dropped `send`, or a dropped sender, has sent.
mod cancelled {
    use super::*;

    #[test]
    fn a_send_that_did_not_reach_the_sink_sends_nothing() {
        let (_multiplexer, peer, mut sender) = scene(0);
        let mut sending = sender.send(1);
        assert_eq!(poll_future(&mut sending, Waker::noop()), Poll::Pending);
        drop(sending);
        peer.gate.make_room(2);
        assert_eq!(flush(&mut sender), DONE);
        assert!(peer.gate.take_items().is_empty());
        assert_eq!(sender.send(2).now_or_never(), Some(Ok(())));
        assert_eq!(peer.gate.take_items(), [2]);
    }

    #[test]
    fn the_item_of_a_send_that_reached_the_sink_is_flushed_by_the_next_flush() {
        let (_multiplexer, peer, mut sender) = scene(1);
        peer.gate.set_flushes(false);
        let mut sending = sender.send(1);
        assert_eq!(poll_future(&mut sending, Waker::noop()), Poll::Pending);
        drop(sending);
        assert_eq!(flush(&mut sender), Poll::Pending, "it is still to be flushed");
        peer.gate.set_flushes(true);
        assert_eq!(flush(&mut sender), DONE);
        assert_eq!(peer.gate.flushed(), 1);
        assert_eq!(peer.gate.take_items(), [1]);
    }

    #[test]
    fn the_item_of_a_send_that_reached_the_sink_is_flushed_with_the_next_one() {
        let (_multiplexer, peer, mut sender) = scene(1);
        peer.gate.set_flushes(false);
        let mut sending = sender.send(1);
        assert_eq!(poll_future(&mut sending, Waker::noop()), Poll::Pending);
        drop(sending);
        peer.gate.set_flushes(true);
        peer.gate.make_room(1);
        assert_eq!(sender.send(2).now_or_never(), Some(Ok(())));
        assert_eq!(peer.gate.flushed(), 2);
        assert_eq!(peer.gate.take_items(), [1, 2]);
    }

    /// The next poll of any kind hands it over.
    #[test]
    fn an_item_that_it_keeps_is_handed_over_by_the_next_poll() {
        for poll in POLLS {
            let (multiplexer, peer, mut sender) = scene(0);
            steal_and_keep(&multiplexer, &peer, &mut sender, 1);
            peer.gate.make_room(2);
            assert_eq!(poll(&mut sender), DONE);
            assert_eq!(peer.gate.take_items(), [1]);
        }
    }

    #[test]
    fn an_item_that_it_keeps_is_dropped_with_it() {
        let (multiplexer, peer, mut sender) = scene(0);
        steal_and_keep(&multiplexer, &peer, &mut sender, 1);
        assert_eq!(flush(&mut sender), Poll::Pending);
        drop(sender);
        peer.gate.make_room(1);
        assert!(peer.gate.take_items().is_empty());
        assert_eq!(multiplexer.send_one(peer.id, 2).now_or_never(), Some(Ok(())));
        assert_eq!(peer.gate.take_items(), [2]);
    }

    #[test]
    fn a_sender_that_is_dropped_lets_go_of_its_task() {
        let (_multiplexer, peer, mut sender) = scene(0);
        let (wakes, waker) = Wakes::new();
        assert_eq!(ready_with(&mut sender, &waker), Poll::Pending);
        drop(sender);
        peer.gate.make_room(1);
        assert_eq!(wakes.take(), 0);
        drop(waker);
        assert_eq!(Arc::strong_count(&wakes), 1);
    }

    /// While its item is in flight, the sink is kept, and no longer.
    #[test]
    fn a_sender_that_is_dropped_lets_go_of_the_sink() {
        let (multiplexer, peer, mut sender) = scene(1);
        peer.gate.set_flushes(false);
        assert_eq!(sender.feed(1).now_or_never(), Some(Ok(())));
        end(&multiplexer, &peer);
        assert!(!peer.gate.is_dropped());
        drop(sender);
        assert!(peer.gate.is_dropped());
    }
}

/// A sender checks whether the sink is open, and must not poll it after its closing has begun, whatever happens between both
/// steps.
#[test]
fn a_sink_that_is_being_closed_is_not_asked_whether_it_is_ready() {
    const ROUNDS: usize = 1_000;

    /// Never becomes ready, and never closes.
    #[derive(Default)]
    struct Closing {
        closes: bool,
        asked: Arc<AtomicBool>,
    }

    impl Sink<u32> for Closing {
        type Error = Broken;

        fn poll_ready(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<Result<(), Broken>> {
            self.asked.fetch_or(self.closes, Ordering::Relaxed);
            Poll::Pending
        }

        fn start_send(self: Pin<&mut Self>, _: u32) -> Result<(), Broken> {
            unreachable!("it is never ready")
        }

        fn poll_flush(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<Result<(), Broken>> {
            Poll::Ready(Ok(()))
        }

        fn poll_close(mut self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<Result<(), Broken>> {
            self.closes = true;
            Poll::Pending
        }
    }

    let asked = Arc::new(AtomicBool::new(false));
    for _ in 0..ROUNDS {
        let multiplexer = Multiplexer::new();
        multiplexer.add_channel(CHANNEL).unwrap();
        let sink = Closing { closes: false, asked: Arc::clone(&asked) };
        let id = multiplexer.add_stream_pair(sink, stream::pending::<()>(), CHANNEL).unwrap();
        let mut sender = multiplexer.sender::<u32>(id).unwrap();
        let together = Barrier::new(2);
        thread::scope(|scope| {
            scope.spawn(|| {
                together.wait();
                let cx = &mut Context::from_waker(Waker::noop());
                while sender.poll_ready_unpin(cx).is_pending() {}
            });
            together.wait();
            let mut closing = multiplexer.close_stream::<u32>(id);
            // The sink may be in another poll.
            for _ in 0..5 {
                assert!(poll_future(&mut closing, Waker::noop()).is_pending());
            }
        });
    }
    assert!(!asked.load(Ordering::Relaxed));
}

/// It waits for each item again, behind the tasks that already wait.
#[test]
fn a_sender_that_feeds_and_never_flushes_has_no_more_turns_than_others() {
    const TURNS: usize = 10;
    let (multiplexer, peer, mut feeder) = scene(0);
    let multiplexer: &'static Pairs = Box::leak(Box::new(multiplexer));
    let id = peer.id;
    let mut pool = LocalPool::new();
    let feeds = async move { while feeder.feed(0).await.is_ok() {} };
    pool.spawner().spawn_local(feeds).unwrap();
    for task in 1..3 {
        let sends = async move { while multiplexer.send_one(id, task).await.is_ok() {} };
        pool.spawner().spawn_local(sends).unwrap();
    }
    for _ in 0..3 * TURNS {
        pool.run_until_stalled();
        peer.gate.make_room(1);
    }
    pool.run_until_stalled();
    let sent = peer.gate.take_items();
    for task in 0..3 {
        assert_eq!(sent.iter().filter(|item| **item == task).count(), TURNS, "{sent:?}");
    }
}
