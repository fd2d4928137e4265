//! `StreamSlab`, and what is made of it.

#[path = "../support/random.rs"]
mod random;
#[path = "../support/slab.rs"]
mod slab;
#[path = "../support/mod.rs"]
mod support;

mod slab_drops;
mod slab_shrink;
mod stream_map;
mod stream_slab;
