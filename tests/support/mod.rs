//! Streams, sinks and wakers driven by hand, so that a test determines exactly what is ready when.

#![allow(dead_code, reason = "each test file uses its part")]

pub(crate) mod hooked;
pub(crate) mod raw_waker;

use futures::future::FusedFuture;
use futures::{Sink, Stream};
use std::collections::VecDeque;
use std::convert::Infallible;
use std::panic::{AssertUnwindSafe, catch_unwind};
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

    /// Returns the number of wakes since the last call.
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

/// Polls a stream with a waker that does nothing.
pub(crate) fn poll<S: Stream + Unpin>(stream: &mut S) -> Poll<Option<S::Item>> {
    poll_with(stream, Waker::noop())
}

/// Polls a future with a waker.
pub(crate) fn poll_future<F: Future + Unpin>(future: &mut F, waker: &Waker) -> Poll<F::Output> {
    Pin::new(future).poll(&mut Context::from_waker(waker))
}

/// Polls a future until it completes. It is terminated from then on, and not before, and panics if it is polled again.
pub(crate) fn assert_over<F: FusedFuture + Unpin>(future: &mut F) {
    assert!(!future.is_terminated());
    while poll_future(future, Waker::noop()).is_pending() {
        assert!(!future.is_terminated());
    }
    assert!(future.is_terminated());
    let again = catch_unwind(AssertUnwindSafe(|| poll_future(future, Waker::noop()).is_ready()));
    let panic = again.unwrap_err();
    let message = panic.downcast_ref().copied().or(panic.downcast_ref::<String>().map(String::as_str));
    assert_eq!(message, Some("polled after completion"));
    assert!(future.is_terminated());
}

/// Polls a future that yields to the executor and waits for nothing else.
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

/// The test's end of a [`Pipe`].
#[derive(Debug)]
pub(crate) struct Feed<T>(Arc<Mutex<PipeState<T>>>);

/// A stream that yields the items of its [`Feed`], and counts its polls. Feeding wakes it.
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

    /// Wakes the stream without an item.
    pub(crate) fn wake(&self) {
        self.change(|_| {});
    }

    /// The waker of the last poll in vain.
    pub(crate) fn waker(&self) -> Option<Waker> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).waker.clone()
    }

    /// Returns the number of polls since the last call.
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
    /// For how many more items the sink is ready.
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

/// The test's side of a [`Gate`].
#[derive(Debug)]
pub(crate) struct Gatekeeper<T>(Arc<Mutex<GateState<T>>>);

/// A sink that becomes ready, flushes and closes when its [`Gatekeeper`] allows it, and is woken when that changes.
/// `start_send` asserts that there is room: a sink that was not ready must not receive an item.
#[derive(Debug)]
pub(crate) struct Gate<T>(Arc<Mutex<GateState<T>>>);

/// A gate with room for `room` items, which flushes and closes.
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

/// The error of a [`Gate`].
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

    /// Takes the items that were sent so far.
    pub(crate) fn take_items(&self) -> Vec<T> {
        std::mem::take(&mut self.0.lock().unwrap_or_else(PoisonError::into_inner).items)
    }

    /// The number of flushed items.
    pub(crate) fn flushed(&self) -> usize {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).flushed
    }

    pub(crate) fn is_closed(&self) -> bool {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).closed
    }

    /// Returns the number of polls (for readiness, flushing or closing) since the last call.
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

/// Runs a test in another thread, and fails if the test hangs.
pub(crate) fn finishes(test: impl FnOnce() + Send + 'static) {
    // Boxed: a thread's code is compiled once for all tests.
    finishes_boxed(Box::new(test));
}

fn finishes_boxed(test: Box<dyn FnOnce() + Send>) {
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
