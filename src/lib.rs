//! Group many streams into channels and receive from each channel independently.
//!
//! A server holds many connections. Each connection is a [`Stream`][stream] (messages from the peer) and a [`Sink`][sink]
//! (messages to the peer). Connections fall into classes: authenticated or not, paying or free. A [`Multiplexer`] keeps the
//! connections of each class in a **channel**. One task receives from all channels; there is no task and no queue per
//! connection. Give a channel a priority or a weight to favour its class. Stop receiving from a channel to slow its class
//! down.
//!
//! ```text
//!   connections            channels                      your task
//!
//!   (stream, sink) ─┐
//!   (stream, sink) ─┼────▶ guests   ── priority 1 ──┐
//!   (stream, sink) ─┘                               ├──▶ ChannelSelect ──▶ (channel, id, event)
//!   (stream, sink) ─┬────▶ members  ── priority 0 ──┘                              │
//!   (stream, sink) ─┘                                                              │
//!         ▲                                                                        │
//!         └──────────────── try_send(id, item), try_send_to(channel, item) ◀───────┘
//! ```
//!
//! The crate works with every executor. It performs no I/O, has no timers, needs no runtime, and contains no unsafe code.
//!
//! ```no_run
//! use futures::StreamExt;
//! use stream_multiplexer::{Multiplexer, Share, StreamEvent};
//! use tokio::net::TcpListener;
//! use tokio_util::codec::{FramedRead, FramedWrite, LinesCodec};
//!
//! const GUESTS: usize = 0;
//! const MEMBERS: usize = 1;
//!
//! #[tokio::main]
//! async fn main() -> Result<(), Box<dyn std::error::Error>> {
//!     // tokio allows a task 128 socket operations before it must yield; after them, the sinks of
//!     // healthy peers look full. `unconstrained` lifts this. `events` below yields by itself.
//!     tokio::task::unconstrained(serve()).await
//! }
//!
//! async fn serve() -> Result<(), Box<dyn std::error::Error>> {
//!     let multiplexer = Multiplexer::new();
//!     multiplexer.add_channel(GUESTS)?;
//!     multiplexer.add_channel(MEMBERS)?;
//!     let disconnect = |id| drop(multiplexer.remove_stream(id));
//!     let mut events = multiplexer.select();
//!     events.add(MEMBERS, Share::new())?; // members first,
//!     events.add(GUESTS, Share::new().priority(1))?; // then guests, and guests never starve
//!
//!     let address = std::env::args().nth(1).unwrap_or("127.0.0.1:7878".to_owned());
//!     let listener = TcpListener::bind(address).await?;
//!     println!("listening on {}", listener.local_addr()?);
//!     loop {
//!         tokio::select! {
//!             Ok((connection, _)) = listener.accept() => {
//!                 let (read, write) = connection.into_split();
//!                 let stream = FramedRead::new(read, LinesCodec::new_with_max_length(1024));
//!                 let sink = FramedWrite::new(write, LinesCodec::new());
//!                 multiplexer.add_stream_pair(sink, stream, GUESTS)?;
//!             }
//!             Some((channel, id, event)) = events.next() => match event {
//!                 StreamEvent::Item(Ok(line)) if channel == MEMBERS => {
//!                     // `try_send_to` never waits. Disconnect a member that does not read.
//!                     multiplexer.try_send_to(MEMBERS, line, |id, error| {
//!                         if error.is_full() {
//!                             disconnect(id);
//!                         }
//!                     })?;
//!                 }
//!                 StreamEvent::Item(Ok(line)) if line == "LOGIN" => {
//!                     let _ = multiplexer.change_stream_channel(id, MEMBERS);
//!                     let _ = multiplexer.try_send(id, "welcome");
//!                 }
//!                 StreamEvent::Item(Ok(_)) => drop(multiplexer.try_send(id, "say LOGIN")),
//!                 StreamEvent::Item(Err(_)) | StreamEvent::SinkFailed => disconnect(id),
//!                 _ => {} // the stream left this channel
//!             }
//!         }
//!     }
//! }
//! ```
//!
//! # Which type to use
//!
//! | you have | use |
//! |---|---|
//! | connections (streams with sinks) in classes | [`Multiplexer`] |
//! | several classes, and one task that receives from all | [`ChannelSelect`], from [`Multiplexer::select`] |
//! | one class | [`ChannelReceiver`], from [`Multiplexer::receiver`], or [`Multiplexer::recv`] for one event |
//! | streams without sinks in classes | [`Multiplexer::without_sinks`] |
//! | a set of streams in one task, as in `SelectAll` or a `FuturesUnordered` of streams | [`StreamSlab`] |
//! | a set of streams with your own keys, as in `tokio_stream::StreamMap` | [`StreamMap`] |
//!
//! | to send | use |
//! |---|---|
//! | to one stream or to a channel, without waiting | [`try_send`](Multiplexer::try_send), [`try_send_to`](Multiplexer::try_send_to) |
//! | and wait until the item is sent | [`send_one`](Multiplexer::send_one), [`send`](Multiplexer::send) to many, [`send_to`](Multiplexer::send_to) a channel |
//! | through a `Sink` | [`StreamSender`], from [`Multiplexer::sender`] |
//!
//! | to | use |
//! |---|---|
//! | limit the number of streams in a class | [`ChannelOptions::max_streams`], [`Multiplexer::set_max_streams`] |
//! | stop receiving for a while | [`Multiplexer::pause_stream`], [`Multiplexer::pause_channel`] |
//! | end one connection | [`Multiplexer::close_stream`], [`Multiplexer::remove_stream`] |
//! | end all connections, with a deadline | [`Multiplexer::close`], [`Multiplexer::drained`], [`Multiplexer::shutdown`] |
//! | observe a channel | [`Multiplexer::stats`], [`ChannelSelect::stats`] |
//!
//! The [guide] has recipes: slow readers, login timeouts, graceful shutdown, migrating from another crate, and more.
//!
//! # Words
//!
//! - A **pair** is one connection: a stream and, usually, a sink. A pair is identified by its [`StreamId`], which is never
//!   reused.
//! - A **member** is a stream while it is in a channel.
//! - A member is **ready** after it was added or moved in, after a poll that yielded an item, and after a call of its
//!   waker has returned.
//! - A **turn** is one poll of one member.
//! - A **departure** is the report that a member left its channel: the stream [ended](StreamEvent::Ended), was
//!   [moved](StreamEvent::Moved), or was [removed](StreamEvent::Removed).
//!
//! # Receiving
//!
//! The task that receives from a channel polls the channel's members. Only ready members are polled. There is no queue of
//! items and no queue of ready members. A waker marks its member in a set, and the receiver finds the next marked member
//! with a few loads, whether there are ten members or a million.
//!
//! While no task receives from a channel, the channel does no work and buffers no items, and TCP slows its peers down. The
//! server then also does not answer their pings and does not notice when they disconnect.
//!
//! A move or a removal is complete when the call returns, even if no task receives from the channel. If another thread is
//! polling the member at that moment, the member leaves when that poll returns.
//!
//! # Favouring a class
//!
//! A [`ChannelSelect`] receives from several channels by priority and weight. When one class overloads the server, a
//! favoured class waits no longer than on an idle server. In this measurement, 20 paying clients send lines and wait for the
//! answers, 1,000 other clients send as fast as they can, and each line costs the server 8 µs. The table shows how long a
//! paying client waits:
//!
//! | server | median | 99th percentile |
//! |---|--:|--:|
//! | without the 1,000 others | 49 µs | 148 µs |
//! | one channel for all clients | 6,566 µs | 8,431 µs |
//! | a task per connection, no multiplexer | 6,549 µs | 8,038 µs |
//! | a channel for each class, the paying class first | 41 µs | 101 µs |
//! | a channel for each class, weights 10 : 1 | 40 µs | 87 µs |
//!
//! The figures are from 2026-11-26, with tokio's current-thread runtime, on two virtual cores of an AMD EPYC: one for the
//! server and one for the clients. The repository's example `favour` repeats the measurement.
//! [Classes](crate::guide::classes) shows priorities, weights, limits and pauses.
//!
//! # Sending
//!
//! A peer that does not read must not block the others. In the loop that receives, use `try_send`, which never waits,
//! instead of awaiting a send. The crate buffers no items; the peer's sink limits how many may wait for that peer. Beyond
//! this limit `try_send` returns [`Full`](TrySendError::Full) with the item, and your program drops the item, disconnects
//! the peer, or waits. [Slow peers](crate::guide::slow_peers) shows each policy.
//!
//! On tokio, run the loop in `tokio::task::unconstrained`, as above. Otherwise a task may perform 128 socket operations
//! before it must yield. After that, all its sockets return `Pending`, and [sinks of healthy peers fill
//! up](crate::guide::slow_peers#on-tokio).
//!
//! Items that a send leaves in a sink's own buffer are flushed when the peer can take them. A [`ChannelSelect`] flushes
//! sinks while you receive from it. A program without a `ChannelSelect` runs a [`Flusher`] beside its receivers.
//!
//! # Fairness
//!
//! **After a stream was polled, every other stream of its channel that was ready at that moment is polled before it is
//! polled again.** "That moment" is the moment at which the poll began. The bound also holds for a [`StreamSlab`], and for
//! any number of receivers of one channel.
//!
//! There is one exception. While another thread is in the middle of waking a neighbouring member, a woken member may be
//! passed over until that thread continues. No wake is lost.
//!
//! Departures never crowd out items. Between two turns of a member that is always ready, a receiver yields at most as many
//! departures as were unread when the first turn ended, and at most as many departures as there were turns. If a stream
//! leaves a channel and comes back, its departure is yielded before the items of its new stay.
//!
//! Among channels, the program decides: with priorities and weights in a [`ChannelSelect`], or with a `select!` over
//! receivers.
//!
//! If a stream always has an item and uses up no cooperative budget of its runtime, a loop that receives from it never
//! yields to the executor, and a timeout around the loop does not fire. A [`ChannelSelect`] therefore yields
//! every few events. On a [`ChannelReceiver`], set [`yield_every`](ChannelReceiver::yield_every).
//!
//! # Cancel safety
//!
//! Every receiving future may be dropped at any point; no item is lost. The documentation of each sending future describes
//! what may have been sent when it is dropped. A sink receives each item whole, and at most once.
//!
//! # Panics
//!
//! A panic in the poll of a stream or sink propagates to the task that polled it. The pair is removed, and its channel
//! reports the removal; other pairs are not affected. [Catch the panic and continue](crate::guide::streams#panics), or spawn
//! the loop again.
//!
//! If a drop or a task's waker panics, the method that dropped or woke first completes its work, and then the panic
//! propagates to its caller. Further panics of streams, sinks and wakers during unwinding are suppressed. (A panic in the
//! drop of an *item* during unwinding aborts the process, as in any Rust program.)
//!
//! A future that is polled after it has completed panics, as most futures do.
//!
//! No foreign code runs under a lock of this crate: no poll, wake, waker clone or drop. Streams, sinks, wakers and
//! destructors may therefore call any method of the same multiplexer.
//!
//! # Cost
//!
//! The crate allocates nothing per item, wake, wait or move once the slabs have grown to the number of members. The
//! documentation of each method states its cost. A [table](crate::guide::costs) lists lock pairs and atomic operations;
//! tests count them.
//!
//! # When not to use it
//!
//! - A fixed handful of streams of different types: use `select!`.
//! - Futures rather than streams: use `FuturesUnordered`.
//! - Connections whose handling blocks or needs much CPU time: give that work its own tasks. The tasks that receive from a
//!   channel also poll its members.
//! - The crate has no timeouts, rate limits or send buffers. Add them to your streams and sinks.
//!
//! # Feature
//!
//! The feature `blocking` adds methods that block a thread with a deadline, for a `main` that is not async:
//! `Multiplexer::wait_closed`, `wait_drained` and `wait_all_drained`. It is off by default, is not available on wasm, and
//! depends on event-listener.
//!
//! [stream]: https://docs.rs/futures-core/latest/futures_core/stream/trait.Stream.html
//! [sink]: https://docs.rs/futures-sink/latest/futures_sink/trait.Sink.html

#![forbid(unsafe_code)]

// The modules of the crate, from the bottom up. Each file uses only files above it.
//
// | file | contents |
// |---|---|
// | `sync` | atomics and the lock, from the standard library or loom |
// | `unwind` | guards: work to complete when foreign code panics |
// | `id` | `StreamId`, `ChannelId` |
// | `event` | `StreamEvent`, `StreamPair` |
// | `error` | the error types |
// | `options` | `ChannelOptions` |
// | `stats` | `ChannelStats` |
// | `wait_list/crowd` | many waiting tasks, in ticket order, each found in constant time |
// | `wait_list` | tasks that wait for one condition and are woken together |
// | `threads` | threads that wait, with the feature `blocking` |
// | `signal` | a condition that becomes true once, and the tasks and threads that wait for it |
// | `wait_list/tests` | tests: which tasks are woken, how often, in which order and at what cost |
// | `engine` | a set of pollable things, each with a waker that sets its bit, polled in turn |
// | `engine/patience` | how many polls in vain one call may make |
// | `engine/bit_set` | a set of numbers that finds its next element with a few loads |
// | `engine/waits` | the longest wait of a ready member for its turn |
// | `engine/wake_tree` | wakes of members, from any thread, until the owner absorbs them |
// | `engine/ready_set` | the ready members, and the next turn |
// | `engine/rotation` | slots with one waker each, polled round-robin |
// | `engine/stream_slab` | `StreamSlab`: a rotation of streams with one owner |
// | `stream_map` | `StreamMap`: a `StreamSlab` with the user's keys |
// | `channel/member` | a stream in a channel |
// | `channel/departures` | departures, and when they are yielded |
// | `channel/slots` | states of a channel's slots, and their transitions |
// | `channel` | a rotation shared by handles |
// | `channel/turns` | take a member out, poll it, put it back |
// | `sink` | the sending half |
// | `sink/flush_set` | the unflushed sinks, and the next one to flush |
// | `sink/slot` | a sink shared by senders: one poll at a time, and the tasks that wait for it |
// | `registry` | the control plane: the place of each pair, and every move |
// | `channel/pace` | how often a receiver yields to its executor |
// | `channel/receiver` | `ChannelReceiver`, `RecvMany` |
// | `channel/recv` | `Recv`, and `try_recv` |
// | `channel/drained` | `Drained` |
// | `sink/delivery` | the delivery of one item to one sink |
// | `sink/try_send` | sending without waiting |
// | `sink/flush_turn` | one turn of an unflushed sink |
// | `sink/flusher` | `Flusher` |
// | `channel/share` | `Share` |
// | `channel/schedule/queue` | the ready channels, in the order of their turns |
// | `channel/schedule` | the next turn among channels |
// | `channel/schedule/tests` | tests: the schedule against a model that looks at all channels |
// | `channel/select` | `ChannelSelect`, `SelectMany`, `SelectStats`: its channels, its settings, its turns |
// | `sink/sent` | `Sent` |
// | `sink/many` | `SendMany` |
// | `sink/one` | `SendOne` |
// | `sink/sender_closed` | `SenderClosed` |
// | `sink/sender` | `StreamSender` |
// | `sink/closing` | the closing of one sink |
// | `sink/close` | `CloseSink`, `CloseStream` |
// | `sink/shutdown` | `Shutdown` |
// | `multiplexer` | `Multiplexer`: the handle |
// | `multiplexer/lifecycle` | methods that create and close a multiplexer |
// | `multiplexer/channels` | methods for channels |
// | `multiplexer/pairs` | methods for pairs |
// | `multiplexer/receiving` | methods that receive |
// | `multiplexer/sending` | methods that send |
// | `multiplexer/limits` | methods for limits and statistics |
// | `multiplexer/pausing` | methods that pause and resume |
// | `multiplexer/blocking` | methods that block the thread |
// | `cost` | tests: count the operations in the table of costs |
// | `guide` | recipes, in the documentation only |
// | `guide/classes` | priorities, weights, limits, pausing, statistics |
// | `guide/connections` | login timeouts, half-closed peers, data beside a stream |
// | `guide/costs` | lock pairs, atomic operations and allocations of each operation |
// | `guide/moving_here` | migrating from other crates |
// | `guide/shutdown` | graceful shutdown with a deadline |
// | `guide/slow_peers` | four policies for peers that do not read |
// | `guide/streams` | streams of several types, accept loops, timers, worker pools, panics |
// | `guide/websockets` | WebSockets with tokio-tungstenite |

mod channel;
#[cfg(all(test, not(loom_models)))]
mod cost;
mod engine;
mod error;
mod event;
#[cfg(any(doc, doctest))]
pub mod guide;
mod id;
mod multiplexer;
mod options;
mod registry;
mod signal;
mod sink;
mod stats;
mod stream_map;
mod sync;
mod threads;
mod unwind;
mod wait_list;

pub use channel::{
    ChannelReceiver, ChannelSelect, Drained, Recv, RecvMany, SelectMany, SelectStats, Share, ShareStats,
};
pub use engine::StreamSlab;
pub use error::{AddStreamError, MultiplexerError, SendError, TryRecvError, TrySendError};
pub use event::{StreamEvent, StreamPair};
pub use id::{ChannelId, StreamId};
pub use multiplexer::Multiplexer;
pub use options::ChannelOptions;
pub use sink::{
    CloseSink, CloseStream, Flusher, SendMany, SendOne, SenderClosed, Sent, Shutdown, StreamSender,
};
pub use stats::ChannelStats;
pub use stream_map::StreamMap;

/// Types that the methods of [`StreamSlab`] return. They have their own module, as in the standard library's collections,
/// because a glob import of this crate should not bring an `Iter` into scope.
pub mod stream_slab {
    pub use crate::engine::{IntoIter, Iter, IterMut, RecvMany};
}

/// Compiles the README's program as a documentation test.
#[cfg(doctest)]
#[doc = include_str!("../README.md")]
struct Readme;
