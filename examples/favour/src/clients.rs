//! The process of the clients. It prints the wait for each answer in nanoseconds, one per line.

use crate::{FREE, MEASURED, Outcome, PAYING, WARM_UP};
use std::io::{BufWriter, Write, stdout};
use std::time::{Duration, Instant};
use tokio::io::{AsyncBufReadExt, AsyncWriteExt, BufReader};
use tokio::net::{TcpSocket, TcpStream};
use tokio::time::timeout;

/// The pause between an answer and the next line. The paying clients alone use a small part of the server's time.
const PAUSE: Duration = Duration::from_millis(2);
/// Each client's pause is longer than the previous client's by this time, so that the clients do not send in step.
const STAGGER: Duration = Duration::from_micros(31);

/// The send buffer of a free client's socket, in bytes. Otherwise a thousand flooding clients would use all memory that the
/// system has for sockets. The system would then drop packets, including those of paying clients, and send them again after
/// 200 ms.
const SEND_BUFFER: u32 = 32 * 1024;

/// How long the paying clients waited for their answers, shortest first.
pub(crate) struct Answers {
    pub(crate) waits: Vec<Duration>,
}

impl Answers {
    pub(crate) fn parse(output: &str) -> Outcome<Self> {
        let waits = output.lines().map(|line| line.parse().map(Duration::from_nanos));
        let mut waits = waits.collect::<Result<Vec<_>, _>>()?;
        waits.sort_unstable();
        if waits.is_empty() { Err("no paying client got an answer".into()) } else { Ok(Self { waits }) }
    }
}

pub(crate) fn run(paying: u16, free: u16, flood: bool) -> Outcome<()> {
    crate::pin_to_core(1);
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    let waits = runtime.block_on(async {
        if flood {
            for _ in 0..FREE {
                let socket = TcpSocket::new_v4()?;
                socket.set_send_buffer_size(SEND_BUFFER)?;
                tokio::spawn(send_without_end(socket.connect(([127, 0, 0, 1], free).into()).await?));
            }
        }
        let mut pings = Vec::new();
        for number in 0..PAYING {
            let connection = TcpStream::connect(("127.0.0.1", paying)).await?;
            pings.push(tokio::spawn(ping(connection, PAUSE + STAGGER * number)));
        }
        let mut waits = Vec::new();
        for ping in pings {
            waits.extend(ping.await??);
        }
        Outcome::Ok(waits)
    })?;
    let mut output = BufWriter::new(stdout().lock());
    for wait in waits {
        writeln!(output, "{}", wait.as_nanos())?;
    }
    output.flush()?;
    Ok(())
}

/// Sends a line, waits for the answer, and sends the next line after a pause.
///
/// The task keeps yielding during its pause, so that this core never sleeps. The time that a system takes to wake a core is
/// not a property of the server.
async fn ping(connection: TcpStream, pause: Duration) -> Outcome<Vec<Duration>> {
    connection.set_nodelay(true)?;
    let (read, mut write) = connection.into_split();
    let mut answers = BufReader::new(read).lines();
    let begin = Instant::now() + WARM_UP;
    let end = begin + MEASURED;
    let mut waits = Vec::new();
    while Instant::now() < end {
        let sent = Instant::now();
        write.write_all(b"a line of a paying client\n").await?;
        match timeout(MEASURED, answers.next_line()).await {
            Ok(answer) => _ = answer?.ok_or("the server has hung up")?,
            Err(_) => {
                // A wait that exceeds the whole measurement counts as the length of the measurement.
                waits.push(MEASURED);
                return Ok(waits);
            }
        }
        if sent >= begin {
            waits.push(sent.elapsed());
        }
        let next = Instant::now() + pause;
        while Instant::now() < next {
            tokio::task::yield_now().await;
        }
    }
    Ok(waits)
}

async fn send_without_end(mut connection: TcpStream) {
    let lines = "a line of a client that pays nothing\n".repeat(256);
    while connection.write_all(lines.as_bytes()).await.is_ok() {}
}
