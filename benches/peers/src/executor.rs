//! Three executors that run one future.

use std::pin::pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::task::{Context, Poll, Wake, Waker};
use std::thread::Thread;
use std::time::{Duration, Instant};

/// Runs a future that only this thread can wake.
///
/// # Panics
///
/// If the future returns `Pending` and was not woken: a wake was lost.
pub fn run_alone<F: Future>(future: F) -> F::Output {
    let flag = Arc::new(Flag(AtomicBool::new(false)));
    let waker = Waker::from(Arc::clone(&flag));
    let mut cx = Context::from_waker(&waker);
    let mut future = pin!(future);
    loop {
        if let Poll::Ready(output) = future.as_mut().poll(&mut cx) {
            return output;
        }
        // All operations are on one thread, so plain loads and stores suffice, and the waker costs next to nothing.
        assert!(flag.0.load(Ordering::Relaxed), "a wake was lost");
        flag.0.store(false, Ordering::Relaxed);
    }
}

struct Flag(AtomicBool);

impl Wake for Flag {
    fn wake(self: Arc<Self>) {
        self.wake_by_ref();
    }

    fn wake_by_ref(self: &Arc<Self>) {
        self.0.store(true, Ordering::Relaxed);
    }
}

/// Runs a future that other threads wake. This thread sleeps while the future waits.
///
/// # Panics
///
/// If the future is not woken for a long time: a wake was lost.
pub fn run_parking<F: Future>(future: F) -> F::Output {
    let parker = Arc::new(Parker { thread: std::thread::current(), woken: AtomicBool::new(false) });
    let waker = Waker::from(Arc::clone(&parker));
    let mut cx = Context::from_waker(&waker);
    let mut future = pin!(future);
    loop {
        if let Poll::Ready(output) = future.as_mut().poll(&mut cx) {
            return output;
        }
        parker.sleep();
    }
}

struct Parker {
    thread: Thread,
    woken: AtomicBool,
}

impl Parker {
    fn sleep(&self) {
        const LONG: Duration = Duration::from_secs(20);
        while !self.woken.swap(false, Ordering::AcqRel) {
            let start = Instant::now();
            std::thread::park_timeout(LONG);
            assert!(start.elapsed() < LONG, "a wake was lost");
        }
    }
}

impl Wake for Parker {
    fn wake(self: Arc<Self>) {
        self.wake_by_ref();
    }

    fn wake_by_ref(self: &Arc<Self>) {
        if !self.woken.swap(true, Ordering::AcqRel) {
            self.thread.unpark();
        }
    }
}

/// Runs a future on tokio's current-thread runtime, under its cooperative budget.
pub fn run_on_tokio<F: Future>(future: F) -> F::Output {
    let runtime = tokio::runtime::Builder::new_current_thread().build().expect("a runtime without drivers");
    runtime.block_on(future)
}
