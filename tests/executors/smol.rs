//! Under smol.

use crate::executor::{Executor, finishes};
use crate::jobs;
use crate::net::{Tcp, Unix};
use futures::future::BoxFuture;

#[derive(Clone)]
struct Smol;

impl Executor for Smol {
    fn run(&self, task: BoxFuture<'static, ()>) {
        smol::spawn(task).detach();
    }
}

fn run<F: Future<Output = ()>>(job: impl FnOnce(Smol) -> F + Send + 'static) {
    finishes(|| smol::block_on(job(Smol)));
}

jobs::test_each!(run, Tcp, Unix);
