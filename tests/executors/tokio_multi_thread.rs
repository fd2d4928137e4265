//! Under tokio, in several threads.

use crate::executor::{Executor, finishes};
use crate::jobs::{self, Job};
use crate::net::{TokioTcp, TokioUnix};
use tokio::runtime::Builder;

fn run(job: Job) {
    finishes(move || {
        let runtime = Builder::new_multi_thread().worker_threads(3).enable_all().build().unwrap();
        runtime.block_on(job(Executor::new(|task| drop(tokio::spawn(task)))));
    });
}

jobs::test_each!(run, TokioTcp, TokioUnix);
