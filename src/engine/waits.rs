//! [`Waits`]: the longest wait of a ready member for its turn, in turns of others.
//!
//! Each item would cost too much if the beginning of each wait were recorded. Therefore one ready member at a time is
//! *measured*: the one that has the last turn from now on. When it has this turn, the next member is measured, with one
//! exception. If no member became ready during the measured wait, except at the end of a turn, then no wait is longer as long
//! as this remains so. Measuring pauses until it changes: the next turn then leads to the next measured member.
//!
//! **Bounds.** A measured member is ready all the time, so the longest measured wait `l` is never more than a member has waited
//! for. Conversely, with one receiver, no member X waits for more than `2 * l` turns. Proof: while X waits, every other member
//! has at most one turn, as [`ReadySet`](crate::engine::ready_set::ReadySet) states.
//!
//! - *If measuring goes on:* the measured member has its turn after at most `l` of the turns that X waits for. The member that
//!   is measured next does not have its turn before X. It waits for the turn that has just begun, and for all further turns
//!   that X waits for. These are at most `l`.
//! - *If measuring pauses:* every member that is ready then is the measured one, or had one of the at most `l` turns of the
//!   measured wait. So X waits for at most `l` turns until measuring goes on, and for at most `l` further turns, as above.
//!
//! Each further receiver may have one more member in its hands when measuring pauses and when it goes on, and may put it back
//! ready, before X. With `r` receivers, no member therefore waits for more than `2 * l + 2 * (r - 1)` turns.
//!
//! If the measured member [stops](Waits::stop) waiting before its turn, because it left or was paused, its wait counts as far as
//! it went. The turns up to the next one that leads to a measured member are then not measured, and the second bound does not
//! hold.

/// Means that no member is measured.
const NOBODY: usize = usize::MAX;

/// Means that the wait is not measured: the turn only leads to the next measured member.
const NEVER: u64 = u64::MAX;

#[derive(Debug)]
pub(crate) struct Waits {
    /// The key of the measured member, which is ready, or [`NOBODY`].
    measured: usize,
    /// The value of `turns` when the measured wait began, or [`NEVER`].
    since: u64,
    /// The number of turns that have begun.
    turns: u64,
    longest: u64,
    /// Whether no member became ready since the measured wait began, except at the end of a turn.
    is_steady: bool,
}

/// What does not depend on the keys.
pub(super) struct Counts {
    turns: u64,
    longest: u64,
}

impl Waits {
    /// Measures nothing, for an owner that does not ask.
    pub(super) fn unmeasured() -> Self {
        Self { measured: NOBODY, since: 0, turns: 0, longest: 0, is_steady: false }
    }

    /// Measures from now on. No key is ready.
    pub(super) fn begin(&mut self, Counts { turns, longest }: Counts) {
        *self = Self { since: NEVER, turns, longest, ..Self::unmeasured() };
    }

    pub(super) fn counts(&self) -> Counts {
        Counts { turns: self.turns, longest: self.longest() }
    }

    /// The longest measured wait, up to now.
    pub(super) fn longest(&self) -> u64 {
        self.longest_at(self.turns)
    }

    #[inline]
    fn longest_at(&self, turns: u64) -> u64 {
        self.longest.max(turns.saturating_sub(self.since))
    }

    /// Counts a turn, which begins now. Returns whether `key` was measured. The caller then calls [`end`](Self::end).
    #[inline(always)]
    pub(super) fn begin_turn(&mut self, key: usize) -> bool {
        self.turns += 1;
        self.measured == key
    }

    /// Ends the wait of the measured member, whose turn has just begun. Returns whether another one is to be measured.
    #[inline]
    pub(super) fn end(&mut self) -> bool {
        self.longest = self.longest_at(self.turns - 1);
        self.resume_with(None);
        !self.is_steady
    }

    /// Measures a member. Its wait includes the turn that has just begun.
    #[inline]
    pub(super) fn measure(&mut self, key: usize) {
        self.measured = key;
        self.since = self.turns - 1;
        self.is_steady = true;
    }

    /// A member became ready, but not at the end of its turn. Returns whether no wait is measured. The caller then calls
    /// [`resume_with`](Self::resume_with), with the key that has the next turn now.
    #[inline]
    pub(super) fn disturb(&mut self) -> bool {
        self.is_steady = false;
        self.since == NEVER
    }

    #[inline]
    pub(super) fn is_measured(&self, key: usize) -> bool {
        self.measured == key
    }

    /// The measured member is not ready any more, and had no turn. `next` is the key that has the next turn.
    pub(super) fn stop(&mut self, next: Option<usize>) {
        self.longest = self.longest();
        self.is_steady = false;
        self.resume_with(next);
    }

    /// Measures no wait until the turn of this member.
    #[inline]
    pub(super) fn resume_with(&mut self, next: Option<usize>) {
        self.measured = next.unwrap_or(NOBODY);
        self.since = NEVER;
    }
}
