//! Under tokio, in one thread.

use crate::executor::{Executor, finishes};
use crate::jobs::{self, Job};
use crate::net::{TokioTcp, TokioUnix};
use tokio::runtime::Builder;

fn run(job: Job) {
    finishes(move || {
        Builder::new_current_thread()
            .enable_all()
            .build()
            .unwrap()
            .block_on(job(Executor::new(|task| drop(tokio::spawn(task)))));
    });
}

jobs::test_each!(run, TokioTcp, TokioUnix);
