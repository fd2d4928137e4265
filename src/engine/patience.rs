//! How much may be polled in vain in one call.

/// How many members may be polled in vain in one call, before it yields to the executor.
const FRUITLESS_POLLS: usize = 64;

/// How many members in a row may wake themselves in their own poll, before the call yields.
///
/// One may have its reasons. Two in a row is what a used-up cooperative budget looks like: every
/// member would return `Pending` and wake itself, and all would be polled again and again.
const SELF_WAKES: usize = 2;

/// How much was polled in vain in one call.
#[derive(Debug, Default)]
pub(crate) struct Patience {
    pub(crate) fruitless: usize,
    self_wakes: usize,
}

impl Patience {
    #[inline]
    pub(crate) fn note(&mut self, woke_itself: bool) {
        self.fruitless += 1;
        self.self_wakes = if woke_itself { self.self_wakes + 1 } else { 0 };
    }

    /// An event came in between, in a batch: those that wake themselves are in a row no more.
    #[inline]
    pub(crate) fn note_event(&mut self) {
        self.self_wakes = 0;
    }

    #[inline]
    pub(crate) fn is_exhausted(&self) -> bool {
        self.fruitless >= FRUITLESS_POLLS || self.self_wakes >= SELF_WAKES
    }
}
