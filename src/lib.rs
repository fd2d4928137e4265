//! Group many streams into channels, and receive from each channel independently.
//!
//! A server holds many connections. Each is a [`Stream`][stream] (what the peer sends) and a [`Sink`][sink] (what the
//! server sends back), and they fall into classes: authenticated and not, paying and free. A [`Multiplexer`] holds the
//! connections of each class in a **channel**. One task receives from all of them, without a task or a queue per
//! connection. You favour a class by giving its channel a priority or a weight, and slow a class down by not receiving from
//! its channel.
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
//! It runs under any executor. It has no I/O and no timers of its own, needs no runtime, and contains no unsafe code.
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
//!     // Otherwise tokio stops a task after 128 socket operations, and healthy peers look full. The select yields by itself.
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
//!                     // It waits for nobody. A member that does not read is disconnected.
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
//!                 _ => {} // it has left this channel
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
//! | connections: streams with sinks, in classes | [`Multiplexer`] |
//! | several classes to receive from, one favoured | [`ChannelSelect`], from [`Multiplexer::select`] |
//! | one class | [`ChannelReceiver`], from [`Multiplexer::receiver`], or [`Multiplexer::recv`] for one event |
//! | streams without sinks, in classes | [`Multiplexer::without_sinks`] |
//! | a set of streams in one task, in place of `SelectAll` or a `FuturesUnordered` of streams | [`StreamSlab`] |
//! | the same under keys of your own, in place of `tokio_stream::StreamMap` | [`StreamMap`] |
//!
//! | to send | use |
//! |---|---|
//! | to one stream or to a channel, without waiting | [`try_send`](Multiplexer::try_send), [`try_send_to`](Multiplexer::try_send_to) |
//! | and wait until the sink has it | [`send_one`](Multiplexer::send_one), [`send`](Multiplexer::send) to many, [`send_to`](Multiplexer::send_to) a channel |
//! | as a `Sink` | [`StreamSender`], from [`Multiplexer::sender`] |
//!
//! | to control | use |
//! |---|---|
//! | how many streams a class may have | [`ChannelOptions::max_streams`], [`Multiplexer::set_max_streams`] |
//! | what is received for a while | [`Multiplexer::pause_stream`], [`Multiplexer::pause_channel`] |
//! | the end of one connection | [`Multiplexer::close_stream`], [`Multiplexer::remove_stream`] |
//! | the end of all, with a deadline | [`Multiplexer::close`], [`Multiplexer::drained`], [`Multiplexer::shutdown`] |
//! | what happens | [`Multiplexer::stats`], [`ChannelSelect::stats`] |
//!
//! The [guide] has recipes: slow readers, login timeouts, graceful shutdown, moving here from another crate,
//! and more.
//!
//! # Words
//!
//! - A **pair** is one connection: a stream and, as a rule, a sink. Its [`StreamId`] is never used again.
//! - A **member** is a stream while it is in a channel.
//! - A member is **ready** when it was added or moved in, when its last poll yielded an item, and when its waker was
//!   called and that call has returned.
//! - A **turn** is one poll of one member.
//! - A **departure** is reported when a member leaves its channel: it [ended](StreamEvent::Ended), was
//!   [moved](StreamEvent::Moved), or was [removed](StreamEvent::Removed).
//!
//! # Receiving
//!
//! A channel polls its members in the task that receives from it. A member that was not woken is not polled. There is no
//! queue of items or of ready members. A waker marks its member in a set, and the receiver finds the next marked member with
//! a few loads, whether there are ten members or a million.
//!
//! So a channel that nobody receives from does no work and buffers nothing; TCP then slows its peers down. Such peers
//! get no answer to their pings either, and their leaving goes unnoticed until somebody receives again.
//!
//! Moves and removals are done when the call returns, whether or not anybody receives from the channel. If another
//! thread is polling the member at that moment, it leaves when that poll returns.
//!
//! # Sending
//!
//! A peer that does not read must not stop the others. So do not await a peer in the loop that receives: `try_send` never
//! waits. The crate buffers nothing. How much may wait for one peer is set on its sink; beyond that `try_send` returns
//! [`Full`](TrySendError::Full) with the item, and your program decides: drop it, disconnect the peer, or wait.
//! [Slow peers](crate::guide::slow_peers) shows each.
//!
//! On tokio, run the loop in `tokio::task::unconstrained`, as above. Otherwise a task may use its sockets 128 times before it
//! yields, and every socket after that says that it is not ready: [healthy peers look
//! full](crate::guide::slow_peers#on-tokio).
//!
//! What a send leaves in a sink's own buffer is flushed when the peer takes it. A [`ChannelSelect`] does that while you
//! receive. A program without one runs a [`Flusher`] beside its receivers.
//!
//! # Fairness
//!
//! **Between two turns of one member, every member of the channel that was ready when the first of them began has one
//! turn.** No member is served twice while another waits. This holds for a [`StreamSlab`] as well, and for any number of
//! receivers on one channel.
//!
//! There is one exception. While another thread is in the middle of waking a neighbour, a member that was woken may be
//! passed over until that thread has gone on. No wake is lost.
//!
//! Departures share the turns. Between two turns of a member that is always ready, a receiver yields at most as many
//! departures as were waiting when the first turn ended, and at most as many as there were turns. The departure of a stream
//! is yielded before anything that the stream yields when it is back in the same channel.
//!
//! Between channels the program decides: by priorities and weights in a [`ChannelSelect`], or by a `select!` over receivers.
//!
//! A member that always has an item, and takes no part in its runtime's cooperative budget, never lets the thread go: a
//! loop that receives from it runs on, and a timeout around that loop does not fire. A [`ChannelSelect`] therefore yields to
//! the executor every few events. For a [`ChannelReceiver`] set [`yield_every`](ChannelReceiver::yield_every).
//!
//! # Cancel safety
//!
//! Every receiving future may be dropped at any point; nothing is lost. Each sending future says in its documentation what
//! may have been sent. A sink never gets half an item, nor one twice.
//!
//! # Panics
//!
//! A panic in the poll of a stream or sink reaches the task that polled it, and costs that pair alone. The pair is
//! removed, and its channel reports so. [Catch it and go on](crate::guide::streams#panics), or spawn the loop again.
//!
//! If a drop or a task's waker panics, the panic reaches the caller of the method that dropped or woke, after that method has
//! done its work. Further panics during the unwinding are swallowed.
//!
//! A future that is polled again after it has completed panics, as most futures do.
//!
//! No foreign code runs under a lock of this crate: no poll, no wake, no clone of a waker, no drop. So a stream, a sink, a
//! waker and any drop may call any method of the same multiplexer.
//!
//! # Cost
//!
//! Nothing is allocated per item, wake, wait or move once the slabs have grown to the number of members. Each method says
//! what it costs. Lock pairs and atomic operations are in a [table](crate::guide::costs) that tests count.
//!
//! # When not to use it
//!
//! - A handful of streams of different types, known when you write the program: `select!`.
//! - Futures rather than streams: `FuturesUnordered`.
//! - Connections whose handling needs much CPU, or blocks: the tasks that receive from a channel poll its members, so give
//!   that work tasks of its own.
//! - Timeouts, rate limits and send buffers are not here. They belong to your streams and sinks, which compose with this
//!   crate.
//!
//! # Feature
//!
//! `blocking`, off by default and not on wasm, adds methods that block a thread with a deadline, for a `main` that is
//! not async: `Multiplexer::wait_closed`, `wait_drained` and `wait_all_drained`. It depends on event-listener.
//!
//! [stream]: https://docs.rs/futures-core/latest/futures_core/stream/trait.Stream.html
//! [sink]: https://docs.rs/futures-sink/latest/futures_sink/trait.Sink.html

#![forbid(unsafe_code)]

// The rooms of the source. Each file uses only what stands above it.
//
// | file | what it keeps |
// |---|---|
// | `sync` | the atomics and the lock: the standard library's or loom's |
// | `unwind` | what is still to be done when foreign code panics |
// | `id` | `StreamId`, `ChannelId` |
// | `event` | `StreamEvent`, `StreamPair`: what comes out |
// | `error` | what can go wrong |
// | `options` | `ChannelOptions` |
// | `stats` | `ChannelStats` |
// | `wait_list/crowd` | many who wait: in the order of their tickets, each found at once |
// | `wait_list` | the tasks that wait for one thing, woken together |
// | `threads` | the threads that do, with the feature `blocking` |
// | `signal` | something that comes true and stays so; who waits for it |
// | `wait_list/tests` | in tests only: who is woken, how often, in which order and at what cost |
// | `engine` | a set of pollable things, each with a waker that sets its bit, polled in turn |
// | `engine/patience` | how much may be polled in vain in one call |
// | `engine/bit_set` | a set of numbers in which the next one is found by a few loads |
// | `engine/wake_tree` | members' wakes, from any thread, until the owner takes them |
// | `engine/ready_set` | which members are ready, and whose turn it is |
// | `engine/rotation` | slots with a waker each, whose turn comes round |
// | `engine/stream_slab` | `StreamSlab`: a rotation of streams in exclusive ownership |
// | `stream_map` | `StreamMap`: the same, under keys that the user chooses |
// | `channel/member` | a stream in a channel |
// | `channel/departures` | what a channel reports besides items, and when |
// | `channel/slots` | what a channel's slots hold, and their transitions |
// | `channel` | a rotation shared by handles |
// | `channel/turns` | take out, poll, put back |
// | `sink` | the sending half |
// | `sink/flush_set` | the sinks with something unflushed, and whose turn it is to be flushed |
// | `sink/slot` | a sink shared by senders: one poll at a time, who waits |
// | `registry` | the control plane: who is where, and every move |
// | `channel/pace` | how often a receiver lets its executor run |
// | `channel/receiver` | `ChannelReceiver`, `RecvMany` |
// | `channel/recv` | `Recv`, and `try_recv` |
// | `channel/drained` | `Drained` |
// | `sink/delivery` | one item on its way to one sink |
// | `sink/try_send` | sending without waiting |
// | `sink/flush_turn` | the turn of a sink with something unflushed |
// | `sink/flusher` | `Flusher` |
// | `channel/share` | `Share` |
// | `channel/schedule/queue` | the ready channels in the order of their turns |
// | `channel/schedule` | whose turn it is among channels |
// | `channel/schedule/tests` | in tests only: the same turns as by looking at all channels |
// | `channel/select` | `ChannelSelect`, `SelectMany`, `SelectStats` |
// | `sink/sent` | `Sent` |
// | `sink/many` | `SendMany` |
// | `sink/one` | `SendOne` |
// | `sink/sender_closed` | `SenderClosed` |
// | `sink/sender` | `StreamSender` |
// | `sink/closing` | one sink on its way to being closed |
// | `sink/close` | `CloseSink`, `CloseStream` |
// | `sink/shutdown` | `Shutdown` |
// | `multiplexer` | `Multiplexer`: the handle |
// | `multiplexer/limits` | its methods for limits, and for what is in a channel |
// | `multiplexer/pausing` | its methods that pause and resume |
// | `multiplexer/receiving` | its methods that receive |
// | `multiplexer/sending` | its methods that send |
// | `multiplexer/blocking` | its methods that block the thread |
// | `cost` | in tests only: keeps the table of costs true |
// | `guide` | in documentation only: recipes |
// | `guide/classes` | priorities, weights, limits, pausing, statistics |
// | `guide/connections` | logging in, leaving halfway, data beside a stream |
// | `guide/costs` | what the operations cost inside |
// | `guide/moving_here` | from other crates |
// | `guide/shutdown` | the end of a server, with a deadline |
// | `guide/slow_peers` | four policies |
// | `guide/streams` | streams of all kinds |
// | `guide/websockets` | with tokio-tungstenite |

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

/// What the methods of [`StreamSlab`] return. In a module of its own, as in the standard library's collections: so an
/// import of all that this crate has brings no `Iter`.
pub mod stream_slab {
    pub use crate::engine::{IntoIter, Iter, IterMut, RecvMany};
}

/// Runs the README's program.
#[cfg(doctest)]
#[doc = include_str!("../README.md")]
struct Readme;
