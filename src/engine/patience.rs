//! How many polls in vain one call may make.

/// How many members one call may poll in vain before it yields to the executor.
const FRUITLESS_POLLS: usize = 64;

/// How many members in a row may wake themselves in their own poll before the call yields.
///
/// A single member may do so for reasons of its own. Two in a row suggest that the cooperative budget is used up: every
/// member would then return `Pending` and wake itself, and the call would poll all of them again and again.
const SELF_WAKES: usize = 2;

/// Counts the polls in vain of one call.
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
