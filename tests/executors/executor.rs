//! What the jobs need of an executor.

use futures::channel::oneshot;
use futures::future::BoxFuture;
use futures::{FutureExt, TryFutureExt};
use std::sync::mpsc;
use std::thread;
use std::time::Duration;

/// Runs tasks beside the job.
pub(crate) trait Executor: Clone + 'static {
    fn run(&self, task: BoxFuture<'static, ()>);

    /// Starts a task. What it returns is awaited; a panic in it is one there.
    fn spawn<T: Send + 'static>(
        &self,
        task: impl Future<Output = T> + Send + 'static,
    ) -> impl Future<Output = T> + Send + 'static {
        let (returns, returned) = oneshot::channel();
        self.run(task.map(|value| drop(returns.send(value))).boxed());
        returned.unwrap_or_else(|_| panic!("a task panicked"))
    }
}

/// Runs a job in a thread of its own, and fails if it hangs.
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
