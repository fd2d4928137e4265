//! Members that do nothing, for their memory.

use super::churn::come_and_go;
use super::common::filled;
use crate::member::{Member, forget};
use crate::peer::Peer;

/// Where a set is in its life.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Stage {
    /// There is none yet.
    Before,
    /// It is filled, all members parked.
    Full,
    /// One more came and went.
    Warm,
    /// Then came and went as many as [`TURNOVER`] says.
    TurnedOver,
}

/// How many members come and go.
pub const TURNOVER: usize = 1_000;

pub async fn idle<P: Peer<Member<PAD>>, const PAD: usize>(members: usize, probe: &mut dyn FnMut(Stage)) {
    // The wakers of the set before are not to be freed in between.
    forget(members + 1);
    probe(Stage::Before);
    let (mut peer, keys) = filled::<P, PAD>(members).await;
    // They are the harness's, not the set's.
    drop(keys);
    probe(Stage::Full);
    come_and_go(&mut peer, members).await;
    probe(Stage::Warm);
    for _ in 0..TURNOVER {
        come_and_go(&mut peer, members).await;
    }
    probe(Stage::TurnedOver);
}
