//! The atomics and the lock that everything else is built on.
//!
//! No other file names `std::sync::atomic` or `std::sync::Mutex`: the models under `models/` compile
//! the files that keep the wake protocol with a `sync` of their own, which loom can interleave.

use std::sync::PoisonError;

pub(crate) use std::sync::MutexGuard;
pub(crate) use std::sync::atomic::{AtomicUsize, Ordering};

/// Bits in a word of the ready set. The models shrink it, so that small sets have every level.
pub(crate) const WORD_BITS: usize = usize::BITS as usize;

/// A mutex that knows no poison.
///
/// No foreign code runs while one of ours is held, so no panic can leave the data half changed.
#[derive(Debug, Default)]
pub(crate) struct Mutex<T>(std::sync::Mutex<T>);

impl<T> Mutex<T> {
    pub(crate) const fn new(value: T) -> Self {
        Self(std::sync::Mutex::new(value))
    }

    #[inline]
    pub(crate) fn lock(&self) -> MutexGuard<'_, T> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
