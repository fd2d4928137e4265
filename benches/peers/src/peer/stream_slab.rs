//! Ours: the set with one owner.

use super::Peer;
use futures::Stream;
use std::pin::Pin;
use std::task::{Context, Poll, ready};
use stream_multiplexer::StreamSlab;

pub struct Adapter<St>(StreamSlab<St>);

impl<St: Stream<Item = u64> + Unpin> Peer<St> for Adapter<St> {
    const NAME: &'static str = "StreamSlab";
    const IS_OURS: bool = true;
    const CAN_REMOVE: bool = true;
    type Key = usize;

    fn new(_: usize) -> Self {
        Self(StreamSlab::new())
    }

    fn insert(&mut self, stream: St) -> usize {
        self.0.insert(stream)
    }

    fn remove(&mut self, key: usize) {
        self.0.remove(key).expect("it is a member");
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
