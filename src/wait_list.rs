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
//! Wakers are cloned, woken and dropped outside the lock, for they run foreign code: waking may poll a
//! task in place, and dropping may drop a whole task. That is why this is not an `event_listener::Event`,
//! which does all three under its own lock; it also allocates for each wait, where an entry here is kept.

use crate::sync::{AtomicUsize, Mutex, Ordering};
use crate::unwind::afterwards;
use slab::Slab;
use std::mem;
use std::task::Waker;

#[derive(Debug)]
pub(crate) struct WaitList {
    /// How often `wake_all` ran. Changed under the lock only.
    epoch: AtomicUsize,
    places: Mutex<Places>,
}

/// Where tasks wait. Most lists never see two at a time, so the first place is at hand, and the others are
/// made when they are first needed.
#[derive(Debug, Default)]
struct Places {
    first: Option<Waker>,
    first_is_taken: bool,
    others: Option<Box<Others>>,
}

#[derive(Debug, Default)]
struct Others {
    /// `None` while the place's waiter does not wait.
    wakers: Slab<Option<Waker>>,
    /// How many of them are `Some`.
    waiting: usize,
}

/// A place in one [`WaitList`], taken when it first waits and kept until [`WaitList::leave`].
#[derive(Debug, Default)]
pub(crate) enum Waiter {
    #[default]
    Nowhere,
    First,
    Other(usize),
}

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

    /// Waits no more and gives up the place.
    #[inline]
    pub(crate) fn leave(&self, waiter: &mut Waiter) {
        if !matches!(waiter, Waiter::Nowhere) {
            let unused = self.places.lock().give_up(mem::take(waiter));
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
        let first = places.first.take();
        let more = places.others.as_ref().is_some_and(|others| others.waiting > 0);
        drop(places);

        let mut others = WakeOthers { list: self, from: if more { Some(0) } else { None } };
        if let Some(waker) = first {
            waker.wake();
        }
        others.wake();
    }
}

impl Places {
    /// Puts a waker in the waiter's place, and returns what was there.
    #[inline]
    fn put(&mut self, waiter: &mut Waiter, waker: Waker) -> Option<Waker> {
        if matches!(waiter, Waiter::Nowhere) {
            *waiter = self.take_place();
        }
        let Waiter::Other(key) = *waiter else { return self.first.replace(waker) };
        let others = self.others.as_mut().expect("made with its first place");
        let before = others.wakers[key].replace(waker);
        others.waiting += usize::from(before.is_none());
        before
    }

    fn take_place(&mut self) -> Waiter {
        if !mem::replace(&mut self.first_is_taken, true) {
            return Waiter::First;
        }
        Waiter::Other(self.others.get_or_insert_default().wakers.insert(None))
    }

    fn give_up(&mut self, waiter: Waiter) -> Option<Waker> {
        match waiter {
            Waiter::Nowhere => None,
            Waiter::First => {
                self.first_is_taken = false;
                self.first.take()
            }
            Waiter::Other(key) => {
                let others = self.others.as_mut().expect("made with its first place");
                let waker = others.wakers.remove(key);
                others.waiting -= usize::from(waker.is_some());
                waker
            }
        }
    }
}

impl Others {
    /// Takes the first waker at `from` or behind, and says where to look for the next one, if any waits.
    ///
    /// Looking only forwards, one `wake_all` ends even if the tasks that it wakes wait again at once.
    fn take(&mut self, from: usize) -> Option<(Waker, Option<usize>)> {
        if self.waiting == 0 {
            return None;
        }
        // No key is beyond the capacity; `get_mut` skips free ones.
        let mut keys = from..self.wakers.capacity();
        let (key, waker) = keys.find_map(|key| {
            let waker = self.wakers.get_mut(key)?.take()?;
            Some((key, waker))
        })?;
        self.waiting -= 1;
        Some((waker, (self.waiting > 0).then_some(key + 1)))
    }
}

/// Wakes the others, also when the first waker panics, or one of them.
struct WakeOthers<'a> {
    list: &'a WaitList,
    /// Where to go on; `None` when all are woken.
    from: Option<usize>,
}

impl WakeOthers<'_> {
    fn wake(&mut self) {
        while let Some(from) = self.from.take() {
            let mut places = self.list.places.lock();
            let taken = places.others.as_mut().and_then(|others| others.take(from));
            drop(places);
            if let Some((waker, from)) = taken {
                self.from = from;
                waker.wake();
            }
        }
    }
}

impl Drop for WakeOthers<'_> {
    fn drop(&mut self) {
        // There are some left only if a waker panicked.
        while self.from.is_some() {
            drop(afterwards(|| self.wake()));
        }
    }
}
