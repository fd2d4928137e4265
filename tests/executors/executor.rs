//! The interface of an executor for the jobs.

use futures::channel::oneshot;
use futures::future::BoxFuture;
use futures::{FutureExt, TryFutureExt};
use std::rc::Rc;
use std::sync::mpsc;
use std::thread;
use std::time::Duration;

/// Runs tasks next to the job. All executors have this one type: each job is compiled once.
#[derive(Clone)]
pub(crate) struct Executor(Rc<dyn Fn(BoxFuture<'static, ()>)>);

impl Executor {
    pub(crate) fn new(run: impl Fn(BoxFuture<'static, ()>) + 'static) -> Self {
        Self(Rc::new(run))
    }

    /// Starts a task. The caller awaits the returned future; a panic of the task propagates through it.
    pub(crate) fn spawn<T: Send + 'static>(
        &self,
        task: impl Future<Output = T> + Send + 'static,
    ) -> impl Future<Output = T> + Send + 'static {
        let (returns, returned) = oneshot::channel();
        (self.0)(task.map(|value| drop(returns.send(value))).boxed());
        returned.unwrap_or_else(|_| panic!("a task panicked"))
    }
}

/// Runs a job in another thread, and fails if the job hangs.
pub(crate) fn finishes(job: impl FnOnce() + Send + 'static) {
    let (done, finished) = mpsc::channel();
    let running = thread::spawn(move || {
        job();
        done.send(()).unwrap();
    });
    if finished.recv_timeout(Duration::from_secs(60)) == Err(mpsc::RecvTimeoutError::Timeout) {
        panic!("the job hangs");
    }
    if let Err(panic) = running.join() {
        std::panic::resume_unwind(panic);
    }
}
