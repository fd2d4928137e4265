//! Under pollster, which runs one future. Each task has its own thread.

use crate::executor::{Executor, finishes};
use crate::jobs;
use crate::net::{Tcp, Unix};
use futures::future::BoxFuture;
use std::thread;

#[derive(Clone)]
struct Threads;

impl Executor for Threads {
    fn run(&self, task: BoxFuture<'static, ()>) {
        thread::spawn(|| pollster::block_on(task));
    }
}

fn run<F: Future<Output = ()>>(job: impl FnOnce(Threads) -> F + Send + 'static) {
    finishes(|| pollster::block_on(job(Threads)));
}

jobs::test_each!(run, Tcp, Unix);
