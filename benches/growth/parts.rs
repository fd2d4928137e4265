//! Streams, sinks and tasks that the benchmark drives by hand.

use futures::{FutureExt, Sink, Stream};
use std::convert::Infallible;
use std::future::Future;
use std::pin::Pin;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::task::{Context, Poll, Waker};
use stream_multiplexer::{ChannelId, ChannelReceiver, Multiplexer, StreamId};

pub(crate) type Mux = Multiplexer<Member, Door>;
pub(crate) type Receiver = ChannelReceiver<Member, Door>;

pub(crate) const CHANNEL: ChannelId = 1;
pub(crate) const OTHER: ChannelId = 2;

/// A multiplexer with two channels.
pub(crate) fn multiplexer() -> Mux {
    let multiplexer = Mux::new();
    multiplexer.add_channel(CHANNEL).unwrap();
    multiplexer.add_channel(OTHER).unwrap();
    multiplexer
}

/// Called once, in a poll.
pub(crate) type Act = Box<dyn FnOnce() + Send>;

/// How often a stream or sink is ready, and which waker to wake.
#[derive(Default)]
pub(crate) struct Control {
    ready: AtomicUsize,
    waker: Mutex<Option<Waker>>,
    act: Mutex<Option<Act>>,
}

impl Control {
    pub(crate) fn ready(times: usize) -> Arc<Self> {
        let control = Self::default();
        control.ready.store(times, Ordering::Relaxed);
        Arc::new(control)
    }

    /// Makes the stream or sink ready once more, and wakes its task.
    pub(crate) fn push(&self) {
        self.ready.fetch_add(1, Ordering::Relaxed);
        self.wake();
    }

    pub(crate) fn wake(&self) {
        let waker = self.waker.lock().unwrap().take();
        if let Some(waker) = waker {
            waker.wake();
        }
    }

    pub(crate) fn waker(&self) -> Option<Waker> {
        self.waker.lock().unwrap().clone()
    }

    /// The next poll calls `act` first.
    pub(crate) fn act(&self, act: impl FnOnce() + Send + 'static) {
        *self.act.lock().unwrap() = Some(Box::new(act));
    }

    fn poll(&self, cx: &mut Context<'_>) -> Poll<()> {
        let act = self.act.lock().unwrap().take();
        if let Some(act) = act {
            act();
        }
        if self.ready.load(Ordering::Relaxed) > 0 {
            return Poll::Ready(());
        }
        *self.waker.lock().unwrap() = Some(cx.waker().clone());
        Poll::Pending
    }

    fn take(&self) {
        self.ready.fetch_sub(1, Ordering::Relaxed);
    }
}

/// A stream that yields an item each time it is ready.
pub(crate) struct Member(pub(crate) Arc<Control>);

impl Stream for Member {
    type Item = ();

    fn poll_next(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<()>> {
        self.0.poll(cx).map(|()| {
            self.0.take();
            Some(())
        })
    }
}

/// A sink that takes an item each time it is ready, and closes when it is ready.
pub(crate) struct Door(pub(crate) Arc<Control>);

impl Sink<()> for Door {
    type Error = Infallible;

    fn poll_ready(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
        self.0.poll(cx).map(Ok)
    }

    fn start_send(self: Pin<&mut Self>, (): ()) -> Result<(), Infallible> {
        self.0.take();
        Ok(())
    }

    fn poll_flush(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
        Poll::Ready(Ok(()))
    }

    fn poll_close(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
        self.0.poll(cx).map(Ok)
    }
}

/// Adds a pair whose stream and sink are never ready.
pub(crate) fn add_idle(multiplexer: &Mux, channel: ChannelId) -> (StreamId, Arc<Control>) {
    let (stream, sink) = (Control::ready(0), Control::ready(0));
    let id = add(multiplexer, &stream, &sink, channel);
    (id, stream)
}

pub(crate) fn add(
    multiplexer: &Mux,
    stream: &Arc<Control>,
    sink: &Arc<Control>,
    channel: ChannelId,
) -> StreamId {
    let (sink, stream) = (Door(Arc::clone(sink)), Member(Arc::clone(stream)));
    multiplexer.add_stream_pair(sink, stream, channel).unwrap()
}

/// A receiver of `CHANNEL` with a number of idle members, each of which was polled once.
pub(crate) fn idle_members(members: usize) -> (Mux, Receiver, Vec<(StreamId, Arc<Control>)>) {
    let multiplexer = multiplexer();
    let mut receiver = multiplexer.receiver(CHANNEL).unwrap();
    let added: Vec<_> = (0..members).map(|_| add_idle(&multiplexer, CHANNEL)).collect();
    settle(&mut receiver, &added);
    (multiplexer, receiver, added)
}

/// Polls until each member has had its first poll.
pub(crate) fn settle(receiver: &mut Receiver, members: &[(StreamId, Arc<Control>)]) {
    while members.last().is_some_and(|(_, stream)| stream.waker().is_none()) {
        assert!(poll(receiver).is_pending());
    }
}

pub(crate) fn poll<S: Stream + Unpin>(stream: &mut S) -> Poll<Option<S::Item>> {
    Pin::new(stream).poll_next(&mut Context::from_waker(Waker::noop()))
}

pub(crate) fn poll_future<F: Future + Unpin>(future: &mut F) -> Poll<F::Output> {
    future.poll_unpin(&mut Context::from_waker(Waker::noop()))
}

/// Reads all events that are available immediately.
pub(crate) fn drain(receiver: &mut Receiver) -> usize {
    let mut events = 0;
    while poll(receiver).is_ready() {
        events += 1;
    }
    events
}

/// Numbers in a pseudo-random order that is the same in each run.
pub(crate) fn shuffled(end: usize) -> Vec<usize> {
    let mut numbers: Vec<_> = (0..end).collect();
    let mut random = 0x9e37_79b9_7f4a_7c15_u64;
    for at in (1..end).rev() {
        random ^= random << 13;
        random ^= random >> 7;
        random ^= random << 17;
        let other = usize::try_from(random >> 32).expect("32 bits") % (at + 1);
        numbers.swap(at, other);
    }
    numbers
}
