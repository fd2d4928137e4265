//! `stream_multiplexer` and its peers, measured side by side.
//!
//! | binary | prints |
//! |---|---|
//! | `peers` | time per item, all columns interleaved in one run |
//! | `instructions` | instructions and allocations per item, memory per member; driven by `instructions.sh` |
//! | `in_place` | whether a program hangs if a task's waker polls or drops tasks in place, here and elsewhere |
//!
//! A column is a [`Peer`](peer::Peer): one short file in `src/peer/` and one line in `src/peer.rs`.
//! Every [`Workload`](workload::Workload) checks its answers: each item arrives once, from the right member.

pub mod chart;
pub mod comparison;
pub mod executor;
pub mod machine;
pub mod member;
pub mod meter;
pub mod peer;
pub mod table;
pub mod text;
pub mod workload;
