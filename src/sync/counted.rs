//! The standard library's atomics and lock, with counters of their uses: see [`uses`].

use std::cell::Cell;
pub(crate) use std::sync::MutexGuard;
use std::sync::{self, LockResult};

thread_local! {
    static LOCKS: Cell<usize> = const { Cell::new(0) };
    static UPDATES: Cell<usize> = const { Cell::new(0) };
}

fn count(uses: &'static std::thread::LocalKey<Cell<usize>>) {
    uses.set(uses.get() + 1);
}

/// Returns how many lock pairs and how many atomic read-modify-writes of this crate `f` performs in this thread.
pub(crate) fn uses<T>(f: impl FnOnce() -> T) -> (T, [usize; 2]) {
    let before = [LOCKS.get(), UPDATES.get()];
    let value = f();
    (value, [LOCKS.get() - before[0], UPDATES.get() - before[1]])
}

#[derive(Debug)]
pub(crate) struct Mutex<T>(sync::Mutex<T>);

impl<T> Mutex<T> {
    pub(crate) fn new(value: T) -> Self {
        Self(sync::Mutex::new(value))
    }

    pub(crate) fn lock(&self) -> LockResult<MutexGuard<'_, T>> {
        count(&LOCKS);
        self.0.lock()
    }

    pub(crate) fn into_inner(self) -> LockResult<T> {
        self.0.into_inner()
    }
}

pub(crate) mod atomic {
    use super::{UPDATES, count};
    use std::sync::atomic;
    pub(crate) use std::sync::atomic::Ordering;

    #[derive(Debug)]
    pub(crate) struct AtomicUsize(atomic::AtomicUsize);

    impl AtomicUsize {
        pub(crate) fn new(value: usize) -> Self {
            Self(atomic::AtomicUsize::new(value))
        }

        pub(crate) fn load(&self, ordering: Ordering) -> usize {
            self.0.load(ordering)
        }

        pub(crate) fn store(&self, value: usize, ordering: Ordering) {
            self.0.store(value, ordering);
        }

        pub(crate) fn swap(&self, value: usize, ordering: Ordering) -> usize {
            count(&UPDATES);
            self.0.swap(value, ordering)
        }

        pub(crate) fn fetch_or(&self, value: usize, ordering: Ordering) -> usize {
            count(&UPDATES);
            self.0.fetch_or(value, ordering)
        }

        pub(crate) fn compare_exchange(
            &self,
            current: usize,
            new: usize,
            success: Ordering,
            failure: Ordering,
        ) -> Result<usize, usize> {
            count(&UPDATES);
            self.0.compare_exchange(current, new, success, failure)
        }
    }
}
