//! Receiving: an empty channel waits, every new event wakes all waiting receivers, each event is received by one of
//! them, and receivers end with their channel.

use crate::random::below;
use crate::support;
use futures::stream::{self, FusedStream};
use futures::{FutureExt, Stream, StreamExt};
use pollster::block_on;
use quickcheck::{Arbitrary, Gen, QuickCheck};
use std::collections::HashMap;
use std::pin::Pin;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Barrier, Mutex, mpsc};
use std::task::{Context, Poll, Wake, Waker};
use std::thread;
use stream_multiplexer::{
    ChannelOptions, ChannelReceiver, Multiplexer, MultiplexerError, Recv, Share, StreamEvent, StreamId,
    TryRecvError,
};
use support::{Feed, Pipe, Wakes, assert_over, finishes, pipe, poll, poll_future, poll_with};

const CHANNEL: usize = 7;
const OTHER: usize = 8;

type Streams = Multiplexer<Pipe<u32>>;
type Receiver = ChannelReceiver<Pipe<u32>, ()>;

fn multiplexer<St, Si>() -> Multiplexer<St, Si> {
    let multiplexer = Multiplexer::new();
    multiplexer.add_channel(CHANNEL).unwrap();
    multiplexer.add_channel(OTHER).unwrap();
    multiplexer
}

/// The output of a future that is ready immediately.
fn now<F: Future>(future: F) -> F::Output {
    future.now_or_never().expect("it is ready")
}

fn add(multiplexer: &Streams, channel: usize) -> (StreamId, Feed<u32>) {
    let (feed, pipe) = pipe();
    (multiplexer.add_stream(pipe, channel).unwrap(), feed)
}

mod waiting {
    use super::*;

    /// A task that is polled in its waker.
    struct InPlace(Mutex<Receiver>, AtomicUsize);

    impl Wake for InPlace {
        fn wake(self: Arc<Self>) {
            let wakes = self.1.fetch_add(1, Ordering::Relaxed);
            assert!(wakes < 100, "it is woken again and again");
            let waker = Waker::from(Arc::clone(&self));
            assert!(poll_with(&mut *self.0.lock().unwrap(), &waker).is_pending());
        }
    }

    #[test]
    fn a_wake_ends_even_if_the_woken_tasks_wait_again_immediately() {
        let multiplexer = multiplexer();
        let receiver = || Mutex::new(multiplexer.receiver(CHANNEL).unwrap());
        let tasks: Vec<_> = (0..4).map(|_| Arc::new(InPlace(receiver(), AtomicUsize::new(0)))).collect();
        for task in &tasks {
            let waker = Waker::from(Arc::clone(task));
            assert!(poll_with(&mut *task.0.lock().unwrap(), &waker).is_pending());
        }
        add(&multiplexer, CHANNEL);
        let wakes: usize = tasks.iter().map(|task| task.1.load(Ordering::Relaxed)).sum();
        assert!((4..40).contains(&wakes), "{wakes}");
    }

    #[test]
    fn an_empty_channel_waits() {
        let multiplexer: Streams = multiplexer();
        let (wakes, waker) = Wakes::new();
        let mut receiver = multiplexer.receiver(CHANNEL).unwrap();
        assert_eq!(poll_with(&mut receiver, &waker), Poll::Pending);
        assert_eq!(poll_future(&mut multiplexer.recv(CHANNEL), &waker), Poll::Pending);
        assert_eq!(wakes.take(), 0);
        assert!(!receiver.is_terminated());
    }

    #[test]
    fn a_channel_that_became_empty_waits() {
        let multiplexer = multiplexer();
        let (id, feed) = add(&multiplexer, CHANNEL);
        let mut receiver = multiplexer.receiver(CHANNEL).unwrap();
        feed.end();
        assert_eq!(poll(&mut receiver), Poll::Ready(Some((id, StreamEvent::Ended))));
        let (wakes, waker) = Wakes::new();
        assert_eq!(poll_with(&mut receiver, &waker), Poll::Pending);
        assert_eq!(wakes.take(), 0);
    }

    /// One idle member in the channel that tasks wait for, and one member with an item in the other channel.
    struct Scene {
        multiplexer: Streams,
        member: StreamId,
        feed: Feed<u32>,
        other: StreamId,
    }

    impl Scene {
        fn new() -> Self {
            let multiplexer = multiplexer();
            let (member, feed) = add(&multiplexer, CHANNEL);
            let (other, other_feed) = add(&multiplexer, OTHER);
            other_feed.push(1);
            Self { multiplexer, member, feed, other }
        }
    }

    /// Checks that an event in another thread wakes the waiting tasks once, and that they find an event.
    fn assert_wakes(happens: impl FnOnce(&Scene) + Send) {
        let scene = Scene::new();
        let mut receiver = scene.multiplexer.receiver(CHANNEL).unwrap();
        let mut recv = scene.multiplexer.recv(CHANNEL);
        let (receiver_wakes, receiver_waker) = Wakes::new();
        let (recv_wakes, recv_waker) = Wakes::new();
        assert_eq!(poll_with(&mut receiver, &receiver_waker), Poll::Pending);
        assert_eq!(poll_future(&mut recv, &recv_waker), Poll::Pending);
        assert_eq!((receiver_wakes.take(), recv_wakes.take()), (0, 0));

        thread::scope(|scope| drop(scope.spawn(|| happens(&scene))));
        assert_eq!((receiver_wakes.take(), recv_wakes.take()), (1, 1));
        assert!(poll(&mut receiver).is_ready());
    }

    #[test]
    fn adding_a_stream_wakes() {
        assert_wakes(|scene| add(&scene.multiplexer, CHANNEL).1.push(1));
    }

    #[test]
    fn moving_a_stream_in_wakes() {
        assert_wakes(|scene| scene.multiplexer.change_stream_channel(scene.other, CHANNEL).unwrap());
    }

    #[test]
    fn moving_a_stream_out_wakes() {
        assert_wakes(|scene| scene.multiplexer.change_stream_channel(scene.member, OTHER).unwrap());
    }

    #[test]
    fn removing_a_stream_wakes() {
        assert_wakes(|scene| drop(scene.multiplexer.remove_stream(scene.member)));
    }

    #[test]
    fn an_item_wakes() {
        assert_wakes(|scene| scene.feed.push(1));
    }

    #[test]
    fn an_end_wakes() {
        assert_wakes(|scene| scene.feed.end());
    }

    #[test]
    fn removing_the_channel_wakes() {
        assert_wakes(|scene| drop(scene.multiplexer.remove_channel(CHANNEL)));
    }

    #[test]
    fn closing_wakes_tasks_that_wait_at_an_empty_channel() {
        let multiplexer: Streams = multiplexer();
        let mut receiver = multiplexer.receiver(CHANNEL).unwrap();
        let mut recv = multiplexer.recv(CHANNEL);
        let (wakes, waker) = Wakes::new();
        assert_eq!(poll_with(&mut receiver, &waker), Poll::Pending);
        assert_eq!(poll_future(&mut recv, &waker), Poll::Pending);
        multiplexer.close();
        assert_eq!(wakes.take(), 2);
        assert_eq!(poll(&mut receiver), Poll::Ready(None));
    }

    /// In a channel so large that its ready set has several levels.
    #[test]
    fn each_of_many_members_wakes() {
        let multiplexer = multiplexer();
        let members: Vec<_> = (0..3_000).map(|_| add(&multiplexer, CHANNEL)).collect();
        let mut receiver = multiplexer.receiver(CHANNEL).unwrap();
        let (wakes, waker) = Wakes::new();
        while poll_with(&mut receiver, &waker).is_pending() && wakes.take() > 0 {}
        for (id, feed) in &members {
            feed.push(5);
            assert_eq!(wakes.take(), 1);
            assert_eq!(poll_with(&mut receiver, &waker), Poll::Ready(Some((*id, StreamEvent::Item(5)))));
            assert_eq!(poll_with(&mut receiver, &waker), Poll::Pending);
        }
    }

    #[test]
    fn events_in_another_channel_do_not_wake() {
        let multiplexer = multiplexer();
        let mut receiver = multiplexer.receiver(CHANNEL).unwrap();
        let (wakes, waker) = Wakes::new();
        assert_eq!(poll_with(&mut receiver, &waker), Poll::Pending);
        let (id, feed) = add(&multiplexer, OTHER);
        feed.push(1);
        drop(multiplexer.remove_stream(id));
        drop(multiplexer.remove_channel(OTHER));
        assert_eq!(wakes.take(), 0);
    }

    #[test]
    fn the_waker_of_the_last_poll_is_woken() {
        let multiplexer = multiplexer();
        let (_, feed) = add(&multiplexer, CHANNEL);
        let mut receiver = multiplexer.receiver(CHANNEL).unwrap();
        let (first_wakes, first) = Wakes::new();
        let (second_wakes, second) = Wakes::new();
        assert_eq!(poll_with(&mut receiver, &first), Poll::Pending);
        assert_eq!(poll_with(&mut receiver, &second), Poll::Pending);
        feed.push(1);
        assert_eq!((first_wakes.take(), second_wakes.take()), (0, 1));
    }

    #[test]
    fn a_task_that_sleeps_is_woken_by_another_thread() {
        const ROUNDS: usize = 200;
        finishes(|| {
            let multiplexer: Streams = multiplexer();
            let receiving = multiplexer.clone();
            let (tell, told) = mpsc::channel();
            let receiver = thread::spawn(move || {
                for _ in 0..4 * ROUNDS {
                    tell.send(block_on(receiving.recv(CHANNEL)).unwrap()).unwrap();
                }
            });
            for _ in 0..ROUNDS {
                let (id, feed) = add(&multiplexer, OTHER);
                multiplexer.change_stream_channel(id, CHANNEL).unwrap();
                feed.push(1);
                assert_eq!(told.recv(), Ok((id, Some(1))));
                feed.end();
                assert_eq!(told.recv(), Ok((id, None)));

                let (id, feed) = add(&multiplexer, CHANNEL);
                feed.push(2);
                assert_eq!(told.recv(), Ok((id, Some(2))));
                multiplexer.remove_stream(id).unwrap();
                assert_eq!(told.recv(), Ok((id, None)));
            }
            receiver.join().unwrap();
        });
    }
}

mod sharing {
    use super::*;

    #[test]
    fn each_event_goes_to_one() {
        let multiplexer = multiplexer();
        let members: Vec<_> = (0..5).map(|_| add(&multiplexer, CHANNEL)).collect();
        for (_, feed) in &members {
            (0..20).for_each(|item| feed.push(item));
            feed.end();
        }
        let mut receivers = [multiplexer.receiver(CHANNEL).unwrap(), multiplexer.receiver(CHANNEL).unwrap()];
        let mut received = HashMap::<_, Vec<_>>::new();
        for turn in 0.. {
            let next = match turn % 3 {
                2 => match poll_future(&mut multiplexer.recv(CHANNEL), Waker::noop()) {
                    Poll::Ready(event) => Poll::Ready(event.unwrap()),
                    Poll::Pending => Poll::Pending,
                },
                receiver => poll(&mut receivers[receiver]).map(|event| {
                    let (id, event) = event.unwrap();
                    (id, event.item())
                }),
            };
            let Poll::Ready((id, event)) = next else { break };
            received.entry(id).or_default().push(event);
        }
        let all: Vec<_> = (0..20).map(Some).chain([None]).collect();
        for (id, _) in members {
            assert_eq!(received[&id], all);
        }
    }

    #[test]
    fn each_event_goes_to_one_of_many_threads() {
        const ITEMS: u32 = 500;
        finishes(|| {
            let multiplexer = multiplexer();
            let members: Vec<_> = (0..8).map(|_| add(&multiplexer, CHANNEL)).collect();
            let receiving: Vec<_> = (0..4)
                .map(|_| multiplexer.receiver(CHANNEL).unwrap())
                .map(|receiver| thread::spawn(|| block_on(receiver.collect::<Vec<_>>())))
                .collect();
            for item in 0..ITEMS {
                members.iter().for_each(|(_, feed)| feed.push(item));
            }
            members.iter().for_each(|(_, feed)| feed.end());
            multiplexer.close();

            let mut received = HashMap::<_, Vec<_>>::new();
            for events in receiving.into_iter().map(|thread| thread.join().unwrap()) {
                events.into_iter().for_each(|(id, event)| received.entry(id).or_default().push(event.item()));
            }
            let all: Vec<_> = std::iter::once(None).chain((0..ITEMS).map(Some)).collect();
            for (id, _) in members {
                let mut events = received.remove(&id).unwrap();
                events.sort_unstable();
                assert_eq!(events, all);
            }
        });
    }

    /// An event wakes all waiting tasks, so that no task depends on another one to poll.
    #[test]
    fn a_receiver_that_is_never_polled_again_does_not_block_others() {
        let multiplexer = multiplexer();
        let (id, feed) = add(&multiplexer, CHANNEL);
        let mut kept = multiplexer.receiver(CHANNEL).unwrap();
        let mut kept_recv = multiplexer.recv(CHANNEL);
        let mut other = multiplexer.receiver(CHANNEL).unwrap();
        let (wakes, waker) = Wakes::new();
        assert_eq!(poll(&mut kept), Poll::Pending);
        assert_eq!(poll_future(&mut kept_recv, Waker::noop()), Poll::Pending);
        assert_eq!(poll_with(&mut other, &waker), Poll::Pending);

        feed.push(1);
        assert_eq!(wakes.take(), 1);
        assert_eq!(poll_with(&mut other, &waker), Poll::Ready(Some((id, StreamEvent::Item(1)))));
        assert_eq!(poll_with(&mut other, &waker), Poll::Pending);
        feed.push(2);
        assert_eq!(wakes.take(), 1);
    }

    #[test]
    fn a_receiver_that_is_dropped_after_a_wake_does_not_block_others() {
        let multiplexer = multiplexer();
        let (id, feed) = add(&multiplexer, CHANNEL);
        let mut dropped = multiplexer.receiver(CHANNEL).unwrap();
        let mut dropped_recv = multiplexer.recv(CHANNEL);
        let mut other = multiplexer.recv(CHANNEL);
        let (dropped_wakes, dropped_waker) = Wakes::new();
        let (wakes, waker) = Wakes::new();
        assert_eq!(poll_with(&mut dropped, &dropped_waker), Poll::Pending);
        assert_eq!(poll_future(&mut dropped_recv, &dropped_waker), Poll::Pending);
        assert_eq!(poll_future(&mut other, &waker), Poll::Pending);

        feed.push(1);
        assert_eq!(dropped_wakes.take(), 2);
        drop((dropped, dropped_recv));
        assert_eq!(wakes.take(), 1);
        assert_eq!(poll_future(&mut other, &waker), Poll::Ready(Ok((id, Some(1)))));
    }

    /// A task that polls without waiting does not take the wake of another task.
    #[test]
    fn a_call_that_does_not_wait_takes_no_wake_from_a_waiting_task() {
        let multiplexer = multiplexer();
        let (_, feed) = add(&multiplexer, CHANNEL);
        let mut receiver = multiplexer.receiver(CHANNEL).unwrap();
        let (wakes, waker) = Wakes::new();
        assert_eq!(poll_with(&mut receiver, &waker), Poll::Pending);
        feed.wake();
        assert_eq!(wakes.take(), 1);
        assert_eq!(poll_with(&mut receiver, &waker), Poll::Pending);
        assert_eq!(multiplexer.try_recv(CHANNEL), Err(TryRecvError::Empty));
        feed.push(1);
        assert_eq!(wakes.take(), 1);
    }
}

/// Events that receivers must not miss while another receiver polls the member.
mod members_that_are_being_polled {
    use super::*;

    type Action = Box<dyn FnOnce() + Send>;

    /// A stream whose next poll runs an action before or after it checks for an item.
    struct Hooked {
        pipe: Pipe<u32>,
        hook: Hook,
    }

    #[derive(Clone, Default)]
    struct Hook {
        before: Arc<Mutex<Option<Action>>>,
        after: Arc<Mutex<Option<Action>>>,
    }

    impl Hook {
        fn before(&self, action: impl FnOnce() + Send + 'static) {
            *self.before.lock().unwrap() = Some(Box::new(action));
        }

        fn after(&self, action: impl FnOnce() + Send + 'static) {
            *self.after.lock().unwrap() = Some(Box::new(action));
        }
    }

    fn run(hook: &Mutex<Option<Action>>) {
        let action = hook.lock().unwrap().take();
        if let Some(action) = action {
            action();
        }
    }

    impl Stream for Hooked {
        type Item = u32;

        fn poll_next(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<u32>> {
            run(&self.hook.before);
            let polled = Pin::new(&mut self.pipe).poll_next(cx);
            run(&self.hook.after);
            polled
        }
    }

    fn add_hooked(multiplexer: &Multiplexer<Hooked>) -> (StreamId, Feed<u32>, Hook) {
        let (feed, pipe) = pipe();
        let hook = Hook::default();
        let stream = Hooked { pipe, hook: hook.clone() };
        (multiplexer.add_stream(stream, CHANNEL).unwrap(), feed, hook)
    }

    /// A receiver, and a counting waker for it.
    struct Sleeper {
        receiver: Arc<Mutex<ChannelReceiver<Hooked, ()>>>,
        wakes: Arc<Wakes>,
    }

    impl Sleeper {
        fn new(multiplexer: &Multiplexer<Hooked>) -> (Self, impl FnOnce() + Send + 'static) {
            let receiver = Arc::new(Mutex::new(multiplexer.receiver(CHANNEL).unwrap()));
            let sleeping = Arc::clone(&receiver);
            let (wakes, waker) = Wakes::new();
            let fall_asleep = move || {
                assert_eq!(poll_with(&mut *sleeping.lock().unwrap(), &waker), Poll::Pending);
            };
            (Self { receiver, wakes }, fall_asleep)
        }

        fn poll(&self) -> Poll<Option<(StreamId, StreamEvent<u32>)>> {
            poll(&mut *self.receiver.lock().unwrap())
        }
    }

    #[test]
    fn a_receiver_that_fell_asleep_during_a_poll_is_woken_for_more_items() {
        let multiplexer = multiplexer();
        let (id, feed, hook) = add_hooked(&multiplexer);
        let (sleeper, fall_asleep) = Sleeper::new(&multiplexer);
        hook.before(fall_asleep);
        feed.push(1);
        feed.push(2);

        assert_eq!(multiplexer.try_recv(CHANNEL), Ok((id, Some(1))));
        assert_eq!(sleeper.wakes.take(), 1);
        assert_eq!(sleeper.poll(), Poll::Ready(Some((id, StreamEvent::Item(2)))));
    }

    #[test]
    fn a_receiver_that_fell_asleep_during_a_poll_is_woken_for_the_departure() {
        let multiplexer = multiplexer();
        let (id, feed, hook) = add_hooked(&multiplexer);
        let (sleeper, fall_asleep) = Sleeper::new(&multiplexer);
        let removing = multiplexer.clone();
        hook.before(move || drop(removing.remove_stream(id)));
        hook.after(fall_asleep);
        feed.push(1);

        assert_eq!(multiplexer.try_recv(CHANNEL), Ok((id, Some(1))));
        assert_eq!(sleeper.wakes.take(), 1);
        assert_eq!(sleeper.poll(), Poll::Ready(Some((id, StreamEvent::Removed))));
    }

    /// The wake comes after the member has checked for an item, and another receiver absorbs it.
    #[test]
    fn a_wake_that_another_receiver_absorbed_is_not_lost() {
        let multiplexer = multiplexer();
        let (id, feed, hook) = add_hooked(&multiplexer);
        let receiving = multiplexer.clone();
        hook.after(move || {
            feed.push(1);
            assert_eq!(receiving.try_recv(CHANNEL), Err(TryRecvError::Empty));
        });
        assert_eq!(multiplexer.try_recv(CHANNEL), Ok((id, Some(1))));
    }

    /// The same, and the receiver that polled the member does not poll it again.
    #[test]
    fn a_wake_during_a_poll_reaches_a_receiver_that_fell_asleep() {
        let multiplexer = multiplexer();
        let (id, feed, hook) = add_hooked(&multiplexer);
        let (sleeper, fall_asleep) = Sleeper::new(&multiplexer);
        feed.push(1);
        let feeding = feed.clone();
        hook.after(move || {
            feeding.push(2);
            fall_asleep();
        });
        assert_eq!(multiplexer.try_recv(CHANNEL), Ok((id, Some(1))));
        assert_eq!(sleeper.wakes.take(), 1);
        assert_eq!(sleeper.poll(), Poll::Ready(Some((id, StreamEvent::Item(2)))));
    }

    #[test]
    fn two_receivers_poll_two_members_at_the_same_time() {
        finishes(|| {
            let multiplexer = multiplexer();
            let both = Arc::new(Barrier::new(2));
            for item in [1, 2] {
                let (_, feed, hook) = add_hooked(&multiplexer);
                let both = Arc::clone(&both);
                hook.before(move || {
                    both.wait();
                });
                feed.push(item);
            }
            let other = multiplexer.clone();
            let other = thread::spawn(move || other.try_recv(CHANNEL).unwrap().1.unwrap());
            let mine = multiplexer.try_recv(CHANNEL).unwrap().1.unwrap();
            assert_eq!(mine + other.join().unwrap(), 3);
        });
    }
}

/// Random sequences of additions, moves, removals, wakes, polls and drops: no task sleeps while there is an event to
/// receive, and each event is received once.
mod in_any_order {
    use super::*;

    #[derive(Clone, Copy, Debug)]
    enum Step {
        Add,
        Push(usize),
        End(usize),
        /// Without an item.
        Wake(usize),
        Move(usize),
        Remove(usize),
        Poll(usize),
        Drop(usize),
        TryRecv,
    }

    impl Arbitrary for Step {
        fn arbitrary(g: &mut Gen) -> Self {
            let (stream, waiter) = (below(g, 6), below(g, 4));
            match below(g, 24) {
                0..2 => Self::Add,
                2..6 => Self::Push(stream),
                6 => Self::End(stream),
                7..9 => Self::Wake(stream),
                9..12 => Self::Move(stream),
                12 => Self::Remove(stream),
                13..21 => Self::Poll(waiter),
                21..23 => Self::Drop(waiter),
                _ => Self::TryRecv,
            }
        }
    }

    enum Waiter<'a> {
        Receiver(Receiver),
        Recv(Recv<'a, Pipe<u32>, ()>),
    }

    impl Waiter<'_> {
        fn poll(&mut self, waker: &Waker) -> Poll<(StreamId, Option<u32>)> {
            match self {
                Self::Receiver(receiver) => poll_with(receiver, waker).map(|event| {
                    let (id, event) = event.unwrap();
                    (id, event.item())
                }),
                Self::Recv(recv) => poll_future(recv, waker).map(Result::unwrap),
            }
        }
    }

    struct Waiting<'a> {
        waiter: Waiter<'a>,
        wakes: Arc<Wakes>,
        waker: Waker,
        asleep: bool,
    }

    /// The events of one stream that are still to be received.
    struct Owed {
        id: StreamId,
        feed: Feed<u32>,
        here: bool,
        gone: bool,
        ended: bool,
        items: usize,
        departures: usize,
    }

    impl Owed {
        fn in_channel(&self) -> usize {
            self.departures + if self.here { self.items + usize::from(self.ended) } else { 0 }
        }
    }

    struct Model<'a> {
        multiplexer: &'a Streams,
        streams: Vec<Owed>,
        waiting: [Option<Waiting<'a>>; 4],
    }

    impl<'a> Model<'a> {
        fn new(multiplexer: &'a Streams) -> Self {
            Self { multiplexer, streams: Vec::new(), waiting: [const { None }; 4] }
        }

        fn run(&mut self, step: Step) {
            match step {
                Step::Add => self.add(),
                Step::Push(at) => self.with_stream(at, |_, stream| {
                    if !stream.ended {
                        stream.items += 1;
                        stream.feed.push(0);
                    }
                }),
                Step::End(at) => self.with_stream(at, |_, stream| {
                    stream.ended = true;
                    stream.feed.end();
                }),
                Step::Wake(at) => self.with_stream(at, |_, stream| stream.feed.wake()),
                Step::Move(at) => self.with_stream(at, |multiplexer, stream| {
                    let to = if stream.here { OTHER } else { CHANNEL };
                    multiplexer.change_stream_channel(stream.id, to).unwrap();
                    stream.departures += usize::from(stream.here);
                    stream.here = !stream.here;
                }),
                Step::Remove(at) => self.with_stream(at, |multiplexer, stream| {
                    assert!(multiplexer.remove_stream(stream.id).is_some());
                    stream.departures += usize::from(stream.here);
                    stream.here = false;
                    stream.gone = true;
                }),
                Step::Poll(at) => self.poll(at),
                Step::Drop(at) => self.waiting[at] = None,
                Step::TryRecv => match self.multiplexer.try_recv(CHANNEL) {
                    Ok(received) => self.receive(received),
                    Err(error) => assert_eq!(error, TryRecvError::Empty),
                },
            }
            self.assert_nobody_sleeps(step);
        }

        fn add(&mut self) {
            let (id, feed) = add(self.multiplexer, CHANNEL);
            self.streams.push(Owed {
                id,
                feed,
                here: true,
                gone: false,
                ended: false,
                items: 0,
                departures: 0,
            });
        }

        fn with_stream(&mut self, at: usize, change: impl FnOnce(&Streams, &mut Owed)) {
            if let Some(stream) = self.streams.get_mut(at).filter(|stream| !stream.gone) {
                change(self.multiplexer, stream);
            }
        }

        fn poll(&mut self, at: usize) {
            let waiting = self.waiting[at].get_or_insert_with(|| {
                let (wakes, waker) = Wakes::new();
                let waiter = match at % 2 {
                    0 => Waiter::Receiver(self.multiplexer.receiver(CHANNEL).unwrap()),
                    _ => Waiter::Recv(self.multiplexer.recv(CHANNEL)),
                };
                Waiting { waiter, wakes, waker, asleep: false }
            });
            waiting.wakes.take();
            let polled = waiting.waiter.poll(&waiting.waker);
            waiting.asleep = polled.is_pending();
            if let Poll::Ready(received) = polled {
                if at % 2 == 1 {
                    self.waiting[at] = None;
                }
                self.receive(received);
            }
        }

        fn receive(&mut self, (id, item): (StreamId, Option<u32>)) {
            let stream = self.streams.iter_mut().find(|stream| stream.id == id).unwrap();
            match item {
                Some(_) => {
                    assert!(stream.here && stream.items > 0, "an item from nowhere");
                    assert_eq!(stream.departures, 0, "the departures of earlier stays come first");
                    stream.items -= 1;
                }
                None if stream.departures > 0 => stream.departures -= 1,
                None => {
                    assert!(stream.here && stream.ended && stream.items == 0, "a departure too many");
                    stream.here = false;
                    stream.gone = true;
                }
            }
        }

        fn owed(&self) -> usize {
            self.streams.iter().map(Owed::in_channel).sum()
        }

        fn assert_nobody_sleeps(&mut self, after: Step) {
            let owed = self.owed();
            for waiting in self.waiting.iter_mut().flatten() {
                waiting.asleep &= waiting.wakes.take() == 0;
                assert!(!waiting.asleep || owed == 0, "sleeps after {after:?}, {owed} to receive");
            }
        }

        fn drain(&mut self) {
            while let Ok(received) = self.multiplexer.try_recv(CHANNEL) {
                self.receive(received);
            }
            assert_eq!(self.owed(), 0);
        }
    }

    #[test]
    fn no_task_sleeps_beside_an_event_and_nothing_is_lost() {
        QuickCheck::new().rng(Gen::from_size_and_seed(80, 1)).quickcheck(any_steps as fn(Vec<Step>));
    }

    fn any_steps(steps: Vec<Step>) {
        let multiplexer = multiplexer();
        let mut model = Model::new(&multiplexer);
        steps.into_iter().for_each(|step| model.run(step));
        model.drain();
    }
}

mod errors_of_a_stream {
    use super::*;

    #[test]
    fn are_items_and_the_stream_stays() {
        let multiplexer: Multiplexer<Pipe<Result<u32, &str>>> = multiplexer();
        let (feed, pipe) = pipe();
        let id = multiplexer.add_stream(pipe, CHANNEL).unwrap();
        let mut receiver = multiplexer.receiver(CHANNEL).unwrap();
        feed.push(Err("torn"));
        feed.push(Ok(1));
        feed.push(Err("again"));
        assert_eq!(poll(&mut receiver), Poll::Ready(Some((id, StreamEvent::Item(Err("torn"))))));
        assert_eq!(multiplexer.channel_of(id), Some(CHANNEL));
        assert_eq!(now(multiplexer.recv(CHANNEL)), Ok((id, Some(Ok(1)))));
        assert_eq!(multiplexer.try_recv(CHANNEL), Ok((id, Some(Err("again")))));
        assert_eq!(poll(&mut receiver), Poll::Pending);
        feed.end();
        assert_eq!(poll(&mut receiver), Poll::Ready(Some((id, StreamEvent::Ended))));
    }
}

mod ends {
    use super::*;

    #[test]
    fn a_receiver_ends_when_its_channel_is_removed() {
        let multiplexer = multiplexer();
        let (_, feed) = add(&multiplexer, CHANNEL);
        let mut receivers = [multiplexer.receiver(CHANNEL).unwrap(), multiplexer.receiver(CHANNEL).unwrap()];
        let (wakes, waker) = Wakes::new();
        for receiver in &mut receivers {
            assert_eq!(poll_with(receiver, &waker), Poll::Pending);
        }
        let mut recv = multiplexer.recv(CHANNEL);
        assert_eq!(poll_future(&mut recv, &waker), Poll::Pending);
        feed.push(1);
        wakes.take();

        multiplexer.remove_channel(CHANNEL).unwrap();
        for receiver in &mut receivers {
            assert_eq!(poll(receiver), Poll::Ready(None));
            assert!(receiver.is_terminated());
            assert_eq!(poll(receiver), Poll::Ready(None));
        }
        let unknown = MultiplexerError::UnknownChannel(CHANNEL);
        assert_eq!(poll_future(&mut recv, &waker), Poll::Ready(Err(unknown)));
    }

    /// Receivers of the old channel do not receive from the new one.
    #[test]
    fn a_receiver_ends_when_its_channel_is_removed_and_a_new_one_has_its_id() {
        let multiplexer = multiplexer();
        let mut receiver = multiplexer.receiver(CHANNEL).unwrap();
        let mut recv = multiplexer.recv(CHANNEL);
        assert_eq!(poll_future(&mut recv, Waker::noop()), Poll::Pending);
        multiplexer.remove_channel(CHANNEL).unwrap();
        multiplexer.add_channel(CHANNEL).unwrap();
        let (id, feed) = add(&multiplexer, CHANNEL);
        feed.push(1);

        assert_eq!(poll(&mut receiver), Poll::Ready(None));
        let unknown = MultiplexerError::UnknownChannel(CHANNEL);
        assert_eq!(poll_future(&mut recv, Waker::noop()), Poll::Ready(Err(unknown)));
        assert_eq!(multiplexer.try_recv(CHANNEL), Ok((id, Some(1))));
    }

    #[test]
    fn a_receiver_ends_when_the_multiplexer_is_closed_and_the_channel_empty() {
        let multiplexer = multiplexer();
        let (id, feed) = add(&multiplexer, CHANNEL);
        feed.push(1);
        let mut receiver = multiplexer.receiver(CHANNEL).unwrap();
        multiplexer.close();
        assert_eq!(poll(&mut receiver), Poll::Ready(Some((id, StreamEvent::Item(1)))));
        assert_eq!(poll(&mut receiver), Poll::Pending);
        assert_eq!(multiplexer.try_recv(CHANNEL), Err(TryRecvError::Empty));
        feed.end();
        assert_eq!(poll(&mut receiver), Poll::Ready(Some((id, StreamEvent::Ended))));
        assert_eq!(poll(&mut receiver), Poll::Ready(None));
        assert!(receiver.is_terminated());
        assert_eq!(multiplexer.recv(CHANNEL).now_or_never(), Some(Err(MultiplexerError::Closed)));
        assert_eq!(multiplexer.try_recv(CHANNEL), Err(TryRecvError::Closed));
        assert!(multiplexer.has_channel(CHANNEL));
    }

    /// A task that selects on a receiver, and stops when it `is_terminated`, misses no event.
    #[test]
    fn a_receiver_that_has_ended_has_ended_for_good() {
        let multiplexer = multiplexer();
        let (id, _feed) = add(&multiplexer, OTHER);
        let mut receiver = multiplexer.receiver(CHANNEL).unwrap();
        multiplexer.close_channel(CHANNEL).unwrap();
        assert_eq!(poll(&mut receiver), Poll::Ready(None));
        assert!(receiver.is_terminated());
        let refused = multiplexer.change_stream_channel(id, CHANNEL);
        assert_eq!(refused, Err(MultiplexerError::Closed));
        assert!(receiver.is_terminated());
    }

    /// In every way in which the channel can become empty, and whichever receiver receives the departure.
    #[test]
    fn all_receivers_of_a_closed_channel_end_when_it_becomes_empty() {
        for how in ["ended", "moved", "removed"] {
            let multiplexer = multiplexer();
            let (id, feed) = add(&multiplexer, CHANNEL);
            let mut asleep = multiplexer.receiver(CHANNEL).unwrap();
            let mut asleep_recv = multiplexer.recv(CHANNEL);
            let (wakes, waker) = Wakes::new();
            multiplexer.close_channel(CHANNEL).unwrap();
            assert_eq!(poll_with(&mut asleep, &waker), Poll::Pending);
            assert_eq!(poll_future(&mut asleep_recv, &waker), Poll::Pending);
            match how {
                "ended" => feed.end(),
                "moved" => multiplexer.change_stream_channel(id, OTHER).unwrap(),
                _ => drop(multiplexer.remove_stream(id)),
            }
            assert_eq!(wakes.take(), 2, "{how}");
            // Another receiver takes the departure, and these receivers go back to sleep before or after that.
            let mut awake = multiplexer.receiver(CHANNEL).unwrap();
            assert!(matches!(poll(&mut awake), Poll::Ready(Some(_))), "{how}");
            assert_eq!(poll(&mut asleep), Poll::Ready(None), "{how}");
            let closed = MultiplexerError::Closed;
            assert_eq!(poll_future(&mut asleep_recv, &waker), Poll::Ready(Err(closed)), "{how}");
        }
    }

    /// The receivers sleep while the last member is polled for its end.
    #[test]
    fn the_last_end_wakes_receivers_that_fell_asleep_during_that_poll() {
        let multiplexer: Multiplexer<Pin<Box<dyn Stream<Item = u32>>>> = multiplexer();
        let asleep = std::rc::Rc::new(std::cell::RefCell::new(None));
        let (wakes, waker) = Wakes::new();
        let falls_asleep = std::rc::Rc::clone(&asleep);
        let stream = stream::poll_fn(move |_| {
            let mut receiver: ChannelReceiver<_, ()> = falls_asleep.take().unwrap();
            assert_eq!(poll_with(&mut receiver, &waker), Poll::Pending);
            falls_asleep.replace(Some(receiver));
            Poll::Ready(None::<u32>)
        });
        let id = multiplexer.add_stream(Box::pin(stream), CHANNEL).unwrap();
        asleep.replace(Some(multiplexer.receiver(CHANNEL).unwrap()));
        multiplexer.close();

        assert_eq!(multiplexer.try_recv(CHANNEL), Ok((id, None)));
        assert_eq!(wakes.take(), 1);
        assert_eq!(poll(&mut asleep.take().unwrap()), Poll::Ready(None));
    }

    #[test]
    fn a_receiver_ends_when_all_handles_are_gone_and_the_channel_is_empty() {
        let multiplexer = multiplexer();
        let (id, feed) = add(&multiplexer, CHANNEL);
        let mut receiver = multiplexer.receiver(CHANNEL).unwrap();
        let mut empty = multiplexer.receiver(OTHER).unwrap();
        let (wakes, waker) = Wakes::new();
        assert_eq!(poll(&mut receiver), Poll::Pending);
        assert_eq!(poll_with(&mut empty, &waker), Poll::Pending);
        let clone = multiplexer.clone();
        drop(multiplexer);
        assert_eq!((wakes.take(), poll_with(&mut empty, &waker)), (0, Poll::Pending));
        drop(clone);
        assert_eq!((wakes.take(), poll_with(&mut empty, &waker)), (1, Poll::Ready(None)));

        feed.push(1);
        feed.end();
        assert_eq!(poll(&mut receiver), Poll::Ready(Some((id, StreamEvent::Item(1)))));
        assert_eq!(poll(&mut receiver), Poll::Ready(Some((id, StreamEvent::Ended))));
        assert_eq!(poll(&mut receiver), Poll::Ready(None));
    }

    #[test]
    fn a_receiver_is_not_terminated_before_it_yielded_none() {
        let multiplexer: Streams = multiplexer();
        let mut receiver = multiplexer.receiver(CHANNEL).unwrap();
        multiplexer.close();
        assert!(!receiver.is_terminated());
        assert_eq!(poll(&mut receiver), Poll::Ready(None));
        assert!(receiver.is_terminated());
    }

    #[test]
    fn receiving_from_an_unknown_channel_is_an_error() {
        let multiplexer = Streams::new();
        let unknown = MultiplexerError::UnknownChannel(CHANNEL);
        assert_eq!(multiplexer.recv(CHANNEL).now_or_never(), Some(Err(unknown)));
        assert_eq!(multiplexer.receiver(CHANNEL).err(), Some(unknown));
        assert_eq!(multiplexer.try_recv(CHANNEL), Err(TryRecvError::UnknownChannel(CHANNEL)));
    }
}

mod one_at_a_time {
    use super::*;

    #[test]
    fn recv_returns_items_and_departures() {
        let multiplexer = multiplexer();
        let (ends, ends_feed) = add(&multiplexer, CHANNEL);
        ends_feed.push(1);
        ends_feed.end();
        assert_eq!(now(multiplexer.recv(CHANNEL)), Ok((ends, Some(1))));
        assert_eq!(now(multiplexer.recv(CHANNEL)), Ok((ends, None)));

        let (moves, moves_feed) = add(&multiplexer, CHANNEL);
        moves_feed.push(2);
        multiplexer.change_stream_channel(moves, OTHER).unwrap();
        assert_eq!(now(multiplexer.recv(CHANNEL)), Ok((moves, None)));
        assert_eq!(now(multiplexer.recv(OTHER)), Ok((moves, Some(2))));

        multiplexer.remove_stream(moves).unwrap();
        assert_eq!(now(multiplexer.recv(OTHER)), Ok((moves, None)));
        assert_eq!(multiplexer.recv(OTHER).now_or_never(), None);
    }

    #[test]
    fn try_recv_returns_available_events_and_never_waits() {
        let multiplexer = multiplexer();
        assert_eq!(multiplexer.try_recv(CHANNEL), Err(TryRecvError::Empty));
        let (id, feed) = add(&multiplexer, CHANNEL);
        assert_eq!(multiplexer.try_recv(CHANNEL), Err(TryRecvError::Empty));
        feed.push(1);
        assert_eq!(multiplexer.try_recv(CHANNEL), Ok((id, Some(1))));
        assert_eq!(multiplexer.try_recv(CHANNEL), Err(TryRecvError::Empty));
        feed.end();
        assert_eq!(multiplexer.try_recv(CHANNEL), Ok((id, None)));
        assert_eq!(multiplexer.try_recv(CHANNEL), Err(TryRecvError::Empty));
        multiplexer.remove_channel(CHANNEL);
        assert_eq!(multiplexer.try_recv(CHANNEL), Err(TryRecvError::UnknownChannel(CHANNEL)));
    }

    #[test]
    fn a_receiver_knows_its_channel() {
        let multiplexer: Streams = multiplexer();
        assert_eq!(multiplexer.receiver(OTHER).unwrap().channel_id(), OTHER);
    }

    /// `select!` over channels works as with any other fused stream.
    #[test]
    fn a_receiver_works_with_the_combinators_of_streams() {
        let multiplexer = multiplexer();
        let (_, feed) = add(&multiplexer, CHANNEL);
        (0..10).for_each(|item| feed.push(item));
        feed.end();
        multiplexer.close();
        let receiver = multiplexer.receiver(CHANNEL).unwrap();
        let items = receiver.filter_map(|(_, event)| async move { event.item() }).collect::<Vec<_>>();
        assert_eq!(now(items), (0..10).collect::<Vec<_>>());
    }
}

/// `recv_many`, with the conventions of `tokio::sync::mpsc`.
mod many_at_once {
    use super::*;

    type Events = Vec<(StreamId, StreamEvent<u32>)>;

    fn items(events: &Events) -> Vec<Option<u32>> {
        events.iter().map(|(_, event)| event.item()).collect()
    }

    fn poll_many(receiver: &mut Receiver, waker: &Waker, buffer: &mut Events, limit: usize) -> Poll<usize> {
        receiver.poll_recv_many(&mut Context::from_waker(waker), buffer, limit)
    }

    /// Two in a row that wake themselves end a batch. Here an item comes between any two.
    #[test]
    fn a_stream_that_wakes_itself_between_two_items_does_not_end_a_batch() {
        let multiplexer = Multiplexer::without_sinks();
        multiplexer.add_channel(1).unwrap();
        let wakes_itself = stream::poll_fn(|cx| {
            cx.waker().wake_by_ref();
            Poll::<Option<()>>::Pending
        });
        multiplexer.add_stream(wakes_itself.left_stream(), 1).unwrap();
        multiplexer.add_stream(stream::repeat(()).right_stream(), 1).unwrap();
        let mut events = Vec::new();
        let mut receiver = multiplexer.receiver(1).unwrap();
        assert_eq!(receiver.recv_many(&mut events, 50).now_or_never(), Some(50));
    }

    #[test]
    fn it_appends_what_is_there_up_to_the_limit() {
        let multiplexer = multiplexer();
        let (_, feed) = add(&multiplexer, CHANNEL);
        (0..5).for_each(|item| feed.push(item));
        feed.end();
        let mut receiver = multiplexer.receiver(CHANNEL).unwrap();
        let mut buffer = Vec::new();
        assert_eq!(now(receiver.recv_many(&mut buffer, 2)), 2);
        assert_eq!(items(&buffer), [Some(0), Some(1)]);
        assert_eq!(now(receiver.recv_many(&mut buffer, 1)), 1);
        assert_eq!(items(&buffer), [Some(0), Some(1), Some(2)]);
        assert_eq!(now(receiver.recv_many(&mut buffer, usize::MAX)), 3);
        assert_eq!(items(&buffer), [Some(0), Some(1), Some(2), Some(3), Some(4), None]);
    }

    #[test]
    fn it_waits_for_the_first_event_only() {
        let multiplexer = multiplexer();
        let (_, feed) = add(&multiplexer, CHANNEL);
        let mut receiver = multiplexer.receiver(CHANNEL).unwrap();
        let (wakes, waker) = Wakes::new();
        let mut buffer = Vec::new();
        assert_eq!(poll_many(&mut receiver, &waker, &mut buffer, 10), Poll::Pending);
        feed.push(1);
        assert_eq!(wakes.take(), 1);
        assert_eq!(poll_many(&mut receiver, &waker, &mut buffer, 10), Poll::Ready(1));
        assert_eq!(poll_many(&mut receiver, &waker, &mut buffer, 10), Poll::Pending);
        feed.push(2);
        assert_eq!(wakes.take(), 1);
        assert_eq!(poll_many(&mut receiver, &waker, &mut buffer, 10), Poll::Ready(1));
        assert_eq!(items(&buffer), [Some(1), Some(2)]);
    }

    #[test]
    fn limit_zero_is_ready_immediately_and_takes_nothing() {
        let multiplexer = multiplexer();
        let (_, feed) = add(&multiplexer, CHANNEL);
        let mut receiver = multiplexer.receiver(CHANNEL).unwrap();
        let mut buffer = Vec::new();
        assert_eq!(poll_many(&mut receiver, Waker::noop(), &mut buffer, 0), Poll::Ready(0));
        feed.push(1);
        assert_eq!(poll_many(&mut receiver, Waker::noop(), &mut buffer, 0), Poll::Ready(0));
        assert_eq!(receiver.recv_many(&mut buffer, 0).now_or_never(), Some(0));
        assert_eq!(feed.take_polls(), 0);
        assert!(buffer.is_empty());
        assert_eq!(poll_many(&mut receiver, Waker::noop(), &mut buffer, 1), Poll::Ready(1));
        multiplexer.remove_channel(CHANNEL);
        assert_eq!(poll_many(&mut receiver, Waker::noop(), &mut buffer, 0), Poll::Ready(0));
        // The call asked for no event and received none.
        assert!(!receiver.is_terminated());
    }

    #[test]
    fn it_returns_zero_when_the_receiver_has_ended() {
        let multiplexer = multiplexer();
        let (_, feed) = add(&multiplexer, CHANNEL);
        feed.push(1);
        feed.end();
        multiplexer.close();
        let mut receiver = multiplexer.receiver(CHANNEL).unwrap();
        let mut buffer = Vec::new();
        assert_eq!(now(receiver.recv_many(&mut buffer, 10)), 2);
        assert_eq!(now(receiver.recv_many(&mut buffer, 10)), 0);
        assert_eq!(now(receiver.recv_many(&mut buffer, 10)), 0);
        assert_eq!(items(&buffer), [Some(1), None]);
        assert!(receiver.is_terminated());
    }

    #[test]
    fn it_takes_from_all_members_in_turn() {
        let multiplexer = multiplexer();
        let members: Vec<_> = (0..3).map(|_| add(&multiplexer, CHANNEL)).collect();
        for (_, feed) in &members {
            (0..2).for_each(|item| feed.push(item));
        }
        let mut receiver = multiplexer.receiver(CHANNEL).unwrap();
        let mut buffer = Vec::new();
        assert_eq!(now(receiver.recv_many(&mut buffer, 10)), 6);
        let ids: Vec<_> = members.iter().map(|(id, _)| *id).collect();
        let order: Vec<_> = buffer.iter().map(|(id, _)| *id).collect();
        assert_eq!(order, [ids.clone(), ids].concat());
        assert_eq!(items(&buffer), [Some(0), Some(0), Some(0), Some(1), Some(1), Some(1)]);
    }
}

/// A stream that is always idle, or one that the test drives by hand.
enum Crowd {
    Idle,
    Busy(Pipe<u32>),
}

impl Stream for Crowd {
    type Item = u32;

    fn poll_next(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<u32>> {
        match self.get_mut() {
            Self::Idle => Poll::Pending,
            Self::Busy(pipe) => Pin::new(pipe).poll_next(cx),
        }
    }
}

#[test]
fn a_hundred_thousand_idle_streams_and_a_thousand_busy_ones() {
    a_thousand_busy_streams_beside(100_000);
}

#[test]
#[ignore = "takes a second; `.ci/run` runs it"]
fn a_million_idle_streams_and_a_thousand_busy_ones() {
    a_thousand_busy_streams_beside(1_000_000);
}

/// In one channel, from which one task receives, which sleeps when there is no event.
fn a_thousand_busy_streams_beside(idle: usize) {
    const BUSY: usize = 1_000;
    const ITEMS: u32 = 10;
    let multiplexer = multiplexer::<_, ()>();
    let mut feeds = Vec::new();
    for number in 0..idle + BUSY {
        let stream = if number % (idle / BUSY) == 0 && feeds.len() < BUSY {
            let (feed, pipe) = pipe();
            feeds.push(feed);
            Crowd::Busy(pipe)
        } else {
            Crowd::Idle
        };
        multiplexer.add_stream(stream, CHANNEL).unwrap();
    }
    assert_eq!((feeds.len(), multiplexer.channel_len(CHANNEL)), (BUSY, Some(idle + BUSY)));
    let mut receiver = multiplexer.receiver(CHANNEL).unwrap();
    let (wakes, waker) = Wakes::new();
    // The receiver yields from time to time. Each stream is polled once.
    while poll_with(&mut receiver, &waker).is_pending() && wakes.take() > 0 {}
    for item in 0..ITEMS {
        feeds.iter().for_each(|feed| feed.push(item));
        assert_eq!(wakes.take(), 1);
        for _ in 0..BUSY {
            let event = poll_with(&mut receiver, &waker);
            assert!(
                matches!(event, Poll::Ready(Some((_, StreamEvent::Item(it)))) if it == item),
                "{event:?}"
            );
        }
        while poll_with(&mut receiver, &waker).is_pending() && wakes.take() > 0 {}
    }
    let polls: usize = feeds.iter().map(Feed::take_polls).sum();
    assert_eq!(polls, BUSY + 2 * BUSY * ITEMS as usize);
}

#[test]
fn futures_that_have_completed_are_terminated_and_panic_when_they_are_polled() {
    let multiplexer: Streams = multiplexer();
    let (_id, feed) = add(&multiplexer, CHANNEL);
    (0..3).for_each(|item| feed.push(item));

    assert_over(&mut multiplexer.recv(CHANNEL));
    let mut receiver = multiplexer.receiver(CHANNEL).unwrap();
    assert_over(&mut receiver.recv_many(&mut Vec::new(), 1));
    let mut select = multiplexer.select();
    select.add(CHANNEL, Share::new()).unwrap();
    assert_over(&mut select.recv_many(&mut Vec::new(), 1));
    assert_over(&mut multiplexer.recv(9));
    assert_over(&mut multiplexer.drained(9));

    assert!(!receiver.is_terminated() && !select.is_terminated());
    multiplexer.close();
    assert_over(&mut multiplexer.drained(OTHER));
    assert!(multiplexer.discard_channel(CHANNEL));
    assert_eq!(now(receiver.next()), None);
    assert_eq!(now(select.next()), None);
    assert!(receiver.is_terminated() && select.is_terminated());
}

#[test]
fn a_wait_for_a_drained_channel_that_is_dropped_leaves_no_waker_behind() {
    let multiplexer: Streams = multiplexer();
    let (wakes, waker) = Wakes::new();
    let mut drained = multiplexer.drained(CHANNEL);
    assert!(poll_future(&mut drained, &waker).is_pending());
    drop((drained, waker));
    assert_eq!(Arc::strong_count(&wakes), 1);
}

/// A stream whose poll puts another of its kind in its place, and ends. No event reports this where departures are not
/// reported.
#[test]
fn streams_that_replace_themselves_do_not_hold_up_a_call() {
    struct Hydra {
        multiplexer: Multiplexer<Self>,
        polls: Arc<AtomicUsize>,
    }

    impl Stream for Hydra {
        type Item = ();

        fn poll_next(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<Option<()>> {
            if self.polls.fetch_add(1, Ordering::Relaxed) < 1_000 {
                let Self { multiplexer, polls } = &*self;
                let ids = multiplexer.channel_streams(1).unwrap();
                ids.into_iter().for_each(|id| assert!(multiplexer.discard_stream(id)));
                let next = Self { multiplexer: multiplexer.clone(), polls: Arc::clone(polls) };
                multiplexer.add_stream(next, 1).unwrap();
            }
            Poll::Ready(None)
        }
    }

    let multiplexer = Multiplexer::new();
    multiplexer.add_channel_with(1, ChannelOptions::new().report_departures(false)).unwrap();
    let polls = Arc::new(AtomicUsize::new(0));
    multiplexer.add_stream(Hydra { multiplexer: multiplexer.clone(), polls: Arc::clone(&polls) }, 1).unwrap();
    let mut receiver = multiplexer.receiver(1).unwrap();
    let mut select = multiplexer.select();
    select.add(1, Share::new()).unwrap();
    let (wakes, waker) = Wakes::new();
    assert!(poll_with(&mut receiver, &waker).is_pending());
    assert!(poll_with(&mut select, &waker).is_pending());
    assert_eq!((polls.load(Ordering::Relaxed), wakes.take()), (2 * 64, 2));
    multiplexer.discard_channel(1);
}
