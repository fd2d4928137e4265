//! Combinations: selects with pauses, limits and shutdowns, and behaviour after all handles were dropped.

use crate::support;
use futures::executor::block_on;
use futures::stream::BoxStream;
use futures::{FutureExt, StreamExt};
use std::sync::{Arc, Mutex};
use std::task::Poll::{Pending, Ready};
use std::task::{Context, Wake, Waker};
use stream_multiplexer::{
    ChannelId, ChannelSelect, Multiplexer, MultiplexerError, Share, StreamEvent, StreamId,
};
use support::hooked::{Hooked, Hooks, Moment};
use support::{Feed, Gate, Gatekeeper, Pipe, Wakes, finishes, gate, pipe, poll, poll_with};

type Pairs = Multiplexer<Pipe<u32>, Gate<u32>>;
type HookedPairs = Multiplexer<Hooked<Pipe<u32>>, Gate<u32>>;
type HookedSelect = ChannelSelect<Hooked<Pipe<u32>>, Gate<u32>>;

fn add(multiplexer: &Pairs, channel: ChannelId) -> (StreamId, Feed<u32>) {
    let (feed, stream) = pipe();
    (multiplexer.add_stream(stream, channel).unwrap(), feed)
}

fn add_hooked(multiplexer: &HookedPairs, channel: ChannelId) -> (Hooks, Feed<u32>) {
    let hooks = Hooks::default();
    let (feed, inner) = pipe();
    multiplexer.add_stream(Hooked { inner, hooks: hooks.clone() }, channel).unwrap();
    (hooks, feed)
}

/// A select may come to a channel that had no receiver when the handles were dropped.
mod when_all_handles_are_gone {
    use super::*;

    /// No handle could resume the channel.
    #[test]
    fn a_paused_channel_goes_on_if_a_select_comes_to_it_later() {
        let multiplexer = Pairs::new();
        (0..2).for_each(|channel| multiplexer.add_channel(channel).unwrap());
        let mut select = multiplexer.select();
        select.add(0, Share::new()).unwrap();
        multiplexer.pause_channel(1).unwrap();
        let (id, _feed) = add(&multiplexer, 1);
        drop(multiplexer.remove_stream(id));
        drop(multiplexer);
        select.add(1, Share::new()).unwrap();
        assert_eq!(poll(&mut select), Ready(Some((1, id, StreamEvent::Removed))));
        assert_eq!(poll(&mut select), Ready(None));
    }

    /// The streams of a channel without a receiver are dropped. A select that comes to it in the meantime receives its end.
    fn comes_in_the_meantime(pause: fn(&HookedPairs)) {
        let multiplexer = HookedPairs::new();
        (0..3).for_each(|channel| multiplexer.add_channel(channel).unwrap());
        let (_, _feed) = add_hooked(&multiplexer, 0);
        let (hooks, feed) = add_hooked(&multiplexer, 1);
        let (_, last) = add_hooked(&multiplexer, 2);
        pause(&multiplexer);
        multiplexer.close();
        let (wakes, waker) = Wakes::new();
        let select = Arc::new(Mutex::new(multiplexer.select()));
        let in_drop = Arc::clone(&select);
        hooks.on(Moment::Drop, move || {
            let mut select: std::sync::MutexGuard<'_, HookedSelect> = in_drop.lock().unwrap();
            select.add(2, Share::new()).unwrap();
            select.drive_flushes(false);
            assert!(poll_with(&mut *select, &waker).is_pending());
        });
        drop(multiplexer);
        assert!(feed.is_dropped() && last.is_dropped());
        assert_eq!(wakes.take(), 1);
        assert!(matches!(poll(&mut *select.lock().unwrap()), Ready(None)));
    }

    /// Whether the select comes before or after the streams are dropped.
    #[test]
    fn a_select_that_comes_from_another_thread_ends() {
        finishes(|| {
            for round in 0..1_000 {
                let multiplexer = Pairs::new();
                (0..2).for_each(|channel| multiplexer.add_channel(channel).unwrap());
                let mut select = multiplexer.select();
                select.add(0, Share::new()).unwrap();
                let feeds = [0, 1].map(|channel| add(&multiplexer, channel).1);
                let receiver = (round % 3 == 0).then(|| multiplexer.receiver(1).unwrap());
                if round % 2 == 0 {
                    multiplexer.close();
                    multiplexer.pause_channel(1).unwrap();
                }
                std::thread::scope(|threads| {
                    threads.spawn(|| drop(multiplexer));
                    threads.spawn(|| drop(receiver));
                    threads.spawn(|| {
                        select.add(1, Share::new()).unwrap();
                        assert!(select.remove(0));
                        block_on(async { while select.next().await.is_some() {} });
                    });
                    feeds[1].end();
                });
                assert!(feeds.iter().all(Feed::is_dropped));
            }
        });
    }

    #[test]
    fn a_select_that_comes_while_its_streams_are_dropped_ends() {
        comes_in_the_meantime(|_| {});
        comes_in_the_meantime(|multiplexer| multiplexer.pause_channel(2).unwrap());
    }
}

/// A task whose waker runs an action once.
struct Acts(Mutex<Option<Box<dyn FnOnce() + Send>>>);

impl Acts {
    fn waker(action: impl FnOnce() + Send + 'static) -> Waker {
        Waker::from(Arc::new(Self(Mutex::new(Some(Box::new(action))))))
    }
}

impl Wake for Acts {
    fn wake(self: Arc<Self>) {
        let action = self.0.lock().unwrap().take();
        action.into_iter().for_each(|action| action());
    }
}

/// The task of the select has been woken by the channel then, and may be woken once more.
#[test]
fn a_select_ends_when_a_missing_channel_replaces_its_only_one() {
    let multiplexer = Pairs::new();
    multiplexer.add_channel(1).unwrap();
    let (_, _feed) = add(&multiplexer, 1);
    let mut select = multiplexer.select();
    select.drive_flushes(false).add(1, Share::new()).unwrap();
    let (wakes, waker) = Wakes::new();
    assert_eq!(poll_with(&mut select, &waker), Pending);
    multiplexer.close();
    wakes.take();
    let select = Arc::new(Mutex::new(select));
    let in_wake = Arc::clone(&select);
    // The flusher is woken because the last pair is gone, in the middle of the removal.
    let mut flusher = multiplexer.flusher::<u32>();
    let flushing = Acts::waker(move || {
        let unknown = Err(MultiplexerError::UnknownChannel(1));
        assert_eq!(in_wake.lock().unwrap().add(1, Share::new()), unknown);
    });
    assert!(poll_with(&mut flusher, &flushing).is_pending());
    drop(multiplexer.remove_channel(1));
    assert_eq!(select.lock().unwrap().len(), 0);
    assert!(matches!(wakes.take(), 1..=2));
    assert_eq!(poll(&mut *select.lock().unwrap()), Ready(None));
}

mod at_a_time {
    use super::*;
    use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering::SeqCst};

    const CHANNELS: usize = 3;
    const STREAMS: usize = 40;
    const ITEMS: u32 = 150;

    /// The events of all receivers.
    #[derive(Default)]
    struct Received {
        items: AtomicUsize,
        sum: AtomicUsize,
        ended: AtomicUsize,
        moved: AtomicUsize,
    }

    impl Received {
        fn note(&self, event: StreamEvent<u32>) {
            match event {
                StreamEvent::Item(item) => {
                    self.items.fetch_add(1, SeqCst);
                    self.sum.fetch_add(item as usize, SeqCst);
                }
                StreamEvent::Ended => _ = self.ended.fetch_add(1, SeqCst),
                StreamEvent::Moved(_) => _ = self.moved.fetch_add(1, SeqCst),
                other => panic!("{other:?}"),
            }
        }
    }

    /// Random numbers, by xorshift.
    struct Random(usize);

    impl Random {
        fn below(&mut self, bound: usize) -> usize {
            self.0 ^= self.0 << 13;
            self.0 ^= self.0 >> 7;
            self.0 ^= self.0 << 17;
            self.0 % bound
        }
    }

    /// Each item and each departure is received once, whatever is paused, moved, refused and shrunk in the meantime,
    /// although one of the selects is set aside in the middle.
    #[test]
    fn nothing_is_lost_or_doubled_while_all_is_paused_moved_and_limited() {
        finishes(|| (1..=10).for_each(run));
    }

    fn run(seed: usize) {
        let multiplexer = Pairs::new();
        (0..CHANNELS).for_each(|channel| multiplexer.add_channel(channel).unwrap());
        let streams: Vec<_> = (0..STREAMS).map(|at| add(&multiplexer, at % CHANNELS)).collect();
        let (received, moves, fed) = (Received::default(), AtomicUsize::new(0), AtomicBool::new(false));
        std::thread::scope(|threads| {
            for aside in [false, true] {
                let (multiplexer, received, fed) = (&multiplexer, &received, &fed);
                threads.spawn(move || {
                    let mut select = multiplexer.select();
                    for channel in 0..CHANNELS {
                        select.add(channel, Share::new().priority(u32::from(channel == 2))).unwrap();
                    }
                    let mut random = Random(seed * 77 + 1);
                    let mut events = 0;
                    block_on(async {
                        while let Some((_, _, event)) = select.next().await {
                            received.note(event);
                            events += 1;
                            if aside && events == 500 {
                                // The select stays among the receivers, but is not polled any more.
                                while !fed.load(SeqCst) {
                                    std::thread::yield_now();
                                }
                            }
                            if aside && events % 50 == 0 {
                                let channel = random.below(CHANNELS);
                                select.remove(channel);
                                select.add(channel, Share::new().weight(3)).unwrap();
                            }
                        }
                    });
                });
            }
            let feeding: Vec<_> = (0..2)
                .map(|half| {
                    let streams = &streams;
                    threads.spawn(move || {
                        for item in 1..=ITEMS {
                            for (_, feed) in streams.iter().skip(half).step_by(2) {
                                feed.push(item);
                            }
                        }
                        streams.iter().skip(half).step_by(2).for_each(|(_, feed)| feed.end());
                    })
                })
                .collect();
            let mut random = Random(seed);
            while feeding.iter().any(|thread| !thread.is_finished()) {
                let (id, channel) = (streams[random.below(STREAMS)].0, random.below(CHANNELS));
                // These calls fail for streams that have ended, and for full channels.
                match random.below(8) {
                    0 => _ = multiplexer.pause_stream(id),
                    1 => _ = multiplexer.resume_stream(id),
                    2 => multiplexer.pause_channel(channel).unwrap(),
                    3 => multiplexer.resume_channel(channel).unwrap(),
                    4 => multiplexer.shrink_to_fit(),
                    5 => multiplexer.set_max_streams(channel, Some(15 + random.below(20))).unwrap(),
                    _ => {
                        let from = multiplexer.channel_of(id);
                        let moves_it = from.is_some_and(|from| from != channel);
                        if moves_it && multiplexer.change_stream_channel(id, channel).is_ok() {
                            moves.fetch_add(1, SeqCst);
                        }
                    }
                }
            }
            fed.store(true, SeqCst);
            multiplexer.close();
            (0..CHANNELS).for_each(|channel| multiplexer.resume_channel(channel).unwrap());
            streams.iter().for_each(|(id, _)| _ = multiplexer.resume_stream(*id));
        });
        assert_eq!(received.items.into_inner(), STREAMS * ITEMS as usize);
        assert_eq!(received.sum.into_inner(), STREAMS * (1..=ITEMS as usize).sum::<usize>());
        assert_eq!((received.ended.into_inner(), received.moved.into_inner()), (STREAMS, moves.into_inner()));
        for channel in 0..CHANNELS {
            let stats = multiplexer.stats(channel).unwrap();
            assert_eq!((stats.members, stats.paused, stats.unread_departures), (0, 0, 0));
        }
    }
}

/// Sinks are closed whether or not a task receives from their streams.
mod a_shutdown {
    use super::*;

    type Pair = (StreamId, Feed<u32>, Gatekeeper<u32>);

    /// Two pairs in a channel, one of them paused; if `channel` is set, the channel is paused, too.
    fn paused(channel: bool) -> (Pairs, [Pair; 2]) {
        let multiplexer = Pairs::new();
        multiplexer.add_channel(1).unwrap();
        let pairs = [(); 2].map(|()| {
            let ((feed, stream), (keeper, sink)) = (pipe(), gate(9));
            (multiplexer.add_stream_pair(sink, stream, 1).unwrap(), feed, keeper)
        });
        multiplexer.pause_stream(pairs[0].0).unwrap();
        if channel {
            multiplexer.pause_channel(1).unwrap();
        }
        (multiplexer, pairs)
    }

    #[test]
    fn removes_what_is_paused() {
        for channel in [false, true] {
            let (multiplexer, pairs) = paused(channel);
            let mut select = multiplexer.select();
            select.add(1, Share::new()).unwrap();
            assert_eq!(multiplexer.shutdown::<u32>().now_or_never(), Some(vec![]));
            assert!(pairs.iter().all(|(_, feed, keeper)| keeper.is_closed() && feed.is_dropped()));
            assert_eq!(multiplexer.drained(1).now_or_never(), Some(Ok(())));
            let (wakes, waker) = Wakes::new();
            if channel {
                // Departures wait in the channel.
                assert_eq!(poll_with(&mut select, &waker), Pending);
                wakes.take();
                multiplexer.resume_channel(1).unwrap();
                assert_eq!(wakes.take(), 1);
            }
            for (id, ..) in &pairs {
                assert_eq!(poll(&mut select), Ready(Some((1, *id, StreamEvent::Removed))));
            }
            assert_eq!(poll(&mut select), Ready(None));
        }
    }

    #[test]
    fn that_keeps_streams_leaves_them_paused() {
        let (multiplexer, pairs) = paused(true);
        let mut select = multiplexer.select();
        select.add(1, Share::new()).unwrap();
        assert_eq!(multiplexer.shutdown::<u32>().keep_streams().now_or_never(), Some(vec![]));
        pairs.iter().for_each(|(_, feed, _)| feed.end());
        let (wakes, waker) = Wakes::new();
        let mut drained = multiplexer.drained(1);
        for resumed in 0..2 {
            while poll_with(&mut select, &waker).is_ready() {}
            assert!(drained.poll_unpin(&mut Context::from_waker(&waker)).is_pending());
            assert_eq!(multiplexer.channel_len(1), Some(if resumed == 0 { 2 } else { 1 }));
            wakes.take();
            match resumed {
                0 => multiplexer.resume_channel(1).unwrap(),
                _ => multiplexer.resume_stream(pairs[0].0).unwrap(),
            }
            assert_eq!(wakes.take(), 1);
        }
        assert_eq!(poll(&mut select), Ready(Some((1, pairs[0].0, StreamEvent::Ended))));
        assert_eq!(poll(&mut select), Ready(None));
        assert!(drained.poll_unpin(&mut Context::from_waker(&waker)).is_ready());
    }
}

/// A member may own a select of another channel. The select wakes it, and drops that channel's streams when the channel
/// becomes unreachable.
#[test]
fn a_select_may_be_a_member() {
    let multiplexer = Multiplexer::<BoxStream<'static, u32>>::new();
    (0..2).for_each(|channel| multiplexer.add_channel(channel).unwrap());
    let mut inner = multiplexer.select();
    inner.add(1, Share::new()).unwrap();
    let member = inner.filter_map(|(_, _, event)| async move { event.item() }).boxed();
    let id = multiplexer.add_stream(member, 0).unwrap();
    let (feed, stream) = pipe();
    multiplexer.add_stream(stream.boxed(), 1).unwrap();
    let mut outer = multiplexer.select();
    outer.add(0, Share::new()).unwrap();
    let (wakes, waker) = Wakes::new();
    for item in 0..9 {
        assert_eq!(poll_with(&mut outer, &waker), Pending);
        wakes.take();
        feed.push(item);
        assert_eq!(wakes.take(), 1);
        let mut polled = poll_with(&mut outer, &waker);
        // The inner select sometimes yields.
        while polled.is_pending() && wakes.take() > 0 {
            polled = poll_with(&mut outer, &waker);
        }
        assert_eq!(polled, Ready(Some((0, id, StreamEvent::Item(item)))));
        while poll_with(&mut outer, &waker).is_pending() && wakes.take() > 0 {}
    }
    drop(multiplexer);
    assert!(!feed.is_dropped());
    drop(outer);
    assert!(feed.is_dropped());
}
