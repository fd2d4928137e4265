//! Four policies for a peer that does not read.
//!
//! A peer that does not read must not block the others. A receiving loop should therefore not await a send.
//! [`try_send`](crate::Multiplexer::try_send) and [`try_send_to`](crate::Multiplexer::try_send_to) never wait. The crate
//! buffers no items. Set on the sink how much may wait for one peer:
//!
//! | sink | bound |
//! |---|---|
//! | `Framed`, `FramedWrite` of tokio-util | `set_backpressure_boundary(bytes)`, 8 KiB by default |
//! | any sink, by `SinkExt::buffer(items)` of futures | the number of items |
//! | `WebSocketStream` of tokio-tungstenite | `WebSocketConfig::write_buffer_size(bytes)`, 128 KiB by default, and [one more message](super::websockets#limits) |
//! | `mpsc::channel(items)` of futures | the number of items |
//!
//! Beyond this bound the sink is not ready, and the send returns [`Full`](crate::TrySendError::Full) with the item. The
//! program then applies its policy.
//!
//! In these examples `multiplexer` has a channel `MEMBERS`, and `id` is a stream in that channel.
//!
//! # The kernel's buffer
//!
//! A socket has a send buffer in the kernel, in front of the sink. Linux lets it grow to megabytes for each TCP connection,
//! and a sink is full only after that buffer is. In a test over loopback, 2.9 MB were sent to a peer that did not read
//! before a sink with 64 KiB was full. To bound it as well, call `TcpSocket::set_send_buffer_size` before `listen`: accepted
//! connections inherit the size. The example `line_server` does this.
//!
//! # Drop the item
//!
//! A game sends positions. If a peer cannot take a position, drop it: the next position replaces it anyway.
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
//! In a chat no line may be missing. Remove a peer that cannot take a line.
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
//! The closure runs after the failed send to that stream, with no lock held.
//!
//! # Wait with a deadline
//!
//! A job server gives a worker one second to take its job. Wait in a separate task, and never in the receiving loop.
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
//!     unassigned.extend(send.take_item()); // `None` if the sink has the job
//!     multiplexer.remove_stream(id);
//! }
//! # assert_eq!(unassigned, ["a job"]);
//! # Ok(())
//! # }
//! ```
//!
//! For a send to many streams, [`SendMany::pending`](crate::SendMany::pending) lists the streams that the send still waits
//! for.
//!
//! # Slow all peers down
//!
//! If every peer must receive every item, and no peer may be disconnected, the slowest peer sets the pace. The loop awaits
//! the send and does not receive in the meantime. TCP then slows the senders down.
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
//!         let sent = multiplexer.send_to(MEMBERS, line)?.await; // a peer that stops reading stops all peers
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
//! A tokio task has a cooperative budget. After 128 reads and writes, all sockets of the task return `Poll::Pending`
//! until the task has yielded, whatever the peers do. This is harmless for a task with one socket. A loop with a
//! thousand sockets uses up the budget within one broadcast: the first 128 peers receive the line, and for the other
//! peers the line stays in their sinks. A few lines later these sinks exceed their bound and return
//! [`Full`](crate::TrySendError::Full), and a policy that disconnects slow peers disconnects healthy peers. (In a test
//! with 300 members that read, and 3,000 lines from one of them, 92 members were disconnected.)
//!
//! Run the loop without the budget, and let the loop yield. A [`ChannelSelect`](crate::ChannelSelect) yields every few
//! events. On a [`ChannelReceiver`](crate::ChannelReceiver), set [`yield_every`](crate::ChannelReceiver::yield_every).
//!
//! ```
//! # async fn serve() {}
//! # #[tokio::main(flavor = "current_thread")]
//! # async fn main() {
//! tokio::task::unconstrained(serve()).await;
//! # }
//! ```
//!
//! The loop also takes fewer instructions without the budget: at 1,000 connections 765 for a message of a broadcast, and 1,835
//! with it.
//!
//! # Things to know
//!
//! - The halves of `StreamExt::split` share a lock. A sink that is such a half is also not ready while another thread polls
//!   its stream. If several threads receive, and the program disconnects on `Full`, use independent halves: `FramedRead` and
//!   `FramedWrite` over `TcpStream::into_split`.
//! - Items that a send leaves in a sink's buffer are flushed by a [`ChannelSelect`](crate::ChannelSelect) or a
//!   [`Flusher`](crate::Flusher) when the peer can take them.
//! - The failure of a sink is reported once: by the call that polled the sink, or by the select or `Flusher` that flushed it.
//!   After that, [`try_send`](crate::Multiplexer::try_send) returns [`Closed`](crate::TrySendError::Closed), and the sink is
//!   not polled. The multiplexer keeps receiving from the stream until the pair is removed.
