//! Who is there, and what happens to what they say.

use crate::log;
use crate::outbox::{BEHIND, LINGER, Line, Outbox, TooFarBehind, Written};
use crate::protocol::{BadLine, Connections, Receiver, frame, parse_login};
use futures::StreamExt;
use std::collections::{BTreeMap, HashSet};
use std::fmt;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;
use stream_multiplexer::{ChannelOptions, StreamEvent, StreamId};
use tokio::net::TcpStream;
use tokio::sync::{Notify, mpsc};
use tokio::time::{Instant, sleep_until, timeout, timeout_at};
use tokio_util::codec::LinesCodecError;

const NEWCOMERS: usize = 1;
const MEMBERS: usize = 2;

/// How many events of members are taken in a row, while others may wait.
const IN_A_ROW: usize = 64;
/// A member with more than this in its outbox, in bytes, makes all talk more slowly: a pause after each line.
const FAR_BEHIND: usize = 1024 * 1024;
const PAUSE: Duration = Duration::from_millis(1);
/// So many who are behind, and fewer than all, make nobody wait.
const A_FEW: usize = 15;
/// At the end: how long to read on what the members have said before, at most, and how long they may be
/// silent.
const LAST_WORDS: Duration = Duration::from_secs(1);
const SILENCE: Duration = Duration::from_millis(100);

type Arrivals = mpsc::Receiver<(TcpStream, SocketAddr)>;
type Said = StreamEvent<Result<Result<String, BadLine>, LinesCodecError>>;

pub(crate) struct Room {
    connections: Connections,
    arrivals: Arrivals,
    newcomers: Receiver,
    members: Receiver,
    /// How many events of members were taken since the others were asked.
    in_a_row: usize,
    /// Everyone who has not left, whether logged in or not.
    clients: BTreeMap<StreamId, Client>,
    names: HashSet<String>,
    pace: Pace,
    /// Notified whenever a client is not behind any more.
    caught_up: Arc<Notify>,
    /// Ends when every outbox is written and this room's own part is dropped.
    all_written: mpsc::Receiver<Written>,
    written: mpsc::Sender<Written>,
}

struct Client {
    /// When it is logged in.
    name: Option<String>,
    outbox: Outbox,
}

/// How fast the members are heard.
#[derive(Clone, Copy)]
enum Pace {
    Free,
    /// Not before then, for somebody is far behind.
    Pause(Instant),
    /// Not before somebody has caught up, for most are behind.
    Halt,
}

/// What happens next.
enum Event {
    /// The pace may be another.
    Rested,
    Said(StreamId, Said),
    Arrived(TcpStream, SocketAddr),
}

impl Room {
    pub(crate) fn new(arrivals: Arrivals) -> Self {
        let connections = Connections::new();
        let [newcomers, members] = [NEWCOMERS, MEMBERS].map(|channel| open_channel(&connections, channel));
        let (written, all_written) = mpsc::channel(1);
        Self {
            connections,
            arrivals,
            newcomers,
            members,
            in_a_row: 0,
            clients: BTreeMap::new(),
            names: HashSet::new(),
            pace: Pace::Free,
            caught_up: Arc::default(),
            all_written,
            written,
        }
    }

    /// May be dropped at any point: nothing is lost.
    pub(crate) async fn run(&mut self) {
        loop {
            // Lets other tasks run also while there is always a line in some buffer.
            tokio::task::coop::consume_budget().await;
            let event = self.next().await;
            self.handle(event);
        }
    }

    /// Asks the members first, as fast as the pace is.
    async fn next(&mut self) -> Event {
        loop {
            tokio::select! {
                biased;
                () = rest(self.pace, &self.caught_up) => return Event::Rested,
                Some((id, said)) = self.members.next(),
                    if matches!(self.pace, Pace::Free) && self.in_a_row < IN_A_ROW =>
                {
                    self.in_a_row += 1;
                    return Event::Said(id, said);
                }
                event = next_outside(&mut self.newcomers, &mut self.arrivals) => {
                    self.in_a_row = 0;
                    return event;
                }
                () = std::future::ready(()), if self.in_a_row == IN_A_ROW => self.in_a_row = 0,
            }
        }
    }

    fn handle(&mut self, event: Event) {
        match event {
            Event::Rested => self.quicken(),
            Event::Arrived(connection, address) => self.admit(connection, address),
            Event::Said(id, said) => self.hear(id, said),
        }
    }

    fn admit(&mut self, connection: TcpStream, address: SocketAddr) {
        // Lines are short, and somebody waits for them.
        let _ = connection.set_nodelay(true);
        let (incoming, outgoing) = frame(connection);
        let id = match self.connections.add_stream_pair(outgoing, incoming, NEWCOMERS) {
            Ok(id) => id,
            Err(refused) => return log(format_args!("{address} is not let in: {refused}")),
        };
        let outbox =
            Outbox::open(self.connections.clone(), id, Arc::clone(&self.caught_up), self.written.clone());
        self.clients.insert(id, Client { name: None, outbox });
        log(format_args!("client {id}: has come from {address}"));
    }

    fn hear(&mut self, id: StreamId, said: Said) {
        match said {
            StreamEvent::Item(Ok(Ok(line))) => self.hear_line(id, &line),
            StreamEvent::Item(Ok(Err(bad))) => {
                log(format_args!("client {id}: a bad line: {bad}"));
                self.answer(id, format!("ERR {bad}"));
            }
            StreamEvent::Item(Err(error)) => self.part(id, format_args!("is lost: {error}")),
            StreamEvent::Ended => self.part(id, format_args!("leaves")),
            StreamEvent::Removed => self.part(id, format_args!("is gone")),
            StreamEvent::Moved(_) | StreamEvent::SinkFailed => {}
        }
    }

    fn hear_line(&mut self, id: StreamId, line: &str) {
        let Some(client) = self.clients.get(&id) else { return };
        match &client.name {
            Some(name) => self.broadcast(format!("{name}: {line}").into()),
            None => {
                let answer = match parse_login(line) {
                    Ok(name) => self.log_in(id, name),
                    Err(answer) => answer,
                };
                self.answer(id, answer);
            }
        }
    }

    fn log_in(&mut self, id: StreamId, name: &str) -> String {
        if self.names.contains(name) {
            return format!("ERR the name {name} is taken");
        }
        if let Err(error) = self.connections.change_stream_channel(id, MEMBERS) {
            return format!("ERR {error}");
        }
        if let Some(client) = self.clients.get_mut(&id) {
            self.names.insert(name.to_owned());
            client.name = Some(name.to_owned());
            log(format_args!("client {id}: logs in as {name}"));
        }
        "OK".to_owned()
    }

    fn broadcast(&mut self, line: Line) {
        let mut lost = Vec::new();
        for (&id, client) in self.clients.iter().filter(|(_, client)| client.name.is_some()) {
            if client.outbox.post(Line::clone(&line)).is_err() {
                lost.push(id);
            }
        }
        for id in lost {
            self.disconnect(id, format_args!("{TooFarBehind}"));
        }
        self.set_pace(self.measure_pace());
    }

    fn answer(&mut self, id: StreamId, answer: String) {
        let Some(client) = self.clients.get(&id) else { return };
        if client.outbox.post(answer.into()).is_err() {
            self.disconnect(id, format_args!("{TooFarBehind}"));
        }
    }

    /// To be called when there is a reason to be faster.
    fn quicken(&mut self) {
        self.set_pace(match self.pace {
            Pace::Pause(end) if Instant::now() < end => return,
            Pace::Free | Pace::Pause(_) => Pace::Free,
            Pace::Halt => self.measure_pace(),
        });
    }

    fn set_pace(&mut self, pace: Pace) {
        match (self.pace, pace) {
            (Pace::Free | Pace::Pause(_), Pace::Halt) => {
                log(format_args!("too many are behind: the members wait"));
            }
            (Pace::Halt, Pace::Free | Pace::Pause(_)) => log(format_args!("the members go on")),
            _ => {}
        }
        self.pace = pace;
    }

    fn measure_pace(&self) -> Pace {
        let members = self.clients.values().filter(|client| client.name.is_some());
        let (mut behind, mut far_behind) = (0, false);
        for backlog in members.map(|client| client.outbox.backlog()) {
            behind += usize::from(backlog > BEHIND);
            far_behind |= backlog > FAR_BEHIND;
        }
        let all = self.names.len();
        if behind > all / 2 && (behind == all || behind > A_FEW) {
            Pace::Halt
        } else if far_behind {
            Pace::Pause(Instant::now() + PAUSE)
        } else {
            Pace::Free
        }
    }

    /// Lets a client go at once.
    fn disconnect(&mut self, id: StreamId, why: fmt::Arguments<'_>) {
        self.part(id, why);
        drop(self.connections.remove_stream(id));
    }

    /// Lets a client go when it has got what is in its outbox.
    fn part(&mut self, id: StreamId, why: fmt::Arguments<'_>) {
        let Some(client) = self.clients.remove(&id) else { return };
        match client.name {
            Some(name) => {
                log(format_args!("client {id}: {name} {why}"));
                self.names.remove(&name);
            }
            None => log(format_args!("client {id}: {why}")),
        }
        self.quicken();
    }

    /// Says good-bye, lets everyone have what was said, and closes all connections.
    pub(crate) async fn close(mut self) {
        let clients = self.clients.len();
        log(format_args!(
            "closing: {clients} clients are here, and get what was said; Ctrl-C again to cut them off"
        ));
        self.connections.close();
        self.arrivals.close();
        self.hear_last_words().await;

        for client in self.clients.values() {
            let _ = client.outbox.post("BYE the server closes".into());
        }
        drop(self.clients);
        drop(self.written);
        // Reads on, for a connection that is closed with something unread is reset, and its last lines may
        // be lost. A receiver ends when the last stream has left its channel.
        let unheard = async { tokio::join!(self.members.count(), self.newcomers.count()) };
        let all_gone = async { tokio::join!(unheard, self.all_written.recv()) };
        let closed = timeout(LINGER * 2, all_gone).await;
        log(format_args!("closed{}", if closed.is_ok() { "" } else { "; some clients were cut off" }));
    }

    async fn hear_last_words(&mut self) {
        let end = Instant::now() + LAST_WORDS;
        while let Ok(event) = timeout_at(end.min(Instant::now() + SILENCE), self.next()).await {
            self.handle(event);
        }
    }
}

/// Keeps the sinks of those who shut down their writing side: they still get what is in their outbox.
fn open_channel(connections: &Connections, channel: usize) -> Receiver {
    let options = ChannelOptions::new().half_close(true);
    connections.add_channel_with(channel, options).expect("the multiplexer is new");
    connections.receiver(channel).expect("the channel is there")
}

/// Until the pace may be another.
async fn rest(pace: Pace, caught_up: &Notify) {
    match pace {
        Pace::Free => std::future::pending().await,
        Pace::Pause(end) => sleep_until(end).await,
        Pace::Halt => caught_up.notified().await,
    }
}

/// Newcomers and arrivals, evenly.
async fn next_outside(newcomers: &mut Receiver, arrivals: &mut Arrivals) -> Event {
    tokio::select! {
        Some((id, said)) = newcomers.next() => Event::Said(id, said),
        Some((connection, address)) = arrivals.recv() => Event::Arrived(connection, address),
        else => std::future::pending().await,
    }
}
