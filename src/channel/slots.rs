//! The slots of a channel and their transitions, each a step under the channel's lock.
//!
//! # What a slot holds
//!
//! | slot | its stream is | a turn | a move or removal makes it |
//! |---|---|---|---|
//! | `Present` | here | takes it, `Away` | vacant, and takes the stream |
//! | `Away` | being polled by a receiver of this channel | notes that it was woken | `Leaving` |
//! | `Leaving` | the same, but its stay here is over | nothing | |
//! | `Expected` | being polled by a receiver of the channel it came from | nothing | vacant |
//!
//! When the poll returns, `Away` becomes `Present`, and `Leaving` vacant: only then is the departure there
//! to be told, after the item that this last poll may have brought. A member returned to a `Leaving` slot is
//! handed to [`Control::arrive`](crate::channel::Control::arrive), which knows where it belongs now: the
//! `Expected` slot of another channel, or nowhere. A slot is not vacant before the poll of its stream returned,
//! so the receiver never finds another tenant in it.
//!
//! Departures wait in the order in which they came, and are told before any turn is taken. So when a stream
//! leaves and comes back, the end of its first stay is told before anything of the second. If it leaves
//! again before the poll of its first stay returned, that departure waits for the first one.

use crate::engine::rotation::Rotation;
use crate::event::Departure;
use crate::id::StreamId;
use slab::Slab;
use std::any::Any;
use std::collections::VecDeque;
use std::task::Waker;

pub(super) struct State<St> {
    pub(super) slots: Rotation<Slot<St>>,
    /// The wakers of `Expected` slots, until their streams come.
    pub(super) expected: Slab<Waker>,
    /// Those that left and of whom this is still to be told, and panics.
    pub(super) untold: VecDeque<Untold>,
    /// Those of streams in `Leaving` slots: held back until the poll returns, in the order of their stays.
    pub(super) held: Vec<(StreamId, Departure)>,
    /// The streams whose stay here goes on.
    pub(super) members: usize,
    pub(super) phase: Phase,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Phase {
    Open,
    /// Ends when it is empty.
    Closed,
    /// Has ended.
    Removed,
}

/// What is told before any turn.
pub(super) enum Untold {
    Departed(StreamId, Departure),
    /// Foreign code panicked while an item was at hand, which went first.
    Panicked(Panic),
}

/// A stream whose stay was ended by the removal of its channel, and its pair's key in the registry. `None` if
/// it is being polled.
pub(crate) type Removed<St> = (usize, Option<Box<Member<St>>>);

/// What was still to be told by a channel that was removed.
pub(crate) struct Unheard(#[allow(dead_code, reason = "to be dropped")] VecDeque<Untold>);

pub(super) type Panic = Box<dyn Any + Send>;

/// One that has no stream here has the pair's key in the registry: an id would make all slots larger.
pub(super) enum Slot<St> {
    Present(Box<Member<St>>),
    Away {
        pair: usize,
        woken: bool,
    },
    Leaving,
    /// The second is a key of [`State::expected`]: short, so that the slot is not larger for it.
    Expected {
        pair: usize,
        waker: u32,
    },
}

/// A stream in a channel, boxed, so that taking it out and moving it is a matter of one pointer.
pub(crate) struct Member<St> {
    pub(crate) id: StreamId,
    pub(crate) stream: St,
    /// The waker of its slot; a no-op while it has none.
    pub(super) waker: Waker,
}

impl<St> Member<St> {
    pub(crate) fn new(id: StreamId, stream: St) -> Self {
        Self { id, stream, waker: Waker::noop().clone() }
    }

    fn take_waker(&mut self) -> Waker {
        std::mem::replace(&mut self.waker, Waker::noop().clone())
    }
}

/// Whether receivers sleep that must be woken, by [`Channel::wake`](crate::channel::Channel::wake), with no lock held.
#[derive(Clone, Copy)]
#[must_use]
pub(crate) struct Wake(pub(super) bool);

impl Wake {
    pub(crate) const NONE: Self = Self(false);
}

/// The next turn.
pub(super) enum Turn<St> {
    Poll(usize, Box<Member<St>>),
    Untold(Untold),
    Ended,
    Idle(usize),
}

/// The transitions of the slots, under the lock.
impl<St> State<St> {
    #[inline]
    pub(super) fn next_turn(&mut self) -> (Turn<St>, Wake) {
        if self.phase == Phase::Removed {
            return (Turn::Ended, Wake::NONE);
        }
        if let Some(untold) = self.untold.pop_front() {
            // Who sleeps was woken when it was put there; but has the channel ended now?
            return (Turn::Untold(untold), self.wake_if_ended());
        }
        loop {
            while let Some(key) = self.slots.next_turn() {
                self.slots.clear_ready(key);
                match self.slots.slots_mut().get_mut(key) {
                    Some(slot @ Slot::Present(_)) => {
                        let before = std::mem::replace(slot, Slot::Leaving);
                        let Slot::Present(member) = before else { unreachable!("matched above") };
                        *slot = Slot::Away { pair: member.id.key(), woken: false };
                        return (Turn::Poll(key, member), Wake::NONE);
                    }
                    Some(Slot::Away { woken, .. }) => *woken = true,
                    // Made ready when its stream comes.
                    Some(Slot::Leaving | Slot::Expected { .. }) => {}
                    // A stale wake of a vacant slot.
                    None => {}
                }
            }
            if self.has_ended() {
                return (Turn::Ended, Wake::NONE);
            }
            if let Some(epoch) = self.slots.park() {
                return (Turn::Idle(epoch), Wake::NONE);
            }
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
        member: Box<Member<St>>,
        ready: bool,
    ) -> (Option<Box<Member<St>>>, Wake) {
        let slot = &mut self.slots.slots_mut()[key];
        match *slot {
            Slot::Away { woken, .. } => {
                *slot = Slot::Present(member);
                if !(ready || woken) {
                    return (None, Wake::NONE);
                }
                self.slots.set_ready(key);
                (None, self.wake())
            }
            Slot::Leaving => {
                let mut member = member;
                let (_, wake) = self.retire(key, &mut member, Departure::Removed);
                (Some(member), wake)
            }
            Slot::Present(_) | Slot::Expected { .. } => {
                unreachable!("the slot of a stream that is being polled")
            }
        }
    }

    /// The pairs of the streams whose stay here goes on.
    pub(super) fn pairs(&self) -> Vec<usize> {
        let mut pairs = Vec::with_capacity(self.members);
        pairs.extend(self.slots.slots().iter().filter_map(|(_, slot)| match slot {
            Slot::Present(member) => Some(member.id.key()),
            Slot::Away { pair, .. } | Slot::Expected { pair, .. } => Some(*pair),
            Slot::Leaving => None,
        }));
        pairs
    }

    pub(super) fn seat(&mut self, mut member: Box<Member<St>>) -> (usize, Wake) {
        self.members += 1;
        let key = self.slots.fill_with(|waker| {
            member.waker = waker;
            Slot::Present(member)
        });
        self.slots.set_ready(key);
        (key, self.wake())
    }

    pub(super) fn expect(&mut self, pair: usize) -> usize {
        self.members += 1;
        let Self { slots, expected, .. } = self;
        slots.fill_with(|waker| {
            let waker = u32::try_from(expected.insert(waker)).expect("each is of a poll that is going on");
            Slot::Expected { pair, waker }
        })
    }

    pub(super) fn land(&mut self, key: usize, mut member: Box<Member<St>>) -> Wake {
        let slot = &mut self.slots.slots_mut()[key];
        let Slot::Expected { waker, .. } = *slot else {
            unreachable!("the slot of a stream that is being polled")
        };
        member.waker = self.expected.remove(waker as usize);
        *slot = Slot::Present(member);
        self.slots.set_ready(key);
        self.wake()
    }

    pub(super) fn depart(
        &mut self,
        key: usize,
        id: StreamId,
        departure: Departure,
    ) -> (Option<Box<Member<St>>>, Wake) {
        self.members -= 1;
        let slot = &mut self.slots.slots_mut()[key];
        if let Slot::Away { .. } = *slot {
            *slot = Slot::Leaving;
            self.held.push((id, departure));
            return (None, Wake::NONE);
        }
        let expected = &mut self.expected;
        let vacated = self.slots.vacate(key, |slot| match slot {
            Slot::Present(mut member) => (member.take_waker(), Some(member)),
            Slot::Expected { waker, .. } => (expected.remove(waker as usize), None),
            Slot::Away { .. } | Slot::Leaving => unreachable!("its stay was over already"),
        });
        let member = vacated.expect("its stay goes on");
        if self.held.iter().any(|(of, _)| *of == id) {
            self.held.push((id, departure));
            return (member, Wake::NONE);
        }
        self.untold.push_back(Untold::Departed(id, departure));
        (member, self.wake())
    }

    pub(super) fn retire(
        &mut self,
        key: usize,
        member: &mut Member<St>,
        departure: Departure,
    ) -> (bool, Wake) {
        match self.slots.vacate(key, |slot| (member.take_waker(), slot)) {
            Some(Slot::Away { .. }) => {
                self.members -= 1;
                if departure == Departure::Ended {
                    return (true, self.wake_if_ended());
                }
                self.untold.push_back(Untold::Departed(member.id, departure));
                (true, self.wake())
            }
            Some(Slot::Leaving) => {
                self.release(member.id);
                (false, self.wake())
            }
            _ => unreachable!("the slot of a stream that is being polled"),
        }
    }

    /// Lets the departures of a stream be told that were held back.
    fn release(&mut self, id: StreamId) {
        let Self { held, untold, .. } = self;
        held.retain(|&(of, departure)| {
            if of == id {
                untold.push_back(Untold::Departed(of, departure));
            }
            of != id
        });
    }

    pub(super) fn remove(&mut self) -> (Vec<Removed<St>>, Unheard) {
        self.phase = Phase::Removed;
        let mut streams = Vec::with_capacity(self.members);
        self.slots.slots_mut().retain(|_, slot| {
            match std::mem::replace(slot, Slot::Leaving) {
                Slot::Present(member) => {
                    streams.push((member.id.key(), Some(member)));
                    false
                }
                Slot::Expected { pair, .. } => {
                    streams.push((pair, None));
                    false
                }
                // The poll that returns to the slot finds it so.
                Slot::Away { pair, .. } => {
                    streams.push((pair, None));
                    true
                }
                Slot::Leaving => true,
            }
        });
        self.held.clear();
        self.expected = Slab::new();
        self.members = 0;
        (streams, Unheard(std::mem::take(&mut self.untold)))
    }

    /// There is something to receive: receivers that are parked are to be woken.
    #[inline]
    pub(super) fn wake(&mut self) -> Wake {
        Wake(self.slots.unpark())
    }

    /// If that was the last of a closed channel, all receivers end.
    fn wake_if_ended(&self) -> Wake {
        Wake(self.has_ended())
    }

    pub(super) fn has_ended(&self) -> bool {
        self.phase == Phase::Closed && self.slots.slots().is_empty() && self.untold.is_empty()
    }
}
