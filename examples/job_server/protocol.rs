//! The protocol: JSON in frames. A length of four bytes, most significant byte first, precedes each frame.

use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use stream_multiplexer::Multiplexer;
use tokio::net::TcpStream;
use tokio::net::tcp::{OwnedReadHalf, OwnedWriteHalf};
use tokio_util::bytes::Bytes;
use tokio_util::codec::{FramedRead, FramedWrite, LengthDelimitedCodec};

/// The longest frame, in bytes. A longer frame is an error as soon as its length is read, and takes no memory.
const LONGEST: usize = 4 << 10;

/// How many bytes of answers may wait for one client before its sink is full, in addition to the kernel's buffers.
const UNREAD: usize = 64 << 10;

pub(crate) type Incoming = FramedRead<OwnedReadHalf, LengthDelimitedCodec>;
pub(crate) type Outgoing = FramedWrite<OwnedWriteHalf, LengthDelimitedCodec>;
pub(crate) type Connections = Multiplexer<Incoming, Outgoing>;

#[derive(Deserialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Request {
    Login(String),
    Job(u64),
    Stats,
    Pause(bool),
}

#[derive(Serialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Answer {
    Welcome(&'static str),
    Done(u64),
    Stats(BTreeMap<&'static str, ClassStats>),
    Paused(bool),
    Error(&'static str),
}

/// Statistics of a class of clients.
#[derive(Serialize)]
pub(crate) struct ClassStats {
    pub(crate) clients: usize,
    /// Clients that do not read their answers.
    pub(crate) slow: usize,
    pub(crate) requests: u64,
    pub(crate) refused: u64,
    /// The longest wait of a request of this class, in events of other classes.
    pub(crate) longest_wait: u64,
}

pub(crate) fn framed(socket: TcpStream) -> (Outgoing, Incoming) {
    let codec = LengthDelimitedCodec::builder().max_frame_length(LONGEST).new_codec();
    let (read, write) = socket.into_split();
    let mut outgoing = FramedWrite::new(write, codec.clone());
    outgoing.set_backpressure_boundary(UNREAD);
    (outgoing, FramedRead::new(read, codec))
}

pub(crate) fn encode(answer: &Answer) -> Bytes {
    serde_json::to_vec(answer).expect("all of it has a form in JSON").into()
}
