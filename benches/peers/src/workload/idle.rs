//! Idle members, to measure their memory.

use super::churn::come_and_go;
use super::common::filled;
use crate::member::{Member, forget};
use crate::peer::Peer;

/// A stage in the life of a set.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Stage {
    /// The set does not exist yet.
    Before,
    /// The set is filled, and all members are parked.
    Full,
    /// One more member was inserted and has ended.
    Warm,
    /// After that, [`TURNOVER`] more members were inserted and have ended.
    TurnedOver,
}

/// How many members are inserted and end.
pub const TURNOVER: usize = 1_000;

pub async fn idle<P: Peer<Member<PAD>>, const PAD: usize>(members: usize, probe: &mut dyn FnMut(Stage)) {
    // Drop the wakers of the previous set now, so that they are not freed during the measurement.
    forget(members + 1);
    probe(Stage::Before);
    let (mut peer, keys) = filled::<P, PAD>(members).await;
    // The keys belong to the harness and not to the set.
    drop(keys);
    probe(Stage::Full);
    come_and_go(&mut peer, members).await;
    probe(Stage::Warm);
    for _ in 0..TURNOVER {
        come_and_go(&mut peer, members).await;
    }
    probe(Stage::TurnedOver);
}
