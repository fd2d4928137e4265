//! The engine: a set of pollable things, each with a waker that sets its bit, polled in turn and found by a few
//! loads. In exclusive ownership; there is no lock here.

pub(crate) mod bit_set;
pub(crate) mod patience;
pub(crate) mod ready_set;
pub(crate) mod rotation;
pub(crate) mod stream_slab;
pub(crate) mod wake_tree;

pub use stream_slab::{IntoIter, Iter, IterMut, RecvMany, StreamSlab};
