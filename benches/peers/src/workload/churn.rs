//! Members are inserted, yield one item and end, beside other members that are idle.

use super::common::{check_all_there, filled, next, settle};
use crate::member::{Member, Small, item};
use crate::meter::Meter;
use crate::peer::Peer;

pub async fn churn<P: Peer<Small>>(members: usize, meter: &mut Meter) {
    let (mut peer, keys) = filled::<P, 0>(members).await;
    while let Some(rounds) = meter.next_rounds() {
        for _ in 0..rounds {
            come_and_go(&mut peer, members).await;
        }
    }
    let indices: Vec<usize> = (0..members).collect();
    check_all_there(&mut peer, &keys[..members.min(100)], &indices).await;
}

/// The whole life of one member, beside `others` that are parked.
pub async fn come_and_go<P: Peer<Member<PAD>>, const PAD: usize>(peer: &mut P, others: usize) {
    let key = peer.insert(Member::with_last_item(others));
    assert!(next(peer).await == (key, item(others, 0)), "its one item");
    // The set may report the end of the member or not; in both cases it drops the member.
    settle(peer, others).await;
}
