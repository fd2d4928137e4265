//! The servers. Each line costs the same work. Lines of paying clients are answered.

use crate::{MEASURED, Outcome, WARM_UP};
use futures::StreamExt;
use std::collections::HashSet;
use std::hint::black_box;
use std::net::TcpListener;
use std::num::NonZeroU32;
use std::process::Child;
use std::sync::{Arc, Mutex};
use std::thread;
use std::time::Instant;
use stream_multiplexer::{Multiplexer, Share, StreamEvent};
use tokio::io::AsyncWriteExt;
use tokio::net::tcp::{OwnedReadHalf, OwnedWriteHalf};
use tokio::sync::oneshot;
use tokio_util::codec::{FramedRead, FramedWrite, LinesCodec};

#[derive(Clone, Copy, PartialEq)]
pub(crate) enum Kind {
    Unloaded,
    OneChannel,
    TaskPerConnection,
    Priority,
    Weights,
}

impl Kind {
    pub(crate) const ALL: [Self; 5] =
        [Self::Unloaded, Self::OneChannel, Self::TaskPerConnection, Self::Priority, Self::Weights];

    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Unloaded => "unloaded",
            Self::OneChannel => "one channel",
            Self::TaskPerConnection => "task per connection",
            Self::Priority => "priority",
            Self::Weights => "weights 10 : 1",
        }
    }

    /// Whether the free clients send.
    pub(crate) fn is_loaded(self) -> bool {
        self != Self::Unloaded
    }
}

#[derive(Clone, Copy, PartialEq)]
enum Class {
    Paying,
    Free,
}

const PAYING: usize = Class::Paying as usize;
const FREE: usize = Class::Free as usize;
const ANSWER: &str = "done";

/// Lines per second, and the output of the clients.
pub(crate) struct Lines {
    pub(crate) output: String,
    pub(crate) per_second: [f64; 2],
}

/// A server with a listening port for each class.
pub(crate) struct Server {
    kind: Kind,
    listeners: [TcpListener; 2],
}

pub(crate) fn listen(kind: Kind) -> Outcome<Server> {
    Ok(Server { kind, listeners: [TcpListener::bind("127.0.0.1:0")?, TcpListener::bind("127.0.0.1:0")?] })
}

impl Server {
    pub(crate) fn paying_port(&self) -> u16 {
        port(&self.listeners[PAYING])
    }

    pub(crate) fn free_port(&self) -> u16 {
        port(&self.listeners[FREE])
    }

    /// Serves until the clients' process has ended.
    pub(crate) fn until_exit(self, clients: Child, yield_every: Option<NonZeroU32>) -> Outcome<Lines> {
        let (ended, exit) = oneshot::channel();
        let waits = thread::spawn(move || {
            let output = clients.wait_with_output();
            let _ = ended.send(());
            output
        });
        let count = Arc::new(Mutex::new(Count::default()));
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
        runtime.block_on(async {
            tokio::select! {
                served = serve(self, yield_every, Arc::clone(&count)) => served,
                _ = exit => Ok(()),
            }
        })?;
        drop(runtime);
        let output = waits.join().map_err(|_| "the thread has panicked")??;
        if !output.status.success() {
            return Err("the clients have failed".into());
        }
        let per_second = count.lock().map_err(|_| "a task has panicked")?.per_second();
        Ok(Lines { output: String::from_utf8(output.stdout)?, per_second })
    }
}

fn port(listener: &TcpListener) -> u16 {
    listener.local_addr().expect("it is bound").port()
}

async fn serve(server: Server, yield_every: Option<NonZeroU32>, count: Arc<Mutex<Count>>) -> Outcome<()> {
    let Server { kind, listeners } = server;
    for listener in &listeners {
        listener.set_nonblocking(true)?;
    }
    let [paying, free] = listeners.map(tokio::net::TcpListener::from_std);
    let listeners = [paying?, free?];
    match kind {
        Kind::TaskPerConnection => serve_in_tasks(&listeners, &count).await,
        Kind::OneChannel => multiplex(listeners, &count, yield_every, &[Share::new()]).await,
        Kind::Unloaded | Kind::Priority => {
            multiplex(listeners, &count, yield_every, &[Share::new(), Share::new().priority(1)]).await
        }
        Kind::Weights => {
            multiplex(listeners, &count, yield_every, &[Share::new().weight(10), Share::new()]).await
        }
    }
}

/// One loop for all clients, with a channel for each share, or one channel for both classes.
async fn multiplex(
    listeners: [tokio::net::TcpListener; 2],
    count: &Mutex<Count>,
    yield_every: Option<NonZeroU32>,
    shares: &[Share],
) -> Outcome<()> {
    let multiplexer =
        Multiplexer::<FramedRead<OwnedReadHalf, LinesCodec>, FramedWrite<OwnedWriteHalf, LinesCodec>>::new();
    let mut events = multiplexer.select();
    events.yield_every(yield_every);
    for (channel, share) in shares.iter().enumerate() {
        multiplexer.add_channel(channel)?;
        events.add(channel, *share)?;
    }
    let mut paying = HashSet::new();
    let mut accepted = futures::stream::select(accept(&listeners[PAYING]), accept(&listeners[FREE]));
    loop {
        let (id, event) = tokio::select! {
            Some((connection, port)) = accepted.next() => {
                let class = if port == listeners[PAYING].local_addr()?.port() { PAYING } else { FREE };
                let (read, write) = connection.into_split();
                let stream = FramedRead::new(read, LinesCodec::new());
                let sink = FramedWrite::new(write, LinesCodec::new());
                let id = multiplexer.add_stream_pair(sink, stream, class.min(shares.len() - 1))?;
                if class == PAYING {
                    paying.insert(id);
                    begin(count);
                }
                continue;
            }
            Some((_channel, id, event)) = events.next() => (id, event),
            else => return Ok(()),
        };
        if let StreamEvent::Item(Ok(line)) = event {
            let class = if paying.contains(&id) { Class::Paying } else { Class::Free };
            work(&line);
            record(count, class);
            if class == Class::Paying {
                let _ = multiplexer.try_send(id, ANSWER);
            }
        }
    }
}

/// The connections of a listener, each with its local port.
fn accept(
    listener: &tokio::net::TcpListener,
) -> impl futures::Stream<Item = (tokio::net::TcpStream, u16)> + Unpin {
    Box::pin(futures::stream::unfold(listener, |listener| async move {
        let (connection, _) = listener.accept().await.ok()?;
        let _ = connection.set_nodelay(true);
        let port = connection.local_addr().ok()?.port();
        Some(((connection, port), listener))
    }))
}

async fn serve_in_tasks(listeners: &[tokio::net::TcpListener; 2], count: &Arc<Mutex<Count>>) -> Outcome<()> {
    loop {
        let (class, accepted) = tokio::select! {
            accepted = listeners[PAYING].accept() => (Class::Paying, accepted),
            accepted = listeners[FREE].accept() => (Class::Free, accepted),
        };
        let (connection, _) = accepted?;
        connection.set_nodelay(true)?;
        if class == Class::Paying {
            begin(count);
        }
        let count = Arc::clone(count);
        tokio::spawn(async move {
            let (read, mut write) = connection.into_split();
            let mut lines = FramedRead::new(read, LinesCodec::new());
            while let Some(Ok(line)) = lines.next().await {
                work(&line);
                record(&count, class);
                if class == Class::Paying && write.write_all(b"done\n").await.is_err() {
                    return;
                }
                // Otherwise a task continues while there are lines in its buffer, and answers take seconds.
                tokio::task::yield_now().await;
            }
        });
    }
}

/// The work for a line: about eight microseconds of hashing.
fn work(line: &str) {
    let mut hash = 0xcbf2_9ce4_8422_2325_u64;
    for _ in 0..200 {
        for byte in line.bytes() {
            hash = (hash ^ u64::from(byte)).wrapping_mul(0x0000_0100_0000_01b3);
        }
    }
    black_box(hash);
}

/// The lines of each class during the measurement.
#[derive(Default)]
struct Count {
    begin: Option<Instant>,
    lines: [u32; 2],
}

impl Count {
    fn per_second(&self) -> [f64; 2] {
        self.lines.map(|lines| f64::from(lines) / MEASURED.as_secs_f64())
    }
}

/// A paying client has connected. Paying clients connect last.
fn begin(count: &Mutex<Count>) {
    let mut count = count.lock().expect("nothing panics under this lock");
    count.begin.get_or_insert_with(|| Instant::now() + WARM_UP);
}

fn record(count: &Mutex<Count>, class: Class) {
    let mut count = count.lock().expect("nothing panics under this lock");
    let now = Instant::now();
    if count.begin.is_some_and(|begin| (begin..begin + MEASURED).contains(&now)) {
        count.lines[class as usize] += 1;
    }
}
