//! A sink shared by all who send to it.
//!
//! The sink is taken out for the duration of one poll and put back; no lock of ours is held while it is
//! polled, and nobody holds it across an await. So a sender that is not polled holds up nobody, and a sink
//! that is not ready makes only those wait who send to it.
//!
//! The sink is polled with a waker of the slot's own, and whoever found it not ready waits in the slot's
//! [`WaitList`]. The epoch is read before the sink is taken, and a wake of the sink raises it. So a wake that
//! comes before the sender is in the list is not lost: the list refuses.
//!
//! Whoever missed the sink, because it was being polled, leaves a waker and then, under the slot's lock, a note
//! that there are such; if the sink is back by then it wakes them itself. Who puts the sink back and finds the
//! note wakes them: them alone, for the others know already that the sink is not ready. (If each return woke
//! them all, senders on several threads would keep each other awake.)

use crate::sync::Mutex;
use crate::unwind::afterwards;
use crate::wait_list::crowd::Crowd;
use crate::wait_list::{WaitList, Waiter};
use std::mem;
use std::sync::Arc;
use std::task::{Context, Poll, Wake, Waker};

#[derive(Debug)]
pub(crate) struct SinkSlot<Si> {
    state: Mutex<State<Si>>,
    senders: Arc<Senders>,
    /// Wakes `senders`; made once.
    waker: Waker,
}

#[derive(Debug)]
enum State<Si> {
    Here {
        phase: Phase,
        sink: Si,
    },
    /// It is being polled, or it is gone.
    Away {
        phase: Phase,
        /// Whether there are such as missed it.
        missed: bool,
    },
}

impl<Si> State<Si> {
    fn phase(&self) -> Phase {
        match self {
            Self::Here { phase, .. } | Self::Away { phase, .. } => *phase,
        }
    }

    /// Goes on to a later phase. Returns whether it did.
    fn advance(&mut self, later: Phase) -> bool {
        match self {
            Self::Here { phase, .. } | Self::Away { phase, .. } => phase.advance(later),
        }
    }

    /// Takes the sink, if it is here, and the note of such as missed it.
    fn take(&mut self) -> (Option<Si>, bool) {
        match mem::replace(self, Self::Away { phase: self.phase(), missed: false }) {
            Self::Here { sink, .. } => (Some(sink), false),
            Self::Away { missed, .. } => (None, missed),
        }
    }
}

/// What may still be done with a sink.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Phase {
    /// All.
    Open,
    /// The stream is over: sends in flight go on, and then it is dropped with the last of them.
    Ending,
    /// It is being closed: nothing new is handed to it.
    Closing,
    /// It was closed, and so flushed.
    Closed,
    /// It was handed back or lost.
    Gone,
}

impl Phase {
    /// Goes on to `later`, unless it is there or further. Returns whether it did.
    fn advance(&mut self, later: Self) -> bool {
        let advances = *self < later && !self.is_last();
        if advances {
            *self = later;
        }
        advances
    }

    /// Whether there is no sink any more.
    fn is_last(self) -> bool {
        matches!(self, Self::Closed | Self::Gone)
    }
}

/// Those who wait for the sink.
#[derive(Debug)]
struct Senders(WaitList);

impl Wake for Senders {
    fn wake(self: Arc<Self>) {
        self.0.wake_all();
    }

    fn wake_by_ref(self: &Arc<Self>) {
        self.0.wake_all();
    }
}

/// What came of trying to take the sink.
enum Taken<'a, Si> {
    Sink(SinkTurn<'a, Si>),
    /// It is being polled by someone else.
    Busy,
    /// It is not there any more.
    Gone(Phase),
}

impl<Si> SinkSlot<Si> {
    pub(crate) fn new(sink: Si) -> Self {
        let senders = Arc::new(Senders(WaitList::new()));
        let waker = Waker::from(Arc::clone(&senders));
        let state = State::Here { phase: Phase::Open, sink };
        Self { state: Mutex::new(state), senders, waker }
    }

    /// Takes the sink for one poll.
    #[inline]
    fn take(&self) -> Taken<'_, Si> {
        let mut state = self.state.lock();
        match *state {
            State::Here { phase, .. } => Taken::Sink(SinkTurn { slot: self, phase, sink: state.take().0 }),
            State::Away { phase, .. } if phase.is_last() => Taken::Gone(phase),
            State::Away { .. } => Taken::Busy,
        }
    }

    /// Leaves a waker for when the sink is back. If it is back already the task looks again.
    #[cold]
    fn miss(&self, waiter: &mut Waiter, waker: Waker) {
        self.senders.0.miss(waiter, waker);
        match &mut *self.state.lock() {
            State::Away { phase, missed } if !phase.is_last() => {
                *missed = true;
                return;
            }
            _ => {}
        }
        self.senders.0.wake_missed();
    }

    /// Drops a sink that is not to be put back, and tells all who wait.
    #[cold]
    fn let_go(&self, sink: Si, missed: bool) {
        let told = afterwards(|| self.senders.0.wake_all());
        let back = afterwards(|| {
            if missed {
                self.senders.0.wake_missed();
            }
        });
        drop(sink);
        drop(back);
        drop(told);
    }

    /// Polls the sink with `poll`, and waits if that is pending or the sink is away: with `cx`, as
    /// `waiter`; not at all without.
    ///
    /// `poll` is told the phase, which it may advance, and gets `None` for the sink when that is gone.
    ///
    /// When `poll` panics the sink is lost. When a task's waker does, as it is cloned, woken or dropped, nothing is:
    /// what `poll` returned is forgotten, and a later call goes on from there. [`phase`](Self::phase) tells which
    /// it was.
    ///
    /// Cost: two lock pairs and what `poll` does; one more and a waker's clone to wait.
    #[inline]
    pub(crate) fn poll_with<R>(
        &self,
        waiting: Option<(&mut Context<'_>, &mut Waiter)>,
        poll: impl FnOnce(&mut Phase, Option<(&mut Si, &mut Context<'_>)>) -> Poll<R>,
    ) -> Poll<R> {
        // The list is in memory of its own: who does not wait need not fetch it.
        let epoch = waiting.as_ref().map(|_| self.senders.0.epoch());
        match self.take() {
            Taken::Sink(mut turn) => {
                let sink = turn.sink.as_mut().expect("taken just now");
                let polled = poll(&mut turn.phase, Some((sink, &mut Context::from_waker(&self.waker))));
                turn.finish();
                if polled.is_ready() {
                    return polled;
                }
            }
            Taken::Gone(mut phase) => return poll(&mut phase, None),
            Taken::Busy => {
                if let Some((cx, waiter)) = waiting {
                    self.miss(waiter, cx.waker().clone());
                }
                return Poll::Pending;
            }
        }
        if let (Some((cx, waiter)), Some(epoch)) = (waiting, epoch) {
            if !self.senders.0.wait(waiter, epoch, cx.waker().clone()) {
                // Woken meanwhile. Through the executor, for a sink may wake itself in each poll, as all do
                // when tokio's cooperative budget is used up.
                cx.waker().wake_by_ref();
            }
        }
        Poll::Pending
    }

    /// Runs `f` with the sink, taken out as for a poll. Whoever waits for it looks again, for `f` may have made it
    /// ready. `None` if it is being polled, or gone. When `f` panics the sink is lost.
    pub(crate) fn with<R>(&self, f: impl FnOnce(&mut Si) -> R) -> Option<R> {
        let Taken::Sink(mut turn) = self.take() else { return None };
        let result = f(turn.sink.as_mut().expect("taken just now"));
        let others_woken = afterwards(|| self.senders.0.wake_all());
        turn.finish();
        drop(others_woken);
        Some(result)
    }

    /// Waits no more.
    pub(crate) fn leave(&self, waiter: &mut Waiter) {
        self.senders.0.leave(waiter);
    }

    /// Gives back memory that no sender waits in. The caller drops what it gets when it holds no lock.
    ///
    /// Cost: as [`WaitList::shrink_to_fit`].
    pub(crate) fn shrink_to_fit(&self) -> Option<Box<Crowd>> {
        self.senders.0.shrink_to_fit()
    }

    pub(crate) fn phase(&self) -> Phase {
        self.state.lock().phase()
    }

    /// Whether there is no sink any more: it was closed, handed back or lost.
    pub(crate) fn is_over(&self) -> bool {
        self.phase().is_last()
    }

    /// Goes on to a later phase, and tells all who wait. A phase without a sink gives it to the caller, if
    /// it is not being polled; else it is dropped when that poll returns.
    pub(crate) fn advance(&self, phase: Phase) -> Option<Si> {
        let mut state = self.state.lock();
        state.advance(phase);
        let (sink, missed) = if state.phase().is_last() { state.take() } else { (None, false) };
        drop(state);
        let back = afterwards(|| {
            if missed {
                self.senders.0.wake_missed();
            }
        });
        self.senders.0.wake_all();
        drop(back);
        sink
    }
}

/// The sink, taken out for one poll. If that panics the sink is lost.
pub(crate) struct SinkTurn<'a, Si> {
    slot: &'a SinkSlot<Si>,
    phase: Phase,
    sink: Option<Si>,
}

impl<Si> SinkTurn<'_, Si> {
    /// Puts the sink back, or drops it if it is to go.
    #[inline]
    fn finish(mut self) {
        let slot = self.slot;
        let sink = self.sink.take().expect("it was not lost");
        let mut state = slot.state.lock();
        let State::Away { phase, missed } = &mut *state else { unreachable!("it was taken out") };
        phase.advance(self.phase);
        let (phase, missed) = (*phase, *missed);
        if phase.is_last() {
            drop(state);
            slot.let_go(sink, missed);
        } else {
            *state = State::Here { phase, sink };
            drop(state);
            if missed {
                slot.senders.0.wake_missed();
            }
        }
    }
}

impl<Si> Drop for SinkTurn<'_, Si> {
    fn drop(&mut self) {
        let Some(sink) = self.sink.take() else { return };
        drop(afterwards(|| drop(sink)));
        drop(afterwards(|| drop(self.slot.advance(Phase::Gone))));
    }
}
