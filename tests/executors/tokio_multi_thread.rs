//! Under tokio, in several threads.

use crate::executor::{Executor, finishes};
use crate::jobs;
use crate::net::{TokioTcp, TokioUnix};
use futures::future::BoxFuture;
use tokio::runtime::Builder;

#[derive(Clone)]
struct MultiThread;

impl Executor for MultiThread {
    fn run(&self, task: BoxFuture<'static, ()>) {
        tokio::spawn(task);
    }
}

fn run<F: Future<Output = ()>>(job: impl FnOnce(MultiThread) -> F + Send + 'static) {
    finishes(|| {
        let runtime = Builder::new_multi_thread().worker_threads(3).enable_all().build().unwrap();
        runtime.block_on(job(MultiThread));
    });
}

jobs::test_each!(run, TokioTcp, TokioUnix);
