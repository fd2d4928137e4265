//! What is said: lines of 32 bytes with the end, several of which may go in one item.

use std::sync::Arc;
use tokio_util::bytes::BytesMut;
use tokio_util::codec::{Decoder, Encoder, LinesCodec, LinesCodecError};

/// A line's length with its end.
pub const LENGTH: usize = 32;

/// What a server says, as one item.
#[derive(Clone, Debug)]
pub enum Lines {
    /// To one.
    Own(Vec<String>),
    /// To many, who share it.
    Shared(Arc<[String]>),
}

/// tokio-util's [`LinesCodec`], for all lines that are there: so what they cost is the codec's, and what an item costs is
/// paid once.
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

/// Tells what is to be answered from what everyone is to have.
pub fn sort(lines: Vec<String>) -> (Vec<String>, Vec<String>) {
    let is_answered = |line: &String| !line.starts_with('B');
    if lines.iter().all(is_answered) { (lines, Vec::new()) } else { lines.into_iter().partition(is_answered) }
}

/// The line that a client says as its `number`th.
pub fn echo(client: usize, number: usize) -> [u8; LENGTH] {
    written(b'E', client, number)
}

/// The same, to be said to everyone.
pub fn broadcast(client: usize, number: usize) -> [u8; LENGTH] {
    written(b'B', client, number)
}

/// Whether it is a line of one of the two, and which number it has.
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
