//! Tasks whose polls are counted.

use std::collections::VecDeque;
use std::pin::Pin;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::task::{Context, Wake, Waker};

/// Tasks, and the queue of woken tasks.
#[derive(Default)]
pub(crate) struct Tasks {
    all: Vec<Arc<Task>>,
    queue: Arc<Mutex<VecDeque<Arc<Task>>>>,
    polls: Arc<AtomicUsize>,
}

type BoxFuture = Pin<Box<dyn Future<Output = ()> + Send>>;

struct Task {
    future: Mutex<Option<BoxFuture>>,
    /// The queue that the task enters when it is woken. `None`: the task is polled in its waker.
    queue: Option<Arc<Mutex<VecDeque<Arc<Task>>>>>,
    is_queued: AtomicUsize,
    polls: Arc<AtomicUsize>,
}

impl Tasks {
    /// Starts a task, and polls it once. A woken task waits for [`run`](Self::run).
    pub(crate) fn spawn(&mut self, future: impl Future<Output = ()> + Send + 'static) {
        self.start(Box::pin(future), Some(Arc::clone(&self.queue)));
    }

    /// Starts a task that is polled in its waker.
    pub(crate) fn spawn_in_place(&mut self, future: impl Future<Output = ()> + Send + 'static) {
        self.start(Box::pin(future), None);
    }

    fn start(&mut self, future: BoxFuture, queue: Option<Arc<Mutex<VecDeque<Arc<Task>>>>>) {
        let (future, is_queued) = (Mutex::new(Some(future)), AtomicUsize::new(0));
        let task = Arc::new(Task { future, queue, is_queued, polls: Arc::clone(&self.polls) });
        task.poll();
        self.all.push(task);
    }

    /// Polls woken tasks until there are none.
    pub(crate) fn run(&self) {
        loop {
            let task = self.queue.lock().unwrap().pop_front();
            let Some(task) = task else { return };
            task.is_queued.store(0, Ordering::Relaxed);
            task.poll();
        }
    }

    /// The number of polls.
    pub(crate) fn polls(&self) -> usize {
        self.polls.load(Ordering::Relaxed)
    }

    pub(crate) fn are_done(&self) -> bool {
        self.all.iter().all(|task| task.future.lock().unwrap().is_none())
    }
}

impl Task {
    fn poll(self: &Arc<Self>) {
        let waker = Waker::from(Arc::clone(self));
        let mut future = self.future.lock().unwrap();
        let Some(running) = &mut *future else { return };
        self.polls.fetch_add(1, Ordering::Relaxed);
        if running.as_mut().poll(&mut Context::from_waker(&waker)).is_ready() {
            *future = None;
        }
    }
}

impl Wake for Task {
    fn wake(self: Arc<Self>) {
        match &self.queue {
            None => self.poll(),
            Some(queue) => {
                if self.is_queued.swap(1, Ordering::Relaxed) == 0 {
                    queue.lock().unwrap().push_back(Arc::clone(&self));
                }
            }
        }
    }
}
