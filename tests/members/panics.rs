//! Panics in foreign code: in a stream's poll, a sink's poll, a drop, or a task's waker. Each panic propagates to the caller
//! and removes only the member that caused it, whose departure is reported. Everything else continues.

use crate::support;
use futures::future::LocalBoxFuture;
use futures::{FutureExt, SinkExt, StreamExt};
use std::future::poll_fn;
use std::panic::{AssertUnwindSafe, catch_unwind, panic_any};
use std::sync::atomic::{AtomicUsize, Ordering::SeqCst};
use std::sync::{Arc, Mutex, mpsc};
use std::task::{Context, Poll, Wake, Waker, ready};
use std::thread;
use std::time::Duration;
use stream_multiplexer::StreamEvent::{self, Ended, Item, Moved, Removed};
use stream_multiplexer::{
    ChannelId, ChannelOptions, ChannelReceiver, Multiplexer, SendError, Sent, StreamId, TryRecvError,
};
use support::hooked::{Bang, Hooked, Hooks, Moment};
use support::raw_waker::hooked_waker;
use support::{Broken, Drain, Feed, Gate, Gatekeeper, Pipe, Wakes, gate, pipe, poll, poll_future, poll_with};

const A: ChannelId = 1;
const B: ChannelId = 2;

type Pairs = Multiplexer<Hooked<Pipe<u32>>, Hooked<Gate<u32>>>;

/// The test's access to a pair.
struct Peer {
    id: StreamId,
    feed: Feed<u32>,
    stream: Hooks,
    keeper: Gatekeeper<u32>,
    sink: Hooks,
}

impl Peer {
    fn with_room(multiplexer: &Pairs, channel: ChannelId, room: usize) -> Self {
        let (feed, pipe) = pipe();
        let (keeper, gate) = gate(room);
        let (stream, sink) = (Hooks::default(), Hooks::default());
        let pipe = Hooked { inner: pipe, hooks: stream.clone() };
        let gate = Hooked { inner: gate, hooks: sink.clone() };
        let id = multiplexer.add_stream_pair(gate, pipe, channel).unwrap();
        Self { id, feed, stream, keeper, sink }
    }

    fn new(multiplexer: &Pairs, channel: ChannelId) -> Self {
        Self::with_room(multiplexer, channel, 100)
    }

    fn is_dropped(&self) -> bool {
        self.feed.is_dropped() && self.keeper.is_dropped()
    }
}

fn multiplexer() -> Pairs {
    let multiplexer = Multiplexer::new();
    multiplexer.add_channel(A).unwrap();
    multiplexer.add_channel(B).unwrap();
    multiplexer
}

/// The output of a future that is ready immediately.
fn now<F: Future>(future: F) -> F::Output {
    future.now_or_never().expect("it is ready")
}

/// Expects the panic of a hook.
fn bang<R>(run: impl FnOnce() -> R) {
    let panic = catch_unwind(AssertUnwindSafe(run)).err().expect("the panic reaches the caller");
    if !panic.is::<Bang>() {
        std::panic::resume_unwind(panic);
    }
}

/// Returns all events of a channel that are available now.
fn events(multiplexer: &Pairs, channel: ChannelId) -> Vec<(StreamId, StreamEvent<u32>)> {
    let mut receiver = multiplexer.receiver(channel).unwrap();
    let mut events = Vec::new();
    while let Poll::Ready(Some(event)) = poll(&mut receiver) {
        events.push(event);
    }
    events
}

/// Checks that streams can still be received from, sent to, added, moved and removed.
fn assert_goes_on(multiplexer: &Pairs, other: &Peer) {
    events(multiplexer, A);
    other.feed.push(7);
    assert_eq!(events(multiplexer, A), [(other.id, Item(7))]);
    assert_eq!(now(multiplexer.send([other.id], 8).map(Sent::into_vec)), [Ok(other.id)]);
    assert_eq!(other.keeper.take_items().last(), Some(&8));

    let new = Peer::new(multiplexer, A);
    new.feed.push(9);
    assert_eq!(multiplexer.try_recv(A), Ok((new.id, Some(9))));
    multiplexer.change_stream_channel(new.id, B).unwrap();
    assert_eq!(multiplexer.try_recv(A), Ok((new.id, None)));
    assert!(multiplexer.remove_stream(new.id).is_some());
    assert_eq!(events(multiplexer, B).last(), Some(&(new.id, Removed)));
}

fn assert_gone(multiplexer: &Pairs, peer: &Peer) {
    assert_eq!(multiplexer.channel_of(peer.id), None);
    assert!(multiplexer.remove_stream(peer.id).is_none());
    assert_eq!(now(multiplexer.send_one(peer.id, 1)), Err(SendError::UnknownStream(peer.id)));
    assert!(peer.is_dropped());
}

mod streams {
    use super::*;

    /// A pair that will panic, and another pair with an item, which comes next.
    fn scene() -> (Pairs, Peer, Peer) {
        let multiplexer = multiplexer();
        let [peer, other] = [Peer::new(&multiplexer, A), Peer::new(&multiplexer, A)];
        peer.stream.panic_on(Moment::Poll);
        other.feed.push(1);
        (multiplexer, peer, other)
    }

    fn assert_costs_that_member_alone<R>(receive: impl FnOnce(&Pairs) -> R) {
        let (multiplexer, peer, other) = scene();
        bang(|| receive(&multiplexer));
        assert_eq!(multiplexer.channel_len(A), Some(1));
        assert_gone(&multiplexer, &peer);
        let told = events(&multiplexer, A);
        assert_eq!(told.len(), 2, "{told:?}");
        assert!(told.contains(&(peer.id, Removed)) && told.contains(&(other.id, Item(1))), "{told:?}");
        assert_goes_on(&multiplexer, &other);
    }

    #[test]
    fn that_panic_in_recv() {
        assert_costs_that_member_alone(|multiplexer| now(multiplexer.recv(A)));
    }

    #[test]
    fn that_panic_in_try_recv() {
        assert_costs_that_member_alone(|multiplexer| multiplexer.try_recv(A));
    }

    #[test]
    fn that_panic_in_next() {
        assert_costs_that_member_alone(|multiplexer| now(multiplexer.receiver(A).unwrap().next()));
    }

    #[test]
    fn that_panic_in_recv_many() {
        assert_costs_that_member_alone(|multiplexer| {
            now(multiplexer.receiver(A).unwrap().recv_many(&mut Vec::new(), 10))
        });
    }

    /// The receiver itself continues.
    #[test]
    fn do_not_end_the_receiver() {
        let (multiplexer, peer, other) = scene();
        let mut receiver = multiplexer.receiver(A).unwrap();
        bang(|| poll(&mut receiver));
        let mut told = [poll(&mut receiver), poll(&mut receiver)];
        told.sort_by_key(|event| matches!(event, Poll::Ready(Some((_, Item(_))))));
        let departed = Poll::Ready(Some((peer.id, Removed)));
        assert_eq!(told, [departed, Poll::Ready(Some((other.id, Item(1))))]);
        let (wakes, waker) = Wakes::new();
        assert_eq!(poll_with(&mut receiver, &waker), Poll::Pending);
        other.feed.push(2);
        assert_eq!(wakes.take(), 1);
        assert_eq!(poll(&mut receiver), Poll::Ready(Some((other.id, Item(2)))));
    }

    #[test]
    fn leave_what_was_received_before_in_the_buffer() {
        let multiplexer = multiplexer();
        let [other, peer] = [Peer::new(&multiplexer, A), Peer::new(&multiplexer, A)];
        other.feed.push(1);
        peer.stream.panic_on(Moment::Poll);
        let mut receiver = multiplexer.receiver(A).unwrap();
        let mut buffer = Vec::new();
        bang(|| now(receiver.recv_many(&mut buffer, 10)));
        assert_eq!(buffer, [(other.id, Item(1))]);
        assert_eq!(now(receiver.recv_many(&mut buffer, 10)), 1);
        assert_eq!(buffer[1], (peer.id, Removed));
    }

    /// Another receiver fell asleep during the poll of the member.
    #[test]
    fn wake_other_receivers_for_the_departure() {
        let multiplexer = multiplexer();
        let peer = Peer::new(&multiplexer, A);
        let sleeper = Arc::new(Mutex::new(multiplexer.receiver(A).unwrap()));
        let (wakes, waker) = Wakes::new();
        let sleeping = Arc::clone(&sleeper);
        peer.stream.on(Moment::Poll, move || {
            assert_eq!(poll_with(&mut *sleeping.lock().unwrap(), &waker), Poll::Pending);
            panic_any(Bang);
        });
        bang(|| multiplexer.try_recv(A));
        assert_eq!(wakes.take(), 1);
        assert_eq!(poll(&mut *sleeper.lock().unwrap()), Poll::Ready(Some((peer.id, Removed))));
    }

    #[test]
    fn end_the_sends_to_them() {
        let multiplexer = multiplexer();
        let peer = Peer::with_room(&multiplexer, A, 0);
        let (wakes, waker) = Wakes::new();
        let mut send = multiplexer.send_one(peer.id, 1);
        let mut sender = multiplexer.sender(peer.id).unwrap();
        assert!(poll_future(&mut send, &waker).is_pending());
        assert!(poll_future(&mut sender.send(2), &waker).is_pending());
        peer.stream.panic_on(Moment::Poll);
        bang(|| multiplexer.try_recv(A));
        assert_eq!(wakes.take(), 2);
        let unknown = Poll::Ready(Err(SendError::UnknownStream(peer.id)));
        assert_eq!(poll_future(&mut send, &waker), unknown);
        assert_eq!(poll_future(&mut sender.send(2), &waker), unknown);
        assert!(peer.is_dropped());
    }

    /// The stream did not end, so that no peer waits for an answer.
    #[test]
    fn do_not_keep_the_sink_where_channels_half_close() {
        let multiplexer = multiplexer();
        multiplexer.add_channel_with(9, ChannelOptions::new().half_close(true)).unwrap();
        let peer = Peer::new(&multiplexer, 9);
        peer.stream.panic_on(Moment::Poll);
        bang(|| multiplexer.try_recv(9));
        assert_gone(&multiplexer, &peer);
        assert_eq!(events(&multiplexer, 9), [(peer.id, Removed)]);
    }

    #[test]
    fn may_be_all() {
        let multiplexer = multiplexer();
        let peers: Vec<_> = (0..100).map(|_| Peer::new(&multiplexer, A)).collect();
        peers.iter().for_each(|peer| peer.stream.panic_on(Moment::Poll));
        let mut told = Vec::new();
        let mut panics = 0;
        for _ in 0..200 {
            match catch_unwind(AssertUnwindSafe(|| multiplexer.try_recv(A))) {
                Ok(event) => told.push(event.unwrap()),
                Err(_) => panics += 1,
            }
        }
        assert_eq!(panics, 100);
        told.sort_unstable();
        assert_eq!(told, peers.iter().map(|peer| (peer.id, None)).collect::<Vec<_>>());
        assert_eq!(multiplexer.try_recv(A), Err(TryRecvError::Empty));
        assert!(peers.iter().all(Peer::is_dropped));
    }

    /// While another thread polls another member of the same channel.
    #[test]
    fn do_not_disturb_a_poll_in_another_thread() {
        let (multiplexer, peer, other) = scene();
        let (polled, in_poll) = mpsc::channel();
        let (go_on, goes_on) = mpsc::channel::<()>();
        let first = Peer::new(&multiplexer, B);
        first.feed.push(5);
        first.stream.on(Moment::Poll, move || {
            polled.send(()).unwrap();
            goes_on.recv_timeout(Duration::from_secs(60)).unwrap();
        });
        let receiving = multiplexer.clone();
        let receiver = thread::spawn(move || receiving.try_recv(B));
        in_poll.recv_timeout(Duration::from_secs(60)).unwrap();
        // Moves the stream into the channel, next to the one that panics.
        multiplexer.change_stream_channel(first.id, A).unwrap();
        bang(|| multiplexer.try_recv(A));
        go_on.send(()).unwrap();
        assert_eq!(receiver.join().unwrap(), Ok((first.id, Some(5))));
        assert_eq!(events(&multiplexer, B), [(first.id, Moved(A))]);
        let told = events(&multiplexer, A);
        assert!(told.contains(&(peer.id, Removed)) && told.contains(&(other.id, Item(1))), "{told:?}");
        first.feed.push(6);
        assert_eq!(events(&multiplexer, A), [(first.id, Item(6))]);
    }
}

/// Operations on the stream in the poll that panics.
mod streams_that_left_in_the_poll {
    use super::*;

    fn panic_after(change: impl FnOnce(&Pairs, StreamId) + Send + 'static) -> (Pairs, Peer) {
        let multiplexer = multiplexer();
        let peer = Peer::new(&multiplexer, A);
        let (handle, id) = (multiplexer.clone(), peer.id);
        peer.stream.on(Moment::Poll, move || {
            change(&handle, id);
            drop(handle);
            panic_any(Bang);
        });
        bang(|| multiplexer.try_recv(A));
        assert_gone(&multiplexer, &peer);
        (multiplexer, peer)
    }

    #[test]
    fn moved() {
        let (multiplexer, peer) = panic_after(|multiplexer, id| {
            multiplexer.change_stream_channel(id, B).unwrap();
        });
        assert_eq!(events(&multiplexer, A), [(peer.id, Moved(B))]);
        assert_eq!(events(&multiplexer, B), [(peer.id, Removed)]);
        assert_eq!(multiplexer.channel_len(B), Some(0));
    }

    #[test]
    fn moved_to_a_channel_with_a_sleeping_receiver() {
        let multiplexer = multiplexer();
        let peer = Peer::new(&multiplexer, A);
        let mut sleeper = multiplexer.receiver(B).unwrap();
        let (wakes, waker) = Wakes::new();
        assert_eq!(poll_with(&mut sleeper, &waker), Poll::Pending);
        let (handle, id) = (multiplexer.clone(), peer.id);
        peer.stream.on(Moment::Poll, move || {
            handle.change_stream_channel(id, B).unwrap();
            panic_any(Bang);
        });
        bang(|| multiplexer.try_recv(A));
        assert_eq!(wakes.take(), 1);
        assert_eq!(poll(&mut sleeper), Poll::Ready(Some((peer.id, Removed))));
    }

    #[test]
    fn moved_back() {
        let (multiplexer, peer) = panic_after(|multiplexer, id| {
            multiplexer.change_stream_channel(id, B).unwrap();
            multiplexer.change_stream_channel(id, A).unwrap();
        });
        let mut told = events(&multiplexer, A);
        told.sort_by_key(|(_, event)| *event == Removed);
        assert_eq!(told, [(peer.id, Moved(B)), (peer.id, Removed)]);
        assert_eq!(events(&multiplexer, B), [(peer.id, Moved(A))]);
    }

    #[test]
    fn removed() {
        let (multiplexer, peer) = panic_after(|multiplexer, id| drop(multiplexer.remove_stream(id)));
        assert_eq!(events(&multiplexer, A), [(peer.id, Removed)]);
    }

    #[test]
    fn whose_channel_was_removed() {
        let (multiplexer, _) = panic_after(|multiplexer, _| drop(multiplexer.remove_channel(A)));
        multiplexer.add_channel(A).unwrap();
        assert_goes_on(&multiplexer, &Peer::new(&multiplexer, A));
    }

    #[test]
    fn moved_to_a_channel_that_was_removed() {
        let (multiplexer, peer) = panic_after(|multiplexer, id| {
            multiplexer.change_stream_channel(id, B).unwrap();
            drop(multiplexer.remove_channel(B));
        });
        assert_eq!(events(&multiplexer, A), [(peer.id, Moved(B))]);
    }

    #[test]
    fn whose_multiplexer_was_closed() {
        let (multiplexer, peer) = panic_after(|multiplexer, _| multiplexer.close());
        let mut receiver = multiplexer.receiver(A).unwrap();
        assert_eq!(poll(&mut receiver), Poll::Ready(Some((peer.id, Removed))));
        assert_eq!(poll(&mut receiver), Poll::Ready(None));
    }
}

mod sinks {
    use super::*;

    /// `use_sink` reaches the moment at which the sink of `peer` panics.
    fn assert_costs_that_pair_alone<R>(moment: Moment, use_sink: impl FnOnce(&Pairs, StreamId) -> R) {
        let multiplexer = multiplexer();
        let [peer, other] = [Peer::new(&multiplexer, A), Peer::new(&multiplexer, A)];
        peer.sink.panic_on(moment);
        bang(|| use_sink(&multiplexer, peer.id));
        assert_gone(&multiplexer, &peer);
        assert_eq!(multiplexer.channel_len(A), Some(1));
        assert_eq!(events(&multiplexer, A), [(peer.id, Removed)]);
        assert_goes_on(&multiplexer, &other);
    }

    const IN_A_SEND: [Moment; 3] = [Moment::Ready, Moment::StartSend, Moment::Flush];

    #[test]
    fn that_panic_in_send_one() {
        for moment in IN_A_SEND {
            assert_costs_that_pair_alone(moment, |multiplexer, id| now(multiplexer.send_one(id, 1)));
        }
    }

    #[test]
    fn that_panic_in_send() {
        for moment in IN_A_SEND {
            assert_costs_that_pair_alone(moment, |multiplexer, id| {
                now(multiplexer.send([id], 1).map(Sent::into_vec))
            });
        }
    }

    #[test]
    fn that_panic_in_a_sender() {
        for moment in IN_A_SEND {
            assert_costs_that_pair_alone(moment, |multiplexer, id| {
                let mut sender = multiplexer.sender(id).unwrap();
                now(sender.send(1))
            });
        }
    }

    #[test]
    fn that_panic_in_close_stream() {
        assert_costs_that_pair_alone(Moment::Close, |multiplexer, id| {
            now(multiplexer.close_stream::<u32>(id))
        });
    }

    #[test]
    fn wake_senders_that_wait_for_them() {
        let multiplexer = multiplexer();
        let peer = Peer::with_room(&multiplexer, A, 0);
        let (wakes, waker) = Wakes::new();
        let mut waiting = multiplexer.send_one(peer.id, 1);
        assert!(poll_future(&mut waiting, &waker).is_pending());
        peer.sink.panic_on(Moment::Ready);
        bang(|| now(multiplexer.send_one(peer.id, 2)));
        assert_eq!(wakes.take(), 1);
        let unknown = SendError::UnknownStream(peer.id);
        assert_eq!(poll_future(&mut waiting, &waker), Poll::Ready(Err(unknown)));
    }

    /// The pair is gone, and the sink exists only for the sends in flight.
    #[test]
    fn wake_senders_that_wait_for_them_after_the_stream_ended() {
        let multiplexer = multiplexer();
        let peer = Peer::with_room(&multiplexer, A, 0);
        let (wakes, waker) = Wakes::new();
        let mut panics = multiplexer.send_one(peer.id, 1);
        let mut waiting = multiplexer.send_one(peer.id, 2);
        assert!(poll_future(&mut panics, Waker::noop()).is_pending());
        assert!(poll_future(&mut waiting, &waker).is_pending());
        peer.feed.end();
        assert_eq!(events(&multiplexer, A), [(peer.id, Ended)]);
        assert!(poll_future(&mut waiting, &waker).is_pending());
        wakes.take();
        peer.sink.panic_on(Moment::Ready);
        bang(|| poll_future(&mut panics, Waker::noop()));
        assert_eq!(wakes.take(), 1);
        assert!(peer.is_dropped());
        let unknown = SendError::UnknownStream(peer.id);
        assert_eq!(poll_future(&mut waiting, &waker), Poll::Ready(Err(unknown)));
    }

    #[test]
    fn wake_receivers_of_their_stream() {
        let multiplexer = multiplexer();
        let peer = Peer::new(&multiplexer, A);
        let mut receiver = multiplexer.receiver(A).unwrap();
        let (wakes, waker) = Wakes::new();
        assert_eq!(poll_with(&mut receiver, &waker), Poll::Pending);
        peer.sink.panic_on(Moment::Ready);
        bang(|| now(multiplexer.send_one(peer.id, 2)));
        assert_eq!(wakes.take(), 1);
        assert_eq!(poll(&mut receiver), Poll::Ready(Some((peer.id, Removed))));
    }

    #[test]
    fn among_many_leave_the_others_what_they_had() {
        let multiplexer = multiplexer();
        let peers: Vec<_> = (0..3).map(|_| Peer::new(&multiplexer, A)).collect();
        peers[1].sink.panic_on(Moment::StartSend);
        let ids: Vec<_> = peers.iter().map(|peer| peer.id).collect();
        bang(|| now(multiplexer.send(ids.clone(), 1).map(Sent::into_vec)));
        assert_gone(&multiplexer, &peers[1]);
        let sent = now(multiplexer.send(ids.clone(), 2).map(Sent::into_vec));
        assert_eq!(sent, [Ok(ids[0]), Err(SendError::UnknownStream(ids[1])), Ok(ids[2])]);
        assert_eq!(peers[0].keeper.take_items(), [1, 2]);
        assert_eq!(peers[2].keeper.take_items().last(), Some(&2));
    }

    /// A broadcast that waits for several sinks continues when it is polled again.
    #[test]
    fn that_panic_later_leave_the_broadcast_to_the_others() {
        let multiplexer = multiplexer();
        let peers: Vec<_> = (0..3).map(|_| Peer::with_room(&multiplexer, A, 0)).collect();
        let ids: Vec<_> = peers.iter().map(|peer| peer.id).collect();
        let mut send = multiplexer.send(ids.clone(), 1).map(Sent::into_vec);
        let (wakes, waker) = Wakes::new();
        assert!(poll_future(&mut send, &waker).is_pending());
        peers[1].sink.panic_on(Moment::Ready);
        peers.iter().for_each(|peer| peer.keeper.make_room(1));
        assert_ne!(wakes.take(), 0);
        bang(|| poll_future(&mut send, &waker));
        let sent = vec![Ok(ids[0]), Err(SendError::UnknownStream(ids[1])), Ok(ids[2])];
        assert_eq!(poll_future(&mut send, &waker), Poll::Ready(sent));
        assert_eq!((peers[0].keeper.take_items(), peers[2].keeper.take_items()), (vec![1], vec![1]));
    }
}

mod drops {
    use super::*;

    #[test]
    fn of_a_stream_that_ended() {
        let multiplexer = multiplexer();
        let [peer, other] = [Peer::new(&multiplexer, A), Peer::new(&multiplexer, A)];
        peer.feed.push(1);
        peer.feed.end();
        peer.stream.panic_on(Moment::Drop);
        assert_eq!(multiplexer.try_recv(A), Ok((peer.id, Some(1))));
        bang(|| multiplexer.try_recv(A));
        assert_eq!(events(&multiplexer, A), [(peer.id, Ended)]);
        assert_gone(&multiplexer, &peer);
        assert_goes_on(&multiplexer, &other);
    }

    #[test]
    fn of_the_sink_of_a_stream_that_ended() {
        let multiplexer = multiplexer();
        let [peer, other] = [Peer::new(&multiplexer, A), Peer::new(&multiplexer, A)];
        peer.feed.end();
        peer.sink.panic_on(Moment::Drop);
        bang(|| multiplexer.try_recv(A));
        assert_eq!(events(&multiplexer, A), [(peer.id, Ended)]);
        assert_gone(&multiplexer, &peer);
        assert_goes_on(&multiplexer, &other);
    }

    /// The last stream of a closed channel: its end is reported before the end of the channel.
    #[test]
    fn of_the_last_stream() {
        let multiplexer = multiplexer();
        let peer = Peer::new(&multiplexer, A);
        let mut receiver = multiplexer.receiver(A).unwrap();
        multiplexer.close();
        peer.feed.end();
        peer.stream.panic_on(Moment::Drop);
        bang(|| poll(&mut receiver));
        assert_eq!(poll(&mut receiver), Poll::Ready(Some((peer.id, Ended))));
        assert_eq!(poll(&mut receiver), Poll::Ready(None));
    }

    #[test]
    fn of_a_stream_that_ended_where_it_was_moved_in_that_poll() {
        let multiplexer = multiplexer();
        let peer = Peer::new(&multiplexer, A);
        peer.feed.end();
        let (handle, id) = (multiplexer.clone(), peer.id);
        peer.stream.on(Moment::Poll, move || handle.change_stream_channel(id, B).unwrap());
        peer.stream.panic_on(Moment::Drop);
        bang(|| multiplexer.try_recv(A));
        assert_eq!(events(&multiplexer, A), [(peer.id, Moved(B))]);
        assert_eq!(events(&multiplexer, B), [(peer.id, Ended)]);
        assert_gone(&multiplexer, &peer);
    }

    #[test]
    fn of_a_stream_that_was_removed_in_its_poll() {
        for item in [None, Some(1)] {
            let multiplexer = multiplexer();
            let [peer, other] = [Peer::new(&multiplexer, A), Peer::new(&multiplexer, A)];
            item.into_iter().for_each(|item| peer.feed.push(item));
            let (handle, id) = (multiplexer.clone(), peer.id);
            peer.stream.on(Moment::Poll, move || drop(handle.remove_stream(id)));
            peer.stream.panic_on(Moment::Drop);
            if item.is_some() {
                // The item is received first.
                assert_eq!(multiplexer.try_recv(A), Ok((peer.id, item)));
            }
            bang(|| multiplexer.try_recv(A));
            assert_eq!(events(&multiplexer, A), [(peer.id, Removed)]);
            assert_gone(&multiplexer, &peer);
            assert_goes_on(&multiplexer, &other);
        }
    }

    #[test]
    fn of_all_that_is_in_a_multiplexer() {
        let multiplexer = multiplexer();
        let peers = [Peer::new(&multiplexer, A), Peer::new(&multiplexer, A), Peer::new(&multiplexer, B)];
        for peer in &peers {
            peer.stream.panic_on(Moment::Drop);
            peer.sink.panic_on(Moment::Drop);
        }
        bang(|| drop(multiplexer));
        assert!(peers.iter().all(Peer::is_dropped));
    }

    /// A receiver that fell asleep while the end was found receives the end.
    #[test]
    fn of_a_stream_that_ended_while_another_fell_asleep() {
        let multiplexer = multiplexer();
        let peer = Peer::new(&multiplexer, A);
        let sleeper = Arc::new(Mutex::new(multiplexer.receiver(A).unwrap()));
        let (wakes, waker) = Wakes::new();
        let falls_asleep = Arc::clone(&sleeper);
        peer.stream.on(Moment::Poll, move || {
            assert_eq!(poll_with(&mut *falls_asleep.lock().unwrap(), &waker), Poll::Pending);
        });
        peer.feed.end();
        peer.stream.panic_on(Moment::Drop);
        bang(|| multiplexer.try_recv(A));
        assert_eq!(wakes.take(), 1);
        assert_eq!(poll(&mut *sleeper.lock().unwrap()), Poll::Ready(Some((peer.id, Ended))));
    }

    #[test]
    fn of_a_sink_that_panicked() {
        let multiplexer = multiplexer();
        let [peer, other] = [Peer::new(&multiplexer, A), Peer::new(&multiplexer, A)];
        peer.sink.panic_on(Moment::Ready);
        peer.sink.panic_on(Moment::Drop);
        bang(|| now(multiplexer.send_one(peer.id, 1)));
        assert_eq!(events(&multiplexer, A), [(peer.id, Removed)]);
        assert_gone(&multiplexer, &peer);
        assert_goes_on(&multiplexer, &other);
    }

    #[test]
    fn of_the_sink_after_the_last_send_in_flight() {
        let multiplexer = multiplexer();
        let [peer, other] = [Peer::with_room(&multiplexer, A, 0), Peer::new(&multiplexer, A)];
        let mut send = multiplexer.send_one(peer.id, 1);
        assert!(poll_future(&mut send, Waker::noop()).is_pending());
        peer.feed.end();
        assert_eq!(events(&multiplexer, A), [(peer.id, Ended)]);
        peer.sink.panic_on(Moment::Drop);
        peer.keeper.make_room(1);
        bang(|| poll_future(&mut send, Waker::noop()));
        assert_eq!(peer.keeper.take_items(), [1]);
        assert!(peer.is_dropped());
        assert_goes_on(&multiplexer, &other);
    }

    #[test]
    fn of_the_sink_when_it_was_closed() {
        let multiplexer = multiplexer();
        let [peer, other] = [Peer::new(&multiplexer, A), Peer::new(&multiplexer, A)];
        peer.sink.panic_on(Moment::Drop);
        bang(|| now(multiplexer.close_stream::<u32>(peer.id)));
        assert_gone(&multiplexer, &peer);
        assert_eq!(events(&multiplexer, A), [(peer.id, Removed)]);
        assert_goes_on(&multiplexer, &other);
    }

    #[test]
    fn of_the_stream_when_its_sink_was_closed() {
        let multiplexer = multiplexer();
        let [peer, other] = [Peer::new(&multiplexer, A), Peer::new(&multiplexer, A)];
        peer.stream.panic_on(Moment::Drop);
        bang(|| now(multiplexer.close_stream::<u32>(peer.id)));
        assert_gone(&multiplexer, &peer);
        assert_eq!(events(&multiplexer, A), [(peer.id, Removed)]);
        assert_goes_on(&multiplexer, &other);
    }

    #[test]
    fn of_the_sink_that_was_removed_in_its_poll() {
        let multiplexer = multiplexer();
        let [peer, other] = [Peer::new(&multiplexer, A), Peer::new(&multiplexer, A)];
        let (handle, id) = (multiplexer.clone(), peer.id);
        peer.sink.on(Moment::Ready, move || drop(handle.remove_stream(id)));
        peer.sink.panic_on(Moment::Drop);
        bang(|| now(multiplexer.send_one(peer.id, 1)));
        assert_gone(&multiplexer, &peer);
        assert_eq!(events(&multiplexer, A), [(peer.id, Removed)]);
        assert_goes_on(&multiplexer, &other);
    }

    /// The remaining handles and receivers are not affected.
    #[test]
    fn of_a_task_that_waited() {
        struct Task;

        impl Wake for Task {
            fn wake(self: Arc<Self>) {}
        }

        impl Drop for Task {
            fn drop(&mut self) {
                panic_any(Bang);
            }
        }

        let multiplexer = multiplexer();
        let peer = Peer::new(&multiplexer, A);
        let mut receiver = multiplexer.receiver(A).unwrap();
        let task = Waker::from(Arc::new(Task));
        assert_eq!(poll_with(&mut receiver, &task), Poll::Pending);
        drop(task);
        // The task that waits now replaces it.
        let (wakes, waker) = Wakes::new();
        bang(|| poll_with(&mut receiver, &waker));
        assert_eq!(poll_with(&mut receiver, &waker), Poll::Pending);
        assert_goes_on(&multiplexer, &peer);
        assert_ne!(wakes.take(), 0);

        let task = Waker::from(Arc::new(Task));
        let mut recv = multiplexer.recv(A);
        assert!(poll_future(&mut recv, &task).is_pending());
        drop(task);
        bang(|| drop(recv));
        assert_goes_on(&multiplexer, &peer);
    }

    /// A second panic would abort the process.
    #[test]
    fn of_a_task_whose_future_is_dropped_by_a_panic() {
        let multiplexer = multiplexer();
        let peer = Peer::new(&multiplexer, A);
        let full = Peer::with_room(&multiplexer, A, 0);
        let panic = catch_unwind(AssertUnwindSafe(|| {
            let mut receiver = multiplexer.receiver(A).unwrap();
            let mut send = multiplexer.send_one(full.id, 1);
            let task = hooked_waker(&{
                let hooks = Hooks::default();
                hooks.panic_on(Moment::Drop);
                hooks
            });
            assert!(poll_with(&mut receiver, &task).is_pending());
            assert!(poll_future(&mut send, &task).is_pending());
            drop(task);
            panic_any("the first");
        }));
        assert_eq!(panic.unwrap_err().downcast_ref(), Some(&"the first"));
        assert_goes_on(&multiplexer, &peer);
    }
}

/// The waker of a task panics. The panic propagates to the code that woke; all other tasks are woken, and the operation is
/// completed.
mod wakers {
    use super::*;

    struct Task;

    impl Wake for Task {
        fn wake(self: Arc<Self>) {
            panic_any(Bang);
        }
    }

    fn panicking() -> Waker {
        Waker::from(Arc::new(Task))
    }

    /// `happens` wakes the tasks that wait at these channels, although the waker of another task at `A` panics.
    fn assert_wakes_the_others(at: &[ChannelId], happens: impl FnOnce(&Pairs, &Peer)) {
        let multiplexer = multiplexer();
        let peer = Peer::new(&multiplexer, A);
        let mut panics = multiplexer.receiver(A).unwrap();
        assert_eq!(poll_with(&mut panics, &panicking()), Poll::Pending);
        let (wakes, waker) = Wakes::new();
        let mut sleepers = Vec::new();
        for channel in at {
            let mut sleeper = multiplexer.receiver(*channel).unwrap();
            assert_eq!(poll_with(&mut sleeper, &waker), Poll::Pending);
            sleepers.push(sleeper);
        }
        bang(|| happens(&multiplexer, &peer));
        assert_eq!(wakes.take(), at.len());
        assert!(poll(&mut sleepers[0]).is_ready());
    }

    #[test]
    fn when_an_item_comes() {
        assert_wakes_the_others(&[A, A], |_, peer| peer.feed.push(1));
    }

    #[test]
    fn when_a_stream_is_added() {
        assert_wakes_the_others(&[A, A], |multiplexer, _| {
            let (feed, stream) = pipe();
            feed.push(1);
            let stream = Hooked { inner: stream, hooks: Hooks::default() };
            let sink = Hooked { inner: gate(0).1, hooks: Hooks::default() };
            drop(multiplexer.add_stream_pair(sink, stream, A));
        });
    }

    #[test]
    fn when_a_stream_is_moved() {
        assert_wakes_the_others(&[A, B], |multiplexer, peer| {
            multiplexer.change_stream_channel(peer.id, B).unwrap();
        });
    }

    #[test]
    fn when_a_stream_is_removed() {
        assert_wakes_the_others(&[A], |multiplexer, peer| drop(multiplexer.remove_stream(peer.id)));
    }

    #[test]
    fn when_the_channel_is_removed() {
        assert_wakes_the_others(&[A], |multiplexer, _| drop(multiplexer.remove_channel(A)));
    }

    /// This ends the flushers.
    #[test]
    fn when_the_last_pair_leaves_with_its_channel() {
        let multiplexer = multiplexer();
        let _peer = Peer::new(&multiplexer, A);
        multiplexer.close();
        let mut flusher = multiplexer.flusher::<u32>();
        let mut sleeper = multiplexer.receiver(A).unwrap();
        let mut drained = multiplexer.drained(A);
        let (wakes, waker) = Wakes::new();
        assert!(poll_with(&mut flusher, &panicking()).is_pending());
        assert!(poll_with(&mut sleeper, &waker).is_pending());
        assert!(poll_future(&mut drained, &waker).is_pending());
        bang(|| multiplexer.remove_channel(A));
        assert_eq!(wakes.take(), 2);
        assert_eq!(poll(&mut sleeper), Poll::Ready(None));
        assert_eq!(now(drained), Ok(()));
    }

    #[test]
    fn when_the_multiplexer_is_closed() {
        let multiplexer = multiplexer();
        let mut panics = multiplexer.receiver(A).unwrap();
        let mut sleeper = multiplexer.receiver(B).unwrap();
        let (wakes, waker) = Wakes::new();
        assert_eq!(poll_with(&mut panics, &panicking()), Poll::Pending);
        assert_eq!(poll_with(&mut sleeper, &waker), Poll::Pending);
        bang(|| multiplexer.close());
        assert_eq!(wakes.take(), 1);
        assert_eq!((poll(&mut panics), poll(&mut sleeper)), (Poll::Ready(None), Poll::Ready(None)));
    }

    /// A send that waits for the sink of a removed pair does not wait forever.
    #[test]
    fn when_a_pair_is_removed_its_senders_are_woken() {
        for remove in [
            |multiplexer: &Pairs, id| drop(multiplexer.remove_stream(id)),
            |multiplexer: &Pairs, _| drop(multiplexer.remove_channel(A)),
        ] {
            let multiplexer = multiplexer();
            let peer = Peer::with_room(&multiplexer, A, 0);
            let (wakes, waker) = Wakes::new();
            let mut send = multiplexer.send_one(peer.id, 1);
            assert!(poll_future(&mut send, &waker).is_pending());
            let mut panics = multiplexer.receiver(A).unwrap();
            assert_eq!(poll_with(&mut panics, &panicking()), Poll::Pending);
            bang(|| remove(&multiplexer, peer.id));
            assert_eq!(wakes.take(), 1);
            let unknown = SendError::UnknownStream(peer.id);
            assert_eq!(poll_future(&mut send, &waker), Poll::Ready(Err(unknown)));
            assert!(peer.is_dropped());
        }
    }

    /// In the poll of the stream, an action runs first. After that, a receiver falls asleep whose waker panics.
    fn fall_asleep_in_its_poll(
        multiplexer: &Pairs,
        peer: &Peer,
        first: impl FnOnce(&Pairs, StreamId) + Send + 'static,
    ) {
        let mut panics = multiplexer.receiver(A).unwrap();
        let (handle, id) = (multiplexer.clone(), peer.id);
        peer.stream.on(Moment::Poll, move || {
            first(&handle, id);
            assert_eq!(poll_with(&mut panics, &panicking()), Poll::Pending);
            // A dropped receiver would not be woken.
            std::mem::forget(panics);
        });
    }

    /// The stream arrives in the channel to which it was moved.
    #[test]
    fn when_a_stream_was_moved_in_its_poll() {
        let multiplexer = multiplexer();
        let peer = Peer::new(&multiplexer, A);
        fall_asleep_in_its_poll(&multiplexer, &peer, |multiplexer, id| {
            multiplexer.change_stream_channel(id, B).unwrap();
        });
        bang(|| multiplexer.try_recv(A));
        assert_eq!(multiplexer.channel_of(peer.id), Some(B));
        assert_eq!(events(&multiplexer, A), [(peer.id, Moved(B))]);
        peer.feed.push(1);
        assert_eq!(events(&multiplexer, B), [(peer.id, Item(1))]);
    }

    /// No task sleeps in the channel to which it was moved.
    #[test]
    fn when_a_stream_ended_where_it_was_moved_in_that_poll() {
        let multiplexer = multiplexer();
        let peer = Peer::new(&multiplexer, A);
        let mut sleeper = multiplexer.receiver(B).unwrap();
        let (wakes, waker) = Wakes::new();
        assert_eq!(poll_with(&mut sleeper, &waker), Poll::Pending);
        peer.feed.end();
        fall_asleep_in_its_poll(&multiplexer, &peer, |multiplexer, id| {
            multiplexer.change_stream_channel(id, B).unwrap();
        });
        bang(|| multiplexer.try_recv(A));
        assert_eq!(wakes.take(), 1);
        assert_eq!(poll(&mut sleeper), Poll::Ready(Some((peer.id, Ended))));
        assert_gone(&multiplexer, &peer);
    }

    /// The end that was found is reported.
    #[test]
    fn when_the_last_stream_of_a_closed_channel_ended() {
        let multiplexer = multiplexer();
        let peer = Peer::new(&multiplexer, A);
        multiplexer.close();
        fall_asleep_in_its_poll(&multiplexer, &peer, |_, _| {});
        peer.feed.end();
        bang(|| multiplexer.try_recv(A));
        assert!(peer.is_dropped());
        assert_eq!(events(&multiplexer, A), [(peer.id, Ended)]);
    }

    #[test]
    fn when_a_sink_is_ready() {
        let multiplexer = multiplexer();
        let peer = Peer::with_room(&multiplexer, A, 0);
        let mut panics = multiplexer.send_one(peer.id, 1);
        let mut waits = multiplexer.send_one(peer.id, 2);
        let (wakes, waker) = Wakes::new();
        assert!(poll_future(&mut panics, &panicking()).is_pending());
        assert!(poll_future(&mut waits, &waker).is_pending());
        bang(|| peer.keeper.make_room(2));
        assert_eq!(wakes.take(), 1);
        assert_eq!(poll_future(&mut waits, &waker), Poll::Ready(Ok(())));
        assert_eq!(poll_future(&mut panics, &waker), Poll::Ready(Ok(())));
    }

    #[test]
    fn when_a_sink_panics() {
        let multiplexer = multiplexer();
        let peer = Peer::with_room(&multiplexer, A, 0);
        let mut panics = multiplexer.send_one(peer.id, 1);
        assert!(poll_future(&mut panics, &panicking()).is_pending());
        peer.sink.panic_on(Moment::Ready);
        bang(|| now(multiplexer.send_one(peer.id, 2)));
        assert_eq!(events(&multiplexer, A), [(peer.id, Removed)]);
        assert_gone(&multiplexer, &peer);
    }

    #[test]
    fn when_a_stream_panics() {
        let multiplexer = multiplexer();
        let peer = Peer::new(&multiplexer, A);
        fall_asleep_in_its_poll(&multiplexer, &peer, |_, _| panic_any(Bang));
        bang(|| multiplexer.try_recv(A));
        assert_eq!(events(&multiplexer, A), [(peer.id, Removed)]);
        assert_gone(&multiplexer, &peer);
    }

    /// The item is received first.
    #[test]
    fn when_there_is_more() {
        let multiplexer = multiplexer();
        let peer = Peer::new(&multiplexer, A);
        fall_asleep_in_its_poll(&multiplexer, &peer, |_, _| {});
        peer.feed.push(1);
        peer.feed.push(2);
        assert_eq!(multiplexer.try_recv(A), Ok((peer.id, Some(1))));
        bang(|| multiplexer.try_recv(A));
        assert_eq!(multiplexer.try_recv(A), Ok((peer.id, Some(2))));
    }

    /// The receiver of a task that is polled in its waker, and falls asleep again there.
    struct Restless {
        receiver: Mutex<Option<Receiver>>,
        received: Mutex<Vec<(StreamId, StreamEvent<u32>)>>,
        /// How many polls panicked.
        panicked: AtomicUsize,
        /// Whether each wake panics in the end.
        panics: bool,
    }

    type Receiver = ChannelReceiver<Hooked<Pipe<u32>>, Hooked<Gate<u32>>>;

    impl Restless {
        /// It falls asleep in the next poll of the stream.
        fn new(multiplexer: &Pairs, peer: &Peer, panics: bool) -> Arc<Self> {
            let receiver = Mutex::new(Some(multiplexer.receiver(A).unwrap()));
            let (received, panicked) = (Mutex::default(), AtomicUsize::new(0));
            let restless = Arc::new(Self { receiver, received, panicked, panics });
            let falls_asleep = Arc::clone(&restless);
            peer.stream.on(Moment::Poll, move || falls_asleep.poll());
            restless
        }

        fn poll(self: &Arc<Self>) {
            let Some(mut receiver) = self.receiver.lock().unwrap().take() else { return };
            let waker = Waker::from(Arc::clone(self));
            let polled = catch_unwind(AssertUnwindSafe(|| {
                while let Poll::Ready(Some(event)) = poll_with(&mut receiver, &waker) {
                    self.received.lock().unwrap().push(event);
                }
            }));
            self.panicked.fetch_add(usize::from(polled.is_err()), SeqCst);
            *self.receiver.lock().unwrap() = Some(receiver);
        }
    }

    impl Wake for Restless {
        fn wake(self: Arc<Self>) {
            self.poll();
            assert!(!self.panics, "as the test wants");
        }
    }

    /// The drop of a stream that has ended panics, so the end is reported later: to a task that was woken before and found
    /// nothing.
    #[test]
    fn when_a_drop_panics_and_one_is_polled_in_its_waker() {
        let multiplexer = multiplexer();
        let peer = Peer::new(&multiplexer, A);
        let restless = Restless::new(&multiplexer, &peer, false);
        peer.feed.end();
        peer.stream.panic_on(Moment::Drop);
        bang(|| multiplexer.try_recv(A));
        assert_eq!(*restless.received.lock().unwrap(), [(peer.id, Ended)]);
        drop(restless.receiver.lock().unwrap().take());
    }

    /// The waker panics, and again when it is woken for this panic. The item is not lost, and the first panic is received.
    #[test]
    fn when_there_is_more_and_again_for_that_panic() {
        let multiplexer = multiplexer();
        let peer = Peer::new(&multiplexer, A);
        let restless = Restless::new(&multiplexer, &peer, true);
        peer.feed.push(1);
        assert_eq!(multiplexer.try_recv(A), Ok((peer.id, Some(1))));
        assert_eq!(restless.panicked.load(SeqCst), 1);
        drop(restless.receiver.lock().unwrap().take());
        assert_goes_on(&multiplexer, &peer);
    }

    /// Two tasks sleep in a closed channel. The first is polled in its waker: it receives an item, removes the stream,
    /// and receives the departure, which ends the channel. The end wakes the second task, whose waker panics.
    #[test]
    fn when_the_last_departure_is_received() {
        struct InPlace {
            multiplexer: Pairs,
            receiver: Mutex<Option<Receiver>>,
            received: Mutex<Vec<(StreamId, StreamEvent<u32>)>>,
        }

        impl Wake for InPlace {
            fn wake(self: Arc<Self>) {
                let Some(mut receiver) = self.receiver.lock().unwrap().take() else { return };
                while let Poll::Ready(Some((id, event))) = poll(&mut receiver) {
                    self.received.lock().unwrap().push((id, event));
                    drop(self.multiplexer.remove_stream(id));
                }
            }
        }

        let multiplexer = multiplexer();
        let peer = Peer::new(&multiplexer, A);
        let [mut first, mut second] = [(); 2].map(|()| multiplexer.receiver(A).unwrap());
        multiplexer.close();
        let in_place = Arc::new(InPlace {
            multiplexer: multiplexer.clone(),
            receiver: Mutex::default(),
            received: Mutex::default(),
        });
        assert!(poll_with(&mut first, &Waker::from(Arc::clone(&in_place))).is_pending());
        assert!(poll_with(&mut second, &panicking()).is_pending());
        *in_place.receiver.lock().unwrap() = Some(first);
        bang(|| peer.feed.push(1));
        assert_eq!(*in_place.received.lock().unwrap(), [(peer.id, Item(1)), (peer.id, Removed)]);
        assert_eq!(poll(&mut second), Poll::Ready(None));
    }

    /// A panic that was not received is dropped with the channel. If the drop of its payload panics, that panic is
    /// suppressed, and the pairs are returned.
    #[test]
    fn with_what_panics_when_it_is_dropped_unreceived() {
        struct Payload;

        impl Drop for Payload {
            fn drop(&mut self) {
                panic_any(Bang);
            }
        }

        struct Task;

        impl Wake for Task {
            fn wake(self: Arc<Self>) {
                panic_any(Payload);
            }
        }

        let multiplexer = multiplexer();
        let peer = Peer::new(&multiplexer, A);
        let mut asleep = multiplexer.receiver(A).unwrap();
        peer.stream.on(Moment::Poll, move || {
            assert!(poll_with(&mut asleep, &Waker::from(Arc::new(Task))).is_pending());
            std::mem::forget(asleep);
        });
        peer.feed.push(1);
        peer.feed.push(2);
        assert_eq!(multiplexer.try_recv(A), Ok((peer.id, Some(1))));
        let pairs = multiplexer.remove_channel(A).unwrap();
        assert_eq!(pairs.iter().map(|pair| pair.id).collect::<Vec<_>>(), [peer.id]);
        assert!(pairs[0].stream.is_some() && pairs[0].sink.is_some());
    }

    #[test]
    fn the_others_are_woken_whichever_waker_panics() {
        let multiplexer = multiplexer();
        let mut receivers: Vec<_> = (0..4).map(|_| multiplexer.receiver(A).unwrap()).collect();
        let (wakes, waker) = Wakes::new();
        for receiver in &mut receivers[..3] {
            assert!(poll_with(receiver, &panicking()).is_pending());
        }
        assert!(poll_with(&mut receivers[3], &waker).is_pending());
        bang(|| multiplexer.close());
        assert_eq!(wakes.take(), 1);
    }
}

/// Wakers of tasks that send. A panic in a waker removes no pair. A send that is polled again continues, and reports
/// correctly what happened to its item.
mod wakers_of_senders {
    use super::*;

    #[derive(Clone, Copy, Debug, PartialEq)]
    enum By {
        SendOne,
        Send,
        /// To a second stream, too.
        SendToMany,
        Sender,
        Close,
    }

    const WAYS: [By; 5] = [By::SendOne, By::Send, By::SendToMany, By::Sender, By::Close];

    type Sending = LocalBoxFuture<'static, Result<(), SendError<Broken>>>;

    struct Scene {
        by: By,
        multiplexer: &'static Pairs,
        peer: Peer,
        other: Peer,
    }

    /// A pair whose sink has no room and does not close, and another pair.
    fn in_each_way(test: impl Fn(&Scene)) {
        for by in WAYS {
            println!("by {by:?}");
            let multiplexer = Box::leak(Box::new(multiplexer()));
            let [peer, other] = [0, 0].map(|room| Peer::with_room(multiplexer, A, room));
            peer.keeper.set_closes(false);
            test(&Scene { by, multiplexer, peer, other });
        }
    }

    impl Scene {
        fn send(&self) -> Sending {
            let (multiplexer, id, other) = (self.multiplexer, self.peer.id, self.other.id);
            let first = |sent: Sent<_>| sent.into_vec().swap_remove(0).map(drop);
            match self.by {
                By::SendOne => multiplexer.send_one(id, 5).boxed_local(),
                By::Send => multiplexer.send([id], 5).map(first).boxed_local(),
                By::SendToMany => multiplexer.send([id, other], 5).map(first).boxed_local(),
                By::Sender => {
                    let mut sender = multiplexer.sender(id).unwrap();
                    let mut is_fed = false;
                    // Not an `async` block, which cannot be polled after a panic.
                    let send = move |cx: &mut Context<'_>| {
                        if !is_fed {
                            ready!(sender.poll_ready_unpin(cx))?;
                            is_fed = true;
                            sender.start_send_unpin(5)?;
                        }
                        sender.poll_flush_unpin(cx)
                    };
                    poll_fn(send).boxed_local()
                }
                By::Close => multiplexer.close_stream::<u32>(id).boxed_local(),
            }
        }

        /// From now on the operation can complete.
        fn go_on(&self) {
            self.peer.keeper.make_room(1);
            self.peer.keeper.set_closes(true);
            self.other.keeper.make_room(1);
        }

        fn assert_stays(&self) {
            assert_eq!(self.multiplexer.channel_of(self.peer.id), Some(A));
            assert!(!self.peer.is_dropped());
        }

        /// The operation completes, and happened once.
        fn assert_done(&self, mut sending: Sending) {
            assert_eq!(poll_future(&mut sending, Waker::noop()), Poll::Ready(Ok(())));
            if self.by == By::Close {
                assert!(self.peer.keeper.is_closed() || self.peer.is_dropped());
                assert_eq!(self.multiplexer.channel_of(self.peer.id), None);
            } else {
                assert_eq!(self.peer.keeper.take_items(), [5]);
                self.assert_stays();
            }
        }
    }

    #[test]
    fn that_panic_when_they_are_cloned() {
        in_each_way(|scene| {
            let mut sending = scene.send();
            let hooks = Hooks::default();
            let waker = hooked_waker(&hooks);
            for _ in 0..2 {
                hooks.panic_on(Moment::Clone);
                bang(|| poll_future(&mut sending, &waker));
                scene.assert_stays();
            }
            scene.go_on();
            scene.assert_done(sending);
        });
    }

    /// The drop of a replaced waker.
    #[test]
    fn that_panic_when_they_are_dropped() {
        in_each_way(|scene| {
            let mut sending = scene.send();
            let hooks = Hooks::default();
            let waker = hooked_waker(&hooks);
            assert_eq!(poll_future(&mut sending, &waker), Poll::Pending);
            drop(waker);
            hooks.panic_on(Moment::Drop);
            bang(|| poll_future(&mut sending, Waker::noop()));
            scene.assert_stays();
            scene.go_on();
            scene.assert_done(sending);
        });
    }

    /// The sink is dropped with the rest when the multiplexer has released it.
    #[test]
    fn that_panic_when_the_sender_is_dropped() {
        in_each_way(|scene| {
            let mut sending = scene.send();
            let hooks = Hooks::default();
            let waker = hooked_waker(&hooks);
            assert_eq!(poll_future(&mut sending, &waker), Poll::Pending);
            drop(waker);
            hooks.panic_on(Moment::Drop);
            bang(|| drop(sending));
            scene.assert_stays();
            drop(scene.multiplexer.remove_stream(scene.peer.id));
            assert!(scene.peer.is_dropped());
        });
    }

    /// Another task found the sink busy, and was woken when the poll of the sink returned.
    #[test]
    fn that_panic_when_the_sink_is_back() {
        in_each_way(|scene| {
            let moment = if scene.by == By::Close { Moment::Close } else { Moment::Flush };
            let misses = Arc::new(Mutex::new(scene.multiplexer.send_one(scene.peer.id, 7)));
            let missing = Arc::clone(&misses);
            scene.go_on();
            scene.peer.sink.on(moment, move || {
                let hooks = Hooks::default();
                hooks.panic_on(Moment::Wake);
                assert!(poll_future(&mut *missing.lock().unwrap(), &hooked_waker(&hooks)).is_pending());
            });
            let mut sending = scene.send();
            bang(|| poll_future(&mut sending, Waker::noop()));
            if scene.by == By::Close {
                assert_gone(scene.multiplexer, &scene.peer);
            } else {
                scene.assert_stays();
            }
            scene.assert_done(sending);
        });
    }

    /// The same if the task waits among others: it keeps its place after the panic.
    #[test]
    fn that_panic_when_the_sink_is_back_after_a_wait() {
        in_each_way(|scene| {
            let mut sending = scene.send();
            assert_eq!(poll_future(&mut sending, Waker::noop()), Poll::Pending);
            let moment = if scene.by == By::Close { Moment::Close } else { Moment::Flush };
            let misses = Arc::new(Mutex::new(scene.multiplexer.send_one(scene.peer.id, 7)));
            let missing = Arc::clone(&misses);
            scene.go_on();
            scene.peer.sink.on(moment, move || {
                let hooks = Hooks::default();
                hooks.panic_on(Moment::Wake);
                assert!(poll_future(&mut *missing.lock().unwrap(), &hooked_waker(&hooks)).is_pending());
            });
            bang(|| poll_future(&mut sending, Waker::noop()));
            scene.assert_done(sending);
        });
    }

    /// Waiting tasks are woken when the closing begins.
    #[test]
    fn that_panic_when_a_stream_is_closed() {
        in_each_way(|scene| {
            if scene.by == By::Close {
                return;
            }
            let mut waits = scene.send();
            let hooks = Hooks::default();
            hooks.panic_on(Moment::Wake);
            assert_eq!(poll_future(&mut waits, &hooked_waker(&hooks)), Poll::Pending);
            let mut closing = scene.multiplexer.close_stream::<u32>(scene.peer.id);
            bang(|| poll_future(&mut closing, Waker::noop()));
            scene.assert_stays();
            scene.peer.keeper.set_closes(true);
            assert_eq!(poll_future(&mut closing, Waker::noop()), Poll::Ready(Ok(())));
            assert_gone(scene.multiplexer, &scene.peer);
        });
    }
}

/// The sinks behind it receive the item, whether they are ready or not.
#[test]
fn a_broadcast_reaches_those_behind_a_sink_that_panics() {
    for room in [1, 0] {
        let multiplexer = multiplexer();
        let peers: Vec<_> = (0..80).map(|_| Peer::with_room(&multiplexer, A, room)).collect();
        let ids: Vec<_> = peers.iter().map(|peer| peer.id).collect();
        let panics = [3, 40];
        let mut sending = multiplexer.send(ids.clone(), 7).map(Sent::into_vec);
        if room == 0 {
            assert!(poll_future(&mut sending, Waker::noop()).is_pending());
        }
        panics.iter().for_each(|&at| peers[at].sink.panic_on(Moment::Ready));
        peers.iter().for_each(|peer| peer.keeper.make_room(1));
        let results = loop {
            let polled = catch_unwind(AssertUnwindSafe(|| poll_future(&mut sending, Waker::noop())));
            if let Ok(Poll::Ready(results)) = polled {
                break results;
            }
        };
        for (at, (result, peer)) in results.into_iter().zip(&peers).enumerate() {
            let panicked = panics.contains(&at);
            let expected = if panicked { Err(SendError::UnknownStream(peer.id)) } else { Ok(peer.id) };
            assert_eq!((result, peer.keeper.take_items().len()), (expected, usize::from(!panicked)), "{at}");
        }
    }
}

/// Also sinks whose turn would have come in a later poll, because a task that panicked is not polled again.
#[test]
fn a_broadcast_that_is_not_polled_again_reaches_those_behind_a_sink_that_panics() {
    let multiplexer = multiplexer();
    let peers: Vec<_> = (0..200).map(|_| Peer::with_room(&multiplexer, A, 1)).collect();
    let ids: Vec<_> = peers.iter().map(|peer| peer.id).collect();
    [3, 63, 150].iter().for_each(|&at| peers[at].sink.panic_on(Moment::Ready));
    bang(|| poll_future(&mut multiplexer.send(&ids, 7), Waker::noop()));
    let without: Vec<_> = (0..200).filter(|at| peers[*at].keeper.take_items().is_empty()).collect();
    assert_eq!(without, [3, 63, 150]);
}

/// No sink takes the item, because the stream is unknown. The results of the other sinks are still reported.
#[test]
fn a_broadcast_whose_item_panics_when_it_is_dropped() {
    #[derive(Clone)]
    struct Parcel(#[allow(dead_code, reason = "for its drop")] Arc<Grenade>);

    struct Grenade(Hooks);

    impl Drop for Grenade {
        fn drop(&mut self) {
            self.0.run(Moment::Drop);
        }
    }

    let multiplexer = Multiplexer::<Pipe<()>, Drain>::new();
    multiplexer.add_channel(A).unwrap();
    let [id, gone] = [(); 2].map(|()| multiplexer.add_stream_pair(Drain, pipe().1, A).unwrap());
    multiplexer.remove_stream(gone);
    let hooks = Hooks::default();
    hooks.panic_on(Moment::Drop);
    let mut sending = multiplexer.send([id, gone], Parcel(Arc::new(Grenade(hooks))));
    bang(|| poll_future(&mut sending, Waker::noop()));
    let sent = poll_future(&mut sending, Waker::noop()).map(Sent::into_vec);
    assert_eq!(sent, Poll::Ready(vec![Ok(id), Err(SendError::UnknownStream(gone))]));
}

/// If a clone of the item panics for one sink, the item is sent to all other sinks.
#[test]
fn a_broadcast_reaches_those_for_whom_the_item_could_be_cloned() {
    struct Parcel(Arc<Mutex<usize>>, usize);

    impl Clone for Parcel {
        fn clone(&self) -> Self {
            let mut clones = self.0.lock().unwrap();
            *clones += 1;
            let clone = *clones;
            drop(clones);
            if clone == self.1 {
                panic_any(Bang);
            }
            Self(Arc::clone(&self.0), self.1)
        }
    }

    // At the beginning and the end of a batch of lookups or polls, and in the middle.
    for panics_at in [0, 7, 31, 32, 63, 64, 95] {
        let multiplexer = Multiplexer::<Pipe<()>, Gate<Parcel>>::new();
        multiplexer.add_channel(A).unwrap();
        let (keepers, gates): (Vec<_>, Vec<_>) = (0..100).map(|_| gate(1)).unzip();
        let ids: Vec<_> =
            gates.into_iter().map(|gate| multiplexer.add_stream_pair(gate, pipe().1, A).unwrap()).collect();
        let mut sending = multiplexer.send(&ids, Parcel(Arc::default(), panics_at + 1));
        let sent = loop {
            if let Ok(Poll::Ready(sent)) =
                catch_unwind(AssertUnwindSafe(|| poll_future(&mut sending, Waker::noop())))
            {
                break sent;
            }
        };
        for (at, (result, keeper)) in sent.iter().zip(&keepers).enumerate() {
            assert_eq!(
                (result.is_ok(), keeper.take_items().len()),
                (at != panics_at, usize::from(at != panics_at))
            );
        }
    }
}
