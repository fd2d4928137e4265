//! Names of channels and of streams.

use std::fmt;
use std::num::NonZeroU64;

/// Names a channel. Chosen by the user.
pub type ChannelId = usize;

/// Names a stream pair. Given out by a [`Multiplexer`](crate::Multiplexer) and never used twice by it.
///
/// Ids are ordered by age: a pair that was added later has a greater one.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct StreamId {
    /// Counts the pairs that were ever added, from 1 on. First, for the order.
    serial: NonZeroU64,
    /// Where the registry keeps the pair; reused by later ones.
    key: usize,
}

impl StreamId {
    pub(crate) fn new(serial: NonZeroU64, key: usize) -> Self {
        Self { serial, key }
    }

    pub(crate) fn serial(self) -> NonZeroU64 {
        self.serial
    }

    pub(crate) fn key(self) -> usize {
        self.key
    }
}

impl fmt::Display for StreamId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.serial.fmt(f)
    }
}

impl fmt::Debug for StreamId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "StreamId({})", self.serial)
    }
}
