//! Pausing one stream, and pausing the channel.

use super::{Absent, Next, Phase, Slot, State, Turn, Wake};
use std::mem;

/// Pausing one stream.
impl<St> State<St> {
    /// Returns whether the stream in slot `key` is paused.
    pub(in crate::channel) fn is_paused(&self, key: usize) -> bool {
        self.slots.slots()[key].is_paused()
    }

    /// Pauses the stream in slot `key`: it has no turns from now on. `Err` if it has ended.
    pub(in crate::channel) fn pause(&mut self, key: usize) -> Result<(), Absent> {
        let slot = &mut self.slots.slots_mut()[key];
        if slot.is_paused() {
            return Ok(());
        }
        *slot = match mem::replace(slot, Slot::Leaving) {
            Slot::Present(member) => Slot::Paused { entry: 0, member },
            Slot::Queued { entry, member } => Slot::Paused { entry, member },
            Slot::Away { pair, entry, .. } => Slot::PausedAway { pair, entry },
            Slot::Expected { pair, waker } => Slot::PausedExpected { pair, waker },
            ended => {
                *slot = ended;
                return Err(Absent::Ended);
            }
        };
        self.paused += 1;
        self.slots.clear_ready(key);
        self.slots.stop_waiting(key);
        Ok(())
    }

    /// Resumes the stream in slot `key`. The stream is ready, because its wakes were not recorded during the pause. `Err` if
    /// it has ended.
    pub(in crate::channel) fn resume(&mut self, key: usize) -> Result<Wake, Absent> {
        let slot = &mut self.slots.slots_mut()[key];
        *slot = match mem::replace(slot, Slot::Leaving) {
            Slot::Paused { entry: 0, member } => Slot::Present(member),
            Slot::Paused { entry, member } => Slot::Queued { entry, member },
            Slot::PausedAway { pair, entry } => Slot::Away { pair, woken: true, entry },
            // The stream is made ready when it arrives.
            Slot::PausedExpected { pair, waker } => Slot::Expected { pair, waker },
            other => {
                let is_ended = matches!(other, Slot::Ended(_));
                *slot = other;
                return if is_ended { Err(Absent::Ended) } else { Ok(Wake::NONE) };
            }
        };
        let is_present = matches!(slot, Slot::Present(_));
        self.paused -= 1;
        if !is_present {
            return Ok(Wake::NONE);
        }
        self.make_ready(key);
        Ok(self.wake())
    }
}

/// Pausing the channel.
impl<St> State<St> {
    pub(in crate::channel) fn pause_turns(&mut self) {
        self.phase = match self.phase {
            Phase::Open => Phase::Paused,
            Phase::Closed => Phase::PausedClosed,
            other => other,
        };
    }

    /// Resumes the channel. During a pause, receivers wait for this wake and not for wakes of members.
    pub(in crate::channel) fn resume_turns(&mut self) -> Wake {
        let before = self.phase;
        self.phase = match before {
            Phase::Paused => Phase::Open,
            Phase::PausedClosed => Phase::Closed,
            other => other,
        };
        Wake::RECEIVERS.when(self.phase != before)
    }

    /// Resumes the channel and all its paused streams.
    ///
    /// Cost: a walk through the pairs, if any stream is paused.
    pub(in crate::channel) fn resume_all(&mut self) -> Wake {
        let mut wake = self.resume_turns();
        let mut from = 0;
        while self.paused > 0 {
            let key = self.seated.next_from(from).expect("a paused stream is seated");
            from = key + 1;
            wake = wake | self.resume(key).unwrap_or(Wake::NONE);
        }
        wake
    }

    /// The next step of a receiver in a phase without turns. The receiver waits until this epoch has passed;
    /// [`resume_turns`](Self::resume_turns) and the end of the channel advance it. The receiver does not park, because wakes
    /// of members need not wake it during a pause.
    pub(super) fn without_turns(&self) -> Turn<St> {
        if self.has_ended() { Turn::Ended } else { Turn::Next(Next::Idle(self.slots.tasks().epoch())) }
    }
}

impl Phase {
    /// Returns whether receivers take turns and yield departures.
    #[inline]
    pub(super) fn has_turns(self) -> bool {
        self <= Self::Closed
    }

    /// Returns whether no stream will be admitted anymore.
    pub(super) fn is_closed(self) -> bool {
        matches!(self, Self::Closed | Self::PausedClosed | Self::Removed)
    }

    pub(in crate::channel) fn is_paused(self) -> bool {
        matches!(self, Self::Paused | Self::PausedClosed)
    }
}
