//! Many waiting tasks. Each has a place that is found in constant time, and all are called in the order of their tickets.
//!
//! A place is in one of two queues, depending on the call that wakes it. A queue is a binary heap over the tickets, and each
//! place stores its position in the heap. An insertion, a removal and a call of a task therefore cost O(log n) each, in any
//! order.
//!
//! A called task may wait again while other tasks of the same call are still in the queue. To end, each call begins with a
//! new **mark**, a number greater than any number drawn before. A task that waits from then on gets this mark. A call wakes
//! the tasks with a smaller mark than its own, and the heap is ordered by (mark, ticket).
//!
//! Marks and tickets are drawn from one counter that outlives the crowd. If the crowd is released and created again during a
//! call, the call therefore finds no task in it with a smaller mark.

use slab::Slab;
use std::collections::VecDeque;
use std::mem;
use std::task::Waker;

/// Tickets start at 1.
pub(crate) type Ticket = u64;

/// A task's side of its place in one [`WaitList`](crate::wait_list::WaitList), until it leaves.
#[derive(Debug, Default)]
pub(crate) struct Waiter {
    /// 0 while the waiter has no ticket.
    pub(super) ticket: Ticket,
    /// The key of its place, if it waits in a crowd. After it was woken, another waiter may have this place, with another
    /// ticket. Outside of a crowd the key is 0, because the waiter that is present when a crowd is created gets key 0.
    pub(super) key: usize,
}

/// The two queues, named by the call that wakes their tasks.
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
    /// Its position in the heap of its queue; see [`Heap::passed`].
    at: usize,
}

impl Crowd {
    /// Creates a crowd. A task that is already waiting gets key 0.
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

    /// Puts a waker into the waiter's place, and the place into a queue. Returns the waker that was there.
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

    /// Takes the waiter's waker, if the waiter waits.
    pub(super) fn take(&mut self, waiter: &Waiter) -> Option<Waker> {
        if !self.has(waiter) {
            return None;
        }
        let Place { waker, queue, at } = self.places.remove(waiter.key);
        self.queues[queue as usize].remove(at, &mut self.places);
        Some(waker)
    }

    /// Begins a call of a queue. Returns a new mark for [`call`](Self::call).
    pub(super) fn begin(&mut self, queue: Queue, counter: &mut u64) -> u64 {
        *counter += 1;
        self.queues[queue as usize].mark = *counter;
        *counter
    }

    /// Takes the first waker of a queue, if it began to wait before this mark was drawn.
    pub(super) fn call(&mut self, queue: Queue, mark: u64) -> Option<Waker> {
        let heap = &mut self.queues[queue as usize];
        let first = heap.entries.front().filter(|first| first.mark < mark)?;
        let Place { waker, at, .. } = self.places.remove(first.key);
        heap.remove(at, &mut self.places);
        Some(waker)
    }

    /// Returns all wakers.
    pub(super) fn into_wakers(self) -> impl Iterator<Item = Waker> {
        self.places.into_iter().map(|(_, place)| place.waker)
    }

    /// Releases the memory after the last place in use.
    #[allow(dead_code, reason = "until a multiplexer can be shrunk")]
    pub(super) fn shrink_to_fit(&mut self) {
        self.places.shrink_to_fit();
        self.queues.iter_mut().for_each(|queue| queue.entries.shrink_to_fit());
    }

    /// Returns whether the waiter has a place.
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

/// The places of a queue as a binary heap. The first place is on top.
///
/// Usually tasks arrive in the order of their tickets and leave from the front. In this case the heap is sorted, and no
/// entry has to be moved.
#[derive(Debug)]
struct Heap {
    entries: VecDeque<Entry>,
    /// The number of entries that were removed from the front of `entries`. The position `at` of a place includes them, so
    /// that it does not change when they are removed.
    passed: usize,
    is_sorted: bool,
    /// The mark of the entries that are inserted now.
    mark: u64,
}

#[derive(Clone, Copy, Debug)]
struct Entry {
    mark: u64,
    ticket: Ticket,
    /// The key of the place.
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

    /// Returns the ticket at the position `at` of a place.
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

    /// Removes the entry at the position `at` of a place. The place itself may be removed already.
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

    /// Removes the entry at `gap`, and fills the gap with the last entry.
    #[inline(never)]
    fn fill_gap(&mut self, mut gap: usize, places: &mut Slab<Place>) {
        let last = self.entries.pop_back().expect("there is one to remove");
        if gap < self.entries.len() {
            self.is_sorted = false;
            // The last entry usually belongs near the leaves, because late entries are called late. The gap therefore moves
            // down to a leaf, each time to the first of its children, and the last entry rises from there.
            while let Some(child) = self.first_child(gap) {
                self.set(gap, self.entries[child], places);
                gap = child;
            }
            self.rise(gap, last, places);
        }
        self.is_sorted |= self.entries.is_empty();
    }

    /// Returns the first of the children of the entry at `at`, if it has children.
    #[inline]
    fn first_child(&self, at: usize) -> Option<usize> {
        let [left, right] = [2 * at + 1, 2 * at + 2];
        let child = self.entries.get(left)?;
        let other = self.entries.get(right);
        Some(if other.is_some_and(|other| other.is_before(child)) { right } else { left })
    }

    /// Puts an entry at `at`, or higher: above every ancestor that it is before.
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

/// Returns how often this thread has moved an entry.
#[cfg(all(test, not(loom_models)))]
pub(super) fn moves() -> usize {
    MOVES.get()
}
