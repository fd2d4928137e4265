//! An executor that runs in a task's waker what other executors defer: it polls the task in place, stops and drops all its
//! tasks, or panics. The contract of wakers allows this.

#![allow(unsafe_code, reason = "only a table of functions lets the clone of a waker run code")]

use std::collections::VecDeque;
use std::mem::{self, ManuallyDrop};
use std::panic::panic_any;
use std::pin::Pin;
use std::sync::{Arc, Mutex};
use std::task::{Context, Poll, RawWaker, RawWakerVTable, Waker};

/// The moment at which a waker runs code of the executor.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Moment {
    Wake,
    Clone,
    Drop,
}

/// What the executor does at that moment, once.
#[derive(Clone, Copy)]
pub(crate) enum Act {
    Stop,
    Panic,
}

pub(crate) type BoxFuture = Pin<Box<dyn Future<Output = ()> + Send>>;

/// An executor, which stops when it is dropped.
#[derive(Default)]
pub(crate) struct Executor(Arc<Shared>);

#[derive(Default)]
struct Shared {
    /// Whether a woken task is polled in its waker instead of by [`Executor::run`].
    in_place: bool,
    tasks: Mutex<Vec<Arc<Task>>>,
    woken: Mutex<VecDeque<Arc<Task>>>,
    armed: Mutex<Option<(Moment, Act)>>,
}

pub(crate) struct Task(Mutex<State>);

enum State {
    Idle(BoxFuture),
    /// The task is being polled; its future is on the stack of that poll. `again`: the task was woken in the meantime.
    Polled {
        again: bool,
    },
    Done,
    /// The executor has stopped.
    Dropped,
}

impl Executor {
    pub(crate) fn polling_in_place() -> Self {
        Self(Arc::new(Shared { in_place: true, ..Shared::default() }))
    }

    /// Starts a task, and polls it once.
    pub(crate) fn spawn(&self, future: BoxFuture) -> Arc<Task> {
        let task = Arc::new(Task(Mutex::new(State::Idle(future))));
        self.0.tasks.lock().unwrap().push(Arc::clone(&task));
        self.0.poll(&task);
        task
    }

    /// Polls a task without a wake, with a new waker.
    pub(crate) fn poll(&self, task: &Arc<Task>) {
        self.0.poll(task);
    }

    /// Polls woken tasks until there are none.
    pub(crate) fn run(&self) {
        loop {
            let task = self.0.woken.lock().unwrap().pop_front();
            let Some(task) = task else { return };
            self.0.poll(&task);
        }
    }

    /// Makes the executor act the next time that a waker of its tasks reaches this moment.
    pub(crate) fn arm(&self, moment: Moment, act: Act) {
        *self.0.armed.lock().unwrap() = Some((moment, act));
    }

    pub(crate) fn has_acted(&self) -> bool {
        self.0.armed.lock().unwrap().is_none()
    }
}

impl Drop for Executor {
    fn drop(&mut self) {
        self.0.stop();
    }
}

impl Task {
    pub(crate) fn is_done(&self) -> bool {
        matches!(*self.0.lock().unwrap(), State::Done)
    }
}

impl Shared {
    fn poll(self: &Arc<Self>, task: &Arc<Task>) {
        let mut state = task.0.lock().unwrap();
        let mut future = match mem::replace(&mut *state, State::Polled { again: false }) {
            State::Idle(future) => future,
            State::Polled { .. } => {
                *state = State::Polled { again: true };
                return;
            }
            over => {
                *state = over;
                return;
            }
        };
        drop(state);
        loop {
            let waker = waker(Handle { shared: Arc::clone(self), task: Arc::clone(task) });
            let polled = future.as_mut().poll(&mut Context::from_waker(&waker));
            drop(waker);
            let mut state = task.0.lock().unwrap();
            match (&*state, polled) {
                (State::Dropped, _) => {}
                (_, Poll::Ready(())) => *state = State::Done,
                (State::Polled { again: true }, _) => {
                    *state = State::Polled { again: false };
                    continue;
                }
                _ => {
                    *state = State::Idle(future);
                    return;
                }
            }
            // Drops the future with no lock held.
            drop(state);
            return;
        }
    }

    fn stop(&self) {
        let tasks = mem::take(&mut *self.tasks.lock().unwrap());
        for task in tasks {
            let mut state = task.0.lock().unwrap();
            if let State::Done = *state {
                continue;
            }
            let before = mem::replace(&mut *state, State::Dropped);
            drop(state);
            drop(before);
        }
        drop(mem::take(&mut *self.woken.lock().unwrap()));
    }
}

/// The data of a task's waker. Each poll has its own, so that a task never sees the same waker twice.
struct Handle {
    shared: Arc<Shared>,
    task: Arc<Task>,
}

impl Handle {
    fn act_at(&self, moment: Moment) {
        let act = self.shared.armed.lock().unwrap().take_if(|armed| armed.0 == moment);
        match act {
            Some((_, Act::Stop)) => self.shared.stop(),
            Some((_, Act::Panic)) => panic_any("a waker panics, as the scene wants"),
            None => {}
        }
    }

    fn wake(&self) {
        self.act_at(Moment::Wake);
        if self.shared.in_place {
            self.shared.poll(&self.task);
        } else {
            self.shared.woken.lock().unwrap().push_back(Arc::clone(&self.task));
        }
    }
}

fn waker(handle: Handle) -> Waker {
    // SAFETY: the pointer has the type that the table's functions expect, and owns one count. Any thread may call these
    // functions, because `Handle` is `Send` and `Sync`.
    unsafe { Waker::from_raw(raw(Arc::new(handle))) }
}

fn raw(handle: Arc<Handle>) -> RawWaker {
    const TABLE: RawWakerVTable = RawWakerVTable::new(
        |data| {
            // SAFETY: the waker is alive, and keeps its count.
            let handle = ManuallyDrop::new(unsafe { own(data) });
            handle.act_at(Moment::Clone);
            raw(Arc::clone(&handle))
        },
        // SAFETY: the waker hands over its count.
        |data| unsafe { own(data) }.wake(),
        // SAFETY: the waker is alive, and keeps its count.
        |data| ManuallyDrop::new(unsafe { own(data) }).wake(),
        |data| {
            // SAFETY: the waker hands over its count.
            let handle = unsafe { own(data) };
            handle.act_at(Moment::Drop);
        },
    );
    RawWaker::new(Arc::into_raw(handle).cast(), &TABLE)
}

/// Takes the count of a waker.
///
/// # Safety
///
/// `data` must belong to a waker made by [`raw`]. Either the waker gives up its count, or the caller does not drop the
/// result.
unsafe fn own(data: *const ()) -> Arc<Handle> {
    // SAFETY: the pointer comes from `Arc::into_raw`.
    unsafe { Arc::from_raw(data.cast()) }
}
