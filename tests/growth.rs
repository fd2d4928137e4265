//! Nothing grows unseen: values that come and go leave no memory behind, and the work for one value does not depend on the
//! number of others.
//!
//! These tests count bytes and polls; `benches/growth` measures the rest.

#[path = "growth/bytes.rs"]
mod bytes;
mod support;
#[path = "growth/tasks.rs"]
mod tasks;

use futures::FutureExt;
use std::sync::Arc;
use std::task::{Wake, Waker};
use stream_multiplexer::{Multiplexer, StreamId, StreamSlab};
use support::hooked::{Hooked, Hooks, Moment};
use support::{Feed, Gate, Gatekeeper, Pipe, gate, pipe, poll, poll_future};

const A: usize = 1;
const B: usize = 2;

type Pairs = Multiplexer<Pipe<u32>, Gate<u32>>;

fn multiplexer() -> Pairs {
    let multiplexer = Pairs::new();
    multiplexer.add_channel(A).unwrap();
    multiplexer.add_channel(B).unwrap();
    multiplexer
}

fn add(multiplexer: &Pairs) -> (StreamId, Feed<u32>, Gatekeeper<u32>) {
    let (feed, pipe) = pipe();
    let (keeper, gate) = gate(0);
    (multiplexer.add_stream_pair(gate, pipe, A).unwrap(), feed, keeper)
}

/// Values that come and go leave no byte behind.
mod leaves {
    use super::*;

    /// Repeats the round. The first rounds may allocate.
    fn assert_nothing(mut round: impl FnMut()) {
        (0..100).for_each(|_| round());
        let before = bytes::held();
        (0..2_000).for_each(|_| round());
        assert_eq!(bytes::held() - before, 0);
    }

    #[test]
    fn a_pair_that_comes_and_is_removed() {
        let multiplexer = multiplexer();
        let mut receiver = multiplexer.receiver(A).unwrap();
        assert_nothing(|| {
            let (id, ..) = add(&multiplexer);
            assert!(poll(&mut receiver).is_pending());
            multiplexer.remove_stream(id).unwrap();
            assert!(poll(&mut receiver).is_ready());
        });
    }

    #[test]
    fn a_pair_that_comes_and_ends() {
        let multiplexer = multiplexer();
        let mut receiver = multiplexer.receiver(A).unwrap();
        assert_nothing(|| {
            let (_, feed, _) = add(&multiplexer);
            feed.push(1);
            feed.end();
            assert!(poll(&mut receiver).is_ready());
            assert!(poll(&mut receiver).is_ready());
        });
    }

    #[test]
    fn a_pair_that_moves_to_and_fro() {
        let multiplexer = multiplexer();
        let mut receivers = [A, B].map(|channel| multiplexer.receiver(channel).unwrap());
        let (id, ..) = add(&multiplexer);
        assert_nothing(|| {
            multiplexer.change_stream_channel(id, B).unwrap();
            multiplexer.change_stream_channel(id, A).unwrap();
            for receiver in &mut receivers {
                while poll(receiver).is_ready() {}
            }
        });
    }

    #[test]
    fn a_channel_that_comes_and_goes() {
        const PASSING: usize = 3;
        let multiplexer = multiplexer();
        assert_nothing(|| {
            multiplexer.add_channel(PASSING).unwrap();
            let (id, ..) = add(&multiplexer);
            multiplexer.change_stream_channel(id, PASSING).unwrap();
            while multiplexer.try_recv(A).is_ok() {}
            assert_eq!(multiplexer.remove_channel(PASSING).unwrap().len(), 1);
        });
    }

    #[test]
    fn receivers_that_wait_and_go() {
        let multiplexer = multiplexer();
        assert_nothing(|| {
            let mut receivers = [(); 5].map(|()| multiplexer.receiver(A).unwrap());
            receivers.iter_mut().for_each(|receiver| assert!(poll(receiver).is_pending()));
            let mut recv = multiplexer.recv(A);
            assert!(poll_future(&mut recv, Waker::noop()).is_pending());
        });
    }

    #[test]
    fn senders_that_wait_and_go() {
        let multiplexer = multiplexer();
        let (id, ..) = add(&multiplexer);
        assert_nothing(|| {
            let mut sends = [(); 5].map(|()| multiplexer.send_one(id, 1));
            sends.iter_mut().for_each(|send| assert!(poll_future(send, Waker::noop()).is_pending()));
        });
    }

    /// A task that is polled repeatedly has one place.
    #[test]
    fn a_sender_that_is_polled_again() {
        let multiplexer = multiplexer();
        let (id, ..) = add(&multiplexer);
        let mut send = multiplexer.send_one(id, 1);
        assert_nothing(|| assert!(poll_future(&mut send, &Waker::from(Arc::new(Nobody))).is_pending()));
    }

    /// The same while another poll uses the sink.
    #[test]
    fn a_sender_that_misses_its_sink_again_and_again() {
        let multiplexer = Multiplexer::new();
        multiplexer.add_channel(A).unwrap();
        let hooks = Hooks::default();
        let sink = Hooked { inner: gate::<u32>(0).1, hooks: hooks.clone() };
        let id = multiplexer.add_stream_pair(sink, pipe::<u32>().1, A).unwrap();
        assert_nothing(|| {
            let inside = multiplexer.clone();
            hooks.on(Moment::Ready, move || {
                let mut send = inside.send_one(id, 1);
                (0..10).for_each(|_| assert!(poll_future(&mut send, Waker::noop()).is_pending()));
            });
            assert!(poll_future(&mut multiplexer.send_one(id, 1), Waker::noop()).is_pending());
        });
    }

    #[test]
    fn a_broadcast_to_sinks_that_are_slow() {
        let multiplexer = multiplexer();
        let (ids, keepers): (Vec<_>, Vec<_>) =
            (0..5).map(|_| add(&multiplexer)).map(|(id, _, keeper)| (id, keeper)).unzip();
        assert_nothing(|| {
            let mut send = multiplexer.send(ids.clone(), 1);
            assert!(poll_future(&mut send, Waker::noop()).is_pending());
            keepers.iter().for_each(|keeper| keeper.make_room(1));
            assert!(poll_future(&mut send, Waker::noop()).is_ready());
            keepers.iter().for_each(|keeper| drop(keeper.take_items()));
        });
    }

    #[test]
    fn a_stream_that_is_closed() {
        let multiplexer = multiplexer();
        assert_nothing(|| {
            let (id, ..) = add(&multiplexer);
            multiplexer.close_stream::<u32>(id).now_or_never().unwrap().unwrap();
            while multiplexer.try_recv(A).is_ok() {}
        });
    }

    #[test]
    fn a_multiplexer_that_is_shut_down() {
        assert_nothing(|| {
            let multiplexer = multiplexer();
            let keepers = [(); 3].map(|()| add(&multiplexer).2);
            keepers[0].set_closes(false);
            let mut shutdown = multiplexer.shutdown::<u32>();
            assert!(poll_future(&mut shutdown, Waker::noop()).is_pending());
            keepers[0].set_closes(true);
            assert!(poll_future(&mut shutdown, Waker::noop()).is_ready());
        });
    }

    #[test]
    fn a_shutdown_that_is_dropped_half_way() {
        let multiplexer = multiplexer();
        let keepers = [(); 3].map(|()| add(&multiplexer).2);
        keepers.iter().for_each(|keeper| keeper.set_closes(false));
        assert_nothing(|| {
            assert!(poll_future(&mut multiplexer.shutdown::<u32>(), Waker::noop()).is_pending());
        });
    }

    #[test]
    fn a_member_of_a_slab() {
        let mut slab = StreamSlab::new();
        assert_nothing(|| {
            let key = slab.insert(pipe::<u32>().1);
            assert!(poll(&mut slab).is_pending());
            slab.remove(key).unwrap();
        });
    }

    /// Memory for the greatest number of members is kept once, however often they come.
    #[test]
    fn a_second_burst_needs_no_more_than_the_first() {
        let multiplexer = multiplexer();
        let burst = || {
            let ids: Vec<_> = (0..1_000).map(|_| add(&multiplexer).0).collect();
            while multiplexer.try_recv(A).is_ok() {}
            ids.into_iter().for_each(|id| drop(multiplexer.remove_stream(id).unwrap()));
            while multiplexer.try_recv(A).is_ok() {}
        };
        burst();
        let before = bytes::held();
        (0..5).for_each(|_| burst());
        assert_eq!(bytes::held() - before, 0);
    }

    /// The memory after shrinking does not depend on the earlier number of members. (`tests/memory.rs` tests streams.)
    fn assert_shrinks(burst: impl Fn(usize)) {
        let kept = |many| {
            let before = bytes::held();
            burst(many);
            bytes::held() - before
        };
        kept(1_000);
        assert_eq!([kept(1_000), kept(30_000)], [0, 0]);
    }

    #[test]
    fn a_crowd_of_receivers_and_senders_if_it_is_shrunk() {
        let multiplexer = multiplexer();
        let (id, ..) = add(&multiplexer);
        assert_shrinks(|tasks| {
            let mut receives: Vec<_> = (0..tasks).map(|_| multiplexer.recv(A)).collect();
            receives.iter_mut().for_each(|recv| assert!(poll_future(recv, Waker::noop()).is_pending()));
            let mut sends: Vec<_> = (0..tasks).map(|_| multiplexer.send_one(id, 1)).collect();
            sends.iter_mut().for_each(|send| assert!(poll_future(send, Waker::noop()).is_pending()));
            drop((receives, sends));
            multiplexer.shrink_to_fit();
        });
    }

    #[test]
    fn a_stream_that_moves_much_in_its_own_poll_if_it_is_shrunk() {
        let multiplexer = Multiplexer::without_sinks();
        multiplexer.add_channel(A).unwrap();
        multiplexer.add_channel(B).unwrap();
        let hooks = Hooks::default();
        let (feed, pipe) = pipe::<u32>();
        let id = multiplexer.add_stream(Hooked { inner: pipe, hooks: hooks.clone() }, A).unwrap();
        assert!(multiplexer.try_recv(A).is_err());
        assert_shrinks(|moves| {
            let inside = multiplexer.clone();
            hooks.on(Moment::Poll, move || {
                for _ in 0..moves / 2 {
                    inside.change_stream_channel(id, B).unwrap();
                    inside.change_stream_channel(id, A).unwrap();
                }
            });
            feed.wake();
            for channel in [A, B] {
                while multiplexer.try_recv(channel).is_ok() {}
            }
            multiplexer.shrink_to_fit();
            assert!(multiplexer.try_recv(A).is_err());
        });
    }

    struct Nobody;

    impl Wake for Nobody {
        fn wake(self: Arc<Self>) {}
    }
}

/// The number of polls.
mod polls {
    use super::*;
    use crate::tasks::Tasks;

    /// A call that finds no event polls a bounded number of members.
    #[test]
    fn of_members_in_one_call() {
        for members in [100, 1_000, 10_000] {
            let multiplexer = multiplexer();
            let feeds: Vec<_> = (0..members).map(|_| add(&multiplexer).1).collect();
            assert!(poll(&mut multiplexer.receiver(A).unwrap()).is_pending());
            assert_eq!(feeds.iter().map(Feed::take_polls).sum::<usize>(), 64);

            let (feeds, pipes): (Vec<Feed<u32>>, Vec<_>) = (0..members).map(|_| pipe()).unzip();
            assert!(poll(&mut StreamSlab::from_iter(pipes)).is_pending());
            assert_eq!(feeds.iter().map(Feed::take_polls).sum::<usize>(), 64);
        }
    }

    /// One wake polls each task once, also if the tasks wait again in their wakers.
    #[test]
    fn of_tasks_that_wait_again_in_place() {
        const TASKS: usize = 50;
        let multiplexer = multiplexer();
        let (id, _, keeper) = add(&multiplexer);
        let mut tasks = Tasks::default();
        for _ in 0..TASKS {
            let multiplexer = multiplexer.clone();
            tasks.spawn_in_place(async move { multiplexer.send_one(id, 1).await.unwrap() });
        }
        let before = tasks.polls();
        keeper.make_room(0);
        assert_eq!(tasks.polls() - before, TASKS);
    }

    /// A poll of a send polls a bounded number of sinks, even if all are ready.
    #[test]
    fn of_sinks_in_one_poll() {
        for sinks in [100, 1_000, 10_000] {
            let multiplexer = multiplexer();
            let (ids, keepers): (Vec<_>, Vec<_>) = (0..sinks)
                .map(|_| add(&multiplexer))
                .map(|(id, _, keeper)| {
                    keeper.make_room(1);
                    (id, keeper)
                })
                .unzip();
            let mut send = multiplexer.send(ids, 1);
            assert!(poll_future(&mut send, Waker::noop()).is_pending());
            let reached = keepers.iter().filter(|keeper| keeper.take_polls() > 0).count();
            assert_eq!(reached, 64);
        }
    }

    /// A shutdown polls a bounded number of sinks in one poll, and each sink at most three times: in its turn, when it
    /// begins to wait, and when it was woken.
    #[test]
    fn of_sinks_that_are_shut_down() {
        for sinks in [1_000_usize, 20_000] {
            let multiplexer = multiplexer();
            let (_feeds, keepers): (Vec<_>, Vec<_>) =
                (0..sinks).map(|_| add(&multiplexer)).map(|(_, feed, keeper)| (feed, keeper)).unzip();
            // Every second sink is slow.
            keepers.iter().step_by(2).for_each(|keeper| keeper.set_closes(false));
            let (wakes, waker) = support::Wakes::new();
            let mut shutdown = multiplexer.shutdown::<u32>();
            let mut rounds = 0;
            let mut poll = || {
                rounds += 1;
                poll_future(&mut shutdown, &waker).map(|failures| assert_eq!(failures, []))
            };
            assert!(poll().is_pending());
            assert_eq!(keepers.iter().map(Gatekeeper::take_polls).sum::<usize>(), 64);
            while wakes.take() > 0 {
                assert!(poll().is_pending());
            }
            keepers.iter().step_by(2).for_each(|keeper| keeper.set_closes(true));
            while poll().is_pending() {
                assert!(wakes.take() > 0);
            }
            let polls: usize = keepers.iter().map(Gatekeeper::take_polls).sum();
            assert_eq!(polls, 2 * sinks - 64);
            assert!(rounds <= 3 * sinks / 64, "{rounds}");
        }
    }

    /// An item wakes each of many waiting tasks exactly once.
    #[test]
    fn of_tasks_that_wait_for_items_that_come_one_by_one() {
        const TASKS: usize = 50;
        let multiplexer = multiplexer();
        let (_, feed, _) = add(&multiplexer);
        let mut tasks = Tasks::default();
        for _ in 0..TASKS {
            let multiplexer = multiplexer.clone();
            tasks.spawn(async move { assert_eq!(multiplexer.recv(A).await.unwrap().1, Some(1)) });
        }
        for left in (1..=TASKS).rev() {
            let before = tasks.polls();
            feed.push(1);
            tasks.run();
            assert!(tasks.polls() - before <= left);
        }
    }

    #[test]
    fn of_tasks_that_wait_for_a_sink_that_takes_items_one_by_one() {
        const TASKS: usize = 50;
        let multiplexer = multiplexer();
        let (id, _, keeper) = add(&multiplexer);
        let mut tasks = Tasks::default();
        for _ in 0..TASKS {
            let multiplexer = multiplexer.clone();
            tasks.spawn(async move { multiplexer.send_one(id, 1).await.unwrap() });
        }
        for left in (1..=TASKS).rev() {
            let before = tasks.polls();
            keeper.make_room(1);
            tasks.run();
            assert!(tasks.polls() - before <= left);
        }
        assert!(tasks.are_done());
    }
}
