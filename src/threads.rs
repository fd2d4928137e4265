//! [`Threads`]: threads that wait for one condition and are woken together.
//!
//! The threads wait in an `event_listener::Event`, which wakes under its own lock. Tasks therefore wait in a
//! [`WaitList`](crate::wait_list::WaitList) instead. For threads the lock is harmless: event-listener wakes a thread through
//! its own parker, and no foreign code runs under the lock.
//!
//! Without the feature `blocking`, and on wasm, no thread can wait, and [`Threads`] is empty.

#[cfg(all(feature = "blocking", not(target_family = "wasm")))]
use {
    event_listener::{Event, Listener},
    std::time::Instant,
};

#[derive(Debug, Default)]
pub(crate) struct Threads {
    #[cfg(all(feature = "blocking", not(target_family = "wasm")))]
    event: Event,
}

impl Threads {
    /// Wakes all waiting threads. Each thread checks its condition again.
    pub(crate) fn wake_all(&self) {
        #[cfg(all(feature = "blocking", not(target_family = "wasm")))]
        self.event.notify(usize::MAX);
    }
}

#[cfg(all(feature = "blocking", not(target_family = "wasm")))]
impl Threads {
    /// Blocks the thread until `is_true` returns `true`, or until the deadline, if any. Returns the last result of
    /// `is_true`. Code that makes the condition true must call [`wake_all`](Self::wake_all) after that.
    pub(crate) fn wait(&self, deadline: Option<Instant>, is_true: impl Fn() -> bool) -> bool {
        // Avoids the allocation of a listener.
        if is_true() {
            return true;
        }
        loop {
            let listener = self.event.listen();
            // Checks again: no wake is missed from here on, but a wake may have come before.
            if is_true() {
                return true;
            }
            match deadline {
                None => listener.wait(),
                Some(deadline) => {
                    if listener.wait_deadline(deadline).is_none() {
                        return is_true();
                    }
                }
            }
        }
    }
}

#[cfg(all(test, feature = "blocking", not(target_family = "wasm")))]
mod tests {
    use super::*;
    use std::cell::Cell;
    use std::thread;
    use std::time::Duration;

    /// A condition that becomes true after the first check, and before the thread is registered, is seen by the second
    /// check.
    #[test]
    fn no_wake_falls_between_looking_and_waiting() {
        let (threads, looks) = (Threads::default(), Cell::new(0));
        // Without the second check, the next one would come a minute later.
        let deadline = Instant::now() + Duration::from_secs(60);
        assert!(threads.wait(Some(deadline), || {
            threads.wake_all();
            looks.set(looks.get() + 1);
            looks.get() == 2
        }));
    }

    /// A thread that is woken while its condition is false keeps waiting.
    #[test]
    fn a_wake_alone_is_not_enough() {
        for deadline in [None, Some(Instant::now() + Duration::from_secs(3600))] {
            let threads = Threads::default();
            thread::scope(|scope| {
                let waiting = scope.spawn(|| {
                    let looks = Cell::new(0);
                    let is_true = threads.wait(deadline, || looks.replace(looks.get() + 1) >= 9);
                    (is_true, looks.get())
                });
                while !waiting.is_finished() {
                    threads.wake_all();
                    thread::yield_now();
                }
                assert_eq!(waiting.join().unwrap(), (true, 10));
            });
        }
    }

    /// A condition that becomes true at the deadline counts.
    #[test]
    fn it_looks_again_when_the_time_is_over() {
        let (threads, looks) = (Threads::default(), Cell::new(0));
        assert!(threads.wait(Some(Instant::now()), || looks.replace(looks.get() + 1) == 2));
    }
}
