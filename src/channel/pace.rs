//! [`Pace`]: how often a receiver lets its executor run.

use std::num::NonZeroU32;

/// How many more events a receiver returns, if there is no `Pending` in between, before it lets the executor run.
#[derive(Debug)]
pub(crate) struct Pace {
    /// [`NEVER`], or how many there are from one rest to the next.
    yield_every: u32,
    left: u32,
}

/// In so many events, some minutes, there is a `Pending`, or it is looked whether this is meant.
const NEVER: u32 = u32::MAX;

impl Pace {
    pub(crate) fn new(yield_every: Option<NonZeroU32>) -> Self {
        let yield_every = yield_every.map_or(NEVER, NonZeroU32::get);
        Self { yield_every, left: yield_every }
    }

    /// Whether a rest is due: then ask [`rests`](Self::rests).
    #[inline]
    pub(crate) fn is_over(&self) -> bool {
        self.left == 0
    }

    /// Begins anew. Returns whether the executor is to run now; then the caller wakes its task and returns `Pending`.
    #[cold]
    pub(crate) fn rests(&mut self) -> bool {
        self.begin();
        self.yield_every != NEVER
    }

    /// So many events are returned.
    #[inline]
    pub(crate) fn note(&mut self, events: usize) {
        self.left = self.left.saturating_sub(u32::try_from(events).unwrap_or(NEVER));
    }

    /// A rest is due.
    pub(crate) fn end(&mut self) {
        self.left = 0;
    }

    /// `Pending` is returned.
    #[inline]
    pub(crate) fn begin(&mut self) {
        self.left = self.yield_every;
    }
}
