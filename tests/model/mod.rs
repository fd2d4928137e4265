//! A model: operations, an oracle that predicts their results (`sending` and `outlet` contain its sending half), and a
//! slab and a multiplexer that are compared with it.
//!
//! [`operations`] decodes operations from any bytes. [`run_slab`] and [`run_multiplexer`] perform them and panic if the
//! library and the oracle disagree. They run in one thread and deterministically, so that failures can be reproduced.
//! Property tests and fuzz targets share the model (with `#[path]`); it needs only the crates `futures` and
//! `stream_multiplexer`.

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
