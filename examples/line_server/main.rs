//! A chat server for lines over TCP.
//!
//! ```sh
//! cargo run --release --example line_server                   # 127.0.0.1:7878
//! cargo run --release --example line_server -- 0.0.0.0 4000   # or 0.0.0.0:4000, or 4000 alone
//! nc 127.0.0.1 7878                                           # and again, in other terminals
//! ```
//!
//! A client says `LOGIN name` and is answered `OK`, or `ERR` and why not: a name belongs to one client at a
//! time, and is free again when that leaves. From then on each of its lines goes to everyone who is logged
//! in, as `name: line`, also to itself. Any other line of a newcomer is answered `ERR`. So is anyone's line
//! that is longer than 8 KiB, is not UTF-8 or has control characters other than tabs; the client may go on
//! with the next one. A client that shuts down its writing side (`nc -N`) leaves, and still gets what was
//! said before; its last line needs no end.
//!
//! Ctrl-C lets everyone have what was said and closes the connections, in eleven seconds at most; a second
//! one does not wait.
//!
//! # How it is built
//!
//! Newcomers are in one channel of a [`Multiplexer`](stream_multiplexer::Multiplexer) and members in
//! another; to log in is to be moved. One task, the [`Room`], receives from both and owns everything, so
//! nothing is locked. It asks the members' channel first, always; but after 64 events of members in a row
//! it asks the newcomers once, or a few busy members would keep everyone else out.
//!
//! # Slow readers
//!
//! The room never waits for a socket. Each client has an [`Outbox`](outbox::Outbox): a queue of lines, and
//! a task that writes them.
//!
//! - A client that is 4 MiB behind, or is written to and takes nothing for ten seconds, is disconnected.
//! - While anyone is 1 MiB behind, the room pauses for a millisecond after each line. So a client that reads
//!   at a fair speed is not disconnected because others read faster, and a slow reader leaves the rest
//!   hundreds of lines a second, until it is disconnected.
//! - While all members are 64 KiB behind, or more than half and sixteen at least, the room does not ask the
//!   members' channel: what they say meanwhile waits in their sockets, and TCP slows them down to what most
//!   can read. That is the backpressure of a channel: not to ask it. A few slow readers cannot bring it
//!   about.
//!
//! Memory is bounded, the kernel's too; a line that waits in many outboxes is there once.
//!
//! Two simpler ways were refused. To `send` each line to all, with a deadline: a member that takes its line
//! just in time would slow down everybody to one line for each deadline. To start a `send` and not wait for
//! it: two of them that wait for one sink may overtake each other, and what a member says must stay in
//! order.

mod outbox;
mod protocol;
mod room;

use room::Room;
use std::fmt;
use std::io::{self, Write};
use std::net::SocketAddr;
use std::process::ExitCode;
use std::time::Duration;
use tokio::net::{TcpListener, TcpSocket, TcpStream};
use tokio::sync::mpsc;

const USAGE: &str = "usage: line_server [[ADDRESS] PORT | ADDRESS:PORT]   (without: 127.0.0.1 7878)";
const DEFAULT_HOST: &str = "127.0.0.1";
const DEFAULT_PORT: &str = "7878";
/// How many bytes the kernel keeps for a client that does not read. Left to itself it takes megabytes for
/// each, and when a thousand of them have exhausted what it has for TCP, everyone's connection stalls.
const SEND_BUFFER: u32 = 64 * 1024;

#[tokio::main]
async fn main() -> ExitCode {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let arguments: Vec<&str> = arguments.iter().map(String::as_str).collect();
    let address = match arguments[..] {
        [] => format!("{DEFAULT_HOST}:{DEFAULT_PORT}"),
        ["-h" | "--help"] => {
            log(format_args!("{USAGE}"));
            return ExitCode::SUCCESS;
        }
        [port] if !port.contains(':') => format!("{DEFAULT_HOST}:{port}"),
        [address] => address.to_owned(),
        [host, port] if host.contains(':') && !host.starts_with('[') => format!("[{host}]:{port}"),
        [host, port] => format!("{host}:{port}"),
        _ => {
            log(format_args!("{USAGE}"));
            return ExitCode::from(2);
        }
    };
    match serve(&address).await {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) if error.kind() == io::ErrorKind::InvalidInput => {
            log(format_args!("cannot serve at {address}: {error}\n{USAGE}"));
            ExitCode::from(2)
        }
        Err(error) => {
            log(format_args!("cannot serve at {address}: {error}"));
            ExitCode::FAILURE
        }
    }
}

/// Serves until Ctrl-C, or until it is told to terminate. The second time it does not wait for those who are
/// slow to read their last lines.
async fn serve(address: &str) -> io::Result<()> {
    let listener = listen(address).await?;
    log(format_args!("listening on {}", listener.local_addr()?));

    let (arrivals, arrived) = mpsc::channel(16);
    let accepting = tokio::spawn(accept(listener, arrivals));
    let mut room = Room::new(arrived);
    tokio::select! {
        () = room.run() => {}
        told = told_to_stop() => told?,
    }
    accepting.abort();
    tokio::select! {
        () = room.close() => {}
        told = told_to_stop() => {
            told?;
            log(format_args!("closed, and did not wait"));
        }
    }
    Ok(())
}

#[cfg(unix)]
async fn told_to_stop() -> io::Result<()> {
    let mut terminate = tokio::signal::unix::signal(tokio::signal::unix::SignalKind::terminate())?;
    tokio::select! {
        interrupted = tokio::signal::ctrl_c() => interrupted,
        _ = terminate.recv() => Ok(()),
    }
}

#[cfg(not(unix))]
async fn told_to_stop() -> io::Result<()> {
    tokio::signal::ctrl_c().await
}

async fn listen(address: &str) -> io::Result<TcpListener> {
    let mut refused = io::Error::new(io::ErrorKind::InvalidInput, "there is no such address");
    for address in tokio::net::lookup_host(address).await? {
        match listen_at(address) {
            Ok(listener) => return Ok(listener),
            Err(error) => refused = error,
        }
    }
    Err(refused)
}

fn listen_at(address: SocketAddr) -> io::Result<TcpListener> {
    let socket = if address.is_ipv4() { TcpSocket::new_v4()? } else { TcpSocket::new_v6()? };
    #[cfg(unix)]
    socket.set_reuseaddr(true)?;
    // The connections inherit it.
    socket.set_send_buffer_size(SEND_BUFFER)?;
    socket.bind(address)?;
    socket.listen(1024)
}

async fn accept(listener: TcpListener, arrivals: mpsc::Sender<(TcpStream, SocketAddr)>) {
    loop {
        match listener.accept().await {
            Ok(arrival) => {
                if arrivals.send(arrival).await.is_err() {
                    return;
                }
            }
            Err(error) => {
                // Too many open files, as a rule. It may pass.
                log(format_args!("cannot accept a connection: {error}"));
                tokio::time::sleep(Duration::from_millis(100)).await;
            }
        }
    }
}

/// Tells the operator, if there is one (`eprintln!` would panic).
fn log(what: fmt::Arguments<'_>) {
    let _ = writeln!(io::stderr(), "{what}");
}
