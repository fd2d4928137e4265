//! The atomics and the lock that everything else is built on: the standard library's, or loom's, or shuttle's.
//!
//! In the unit tests they are counted. No other file names `std::sync::atomic` or `std::sync::Mutex`, so
//! the models under `models/` run all of this crate on loom, which goes through the interleavings of
//! threads and the reorderings of memory, and on shuttle, which picks interleavings of more threads at random.

#[cfg(all(test, not(loom_models)))]
pub(crate) mod counted;

#[cfg(all(test, not(loom_models)))]
use counted as primitives;
#[cfg(loom_models)]
use loom::sync as primitives;
#[cfg(all(shuttle_models, not(test)))]
use shuttle::sync as primitives;
#[cfg(not(any(test, loom_models, shuttle_models)))]
use std::sync as primitives;
use std::sync::PoisonError;

pub(crate) use primitives::MutexGuard;
pub(crate) use primitives::atomic::{AtomicUsize, Ordering};

/// Bits in a word of the ready set. In the models so few that six members have every kind of place: keys
/// 0 to 2 may be alone, 0 to 4 share a branch below the root, and 5 is in one below another branch.
pub(crate) const WORD_BITS: usize =
    if cfg!(any(loom_models, shuttle_models)) { 5 } else { usize::BITS as usize };

/// A mutex that knows no poison.
///
/// No foreign code runs while one of ours is held, so no panic can leave the data half changed.
#[derive(Debug)]
pub(crate) struct Mutex<T>(primitives::Mutex<T>);

impl<T> Mutex<T> {
    pub(crate) fn new(value: T) -> Self {
        Self(primitives::Mutex::new(value))
    }

    #[inline]
    pub(crate) fn lock(&self) -> MutexGuard<'_, T> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(crate) fn into_inner(self) -> T {
        self.0.into_inner().unwrap_or_else(PoisonError::into_inner)
    }
}
