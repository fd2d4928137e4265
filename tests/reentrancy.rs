//! Reentrancy: a stream's poll, a sink's poll, a task's waker, and the drop of any value may call any method of the same
//! multiplexer. Nothing deadlocks.
//!
//! Each test is one place in which foreign code runs. In each place every method is called, and the stream concerned is
//! moved, removed, discarded, borrowed or closed, its channel is removed or closed, or the multiplexer is closed.

mod support;

use futures::{SinkExt, StreamExt};
use pollster::block_on;
use std::num::NonZeroU32;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, mpsc};
use std::task::{Context, Wake, Waker};
use std::thread;
use std::time::Duration;
use stream_multiplexer::{
    ChannelId, ChannelOptions, ChannelSelect, Multiplexer, Share, StreamId, StreamSender,
};
use support::hooked::{Action, Hooked, Hooks, Moment};
use support::{Feed, Gate, Gatekeeper, Pipe, gate, pipe, poll, poll_future, poll_with};

const A: ChannelId = 1;
const B: ChannelId = 2;
const EMPTY: ChannelId = 3;

type Pairs = Multiplexer<Hooked<Pipe<Parcel>>, Hooked<Gate<Parcel>>>;
type Sender = StreamSender<Hooked<Pipe<Parcel>>, Hooked<Gate<Parcel>>, Parcel>;

/// An item with hooks.
#[derive(Default)]
struct Parcel(Hooks);

impl Clone for Parcel {
    fn clone(&self) -> Self {
        self.0.run(Moment::Clone);
        Self::default()
    }
}

impl Drop for Parcel {
    fn drop(&mut self) {
        self.0.run(Moment::Drop);
    }
}

fn parcel(moment: Moment, action: Action) -> Parcel {
    let parcel = Parcel::default();
    parcel.0.on(moment, action);
    parcel
}

/// A task with hooks.
struct Task(Hooks);

impl Wake for Task {
    fn wake(self: Arc<Self>) {
        self.0.run(Moment::Wake);
    }
}

impl Drop for Task {
    fn drop(&mut self) {
        self.0.run(Moment::Drop);
    }
}

fn task(moment: Moment, action: Action) -> Waker {
    let hooks = Hooks::default();
    hooks.on(moment, action);
    Waker::from(Arc::new(Task(hooks)))
}

/// The test's access to a pair.
struct Peer {
    id: StreamId,
    feed: Feed<Parcel>,
    stream: Hooks,
    keeper: Gatekeeper<Parcel>,
    sink: Hooks,
}

impl Peer {
    /// Adds a pair. Returns `None` if the multiplexer admits none.
    fn add(multiplexer: &Pairs, channel: ChannelId, room: usize) -> Option<Self> {
        let (feed, pipe) = pipe();
        let (keeper, gate) = gate(room);
        let (stream, sink) = (Hooks::default(), Hooks::default());
        let pipe = Hooked { inner: pipe, hooks: stream.clone() };
        let gate = Hooked { inner: gate, hooks: sink.clone() };
        let id = multiplexer.add_stream_pair(gate, pipe, channel).ok()?;
        Some(Self { id, feed, stream, keeper, sink })
    }
}

/// A pair in channel `A`, among others.
struct Scene {
    multiplexer: Pairs,
    peer: Peer,
    neighbour: Peer,
}

impl Scene {
    fn new(room: usize) -> Self {
        let multiplexer = Multiplexer::new();
        multiplexer.add_channel(A).unwrap();
        multiplexer.add_channel(B).unwrap();
        let peer = Peer::add(&multiplexer, A, room).unwrap();
        let neighbour = Peer::add(&multiplexer, A, room).unwrap();
        neighbour.feed.push(Parcel::default());
        Peer::add(&multiplexer, B, room).unwrap().feed.push(Parcel::default());
        Self { multiplexer, peer, neighbour }
    }

    /// Receives all events of channel `A` that are available now.
    fn receive(&self) {
        while self.multiplexer.try_recv(A).is_ok() {}
    }

    /// Waits in channel `A` with this task's waker.
    fn wait_as(&self, task: &Waker, then: impl FnOnce(&Self)) {
        self.receive();
        let mut receiver = self.multiplexer.receiver(A).unwrap();
        assert!(poll_with(&mut receiver, task).is_pending());
        then(self);
    }

    /// A select of channel `A`.
    fn select(&self) -> ChannelSelect<Hooked<Pipe<Parcel>>, Hooked<Gate<Parcel>>> {
        let mut select = self.multiplexer.select();
        select.add(A, Share::new()).unwrap();
        select
    }

    /// A select of channel `A`, which waits with this task's waker.
    fn select_as(&self, task: &Waker) -> ChannelSelect<Hooked<Pipe<Parcel>>, Hooked<Gate<Parcel>>> {
        self.receive();
        let mut select = self.select();
        // The select waits for the sink that it took out in its second poll.
        while poll(&mut select).is_ready() {}
        assert!(poll_with(&mut select, task).is_pending());
        select
    }

    /// A sender that keeps an item, because another send came in between. Its sink had room for one item.
    fn sender_that_keeps(&self, parcel: Parcel) -> Sender {
        let mut sender = self.multiplexer.sender(self.peer.id).unwrap();
        let mut cx = Context::from_waker(Waker::noop());
        assert!(sender.poll_ready_unpin(&mut cx).is_ready());
        block_on(self.multiplexer.send_one(self.peer.id, Parcel::default())).unwrap();
        sender.start_send_unpin(parcel).unwrap();
        sender
    }

    /// Waits in channel `A` with this task's waker, from the next poll of the stream on.
    fn fall_asleep_in_its_poll(&self, task: Waker) {
        let mut receiver = self.multiplexer.receiver(A).unwrap();
        self.peer.stream.on(Moment::Poll, move || {
            assert!(poll_with(&mut receiver, &task).is_pending());
            // A dropped receiver would not be woken.
            std::mem::forget(receiver);
        });
    }

    /// Waits with this task's waker for the last stream of channel `A`, which is closed.
    fn wait_for_the_last_as(&self, task: &Waker, then: impl FnOnce(&Self)) {
        drop(self.multiplexer.remove_stream(self.neighbour.id));
        self.multiplexer.close_channel(A).unwrap();
        let mut drained = self.multiplexer.drained(A);
        assert!(poll_future(&mut drained, task).is_pending());
        then(self);
    }

    /// Waits for the sink with this task's waker.
    fn wait_for_sink_as(&self, task: &Waker, then: impl FnOnce(&Self)) {
        let mut send = self.multiplexer.send_one(self.peer.id, Parcel::default());
        assert!(poll_future(&mut send, task).is_pending());
        then(self);
    }
}

/// The calls that foreign code makes. The multiplexer may be in any state.
type Use = fn(&Pairs, StreamId);

const USES: [(&str, Use); 14] = [
    ("every method", use_every_method),
    ("moved", |multiplexer, id| {
        let _ = multiplexer.change_stream_channel(id, B);
    }),
    ("paused, and resumed", pause),
    ("paused with its channel, and resumed", |multiplexer, id| {
        let _ = (multiplexer.pause_channel(A), multiplexer.pause_stream(id));
        let _ = multiplexer.change_stream_channel(id, B);
        use_every_method(multiplexer, id);
        let _ = (multiplexer.resume_stream(id), multiplexer.resume_channel(A));
    }),
    ("removed", |multiplexer, id| drop(multiplexer.remove_stream(id))),
    ("discarded", |multiplexer, id| {
        let _ = multiplexer.discard_stream(id);
    }),
    ("borrowed", |multiplexer, id| {
        let _ = multiplexer.with_stream(id, |_| use_every_method(multiplexer, id));
    }),
    ("closed", |multiplexer, id| {
        let _ = poll_future(&mut multiplexer.close_stream::<Parcel>(id), Waker::noop());
    }),
    ("channel removed", |multiplexer, _| drop(multiplexer.remove_channel(A))),
    ("channel discarded", |multiplexer, _| {
        let _ = multiplexer.discard_channel(A);
    }),
    ("channel closed", |multiplexer, _| {
        let _ = multiplexer.close_channel(A);
    }),
    ("channel closed and emptied", |multiplexer, id| {
        let _ = multiplexer.close_channel(A);
        let streams = multiplexer.channel_streams(A).unwrap_or_default();
        streams.into_iter().for_each(|id| drop(multiplexer.remove_stream_from(id, A)));
        let _ = multiplexer.discard_stream_from(id, B);
    }),
    ("multiplexer closed", |multiplexer, _| multiplexer.close()),
    ("shut down", |multiplexer, _| {
        let _ = poll_future(&mut multiplexer.shutdown::<Parcel>(), Waker::noop());
    }),
];

fn use_every_method(multiplexer: &Pairs, id: StreamId) {
    const NEW: [ChannelId; 2] = [77, 78];
    let _ = multiplexer.add_channel(NEW[0]);
    let _ = multiplexer.add_channel_with(NEW[1], ChannelOptions::new().half_close(true).max_streams(1_000));
    let new = Peer::add(multiplexer, NEW[0], 1).map_or(id, |peer| peer.id);
    ask(&multiplexer.clone(), id);
    receive(multiplexer);
    send(multiplexer, [id, new]);
    limit(multiplexer, id, NEW[0]);
    pause(multiplexer, id);
    let _ = multiplexer.change_stream_channel(id, NEW[0]);
    let _ = multiplexer.change_stream_channel(id, A);
    let _ = multiplexer.change_stream_channel(new, A);
    let _ = multiplexer.with_stream(new, |_| ask(multiplexer, new));
    let _ = multiplexer.with_sink(id, |_| ask(multiplexer, id));
    multiplexer.shrink_to_fit();
    let _ = multiplexer.with_stream(id, |_| ask(multiplexer, id));
    let _ = poll_future(&mut multiplexer.close_stream::<Parcel>(new), Waker::noop());
    drop(multiplexer.remove_stream(new));
    remove(multiplexer, NEW[1]);
    wait(multiplexer, NEW[0]);
    drop(multiplexer.remove_channel(NEW[0]));
}

fn ask(multiplexer: &Pairs, id: StreamId) {
    let asked = (multiplexer.channels(), multiplexer.has_channel(A), multiplexer.channel_len(A));
    let closed = (multiplexer.is_closed(), multiplexer.is_channel_closed(A));
    let streams = (multiplexer.channel_streams(A), multiplexer.channel_of(id));
    let _ = (asked, closed, streams, multiplexer.stats(A), format!("{multiplexer:?}"));
}

/// Sets limits, one of which refuses a stream and a move.
fn limit(multiplexer: &Pairs, id: StreamId, channel: ChannelId) {
    let _ = (multiplexer.set_max_streams(channel, Some(0)), multiplexer.max_streams(channel));
    assert!(Peer::add(multiplexer, channel, 1).is_none());
    let _ = multiplexer.change_stream_channel(id, channel);
    let _ = multiplexer.set_max_streams(channel, None);
}

/// Pauses a stream and its channel, and resumes them.
fn pause(multiplexer: &Pairs, id: StreamId) {
    let asked = || (multiplexer.is_paused(id), multiplexer.is_channel_paused(A));
    let _ = (multiplexer.pause_stream(id), multiplexer.pause_channel(A), asked());
    receive(multiplexer);
    let _ = (multiplexer.resume_stream(id), multiplexer.resume_channel(A), asked());
}

/// Removes streams in every way, and their channel.
fn remove(multiplexer: &Pairs, channel: ChannelId) {
    let remove: [fn(&Pairs, StreamId, ChannelId) -> bool; 4] = [
        |multiplexer, id, _| multiplexer.remove_stream(id).is_some(),
        |multiplexer, id, channel| multiplexer.remove_stream_from(id, channel).is_some(),
        |multiplexer, id, _| multiplexer.discard_stream(id),
        |multiplexer, id, channel| multiplexer.discard_stream_from(id, channel),
    ];
    for remove in remove {
        if let Some(peer) = Peer::add(multiplexer, channel, 1) {
            assert!(remove(multiplexer, peer.id, channel));
        }
    }
    let pipe = Hooked { inner: pipe().1, hooks: Hooks::default() };
    let _ = multiplexer.add_stream(pipe, channel);
    multiplexer.discard_channel(channel);
}

/// Waits for the end of channels. One channel is closed and empty.
fn wait(multiplexer: &Pairs, closed: ChannelId) {
    let _ = multiplexer.close_channel(closed);
    for channel in [A, B, closed] {
        let _ = poll_future(&mut multiplexer.drained(channel), Waker::noop());
        #[cfg(feature = "blocking")]
        let _ = multiplexer.wait_drained(channel, Duration::ZERO);
    }
    #[cfg(feature = "blocking")]
    let _ = (multiplexer.wait_closed(Duration::ZERO), multiplexer.wait_all_drained(Duration::ZERO));
}

fn receive(multiplexer: &Pairs) {
    drop(multiplexer.try_recv(A));
    drop(poll_future(&mut multiplexer.recv(A), Waker::noop()));
    if let Ok(mut receiver) = multiplexer.receiver(A) {
        drop(poll(&mut receiver));
        let _ = poll_future(&mut receiver.recv_many(&mut Vec::new(), 3), Waker::noop());
    }
    let mut select = multiplexer.select();
    for (channel, priority) in [(A, 0), (B, 1)] {
        let _ = select.add(channel, Share::new().priority(priority));
    }
    drop(poll(&mut select));
    let _ = poll_future(&mut select.recv_many(&mut Vec::new(), 3), Waker::noop());
    select.remove(A);
}

fn send(multiplexer: &Pairs, ids: [StreamId; 2]) {
    drop(poll_future(&mut multiplexer.send(ids, Parcel::default()), Waker::noop()));
    let _ = poll_future(&mut multiplexer.send_one(ids[0], Parcel::default()), Waker::noop());
    if let Ok(mut sending) = multiplexer.send_to(A, Parcel::default()) {
        drop(poll_future(&mut sending, Waker::noop()));
    }
    let _ = multiplexer.try_send(ids[0], Parcel::default());
    let _ = multiplexer.try_feed(ids[0], Parcel::default());
    let _ = multiplexer.try_send_many(ids, Parcel::default(), |_, error| drop(error));
    let _ = multiplexer.try_send_to(A, Parcel::default(), |_, error| drop(error));
    let _ = multiplexer.try_feed_many(ids, Parcel::default(), |_, error| drop(error));
    let _ = multiplexer.try_feed_to(A, Parcel::default(), |_, error| drop(error));
    let _ = poll(&mut multiplexer.flusher::<Parcel>());
    let _ = poll_future(&mut multiplexer.close_sink::<Parcel>(ids[1]), Waker::noop());
    if let Ok(mut sender) = multiplexer.sender(ids[0]) {
        let _ = poll_future(&mut sender.send(Parcel::default()), Waker::noop());
        let _ = poll_future(&mut sender.close(), Waker::noop());
    }
}

/// Every method of the handle is called in `use_every_method` or in the functions that it calls.
#[test]
fn no_method_is_left_out() {
    const METHODS: [&str; 8] = [
        include_str!("../src/multiplexer/lifecycle.rs"),
        include_str!("../src/multiplexer/channels.rs"),
        include_str!("../src/multiplexer/pairs.rs"),
        include_str!("../src/multiplexer/limits.rs"),
        include_str!("../src/multiplexer/pausing.rs"),
        include_str!("../src/multiplexer/receiving.rs"),
        include_str!("../src/multiplexer/sending.rs"),
        include_str!("../src/multiplexer/blocking.rs"),
    ];
    let mut count = 0;
    for line in METHODS.iter().flat_map(|file| file.lines()) {
        let Some(rest) = line.trim_start().strip_prefix("pub fn ") else { continue };
        let name = rest.split(['(', '<']).next().unwrap();
        // `new` and `without_sinks` construct, `Peer::add` adds, and `close` and `shutdown` have their own tests.
        if !["new", "without_sinks", "add_stream_pair", "close", "shutdown"].contains(&name) {
            let uses = include_str!("reentrancy.rs").split_once("fn use_every_method").unwrap().1;
            let uses = uses.split_once("fn no_method").unwrap().0;
            let calls = ["(", "::<"].map(|end| format!("multiplexer.{name}{end}"));
            assert!(calls.iter().any(|call| uses.contains(call)), "{name}");
        }
        count += 1;
    }
    assert!(count > 50, "{count}");
}

/// Brings foreign code to run in a place, in which it uses the multiplexer, in every way. The sink has room for `room`
/// items.
fn from_within(room: usize, place: fn(&Scene, Action)) {
    for (what, use_it) in USES {
        finishes(what, move || {
            let scene = Scene::new(room);
            let ran = Arc::new(AtomicBool::new(false));
            let (multiplexer, id, runs) = (scene.multiplexer.clone(), scene.peer.id, Arc::clone(&ran));
            let action = move || {
                use_it(&multiplexer, id);
                runs.store(true, Ordering::SeqCst);
            };
            place(&scene, Box::new(action));
            assert!(ran.load(Ordering::SeqCst), "{what}: it did not come to it");
            assert_goes_on(&scene);
        });
    }
}

const ROOM: usize = 100;
const FULL: usize = 0;

/// Runs a test in another thread, and fails if the test hangs.
fn finishes(what: &str, test: impl FnOnce() + Send + 'static) {
    let (done, finished) = mpsc::channel();
    let running = thread::spawn(move || {
        test();
        done.send(()).unwrap();
    });
    if finished.recv_timeout(Duration::from_secs(60)) == Err(mpsc::RecvTimeoutError::Timeout) {
        panic!("a deadlock: {what}");
    }
    if let Err(panic) = running.join() {
        std::panic::resume_unwind(panic);
    }
}

fn assert_goes_on(Scene { multiplexer, peer, .. }: &Scene) {
    use_every_method(multiplexer, peer.id);
    if !multiplexer.is_closed() {
        multiplexer.add_channel(99).unwrap();
        let peer = Peer::add(multiplexer, 99, 1).unwrap();
        peer.feed.push(Parcel::default());
        assert!(matches!(multiplexer.try_recv(99), Ok((id, Some(_))) if id == peer.id));
        assert!(block_on(multiplexer.send([peer.id], Parcel::default())).is_ok());
    }
}

mod in_the_poll_of_a_stream {
    use super::*;

    #[test]
    fn that_has_an_item() {
        from_within(ROOM, |scene, action| {
            scene.peer.stream.on(Moment::Poll, action);
            scene.peer.feed.push(Parcel::default());
            scene.receive();
        });
    }

    #[test]
    fn that_has_none() {
        from_within(ROOM, |scene, action| {
            scene.peer.stream.on(Moment::Poll, action);
            scene.receive();
        });
    }

    #[test]
    fn that_ends() {
        from_within(ROOM, |scene, action| {
            scene.peer.stream.on(Moment::Poll, action);
            scene.peer.feed.end();
            scene.receive();
        });
    }

    #[test]
    fn in_recv() {
        from_within(ROOM, |scene, action| {
            scene.receive();
            scene.peer.stream.on(Moment::Poll, action);
            scene.peer.feed.push(Parcel::default());
            drop(block_on(scene.multiplexer.recv(A)));
        });
    }

    #[test]
    fn in_next() {
        from_within(ROOM, |scene, action| {
            scene.receive();
            scene.peer.stream.on(Moment::Poll, action);
            scene.peer.feed.push(Parcel::default());
            drop(block_on(scene.multiplexer.receiver(A).unwrap().next()));
        });
    }

    #[test]
    fn in_a_select() {
        from_within(ROOM, |scene, action| {
            scene.receive();
            scene.peer.stream.on(Moment::Poll, action);
            scene.peer.feed.push(Parcel::default());
            let mut select = scene.select();
            select.cost(|_| 3);
            drop(block_on(select.next()));
        });
    }

    #[test]
    fn in_recv_many() {
        from_within(ROOM, |scene, action| {
            scene.peer.stream.on(Moment::Poll, action);
            let mut buffer = Vec::new();
            block_on(scene.multiplexer.receiver(A).unwrap().recv_many(&mut buffer, 10));
        });
    }
}

/// Code that runs with a stream that was taken out as for a poll.
mod in_with_stream {
    use super::*;

    #[test]
    fn for_a_stream_that_waits() {
        from_within(ROOM, |scene, action| {
            scene.receive();
            scene.multiplexer.with_stream(scene.peer.id, |_| action()).unwrap();
        });
    }

    #[test]
    fn for_a_stream_that_is_ready() {
        from_within(ROOM, |scene, action| {
            scene.peer.feed.push(Parcel::default());
            scene.multiplexer.with_stream(scene.peer.id, |_| action()).unwrap();
        });
    }

    #[test]
    fn for_the_last_stream_of_a_closed_channel() {
        from_within(ROOM, |scene, action| {
            scene.wait_for_the_last_as(Waker::noop(), |scene| {
                scene.multiplexer.with_stream(scene.peer.id, |_| action()).unwrap();
            });
        });
    }
}

mod in_the_poll_of_a_sink {
    use super::*;

    #[test]
    fn for_readiness() {
        from_within(ROOM, |scene, action| {
            scene.peer.sink.on(Moment::Ready, action);
            let _ = block_on(scene.multiplexer.send_one(scene.peer.id, Parcel::default()));
        });
    }

    #[test]
    fn that_takes_an_item() {
        from_within(ROOM, |scene, action| {
            scene.peer.sink.on(Moment::StartSend, action);
            drop(block_on(scene.multiplexer.send([scene.peer.id], Parcel::default())));
        });
    }

    #[test]
    fn to_flush() {
        from_within(ROOM, |scene, action| {
            scene.peer.sink.on(Moment::Flush, action);
            let mut sender = scene.multiplexer.sender(scene.peer.id).unwrap();
            let _ = block_on(sender.send(Parcel::default()));
        });
    }

    #[test]
    fn to_flush_by_a_select() {
        from_within(ROOM, |scene, action| {
            scene.receive();
            let mut select = scene.select();
            scene.peer.keeper.set_flushes(false);
            let _ = scene.multiplexer.try_send(scene.peer.id, Parcel::default());
            scene.peer.sink.on(Moment::Flush, action);
            scene.peer.keeper.set_flushes(true);
            drop(poll(&mut select));
        });
    }

    #[test]
    fn to_close() {
        from_within(ROOM, |scene, action| {
            scene.peer.sink.on(Moment::Close, action);
            let _ = block_on(scene.multiplexer.close_stream::<Parcel>(scene.peer.id));
        });
    }

    #[test]
    fn of_a_broadcast() {
        from_within(ROOM, |scene, action| {
            scene.peer.sink.on(Moment::Ready, action);
            let other = Peer::add(&scene.multiplexer, B, FULL).unwrap();
            let mut send = scene.multiplexer.send([other.id, scene.peer.id], Parcel::default());
            // Unless the other pair was closed in the meantime.
            let waits = poll_future(&mut send, Waker::noop()).is_pending();
            other.keeper.make_room(1);
            assert!(!waits || poll_future(&mut send, Waker::noop()).is_ready());
        });
    }

    #[test]
    fn of_a_broadcast_that_waited() {
        from_within(FULL, |scene, action| {
            let other = Peer::add(&scene.multiplexer, B, FULL).unwrap();
            let mut send = scene.multiplexer.send([other.id, scene.peer.id], Parcel::default());
            assert!(poll_future(&mut send, Waker::noop()).is_pending());
            scene.peer.sink.on(Moment::Ready, action);
            scene.peer.keeper.make_room(1);
            let _ = poll_future(&mut send, Waker::noop());
        });
    }
}

mod in_the_waker_of_a_select {
    use super::*;

    #[test]
    fn when_an_item_comes() {
        from_within(ROOM, |scene, action| {
            let _select = scene.select_as(&task(Moment::Wake, action));
            scene.peer.feed.push(Parcel::default());
        });
    }

    #[test]
    fn when_the_channel_is_removed() {
        from_within(ROOM, |scene, action| {
            let _select = scene.select_as(&task(Moment::Wake, action));
            drop(scene.multiplexer.remove_channel(A));
        });
    }

    #[test]
    fn when_a_channel_is_added_to_it() {
        from_within(ROOM, |scene, action| {
            let mut select = scene.select_as(&task(Moment::Wake, action));
            select.add(B, Share::new()).unwrap();
        });
    }

    #[test]
    fn when_something_is_unflushed() {
        from_within(ROOM, |scene, action| {
            let _select = scene.select_as(&task(Moment::Wake, action));
            scene.peer.keeper.set_flushes(false);
            let _ = scene.multiplexer.try_send(scene.peer.id, Parcel::default());
        });
    }

    #[test]
    fn when_it_yields() {
        from_within(ROOM, |scene, action| {
            scene.receive();
            let mut select = scene.select();
            select.yield_every(NonZeroU32::new(1));
            scene.peer.feed.push(Parcel::default());
            while poll(&mut select).is_pending() {}
            assert!(poll_with(&mut select, &task(Moment::Wake, action)).is_pending());
        });
    }

    #[test]
    fn when_that_is_dropped() {
        from_within(ROOM, |scene, action| {
            let task = task(Moment::Drop, action);
            let select = scene.select_as(&task);
            drop(task);
            drop(select);
        });
    }
}

mod in_the_waker_of_a_receiver {
    use super::*;

    #[test]
    fn when_an_item_comes() {
        from_within(ROOM, |scene, action| {
            scene.wait_as(&task(Moment::Wake, action), |scene| scene.peer.feed.push(Parcel::default()));
        });
    }

    #[test]
    fn when_a_stream_is_added() {
        from_within(ROOM, |scene, action| {
            scene.wait_as(&task(Moment::Wake, action), |scene| {
                Peer::add(&scene.multiplexer, A, ROOM);
            });
        });
    }

    #[test]
    fn when_a_stream_is_moved_in() {
        from_within(ROOM, |scene, action| {
            let other = Peer::add(&scene.multiplexer, B, ROOM).unwrap();
            scene.wait_as(&task(Moment::Wake, action), |scene| {
                scene.multiplexer.change_stream_channel(other.id, A).unwrap();
            });
        });
    }

    #[test]
    fn when_the_stream_is_moved_out() {
        from_within(ROOM, |scene, action| {
            scene.wait_as(&task(Moment::Wake, action), |scene| {
                scene.multiplexer.change_stream_channel(scene.peer.id, B).unwrap();
            });
        });
    }

    #[test]
    fn when_the_stream_is_removed() {
        from_within(ROOM, |scene, action| {
            scene.wait_as(&task(Moment::Wake, action), |scene| {
                drop(scene.multiplexer.remove_stream(scene.peer.id));
            });
        });
    }

    #[test]
    fn when_the_channel_is_removed() {
        from_within(ROOM, |scene, action| {
            scene.wait_as(&task(Moment::Wake, action), |scene| drop(scene.multiplexer.remove_channel(A)));
        });
    }

    #[test]
    fn when_the_multiplexer_is_closed() {
        from_within(ROOM, |scene, action| {
            // In an empty channel. The select ends with this channel.
            scene.multiplexer.add_channel(EMPTY).unwrap();
            let mut receiver = scene.multiplexer.receiver(EMPTY).unwrap();
            assert!(poll_with(&mut receiver, &task(Moment::Wake, action)).is_pending());
            scene.multiplexer.close();
        });
    }

    #[test]
    fn when_the_channel_is_closed() {
        from_within(ROOM, |scene, action| {
            scene.multiplexer.add_channel(EMPTY).unwrap();
            let mut receiver = scene.multiplexer.receiver(EMPTY).unwrap();
            assert!(poll_with(&mut receiver, &task(Moment::Wake, action)).is_pending());
            scene.multiplexer.close_channel(EMPTY).unwrap();
        });
    }

    #[test]
    fn when_the_stream_is_discarded() {
        from_within(ROOM, |scene, action| {
            scene.wait_as(&task(Moment::Wake, action), |scene| {
                assert!(scene.multiplexer.discard_stream_from(scene.peer.id, A));
            });
        });
    }

    #[test]
    fn when_the_channel_is_discarded() {
        from_within(ROOM, |scene, action| {
            scene.wait_as(&task(Moment::Wake, action), |scene| {
                assert!(scene.multiplexer.discard_channel(A));
            });
        });
    }

    /// The stream has a turn afterwards.
    #[test]
    fn when_the_stream_was_borrowed() {
        from_within(ROOM, |scene, action| {
            scene.wait_as(&task(Moment::Wake, action), |scene| {
                scene.multiplexer.with_stream(scene.peer.id, |_| ()).unwrap();
            });
        });
    }

    /// The task fell asleep during the poll, and the stream has more items when the poll returns.
    #[test]
    fn when_a_poll_returns() {
        from_within(ROOM, |scene, action| {
            scene.receive();
            scene.fall_asleep_in_its_poll(task(Moment::Wake, action));
            scene.peer.feed.push(Parcel::default());
            drop(scene.multiplexer.try_recv(A));
        });
    }

    /// The poll yields, because too many streams had no item.
    #[test]
    fn when_its_poll_yields() {
        from_within(ROOM, |scene, action| {
            scene.receive();
            for _ in 0..64 {
                Peer::add(&scene.multiplexer, A, ROOM);
            }
            let mut receiver = scene.multiplexer.receiver(A).unwrap();
            assert!(poll_with(&mut receiver, &task(Moment::Wake, action)).is_pending());
        });
    }

    /// One receiver of a closed channel finds that the last stream has ended; the other receiver is woken to end.
    #[test]
    fn when_the_channel_has_ended() {
        from_within(ROOM, |scene, action| {
            drop(scene.multiplexer.remove_stream(scene.neighbour.id));
            scene.receive();
            scene.multiplexer.close();
            scene.fall_asleep_in_its_poll(task(Moment::Wake, action));
            scene.peer.feed.end();
            drop(scene.multiplexer.try_recv(A));
        });
    }
}

mod in_the_waker_of_a_task_that_waits_for_the_last_stream {
    use super::*;

    #[test]
    fn when_it_ends() {
        from_within(ROOM, |scene, action| {
            scene.wait_for_the_last_as(&task(Moment::Wake, action), |scene| {
                scene.peer.feed.end();
                scene.receive();
            });
        });
    }

    #[test]
    fn when_it_is_moved() {
        from_within(ROOM, |scene, action| {
            scene.wait_for_the_last_as(&task(Moment::Wake, action), |scene| {
                scene.multiplexer.change_stream_channel(scene.peer.id, B).unwrap();
            });
        });
    }

    #[test]
    fn when_it_is_removed() {
        from_within(ROOM, |scene, action| {
            scene.wait_for_the_last_as(&task(Moment::Wake, action), |scene| {
                drop(scene.multiplexer.remove_stream(scene.peer.id));
            });
        });
    }

    #[test]
    fn when_it_is_removed_in_its_poll() {
        from_within(ROOM, |scene, action| {
            scene.wait_for_the_last_as(&task(Moment::Wake, action), |scene| {
                let (multiplexer, id) = (scene.multiplexer.clone(), scene.peer.id);
                scene.peer.stream.on(Moment::Poll, move || assert!(multiplexer.discard_stream(id)));
                scene.receive();
            });
        });
    }

    #[test]
    fn when_it_is_closed() {
        from_within(ROOM, |scene, action| {
            scene.wait_for_the_last_as(&task(Moment::Wake, action), |scene| {
                let _ = block_on(scene.multiplexer.close_stream::<Parcel>(scene.peer.id));
            });
        });
    }

    #[test]
    fn when_its_channel_is_removed() {
        from_within(ROOM, |scene, action| {
            scene.wait_for_the_last_as(&task(Moment::Wake, action), |scene| {
                drop(scene.multiplexer.remove_channel(A));
            });
        });
    }

    /// The channel has no stream, and is closed.
    #[test]
    fn when_none_can_come() {
        from_within(ROOM, |scene, action| {
            scene.multiplexer.add_channel(EMPTY).unwrap();
            let mut drained = scene.multiplexer.drained(EMPTY);
            assert!(poll_future(&mut drained, &task(Moment::Wake, action)).is_pending());
            scene.multiplexer.close_channel(EMPTY).unwrap();
        });
    }

    #[test]
    fn when_none_can_come_anywhere() {
        from_within(ROOM, |scene, action| {
            scene.multiplexer.add_channel(EMPTY).unwrap();
            let mut drained = scene.multiplexer.drained(EMPTY);
            assert!(poll_future(&mut drained, &task(Moment::Wake, action)).is_pending());
            scene.multiplexer.close();
        });
    }
}

mod in_the_waker_of_a_sender {
    use super::*;

    #[test]
    fn when_the_sink_is_ready() {
        from_within(FULL, |scene, action| {
            scene.wait_for_sink_as(&task(Moment::Wake, action), |scene| scene.peer.keeper.make_room(1));
        });
    }

    #[test]
    fn when_the_stream_is_removed() {
        from_within(FULL, |scene, action| {
            scene.wait_for_sink_as(&task(Moment::Wake, action), |scene| {
                drop(scene.multiplexer.remove_stream(scene.peer.id));
            });
        });
    }

    #[test]
    fn when_the_channel_is_removed() {
        from_within(FULL, |scene, action| {
            scene.wait_for_sink_as(&task(Moment::Wake, action), |scene| {
                drop(scene.multiplexer.remove_channel(A));
            });
        });
    }

    #[test]
    fn when_the_stream_ended() {
        from_within(FULL, |scene, action| {
            scene.wait_for_sink_as(&task(Moment::Wake, action), |scene| {
                scene.peer.feed.end();
                scene.receive();
            });
        });
    }

    #[test]
    fn when_the_stream_is_closed() {
        from_within(FULL, |scene, action| {
            scene.wait_for_sink_as(&task(Moment::Wake, action), |scene| {
                let _ = block_on(scene.multiplexer.close_stream::<Parcel>(scene.peer.id));
            });
        });
    }

    /// The task came while another task polled the sink, and is woken when that poll returns.
    #[test]
    fn when_the_sink_is_back() {
        from_within(ROOM, |scene, action| {
            let (multiplexer, id) = (scene.multiplexer.clone(), scene.peer.id);
            let task = task(Moment::Wake, action);
            scene.peer.sink.on(Moment::Flush, move || {
                let mut sender = multiplexer.sender(id).unwrap();
                assert!(poll_future(&mut sender.send(Parcel::default()), &task).is_pending());
                // A dropped sender would not be woken.
                std::mem::forget(sender);
            });
            let _ = block_on(scene.multiplexer.send_one(id, Parcel::default()));
        });
    }
}

mod in_the_drop_of_a_stream {
    use super::*;

    #[test]
    fn that_ended() {
        from_within(ROOM, |scene, action| {
            scene.peer.stream.on(Moment::Drop, action);
            scene.peer.feed.end();
            scene.receive();
        });
    }

    #[test]
    fn that_was_removed_in_its_poll() {
        from_within(ROOM, |scene, action| {
            let (multiplexer, id) = (scene.multiplexer.clone(), scene.peer.id);
            scene.peer.stream.on(Moment::Poll, move || drop(multiplexer.remove_stream(id)));
            scene.peer.stream.on(Moment::Drop, action);
            scene.receive();
        });
    }

    #[test]
    fn that_was_removed_in_its_poll_with_an_item() {
        from_within(ROOM, |scene, action| {
            let (multiplexer, id) = (scene.multiplexer.clone(), scene.peer.id);
            scene.peer.stream.on(Moment::Poll, move || drop(multiplexer.remove_stream(id)));
            scene.peer.stream.on(Moment::Drop, action);
            scene.peer.feed.push(Parcel::default());
            scene.receive();
        });
    }

    #[test]
    fn whose_channel_was_removed_in_its_poll() {
        from_within(ROOM, |scene, action| {
            let multiplexer = scene.multiplexer.clone();
            scene.peer.stream.on(Moment::Poll, move || drop(multiplexer.remove_channel(A)));
            scene.peer.stream.on(Moment::Drop, action);
            scene.receive();
        });
    }

    #[test]
    fn that_is_discarded() {
        from_within(ROOM, |scene, action| {
            scene.peer.stream.on(Moment::Drop, action);
            assert!(scene.multiplexer.discard_stream(scene.peer.id));
        });
    }

    #[test]
    fn that_is_discarded_from_its_channel() {
        from_within(ROOM, |scene, action| {
            scene.peer.stream.on(Moment::Drop, action);
            assert!(scene.multiplexer.discard_stream_from(scene.peer.id, A));
        });
    }

    #[test]
    fn whose_channel_is_discarded() {
        from_within(ROOM, |scene, action| {
            scene.peer.stream.on(Moment::Drop, action);
            assert!(scene.multiplexer.discard_channel(A));
        });
    }

    #[test]
    fn that_was_discarded_while_it_was_borrowed() {
        from_within(ROOM, |scene, action| {
            scene.peer.stream.on(Moment::Drop, action);
            let discard = || scene.multiplexer.discard_stream(scene.peer.id);
            assert_eq!(scene.multiplexer.with_stream(scene.peer.id, |_| discard()), Ok(true));
        });
    }

    /// The stream ended, and the pair stayed for its sink.
    #[test]
    fn that_ended_before() {
        from_within(ROOM, |scene, action| {
            scene.peer.stream.on(Moment::Drop, action);
            let options = ChannelOptions::new().half_close(true);
            scene.multiplexer.add_channel_with(EMPTY, options).unwrap();
            scene.multiplexer.change_stream_channel(scene.peer.id, EMPTY).unwrap();
            scene.peer.feed.end();
            assert!(scene.multiplexer.try_recv(EMPTY).is_ok());
            assert!(scene.multiplexer.discard_stream(scene.peer.id));
        });
    }

    #[test]
    fn whose_sink_was_closed() {
        from_within(ROOM, |scene, action| {
            scene.peer.stream.on(Moment::Drop, action);
            block_on(scene.multiplexer.close_stream::<Parcel>(scene.peer.id)).unwrap();
        });
    }

    #[test]
    fn whose_sink_panicked() {
        from_within(ROOM, |scene, action| {
            scene.peer.stream.on(Moment::Drop, action);
            scene.peer.keeper.panic();
            let send = || block_on(scene.multiplexer.send_one(scene.peer.id, Parcel::default()));
            assert!(std::panic::catch_unwind(std::panic::AssertUnwindSafe(send)).is_err());
        });
    }

    #[test]
    fn that_panicked() {
        from_within(ROOM, |scene, action| {
            scene.peer.stream.on(Moment::Drop, action);
            scene.peer.feed.panic();
            let receive = || scene.receive();
            assert!(std::panic::catch_unwind(std::panic::AssertUnwindSafe(receive)).is_err());
        });
    }
}

mod in_the_drop_of_a_sink {
    use super::*;

    #[test]
    fn whose_stream_ended() {
        from_within(ROOM, |scene, action| {
            scene.peer.sink.on(Moment::Drop, action);
            scene.peer.feed.end();
            scene.receive();
        });
    }

    #[test]
    fn that_is_discarded() {
        from_within(ROOM, |scene, action| {
            scene.peer.sink.on(Moment::Drop, action);
            assert!(scene.multiplexer.discard_stream(scene.peer.id));
        });
    }

    #[test]
    fn whose_channel_is_discarded() {
        from_within(ROOM, |scene, action| {
            scene.peer.sink.on(Moment::Drop, action);
            assert!(scene.multiplexer.discard_channel(A));
        });
    }

    #[test]
    fn after_the_last_send_in_flight() {
        from_within(FULL, |scene, action| {
            scene.peer.sink.on(Moment::Drop, action);
            scene.wait_for_sink_as(Waker::noop(), |scene| {
                scene.peer.feed.end();
                scene.receive();
            });
        });
    }

    #[test]
    fn that_was_removed_in_its_poll() {
        from_within(ROOM, |scene, action| {
            let (multiplexer, id) = (scene.multiplexer.clone(), scene.peer.id);
            scene.peer.sink.on(Moment::Ready, move || drop(multiplexer.remove_stream(id)));
            scene.peer.sink.on(Moment::Drop, action);
            let _ = block_on(scene.multiplexer.send_one(scene.peer.id, Parcel::default()));
        });
    }

    /// And a task with an item in flight uses the sink.
    #[test]
    fn that_was_removed_in_its_poll_and_is_waited_for() {
        from_within(1, |scene, action| {
            let mut sender = scene.sender_that_keeps(Parcel::default());
            let (multiplexer, id) = (scene.multiplexer.clone(), scene.peer.id);
            scene.peer.sink.on(Moment::Ready, move || drop(multiplexer.remove_stream(id)));
            scene.peer.sink.on(Moment::Drop, move || {
                assert!(block_on(sender.flush()).is_err());
                action();
            });
            let _ = poll_future(&mut scene.multiplexer.send_one(id, Parcel::default()), Waker::noop());
        });
    }

    #[test]
    fn that_was_closed() {
        from_within(ROOM, |scene, action| {
            scene.peer.sink.on(Moment::Drop, action);
            block_on(scene.multiplexer.close_stream::<Parcel>(scene.peer.id)).unwrap();
        });
    }

    #[test]
    fn that_panicked() {
        from_within(ROOM, |scene, action| {
            scene.peer.sink.on(Moment::Drop, action);
            scene.peer.keeper.panic();
            let send = || block_on(scene.multiplexer.send_one(scene.peer.id, Parcel::default()));
            assert!(std::panic::catch_unwind(std::panic::AssertUnwindSafe(send)).is_err());
        });
    }
}

mod in_an_item {
    use super::*;

    #[test]
    fn that_is_cloned() {
        from_within(ROOM, |scene, action| {
            let ids = [scene.peer.id; 2];
            let _ = block_on(scene.multiplexer.send(ids, parcel(Moment::Clone, action)));
        });
    }

    #[test]
    fn that_is_dropped_because_no_sink_takes_it() {
        from_within(ROOM, |scene, action| {
            let nobody: [StreamId; 0] = [];
            let sent = block_on(scene.multiplexer.send(nobody, parcel(Moment::Drop, action)));
            assert!(sent.is_empty());
        });
    }

    #[test]
    fn that_is_dropped_for_the_stream_is_unknown() {
        from_within(ROOM, |scene, action| {
            drop(scene.multiplexer.remove_stream(scene.peer.id));
            let _ = block_on(scene.multiplexer.send_one(scene.peer.id, parcel(Moment::Drop, action)));
        });
    }

    #[test]
    fn that_is_dropped_with_its_send() {
        from_within(FULL, |scene, action| {
            let mut send = scene.multiplexer.send_one(scene.peer.id, parcel(Moment::Drop, action));
            assert!(poll_future(&mut send, Waker::noop()).is_pending());
        });
    }

    #[test]
    fn that_is_dropped_with_its_broadcast() {
        from_within(FULL, |scene, action| {
            let other = Peer::add(&scene.multiplexer, B, FULL).unwrap();
            let ids = [other.id, scene.peer.id];
            let mut send = scene.multiplexer.send(ids, parcel(Moment::Drop, action));
            assert!(poll_future(&mut send, Waker::noop()).is_pending());
        });
    }

    #[test]
    fn that_is_dropped_for_the_stream_is_removed_while_it_waits() {
        from_within(FULL, |scene, action| {
            let mut send = scene.multiplexer.send_one(scene.peer.id, parcel(Moment::Drop, action));
            assert!(poll_future(&mut send, Waker::noop()).is_pending());
            drop(scene.multiplexer.remove_stream(scene.peer.id));
            assert!(poll_future(&mut send, Waker::noop()).is_ready());
        });
    }

    #[test]
    fn that_is_dropped_with_the_sender_that_keeps_it() {
        from_within(1, |scene, action| {
            drop(scene.sender_that_keeps(parcel(Moment::Drop, action)));
        });
    }

    #[test]
    fn that_a_sender_gives_up() {
        from_within(1, |scene, action| {
            let mut sender = scene.sender_that_keeps(parcel(Moment::Drop, action));
            drop(scene.multiplexer.remove_stream(scene.peer.id));
            assert!(block_on(sender.flush()).is_err());
        });
    }
}

mod in_the_drop_of_a_task {
    use super::*;

    #[test]
    fn that_is_woken() {
        from_within(ROOM, |scene, action| {
            scene.receive();
            let mut receiver = scene.multiplexer.receiver(A).unwrap();
            let task = task(Moment::Drop, action);
            assert!(poll_with(&mut receiver, &task).is_pending());
            drop(task);
            scene.peer.feed.push(Parcel::default());
        });
    }

    #[test]
    fn that_another_replaces() {
        from_within(ROOM, |scene, action| {
            scene.receive();
            let mut receiver = scene.multiplexer.receiver(A).unwrap();
            let task = task(Moment::Drop, action);
            assert!(poll_with(&mut receiver, &task).is_pending());
            drop(task);
            assert!(poll(&mut receiver).is_pending());
            std::mem::forget(receiver);
        });
    }

    #[test]
    fn whose_receiver_is_dropped() {
        from_within(ROOM, |scene, action| {
            scene.receive();
            let mut receiver = scene.multiplexer.receiver(A).unwrap();
            let task = task(Moment::Drop, action);
            assert!(poll_with(&mut receiver, &task).is_pending());
            drop(task);
            drop(receiver);
        });
    }

    #[test]
    fn whose_recv_is_dropped() {
        from_within(ROOM, |scene, action| {
            scene.receive();
            let mut recv = scene.multiplexer.recv(A);
            let task = task(Moment::Drop, action);
            assert!(poll_future(&mut recv, &task).is_pending());
            drop(task);
            drop(recv);
        });
    }

    #[test]
    fn that_waited_for_the_last_stream() {
        from_within(ROOM, |scene, action| {
            let mut drained = scene.multiplexer.drained(A);
            let task = task(Moment::Drop, action);
            assert!(poll_future(&mut drained, &task).is_pending());
            drop(task);
            drop(drained);
        });
    }

    #[test]
    fn that_another_replaces_in_waiting_for_the_last_stream() {
        from_within(ROOM, |scene, action| {
            let mut drained = scene.multiplexer.drained(A);
            let task = task(Moment::Drop, action);
            assert!(poll_future(&mut drained, &task).is_pending());
            drop(task);
            assert!(poll_future(&mut drained, Waker::noop()).is_pending());
            std::mem::forget(drained);
        });
    }

    #[test]
    fn whose_send_is_dropped() {
        from_within(FULL, |scene, action| {
            let mut send = scene.multiplexer.send_one(scene.peer.id, Parcel::default());
            let task = task(Moment::Drop, action);
            assert!(poll_future(&mut send, &task).is_pending());
            drop(task);
            drop(send);
        });
    }

    #[test]
    fn whose_broadcast_is_dropped() {
        from_within(FULL, |scene, action| {
            let other = Peer::add(&scene.multiplexer, B, FULL).unwrap();
            let mut send = scene.multiplexer.send([other.id, scene.peer.id], Parcel::default());
            let task = task(Moment::Drop, action);
            assert!(poll_future(&mut send, &task).is_pending());
            drop(task);
            drop(send);
        });
    }

    #[test]
    fn that_closes_a_stream() {
        from_within(ROOM, |scene, action| {
            scene.peer.keeper.set_closes(false);
            let mut close = scene.multiplexer.close_stream::<Parcel>(scene.peer.id);
            let task = task(Moment::Drop, action);
            assert!(poll_future(&mut close, &task).is_pending());
            drop(task);
            scene.peer.keeper.set_closes(true);
        });
    }
}
