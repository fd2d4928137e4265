//! Limits: how many streams a channel admits, and what happens to refused streams.

use crate::support;
use futures::StreamExt;
use std::sync::{Arc, Barrier};
use std::task::{Context, Poll, Waker};
use std::thread;
use stream_multiplexer::{
    ChannelId, ChannelOptions, Multiplexer, MultiplexerError, StreamEvent, StreamId, TryRecvError,
};
use support::hooked::{Hooked, Hooks, Moment};
use support::{Broken, Feed, Gate, Pipe, finishes, gate, pipe, poll, poll_future};

const LIMITED: ChannelId = 1;
const OTHER: ChannelId = 2;

type Streams = Multiplexer<Pipe<u32>>;

const FULL: MultiplexerError = MultiplexerError::ChannelFull(LIMITED);

fn limited_by(limit: usize) -> Streams {
    with_options(ChannelOptions::new().max_streams(limit))
}

fn with_options(options: ChannelOptions) -> Streams {
    let multiplexer = Multiplexer::without_sinks();
    multiplexer.add_channel_with(LIMITED, options).unwrap();
    multiplexer.add_channel(OTHER).unwrap();
    multiplexer
}

fn add(multiplexer: &Streams, channel: ChannelId) -> Result<(StreamId, Feed<u32>), MultiplexerError> {
    let (feed, pipe) = pipe();
    Ok((multiplexer.add_stream(pipe, channel)?, feed))
}

fn is_full(multiplexer: &Streams) -> bool {
    match add(multiplexer, LIMITED) {
        Ok((id, _)) => {
            // Not with a removal, because the removal would add a departure.
            multiplexer.change_stream_channel(id, OTHER).unwrap();
            assert_eq!(multiplexer.try_recv(LIMITED), Ok((id, None)));
            false
        }
        Err(error) => {
            assert_eq!(error, FULL);
            true
        }
    }
}

#[test]
fn a_channel_without_a_limit_admits_any_number() {
    let multiplexer = limited_by(1);
    assert_eq!(multiplexer.max_streams(OTHER), Ok(None));
    for _ in 0..1_000 {
        add(&multiplexer, OTHER).unwrap();
    }
}

#[test]
fn a_refused_pair_comes_back_with_both_parts() {
    let multiplexer: Multiplexer<Pipe<u32>, Gate<u32>> = Multiplexer::new();
    multiplexer.add_channel_with(LIMITED, ChannelOptions::new().max_streams(1)).unwrap();
    let (_feed, first) = pipe();
    multiplexer.add_stream_pair(gate(1).1, first, LIMITED).unwrap();

    let (feed, stream) = pipe();
    let (keeper, sink) = gate(1);
    let refused = multiplexer.add_stream_pair(sink, stream, LIMITED).unwrap_err();
    assert_eq!(refused.reason(), FULL);
    assert_eq!(refused.to_string(), "stream pair not added: channel 1 is full");
    let (sink, mut stream) = refused.into_parts();
    feed.push(7);
    assert_eq!(poll(&mut stream), Poll::Ready(Some(7)));
    assert_eq!((keeper.take_polls(), keeper.is_dropped(), feed.take_polls()), (0, false, 1));

    let refused = multiplexer.add_stream(stream, LIMITED).unwrap_err();
    let ((), mut stream) = refused.into_parts();
    assert_eq!(poll(&mut stream), Poll::Pending);
    multiplexer.set_max_streams(LIMITED, Some(2)).unwrap();
    let id = multiplexer.add_stream_pair(sink, stream, LIMITED).unwrap();
    feed.push(8);
    assert_eq!(multiplexer.try_recv(LIMITED), Ok((id, Some(8))));
    let sent = poll_future(&mut multiplexer.send_one(id, 9), Waker::noop());
    assert!(matches!(sent, Poll::Ready(Ok::<(), stream_multiplexer::SendError<Broken>>(()))));
}

#[test]
fn a_refused_move_leaves_the_stream_where_it_is() {
    let multiplexer = limited_by(1);
    add(&multiplexer, LIMITED).unwrap();
    let (id, feed) = add(&multiplexer, OTHER).unwrap();
    feed.push(1);
    assert_eq!(multiplexer.change_stream_channel(id, LIMITED), Err(FULL));
    assert_eq!(multiplexer.channel_of(id), Some(OTHER));
    assert_eq!(multiplexer.try_recv(OTHER), Ok((id, Some(1))));
    assert_eq!(multiplexer.try_recv(OTHER), Err(TryRecvError::Empty));
    feed.push(2);
    assert_eq!(multiplexer.try_recv(OTHER), Ok((id, Some(2))));
}

#[test]
fn a_move_to_the_channel_it_is_in_needs_no_place() {
    let multiplexer = limited_by(1);
    let (id, _feed) = add(&multiplexer, LIMITED).unwrap();
    assert_eq!(multiplexer.change_stream_channel(id, LIMITED), Ok(()));
    multiplexer.set_max_streams(LIMITED, Some(0)).unwrap();
    assert_eq!(multiplexer.change_stream_channel(id, LIMITED), Ok(()));
}

/// And not when its departure is received.
#[test]
fn the_place_is_free_as_soon_as_the_stream_has_left() {
    let leave: [fn(&Streams, StreamId, &Feed<u32>); 4] = [
        |multiplexer, id, _| assert!(multiplexer.remove_stream(id).is_some()),
        |multiplexer, id, _| assert!(multiplexer.discard_stream(id)),
        |multiplexer, id, _| multiplexer.change_stream_channel(id, OTHER).unwrap(),
        |multiplexer, id, feed| {
            feed.end();
            assert_eq!(multiplexer.try_recv(LIMITED), Ok((id, None)));
        },
    ];
    for leave in leave {
        let multiplexer = limited_by(2);
        let (id, feed) = add(&multiplexer, LIMITED).unwrap();
        add(&multiplexer, LIMITED).unwrap();
        assert_eq!(add(&multiplexer, LIMITED).err(), Some(FULL));
        leave(&multiplexer, id, &feed);
        add(&multiplexer, LIMITED).unwrap();
        assert_eq!(add(&multiplexer, LIMITED).err(), Some(FULL));
    }
}

#[test]
fn a_pair_that_has_ended_and_stays_counts() {
    let multiplexer: Multiplexer<Pipe<u32>, Gate<u32>> = Multiplexer::new();
    let options = ChannelOptions::new().half_close(true).max_streams(1);
    multiplexer.add_channel_with(LIMITED, options).unwrap();
    let (feed, stream) = pipe();
    let id = multiplexer.add_stream_pair(gate(1).1, stream, LIMITED).unwrap();
    feed.end();
    assert_eq!(multiplexer.try_recv(LIMITED), Ok((id, None)));
    let refused = multiplexer.add_stream(pipe().1, LIMITED).unwrap_err();
    assert_eq!(refused.reason(), FULL);
    multiplexer.remove_stream(id).unwrap();
    multiplexer.add_stream(refused.into_parts().1, LIMITED).unwrap();
}

/// The end of the stream is permanent, and is reported before the full channel, which is temporary.
#[test]
fn a_stream_that_has_ended_is_refused_for_that() {
    let multiplexer: Multiplexer<Pipe<u32>, Gate<u32>> = Multiplexer::new();
    multiplexer.add_channel_with(LIMITED, ChannelOptions::new().max_streams(0)).unwrap();
    multiplexer.add_channel_with(OTHER, ChannelOptions::new().half_close(true)).unwrap();
    let (feed, stream) = pipe();
    let id = multiplexer.add_stream_pair(gate(1).1, stream, OTHER).unwrap();
    feed.end();
    assert_eq!(multiplexer.try_recv(OTHER), Ok((id, None)));
    assert_eq!(multiplexer.change_stream_channel(id, LIMITED), Err(MultiplexerError::Ended(id)));
}

#[test]
fn at_0_nothing_is_admitted() {
    let multiplexer = limited_by(0);
    assert_eq!(add(&multiplexer, LIMITED).err(), Some(FULL));
    let (id, _feed) = add(&multiplexer, OTHER).unwrap();
    assert_eq!(multiplexer.change_stream_channel(id, LIMITED), Err(FULL));
    assert_eq!((multiplexer.channel_len(LIMITED), multiplexer.channel_len(OTHER)), (Some(0), Some(1)));
}

#[test]
fn a_limit_may_be_changed_at_any_time() {
    let multiplexer = with_options(ChannelOptions::new());
    let ids = [(); 3].map(|()| add(&multiplexer, LIMITED).unwrap().0);
    multiplexer.set_max_streams(LIMITED, Some(2)).unwrap();
    assert_eq!(multiplexer.max_streams(LIMITED), Ok(Some(2)));
    // A lower limit evicts no stream.
    assert_eq!(multiplexer.channel_len(LIMITED), Some(3));
    for id in ids {
        assert!(is_full(&multiplexer));
        multiplexer.remove_stream(id).unwrap();
        assert_eq!(multiplexer.try_recv(LIMITED), Ok((id, None)));
        if multiplexer.channel_len(LIMITED) < Some(2) {
            break;
        }
    }
    assert!(!is_full(&multiplexer));
    multiplexer.set_max_streams(LIMITED, Some(1)).unwrap();
    assert!(is_full(&multiplexer));
    // Twice the limit is more than the greatest number.
    for limit in [usize::MAX, usize::MAX / 2 + 1] {
        multiplexer.set_max_streams(LIMITED, Some(limit)).unwrap();
        assert!(!is_full(&multiplexer));
    }
    multiplexer.set_max_streams(LIMITED, None).unwrap();
    assert!(!is_full(&multiplexer));
}

#[test]
fn a_channel_that_is_not_there_has_no_limit() {
    let multiplexer = limited_by(1);
    let unknown = MultiplexerError::UnknownChannel(9);
    assert_eq!(multiplexer.set_max_streams(9, Some(1)), Err(unknown));
    assert_eq!(multiplexer.max_streams(9), Err(unknown));
    multiplexer.remove_channel(LIMITED);
    assert_eq!(multiplexer.max_streams(LIMITED), Err(MultiplexerError::UnknownChannel(LIMITED)));
    // A new channel with the same id has no limit.
    multiplexer.add_channel(LIMITED).unwrap();
    assert_eq!(multiplexer.max_streams(LIMITED), Ok(None));
}

#[test]
fn closed_is_reported_before_full() {
    let multiplexer = limited_by(0);
    multiplexer.close_channel(LIMITED).unwrap();
    assert_eq!(add(&multiplexer, LIMITED).err(), Some(MultiplexerError::Closed));
    let (id, _feed) = add(&multiplexer, OTHER).unwrap();
    assert_eq!(multiplexer.change_stream_channel(id, LIMITED), Err(MultiplexerError::Closed));
    multiplexer.close();
    assert_eq!(add(&multiplexer, LIMITED).err(), Some(MultiplexerError::Closed));
}

/// Whatever passes through the channel.
#[test]
fn a_channel_without_a_receiving_task_fills_up() {
    for limit in 1..5 {
        let multiplexer = limited_by(limit);
        let mut passed = 0;
        while let Ok((id, _)) = add(&multiplexer, LIMITED) {
            assert!(multiplexer.discard_stream(id));
            passed += 1;
            assert!(passed <= 2 * limit, "departures are not counted");
        }
        assert_eq!((passed, multiplexer.channel_len(LIMITED)), (2 * limit, Some(0)));
        let (id, _feed) = add(&multiplexer, OTHER).unwrap();
        assert_eq!(multiplexer.change_stream_channel(id, LIMITED), Err(FULL));

        // A received departure makes room for one stream.
        assert!(multiplexer.try_recv(LIMITED).is_ok());
        multiplexer.change_stream_channel(id, LIMITED).unwrap();
        assert_eq!(add(&multiplexer, LIMITED).err(), Some(FULL));
        while multiplexer.try_recv(LIMITED).is_ok() {}
        assert_eq!(add(&multiplexer, LIMITED).is_ok(), limit > 1);
    }
}

#[test]
fn departures_that_are_not_reported_do_not_fill_it() {
    let multiplexer = with_options(ChannelOptions::new().max_streams(1).report_departures(false));
    for _ in 0..100 {
        let (id, _feed) = add(&multiplexer, LIMITED).unwrap();
        assert!(multiplexer.discard_stream(id));
    }
}

type HookedStreams = Multiplexer<Hooked<Pipe<u32>>>;

/// A stream in the channel without a limit, with an action in its next poll.
fn hooked(action: impl FnOnce(HookedStreams, StreamId) + Send + 'static) -> (HookedStreams, Feed<u32>) {
    let multiplexer = HookedStreams::without_sinks();
    multiplexer.add_channel_with(LIMITED, ChannelOptions::new().max_streams(1)).unwrap();
    multiplexer.add_channel(OTHER).unwrap();
    let (feed, inner) = pipe();
    let hooks = Hooks::default();
    let id = multiplexer.add_stream(Hooked { inner, hooks: hooks.clone() }, OTHER).unwrap();
    let within = multiplexer.clone();
    hooks.on(Moment::Poll, move || action(within, id));
    (multiplexer, feed)
}

fn add_hooked(multiplexer: &HookedStreams) -> Result<StreamId, MultiplexerError> {
    Ok(multiplexer.add_stream(Hooked { inner: pipe().1, hooks: Hooks::default() }, LIMITED)?)
}

/// It counts in the new channel from the moment the call returns, not from its arrival; its departure counts in the old one.
#[test]
fn a_stream_that_is_moved_while_it_is_polled_counts_where_it_goes() {
    let (multiplexer, feed) = hooked(|multiplexer, id| {
        multiplexer.change_stream_channel(id, LIMITED).unwrap();
        assert_eq!(add_hooked(&multiplexer), Err(FULL));
        // Moves the stream back. Two departures are held until its poll returns, one of them in the limited channel.
        multiplexer.change_stream_channel(id, OTHER).unwrap();
        multiplexer.change_stream_channel(id, LIMITED).unwrap();
        multiplexer.change_stream_channel(id, OTHER).unwrap();
        assert_eq!(multiplexer.change_stream_channel(id, LIMITED), Err(FULL), "two are unread");
    });
    feed.push(1);
    let (id, item) = multiplexer.try_recv(OTHER).unwrap();
    assert_eq!((item, multiplexer.channel_of(id)), (Some(1), Some(OTHER)));
    assert_eq!(add_hooked(&multiplexer), Err(FULL));
    assert!(multiplexer.try_recv(LIMITED).is_ok());
    assert!(add_hooked(&multiplexer).is_ok());
}

/// Held departures count before and after the poll returns.
#[test]
fn departures_of_a_stream_that_is_being_polled_count() {
    let (multiplexer, feed) = hooked(|multiplexer, id| {
        multiplexer.set_max_streams(OTHER, Some(1)).unwrap();
        for _ in 0..2 {
            multiplexer.change_stream_channel(id, LIMITED).unwrap();
            let _ = multiplexer.try_recv(LIMITED);
            let back = multiplexer.change_stream_channel(id, OTHER);
            if back.is_err() {
                assert_eq!(back, Err(MultiplexerError::ChannelFull(OTHER)));
                return;
            }
        }
        panic!("two departures are held back");
    });
    feed.push(1);
    let (id, item) = multiplexer.try_recv(OTHER).unwrap();
    assert_eq!((item, multiplexer.channel_of(id)), (Some(1), Some(LIMITED)));
    assert_eq!(multiplexer.change_stream_channel(id, OTHER), Err(MultiplexerError::ChannelFull(OTHER)));
    assert_eq!(multiplexer.try_recv(OTHER), Ok((id, None)));
    assert_eq!(multiplexer.change_stream_channel(id, OTHER), Ok(()));
    assert_eq!(multiplexer.try_recv(OTHER), Ok((id, None)));
}

/// In a channel that reports only ends, an arriving stream waits for no end. Arrivals of streams that came and went
/// therefore do not accumulate, however many ends are unread.
#[test]
fn arrivals_do_not_fill_a_channel_that_reports_ends_alone() {
    let multiplexer = HookedStreams::without_sinks();
    let options = ChannelOptions::new().max_streams(1_000).report_departures(false);
    multiplexer.add_channel_with(LIMITED, options).unwrap();
    multiplexer.add_channel(OTHER).unwrap();
    for _ in 0..100 {
        let (feed, inner) = pipe();
        let hooks = Hooks::default();
        let id = multiplexer.add_stream(Hooked { inner, hooks: hooks.clone() }, OTHER).unwrap();
        let within = multiplexer.clone();
        hooks.on(Moment::Poll, move || within.change_stream_channel(id, LIMITED).unwrap());
        feed.end();
        assert_eq!(multiplexer.try_recv(OTHER), Ok((id, None)));
    }
    assert_eq!(multiplexer.stats(LIMITED).unwrap().unread_departures, 100);

    let (feed, inner) = pipe();
    feed.push(7);
    let id = multiplexer.add_stream(Hooked { inner, hooks: Hooks::default() }, OTHER).unwrap();
    for channel in [LIMITED, OTHER, LIMITED] {
        multiplexer.change_stream_channel(id, channel).unwrap();
    }
    let first = [(); 2].map(|()| multiplexer.try_recv(LIMITED).unwrap());
    assert!(first.contains(&(id, Some(7))), "it waits behind the ends of others");
}

/// Several threads race for the last place, with additions and moves.
#[test]
fn exactly_one_gets_the_last_place() {
    const THREADS: usize = 4;
    finishes(|| {
        let multiplexer = limited_by(0);
        let barrier = Arc::new(Barrier::new(THREADS));
        let threads: Vec<_> = (0..THREADS)
            .map(|thread| {
                let (multiplexer, barrier) = (multiplexer.clone(), Arc::clone(&barrier));
                thread::spawn(move || {
                    let mut won = 0;
                    for round in 0..500 {
                        let (id, _feed) = add(&multiplexer, OTHER).unwrap();
                        if barrier.wait().is_leader() {
                            multiplexer.set_max_streams(LIMITED, Some(round + 1)).unwrap();
                        }
                        barrier.wait();
                        won += usize::from(if thread % 2 == 0 {
                            add(&multiplexer, LIMITED).is_ok()
                        } else {
                            multiplexer.change_stream_channel(id, LIMITED).is_ok()
                        });
                        barrier.wait();
                        assert_eq!(multiplexer.channel_len(LIMITED), Some(round + 1));
                        barrier.wait();
                    }
                    won
                })
            })
            .collect();
        let won: usize = threads.into_iter().map(|thread| thread.join().unwrap()).sum();
        assert_eq!(won, 500);
    });
}

/// Streams enter, move and end in several threads while another thread receives. The limit is never exceeded.
#[test]
fn the_limit_holds_whatever_happens_at_a_time() {
    const LIMIT: usize = 3;
    finishes(|| {
        let multiplexer = limited_by(LIMIT);
        let threads: Vec<_> = (0..3)
            .map(|_| {
                let multiplexer = multiplexer.clone();
                thread::spawn(move || {
                    let mut refused = 0;
                    for round in 0..2_000 {
                        let Ok((id, feed)) = add(&multiplexer, LIMITED) else {
                            refused += 1;
                            thread::yield_now();
                            continue;
                        };
                        assert!(multiplexer.channel_len(LIMITED).unwrap() <= LIMIT);
                        match round % 3 {
                            0 => feed.end(),
                            1 => assert!(multiplexer.discard_stream(id)),
                            _ => {
                                multiplexer.change_stream_channel(id, OTHER).unwrap();
                                let _ = multiplexer.change_stream_channel(id, LIMITED);
                                assert!(multiplexer.channel_len(LIMITED).unwrap() <= LIMIT);
                                assert!(multiplexer.discard_stream(id));
                            }
                        }
                    }
                    refused
                })
            })
            .collect();
        let mut receiver = multiplexer.receiver(LIMITED).unwrap();
        let receiving = thread::spawn(move || {
            let mut left = 0;
            futures::executor::block_on(async {
                while let Some((_, event)) = receiver.next().await {
                    assert!(!matches!(event, StreamEvent::Item(_)));
                    left += 1;
                }
            });
            left
        });
        for thread in threads {
            thread.join().unwrap();
        }
        multiplexer.close();
        assert!(receiving.join().unwrap() > 0);
        assert_eq!(multiplexer.channel_len(LIMITED), Some(0));
    });
}

#[test]
fn a_limit_has_no_part_in_receiving() {
    let multiplexer = limited_by(2);
    let (id, feed) = add(&multiplexer, LIMITED).unwrap();
    multiplexer.set_max_streams(LIMITED, Some(0)).unwrap();
    feed.push(1);
    let mut receiver = multiplexer.receiver(LIMITED).unwrap();
    let mut context = Context::from_waker(Waker::noop());
    assert_eq!(receiver.poll_next_unpin(&mut context), Poll::Ready(Some((id, StreamEvent::Item(1)))));
}
