//! A chat over WebSocket.
//!
//! ```sh
//! cargo run --release --example websocket_chat   # for other machines: -- 0.0.0.0:9001
//! websocat ws://127.0.0.1:9001                   # and again, in other terminals
//! ```
//!
//! A client's first message is its name. After that, each of its messages is sent to all clients that have a name. The
//! server closes a client with 1008 if it sends no name within three seconds, and with 1009 if it sends a message of more
//! than 16 KiB. It disconnects a client that is more than 256 KiB behind what its socket has taken, without an effect on the
//! others. It always answers pings. On Ctrl-C it closes all clients with 1001.
//!
//! One loop handles all clients and waits for none. Each handshake has its own task. Output that a socket cannot accept
//! immediately waits in its sink, which the loop's `select` flushes. A client that cannot keep up with the others is
//! therefore disconnected. The example `line_server` shows how to slow the senders down instead.

use futures::stream::{SplitSink, SplitStream};
use futures::{FutureExt, SinkExt, StreamExt, future::join};
use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;
use stream_multiplexer::{Multiplexer, Share, StreamEvent::*, StreamId, StreamPair};
use tokio::io::{self, AsyncWriteExt, copy, sink};
use tokio::net::{TcpListener, TcpSocket, TcpStream, lookup_host};
use tokio::sync::Semaphore;
use tokio::time::{Instant, sleep, sleep_until, timeout, timeout_at};
use tokio_tungstenite::tungstenite::protocol::{CloseFrame, WebSocketConfig, frame::coding::CloseCode};
use tokio_tungstenite::tungstenite::{Error, Message};
use tokio_tungstenite::{WebSocketStream, accept_async_with_config};

const NEWCOMERS: usize = 1;
const MEMBERS: usize = 2;

/// The size of the kernel's send buffer for one client, in bytes. By default it grows to megabytes.
const SEND_BUFFER: u32 = 64 << 10;

/// How many clients may connect within the login time.
const MOST_AT_A_TIME: usize = 1_000;

/// How long a client may take to answer the server's closing frame.
const LINGER: Duration = Duration::from_secs(2);

type Incoming = SplitStream<WebSocketStream<TcpStream>>;
type Outgoing = SplitSink<WebSocketStream<TcpStream>, Message>;
type Connections = Multiplexer<Incoming, Outgoing>;
type Names = BTreeMap<StreamId, String>;

/// The limits for one client, in bytes.
fn limits() -> WebSocketConfig {
    let limits = WebSocketConfig::default().max_message_size(Some(16 << 10)).max_frame_size(Some(16 << 10));
    // With more output than this, a sink is not ready until all of it is written: `try_send` returns `Full`.
    limits.write_buffer_size(256 << 10).read_buffer_size(4 << 10)
}

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), Box<dyn std::error::Error>> {
    // The select yields to the executor on its own. With tokio's budget, the loop could write to only 128 sockets at a time.
    tokio::task::unconstrained(serve()).await
}

async fn serve() -> Result<(), Box<dyn std::error::Error>> {
    let mut arguments = std::env::args().skip(1);
    let address = arguments.next().unwrap_or_else(|| "127.0.0.1:9001".to_owned());
    let login_time = Duration::from_millis(arguments.next().map_or(Ok(3_000), |time| time.parse())?);
    let listener = listen(&address).await?;
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
            // Tungstenite answers pings and closing frames in the next poll of the stream. A sink fails when its
            // connection is closed or lost: its stream ends.
            (_, Item(Ok(_)) | Moved(_) | SinkFailed) => None,
        };
        let Some(news) = news else { continue };
        // All members share the bytes of the message. A member that is too far behind is removed, and the select yields
        // `Removed`.
        connections.try_send_to(MEMBERS, news.into(), |id, error| {
            if error.is_full() {
                connections.remove_stream(id);
            }
        })?;
    }

    // Sends a closing frame to all clients, and gives them time to answer.
    accepting.abort();
    for channel in [NEWCOMERS, MEMBERS] {
        connections.try_send_to(channel, close_frame(CloseCode::Away, "the server ends"), |_, _| {})?;
    }
    let shutdown = connections.shutdown::<Message>().keep_streams();
    let _ = timeout(LINGER, join(shutdown, events.for_each(async |_| {}))).await;
    Ok(())
}

async fn listen(address: &str) -> io::Result<TcpListener> {
    let address = lookup_host(address).await?.next().ok_or(io::ErrorKind::AddrNotAvailable)?;
    let socket = if address.is_ipv4() { TcpSocket::new_v4()? } else { TcpSocket::new_v6()? };
    #[cfg(unix)]
    socket.set_reuseaddr(true)?;
    // Accepted connections inherit this setting.
    socket.set_send_buffer_size(SEND_BUFFER)?;
    socket.bind(address)?;
    socket.listen(1024)
}

async fn accept(listener: TcpListener, connections: Connections, login_time: Duration) {
    let newcomers = Arc::new(Semaphore::new(MOST_AT_A_TIME));
    loop {
        let newcomer = Arc::clone(&newcomers).acquire_owned().await.expect("it is never closed");
        match listener.accept().await {
            Ok((socket, _)) => {
                let welcome = welcome(socket, connections.clone(), login_time);
                tokio::spawn(async move {
                    welcome.await;
                    drop(newcomer);
                });
            }
            // Usually too many open files. The error may pass.
            Err(_) => sleep(Duration::from_millis(100)).await,
        }
    }
}

/// The first seconds of a client. After that, the client has a name or is closed.
async fn welcome(socket: TcpStream, connections: Connections, login_time: Duration) -> Option<()> {
    let deadline = Instant::now() + login_time;
    let handshake = accept_async_with_config(socket, Some(limits()));
    let (outgoing, incoming) = timeout_at(deadline, handshake).await.ok()?.ok()?.split();
    let id = connections.add_stream_pair(outgoing, incoming, NEWCOMERS).ok()?;
    sleep_until(deadline).await;
    // Does nothing if a login has moved the client.
    let pair = connections.remove_stream_from(id, NEWCOMERS)?;
    dismiss(pair, CloseCode::Policy, "you have no name").await
}

/// Sends the reason to a client, and reads until the client closes. (A connection that is dropped with unread input is
/// reset, and the client may lose the reason.)
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

/// Makes a newcomer a member. Returns the news for all members.
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

/// Handles a client whose input is not a message.
fn refuse(connections: &Connections, id: StreamId, error: &Error) -> Option<String> {
    let (code, reason) = match error {
        Error::Capacity(_) => (CloseCode::Size, "that was too long"),
        Error::Utf8(_) => (CloseCode::Invalid, "that was not UTF-8"),
        _ => (CloseCode::Protocol, "that was not WebSocket"),
    };
    tokio::spawn(dismiss(connections.remove_stream(id)?, code, reason));
    None
}
