//! Under tokio, in several threads.

use crate::executor::{Executor, finishes};
use crate::jobs;
use crate::net::{TokioTcp, TokioUnix};
use tokio::runtime::Builder;

fn run<F: Future<Output = ()>>(job: impl FnOnce(Executor) -> F + Send + 'static) {
    finishes(|| {
        let runtime = Builder::new_multi_thread().worker_threads(3).enable_all().build().unwrap();
        runtime.block_on(job(Executor::new(|task| drop(tokio::spawn(task)))));
    });
}

jobs::test_each!(run, TokioTcp, TokioUnix);
