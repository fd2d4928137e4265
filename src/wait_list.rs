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
//! All are woken, not one: a single wake could go to a task that never polls again (a receiver kept
//! aside after a `select!`), and the others would sleep while there is something to receive.
//! Nothing has to be handed on when a woken task is dropped, either.
//!
//! They are woken in the order in which they first waited, whatever happened since: a ticket says so, which a
//! waiter draws when it first waits and keeps until it leaves. So who waits longest has the first chance, and
//! a task that leaves and comes back at once goes to the end.
//!
//! Wakers are cloned, woken and dropped outside the lock, for they run foreign code: waking may poll a
//! task in place, and dropping may drop a whole task. That is why this is not an `event_listener::Event`,
//! which does all three under its own lock; it also allocates for each wait, where the room for it is kept here.

use crate::sync::{AtomicUsize, Mutex, Ordering};
use crate::unwind::{afterwards, for_each};
use std::collections::VecDeque;
use std::mem;
use std::task::Waker;

#[derive(Debug)]
pub(crate) struct WaitList {
    /// How often `wake_all` ran. Changed under the lock only.
    epoch: AtomicUsize,
    places: Mutex<Places>,
}

#[derive(Debug)]
struct Places {
    /// How many tickets were drawn.
    tickets: u64,
    waiting: Waiting,
}

/// Who waits. There is a list for each sink, and most never see two at a time: so there is room for one, and
/// one word for all else.
#[derive(Debug)]
enum Waiting {
    One(Place),
    /// `None` if there never were two, nor one who missed something; else kept, so that nothing is allocated
    /// the next time.
    Crowd(Option<Box<Crowd>>),
}

#[derive(Debug, Default)]
struct Crowd {
    /// In the order of their tickets.
    places: VecDeque<Place>,
    /// See [`WaitList::miss`].
    missed: Vec<Waker>,
}

type Place = (Ticket, Waker);

/// The first is 1.
type Ticket = u64;

/// Whoever waits in one [`WaitList`], until [`WaitList::leave`]. 0 while it has no ticket.
#[derive(Debug, Default)]
pub(crate) struct Waiter(Ticket);

impl WaitList {
    pub(crate) fn new() -> Self {
        let places = Places { tickets: 0, waiting: Waiting::Crowd(None) };
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
    /// Cost: one lock pair. Allocates only when more tasks wait than ever before, and not for the first.
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
    #[inline]
    pub(crate) fn leave(&self, waiter: &mut Waiter) {
        if waiter.0 != 0 {
            let unused = self.places.lock().give_up(mem::take(waiter).0);
            drop(unused);
        }
    }

    /// Wakes every task that waits.
    ///
    /// Cost: one lock pair, and where there ever were two, one more for each task. Allocates nothing. When
    /// a waker panics, the others are woken all the same and the panic goes on.
    pub(crate) fn wake_all(&self) {
        let mut places = self.places.lock();
        // Ordering: Release pairs with the Acquire in `epoch`.
        let epoch = self.epoch.load(Ordering::Relaxed).wrapping_add(1);
        self.epoch.store(epoch, Ordering::Release);
        if let Some((_, waker)) = places.take_one() {
            drop(places);
            waker.wake();
        } else {
            let last = places.last();
            drop(places);
            WakeCrowd { list: self, next: 1, last }.wake();
        }
    }

    /// Leaves a waker for something else than `wake_all`: for the next `wake_missed`.
    ///
    /// Cost: one lock pair. Allocates only when more tasks wait than ever before.
    #[cold]
    pub(crate) fn miss(&self, waker: Waker) {
        self.places.lock().crowd().missed.push(waker);
    }

    /// Wakes those who missed something.
    #[cold]
    pub(crate) fn wake_missed(&self) {
        let mut missed = mem::take(&mut self.places.lock().crowd().missed);
        for_each(missed.drain(..), Waker::wake);
        // Kept, so that nothing is allocated the next time; unless there are such again.
        let mut places = self.places.lock();
        let crowd = places.crowd();
        if crowd.missed.is_empty() {
            mem::swap(&mut crowd.missed, &mut missed);
        }
        drop(places);
    }
}

impl Places {
    /// Puts a waker in the waiter's place, and returns what was there.
    #[inline]
    fn put(&mut self, waiter: &mut Waiter, waker: Waker) -> Option<Waker> {
        if waiter.0 == 0 {
            self.tickets += 1;
            waiter.0 = self.tickets;
        }
        match &mut self.waiting {
            Waiting::One((ticket, before)) if *ticket == waiter.0 => Some(mem::replace(before, waker)),
            nobody @ Waiting::Crowd(None) => {
                // Spares looking for what is to be dropped.
                mem::forget(mem::replace(nobody, Waiting::One((waiter.0, waker))));
                None
            }
            _ => self.put_in_crowd(waiter.0, waker),
        }
    }

    fn put_in_crowd(&mut self, ticket: Ticket, waker: Waker) -> Option<Waker> {
        let places = &mut self.crowd().places;
        match find(places, ticket) {
            Ok(at) => Some(mem::replace(&mut places[at].1, waker)),
            Err(at) => {
                places.insert(at, (ticket, waker));
                None
            }
        }
    }

    /// The crowd, which is made of one if it is not there.
    fn crowd(&mut self) -> &mut Crowd {
        if let Waiting::One(_) | Waiting::Crowd(None) = self.waiting {
            let mut crowd = Box::<Crowd>::default();
            if let Waiting::One(place) = mem::replace(&mut self.waiting, Waiting::Crowd(None)) {
                crowd.places.push_back(place);
            }
            self.waiting = Waiting::Crowd(Some(crowd));
        }
        match &mut self.waiting {
            Waiting::Crowd(Some(crowd)) => crowd,
            _ => unreachable!("made above"),
        }
    }

    /// Takes the only one.
    #[inline]
    fn take_one(&mut self) -> Option<Place> {
        let Waiting::One(_) = self.waiting else { return None };
        match mem::replace(&mut self.waiting, Waiting::Crowd(None)) {
            Waiting::One(place) => Some(place),
            Waiting::Crowd(_) => unreachable!("looked above"),
        }
    }

    /// The latest ticket in the crowd; 0 if nobody is there.
    fn last(&self) -> Ticket {
        match &self.waiting {
            Waiting::Crowd(Some(crowd)) => crowd.places.back().map_or(0, |place| place.0),
            Waiting::One(_) | Waiting::Crowd(None) => 0,
        }
    }

    /// Takes the one with this ticket.
    fn give_up(&mut self, ticket: Ticket) -> Option<Waker> {
        self.take(ticket, ticket).map(|(_, waker)| waker)
    }

    /// Takes the first that has ticket `from` or a later one, and at most `last`.
    fn take(&mut self, from: Ticket, last: Ticket) -> Option<Place> {
        match &mut self.waiting {
            Waiting::One((ticket, _)) if (from..=last).contains(ticket) => self.take_one(),
            Waiting::One(_) | Waiting::Crowd(None) => None,
            Waiting::Crowd(Some(crowd)) => {
                let (Ok(at) | Err(at)) = find(&crowd.places, from);
                crowd.places.get(at).filter(|place| place.0 <= last)?;
                crowd.places.remove(at)
            }
        }
    }
}

fn find(places: &VecDeque<Place>, ticket: Ticket) -> Result<usize, usize> {
    places.binary_search_by_key(&ticket, |place| place.0)
}

/// Wakes a crowd, also when a waker panics.
struct WakeCrowd<'a> {
    list: &'a WaitList,
    /// Looking only forwards, it comes to an end even if the tasks that it wakes wait again at once; and at
    /// the last who waited when it began.
    next: Ticket,
    last: Ticket,
}

impl WakeCrowd<'_> {
    fn wake(&mut self) {
        while self.next <= self.last {
            let taken = self.list.places.lock().take(self.next, self.last);
            let Some((ticket, waker)) = taken else {
                self.next = self.last + 1;
                return;
            };
            self.next = ticket + 1;
            waker.wake();
        }
    }
}

impl Drop for WakeCrowd<'_> {
    fn drop(&mut self) {
        // There are some left only if a waker panicked.
        while self.next <= self.last {
            drop(afterwards(|| self.wake()));
        }
    }
}
