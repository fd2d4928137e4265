//! The columns, and the trait that each implements.

use crate::executor::run_alone;
use crate::member::{Large, Small};
use crate::workload::{Channel, Column};
use futures::Stream;
use std::fmt::Debug;
use std::task::{Context, Poll};

/// A set of streams.
pub trait Peer<St: Stream<Item = u64>>: Sized {
    const NAME: &'static str;

    /// Whether this is one of the columns with which the peers are compared.
    const IS_OURS: bool = false;
    /// Whether the set may have more members than the capacity with which it was created.
    const CAN_GROW: bool = true;
    const CAN_REMOVE: bool = false;
    /// Whether each wake makes the set visit all members. A few items are then enough to count instructions.
    const SCANS_ALL: bool = false;
    /// Whether [`run`](Self::run) must be used.
    const HAS_EXECUTOR: bool = false;

    /// Identifies a member; `()` if the set does not report which member yielded an item.
    type Key: Copy + PartialEq + Debug;

    /// Creates a set with room for `capacity` members, if the set lets its caller choose.
    fn new(capacity: usize) -> Self;

    fn insert(&mut self, stream: St) -> Self::Key;

    fn remove(&mut self, _key: Self::Key) {
        unreachable!("asked only where CAN_REMOVE")
    }

    /// Yields the next item and the key of its member. Skips ends of members. `None` if there are no members.
    fn poll(&mut self, cx: &mut Context<'_>) -> Poll<Option<(Self::Key, u64)>>;

    /// Runs a future that creates and uses such a set.
    fn run<F: Future>(future: F) -> F::Output {
        run_alone(future)
    }

    /// Creates a set of these members, with room for `capacity`.
    fn fill(capacity: usize, streams: impl Iterator<Item = St>) -> (Self, Vec<Self::Key>) {
        let mut peer = Self::new(capacity);
        let keys = streams.map(|stream| peer.insert(stream)).collect();
        (peer, keys)
    }
}

/// Each name is a file in `peer/` with an `Adapter` in it. (`cargo fmt` does not see these files; `rustfmt
/// src/peer/*.rs` does.)
macro_rules! columns {
    ($($name:ident,)*) => {
        $(mod $name;)*

        /// All columns, in the order of the tables.
        pub fn columns() -> Vec<Column> {
            vec![$(Column::new::<
                $name::Adapter<Small>,
                $name::Adapter<Large>,
                $name::Adapter<Channel>,
            >(),)*]
        }
    };
}

columns! {
    stream_slab,
    channel_receiver,
    stream_map,
    select_all,
    unicycle,
    streamunordered,
    merge_bounded,
    merge_unbounded,
    stream_group,
    tasks_tokio_mpsc,
    tasks_async_channel,
    predecessor,
}

mod channel_select;

/// Selects of several channels. Only their instructions are counted.
pub fn selects() -> Vec<Column> {
    macro_rules! select {
        ($($channels:tt),*) => {
            Column::new::<
                channel_select::Adapter<Small, $($channels),*>,
                channel_select::Adapter<Large, $($channels),*>,
                channel_select::Adapter<Channel, $($channels),*>,
            >()
        };
    }
    vec![
        select!(1, 0, false),
        select!(1, 15, false),
        select!(1, 1_000, false),
        select!(4, 0, false),
        select!(4, 0, true),
    ]
}
