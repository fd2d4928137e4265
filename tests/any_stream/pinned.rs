//! Streams that are not `Unpin`, and therefore cannot be returned once they are members.

use crate::support::hooked::{Action, Hooks, Moment};
use crate::support::{Gate, Gatekeeper, Wakes, finishes, gate, poll, poll_with};
use crate::{A, B};
use futures::channel::mpsc;
use futures::{Stream, StreamExt, stream};
use pollster::block_on;
use std::future::poll_fn;
use std::iter;
use std::sync::{Arc, Weak};
use std::task::Poll;
use std::thread;
use stream_multiplexer::StreamEvent::{Ended, Item, Moved, Removed};
use stream_multiplexer::{ChannelId, Multiplexer, MultiplexerError, StreamId};

const UNKNOWN: ChannelId = 99;

/// Channels that report departures.
fn multiplexer<St>() -> Multiplexer<St, Gate<u32>> {
    let multiplexer = Multiplexer::new();
    multiplexer.add_channel(A).unwrap();
    multiplexer.add_channel(B).unwrap();
    multiplexer
}

/// The test's access to a stream.
struct Peer {
    feed: mpsc::UnboundedSender<u32>,
    hooks: Hooks,
    alive: Weak<()>,
}

impl Peer {
    fn push(&self, item: u32) {
        self.feed.unbounded_send(item).unwrap();
    }

    fn is_dropped(&self) -> bool {
        self.alive.upgrade().is_none()
    }
}

/// An async block that awaits its items, with a hook in each poll.
fn numbers() -> (Peer, impl Stream<Item = u32> + Send + 'static) {
    let (feed, source) = mpsc::unbounded();
    let (hooks, alive) = (Hooks::default(), Arc::new(()));
    let peer = Peer { feed, hooks: hooks.clone(), alive: Arc::downgrade(&alive) };
    let numbers = stream::unfold((source, hooks, alive), async |(mut source, hooks, alive)| {
        let next = poll_fn(|cx| {
            hooks.run(Moment::Poll);
            source.poll_next_unpin(cx)
        });
        next.await.map(|number| (number, (source, hooks, alive)))
    });
    (peer, numbers)
}

fn add<St: Stream>(
    multiplexer: &Multiplexer<St, Gate<u32>>,
    stream: St,
    channel: ChannelId,
) -> (StreamId, Gatekeeper<u32>) {
    let (keeper, gate) = gate(1);
    (multiplexer.add_stream_pair(gate, stream, channel).unwrap(), keeper)
}

/// The stream has lost no item, and can be added elsewhere.
#[test]
fn that_is_refused_comes_back() {
    let multiplexer = multiplexer();
    let (peer, stream) = numbers();
    peer.push(1);
    let (keeper, gate) = gate(1);
    let refused = multiplexer.add_stream_pair(gate, stream, UNKNOWN).unwrap_err();
    assert_eq!(refused.reason(), MultiplexerError::UnknownChannel(UNKNOWN));
    let (gate, stream) = refused.into_parts();
    multiplexer.close_channel(A).unwrap();
    let refused = multiplexer.add_stream_pair(gate, stream, A).unwrap_err();
    assert_eq!(refused.reason(), MultiplexerError::Closed);
    let (gate, stream) = refused.into_parts();
    assert!(!peer.is_dropped() && !keeper.is_dropped());

    let id = multiplexer.add_stream_pair(gate, stream, B).unwrap();
    assert_eq!(block_on(multiplexer.recv(B)), Ok((id, Some(1))));
    assert!(block_on(multiplexer.send([id], 2)).iter().all(Result::is_ok));
}

/// The three ways to discard a stream of channel `A`.
type Discard<St> = fn(&Multiplexer<St, Gate<u32>>, StreamId);

fn discards<St>() -> [Discard<St>; 3] {
    [
        |multiplexer, id| {
            assert!(multiplexer.discard_stream(id));
            assert!(!multiplexer.discard_stream(id));
        },
        |multiplexer, id| {
            assert!(!multiplexer.discard_stream_from(id, B), "it is not there");
            assert!(!multiplexer.discard_stream_from(id, UNKNOWN));
            assert!(multiplexer.discard_stream_from(id, A));
            assert!(!multiplexer.discard_stream_from(id, A));
        },
        |multiplexer, _| {
            assert!(multiplexer.discard_channel(A));
            assert!(!multiplexer.discard_channel(A));
        },
    ]
}

#[test]
fn that_is_discarded_is_dropped() {
    for (way, discard) in discards().into_iter().enumerate() {
        for is_polled in [false, true] {
            let multiplexer = multiplexer();
            let (peer, stream) = numbers();
            let (id, keeper) = add(&multiplexer, stream, A);
            let mut receiver = multiplexer.receiver(A).unwrap();
            if is_polled {
                peer.push(1);
                assert_eq!(poll(&mut receiver), Poll::Ready(Some((id, Item(1)))));
                assert!(poll(&mut receiver).is_pending(), "it awaits the next");
            }
            assert!(!peer.is_dropped());
            discard(&multiplexer, id);
            assert!(peer.is_dropped() && keeper.is_dropped(), "way {way}");
            let told = if multiplexer.has_channel(A) { Some((id, Removed)) } else { None };
            assert_eq!(poll(&mut receiver), Poll::Ready(told));
            assert_eq!(multiplexer.channel_of(id), None);
        }
    }
}

/// Whether the stream itself or another thread discards it: it is dropped when the poll returns, and not before. The item of
/// this poll is still received.
#[test]
fn that_is_discarded_while_it_is_polled_is_dropped_afterwards() {
    finishes(|| {
        for (way, discard) in discards().into_iter().enumerate() {
            for (by_another_thread, has_item) in [(false, false), (false, true), (true, false), (true, true)]
            {
                let multiplexer = multiplexer();
                let (peer, stream) = numbers();
                let (id, keeper) = add(&multiplexer, stream, A);
                let mut receiver = multiplexer.receiver(A).unwrap();
                if has_item {
                    peer.push(1);
                }
                let (handle, alive) = (multiplexer.clone(), Weak::clone(&peer.alive));
                peer.hooks.on(Moment::Poll, move || {
                    run(by_another_thread, Box::new(move || discard(&handle, id)));
                    assert!(alive.upgrade().is_some(), "it is being polled");
                });
                let first = poll(&mut receiver);
                assert!(peer.is_dropped() && keeper.is_dropped(), "way {way}");

                let rest = iter::from_fn(|| Some(poll(&mut receiver)));
                let told = iter::once(first).chain(rest).map_while(|event| match event {
                    Poll::Ready(event) => event,
                    Poll::Pending => None,
                });
                let item = has_item.then_some((id, Item(1)));
                let departure = multiplexer.has_channel(A).then_some((id, Removed));
                assert!(told.eq(item.into_iter().chain(departure)), "way {way}");
            }
        }
    });
}

fn run(by_another_thread: bool, action: Action) {
    if by_another_thread {
        thread::spawn(action).join().unwrap();
    } else {
        action();
    }
}

/// The stream is in the middle of its async code, and continues there.
#[test]
fn that_is_moved_while_it_awaits_loses_nothing() {
    let multiplexer = multiplexer();
    let (peer, stream) = numbers();
    let (id, _keeper) = add(&multiplexer, stream, A);
    let mut receivers = [A, B].map(|channel| multiplexer.receiver(channel).unwrap());
    let (wakes, waker) = Wakes::new();
    let handle = multiplexer.clone();
    let move_to = move |channel| handle.change_stream_channel(id, channel).unwrap();
    // The number of departures that were received.
    let mut departures = 0;
    let mut fall_asleep_in = |channel: ChannelId| {
        while let Poll::Ready(event) = poll_with(&mut receivers[channel - A], &waker) {
            assert_eq!(event, Some((id, Moved(A + B - channel))));
            departures += 1;
        }
    };
    for item in 0..100 {
        let here = multiplexer.channel_of(id).unwrap();
        let there = A + B - here;
        fall_asleep_in(here);
        match item % 4 {
            0 => move_to(there),
            1 => {
                fall_asleep_in(there);
                move_to(there);
            }
            // During its poll.
            2 => {
                let move_to = move_to.clone();
                peer.hooks.on(Moment::Poll, move || move_to(there));
                multiplexer.with_stream(id, |_| ()).unwrap();
                fall_asleep_in(here);
            }
            _ => [there, here, there].into_iter().for_each(&move_to),
        }
        fall_asleep_in(there);
        wakes.take();
        peer.push(item);
        assert_eq!(wakes.take(), 1, "who sleeps where it is now");
        assert_eq!(multiplexer.try_recv(there), Ok((id, Some(item))));
    }
    peer.feed.close_channel();
    let here = multiplexer.channel_of(id).unwrap();
    fall_asleep_in(A + B - here);
    assert_eq!(departures, 25 * (1 + 1 + 1 + 3));
    assert_eq!(poll(&mut receivers[here - A]), Poll::Ready(Some((id, Ended))));
    assert!(peer.is_dropped());
}
