//! The engine: [`StreamSlab`], its keys, wakes and yields, and misbehaving members and tasks.

use crate::{slab, support};
use futures::executor::block_on;
use futures::future::FusedFuture;
use futures::stream::{self, FusedStream};
use futures::{FutureExt, Stream, StreamExt};
use slab::{drain, idle_pipes, pipes};
use std::cell::Cell;
use std::iter::FusedIterator;
use std::panic::{AssertUnwindSafe, RefUnwindSafe, UnwindSafe, catch_unwind};
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, Wake, Waker};
use std::thread;
use stream_multiplexer::StreamSlab;
use support::{Feed, Pipe, Wakes, pipe, poll, poll_with};

type AnyStream<'a> = Box<dyn Stream<Item = u32> + Unpin + 'a>;

/// A stream that wakes itself in every poll, and never has an item. Counts its polls.
fn self_waking(polls: &Cell<usize>) -> AnyStream<'_> {
    Box::new(stream::poll_fn(|cx| {
        polls.set(polls.get() + 1);
        cx.waker().wake_by_ref();
        Poll::Pending
    }))
}

/// A stream that yields nothing. Counts its polls.
fn idle(polls: &Cell<usize>) -> AnyStream<'_> {
    Box::new(stream::poll_fn(|_| {
        polls.set(polls.get() + 1);
        Poll::Pending
    }))
}

/// A stream that yields nothing, and can be distinguished from others.
#[derive(Debug, PartialEq)]
struct Named<T>(T);

impl<T: Unpin> Stream for Named<T> {
    type Item = u32;

    fn poll_next(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<Option<u32>> {
        Poll::Pending
    }
}

fn panics<R>(call: impl FnOnce() -> R) -> bool {
    catch_unwind(AssertUnwindSafe(call)).is_err()
}

// Keys and members.

#[test]
fn keys_are_those_of_a_slab() {
    let mut slab = StreamSlab::new();
    assert!(slab.is_empty());
    assert_eq!(['a', 'b', 'c'].map(|name| slab.insert(Named(name))), [0, 1, 2]);
    assert_eq!(slab.len(), 3);
    assert!(!slab.is_empty());

    assert_eq!(slab.remove(1), Some(Named('b')));
    assert!(!slab.contains(1));
    assert_eq!(slab.get(1), None);
    assert_eq!(slab.get_mut(1), None);
    assert_eq!(slab.remove(1), None);
    assert_eq!(slab.remove(99), None, "a key that never was");
    assert!(slab.contains(0) && slab.contains(2) && !slab.contains(99));
    assert_eq!(slab.len(), 2);

    assert_eq!(slab.insert(Named('d')), 1, "a vacant key is used again");
    assert_eq!(slab.get(1), Some(&Named('d')));
}

#[test]
fn members_are_read_and_changed_in_place() {
    let mut slab = StreamSlab::from_iter([10, 20, 30].map(Named));
    slab.get_mut(1).unwrap().0 += 1;
    assert_eq!(slab.get(1), Some(&Named(21)));
    for (key, member) in &mut slab {
        member.0 += key;
    }
    assert_eq!(slab.iter_mut().len(), 3);
    assert_eq!(slab.iter().len(), 3);
    assert_eq!(slab.iter().collect::<Vec<_>>(), [(0, &Named(10)), (1, &Named(22)), (2, &Named(32))]);

    slab.remove(1);
    assert_eq!(
        (&slab).into_iter().collect::<Vec<_>>(),
        [(0, &Named(10)), (2, &Named(32))],
        "in the order of the keys"
    );
    assert_eq!(slab.iter_mut().map(|(key, _)| key).collect::<Vec<_>>(), [0, 2]);
}

#[test]
fn its_iterators_go_from_both_ends_and_know_their_length() {
    fn check<T>(
        mut members: impl DoubleEndedIterator<Item = (usize, T)> + ExactSizeIterator + FusedIterator,
    ) {
        assert_eq!((members.len(), members.size_hint()), (3, (3, Some(3))));
        assert_eq!(members.next_back().map(|(key, _)| key), Some(4));
        assert_eq!(members.next().map(|(key, _)| key), Some(0));
        assert_eq!(members.len(), 1);
        assert_eq!(members.next_back().map(|(key, _)| key), Some(2));
        assert!(members.next_back().is_none() && members.next().is_none());
        assert_eq!(members.len(), 0);
    }

    let mut slab = StreamSlab::from_iter((0..6).map(Named));
    slab.retain(|key, _| key % 2 == 0);
    check(slab.iter());
    check(slab.iter_mut());
    check(slab.iter().clone());
    check(slab.into_iter());
}

#[test]
fn gives_its_members_up_by_value() {
    let (feeds, mut slab) = idle_pipes(3);
    feeds[1].panic();
    assert!(panics(|| poll(&mut slab)));
    let (wakes, waker) = Wakes::new();
    assert_eq!(poll_with(&mut slab, &waker), Poll::Ready(Some((1, None))));
    assert_eq!(poll_with(&mut slab, &waker), Poll::Pending);
    drop(waker);
    feeds[0].panic();
    assert!(panics(|| poll(&mut slab)));
    let mut members: Vec<_> = slab.into_iter().collect();
    assert_eq!(Arc::strong_count(&wakes), 1, "and lets go of its task");
    assert_eq!(members.iter().map(|(key, _)| *key).collect::<Vec<_>>(), [0, 2], "also one that panicked");
    feeds[2].push(7);
    assert_eq!(poll(&mut members[1].1), Poll::Ready(Some(7)));
}

/// A slab gives out references to its streams. It is `RefUnwindSafe` if they are.
#[test]
fn is_as_safe_to_look_at_after_a_panic_as_its_members() {
    fn safe<T: UnwindSafe>(_: &T) {}
    fn safe_by_reference<T: RefUnwindSafe>(_: &T) {}

    let mut slab = StreamSlab::from_iter([Named(1)]);
    safe(&slab);
    safe_by_reference(&slab);
    safe(&slab.iter());
    safe_by_reference(&slab.iter());
    safe_by_reference(&slab.iter_mut());
    let members = slab.into_iter();
    safe(&members);
    safe_by_reference(&members);
    // Not safe by reference.
    safe(&StreamSlab::from_iter([Named(Cell::new(1))]));
}

#[test]
fn shows_its_members() {
    let mut slab = StreamSlab::from_iter(['a', 'b', 'c'].map(Named));
    slab.remove(1);
    assert_eq!(format!("{slab:?}"), "{0: Named('a'), 2: Named('c')}");
    assert_eq!(format!("{:?}", slab.iter()), "{0: Named('a'), 2: Named('c')}");
    for left in [
        format!("{:?}", slab.iter_mut()),
        format!("{:?}", StreamSlab::from_iter([Named(1), Named(2)]).into_iter()),
    ] {
        assert!(left.contains('2'), "how many are left");
    }
    assert_eq!(format!("{:?}", StreamSlab::<u32>::default()), "{}");
}

#[test]
fn capacity_is_what_was_asked_for_and_survives_clear() {
    assert_eq!(StreamSlab::<Named<u32>>::new().capacity(), 0);
    let mut slab = StreamSlab::with_capacity(100);
    let capacity = slab.capacity();
    assert!(capacity >= 100);
    slab.extend((0..100).map(Named));
    assert_eq!(slab.capacity(), capacity, "there was room");
    slab.clear();
    assert!(slab.is_empty());
    assert_eq!(slab.capacity(), capacity);
    assert_eq!(slab.iter().next(), None);
}

#[test]
fn is_collected_and_extended() {
    let mut slab: StreamSlab<_> = [stream::iter([1]), stream::iter([2])].into_iter().collect();
    slab.extend([stream::iter([3])]);
    let events: Vec<_> = block_on(slab.by_ref().collect());
    let items = [(0, Some(1)), (1, Some(2)), (2, Some(3))];
    assert_eq!(events[..3], items, "each member's item, in the order of the keys");
    assert_eq!(events[3..], [(0, None), (1, None), (2, None)]);
}

#[test]
fn yields_the_end_of_a_member_once_and_drops_it() {
    let (feeds, mut slab) = pipes(2);
    feeds[0].push(7);
    feeds[0].end();
    assert_eq!(poll(&mut slab), Poll::Ready(Some((0, Some(7)))));
    assert!(!feeds[0].is_dropped());
    assert_eq!(poll(&mut slab), Poll::Ready(Some((0, None))));
    assert!(feeds[0].is_dropped(), "it is gone when its end is told");
    assert!(!slab.contains(0));
    assert_eq!(slab.len(), 1);
    assert_eq!(poll(&mut slab), Poll::Pending, "its end is told once");
}

#[test]
fn yields_all_ends_and_then_none() {
    let (feeds, mut slab) = pipes(100);
    feeds.iter().for_each(Feed::end);
    assert_eq!(drain(&mut slab), (0..100).map(|key| (key, None)).collect::<Vec<_>>());
    assert_eq!(poll(&mut slab), Poll::Ready(None));
}

#[test]
fn items_come_in_the_order_of_their_stream_and_members_in_turn() {
    let (feeds, mut slab) = pipes(3);
    for item in 0..3 {
        feeds.iter().for_each(|feed| feed.push(item));
    }
    let expected: Vec<_> = (0..3).flat_map(|item| (0..3).map(move |key| (key, Some(item)))).collect();
    assert_eq!(drain(&mut slab), expected);
}

#[test]
fn an_empty_slab_yields_none_and_may_be_filled_again() {
    let mut slab = StreamSlab::new();
    for _ in 0..3 {
        assert_eq!(poll(&mut slab), Poll::Ready(None));
        let key = slab.insert(stream::iter([5]));
        assert_eq!(poll(&mut slab), Poll::Ready(Some((key, Some(5)))));
        assert_eq!(poll(&mut slab), Poll::Ready(Some((key, None))));
    }
    slab.insert(stream::iter([5]));
    slab.clear();
    assert_eq!(poll(&mut slab), Poll::Ready(None));
}

/// `is_terminated` returns whether polling is pointless. Before the first poll it is not, because that poll may yield
/// `None`.
#[test]
fn is_terminated_after_none_until_filled_again() {
    let mut slab = StreamSlab::new();
    assert!(!slab.is_terminated());
    assert_eq!(poll(&mut slab), Poll::Ready(None));
    assert!(slab.is_terminated());
    slab.insert(stream::iter([5]));
    assert!(!slab.is_terminated());
    assert_eq!(poll(&mut slab), Poll::Ready(Some((0, Some(5)))));
    assert_eq!(poll(&mut slab), Poll::Ready(Some((0, None))));
    assert!(!slab.is_terminated(), "None is still to come");
    assert_eq!(poll(&mut slab), Poll::Ready(None));
    assert!(slab.is_terminated());
}

#[test]
fn size_hint_knows_the_empty_slab_and_the_ends() {
    let (_feeds, mut slab) = pipes(3);
    assert_eq!(slab.size_hint(), (3, None));
    slab.clear();
    assert_eq!(slab.size_hint(), (0, Some(0)));
}

#[test]
fn a_stream_that_is_not_unpin_comes_boxed() {
    let streams = [1, 2].map(|item| Box::pin(stream::once(async move { item })));
    let slab = StreamSlab::from_iter(streams);
    let items: Vec<_> = block_on(slab.filter_map(async |(_, item)| item).collect());
    assert_eq!(items, [1, 2]);
}

// Removing.

#[test]
fn remove_hands_the_stream_back_with_what_is_left_in_it() {
    let (feeds, mut slab) = pipes(1);
    feeds[0].push(1);
    feeds[0].push(2);
    assert_eq!(poll(&mut slab), Poll::Ready(Some((0, Some(1)))));
    let mut stream = slab.remove(0).expect("it is there");
    assert_eq!(poll(&mut slab), Poll::Ready(None), "nothing is told of a member that was removed");
    assert_eq!(poll(&mut stream), Poll::Ready(Some(2)));
}

#[test]
fn a_member_removed_after_a_wake_yields_nothing() {
    let (feeds, mut slab) = idle_pipes(2);
    feeds[0].push(1);
    slab.remove(0);
    assert_eq!(drain(&mut slab), []);
    assert_eq!((feeds[0].take_polls(), feeds[1].take_polls()), (0, 0));
}

#[test]
fn a_member_removed_while_it_was_ready_yields_nothing() {
    let (feeds, mut slab) = pipes(2);
    feeds[0].push(1);
    feeds[0].push(2);
    assert_eq!(poll(&mut slab), Poll::Ready(Some((0, Some(1)))));
    slab.remove(0);
    assert_eq!(drain(&mut slab), []);
    assert_eq!((feeds[0].take_polls(), feeds[1].take_polls()), (1, 1));
}

/// These are no turns in vain: the call does not yield for them.
#[test]
fn many_members_removed_while_they_were_ready_cost_nothing() {
    let (feeds, mut slab) = pipes(200);
    (0..199).for_each(|key| drop(slab.remove(key)));
    feeds[199].push(1);
    assert_eq!(poll(&mut slab), Poll::Ready(Some((199, Some(1)))));
}

#[test]
fn the_next_tenant_of_a_key_is_polled_and_woken_like_any() {
    let (feeds, mut slab) = idle_pipes(40);
    for key in [0, 31, 32, 39] {
        feeds[key].push(1);
        slab.remove(key);
        let (feed, stream) = pipe();
        assert_eq!(slab.insert(stream), key);
        assert_eq!(drain(&mut slab), []);
        feed.push(2);
        assert_eq!(drain(&mut slab), [(key, Some(2))]);
    }
}

#[test]
fn a_stale_waker_of_a_vacant_slot_does_nothing() {
    let (feeds, mut slab) = idle_pipes(3);
    let stale = feeds[1].waker().expect("it was polled in vain");
    slab.remove(1);
    for _ in 0..3 {
        stale.wake_by_ref();
        assert_eq!(drain(&mut slab), []);
    }
    slab.remove(0);
    slab.remove(2);
    stale.wake_by_ref();
    assert_eq!(poll(&mut slab), Poll::Ready(None));
}

/// Also in large numbers: a call visits at most 64 vacant slots, and then yields.
#[test]
fn many_stale_wakers_of_vacant_slots_do_nothing() {
    let (feeds, mut slab) = idle_pipes(200);
    let stale: Vec<_> = feeds.iter().map(|feed| feed.waker().expect("it was polled in vain")).collect();
    (1..200).for_each(|key| drop(slab.remove(key)));
    let (wakes, waker) = Wakes::new();
    assert_eq!(poll_with(&mut slab, &waker), Poll::Pending);
    stale[1..].iter().for_each(Waker::wake_by_ref);
    assert_eq!(wakes.take(), 1);

    assert_eq!(poll_with(&mut slab, &waker), Poll::Pending);
    assert_eq!(wakes.take(), 1, "it has yielded");
    assert_eq!(drain(&mut slab), []);
    assert_eq!(feeds[0].take_polls(), 0, "it was not woken");
}

/// Nor does it count as a member between two members that wake themselves.
#[test]
fn a_stale_wake_of_a_vacant_slot_does_not_keep_a_call_from_yielding() {
    let polls = Cell::new(0);
    let (feed, pipe) = pipe::<u32>();
    let mut slab = StreamSlab::new();
    slab.insert(self_waking(&polls));
    let key = slab.insert(Box::new(pipe) as AnyStream<'_>);
    slab.extend([self_waking(&polls), self_waking(&polls)]);
    assert_eq!(poll(&mut slab), Poll::Pending);
    assert_eq!(poll(&mut slab), Poll::Pending);
    let stale = feed.waker().expect("it was polled in vain");
    slab.remove(key);
    // Wherever the round begins.
    for _ in 0..6 {
        polls.take();
        stale.wake_by_ref();
        assert_eq!(poll(&mut slab), Poll::Pending);
        assert_eq!(polls.get(), 2);
    }
}

/// The stale wake causes one poll of the next tenant in vain. The waker belongs to the slot: the next tenant has the
/// same one.
#[test]
fn a_stale_waker_polls_the_next_tenant_in_vain() {
    let (feeds, mut slab) = idle_pipes(1);
    let stale = feeds[0].waker().expect("it was polled in vain");
    slab.remove(0);
    let (feed, stream) = pipe();
    slab.insert(stream);
    assert_eq!(drain(&mut slab), []);
    assert_eq!(feed.take_polls(), 1);
    assert!(stale.will_wake(&feed.waker().expect("it was polled in vain")));

    stale.wake();
    assert_eq!(drain(&mut slab), []);
    assert_eq!(feed.take_polls(), 1);
    feed.push(9);
    assert_eq!(drain(&mut slab), [(0, Some(9))]);
}

#[test]
fn a_stale_wake_before_the_next_tenant_comes_does_nothing_more() {
    let (feeds, mut slab) = idle_pipes(2);
    let stale = feeds[0].waker().expect("it was polled in vain");
    slab.remove(0);
    stale.wake();
    let (feed, stream) = pipe();
    slab.insert(stream);
    assert_eq!(drain(&mut slab), []);
    assert_eq!((feed.take_polls(), feeds[1].take_polls()), (1, 0));
}

#[test]
fn wakers_may_outlive_the_slab() {
    let (feeds, slab) = idle_pipes(40);
    drop(slab);
    feeds.iter().for_each(Feed::wake);
    assert!(feeds.iter().all(Feed::is_dropped));
}

/// The members' wakers may outlive the slab, but a dropped slab keeps nothing of its task.
#[test]
fn a_dropped_slab_lets_go_of_its_task() {
    let (feeds, mut slab) = idle_pipes(1);
    let (wakes, waker) = Wakes::new();
    assert_eq!(poll_with(&mut slab, &waker), Poll::Pending);
    drop(waker);
    assert_eq!(Arc::strong_count(&wakes), 2);
    let kept = feeds[0].waker();
    drop(slab);
    assert!(kept.is_some());
    assert_eq!(Arc::strong_count(&wakes), 1);
}

// Wakes.

#[test]
fn a_member_that_is_fed_wakes_the_task_once() {
    let (feeds, mut slab) = idle_pipes(40);
    let (wakes, waker) = Wakes::new();
    for key in [0, 31, 32, 39] {
        assert_eq!(poll_with(&mut slab, &waker), Poll::Pending);
        assert_eq!(wakes.take(), 0, "there is nothing to do");
        feeds[key].push(1);
        feeds[1].wake();
        feeds[33].wake();
        assert_eq!(wakes.take(), 1, "the first wake is enough");
        assert_eq!(poll_with(&mut slab, &waker), Poll::Ready(Some((key, Some(1)))));
        feeds[key].push(2);
        assert_eq!(wakes.take(), 0, "nobody waits");
        assert_eq!(poll_with(&mut slab, &waker), Poll::Ready(Some((key, Some(2)))));
    }
}

#[test]
fn insert_wakes_the_task_that_waits() {
    let (_feeds, mut slab) = idle_pipes(1);
    let (wakes, waker) = Wakes::new();
    slab.insert(pipe().1);
    assert_eq!(poll_with(&mut slab, &waker), Poll::Pending);
    assert_eq!(wakes.take(), 0, "nobody waited when it was inserted");
    slab.insert(pipe().1);
    assert_eq!(wakes.take(), 1);
    slab.insert(pipe().1);
    assert_eq!(wakes.take(), 0, "it is awake");
}

#[test]
fn only_the_task_that_polled_last_is_woken() {
    let (feeds, mut slab) = idle_pipes(1);
    let (wakes, wakers): (Vec<_>, Vec<_>) = (0..3).map(|_| Wakes::new()).unzip();
    for _ in 0..2 {
        for waker in &wakers {
            assert_eq!(poll_with(&mut slab, waker), Poll::Pending);
        }
        feeds[0].push(1);
        assert_eq!(wakes.iter().map(|wakes| wakes.take()).collect::<Vec<_>>(), [0, 0, 1]);
        assert_eq!(poll_with(&mut slab, &wakers[0]), Poll::Ready(Some((0, Some(1)))));
    }
    drop(wakers);
    assert_eq!(Arc::strong_count(&wakes[0]), 1, "nothing is kept of a task that does not wait");
    assert_eq!(Arc::strong_count(&wakes[1]), 1);
}

#[test]
fn members_are_not_polled_again_unwoken() {
    let (feeds, mut slab) = idle_pipes(200);
    for _ in 0..3 {
        assert_eq!(drain(&mut slab), []);
    }
    assert!(feeds.iter().all(|feed| feed.take_polls() == 0));
    for (key, feed) in feeds.iter().enumerate() {
        feed.wake();
        assert_eq!(drain(&mut slab), []);
        feed.push(1);
        assert_eq!(drain(&mut slab), [(key, Some(1))]);
        assert_eq!(feed.take_polls(), 3, "woken for nothing, its item, and nothing more");
    }
    assert!(feeds.iter().all(|feed| feed.take_polls() == 0), "others were polled");
}

#[test]
fn many_wakes_are_one_poll() {
    let (feeds, mut slab) = idle_pipes(40);
    for key in [0, 39] {
        let waker = feeds[key].waker().expect("it was polled in vain");
        (0..10).for_each(|_| waker.wake_by_ref());
        assert_eq!(drain(&mut slab), []);
        assert_eq!(feeds[key].take_polls(), 1);
    }
}

#[test]
fn a_member_woken_in_its_own_poll_is_polled_again() {
    for idle in [0, 40] {
        let mut slab: StreamSlab<AnyStream<'_>> = StreamSlab::new();
        slab.extend((0..idle).map(|_| Box::new(stream::pending()) as AnyStream<'_>));
        assert_eq!(drain(&mut slab), []);
        let mut first = true;
        let key = slab.insert(Box::new(stream::poll_fn(move |cx| {
            if std::mem::take(&mut first) {
                cx.waker().wake_by_ref();
                return Poll::Pending;
            }
            Poll::Ready(Some(3))
        })));
        assert_eq!(poll(&mut slab), Poll::Ready(Some((key, Some(3)))));
    }
}

#[test]
fn a_member_woken_by_another_thread_in_its_own_poll_is_polled_again() {
    let mut first = true;
    let mut slab = StreamSlab::from_iter([stream::poll_fn(move |cx| {
        if std::mem::take(&mut first) {
            let waker = cx.waker().clone();
            thread::spawn(move || waker.wake()).join().expect("waking does not panic");
            return Poll::Pending;
        }
        Poll::Ready(Some(3))
    })]);
    assert_eq!(poll(&mut slab), Poll::Ready(Some((0, Some(3)))));
}

#[test]
fn members_woken_in_the_poll_of_another_have_their_turn_in_the_same_call() {
    for between in [0, 40] {
        let (before, first) = pipe();
        let (behind, last) = pipe();
        let mut slab: StreamSlab<AnyStream<'_>> = StreamSlab::new();
        slab.insert(Box::new(first));
        let feeds = [before, behind];
        let waking = slab.insert(Box::new(stream::pending()));
        slab.extend((0..between).map(|_| Box::new(stream::pending()) as AnyStream<'_>));
        let behind = slab.insert(Box::new(last));
        assert_eq!(drain(&mut slab), []);

        slab.remove(waking);
        slab.insert(Box::new(stream::poll_fn(move |_| {
            feeds.iter().for_each(|feed| feed.push(1));
            Poll::Pending
        })));
        assert_eq!(poll(&mut slab), Poll::Ready(Some((behind, Some(1)))));
        assert_eq!(poll(&mut slab), Poll::Ready(Some((0, Some(1)))));
    }
}

/// Each thread feeds its own members. The task sleeps whenever there is no item.
#[test]
fn wakes_from_other_threads_are_not_lost() {
    const THREADS: usize = 4;
    const MEMBERS: usize = 80;
    const ITEMS: u32 = 50;
    let (feeds, slab) = pipes(MEMBERS);
    let feeding = |feeds: Vec<Feed<u32>>| {
        (0..ITEMS).for_each(|item| feeds.iter().for_each(|feed| feed.push(item)));
        feeds.iter().for_each(Feed::end);
    };
    let received = thread::scope(|scope| {
        for thread in 0..THREADS {
            let mine: Vec<_> = feeds.iter().skip(thread).step_by(THREADS).cloned().collect();
            scope.spawn(move || feeding(mine));
        }
        block_on(slab.collect::<Vec<_>>())
    });
    let complete: Vec<_> = (0..ITEMS).map(Some).chain([None]).collect();
    for key in 0..MEMBERS {
        let of_key: Vec<_> = received.iter().filter(|event| event.0 == key).map(|event| event.1).collect();
        assert_eq!(of_key, complete);
    }
}

/// The task sleeps before each item, because each item is the answer to the previous one.
#[test]
fn every_wake_from_another_thread_ends_a_sleep() {
    let (asked, mut questions) = futures::channel::mpsc::unbounded();
    let (feeds, mut slab) = pipes(40);
    let answering = thread::spawn(move || {
        block_on(async {
            while let Some(key) = questions.next().await {
                let feed: &Feed<u32> = &feeds[key];
                feed.push(7);
            }
        });
    });
    block_on(async {
        for key in (0..1000).map(|n| n * 7 % 40) {
            asked.unbounded_send(key).expect("it is answering");
            assert_eq!(slab.next().await, Some((key, Some(7))));
        }
    });
    drop(asked);
    answering.join().expect("it does not panic");
}

#[test]
fn a_dropped_next_loses_nothing() {
    let (feeds, mut slab) = idle_pipes(2);
    assert_eq!(slab.next().now_or_never(), None);
    feeds[1].push(1);
    let (wakes, waker) = Wakes::new();
    drop(slab.next());
    assert_eq!(poll_with(&mut slab, &waker), Poll::Ready(Some((1, Some(1)))));
    assert_eq!(poll_with(&mut slab, &waker), Poll::Pending);
    feeds[0].push(2);
    assert_eq!(wakes.take(), 1);
    assert_eq!(slab.next().now_or_never(), Some(Some((0, Some(2)))));
}

// Many at once.

type Event<T> = (usize, Option<T>);

/// Calls `poll_recv_many` with a waker that does nothing, and returns the events.
fn recv_many<St: Stream + Unpin>(
    slab: &mut StreamSlab<St>,
    limit: usize,
) -> (Poll<usize>, Vec<Event<St::Item>>) {
    let mut events = Vec::new();
    let received = slab.poll_recv_many(&mut Context::from_waker(Waker::noop()), &mut events, limit);
    (received, events)
}

#[test]
fn recv_many_takes_what_is_there_in_turn() {
    let (feeds, mut slab) = pipes(3);
    feeds.iter().for_each(|feed| (0..2).for_each(|item| feed.push(item)));
    feeds[1].end();
    let first = [(0, Some(0)), (1, Some(0)), (2, Some(0)), (0, Some(1))];
    assert_eq!(recv_many(&mut slab, 4), (Poll::Ready(4), first.to_vec()));
    let second = [(1, Some(1)), (2, Some(1)), (1, None)];
    assert_eq!(recv_many(&mut slab, 9), (Poll::Ready(3), second.to_vec()));
    assert_eq!(recv_many(&mut slab, 9), (Poll::Pending, vec![]));
}

#[test]
fn recv_many_appends() {
    let mut slab = StreamSlab::from_iter([stream::repeat(1)]);
    let mut events = vec![(9, None)];
    assert_eq!(slab.recv_many(&mut events, 2).now_or_never(), Some(2));
    assert_eq!(events, [(9, None), (0, Some(1)), (0, Some(1))]);
}

#[test]
fn recv_many_waits_for_the_first_event() {
    let (feeds, mut slab) = idle_pipes(2);
    let (wakes, waker) = Wakes::new();
    let mut events = Vec::new();
    let mut received = slab.recv_many(&mut events, 3);
    assert_eq!(received.poll_unpin(&mut Context::from_waker(&waker)), Poll::Pending);
    feeds[1].push(7);
    assert_eq!(wakes.take(), 1);
    assert_eq!(received.poll_unpin(&mut Context::from_waker(&waker)), Poll::Ready(1));
    assert_eq!(events, [(1, Some(7))]);
    feeds[0].push(8);
    assert_eq!(wakes.take(), 0, "it does not wait for more");
    assert_eq!(recv_many(&mut slab, 3), (Poll::Ready(1), vec![(0, Some(8))]));
}

#[test]
fn recv_many_up_to_none_polls_nothing() {
    let (feeds, mut slab) = pipes(1);
    feeds[0].push(1);
    assert_eq!(recv_many(&mut slab, 0), (Poll::Ready(0), vec![]));
    assert_eq!(feeds[0].take_polls(), 0);
    slab.clear();
    assert_eq!(recv_many(&mut slab, 0), (Poll::Ready(0), vec![]));
    assert!(!slab.is_terminated(), "that told nothing of the slab");
}

#[test]
fn recv_many_of_an_empty_slab_is_nothing() {
    let (feeds, mut slab) = pipes(1);
    feeds[0].end();
    assert_eq!(recv_many(&mut slab, 2), (Poll::Ready(1), vec![(0, None)]));
    assert!(!slab.is_terminated(), "that it is empty is still to be told");
    assert_eq!(recv_many(&mut slab, 2), (Poll::Ready(0), vec![]));
    assert!(slab.is_terminated());
}

/// Polls in vain count for the whole call, which does not yield if it has an event.
#[test]
fn recv_many_polls_64_members_in_vain_at_most() {
    for with_item in [0, 32, 64, 65] {
        let (feeds, mut slab) = pipes(200);
        feeds[with_item].push(1);
        let (wakes, waker) = Wakes::new();
        let mut events = Vec::new();
        let received = slab.poll_recv_many(&mut Context::from_waker(&waker), &mut events, 9);
        let at_once = with_item < 64;
        assert_eq!(received, if at_once { Poll::Ready(1) } else { Poll::Pending });
        assert_eq!(wakes.take(), usize::from(!at_once));
        // The member with the item had a second poll, if that came before the 64th poll in vain.
        let polls: usize = feeds.iter().map(Feed::take_polls).sum();
        assert_eq!(polls, 64 + usize::from(at_once));
        let rest: usize = events.len() + drain(&mut slab).len();
        assert_eq!(rest, 1);
    }
}

/// Two in a row that wake themselves end a batch. Here an item comes between any two.
#[test]
fn recv_many_goes_on_behind_a_member_that_wakes_itself_between_two_items() {
    let wakes_itself = stream::poll_fn(|cx| {
        cx.waker().wake_by_ref();
        Poll::<Option<()>>::Pending
    });
    let mut slab = StreamSlab::from_iter([wakes_itself.left_stream(), stream::repeat(()).right_stream()]);
    assert_eq!(slab.recv_many(&mut Vec::new(), 50).now_or_never(), Some(50));
}

#[test]
fn recv_many_keeps_what_it_received_before_a_panic() {
    let (feeds, mut slab) = pipes(4);
    feeds.iter().for_each(|feed| feed.push(1));
    feeds[2].panic();
    let mut events = Vec::new();
    assert!(panics(|| slab.recv_many(&mut events, 9).now_or_never()));
    assert_eq!(events, [(0, Some(1)), (1, Some(1))]);
    let rest = [(2, None), (3, Some(1))];
    assert_eq!(
        recv_many(&mut slab, 9),
        (Poll::Ready(2), rest.to_vec()),
        "the end of the one that panicked is first"
    );
}

#[test]
fn recv_many_is_done_once() {
    let mut slab = StreamSlab::from_iter([stream::repeat(1)]);
    let mut events = Vec::new();
    let mut received = slab.recv_many(&mut events, 2);
    assert!(!received.is_terminated());
    assert!(format!("{received:?}").contains('2'), "its limit");
    assert_eq!((&mut received).now_or_never(), Some(2));
    assert!(received.is_terminated());
    assert!(panics(|| (&mut received).now_or_never()), "polled again");
    assert_eq!(events.len(), 2);
}

#[test]
fn recv_many_in_a_select() {
    let (_feeds, mut slab) = idle_pipes(1);
    let mut events = Vec::new();
    let mut received = slab.recv_many(&mut events, 2);
    block_on(async {
        futures::select! {
            _ = received => unreachable!("there is nothing"),
            () = futures::future::ready(()).fuse() => {}
        }
    });
}

// Yielding.

/// As documented: after 64 polls in vain, the task is woken and the executor runs.
#[test]
fn yields_after_64_polls_in_vain() {
    let (feeds, mut slab) = pipes(200);
    let (wakes, waker) = Wakes::new();
    let polls = || feeds.iter().map(Feed::take_polls).sum::<usize>();
    for (expected_polls, expected_wakes) in [(64, 1), (64, 1), (64, 1), (8, 0), (0, 0)] {
        assert_eq!(poll_with(&mut slab, &waker), Poll::Pending);
        assert_eq!((polls(), wakes.take()), (expected_polls, expected_wakes));
    }
}

#[test]
fn goes_on_behind_the_last_member_after_yielding() {
    let (feeds, mut slab) = pipes(130);
    for expected in [0..64, 64..128, 128..130] {
        assert_eq!(poll(&mut slab), Poll::Pending);
        let polled: Vec<_> = (0..130).filter(|&key| feeds[key].take_polls() == 1).collect();
        assert_eq!(polled, expected.collect::<Vec<_>>());
    }
}

#[test]
fn the_64th_poll_may_bring_an_item_and_the_65th_waits_for_the_next_call() {
    for (key, at_once) in [(63, true), (64, false)] {
        let (feeds, mut slab) = pipes(70);
        feeds[key].push(1);
        let event = Poll::Ready(Some((key, Some(1))));
        assert_eq!(poll(&mut slab), if at_once { event } else { Poll::Pending });
    }
}

/// The bound applies to one call: an item restarts the count.
#[test]
fn polls_in_vain_are_counted_for_each_call() {
    let (feeds, mut slab) = pipes(127);
    feeds[63].push(1);
    assert_eq!(poll(&mut slab), Poll::Ready(Some((63, Some(1)))));
    let (wakes, waker) = Wakes::new();
    assert_eq!(poll_with(&mut slab, &waker), Poll::Pending);
    assert_eq!(wakes.take(), 1, "the 63 behind it and then itself again");
    let polls: Vec<_> = feeds.iter().map(Feed::take_polls).collect();
    assert_eq!((polls[63], polls.iter().sum()), (2, 128));
}

/// As all members do when a cooperative budget is used up. The next call continues with the next member, so that none
/// starves.
#[test]
fn yields_after_two_members_in_a_row_that_wake_themselves() {
    for before in [0, 40] {
        let unwoken = Cell::new(0);
        let polls = [const { Cell::new(0) }; 3];
        let mut slab = StreamSlab::new();
        slab.extend((0..before).map(|_| idle(&unwoken)));
        assert_eq!(drain(&mut slab), []);
        slab.extend([self_waking(&polls[0]), self_waking(&polls[1])]);
        slab.extend([Box::new(stream::iter([1_u32])) as AnyStream<'_>, self_waking(&polls[2])]);

        let (wakes, waker) = Wakes::new();
        assert_eq!(poll_with(&mut slab, &waker), Poll::Pending);
        assert_eq!(wakes.take(), 1);
        assert_eq!(polls.each_ref().map(Cell::get), [1, 1, 0]);
        assert_eq!(poll_with(&mut slab, &waker), Poll::Ready(Some((before + 2, Some(1)))));
        assert_eq!(unwoken.get(), before, "each once, when it came");
    }
}

#[test]
fn one_member_that_wakes_itself_does_not_make_it_yield() {
    let polls = [const { Cell::new(0) }; 3];
    let mut slab = StreamSlab::from_iter([self_waking(&polls[0]), idle(&polls[1]), self_waking(&polls[2])]);
    slab.insert(Box::new(stream::iter([1])));
    assert_eq!(poll(&mut slab), Poll::Ready(Some((3, Some(1)))), "they were not in a row");
    assert_eq!(polls.each_ref().map(Cell::get), [1, 1, 1]);
}

/// The slab never spins: the executor runs other tasks between two polls of the member and the next two.
#[test]
fn a_member_that_always_wakes_itself_does_not_make_it_spin() {
    for members in 1..=3 {
        let polls = Cell::new(0);
        let mut slab: StreamSlab<_> = (0..members).map(|_| self_waking(&polls)).collect();
        let (wakes, waker) = Wakes::new();
        for _ in 0..10 {
            assert_eq!(poll_with(&mut slab, &waker), Poll::Pending);
            assert_eq!((polls.take(), wakes.take()), (2, 1));
        }
    }
}

// Panics and foreign code.

#[test]
fn a_panic_of_a_member_reaches_the_caller_and_costs_that_member_alone() {
    for count in [3, 40] {
        let (feeds, mut slab) = pipes(count);
        let bad = count - 2;
        feeds[bad].push(0);
        feeds[bad].panic();
        feeds.iter().for_each(|feed| feed.push(1));

        let before: Vec<_> = (0..bad).map(|key| Poll::Ready(Some((key, Some(1))))).collect();
        assert_eq!((0..bad).map(|_| poll(&mut slab)).collect::<Vec<_>>(), before);
        assert!(panics(|| poll(&mut slab)));
        assert_eq!(poll(&mut slab), Poll::Ready(Some((bad, None))), "its end is told");
        assert!(feeds[bad].is_dropped());
        assert_eq!(feeds[bad].take_polls(), 1, "it is not polled again");
        assert_eq!(poll(&mut slab), Poll::Ready(Some((count - 1, Some(1)))));
        assert_eq!(drain(&mut slab), [], "its end is told once");

        feeds.iter().for_each(|feed| feed.push(2));
        assert_eq!(drain(&mut slab).len(), count - 1);
    }
}

#[test]
fn a_panic_wakes_no_task_and_loses_no_wake() {
    let (feeds, mut slab) = idle_pipes(2);
    let (wakes, waker) = Wakes::new();
    assert_eq!(poll_with(&mut slab, &waker), Poll::Pending);
    feeds[0].panic();
    assert_eq!(wakes.take(), 1);
    assert!(panics(|| poll_with(&mut slab, &waker)));
    assert_eq!(poll_with(&mut slab, &waker), Poll::Ready(Some((0, None))));
    assert_eq!(poll_with(&mut slab, &waker), Poll::Pending);
    assert_eq!(wakes.take(), 0);
    feeds[1].push(1);
    assert_eq!(wakes.take(), 1);
}

#[test]
fn a_panicked_member_may_be_removed_before_its_end_is_yielded() {
    let (feeds, mut slab) = pipes(1);
    feeds[0].panic();
    assert!(panics(|| poll(&mut slab)));
    assert!(slab.contains(0));
    assert!(slab.remove(0).is_some());
    let (feed, stream) = pipe();
    assert_eq!(slab.insert(stream), 0);
    feed.push(1);
    assert_eq!(poll(&mut slab), Poll::Ready(Some((0, Some(1)))), "the next tenant has not ended");
}

#[test]
fn clear_forgets_a_panicked_member() {
    let (feeds, mut slab) = pipes(2);
    feeds[1].panic();
    assert!(panics(|| poll(&mut slab)));
    slab.clear();
    assert_eq!(poll(&mut slab), Poll::Ready(None));
}

/// Panics in its drop, once it has ended.
struct PanicsInDrop;

impl Stream for PanicsInDrop {
    type Item = u32;

    fn poll_next(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<Option<u32>> {
        Poll::Ready(None)
    }
}

impl Drop for PanicsInDrop {
    fn drop(&mut self) {
        panic!("a stream's drop panics, as the test wants");
    }
}

#[test]
fn the_end_of_a_member_whose_drop_panics_is_yielded() {
    let mut slab = StreamSlab::from_iter([PanicsInDrop]);
    assert!(panics(|| poll(&mut slab)));
    assert_eq!(poll(&mut slab), Poll::Ready(Some((0, None))));
    assert_eq!(poll(&mut slab), Poll::Ready(None));
    assert!(slab.is_empty());
}

/// A task whose waker panics.
struct PanickingTask;

impl Wake for PanickingTask {
    fn wake(self: Arc<Self>) {
        panic!("a task's waker panics, as the test wants");
    }
}

#[test]
fn a_panic_of_a_task_waker_reaches_the_waking_code_and_loses_no_wake() {
    let (feeds, mut slab) = idle_pipes(40);
    for key in [0, 39] {
        assert_eq!(poll_with(&mut slab, &Arc::new(PanickingTask).into()), Poll::Pending);
        assert!(panics(|| feeds[key].push(1)));
        assert_eq!(poll(&mut slab), Poll::Ready(Some((key, Some(1)))));
    }
    let (wakes, waker) = Wakes::new();
    assert_eq!(poll_with(&mut slab, &waker), Poll::Pending);
    feeds[39].push(1);
    assert_eq!(wakes.take(), 1);
}

#[test]
fn a_panicking_task_waker_does_not_undo_an_insert() {
    let (_feeds, mut slab) = idle_pipes(1);
    assert_eq!(poll_with(&mut slab, &Arc::new(PanickingTask).into()), Poll::Pending);
    let (feed, stream) = pipe();
    assert!(panics(|| slab.insert(stream)));
    assert_eq!(slab.len(), 2);
    feed.push(1);
    assert_eq!(drain(&mut slab), [(1, Some(1))]);
}

#[test]
fn a_panicking_task_waker_does_not_disturb_a_yield() {
    let (feeds, mut slab) = pipes(66);
    feeds[65].push(1);
    assert!(panics(|| poll_with(&mut slab, &Arc::new(PanickingTask).into())));
    assert_eq!(poll(&mut slab), Poll::Ready(Some((65, Some(1)))));
    assert!(feeds.iter().all(|feed| feed.take_polls() == 1));
}

/// A task whose drop runs an action.
struct DroppedTask<F: Fn() + Send + Sync>(F);

impl<F: Fn() + Send + Sync> Wake for DroppedTask<F> {
    fn wake(self: Arc<Self>) {}
}

impl<F: Fn() + Send + Sync> Drop for DroppedTask<F> {
    fn drop(&mut self) {
        (self.0)();
    }
}

/// The drop of a waker may drop a whole task, whose drop may wake members.
#[test]
fn a_task_waker_may_wake_members_when_it_is_dropped() {
    let (feeds, mut slab) = idle_pipes(2);
    let feed = feeds[1].clone();
    let task = Waker::from(Arc::new(DroppedTask(move || feed.push(1))));
    assert_eq!(poll_with(&mut slab, &task), Poll::Pending);
    drop(task);
    let (wakes, waker) = Wakes::new();
    assert_eq!(poll_with(&mut slab, &waker), Poll::Pending, "the task before is dropped only now");
    assert_eq!(wakes.take(), 1);
    assert_eq!(poll_with(&mut slab, &waker), Poll::Ready(Some((1, Some(1)))));
}

#[test]
fn a_task_waker_that_panics_when_it_is_dropped_does_not_lose_the_next_task() {
    let (feeds, mut slab) = idle_pipes(1);
    let task = Waker::from(Arc::new(DroppedTask(|| panic!("a task's drop panics, as the test wants"))));
    assert_eq!(poll_with(&mut slab, &task), Poll::Pending);
    drop(task);
    let (wakes, waker) = Wakes::new();
    assert!(panics(|| poll_with(&mut slab, &waker)));
    feeds[0].push(1);
    assert_eq!(wakes.take(), 1);
    assert_eq!(poll_with(&mut slab, &waker), Poll::Ready(Some((0, Some(1)))));
}

// Size. Wakes are kept in a tree of words. The words of 1,664 members are directly below the root; of 59,008 members,
// at most two words below it; of 321,152 members, at most three.

const AROUND_THE_LEVELS: [usize; 9] = [1, 63, 64, 65, 1_663, 1_664, 1_665, 59_008, 59_009];

#[test]
fn every_member_is_polled_once_and_woken_alone_at_any_size() {
    for count in AROUND_THE_LEVELS {
        let (feeds, mut slab) = idle_pipes(count);
        let (wakes, waker) = Wakes::new();
        assert_eq!(poll_with(&mut slab, &waker), Poll::Pending);
        for (key, feed) in feeds.iter().enumerate() {
            feed.push(1);
            assert_eq!(wakes.take(), 1, "of {count}, {key} does not wake the task");
            assert_eq!(poll_with(&mut slab, &waker), Poll::Ready(Some((key, Some(1)))));
            assert_eq!(poll_with(&mut slab, &waker), Poll::Pending);
        }
        assert!(feeds.iter().all(|feed| feed.take_polls() == 2), "each had its item, and then nothing");
    }
}

#[test]
fn members_woken_together_have_their_turns_in_order_at_any_size() {
    for count in AROUND_THE_LEVELS {
        let (feeds, mut slab) = idle_pipes(count);
        let middle = count / 2;
        feeds[middle].push(0);
        assert_eq!(poll(&mut slab), Poll::Ready(Some((middle, Some(0)))));
        feeds.iter().rev().for_each(|feed| feed.push(1));
        let expected: Vec<_> = (middle + 1..count).chain(0..=middle).map(|key| (key, Some(1))).collect();
        assert_eq!(drain(&mut slab), expected, "of {count}, from the cursor on and round");
    }
}

#[test]
fn members_come_and_go_at_any_size() {
    for count in AROUND_THE_LEVELS {
        let (feeds, mut slab) = idle_pipes(count);
        feeds.iter().for_each(|feed| feed.push(1));
        for key in (0..count).step_by(2) {
            assert!(slab.remove(key).is_some());
        }
        let odd: Vec<_> = (0..count).skip(1).step_by(2).map(|key| (key, Some(1))).collect();
        assert_eq!(drain(&mut slab), odd);

        let (again, streams): (Vec<_>, Vec<_>) = (0..count - odd.len()).map(|_| pipe()).unzip();
        again.iter().for_each(|feed| feed.push(2));
        slab.extend(streams);
        let even: Vec<_> = (0..count).step_by(2).map(|key| (key, Some(2))).collect();
        let mut events = drain(&mut slab);
        events.sort_unstable();
        assert_eq!(events, even, "of {count}, the vacant keys are used again");
        assert_eq!(slab.len(), count);
    }
}

/// More than a million members: the tree has five words above each other, and some keys are too great for a single wake
/// in the root.
#[test]
fn a_million_idle_members_and_a_thousand_busy_ones() {
    const IDLE: usize = 1_082_400;
    const BUSY: usize = 1_000;
    const ITEMS: u32 = 10;
    let idle_polls = Cell::new(0);
    let mut slab = StreamSlab::with_capacity(IDLE + BUSY);
    slab.extend((0..IDLE).map(|_| Crowd::Idle { polls: &idle_polls }));
    // Including the last key that fits into the root, and the first one that does not.
    let places = || (2..BUSY).map(|n| n * (IDLE / BUSY)).chain([1_048_574, 1_048_575]);
    places().for_each(|key| drop(slab.remove(key)));
    let (feeds, streams): (Vec<_>, Vec<_>) = (0..2 * BUSY).map(|_| pipe()).unzip();
    slab.extend(streams.into_iter().map(Crowd::Busy));
    assert_eq!(slab.len(), IDLE + BUSY);
    assert_eq!(drain(&mut slab), []);
    assert_eq!(idle_polls.take(), IDLE - BUSY);

    let mut keys: Vec<_> = places().chain(IDLE..IDLE + BUSY).collect();
    keys.sort_unstable();
    for item in 0..ITEMS {
        feeds.iter().for_each(|feed| feed.push(item));
        let mut events = drain(&mut slab);
        events.sort_unstable();
        assert_eq!(events, keys.iter().map(|key| (*key, Some(item))).collect::<Vec<_>>());
    }
    for feed in &feeds {
        feed.push(ITEMS);
        assert_eq!(drain(&mut slab).len(), 1);
    }
    assert_eq!(idle_polls.get(), 0, "idle members cost nothing");
}

/// One of many members.
enum Crowd<'a> {
    Idle { polls: &'a Cell<usize> },
    Busy(Pipe<u32>),
}

impl Stream for Crowd<'_> {
    type Item = u32;

    fn poll_next(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<u32>> {
        match self.get_mut() {
            Self::Idle { polls } => {
                polls.set(polls.get() + 1);
                Poll::Pending
            }
            Self::Busy(pipe) => pipe.poll_next_unpin(cx),
        }
    }
}

/// Ends immediately. Its drop panics if it is armed.
struct Bomb {
    is_armed: bool,
}

impl Stream for Bomb {
    type Item = u32;

    fn poll_next(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<Option<u32>> {
        if self.is_armed { Poll::Ready(None) } else { Poll::Pending }
    }
}

impl Drop for Bomb {
    fn drop(&mut self) {
        assert!(!self.is_armed, "it was armed");
    }
}

/// A slab with a member that has ended, and whose drop has panicked.
fn after_a_bomb() -> (usize, StreamSlab<Bomb>) {
    let mut slab = StreamSlab::new();
    let key = slab.insert(Bomb { is_armed: true });
    assert!(panics(|| poll(&mut slab)));
    (key, slab)
}

#[test]
fn the_end_of_a_member_whose_drop_panics_is_yielded_and_in_the_size_hint() {
    let (key, mut slab) = after_a_bomb();
    assert_eq!(slab.size_hint(), (1, Some(1)));
    assert_eq!(poll(&mut slab), Poll::Ready(Some((key, None))));
    assert_eq!(slab.size_hint(), (0, Some(0)));
    assert_eq!(poll(&mut slab), Poll::Ready(None));
}

#[test]
fn the_end_of_a_member_whose_drop_panics_is_not_yielded_for_the_next_tenant() {
    let (key, mut slab) = after_a_bomb();
    assert_eq!(slab.insert(Bomb { is_armed: false }), key);
    assert_eq!(poll(&mut slab), Poll::Pending);
}

#[test]
fn clear_forgets_the_end_of_a_member_whose_drop_panicked() {
    let (_, mut slab) = after_a_bomb();
    slab.clear();
    assert_eq!(poll(&mut slab), Poll::Ready(None));
}

#[test]
fn clear_drops_all_though_one_panics() {
    let mut slab: StreamSlab<_> =
        [false, true, false].map(|is_armed| Bomb { is_armed }).into_iter().collect();
    assert!(panics(|| slab.clear()));
    assert!(slab.is_empty());
}

#[test]
fn the_task_that_waits_is_woken_when_the_last_member_is_removed() {
    let (wakes, waker) = Wakes::new();
    let empty: [fn(&mut StreamSlab<Pipe<u32>>); 2] = [|slab| drop(slab.remove(1)), StreamSlab::clear];
    for empty in empty {
        let (_feeds, mut slab) = idle_pipes(2);
        assert_eq!(poll_with(&mut slab, &waker), Poll::Pending);
        slab.remove(0);
        assert_eq!(wakes.take(), 0);
        empty(&mut slab);
        assert_eq!(wakes.take(), 1);
        assert_eq!(poll(&mut slab), Poll::Ready(None));
    }
}
