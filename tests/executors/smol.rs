//! Under smol.

use crate::executor::{Executor, finishes};
use crate::jobs::{self, Job};
use crate::net::{Tcp, Unix};

fn run(job: Job) {
    finishes(move || smol::block_on(job(Executor::new(|task| smol::spawn(task).detach()))));
}

jobs::test_each!(run, Tcp, Unix);
