//! A model: the operations, an oracle that says what must come of them (its sending half in `sending` and `outlet`),
//! and the two that are compared with it.
//!
//! [`operations`] makes operations of any bytes; [`run_slab`] and [`run_multiplexer`] perform them and panic when the
//! library and the oracle disagree. All is in one thread and nothing random, so a failure comes again.
//! Property tests and fuzz targets share it (by `#[path]`); it needs the crates `futures` and
//! `stream_multiplexer`, no more.

#![allow(dead_code, unused_imports, reason = "each user takes its part")]

mod multiplexer;
mod operation;
mod oracle;
mod outlet;
mod script;
mod sending;
mod slab;
mod task;

pub(crate) use multiplexer::run as run_multiplexer;
pub(crate) use operation::{Operation, Trick, operations};
pub(crate) use slab::run as run_slab;
