//! One member is woken, then the set is polled.

use super::common::{Picker, filled, next};
use crate::member::{Member, push};
use crate::meter::Meter;
use crate::peer::Peer;

pub async fn sparse<P: Peer<Member<PAD>>, const PAD: usize>(members: usize, meter: &mut Meter) {
    let (mut peer, keys) = filled::<P, PAD>(members).await;
    let mut picker = Picker::below(members);
    while let Some(rounds) = meter.next_rounds() {
        for _ in 0..rounds {
            let index = picker.pick();
            let pushed = push(index);
            let (key, item) = next(&mut peer).await;
            assert!(item == pushed && key == keys[index], "the one item, from the member it was pushed to");
        }
    }
    super::common::settle(&mut peer, members).await;
}
