//! Streams of async-stream's macros as members. None of them is `Unpin`.

#[path = "../any_stream/member.rs"]
mod member;

use member::as_member;
use pollster::block_on;
use smol::future::yield_now;

#[test]
fn stream() {
    let numbers = async_stream::stream! {
        for number in 0..5 {
            yield_now().await;
            yield number;
        }
    };
    assert_eq!(block_on(as_member(numbers)), [0, 1, 2, 3, 4]);
}

#[test]
fn stream_that_fails() {
    let numbers = async_stream::try_stream! {
        yield 1;
        yield_now().await;
        Err("it fails")?;
        yield 2;
    };
    assert_eq!(block_on(as_member(numbers)), [Ok(1), Err("it fails")]);
}
