//! Under tokio, in one thread.

use crate::executor::{Executor, finishes};
use crate::jobs;
use crate::net::{TokioTcp, TokioUnix};
use futures::future::BoxFuture;
use tokio::runtime::Builder;

#[derive(Clone)]
struct CurrentThread;

impl Executor for CurrentThread {
    fn run(&self, task: BoxFuture<'static, ()>) {
        tokio::spawn(task);
    }
}

fn run<F: Future<Output = ()>>(job: impl FnOnce(CurrentThread) -> F + Send + 'static) {
    finishes(|| Builder::new_current_thread().enable_all().build().unwrap().block_on(job(CurrentThread)));
}

jobs::test_each!(run, TokioTcp, TokioUnix);
