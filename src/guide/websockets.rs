//! WebSockets with tokio-tungstenite.
//!
//! A `WebSocketStream` is a stream and a sink of `Message`s. [`split`] it, and add the halves as a pair. The example
//! [websocket_chat] in the repository is a complete server with a login timeout, limits, handling of slow readers, and a
//! shutdown with closing frames.
//!
//! ```toml
//! [dependencies]
//! futures = "0.3"
//! tokio = { version = "1", features = ["macros", "net", "rt-multi-thread", "sync", "time"] }
//! tokio-tungstenite = "0.30"
//! ```
//!
//! The peer determines how long a handshake takes. Run the handshake in a separate task with a timeout, and add the pair in
//! that task. A connection counts for [`max_streams`](crate::ChannelOptions::max_streams) only after its handshake, so limit
//! the handshakes as well:
//!
//! ```
//! use futures::StreamExt;
//! use futures::stream::{SplitSink, SplitStream};
//! use std::sync::Arc;
//! use std::time::Duration;
//! use stream_multiplexer::Multiplexer;
//! use tokio::net::{TcpListener, TcpStream};
//! use tokio::sync::Semaphore;
//! use tokio::time::timeout;
//! use tokio_tungstenite::tungstenite::protocol::{Message, WebSocketConfig};
//! use tokio_tungstenite::{WebSocketStream, accept_async_with_config};
//!
//! type Incoming = SplitStream<WebSocketStream<TcpStream>>;
//! type Outgoing = SplitSink<WebSocketStream<TcpStream>, Message>;
//!
//! const NEWCOMERS: usize = 0;
//!
//! async fn accept(listener: TcpListener, multiplexer: Multiplexer<Incoming, Outgoing>, config: WebSocketConfig) {
//!     let handshakes = Arc::new(Semaphore::new(100));
//!     loop {
//!         let permit = Arc::clone(&handshakes).acquire_owned().await.expect("it is never closed");
//!         let Ok((socket, _)) = listener.accept().await else {
//!             tokio::time::sleep(Duration::from_millis(100)).await; // too many open files, perhaps
//!             continue;
//!         };
//!         let multiplexer = multiplexer.clone();
//!         tokio::spawn(async move {
//!             let handshake = accept_async_with_config(socket, Some(config));
//!             if let Ok(Ok(websocket)) = timeout(Duration::from_secs(3), handshake).await {
//!                 let (sink, stream) = websocket.split();
//!                 // If the channel is full, the error holds the pair, and this drops it.
//!                 let _ = multiplexer.add_stream_pair(sink, stream, NEWCOMERS);
//!             }
//!             drop(permit);
//!         });
//!     }
//! }
//! # drop(accept);
//! ```
//!
//! [Limits](crate::guide::classes#limits) shows how to send the reason to a peer that is refused.
//!
//! The loop receives whole messages. It runs in `tokio::task::unconstrained`; otherwise a broadcast to more than 128 peers
//! makes healthy sinks return `Full`, and this loop disconnects them ([why](crate::guide::slow_peers#on-tokio)).
//!
//! ```
//! # use futures::SinkExt;
//! use futures::StreamExt;
//! use stream_multiplexer::{Multiplexer, Share, StreamEvent};
//! use tokio_tungstenite::WebSocketStream;
//! use tokio_tungstenite::tungstenite::protocol::{Message, Role, WebSocketConfig};
//!
//! const MEMBERS: usize = 1;
//!
//! # #[tokio::main(flavor = "current_thread")]
//! # async fn main() -> Result<(), Box<dyn std::error::Error>> {
//! let multiplexer = Multiplexer::new();
//! multiplexer.add_channel(MEMBERS)?;
//! let mut events = multiplexer.select();
//! events.add(MEMBERS, Share::new())?;
//!
//! // Limits for one connection.
//! let config = WebSocketConfig::default()
//!     .max_message_size(Some(16 << 10))
//!     .max_frame_size(Some(16 << 10))
//!     .read_buffer_size(4 << 10)
//!     .write_buffer_size(64 << 10);
//!
//! # let (socket, peer) = tokio::io::duplex(1 << 20);
//! # let peer = tokio::spawn(async move {
//! #     let mut peer = WebSocketStream::from_raw_socket(peer, Role::Client, None).await;
//! #     peer.feed("hello".into()).await.unwrap();
//! #     peer.send(Message::Ping("are you there?".into())).await.unwrap();
//! #     let mut heard = vec![peer.next().await.unwrap().unwrap(), peer.next().await.unwrap().unwrap()];
//! #     peer.close(None).await.unwrap();
//! #     heard.push(peer.next().await.unwrap().unwrap());
//! #     assert!(peer.next().await.is_none());
//! #     heard
//! # });
//! // In place of the task that accepts.
//! let websocket = WebSocketStream::from_raw_socket(socket, Role::Server, Some(config)).await;
//! let (sink, stream) = websocket.split();
//! multiplexer.add_stream_pair(sink, stream, MEMBERS)?;
//!
//! # let mut log = Vec::new();
//! # multiplexer.close();
//! tokio::task::unconstrained(async {
//!     while let Some((_channel, id, event)) = events.next().await {
//!         match event {
//!             // A whole message, in any number of frames.
//!             StreamEvent::Item(Ok(Message::Text(text))) => {
//!                 if let Err(error) = multiplexer.try_send(id, format!("you said {text}").into()) {
//!                     if error.is_full() {
//!                         multiplexer.remove_stream(id); // the peer does not read
//!                     }
//!                 }
//! #               log.push("text");
//!             }
//!             // A ping, a pong, or a closing frame. Tungstenite answers in the next poll of the stream.
//!             StreamEvent::Item(Ok(_)) => {
//! #               log.push("control");
//!             }
//!             // Too long, not UTF-8, not WebSocket, or the connection broke. The stream yields no more messages.
//!             StreamEvent::Item(Err(_)) => drop(multiplexer.remove_stream(id)),
//!             // The stream ends or fails next. Until then it may still have to answer a closing frame.
//!             StreamEvent::SinkFailed => {}
//!             // The closing handshake is complete.
//!             StreamEvent::Ended => {
//! #               log.push("end");
//!             }
//!             StreamEvent::Moved(_) | StreamEvent::Removed => {}
//!         }
//!     }
//! })
//! .await;
//! # assert_eq!(log, ["text", "control", "control", "end"]);
//! # let heard = peer.await?;
//! # assert_eq!(heard[..2], ["you said hello".into(), Message::Pong("are you there?".into())]);
//! # assert!(heard[2].is_close());
//! # Ok(())
//! # }
//! ```
//!
//! [`split`]: https://docs.rs/futures/latest/futures/stream/trait.StreamExt.html#method.split
//! [websocket_chat]: https://github.com/halzy/stream_multiplexer/tree/HEAD/examples/websocket_chat
//!
//! # Messages
//!
//! Tungstenite joins the frames of a message: an item is a whole text or binary message. Tungstenite answers pings and
//! closing frames automatically, and also yields them. It sends the answer in the next poll of the stream, or when the
//! sink is flushed. A peer therefore receives its pong while a task receives from the peer's channel, but not while the
//! channel is [paused](crate::guide::classes#pausing).
//!
//! To detect peers that vanished without closing, send `Message::Ping` to all peers at intervals, and remove the peers that
//! have sent nothing since the last ping.
//!
//! # Limits
//!
//! | limit on | option | default |
//! |---|---|---|
//! | the length of a received message | `max_message_size` | 64 MiB |
//! | the length of a received frame | `max_frame_size` | 16 MiB |
//! | the read buffer, allocated for each connection | `read_buffer_size` | 128 KiB |
//! | the output that waits for a peer that does not read | `write_buffer_size` | 128 KiB |
//!
//! Set the first two options, which bound the memory that a peer can use. The stream yields an error for a longer
//! message, and does not read the message into memory. The program chooses the closing code for the error: 1009 for
//! `Error::Capacity`, 1007 for `Error::Utf8`, otherwise 1002.
//!
//! The sink accepts messages until more than `write_buffer_size` bytes wait and the socket accepts none of them. After that,
//! the sink is not ready until all waiting output is written, and [`try_send`](crate::Multiplexer::try_send) returns
//! [`Full`](crate::TrySendError::Full). The output in the sink is therefore
//! shorter than `write_buffer_size` plus one message. The kernel's [send
//! buffer](crate::guide::slow_peers#the-kernels-buffer) is in front of it.
//!
//! ```
//! # use futures::{StreamExt, stream::SplitSink};
//! # use stream_multiplexer::{Multiplexer, TrySendError};
//! # use tokio_tungstenite::WebSocketStream;
//! # use tokio_tungstenite::tungstenite::protocol::{Message, Role, WebSocketConfig};
//! # #[tokio::main(flavor = "current_thread")]
//! # async fn main() -> Result<(), Box<dyn std::error::Error>> {
//! # let multiplexer = Multiplexer::new();
//! # multiplexer.add_channel(1)?;
//! // The socket itself takes 1,000 bytes, and the peer reads none.
//! let (socket, _peer) = tokio::io::duplex(1_000);
//! let config = WebSocketConfig::default().write_buffer_size(4_000);
//! let websocket = WebSocketStream::from_raw_socket(socket, Role::Server, Some(config)).await;
//! let (sink, stream) = websocket.split();
//! let id = multiplexer.add_stream_pair(sink, stream, 1)?;
//!
//! let mut sent = 0;
//! let full = loop {
//!     match multiplexer.try_send(id, Message::binary(vec![0; 96])) { // and a head of two bytes
//!         Ok(()) => sent += 98,
//!         Err(error) => break error,
//!     }
//! };
//! assert!(full.is_full());
//! assert!((4_000..=5_200).contains(&sent), "{sent}");
//! # Ok(())
//! # }
//! ```
//!
//! The halves of `split` share a lock. If several threads receive, see the
//! [note](crate::guide::slow_peers#things-to-know) on `Full`.
//!
//! # Closing
//!
//! Either side sends a closing frame, and the other side answers with its own. The server then closes the connection.
//!
//! - **The peer closes.** The stream yields `Message::Close`. Keep receiving: the next poll sends the answer, and the stream
//!   ends. From the closing frame on, sends to this peer fail. Do not remove the pair because of this error, or the peer
//!   receives no answer. Remove the pair only when a send returns [`Full`](crate::TrySendError::Full).
//! - **The server closes.** Send `Message::Close` with a code and a reason as the last message, and keep receiving until the
//!   stream ends. Set a deadline, because a peer may not answer, and then [remove](crate::Multiplexer::remove_stream) the
//!   pair. Or call [`close_sink`](crate::Multiplexer::close_sink), which flushes the sink and sends a closing frame if none was
//!   sent. [`close_stream`](crate::Multiplexer::close_stream) does not wait for the answer.
//! - **The server shuts down.** Send `Message::Close`, optionally with a code and a reason, to each channel with
//!   [`try_send_to`](crate::Multiplexer::try_send_to). Then call [`shutdown`](crate::guide::shutdown) with `keep_streams`,
//!   which gives the peers time to answer. (Without this message, `shutdown` sends a closing frame without a reason.)
//!
//! After a message that was too long, the stream yields no more messages, although the peer may still be sending. To
//! let the peer read the reason, remove the pair from the multiplexer, send the closing frame, shut down the socket,
//! and keep reading for a second or two. `dismiss` in the example does this in a separate task.
