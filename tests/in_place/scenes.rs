//! Scenes for such an executor and any kind of wait. Each scene ends with a check that the wait still works; otherwise it
//! hangs or panics.

use crate::executor::{Act, BoxFuture, Executor, Moment, Task};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;

/// A condition that tasks wait for.
pub(crate) trait Awaited: Default {
    /// Waits for one [`let_go`](Self::let_go).
    fn wait(&self) -> BoxFuture;

    /// Lets at least one waiting task continue.
    fn let_go(&self);
}

/// All scenes, with their names.
#[allow(dead_code, reason = "the library's tests call them one by one")]
pub(crate) fn all<A: Awaited>() -> [(&'static str, fn()); 5] {
    [
        ("the executor polls in `wake`", polls_in_wake::<A>),
        ("it stops in `wake`, and drops its tasks", stops_in_wake::<A>),
        ("it stops in the clone of a waker", stops_in_clone::<A>),
        ("it stops in the drop of a waker", stops_in_drop::<A>),
        ("a waker panics", panics_in_wake::<A>),
    ]
}

pub(crate) fn polls_in_wake<A: Awaited>() {
    let awaited = A::default();
    let executor = Executor::polling_in_place();
    let tasks = [(); 2].map(|()| {
        let (first, second) = (awaited.wait(), awaited.wait());
        executor.spawn(Box::pin(async move {
            first.await;
            second.await;
        }))
    });
    (0..4).for_each(|_| awaited.let_go());
    assert!(tasks.iter().all(|task| task.is_done()), "each was let go twice");
}

pub(crate) fn stops_in_wake<A: Awaited>() {
    stops(Moment::Wake, |awaited: &A, _, _| awaited.let_go());
}

pub(crate) fn stops_in_clone<A: Awaited>() {
    stops(Moment::Clone, |awaited: &A, executor, _| drop(executor.spawn(awaited.wait())));
}

pub(crate) fn stops_in_drop<A: Awaited>() {
    // The task is polled with another waker, and the old waker is dropped.
    stops(Moment::Drop, |_: &A, executor, task| executor.poll(task));
}

/// Two tasks wait, and `happens` makes their executor stop in a waker.
fn stops<A: Awaited>(moment: Moment, happens: impl FnOnce(&A, &Executor, &Arc<Task>)) {
    let awaited = A::default();
    let executor = Executor::default();
    let tasks = [(); 2].map(|()| executor.spawn(awaited.wait()));
    executor.arm(moment, Act::Stop);
    happens(&awaited, &executor, &tasks[0]);
    assert!(executor.has_acted(), "the scene is what it says");
    assert!(!tasks.iter().any(|task| task.is_done()), "it stopped before");
    drop(executor);
    assert_goes_on(&awaited);
}

pub(crate) fn panics_in_wake<A: Awaited>() {
    let awaited = A::default();
    let executor = Executor::default();
    let [_, other] = [(); 2].map(|()| executor.spawn(awaited.wait()));
    executor.arm(Moment::Wake, Act::Panic);
    assert!(catch_unwind(AssertUnwindSafe(|| awaited.let_go())).is_err(), "the scene is what it says");
    awaited.let_go();
    executor.run();
    assert!(other.is_done(), "the other one is woken all the same");
    drop(executor);
    assert_goes_on(&awaited);
}

/// Tasks of another executor wait, and continue.
fn assert_goes_on<A: Awaited>(awaited: &A) {
    let executor = Executor::default();
    let tasks = [(); 3].map(|()| executor.spawn(awaited.wait()));
    for _ in &tasks {
        awaited.let_go();
        executor.run();
    }
    assert!(tasks.iter().all(|task| task.is_done()), "all are let go");
}
