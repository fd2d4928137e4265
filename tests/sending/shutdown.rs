//! Shutdown: no more streams are admitted, every sink is flushed and closed at its own pace, and no slow sink delays
//! another.

use crate::support;
use futures::{FutureExt, SinkExt};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::mpsc;
use std::task::{Poll, Waker};
use std::thread;
use stream_multiplexer::StreamEvent::{self, Ended, Item, Removed};
use stream_multiplexer::{
    ChannelOptions, Multiplexer, MultiplexerError, SendError, Share, Shutdown, StreamId,
};
use support::hooked::{Hooked, Hooks, Moment};
use support::{Broken, Feed, Gate, Gatekeeper, Pipe, Wakes, finishes, gate, pipe, poll, poll_future, run};

const CHANNEL: usize = 1;

type Pairs<Si = Gate<u32>> = Multiplexer<Pipe<u32>, Si>;
type Failures = Vec<SendError<Broken>>;

const DONE: Poll<Failures> = Poll::Ready(Vec::new());

/// The test's access to a pair.
struct Peer {
    id: StreamId,
    feed: Feed<u32>,
    gate: Gatekeeper<u32>,
}

impl Peer {
    fn is_gone(&self) -> bool {
        self.feed.is_dropped() && self.gate.is_dropped()
    }

    fn failed(&self) -> SendError<Broken> {
        SendError::Sink { id: self.id, error: Broken }
    }
}

fn multiplexer<Si>() -> Pairs<Si> {
    let multiplexer = Multiplexer::new();
    multiplexer.add_channel(CHANNEL).unwrap();
    multiplexer
}

/// A pair whose sink has room for some items.
fn add(multiplexer: &Pairs) -> Peer {
    let (gate, sink) = gate(10);
    let (feed, stream) = pipe();
    let id = multiplexer.add_stream_pair(sink, stream, CHANNEL).unwrap();
    Peer { id, feed, gate }
}

/// A pair whose sink does not close yet.
fn add_slow(multiplexer: &Pairs) -> Peer {
    let peer = add(multiplexer);
    peer.gate.set_closes(false);
    peer
}

fn scene(pairs: usize) -> (Pairs, Vec<Peer>) {
    let multiplexer = multiplexer();
    let peers = (0..pairs).map(|_| add(&multiplexer)).collect();
    (multiplexer, peers)
}

/// Returns all events of the channel that are available now.
fn events<Si>(multiplexer: &Pairs<Si>) -> Vec<(StreamId, StreamEvent<u32>)> {
    let mut receiver = multiplexer.receiver(CHANNEL).unwrap();
    let mut events = Vec::new();
    while let Poll::Ready(Some(event)) = poll(&mut receiver) {
        events.push(event);
    }
    events
}

fn poll_once<F: Future + Unpin>(future: &mut F) -> Poll<F::Output> {
    poll_future(future, Waker::noop())
}

/// Polls until the shutdown has polled all sinks, and waits for a sink instead of yielding.
fn settle(shutdown: &mut Shutdown<'_, Pipe<u32>, Gate<u32>, u32>) {
    let (wakes, waker) = Wakes::new();
    loop {
        assert_eq!(poll_future(shutdown, &waker), Poll::Pending);
        if wakes.take() == 0 {
            return;
        }
    }
}

fn pending(shutdown: &Shutdown<'_, Pipe<u32>, Gate<u32>, u32>) -> Vec<StreamId> {
    let mut pending: Vec<_> = shutdown.pending().collect();
    pending.sort_unstable();
    pending
}

mod all {
    use super::*;

    #[test]
    fn sinks_are_flushed_and_closed_and_their_pairs_are_removed() {
        let (multiplexer, peers) = scene(200);
        peers.iter().for_each(|peer| multiplexer.try_send(peer.id, 1).unwrap());
        let mut shutdown = multiplexer.shutdown::<u32>();
        assert_eq!(run(&mut shutdown), []);
        assert_eq!((shutdown.closed(), shutdown.pending().count()), (200, 0));
        for peer in &peers {
            assert!(peer.gate.is_closed() && peer.is_gone());
            assert_eq!(peer.gate.take_items(), [1]);
        }
        let removed: Vec<_> = peers.iter().map(|peer| (peer.id, Removed)).collect();
        let mut reported = events(&multiplexer);
        reported.sort_unstable_by_key(|(id, _)| *id);
        assert_eq!(reported, removed);
        assert_eq!(multiplexer.drained(CHANNEL).now_or_never(), Some(Ok(())));
    }

    #[test]
    fn channels_are_closed_to_newcomers_by_the_first_poll() {
        let (multiplexer, peers) = scene(1);
        peers[0].gate.set_closes(false);
        let mut shutdown = multiplexer.shutdown::<u32>();
        assert!(!multiplexer.is_closed(), "nothing happens before");
        assert_eq!(pending(&shutdown), [peers[0].id]);
        assert_eq!(poll_once(&mut shutdown), Poll::Pending);
        assert!(multiplexer.is_closed());
        let refused = multiplexer.add_stream(pipe().1, CHANNEL).unwrap_err();
        assert_eq!(refused.reason(), MultiplexerError::Closed);
    }

    /// The pairs are in 200 slots, of which some are vacant: so sinks are found in groups of 10 and of 32.
    #[test]
    fn are_closed_64_in_one_poll_wherever_they_are() {
        let (multiplexer, peers) = scene(200);
        peers[10..64].iter().for_each(|peer| assert!(multiplexer.discard_stream(peer.id)));
        let mut shutdown = multiplexer.shutdown::<u32>();
        let (wakes, waker) = Wakes::new();
        for closed in [64, 128] {
            assert_eq!(poll_future(&mut shutdown, &waker), Poll::Pending);
            assert_eq!((shutdown.closed(), wakes.take()), (closed, 1));
        }
        assert_eq!(poll_future(&mut shutdown, &waker), DONE);
        assert_eq!(shutdown.closed(), 146);
    }

    /// One poll visits at most 64 times 64 slots.
    #[test]
    fn are_found_behind_many_vacant_slots() {
        let (multiplexer, peers) = scene(5_000);
        peers[..4_999].iter().for_each(|peer| assert!(multiplexer.discard_stream(peer.id)));
        let mut shutdown = multiplexer.shutdown::<u32>();
        let (wakes, waker) = Wakes::new();
        assert_eq!((poll_future(&mut shutdown, &waker), wakes.take()), (Poll::Pending, 1));
        assert_eq!(poll_future(&mut shutdown, &waker), DONE);
        assert_eq!((shutdown.closed(), wakes.take()), (1, 0));
    }

    #[test]
    fn of_none_it_is_done() {
        assert_eq!(multiplexer::<Gate<u32>>().shutdown::<u32>().now_or_never(), Some(vec![]));
        let closed = multiplexer::<Gate<u32>>();
        closed.close();
        assert_eq!(closed.shutdown::<u32>().now_or_never(), Some(vec![]));
    }

    #[test]
    fn streams_without_a_sink_stay() {
        let (multiplexer, peers) = scene(1);
        let (feed, stream) = pipe();
        let id = multiplexer.add_stream(stream, CHANNEL).unwrap();
        assert_eq!(multiplexer.shutdown::<u32>().now_or_never(), Some(vec![]));
        assert!(peers[0].is_gone());
        assert_eq!(events(&multiplexer), [(peers[0].id, Removed)]);
        feed.push(1);
        feed.end();
        assert_eq!(events(&multiplexer), [(id, Item(1)), (id, Ended)]);
    }

    #[test]
    fn pairs_that_stay_after_their_stream_has_ended_are_closed() {
        let multiplexer = Multiplexer::new();
        multiplexer.add_channel_with(CHANNEL, ChannelOptions::new().half_close(true)).unwrap();
        let peer = add(&multiplexer);
        peer.feed.end();
        assert_eq!(events(&multiplexer), [(peer.id, Ended)]);
        assert!(!peer.gate.is_dropped());
        assert_eq!(multiplexer.shutdown::<u32>().now_or_never(), Some(vec![]));
        assert!(peer.gate.is_closed() && peer.is_gone());
    }

    /// Pairs are removed whose sinks were closed before, and which were kept for their streams.
    #[test]
    fn pairs_with_closed_and_failed_sinks_are_removed() {
        let (multiplexer, peers) = scene(2);
        assert_eq!(multiplexer.close_sink::<u32>(peers[0].id).now_or_never(), Some(Ok(())));
        peers[1].gate.fail();
        assert!(multiplexer.try_send(peers[1].id, 1).is_err());
        let failures = multiplexer.shutdown::<u32>().now_or_never();
        assert_eq!(failures, Some(vec![SendError::Closed(peers[1].id)]));
        assert!(peers.iter().all(Peer::is_gone));
    }
}

mod a_slow_sink {
    use super::*;

    #[test]
    fn does_not_delay_others() {
        for slow_at in [0, 63, 64, 199] {
            let (multiplexer, peers) = scene(200);
            peers[slow_at].gate.set_closes(false);
            let mut shutdown = multiplexer.shutdown::<u32>();
            settle(&mut shutdown);
            assert_eq!((pending(&shutdown), shutdown.closed()), (vec![peers[slow_at].id], 199));
            assert!(peers.iter().enumerate().all(|(at, peer)| (at == slow_at) != peer.is_gone()));
            peers[slow_at].gate.set_closes(true);
            assert_eq!(poll_once(&mut shutdown), DONE);
            assert!(peers[slow_at].gate.is_closed() && peers[slow_at].is_gone());
        }
    }

    #[test]
    fn is_received_from_until_its_sink_is_closed() {
        let multiplexer = multiplexer();
        let peer = add_slow(&multiplexer);
        let mut shutdown = multiplexer.shutdown::<u32>();
        settle(&mut shutdown);
        peer.feed.push(5);
        assert_eq!(events(&multiplexer), [(peer.id, Item(5))]);
    }

    #[test]
    fn is_known_after_a_deadline_and_can_be_removed() {
        let (multiplexer, peers) = scene(150);
        let slow: Vec<_> = peers.iter().step_by(3).collect();
        slow.iter().for_each(|peer| peer.gate.set_closes(false));
        let mut shutdown = multiplexer.shutdown::<u32>();
        settle(&mut shutdown);
        assert_eq!(pending(&shutdown), slow.iter().map(|peer| peer.id).collect::<Vec<_>>());
        let pairs: Vec<_> = shutdown.pending().filter_map(|id| multiplexer.remove_stream(id)).collect();
        assert!(pairs.iter().all(|pair| pair.sink.is_some() && pair.stream.is_some()));
        assert_eq!((pairs.len(), multiplexer.channel_len(CHANNEL)), (50, Some(0)));
        drop(pairs);
        assert!(peers.iter().all(Peer::is_gone));

        // Their sinks were not closed, and the result shows that.
        let failures = run(&mut shutdown);
        assert_eq!((failures.len(), shutdown.closed()), (50, 100));
        assert!(failures.iter().all(|failure| matches!(failure, SendError::UnknownStream(_))));
    }

    /// The deadline passes before the shutdown has polled all sinks.
    #[test]
    fn includes_those_whose_turn_has_not_come() {
        let (multiplexer, peers) = scene(200);
        let mut shutdown = multiplexer.shutdown::<u32>();
        assert_eq!(poll_once(&mut shutdown), Poll::Pending);
        let closed = shutdown.closed();
        assert!((1..=64).contains(&closed), "{closed} in one poll");
        let left: Vec<_> = peers.iter().filter(|peer| !peer.is_gone()).map(|peer| peer.id).collect();
        assert_eq!((left.len(), pending(&shutdown)), (200 - closed, left));
    }
}

mod a_wake {
    use super::*;

    #[test]
    fn polls_only_the_sink_that_it_is_for() {
        let multiplexer = multiplexer();
        let peers: Vec<_> = (0..1_000).map(|_| add_slow(&multiplexer)).collect();
        let mut shutdown = multiplexer.shutdown::<u32>();
        settle(&mut shutdown);
        peers
            .iter()
            .for_each(|peer| assert!(peer.gate.take_polls() <= 2, "tried once, and once as it waits"));
        let (wakes, waker) = Wakes::new();
        assert_eq!(poll_future(&mut shutdown, &waker), Poll::Pending);
        for peer in peers.iter().step_by(7) {
            peer.gate.set_closes(true);
            assert_eq!(wakes.take(), 1);
            assert_eq!(poll_future(&mut shutdown, &waker), Poll::Pending);
            assert!(peer.is_gone());
        }
        assert_eq!(wakes.take(), 0, "it sleeps");
        let polls: usize = peers.iter().map(|peer| peer.gate.take_polls()).sum();
        assert_eq!(polls, 1_000_usize.div_ceil(7));
    }

    #[test]
    fn is_heard_by_the_task_that_polled_last() {
        let multiplexer = multiplexer();
        let peer = add_slow(&multiplexer);
        let mut shutdown = multiplexer.shutdown::<u32>();
        let [(first, first_waker), (second, second_waker)] = [(); 2].map(|()| Wakes::new());
        assert_eq!(poll_future(&mut shutdown, &first_waker), Poll::Pending);
        assert_eq!(poll_future(&mut shutdown, &second_waker), Poll::Pending);
        first.take();
        second.take();
        peer.gate.set_closes(true);
        assert_eq!((first.take(), second.take()), (0, 1));
        assert_eq!(poll_future(&mut shutdown, &second_waker), DONE);
    }

    #[test]
    fn of_many_together_closes_at_most_64_in_one_poll() {
        let multiplexer = multiplexer();
        let peers: Vec<_> = (0..320).map(|_| add_slow(&multiplexer)).collect();
        let mut shutdown = multiplexer.shutdown::<u32>();
        settle(&mut shutdown);
        peers.iter().for_each(|peer| peer.gate.set_closes(true));
        let (wakes, waker) = Wakes::new();
        for closed in [64, 128, 192, 256] {
            assert_eq!(poll_future(&mut shutdown, &waker), Poll::Pending);
            assert_eq!((shutdown.closed(), wakes.take()), (closed, 1));
        }
        assert_eq!(poll_future(&mut shutdown, &waker), DONE);
    }

    #[test]
    fn lets_go_of_a_task_that_is_over() {
        let multiplexer = multiplexer();
        let peer = add_slow(&multiplexer);
        let (wakes, waker) = Wakes::new();
        let mut shutdown = multiplexer.shutdown::<u32>();
        assert_eq!(poll_future(&mut shutdown, &waker), Poll::Pending);
        drop((shutdown, waker));
        wakes.take();
        peer.gate.set_closes(true);
        assert_eq!((wakes.take(), std::sync::Arc::strong_count(&wakes)), (0, 1));
    }
}

mod failures {
    use super::*;

    #[test]
    fn are_reported_at_the_end_and_affect_no_other_pair() {
        let (multiplexer, peers) = scene(5);
        peers[3].gate.set_closes(false);
        peers[1].gate.fail();
        let mut shutdown = multiplexer.shutdown::<u32>();
        settle(&mut shutdown);
        peers[3].gate.fail();
        let Poll::Ready(mut failures) = poll_once(&mut shutdown) else { panic!("it waits") };
        failures.sort_unstable_by_key(SendError::stream_id);
        assert_eq!(failures, [peers[1].failed(), peers[3].failed()]);
        assert_eq!(shutdown.closed(), 3);
        assert!(peers.iter().all(Peer::is_gone));
    }

    #[test]
    fn of_pairs_that_are_removed_during_the_shutdown() {
        let multiplexer = multiplexer();
        let peers = [(); 2].map(|()| add_slow(&multiplexer));
        let (wakes, waker) = Wakes::new();
        let mut shutdown = multiplexer.shutdown::<u32>();
        assert_eq!(poll_future(&mut shutdown, &waker), Poll::Pending);
        wakes.take();
        assert!(multiplexer.discard_stream(peers[0].id));
        assert_eq!(wakes.take(), 1);
        assert_eq!(poll_future(&mut shutdown, &waker), Poll::Pending);
        assert_eq!(pending(&shutdown), [peers[1].id]);
        assert!(multiplexer.discard_channel(CHANNEL));
        let unknown = peers.each_ref().map(|peer| SendError::UnknownStream(peer.id));
        assert_eq!(poll_future(&mut shutdown, &waker), Poll::Ready(unknown.to_vec()));
    }

    /// In the poll of the sink's first turn, and later.
    #[test]
    fn by_a_panic_cost_that_pair_alone() {
        let (multiplexer, peers) = scene(100);
        peers[50].gate.set_closes(false);
        peers[20].gate.panic();
        let mut shutdown = multiplexer.shutdown::<u32>();
        let panic = catch_unwind(AssertUnwindSafe(|| poll_once(&mut shutdown)));
        assert!(panic.is_err());
        assert!(peers[20].is_gone());
        settle(&mut shutdown);
        assert_eq!((pending(&shutdown), shutdown.closed()), (vec![peers[50].id], 98));
        peers[50].gate.panic();
        peers[50].gate.set_closes(true);
        assert!(catch_unwind(AssertUnwindSafe(|| poll_once(&mut shutdown))).is_err());
        assert!(peers.iter().all(Peer::is_gone));
        let unknown = [20, 50].map(|at: usize| SendError::UnknownStream(peers[at].id));
        assert_eq!(run(&mut shutdown), unknown);
        assert_eq!(events(&multiplexer).len(), 100);
    }

    #[test]
    #[should_panic(expected = "polled after completion")]
    fn polled_when_it_is_over() {
        let (multiplexer, _) = scene(1);
        let mut shutdown = multiplexer.shutdown::<u32>();
        assert_eq!(poll_once(&mut shutdown), DONE);
        let _ = poll_once(&mut shutdown);
    }
}

mod streams_that_are_kept {
    use super::*;

    #[test]
    fn are_received_from_until_they_end() {
        let (multiplexer, peers) = scene(3);
        assert_eq!(multiplexer.shutdown::<u32>().keep_streams().now_or_never(), Some(vec![]));
        assert!(peers.iter().all(|peer| peer.gate.is_closed() && peer.gate.is_dropped()));
        assert_eq!(multiplexer.channel_len(CHANNEL), Some(3));
        let drained = &mut multiplexer.drained(CHANNEL);
        for peer in &peers {
            assert_eq!(poll_once(drained), Poll::Pending);
            peer.feed.push(1);
            peer.feed.end();
            assert_eq!(events(&multiplexer), [(peer.id, Item(1)), (peer.id, Ended)]);
        }
        assert_eq!(poll_once(drained), Poll::Ready(Ok(())));
    }

    #[test]
    fn go_with_their_sink_if_they_have_ended() {
        let multiplexer = Multiplexer::new();
        multiplexer.add_channel_with(CHANNEL, ChannelOptions::new().half_close(true)).unwrap();
        let peer = add_slow(&multiplexer);
        peer.feed.end();
        assert_eq!(events(&multiplexer), [(peer.id, Ended)]);
        let mut shutdown = multiplexer.shutdown::<u32>().keep_streams();
        settle(&mut shutdown);
        assert_eq!(multiplexer.channel_len(CHANNEL), Some(1));
        peer.gate.set_closes(true);
        assert_eq!(poll_once(&mut shutdown), DONE);
        assert_eq!(multiplexer.channel_len(CHANNEL), Some(0));
    }

    #[test]
    fn stay_if_the_sink_fails() {
        let (multiplexer, peers) = scene(1);
        peers[0].gate.fail();
        let failures = multiplexer.shutdown::<u32>().keep_streams().now_or_never();
        assert_eq!(failures, Some(vec![peers[0].failed()]));
        assert_eq!(multiplexer.channel_len(CHANNEL), Some(1));
    }

    #[test]
    fn go_if_the_sink_panics() {
        let (multiplexer, peers) = scene(1);
        peers[0].gate.panic();
        let mut shutdown = multiplexer.shutdown::<u32>().keep_streams();
        assert!(catch_unwind(AssertUnwindSafe(|| poll_once(&mut shutdown))).is_err());
        assert!(peers[0].is_gone());
    }
}

/// What a dropped shutdown leaves.
mod cancelled {
    use super::*;

    #[test]
    fn before_its_first_poll_nothing_is_done() {
        let (multiplexer, peers) = scene(1);
        drop(multiplexer.shutdown::<u32>());
        assert!(!multiplexer.is_closed());
        assert_eq!(peers[0].gate.take_polls(), 0);
        assert_eq!(multiplexer.try_send(peers[0].id, 1), Ok(()));
    }

    #[test]
    fn nothing_is_sent_any_more_and_another_goes_on() {
        let multiplexer = multiplexer();
        let peers: Vec<_> = (0..200).map(|_| add_slow(&multiplexer)).collect();
        let mut shutdown = multiplexer.shutdown::<u32>();
        settle(&mut shutdown);
        drop(shutdown);
        for peer in &peers {
            assert_eq!(multiplexer.try_send(peer.id, 1), Err(stream_multiplexer::TrySendError::Closed(1)));
            peer.feed.push(7);
            peer.gate.set_closes(true);
        }
        assert_eq!(events(&multiplexer).len(), 200, "they are received from");
        let mut again = multiplexer.shutdown::<u32>();
        assert_eq!((run(&mut again), again.closed()), (vec![], 200));
        assert!(peers.iter().all(Peer::is_gone));
    }
}

/// Other tasks use the sinks at the same time.
mod beside {
    use super::*;

    #[test]
    fn another_shutdown_both_are_done() {
        let multiplexer = multiplexer();
        let peers: Vec<_> = (0..100).map(|_| add_slow(&multiplexer)).collect();
        let mut shutdowns = [(); 2].map(|()| multiplexer.shutdown::<u32>());
        for _ in 0..10 {
            for shutdown in &mut shutdowns {
                assert_eq!(poll_once(shutdown), Poll::Pending);
            }
        }
        peers.iter().for_each(|peer| peer.gate.set_closes(true));
        for mut shutdown in shutdowns {
            assert_eq!((run(&mut shutdown), shutdown.closed()), (vec![], 100));
        }
        assert_eq!(events(&multiplexer).len(), 100, "each is removed once");
    }

    #[test]
    fn another_that_keeps_streams_they_are_removed() {
        let (multiplexer, peers) = scene(1);
        assert_eq!(multiplexer.shutdown::<u32>().keep_streams().now_or_never(), Some(vec![]));
        assert_eq!(multiplexer.shutdown::<u32>().now_or_never(), Some(vec![]));
        assert!(peers[0].is_gone());
    }

    #[test]
    fn close_stream_and_close_sink_all_are_done() {
        let multiplexer = multiplexer();
        let peers = [(); 2].map(|()| add_slow(&multiplexer));
        let mut stream = multiplexer.close_stream::<u32>(peers[0].id);
        let mut sink = multiplexer.close_sink::<u32>(peers[1].id);
        let mut shutdown = multiplexer.shutdown::<u32>();
        assert_eq!(poll_once(&mut stream), Poll::Pending);
        assert_eq!(poll_once(&mut sink), Poll::Pending);
        settle(&mut shutdown);
        peers.iter().for_each(|peer| peer.gate.set_closes(true));
        assert_eq!(poll_once(&mut stream), Poll::Ready(Ok(())));
        assert_eq!(poll_once(&mut sink), Poll::Ready(Ok(())));
        assert_eq!((poll_once(&mut shutdown), shutdown.closed()), (DONE, 2));
        assert!(peers.iter().all(Peer::is_gone));
    }

    #[test]
    fn sends_in_flight_those_that_are_handed_over_are_flushed() {
        let multiplexer = multiplexer();
        let peer = add_slow(&multiplexer);
        peer.gate.set_flushes(false);
        let (full, sink) = gate(0);
        let full_id = multiplexer.add_stream_pair(sink, pipe().1, CHANNEL).unwrap();
        let mut handed_over = multiplexer.send_one(peer.id, 1);
        let mut waits = multiplexer.send_one(full_id, 2);
        assert_eq!(poll_once(&mut handed_over), Poll::Pending);
        assert_eq!(poll_once(&mut waits), Poll::Pending);
        let mut shutdown = multiplexer.shutdown::<u32>();
        settle(&mut shutdown);
        assert_eq!(poll_once(&mut waits), Poll::Ready(Err(SendError::Closed(full_id))));
        assert!(full.take_items().is_empty());
        peer.gate.set_closes(true);
        assert_eq!(poll_once(&mut shutdown), DONE);
        assert_eq!(poll_once(&mut handed_over), Poll::Ready(Ok(())), "closing flushes");
    }

    #[test]
    fn a_sender_it_is_closed() {
        let multiplexer = multiplexer();
        let peer = add_slow(&multiplexer);
        let mut sender = multiplexer.sender::<u32>(peer.id).unwrap();
        assert_eq!(sender.send(1).now_or_never(), Some(Ok(())));
        let mut shutdown = multiplexer.shutdown::<u32>();
        settle(&mut shutdown);
        assert_eq!(sender.send(2).now_or_never(), Some(Err(SendError::Closed(peer.id))));
        peer.gate.set_closes(true);
        assert_eq!(poll_once(&mut shutdown), DONE);
        assert_eq!(peer.gate.take_items(), [1]);
    }

    #[test]
    fn a_flusher_it_ends_with_the_last() {
        let multiplexer = multiplexer();
        let peer = add_slow(&multiplexer);
        peer.gate.set_flushes(false);
        let mut flusher = multiplexer.flusher::<u32>();
        multiplexer.try_send(peer.id, 1).unwrap();
        let mut shutdown = multiplexer.shutdown::<u32>();
        settle(&mut shutdown);
        assert_eq!(poll(&mut flusher), Poll::Pending);
        peer.gate.set_flushes(true);
        assert_eq!(poll(&mut flusher), Poll::Pending);
        assert_eq!(peer.gate.flushed(), 1);
        peer.gate.set_closes(true);
        assert_eq!(poll_once(&mut shutdown), DONE);
        assert_eq!(poll(&mut flusher), Poll::Ready(None));
    }

    #[test]
    fn a_select_it_ends_with_the_last() {
        let multiplexer = multiplexer();
        let peer = add_slow(&multiplexer);
        peer.gate.set_flushes(false);
        let mut select = multiplexer.select();
        select.add(CHANNEL, Share::new()).unwrap();
        multiplexer.try_send(peer.id, 1).unwrap();
        let mut shutdown = multiplexer.shutdown::<u32>();
        settle(&mut shutdown);
        peer.feed.push(5);
        assert_eq!(poll(&mut select), Poll::Ready(Some((CHANNEL, peer.id, Item(5)))));
        peer.gate.set_closes(true);
        assert_eq!(poll_once(&mut shutdown), DONE);
        assert_eq!(poll(&mut select), Poll::Ready(Some((CHANNEL, peer.id, Removed))));
        assert_eq!(poll(&mut select), Poll::Ready(None));
    }

    /// A sink whose closing is in progress is not returned.
    #[test]
    fn streams_that_end_their_sinks_are_closed() {
        let multiplexer = multiplexer();
        let peer = add_slow(&multiplexer);
        let mut shutdown = multiplexer.shutdown::<u32>();
        settle(&mut shutdown);
        peer.feed.end();
        assert_eq!(events(&multiplexer), [(peer.id, Ended)]);
        assert!(!peer.gate.is_dropped());
        peer.gate.set_closes(true);
        assert_eq!((poll_once(&mut shutdown), shutdown.closed()), (DONE, 1));
        assert!(peer.gate.is_closed() && peer.is_gone());
    }
}

/// From inside a sink's poll, and from other threads.
mod at_once {
    use super::*;

    fn hooked() -> (Pairs<Hooked<Gate<u32>>>, Hooks, StreamId) {
        let multiplexer = multiplexer();
        let hooks = Hooks::default();
        let sink = Hooked { inner: gate(1).1, hooks: hooks.clone() };
        let (feed, stream) = pipe();
        std::mem::forget(feed);
        let id = multiplexer.add_stream_pair(sink, stream, CHANNEL).unwrap();
        (multiplexer, hooks, id)
    }

    #[test]
    fn a_sink_that_shuts_down_as_it_is_closed() {
        finishes(|| {
            let (multiplexer, hooks, _) = hooked();
            let within = multiplexer.clone();
            hooks.on(Moment::Close, move || {
                let mut shutdown = within.shutdown::<u32>();
                assert_eq!(poll_once(&mut shutdown), Poll::Pending, "it is being polled");
                assert_eq!(shutdown.pending().count(), 1);
            });
            assert_eq!(run(multiplexer.shutdown::<u32>()), []);
        });
    }

    #[test]
    fn a_sink_that_removes_its_pair_as_it_is_closed() {
        finishes(|| {
            let (multiplexer, hooks, id) = hooked();
            let within = multiplexer.clone();
            hooks.on(Moment::Close, move || assert!(within.discard_stream(id)));
            // The sink was closed nevertheless.
            assert_eq!(run(multiplexer.shutdown::<u32>()), []);
            assert_eq!(multiplexer.channel_len(CHANNEL), Some(0));
        });
    }

    #[test]
    fn a_sink_that_another_thread_polls_is_waited_for() {
        finishes(|| {
            let (multiplexer, hooks, id) = hooked();
            let (entered, enters) = mpsc::channel();
            let (goes_on, go_on) = mpsc::channel::<()>();
            hooks.on(Moment::Ready, move || {
                entered.send(()).unwrap();
                go_on.recv().unwrap();
            });
            let (wakes, waker) = Wakes::new();
            let mut shutdown = multiplexer.shutdown::<u32>();
            thread::scope(|scope| {
                let sending = scope.spawn(|| multiplexer.send_one(id, 1).now_or_never());
                enters.recv().unwrap();
                assert_eq!(poll_future(&mut shutdown, &waker), Poll::Pending);
                wakes.take();
                goes_on.send(()).unwrap();
                assert_eq!(sending.join().unwrap(), Some(Ok(())));
            });
            assert_ne!(wakes.take(), 0);
            assert_eq!(poll_future(&mut shutdown, &waker), DONE);
        });
    }

    /// A receiver whose waker panics when a removal wakes it.
    #[test]
    fn a_task_whose_waker_panics_affects_nothing() {
        let (multiplexer, peers) = scene(3);
        let hooks = Hooks::default();
        hooks.panic_on(Moment::Wake);
        let mut receiver = multiplexer.receiver(CHANNEL).unwrap();
        let waker = support::raw_waker::hooked_waker(&hooks);
        assert!(support::poll_with(&mut receiver, &waker).is_pending());
        let mut shutdown = multiplexer.shutdown::<u32>();
        assert!(catch_unwind(AssertUnwindSafe(|| poll_once(&mut shutdown))).is_err());
        assert_eq!((run(&mut shutdown), shutdown.closed()), (vec![], 3));
        assert!(peers.iter().all(Peer::is_gone));
    }

    #[test]
    fn many_threads_shut_down_and_send() {
        const PAIRS: usize = 300;
        finishes(|| {
            let (multiplexer, peers) = scene(PAIRS);
            thread::scope(|scope| {
                for _ in 0..2 {
                    scope.spawn(|| {
                        let mut shutdown = multiplexer.shutdown::<u32>();
                        let failures = pollster::block_on(&mut shutdown);
                        assert_eq!(failures, []);
                    });
                }
                scope.spawn(|| {
                    for peer in &peers {
                        let _ = multiplexer.try_send(peer.id, 1);
                        let _ = pollster::block_on(multiplexer.send_one(peer.id, 2));
                    }
                });
            });
            assert!(peers.iter().all(|peer| peer.gate.is_closed() && peer.is_gone()));
        });
    }
}

/// Over real sockets.
mod over_tcp {
    use super::*;
    use futures::StreamExt;
    use std::time::Duration;
    use tokio::io::AsyncReadExt;
    use tokio::net::{TcpListener, TcpStream};
    use tokio::time::timeout;
    use tokio_util::bytes::Bytes;
    use tokio_util::codec::{BytesCodec, FramedRead, FramedWrite};

    const READERS: usize = 100;
    /// More than the kernel's buffers hold, so that a part stays in the sink.
    const MUCH: usize = 32 << 20;

    #[tokio::test]
    async fn a_peer_that_never_reads_holds_up_none_of_a_hundred_that_do() {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let multiplexer = Multiplexer::new();
        multiplexer.add_channel(CHANNEL).unwrap();
        let accept = async || {
            let client = TcpStream::connect(address).await.unwrap();
            let (reading, writing) = listener.accept().await.unwrap().0.into_split();
            let sink = FramedWrite::new(writing, BytesCodec::new());
            let stream = FramedRead::new(reading, BytesCodec::new());
            (multiplexer.add_stream_pair(sink, stream, CHANNEL).unwrap(), client)
        };
        let (never_reads, _client) = accept().await;
        multiplexer.try_send(never_reads, Bytes::from(vec![0; MUCH])).unwrap();
        let mut readers = Vec::new();
        for _ in 0..READERS {
            let (id, mut client) = accept().await;
            multiplexer.try_send(id, Bytes::from_static(b"good-bye")).unwrap();
            readers.push(tokio::spawn(async move {
                let mut heard = Vec::new();
                client.read_to_end(&mut heard).await.unwrap();
                heard
            }));
        }
        let mut shutdown = multiplexer.shutdown::<Bytes>();
        // The end of the readers is the deadline for the peer that never reads.
        let all_read = async {
            for reader in readers {
                assert_eq!(reader.await.unwrap(), b"good-bye");
            }
        };
        futures::select_biased! {
            failures = &mut shutdown => panic!("{failures:?}"),
            () = all_read.fuse() => {}
        }
        assert_eq!(shutdown.closed(), READERS);
        assert_eq!(shutdown.pending().collect::<Vec<_>>(), [never_reads]);
        for id in shutdown.pending() {
            assert!(multiplexer.remove_stream(id).is_some());
        }
        assert_eq!(multiplexer.channel_len(CHANNEL), Some(0));
    }

    /// No sent data is lost by a reset, although the peer keeps sending until it sees the end of the connection.
    #[tokio::test]
    async fn a_peer_that_talks_on_is_heard_out_when_its_stream_is_kept() {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let mut client = TcpStream::connect(listener.local_addr().unwrap()).await.unwrap();
        let (reading, writing) = listener.accept().await.unwrap().0.into_split();
        let multiplexer = Multiplexer::new();
        multiplexer.add_channel(CHANNEL).unwrap();
        let sink = FramedWrite::new(writing, BytesCodec::new());
        let stream = FramedRead::new(reading, BytesCodec::new());
        let id = multiplexer.add_stream_pair(sink, stream, CHANNEL).unwrap();
        let peer = tokio::spawn(async move {
            let (mut reading, mut writing) = client.split();
            let talk = async {
                while tokio::io::AsyncWriteExt::write_all(&mut writing, b"bla").await.is_ok() {
                    tokio::task::yield_now().await;
                }
            };
            let mut heard = Vec::new();
            tokio::select! {
                () = talk => panic!("it was reset"),
                read = reading.read_to_end(&mut heard) => read.unwrap(),
            }
        });
        multiplexer.try_send(id, Bytes::from(vec![0; MUCH])).unwrap();
        let mut receiver = multiplexer.receiver(CHANNEL).unwrap();
        let hear_out = async { while receiver.next().await.is_some() {} };
        let shutdown = multiplexer.shutdown::<Bytes>().keep_streams();
        let both = futures::future::join(shutdown, hear_out);
        let (failures, ()) = timeout(Duration::from_secs(60), both).await.expect("it hangs");
        assert!(failures.is_empty());
        assert_eq!(peer.await.unwrap(), MUCH);
    }
}
