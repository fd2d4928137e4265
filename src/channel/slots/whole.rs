//! A channel as a whole: its end, a walk through its pairs, and moving them together.

use super::{Phase, Slot, State, Taken, Vacated, Wake, Which};
use crate::channel::departures::Spent;
use crate::channel::member::BoxedMember;
use crate::engine::rotation::{self, Rotation};
use crate::event::Departure;
use slab::Slab;
use std::mem;
use std::task::Waker;

/// The channel as a whole.
impl<St> State<St> {
    pub(in crate::channel) fn phase(&self) -> Phase {
        self.phase
    }

    /// The number of pairs in this channel.
    pub(in crate::channel) fn len(&self) -> usize {
        self.members + self.ended
    }

    /// Returns whether the channel is full. The pairs count against `max_streams`; the pairs and the unread departures
    /// together count against twice that number.
    pub(in crate::channel) fn is_full(&self, max_streams: usize) -> bool {
        let unread = self.departures.unread();
        self.len() >= max_streams || self.len() + unread >= max_streams.saturating_mul(2)
    }

    /// Admits no stream from now on.
    pub(in crate::channel) fn close(&mut self) -> Wake {
        self.phase = match self.phase {
            Phase::Open => Phase::Closed,
            Phase::Paused => Phase::PausedClosed,
            other => other,
        };
        self.wake_if_ended()
    }

    /// Ends the channel immediately. Queued departures are discarded.
    pub(in crate::channel) fn remove(&mut self) -> Spent {
        self.phase = Phase::Removed;
        self.departures.clear()
    }

    /// Calls `report` for at most `limit` pairs, from slot `from` on, in the order of their slots. Returns the slot to
    /// continue from, unless the walk has passed the last pair.
    ///
    /// A walk begins at slot 0, and the caller continues it to its end: until then no pair changes its slot.
    pub(in crate::channel) fn pairs(
        &mut self,
        from: usize,
        limit: usize,
        mut report: impl FnMut(usize),
    ) -> Option<usize> {
        self.walk(from, limit, |state, key| report(state.slots.slots()[key].pair()))
    }

    /// The next steps of a walk; see [`pairs`](Self::pairs).
    #[inline]
    fn walk(&mut self, from: usize, limit: usize, mut visit: impl FnMut(&mut Self, usize)) -> Option<usize> {
        let mut next = Some(from);
        for _ in 0..limit {
            next = next.and_then(|from| self.seated.next_from(from).filter(|key| *key >= from));
            let Some(key) = next else { break };
            visit(self, key);
            next = Some(key + 1);
        }
        self.walks += usize::from(from == 0);
        self.walks -= usize::from(next.is_none());
        next
    }

    /// Visits at most `limit` pairs, from slot `from` on, and takes out all of them, or only those whose stream has ended.
    /// Queues no departures. Returns the slot to continue from, unless the walk has passed the last pair. The caller
    /// continues to the end, as with [`pairs`](Self::pairs).
    pub(in crate::channel) fn take_pairs(
        &mut self,
        from: usize,
        limit: usize,
        which: Which,
        mut report: impl FnMut(Taken<St>),
    ) -> Option<usize> {
        self.walk(from, limit, |state, key| {
            let slot = &mut state.slots.slots_mut()[key];
            match slot {
                Slot::Ended(_) => state.ended -= 1,
                _ if which == Which::Ended => return,
                _ => {
                    state.members -= 1;
                    state.counts.note(Departure::Removed);
                }
            }
            state.paused -= usize::from(slot.is_paused());
            if let Slot::Away { pair, .. } | Slot::PausedAway { pair, .. } = *slot {
                // The receiver that polls the stream finds this state when it puts the stream back.
                *slot = Slot::Leaving;
                state.slots.stop_waiting(key);
                state.seated.remove(key);
                report((pair, None));
                return;
            }
            match state.vacate(key) {
                Vacated::Here(member) | Vacated::Ended(member) => report((member.id.key(), Some(member))),
                Vacated::Expected(pair) => report((pair, None)),
            }
        })
    }

    /// Moves all pairs to the first slots of another rotation, which has room for them, and reports the new slot of each.
    /// They keep their order of turns: the pair that had the next turn comes first.
    /// Returns the old rotation, to be dropped with no lock held. If the room is too small or the channel
    /// [is pinned](Self::is_pinned), releases only the memory of vacant slots that [`Rotation::shrink_to_fit`] releases.
    pub(in crate::channel) fn compact(
        &mut self,
        mut compact: Rotation<Slot<St>>,
        mut report: impl FnMut(usize, usize),
    ) -> (Wake, Surplus<St>) {
        if self.len() > compact.slots().capacity() || self.is_pinned() {
            let unused = self.slots.shrink_to_fit();
            return (self.wake(), Surplus { unused: Some(unused), rotation: compact });
        }
        let wake = self.wake();
        compact.measure_waits(Some(&self.slots));
        let mut old = mem::replace(&mut self.slots, compact);
        let seated = mem::take(&mut self.seated);
        let mut from = old.cursor();
        for _ in 0..old.slots().len() {
            let key = seated
                .next_from(from)
                .expect("every occupied slot of a channel that is not pinned is seated");
            from = key + 1;
            let pair = old.slots()[key].pair();
            let expected = &mut self.expected;
            let vacated = old.vacate(key, |slot| slot.without_waker(expected));
            let (slot, is_ready) = vacated.expect("a pair is seated there");
            let new = self.slots.fill_with(|waker| slot.with_waker(waker, expected));
            self.seated.insert_with_room(new);
            if is_ready {
                // The old waker has no effect anymore. The poll of this turn finds whatever it was woken for.
                self.make_ready(new);
            }
            report(pair, new);
        }
        self.departures.shrink_to_fit();
        self.departures.restart(self.slots.cursor());
        self.expected.shrink_to_fit();
        (wake | self.wake(), Surplus { unused: None, rotation: old })
    }

    /// Returns whether any stream cannot change its slot: it is being polled by a receiver of this channel, its arrival
    /// waits in the queue, or a walk through the pairs might pass it over.
    pub(super) fn is_pinned(&self) -> bool {
        // A `Leaving` slot is not seated, but it is occupied.
        let mut is_pinned = self.walks != 0 || self.slots.slots().len() != self.len();
        let mut from = 0;
        while let Some(key) = self.seated.next_from(from).filter(|key| *key >= from) {
            from = key + 1;
            is_pinned |= match self.slots.slots()[key] {
                Slot::Away { .. } | Slot::PausedAway { .. } | Slot::Queued { .. } => true,
                Slot::Paused { entry, .. } => entry != 0,
                _ => false,
            };
        }
        is_pinned
    }

    /// To be called when there is something to receive. Wakes the receivers if they are parked.
    #[inline]
    pub(super) fn wake(&mut self) -> Wake {
        Wake::RECEIVERS.when(self.slots.unpark())
    }

    /// Wakes all receivers if the channel has ended, and the tasks that wait for it to be drained if it is.
    pub(in crate::channel) fn wake_if_ended(&self) -> Wake {
        Wake::RECEIVERS.when(self.has_ended()) | Wake::DRAINED.when(self.is_drained())
    }

    /// Returns whether the channel will yield nothing anymore.
    pub(in crate::channel) fn has_ended(&self) -> bool {
        match self.phase {
            Phase::Open | Phase::Paused => false,
            Phase::Closed | Phase::PausedClosed => self.is_drained() && self.departures.is_empty(),
            Phase::Removed => true,
        }
    }

    /// Returns whether the channel has no stream, and none will be admitted anymore.
    pub(in crate::channel) fn is_drained(&self) -> bool {
        self.phase.is_closed() && self.slots.slots().len() == self.ended
    }
}

impl<St> Slot<St> {
    /// The slot of a stream that has arrived.
    pub(super) fn arrived(member: BoxedMember<St>, paused: bool) -> Self {
        if paused { Self::Paused { entry: 0, member } } else { Self::Present(member) }
    }

    pub(super) fn is_paused(&self) -> bool {
        matches!(self, Self::Paused { .. } | Self::PausedAway { .. } | Self::PausedExpected { .. })
    }

    /// The key of the pair in this slot.
    pub(super) fn pair(&self) -> usize {
        match self {
            Self::Present(member)
            | Self::Queued { member, .. }
            | Self::Paused { member, .. }
            | Self::Ended(member) => member.id.key(),
            Self::Away { pair, .. }
            | Self::PausedAway { pair, .. }
            | Self::Expected { pair, .. }
            | Self::PausedExpected { pair, .. } => *pair,
            Self::Leaving => unreachable!("no pair is seated here"),
        }
    }

    /// Takes the waker of the slot. Also returns whether the slot has turns.
    pub(super) fn without_waker(mut self, expected: &mut Slab<Waker>) -> (Waker, (Self, bool)) {
        let waker = match &mut self {
            Self::Present(member)
            | Self::Queued { member, .. }
            | Self::Paused { member, .. }
            | Self::Ended(member) => member.as_mut().take_waker(),
            Self::Expected { waker, .. } | Self::PausedExpected { waker, .. } => {
                expected.remove(*waker as usize)
            }
            Self::Away { .. } | Self::PausedAway { .. } | Self::Leaving => unreachable!("it is being polled"),
        };
        let may_have_turns = matches!(self, Self::Present(_));
        (waker, (self, may_have_turns))
    }

    pub(super) fn with_waker(mut self, new: Waker, expected: &mut Slab<Waker>) -> Self {
        match &mut self {
            Self::Present(member)
            | Self::Queued { member, .. }
            | Self::Paused { member, .. }
            | Self::Ended(member) => member.as_mut().set_waker(new),
            // The slab reuses the entry that `without_waker` vacated, so the key still fits in 32 bits.
            Self::Expected { waker, .. } | Self::PausedExpected { waker, .. } => {
                *waker = u32::try_from(expected.insert(new)).expect("it was there before");
            }
            Self::Away { .. } | Self::PausedAway { .. } | Self::Leaving => unreachable!("it is being polled"),
        }
        self
    }
}

/// The memory that [`State::compact`] took out, to be dropped with no lock held.
#[must_use = "to be dropped with no lock held"]
pub(crate) struct Surplus<St> {
    #[allow(dead_code, reason = "to be dropped")]
    unused: Option<rotation::Surplus>,
    #[allow(dead_code, reason = "to be dropped")]
    rotation: Rotation<Slot<St>>,
}
