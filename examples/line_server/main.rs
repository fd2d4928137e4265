//! A chat server for lines over TCP.
//!
//! ```sh
//! cargo run --release --example line_server                   # 127.0.0.1:7878
//! cargo run --release --example line_server -- 0.0.0.0 4000   # or 0.0.0.0:4000, or 4000 alone
//! nc 127.0.0.1 7878                                           # and again, in other terminals
//! ```
//!
//! A client says `LOGIN name` and is answered `OK`, or `ERR` and why not: a name belongs to one client at a time, and
//! is free again when that leaves. From then on each of its lines goes to everyone who is logged in, as `name: line`,
//! also to itself. Any other line of a newcomer is answered `ERR`. So is anyone's line that is longer than 8 KiB, is not
//! UTF-8 or has control characters other than tabs; the client may go on with the next one. A client that shuts down its
//! writing side (`nc -N`) leaves, and still gets what was said before; its last line needs no end.
//!
//! Ctrl-C lets everyone have what was said and closes the connections. It waits five seconds for those who are slow to
//! read it; a second one does not wait.
//!
//! # How it is built
//!
//! Newcomers are in one channel of a [`Multiplexer`](stream_multiplexer::Multiplexer) and members in another; to log in
//! is to be moved. One loop, the [`room`], receives from both, the members first. It owns everything, so nothing is
//! locked. There is no task, queue or buffer of ours for a client: its sink keeps up to 1,024 lines for it (a line that
//! waits for many is there once), and the loop's `select` writes them when the client's socket takes them.
//!
//! # Slow readers
//!
//! - A client that is 1,024 lines behind is disconnected.
//! - After every 256 lines the room waits until all members have them, and hears nobody meanwhile. What they say waits in
//!   their sockets, and TCP slows them down to what all can read: that is the backpressure of a channel, not to ask it.
//!   So nobody who reads at a fair speed is disconnected because others talk faster.
//! - When nobody has caught up for half a second the room goes on without those who are left. So a few who never read
//!   cost the others two seconds, and then they are disconnected.
//!
//! (After each line, a member that takes it just before a deadline would slow down everybody to one line for each
//! deadline.)

mod protocol;
mod room;

use room::Room;
use std::fmt;
use std::io::{self, Write};
use std::process::ExitCode;
use tokio::net::{TcpListener, TcpSocket, lookup_host};

const USAGE: &str = "usage: line_server [[ADDRESS] PORT | ADDRESS:PORT]   (without: 127.0.0.1 7878)";
/// How many bytes the kernel keeps for a client that does not read. Left to itself it takes megabytes for each, and when
/// a thousand of them have exhausted what it has for TCP, everyone's connection stalls.
const SEND_BUFFER: u32 = 64 * 1024;

#[tokio::main]
async fn main() -> ExitCode {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let address = match arguments.join(":") {
        none if none.is_empty() => "127.0.0.1:7878".to_owned(),
        port if !port.contains(':') => format!("127.0.0.1:{port}"),
        address => address,
    };
    match serve(&address).await {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            log(format_args!("cannot serve at {address}: {error}\n{USAGE}"));
            ExitCode::FAILURE
        }
    }
}

/// Serves until Ctrl-C, or until it is told to terminate. The second time it does not wait for those who are slow to read
/// their last lines.
async fn serve(address: &str) -> io::Result<()> {
    let listener = listen(address).await?;
    log(format_args!("listening on {}", listener.local_addr()?));
    let mut room = Room::new();
    let accepting = tokio::spawn(room::admit_all(listener, room.connections.clone()));
    // The room yields by itself. With tokio's budget, only the first 128 sockets could be written to at a time.
    tokio::task::unconstrained(room.run(told_to_stop())).await?;
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

async fn told_to_stop() -> io::Result<()> {
    #[cfg(unix)]
    let mut terminate = tokio::signal::unix::signal(tokio::signal::unix::SignalKind::terminate())?;
    #[cfg(unix)]
    let terminated = terminate.recv();
    #[cfg(not(unix))]
    let terminated = std::future::pending::<()>();
    tokio::select! {
        interrupted = tokio::signal::ctrl_c() => interrupted,
        _ = terminated => Ok(()),
    }
}

async fn listen(address: &str) -> io::Result<TcpListener> {
    let address = lookup_host(address).await?.next().ok_or(io::ErrorKind::AddrNotAvailable)?;
    let socket = if address.is_ipv4() { TcpSocket::new_v4()? } else { TcpSocket::new_v6()? };
    #[cfg(unix)]
    socket.set_reuseaddr(true)?;
    // The connections inherit it.
    socket.set_send_buffer_size(SEND_BUFFER)?;
    socket.bind(address)?;
    socket.listen(1024)
}

/// Tells the operator, if there is one (`eprintln!` would panic).
fn log(what: fmt::Arguments<'_>) {
    let _ = writeln!(io::stderr(), "{what}");
}
