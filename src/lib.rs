//! Many streams in channels, each received from on its own.
//!
//! A server holds many connections. Each is a [`Stream`](futures_core::Stream) (what the peer says) and a
//! [`Sink`](futures_sink::Sink) (what we say back), and they fall into classes: authenticated and not, paying
//! and free. A [`Multiplexer`] gathers the pairs of each class in a **channel**. A channel is received from
//! on its own, so its backpressure is simply that nobody receives from it, and a program favours a class by
//! asking its channel first.
//!
//! It runs under any executor: it has no I/O and no timers of its own, needs no runtime, and contains no unsafe
//! code. Its one feature, `blocking`, is for [threads that are in no executor](#feature).
//!
//! ```
//! use async_io::Async;
//! use futures::{SinkExt, StreamExt};
//! use std::net::{TcpListener, TcpStream};
//! use stream_multiplexer::Multiplexer;
//! use tokio_util::codec::{Framed, LinesCodec};
//! use tokio_util::compat::FuturesAsyncReadCompatExt;
//!
//! const CHANNEL_ONE: usize = 1;
//! const CHANNEL_TWO: usize = 2;
//!
//! # fn main() -> Result<(), Box<dyn std::error::Error>> {
//! smol::block_on(async {
//!     let multiplexer = Multiplexer::new();
//!     multiplexer.add_channel(CHANNEL_ONE)?;
//!     multiplexer.add_channel(CHANNEL_TWO)?;
//!
//!     // A task that adds incoming connections to channel one.
//!     let listener = Async::<TcpListener>::bind(([127, 0, 0, 1], 0))?;
//!     let address = listener.get_ref().local_addr()?;
//!     let incoming = multiplexer.clone();
//!     smol::spawn(async move {
//!         while let Ok((connection, _)) = listener.accept().await {
//!             let framed = Framed::new(connection.compat(), LinesCodec::new());
//!             let (sink, stream) = framed.split();
//!             let _stream_id = incoming.add_stream_pair(sink, stream, CHANNEL_ONE);
//!         }
//!     })
//!     .detach();
//!
//!     // A task that passes on what could not be sent at once, and tells whose connection is broken.
//!     let mut flusher = multiplexer.flusher::<String>();
//!     smol::spawn(async move { while let Some((_broken, _why)) = flusher.next().await {} }).detach();
//!
//!     // A task that echoes the first line of each, and moves the stream to channel two. It waits for no peer.
//!     let echo = multiplexer.clone();
//!     smol::spawn(async move {
//!         while let Ok((stream_id, message)) = echo.recv(CHANNEL_ONE).await {
//!             match message {
//!                 Some(Ok(data)) => {
//!                     let _sent = echo.try_send(stream_id, data);
//!                     let _ = echo.change_stream_channel(stream_id, CHANNEL_TWO);
//!                 }
//!                 Some(Err(err)) => eprintln!("stream {stream_id}: {err}"),
//!                 None => { /* stream_id has left channel one */ }
//!             }
//!         }
//!     })
//!     .detach();
//!
//!     // A client.
//!     let client = Async::<TcpStream>::connect(address).await?;
//!     let mut client = Framed::new(client.compat(), LinesCodec::new());
//!     client.send("hello").await?;
//!     assert_eq!(client.next().await.unwrap()?, "hello");
//!
//!     // What it says now comes in channel two.
//!     client.send("it is me").await?;
//!     let (_stream_id, message) = multiplexer.recv(CHANNEL_TWO).await?;
//!     assert_eq!(message.unwrap()?, "it is me");
//!     Ok(())
//! })
//! # }
//! ```
//!
//! # What there is
//!
//! | for | use |
//! |---|---|
//! | channels of connections: receive, send, move, remove, from any task | [`Multiplexer`] |
//! | one channel as a `Stream` that tells why a stream left | [`ChannelReceiver`], from [`Multiplexer::receiver`] |
//! | one event of a channel | [`Multiplexer::recv`], [`Multiplexer::try_recv`] |
//! | an item to one stream, or to a whole channel, without waiting | [`Multiplexer::try_send`], [`try_send_to`](Multiplexer::try_send_to), and a [`Flusher`] |
//! | one item to many streams, or to one, until they have it | [`Multiplexer::send`], [`Multiplexer::send_one`] |
//! | one stream's sink as a `Sink` | [`StreamSender`], from [`Multiplexer::sender`] |
//! | streams without sinks | [`Multiplexer::add_stream`] |
//! | waiting for the last stream to end | [`Multiplexer::drained`]; in a thread, [`wait_drained`](#feature) |
//! | the engine alone, owned by one task and without locks | [`StreamSlab`] |
//!
//! # When not to use it
//!
//! - A handful of streams of different types, known when you write the program: `select!`.
//! - Up to some ten streams: `tokio_stream::StreamMap` is simpler. It polls idle members again for each item, so it
//!   is best where few are idle.
//! - Futures rather than streams: `FuturesUnordered`.
//! - Connections whose handling needs much CPU, or blocks: a task each. The members of a channel are polled by the
//!   tasks that receive from it.
//! - A stream or sink that holds a handle of the multiplexer it is in keeps that alive: remove it, or the channel, when
//!   all is over.
//! - Timeouts, rate limits and send buffers are not here: they belong to your streams and sinks, which compose with
//!   this crate. See [slow peers](#slow-peers).
//!
//! # How it works
//!
//! There are two paths, and neither knows of the other.
//!
//! ```text
//! receive   peer's I/O -> member's waker -> ready set -> round-robin turn -> ChannelReceiver -> your task
//! send      your task -> try_send, SendOne, SendMany or StreamSender -> the sink, taken out for one poll -> peer's I/O
//! flush     the sink's waker -> ready set -> round-robin turn -> Flusher -> peer's I/O
//! ```
//!
//! *Receive.* A member's waker marks it in the ready set: one atomic word holds the key of the one member
//! that was woken, or is the root of a tree of bits when there are more. The receiver takes the next ready
//! member in turn, by a few loads among a million, takes it out of the channel, polls it with no lock held,
//! and puts it back. There is no queue of items and none of ready members, and nothing is allocated per item,
//! wake, wait or move.
//!
//! *Send.* A sink is shared by all who send to it and taken out for one poll at a time. A sink that is not
//! ready makes its own senders wait, nobody else. Nothing is buffered. Each sink knows whether something in it is
//! unflushed: every flush flushes that, whoever sent it.
//!
//! *Flush.* What a send that does not wait left in a sink, or one that was dropped, is passed on by a [`Flusher`], which
//! polls those sinks alone, each when it woke.
//!
//! *Moves and removals* are done when the call returns, also if nobody receives from the channel. If the
//! member is being polled at that very moment, by another thread or because it calls the multiplexer
//! itself, it follows when that poll returns.
//!
//! No foreign code runs under a lock of this crate: no poll, no wake, no clone of a waker, no drop. So a
//! stream, a sink, a waker and any drop may call any method of the same multiplexer.
//!
//! # Slow peers
//!
//! A peer that does not read must not stop those who do. So do not await a peer where you receive: [`Multiplexer::try_send`]
//! never waits. How much may wait for one peer is set on its sink (`Framed::set_backpressure_boundary` of tokio-util,
//! `SinkExt::buffer` of futures); beyond that it is [`Full`](TrySendError::Full), and what becomes of that is yours to say:
//!
//! ```
//! # use futures::{FutureExt, channel::mpsc, stream};
//! # use stream_multiplexer::Multiplexer;
//! # const CHANNEL: usize = 1;
//! # fn scene() -> (Multiplexer<stream::Pending<()>, mpsc::Sender<u32>>, stream_multiplexer::StreamId) {
//! #     let multiplexer = Multiplexer::new();
//! #     multiplexer.add_channel(CHANNEL).unwrap();
//! #     let (sink, peer) = mpsc::channel(0);
//! #     std::mem::forget(peer);
//! #     let id = multiplexer.add_stream_pair(sink, stream::pending(), CHANNEL).unwrap();
//! #     multiplexer.try_send(id, 0).unwrap();
//! #     (multiplexer, id)
//! # }
//! # let position = 7;
//! # let (multiplexer, id) = scene();
//! // Drop what is too much: a game's positions, for the next one is newer.
//! let reached = multiplexer.try_send_to(CHANNEL, position, |_, _| {})?;
//! # assert_eq!((reached, multiplexer.channel_len(CHANNEL)), (0, Some(1)));
//!
//! # let line = 7;
//! // Disconnect who is too far behind: a chat, in which no line may be missed.
//! multiplexer.try_send_to(CHANNEL, line, |id, error| {
//!     if error.is_full() {
//!         multiplexer.remove_stream(id);
//!     }
//! })?;
//! # assert_eq!(multiplexer.channel_len(CHANNEL), Some(0));
//!
//! # let (multiplexer, id) = scene();
//! # futures::executor::block_on(async {
//! # let job = 7;
//! # async fn timeout<F: Future + Unpin>(_: u8, send: F) -> Result<F::Output, ()> { send.now_or_never().ok_or(()) }
//! # const SECOND: u8 = 1;
//! // Wait with a deadline: a server of jobs, in a task beside the one that receives.
//! let mut send = multiplexer.send_one(id, job);
//! if timeout(SECOND, &mut send).await.is_err() {
//!     let _not_done = send.take_item();
//!     multiplexer.remove_stream(id);
//! }
//! # assert_eq!(multiplexer.channel_len(CHANNEL), Some(0));
//!
//! # let (multiplexer, id) = scene();
//! # multiplexer.with_sink(id, |sink| *sink = mpsc::channel(9).0).unwrap();
//! // Slow everybody down: who receives awaits the slowest, and the channel's streams are not polled meanwhile.
//! let sent = multiplexer.send_to(CHANNEL, line)?.await;
//! # Ok::<(), stream_multiplexer::MultiplexerError>(())
//! # })?;
//! # Ok::<(), stream_multiplexer::MultiplexerError>(())
//! ```
//!
//! The halves of `StreamExt::split` share a lock, so such a sink says that it is not ready also while another thread polls
//! its stream. Where several threads receive, and `Full` has consequences, use halves of their own (`FramedRead` and
//! `FramedWrite` of a socket that was split).
//!
//! A sink that fails tells so once: to the call that polled it, or as an item of the [`Flusher`]. From then on it is closed
//! to sends and is not polled; the stream is received from until the pair is removed.
//!
//! # Fairness
//!
//! A turn is one poll of one member. **Between two turns of one member, every member of the channel that was ready when
//! the first of them began has one turn.** So nobody is served twice while another waits. This holds for a
//! [`StreamSlab`] as well, and for any number of receivers on one channel.
//!
//! A member is ready when it was added or moved in, when its last poll gave an item, and when its waker was called and
//! that call has returned. There is one exception: as long as another thread is in the middle of waking a neighbour (it
//! has marked a branch of the tree, and not the root yet), a member of the same branch that was woken may be passed over.
//! Nothing is lost by that: the thread's next step makes both ready.
//!
//! Departures share the turns. Between two turns of a member that is always ready come at most as many departures as
//! were waiting when the first of them ended, and at most as many as there were turns of members. The departure of a
//! stream comes before anything that the stream says when it is back in the same channel.
//!
//! Between channels there is no fairness but what you write: `select!` on their receivers for an even share, or ask the
//! favoured one first.
//!
//! A member that always has an item, and takes no part in its runtime's cooperative budget, never lets the thread go: a
//! loop that receives from it runs on, and a timeout around that loop does not fire. Let the executor run every few
//! items (`tokio::task::yield_now`, `futures_lite::future::yield_now`).
//!
//! # Cost
//!
//! | | member polls | lock pairs | atomic read-modify-writes | allocations |
//! |---|---|---|---|---|
//! | item of an always-ready member, [`StreamSlab`] | 1 | 0 | 0 | 0 |
//! | the same, [`ChannelReceiver`] | 1 | 2 | 0 | 0 |
//! | wake of a member (of the first million), if no other waits to be received | 0 | 0 | 1 | 0 |
//! | wake of a member, else | 0 | 0 | 2; 3 beyond 1,664 members, 4 beyond 59,008, 5 beyond 321,152 | 0 |
//! | item of a member that was idle, `StreamSlab` | 2 | 0 | the same | 0 |
//! | the same, `ChannelReceiver` | 2 | 3 | the same | 0 |
//! | going to sleep, `StreamSlab` | 0 | 1 | 1 | 0 |
//! | the same, `ChannelReceiver` | 0 | 2 | 1 | 0 |
//! | waking who sleeps | 0 | 1 | 0 | 0 |
//! | move to another channel | 0 | 3 | 0 | 0 |
//! | send to one stream, `try_send` | 0 | 3 | 0 | 0 |
//! | `try_send_to`, per sink | 0 | 2, and 2 for 32 sinks | 0 | 0 |
//! | leaving something unflushed, when a [`Flusher`] is there | 0 | 2 | 0 | 0 |
//! | flushing a sink that was woken, `Flusher` | 0 | 5 | 1 | 0 |
//!
//! Read-modify-writes are those of the ready set: at most so many, for what is marked already is not marked
//! again. Reference counts come on top: one for each waker that is cloned, two for each sink that is sent to, four for a
//! move.
//! Allocations are 0 once the slabs have grown to the number of members, or of departures that wait to be
//! received. Tests count all of this.
//!
//! Memory: a channel keeps 32 bytes for each departure (64 just after that memory has grown) until it is received, unless it
//! [does not report them](ChannelOptions::report_departures).
//!
//! # Dependencies
//!
//! | crate | for |
//! |---|---|
//! | futures-core, futures-sink | `Stream` and `Sink` themselves |
//! | slab | slots with keys |
//! | pin-project-lite | members of a channel that are not `Unpin`, without unsafe code |
//! | event-listener, with the feature `blocking` | threads that wait for the end with a deadline |
//!
//! Tasks are woken by lists of our own and not by `event-listener`, for a reason that `benches/peers` runs: it wakes,
//! clones and drops wakers under its own lock. An executor that polls in `wake`, or that drops its tasks when it stops,
//! hangs with it for ever, and so with `async-channel` and `async-lock`. A waker that panics leaves an `Event` and a
//! `Semaphore` dead. For threads it is the best there is: they are woken through parkers of its own, so no foreign code
//! runs under that lock.
//!
//! # Cancel safety
//!
//! Every receiving future may be dropped at any point; nothing is lost. A sending future says in its
//! documentation what may have been sent; a sink never gets half an item, nor one twice.
//!
//! # Feature
//!
//! `blocking`, off by default and not on wasm, adds methods that block a thread with a deadline, for a `main` that is
//! not async: `Multiplexer::wait_closed`, `wait_drained` and `wait_all_drained`. The `Multiplexer`'s documentation has
//! a graceful shutdown of at most ten seconds. It depends on event-listener, whose lock is safe for that: it wakes
//! threads by its own means, and no task.
//!
//! # Panics
//!
//! A panic in a stream's or sink's poll reaches whoever polled, and costs that pair alone: it is removed,
//! and its channel reports so. A panic in a drop or in a task's waker reaches the caller of whatever dropped or
//! woke, be it a move, a removal or the closing; what that call was for is done all the same. A send in whose poll
//! it came goes on when it is polled again, and tells what became of its item. While one panic is on its way,
//! others are swallowed.
//!
//! A sending future that is polled again after it was ready panics, as most futures do.

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
// | `channel/member` | a stream in a channel |
// | `channel/departures` | what a channel reports besides items, and when |
// | `channel/slots` | what a channel's slots hold, and their transitions |
// | `channel` | a rotation shared by handles |
// | `channel/turns` | take out, poll, put back |
// | `sink` | the sending half |
// | `sink/flush_set` | the sinks with something unflushed, and whose turn it is to be flushed |
// | `sink/slot` | a sink shared by senders: one poll at a time, who waits |
// | `registry` | the control plane: who is where, and every move |
// | `channel/receiver` | `ChannelReceiver`, `RecvMany` |
// | `channel/recv` | `Recv`, and `try_recv` |
// | `channel/drained` | `Drained` |
// | `sink/delivery` | one item on its way to one sink |
// | `sink/try_send` | sending without waiting |
// | `sink/flusher` | `Flusher` |
// | `sink/sent` | `Sent` |
// | `sink/many` | `SendMany` |
// | `sink/one` | `SendOne` |
// | `sink/sender_closed` | `SenderClosed` |
// | `sink/sender` | `StreamSender` |
// | `sink/close` | `CloseSink`, `CloseStream` |
// | `multiplexer` | `Multiplexer`: the handle |
// | `multiplexer/receiving` | its methods that receive |
// | `multiplexer/sending` | its methods that send |
// | `multiplexer/blocking` | its methods that block the thread |
// | `cost` | in tests only: keeps the table of costs true |
// | `guide` | in documentation only: recipes |
// | `guide/connections` | logging in, leaving halfway, data beside a stream |
// | `guide/moving_here` | from other crates |
// | `guide/slow_peers` | four policies |
// | `guide/streams` | streams of all kinds |

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
mod sync;
mod threads;
mod unwind;
mod wait_list;

pub use channel::{ChannelReceiver, Drained, Recv, RecvMany};
pub use engine::StreamSlab;
pub use error::{AddStreamError, MultiplexerError, SendError, TryRecvError, TrySendError};
pub use event::{StreamEvent, StreamPair};
pub use id::{ChannelId, StreamId};
pub use multiplexer::Multiplexer;
pub use options::ChannelOptions;
pub use sink::{CloseSink, CloseStream, Flusher, SendMany, SendOne, SenderClosed, Sent, StreamSender};

/// What the methods of [`StreamSlab`] return. In a module of its own, as in the standard library's collections: so an
/// import of all that this crate has brings no `Iter`.
pub mod stream_slab {
    pub use crate::engine::{IntoIter, Iter, IterMut, RecvMany};
}

/// Runs the README's program.
#[cfg(doctest)]
#[doc = include_str!("../README.md")]
struct Readme;
