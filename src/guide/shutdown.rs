//! Graceful shutdown: notify all peers, and let no peer delay it beyond a deadline.
//!
//! | step | call |
//! |---|---|
//! | admit no more connections | stop accepting; [`close`](crate::Multiplexer::close), or the first poll of `shutdown` |
//! | notify the peers | [`try_send_to`](crate::Multiplexer::try_send_to) each channel |
//! | flush and close all sinks concurrently | [`shutdown`](crate::Multiplexer::shutdown) |
//! | receive the peers' last messages | poll the select or the receivers until they end |
//! | give up on slow peers | a deadline for the last two steps, and then [`remove_channel`](crate::Multiplexer::remove_channel) |
//!
//! # With a deadline, over TCP
//!
//! [`keep_streams`](crate::Shutdown::keep_streams) closes the server's half of each connection, and keeps receiving from the
//! other half. The peer reads the server's last message and the end of the connection, and closes its side. Its stream then
//! ends, and the pair is removed. The select ends when all streams have ended.
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
//! /// The deadline is a `tokio::time::sleep`, or a second Ctrl-C. Returns how many peers did not close in time.
//! async fn shut_down(
//!     accepting: JoinHandle<()>,
//!     multiplexer: Multiplexer<Lines, Replies>,
//!     mut events: ChannelSelect<Lines, Replies>,
//!     deadline: impl Future<Output = ()>,
//! ) -> usize {
//!     // Stop accepting: this drops the listener with its task.
//!     accepting.abort();
//!
//!     // This never waits. A peer whose sink is full misses the message.
//!     for channel in multiplexer.channels() {
//!         let _ = multiplexer.try_send_to(channel, "* the server ends", |_id, _error| {});
//!     }
//!
//!     // Flush and close all sinks, and receive from all streams until they end.
//!     let closing = multiplexer.shutdown::<&str>().keep_streams();
//!     let receiving = async {
//!         while let Some((_channel, _id, _event)) = events.next().await {
//!             // The program can still handle these items, but no longer answer them.
//!         }
//!     };
//!     tokio::select! {
//!         _ = join(closing, receiving) => {}
//!         () = deadline => {}
//!     }
//!
//!     // The remaining peers do not read or do not close.
//!     let remaining = multiplexer.channels().into_iter().filter_map(|channel| multiplexer.remove_channel(channel));
//!     remaining.map(|pairs| pairs.len()).sum()
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
//! // One peer closes after it has read to the end. The other peer does not close.
//! let left = shut_down(accepting, multiplexer, events, deadline).await;
//! assert_eq!(left, 1);
//! # drop(rude);
//! # Ok(())
//! # }
//! ```
//!
//! In the main loop, Ctrl-C ends the serving (this needs tokio's feature `signal`):
//!
//! ```no_run
//! # use futures::{StreamExt, stream};
//! # use stream_multiplexer::{Multiplexer, Share};
//! # #[tokio::main(flavor = "current_thread")]
//! # async fn main() -> Result<(), stream_multiplexer::MultiplexerError> {
//! # let multiplexer = Multiplexer::without_sinks();
//! # multiplexer.add_channel(1)?;
//! # multiplexer.add_stream(stream::pending::<()>(), 1)?;
//! # let mut events = multiplexer.select();
//! # events.add(1, Share::new())?;
//! let mut ctrl_c = std::pin::pin!(tokio::signal::ctrl_c());
//! loop {
//!     tokio::select! {
//!         Some((channel, id, event)) = events.next() => println!("{id} in {channel}: {event:?}"),
//!         _ = &mut ctrl_c => break,
//!     }
//! }
//! // Here comes the call of `shut_down`, with a `tokio::time::sleep` as the deadline.
//! # Ok(())
//! # }
//! ```
//!
//! Resume [paused](crate::guide::classes#pausing) streams and channels first, because a paused stream never ends. During the
//! shutdown receiving works as before. Sends fail with `Closed` once the closing of their sink has begun.
//!
//! # With `keep_streams` or without
//!
//! | | `shutdown()` | `shutdown().keep_streams()` |
//! |---|---|---|
//! | a pair is removed when | its sink is closed | its stream ends |
//! | a peer whose input was not read | its TCP connection is reset, and the peer may lose the server's last message | reads everything |
//! | receiving during the shutdown | not needed | needed; otherwise no stream ends |
//! | takes | until the peers have read | until the peers have closed |
//! | suitable for | peers that only answer requests; sinks without streams | TCP and WebSocket in general |
//!
//! Both need a deadline, because a single peer that does not read delays them forever. After the deadline,
//! [`Shutdown::pending`](crate::Shutdown::pending) returns the streams whose sinks are not closed.
//!
//! # Letting the peers finish first
//!
//! To let peers finish their work, call [`close`](crate::Multiplexer::close) first. A closed multiplexer admits no streams;
//! everything else continues. Receive and answer until the receivers end, with a separate deadline. Then shut down as above.
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
//! // The select ends when its channels are closed and empty.
//! let requests = events.filter_map(|(_channel, _id, event)| async move { event.item() });
//! assert_eq!(block_on(requests.collect::<Vec<_>>()), ["the last", "requests"]);
//! # Ok::<(), MultiplexerError>(())
//! ```
//!
//! A task that does not receive can await [`drained`](crate::Multiplexer::drained) for each channel.
//!
//! # From a `main` that is not async
//!
//! With the feature `blocking`, a thread can wait with a deadline and without a runtime: `wait_closed` waits until the
//! multiplexer is closed, `wait_drained` until a channel is closed and empty, and `wait_all_drained` until all channels are.
//! Other threads receive in the meantime.
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
//! multiplexer.add_stream(stream::pending().boxed(), GUESTS)?; // this stream never ends
//! multiplexer.add_stream(stream::iter(["hello", "bye"]).boxed(), MEMBERS)?;
//! let receivers = [GUESTS, MEMBERS].map(|channel| {
//!     let multiplexer = multiplexer.clone();
//!     thread::spawn(move || block_on(async { while multiplexer.recv(channel).await.is_ok() {} }))
//! });
//!
//! multiplexer.close();
//! // Members have a minute to finish. Guests are removed immediately.
//! if !multiplexer.wait_drained(MEMBERS, Duration::from_secs(60))? {
//!     multiplexer.discard_channel(MEMBERS);
//! }
//! multiplexer.discard_channel(GUESTS);
//! assert!(multiplexer.wait_all_drained(Duration::ZERO));
//!
//! // A receiver may still be handling its last item.
//! for receiver in receivers {
//!     receiver.join().expect("a receiver panicked");
//! }
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```
