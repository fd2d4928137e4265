//! Who is there, and what happens to what they say.

use crate::log;
use crate::protocol::{BadLine, Connections, Line, frame, parse_login};
use futures::{FutureExt, StreamExt};
use std::collections::BTreeMap;
use std::fmt;
use std::future::poll_fn;
use std::io;
use std::pin::pin;
use std::task::Poll;
use std::time::Duration;
use stream_multiplexer::{ChannelOptions, SendError, Sent, Share, StreamEvent, StreamId, TrySendError};
use tokio::net::TcpListener;
use tokio::time::{Instant, sleep, timeout, timeout_at};
use tokio_util::codec::LinesCodecError;

const NEWCOMERS: usize = 1;
const MEMBERS: usize = 2;

/// After so many lines the room waits for its members: for all of them so long, and so long as most are behind.
const IN_A_ROW: usize = 256;
const GRACE: Duration = Duration::from_millis(100);
const PATIENCE: Duration = Duration::from_secs(5);
/// How long a client that leaves may take to read its last lines.
const LINGER: Duration = Duration::from_secs(5);
/// At the end: how long to read on what the members have said before, at most, and how long they may be silent.
const LAST_WORDS: Duration = Duration::from_secs(1);
const SILENCE: Duration = Duration::from_millis(100);

type Events = stream_multiplexer::ChannelSelect<crate::protocol::Incoming, crate::protocol::Outgoing>;
type Said = StreamEvent<Result<Result<String, BadLine>, LinesCodecError>>;

pub(crate) struct Room {
    connections: Connections,
    events: Events,
    /// Of the members.
    names: BTreeMap<StreamId, String>,
    /// How many lines were said since the room waited for all.
    in_a_row: usize,
}

/// Adds all who come to the newcomers.
pub(crate) async fn admit_all(listener: TcpListener, connections: Connections) {
    loop {
        match listener.accept().await {
            Ok((connection, address)) => {
                // Lines are short, and somebody waits for them.
                let _ = connection.set_nodelay(true);
                let (incoming, outgoing) = frame(connection);
                match connections.add_stream_pair(outgoing, incoming, NEWCOMERS) {
                    Ok(id) => log(format_args!("client {id}: has come from {address}")),
                    Err(refused) => log(format_args!("{address} is not let in: {refused}")),
                }
            }
            Err(error) => {
                // Too many open files, as a rule. It may pass.
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
            // Who shuts down its writing side still gets its last lines.
            let options = ChannelOptions::new().half_close(true);
            connections.add_channel_with(channel, options).expect("the multiplexer is new");
            events.add(channel, share).expect("the channel is there");
        }
        Self { connections, events, names: BTreeMap::new(), in_a_row: 0 }
    }

    pub(crate) fn connections(&self) -> Connections {
        self.connections.clone()
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

    async fn hear(&mut self, id: StreamId, said: Said) {
        match said {
            StreamEvent::Item(Ok(Ok(line))) => match self.names.get(&id) {
                Some(name) => self.broadcast(format!("{name}: {line}").into()).await,
                None => {
                    let answer = self.log_in(id, &line).err().unwrap_or_else(|| "OK".to_owned());
                    self.answer(id, answer);
                }
            },
            StreamEvent::Item(Ok(Err(bad))) => self.answer(id, format!("ERR {bad}")),
            StreamEvent::Item(Err(error)) => self.disconnect(id, format_args!("is lost: {error}")),
            StreamEvent::SinkFailed => self.disconnect(id, format_args!("cannot be written to")),
            StreamEvent::Ended => {
                self.part(id, format_args!("leaves"));
                let connections = self.connections();
                tokio::spawn(async move {
                    let _ = timeout(LINGER, connections.close_stream::<Line>(id)).await;
                    connections.remove_stream(id);
                });
            }
            StreamEvent::Moved(_) | StreamEvent::Removed => {}
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
        if let Err(error) = self.connections.try_send(id, answer.into()) {
            self.refuse(id, &error);
        }
    }

    async fn broadcast(&mut self, line: Line) {
        self.in_a_row = (self.in_a_row + 1) % IN_A_ROW;
        if self.in_a_row == 0 {
            for failure in self.send_and_wait(line).await.failures() {
                match failure {
                    SendError::NotReady(id) => self.disconnect(*id, format_args!("reads too slowly")),
                    SendError::Sink { id, error } => self.disconnect(*id, format_args!("is lost: {error}")),
                    // It leaves.
                    _ => {}
                }
            }
            return;
        }
        let mut refused = Vec::new();
        let sent = self.connections.try_send_to(MEMBERS, line, |id, error| refused.push((id, error)));
        sent.expect("the channel is there");
        refused.iter().for_each(|(id, error)| self.refuse(*id, error));
    }

    fn refuse(&mut self, id: StreamId, error: &TrySendError<Line, LinesCodecError>) {
        match error {
            TrySendError::Full(_) => self.disconnect(id, format_args!("reads too slowly")),
            TrySendError::Sink { error, .. } => self.disconnect(id, format_args!("is lost: {error}")),
            // It leaves.
            _ => {}
        }
    }

    /// Waits until all members have what was said: for a moment, and longer if most do not.
    async fn send_and_wait(&self, line: Line) -> Sent<LinesCodecError> {
        let mut send = self.connections.send_to(MEMBERS, line).expect("the channel is there");
        if let Ok(sent) = timeout(GRACE, &mut send).await {
            return sent;
        }
        let most_have_it = poll_fn(|cx| {
            let is_done = send.poll_unpin(cx).is_ready() || send.pending().count() <= self.names.len() / 2;
            if is_done { Poll::Ready(()) } else { Poll::Pending }
        });
        let _ = timeout(PATIENCE, most_have_it).await;
        send.into_sent()
    }

    /// Lets a client go at once.
    fn disconnect(&mut self, id: StreamId, why: fmt::Arguments<'_>) {
        self.part(id, why);
        self.connections.remove_stream(id);
    }

    fn part(&mut self, id: StreamId, why: fmt::Arguments<'_>) {
        let name = self.names.remove(&id).map(|name| name + " ").unwrap_or_default();
        log(format_args!("client {id}: {name}{why}"));
    }

    /// Says good-bye, lets everyone have what was said, and closes all connections.
    pub(crate) async fn close(mut self) {
        log(format_args!("closing: everyone gets what was said; Ctrl-C again to cut them off"));
        self.connections.close();
        let end = Instant::now() + LAST_WORDS;
        let soon = || end.min(Instant::now() + SILENCE);
        while let Ok(Some((_, id, said))) = timeout_at(soon(), self.events.next()).await {
            self.hear(id, said).await;
        }
        for channel in [MEMBERS, NEWCOMERS] {
            let sent = self.connections.try_send_to(channel, "BYE the server closes".into(), |_, _| {});
            sent.expect("the channel is there");
        }
        let mut shutdown = self.connections.shutdown::<Line>();
        // Reads on, for a connection that is closed with something unread is reset, and its last lines may be lost.
        let all_gone = async { tokio::join!(&mut shutdown, self.events.count()) };
        let _ = timeout(LINGER, all_gone).await;
        log(format_args!("closed; {} clients were cut off", shutdown.pending().count()));
    }
}
