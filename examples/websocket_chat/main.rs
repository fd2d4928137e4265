//! A chat over WebSocket.
//!
//! ```sh
//! cargo run --release --example websocket_chat   # -- 0.0.0.0:9001, if it is not for this machine alone
//! websocat ws://127.0.0.1:9001                   # and again, in other terminals
//! ```
//!
//! A client's first message is its name. From then on each of its messages goes to everyone who has one. Who gives no
//! name within three seconds is closed with 1008, and who sends more than 16 KiB in one message with 1009. Who is more
//! than 256 KiB behind is disconnected, and the others notice nothing. Pings are answered, whatever the others do.
//! Ctrl-C closes everyone with 1001.
//!
//! One loop does it all and waits for no client: a handshake has a task of its own, and what a socket cannot take
//! immediately lies in its sink, which the loop's `select` flushes. So who talks faster than another can read costs that
//! one its place. The example `line_server` shows how to slow down the talkers instead.

use futures::stream::{SplitSink, SplitStream};
use futures::{FutureExt, SinkExt, StreamExt, future::join};
use std::collections::BTreeMap;
use std::time::Duration;
use stream_multiplexer::{Multiplexer, Share, StreamEvent::*, StreamId, StreamPair};
use tokio::io::{AsyncWriteExt, copy, sink};
use tokio::net::{TcpListener, TcpStream};
use tokio::time::{Instant, sleep, sleep_until, timeout, timeout_at};
use tokio_tungstenite::tungstenite::protocol::{CloseFrame, WebSocketConfig, frame::coding::CloseCode};
use tokio_tungstenite::tungstenite::{Error, Message};
use tokio_tungstenite::{WebSocketStream, accept_async_with_config};

const NEWCOMERS: usize = 1;
const MEMBERS: usize = 2;

/// How long a client that we close may take to answer.
const LINGER: Duration = Duration::from_secs(2);

type Incoming = SplitStream<WebSocketStream<TcpStream>>;
type Outgoing = SplitSink<WebSocketStream<TcpStream>, Message>;
type Connections = Multiplexer<Incoming, Outgoing>;
type Names = BTreeMap<StreamId, String>;

/// What one client may cost, in bytes.
fn limits() -> WebSocketConfig {
    let limits = WebSocketConfig::default().max_message_size(Some(16 << 10)).max_frame_size(Some(16 << 10));
    // A sink that has more than this to write is not ready until all of that is written: `try_send` says `Full`.
    limits.write_buffer_size(256 << 10).read_buffer_size(4 << 10)
}

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), Box<dyn std::error::Error>> {
    // The select yields by itself. With tokio's budget, only the first 128 sockets could be written to at a time.
    tokio::task::unconstrained(serve()).await
}

async fn serve() -> Result<(), Box<dyn std::error::Error>> {
    let mut arguments = std::env::args().skip(1);
    let address = arguments.next().unwrap_or_else(|| "127.0.0.1:9001".to_owned());
    let login_time = Duration::from_millis(arguments.next().map_or(Ok(3_000), |time| time.parse())?);
    let listener = TcpListener::bind(address).await?;
    println!("listening on {}", listener.local_addr()?);

    let connections = Connections::new();
    connections.add_channel(NEWCOMERS)?;
    connections.add_channel(MEMBERS)?;
    let accepting = tokio::spawn(accept(listener, connections.clone(), login_time));

    let mut events = connections.select();
    events.add(MEMBERS, Share::new())?;
    events.add(NEWCOMERS, Share::new().priority(1))?;
    let mut names = Names::new();
    let mut interrupt = tokio::signal::ctrl_c().boxed();
    loop {
        let (channel, id, event) = tokio::select! {
            interrupted = &mut interrupt => break interrupted?,
            Some(event) = events.next() => event,
        };
        let news = match (channel, event) {
            (NEWCOMERS, Item(Ok(Message::Text(name)))) => log_in(&connections, &mut names, id, &name),
            (_, Item(Ok(Message::Text(text)))) => names.get(&id).map(|name| format!("{name}: {text}")),
            (_, Item(Err(error))) => refuse(&connections, id, &error),
            (_, Ended | Removed) => names.remove(&id).map(|name| format!("* {name} has left")),
            // Tungstenite answers pings and closings when the stream is polled next. A sink fails when its connection is
            // over, or is being closed: its stream ends.
            (_, Item(Ok(_)) | Moved(_) | SinkFailed) => None,
        };
        let Some(news) = news else { continue };
        // All members share its bytes. Who is too far behind is disconnected, which comes as `Removed`.
        connections.try_send_to(MEMBERS, news.into(), |id, error| {
            if error.is_full() {
                connections.remove_stream(id);
            }
        })?;
    }

    // Everyone gets a closing frame, and the time to answer it.
    accepting.abort();
    for channel in [NEWCOMERS, MEMBERS] {
        connections.try_send_to(channel, close_frame(CloseCode::Away, "the server ends"), |_, _| {})?;
    }
    let shutdown = connections.shutdown::<Message>().keep_streams();
    let _ = timeout(LINGER, join(shutdown, events.for_each(async |_| {}))).await;
    Ok(())
}

async fn accept(listener: TcpListener, connections: Connections, login_time: Duration) {
    loop {
        match listener.accept().await {
            Ok((socket, _)) => drop(tokio::spawn(welcome(socket, connections.clone(), login_time))),
            // Too many open files, as a rule. It may pass.
            Err(_) => sleep(Duration::from_millis(100)).await,
        }
    }
}

/// A client's first seconds. When they are over it has a name, or goes.
async fn welcome(socket: TcpStream, connections: Connections, login_time: Duration) -> Option<()> {
    let deadline = Instant::now() + login_time;
    let handshake = accept_async_with_config(socket, Some(limits()));
    let (outgoing, incoming) = timeout_at(deadline, handshake).await.ok()?.ok()?.split();
    let id = connections.add_stream_pair(outgoing, incoming, NEWCOMERS).ok()?;
    sleep_until(deadline).await;
    // Unless its login has moved it away.
    let pair = connections.remove_stream_from(id, NEWCOMERS)?;
    dismiss(pair, CloseCode::Policy, "you have no name").await
}

/// Says why a client has to go, and hears it out: a connection that is dropped with unread input is reset, and then the
/// client may not learn why.
async fn dismiss(pair: StreamPair<Incoming, Outgoing>, code: CloseCode, reason: &'static str) -> Option<()> {
    let (incoming, mut outgoing) = (pair.stream?, pair.sink?);
    let farewell = async {
        outgoing.send(close_frame(code, reason)).await.ok()?;
        let mut socket = incoming.reunite(outgoing).ok()?.into_inner();
        socket.shutdown().await.ok()?;
        copy(&mut socket, &mut sink()).await.ok()
    };
    timeout(LINGER, farewell).await.ok()?.map(drop)
}

fn close_frame(code: CloseCode, reason: &'static str) -> Message {
    Message::Close(Some(CloseFrame { code, reason: reason.into() }))
}

/// Makes a newcomer a member. Returns what there is to say to all.
fn log_in(connections: &Connections, names: &mut Names, id: StreamId, name: &str) -> Option<String> {
    let is_taken = names.values().any(|other| other == name);
    if is_taken || name.trim().is_empty() || name.len() > 32 || name.contains(char::is_control) {
        let _ = connections.try_send(id, "* another name, please".into());
        return None;
    }
    connections.change_stream_channel(id, MEMBERS).ok()?;
    names.insert(id, name.to_owned());
    Some(format!("* {name} is here"))
}

/// What a client has sent was no message.
fn refuse(connections: &Connections, id: StreamId, error: &Error) -> Option<String> {
    let (code, reason) = match error {
        Error::Capacity(_) => (CloseCode::Size, "that was too long"),
        Error::Utf8(_) => (CloseCode::Invalid, "that was not UTF-8"),
        _ => (CloseCode::Protocol, "that was not WebSocket"),
    };
    tokio::spawn(dismiss(connections.remove_stream(id)?, code, reason));
    None
}
