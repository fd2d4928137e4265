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
use crate::unwind::afterwards;
use std::collections::VecDeque;
use std::mem;
use std::task::Waker;

#[derive(Debug)]
pub(crate) struct WaitList {
    /// How often `wake_all` ran. Changed under the lock only.
    epoch: AtomicUsize,
    places: Mutex<Places>,
}

/// Who waits. Most lists never see two at a time, so the place for one is at hand.
#[derive(Debug, Default)]
struct Places {
    /// How many tickets were drawn.
    tickets: u64,
    /// While nobody else waits.
    alone: Option<Place>,
    /// Of two and more; in the order of their tickets. There is a list for each sink, so one word for what
    /// most never need.
    #[allow(clippy::box_collection, reason = "see above")]
    others: Option<Box<VecDeque<Place>>>,
}

type Place = (Ticket, Waker);

/// The first is 1.
type Ticket = u64;

/// Whoever waits in one [`WaitList`], until [`WaitList::leave`]. 0 while it has no ticket.
#[derive(Debug, Default)]
pub(crate) struct Waiter(Ticket);

impl WaitList {
    pub(crate) fn new() -> Self {
        Self { epoch: AtomicUsize::new(0), places: Mutex::new(Places::default()) }
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
    #[inline]
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
    /// Cost: one lock pair, and one more for each task beyond the first. Allocates nothing. When a
    /// waker panics, the others are woken all the same and the panic goes on.
    pub(crate) fn wake_all(&self) {
        let mut places = self.places.lock();
        // Ordering: Release pairs with the Acquire in `epoch`.
        let epoch = self.epoch.load(Ordering::Relaxed).wrapping_add(1);
        self.epoch.store(epoch, Ordering::Release);
        let alone = places.alone.take();
        let last = if alone.is_some() { 0 } else { places.tickets };
        drop(places);

        if let Some((_, waker)) = alone {
            waker.wake();
        } else {
            WakeOthers { list: self, next: 1, last }.wake();
        }
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
        let is_alone = self.others.as_ref().is_none_or(|others| others.is_empty());
        match &mut self.alone {
            Some((ticket, before)) if *ticket == waiter.0 => Some(mem::replace(before, waker)),
            None if is_alone => {
                self.alone = Some((waiter.0, waker));
                None
            }
            _ => self.put_beside_others(waiter.0, waker),
        }
    }

    fn put_beside_others(&mut self, ticket: Ticket, waker: Waker) -> Option<Waker> {
        let others = self.others.get_or_insert_default();
        others.extend(self.alone.take());
        match find(others, ticket) {
            Ok(at) => Some(mem::replace(&mut others[at].1, waker)),
            Err(at) => {
                others.insert(at, (ticket, waker));
                None
            }
        }
    }

    fn give_up(&mut self, ticket: Ticket) -> Option<Waker> {
        if let Some((_, waker)) = self.alone.take_if(|place| place.0 == ticket) {
            return Some(waker);
        }
        let others = self.others.as_mut()?;
        let at = find(others, ticket).ok()?;
        others.remove(at).map(|(_, waker)| waker)
    }

    /// Takes the first that has this ticket or a later one, and at most `last`.
    fn take(&mut self, from: Ticket, last: Ticket) -> Option<Place> {
        if let Some(place) = self.alone.take_if(|place| (from..=last).contains(&place.0)) {
            return Some(place);
        }
        let others = self.others.as_mut()?;
        let (Ok(at) | Err(at)) = find(others, from);
        others.get(at).filter(|place| place.0 <= last)?;
        others.remove(at)
    }
}

fn find(places: &VecDeque<Place>, ticket: Ticket) -> Result<usize, usize> {
    places.binary_search_by_key(&ticket, |place| place.0)
}

/// Wakes two and more, also when a waker panics.
struct WakeOthers<'a> {
    list: &'a WaitList,
    /// Looking only forwards, it comes to an end even if the tasks that it wakes wait again at once; and at
    /// the last who waited when it began.
    next: Ticket,
    last: Ticket,
}

impl WakeOthers<'_> {
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

impl Drop for WakeOthers<'_> {
    fn drop(&mut self) {
        // There are some left only if a waker panicked.
        while self.next <= self.last {
            drop(afterwards(|| self.wake()));
        }
    }
}
