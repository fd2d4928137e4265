//! The unflushed sinks. A **driver** flushes them: a `Flusher` or a `ChannelSelect`.
//!
//! A flush set is a [`Rotation`] of sinks. Each sink has a place with a waker. This waker waits in the sink's own list,
//! beside the tasks of its senders, and a woken sink has a turn. A driver polls a sink with no lock of this set held, as a
//! receiver polls a member of a channel: it takes the entry out of its place and puts it back afterwards.
//!
//! **Each unflushed sink has one place here.** The sink's slot stores the key of the place. A place is given and removed
//! under the *sink's* lock, in one step with the two conditions for it: the sink is unflushed, and this set has a driver.
//! Lock order: the sink's lock, then the lock of this set, then the lock of the sink's list.
//!
//! If a place is removed while its entry is out, the place is marked, and the mark is found when the entry is put back:
//!
//! | place | take the entry out | put it back | remove the place |
//! |---|---|---|---|
//! | `Here` | `Away` | - | vacant |
//! | `Away` | stays; records the wake | `Here`, ready if it was woken; vacant if the poll flushed the sink | `Leaving` |
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

/// `S` is the type of a shared sink.
pub(crate) struct FlushSet<S> {
    /// The number of drivers. Changed under the lock only.
    drivers: AtomicUsize,
    has_ended: AtomicUsize,
    /// The waiting drivers.
    tasks: Arc<WaitList>,
    places: Mutex<Rotation<Place<S>>>,
    /// Flushes a sink for drivers that do not know the item type of the sinks.
    how: OnceLock<How<S>>,
}

/// Flushes a sink. If the flush is pending, the `Waiter` waits for the sink. If the sink fails, its id is stored before the
/// error is dropped.
pub(crate) type How<S> = fn(&S, &Notes, &mut Context<'_>, &mut Waiter, &mut Option<StreamId>);

/// Passes information between the poll of a sink and the sink's place.
#[derive(Debug, Default)]
pub(crate) struct Notes {
    /// The epoch of the sink's list before this poll, if it was read. If the flush is pending, its place needs no turn yet:
    /// the place waits for the wake after this epoch.
    pub(crate) epoch: Cell<Option<usize>>,
    /// The key of the entry that was taken out for this poll.
    pub(crate) entry: Option<usize>,
    /// Whether the place of that entry is no longer needed.
    pub(crate) is_over: Cell<bool>,
}

enum Place<S> {
    Here(Entry<S>),
    /// The entry was taken out.
    Away {
        woken: bool,
    },
    /// The entry was taken out and will not come back.
    Leaving,
}

/// An unflushed sink.
pub(crate) struct Entry<S> {
    pub(crate) sink: Arc<S>,
    /// The place of `waker` in the sink's list.
    pub(crate) waiter: Waiter,
    /// Marks this place as ready.
    pub(crate) waker: Waker,
}

/// An entry whose place was removed, without the waker, which belongs to the place. The caller ends the wait of `waiter` and
/// drops the rest, with no lock held: it may hold the last reference to the sink.
#[must_use = "its wait is to be ended, and it is to be dropped with no lock held"]
pub(crate) struct Left<S> {
    pub(crate) sink: Arc<S>,
    pub(crate) waiter: Waiter,
}

/// How the poll of an entry ended that was taken out.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Polled {
    /// The entry waits, or its place was removed.
    Done,
    /// The place is no longer needed, and the sink's slot no longer has its key.
    Over,
    /// The poll did not complete: the entry needs another turn.
    Again,
}

/// The next turn.
pub(crate) enum Turn<S> {
    Poll(usize, Entry<S>),
    /// No sink is ready; the epoch for [`WaitList::wait`].
    Idle(usize),
    /// There were enough turns for one call.
    Yield,
}

/// Adding and removing sinks.
impl<S> FlushSet<S> {
    pub(crate) fn new() -> Self {
        let places = Rotation::with_capacity(0);
        let tasks = Arc::clone(places.tasks());
        let [drivers, has_ended] = [(); 2].map(|()| AtomicUsize::new(0));
        Self { drivers, has_ended, tasks, places: Mutex::new(places), how: OnceLock::new() }
    }

    /// Returns the function that flushes a sink, if it is known.
    #[inline]
    pub(crate) fn how(&self) -> Option<How<S>> {
        self.how.get().copied()
    }

    /// Stores the function that flushes a sink. Every sender knows this function. It is stored once for all sinks: they are
    /// all of one type, and a flush flushes all items whatever their type. If this returns true, the caller must
    /// [`wake`](Self::wake) the drivers.
    ///
    /// Cost: once, a walk through the places under the lock.
    #[cold]
    pub(crate) fn learn(&self, how: How<S>) -> bool {
        if self.how.set(how).is_err() {
            return false;
        }
        let mut places = self.places.lock();
        // Drivers without `how` passed over these places.
        (0..places.end()).for_each(|key| places.set_ready(key));
        places.unpark()
    }

    /// Returns whether the set has a driver. To be called under the lock of a sink; see [`attach`](Self::attach).
    #[inline]
    pub(crate) fn is_driven(&self) -> bool {
        // Ordering: the sink's lock orders this load. The first driver locks each sink after it was counted.
        self.drivers.load(Ordering::Relaxed) != 0
    }

    /// Gives a sink a place. The place is ready unless `waits` returns true: then its waker waits in the sink's list.
    /// Returns the key of the place, and whether the caller must [`wake`](Self::wake) the drivers. Returns `None` if the set
    /// has no driver.
    ///
    /// Cost: one lock pair. Allocates only if the set has more sinks than ever before.
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

    /// Removes a place. Returns its entry, unless the entry is taken out.
    pub(crate) fn remove(&self, key: usize) -> Option<Left<S>> {
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

    /// Records that no sink will be added anymore, and wakes the drivers, which then end.
    pub(crate) fn end(&self) {
        // Ordering: see `has_ended`.
        self.has_ended.store(1, Ordering::Relaxed);
        self.wake();
    }

    /// Returns whether no sink will be added anymore. To be called after the epoch was read: if the result is false, the
    /// wake is still to come.
    pub(crate) fn has_ended(&self) -> bool {
        // Ordering: reading the epoch orders this load; see `WaitList::epoch`.
        self.has_ended.load(Ordering::Relaxed) != 0
    }

    pub(crate) fn tasks(&self) -> &WaitList {
        &self.tasks
    }
}

/// Memory.
impl<S> FlushSet<S> {
    /// Releases memory that no unflushed sink and no driver needs. Keys do not change. The caller drops the returned values
    /// with no lock held.
    ///
    /// Cost: a walk through the places under the lock.
    pub(crate) fn shrink_to_fit(&self) -> (rotation::Surplus, Option<Box<Crowd>>) {
        let surplus = self.places.lock().shrink_to_fit();
        (surplus, self.tasks.shrink_to_fit())
    }
}

/// For the drivers.
impl<S> FlushSet<S> {
    /// Counts a driver. Returns whether it is the first. The first driver must then visit each sink under the sink's lock.
    /// The visit finds a sink that was left unflushed before it; a send after it sees the driver.
    pub(crate) fn attach(&self) -> bool {
        let places = self.places.lock();
        // Ordering: see `is_driven`.
        let before = self.drivers.load(Ordering::Relaxed);
        self.drivers.store(before + 1, Ordering::Relaxed);
        drop(places);
        before == 0
    }

    /// Stops counting a driver. Returns whether it was the last one. The caller must then remove all places.
    pub(crate) fn detach(&self) -> bool {
        let places = self.places.lock();
        // Ordering: see `is_driven`.
        let left = self.drivers.load(Ordering::Relaxed) - 1;
        self.drivers.store(left, Ordering::Relaxed);
        drop(places);
        left == 0
    }

    /// Fills `sinks` with sinks, from the place `from` on, as many as there is room for. Returns the key to continue from.
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

    /// Takes out the entry that has the next turn.
    #[inline]
    pub(crate) fn next_turn(&self, patience: &mut Patience) -> Turn<S> {
        let mut places = self.places.lock();
        while !patience.is_exhausted() {
            let Some(key) = places.next_turn() else {
                match places.park() {
                    Some(epoch) => return Turn::Idle(epoch),
                    // A sink was woken meanwhile.
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

    /// Puts an entry back after its poll. Returns the entry if its place was removed or is no longer needed. Also returns
    /// whether the caller must [`wake`](Self::wake) the drivers.
    #[inline]
    pub(crate) fn put_back(
        &self,
        key: usize,
        entry: Entry<S>,
        polled: Polled,
        patience: &mut Patience,
    ) -> (Option<Left<S>>, bool) {
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

/// Takes the waker from an entry whose place becomes vacant. The waker belongs to the place. A later call of it is a stale
/// wake.
#[inline]
fn split<S>(entry: Entry<S>) -> (Waker, Left<S>) {
    let Entry { sink, waiter, waker } = entry;
    (waker, Left { sink, waiter })
}
