//! The sinks with something unflushed, for those that drive them.
//!
//! It is the engine's set once more: each sink has a slot with a waker, waits among its own senders with that waker,
//! and has its turn when it was woken. A sink is polled outside of the lock, as a member of a channel is: its entry is
//! taken out for that and put back.
//!
//! **Each unflushed sink is here once.** The sink's own slot knows its place here. The place is given and taken under
//! the *sink's* lock, in one step with what it depends on: that something is unflushed, and that somebody drives this
//! set. Lock order: a sink's, then this one, then the list's in which the sink's senders wait.
//!
//! A place that is taken away while its entry is out is marked, and the entry finds that when it is put back:
//!
//! | place | taken out | put back | taken away |
//! |---|---|---|---|
//! | `Here` | `Away` | - | vacant |
//! | `Away` | stays; notes that it was woken | `Here`, ready if it was woken; vacant if that poll found it flushed | `Leaving` |
//! | `Leaving` | stays | vacant | - |

use crate::engine::patience::Patience;
use crate::engine::rotation::{self, Rotation};
use crate::id::StreamId;
use crate::sync::{AtomicUsize, Mutex, Ordering};
use crate::wait_list::crowd::Crowd;
use crate::wait_list::{WaitList, Waiter};
use std::cell::Cell;
use std::mem;
use std::sync::{Arc, OnceLock};
use std::task::{Context, Waker};

/// The `S` are shared sinks.
pub(crate) struct FlushSet<S> {
    /// How many drive it. Changed under the lock only.
    drivers: AtomicUsize,
    has_ended: AtomicUsize,
    /// The drivers that have nothing to do.
    tasks: Arc<WaitList>,
    places: Mutex<Rotation<Place<S>>>,
    /// For drivers that do not know what the sinks take.
    how: OnceLock<How<S>>,
}

/// Flushes a sink, and waits for it if that is pending. If the sink fails, that is noted before the error is dropped.
pub(crate) type How<S> = fn(&S, &Notes, &mut Context<'_>, &mut Waiter, &mut Option<StreamId>);

/// What passes between the poll of a sink and its place here.
#[derive(Debug, Default)]
pub(crate) struct Notes {
    /// The epoch of the senders' list before this poll, if it was read. If a flush waits then its place need have no
    /// turn: it waits for the wake that comes after this epoch.
    pub(crate) epoch: Cell<Option<usize>>,
    /// The key of the entry that was taken out for this poll.
    pub(crate) entry: Option<usize>,
    /// The place of that entry is over.
    pub(crate) is_over: Cell<bool>,
}

enum Place<S> {
    Here(Entry<S>),
    /// The entry was taken out.
    Away {
        woken: bool,
    },
    /// The same, and it is not to come back.
    Leaving,
}

/// A sink that is here. When its place is over, it is to be [left](Self::sink) with no lock held: it may be the last
/// who holds the sink.
pub(crate) struct Entry<S> {
    pub(crate) sink: Arc<S>,
    /// How it waits among the sink's senders.
    pub(crate) waiter: Waiter,
    /// Gives it a turn.
    pub(crate) waker: Waker,
}

/// How the poll of an entry ended that was taken out.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Polled {
    /// It waits, or its place was taken away.
    Done,
    /// Its place is over, and nobody else knows it.
    Over,
    /// It did not come to an end: it is to have a turn.
    Again,
}

/// Whose turn it is.
pub(crate) enum Turn<S> {
    Poll(usize, Entry<S>),
    /// Nobody's; the epoch for [`WaitList::wait`].
    Idle(usize),
    /// There were enough turns for one call.
    Yield,
}

/// Putting sinks here.
impl<S> FlushSet<S> {
    pub(crate) fn new() -> Self {
        let places = Rotation::with_capacity(0);
        let tasks = Arc::clone(places.tasks());
        let [drivers, has_ended] = [(); 2].map(|()| AtomicUsize::new(0));
        Self { drivers, has_ended, tasks, places: Mutex::new(places), how: OnceLock::new() }
    }

    /// How a sink is flushed, if that is known.
    #[inline]
    pub(crate) fn how(&self) -> Option<How<S>> {
        self.how.get().copied()
    }

    /// Says how a sink is flushed, which each sender to it knows. The sinks are all of one type, and every flush flushes
    /// all that is unflushed: so it is said once for all of them. If this is true the caller owes the drivers a
    /// [`wake`](Self::wake).
    ///
    /// Cost: once, a walk through the places under the lock.
    #[cold]
    pub(crate) fn learn(&self, how: How<S>) -> bool {
        if self.how.set(how).is_err() {
            return false;
        }
        let mut places = self.places.lock();
        // A driver that did not know had to pass over these.
        (0..places.end()).for_each(|key| places.set_ready(key));
        places.unpark()
    }

    /// Whether it has a driver. To be asked under the lock of a sink; see [`attach`](Self::attach).
    #[inline]
    pub(crate) fn is_driven(&self) -> bool {
        // Ordering: that lock orders it against the first driver, who looks at each sink after it was counted.
        self.drivers.load(Ordering::Relaxed) != 0
    }

    /// Gives a sink a place, and a turn unless it `waits` there for the sink. `None` if the set has no driver. If the
    /// second is true the caller owes the drivers a [`wake`](Self::wake).
    ///
    /// Cost: one lock pair. Allocates only when more sinks are here than ever before.
    pub(crate) fn insert(
        &self,
        sink: Arc<S>,
        waits: impl FnOnce(&mut Waiter, &Waker) -> bool,
    ) -> Option<(usize, bool)> {
        let mut places = self.places.lock();
        if !self.is_driven() {
            drop(places);
            return None;
        }
        let (mut waiter, mut is_waiting) = (Waiter::default(), false);
        let key = places.fill_with(|waker| {
            is_waiting = waits(&mut waiter, &waker);
            Place::Here(Entry { sink, waiter, waker })
        });
        if is_waiting {
            return Some((key, false));
        }
        places.set_ready(key);
        let wake = places.unpark();
        Some((key, wake))
    }

    /// Takes a place away. Gives the entry to the caller, if it is not out.
    pub(crate) fn remove(&self, key: usize) -> Option<Entry<S>> {
        let mut places = self.places.lock();
        match &mut places.slots_mut()[key] {
            Place::Here(_) => places.vacate(key, |place| match place {
                Place::Here(entry) => split(entry),
                Place::Away { .. } | Place::Leaving => unreachable!("it is here"),
            }),
            place => {
                *place = Place::Leaving;
                None
            }
        }
    }

    /// Wakes the drivers.
    pub(crate) fn wake(&self) {
        self.tasks.wake_all();
    }

    /// No sink will ever come: wakes the drivers, because they end.
    pub(crate) fn end(&self) {
        // Ordering: see `has_ended`.
        self.has_ended.store(1, Ordering::Relaxed);
        self.wake();
    }

    /// Whether no sink will ever come. Look after the epoch was read: if it was not so then, the wake is still to come.
    pub(crate) fn has_ended(&self) -> bool {
        // Ordering: the epoch orders it: see `WaitList::epoch`.
        self.has_ended.load(Ordering::Relaxed) != 0
    }

    pub(crate) fn tasks(&self) -> &WaitList {
        &self.tasks
    }
}

/// Memory.
impl<S> FlushSet<S> {
    /// Gives back memory that neither an unflushed sink nor a driver needs. Places stay what they are. The caller drops what
    /// it gets when it holds no lock.
    ///
    /// Cost: a walk through the places under the lock.
    pub(crate) fn shrink_to_fit(&self) -> (rotation::Surplus, Option<Box<Crowd>>) {
        let surplus = self.places.lock().shrink_to_fit();
        (surplus, self.tasks.shrink_to_fit())
    }
}

/// Driving it.
impl<S> FlushSet<S> {
    /// Counts a driver. Returns whether it is the first: then it is to look at each sink there is, under the sink's
    /// lock. That look finds all that was left unflushed before it, and all that comes after it sees a driver.
    pub(crate) fn attach(&self) -> bool {
        let places = self.places.lock();
        // Ordering: see `is_driven`.
        let before = self.drivers.load(Ordering::Relaxed);
        self.drivers.store(before + 1, Ordering::Relaxed);
        drop(places);
        before == 0
    }

    /// Counts a driver no more. Returns whether it was the last: then the sinks are to be taken away.
    pub(crate) fn detach(&self) -> bool {
        let places = self.places.lock();
        // Ordering: see `is_driven`.
        let left = self.drivers.load(Ordering::Relaxed) - 1;
        self.drivers.store(left, Ordering::Relaxed);
        drop(places);
        left == 0
    }

    /// The sinks in place `from` and behind, as many as `sinks` has room for. Returns the place to go on from.
    pub(crate) fn some(&self, from: usize, sinks: &mut [Option<Arc<S>>]) -> Option<usize> {
        let places = self.places.lock();
        let slots = places.slots();
        let here = (from..slots.capacity()).filter_map(|key| match slots.get(key) {
            Some(Place::Here(entry)) => Some((key, &entry.sink)),
            _ => None,
        });
        let mut last = None;
        for (room, (key, sink)) in sinks.iter_mut().zip(here) {
            *room = Some(Arc::clone(sink));
            last = Some(key + 1);
        }
        last
    }

    /// Takes out the entry whose turn it is.
    #[inline]
    pub(crate) fn next_turn(&self, patience: &mut Patience) -> Turn<S> {
        let mut places = self.places.lock();
        while !patience.is_exhausted() {
            let Some(key) = places.next_turn() else {
                match places.park() {
                    Some(epoch) => return Turn::Idle(epoch),
                    // Woken meanwhile.
                    None => continue,
                }
            };
            places.clear_ready(key);
            match places.slots_mut().get_mut(key) {
                Some(place @ Place::Here(_)) => {
                    let Place::Here(entry) = mem::replace(place, Place::Away { woken: false }) else {
                        unreachable!("matched above")
                    };
                    return Turn::Poll(key, entry);
                }
                Some(Place::Away { woken }) => *woken = true,
                // A stale wake.
                Some(Place::Leaving) | None => {}
            }
            patience.note(false);
        }
        Turn::Yield
    }

    /// Puts an entry back that was taken out, as its poll ended. Gives it to the caller if its place is over. If the
    /// second is true the caller owes the drivers a [`wake`](Self::wake).
    #[inline]
    pub(crate) fn put_back(
        &self,
        key: usize,
        entry: Entry<S>,
        polled: Polled,
        patience: &mut Patience,
    ) -> (Option<Entry<S>>, bool) {
        let mut places = self.places.lock();
        let woken = match places.slots()[key] {
            Place::Away { woken } if polled != Polled::Over => woken,
            Place::Away { .. } | Place::Leaving => {
                patience.note(false);
                return (places.vacate(key, |_| split(entry)), false);
            }
            Place::Here(_) => unreachable!("the place of an entry that was taken out"),
        };
        patience.note(woken || places.was_woken(key));
        places.slots_mut()[key] = Place::Here(entry);
        if !woken && polled == Polled::Done {
            return (None, false);
        }
        places.set_ready(key);
        (None, places.unpark())
    }
}

/// Takes the waker from an entry whose place is over. It belongs to the place; what it may still mark there is a stale
/// wake.
fn split<S>(mut entry: Entry<S>) -> (Waker, Entry<S>) {
    (mem::replace(&mut entry.waker, Waker::noop().clone()), entry)
}
