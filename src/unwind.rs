//! What is still to be done when foreign code panics.
//!
//! Each guard runs its closure while the first panic goes on; a second panic in there is not let out, for
//! that would abort the process.

use std::mem;
use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};

/// Runs `action` at the end of the scope, whether that is left by a panic or not.
pub(crate) fn afterwards<F: FnOnce()>(action: F) -> Afterwards<F> {
    Afterwards(Some(action))
}

#[must_use]
pub(crate) struct Afterwards<F: FnOnce()>(Option<F>);

impl<F: FnOnce()> Drop for Afterwards<F> {
    #[inline]
    fn drop(&mut self) {
        let Some(action) = self.0.take() else { return };
        if std::thread::panicking() {
            // The first panic is the one that goes on.
            drop(catch_unwind(AssertUnwindSafe(action)));
        } else {
            action();
        }
    }
}

/// Runs `action` if the scope is left by a panic before [`OnPanic::defuse`].
pub(crate) fn on_panic<F: FnOnce()>(action: F) -> OnPanic<F> {
    OnPanic(afterwards(action))
}

#[must_use]
pub(crate) struct OnPanic<F: FnOnce()>(Afterwards<F>);

impl<F: FnOnce()> OnPanic<F> {
    #[inline]
    pub(crate) fn defuse(self) {
        mem::forget(self);
    }
}

/// Takes the step for each item, also when it panics for one; then the first panic goes on.
pub(crate) fn for_each<T>(items: impl IntoIterator<Item = T>, mut step: impl FnMut(T)) {
    let mut first = None;
    for item in items {
        if let Err(panic) = catch_unwind(AssertUnwindSafe(|| step(item))) {
            first.get_or_insert(panic);
        }
    }
    if let Some(panic) = first {
        resume_unwind(panic);
    }
}
