//! [`ChannelSelect`]: several channels as one [`Stream`], by priority and weight.
//!
//! It is the engine's set once more, with channels in the place of members: each has a slot with a waker, which waits in
//! the channel among its receivers. A channel that is woken moves into the [`Schedule`], which says which are ready and
//! whose turn it is.
//!
//! **No wake is lost.** A channel that is not ready in the schedule has its slot's waker in the channel's list, since an
//! epoch at which the channel was idle and parked; or it was woken, and its bit waits to be absorbed. So it leaves the
//! schedule in one place alone: when it was idle and the list took the waker.
//!
//! One more slot is for the sinks that have something unflushed. It is woken as each driver of these sinks is.

mod recv_many;
mod stats;

pub use recv_many::SelectMany;
pub use stats::{SelectStats, ShareStats};

use crate::channel::Channel;
use crate::channel::departures::Panic;
use crate::channel::pace::Pace;
use crate::channel::receiver::EVENTS_PER_POLL;
use crate::channel::schedule::Schedule;
use crate::channel::share::Share;
use crate::channel::turns::Turns;
use crate::engine::patience::Patience;
use crate::engine::rotation::Rotation;
use crate::error::MultiplexerError;
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
use std::sync::Arc;
use std::task::{Context, Poll, Waker};

/// The default of [`ChannelSelect::starvation_bound`].
const STARVATION_BOUND: u32 = 64;

/// The default of [`ChannelSelect::yield_every`].
const YIELD_EVERY: Option<NonZeroU32> = NonZeroU32::new(4);

/// How many streams may be polled in vain in one call, in several channels or between the events of a batch, before the call
/// ends. The last channel adds less than that, and so do the events that a batch takes from one channel together: a call
/// polls fewer than three times as many in vain.
const FRUITLESS_POLLS: usize = 64;

/// The slot of the unflushed sinks.
const FLUSHES: usize = 0;

/// What a select yields.
pub(crate) type SelectEvent<T> = (ChannelId, StreamId, StreamEvent<T>);

/// Receives from several channels, by priority and weight, and flushes what sends left unflushed.
///
/// Created by [`Multiplexer::select`](crate::Multiplexer::select). It is a `Stream` of `(ChannelId, StreamId,
/// StreamEvent)`. Channels can be added and removed, and their [`Share`]s changed, at any time. It counts as a
/// [`ChannelReceiver`](crate::ChannelReceiver) of each of its channels. A channel may have other receivers and selects; each
/// event goes to one of them.
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
/// Before **every** event, the select asks the ready channel with the lowest [priority number](Share::priority). So that
/// the others do not starve, a *relief round* follows after k events in a row that were taken ahead of a ready channel of
/// lower priority. In it, each lower channel that waits at its beginning has one turn, the one that has waited longest
/// first. k is the [`starvation_bound`](Self::starvation_bound), 64 by default.
///
/// **Bound.** Among n channels of distinct priorities, a ready one waits for at most k + n − 2 events of others, and the
/// one of the highest priority for at most n − 1. Both are reached when all are always ready.
///
/// A channel is ready when it was added, when its last turn yielded an event, and when something in it woke. If another
/// one becomes ready while a channel is asked, it is asked before the next event. A call that gives up without an event,
/// because 64 streams were polled in vain or two in a row woke themselves, counts as an event of the channel that was asked
/// last. Within a channel the bound on [fairness](crate#fairness) holds.
///
/// # Weights
///
/// Channels of equal priority share by [weight](Share::weight). No channel waits for a turn that another does not use. An
/// item costs 1, or what [`cost`](Self::cost) says. A turn adds cost / weight to the account of its channel. The channel
/// with the smallest account goes first; among equals, the one that has waited longest. An idle channel saves up nothing,
/// and keeps its debt.
///
/// **Bound.** Of two channels that stay ready, neither gets ahead of the other by more than c₁ / w₁ + c₂ / w₂ over any
/// span, where c is the greatest cost of an item and w the weight. Relief rounds come on top.
///
/// # Yielding
///
/// After [`yield_every`](Self::yield_every) events in a row it lets the executor run; that method says why. A call that
/// polled 64 streams in vain, or two in a row that woke themselves, also lets the executor run.
///
/// # What is unflushed
///
/// A send that does not wait, or was dropped, may leave items in the sink's own buffer. The select flushes such sinks when
/// they wake, as a [`Flusher`](crate::Flusher) does: all sinks of the multiplexer, whichever channel their streams are in.
/// So a program that polls a select needs no `Flusher`. While there are events, the select flushes at most one sink before
/// each.
///
/// If a sink fails when the select flushes it, the select yields [`StreamEvent::SinkFailed`], with the channel that the
/// stream is in now, even if that channel is not in the select. The error itself is dropped. To get it, call
/// [`drive_flushes(false)`](Self::drive_flushes) and run a `Flusher`. While channels have events, at most one failure
/// comes between two of them.
///
/// The select learns how to flush from the first send in this multiplexer that leaves something unflushed, or from a
/// `Flusher`. Until then it does not flush sinks that were used only by [`with_sink`](crate::Multiplexer::with_sink).
///
/// # Its end
///
/// A channel that has ended (see [`ChannelReceiver`](crate::ChannelReceiver)) or was removed leaves the select without an
/// event. When no channel is left, the select yields `None`, and flushes nothing more. When a channel is
/// [added](Self::add), it goes on.
///
/// # Streams that wait
///
/// A stream is not polled while it waits behind others, or if nothing receives from its channel. Meanwhile it answers no
/// pings, if its protocol answers them in its poll, and its peer's leaving is not noticed.
///
/// # Cost
///
/// An event costs one poll of one stream and two lock pairs, as with a `ChannelReceiver`, at any number of idle channels,
/// and O(log r) in plain memory where r channels are ready. A relief round costs O(r), once. Going to sleep takes one lock
/// pair more than with a `ChannelReceiver`, and so does waking. Nothing is allocated per event or wake. Each channel takes
/// 300 to 700 bytes: most just after the tables have doubled. They shrink when the select is dropped.
///
/// # Panics
///
/// A panic in a stream's poll or a sink's flush reaches the caller. The pair is removed; everything else goes on.
///
/// # Cancel safety
///
/// Dropping a `next()` or a [`recv_many`](Self::recv_many) loses nothing.
pub struct ChannelSelect<St: Stream, Si = ()> {
    registry: Arc<Registry<St, Si>>,
    slots: Rotation<Seat<St>>,
    schedule: Schedule,
    /// The task, in the list of the slots.
    waiter: Waiter,
    flushes: Flushes,
    cost: Option<AssertUnwindSafe<Cost<St::Item>>>,
    /// What `cost` panicked with: it comes after the event that was at hand.
    panic: Option<Mutex<Panic>>,
    pace: Pace,
    yields: u64,
    /// Events that were nobody's turn.
    failures: u64,
    terminated: bool,
}

type Cost<T> = Box<dyn Fn(&T) -> u64 + Send + Sync>;

/// A slot's tenant.
struct Seat<St> {
    /// `None` in the slot of the unflushed sinks.
    channel: Option<Arc<Channel<St>>>,
    /// How it waits in the channel's list.
    waiter: Waiter,
    /// Gives it a turn.
    waker: Waker,
}

impl<St> Seat<St> {
    #[inline]
    fn channel(&self) -> &Arc<Channel<St>> {
        self.channel.as_ref().expect("the schedule has channels alone")
    }
}

/// What is known of the unflushed sinks.
#[derive(Debug)]
struct Flushes {
    is_driven: bool,
    /// There may be some to be flushed.
    is_ready: bool,
    /// One may be flushed before the next event.
    is_due: bool,
    /// One that failed, and that is not reported yet.
    failed: Option<StreamId>,
    /// For those since the last `Pending`.
    patience: Patience,
}

/// What came of a flush.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Flush {
    /// There may be more to do.
    Done,
    /// It failed, which is the event.
    Failed(ChannelId, StreamId),
    /// There were enough.
    Enough,
}

/// Why no event was found.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Nothing {
    /// No channel is left.
    Ended,
    /// No channel is ready, and nothing is to be flushed.
    Idle,
    /// Too much was done in vain.
    Yield,
}

/// Channels.
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

    /// Adds a channel. It has its first turn as one that has just become ready.
    ///
    /// Cost: a walk through its channels, and two lock pairs. It may allocate.
    ///
    /// ```
    /// # use futures::stream::Pending;
    /// use stream_multiplexer::{Multiplexer, MultiplexerError, Share};
    ///
    /// # let multiplexer = Multiplexer::<Pending<()>>::new();
    /// multiplexer.add_channel(1)?;
    /// let mut select = multiplexer.select();
    /// select.add(1, Share::new())?;
    /// assert_eq!(select.add(1, Share::new()), Err(MultiplexerError::DuplicateChannel(1)));
    /// assert_eq!(select.add(2, Share::new()), Err(MultiplexerError::UnknownChannel(2)));
    /// # Ok::<(), stream_multiplexer::MultiplexerError>(())
    /// ```
    ///
    /// # Errors
    ///
    /// [`UnknownChannel`](MultiplexerError::UnknownChannel) if there is none of this name;
    /// [`DuplicateChannel`](MultiplexerError::DuplicateChannel) if it is in this select.
    pub fn add(&mut self, channel: ChannelId, share: Share) -> Result<(), MultiplexerError> {
        if let Some(key) = self.find_channel(channel) {
            if !self.slots.slots()[key].channel().is_removed() {
                return Err(MultiplexerError::DuplicateChannel(channel));
            }
            // It was removed from the multiplexer and is about to leave; another may have its name. If there is none, this
            // may be the end.
            self.remove(channel);
        }
        let channel = Some(self.registry.attach(channel)?);
        let key = self.slots.fill_with(|waker| Seat { channel, waiter: Waiter::default(), waker });
        self.schedule.add(key, share);
        self.terminated = false;
        self.unpark();
        Ok(())
    }

    /// Removes a channel from this select, and not from the multiplexer. Returns whether it was in it. The items of its
    /// streams are not lost: they wait until something receives from the channel.
    ///
    /// Cost: as [`add`](Self::add).
    ///
    /// ```
    /// # use futures::stream::Pending;
    /// # use stream_multiplexer::{Multiplexer, Share};
    /// # let multiplexer = Multiplexer::<Pending<()>>::new();
    /// # multiplexer.add_channel(1)?;
    /// # let mut select = multiplexer.select();
    /// # select.add(1, Share::new())?;
    /// assert!(select.remove(1));
    /// assert!(!select.remove(1));
    /// # Ok::<(), stream_multiplexer::MultiplexerError>(())
    /// ```
    pub fn remove(&mut self, channel: ChannelId) -> bool {
        let Some(key) = self.find_channel(channel) else { return false };
        self.leave(key);
        if self.is_empty() {
            // That is its end.
            self.unpark();
        }
        true
    }

    /// Gives a channel another share from now on. Returns whether it is in this select. If it is in debt to the others of
    /// its priority, by what its last item cost, it stays so.
    ///
    /// Cost: as [`add`](Self::add).
    ///
    /// ```
    /// # use futures::stream::Pending;
    /// # use stream_multiplexer::{Multiplexer, Share};
    /// # let multiplexer = Multiplexer::<Pending<()>>::new();
    /// # multiplexer.add_channel(1)?;
    /// # let mut select = multiplexer.select();
    /// # select.add(1, Share::new())?;
    /// assert!(select.set_share(1, Share::new().weight(3)));
    /// assert!(select.channels().eq([(1, Share::new().weight(3))]));
    /// # Ok::<(), stream_multiplexer::MultiplexerError>(())
    /// ```
    pub fn set_share(&mut self, channel: ChannelId, share: Share) -> bool {
        let found = self.find_channel(channel);
        if let Some(key) = found {
            self.schedule.set_share(key, share);
        }
        found.is_some()
    }

    /// The channels that are in it, and their shares, in any order.
    ///
    /// ```
    /// # use futures::stream::Pending;
    /// # use stream_multiplexer::{Multiplexer, Share};
    /// # let multiplexer = Multiplexer::<Pending<()>>::new();
    /// # multiplexer.add_channel(1)?;
    /// # let mut select = multiplexer.select();
    /// select.add(1, Share::new())?;
    /// assert!(select.channels().eq([(1, Share::new())]));
    /// # Ok::<(), stream_multiplexer::MultiplexerError>(())
    /// ```
    pub fn channels(&self) -> impl Iterator<Item = (ChannelId, Share)> + '_ {
        self.seats().map(|(key, channel)| (channel.id(), self.schedule.share(key)))
    }

    /// Whether a channel is in it.
    ///
    /// ```
    /// # use futures::stream::Pending;
    /// # use stream_multiplexer::{Multiplexer, Share};
    /// # let multiplexer = Multiplexer::<Pending<()>>::new();
    /// # multiplexer.add_channel(1)?;
    /// # let mut select = multiplexer.select();
    /// select.add(1, Share::new())?;
    /// assert!(select.contains(1) && !select.contains(2));
    /// # Ok::<(), stream_multiplexer::MultiplexerError>(())
    /// ```
    #[must_use]
    pub fn contains(&self, channel: ChannelId) -> bool {
        self.find_channel(channel).is_some()
    }

    /// How many channels are in it.
    ///
    /// ```
    /// # use futures::stream::Pending;
    /// # use stream_multiplexer::{Multiplexer, Share};
    /// # let multiplexer = Multiplexer::<Pending<()>>::new();
    /// # multiplexer.add_channel(1)?;
    /// # let mut select = multiplexer.select();
    /// select.add(1, Share::new())?;
    /// assert_eq!(select.len(), 1);
    /// # Ok::<(), stream_multiplexer::MultiplexerError>(())
    /// ```
    #[must_use]
    pub fn len(&self) -> usize {
        self.schedule.len()
    }

    /// Whether no channel is in it.
    ///
    /// ```
    /// # use futures::stream::Pending;
    /// # use stream_multiplexer::{Multiplexer, Share};
    /// # let multiplexer = Multiplexer::<Pending<()>>::new();
    /// # multiplexer.add_channel(1)?;
    /// # let mut select = multiplexer.select();
    /// assert!(select.is_empty());
    /// select.add(1, Share::new())?;
    /// assert!(!select.is_empty());
    /// # Ok::<(), stream_multiplexer::MultiplexerError>(())
    /// ```
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    fn seats(&self) -> impl Iterator<Item = (usize, &Arc<Channel<St>>)> {
        self.slots
            .slots()
            .iter()
            .filter_map(|(key, seat)| seat.channel.as_ref().map(|channel| (key, channel)))
    }

    fn find_channel(&self, id: ChannelId) -> Option<usize> {
        self.seats().find(|(_, channel)| channel.id() == id).map(|(key, _)| key)
    }

    /// Wakes the task, if it sleeps: there is something to do, other than by a wake.
    fn unpark(&mut self) {
        if self.slots.unpark() {
            self.slots.tasks().wake_all();
        }
    }

    /// Lets go of a channel.
    fn leave(&mut self, key: usize) {
        self.schedule.remove(key);
        let seat = self.slots.vacate(key, |Seat { channel, waiter, waker }| (waker, (channel, waiter)));
        let (channel, waiter) = seat.expect("it is there");
        depart(&self.registry, channel, waiter);
    }
}

/// A channel's receiver is gone.
fn depart<St, Si>(registry: &Registry<St, Si>, channel: Option<Arc<Channel<St>>>, mut waiter: Waiter) {
    let Some(channel) = channel else { return };
    let left = afterwards(|| channel.tasks().leave(&mut waiter));
    registry.detach(&channel);
    drop(left);
}

/// Settings and statistics.
impl<St: Stream, Si> ChannelSelect<St, Si> {
    /// Sets how many events in a row may be taken ahead of a ready channel of lower priority. Then each such channel has one
    /// turn; see [priority](Self#priority). Default: 64. `None`: no bound, so lower channels may starve.
    ///
    /// ```
    /// # use futures::{StreamExt, executor::block_on, stream};
    /// # use std::num::NonZeroU32;
    /// # use stream_multiplexer::{Multiplexer, Share};
    /// # let multiplexer = Multiplexer::without_sinks();
    /// # for channel in [1, 2] {
    /// #     multiplexer.add_channel(channel)?;
    /// #     multiplexer.add_stream(stream::repeat(()), channel)?;
    /// # }
    /// # let mut select = multiplexer.select();
    /// # select.add(1, Share::new())?;
    /// # select.add(2, Share::new().priority(1))?;
    /// select.starvation_bound(NonZeroU32::new(3));
    /// let channels = select.by_ref().take(8).map(|(channel, _, _)| channel);
    /// assert_eq!(block_on(channels.collect::<Vec<_>>()), [1, 1, 1, 2, 1, 1, 1, 2]);
    /// # Ok::<(), stream_multiplexer::MultiplexerError>(())
    /// ```
    pub fn starvation_bound(&mut self, events: Option<NonZeroU32>) -> &mut Self {
        self.schedule.set_bound(events);
        self
    }

    /// Sets after how many events in a row, with no `Pending` in between, the select lets the executor run: it wakes its
    /// task and returns `Pending` once. Default: 4. `None`: never. A batch of [`recv_many`](Self::recv_many) is not cut short by
    /// this.
    ///
    /// It is what keeps a favoured channel's latency low. What lies in the buffers of codecs is yielded without a read of
    /// a socket, and so uses up no cooperative budget: a loop that is never interrupted works through all of it, which may
    /// take seconds, before the executor asks the operating system who else has sent something.
    ///
    /// What a yield leads to depends on the executor:
    ///
    /// - **tokio, `block_on`** (so also the body of `#[tokio::main]`). In the current-thread runtime the I/O driver is asked
    ///   after each yield, and after at most 61 other tasks. In the multi-threaded one the workers ask it anyway.
    /// - **tokio, a spawned task** that wakes itself is run up to 61 times before its worker asks the I/O driver, in either
    ///   runtime. There write `tokio::task::yield_now().await` every few events, or build the runtime with
    ///   `event_interval(1)`, or keep the loop in `block_on`.
    /// - **smol, async-io: `block_on`** asks the reactor after each yield. A spawned task shares 200 runs of tasks with the
    ///   others of its executor, between which that does not ask; the thread `async-io` may do so meanwhile.
    /// - **futures' `LocalPool` and `block_on`** have no I/O: it is driven by a thread of its own. A yield lets the
    ///   other tasks of the pool run.
    ///
    /// ```
    /// # use futures::{FutureExt, StreamExt, stream};
    /// # use std::num::NonZeroU32;
    /// # use stream_multiplexer::{Multiplexer, Share};
    /// # let multiplexer = Multiplexer::without_sinks();
    /// # multiplexer.add_channel(1)?;
    /// # multiplexer.add_stream(stream::repeat(()), 1)?;
    /// # let mut select = multiplexer.select();
    /// # select.add(1, Share::new())?;
    /// select.yield_every(NonZeroU32::new(2));
    /// assert!(select.next().now_or_never().is_some());
    /// assert!(select.next().now_or_never().is_some());
    /// assert!(select.next().now_or_never().is_none(), "it yields");
    /// assert!(select.next().now_or_never().is_some());
    /// # Ok::<(), stream_multiplexer::MultiplexerError>(())
    /// ```
    pub fn yield_every(&mut self, events: Option<NonZeroU32>) -> &mut Self {
        self.pace = Pace::new(events);
        if self.panic.is_some() {
            self.pace.end();
        }
        self
    }

    /// What an item costs, by which [weights](Self#weights) share: its length, for example. It is charged when the item
    /// was taken. Without this it is 1; a departure costs 1, and 0 counts as 1.
    ///
    /// Cost: one allocation, and a call for each item, with no lock held. A panic in it loses nothing: the item comes, and
    /// is charged 1, and the panic comes with the next poll.
    ///
    /// ```
    /// # use futures::{StreamExt, executor::block_on, stream};
    /// # use stream_multiplexer::{Multiplexer, Share};
    /// # let multiplexer = Multiplexer::without_sinks();
    /// # for (channel, line) in [(1, "a long line"), (2, "a line")] {
    /// #     multiplexer.add_channel(channel)?;
    /// #     multiplexer.add_stream(stream::repeat(line), channel)?;
    /// # }
    /// # let mut select = multiplexer.select();
    /// # select.add(1, Share::new())?;
    /// # select.add(2, Share::new())?;
    /// select.cost(|line: &&str| line.len() as u64);
    /// block_on(select.by_ref().take(999).for_each(|_| async {}));
    /// let fraction = select.stats().fraction(1).unwrap();
    /// assert!((0.49..0.51).contains(&fraction));
    /// # Ok::<(), stream_multiplexer::MultiplexerError>(())
    /// ```
    pub fn cost(&mut self, cost: impl Fn(&St::Item) -> u64 + Send + Sync + 'static) -> &mut Self {
        let before = self.cost.replace(AssertUnwindSafe(Box::new(cost)));
        drop(before);
        self
    }

    /// Sets whether the select flushes [what is unflushed](Self#what-is-unflushed). On by default.
    ///
    /// Cost: if nobody else does, making a select that does (as it does when it is made) looks at every sink once.
    ///
    /// ```
    /// # use futures::{StreamExt, channel::mpsc, executor::block_on, stream::{self, Pending}};
    /// # use stream_multiplexer::Multiplexer;
    /// # let multiplexer = Multiplexer::<Pending<()>, mpsc::Sender<String>>::new();
    /// # let mut select = multiplexer.select();
    /// // Somebody else does, who wants the errors.
    /// select.drive_flushes(false);
    /// let mut flusher = multiplexer.flusher::<String>();
    /// ```
    pub fn drive_flushes(&mut self, drives: bool) -> &mut Self {
        if drives == self.flushes.is_driven {
            return self;
        }
        if drives {
            // Before it is noted: if this panics, the select is not counted.
            self.registry.attach_flusher();
        }
        self.flushes.is_driven = drives;
        self.flushes.is_ready = drives;
        if drives {
            self.unpark();
        } else {
            let Self { registry, slots, .. } = self;
            let detached = afterwards(|| registry.detach_flusher());
            registry.flushes().tasks().leave(&mut slots.slots_mut()[FLUSHES].waiter);
            drop(detached);
        }
        self
    }

    /// What it has done so far: for the operator, and to choose shares by.
    ///
    /// ```
    /// # use futures::{StreamExt, executor::block_on, stream};
    /// # use stream_multiplexer::{Multiplexer, Share};
    /// # let multiplexer = Multiplexer::without_sinks();
    /// # for channel in [1, 2] {
    /// #     multiplexer.add_channel(channel)?;
    /// #     multiplexer.add_stream(stream::repeat(()), channel)?;
    /// # }
    /// # let mut select = multiplexer.select();
    /// # select.add(1, Share::new())?;
    /// # select.add(2, Share::new().priority(1))?;
    /// block_on(select.by_ref().take(130).for_each(|_| async {}));
    /// let stats = select.stats();
    /// assert_eq!((stats.events, stats.channels[1].turns, stats.channels[1].longest_wait), (130, 2, 64));
    /// # Ok::<(), stream_multiplexer::MultiplexerError>(())
    /// ```
    ///
    /// Cost: a walk through its channels, and one allocation.
    #[must_use]
    pub fn stats(&self) -> SelectStats {
        let channels = self.seats().map(|(key, channel)| {
            let counts = self.schedule.counts(key);
            ShareStats {
                channel: channel.id(),
                share: self.schedule.share(key),
                turns: counts.turns,
                cost: counts.cost,
                longest_wait: counts.longest_wait,
            }
        });
        let mut channels: Vec<_> = channels.collect();
        channels.sort_unstable_by_key(|stats| stats.channel);
        let events = self.schedule.events() + self.failures;
        SelectStats { events, yields: self.yields, channels }
    }
}

/// Receiving.
impl<St: Stream, Si> ChannelSelect<St, Si> {
    /// Waits for events and appends up to `limit` of them to `buffer`; returns how many.
    ///
    /// It waits for the first one only; then it takes those that are there, 4,096 events at most, whatever the
    /// `limit`. Each is chosen as by `next()`. But who comes meanwhile waits until the caller has worked through the
    /// batch: `limit` times the work for an event adds to the latency of a favoured channel. A batch ends early when 64
    /// streams were polled in vain for it, or two in a row woke themselves. It returns 0 when the select has ended, or
    /// `limit` is 0.
    ///
    /// Cost: as `next()`; half the lock pairs while no other channel of the same priority is ready, there is nothing to
    /// flush, and no [`cost`](Self::cost) is set.
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
    /// When a stream's poll panics; what was received before is in `buffer`.
    ///
    /// # Cancel safety
    ///
    /// It takes nothing before it is ready, so nothing is lost when it is dropped.
    pub fn recv_many<'a>(
        &'a mut self,
        buffer: &'a mut Vec<SelectEvent<St::Item>>,
        limit: usize,
    ) -> SelectMany<'a, St, Si> {
        SelectMany::new(self, buffer, limit)
    }

    /// Polls for events and appends up to `limit` of them to `buffer`, as [`recv_many`](Self::recv_many) does.
    ///
    /// - `Pending`: there is nothing now, or it yields; the task is woken when there is something.
    /// - `Ready(n)`: `n` were appended. 0 when the select has ended, or `limit` is 0.
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
    /// When a stream's poll panics; what was received before is in `buffer`.
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
            match self.find(&mut effort) {
                Ok(event) => {
                    buffer.push(event);
                    received += 1;
                    received += self.find_more(limit - received, buffer, &mut effort);
                    if received == limit || self.panic.is_some() || effort >= FRUITLESS_POLLS {
                        return Poll::Ready(received);
                    }
                }
                Err(_) if received > 0 => return Poll::Ready(received),
                Err(nothing) => match self.wait(nothing, cx) {
                    Poll::Ready(true) => {}
                    Poll::Ready(false) => return Poll::Ready(0),
                    Poll::Pending => return Poll::Pending,
                },
            }
        }
    }

    /// Whether it lets the executor run first. A panic that waited goes on.
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

    /// There is no event. Says whether to look again, or else that it has ended; or waits.
    fn wait(&mut self, nothing: Nothing, cx: &mut Context<'_>) -> Poll<bool> {
        match nothing {
            Nothing::Ended => {
                self.terminated = true;
                return Poll::Ready(false);
            }
            Nothing::Idle => {
                let Some(epoch) = self.slots.park() else { return Poll::Ready(true) };
                if !self.slots.tasks().wait(&mut self.waiter, epoch, cx.waker().clone()) {
                    return Poll::Ready(true);
                }
            }
            Nothing::Yield => cx.waker().wake_by_ref(),
        }
        self.begin_anew();
        Poll::Pending
    }

    /// After a `Pending`. A sink may be flushed then, also if there was no event: else none ever is beside streams that only
    /// wake themselves.
    fn begin_anew(&mut self) {
        self.pace.begin();
        self.flushes.patience = Patience::default();
        self.flushes.is_due = true;
    }

    /// Looks for an event. `effort` is how many streams were polled in vain in this call.
    #[inline(always)]
    fn find(&mut self, effort: &mut usize) -> Result<SelectEvent<St::Item>, Nothing> {
        loop {
            if self.slots.is_woken() {
                self.absorb();
            }
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
                    Flush::Done => continue,
                    Flush::Failed(channel, id) => return Ok((channel, id, StreamEvent::SinkFailed)),
                    Flush::Enough => return Err(Nothing::Yield),
                }
            };
            let Self { registry, slots, schedule, .. } = self;
            let seat = &mut slots.slots_mut()[key];
            let channel = seat.channel.as_ref().expect("the schedule has channels alone");
            let mut patience = Patience::default();
            let mut told = None;
            let tell = |event| {
                told = Some(event);
                ControlFlow::Break(())
            };
            let turns = channel.take_turns(&**registry, &mut patience, tell, || true);
            schedule.end();
            match turns {
                Turns::Enough => {
                    let (id, what) = told.expect("it is enough");
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
                Turns::Idle(epoch) => {
                    *effort += patience.fruitless;
                    let gives_up = *effort >= FRUITLESS_POLLS;
                    if gives_up {
                        // It counts as an event, as below: else channels whose streams are woken in vain starve others,
                        // if each of them has too few such streams to give up by itself.
                        schedule.served_in_vain(key);
                    }
                    if channel.tasks().wait(&mut seat.waiter, epoch, seat.waker.clone()) {
                        schedule.idle(key);
                    }
                    if gives_up {
                        return Err(Nothing::Yield);
                    }
                }
                Turns::Ended => self.leave(key),
                Turns::Yield => {
                    // It counts as an event: so a channel whose streams only wake themselves does not starve others.
                    schedule.served_in_vain(key);
                    return Err(Nothing::Yield);
                }
            }
        }
    }

    /// If one channel leads, takes its events at half the locks, until something else may be next. Whatever else came of
    /// that, [`find`](Self::find) finds out.
    fn find_more(
        &mut self,
        limit: usize,
        buffer: &mut Vec<SelectEvent<St::Item>>,
        effort: &mut usize,
    ) -> usize {
        let mut found = 0;
        let leads = self.schedule.has_leader() && !self.flushes.is_ready && self.cost.is_none();
        if !leads || self.slots.is_woken() || found == limit {
            return found;
        }
        let Some(key) = self.schedule.next() else { return found };
        let Self { registry, slots, schedule, .. } = self;
        let channel = slots.slots()[key].channel();
        let mut patience = Patience::default();
        let tell = |(id, what)| {
            buffer.push((channel.id(), id, what));
            schedule.served(key, 1);
            found += 1;
            if found == limit || slots.is_woken() || !schedule.has_leader() {
                ControlFlow::Break(())
            } else {
                ControlFlow::Continue(())
            }
        };
        let turns = channel.take_turns(&**registry, &mut patience, tell, || !slots.is_woken());
        schedule.end();
        *effort += patience.fruitless;
        if found == 0 && matches!(turns, Turns::Yield) {
            // It counts as an event, as in `find`.
            schedule.served_in_vain(key);
            *effort = FRUITLESS_POLLS;
        }
        self.pace.note(found);
        found
    }

    /// Moves those that were woken to the schedule.
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

    /// Charges a channel what an event of it costs.
    // Out of line, and the event by value: so it is not in memory where nothing is asked for its cost.
    #[inline(never)]
    fn charge(&mut self, key: usize, event: SelectEvent<St::Item>) -> SelectEvent<St::Item> {
        let mut price = 1;
        if let (Some(AssertUnwindSafe(cost)), (_, _, StreamEvent::Item(item))) = (&self.cost, &event) {
            match catch_unwind(AssertUnwindSafe(|| cost(item))) {
                Ok(cost) => price = cost.max(1),
                Err(panic) => {
                    self.panic = Some(Mutex::new(panic));
                    // With the next poll.
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
        loop {
            let nothing = match this.find(&mut effort) {
                Ok(event) => return Poll::Ready(Some(event)),
                Err(nothing) => nothing,
            };
            match this.wait(nothing, cx) {
                Poll::Ready(true) => {}
                Poll::Ready(false) => return Poll::Ready(None),
                Poll::Pending => return Poll::Pending,
            }
        }
    }
}

impl<St: Stream, Si> FusedStream for ChannelSelect<St, Si> {
    /// Whether it has ended. It goes on when a channel is [added](ChannelSelect::add).
    fn is_terminated(&self) -> bool {
        self.terminated
    }
}

/// Nothing in it is pinned.
impl<St: Stream, Si> Unpin for ChannelSelect<St, Si> {}

impl<St: Stream, Si> Drop for ChannelSelect<St, Si> {
    /// As if a [`ChannelReceiver`](crate::ChannelReceiver) of each channel were dropped.
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
