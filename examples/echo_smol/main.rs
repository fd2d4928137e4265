//! The documented example of 0.16.1, on smol: an echo server that moves each connection to another channel.
//!
//! ```sh
//! cargo run --example echo_smol
//! ```
//!
//! Two clients check their echo. After that the program ends.

use async_io::Async;
use futures::{SinkExt, StreamExt};
use std::error::Error;
use std::net::{SocketAddr, TcpListener, TcpStream};
use stream_multiplexer::Multiplexer;
use tokio_util::codec::{Framed, LinesCodec};
use tokio_util::compat::FuturesAsyncReadCompatExt;

const CHANNEL_ONE: usize = 1;
const CHANNEL_TWO: usize = 2;

type Outcome = Result<(), Box<dyn Error + Send + Sync>>;

fn main() -> Outcome {
    smol::block_on(async {
        // Create a multiplexer and its channels.
        let multiplexer = Multiplexer::new();
        multiplexer.add_channel(CHANNEL_ONE)?;
        multiplexer.add_channel(CHANNEL_TWO)?;

        // Bind any free port of this machine.
        let listener = Async::<TcpListener>::bind(([127, 0, 0, 1], 0))?;
        let local_addr = listener.get_ref().local_addr()?;

        // This task adds incoming connections to channel one.
        let incoming_multiplexer = multiplexer.clone();
        let incoming = smol::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                let framed = Framed::new(stream.compat(), LinesCodec::new());
                let (sink, stream) = framed.split();
                match incoming_multiplexer.add_stream_pair(sink, stream, CHANNEL_ONE) {
                    Ok(stream_id) => println!("stream {stream_id} is in channel one"),
                    Err(refused) => eprintln!("{refused}"),
                }
            }
        });

        // This task flushes output that could not be sent immediately. It ends with the last connection.
        let mut flusher = multiplexer.flusher::<String>();
        let flush = smol::spawn(async move {
            while let Some((stream_id, error)) = flusher.next().await {
                eprintln!("stream {stream_id}: {error}");
            }
        });

        // This task echoes lines from channel one, and moves their stream to channel two.
        let multiplexer_ch_1 = multiplexer.clone();
        let echo = smol::spawn(async move {
            while let Ok((stream_id, message)) = multiplexer_ch_1.recv(CHANNEL_ONE).await {
                match message {
                    Some(Ok(data)) => {
                        // `try_send` never waits.
                        if let Err(error) = multiplexer_ch_1.try_send(stream_id, data) {
                            eprintln!("{error}");
                        }
                        if let Err(error) = multiplexer_ch_1.change_stream_channel(stream_id, CHANNEL_TWO) {
                            eprintln!("{error}");
                        }
                    }
                    Some(Err(err)) => eprintln!("stream {stream_id} had an error: {err}"),
                    None => println!("stream {stream_id} has left channel one"),
                }
            }
        });

        let client_1 = smol::spawn(client(local_addr, "hello, I am the first"));
        let client_2 = smol::spawn(client(local_addr, "hello, I am the second"));

        // After its echo, each client sends a line, received in channel two, and leaves.
        let mut left = 0;
        while left < 2 {
            match multiplexer.recv(CHANNEL_TWO).await? {
                (stream_id, Some(data)) => println!("stream {stream_id} says in channel two: {}", data?),
                (stream_id, None) => {
                    println!("stream {stream_id} has left channel two");
                    left += 1;
                }
            }
        }
        client_1.await?;
        client_2.await?;

        // Stop accepting and close. The echo task ends, because channel one is closed and empty.
        incoming.cancel().await;
        multiplexer.close();
        echo.await;
        flush.await;
        Ok(())
    })
}

/// Sends a line, checks its echo, and reports it.
async fn client(server: SocketAddr, greeting: &str) -> Outcome {
    let stream = Async::<TcpStream>::connect(server).await?;
    let mut lines = Framed::new(stream.compat(), LinesCodec::new());
    lines.send(greeting).await?;
    let echo = lines.next().await.ok_or("the server has hung up")??;
    if echo != greeting {
        return Err(format!("said {greeting:?} and heard {echo:?}").into());
    }
    lines.send(format!("I have heard {echo:?}")).await?;
    Ok(())
}
