//! Every interleaving of small scenes. A lost wake is a deadlock here, which loom reports.
//!
//! The members use a waker of the test. Their readiness is a relaxed flag, so that only the wake itself orders the
//! write of the flag before the poll that must see it.

use futures_core::Stream;
use futures_sink::Sink;
use loom::future::block_on;
use loom::sync::atomic::{AtomicUsize, Ordering};
use loom::thread;
use models::{
    ChannelId, ChannelReceiver, ChannelSelect, Flusher, Multiplexer, SendError, Share, StreamEvent, StreamId,
    StreamSlab, TrySendError,
};
use std::convert::Infallible;
use std::future::poll_fn;
use std::pin::Pin;
use std::sync::{Arc, Mutex};
use std::task::{Context, Poll, Waker};

/// The state that a member and its feeding thread share. The waker is set before the threads start, and is not modelled.
#[derive(Default)]
struct Shared {
    waker: Mutex<Option<Waker>>,
    /// The number of items that the sink has received.
    taken: Mutex<usize>,
}

/// Yields one item for each that was added to `items`. A poll never registers its waker.
struct Member {
    items: Arc<AtomicUsize>,
    yielded: usize,
    shared: Arc<Shared>,
}

struct Feed {
    items: Arc<AtomicUsize>,
    shared: Arc<Shared>,
}

fn member() -> (Feed, Member) {
    let items = Arc::new(AtomicUsize::new(0));
    let shared = Arc::new(Shared::default());
    let feed = Feed { items: Arc::clone(&items), shared: Arc::clone(&shared) };
    (feed, Member { items, yielded: 0, shared })
}

impl Feed {
    /// Relaxed: only the wake makes the item visible.
    fn push(&self) {
        self.items.fetch_add(1, Ordering::Relaxed);
        self.wake();
    }

    fn wake(&self) {
        let waker = self.shared.waker.lock().unwrap().clone();
        waker.expect("polled once before").wake();
    }
}

impl Stream for Member {
    type Item = ();

    fn poll_next(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<()>> {
        let this = self.get_mut();
        if this.items.load(Ordering::Relaxed) > this.yielded {
            this.yielded += 1;
            return Poll::Ready(Some(()));
        }
        *this.shared.waker.lock().unwrap() = Some(cx.waker().clone());
        Poll::Pending
    }
}

fn poll_once<S: Stream + Unpin>(stream: &mut S) -> Poll<Option<S::Item>> {
    Pin::new(stream).poll_next(&mut Context::from_waker(Waker::noop()))
}

async fn next<S: Stream + Unpin>(stream: &mut S) -> Option<S::Item> {
    poll_fn(|cx| Pin::new(&mut *stream).poll_next(cx)).await
}

/// A slab with idle members, each of which was polled once, and the feeds of the last `fed` members.
fn idle_slab(members: usize, fed: usize) -> (StreamSlab<Member>, Vec<Feed>) {
    let (mut feeds, members): (Vec<_>, Vec<_>) = (0..members).map(|_| member()).unzip();
    let mut slab = StreamSlab::from_iter(members);
    assert!(poll_once(&mut slab).is_pending());
    let feeds = feeds.split_off(feeds.len() - fed);
    (slab, feeds)
}

/// One thread wakes; the other polls and parks.
fn wake_against_poll(key: usize) {
    loom::model(move || {
        let (mut slab, mut feeds) = idle_slab(key + 1, 1);
        let feed = feeds.pop().unwrap();
        let waker = thread::spawn(move || feed.push());
        assert_eq!(block_on(next(&mut slab)), Some((key, Some(()))));
        waker.join().unwrap();
    });
}

#[test]
fn wake_against_poll_alone() {
    wake_against_poll(0);
}

#[test]
fn wake_against_poll_in_a_branch() {
    wake_against_poll(3);
}

#[test]
fn wake_against_poll_in_a_branch_of_a_branch() {
    wake_against_poll(5);
}

/// A member is woken repeatedly while its items are received.
#[test]
fn wakes_against_park() {
    loom::model(|| {
        let (mut slab, mut feeds) = idle_slab(3, 1);
        let feed = feeds.pop().unwrap();
        let waker = thread::spawn(move || {
            feed.push();
            feed.push();
        });
        assert_eq!(block_on(next(&mut slab)), Some((2, Some(()))));
        assert_eq!(block_on(next(&mut slab)), Some((2, Some(()))));
        waker.join().unwrap();
    });
}

/// The task's previous sleep was ended by an insert, not by a member.
#[test]
fn wake_against_park_after_an_insert() {
    loom::model(|| {
        let (mut slab, mut feeds) = idle_slab(1, 1);
        slab.insert(member().1);
        let feed = feeds.pop().unwrap();
        let waker = thread::spawn(move || feed.push());
        assert_eq!(block_on(next(&mut slab)), Some((0, Some(()))));
        waker.join().unwrap();
    });
}

/// Two threads wake the last two members.
fn two_wakers(members: usize) {
    loom::model(move || {
        let (mut slab, feeds) = idle_slab(members, 2);
        let wakers: Vec<_> = feeds.into_iter().map(|feed| thread::spawn(move || feed.push())).collect();
        let mut keys = [block_on(next(&mut slab)), block_on(next(&mut slab))].map(|event| event.unwrap().0);
        keys.sort_unstable();
        assert_eq!(keys, [members - 2, members - 1]);
        wakers.into_iter().for_each(|waker| waker.join().unwrap());
    });
}

#[test]
fn two_wakers_alone() {
    two_wakers(2);
}

#[test]
fn two_wakers_alone_and_in_a_branch() {
    two_wakers(4);
}

#[test]
fn two_wakers_in_a_branch() {
    two_wakers(5);
}

#[test]
fn two_wakers_in_two_branches() {
    two_wakers(6);
}

/// The last member is removed and the slab shrinks, while the member's waker is called once more. After that the key
/// has a new member, whose wake arrives, whatever the stale wake marks.
fn stale_wake_against_shrink(key: usize) {
    loom::model(move || {
        let (mut slab, mut feeds) = idle_slab(key + 1, 1);
        let stale = feeds.pop().unwrap();
        let stale = thread::spawn(move || stale.wake());
        assert!(slab.remove(key).is_some());
        slab.shrink_to_fit();
        let (feed, member) = member();
        assert_eq!(slab.insert(member), key);
        assert!(poll_once(&mut slab).is_pending());
        let waker = thread::spawn(move || feed.push());
        assert_eq!(block_on(next(&mut slab)), Some((key, Some(()))));
        stale.join().unwrap();
        waker.join().unwrap();
    });
}

#[test]
fn stale_wake_against_shrink_alone() {
    stale_wake_against_shrink(0);
}

#[test]
fn stale_wake_against_shrink_of_branches() {
    stale_wake_against_shrink(5);
}

/// The upper branch also belongs to another member, and stays.
#[test]
fn stale_wake_against_shrink_of_the_lower_branch() {
    stale_wake_against_shrink(10);
}

type Mux = Multiplexer<Member>;

/// A channel with one idle member, which was polled once.
fn idle_channel() -> (Mux, ChannelReceiver<Member, ()>, StreamId, Feed) {
    let multiplexer = Mux::new();
    multiplexer.add_channel(1).unwrap();
    let mut receiver = multiplexer.receiver(1).unwrap();
    let (feed, member) = member();
    let id = multiplexer.add_stream(member, 1).unwrap();
    assert!(poll_once(&mut receiver).is_pending());
    (multiplexer, receiver, id, feed)
}

fn is_item(event: Option<(StreamId, StreamEvent<()>)>) -> bool {
    matches!(event, Some((_, StreamEvent::Item(()))))
}

/// Two receivers wait, and two items arrive. Each receiver receives one, whichever receiver absorbs the wake.
#[test]
fn two_receivers_share() {
    loom::model(|| {
        let (multiplexer, mut one, _, feed) = idle_channel();
        let mut two = multiplexer.receiver(1).unwrap();
        let other = thread::spawn(move || assert!(is_item(block_on(next(&mut two)))));
        feed.push();
        feed.push();
        assert!(is_item(block_on(next(&mut one))));
        other.join().unwrap();
    });
}

/// The same while both receivers are polling: one may absorb the wake of a member that the other has taken out.
#[test]
fn two_receivers_against_wakes() {
    loom::model(|| {
        let (multiplexer, one, _, feed) = idle_channel();
        let two = multiplexer.receiver(1).unwrap();
        let receivers = [one, two].map(|mut receiver| {
            thread::spawn(move || {
                assert!(is_item(block_on(next(&mut receiver))));
                receiver
            })
        });
        // First a wake without an item: its poll returns `Pending` while the next wake comes.
        feed.wake();
        feed.push();
        feed.push();
        for receiver in receivers {
            receiver.join().unwrap();
        }
    });
}

/// A channel is resumed while a receiver finds it paused and goes to sleep. Its member was woken before.
#[test]
fn resume_channel_against_sleep() {
    loom::model(|| {
        let (multiplexer, mut receiver, _, feed) = idle_channel();
        multiplexer.pause_channel(1).unwrap();
        feed.push();
        let resumer = thread::spawn(move || {
            multiplexer.resume_channel(1).unwrap();
            multiplexer
        });
        assert!(is_item(block_on(next(&mut receiver))));
        resumer.join().unwrap();
    });
}

/// A channel is paused and resumed while a receiver parks and its member is woken.
#[test]
fn pause_channel_against_wake_and_park() {
    loom::model(|| {
        let (multiplexer, mut receiver, _, feed) = idle_channel();
        let pauser = thread::spawn(move || {
            multiplexer.pause_channel(1).unwrap();
            feed.push();
            multiplexer.resume_channel(1).unwrap();
            multiplexer
        });
        assert!(is_item(block_on(next(&mut receiver))));
        pauser.join().unwrap();
    });
}

/// A stream is paused and resumed while it is woken, and perhaps polled. While paused it is not polled, and its wake is not
/// lost.
#[test]
fn pause_stream_against_wake_and_poll() {
    loom::model(|| {
        let (multiplexer, mut receiver, id, feed) = idle_channel();
        let pauser = thread::spawn(move || {
            multiplexer.pause_stream(id).unwrap();
            multiplexer.resume_stream(id).unwrap();
            multiplexer
        });
        feed.push();
        assert!(is_item(block_on(next(&mut receiver))));
        pauser.join().unwrap();
    });
}

/// A stream is paused while another thread wakes it: its item is received before the pause, or after the resumption.
#[test]
fn pause_stream_against_wake() {
    loom::model(|| {
        let (multiplexer, mut receiver, id, feed) = idle_channel();
        let waker = thread::spawn(move || feed.push());
        multiplexer.pause_stream(id).unwrap();
        assert!(poll_once(&mut receiver).is_pending());
        waker.join().unwrap();
        assert!(poll_once(&mut receiver).is_pending());
        multiplexer.resume_stream(id).unwrap();
        assert!(is_item(block_on(next(&mut receiver))));
    });
}

/// A paused stream is moved and resumed while it is polled, and is not left unpolled anywhere.
#[test]
fn pause_and_move_against_poll() {
    loom::model(|| {
        let (multiplexer, mut from, id, feed) = idle_channel();
        multiplexer.add_channel(2).unwrap();
        let mut to = multiplexer.receiver(2).unwrap();
        feed.wake();
        let mover = thread::spawn(move || {
            multiplexer.pause_stream(id).unwrap();
            multiplexer.change_stream_channel(id, 2).unwrap();
            feed.items.store(1, Ordering::Relaxed);
            multiplexer.resume_stream(id).unwrap();
            multiplexer
        });
        let mut event = block_on(next(&mut from));
        if is_item(event) {
            event = block_on(next(&mut from));
        } else {
            assert!(is_item(block_on(next(&mut to))));
        }
        assert_eq!(event, Some((id, StreamEvent::Moved(2))));
        mover.join().unwrap();
    });
}

type Select = ChannelSelect<Member, ()>;

/// A select of two channels with an idle member each. The select has found both idle.
fn idle_select() -> (Mux, Select, [Feed; 2]) {
    let multiplexer = Mux::new();
    let mut select = multiplexer.select();
    let feeds = [1, 2].map(|channel| {
        multiplexer.add_channel(channel).unwrap();
        let (feed, member) = member();
        multiplexer.add_stream(member, channel).unwrap();
        select.add(channel, Share::new()).unwrap();
        feed
    });
    assert!(poll_once(&mut select).is_pending());
    (multiplexer, select, feeds)
}

fn is_item_of(event: Option<(ChannelId, StreamId, StreamEvent<()>)>, expected: ChannelId) -> bool {
    matches!(event, Some((channel, _, StreamEvent::Item(()))) if channel == expected)
}

/// A member wakes its channel while the select polls that channel, and parks.
#[test]
fn wake_against_a_select() {
    loom::model(|| {
        let (_multiplexer, mut select, [_, feed]) = idle_select();
        let waker = thread::spawn(move || {
            feed.wake();
            feed.push();
        });
        assert!(is_item_of(block_on(next(&mut select)), 2));
        waker.join().unwrap();
    });
}

/// Both channels wake at the same time.
#[test]
fn two_wakes_against_a_select() {
    loom::model(|| {
        let (_multiplexer, mut select, feeds) = idle_select();
        let wakers = feeds.map(|feed| thread::spawn(move || feed.push()));
        let first = block_on(next(&mut select));
        let other = if is_item_of(first, 1) { 2 } else { 1 };
        assert!(is_item_of(first, 3 - other));
        assert!(is_item_of(block_on(next(&mut select)), other));
        wakers.into_iter().for_each(|waker| waker.join().unwrap());
    });
}

/// Receives so many items in one task.
async fn take(select: &mut Select, items: usize) {
    for _ in 0..items {
        assert!(matches!(next(select).await, Some((_, _, StreamEvent::Item(())))));
    }
}

/// The channel of the shortcut wakes while the task goes back to sleep.
#[test]
fn wakes_of_the_shortcut_against_a_select() {
    loom::model(|| {
        let (_multiplexer, mut select, [_, feed]) = idle_select();
        let waker = thread::spawn(move || {
            feed.push();
            feed.push();
        });
        block_on(take(&mut select, 2));
        waker.join().unwrap();
    });
}

/// The channel of the shortcut wakes, and then another channel, whose wake finds the task in the list of the slots since an
/// earlier sleep.
#[test]
fn a_wake_of_the_shortcut_and_another_against_a_select() {
    loom::model(|| {
        let (_multiplexer, mut select, [other, feed]) = idle_select();
        let waker = thread::spawn(move || {
            feed.push();
            other.push();
            other.push();
        });
        block_on(take(&mut select, 3));
        waker.join().unwrap();
    });
}

/// Another channel wakes twice, and the channel of the shortcut meanwhile. The first wake may reach the task late: when the
/// task has absorbed it, is asleep again, and waits for the second.
#[test]
fn wakes_of_another_channel_beside_the_shortcut() {
    loom::model(|| {
        let (_multiplexer, mut select, [other, feed]) = idle_select();
        let others = thread::spawn(move || {
            other.push();
            other.push();
        });
        let waker = thread::spawn(move || feed.push());
        block_on(take(&mut select, 3));
        others.join().unwrap();
        waker.join().unwrap();
    });
}

/// The select moves to another task, while the list of a channel has the waker of the first.
#[test]
fn a_select_moves_to_another_task() {
    loom::model(|| {
        let (_multiplexer, mut select, [other, feed]) = idle_select();
        let waker = thread::spawn(move || {
            feed.push();
            other.push();
            feed.push();
        });
        let mut left = 3;
        // One poll in a task of its own, which may leave the select asleep there.
        block_on(poll_fn(|cx| {
            left -= usize::from(Pin::new(&mut select).poll_next(cx).is_ready());
            Poll::Ready(())
        }));
        block_on(take(&mut select, left));
        waker.join().unwrap();
    });
}

/// Two selects sleep for one channel, with the shortcut or without.
#[test]
fn two_selects_share_a_channel() {
    loom::model(|| {
        let (multiplexer, mut select, [_, feed]) = idle_select();
        let mut second = multiplexer.select();
        second.add(2, Share::new()).unwrap();
        assert!(poll_once(&mut second).is_pending());
        let other = thread::spawn(move || block_on(take(&mut second, 1)));
        feed.push();
        feed.push();
        block_on(take(&mut select, 1));
        other.join().unwrap();
    });
}

/// The channel of the shortcut wakes while it is removed from the select, which then receives from the other.
#[test]
fn wake_against_removal_of_the_shortcut() {
    loom::model(|| {
        let (multiplexer, mut select, [feed, gone]) = idle_select();
        let waker = thread::spawn(move || {
            gone.push();
            feed.push();
        });
        assert!(select.remove(2));
        assert!(is_item_of(block_on(next(&mut select)), 1));
        let mut receiver = multiplexer.receiver(2).unwrap();
        assert!(is_item(block_on(next(&mut receiver))));
        waker.join().unwrap();
    });
}

/// The channel of the shortcut wakes while the select is dropped: its events wait for the next receiver.
#[test]
fn wake_against_the_drop_of_a_select() {
    loom::model(|| {
        let (multiplexer, select, [_, feed]) = idle_select();
        let waker = thread::spawn(move || feed.push());
        drop(select);
        let mut receiver = multiplexer.receiver(2).unwrap();
        assert!(is_item(block_on(next(&mut receiver))));
        waker.join().unwrap();
    });
}

/// A channel wakes while it is removed from the select: its events wait for the next receiver. The other channel, which
/// has its slot next, loses no event.
#[test]
fn wake_against_removal_from_a_select() {
    loom::model(|| {
        let (multiplexer, mut select, [gone, feed]) = idle_select();
        let waker = thread::spawn(move || {
            gone.push();
            feed.push();
        });
        assert!(select.remove(1));
        assert!(is_item_of(block_on(next(&mut select)), 2));
        let mut receiver = multiplexer.receiver(1).unwrap();
        assert!(is_item(block_on(next(&mut receiver))));
        waker.join().unwrap();
    });
}

/// A select and a receiver share a channel. Two items arrive, and each receives one.
#[test]
fn a_select_and_a_receiver_share() {
    loom::model(|| {
        let (multiplexer, mut select, [feed, _]) = idle_select();
        let mut receiver = multiplexer.receiver(1).unwrap();
        let other = thread::spawn(move || assert!(is_item(block_on(next(&mut receiver)))));
        feed.push();
        feed.push();
        assert!(is_item_of(block_on(next(&mut select)), 1));
        other.join().unwrap();
    });
}

/// The channels are removed from the multiplexer while the select polls them and parks: the select ends.
#[test]
fn removal_of_channels_against_a_select() {
    loom::model(|| {
        let (multiplexer, mut select, _feeds) = idle_select();
        let remover = thread::spawn(move || {
            drop(multiplexer.remove_channel(1));
            drop(multiplexer.remove_channel(2));
        });
        assert_eq!(block_on(next(&mut select)), None, "removed channels report nothing");
        remover.join().unwrap();
    });
}

/// A stream is added while a receiver goes to sleep.
#[test]
fn add_against_park() {
    loom::model(|| {
        let multiplexer = Mux::new();
        multiplexer.add_channel(1).unwrap();
        let mut receiver = multiplexer.receiver(1).unwrap();
        let adder = thread::spawn(move || {
            let (feed, member) = member();
            feed.items.store(1, Ordering::Relaxed);
            multiplexer.add_stream(member, 1).unwrap();
            multiplexer
        });
        assert!(is_item(block_on(next(&mut receiver))));
        adder.join().unwrap();
    });
}

/// A member with an item is moved while it is polled: the item is received once, before or after the move.
#[test]
fn move_against_poll() {
    loom::model(|| {
        let (multiplexer, mut from, id, feed) = idle_channel();
        multiplexer.add_channel(2).unwrap();
        let mut to = multiplexer.receiver(2).unwrap();
        feed.push();
        let mover = thread::spawn(move || {
            multiplexer.change_stream_channel(id, 2).unwrap();
            multiplexer
        });
        let first = block_on(next(&mut from));
        if is_item(first) {
            assert_eq!(block_on(next(&mut from)), Some((id, StreamEvent::Moved(2))));
            mover.join().unwrap();
            assert!(poll_once(&mut to).is_pending());
        } else {
            assert_eq!(first, Some((id, StreamEvent::Moved(2))));
            assert!(is_item(block_on(next(&mut to))));
            mover.join().unwrap();
        }
    });
}

/// A member is removed while it is polled: there is one departure, and the stream is returned or dropped.
#[test]
fn remove_against_poll() {
    loom::model(|| {
        let (multiplexer, mut receiver, id, feed) = idle_channel();
        feed.push();
        let remover = thread::spawn(move || {
            let pair = multiplexer.remove_stream(id).unwrap();
            (multiplexer, pair)
        });
        let mut event = block_on(next(&mut receiver));
        if is_item(event) {
            event = block_on(next(&mut receiver));
        }
        assert_eq!(event, Some((id, StreamEvent::Removed)));
        let (multiplexer, pair) = remover.join().unwrap();
        drop((multiplexer, pair));
        assert_eq!(poll_once(&mut receiver), Poll::Ready(None));
        assert_eq!(Arc::strong_count(&feed.shared), 1);
    });
}

/// Closing ends a receiver that is going to sleep.
#[test]
fn close_against_park() {
    loom::model(|| {
        let multiplexer = Mux::new();
        multiplexer.add_channel(1).unwrap();
        let mut receiver = multiplexer.receiver(1).unwrap();
        let closer = thread::spawn(move || drop(multiplexer));
        assert_eq!(block_on(next(&mut receiver)), None);
        closer.join().unwrap();
    });
}

/// A channel is removed while its member is polled: the receiver ends, and the stream is returned or dropped.
#[test]
fn remove_channel_against_poll() {
    loom::model(|| {
        let (multiplexer, mut receiver, id, feed) = idle_channel();
        feed.push();
        let remover = thread::spawn(move || {
            let pairs = multiplexer.remove_channel(1).unwrap();
            assert!(pairs.iter().map(|pair| pair.id).eq([id]));
            (multiplexer, pairs)
        });
        let mut event = block_on(next(&mut receiver));
        if is_item(event) {
            event = block_on(next(&mut receiver));
        }
        assert_eq!(event, None);
        drop(remover.join().unwrap());
        assert_eq!(Arc::strong_count(&feed.shared), 1);
    });
}

/// The same while one receiver polls and another sleeps.
#[test]
fn remove_channel_against_two_receivers() {
    loom::model(|| {
        let (multiplexer, mut one, _, feed) = idle_channel();
        let mut two = multiplexer.receiver(1).unwrap();
        let sleeper = thread::spawn(move || while block_on(next(&mut two)).is_some() {});
        feed.push();
        let remover = thread::spawn(move || drop(multiplexer.remove_channel(1)));
        while block_on(next(&mut one)).is_some() {}
        sleeper.join().unwrap();
        remover.join().unwrap();
        assert_eq!(Arc::strong_count(&feed.shared), 1);
    });
}

/// Many items are received in one poll, from members that are woken one after the other.
#[test]
fn recv_many_against_wakes() {
    loom::model(|| {
        let (multiplexer, mut receiver, _, one) = idle_channel();
        let (two, second) = member();
        multiplexer.add_stream(second, 1).unwrap();
        assert!(poll_once(&mut receiver).is_pending());
        let waker = thread::spawn(move || {
            one.push();
            two.push();
            one.push();
        });
        let mut events = Vec::new();
        while events.len() < 3 {
            assert_ne!(block_on(receiver.recv_many(&mut events, 2)), 0);
        }
        assert!(events.into_iter().all(|event| is_item(Some(event))));
        waker.join().unwrap();
    });
}

/// The same, with a concurrent receiver that receives one event: there are two items, one for each receiver.
#[test]
fn recv_many_beside_another_receiver() {
    loom::model(|| {
        let (multiplexer, mut many, _, feed) = idle_channel();
        let mut single = multiplexer.receiver(1).unwrap();
        let other = thread::spawn(move || assert!(is_item(block_on(next(&mut single)))));
        feed.push();
        feed.push();
        let mut events = Vec::new();
        assert_eq!(block_on(many.recv_many(&mut events, 1)), 1);
        other.join().unwrap();
    });
}

/// A member with an item is moved from channel to channel while it is polled in the first, and then in the following ones.
/// Each stay has its departure, and the item is received once, in any of the channels.
fn moves_against_polls(to: &'static [ChannelId]) {
    loom::model(move || {
        let (multiplexer, first, id, feed) = idle_channel();
        let mut receivers = vec![first];
        for channel in 2..=3 {
            multiplexer.add_channel(channel).unwrap();
            receivers.push(multiplexer.receiver(channel).unwrap());
        }
        feed.push();
        let mover = thread::spawn(move || {
            for channel in to {
                multiplexer.change_stream_channel(id, *channel).unwrap();
            }
            multiplexer
        });
        let (mut at, mut items) = (1, 0);
        for channel in to {
            let mut event = block_on(next(&mut receivers[at - 1]));
            if is_item(event) {
                items += 1;
                event = block_on(next(&mut receivers[at - 1]));
            }
            assert_eq!(event, Some((id, StreamEvent::Moved(*channel))));
            at = *channel;
        }
        if items == 0 {
            assert!(is_item(block_on(next(&mut receivers[at - 1]))));
        }
        let _multiplexer = mover.join().unwrap();
        assert!(receivers.iter_mut().all(|receiver| poll_once(receiver).is_pending()));
        assert!(items <= 1);
    });
}

#[test]
fn a_move_there_and_back_against_polls() {
    moves_against_polls(&[2, 1]);
}

#[test]
fn a_move_to_a_third_channel_against_polls() {
    moves_against_polls(&[2, 3]);
}

#[test]
fn two_moves_there_and_one_back_against_polls() {
    moves_against_polls(&[2, 1, 2]);
}

/// The same, with each channel's receiver in its own thread.
#[test]
fn a_move_there_and_back_against_two_receivers() {
    loom::model(|| {
        let (multiplexer, mut from, id, feed) = idle_channel();
        multiplexer.add_channel(2).unwrap();
        let mut to = multiplexer.receiver(2).unwrap();
        feed.push();
        let there = thread::spawn(move || {
            let event = block_on(next(&mut to));
            let got = is_item(event);
            let event = if got { block_on(next(&mut to)) } else { event };
            assert_eq!(event, Some((id, StreamEvent::Moved(1))));
            got
        });
        let mover = thread::spawn(move || {
            multiplexer.change_stream_channel(id, 2).unwrap();
            multiplexer.change_stream_channel(id, 1).unwrap();
            multiplexer
        });
        let event = block_on(next(&mut from));
        let got = is_item(event);
        let event = if got { block_on(next(&mut from)) } else { event };
        assert_eq!(event, Some((id, StreamEvent::Moved(2))));
        match (got, there.join().unwrap()) {
            (false, false) => assert!(is_item(block_on(next(&mut from)))),
            got => assert_ne!(got, (true, true)),
        }
        mover.join().unwrap();
    });
}

/// A stream is moved into a channel that is closed at the same time: the move is refused, or the receiver receives it.
#[test]
fn close_channel_against_move() {
    loom::model(|| {
        let (multiplexer, mut from, id, feed) = idle_channel();
        multiplexer.add_channel(2).unwrap();
        let mut to = multiplexer.receiver(2).unwrap();
        feed.push();
        let other = multiplexer.clone();
        let mover = thread::spawn(move || other.change_stream_channel(id, 2).is_ok());
        let receiver = thread::spawn(move || block_on(next(&mut to)));
        multiplexer.close_channel(2).unwrap();
        let moved = mover.join().unwrap();
        let told = receiver.join().unwrap();
        assert_eq!(is_item(told), moved, "{told:?}");
        assert_eq!(is_item(block_on(next(&mut from))), !moved);
    });
}

/// A task that waits for the end of a channel is woken when the last stream leaves, or when the channel is closed.
#[test]
fn drained_against_close_and_remove() {
    loom::model(|| {
        let (multiplexer, _receiver, id, _feed) = idle_channel();
        let [closer, remover] = [multiplexer.clone(), multiplexer.clone()];
        let closer = thread::spawn(move || closer.close_channel(1).unwrap());
        let remover = thread::spawn(move || drop(remover.remove_stream(id).unwrap()));
        block_on(multiplexer.drained(1)).unwrap();
        closer.join().unwrap();
        remover.join().unwrap();
    });
}

/// A stream is taken out for access in place, while it is woken and polled: its item is not missed.
#[test]
fn with_stream_against_wake_and_poll() {
    loom::model(|| {
        let (multiplexer, mut receiver, id, feed) = idle_channel();
        let peeker = thread::spawn(move || {
            let _ = multiplexer.with_stream(id, |_| {});
            multiplexer
        });
        let waker = thread::spawn(move || feed.push());
        assert!(is_item(block_on(next(&mut receiver))));
        peeker.join().unwrap();
        waker.join().unwrap();
    });
}

/// A sink that becomes ready from another thread. Its readiness is relaxed, too.
struct Gate {
    open: Arc<AtomicUsize>,
    shared: Arc<Shared>,
}

impl Gate {
    fn poll(&self, cx: &Context<'_>) -> Poll<Result<(), Infallible>> {
        if self.open.load(Ordering::Relaxed) > 0 {
            return Poll::Ready(Ok(()));
        }
        *self.shared.waker.lock().unwrap() = Some(cx.waker().clone());
        Poll::Pending
    }
}

impl Sink<()> for Gate {
    type Error = Infallible;

    fn poll_ready(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
        self.poll(cx)
    }

    fn start_send(self: Pin<&mut Self>, (): ()) -> Result<(), Infallible> {
        *self.shared.taken.lock().unwrap() += 1;
        Ok(())
    }

    fn poll_flush(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
        Poll::Ready(Ok(()))
    }

    fn poll_close(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
        self.poll(cx)
    }
}

type GateMux = Multiplexer<Member, Gate>;

/// A pair whose sink is shut, and has a waker.
fn shut_gate() -> (GateMux, StreamId, Arc<AtomicUsize>, Arc<Shared>) {
    let multiplexer = GateMux::new();
    multiplexer.add_channel(1).unwrap();
    let open = Arc::new(AtomicUsize::new(0));
    let shared = Arc::new(Shared::default());
    let gate = Gate { open: Arc::clone(&open), shared: Arc::clone(&shared) };
    let id = multiplexer.add_stream_pair(gate, member().1, 1).unwrap();
    let mut send = multiplexer.send_one(id, ());
    assert!(Pin::new(&mut send).poll(&mut Context::from_waker(Waker::noop())).is_pending());
    drop(send);
    (multiplexer, id, open, shared)
}

fn open_up(open: &AtomicUsize, shared: &Shared) {
    open.store(1, Ordering::Relaxed);
    let waker = shared.waker.lock().unwrap().clone();
    waker.expect("polled once before").wake();
}

/// A sink becomes ready while its sender goes to sleep.
#[test]
fn sink_against_sender() {
    loom::model(|| {
        let (multiplexer, id, open, shared) = shut_gate();
        let opener = thread::spawn(move || open_up(&open, &shared));
        block_on(multiplexer.send_one(id, ())).unwrap();
        opener.join().unwrap();
    });
}

/// Two tasks send to one sink. A task that finds the sink busy is woken when the poll of the sink returns.
#[test]
fn two_senders() {
    loom::model(|| {
        let (multiplexer, id, open, shared) = shut_gate();
        open_up(&open, &shared);
        let other = multiplexer.clone();
        let sender = thread::spawn(move || block_on(other.send_one(id, ())).unwrap());
        block_on(multiplexer.send_one(id, ())).unwrap();
        sender.join().unwrap();
    });
}

/// A pair is removed while a sender waits for its sink.
#[test]
fn remove_against_sender() {
    loom::model(|| {
        let (multiplexer, id, _open, _shared) = shut_gate();
        let other = multiplexer.clone();
        let remover = thread::spawn(move || drop(other.remove_stream(id)));
        block_on(multiplexer.send_one(id, ())).unwrap_err();
        remover.join().unwrap();
    });
}

/// A sender that holds the sink weakly is woken when the whole multiplexer is dropped.
#[test]
fn drop_against_stream_sender() {
    loom::model(|| {
        let (multiplexer, id, _open, _shared) = shut_gate();
        let mut sender = multiplexer.sender(id).unwrap();
        let dropper = thread::spawn(move || drop(multiplexer));
        block_on(poll_fn(|cx| Pin::new(&mut sender).poll_ready(cx))).unwrap_err();
        dropper.join().unwrap();
    });
}

/// Polls a send once, and drops it. Returns whether it was complete.
fn poll_and_drop(multiplexer: &GateMux, id: StreamId) -> bool {
    let mut send = multiplexer.send_one(id, ());
    Pin::new(&mut send).poll(&mut Context::from_waker(Waker::noop())).is_ready()
}

/// A stream is closed while another task sends to it: the close completes, and the send returns a correct result.
#[test]
fn close_against_sender() {
    loom::model(|| {
        let (multiplexer, id, open, shared) = shut_gate();
        let other = multiplexer.clone();
        let closer = thread::spawn(move || block_on(other.close_stream::<()>(id)).unwrap());
        open_up(&open, &shared);
        let sent = block_on(multiplexer.send_one(id, ()));
        assert!(matches!(sent, Ok(()) | Err(SendError::Closed(_) | SendError::UnknownStream(_))), "{sent:?}");
        closer.join().unwrap();
        assert!(multiplexer.remove_stream(id).is_none());
    });
}

/// One item for two sinks, one of which is ready, while the other becomes ready.
#[test]
fn send_to_two_against_a_sink() {
    loom::model(|| {
        let (multiplexer, id, open, shared) = shut_gate();
        let ready = Gate { open: Arc::new(AtomicUsize::new(1)), shared: Arc::default() };
        let other = multiplexer.add_stream_pair(ready, member().1, 1).unwrap();
        let opener = thread::spawn(move || open_up(&open, &shared));
        assert!(block_on(multiplexer.send([other, id], ())).is_ok());
        opener.join().unwrap();
    });
}

/// The same, while another task sends to the ready sink.
#[test]
fn send_to_two_against_a_sender() {
    loom::model(|| {
        let (multiplexer, id, open, shared) = shut_gate();
        let ready = Gate { open: Arc::new(AtomicUsize::new(1)), shared: Arc::default() };
        let ready = multiplexer.add_stream_pair(ready, member().1, 1).unwrap();
        let other = multiplexer.clone();
        let sender = thread::spawn(move || {
            block_on(other.send_one(ready, ())).unwrap();
            open_up(&open, &shared);
        });
        assert!(block_on(multiplexer.send([ready, id], ())).is_ok());
        sender.join().unwrap();
    });
}

/// One of two tasks that wait for a sink leaves while both are woken: the other one is woken.
#[test]
fn a_sender_leaves_while_all_are_woken() {
    loom::model(|| {
        let (multiplexer, id, open, shared) = shut_gate();
        let leaver = multiplexer.clone();
        let mut leaves = leaver.send_one(id, ());
        assert!(Pin::new(&mut leaves).poll(&mut Context::from_waker(Waker::noop())).is_pending());
        let sender = thread::spawn(move || block_on(multiplexer.send_one(id, ())).unwrap());
        let opener = thread::spawn(move || open_up(&open, &shared));
        drop(leaves);
        sender.join().unwrap();
        opener.join().unwrap();
    });
}

/// A send is cancelled that waits, or that found the sink busy.
#[test]
fn a_sender_is_dropped_against_another() {
    loom::model(|| {
        let (multiplexer, id, open, shared) = shut_gate();
        let other = multiplexer.clone();
        let cancelled = thread::spawn(move || {
            let _ = poll_and_drop(&other, id);
        });
        let opener = thread::spawn(move || open_up(&open, &shared));
        block_on(multiplexer.send_one(id, ())).unwrap();
        cancelled.join().unwrap();
        opener.join().unwrap();
    });
}

/// The same with a ready sink: a task that found it busy is woken when the poll returns, even if another such task is
/// dropped.
#[test]
fn a_sender_that_missed_the_sink_is_dropped() {
    loom::model(|| {
        let (multiplexer, id, open, shared) = shut_gate();
        open_up(&open, &shared);
        let others = [multiplexer.clone(), multiplexer.clone()];
        let [first, second] = others.map(|other| {
            thread::spawn(move || {
                let _ = poll_and_drop(&other, id);
            })
        });
        block_on(multiplexer.send_one(id, ())).unwrap();
        first.join().unwrap();
        second.join().unwrap();
    });
}

/// A sink becomes ready while the shutdown that waits for it goes to sleep: the sink is closed, and the shutdown completes.
#[test]
fn sink_against_shutdown() {
    loom::model(|| {
        let (multiplexer, id, open, shared) = shut_gate();
        let opener = thread::spawn(move || open_up(&open, &shared));
        assert!(block_on(multiplexer.shutdown::<()>()).is_empty());
        assert!(multiplexer.remove_stream(id).is_none(), "a closed pair is removed");
        opener.join().unwrap();
    });
}

/// The same for two sinks that wake one after the other: the wake of one sink does not hide the wake of the other.
#[test]
fn two_sinks_against_shutdown() {
    loom::model(|| {
        let (multiplexer, _, open, shared) = shut_gate();
        let (other_open, other) = (Arc::new(AtomicUsize::new(0)), Arc::new(Shared::default()));
        let gate = Gate { open: Arc::clone(&other_open), shared: Arc::clone(&other) };
        let id = multiplexer.add_stream_pair(gate, member().1, 1).unwrap();
        assert!(!poll_and_drop(&multiplexer, id), "it is shut");
        let opener = thread::spawn(move || {
            open_up(&open, &shared);
            open_up(&other_open, &other);
        });
        assert!(block_on(multiplexer.shutdown::<()>()).is_empty());
        assert_eq!(multiplexer.channel_len(1), Some(0));
        opener.join().unwrap();
    });
}

/// A pair whose sink never becomes ready is removed while the shutdown looks the sink up, polls it or goes to sleep: the
/// shutdown does not wait for the sink, and reports at most that the pair is gone.
#[test]
fn removal_against_shutdown() {
    loom::model(|| {
        let (multiplexer, id, _open, shared) = shut_gate();
        let remover = thread::spawn({
            let multiplexer = multiplexer.clone();
            move || drop(multiplexer.remove_stream(id).expect("nobody else removes it"))
        });
        let failures = block_on(multiplexer.shutdown::<()>());
        assert!(matches!(&failures[..], [] | [SendError::UnknownStream(_)]), "{failures:?}");
        remover.join().unwrap();
        drop(multiplexer);
        shared.waker.lock().unwrap().take();
        assert_eq!(Arc::strong_count(&shared), 1, "the sink is gone");
    });
}

/// A pair is added while the shutdown begins: the pair is refused, or closed with the others.
#[test]
fn addition_against_shutdown() {
    loom::model(|| {
        let multiplexer = GateMux::new();
        multiplexer.add_channel(1).unwrap();
        let adder = thread::spawn({
            let multiplexer = multiplexer.clone();
            move || {
                let gate = Gate { open: Arc::new(AtomicUsize::new(1)), shared: Arc::default() };
                multiplexer.add_stream_pair(gate, member().1, 1).is_ok()
            }
        });
        let mut shutdown = multiplexer.shutdown::<()>();
        assert!(block_on(&mut shutdown).is_empty());
        assert_eq!(shutdown.closed(), usize::from(adder.join().unwrap()));
        assert_eq!(multiplexer.channel_len(1), Some(0));
    });
}

/// Another task sends to a ready sink. If the shutdown finds the sink busy, it is woken when that poll returns, and closes
/// the sink. The sender receives its result; if the result is `Ok`, the sink has received the item.
#[test]
fn a_sender_against_shutdown() {
    loom::model(|| {
        let (multiplexer, id, open, shared) = shut_gate();
        open_up(&open, &shared);
        let sender = thread::spawn({
            let multiplexer = multiplexer.clone();
            move || block_on(multiplexer.send_one(id, ()))
        });
        assert!(block_on(multiplexer.shutdown::<()>()).is_empty());
        let sent = sender.join().unwrap();
        assert!(matches!(sent, Ok(()) | Err(SendError::Closed(_) | SendError::UnknownStream(_))), "{sent:?}");
        assert_eq!(*shared.taken.lock().unwrap(), usize::from(sent.is_ok()));
        assert!(multiplexer.remove_stream(id).is_none());
    });
}

/// The same, with a sink that becomes ready just before the other task sends to it: the shutdown sleeps, or is woken and
/// finds the sink busy.
#[test]
fn a_sender_against_shutdown_of_a_sink_that_opens() {
    loom::model(|| {
        let (multiplexer, id, open, shared) = shut_gate();
        let taken = Arc::clone(&shared);
        let sender = thread::spawn({
            let multiplexer = multiplexer.clone();
            move || {
                open_up(&open, &shared);
                block_on(multiplexer.send_one(id, ())).is_ok()
            }
        });
        assert!(block_on(multiplexer.shutdown::<()>()).is_empty());
        assert_eq!(*taken.taken.lock().unwrap(), usize::from(sender.join().unwrap()));
        assert!(multiplexer.remove_stream(id).is_none());
    });
}

/// A pair is removed while its sink becomes ready in a third thread: the shutdown completes, whichever comes first, and
/// reports the pair only if it did not close the sink.
#[test]
fn removal_against_shutdown_of_a_sink_that_opens() {
    loom::model(|| {
        let (multiplexer, id, open, shared) = shut_gate();
        let remover = thread::spawn({
            let multiplexer = multiplexer.clone();
            move || drop(multiplexer.remove_stream(id))
        });
        let kept = Arc::clone(&shared);
        let opener = thread::spawn(move || open_up(&open, &shared));
        let mut shutdown = multiplexer.shutdown::<()>();
        let failures = block_on(&mut shutdown);
        assert!(matches!(&failures[..], [] | [SendError::UnknownStream(_)]), "{failures:?}");
        assert!(shutdown.closed() + failures.len() <= 1);
        assert_eq!(multiplexer.channel_len(1), Some(0));
        remover.join().unwrap();
        opener.join().unwrap();
        drop(shutdown);
        drop(multiplexer);
        kept.waker.lock().unwrap().take();
        assert_eq!(Arc::strong_count(&kept), 1, "the sink is gone");
    });
}

/// Two concurrent shutdowns: both complete, and the sink is closed once.
#[test]
fn two_shutdowns() {
    loom::model(|| {
        let (multiplexer, id, open, shared) = shut_gate();
        open_up(&open, &shared);
        let other = thread::spawn({
            let multiplexer = multiplexer.clone();
            move || block_on(multiplexer.shutdown::<()>())
        });
        let mine = block_on(multiplexer.shutdown::<()>());
        for failures in [mine, other.join().unwrap()] {
            assert!(failures.is_empty(), "{failures:?}");
        }
        assert!(multiplexer.remove_stream(id).is_none());
    });
}

/// Another task closes the sink, which becomes ready between two polls of that close and wakes no task. The close that
/// succeeds wakes the shutdown.
#[test]
fn a_close_against_shutdown() {
    loom::model(|| {
        let (multiplexer, id, open, _shared) = shut_gate();
        let closer = thread::spawn({
            let multiplexer = multiplexer.clone();
            move || {
                let mut close = multiplexer.close_sink::<()>(id);
                assert!(Pin::new(&mut close).poll(&mut Context::from_waker(Waker::noop())).is_pending());
                open.store(1, Ordering::Relaxed);
                assert!(matches!(block_on(close), Ok(())));
            }
        });
        assert!(block_on(multiplexer.shutdown::<()>().keep_streams()).is_empty());
        closer.join().unwrap();
        assert!(multiplexer.remove_stream(id).is_some(), "its stream has not ended");
    });
}

/// A sink that takes all items, and flushes while it is open. As `Gate`, it uses a waker of the test.
struct Valve {
    open: Arc<AtomicUsize>,
    flushed: Arc<AtomicUsize>,
    shared: Arc<Shared>,
}

impl Sink<()> for Valve {
    type Error = Infallible;

    fn poll_ready(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
        Poll::Ready(Ok(()))
    }

    fn start_send(self: Pin<&mut Self>, (): ()) -> Result<(), Infallible> {
        *self.shared.taken.lock().unwrap() += 1;
        Ok(())
    }

    fn poll_flush(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
        *self.shared.waker.lock().unwrap() = Some(cx.waker().clone());
        if self.open.load(Ordering::Relaxed) == 0 {
            return Poll::Pending;
        }
        self.flushed.fetch_add(1, Ordering::Relaxed);
        Poll::Ready(Ok(()))
    }

    fn poll_close(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
        Poll::Ready(Ok(()))
    }
}

type ValveMux = Multiplexer<futures_pending::Pending, Valve>;

mod futures_pending {
    use super::*;

    /// A stream that never yields.
    pub(super) struct Pending;

    impl Stream for Pending {
        type Item = ();

        fn poll_next(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<Option<()>> {
            Poll::Pending
        }
    }
}

/// A pair whose sink is open or not, and the test's side of it.
struct Valves {
    multiplexer: ValveMux,
    id: StreamId,
    open: Arc<AtomicUsize>,
    flushed: Arc<AtomicUsize>,
    shared: Arc<Shared>,
}

fn valve(open: usize) -> Valves {
    let multiplexer = ValveMux::new();
    multiplexer.add_channel(1).unwrap();
    let [open, flushed] = [open, 0].map(|value| Arc::new(AtomicUsize::new(value)));
    let shared = Arc::new(Shared::default());
    let sink = Valve { open: Arc::clone(&open), flushed: Arc::clone(&flushed), shared: Arc::clone(&shared) };
    let id = multiplexer.add_stream_pair(sink, futures_pending::Pending, 1).unwrap();
    Valves { multiplexer, id, open, flushed, shared }
}

/// Polls a flusher until everything is flushed. A lost wake is a deadlock.
fn drive(flusher: &mut Flusher<futures_pending::Pending, Valve, ()>, flushed: &AtomicUsize) {
    block_on(poll_fn(|cx| match Pin::new(&mut *flusher).poll_next(cx) {
        _ if flushed.load(Ordering::Relaxed) != 0 => Poll::Ready(()),
        Poll::Ready(_) => panic!("it neither fails nor ends"),
        Poll::Pending => Poll::Pending,
    }));
}

/// Polls the select until the sink is flushed.
fn drive_select(select: &mut ChannelSelect<futures_pending::Pending, Valve>, flushed: &AtomicUsize) {
    block_on(poll_fn(|cx| match Pin::new(&mut *select).poll_next(cx) {
        _ if flushed.load(Ordering::Relaxed) != 0 => Poll::Ready(()),
        Poll::Ready(_) => panic!("it neither fails nor ends"),
        Poll::Pending => Poll::Pending,
    }));
}

/// A thread leaves a sink unflushed, the first in this multiplexer, while the select parks.
#[test]
fn try_feed_against_a_select() {
    loom::model(|| {
        let Valves { multiplexer, id, flushed, .. } = valve(1);
        let mut select = multiplexer.select();
        select.add(1, Share::new()).unwrap();
        let sending = thread::spawn({
            let multiplexer = multiplexer.clone();
            move || assert!(multiplexer.try_feed(id, ()).is_ok())
        });
        drive_select(&mut select, &flushed);
        sending.join().unwrap();
    });
}

/// A sink waits that the select cannot flush before a first send, which determines the item type.
#[test]
fn the_first_send_against_a_select() {
    loom::model(|| {
        let Valves { multiplexer, id, flushed, .. } = valve(1);
        let mut select = multiplexer.select();
        select.add(1, Share::new()).unwrap();
        multiplexer.with_sink(id, |_| ()).unwrap();
        let [open, others] = [1, 0].map(|value| Arc::new(AtomicUsize::new(value)));
        let sink = Valve { open, flushed: others, shared: Arc::default() };
        let other = multiplexer.add_stream_pair(sink, futures_pending::Pending, 1).unwrap();
        let sending = thread::spawn({
            let multiplexer = multiplexer.clone();
            move || assert!(multiplexer.try_feed(other, ()).is_ok())
        });
        drive_select(&mut select, &flushed);
        sending.join().unwrap();
    });
}

/// A thread leaves a sink unflushed while the flusher parks.
#[test]
fn try_feed_against_a_flusher() {
    loom::model(|| {
        let Valves { multiplexer, id, flushed, .. } = valve(1);
        let mut flusher = multiplexer.flusher::<()>();
        let sending = thread::spawn({
            let multiplexer = multiplexer.clone();
            move || multiplexer.try_feed(id, ()).unwrap()
        });
        drive(&mut flusher, &flushed);
        sending.join().unwrap();
    });
}

/// The sink wakes while the flusher polls it, or parks.
#[test]
fn a_sink_against_a_flusher() {
    loom::model(|| {
        let Valves { multiplexer, id, open, flushed, shared } = valve(0);
        let mut flusher = multiplexer.flusher::<()>();
        multiplexer.try_send(id, ()).unwrap();
        let waking = thread::spawn(move || open_up(&open, &shared));
        drive(&mut flusher, &flushed);
        waking.join().unwrap();
    });
}

/// The flusher is created while a sink is left unflushed.
#[test]
fn try_feed_against_a_new_flusher() {
    loom::model(|| {
        let Valves { multiplexer, id, flushed, .. } = valve(1);
        let sending = thread::spawn({
            let multiplexer = multiplexer.clone();
            move || multiplexer.try_feed(id, ()).unwrap()
        });
        drive(&mut multiplexer.flusher::<()>(), &flushed);
        sending.join().unwrap();
    });
}

/// Another flusher is dropped in the meantime.
#[test]
fn a_flusher_that_is_dropped_against_a_new_one() {
    loom::model(|| {
        let Valves { multiplexer, id, flushed, .. } = valve(1);
        let first = multiplexer.flusher::<()>();
        multiplexer.try_feed(id, ()).unwrap();
        let dropping = thread::spawn(move || drop(first));
        drive(&mut multiplexer.flusher::<()>(), &flushed);
        dropping.join().unwrap();
    });
}

/// Two threads send at the same time: each send is accepted, or returns that the sink is busy. The flusher has flushed the
/// accepted items when it has no more work.
#[test]
fn try_send_against_try_send() {
    loom::model(|| {
        let Valves { multiplexer, id, open, flushed, shared } = valve(0);
        let mut flusher = multiplexer.flusher::<()>();
        let sending = thread::spawn({
            let multiplexer = multiplexer.clone();
            move || multiplexer.try_send(id, ()).is_ok()
        });
        let mine = multiplexer.try_send(id, ()).is_ok();
        assert!(sending.join().unwrap() || mine, "only who has it makes it busy");
        open_up(&open, &shared);
        drive(&mut flusher, &flushed);
    });
}

/// The sink wakes while it is left unflushed, and the idle flusher is registered as waiting.
#[test]
fn try_send_against_a_sink_that_wakes() {
    loom::model(|| {
        let Valves { multiplexer, id, open, flushed, shared } = valve(0);
        let mut flusher = multiplexer.flusher::<()>();
        let waking = thread::spawn(move || {
            open.store(1, Ordering::Relaxed);
            let waker = shared.waker.lock().unwrap().clone();
            waker.into_iter().for_each(Waker::wake);
        });
        multiplexer.try_send(id, ()).unwrap();
        drive(&mut flusher, &flushed);
        waking.join().unwrap();
    });
}

/// A thread tries to send while a send of another thread is in flight: the item is accepted, or returned because the sink is
/// being polled. The other send completes, and each item was accepted once.
#[test]
fn try_send_against_a_send_in_flight() {
    loom::model(|| {
        let Valves { multiplexer, id, open, shared, .. } = valve(0);
        let mut flusher = multiplexer.flusher::<()>();
        let sending = thread::spawn({
            let multiplexer = multiplexer.clone();
            move || block_on(multiplexer.send_one(id, ())).unwrap()
        });
        let taken = match multiplexer.try_send(id, ()) {
            Ok(()) => 2,
            Err(TrySendError::Busy(())) => 1,
            Err(other) => panic!("{other:?}"),
        };
        open.store(1, Ordering::Relaxed);
        let waker = shared.waker.lock().unwrap().clone();
        waker.into_iter().for_each(Waker::wake);
        sending.join().unwrap();
        assert_eq!(*shared.taken.lock().unwrap(), taken);
        let poll = Pin::new(&mut flusher).poll_next(&mut Context::from_waker(Waker::noop()));
        assert!(poll.is_pending());
    });
}

/// The same with a `StreamSender`, and a sink that becomes ready in the meantime: until then the sink is full.
#[test]
fn try_send_against_a_sender_of_a_sink_that_opens() {
    loom::model(|| {
        let (multiplexer, id, open, shared) = shut_gate();
        let taken = Arc::clone(&shared);
        let mut sender = multiplexer.sender(id).unwrap();
        let sending = thread::spawn(move || {
            block_on(poll_fn(|cx| Pin::new(&mut sender).poll_ready(cx))).unwrap();
            Pin::new(&mut sender).start_send(()).unwrap();
            block_on(poll_fn(|cx| Pin::new(&mut sender).poll_flush(cx))).unwrap();
        });
        let opening = thread::spawn(move || open_up(&open, &shared));
        let sent = match multiplexer.try_send(id, ()) {
            Ok(()) => 2,
            Err(TrySendError::Busy(()) | TrySendError::Full(())) => 1,
            Err(other) => panic!("{other:?}"),
        };
        sending.join().unwrap();
        opening.join().unwrap();
        assert_eq!(*taken.taken.lock().unwrap(), sent);
    });
}

/// The pair is removed while its sink is flushed.
#[test]
fn remove_against_a_flusher() {
    loom::model(|| {
        let Valves { multiplexer, id, shared, .. } = valve(0);
        let mut flusher = multiplexer.flusher::<()>();
        multiplexer.try_send(id, ()).unwrap();
        multiplexer.close();
        let removing = thread::spawn(move || {
            assert!(multiplexer.discard_stream(id));
        });
        // The flusher ends with the last pair.
        block_on(poll_fn(|cx| Pin::new(&mut flusher).poll_next(cx)));
        removing.join().unwrap();
        drop(flusher);
        shared.waker.lock().unwrap().take();
        assert_eq!(Arc::strong_count(&shared), 1, "the sink is gone");
    });
}
