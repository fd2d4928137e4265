//! A [`StreamSlab`] drops all that it owns, whatever panics. After that the first panic continues, and the others are
//! suppressed. While the thread is already unwinding, all are suppressed; otherwise the process would abort, with these
//! tests.

use crate::support;
use futures::Stream;
use std::cell::RefCell;
use std::panic::{AssertUnwindSafe, catch_unwind, panic_any, resume_unwind};
use std::pin::Pin;
use std::rc::Rc;
use std::sync::Arc;
use std::task::{Context, Poll, Wake, Waker};
use stream_multiplexer::StreamSlab;
use support::{poll, poll_with};

/// The numbers whose drop has run, in order.
type Dropped = Rc<RefCell<Vec<usize>>>;

/// A stream that yields nothing. Its drop panics with its number, if the number is odd.
#[derive(Debug)]
struct Bomb {
    number: usize,
    dropped: Dropped,
}

impl Stream for Bomb {
    type Item = u32;

    fn poll_next(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<Option<u32>> {
        Poll::Pending
    }
}

impl Drop for Bomb {
    fn drop(&mut self) {
        self.dropped.borrow_mut().push(self.number);
        if self.number % 2 == 1 {
            panic_any(self.number);
        }
    }
}

/// The payload of a panic that is not a bomb's.
const FIRST: usize = 100;

/// Bombs with these numbers, and the list of dropped ones.
fn bombs(numbers: impl IntoIterator<Item = usize>) -> (Dropped, impl Iterator<Item = Bomb>) {
    let dropped = Dropped::default();
    let theirs = Rc::clone(&dropped);
    let bombs = numbers.into_iter().map(move |number| Bomb { number, dropped: Rc::clone(&theirs) });
    (dropped, bombs)
}

/// A slab of six bombs; their keys are their numbers.
fn slab() -> (Dropped, StreamSlab<Bomb>) {
    let (dropped, bombs) = bombs(0..6);
    (dropped, bombs.collect())
}

/// Returns the payload of the panic, if any.
fn panic_of<R>(work: impl FnOnce() -> R) -> Option<usize> {
    match catch_unwind(AssertUnwindSafe(work)) {
        Ok(_) => None,
        Err(panic) => Some(*panic.downcast().unwrap_or_else(|panic| resume_unwind(panic))),
    }
}

/// Runs `work` in a drop, while the thread unwinds.
fn while_unwinding(work: impl FnOnce()) {
    struct InDrop<F: FnOnce()>(Option<F>);

    impl<F: FnOnce()> Drop for InDrop<F> {
        fn drop(&mut self) {
            self.0.take().expect("it is dropped once")();
        }
    }

    let unwind = || {
        let _work = InDrop(Some(work));
        panic_any(FIRST);
    };
    assert_eq!(panic_of(unwind), Some(FIRST), "the first panic goes on");
}

/// A task whose waker panics, and whose last drop panics.
struct BadTask;

impl Wake for BadTask {
    fn wake(self: Arc<Self>) {
        panic_any(FIRST);
    }
}

/// A waker that panics with [`FIRST`] when it is dropped.
fn panics_when_dropped() -> Waker {
    struct Task;

    impl Wake for Task {
        fn wake(self: Arc<Self>) {}
    }

    impl Drop for Task {
        fn drop(&mut self) {
            panic_any(FIRST);
        }
    }

    Arc::new(Task).into()
}

/// Registers `waker` with the slab.
fn wait(slab: &mut StreamSlab<Bomb>, waker: Waker) {
    assert_eq!(poll_with(slab, &waker), Poll::Pending);
}

#[test]
fn a_dropped_slab_drops_all() {
    let (dropped, slab) = slab();
    assert_eq!(panic_of(|| drop(slab)), Some(1));
    assert_eq!(*dropped.borrow(), [0, 1, 2, 3, 4, 5]);
}

#[test]
fn a_slab_that_is_dropped_while_unwinding_drops_all() {
    let (dropped, slab) = slab();
    while_unwinding(|| drop(slab));
    assert_eq!(*dropped.borrow(), [0, 1, 2, 3, 4, 5]);
}

#[test]
fn a_dropped_slab_drops_all_though_its_task_panics_first() {
    let (dropped, mut slab) = slab();
    wait(&mut slab, panics_when_dropped());
    assert_eq!(panic_of(|| drop(slab)), Some(FIRST));
    assert_eq!(*dropped.borrow(), [0, 1, 2, 3, 4, 5]);
}

#[test]
fn clear_drops_all() {
    let (dropped, mut slab) = slab();
    assert_eq!(panic_of(|| slab.clear()), Some(1));
    assert_eq!(*dropped.borrow(), [0, 1, 2, 3, 4, 5]);
    assert_eq!(poll(&mut slab), Poll::Ready(None));
}

#[test]
fn clear_drops_all_while_unwinding() {
    let (dropped, mut slab) = slab();
    while_unwinding(|| slab.clear());
    assert_eq!(*dropped.borrow(), [0, 1, 2, 3, 4, 5]);
    assert_eq!(poll(&mut slab), Poll::Ready(None));
}

#[test]
fn clear_wakes_the_task_though_a_drop_panics() {
    let (_, mut slab) = slab();
    wait(&mut slab, Arc::new(BadTask).into());
    assert_eq!(panic_of(|| slab.clear()), Some(1));

    let (dropped, bombs) = bombs([0, 2]);
    slab.extend(bombs);
    wait(&mut slab, Arc::new(BadTask).into());
    assert_eq!(panic_of(|| slab.clear()), Some(FIRST), "and the task's panic goes on if it is the first");
    dropped.borrow_mut().sort_unstable();
    assert_eq!(*dropped.borrow(), [0, 2]);
}

#[test]
fn clear_of_an_empty_slab_wakes_no_task() {
    let (_, mut slab) = slab();
    assert!(panic_of(|| slab.clear()).is_some());
    assert_eq!(poll_with(&mut slab, &Arc::new(BadTask).into()), Poll::Ready(None));
    slab.clear();
}

#[test]
fn an_iterator_by_value_drops_what_is_left() {
    let (dropped, slab) = slab();
    let mut streams = slab.into_iter();
    assert_eq!(panic_of(|| drop(streams.next())), None);
    assert_eq!(panic_of(|| drop(streams.next_back())), Some(5));
    assert_eq!(panic_of(|| drop(streams)), Some(1));
    assert_eq!(*dropped.borrow(), [0, 5, 1, 2, 3, 4]);
}

#[test]
fn an_iterator_by_value_that_is_dropped_while_unwinding_drops_all() {
    let (dropped, slab) = slab();
    let streams = slab.into_iter();
    while_unwinding(|| drop(streams));
    assert_eq!(*dropped.borrow(), [0, 1, 2, 3, 4, 5]);
}

/// Creating the iterator drops the task's waker.
#[test]
fn an_iterator_by_value_that_is_not_made_drops_all() {
    let (dropped, mut slab) = slab();
    wait(&mut slab, panics_when_dropped());
    assert_eq!(panic_of(|| slab.into_iter()), Some(FIRST));
    assert_eq!(*dropped.borrow(), [0, 1, 2, 3, 4, 5]);
}

#[test]
fn retain_asks_for_all_and_drops_all_that_are_to_go() {
    let (dropped, mut slab) = slab();
    let mut asked = Vec::new();
    let retain = || {
        slab.retain(|key, bomb| {
            assert_eq!(bomb.number, key);
            asked.push(key);
            key % 4 == 0
        });
    };
    assert_eq!(panic_of(retain), Some(1));
    assert_eq!(asked, [0, 1, 2, 3, 4, 5]);
    assert_eq!(*dropped.borrow(), [1, 2, 3, 5]);
    assert_eq!(slab.iter().map(|(key, _)| key).collect::<Vec<_>>(), [0, 4]);
}

#[test]
fn retain_drops_all_while_unwinding() {
    let (dropped, mut slab) = slab();
    while_unwinding(|| slab.retain(|_, _| false));
    assert_eq!(*dropped.borrow(), [0, 1, 2, 3, 4, 5]);
    assert!(slab.is_empty());
}

#[test]
fn retain_does_not_ask_again_after_a_panic() {
    let (dropped, mut slab) = slab();
    let until_two = |key, _: &mut _| if key == 2 { panic_any(FIRST) } else { key == 1 };
    assert_eq!(panic_of(|| slab.retain(until_two)), Some(FIRST));
    assert_eq!(*dropped.borrow(), [0]);
    assert_eq!(slab.len(), 5);
    assert_eq!(panic_of(|| drop(slab)), Some(1));
}

#[test]
fn retain_wakes_the_task_when_none_is_left() {
    let (_, mut slab) = slab();
    wait(&mut slab, Arc::new(BadTask).into());
    slab.retain(|_, _| true);
    assert_eq!(panic_of(|| slab.retain(|key, _| key == 4)), Some(1));
    assert_eq!(panic_of(|| slab.retain(|_, _| false)), Some(FIRST), "the task is woken");
    slab.retain(|_, _| unreachable!("there are none"));
    assert_eq!(poll_with(&mut slab, &Arc::new(BadTask).into()), Poll::Ready(None));
    slab.retain(|_, _| unreachable!("there are none"));
}

/// The removed stream is not returned yet when the task is woken.
#[test]
fn remove_drops_the_stream_when_the_task_panics() {
    let (dropped, bombs) = bombs([1]);
    let mut slab = StreamSlab::from_iter(bombs);
    wait(&mut slab, Arc::new(BadTask).into());
    assert_eq!(panic_of(|| slab.remove(0)), Some(FIRST));
    assert_eq!(*dropped.borrow(), [1]);
    assert!(slab.is_empty());
}

#[test]
fn extend_inserts_all_though_the_task_panics() {
    let (_, mut bombs) = bombs([0, 2, 4, 6]);
    let mut slab = StreamSlab::from_iter(bombs.next());
    wait(&mut slab, Arc::new(BadTask).into());
    assert_eq!(panic_of(|| slab.extend(bombs)), Some(FIRST));
    assert_eq!(slab.len(), 4);
}

#[test]
fn extend_by_nothing_wakes_no_task() {
    let (_, bombs) = bombs([0]);
    let mut slab = StreamSlab::from_iter(bombs);
    wait(&mut slab, Arc::new(BadTask).into());
    slab.extend([]);
}

/// The streams before the panic are inserted, and the task is woken for them. Its panic is not the first one.
#[test]
fn extend_by_an_iterator_that_panics_keeps_what_came() {
    let (_, mut bombs) = bombs([0, 2, 4]);
    let mut slab = StreamSlab::from_iter(bombs.next());
    wait(&mut slab, Arc::new(BadTask).into());
    let broken = bombs.chain(std::iter::from_fn(|| panic_any(7_usize)));
    assert_eq!(panic_of(|| slab.extend(broken)), Some(7));
    assert_eq!(slab.len(), 3);
    assert_eq!(panic_of(|| wait(&mut slab, Waker::noop().clone())), None, "nobody waits any more");
}

#[test]
fn a_collected_slab_drops_all_when_the_iterator_panics() {
    let (dropped, bombs) = bombs([1, 3]);
    let broken = bombs.chain(std::iter::from_fn(|| panic_any(FIRST)));
    assert_eq!(panic_of(|| StreamSlab::from_iter(broken)), Some(FIRST));
    assert_eq!(*dropped.borrow(), [1, 3]);
}

/// The drop panics with another value of this type, without end.
struct Endless;

impl Drop for Endless {
    fn drop(&mut self) {
        panic_any(Self);
    }
}

/// A stream whose drop panics with something whose drop panics.
struct EndlessBomb;

impl Stream for EndlessBomb {
    type Item = u32;

    fn poll_next(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<Option<u32>> {
        Poll::Pending
    }
}

impl Drop for EndlessBomb {
    fn drop(&mut self) {
        panic_any(Endless);
    }
}

#[test]
fn a_panic_that_is_swallowed_may_panic_when_it_is_dropped() {
    let slab = StreamSlab::from_iter([EndlessBomb, EndlessBomb, EndlessBomb]);
    let panic = catch_unwind(AssertUnwindSafe(|| drop(slab))).expect_err("the first goes on");
    assert!(panic.is::<Endless>());
    std::mem::forget(panic);
    let slab = StreamSlab::from_iter([EndlessBomb, EndlessBomb]);
    while_unwinding(|| drop(slab));
}
