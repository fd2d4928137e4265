//! Closing the server's half of a connection while receiving from the peer's half continues.

use crate::support;
use futures::FutureExt;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::task::Poll;
use stream_multiplexer::{ChannelOptions, Multiplexer, SendError, StreamId, TrySendError};
use support::hooked::{Hooks, Moment};
use support::raw_waker::hooked_waker;
use support::{Broken, Feed, Gate, Gatekeeper, Pipe, Wakes, gate, pipe, poll_future};

type Pairs = Multiplexer<Pipe<u32>, Gate<u32>>;

const CHANNEL: usize = 1;

struct Scene {
    multiplexer: Pairs,
    id: StreamId,
    gate: Gatekeeper<u32>,
    feed: Feed<u32>,
}

fn scene(half_close: bool) -> Scene {
    let multiplexer = Multiplexer::new();
    multiplexer.add_channel_with(CHANNEL, ChannelOptions::new().half_close(half_close)).unwrap();
    let (gate, sink) = gate(9);
    let (feed, stream) = pipe();
    let id = multiplexer.add_stream_pair(sink, stream, CHANNEL).unwrap();
    Scene { multiplexer, id, gate, feed }
}

impl Scene {
    fn close(&self) -> Option<Result<(), SendError<Broken>>> {
        self.multiplexer.close_sink::<u32>(self.id).now_or_never()
    }

    fn recv(&self) -> Option<Option<u32>> {
        self.multiplexer.recv(CHANNEL).now_or_never().map(|event| event.unwrap().1)
    }
}

#[test]
fn the_stream_is_received_from_until_it_ends() {
    for half_close in [false, true] {
        let scene = scene(half_close);
        assert_eq!(scene.close(), Some(Ok(())));
        assert!(scene.gate.is_closed() && scene.gate.is_dropped());
        scene.feed.push(5);
        assert_eq!(scene.recv(), Some(Some(5)));
        assert_eq!(scene.multiplexer.try_send(scene.id, 1), Err(TrySendError::Closed(1)));
        assert_eq!(scene.close(), Some(Ok(())), "it is closed");
        scene.feed.end();
        assert_eq!(scene.recv(), Some(None));
        assert!(scene.feed.is_dropped(), "there is nothing to stay for");
        assert_eq!(scene.multiplexer.channel_of(scene.id), None);
    }
}

#[test]
fn a_pair_that_stayed_for_its_sink_goes_with_that() {
    let scene = scene(true);
    scene.feed.end();
    assert_eq!(scene.recv(), Some(None));
    assert_eq!(scene.multiplexer.channel_of(scene.id), Some(CHANNEL));
    assert_eq!(scene.close(), Some(Ok(())));
    assert_eq!(scene.multiplexer.channel_of(scene.id), None);
    assert!(scene.feed.is_dropped());
}

#[test]
fn what_is_unflushed_is_flushed_first() {
    let scene = scene(false);
    scene.gate.set_closes(false);
    scene.gate.set_flushes(false);
    let mut send = scene.multiplexer.send_one(scene.id, 1);
    let (wakes, waker) = Wakes::new();
    assert_eq!(poll_future(&mut send, &waker), Poll::Pending);
    assert_eq!(scene.close(), None);
    assert_eq!(
        scene.multiplexer.try_send(scene.id, 2),
        Err(TrySendError::Closed(2)),
        "it goes on being closed"
    );
    scene.gate.set_closes(true);
    assert_eq!(scene.close(), Some(Ok(())));
    assert_ne!(wakes.take(), 0);
    assert_eq!(send.now_or_never(), Some(Ok(())));
}

#[test]
fn a_pair_whose_sink_fails_stays() {
    let scene = scene(false);
    scene.gate.fail();
    assert_eq!(scene.close(), Some(Err(SendError::Sink { id: scene.id, error: Broken })));
    assert_eq!(scene.close(), Some(Err(SendError::Closed(scene.id))), "it is told once");
    assert_eq!(scene.multiplexer.channel_of(scene.id), Some(CHANNEL));
    scene.feed.push(5);
    assert_eq!(scene.recv(), Some(Some(5)));
}

#[test]
fn a_pair_whose_sink_panics_is_removed() {
    let scene = scene(false);
    scene.gate.panic();
    let close = AssertUnwindSafe(|| scene.close());
    assert!(catch_unwind(close).is_err());
    assert_eq!(scene.multiplexer.channel_of(scene.id), None);
    assert!(scene.feed.is_dropped());
}

#[test]
fn an_unknown_stream_is_an_error() {
    let scene = scene(false);
    scene.multiplexer.discard_stream(scene.id);
    assert_eq!(scene.close(), Some(Err(SendError::UnknownStream(scene.id))));
}

/// The waker belongs to the task, and the pair waits for its sink to be closed.
#[test]
fn a_waker_that_panics_costs_no_pair_whose_stream_has_ended() {
    let scene = scene(true);
    scene.feed.end();
    assert_eq!(scene.recv(), Some(None));
    scene.gate.set_closes(false);
    let hooks = Hooks::default();
    hooks.panic_on(Moment::Clone);
    let waker = hooked_waker(&hooks);
    let mut closing = scene.multiplexer.close_sink::<u32>(scene.id);
    assert!(catch_unwind(AssertUnwindSafe(|| poll_future(&mut closing, &waker))).is_err());
    assert_eq!(scene.multiplexer.channel_len(CHANNEL), Some(1));
    scene.gate.set_closes(true);
    assert_eq!(poll_future(&mut closing, &waker), Poll::Ready(Ok(())));
    assert_eq!(scene.multiplexer.channel_len(CHANNEL), Some(0));
}
