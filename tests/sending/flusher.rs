//! Unflushed sinks, and the flusher.

use crate::{pairs, support};
use futures::executor::block_on;
use futures::stream::FusedStream;
use futures::{FutureExt, SinkExt, StreamExt};
use pairs::{CHANNEL, Pairs, Peer, add, hooked, pairs, unflushed};
use std::collections::HashSet;
use std::io::{Read, Write};
use std::net::{TcpListener, TcpStream};
use std::sync::{Arc, Mutex};
use std::task::Poll::{Pending, Ready};
use std::task::{Context, Waker};
use std::thread;
use stream_multiplexer::{ChannelOptions, Flusher, Multiplexer, MultiplexerError, SendError, TrySendError};
use support::hooked::{Hooks, Moment};
use support::raw_waker::hooked_waker;
use support::{Broken, Gate, Pipe, Wakes, finishes, poll, poll_future, poll_with};

/// Polls a flusher until it waits.
fn settle(flusher: &mut Flusher<Pipe<u32>, Gate<u32>, u32>, waker: &Waker) {
    (0..9).for_each(|_| assert_eq!(poll_with(flusher, waker), Pending));
}

mod a_flusher {
    use super::*;

    #[test]
    fn flushes_what_try_send_left() {
        let multiplexer = pairs();
        let mut flusher = multiplexer.flusher::<u32>();
        let (wakes, waker) = Wakes::new();
        settle(&mut flusher, &waker);
        let peer = unflushed(&multiplexer);
        assert_eq!(
            peer.gate.take_polls(),
            3,
            "is it ready, a flush, and another after it was noted who waits"
        );
        assert_eq!(wakes.take(), 0, "there is nothing to do before the sink wakes");
        peer.gate.set_flushes(true);
        assert_eq!(wakes.take(), 1, "the sink woke");
        assert_eq!(poll_with(&mut flusher, &waker), Pending);
        assert_eq!(peer.gate.flushed(), 1);
        peer.gate.take_polls();
        settle(&mut flusher, &waker);
        assert_eq!((peer.gate.take_polls(), wakes.take()), (0, 0), "it has nothing more to do");
    }

    /// All tokio sockets do this when the task's budget is used up. If the wake came before the flusher was registered,
    /// the sink has another turn.
    #[test]
    fn is_woken_for_a_sink_that_wakes_itself_as_it_is_flushed() {
        let (multiplexer, id, gate, hooks) = hooked();
        let mut flusher = multiplexer.flusher::<u32>();
        let (wakes, waker) = Wakes::new();
        assert_eq!(poll_with(&mut flusher, &waker), Pending);
        gate.set_flushes(false);
        let (first, second) = (gate.clone(), hooks.clone());
        hooks.on(Moment::Flush, move || second.on(Moment::Flush, move || first.make_room(0)));
        assert_eq!(multiplexer.try_send(id, 1), Ok(()));
        assert_eq!((gate.take_polls(), wakes.take()), (3, 1), "it woke in its second flush");
        assert_eq!(poll_with(&mut flusher, &waker), Pending);
        assert_eq!(gate.take_polls(), 1);
        gate.set_flushes(true);
        assert_eq!(wakes.take(), 1);
        assert_eq!(poll_with(&mut flusher, &waker), Pending);
        assert_eq!(gate.flushed(), 1);
    }

    #[test]
    fn that_meets_a_wait_in_flight_is_not_woken_for_it() {
        let multiplexer = pairs();
        let mut flusher = multiplexer.flusher::<u32>();
        let (wakes, waker) = Wakes::new();
        settle(&mut flusher, &waker);
        let peer = add(&multiplexer, 9);
        peer.gate.set_flushes(false);
        let mut send = multiplexer.send_one(peer.id, 1);
        assert_eq!(poll_future(&mut send, Waker::noop()), Pending);
        assert_eq!((peer.gate.take_polls(), wakes.take()), (2, 0), "it waits beside the send");
        drop(send);
        peer.gate.set_flushes(true);
        assert_eq!(wakes.take(), 1);
        settle(&mut flusher, &waker);
        assert_eq!(peer.gate.flushed(), 1);
    }

    /// A sink that has a place waits in that: a flush that is not complete is not tried again.
    #[test]
    fn costs_a_send_to_an_unflushed_sink_no_other_flush() {
        let multiplexer = pairs();
        let mut flusher = multiplexer.flusher::<u32>();
        let peer = unflushed(&multiplexer);
        settle(&mut flusher, Waker::noop());
        peer.gate.take_polls();
        multiplexer.try_send(peer.id, 2).unwrap();
        assert_eq!(peer.gate.take_polls(), 2, "whether it is ready, and the flush");
    }

    #[test]
    fn has_a_turn_for_what_no_flush_was_tried_for() {
        let multiplexer = pairs();
        let mut flusher = multiplexer.flusher::<u32>();
        let (wakes, waker) = Wakes::new();
        let peer = add(&multiplexer, 1);
        let mut sender = multiplexer.sender(peer.id).unwrap();
        sender.feed(1).now_or_never().unwrap().unwrap();
        settle(&mut flusher, &waker);
        // The send finds no room, and unflushed output whose sender promised a flush.
        assert_eq!(multiplexer.send_one(peer.id, 2).now_or_never(), None);
        assert_eq!(wakes.take(), 1);
        settle(&mut flusher, &waker);
        assert_eq!(peer.gate.flushed(), 1);
    }

    #[test]
    fn finds_what_was_left_before_it_was_made() {
        let multiplexer = pairs();
        let peers = [(); 100].map(|()| unflushed(&multiplexer));
        drop(multiplexer.flusher::<u32>());
        let mut flusher = multiplexer.flusher::<u32>();
        peers.iter().for_each(|peer| peer.gate.set_flushes(true));
        settle(&mut flusher, Waker::noop());
        peers.iter().for_each(|peer| assert_eq!(peer.gate.flushed(), 1));
    }

    #[test]
    fn flushes_what_try_feed_left() {
        let multiplexer = pairs();
        let mut flusher = multiplexer.flusher::<u32>();
        let peer = add(&multiplexer, 9);
        (0..3).for_each(|item| multiplexer.try_feed(peer.id, item).unwrap());
        assert_eq!(peer.gate.flushed(), 0);
        settle(&mut flusher, Waker::noop());
        assert_eq!(peer.gate.flushed(), 3);
    }

    #[test]
    fn flushes_what_a_sender_left_that_was_dropped() {
        let multiplexer = pairs();
        let mut flusher = multiplexer.flusher::<u32>();
        let peer = add(&multiplexer, 9);
        let mut sender = multiplexer.sender(peer.id).unwrap();
        sender.feed(1).now_or_never().unwrap().unwrap();
        settle(&mut flusher, Waker::noop());
        assert_eq!(peer.gate.flushed(), 0, "its sender is the one to flush it");
        drop(sender);
        settle(&mut flusher, Waker::noop());
        assert_eq!(peer.gate.flushed(), 1);
    }

    #[test]
    fn flushes_what_a_send_left_that_was_dropped() {
        let multiplexer = pairs();
        let mut flusher = multiplexer.flusher::<u32>();
        let [one, many] = [(); 2].map(|()| add(&multiplexer, 9));
        [&one, &many].into_iter().for_each(|peer| peer.gate.set_flushes(false));
        assert_eq!(multiplexer.send_one(one.id, 1).now_or_never(), None);
        assert_eq!(multiplexer.send([many.id, one.id], 2).now_or_never(), None);
        [&one, &many].into_iter().for_each(|peer| peer.gate.set_flushes(true));
        settle(&mut flusher, Waker::noop());
        assert_eq!((one.gate.flushed(), many.gate.flushed()), (2, 1));
    }

    #[test]
    fn polls_a_sink_when_that_woke_and_only_then() {
        let multiplexer = pairs();
        let mut flusher = multiplexer.flusher::<u32>();
        let peers = [(); 500].map(|()| unflushed(&multiplexer));
        let (wakes, waker) = Wakes::new();
        (0..50).for_each(|_| assert_eq!(poll_with(&mut flusher, &waker), Pending));
        peers.iter().for_each(|peer| _ = peer.gate.take_polls());
        wakes.take();
        peers[77].gate.set_flushes(false);
        assert_eq!(wakes.take(), 1);
        settle(&mut flusher, &waker);
        let polled: Vec<_> = (0..500).filter(|n| peers[*n].gate.take_polls() != 0).collect();
        assert_eq!(polled, [77]);
    }

    #[test]
    fn flushes_at_most_64_in_one_poll() {
        let multiplexer = pairs();
        let peers = [(); 200].map(|()| unflushed(&multiplexer));
        let mut flusher = multiplexer.flusher::<u32>();
        peers.iter().for_each(|peer| _ = peer.gate.take_polls());
        let (wakes, waker) = Wakes::new();
        for polled in [64, 64, 64, 8] {
            assert_eq!(poll_with(&mut flusher, &waker), Pending);
            assert_eq!(peers.iter().map(|peer| peer.gate.take_polls()).sum::<usize>(), polled);
            assert_eq!(wakes.take(), usize::from(polled == 64));
        }
    }

    #[test]
    fn yields_a_failure_once_and_affects_no_other_sink() {
        let multiplexer = pairs();
        let mut flushers = [(); 2].map(|()| multiplexer.flusher::<u32>());
        let peer = unflushed(&multiplexer);
        let mut send = multiplexer.send_one(peer.id, 2);
        assert_eq!(poll_future(&mut send, Waker::noop()), Pending);
        peer.gate.fail();
        assert_eq!(poll(&mut flushers[0]), Ready(Some((peer.id, Broken))));
        assert_eq!(poll(&mut flushers[0]), Pending);
        assert_eq!(poll(&mut flushers[1]), Pending);
        assert_eq!(send.now_or_never(), Some(Err(SendError::Unflushed(peer.id))));
    }

    #[test]
    fn lets_go_of_a_pair_that_is_gone() {
        let multiplexer = pairs();
        let mut flusher = multiplexer.flusher::<u32>();
        let ends: [fn(&Pairs, &Peer); 3] = [
            |multiplexer, peer| assert!(multiplexer.discard_stream(peer.id)),
            |multiplexer, _| assert!(multiplexer.discard_channel(CHANNEL)),
            |multiplexer, peer| {
                peer.feed.end();
                assert!(multiplexer.try_recv(CHANNEL).is_ok());
            },
        ];
        for end in ends {
            for is_polled in [false, true] {
                let _ = multiplexer.add_channel(CHANNEL);
                let peer = unflushed(&multiplexer);
                if is_polled {
                    settle(&mut flusher, Waker::noop());
                }
                end(&multiplexer, &peer);
                assert!(peer.gate.is_dropped(), "though nobody polled the flusher since");
                // The same for a sink whose closing is in progress, or was dropped.
                for is_dropped in [true, false] {
                    let _ = multiplexer.add_channel(CHANNEL);
                    let peer = unflushed(&multiplexer);
                    peer.gate.set_closes(false);
                    let mut close = multiplexer.close_sink::<u32>(peer.id);
                    assert_eq!(poll_future(&mut close, Waker::noop()), Pending);
                    if is_dropped {
                        drop(close);
                        end(&multiplexer, &peer);
                    } else {
                        end(&multiplexer, &peer);
                        assert!(poll_future(&mut close, Waker::noop()).is_ready() || !peer.gate.is_dropped());
                        drop(close);
                    }
                    assert!(peer.gate.is_dropped(), "it is nobody's");
                }
            }
        }
    }

    #[test]
    fn that_is_gone_leaves_nothing_behind() {
        let multiplexer = pairs();
        let peer = unflushed(&multiplexer);
        let mut flusher = multiplexer.flusher::<u32>();
        settle(&mut flusher, Waker::noop());
        drop(flusher);
        drop(multiplexer);
        assert!(peer.gate.is_dropped());
    }

    #[test]
    fn ends_with_the_last_pair_of_a_closed_multiplexer() {
        let multiplexer = pairs();
        let mut flusher = multiplexer.flusher::<u32>();
        let [one, two] = [(); 2].map(|()| unflushed(&multiplexer));
        multiplexer.close();
        let (wakes, waker) = Wakes::new();
        settle(&mut flusher, &waker);
        multiplexer.discard_stream(one.id);
        two.feed.end();
        two.gate.set_flushes(true);
        settle(&mut flusher, &waker);
        assert_eq!(two.gate.flushed(), 1);
        wakes.take();
        assert!(!flusher.is_terminated());
        (0..2).for_each(|_| assert!(multiplexer.recv(CHANNEL).now_or_never().unwrap().is_ok()));
        assert_eq!(wakes.take(), 1);
        assert_eq!(poll(&mut flusher), Ready(None));
        assert!(flusher.is_terminated());
        assert_eq!(poll(&mut flusher), Ready(None));
    }

    #[test]
    fn ends_when_an_empty_one_is_closed_or_its_handles_are_gone() {
        for close in [|multiplexer: Pairs| multiplexer.close(), drop] {
            let multiplexer = pairs();
            let mut flusher = multiplexer.flusher::<u32>();
            unflushed(&multiplexer);
            let (wakes, waker) = Wakes::new();
            multiplexer.discard_channel(CHANNEL);
            settle(&mut flusher, &waker);
            wakes.take();
            close(multiplexer);
            assert_eq!(wakes.take(), 1);
            assert_eq!(poll(&mut flusher), Ready(None));
        }
    }

    #[test]
    fn whose_sink_panics_loses_that_pair_alone() {
        let multiplexer = pairs();
        let mut flusher = multiplexer.flusher::<u32>();
        let [one, two] = [(); 2].map(|()| unflushed(&multiplexer));
        settle(&mut flusher, Waker::noop());
        one.gate.panic();
        let poll_it = std::panic::AssertUnwindSafe(|| poll(&mut flusher));
        assert!(std::panic::catch_unwind(poll_it).is_err());
        assert!(one.gate.is_dropped());
        assert_eq!(multiplexer.channel_of(one.id), None);
        two.gate.set_flushes(true);
        settle(&mut flusher, Waker::noop());
        assert_eq!(two.gate.flushed(), 1);
    }
}

/// A sender finds the sink busy with the flush, and its waker panics when the sink is back. The sink is not lost, and has
/// another turn. Another flusher, which fell asleep in the flush, is woken for that.
#[test]
fn a_waker_that_panics_costs_no_flush() {
    let (multiplexer, id, gate, hooks) = hooked();
    gate.set_flushes(false);
    multiplexer.try_send(id, 1).unwrap();
    let mut flusher = multiplexer.flusher::<u32>();
    assert_eq!(poll(&mut flusher), Pending);

    let other = Arc::new(Mutex::new(multiplexer.flusher::<u32>()));
    let sender = Arc::new(Mutex::new(multiplexer.sender::<u32>(id).unwrap()));
    let ((wakes, waker), task) = (Wakes::new(), Hooks::default());
    task.panic_on(Moment::Wake);
    let (falls_asleep, misses) = (Arc::clone(&other), Arc::clone(&sender));
    hooks.on(Moment::Flush, move || {
        assert_eq!(poll_with(&mut *falls_asleep.lock().unwrap(), &waker), Pending);
        let waker = hooked_waker(&task);
        let mut cx = Context::from_waker(&waker);
        assert!(misses.lock().unwrap().poll_ready_unpin(&mut cx).is_pending());
    });
    // It wakes.
    gate.set_flushes(false);
    assert!(std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| poll(&mut flusher))).is_err());
    assert_eq!(wakes.take(), 1);
    gate.set_flushes(true);
    assert_eq!(poll(&mut *other.lock().unwrap()), Pending);
    assert_eq!(gate.flushed(), 1);
}

/// Every flush flushes all output of the sink, whatever sent it.
mod every_flush {
    use super::*;

    /// Output that a dropped sender has fed.
    fn fed() -> (Pairs, Peer) {
        let multiplexer = pairs();
        let peer = add(&multiplexer, 9);
        let mut sender = multiplexer.sender(peer.id).unwrap();
        sender.feed(1).now_or_never().unwrap().unwrap();
        drop(sender);
        assert_eq!(peer.gate.flushed(), 0);
        (multiplexer, peer)
    }

    #[test]
    fn another_sender() {
        let (multiplexer, peer) = fed();
        let mut sender = multiplexer.sender::<u32>(peer.id).unwrap();
        peer.gate.set_flushes(false);
        assert_eq!(sender.flush().now_or_never(), None, "it says truthfully that it is not done");
        peer.gate.set_flushes(true);
        assert_eq!(sender.flush().now_or_never(), Some(Ok(())));
        assert_eq!(peer.gate.flushed(), 1);
        peer.gate.take_polls();
        assert_eq!(sender.flush().now_or_never(), Some(Ok(())));
        assert_eq!(peer.gate.take_polls(), 0, "nothing is unflushed");
    }

    #[test]
    fn another_send() {
        let (multiplexer, peer) = fed();
        assert_eq!(multiplexer.send_one(peer.id, 2).now_or_never(), Some(Ok(())));
        assert_eq!(peer.gate.flushed(), 2);
    }

    #[test]
    fn a_send_that_another_has_flushed_is_done() {
        let multiplexer = pairs();
        let peer = add(&multiplexer, 9);
        peer.gate.set_flushes(false);
        let mut send = multiplexer.send_one(peer.id, 1);
        assert_eq!(poll_future(&mut send, Waker::noop()), Pending);
        peer.gate.set_flushes(true);
        multiplexer.try_send(peer.id, 2).unwrap();
        peer.gate.take_polls();
        assert_eq!(send.now_or_never(), Some(Ok(())));
        assert_eq!(peer.gate.take_polls(), 0);
    }

    #[test]
    fn an_access_in_place_may_have_left_it_unflushed() {
        let multiplexer = pairs();
        let mut flusher = multiplexer.flusher::<u32>();
        let peer = add(&multiplexer, 9);
        multiplexer.with_sink(peer.id, |sink| sink.start_send_unpin(7).unwrap()).unwrap();
        settle(&mut flusher, Waker::noop());
        assert_eq!(peer.gate.flushed(), 1);
    }
}

/// The failure of a sink is reported once, and the sink is not polled any more.
#[test]
fn a_failure_is_reported_once() {
    let multiplexer = pairs();
    let peer = add(&multiplexer, 9);
    let mut sender = multiplexer.sender::<u32>(peer.id).unwrap();
    peer.gate.fail();
    let failed = SendError::Sink { id: peer.id, error: Broken };
    assert_eq!(multiplexer.send_one(peer.id, 1).now_or_never(), Some(Err(failed)));
    peer.gate.take_polls();
    let closed = SendError::Closed(peer.id);
    assert_eq!(multiplexer.send_one(peer.id, 1).now_or_never(), Some(Err(closed)));
    assert_eq!(sender.send(1).now_or_never(), Some(Err(closed)));
    assert_eq!(multiplexer.try_send(peer.id, 1), Err(TrySendError::Closed(1)));
    assert_eq!(peer.gate.take_polls(), 0);
    peer.feed.push(5);
    assert_eq!(multiplexer.recv(CHANNEL).now_or_never(), Some(Ok((peer.id, Some(5)))), "it says still");
    assert!(multiplexer.remove_stream(peer.id).unwrap().sink.is_some(), "it comes back");
}

#[test]
fn closing_a_stream_whose_sink_failed_removes_it() {
    let multiplexer = pairs();
    let peer = add(&multiplexer, 9);
    peer.gate.fail();
    assert!(multiplexer.try_send(peer.id, 1).is_err());
    peer.gate.take_polls();
    let closed = multiplexer.close_stream::<u32>(peer.id).now_or_never();
    assert_eq!(closed, Some(Err(SendError::Closed(peer.id))));
    assert_eq!(multiplexer.channel_of(peer.id), None);
}

/// A client stops reading, is sent a mebibyte, resumes reading, and receives the last byte without another send.
#[test]
fn a_slow_reader_gets_the_last_byte() {
    use async_io::Async;
    use tokio_util::bytes::Bytes;
    use tokio_util::codec::{BytesCodec, Framed};
    use tokio_util::compat::FuturesAsyncReadCompatExt;

    const LENGTH: usize = 1 << 20;

    finishes(|| {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let mut client = TcpStream::connect(listener.local_addr().unwrap()).unwrap();
        let socket = Async::new(listener.accept().unwrap().0).unwrap();
        let mut framed = Framed::new(socket.compat(), BytesCodec::new());
        framed.set_backpressure_boundary(9 * LENGTH);
        let (sink, stream) = framed.split();

        let multiplexer = Multiplexer::new();
        multiplexer.add_channel_with(CHANNEL, ChannelOptions::new().half_close(true)).unwrap();
        let id = multiplexer.add_stream_pair(sink, stream, CHANNEL).unwrap();
        // More than the socket's buffers hold.
        for _ in 0..8 {
            multiplexer.try_send(id, Bytes::from(vec![7; LENGTH])).unwrap();
        }
        let mut flusher = multiplexer.flusher::<Bytes>();
        assert!(poll_with(&mut flusher, Waker::noop()).is_pending());
        let reading = thread::spawn(move || {
            let mut bytes = vec![0; 8 * LENGTH];
            client.read_exact(&mut bytes).unwrap();
            assert!(bytes.iter().all(|byte| *byte == 7));
            client.write_all(b"thanks").unwrap();
            client
        });
        let thanks = block_on(async {
            let mut failures = flusher.next();
            futures::select_biased! {
                failure = failures => panic!("{failure:?}"),
                event = multiplexer.recv(CHANNEL).fuse() => event,
            }
        });
        assert_eq!(thanks.unwrap().1.unwrap().unwrap(), "thanks");
        drop(reading.join().unwrap());
    });
}

/// Two threads send and a third thread flushes, until everything is flushed.
#[test]
fn threads_that_send_and_one_that_flushes() {
    finishes(|| {
        let multiplexer = pairs();
        let mut flusher = multiplexer.flusher::<u32>();
        let peers: Vec<_> = (0..20).map(|_| add(&multiplexer, 1_000_000)).collect();
        let driver = thread::spawn(move || block_on(async { flusher.next().await }));
        let sending: Vec<_> = (0..2)
            .map(|nth| {
                let multiplexer = multiplexer.clone();
                let ids: Vec<_> = peers.iter().map(|peer| peer.id).collect();
                thread::spawn(move || {
                    for item in 0..2_000 {
                        for id in &ids {
                            while multiplexer.try_feed(*id, 2 * item + nth).is_err() {
                                thread::yield_now();
                            }
                        }
                    }
                })
            })
            .collect();
        sending.into_iter().for_each(|thread| thread.join().unwrap());
        for peer in &peers {
            while peer.gate.flushed() < 4_000 {
                thread::yield_now();
            }
            let items: HashSet<_> = peer.gate.take_items().into_iter().collect();
            assert_eq!(items.len(), 4_000);
            multiplexer.discard_stream(peer.id);
        }
        multiplexer.close();
        assert_eq!(driver.join().unwrap(), None);
    });
}

#[test]
fn an_unknown_channel_is_an_error() {
    let refused = pairs().try_send_to(9, 1, |_, _| panic!("nobody is there"));
    assert_eq!(refused, Err(MultiplexerError::UnknownChannel(9)));
}
