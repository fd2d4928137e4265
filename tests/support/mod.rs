//! Streams, sinks and wakers driven by hand, so that a test says exactly who is ready when.

#![allow(dead_code, reason = "each test file uses its part")]

pub(crate) mod hooked;
pub(crate) mod raw_waker;

use futures::{Sink, Stream};
use std::collections::VecDeque;
use std::convert::Infallible;
use std::pin::Pin;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError, mpsc};
use std::task::{Context, Poll, Wake, Waker};
use std::thread;
use std::time::Duration;

/// A waker that counts.
#[derive(Debug, Default)]
pub(crate) struct Wakes(AtomicUsize);

impl Wakes {
    pub(crate) fn new() -> (Arc<Self>, Waker) {
        let wakes = Arc::new(Self::default());
        let waker = Waker::from(Arc::clone(&wakes));
        (wakes, waker)
    }

    /// How often it was woken since this was last asked.
    pub(crate) fn take(&self) -> usize {
        self.0.swap(0, Ordering::SeqCst)
    }
}

impl Wake for Wakes {
    fn wake(self: Arc<Self>) {
        self.wake_by_ref();
    }

    fn wake_by_ref(self: &Arc<Self>) {
        self.0.fetch_add(1, Ordering::SeqCst);
    }
}

/// Polls a stream with a waker.
pub(crate) fn poll_with<S: Stream + Unpin>(stream: &mut S, waker: &Waker) -> Poll<Option<S::Item>> {
    Pin::new(stream).poll_next(&mut Context::from_waker(waker))
}

/// Polls a stream with a waker that nobody hears.
pub(crate) fn poll<S: Stream + Unpin>(stream: &mut S) -> Poll<Option<S::Item>> {
    poll_with(stream, Waker::noop())
}

/// Polls a future with a waker.
pub(crate) fn poll_future<F: Future + Unpin>(future: &mut F, waker: &Waker) -> Poll<F::Output> {
    Pin::new(future).poll(&mut Context::from_waker(waker))
}

/// Polls a future that yields to the executor, and waits for nothing else.
pub(crate) fn run<F: Future + Unpin>(mut future: F) -> F::Output {
    let (wakes, waker) = Wakes::new();
    loop {
        if let Poll::Ready(output) = poll_future(&mut future, &waker) {
            return output;
        }
        assert_ne!(wakes.take(), 0, "it waits for something");
    }
}

#[derive(Debug)]
struct PipeState<T> {
    items: VecDeque<T>,
    ended: bool,
    panics: bool,
    waker: Option<Waker>,
    polls: usize,
}

/// The end of a [`Pipe`] that the test holds.
#[derive(Debug)]
pub(crate) struct Feed<T>(Arc<Mutex<PipeState<T>>>);

/// A stream that yields what its [`Feed`] is given, and counts its polls. It wakes when it is fed.
#[derive(Debug)]
pub(crate) struct Pipe<T>(Arc<Mutex<PipeState<T>>>);

pub(crate) fn pipe<T>() -> (Feed<T>, Pipe<T>) {
    let state = PipeState { items: VecDeque::new(), ended: false, panics: false, waker: None, polls: 0 };
    let state = Arc::new(Mutex::new(state));
    (Feed(Arc::clone(&state)), Pipe(state))
}

impl<T> Clone for Feed<T> {
    fn clone(&self) -> Self {
        Self(Arc::clone(&self.0))
    }
}

impl<T> Feed<T> {
    fn change(&self, change: impl FnOnce(&mut PipeState<T>)) {
        let waker = {
            let mut state = self.0.lock().unwrap_or_else(PoisonError::into_inner);
            change(&mut state);
            state.waker.take()
        };
        if let Some(waker) = waker {
            waker.wake();
        }
    }

    pub(crate) fn push(&self, item: T) {
        self.change(|state| state.items.push_back(item));
    }

    pub(crate) fn end(&self) {
        self.change(|state| state.ended = true);
    }

    /// The next poll panics.
    pub(crate) fn panic(&self) {
        self.change(|state| state.panics = true);
    }

    /// Wakes the stream for nothing.
    pub(crate) fn wake(&self) {
        self.change(|_| {});
    }

    /// The waker that the last poll in vain left.
    pub(crate) fn waker(&self) -> Option<Waker> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).waker.clone()
    }

    /// How often it was polled since this was last asked.
    pub(crate) fn take_polls(&self) -> usize {
        std::mem::take(&mut self.0.lock().unwrap_or_else(PoisonError::into_inner).polls)
    }

    /// Whether the stream was dropped.
    pub(crate) fn is_dropped(&self) -> bool {
        Arc::strong_count(&self.0) == 1
    }
}

impl<T> Stream for Pipe<T> {
    type Item = T;

    fn poll_next(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<T>> {
        let mut state = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        state.polls += 1;
        assert!(!std::mem::take(&mut state.panics), "a stream's poll panics, as the test wants");
        if let Some(item) = state.items.pop_front() {
            Poll::Ready(Some(item))
        } else if state.ended {
            Poll::Ready(None)
        } else {
            state.waker = Some(cx.waker().clone());
            Poll::Pending
        }
    }
}

#[derive(Debug)]
struct GateState<T> {
    /// How many more items it is ready for.
    room: usize,
    flushes: bool,
    closes: bool,
    fails: bool,
    panics: bool,
    items: Vec<T>,
    flushed: usize,
    closed: bool,
    waker: Option<Waker>,
    polls: usize,
}

/// The side of a [`Gate`] that the test holds.
#[derive(Debug)]
pub(crate) struct Gatekeeper<T>(Arc<Mutex<GateState<T>>>);

/// A sink that is ready, flushes and closes when its [`Gatekeeper`] lets it. It wakes when that changes.
/// `start_send` without room is an assertion: nobody may send to a sink that was not ready.
#[derive(Debug)]
pub(crate) struct Gate<T>(Arc<Mutex<GateState<T>>>);

/// A gate with room for `room` items, that flushes and closes.
pub(crate) fn gate<T>(room: usize) -> (Gatekeeper<T>, Gate<T>) {
    let state = GateState {
        room,
        flushes: true,
        closes: true,
        fails: false,
        panics: false,
        items: Vec::new(),
        flushed: 0,
        closed: false,
        waker: None,
        polls: 0,
    };
    let state = Arc::new(Mutex::new(state));
    (Gatekeeper(Arc::clone(&state)), Gate(state))
}

/// What a [`Gate`] fails with.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Broken;

impl std::fmt::Display for Broken {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("broken, as the test wants")
    }
}

impl std::error::Error for Broken {}

impl<T> Clone for Gatekeeper<T> {
    fn clone(&self) -> Self {
        Self(Arc::clone(&self.0))
    }
}

impl<T> Gatekeeper<T> {
    fn change(&self, change: impl FnOnce(&mut GateState<T>)) {
        let waker = {
            let mut state = self.0.lock().unwrap_or_else(PoisonError::into_inner);
            change(&mut state);
            state.waker.take()
        };
        if let Some(waker) = waker {
            waker.wake();
        }
    }

    pub(crate) fn make_room(&self, room: usize) {
        self.change(|state| state.room += room);
    }

    pub(crate) fn set_flushes(&self, flushes: bool) {
        self.change(|state| state.flushes = flushes);
    }

    pub(crate) fn set_closes(&self, closes: bool) {
        self.change(|state| state.closes = closes);
    }

    /// From now on every poll fails.
    pub(crate) fn fail(&self) {
        self.change(|state| state.fails = true);
    }

    /// The next poll panics.
    pub(crate) fn panic(&self) {
        self.change(|state| state.panics = true);
    }

    /// Takes what was sent so far.
    pub(crate) fn take_items(&self) -> Vec<T> {
        std::mem::take(&mut self.0.lock().unwrap_or_else(PoisonError::into_inner).items)
    }

    /// How many items were flushed so far.
    pub(crate) fn flushed(&self) -> usize {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).flushed
    }

    pub(crate) fn is_closed(&self) -> bool {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).closed
    }

    /// How often it was polled (for readiness, flushing or closing) since this was last asked.
    pub(crate) fn take_polls(&self) -> usize {
        std::mem::take(&mut self.0.lock().unwrap_or_else(PoisonError::into_inner).polls)
    }

    /// Whether the sink was dropped.
    pub(crate) fn is_dropped(&self) -> bool {
        Arc::strong_count(&self.0) == 1
    }
}

impl<T> Gate<T> {
    fn poll(
        &self,
        cx: &mut Context<'_>,
        done: impl FnOnce(&mut GateState<T>) -> bool,
    ) -> Poll<Result<(), Broken>> {
        let mut state = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        state.polls += 1;
        assert!(!std::mem::take(&mut state.panics), "a sink's poll panics, as the test wants");
        if state.fails {
            return Poll::Ready(Err(Broken));
        }
        if done(&mut state) {
            return Poll::Ready(Ok(()));
        }
        state.waker = Some(cx.waker().clone());
        Poll::Pending
    }
}

impl<T> Sink<T> for Gate<T> {
    type Error = Broken;

    fn poll_ready(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Result<(), Broken>> {
        self.poll(cx, |state| state.room > 0)
    }

    fn start_send(self: Pin<&mut Self>, item: T) -> Result<(), Broken> {
        let mut state = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        assert!(state.room > 0, "start_send to a sink that was not ready");
        assert!(!state.closed, "start_send to a closed sink");
        state.room -= 1;
        state.items.push(item);
        Ok(())
    }

    fn poll_flush(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Result<(), Broken>> {
        self.poll(cx, |state| {
            if state.flushes {
                state.flushed = state.flushed.max(state.items.len());
            }
            state.flushes
        })
    }

    fn poll_close(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Result<(), Broken>> {
        self.poll(cx, |state| {
            state.closed |= state.closes;
            state.closes
        })
    }
}

/// A sink that takes everything and keeps nothing.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Drain;

impl<T> Sink<T> for Drain {
    type Error = Infallible;

    fn poll_ready(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
        Poll::Ready(Ok(()))
    }

    fn start_send(self: Pin<&mut Self>, _: T) -> Result<(), Infallible> {
        Ok(())
    }

    fn poll_flush(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
        Poll::Ready(Ok(()))
    }

    fn poll_close(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
        Poll::Ready(Ok(()))
    }
}

/// Runs a test in a thread of its own, and fails if it hangs.
pub(crate) fn finishes(test: impl FnOnce() + Send + 'static) {
    let (done, finished) = mpsc::channel();
    let running = thread::spawn(move || {
        test();
        done.send(()).unwrap();
    });
    if finished.recv_timeout(Duration::from_secs(60)) == Err(mpsc::RecvTimeoutError::Timeout) {
        panic!("the test hangs");
    }
    if let Err(panic) = running.join() {
        std::panic::resume_unwind(panic);
    }
}
