//! Reachability: what to drop when handles and receivers are dropped.

use super::Registry;
use crate::channel::Channel;
use crate::channel::slots::Which;
use crate::error::MultiplexerError;
use crate::id::ChannelId;
use crate::sink::slot::Phase;
use crate::unwind::{afterwards, for_each};
use std::sync::Arc;

/// Reachability.
impl<St, Si> Registry<St, Si> {
    /// Returns a channel, and counts a receiver of it.
    pub(crate) fn attach(&self, id: ChannelId) -> Result<Arc<Channel<St>>, MultiplexerError> {
        let state = self.state.lock();
        let channel = Arc::clone(&state.channels.find(id)?.1.channel);
        channel.attach();
        Ok(channel)
    }

    /// Uncounts a receiver. If all handles were dropped, and this was the last receiver, the channel is unreachable.
    pub(crate) fn detach(&self, channel: &Channel<St>) {
        let state = self.state.lock();
        let is_unreachable = channel.detach() == 0 && state.abandoned;
        drop(state);
        if is_unreachable {
            self.let_go(channel, Which::All);
        }
    }

    /// All handles were dropped: closes the multiplexer, and drops unreachable pairs. In channels without a receiver
    /// all pairs are unreachable; in other channels, pairs whose stream has ended. Paused channels and streams are
    /// resumed, because no handle can resume them later.
    pub(crate) fn abandon(&self) {
        let closed = afterwards(|| self.close());
        self.state.lock().abandoned = true;
        let mut channels = Vec::new();
        self.for_each_channel(|all, key| {
            let channel = Arc::clone(&all.all[key].channel);
            let (which, wake) = match channel.receivers() {
                // A select that still receives from another channel may come to this one, too, to yield its departures.
                0 => (Which::All, channel.resume()),
                _ => (Which::Ended, channel.resume_all()),
            };
            channels.push((channel, which, wake));
        });
        for_each(channels, |(channel, which, wake)| {
            let resumed = afterwards(|| channel.wake(wake));
            self.let_go(&channel, which);
            drop(resumed);
        });
        drop(closed);
    }

    pub(super) fn let_go(&self, channel: &Channel<St>, which: Which) {
        let mut pairs = Vec::new();
        let is_over = self.take_pairs(channel, which, |mut pair| {
            // Sends in flight go on.
            pair.phase = Phase::Ending;
            pairs.push(pair);
        });
        let flushers_woken = self.wake_flushers_if(is_over);
        // A select may have begun to wait for this channel in the meantime.
        let woken = afterwards(|| {
            if which == Which::All {
                channel.wake_if_over();
            }
        });
        drop(pairs);
        drop(woken);
        drop(flushers_woken);
    }
}
