//! Tasks that wait for one condition and are woken together.
//!
//! A task waits in three steps, so that no wake is lost between its check and its wait:
//!
//! 1. It reads [`WaitList::epoch`].
//! 2. It checks whether there is something to do.
//! 3. If there is not, it calls [`WaitList::wait`] with that epoch. If [`WaitList::wake_all`] ran since step 1, `wait`
//!    refuses, and the task starts again.
//!
//! `wake_all` begins by incrementing the epoch under the lock. A task that called `wait` before this is in the list and is
//! woken. A `wait` after this finds another epoch and refuses. There is no third case.
//!
//! # Why all tasks are woken, and not one
//!
//! A wake of a single task would have to reach a task that uses it. It is not known whether a woken task will poll again: a
//! program may keep a receiver or a send aside after a `select!`, await something else, and may even wait for one of the
//! tasks that still sleep. All other tasks would then sleep while there is something to do, and no timer would end this.
//! (Locks that pass ownership to the longest-waiting task have this fault, known as *futurelock*.) Waking the next task when
//! a woken one leaves is no remedy, because a future that is kept aside does not leave. Therefore all tasks are woken, and
//! no wake has to be passed on when one of them is dropped.
//!
//! The price: n tasks that wait for items that come one by one make n²/2 polls: 501,500 for 1,000 tasks (0.05 s), and 32
//! million for 8,000 tasks (4 s), at some 110 ns each. A program with that many tasks should let one task wait and pass the
//! items on.
//!
//! # Order
//!
//! Tasks are woken in the order in which they first waited, whatever has happened since. A waiter draws a ticket when it
//! first waits, and keeps the ticket until it leaves. The longest-waiting task is therefore woken first. A task that leaves
//! and waits again is last.
//!
//! # Why not `event_listener::Event`
//!
//! This list clones, wakes and drops wakers outside its lock, because wakers run foreign code: a wake may poll a task in
//! place, and a drop may drop a whole task. An `Event` (5.4) does all three under its own lock; only the waker of a dropped
//! listener is dropped outside. A task that is polled inside its waker's `wake` therefore hangs when it uses the event. A
//! waker that panics under that lock may even leave the event dead for all other tasks. An `Event` also allocates for each
//! wait, whereas this list keeps its memory. For *threads* that wait, an `Event` has none of these faults, because it then
//! wakes only its own parkers.

use crate::sync::{AtomicUsize, Mutex, MutexGuard, Ordering};
use crate::unwind::{afterwards, for_each};
use crowd::{Crowd, Queue, Ticket};
use std::mem;
use std::task::Waker;

pub(crate) mod crowd;
#[cfg(all(test, not(loom_models)))]
mod tests;

pub(crate) use crowd::Waiter;

#[derive(Debug)]
pub(crate) struct WaitList {
    /// How often `wake_all` ran. Changed under the lock only.
    epoch: AtomicUsize,
    places: Mutex<Places>,
}

#[derive(Debug)]
struct Places {
    /// The number of tickets and marks drawn so far.
    counter: u64,
    waiting: Waiting,
}

/// The waiting tasks. Each sink has a list, and in most lists two tasks never wait at the same time. A list therefore has
/// room for one task, and one word for everything else.
#[derive(Debug)]
enum Waiting {
    One(Ticket, Waker),
    /// `None` until two tasks wait at the same time, or one calls [`miss`](WaitList::miss). Afterwards the crowd is kept, so
    /// that the next wait does not allocate.
    Crowd(Option<Box<Crowd>>),
}

impl WaitList {
    pub(crate) fn new() -> Self {
        let places = Places { counter: 0, waiting: Waiting::Crowd(None) };
        Self { epoch: AtomicUsize::new(0), places: Mutex::new(places) }
    }

    /// Returns the epoch for [`wait`](Self::wait). A task reads it before it checks for something to do.
    #[inline]
    pub(crate) fn epoch(&self) -> usize {
        // Ordering: Acquire pairs with the Release in `wake_all`. A task that reads the new epoch sees everything that the
        // waking thread did before, and so its check finds it.
        self.epoch.load(Ordering::Acquire)
    }

    /// Waits: the next `wake_all` calls `waker` once. Returns `false` and does nothing if a `wake_all` ran since `epoch` was
    /// read.
    ///
    /// Cost: one lock pair, and O(log n) where n is the number of waiting tasks. Allocates only if more tasks wait than ever
    /// before; the first task never allocates.
    // `always`: otherwise the compiler does not inline it everywhere, and going to sleep costs 4 % more there.
    #[inline(always)]
    pub(crate) fn wait(&self, waiter: &mut Waiter, epoch: usize, waker: Waker) -> bool {
        let mut places = self.places.lock();
        // Ordering: the epoch changes only under this lock, which orders this load.
        let is_current = self.epoch.load(Ordering::Relaxed) == epoch;
        let unused = if is_current { places.put(waiter, waker) } else { Some(waker) };
        drop(places);
        drop(unused);
        is_current
    }

    /// Ends the wait and gives up the ticket.
    ///
    /// Cost: one lock pair if the waiter has a ticket, and O(log n) where n is the number of waiting tasks.
    #[inline]
    pub(crate) fn leave(&self, waiter: &mut Waiter) {
        if waiter.ticket != 0 {
            self.give_up(mem::take(waiter));
        }
    }

    /// Out of line, because most waiters that leave have never waited.
    #[inline(never)]
    fn give_up(&self, waiter: Waiter) {
        let unused = self.places.lock().take(&waiter);
        // Most callers are destructors, which also run while the thread unwinds.
        drop(afterwards(|| drop(unused)));
    }

    /// Wakes every waiting task.
    ///
    /// Cost: one lock pair. If the list has a crowd, also one lock pair and O(log n) for each task. Does not allocate. If a
    /// waker panics, the other tasks are still woken, and then the panic propagates.
    pub(crate) fn wake_all(&self) {
        let mut places = self.places.lock();
        // Ordering: Release pairs with the Acquire in `epoch`.
        let epoch = self.epoch.load(Ordering::Relaxed).wrapping_add(1);
        self.epoch.store(epoch, Ordering::Release);
        if let Some(waker) = places.take_one() {
            drop(places);
            waker.wake();
        } else {
            self.call(Queue::Waiting, places);
        }
    }

    /// Waits for the next `wake_missed`, instead of `wake_all`.
    ///
    /// Cost: as [`wait`](Self::wait), but the first task may allocate, too.
    #[cold]
    pub(crate) fn miss(&self, waiter: &mut Waiter, waker: Waker) {
        let mut places = self.places.lock();
        places.draw_ticket(waiter);
        let unused = places.crowd().put(waiter, Queue::Missed, waker);
        drop(places);
        drop(unused);
    }

    /// Wakes the tasks that wait after [`miss`](Self::miss).
    ///
    /// Cost: as [`wake_all`](Self::wake_all).
    #[cold]
    pub(crate) fn wake_missed(&self) {
        self.call(Queue::Missed, self.places.lock());
    }

    /// Releases memory that no waiting task needs: the whole crowd, if it is empty. The caller drops the returned crowd with
    /// no lock held.
    ///
    /// Cost: one lock pair, and O(n) where n is the largest number of tasks that ever waited.
    pub(crate) fn shrink_to_fit(&self) -> Option<Box<Crowd>> {
        let mut places = self.places.lock();
        let Waiting::Crowd(crowd) = &mut places.waiting else { return None };
        let unused = crowd.take_if(|crowd| crowd.is_empty());
        if let Some(crowd) = crowd {
            crowd.shrink_to_fit();
        }
        unused
    }

    fn call(&self, queue: Queue, mut guard: MutexGuard<'_, Places>) {
        let places = &mut *guard;
        let Waiting::Crowd(Some(crowd)) = &mut places.waiting else { return };
        let mark = crowd.begin(queue, &mut places.counter);
        let first = crowd.call(queue, mark);
        drop(guard);
        if first.is_some() {
            CallCrowd { list: self, queue, mark, called: false }.wake(first);
        }
    }
}

impl Drop for WaitList {
    /// Drops every waker, even if the drop of one panics.
    fn drop(&mut self) {
        match mem::replace(&mut self.places.lock().waiting, Waiting::Crowd(None)) {
            Waiting::Crowd(None) => {}
            Waiting::One(_, waker) => drop(afterwards(|| drop(waker))),
            Waiting::Crowd(Some(crowd)) => drop(afterwards(|| for_each(crowd.into_wakers(), drop))),
        }
    }
}

impl Places {
    fn draw_ticket(&mut self, waiter: &mut Waiter) {
        if waiter.ticket == 0 {
            self.counter += 1;
            waiter.ticket = self.counter;
        }
    }

    /// Puts a waker into the waiter's place, and returns the waker that was there.
    #[inline]
    fn put(&mut self, waiter: &mut Waiter, waker: Waker) -> Option<Waker> {
        self.draw_ticket(waiter);
        match &mut self.waiting {
            Waiting::One(ticket, before) if *ticket == waiter.ticket => Some(mem::replace(before, waker)),
            nobody @ Waiting::Crowd(None) => {
                waiter.key = 0;
                // `Crowd(None)` needs no drop. `forget` omits the check.
                mem::forget(mem::replace(nobody, Waiting::One(waiter.ticket, waker)));
                None
            }
            _ => self.put_in_crowd(waiter, waker),
        }
    }

    #[inline(never)]
    fn put_in_crowd(&mut self, waiter: &mut Waiter, waker: Waker) -> Option<Waker> {
        self.crowd().put(waiter, Queue::Waiting, waker)
    }

    /// Returns the crowd. Creates it first if necessary, with the one waiting task in it.
    #[inline]
    fn crowd(&mut self) -> &mut Crowd {
        if let Waiting::One(..) | Waiting::Crowd(None) = self.waiting {
            self.make_crowd();
        }
        match &mut self.waiting {
            Waiting::Crowd(Some(crowd)) => crowd,
            _ => unreachable!("made above"),
        }
    }

    #[cold]
    fn make_crowd(&mut self) {
        let here = match mem::replace(&mut self.waiting, Waiting::Crowd(None)) {
            Waiting::One(ticket, waker) => Some((ticket, waker)),
            Waiting::Crowd(_) => None,
        };
        self.waiting = Waiting::Crowd(Some(Box::new(Crowd::new(self.counter, here))));
    }

    /// Takes the waker of the only waiting task, if there is no crowd.
    #[inline]
    fn take_one(&mut self) -> Option<Waker> {
        let Waiting::One(..) = self.waiting else { return None };
        match mem::replace(&mut self.waiting, Waiting::Crowd(None)) {
            Waiting::One(_, waker) => Some(waker),
            Waiting::Crowd(_) => unreachable!("looked above"),
        }
    }

    /// Takes the waiter's waker, if the waiter waits.
    fn take(&mut self, waiter: &Waiter) -> Option<Waker> {
        match &mut self.waiting {
            Waiting::One(ticket, _) if *ticket == waiter.ticket => self.take_one(),
            Waiting::One(..) | Waiting::Crowd(None) => None,
            Waiting::Crowd(Some(crowd)) => crowd.take(waiter),
        }
    }
}

/// Wakes all tasks of a crowd, even if a waker panics.
struct CallCrowd<'a> {
    list: &'a WaitList,
    queue: Queue,
    mark: u64,
    /// Whether all wakers were called.
    called: bool,
}

impl CallCrowd<'_> {
    fn wake(&mut self, mut next: Option<Waker>) {
        while let Some(waker) = next {
            waker.wake();
            next = self.next();
        }
        self.called = true;
    }

    fn next(&self) -> Option<Waker> {
        match &mut self.list.places.lock().waiting {
            Waiting::Crowd(Some(crowd)) => crowd.call(self.queue, self.mark),
            // The crowd was empty and was released.
            Waiting::One(..) | Waiting::Crowd(None) => None,
        }
    }
}

impl Drop for CallCrowd<'_> {
    fn drop(&mut self) {
        // Wakers are left only if one panicked.
        while !self.called {
            drop(afterwards(|| {
                let next = self.next();
                self.wake(next);
            }));
        }
    }
}
