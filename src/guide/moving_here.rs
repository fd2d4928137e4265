//! Migrating from other crates, side by side.
//!
//! # From `StreamMap` of tokio-stream
//!
//! [`StreamMap`](crate::StreamMap) has the same methods (`next_many` is called `recv_many`). Change the import, and handle
//! `(key, None)`, the end of a stream, which tokio-stream does not report. The map may then hold thousands of idle streams,
//! because it polls only streams that were woken.
//!
//! ```
//! use futures::{StreamExt, executor::block_on, stream};
//! use stream_multiplexer::StreamMap; // was: use tokio_stream::StreamMap;
//!
//! let mut map = StreamMap::new();
//! map.insert("a", stream::iter([1, 2]));
//! map.insert("b", stream::iter([3, 4]));
//! let mut sum = 0;
//! block_on(async {
//!     while let Some((_key, number)) = map.next().await {
//!         sum += number.unwrap_or(0); // was: sum += number
//!     }
//! });
//! assert_eq!(sum, 10);
//! ```
//!
//! If you do not need your own keys, use [`StreamSlab`](crate::StreamSlab): it assigns keys and does not hash.
//!
//! # From `SelectAll`
//!
//! [`StreamSlab`](crate::StreamSlab) replaces it. In addition, `StreamSlab` reports the end of each stream, and removes
//! streams by key.
//!
//! | `SelectAll` | `StreamSlab` |
//! |---|---|
//! | `push(stream)` | `insert(stream)`, returns a key |
//! | `next()` yields `item` | `next()` yields `(key, Some(item))`, and `(key, None)` when that stream has ended |
//! | | `remove(key)`, returns the stream |
//! | `select_all(streams)` | `streams.into_iter().collect::<StreamSlab<_>>()` |
//! | `iter()`, `iter_mut()`, `clear()` | the same |
//!
//! ```
//! use futures::{StreamExt, executor::block_on, stream};
//! use stream_multiplexer::StreamSlab;
//!
//! let mut streams: StreamSlab<_> = [stream::iter(0..2), stream::iter(10..12)].into_iter().collect();
//! let mut items = Vec::new();
//! block_on(async {
//!     while let Some((_key, item)) = streams.next().await {
//!         items.extend(item); // `None`: that stream has ended
//!     }
//! });
//! assert_eq!(items, [0, 10, 1, 11]);
//! ```
//!
//! # From `FuturesUnordered`
//!
//! Replace a `FuturesUnordered<StreamFuture<_>>`, into which you push each stream back after an item, with a
//! [`StreamSlab`](crate::StreamSlab) as above. It does not allocate per item. Keep `FuturesUnordered` for sets of futures.
//!
//! # From a task per connection
//!
//! A design with a task per connection and a central actor needs a channel to the actor, a channel back to each task, and a
//! policy for full channels. Here the actor owns the connections:
//!
//! | task per connection | here |
//! |---|---|
//! | `tokio::spawn(handle(socket))` | [`add_stream_pair(sink, stream, CHANNEL)`](crate::Multiplexer::add_stream_pair) |
//! | `actor.send(Message { id, line }).await` in each task | the actor receives `(id, line)` |
//! | `mpsc::Sender` to each task, kept in a map | [`try_send(id, line)`](crate::Multiplexer::try_send) |
//! | `broadcast::channel`, `Lagged` | [`try_send_to(CHANNEL, line, ..)`](crate::Multiplexer::try_send_to), [`Full`](crate::TrySendError::Full) |
//! | the task ends | [`Ended`](crate::StreamEvent::Ended) |
//! | `handle.abort()` | [`remove_stream(id)`](crate::Multiplexer::remove_stream) |
//! | a `Semaphore` per class | a channel per class |
//!
//! Keep long or blocking work in separate tasks: the loop spawns the task, and the task answers with `try_send`.
//!
//! # From 0.16.1
//!
//! | 0.16.1 | 0.17 |
//! |---|---|
//! | `Multiplexer::new()` | the same |
//! | `add_channel(channel)` on `&mut self` | on `&self`; clone the handle and use it anywhere |
//! | `add_stream_pair(sink, stream, channel)` | the same; the error returns both |
//! | `recv(channel).await` | the same; [`receiver(channel)`](crate::Multiplexer::receiver) is a `Stream` that reports why a stream left |
//! | `send([ids], item).await`, a `Vec<Result>` | [`Sent`](crate::Sent), in the order of the ids; `try_send` never waits |
//! | `change_stream_channel(id, channel)` | the same; the move is complete when the call returns |
//! | `remove_stream(id) -> bool` | returns the pair, as an `Option` |
//! | `remove_channel(channel) -> bool` | returns the pairs, as an `Option` |
//! | `StreamId` is a `usize` that is reused | opaque, and never reused |
//! | reports an unknown channel before an unknown stream | reports an unknown stream first |
//! | queues of 32 items | no queues; see [slow peers](super::slow_peers) |
//! | `ChannelFull`: the queue is full | `ChannelFull`: the [limit](crate::ChannelOptions::max_streams) that you set is reached |
