//! Waits that block the thread, for a program or a part of one that is not async.

use super::Multiplexer;
use crate::error::MultiplexerError;
use crate::id::ChannelId;
use crate::registry::Registry;
use std::time::{Duration, Instant};

/// Waiting without an executor: only with the feature `blocking`, and not on wasm.
///
/// These methods block the thread that calls them, for as long as `timeout` at the most; with [`Duration::MAX`], for
/// as long as it takes. So call none in a task: its executor would stand still, and with it the streams that are
/// waited for. They hold no lock while they wait, and any number of threads may wait at a time. A `timeout` of zero
/// only looks.
///
/// Cost: a lock pair for each look, one or two allocations for a wait, and no polling: the thread sleeps until it is
/// woken.
///
/// # A graceful shutdown
///
/// ```
/// use futures::{executor::block_on, stream};
/// use std::thread;
/// use std::time::Duration;
/// use stream_multiplexer::Multiplexer;
///
/// const GUESTS: usize = 1;
/// const MEMBERS: usize = 2;
///
/// fn main() -> Result<(), Box<dyn std::error::Error>> {
///     let multiplexer = Multiplexer::without_sinks();
///     let mut receiving = Vec::new();
///     for channel in [GUESTS, MEMBERS] {
///         multiplexer.add_channel(channel)?;
///         let multiplexer = multiplexer.clone();
///         receiving.push(thread::spawn(move || {
///             block_on(async {
///                 while let Ok((id, item)) = multiplexer.recv(channel).await {
///                     println!("stream {id}: {item:?}");
///                 }
///             });
///         }));
///     }
///     multiplexer.add_stream(stream::iter(["hello", "bye"]), GUESTS)?;
///     // Or a thread that waits for a signal, or a command of the administrator's.
///     let operator = multiplexer.clone();
///     thread::spawn(move || operator.close());
///
///     // Serves until somebody closes it.
///     while !multiplexer.wait_closed(Duration::from_secs(60)) {
///         println!("{multiplexer:?}");
///     }
///     // Nobody is admitted any more. Who is there has ten seconds to finish.
///     if !multiplexer.wait_all_drained(Duration::from_secs(10)) {
///         for channel in multiplexer.channels() {
///             let left = multiplexer.remove_channel(channel).unwrap_or_default();
///             println!("channel {channel}: {} streams did not end in time", left.len());
///         }
///     }
///     // Now every `recv` ends. What it has brought may still be worked on, so wait for that, too.
///     for thread in receiving {
///         thread.join().expect("a receiver panicked");
///     }
///     Ok(())
/// }
/// ```
impl<St, Si> Multiplexer<St, Si> {
    /// Blocks the thread until somebody has called [`close`](Self::close), with any handle. Returns whether that is so:
    /// `false` when `timeout` has passed before.
    ///
    /// Streams that are there go on after that; see [`wait_all_drained`](Self::wait_all_drained).
    ///
    /// ```
    /// use std::thread;
    /// use std::time::Duration;
    /// use stream_multiplexer::Multiplexer;
    ///
    /// let multiplexer = Multiplexer::<futures::stream::Pending<()>>::new();
    /// assert!(!multiplexer.wait_closed(Duration::ZERO));
    /// let operator = multiplexer.clone();
    /// thread::spawn(move || operator.close());
    /// assert!(multiplexer.wait_closed(Duration::MAX));
    /// ```
    #[must_use = "`false` when it is not closed"]
    pub fn wait_closed(&self, timeout: Duration) -> bool {
        self.registry().wait_closed(deadline(timeout))
    }

    /// Blocks the thread until a channel is closed and no stream is in it that could still bring something: what
    /// [`drained`](Self::drained) is for tasks. Returns whether that is so: `false` when `timeout` has passed before.
    ///
    /// This does not close the channel. Others have to receive from it meanwhile, or its streams do not end. The
    /// removal of the channel counts as its end.
    ///
    /// ```
    /// use futures::{executor::block_on, stream};
    /// use std::thread;
    /// use std::time::Duration;
    /// use stream_multiplexer::Multiplexer;
    ///
    /// let multiplexer = Multiplexer::without_sinks();
    /// multiplexer.add_channel(1)?;
    /// multiplexer.add_stream(stream::iter([5]), 1)?;
    /// multiplexer.close_channel(1)?;
    /// assert!(!multiplexer.wait_drained(1, Duration::ZERO)?);
    ///
    /// let receiver = multiplexer.clone();
    /// thread::spawn(move || block_on(async { while receiver.recv(1).await.is_ok() {} }));
    /// assert!(multiplexer.wait_drained(1, Duration::from_secs(10))?);
    /// # Ok::<(), stream_multiplexer::MultiplexerError>(())
    /// ```
    ///
    /// # Errors
    ///
    /// [`UnknownChannel`](MultiplexerError::UnknownChannel) if there is no channel with this id when it is called.
    pub fn wait_drained(&self, channel: ChannelId, timeout: Duration) -> Result<bool, MultiplexerError> {
        self.registry().wait_drained(channel, deadline(timeout))
    }

    /// Blocks the thread until the multiplexer is closed and no stream is in any of its channels that could still
    /// bring something. Returns whether that is so: `false` when `timeout` has passed before.
    ///
    /// It is [`wait_closed`](Self::wait_closed) and then [`wait_drained`](Self::wait_drained) for each channel, with
    /// one deadline for all of it. Once it is so, it stays so, for a closed multiplexer admits nobody. What was
    /// received last may still be worked on.
    ///
    /// ```
    /// use futures::stream;
    /// use std::time::Duration;
    /// use stream_multiplexer::Multiplexer;
    ///
    /// let multiplexer = Multiplexer::without_sinks();
    /// multiplexer.add_channel(1)?;
    /// multiplexer.add_channel(2)?;
    /// multiplexer.add_stream(stream::pending::<()>(), 2)?;
    /// multiplexer.close();
    /// assert!(!multiplexer.wait_all_drained(Duration::from_millis(10)));
    /// assert!(multiplexer.discard_channel(2));
    /// assert!(multiplexer.wait_all_drained(Duration::from_millis(10)));
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    #[must_use = "`false` when there is a stream that could still bring something"]
    pub fn wait_all_drained(&self, timeout: Duration) -> bool {
        let deadline = deadline(timeout);
        // Closed, it has no more channels than now.
        self.registry().wait_closed(deadline)
            && self.channels().into_iter().all(|channel| {
                // One that is unknown now was removed.
                self.registry().wait_drained(channel, deadline).unwrap_or(true)
            })
    }
}

impl<St, Si> Registry<St, Si> {
    fn wait_closed(&self, deadline: Option<Instant>) -> bool {
        self.closing.wait(deadline, || self.is_closed())
    }

    fn wait_drained(&self, id: ChannelId, deadline: Option<Instant>) -> Result<bool, MultiplexerError> {
        let channel = self.channel(id)?;
        Ok(channel.drained().wait(deadline, || channel.is_drained()))
    }
}

/// `None` if it is farther away than time reaches.
fn deadline(timeout: Duration) -> Option<Instant> {
    Instant::now().checked_add(timeout)
}
