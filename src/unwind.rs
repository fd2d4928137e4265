//! Guards that complete the work of this crate when foreign code panics.
//!
//! One rule holds for all code that calls foreign code or owns foreign values: every step is taken and every value is
//! dropped, whatever panics. After that the first panic continues, and the others are suppressed. While the thread is
//! already unwinding, all panics are suppressed, because a panic that escapes would then abort the process.

use std::any::Any;
use std::mem;
use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};
use std::thread;

/// Runs `action` at the end of the scope, with or without a panic.
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

/// Runs `action` and suppresses its panic.
// Out of line, so that the captures of the action need not be spilled to memory on the path without a panic.
#[cold]
#[inline(never)]
pub(crate) fn unheard(action: impl FnOnce()) {
    let mut action = Some(action);
    catch(&mut || {
        if let Some(action) = action.take() {
            action();
        }
    });
}

/// Of one type for all actions: what catches a panic takes long to compile, and each guard would have its own.
fn catch(action: &mut dyn FnMut()) {
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
        if let Some(action) = self.0.take() {
            unheard(action);
        }
    }
}

/// Takes the step for each item, even if a step panics. After the last step the first panic continues. The iterator itself
/// must not panic.
pub(crate) fn for_each<T>(items: impl IntoIterator<Item = T>, step: impl FnMut(T)) {
    let mut steps = Steps::default();
    steps.for_each(items, step);
    steps.finish();
}

/// Drops each item, even if a drop panics. After the last drop the first panic continues. The iterator itself must not
/// panic.
pub(crate) fn drop_all<T>(items: impl IntoIterator<Item = T>) {
    for_each(items, drop);
}

/// Steps that are all taken, even if one panics. In the end the first panic continues.
#[derive(Default)]
#[must_use = "`finish` continues the panic"]
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

    /// Takes the step for each item, as [`for_each`] does.
    ///
    /// Cost: one `catch_unwind`, and one more for each panic.
    #[inline]
    pub(crate) fn for_each<T>(&mut self, items: impl IntoIterator<Item = T>, mut step: impl FnMut(T)) {
        let mut items = items.into_iter();
        // When a step panics, its item has already left the iterator. The next round continues behind this item.
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

    /// Continues the first panic, if any.
    pub(crate) fn finish(self) {
        match self.first {
            None => {}
            Some(panic) if thread::panicking() => swallow(panic),
            Some(panic) => resume_unwind(panic),
        }
    }
}

/// Drops the payload of a panic, whose drop is foreign code. If the drop panics as well, the new payload is leaked, because
/// its drop could panic again without end.
fn swallow(panic: Panic) {
    if let Err(again) = catch_unwind(AssertUnwindSafe(|| drop(panic))) {
        mem::forget(again);
    }
}
