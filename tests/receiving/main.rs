//! Everything that is received: by one receiver or by a select, in turn, within limits, up to the departures.

#[path = "../support/random.rs"]
mod random;
#[path = "../support/mod.rs"]
mod support;

mod departures;
mod fairness;
mod fairness_shared;
mod limits;
mod longest_wait;
mod receive;
mod select;
mod select_effort;
mod stats;
