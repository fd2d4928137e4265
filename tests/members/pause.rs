//! Pausing: paused streams and channels are not polled, and no wake is lost.

use crate::support;
use futures::{FutureExt, StreamExt};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Barrier, mpsc};
use std::task::{Poll, Waker};
use std::thread;
use stream_multiplexer::{
    ChannelId, ChannelOptions, ChannelReceiver, Multiplexer, MultiplexerError, StreamEvent, StreamId,
    TryRecvError,
};
use support::hooked::{Hooked, Hooks, Moment};
use support::{Feed, Gate, Pipe, Wakes, finishes, gate, pipe, poll, poll_future, poll_with};

const A: ChannelId = 1;
const B: ChannelId = 2;

type Streams = Multiplexer<Pipe<u32>>;
type Receiver = ChannelReceiver<Pipe<u32>>;

fn channels() -> Streams {
    let multiplexer = Multiplexer::without_sinks();
    multiplexer.add_channel(A).unwrap();
    multiplexer.add_channel(B).unwrap();
    multiplexer
}

fn add(multiplexer: &Streams, channel: ChannelId) -> (StreamId, Feed<u32>) {
    let (feed, pipe) = pipe();
    (multiplexer.add_stream(pipe, channel).unwrap(), feed)
}

/// A paused stream of channel `A` that was polled in vain.
fn paused() -> (Streams, StreamId, Feed<u32>) {
    let multiplexer = channels();
    let (id, feed) = add(&multiplexer, A);
    assert_eq!(multiplexer.try_recv(A), Err(TryRecvError::Empty));
    multiplexer.pause_stream(id).unwrap();
    assert_eq!((multiplexer.is_paused(id), feed.take_polls()), (Some(true), 1));
    (multiplexer, id, feed)
}

fn item<T>(id: StreamId, item: T) -> Poll<Option<(StreamId, StreamEvent<T>)>> {
    Poll::Ready(Some((id, StreamEvent::Item(item))))
}

mod of_a_stream {
    use super::*;

    #[test]
    fn it_is_not_polled_whatever_wakes_it() {
        let (multiplexer, id, feed) = paused();
        let (other, other_feed) = add(&multiplexer, A);
        let mut receiver = multiplexer.receiver(A).unwrap();
        for number in 0..3 {
            feed.push(number);
            feed.wake();
            other_feed.push(number);
            assert_eq!(poll(&mut receiver), item(other, number));
            assert_eq!(poll(&mut receiver), Poll::Pending);
        }
        assert_eq!(feed.take_polls(), 0);

        multiplexer.resume_stream(id).unwrap();
        assert_eq!(multiplexer.is_paused(id), Some(false));
        for number in 0..3 {
            assert_eq!(poll(&mut receiver), item(id, number));
        }
        assert_eq!(poll(&mut receiver), Poll::Pending);
    }

    #[test]
    fn one_that_was_ready_is_not_polled() {
        let multiplexer = channels();
        let (id, feed) = add(&multiplexer, A);
        feed.push(1);
        multiplexer.pause_stream(id).unwrap();
        assert_eq!((multiplexer.try_recv(A), feed.take_polls()), (Err(TryRecvError::Empty), 0));
        multiplexer.resume_stream(id).unwrap();
        assert_eq!(multiplexer.try_recv(A), Ok((id, Some(1))));
    }

    /// Its wake was absorbed while it was paused.
    #[test]
    fn it_has_a_turn_when_it_is_resumed_though_its_wake_is_gone() {
        let (multiplexer, id, feed) = paused();
        let (wakes, waker) = Wakes::new();
        let mut receiver = multiplexer.receiver(A).unwrap();
        assert_eq!(poll_with(&mut receiver, &waker), Poll::Pending);
        feed.push(1);
        // This poll absorbs the wake.
        assert_eq!(poll_with(&mut receiver, &waker), Poll::Pending);
        wakes.take();
        multiplexer.resume_stream(id).unwrap();
        assert_eq!(wakes.take(), 1, "the receiver sleeps");
        assert_eq!(poll_with(&mut receiver, &waker), item(id, 1));
    }

    #[test]
    fn pausing_and_resuming_twice_is_no_error_and_no_turn() {
        let (multiplexer, id, feed) = paused();
        assert_eq!(multiplexer.pause_stream(id), Ok(()));
        assert_eq!(multiplexer.resume_stream(id), Ok(()));
        assert_eq!(multiplexer.try_recv(A), Err(TryRecvError::Empty));
        assert_eq!(feed.take_polls(), 1);
        assert_eq!(multiplexer.resume_stream(id), Ok(()));
        assert_eq!(multiplexer.try_recv(A), Err(TryRecvError::Empty));
        assert_eq!(feed.take_polls(), 0, "it was not paused");
    }

    #[test]
    fn one_that_is_not_there_is_unknown() {
        let (multiplexer, id, _feed) = paused();
        multiplexer.remove_stream(id).unwrap();
        let unknown = Err(MultiplexerError::UnknownStream(id));
        assert_eq!((multiplexer.pause_stream(id), multiplexer.resume_stream(id)), (unknown, unknown));
        assert_eq!(multiplexer.is_paused(id), None);
    }

    #[test]
    fn one_that_has_ended_and_stays_is_not_paused() {
        let multiplexer: Multiplexer<Pipe<u32>, Gate<u32>> = Multiplexer::new();
        multiplexer.add_channel_with(A, ChannelOptions::new().half_close(true)).unwrap();
        let (feed, stream) = pipe();
        let id = multiplexer.add_stream_pair(gate(1).1, stream, A).unwrap();
        feed.end();
        assert_eq!(multiplexer.try_recv(A), Ok((id, None)));
        let ended = Err(MultiplexerError::Ended(id));
        assert_eq!((multiplexer.pause_stream(id), multiplexer.resume_stream(id)), (ended, ended));
        assert_eq!(multiplexer.is_paused(id), Some(false));
        assert!(multiplexer.remove_stream(id).is_some());
    }

    #[test]
    fn it_stays_paused_where_it_is_moved_to() {
        let (multiplexer, id, feed) = paused();
        feed.push(1);
        multiplexer.change_stream_channel(id, B).unwrap();
        assert_eq!(multiplexer.is_paused(id), Some(true));
        assert_eq!(multiplexer.try_recv(A), Ok((id, None)), "its departure is received");
        assert_eq!(multiplexer.try_recv(B), Err(TryRecvError::Empty));
        multiplexer.change_stream_channel(id, A).unwrap();
        assert_eq!(multiplexer.try_recv(A), Err(TryRecvError::Empty));
        assert_eq!(feed.take_polls(), 0);
        multiplexer.resume_stream(id).unwrap();
        assert_eq!(multiplexer.try_recv(A), Ok((id, Some(1))));
    }

    /// Its arrival waits in the queue of departures. In every order of the arrival and the resumption.
    #[test]
    fn one_that_comes_back_before_its_departure_was_received() {
        for resumed_first in [false, true] {
            for paused_first in [false, true] {
                let multiplexer = channels();
                let (id, feed) = add(&multiplexer, A);
                feed.push(1);
                if paused_first {
                    multiplexer.pause_stream(id).unwrap();
                }
                multiplexer.change_stream_channel(id, B).unwrap();
                multiplexer.change_stream_channel(id, A).unwrap();
                multiplexer.pause_stream(id).unwrap();
                if resumed_first {
                    multiplexer.resume_stream(id).unwrap();
                    assert_eq!(multiplexer.try_recv(A), Ok((id, None)));
                } else {
                    assert_eq!(multiplexer.try_recv(A), Ok((id, None)));
                    assert_eq!(multiplexer.try_recv(A), Err(TryRecvError::Empty));
                    assert_eq!(feed.take_polls(), 0);
                    multiplexer.resume_stream(id).unwrap();
                }
                assert_eq!(multiplexer.try_recv(A), Ok((id, Some(1))));
                assert_eq!(multiplexer.try_recv(B), Ok((id, None)));
            }
        }
    }

    /// What is done with a stream; the function receives once.
    type Use = fn(&Streams, StreamId, &dyn Fn());

    /// A stream that came back before its departure was received has no turn before that, whatever is done with it.
    #[test]
    fn one_that_comes_back_is_paused_and_used_before_its_departure_was_received() {
        let uses: [Use; 4] = [
            |multiplexer, id, _| {
                multiplexer.pause_stream(id).unwrap();
                multiplexer.with_stream(id, |_| {}).unwrap();
                multiplexer.resume_stream(id).unwrap();
            },
            |multiplexer, id, _| {
                multiplexer.with_stream(id, |_| multiplexer.pause_stream(id)).unwrap().unwrap();
                multiplexer.resume_stream(id).unwrap();
            },
            |multiplexer, id, _| {
                multiplexer.pause_stream(id).unwrap();
                multiplexer.with_stream(id, |_| multiplexer.resume_stream(id)).unwrap().unwrap();
            },
            |multiplexer, id, _| {
                let pause_and_resume =
                    || multiplexer.pause_stream(id).and_then(|()| multiplexer.resume_stream(id));
                multiplexer.with_stream(id, |_| pause_and_resume()).unwrap().unwrap();
            },
        ];
        for (nth, uses) in uses.into_iter().enumerate() {
            let multiplexer = channels();
            let (id, feed) = add(&multiplexer, A);
            feed.push(1);
            multiplexer.change_stream_channel(id, B).unwrap();
            multiplexer.change_stream_channel(id, A).unwrap();
            uses(&multiplexer, id, &|| unreachable!());
            assert_eq!(multiplexer.try_recv(A), Ok((id, None)), "{nth}");
            assert_eq!(multiplexer.try_recv(A), Ok((id, Some(1))), "{nth}");
        }
    }

    const USES: [Use; 3] = [
        |multiplexer, id, receive| {
            multiplexer.pause_stream(id).unwrap();
            receive();
            multiplexer.resume_stream(id).unwrap();
        },
        |multiplexer, id, receive| multiplexer.with_stream(id, |_| receive()).unwrap(),
        |multiplexer, id, receive| {
            multiplexer.pause_stream(id).unwrap();
            multiplexer.with_stream(id, |_| receive()).unwrap();
            multiplexer.resume_stream(id).unwrap();
        },
    ];

    /// Its departure is received, and its arrival after that, while the stream is paused or in use.
    #[test]
    fn one_that_comes_back_may_have_turns_from_its_arrival_on() {
        for (nth, uses) in USES.into_iter().enumerate() {
            let multiplexer = channels();
            let (id, feed) = add(&multiplexer, A);
            multiplexer.change_stream_channel(id, B).unwrap();
            multiplexer.change_stream_channel(id, A).unwrap();
            uses(&multiplexer, id, &|| {
                assert_eq!(multiplexer.try_recv(A), Ok((id, None)));
                assert_eq!(multiplexer.try_recv(A), Err(TryRecvError::Empty));
            });
            feed.push(1);
            assert_eq!(multiplexer.try_recv(A), Ok((id, Some(1))), "{nth}");
        }
    }

    /// The arrival of a stay that is over comes before the departure that ended it: it does not let the stream in.
    #[test]
    fn one_that_comes_back_twice_has_no_turn_after_its_first_arrival() {
        for (nth, uses) in USES.into_iter().enumerate() {
            let multiplexer = channels();
            let (other, _feed) = add(&multiplexer, A);
            let (id, feed) = add(&multiplexer, A);
            feed.push(1);
            let there_and_back = || {
                multiplexer.change_stream_channel(id, B).unwrap();
                multiplexer.change_stream_channel(id, A).unwrap();
            };
            there_and_back();
            multiplexer.remove_stream(other).unwrap();
            // Received in one batch, and the next two reports in another one: the first arrival and the removal.
            assert_eq!(multiplexer.try_recv(A), Ok((id, None)));
            there_and_back();
            uses(&multiplexer, id, &|| assert_eq!(multiplexer.try_recv(A), Ok((other, None))));
            assert_eq!(multiplexer.try_recv(A), Ok((id, None)), "{nth}");
            assert_eq!(multiplexer.try_recv(A), Ok((id, Some(1))), "{nth}");
        }
    }

    #[test]
    fn it_may_be_removed() {
        let (multiplexer, id, feed) = paused();
        feed.push(1);
        let mut stream = multiplexer.remove_stream(id).unwrap().stream.unwrap();
        assert_eq!(multiplexer.try_recv(A), Ok((id, None)));
        assert_eq!(poll(&mut stream), Poll::Ready(Some(1)));
        // Another stream takes its slot.
        let (id, feed) = add(&multiplexer, A);
        assert_eq!(multiplexer.is_paused(id), Some(false));
        feed.push(2);
        assert_eq!(multiplexer.try_recv(A), Ok((id, Some(2))));
    }

    #[test]
    fn it_goes_with_its_channel() {
        let (multiplexer, id, _feed) = paused();
        let pairs = multiplexer.remove_channel(A).unwrap();
        assert_eq!((pairs.len(), pairs[0].id, pairs[0].stream.is_some()), (1, id, true));
        assert_eq!(multiplexer.is_paused(id), None);
    }

    #[test]
    fn it_may_be_used_in_place_and_is_still_paused() {
        let (multiplexer, id, feed) = paused();
        let (new, pipe) = pipe();
        new.push(7);
        multiplexer.with_stream(id, |mut stream| stream.set(pipe)).unwrap();
        assert!(feed.is_dropped());
        assert_eq!(multiplexer.is_paused(id), Some(true));
        assert_eq!((multiplexer.try_recv(A), new.take_polls()), (Err(TryRecvError::Empty), 0));
        multiplexer.resume_stream(id).unwrap();
        assert_eq!(multiplexer.try_recv(A), Ok((id, Some(7))));
    }

    #[test]
    fn it_may_be_paused_and_resumed_while_it_is_used() {
        let multiplexer = channels();
        let (id, feed) = add(&multiplexer, A);
        feed.push(1);
        multiplexer.with_stream(id, |_| multiplexer.pause_stream(id)).unwrap().unwrap();
        assert_eq!((multiplexer.try_recv(A), feed.take_polls()), (Err(TryRecvError::Empty), 0));
        multiplexer.with_stream(id, |_| multiplexer.resume_stream(id)).unwrap().unwrap();
        assert_eq!(multiplexer.try_recv(A), Ok((id, Some(1))));
    }

    #[test]
    fn its_sink_can_be_sent_to() {
        let multiplexer: Multiplexer<Pipe<u32>, Gate<u32>> = Multiplexer::new();
        multiplexer.add_channel(A).unwrap();
        let (keeper, sink) = gate(1);
        let id = multiplexer.add_stream_pair(sink, pipe().1, A).unwrap();
        multiplexer.pause_stream(id).unwrap();
        assert!(multiplexer.try_send(id, 5).is_ok());
        assert_eq!(keeper.take_items(), [5]);
    }

    #[test]
    fn a_closed_channel_waits_for_it() {
        let (multiplexer, id, feed) = paused();
        feed.end();
        multiplexer.close_channel(A).unwrap();
        let (wakes, waker) = Wakes::new();
        let mut drained = multiplexer.drained(A);
        assert!(poll_future(&mut drained, &waker).is_pending());
        let mut receiver = multiplexer.receiver(A).unwrap();
        assert_eq!(poll(&mut receiver), Poll::Pending);
        multiplexer.resume_stream(id).unwrap();
        assert_eq!(poll(&mut receiver), Poll::Ready(Some((id, StreamEvent::Ended))));
        assert_eq!(poll(&mut receiver), Poll::Ready(None));
        assert_eq!((wakes.take(), poll_future(&mut drained, &waker)), (1, Poll::Ready(Ok(()))));
    }

    #[test]
    fn memory_is_given_back_around_it() {
        let multiplexer = channels();
        let all: Vec<_> = (0..100).map(|_| add(&multiplexer, A)).collect();
        let (id, feed) = &all[90];
        multiplexer.pause_stream(*id).unwrap();
        all.iter().filter(|(other, _)| other != id).for_each(|(other, _)| {
            multiplexer.remove_stream(*other).unwrap();
        });
        while multiplexer.try_recv(A).is_ok() {}
        multiplexer.shrink_to_fit();
        assert_eq!(multiplexer.is_paused(*id), Some(true));
        feed.push(1);
        assert_eq!((multiplexer.try_recv(A), feed.take_polls()), (Err(TryRecvError::Empty), 0));
        multiplexer.resume_stream(*id).unwrap();
        assert_eq!(multiplexer.try_recv(A), Ok((*id, Some(1))));
    }

    /// Other streams have the turns that it does not take.
    #[test]
    fn the_others_go_on() {
        let multiplexer = channels();
        let all: Vec<_> = (0..100).map(|_| add(&multiplexer, A)).collect();
        for (index, (id, feed)) in all.iter().enumerate() {
            (0..3).for_each(|number| feed.push(number));
            if index % 2 == 0 {
                multiplexer.pause_stream(*id).unwrap();
            }
        }
        let mut received = Vec::new();
        while let Ok((id, _)) = multiplexer.try_recv(A) {
            received.push(id);
        }
        let awake: Vec<_> = all.iter().skip(1).step_by(2).map(|(id, _)| *id).collect();
        assert_eq!(received, [awake.clone(), awake.clone(), awake].concat());
    }
}

/// Actions of a stream in its own poll, before it checks for an item.
mod in_its_own_poll {
    use super::*;

    type Hookeds = Multiplexer<Hooked<Pipe<u32>>>;

    struct Scene {
        multiplexer: Hookeds,
        id: StreamId,
        feed: Feed<u32>,
        hooks: Hooks,
    }

    impl Scene {
        fn new(action: fn(&Hookeds, StreamId)) -> Self {
            let multiplexer = Multiplexer::without_sinks();
            multiplexer.add_channel(A).unwrap();
            multiplexer.add_channel(B).unwrap();
            let (feed, inner) = pipe();
            let hooks = Hooks::default();
            let id = multiplexer.add_stream(Hooked { inner, hooks: hooks.clone() }, A).unwrap();
            let scene = Self { multiplexer, id, feed, hooks };
            scene.act(action);
            scene
        }

        /// Runs the action in the next poll.
        fn act(&self, action: fn(&Hookeds, StreamId)) {
            let (multiplexer, id) = (self.multiplexer.clone(), self.id);
            self.hooks.on(Moment::Poll, move || action(&multiplexer, id));
        }
    }

    #[test]
    fn it_is_paused_from_the_end_of_the_poll() {
        let Scene { multiplexer, id, feed, .. } = Scene::new(|multiplexer, id| {
            multiplexer.pause_stream(id).unwrap();
            assert_eq!(multiplexer.is_paused(id), Some(true));
        });
        feed.push(1);
        feed.push(2);
        assert_eq!(multiplexer.try_recv(A), Ok((id, Some(1))), "the item of that poll");
        assert_eq!(multiplexer.try_recv(A), Err(TryRecvError::Empty));
        feed.wake();
        assert_eq!((multiplexer.try_recv(A), feed.take_polls()), (Err(TryRecvError::Empty), 1));
        multiplexer.resume_stream(id).unwrap();
        assert_eq!(multiplexer.try_recv(A), Ok((id, Some(2))));
    }

    #[test]
    fn it_is_paused_and_ends() {
        let Scene { multiplexer, id, feed, .. } =
            Scene::new(|multiplexer, id| multiplexer.pause_stream(id).unwrap());
        feed.end();
        let mut receiver = multiplexer.receiver(A).unwrap();
        assert_eq!(poll(&mut receiver), Poll::Ready(Some((id, StreamEvent::Ended))));
        assert_eq!(multiplexer.is_paused(id), None);
        assert!(feed.is_dropped());
    }

    #[test]
    fn it_is_paused_and_panics() {
        let Scene { multiplexer, id, feed, .. } =
            Scene::new(|multiplexer, id| multiplexer.pause_stream(id).unwrap());
        feed.panic();
        let mut receiver = multiplexer.receiver(A).unwrap();
        let poll_it = || poll(&mut receiver);
        assert!(std::panic::catch_unwind(std::panic::AssertUnwindSafe(poll_it)).is_err());
        assert_eq!(poll(&mut receiver), Poll::Ready(Some((id, StreamEvent::Removed))));
    }

    /// A wake during that poll, before or after the action, is not lost.
    #[test]
    fn it_is_paused_and_resumed_and_has_another_turn() {
        let Scene { multiplexer, id, feed, .. } = Scene::new(|multiplexer, id| {
            multiplexer.pause_stream(id).unwrap();
            multiplexer.resume_stream(id).unwrap();
        });
        assert_eq!(multiplexer.try_recv(A), Err(TryRecvError::Empty));
        assert_eq!(feed.take_polls(), 2);
        feed.push(1);
        assert_eq!(multiplexer.try_recv(A), Ok((id, Some(1))));
    }

    #[test]
    fn it_is_paused_and_moved() {
        let Scene { multiplexer, id, feed, .. } = Scene::new(|multiplexer, id| {
            multiplexer.pause_stream(id).unwrap();
            multiplexer.change_stream_channel(id, B).unwrap();
            assert_eq!(multiplexer.is_paused(id), Some(true));
        });
        feed.push(1);
        feed.push(2);
        assert_eq!(multiplexer.try_recv(A), Ok((id, Some(1))));
        assert_eq!(multiplexer.try_recv(A), Ok((id, None)));
        assert_eq!(multiplexer.try_recv(B), Err(TryRecvError::Empty));
        assert_eq!(feed.take_polls(), 1);
        multiplexer.resume_stream(id).unwrap();
        assert_eq!(multiplexer.try_recv(B), Ok((id, Some(2))));
    }

    #[test]
    fn it_is_moved_and_paused() {
        let Scene { multiplexer, id, feed, .. } = Scene::new(|multiplexer, id| {
            multiplexer.change_stream_channel(id, B).unwrap();
            multiplexer.pause_stream(id).unwrap();
            multiplexer.pause_stream(id).unwrap();
            assert_eq!(multiplexer.is_paused(id), Some(true));
            multiplexer.change_stream_channel(id, A).unwrap();
            multiplexer.change_stream_channel(id, B).unwrap();
        });
        feed.push(1);
        feed.push(2);
        assert_eq!(multiplexer.try_recv(A), Ok((id, Some(1))));
        assert_eq!(multiplexer.try_recv(B), Ok((id, None)));
        assert_eq!((multiplexer.try_recv(B), feed.take_polls()), (Err(TryRecvError::Empty), 1));
        multiplexer.resume_stream(id).unwrap();
        assert_eq!(multiplexer.try_recv(B), Ok((id, Some(2))));
    }

    #[test]
    fn it_is_paused_moved_and_resumed() {
        let Scene { multiplexer, id, feed, .. } = Scene::new(|multiplexer, id| {
            multiplexer.pause_stream(id).unwrap();
            multiplexer.change_stream_channel(id, B).unwrap();
            multiplexer.resume_stream(id).unwrap();
            assert_eq!(multiplexer.is_paused(id), Some(false));
        });
        feed.push(1);
        feed.push(2);
        assert_eq!(multiplexer.try_recv(A), Ok((id, Some(1))));
        assert_eq!(multiplexer.try_recv(B), Ok((id, Some(2))));
    }

    #[test]
    fn it_is_moved_away_paused_and_ends() {
        let Scene { multiplexer, id, feed, .. } = Scene::new(|multiplexer, id| {
            multiplexer.change_stream_channel(id, B).unwrap();
            multiplexer.pause_stream(id).unwrap();
        });
        feed.end();
        assert_eq!(multiplexer.try_recv(A), Ok((id, None)));
        assert_eq!(multiplexer.try_recv(B), Ok((id, None)));
        assert_eq!((multiplexer.is_paused(id), feed.is_dropped()), (None, true));
    }

    #[test]
    fn it_is_paused_and_removed() {
        let Scene { multiplexer, id, feed, .. } = Scene::new(|multiplexer, id| {
            multiplexer.pause_stream(id).unwrap();
            assert!(multiplexer.remove_stream(id).unwrap().stream.is_none());
        });
        feed.push(1);
        assert_eq!(multiplexer.try_recv(A), Ok((id, Some(1))));
        assert_eq!(multiplexer.try_recv(A), Ok((id, None)));
        assert!(feed.is_dropped());
    }

    #[test]
    fn its_channel_is_paused_from_then_on() {
        let scene = Scene::new(|multiplexer, _| multiplexer.pause_channel(A).unwrap());
        let Scene { multiplexer, id, feed, .. } = &scene;
        (1..5).for_each(|number| feed.push(number));
        let mut receiver = multiplexer.receiver(A).unwrap();
        let mut buffer = Vec::new();
        let received = receiver.recv_many(&mut buffer, 10).now_or_never();
        assert_eq!((received, buffer.pop()), (Some(1), Some((*id, StreamEvent::Item(1)))));
        assert_eq!((receiver.next().now_or_never(), feed.take_polls()), (None, 1));
        multiplexer.resume_channel(A).unwrap();
        assert_eq!(poll(&mut receiver), item(*id, 2));

        // The departure is received after the item.
        scene.act(|multiplexer, id| {
            multiplexer.change_stream_channel(id, B).unwrap();
            multiplexer.pause_channel(A).unwrap();
        });
        assert_eq!(poll(&mut receiver), item(*id, 3));
        assert_eq!(poll(&mut receiver), Poll::Pending);
        multiplexer.resume_channel(A).unwrap();
        assert_eq!(poll(&mut receiver), Poll::Ready(Some((*id, StreamEvent::Moved(B)))));
        assert_eq!(multiplexer.try_recv(B), Ok((*id, Some(4))));
    }
}

mod of_a_channel {
    use super::*;

    fn paused() -> (Streams, StreamId, Feed<u32>) {
        let multiplexer = channels();
        let (id, feed) = add(&multiplexer, A);
        assert_eq!(multiplexer.try_recv(A), Err(TryRecvError::Empty));
        multiplexer.pause_channel(A).unwrap();
        assert_eq!((multiplexer.is_channel_paused(A), feed.take_polls()), (Some(true), 1));
        (multiplexer, id, feed)
    }

    fn sleeper(multiplexer: &Streams) -> (Receiver, Arc<Wakes>, Waker) {
        let mut receiver = multiplexer.receiver(A).unwrap();
        let (wakes, waker) = Wakes::new();
        assert_eq!(poll_with(&mut receiver, &waker), Poll::Pending);
        (receiver, wakes, waker)
    }

    #[test]
    fn nothing_is_received_in_any_way() {
        let (multiplexer, id, feed) = paused();
        feed.push(1);
        let (gone, _) = add(&multiplexer, A);
        multiplexer.remove_stream(gone).unwrap();
        let mut receiver = multiplexer.receiver(A).unwrap();
        assert_eq!(poll(&mut receiver), Poll::Pending);
        assert_eq!(receiver.recv_many(&mut Vec::new(), 9).now_or_never(), None);
        assert_eq!(multiplexer.recv(A).now_or_never(), None);
        assert_eq!(multiplexer.try_recv(A), Err(TryRecvError::Empty));
        assert_eq!(feed.take_polls(), 0);

        multiplexer.resume_channel(A).unwrap();
        assert_eq!(multiplexer.is_channel_paused(A), Some(false));
        assert_eq!(poll(&mut receiver), item(id, 1));
        assert_eq!(poll(&mut receiver), Poll::Ready(Some((gone, StreamEvent::Removed))));
    }

    /// Also receivers that were parked before. Only one of the wakes is in vain.
    #[test]
    fn its_receivers_are_woken_when_it_is_resumed() {
        for parked_before in [false, true] {
            let (multiplexer, id, feed) = paused();
            if parked_before {
                multiplexer.resume_channel(A).unwrap();
            }
            let mut sleepers = [(); 3].map(|()| sleeper(&multiplexer));
            let mut recv = multiplexer.recv(A);
            let (recv_wakes, recv_waker) = Wakes::new();
            assert!(poll_future(&mut recv, &recv_waker).is_pending());
            multiplexer.pause_channel(A).unwrap();

            feed.push(1);
            let mut in_vain = 0;
            for _ in 0..20 {
                if let Some(waker) = feed.waker() {
                    waker.wake();
                }
                let _feed = add(&multiplexer, A);
                for (receiver, wakes, waker) in &mut sleepers {
                    in_vain += wakes.take();
                    assert_eq!(poll_with(receiver, waker), Poll::Pending);
                }
                assert!(poll_future(&mut recv, &recv_waker).is_pending());
            }
            assert!(in_vain <= 2 * sleepers.len(), "{in_vain}");
            recv_wakes.take();

            multiplexer.resume_channel(A).unwrap();
            assert_eq!(sleepers.each_ref().map(|(_, wakes, _)| wakes.take()), [1; 3]);
            assert_eq!(recv_wakes.take(), 1);
            let (receiver, _, _) = &mut sleepers[2];
            assert_eq!(poll(receiver), item(id, 1));
        }
    }

    #[test]
    fn streams_may_come_and_go() {
        let (multiplexer, id, feed) = paused();
        let (other, other_feed) = add(&multiplexer, B);
        other_feed.push(7);
        multiplexer.change_stream_channel(other, A).unwrap();
        multiplexer.change_stream_channel(id, B).unwrap();
        assert_eq!(multiplexer.try_recv(A), Err(TryRecvError::Empty));
        feed.push(1);
        assert_eq!(multiplexer.try_recv(B), Ok((id, Some(1))), "it is not paused itself");
        assert_eq!(multiplexer.try_recv(B), Ok((other, None)));
        multiplexer.resume_channel(A).unwrap();
        let mut received = [multiplexer.try_recv(A).unwrap(), multiplexer.try_recv(A).unwrap()];
        received.sort_unstable();
        assert_eq!(received, [(id, None), (other, Some(7))]);
    }

    #[test]
    fn a_stream_that_is_paused_itself_stays_so() {
        let (multiplexer, id, feed) = paused();
        multiplexer.pause_stream(id).unwrap();
        feed.push(1);
        multiplexer.resume_channel(A).unwrap();
        assert_eq!((multiplexer.try_recv(A), feed.take_polls()), (Err(TryRecvError::Empty), 0));
        multiplexer.pause_channel(A).unwrap();
        multiplexer.resume_stream(id).unwrap();
        assert_eq!((multiplexer.try_recv(A), feed.take_polls()), (Err(TryRecvError::Empty), 0));
        multiplexer.resume_channel(A).unwrap();
        assert_eq!(multiplexer.try_recv(A), Ok((id, Some(1))));
    }

    #[test]
    fn pausing_and_resuming_twice_is_no_error_and_wakes_no_task() {
        let (multiplexer, _, _feed) = paused();
        assert_eq!(multiplexer.pause_channel(A), Ok(()));
        let (_receiver, wakes, _waker) = sleeper(&multiplexer);
        assert_eq!((multiplexer.resume_channel(A), wakes.take()), (Ok(()), 1));
        let (_receiver, wakes, _waker) = sleeper(&multiplexer);
        assert_eq!((multiplexer.resume_channel(A), wakes.take()), (Ok(()), 0));
        let unknown = Err(MultiplexerError::UnknownChannel(9));
        assert_eq!((multiplexer.pause_channel(9), multiplexer.resume_channel(9)), (unknown, unknown));
        assert_eq!(multiplexer.is_channel_paused(9), None);
    }

    #[test]
    fn it_ends_when_it_is_removed() {
        let (multiplexer, _, feed) = paused();
        feed.push(1);
        let (mut receiver, wakes, waker) = sleeper(&multiplexer);
        let mut recv = multiplexer.recv(A);
        assert!(poll_future(&mut recv, &waker).is_pending());
        assert!(multiplexer.discard_channel(A));
        assert_eq!((wakes.take(), poll_with(&mut receiver, &waker)), (2, Poll::Ready(None)));
        let unknown = MultiplexerError::UnknownChannel(A);
        assert_eq!(poll_future(&mut recv, &waker), Poll::Ready(Err(unknown)));
        assert_eq!((multiplexer.resume_channel(A), multiplexer.is_channel_paused(A)), (Err(unknown), None));
        // A new channel with the same id is not paused.
        multiplexer.add_channel(A).unwrap();
        assert_eq!(multiplexer.is_channel_paused(A), Some(false));
    }

    #[test]
    fn it_ends_when_it_is_closed_and_nothing_is_in_it() {
        let multiplexer = channels();
        multiplexer.pause_channel(A).unwrap();
        let (mut receiver, wakes, waker) = sleeper(&multiplexer);
        multiplexer.close_channel(A).unwrap();
        assert_eq!((wakes.take(), poll_with(&mut receiver, &waker)), (1, Poll::Ready(None)));
        assert_eq!(multiplexer.try_recv(A), Err(TryRecvError::Closed));
        assert_eq!(multiplexer.is_channel_paused(A), Some(true));
        multiplexer.resume_channel(A).unwrap();
        assert_eq!(multiplexer.try_recv(A), Err(TryRecvError::Closed));
    }

    /// Its contents are received after it is resumed. A closed channel can also be paused.
    #[test]
    fn it_is_closed_and_something_is_in_it() {
        for closed_first in [false, true] {
            let multiplexer = channels();
            let (id, feed) = add(&multiplexer, A);
            let (gone, _) = add(&multiplexer, A);
            if closed_first {
                multiplexer.close_channel(A).unwrap();
            }
            multiplexer.pause_channel(A).unwrap();
            let (mut receiver, wakes, waker) = sleeper(&multiplexer);
            multiplexer.close_channel(A).unwrap();
            feed.end();
            multiplexer.remove_stream(gone).unwrap();
            let mut drained = multiplexer.drained(A);
            assert!(poll_future(&mut drained, &waker).is_pending());
            assert_eq!(poll_with(&mut receiver, &waker), Poll::Pending);
            wakes.take();
            multiplexer.resume_channel(A).unwrap();
            assert_eq!(wakes.take(), 1);
            let mut left = [(); 2].map(|()| match poll_with(&mut receiver, &waker) {
                Poll::Ready(Some((id, event))) => (id, event.item()),
                other => panic!("{other:?}"),
            });
            left.sort_unstable();
            assert_eq!(left, [(id, None), (gone, None)]);
            assert_eq!(poll_with(&mut receiver, &waker), Poll::Ready(None));
            assert_eq!(poll_future(&mut drained, &waker), Poll::Ready(Ok(())));
        }
    }

    /// Its last stream is removed. The receivers only receive the end of the channel.
    #[test]
    fn it_is_closed_and_emptied() {
        for reports_departures in [false, true] {
            let multiplexer: Streams = Multiplexer::new();
            let options = ChannelOptions::new().report_departures(reports_departures);
            multiplexer.add_channel_with(A, options).unwrap();
            let (id, _feed) = add(&multiplexer, A);
            multiplexer.pause_channel(A).unwrap();
            multiplexer.close_channel(A).unwrap();
            let (mut receiver, wakes, waker) = sleeper(&multiplexer);
            multiplexer.remove_stream(id).unwrap();
            assert_eq!(poll_future(&mut multiplexer.drained(A), &waker), Poll::Ready(Ok(())));
            if reports_departures {
                assert_eq!(poll_with(&mut receiver, &waker), Poll::Pending, "its departure is still in it");
                multiplexer.resume_channel(A).unwrap();
                assert_eq!(poll_with(&mut receiver, &waker), Poll::Ready(Some((id, StreamEvent::Removed))));
            } else {
                assert_ne!(wakes.take(), 0);
            }
            assert_eq!(poll_with(&mut receiver, &waker), Poll::Ready(None));
        }
    }
}

/// Otherwise a receiver would wait forever.
#[test]
fn what_is_paused_goes_on_when_all_handles_are_gone() {
    let multiplexer = channels();
    let all: Vec<_> = (0..100).map(|_| add(&multiplexer, A)).collect();
    for (index, (id, feed)) in all.iter().enumerate() {
        feed.push(1);
        feed.end();
        if index % 3 == 0 {
            multiplexer.pause_stream(*id).unwrap();
        }
    }
    multiplexer.pause_channel(A).unwrap();
    let mut receiver = multiplexer.receiver(A).unwrap();
    let (wakes, waker) = Wakes::new();
    assert_eq!(poll_with(&mut receiver, &waker), Poll::Pending);
    drop(multiplexer);
    assert_ne!(wakes.take(), 0);
    let mut items = 0;
    loop {
        match poll_with(&mut receiver, &waker) {
            Poll::Ready(Some((_, StreamEvent::Item(1)))) => items += 1,
            Poll::Ready(Some((_, event))) => assert_eq!(event, StreamEvent::Ended),
            Poll::Ready(None) => break,
            Poll::Pending => panic!("it waits"),
        }
    }
    assert_eq!(items, 100);
}

/// A stream that is paused itself, in a channel that is not. Its receiver sleeps, and is woken for the stream.
#[test]
fn a_stream_that_is_paused_goes_on_when_all_handles_are_gone() {
    let (multiplexer, id, feed) = paused();
    feed.push(1);
    let mut receiver = multiplexer.receiver(A).unwrap();
    let (wakes, waker) = Wakes::new();
    while poll_with(&mut receiver, &waker).is_ready() || wakes.take() > 0 {}
    drop(multiplexer);
    assert_eq!(wakes.take(), 1);
    assert_eq!(poll_with(&mut receiver, &waker), item(id, 1));
}

mod at_a_time {
    use super::*;

    /// A stream that blocks in its poll until the test lets it continue.
    struct Held {
        multiplexer: Multiplexer<Hooked<Pipe<u32>>>,
        id: StreamId,
        feed: Feed<u32>,
        go_on: mpsc::Sender<()>,
        receiving: thread::JoinHandle<Result<(StreamId, Option<u32>), TryRecvError>>,
    }

    fn held() -> Held {
        let multiplexer = Multiplexer::without_sinks();
        multiplexer.add_channel(A).unwrap();
        multiplexer.add_channel(B).unwrap();
        let (feed, inner) = pipe();
        let hooks = Hooks::default();
        let (begun, begins) = mpsc::channel();
        let (go_on, goes_on) = mpsc::channel();
        hooks.on(Moment::Poll, move || {
            begun.send(()).unwrap();
            goes_on.recv().unwrap();
        });
        let id = multiplexer.add_stream(Hooked { inner, hooks }, A).unwrap();
        feed.push(1);
        feed.push(2);
        let within: Multiplexer<Hooked<Pipe<u32>>> = multiplexer.clone();
        let receiving = thread::spawn(move || within.try_recv(A));
        begins.recv().unwrap();
        Held { multiplexer, id, feed, go_on, receiving }
    }

    #[test]
    fn it_is_paused_while_another_thread_polls_it() {
        finishes(|| {
            let Held { multiplexer, id, feed, go_on, receiving } = held();
            multiplexer.pause_stream(id).unwrap();
            go_on.send(()).unwrap();
            assert_eq!(receiving.join().unwrap(), Ok((id, Some(1))));
            assert_eq!((multiplexer.try_recv(A), feed.take_polls()), (Err(TryRecvError::Empty), 1));
            multiplexer.resume_stream(id).unwrap();
            assert_eq!(multiplexer.try_recv(A), Ok((id, Some(2))));
        });
    }

    #[test]
    fn it_is_paused_and_moved_while_another_thread_polls_it() {
        for moved_first in [false, true] {
            finishes(move || {
                let Held { multiplexer, id, feed, go_on, receiving } = held();
                if moved_first {
                    multiplexer.change_stream_channel(id, B).unwrap();
                }
                multiplexer.pause_stream(id).unwrap();
                if !moved_first {
                    multiplexer.change_stream_channel(id, B).unwrap();
                }
                assert_eq!(multiplexer.is_paused(id), Some(true));
                go_on.send(()).unwrap();
                assert_eq!(receiving.join().unwrap(), Ok((id, Some(1))));
                assert_eq!((multiplexer.try_recv(B), feed.take_polls()), (Err(TryRecvError::Empty), 1));
                multiplexer.resume_stream(id).unwrap();
                assert_eq!(multiplexer.try_recv(B), Ok((id, Some(2))));
            });
        }
    }

    /// One thread feeds, one receives, and one pauses and resumes: all items arrive in order.
    fn nothing_is_lost(pause: fn(&Streams, StreamId), resume: fn(&Streams, StreamId)) {
        const ITEMS: u32 = 5_000;
        finishes(move || {
            let multiplexer = channels();
            let (id, feed) = add(&multiplexer, A);
            let barrier = Arc::new(Barrier::new(3));
            let done = Arc::new(AtomicBool::new(false));
            let feeding = {
                let barrier = Arc::clone(&barrier);
                thread::spawn(move || {
                    barrier.wait();
                    (0..ITEMS).for_each(|number| feed.push(number));
                })
            };
            let receiving = {
                let barrier = Arc::clone(&barrier);
                let mut receiver = multiplexer.receiver(A).unwrap();
                thread::spawn(move || {
                    barrier.wait();
                    futures::executor::block_on(async {
                        for number in 0..ITEMS {
                            assert_eq!(receiver.next().await, Some((id, StreamEvent::Item(number))));
                        }
                    });
                })
            };
            let pausing = {
                let done = Arc::clone(&done);
                thread::spawn(move || {
                    barrier.wait();
                    while !done.load(Ordering::SeqCst) {
                        pause(&multiplexer, id);
                        thread::yield_now();
                        resume(&multiplexer, id);
                    }
                })
            };
            feeding.join().unwrap();
            receiving.join().unwrap();
            done.store(true, Ordering::SeqCst);
            pausing.join().unwrap();
        });
    }

    #[test]
    fn nothing_is_lost_of_a_stream_that_is_paused_again_and_again() {
        nothing_is_lost(
            |multiplexer, id| multiplexer.pause_stream(id).unwrap(),
            |multiplexer, id| multiplexer.resume_stream(id).unwrap(),
        );
    }

    #[test]
    fn nothing_is_lost_of_a_channel_that_is_paused_again_and_again() {
        nothing_is_lost(
            |multiplexer, _| multiplexer.pause_channel(A).unwrap(),
            |multiplexer, _| multiplexer.resume_channel(A).unwrap(),
        );
    }
}
