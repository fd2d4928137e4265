//! The consumer takes all there is and sleeps; then members are woken, and it with them.

use super::common::{Picker, filled, settle};
use crate::member::{Small, giver, push};
use crate::meter::Meter;
use crate::peer::Peer;
use std::future::poll_fn;
use std::task::Poll;

/// How many members are woken at a time in a burst.
pub fn burst_of(members: usize) -> usize {
    (members / 10).max(1)
}

pub async fn parked<P: Peer<Small>>(members: usize, burst: usize, meter: &mut Meter) {
    let (mut peer, keys) = filled::<P, 0>(members).await;
    let mut wakes = Wakes::new(members, burst, meter);
    // (arrived, their sum) must be what was pushed; `last` names the last arrival, to be checked at leisure.
    let (mut arrived, mut sum) = (0_u64, 0_u64);
    let mut last = None;
    poll_fn(|cx| {
        loop {
            match peer.poll(cx) {
                Poll::Ready(next) => {
                    let (key, item) = next.expect("it has members");
                    arrived += 1;
                    sum = sum.wrapping_add(item);
                    last = Some((key, item));
                }
                // A member's task has not run yet.
                Poll::Pending if arrived < wakes.pushed => return Poll::Pending,
                // The set has the consumer's waker now, and must wake it for what is pushed next.
                Poll::Pending => return if wakes.wake_some() { Poll::Pending } else { Poll::Ready(()) },
            }
        }
    })
    .await;
    assert_eq!((arrived, sum), (wakes.pushed, wakes.sum));
    let (key, item) = last.expect("something was pushed");
    assert_eq!(key, keys[giver(item)]);
    settle(&mut peer, members).await;
}

/// The one who wakes the members.
struct Wakes<'a> {
    meter: &'a mut Meter,
    /// Rounds to go before the meter is asked again.
    rounds: u64,
    /// Members of one burst are distinct: they are taken from a shuffled list, in turn.
    order: Vec<usize>,
    next: usize,
    burst: usize,
    pushed: u64,
    sum: u64,
}

impl<'a> Wakes<'a> {
    fn new(members: usize, burst: usize, meter: &'a mut Meter) -> Self {
        let mut order: Vec<usize> = (0..members).collect();
        let mut picker = Picker::below(members);
        for i in 0..members {
            order.swap(i, picker.pick());
        }
        Self { meter, rounds: 0, order, next: 0, burst, pushed: 0, sum: 0 }
    }

    /// Wakes the members of one burst, unless it is enough.
    fn wake_some(&mut self) -> bool {
        if self.rounds == 0 {
            let Some(rounds) = self.meter.next_rounds() else { return false };
            self.rounds = rounds;
        }
        self.rounds -= 1;
        for _ in 0..self.burst {
            self.sum = self.sum.wrapping_add(push(self.order[self.next]));
            self.next = if self.next + 1 == self.order.len() { 0 } else { self.next + 1 };
        }
        self.pushed += self.burst as u64;
        true
    }
}
