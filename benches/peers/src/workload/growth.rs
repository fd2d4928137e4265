//! Sets are created, filled member by member, and dropped.

use super::common::{check_all_there, settle};
use crate::member::{Small, forget};
use crate::meter::Meter;
use crate::peer::Peer;

pub async fn growth<P: Peer<Small>>(members: usize, meter: &mut Meter) {
    while let Some(rounds) = meter.next_rounds() {
        for _ in 0..rounds {
            drop(grown::<P>(members).await);
        }
    }
    let (mut peer, keys) = grown::<P>(members).await;
    let indices: Vec<usize> = (0..members).collect();
    check_all_there(&mut peer, &keys[..members.min(100)], &indices).await;
}

async fn grown<P: Peer<Small>>(members: usize) -> (P, Vec<P::Key>) {
    forget(members);
    let mut peer = P::new(0);
    let keys = (0..members).map(|index| peer.insert(Small::new(index))).collect();
    settle(&mut peer, members).await;
    (peer, keys)
}
