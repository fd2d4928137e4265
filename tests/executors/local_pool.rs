//! Under futures' `LocalPool`, in one thread.

use crate::executor::{Executor, finishes};
use crate::jobs::{self, Job};
use crate::net::{Tcp, Unix};
use futures::executor::LocalPool;
use futures::stream;
use futures::task::{LocalSpawnExt, Spawn};
use std::cell::RefCell;
use std::convert::Infallible;
use std::rc::Rc;
use stream_multiplexer::Multiplexer;

fn run(job: Job) {
    finishes(move || {
        let mut pool = LocalPool::new();
        let spawner = pool.spawner();
        pool.run_until(job(Executor::new(move |task| spawner.spawn_obj(task.into()).unwrap())));
    });
}

jobs::test_each!(run, Tcp, Unix);

/// Streams, sinks and items that are not `Send`.
#[test]
fn pairs_that_stay_in_their_thread() {
    const ITEMS: usize = 100;
    finishes(|| {
        let mut pool = LocalPool::new();
        let multiplexer = Multiplexer::new();
        multiplexer.add_channel(1).unwrap();
        let heard = Rc::new(RefCell::new(Vec::new()));
        let hears = Rc::clone(&heard);
        let sink = Box::pin(futures::sink::unfold((), move |(), item: Rc<usize>| {
            hears.borrow_mut().push(item);
            async { Ok::<_, Infallible>(()) }
        }));
        let id = multiplexer.add_stream_pair(sink, stream::iter((0..ITEMS).map(Rc::new)), 1).unwrap();

        let echo = multiplexer.clone();
        let spawned = pool.spawner().spawn_local(async move {
            while let Ok((id, Some(item))) = echo.recv(1).await {
                echo.send_one(id, item).await.unwrap();
            }
        });
        spawned.unwrap();
        pool.run();
        assert_eq!(multiplexer.channel_of(id), None);
        assert!(heard.borrow().iter().map(|item| **item).eq(0..ITEMS));
    });
}
