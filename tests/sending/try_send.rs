//! Sending without waiting.

use crate::{pairs, support};
use futures::channel::mpsc;
use futures::executor::block_on;
use futures::{FutureExt, Sink, SinkExt, StreamExt, stream};
use pairs::{CHANNEL, Pairs, Peer, add, hooked, pairs};
use std::pin::Pin;
use std::sync::{Arc, Barrier};
use std::task::{Context, Poll};
use std::thread;
use stream_multiplexer::{Multiplexer, MultiplexerError, SendError, Share, TrySendError};
use support::hooked::Moment;
use support::{Broken, Wakes, finishes, pipe, poll, poll_with};

mod to_one {
    use super::*;

    #[test]
    fn is_flushed_immediately() {
        let multiplexer = pairs();
        let peer = add(&multiplexer, 1);
        assert_eq!(multiplexer.try_send(peer.id, 1), Ok(()));
        assert_eq!(peer.gate.flushed(), 1);
        assert_eq!(peer.gate.take_polls(), 2, "it was asked whether it is ready, and flushed");
    }

    #[test]
    fn fed_is_not() {
        let multiplexer = pairs();
        let peer = add(&multiplexer, 1);
        assert_eq!(multiplexer.try_feed(peer.id, 1), Ok(()));
        assert_eq!((peer.gate.flushed(), peer.gate.take_polls()), (0, 1));
    }

    #[test]
    fn that_does_not_flush_now_has_it_all_the_same() {
        let multiplexer = pairs();
        let peer = add(&multiplexer, 1);
        peer.gate.set_flushes(false);
        assert_eq!(multiplexer.try_send(peer.id, 1), Ok(()));
        assert_eq!(peer.gate.take_items(), [1]);
    }

    #[test]
    fn that_is_not_ready_gives_it_back() {
        let multiplexer = pairs();
        let peer = add(&multiplexer, 0);
        let refused = multiplexer.try_send(peer.id, 1).unwrap_err();
        assert!(refused.is_full());
        assert_eq!(refused, TrySendError::Full(1));
        peer.gate.make_room(1);
        assert_eq!(multiplexer.try_send(peer.id, 1), Ok(()));
    }

    #[test]
    fn that_is_unknown_gives_it_back() {
        let multiplexer = pairs();
        let peer = add(&multiplexer, 1);
        multiplexer.discard_stream(peer.id);
        assert_eq!(multiplexer.try_send(peer.id, 1), Err(TrySendError::Unknown(1)));
    }

    #[test]
    fn without_a_sink_gives_it_back() {
        let multiplexer = pairs();
        let id = multiplexer.add_stream(pipe().1, CHANNEL).unwrap();
        assert_eq!(multiplexer.try_send(id, 1), Err(TrySendError::Unknown(1)));
    }

    #[test]
    fn that_is_being_closed_gives_it_back() {
        let multiplexer = pairs();
        let peer = add(&multiplexer, 1);
        peer.gate.set_closes(false);
        assert_eq!(multiplexer.close_stream::<u32>(peer.id).now_or_never(), None);
        assert_eq!(multiplexer.try_send(peer.id, 1), Err(TrySendError::Closed(1)));
    }

    #[test]
    fn that_fails_before_it_has_it_gives_it_back() {
        let multiplexer = pairs();
        let peer = add(&multiplexer, 1);
        peer.gate.fail();
        let failed = TrySendError::Sink { item: Some(1), error: Broken };
        assert_eq!(multiplexer.try_send(peer.id, 1), Err(failed));
        assert_eq!(failed.into_item(), Some(1));
        assert_eq!(multiplexer.try_send(peer.id, 2), Err(TrySendError::Closed(2)), "told once");
    }

    #[test]
    fn that_fails_when_it_is_flushed_has_it() {
        let (multiplexer, id, gate, hooks) = hooked();
        hooks.on(Moment::Flush, move || gate.fail());
        let failed = TrySendError::Sink { item: None, error: Broken };
        assert_eq!(multiplexer.try_send(id, 1), Err(failed));
        assert_eq!(failed.into_item(), None);
    }

    #[test]
    fn that_panics_is_removed() {
        let multiplexer = pairs();
        let peer = add(&multiplexer, 1);
        peer.gate.panic();
        let send = std::panic::AssertUnwindSafe(|| multiplexer.try_send(peer.id, 1));
        assert!(std::panic::catch_unwind(send).is_err());
        assert_eq!(multiplexer.channel_of(peer.id), None);
        assert!(peer.gate.is_dropped() && peer.feed.is_dropped());
    }

    #[test]
    fn from_within_its_own_poll_is_busy() {
        let (multiplexer, id, _gate, hooks) = hooked();
        let (tell, told) = std::sync::mpsc::channel();
        let inner = multiplexer.clone();
        hooks.on(Moment::Ready, move || tell.send(inner.try_send(id, 2)).unwrap());
        assert_eq!(multiplexer.try_send(id, 1), Ok(()));
        assert_eq!(told.try_recv().unwrap(), Err(TrySendError::Busy(2)));
    }
}

mod to_many {
    use super::*;

    /// 100 peers. Every third one has no room.
    fn peers(multiplexer: &Pairs) -> Vec<Peer> {
        (0..100).map(|nth| add(multiplexer, usize::from(nth % 3 != 0))).collect()
    }

    #[test]
    fn by_their_ids() {
        let multiplexer = pairs();
        let mut peers = peers(&multiplexer);
        let mut ids: Vec<_> = peers.iter().map(|peer| peer.id).collect();
        multiplexer.discard_stream(peers.pop().unwrap().id);
        ids.push(ids[1]);
        let mut refused = Vec::new();
        assert_eq!(multiplexer.try_send_many(&ids, 5, |id, error| refused.push((id, error))), 66);
        let full = ids.iter().step_by(3).take(33).map(|id| (*id, TrySendError::Full(5)));
        let unknown = (ids[99], TrySendError::Unknown(5));
        let twice = (ids[1], TrySendError::Full(5));
        assert_eq!(refused, full.chain([unknown, twice]).collect::<Vec<_>>());
        assert!(peers.iter().skip(1).step_by(3).all(|peer| peer.gate.take_items() == [5]));
    }

    #[test]
    fn in_a_channel() {
        let multiplexer = pairs();
        multiplexer.add_channel(2).unwrap();
        let peers = peers(&multiplexer);
        multiplexer.add_stream(pipe().1, CHANNEL).unwrap();
        multiplexer.change_stream_channel(peers[1].id, 2).unwrap();
        let mut refused = Vec::new();
        let sent = multiplexer.try_send_to(CHANNEL, 5, |id, error| refused.push((id, error)));
        assert_eq!(sent, Ok(65));
        assert_eq!(refused.len(), 34);
        assert!(refused.iter().all(|(_, error)| *error == TrySendError::Full(5)));
        assert_eq!(peers[1].gate.take_items(), []);
        assert!(peers.iter().skip(4).step_by(3).all(|peer| peer.gate.take_items() == [5]));
    }

    /// The same sinks have it and the same errors come as of `try_send_many`; only, none is flushed.
    #[test]
    fn fed_by_their_ids() {
        let multiplexer = pairs();
        let mut peers = peers(&multiplexer);
        let mut ids: Vec<_> = peers.iter().map(|peer| peer.id).collect();
        multiplexer.discard_stream(peers.pop().unwrap().id);
        ids.push(ids[1]);
        let mut refused = Vec::new();
        assert_eq!(multiplexer.try_feed_many(&ids, 5, |id, error| refused.push((id, error))), 66);
        let full = ids.iter().step_by(3).take(33).map(|id| (*id, TrySendError::Full(5)));
        let unknown = (ids[99], TrySendError::Unknown(5));
        let twice = (ids[1], TrySendError::Full(5));
        assert_eq!(refused, full.chain([unknown, twice]).collect::<Vec<_>>());
        assert!(peers.iter().all(|peer| peer.gate.flushed() == 0));
        assert!(peers.iter().skip(1).step_by(3).all(|peer| peer.gate.take_items() == [5]));
    }

    /// None is flushed until the last item of the batch is sent, which flushes each of them once.
    #[test]
    fn fed_to_a_channel() {
        let multiplexer = pairs();
        multiplexer.add_channel(2).unwrap();
        let peers: Vec<_> = (0..100).map(|nth| add(&multiplexer, if nth == 4 { 2 } else { 3 })).collect();
        multiplexer.add_stream(pipe().1, CHANNEL).unwrap();
        multiplexer.change_stream_channel(peers[1].id, 2).unwrap();
        for item in 0..2 {
            assert_eq!(multiplexer.try_feed_to(CHANNEL, item, |_, _| unreachable!()), Ok(99));
        }
        assert!(peers.iter().all(|peer| peer.gate.flushed() == 0));
        assert!(
            peers.iter().all(|peer| peer.gate.take_polls() == if peer.id == peers[1].id { 0 } else { 2 })
        );
        let mut refused = Vec::new();
        let sent = multiplexer.try_send_to(CHANNEL, 2, |id, error| refused.push((id, error)));
        assert_eq!((sent, &refused[..]), (Ok(98), &[(peers[4].id, TrySendError::Full(2))][..]));
        for (at, peer) in peers.iter().enumerate() {
            let (items, flushed, polls): (&[u32], _, _) = match at {
                1 => (&[], 0, 0),
                4 => (&[0, 1], 0, 1),
                _ => (&[0, 1, 2], 3, 2),
            };
            assert_eq!((peer.gate.flushed(), peer.gate.take_polls()), (flushed, polls), "{at}");
            assert_eq!(peer.gate.take_items(), items, "{at}");
        }
        assert_eq!(multiplexer.try_feed_to(7, 5, |_, _| {}), Err(MultiplexerError::UnknownChannel(7)));
    }

    /// With a driver each is flushed in one turn, however many items it was fed.
    #[test]
    fn fed_to_a_channel_is_flushed_by_a_driver() {
        let multiplexer = pairs();
        let peers: Vec<_> = (0..100).map(|_| add(&multiplexer, 9)).collect();
        let mut flusher = multiplexer.flusher::<u32>();
        for item in 0..8 {
            assert_eq!(multiplexer.try_feed_to(CHANNEL, item, |_, _| unreachable!()), Ok(100));
        }
        assert!(peers.iter().all(|peer| (peer.gate.flushed(), peer.gate.take_polls()) == (0, 8)));
        (0..2).for_each(|_| assert!(poll(&mut flusher).is_pending()));
        assert!(peers.iter().all(|peer| (peer.gate.flushed(), peer.gate.take_polls()) == (8, 1)));
    }

    #[test]
    fn a_pair_that_refuses_may_be_removed_in_the_closure() {
        let multiplexer = pairs();
        peers(&multiplexer);
        let sent = multiplexer.try_send_to(CHANNEL, 5, |id, _| drop(multiplexer.remove_stream(id)));
        assert_eq!((sent, multiplexer.channel_len(CHANNEL)), (Ok(66), Some(66)));
    }

    /// It would add pairs without end if they were sent to as well.
    #[test]
    fn a_pair_may_be_added_in_the_closure() {
        let multiplexer = pairs();
        peers(&multiplexer);
        let mut refused = 0;
        let sent = multiplexer.try_send_to(CHANNEL, 5, |_, _| {
            refused += 1;
            if refused < 1_000 {
                add(&multiplexer, 0);
            }
        });
        assert_eq!((sent, refused), (Ok(66), 34));
    }

    #[test]
    fn memory_may_be_released_in_the_closure() {
        let multiplexer = pairs();
        let mut peers: Vec<_> = (0..400).map(|_| add(&multiplexer, 0)).collect();
        // The others will move to their places.
        peers.drain(..200).for_each(|peer| drop(multiplexer.remove_stream(peer.id)));
        let mut refused = Vec::new();
        let sent = multiplexer.try_send_to(CHANNEL, 1, |id, _| {
            multiplexer.shrink_to_fit();
            refused.push(id);
        });
        assert_eq!(sent, Ok(0));
        assert!(refused.iter().eq(peers.iter().map(|peer| &peer.id)));
        assert_eq!(multiplexer.remove_channel(CHANNEL).map(|pairs| pairs.len()), Some(200));
    }

    #[test]
    fn a_sink_that_panics_keeps_the_item_from_no_other() {
        let multiplexer = pairs();
        let peers = peers(&multiplexer);
        peers[4].gate.panic();
        let send = || multiplexer.try_send_to(CHANNEL, 5, |_, _| panic!("this one, too"));
        assert!(std::panic::catch_unwind(std::panic::AssertUnwindSafe(send)).is_err());
        assert_eq!(multiplexer.channel_len(CHANNEL), Some(99));
        let got = peers.iter().filter(|peer| peer.gate.take_items() == [5]).count();
        assert_eq!(got, 65);
    }
}

/// Two threads send to one sink: each item is delivered once or returned.
#[test]
fn threads_that_send_to_one_stream() {
    const ITEMS: u32 = 200_000;

    finishes(|| {
        let multiplexer = Multiplexer::new();
        multiplexer.add_channel(CHANNEL).unwrap();
        let (sink, peer) = mpsc::unbounded();
        let id = multiplexer.add_stream_pair(sink, stream::pending::<()>(), CHANNEL).unwrap();
        let start = Arc::new(Barrier::new(2));
        let sending = [0, 1].map(|nth| {
            let (multiplexer, start) = (multiplexer.clone(), Arc::clone(&start));
            thread::spawn(move || {
                start.wait();
                let mine = (0..ITEMS).map(|item| (nth, item));
                mine.filter(|item| match multiplexer.try_send(id, *item) {
                    Ok(()) => false,
                    Err(TrySendError::Busy(back)) => back == *item,
                    Err(other) => panic!("{other:?}"),
                })
                .collect::<Vec<_>>()
            })
        });
        let back = sending.map(|thread| thread.join().unwrap());
        let busy: usize = back.iter().map(Vec::len).sum();
        println!("busy: {busy} of {}, {} %", 2 * ITEMS, busy * 100 / (2 * ITEMS as usize));
        drop(multiplexer);
        let delivered: Vec<_> = block_on(peer.collect());
        for (nth, back) in [0, 1].into_iter().zip(back) {
            let mut mine: Vec<_> = delivered.iter().filter(|item| item.0 == nth).copied().collect();
            assert!(mine.is_sorted(), "in the order of its calls");
            mine.extend(back);
            mine.sort_unstable();
            assert!(mine.into_iter().eq((0..ITEMS).map(|item| (nth, item))), "once or handed back");
        }
    });
}

/// What to do after `Busy`: a send that waits until the poll of the sink returns. No item is lost, and the items of
/// each thread stay in order.
#[test]
fn a_sender_that_finds_the_sink_busy_may_wait() {
    const ITEMS: u32 = 20_000;

    finishes(|| {
        let multiplexer = Multiplexer::new();
        multiplexer.add_channel(CHANNEL).unwrap();
        let (sink, peer) = mpsc::unbounded();
        let id = multiplexer.add_stream_pair(sink, stream::pending::<()>(), CHANNEL).unwrap();
        let sending = [0, 1].map(|nth| {
            let multiplexer = multiplexer.clone();
            thread::spawn(move || {
                for item in (0..ITEMS).map(|item| (nth, item)) {
                    match multiplexer.try_send(id, item) {
                        Ok(()) => {}
                        Err(TrySendError::Busy(item)) => block_on(multiplexer.send_one(id, item)).unwrap(),
                        Err(other) => panic!("{other:?}"),
                    }
                }
            })
        });
        sending.into_iter().for_each(|thread| thread.join().unwrap());
        drop(multiplexer);
        let delivered: Vec<_> = block_on(peer.collect());
        for nth in [0, 1] {
            let mine = delivered.iter().filter(|item| item.0 == nth).copied();
            assert!(mine.eq((0..ITEMS).map(|item| (nth, item))));
        }
    });
}

/// The items that one caller sends in several ways arrive in the order of its calls.
#[test]
fn order() {
    let multiplexer = pairs();
    let peer = add(&multiplexer, 1_000);
    let mut sender = multiplexer.sender::<u32>(peer.id).unwrap();
    for flushes in [true, false, false, true] {
        peer.gate.set_flushes(flushes);
        for item in 0..12 {
            match item % 6 {
                0 => multiplexer.try_send(peer.id, item).unwrap(),
                1 => multiplexer.try_feed(peer.id, item).unwrap(),
                2 => drop(multiplexer.send_one(peer.id, item).now_or_never()),
                3 => drop(multiplexer.send([peer.id], item).now_or_never()),
                4 => drop(sender.send(item).now_or_never()),
                _ => sender.feed(item).now_or_never().unwrap().unwrap(),
            }
        }
        assert_eq!(peer.gate.take_items(), (0..12).collect::<Vec<_>>());
    }
}

/// A send flushes a second time where a driver is to wait for the sink. So the number of polls shows whether the send finds
/// a driver.
mod a_driver_that_is_gone {
    use super::*;

    /// The polls of a send to a sink that does not flush: whether it is ready, and one flush or two.
    fn polls_of_a_send(multiplexer: &Pairs) -> usize {
        let peer = add(multiplexer, 1);
        peer.gate.set_flushes(false);
        multiplexer.try_send(peer.id, 1).unwrap();
        peer.gate.take_polls()
    }

    #[test]
    fn is_not_counted() {
        let multiplexer = pairs();
        assert_eq!(polls_of_a_send(&multiplexer), 2, "there was none");
        let select = multiplexer.select();
        assert_eq!(polls_of_a_send(&multiplexer), 3);
        let flusher = multiplexer.flusher::<u32>();
        drop(select);
        assert_eq!(polls_of_a_send(&multiplexer), 3, "the flusher is there");
        drop(flusher);
        assert_eq!(polls_of_a_send(&multiplexer), 2, "both are gone");
    }

    #[test]
    fn is_not_counted_twice_if_it_did_not_drive() {
        let multiplexer = pairs();
        let _flusher = multiplexer.flusher::<u32>();
        let mut select = multiplexer.select();
        select.drive_flushes(false);
        drop(select);
        assert_eq!(polls_of_a_send(&multiplexer), 3, "the flusher is there");
    }

    /// What it was to flush is flushed by another driver, which was there before or comes later.
    #[test]
    fn leaves_its_sinks_to_another() {
        for comes_later in [false, true] {
            let multiplexer = pairs();
            let mut select = multiplexer.select();
            select.add(CHANNEL, Share::new()).unwrap();
            let before = (!comes_later).then(|| multiplexer.flusher::<u32>());
            let peers: Vec<_> = (0..100).map(|_| add(&multiplexer, 9)).collect();
            peers.iter().for_each(|peer| peer.gate.set_flushes(false));
            assert_eq!(multiplexer.try_send_to(CHANNEL, 1, |_, _| unreachable!()), Ok(100));
            (0..3).for_each(|_| assert!(poll(&mut select).is_pending()));
            drop(select);
            let mut flusher = before.unwrap_or_else(|| multiplexer.flusher());
            (0..3).for_each(|_| assert!(poll(&mut flusher).is_pending()));
            let (wakes, waker) = Wakes::new();
            assert!(poll_with(&mut flusher, &waker).is_pending());
            peers.iter().for_each(|peer| peer.gate.set_flushes(true));
            assert_ne!(wakes.take(), 0, "the sinks wake it");
            (0..3).for_each(|_| assert!(poll(&mut flusher).is_pending()));
            assert!(peers.iter().all(|peer| peer.gate.flushed() == 1), "later: {comes_later}");
        }
    }
}

/// A sink that returns `Pending` from every other `poll_ready`.
#[derive(Default)]
struct Alternating {
    asked: usize,
    items: Vec<u32>,
    flushed: Arc<std::sync::Mutex<Vec<u32>>>,
}

impl Sink<u32> for Alternating {
    type Error = Broken;

    fn poll_ready(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Result<(), Broken>> {
        self.asked += 1;
        if self.asked % 2 == 0 {
            cx.waker().wake_by_ref();
            return Poll::Pending;
        }
        Poll::Ready(Ok(()))
    }

    fn start_send(mut self: Pin<&mut Self>, item: u32) -> Result<(), Broken> {
        self.items.push(item);
        Ok(())
    }

    fn poll_flush(mut self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<Result<(), Broken>> {
        let items = std::mem::take(&mut self.items);
        self.flushed.lock().unwrap().extend(items);
        Poll::Ready(Ok(()))
    }

    fn poll_close(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Result<(), Broken>> {
        self.poll_flush(cx)
    }
}

#[test]
fn a_sender_that_found_the_sink_ready_does_not_ask_again() {
    let multiplexer = Multiplexer::new();
    multiplexer.add_channel(CHANNEL).unwrap();
    let flushed = Arc::default();
    let sink = Alternating { flushed: Arc::clone(&flushed), ..Alternating::default() };
    let id = multiplexer.add_stream_pair(sink, stream::pending::<()>(), CHANNEL).unwrap();
    let mut sender = multiplexer.sender::<u32>(id).unwrap();
    assert_eq!(sender.feed(7).now_or_never(), Some(Ok(())));
    assert_eq!(multiplexer.close_stream::<u32>(id).now_or_never(), Some(Ok(())));
    assert_eq!(*flushed.lock().unwrap(), [7]);
    assert_eq!(sender.send(8).now_or_never(), Some(Err(SendError::UnknownStream(id))));
}

#[test]
fn errors_are_errors_and_say_what_they_are() {
    struct NoDebug;
    let error = TrySendError::<_, Broken>::Full(NoDebug);
    assert_eq!(
        (format!("{error:?}"), error.to_string()),
        ("Full(..)".into(), "the sink is not ready".into())
    );
    let error: Box<dyn std::error::Error + Send + Sync> =
        Box::new(TrySendError::Sink { item: None::<NoDebug>, error: Broken });
    assert_eq!(error.source().unwrap().to_string(), "broken, as the test wants");
}
