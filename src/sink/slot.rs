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
//!
//! # Why not one waker for stream and sink
//!
//! A transport that keeps one waker for both halves would lose no wakes then. But such a waker would have to wake both:
//! each time the peer says something, one more lock pair for the senders, and each time it takes something a poll of the
//! stream in vain. And the stream's waker is another one in each channel, while senders wait at the sink wherever its
//! stream is.
//!
//! # What is unflushed
//!
//! The slot knows whether something was handed over since the last complete flush: see [`Truth`]. So whoever flushes
//! knows what there is to flush, whoever sent it. What a poll leaves unflushed goes to the [`FlushSet`], if somebody
//! drives that; and it leaves the set in the same step in which a flush is complete, or the pair is gone.
//!
//! Its place there need have no turn before the sink wakes, if a flush was in vain since the epoch was read: then the
//! place's waker goes to the `WaitList` at once, in the step that gives the place. If the list refuses, the sink woke
//! meanwhile, and the place has a turn.

use crate::id::StreamId;
use crate::sink::flush_set::{Entry, FlushSet, How, Notes};
use crate::sync::{Mutex, MutexGuard};
use crate::unwind::afterwards;
use crate::wait_list::crowd::Crowd;
use crate::wait_list::{WaitList, Waiter};
use std::mem;
use std::sync::{Arc, Weak};
use std::task::{Context, Poll, Wake, Waker};

pub(crate) struct SinkSlot<Si> {
    id: StreamId,
    state: Mutex<State<Si>>,
    senders: Arc<Senders>,
    /// Wakes `senders`; made once.
    waker: Waker,
    /// Who drives what is left unflushed.
    flushes: Arc<FlushSet<Self>>,
    this: Weak<Self>,
}

struct State<Si> {
    /// `None` while it is being polled, and when it is gone.
    sink: Option<Si>,
    phase: Phase,
    /// See [`Truth`].
    unflushed: bool,
    asked: u64,
    /// Whether there are such as missed it. None while the sink is here.
    missed: bool,
    /// The pair is not there any more. Then it has no place: whoever has a send or a close in flight drives that himself.
    has_left: bool,
    /// Its place in the set of those to be flushed. Given and taken under this lock.
    place: Option<u32>,
}

impl<Si> State<Si> {
    /// Whether what is unflushed is the multiplexer's business.
    fn is_driven(&self) -> bool {
        !self.has_left && matches!(self.phase, Phase::Open | Phase::Closing)
    }

    /// Field by field, for a processor stalls where a whole is read of which the parts were written just before.
    #[inline]
    fn truth(&self) -> Truth<Si> {
        let Self { phase, unflushed, asked, .. } = *self;
        let has_place = self.place.is_some();
        Truth { phase, unflushed, is_flushed_next: false, flush_waits: false, has_place, asked, how: None }
    }
}

/// What is known of a sink. Whoever polls the sink keeps it true.
pub(crate) struct Truth<Si> {
    pub(crate) phase: Phase,
    /// Whether something was handed over since the last complete flush.
    pub(crate) unflushed: bool,
    /// Whoever polls it now is the one to flush it, and has said so: it need not go to the set.
    pub(crate) is_flushed_next: bool,
    /// In this poll a flush was tried, and is not complete.
    pub(crate) flush_waits: bool,
    /// It has a place in the set, as this poll began.
    pub(crate) has_place: bool,
    /// Changes whenever it is asked whether it is ready, and whenever it is given something. So who was told that it is
    /// ready, and finds the same number, knows that nobody came between.
    pub(crate) asked: u64,
    /// How it is flushed, if something was handed over in this poll.
    pub(crate) how: Option<How<SinkSlot<Si>>>,
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
    /// It failed, and somebody was told. It is not polled any more, and stays until the pair is removed.
    Failed,
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

/// Polling it.
impl<Si> SinkSlot<Si> {
    pub(crate) fn new(id: StreamId, sink: Si, flushes: Arc<FlushSet<Self>>) -> Arc<Self> {
        let senders = Arc::new(Senders(WaitList::new()));
        let waker = Waker::from(Arc::clone(&senders));
        let state = State {
            sink: Some(sink),
            phase: Phase::Open,
            unflushed: false,
            asked: 0,
            missed: false,
            has_left: false,
            place: None,
        };
        let state = Mutex::new(state);
        Arc::new_cyclic(|this| Self { id, state, senders, waker, flushes, this: Weak::clone(this) })
    }

    /// Whose sink it is.
    pub(crate) fn id(&self) -> StreamId {
        self.id
    }

    /// Leaves a waker for when the sink is back. If it is back already the task looks again.
    #[cold]
    fn miss(&self, waiter: &mut Waiter, waker: Waker) {
        self.senders.0.miss(waiter, waker);
        let mut state = self.state.lock();
        if state.sink.is_none() && !state.phase.is_last() {
            state.missed = true;
            return;
        }
        drop(state);
        self.senders.0.wake_missed();
    }

    /// Polls the sink with `poll`, and waits if that is pending or the sink is away: with `cx`, as
    /// `waiter`; not at all without.
    ///
    /// `poll` is told what is known of the sink, and keeps that true. It gets `None` for a sink that is gone or has
    /// failed.
    ///
    /// When `poll` panics the sink is lost. When a task's waker does, as it is cloned, woken or dropped, nothing is:
    /// what `poll` returned is forgotten, and a later call goes on from there. [`phase`](Self::phase) tells which
    /// it was.
    ///
    /// Cost: two lock pairs and what `poll` does; one more and a waker's clone to wait. If something was left
    /// unflushed, and if it is not any more, two more.
    #[inline]
    pub(crate) fn poll_with<R>(
        &self,
        waiting: Option<(&mut Context<'_>, &mut Waiter)>,
        poll: impl FnOnce(&mut Truth<Si>, Option<(&mut Si, &mut Context<'_>)>) -> Poll<R>,
    ) -> Poll<R> {
        self.poll_noting(&Notes::default(), waiting, poll)
    }

    /// [`poll_with`](Self::poll_with), with notes.
    // Always: the flush in a turn has two callers, of which one is hot.
    #[inline(always)]
    pub(crate) fn poll_noting<R>(
        &self,
        notes: &Notes,
        waiting: Option<(&mut Context<'_>, &mut Waiter)>,
        poll: impl FnOnce(&mut Truth<Si>, Option<(&mut Si, &mut Context<'_>)>) -> Poll<R>,
    ) -> Poll<R> {
        // The list is in memory of its own: who does not wait need not fetch it.
        let epoch = waiting.as_ref().map(|_| self.senders.0.epoch());
        notes.epoch.set(epoch);
        let Some(polled) = self.try_noting(notes, poll) else {
            if let Some((cx, waiter)) = waiting {
                self.miss(waiter, cx.waker().clone());
            }
            return Poll::Pending;
        };
        if polled.is_ready() {
            return polled;
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

    /// Polls the sink with `poll`, as [`poll_with`](Self::poll_with), and waits for nothing. `None` if it is being
    /// polled.
    #[inline]
    pub(crate) fn try_noting<R>(
        &self,
        notes: &Notes,
        poll: impl FnOnce(&mut Truth<Si>, Option<(&mut Si, &mut Context<'_>)>) -> R,
    ) -> Option<R> {
        let mut state = self.state.lock();
        if state.phase >= Phase::Failed {
            let mut truth = state.truth();
            drop(state);
            return Some(poll(&mut truth, None));
        }
        // It stays in one place until it is put back.
        let mut turn = SinkTurn { slot: self, truth: state.truth(), sink: state.sink.take(), notes };
        drop(state);
        let sink = turn.sink.as_mut()?;
        let polled = poll(&mut turn.truth, Some((sink, &mut Context::from_waker(&self.waker))));
        turn.finish();
        Some(polled)
    }

    /// Runs `f` with the sink, taken out as for a poll, also if it has failed. Whoever waits for it looks again, for `f`
    /// may have made it ready, and given it something. `None` if it is being polled, or gone. When `f` panics the sink
    /// is lost.
    pub(crate) fn with<R>(&self, f: impl FnOnce(&mut Si) -> R) -> Option<R> {
        let mut state = self.state.lock();
        let truth = state.truth();
        let sink = state.sink.take()?;
        drop(state);
        let notes = &Notes::default();
        let mut turn = SinkTurn { slot: self, truth, sink: Some(sink), notes };
        let result = f(turn.sink.as_mut().expect("taken just now"));
        turn.truth.asked += 1;
        turn.truth.unflushed = turn.truth.phase < Phase::Failed;
        let others_woken = afterwards(|| self.senders.0.wake_all());
        turn.finish();
        drop(others_woken);
        Some(result)
    }

    /// For notes, if a place in the set would wait from now on.
    pub(crate) fn epoch_for_place(&self) -> Option<usize> {
        self.flushes.is_driven().then(|| self.senders.0.epoch())
    }

    /// Waits until the slot is in another phase than `Open`.
    pub(crate) fn poll_not_open(&self, cx: &mut Context<'_>, waiter: &mut Waiter) -> Poll<()> {
        loop {
            let epoch = self.senders.0.epoch();
            if self.phase() != Phase::Open {
                return Poll::Ready(());
            }
            if self.senders.0.wait(waiter, epoch, cx.waker().clone()) {
                return Poll::Pending;
            }
        }
    }

    /// Waits no more.
    pub(crate) fn leave(&self, waiter: &mut Waiter) {
        self.senders.0.leave(waiter);
    }

    /// Gives back memory that no sender waits in. The caller drops what it gets when it holds no lock.
    ///
    /// Cost: as [`WaitList::shrink_to_fit`].
    #[allow(dead_code, reason = "until a multiplexer can be shrunk")]
    pub(crate) fn shrink_to_fit(&self) -> Option<Box<Crowd>> {
        self.senders.0.shrink_to_fit()
    }
}

/// What becomes of it.
impl<Si> SinkSlot<Si> {
    pub(crate) fn phase(&self) -> Phase {
        self.state.lock().phase
    }

    /// Whether there is no sink any more: it was closed, handed back or lost.
    pub(crate) fn is_over(&self) -> bool {
        self.phase().is_last()
    }

    /// Goes on to a later phase, and tells all who wait. A phase without a sink gives it to the caller, if
    /// it is not being polled; else it is dropped when that poll returns.
    pub(crate) fn advance(&self, phase: Phase) -> Option<Si> {
        let mut state = self.state.lock();
        state.phase.advance(phase);
        state.has_left |= matches!(phase, Phase::Ending | Phase::Gone);
        let (sink, missed) = if state.phase.is_last() {
            (state.sink.take(), mem::take(&mut state.missed))
        } else {
            (None, false)
        };
        let entry = if state.is_driven() { None } else { self.take_place(&mut state) };
        drop(state);
        let entry_left = afterwards(|| leave(entry));
        let back = afterwards(|| {
            if missed {
                self.senders.0.wake_missed();
            }
        });
        self.senders.0.wake_all();
        drop(back);
        drop(entry_left);
        sink
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
}

/// What is left unflushed.
impl<Si> SinkSlot<Si> {
    /// Nobody has promised to flush it: if something is unflushed, it goes to those who are to be flushed.
    pub(crate) fn leave_unflushed(&self) {
        let state = self.state.lock();
        // If it is being polled, whoever does so sees to that.
        if state.sink.is_some() && state.unflushed {
            self.give_place(state, None);
        }
    }

    /// Those who drove the set are gone: takes the place away.
    pub(crate) fn stop_flushing(&self) {
        let mut state = self.state.lock();
        let entry = if self.flushes.is_driven() { None } else { self.take_place(&mut state) };
        drop(state);
        leave(entry);
    }

    /// Gives it a place among those to be flushed, if it has none, and unlocks it. The place waits for the sink if a
    /// flush has waited since that epoch; else it has a turn.
    #[cold]
    fn give_place(&self, mut state: MutexGuard<'_, State<Si>>, epoch: Option<usize>) {
        let wants = state.place.is_none() && state.is_driven() && self.flushes.is_driven();
        let Some(this) = wants.then(|| self.this.upgrade()).flatten() else { return };
        let mut wake = false;
        // The list's lock is the last in the order: nobody takes another one under it.
        let waits = |waiter: &mut Waiter, waker: &Waker| {
            epoch.is_some_and(|epoch| self.senders.0.wait(waiter, epoch, waker.clone()))
        };
        if let Some((key, drivers_wait)) = self.flushes.insert(this, waits) {
            state.place = Some(u32::try_from(key).expect("there are not that many pairs"));
            wake = drivers_wait;
        }
        drop(state);
        if wake {
            self.flushes.wake();
        }
    }

    /// Takes its place away, if it has one. The caller [leaves](leave) the entry when it holds no lock.
    #[inline]
    fn take_place(&self, state: &mut State<Si>) -> Option<Entry<Self>> {
        state.place.take().and_then(|key| self.flushes.remove(key as usize))
    }
}

/// The place of an entry is over.
pub(crate) fn leave<Si>(entry: Option<Entry<SinkSlot<Si>>>) {
    if let Some(mut entry) = entry {
        entry.sink.leave(&mut entry.waiter);
    }
}

/// The sink, taken out for one poll. If that panics the sink is lost.
struct SinkTurn<'a, Si> {
    slot: &'a SinkSlot<Si>,
    truth: Truth<Si>,
    sink: Option<Si>,
    notes: &'a Notes,
}

impl<Si> SinkTurn<'_, Si> {
    /// Puts the sink back, or drops it if it is to go.
    // Always, and by reference: see `try_noting`.
    #[inline(always)]
    fn finish(&mut self) {
        let Self { slot, truth, sink, notes } = self;
        let mut state = slot.state.lock();
        debug_assert!(state.sink.is_none(), "it was taken out");
        let has_place = state.place.is_some();
        let is_as_before = state.phase == truth.phase && truth.phase < Phase::Failed && !state.missed;
        let is_settled = if truth.unflushed {
            // Without a driver there are no places.
            let is_placed = has_place || truth.is_flushed_next || !slot.flushes.is_driven();
            is_placed && (truth.how.is_none() || slot.flushes.how().is_some())
        } else {
            !has_place
        };
        if is_as_before && is_settled {
            state.sink = sink.take();
            state.unflushed = truth.unflushed;
            state.asked = truth.asked;
        } else if let Some(sink) = sink.take() {
            slot.finish_with(state, sink, truth, notes);
        }
    }
}

impl<Si> SinkSlot<Si> {
    /// Puts a sink back, or drops it if it is to go. Something has changed since it was taken, for itself or for others.
    #[inline(never)]
    fn finish_with(&self, mut state: MutexGuard<'_, State<Si>>, sink: Si, truth: &Truth<Si>, notes: &Notes) {
        let Truth { phase, unflushed, is_flushed_next, flush_waits, asked, how, .. } = *truth;
        // Before it has a place itself: there it need not be passed over.
        let how = how.filter(|_| unflushed && self.flushes.how().is_none());
        let learnt = how.is_some_and(|how| self.flushes.learn(how));
        let learnt = learnt.then(|| afterwards(|| self.flushes.wake()));
        let fails = state.phase.advance(phase) && phase == Phase::Failed;
        state.unflushed = unflushed;
        state.asked = asked;
        let missed = mem::take(&mut state.missed);
        if fails || state.phase.is_last() {
            self.finish_last(state, sink, missed);
            return;
        }
        state.sink = Some(sink);
        let told = missed.then(|| afterwards(|| self.senders.0.wake_missed()));
        if unflushed && !is_flushed_next {
            self.give_place(state, notes.epoch.get().filter(|_| flush_waits));
        } else if !unflushed && state.place.is_some() {
            self.flushed(state, notes);
        } else {
            drop(state);
        }
        drop(told);
        drop(learnt);
    }

    /// What was unflushed is flushed.
    #[inline]
    fn flushed(&self, mut state: MutexGuard<'_, State<Si>>, notes: &Notes) {
        if state.place.map(|key| key as usize) == notes.entry {
            // It is out, and not put back. Nobody else knows the place from here on.
            state.place = None;
            notes.is_over.set(true);
        } else {
            let entry = self.take_place(&mut state);
            drop(state);
            leave(entry);
        }
    }

    /// The last poll: the sink has failed and stays, or is to go.
    #[cold]
    fn finish_last(&self, mut state: MutexGuard<'_, State<Si>>, sink: Si, missed: bool) {
        let entry = self.take_place(&mut state);
        if state.phase.is_last() {
            drop(state);
            let entry_left = afterwards(|| leave(entry));
            self.let_go(sink, missed);
            drop(entry_left);
            return;
        }
        state.sink = Some(sink);
        state.unflushed = false;
        drop(state);
        // Nobody else wakes those who wait.
        let entry_left = afterwards(|| leave(entry));
        let back = afterwards(|| {
            if missed {
                self.senders.0.wake_missed();
            }
        });
        self.senders.0.wake_all();
        drop(back);
        drop(entry_left);
    }
}

impl<Si> Drop for SinkTurn<'_, Si> {
    fn drop(&mut self) {
        let Some(sink) = self.sink.take() else { return };
        drop(afterwards(|| drop(sink)));
        drop(afterwards(|| drop(self.slot.advance(Phase::Gone))));
    }
}
