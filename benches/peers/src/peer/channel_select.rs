//! Ours: a select over several channels of a multiplexer.

use super::Peer;
use futures::Stream;
use std::pin::Pin;
use std::task::{Context, Poll, ready};
use stream_multiplexer::{ChannelSelect, Multiplexer, Share, StreamEvent, StreamId};

/// The members are distributed over `USED` channels. `IDLE` other channels have no members. If `RANKED` is true, each
/// channel has a distinct priority.
pub struct Adapter<St: Stream + 'static, const USED: usize, const IDLE: usize, const RANKED: bool> {
    multiplexer: Multiplexer<St, ()>,
    select: ChannelSelect<St, ()>,
    inserted: usize,
}

impl<St, const USED: usize, const IDLE: usize, const RANKED: bool> Peer<St>
    for Adapter<St, USED, IDLE, RANKED>
where
    St: Stream<Item = u64> + Unpin + 'static,
{
    const NAME: &'static str = match (USED, IDLE, RANKED) {
        (1, 0, _) => "ChannelSelect of 1",
        (1, 15, _) => "ChannelSelect of 16",
        (1, 1_000, _) => "ChannelSelect of 1001",
        (4, 0, false) => "ChannelSelect of 4 busy",
        (4, 0, true) => "ChannelSelect of 4 ranked",
        _ => panic!("give it a name"),
    };
    const IS_OURS: bool = true;
    const CAN_GROW: bool = false;
    type Key = StreamId;

    fn new(_: usize) -> Self {
        let multiplexer = Multiplexer::<St, ()>::new();
        let mut select = multiplexer.select();
        select.yield_every(None);
        for channel in 0..USED + IDLE {
            multiplexer.add_channel(channel).expect("it is new");
            let share = Share::new().priority(if RANKED { channel as u32 } else { 0 });
            select.add(channel, share).expect("added above");
        }
        Self { multiplexer, select, inserted: 0 }
    }

    fn insert(&mut self, stream: St) -> StreamId {
        let channel = self.inserted % USED;
        self.inserted += 1;
        self.multiplexer.add_stream(stream, channel).unwrap_or_else(|_| panic!("the channel is open"))
    }

    #[inline]
    fn poll(&mut self, cx: &mut Context<'_>) -> Poll<Option<(StreamId, u64)>> {
        loop {
            match ready!(Pin::new(&mut self.select).poll_next(cx)) {
                Some((_, id, StreamEvent::Item(item))) => return Poll::Ready(Some((id, item))),
                Some(_) => {}
                None => return Poll::Ready(None),
            }
        }
    }
}
