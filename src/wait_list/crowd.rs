//! Many who wait: each in a place that is found at once, all called in the order of their tickets.
//!
//! A place is in one of two queues, by what its waker is to be woken by. A queue is a binary heap over the
//! tickets, and each place knows where it stands in there: so whoever comes, leaves or is called costs
//! O(log n), in whatever order they do so.
//!
//! Those who are called may wait again at once, while others of the same call are still in the queue. So that a
//! call comes to an end, each begins with a new **mark**, a number that is greater than any before, and whoever waits
//! from then on gets that mark. A call wakes those whose mark is older than its own, and the heap is over (mark, ticket).
//!
//! Marks and tickets are drawn from one counter that outlives the crowd. So a call that is under way while the
//! crowd is given up and made anew finds nobody there who is older than its mark.

use slab::Slab;
use std::collections::VecDeque;
use std::mem;
use std::task::Waker;

/// The first is 1.
pub(crate) type Ticket = u64;

/// Whoever waits in one [`WaitList`](crate::wait_list::WaitList), until it leaves.
#[derive(Debug, Default)]
pub(crate) struct Waiter {
    /// 0 while it has none.
    pub(super) ticket: Ticket,
    /// The key of its place, if it is in a crowd: another may have the place since, with another ticket. 0 in
    /// any other case, for that is the key of who is there when a crowd is made.
    pub(super) key: usize,
}

/// What those in a queue wait for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Queue {
    /// [`WaitList::wake_all`](crate::wait_list::WaitList::wake_all).
    Waiting = 0,
    /// [`WaitList::wake_missed`](crate::wait_list::WaitList::wake_missed).
    Missed = 1,
}

#[derive(Debug)]
pub(crate) struct Crowd {
    places: Slab<Place>,
    queues: [Heap; 2],
}

#[derive(Debug)]
struct Place {
    waker: Waker,
    queue: Queue,
    /// Where it stands in the queue's heap.
    at: usize,
}

impl Crowd {
    /// A crowd of those who come from now on, and of the one who is here, with key 0.
    pub(super) fn new(counter: u64, here: Option<(Ticket, Waker)>) -> Self {
        let mut crowd = Self { places: Slab::new(), queues: [(); 2].map(|()| Heap::new(counter)) };
        if let Some((ticket, waker)) = here {
            let key = crowd.insert(ticket, Queue::Waiting, waker);
            debug_assert_eq!(key, 0);
        }
        crowd
    }

    #[allow(dead_code, reason = "until a multiplexer can be shrunk")]
    pub(super) fn is_empty(&self) -> bool {
        self.places.is_empty()
    }

    /// Puts a waker in the waiter's place, and the place in a queue. Returns the waker that was there.
    pub(super) fn put(&mut self, waiter: &mut Waiter, queue: Queue, waker: Waker) -> Option<Waker> {
        if !self.has(waiter) {
            waiter.key = self.insert(waiter.ticket, queue, waker);
            return None;
        }
        let place = &mut self.places[waiter.key];
        let before = mem::replace(&mut place.waker, waker);
        let (from, at) = (mem::replace(&mut place.queue, queue), place.at);
        if from != queue {
            self.queues[from as usize].remove(at, &mut self.places);
            self.queues[queue as usize].push(waiter.ticket, waiter.key, &mut self.places);
        }
        Some(before)
    }

    /// Takes the waiter's waker, if it waits.
    pub(super) fn take(&mut self, waiter: &Waiter) -> Option<Waker> {
        if !self.has(waiter) {
            return None;
        }
        let Place { waker, queue, at } = self.places.remove(waiter.key);
        self.queues[queue as usize].remove(at, &mut self.places);
        Some(waker)
    }

    /// Begins to call a queue, with a new mark for [`call`](Self::call).
    pub(super) fn begin(&mut self, queue: Queue, counter: &mut u64) -> u64 {
        *counter += 1;
        self.queues[queue as usize].mark = *counter;
        *counter
    }

    /// Takes the first in a queue who waited before there was this mark.
    pub(super) fn call(&mut self, queue: Queue, mark: u64) -> Option<Waker> {
        let heap = &mut self.queues[queue as usize];
        let first = heap.entries.front().filter(|first| first.mark < mark)?;
        let Place { waker, at, .. } = self.places.remove(first.key);
        heap.remove(at, &mut self.places);
        Some(waker)
    }

    /// All wakers.
    pub(super) fn into_wakers(self) -> impl Iterator<Item = Waker> {
        self.places.into_iter().map(|(_, place)| place.waker)
    }

    /// Gives back the memory behind the last place that is in use.
    #[allow(dead_code, reason = "until a multiplexer can be shrunk")]
    pub(super) fn shrink_to_fit(&mut self) {
        self.places.shrink_to_fit();
        self.queues.iter_mut().for_each(|queue| queue.entries.shrink_to_fit());
    }

    /// Whether the waiter has a place.
    fn has(&self, waiter: &Waiter) -> bool {
        let place = self.places.get(waiter.key);
        place.is_some_and(|place| self.queues[place.queue as usize].ticket(place.at) == waiter.ticket)
    }

    #[inline]
    fn insert(&mut self, ticket: Ticket, queue: Queue, waker: Waker) -> usize {
        let key = self.places.insert(Place { waker, queue, at: 0 });
        self.queues[queue as usize].push(ticket, key, &mut self.places);
        key
    }
}

/// The places of a queue, as a binary heap: the first is on top.
///
/// Most of the time all come in the order of their tickets and leave from the front. As long as they do so the heap
/// is sorted, and nothing has to be moved.
#[derive(Debug)]
struct Heap {
    entries: VecDeque<Entry>,
    /// How many left from the front of `entries`: a place counts from before them.
    passed: usize,
    is_sorted: bool,
    /// The mark of who comes now.
    mark: u64,
}

#[derive(Clone, Copy, Debug)]
struct Entry {
    mark: u64,
    ticket: Ticket,
    /// Of the place.
    key: usize,
}

impl Entry {
    #[inline]
    fn is_before(&self, other: &Self) -> bool {
        let rank = |entry: &Self| u128::from(entry.mark) << 64 | u128::from(entry.ticket);
        rank(self) < rank(other)
    }
}

impl Heap {
    fn new(mark: u64) -> Self {
        Self { entries: VecDeque::new(), passed: 0, is_sorted: true, mark }
    }

    /// The ticket at a place's `at`.
    #[inline]
    fn ticket(&self, at: usize) -> Ticket {
        self.entries[at.wrapping_sub(self.passed)].ticket
    }

    #[inline]
    fn push(&mut self, ticket: Ticket, key: usize, places: &mut Slab<Place>) {
        let entry = Entry { mark: self.mark, ticket, key };
        self.is_sorted &= self.entries.back().is_none_or(|last| last.is_before(&entry));
        self.entries.push_back(entry);
        let end = self.entries.len() - 1;
        if self.is_sorted {
            places[key].at = self.passed.wrapping_add(end);
        } else {
            self.rise(end, entry, places);
        }
    }

    /// Removes the entry at a place's `at`. The place may be gone already.
    #[inline]
    fn remove(&mut self, at: usize, places: &mut Slab<Place>) {
        let at = at.wrapping_sub(self.passed);
        if at == 0 && self.is_sorted {
            self.entries.pop_front();
            self.passed = self.passed.wrapping_add(1);
        } else {
            self.fill_gap(at, places);
        }
    }

    /// Removes the entry at `at`, whose place the last one takes.
    #[inline(never)]
    fn fill_gap(&mut self, mut gap: usize, places: &mut Slab<Place>) {
        let last = self.entries.pop_back().expect("there is one to remove");
        if gap < self.entries.len() {
            self.is_sorted = false;
            // Mostly it belongs below, for who came late is called late: so the gap goes down to a leaf, each time to
            // the child that is before the other, and the last one rises from there.
            while let Some(child) = self.first_child(gap) {
                self.set(gap, self.entries[child], places);
                gap = child;
            }
            self.rise(gap, last, places);
        }
        self.is_sorted |= self.entries.is_empty();
    }

    /// Which child of the entry at `at` is before the other.
    #[inline]
    fn first_child(&self, at: usize) -> Option<usize> {
        let [left, right] = [2 * at + 1, 2 * at + 2];
        let child = self.entries.get(left)?;
        let other = self.entries.get(right);
        Some(if other.is_some_and(|other| other.is_before(child)) { right } else { left })
    }

    /// Puts an entry at `at`, or above as far as it is before those there.
    #[inline(never)]
    fn rise(&mut self, mut at: usize, entry: Entry, places: &mut Slab<Place>) {
        while at > 0 {
            let parent = (at - 1) / 2;
            if !entry.is_before(&self.entries[parent]) {
                break;
            }
            self.set(at, self.entries[parent], places);
            at = parent;
        }
        self.set(at, entry, places);
    }

    #[inline]
    fn set(&mut self, at: usize, entry: Entry, places: &mut Slab<Place>) {
        #[cfg(all(test, not(loom_models)))]
        MOVES.set(MOVES.get() + 1);
        self.entries[at] = entry;
        places[entry.key].at = self.passed.wrapping_add(at);
    }
}

#[cfg(all(test, not(loom_models)))]
thread_local! {
    static MOVES: std::cell::Cell<usize> = const { std::cell::Cell::new(0) };
}

/// How often an entry was moved in this thread.
#[cfg(all(test, not(loom_models)))]
pub(super) fn moves() -> usize {
    MOVES.get()
}
