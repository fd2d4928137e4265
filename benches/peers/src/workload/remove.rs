//! Members are removed by their keys, and others inserted.

use super::common::{Picker, check_all_there, filled, settle};
use crate::member::Small;
use crate::meter::Meter;
use crate::peer::Peer;

pub async fn remove<P: Peer<Small>>(members: usize, meter: &mut Meter) {
    let (mut peer, mut keys) = filled::<P, 0>(members).await;
    let mut indices: Vec<usize> = (0..members).collect();
    // A removed member may exist for some time (as a task that is not cancelled yet). The new member therefore has
    // another index.
    let mut spare = members;
    let mut picker = Picker::below(members);
    while let Some(rounds) = meter.next_rounds() {
        for _ in 0..rounds {
            let at = picker.pick();
            peer.remove(keys[at]);
            keys[at] = peer.insert(Small::new(spare));
            std::mem::swap(&mut indices[at], &mut spare);
            settle(&mut peer, members).await;
        }
    }
    let some = members.min(100);
    check_all_there(&mut peer, &keys[..some], &indices[..some]).await;
}
