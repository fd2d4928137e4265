//! An executor that polls a task in its waker, that stops and drops its tasks there, or whose wakers panic. All waits
//! of this crate continue to work.
//!
//! With the same executor and scenes, code built on `event_listener` hangs, because it wakes, clones and drops wakers
//! under its own lock: see `benches/peers/src/bin/in_place`.

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
