//! The reports of a channel besides items: departures and panics, in the order in which they happened.
//!
//! The reports wait in one queue and are yielded in batches. A batch is due when the cursor of the turns has gone round once
//! since the previous batch, or when no member is ready. The batch consists of the reports that were waiting when that round
//! began, but of no more reports than turns were taken since.
//!
//! **Bound**: each member that is always ready had a turn in that round. Between two turns of such a member, a receiver
//! therefore yields at most as many departures as were waiting when the first of these turns ended, and at most as many as
//! there were turns. However many streams are removed, members have every second event. If q departures wait before a
//! departure, it is reported within two rounds and q turns, whatever the members yield.
//!
//! **Order of stays.** The departure of a stream is yielded before any event of the stream's next stay in the same channel.
//! When a stream is moved in, such a departure may still be in the queue. The arrival of the stream then waits in the queue,
//! too ([`Untold::Landed`]), and the stream has no turn before the arrival. A long queue is not searched: every stream that
//! is moved in then waits behind the queue.
//!
//! The departure of a stream that is being polled is held back until that poll returns, because the item of that poll is
//! yielded first.

use crate::event::Departure;
use crate::id::StreamId;
use std::any::Any;
use std::collections::VecDeque;
use std::iter;
use std::mem;
use std::panic::{AssertUnwindSafe, catch_unwind};

pub(super) type Panic = Box<dyn Any + Send>;

pub(super) enum Untold {
    Departed(StreamId, Departure),
    /// From now on, the stream in this slot may have turns, if it still waits for this entry.
    Landed {
        key: usize,
        entry: Entry,
    },
    /// Foreign code panicked while there was an event to yield. The event was yielded first; the panic is next.
    Panicked(Panic),
}

/// The documented size of an unread departure.
#[cfg(target_pointer_width = "64")]
const _: () = assert!(size_of::<Untold>() == 32);

/// Distinguishes the arrivals that wait in one queue. Never 0.
pub(super) type Entry = u32;

/// A queue that is no longer needed, to be dropped with no lock held.
#[derive(Default)]
#[must_use]
pub(super) struct Spent(VecDeque<Untold>);

impl Spent {
    /// Drops the emptied queue, if there is one. There rarely is, and the drop of a queue without memory would cost about a
    /// hundred instructions.
    #[inline]
    pub(super) fn drop_emptied(self) {
        if self.0.capacity() == 0 {
            mem::forget(self);
        }
    }

    /// Drops the reports that will not be received. If the drop of a panic payload panics, the new panic is suppressed,
    /// because no caller could receive it.
    pub(super) fn drop_all(self) {
        for untold in self.0 {
            if let Err(panic) = catch_unwind(AssertUnwindSafe(|| drop(untold))) {
                mem::forget(panic);
            }
        }
    }
}

/// Up to this length, the queue is searched for an earlier departure of a stream that is moved in.
const LOOKED_THROUGH: usize = 64;

/// An emptied queue releases its memory if its capacity exceeds this number of entries.
const ROOM_KEPT: usize = 4096;

pub(super) struct Departures {
    /// Whether moves and removals are reported.
    reported: bool,
    queue: VecDeque<Untold>,
    /// The number of departures in the queue, plus the held departures that will be reported.
    unread: usize,
    /// How many entries at the front of the queue are to be yielded before any turn.
    due: usize,
    /// How many entries behind the due entries belong to the next batch.
    marked: usize,
    /// The round and the position of the cursor when that batch began.
    mark: (usize, usize),
    round: usize,
    /// How many turns were taken since the last batch became due.
    turns: usize,
    arrivals: Entry,
    held: Vec<Held>,
}

/// The departures of a stream whose stay ended during its poll.
struct Held {
    id: StreamId,
    first: Departure,
    /// The departures of later stays that began and ended during the same poll.
    more: Vec<Departure>,
}

impl Departures {
    pub(super) fn new(reported: bool) -> Self {
        Self {
            reported,
            queue: VecDeque::new(),
            unread: 0,
            due: 0,
            marked: 0,
            mark: (0, 0),
            round: 0,
            turns: 0,
            arrivals: 0,
            held: Vec::new(),
        }
    }

    #[inline]
    pub(super) fn is_empty(&self) -> bool {
        self.queue.is_empty()
    }

    /// How many departures were not received yet.
    pub(super) fn unread(&self) -> usize {
        self.unread
    }

    pub(super) fn push(&mut self, id: StreamId, departure: Departure, cursor: usize) {
        if self.is_reported(departure) {
            self.unread += 1;
            self.enqueue(Untold::Departed(id, departure), cursor);
        }
    }

    /// The end of a stream is always reported, because it takes the place of an item.
    fn is_reported(&self, departure: Departure) -> bool {
        self.reported || departure == Departure::Ended
    }

    /// Puts a panic before all other reports.
    pub(super) fn push_panic(&mut self, panic: Panic) {
        self.queue.push_front(Untold::Panicked(panic));
        self.due += 1;
    }

    /// Lets a stream that was moved to slot `key` wait behind the queue. Returns `None` if the stream need not wait.
    pub(super) fn push_arrival(&mut self, id: StreamId, key: usize, cursor: usize) -> Option<Entry> {
        // If only ends are reported, the queue has no departure of this stream, because a stream that has ended does
        // not come back. Without this check, arrivals of streams that came and went would accumulate in such a channel.
        if !self.reported {
            return None;
        }
        if self.queue.len() <= LOOKED_THROUGH {
            let is_of = |untold: &Untold| matches!(untold, Untold::Departed(of, _) if *of == id);
            if !self.queue.iter().any(is_of) {
                return None;
            }
        }
        // A number repeats after 2^32 arrivals. The queue never holds that many.
        self.arrivals = self.arrivals.wrapping_add(1).max(1);
        self.enqueue(Untold::Landed { key, entry: self.arrivals }, cursor);
        Some(self.arrivals)
    }

    fn enqueue(&mut self, untold: Untold, cursor: usize) {
        self.queue.push_back(untold);
        if self.marked == 0 {
            self.mark_batch(cursor);
        }
    }

    /// Makes a batch of all entries that are not due.
    #[inline]
    fn mark_batch(&mut self, cursor: usize) {
        self.marked = self.queue.len() - self.due;
        self.mark = (self.round, cursor);
    }

    /// Whether the next batch is due before the turn of `key`, the next turn behind the cursor. To be called before
    /// each turn while the queue is not empty.
    pub(super) fn are_before(&mut self, key: usize, cursor: usize) -> bool {
        let round = self.round + usize::from(key < cursor);
        let (marked, position) = self.mark;
        if (round, key) >= (marked + 1, position) {
            // At least one, although other receivers may have taken turns while the queue was empty.
            self.make_due(self.turns.max(1), cursor);
            return true;
        }
        self.round = round;
        self.turns += 1;
        false
    }

    /// Makes the whole next batch due, because no member is ready.
    pub(super) fn make_all_due(&mut self, cursor: usize) {
        self.make_due(usize::MAX, cursor);
    }

    #[inline]
    fn make_due(&mut self, limit: usize, cursor: usize) {
        debug_assert_eq!(self.due, 0, "no batch is due");
        self.due = self.marked.min(limit);
        self.turns = 0;
        self.mark_batch(cursor);
    }

    /// Whether an entry is to be yielded before any turn.
    #[inline]
    pub(super) fn are_due(&self) -> bool {
        self.due > 0
    }

    /// Takes the next due entry.
    #[inline]
    pub(super) fn pop(&mut self, spent: &mut Spent) -> Untold {
        self.due -= 1;
        let untold = self.queue.pop_front().expect("the queue has at least `due` entries");
        self.unread -= usize::from(matches!(untold, Untold::Departed(..)));
        if self.queue.is_empty() && self.queue.capacity() > ROOM_KEPT {
            spent.0 = mem::take(&mut self.queue);
        }
        untold
    }

    /// Holds back the departure of a stream that is being polled.
    pub(super) fn hold(&mut self, id: StreamId, departure: Departure) {
        self.unread += usize::from(self.is_reported(departure));
        self.held.push(Held { id, first: departure, more: Vec::new() });
    }

    /// Puts the departure of an expected stream behind the held departures of its earlier stays. Returns `false` if
    /// there are none.
    ///
    /// Cost: a walk through the streams whose stay ended during a poll that has not returned, not through their departures.
    pub(super) fn hold_behind(&mut self, id: StreamId, departure: Departure) -> bool {
        let Some(at) = self.held.iter().position(|held| held.id == id) else { return false };
        // Unreported departures would accumulate here, because no limit counts them.
        if self.is_reported(departure) {
            self.held[at].more.push(departure);
            self.unread += 1;
        }
        true
    }

    /// Moves the held departures of a stream whose poll has returned into the queue.
    pub(super) fn release(&mut self, id: StreamId, cursor: usize) {
        let Some(at) = self.held.iter().position(|held| held.id == id) else { return };
        let Held { first, more, .. } = self.held.remove(at);
        for departure in iter::once(first).chain(more) {
            // `hold` and `hold_behind` counted it; `push` counts it again.
            self.unread -= usize::from(self.is_reported(departure));
            self.push(id, departure, cursor);
        }
    }

    /// Restarts the round of the waiting batch, because the cursor was moved.
    pub(super) fn restart(&mut self, cursor: usize) {
        self.mark_batch(cursor);
    }

    pub(super) fn shrink_to_fit(&mut self) {
        self.queue.shrink_to_fit();
        self.held.shrink_to_fit();
    }

    /// Returns all reports, to be dropped with no lock held, because they will not be received.
    pub(super) fn clear(&mut self) -> Spent {
        (self.due, self.marked, self.unread) = (0, 0, 0);
        self.held.clear();
        Spent(mem::take(&mut self.queue))
    }
}
