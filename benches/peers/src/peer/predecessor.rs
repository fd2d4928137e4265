//! `stream_multiplexer` 0.16.1: one channel, from which `recv` receives.

use super::Peer;
use futures::sink::Drain;
use futures::stream::{self, LocalBoxStream};
use futures::{Stream, StreamExt};
use predecessor::Multiplexer;
use std::pin::Pin;
use std::task::{Context, Poll, ready};

pub struct Adapter<St: 'static> {
    multiplexer: Multiplexer<Fallible<St>, Drain<u64>>,
    /// Repeated calls of `recv`. Each call is kept until it completes.
    received: LocalBoxStream<'static, (usize, Option<u64>)>,
}

const CHANNEL: usize = 0;

impl<St: Stream<Item = u64> + Unpin + 'static> Peer<St> for Adapter<St> {
    const NAME: &'static str = "stream_multiplexer 0.16.1";
    const CAN_REMOVE: bool = true;
    type Key = usize;

    fn new(_: usize) -> Self {
        let mut multiplexer = Multiplexer::new();
        multiplexer.add_channel(CHANNEL).expect("it is the first");
        let received = stream::unfold(multiplexer.clone(), async |mut multiplexer| {
            let (id, item) = multiplexer.recv(CHANNEL).await.expect("the channel is there");
            Some(((id, item.map(|Ok(item)| item)), multiplexer))
        });
        Self { multiplexer, received: received.boxed_local() }
    }

    fn insert(&mut self, stream: St) -> usize {
        let sink = futures::sink::drain();
        self.multiplexer.add_stream_pair(sink, Fallible(stream), CHANNEL).expect("the channel is there")
    }

    fn remove(&mut self, id: usize) {
        assert!(self.multiplexer.remove_stream(id), "it is a member");
    }

    #[inline]
    fn poll(&mut self, cx: &mut Context<'_>) -> Poll<Option<(usize, u64)>> {
        loop {
            match ready!(self.received.poll_next_unpin(cx)).expect("it never ends") {
                (id, Some(item)) => return Poll::Ready(Some((id, item))),
                // The pair keeps its sink until it is removed.
                (id, None) => drop(self.multiplexer.remove_stream(id)),
            }
        }
    }
}

/// This version takes streams of results.
struct Fallible<St>(St);

impl<St: Stream + Unpin> Stream for Fallible<St> {
    type Item = Result<St::Item, std::convert::Infallible>;

    #[inline]
    fn poll_next(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        Pin::new(&mut self.0).poll_next(cx).map(|item| Some(Ok(item?)))
    }
}
