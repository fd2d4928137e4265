//! What is still to be done when foreign code panics.
//!
//! One rule for all that call foreign code or own foreign values: every step is taken and every value is dropped,
//! whatever panics. After that the first panic goes on; the others are swallowed. While the thread unwinds already,
//! all of them are swallowed, because a panic that is let out then aborts the process.

use std::any::Any;
use std::mem;
use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};
use std::thread;

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
        if thread::panicking() {
            unheard(action);
        } else {
            action();
        }
    }
}

/// Runs `action` and swallows its panic.
// Out of line, so that what the action captures need not be in memory before.
#[cold]
#[inline(never)]
fn unheard(action: impl FnOnce()) {
    if let Err(panic) = catch_unwind(AssertUnwindSafe(action)) {
        swallow(panic);
    }
}

/// Runs `action` if the scope is left by a panic before [`OnPanic::defuse`].
pub(crate) fn on_panic<F: FnOnce()>(action: F) -> OnPanic<F> {
    OnPanic(Some(action))
}

#[must_use]
pub(crate) struct OnPanic<F: FnOnce()>(Option<F>);

impl<F: FnOnce()> OnPanic<F> {
    #[inline]
    pub(crate) fn defuse(self) {
        mem::forget(self);
    }
}

impl<F: FnOnce()> Drop for OnPanic<F> {
    #[inline]
    fn drop(&mut self) {
        self.0.take().into_iter().for_each(unheard);
    }
}

/// Takes the step for each item, also when it panics for one; then the first panic goes on. The iterator itself must
/// not panic.
pub(crate) fn for_each<T>(items: impl IntoIterator<Item = T>, step: impl FnMut(T)) {
    let mut steps = Steps::default();
    steps.for_each(items, step);
    steps.finish();
}

/// Drops each item, also when the drop of one panics; then the first panic goes on. The iterator itself must not
/// panic.
pub(crate) fn drop_all<T>(items: impl IntoIterator<Item = T>) {
    for_each(items, drop);
}

/// Steps that are all taken, whatever panics in one of them; at the end the first panic goes on.
#[derive(Default)]
#[must_use = "its panic is to go on"]
pub(crate) struct Steps {
    first: Option<Panic>,
}

type Panic = Box<dyn Any + Send>;

impl Steps {
    /// Takes a step. `None` if it panicked.
    pub(crate) fn take<R>(&mut self, step: impl FnOnce() -> R) -> Option<R> {
        match catch_unwind(AssertUnwindSafe(step)) {
            Ok(done) => Some(done),
            Err(panic) => {
                self.note(panic);
                None
            }
        }
    }

    /// As [`for_each`], which is one step.
    ///
    /// Cost: catches once, and once more for each panic.
    #[inline]
    pub(crate) fn for_each<T>(&mut self, items: impl IntoIterator<Item = T>, mut step: impl FnMut(T)) {
        let mut items = items.into_iter();
        // An item has left the iterator when its step panics, so each time it goes on behind that one.
        let mut rest = || {
            for item in items.by_ref() {
                step(item);
            }
        };
        while self.take(&mut rest).is_none() {}
    }

    #[cold]
    fn note(&mut self, panic: Panic) {
        match self.first {
            None => self.first = Some(panic),
            Some(_) => swallow(panic),
        }
    }

    /// Lets the first panic go on, if there was one.
    pub(crate) fn finish(self) {
        match self.first {
            None => {}
            Some(panic) if thread::panicking() => swallow(panic),
            Some(panic) => resume_unwind(panic),
        }
    }
}

/// Drops what a panic carries: foreign code once more. If that panics as well, what it panics with is leaked, for its
/// drop could panic without an end.
fn swallow(panic: Panic) {
    if let Err(again) = catch_unwind(AssertUnwindSafe(|| drop(panic))) {
        mem::forget(again);
    }
}
