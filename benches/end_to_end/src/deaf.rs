//! A client that does not read.

use crate::clients::{self, Clients};
use crate::kind::Kind;
use crate::line;
use crate::server::Server;
use std::io::{ErrorKind, Read};
use std::net::TcpStream;

/// The clients that read.
const OTHERS: usize = 32;
/// Lines for each client: much more than sockets and buffers hold.
const LINES: usize = 32_000;
/// The allowed growth of the server, in KiB. The lines for one client are twice as long.
const GROWTH: usize = 512;

/// Checks that the client blocks no other client and that the server's memory stays bounded; and that the server serves the
/// client again when it reads.
pub fn check(kind: Kind) {
    let server = Server::start(kind, &[]);
    let mut deaf = TcpStream::connect(("127.0.0.1", server.port)).expect("it listens");
    deaf.set_nonblocking(true).expect("it is a socket");
    let mut others = Clients::connect(server.port, OTHERS);
    // Before the measurement, so that all allocations for the reading clients are made.
    others.broadcast(OTHERS, 10);
    let before = server.memory();
    others.broadcast(OTHERS, LINES / OTHERS);
    let grown = server.memory().saturating_sub(before);
    assert!(grown < GROWTH, "{}: {grown} KiB for a client that does not read", kind.name());
    let heard = read_on(&mut deaf);
    assert!(heard < LINES, "{}: it missed nothing, so this shows nothing", kind.name());
    eprintln!(
        "{}: of {LINES} lines a client that did not read got {heard}, the others all, for {grown} KiB",
        kind.name()
    );
}

/// Reads, and sends a line now and then, until it is answered. Returns the number of lines that were read.
fn read_on(deaf: &mut TcpStream) -> usize {
    let mut lines = Vec::new();
    let mut checked = 0;
    let mut before = 0;
    clients::patiently(|| {
        let mut bytes = [0; 4096];
        match deaf.read(&mut bytes) {
            Ok(0) => panic!("the server hung up"),
            Ok(read) => lines.extend_from_slice(&bytes[..read]),
            Err(error) if error.kind() == ErrorKind::WouldBlock => {
                // The sink may have no room for the answer. Sends the line again.
                clients::write(deaf, &line::echo(0, LINES));
                return Err(error);
            }
            Err(error) => return Err(error),
        }
        for line in lines[checked * line::LENGTH..].chunks_exact(line::LENGTH) {
            let number = line.try_into().ok().and_then(line::number).expect("only whole lines");
            assert!(number >= before, "in their order");
            before = number;
            checked += 1;
            if number == LINES {
                return Ok(true);
            }
        }
        Ok(false)
    });
    checked - 1
}
