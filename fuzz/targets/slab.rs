//! Random operations on a `StreamSlab`, compared with the oracle.

#![no_main]
#![allow(dead_code, reason = "the other target uses the rest of the model")]

#[path = "../../tests/model/mod.rs"]
mod model;

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| model::run_slab(&model::operations(bytes)));
