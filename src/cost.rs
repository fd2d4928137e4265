//! Counts the operations in the documentation's table of costs. (`tests/no_alloc.rs` counts allocations.)

use crate::channel::receiver::ChannelReceiver;
use crate::channel::select::ChannelSelect;
use crate::channel::share::Share;
use crate::engine::stream_slab::StreamSlab;
use crate::id::StreamId;
use crate::multiplexer::Multiplexer;
use crate::sync::counted::uses;
use crate::wait_list::{WaitList, Waiter};
use futures::channel::mpsc;
use futures_core::Stream;
use futures_sink::Sink;
use std::cell::{Cell, RefCell};
use std::convert::Infallible;
use std::mem;
use std::pin::Pin;
use std::rc::Rc;
use std::task::{Context, Poll, Waker};

/// A member that a test drives by hand.
#[derive(Clone, Default)]
struct Hand(Rc<State>);

#[derive(Default)]
struct State {
    items: Cell<usize>,
    polls: Cell<usize>,
    waker: RefCell<Option<Waker>>,
}

impl Hand {
    fn with_items(items: usize) -> Self {
        let hand = Self::default();
        hand.0.items.set(items);
        hand
    }

    fn wake(&self) {
        self.0.items.set(self.0.items.get() + 1);
        self.0.waker.take().expect("it was polled and had nothing").wake();
    }

    fn wake_for_nothing(&self) {
        self.0.waker.borrow().as_ref().expect("it was polled and had nothing").wake_by_ref();
    }
}

impl Stream for Hand {
    type Item = ();

    fn poll_next(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<()>> {
        self.0.polls.set(self.0.polls.get() + 1);
        if self.0.items.get() == 0 {
            *self.0.waker.borrow_mut() = Some(cx.waker().clone());
            return Poll::Pending;
        }
        self.0.items.set(self.0.items.get() - 1);
        Poll::Ready(Some(()))
    }
}

/// A set of members.
trait Set: Stream + Unpin {
    fn of(members: &[Hand]) -> Self;
}

impl Set for StreamSlab<Hand> {
    fn of(members: &[Hand]) -> Self {
        members.iter().cloned().collect()
    }
}

impl Set for ChannelReceiver<Hand, ()> {
    fn of(members: &[Hand]) -> Self {
        let multiplexer = Multiplexer::new();
        multiplexer.add_channel(0).unwrap();
        for member in members {
            multiplexer.add_stream(member.clone(), 0).unwrap();
        }
        multiplexer.receiver(0).unwrap()
    }
}

/// The members are in one of sixteen channels. The other channels are idle.
impl Set for ChannelSelect<Hand, ()> {
    fn of(members: &[Hand]) -> Self {
        let multiplexer = Multiplexer::new();
        let mut select = multiplexer.select();
        select.yield_every(None);
        for channel in 0..16 {
            multiplexer.add_channel(channel).unwrap();
            select.add(channel, Share::new()).unwrap();
        }
        // From now on, the select does not look into the idle channels.
        assert!(poll(&mut select).is_pending());
        for member in members {
            multiplexer.add_stream(member.clone(), 7).unwrap();
        }
        // A drop would end the other channels.
        mem::forget(multiplexer);
        select
    }
}

fn poll<S: Stream + Unpin>(stream: &mut S) -> Poll<Option<S::Item>> {
    Pin::new(stream).poll_next(&mut Context::from_waker(Waker::noop()))
}

/// Polls until each member was polled in vain.
fn settle<S: Stream + Unpin>(set: &mut S, members: &[Hand]) {
    let is_idle = |member: &Hand| member.0.waker.borrow().is_some();
    for _ in members {
        if members.iter().rev().all(is_idle) {
            return;
        }
        assert!(poll(set).is_pending());
    }
    assert!(members.iter().all(is_idle), "some are not polled");
}

fn all_polls(members: &[Hand]) -> usize {
    members.iter().map(|member| member.0.polls.get()).sum()
}

/// Counts polls of members, lock pairs and read-modify-writes for 100 items of members that are always ready.
fn dense<S: Set>() -> [usize; 3] {
    let members: Vec<_> = (0..10).map(|_| Hand::with_items(1_000)).collect();
    let mut set = S::of(&members);
    // Meanwhile a select gives up the shortcut of the channel that it found idle last.
    (0..40).for_each(|_| assert!(poll(&mut set).is_ready()));
    let before = all_polls(&members);
    let ((), [locks, updates]) = uses(|| (0..100).for_each(|_| assert!(poll(&mut set).is_ready())));
    [all_polls(&members) - before, locks, updates]
}

#[test]
fn an_item_of_an_always_ready_member() {
    assert_eq!(dense::<StreamSlab<_>>(), [100, 0, 0]);
    assert_eq!(dense::<ChannelReceiver<_, _>>(), [100, 200, 0]);
    assert_eq!(dense::<ChannelSelect<_, _>>(), [100, 200, 0]);
}

#[test]
fn many_items_of_the_only_ready_channel_of_a_select() {
    let members: Vec<_> = (0..10).map(|_| Hand::with_items(1_000)).collect();
    let mut select = ChannelSelect::of(&members);
    assert!(poll(&mut select).is_ready());
    let (mut buffer, mut cx) = (Vec::new(), Context::from_waker(Waker::noop()));
    let (received, [locks, updates]) = uses(|| select.poll_recv_many(&mut cx, &mut buffer, 100));
    assert_eq!(received, Poll::Ready(100));
    assert_eq!([locks, updates], [2 + 1 + 99, 0]);
}

/// Two busy channels. Up to the relief round, a batch takes the events of the higher channel at the cost of a single ready
/// channel.
#[test]
fn many_items_of_the_channel_that_leads_a_select() {
    let multiplexer = Multiplexer::without_sinks();
    let mut select = multiplexer.select();
    for (channel, share) in [(0, Share::new()), (1, Share::new().priority(1))] {
        multiplexer.add_channel(channel).unwrap();
        multiplexer.add_stream(Hand::with_items(1_000), channel).unwrap();
        select.add(channel, share).unwrap();
    }
    assert!(poll(&mut select).is_ready());
    let (mut buffer, mut cx) = (Vec::new(), Context::from_waker(Waker::noop()));
    let (received, [locks, updates]) = uses(|| select.poll_recv_many(&mut cx, &mut buffer, 100));
    assert_eq!(received, Poll::Ready(100));
    let lower: Vec<_> = (0..100).filter(|&at| buffer[at].0 == 1).collect();
    assert_eq!(lower, [63], "the same order as of one event at a time");
    // The remaining 63 of 64 events of the higher channel, one event of the lower, and the other 36 of the higher.
    assert_eq!([locks, updates], [(2 + 1 + 62) + 2 + (2 + 1 + 35), 0]);
}

/// All members are idle. One member is woken and its item is received, then the next. Counts for ten items: the lock pairs
/// and read-modify-writes of the wakes, and the polls, lock pairs and read-modify-writes of receiving.
fn sparse<S: Set>(members: usize) -> ([usize; 2], [usize; 3]) {
    let members: Vec<_> = (0..members).map(|_| Hand::default()).collect();
    let mut set = S::of(&members);
    settle(&mut set, &members);
    // A member has its second poll, in vain, in the call after the call that yields its item, or in the call after that.
    // Therefore this test wakes the members backwards, and does not count the first three.
    let mut woken = members.iter().rev();
    for member in woken.by_ref().take(3) {
        member.wake();
        assert!(poll(&mut set).is_ready());
    }
    let before = all_polls(&members);
    let (mut wakes, mut receives) = ([0; 2], [0; 2]);
    for member in woken.take(10) {
        let ((), wake) = uses(|| member.wake());
        let (event, receive) = uses(|| poll(&mut set));
        assert!(event.is_ready());
        wakes = [wakes[0] + wake[0], wakes[1] + wake[1]];
        receives = [receives[0] + receive[0], receives[1] + receive[1]];
    }
    (wakes, [all_polls(&members) - before, receives[0], receives[1]])
}

#[test]
fn a_wake_and_the_item_of_a_member_that_was_idle() {
    for members in [13, 1_000, 100_000] {
        assert_eq!(sparse::<StreamSlab<_>>(members), ([0, 10], [20, 0, 10]));
        assert_eq!(sparse::<ChannelReceiver<_, _>>(members), ([0, 10], [20, 30, 10]));
        assert_eq!(sparse::<ChannelSelect<_, _>>(members), ([0, 10], [20, 30, 10]));
    }
}

/// Wakes the last three of many members, which share one word. Counts the read-modify-writes of each wake, and of receiving
/// the three items.
fn together<S: Set>(members: usize) -> [usize; 4] {
    let members: Vec<_> = (0..members).map(|_| Hand::default()).collect();
    let mut set = S::of(&members);
    let (_, last) = members.split_last_chunk::<3>().expect("there are three");
    settle(&mut set, &members);
    // Meanwhile a select gives up the shortcut.
    (0..40).for_each(|_| assert!(poll(&mut set).is_pending(), "the set sleeps"));
    let [first, second, third] = last.each_ref().map(|member| uses(|| member.wake()).1[1]);
    let receive = || last.iter().for_each(|_| assert!(poll(&mut set).is_ready()));
    [first, second, third, uses(receive).1[1]]
}

#[test]
fn a_wake_while_another_waits() {
    for (members, words) in [(3, 2), (1_664, 2), (1_667, 3), (59_008, 3), (59_011, 4)] {
        assert_eq!(together::<StreamSlab<_>>(members), [1, words, 1, words]);
        assert_eq!(together::<ChannelReceiver<_, _>>(members), [1, words, 1, words]);
        // The first wake also wakes the channel.
        assert_eq!(together::<ChannelSelect<_, _>>(members), [2, words, 1, words + 1]);
    }
}

/// The time to absorb wakes depends on the number of words, not on the number of wakes.
#[test]
fn wakes_are_absorbed_word_by_word() {
    for (members, words) in [(64, 1), (1_664, 26), (6_000, 26 + 68 + 2), (59_072, 26 + 897 + 15 + 1)] {
        let members: Vec<_> = (0..members).map(|_| Hand::default()).collect();
        let mut slab = StreamSlab::of(&members);
        settle(&mut slab, &members);
        // The first wake is not in the tree, so its member is woken twice.
        members.iter().chain(&members[..1]).for_each(Hand::wake_for_nothing);
        let (event, [locks, updates]) = uses(|| poll(&mut slab));
        assert_eq!((event, locks, updates), (Poll::Pending, 0, 1 + words));
    }
}

/// A waker of a removed key marks the words above its own once, and afterwards only its own word.
#[test]
fn a_stale_wake_after_a_shrink() {
    let members: Vec<_> = (0..6_000).map(|_| Hand::default()).collect();
    let mut slab = StreamSlab::of(&members);
    settle(&mut slab, &members);
    slab.clear();
    slab.shrink_to_fit();
    let last = members.last().expect("there is one");
    for updates in [3, 1, 1] {
        // The next wake is then not a single wake, and marks its word.
        members[0].wake_for_nothing();
        assert_eq!(uses(|| last.wake_for_nothing()).1, [0, updates]);
        assert_eq!(uses(|| poll(&mut slab)).1, [0, 1], "the poll swaps only the root");
    }
}

/// Counts the cost to find no event in a channel that was ready, and to go to sleep.
#[test]
fn going_to_sleep_with_a_channel() {
    let member = Hand::default();
    let members = std::slice::from_ref(&member);
    let (mut select, mut receiver) = (ChannelSelect::of(members), ChannelReceiver::of(members));
    assert!(poll(&mut select).is_pending());
    member.wake();
    assert!(poll(&mut select).is_ready());
    // The member is polled in vain first: two lock pairs.
    let asleep = uses(|| assert!(poll(&mut select).is_pending())).1;
    assert!(poll(&mut receiver).is_pending());
    member.wake();
    assert!(poll(&mut receiver).is_ready());
    let alone = uses(|| assert!(poll(&mut receiver).is_pending())).1;
    assert_eq!((asleep, alone), ([4, 2], [3, 1]));
}

/// The only channel with events, which went idle last, costs a select as much as a receiver.
#[test]
fn sleeping_for_the_only_channel_with_events() {
    fn cycle<S: Set>() -> [[usize; 2]; 3] {
        let member = Hand::default();
        let mut set = S::of(std::slice::from_ref(&member));
        (0..40).for_each(|_| assert!(poll(&mut set).is_pending()));
        let mut cycle = || {
            let wake = uses(|| member.wake()).1;
            let item = uses(|| assert!(poll(&mut set).is_ready())).1;
            [wake, item, uses(|| assert!(poll(&mut set).is_pending())).1]
        };
        cycle();
        cycle()
    }
    assert_eq!(cycle::<ChannelReceiver<_, _>>(), [[1, 1], [2, 1], [3, 1]]);
    assert_eq!(cycle::<ChannelSelect<_, _>>(), [[1, 1], [2, 1], [3, 1]]);
}

/// Counts the cost to find no event and go to sleep, and the cost of a member's wake.
fn sleep<S: Set>() -> [[usize; 2]; 2] {
    let member = Hand::default();
    let mut set = S::of(std::slice::from_ref(&member));
    assert!(poll(&mut set).is_pending());
    member.wake();
    assert!(poll(&mut set).is_ready());
    assert!(poll(&mut set).is_pending());
    let (event, asleep) = uses(|| poll(&mut set));
    assert!(event.is_pending());
    [asleep, uses(|| member.wake()).1]
}

#[test]
fn going_to_sleep_and_being_woken() {
    assert_eq!(sleep::<StreamSlab<_>>(), [[1, 1], [1, 1]]);
    assert_eq!(sleep::<ChannelReceiver<_, _>>(), [[2, 1], [1, 1]]);
    // The select already sleeps when it is polled again, and does not look into its channels.
    assert_eq!(sleep::<ChannelSelect<_, _>>(), [[0, 0], [2, 2]]);
}

/// Counts the lock pairs to wake `tasks` tasks, and then to wake none.
fn wake_all(tasks: usize) -> [usize; 2] {
    let list = WaitList::new();
    let mut waiters: Vec<_> = (0..tasks).map(|_| Waiter::default()).collect();
    for waiter in &mut waiters {
        assert!(list.wait(waiter, list.epoch(), Waker::noop().clone()));
    }
    [(); 2].map(|()| uses(|| list.wake_all()).1[0])
}

#[test]
fn waking_those_who_wait() {
    assert_eq!(wake_all(0), [1, 1]);
    assert_eq!(wake_all(1), [1, 1]);
    assert_eq!(wake_all(3), [4, 1]);
}

#[test]
fn pausing_and_looking() {
    let multiplexer = Multiplexer::without_sinks();
    multiplexer.add_channel(0).unwrap();
    let id = multiplexer.add_stream(Hand::default(), 0).unwrap();
    let calls: [fn(&Multiplexer<Hand>, StreamId); 5] = [
        |multiplexer, id| multiplexer.pause_stream(id).unwrap(),
        |multiplexer, _| multiplexer.pause_channel(0).unwrap(),
        |multiplexer, id| assert_eq!(multiplexer.is_paused(id), Some(true)),
        |multiplexer, id| multiplexer.resume_stream(id).unwrap(),
        |multiplexer, _| assert!(multiplexer.stats(0).is_some()),
    ];
    for call in calls {
        assert_eq!(uses(|| call(&multiplexer, id)).1, [2, 0]);
    }
    assert_eq!(uses(|| multiplexer.resume_channel(0).unwrap()).1, [3, 0], "it wakes the receivers");
}

#[test]
fn moving_and_sending() {
    let multiplexer = Multiplexer::new();
    multiplexer.add_channel(0).unwrap();
    multiplexer.add_channel(1).unwrap();
    let (sink, _peer) = mpsc::unbounded::<u8>();
    let id = multiplexer.add_stream_pair(sink, Hand::default(), 0).unwrap();
    assert_eq!(uses(|| multiplexer.change_stream_channel(id, 1).unwrap()).1, [3, 0]);
    multiplexer.set_max_streams(0, Some(9)).unwrap();
    assert_eq!(uses(|| multiplexer.change_stream_channel(id, 0).unwrap()).1, [4, 0], "with a limit");
    assert_eq!(uses(|| multiplexer.change_stream_channel(id, 1).unwrap()).1, [3, 0], "with none");
    assert_eq!(uses(|| multiplexer.add_stream(Hand::default(), 0).unwrap()).1, [3, 0], "with a limit");
    assert_eq!(uses(|| multiplexer.add_stream(Hand::default(), 1).unwrap()).1, [2, 0], "with none");

    let sent = uses(|| {
        let mut sending = multiplexer.send_one(id, 1);
        Future::poll(Pin::new(&mut sending), &mut Context::from_waker(Waker::noop()))
    });
    assert!(matches!(sent, (Poll::Ready(Ok(())), [3, 0])), "{sent:?}");
    assert_eq!(uses(|| multiplexer.try_send(id, 1).unwrap()).1, [3, 0]);
    let feed = || multiplexer.try_feed(id, 1).unwrap();
    assert_eq!(uses(feed).1, [4, 0], "the first unflushed item stores the flush function");
    assert_eq!(uses(feed).1, [3, 0]);
}

/// Sends to a channel with that many sinks, and to the same sinks by their ids.
#[test]
fn sending_to_many() {
    for (sinks, lookups) in [(1, 1), (32, 1), (33, 2), (1_000, 32)] {
        let (multiplexer, ids, taps) = taps(sinks);
        taps.iter().for_each(Tap::open);
        let sent = uses(|| multiplexer.try_send_many(&ids, (), |_, _| unreachable!()));
        assert_eq!(sent, (sinks, [lookups + 2 * sinks, 0]));
        // One lock pair finds the channel. Each lookup of up to 32 sinks takes two. After a full one, there is another.
        let (sent, [locks, updates]) = uses(|| multiplexer.try_send_to(0, (), |_, _| unreachable!()));
        let looks = sinks / 32 + 1;
        assert_eq!((sent, locks, updates), (Ok(sinks), 1 + 2 * looks + 2 * sinks, 0));
        // A feed costs the same. The first feed also stores the flush function.
        let fed = uses(|| multiplexer.try_feed_many(&ids, (), |_, _| unreachable!()));
        assert_eq!(fed, (sinks, [1 + lookups + 2 * sinks, 0]));
        let (fed, [locks, updates]) = uses(|| multiplexer.try_feed_to(0, (), |_, _| unreachable!()));
        assert_eq!((fed, locks, updates), (Ok(sinks), 1 + 2 * looks + 2 * sinks, 0));
    }
}

/// A sink that flushes once after each `open_once`, and always after `open`.
#[derive(Clone, Default)]
struct Tap(Rc<Flow>);

#[derive(Default)]
struct Flow {
    opened: Cell<usize>,
    waker: RefCell<Option<Waker>>,
}

impl Tap {
    fn open(&self) {
        self.0.opened.set(usize::MAX);
    }

    fn open_once(&self) {
        self.0.opened.set(1);
        self.0.waker.take().expect("it was flushed in vain").wake();
    }
}

impl Sink<()> for Tap {
    type Error = Infallible;

    fn poll_ready(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
        Poll::Ready(Ok(()))
    }

    fn start_send(self: Pin<&mut Self>, (): ()) -> Result<(), Infallible> {
        Ok(())
    }

    fn poll_flush(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
        if self.0.opened.get() == 0 {
            *self.0.waker.borrow_mut() = Some(cx.waker().clone());
            return Poll::Pending;
        }
        self.0.opened.set(self.0.opened.get() - 1);
        Poll::Ready(Ok(()))
    }

    fn poll_close(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
        Poll::Ready(Ok(()))
    }
}

fn taps(sinks: usize) -> (Multiplexer<Hand, Tap>, Vec<StreamId>, Vec<Tap>) {
    let multiplexer = Multiplexer::new();
    multiplexer.add_channel(0).unwrap();
    let taps: Vec<_> = (0..sinks).map(|_| Tap::default()).collect();
    let add = |tap: &Tap| multiplexer.add_stream_pair(tap.clone(), Hand::default(), 0).unwrap();
    let ids = taps.iter().map(add).collect();
    (multiplexer, ids, taps)
}

/// One of many unflushed sinks is woken, flushed, and left unflushed again.
#[test]
fn the_flusher() {
    for sinks in [1, 100, 10_000] {
        let (multiplexer, ids, taps) = taps(sinks);
        let mut flusher = multiplexer.flusher::<()>();
        // Each sink has a place and waits for its own wake.
        ids.iter().for_each(|id| multiplexer.try_send(*id, ()).unwrap());
        assert_eq!(uses(|| poll(&mut flusher)), (Poll::Pending, [2, 1]), "the flusher goes to sleep");
        let at = sinks / 2;
        // One lock pair for the sink's list, and one for the list of the flusher's task.
        assert_eq!(uses(|| taps[at].open_once()).1, [2, 1], "the wake");
        let (flushed, took) = uses(|| poll(&mut flusher));
        assert_eq!((flushed, took), (Poll::Pending, [5 + 2, 1 + 1]), "a turn, and going to sleep");
        assert_eq!(taps[at].0.opened.get(), 0, "the sink was flushed");
        let unflushed = uses(|| multiplexer.try_send(ids[at], ()).unwrap());
        assert_eq!(unflushed.1, [3 + 2, 0], "a place, and the sink's list");
        assert_eq!(uses(|| multiplexer.try_send(ids[at], ()).unwrap()).1, [3, 0], "the sink has a place");
    }
}
