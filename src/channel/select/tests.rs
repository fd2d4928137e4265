//! Tests of a select whose wakers panic or are left behind.

use super::*;
use crate::channel::share::Share;
use crate::options::ChannelOptions;
use crate::sink::flush_set::Turn;
use crate::sink::slot::SinkSlot;
use futures::stream::Pending;
use std::task::Wake;

struct Panics;

impl Wake for Panics {
    fn wake(self: Arc<Self>) {
        panic!("as the test wants");
    }
}

/// A waker that panics while the driver is counted leaves a select that is no driver. Its drop uncounts none.
#[test]
fn a_waker_that_panics_leaves_it_without_flushes() {
    let registry = Arc::new(Registry::<Pending<()>, ()>::new());
    registry.add_channel(1, ChannelOptions::new()).unwrap();
    let slot = |id, sink, flushes: &Arc<_>| Some(SinkSlot::new(id, sink, Arc::clone(flushes)));
    let id = registry.add(futures::stream::pending(), (), slot, 1).expect("the channel is open");
    let mut select = ChannelSelect::new(&registry);
    select.drive_flushes(false);
    // What is done with a sink in place may leave it unflushed.
    registry.sink(id).expect("it was added").with(|()| ()).expect("it is there");

    let flushes = registry.flushes();
    let Turn::Idle(epoch) = flushes.next_turn(&mut Patience::default()) else {
        panic!("no sink has a place")
    };
    assert!(flushes.tasks().wait(&mut Waiter::default(), epoch, Waker::from(Arc::new(Panics))));
    assert!(catch_unwind(AssertUnwindSafe(|| _ = select.drive_flushes(true))).is_err());
    assert!(!flushes.is_driven());

    // The second attempt meets no such waker.
    select.drive_flushes(true);
    assert!(flushes.is_driven());
    drop(select);
    assert!(!flushes.is_driven());
}

/// Its wakers wait in the list of its channel and in that of the flush set.
#[test]
fn its_drop_leaves_none_of_its_wakers_behind() {
    let registry = Arc::new(Registry::<Pending<()>, ()>::new());
    registry.add_channel(1, ChannelOptions::new()).unwrap();
    let mut select = ChannelSelect::new(&registry);
    select.add(1, Share::new()).unwrap();
    let mut cx = Context::from_waker(Waker::noop());
    assert!(Pin::new(&mut select).poll_next(&mut cx).is_pending());
    let tasks = Arc::downgrade(select.slots.tasks());
    drop(select);
    assert_eq!(tasks.strong_count(), 0);
}
