//! Selects: priority, weights, yields, wakes, ends, and flushing.

use crate::random::{below, below_u8};
use crate::support;
use futures::channel::mpsc;
use futures::executor::block_on;
use futures::stream::{self, FusedStream};
use futures::{FutureExt, Sink, Stream, StreamExt};
use quickcheck::{Arbitrary, Gen, QuickCheck};
use std::cell::Cell;
use std::num::NonZeroU32;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::pin::Pin;
use std::rc::Rc;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering::SeqCst};
use std::task::Poll::{self, Pending, Ready};
use std::task::{Context, Waker};
use stream_multiplexer::{
    ChannelId, ChannelOptions, ChannelSelect, Multiplexer, MultiplexerError, Share, StreamEvent, StreamId,
};
use support::hooked::{Hooks, Moment};
use support::raw_waker::hooked_waker;
use support::{Feed, Gate, Gatekeeper, Pipe, Wakes, finishes, gate, pipe, poll, poll_with};

type Pairs = Multiplexer<Pipe<u32>, Gate<u32>>;
type Select = ChannelSelect<Pipe<u32>, Gate<u32>>;

const NEVER: Option<NonZeroU32> = None;

fn every(events: u32) -> Option<NonZeroU32> {
    NonZeroU32::new(events)
}

/// Channels 0, 1, ... with one stream each.
fn pairs(channels: usize) -> (Pairs, Vec<(StreamId, Feed<u32>)>) {
    let multiplexer = Multiplexer::new();
    let streams = (0..channels).map(|channel| {
        multiplexer.add_channel(channel).unwrap();
        let (id, feed, _) = add_pair(&multiplexer, channel);
        (id, feed)
    });
    let streams = streams.collect();
    (multiplexer, streams)
}

fn add_pair(multiplexer: &Pairs, channel: ChannelId) -> (StreamId, Feed<u32>, Gatekeeper<u32>) {
    let (feed, stream) = pipe();
    let (keeper, sink) = gate(99);
    (multiplexer.add_stream_pair(sink, stream, channel).unwrap(), feed, keeper)
}

/// A select that never yields, over all channels. The id of each channel is its priority.
fn select(multiplexer: &Pairs) -> Select {
    let mut select = multiplexer.select();
    select.yield_every(NEVER);
    for channel in multiplexer.channels() {
        select.add(channel, Share::new().priority(u32::try_from(channel).unwrap())).unwrap();
    }
    select
}

/// Polls until it sleeps.
fn settle(select: &mut Select, waker: &Waker) {
    while poll_with(select, waker).is_ready() {}
    assert_eq!(poll_with(select, waker), Pending);
}

/// Returns the channel and the item.
fn item(polled: Poll<Option<(ChannelId, StreamId, StreamEvent<u32>)>>) -> (ChannelId, u32) {
    match polled {
        Ready(Some((channel, _, StreamEvent::Item(item)))) => (channel, item),
        other => panic!("{other:?} is no item"),
    }
}

/// A stream that always has an item, or never has one. In the latter case, its poll is in vain and wakes itself.
struct Tap {
    flows: Rc<Cell<bool>>,
}

impl Stream for Tap {
    type Item = u64;

    fn poll_next(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<u64>> {
        if self.flows.get() {
            return Ready(Some(1));
        }
        cx.waker().wake_by_ref();
        Pending
    }
}

mod priority {
    use super::*;

    /// The order of turns when all channels are always ready, as documented.
    fn reference(channels: usize, bound: Option<u32>, events: usize) -> Vec<ChannelId> {
        let mut turns = Vec::new();
        while turns.len() < events {
            match bound {
                Some(bound) if channels > 1 => {
                    turns.extend((0..bound).map(|_| 0));
                    turns.extend(1..channels);
                }
                _ => turns.push(0),
            }
        }
        turns.truncate(events);
        turns
    }

    /// The most turns of other channels between two turns of this channel, or before its first one.
    fn longest_wait(turns: &[ChannelId], channel: ChannelId) -> usize {
        let waits = turns.split(|turn| *turn == channel);
        // The last wait is not over.
        let count = waits.clone().count();
        waits.take(count - 1).map(<[_]>::len).max().expect("it had a turn")
    }

    fn always_ready(channels: usize) -> ChannelSelect<impl Stream<Item = ()>> {
        let multiplexer = Multiplexer::without_sinks();
        let mut select = multiplexer.select();
        for channel in 0..channels {
            multiplexer.add_channel(channel).unwrap();
            multiplexer.add_stream(stream::repeat(()), channel).unwrap();
            select.add(channel, Share::new().priority(u32::try_from(channel).unwrap())).unwrap();
        }
        select.yield_every(NEVER);
        select
    }

    fn turns<St: Stream, Si>(select: &mut ChannelSelect<St, Si>, events: usize) -> Vec<ChannelId> {
        let next = |_| match poll(select) {
            Ready(Some((channel, _, _))) => channel,
            Ready(None) => panic!("it has ended"),
            Pending => panic!("all are ready"),
        };
        (0..events).map(next).collect()
    }

    #[test]
    fn the_bound_is_reached_and_not_exceeded() {
        for channels in 1..7 {
            for bound in [1, 2, 3, 5, 64] {
                let mut select = always_ready(channels);
                select.starvation_bound(every(bound));
                let turns = turns(&mut select, 1_000);
                assert_eq!(turns, reference(channels, Some(bound), 1_000));
                assert_eq!(longest_wait(&turns, 0), channels - 1);
                let stats = select.stats();
                assert_eq!(stats.channels[0].longest_wait, channels as u64 - 1);
                for channel in 1..channels {
                    let wait = bound as usize + channels - 2;
                    assert_eq!(longest_wait(&turns, channel), wait, "{channel} of {channels}, {bound}");
                    assert_eq!(stats.channels[channel].longest_wait, wait as u64);
                }
            }
        }
    }

    #[test]
    fn it_is_64_by_default() {
        assert_eq!(turns(&mut always_ready(3), 1_000), reference(3, Some(64), 1_000));
    }

    #[test]
    fn without_a_bound_lower_ones_starve() {
        let mut select = always_ready(3);
        select.starvation_bound(None);
        assert_eq!(turns(&mut select, 1_000), reference(3, None, 1_000));
    }

    /// Items that are pushed between two events, as pairs of a channel and a number of items.
    #[derive(Clone, Debug)]
    struct Pushes(Vec<(usize, usize)>);

    impl Arbitrary for Pushes {
        fn arbitrary(g: &mut Gen) -> Self {
            Self((0..below(g, 4)).map(|_| (below(g, 7), 1 + below(g, 4))).collect())
        }
    }

    /// A channel with an item never waits longer than the bound, whichever channels become ready.
    #[test]
    fn the_bound_holds_whichever_channels_come_and_go() {
        fn holds(channels: usize, bound: u32, steps: Vec<Pushes>) {
            check(1 + channels % 6, 1 + bound % 5, &steps);
        }
        QuickCheck::new().rng(Gen::new(200)).quickcheck(holds as fn(usize, u32, Vec<Pushes>));
    }

    fn check(channels: usize, bound: u32, steps: &[Pushes]) {
        let (multiplexer, streams) = pairs(channels);
        let mut select = select(&multiplexer);
        select.starvation_bound(every(bound));
        // For each channel, the number of its items, and for how many events it has waited.
        let (mut left, mut waited) = (vec![0; channels], vec![0; channels]);
        for step in steps.iter().map(Some).chain([None; 2_000]) {
            for (channel, items) in step.into_iter().flat_map(|Pushes(pushes)| pushes) {
                let channel = channel % channels;
                left[channel] += items;
                (0..*items).for_each(|_| streams[channel].1.push(0));
            }
            let Ready(Some((channel, _, _))) = poll(&mut select) else {
                assert!(left.iter().all(|left| *left == 0), "it sleeps, and there is something: {left:?}");
                if step.is_none() {
                    break;
                }
                continue;
            };
            for other in 0..channels {
                waited[other] = if other == channel || left[other] == 0 { 0 } else { waited[other] + 1 };
                let longest = if other == 0 { channels - 1 } else { bound as usize + channels - 2 };
                assert!(waited[other] <= longest, "{other} waits for {} of {longest}", waited[other]);
            }
            left[channel] -= 1;
        }
        assert!(left.iter().all(|left| *left == 0), "{left:?}");
    }

    /// With turns in this round, and in the next round before channel 2, these channels would be served twice while
    /// channel 2 waits.
    #[test]
    fn a_channel_that_becomes_ready_in_a_round_is_not_served_twice_while_another_waits() {
        let (multiplexer, streams) = pairs(5);
        let mut select = select(&multiplexer);
        select.starvation_bound(every(3));
        settle(&mut select, Waker::noop());
        let push = |channel: usize, items| (0..items).for_each(|_| streams[channel].1.push(0));
        push(0, 99);
        push(2, 9);
        push(3, 9);
        let mut next = || item(poll(&mut select)).0;
        assert_eq!([next(), next(), next()], [0; 3]);
        assert_eq!(next(), 2);
        push(1, 9);
        push(4, 9);
        let turns: Vec<_> = (0..7).map(|_| next()).collect();
        assert_eq!(turns, [3, 0, 0, 0, 2, 1, 4], "who waits longest first");
    }

    /// Waiting channels of the highest priority are passed over in the round.
    #[test]
    fn all_lower_ones_have_a_turn_in_a_round() {
        let (multiplexer, streams) = pairs(4);
        let mut select = multiplexer.select();
        select.yield_every(NEVER).starvation_bound(every(2));
        for (channel, priority) in [(0, 0), (1, 0), (2, 1), (3, 1)] {
            select.add(channel, Share::new().priority(priority)).unwrap();
        }
        settle(&mut select, Waker::noop());
        [0, 1, 2].into_iter().for_each(|channel| (0..9).for_each(|_| streams[channel].1.push(0)));
        let first = item(poll(&mut select)).0;
        streams[3].1.push(0);
        let turns: Vec<_> = (0..3).map(|_| item(poll(&mut select)).0).collect();
        assert_eq!(turns, [1 - first, 2, 3]);
    }

    #[test]
    fn the_highest_is_asked_before_every_event() {
        let (multiplexer, streams) = pairs(2);
        let mut select = select(&multiplexer);
        (0..9).for_each(|number| streams[1].1.push(number));
        assert_eq!(item(poll(&mut select)), (1, 0));
        streams[0].1.push(7);
        assert_eq!(item(poll(&mut select)), (0, 7));
        assert_eq!(item(poll(&mut select)), (1, 1));
    }

    /// The bound counts consecutive events that were taken ahead of a lower channel.
    #[test]
    fn a_round_begins_no_earlier_than_documented() {
        let (multiplexer, streams) = pairs(2);
        let mut select = select(&multiplexer);
        select.starvation_bound(every(4));
        streams.iter().for_each(|(_, feed)| (0..99).for_each(|_| feed.push(0)));
        // No lower channel waits.
        assert_eq!(turns(&mut select, 3), [0, 0, 0]);
        assert!(select.remove(1));
        assert_eq!(turns(&mut select, 1), [0]);
        select.add(1, Share::new().priority(1)).unwrap();
        assert_eq!(turns(&mut select, 5 + 3), [0, 0, 0, 0, 1, 0, 0, 0]);
        // The channel is not lower any more, and waits longest.
        assert!(select.set_share(1, Share::new()));
        assert_eq!(turns(&mut select, 1), [1]);
        assert!(select.set_share(1, Share::new().priority(1)));
        assert_eq!(turns(&mut select, 5), [0, 0, 0, 0, 1]);
    }

    /// Calls that yield no event count, for priorities and for weights.
    #[test]
    fn a_channel_whose_streams_only_wake_themselves_starves_no_other() {
        for priority in [0, 1] {
            let multiplexer = Multiplexer::without_sinks();
            let mut select = multiplexer.select();
            select.yield_every(NEVER).starvation_bound(every(8));
            for (channel, flows) in [(0, false), (1, true)] {
                multiplexer.add_channel(channel).unwrap();
                let flows = Rc::new(Cell::new(flows));
                multiplexer.add_stream(Tap { flows }, channel).unwrap();
            }
            select.add(0, Share::new()).unwrap();
            select.add(1, Share::new().priority(priority)).unwrap();
            let (wakes, waker) = Wakes::new();
            let mut events = 0;
            for _ in 0..90 {
                match poll_with(&mut select, &waker) {
                    Ready(event) => events += usize::from(event.is_some()),
                    Pending => assert_eq!(wakes.take(), 1, "it wakes itself"),
                }
            }
            assert_eq!(events, if priority == 0 { 45 } else { 10 });
        }
    }

    #[test]
    fn the_priority_can_be_changed_at_any_time() {
        let mut select = always_ready(3);
        select.starvation_bound(None);
        assert_eq!(turns(&mut select, 2), [0, 0]);
        assert!(select.set_share(2, Share::new()));
        assert!(select.set_share(0, Share::new().priority(9)));
        assert_eq!(turns(&mut select, 2), [2, 2]);
        assert!(!select.set_share(7, Share::new()));
        let mut shares: Vec<_> = select.channels().collect();
        shares.sort_unstable_by_key(|(channel, _)| *channel);
        let priority = |priority| Share::new().priority(priority);
        assert_eq!(shares, [(0, priority(9)), (1, priority(1)), (2, priority(0))]);
    }
}

mod weights {
    use super::*;

    /// Each of the streams is the only ready one, in turn.
    #[test]
    fn are_charged_to_whose_turn_it_was() {
        let (multiplexer, streams) = pairs(3);
        let mut select = select(&multiplexer);
        settle(&mut select, Waker::noop());
        for channel in [0, 0, 1, 0, 2, 2, 1, 0] {
            streams[channel].1.push(0);
            assert_eq!(item(poll(&mut select)).0, channel);
            settle(&mut select, Waker::noop());
        }
        let turns = select.stats().channels.into_iter().map(|channel| (channel.turns, channel.cost));
        assert_eq!(turns.collect::<Vec<_>>(), [(4, 4), (2, 2), (2, 2)]);
    }

    /// A stream that always has an item, with costs from a repeating list.
    struct Costs(std::iter::Cycle<std::vec::IntoIter<u64>>);

    impl Stream for Costs {
        type Item = u64;

        fn poll_next(mut self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<Option<u64>> {
            Ready(self.0.next())
        }
    }

    fn always_ready(channels: &[(u32, Vec<u64>)]) -> (Multiplexer<Costs>, ChannelSelect<Costs>) {
        let multiplexer = Multiplexer::without_sinks();
        let mut select = multiplexer.select();
        for (channel, (weight, costs)) in channels.iter().enumerate() {
            multiplexer.add_channel(channel).unwrap();
            multiplexer.add_stream(Costs(costs.clone().into_iter().cycle()), channel).unwrap();
            select.add(channel, Share::new().weight(*weight)).unwrap();
        }
        select.yield_every(NEVER).cost(|cost| *cost);
        (multiplexer, select)
    }

    /// The service of each channel, as cost / weight, after each of the events, computed naively.
    struct Reference {
        weights: Vec<u32>,
        got: Vec<f64>,
        /// For each two channels: the smallest and the greatest difference so far.
        lags: Vec<[f64; 2]>,
        largest: Vec<u64>,
    }

    impl Reference {
        fn new(weights: Vec<u32>) -> Self {
            let channels = weights.len();
            Self {
                weights,
                got: vec![0.; channels],
                lags: vec![[0.; 2]; channels * channels],
                largest: vec![1; channels],
            }
        }

        fn note(&mut self, channel: usize, cost: u64) {
            self.got[channel] += cost as f64 / f64::from(self.weights[channel]);
            self.largest[channel] = self.largest[channel].max(cost);
            let channels = self.got.len();
            for one in 0..channels {
                for other in 0..channels {
                    let [least, greatest] = &mut self.lags[one * channels + other];
                    let lag = self.got[one] - self.got[other];
                    (*least, *greatest) = (least.min(lag), greatest.max(lag));
                }
            }
        }

        /// The lag of one channel behind another over any span is the difference of two of these differences.
        fn check(&self) {
            let channels = self.got.len();
            for one in 0..channels {
                for other in 0..one {
                    let [least, greatest] = self.lags[one * channels + other];
                    let turn =
                        |channel: usize| self.largest[channel] as f64 / f64::from(self.weights[channel]);
                    let bound = turn(one) + turn(other);
                    assert!(
                        greatest - least <= bound + 1e-6,
                        "{one} and {other}: {} of {bound}",
                        greatest - least
                    );
                }
            }
        }
    }

    fn next(select: &mut ChannelSelect<Costs>) -> (ChannelId, u64) {
        match poll(select) {
            Ready(Some((channel, _, StreamEvent::Item(cost)))) => (channel, cost),
            other => panic!("{other:?}"),
        }
    }

    /// The weight of a channel, and the costs of its items.
    #[derive(Clone, Debug)]
    struct Channels(Vec<(u32, Vec<u64>)>);

    impl Arbitrary for Channels {
        fn arbitrary(g: &mut Gen) -> Self {
            let costs = |g: &mut Gen| (0..1 + below(g, 4)).map(|_| 1 + u64::from(below_u8(g, 49))).collect();
            Self((0..2 + below(g, 4)).map(|_| (1 + u32::from(below_u8(g, 8)), costs(g))).collect())
        }
    }

    #[derive(Clone, Debug)]
    struct Change {
        channel: usize,
        weight: u32,
        kind: usize,
    }

    impl Arbitrary for Change {
        fn arbitrary(g: &mut Gen) -> Self {
            Self { channel: below(g, 6), weight: 1 + u32::from(below_u8(g, 8)), kind: below(g, 3) }
        }
    }

    #[test]
    fn no_two_are_apart_by_more_than_a_turn_of_each() {
        fn holds(Channels(channels): Channels) {
            let (_multiplexer, mut select) = always_ready(&channels);
            let mut reference = Reference::new(channels.iter().map(|(weight, _)| *weight).collect());
            for _ in 0..500 {
                let (channel, cost) = next(&mut select);
                reference.note(channel, cost);
            }
            reference.check();
        }
        QuickCheck::new().quickcheck(holds as fn(Channels));
    }

    /// Between two changes.
    #[test]
    fn nor_after_a_change() {
        fn holds(Channels(channels): Channels, changes: Vec<Change>) {
            let (_multiplexer, mut select) = always_ready(&channels);
            let mut weights: Vec<_> = channels.iter().map(|(weight, _)| *weight).collect();
            for Change { channel, weight, kind } in changes {
                let channel = channel % weights.len();
                let share = Share::new().weight(weight);
                match kind {
                    0 => {
                        assert!(select.remove(channel));
                        select.add(channel, share).unwrap();
                    }
                    // To another priority, and back.
                    1 => assert!(select.set_share(channel, share.priority(1))),
                    _ => {}
                }
                assert!(select.set_share(channel, share));
                weights[channel] = weight;
                let mut reference = Reference::new(weights.clone());
                // A channel may be ahead because of an earlier turn.
                reference.largest = channels.iter().map(|(_, costs)| *costs.iter().max().unwrap()).collect();
                for _ in 0..50 {
                    let (channel, cost) = next(&mut select);
                    reference.note(channel, cost);
                }
                reference.check();
            }
        }
        QuickCheck::new().rng(Gen::new(20)).quickcheck(holds as fn(Channels, Vec<Change>));
    }

    #[test]
    fn equal_ones_take_turns() {
        let (_multiplexer, mut select) = always_ready(&[(1, vec![1]), (1, vec![1]), (1, vec![1])]);
        let turns: Vec<_> = (0..9).map(|_| next(&mut select).0).collect();
        assert_eq!(turns, [0, 1, 2, 0, 1, 2, 0, 1, 2]);
    }

    #[test]
    fn items_cost_1_and_nothing_costs_less() {
        for cost in [None, Some(0)] {
            let (_multiplexer, mut select) = always_ready(&[(3, vec![0]), (1, vec![0])]);
            let multiplexer = Multiplexer::without_sinks();
            if cost.is_none() {
                select = multiplexer.select();
                for (channel, weight) in [(0, 3), (1, 1)] {
                    multiplexer.add_channel(channel).unwrap();
                    multiplexer.add_stream(Costs(vec![9].into_iter().cycle()), channel).unwrap();
                    select.add(channel, Share::new().weight(weight)).unwrap();
                }
                select.yield_every(NEVER);
            }
            (0..400).for_each(|_| _ = next(&mut select));
            let stats = select.stats();
            assert_eq!(stats.channels.iter().map(|channel| channel.cost).collect::<Vec<_>>(), [300, 100]);
            assert_eq!(
                (stats.fraction(0), stats.fraction(1), stats.fraction(2)),
                (Some(0.75), Some(0.25), None)
            );
        }
    }

    /// And not of the turns. Of nothing there is no fraction.
    #[test]
    fn the_fraction_is_that_of_the_cost() {
        let (_multiplexer, mut select) = always_ready(&[(1, vec![3]), (1, vec![1])]);
        assert_eq!(select.stats().fraction(0), None);
        (0..4).for_each(|_| _ = next(&mut select));
        let stats = select.stats();
        assert_eq!((stats.channels[0].turns, stats.fraction(0)), (1, Some(0.5)));
    }

    /// As if it had been in the select all the time and had had no item.
    #[test]
    fn a_sleeping_channel_accumulates_no_credit() {
        let (multiplexer, streams) = pairs(2);
        let mut select = multiplexer.select();
        select.yield_every(NEVER);
        (0..2).for_each(|channel| select.add(channel, Share::new()).unwrap());
        (0..200).for_each(|_| streams[0].1.push(0));
        (0..100).for_each(|_| assert_eq!(item(poll(&mut select)).0, 0));
        (0..200).for_each(|_| streams[1].1.push(0));
        let turns: Vec<_> = (0..100).map(|_| item(poll(&mut select)).0).collect();
        assert_eq!(turns.iter().sum::<usize>(), 50);
    }

    #[test]
    fn a_sleeping_channel_keeps_its_debt() {
        let (multiplexer, streams) = pairs(2);
        let mut select = multiplexer.select();
        select.yield_every(NEVER).cost(|cost| u64::from(*cost));
        (0..2).for_each(|channel| select.add(channel, Share::new()).unwrap());
        streams[1].1.push(1);
        streams[0].1.push(100);
        assert_eq!([0, 1], [(); 2].map(|()| item(poll(&mut select)).0));
        settle(&mut select, Waker::noop());
        streams[0].1.push(100);
        (0..200).for_each(|_| streams[1].1.push(1));
        let turns: Vec<_> = (0..101).map(|_| item(poll(&mut select)).0).collect();
        let before = turns.iter().take_while(|channel| **channel == 1).count();
        assert!((98..=100).contains(&before), "{before}");
    }

    /// A relief round gives a turn to each channel, whatever that costs. Others of its priority do not wait for that.
    #[test]
    fn a_sleeping_channel_pays_for_no_relief_round() {
        for wakes_in_round in [false, true] {
            let (multiplexer, streams) = pairs(4);
            let mut select = multiplexer.select();
            select.yield_every(NEVER).starvation_bound(every(1)).cost(|cost| u64::from(*cost));
            select.add(0, Share::new()).unwrap();
            for channel in [3, 1, 2] {
                select.add(channel, Share::new().priority(1)).unwrap();
            }
            settle(&mut select, Waker::noop());
            (0..11).for_each(|_| streams[0].1.push(1));
            (0..99).for_each(|_| streams[1].1.push(1_000));
            (0..99).for_each(|_| streams[2].1.push(1));
            // Turns of 1 and 2 out of order, by which 1 is far ahead.
            let rounds: Vec<_> = (0..30).map(|_| item(poll(&mut select)).0).collect();
            assert!(rounds.chunks(3).all(|round| round[0] == 0 && round[1] != round[2]), "{rounds:?}");
            assert_eq!(item(poll(&mut select)).0, 0);
            let in_round = if wakes_in_round { item(poll(&mut select)).0 } else { 0 };
            streams[3].1.push(1);
            let before = (0..99).take_while(|_| item(poll(&mut select)).0 != 3).count();
            assert!(before <= 4, "{before} after {in_round}");
        }
    }

    /// It waits for the cost that it received in advance, by its new weight.
    #[test]
    fn a_new_share_is_no_way_out_of_debt() {
        for weight in [1, 2, 5] {
            let (_multiplexer, mut select) = always_ready(&[(1, vec![100]), (1, vec![1])]);
            assert_eq!(next(&mut select), (0, 100));
            assert!(select.set_share(0, Share::new().priority(1)));
            assert!(select.set_share(0, Share::new().weight(weight)));
            let before = (0..200).take_while(|_| next(&mut select).0 == 1).count();
            let expected = 100 / weight as usize;
            assert!((expected - 1..=expected + 1).contains(&before), "{before} of {expected}");
        }
    }

    #[test]
    fn even_the_greatest_cost_overflows_nothing() {
        let (_multiplexer, mut select) =
            always_ready(&[(1, vec![u64::MAX]), (u32::MAX, vec![u64::MAX]), (1, vec![1])]);
        (0..1_000).for_each(|_| _ = next(&mut select));
        assert!(select.set_share(0, Share::new().weight(u32::MAX)));
        assert!(select.set_share(1, Share::new()));
        (0..1_000).for_each(|_| _ = next(&mut select));
        assert_eq!(select.stats().channels[0].cost, u64::MAX);
    }

    #[test]
    #[should_panic(expected = "at least 1")]
    fn a_weight_of_0_is_refused() {
        let _ = Share::new().weight(0);
    }
}

mod wakes {
    use super::*;

    #[test]
    fn each_channel_wakes_it_once() {
        let (multiplexer, streams) = pairs(70);
        let mut select = select(&multiplexer);
        let (wakes, waker) = Wakes::new();
        settle(&mut select, &waker);
        wakes.take();
        for _ in 0..3 {
            for channel in (0..70).rev() {
                streams[channel].1.push(7);
                assert_eq!(wakes.take(), 1);
                assert_eq!(item(poll_with(&mut select, &waker)), (channel, 7));
                assert_eq!(poll_with(&mut select, &waker), Pending);
            }
        }
        assert_eq!(wakes.take(), 0);
        let polls: usize = streams.iter().map(|(_, feed)| feed.take_polls()).sum();
        assert_eq!(polls, 70 + 3 * 70 * 2, "nobody else is polled");
    }

    /// Each of them would take the item. No task sleeps while the item is there.
    #[test]
    fn all_receivers_of_a_channel_are_woken() {
        let (multiplexer, streams) = pairs(1);
        let (mut one, mut other) = (select(&multiplexer), select(&multiplexer));
        let mut receiver = multiplexer.receiver(0).unwrap();
        let wakes = [(); 3].map(|()| Wakes::new());
        settle(&mut one, &wakes[0].1);
        settle(&mut other, &wakes[1].1);
        assert_eq!(poll_with(&mut receiver, &wakes[2].1), Pending);
        wakes.iter().for_each(|(wakes, _)| _ = wakes.take());
        for number in 0..3 {
            streams[0].1.push(number);
            assert_eq!(wakes.each_ref().map(|(wakes, _)| wakes.take()), [1; 3]);
            assert_eq!(item(poll_with(&mut one, &wakes[0].1)), (0, number));
            assert_eq!(poll_with(&mut other, &wakes[1].1), Pending);
            assert_eq!(poll_with(&mut receiver, &wakes[2].1), Pending);
            assert_eq!(poll_with(&mut one, &wakes[0].1), Pending);
            wakes.iter().for_each(|(wakes, _)| _ = wakes.take());
        }
        drop(one);
        streams[0].1.push(9);
        assert_eq!(wakes.each_ref().map(|(wakes, _)| wakes.take()), [0, 1, 1]);
        assert_eq!(item(poll_with(&mut other, &wakes[1].1)), (0, 9));
    }

    #[test]
    fn it_may_be_polled_by_another_task() {
        let (multiplexer, streams) = pairs(2);
        let mut select = select(&multiplexer);
        let ((first, one), (second, other)) = (Wakes::new(), Wakes::new());
        settle(&mut select, &one);
        settle(&mut select, &other);
        first.take();
        streams[1].1.push(1);
        assert_eq!((first.take(), second.take()), (0, 1));
    }

    /// The select knew that nothing is ready, and does not wait yet.
    #[test]
    fn an_item_that_comes_while_its_waker_is_cloned_is_received() {
        let (multiplexer, streams) = pairs(1);
        let mut select = select(&multiplexer);
        settle(&mut select, Waker::noop());
        let (hooks, feed) = (Hooks::default(), streams[0].1.clone());
        hooks.on(Moment::Clone, move || feed.push(7));
        assert_eq!(item(poll_with(&mut select, &hooked_waker(&hooks))), (0, 7));
    }

    /// Whether the list of the channel has the waker of the task or that of the slot: polls in vain change this.
    #[test]
    fn each_channel_wakes_it_however_often_it_is_polled_in_vain() {
        let (multiplexer, streams) = pairs(3);
        let mut select = select(&multiplexer);
        let tasks = [(); 2].map(|()| Wakes::new());
        for polls in 0..70 {
            for (channel, task) in [(0, 0), (2, 0), (2, 1), (1, 1), (2, 1), (2, 1)] {
                let (wakes, waker) = &tasks[task];
                for _ in 0..=polls {
                    settle(&mut select, waker);
                }
                tasks.iter().for_each(|(wakes, _)| _ = wakes.take());
                streams[channel].1.push(polls);
                assert_eq!(wakes.take(), 1, "channel {channel} after {polls} polls");
                assert_eq!(tasks[1 - task].0.take(), 0, "the other task is not concerned");
                assert_eq!(item(poll_with(&mut select, waker)), (channel, polls));
            }
        }
    }

    /// The other task does not sleep after it found the channel idle, because another channel has an event.
    #[test]
    fn a_channel_that_another_task_found_idle_wakes_it() {
        let (feed, mut items) = mpsc::unbounded();
        let (other_feed, other_items) = mpsc::unbounded();
        let pushes = Rc::new(Cell::new(false));
        let pushes_in_poll = Rc::clone(&pushes);
        let stream = stream::poll_fn(move |cx| {
            let polled = Pin::new(&mut items).poll_next(cx);
            if polled.is_pending() && pushes_in_poll.take() {
                other_feed.unbounded_send(1).unwrap();
            }
            polled
        });
        let multiplexer = Multiplexer::without_sinks();
        let mut select = multiplexer.select();
        let streams: [Pin<Box<dyn Stream<Item = u32>>>; 2] = [Box::pin(stream), Box::pin(other_items)];
        for (channel, stream) in streams.into_iter().enumerate() {
            multiplexer.add_channel(channel).unwrap();
            multiplexer.add_stream(stream, channel).unwrap();
            select.add(channel, Share::new()).unwrap();
        }
        let ((wakes, waker), (_, other)) = (Wakes::new(), Wakes::new());
        // Long enough to give the shortcut up.
        for _ in 0..40 {
            assert!(poll_with(&mut select, &waker).is_pending());
        }
        feed.unbounded_send(7).unwrap();
        assert!(poll_with(&mut select, &other).is_ready());
        pushes.set(true);
        assert!(matches!(poll_with(&mut select, &other), Ready(Some((1, ..)))));
        assert!(poll_with(&mut select, &waker).is_pending());
        wakes.take();
        feed.unbounded_send(8).unwrap();
        assert_eq!(wakes.take(), 1);
    }

    #[test]
    fn a_stream_that_comes_wakes_it() {
        let (multiplexer, streams) = pairs(2);
        let mut select = select(&multiplexer);
        let (wakes, waker) = Wakes::new();
        settle(&mut select, &waker);
        wakes.take();
        multiplexer.change_stream_channel(streams[0].0, 1).unwrap();
        assert!(matches!(wakes.take(), 1..=2), "by each of two channels, at most");
        let moved = (0, streams[0].0, StreamEvent::Moved(1));
        assert_eq!(poll_with(&mut select, &waker), Ready(Some(moved)));
        settle(&mut select, &waker);
        streams[0].1.push(3);
        assert_eq!(item(poll_with(&mut select, &waker)), (1, 3));
    }

    #[test]
    fn memory_given_back_loses_no_wake() {
        let (multiplexer, streams) = pairs(3);
        let mut select = select(&multiplexer);
        let (wakes, waker) = Wakes::new();
        settle(&mut select, &waker);
        wakes.take();
        multiplexer.shrink_to_fit();
        for (channel, (_, feed)) in streams.iter().enumerate() {
            settle(&mut select, &waker);
            wakes.take();
            feed.push(5);
            assert_eq!(wakes.take(), 1);
            assert_eq!(item(poll_with(&mut select, &waker)), (channel, 5));
        }
    }

    #[test]
    fn threads_that_push_lose_nothing() {
        finishes(|| {
            const ITEMS: u32 = 3_000;
            let (multiplexer, streams) = pairs(4);
            let mut select = select(&multiplexer);
            select.yield_every(every(4));
            let pushing: Vec<_> = streams
                .into_iter()
                .map(|(_, feed)| {
                    std::thread::spawn(move || {
                        (0..ITEMS).for_each(|number| feed.push(number));
                        feed.end();
                    })
                })
                .collect();
            let mut next = [0; 4];
            multiplexer.close();
            while let Some((channel, _, event)) = block_on(select.next()) {
                match event {
                    StreamEvent::Item(number) => {
                        assert_eq!(number, next[channel]);
                        next[channel] += 1;
                    }
                    event => assert_eq!(event, StreamEvent::Ended),
                }
            }
            assert_eq!(next, [ITEMS; 4]);
            pushing.into_iter().for_each(|thread| thread.join().unwrap());
        });
    }
}

mod its_channels {
    use super::*;

    #[test]
    fn come_and_go() {
        let (multiplexer, streams) = pairs(3);
        let mut select = multiplexer.select();
        assert!(select.is_empty() && !select.is_terminated());
        assert_eq!(select.add(7, Share::new()), Err(MultiplexerError::UnknownChannel(7)));
        assert_eq!(poll(&mut select), Ready(None));
        assert!(select.is_terminated());
        select.add(1, Share::new()).unwrap();
        assert_eq!(select.add(1, Share::new()), Err(MultiplexerError::DuplicateChannel(1)));
        select.add(2, Share::new()).unwrap();
        assert_eq!((select.len(), select.contains(1), select.contains(0)), (2, true, false));
        assert!(!select.is_terminated());
        streams[1].1.push(1);
        assert_eq!(item(poll(&mut select)), (1, 1));
        streams[1].1.push(1);
        assert!(select.remove(1) && !select.remove(1));
        assert_eq!(poll(&mut select), Pending);
        streams[2].1.push(2);
        assert_eq!(item(poll(&mut select)), (2, 2));
        // No item is lost: it waits in the channel.
        assert_eq!(multiplexer.try_recv(1), Ok((streams[1].0, Some(1))));
        assert_eq!(format!("{select:?}"), "ChannelSelect { channels: 1, terminated: false, .. }");
    }

    #[test]
    fn are_in_the_statistics_in_the_order_of_their_ids() {
        let (multiplexer, _streams) = pairs(3);
        let mut select = multiplexer.select();
        [2, 0, 1].into_iter().for_each(|channel| select.add(channel, Share::new()).unwrap());
        assert!(select.stats().channels.into_iter().map(|stats| stats.channel).eq(0..3));
    }

    #[test]
    fn leave_when_they_have_ended() {
        let (multiplexer, streams) = pairs(3);
        let mut select = select(&multiplexer);
        let (wakes, waker) = Wakes::new();
        settle(&mut select, &waker);
        wakes.take();
        multiplexer.close_channel(1).unwrap();
        streams[1].1.end();
        assert_ne!(wakes.take(), 0);
        assert_eq!(poll_with(&mut select, &waker), Ready(Some((1, streams[1].0, StreamEvent::Ended))));
        assert_eq!(poll_with(&mut select, &waker), Pending);
        assert_eq!((select.len(), select.contains(1)), (2, false));
        wakes.take();
        drop(multiplexer.remove_channel(0));
        assert_ne!(wakes.take(), 0);
        assert_eq!(poll_with(&mut select, &waker), Pending);
        assert_eq!(select.len(), 1);
        drop(multiplexer.remove_channel(2));
        assert_eq!(poll_with(&mut select, &waker), Ready(None));
        assert!(select.is_terminated());
        assert_eq!(poll_with(&mut select, &waker), Ready(None));
        multiplexer.add_channel(9).unwrap();
        select.add(9, Share::new()).unwrap();
        assert!(!select.is_terminated());
        assert_eq!(poll_with(&mut select, &waker), Pending);
    }

    /// The removed channel does not affect a new channel with its id.
    #[test]
    fn may_have_the_id_of_a_removed_channel() {
        let (multiplexer, _streams) = pairs(2);
        let mut select = select(&multiplexer);
        settle(&mut select, Waker::noop());
        drop(multiplexer.remove_channel(1));
        assert_eq!(select.add(1, Share::new()), Err(MultiplexerError::UnknownChannel(1)));
        multiplexer.add_channel(1).unwrap();
        select.add(1, Share::new()).unwrap();
        assert_eq!(select.len(), 2);
        let (_, feed, _) = add_pair(&multiplexer, 1);
        feed.push(6);
        assert_eq!(item(poll(&mut select)), (1, 6));
        assert_eq!(poll(&mut select), Pending);
        assert_eq!(select.len(), 2);
    }

    #[test]
    fn wake_it_when_they_are_added_while_it_sleeps() {
        let (multiplexer, streams) = pairs(2);
        let mut select = multiplexer.select();
        select.add(0, Share::new()).unwrap();
        let (wakes, waker) = Wakes::new();
        settle(&mut select, &waker);
        wakes.take();
        streams[1].1.push(8);
        select.add(1, Share::new()).unwrap();
        assert_eq!(wakes.take(), 1);
        assert_eq!(item(poll_with(&mut select, &waker)), (1, 8));
    }

    /// As with receivers: a channel's streams are dropped when the channel is unreachable.
    #[test]
    fn are_kept_alive_by_it() {
        let (multiplexer, streams) = pairs(2);
        let mut select = select(&multiplexer);
        drop(multiplexer);
        streams[0].1.push(1);
        assert_eq!(item(poll(&mut select)), (0, 1));
        assert!(select.remove(0));
        assert!(streams[0].1.is_dropped() && !streams[1].1.is_dropped());
        streams[1].1.push(2);
        assert_eq!(item(poll(&mut select)), (1, 2));
        drop(select);
        assert!(streams[1].1.is_dropped());
    }

    #[test]
    fn wake_it_no_more_when_they_are_removed_and_it_leaves_no_waker_behind() {
        let (multiplexer, streams) = pairs(3);
        let mut select = select(&multiplexer);
        let (wakes, waker) = Wakes::new();
        settle(&mut select, &waker);
        drop(waker);
        wakes.take();
        assert!(select.remove(1));
        streams[1].1.push(1);
        select.drive_flushes(false);
        let (_, _feed, keeper) = add_pair(&multiplexer, 1);
        keeper.set_flushes(false);
        multiplexer.try_send(multiplexer.channel_streams(1).unwrap()[1], 1).unwrap();
        assert_eq!(wakes.take(), 0);
        drop(select);
        assert_eq!(Arc::strong_count(&wakes), 1);
        (0..3).for_each(|channel| streams[channel].1.push(1));
        assert_eq!(wakes.take(), 0);
    }

    #[test]
    fn can_be_removed_while_it_sleeps() {
        let (multiplexer, streams) = pairs(3);
        let mut select = select(&multiplexer);
        let (wakes, waker) = Wakes::new();
        settle(&mut select, &waker);
        wakes.take();
        // Woken, but not absorbed yet.
        streams[1].1.push(1);
        assert_eq!(wakes.take(), 1);
        assert!(select.remove(1));
        assert_eq!(poll_with(&mut select, &waker), Pending);
        streams[1].1.push(1);
        assert_eq!(wakes.take(), 0, "it is not in there");
        select.add(1, Share::new()).unwrap();
        assert_eq!(item(poll_with(&mut select, &waker)), (1, 1));
        settle(&mut select, &waker);
        wakes.take();
        (0..3).for_each(|channel| assert!(select.remove(channel)));
        assert_eq!(wakes.take(), 1, "that is its end");
        assert_eq!(poll_with(&mut select, &waker), Ready(None));
    }
}

mod yields {
    use super::*;

    #[test]
    fn come_after_so_many_events() {
        let (multiplexer, streams) = pairs(2);
        for events in [None, Some(1), Some(3)] {
            let mut select = multiplexer.select();
            (0..2).for_each(|channel| select.add(channel, Share::new()).unwrap());
            let length = match events {
                Some(events) => {
                    select.yield_every(every(events));
                    events
                }
                // The default.
                None => 4,
            };
            let (wakes, waker) = Wakes::new();
            (0..100).for_each(|number| streams[number % 2].1.push(0));
            for round in 1..=10 {
                for _ in 0..length {
                    assert!(poll_with(&mut select, &waker).is_ready());
                }
                assert_eq!((poll_with(&mut select, &waker), wakes.take()), (Pending, 1));
                assert_eq!(select.stats().yields, round);
            }
            assert_eq!(select.stats().events, u64::from(10 * length));
            // After a sleep, the count restarts.
            select.yield_every(NEVER);
            settle(&mut select, &waker);
        }
    }

    /// Also with streams in several channels.
    #[test]
    fn come_after_64_polls_in_vain() {
        let (multiplexer, streams) = pairs(10);
        let others: Vec<_> = (0..100).map(|at| add_pair(&multiplexer, at % 10)).collect();
        let feeds: Vec<_> =
            streams.iter().map(|(_, feed)| feed).chain(others.iter().map(|(_, feed, _)| feed)).collect();
        let mut select = select(&multiplexer);
        let (wakes, waker) = Wakes::new();
        for round in 0..2 {
            let mut polls = Vec::new();
            while polls.last() != Some(&0) {
                wakes.take();
                assert_eq!(poll_with(&mut select, &waker), Pending);
                polls.push(feeds.iter().map(|feed| feed.take_polls()).sum());
                assert_eq!(wakes.take(), usize::from(polls.len() == 1), "{round}: {polls:?}");
            }
            assert_eq!(polls, [66, 44, 0]);
            feeds.iter().for_each(|feed| feed.wake());
        }
    }

    #[test]
    fn do_not_come_after_a_sleep() {
        let (multiplexer, streams) = pairs(1);
        let mut select = select(&multiplexer);
        select.yield_every(every(2));
        let (wakes, waker) = Wakes::new();
        for _ in 0..9 {
            streams[0].1.push(1);
            wakes.take();
            assert_eq!(item(poll_with(&mut select, &waker)), (0, 1));
            assert_eq!(poll_with(&mut select, &waker), Pending);
            assert_eq!(wakes.take(), 0, "it sleeps");
        }
    }

    #[test]
    fn come_from_a_receiver_that_was_asked_to() {
        let (multiplexer, streams) = pairs(1);
        let mut receiver = multiplexer.receiver(0).unwrap();
        (0..100).for_each(|_| streams[0].1.push(0));
        let (wakes, waker) = Wakes::new();
        (0..20).for_each(|_| assert!(poll_with(&mut receiver, &waker).is_ready()));
        receiver.yield_every(every(3));
        for _ in 0..3 {
            (0..3).for_each(|_| assert!(poll_with(&mut receiver, &waker).is_ready()));
            assert_eq!((poll_with(&mut receiver, &waker), wakes.take()), (Pending, 1));
        }
        receiver.yield_every(NEVER);
        (0..20).for_each(|_| assert!(poll_with(&mut receiver, &waker).is_ready()));
    }

    #[test]
    fn come_after_a_batch() {
        let (multiplexer, streams) = pairs(1);
        let (mut select, mut receiver) = (select(&multiplexer), multiplexer.receiver(0).unwrap());
        select.yield_every(every(3));
        receiver.yield_every(every(3));
        (0..100).for_each(|_| streams[0].1.push(0));
        let (wakes, waker) = Wakes::new();
        let cx = &mut Context::from_waker(&waker);
        let (mut selected, mut received) = (Vec::new(), Vec::new());
        for _ in 0..3 {
            assert_eq!(select.poll_recv_many(cx, &mut selected, 5), Ready(5));
            assert_eq!((select.poll_recv_many(cx, &mut selected, 5), wakes.take()), (Pending, 1));
            assert_eq!(receiver.poll_recv_many(cx, &mut received, 5), Ready(5));
            assert_eq!((receiver.poll_recv_many(cx, &mut received, 5), wakes.take()), (Pending, 1));
        }
        assert_eq!((selected.len(), received.len()), (15, 15));
    }
}

mod recv_many {
    use super::*;

    #[test]
    fn takes_what_is_there_in_the_order_of_priority() {
        let (multiplexer, streams) = pairs(2);
        let mut select = select(&multiplexer);
        let mut buffer = Vec::new();
        assert_eq!(select.recv_many(&mut buffer, 0).now_or_never(), Some(0));
        assert_eq!(select.recv_many(&mut buffer, 9).now_or_never(), None);
        (0..3).for_each(|number| streams[1].1.push(number));
        (0..2).for_each(|number| streams[0].1.push(number));
        // The future was dropped, and took no event.
        assert_eq!(select.recv_many(&mut buffer, 4).now_or_never(), Some(4));
        assert_eq!(select.recv_many(&mut buffer, 4).now_or_never(), Some(1));
        let items: Vec<_> =
            buffer.drain(..).map(|(channel, _, event)| (channel, event.item().unwrap())).collect();
        assert_eq!(items, [(0, 0), (0, 1), (1, 0), (1, 1), (1, 2)]);
        assert_eq!(select.recv_many(&mut buffer, 4).now_or_never(), None);
        drop((multiplexer.remove_channel(0), multiplexer.remove_channel(1)));
        assert_eq!(select.recv_many(&mut buffer, 4).now_or_never(), Some(0));
        assert!(select.is_terminated() && buffer.is_empty());
    }

    /// Although the batch began while its channel was the only ready one.
    #[test]
    fn takes_what_wakes_in_the_middle_before_what_is_lower() {
        (0..7).for_each(takes_what_wakes_with);
    }

    /// In the poll that yields this number.
    fn takes_what_wakes_with(this: usize) {
        let multiplexer = Multiplexer::without_sinks();
        let mut select = multiplexer.select();
        for channel in 0..2 {
            multiplexer.add_channel(channel).unwrap();
            select.add(channel, Share::new().priority(u32::try_from(channel).unwrap())).unwrap();
        }
        let (feed, pipe) = pipe();
        multiplexer.add_stream(pipe.left_stream(), 0).unwrap();
        assert!(poll(&mut select).is_pending());
        let numbers = stream::iter(0..9).inspect(move |number| {
            if *number == this {
                feed.push(99);
            }
        });
        multiplexer.add_stream(numbers.right_stream(), 1).unwrap();
        let mut buffer = Vec::new();
        assert_eq!(select.recv_many(&mut buffer, 8).now_or_never(), Some(8));
        let items: Vec<_> = buffer.into_iter().map(|(_, _, event)| event.item().unwrap()).collect();
        let mut expected = Vec::from_iter(0..7);
        expected.insert(this + 1, 99);
        assert_eq!(items, expected);
    }

    /// It moves itself to channel 0 in the poll that yields its first item.
    struct Mover {
        multiplexer: Multiplexer<Mover>,
        id: Rc<Cell<Option<StreamId>>>,
        items: u32,
    }

    impl Stream for Mover {
        type Item = u32;

        fn poll_next(mut self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<Option<u32>> {
            if let Some(id) = self.id.take() {
                self.multiplexer.change_stream_channel(id, 0).unwrap();
            }
            self.items += 1;
            Ready(Some(self.items))
        }
    }

    /// A stream moves to a higher channel in its own poll, and arrives there when the poll has returned: its next item
    /// comes before others of the lower channel.
    #[test]
    fn takes_what_arrives_in_a_higher_channel_before_what_is_lower() {
        for in_a_batch in [false, true] {
            let multiplexer = Multiplexer::without_sinks();
            let mut select = multiplexer.select();
            select.yield_every(NEVER);
            for channel in 0..2 {
                let options = ChannelOptions::new().report_departures(false);
                multiplexer.add_channel_with(channel, options).unwrap();
                select.add(channel, Share::new().priority(u32::try_from(channel).unwrap())).unwrap();
            }
            assert!(poll(&mut select).is_pending());
            let moves = Rc::new(Cell::new(None));
            for id in [Rc::default(), Rc::clone(&moves)] {
                let mover = Mover { multiplexer: multiplexer.clone(), id, items: 0 };
                moves.set(Some(multiplexer.add_stream(mover, 1).unwrap()));
            }
            let mut events = Vec::new();
            while events.len() < 6 {
                let limit = if in_a_batch { 6 } else { 1 };
                assert!(select.recv_many(&mut events, limit).now_or_never().is_some());
            }
            let channels: Vec<_> = events.into_iter().map(|(channel, _, _)| channel).collect();
            assert_eq!(channels, [1, 1, 0, 0, 0, 0]);
            // The streams hold the multiplexer.
            drop((multiplexer.remove_channel(0), multiplexer.remove_channel(1)));
        }
    }

    #[test]
    fn comes_to_an_end() {
        let multiplexer = Multiplexer::without_sinks();
        multiplexer.add_channel(0).unwrap();
        multiplexer.add_stream(stream::repeat(()), 0).unwrap();
        let mut select = multiplexer.select();
        select.add(0, Share::new()).unwrap();
        let mut buffer = Vec::new();
        assert_eq!(select.recv_many(&mut buffer, usize::MAX).now_or_never(), Some(4096));
        let mut done = select.recv_many(&mut buffer, 0);
        assert_eq!((&mut done).now_or_never(), Some(0));
        assert!(
            catch_unwind(AssertUnwindSafe(|| (&mut done).now_or_never())).is_err(),
            "polled after completion"
        );
    }
}

mod panics {
    use super::*;

    #[test]
    fn of_a_stream_reach_the_caller_and_cost_it_alone() {
        let (multiplexer, streams) = pairs(3);
        let mut select = select(&multiplexer);
        let (wakes, waker) = Wakes::new();
        settle(&mut select, &waker);
        streams[1].1.panic();
        streams[2].1.push(2);
        assert!(catch_unwind(AssertUnwindSafe(|| poll_with(&mut select, &waker))).is_err());
        assert_eq!(poll_with(&mut select, &waker), Ready(Some((1, streams[1].0, StreamEvent::Removed))));
        assert_eq!(item(poll_with(&mut select, &waker)), (2, 2));
        settle(&mut select, &waker);
        wakes.take();
        let (_, feed, _) = add_pair(&multiplexer, 1);
        feed.push(1);
        assert_ne!(wakes.take(), 0);
        assert_eq!(item(poll_with(&mut select, &waker)), (1, 1));
    }

    /// A channel of many streams that panic therefore gets only its share.
    #[test]
    fn of_a_stream_are_charged_as_an_event() {
        let (multiplexer, streams) = pairs(2);
        let mut select = multiplexer.select();
        (0..2).for_each(|channel| select.add(channel, Share::new()).unwrap());
        settle(&mut select, Waker::noop());
        streams[0].1.panic();
        streams[1].1.push(1);
        assert!(catch_unwind(AssertUnwindSafe(|| poll(&mut select))).is_err());
        assert_eq!(select.stats().events, 0);
        assert_eq!(item(poll(&mut select)), (1, 1));
        assert_eq!(poll(&mut select), Ready(Some((0, streams[0].0, StreamEvent::Removed))));
        assert_eq!(select.stats().events, 2);
    }

    /// The event is yielded first and not lost; the panic is charged 1. In a relief round and outside of one.
    #[test]
    fn count_as_events() {
        let (multiplexer, streams) = pairs(3);
        let mut select = select(&multiplexer);
        select.starvation_bound(every(2));
        let others: Vec<_> = (0..9).map(|at| add_pair(&multiplexer, at % 2)).collect();
        others.iter().for_each(|(_, feed, _)| feed.panic());
        streams.iter().for_each(|(_, feed)| (0..9).for_each(|_| feed.push(0)));
        let mut panics = 0;
        // Two turns of the first channel, and one of each other channel.
        for channel in [0, 0, 1, 2].into_iter().cycle().take(24) {
            match catch_unwind(AssertUnwindSafe(|| poll(&mut select))) {
                Ok(event) => assert!(matches!(event, Ready(Some((of, ..))) if of == channel), "{event:?}"),
                Err(_) => panics += 1,
            }
        }
        assert_eq!(panics, 9);
    }

    #[test]
    fn of_the_cost_come_after_the_event() {
        [false, true].into_iter().for_each(of_the_cost);
    }

    fn of_the_cost(pace_changes: bool) {
        let (multiplexer, streams) = pairs(1);
        let mut select = select(&multiplexer);
        select.cost(|item| if *item == 7 { panic!("as the test wants") } else { 5 });
        [1, 7, 1].into_iter().for_each(|number| streams[0].1.push(number));
        let mut buffer = Vec::new();
        assert_eq!(select.recv_many(&mut buffer, 9).now_or_never(), Some(2));
        if pace_changes {
            select.yield_every(NEVER);
        }
        assert!(catch_unwind(AssertUnwindSafe(|| poll(&mut select))).is_err());
        assert_eq!(item(poll(&mut select)), (0, 1));
        let stats = select.stats();
        assert_eq!((stats.events, stats.channels[0].turns, stats.channels[0].cost), (3, 3, 11));
    }

    /// The cost function is called with no lock held.
    #[test]
    fn are_not_needed_to_use_the_multiplexer_in_the_cost() {
        let multiplexer = Arc::new(Multiplexer::without_sinks());
        multiplexer.add_channel(0).unwrap();
        let id = multiplexer.add_stream(stream::repeat(()), 0).unwrap();
        let mut select = multiplexer.select();
        select.add(0, Share::new()).unwrap();
        let handle = Arc::clone(&multiplexer);
        select.cost(move |()| {
            assert_eq!(handle.channel_of(id), Some(0));
            let _ = handle.try_recv(0);
            handle.channel_len(0).unwrap() as u64
        });
        assert!(poll(&mut select).is_ready());
        assert_eq!(select.stats().channels[0].cost, 1);
    }
}

mod unflushed_sinks {
    use super::*;
    use std::io::{Read, Write};
    use std::net::{TcpListener, TcpStream};
    use stream_multiplexer::TrySendError;
    use support::Broken;

    /// A pair whose sink does not flush, and has one item.
    fn unflushed(multiplexer: &Pairs, channel: ChannelId) -> (StreamId, Feed<u32>, Gatekeeper<u32>) {
        let (id, feed, keeper) = add_pair(multiplexer, channel);
        keeper.set_flushes(false);
        multiplexer.try_send(id, 1).unwrap();
        (id, feed, keeper)
    }

    #[test]
    fn are_flushed_when_they_wake() {
        let (multiplexer, _streams) = pairs(2);
        let mut select = select(&multiplexer);
        let (wakes, waker) = Wakes::new();
        settle(&mut select, &waker);
        wakes.take();
        let (_, _, keeper) = unflushed(&multiplexer, 1);
        assert!(matches!(wakes.take(), 1..=2), "by the channel and the sink, at most");
        settle(&mut select, &waker);
        wakes.take();
        keeper.set_flushes(true);
        assert_eq!(wakes.take(), 1);
        assert_eq!(poll_with(&mut select, &waker), Pending);
        assert_eq!(keeper.flushed(), 1);
        keeper.take_polls();
        settle(&mut select, &waker);
        assert_eq!((keeper.take_polls(), wakes.take()), (0, 0), "it has nothing more to do");
    }

    #[test]
    fn are_found_if_they_were_there_before_and_wherever_they_are() {
        let (multiplexer, _streams) = pairs(2);
        let (_, _, keeper) = unflushed(&multiplexer, 1);
        keeper.set_flushes(true);
        let mut select = multiplexer.select();
        select.add(0, Share::new()).unwrap();
        settle(&mut select, Waker::noop());
        assert_eq!(keeper.flushed(), 1);
    }

    #[test]
    fn are_left_alone_if_it_does_not_drive_them() {
        let (multiplexer, _streams) = pairs(1);
        let mut select = select(&multiplexer);
        let (wakes, waker) = Wakes::new();
        select.drive_flushes(false);
        settle(&mut select, &waker);
        wakes.take();
        let (_, _, keeper) = unflushed(&multiplexer, 0);
        settle(&mut select, &waker);
        keeper.set_flushes(true);
        assert_eq!(wakes.take(), 1, "by the stream that came");
        settle(&mut select, &waker);
        assert_eq!(keeper.flushed(), 0);
        select.drive_flushes(true);
        assert_eq!(wakes.take(), 1);
        settle(&mut select, &waker);
        assert_eq!(keeper.flushed(), 1);
    }

    #[test]
    fn are_left_to_another_driver_if_it_drives_them_no_more() {
        [false, true].into_iter().for_each(are_left_to_another_driver);
    }

    /// Whether the select waits for them, or might have something to flush.
    fn are_left_to_another_driver(it_waits: bool) {
        let (multiplexer, _streams) = pairs(1);
        let mut select = select(&multiplexer);
        let mut flusher = multiplexer.flusher::<u32>();
        let (id, _, keeper) = unflushed(&multiplexer, 0);
        if it_waits {
            settle(&mut select, Waker::noop());
        }
        assert_eq!(poll(&mut flusher), Pending);
        keeper.take_polls();
        keeper.fail();
        select.drive_flushes(false);
        settle(&mut select, Waker::noop());
        assert_eq!(keeper.take_polls(), 0);
        assert_eq!(poll(&mut flusher), Ready(Some((id, Broken))));
    }

    /// Before each event, at most one sink is flushed. However many are flushed without a yield, it goes on with them.
    #[test]
    fn do_not_hold_up_events() {
        let (multiplexer, streams) = pairs(1);
        let mut select = select(&multiplexer);
        let keepers: Vec<_> = (0..150).map(|_| unflushed(&multiplexer, 0)).collect();
        // All streams and sinks have been polled in vain, at most 64 in a call.
        (0..6).for_each(|_| settle(&mut select, Waker::noop()));
        for (_, _, keeper) in &keepers {
            // The polls of `try_send` do not count.
            keeper.take_polls();
            keeper.set_flushes(true);
        }
        (0..199).for_each(|_| streams[0].1.push(0));
        let mut flushes = 0;
        for _ in 0..199 {
            assert_eq!(item(poll(&mut select)).0, 0);
            let now: usize = keepers.iter().map(|(_, _, keeper)| keeper.take_polls()).sum();
            assert!(now <= 1, "{now}");
            flushes += now;
        }
        assert_eq!(flushes, 150);
    }

    /// One before each event, also within a batch of the only ready channel.
    #[test]
    fn are_flushed_within_a_batch() {
        let (multiplexer, streams) = pairs(1);
        let mut select = select(&multiplexer);
        let keepers = [(); 5].map(|()| unflushed(&multiplexer, 0).2);
        settle(&mut select, Waker::noop());
        keepers.iter().for_each(|keeper| keeper.set_flushes(true));
        (0..9).for_each(|_| streams[0].1.push(0));
        assert_eq!(select.recv_many(&mut Vec::new(), 9).now_or_never(), Some(9));
        assert_eq!(keepers.map(|keeper| keeper.flushed()), [1; 5]);
    }

    /// A sink that wakes itself in each flush, in vain.
    struct Restless(Arc<AtomicUsize>);

    impl Sink<u32> for Restless {
        type Error = Broken;

        fn poll_ready(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<Result<(), Broken>> {
            Ready(Ok(()))
        }

        fn start_send(self: Pin<&mut Self>, _: u32) -> Result<(), Broken> {
            Ok(())
        }

        fn poll_flush(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Result<(), Broken>> {
            self.0.fetch_add(1, SeqCst);
            cx.waker().wake_by_ref();
            Pending
        }

        fn poll_close(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Result<(), Broken>> {
            self.poll_flush(cx)
        }
    }

    /// As with streams that wake themselves, the select yields after two in a row.
    #[test]
    fn that_only_wake_themselves_make_it_yield() {
        let multiplexer = Multiplexer::<Pipe<u32>, Restless>::new();
        multiplexer.add_channel(0).unwrap();
        let mut select = multiplexer.select();
        select.add(0, Share::new()).unwrap();
        let (polls, (feed, stream)) = (Arc::new(AtomicUsize::new(0)), pipe());
        let id = multiplexer.add_stream_pair(Restless(Arc::clone(&polls)), stream, 0).unwrap();
        assert_eq!(multiplexer.try_send(id, 1), Ok(()));
        let (wakes, waker) = Wakes::new();
        for _ in 0..9 {
            polls.store(0, SeqCst);
            assert_eq!(poll_with(&mut select, &waker), Pending);
            assert_eq!((polls.load(SeqCst), wakes.take()), (2, 1));
        }
        feed.push(7);
        assert!(matches!(poll_with(&mut select, &waker), Ready(Some((0, _, StreamEvent::Item(7))))));
    }

    /// 40 sinks are flushed before 40 events with a yield after each, 40 others after them, and 40 after a sleep: no call
    /// flushes 64.
    #[test]
    fn are_counted_anew_after_a_yield_and_after_a_sleep() {
        let (multiplexer, streams) = pairs(1);
        let mut select = select(&multiplexer);
        let keepers: Vec<_> = (0..120).map(|_| unflushed(&multiplexer, 0).2).collect();
        settle(&mut select, Waker::noop());
        settle(&mut select, Waker::noop());
        select.yield_every(every(1));
        keepers[..80].iter().for_each(|keeper| keeper.set_flushes(true));
        let (wakes, waker) = Wakes::new();
        for _ in 0..40 {
            streams[0].1.push(1);
            assert_eq!(item(poll_with(&mut select, &waker)), (0, 1));
            assert_eq!((poll_with(&mut select, &waker), wakes.take()), (Pending, 1));
        }
        let flushed = || keepers.iter().filter(|keeper| keeper.flushed() == 1).count();
        assert_eq!(flushed(), 40);
        assert_eq!((poll_with(&mut select, &waker), wakes.take()), (Pending, 0));
        assert_eq!(flushed(), 80);
        keepers[80..].iter().for_each(|keeper| keeper.set_flushes(true));
        assert_eq!(wakes.take(), 1);
        assert_eq!((poll_with(&mut select, &waker), wakes.take()), (Pending, 0));
        assert_eq!(flushed(), 120);
    }

    /// Failures are events.
    #[test]
    fn that_fail_count_when_it_yields() {
        let (multiplexer, _streams) = pairs(1);
        let mut select = select(&multiplexer);
        settle(&mut select, Waker::noop());
        (0..9).map(|_| unflushed(&multiplexer, 0)).for_each(|(_, _, keeper)| keeper.fail());
        select.yield_every(every(3));
        let polled: Vec<_> = (0..12).map(|_| poll(&mut select).is_ready()).collect();
        let expected = [[true, true, true, false]; 3].concat();
        assert_eq!(polled, expected);
        assert_eq!((select.stats().events, select.stats().yields), (9, 3));
    }

    /// A turn that yields no event, after which the select returns `Pending`, still is a turn.
    #[test]
    fn are_flushed_beside_streams_that_only_wake_themselves() {
        let multiplexer = Multiplexer::<Tap, Gate<u32>>::new();
        multiplexer.add_channel(0).unwrap();
        let mut select = multiplexer.select();
        select.add(0, Share::new()).unwrap();
        let (keeper, sink) = gate(99);
        let tap = Tap { flows: Rc::new(Cell::new(false)) };
        let id = multiplexer.add_stream_pair(sink, tap, 0).unwrap();
        for flushed in 1..=3 {
            keeper.set_flushes(false);
            multiplexer.try_send(id, 1).unwrap();
            assert_eq!(poll(&mut select), Pending);
            keeper.set_flushes(true);
            (0..3).for_each(|_| assert_eq!(poll(&mut select), Pending));
            assert_eq!(keeper.flushed(), flushed);
        }
    }

    #[test]
    fn that_fail_are_reported_once() {
        let (multiplexer, streams) = pairs(2);
        let mut select = multiplexer.select();
        select.add(0, Share::new()).unwrap();
        let (wakes, waker) = Wakes::new();
        let (id, feed, keeper) = unflushed(&multiplexer, 1);
        settle(&mut select, &waker);
        wakes.take();
        keeper.fail();
        assert_eq!(wakes.take(), 1);
        // The select does not contain its channel.
        assert_eq!(poll_with(&mut select, &waker), Ready(Some((1, id, StreamEvent::SinkFailed))));
        assert_eq!(StreamEvent::<u32>::SinkFailed.item(), None);
        settle(&mut select, &waker);
        assert!(matches!(multiplexer.try_send(id, 2), Err(TrySendError::Closed(2))));
        assert_eq!(multiplexer.channel_of(id), Some(1), "the pair stays");
        select.add(1, Share::new()).unwrap();
        feed.push(4);
        assert_eq!(item(poll_with(&mut select, &waker)), (1, 4));
        drop(multiplexer.remove_stream(id));
        assert_eq!(poll_with(&mut select, &waker), Ready(Some((1, id, StreamEvent::Removed))));
        assert_eq!(streams.len(), 2);
    }

    /// However many sinks fail, at most one failure is yielded between two events.
    #[test]
    fn that_fail_do_not_hold_up_events() {
        let (multiplexer, streams) = pairs(1);
        let mut select = select(&multiplexer);
        let failing: Vec<_> = (0..9).map(|_| unflushed(&multiplexer, 0)).collect();
        settle(&mut select, Waker::noop());
        failing.iter().for_each(|(_, _, keeper)| keeper.fail());
        (0..30).for_each(|_| streams[0].1.push(0));
        let mut failed = Vec::new();
        let mut in_a_row = 0;
        while let Ready(Some((_, id, event))) = poll(&mut select) {
            in_a_row = if event == StreamEvent::SinkFailed { in_a_row + 1 } else { 0 };
            assert!(in_a_row < 2);
            failed.extend((event == StreamEvent::SinkFailed).then_some(id));
        }
        failed.sort_unstable();
        assert_eq!(failed, failing.iter().map(|(id, _, _)| *id).collect::<Vec<_>>());
    }

    /// Failures are dropped with a pair that is removed before they are reported: no event follows `Removed`.
    #[test]
    fn that_are_gone_are_not_reported() {
        let (multiplexer, _streams) = pairs(1);
        let mut select = select(&multiplexer);
        let (id, _, keeper) = unflushed(&multiplexer, 0);
        settle(&mut select, Waker::noop());
        keeper.fail();
        drop(multiplexer.remove_stream(id));
        assert_eq!(poll(&mut select), Ready(Some((0, id, StreamEvent::Removed))));
        assert_eq!(poll(&mut select), Pending);
    }

    #[test]
    fn that_panic_are_removed() {
        let (multiplexer, _streams) = pairs(1);
        let mut select = select(&multiplexer);
        let (id, _, keeper) = unflushed(&multiplexer, 0);
        settle(&mut select, Waker::noop());
        keeper.panic();
        assert!(catch_unwind(AssertUnwindSafe(|| poll(&mut select))).is_err());
        assert_eq!(poll(&mut select), Ready(Some((0, id, StreamEvent::Removed))));
        assert_eq!(poll(&mut select), Pending);
    }

    /// The select cannot flush the sinks before the first send, which determines the item type.
    #[test]
    fn without_a_send_are_flushed_once_the_item_type_is_known() {
        let (multiplexer, streams) = pairs(1);
        let mut select = select(&multiplexer);
        let (wakes, waker) = Wakes::new();
        multiplexer.with_sink(streams[0].0, |_| {}).unwrap();
        settle(&mut select, &waker);
        wakes.take();
        let (touched, _, keeper) = add_pair(&multiplexer, 0);
        multiplexer.with_sink(touched, |_| {}).unwrap();
        settle(&mut select, &waker);
        assert_eq!(keeper.take_polls(), 0);
        wakes.take();
        let (_, _, other) = unflushed(&multiplexer, 0);
        assert_ne!(wakes.take(), 0);
        settle(&mut select, &waker);
        assert_eq!((keeper.take_polls(), other.flushed()), (1, 0));
        // A flusher also determines the item type.
        let (multiplexer, streams) = pairs(1);
        let mut select = super::select(&multiplexer);
        multiplexer.with_sink(streams[0].0, |_| {}).unwrap();
        settle(&mut select, &waker);
        wakes.take();
        assert_eq!(poll(&mut multiplexer.flusher::<u32>()), Pending);
        assert_ne!(wakes.take(), 0);
    }

    /// Items that a dropped sender had promised to flush.
    #[test]
    fn that_a_sender_left_are_flushed() {
        let (multiplexer, streams) = pairs(1);
        let mut select = select(&multiplexer);
        settle(&mut select, Waker::noop());
        let (id, _, keeper) = add_pair(&multiplexer, 0);
        let mut sender = multiplexer.sender::<u32>(id).unwrap();
        let cx = &mut Context::from_waker(Waker::noop());
        assert!(Sink::poll_ready(Pin::new(&mut sender), cx).is_ready());
        assert_eq!(Sink::start_send(Pin::new(&mut sender), 5), Ok(()));
        settle(&mut select, Waker::noop());
        assert_eq!(keeper.flushed(), 0, "the sender does it");
        drop(sender);
        settle(&mut select, Waker::noop());
        assert_eq!((keeper.flushed(), streams.len()), (1, 1));
    }

    #[test]
    fn are_shared_with_a_flusher() {
        let (multiplexer, _streams) = pairs(1);
        let mut select = select(&multiplexer);
        let mut flusher = multiplexer.flusher::<u32>();
        let (id, _, keeper) = unflushed(&multiplexer, 0);
        settle(&mut select, Waker::noop());
        assert_eq!(poll(&mut flusher), Pending);
        keeper.fail();
        assert_eq!(poll(&mut flusher), Ready(Some((id, Broken))));
        assert_eq!(poll(&mut select), Pending);
        let (_, _, keeper) = unflushed(&multiplexer, 0);
        drop(flusher);
        keeper.set_flushes(true);
        settle(&mut select, Waker::noop());
        assert_eq!(keeper.flushed(), 1);
    }

    /// A client that stops reading is sent a mebibyte, resumes reading, and receives the last byte without another send.
    #[test]
    fn of_a_client_that_reads_on_are_flushed() {
        finishes(|| {
            use tokio_util::codec::{BytesCodec, Framed};
            use tokio_util::compat::FuturesAsyncReadCompatExt;
            const SIZE: usize = 1 << 20;
            let listener = TcpListener::bind(("127.0.0.1", 0)).unwrap();
            let mut client = TcpStream::connect(listener.local_addr().unwrap()).unwrap();
            let server = async_io::Async::new(listener.accept().unwrap().0).unwrap();
            let mut framed = Framed::new(server.compat(), BytesCodec::new());
            framed.set_backpressure_boundary(2 * SIZE);
            let (sink, stream) = framed.split();
            let multiplexer = Multiplexer::new();
            multiplexer.add_channel(0).unwrap();
            let id = multiplexer.add_stream_pair(sink, stream, 0).unwrap();
            let mut select = multiplexer.select();
            select.add(0, Share::new()).unwrap();
            // The socket's buffers hold less than this while the client does not read.
            let mut sent = 0;
            while let Ok(()) = multiplexer.try_send(id, tokio_util::bytes::Bytes::from(vec![7; SIZE])) {
                sent += SIZE;
                assert!(sent < 99 * SIZE, "it takes everything");
            }
            let reading = std::thread::spawn(move || {
                let mut bytes = vec![0; sent];
                client.read_exact(&mut bytes).unwrap();
                assert!(bytes.iter().all(|byte| *byte == 7));
                client.write_all(b"all").unwrap();
            });
            // The client answers when it has the last byte. Nothing else wakes this select.
            let (channel, from, event) = block_on(select.next()).unwrap();
            assert_eq!((channel, from), (0, id));
            assert_eq!(&event.item().unwrap().unwrap()[..], b"all");
            reading.join().unwrap();
        });
    }
}
