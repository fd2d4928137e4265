//! The slots of a channel and their transitions, each a step under the channel's lock.
//!
//! # What a slot holds
//!
//! | slot | its stream is | a turn | a move or removal makes it |
//! |---|---|---|---|
//! | `Present` | here | takes it, `Away` | vacant, and takes the stream |
//! | `Queued` | here, but its arrival waits in the queue of departures | nothing | vacant, and takes the stream |
//! | `Away` | being polled by a receiver of this channel | notes that it was woken | `Leaving` |
//! | `Leaving` | the same, but its stay here is over | nothing | |
//! | `Expected` | being polled by a receiver of the channel it came from | nothing | vacant |
//! | `Ended` | over, and kept with its sink | nothing | vacant, and takes the stream |
//!
//! When the poll returns, `Away` becomes `Present` (or `Ended`), and `Leaving` vacant: only then is the departure
//! there to be reported, after the item that this last poll may have brought. A member returned to a `Leaving` slot
//! is handed to [`Control::arrive`](crate::channel::Control::arrive), which knows where it belongs now: the
//! `Expected` slot of another channel, or nowhere. A slot is not vacant before the poll of its stream returned,
//! so the receiver never finds another tenant in it.

use crate::channel::departures::{Departures, Entry, Panic, Spent, Untold};
use crate::channel::member::BoxedMember;
use crate::engine::bit_set::BitSet;
use crate::engine::rotation::{self, Rotation};
use crate::event::Departure;
use crate::id::StreamId;
use crate::wait_list::WaitList;
use slab::Slab;
use std::mem;
use std::ops::BitOr;
use std::sync::Arc;
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
    /// How many [`ChannelReceiver`](crate::ChannelReceiver)s there are.
    pub(super) receivers: usize,
    phase: Phase,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Phase {
    Open,
    /// Admits nobody. Ends when it is empty.
    Closed,
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
    Leaving,
    Expected {
        pair: usize,
        /// A key of [`State::expected`]: short, so that the slot is not larger for it.
        waker: u32,
    },
    Ended(BoxedMember<St>),
}

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

/// A stream that was taken out of its channel with its pair, by the pair's key in the registry. `None` if it is
/// being polled.
pub(crate) type Taken<St> = (usize, Option<BoxedMember<St>>);

/// Turns.
impl<St> State<St> {
    /// The next turn in the frequent cases: no departures wait, and either the stream whose turn it is is here, or it
    /// is nobody's. `None` in all others: then ask [`next_turn`](Self::next_turn).
    #[inline]
    pub(super) fn next_poll(&mut self) -> Option<Next<St>> {
        if self.phase == Phase::Removed || !self.departures.is_empty() {
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
        if self.phase == Phase::Removed {
            return (Turn::Ended, Wake::NONE);
        }
        let mut wake = Wake::NONE;
        for _ in 0..TURNS_IN_VAIN {
            if self.departures.are_due() {
                match self.departures.pop(spent) {
                    // Who sleeps was woken when it was put there; but has the channel ended now?
                    Untold::Departed(id, departure) => {
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
        match self.slots.slots_mut().get_mut(key) {
            Some(slot @ Slot::Present(_)) => {
                let Slot::Present(member) = mem::replace(slot, Slot::Leaving) else {
                    unreachable!("matched above")
                };
                *slot = Slot::Away { pair: member.id.key(), woken: false, entry: 0 };
                return Some(member);
            }
            Some(Slot::Away { woken, .. }) => *woken = true,
            // Made ready when its stream comes, or may have turns.
            Some(Slot::Leaving | Slot::Expected { .. } | Slot::Queued { .. }) => {}
            // A stale wake.
            Some(Slot::Ended(_)) | None => {}
        }
        None
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
    #[inline]
    pub(super) fn put_back(
        &mut self,
        key: usize,
        member: BoxedMember<St>,
        ready: bool,
    ) -> (Option<BoxedMember<St>>, Wake) {
        let slot = &mut self.slots.slots_mut()[key];
        match *slot {
            Slot::Away { woken, entry: 0, .. } => {
                *slot = Slot::Present(member);
                if !(ready || woken) {
                    return (None, Wake::NONE);
                }
                self.slots.set_ready(key);
                (None, self.wake())
            }
            Slot::Away { entry, .. } => {
                *slot = Slot::Queued { entry, member };
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

/// Stays: how they begin and end.
impl<St> State<St> {
    pub(super) fn new(reports_departures: bool) -> Self {
        Self {
            slots: Rotation::with_capacity(0),
            expected: Slab::new(),
            seated: BitSet::default(),
            departures: Departures::new(reports_departures),
            members: 0,
            ended: 0,
            receivers: 0,
            phase: Phase::Open,
        }
    }

    /// The receivers that wait.
    pub(super) fn tasks(&self) -> &Arc<WaitList> {
        self.slots.tasks()
    }

    /// Gives a slot to a stream. It has turns from now on, unless it `moved` here and departures wait, of which one may
    /// be its own.
    pub(super) fn seat(&mut self, mut member: BoxedMember<St>, moved: bool) -> (usize, Wake) {
        self.members += 1;
        let id = member.id;
        let key = self.slots.fill_with(|waker| {
            member.as_mut().set_waker(waker);
            Slot::Present(member)
        });
        self.seated.insert_with_room(key);
        (key, self.begin_turns(key, id, moved))
    }

    /// Gives a slot to a stream that is being polled elsewhere.
    pub(super) fn expect(&mut self, pair: usize) -> usize {
        self.members += 1;
        let Self { slots, expected, .. } = self;
        let key = slots.fill_with(|waker| {
            let waker = u32::try_from(expected.insert(waker)).expect("each is of a poll that is going on");
            Slot::Expected { pair, waker }
        });
        self.seated.insert_with_room(key);
        key
    }

    /// The expected stream comes.
    pub(super) fn land(&mut self, key: usize, mut member: BoxedMember<St>) -> Wake {
        let id = member.id;
        member.as_mut().set_waker(self.take_expected(key));
        self.slots.slots_mut()[key] = Slot::Present(member);
        self.begin_turns(key, id, true)
    }

    /// The waker of a slot whose stream comes now.
    fn take_expected(&mut self, key: usize) -> Waker {
        let Slot::Expected { waker, .. } = self.slots.slots()[key] else {
            unreachable!("the slot of a stream that is being polled elsewhere")
        };
        self.expected.remove(waker as usize)
    }

    fn begin_turns(&mut self, key: usize, id: StreamId, moved: bool) -> Wake {
        let cursor = self.slots.cursor();
        match moved.then(|| self.departures.push_arrival(id, key, cursor)).flatten() {
            None => self.slots.set_ready(key),
            Some(entry) => {
                let slot = &mut self.slots.slots_mut()[key];
                let Slot::Present(member) = mem::replace(slot, Slot::Leaving) else {
                    unreachable!("it has just come")
                };
                *slot = Slot::Queued { entry, member };
            }
        }
        self.wake()
    }

    /// Ends the stay of a stream by a move or removal, and takes the stream out if it is here. `Err` and nothing
    /// done if it is to be moved and has ended.
    pub(super) fn depart(
        &mut self,
        key: usize,
        id: StreamId,
        departure: Departure,
    ) -> Result<(Option<BoxedMember<St>>, Wake), Absent> {
        match &mut self.slots.slots_mut()[key] {
            slot @ Slot::Away { .. } => {
                *slot = Slot::Leaving;
                self.members -= 1;
                self.seated.remove(key);
                self.departures.hold(id, departure);
                return Ok((None, Wake::NONE));
            }
            Slot::Ended(_) if matches!(departure, Departure::Moved(_)) => return Err(Absent::Ended),
            _ => {}
        }
        Ok(match self.vacate(key) {
            Vacated::Here(member) => {
                self.members -= 1;
                self.push(id, departure);
                (Some(member), self.wake() | self.wake_if_ended())
            }
            Vacated::Expected(_) => {
                self.members -= 1;
                if !self.departures.hold_behind(id, departure) {
                    self.push(id, departure);
                }
                (None, self.wake() | self.wake_if_ended())
            }
            Vacated::Ended(member) => {
                self.ended -= 1;
                (Some(member), Wake::NONE)
            }
        })
    }

    /// Vacates the slot of a pair that is not being polled here.
    fn vacate(&mut self, key: usize) -> Vacated<St> {
        self.seated.remove(key);
        let expected = &mut self.expected;
        let vacated = self.slots.vacate(key, |slot| match slot {
            Slot::Present(mut member) | Slot::Queued { mut member, .. } => {
                (member.as_mut().take_waker(), Vacated::Here(member))
            }
            Slot::Ended(mut member) => (member.as_mut().take_waker(), Vacated::Ended(member)),
            Slot::Expected { pair, waker } => (expected.remove(waker as usize), Vacated::Expected(pair)),
            Slot::Away { .. } | Slot::Leaving => unreachable!("it is being polled here"),
        });
        vacated.expect("its stay goes on")
    }

    /// The stream that was taken out of slot `key` to be polled is over. Returns whether its stay here had
    /// lasted until now; then it is taken if it `is_kept`. If it lasted and `Ended`, that is the caller's to report;
    /// else the channel will.
    pub(super) fn retire(
        &mut self,
        key: usize,
        member: &mut Option<BoxedMember<St>>,
        departure: Departure,
        is_kept: bool,
    ) -> (bool, Wake) {
        let slot = &mut self.slots.slots_mut()[key];
        let lasted = matches!(slot, Slot::Away { .. });
        debug_assert!(lasted || matches!(slot, Slot::Leaving));
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
            if departure != Departure::Ended {
                self.push(member.id, departure);
            }
        } else {
            self.departures.release(member.id, self.slots.cursor());
        }
        (lasted, self.wake() | self.wake_if_ended())
    }

    /// Whether the stream in slot `key` has ended and is kept.
    pub(super) fn is_kept(&self, key: usize) -> bool {
        matches!(self.slots.slots().get(key), Some(Slot::Ended(_)))
    }

    /// The expected stream has ended in its last poll elsewhere, and is kept.
    pub(super) fn keep_expected(&mut self, key: usize, mut member: BoxedMember<St>) -> Wake {
        let id = member.id;
        member.as_mut().set_waker(self.take_expected(key));
        self.slots.slots_mut()[key] = Slot::Ended(member);
        self.members -= 1;
        self.ended += 1;
        if !self.departures.hold_behind(id, Departure::Ended) {
            self.push(id, Departure::Ended);
        }
        self.wake() | self.wake_if_ended()
    }

    fn push(&mut self, id: StreamId, departure: Departure) {
        if self.phase != Phase::Removed {
            self.departures.push(id, departure, self.slots.cursor());
        }
    }

    pub(super) fn push_departure(&mut self, id: StreamId, departure: Departure) -> Wake {
        self.push(id, departure);
        self.wake()
    }

    /// `Err` gives it back: nobody will receive it.
    pub(super) fn push_panic(&mut self, panic: Panic) -> Result<Wake, Panic> {
        if self.phase == Phase::Removed {
            return Err(panic);
        }
        self.departures.push_panic(panic);
        Ok(self.wake())
    }
}

/// The channel as a whole.
impl<St> State<St> {
    pub(super) fn phase(&self) -> Phase {
        self.phase
    }

    /// How many pairs are here.
    pub(super) fn len(&self) -> usize {
        self.members + self.ended
    }

    /// Admits nobody from now on.
    pub(super) fn close(&mut self) -> Wake {
        if self.phase == Phase::Open {
            self.phase = Phase::Closed;
        }
        self.wake_if_ended()
    }

    /// Ends at once. What was to be reported is not received by anybody.
    pub(super) fn remove(&mut self) -> Spent {
        self.phase = Phase::Removed;
        self.departures.clear()
    }

    /// Calls `tell` with the pairs in slot `from` and behind, at most `limit` of them, in the order of their slots.
    /// Returns the slot to go on from, if there are more.
    pub(super) fn pairs(&self, from: usize, limit: usize, mut tell: impl FnMut(usize)) -> Option<usize> {
        let mut from = from;
        for _ in 0..limit {
            let key = self.seated.next_from(from).filter(|key| *key >= from)?;
            match &self.slots.slots()[key] {
                Slot::Present(member) | Slot::Queued { member, .. } | Slot::Ended(member) => {
                    tell(member.id.key());
                }
                Slot::Away { pair, .. } | Slot::Expected { pair, .. } => tell(*pair),
                Slot::Leaving => unreachable!("no pair is seated there"),
            }
            from = key + 1;
        }
        Some(from)
    }

    /// Takes out some of the pairs that are here, at most `limit`, and reports nothing. All of them, or those
    /// whose stream has ended. Returns the slot to go on from, if there are more.
    pub(super) fn take_pairs(
        &mut self,
        from: usize,
        limit: usize,
        which: Which,
        mut tell: impl FnMut(Taken<St>),
    ) -> Option<usize> {
        let mut from = from;
        for _ in 0..limit {
            let key = self.seated.next_from(from).filter(|key| *key >= from)?;
            from = key + 1;
            let slot = &mut self.slots.slots_mut()[key];
            match slot {
                Slot::Ended(_) => self.ended -= 1,
                _ if which == Which::Ended => continue,
                _ => self.members -= 1,
            }
            if let Slot::Away { pair, .. } = *slot {
                // The poll that returns to the slot finds it so.
                *slot = Slot::Leaving;
                self.seated.remove(key);
                tell((pair, None));
                continue;
            }
            match self.vacate(key) {
                Vacated::Here(member) | Vacated::Ended(member) => tell((member.id.key(), Some(member))),
                Vacated::Expected(pair) => tell((pair, None)),
            }
        }
        Some(from)
    }

    /// Moves all pairs to the first slots of another rotation, which was made for as many, and tells where each is now.
    /// Gives the old one back, to be dropped with no lock held. If that cannot be now, for a stream is being polled,
    /// takes away only what is behind the last pair.
    pub(super) fn compact(
        &mut self,
        compact: Rotation<Slot<St>>,
        mut tell: impl FnMut(usize, usize),
    ) -> (Wake, Surplus<St>) {
        if self.len() > compact.slots().capacity() || self.is_polled() {
            let unused = self.slots.shrink_to_fit();
            return (self.wake(), Surplus { unused: Some(unused), rotation: compact });
        }
        let wake = self.wake();
        let mut old = mem::replace(&mut self.slots, compact);
        let seated = mem::take(&mut self.seated);
        let mut from = 0;
        while let Some(key) = seated.next_from(from).filter(|key| *key >= from) {
            from = key + 1;
            let pair = old.slots()[key].pair();
            let expected = &mut self.expected;
            let vacated = old.vacate(key, |slot| slot.without_waker(expected));
            let (slot, is_ready) = vacated.expect("a pair is seated there");
            let new = self.slots.fill_with(|waker| slot.with_waker(waker, expected));
            self.seated.insert_with_room(new);
            if is_ready {
                // What its old waker has to say it says in this turn.
                self.slots.set_ready(new);
            }
            if let Slot::Queued { entry, .. } = self.slots.slots()[new] {
                self.departures.move_arrival(entry, new);
            }
            tell(pair, new);
        }
        self.departures.shrink_to_fit();
        self.departures.restart(self.slots.cursor());
        self.expected.shrink_to_fit();
        (wake | self.wake(), Surplus { unused: None, rotation: old })
    }

    /// Whether a stream of a slot here is being polled.
    fn is_polled(&self) -> bool {
        // One whose stay is over has no seat.
        let mut is_polled = self.slots.slots().len() != self.len();
        let mut from = 0;
        while let Some(key) = self.seated.next_from(from).filter(|key| *key >= from) {
            from = key + 1;
            is_polled |= matches!(self.slots.slots()[key], Slot::Away { .. });
        }
        is_polled
    }

    /// There is something to receive: receivers that are parked are to be woken.
    #[inline]
    fn wake(&mut self) -> Wake {
        Wake::RECEIVERS.when(self.slots.unpark())
    }

    /// If that was the last of a closed channel, all receivers end.
    pub(super) fn wake_if_ended(&self) -> Wake {
        Wake::RECEIVERS.when(self.has_ended()) | Wake::DRAINED.when(self.is_drained())
    }

    /// Whether receivers have nothing to expect any more.
    pub(super) fn has_ended(&self) -> bool {
        match self.phase {
            Phase::Open => false,
            Phase::Closed => self.is_drained() && self.departures.is_empty(),
            Phase::Removed => true,
        }
    }

    /// Whether no stream is here, and none will come.
    pub(super) fn is_drained(&self) -> bool {
        self.phase != Phase::Open && self.slots.slots().len() == self.ended
    }
}

impl<St> Slot<St> {
    /// The pair that is seated here.
    fn pair(&self) -> usize {
        match self {
            Self::Present(member) | Self::Queued { member, .. } | Self::Ended(member) => member.id.key(),
            Self::Away { pair, .. } | Self::Expected { pair, .. } => *pair,
            Self::Leaving => unreachable!("no pair is seated here"),
        }
    }

    /// Takes the waker from it. Also returns whether it may have turns.
    fn without_waker(mut self, expected: &mut Slab<Waker>) -> (Waker, (Self, bool)) {
        let waker = match &mut self {
            Self::Present(member) | Self::Queued { member, .. } | Self::Ended(member) => {
                member.as_mut().take_waker()
            }
            Self::Expected { waker, .. } => expected.remove(*waker as usize),
            Self::Away { .. } | Self::Leaving => unreachable!("it is being polled"),
        };
        let may_have_turns = matches!(self, Self::Present(_));
        (waker, (self, may_have_turns))
    }

    fn with_waker(mut self, new: Waker, expected: &mut Slab<Waker>) -> Self {
        match &mut self {
            Self::Present(member) | Self::Queued { member, .. } | Self::Ended(member) => {
                member.as_mut().set_waker(new);
            }
            // In the place that was vacated last: the key stays short.
            Self::Expected { waker, .. } => {
                *waker = u32::try_from(expected.insert(new)).expect("it was there before");
            }
            Self::Away { .. } | Self::Leaving => unreachable!("it is being polled"),
        }
        self
    }
}

/// What compacting has left over, to be dropped with no lock held.
#[must_use = "to be dropped with no lock held"]
pub(crate) struct Surplus<St> {
    #[allow(dead_code, reason = "to be dropped")]
    unused: Option<rotation::Surplus>,
    #[allow(dead_code, reason = "to be dropped")]
    rotation: Rotation<Slot<St>>,
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
