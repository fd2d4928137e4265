//! [`ChannelSelect`]: several channels as one [`Stream`], by priority and weight.
//!
//! A select is a [`Rotation`] of channels. Each channel has a slot with a waker, and this waker waits in the channel's
//! list, beside the tasks of its receivers. When a channel is woken, the select moves it into the [`Schedule`]. The
//! schedule knows the ready channels and chooses the next turn.
//!
//! **The shortcut.** When the last ready channel becomes idle, the task is about to sleep. Then the list of this channel gets
//! the waker of the task itself. A wake of this channel takes as many steps as with a receiver: it does not go through the
//! slots. The epoch of the list says whether the channel was woken; the select compares it before each event. After [`LOOKS`]
//! comparisons in vain, and before another task sleeps, the list gets the waker of the slot instead. For all other channels,
//! the task waits in the list of the slots, and stays there until one of them wakes it. It may therefore be woken twice
//! while it sleeps once.
//!
//! **No wake is lost.** One of three things holds for a channel that is not ready in the schedule. Its slot's waker is in
//! the channel's list, since an epoch at which the channel was idle and parked; or the waker was called, and its bit is
//! not absorbed yet; or the channel has the shortcut. Therefore a channel stops being ready in one place only: when it was
//! idle and the list took one of the wakers.
//!
//! When a poll returns `Pending` because no channel is ready, two things hold for its task:
//!
//! - *The channel of the shortcut wakes it.* The task is the one whose waker the list got, and in this poll the list was seen
//!   in the same epoch. A list gives a waker away only in a `wake_all`, which begins a new epoch and then calls the waker. So
//!   it either was not called yet, or it was called during this poll, after which an executor polls again.
//! - *The slots wake it.* If the list of the slots is still in the epoch in which this task entered it, the same is true of
//!   that list. The root of the slots was parked then. It is parked still, and the next wake of a slot calls `wake_all`; or a
//!   wake found it parked and is about to call `wake_all`.
//!
//! One more slot stands for the unflushed sinks. This slot is woken as every driver of the flush set is.

mod channels;
mod recv_many;
mod settings;
mod stats;
#[cfg(all(test, not(loom_models)))]
mod tests;

use channels::depart;
pub use recv_many::SelectMany;
pub use stats::{SelectStats, ShareStats};

use crate::channel::Channel;
use crate::channel::departures::Panic;
use crate::channel::pace::Pace;
use crate::channel::receiver::EVENTS_PER_POLL;
use crate::channel::schedule::Schedule;
use crate::channel::turns::Turns;
use crate::engine::patience::Patience;
use crate::engine::rotation::Rotation;
use crate::event::StreamEvent;
use crate::id::{ChannelId, StreamId};
use crate::registry::Registry;
use crate::sink::flush_turn::{Flushed, flush_next};
use crate::sync::Mutex;
use crate::unwind::{afterwards, for_each};
use crate::wait_list::Waiter;
use futures_core::Stream;
use futures_core::stream::FusedStream;
use std::fmt;
use std::num::NonZeroU32;
use std::ops::ControlFlow;
use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};
use std::pin::Pin;
use std::ptr;
use std::sync::Arc;
use std::task::{Context, Poll, Waker};

/// The default of [`ChannelSelect::starvation_bound`].
const STARVATION_BOUND: u32 = 64;

/// The default of [`ChannelSelect::yield_every`].
const YIELD_EVERY: Option<NonZeroU32> = NonZeroU32::new(4);

/// How many streams one call may poll in vain, over all channels and between the events of a batch, before the call ends.
/// The last channel adds fewer than this number, and so do the events that a batch takes together from one channel.
/// Therefore a call polls fewer than three times this number in vain.
const FRUITLESS_POLLS: usize = 64;

/// How often the select looks at the [`Shortcut`] in vain before it gives it up: then events beside it cost no more looks, and
/// another channel may have it. To give it up costs a lock pair.
const LOOKS: u32 = 32;

/// The slot of the unflushed sinks.
const FLUSHES: usize = 0;

/// An event that a select yields.
pub(crate) type SelectEvent<T> = (ChannelId, StreamId, StreamEvent<T>);

/// Receives from several channels, by priority and weight, and flushes unflushed sinks.
///
/// Created by [`Multiplexer::select`](crate::Multiplexer::select). A select is a `Stream` of `(ChannelId, StreamId,
/// StreamEvent)`. Channels can be added and removed, and their [`Share`](crate::Share)s changed, at any time. The select
/// counts as a [`ChannelReceiver`](crate::ChannelReceiver) of each of its channels. A channel may have other receivers and
/// selects; each event goes to one of them.
///
/// ```
/// use futures::{StreamExt, channel::mpsc, executor::block_on, stream};
/// use stream_multiplexer::{Multiplexer, Share, StreamEvent};
///
/// const PAYING: usize = 1;
/// const FREE: usize = 2;
///
/// let multiplexer = Multiplexer::new();
/// multiplexer.add_channel(PAYING)?;
/// multiplexer.add_channel(FREE)?;
/// let (sink, peer) = mpsc::unbounded();
/// multiplexer.add_stream_pair(sink.clone(), stream::iter(vec!["news?"]), FREE)?;
/// multiplexer.add_stream_pair(sink, stream::iter(vec!["more?", "news?"]), PAYING)?;
/// multiplexer.close();
///
/// let mut select = multiplexer.select();
/// select.add(PAYING, Share::new())?;
/// select.add(FREE, Share::new().priority(1))?;
///
/// let mut asked = Vec::new();
/// block_on(async {
///     while let Some((channel, id, event)) = select.next().await {
///         if let StreamEvent::Item(question) = event {
///             asked.push((channel, question));
///             let _sent = multiplexer.try_send(id, "nothing new");
///         }
///     }
/// });
/// assert_eq!(asked, [(PAYING, "more?"), (PAYING, "news?"), (FREE, "news?")]);
/// # drop(select);
/// # assert_eq!(block_on(peer.collect::<Vec<_>>()).len(), 3);
/// # Ok::<(), stream_multiplexer::MultiplexerError>(())
/// ```
///
/// # Priority
///
/// Before **every** event, the select chooses the ready channel with the lowest [priority number](crate::Share::priority).
/// To prevent starvation, a *relief round* follows after k events in a row that were taken ahead of a ready channel of
/// lower priority. In a relief round, each lower channel that was waiting when the round began has one turn; the channel
/// that has waited longest is first. k is the [`starvation_bound`](Self::starvation_bound), 64 by default.
///
/// **Bound.** Among n channels of distinct priorities, a ready channel waits for at most k + n − 2 events of others, and
/// the channel of the highest priority waits for at most n − 1. Both maxima are reached when all channels are always ready.
///
/// A channel is ready after it was added, after a turn that yielded an event, and after one of its streams or a departure
/// has woken it. A channel that becomes ready while another channel has its turn is considered before the next event. A turn
/// may end without an event because 64 streams were polled in vain, or because two in a row woke themselves. Such a turn
/// counts as an event of the channel that was polled last. Within a channel, the bound on [fairness](crate#fairness) holds.
///
/// # Weights
///
/// Channels of equal priority share by [weight](crate::Share::weight). No channel waits for a turn that another channel
/// does not use. An item costs 1, or the value that the function set by [`cost`](Self::cost) returns. A turn adds cost /
/// weight to the account of its channel. The channel with the smallest account is next; among equals, the channel that has
/// waited longest. An idle channel gains no credit, and keeps its debt.
///
/// **Bound.** Of two channels that stay ready, neither gets ahead of the other by more than c₁ / w₁ + c₂ / w₂ over any
/// span, where c is the greatest cost of an item and w is the weight. Relief rounds add to this difference.
///
/// # Yielding
///
/// After [`yield_every`](Self::yield_every) events in a row, the select yields to the executor; the documentation of that
/// method gives the reason. A call that polled 64 streams in vain, or two in a row that woke themselves, also yields.
///
/// # Unflushed sinks
///
/// A send that does not wait, or that was dropped, may leave items in the sink's own buffer. The select flushes such sinks
/// when they wake, as a [`Flusher`](crate::Flusher) does. It flushes all sinks of the multiplexer, not only those of its own
/// channels. A program that polls a select therefore needs no `Flusher`. While channels have events, the select flushes at
/// most one sink before each event.
///
/// If a sink fails when the select flushes it, the select yields [`StreamEvent::SinkFailed`] with the channel that the
/// stream is in at that moment, even if that channel is not in the select. The select drops the error. To receive the
/// errors, call [`drive_flushes(false)`](Self::drive_flushes) and run a `Flusher`. While channels have events, the select
/// yields at most one failure between two of them.
///
/// The select can flush sinks after the first send in this multiplexer that leaves items unflushed, or after a `Flusher`
/// was polled. Until then it does not flush sinks that were used only by [`with_sink`](crate::Multiplexer::with_sink).
///
/// # End
///
/// A channel that has ended (see [`ChannelReceiver`](crate::ChannelReceiver)) or was removed leaves the select without an
/// event. When no channel is left, the select yields `None`. It then flushes no more sinks, except one that is already due.
/// When a channel is [added](Self::add), the select continues.
///
/// # Waiting streams
///
/// A stream is not polled while it waits behind others, or while no task receives from its channel. During that time, a
/// protocol that answers pings in its poll does not answer them, and a disconnect of the peer is not noticed.
///
/// # Cost
///
/// An event costs one poll of one stream and two lock pairs, as with a `ChannelReceiver`, whatever the number of idle
/// channels. It also costs O(log r) in plain memory, where r is the number of ready channels. A relief round costs O(r),
/// once. Going to sleep and waking take as many lock pairs as with a `ChannelReceiver` while one channel has the events. With
/// another channel, each takes one more. In one sleep, the task may be woken twice. No event and no wake allocates. Each
/// channel takes 300 to 700 bytes: most just after the tables have doubled. They shrink when the select is dropped.
///
/// # Panics
///
/// A panic in the poll of a stream or the flush of a sink propagates to the caller. The pair is removed; other pairs are
/// not affected.
///
/// # Cancel safety
///
/// A `next()` or a [`recv_many`](Self::recv_many) may be dropped at any point; no event is lost.
pub struct ChannelSelect<St: Stream, Si = ()> {
    registry: Arc<Registry<St, Si>>,
    slots: Rotation<Seat<St>>,
    schedule: Schedule,
    /// The place of the task in the list of `slots`.
    waiter: Waiter,
    /// The epoch in which `task` entered that list.
    epoch: Option<usize>,
    /// The task whose waker is in that list since `epoch`, and in the list of the shortcut.
    task: Task,
    shortcut: Option<Shortcut>,
    flushes: Flushes,
    cost: Option<AssertUnwindSafe<Cost<St::Item>>>,
    /// The payload of a panic in `cost`. The panic resumes in the poll after the event that was being charged.
    panic: Option<Mutex<Panic>>,
    pace: Pace,
    yields: u64,
    /// Yielded failures of sinks: events without a turn of a channel.
    failures: u64,
    terminated: bool,
}

type Cost<T> = Box<dyn Fn(&T) -> u64 + Send + Sync>;

/// The contents of a slot.
struct Seat<St> {
    /// `None` in the slot of the unflushed sinks.
    channel: Option<Arc<Channel<St>>>,
    /// The place of `waker` in the channel's list.
    waiter: Waiter,
    /// Marks this slot.
    waker: Waker,
}

impl<St> Seat<St> {
    #[inline]
    fn channel(&self) -> &Arc<Channel<St>> {
        self.channel.as_ref().expect("the schedule has channels alone")
    }
}

/// The channel whose list has the waker of the task.
#[derive(Debug)]
struct Shortcut {
    key: usize,
    /// The epoch of the list. As long as it lasts, the waker is in the list.
    epoch: usize,
    /// How often the select may still look at it in vain.
    looks: u32,
}

impl Shortcut {
    #[inline]
    fn is_woken<St>(&self, slots: &Rotation<Seat<St>>) -> bool {
        slots.slots()[self.key].channel().tasks().epoch() != self.epoch
    }
}

/// Identifies a task, as [`Waker::will_wake`] does. A waker that is still in a list is not freed. Therefore no other task has
/// the same address.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
struct Task(usize, usize);

impl Task {
    #[inline]
    fn of(cx: &Context<'_>) -> Self {
        Self(cx.waker().data() as usize, ptr::from_ref(cx.waker().vtable()) as usize)
    }
}

/// The state of flushing.
#[derive(Debug)]
struct Flushes {
    is_driven: bool,
    /// The flush set may have a sink to flush.
    is_ready: bool,
    /// A sink may be flushed before the next event.
    is_due: bool,
    /// A sink that failed and was not reported yet.
    failed: Option<StreamId>,
    /// Counts the turns of sinks since the last `Pending`.
    patience: Patience,
}

/// The result of a flush.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Flush {
    /// There may be more sinks to flush.
    Done,
    /// The sink failed, and this is the next event.
    Failed(ChannelId, StreamId),
    /// Enough sinks were flushed; yield to the executor.
    Enough,
}

/// Why no event was found.
// A whole word: beside the first word of an event, a byte costs five instructions per event.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(usize)]
enum Nothing {
    /// No channel is left.
    Ended,
    /// No channel is ready, and no sink is to be flushed.
    Idle,
    /// Too many polls were in vain.
    Yield,
    /// This turn yielded no event. Look again.
    Yet,
}

impl<St: Stream, Si> ChannelSelect<St, Si> {
    pub(crate) fn new(registry: &Arc<Registry<St, Si>>) -> Self {
        let mut slots = Rotation::with_capacity(0);
        let key = slots.fill_with(|waker| Seat { channel: None, waiter: Waiter::default(), waker });
        debug_assert_eq!(key, FLUSHES);
        registry.attach_flusher();
        Self {
            registry: Arc::clone(registry),
            slots,
            schedule: Schedule::new(STARVATION_BOUND),
            waiter: Waiter::default(),
            epoch: None,
            task: Task::default(),
            shortcut: None,
            flushes: Flushes {
                is_driven: true,
                is_ready: true,
                is_due: true,
                failed: None,
                patience: Patience::default(),
            },
            cost: None,
            panic: None,
            pace: Pace::new(YIELD_EVERY),
            yields: 0,
            failures: 0,
            terminated: false,
        }
    }
}

/// Receiving.
impl<St: Stream, Si> ChannelSelect<St, Si> {
    /// Waits for events and appends up to `limit` of them to `buffer`. Returns the number of events.
    ///
    /// The future waits for the first event only. It then takes the events that are available, at most 4,096, whatever the
    /// `limit`. It chooses each event as `next()` does. An event that arrives later waits until the caller has processed the
    /// batch: the latency of a favoured channel grows by `limit` times the work for one event. A batch ends early when 64
    /// streams were polled in vain for it, or two in a row woke themselves. The future returns 0 if the select has ended or
    /// `limit` is 0.
    ///
    /// Cost: as `next()`; half the lock pairs while no other channel of the same priority is ready, no relief round is
    /// going on, no sink is to be flushed, and no [`cost`](Self::cost) is set.
    ///
    /// Small batches are better for the processor's caches: after a long batch, its first items and streams have left them.
    /// A server that echoes lines over TCP missed a third more cache lines with batches of 64 events than with batches of 16.
    ///
    /// ```
    /// use futures::{executor::block_on, stream};
    /// use stream_multiplexer::{Multiplexer, Share};
    ///
    /// let multiplexer = Multiplexer::without_sinks();
    /// multiplexer.add_channel(1)?;
    /// multiplexer.add_stream(stream::iter(0..10), 1)?;
    /// let mut select = multiplexer.select();
    /// select.add(1, Share::new())?;
    ///
    /// let mut events = Vec::new();
    /// let received = block_on(select.recv_many(&mut events, 4));
    /// assert_eq!((received, events.len()), (4, 4));
    /// # Ok::<(), stream_multiplexer::MultiplexerError>(())
    /// ```
    ///
    /// # Panics
    ///
    /// If the poll of a stream panics. Events received before the panic are in `buffer`.
    ///
    /// # Cancel safety
    ///
    /// The future takes no event before it completes, so no event is lost when it is dropped.
    pub fn recv_many<'a>(
        &'a mut self,
        buffer: &'a mut Vec<SelectEvent<St::Item>>,
        limit: usize,
    ) -> SelectMany<'a, St, Si> {
        SelectMany::new(self, buffer, limit)
    }

    /// Polls for events and appends up to `limit` of them to `buffer`, as [`recv_many`](Self::recv_many) does.
    ///
    /// - `Pending`: no event is available, or the select yields to the executor. The task will be woken.
    /// - `Ready(n)`: `n` events were appended. `n` is 0 if the select has ended or `limit` is 0.
    ///
    /// ```
    /// # use futures::{executor::block_on, stream};
    /// # use std::future::poll_fn;
    /// # use stream_multiplexer::{Multiplexer, Share};
    /// # let multiplexer = Multiplexer::without_sinks();
    /// # multiplexer.add_channel(1)?;
    /// # multiplexer.add_stream(stream::iter(0..10), 1)?;
    /// # let mut select = multiplexer.select();
    /// # select.add(1, Share::new())?;
    /// let mut events = Vec::new();
    /// assert_eq!(block_on(poll_fn(|cx| select.poll_recv_many(cx, &mut events, 4))), 4);
    /// # Ok::<(), stream_multiplexer::MultiplexerError>(())
    /// ```
    ///
    /// # Panics
    ///
    /// If the poll of a stream panics. Events received before the panic are in `buffer`.
    pub fn poll_recv_many(
        &mut self,
        cx: &mut Context<'_>,
        buffer: &mut Vec<SelectEvent<St::Item>>,
        limit: usize,
    ) -> Poll<usize> {
        if limit == 0 {
            return Poll::Ready(0);
        }
        if self.pace.is_over() && self.rests(cx) {
            return Poll::Pending;
        }
        let (mut received, limit) = (0, limit.min(EVENTS_PER_POLL));
        let mut effort = 0;
        loop {
            let found = self.search(cx, &mut effort, received == 0);
            let Poll::Ready(Some(event)) = found else {
                let waits = found.is_pending() && received == 0;
                return if waits { Poll::Pending } else { Poll::Ready(received) };
            };
            buffer.push(event);
            received += 1;
            received += self.find_more(limit - received, buffer, &mut effort);
            if received == limit || self.panic.is_some() || effort >= FRUITLESS_POLLS {
                return Poll::Ready(received);
            }
        }
    }

    /// Returns whether the select yields to the executor now. Resumes a panic of `cost`, if there is one.
    #[cold]
    fn rests(&mut self, cx: &mut Context<'_>) -> bool {
        self.flushes.patience = Patience::default();
        let rests = self.pace.rests();
        if let Some(panic) = self.panic.take() {
            resume_unwind(panic.into_inner());
        }
        if rests {
            self.yields += 1;
            cx.waker().wake_by_ref();
        }
        rests
    }

    /// Continues a poll whose first step found no event.
    #[inline(never)]
    fn go_on(
        &mut self,
        nothing: Nothing,
        cx: &mut Context<'_>,
        mut effort: usize,
    ) -> Poll<Option<SelectEvent<St::Item>>> {
        match self.wait(nothing, cx) {
            Poll::Ready(true) => self.search(cx, &mut effort, true),
            Poll::Ready(false) => Poll::Ready(None),
            Poll::Pending => Poll::Pending,
        }
    }

    /// Looks for an event. If there is none and `waits` is true, the task waits. Otherwise only returns `Pending`.
    #[inline(never)]
    fn search(
        &mut self,
        cx: &mut Context<'_>,
        effort: &mut usize,
        waits: bool,
    ) -> Poll<Option<SelectEvent<St::Item>>> {
        loop {
            match self.find(cx, effort) {
                Ok(event) => return Poll::Ready(Some(event)),
                Err(Nothing::Yet) => {}
                Err(_) if !waits => return Poll::Pending,
                Err(nothing) => match self.wait(nothing, cx) {
                    Poll::Ready(true) => {}
                    Poll::Ready(false) => return Poll::Ready(None),
                    Poll::Pending => return Poll::Pending,
                },
            }
        }
    }

    /// Handles the absence of an event. `Ready(true)`: look again. `Ready(false)`: the select has ended. `Pending`: the
    /// task waits, or was woken already.
    fn wait(&mut self, nothing: Nothing, cx: &mut Context<'_>) -> Poll<bool> {
        match nothing {
            Nothing::Ended => {
                self.terminated = true;
                return Poll::Ready(false);
            }
            Nothing::Idle => {
                if !self.sleep(cx) {
                    return Poll::Ready(true);
                }
            }
            Nothing::Yield => cx.waker().wake_by_ref(),
            Nothing::Yet => return Poll::Ready(true),
        }
        self.begin_anew();
        Poll::Pending
    }

    /// Lets the task sleep until the next wake. Returns `false` if there was a wake meanwhile: look again.
    ///
    /// To be called when this poll has found no ready channel.
    #[inline]
    fn sleep(&mut self, cx: &Context<'_>) -> bool {
        self.task == Task::of(cx) && self.epoch == Some(self.slots.tasks().epoch()) || self.enter_list(cx)
    }

    /// Lets the task wait in the list of the slots.
    #[inline(never)]
    fn enter_list(&mut self, cx: &Context<'_>) -> bool {
        let task = Task::of(cx);
        if self.task != task && self.end_shortcut() {
            return false;
        }
        let Some(epoch) = self.slots.park() else { return false };
        // `wait` drops the waker that it replaces, which may panic.
        self.epoch = None;
        let waits = self.slots.tasks().wait(&mut self.waiter, epoch, cx.waker().clone());
        (self.task, self.epoch) = (task, waits.then_some(epoch));
        waits
    }

    /// Moves the channel of the shortcut to the schedule if it was woken.
    #[inline(always)]
    fn look_at_shortcut(&mut self) {
        let Some(shortcut) = &mut self.shortcut else { return };
        if shortcut.is_woken(&self.slots) {
            self.schedule.wake(shortcut.key);
            self.shortcut = None;
        } else {
            shortcut.looks -= 1;
            if shortcut.looks == 0 {
                self.end_shortcut();
            }
        }
    }

    /// Puts the waker of the slot into the list of the channel, instead of that of the task. If the channel was woken
    /// meanwhile, makes it ready and returns true.
    #[cold]
    fn end_shortcut(&mut self) -> bool {
        let Some(Shortcut { key, epoch, .. }) = self.shortcut.take() else { return false };
        let Seat { channel, waiter, waker } = &mut self.slots.slots_mut()[key];
        let channel = channel.as_ref().expect("the schedule has channels alone");
        let is_woken = !channel.tasks().wait(waiter, epoch, waker.clone());
        if is_woken {
            self.schedule.wake(key);
        }
        is_woken
    }

    /// Resets the counts of one poll, before `Pending` is returned. A flush becomes due even if there was no event.
    /// Otherwise no sink would be flushed beside streams that only wake themselves.
    fn begin_anew(&mut self) {
        self.pace.begin();
        self.flushes.patience = Patience::default();
        self.flushes.is_due = true;
    }

    /// Looks for an event. `effort` counts the streams that this call polled in vain.
    #[inline(always)]
    fn find(&mut self, cx: &Context<'_>, effort: &mut usize) -> Result<SelectEvent<St::Item>, Nothing> {
        if self.slots.is_woken() {
            self.absorb();
        }
        self.look_at_shortcut();
        if self.flushes.is_ready && self.flushes.is_due {
            if let Flush::Failed(channel, id) = self.flush() {
                return Ok((channel, id, StreamEvent::SinkFailed));
            }
        }
        let Some(key) = self.schedule.next() else {
            if self.is_empty() {
                return Err(Nothing::Ended);
            }
            if !self.flushes.is_ready {
                return Err(Nothing::Idle);
            }
            match self.flush() {
                Flush::Done => return Err(Nothing::Yet),
                Flush::Failed(channel, id) => return Ok((channel, id, StreamEvent::SinkFailed)),
                Flush::Enough => return Err(Nothing::Yield),
            }
        };
        let Self { registry, slots, schedule, .. } = self;
        let seat = &mut slots.slots_mut()[key];
        let channel = seat.channel.as_ref().expect("the schedule has channels alone");
        let mut patience = Patience::default();
        let mut reported = None;
        let report = |event| {
            reported = Some(event);
            ControlFlow::Break(())
        };
        let turn = schedule.begin(key);
        let turns = channel.take_turns(&**registry, &mut patience, report, || true);
        turn.end();
        // Comparisons one by one take fewer instructions than a table.
        if let Turns::Enough = turns {
            let (id, what) = reported.expect("it is enough");
            let event = (channel.id(), id, what);
            *effort += patience.fruitless;
            self.pace.note(1);
            self.flushes.is_due = true;
            if self.cost.is_some() {
                return Ok(self.charge(key, event));
            }
            self.schedule.served(key, 1);
            return Ok(event);
        }
        let Turns::Idle(epoch) = turns else { return Err(self.without_event(key, turns)) };
        *effort += patience.fruitless;
        let gives_up = *effort >= FRUITLESS_POLLS;
        if gives_up {
            // It counts as an event, as in `without_event`: else channels whose streams are woken in vain starve others, if
            // each of them has too few such streams to give up by itself.
            schedule.served_in_vain(key);
        }
        // After a stale wake, the channel may have the shortcut already. Then its list gets the waker of the slot, which wakes
        // the task as well.
        let is_last = schedule.is_only(key);
        let takes_shortcut = is_last && self.shortcut.is_none();
        let waker = if takes_shortcut { cx.waker() } else { &seat.waker };
        if channel.tasks().wait(&mut seat.waiter, epoch, waker.clone()) {
            schedule.idle(key);
            if takes_shortcut {
                self.shortcut = Some(Shortcut { key, epoch, looks: LOOKS });
                let task = Task::of(cx);
                if self.task != task {
                    (self.task, self.epoch) = (task, None);
                }
            }
            if is_last && !gives_up && !self.flushes.is_ready && !self.slots.is_woken() {
                return Err(Nothing::Idle);
            }
        }
        Err(if gives_up { Nothing::Yield } else { Nothing::Yet })
    }

    /// Ends a turn that yielded no event, in the rare cases.
    #[cold]
    fn without_event(&mut self, key: usize, turns: Turns) -> Nothing {
        if let Turns::Ended = turns {
            self.leave(key);
            return Nothing::Yet;
        }
        // This turn counts as an event, so that a channel whose streams only wake themselves starves no other.
        self.schedule.served_in_vain(key);
        Nothing::Yield
    }

    /// If one channel leads, takes its events at half the lock pairs, until another channel or a sink may be next. Ignores
    /// whether the channel is idle or has ended: [`find`](Self::find) takes the next turn and finds out.
    fn find_more(
        &mut self,
        limit: usize,
        buffer: &mut Vec<SelectEvent<St::Item>>,
        effort: &mut usize,
    ) -> usize {
        let mut found = 0;
        let leads = self.schedule.has_leader() && !self.flushes.is_ready && self.cost.is_none();
        if !leads || found == limit {
            return found;
        }
        let Self { registry, slots, schedule, shortcut, .. } = self;
        let is_woken =
            || slots.is_woken() || shortcut.as_ref().is_some_and(|shortcut| shortcut.is_woken(slots));
        let Some(key) = schedule.next().filter(|_| !is_woken()) else { return found };
        let channel = slots.slots()[key].channel();
        let mut patience = Patience::default();
        let turn = schedule.begin(key);
        let report = |(id, what)| {
            buffer.push((channel.id(), id, what));
            turn.schedule.served(key, 1);
            found += 1;
            if found == limit || is_woken() || !turn.schedule.has_leader() {
                ControlFlow::Break(())
            } else {
                ControlFlow::Continue(())
            }
        };
        let turns = channel.take_turns(&**registry, &mut patience, report, || !is_woken());
        turn.end();
        *effort += patience.fruitless;
        if matches!(turns, Turns::Yield) {
            // This turn counts as an event, as in `find`, and the batch ends.
            schedule.served_in_vain(key);
            *effort = FRUITLESS_POLLS;
        }
        self.pace.note(found);
        found
    }

    /// Moves woken channels to the schedule.
    #[inline(never)]
    fn absorb(&mut self) {
        let Self { slots, schedule, flushes, .. } = self;
        slots.take_woken(|key| {
            if key == FLUSHES {
                flushes.is_ready = flushes.is_driven;
            } else {
                schedule.wake(key);
            }
        });
    }

    /// Flushes one sink.
    #[inline(never)]
    fn flush(&mut self) -> Flush {
        let Flushes { is_ready, is_due, failed, patience, .. } = &mut self.flushes;
        let mut flush = Flush::Done;
        if failed.is_none() {
            match flush_next(&self.registry, patience, failed) {
                Flushed::Turn => {}
                Flushed::Idle(epoch) => {
                    let Seat { waiter, waker, .. } = &mut self.slots.slots_mut()[FLUSHES];
                    *is_ready = !self.registry.flushes().tasks().wait(waiter, epoch, waker.clone());
                }
                Flushed::Yield => {
                    *patience = Patience::default();
                    flush = Flush::Enough;
                }
            }
        }
        *is_due = false;
        // If the pair is gone, there is nothing to report.
        let Some(id) = failed.take() else { return flush };
        let Some(channel) = self.registry.channel_of(id) else { return flush };
        self.failures += 1;
        self.pace.note(1);
        Flush::Failed(channel, id)
    }

    /// Charges a channel the cost of its event.
    // Out of line, and the event is passed by value: a select without a `cost` need not keep the event in memory.
    #[inline(never)]
    fn charge(&mut self, key: usize, event: SelectEvent<St::Item>) -> SelectEvent<St::Item> {
        let mut price = 1;
        if let (Some(AssertUnwindSafe(cost)), (_, _, StreamEvent::Item(item))) = (&self.cost, &event) {
            match catch_unwind(AssertUnwindSafe(|| cost(item))) {
                Ok(cost) => price = cost.max(1),
                Err(panic) => {
                    self.panic = Some(Mutex::new(panic));
                    // The next poll calls `rests`, which resumes the panic.
                    self.pace.end();
                }
            }
        }
        self.schedule.served(key, price);
        event
    }
}

impl<St: Stream, Si> Stream for ChannelSelect<St, Si> {
    type Item = (ChannelId, StreamId, StreamEvent<St::Item>);

    #[inline]
    fn poll_next(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        let this = self.get_mut();
        if this.pace.is_over() && this.rests(cx) {
            return Poll::Pending;
        }
        let mut effort = 0;
        // The first step is here, with no loop around it, and the others are out of line: thus most events take fewer
        // instructions.
        let nothing = match this.find(cx, &mut effort) {
            Ok(event) => return Poll::Ready(Some(event)),
            Err(Nothing::Idle) if this.sleep(cx) => {
                this.begin_anew();
                return Poll::Pending;
            }
            // There was a wake meanwhile.
            Err(Nothing::Idle) => Nothing::Yet,
            Err(nothing) => nothing,
        };
        this.go_on(nothing, cx, effort)
    }
}

impl<St: Stream, Si> FusedStream for ChannelSelect<St, Si> {
    /// Returns whether the select has ended. It continues when a channel is [added](ChannelSelect::add).
    fn is_terminated(&self) -> bool {
        self.terminated
    }
}

/// No field is pinned.
impl<St: Stream, Si> Unpin for ChannelSelect<St, Si> {}

impl<St: Stream, Si> Drop for ChannelSelect<St, Si> {
    /// Has the effect of dropping a [`ChannelReceiver`](crate::ChannelReceiver) of each channel.
    fn drop(&mut self) {
        let Self { registry, slots, waiter, flushes, .. } = self;
        let tasks = Arc::clone(slots.tasks());
        let left = afterwards(|| tasks.leave(waiter));
        let is_driven = flushes.is_driven;
        let detached = afterwards(|| {
            if is_driven {
                registry.detach_flusher();
            }
        });
        registry.flushes().tasks().leave(&mut slots.slots_mut()[FLUSHES].waiter);
        for_each(slots.slots_mut().drain(), |seat| depart(registry, seat.channel, seat.waiter));
        drop(detached);
        drop(left);
    }
}

impl<St: Stream, Si> fmt::Debug for ChannelSelect<St, Si> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ChannelSelect")
            .field("channels", &self.len())
            .field("terminated", &self.terminated)
            .finish_non_exhaustive()
    }
}
