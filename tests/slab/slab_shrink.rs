//! [`StreamSlab::shrink_to_fit`]: present members are not affected, and wakers of removed members are harmless, whatever
//! replaces the words that they mark. (`tests/memory.rs` counts the released memory.)

use crate::random::below;
use crate::{slab, support};
use quickcheck::{Arbitrary, Gen, QuickCheck};
use slab::{drain, idle_pipes};
use std::task::{Poll, Waker};
use stream_multiplexer::StreamSlab;
use support::{Feed, Pipe, Wakes, pipe, poll, poll_with};

/// A shrink changes whole words of 64 members, and the words above them. The words of 1,664 members are directly below the
/// root; of 59,008 members, at most two below it.
const SIZES: [(usize, usize); 12] = [
    (1, 0),
    (64, 63),
    (65, 64),
    (65, 1),
    (1_664, 1_600),
    (1_665, 1_664),
    (1_729, 1_665),
    (1_800, 0),
    (6_000, 1_700),
    (59_009, 59_008),
    (59_009, 1_664),
    (63_200, 59_100),
];

fn wakers(feeds: &[Feed<u32>]) -> Vec<Waker> {
    feeds.iter().map(|feed| feed.waker().expect("it was polled in vain")).collect()
}

/// A slab that had `count` members, of which `left` are left, idle; and the wakers of the removed ones.
fn shrunk(count: usize, left: usize) -> (Vec<Feed<u32>>, StreamSlab<Pipe<u32>>, Vec<Waker>) {
    let (mut feeds, mut slab) = idle_pipes(count);
    let stale = wakers(&feeds[left..]);
    slab.retain(|key, _| key < left);
    slab.shrink_to_fit();
    feeds.truncate(left);
    (feeds, slab, stale)
}

fn wake_all(wakers: &[Waker]) {
    wakers.iter().for_each(Waker::wake_by_ref);
}

fn polls(feeds: &[Feed<u32>]) -> usize {
    feeds.iter().map(Feed::take_polls).sum()
}

/// Inserts `count` idle members.
fn insert(slab: &mut StreamSlab<Pipe<u32>>, count: usize) -> Vec<Feed<u32>> {
    let (feeds, streams): (Vec<_>, Vec<_>) = (0..count).map(|_| pipe()).unzip();
    slab.extend(streams);
    feeds
}

/// Checks that the wake of every member arrives, together and alone.
fn check(feeds: &[Feed<u32>], slab: &mut StreamSlab<Pipe<u32>>) {
    assert_eq!(drain(slab), []);
    polls(feeds);
    feeds.iter().for_each(|feed| feed.push(1));
    let mut events = drain(slab);
    events.sort_unstable();
    assert_eq!(events, (0..feeds.len()).map(|key| (key, Some(1))).collect::<Vec<_>>());
    for key in [0, 62, 64, 1_663, 1_664, feeds.len().saturating_sub(1)] {
        let Some(feed) = feeds.get(key) else { continue };
        let (wakes, waker) = Wakes::new();
        assert_eq!(poll_with(slab, &waker), Poll::Pending);
        feed.push(2);
        assert_eq!(wakes.take(), 1);
        assert_eq!(drain(slab), [(key, Some(2))]);
    }
}

#[test]
fn keys_stay_and_vacant_ones_are_used_again() {
    let (feeds, mut slab) = idle_pipes(10);
    slab.retain(|key, _| [2, 5].contains(&key));
    slab.shrink_to_fit();
    assert_eq!(slab.iter().map(|(key, _)| key).collect::<Vec<_>>(), [2, 5]);
    assert!(slab.capacity() < 10);
    feeds[5].push(1);
    assert_eq!(drain(&mut slab), [(5, Some(1))]);

    let more = insert(&mut slab, 8);
    let mut keys: Vec<_> = slab.iter().map(|(key, _)| key).collect();
    keys.sort_unstable();
    assert_eq!(keys, (0..10).collect::<Vec<_>>());
    assert_eq!(drain(&mut slab), []);
    more.iter().for_each(|feed| feed.push(1));
    assert_eq!(drain(&mut slab).len(), 8);
    feeds[2].push(1);
    assert_eq!(drain(&mut slab), [(2, Some(1))]);
}

#[test]
fn a_shrunk_slab_goes_on_at_any_size() {
    for (count, left) in SIZES {
        let (mut feeds, mut slab, _) = shrunk(count, left);
        check(&feeds, &mut slab);
        feeds.extend(insert(&mut slab, count - left));
        check(&feeds, &mut slab);
    }
}

#[test]
fn the_task_that_waits_is_woken_by_a_member_that_stays() {
    for (count, left) in SIZES.into_iter().filter(|(_, left)| *left > 0) {
        let (feeds, mut slab) = idle_pipes(count);
        slab.retain(|key, _| key < left);
        let (wakes, waker) = Wakes::new();
        assert_eq!(poll_with(&mut slab, &waker), Poll::Pending);
        slab.shrink_to_fit();
        feeds[left - 1].push(1);
        assert_eq!(wakes.take(), 1);
        assert_eq!(poll(&mut slab), Poll::Ready(Some((left - 1, Some(1)))));
    }
}

#[test]
fn wakes_that_came_before_are_kept() {
    for (count, left) in SIZES {
        let (feeds, mut slab) = idle_pipes(count);
        feeds.iter().for_each(|feed| feed.push(1));
        slab.retain(|key, _| key < left);
        slab.shrink_to_fit();
        assert_eq!(drain(&mut slab), (0..left).map(|key| (key, Some(1))).collect::<Vec<_>>());
    }
}

/// Ready members stay ready, and the next member in order has its turn.
#[test]
fn turns_go_on_in_their_order() {
    for (count, left) in SIZES.into_iter().filter(|(_, left)| *left > 3) {
        let (feeds, mut slab) = idle_pipes(count);
        feeds.iter().for_each(|feed| feed.push(1));
        assert_eq!(poll(&mut slab), Poll::Ready(Some((0, Some(1)))));
        assert_eq!(poll(&mut slab), Poll::Ready(Some((1, Some(1)))));
        slab.retain(|key, _| key < left);
        slab.shrink_to_fit();
        assert_eq!(drain(&mut slab), (2..left).map(|key| (key, Some(1))).collect::<Vec<_>>());
        assert!(feeds[..left].iter().all(|feed| feed.take_polls() == 2));
    }
}

#[test]
fn stale_wakes_do_nothing() {
    for (count, left) in SIZES {
        let (feeds, mut slab, stale) = shrunk(count, left);
        polls(&feeds);
        for _ in 0..2 {
            wake_all(&stale);
            assert_eq!(drain(&mut slab), []);
            stale[stale.len() / 2].wake_by_ref();
            assert_eq!(drain(&mut slab), []);
        }
        assert_eq!(polls(&feeds), 0, "members that were not woken");
        wake_all(&stale);
        check(&feeds, &mut slab);
    }
}

/// Also wakes that came before, and are absorbed only now.
#[test]
fn stale_wakes_from_before_do_nothing() {
    for (count, left) in SIZES {
        for absorbed in [false, true] {
            let (feeds, mut slab) = idle_pipes(count);
            let stale = wakers(&feeds);
            slab.retain(|key, _| key < left);
            wake_all(&stale[left..]);
            if absorbed {
                assert_ne!(poll(&mut slab), Poll::Ready(Some((0, None))));
            }
            slab.shrink_to_fit();
            assert_eq!(drain(&mut slab), []);
            check(&feeds[..left], &mut slab);
        }
    }
}

/// The next tenants of the keys have new branches. Stale wakes mark the bits of these branches in the words above.
#[test]
fn stale_wakes_in_the_place_of_present_members() {
    for (count, left) in SIZES {
        for stale_first in [false, true] {
            let (mut feeds, mut slab, stale) = shrunk(count, left);
            feeds.extend(insert(&mut slab, count - left));
            assert_eq!(drain(&mut slab), []);
            polls(&feeds);
            for round in 0..2 {
                if stale_first {
                    wake_all(&stale);
                }
                feeds.iter().skip(round).step_by(7).for_each(|feed| feed.push(1));
                wake_all(&stale);
                let mut events = drain(&mut slab);
                events.sort_unstable();
                let expected: Vec<_> = (round..count).step_by(7).map(|key| (key, Some(1))).collect();
                assert_eq!(events, expected);
                wake_all(&stale);
                assert_eq!(drain(&mut slab), []);
            }
            check(&feeds, &mut slab);
        }
    }
}

/// A single wake is not a mark in the tree, but a key in the root.
#[test]
fn a_stale_wake_alone_of_a_key_that_is_gone() {
    let (feeds, mut slab, stale) = shrunk(200, 2);
    let last = stale.last().expect("there are");
    for _ in 0..2 {
        last.wake_by_ref();
        assert_eq!(drain(&mut slab), []);
        // The stale wake is the only one. Then another member is inserted, which is also ready.
        last.wake_by_ref();
        let (feed, stream) = pipe();
        feed.push(5);
        let key = slab.insert(stream);
        assert_eq!(drain(&mut slab), [(key, Some(5))]);
        slab.remove(key);
        // Next to a single ready member.
        (0..3).for_each(|item| feeds[1].push(item));
        assert_eq!(poll(&mut slab), Poll::Ready(Some((1, Some(0)))));
        last.wake_by_ref();
        assert_eq!(poll(&mut slab), Poll::Ready(Some((1, Some(1)))));
        assert_eq!(drain(&mut slab), [(1, Some(2))]);
        slab.shrink_to_fit();
    }
}

/// A call visits at most 64 slots in vain, whatever made the wakes.
#[test]
fn stale_wakes_make_no_call_long() {
    let (feeds, mut slab, stale) = shrunk(6_000, 1_700);
    slab.retain(|key, _| key == 1_699);
    polls(&feeds);
    wake_all(&wakers(&feeds[..1_699]));
    wake_all(&stale);
    let (wakes, waker) = Wakes::new();
    let mut calls = 1;
    while poll_with(&mut slab, &waker).is_pending() && wakes.take() > 0 {
        calls += 1;
    }
    assert!(
        (1_699 / 64..=1_728 / 64 + 1).contains(&calls),
        "{calls} calls for the vacant slots that are there"
    );
    assert_eq!(polls(&feeds), 0);
}

/// Wakes from other threads are not lost next to stale ones, while the slab shrinks and grows.
#[test]
fn stale_wakes_from_other_threads() {
    let (_, mut slab, stale) = shrunk(3_000, 1);
    std::thread::scope(|scope| {
        let (done, is_done) = std::sync::mpsc::channel::<()>();
        scope.spawn(move || {
            while is_done.try_recv() == Err(std::sync::mpsc::TryRecvError::Empty) {
                wake_all(&stale);
            }
        });
        for round in 0..30 {
            let feeds = insert(&mut slab, 2_000);
            let feeding = scope.spawn(move || feeds.iter().for_each(|feed| feed.push(round)));
            let mut received = 0;
            while received < 2_000 {
                received +=
                    usize::from(futures::executor::block_on(futures::StreamExt::next(&mut slab)).is_some());
            }
            feeding.join().expect("it does not panic");
            slab.retain(|key, _| key == 0);
            slab.shrink_to_fit();
        }
        drop(done);
    });
}

/// One step of a schedule.
#[derive(Clone, Debug)]
enum Step {
    Insert(usize),
    Remove(usize),
    RemoveFrom(usize),
    Push(usize),
    WakeStale(usize, usize),
    Poll,
    Shrink,
}

impl Arbitrary for Step {
    fn arbitrary(g: &mut Gen) -> Self {
        match below(g, 19) {
            0..2 => Self::Insert(1 + below(g, 2_999)),
            2..4 => Self::Remove(usize::arbitrary(g)),
            4 => Self::RemoveFrom(below(g, 3_000)),
            5..9 => Self::Push(usize::arbitrary(g)),
            9..13 => Self::WakeStale(usize::arbitrary(g), 1 + below(g, 199)),
            13..17 => Self::Poll,
            _ => Self::Shrink,
        }
    }
}

/// At sizes that need several levels: all pushed items are received, and nothing else.
#[test]
fn random_schedules_with_stale_wakers() {
    QuickCheck::new().rng(Gen::new(60)).quickcheck(any_steps as fn(Vec<Step>));
}

fn any_steps(steps: Vec<Step>) {
    let mut slab = StreamSlab::new();
    let mut members = std::collections::BTreeMap::<usize, (Feed<u32>, usize)>::new();
    let mut stale = Vec::new();
    let remove = |slab: &mut StreamSlab<Pipe<u32>>, stale: &mut Vec<Waker>, key, feed: &Feed<u32>| {
        stale.extend(feed.waker());
        assert!(slab.remove(key).is_some());
    };
    for step in steps {
        let nth = |n: usize| members.keys().nth(n.checked_rem(members.len())?).copied();
        match step {
            Step::Insert(count) => {
                for _ in 0..count {
                    let (feed, stream) = pipe();
                    members.insert(slab.insert(stream), (feed, 0));
                }
            }
            Step::Remove(n) => {
                if let Some((key, (feed, _))) = nth(n).and_then(|key| members.remove_entry(&key)) {
                    remove(&mut slab, &mut stale, key, &feed);
                }
            }
            Step::RemoveFrom(key) => {
                for (key, (feed, _)) in members.split_off(&key) {
                    remove(&mut slab, &mut stale, key, &feed);
                }
            }
            Step::Push(n) => {
                if let Some((feed, items)) = nth(n).and_then(|key| members.get_mut(&key)) {
                    *items += 1;
                    feed.push(0);
                }
            }
            Step::WakeStale(from, count) => {
                let from = from.checked_rem(stale.len()).unwrap_or(0);
                stale.iter().skip(from).take(count).for_each(Waker::wake_by_ref);
            }
            Step::Poll => {
                if let Poll::Ready(Some((key, Some(_)))) = poll(&mut slab) {
                    members.get_mut(&key).expect("it is there").1 -= 1;
                }
            }
            Step::Shrink => slab.shrink_to_fit(),
        }
        assert_eq!(slab.len(), members.len());
    }
    for (key, item) in drain(&mut slab) {
        assert_eq!(item, Some(0));
        members.get_mut(&key).expect("it is there").1 -= 1;
    }
    assert!(members.values().all(|(_, items)| *items == 0), "an item was lost");
}
