//! Everything that is sent: to one, to many, without waiting, through a sender, and what flushes and closes sinks.

#[path = "../support/pairs.rs"]
mod pairs;
#[path = "../support/random.rs"]
mod random;
#[path = "../support/mod.rs"]
mod support;

mod close_sink;
mod combined;
mod flusher;
mod send;
mod sender;
mod shutdown;
mod slow;
mod try_send;
