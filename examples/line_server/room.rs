//! The room: its members, and the handling of their lines.

use crate::log;
use crate::protocol::{Connections, Incoming, Line, Outgoing, Read, frame, parse_login};
use futures::{FutureExt, StreamExt};
use std::collections::BTreeMap;
use std::future::poll_fn;
use std::io;
use std::pin::pin;
use std::task::Poll;
use std::time::Duration;
use stream_multiplexer::StreamEvent::{self, Ended, Item, Moved, Removed, SinkFailed};
use stream_multiplexer::{ChannelOptions, ChannelSelect, SendError, Share, StreamId, TrySendError};
use tokio::net::TcpListener;
use tokio::time::{sleep, timeout};
use tokio_util::codec::LinesCodecError;

const NEWCOMERS: usize = 1;
const MEMBERS: usize = 2;

/// After this number of lines, the room waits until all members have received them.
const IN_A_ROW: usize = 256;
/// The longest wait without progress: if a few members are behind (`GRACE`), and if most are (`PATIENCE`).
const GRACE: Duration = Duration::from_millis(500);
const PATIENCE: Duration = Duration::from_secs(5);
/// How long a leaving client may take to read its last lines.
const LINGER: Duration = Duration::from_secs(5);
/// On shutdown: how long the room receives lines that members sent earlier, and after which silence it stops.
const LAST_WORDS: Duration = Duration::from_secs(1);
const SILENCE: Duration = Duration::from_millis(100);

pub(crate) struct Room {
    pub(crate) connections: Connections,
    events: ChannelSelect<Incoming, Outgoing>,
    /// The names of the members.
    names: BTreeMap<StreamId, String>,
    /// The number of lines since the room last waited for all members.
    in_a_row: usize,
}

/// Adds all new connections to the newcomers.
pub(crate) async fn admit_all(listener: TcpListener, connections: Connections) {
    loop {
        match listener.accept().await {
            Ok((connection, address)) => {
                // Lines are short, and other clients wait for them.
                let _ = connection.set_nodelay(true);
                let (incoming, outgoing) = frame(connection);
                if let Ok(id) = connections.add_stream_pair(outgoing, incoming, NEWCOMERS) {
                    log(format_args!("client {id}: has come from {address}"));
                }
            }
            Err(error) => {
                // Usually too many open files. The error may pass.
                log(format_args!("cannot accept a connection: {error}"));
                sleep(Duration::from_millis(100)).await;
            }
        }
    }
}

impl Room {
    pub(crate) fn new() -> Self {
        let connections = Connections::new();
        let mut events = connections.select();
        for (channel, share) in [(MEMBERS, Share::new()), (NEWCOMERS, Share::new().priority(1))] {
            // A client that shuts down its writing side still receives its last lines.
            let options = ChannelOptions::new().half_close(true);
            connections.add_channel_with(channel, options).expect("the multiplexer is new");
            events.add(channel, share).expect("the channel is there");
        }
        Self { connections, events, names: BTreeMap::new(), in_a_row: 0 }
    }

    pub(crate) async fn run(&mut self, stop: impl Future<Output = io::Result<()>>) -> io::Result<()> {
        let mut stop = pin!(stop);
        loop {
            tokio::select! {
                told = &mut stop => return told,
                Some((_, id, said)) = self.events.next() => self.hear(id, said).await,
            }
        }
    }

    async fn hear(&mut self, id: StreamId, said: StreamEvent<Result<Read, LinesCodecError>>) {
        match said {
            Item(Ok(Ok(line))) => match self.names.get(&id) {
                Some(name) => self.broadcast(format!("{name}: {line}").into()).await,
                None => {
                    let answer = self.log_in(id, &line).err().unwrap_or_else(|| "OK".to_owned());
                    self.answer(id, answer);
                }
            },
            Item(Ok(Err(bad))) => self.answer(id, format!("ERR {bad}")),
            Item(Err(error)) => self.disconnect(id, &format!("is lost: {error}")),
            Ended => {
                self.part(id, "leaves");
                let connections = self.connections.clone();
                tokio::spawn(async move {
                    let _ = timeout(LINGER, connections.close_stream::<Line>(id)).await;
                    connections.remove_stream(id);
                });
            }
            Moved(_) | Removed | SinkFailed => {}
        }
    }

    fn log_in(&mut self, id: StreamId, line: &str) -> Result<(), String> {
        let name = parse_login(line)?;
        if self.names.values().any(|other| other == name) {
            return Err(format!("ERR the name {name} is taken"));
        }
        self.connections.change_stream_channel(id, MEMBERS).map_err(|error| format!("ERR {error}"))?;
        self.names.insert(id, name.to_owned());
        log(format_args!("client {id}: logs in as {name}"));
        Ok(())
    }

    fn answer(&mut self, id: StreamId, answer: String) {
        if self.connections.try_send(id, answer.into()).is_err_and(|error| error.is_full()) {
            self.disconnect(id, "reads too slowly");
        }
    }

    /// Sends a line to all members. A failed sink needs no action: its connection is lost, or the client leaves, and its
    /// stream reports that.
    async fn broadcast(&mut self, line: Line) {
        self.in_a_row = (self.in_a_row + 1) % IN_A_ROW;
        let mut too_slow = Vec::new();
        if self.in_a_row == 0 {
            too_slow = self.send_and_wait(line).await;
        } else {
            let refused = |id, error: TrySendError<_, _>| too_slow.extend(error.is_full().then_some(id));
            self.connections.try_send_to(MEMBERS, line, refused).expect("the channel is there");
        }
        too_slow.into_iter().for_each(|id| self.disconnect(id, "reads too slowly"));
    }

    /// Waits until all members have received the line, or no member catches up for a while. Returns the members whose sink
    /// could not take the line.
    async fn send_and_wait(&self, line: Line) -> Vec<StreamId> {
        let mut send = self.connections.send_to(MEMBERS, line).expect("the channel is there");
        let mut behind = send.pending().count();
        while behind > 0 {
            let patience = if behind > self.names.len() / 2 { PATIENCE } else { GRACE };
            let somebody_catches_up = poll_fn(|cx| {
                let _ = send.poll_unpin(cx);
                let left = send.pending().count();
                if left < behind { Poll::Ready(left) } else { Poll::Pending }
            });
            let Ok(left) = timeout(patience, somebody_catches_up).await else { break };
            behind = left;
        }
        let sent = send.into_sent();
        let not_ready = sent.failures().filter(|failure| matches!(failure, SendError::NotReady(_)));
        not_ready.map(SendError::stream_id).collect()
    }

    /// Disconnects a client immediately.
    fn disconnect(&mut self, id: StreamId, why: &str) {
        self.part(id, why);
        self.connections.remove_stream(id);
    }

    fn part(&mut self, id: StreamId, why: &str) {
        let name = self.names.remove(&id).map(|name| name + " ").unwrap_or_default();
        log(format_args!("client {id}: {name}{why}"));
    }

    /// Says good-bye, delivers all lines, and closes all connections.
    pub(crate) async fn close(mut self) {
        log(format_args!("closing: everyone gets what was said; Ctrl-C again to cut them off"));
        self.connections.close();
        let last_words = async {
            while let Ok(Some((_, id, said))) = timeout(SILENCE, self.events.next()).await {
                self.hear(id, said).await;
            }
        };
        let _ = timeout(LAST_WORDS, last_words).await;
        for channel in [MEMBERS, NEWCOMERS] {
            let _ = self.connections.try_send_to(channel, "BYE the server closes".into(), |_, _| {});
        }
        let mut shutdown = self.connections.shutdown::<Line>().keep_streams();
        // Keeps reading: a connection that is closed with unread input is reset, and its last lines may be lost.
        let all_gone = async { tokio::join!(&mut shutdown, self.events.count()) };
        let _ = timeout(LINGER, all_gone).await;
        log(format_args!("closed; {} clients were cut off", shutdown.pending().count()));
    }
}
