//! Slabs of [`Pipe`]s.

use crate::support::{Feed, Pipe, Wakes, pipe, poll_with};
use futures::Stream;
use std::task::Poll;
use stream_multiplexer::StreamSlab;

/// A slab of pipes, with the feed of each. The keys of its members are 0, 1, 2...
pub(crate) fn pipes(count: usize) -> (Vec<Feed<u32>>, StreamSlab<Pipe<u32>>) {
    (0..count).map(|_| pipe()).unzip()
}

/// A slab of pipes, each of which was polled once in vain.
pub(crate) fn idle_pipes(count: usize) -> (Vec<Feed<u32>>, StreamSlab<Pipe<u32>>) {
    let (feeds, mut slab) = pipes(count);
    assert_eq!(drain(&mut slab), []);
    assert!(feeds.iter().all(|feed| feed.take_polls() == 1));
    (feeds, slab)
}

/// Polls, through all yields, until the slab waits or is empty. Returns the events.
pub(crate) fn drain<St: Stream + Unpin>(slab: &mut StreamSlab<St>) -> Vec<(usize, Option<St::Item>)> {
    let (wakes, waker) = Wakes::new();
    let mut events = Vec::new();
    for _ in 0..1_000_000 {
        match poll_with(slab, &waker) {
            Poll::Ready(Some(event)) => events.push(event),
            Poll::Pending if wakes.take() > 0 => {}
            Poll::Ready(None) | Poll::Pending => return events,
        }
    }
    panic!("it does not come to rest");
}
