//! Settings and statistics of a select.

use crate::channel::pace::Pace;
use crate::channel::select::{ChannelSelect, FLUSHES, SelectStats, ShareStats};
use crate::unwind::afterwards;
use futures_core::Stream;
use std::num::NonZeroU32;
use std::panic::AssertUnwindSafe;

/// Settings and statistics.
impl<St: Stream, Si> ChannelSelect<St, Si> {
    /// Sets how many events in a row may be taken ahead of a ready channel of lower priority. After that many events, each
    /// such channel has one turn; see [priority](Self#priority). Default: 64. `None`: no bound, and lower channels may
    /// starve.
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

    /// Sets after how many events in a row, with no `Pending` in between, the select yields to the executor: it wakes its
    /// task and returns `Pending` once. Default: 4. `None`: never. This number does not shorten a batch of
    /// [`recv_many`](Self::recv_many).
    ///
    /// These yields keep the latency of a favoured channel low. A codec yields the items in its buffer without reading from
    /// a socket, and so uses no cooperative budget. A loop that never yields works through all buffered items before the
    /// executor polls for new I/O, and this may take seconds.
    ///
    /// The effect of a yield depends on the executor:
    ///
    /// - **tokio, `block_on`** (also the body of `#[tokio::main]`). The current-thread runtime polls its I/O driver after
    ///   each yield, and after at most 61 other tasks. In the multi-threaded runtime, the workers poll the driver
    ///   independently.
    /// - **tokio, a spawned task.** In both runtimes, a worker runs a task that wakes itself up to 61 times before it polls
    ///   the I/O driver. Call `tokio::task::yield_now().await` every few events, or build the runtime with
    ///   `event_interval(1)`, or run the loop in `block_on`.
    /// - **smol, async-io.** `block_on` polls the reactor after each yield. Spawned tasks run in batches of 200 runs, of all
    ///   tasks of the executor together, and the executor does not poll the reactor within a batch. Meanwhile the thread
    ///   `async-io` may poll it.
    /// - **futures' `LocalPool` and `block_on`** have no I/O driver; another thread drives the I/O. A yield lets the other
    ///   tasks of the pool run.
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

    /// Sets the function that returns the cost of an item, for example its length. Channels of equal priority share
    /// the total cost by [weight](Self#weights). The select charges the cost when it has taken the item. By default an item
    /// costs 1. A departure costs 1, and a cost of 0 counts as 1. The accounts have room for 2^65 in cost / weight (4 · 10^19);
    /// channels beyond that take turns, whatever their weights.
    ///
    /// Cost: one allocation, and a call for each item, with no lock held. If the function panics, no item is lost: the
    /// select charges 1 and yields the item, and the panic propagates from the next poll.
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

    /// Sets whether the select flushes [unflushed sinks](Self#unflushed-sinks). On by default.
    ///
    /// Cost: turning it on, as creating a select does, visits every sink once if no other select and no
    /// [`Flusher`](crate::Flusher) flushes them.
    ///
    /// ```
    /// # use futures::{StreamExt, channel::mpsc, executor::block_on, stream::{self, Pending}};
    /// # use stream_multiplexer::Multiplexer;
    /// # let multiplexer = Multiplexer::<Pending<()>, mpsc::Sender<String>>::new();
    /// # let mut select = multiplexer.select();
    /// // This flusher flushes instead, and yields the errors.
    /// select.drive_flushes(false);
    /// let mut flusher = multiplexer.flusher::<String>();
    /// ```
    pub fn drive_flushes(&mut self, drives: bool) -> &mut Self {
        if drives == self.flushes.is_driven {
            return self;
        }
        if drives {
            // Before `is_driven` is set: if this panics, the select is not counted as a driver.
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

    /// Returns counts of the events so far, for monitoring and for choosing shares.
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
    /// Cost: a walk through the channels of this select, and one allocation.
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
