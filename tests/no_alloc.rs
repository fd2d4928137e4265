//! Nothing is allocated per item, wake, wait, move or single send: the counted allocations are exactly 0.
#![allow(unsafe_code, reason = "a global allocator can be had in no other way; nothing else here is unsafe")]

mod support;

use futures::stream::{self, Repeat};
use futures::{FutureExt, Sink, SinkExt, Stream};
use std::alloc::{GlobalAlloc, Layout, System};
use std::cell::{Cell, RefCell};
use std::convert::Infallible;
use std::hint::black_box;
use std::num::NonZeroU32;
use std::pin::Pin;
use std::rc::Rc;
use std::task::{Context, Poll, Waker};
use stream_multiplexer::{
    ChannelReceiver, ChannelSelect, Multiplexer, SendError, Share, StreamEvent, StreamId, StreamSlab,
};
use support::{Drain, Feed, Pipe, Wakes, gate, pipe, poll, poll_future, poll_with};

/// The system's allocator; counts the allocations of each thread.
struct Counting;

thread_local! {
    static ALLOCATIONS: Cell<usize> = const { Cell::new(0) };
}

#[global_allocator]
static COUNTING: Counting = Counting;

fn count_one() {
    // Fails during the end of a thread, which no test counts.
    let _ = ALLOCATIONS.try_with(|count| count.set(count.get() + 1));
}

// SAFETY: each method passes its arguments unchanged to the system's allocator, and returns its result.
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        count_one();
        // SAFETY: the caller upholds the same contract.
        unsafe { System.alloc(layout) }
    }

    unsafe fn alloc_zeroed(&self, layout: Layout) -> *mut u8 {
        count_one();
        // SAFETY: as in `alloc`.
        unsafe { System.alloc_zeroed(layout) }
    }

    unsafe fn realloc(&self, block: *mut u8, layout: Layout, size: usize) -> *mut u8 {
        count_one();
        // SAFETY: as in `alloc`.
        unsafe { System.realloc(block, layout, size) }
    }

    unsafe fn dealloc(&self, block: *mut u8, layout: Layout) {
        // SAFETY: as in `alloc`.
        unsafe { System.dealloc(block, layout) }
    }
}

/// Returns how many allocations this thread makes in `work`.
fn allocations(work: impl FnOnce()) -> usize {
    let before = ALLOCATIONS.get();
    work();
    ALLOCATIONS.get() - before
}

/// Runs `work` until everything that it uses has grown, and then again: these runs must not allocate.
#[track_caller]
fn allocates_nothing_once_grown(mut work: impl FnMut()) {
    (0..3).for_each(|_| work());
    assert_eq!(allocations(|| (0..100).for_each(|_| work())), 0);
}

#[test]
fn the_counter_counts() {
    assert_eq!(allocations(|| {}), 0);
    assert_eq!(allocations(|| drop(black_box(Box::new(1)))), 1);
    assert_eq!(allocations(|| drop(black_box(vec![0_u8; 9]))), 1, "zeroed");
    assert_eq!(
        allocations(|| {
            let mut grown = black_box(Vec::with_capacity(1));
            grown.extend([1, 2]);
            drop(black_box(grown));
        }),
        2
    );
}

/// Wakers of many tasks, created before the counting.
fn tasks(count: usize) -> Vec<Waker> {
    (0..count).map(|_| Wakes::new().1).collect()
}

/// The number of members. Some are in the root of the set of ready members, and some two words below it.
const MEMBERS: usize = 1_100;

// The engine.

/// Pipes whose buffers have grown.
fn pipes() -> (Vec<Feed<usize>>, Vec<Pipe<usize>>) {
    let grown = |_| {
        let (feed, mut pipe) = pipe();
        feed.push(0);
        assert_eq!(poll(&mut pipe), Poll::Ready(Some(0)));
        (feed, pipe)
    };
    (0..MEMBERS).map(grown).unzip()
}

/// Polls until the task waits.
fn settle<S: Stream + Unpin>(stream: &mut S, waker: &Waker) {
    while (0..1_000).any(|_| poll_with(stream, waker).is_ready()) {}
}

#[test]
fn dense_items_of_a_slab() {
    let mut slab: StreamSlab<_> = (0..MEMBERS).map(stream::repeat).collect();
    allocates_nothing_once_grown(|| {
        for _ in 0..MEMBERS {
            assert!(poll(&mut slab).is_ready());
        }
    });
}

#[test]
fn even_the_first_items_of_a_slab() {
    let mut slab: StreamSlab<_> = (0..MEMBERS).map(stream::repeat).collect();
    assert_eq!(allocations(|| assert!(poll(&mut slab).is_ready())), 0);
}

#[test]
fn recv_many_of_a_slab_into_a_buffer_with_room() {
    let mut slab: StreamSlab<_> = (0..MEMBERS).map(stream::repeat).collect();
    let mut buffer = Vec::with_capacity(500);
    allocates_nothing_once_grown(|| {
        buffer.clear();
        assert_eq!(slab.recv_many(&mut buffer, 400).now_or_never(), Some(400));
        let cx = &mut Context::from_waker(Waker::noop());
        assert_eq!(slab.poll_recv_many(cx, &mut buffer, 100), Poll::Ready(100));
    });
}

#[test]
fn waking_waiting_and_items_of_a_slab() {
    let (feeds, streams) = pipes();
    let mut slab = StreamSlab::from_iter(streams);
    let tasks = tasks(7);
    settle(&mut slab, &tasks[0]);
    let mut turn = 0;
    allocates_nothing_once_grown(|| {
        for (key, feed) in feeds.iter().enumerate() {
            feed.push(key);
            turn += 1;
            let task = &tasks[turn % tasks.len()];
            assert_eq!(poll_with(&mut slab, task), Poll::Ready(Some((key, Some(key)))));
            assert_eq!(poll_with(&mut slab, task), Poll::Pending);
        }
    });
}

#[test]
fn yields_of_a_slab() {
    let (feeds, streams) = pipes();
    let mut slab = StreamSlab::from_iter(streams);
    let task = tasks(1).remove(0);
    settle(&mut slab, &task);
    allocates_nothing_once_grown(|| {
        feeds.iter().for_each(Feed::wake);
        settle(&mut slab, &task);
    });
}

#[test]
fn inserts_and_removals_of_a_slab() {
    let (_feeds, streams) = pipes();
    let mut slab = StreamSlab::from_iter(streams);
    let task = tasks(1).remove(0);
    settle(&mut slab, &task);
    let mut key = 0;
    allocates_nothing_once_grown(|| {
        key = (key + 7) % MEMBERS;
        let stream = slab.remove(key).expect("it is there");
        assert_eq!(poll_with(&mut slab, &task), Poll::Pending);
        assert_eq!(slab.insert(stream), key);
        assert_eq!(poll_with(&mut slab, &task), Poll::Pending);
    });
}

#[test]
fn ends_of_a_slab() {
    let mut slab = StreamSlab::new();
    allocates_nothing_once_grown(|| {
        slab.extend((0..40).map(|item| stream::iter([item])));
        while poll(&mut slab) != Poll::Ready(None) {}
    });
}

#[test]
fn a_slab_with_capacity_allocates_wakers_alone() {
    let mut slab = StreamSlab::with_capacity(64);
    slab.insert(stream::pending::<()>());
    let insert = || slab.extend((1..64).map(|_| stream::pending()));
    assert_eq!(allocations(insert), 63, "one for each");
}

// Channels.

const CHANNEL: usize = 1;
const OTHER: usize = 2;

/// A multiplexer of the two channels, with a receiver for each.
fn channels<St: Stream + Unpin, Si>() -> (Multiplexer<St, Si>, [ChannelReceiver<St, Si>; 2]) {
    let multiplexer = Multiplexer::new();
    let receivers = [CHANNEL, OTHER].map(|channel| {
        multiplexer.add_channel(channel).unwrap();
        multiplexer.receiver(channel).unwrap()
    });
    (multiplexer, receivers)
}

/// Channels with waiting members in the first one; their feeds and ids.
struct Waiting {
    multiplexer: Multiplexer<Pipe<usize>>,
    receivers: [ChannelReceiver<Pipe<usize>, ()>; 2],
    feeds: Vec<Feed<usize>>,
    ids: Vec<StreamId>,
}

fn waiting() -> Waiting {
    let (multiplexer, mut receivers) = channels();
    let (feeds, streams) = pipes();
    let ids = streams.into_iter().map(|stream| multiplexer.add_stream(stream, CHANNEL).unwrap()).collect();
    settle(&mut receivers[0], Waker::noop());
    Waiting { multiplexer, receivers, feeds, ids }
}

fn dense() -> (Multiplexer<Repeat<usize>>, ChannelReceiver<Repeat<usize>, ()>) {
    let (multiplexer, [receiver, _]) = channels();
    for item in 0..MEMBERS {
        multiplexer.add_stream(stream::repeat(item), CHANNEL).unwrap();
    }
    (multiplexer, receiver)
}

#[test]
fn dense_items_of_a_channel() {
    let (_multiplexer, mut receiver) = dense();
    allocates_nothing_once_grown(|| {
        for _ in 0..MEMBERS {
            assert!(poll(&mut receiver).is_ready());
        }
    });
}

#[test]
fn dense_items_by_recv_and_try_recv() {
    let (multiplexer, _receiver) = dense();
    allocates_nothing_once_grown(|| {
        assert!(multiplexer.recv(CHANNEL).now_or_never().is_some());
        assert!(multiplexer.try_recv(CHANNEL).is_ok());
    });
}

#[test]
fn recv_many_into_a_buffer_with_room() {
    let (_multiplexer, mut receiver) = dense();
    let mut buffer = Vec::with_capacity(500);
    allocates_nothing_once_grown(|| {
        buffer.clear();
        assert_eq!(receiver.recv_many(&mut buffer, 400).now_or_never(), Some(400));
        let cx = &mut Context::from_waker(Waker::noop());
        assert_eq!(receiver.poll_recv_many(cx, &mut buffer, 100), Poll::Ready(100));
    });
}

/// A hundred channels of five priorities. Each channel wakes, is received from and sleeps. After that, all are ready at the
/// same time, with relief rounds and yields.
#[test]
fn waking_waiting_and_items_of_a_select() {
    let multiplexer = Multiplexer::<_, Drain>::new();
    let mut select = multiplexer.select();
    select.starvation_bound(NonZeroU32::new(3)).cost(|item: &usize| *item as u64);
    let feeds: Vec<_> = (0..100)
        .map(|channel| {
            let (feed, stream) = pipe();
            multiplexer.add_channel(channel).unwrap();
            multiplexer.add_stream_pair(Drain, stream, channel).unwrap();
            let priority = u32::try_from(channel % 5).unwrap();
            select.add(channel, Share::new().priority(priority).weight(priority + 1)).unwrap();
            feed
        })
        .collect();
    let (wakes, waker) = Wakes::new();
    let drain = |select: &mut ChannelSelect<Pipe<usize>, Drain>| {
        let mut events = 0;
        loop {
            match poll_with(select, &waker) {
                Poll::Ready(event) => events += usize::from(event.is_some()),
                Poll::Pending if wakes.take() == 0 => return events,
                Poll::Pending => {}
            }
        }
    };
    drain(&mut select);
    allocates_nothing_once_grown(|| {
        for feed in &feeds {
            feed.push(1);
            assert_ne!(wakes.take(), 0);
            assert_eq!(drain(&mut select), 1);
        }
        feeds.iter().for_each(|feed| (0..9).for_each(|item| feed.push(item)));
        assert_eq!(drain(&mut select), 900);
    });
}

#[test]
fn what_a_select_flushes() {
    let multiplexer = Multiplexer::new();
    multiplexer.add_channel(CHANNEL).unwrap();
    let gates: Vec<_> = (0..9)
        .map(|_| {
            let (keeper, sink) = gate(usize::MAX);
            let id = multiplexer.add_stream_pair(sink, stream::pending::<()>(), CHANNEL).unwrap();
            (id, keeper)
        })
        .collect();
    let mut select = multiplexer.select();
    select.add(CHANNEL, Share::new()).unwrap();
    let (wakes, waker) = Wakes::new();
    assert!(poll_with(&mut select, &waker).is_pending());
    allocates_nothing_once_grown(|| {
        for (id, keeper) in &gates {
            keeper.set_flushes(false);
            assert!(multiplexer.try_send(*id, ()).is_ok());
        }
        assert!(poll_with(&mut select, &waker).is_pending());
        wakes.take();
        for (_, keeper) in &gates {
            keeper.set_flushes(true);
        }
        assert_eq!(wakes.take(), 1);
        assert!(poll_with(&mut select, &waker).is_pending());
        assert!(gates.iter().all(|(_, keeper)| keeper.flushed() != 0));
    });
}

#[test]
fn waking_waiting_and_items_of_a_receiver() {
    let Waiting { receivers: [mut receiver, _], feeds, ids, .. } = waiting();
    let tasks = tasks(7);
    let mut turn = 0;
    allocates_nothing_once_grown(|| {
        for (key, feed) in feeds.iter().enumerate() {
            turn += 1;
            let task = &tasks[turn % tasks.len()];
            assert_eq!(poll_with(&mut receiver, task), Poll::Pending);
            feed.push(key);
            let event = (ids[key], StreamEvent::Item(key));
            assert_eq!(poll_with(&mut receiver, task), Poll::Ready(Some(event)));
        }
    });
}

#[test]
fn waking_waiting_and_items_of_several_receivers() {
    let Waiting { multiplexer, feeds, .. } = waiting();
    let mut receivers = [(); 5].map(|()| multiplexer.receiver(CHANNEL).unwrap());
    let tasks = tasks(7);
    let mut turn = 0;
    allocates_nothing_once_grown(|| {
        turn += 1;
        for (nth, receiver) in receivers.iter_mut().enumerate() {
            assert_eq!(poll_with(receiver, &tasks[(turn + nth) % tasks.len()]), Poll::Pending);
        }
        feeds[turn % MEMBERS].push(1);
        assert!(poll(&mut receivers[turn % 5]).is_ready());
    });
}

#[test]
fn waking_waiting_and_items_of_recv() {
    let Waiting { multiplexer, feeds, ids, .. } = waiting();
    let tasks = tasks(7);
    let mut turn = 0;
    allocates_nothing_once_grown(|| {
        for (key, feed) in feeds.iter().enumerate() {
            let mut recv = multiplexer.recv(CHANNEL);
            turn += 1;
            assert_eq!(poll_future(&mut recv, &tasks[turn % tasks.len()]), Poll::Pending);
            feed.push(key);
            turn += 1;
            let received = poll_future(&mut recv, &tasks[turn % tasks.len()]);
            assert_eq!(received, Poll::Ready(Ok((ids[key], Some(key)))));
        }
    });
}

#[test]
fn a_recv_that_is_dropped_while_it_waits() {
    let Waiting { multiplexer, .. } = waiting();
    let task = tasks(1).remove(0);
    allocates_nothing_once_grown(|| {
        assert_eq!(poll_future(&mut multiplexer.recv(CHANNEL), &task), Poll::Pending);
    });
}

#[test]
fn receiving_together_with_waits_by_recv_many() {
    let Waiting { receivers: [mut receiver, _], feeds, .. } = waiting();
    let task = tasks(1).remove(0);
    let mut buffer = Vec::with_capacity(MEMBERS);
    allocates_nothing_once_grown(|| {
        buffer.clear();
        let mut received = receiver.recv_many(&mut buffer, MEMBERS);
        assert_eq!(poll_future(&mut received, &task), Poll::Pending);
        feeds.iter().for_each(|feed| feed.push(1));
        assert_eq!(poll_future(&mut received, &task), Poll::Ready(MEMBERS));
    });
}

/// Back and forth, with receivers of both channels, which the moves wake.
#[test]
fn moves_between_channels() {
    let Waiting { multiplexer, receivers: [mut one, mut other], feeds, ids } = waiting();
    let task = tasks(1).remove(0);
    let mut turn = 0;
    allocates_nothing_once_grown(|| {
        turn = (turn + 1) % MEMBERS;
        let id = ids[turn];
        settle(&mut other, &task);
        multiplexer.change_stream_channel(id, OTHER).unwrap();
        assert_eq!(poll_with(&mut one, &task), Poll::Ready(Some((id, StreamEvent::Moved(OTHER)))));
        feeds[turn].push(5);
        assert_eq!(poll_with(&mut other, &task), Poll::Ready(Some((id, StreamEvent::Item(5)))));
        settle(&mut one, &task);
        multiplexer.change_stream_channel(id, CHANNEL).unwrap();
        assert_eq!(poll_with(&mut other, &task), Poll::Ready(Some((id, StreamEvent::Moved(CHANNEL)))));
    });
}

#[test]
fn pausing_resuming_and_moves_of_a_paused_stream() {
    let Waiting { multiplexer, receivers: [mut one, mut other], feeds, ids } = waiting();
    let task = tasks(1).remove(0);
    let mut turn = 0;
    allocates_nothing_once_grown(|| {
        turn = (turn + 1) % MEMBERS;
        let id = ids[turn];
        multiplexer.pause_stream(id).unwrap();
        feeds[turn].push(5);
        settle(&mut one, &task);
        multiplexer.change_stream_channel(id, OTHER).unwrap();
        multiplexer.pause_channel(CHANNEL).unwrap();
        settle(&mut one, &task);
        multiplexer.resume_channel(CHANNEL).unwrap();
        assert_eq!(poll_with(&mut one, &task), Poll::Ready(Some((id, StreamEvent::Moved(OTHER)))));
        settle(&mut other, &task);
        multiplexer.resume_stream(id).unwrap();
        assert_eq!(poll_with(&mut other, &task), Poll::Ready(Some((id, StreamEvent::Item(5)))));
        multiplexer.change_stream_channel(id, CHANNEL).unwrap();
        assert_eq!(poll_with(&mut other, &task), Poll::Ready(Some((id, StreamEvent::Moved(CHANNEL)))));
        black_box(multiplexer.stats(CHANNEL));
    });
}

#[test]
fn moves_of_all_members_at_once() {
    let Waiting { multiplexer, mut receivers, ids, .. } = waiting();
    allocates_nothing_once_grown(|| {
        for channel in [OTHER, CHANNEL] {
            ids.iter().for_each(|id| multiplexer.change_stream_channel(*id, channel).unwrap());
            receivers.iter_mut().for_each(|receiver| settle(receiver, Waker::noop()));
        }
    });
}

// Adding.

/// After the channel and the multiplexer have grown, as the documentation states.
#[test]
fn adding_a_stream_allocates_once_and_a_pair_three_times() {
    let (multiplexer, [mut receiver, _]) = channels();
    let mut added = None;
    for round in 0..3 {
        let add = || added = multiplexer.add_stream_pair(Drain, stream::pending::<()>(), CHANNEL).ok();
        let count = allocations(add);
        assert!(round == 0 || count == 3, "{count} allocations for a pair");
        multiplexer.remove_stream(added.expect("the channel is there"));
        assert!(poll(&mut receiver).is_ready());
    }

    let (multiplexer, [mut receiver, _]) = channels::<_, ()>();
    for round in 0..3 {
        let count = allocations(|| added = multiplexer.add_stream(stream::pending::<()>(), CHANNEL).ok());
        assert!(round == 0 || count == 1, "{count} allocations for a stream");
        multiplexer.remove_stream(added.expect("the channel is there"));
        assert!(poll(&mut receiver).is_ready());
    }
}

// Sending.

/// A sink that takes one item each time it is opened.
#[derive(Clone, Default)]
struct Turnstile(Rc<(Cell<bool>, Cell<Option<Waker>>)>);

impl Turnstile {
    fn open(&self) {
        let (is_open, waker) = &*self.0;
        is_open.set(true);
        waker.take().into_iter().for_each(Waker::wake);
    }

    fn is_open(&self) -> bool {
        self.0.0.get()
    }
}

impl Sink<usize> for Turnstile {
    type Error = Infallible;

    fn poll_ready(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
        if self.is_open() {
            return Poll::Ready(Ok(()));
        }
        self.0.1.set(Some(cx.waker().clone()));
        Poll::Pending
    }

    fn start_send(self: Pin<&mut Self>, _: usize) -> Result<(), Infallible> {
        assert!(self.0.0.replace(false), "it was not ready");
        Ok(())
    }

    fn poll_flush(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
        Poll::Ready(Ok(()))
    }

    fn poll_close(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
        Poll::Ready(Ok(()))
    }
}

type Sending<Si> = Multiplexer<stream::Pending<()>, Si>;

/// A multiplexer of pairs whose streams yield nothing.
fn sinks<Si>(sinks: impl IntoIterator<Item = Si>) -> (Sending<Si>, Vec<StreamId>) {
    let (multiplexer, _) = channels();
    let add = |sink| multiplexer.add_stream_pair(sink, stream::pending(), CHANNEL);
    let ids = sinks.into_iter().map(|sink| add(sink).expect("the channel is there")).collect();
    (multiplexer, ids)
}

fn turnstile() -> (Turnstile, Sending<Turnstile>, StreamId) {
    let turnstile = Turnstile::default();
    let (multiplexer, ids) = sinks([turnstile.clone()]);
    (turnstile, multiplexer, ids[0])
}

#[test]
fn single_sends() {
    let (multiplexer, ids) = sinks([Drain; MEMBERS]);
    let sending = || ids.iter().for_each(|id| assert!(multiplexer.send_one(*id, 5).now_or_never().is_some()));
    assert_eq!(allocations(sending), 0, "not even the first");
}

/// The task also changes from poll to poll.
#[test]
fn single_sends_to_a_sink_that_is_not_ready() {
    let (turnstile, multiplexer, id) = turnstile();
    let tasks = tasks(3);
    allocates_nothing_once_grown(|| {
        let mut sent = multiplexer.send_one(id, 5);
        for task in &tasks {
            assert_eq!(poll_future(&mut sent, task), Poll::Pending);
        }
        turnstile.open();
        assert_eq!(poll_future(&mut sent, &tasks[0]), Poll::Ready(Ok(())));
    });
}

#[test]
fn single_sends_that_wait_together_or_are_dropped() {
    let (turnstile, multiplexer, id) = turnstile();
    let tasks = tasks(4);
    allocates_nothing_once_grown(|| {
        let mut sends = [1, 2, 3, 4].map(|item| multiplexer.send_one(id, item));
        for (sent, task) in sends.iter_mut().zip(&tasks) {
            assert_eq!(poll_future(sent, task), Poll::Pending);
        }
        turnstile.open();
        assert_eq!(poll_future(&mut sends[2], &tasks[2]), Poll::Ready(Ok(())));
        for sent in [0, 1, 3] {
            assert_eq!(poll_future(&mut sends[sent], &tasks[sent]), Poll::Pending);
        }
    });
}

/// A sink in whose poll another task tries to send to it, and finds it busy.
#[derive(Default)]
struct Pestered(Rc<RefCell<Option<Pest>>>);

type Pest = Box<dyn Fn()>;

impl Sink<usize> for Pestered {
    type Error = Infallible;

    fn poll_ready(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
        self.0.borrow().as_ref().expect("set before the first poll")();
        Poll::Ready(Ok(()))
    }

    fn start_send(self: Pin<&mut Self>, _: usize) -> Result<(), Infallible> {
        Ok(())
    }

    fn poll_flush(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
        Poll::Ready(Ok(()))
    }

    fn poll_close(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
        Poll::Ready(Ok(()))
    }
}

#[test]
fn single_sends_that_miss_the_sink_while_it_is_polled() {
    let sink = Pestered::default();
    let pest = Rc::clone(&sink.0);
    let (multiplexer, ids) = sinks([sink]);
    let (multiplexer, id) = (Rc::new(multiplexer), ids[0]);
    let (theirs, task) = (Rc::downgrade(&multiplexer), tasks(1).remove(0));
    *pest.borrow_mut() = Some(Box::new(move || {
        let multiplexer = theirs.upgrade().expect("it is polled");
        let mut misses = [1, 2, 3].map(|item| multiplexer.send_one(id, item));
        assert!(misses.iter_mut().all(|sent| poll_future(sent, &task).is_pending()));
    }));
    allocates_nothing_once_grown(|| {
        assert_eq!(multiplexer.send_one(id, 5).now_or_never(), Some(Ok(())));
    });
}

#[test]
fn items_through_a_stream_sender() {
    let (multiplexer, ids) = sinks([Drain]);
    let mut sender = multiplexer.sender(ids[0]).expect("it is there");
    allocates_nothing_once_grown(|| {
        assert_eq!(sender.send(5).now_or_never(), Some(Ok(())));
        assert_eq!(sender.feed(6).now_or_never(), Some(Ok(())));
        assert_eq!(sender.clone().send(7).now_or_never(), Some(Ok(())));
        let mut another = multiplexer.sender(ids[0]).expect("it is there");
        assert_eq!(another.send(8).now_or_never(), Some(Ok(())));
    });
}

#[test]
fn items_through_a_stream_sender_to_a_sink_that_is_not_ready() {
    let (turnstile, multiplexer, id) = turnstile();
    let mut sender = multiplexer.sender(id).expect("it is there");
    let tasks = tasks(3);
    allocates_nothing_once_grown(|| {
        let mut sent = sender.send(5);
        for task in &tasks {
            assert_eq!(poll_future(&mut sent, task), Poll::Pending);
        }
        turnstile.open();
        assert_eq!(poll_future(&mut sent, &tasks[1]), Poll::Ready(Ok(())));
    });
}

/// If another task sends between `poll_ready` and `start_send`.
#[test]
fn an_item_that_a_stream_sender_keeps() {
    let (turnstile, multiplexer, id) = turnstile();
    let mut sender = multiplexer.sender(id).expect("it is there");
    let task = tasks(1).remove(0);
    let cx = &mut Context::from_waker(&task);
    allocates_nothing_once_grown(|| {
        turnstile.open();
        assert_eq!(sender.poll_ready_unpin(cx), Poll::Ready(Ok(())));
        assert_eq!(multiplexer.send_one(id, 1).now_or_never(), Some(Ok(())));
        assert_eq!(sender.start_send_unpin(2), Ok(()));
        assert_eq!(sender.poll_flush_unpin(cx), Poll::Pending);
        turnstile.open();
        assert_eq!(sender.poll_flush_unpin(cx), Poll::Ready(Ok(())));
        assert!(!turnstile.is_open());
    });
}

/// Only the returned `Vec` is allocated.
#[test]
fn a_send_to_many_ready_sinks_allocates_once() {
    let (multiplexer, ids) = sinks([Drain; MEMBERS]);
    for count in [1, 2, 31, 32, 33, 64, 65, MEMBERS] {
        let mut sent = None;
        let sending = || {
            let mut sending = multiplexer.send(&ids[..count], 5);
            while sent.is_none() {
                // The send yields after a number of sinks.
                if let Poll::Ready(all) = poll_future(&mut sending, Waker::noop()) {
                    sent = Some(all);
                }
            }
        };
        assert_eq!(allocations(sending), 1, "to {count}");
        let results = sent.expect("all are ready").into_vec();
        assert!(results.into_iter().eq(ids[..count].iter().copied().map(Ok)));
    }
}

/// One stream is unknown, which does not allocate either.
#[test]
fn a_send_to_unknown_streams_allocates_once() {
    let (multiplexer, ids) = sinks([Drain; 3]);
    multiplexer.remove_stream(ids[1]);
    let mut results = None;
    let send = || results = multiplexer.send(&ids, 5).now_or_never();
    assert_eq!(allocations(send), 1);
    let results = results.expect("none waits").into_vec();
    assert_eq!(results, [Ok(ids[0]), Err(SendError::UnknownStream(ids[1])), Ok(ids[2])]);
}

/// As with `send_one`, plus the returned `Vec`.
#[test]
fn a_send_to_one_sink_that_is_not_ready_allocates_once() {
    let (turnstile, multiplexer, id) = turnstile();
    let tasks = tasks(3);
    let send = || {
        let mut sent = multiplexer.send([id], 5).map(|sent| sent.is_ok());
        for task in &tasks {
            assert_eq!(poll_future(&mut sent, task), Poll::Pending);
        }
        turnstile.open();
        assert_eq!(poll_future(&mut sent, &tasks[1]), Poll::Ready(true));
    };
    send();
    assert_eq!(allocations(send), 1);
}

// Sending without waiting, and unflushed sinks.

/// A sink that takes all items, and flushes after its waker was called.
#[derive(Clone, Default)]
struct Lazy(Rc<RefCell<LazyState>>);

#[derive(Default)]
struct LazyState {
    flushes: bool,
    waker: Option<Waker>,
}

impl Lazy {
    fn wake(&self) {
        let mut state = self.0.borrow_mut();
        state.flushes = true;
        let waker = state.waker.take();
        drop(state);
        waker.into_iter().for_each(Waker::wake);
    }
}

impl Sink<usize> for Lazy {
    type Error = Infallible;

    fn poll_ready(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
        Poll::Ready(Ok(()))
    }

    fn start_send(self: Pin<&mut Self>, _: usize) -> Result<(), Infallible> {
        Ok(())
    }

    fn poll_flush(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
        let mut state = self.0.borrow_mut();
        if std::mem::take(&mut state.flushes) {
            return Poll::Ready(Ok(()));
        }
        state.waker = Some(cx.waker().clone());
        Poll::Pending
    }

    fn poll_close(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
        self.poll_flush(cx)
    }
}

#[test]
fn sends_that_do_not_wait() {
    let multiplexer = Multiplexer::new();
    multiplexer.add_channel(CHANNEL).unwrap();
    let add = |_| multiplexer.add_stream_pair(Drain, stream::pending::<()>(), CHANNEL).unwrap();
    let ids: Vec<_> = (0..MEMBERS).map(add).collect();
    allocates_nothing_once_grown(|| {
        assert!(multiplexer.try_send(ids[7], 5).is_ok());
        assert!(multiplexer.try_feed(ids[7], 5).is_ok());
        assert_eq!(multiplexer.try_feed_many(&ids, 5, |_, _| unreachable!()), MEMBERS);
        assert_eq!(multiplexer.try_feed_to(CHANNEL, 5, |_, _| unreachable!()), Ok(MEMBERS));
        assert_eq!(multiplexer.try_send_many(&ids, 5, |_, _| unreachable!()), MEMBERS);
        assert_eq!(multiplexer.try_send_to(CHANNEL, 5, |_, _| unreachable!()), Ok(MEMBERS));
    });
}

#[test]
fn what_is_left_unflushed_and_driven() {
    let multiplexer = Multiplexer::new();
    multiplexer.add_channel(CHANNEL).unwrap();
    let sinks: Vec<_> = (0..MEMBERS).map(|_| Lazy::default()).collect();
    let add =
        |sink: &Lazy| multiplexer.add_stream_pair(sink.clone(), stream::pending::<()>(), CHANNEL).unwrap();
    let ids: Vec<_> = sinks.iter().map(add).collect();
    let mut flusher = multiplexer.flusher::<usize>();
    let tasks = tasks(7);
    let mut turn = 0;
    allocates_nothing_once_grown(|| {
        assert_eq!(multiplexer.try_send_to(CHANNEL, 5, |_, _| unreachable!()), Ok(MEMBERS));
        for _ in 0..MEMBERS / 32 {
            turn += 1;
            assert!(poll_with(&mut flusher, &tasks[turn % 7]).is_pending());
        }
        sinks[turn % MEMBERS].wake();
        assert!(poll_with(&mut flusher, &tasks[turn % 7]).is_pending());
        assert!(multiplexer.try_send(ids[turn % MEMBERS], 5).is_ok());
        assert_eq!(multiplexer.try_feed_to(CHANNEL, 5, |_, _| unreachable!()), Ok(MEMBERS));
        sinks.iter().for_each(Lazy::wake);
        for _ in 0..MEMBERS / 32 {
            assert!(poll_with(&mut flusher, &tasks[turn % 7]).is_pending());
        }
        assert!(sinks.iter().all(|sink| sink.0.borrow().waker.is_none()), "all is flushed");
    });
}

/// The list of all sinks, and a place with a waker for each slow sink.
#[test]
fn a_shutdown_that_begins_allocates_once_and_once_for_each_slow_sink() {
    let begin = |pairs: usize| {
        let (multiplexer, _) = sinks((0..pairs).map(|_| Lazy::default()));
        let (wakes, waker) = Wakes::new();
        multiplexer.close();
        let mut shutdown = multiplexer.shutdown::<usize>();
        allocations(|| {
            assert!(poll_future(&mut shutdown, &waker).is_pending());
            while wakes.take() > 0 {
                assert!(poll_future(&mut shutdown, &waker).is_pending());
            }
        })
    };
    // Beyond this, the slots double, and the set of wakes grows by a word for each 64 members.
    let counts = [1_000, 2_000].map(begin);
    assert!((1_000..1_040).contains(&counts[0]) && (2_000..2_060).contains(&counts[1]), "{counts:?}");
}

#[test]
fn wakes_of_a_shutdown() {
    let slow: Vec<_> = (0..MEMBERS).map(|_| Lazy::default()).collect();
    let (multiplexer, _) = sinks(slow.clone());
    let tasks = tasks(7);
    let mut shutdown = multiplexer.shutdown::<usize>();
    let mut turn = 0;
    (0..MEMBERS / 32).for_each(|_| assert!(poll_future(&mut shutdown, &tasks[0]).is_pending()));
    allocates_nothing_once_grown(|| {
        turn += 1;
        assert!(poll_future(&mut shutdown, &tasks[turn % 7]).is_pending());
        // A wake in vain.
        let waker = slow[turn % MEMBERS].0.borrow_mut().waker.take();
        waker.into_iter().for_each(Waker::wake);
    });
}
