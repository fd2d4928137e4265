//! The bound on fairness if several receivers poll one channel: after a stream was polled, every other stream of its channel
//! that was ready at that moment is polled before it is polled again. "That moment" is the moment at which the poll *began*.
//! (`fairness.rs` tests a single receiver, and a slab.)
//!
//! A second receiver is polled during the polls of the first receiver's members. The turns overlap as they do with several
//! threads, and each schedule can be repeated.

use crate::random::below;
use crate::support;
use futures::Stream;
use quickcheck::{Arbitrary, Gen, QuickCheck};
use std::cell::RefCell;
use std::pin::Pin;
use std::rc::Rc;
use std::task::{Context, Poll, Waker};
use stream_multiplexer::{ChannelReceiver, Multiplexer};
use support::poll;

const CHANNEL: usize = 1;
const RECEIVERS: usize = 4;

/// The history.
enum Entry {
    /// A turn began. Contains the ready members: each was woken or had an item, and was not polled since.
    Begin {
        member: usize,
        ready: Vec<usize>,
    },
    End {
        member: usize,
        ready: Vec<usize>,
    },
}

#[derive(Default)]
struct Script {
    /// For each member, the number of its items.
    items: Vec<usize>,
    ready: Vec<bool>,
    wakers: Vec<Option<Waker>>,
    /// The number of events that other receivers receive during each of the next polls.
    nested: Vec<usize>,
    entries: Vec<Entry>,
    receivers: Vec<Option<ChannelReceiver<Member>>>,
}

struct Member {
    number: usize,
    script: Rc<RefCell<Script>>,
}

impl Script {
    fn all_ready(&self) -> Vec<usize> {
        (0..self.ready.len()).filter(|member| self.ready[*member]).collect()
    }
}

impl Stream for Member {
    type Item = ();

    fn poll_next(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<()>> {
        let Self { number: member, script } = &*self;
        let nested = {
            let script = &mut *script.borrow_mut();
            script.ready[*member] = false;
            let ready = script.all_ready();
            script.entries.push(Entry::Begin { member: *member, ready });
            script.wakers[*member] = Some(cx.waker().clone());
            script.nested.pop().unwrap_or(0)
        };
        for _ in 0..nested {
            receive(script);
        }
        let script = &mut *script.borrow_mut();
        let has_item = script.items[*member] > 0;
        let ready = script.all_ready();
        script.entries.push(Entry::End { member: *member, ready });
        if !has_item {
            return Poll::Pending;
        }
        script.items[*member] -= 1;
        script.ready[*member] = true;
        Poll::Ready(Some(()))
    }
}

/// Polls a receiver that is not being polled, if there is one.
fn receive(script: &Rc<RefCell<Script>>) {
    let taken = {
        let receivers = &mut script.borrow_mut().receivers;
        (0..receivers.len()).find_map(|at| receivers[at].take().map(|receiver| (at, receiver)))
    };
    if let Some((at, mut receiver)) = taken {
        let _ = poll(&mut receiver);
        script.borrow_mut().receivers[at] = Some(receiver);
    }
}

fn scene(members: usize, items: usize) -> Rc<RefCell<Script>> {
    let multiplexer = Multiplexer::without_sinks();
    multiplexer.add_channel(CHANNEL).unwrap();
    let script = Rc::<RefCell<Script>>::default();
    for number in 0..members {
        let mut borrowed = script.borrow_mut();
        borrowed.items.push(items);
        borrowed.ready.push(true);
        borrowed.wakers.push(None);
        drop(borrowed);
        multiplexer.add_stream(Member { number, script: Rc::clone(&script) }, CHANNEL).unwrap();
    }
    let receivers = (0..RECEIVERS).map(|_| multiplexer.receiver(CHANNEL).ok());
    script.borrow_mut().receivers.extend(receivers);
    script
}

/// Returns the first pair of turns of one member between which a ready member had no turn. Ready means: when the first turn
/// began, or when it ended (`from_end`).
fn passed_over(entries: &[Entry], from_end: bool) -> Option<(usize, usize)> {
    for (at, entry) in entries.iter().enumerate() {
        let (member, ready) = match entry {
            Entry::Begin { member, ready } if !from_end => (member, ready),
            Entry::End { member, ready } if from_end => (member, ready),
            _ => continue,
        };
        let turns = entries[at + 1..].iter().filter_map(|entry| match entry {
            Entry::Begin { member, .. } => Some(member),
            Entry::End { .. } => None,
        });
        let turns: Vec<_> = turns.collect();
        let Some(next) = turns.iter().position(|other| *other == member) else { continue };
        if let Some(other) = ready.iter().find(|other| *other != member && !turns[..next].contains(other)) {
            return Some((*member, *other));
        }
    }
    None
}

/// Shows why the bound does not count from the end of the first turn: during the turn of member 0, another receiver
/// takes the turns of members 1 and 2, which are ready again. Member 0 has its next turn, and neither of them has had a
/// turn since its first turn ended.
#[test]
fn counts_from_the_beginning_of_a_turn() {
    let script = scene(3, usize::MAX);
    script.borrow_mut().nested = vec![0, 0, 0, 0, 2];
    for _ in 0..4 {
        receive(&script);
    }
    let script = script.borrow();
    assert_eq!(passed_over(&script.entries, true), Some((0, 1)));
    assert_eq!(passed_over(&script.entries, false), None);
}

#[derive(Clone, Debug)]
enum Step {
    Receive,
    Feed(usize, usize),
}

impl Arbitrary for Step {
    fn arbitrary(g: &mut Gen) -> Self {
        if bool::arbitrary(g) { Self::Receive } else { Self::Feed(below(g, 9), 1 + below(g, 3)) }
    }
}

#[test]
fn the_bound_holds_on_every_schedule() {
    fn holds(members: usize, nested: Vec<usize>, steps: Vec<Step>) {
        let members = 1 + members % 8;
        let script = scene(members, 0);
        script.borrow_mut().nested = nested.into_iter().map(|receives| receives % 4).take(60).collect();
        for step in steps {
            let Step::Feed(member, items) = step else {
                receive(&script);
                continue;
            };
            let member = member % members;
            script.borrow_mut().items[member] += items;
            let waker = script.borrow_mut().wakers[member].clone();
            if let Some(waker) = waker {
                script.borrow_mut().ready[member] = true;
                waker.wake();
            }
        }
        let script = script.borrow();
        assert_eq!(passed_over(&script.entries, false), None);
    }
    QuickCheck::new().rng(Gen::new(100)).quickcheck(holds as fn(usize, Vec<usize>, Vec<Step>));
}
