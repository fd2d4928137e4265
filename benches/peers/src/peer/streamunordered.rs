//! streamunordered's `StreamUnordered`.

use super::Peer;
use futures::Stream;
use std::pin::Pin;
use std::task::{Context, Poll, ready};
use streamunordered::{StreamUnordered, StreamYield};

pub struct Adapter<St>(StreamUnordered<St>);

impl<St: Stream<Item = u64> + Unpin + 'static> Peer<St> for Adapter<St> {
    const NAME: &'static str = "streamunordered";
    const CAN_REMOVE: bool = true;
    type Key = usize;

    fn new(_: usize) -> Self {
        Self(StreamUnordered::new())
    }

    fn insert(&mut self, stream: St) -> usize {
        self.0.insert(stream)
    }

    fn remove(&mut self, key: usize) {
        Pin::new(&mut self.0).take(key).expect("it is a member");
    }

    #[inline]
    fn poll(&mut self, cx: &mut Context<'_>) -> Poll<Option<(usize, u64)>> {
        loop {
            match ready!(Pin::new(&mut self.0).poll_next(cx)) {
                Some((StreamYield::Item(item), key)) => return Poll::Ready(Some((key, item))),
                Some((StreamYield::Finished(finished), _)) => finished.remove(Pin::new(&mut self.0)),
                None => return Poll::Ready(None),
            }
        }
    }
}
