//! Pausing and resuming streams and channels.

use super::{Registry, pair_mut};
use crate::error::MultiplexerError;
use crate::id::{ChannelId, StreamId};
use std::sync::Arc;

/// Pausing. Runs under the registry's lock, so that no move comes in between.
impl<St, Si> Registry<St, Si> {
    pub(crate) fn pause_stream(&self, id: StreamId) -> Result<(), MultiplexerError> {
        let mut guard = self.state.lock();
        let state = &mut *guard;
        let seat = pair_mut(&mut state.pairs, id).ok_or(MultiplexerError::UnknownStream(id))?.seat;
        let channel = state.channels.of(seat);
        channel.pause_stream(seat.key()).map_err(|_| MultiplexerError::Ended(id))
    }

    pub(crate) fn resume_stream(&self, id: StreamId) -> Result<(), MultiplexerError> {
        let mut guard = self.state.lock();
        let state = &mut *guard;
        let seat = pair_mut(&mut state.pairs, id).ok_or(MultiplexerError::UnknownStream(id))?.seat;
        let channel = Arc::clone(state.channels.of(seat));
        let wake = channel.resume_stream(seat.key()).map_err(|_| MultiplexerError::Ended(id))?;
        drop(guard);
        channel.wake(wake);
        Ok(())
    }

    pub(crate) fn is_paused(&self, id: StreamId) -> Option<bool> {
        let mut guard = self.state.lock();
        let state = &mut *guard;
        let seat = pair_mut(&mut state.pairs, id)?.seat;
        Some(state.channels.of(seat).is_stream_paused(seat.key()))
    }

    pub(crate) fn pause_channel(&self, id: ChannelId) -> Result<(), MultiplexerError> {
        self.channel(id).map(|channel| channel.pause())
    }

    pub(crate) fn resume_channel(&self, id: ChannelId) -> Result<(), MultiplexerError> {
        let channel = self.channel(id)?;
        let wake = channel.resume();
        channel.wake(wake);
        Ok(())
    }

    pub(crate) fn is_channel_paused(&self, id: ChannelId) -> Option<bool> {
        self.channel(id).ok().map(|channel| channel.is_paused())
    }
}
