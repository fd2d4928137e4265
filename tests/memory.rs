//! Memory after a burst, in bytes: `shrink_to_fit` releases it.
#![allow(unsafe_code, reason = "a global allocator can be had in no other way; nothing else here is unsafe")]

mod support;

use futures::Stream;
use std::alloc::{GlobalAlloc, Layout, System};
use std::cell::Cell;
use std::hint::black_box;
use std::pin::Pin;
use std::rc::Rc;
use std::task::{Context, Poll, Waker};
use stream_multiplexer::{Multiplexer, Share, StreamId, StreamSlab};
use support::poll;

/// The system's allocator; counts the bytes that each thread holds.
struct Counting;

thread_local! {
    static BYTES: Cell<usize> = const { Cell::new(0) };
}

#[global_allocator]
static COUNTING: Counting = Counting;

fn count(change: impl FnOnce(usize) -> usize) {
    // Fails during the end of a thread, which no test counts.
    let _ = BYTES.try_with(|bytes| bytes.set(change(bytes.get())));
}

// SAFETY: each method passes its arguments unchanged to the system's allocator, and returns its result.
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        count(|bytes| bytes.wrapping_add(layout.size()));
        // SAFETY: the caller upholds the same contract.
        unsafe { System.alloc(layout) }
    }

    unsafe fn dealloc(&self, block: *mut u8, layout: Layout) {
        // Wraps below 0 if another thread made the allocation. Only differences are used.
        count(|bytes| bytes.wrapping_sub(layout.size()));
        // SAFETY: as in `alloc`.
        unsafe { System.dealloc(block, layout) }
    }

    unsafe fn realloc(&self, block: *mut u8, layout: Layout, size: usize) -> *mut u8 {
        count(|bytes| bytes.wrapping_add(size).wrapping_sub(layout.size()));
        // SAFETY: as in `alloc`.
        unsafe { System.realloc(block, layout, size) }
    }
}

/// Returns how many more bytes this thread holds after `work`, while its result is alive.
fn held<T>(work: impl FnOnce() -> T) -> (usize, T) {
    let before = BYTES.get();
    let value = work();
    (BYTES.get().wrapping_sub(before), value)
}

#[test]
fn the_counter_counts() {
    assert_eq!(held(|| ()).0, 0);
    assert_eq!(held(|| black_box(Box::new(1_u64))).0, 8);
    assert_eq!(held(|| drop(black_box(vec![0_u8; 9]))).0, 0);
    let grown = held(|| {
        let mut grown = black_box(Vec::<u64>::with_capacity(1));
        grown.reserve_exact(5);
        grown
    });
    assert_eq!(grown.0, 40);
}

/// A member that yields nothing until it is woken. It allocates nothing.
#[derive(Clone, Default)]
struct Hand(Option<Rc<Cell<Option<Waker>>>>);

impl Hand {
    /// A member that leaves its waker for the test.
    fn watched() -> Self {
        Self(Some(Rc::default()))
    }

    fn waker(&self) -> Waker {
        self.0.as_ref().and_then(|waker| waker.take()).expect("it is watched and was polled")
    }
}

impl Stream for Hand {
    type Item = ();

    fn poll_next(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<()>> {
        if let Some(waker) = &self.0 {
            waker.set(Some(cx.waker().clone()));
        }
        Poll::Pending
    }
}

const BURST: usize = 64_000;

/// A slab after a burst of members, all of which were polled.
fn burst() -> StreamSlab<Hand> {
    let mut slab: StreamSlab<_> = (0..BURST).map(|_| Hand::default()).collect();
    settle(&mut slab);
    slab
}

/// Polls until all woken members have had their turn, 64 in a call. Leaves no task in the slab, which would be counted.
fn settle(slab: &mut StreamSlab<Hand>) {
    (0..BURST.div_ceil(64)).for_each(|_| _ = poll(slab));
}

/// The bytes of an empty slab.
fn empty() -> usize {
    held(StreamSlab::<Hand>::new).0
}

/// The additional bytes of a member: its slot, its waker, its part of the words, and rounding.
const PER_MEMBER: usize = 100;

/// The bytes of the first words, which the first member needs.
const FIRST_WORDS: usize = 200;

/// The bytes of a vacant slot below the highest key in use, including its part of the words.
const PER_KEY: usize = 32;

#[test]
fn after_a_burst_an_empty_slab_holds_what_a_new_one_does() {
    let leave: [fn(&mut StreamSlab<Hand>); 3] = [
        StreamSlab::clear,
        |slab| slab.retain(|_, _| false),
        |slab| (0..BURST).for_each(|key| drop(slab.remove(key))),
    ];
    for leave in leave {
        let (bytes, slab) = held(|| {
            let mut slab = burst();
            leave(&mut slab);
            assert_eq!(poll(&mut slab), Poll::Ready(None));
            slab.shrink_to_fit();
            slab
        });
        assert_eq!(bytes, empty());
        assert_eq!(slab.capacity(), 0);
    }
}

#[test]
fn without_being_asked_it_keeps_all_for_the_next_burst() {
    let (bytes, mut slab) = held(|| {
        let mut slab = burst();
        slab.clear();
        slab
    });
    assert!(bytes > BURST * PER_MEMBER / 2);
    let again = || {
        slab.extend((0..BURST).map(|_| Hand::default()));
        settle(&mut slab);
    };
    assert_eq!(held(again).0, 0);
}

#[test]
fn after_a_burst_it_holds_what_is_left() {
    for left in [1, 10, 1_000, 60_000] {
        let (bytes, slab) = held(|| {
            let mut slab = burst();
            slab.retain(|key, _| key < left);
            slab.shrink_to_fit();
            slab
        });
        assert!(bytes <= empty() + FIRST_WORDS + left * PER_MEMBER, "{bytes} bytes for {left}");
        assert_eq!(slab.len(), left);
    }
}

/// Keys never change, so that slots below the highest key stay, but not their wakers.
#[test]
fn after_a_burst_it_holds_the_slots_below_the_highest_key() {
    let (bytes, slab) = held(|| {
        let mut slab = burst();
        slab.retain(|key, _| key % 1_000 == 999);
        slab.shrink_to_fit();
        slab
    });
    let members = BURST / 1_000;
    assert!(bytes <= empty() + FIRST_WORDS + members * PER_MEMBER + BURST * PER_KEY, "{bytes} bytes");
    assert_eq!(slab.len(), members);
}

/// Stale wakers keep themselves and the words that they mark. Later marks are ignored.
#[test]
fn stale_wakers_hold_no_more_than_themselves() {
    for left in [0, 1, 1_000] {
        assert_eq!(held(|| hold_with_stale_wakers(left)).0, 0, "all is given back with them");
    }
}

fn hold_with_stale_wakers(left: usize) {
    const PER_STALE_WAKER: usize = 200;
    let hands: Vec<_> = (0..BURST / 1_000).map(|_| Hand::watched()).collect();
    let (bytes, (mut slab, stale)) = held(|| {
        let mut slab: StreamSlab<_> = (0..BURST)
            .map(|key| if key % 1_000 == 999 { hands[key / 1_000].clone() } else { Hand::default() })
            .collect();
        settle(&mut slab);
        let stale: Vec<_> = hands.iter().map(Hand::waker).collect();
        slab.retain(|key, _| key < left);
        stale.iter().for_each(Waker::wake_by_ref);
        slab.shrink_to_fit();
        (slab, stale)
    });
    let most = empty() + FIRST_WORDS + left * PER_MEMBER + stale.len() * PER_STALE_WAKER;
    assert!(bytes <= most, "{bytes} bytes for {left}");
    stale.iter().for_each(Waker::wake_by_ref);
    settle(&mut slab);
    assert_eq!(slab.len(), left);
}

/// A multiplexer.
mod multiplexer {
    use super::*;
    use futures::Sink;
    use futures::stream::{self, PollFn};
    use std::cell::Cell;
    use std::rc::Rc;
    use stream_multiplexer::ChannelOptions;
    use support::Drain;

    const CHANNEL: usize = 1;
    const OTHER: usize = 2;

    type Pairs = Multiplexer<Hand, Drain>;

    /// A multiplexer after a burst of pairs, all of which were polled. Pairs for which `left` returns `true` stay.
    fn after_a_burst(left: impl Fn(usize) -> bool) -> (Pairs, Vec<StreamId>) {
        let multiplexer = Pairs::new();
        multiplexer.add_channel(CHANNEL).unwrap();
        multiplexer.add_channel(OTHER).unwrap();
        let add = |_| multiplexer.add_stream_pair(Drain, Hand::default(), CHANNEL).unwrap();
        let ids: Vec<_> = (0..BURST).map(add).collect();
        settle(&multiplexer);
        let (left, gone): (Vec<_>, _) = ids.into_iter().enumerate().partition(|(number, _)| left(*number));
        gone.into_iter().for_each(|(_, id)| assert!(multiplexer.discard_stream(id)));
        let mut receiver = multiplexer.receiver(CHANNEL).unwrap();
        while poll(&mut receiver).is_ready() {}
        drop(receiver);
        (multiplexer, left.into_iter().map(|(_, id)| id).collect())
    }

    fn settle(multiplexer: &Pairs) {
        let mut receiver = multiplexer.receiver(CHANNEL).unwrap();
        (0..BURST.div_ceil(64)).for_each(|_| _ = poll(&mut receiver));
    }

    fn empty() -> usize {
        held(|| after_a_burst_of_nothing().0).0
    }

    fn after_a_burst_of_nothing() -> (Pairs, Vec<StreamId>) {
        let multiplexer = Pairs::new();
        multiplexer.add_channel(CHANNEL).unwrap();
        multiplexer.add_channel(OTHER).unwrap();
        (multiplexer, Vec::new())
    }

    /// The bytes of a pair: the stream with its box, slot and waker, the sink, the registry's entry, and rounding.
    const PER_PAIR: usize = 336;

    #[test]
    fn after_a_burst_it_holds_what_is_left() {
        for left in [0, 1, 1_000, 30_000] {
            let (bytes, multiplexer) = held(|| {
                let (multiplexer, _) = after_a_burst(|number| number < left);
                multiplexer.shrink_to_fit();
                multiplexer
            });
            assert!(bytes <= empty() + 1_000 + left * PER_PAIR, "{bytes} bytes for {left}, {}", empty());
            assert_eq!(multiplexer.channel_len(CHANNEL), Some(left));
        }
    }

    /// Members change their slots, but ids never change: their places stay, 24 bytes each, up to the last one in use.
    #[test]
    fn after_a_burst_it_holds_the_places_of_ids_below_the_last() {
        let (bytes, multiplexer) = held(|| {
            let (multiplexer, _) = after_a_burst(|number| number % 1_000 == 999);
            multiplexer.shrink_to_fit();
            multiplexer
        });
        let left = BURST / 1_000;
        assert!(bytes <= empty() + 1_000 + left * PER_PAIR + BURST * 24, "{bytes} bytes");
        assert_eq!(multiplexer.channel_len(CHANNEL), Some(left));
    }

    /// A sink that never flushes.
    struct Stuck;

    impl Sink<()> for Stuck {
        type Error = ();

        fn poll_ready(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<Result<(), ()>> {
            Poll::Ready(Ok(()))
        }

        fn start_send(self: Pin<&mut Self>, (): ()) -> Result<(), ()> {
            Ok(())
        }

        fn poll_flush(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<Result<(), ()>> {
            Poll::Pending
        }

        fn poll_close(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<Result<(), ()>> {
            Poll::Pending
        }
    }

    /// The places and wakers of earlier unflushed sinks are not kept.
    #[test]
    fn after_a_burst_of_unflushed_sinks_it_holds_what_is_left() {
        let after = |burst: usize| {
            held(|| {
                let multiplexer = Multiplexer::<Hand, Stuck>::new();
                multiplexer
                    .add_channel_with(CHANNEL, ChannelOptions::new().report_departures(false))
                    .unwrap();
                let flusher = multiplexer.flusher::<()>();
                let add = |_| multiplexer.add_stream_pair(Stuck, Hand::default(), CHANNEL).unwrap();
                let ids: Vec<_> = (0..burst).map(add).collect();
                ids.iter().for_each(|id| multiplexer.try_send(*id, ()).unwrap());
                ids.iter().for_each(|id| assert!(multiplexer.discard_stream(*id)));
                multiplexer.shrink_to_fit();
                (multiplexer, flusher)
            })
            .0
        };
        let (bytes, none) = (after(BURST), after(0));
        assert!(bytes <= none + 1_000, "{bytes} bytes, {none}");
    }

    type Polled = PollFn<Box<dyn FnMut(&mut Context<'_>) -> Poll<Option<()>>>>;

    /// A stream that is moved back and forth during its poll has been in each channel many times. If departures are not
    /// reported, no memory is kept for these stays.
    #[test]
    fn moves_that_are_not_reported_hold_nothing() {
        let multiplexer = Rc::new(Multiplexer::<Polled, Stuck>::new());
        for channel in [CHANNEL, OTHER] {
            let options = ChannelOptions::new().report_departures(false).max_streams(1);
            multiplexer.add_channel_with(channel, options).unwrap();
        }
        let (handle, bytes) = (Rc::clone(&multiplexer), Rc::new(Cell::new(usize::MAX)));
        let held_by_moves = Rc::clone(&bytes);
        let poll: Box<dyn FnMut(&mut Context<'_>) -> _> = Box::new(move |_| {
            let id = handle.channel_streams(CHANNEL).unwrap()[0];
            let to_and_fro = || [OTHER, CHANNEL].map(|to| handle.change_stream_channel(id, to).unwrap());
            to_and_fro();
            let moves = held(|| (0..1_000).for_each(|_| _ = to_and_fro()));
            held_by_moves.set(moves.0);
            Poll::Pending
        });
        multiplexer.add_stream(stream::poll_fn(poll), CHANNEL).unwrap();
        assert!(multiplexer.try_recv(CHANNEL).is_err());
        assert!(bytes.get() <= 200, "{} bytes", bytes.get());
    }

    /// A stale waker that foreign code keeps holds its own memory, and the words that it marks.
    #[test]
    fn stale_wakers_do_no_harm() {
        let multiplexer = Pairs::new();
        multiplexer.add_channel(CHANNEL).unwrap();
        let hands: Vec<_> = (0..2_000).map(|_| Hand::watched()).collect();
        let add = |hand: &Hand| multiplexer.add_stream_pair(Drain, hand.clone(), CHANNEL).unwrap();
        let ids: Vec<_> = hands.iter().map(add).collect();
        settle(&multiplexer);
        let stale: Vec<_> = hands.iter().map(Hand::waker).collect();
        ids[10..].iter().for_each(|id| assert!(multiplexer.discard_stream(*id)));
        let (freed, ()) = held(|| multiplexer.shrink_to_fit());
        assert!((freed as isize) < 0, "it gives back something");
        stale.iter().for_each(Waker::wake_by_ref);
        settle(&multiplexer);
        stale.iter().for_each(Waker::wake_by_ref);
        // Present members are polled, with their own wakers.
        let again: Vec<_> = hands[..10].iter().map(Hand::waker).collect();
        again.iter().for_each(Waker::wake_by_ref);
        settle(&multiplexer);
        hands[..10].iter().for_each(|hand| drop(hand.waker()));
        assert_eq!(multiplexer.channel_streams(CHANNEL).unwrap(), ids[..10]);
    }

    /// Streams stay in their channels, and can be moved, removed and waited for.
    #[test]
    fn nothing_else_changes() {
        let (multiplexer, ids) = after_a_burst(|number| number % 9_999 == 0);
        let mut receiver = multiplexer.receiver(CHANNEL).unwrap();
        multiplexer.change_stream_channel(ids[1], OTHER).unwrap();
        multiplexer.change_stream_channel(ids[1], CHANNEL).unwrap();
        multiplexer.change_stream_channel(ids[2], OTHER).unwrap();
        multiplexer.shrink_to_fit();
        let moved: Vec<_> = std::iter::from_fn(|| match poll(&mut receiver) {
            Poll::Ready(event) => event.map(|(id, _)| id),
            Poll::Pending => None,
        })
        .collect();
        assert_eq!(moved, ids[1..=2]);
        for id in &ids {
            let channel = if *id == ids[2] { OTHER } else { CHANNEL };
            assert_eq!(multiplexer.channel_of(*id), Some(channel));
            assert!(multiplexer.with_stream(*id, |_| ()).is_ok());
            assert!(multiplexer.remove_stream(*id).unwrap().stream.is_some());
        }
    }
}

/// As documented. 513 channels are the worst case: the tables have just doubled.
#[test]
fn a_channel_of_a_select_takes_no_more_than_documented() {
    for channels in [100_u32, 513, 1_000] {
        let multiplexer = Multiplexer::<Hand>::without_sinks();
        (0..channels).for_each(|channel| multiplexer.add_channel(channel as usize).unwrap());
        let (bytes, select) = held(|| {
            let mut select = multiplexer.select();
            for channel in 0..channels {
                select.add(channel as usize, Share::new().priority(channel)).unwrap();
            }
            assert!(poll(&mut select).is_pending());
            select
        });
        let bytes = bytes / channels as usize;
        assert!((300..700).contains(&bytes), "{bytes} bytes for each of {channels} channels");
        drop(select);
    }
}
