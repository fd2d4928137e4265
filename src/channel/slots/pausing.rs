//! Pausing: of one stream, and of the channel.

use super::{Absent, Next, Phase, Slot, State, Turn, Wake};
use std::mem;

/// Of one stream.
impl<St> State<St> {
    /// Whether the stream in slot `key` is paused.
    pub(in crate::channel) fn is_paused(&self, key: usize) -> bool {
        self.slots.slots()[key].is_paused()
    }

    /// The stream in slot `key` has no turns from now on. `Err` if it has ended.
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
        Ok(())
    }

    /// The stream in slot `key` has turns again, and one at once: nobody noted whether it was woken. `Err` if it has
    /// ended.
    pub(in crate::channel) fn resume(&mut self, key: usize) -> Result<Wake, Absent> {
        let slot = &mut self.slots.slots_mut()[key];
        *slot = match mem::replace(slot, Slot::Leaving) {
            Slot::Paused { entry: 0, member } => Slot::Present(member),
            Slot::Paused { entry, member } => Slot::Queued { entry, member },
            Slot::PausedAway { pair, entry } => Slot::Away { pair, woken: true, entry },
            // It has a turn when it comes.
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
        self.slots.set_ready(key);
        Ok(self.wake())
    }
}

/// Of the channel.
impl<St> State<St> {
    pub(in crate::channel) fn pause_turns(&mut self) {
        self.phase = match self.phase {
            Phase::Open => Phase::Paused,
            Phase::Closed => Phase::PausedClosed,
            other => other,
        };
    }

    /// The receivers do not sleep until a member wakes them, but until they are woken by this.
    pub(in crate::channel) fn resume_turns(&mut self) -> Wake {
        let before = self.phase;
        self.phase = match before {
            Phase::Paused => Phase::Open,
            Phase::PausedClosed => Phase::Closed,
            other => other,
        };
        Wake::RECEIVERS.when(self.phase != before)
    }

    /// Resumes all that is paused here, the channel and its streams.
    ///
    /// Cost: a walk through the pairs, if any stream is paused.
    pub(in crate::channel) fn resume_all(&mut self) -> Wake {
        let mut wake = self.resume_turns();
        let mut from = 0;
        while self.paused > 0 {
            let key = self.seated.next_from(from).expect("who is paused is seated");
            from = key + 1;
            wake = wake | self.resume(key).unwrap_or(Wake::NONE);
        }
        wake
    }

    /// What comes next where no turns are taken. A receiver waits for this epoch to pass, which
    /// [`resume_turns`](Self::resume_turns) and the end see to. It does not park: members are woken for nothing now.
    pub(super) fn without_turns(&self) -> Turn<St> {
        if self.has_ended() { Turn::Ended } else { Turn::Next(Next::Idle(self.slots.tasks().epoch())) }
    }
}

impl Phase {
    /// Whether turns are taken, and departures are received.
    #[inline]
    pub(super) fn has_turns(self) -> bool {
        self <= Self::Closed
    }

    /// Whether no stream will come.
    pub(super) fn is_closed(self) -> bool {
        matches!(self, Self::Closed | Self::PausedClosed | Self::Removed)
    }

    pub(in crate::channel) fn is_paused(self) -> bool {
        matches!(self, Self::Paused | Self::PausedClosed)
    }
}
