//! How many streams a select polls in vain in one call.

use crate::support::{Wakes, poll, poll_with};
use futures::stream::{self, Stream, StreamExt};
use std::cell::{Cell, RefCell};
use std::pin::Pin;
use std::rc::Rc;
use std::task::{Context, Poll, Waker};
use stream_multiplexer::{ChannelSelect, Multiplexer, Share};

/// What the streams of a test share.
#[derive(Default)]
struct Shared {
    polls_in_vain: Cell<usize>,
    wakers: RefCell<Vec<Waker>>,
}

/// The first stream always has an item, and wakes all others when it yields one. The others never have anything.
struct Member {
    is_first: bool,
    shared: Rc<Shared>,
}

impl Stream for Member {
    type Item = ();

    fn poll_next(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<()>> {
        let shared = &self.shared;
        if self.is_first {
            let wakers = shared.wakers.take();
            wakers.into_iter().for_each(Waker::wake);
            return Poll::Ready(Some(()));
        }
        shared.polls_in_vain.set(shared.polls_in_vain.get() + 1);
        shared.wakers.borrow_mut().push(cx.waker().clone());
        Poll::Pending
    }
}

/// Between two events 60 streams are polled in vain. A batch has one measure for all of that, and not one for each event:
/// it ends early, and the events behind it come with the next call.
#[test]
fn a_batch_polls_few_streams_in_vain() {
    // With a cost set, the batch takes the long way for each event.
    for has_cost in [false, true] {
        let multiplexer = Multiplexer::without_sinks();
        multiplexer.add_channel(1).unwrap();
        let shared = Rc::new(Shared::default());
        for nth in 0..61 {
            let member = Member { is_first: nth == 0, shared: Rc::clone(&shared) };
            multiplexer.add_stream(member, 1).unwrap();
        }
        let mut select = multiplexer.select();
        select.add(1, Share::new()).unwrap();
        if has_cost {
            select.cost(|()| 1);
        }
        let mut cx = Context::from_waker(Waker::noop());
        let mut events = Vec::new();
        for _ in 0..100 {
            let before = shared.polls_in_vain.get();
            let _ = select.poll_recv_many(&mut cx, &mut events, 64);
            let in_vain = shared.polls_in_vain.get() - before;
            assert!(in_vain <= 3 * 64, "{in_vain} polls in vain in one call");
        }
        assert!(events.len() >= 100, "{}", events.len());
    }
}

/// It is woken before each call, and has nothing.
struct Idler(Rc<Shared>);

impl Stream for Idler {
    type Item = ();

    fn poll_next(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<()>> {
        let Self(shared) = &*self;
        shared.polls_in_vain.set(shared.polls_in_vain.get() + 1);
        shared.wakers.borrow_mut().push(cx.waker().clone());
        Poll::Pending
    }
}

/// Two channels whose streams, 40 of each, are woken before each call and have nothing, and a third channel, which always
/// has an item.
fn two_in_vain(shares: [Share; 3]) -> (Rc<Shared>, ChannelSelect<impl Stream<Item = ()>>) {
    let multiplexer = Multiplexer::without_sinks();
    let shared = Rc::new(Shared::default());
    let mut select = multiplexer.select();
    for (channel, share) in shares.into_iter().enumerate() {
        multiplexer.add_channel(channel).unwrap();
        select.add(channel, share).unwrap();
    }
    for channel in 0..2 {
        for _ in 0..40 {
            multiplexer.add_stream(Idler(Rc::clone(&shared)).left_stream(), channel).unwrap();
        }
    }
    multiplexer.add_stream(stream::repeat(()).right_stream(), 2).unwrap();
    (shared, select)
}

/// Each call ends after 80 polls in vain in the first two channels. It counts as an event that was taken ahead of the third
/// one: so that one does not starve.
#[test]
fn calls_that_end_in_vain_in_several_channels_starve_no_other() {
    for priorities in [[0, 1, 2], [0, 0, 1], [0, 1, 1], [0, 0, 0]] {
        let shares = priorities.map(|priority| Share::new().priority(priority));
        let (shared, mut select) = two_in_vain(shares);
        let mut calls = 0;
        while poll(&mut select).is_pending() {
            calls += 1;
            assert!(calls <= 64 + 3 - 2, "the third channel starves");
            shared.wakers.take().into_iter().for_each(Waker::wake);
        }
        let stats = select.stats();
        assert_eq!((stats.events, stats.channels[2].turns), (1, 1));
        assert_eq!(stats.channels[2].longest_wait, calls);
    }
}

/// Between two events of the higher channel 70 streams are polled in vain: more than a batch puts up with. So a batch is an
/// event and then a call that gives up, which counts as an event as well.
#[test]
fn batches_that_give_up_count_as_events() {
    let multiplexer = Multiplexer::without_sinks();
    let mut select = multiplexer.select();
    for channel in 0..2_u32 {
        multiplexer.add_channel(channel as usize).unwrap();
        select.add(channel as usize, Share::new().priority(channel)).unwrap();
    }
    let shared = Rc::new(Shared::default());
    for nth in 0..71 {
        let member = Member { is_first: nth == 0, shared: Rc::clone(&shared) };
        multiplexer.add_stream(member.left_stream(), 0).unwrap();
    }
    multiplexer.add_stream(stream::repeat(()).right_stream(), 1).unwrap();
    let mut cx = Context::from_waker(Waker::noop());
    let mut events = Vec::new();
    while select.stats().channels[1].turns == 0 {
        let _ = select.poll_recv_many(&mut cx, &mut events, 64);
    }
    let ahead = events.iter().take_while(|(channel, ..)| *channel == 0).count();
    assert_eq!((ahead, select.stats().channels[1].longest_wait), (32, 64));
}

/// 64 polls in vain over two channels make a call yield, and 63 do not.
#[test]
fn a_call_yields_after_exactly_64_polls_in_vain() {
    for (streams, wakes_itself) in [(63, 0), (64, 1)] {
        let multiplexer = Multiplexer::without_sinks();
        let mut select = multiplexer.select();
        (0..2).for_each(|channel| {
            multiplexer.add_channel(channel).unwrap();
            select.add(channel, Share::new()).unwrap();
        });
        let shared = Rc::new(Shared::default());
        for nth in 0..streams {
            multiplexer.add_stream(Idler(Rc::clone(&shared)), nth % 2).unwrap();
        }
        let (wakes, waker) = Wakes::new();
        assert!(poll_with(&mut select, &waker).is_pending());
        assert_eq!((shared.polls_in_vain.get(), wakes.take()), (streams, wakes_itself));
    }
}

/// The 64 polls were before the first event of the batch.
#[test]
fn a_batch_ends_after_exactly_64_polls_in_vain() {
    for (in_vain, events) in [(63, 5), (64, 1)] {
        let multiplexer = Multiplexer::without_sinks();
        let mut select = multiplexer.select();
        // It looks for each event anew.
        select.cost(|()| 1);
        (0..2_u32).for_each(|channel| {
            multiplexer.add_channel(channel as usize).unwrap();
            select.add(channel as usize, Share::new().priority(channel)).unwrap();
        });
        let shared = Rc::new(Shared::default());
        for nth in 0..in_vain {
            multiplexer.add_stream(Idler(Rc::clone(&shared)).left_stream(), nth % 2).unwrap();
        }
        multiplexer.add_stream(stream::repeat(()).right_stream(), 1).unwrap();
        let mut cx = Context::from_waker(Waker::noop());
        assert_eq!(select.poll_recv_many(&mut cx, &mut Vec::new(), 5), Poll::Ready(events));
        assert_eq!(shared.polls_in_vain.get(), in_vain);
    }
}

/// Two that wake themselves end a batch, however many events came before them, and that turn counts as an event.
#[test]
fn a_batch_ends_when_two_in_a_row_wake_themselves() {
    for items in 1..4 {
        let multiplexer = Multiplexer::without_sinks();
        multiplexer.add_channel(0).unwrap();
        let mut select = multiplexer.select();
        select.add(0, Share::new()).unwrap();
        for _ in 0..items {
            multiplexer.add_stream(stream::repeat(()).boxed_local(), 0).unwrap();
        }
        for _ in 0..2 {
            let wakes_itself = stream::poll_fn(|cx| {
                cx.waker().wake_by_ref();
                Poll::Pending
            });
            multiplexer.add_stream(wakes_itself.boxed_local(), 0).unwrap();
        }
        let mut cx = Context::from_waker(Waker::noop());
        assert_eq!(select.poll_recv_many(&mut cx, &mut Vec::new(), 9), Poll::Ready(items));
        let stats = select.stats();
        assert_eq!((stats.events, stats.channels[0].turns), (items as u64, items as u64 + 1));
    }
}
