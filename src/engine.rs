//! The engine: a set of pollable things. Each has a waker that sets its bit. The owner finds the next set bit with a few
//! loads, and polls in turn. The engine has one owner and no locks.

pub(crate) mod bit_set;
pub(crate) mod patience;
pub(crate) mod ready_set;
pub(crate) mod rotation;
pub(crate) mod stream_slab;
pub(crate) mod waits;
pub(crate) mod wake_tree;

pub use stream_slab::{IntoIter, Iter, IterMut, RecvMany, StreamSlab};
