//! The tasks that wait for one thing, woken together.
//!
//! A task waits in three steps, so that no wake falls between looking and waiting:
//!
//! 1. read [`WaitList::epoch`],
//! 2. look whether there is something to do,
//! 3. if there is not, [`WaitList::wait`] with that epoch. It refuses when [`WaitList::wake_all`] ran
//!    since step 1, and the task looks again.
//!
//! `wake_all` begins by raising the epoch under the lock. A `wait` before it is in the list and is
//! woken; a `wait` after it sees another epoch and refuses. There is no third case.
//!
//! # Why all are woken, and not one
//!
//! A wake of one alone would have to reach a task that uses it. Nothing tells whether a woken task ever polls again:
//! a program may keep a receiver or a send aside after a `select!` and await something else, and it may even wait for
//! one of those that still sleep. Then all others sleep while there is something to do, and no timer of ours goes
//! off. (Locks that hand over to the one who waits longest have this fault; it is known as *futurelock*.) Waking the
//! next when a woken one leaves does not mend it, for the one that is kept aside does not leave. So all are woken,
//! and nothing has to be handed on when one of them is dropped.
//!
//! The price: n tasks that wait for items which come one by one make n²/2 polls, 501,500 for 1,000 tasks (0.05 s)
//! and 32 million for 8,000 (4 s), at some 110 ns each. Who has that many should have one task that waits and
//! hands on.
//!
//! # Order
//!
//! They are woken in the order in which they first waited, whatever happened since: a ticket says so, which a
//! waiter draws when it first waits and keeps until it leaves. So who waits longest has the first chance, and
//! a task that leaves and comes back at once goes to the end.
//!
//! # Why not `event_listener::Event`
//!
//! Wakers are cloned, woken and dropped outside the lock, for they run foreign code: waking may poll a task in
//! place, and dropping may drop a whole task. An `Event` (5.4) does all three under its own lock, so a task that is
//! polled in its waker's `wake` hangs when it comes back to the event (only the waker of a listener that is dropped
//! is dropped outside). Worse is a waker that panics in there: it leaves the event dead for all others. An `Event`
//! also allocates for each wait, where the room for it is kept here. For *threads* that wait it has none of these
//! faults, since only its own parkers are woken then.

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
    /// How many tickets and marks were drawn.
    counter: u64,
    waiting: Waiting,
}

/// Who waits. There is a list for each sink, and most never see two at a time: so there is room for one, and
/// one word for all else.
#[derive(Debug)]
enum Waiting {
    One(Ticket, Waker),
    /// `None` if there never were two, nor one who missed something; else kept, so that nothing is allocated
    /// the next time.
    Crowd(Option<Box<Crowd>>),
}

impl WaitList {
    pub(crate) fn new() -> Self {
        let places = Places { counter: 0, waiting: Waiting::Crowd(None) };
        Self { epoch: AtomicUsize::new(0), places: Mutex::new(places) }
    }

    /// The epoch to hand to [`wait`](Self::wait). Read it before looking for something to do.
    #[inline]
    pub(crate) fn epoch(&self) -> usize {
        // Ordering: Acquire pairs with the Release in `wake_all`: who sees the new epoch sees what
        // the waking side did before it, and so finds it when it looks.
        self.epoch.load(Ordering::Acquire)
    }

    /// Waits: `waker` is woken by the next `wake_all`, once. `false`, and nothing done, when one ran
    /// since `epoch` was read.
    ///
    /// Cost: one lock pair; O(log n) where n wait. Allocates only when more tasks wait than ever before, and not
    /// for the first.
    // Always: the compiler takes it for too large here and there, and then going to sleep costs 4 % more.
    #[inline(always)]
    pub(crate) fn wait(&self, waiter: &mut Waiter, epoch: usize, waker: Waker) -> bool {
        let mut places = self.places.lock();
        // Ordering: the epoch only changes under this lock, which orders this load.
        let is_current = self.epoch.load(Ordering::Relaxed) == epoch;
        let unused = if is_current { places.put(waiter, waker) } else { Some(waker) };
        drop(places);
        drop(unused);
        is_current
    }

    /// Waits no more and gives up the ticket.
    ///
    /// Cost: one lock pair if it ever waited; O(log n) where n wait.
    #[inline]
    pub(crate) fn leave(&self, waiter: &mut Waiter) {
        if waiter.ticket != 0 {
            self.give_up(mem::take(waiter));
        }
    }

    /// Out of line, for few who come by have ever waited.
    #[inline(never)]
    fn give_up(&self, waiter: Waiter) {
        let unused = self.places.lock().take(&waiter);
        drop(unused);
    }

    /// Wakes every task that waits.
    ///
    /// Cost: one lock pair, and where there ever were two, one more for each task, at O(log n). Allocates
    /// nothing. When a waker panics, the others are woken all the same and the panic goes on.
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

    /// Waits for something else than `wake_all`: for the next `wake_missed`.
    ///
    /// Cost: as [`wait`](Self::wait), but it allocates for the first, too.
    #[cold]
    pub(crate) fn miss(&self, waiter: &mut Waiter, waker: Waker) {
        let mut places = self.places.lock();
        places.draw_ticket(waiter);
        let unused = places.crowd().put(waiter, Queue::Missed, waker);
        drop(places);
        drop(unused);
    }

    /// Wakes those who missed something.
    ///
    /// Cost: as [`wake_all`](Self::wake_all).
    #[cold]
    pub(crate) fn wake_missed(&self) {
        self.call(Queue::Missed, self.places.lock());
    }

    /// Gives back memory that nobody waits in: all, if nobody waits in a crowd. The caller drops what it gets when it
    /// holds no lock.
    ///
    /// Cost: one lock pair, and O(n) where at most n ever waited.
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
    /// Drops each waker, whichever of them panics.
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

    /// Puts a waker in the waiter's place, and returns what was there.
    #[inline]
    fn put(&mut self, waiter: &mut Waiter, waker: Waker) -> Option<Waker> {
        self.draw_ticket(waiter);
        match &mut self.waiting {
            Waiting::One(ticket, before) if *ticket == waiter.ticket => Some(mem::replace(before, waker)),
            nobody @ Waiting::Crowd(None) => {
                waiter.key = 0;
                // Spares looking for what is to be dropped.
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

    /// The crowd, which is made of one if it is not there.
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

    /// Takes the only one.
    #[inline]
    fn take_one(&mut self) -> Option<Waker> {
        let Waiting::One(..) = self.waiting else { return None };
        match mem::replace(&mut self.waiting, Waiting::Crowd(None)) {
            Waiting::One(_, waker) => Some(waker),
            Waiting::Crowd(_) => unreachable!("looked above"),
        }
    }

    /// Takes the waiter's waker, if it waits.
    fn take(&mut self, waiter: &Waiter) -> Option<Waker> {
        match &mut self.waiting {
            Waiting::One(ticket, _) if *ticket == waiter.ticket => self.take_one(),
            Waiting::One(..) | Waiting::Crowd(None) => None,
            Waiting::Crowd(Some(crowd)) => crowd.take(waiter),
        }
    }
}

/// Wakes a crowd, also when a waker panics.
struct CallCrowd<'a> {
    list: &'a WaitList,
    queue: Queue,
    mark: u64,
    /// Whether all were called.
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
            // It was given up: nobody was left.
            Waiting::One(..) | Waiting::Crowd(None) => None,
        }
    }
}

impl Drop for CallCrowd<'_> {
    fn drop(&mut self) {
        // There are some left only if a waker panicked.
        while !self.called {
            drop(afterwards(|| {
                let next = self.next();
                self.wake(next);
            }));
        }
    }
}
