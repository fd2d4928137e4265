//! Two threads send, and one receives.

use crate::executor;
use crate::member::{giver, item};
use crate::meter::Meter;
use crate::peer::Peer;
use futures::Stream;
use std::future::poll_fn;
use std::pin::Pin;
use std::task::{Context, Poll};
use std::thread::{JoinHandle, spawn};
use tokio::sync::mpsc::{UnboundedSender, unbounded_channel};
use tokio_stream::wrappers::UnboundedReceiverStream;

/// How many items the two threads send in a round.
pub const ITEMS: usize = 100_000;

const THREADS: usize = 2;

/// A member: a stream of the items that a tokio channel receives. The default has ended.
#[derive(Default)]
pub struct Channel(Option<UnboundedReceiverStream<u64>>);

impl Stream for Channel {
    type Item = u64;

    #[inline]
    fn poll_next(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<u64>> {
        match &mut self.0 {
            Some(receiver) => Pin::new(receiver).poll_next(cx),
            None => Poll::Ready(None),
        }
    }
}

/// The consumer runs on its thread, or on the executor that the peer must have.
pub fn run<P: Peer<Channel>>(members: usize, meter: &mut Meter) {
    if P::HAS_EXECUTOR {
        P::run(cross_thread::<P>(members, meter));
    } else {
        executor::run_parking(cross_thread::<P>(members, meter));
    }
}

/// The consumer runs on tokio, or on the executor that the peer must have.
pub fn run_on_tokio<P: Peer<Channel>>(members: usize, meter: &mut Meter) {
    if P::HAS_EXECUTOR {
        P::run(cross_thread::<P>(members, meter));
    } else {
        executor::run_on_tokio(cross_thread::<P>(members, meter));
    }
}

async fn cross_thread<P: Peer<Channel>>(members: usize, meter: &mut Meter) {
    let (senders, receivers): (Vec<_>, Vec<_>) = (0..members).map(|_| unbounded_channel()).unzip();
    let (mut peer, keys) =
        P::fill(members, receivers.into_iter().map(|receiver| Channel(Some(receiver.into()))));
    let mut producers = share_out(senders);
    // The next item of each member. Items arrive in order, and once.
    let mut expected: Vec<u64> = (0..members).map(|index| item(index, 0)).collect();
    while let Some(rounds) = meter.next_rounds() {
        for _ in 0..rounds {
            let sending: Vec<_> = producers.into_iter().map(Producer::send).collect();
            for _ in 0..ITEMS {
                let (key, item) = poll_fn(|cx| peer.poll(cx)).await.expect("the senders are there");
                let index = giver(item);
                assert!(item == expected[index] && key == keys[index], "in order, once, from its member");
                expected[index] += 1;
            }
            producers = sending.into_iter().map(|thread| thread.join().expect("it only sends")).collect();
        }
    }
}

/// Each member belongs to one producer.
fn share_out(senders: Vec<UnboundedSender<u64>>) -> Vec<Producer> {
    let mut producers: Vec<_> = (0..THREADS).map(|_| Producer { members: Vec::new() }).collect();
    for (index, sender) in senders.into_iter().enumerate() {
        producers[index % THREADS].members.push((sender, item(index, 0)));
    }
    producers
}

struct Producer {
    /// Senders, each with its next item.
    members: Vec<(UnboundedSender<u64>, u64)>,
}

impl Producer {
    /// Sends to all members in turn, in a thread.
    fn send(mut self) -> JoinHandle<Self> {
        spawn(move || {
            let members = self.members.len();
            for i in 0..ITEMS / THREADS {
                let (sender, item) = &mut self.members[i % members];
                sender.send(*item).expect("the member is there");
                *item += 1;
            }
            self
        })
    }
}
