//! WebSockets, with tokio-tungstenite.
//!
//! A `WebSocketStream` is a stream and a sink of `Message`s. [`split`] it, and add the halves as a pair. The example
//! `websocket_chat` in the repository is a whole server: a login timeout, limits, slow readers, and a shutdown with closing
//! frames.
//!
//! ```toml
//! [dependencies]
//! futures = "0.3"
//! tokio = { version = "1", features = ["macros", "net", "rt-multi-thread", "time"] }
//! tokio-tungstenite = "0.30"
//! ```
//!
//! A handshake takes as long as the peer likes. So it runs in a task of its own, with a timeout, and that task adds the
//! pair:
//!
//! ```
//! use futures::StreamExt;
//! use futures::stream::{SplitSink, SplitStream};
//! use std::time::Duration;
//! use stream_multiplexer::Multiplexer;
//! use tokio::net::{TcpListener, TcpStream};
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
//!     loop {
//!         let Ok((socket, _)) = listener.accept().await else {
//!             tokio::time::sleep(Duration::from_millis(100)).await; // too many open files, perhaps
//!             continue;
//!         };
//!         let multiplexer = multiplexer.clone();
//!         tokio::spawn(async move {
//!             let handshake = accept_async_with_config(socket, Some(config));
//!             if let Ok(Ok(websocket)) = timeout(Duration::from_secs(3), handshake).await {
//!                 let (sink, stream) = websocket.split();
//!                 let _ = multiplexer.add_stream_pair(sink, stream, NEWCOMERS);
//!             }
//!         });
//!     }
//! }
//! # drop(accept);
//! ```
//!
//! The loop receives whole messages:
//!
//! ```
//! use futures::{SinkExt, StreamExt};
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
//! // What one connection may cost.
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
//! let websocket = WebSocketStream::from_raw_socket(socket, Role::Server, Some(config)).await;
//! let (sink, stream) = websocket.split();
//! multiplexer.add_stream_pair(sink, stream, MEMBERS)?;
//!
//! # let mut log = Vec::new();
//! # multiplexer.close();
//! while let Some((_channel, id, event)) = events.next().await {
//!     match event {
//!         // A whole message, however many frames it came in.
//!         StreamEvent::Item(Ok(Message::Text(text))) => {
//!             if let Err(error) = multiplexer.try_send(id, format!("you said {text}").into()) {
//!                 if error.is_full() {
//!                     multiplexer.remove_stream(id); // it does not read
//!                 }
//!             }
//! #           log.push("text");
//!         }
//!         // A ping, a pong, or the peer's closing. Tungstenite answers, when the stream is polled next.
//!         StreamEvent::Item(Ok(_)) => {
//! #           log.push("control");
//!         }
//!         // Too long, not UTF-8, no WebSocket, or the connection broke. Nothing more comes.
//!         StreamEvent::Item(Err(_)) => drop(multiplexer.remove_stream(id)),
//!         // Its stream ends or fails next.
//!         StreamEvent::SinkFailed => {}
//!         // The handshake of the closing is done.
//!         StreamEvent::Ended => {
//! #           log.push("end");
//!         }
//!         StreamEvent::Moved(_) | StreamEvent::Removed => {}
//!     }
//! }
//! # assert_eq!(log, ["text", "control", "control", "end"]);
//! # let heard = peer.await?;
//! # assert_eq!(heard[..2], ["you said hello".into(), Message::Pong("are you there?".into())]);
//! # assert!(heard[2].is_close());
//! # Ok(())
//! # }
//! ```
//!
//! [`split`]: https://docs.rs/futures/latest/futures/stream/trait.StreamExt.html#method.split
//!
//! # Messages
//!
//! Tungstenite puts the frames of a message together: an item is a whole text or binary message. It answers pings and the
//! peer's closing by itself, and yields both. The answer goes out when the stream is polled next, or the sink is flushed. So
//! a peer gets its pong while somebody receives from its channel, and none while that is
//! [paused](crate::guide::classes#pausing).
//!
//! To find peers that vanished without closing, send `Message::Ping` to all at intervals, and remove those that have sent
//! nothing since the last ping.
//!
//! # Limits
//!
//! | what | set by | default |
//! |---|---|---|
//! | a message that comes | `max_message_size` | 64 MiB |
//! | a frame of it | `max_frame_size` | 16 MiB |
//! | what is read ahead, allocated for each connection | `read_buffer_size` | 128 KiB |
//! | what waits for a peer that does not read | `write_buffer_size` | 128 KiB |
//!
//! The first two bound the memory that a peer can take: set them. A message that is longer comes as an error, and is not read
//! into memory. For the error the program chooses the closing code: 1009 for `Error::Capacity`, 1007 for `Error::Utf8`, else
//! 1002.
//!
//! The sink takes messages until more than `write_buffer_size` bytes wait and the socket takes none of them. Then it is not
//! ready until all of that is written, and [`try_send`](crate::Multiplexer::try_send) returns
//! [`Full`](crate::TrySendError::Full). So what waits is less than that and one more message.
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
//! The halves of `split` share a lock: where several threads receive, see the [remark](crate::guide::slow_peers#things-to-know)
//! on `Full`.
//!
//! # Closing
//!
//! Either side sends a closing frame, and the other one answers with its own. Then the server ends the connection.
//!
//! - **The peer closes.** `Message::Close` comes as an item. Keep receiving: the answer goes out with the next poll, and the
//!   stream ends. From then on a send to this peer fails. Do not remove the pair because of that error, or the peer gets no
//!   answer: remove it only when a send is [`Full`](crate::TrySendError::Full).
//! - **We close.** Send `Message::Close` with a code and a reason, as the last message, and receive on until the stream ends.
//!   Give it a deadline, and [remove](crate::Multiplexer::remove_stream) the pair then: a peer need not answer. Or
//!   [`close_sink`](crate::Multiplexer::close_sink), which flushes, and sends a closing frame if none was sent.
//!   [`close_stream`](crate::Multiplexer::close_stream) does not await the answer.
//! - **All close.** Send `Message::Close` to each channel by [`try_send_to`](crate::Multiplexer::try_send_to), with a code and
//!   a reason if you like. Then call [`shutdown`](crate::guide::shutdown) with `keep_streams`, which gives the peers the
//!   time to answer. (Without that message, `shutdown` sends a closing frame without a reason.)
//!
//! After a message that was too long the stream yields nothing more, though the peer may still be sending it. To let the peer
//! read why, take the pair out, send the closing frame, shut the socket down, and read for another second or two what comes.
//! `dismiss` in the example does that, in a task of its own.
