//! Under smol.

use crate::executor::{Executor, finishes};
use crate::jobs;
use crate::net::{Tcp, Unix};

fn run<F: Future<Output = ()>>(job: impl FnOnce(Executor) -> F + Send + 'static) {
    finishes(|| smol::block_on(job(Executor::new(|task| smol::spawn(task).detach()))));
}

jobs::test_each!(run, Tcp, Unix);
