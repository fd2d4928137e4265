//! A stream that is not `Unpin` keeps its address in memory from its first poll to its drop.

use crate::support::{Drain, finishes, poll};
use crate::{A, B};
use futures::Stream;
use pollster::block_on;
use std::collections::BTreeMap;
use std::marker::{PhantomData, PhantomPinned};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::pin::Pin;
use std::ptr;
use std::sync::atomic::{AtomicU32, AtomicUsize, Ordering};
use std::task::{Context, Poll};
use std::thread;
use stream_multiplexer::{ChannelId, ChannelOptions, Multiplexer, StreamId};

/// Counts up to a number, and remembers its address in memory. Yields an item in every other poll.
struct Anchored<M = PhantomPinned> {
    /// 0 before the first poll.
    address: AtomicUsize,
    polls: AtomicU32,
    end: u32,
    marker: PhantomData<M>,
}

impl<M> Anchored<M> {
    fn new(end: u32) -> Self {
        Self { address: AtomicUsize::new(0), polls: AtomicU32::new(0), end, marker: PhantomData }
    }

    /// Panics if the stream was moved in memory since its first poll.
    fn assert_is_where_it_was(&self) {
        let first = self.address.load(Ordering::Relaxed);
        assert!(first == 0 || first == ptr::from_ref(self).addr(), "it was moved in memory");
    }
}

impl<M> Stream for Anchored<M> {
    type Item = u32;

    fn poll_next(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<u32>> {
        let this = self.as_ref().get_ref();
        this.assert_is_where_it_was();
        this.address.store(ptr::from_ref(this).addr(), Ordering::Relaxed);
        let polls = this.polls.fetch_add(1, Ordering::Relaxed);
        if polls % 2 == 0 {
            cx.waker().wake_by_ref();
            return Poll::Pending;
        }
        Poll::Ready((polls / 2 < this.end).then_some(polls / 2))
    }
}

impl<M> Drop for Anchored<M> {
    fn drop(&mut self) {
        self.assert_is_where_it_was();
    }
}

/// Checks the test's own stream: it notices a move if it is `Unpin`, and may be moved.
#[test]
fn a_move_in_memory_is_noticed() {
    let mut streams = [(); 2].map(|()| Anchored::<()>::new(1));
    assert!(poll(&mut streams[0]).is_pending());
    streams[0].assert_is_where_it_was();
    streams.swap(0, 1);
    assert!(catch_unwind(AssertUnwindSafe(|| streams[1].assert_is_where_it_was())).is_err());
    streams.swap(0, 1);
}

type Pairs = Multiplexer<Anchored, Drain>;

/// Streams that have ended stay in channel `B`.
fn multiplexer() -> Pairs {
    let multiplexer = Multiplexer::new();
    multiplexer.add_channel(A).unwrap();
    multiplexer.add_channel_with(B, ChannelOptions::new().half_close(true)).unwrap();
    multiplexer
}

/// Other streams come and go, so that all containers grow.
#[test]
fn is_one_whatever_happens_to_a_member() {
    let multiplexer = multiplexer();
    let mut ids = Vec::new();
    let mut received = 0;
    for round in 0..40 {
        for end in [2, 10, 10_000, 10_000, 10_000] {
            ids.push(multiplexer.add_stream_pair(Drain, Anchored::new(end), A).unwrap());
        }
        for (at, id) in ids.iter().enumerate() {
            // Some streams were removed, and some have ended.
            let _ = match (at + round) % 5 {
                0 => multiplexer.change_stream_channel(*id, A),
                3 => multiplexer.change_stream_channel(*id, B),
                2 => multiplexer.with_stream(*id, |stream| stream.assert_is_where_it_was()),
                _ => Ok(()),
            };
            if at % 20 == 5 && round % 10 == 0 {
                multiplexer.discard_stream(*id);
            }
        }
        for channel in [A, B] {
            for _ in 0..200 {
                received += multiplexer.try_recv(channel).is_ok_and(|(_, item)| item.is_some()) as usize;
            }
        }
    }
    assert!(received > 1000 && [A, B].iter().all(|channel| multiplexer.channel_len(*channel) > Some(10)));
    assert!(multiplexer.discard_channel(B));
    drop(multiplexer);
}

/// In addition, no item is lost, duplicated or reordered.
#[test]
fn is_one_among_threads() {
    const STREAMS: usize = 4;
    const ITEMS: u32 = 2_000;
    const MOVES: usize = 20_000;
    finishes(|| {
        let multiplexer = multiplexer();
        let mut ids = Vec::new();
        for _ in 0..STREAMS {
            ids.push(multiplexer.add_stream_pair(Drain, Anchored::new(ITEMS), A).unwrap());
        }
        let receiving = [A, B].map(|channel| {
            let multiplexer = multiplexer.clone();
            thread::spawn(move || receive(&multiplexer, channel))
        });
        for turn in 0..MOVES {
            // Until the stream has ended.
            let _ = multiplexer.change_stream_channel(ids[turn % STREAMS], A + turn % 3 % 2);
        }
        multiplexer.close();
        let mut received: Vec<_> = receiving.into_iter().flat_map(|thread| thread.join().unwrap()).collect();
        received.sort_unstable();
        let all = ids.iter().flat_map(|id| (0..ITEMS).map(|item| (*id, item)));
        assert!(received.into_iter().eq(all));
    });
}

/// Receives all items of a channel, those of each stream in order.
fn receive(multiplexer: &Pairs, channel: ChannelId) -> Vec<(StreamId, u32)> {
    let mut received = Vec::new();
    let mut last = BTreeMap::new();
    while let Ok((id, item)) = block_on(multiplexer.recv(channel)) {
        if let Some(item) = item {
            assert!(last.insert(id, item).is_none_or(|last| last < item), "{last:?}");
            received.push((id, item));
        }
    }
    received
}
