//! [`Pace`]: how often a receiver lets its executor run.

use std::num::NonZeroU32;

/// How many events a receiver returned in a row, with no `Pending` in between.
#[derive(Debug)]
pub(crate) struct Pace {
    /// After how many it yields. 0: never.
    yield_every: u32,
    in_a_row: u32,
}

impl Pace {
    pub(crate) fn new(yield_every: u32) -> Self {
        Self { yield_every, in_a_row: 0 }
    }

    pub(crate) fn set(&mut self, yield_every: Option<NonZeroU32>) {
        self.yield_every = yield_every.map_or(0, NonZeroU32::get);
    }

    /// Whether the executor is to run now. If so the caller wakes its task and returns `Pending`.
    #[inline]
    pub(crate) fn is_over(&mut self) -> bool {
        let is_over = self.yield_every != 0 && self.in_a_row >= self.yield_every;
        if is_over {
            self.rest();
        }
        is_over
    }

    /// So many events are returned.
    #[inline]
    pub(crate) fn note(&mut self, events: usize) {
        self.in_a_row = self.in_a_row.saturating_add(u32::try_from(events).unwrap_or(u32::MAX));
    }

    /// `Pending` is returned.
    #[inline]
    pub(crate) fn rest(&mut self) {
        self.in_a_row = 0;
    }
}
