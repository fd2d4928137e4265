//! Taking turns: take a member out of its slot, poll it with no lock held, put it back.

use crate::channel::departures::Spent;
use crate::channel::member::BoxedMember;
use crate::channel::slots::{Next, State, Turn, Wake};
use crate::channel::{Channel, Control};
use crate::engine::patience::Patience;
use crate::event::{Departure, StreamEvent};
use crate::id::StreamId;
use crate::sync::MutexGuard;
use crate::unwind::afterwards;
use crate::wait_list::Waiter;
use futures_core::Stream;
use std::ops::ControlFlow;
use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};
use std::pin::Pin;
use std::task::{Context, Poll};

/// An event that a channel yields.
pub(crate) type Event<T> = (StreamId, StreamEvent<T>);

/// Why [`Channel::take_turns`] returned.
pub(crate) enum Turns {
    /// The caller has enough events.
    Enough,
    /// The channel has ended.
    Ended,
    /// No member is ready; the epoch for [`WaitList::wait`](crate::wait_list::WaitList::wait).
    Idle(usize),
    /// Too many polls were in vain: the caller yields to the executor.
    Yield,
}

/// The receiving side.
impl<St: Stream> Channel<St> {
    /// Takes turns and passes each event to `report`, until `report` breaks or another [end](Turns) is reached. If the poll
    /// that yielded an item has woken other channels or tasks, which may change the next turn, it then asks `goes_on` as well.
    ///
    /// Cost: a lock pair to begin, and one for each poll.
    // `always`: a select has two callers of the same kind, and the compiler then inlines it into neither, which costs a
    // twentieth of an event.
    #[inline(always)]
    pub(crate) fn take_turns(
        &self,
        control: &impl Control<St>,
        patience: &mut Patience,
        mut report: impl FnMut(Event<St::Item>) -> ControlFlow<()>,
        goes_on: impl Fn() -> bool,
    ) -> Turns {
        let mut state = self.state.lock();
        loop {
            let next = state.next_poll();
            let next = if let Some(next) = next {
                drop(state);
                next
            } else {
                match self.next_turn(state) {
                    Turn::Next(next) => next,
                    Turn::Departed(id, departure) => {
                        if report((id, departure.into())).is_break() {
                            return Turns::Enough;
                        }
                        state = self.state.lock();
                        continue;
                    }
                    Turn::Panicked(panic) => resume_unwind(panic),
                    Turn::InVain => return Turns::Yield,
                    Turn::Ended => return Turns::Ended,
                }
            };
            let (key, member) = match next {
                Next::Poll(key, member) => (key, member),
                Next::Idle(epoch) => return Turns::Idle(epoch),
            };
            let id = member.id;
            let (member, poll) = self.poll(control, key, member);
            let (gave, mut enough) = match poll {
                Poll::Ready(Some(item)) => (true, report((id, StreamEvent::Item(item))).is_break()),
                Poll::Ready(None) => {
                    let report_here = control.finish(self, key, member, Departure::Ended);
                    if report_here && report((id, StreamEvent::Ended)).is_break() {
                        return Turns::Enough;
                    }
                    state = self.state.lock();
                    continue;
                }
                Poll::Pending => (false, false),
            };
            state = self.state.lock();
            if gave {
                state.counts.items += 1;
            } else {
                state.counts.in_vain += 1;
                patience.note(state.was_woken(key));
            }
            let (orphan, wake) = state.put_back(key, member, gave);
            if wake != Wake::NONE {
                drop(state);
                self.settle(control, orphan, wake, gave);
                enough = enough || (gave && !goes_on());
                state = self.state.lock();
            }
            if enough {
                return Turns::Enough;
            }
            if gave {
                patience.note_event();
            }
            if patience.is_exhausted() {
                return Turns::Yield;
            }
        }
    }

    /// [`take_turns`](Self::take_turns) for a task. Returns `Ready` after at least one event or when the channel has ended;
    /// otherwise the task waits.
    #[inline]
    pub(crate) fn poll_events(
        &self,
        cx: &mut Context<'_>,
        waiter: &mut Waiter,
        control: &impl Control<St>,
        mut report: impl FnMut(Event<St::Item>) -> ControlFlow<()>,
    ) -> Poll<()> {
        let mut patience = Patience::default();
        loop {
            let mut reported = false;
            let report = |event| {
                reported = true;
                report(event)
            };
            let turns = self.take_turns(control, &mut patience, report, || true);
            match turns {
                Turns::Enough | Turns::Ended => return Poll::Ready(()),
                _ if reported => return Poll::Ready(()),
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

    /// [`poll_events`](Self::poll_events) for one event. `None` if the channel has ended.
    #[inline]
    pub(crate) fn poll_event(
        &self,
        cx: &mut Context<'_>,
        waiter: &mut Waiter,
        control: &impl Control<St>,
    ) -> Poll<Option<Event<St::Item>>> {
        let mut reported = None;
        let polled = self.poll_events(cx, waiter, control, |event| {
            reported = Some(event);
            ControlFlow::Break(())
        });
        polled.map(|()| reported)
    }

    #[inline]
    fn next_turn(&self, mut state: MutexGuard<'_, State<St>>) -> Turn<St> {
        let mut spent = Spent::default();
        let (turn, wake) = state.next_turn(&mut spent);
        drop(state);
        drop(spent);
        if wake != Wake::NONE {
            self.wake_others(wake);
        }
        turn
    }

    /// Wakes tasks before a turn is completed. If a wake panics, the panic is reported after the turn.
    #[cold]
    fn wake_others(&self, wake: Wake) {
        if let Err(panic) = catch_unwind(AssertUnwindSafe(|| self.wake(wake))) {
            self.report_panic(panic);
        }
    }

    /// Passes on a stream whose stay has ended, and wakes other receivers. If this panics and an item was yielded, the panic
    /// waits until the item is reported.
    #[cold]
    fn settle(
        &self,
        control: &impl Control<St>,
        orphan: Option<BoxedMember<St>>,
        wake: Wake,
        item_at_hand: bool,
    ) {
        let settled = catch_unwind(AssertUnwindSafe(|| {
            let arrival = afterwards(|| orphan.into_iter().for_each(|member| control.arrive(member)));
            self.wake(wake);
            drop(arrival);
        }));
        match settled {
            Err(panic) if item_at_hand => self.report_panic(panic),
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
        member: BoxedMember<St>,
    ) -> (BoxedMember<St>, Poll<Option<St::Item>>) {
        let mut polled = Polled { channel: self, control, key, member: Some(member) };
        let poll = polled.member.as_mut().expect("put in above").as_mut().poll();
        (polled.member.take().expect("put in above"), poll)
    }
}

impl<St> Channel<St> {
    /// Runs `f` with a stream that was taken out of slot `key` as for a poll, and puts the stream back. The stream has a
    /// turn afterwards, because `f` may have made it ready.
    pub(crate) fn with_stream<R>(
        &self,
        control: &impl Control<St>,
        key: usize,
        member: BoxedMember<St>,
        f: impl FnOnce(Pin<&mut St>) -> R,
    ) -> R {
        let mut polled = Polled { channel: self, control, key, member: Some(member) };
        let result = f(polled.member.as_mut().expect("put in above").as_mut().stream());
        let member = polled.member.take().expect("put in above");
        let (orphan, wake) = self.state.lock().put_back(key, member, true);
        let arrival = afterwards(|| orphan.into_iter().for_each(|member| control.arrive(member)));
        self.wake(wake);
        drop(arrival);
        result
    }
}

/// Holds a member during its poll. If the poll panics, only this member is lost.
struct Polled<'a, St, C: Control<St>> {
    channel: &'a Channel<St>,
    control: &'a C,
    key: usize,
    member: Option<BoxedMember<St>>,
}

impl<St, C: Control<St>> Drop for Polled<'_, St, C> {
    fn drop(&mut self) {
        if let Some(member) = self.member.take() {
            self.control.finish(self.channel, self.key, member, Departure::Removed);
        }
    }
}
