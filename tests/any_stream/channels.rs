//! Receiving ends of channels as streams.

use crate::as_member;
use futures::{FutureExt, SinkExt, Stream, StreamExt};
use pollster::block_on;
use std::time::Duration;
use tokio_stream::wrappers::errors::BroadcastStreamRecvError::Lagged;
use tokio_stream::wrappers::{
    BroadcastStream, IntervalStream, ReceiverStream, UnboundedReceiverStream, WatchStream,
};

/// More items than the channel holds at a time.
const ITEMS: [u32; 5] = [0, 1, 2, 3, 4];

/// Returns the items of the receiving end while `send` sends. Boxes both: the multiplexer is compiled once for all of them.
fn received<'a, T: 'a>(stream: impl Stream<Item = T> + 'a, send: impl Future<Output = ()> + 'a) -> Vec<T> {
    block_on(futures::future::join(as_member(stream.boxed_local()), send.boxed_local())).0
}

#[test]
fn async_channel() {
    let (sender, receiver) = async_channel::bounded(2);
    let send = async move {
        for item in ITEMS {
            sender.send(item).await.unwrap();
        }
    };
    assert_eq!(received(receiver, send), ITEMS);
}

#[test]
fn flume() {
    let (sender, receiver) = flume::bounded(2);
    let send = async move {
        for item in ITEMS {
            sender.send_async(item).await.unwrap();
        }
    };
    assert_eq!(received(receiver.into_stream(), send), ITEMS);
}

#[test]
fn futures_mpsc() {
    let (mut sender, receiver) = futures::channel::mpsc::channel(1);
    let send = async move {
        for item in ITEMS {
            sender.send(item).await.unwrap();
        }
    };
    assert_eq!(received(receiver, send), ITEMS);

    let (sender, receiver) = futures::channel::mpsc::unbounded();
    let send = async move {
        for item in ITEMS {
            sender.unbounded_send(item).unwrap();
            smol::future::yield_now().await;
        }
    };
    assert_eq!(received(receiver, send), ITEMS);
}

#[test]
fn tokio_mpsc() {
    let (sender, receiver) = tokio::sync::mpsc::channel(2);
    let send = async move {
        for item in ITEMS {
            sender.send(item).await.unwrap();
        }
    };
    assert_eq!(received(ReceiverStream::new(receiver), send), ITEMS);

    let (sender, receiver) = tokio::sync::mpsc::unbounded_channel();
    let send = async move {
        for item in ITEMS {
            sender.send(item).unwrap();
            smol::future::yield_now().await;
        }
    };
    assert_eq!(received(UnboundedReceiverStream::new(receiver), send), ITEMS);
}

#[test]
fn tokio_broadcast() {
    let (sender, receiver) = tokio::sync::broadcast::channel(4);
    let send = async move {
        for item in ITEMS {
            sender.send(item).unwrap();
        }
    };
    // The receiver was not polled before five items were sent; the channel keeps four.
    let late = BroadcastStream::new(receiver);
    block_on(send);
    assert_eq!(block_on(as_member(late.boxed_local())), [Err(Lagged(1)), Ok(1), Ok(2), Ok(3), Ok(4)]);
}

#[test]
fn tokio_watch() {
    let (sender, receiver) = tokio::sync::watch::channel(0);
    let send = async move {
        // The first value is received immediately, and each later value before the next one is sent.
        for item in ITEMS {
            sender.send(item).unwrap();
            smol::future::yield_now().await;
        }
    };
    let values = received(WatchStream::new(receiver), send);
    assert!(values.is_sorted() && values.ends_with(&[4]), "{values:?}");
}

#[tokio::test]
async fn tokio_interval() {
    let ticks = IntervalStream::new(tokio::time::interval(Duration::from_millis(1))).take(3);
    assert_eq!(as_member(ticks).await.len(), 3);
}
