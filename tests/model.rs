//! Random operations on a slab and on a multiplexer, compared with a naive oracle.

#[path = "model/mod.rs"]
mod model;
mod support;

use model::{Operation, Trick, operations, run_multiplexer, run_slab};
use quickcheck::{Gen, QuickCheck};
use std::collections::HashSet;
use std::mem::discriminant;
use std::task::Poll;
use stream_multiplexer::{Multiplexer, StreamEvent};
use support::{pipe, poll};

/// Runs the operations that fewer than 400 random bytes mean. A failing test prints the bytes that it has shortened.
fn random_operations(run: fn(Vec<u8>)) {
    QuickCheck::new().rng(Gen::new(400)).quickcheck(run);
}

#[test]
fn a_slab_matches_the_oracle() {
    random_operations(|bytes| run_slab(&operations(&bytes)));
}

#[test]
fn a_multiplexer_matches_the_oracle() {
    random_operations(|bytes| run_multiplexer(&operations(&bytes)));
}

/// A case that random operations seldom reach.
#[test]
fn another_receiver_parks_in_the_middle_of_the_last_poll() {
    let before = [
        Operation::AddReceiver { receiver: 2, channel: 0 },
        Operation::Insert { channel: 0 },
        Operation::Receive { receiver: 0 },
    ];
    let [push, wake, end] =
        [Operation::Push { stream: 0 }, Operation::Wake { stream: 0 }, Operation::End { stream: 0 }];
    let receive = || Operation::Receive { receiver: 2 };
    for (operations, last) in [
        (vec![push.clone(), receive()], None),
        (vec![wake, receive(), push.clone()], None),
        (vec![receive(), push], None),
        (vec![receive()], Some(end)),
    ] {
        for trick in [Trick::BeforeLook(operations.clone()), Trick::AfterLook(operations)] {
            let mut all = before.to_vec();
            all.extend([Operation::Trick { stream: 0, trick }, Operation::Close]);
            all.extend(last.clone());
            all.extend([Operation::Receive { receiver: 0 }, receive(), receive()]);
            run_multiplexer(&all);
        }
    }
}

/// No operation is lost when the meaning of the bytes changes.
#[test]
fn every_operation_is_decoded() {
    let decoded = (0..=u8::MAX).flat_map(|code| [[code, 0, 9, 0], [code, 255, code, 255], [code, 128, 0, 0]]);
    let operations: Vec<_> = decoded.flat_map(|bytes| operations(&bytes).into_iter().take(1)).collect();
    let tricks = operations.iter().filter_map(|operation| match operation {
        Operation::Trick { trick, .. } => Some(discriminant(trick)),
        _ => None,
    });
    assert_eq!(tricks.collect::<HashSet<_>>().len(), 5);
    assert_eq!(operations.iter().map(discriminant).collect::<HashSet<_>>().len(), 47);
}

/// The stream was moved and came back before, and has another slot now.
#[test]
fn nothing_is_reported_for_a_stream_after_its_removal() {
    let multiplexer = Multiplexer::without_sinks();
    multiplexer.add_channel(1).unwrap();
    multiplexer.add_channel(2).unwrap();
    let mut receiver = multiplexer.receiver(1).unwrap();
    let (feed, last) = pipe();
    let [first, id, last] =
        [pipe().1, pipe().1, last].map(|stream| multiplexer.add_stream(stream, 1).unwrap());
    multiplexer.remove_stream(first);
    assert_eq!(poll(&mut receiver), Poll::Ready(Some((first, StreamEvent::Removed))));
    feed.push(0);
    assert_eq!(poll(&mut receiver), Poll::Ready(Some((last, StreamEvent::Item(0)))));

    multiplexer.change_stream_channel(id, 2).unwrap();
    multiplexer.change_stream_channel(id, 1).unwrap();
    multiplexer.remove_stream(id);
    assert_eq!(poll(&mut receiver), Poll::Ready(Some((id, StreamEvent::Moved(2)))));
    assert_eq!(poll(&mut receiver), Poll::Ready(Some((id, StreamEvent::Removed))));
}

/// A case that random operations seldom reach: a select continues with its other channels.
#[test]
fn a_channel_of_a_select_is_removed_in_the_poll_of_its_stream() {
    run_multiplexer(&[
        Operation::InsertMany { channel: 0 },
        Operation::Trick {
            stream: 0,
            trick: Trick::BeforeLook(vec![Operation::RemoveChannel { channel: 0 }]),
        },
        Operation::ReceiveManySelected { limit: 1 },
    ]);
}
