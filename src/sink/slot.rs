//! A sink that is shared by its senders.
//!
//! The sink is taken out for one poll and put back. No lock of the crate is held while the sink is polled, and no sender
//! holds the sink across an await. So a sender that is not polled delays no other sender, and a sink that is not ready
//! delays only its own senders.
//!
//! The sink is polled with a waker of the slot's own. A sender that found the sink not ready waits in the slot's
//! [`WaitList`]. The epoch is read before the sink is taken, and a wake of the sink raises it. So a wake that comes before
//! the sender is in the list is not lost: the list refuses the sender.
//!
//! A sink owes a wake only if its *last* poll returned `Pending`. If a sender waits, and then a poll of another sender ends
//! with `Ready`, the sink may have forgotten the waker. Such a poll therefore wakes those that wait, unless the sink woke
//! them meanwhile ([`State::waits`]); each of them polls the sink again, or has what it waited for.
//!
//! A sender misses the sink if the sink is being polled. It leaves a waker and then, under the slot's lock, sets the flag
//! `missed`; if the sink is back by then, the sender wakes those that missed it. A poll that puts the sink back and finds the
//! flag wakes the senders that missed it, and no others: the others already know that the sink is not ready. (If each return
//! of the sink woke all of them, senders on several threads would keep each other awake.)
//!
//! # Why not one waker for stream and sink
//!
//! With one waker, a transport that keeps a single waker for both halves would lose no wakes. But such a waker would have to
//! wake both halves: one more lock pair for the senders each time the peer sends, and a poll of the stream in vain each time
//! the peer reads. Besides, the stream has another waker in each channel, while senders wait at the sink in whatever channel
//! its stream is.
//!
//! # Unflushed sinks
//!
//! The slot knows whether the sink got an item since the last complete flush: see [`Truth`]. So a flush covers the items of
//! all senders. A sink that a poll leaves unflushed gets a place in the [`FlushSet`], if that has a driver. The place is taken
//! away in the same step in which a flush completes or the pair leaves.
//!
//! If a flush did not complete since the epoch was read, the place needs no turn before the sink wakes: its waker goes into
//! the `WaitList` in the step that gives the place. If the list refuses it, the sink woke meanwhile, and the place has a turn.

use crate::id::StreamId;
use crate::sink::flush_set::{FlushSet, How, Left, Notes};
use crate::sync::{Mutex, MutexGuard};
use crate::unwind::afterwards;
use crate::wait_list::crowd::Crowd;
use crate::wait_list::{WaitList, Waiter};
use std::mem;
use std::num::NonZeroU32;
use std::sync::{Arc, Weak};
use std::task::{Context, Poll, Wake, Waker};

/// A send touches the reference count, which is just before this, and `state`, and seldom the rest. In this order they share
/// cache lines. (The compiler would put `state` last.)
#[repr(C)]
pub(crate) struct SinkSlot<Si> {
    state: Mutex<State<Si>>,
    id: StreamId,
    senders: Arc<Senders>,
    /// Wakes `senders`; made once.
    waker: Waker,
    /// The set of unflushed sinks of the multiplexer.
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
    /// If tasks may wait for a wake of the sink: the low bits of the list's epoch when the last of them had polled it. If the
    /// epoch has changed, they were woken. (If it has come round to the same bits, they are woken in vain.)
    waits: Option<u8>,
    /// Whether senders missed the sink. `false` while the sink is here.
    missed: bool,
    /// The pair has left. Then the sink has no place in the flush set: a send or a close in flight drives the sink itself.
    has_left: bool,
    /// Its place in the flush set. Given and taken under this lock.
    place: Option<Place>,
}

/// The key of a place in the flush set, plus 1, so that an `Option` of it is no larger.
#[derive(Clone, Copy)]
struct Place(NonZeroU32);

impl Place {
    fn new(key: usize) -> Self {
        let key = u32::try_from(key).expect("there are not that many pairs");
        Self(NonZeroU32::MIN.saturating_add(key))
    }

    fn key(self) -> usize {
        self.0.get() as usize - 1
    }
}

impl<Si> State<Si> {
    /// Whether the drivers of the flush set are to flush it.
    fn is_driven(&self) -> bool {
        !self.has_left && matches!(self.phase, Phase::Open | Phase::Closing)
    }

    /// Copies field by field: a processor stalls if it reads a whole whose parts were written just before.
    #[inline]
    fn truth(&self) -> Truth<Si> {
        let Self { phase, unflushed, asked, .. } = *self;
        let has_place = self.place.is_some();
        Truth {
            phase,
            unflushed,
            is_flushed_next: false,
            flush_waits: false,
            is_pending: None,
            has_place,
            asked,
            how: None,
        }
    }
}

fn low_bits(epoch: usize) -> u8 {
    epoch.to_le_bytes()[0]
}

/// The known state of a sink. Code that polls the sink keeps it true.
pub(crate) struct Truth<Si> {
    pub(crate) phase: Phase,
    /// Whether the sink got an item since the last complete flush.
    pub(crate) unflushed: bool,
    /// The sender that polls it now will flush it, so it needs no place in the flush set.
    pub(crate) is_flushed_next: bool,
    /// In this poll a flush was tried and did not complete.
    pub(crate) flush_waits: bool,
    /// Whether the last call of the sink in this poll returned `Pending`. `None` if there was none.
    pub(crate) is_pending: Option<bool>,
    /// It had a place in the flush set when this poll began.
    pub(crate) has_place: bool,
    /// Changes with each `poll_ready`, each `start_send`, and each use of the sink in place. A sender that found the sink
    /// ready, and later reads the same number, knows that nothing came between.
    pub(crate) asked: u64,
    /// How it is flushed, if it got an item in this poll.
    pub(crate) how: Option<How<SinkSlot<Si>>>,
}

/// The phases of a sink.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Phase {
    /// It takes items.
    Open,
    /// Its stream has ended and the pair has left. Sends in flight go on, and the last of them drops the sink.
    Ending,
    /// It is being closed and gets no more items.
    Closing,
    /// It failed, and the failure was reported. It is not polled any more, and stays until the pair is removed.
    Failed,
    /// It was flushed and closed.
    Closed,
    /// It was returned to the caller of a removal, or dropped.
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

/// The tasks that wait for the sink.
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
        let state = State {
            sink: Some(sink),
            phase: Phase::Open,
            unflushed: false,
            asked: 0,
            waits: None,
            missed: false,
            has_left: false,
            place: None,
        };
        let state = Mutex::new(state);
        Arc::new_cyclic(|this| {
            // Allocated after the slot, which then often lies directly behind the waker of its pair's member.
            let senders = Arc::new(Senders(WaitList::new()));
            let waker = Waker::from(Arc::clone(&senders));
            Self { state, id, senders, waker, flushes, this: Weak::clone(this) }
        })
    }

    /// The stream of this sink.
    pub(crate) fn id(&self) -> StreamId {
        self.id
    }

    /// Leaves a waker that is woken when the sink is back. If it is back already, wakes it.
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

    /// Polls the sink with `poll`. With `waiting`, waits if `poll` returns `Pending` or another poll has the sink.
    ///
    /// `poll` gets the [`Truth`] of the sink and keeps it true. It gets `None` for a sink that is gone or has failed.
    ///
    /// If `poll` panics, the sink is lost. If a task's waker panics when it is cloned, woken or dropped, the sink is not
    /// lost: the result of `poll` is dropped, and a later call continues from there. [`phase`](Self::phase) shows which of
    /// the two it was.
    ///
    /// Cost: two lock pairs beyond `poll`. To wait, one more and a clone of the waker. Two more if the sink gets a place in
    /// the flush set or loses it.
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
        // The list is in memory of its own, which a caller that does not wait need not fetch.
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
                // The sink woke meanwhile. Yield to the executor, because a sink may wake itself in each poll, as all tokio
                // sockets do when the cooperative budget is used up.
                cx.waker().wake_by_ref();
            }
        }
        Poll::Pending
    }

    /// Polls the sink with `poll`, as [`poll_with`](Self::poll_with), and does not wait. `None` if another poll has the
    /// sink.
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

    /// Runs `f` with the sink, taken out as for a poll, also if it has failed. Then wakes all waiters, because `f` may have
    /// made the sink ready or given it items. `None` if another poll has the sink, or it is gone. If `f` panics, the sink is
    /// lost.
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

    /// The epoch for [`Notes`], if the flush set has a driver.
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

/// Its phases.
impl<Si> SinkSlot<Si> {
    pub(crate) fn phase(&self) -> Phase {
        self.state.lock().phase
    }

    /// Whether the sink was closed or is gone.
    pub(crate) fn is_over(&self) -> bool {
        self.phase().is_last()
    }

    /// Goes on to a later phase, and wakes all waiters. If no sink is kept in that phase, the caller gets the sink; or, if the
    /// sink is being polled, it is dropped when that poll returns.
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

    /// Drops a sink that is not put back, and wakes all waiters.
    #[cold]
    fn let_go(&self, sink: Si, missed: bool) {
        let woken = afterwards(|| self.senders.0.wake_all());
        let back = afterwards(|| {
            if missed {
                self.senders.0.wake_missed();
            }
        });
        drop(sink);
        drop(back);
        drop(woken);
    }
}

/// Its place in the flush set.
impl<Si> SinkSlot<Si> {
    /// Gives the sink a place if it is unflushed. To be called when a sender that was to flush it is gone, or a first driver
    /// has come.
    pub(crate) fn leave_unflushed(&self) {
        let state = self.state.lock();
        // If the sink is being polled, that poll does this when it puts the sink back.
        if state.sink.is_some() && state.unflushed {
            self.give_place(state, None);
        }
    }

    /// Takes its place away, if the flush set has no driver.
    pub(crate) fn stop_flushing(&self) {
        let mut state = self.state.lock();
        let entry = if self.flushes.is_driven() { None } else { self.take_place(&mut state) };
        drop(state);
        leave(entry);
    }

    /// Gives it a place in the flush set, if it has none and the set has a driver, and unlocks it. With an epoch, a flush has
    /// waited since then, and the place waits for the sink; without one, it has a turn.
    #[cold]
    fn give_place(&self, mut state: MutexGuard<'_, State<Si>>, epoch: Option<usize>) {
        let wants = state.place.is_none() && state.is_driven() && self.flushes.is_driven();
        let Some(this) = wants.then(|| self.this.upgrade()).flatten() else { return };
        let mut wake = false;
        // The list's lock is the last in the lock order: no other lock is taken under it.
        let waits = |waiter: &mut Waiter, waker: &Waker| {
            epoch.is_some_and(|epoch| self.senders.0.wait(waiter, epoch, waker.clone()))
        };
        if let Some((key, drivers_wait)) = self.flushes.insert(this, waits) {
            state.place = Some(Place::new(key));
            wake = drivers_wait;
        }
        drop(state);
        if wake {
            self.flushes.wake();
        }
    }

    /// Takes its place away, if it has one. The caller [leaves](leave) the entry when it holds no lock.
    #[inline]
    fn take_place(&self, state: &mut State<Si>) -> Option<Left<Self>> {
        state.place.take().and_then(|place| self.flushes.remove(place.key()))
    }
}

/// Ends the wait of an entry whose place is over.
pub(crate) fn leave<Si>(entry: Option<Left<SinkSlot<Si>>>) {
    if let Some(mut entry) = entry {
        entry.sink.leave(&mut entry.waiter);
    }
}

/// The sink, taken out for one poll. If the poll panics, the sink is lost.
struct SinkTurn<'a, Si> {
    slot: &'a SinkSlot<Si>,
    truth: Truth<Si>,
    sink: Option<Si>,
    notes: &'a Notes,
}

impl<Si> SinkTurn<'_, Si> {
    /// Puts the sink back, or drops it if its phase keeps no sink.
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
        let lapses = truth.is_pending == Some(false) && state.waits.is_some();
        if is_as_before && is_settled && !lapses {
            state.sink = sink.take();
            state.unflushed = truth.unflushed;
            state.asked = truth.asked;
            if truth.is_pending == Some(true) {
                slot.note_wait(&mut state, notes);
            }
        } else if let Some(sink) = sink.take() {
            slot.finish_with(state, sink, truth, notes);
        }
    }
}

impl<Si> SinkSlot<Si> {
    /// A task waits because this poll was in vain. (If the poll has no epoch, none does, but others may wait since earlier
    /// ones.) The epoch is read now: others may have begun to wait since the epoch of this poll.
    #[inline]
    fn note_wait(&self, state: &mut State<Si>, notes: &Notes) {
        if notes.epoch.get().is_some() {
            state.waits = Some(low_bits(self.senders.0.epoch()));
        }
    }

    /// [`SinkTurn::finish`] if more than the sink's own fields has changed since it was taken.
    #[inline(never)]
    fn finish_with(&self, mut state: MutexGuard<'_, State<Si>>, sink: Si, truth: &Truth<Si>, notes: &Notes) {
        let Truth { phase, unflushed, is_flushed_next, flush_waits, asked, how, .. } = *truth;
        // Before the sink has a place itself, so that its place is not passed over.
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
        let lapses = match truth.is_pending {
            Some(true) => {
                self.note_wait(&mut state, notes);
                false
            }
            Some(false) => state.waits.take() == Some(low_bits(self.senders.0.epoch())),
            None => false,
        };
        let lapsed = lapses.then(|| afterwards(|| self.senders.0.wake_all()));
        state.sink = Some(sink);
        let woken = missed.then(|| afterwards(|| self.senders.0.wake_missed()));
        if unflushed && !is_flushed_next {
            self.give_place(state, notes.epoch.get().filter(|_| flush_waits));
        } else if !unflushed && state.place.is_some() {
            self.flushed(state, notes);
        } else {
            drop(state);
        }
        drop(woken);
        drop(lapsed);
        drop(learnt);
    }

    /// Takes the place away: a flush is complete.
    #[inline]
    fn flushed(&self, mut state: MutexGuard<'_, State<Si>>, notes: &Notes) {
        if state.place.map(Place::key) == notes.entry {
            // The entry is out for this poll and will not be put back. From here on only its owner knows the place.
            state.place = None;
            notes.is_over.set(true);
        } else {
            let entry = self.take_place(&mut state);
            drop(state);
            leave(entry);
        }
    }

    /// The last poll: the sink has failed and stays, or is dropped.
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
        // The sink itself will not wake them any more.
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
