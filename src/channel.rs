//! A channel: a [`Rotation`] of members shared by handles.
//!
//! **No foreign code runs under its lock.** A member is taken out of its slot for its turn, polled with no
//! lock held, and put back. So its poll may call whatever it likes, several receivers may poll one channel
//! at a time, and a move or a removal never waits for a poll: it changes the slot, and the poll's return
//! finds that out.
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
//! handed to [`Control::arrive`], which knows where it belongs now: the `Expected` slot of another channel,
//! or nowhere. A slot is not vacant before the poll of its stream returned, so the receiver never finds
//! another tenant in it.
//!
//! Departures wait in the order in which they came, and are told before any turn is taken. So when a stream
//! leaves and comes back, the end of its first stay is told before anything of the second. If it leaves
//! again before the poll of its first stay returned, that departure waits for the first one.
//!
//! # Who wakes the receivers
//!
//! A member's waker wakes them if they are parked (see [`Rotation`]). Everything else that makes a slot ready
//! happens under the lock, and whoever did it looks for parked receivers before it unlocks, and wakes them
//! after: the methods that return [`Wake`] leave that to the caller, who may hold the registry's lock.

use crate::event::{Departure, StreamEvent};
use crate::id::{ChannelId, StreamId};
use crate::rotation::Rotation;
use crate::stream_slab::Patience;
use crate::sync::{Mutex, MutexGuard};
use crate::unwind::afterwards;
use crate::wait_list::{WaitList, Waiter};
use futures_core::Stream;
use std::any::Any;
use std::collections::VecDeque;
use std::fmt;
use std::ops::ControlFlow;
use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, Waker};

pub(crate) struct Channel<St> {
    id: ChannelId,
    half_close: bool,
    /// The receivers that wait.
    tasks: Arc<WaitList>,
    state: Mutex<State<St>>,
}

struct State<St> {
    slots: Rotation<Slot<St>>,
    /// Those that left and of whom this is still to be told, and panics.
    untold: VecDeque<Untold>,
    /// Those of streams in `Leaving` slots: held back until the poll returns, in the order of their stays.
    held: Vec<(StreamId, Departure)>,
    /// The streams whose stay here goes on.
    members: usize,
    phase: Phase,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Phase {
    Open,
    /// Ends when it is empty.
    Closed,
    /// Has ended.
    Removed,
}

/// What is told before any turn.
enum Untold {
    Departed(StreamId, Departure),
    /// Foreign code panicked while an item was at hand, which went first.
    Panicked(Panic),
}

/// A stream whose stay was ended by the removal of its channel, and its pair's key in the registry. `None` if
/// it is being polled.
pub(crate) type Removed<St> = (usize, Option<Box<Member<St>>>);

/// What was still to be told by a channel that was removed.
pub(crate) struct Unheard(#[allow(dead_code, reason = "to be dropped")] VecDeque<Untold>);

type Panic = Box<dyn Any + Send>;

/// One that has no stream here has the pair's key in the registry: an id would make all slots larger.
enum Slot<St> {
    Present(Box<Member<St>>),
    Away { pair: usize, woken: bool },
    Leaving,
    Expected { pair: usize },
}

/// A stream in a channel, boxed, so that taking it out and moving it is a matter of one pointer.
pub(crate) struct Member<St> {
    pub(crate) id: StreamId,
    pub(crate) stream: St,
    /// The waker of its slot; a no-op while it has none.
    waker: Waker,
}

impl<St> Member<St> {
    pub(crate) fn new(id: StreamId, stream: St) -> Self {
        Self { id, stream, waker: Waker::noop().clone() }
    }

    fn take_waker(&mut self) -> Waker {
        std::mem::replace(&mut self.waker, Waker::noop().clone())
    }
}

/// What a channel needs of the control plane when a stream leaves in its own poll.
pub(crate) trait Control<St> {
    /// The stream's stay was ended by others while it was polled in `channel`: puts it where it belongs now.
    fn arrive(&self, member: Box<Member<St>>);

    /// The stream is over: it left by `departure` while it was polled in slot `key` of `channel`. Returns
    /// whether its stay there had lasted until now and the departure is still to be told.
    fn finish(
        &self,
        channel: &Channel<St>,
        key: usize,
        member: Box<Member<St>>,
        departure: Departure,
    ) -> bool;
}

/// Whether receivers sleep that must be woken, by [`Channel::wake`], with no lock held.
#[derive(Clone, Copy)]
#[must_use]
pub(crate) struct Wake(bool);

impl Wake {
    pub(crate) const NONE: Self = Self(false);
}

/// What a channel yields.
pub(crate) type Event<T> = (StreamId, StreamEvent<T>);

/// Why no more turns were taken.
pub(crate) enum Turns {
    /// The caller has enough events.
    Enough,
    /// The channel has ended.
    Ended,
    /// No member is ready; the epoch for [`WaitList::wait`].
    Idle(usize),
    /// Too many polls in vain: let others run, and come back.
    Yield,
}

/// The next turn.
enum Turn<St> {
    Poll(usize, Box<Member<St>>),
    Untold(Untold),
    Ended,
    Idle(usize),
}

/// The receiving side.
impl<St: Stream + Unpin> Channel<St> {
    /// Takes turns, and tells each event to `tell`, until that has enough.
    ///
    /// Cost: a lock pair to begin, and one for each poll.
    #[inline]
    pub(crate) fn take_turns(
        &self,
        control: &impl Control<St>,
        patience: &mut Patience,
        mut tell: impl FnMut(Event<St::Item>) -> ControlFlow<()>,
    ) -> Turns {
        let mut state = self.state.lock();
        loop {
            let (key, member) = match self.next_turn(state) {
                Turn::Poll(key, member) => (key, member),
                Turn::Untold(Untold::Departed(id, departure)) => {
                    if tell((id, departure.into())).is_break() {
                        return Turns::Enough;
                    }
                    state = self.state.lock();
                    continue;
                }
                Turn::Untold(Untold::Panicked(panic)) => resume_unwind(panic),
                Turn::Ended => return Turns::Ended,
                Turn::Idle(epoch) => return Turns::Idle(epoch),
            };
            let id = member.id;
            let (member, poll) = self.poll(control, key, member);
            let (gave, enough) = match poll {
                Poll::Ready(Some(item)) => (true, tell((id, StreamEvent::Item(item))).is_break()),
                Poll::Ready(None) => {
                    let told_here = control.finish(self, key, member, Departure::Ended);
                    if told_here && tell((id, StreamEvent::Ended)).is_break() {
                        return Turns::Enough;
                    }
                    state = self.state.lock();
                    continue;
                }
                Poll::Pending => (false, false),
            };
            state = self.state.lock();
            if !gave {
                patience.note(state.was_woken(key));
            }
            let (orphan, wake) = state.put_back(key, member, gave);
            if orphan.is_some() || wake.0 {
                drop(state);
                self.settle(control, orphan, wake, gave);
                state = self.state.lock();
            }
            if enough {
                return Turns::Enough;
            }
            if patience.is_exhausted() {
                return Turns::Yield;
            }
        }
    }

    /// [`take_turns`](Self::take_turns), for a task: tells at least one event, or that the channel has ended, or waits.
    #[inline]
    pub(crate) fn poll_events(
        &self,
        cx: &mut Context<'_>,
        waiter: &mut Waiter,
        control: &impl Control<St>,
        mut tell: impl FnMut(Event<St::Item>) -> ControlFlow<()>,
    ) -> Poll<()> {
        let mut patience = Patience::default();
        loop {
            let mut told = false;
            let turns = self.take_turns(control, &mut patience, |event| {
                told = true;
                tell(event)
            });
            match turns {
                Turns::Enough | Turns::Ended => return Poll::Ready(()),
                _ if told => return Poll::Ready(()),
                Turns::Idle(epoch) => {
                    if self.tasks.wait(waiter, epoch, cx.waker().clone()) {
                        return Poll::Pending;
                    }
                }
                Turns::Yield => {
                    cx.waker().wake_by_ref();
                    return Poll::Pending;
                }
            }
        }
    }

    /// [`poll_events`](Self::poll_events), for one; `None` if the channel has ended.
    #[inline]
    pub(crate) fn poll_event(
        &self,
        cx: &mut Context<'_>,
        waiter: &mut Waiter,
        control: &impl Control<St>,
    ) -> Poll<Option<Event<St::Item>>> {
        let mut told = None;
        let polled = self.poll_events(cx, waiter, control, |event| {
            told = Some(event);
            ControlFlow::Break(())
        });
        polled.map(|()| told)
    }

    #[inline]
    fn next_turn(&self, mut state: MutexGuard<'_, State<St>>) -> Turn<St> {
        let (turn, wake) = state.next_turn();
        drop(state);
        self.wake(wake);
        turn
    }

    /// Hands on a stream whose stay is over, and wakes other receivers. If that panics while an item is at
    /// hand, the panic waits until that is told.
    #[cold]
    fn settle(
        &self,
        control: &impl Control<St>,
        orphan: Option<Box<Member<St>>>,
        wake: Wake,
        item_at_hand: bool,
    ) {
        let settled = catch_unwind(AssertUnwindSafe(|| {
            let arrival = afterwards(|| orphan.into_iter().for_each(|member| control.arrive(member)));
            self.wake(wake);
            drop(arrival);
        }));
        match settled {
            Err(panic) if item_at_hand => self.tell(Untold::Panicked(panic)),
            Err(panic) => resume_unwind(panic),
            Ok(()) => {}
        }
    }

    /// Polls a member that was taken out.
    #[inline]
    fn poll(
        &self,
        control: &impl Control<St>,
        key: usize,
        member: Box<Member<St>>,
    ) -> (Box<Member<St>>, Poll<Option<St::Item>>) {
        let mut polled = Polled { channel: self, control, key, member: Some(member) };
        let Member { stream, waker, .. } = &mut **polled.member.as_mut().expect("put in above");
        let poll = Pin::new(stream).poll_next(&mut Context::from_waker(waker));
        (polled.member.take().expect("put in above"), poll)
    }
}

/// Holds a member while it is polled. If that panics the member is lost, and nothing else.
struct Polled<'a, St, C: Control<St>> {
    channel: &'a Channel<St>,
    control: &'a C,
    key: usize,
    member: Option<Box<Member<St>>>,
}

impl<St, C: Control<St>> Drop for Polled<'_, St, C> {
    fn drop(&mut self) {
        if let Some(member) = self.member.take() {
            self.control.finish(self.channel, self.key, member, Departure::Removed);
        }
    }
}

/// The control side: each a step of a transition that the registry makes under its own lock.
impl<St> Channel<St> {
    pub(crate) fn new(id: ChannelId, half_close: bool) -> Self {
        let slots = Rotation::with_capacity(0);
        let tasks = Arc::clone(slots.tasks());
        let state =
            State { slots, untold: VecDeque::new(), held: Vec::new(), members: 0, phase: Phase::Open };
        Self { id, half_close, tasks, state: Mutex::new(state) }
    }

    pub(crate) fn id(&self) -> ChannelId {
        self.id
    }

    pub(crate) fn half_close(&self) -> bool {
        self.half_close
    }

    pub(crate) fn len(&self) -> usize {
        self.state.lock().members
    }

    /// The pairs of the streams whose stay here goes on.
    pub(crate) fn pairs(&self) -> Vec<usize> {
        let state = self.state.lock();
        let mut pairs = Vec::with_capacity(state.members);
        pairs.extend(state.slots.slots().iter().filter_map(|(_, slot)| match slot {
            Slot::Present(member) => Some(member.id.key()),
            Slot::Away { pair, .. } | Slot::Expected { pair } => Some(*pair),
            Slot::Leaving => None,
        }));
        pairs
    }

    /// Whether receivers have nothing to expect now.
    pub(crate) fn has_ended(&self) -> bool {
        let state = self.state.lock();
        state.phase == Phase::Removed || state.has_ended()
    }

    /// The receivers that wait.
    pub(crate) fn tasks(&self) -> &WaitList {
        &self.tasks
    }

    /// Pays what a [`Wake`] promised.
    #[inline]
    pub(crate) fn wake(&self, wake: Wake) {
        if wake.0 {
            self.tasks.wake_all();
        }
    }

    /// Gives a stream a slot, ready.
    pub(crate) fn seat(&self, member: Box<Member<St>>) -> (usize, Wake) {
        let mut state = self.state.lock();
        let key = state.expect(member.id.key());
        (key, state.land(key, member))
    }

    /// Gives a slot to a stream that is being polled elsewhere.
    pub(crate) fn expect(&self, pair: usize) -> usize {
        self.state.lock().expect(pair)
    }

    /// The expected stream comes, ready.
    pub(crate) fn land(&self, key: usize, member: Box<Member<St>>) -> Wake {
        self.state.lock().land(key, member)
    }

    /// Ends the stay of a stream by a move or removal, and takes the stream out if it is here.
    pub(crate) fn depart(
        &self,
        key: usize,
        id: StreamId,
        departure: Departure,
    ) -> (Option<Box<Member<St>>>, Wake) {
        self.state.lock().depart(key, id, departure)
    }

    /// The stream that was taken out of slot `key` to be polled is over. Returns whether its stay here had
    /// lasted until now. If so and it `Ended`, that is the caller's to tell; else the channel will.
    pub(crate) fn retire(&self, key: usize, member: &mut Member<St>, departure: Departure) -> (bool, Wake) {
        self.state.lock().retire(key, member, departure)
    }

    /// Tells a departure that a panic kept from being told.
    pub(crate) fn tell_departure(&self, id: StreamId, departure: Departure) {
        self.tell(Untold::Departed(id, departure));
    }

    fn tell(&self, untold: Untold) {
        let mut state = self.state.lock();
        if state.phase == Phase::Removed {
            return;
        }
        state.untold.push_back(untold);
        let wake = state.wake();
        drop(state);
        self.wake(wake);
    }

    /// Ends when it is empty.
    pub(crate) fn close(&self) {
        let mut state = self.state.lock();
        if state.phase == Phase::Open {
            state.phase = Phase::Closed;
        }
    }

    /// Ends at once. Gives back the streams whose stay lasted until now, and what nobody will hear, to be
    /// dropped with no lock held.
    pub(crate) fn remove(&self) -> (Vec<Removed<St>>, Unheard) {
        self.state.lock().remove()
    }
}

/// The transitions of the slots, under the lock.
impl<St> State<St> {
    #[inline]
    fn next_turn(&mut self) -> (Turn<St>, Wake) {
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
    fn was_woken(&self, key: usize) -> bool {
        self.slots.was_woken(key) || matches!(self.slots.slots()[key], Slot::Away { woken: true, .. })
    }

    /// A poll returned. Gives the stream back to the caller if its stay here is over.
    #[inline]
    fn put_back(
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

    fn expect(&mut self, pair: usize) -> usize {
        self.members += 1;
        self.slots.fill(Slot::Expected { pair })
    }

    fn land(&mut self, key: usize, mut member: Box<Member<St>>) -> Wake {
        member.waker = self.slots.lend_waker(key);
        self.slots.slots_mut()[key] = Slot::Present(member);
        self.slots.set_ready(key);
        self.wake()
    }

    fn depart(&mut self, key: usize, id: StreamId, departure: Departure) -> (Option<Box<Member<St>>>, Wake) {
        self.members -= 1;
        let slot = &mut self.slots.slots_mut()[key];
        if let Slot::Away { .. } = *slot {
            *slot = Slot::Leaving;
            self.held.push((id, departure));
            return (None, Wake::NONE);
        }
        let member = match self.slots.vacate(key) {
            Some(Slot::Present(mut member)) => {
                self.slots.give_back(key, member.take_waker());
                Some(member)
            }
            Some(Slot::Expected { .. }) => {
                // It was not lent yet; now it is where that of a slot belongs that is vacant since now.
                let waker = self.slots.lend_waker(key);
                self.slots.give_back(key, waker);
                None
            }
            _ => unreachable!("its stay was over already"),
        };
        if self.held.iter().any(|(of, _)| *of == id) {
            self.held.push((id, departure));
            return (member, Wake::NONE);
        }
        self.untold.push_back(Untold::Departed(id, departure));
        (member, self.wake())
    }

    fn retire(&mut self, key: usize, member: &mut Member<St>, departure: Departure) -> (bool, Wake) {
        self.slots.give_back(key, member.take_waker());
        match self.slots.vacate(key) {
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

    fn remove(&mut self) -> (Vec<Removed<St>>, Unheard) {
        self.phase = Phase::Removed;
        let mut streams = Vec::with_capacity(self.members);
        self.slots.slots_mut().retain(|_, slot| {
            match std::mem::replace(slot, Slot::Leaving) {
                Slot::Present(member) => {
                    streams.push((member.id.key(), Some(member)));
                    false
                }
                Slot::Expected { pair } => {
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
        self.members = 0;
        (streams, Unheard(std::mem::take(&mut self.untold)))
    }

    /// There is something to receive: receivers that are parked are to be woken.
    #[inline]
    fn wake(&mut self) -> Wake {
        Wake(self.slots.unpark())
    }

    /// If that was the last of a closed channel, all receivers end.
    fn wake_if_ended(&self) -> Wake {
        Wake(self.has_ended())
    }

    fn has_ended(&self) -> bool {
        self.phase == Phase::Closed && self.slots.slots().is_empty() && self.untold.is_empty()
    }
}

impl<St> fmt::Debug for Channel<St> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let state = self.state.lock();
        let (members, phase) = (state.members, state.phase);
        drop(state);
        f.debug_struct("Channel")
            .field("id", &self.id)
            .field("members", &members)
            .field("phase", &phase)
            .finish()
    }
}
