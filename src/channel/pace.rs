//! [`Pace`]: how often a receiver yields to its executor.

use std::num::NonZeroU32;

/// Counts down the events that a receiver may still return, with no `Pending` in between, before it yields to its executor.
#[derive(Debug)]
pub(crate) struct Pace {
    /// [`NEVER`], or the number of events from one yield to the next.
    yield_every: u32,
    left: u32,
}

/// Means that the receiver never yields. If a receiver returns this many events without a `Pending`, which takes minutes,
/// [`Pace::rests`] finds this value and starts again.
const NEVER: u32 = u32::MAX;

impl Pace {
    pub(crate) fn new(yield_every: Option<NonZeroU32>) -> Self {
        let yield_every = yield_every.map_or(NEVER, NonZeroU32::get);
        Self { yield_every, left: yield_every }
    }

    /// Whether the count has run out. The caller then calls [`rests`](Self::rests).
    #[inline]
    pub(crate) fn is_over(&self) -> bool {
        self.left == 0
    }

    /// Restarts the count. Returns whether to yield: the caller then wakes its task and returns `Pending`.
    #[cold]
    pub(crate) fn rests(&mut self) -> bool {
        self.begin();
        self.yield_every != NEVER
    }

    /// Counts returned events.
    #[inline]
    pub(crate) fn note(&mut self, events: usize) {
        self.left = self.left.saturating_sub(u32::try_from(events).unwrap_or(NEVER));
    }

    /// Lets the count run out now.
    pub(crate) fn end(&mut self) {
        self.left = 0;
    }

    /// Restarts the count, because the receiver returns `Pending`.
    #[inline]
    pub(crate) fn begin(&mut self) {
        self.left = self.yield_every;
    }
}

#[cfg(all(test, not(loom_models)))]
mod tests {
    use super::*;

    /// Even if more events are returned than the count goes to.
    #[test]
    fn a_receiver_that_never_yields_restarts_the_count() {
        let mut pace = Pace::new(None);
        pace.note(usize::MAX);
        assert!(pace.is_over() && !pace.rests());
        assert!(!pace.is_over());
    }
}
