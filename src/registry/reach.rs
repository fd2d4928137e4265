//! Who can still reach what, when handles and receivers go.

use super::Registry;
use crate::channel::Channel;
use crate::channel::slots::Which;
use crate::error::MultiplexerError;
use crate::id::ChannelId;
use crate::sink::slot::Phase;
use crate::unwind::{afterwards, for_each};
use std::sync::Arc;

/// Who can still reach what.
impl<St, Si> Registry<St, Si> {
    /// A channel, for a receiver.
    pub(crate) fn attach(&self, id: ChannelId) -> Result<Arc<Channel<St>>, MultiplexerError> {
        let state = self.state.lock();
        let channel = Arc::clone(&state.channels.find(id)?.1.channel);
        channel.attach();
        Ok(channel)
    }

    /// A receiver is gone. When the handles are gone, too, nobody reaches the channel without one.
    pub(crate) fn detach(&self, channel: &Channel<St>) {
        let state = self.state.lock();
        let is_unreachable = channel.detach() == 0 && state.abandoned;
        drop(state);
        if is_unreachable {
            self.let_go(channel, Which::All);
        }
    }

    /// All handles are gone: closes, and lets go of what nobody can reach any more. That is all in channels
    /// without a receiver, and in the others the pairs whose stream has ended. What is paused there goes on, for nobody
    /// can resume it.
    pub(crate) fn abandon(&self) {
        let closed = afterwards(|| self.close());
        self.state.lock().abandoned = true;
        let mut channels = Vec::new();
        self.for_each_channel(|all, key| {
            let channel = Arc::clone(&all.all[key].channel);
            let (which, wake) = match channel.receivers() {
                // A select that has another channel may still come to this one, for what it has to report.
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
        self.take_pairs(channel, which, |mut pair| {
            // Sends in flight go on.
            pair.phase = Phase::Ending;
            pairs.push(pair);
        });
        // A select may have come meanwhile, and sleep.
        let woken = afterwards(|| {
            if which == Which::All {
                channel.wake_if_over();
            }
        });
        drop(pairs);
        drop(woken);
    }
}
