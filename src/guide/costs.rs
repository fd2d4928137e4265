//! The cost of each operation, in lock pairs, atomic operations and allocations. Tests count these operations.
//!
//! | | member polls | lock pairs | atomic read-modify-writes | allocations |
//! |---|---|---|---|---|
//! | item of an always-ready member, [`StreamSlab`](crate::StreamSlab) | 1 | 0 | 0 | 0 |
//! | the same, [`ChannelReceiver`](crate::ChannelReceiver) or [`ChannelSelect`](crate::ChannelSelect) | 1 | 2 | 0 | 0 |
//! | wake of a member (of the first million), if no other wake is waiting to be absorbed | 0 | 0 | 1 | 0 |
//! | wake of a member, otherwise | 0 | 0 | 2; 3 beyond 1,664 members, 4 beyond 59,008, 5 beyond 321,152, 6 beyond 17,098,368 | 0 |
//! | item of a member that was idle, `StreamSlab` | 2 | 0 | the same | 0 |
//! | the same, `ChannelReceiver` | 2 | 3 | the same | 0 |
//! | going to sleep, `StreamSlab` | 0 | 1 | 1 | 0 |
//! | the same, `ChannelReceiver` | 0 | 2 | 1 | 0 |
//! | the same, `ChannelSelect`, while one channel has the events | 0 | 2 | 1 | 0 |
//! | the same, `ChannelSelect`, after an event of another channel | 0 | 3 | 2 | 0 |
//! | waking a sleeping task | 0 | 1 | 0 | 0 |
//! | the same, in a `ChannelSelect`, by another channel | 0 | 2 | 1 | 0 |
//! | move to another channel | 0 | 3; 4 to a channel with a limit | 0 | 0 |
//! | send to one stream, `try_send` | 0 | 3 | 0 | 0 |
//! | `try_send_to`, `try_feed_to`, per sink | 0 | 2, and 2 for 32 sinks | 0 | 0 |
//! | leaving a sink unflushed, while a [`Flusher`](crate::Flusher) or a `ChannelSelect` exists | 0 | 2 | 0 | 0 |
//! | flushing a woken sink, `Flusher` or `ChannelSelect` | 0 | 5 | 1 | 0 |
//!
//! A lock pair is one lock and unlock of an uncontended mutex of the standard library, about 5 ns. The
//! read-modify-writes are operations on the set of ready members. The numbers are upper bounds: a marked member is not
//! marked again. A select takes one more lock pair, once, when the events come from another channel than before.
//! Reference counts are additional: one for each cloned waker, two for each sink that is sent to, four for a move. The
//! allocations are 0 once the slabs have grown to the number of members, or of unread departures.
//!
//! # Memory
//!
//! A channel keeps each departure until it is received, and uses 32 bytes for it (64 bytes just after the queue has grown).
//! A channel that [does not report departures](crate::ChannelOptions::report_departures) keeps none. A
//! [limit](crate::ChannelOptions::max_streams) bounds them. [`shrink_to_fit`](crate::Multiplexer::shrink_to_fit) releases
//! memory after a burst.
//!
//! # Dependencies
//!
//! | crate | purpose |
//! |---|---|
//! | futures-core, futures-sink | `Stream` and `Sink` themselves |
//! | slab | slots with keys |
//! | pin-project-lite | members of a channel that are not `Unpin`, without unsafe code |
//! | event-listener, with the feature `blocking` | threads that wait with a deadline |
//!
//! The crate wakes tasks from its own wait lists and not through event-listener, which wakes, clones and drops wakers
//! under its own lock. With event-listener, an executor that polls in `wake`, or that drops its tasks when it stops,
//! hangs forever; after a panic of a waker, an `Event` wakes no more tasks. (`benches/peers` in the repository runs
//! these cases.) For threads event-listener has none of these faults.
