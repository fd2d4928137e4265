//! What becomes of a peer that does not read: four policies.
//!
//! A peer that does not read must not stop those who do. So a receiving loop does not await a peer:
//! [`try_send`](crate::Multiplexer::try_send) and [`try_send_to`](crate::Multiplexer::try_send_to) never wait. The crate
//! buffers nothing. How much may wait for one peer is a property of its sink, and the program sets it there:
//!
//! | sink | bound |
//! |---|---|
//! | `Framed`, `FramedWrite` of tokio-util | `set_backpressure_boundary(bytes)`, 8 KiB by default |
//! | any sink, by `SinkExt::buffer(items)` of futures | the number of items |
//! | `WebSocketStream` of tokio-tungstenite | `WebSocketConfig::write_buffer_size(bytes)`, 128 KiB by default, and [one more message](super::websockets#limits) |
//! | `mpsc::channel(items)` of futures | the number of items |
//!
//! Beyond that bound the sink is not ready, and the send returns [`Full`](crate::TrySendError::Full) with the item. What
//! happens then is the program's policy.
//!
//! In what follows, `multiplexer` has a channel `MEMBERS`, and `id` is a stream in it.
//!
//! # Drop what is too much
//!
//! A game sends positions. When a peer cannot take one, the next will be newer anyway.
//!
//! ```
//! # use futures::{channel::mpsc, stream};
//! # use stream_multiplexer::Multiplexer;
//! # const MEMBERS: usize = 1;
//! # let multiplexer = Multiplexer::new();
//! # multiplexer.add_channel(MEMBERS)?;
//! # let (sink, _peer) = mpsc::channel(0);
//! # multiplexer.add_stream_pair(sink, stream::pending::<()>(), MEMBERS)?;
//! # let sent = multiplexer.try_send_to(MEMBERS, 1, |_, _| {})?;
//! # assert_eq!(sent, 1);
//! # let position = 7;
//! let sent = multiplexer.try_send_to(MEMBERS, position, |_id, _error| {})?;
//! # assert_eq!(sent, 0);
//! # assert_eq!(multiplexer.channel_len(MEMBERS), Some(1));
//! # Ok::<(), stream_multiplexer::MultiplexerError>(())
//! ```
//!
//! # Disconnect a peer that is too far behind
//!
//! In a chat no line may be missing. A peer that cannot take a line is removed.
//!
//! ```
//! # use futures::{channel::mpsc, stream};
//! # use stream_multiplexer::Multiplexer;
//! # const MEMBERS: usize = 1;
//! # let multiplexer = Multiplexer::new();
//! # multiplexer.add_channel(MEMBERS)?;
//! # let (sink, _peer) = mpsc::channel(0);
//! # multiplexer.add_stream_pair(sink, stream::pending::<()>(), MEMBERS)?;
//! # multiplexer.try_send_to(MEMBERS, "first", |_, _| {})?;
//! # let line = "second";
//! multiplexer.try_send_to(MEMBERS, line, |id, error| {
//!     if error.is_full() {
//!         multiplexer.remove_stream(id);
//!     }
//! })?;
//! # assert_eq!(multiplexer.channel_len(MEMBERS), Some(0));
//! # Ok::<(), stream_multiplexer::MultiplexerError>(())
//! ```
//!
//! The closure runs after the attempt to send to that stream, with no lock held.
//!
//! # Wait with a deadline
//!
//! A job server gives a worker a second to take its job. It waits in a task of its own, and never in the loop that
//! receives.
//!
//! ```
//! # use futures::{channel::mpsc, stream};
//! # use stream_multiplexer::Multiplexer;
//! # use std::time::Duration;
//! # const WORKERS: usize = 1;
//! # #[tokio::main(flavor = "current_thread", start_paused = true)]
//! # async fn main() -> Result<(), Box<dyn std::error::Error>> {
//! # let multiplexer = Multiplexer::new();
//! # multiplexer.add_channel(WORKERS)?;
//! # let (sink, _peer) = mpsc::channel(0);
//! # let id = multiplexer.add_stream_pair(sink, stream::pending::<()>(), WORKERS)?;
//! # multiplexer.try_send(id, "a job before this one").unwrap();
//! # let job = "a job";
//! # let mut unassigned = Vec::new();
//! let mut send = multiplexer.send_one(id, job);
//! if tokio::time::timeout(Duration::from_secs(1), &mut send).await.is_err() {
//!     unassigned.extend(send.take_item()); // `None` if the sink has it
//!     multiplexer.remove_stream(id);
//! }
//! # assert_eq!(unassigned, ["a job"]);
//! # Ok(())
//! # }
//! ```
//!
//! For a send to many, [`SendMany::pending`](crate::SendMany::pending) lists the streams that it still waits for.
//!
//! # Slow everybody down
//!
//! Where every peer must get everything, and none may be dropped, the slowest sets the pace. The loop awaits the send,
//! and does not receive meanwhile. TCP then slows the senders down.
//!
//! ```
//! # use futures::{StreamExt, channel::mpsc, executor::block_on, stream};
//! # use stream_multiplexer::Multiplexer;
//! # const MEMBERS: usize = 1;
//! # let multiplexer = Multiplexer::new();
//! # multiplexer.add_channel(MEMBERS)?;
//! # let (sink, _peer) = mpsc::channel(8);
//! # multiplexer.add_stream_pair(sink, stream::iter(["a", "b"]), MEMBERS)?;
//! # multiplexer.close();
//! # let mut receiver = multiplexer.receiver(MEMBERS)?;
//! # block_on(async {
//! while let Some((_id, event)) = receiver.next().await {
//!     if let Some(line) = event.item() {
//!         let sent = multiplexer.send_to(MEMBERS, line)?.await; // a peer that stops reading stops all
//! #       assert_eq!(sent.len(), 1);
//!     }
//! }
//! # Ok::<(), stream_multiplexer::MultiplexerError>(())
//! # })?;
//! # Ok::<(), stream_multiplexer::MultiplexerError>(())
//! ```
//!
//! # On tokio
//!
//! A tokio task has a cooperative budget. After 128 reads and writes, each of its sockets returns `Pending` until the task
//! has yielded, whatever the peer does. That is harmless for a task with one socket. A loop with a thousand sockets uses up
//! the budget within one broadcast: the first 128 peers get the line, and for the others it stays in the sinks. A few lines
//! later these sinks are over their bound and return [`Full`](crate::TrySendError::Full), and a policy that disconnects slow
//! peers disconnects healthy ones. (300 members that read, 3,000 lines from one of them: 92 members were disconnected.)
//!
//! So run the loop without the budget, and let it yield by itself. A [`ChannelSelect`](crate::ChannelSelect) does, every few
//! events; for a [`ChannelReceiver`](crate::ChannelReceiver) set
//! [`yield_every`](crate::ChannelReceiver::yield_every).
//!
//! ```
//! # async fn serve() {}
//! # #[tokio::main(flavor = "current_thread")]
//! # async fn main() {
//! tokio::task::unconstrained(serve()).await;
//! # }
//! ```
//!
//! It is faster, too: at 1,000 connections a message of a broadcast took 765 instructions without the budget and 1,835 with
//! it.
//!
//! # Things to know
//!
//! - The halves of `StreamExt::split` share a lock. Such a sink also says that it is not ready while another thread polls
//!   its stream. Where several threads receive, and `Full` disconnects, use halves of their own: `FramedRead` and
//!   `FramedWrite` over `TcpStream::into_split`.
//! - What a send leaves in a sink's buffer is passed on by a [`Flusher`](crate::Flusher) when the peer takes it.
//! - A sink that fails is reported once: to the call that polled it, or by whoever flushes. From then on
//!   [`try_send`](crate::Multiplexer::try_send) returns [`Closed`](crate::TrySendError::Closed), and the sink is not
//!   polled. The stream is received from until the pair is removed.
