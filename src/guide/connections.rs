//! Connections: logging in, leaving halfway, and what the program knows of each.
//!
//! # Login timeout
//!
//! Newcomers are in a channel of their own. Logging in is a move to another channel, and the timeout is a removal *from
//! the channel of newcomers*. The multiplexer orders the two: if the login came first, the removal does nothing. So the
//! timer needs no cancelling, and there is no race.
//!
//! ```
//! use futures::{StreamExt, channel::mpsc, stream};
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
//!         multiplexer.remove_stream_from(id, NEWCOMERS); // nothing, if it has logged in
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
//! A peer may shut down its writing side and still read: `nc -N` does, and so do HTTP clients. Its stream ends, and by
//! default the pair is dropped with it. In a channel with [`half_close`](crate::ChannelOptions::half_close) the pair stays,
//! and can be sent to until it is closed or removed.
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
//! # Data beside a stream
//!
//! The loop that receives owns a map. An entry begins when the pair is added, and ends with `Ended` or `Removed`, but
//! not with `Moved`. Nothing is shared, so nothing is locked. A [`StreamId`](crate::StreamId) is never used again, so a
//! late lookup finds nothing, and never somebody else.
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
//! Where only the items need it, [`map`](https://docs.rs/futures/latest/futures/stream/trait.StreamExt.html#method.map) the
//! stream before it is added: `stream.map(move |line| (name.clone(), line))`.
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
//! There may be as many channels as there are rooms in a chat: an idle channel costs a few hundred bytes and no time.
