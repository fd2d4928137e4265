//! Closing a stream: its sink is flushed and closed once, and then the pair is removed, whatever other threads do with the
//! pair.

use crate::support;
use futures::future::{BoxFuture, LocalBoxFuture};
use futures::{FutureExt, Sink, SinkExt};
use std::pin::Pin;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, mpsc};
use std::task::{Context, Poll, Wake, Waker};
use std::thread;
use stream_multiplexer::StreamEvent::{self, Ended, Item, Removed};
use stream_multiplexer::{ChannelOptions, Multiplexer, SendError, Sent, StreamId};
use support::{Broken, Feed, Gate, Gatekeeper, Pipe, Wakes, finishes, gate, pipe, poll, poll_future};

const CHANNEL: usize = 1;

type Pairs<Si = Gate<u32>> = Multiplexer<Pipe<u32>, Si>;
type Polled = Poll<Result<(), SendError<Broken>>>;

const DONE: Polled = Poll::Ready(Ok(()));

/// The test's access to a pair.
struct Peer {
    id: StreamId,
    feed: Feed<u32>,
    gate: Gatekeeper<u32>,
}

impl Peer {
    fn unknown(&self) -> Polled {
        Poll::Ready(Err(SendError::UnknownStream(self.id)))
    }

    fn closed(&self) -> Polled {
        Poll::Ready(Err(SendError::Closed(self.id)))
    }

    fn failed(&self) -> Polled {
        Poll::Ready(Err(SendError::Sink { id: self.id, error: Broken }))
    }

    fn is_gone(&self) -> bool {
        self.feed.is_dropped() && self.gate.is_dropped()
    }
}

/// A pair whose sink has room for `room` items.
fn scene(room: usize) -> (Pairs, Peer) {
    let multiplexer = Multiplexer::new();
    multiplexer.add_channel(CHANNEL).unwrap();
    let peer = add(&multiplexer, room);
    (multiplexer, peer)
}

fn add(multiplexer: &Pairs, room: usize) -> Peer {
    let (gate, sink) = gate(room);
    let (feed, stream) = pipe();
    let id = multiplexer.add_stream_pair(sink, stream, CHANNEL).unwrap();
    Peer { id, feed, gate }
}

/// Returns all events of the channel that are available now.
fn events<Si>(multiplexer: &Pairs<Si>) -> Vec<(StreamId, StreamEvent<u32>)> {
    let mut receiver = multiplexer.receiver(CHANNEL).unwrap();
    let mut events = Vec::new();
    while let Poll::Ready(Some(event)) = poll(&mut receiver) {
        events.push(event);
    }
    events
}

/// Ends the stream, and lets its channel notice.
fn end(multiplexer: &Pairs, peer: &Peer) {
    peer.feed.end();
    assert_eq!(events(multiplexer), [(peer.id, Ended)]);
}

/// Polls a future with a waker that does nothing.
fn poll_once<F: Future + Unpin>(future: &mut F) -> Poll<F::Output> {
    poll_future(future, Waker::noop())
}

mod a_stream_that_is_closed {
    use super::*;

    #[test]
    fn has_its_sink_closed_and_is_removed() {
        let (multiplexer, peer) = scene(1);
        let other = add(&multiplexer, 1);
        assert_eq!(multiplexer.send_one(peer.id, 1).now_or_never(), Some(Ok(())));
        assert_eq!(multiplexer.close_stream(peer.id).now_or_never(), Some(Ok(())));
        assert!(peer.gate.is_closed());
        assert_eq!(peer.gate.take_items(), [1]);
        assert_eq!(events(&multiplexer), [(peer.id, Removed)]);
        assert!(peer.is_gone());
        assert!(multiplexer.remove_stream(peer.id).is_none());
        assert_eq!(multiplexer.channel_len(CHANNEL), Some(1));
        assert!(!other.gate.is_closed());
    }

    #[test]
    fn is_there_until_its_sink_is_closed() {
        let (multiplexer, peer) = scene(1);
        let (wakes, waker) = Wakes::new();
        peer.gate.set_closes(false);
        let mut closing = multiplexer.close_stream(peer.id);
        assert_eq!(poll_future(&mut closing, &waker), Poll::Pending);
        assert_eq!(wakes.take(), 0, "it sleeps");
        assert_eq!(multiplexer.channel_of(peer.id), Some(CHANNEL));
        peer.feed.push(5);
        assert_eq!(events(&multiplexer), [(peer.id, Item(5))], "it is received from");
        peer.gate.set_closes(true);
        assert_ne!(wakes.take(), 0);
        assert_eq!(poll_future(&mut closing, &waker), DONE);
        assert_eq!(events(&multiplexer), [(peer.id, Removed)]);
        assert!(peer.is_gone());
    }

    #[test]
    fn wakes_receivers_of_its_channel() {
        let (multiplexer, peer) = scene(1);
        let (wakes, waker) = Wakes::new();
        let mut received = multiplexer.recv(CHANNEL);
        assert_eq!(poll_future(&mut received, &waker), Poll::Pending);
        assert_eq!(multiplexer.close_stream(peer.id).now_or_never(), Some(Ok(())));
        assert_ne!(wakes.take(), 0);
        assert_eq!(poll_future(&mut received, &waker), Poll::Ready(Ok((peer.id, None))));
    }

    #[test]
    fn is_removed_also_if_its_sink_fails() {
        let (multiplexer, peer) = scene(1);
        peer.gate.fail();
        assert_eq!(poll_once(&mut multiplexer.close_stream(peer.id)), peer.failed());
        assert_eq!(events(&multiplexer), [(peer.id, Removed)]);
        assert!(peer.is_gone());
    }

    #[test]
    fn is_removed_also_if_its_sink_fails_in_the_end() {
        let (multiplexer, peer) = scene(1);
        peer.gate.set_closes(false);
        let mut closing = multiplexer.close_stream(peer.id);
        assert_eq!(poll_once(&mut closing), Poll::Pending);
        peer.gate.fail();
        assert_eq!(poll_once(&mut closing), peer.failed());
        assert!(peer.is_gone());
    }

    #[test]
    fn is_unknown_if_it_is_gone() {
        let (multiplexer, peer) = scene(1);
        multiplexer.remove_stream(peer.id).unwrap();
        assert_eq!(poll_once(&mut multiplexer.close_stream(peer.id)), peer.unknown());

        let peer = add(&multiplexer, 1);
        events(&multiplexer);
        end(&multiplexer, &peer);
        assert_eq!(poll_once(&mut multiplexer.close_stream(peer.id)), peer.unknown());
        assert!(!peer.gate.is_closed(), "its sink was dropped when it ended");
    }

    #[test]
    fn is_removed_also_if_it_has_no_sink() {
        let (multiplexer, peer) = scene(1);
        let pair = multiplexer.remove_stream(peer.id).unwrap();
        let id = multiplexer.add_stream(pair.stream.unwrap(), CHANNEL).unwrap();
        let closed = poll_once(&mut multiplexer.close_stream(id));
        assert_eq!(closed, Poll::Ready(Err(SendError::UnknownStream(id))));
        assert_eq!(multiplexer.channel_of(id), None);
    }

    #[test]
    fn may_be_one_that_ended_where_channels_half_close() {
        let multiplexer = Pairs::new();
        multiplexer.add_channel_with(CHANNEL, ChannelOptions::new().half_close(true)).unwrap();
        let peer = add(&multiplexer, 1);
        end(&multiplexer, &peer);
        assert_eq!(multiplexer.send_one(peer.id, 1).now_or_never(), Some(Ok(())));
        assert_eq!(multiplexer.close_stream(peer.id).now_or_never(), Some(Ok(())));
        assert!(peer.gate.is_closed());
        assert!(peer.gate.is_dropped());
        assert_eq!(events(&multiplexer), [], "its departure was told when it ended");
    }

    #[test]
    fn may_be_one_of_a_closed_multiplexer() {
        let (multiplexer, peer) = scene(1);
        multiplexer.close();
        assert_eq!(multiplexer.close_stream(peer.id).now_or_never(), Some(Ok(())));
        assert!(peer.gate.is_closed());
        let mut receiver = multiplexer.receiver(CHANNEL).unwrap();
        assert_eq!(poll(&mut receiver), Poll::Ready(Some((peer.id, Removed))));
        assert_eq!(poll(&mut receiver), Poll::Ready(None));
    }
}

/// From the first poll of the closing, no new item is sent. Sends in flight complete.
mod sends {
    use super::*;

    #[test]
    fn that_are_new_are_refused_while_it_is_being_closed() {
        let (multiplexer, peer) = scene(5);
        let other = add(&multiplexer, 1);
        peer.gate.set_closes(false);
        let mut closing = multiplexer.close_stream(peer.id);
        assert_eq!(poll_once(&mut closing), Poll::Pending);
        assert_eq!(poll_once(&mut multiplexer.send_one(peer.id, 1)), peer.closed());
        let sent = multiplexer.send([peer.id, other.id], 1).now_or_never().unwrap();
        assert_eq!(sent.as_slice(), [Err(SendError::Closed(peer.id)), Ok(other.id)]);
        let mut sender = multiplexer.sender(peer.id).unwrap();
        assert_eq!(sender.send(1).now_or_never(), Some(Err(SendError::Closed(peer.id))));
        assert!(peer.gate.take_items().is_empty());
    }

    /// Sends in each way that is a single future.
    fn each_way<'a>(
        multiplexer: &'a Pairs,
        peer: &Peer,
        other: &Peer,
    ) -> [LocalBoxFuture<'a, Result<(), SendError<Broken>>>; 3] {
        let first = |sent: Sent<_>| sent.into_vec().swap_remove(0).map(drop);
        [
            multiplexer.send_one(peer.id, 1).boxed_local(),
            multiplexer.send([peer.id], 1).map(first).boxed_local(),
            multiplexer.send([peer.id, other.id], 1).map(first).boxed_local(),
        ]
    }

    #[test]
    fn that_wait_for_the_sink_fail_when_its_closing_begins() {
        let (multiplexer, peer) = scene(0);
        let other = add(&multiplexer, 5);
        let (wakes, waker) = Wakes::new();
        peer.gate.set_closes(false);
        let mut waiting = each_way(&multiplexer, &peer, &other);
        for sending in &mut waiting {
            assert_eq!(poll_future(sending, &waker), Poll::Pending);
        }
        let mut closing = multiplexer.close_stream(peer.id);
        wakes.take();
        assert_eq!(poll_once(&mut closing), Poll::Pending);
        assert_eq!(wakes.take(), 3);
        for sending in &mut waiting {
            assert_eq!(poll_future(sending, &waker), peer.closed());
        }
    }

    /// Also if the sink is already closed when they are polled.
    #[test]
    fn that_wait_for_the_sink_fail_when_it_was_closed() {
        let (multiplexer, peer) = scene(0);
        let other = add(&multiplexer, 5);
        let (wakes, waker) = Wakes::new();
        let mut waiting = each_way(&multiplexer, &peer, &other);
        for sending in &mut waiting {
            assert_eq!(poll_future(sending, &waker), Poll::Pending);
        }
        wakes.take();
        assert_eq!(multiplexer.close_stream(peer.id).now_or_never(), Some(Ok(())));
        assert_ne!(wakes.take(), 0);
        for sending in &mut waiting {
            assert_eq!(poll_future(sending, &waker), peer.closed());
        }
    }

    #[test]
    fn that_were_handed_over_are_flushed_while_it_is_being_closed() {
        let (multiplexer, peer) = scene(3);
        let other = add(&multiplexer, 5);
        let mut sends = each_way(&multiplexer, &peer, &other);
        peer.gate.set_flushes(false);
        for sending in &mut sends {
            assert_eq!(poll_once(sending), Poll::Pending);
        }
        peer.gate.set_closes(false);
        let mut closing = multiplexer.close_stream(peer.id);
        assert_eq!(poll_once(&mut closing), Poll::Pending);
        peer.gate.set_flushes(true);
        for sending in &mut sends {
            assert_eq!(poll_once(sending), DONE);
        }
        assert_eq!(peer.gate.take_items(), [1, 1, 1]);
    }

    #[test]
    fn that_were_handed_over_are_flushed_by_closing_it() {
        let (multiplexer, peer) = scene(3);
        let other = add(&multiplexer, 5);
        let (wakes, waker) = Wakes::new();
        let mut sends = each_way(&multiplexer, &peer, &other);
        peer.gate.set_flushes(false);
        for sending in &mut sends {
            assert_eq!(poll_future(sending, &waker), Poll::Pending);
        }
        wakes.take();
        assert_eq!(multiplexer.close_stream(peer.id).now_or_never(), Some(Ok(())));
        assert_ne!(wakes.take(), 0);
        for sending in &mut sends {
            assert_eq!(poll_future(sending, &waker), DONE);
        }
        assert!(peer.gate.is_dropped(), "nobody keeps a sink that was closed");
    }

    #[test]
    fn that_were_handed_over_are_maybe_lost_if_closing_it_fails() {
        let (multiplexer, peer) = scene(3);
        let other = add(&multiplexer, 5);
        let (wakes, waker) = Wakes::new();
        let mut sends = each_way(&multiplexer, &peer, &other);
        peer.gate.set_flushes(false);
        for sending in &mut sends {
            assert_eq!(poll_future(sending, &waker), Poll::Pending);
        }
        wakes.take();
        peer.gate.fail();
        assert_eq!(poll_once(&mut multiplexer.close_stream(peer.id)), peer.failed());
        assert_ne!(wakes.take(), 0);
        for sending in &mut sends {
            assert_eq!(poll_future(sending, &waker), Poll::Ready(Err(SendError::Unflushed(peer.id))));
        }
    }
}

/// The effects of a closing that was dropped.
mod cancelled {
    use super::*;

    #[test]
    fn before_its_first_poll_nothing() {
        let (multiplexer, peer) = scene(1);
        drop(multiplexer.close_stream(peer.id));
        assert_eq!(peer.gate.take_polls(), 0);
        assert_eq!(multiplexer.send_one(peer.id, 1).now_or_never(), Some(Ok(())));

        let closing = multiplexer.close_stream(peer.id);
        assert_eq!(
            multiplexer.send_one(peer.id, 2).now_or_never(),
            None,
            "it has no room, and is not refused"
        );
        drop(closing);
        assert!(!peer.is_gone());
    }

    /// A pair whose closing was dropped in the middle.
    fn half_closed() -> (Pairs, Peer) {
        let (multiplexer, peer) = scene(1);
        peer.gate.set_closes(false);
        let mut closing = multiplexer.close_stream(peer.id);
        assert_eq!(poll_once(&mut closing), Poll::Pending);
        drop(closing);
        peer.gate.set_closes(true);
        (multiplexer, peer)
    }

    #[test]
    fn half_way_the_pair_stays_and_is_received_from() {
        let (multiplexer, peer) = half_closed();
        peer.feed.push(5);
        assert_eq!(events(&multiplexer), [(peer.id, Item(5))]);
        assert_eq!(multiplexer.channel_of(peer.id), Some(CHANNEL));
        end(&multiplexer, &peer);
        assert!(peer.is_gone());
    }

    #[test]
    fn half_way_nothing_can_be_sent() {
        let (multiplexer, peer) = half_closed();
        assert_eq!(poll_once(&mut multiplexer.send_one(peer.id, 1)), peer.closed());
        let mut sender = multiplexer.sender(peer.id).unwrap();
        assert_eq!(sender.send(1).now_or_never(), Some(Err(SendError::Closed(peer.id))));
        assert!(peer.gate.take_items().is_empty());
    }

    #[test]
    fn half_way_it_may_be_closed_again() {
        let (multiplexer, peer) = half_closed();
        assert_eq!(multiplexer.close_stream(peer.id).now_or_never(), Some(Ok(())));
        assert!(peer.gate.is_closed());
        assert!(peer.is_gone());
        assert_eq!(events(&multiplexer), [(peer.id, Removed)]);
    }

    #[test]
    fn half_way_it_may_be_removed() {
        let (multiplexer, peer) = half_closed();
        let pair = multiplexer.remove_stream(peer.id).unwrap();
        assert!(pair.sink.is_some());
        assert!(pair.stream.is_some());
    }

    #[test]
    fn half_way_it_lets_go_of_its_task() {
        let (multiplexer, peer) = scene(1);
        let (wakes, waker) = Wakes::new();
        peer.gate.set_closes(false);
        let mut closing = multiplexer.close_stream(peer.id);
        assert_eq!(poll_future(&mut closing, &waker), Poll::Pending);
        drop(closing);
        peer.gate.set_closes(true);
        assert_eq!(wakes.take(), 0);
        drop(waker);
        assert_eq!(Arc::strong_count(&wakes), 1);
    }
}

type Action = Box<dyn FnOnce() + Send>;

/// Runs in the sink's next poll.
#[derive(Clone, Default)]
struct Hook(Arc<Mutex<Option<Action>>>);

impl Hook {
    fn set(&self, action: impl FnOnce() + Send + 'static) {
        *self.0.lock().unwrap() = Some(Box::new(action));
    }

    fn run(&self) {
        let action = self.0.lock().unwrap().take();
        if let Some(action) = action {
            action();
        }
    }
}

/// A sink that runs an action in its next `poll_ready` or `poll_close`, and counts polls after it was closed. A closed sink
/// must not be polled.
struct Watched {
    sink: Gate<u32>,
    closed: bool,
    on_ready: Hook,
    on_close: Hook,
    polls_of_the_dead: Arc<AtomicUsize>,
}

impl Watched {
    fn gate(&mut self) -> Pin<&mut Gate<u32>> {
        self.polls_of_the_dead.fetch_add(usize::from(self.closed), Ordering::SeqCst);
        Pin::new(&mut self.sink)
    }
}

impl Sink<u32> for Watched {
    type Error = Broken;

    fn poll_ready(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Result<(), Broken>> {
        self.on_ready.run();
        self.gate().poll_ready(cx)
    }

    fn start_send(mut self: Pin<&mut Self>, item: u32) -> Result<(), Broken> {
        Pin::new(&mut self.sink).start_send(item)
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Result<(), Broken>> {
        self.gate().poll_flush(cx)
    }

    fn poll_close(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Result<(), Broken>> {
        self.on_close.run();
        let closed = self.gate().poll_close(cx);
        self.closed |= closed == Poll::Ready(Ok(()));
        closed
    }
}

/// A multiplexer with one pair, whose sink is [`Watched`].
struct Watch {
    multiplexer: Pairs<Watched>,
    id: StreamId,
    gate: Gatekeeper<u32>,
    on_ready: Hook,
    on_close: Hook,
    polls_of_the_dead: Arc<AtomicUsize>,
    _feed: Feed<u32>,
}

impl Watch {
    fn new() -> Self {
        let (gate, sink) = gate(1);
        let sink = Watched {
            sink,
            closed: false,
            on_ready: Hook::default(),
            on_close: Hook::default(),
            polls_of_the_dead: Arc::default(),
        };
        let (on_ready, on_close) = (sink.on_ready.clone(), sink.on_close.clone());
        let polls_of_the_dead = Arc::clone(&sink.polls_of_the_dead);
        let multiplexer = Multiplexer::new();
        multiplexer.add_channel(CHANNEL).unwrap();
        let (feed, stream) = pipe();
        let id = multiplexer.add_stream_pair(sink, stream, CHANNEL).unwrap();
        Self { multiplexer, id, gate, on_ready, on_close, polls_of_the_dead, _feed: feed }
    }

    /// A closing that can be polled in any thread.
    fn close(&self) -> BoxFuture<'static, Result<(), SendError<Broken>>> {
        let (multiplexer, id) = (self.multiplexer.clone(), self.id);
        async move { multiplexer.close_stream(id).await }.boxed()
    }
}

/// A task that is polled in its waker, as some executors do.
struct InPlace {
    future: Mutex<BoxFuture<'static, Result<(), SendError<Broken>>>>,
    result: Mutex<Option<Result<(), SendError<Broken>>>>,
}

impl InPlace {
    fn new(future: BoxFuture<'static, Result<(), SendError<Broken>>>) -> Arc<Self> {
        Arc::new(Self { future: Mutex::new(future), result: Mutex::new(None) })
    }

    fn poll(self: &Arc<Self>) {
        let mut future = self.future.lock().unwrap();
        if let Poll::Ready(result) = poll_future(&mut *future, &Waker::from(Arc::clone(self))) {
            *self.result.lock().unwrap() = Some(result);
        }
    }
}

impl Wake for InPlace {
    fn wake(self: Arc<Self>) {
        self.poll();
    }
}

/// Other tasks use the sink, or end the pair, while it is being closed.
mod at_once {
    use super::*;

    #[test]
    fn two_close_it() {
        let (multiplexer, peer) = scene(1);
        let (wakes, waker) = Wakes::new();
        peer.gate.set_closes(false);
        let mut closings = [(); 2].map(|()| multiplexer.close_stream(peer.id));
        while wakes.take() > 0 || peer.gate.take_polls() == 0 {
            for closing in &mut closings {
                assert_eq!(poll_future(closing, &waker), Poll::Pending);
            }
        }
        peer.gate.set_closes(true);
        assert_eq!(wakes.take(), 2, "both are told");
        for closing in &mut closings {
            assert_eq!(poll_future(closing, &waker), DONE);
        }
        assert_eq!(events(&multiplexer), [(peer.id, Removed)], "removed once");
    }

    #[test]
    fn the_second_finds_it_closed_by_the_first() {
        let (multiplexer, peer) = scene(1);
        let (wakes, waker) = Wakes::new();
        peer.gate.set_closes(false);
        let mut first = multiplexer.close_stream(peer.id);
        let mut second = multiplexer.close_stream(peer.id);
        assert_eq!(poll_once(&mut first), Poll::Pending);
        assert_eq!(poll_future(&mut second, &waker), Poll::Pending);
        peer.gate.set_closes(true);
        assert_eq!(poll_once(&mut first), DONE);
        assert_ne!(wakes.take(), 0);
        peer.gate.take_polls();
        assert_eq!(poll_future(&mut second, &waker), DONE);
        assert_eq!(peer.gate.take_polls(), 0, "a closed sink is not polled");
    }

    #[test]
    fn the_second_finds_it_failed() {
        let (multiplexer, peer) = scene(1);
        peer.gate.set_closes(false);
        let mut closings = [(); 2].map(|()| multiplexer.close_stream(peer.id));
        for closing in &mut closings {
            assert_eq!(poll_once(closing), Poll::Pending);
        }
        peer.gate.fail();
        assert_eq!(poll_once(&mut closings[0]), peer.failed());
        assert_eq!(poll_once(&mut closings[1]), peer.unknown());
    }

    /// The second closing waits while the first polls the sink, and is polled again as soon as that poll is done.
    #[test]
    fn the_second_does_not_poll_a_closed_sink() {
        let watch = Watch::new();
        let second = InPlace::new(watch.close());
        let polled = Arc::clone(&second);
        watch.on_close.set(move || polled.poll());
        assert_eq!(watch.close().now_or_never(), Some(Ok(())));
        assert_eq!(*second.result.lock().unwrap(), Some(Ok(())));
        assert_eq!(watch.polls_of_the_dead.load(Ordering::SeqCst), 0);
    }

    #[test]
    fn a_send_in_flight_does_not_flush_a_closed_sink() {
        let watch = Watch::new();
        watch.gate.set_flushes(false);
        let (multiplexer, id) = (watch.multiplexer.clone(), watch.id);
        let sending = InPlace::new(async move { multiplexer.send_one(id, 1).await }.boxed());
        sending.poll();
        let polled = Arc::clone(&sending);
        watch.on_close.set(move || polled.poll());
        assert_eq!(watch.close().now_or_never(), Some(Ok(())));
        assert_eq!(*sending.result.lock().unwrap(), Some(Ok(())));
        assert_eq!(watch.polls_of_the_dead.load(Ordering::SeqCst), 0);
    }

    /// The closing waits for that poll, and then closes the sink.
    #[test]
    fn another_thread_polls_the_sink() {
        finishes(|| {
            let watch = Watch::new();
            let (entered, enters) = mpsc::channel();
            let (goes_on, go_on) = mpsc::channel::<()>();
            watch.on_ready.set(move || {
                entered.send(()).unwrap();
                go_on.recv().unwrap();
            });
            let (wakes, waker) = Wakes::new();
            let mut closing = watch.close();
            thread::scope(|scope| {
                let sending = scope.spawn(|| watch.multiplexer.send_one(watch.id, 1).now_or_never());
                enters.recv().unwrap();
                assert_eq!(poll_future(&mut closing, &waker), Poll::Pending);
                assert_eq!(wakes.take(), 0, "it sleeps");
                goes_on.send(()).unwrap();
                assert_eq!(sending.join().unwrap(), Some(Ok(())), "it was in flight already");
            });
            assert_ne!(wakes.take(), 0);
            assert_eq!(poll_future(&mut closing, &waker), DONE);
            assert!(watch.gate.is_closed());
            assert_eq!(watch.gate.take_items(), [1]);
            assert_eq!(events(&watch.multiplexer), [(watch.id, Removed)]);
        });
    }

    #[test]
    fn the_stream_ends() {
        let (multiplexer, peer) = scene(1);
        peer.gate.set_closes(false);
        let mut closing = multiplexer.close_stream(peer.id);
        assert_eq!(poll_once(&mut closing), Poll::Pending);
        end(&multiplexer, &peer);
        assert!(!peer.gate.is_dropped(), "it is in flight");
        assert_eq!(poll_once(&mut closing), Poll::Pending);
        peer.gate.set_closes(true);
        assert_eq!(poll_once(&mut closing), DONE);
        assert!(peer.gate.is_closed());
        assert!(peer.gate.is_dropped());
        assert_eq!(events(&multiplexer), [], "its departure was told when it ended");
    }

    /// The send fails with `Closed`, because of the closing, and not because of the end of the stream.
    #[test]
    fn the_stream_ends_and_a_send_waits() {
        let (multiplexer, peer) = scene(0);
        peer.gate.set_closes(false);
        let mut sending = multiplexer.send_one(peer.id, 1);
        assert_eq!(poll_once(&mut sending), Poll::Pending);
        let mut closing = multiplexer.close_stream(peer.id);
        assert_eq!(poll_once(&mut closing), Poll::Pending);
        end(&multiplexer, &peer);
        peer.gate.make_room(1);
        assert_eq!(poll_once(&mut sending), Poll::Ready(Err(SendError::Closed(peer.id))));
    }

    /// A send that waits for the flush is woken when the sink is closed.
    #[test]
    fn the_stream_ends_and_a_send_is_flushed() {
        let (multiplexer, peer) = scene(1);
        let (wakes, waker) = Wakes::new();
        peer.gate.set_flushes(false);
        peer.gate.set_closes(false);
        let mut sending = multiplexer.send_one(peer.id, 1);
        assert_eq!(poll_future(&mut sending, &waker), Poll::Pending);
        let mut closing = multiplexer.close_stream(peer.id);
        assert_eq!(poll_once(&mut closing), Poll::Pending);
        end(&multiplexer, &peer);
        peer.gate.set_closes(true);
        assert_eq!(poll_future(&mut sending, &waker), Poll::Pending);
        wakes.take();
        assert_eq!(poll_once(&mut closing), DONE);
        assert_eq!(wakes.take(), 1);
        assert_eq!(poll_future(&mut sending, &waker), DONE);
    }

    #[test]
    fn the_stream_is_moved() {
        let (multiplexer, peer) = scene(1);
        multiplexer.add_channel(2).unwrap();
        peer.gate.set_closes(false);
        let mut closing = multiplexer.close_stream(peer.id);
        assert_eq!(poll_once(&mut closing), Poll::Pending);
        multiplexer.change_stream_channel(peer.id, 2).unwrap();
        peer.gate.set_closes(true);
        assert_eq!(poll_once(&mut closing), DONE);
        assert_eq!(events(&multiplexer), [(peer.id, StreamEvent::Moved(2))]);
        assert_eq!(multiplexer.try_recv(2), Ok((peer.id, None)));
        assert!(peer.is_gone());
    }

    #[test]
    fn the_pair_is_removed() {
        let (multiplexer, peer) = scene(1);
        let (wakes, waker) = Wakes::new();
        peer.gate.set_closes(false);
        let mut closing = multiplexer.close_stream(peer.id);
        assert_eq!(poll_future(&mut closing, &waker), Poll::Pending);
        wakes.take();
        assert!(multiplexer.remove_stream(peer.id).unwrap().sink.is_some());
        assert_ne!(wakes.take(), 0);
        assert_eq!(poll_future(&mut closing, &waker), peer.unknown());
        assert!(!peer.gate.is_closed());
    }

    #[test]
    fn the_channel_is_removed() {
        let (multiplexer, peer) = scene(1);
        let (wakes, waker) = Wakes::new();
        peer.gate.set_closes(false);
        let mut closing = multiplexer.close_stream(peer.id);
        assert_eq!(poll_future(&mut closing, &waker), Poll::Pending);
        wakes.take();
        assert_eq!(multiplexer.remove_channel(CHANNEL).unwrap().len(), 1);
        assert_ne!(wakes.take(), 0);
        assert_eq!(poll_future(&mut closing, &waker), peer.unknown());
    }
}
