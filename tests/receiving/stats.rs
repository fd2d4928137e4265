//! Statistics: each number, at each event that changes it.

use crate::support;
use futures::StreamExt;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::task::{Poll, Waker};
use std::thread;
use stream_multiplexer::{
    ChannelId, ChannelOptions, ChannelStats, Multiplexer, MultiplexerError, StreamId, TryRecvError,
};
use support::hooked::{Bang, Hooked, Hooks, Moment};
use support::raw_waker::hooked_waker;
use support::{Feed, Gate, Pipe, finishes, gate, pipe, poll, poll_with};

const A: ChannelId = 1;
const B: ChannelId = 2;

type Pairs = Multiplexer<Pipe<u32>, Gate<u32>>;

fn channels(options: ChannelOptions) -> Pairs {
    let multiplexer = Multiplexer::new();
    multiplexer.add_channel_with(A, options).unwrap();
    multiplexer.add_channel(B).unwrap();
    multiplexer
}

fn add(multiplexer: &Pairs, channel: ChannelId) -> (StreamId, Feed<u32>) {
    let (feed, pipe) = pipe();
    (multiplexer.add_stream_pair(gate(9).1, pipe, channel).unwrap(), feed)
}

fn stats(multiplexer: &Pairs) -> ChannelStats {
    multiplexer.stats(A).unwrap()
}

/// The present numbers: members, half-closed pairs, paused streams, unread departures.
fn present(multiplexer: &Pairs) -> [usize; 4] {
    let stats = stats(multiplexer);
    [stats.members, stats.half_closed, stats.paused, stats.unread_departures]
}

/// Counters of receiving: events, items, polls, polls in vain.
fn received(multiplexer: &Pairs) -> [u64; 4] {
    let stats = stats(multiplexer);
    [stats.events, stats.items, stats.polls, stats.polls_in_vain]
}

/// Counters of ended stays: by ends, moves, removals.
fn departed(multiplexer: &Pairs) -> [u64; 3] {
    let stats = stats(multiplexer);
    [stats.ended, stats.moved, stats.removed]
}

#[test]
fn a_new_channel_has_none_of_it() {
    let multiplexer = channels(ChannelOptions::new());
    assert_eq!(multiplexer.stats(A), Some(ChannelStats::default()));
    assert_eq!(multiplexer.stats(9), None);
    multiplexer.discard_channel(A);
    assert_eq!(multiplexer.stats(A), None);
}

#[test]
fn items_and_polls() {
    let multiplexer = channels(ChannelOptions::new());
    let (id, feed) = add(&multiplexer, A);
    assert_eq!((present(&multiplexer), received(&multiplexer)), ([1, 0, 0, 0], [0; 4]));
    assert_eq!(multiplexer.try_recv(A), Err(TryRecvError::Empty));
    assert_eq!(received(&multiplexer), [0, 0, 1, 1]);
    feed.push(1);
    feed.push(2);
    assert_eq!(multiplexer.try_recv(A), Ok((id, Some(1))));
    assert_eq!(multiplexer.try_recv(A), Ok((id, Some(2))));
    assert_eq!(received(&multiplexer), [2, 2, 3, 1]);
    assert_eq!(multiplexer.try_recv(A), Err(TryRecvError::Empty));
    assert_eq!(received(&multiplexer), [2, 2, 4, 2]);
    // A call that finds no event is no poll; nor is an access in place.
    assert_eq!(multiplexer.try_recv(A), Err(TryRecvError::Empty));
    multiplexer.with_stream(id, |_| ()).unwrap();
    assert_eq!(received(&multiplexer), [2, 2, 4, 2]);

    (3..9).for_each(|number| feed.push(number));
    let mut events = Vec::new();
    let mut receiver = multiplexer.receiver(A).unwrap();
    assert!(support::poll_future(&mut receiver.recv_many(&mut events, 4), Waker::noop()).is_ready());
    assert_eq!(received(&multiplexer), [6, 6, 8, 2]);
    assert_eq!(departed(&multiplexer), [0; 3]);
    assert_eq!(multiplexer.stats(B), Some(ChannelStats::default()));
}

#[test]
fn an_end() {
    for half_close in [false, true] {
        let multiplexer = channels(ChannelOptions::new().half_close(half_close));
        let (id, feed) = add(&multiplexer, A);
        feed.end();
        assert_eq!(multiplexer.try_recv(A), Ok((id, None)));
        assert_eq!(present(&multiplexer), [0, usize::from(half_close), 0, 0]);
        assert_eq!((received(&multiplexer), departed(&multiplexer)), ([1, 0, 1, 0], [1, 0, 0]));
        // A pair that stayed after its end does not depart again.
        assert_eq!(multiplexer.remove_stream(id).is_some(), half_close);
        assert_eq!((present(&multiplexer), departed(&multiplexer)), ([0; 4], [1, 0, 0]));
    }
}

#[test]
fn moves_and_removals() {
    for reported in [false, true] {
        let multiplexer = channels(ChannelOptions::new().report_departures(reported));
        let unread = |departures| if reported { departures } else { 0 };
        let (id, _feed) = add(&multiplexer, A);
        multiplexer.change_stream_channel(id, B).unwrap();
        assert_eq!(present(&multiplexer), [0, 0, 0, unread(1)]);
        multiplexer.change_stream_channel(id, A).unwrap();
        multiplexer.discard_stream(id);
        assert_eq!((present(&multiplexer), departed(&multiplexer)), ([0, 0, 0, unread(2)], [0, 1, 1]));
        while multiplexer.try_recv(A).is_ok() {}
        assert_eq!(received(&multiplexer), [unread(2) as u64, 0, 0, 0]);
        assert_eq!((present(&multiplexer), departed(&multiplexer)), ([0; 4], [0, 1, 1]));
        let there = multiplexer.stats(B).unwrap();
        assert_eq!((there.members, there.moved, there.removed, there.unread_departures), (0, 1, 0, 1));
    }
}

#[test]
fn pauses() {
    let multiplexer = channels(ChannelOptions::new());
    let [(one, _), (two, _), (three, feed)] = [(); 3].map(|()| add(&multiplexer, A));
    for id in [one, one, two, three] {
        multiplexer.pause_stream(id).unwrap();
    }
    multiplexer.resume_stream(two).unwrap();
    assert_eq!(present(&multiplexer), [3, 0, 2, 0]);
    multiplexer.change_stream_channel(one, B).unwrap();
    assert_eq!((present(&multiplexer), multiplexer.stats(B).unwrap().paused), ([2, 0, 1, 1], 1));
    feed.end();
    multiplexer.shrink_to_fit();
    multiplexer.remove_stream(three).unwrap();
    assert_eq!(present(&multiplexer), [1, 0, 0, 2]);
    multiplexer.pause_channel(A).unwrap();
    assert_eq!(present(&multiplexer), [1, 0, 0, 2], "of the channel it says nothing");
    multiplexer.discard_stream(one);
    assert_eq!(multiplexer.stats(B).unwrap().paused, 0);
}

#[test]
fn refusals() {
    let multiplexer = channels(ChannelOptions::new().half_close(true).max_streams(1));
    let (_, _feed) = add(&multiplexer, A);
    assert_eq!(stats(&multiplexer).refused, 0);
    assert!(multiplexer.add_stream(pipe().1, A).is_err());
    let (id, _feed) = add(&multiplexer, B);
    assert!(multiplexer.change_stream_channel(id, A).is_err());
    assert_eq!((stats(&multiplexer).refused, multiplexer.stats(B).unwrap().refused), (2, 0));
    multiplexer.close_channel(A).unwrap();
    assert!(multiplexer.add_stream(pipe().1, A).is_err());
    assert_eq!(multiplexer.change_stream_channel(id, A), Err(MultiplexerError::Closed));
    assert_eq!(stats(&multiplexer).refused, 2, "closed is not full");
}

/// The panicked poll does not count as a poll; the stay ends with a removal.
#[test]
fn a_panic() {
    let multiplexer = channels(ChannelOptions::new());
    let (id, feed) = add(&multiplexer, A);
    feed.panic();
    assert!(catch_unwind(AssertUnwindSafe(|| multiplexer.try_recv(A))).is_err());
    assert_eq!((present(&multiplexer), received(&multiplexer)), ([0, 0, 0, 1], [0; 4]));
    assert_eq!(departed(&multiplexer), [0, 0, 1]);
    assert_eq!(multiplexer.try_recv(A), Ok((id, None)));
    assert_eq!(received(&multiplexer), [1, 0, 0, 0]);
}

/// The end of a stream whose drop panics is not reported in place of an item, but afterwards, and once.
#[test]
fn an_end_with_a_panic() {
    let multiplexer: Multiplexer<Hooked<Pipe<u32>>> = Multiplexer::new();
    multiplexer.add_channel(A).unwrap();
    let (feed, inner) = pipe();
    let hooks = Hooks::default();
    hooks.panic_on(Moment::Drop);
    let id = multiplexer.add_stream(Hooked { inner, hooks }, A).unwrap();
    feed.end();
    let panic = catch_unwind(AssertUnwindSafe(|| multiplexer.try_recv(A))).unwrap_err();
    assert!(panic.is::<Bang>());
    let before = multiplexer.stats(A).unwrap();
    assert_eq!((before.events, before.polls, before.ended, before.unread_departures), (0, 1, 1, 1));
    assert_eq!(multiplexer.try_recv(A), Ok((id, None)));
    let after = multiplexer.stats(A).unwrap();
    assert_eq!((after.events, after.polls, after.ended, after.unread_departures), (1, 1, 1, 0));
}

/// In its own poll: the current stay, the following stays, and departures that are held until the poll returns.
#[test]
fn moves_in_its_own_poll() {
    let multiplexer: Multiplexer<Hooked<Pipe<u32>>> = Multiplexer::new();
    multiplexer.add_channel(A).unwrap();
    multiplexer.add_channel(B).unwrap();
    let (feed, inner) = pipe();
    let hooks = Hooks::default();
    let id = multiplexer.add_stream(Hooked { inner, hooks: hooks.clone() }, A).unwrap();
    let within = multiplexer.clone();
    hooks.on(Moment::Poll, move || {
        within.pause_stream(id).unwrap();
        for channel in [B, A, B] {
            within.change_stream_channel(id, channel).unwrap();
        }
        let [here, there] = [A, B].map(|channel| within.stats(channel).unwrap());
        assert_eq!((here.members, here.paused, here.moved, here.unread_departures), (0, 0, 2, 2));
        assert_eq!((there.members, there.paused, there.moved, there.unread_departures), (1, 1, 1, 1));
        assert_eq!((here.polls, here.items), (0, 0), "it has not returned");
    });
    feed.end();
    // The stream ends here, and its stay in the other channel with it.
    assert_eq!(multiplexer.try_recv(A), Ok((id, None)));
    let [here, there] = [A, B].map(|channel| multiplexer.stats(channel).unwrap());
    assert_eq!((here.polls, here.ended, here.moved, here.unread_departures), (1, 0, 2, 1));
    assert_eq!((there.polls, there.ended, there.moved, there.unread_departures), (0, 1, 1, 2));
    assert_eq!((there.members, there.paused), (0, 0));
}

/// A panic of a waker at the end of a wait does not change the numbers.
#[test]
fn a_waker_that_panics() {
    let multiplexer = channels(ChannelOptions::new());
    let hooks = Hooks::default();
    hooks.panic_on(Moment::Wake);
    let waker = hooked_waker(&hooks);
    let mut receiver = multiplexer.receiver(A).unwrap();
    assert_eq!(poll_with(&mut receiver, &waker), Poll::Pending);
    let (_, pipe) = pipe();
    assert!(catch_unwind(AssertUnwindSafe(|| multiplexer.add_stream(pipe, A))).is_err());
    assert_eq!(present(&multiplexer), [1, 0, 0, 0]);
    assert!(poll(&mut receiver).is_pending());
    assert_eq!(received(&multiplexer), [0, 0, 1, 1]);
}

/// Two threads receive, one adds, ends, moves and removes, and one reads: the numbers are consistent at each moment.
#[test]
fn they_fit_together_at_any_moment() {
    finishes(|| {
        let multiplexer = channels(ChannelOptions::new());
        let done = Arc::new(AtomicBool::new(false));
        let receiving: Vec<_> = (0..2)
            .map(|_| {
                let mut receiver = multiplexer.receiver(A).unwrap();
                thread::spawn(move || {
                    let mut events = 0;
                    futures::executor::block_on(async {
                        while receiver.next().await.is_some() {
                            events += 1;
                        }
                    });
                    events
                })
            })
            .collect();
        let looking = {
            let (multiplexer, done) = (multiplexer.clone(), Arc::clone(&done));
            thread::spawn(move || {
                let mut before = ChannelStats::default();
                while !done.load(Ordering::SeqCst) {
                    let now = stats(&multiplexer);
                    assert!(now.items >= before.items && now.events >= before.events, "{before:?} {now:?}");
                    assert!(now.polls >= now.items + now.polls_in_vain, "{now:?}");
                    let departures = now.ended + now.moved + now.removed;
                    let read = now.events - now.items;
                    assert_eq!(departures, read + now.unread_departures as u64, "{now:?}");
                    before = now;
                }
            })
        };
        let mut ends = 0;
        for round in 0..3_000 {
            let (id, feed) = add(&multiplexer, A);
            (0..round % 4).for_each(|item| feed.push(item));
            match round % 3 {
                0 => {
                    feed.end();
                    ends += 1;
                }
                1 => assert!(multiplexer.discard_stream(id)),
                _ => multiplexer.change_stream_channel(id, B).unwrap(),
            }
        }
        multiplexer.close();
        let events: u64 = receiving.into_iter().map(|thread| thread.join().unwrap()).sum();
        done.store(true, Ordering::SeqCst);
        looking.join().unwrap();
        let last = stats(&multiplexer);
        assert_eq!((last.events, last.members, last.unread_departures), (events, 0, 0));
        assert_eq!([last.ended, last.removed, last.moved], [ends, 1_000, 1_000]);
        assert_eq!(last.polls, last.items + last.polls_in_vain + last.ended);
    });
}
