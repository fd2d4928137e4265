//! What goes over a connection: lines of UTF-8.

use futures::SinkExt;
use futures::sink::Buffer;
use std::fmt;
use std::sync::Arc;
use stream_multiplexer::Multiplexer;
use tokio::net::TcpStream;
use tokio::net::tcp::{OwnedReadHalf, OwnedWriteHalf};
use tokio_util::bytes::BytesMut;
use tokio_util::codec::{Decoder, FramedRead, FramedWrite, LinesCodec, LinesCodecError};

/// In bytes, without the end of the line.
const LONGEST_LINE: usize = 8 * 1024;
/// In bytes.
const LONGEST_NAME: usize = 32;
/// How many lines a client may be behind. What is in its socket's buffers comes on top.
const FURTHEST_BEHIND: usize = 1024;

/// A line on its way to any number of clients.
pub(crate) type Line = Arc<str>;
pub(crate) type Incoming = FramedRead<OwnedReadHalf, Lines>;
pub(crate) type Outgoing = Buffer<FramedWrite<OwnedWriteHalf, LinesCodec>, Line>;
pub(crate) type Connections = Multiplexer<Incoming, Outgoing>;

pub(crate) fn frame(connection: TcpStream) -> (Incoming, Outgoing) {
    let (read, write) = connection.into_split();
    // It counts the `\r` of a line that ends in one, which is looked at again when that is gone.
    let lines = Lines(LinesCodec::new_with_max_length(LONGEST_LINE + 1));
    (FramedRead::new(read, lines), FramedWrite::new(write, LinesCodec::new()).buffer(FURTHEST_BEHIND))
}

/// Reads lines, and goes on after a bad one: here that is an item, for at an error [`FramedRead`] ends.
#[derive(Debug)]
pub(crate) struct Lines(LinesCodec);

/// Why a line is invalid.
#[derive(Clone, Copy, Debug)]
pub(crate) enum BadLine {
    TooLong,
    NotUtf8,
    /// They would do to others' terminals what the client likes.
    ControlCharacters,
}

impl Decoder for Lines {
    type Item = Result<String, BadLine>;
    type Error = LinesCodecError;

    fn decode(&mut self, buffer: &mut BytesMut) -> Result<Option<Self::Item>, LinesCodecError> {
        Ok(line_or_bad(self.0.decode(buffer)))
    }

    fn decode_eof(&mut self, buffer: &mut BytesMut) -> Result<Option<Self::Item>, LinesCodecError> {
        Ok(line_or_bad(self.0.decode_eof(buffer)))
    }
}

fn line_or_bad(decoded: Result<Option<String>, LinesCodecError>) -> Option<Result<String, BadLine>> {
    match decoded {
        Ok(line) => line.map(check),
        Err(LinesCodecError::MaxLineLengthExceeded) => Some(Err(BadLine::TooLong)),
        // Decoding does no I/O.
        Err(LinesCodecError::Io(_)) => Some(Err(BadLine::NotUtf8)),
    }
}

fn check(line: String) -> Result<String, BadLine> {
    if line.len() > LONGEST_LINE {
        return Err(BadLine::TooLong);
    }
    if line.contains(|char: char| char.is_control() && char != '\t') {
        return Err(BadLine::ControlCharacters);
    }
    Ok(line)
}

impl fmt::Display for BadLine {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::TooLong => write!(f, "a line has at most {LONGEST_LINE} bytes"),
            Self::NotUtf8 => f.write_str("that was not UTF-8"),
            Self::ControlCharacters => f.write_str("a line has no control characters"),
        }
    }
}

/// The name that a newcomer wants, or what to answer.
pub(crate) fn parse_login(line: &str) -> Result<&str, String> {
    let name = match line.split_once(' ') {
        Some(("LOGIN", name)) => name.trim(),
        _ => return Err("ERR say LOGIN and your name first".to_owned()),
    };
    let odd = |char: char| !char.is_alphanumeric() && !"-_.".contains(char);
    if name.is_empty() || name.len() > LONGEST_NAME || name.contains(odd) {
        return Err(format!("ERR a name has 1 to {LONGEST_NAME} bytes: letters, digits and any of - _ ."));
    }
    Ok(name)
}
