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
use slab::Slab;
use std::task::Waker;

#[derive(Debug)]
pub(crate) struct WaitList {
    /// How often `wake_all` ran. Changed under the lock only.
    epoch: AtomicUsize,
    entries: Mutex<Entries>,
}

#[derive(Debug, Default)]
struct Entries {
    /// One per [`Waiter`] that ever waited; `None` while it does not wait.
    wakers: Slab<Option<Waker>>,
    /// How many of them are `Some`.
    waiting: usize,
}

/// A place in one [`WaitList`], taken when it first waits and kept until [`WaitList::leave`].
#[derive(Debug, Default)]
pub(crate) struct Waiter {
    key: Option<usize>,
}

impl WaitList {
    pub(crate) fn new() -> Self {
        Self { epoch: AtomicUsize::new(0), entries: Mutex::new(Entries::default()) }
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
    /// Cost: one lock pair. Allocates only when more tasks wait than ever before.
    pub(crate) fn wait(&self, waiter: &mut Waiter, epoch: usize, waker: Waker) -> bool {
        // What is replaced or refused is dropped after the lock.
        let mut unused = Some(waker);
        let mut entries = self.entries.lock();
        // Ordering: the epoch only changes under this lock, which orders this load.
        let current = self.epoch.load(Ordering::Relaxed) == epoch;
        if current {
            let key = *waiter.key.get_or_insert_with(|| entries.wakers.insert(None));
            std::mem::swap(&mut entries.wakers[key], &mut unused);
            if unused.is_none() {
                entries.waiting += 1;
            }
        }
        drop(entries);
        drop(unused);
        current
    }

    /// Waits no more and gives up the place.
    pub(crate) fn leave(&self, waiter: &mut Waiter) {
        let Some(key) = waiter.key.take() else { return };
        let mut entries = self.entries.lock();
        let waker = entries.wakers.remove(key);
        if waker.is_some() {
            entries.waiting -= 1;
        }
        drop(entries);
        drop(waker);
    }

    /// Wakes every task that waits.
    ///
    /// Cost: one lock pair, and one more for each task beyond the first. Allocates nothing. When a
    /// waker panics, the others are woken all the same and the panic goes on.
    pub(crate) fn wake_all(&self) {
        let mut entries = self.entries.lock();
        // Ordering: Release pairs with the Acquire in `epoch`.
        let epoch = self.epoch.load(Ordering::Relaxed).wrapping_add(1);
        self.epoch.store(epoch, Ordering::Release);
        let taken = entries.take_from(0);
        drop(entries);
        self.wake_each(taken);
    }

    fn wake_each(&self, mut taken: Option<Taken>) {
        while let Some(Taken { waker, rest }) = taken {
            let on_panic = WakeRest { list: self, rest };
            waker.wake();
            std::mem::forget(on_panic);
            taken = rest.and_then(|from| self.entries.lock().take_from(from));
        }
    }
}

/// A waker taken out of the list, and where to look for the next one, if any waits.
struct Taken {
    waker: Waker,
    rest: Option<usize>,
}

impl Entries {
    /// Takes the first waker at `from` or behind. Looking only forwards, one `wake_all` ends even if
    /// the tasks it wakes wait again at once.
    fn take_from(&mut self, from: usize) -> Option<Taken> {
        if self.waiting == 0 {
            return None;
        }
        // The slab has no more keys than its capacity; free ones are skipped by `get_mut`.
        for key in from..self.wakers.capacity() {
            if let Some(waker) = self.wakers.get_mut(key).and_then(Option::take) {
                self.waiting -= 1;
                let rest = (self.waiting > 0).then_some(key + 1);
                return Some(Taken { waker, rest });
            }
        }
        None
    }
}

/// Wakes the rest of the list when a waker panics.
struct WakeRest<'a> {
    list: &'a WaitList,
    rest: Option<usize>,
}

impl Drop for WakeRest<'_> {
    fn drop(&mut self) {
        let taken = self.rest.and_then(|from| self.list.entries.lock().take_from(from));
        self.list.wake_each(taken);
    }
}
