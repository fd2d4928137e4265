//! Memory per member, and per pair of a stream and a sink.

use crate::counter;
use futures::stream::{Pending, pending};
use futures::{FutureExt, Sink};
use peers::member::{Large, Small};
use peers::peer::columns;
use peers::text::{aligned, thousands, three_digits};
use peers::workload::Column;
use peers::workload::idle::{Stage, TURNOVER};
use std::convert::Infallible;
use std::pin::Pin;
use std::task::{Context, Poll};

/// A vector that doubles its capacity is almost full at the second size. At the third size, about a quarter of it is unused.
const SIZES: [usize; 3] = [1_000, 65_000, 100_000];

/// The tables of all columns.
pub fn tables() -> String {
    let mut text = String::from("## Memory\n\n");
    for (large, kind, own) in [(false, "small", size_of::<Small>()), (true, "1 KiB", size_of::<Large>())] {
        for members in if large { &SIZES[..2] } else { &SIZES[..] } {
            text.push_str(&format!(
                "### {} idle members ({kind}), and {} others that came and went\n\n",
                thousands(*members),
                thousands(TURNOVER)
            ));
            let heading = [
                "",
                "bytes per member beyond the stream",
                "allocations per member",
                "bytes kept per come and gone",
            ];
            let mut rows = vec![heading.map(str::to_owned).to_vec()];
            rows.extend(columns().iter().map(|column| row(column, large, *members, own)));
            text.push_str(&aligned(&rows));
            text.push('\n');
        }
    }
    for pairs in SIZES {
        text.push_str(&format!("### {} idle pairs\n\n", thousands(pairs)));
        let heading = ["", "bytes per pair beyond stream and sink", "allocations per pair"];
        let ours = pair("Multiplexer", pairs, fill_ours);
        let before = pair("0.16.1", pairs, fill_predecessor);
        text.push_str(&aligned(&[heading.map(str::to_owned).to_vec(), ours, before]));
        text.push('\n');
    }
    text
}

fn row(column: &Column, large: bool, members: usize, own: usize) -> Vec<String> {
    // A first run makes the allocations that a thread or a library makes only once.
    column.idle(large, 10, &mut |_| ());
    let mut counts = Vec::with_capacity(4);
    column.idle(large, members, &mut |stage| counts.push((stage, counter::bytes(), counter::allocations())));
    let [
        (Stage::Before, empty, none),
        (Stage::Full, full, made),
        (Stage::Warm, before, _),
        (Stage::TurnedOver, after, _),
    ] = counts[..]
    else {
        unreachable!("the stages in their order")
    };
    let per_member = |change: f64| change / members as f64;
    vec![
        column.name.to_owned(),
        three_digits(per_member((full - empty) as f64) - own as f64),
        format!("{:.2}", per_member((made - none) as f64)),
        format!("{:.2}", (after - before) as f64 / TURNOVER as f64),
    ]
}

/// A sink of two words.
struct Idle([usize; 2]);

impl Sink<u64> for Idle {
    type Error = Infallible;

    fn poll_ready(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
        Poll::Ready(Ok(()))
    }

    fn start_send(mut self: Pin<&mut Self>, item: u64) -> Result<(), Infallible> {
        self.0[0] += item as usize;
        Ok(())
    }

    fn poll_flush(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
        Poll::Ready(Ok(()))
    }

    fn poll_close(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
        Poll::Ready(Ok(()))
    }
}

/// One row of the table of pairs. Their streams have size zero. `fill` creates a set of pairs and polls it.
fn pair<S>(name: &str, pairs: usize, fill: fn(usize) -> S) -> Vec<String> {
    // A first run makes the allocations that a thread or a library makes only once.
    drop(fill(10));
    let (empty, none) = (counter::bytes(), counter::allocations());
    let set = fill(pairs);
    let (full, made) = (counter::bytes(), counter::allocations());
    drop(set);
    let per_pair = |change: f64| change / pairs as f64;
    vec![
        name.to_owned(),
        three_digits(per_pair((full - empty) as f64) - size_of::<Idle>() as f64),
        format!("{:.2}", per_pair((made - none) as f64)),
    ]
}

fn fill_ours(pairs: usize) -> stream_multiplexer::Multiplexer<Pending<u64>, Idle> {
    let multiplexer = stream_multiplexer::Multiplexer::new();
    multiplexer.add_channel(0).expect("it is the first");
    for pair in 0..pairs {
        let added = multiplexer.add_stream_pair(Idle([pair, 0]), pending(), 0);
        assert!(added.is_ok(), "the channel is there");
    }
    assert!(multiplexer.recv(0).now_or_never().is_none(), "all are idle");
    multiplexer
}

fn fill_predecessor(pairs: usize) -> predecessor::Multiplexer<Pending<Result<u64, Infallible>>, Idle> {
    let mut multiplexer = predecessor::Multiplexer::new();
    multiplexer.add_channel(0).expect("it is the first");
    for pair in 0..pairs {
        multiplexer.add_stream_pair(Idle([pair, 0]), pending(), 0).expect("the channel is there");
    }
    assert!(multiplexer.recv(0).now_or_never().is_none(), "all are idle");
    multiplexer
}
