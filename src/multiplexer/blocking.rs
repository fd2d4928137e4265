//! Waiting by blocking the thread, for programs that are not async.

use super::Multiplexer;
use crate::error::MultiplexerError;
use crate::id::ChannelId;
use crate::registry::Registry;
use std::time::{Duration, Instant};

/// Waiting without an executor: only with the feature `blocking`, and not on wasm.
///
/// These methods block the calling thread for at most `timeout`; with [`Duration::MAX`], without a limit. Do not call them
/// in a task: its executor would stop, and the streams with it. They hold no lock while they wait, and any number of
/// threads may wait at the same time. With a `timeout` of zero they return immediately.
///
/// Cost: a lock pair for each look, and one or two allocations for a wait. The thread sleeps until it is woken.
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
///     // Or a thread that waits for a signal, or for an administrator's command.
///     let operator = multiplexer.clone();
///     thread::spawn(move || operator.close());
///
///     // Serves until another thread closes it.
///     while !multiplexer.wait_closed(Duration::from_secs(60)) {
///         println!("{multiplexer:?}");
///     }
///     // No stream is admitted any more. Those that are left have ten seconds to end.
///     if !multiplexer.wait_all_drained(Duration::from_secs(10)) {
///         for channel in multiplexer.channels() {
///             let left = multiplexer.remove_channel(channel).unwrap_or_default();
///             println!("channel {channel}: {} streams did not end in time", left.len());
///         }
///     }
///     // Now every `recv` returns an error. The threads may still work on the last items.
///     for thread in receiving {
///         thread.join().expect("a receiver panicked");
///     }
///     Ok(())
/// }
/// ```
impl<St, Si> Multiplexer<St, Si> {
    /// Blocks the thread until the multiplexer is [closed](Self::close), by any handle. Returns `false` if `timeout`
    /// passes first.
    ///
    /// Its streams go on after that; see [`wait_all_drained`](Self::wait_all_drained).
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
    #[must_use = "`false` if it is not closed"]
    pub fn wait_closed(&self, timeout: Duration) -> bool {
        self.registry().wait_closed(deadline(timeout))
    }

    /// Blocks the thread until a channel is closed and all streams in it have ended or left, as
    /// [`drained`](Self::drained) does for tasks. Returns `false` if `timeout` passes first.
    ///
    /// It does not close the channel. Another thread or task must receive from the channel, or its streams do not end. It
    /// also returns `true` when the channel is removed.
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

    /// Blocks the thread until the multiplexer is closed and all streams in all channels have ended or left. Returns `false`
    /// if `timeout` passes first.
    ///
    /// It is [`wait_closed`](Self::wait_closed) and then [`wait_drained`](Self::wait_drained) for each channel, with
    /// one deadline. A closed multiplexer admits no streams, so the answer `true` stays true. Other threads may still be
    /// working on the last items.
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
    #[must_use = "`false` if a stream has not ended"]
    pub fn wait_all_drained(&self, timeout: Duration) -> bool {
        let deadline = deadline(timeout);
        // A closed multiplexer gets no new channels.
        self.registry().wait_closed(deadline)
            && self.channels().into_iter().all(|channel| {
                // A channel that is unknown now was removed.
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
