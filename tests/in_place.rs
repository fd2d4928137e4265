//! An executor that polls in a task's waker, or stops and drops its tasks there, or whose wakers panic: whatever
//! waits in this crate goes on.
//!
//! The same executor and the same scenes hang in what is built on `event_listener`, which wakes, clones and drops
//! wakers under its own lock: `benches/peers/src/bin/in_place` shows that.

#[path = "in_place/executor.rs"]
mod executor;
#[path = "in_place/ours.rs"]
mod ours;
#[path = "in_place/scenes.rs"]
mod scenes;
mod support;

use ours::{Receiver, Recv, SendOne, Slab};

macro_rules! test_each {
    ($($scene:ident),*) => {$(
        #[test]
        fn $scene() {
            support::finishes(scenes::$scene::<Recv>);
            support::finishes(scenes::$scene::<Receiver>);
            support::finishes(scenes::$scene::<SendOne>);
            support::finishes(scenes::$scene::<Slab>);
        }
    )*};
}

test_each!(polls_in_wake, stops_in_wake, stops_in_clone, stops_in_drop, panics_in_wake);
