//! [`Threads`]: the threads that wait for one thing, woken together.
//!
//! They wait in an `event_listener::Event`. That wakes under a lock of its own, which is why tasks wait in a
//! [`WaitList`](crate::wait_list::WaitList) instead. For threads it is safe: each is woken through a parker of
//! event-listener's, so no foreign code runs under that lock.
//!
//! Without the feature `blocking`, and on wasm, no thread can wait, and this is empty.

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
    /// Wakes all who wait. Each looks again whether what it waits for has come true.
    pub(crate) fn wake_all(&self) {
        #[cfg(all(feature = "blocking", not(target_family = "wasm")))]
        self.event.notify(usize::MAX);
    }
}

#[cfg(all(feature = "blocking", not(target_family = "wasm")))]
impl Threads {
    /// Blocks the thread until `is_true`, or until the deadline if there is one. Returns whether it is true. Who makes
    /// it true calls [`wake_all`](Self::wake_all) next.
    pub(crate) fn wait(&self, deadline: Option<Instant>, is_true: impl Fn() -> bool) -> bool {
        // Spares the listener, which is allocated.
        if is_true() {
            return true;
        }
        loop {
            let listener = self.event.listen();
            // Looks again: from here on no wake is missed, but one may have come before.
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

    /// What comes true after it was looked at, and before the thread is registered, is seen by the second look.
    #[test]
    fn no_wake_falls_between_looking_and_waiting() {
        let (threads, looks) = (Threads::default(), Cell::new(0));
        // Without that look it would be the third, a minute later.
        let deadline = Instant::now() + Duration::from_secs(60);
        assert!(threads.wait(Some(deadline), || {
            threads.wake_all();
            looks.set(looks.get() + 1);
            looks.get() == 2
        }));
    }

    /// Whoever is woken for nothing waits on.
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

    /// What comes true at the last moment counts.
    #[test]
    fn it_looks_again_when_the_time_is_over() {
        let (threads, looks) = (Threads::default(), Cell::new(0));
        assert!(threads.wait(Some(Instant::now()), || looks.replace(looks.get() + 1) == 2));
    }
}
