//! The protocol: lines of UTF-8.

use futures::SinkExt;
use futures::sink::Buffer;
use std::sync::Arc;
use stream_multiplexer::Multiplexer;
use tokio::net::TcpStream;
use tokio::net::tcp::{OwnedReadHalf, OwnedWriteHalf};
use tokio_util::bytes::BytesMut;
use tokio_util::codec::{Decoder, FramedRead, FramedWrite, LinesCodec, LinesCodecError};

/// In bytes, without the line end.
const LONGEST_LINE: usize = 8 * 1024;
const TOO_LONG: &str = "a line has at most 8192 bytes";
/// How many lines a client may be behind, in addition to the lines in the buffers of its socket.
const FURTHEST_BEHIND: usize = 1024;

/// A line that is sent to any number of clients.
pub(crate) type Line = Arc<str>;
pub(crate) type Incoming = FramedRead<OwnedReadHalf, Lines>;
pub(crate) type Outgoing = Buffer<FramedWrite<OwnedWriteHalf, LinesCodec>, Line>;
pub(crate) type Connections = Multiplexer<Incoming, Outgoing>;

pub(crate) fn frame(connection: TcpStream) -> (Incoming, Outgoing) {
    let (read, write) = connection.into_split();
    // The codec counts the `\r` of a line end. `check` tests the length again, without the `\r`.
    let lines = Lines(LinesCodec::new_with_max_length(LONGEST_LINE + 1));
    (FramedRead::new(read, lines), FramedWrite::new(write, LinesCodec::new()).buffer(FURTHEST_BEHIND))
}

/// Reads lines, and continues after a bad line. Here a bad line is an item, because [`FramedRead`] ends at an error.
#[derive(Debug)]
pub(crate) struct Lines(LinesCodec);

/// A line, or the reason why it is bad.
pub(crate) type Read = Result<String, &'static str>;

impl Decoder for Lines {
    type Item = Read;
    type Error = LinesCodecError;

    fn decode(&mut self, buffer: &mut BytesMut) -> Result<Option<Read>, LinesCodecError> {
        Ok(self.0.decode(buffer).map_or_else(why, |line| line.map(check)))
    }

    fn decode_eof(&mut self, buffer: &mut BytesMut) -> Result<Option<Read>, LinesCodecError> {
        Ok(self.0.decode_eof(buffer).map_or_else(why, |line| line.map(check)))
    }
}

fn why(error: LinesCodecError) -> Option<Read> {
    Some(Err(match error {
        LinesCodecError::MaxLineLengthExceeded => TOO_LONG,
        // Decoding performs no I/O: this error means invalid UTF-8.
        LinesCodecError::Io(_) => "that was not UTF-8",
    }))
}

fn check(line: String) -> Read {
    if line.len() > LONGEST_LINE {
        Err(TOO_LONG)
    } else if line.contains(|char: char| char.is_control() && char != '\t') {
        // They could control the terminals of other clients.
        Err("a line has no control characters")
    } else {
        Ok(line)
    }
}

/// Returns the name in a login line, or the error to answer.
pub(crate) fn parse_login(line: &str) -> Result<&str, String> {
    let name = match line.split_once(' ') {
        Some(("LOGIN", name)) => name.trim(),
        _ => return Err("ERR say LOGIN and your name first".to_owned()),
    };
    let odd = |char: char| !char.is_alphanumeric() && !"-_.".contains(char);
    if name.is_empty() || name.len() > 32 || name.contains(odd) {
        return Err("ERR a name has 1 to 32 bytes: letters, digits and any of - _ .".to_owned());
    }
    Ok(name)
}
