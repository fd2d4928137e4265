//! The slots of a channel and their transitions, each a step under the channel's lock.
//!
//! # What a slot holds
//!
//! | slot | its stream is | a turn | a move or removal makes it |
//! |---|---|---|---|
//! | `Present` | here | takes it, `Away` | vacant, and takes the stream |
//! | `Queued` | here, but its arrival waits in the queue of departures | nothing | vacant, and takes the stream |
//! | `Away` | being polled by a receiver of this channel | notes that it was woken | `Leaving` |
//! | `Paused` | here, and has no turns; its arrival may wait in the queue | nothing | vacant, and takes the stream |
//! | `PausedAway` | being polled by a receiver of this channel, and then `Paused` | nothing | `Leaving` |
//! | `Leaving` | the same, but its stay here is over | nothing | |
//! | `Expected` | being polled by a receiver of the channel it came from | nothing | vacant |
//! | `PausedExpected` | the same, and then `Paused` | nothing | vacant |
//! | `Ended` | over, and kept with its sink | nothing | vacant, and takes the stream |
//!
//! Pausing makes `Present` and `Queued` `Paused`, `Away` `PausedAway`, and `Expected` `PausedExpected`; resuming makes them
//! what they were, with a turn to come, so that no wake is lost that nobody noted meanwhile.
//!
//! When the poll returns, `Away` becomes `Present` (or `Ended`), and `Leaving` vacant: only then is the departure
//! there to be reported, after the item that this last poll may have brought. A member returned to a `Leaving` slot
//! is handed to [`Control::arrive`](crate::channel::Control::arrive), which knows where it belongs now: the
//! `Expected` slot of another channel, or nowhere. A slot is not vacant before the poll of its stream returned,
//! so the receiver never finds another tenant in it.

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
    /// The wakers of `Expected` slots, until their streams come.
    expected: Slab<Waker>,
    /// The keys of all slots with a pair whose stay here goes on: to go through them without the vacant ones.
    seated: BitSet,
    departures: Departures,
    /// The streams whose stay here goes on.
    members: usize,
    /// Those that ended and are kept.
    ended: usize,
    /// Those of the `members` that are paused.
    paused: usize,
    pub(super) counts: Counts,
    /// How many [`ChannelReceiver`](crate::ChannelReceiver)s there are.
    pub(super) receivers: usize,
    phase: Phase,
}

/// In this order, so that one comparison tells those that have turns.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Phase {
    Open,
    /// Admits nobody. Ends when it is empty.
    Closed,
    /// `Open`, but nothing is received from it.
    Paused,
    /// `Closed`, but nothing is received from it.
    PausedClosed,
    /// Has ended.
    Removed,
}

/// One that has no stream here has the pair's key in the registry: an id would make all slots larger.
pub(crate) enum Slot<St> {
    Present(BoxedMember<St>),
    Queued {
        entry: Entry,
        member: BoxedMember<St>,
    },
    Away {
        pair: usize,
        woken: bool,
        /// It was `Queued`, and is to be again; else 0.
        entry: Entry,
    },
    Paused {
        /// If it is `Queued` as well; else 0.
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
        /// A key of [`State::expected`]: short, so that the slot is not larger for it.
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

/// How many turns that bring nothing are taken at one lock pair: of stale wakes, for example.
const TURNS_IN_VAIN: usize = 64;

/// Who must be woken, by [`Channel::wake`](crate::channel::Channel::wake), with no lock held.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[must_use]
pub(crate) struct Wake(u8);

impl Wake {
    pub(crate) const NONE: Self = Self(0);
    /// The receivers that sleep.
    const RECEIVERS: Self = Self(1);
    /// Who waits for the channel to be drained.
    const DRAINED: Self = Self(2);

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

/// What comes next, as a rule.
pub(super) enum Next<St> {
    Poll(usize, BoxedMember<St>),
    Idle(usize),
}

/// What comes next.
pub(super) enum Turn<St> {
    Next(Next<St>),
    Departed(StreamId, Departure),
    Panicked(Panic),
    /// So many turns brought nothing that others are to have the lock, and the executor.
    InVain,
    Ended,
}

/// What was in a slot.
enum Vacated<St> {
    Here(BoxedMember<St>),
    Ended(BoxedMember<St>),
    /// Of this pair.
    Expected(usize),
}

/// A stream whose stay was ended by a move or a removal.
pub(crate) struct Left<St> {
    /// `None` if it is being polled.
    pub(crate) member: Option<BoxedMember<St>>,
    pub(crate) is_paused: bool,
    pub(crate) wake: Wake,
}

/// A stream that was taken out of its channel with its pair, by the pair's key in the registry. `None` if it is
/// being polled.
pub(crate) type Taken<St> = (usize, Option<BoxedMember<St>>);

/// Turns.
impl<St> State<St> {
    /// The next turn in the frequent cases: no departures wait, and either the stream whose turn it is is here, or it
    /// is nobody's. `None` in all others: then ask [`next_turn`](Self::next_turn).
    // Always, as `put_back`: a program that has receivers and selects has two callers, and then the compiler does not; which
    // costs a tenth of an item.
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

    /// The next turn, or what is to be reported before it. `spent` is to be dropped with no lock held.
    #[inline(never)]
    pub(super) fn next_turn(&mut self, spent: &mut Spent) -> (Turn<St>, Wake) {
        if !self.phase.has_turns() {
            return (self.without_turns(), Wake::NONE);
        }
        let mut wake = Wake::NONE;
        for _ in 0..TURNS_IN_VAIN {
            if self.departures.are_due() {
                match self.departures.pop(spent) {
                    // Who sleeps was woken when it was put there; but has the channel ended now?
                    Untold::Departed(id, departure) => {
                        self.counts.told += 1;
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
                    // Woken meanwhile.
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

    /// The turn of the slot `key`: takes the stream out to be polled, if it is here.
    #[inline(always)]
    fn take_turn(&mut self, key: usize) -> Option<BoxedMember<St>> {
        self.slots.clear_ready(key);
        // It may be a stale wake's.
        let slot = self.slots.slots_mut().get_mut(key)?;
        let Slot::Present(member) = slot else {
            slot.pass_over();
            return None;
        };
        let away = Slot::Away { pair: member.id.key(), woken: false, entry: 0 };
        let Slot::Present(member) = mem::replace(slot, away) else { unreachable!("matched above") };
        Some(member)
    }

    /// Lets a stream have turns that waited in the queue, if it is still here for that.
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

    /// Whether a member was woken while it was polled: in its own poll, as a rule. Another receiver may have
    /// taken notice of it.
    #[inline]
    pub(super) fn was_woken(&self, key: usize) -> bool {
        self.slots.was_woken(key) || matches!(self.slots.slots()[key], Slot::Away { woken: true, .. })
    }

    /// A poll returned. Gives the stream back to the caller if its stay here is over.
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

    /// Out of line, so that the frequent case is one comparison.
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
                (member, wake)
            }
            _ => unreachable!("the slot of a stream that is being polled"),
        }
    }

    /// Takes a stream out as for a poll, for something else.
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
    /// It is its turn, and its stream is not to be polled. One that comes, may have turns again or is resumed is made ready
    /// then; one that has ended was woken by a stale wake.
    #[cold]
    fn pass_over(&mut self) {
        if let Self::Away { woken, .. } = self {
            *woken = true;
        }
    }
}

/// Which pairs are meant.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Which {
    All,
    /// Those whose stream has ended.
    Ended,
}

/// Why a stream is not to be had.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Absent {
    /// It is being polled, here or where it came from.
    Away,
    /// It has ended, and is kept for its sink.
    Ended,
}
