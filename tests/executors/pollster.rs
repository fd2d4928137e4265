//! Under pollster, which runs one future. Each task has its own thread.

use crate::executor::{Executor, finishes};
use crate::jobs::{self, Job};
use crate::net::{Tcp, Unix};
use std::thread;

fn run(job: Job) {
    finishes(move || {
        pollster::block_on(job(Executor::new(|task| drop(thread::spawn(|| pollster::block_on(task))))));
    });
}

jobs::test_each!(run, Tcp, Unix);
