//! Several features at a time: selects with pauses, limits and shutdowns, and what is left when all handles are gone.

mod support;

use std::sync::{Arc, Mutex};
use std::task::Poll::{Pending, Ready};
use std::task::{Wake, Waker};
use stream_multiplexer::{
    ChannelId, ChannelSelect, Multiplexer, MultiplexerError, Share, StreamEvent, StreamId,
};
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

/// A task that does something when it is woken, once.
struct Acts(Mutex<Option<Box<dyn FnOnce() + Send>>>);

impl Acts {
    fn waker(action: impl FnOnce() + Send + 'static) -> Waker {
        Waker::from(Arc::new(Self(Mutex::new(Some(Box::new(action))))))
    }
}

impl Wake for Acts {
    fn wake(self: Arc<Self>) {
        let action = self.0.lock().unwrap().take();
        action.into_iter().for_each(|action| action());
    }
}

/// It has left the select by then, so its end reaches the task in no other way.
#[test]
fn a_select_whose_only_channel_gives_its_name_to_one_that_is_not_there_ends() {
    let multiplexer = Pairs::new();
    multiplexer.add_channel(1).unwrap();
    let (_, _feed) = add(&multiplexer, 1);
    let mut select = multiplexer.select();
    select.drive_flushes(false).add(1, Share::new()).unwrap();
    let (wakes, waker) = Wakes::new();
    assert_eq!(poll_with(&mut select, &waker), Pending);
    multiplexer.close();
    wakes.take();
    let select = Arc::new(Mutex::new(select));
    let in_wake = Arc::clone(&select);
    // It is woken for the last pair is gone, in the middle of the removal.
    let mut flusher = multiplexer.flusher::<u32>();
    let flushing = Acts::waker(move || {
        let unknown = Err(MultiplexerError::UnknownChannel(1));
        assert_eq!(in_wake.lock().unwrap().add(1, Share::new()), unknown);
    });
    assert!(poll_with(&mut flusher, &flushing).is_pending());
    drop(multiplexer.remove_channel(1));
    assert_eq!(select.lock().unwrap().len(), 0);
    assert_eq!(wakes.take(), 1);
    assert_eq!(poll(&mut *select.lock().unwrap()), Ready(None));
}
