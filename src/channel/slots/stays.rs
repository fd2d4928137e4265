//! Stays of streams in a channel: their beginnings and ends.

use super::{Absent, Counts, Left, Phase, Slot, State, Vacated, Wake};
use crate::channel::departures::{Departures, Panic};
use crate::channel::member::BoxedMember;
use crate::engine::bit_set::BitSet;
use crate::engine::rotation::Rotation;
use crate::event::Departure;
use crate::id::StreamId;
use crate::wait_list::WaitList;
use slab::Slab;
use std::mem;
use std::sync::Arc;
use std::task::Waker;

/// Beginnings and ends of stays.
impl<St> State<St> {
    pub(in crate::channel) fn new(reports_departures: bool) -> Self {
        let mut slots = Rotation::with_capacity(0);
        slots.measure_waits(None);
        Self {
            slots,
            expected: Slab::new(),
            seated: BitSet::default(),
            departures: Departures::new(reports_departures),
            members: 0,
            ended: 0,
            paused: 0,
            walks: 0,
            counts: Counts::default(),
            receivers: 0,
            phase: Phase::Open,
        }
    }

    /// The waiting receivers.
    pub(in crate::channel) fn tasks(&self) -> &Arc<WaitList> {
        self.slots.tasks()
    }

    /// Gives a slot to a new stream, which has turns from now on.
    pub(in crate::channel) fn seat(&mut self, mut member: BoxedMember<St>) -> (usize, Wake) {
        self.members += 1;
        let key = self.slots.fill_with(|waker| {
            member.as_mut().set_waker(waker);
            Slot::Present(member)
        });
        self.seated.insert_with_room(key);
        self.make_ready(key);
        (key, self.wake())
    }

    /// Gives a slot to a stream that was moved here. The stream has turns from now on, unless it is paused or departures
    /// wait: one of these may be its own.
    pub(in crate::channel) fn seat_moved(
        &mut self,
        mut member: BoxedMember<St>,
        paused: bool,
    ) -> (usize, Wake) {
        self.members += 1;
        self.paused += usize::from(paused);
        let id = member.id;
        let key = self.slots.fill_with(|waker| {
            member.as_mut().set_waker(waker);
            Slot::arrived(member, paused)
        });
        self.seated.insert_with_room(key);
        (key, self.begin_turns(key, id))
    }

    /// Gives a slot to a stream that is being polled in another channel.
    pub(in crate::channel) fn expect(&mut self, pair: usize, paused: bool) -> usize {
        self.members += 1;
        self.paused += usize::from(paused);
        let Self { slots, expected, .. } = self;
        let key = slots.fill_with(|waker| {
            let waker = u32::try_from(expected.insert(waker)).expect("each belongs to a poll in progress");
            if paused { Slot::PausedExpected { pair, waker } } else { Slot::Expected { pair, waker } }
        });
        self.seated.insert_with_room(key);
        key
    }

    /// Puts an expected stream into its slot.
    pub(in crate::channel) fn land(&mut self, key: usize, mut member: BoxedMember<St>) -> Wake {
        let id = member.id;
        member.as_mut().set_waker(self.take_expected(key));
        let slot = &mut self.slots.slots_mut()[key];
        *slot = Slot::arrived(member, slot.is_paused());
        self.begin_turns(key, id)
    }

    /// Takes the waker of a slot whose expected stream arrives.
    pub(super) fn take_expected(&mut self, key: usize) -> Waker {
        let (Slot::Expected { waker, .. } | Slot::PausedExpected { waker, .. }) = self.slots.slots()[key]
        else {
            unreachable!("the slot of a stream that is being polled elsewhere")
        };
        self.expected.remove(waker as usize)
    }

    /// Makes a stream that was moved here ready, unless it is paused or its arrival must wait in the queue.
    pub(super) fn begin_turns(&mut self, key: usize, id: StreamId) -> Wake {
        let cursor = self.slots.cursor();
        let slot = &mut self.slots.slots_mut()[key];
        match self.departures.push_arrival(id, key, cursor) {
            Some(entry) => {
                *slot = match mem::replace(slot, Slot::Leaving) {
                    Slot::Present(member) => Slot::Queued { entry, member },
                    Slot::Paused { member, .. } => Slot::Paused { entry, member },
                    _ => unreachable!("it has just come"),
                };
            }
            None if slot.is_paused() => return Wake::NONE,
            None => self.make_ready(key),
        }
        self.wake()
    }

    /// Ends the stay of a stream by a move or removal, and takes the stream out if it is here. Returns `Err` and changes
    /// nothing if the stream is to be moved but has ended.
    pub(in crate::channel) fn depart(
        &mut self,
        key: usize,
        id: StreamId,
        departure: Departure,
    ) -> Result<Left<St>, Absent> {
        let slot = &mut self.slots.slots_mut()[key];
        let is_paused = slot.is_paused();
        self.paused -= usize::from(is_paused);
        match slot {
            Slot::Away { .. } | Slot::PausedAway { .. } => {
                *slot = Slot::Leaving;
                self.slots.stop_waiting(key);
                self.members -= 1;
                self.counts.note(departure);
                self.seated.remove(key);
                self.departures.hold(id, departure);
                return Ok(Left { member: None, is_paused, wake: Wake::NONE });
            }
            Slot::Ended(_) if matches!(departure, Departure::Moved(_)) => return Err(Absent::Ended),
            _ => {}
        }
        let (member, wake) = match self.vacate(key) {
            Vacated::Here(member) => {
                self.members -= 1;
                self.counts.note(departure);
                self.push(id, departure);
                (Some(member), self.wake() | self.wake_if_ended())
            }
            Vacated::Expected(_) => {
                self.members -= 1;
                self.counts.note(departure);
                if !self.departures.hold_behind(id, departure) {
                    self.push(id, departure);
                }
                (None, self.wake() | self.wake_if_ended())
            }
            Vacated::Ended(member) => {
                self.ended -= 1;
                (Some(member), Wake::NONE)
            }
        };
        Ok(Left { member, is_paused, wake })
    }

    /// Vacates the slot of a pair that is not being polled here.
    pub(super) fn vacate(&mut self, key: usize) -> Vacated<St> {
        self.seated.remove(key);
        let expected = &mut self.expected;
        let vacated = self.slots.vacate(key, |slot| match slot {
            Slot::Present(mut member) | Slot::Queued { mut member, .. } | Slot::Paused { mut member, .. } => {
                (member.as_mut().take_waker(), Vacated::Here(member))
            }
            Slot::Ended(mut member) => (member.as_mut().take_waker(), Vacated::Ended(member)),
            Slot::Expected { pair, waker } | Slot::PausedExpected { pair, waker } => {
                (expected.remove(waker as usize), Vacated::Expected(pair))
            }
            Slot::Away { .. } | Slot::PausedAway { .. } | Slot::Leaving => {
                unreachable!("it is being polled here")
            }
        });
        vacated.expect("its stay goes on")
    }

    /// Vacates slot `key`, whose stream was taken out for a poll and has ended, was lost by a panic, or has left. Returns
    /// whether the stay lasted until now. If it did and `is_kept` is true, the stream is taken and kept in the slot. If the
    /// stay lasted and the departure is `Ended`, the caller reports it; otherwise the channel does.
    pub(in crate::channel) fn retire(
        &mut self,
        key: usize,
        member: &mut Option<BoxedMember<St>>,
        departure: Departure,
        is_kept: bool,
    ) -> (bool, Wake) {
        let slot = &mut self.slots.slots_mut()[key];
        self.paused -= usize::from(slot.is_paused());
        let lasted = matches!(slot, Slot::Away { .. } | Slot::PausedAway { .. });
        debug_assert!(lasted || matches!(slot, Slot::Leaving));
        let has_ended = departure == Departure::Ended;
        self.counts.ends += u64::from(has_ended);
        if lasted {
            self.counts.note(departure);
            // The caller reports the end in place of an item.
            self.counts.departed += u64::from(has_ended);
        }
        if lasted && is_kept {
            *slot = Slot::Ended(member.take().expect("the caller has it"));
            self.members -= 1;
            self.ended += 1;
            return (true, self.wake_if_ended());
        }
        let member = member.as_mut().expect("the caller has it");
        self.slots.vacate(key, |_| (member.as_mut().take_waker(), ()));
        if lasted {
            self.members -= 1;
            self.seated.remove(key);
            if !has_ended {
                self.push(member.id, departure);
            }
        } else {
            self.departures.release(member.id, self.slots.cursor());
        }
        (lasted, self.wake() | self.wake_if_ended())
    }

    /// Returns whether the stream in slot `key` has ended and is kept.
    pub(in crate::channel) fn is_kept(&self, key: usize) -> bool {
        matches!(self.slots.slots().get(key), Some(Slot::Ended(_)))
    }

    /// Keeps an expected stream that has ended in its poll in the other channel.
    pub(in crate::channel) fn keep_expected(&mut self, key: usize, mut member: BoxedMember<St>) -> Wake {
        let id = member.id;
        member.as_mut().set_waker(self.take_expected(key));
        let slot = &mut self.slots.slots_mut()[key];
        self.paused -= usize::from(slot.is_paused());
        *slot = Slot::Ended(member);
        self.members -= 1;
        self.ended += 1;
        self.counts.note(Departure::Ended);
        // Its earlier departures are held no more: `retire` has released them.
        self.push(id, Departure::Ended);
        self.wake() | self.wake_if_ended()
    }

    pub(super) fn push(&mut self, id: StreamId, departure: Departure) {
        if self.phase != Phase::Removed {
            self.departures.push(id, departure, self.slots.cursor());
        }
    }

    /// Queues the end of a stream that the caller did not report in place of an item.
    pub(in crate::channel) fn push_departure(&mut self, id: StreamId, departure: Departure) -> Wake {
        self.counts.departed -= 1;
        self.push(id, departure);
        self.wake()
    }

    /// Queues a panic for the next receiver. If the channel was removed, no receiver will take it, and `Err` returns it.
    pub(in crate::channel) fn push_panic(&mut self, panic: Panic) -> Result<Wake, Panic> {
        if self.phase == Phase::Removed {
            return Err(panic);
        }
        self.departures.push_panic(panic);
        Ok(self.wake())
    }
}
