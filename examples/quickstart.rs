//! A line-based TCP chat. The line `LOGIN` makes a guest a member. A line of a member is sent to all members.

use futures::StreamExt;
use stream_multiplexer::{Multiplexer, Share, StreamEvent};
use tokio::net::TcpListener;
use tokio_util::codec::{FramedRead, FramedWrite, LinesCodec};

const GUESTS: usize = 0;
const MEMBERS: usize = 1;

#[tokio::main]
async fn main() -> Result<(), Box<dyn std::error::Error>> {
    // tokio allows a task 128 socket operations before it must yield; after them, the sinks of
    // healthy peers look full. `unconstrained` lifts this. `events` below yields by itself.
    tokio::task::unconstrained(serve()).await
}

async fn serve() -> Result<(), Box<dyn std::error::Error>> {
    let multiplexer = Multiplexer::new();
    multiplexer.add_channel(GUESTS)?;
    multiplexer.add_channel(MEMBERS)?;
    let disconnect = |id| drop(multiplexer.remove_stream(id));
    let mut events = multiplexer.select();
    events.add(MEMBERS, Share::new())?; // members first,
    events.add(GUESTS, Share::new().priority(1))?; // then guests, and guests never starve

    let address = std::env::args().nth(1).unwrap_or("127.0.0.1:7878".to_owned());
    let listener = TcpListener::bind(address).await?;
    println!("listening on {}", listener.local_addr()?);
    loop {
        tokio::select! {
            Ok((connection, _)) = listener.accept() => {
                let (read, write) = connection.into_split();
                let stream = FramedRead::new(read, LinesCodec::new_with_max_length(1024));
                let sink = FramedWrite::new(write, LinesCodec::new());
                multiplexer.add_stream_pair(sink, stream, GUESTS)?;
            }
            Some((channel, id, event)) = events.next() => match event {
                StreamEvent::Item(Ok(line)) if channel == MEMBERS => {
                    // `try_send_to` never waits. Disconnect a member that does not read.
                    multiplexer.try_send_to(MEMBERS, line, |id, error| {
                        if error.is_full() {
                            disconnect(id);
                        }
                    })?;
                }
                StreamEvent::Item(Ok(line)) if line == "LOGIN" => {
                    let _ = multiplexer.change_stream_channel(id, MEMBERS);
                    let _ = multiplexer.try_send(id, "welcome");
                }
                StreamEvent::Item(Ok(_)) => drop(multiplexer.try_send(id, "say LOGIN")),
                StreamEvent::Item(Err(_)) | StreamEvent::SinkFailed => disconnect(id),
                _ => {} // the stream left this channel
            }
        }
    }
}
