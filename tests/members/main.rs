//! Streams and channels come, move, pause and go, whatever polls, drops or panics meanwhile.

#[path = "../support/random.rs"]
mod random;
#[path = "../support/mod.rs"]
mod support;

mod cancel;
mod close;
mod errors;
mod in_place_access;
mod membership;
mod panics;
mod pause;
mod stress;
