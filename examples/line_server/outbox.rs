//! What waits to be written to one client.

use crate::log;
use crate::protocol::Connections;
use futures::SinkExt;
use std::convert::Infallible;
use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;
use stream_multiplexer::{SendError, StreamId};
use tokio::sync::{Notify, mpsc, oneshot};
use tokio::time::timeout;
use tokio_util::codec::LinesCodecError;

/// A client with more than this to read is behind. In bytes, as the next; what is in its socket's buffers
/// comes on top.
pub(crate) const BEHIND: usize = 64 * 1024;
/// A client cannot be further behind than this.
const TOO_FAR_BEHIND: usize = 4 * 1024 * 1024;
/// How long a client that is written to may take nothing.
const PATIENCE: Duration = Duration::from_secs(10);
/// How long a client that leaves may take to read its last lines.
pub(crate) const LINGER: Duration = Duration::from_secs(5);

/// A line on its way to any number of clients.
pub(crate) type Line = Arc<str>;

/// Held as long as an outbox is written. Never sent.
pub(crate) type Written = Infallible;

/// The lines that one client has still to get, in order. A task of its own writes them.
///
/// When the outbox is dropped, that task writes what is left and closes the client's stream. When it cannot
/// write, it removes the stream, and the channel tells so.
#[derive(Debug)]
pub(crate) struct Outbox {
    lines: mpsc::UnboundedSender<Line>,
    backlog: Arc<AtomicUsize>,
    /// Dropped with the outbox: then [`LINGER`] begins.
    _open: oneshot::Sender<Infallible>,
}

/// A client has [`TOO_FAR_BEHIND`] bytes to read.
#[derive(Debug)]
pub(crate) struct TooFarBehind;

impl Outbox {
    /// Notifies `caught_up` whenever nobody need wait for this client any more, and drops `written` at the
    /// end.
    pub(crate) fn open(
        connections: Connections,
        id: StreamId,
        caught_up: Arc<Notify>,
        written: mpsc::Sender<Written>,
    ) -> Self {
        let (lines, queue) = mpsc::unbounded_channel();
        let (open, dropped) = oneshot::channel();
        let backlog = Arc::default();
        let writer = Writer { connections, id, queue, backlog: Arc::clone(&backlog), caught_up };
        tokio::spawn(writer.run(dropped, written));
        Self { lines, backlog, _open: open }
    }

    pub(crate) fn post(&self, line: Line) -> Result<(), TooFarBehind> {
        let cost = cost(&line);
        if self.backlog() + cost > TOO_FAR_BEHIND {
            return Err(TooFarBehind);
        }
        self.backlog.fetch_add(cost, Ordering::Relaxed);
        if self.lines.send(line).is_err() {
            // Nobody writes any more: the stream was removed, and the room will hear of that.
            self.backlog.store(0, Ordering::Relaxed);
        }
        Ok(())
    }

    /// In bytes.
    pub(crate) fn backlog(&self) -> usize {
        self.backlog.load(Ordering::Relaxed)
    }
}

/// The task of an outbox.
struct Writer {
    connections: Connections,
    id: StreamId,
    queue: mpsc::UnboundedReceiver<Line>,
    backlog: Arc<AtomicUsize>,
    caught_up: Arc<Notify>,
}

/// Why a client cannot be written to.
enum Failure {
    TakesNothing,
    Sink(SendError<LinesCodecError>),
}

impl Writer {
    async fn run(mut self, dropped: oneshot::Receiver<Infallible>, written: mpsc::Sender<Written>) {
        let id = self.id;
        tokio::select! {
            result = self.write() => match result {
                Ok(()) | Err(Failure::Sink(SendError::UnknownStream(_) | SendError::Unflushed(_))) => {}
                Err(failure) => log(format_args!("client {id}: {failure}")),
            },
            () = overdue(dropped) => log(format_args!("client {id}: did not read its last lines")),
        }
        drop(self.connections.remove_stream(id));
        // Nobody need wait for it. Else the room might not ask the channel that tells of the removal.
        self.queue.close();
        self.backlog.store(0, Ordering::Relaxed);
        self.caught_up.notify_one();
        drop(written);
    }

    /// Writes all lines, and closes the stream. Flushes when there is no other line to write at once.
    async fn write(&mut self) -> Result<(), Failure> {
        let Ok(mut client) = self.connections.sender(self.id) else { return Ok(()) };
        while let Some(line) = self.queue.recv().await {
            let cost = cost(&line);
            in_time(client.feed(line)).await?;
            self.pay_off(cost);
            if self.queue.is_empty() {
                in_time(client.flush()).await?;
            }
        }
        in_time(self.connections.close_stream::<Line>(self.id)).await
    }

    fn pay_off(&self, cost: usize) {
        let backlog = self.backlog.fetch_sub(cost, Ordering::Relaxed);
        if backlog > BEHIND && backlog - cost <= BEHIND {
            self.caught_up.notify_one();
        }
    }
}

async fn in_time(
    sending: impl Future<Output = Result<(), SendError<LinesCodecError>>>,
) -> Result<(), Failure> {
    match timeout(PATIENCE, sending).await {
        Ok(sent) => sent.map_err(Failure::Sink),
        Err(_) => Err(Failure::TakesNothing),
    }
}

async fn overdue(dropped: oneshot::Receiver<Infallible>) {
    let _ = dropped.await;
    tokio::time::sleep(LINGER).await;
}

/// With what the queue needs for it.
fn cost(line: &Line) -> usize {
    line.len() + size_of::<Line>()
}

impl fmt::Display for TooFarBehind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "reads too slowly: it is more than {TOO_FAR_BEHIND} bytes behind")
    }
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::TakesNothing => write!(f, "has read nothing for {PATIENCE:?}"),
            Self::Sink(SendError::Sink { error, .. }) => write!(f, "cannot be written to: {error}"),
            Self::Sink(error) => write!(f, "cannot be written to: {error}"),
        }
    }
}
