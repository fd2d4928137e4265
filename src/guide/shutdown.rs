//! Shutting down: everybody hears of it, and nobody can hold it up.
//!
//! | step | call |
//! |---|---|
//! | admit nobody | stop accepting; [`close`](crate::Multiplexer::close), or the first poll of `shutdown` |
//! | say goodbye | [`try_send_to`](crate::Multiplexer::try_send_to) each channel |
//! | flush and close all sinks together | [`shutdown`](crate::Multiplexer::shutdown) |
//! | receive what the peers still say | poll the select or the receivers, until they end |
//! | give up on who is too slow | a deadline for both, and then [`remove_channel`](crate::Multiplexer::remove_channel) |
//!
//! # With a deadline, over TCP
//!
//! [`keep_streams`](crate::Shutdown::keep_streams) closes our half of each connection, and leaves the other half to be
//! received from. The peer reads our last words and the end, and closes its side. Then its stream ends, and the pair is gone.
//! When all have ended the select ends.
//!
//! ```
//! use futures::{StreamExt, future::join};
//! use stream_multiplexer::{ChannelSelect, Multiplexer, Share};
//! # use tokio::io::{AsyncReadExt, AsyncWriteExt};
//! use tokio::net::tcp::{OwnedReadHalf, OwnedWriteHalf};
//! # use tokio::net::{TcpListener, TcpStream};
//! use tokio::task::JoinHandle;
//! use tokio_util::codec::{FramedRead, FramedWrite, LinesCodec};
//!
//! type Lines = FramedRead<OwnedReadHalf, LinesCodec>;
//! type Replies = FramedWrite<OwnedWriteHalf, LinesCodec>;
//!
//! const MEMBERS: usize = 1;
//!
//! /// The deadline is a `tokio::time::sleep`, or another Ctrl-C. Returns how many did not end in time.
//! async fn shut_down(
//!     accepting: JoinHandle<()>,
//!     multiplexer: Multiplexer<Lines, Replies>,
//!     mut events: ChannelSelect<Lines, Replies>,
//!     deadline: impl Future<Output = ()>,
//! ) -> usize {
//!     // Nobody comes any more: the listener is dropped with its task.
//!     accepting.abort();
//!
//!     // It waits for nobody. Who cannot take it does not hear it.
//!     let _ = multiplexer.try_send_to(MEMBERS, "* the server ends", |_id, _error| {});
//!
//!     // All sinks are flushed and closed, and meanwhile all streams are heard out.
//!     let closing = multiplexer.shutdown::<&str>().keep_streams();
//!     let hearing = async {
//!         while let Some((_channel, _id, _event)) = events.next().await {
//!             // What is said now can be worked on, but no longer answered.
//!         }
//!     };
//!     tokio::select! {
//!         _ = join(closing, hearing) => {}
//!         () = deadline => {}
//!     }
//!
//!     // Who is still there does not read, or does not close.
//!     multiplexer.remove_channel(MEMBERS).map_or(0, |rest| rest.len())
//! }
//!
//! # #[tokio::main(flavor = "current_thread")]
//! # async fn main() -> Result<(), Box<dyn std::error::Error>> {
//! # let listener = TcpListener::bind("127.0.0.1:0").await?;
//! # let address = listener.local_addr()?;
//! # let multiplexer = Multiplexer::new();
//! # multiplexer.add_channel(MEMBERS)?;
//! # let mut events = multiplexer.select();
//! # events.add(MEMBERS, Share::new())?;
//! # let mut polite = TcpStream::connect(address).await?;
//! # let rude = TcpStream::connect(address).await?;
//! # let to_add = multiplexer.clone();
//! # let (added, both_are_added) = tokio::sync::oneshot::channel();
//! # let accepting = tokio::spawn(async move {
//! #     for _ in 0..2 {
//! #         let (read, write) = listener.accept().await.unwrap().0.into_split();
//! #         let stream = FramedRead::new(read, LinesCodec::new());
//! #         to_add.add_stream_pair(FramedWrite::new(write, LinesCodec::new()), stream, MEMBERS).unwrap();
//! #     }
//! #     added.send(()).unwrap();
//! #     std::future::pending().await
//! # });
//! # both_are_added.await?;
//! # let polite = tokio::spawn(async move {
//! #     let mut heard = String::new();
//! #     polite.read_to_string(&mut heard).await.unwrap();
//! #     polite.write_all(b"bye\n").await.unwrap();
//! #     heard
//! # });
//! # let members = multiplexer.clone();
//! # let deadline = async move {
//! #     assert_eq!(polite.await.unwrap(), "* the server ends\n");
//! #     while members.channel_len(MEMBERS) != Some(1) {
//! #         tokio::task::yield_now().await;
//! #     }
//! # };
//! // One peer closes when it has read to the end. The other one stays.
//! let left = shut_down(accepting, multiplexer, events, deadline).await;
//! assert_eq!(left, 1);
//! # drop(rude);
//! # Ok(())
//! # }
//! ```
//!
//! Resume what is [paused](crate::guide::classes#pausing) before: a paused stream does not end, and is not heard out. While it
//! is received from, everything is as before, but for sends: they fail with `Closed` when a sink's turn to be closed has
//! begun.
//!
//! # With `keep_streams` or without
//!
//! | | `shutdown()` | `shutdown().keep_streams()` |
//! |---|---|---|
//! | a pair is removed when | its sink is closed | its stream ends |
//! | a peer that has sent something unread | its TCP connection is reset, and it may lose our last words | reads everything |
//! | receiving meanwhile | not needed | needed, or nothing ends |
//! | it takes | until the peers have read | until the peers have closed |
//! | for | peers that speak when they are asked; sinks without streams | TCP and WebSocket in general |
//!
//! Without a deadline neither has an end: one peer that does not read is enough. When it has passed,
//! [`Shutdown::pending`](crate::Shutdown::pending) returns the streams whose sinks are not closed.
//!
//! # Letting the peers finish first
//!
//! Where a peer that has begun something is to finish it, [`close`](crate::Multiplexer::close) first. It admits nobody, and
//! everything else goes on: receive and answer until the receivers end, within a deadline of its own. Then go on as above.
//!
//! ```
//! use futures::{StreamExt, executor::block_on, stream};
//! use stream_multiplexer::{Multiplexer, MultiplexerError, Share};
//!
//! let multiplexer = Multiplexer::without_sinks();
//! multiplexer.add_channel(1)?;
//! multiplexer.add_stream(stream::iter(["the last", "requests"]), 1)?;
//! let mut events = multiplexer.select();
//! events.add(1, Share::new())?;
//!
//! multiplexer.close();
//! let late = multiplexer.add_stream(stream::iter(["too", "late"]), 1).unwrap_err();
//! assert_eq!(late.reason(), MultiplexerError::Closed);
//! // A select that has nothing to wait for ends.
//! let requests = events.filter_map(|(_channel, _id, event)| async move { event.item() });
//! assert_eq!(block_on(requests.collect::<Vec<_>>()), ["the last", "requests"]);
//! # Ok::<(), MultiplexerError>(())
//! ```
//!
//! Who does not receive waits with [`drained`](crate::Multiplexer::drained), a future for each channel.
//!
//! # From a `main` that is not async
//!
//! With the feature `blocking` a thread waits, with a deadline and without a runtime: `wait_closed` until somebody has closed
//! the multiplexer, `wait_drained` until a channel is closed and empty, and `wait_all_drained` until all are. Other threads
//! receive meanwhile.
//!
#![cfg_attr(feature = "blocking", doc = "```")]
#![cfg_attr(not(feature = "blocking"), doc = "```ignore")]
//! use futures::{StreamExt, executor::block_on, stream};
//! use std::{thread, time::Duration};
//! use stream_multiplexer::Multiplexer;
//!
//! const GUESTS: usize = 1;
//! const MEMBERS: usize = 2;
//!
//! let multiplexer = Multiplexer::without_sinks();
//! multiplexer.add_channel(GUESTS)?;
//! multiplexer.add_channel(MEMBERS)?;
//! multiplexer.add_stream(stream::pending().boxed(), GUESTS)?; // it never ends
//! multiplexer.add_stream(stream::iter(["hello", "bye"]).boxed(), MEMBERS)?;
//! let receivers = [GUESTS, MEMBERS].map(|channel| {
//!     let multiplexer = multiplexer.clone();
//!     thread::spawn(move || block_on(async { while multiplexer.recv(channel).await.is_ok() {} }))
//! });
//!
//! multiplexer.close();
//! // Members have a minute to finish. Guests have no time.
//! if !multiplexer.wait_drained(MEMBERS, Duration::from_secs(60))? {
//!     multiplexer.discard_channel(MEMBERS);
//! }
//! multiplexer.discard_channel(GUESTS);
//! assert!(multiplexer.wait_all_drained(Duration::ZERO));
//!
//! // What was received last may still be worked on.
//! for receiver in receivers {
//!     receiver.join().expect("a receiver panicked");
//! }
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```
