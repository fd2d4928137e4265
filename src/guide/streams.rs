//! Streams of several types, accept loops, timers, streams that are not `Send`, worker pools, and panics.
//!
//! # Streams of several types
//!
//! All streams of a multiplexer have one type. `Pin<Box<dyn Stream<Item = T> + Send>>` can hold any stream:
//!
//! ```
//! use futures::{Stream, StreamExt, executor::block_on, stream};
//! use std::pin::Pin;
//! use stream_multiplexer::Multiplexer;
//!
//! type Boxed = Pin<Box<dyn Stream<Item = String> + Send>>;
//!
//! # fn main() -> Result<(), Box<dyn std::error::Error>> {
//! let multiplexer = Multiplexer::<Boxed>::without_sinks();
//! multiplexer.add_channel(1)?;
//! multiplexer.add_stream(stream::iter(["a line"]).map(str::to_owned).boxed(), 1)?;
//! multiplexer.add_stream(stream::once(async { 7 }).map(|number| number.to_string()).boxed(), 1)?;
//! # multiplexer.close();
//! # let items = block_on(async {
//! #     multiplexer.receiver(1).unwrap().filter_map(|(_, event)| async { event.item() }).collect::<Vec<_>>().await
//! # });
//! # assert_eq!(items, ["a line", "7"]);
//! # Ok(())
//! # }
//! ```
//!
//! The box costs one allocation per stream and an indirect call per poll. For sinks, use
//! `Pin<Box<dyn Sink<T, Error = E> + Send>>`.
//!
//! # An accept loop as a member
//!
//! A listener is a stream of connections. With an enum as the item type, one loop receives both new connections and the
//! messages of existing ones. If the listener has its own channel, admission is a class like any other.
//!
//! ```
//! use futures::{Stream, StreamExt, stream};
//! use std::pin::Pin;
//! use stream_multiplexer::Multiplexer;
//! use tokio::net::{TcpListener, TcpStream};
//! use tokio_util::codec::{FramedRead, LinesCodec, LinesCodecError};
//!
//! enum Incoming {
//!     Connection(TcpStream),
//!     Line(Result<String, LinesCodecError>),
//! }
//!
//! const LISTENERS: usize = 0;
//! const CLIENTS: usize = 1;
//!
//! # #[tokio::main(flavor = "current_thread")]
//! # async fn main() -> Result<(), Box<dyn std::error::Error>> {
//! let multiplexer = Multiplexer::<Pin<Box<dyn Stream<Item = Incoming> + Send>>>::without_sinks();
//! multiplexer.add_channel(LISTENERS)?;
//! multiplexer.add_channel(CLIENTS)?;
//!
//! let listener = TcpListener::bind("127.0.0.1:0").await?;
//! # let address = listener.local_addr()?;
//! let connections = stream::unfold(listener, |listener| async {
//!     let accepted = listener.accept().await; // a real server sleeps briefly after an error
//!     Some((accepted, listener))
//! });
//! let connections = connections.filter_map(|accepted| async { Some(Incoming::Connection(accepted.ok()?.0)) });
//! multiplexer.add_stream(connections.boxed(), LISTENERS)?;
//!
//! # tokio::spawn(async move {
//! #     let mut client = TcpStream::connect(address).await.unwrap();
//! #     tokio::io::AsyncWriteExt::write_all(&mut client, b"hello\n").await.unwrap();
//! # });
//! loop {
//!     let event = tokio::select! {
//!         event = multiplexer.recv(CLIENTS) => event?,
//!         event = multiplexer.recv(LISTENERS) => event?,
//!     };
//!     match event {
//!         (_, Some(Incoming::Connection(connection))) => {
//!             let lines = FramedRead::new(connection, LinesCodec::new_with_max_length(1024));
//!             multiplexer.add_stream(lines.map(Incoming::Line).boxed(), CLIENTS)?;
//!         }
//!         (id, Some(Incoming::Line(line))) => {
//!             println!("{id}: {line:?}");
//! #           assert_eq!(line?, "hello");
//! #           break;
//!         }
//!         (_id, None) => {} // the stream left
//!     }
//! }
//! # Ok(())
//! # }
//! ```
//!
//! # Timers as members
//!
//! The crate has no timers. Add a stream of ticks as a member, for example `tokio_stream::wrappers::IntervalStream`, or a
//! stream like this one:
//!
//! ```
//! use futures::{Stream, StreamExt, stream};
//! use std::{pin::Pin, time::Duration};
//! use stream_multiplexer::Multiplexer;
//!
//! #[derive(Debug, PartialEq)]
//! enum Event {
//!     Line(&'static str),
//!     Tick,
//! }
//!
//! # #[tokio::main(flavor = "current_thread", start_paused = true)]
//! # async fn main() -> Result<(), Box<dyn std::error::Error>> {
//! let multiplexer = Multiplexer::<Pin<Box<dyn Stream<Item = Event>>>>::without_sinks();
//! multiplexer.add_channel(1)?;
//! let interval = tokio::time::interval(Duration::from_secs(10));
//! let ticks = stream::unfold(interval, |mut interval| async {
//!     interval.tick().await;
//!     Some((Event::Tick, interval))
//! });
//! let clock = multiplexer.add_stream(ticks.boxed_local(), 1)?;
//! assert_eq!(multiplexer.recv(1).await?, (clock, Some(Event::Tick)));
//! assert_eq!(multiplexer.recv(1).await?, (clock, Some(Event::Tick)));
//! # Ok(())
//! # }
//! ```
//!
//! # Streams that stay in their thread
//!
//! Streams and sinks need not be `Send`. The multiplexer is then not `Send` either. Use it on a `LocalSet`, on a `LocalPool`
//! or in `block_on`:
//!
//! ```
//! use futures::{StreamExt, stream};
//! use std::rc::Rc;
//! use stream_multiplexer::Multiplexer;
//!
//! # #[tokio::main(flavor = "current_thread")]
//! # async fn main() {
//! let local = tokio::task::LocalSet::new();
//! local
//!     .run_until(async {
//!         let multiplexer = Multiplexer::without_sinks();
//!         multiplexer.add_channel(1).unwrap();
//!         multiplexer.add_stream(stream::iter([Rc::new("only here")]), 1).unwrap();
//!         let receive = multiplexer.clone();
//!         let received = tokio::task::spawn_local(async move { receive.recv(1).await.unwrap().1 });
//!         assert_eq!(received.await.unwrap().as_deref(), Some(&"only here"));
//!     })
//!     .await;
//! # }
//! ```
//!
//! # A pool of workers
//!
//! A channel may have several receivers, each in its own task. Each event is yielded by one of them. The items of one stream
//! are *received* in order, but two workers may *handle* them out of order. If order matters, let one task receive, and pass
//! each item to the worker of its stream.
//!
//! ```
//! use futures::{StreamExt, stream};
//! use stream_multiplexer::{Multiplexer, StreamEvent};
//!
//! # #[tokio::main(flavor = "multi_thread", worker_threads = 2)]
//! # async fn main() -> Result<(), Box<dyn std::error::Error>> {
//! let multiplexer = Multiplexer::without_sinks();
//! multiplexer.add_channel(1)?;
//! for _ in 0..10 {
//!     multiplexer.add_stream(stream::iter(0..100_u64), 1)?;
//! }
//! multiplexer.close(); // no more streams: the receivers end when all have ended
//!
//! let mut workers = Vec::new();
//! for _ in 0..4 {
//!     let mut receiver = multiplexer.receiver(1)?;
//!     workers.push(tokio::spawn(async move {
//!         let mut sum = 0;
//!         while let Some((_id, event)) = receiver.next().await {
//!             if let StreamEvent::Item(number) = event {
//!                 sum += number;
//!             }
//!         }
//!         sum
//!     }));
//! }
//! let mut sum = 0;
//! for worker in workers {
//!     sum += worker.await?;
//! }
//! assert_eq!(sum, 10 * 4950);
//! # Ok(())
//! # }
//! ```
//!
//! # Panics
//!
//! A panic in the poll of a stream propagates to the receiving task. The multiplexer removes the pair. The multiplexer, the
//! receiver and all other streams remain usable: catch the panic in the loop and continue, or spawn the task again.
//!
//! ```
//! use futures::{FutureExt, StreamExt, executor::block_on, stream};
//! use std::panic::AssertUnwindSafe;
//! use stream_multiplexer::{Multiplexer, StreamEvent};
//!
//! # fn main() -> Result<(), Box<dyn std::error::Error>> {
//! # std::panic::set_hook(Box::new(|_| {}));
//! let multiplexer = Multiplexer::without_sinks();
//! multiplexer.add_channel(1)?;
//! let faulty = stream::iter([1, 0]).map(|number| 10 / number); // divides by zero
//! let id = multiplexer.add_stream(faulty, 1)?;
//!
//! let mut receiver = multiplexer.receiver(1)?;
//! block_on(async {
//!     assert_eq!(receiver.next().await, Some((id, StreamEvent::Item(10))));
//!     assert!(AssertUnwindSafe(receiver.next()).catch_unwind().await.is_err());
//!     assert_eq!(receiver.next().await, Some((id, StreamEvent::Removed)));
//! });
//! # Ok(())
//! # }
//! ```
