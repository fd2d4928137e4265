//! Several features at a time: selects with pauses, limits and shutdowns, and what is left when all handles are gone.

mod support;

use std::sync::{Arc, Mutex};
use std::task::Poll::{Pending, Ready};
use std::task::Waker;
use stream_multiplexer::{ChannelId, ChannelSelect, Multiplexer, Share, StreamEvent, StreamId};
use support::hooked::{Hooked, Hooks, Moment};
use support::{Feed, Gate, Pipe, Wakes, pipe, poll, poll_with};

type Pairs = Multiplexer<Pipe<u32>, Gate<u32>>;
type HookedPairs = Multiplexer<Hooked<Pipe<u32>>, Gate<u32>>;
type HookedSelect = ChannelSelect<Hooked<Pipe<u32>>, Gate<u32>>;

fn add(multiplexer: &Pairs, channel: ChannelId) -> (StreamId, Feed<u32>) {
    let (feed, stream) = pipe();
    (multiplexer.add_stream(stream, channel).unwrap(), feed)
}

fn add_hooked(multiplexer: &HookedPairs, channel: ChannelId) -> (Hooks, Feed<u32>) {
    let hooks = Hooks::default();
    let (feed, inner) = pipe();
    multiplexer.add_stream(Hooked { inner, hooks: hooks.clone() }, channel).unwrap();
    (hooks, feed)
}

/// A select may come to a channel that had no receiver when the handles went.
mod when_all_handles_are_gone {
    use super::*;

    /// Nobody could resume it.
    #[test]
    fn a_paused_channel_goes_on_if_a_select_comes_to_it_later() {
        let multiplexer = Pairs::new();
        (0..2).for_each(|channel| multiplexer.add_channel(channel).unwrap());
        let mut select = multiplexer.select();
        select.add(0, Share::new()).unwrap();
        multiplexer.pause_channel(1).unwrap();
        let (id, _feed) = add(&multiplexer, 1);
        drop(multiplexer.remove_stream(id));
        drop(multiplexer);
        select.add(1, Share::new()).unwrap();
        assert_eq!(poll(&mut select), Ready(Some((1, id, StreamEvent::Removed))));
        assert_eq!(poll(&mut select), Ready(None));
    }

    /// The streams of a channel without a receiver are dropped. A select that comes to it meanwhile is told of its end.
    fn comes_meanwhile(pause: fn(&HookedPairs)) {
        let multiplexer = HookedPairs::new();
        (0..3).for_each(|channel| multiplexer.add_channel(channel).unwrap());
        let (_, _feed) = add_hooked(&multiplexer, 0);
        let (hooks, feed) = add_hooked(&multiplexer, 1);
        let (_, last) = add_hooked(&multiplexer, 2);
        pause(&multiplexer);
        multiplexer.close();
        let (wakes, waker) = Wakes::new();
        let select = Arc::new(Mutex::new(multiplexer.select()));
        let in_drop = Arc::clone(&select);
        hooks.on(Moment::Drop, move || {
            let mut select: std::sync::MutexGuard<'_, HookedSelect> = in_drop.lock().unwrap();
            select.add(2, Share::new()).unwrap();
            select.drive_flushes(false);
            assert!(poll_with(&mut *select, &waker).is_pending());
        });
        drop(multiplexer);
        assert!(feed.is_dropped() && last.is_dropped());
        assert_eq!(wakes.take(), 1);
        assert!(matches!(poll(&mut *select.lock().unwrap()), Ready(None)));
    }

    #[test]
    fn a_select_that_comes_while_its_streams_are_dropped_ends() {
        comes_meanwhile(|_| {});
        comes_meanwhile(|multiplexer| multiplexer.pause_channel(2).unwrap());
    }
}
