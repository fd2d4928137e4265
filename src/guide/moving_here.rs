//! Coming from another crate, side by side.
//!
//! # From `StreamMap` of tokio-stream
//!
//! [`StreamMap`](crate::StreamMap) has the same methods (`next_many` is `recv_many`). Change the import, and say what becomes
//! of `(key, None)`, the end of a stream, which tokio's does not report. Then it may hold thousands of idle streams, because
//! only those that woke are polled.
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
//! If you do not need keys of your own, use [`StreamSlab`](crate::StreamSlab): it gives out keys and does not hash.
//!
//! # From `SelectAll`
//!
//! [`StreamSlab`](crate::StreamSlab) takes its place. It waits for new members where `SelectAll` ends, reports ends, and
//! removes by key.
//!
//! | `SelectAll` | `StreamSlab` |
//! |---|---|
//! | `push(stream)` | `insert(stream)`, returns a key |
//! | `next()` yields `item` | `next()` yields `(key, Some(item))`, and `(key, None)` when that one has ended |
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
//! `FuturesUnordered<StreamFuture<_>>`, with which streams are pushed back after each item, becomes a
//! [`StreamSlab`](crate::StreamSlab) as above: no allocation per item. A set of plain futures stays a `FuturesUnordered`.
//!
//! # From a task per connection
//!
//! A task per connection, with an actor in the middle, needs a channel to the actor, a channel back to each task, and an
//! answer to what happens when one of these is full. Here the actor holds the connections:
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
//! Work that takes long, or blocks, stays in tasks of its own: the loop spawns it, and the task answers by `try_send`.
//!
//! # From 0.16.1
//!
//! | 0.16.1 | 0.17 |
//! |---|---|
//! | `Multiplexer::new()` | the same |
//! | `add_channel(channel)` on `&mut self` | on `&self`; clone the handle and use it anywhere |
//! | `add_stream_pair(sink, stream, channel)` | the same; the error hands both back |
//! | `recv(channel).await` | the same; [`receiver(channel)`](crate::Multiplexer::receiver) is a `Stream` that says why a stream left |
//! | `send([ids], item).await`, a `Vec<Result>` | [`Sent`](crate::Sent), in the order of the ids; `try_send` waits for nobody |
//! | `change_stream_channel(id, channel)` | the same; done when it returns |
//! | `remove_stream(id) -> bool` | returns the pair, as an `Option` |
//! | `remove_channel(channel) -> bool` | returns the pairs, as an `Option` |
//! | `StreamId` is a `usize` that is used again | opaque, and never used again |
//! | an unknown channel is reported before an unknown stream | the stream first |
//! | queues of 32 items | no queues; see [slow peers](super::slow_peers) |
//! | `ChannelFull`: the queue is full | `ChannelFull`: the [limit](crate::ChannelOptions::max_streams) that you set is reached |
