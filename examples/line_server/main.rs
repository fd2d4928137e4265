//! A line-based chat server over TCP.
//!
//! ```sh
//! cargo run --release --example line_server                   # 127.0.0.1:7878
//! cargo run --release --example line_server -- 0.0.0.0 4000   # or 0.0.0.0:4000, or 4000 alone
//! nc 127.0.0.1 7878                                           # and again, in other terminals
//! ```
//!
//! A client sends `LOGIN name`. The server answers `OK`, or `ERR` and the reason. A name belongs to one client at a time,
//! and is free again when that client leaves. After the login, each line of the client is sent to all logged-in clients,
//! including the client itself, as `name: line`. The server answers any other line of a newcomer with `ERR`. It also answers
//! `ERR` to a line that is longer than 8 KiB, is not UTF-8, or has control characters other than tabs; the client may
//! continue with the next line. A client that shuts down its writing side (`nc -N`) leaves, and still receives earlier
//! lines; its last line needs no line end.
//!
//! On Ctrl-C, the server delivers all lines and closes the connections. It waits five seconds for slow readers. After a
//! second Ctrl-C, it does not wait.
//!
//! # Design
//!
//! A [`Multiplexer`](stream_multiplexer::Multiplexer) has one channel for newcomers and one for members; a login moves a
//! client. One loop, the [`room`], receives from both channels, members first. The loop owns all state and needs no lock.
//! The program has no task, queue or buffer of its own for a client: the client's sink holds up to 1,024 lines (clients
//! share the memory of a line), and the loop's `select` writes the lines when the client's socket accepts them.
//!
//! # Slow readers
//!
//! - A client that is 1,024 lines behind is disconnected.
//! - After every 256 lines, the room waits until all members have received the lines, and does not receive in the meantime.
//!   The members' input waits in their sockets, and TCP slows the members down to a pace that all can read. Not receiving
//!   is the backpressure of a channel. A client that reads at a fair speed is therefore not disconnected because others
//!   send faster.
//! - If no member catches up for half a second, the room continues without the members that are behind. A few clients that
//!   never read delay the others by two seconds in all, and are then disconnected.
//!
//! (If the room waited after each line, a member that takes a line just before each deadline would slow all members down to
//! one line per deadline.)

mod protocol;
mod room;

use room::Room;
use std::fmt;
use std::io::{self, Write};
use std::process::ExitCode;
use tokio::net::{TcpListener, TcpSocket, lookup_host};

const USAGE: &str = "usage: line_server [[ADDRESS] PORT | ADDRESS:PORT]   (without: 127.0.0.1 7878)";
/// The size of the kernel's send buffer for one client. By default the kernel buffers megabytes for a client that does not
/// read. A thousand such clients would use up the kernel's memory for TCP, and all connections would stall.
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

/// Serves until Ctrl-C, or until a termination signal. On a second signal, it does not wait for slow readers.
async fn serve(address: &str) -> io::Result<()> {
    let listener = listen(address).await?;
    log(format_args!("listening on {}", listener.local_addr()?));
    let mut room = Room::new();
    let accepting = tokio::spawn(room::admit_all(listener, room.connections.clone()));
    // The room yields to the executor on its own. With tokio's budget, it could write to only 128 sockets at a time.
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
    // Accepted connections inherit this setting.
    socket.set_send_buffer_size(SEND_BUFFER)?;
    socket.bind(address)?;
    socket.listen(1024)
}

/// Prints a message for the operator, if standard error is open (`eprintln!` would panic otherwise).
fn log(what: fmt::Arguments<'_>) {
    let _ = writeln!(io::stderr(), "{what}");
}
