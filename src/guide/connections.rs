//! Connections: login timeouts, half-closed peers, and data for each connection.
//!
//! # Login timeout
//!
//! Add new connections to a separate channel. A login moves the connection to another channel; the timeout removes it *from
//! the channel of new connections*. One of the two calls comes first, and the other one then does nothing or fails. There is
//! no race, and the timer need not be cancelled. `remove_stream_from` returns the pair: to tell the peer the reason, send it
//! from the same task before the pair is dropped.
//!
//! ```
//! use futures::stream;
//! use std::time::Duration;
//! use stream_multiplexer::Multiplexer;
//!
//! const NEWCOMERS: usize = 1;
//! const MEMBERS: usize = 2;
//!
//! # #[tokio::main(flavor = "current_thread", start_paused = true)]
//! # async fn main() -> Result<(), Box<dyn std::error::Error>> {
//! let multiplexer = Multiplexer::without_sinks();
//! multiplexer.add_channel(NEWCOMERS)?;
//! multiplexer.add_channel(MEMBERS)?;
//!
//! // For each new connection:
//! let ann = multiplexer.add_stream(stream::pending::<&str>(), NEWCOMERS)?;
//! let bob = multiplexer.add_stream(stream::pending::<&str>(), NEWCOMERS)?;
//! for id in [ann, bob] {
//!     let multiplexer = multiplexer.clone();
//!     tokio::spawn(async move {
//!         tokio::time::sleep(Duration::from_secs(3)).await;
//!         multiplexer.remove_stream_from(id, NEWCOMERS); // does nothing after a login
//!     });
//! }
//!
//! // Ann logs in.
//! multiplexer.change_stream_channel(ann, MEMBERS)?;
//!
//! tokio::time::sleep(Duration::from_secs(4)).await;
//! assert_eq!(multiplexer.channel_of(ann), Some(MEMBERS));
//! assert_eq!(multiplexer.channel_of(bob), None);
//! # Ok(())
//! # }
//! ```
//!
//! # Half-closed peers
//!
//! A peer may shut down its writing side and still read, as `nc -N` and some HTTP clients do. Its stream then ends, and by
//! default the multiplexer drops the pair. In a channel with [`half_close`](crate::ChannelOptions::half_close) the pair
//! stays, and you can send to it until you close or remove it.
//!
//! ```
//! use futures::{StreamExt, channel::mpsc, executor::block_on, stream};
//! use stream_multiplexer::{ChannelOptions, Multiplexer, StreamEvent};
//!
//! # fn main() -> Result<(), Box<dyn std::error::Error>> {
//! let multiplexer = Multiplexer::new();
//! multiplexer.add_channel_with(1, ChannelOptions::new().half_close(true))?;
//!
//! let (sink, peer) = mpsc::channel(8);
//! multiplexer.add_stream_pair(sink, stream::iter(["what is the answer?"]), 1)?;
//!
//! let mut receiver = multiplexer.receiver(1)?;
//! block_on(async {
//!     let (_, question) = receiver.next().await.expect("the channel is open");
//!     let (id, end) = receiver.next().await.expect("the channel is open");
//!     assert_eq!((question.item(), end), (Some("what is the answer?"), StreamEvent::Ended));
//!
//!     multiplexer.try_send(id, 42).expect("its sink is still there");
//!     multiplexer.close_stream::<i32>(id).await.expect("it is flushed and closed");
//! });
//! # drop((multiplexer, receiver));
//! assert_eq!(block_on(peer.collect::<Vec<_>>()), [42]);
//! # Ok(())
//! # }
//! ```
//!
//! A close waits until the peer has read everything. A loop that serves other peers must not await it. Let a task do that, with
//! a deadline:
//!
//! ```
//! # use futures::{channel::mpsc, sink::SinkExt, stream};
//! # use std::time::Duration;
//! # use stream_multiplexer::{ChannelOptions, Multiplexer, StreamEvent};
//! # #[tokio::main(flavor = "current_thread", start_paused = true)]
//! # async fn main() -> Result<(), Box<dyn std::error::Error>> {
//! # let multiplexer = Multiplexer::new();
//! # multiplexer.add_channel_with(1, ChannelOptions::new().half_close(true))?;
//! # let (sink, _does_not_read) = mpsc::channel(0);
//! # let id = multiplexer.add_stream_pair(sink.buffer(8), stream::empty::<()>(), 1)?;
//! # (0..3).for_each(|item| multiplexer.try_send(id, item).unwrap());
//! # let event = StreamEvent::<()>::Ended;
//! # assert_eq!(multiplexer.recv(1).await?, (id, None));
//! if event == StreamEvent::Ended {
//!     let multiplexer = multiplexer.clone();
//!     tokio::spawn(async move {
//!         let close = multiplexer.close_stream::<i32>(id);
//!         if tokio::time::timeout(Duration::from_secs(10), close).await.is_err() {
//!             multiplexer.remove_stream(id);
//!         }
//!     });
//! }
//! # assert_eq!(multiplexer.channel_of(id), Some(1));
//! # tokio::time::sleep(Duration::from_secs(11)).await;
//! # assert_eq!(multiplexer.channel_of(id), None);
//! # Ok(())
//! # }
//! ```
//!
//! # Data beside a stream
//!
//! The receiving loop owns a map. Insert an entry when you add the pair, and remove it on `Ended` and `Removed`, but not on
//! `Moved`. The map is not shared and needs no lock. A [`StreamId`](crate::StreamId) is never reused; a late lookup never
//! finds the data of another connection.
//!
//! ```
//! use futures::{StreamExt, executor::block_on, stream};
//! use std::collections::HashMap;
//! use stream_multiplexer::{Multiplexer, StreamEvent};
//!
//! struct Peer {
//!     name: String,
//!     lines: usize,
//! }
//!
//! # fn main() -> Result<(), Box<dyn std::error::Error>> {
//! let multiplexer = Multiplexer::without_sinks();
//! multiplexer.add_channel(1)?;
//! let mut peers = HashMap::new();
//! let id = multiplexer.add_stream(stream::iter(["one", "two"]), 1)?;
//! peers.insert(id, Peer { name: "ann".to_owned(), lines: 0 });
//!
//! let mut receiver = multiplexer.receiver(1)?;
//! # multiplexer.close();
//! block_on(async {
//!     while let Some((id, event)) = receiver.next().await {
//!         match event {
//!             StreamEvent::Item(_line) => {
//!                 if let Some(peer) = peers.get_mut(&id) {
//!                     peer.lines += 1;
//!                 }
//!             }
//!             StreamEvent::Ended | StreamEvent::Removed => {
//!                 let peer = peers.remove(&id).expect("it was added");
//!                 assert_eq!((peer.name.as_str(), peer.lines), ("ann", 2));
//!             }
//!             _ => {}
//!         }
//!     }
//! });
//! # Ok(())
//! # }
//! ```
//!
//! If only the items need the data, [`map`](https://docs.rs/futures/latest/futures/stream/trait.StreamExt.html#method.map)
//! the stream before you add it: `stream.map(move |line| (name.clone(), line))`.
//!
//! # Channels by name
//!
//! A [`ChannelId`](crate::ChannelId) is a `usize`. An enum gives it a name:
//!
//! ```
//! use stream_multiplexer::Multiplexer;
//! # use futures::stream::Pending;
//!
//! #[derive(Clone, Copy)]
//! enum Class {
//!     Guest,
//!     Member,
//!     Admin,
//! }
//!
//! let multiplexer = Multiplexer::without_sinks();
//! # let _: &Multiplexer<Pending<()>> = &multiplexer;
//! for class in [Class::Guest, Class::Member, Class::Admin] {
//!     multiplexer.add_channel(class as usize)?;
//! }
//! # Ok::<(), stream_multiplexer::MultiplexerError>(())
//! ```
//!
//! A program may have many channels, for example one for each room of a chat. An idle channel takes a few hundred bytes and
//! no CPU time.
