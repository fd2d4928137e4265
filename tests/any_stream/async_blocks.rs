//! Streams made from async code, none of which is `Unpin`. (`tests/async_stream` has those of async-stream's macros.)

use crate::as_member;
use futures::{StreamExt, stream};
use pollster::block_on;
use smol::future::yield_now;

#[test]
fn unfold() {
    let numbers = stream::unfold(0, |number| async move {
        yield_now().await;
        (number < 5).then_some((number, number + 1))
    });
    assert_eq!(block_on(as_member(numbers)), [0, 1, 2, 3, 4]);
}

#[test]
fn then() {
    let numbers = stream::iter(0..3).then(async |number| {
        yield_now().await;
        number * 2
    });
    assert_eq!(block_on(as_member(numbers)), [0, 2, 4]);
}

#[test]
fn once() {
    let number = stream::once(async {
        yield_now().await;
        5
    });
    assert_eq!(block_on(as_member(number)), [5]);
}

/// As for a connection that is first established and then read.
#[test]
fn flattened() {
    let numbers = async {
        yield_now().await;
        stream::iter(0..3).filter_map(async |number| (number != 1).then_some(number))
    };
    assert_eq!(block_on(as_member(stream::once(numbers).flatten())), [0, 2]);
}
