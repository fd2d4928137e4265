//! What the operations cost, in lock pairs, atomic operations and allocations. For those who care; tests count all of it.
//!
//! | | member polls | lock pairs | atomic read-modify-writes | allocations |
//! |---|---|---|---|---|
//! | item of an always-ready member, [`StreamSlab`](crate::StreamSlab) | 1 | 0 | 0 | 0 |
//! | the same, [`ChannelReceiver`](crate::ChannelReceiver) or [`ChannelSelect`](crate::ChannelSelect) | 1 | 2 | 0 | 0 |
//! | wake of a member (of the first million), if no other waits to be received | 0 | 0 | 1 | 0 |
//! | wake of a member, else | 0 | 0 | 2; 3 beyond 1,664 members, 4 beyond 59,008, 5 beyond 321,152 | 0 |
//! | item of a member that was idle, `StreamSlab` | 2 | 0 | the same | 0 |
//! | the same, `ChannelReceiver` | 2 | 3 | the same | 0 |
//! | going to sleep, `StreamSlab` | 0 | 1 | 1 | 0 |
//! | the same, `ChannelReceiver` | 0 | 2 | 1 | 0 |
//! | the same, `ChannelSelect`, for one channel that was ready | 0 | 3 | 2 | 0 |
//! | waking a task that sleeps | 0 | 1 | 0 | 0 |
//! | the same, in a `ChannelSelect` | 0 | 2 | 1 | 0 |
//! | move to another channel | 0 | 3; 4 to one with a limit | 0 | 0 |
//! | send to one stream, `try_send` | 0 | 3 | 0 | 0 |
//! | `try_send_to`, per sink | 0 | 2, and 2 for 32 sinks | 0 | 0 |
//! | leaving something unflushed, when a [`Flusher`](crate::Flusher) or a `ChannelSelect` is there | 0 | 2 | 0 | 0 |
//! | flushing a sink that was woken, `Flusher` or `ChannelSelect` | 0 | 5 | 1 | 0 |
//!
//! A lock pair is one lock and unlock of an uncontended mutex of the standard library, about 5 ns. The read-modify-writes
//! are those of the set of ready members, at most: what is marked already is not marked again. Reference counts come on
//! top: one for each waker that is cloned, two for each sink that is sent to, four for a move. Allocations are 0 once the slabs have grown to
//! the number of members, or of departures that wait to be received.
//!
//! # Memory
//!
//! A channel keeps 32 bytes for each departure (64 just after that memory has grown) until it is received, unless it
//! [does not report them](crate::ChannelOptions::report_departures). A [limit](crate::ChannelOptions::max_streams) bounds
//! them. [`shrink_to_fit`](crate::Multiplexer::shrink_to_fit)
//! gives back what a burst has needed.
//!
//! # Dependencies
//!
//! | crate | for |
//! |---|---|
//! | futures-core, futures-sink | `Stream` and `Sink` themselves |
//! | slab | slots with keys |
//! | pin-project-lite | members of a channel that are not `Unpin`, without unsafe code |
//! | event-listener, with the feature `blocking` | threads that wait with a deadline |
//!
//! Tasks are woken by lists of the crate's own, and not by event-listener: it wakes, clones and drops wakers under its own
//! lock. An executor that polls in `wake`, or that drops its tasks when it stops, hangs with it for ever; a waker that
//! panics leaves an `Event` dead. (`benches/peers` in the repository runs these cases.) For threads it has none of these
//! faults.
