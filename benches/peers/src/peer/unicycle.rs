//! unicycle's `StreamsUnordered`, in the form that reports which member yielded an item.

use super::Peer;
use futures::Stream;
use std::pin::Pin;
use std::task::{Context, Poll, ready};
use unicycle::IndexedStreamsUnordered;

pub struct Adapter<St>(IndexedStreamsUnordered<St>);

impl<St: Stream<Item = u64>> Peer<St> for Adapter<St> {
    const NAME: &'static str = "unicycle";
    type Key = usize;

    fn new(_: usize) -> Self {
        Self(IndexedStreamsUnordered::new())
    }

    fn insert(&mut self, stream: St) -> usize {
        self.0.push(stream)
    }

    #[inline]
    fn poll(&mut self, cx: &mut Context<'_>) -> Poll<Option<(usize, u64)>> {
        loop {
            match ready!(Pin::new(&mut self.0).poll_next(cx)) {
                Some((key, Some(item))) => return Poll::Ready(Some((key, item))),
                Some((_, None)) => {}
                None => return Poll::Ready(None),
            }
        }
    }
}
