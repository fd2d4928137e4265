//! Streams and sinks that let other threads run in their polls.

use futures::{Sink, Stream};
use shuttle::rand::{Rng, thread_rng};
use shuttle::thread::{self, JoinHandle};
use std::pin::Pin;
use std::sync::{Arc, Mutex};
use std::task::{Context, Poll, Waker};
use stream_multiplexer::StreamEvent;

pub(crate) fn throw(sides: usize) -> usize {
    thread_rng().gen_range(0..sides)
}

/// Lets other threads run, or not, at random.
pub(crate) fn pause() {
    if throw(2) == 0 {
        thread::yield_now();
    }
}

pub(crate) fn pick<T: Copy>(among: &[T]) -> T {
    among[throw(among.len())]
}

pub(crate) fn join_all<T>(threads: impl IntoIterator<Item = JoinHandle<T>>) -> Vec<T> {
    threads.into_iter().map(|thread| thread.join().unwrap()).collect()
}

#[derive(Default)]
struct State {
    /// How many numbers the stream may yield.
    fed: usize,
    yielded: usize,
    ended: bool,
    waker: Option<Waker>,
}

/// A stream that yields 0, 1, 2 and so on, as far as it is fed. Its clones share its state.
#[derive(Clone, Default)]
pub(crate) struct Numbers(Arc<Mutex<State>>);

impl Numbers {
    fn change(&self, change: impl FnOnce(&mut State)) {
        // No other thread runs while the standard library's lock is held.
        let waker = {
            let mut state = self.0.lock().unwrap();
            change(&mut state);
            state.waker.take()
        };
        pause();
        if let Some(waker) = waker {
            waker.wake();
        }
    }

    /// Feeds the stream, unless it has been ended.
    pub(crate) fn feed(&self) {
        self.change(|state| state.fed += usize::from(!state.ended));
    }

    pub(crate) fn end(&self) {
        self.change(|state| state.ended = true);
    }

    pub(crate) fn wake(&self) {
        self.change(|_| {});
    }

    /// How far the stream was fed, and whether it ends after that.
    pub(crate) fn fed(&self) -> (usize, bool) {
        let state = self.0.lock().unwrap();
        (state.fed, state.ended)
    }

    pub(crate) fn yielded(&self) -> usize {
        self.0.lock().unwrap().yielded
    }
}

impl Stream for Numbers {
    type Item = usize;

    fn poll_next(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<usize>> {
        pause();
        // Dropped after the lock is released, because other threads may run in the drop.
        let mut before = None;
        let polled = {
            let mut state = self.0.lock().unwrap();
            if state.yielded < state.fed {
                state.yielded += 1;
                Poll::Ready(Some(state.yielded - 1))
            } else if state.ended {
                Poll::Ready(None)
            } else {
                before = state.waker.replace(cx.waker().clone());
                Poll::Pending
            }
        };
        drop(before);
        pause();
        polled
    }
}

pub(crate) type Event = StreamEvent<usize>;

/// A sink that lets other threads run in its polls.
pub(crate) struct Slow<Si>(pub(crate) Si);

impl<T, Si: Sink<T> + Unpin> Sink<T> for Slow<Si> {
    type Error = Si::Error;

    fn poll_ready(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Result<(), Si::Error>> {
        pause();
        Pin::new(&mut self.0).poll_ready(cx)
    }

    fn start_send(mut self: Pin<&mut Self>, item: T) -> Result<(), Si::Error> {
        Pin::new(&mut self.0).start_send(item)
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Result<(), Si::Error>> {
        pause();
        Pin::new(&mut self.0).poll_flush(cx)
    }

    fn poll_close(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Result<(), Si::Error>> {
        pause();
        Pin::new(&mut self.0).poll_close(cx)
    }
}
