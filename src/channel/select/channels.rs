//! The channels of a select.

use crate::channel::Channel;
use crate::channel::select::{ChannelSelect, Seat};
use crate::channel::share::Share;
use crate::error::MultiplexerError;
use crate::id::ChannelId;
use crate::registry::Registry;
use crate::unwind::afterwards;
use crate::wait_list::Waiter;
use futures_core::Stream;
use std::sync::Arc;

/// Channels.
impl<St: Stream, Si> ChannelSelect<St, Si> {
    /// Adds a channel, and makes it ready.
    ///
    /// Cost: a walk through the channels of this select, and two lock pairs. May allocate.
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
    /// [`UnknownChannel`](MultiplexerError::UnknownChannel) if the multiplexer has no such channel;
    /// [`DuplicateChannel`](MultiplexerError::DuplicateChannel) if the channel is in this select.
    pub fn add(&mut self, channel: ChannelId, share: Share) -> Result<(), MultiplexerError> {
        if let Some(key) = self.find_channel(channel) {
            if !self.slots.slots()[key].channel().is_removed() {
                return Err(MultiplexerError::DuplicateChannel(channel));
            }
            // That channel was removed from the multiplexer and is about to leave. A new channel may have the same id. If
            // there is none, the select may have ended.
            self.remove(channel);
        }
        let channel = Some(self.registry.attach(channel)?);
        let key = self.slots.fill_with(|waker| Seat { channel, waiter: Waiter::default(), waker });
        self.schedule.add(key, share);
        self.terminated = false;
        self.unpark();
        Ok(())
    }

    /// Removes a channel from this select. The channel stays in the multiplexer. Returns whether the channel was in this
    /// select. No item of its streams is lost: the items wait until a task receives from the channel.
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
            // The select has ended: wake the task.
            self.unpark();
        }
        true
    }

    /// Changes the share of a channel. Returns whether the channel is in this select. If its last item left it in debt to
    /// the other channels of its priority, the debt remains.
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

    /// Returns the channels of this select and their shares, in arbitrary order.
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

    /// Returns whether a channel is in this select.
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

    /// Returns the number of channels in this select.
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

    /// Returns whether this select has no channel.
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

    pub(super) fn seats(&self) -> impl Iterator<Item = (usize, &Arc<Channel<St>>)> {
        self.slots
            .slots()
            .iter()
            .filter_map(|(key, seat)| seat.channel.as_ref().map(|channel| (key, channel)))
    }

    fn find_channel(&self, id: ChannelId) -> Option<usize> {
        self.seats().find(|(_, channel)| channel.id() == id).map(|(key, _)| key)
    }

    /// Wakes the task if it may sleep. Called when there is something to do that no wake announces.
    pub(super) fn unpark(&mut self) {
        if self.slots.unpark() {
            self.slots.tasks().wake_all();
        }
    }

    /// Removes the channel in slot `key`.
    pub(super) fn leave(&mut self, key: usize) {
        self.schedule.remove(key);
        self.shortcut.take_if(|shortcut| shortcut.key == key);
        let seat = self.slots.vacate(key, |Seat { channel, waiter, waker }| (waker, (channel, waiter)));
        let (channel, waiter) = seat.expect("it is there");
        depart(&self.registry, channel, waiter);
    }
}

/// Stops receiving from a channel.
pub(super) fn depart<St, Si>(
    registry: &Registry<St, Si>,
    channel: Option<Arc<Channel<St>>>,
    mut waiter: Waiter,
) {
    let Some(channel) = channel else { return };
    let left = afterwards(|| channel.tasks().leave(&mut waiter));
    registry.detach(&channel);
    drop(left);
}
