//! Lines of 32 bytes including the line end. An item may have several lines.

use std::sync::Arc;
use tokio_util::bytes::BytesMut;
use tokio_util::codec::{Decoder, Encoder, LinesCodec, LinesCodecError};

/// The length of a line including its end.
pub const LENGTH: usize = 32;

/// An item that a server sends.
#[derive(Clone, Debug)]
pub enum Lines {
    /// For one client.
    Own(Vec<String>),
    /// For many clients, which share it.
    Shared(Arc<[String]>),
}

/// tokio-util's [`LinesCodec`], for all lines in the buffer: a line costs what it costs in the codec, and the cost of
/// an item is paid once.
#[derive(Debug)]
pub struct Codec(LinesCodec);

impl Codec {
    pub fn new() -> Self {
        Self(LinesCodec::new())
    }
}

impl Decoder for Codec {
    type Item = Vec<String>;
    type Error = LinesCodecError;

    fn decode(&mut self, buffer: &mut BytesMut) -> Result<Option<Vec<String>>, LinesCodecError> {
        let mut lines = Vec::new();
        while let Some(line) = self.0.decode(buffer)? {
            lines.push(line);
        }
        Ok((!lines.is_empty()).then_some(lines))
    }
}

impl Encoder<Lines> for Codec {
    type Error = LinesCodecError;

    fn encode(&mut self, lines: Lines, buffer: &mut BytesMut) -> Result<(), LinesCodecError> {
        let lines = match &lines {
            Lines::Own(lines) => &lines[..],
            Lines::Shared(lines) => &lines[..],
        };
        lines.iter().try_for_each(|line| self.0.encode(line, buffer))
    }
}

/// Separates the lines to answer from the lines to broadcast.
pub fn sort(lines: Vec<String>) -> (Vec<String>, Vec<String>) {
    let is_answered = |line: &String| !line.starts_with('B');
    if lines.iter().all(is_answered) { (lines, Vec::new()) } else { lines.into_iter().partition(is_answered) }
}

/// A client's line with this number, to be answered.
pub fn echo(client: usize, number: usize) -> [u8; LENGTH] {
    written(b'E', client, number)
}

/// A client's line with this number, to be broadcast.
pub fn broadcast(client: usize, number: usize) -> [u8; LENGTH] {
    written(b'B', client, number)
}

/// Parses a line of either kind, and returns its number.
pub fn number(line: &[u8; LENGTH]) -> Option<usize> {
    let [client, number] =
        [&line[2..10], &line[11..31]].map(|digits| std::str::from_utf8(digits).ok()?.parse().ok());
    let (client, number) = (client?, number?);
    [echo(client, number), broadcast(client, number)].contains(line).then_some(number)
}

fn written(kind: u8, client: usize, number: usize) -> [u8; LENGTH] {
    let mut line = [b' '; LENGTH];
    line[0] = kind;
    decimal(&mut line[2..10], client);
    decimal(&mut line[11..31], number);
    line[LENGTH - 1] = b'\n';
    line
}

fn decimal(digits: &mut [u8], mut number: usize) {
    for digit in digits.iter_mut().rev() {
        *digit = b'0' + (number % 10) as u8;
        number /= 10;
    }
}
