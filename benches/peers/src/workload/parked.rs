//! The consumer takes all items and sleeps. Then members are woken, and the consumer with them.

use super::common::{Picker, filled, settle};
use crate::member::{Small, giver, push};
use crate::meter::Meter;
use crate::peer::Peer;
use std::future::poll_fn;
use std::task::Poll;

/// The number of members that one burst wakes.
pub fn burst_of(members: usize) -> usize {
    (members / 10).max(1)
}

pub async fn parked<P: Peer<Small>>(members: usize, burst: usize, meter: &mut Meter) {
    let (mut peer, keys) = filled::<P, 0>(members).await;
    let mut wakes = Wakes::new(members, burst, meter);
    // The number and the sum of the items must be those of the pushed items. `last` is checked after the measurement.
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
                // The task of a member has not run yet.
                Poll::Pending if arrived < wakes.pushed => return Poll::Pending,
                // The set has the consumer's waker now, and must wake the consumer for the next item.
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

/// Wakes the members.
struct Wakes<'a> {
    meter: &'a mut Meter,
    /// The number of rounds until the next call of the meter.
    rounds: u64,
    /// A shuffled list of the members. The members of one burst are distinct, because they are taken in this order.
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

    /// Wakes the members of one burst. Returns `false` at the end of the measurement.
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
