//! Classes of connections: priorities, weights, limits, pausing and statistics.
//!
//! | you want to | use |
//! |---|---|
//! | serve one class before the others | [priorities](#priorities) |
//! | give each class a share | [weights](#weights), by items or by cost |
//! | keep the latency of the first class low | [`yield_every`](#how-often-to-yield) |
//! | limit the connections of a class | [limits](#limits) |
//! | pause a connection or a class | [pausing](#pausing) |
//! | measure how much each class receives | [statistics](#statistics) |
//!
//! The example `job_server` in the repository combines these features: paying and free clients at 4 : 1, a limit for free
//! clients, and an admin connection that pauses free clients and prints statistics.
//!
//! # Priorities
//!
//! In a [`ChannelSelect`](crate::ChannelSelect) each channel has a [`Share`](crate::Share). Before every event the select
//! polls the ready channel with the lowest [priority number](crate::Share::priority).
//!
//! A lower channel does not starve. The [`starvation_bound`](crate::ChannelSelect::starvation_bound) is 64 by default.
//! After so many consecutive events of higher channels, each waiting lower channel has one turn. With two channels, the
//! lower one waits for at most 64 events; with n channels, for at most 64 + n − 2. The first channel waits for at most
//! n − 1. The bound counts events, not time: multiply it by the time that your program takes for an event.
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
//! A small bound serves lower channels more often, at the expense of the first channel. If two channels are always ready and
//! the bound is k, the lower one receives 1 / (k + 1) of the events. Without a bound (`None`) lower channels may starve.
//!
//! # Weights
//!
//! Channels of equal priority share by [weight](crate::Share::weight). In this example, while both classes always have a
//! request, four requests of paying clients are served for each request of free clients. While one class is idle, the other
//! class is served all the time. An idle class accumulates no credit.
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
//! A share belongs to a class, however many clients the class has: ten paying clients together get the share that one client
//! would get.
//!
//! If requests differ much, share by cost. The function that you pass to [`cost`](crate::ChannelSelect::cost) is called with
//! each item and returns a number: a length, or an estimate of the work.
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
//! // Frames of free clients are four times as long: one of them is served for each 16 frames of paying clients.
//! block_on(select.by_ref().take(1_700).for_each(|_| async {}));
//! let stats = select.stats();
//! assert_eq!((stats.channels[0].turns, stats.channels[1].turns), (1_600, 100));
//! assert_eq!(stats.fraction(PAYING), Some(0.8));
//! # Ok::<(), stream_multiplexer::MultiplexerError>(())
//! ```
//!
//! An item is charged after it was received. A class may therefore be ahead of its share by one item; see the
//! [bound](crate::ChannelSelect#weights).
//!
//! Priorities and weights can be combined, for example an admin channel with priority 0, and `PAYING` and `FREE` with
//! priority 1 and weights 4 and 1.
//!
//! # How often to yield
//!
//! A priority orders only the items that have reached the program. Sockets are not polled while the loop keeps running,
//! and the buffers of 1,000 connections may hold seconds of work. Every few events (4 by default), the select therefore
//! wakes its task and returns `Poll::Pending` once. The executor then asks the operating system which sockets are
//! ready.
//!
//! `cargo run --release --package favour -- yields` measures the effect: 20 clients in the first class, 1,000 clients that
//! flood the second class, about 8 µs of work per line, and tokio's current-thread runtime. The table shows how long clients
//! of the first class wait for an answer, and how many lines are served in all. The figures are medians of five runs on
//! 2026-11-26, on two virtual cores of an AMD EPYC:
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
//! With 4, the first class waits no longer than on an idle server, which has to wake for each line, and the server
//! serves 3 % fewer lines than with 64. The more work an event causes, the less a yield costs, and the more it matters.
//!
//! ```
//! # use futures::stream::Pending;
//! # use std::num::NonZeroU32;
//! # let multiplexer = stream_multiplexer::Multiplexer::<Pending<()>>::new();
//! # let mut select = multiplexer.select();
//! // If throughput matters more than latency.
//! select.yield_every(NonZeroU32::new(64));
//! ```
//!
//! A yield works best if the loop runs in the runtime's `block_on`, as the body of `#[tokio::main]` does. A spawned tokio
//! task that wakes itself may run 61 times before tokio polls the sockets. The documentation of
//! [`yield_every`](crate::ChannelSelect::yield_every) describes the effect under each executor, and what to do.
//!
//! [`recv_many`](crate::ChannelSelect::recv_many) receives a batch without a yield in between. A batch of n events adds the
//! work for n events to the latency of the first class.
//!
//! # Limits
//!
//! [`ChannelOptions::max_streams`](crate::ChannelOptions::max_streams) limits how many connections a class admits. It counts
//! pairs, not sockets: limit [handshakes](crate::guide::websockets) in front of it separately. A
//! further connection is refused with [`ChannelFull`](crate::MultiplexerError::ChannelFull). The error contains the
//! pair, so that the program can send the reason to the peer. Send it in a separate task; the loop should not wait.
//! Over TCP this task should also read for another second: a connection that is dropped with unread input is reset, and
//! the peer may lose the answer. Limit the number of these tasks, as `dismiss` in the example `job_server` does.
//!
//! Admit new connections to a separate channel with a limit and a [login
//! timeout](crate::guide::connections#login-timeout), and move them to their class when they log in. If all clients started
//! in the free class, a crowd of free clients would keep paying clients out.
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
//! // A move out of the channel frees a place.
//! multiplexer.change_stream_channel(first, PAYING)?;
//! # let (sink, stream, _peer) = connect();
//! multiplexer.add_stream_pair(sink, stream, FREE)?;
//! # Ok(())
//! # }
//! ```
//!
//! A move may be refused as well. The stream then stays in its channel, and the program can answer it there.
//!
//! A place is free as soon as its stream has left, even before the departure is received. There is one exception: if no task
//! receives from the channel and departures accumulate, the channel is also full when its streams and unread departures are
//! [twice the limit](crate::ChannelOptions::max_streams).
//!
//! # Pausing
//!
//! [`pause_stream`](crate::Multiplexer::pause_stream) stops receiving from one connection, and
//! [`pause_channel`](crate::Multiplexer::pause_channel) from a whole class. Input from the peers waits in the kernel,
//! and TCP slows the peers down. No input is lost: [`resume_stream`](crate::Multiplexer::resume_stream) and
//! [`resume_channel`](crate::Multiplexer::resume_channel) continue where receiving stopped. During a pause you can
//! still send to the peers.
//!
//! For example, pause a peer that sends requests and does not read the answers. Then at most one answer waits for each such
//! peer:
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
//!             _ => drop(multiplexer.remove_stream(id)), // the peer did not read in time, or its sink failed
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
//! Before you pause, note:
//!
//! - A paused stream is not polled. A stream that answers pings in its poll, as WebSocket streams do, answers none, and the
//!   peer may close the connection.
//! - A disconnect is not noticed. The stream keeps its place in a limited class until it is resumed or removed. Give every
//!   pause an end or a deadline.
//! - A paused channel yields no departures either. Unread departures take 32 bytes each; a limit on the channel bounds them.
//!
//! # Statistics
//!
//! [`Multiplexer::stats`](crate::Multiplexer::stats) shows the contents and the counters of a channel;
//! [`ChannelSelect::stats`](crate::ChannelSelect::stats) shows how much each channel received from the select. The counters
//! never decrease; read them twice, and take the difference.
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
//! | observation | likely cause |
//! |---|---|
//! | `refused` rises | the limit is reached; or no task receives from that channel, and unread departures accumulate |
//! | `paused` stays high | peers do not read, or the program does not resume them |
//! | `polls_in_vain` far above `items` | streams wake without a reason |
//! | `longest_wait` of a class is near its bound | the classes ahead of it are always busy |
