//! All members are always ready.

use super::common::{filled, next};
use crate::member::{Member, given, giver, push_plenty, withdraw};
use crate::meter::Meter;
use crate::peer::Peer;
use std::hint::black_box;

pub async fn dense<P: Peer<Member<PAD>>, const PAD: usize>(members: usize, meter: &mut Meter) {
    let (mut peer, keys) = filled::<P, PAD>(members).await;
    push_plenty(members);
    let (mut count, mut sum) = (members as u64, 0_u64);
    // In a fair set, each member has its first turn.
    for _ in 0..count {
        sum = sum.wrapping_add(next(&mut peer).await.1);
    }
    while let Some(rounds) = meter.next_rounds() {
        for _ in 0..rounds {
            let (key, item) = next(&mut peer).await;
            black_box(key);
            sum = sum.wrapping_add(item);
        }
    }
    count += meter.rounds();
    withdraw(members);
    // Some sets hold items in a buffer.
    let (given_count, given_sum) = given(members);
    for _ in count..given_count {
        let (key, item) = next(&mut peer).await;
        assert_eq!(key, keys[giver(item)]);
        sum = sum.wrapping_add(item);
    }
    assert_eq!(sum, given_sum);
}
