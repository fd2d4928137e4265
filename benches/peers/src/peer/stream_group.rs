//! futures-concurrency's `StreamGroup`, in the form that reports which member yielded an item.

use super::Peer;
use futures::Stream;
use futures_concurrency::stream::StreamGroup;
use futures_concurrency::stream::stream_group::{Key, Keyed};
use std::pin::Pin;
use std::task::{Context, Poll};

pub struct Adapter<St: Stream>(Keyed<St>);

impl<St: Stream<Item = u64> + Unpin> Peer<St> for Adapter<St> {
    const NAME: &'static str = "futures-concurrency StreamGroup";
    const CAN_REMOVE: bool = true;
    const SCANS_ALL: bool = true;
    type Key = Key;

    fn new(_: usize) -> Self {
        Self(StreamGroup::new().keyed())
    }

    fn insert(&mut self, stream: St) -> Key {
        self.0.insert(stream)
    }

    fn remove(&mut self, key: Key) {
        assert!(self.0.remove(key), "it is a member");
    }

    #[inline]
    fn poll(&mut self, cx: &mut Context<'_>) -> Poll<Option<(Key, u64)>> {
        Pin::new(&mut self.0).poll_next(cx)
    }
}
