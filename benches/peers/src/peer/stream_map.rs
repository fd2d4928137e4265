//! tokio-stream's `StreamMap`.

use super::Peer;
use futures::Stream;
use std::pin::Pin;
use std::task::{Context, Poll};
use tokio_stream::StreamMap;

pub struct Adapter<St> {
    map: StreamMap<usize, St>,
    next_key: usize,
}

impl<St: Stream<Item = u64> + Unpin> Peer<St> for Adapter<St> {
    const NAME: &'static str = "tokio-stream StreamMap";
    const CAN_REMOVE: bool = true;
    const SCANS_ALL: bool = true;
    type Key = usize;

    fn new(_: usize) -> Self {
        Self { map: StreamMap::new(), next_key: 0 }
    }

    fn insert(&mut self, stream: St) -> usize {
        self.next_key += 1;
        self.map.insert(self.next_key, stream);
        self.next_key
    }

    fn remove(&mut self, key: usize) {
        self.map.remove(&key).expect("it is a member");
    }

    #[inline]
    fn poll(&mut self, cx: &mut Context<'_>) -> Poll<Option<(usize, u64)>> {
        Pin::new(&mut self.map).poll_next(cx)
    }

    /// Extends the map. `insert` would search for each key among all others, and filling the map would take longer than
    /// the measurement.
    fn fill(capacity: usize, streams: impl Iterator<Item = St>) -> (Self, Vec<usize>) {
        let mut peer = Self::new(capacity);
        peer.map.extend(streams.zip(1..).map(|(stream, key)| (key, stream)));
        peer.next_key = peer.map.len();
        let keys = (1..=peer.next_key).collect();
        (peer, keys)
    }
}
