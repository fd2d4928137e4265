//! Classes of connections: which is served first, how many there may be, and which waits.
//!
//! | you want | use |
//! |---|---|
//! | one class before the others | [priorities](#priorities) |
//! | a share for each class | [weights](#weights), by items or by what they cost |
//! | low latency for the first class | [`yield_every`](#how-often-to-yield) |
//! | no more than so many connections in a class | [limits](#limits) |
//! | that a connection or a class waits for a while | [pausing](#pausing) |
//! | to know who gets what | [statistics](#statistics) |
//!
//! The example `job_server` in the repository has all of it: paying and free clients at 4 : 1, a limit for the free ones, an
//! admin who pauses them and asks for the statistics.
//!
//! # Priorities
//!
//! In a [`ChannelSelect`](crate::ChannelSelect) each channel has a [`Share`](crate::Share). Before every event the select
//! asks the ready channel with the lowest [priority number](crate::Share::priority).
//!
//! A lower channel does not starve. After [`starvation_bound`](crate::ChannelSelect::starvation_bound) events in a row that
//! went ahead of it, 64 by default, each lower channel that waits has one turn. So with two channels the lower one waits for at
//! most 64 events, and with n channels for at most 64 + n − 2. The first one waits for at most n − 1. The bound counts
//! events, and not time: multiply it by what your program does for an event.
//!
//! ```
//! use futures::{StreamExt, executor::block_on, stream};
//! use stream_multiplexer::{Multiplexer, Share};
//!
//! const INTERNAL: usize = 1;
//! const PUBLIC: usize = 2;
//!
//! let multiplexer = Multiplexer::without_sinks();
//! for channel in [INTERNAL, PUBLIC] {
//!     multiplexer.add_channel(channel)?;
//!     multiplexer.add_stream(stream::repeat("a request"), channel)?; // it always has one more
//! }
//!
//! let mut select = multiplexer.select();
//! select.add(INTERNAL, Share::new())?;
//! select.add(PUBLIC, Share::new().priority(1))?;
//!
//! let channels = select.by_ref().take(130).map(|(channel, _id, _event)| channel);
//! let channels: Vec<_> = block_on(channels.collect());
//! assert!(channels[..64].iter().all(|channel| *channel == INTERNAL));
//! assert_eq!(channels[64], PUBLIC);
//! assert_eq!(select.stats().channels[1].longest_wait, 64);
//! # Ok::<(), stream_multiplexer::MultiplexerError>(())
//! ```
//!
//! A small bound serves lower channels more often, and costs the first one as much: 1 / (k + 1) of the events when two channels
//! are always ready and k is the bound. Without a bound (`None`) they may starve.
//!
//! # Weights
//!
//! Channels of equal priority share by [weight](crate::Share::weight). While paying and free clients always have a request,
//! the paying ones get four for each one of the free ones. When one class has nothing the other gets everything: no turn is
//! wasted, and a class that was idle saves up nothing.
//!
//! ```
//! # use futures::{StreamExt, executor::block_on, stream};
//! # use stream_multiplexer::{Multiplexer, Share};
//! # const PAYING: usize = 1;
//! # const FREE: usize = 2;
//! # let multiplexer = Multiplexer::without_sinks();
//! # for channel in [PAYING, FREE] {
//! #     multiplexer.add_channel(channel)?;
//! #     multiplexer.add_stream(stream::repeat("a request"), channel)?;
//! # }
//! let mut select = multiplexer.select();
//! select.add(PAYING, Share::new().weight(4))?;
//! select.add(FREE, Share::new())?;
//!
//! block_on(select.by_ref().take(1_000).for_each(|_| async {}));
//! assert_eq!(select.stats().fraction(PAYING), Some(0.8));
//! # Ok::<(), stream_multiplexer::MultiplexerError>(())
//! ```
//!
//! The shares are those of the classes, however many clients each has: ten paying clients share what one would have.
//!
//! Where requests differ much, share what they cost. [`cost`](crate::ChannelSelect::cost) is called with each item, and
//! returns a number: a length, or an estimate of the work.
//!
//! ```
//! # use futures::{StreamExt, executor::block_on, stream};
//! # use stream_multiplexer::{Multiplexer, Share, StreamEvent};
//! # const PAYING: usize = 1;
//! # const FREE: usize = 2;
//! # let multiplexer = Multiplexer::without_sinks();
//! # for (channel, length) in [(PAYING, 100), (FREE, 400)] {
//! #     multiplexer.add_channel(channel)?;
//! #     multiplexer.add_stream(stream::repeat("x".repeat(length)), channel)?;
//! # }
//! # let mut select = multiplexer.select();
//! # select.add(PAYING, Share::new().weight(4))?;
//! # select.add(FREE, Share::new())?;
//! select.cost(|frame: &String| frame.len() as u64);
//!
//! // Free clients send frames that are four times as long, so one of theirs comes for each 16 of the paying ones.
//! block_on(select.by_ref().take(1_700).for_each(|_| async {}));
//! let stats = select.stats();
//! assert_eq!((stats.channels[0].turns, stats.channels[1].turns), (1_600, 100));
//! assert_eq!(stats.fraction(PAYING), Some(0.8));
//! # Ok::<(), stream_multiplexer::MultiplexerError>(())
//! ```
//!
//! An item is charged after it was taken, so a class may be ahead of its share by one item. The
//! [bound](crate::ChannelSelect#weights) says how far.
//!
//! Priorities and weights go together: an admin's channel with priority 0, and behind it `PAYING` and `FREE` with priority 1
//! and weights 4 and 1.
//!
//! # How often to yield
//!
//! A priority orders what the program has read. What lies in the kernel is not read while the loop runs on: the buffers of
//! 1,000 connections may hold seconds of work. So after every few events, 4 by default, the select returns `Pending` once and
//! wakes its task. The executor then asks the operating system which sockets have something.
//!
//! `cargo run --release --example favour -- yields` measures what that does: 20 clients of the first class beside 1,000 that
//! flood the second one, some 8 µs of work for a line, tokio's current-thread runtime. How long the first class waits for its
//! answers, and how many lines are served in all, as medians of five runs on 2026-11-26, on two virtual cores of an AMD EPYC:
//!
//! | `yield_every` | p50 | p99 | lines per second |
//! |---|--:|--:|--:|
//! | 1 | 25 µs | 129 µs | 100,832 |
//! | 2 | 31 µs | 113 µs | 103,690 |
//! | 4, the default | 40 µs | 124 µs | 108,775 |
//! | 8 | 62 µs | 159 µs | 108,013 |
//! | 16 | 103 µs | 222 µs | 109,846 |
//! | 32 | 189 µs | 427 µs | 108,420 |
//! | 64 | 309 µs | 681 µs | 112,474 |
//! | never | 1,179 µs | 1,870,299 µs | 110,259 |
//! | an idle server | 50 µs | 195 µs | |
//!
//! With 4, the first class waits no longer than on an idle server, which has to wake for each line. It serves 3 % fewer lines
//! than 64 does. The more work an event is, the less a yield costs, and the more it matters.
//!
//! ```
//! # use futures::stream::Pending;
//! # use std::num::NonZeroU32;
//! # let multiplexer = stream_multiplexer::Multiplexer::<Pending<()>>::new();
//! # let mut select = multiplexer.select();
//! // Where throughput counts for more than latency.
//! select.yield_every(NonZeroU32::new(64));
//! ```
//!
//! It works best where the loop is in the `block_on` of the runtime, as the body of `#[tokio::main]` is. A task that was
//! spawned on tokio and wakes itself may run 61 times before the sockets are asked: see
//! [`yield_every`](crate::ChannelSelect::yield_every), which says what a yield leads to under each executor, and what to
//! do.
//!
//! [`recv_many`](crate::ChannelSelect::recv_many) takes a batch, and no yield comes in between: a batch of n adds the work for
//! n events to the latency of the first class.
//!
//! # Limits
//!
//! [`ChannelOptions::max_streams`](crate::ChannelOptions::max_streams) is how many connections a class admits. One more is
//! refused with [`ChannelFull`](crate::MultiplexerError::ChannelFull). The error holds the pair, so the program can say why.
//! A task says it, so the loop waits for nobody. Over TCP that task also reads for another second: a connection that is
//! dropped with unread input is reset, and the peer may lose the answer. Limit how many such tasks there are; `dismiss` in
//! the example `job_server` does.
//!
//! Let newcomers log in in a channel of their own, with a limit and a
//! [timeout](crate::guide::connections#login-timeout), and move them to their class. If everyone came in as a free client, a
//! crowd of those would keep the paying ones out.
//!
//! ```
//! use futures::{SinkExt, StreamExt, channel::mpsc, stream};
//! use std::time::Duration;
//! use stream_multiplexer::{ChannelOptions, Multiplexer, MultiplexerError};
//! use tokio::time::timeout;
//!
//! const FREE: usize = 1;
//! const PAYING: usize = 2;
//!
//! # #[tokio::main(flavor = "current_thread", start_paused = true)]
//! # async fn main() -> Result<(), MultiplexerError> {
//! let multiplexer = Multiplexer::new();
//! multiplexer.add_channel_with(FREE, ChannelOptions::new().max_streams(1))?;
//! multiplexer.add_channel(PAYING)?;
//! # let connect = || {
//! #     let (sink, peer) = mpsc::channel(8);
//! #     (sink, stream::pending::<()>(), peer)
//! # };
//! # let (sink, stream, _peer) = connect();
//! let first = multiplexer.add_stream_pair(sink, stream, FREE)?;
//!
//! # let (sink, stream, mut peer) = connect();
//! if let Err(refused) = multiplexer.add_stream_pair(sink, stream, FREE) {
//! #   assert_eq!(refused.reason(), MultiplexerError::ChannelFull(FREE));
//!     let (mut sink, stream) = refused.into_parts();
//!     tokio::spawn(timeout(Duration::from_secs(2), async move {
//!         let _ = sink.send("we are full, try again later").await;
//!         let _ = sink.close().await; // with a codec of several types: `SinkExt::<&str>::close(&mut sink)`
//!         stream.for_each(|_unread| async {}).await;
//!     }));
//! }
//! # assert_eq!(peer.next().await, Some("we are full, try again later"));
//!
//! // A move frees the place.
//! multiplexer.change_stream_channel(first, PAYING)?;
//! # let (sink, stream, _peer) = connect();
//! multiplexer.add_stream_pair(sink, stream, FREE)?;
//! # Ok(())
//! # }
//! ```
//!
//! A move may be refused as well. The stream stays where it was, and the program answers it there.
//!
//! A place is free as soon as its stream has left, even before its departure is received.
//!
//! # Pausing
//!
//! [`pause_stream`](crate::Multiplexer::pause_stream) stops receiving from one connection, and
//! [`pause_channel`](crate::Multiplexer::pause_channel) from a whole class. What its peers send waits in the kernel, and TCP
//! slows them down. Nothing is lost: [`resume_stream`](crate::Multiplexer::resume_stream) and
//! [`resume_channel`](crate::Multiplexer::resume_channel) go on where it stopped. Their sinks can be sent to all the while.
//!
//! A peer that sends requests and does not read the answers is a case for it. While it does not read, receive nothing more
//! from it. So one answer waits for each such peer, and no more:
//!
//! ```
//! use futures::{StreamExt, channel::mpsc, stream};
//! use std::time::Duration;
//! use stream_multiplexer::{Multiplexer, TrySendError};
//!
//! const CLIENTS: usize = 1;
//!
//! # #[tokio::main(flavor = "current_thread", start_paused = true)]
//! # async fn main() -> Result<(), Box<dyn std::error::Error>> {
//! # let multiplexer = Multiplexer::new();
//! # multiplexer.add_channel(CLIENTS)?;
//! # let (sink, mut peer) = mpsc::channel(0);
//! # let id = multiplexer.add_stream_pair(sink, stream::iter(["a", "b", "c"]), CLIENTS)?;
//! # let answer_by = |id, request| {
//! // For each request:
//! if let Err(TrySendError::Full(answer)) = multiplexer.try_send(id, request) {
//!     multiplexer.pause_stream(id)?;
//!     let multiplexer = multiplexer.clone();
//!     tokio::spawn(async move {
//!         let sent = tokio::time::timeout(Duration::from_secs(10), multiplexer.send_one(id, answer)).await;
//!         match sent {
//!             Ok(Ok(())) => drop(multiplexer.resume_stream(id)),
//!             _ => drop(multiplexer.remove_stream(id)), // it did not read in time, or its sink failed
//!         }
//!     });
//! }
//! # Ok::<(), stream_multiplexer::MultiplexerError>(())
//! # };
//! # let reader = tokio::spawn(async move {
//! #     tokio::time::sleep(Duration::from_secs(5)).await;
//! #     [peer.next().await, peer.next().await, peer.next().await]
//! # });
//! # for _ in 0..3 {
//! #     let (from, request) = multiplexer.recv(CLIENTS).await?;
//! #     answer_by(from, request.unwrap())?;
//! # }
//! # assert_eq!(reader.await?, [Some("a"), Some("b"), Some("c")]);
//! # Ok(())
//! # }
//! ```
//!
//! To know before you pause:
//!
//! - What is paused is not polled. It answers no pings that its protocol answers in its poll, as WebSocket's do, and its
//!   peer may take that for the end.
//! - It is not seen that a peer has left. It keeps its place in a limited class, until it is resumed or removed. So a pause
//!   needs an end of its own, or a deadline.
//! - A paused channel yields no departures either. They wait, 32 bytes each; a limit bounds them.
//!
//! # Statistics
//!
//! [`Multiplexer::stats`](crate::Multiplexer::stats) says what is in a channel and what has happened there;
//! [`ChannelSelect::stats`](crate::ChannelSelect::stats) what each had of the select. The counters never decrease: look twice,
//! and take the difference.
//!
//! ```
//! # use futures::{StreamExt, executor::block_on, stream};
//! # use stream_multiplexer::{ChannelOptions, Multiplexer, Share};
//! # const PAYING: usize = 1;
//! # const FREE: usize = 2;
//! # let multiplexer = Multiplexer::without_sinks();
//! # multiplexer.add_channel(PAYING)?;
//! # multiplexer.add_channel_with(FREE, ChannelOptions::new().max_streams(1))?;
//! # multiplexer.add_stream(stream::repeat(()), PAYING)?;
//! # multiplexer.add_stream(stream::repeat(()), FREE)?;
//! # assert!(multiplexer.add_stream(stream::repeat(()), FREE).is_err());
//! # let mut select = multiplexer.select();
//! # select.add(PAYING, Share::new().weight(4))?;
//! # select.add(FREE, Share::new())?;
//! # block_on(select.by_ref().take(1_000).for_each(|_| async {}));
//! for share in select.stats().channels {
//!     let Some(stats) = multiplexer.stats(share.channel) else { continue };
//!     println!(
//!         "class {}: {} connections, {} paused, {} refused; {} requests; waited for {} others at most",
//!         share.channel, stats.members, stats.paused, stats.refused, stats.items, share.longest_wait,
//!     );
//! #   let expected = if share.channel == PAYING { (800, 0, 1) } else { (200, 1, 4) };
//! #   assert_eq!((stats.items, stats.refused, share.longest_wait), expected);
//! }
//! # Ok::<(), stream_multiplexer::MultiplexerError>(())
//! ```
//!
//! | what you see | what it says |
//! |---|---|
//! | `refused` rises | the limit is reached; or nobody receives from that channel, and its departures wait |
//! | `paused` stays high | peers do not read, or somebody forgot to resume |
//! | `polls_in_vain` far above `items` | streams wake for nothing |
//! | `longest_wait` of a class is near its bound | the classes ahead of it are always busy |
