//! All clients, in one thread.
//!
//! The clients never sleep in a system call of a socket; they poll their sockets after a short sleep. The server's sends
//! therefore wake no client, which would cost the server more than the send, and would differ from run to run.

use crate::line;
use std::io::{ErrorKind, Read, Write};
use std::net::TcpStream;
use std::ops::Range;
use std::thread;
use std::time::{Duration, Instant};

const NAP: Duration = Duration::from_micros(20);
/// A line that does not arrive in this time is lost.
const LONG: Duration = Duration::from_secs(30);
/// How many clients connect before the server has accepted them; fewer than the backlog.
const AT_ONCE: usize = 256;

pub struct Clients {
    sockets: Vec<TcpStream>,
    /// How many lines each client has sent.
    said: usize,
}

impl Clients {
    /// Connects `count` clients. Each sends a line and receives its answer, so that all allocations for the first line are
    /// made.
    pub fn connect(port: u16, count: usize) -> Self {
        let mut clients = Self { sockets: Vec::with_capacity(count), said: 0 };
        while clients.sockets.len() < count {
            let from = clients.sockets.len();
            for _ in from..count.min(from + AT_ONCE) {
                let socket = TcpStream::connect(("127.0.0.1", port)).expect("it listens");
                socket.set_nodelay(true).expect("it is a socket");
                socket.set_nonblocking(true).expect("it is a socket");
                clients.sockets.push(socket);
            }
            let some = from..clients.sockets.len();
            clients.say(some.clone(), 0, 1);
            clients.hear_echoes(some, 0, 1);
        }
        clients.said = 1;
        clients
    }

    pub fn len(&self) -> usize {
        self.sockets.len()
    }

    /// `rounds` times, each client sends `depth` lines, and reads the answers. While one half of the clients waits, the
    /// other half reads, so that the server always has work. Returns how many lines came back.
    pub fn echo(&mut self, depth: usize, rounds: usize) -> usize {
        let all = self.sockets.len();
        let halves = [0..all / 2, all / 2..all];
        let numbers = (0..rounds).map(|round| self.said + round * depth);
        let steps: Vec<_> = numbers.flat_map(|number| halves.clone().map(|half| (half, number))).collect();
        for at in 0..=steps.len() {
            if let Some((half, number)) = steps.get(at) {
                self.say(half.clone(), *number, depth);
            }
            if let Some((half, number)) = at.checked_sub(1).map(|before| &steps[before]) {
                self.hear_echoes(half.clone(), *number, depth);
            }
        }
        self.said += rounds * depth;
        all * rounds * depth
    }

    /// `rounds` times, `speakers` clients send a line each to all clients. When all clients have received these lines, other
    /// clients send. Returns how many lines arrived.
    pub fn broadcast(&mut self, speakers: usize, rounds: usize) -> usize {
        let all = self.sockets.len();
        let mut heard_by_first = vec![0; speakers * line::LENGTH];
        let mut heard = heard_by_first.clone();
        for round in 0..rounds {
            let number = self.said + round;
            let mut said: Vec<_> =
                (0..speakers).map(|at| line::broadcast((round * speakers + at) % all, number)).collect();
            for (at, line) in said.iter().enumerate() {
                write(&mut self.sockets[(round * speakers + at) % all], line);
            }
            for at in 0..all {
                read(&mut self.sockets[at], &mut heard);
                if at == 0 {
                    heard_by_first.clone_from(&heard);
                }
                assert_eq!(heard, heard_by_first, "all hear the same, in the same order");
            }
            let mut lines: Vec<_> = heard.chunks_exact(line::LENGTH).collect();
            lines.sort_unstable();
            said.sort_unstable();
            assert_eq!(lines, said, "each line is heard once");
        }
        self.said += rounds;
        all * rounds * speakers
    }

    fn say(&mut self, some: Range<usize>, number: usize, depth: usize) {
        let mut lines = Vec::with_capacity(depth * line::LENGTH);
        for client in some {
            lines.clear();
            lines.extend((number..number + depth).flat_map(|number| line::echo(client, number)));
            write(&mut self.sockets[client], &lines);
        }
    }

    fn hear_echoes(&mut self, some: Range<usize>, number: usize, depth: usize) {
        let mut heard = vec![0; depth * line::LENGTH];
        for client in some {
            read(&mut self.sockets[client], &mut heard);
            let lines = heard.chunks_exact(line::LENGTH);
            assert!(
                lines.zip(number..).all(|(heard, number)| *heard == line::echo(client, number)),
                "an echo"
            );
        }
    }
}

pub fn write(socket: &mut TcpStream, mut bytes: &[u8]) {
    patiently(|| {
        let written = socket.write(bytes)?;
        bytes = &bytes[written..];
        Ok(bytes.is_empty())
    });
}

fn read(socket: &mut TcpStream, bytes: &mut [u8]) {
    let mut at = 0;
    patiently(|| {
        let read = socket.read(&mut bytes[at..])?;
        assert_ne!(read, 0, "the server does not hang up");
        at += read;
        Ok(at == bytes.len())
    });
}

/// Calls `step` until it is done.
pub fn patiently(mut step: impl FnMut() -> std::io::Result<bool>) {
    let mut idle_since = None;
    loop {
        match step() {
            Ok(true) => return,
            Ok(false) => idle_since = None,
            Err(error) if error.kind() == ErrorKind::WouldBlock => {
                let since = *idle_since.get_or_insert_with(Instant::now);
                assert!(since.elapsed() < LONG, "nothing comes from the server");
                thread::sleep(NAP);
            }
            Err(error) => panic!("{error}"),
        }
    }
}
