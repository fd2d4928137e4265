//! Ours: one channel of a multiplexer, shared by handles.

use super::Peer;
use futures::Stream;
use std::pin::Pin;
use std::task::{Context, Poll, ready};
use stream_multiplexer::{ChannelReceiver, Multiplexer, StreamEvent, StreamId};

pub struct Adapter<St: 'static> {
    multiplexer: Multiplexer<St, ()>,
    receiver: ChannelReceiver<St, ()>,
}

const CHANNEL: usize = 0;

impl<St: Stream<Item = u64> + Unpin + 'static> Peer<St> for Adapter<St> {
    const NAME: &'static str = "ChannelReceiver";
    const IS_OURS: bool = true;
    const CAN_REMOVE: bool = true;
    type Key = StreamId;

    fn new(_: usize) -> Self {
        let multiplexer = Multiplexer::<St, ()>::new();
        multiplexer.add_channel(CHANNEL).expect("it is the first");
        let receiver = multiplexer.receiver(CHANNEL).expect("added above");
        Self { multiplexer, receiver }
    }

    fn insert(&mut self, stream: St) -> StreamId {
        self.multiplexer.add_stream(stream, CHANNEL).unwrap_or_else(|_| panic!("the channel is open"))
    }

    fn remove(&mut self, id: StreamId) {
        self.multiplexer.remove_stream(id).expect("it is a member");
    }

    #[inline]
    fn poll(&mut self, cx: &mut Context<'_>) -> Poll<Option<(StreamId, u64)>> {
        loop {
            match ready!(Pin::new(&mut self.receiver).poll_next(cx)) {
                Some((id, StreamEvent::Item(item))) => return Poll::Ready(Some((id, item))),
                Some(_) => {}
                None => return Poll::Ready(None),
            }
        }
    }
}
