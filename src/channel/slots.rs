//! The slots of a channel and their transitions. Each transition is one step under the channel's lock.
//!
//! # States of a slot
//!
//! A *stay* is the time from a stream's arrival in a channel to its departure.
//!
//! | slot | the stream | at its turn | at a move or removal |
//! |---|---|---|---|
//! | `Present` | is here | becomes `Away`; the stream is taken out | becomes vacant; the stream is taken out |
//! | `Queued` | is here, but its arrival waits in the queue of departures | nothing | becomes vacant; the stream is taken out |
//! | `Away` | is being polled by a receiver of this channel | the wake is recorded | becomes `Leaving` |
//! | `Paused` | is here and has no turns; its arrival may wait in the queue | nothing | becomes vacant; the stream is taken out |
//! | `PausedAway` | is being polled by a receiver of this channel; then `Paused` | nothing | becomes `Leaving` |
//! | `Leaving` | is being polled by a receiver of this channel, and its stay has ended | nothing | |
//! | `Expected` | is being polled by a receiver of the channel that it came from | nothing | becomes vacant |
//! | `PausedExpected` | is being polled by a receiver of that channel; then `Paused` | nothing | becomes vacant |
//! | `Ended` | has ended and is kept with its sink | nothing | becomes vacant; the stream is taken out |
//!
//! Pausing turns `Present` and `Queued` into `Paused`, `Away` into `PausedAway`, and `Expected` into `PausedExpected`.
//! Resuming reverses this and gives the stream a turn. Wakes are not recorded during a pause; because of this turn, none is
//! lost.
//!
//! When a poll returns, `Away` becomes `Present` or `Queued`; if the stream has ended, `Ended` or vacant. `Leaving` becomes
//! vacant. Only then can the departure be reported, after the item that this last poll may have yielded. A member that
//! returns to a `Leaving` slot is passed to [`Control::arrive`](crate::channel::Control::arrive), which knows its place: the
//! `Expected` slot of another channel, or none. A slot does not become vacant before the poll of its stream has returned, so
//! the receiver never finds another tenant in the slot.

mod counts;
mod pausing;
mod stays;
mod whole;

pub(crate) use whole::Surplus;

use crate::channel::departures::{Departures, Entry, Panic, Spent, Untold};
use crate::channel::member::BoxedMember;
use crate::engine::bit_set::BitSet;
use crate::engine::rotation::Rotation;
use crate::event::Departure;
use crate::id::StreamId;
use counts::Counts;
use slab::Slab;
use std::mem;
use std::ops::BitOr;
use std::task::Waker;

pub(super) struct State<St> {
    slots: Rotation<Slot<St>>,
    /// The wakers of `Expected` slots, until their streams arrive.
    expected: Slab<Waker>,
    /// The keys of all slots with a pair whose stay has not ended. A walk through these skips vacant slots.
    seated: BitSet,
    departures: Departures,
    /// The number of streams in this channel: their stay has not ended.
    members: usize,
    /// The number of streams that have ended and are kept.
    ended: usize,
    /// The number of paused `members`.
    paused: usize,
    pub(super) counts: Counts,
    /// The number of [`ChannelReceiver`](crate::ChannelReceiver)s and of selects that have this channel.
    pub(super) receivers: usize,
    phase: Phase,
}

/// The order of the variants lets one comparison decide whether a phase has turns.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Phase {
    Open,
    /// Admits no stream. Ends when it is empty.
    Closed,
    /// `Open`, but no receiver takes turns.
    Paused,
    /// `Closed`, but no receiver takes turns.
    PausedClosed,
    /// Has ended.
    Removed,
}

/// A slot without a stream has the pair's key in the registry. An id would make all slots larger.
pub(crate) enum Slot<St> {
    Present(BoxedMember<St>),
    Queued {
        entry: Entry,
        member: BoxedMember<St>,
    },
    Away {
        pair: usize,
        woken: bool,
        /// If the slot was `Queued` and will be again, its entry; otherwise 0.
        entry: Entry,
    },
    Paused {
        /// If the arrival still waits in the queue, its entry; otherwise 0.
        entry: Entry,
        member: BoxedMember<St>,
    },
    PausedAway {
        pair: usize,
        /// As in `Away`.
        entry: Entry,
    },
    Leaving,
    Expected {
        pair: usize,
        /// A key of [`State::expected`]. It has 32 bits, so that slots do not become larger.
        waker: u32,
    },
    /// As `Expected`.
    PausedExpected {
        pair: usize,
        waker: u32,
    },
    Ended(BoxedMember<St>),
}

#[cfg(target_pointer_width = "64")]
const _: () = assert!(size_of::<Slot<()>>() == 16);

/// How many turns without a result are taken under one lock pair: after stale wakes, for example.
const TURNS_IN_VAIN: usize = 64;

/// The tasks to wake, with [`Channel::wake`](crate::channel::Channel::wake) and no lock held.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[must_use]
pub(crate) struct Wake(u8);

impl Wake {
    pub(crate) const NONE: Self = Self(0);
    /// The waiting receivers.
    const RECEIVERS: Self = Self(1);
    /// The tasks and threads that wait for the channel to be drained.
    const DRAINED: Self = Self(2);
    /// No task. Beside this wake, there is a stream to be passed on.
    const ORPHAN: Self = Self(4);

    fn when(self, it_is_so: bool) -> Self {
        if it_is_so { self } else { Self::NONE }
    }

    pub(super) fn is_for_receivers(self) -> bool {
        self.0 & Self::RECEIVERS.0 != 0
    }

    pub(super) fn is_for_drained(self) -> bool {
        self.0 & Self::DRAINED.0 != 0
    }
}

impl BitOr for Wake {
    type Output = Self;

    fn bitor(self, other: Self) -> Self {
        Self(self.0 | other.0)
    }
}

/// The next step of a receiver, in the frequent cases.
pub(super) enum Next<St> {
    Poll(usize, BoxedMember<St>),
    Idle(usize),
}

/// The next step of a receiver.
pub(super) enum Turn<St> {
    Next(Next<St>),
    Departed(StreamId, Departure),
    Panicked(Panic),
    /// Many turns had no result. The receiver releases the lock and yields to the executor.
    InVain,
    Ended,
}

/// The contents of a slot that was vacated.
enum Vacated<St> {
    Here(BoxedMember<St>),
    Ended(BoxedMember<St>),
    /// The stream of this pair was expected.
    Expected(usize),
}

/// A stream whose stay ended by a move or a removal.
pub(crate) struct Left<St> {
    /// `None` if it is being polled.
    pub(crate) member: Option<BoxedMember<St>>,
    pub(crate) is_paused: bool,
    pub(crate) wake: Wake,
}

/// A stream that was taken out of its channel together with its pair, and the pair's key in the registry. `None` if the
/// stream is being polled.
pub(crate) type Taken<St> = (usize, Option<BoxedMember<St>>);

/// Turns.
impl<St> State<St> {
    /// Takes the next turn in the frequent cases: no departure waits, and either the stream that has the turn is here, or no
    /// stream is ready. Returns `None` in all other cases; the caller then calls [`next_turn`](Self::next_turn).
    // `always`, as for `put_back`: in a program with receivers and selects there are two callers. The compiler then does not
    // inline the function by itself, which costs a tenth of an item.
    #[inline(always)]
    pub(super) fn next_poll(&mut self) -> Option<Next<St>> {
        if !self.phase.has_turns() || !self.departures.is_empty() {
            return None;
        }
        if let Some(key) = self.slots.next_turn() {
            self.take_turn(key).map(|member| Next::Poll(key, member))
        } else if self.phase == Phase::Open {
            self.slots.park().map(Next::Idle)
        } else {
            None
        }
    }

    /// Takes the next turn, or a departure or panic that is reported before it. The caller drops `spent` with no lock held.
    #[inline(never)]
    pub(super) fn next_turn(&mut self, spent: &mut Spent) -> (Turn<St>, Wake) {
        if !self.phase.has_turns() {
            return (self.without_turns(), Wake::NONE);
        }
        let mut wake = Wake::NONE;
        for _ in 0..TURNS_IN_VAIN {
            if self.departures.are_due() {
                match self.departures.pop(spent) {
                    // The push of this departure has woken the waiting receivers. Its removal may end the channel.
                    Untold::Departed(id, departure) => {
                        self.counts.departed += 1;
                        return (Turn::Departed(id, departure), wake | self.wake_if_ended());
                    }
                    Untold::Panicked(panic) => {
                        return (Turn::Panicked(panic), wake | self.wake_if_ended());
                    }
                    Untold::Landed { key, entry } => {
                        self.let_in(key, entry);
                        wake = wake | self.wake_if_ended() | self.wake();
                    }
                }
                continue;
            }
            let cursor = self.slots.cursor();
            let Some(key) = self.slots.next_turn() else {
                if !self.departures.is_empty() {
                    self.departures.make_all_due(cursor);
                    continue;
                }
                if self.has_ended() {
                    return (Turn::Ended, wake);
                }
                match self.slots.park() {
                    Some(epoch) => return (Turn::Next(Next::Idle(epoch)), wake),
                    // A member was woken meanwhile.
                    None => continue,
                }
            };
            if !self.departures.is_empty() && self.departures.are_before(key, cursor) {
                self.slots.rewind(cursor);
            } else if let Some(member) = self.take_turn(key) {
                return (Turn::Next(Next::Poll(key, member)), wake);
            }
        }
        (Turn::InVain, wake)
    }

    /// Takes the turn of slot `key`: takes the stream out for a poll, if it is here.
    #[inline(always)]
    fn take_turn(&mut self, key: usize) -> Option<BoxedMember<St>> {
        self.slots.clear_ready(key);
        // After a stale wake, the slot may be vacant.
        let slot = self.slots.slots_mut().get_mut(key)?;
        let Slot::Present(member) = slot else {
            slot.pass_over();
            return None;
        };
        let away = Slot::Away { pair: member.id.key(), woken: false, entry: 0 };
        let Slot::Present(member) = mem::replace(slot, away) else { unreachable!("matched above") };
        Some(member)
    }

    /// Gives turns to a stream whose arrival waited in the queue, if this stay has not ended.
    fn let_in(&mut self, key: usize, let_in: Entry) {
        let Some(slot) = self.slots.slots_mut().get_mut(key) else { return };
        match mem::replace(slot, Slot::Leaving) {
            Slot::Queued { entry, member } if entry == let_in => {
                *slot = Slot::Present(member);
                self.slots.set_ready(key);
            }
            Slot::Away { pair, entry, .. } if entry == let_in => {
                *slot = Slot::Away { pair, woken: true, entry: 0 };
            }
            Slot::Paused { entry, member } if entry == let_in => *slot = Slot::Paused { entry: 0, member },
            Slot::PausedAway { pair, entry } if entry == let_in => {
                *slot = Slot::PausedAway { pair, entry: 0 }
            }
            other => *slot = other,
        }
    }

    /// Returns whether a member was woken while it was polled, usually in its own poll. Another receiver may have absorbed
    /// the wake and recorded it in the slot.
    #[inline]
    pub(super) fn was_woken(&self, key: usize) -> bool {
        self.slots.was_woken(key) || matches!(self.slots.slots()[key], Slot::Away { woken: true, .. })
    }

    /// Puts a stream back after its poll. Returns the stream if its stay has ended; the wake is then not [`Wake::NONE`].
    #[inline(always)]
    pub(super) fn put_back(
        &mut self,
        key: usize,
        member: BoxedMember<St>,
        ready: bool,
    ) -> (Option<BoxedMember<St>>, Wake) {
        let slot = &mut self.slots.slots_mut()[key];
        let Slot::Away { woken, entry: 0, .. } = *slot else { return self.put_back_elsewhere(key, member) };
        *slot = Slot::Present(member);
        if !(ready || woken) {
            return (None, Wake::NONE);
        }
        self.slots.set_ready(key);
        (None, self.wake())
    }

    /// The rare cases of [`put_back`](Self::put_back). Out of line, so that the frequent case is one comparison.
    #[cold]
    #[inline(never)]
    fn put_back_elsewhere(&mut self, key: usize, member: BoxedMember<St>) -> (Option<BoxedMember<St>>, Wake) {
        let slot = &mut self.slots.slots_mut()[key];
        match *slot {
            Slot::Away { entry, .. } => {
                *slot = Slot::Queued { entry, member };
                (None, Wake::NONE)
            }
            Slot::PausedAway { entry, .. } => {
                *slot = Slot::Paused { entry, member };
                (None, Wake::NONE)
            }
            Slot::Leaving => {
                let mut member = Some(member);
                let (_, wake) = self.retire(key, &mut member, Departure::Removed, false);
                (member, wake | Wake::ORPHAN)
            }
            _ => unreachable!("the slot of a stream that is being polled"),
        }
    }

    /// Takes a stream out as for a poll, for another use.
    pub(super) fn take_out(&mut self, key: usize) -> Result<BoxedMember<St>, Absent> {
        let slot = &mut self.slots.slots_mut()[key];
        let (member, entry) = match mem::replace(slot, Slot::Leaving) {
            Slot::Present(member) => (member, 0),
            Slot::Queued { entry, member } => (member, entry),
            Slot::Paused { entry, member } => {
                *slot = Slot::PausedAway { pair: member.id.key(), entry };
                return Ok(member);
            }
            other => {
                let is_ended = matches!(other, Slot::Ended(_));
                *slot = other;
                return Err(if is_ended { Absent::Ended } else { Absent::Away });
            }
        };
        *slot = Slot::Away { pair: member.id.key(), woken: false, entry };
        Ok(member)
    }
}

impl<St> Slot<St> {
    /// Passes over a slot that has its turn, but whose stream cannot be polled. A stream that is expected, queued or paused
    /// is made ready when it arrives, may have turns, or is resumed. A stream that has ended had a stale wake.
    #[cold]
    fn pass_over(&mut self) {
        if let Self::Away { woken, .. } = self {
            *woken = true;
        }
    }
}

/// Selects pairs of a channel.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Which {
    All,
    /// Pairs whose stream has ended.
    Ended,
}

/// Why a stream is not available.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Absent {
    /// The stream is being polled, in this channel or in the channel that it came from.
    Away,
    /// The stream has ended and is kept with its sink.
    Ended,
}
