//! The cost of an item in a `StreamSlab`, a `ChannelReceiver` and a `ChannelSelect`, by the number of members and by how the
//! members become ready.
//!
//! Each benchmark checks that it receives the items that it pushed.

#![allow(missing_docs, reason = "criterion_group makes a function without any")]

mod parts;

use criterion::{BenchmarkId, Criterion, Throughput, criterion_group, criterion_main};
use futures::Stream;
use parts::{Member, Picks, Slot};
use std::hint::black_box;
use std::pin::Pin;
use std::rc::Rc;
use std::task::{Context, Poll, Waker};
use stream_multiplexer::{
    ChannelReceiver, ChannelSelect, Multiplexer, Share, StreamEvent, StreamId, StreamSlab,
};

const SIZES: [usize; 6] = [1, 10, 100, 1_000, 10_000, 100_000];
const CHANNEL: usize = 0;
const OTHER: usize = 1;

/// A column of the table.
trait Set<const SIZE: usize> {
    const NAME: &'static str;
    type Key: Copy;

    fn new() -> Self;
    fn insert(&mut self, member: Member<SIZE>) -> Self::Key;
    fn remove(&mut self, key: Self::Key);
    /// `Some(1)` for an item, `Some(0)` for an end.
    fn poll(&mut self, cx: &mut Context<'_>) -> Poll<Option<u64>>;
}

impl<const SIZE: usize> Set<SIZE> for StreamSlab<Member<SIZE>> {
    const NAME: &'static str = "StreamSlab";
    type Key = usize;

    fn new() -> Self {
        Self::new()
    }

    fn insert(&mut self, member: Member<SIZE>) -> usize {
        self.insert(member)
    }

    fn remove(&mut self, key: usize) {
        black_box(self.remove(key));
    }

    fn poll(&mut self, cx: &mut Context<'_>) -> Poll<Option<u64>> {
        Pin::new(self).poll_next(cx).map(|event| event.map(|(_, item)| u64::from(item.is_some())))
    }
}

struct Channel<const SIZE: usize> {
    multiplexer: Multiplexer<Member<SIZE>>,
    receiver: ChannelReceiver<Member<SIZE>, ()>,
}

impl<const SIZE: usize> Set<SIZE> for Channel<SIZE> {
    const NAME: &'static str = "ChannelReceiver";
    type Key = StreamId;

    fn new() -> Self {
        let multiplexer = Multiplexer::new();
        multiplexer.add_channel(CHANNEL).unwrap();
        multiplexer.add_channel(OTHER).unwrap();
        let receiver = multiplexer.receiver(CHANNEL).unwrap();
        Self { multiplexer, receiver }
    }

    fn insert(&mut self, member: Member<SIZE>) -> StreamId {
        self.multiplexer.add_stream(member, CHANNEL).unwrap()
    }

    fn remove(&mut self, key: StreamId) {
        black_box(self.multiplexer.remove_stream(key));
    }

    fn poll(&mut self, cx: &mut Context<'_>) -> Poll<Option<u64>> {
        let event = Pin::new(&mut self.receiver).poll_next(cx);
        event.map(|event| event.map(|(_, event)| u64::from(matches!(event, StreamEvent::Item(_)))))
    }
}

/// A channel in a select, with `IDLE` other channels of lower priority, each of which has one idle member.
struct Select<const IDLE: usize> {
    multiplexer: Multiplexer<Member<0>>,
    select: ChannelSelect<Member<0>, ()>,
}

impl<const IDLE: usize> Set<0> for Select<IDLE> {
    const NAME: &'static str = match IDLE {
        0 => "ChannelSelect",
        15 => "ChannelSelect, 15 idle channels",
        1_000 => "ChannelSelect, 1,000 idle channels",
        _ => panic!("it has no name"),
    };
    type Key = StreamId;

    fn new() -> Self {
        let multiplexer = Multiplexer::new();
        let mut select = multiplexer.select();
        select.yield_every(None);
        for channel in 0..=IDLE {
            multiplexer.add_channel(channel).unwrap();
            let share = Share::new().priority(u32::from(channel != CHANNEL));
            select.add(channel, share).unwrap();
            if channel != CHANNEL {
                multiplexer.add_stream(Member::new(&Rc::default()), channel).unwrap();
            }
        }
        Self { multiplexer, select }
    }

    fn insert(&mut self, member: Member<0>) -> StreamId {
        self.multiplexer.add_stream(member, CHANNEL).unwrap()
    }

    fn remove(&mut self, key: StreamId) {
        black_box(self.multiplexer.remove_stream(key));
    }

    fn poll(&mut self, cx: &mut Context<'_>) -> Poll<Option<u64>> {
        let event = Pin::new(&mut self.select).poll_next(cx);
        event.map(|event| event.map(|(_, _, event)| u64::from(matches!(event, StreamEvent::Item(_)))))
    }
}

/// Four channels with one member each, all of them always ready.
fn select_all_ready(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("select: four channels are always ready");
    for (name, step) in [("equal weights", 0), ("four priorities", 1)] {
        let multiplexer = Multiplexer::without_sinks();
        let mut select = multiplexer.select();
        select.yield_every(None);
        for channel in 0..4_u32 {
            let slot = Rc::<Slot>::default();
            slot.push(u64::MAX);
            multiplexer.add_channel(channel as usize).unwrap();
            multiplexer.add_stream(Member::<0>::new(&slot), channel as usize).unwrap();
            select.add(channel as usize, Share::new().priority(channel * step)).unwrap();
        }
        let mut cx = Context::from_waker(Waker::noop());
        group.bench_function(name, |bencher| {
            bencher.iter(|| assert!(Pin::new(&mut select).poll_next(&mut cx).is_ready()));
        });
        let turns = select.stats().channels.iter().map(|channel| channel.turns).collect::<Vec<_>>();
        assert!(step == 1 || turns.iter().max().unwrap() - turns.iter().min().unwrap() <= 1, "{turns:?}");
    }
    group.finish();
}

/// A set, and the slots and keys of its members. All members are idle.
struct Filled<S: Set<SIZE>, const SIZE: usize> {
    set: S,
    slots: Vec<Rc<Slot>>,
    keys: Vec<S::Key>,
}

impl<S: Set<SIZE>, const SIZE: usize> Filled<S, SIZE> {
    fn new(members: usize) -> Self {
        let slots: Vec<Rc<Slot>> = (0..members).map(|_| Rc::default()).collect();
        let mut set = S::new();
        let keys = slots.iter().map(|slot| set.insert(Member::new(slot))).collect();
        let mut filled = Self { set, slots, keys };
        assert_eq!(filled.drain(), 0);
        filled
    }

    /// Receives until the set sleeps. Returns the number of items.
    fn drain(&mut self) -> u64 {
        let mut cx = Context::from_waker(Waker::noop());
        let mut items = 0;
        // The set yields after some polls in vain, and sleeps only when no event is left. A select has other members, too.
        let mut in_vain = 0;
        while in_vain <= self.slots.len() / 64 + 20 {
            match self.set.poll(&mut cx) {
                Poll::Ready(Some(item)) => (items, in_vain) = (items + item, 0),
                Poll::Ready(None) => return items,
                Poll::Pending => in_vain += 1,
            }
        }
        items
    }

    fn next(&mut self) -> u64 {
        match self.set.poll(&mut Context::from_waker(Waker::noop())) {
            Poll::Ready(Some(item)) => item,
            other => panic!("there is an item, and not {other:?}"),
        }
    }
}

fn dense<S: Set<SIZE>, const SIZE: usize>(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group(format!("dense, members of {SIZE} bytes and a pointer"));
    for members in SIZES {
        let mut filled = Filled::<S, SIZE>::new(members);
        filled.slots.iter().for_each(|slot| slot.push(u64::MAX / 2));
        group.throughput(Throughput::Elements(1));
        group.bench_function(BenchmarkId::new(S::NAME, members), |bencher| {
            bencher.iter(|| assert_eq!(filled.next(), 1));
        });
        let left: Vec<_> = filled.slots.iter().map(|slot| slot.left()).collect();
        let spread = left.iter().max().unwrap() - left.iter().min().unwrap();
        assert!(spread <= 1, "members are served in turn");
    }
    group.finish();
}

fn sparse<S: Set<0>>(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("sparse: one at random is woken, and an item taken");
    for members in SIZES {
        let mut filled = Filled::<S, 0>::new(members);
        let mut picks = Picks::below(members);
        group.bench_function(BenchmarkId::new(S::NAME, members), |bencher| {
            bencher.iter(|| {
                filled.slots[picks.pick()].push(1);
                assert_eq!(filled.next(), 1);
            });
        });
        assert_eq!(filled.drain(), 0);
    }
    group.finish();
}

fn parked<S: Set<0>>(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("parked: the same, and the consumer sleeps each time");
    for members in SIZES {
        let mut filled = Filled::<S, 0>::new(members);
        let mut picks = Picks::below(members);
        let mut cx = Context::from_waker(Waker::noop());
        group.bench_function(BenchmarkId::new(S::NAME, members), |bencher| {
            bencher.iter(|| {
                filled.slots[picks.pick()].push(1);
                assert_eq!(filled.next(), 1);
                assert!(filled.set.poll(&mut cx).is_pending());
            });
        });
    }
    group.finish();
}

fn burst<S: Set<0>>(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("burst: a tenth is woken, and all is drained");
    for members in &SIZES[1..] {
        let mut filled = Filled::<S, 0>::new(*members);
        let woken = members / 10;
        let mut first = 0;
        group.throughput(Throughput::Elements(woken as u64));
        group.bench_function(BenchmarkId::new(S::NAME, members), |bencher| {
            bencher.iter(|| {
                (0..woken).for_each(|at| filled.slots[(first + 7 * at) % members].push(1));
                first += 1;
                (0..woken).for_each(|_| assert_eq!(filled.next(), 1));
            });
        });
        assert_eq!(filled.drain(), 0);
    }
    group.finish();
}

fn churn<S: Set<0>>(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("churn: insert, one item, end");
    for members in SIZES {
        let mut filled = Filled::<S, 0>::new(members);
        let slot = Rc::<Slot>::default();
        slot.end();
        group.bench_function(BenchmarkId::new(S::NAME, members), |bencher| {
            bencher.iter(|| {
                slot.push(1);
                filled.set.insert(Member::new(&slot));
                assert_eq!((filled.next(), filled.next()), (1, 0));
            });
        });
        assert_eq!(Rc::strong_count(&slot), 1, "all are gone");
    }
    group.finish();
}

fn remove<S: Set<0>>(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("remove: one at random, and another inserted");
    for members in SIZES {
        let mut filled = Filled::<S, 0>::new(members);
        let mut picks = Picks::below(members);
        let mut cx = Context::from_waker(Waker::noop());
        group.bench_function(BenchmarkId::new(S::NAME, members), |bencher| {
            bencher.iter(|| {
                let at = picks.pick();
                filled.set.remove(filled.keys[at]);
                filled.keys[at] = filled.set.insert(Member::new(&filled.slots[at]));
                // A channel reports that a member left.
                while filled.set.poll(&mut cx).is_ready() {}
            });
        });
        assert!(filled.slots.iter().all(|slot| Rc::strong_count(slot) == 2), "all are there");
    }
    group.finish();
}

fn moves(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("move: one at random to the other channel and back");
    for members in SIZES {
        let Filled { set: Channel { multiplexer, mut receiver }, keys, .. } =
            Filled::<Channel<0>, 0>::new(members);
        let mut other = multiplexer.receiver(OTHER).unwrap();
        let mut picks = Picks::below(members);
        let mut cx = Context::from_waker(Waker::noop());
        group.bench_function(BenchmarkId::new("ChannelReceiver", members), |bencher| {
            bencher.iter(|| {
                let id = keys[picks.pick()];
                multiplexer.change_stream_channel(id, OTHER).unwrap();
                multiplexer.change_stream_channel(id, CHANNEL).unwrap();
                assert!(Pin::new(&mut receiver).poll_next(&mut cx).is_ready());
                assert!(Pin::new(&mut other).poll_next(&mut cx).is_ready());
                assert!(Pin::new(&mut receiver).poll_next(&mut cx).is_pending());
            });
        });
        assert_eq!(multiplexer.channel_len(CHANNEL), Some(members));
    }
    group.finish();
}

type Slab<const SIZE: usize> = StreamSlab<Member<SIZE>>;

criterion_group!(
    benches,
    dense::<Slab<0>, 0>,
    dense::<Channel<0>, 0>,
    dense::<Select<0>, 0>,
    dense::<Select<15>, 0>,
    dense::<Select<1_000>, 0>,
    select_all_ready,
    dense::<Slab<1016>, 1016>,
    dense::<Channel<1016>, 1016>,
    sparse::<Slab<0>>,
    sparse::<Channel<0>>,
    sparse::<Select<0>>,
    sparse::<Select<1_000>>,
    parked::<Slab<0>>,
    parked::<Channel<0>>,
    parked::<Select<0>>,
    parked::<Select<1_000>>,
    burst::<Slab<0>>,
    burst::<Channel<0>>,
    churn::<Slab<0>>,
    churn::<Channel<0>>,
    remove::<Slab<0>>,
    remove::<Channel<0>>,
    moves,
);
criterion_main!(benches);
