//! The workloads of the clients.

use crate::clients::Clients;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Workload {
    /// The number of lines that each client has in flight.
    Echo(usize),
    /// The number of clients that send a line each, which all clients receive.
    Broadcast(usize),
}

impl Workload {
    pub const ALL: [Self; 4] = [Self::Echo(1), Self::Echo(16), Self::Broadcast(1), Self::Broadcast(16)];

    pub fn title(self) -> String {
        match self {
            Self::Echo(1) => "echo".to_owned(),
            Self::Echo(depth) => format!("echo, {depth} lines at a time"),
            Self::Broadcast(1) => "broadcast".to_owned(),
            Self::Broadcast(speakers) => format!("broadcast, {speakers} lines at a time"),
        }
    }

    /// Sends until the server has sent about `messages` messages. Returns the exact number. All messages are checked.
    pub fn run(self, clients: &mut Clients, messages: usize) -> usize {
        let at_once = match self {
            Self::Echo(lines) | Self::Broadcast(lines) => lines,
        };
        let rounds = messages.div_ceil(clients.len() * at_once);
        match self {
            Self::Echo(depth) => clients.echo(depth, rounds),
            Self::Broadcast(speakers) => clients.broadcast(speakers, rounds),
        }
    }

    /// The number of messages in a sample: larger if one system call sends many.
    pub fn messages(self) -> usize {
        match self {
            Self::Echo(1) | Self::Broadcast(1) => 60_000,
            Self::Echo(_) | Self::Broadcast(_) => 240_000,
        }
    }
}
