//! Membership: every stay in a channel ends with one departure after its last item. Moves and removals are complete when the
//! call returns (or when the poll in progress returns). A pair that was removed leaves nothing behind.

use crate::random::below;
use crate::support;
use futures::{FutureExt, Sink, SinkExt, Stream, StreamExt};
use pollster::block_on;
use quickcheck::{Arbitrary, Gen, QuickCheck};
use std::collections::{HashMap, HashSet, VecDeque};
use std::pin::Pin;
use std::sync::{Arc, Barrier, Mutex};
use std::task::{Context, Poll, Waker};
use std::thread;
use stream_multiplexer::StreamEvent::{Ended, Item, Moved, Removed};
use stream_multiplexer::{
    ChannelId, ChannelOptions, Multiplexer, MultiplexerError, SendError, Sent, StreamEvent, StreamId,
    StreamPair, TryRecvError,
};
use support::{
    Broken, Feed, Gate, Gatekeeper, Pipe, Wakes, finishes, gate, pipe, poll, poll_future, poll_with,
};

const A: ChannelId = 1;
const B: ChannelId = 2;
const C: ChannelId = 3;

type Pairs = Multiplexer<Hooked<Pipe<u32>>, Hooked<Gate<u32>>>;
type Pair = StreamPair<Hooked<Pipe<u32>>, Hooked<Gate<u32>>>;

/// A stream or sink whose next poll first runs an action.
#[derive(Debug)]
struct Hooked<T> {
    inner: T,
    hook: Hook,
}

#[derive(Clone, Default)]
struct Hook(Arc<Mutex<Option<Action>>>);

type Action = Box<dyn FnOnce() + Send>;

impl Hook {
    fn set(&self, action: impl FnOnce() + Send + 'static) {
        *self.0.lock().unwrap() = Some(Box::new(action));
    }

    fn take(&self) -> Option<Action> {
        self.0.lock().unwrap().take()
    }

    fn run(&self) {
        if let Some(action) = self.take() {
            action();
        }
    }
}

impl std::fmt::Debug for Hook {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Hook")
    }
}

impl<T> Stream for Hooked<Pipe<T>> {
    type Item = T;

    fn poll_next(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<T>> {
        self.hook.run();
        Pin::new(&mut self.inner).poll_next(cx)
    }
}

impl<T> Sink<T> for Hooked<Gate<T>> {
    type Error = Broken;

    fn poll_ready(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Result<(), Broken>> {
        self.hook.run();
        Pin::new(&mut self.inner).poll_ready(cx)
    }

    fn start_send(mut self: Pin<&mut Self>, item: T) -> Result<(), Broken> {
        Pin::new(&mut self.inner).start_send(item)
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Result<(), Broken>> {
        Pin::new(&mut self.inner).poll_flush(cx)
    }

    fn poll_close(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Result<(), Broken>> {
        Pin::new(&mut self.inner).poll_close(cx)
    }
}

/// The test's access to a pair.
struct Peer {
    id: StreamId,
    feed: Feed<u32>,
    in_poll: Hook,
    keeper: Gatekeeper<u32>,
    in_sink_poll: Hook,
}

impl Peer {
    /// A pair whose sink has room for `room` items.
    fn with_room(multiplexer: &Pairs, channel: ChannelId, room: usize) -> Self {
        let (feed, pipe) = pipe();
        let (keeper, gate) = gate(room);
        let (in_poll, in_sink_poll) = (Hook::default(), Hook::default());
        let stream = Hooked { inner: pipe, hook: in_poll.clone() };
        let sink = Hooked { inner: gate, hook: in_sink_poll.clone() };
        let id = multiplexer.add_stream_pair(sink, stream, channel).unwrap();
        Self { id, feed, in_poll, keeper, in_sink_poll }
    }

    fn new(multiplexer: &Pairs, channel: ChannelId) -> Self {
        Self::with_room(multiplexer, channel, 100)
    }
}

fn multiplexer() -> Pairs {
    let multiplexer = Multiplexer::new();
    for channel in [A, B, C] {
        multiplexer.add_channel(channel).unwrap();
    }
    multiplexer
}

/// The output of a future that is ready immediately.
fn now<F: Future>(future: F) -> F::Output {
    future.now_or_never().expect("it is ready")
}

/// Returns all events of a channel that are available now.
fn events(multiplexer: &Pairs, channel: ChannelId) -> Vec<(StreamId, StreamEvent<u32>)> {
    let mut receiver = multiplexer.receiver(channel).unwrap();
    let mut events = Vec::new();
    while let Poll::Ready(Some(event)) = poll(&mut receiver) {
        events.push(event);
    }
    events
}

/// Returns all events of a channel that are available now, which must all belong to one stream.
fn events_of(multiplexer: &Pairs, channel: ChannelId, id: StreamId) -> Vec<StreamEvent<u32>> {
    let events = events(multiplexer, channel);
    assert!(events.iter().all(|(of, _)| *of == id), "{events:?}");
    events.into_iter().map(|(_, event)| event).collect()
}

mod channels {
    use super::*;

    #[test]
    fn list_their_streams_the_oldest_first() {
        let multiplexer = multiplexer();
        let peers = [A, A, B, A].map(|channel| Peer::new(&multiplexer, channel));
        multiplexer.remove_stream(peers[0].id);
        multiplexer.change_stream_channel(peers[2].id, A).unwrap();
        let (handle, last) = (multiplexer.clone(), peers[3].id);
        let listed = Arc::new(Mutex::new(None));
        let lists = Arc::clone(&listed);
        peers[1].in_poll.set(move || {
            handle.change_stream_channel(last, B).unwrap();
            *lists.lock().unwrap() = handle.channel_streams(A);
        });
        events(&multiplexer, A);
        assert_eq!(*listed.lock().unwrap(), Some(vec![peers[1].id, peers[2].id]));
        assert_eq!(multiplexer.channel_streams(B), Some(vec![last]));
        assert_eq!(multiplexer.channel_streams(9), None);
    }

    #[test]
    fn are_added_once_and_listed_in_order() {
        let multiplexer = Pairs::default();
        assert_eq!(multiplexer.channels(), []);
        for channel in [30, 10, 20] {
            assert!(!multiplexer.has_channel(channel));
            assert_eq!(multiplexer.add_channel(channel), Ok(()));
            assert!(multiplexer.has_channel(channel));
        }
        assert_eq!(multiplexer.channels(), [10, 20, 30]);
        assert_eq!(multiplexer.add_channel(20), Err(MultiplexerError::DuplicateChannel(20)));
        let options = ChannelOptions::new().half_close(true);
        assert_eq!(multiplexer.add_channel_with(20, options), Err(MultiplexerError::DuplicateChannel(20)));
        assert_eq!(multiplexer.channels(), [10, 20, 30]);
    }

    #[test]
    fn know_how_many_streams_are_in_them() {
        let multiplexer = multiplexer();
        assert_eq!(multiplexer.channel_len(A), Some(0));
        let [first, second] = [Peer::new(&multiplexer, A), Peer::new(&multiplexer, A)];
        assert_eq!((multiplexer.channel_len(A), multiplexer.channel_len(B)), (Some(2), Some(0)));
        multiplexer.change_stream_channel(first.id, B).unwrap();
        assert_eq!((multiplexer.channel_len(A), multiplexer.channel_len(B)), (Some(1), Some(1)));
        multiplexer.remove_stream(first.id).unwrap();
        assert_eq!((multiplexer.channel_len(A), multiplexer.channel_len(B)), (Some(1), Some(0)));
        second.feed.end();
        assert_eq!(events(&multiplexer, A).len(), 2);
        assert_eq!(multiplexer.channel_len(A), Some(0));
        assert_eq!(multiplexer.channel_len(99), None);
    }

    #[test]
    fn are_removed_with_their_pairs_and_hand_them_back() {
        let multiplexer = multiplexer();
        // The second stream takes the slot of a stream that left.
        let left = Peer::new(&multiplexer, A);
        let first = Peer::new(&multiplexer, A);
        multiplexer.remove_stream(left.id).unwrap();
        let elsewhere = Peer::new(&multiplexer, B);
        let second = Peer::new(&multiplexer, A);
        let moved_in = Peer::new(&multiplexer, C);
        multiplexer.change_stream_channel(moved_in.id, A).unwrap();
        multiplexer.change_stream_channel(moved_in.id, C).unwrap();
        multiplexer.change_stream_channel(moved_in.id, A).unwrap();
        first.feed.push(1);

        let mut pairs = multiplexer.remove_channel(A).unwrap();
        let ids: Vec<_> = pairs.iter().map(|pair| pair.id).collect();
        assert_eq!(ids, [first.id, second.id, moved_in.id], "the oldest first");
        assert!(pairs.iter().all(|pair| pair.stream.is_some() && pair.sink.is_some()));
        assert_eq!(now(pairs[0].stream.as_mut().unwrap().next()), Some(1));
        now(pairs[0].sink.as_mut().unwrap().send(5)).unwrap();
        assert_eq!(first.keeper.take_items(), [5]);

        for id in ids {
            assert_eq!(multiplexer.channel_of(id), None);
            assert!(multiplexer.remove_stream(id).is_none());
            assert!(multiplexer.sender::<u32>(id).is_err());
            assert_eq!(multiplexer.change_stream_channel(id, B), Err(MultiplexerError::UnknownStream(id)));
        }
        assert!(!multiplexer.has_channel(A));
        assert_eq!((multiplexer.channels(), multiplexer.channel_len(A)), (vec![B, C], None));
        assert!(multiplexer.remove_channel(A).is_none());
        assert_eq!(multiplexer.channel_of(elsewhere.id), Some(B));
        // Earlier moves are reported by the channels that the streams left.
        assert_eq!(events_of(&multiplexer, C, moved_in.id), [Moved(A), Moved(A)]);
    }

    #[test]
    fn may_have_the_id_of_a_removed_channel() {
        let multiplexer = multiplexer();
        let peer = Peer::new(&multiplexer, A);
        multiplexer.change_stream_channel(peer.id, B).unwrap();
        multiplexer.remove_channel(A).unwrap();
        assert_eq!(multiplexer.add_channel(A), Ok(()));
        assert_eq!(multiplexer.channel_len(A), Some(0));
        assert_eq!(events(&multiplexer, A), [], "what the old one did not tell");
        multiplexer.change_stream_channel(peer.id, A).unwrap();
        peer.feed.push(1);
        assert_eq!(events(&multiplexer, A), [(peer.id, Item(1))]);
    }

    #[test]
    fn keep_what_others_wait_for_in_a_removed_pair_from_waiting_for_ever() {
        let multiplexer = multiplexer();
        let peer = Peer::with_room(&multiplexer, A, 0);
        let (wakes, waker) = Wakes::new();
        let mut send = multiplexer.send_one(peer.id, 1);
        assert!(poll_future(&mut send, &waker).is_pending());
        multiplexer.remove_channel(A).unwrap();
        assert_eq!(wakes.take(), 1);
        assert_eq!(poll_future(&mut send, &waker), Poll::Ready(Err(SendError::UnknownStream(peer.id))));
    }
}

mod ids {
    use super::*;

    #[test]
    fn are_ordered_by_age_and_never_used_twice() {
        let multiplexer = multiplexer();
        let mut ids = Vec::new();
        for round in 0..50 {
            let pair = Peer::new(&multiplexer, A);
            ids.push(pair.id);
            match round % 3 {
                0 => drop(multiplexer.remove_stream(pair.id)),
                1 => pair.feed.end(),
                _ => {}
            }
            events(&multiplexer, A);
        }
        multiplexer.remove_channel(A).unwrap();
        ids.push(Peer::new(&multiplexer, B).id);
        assert!(ids.is_sorted_by(|older, younger| older < younger), "{ids:?}");
        assert_eq!(ids.iter().collect::<HashSet<_>>().len(), ids.len());
    }

    #[test]
    fn of_removed_pairs_do_not_refer_to_later_pairs() {
        let multiplexer = multiplexer();
        let old = Peer::new(&multiplexer, A);
        multiplexer.remove_stream(old.id).unwrap();
        let new = Peer::new(&multiplexer, A);
        assert_eq!(multiplexer.channel_of(old.id), None);
        assert!(multiplexer.remove_stream(old.id).is_none());
        let unknown = Err(MultiplexerError::UnknownStream(old.id));
        assert_eq!(multiplexer.change_stream_channel(old.id, B), unknown);
        assert!(multiplexer.sender::<u32>(old.id).is_err());
        let unknown = SendError::UnknownStream(old.id);
        assert_eq!(now(multiplexer.send([old.id], 1).map(Sent::into_vec)), [Err(unknown)]);
        assert_eq!(now(multiplexer.close_stream::<u32>(old.id)), Err(unknown));
        assert_eq!(multiplexer.channel_of(new.id), Some(A));
        assert!(new.keeper.take_items().is_empty());
    }

    #[test]
    fn are_displayed_as_their_number() {
        let multiplexer = multiplexer();
        let [first, second] = [Peer::new(&multiplexer, A).id, Peer::new(&multiplexer, A).id];
        assert_ne!(first.to_string(), second.to_string());
        assert!(first.to_string().parse::<u64>().unwrap() < second.to_string().parse::<u64>().unwrap());
        assert_eq!(format!("{first:>4}|{first:?}"), format!("{:>4}|StreamId({first})", first.to_string()));
    }
}

/// Every stay ends with exactly one departure, after its last item.
mod departures {
    use super::*;

    #[test]
    fn ended() {
        let multiplexer = multiplexer();
        let peer = Peer::new(&multiplexer, A);
        peer.feed.push(1);
        peer.feed.push(2);
        peer.feed.end();
        assert_eq!(events_of(&multiplexer, A, peer.id), [Item(1), Item(2), Ended]);
        assert_eq!(multiplexer.channel_of(peer.id), None);
        assert!(multiplexer.remove_stream(peer.id).is_none(), "the pair is gone");
        assert!(peer.feed.is_dropped());
        peer.feed.push(3);
        assert_eq!(events(&multiplexer, A), []);
    }

    #[test]
    fn moved() {
        let multiplexer = multiplexer();
        let peer = Peer::new(&multiplexer, A);
        peer.feed.push(1);
        assert_eq!(events_of(&multiplexer, A, peer.id), [Item(1)]);
        peer.feed.push(2);
        multiplexer.change_stream_channel(peer.id, B).unwrap();
        peer.feed.push(3);
        assert_eq!(events_of(&multiplexer, A, peer.id), [Moved(B)]);
        assert_eq!(events_of(&multiplexer, B, peer.id), [Item(2), Item(3)]);
        peer.feed.end();
        assert_eq!(events_of(&multiplexer, A, peer.id), []);
        assert_eq!(events_of(&multiplexer, B, peer.id), [Ended]);
    }

    #[test]
    fn removed() {
        let multiplexer = multiplexer();
        let peer = Peer::new(&multiplexer, A);
        peer.feed.push(1);
        assert_eq!(events_of(&multiplexer, A, peer.id), [Item(1)]);
        peer.feed.push(2);
        let mut pair = multiplexer.remove_stream(peer.id).unwrap();
        peer.feed.push(3);
        assert_eq!(events_of(&multiplexer, A, peer.id), [Removed]);
        assert_eq!(pair.id, peer.id);
        let stream = pair.stream.as_mut().unwrap();
        assert_eq!((now(stream.next()), now(stream.next())), (Some(2), Some(3)));
        assert!(pair.sink.is_some());
        assert!(multiplexer.remove_stream(peer.id).is_none());
        assert_eq!(multiplexer.channel_of(peer.id), None);
    }

    #[test]
    fn removed_by_closing_the_stream() {
        let multiplexer = multiplexer();
        let peer = Peer::new(&multiplexer, A);
        peer.feed.push(1);
        assert_eq!(now(multiplexer.close_stream::<u32>(peer.id)), Ok(()));
        assert!(peer.keeper.is_closed());
        assert!(peer.feed.is_dropped() && peer.keeper.is_dropped());
        assert_eq!(events_of(&multiplexer, A, peer.id), [Removed]);
    }

    #[test]
    fn one_for_each_stay() {
        let multiplexer = multiplexer();
        let peer = Peer::new(&multiplexer, A);
        for (item, to) in [B, A, C, B, A].into_iter().enumerate() {
            multiplexer.change_stream_channel(peer.id, to).unwrap();
            peer.feed.push(u32::try_from(item).unwrap());
        }
        // A stay that is over yields only its departure. The items are received where the stream is.
        assert_eq!(events_of(&multiplexer, B, peer.id), [Moved(A), Moved(A)]);
        assert_eq!(events_of(&multiplexer, C, peer.id), [Moved(B)]);
        let mut told = events_of(&multiplexer, A, peer.id);
        told.retain(|event| event.item().is_none());
        assert_eq!(told, [Moved(B), Moved(C)]);
        peer.feed.end();
        assert_eq!(events_of(&multiplexer, A, peer.id), [Ended]);
    }

    /// Otherwise a receiver could not assign items to stays, and would take a stream that is back for a departed one.
    #[test]
    fn of_one_stream_come_before_the_items_of_its_next_stay() {
        let multiplexer = multiplexer();
        let peer = Peer::new(&multiplexer, A);
        peer.feed.push(1);
        assert_eq!(events_of(&multiplexer, A, peer.id), [Item(1)]);
        multiplexer.change_stream_channel(peer.id, B).unwrap();
        multiplexer.change_stream_channel(peer.id, A).unwrap();
        peer.feed.push(2);
        peer.feed.end();
        assert_eq!(events_of(&multiplexer, A, peer.id), [Moved(B), Item(2), Ended]);
    }

    #[test]
    fn are_reported_for_streams_that_were_never_polled() {
        let multiplexer = multiplexer();
        let [moved, removed] = [Peer::new(&multiplexer, A), Peer::new(&multiplexer, A)];
        multiplexer.change_stream_channel(moved.id, B).unwrap();
        multiplexer.remove_stream(removed.id).unwrap();
        assert_eq!(events(&multiplexer, A), [(moved.id, Moved(B)), (removed.id, Removed)]);
        assert_eq!((moved.feed.take_polls(), removed.feed.take_polls()), (0, 0));
    }

    #[test]
    fn of_a_removed_channel_are_not_reported() {
        let multiplexer = multiplexer();
        let peer = Peer::new(&multiplexer, A);
        let mut receiver = multiplexer.receiver(A).unwrap();
        multiplexer.change_stream_channel(peer.id, B).unwrap();
        multiplexer.remove_channel(A).unwrap();
        assert_eq!(poll(&mut receiver), Poll::Ready(None));
    }

    /// The waker of a stream that left belongs to the slot. A late wake does not change what the next tenant yields.
    #[test]
    fn are_not_undone_by_late_wakes() {
        let multiplexer = multiplexer();
        let left = Peer::new(&multiplexer, A);
        assert_eq!(events(&multiplexer, A), []);
        let stale = left.feed.waker().unwrap();
        let pair = multiplexer.remove_stream(left.id).unwrap();
        stale.wake_by_ref();
        assert_eq!(events_of(&multiplexer, A, left.id), [Removed]);
        stale.wake_by_ref();
        assert_eq!(events(&multiplexer, A), []);
        let next = Peer::new(&multiplexer, A);
        assert_eq!(events(&multiplexer, A), []);
        stale.wake_by_ref();
        next.feed.push(1);
        assert_eq!(events_of(&multiplexer, A, next.id), [Item(1)]);
        drop(pair);
    }
}

mod moves {
    use super::*;

    #[test]
    fn are_complete_when_the_call_returns_without_a_poll() {
        let multiplexer = multiplexer();
        let peer = Peer::new(&multiplexer, A);
        peer.feed.push(1);
        multiplexer.change_stream_channel(peer.id, B).unwrap();
        assert_eq!(multiplexer.channel_of(peer.id), Some(B));
        assert_eq!((multiplexer.channel_len(A), multiplexer.channel_len(B)), (Some(0), Some(1)));
        assert_eq!(multiplexer.try_recv(B), Ok((peer.id, Some(1))));
    }

    #[test]
    fn to_the_channel_it_is_in_do_nothing() {
        let multiplexer = multiplexer();
        let peer = Peer::new(&multiplexer, A);
        let mut receiver = multiplexer.receiver(A).unwrap();
        let (wakes, waker) = Wakes::new();
        assert_eq!(poll_with(&mut receiver, &waker), Poll::Pending);
        peer.feed.take_polls();
        assert_eq!(multiplexer.change_stream_channel(peer.id, A), Ok(()));
        assert_eq!((wakes.take(), poll(&mut receiver), peer.feed.take_polls()), (0, Poll::Pending, 0));
        peer.feed.push(1);
        assert_eq!(events_of(&multiplexer, A, peer.id), [Item(1)]);
    }

    #[test]
    fn that_are_refused_leave_it_where_it_is() {
        let multiplexer = multiplexer();
        let peer = Peer::new(&multiplexer, A);
        let unknown = MultiplexerError::UnknownChannel(99);
        assert_eq!(multiplexer.change_stream_channel(peer.id, 99), Err(unknown));
        assert_eq!(multiplexer.channel_of(peer.id), Some(A));
        peer.feed.push(1);
        assert_eq!(events_of(&multiplexer, A, peer.id), [Item(1)]);

        multiplexer.remove_stream(peer.id).unwrap();
        let unknown = MultiplexerError::UnknownStream(peer.id);
        assert_eq!(multiplexer.change_stream_channel(peer.id, B), Err(unknown));
        assert_eq!(multiplexer.change_stream_channel(peer.id, 99), Err(unknown));
    }

    #[test]
    fn keep_the_sink() {
        let multiplexer = multiplexer();
        let peer = Peer::with_room(&multiplexer, A, 1);
        let mut sender = multiplexer.sender(peer.id).unwrap();
        multiplexer.change_stream_channel(peer.id, B).unwrap();
        now(sender.send(1)).unwrap();
        let mut send = multiplexer.send_one(peer.id, 2);
        assert!(poll_future(&mut send, Waker::noop()).is_pending());
        multiplexer.change_stream_channel(peer.id, C).unwrap();
        peer.keeper.make_room(1);
        assert_eq!(poll_future(&mut send, Waker::noop()), Poll::Ready(Ok(())));
        assert_eq!(peer.keeper.take_items(), [1, 2]);
    }

    #[test]
    fn into_a_closed_channel_are_refused() {
        for close in [|multiplexer: &Pairs| multiplexer.close(), |it: &Pairs| it.close_channel(B).unwrap()] {
            let multiplexer = multiplexer();
            let peer = Peer::new(&multiplexer, A);
            close(&multiplexer);
            let refused = multiplexer.change_stream_channel(peer.id, B);
            assert_eq!(refused, Err(MultiplexerError::Closed));
            assert_eq!(multiplexer.channel_of(peer.id), Some(A));
            // A move to the stream's own channel does nothing.
            assert_eq!(multiplexer.change_stream_channel(peer.id, A), Ok(()));
            peer.feed.push(1);
            assert_eq!(events_of(&multiplexer, A, peer.id), [Item(1)]);
            assert_eq!(multiplexer.try_recv(B), Err(TryRecvError::Closed));
        }
    }

    #[test]
    fn out_of_a_closed_channel_are_as_ever() {
        let multiplexer = multiplexer();
        let peer = Peer::new(&multiplexer, A);
        multiplexer.close_channel(A).unwrap();
        assert_eq!(multiplexer.change_stream_channel(peer.id, B), Ok(()));
        peer.feed.push(1);
        assert_eq!(events_of(&multiplexer, A, peer.id), [Moved(B)]);
        assert_eq!(multiplexer.try_recv(A), Err(TryRecvError::Closed));
        assert_eq!(events_of(&multiplexer, B, peer.id), [Item(1)]);
    }
}

/// Moves and removals of a stream that is being polled at that moment, in its own poll or in another thread's.
mod while_it_is_polled {
    use super::*;

    /// Nor is a held departure of another stream, whose poll has not returned.
    #[test]
    fn nothing_is_reported_before_the_poll_returns() {
        let multiplexer = multiplexer();
        let [outer, inner] = [Peer::new(&multiplexer, A), Peer::new(&multiplexer, A)];
        let ids = [outer.id, inner.id];
        let handle = multiplexer.clone();
        inner.in_poll.set(move || ids.into_iter().for_each(|id| drop(handle.remove_stream(id).unwrap())));
        let told = Arc::new(Mutex::new(Vec::new()));
        let (handle, tells) = (multiplexer.clone(), Arc::clone(&told));
        outer.in_poll.set(move || tells.lock().unwrap().extend(events(&handle, A)));
        outer.feed.push(1);
        inner.feed.push(1);
        assert_eq!(events(&multiplexer, A), [(outer.id, Item(1)), (outer.id, Removed)]);
        assert_eq!(*told.lock().unwrap(), [(inner.id, Item(1)), (inner.id, Removed)]);
    }

    #[derive(Clone, Copy, Debug)]
    enum From {
        ItsPoll,
        AnotherThread,
    }

    fn from_everywhere(test: fn(From)) {
        for from in [From::ItsPoll, From::AnotherThread] {
            finishes(move || test(from));
        }
    }

    impl From {
        /// Polls channel `A`, which contains `peer`. `action` runs during the poll.
        fn poll(
            self,
            multiplexer: &Pairs,
            peer: &Peer,
            action: impl FnOnce(&Pairs, StreamId) + Send + 'static,
        ) -> Result<(StreamId, Option<u32>), TryRecvError> {
            let (handle, id) = (multiplexer.clone(), peer.id);
            self.run(&peer.in_poll, || multiplexer.try_recv(A), move || action(&handle, id))
        }

        /// Runs `polls`, which is expected to reach `hook`. `action` runs at that moment.
        fn run<R: Send>(
            self,
            hook: &Hook,
            polls: impl FnOnce() -> R + Send,
            action: impl FnOnce() + Send + 'static,
        ) -> R {
            match self {
                Self::ItsPoll => {
                    hook.set(action);
                    polls()
                }
                Self::AnotherThread => {
                    let moments = Arc::new([Barrier::new(2), Barrier::new(2)]);
                    let [begun, go_on] = &*moments;
                    let polled = Arc::clone(&moments);
                    hook.set(move || {
                        polled.iter().for_each(|moment| {
                            moment.wait();
                        });
                    });
                    thread::scope(|scope| {
                        let polling = scope.spawn(polls);
                        begun.wait();
                        action();
                        go_on.wait();
                        polling.join().unwrap()
                    })
                }
            }
        }
    }

    #[test]
    fn moved_with_an_item() {
        from_everywhere(|from| {
            let multiplexer = multiplexer();
            let peer = Peer::new(&multiplexer, A);
            peer.feed.push(1);
            peer.feed.push(2);
            let polled = from.poll(&multiplexer, &peer, |multiplexer, id| {
                multiplexer.change_stream_channel(id, B).unwrap();
                assert_eq!(multiplexer.channel_of(id), Some(B));
                assert_eq!((multiplexer.channel_len(A), multiplexer.channel_len(B)), (Some(0), Some(1)));
                assert_eq!(multiplexer.try_recv(A), Err(TryRecvError::Empty), "its item comes first");
                assert_eq!(multiplexer.try_recv(B), Err(TryRecvError::Empty));
            });
            assert_eq!(polled, Ok((peer.id, Some(1))), "{from:?}");
            assert_eq!(events_of(&multiplexer, B, peer.id), [Item(2)], "{from:?}");
            assert_eq!(events_of(&multiplexer, A, peer.id), [Moved(B)], "{from:?}");
            peer.feed.push(3);
            assert_eq!(events_of(&multiplexer, B, peer.id), [Item(3)], "{from:?}");
        });
    }

    #[test]
    fn moved_without_an_item() {
        from_everywhere(|from| {
            let multiplexer = multiplexer();
            let peer = Peer::new(&multiplexer, A);
            let polled = from.poll(&multiplexer, &peer, |multiplexer, id| {
                multiplexer.change_stream_channel(id, B).unwrap();
            });
            assert_eq!(polled, Ok((peer.id, None)), "{from:?}");
            assert_eq!(events(&multiplexer, A), [], "{from:?}");
            peer.feed.push(1);
            assert_eq!(events_of(&multiplexer, B, peer.id), [Item(1)], "{from:?}");
        });
    }

    /// The sleeping receiver is woken as soon as the poll returns.
    #[test]
    fn moved_to_a_channel_with_a_sleeping_receiver() {
        from_everywhere(|from| {
            let multiplexer = multiplexer();
            let peer = Peer::new(&multiplexer, A);
            let (wakes, waker) = Wakes::new();
            let mut sleeper = multiplexer.receiver(B).unwrap();
            assert_eq!(poll_with(&mut sleeper, &waker), Poll::Pending);
            peer.feed.push(1);
            peer.feed.push(2);
            let polled = from.poll(&multiplexer, &peer, |multiplexer, id| {
                multiplexer.change_stream_channel(id, B).unwrap();
            });
            assert_eq!(polled, Ok((peer.id, Some(1))), "{from:?}");
            assert_eq!(wakes.take(), 1, "{from:?}");
            assert_eq!(poll(&mut sleeper), Poll::Ready(Some((peer.id, Item(2)))), "{from:?}");
        });
    }

    #[test]
    fn moved_twice() {
        from_everywhere(|from| {
            let multiplexer = multiplexer();
            let peer = Peer::new(&multiplexer, A);
            peer.feed.push(1);
            peer.feed.push(2);
            let polled = from.poll(&multiplexer, &peer, |multiplexer, id| {
                multiplexer.change_stream_channel(id, B).unwrap();
                multiplexer.change_stream_channel(id, C).unwrap();
                assert_eq!(multiplexer.channel_of(id), Some(C));
                assert_eq!(events_of(multiplexer, B, id), [Moved(C)]);
            });
            assert_eq!(polled, Ok((peer.id, Some(1))), "{from:?}");
            assert_eq!(events_of(&multiplexer, A, peer.id), [Moved(B)], "{from:?}");
            assert_eq!(events_of(&multiplexer, B, peer.id), [], "{from:?}");
            assert_eq!(events_of(&multiplexer, C, peer.id), [Item(2)], "{from:?}");
        });
    }

    #[test]
    fn moved_and_moved_back() {
        from_everywhere(|from| {
            let multiplexer = multiplexer();
            let peer = Peer::new(&multiplexer, A);
            peer.feed.push(1);
            let polled = from.poll(&multiplexer, &peer, |multiplexer, id| {
                multiplexer.change_stream_channel(id, B).unwrap();
                multiplexer.change_stream_channel(id, A).unwrap();
                assert_eq!(multiplexer.channel_of(id), Some(A));
                assert_eq!((multiplexer.channel_len(A), multiplexer.channel_len(B)), (Some(1), Some(0)));
            });
            assert_eq!(polled, Ok((peer.id, Some(1))), "{from:?}");
            assert_eq!(events_of(&multiplexer, B, peer.id), [Moved(A)], "{from:?}");
            assert_eq!(events_of(&multiplexer, A, peer.id), [Moved(B)], "{from:?}");
            peer.feed.push(2);
            assert_eq!(events_of(&multiplexer, A, peer.id), [Item(2)], "{from:?}");
        });
    }

    /// The departure of the earlier stay is received before the items of the next stay.
    #[test]
    fn moved_and_moved_back_with_more_to_say() {
        from_everywhere(|from| {
            let multiplexer = multiplexer();
            let peer = Peer::new(&multiplexer, A);
            peer.feed.push(1);
            peer.feed.push(2);
            let polled = from.poll(&multiplexer, &peer, |multiplexer, id| {
                multiplexer.change_stream_channel(id, B).unwrap();
                multiplexer.change_stream_channel(id, A).unwrap();
            });
            assert_eq!(polled, Ok((peer.id, Some(1))), "{from:?}");
            assert_eq!(events_of(&multiplexer, A, peer.id), [Moved(B), Item(2)], "{from:?}");
        });
    }

    #[test]
    fn moved_to_where_it_is() {
        from_everywhere(|from| {
            let multiplexer = multiplexer();
            let peer = Peer::new(&multiplexer, A);
            peer.feed.push(1);
            peer.feed.push(2);
            let polled = from.poll(&multiplexer, &peer, |multiplexer, id| {
                multiplexer.change_stream_channel(id, A).unwrap();
            });
            assert_eq!(polled, Ok((peer.id, Some(1))), "{from:?}");
            assert_eq!(events_of(&multiplexer, A, peer.id), [Item(2)], "{from:?}");
        });
    }

    /// Halves that are not being polled are returned. A half that is being polled is dropped when the poll returns.
    #[test]
    fn removed() {
        from_everywhere(|from| {
            let multiplexer = multiplexer();
            let peer = Peer::new(&multiplexer, A);
            peer.feed.push(1);
            peer.feed.push(2);
            let handed_back = Arc::new(Mutex::new(None));
            let pair = Arc::clone(&handed_back);
            let polled = from.poll(&multiplexer, &peer, move |multiplexer, id| {
                *pair.lock().unwrap() = multiplexer.remove_stream(id);
                assert_eq!(multiplexer.channel_of(id), None);
                assert_eq!(multiplexer.channel_len(A), Some(0));
                assert!(multiplexer.remove_stream(id).is_none());
                assert_eq!(multiplexer.try_recv(A), Err(TryRecvError::Empty), "its item comes first");
            });
            assert_eq!(polled, Ok((peer.id, Some(1))), "{from:?}");
            assert!(peer.feed.is_dropped(), "{from:?}");
            let pair: Pair = handed_back.lock().unwrap().take().unwrap();
            assert_eq!(pair.id, peer.id);
            assert!(pair.stream.is_none() && pair.sink.is_some(), "{from:?}");
            assert!(!peer.keeper.is_dropped());
            assert_eq!(events_of(&multiplexer, A, peer.id), [Removed], "{from:?}");
        });
    }

    #[test]
    fn removed_without_an_item() {
        from_everywhere(|from| {
            let multiplexer = multiplexer();
            let peer = Peer::new(&multiplexer, A);
            let polled =
                from.poll(&multiplexer, &peer, |multiplexer, id| drop(multiplexer.remove_stream(id)));
            assert_eq!(polled, Ok((peer.id, None)), "{from:?}");
            assert!(peer.feed.is_dropped(), "{from:?}");
            assert_eq!(events(&multiplexer, A), [], "{from:?}");
        });
    }

    #[test]
    fn removed_after_it_was_moved() {
        from_everywhere(|from| {
            let multiplexer = multiplexer();
            let peer = Peer::new(&multiplexer, A);
            peer.feed.push(1);
            let polled = from.poll(&multiplexer, &peer, |multiplexer, id| {
                multiplexer.change_stream_channel(id, B).unwrap();
                let pair = multiplexer.remove_stream(id).unwrap();
                assert!(pair.stream.is_none() && pair.sink.is_some());
                assert_eq!(multiplexer.channel_len(B), Some(0));
            });
            assert_eq!(polled, Ok((peer.id, Some(1))), "{from:?}");
            assert!(peer.feed.is_dropped(), "{from:?}");
            assert_eq!(events_of(&multiplexer, A, peer.id), [Moved(B)], "{from:?}");
            assert_eq!(events_of(&multiplexer, B, peer.id), [Removed], "{from:?}");
        });
    }

    #[test]
    fn its_channel_was_removed() {
        from_everywhere(|from| {
            let multiplexer = multiplexer();
            let [peer, other] = [Peer::new(&multiplexer, A), Peer::new(&multiplexer, A)];
            let mut receiver = multiplexer.receiver(A).unwrap();
            peer.feed.push(1);
            let polled = from.poll(&multiplexer, &peer, |multiplexer, id| {
                let pairs = multiplexer.remove_channel(A).unwrap();
                assert_eq!(pairs.len(), 2);
                assert!(pairs[0].id == id && pairs[0].stream.is_none() && pairs[0].sink.is_some());
                assert!(pairs[1].id != id && pairs[1].stream.is_some());
                assert_eq!(multiplexer.channel_of(id), None);
            });
            assert_eq!(polled, Ok((peer.id, Some(1))), "{from:?}");
            assert!(peer.feed.is_dropped() && other.feed.is_dropped(), "{from:?}");
            assert_eq!(poll(&mut receiver), Poll::Ready(None), "{from:?}");
        });
    }

    #[test]
    fn the_channel_it_was_moved_to_was_removed() {
        from_everywhere(|from| {
            let multiplexer = multiplexer();
            let peer = Peer::new(&multiplexer, A);
            peer.feed.push(1);
            let polled = from.poll(&multiplexer, &peer, |multiplexer, id| {
                multiplexer.change_stream_channel(id, B).unwrap();
                let pairs = multiplexer.remove_channel(B).unwrap();
                assert_eq!(pairs.len(), 1);
                assert!(pairs[0].id == id && pairs[0].stream.is_none() && pairs[0].sink.is_some());
            });
            assert_eq!(polled, Ok((peer.id, Some(1))), "{from:?}");
            assert!(peer.feed.is_dropped(), "{from:?}");
            assert_eq!(events_of(&multiplexer, A, peer.id), [Moved(B)], "{from:?}");
            assert_eq!(multiplexer.channel_of(peer.id), None, "{from:?}");
        });
    }

    #[test]
    fn the_channel_it_was_moved_from_was_removed() {
        from_everywhere(|from| {
            let multiplexer = multiplexer();
            let peer = Peer::new(&multiplexer, A);
            peer.feed.push(1);
            peer.feed.push(2);
            let polled = from.poll(&multiplexer, &peer, |multiplexer, id| {
                multiplexer.change_stream_channel(id, B).unwrap();
                assert_eq!(multiplexer.remove_channel(A).map(|pairs| pairs.len()), Some(0));
                assert_eq!(multiplexer.channel_of(id), Some(B));
            });
            assert_eq!(polled, Ok((peer.id, Some(1))), "{from:?}");
            assert_eq!(events_of(&multiplexer, B, peer.id), [Item(2)], "{from:?}");
        });
    }

    #[test]
    fn moved_and_then_ended() {
        from_everywhere(|from| {
            let multiplexer = multiplexer();
            let peer = Peer::new(&multiplexer, A);
            peer.feed.end();
            let polled = from.poll(&multiplexer, &peer, |multiplexer, id| {
                multiplexer.change_stream_channel(id, B).unwrap();
            });
            assert_eq!(polled, Ok((peer.id, None)), "{from:?}");
            assert_eq!(events(&multiplexer, A), [], "{from:?}");
            assert_eq!(events_of(&multiplexer, B, peer.id), [Ended], "{from:?}");
            assert_eq!((multiplexer.channel_of(peer.id), multiplexer.channel_len(B)), (None, Some(0)));
            assert!(peer.feed.is_dropped() && peer.keeper.is_dropped(), "{from:?}");
        });
    }

    #[test]
    fn moved_twice_and_then_ended() {
        from_everywhere(|from| {
            let multiplexer = multiplexer();
            let peer = Peer::new(&multiplexer, A);
            let mut receiver = multiplexer.receiver(A).unwrap();
            peer.feed.end();
            let handle = multiplexer.clone();
            let id = peer.id;
            let polled = from.run(
                &peer.in_poll,
                || poll(&mut receiver),
                move || {
                    handle.change_stream_channel(id, B).unwrap();
                    handle.change_stream_channel(id, C).unwrap();
                },
            );
            assert_eq!(polled, Poll::Ready(Some((peer.id, Moved(B)))), "{from:?}");
            assert_eq!(events(&multiplexer, A), [], "{from:?}");
            assert_eq!(events_of(&multiplexer, B, peer.id), [Moved(C)], "{from:?}");
            assert_eq!(events_of(&multiplexer, C, peer.id), [Ended], "{from:?}");
        });
    }

    #[test]
    fn moved_to_a_channel_with_a_sleeping_receiver_and_then_ended() {
        from_everywhere(|from| {
            let multiplexer = multiplexer();
            let peer = Peer::new(&multiplexer, A);
            let (wakes, waker) = Wakes::new();
            let mut sleeper = multiplexer.receiver(B).unwrap();
            assert_eq!(poll_with(&mut sleeper, &waker), Poll::Pending);
            peer.feed.end();
            let polled = from.poll(&multiplexer, &peer, |multiplexer, id| {
                multiplexer.change_stream_channel(id, B).unwrap();
            });
            assert_eq!(polled, Ok((peer.id, None)), "{from:?}");
            assert_eq!(wakes.take(), 1, "{from:?}");
            assert_eq!(poll(&mut sleeper), Poll::Ready(Some((peer.id, Ended))), "{from:?}");
        });
    }

    #[test]
    fn removed_and_then_ended() {
        from_everywhere(|from| {
            let multiplexer = multiplexer();
            let peer = Peer::new(&multiplexer, A);
            let mut receiver = multiplexer.receiver(A).unwrap();
            peer.feed.end();
            let (handle, id) = (multiplexer.clone(), peer.id);
            let polled =
                from.run(&peer.in_poll, || poll(&mut receiver), move || drop(handle.remove_stream(id)));
            assert_eq!(polled, Poll::Ready(Some((peer.id, Removed))), "{from:?}");
            assert_eq!(events(&multiplexer, A), [], "{from:?}");
            assert!(peer.feed.is_dropped(), "{from:?}");
        });
    }

    #[test]
    fn closed_and_then_ended() {
        from_everywhere(|from| {
            let multiplexer = multiplexer();
            let peer = Peer::new(&multiplexer, A);
            let (wakes, waker) = Wakes::new();
            peer.feed.end();
            let mut sleeper = multiplexer.receiver(A).unwrap();
            let mut sleeping = multiplexer.receiver(B).unwrap();
            assert_eq!(poll_with(&mut sleeping, &waker), Poll::Pending);
            let polled = from.poll(&multiplexer, &peer, |multiplexer, _| multiplexer.close());
            assert_eq!(polled, Ok((peer.id, None)), "{from:?}");
            assert_eq!(wakes.take(), 1, "{from:?}");
            assert_eq!(poll(&mut sleeping), Poll::Ready(None), "{from:?}");
            assert_eq!(poll(&mut sleeper), Poll::Ready(None), "{from:?}");
        });
    }

    #[test]
    fn its_sink_was_being_polled_when_it_was_removed() {
        from_everywhere(|from| {
            let multiplexer = multiplexer();
            let peer = Peer::new(&multiplexer, A);
            let handed_back = Arc::new(Mutex::new(None));
            let (handle, id, pair) = (multiplexer.clone(), peer.id, Arc::clone(&handed_back));
            let sent = from.run(
                &peer.in_sink_poll,
                || poll_future(&mut multiplexer.send_one(id, 1), Waker::noop()),
                move || *pair.lock().unwrap() = handle.remove_stream(id),
            );
            assert_eq!(sent, Poll::Ready(Ok(())), "{from:?}");
            assert_eq!(peer.keeper.take_items(), [1], "{from:?}");
            let pair: Pair = handed_back.lock().unwrap().take().unwrap();
            assert!(pair.stream.is_some() && pair.sink.is_none(), "{from:?}");
            assert!(peer.keeper.is_dropped(), "{from:?}");
            assert_eq!(events_of(&multiplexer, A, peer.id), [Removed], "{from:?}");
        });
    }

    /// And not only when the last task that waits for the sink has noticed.
    #[test]
    fn its_sink_was_being_polled_and_others_wait_for_it() {
        from_everywhere(|from| {
            let multiplexer = multiplexer();
            let peer = Peer::with_room(&multiplexer, A, 0);
            let (wakes, waker) = Wakes::new();
            let mut waiting = multiplexer.send_one(peer.id, 1);
            assert!(poll_future(&mut waiting, &waker).is_pending());
            let (handle, id) = (multiplexer.clone(), peer.id);
            let mut send = multiplexer.send_one(id, 2);
            let sent = from.run(
                &peer.in_sink_poll,
                || poll_future(&mut send, Waker::noop()),
                move || drop(handle.remove_stream(id)),
            );
            assert!(sent.is_pending(), "{from:?}");
            assert!(peer.keeper.is_dropped(), "{from:?}");
            assert_ne!(wakes.take(), 0, "{from:?}");
            let unknown = SendError::UnknownStream(id);
            assert_eq!(poll_future(&mut waiting, &waker), Poll::Ready(Err(unknown)), "{from:?}");
            assert_eq!(poll_future(&mut send, &waker), Poll::Ready(Err(unknown)), "{from:?}");
        });
    }

    #[test]
    fn its_sink_was_being_polled_when_its_channel_was_removed() {
        from_everywhere(|from| {
            let multiplexer = multiplexer();
            let peer = Peer::new(&multiplexer, A);
            let handed_back = Arc::new(Mutex::new(None));
            let (handle, id, pairs) = (multiplexer.clone(), peer.id, Arc::clone(&handed_back));
            let sent = from.run(
                &peer.in_sink_poll,
                || poll_future(&mut multiplexer.send_one(id, 1), Waker::noop()),
                move || *pairs.lock().unwrap() = handle.remove_channel(A),
            );
            assert_eq!(sent, Poll::Ready(Ok(())), "{from:?}");
            assert_eq!(peer.keeper.take_items(), [1], "{from:?}");
            let pairs: Vec<Pair> = handed_back.lock().unwrap().take().unwrap();
            assert!(pairs[0].stream.is_some() && pairs[0].sink.is_none(), "{from:?}");
            assert!(peer.keeper.is_dropped(), "{from:?}");
        });
    }

    /// A half that is not being polled belongs to the caller. A half that is being polled is not dropped before the
    /// poll returns.
    #[test]
    fn what_is_being_polled_is_dropped_when_that_returns_and_not_before() {
        finishes(|| {
            let multiplexer = multiplexer();
            let peer = Arc::new(Peer::new(&multiplexer, A));
            let (handle, polled) = (multiplexer.clone(), Arc::clone(&peer));
            peer.in_poll.set(move || {
                drop(handle.remove_stream(polled.id));
                assert!(!polled.feed.is_dropped());
            });
            assert_eq!(multiplexer.try_recv(A), Ok((peer.id, None)));
            assert!(peer.feed.is_dropped());

            let peer = Arc::new(Peer::new(&multiplexer, A));
            let (handle, polled) = (multiplexer.clone(), Arc::clone(&peer));
            peer.in_sink_poll.set(move || {
                drop(handle.remove_stream(polled.id));
                assert!(!polled.keeper.is_dropped());
            });
            assert!(poll_future(&mut multiplexer.send_one(peer.id, 1), Waker::noop()).is_ready());
            assert!(peer.keeper.is_dropped());
        });
    }
}

/// After a stream has ended or was removed, the pair is gone.
mod sinks {
    use super::*;

    #[test]
    fn are_dropped_when_the_stream_ended() {
        let multiplexer = multiplexer();
        let peer = Peer::new(&multiplexer, A);
        let idle = multiplexer.sender::<u32>(peer.id).unwrap();
        peer.feed.end();
        assert!(!peer.keeper.is_dropped());
        assert_eq!(events_of(&multiplexer, A, peer.id), [Ended]);
        assert!(peer.keeper.is_dropped());
        let unknown = SendError::UnknownStream(peer.id);
        assert_eq!(now(multiplexer.send_one(peer.id, 1)), Err(unknown));
        drop(idle);
    }

    #[test]
    fn are_dropped_after_the_sends_in_flight() {
        let multiplexer = multiplexer();
        let peer = Peer::with_room(&multiplexer, A, 0);
        let mut send = multiplexer.send_one(peer.id, 1);
        let mut broadcast = multiplexer.send([peer.id, peer.id], 2).map(Sent::into_vec);
        assert!(poll_future(&mut send, Waker::noop()).is_pending());
        assert!(poll_future(&mut broadcast, Waker::noop()).is_pending());
        peer.feed.end();
        assert_eq!(events_of(&multiplexer, A, peer.id), [Ended]);
        assert!(!peer.keeper.is_dropped());

        peer.keeper.make_room(3);
        assert_eq!(poll_future(&mut send, Waker::noop()), Poll::Ready(Ok(())));
        assert!(!peer.keeper.is_dropped());
        let sent = vec![Ok(peer.id), Ok(peer.id)];
        assert_eq!(poll_future(&mut broadcast, Waker::noop()), Poll::Ready(sent));
        assert_eq!(peer.keeper.take_items(), [1, 2, 2]);
        assert!(peer.keeper.is_dropped());
    }

    #[test]
    fn are_dropped_when_the_last_send_in_flight_is() {
        let multiplexer = multiplexer();
        let peer = Peer::with_room(&multiplexer, A, 1);
        peer.keeper.set_flushes(false);
        let mut sender = multiplexer.sender(peer.id).unwrap();
        let mut flush = sender.send(1);
        assert!(poll_future(&mut flush, Waker::noop()).is_pending());
        let mut send = multiplexer.send_one(peer.id, 2);
        assert!(poll_future(&mut send, Waker::noop()).is_pending());
        peer.feed.end();
        assert_eq!(events_of(&multiplexer, A, peer.id), [Ended]);
        drop(send);
        assert!(!peer.keeper.is_dropped());
        drop(sender);
        assert!(peer.keeper.is_dropped());
    }

    #[test]
    fn are_handed_back_when_the_stream_is_removed() {
        let multiplexer = multiplexer();
        let peer = Peer::with_room(&multiplexer, A, 1);
        peer.keeper.set_flushes(false);
        let (wakes, waker) = Wakes::new();
        let mut unflushed = multiplexer.send_one(peer.id, 1);
        let mut unsent = multiplexer.send_one(peer.id, 2);
        assert!(poll_future(&mut unflushed, &waker).is_pending());
        assert!(poll_future(&mut unsent, &waker).is_pending());

        let pair = multiplexer.remove_stream(peer.id).unwrap();
        assert_eq!(wakes.take(), 2);
        assert_eq!(poll_future(&mut unflushed, &waker), Poll::Ready(Err(SendError::Unflushed(peer.id))));
        assert_eq!(poll_future(&mut unsent, &waker), Poll::Ready(Err(SendError::UnknownStream(peer.id))));
        let mut sink = pair.sink.unwrap();
        peer.keeper.set_flushes(true);
        peer.keeper.make_room(1);
        now(sink.send(3)).unwrap();
        assert_eq!(peer.keeper.take_items(), [1, 3]);
    }

    #[test]
    fn leak_nothing_for_those_who_only_read() {
        let multiplexer = multiplexer();
        let empty = format!("{multiplexer:?}");
        let mut peers = Vec::new();
        for _ in 0..100 {
            let peer = Peer::new(&multiplexer, A);
            peer.feed.end();
            peers.push(peer);
        }
        assert_eq!(events(&multiplexer, A).len(), 100);
        assert!(peers.iter().all(|peer| peer.feed.is_dropped() && peer.keeper.is_dropped()));
        assert_eq!(format!("{multiplexer:?}"), empty);
    }
}

mod half_close {
    use super::*;

    fn multiplexer() -> Pairs {
        let multiplexer = super::multiplexer();
        multiplexer.remove_channel(A).unwrap();
        multiplexer.add_channel_with(A, ChannelOptions::new().half_close(true)).unwrap();
        multiplexer
    }

    #[test]
    fn keeps_the_sink_of_a_stream_that_ended_until_it_is_removed() {
        let multiplexer = multiplexer();
        let peer = Peer::new(&multiplexer, A);
        peer.feed.end();
        assert_eq!(events_of(&multiplexer, A, peer.id), [Ended]);
        assert!(!peer.feed.is_dropped());
        assert_eq!((multiplexer.channel_of(peer.id), multiplexer.channel_len(A)), (Some(A), Some(1)));
        assert_eq!(multiplexer.channel_streams(A), Some(vec![peer.id]));
        let ended = MultiplexerError::Ended(peer.id);
        assert_eq!(multiplexer.change_stream_channel(peer.id, B), Err(ended));
        assert_eq!(multiplexer.with_stream(peer.id, |_| ()), Err(ended));

        assert_eq!(now(multiplexer.send([peer.id], 1).map(Sent::into_vec)), [Ok(peer.id)]);
        now(multiplexer.sender(peer.id).unwrap().send(2)).unwrap();
        assert_eq!(peer.keeper.take_items(), [1, 2]);

        let pair = multiplexer.remove_stream(peer.id).unwrap();
        assert!(
            pair.stream.is_some() && pair.sink.is_some(),
            "both halves come back, to be put together again"
        );
        assert!(multiplexer.remove_stream(peer.id).is_none());
        assert_eq!(events(&multiplexer, A), [], "it had its departure");
    }

    /// The stream may still yield items later, for example after an error of its codec.
    #[test]
    fn hands_back_a_stream_that_goes_on() {
        let multiplexer = multiplexer();
        let peer = Peer::new(&multiplexer, A);
        peer.feed.end();
        assert_eq!(events_of(&multiplexer, A, peer.id), [Ended]);
        peer.feed.take_polls();
        peer.feed.push(1);
        assert_eq!(events(&multiplexer, A), [], "it is not polled again");
        assert_eq!(peer.feed.take_polls(), 0);
        let mut pair = multiplexer.remove_stream(peer.id).unwrap();
        assert_eq!(poll(pair.stream.as_mut().unwrap()), Poll::Ready(Some(1)));
    }

    /// No handle is left to send to the pair, or to remove it.
    #[test]
    fn keeps_no_sink_when_all_handles_are_gone() {
        for ends_first in [true, false] {
            let multiplexer = multiplexer();
            let [peer, other] = [Peer::new(&multiplexer, A), Peer::new(&multiplexer, B)];
            let mut receiver = multiplexer.receiver(A).unwrap();
            let mut stays = multiplexer.receiver(B).unwrap();
            if ends_first {
                peer.feed.end();
                assert_eq!(poll(&mut receiver), Poll::Ready(Some((peer.id, Ended))));
                drop(multiplexer);
            } else {
                drop(multiplexer);
                peer.feed.end();
                assert_eq!(poll(&mut receiver), Poll::Ready(Some((peer.id, Ended))));
            }
            assert!(peer.keeper.is_dropped());
            assert_eq!(poll(&mut receiver), Poll::Ready(None));
            assert_eq!(poll(&mut stays), Poll::Pending);
            assert!(!other.keeper.is_dropped());
        }
    }

    #[test]
    fn keeps_the_sink_until_it_is_closed() {
        let multiplexer = multiplexer();
        let peer = Peer::new(&multiplexer, A);
        peer.feed.end();
        assert_eq!(events_of(&multiplexer, A, peer.id), [Ended]);
        assert_eq!(now(multiplexer.close_stream::<u32>(peer.id)), Ok(()));
        assert!(peer.keeper.is_closed() && peer.keeper.is_dropped());
        assert!(multiplexer.remove_stream(peer.id).is_none());
        assert_eq!(events(&multiplexer, A), []);
    }

    #[test]
    fn hands_all_back_when_the_channel_is_removed() {
        let multiplexer = multiplexer();
        let peer = Peer::new(&multiplexer, A);
        peer.feed.end();
        assert_eq!(events_of(&multiplexer, A, peer.id), [Ended]);
        let pairs = multiplexer.remove_channel(A).unwrap();
        assert!(
            matches!(&pairs[..], [StreamPair { id, stream: Some(_), sink: Some(_), .. }] if *id == peer.id)
        );
        assert!(multiplexer.remove_stream(peer.id).is_none());
    }

    /// There is nothing more to receive, although the channel contains a pair.
    #[test]
    fn does_not_keep_receivers_from_ending() {
        let multiplexer = multiplexer();
        let peer = Peer::new(&multiplexer, A);
        let mut receiver = multiplexer.receiver(A).unwrap();
        multiplexer.close_channel(A).unwrap();
        assert!(multiplexer.drained(A).now_or_never().is_none());
        peer.feed.end();
        assert_eq!(poll(&mut receiver), Poll::Ready(Some((peer.id, Ended))));
        assert_eq!(poll(&mut receiver), Poll::Ready(None));
        assert_eq!(multiplexer.drained(A).now_or_never(), Some(Ok(())));
        assert_eq!(now(multiplexer.send([peer.id], 1)).into_vec(), [Ok(peer.id)]);
    }

    /// A task that fell asleep in the last poll of the stream is woken for the end of the channel, and one that waits until
    /// the channel is drained as well.
    #[test]
    fn wakes_tasks_that_wait_for_the_end_of_the_channel() {
        let multiplexer = multiplexer();
        let peer = Peer::new(&multiplexer, A);
        let sleeper = Arc::new(Mutex::new(multiplexer.receiver(A).unwrap()));
        multiplexer.close_channel(A).unwrap();
        let mut drained = multiplexer.drained(A);
        let [(wakes, waker), (drained_wakes, drained_waker)] = [(); 2].map(|()| Wakes::new());
        assert!(poll_future(&mut drained, &drained_waker).is_pending());
        let falls_asleep = Arc::clone(&sleeper);
        peer.in_poll.set(move || {
            assert_eq!(poll_with(&mut *falls_asleep.lock().unwrap(), &waker), Poll::Pending);
        });
        peer.feed.end();
        assert_eq!(multiplexer.try_recv(A), Ok((peer.id, None)));
        assert_eq!((wakes.take(), drained_wakes.take()), (1, 1));
        assert_eq!(poll(&mut *sleeper.lock().unwrap()), Poll::Ready(None));
        assert_eq!(poll_future(&mut drained, &drained_waker), Poll::Ready(Ok(())));
    }

    /// The stream moves and ends in one poll, and a task sleeps where it moves to. That channel is closed meanwhile.
    #[test]
    fn wakes_tasks_that_wait_where_the_stream_ends() {
        let multiplexer = multiplexer();
        let peer = Peer::new(&multiplexer, B);
        let mut receiver = multiplexer.receiver(A).unwrap();
        let mut drained = multiplexer.drained(A);
        let [(wakes, waker), (drained_wakes, drained_waker)] = [(); 2].map(|()| Wakes::new());
        assert_eq!(poll_with(&mut receiver, &waker), Poll::Pending);
        assert!(poll_future(&mut drained, &drained_waker).is_pending());
        let (handle, id) = (multiplexer.clone(), peer.id);
        peer.in_poll.set(move || {
            handle.change_stream_channel(id, A).unwrap();
            handle.close_channel(A).unwrap();
        });
        peer.feed.end();
        assert_eq!(events(&multiplexer, B), [(peer.id, Moved(A))]);
        assert_eq!((wakes.take(), drained_wakes.take()), (1, 1));
        assert_eq!(poll(&mut receiver), Poll::Ready(Some((peer.id, Ended))));
        assert_eq!(poll(&mut receiver), Poll::Ready(None));
        assert!(!peer.keeper.is_dropped());
    }

    /// The option of the channel in which the stream ends applies.
    #[test]
    fn is_of_the_channel_in_which_the_stream_ends() {
        let multiplexer = multiplexer();
        let [moved_in, moved_out] = [Peer::new(&multiplexer, B), Peer::new(&multiplexer, A)];
        multiplexer.change_stream_channel(moved_in.id, A).unwrap();
        multiplexer.change_stream_channel(moved_out.id, B).unwrap();
        moved_in.feed.end();
        moved_out.feed.end();
        events(&multiplexer, A);
        events(&multiplexer, B);
        assert!(!moved_in.keeper.is_dropped() && moved_out.keeper.is_dropped());

        // Also if the stream ends in the poll in which it is moved.
        let [moved_in, moved_out] = [Peer::new(&multiplexer, B), Peer::new(&multiplexer, A)];
        for (peer, to) in [(&moved_in, A), (&moved_out, B)] {
            let (handle, id) = (multiplexer.clone(), peer.id);
            peer.in_poll.set(move || handle.change_stream_channel(id, to).unwrap());
            peer.feed.end();
        }
        events(&multiplexer, A);
        events(&multiplexer, B);
        assert!(!moved_in.keeper.is_dropped() && moved_out.keeper.is_dropped());
    }

    #[test]
    fn does_not_keep_the_sink_of_a_stream_that_is_removed() {
        let multiplexer = multiplexer();
        let peer = Peer::new(&multiplexer, A);
        drop(multiplexer.remove_stream(peer.id));
        assert!(peer.keeper.is_dropped());
    }

    /// Without a sink, there is nothing to keep the pair for.
    #[test]
    fn keeps_nothing_of_a_stream_without_a_sink() {
        let multiplexer = Multiplexer::<Pipe<u32>>::new();
        multiplexer.add_channel_with(A, ChannelOptions::new().half_close(true)).unwrap();
        let empty = format!("{multiplexer:?}");
        let (feed, pipe) = pipe();
        let id = multiplexer.add_stream(pipe, A).unwrap();
        feed.end();
        assert_eq!(multiplexer.try_recv(A), Ok((id, None)));
        assert_eq!(format!("{multiplexer:?}"), empty);
        assert!(multiplexer.remove_stream(id).is_none());
    }
}

mod closing {
    use super::*;

    #[test]
    fn admits_no_more_pairs_and_channels() {
        let multiplexer = multiplexer();
        assert!(!multiplexer.is_closed());
        multiplexer.clone().close();
        assert!(multiplexer.is_closed());
        multiplexer.close();
        assert_eq!(multiplexer.add_channel(9), Err(MultiplexerError::Closed));
        assert_eq!(multiplexer.channels(), [A, B, C]);

        let refused = Multiplexer::<Pipe<u32>>::new();
        refused.add_channel(A).unwrap();
        refused.close();
        let (feed, pipe) = pipe();
        let error = refused.add_stream(pipe, A).unwrap_err();
        assert_eq!(error.reason(), MultiplexerError::Closed);
        feed.push(1);
        let ((), mut stream) = error.into_parts();
        assert_eq!(now(stream.next()), Some(1), "it comes back");
    }

    #[test]
    fn lets_those_that_are_there_go_on() {
        let multiplexer = multiplexer();
        let peer = Peer::new(&multiplexer, A);
        multiplexer.close();
        peer.feed.push(1);
        assert_eq!(events_of(&multiplexer, A, peer.id), [Item(1)]);
        assert_eq!(now(multiplexer.send([peer.id], 2).map(Sent::into_vec)), [Ok(peer.id)]);
        assert_eq!(multiplexer.channel_of(peer.id), Some(A));
        assert!(multiplexer.remove_stream(peer.id).unwrap().stream.is_some());
        assert_eq!(events_of(&multiplexer, A, peer.id), [Removed]);
        assert_eq!(multiplexer.remove_channel(A).map(|pairs| pairs.len()), Some(0));
    }

    #[test]
    fn happens_with_the_last_handle() {
        let multiplexer = multiplexer();
        let peer = Peer::new(&multiplexer, A);
        let mut receiver = multiplexer.receiver(A).unwrap();
        let clone = multiplexer.clone();
        drop(multiplexer);
        assert!(!clone.is_closed());
        drop(clone);
        peer.feed.push(1);
        peer.feed.end();
        assert_eq!(poll(&mut receiver), Poll::Ready(Some((peer.id, Item(1)))));
        assert_eq!(poll(&mut receiver), Poll::Ready(Some((peer.id, Ended))));
        assert_eq!(poll(&mut receiver), Poll::Ready(None));
        drop(receiver);
        assert!(peer.keeper.is_dropped());
    }

    #[test]
    fn drops_all_with_the_last_handle_and_receiver() {
        let multiplexer = multiplexer();
        let peer = Peer::new(&multiplexer, A);
        let [receiver, last] = [(); 2].map(|()| multiplexer.receiver(A).unwrap());
        drop(multiplexer);
        drop(receiver);
        assert!(!peer.feed.is_dropped());
        drop(last);
        assert!(peer.feed.is_dropped() && peer.keeper.is_dropped());
    }

    /// Channels with a receiver continue; everything else is dropped.
    #[test]
    fn drops_unreachable_streams() {
        let multiplexer = multiplexer();
        let [reached, lost] = [Peer::new(&multiplexer, A), Peer::new(&multiplexer, B)];
        let mut receiver = multiplexer.receiver(A).unwrap();
        drop(multiplexer.receiver(B).unwrap());
        assert!(!lost.feed.is_dropped(), "there is a handle");
        drop(multiplexer);
        assert!(lost.feed.is_dropped() && lost.keeper.is_dropped());
        assert!(!reached.feed.is_dropped() && !reached.keeper.is_dropped());
        reached.feed.push(1);
        reached.feed.end();
        assert_eq!(poll(&mut receiver), Poll::Ready(Some((reached.id, Item(1)))));
        assert_eq!(poll(&mut receiver), Poll::Ready(Some((reached.id, Ended))));
        assert_eq!(poll(&mut receiver), Poll::Ready(None));
    }

    /// Each channel is closed separately.
    #[test]
    fn of_a_channel_leaves_the_others_open() {
        let multiplexer = multiplexer();
        let peer = Peer::new(&multiplexer, A);
        let mut receiver = multiplexer.receiver(A).unwrap();
        assert_eq!(multiplexer.is_channel_closed(A), Some(false));
        multiplexer.close_channel(A).unwrap();
        multiplexer.close_channel(A).unwrap();
        assert_eq!(multiplexer.is_channel_closed(A), Some(true));
        assert_eq!((multiplexer.is_channel_closed(B), multiplexer.is_closed()), (Some(false), false));
        assert_eq!(multiplexer.is_channel_closed(9), None);
        assert_eq!(multiplexer.close_channel(9), Err(MultiplexerError::UnknownChannel(9)));

        let stream = multiplexer.remove_stream(Peer::new(&multiplexer, B).id).unwrap().stream.unwrap();
        let refused = multiplexer.add_stream(stream, A).unwrap_err();
        assert_eq!(refused.reason(), MultiplexerError::Closed);
        assert!(multiplexer.add_stream(refused.into_parts().1, B).is_ok());
        peer.feed.push(1);
        peer.feed.end();
        assert_eq!(poll(&mut receiver), Poll::Ready(Some((peer.id, Item(1)))));
        assert_eq!(poll(&mut receiver), Poll::Ready(Some((peer.id, Ended))));
        assert_eq!(poll(&mut receiver), Poll::Ready(None));
        assert_eq!(multiplexer.try_recv(A), Err(TryRecvError::Closed));
        assert_eq!(multiplexer.recv(A).now_or_never(), Some(Err(MultiplexerError::Closed)));
    }

    /// Also if closing takes time: a thread that sees the multiplexer closed sees all its channels closed.
    #[test]
    fn is_one_moment() {
        const CHANNELS: std::ops::Range<ChannelId> = 1_000..10_000;
        finishes(|| {
            for _ in 0..10 {
                let multiplexer = multiplexer();
                let id = Peer::new(&multiplexer, A).id;
                CHANNELS.for_each(|channel| multiplexer.add_channel(channel).unwrap());
                let handle = multiplexer.clone();
                let closing = thread::spawn(move || handle.close());
                while !multiplexer.is_closed() {}
                for channel in CHANNELS.rev().take(100) {
                    let moved = multiplexer.change_stream_channel(id, channel);
                    assert_eq!(moved, Err(MultiplexerError::Closed), "{channel}");
                    assert_eq!(multiplexer.is_channel_closed(channel), Some(true), "{channel}");
                }
                closing.join().unwrap();
            }
        });
    }

    /// The last stream is removed in its poll. Its channel ends when its departure was received, after that poll.
    #[test]
    fn waits_for_the_last_poll_to_return() {
        let multiplexer = multiplexer();
        let peer = Peer::new(&multiplexer, A);
        let other = Arc::new(Mutex::new(multiplexer.receiver(A).unwrap()));
        multiplexer.close_channel(A).unwrap();
        let (handle, id, meanwhile) = (multiplexer.clone(), peer.id, Arc::clone(&other));
        peer.in_poll.set(move || {
            drop(handle.remove_stream(id));
            assert_eq!(poll(&mut *meanwhile.lock().unwrap()), Poll::Pending);
            assert_eq!(handle.drained(A).now_or_never(), None);
        });
        assert_eq!(events(&multiplexer, A), [(peer.id, Removed)]);
        assert_eq!(poll(&mut *other.lock().unwrap()), Poll::Ready(None));
        assert_eq!(multiplexer.drained(A).now_or_never(), Some(Ok(())));
    }

    /// In every way in which the last stream can leave.
    #[test]
    fn wakes_tasks_that_wait_for_the_last_stream() {
        for how in ["ended", "moved", "removed", "with its channel", "in its poll", "expected", "none"] {
            let multiplexer = multiplexer();
            let peer = Peer::new(&multiplexer, A);
            let mut drained = multiplexer.drained(A);
            let (wakes, waker) = Wakes::new();
            assert!(poll_future(&mut drained, &waker).is_pending());
            if how == "expected" {
                // It is moved out, moved back in its poll there, and removed before that poll has returned.
                multiplexer.change_stream_channel(peer.id, B).unwrap();
                let (handle, id) = (multiplexer.clone(), peer.id);
                peer.in_poll.set(move || {
                    handle.change_stream_channel(id, A).unwrap();
                    handle.close_channel(A).unwrap();
                    drop(handle.remove_stream(id));
                });
                let _ = multiplexer.try_recv(B);
            }
            if how == "none" {
                multiplexer.remove_stream(peer.id).unwrap();
                assert_eq!(
                    (wakes.take(), poll_future(&mut drained, &waker)),
                    (0, Poll::Pending),
                    "it is open"
                );
            }
            // A close would wake the task as well.
            if how != "expected" {
                multiplexer.close_channel(A).unwrap();
            }
            match how {
                "ended" => peer.feed.end(),
                "moved" => multiplexer.change_stream_channel(peer.id, B).unwrap(),
                "removed" => drop(multiplexer.remove_stream(peer.id).unwrap()),
                "with its channel" => drop(multiplexer.remove_channel(A).unwrap()),
                "in its poll" => {
                    let (handle, id) = (multiplexer.clone(), peer.id);
                    peer.in_poll.set(move || drop(handle.remove_stream(id)));
                }
                _ => {}
            }
            if matches!(how, "ended" | "in its poll") {
                assert_eq!((wakes.take(), poll_future(&mut drained, &waker)), (0, Poll::Pending), "{how}");
                assert!(multiplexer.try_recv(A).is_ok() || how == "in its poll");
            }
            assert_eq!(wakes.take(), 1, "{how}");
            assert_eq!(poll_future(&mut drained, &waker), Poll::Ready(Ok(())), "{how}");
        }
        let multiplexer = multiplexer();
        assert_eq!(multiplexer.drained(9).now_or_never(), Some(Err(MultiplexerError::UnknownChannel(9))));
    }
}

mod handles {
    use super::*;

    #[test]
    fn are_clones_of_one_multiplexer() {
        let multiplexer = multiplexer();
        let clone = multiplexer.clone();
        clone.add_channel(9).unwrap();
        let peer = Peer::new(&clone, 9);
        peer.feed.push(1);
        assert_eq!(multiplexer.try_recv(9), Ok((peer.id, Some(1))));
        assert_eq!(format!("{multiplexer:?}"), format!("{clone:?}"));
    }

    #[test]
    fn are_printed_without_asking_the_streams() {
        let multiplexer = multiplexer();
        Peer::new(&multiplexer, A);
        let printed = format!("{multiplexer:?}");
        assert!(printed.contains("channels: 3") && printed.contains("pairs: 1"), "{printed}");
        let receiver = format!("{:?}", multiplexer.receiver(A).unwrap());
        assert!(receiver.contains("streams: 1"), "{receiver}");
        assert!(!format!("{:?}", multiplexer.recv(A)).is_empty());
    }

    #[test]
    fn of_streams_without_sinks_are_as_easy() {
        let multiplexer = Multiplexer::without_sinks();
        multiplexer.add_channel(A).unwrap();
        multiplexer.add_channel(B).unwrap();
        let id = multiplexer.add_stream(futures::stream::iter([1, 2]), A).unwrap();
        assert_eq!(multiplexer.try_recv(A), Ok((id, Some(1))));
        multiplexer.change_stream_channel(id, B).unwrap();
        assert_eq!(multiplexer.try_recv(B), Ok((id, Some(2))));
        let pair = multiplexer.remove_stream(id).unwrap();
        assert!(pair.stream.is_some() && pair.sink.is_none());
    }
}

/// Random sequences of additions, moves, removals and ends, inside polls and outside: each stay has its departure after its
/// last item, and each item is received once, in order, from the stream's channel.
mod in_any_order {
    use super::*;

    #[derive(Clone, Copy, Debug)]
    enum Change {
        Move(ChannelId),
        Remove,
    }

    #[derive(Clone, Copy, Debug)]
    enum Step {
        Add(ChannelId),
        Push(usize),
        End(usize),
        Change(usize, Change),
        ChangeInItsPoll(usize, Change),
        Receive(ChannelId),
    }

    impl Arbitrary for Step {
        fn arbitrary(g: &mut Gen) -> Self {
            let (stream, channel) = (below(g, 4), A + below(g, 3));
            match below(g, 20) {
                0 => Self::Add(channel),
                1..5 => Self::Push(stream),
                5 => Self::End(stream),
                6..9 => Self::Change(stream, Change::arbitrary(g)),
                9..12 => Self::ChangeInItsPoll(stream, Change::arbitrary(g)),
                _ => Self::Receive(channel),
            }
        }
    }

    impl Arbitrary for Change {
        fn arbitrary(g: &mut Gen) -> Self {
            if below(g, 6) == 0 { Self::Remove } else { Self::Move(A + below(g, 3)) }
        }
    }

    /// The expectation for one stream.
    struct Expected {
        peer: Peer,
        /// The channel that contains the stream.
        channel: Option<ChannelId>,
        /// The channel in which the current poll began.
        polled_in: Option<ChannelId>,
        pushed: u32,
        received: u32,
        ended: bool,
        /// By channel.
        departures: HashMap<ChannelId, VecDeque<StreamEvent<u32>>>,
    }

    impl Expected {
        fn change(&mut self, multiplexer: &Pairs, change: Change) {
            let Some(from) = self.channel else { return };
            let departure = match change {
                Change::Move(to) => {
                    multiplexer.change_stream_channel(self.peer.id, to).unwrap();
                    self.channel = Some(to);
                    Moved(to)
                }
                Change::Remove => {
                    assert!(multiplexer.remove_stream(self.peer.id).is_some());
                    self.channel = None;
                    Removed
                }
            };
            assert_eq!(multiplexer.channel_of(self.peer.id), self.channel);
            if self.channel != Some(from) {
                self.departures.entry(from).or_default().push_back(departure);
            }
        }

        fn check(&mut self, channel: ChannelId, event: StreamEvent<u32>) {
            let departures = self.departures.entry(channel).or_default();
            match event {
                Item(item) => {
                    assert_eq!(item, self.received, "items are received once and in order");
                    self.received += 1;
                    match self.polled_in {
                        Some(polled_in) => assert_eq!(channel, polled_in),
                        None => assert_eq!(Some(channel), self.channel),
                    }
                    assert!(self.polled_in.is_some() || departures.is_empty(), "{departures:?} come first");
                }
                Ended if departures.is_empty() => {
                    assert_eq!(Some(channel), self.channel);
                    assert!(self.ended && self.received == self.pushed, "its end comes last");
                    self.channel = None;
                }
                departure => assert_eq!(departures.pop_front(), Some(departure)),
            }
        }

        fn owes_nothing(&self) -> bool {
            let told = self.departures.values().all(VecDeque::is_empty);
            let empty = self.received == self.pushed && !self.ended;
            told && (self.channel.is_none() || empty)
        }
    }

    /// The model, which actions inside polls share.
    #[derive(Clone, Default)]
    struct Model(Arc<Mutex<Vec<Expected>>>);

    impl Model {
        fn run(&self, multiplexer: &Pairs, step: Step) {
            match step {
                Step::Add(channel) => self.add(multiplexer, channel),
                Step::Push(at) => self.with(at, |stream| {
                    if stream.channel.is_some() && !stream.ended {
                        stream.peer.feed.push(stream.pushed);
                        stream.pushed += 1;
                    }
                }),
                Step::End(at) => self.with(at, |stream| {
                    stream.ended = true;
                    stream.peer.feed.end();
                }),
                Step::Change(at, change) => self.with(at, |stream| stream.change(multiplexer, change)),
                Step::ChangeInItsPoll(at, change) => self.change_in_its_poll(multiplexer, at, change),
                Step::Receive(channel) => drop(self.receive(multiplexer, channel)),
            }
        }

        fn with(&self, at: usize, change: impl FnOnce(&mut Expected)) {
            if let Some(stream) = self.0.lock().unwrap().get_mut(at) {
                change(stream);
            }
        }

        fn add(&self, multiplexer: &Pairs, channel: ChannelId) {
            self.0.lock().unwrap().push(Expected {
                peer: Peer::new(multiplexer, channel),
                channel: Some(channel),
                polled_in: None,
                pushed: 0,
                received: 0,
                ended: false,
                departures: HashMap::new(),
            });
        }

        fn change_in_its_poll(&self, multiplexer: &Pairs, at: usize, change: Change) {
            let (model, handle) = (self.clone(), multiplexer.clone());
            let action = move || {
                model.with(at, |stream| {
                    stream.polled_in = stream.channel;
                    stream.change(&handle, change);
                    if stream.ended && stream.received == stream.pushed {
                        // This poll finds the end of the stream, whatever channel it belongs to now.
                        if let Some(channel) = stream.channel.filter(|now| stream.polled_in != Some(*now)) {
                            stream.departures.entry(channel).or_default().push_back(Ended);
                            stream.channel = None;
                        }
                    }
                });
            };
            self.with(at, |stream| stream.peer.in_poll.set(action));
        }

        fn receive(&self, multiplexer: &Pairs, channel: ChannelId) -> Option<()> {
            let received = poll(&mut multiplexer.receiver(channel).unwrap());
            let mut streams = self.0.lock().unwrap();
            if let Poll::Ready(event) = received {
                let (id, event) = event.expect("it is open");
                let stream = streams.iter_mut().find(|stream| stream.peer.id == id).unwrap();
                stream.check(channel, event);
            }
            streams.iter_mut().for_each(|stream| stream.polled_in = None);
            received.is_ready().then_some(())
        }

        fn drain(&self, multiplexer: &Pairs) {
            self.0.lock().unwrap().iter().for_each(|stream| drop(stream.peer.in_poll.take()));
            for channel in [A, B, C] {
                while self.receive(multiplexer, channel).is_some() {}
            }
            assert!(self.0.lock().unwrap().iter().all(Expected::owes_nothing));
        }
    }

    #[test]
    fn each_stay_has_its_departure_and_each_item_its_place() {
        QuickCheck::new().rng(Gen::from_size_and_seed(100, 1)).quickcheck(any_steps as fn(Vec<Step>));
    }

    fn any_steps(steps: Vec<Step>) {
        let multiplexer = multiplexer();
        let model = Model::default();
        steps.into_iter().for_each(|step| model.run(&multiplexer, step));
        model.drain(&multiplexer);
    }
}

/// Concurrent producers, a thread that moves and removes, and a receiver for each channel.
mod in_many_threads {
    use super::*;

    const STREAMS: usize = 8;
    const ITEMS: u32 = 400;
    const MOVES: usize = 2_000;

    /// The events that one receiver received, by channel and stream.
    type Received = HashMap<(ChannelId, StreamId), Vec<StreamEvent<u32>>>;

    #[test]
    fn every_item_and_every_departure_is_accounted_for() {
        finishes(|| {
            let multiplexer = multiplexer();
            let peers: Vec<_> = (0..STREAMS).map(|at| Peer::new(&multiplexer, A + at % 3)).collect();
            let receivers: Vec<_> = [A, B, C].map(|channel| receive(&multiplexer, channel)).into();
            let producers: Vec<_> = peers.iter().map(|peer| produce(peer.feed.clone())).collect();
            let moves = move_and_remove(&multiplexer, &peers);
            producers.into_iter().for_each(|producer| producer.join().unwrap());
            multiplexer.close();

            let mut received = Received::new();
            for receiver in receivers {
                received.extend(receiver.join().unwrap());
            }
            for (at, peer) in peers.iter().enumerate() {
                check(&received, peer, &moves[at]);
            }
        });
    }

    fn receive(multiplexer: &Pairs, channel: ChannelId) -> thread::JoinHandle<Received> {
        let mut receiver = multiplexer.receiver(channel).unwrap();
        thread::spawn(move || {
            let mut received = Received::new();
            while let Some((id, event)) = block_on(receiver.next()) {
                received.entry((channel, id)).or_default().push(event);
            }
            received
        })
    }

    fn produce(feed: Feed<u32>) -> thread::JoinHandle<()> {
        thread::spawn(move || {
            for item in 0..ITEMS {
                feed.push(item);
                if item % 16 == 0 {
                    thread::yield_now();
                }
            }
            feed.end();
        })
    }

    /// The moves of one stream.
    struct Moves {
        departures: Vec<(ChannelId, StreamEvent<u32>)>,
        /// The stream's last channel.
        last: ChannelId,
        removed: Option<Pair>,
    }

    /// Moves streams around, and finally removes every other remaining stream.
    fn move_and_remove(multiplexer: &Pairs, peers: &[Peer]) -> Vec<Moves> {
        let mut moves: Vec<_> = (0..STREAMS)
            .map(|at| Moves { departures: Vec::new(), last: A + at % 3, removed: None })
            .collect();
        for turn in 0..MOVES {
            let (at, to) = (turn % STREAMS, A + turn.wrapping_mul(7919) / 5 % 3);
            let from = moves[at].last;
            if multiplexer.change_stream_channel(peers[at].id, to).is_ok() && from != to {
                moves[at].departures.push((from, Moved(to)));
                moves[at].last = to;
            }
            if turn % 64 == 0 {
                thread::yield_now();
            }
        }
        for at in (0..STREAMS).step_by(2) {
            moves[at].removed = multiplexer.remove_stream(peers[at].id);
        }
        moves
    }

    fn check(received: &Received, peer: &Peer, moves: &Moves) {
        let mut expected = moves.departures.clone();
        expected.push((moves.last, if moves.removed.is_some() { Removed } else { Ended }));
        let mut items = Vec::new();
        for channel in [A, B, C] {
            let events = received.get(&(channel, peer.id)).map_or(&[][..], Vec::as_slice);
            let of_channel: Vec<_> = events.iter().filter_map(|event| event.item()).collect();
            assert!(of_channel.is_sorted(), "in order: {of_channel:?}");
            items.extend(of_channel);

            let told = events.iter().filter(|event| event.item().is_none()).copied();
            let owed = expected.iter().filter(|(of, _)| *of == channel).map(|(_, departure)| *departure);
            assert_eq!(sorted(told), sorted(owed));
        }
        items.sort_unstable();
        let count = u32::try_from(items.len()).unwrap();
        assert_eq!(items, (0..count).collect::<Vec<_>>());
        match &moves.removed {
            None => assert_eq!(count, ITEMS),
            Some(pair) => assert!(pair.stream.is_some() || peer.feed.is_dropped()),
        }
    }

    fn sorted(departures: impl Iterator<Item = StreamEvent<u32>>) -> Vec<String> {
        let mut departures: Vec<_> = departures.map(|departure| format!("{departure:?}")).collect();
        departures.sort_unstable();
        departures
    }
}
