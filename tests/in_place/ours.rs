//! The waits of this crate.

use crate::executor::BoxFuture;
use crate::scenes::Awaited;
use crate::support::{Feed, Gate, Gatekeeper, Pipe, gate, pipe};
use futures::StreamExt;
use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};
use std::sync::Mutex;
use stream_multiplexer::{Multiplexer, StreamId, StreamSlab};

/// A channel with one stream.
pub(crate) struct Channel {
    multiplexer: Multiplexer<Pipe<()>>,
    feed: Feed<()>,
}

impl Default for Channel {
    fn default() -> Self {
        let multiplexer = Multiplexer::new();
        multiplexer.add_channel(1).unwrap();
        let (feed, pipe) = pipe();
        multiplexer.add_stream(pipe, 1).unwrap();
        Self { multiplexer, feed }
    }
}

/// [`Multiplexer::recv`].
#[derive(Default)]
pub(crate) struct Recv(Channel);

impl Awaited for Recv {
    fn wait(&self) -> BoxFuture {
        let multiplexer = self.0.multiplexer.clone();
        Box::pin(async move { assert!(multiplexer.recv(1).await.unwrap().1.is_some()) })
    }

    fn let_go(&self) {
        self.0.feed.push(());
    }
}

/// [`ChannelReceiver`](stream_multiplexer::ChannelReceiver).
#[derive(Default)]
pub(crate) struct Receiver(Channel);

impl Awaited for Receiver {
    fn wait(&self) -> BoxFuture {
        let mut receiver = self.0.multiplexer.receiver(1).unwrap();
        Box::pin(async move { assert!(receiver.next().await.is_some()) })
    }

    fn let_go(&self) {
        self.0.feed.push(());
    }
}

/// [`Multiplexer::send_one`], to a sink that has no room.
pub(crate) struct SendOne {
    multiplexer: Multiplexer<Pipe<()>, Gate<()>>,
    id: StreamId,
    keeper: Gatekeeper<()>,
}

impl Default for SendOne {
    fn default() -> Self {
        let multiplexer = Multiplexer::new();
        multiplexer.add_channel(1).unwrap();
        let (keeper, gate) = gate(0);
        let id = multiplexer.add_stream_pair(gate, pipe().1, 1).unwrap();
        Self { multiplexer, id, keeper }
    }
}

impl Awaited for SendOne {
    fn wait(&self) -> BoxFuture {
        let (multiplexer, id) = (self.multiplexer.clone(), self.id);
        Box::pin(async move { multiplexer.send_one(id, ()).await.unwrap() })
    }

    fn let_go(&self) {
        self.keeper.make_room(1);
    }
}

/// [`StreamSlab`]s, one for each waiting task, because a slab has one owner. Their members are fed together.
#[derive(Default)]
pub(crate) struct Slab(Mutex<Vec<Feed<()>>>);

impl Awaited for Slab {
    fn wait(&self) -> BoxFuture {
        let (feed, pipe) = pipe();
        self.0.lock().unwrap().push(feed);
        let mut slab = StreamSlab::from_iter([pipe]);
        Box::pin(async move { assert!(slab.next().await.is_some()) })
    }

    fn let_go(&self) {
        let feeds = self.0.lock().unwrap().clone();
        // Every task is woken, even if a waker panics.
        let push = |feed: &Feed<()>| catch_unwind(AssertUnwindSafe(|| feed.push(()))).err();
        let panics: Vec<_> = feeds.iter().filter_map(push).collect();
        if let Some(panic) = panics.into_iter().next() {
            resume_unwind(panic);
        }
    }
}
