//! [`StreamMap`]: streams with the user's keys.

use crate::random::{below, below_u8};
use futures::channel::mpsc::{UnboundedReceiver, UnboundedSender, unbounded};
use futures::executor::block_on;
use futures::stream::{self, BoxStream, FusedStream};
use futures::{FutureExt, Stream, StreamExt};
use quickcheck::{Arbitrary, Gen, QuickCheck};
use std::cell::{Cell, RefCell};
use std::collections::{BTreeMap, BTreeSet};
use std::future::poll_fn;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::task::{Context, Poll, Wake, Waker};
use stream_multiplexer::StreamMap;

fn now<S: Stream + Unpin>(stream: &mut S) -> Option<Option<S::Item>> {
    stream.next().now_or_never()
}

#[test]
fn it_has_the_shape_of_tokio_streams() {
    use tokio_stream::StreamMap as Theirs;
    // The same code for both maps, except for the ends.
    macro_rules! items {
        ($map:ty) => {{
            let mut map = <$map>::new();
            assert!(map.insert("a", stream::iter(vec![1, 2])).is_none());
            assert!(map.insert("b", stream::iter(vec![3])).is_none());
            assert!(map.contains_key("a") && !map.contains_key("c"));
            assert!(map.remove("b").is_some() && map.remove("b").is_none());
            assert_eq!((map.len(), map.is_empty(), map.keys().count(), map.iter().count()), (1, false, 1, 1));
            block_on(map.collect::<Vec<_>>())
        }};
    }
    let theirs = items!(Theirs<&str, stream::Iter<_>>);
    let ours = items!(StreamMap<&str, stream::Iter<_>>);
    assert_eq!(theirs, [("a", 1), ("a", 2)]);
    assert_eq!(ours, [("a", Some(1)), ("a", Some(2)), ("a", None)]);
}

#[test]
fn a_stream_in_the_place_of_another_hands_that_back() {
    let mut map = StreamMap::from_iter([("a", stream::iter(vec![1])), ("b", stream::iter(vec![2]))]);
    let before = map.insert("a", stream::iter(vec![3])).expect("it was there");
    assert_eq!(block_on(before.collect::<Vec<_>>()), [1]);
    let mut items = block_on(map.by_ref().collect::<Vec<_>>());
    items.sort_unstable();
    assert_eq!(items, [("a", None), ("a", Some(3)), ("b", None), ("b", Some(2))]);
    assert!(map.is_terminated());
    map.insert("a", stream::iter(vec![4]));
    assert!(!map.is_terminated());
}

#[test]
fn streams_are_read_and_changed_where_they_are() {
    let mut map = StreamMap::from_iter((0..3).map(|key| (key, stream::iter(vec![key; 2]))));
    assert_eq!(map.get(&1).map(Stream::size_hint), Some((2, Some(2))));
    *map.get_mut(&1).unwrap() = stream::iter(vec![7]);
    map.iter_mut().filter(|(key, _)| **key == 2).for_each(|(_, stream)| *stream = stream::iter(vec![8]));
    assert!(map.get(&3).is_none() && map.get_mut(&3).is_none());
    let lengths: BTreeMap<_, _> = map.iter().map(|(key, stream)| (*key, stream.size_hint().0)).collect();
    assert_eq!(lengths, BTreeMap::from([(0, 2), (1, 1), (2, 1)]));
    assert_eq!(format!("{:?}", StreamMap::from_iter([(1, stream::empty::<u8>())])).matches("1:").count(), 1);
    map.clear();
    assert_eq!((map.len(), now(&mut map)), (0, Some(None)));
    assert!(map.capacity() >= 3, "memory is kept");
}

#[test]
fn many_items_come_in_one_poll_up_to_the_limit() {
    let mut map = StreamMap::from_iter([("a", stream::iter(0..5))]);
    let mut items = Vec::new();
    let mut poll = |limit| block_on(poll_fn(|cx| map.poll_recv_many(cx, &mut items, limit)));
    assert_eq!([poll(0), poll(2), poll(100), poll(100)], [0, 2, 4, 0]);
    let expected = (0..5).map(|item| ("a", Some(item))).chain([("a", None)]);
    assert!(items.into_iter().eq(expected));
}

#[test]
fn a_map_is_not_terminated_before_it_yielded_none() {
    let mut map = StreamMap::from_iter([("a", stream::iter(0..1))]);
    let mut items = Vec::new();
    assert_eq!(map.recv_many(&mut items, 9).now_or_never(), Some(2));
    assert_eq!((items.last(), map.is_terminated()), (Some(&("a", None)), false));
    assert_eq!((map.recv_many(&mut items, 9).now_or_never(), map.is_terminated()), (Some(0), true));
}

/// A stream that always has an item wakes the others, which never have one.
#[test]
fn a_batch_polls_few_streams_in_vain() {
    let (wakers, polls) = (RefCell::new(Vec::<Waker>::new()), Cell::new(0));
    let new = |is_ready| {
        let (wakers, polls) = (&wakers, &polls);
        stream::poll_fn(move |cx| {
            if is_ready {
                wakers.take().into_iter().for_each(Waker::wake);
                return Poll::Ready(Some(()));
            }
            polls.set(polls.get() + 1);
            wakers.borrow_mut().push(cx.waker().clone());
            Poll::Pending
        })
    };
    let mut map = StreamMap::from_iter((0..50).map(|key| (key, new(key == 0))));
    let mut items = Vec::new();
    assert_eq!(map.recv_many(&mut items, 1_000).now_or_never(), Some(items.len()));
    assert_eq!(polls.get(), 64);
}

#[test]
fn a_stream_that_panics_ends() {
    let panics = stream::poll_fn(|_| -> Poll<Option<u8>> { panic!("on purpose") });
    let mut map = StreamMap::<_, BoxStream<'_, u8>>::new();
    map.insert("faulty", panics.boxed());
    map.insert("sound", stream::iter([1]).boxed());
    let mut items = Vec::new();
    loop {
        match catch_unwind(AssertUnwindSafe(|| now(&mut map).expect("all are ready"))) {
            Ok(Some(item)) => items.push(item),
            Ok(None) => break,
            Err(_) => assert!(map.contains_key("faulty"), "until its end is reported"),
        }
    }
    items.sort_unstable();
    assert_eq!(items, [("faulty", None), ("sound", None), ("sound", Some(1))]);
    assert!(map.is_empty());
}

/// Panics when it is dropped, which happens when it has ended.
struct DropPanics;

impl Stream for DropPanics {
    type Item = ();

    fn poll_next(self: std::pin::Pin<&mut Self>, _: &mut Context<'_>) -> Poll<Option<()>> {
        Poll::Ready(None)
    }
}

impl Drop for DropPanics {
    fn drop(&mut self) {
        panic!("on purpose");
    }
}

#[test]
fn the_name_of_a_stream_whose_drop_panicked_is_not_left_behind() {
    let mut map = StreamMap::<_, BoxStream<'_, ()>>::new();
    map.insert("old", DropPanics.boxed());
    assert!(catch_unwind(AssertUnwindSafe(|| now(&mut map))).is_err());
    // The new stream takes the same slot, before the end of the old one was reported.
    map.insert("new", stream::pending().boxed());
    assert!(!map.contains_key("old"));
    assert_eq!((map.len(), now(&mut map)), (1, None));
    assert!(map.remove("new").is_some());
}

/// The drop of the stream panicked, its end was not reported yet, and then the stream was removed.
#[test]
fn nothing_is_yielded_for_a_stream_that_was_removed_after_its_drop_panicked() {
    for replaced in [false, true] {
        let mut map = StreamMap::<_, BoxStream<'_, ()>>::new();
        map.insert("other", stream::pending().boxed());
        map.insert("old", DropPanics.boxed());
        assert!(catch_unwind(AssertUnwindSafe(|| now(&mut map))).is_err());
        assert!(map.contains_key("old"), "its end is still to be reported");
        let before = if replaced { map.insert("old", stream::pending().boxed()) } else { map.remove("old") };
        assert!(before.is_none(), "it is gone");
        assert_eq!((map.len(), now(&mut map)), (1 + usize::from(replaced), None));
    }
}

/// A task whose waker panics.
struct Touchy;

impl Wake for Touchy {
    fn wake(self: Arc<Self>) {
        panic!("on purpose");
    }
}

#[test]
fn a_task_that_panics_when_it_is_woken_keeps_no_stream_out() {
    let waker = Waker::from(Arc::new(Touchy));
    for key in ["first", "second"] {
        let mut map = StreamMap::<_, BoxStream<'_, u8>>::new();
        map.insert("first", stream::pending().boxed());
        assert!(map.poll_next_unpin(&mut Context::from_waker(&waker)).is_pending());
        let stream = stream::iter([7]).boxed();
        assert!(catch_unwind(AssertUnwindSafe(|| map.insert(key, stream))).is_err());
        assert_eq!(map.len(), 1 + usize::from(key == "second"));
        assert_eq!(now(&mut map), Some(Some((key, Some(7)))));
        assert_eq!(now(&mut map), Some(Some((key, None))));
        assert_eq!(map.contains_key("first"), key == "second");
    }
}

thread_local! {
    static FRAGILE: Cell<bool> = const { Cell::new(false) };
}

/// A key whose drop panics once, when it is armed.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
struct Fragile(u8);

impl Drop for Fragile {
    fn drop(&mut self) {
        assert!(!FRAGILE.replace(false), "on purpose");
    }
}

#[test]
fn a_key_whose_drop_panics_leaves_no_stream_without_a_name() {
    let mut map = StreamMap::new();
    map.insert(Fragile(1), stream::repeat(1));
    map.insert(Fragile(2), stream::repeat(2));
    let key = Fragile(1);
    FRAGILE.set(true);
    assert!(catch_unwind(AssertUnwindSafe(|| map.remove(&key))).is_err());
    assert_eq!(map.len(), 1);
    for _ in 0..3 {
        assert_eq!(now(&mut map), Some(Some((Fragile(2), Some(2)))));
    }
}

/// An operation on a map.
#[derive(Clone, Debug)]
enum Step {
    Insert(u8),
    Remove(u8),
    Push(u8, u8),
    End(u8),
    Receive,
}

impl Arbitrary for Step {
    fn arbitrary(g: &mut Gen) -> Self {
        let key = below_u8(g, 6);
        match below(g, 6) {
            0 => Self::Insert(key),
            1 => Self::Remove(key),
            2 => Self::Push(key, u8::arbitrary(g)),
            3 => Self::End(key),
            _ => Self::Receive,
        }
    }
}

#[test]
fn it_does_as_a_plain_map_would() {
    QuickCheck::new().rng(Gen::new(200)).quickcheck(any_steps as fn(Vec<Step>));
}

fn any_steps(steps: Vec<Step>) {
    let mut map = StreamMap::<u8, UnboundedReceiver<u8>>::new();
    // For each stream: its sender, and the items that it has still to yield; without a sender, its end as well.
    let mut model = BTreeMap::<u8, (Option<UnboundedSender<u8>>, std::collections::VecDeque<u8>)>::new();
    for step in steps {
        match step {
            Step::Insert(key) => {
                let (feed, stream) = unbounded();
                let before = map.insert(key, stream);
                let known = model.insert(key, (Some(feed), Default::default()));
                assert_eq!(before.is_some(), known.is_some());
            }
            Step::Remove(key) => {
                let rest = map
                    .remove(&key)
                    .map(|mut stream| std::iter::from_fn(|| stream.try_recv().ok()).collect());
                assert_eq!(rest, model.remove(&key).map(|(_, rest)| rest));
            }
            Step::Push(key, item) => {
                if let Some((Some(feed), waiting)) = model.get_mut(&key) {
                    feed.unbounded_send(item).unwrap();
                    waiting.push_back(item);
                }
            }
            Step::End(key) => _ = model.get_mut(&key).map(|(feed, _)| feed.take()),
            Step::Receive => match now(&mut map) {
                None => assert!(model.values().all(|(feed, rest)| feed.is_some() && rest.is_empty())),
                Some(None) => assert!(model.is_empty()),
                Some(Some((key, Some(item)))) => {
                    assert_eq!(model.get_mut(&key).and_then(|(_, rest)| rest.pop_front()), Some(item));
                }
                Some(Some((key, None))) => {
                    let (feed, rest) = model.remove(&key).expect("it was there");
                    assert!(feed.is_none() && rest.is_empty());
                }
            },
        }
        assert_eq!(map.len(), model.len());
        assert!(map.keys().copied().collect::<BTreeSet<_>>().into_iter().eq(model.keys().copied()));
        assert!((0..6).all(|key| map.contains_key(&key) == model.contains_key(&key)));
    }
}
