//! The atomics and the lock of this crate, from the standard library, loom or shuttle.
//!
//! Unit tests use versions that count their uses. No other file uses `std::sync::atomic` or locks a `std::sync::Mutex`. The
//! models under `models/` therefore run the whole crate on loom, which explores interleavings of threads and reorderings of
//! memory, and on shuttle, which picks interleavings of more threads at random.

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

/// The number of bits in a word of the ready set. In the models the words are so short that six members occupy every kind of
/// place: keys 0 to 2 may be alone in the root, keys 0 to 4 share a branch below the root, and key 5 is in a branch below
/// another branch.
pub(crate) const WORD_BITS: usize =
    if cfg!(any(loom_models, shuttle_models)) { 5 } else { usize::BITS as usize };

/// A mutex without poisoning.
///
/// No foreign code runs while a mutex of this crate is held. A panic therefore cannot leave the data half changed.
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
