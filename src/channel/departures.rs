//! What a channel has to report besides items: departures and panics, in the order in which they came.
//!
//! They wait in one queue, and are reported batch by batch. A batch is due when the cursor of the turns has gone round
//! once since the batch before, or when no member is ready. It is what was waiting when that round began, but at most as
//! many as turns were taken since.
//!
//! **Bound**: each member that is always ready had a turn in that round. So between two turns of such a member a
//! receiver gets at most as many departures as were waiting when the first of these turns ended, and at most as many
//! as there were turns: whoever goes on removing streams, members have every second event. And a departure before
//! which q others wait is reported within two rounds and q turns, whatever the members have.
//!
//! **Order of stays.** The end of a stream's stay is reported before anything of its next stay in the same channel.
//! A stream that is moved in may have such an end in the queue. Then its arrival waits in the queue, too
//! ([`Untold::Landed`]), and the stream has no turn before. A long queue is not looked through: whoever is moved in
//! waits behind it.
//!
//! The departure of a stream that is being polled is held back until that poll returns: the item that the poll
//! brings comes first.

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
    /// The stream in this slot may have turns from now on, if it still waits for this entry.
    Landed {
        key: usize,
        entry: Entry,
    },
    /// Foreign code panicked while an event was at hand. That went first, and this is next.
    Panicked(Panic),
}

/// As the documentation says.
#[cfg(target_pointer_width = "64")]
const _: () = assert!(size_of::<Untold>() == 32);

/// Tells apart the arrivals that wait in one queue. Never 0.
pub(super) type Entry = u32;

/// Room that is not needed any more, to be dropped with no lock held.
#[derive(Default)]
#[must_use]
pub(super) struct Spent(VecDeque<Untold>);

impl Spent {
    /// Drops what nobody will receive. A panic whose own drop panics ends there: it has nobody to go to.
    pub(super) fn drop_all(self) {
        for untold in self.0 {
            if let Err(panic) = catch_unwind(AssertUnwindSafe(|| drop(untold))) {
                mem::forget(panic);
            }
        }
    }
}

/// Up to so many entries are looked through for a stream that is moved in.
const LOOKED_THROUGH: usize = 64;

/// A queue that was emptied gives back its room if that is for more entries than this.
const ROOM_KEPT: usize = 4096;

pub(super) struct Departures {
    /// Whether moves and removals are reported.
    reported: bool,
    queue: VecDeque<Untold>,
    /// The departures in the queue, and those that are held back and will be reported.
    unread: usize,
    /// How many are to be reported before any turn.
    due: usize,
    /// How many behind these are the next batch.
    marked: usize,
    /// Where the cursor was when that batch began: the round, and the position.
    mark: (usize, usize),
    round: usize,
    /// How many turns were taken since the last batch was due.
    turns: usize,
    arrivals: Entry,
    held: Vec<Held>,
}

/// The departures of a stream whose stay ended while it was polled.
struct Held {
    id: StreamId,
    first: Departure,
    /// Of later stays that began and ended during the same poll.
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

    /// How many departures happened and were not received.
    pub(super) fn unread(&self) -> usize {
        self.unread
    }

    pub(super) fn push(&mut self, id: StreamId, departure: Departure, cursor: usize) {
        if self.is_reported(departure) {
            self.unread += 1;
            self.enqueue(Untold::Departed(id, departure), cursor);
        }
    }

    /// The end of a stream is always reported: it takes the place of an item.
    fn is_reported(&self, departure: Departure) -> bool {
        self.reported || departure == Departure::Ended
    }

    /// A panic goes before all else.
    pub(super) fn push_panic(&mut self, panic: Panic) {
        self.queue.push_front(Untold::Panicked(panic));
        self.due += 1;
    }

    /// Lets a stream that was moved to slot `key` wait behind what is in the queue; `None` if it need not.
    pub(super) fn push_arrival(&mut self, id: StreamId, key: usize, cursor: usize) -> Option<Entry> {
        // Where only ends are reported none is its own: a stream that has ended does not come back. So no arrivals pile up
        // in such a channel, of streams that came and went.
        if !self.reported {
            return None;
        }
        if self.queue.len() <= LOOKED_THROUGH {
            let is_of = |untold: &Untold| matches!(untold, Untold::Departed(of, _) if *of == id);
            if !self.queue.iter().any(is_of) {
                return None;
            }
        }
        // A number comes again after 2^32 arrivals. So many do not wait at a time.
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

    /// Makes a batch of all that are not due.
    #[inline]
    fn mark_batch(&mut self, cursor: usize) {
        self.marked = self.queue.len() - self.due;
        self.mark = (self.round, cursor);
    }

    /// Whether the next batch is due before the turn of `key`, which would be next behind the cursor. To be called
    /// before each turn while the queue is not empty.
    pub(super) fn are_before(&mut self, key: usize, cursor: usize) -> bool {
        let round = self.round + usize::from(key < cursor);
        let (marked, position) = self.mark;
        if (round, key) >= (marked + 1, position) {
            // One at least, though others may have taken the turns when nothing was here.
            self.make_due(self.turns.max(1), cursor);
            return true;
        }
        self.round = round;
        self.turns += 1;
        false
    }

    /// No member is ready: the next batch is due as it is.
    pub(super) fn make_all_due(&mut self, cursor: usize) {
        self.make_due(usize::MAX, cursor);
    }

    #[inline]
    fn make_due(&mut self, limit: usize, cursor: usize) {
        debug_assert_eq!(self.due, 0, "it is due already");
        self.due = self.marked.min(limit);
        self.turns = 0;
        self.mark_batch(cursor);
    }

    /// Whether there are some that are to be reported before any turn.
    #[inline]
    pub(super) fn are_due(&self) -> bool {
        self.due > 0
    }

    /// The next one that is due.
    #[inline]
    pub(super) fn pop(&mut self, spent: &mut Spent) -> Untold {
        self.due -= 1;
        let untold = self.queue.pop_front().expect("as many are there as are due");
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

    /// Puts the departure of a stream that is not here behind those of its earlier stays that are held back. `false`
    /// if there are none.
    ///
    /// Cost: a walk through the streams whose stay ended while they are polled, not through their departures.
    pub(super) fn hold_behind(&mut self, id: StreamId, departure: Departure) -> bool {
        let Some(at) = self.held.iter().position(|held| held.id == id) else { return false };
        // Else they would pile up: no limit counts those that nobody will receive.
        if self.is_reported(departure) {
            self.held[at].more.push(departure);
            self.unread += 1;
        }
        true
    }

    /// The poll of a stream has returned: its departures are held back no more.
    pub(super) fn release(&mut self, id: StreamId, cursor: usize) {
        let Some(at) = self.held.iter().position(|held| held.id == id) else { return };
        let Held { first, more, .. } = self.held.remove(at);
        for departure in iter::once(first).chain(more) {
            // It was counted when it was held.
            self.unread -= usize::from(self.is_reported(departure));
            self.push(id, departure, cursor);
        }
    }

    /// The cursor is somewhere else now: the batch that waits begins its round anew.
    pub(super) fn restart(&mut self, cursor: usize) {
        self.mark_batch(cursor);
    }

    pub(super) fn shrink_to_fit(&mut self) {
        self.queue.shrink_to_fit();
        self.held.shrink_to_fit();
    }

    /// Gives back all, to be dropped with no lock held: nobody will receive it.
    pub(super) fn clear(&mut self) -> Spent {
        (self.due, self.marked, self.unread) = (0, 0, 0);
        self.held.clear();
        Spent(mem::take(&mut self.queue))
    }
}
