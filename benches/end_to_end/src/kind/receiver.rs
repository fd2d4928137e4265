//! Ours: one loop over a channel, which waits for no client. What a client has no room for it misses; what lies in a sink's
//! buffer until the client reads on is passed on by a flusher, beside the loop.

use super::{Reader, Writer, accept};
use crate::line::{Lines, sort};
use futures::StreamExt;
use stream_multiplexer::{Multiplexer, StreamEvent};
use tokio::net::TcpListener;
use tokio::task::{unconstrained, yield_now};

const CLIENTS: usize = 1;
/// How many events are taken at a time: so few that what is sent finds the socket in the caches in which it was read.
const IN_A_ROW: usize = 64;

type Connections = Multiplexer<Reader, Writer>;

pub async fn serve(listener: TcpListener) {
    let connections = Connections::new();
    connections.add_channel(CLIENTS).expect("it is the first");
    tokio::spawn(admit(listener, connections.clone()));
    tokio::spawn(flush(connections.clone()));
    // It yields by itself, so it needs no budget: when that is used up, each sink says that it is not ready.
    unconstrained(hear(connections)).await;
}

async fn admit(listener: TcpListener, connections: Connections) {
    loop {
        let (reader, writer) = accept(&listener).await;
        connections.add_stream_pair(writer, reader, CLIENTS).expect("the channel is open");
    }
}

async fn flush(connections: Connections) {
    let mut flusher = connections.flusher::<Lines>();
    while let Some((broken, _)) = flusher.next().await {
        connections.discard_stream(broken);
    }
}

async fn hear(connections: Connections) {
    let mut receiver = connections.receiver(CLIENTS).expect("it was added");
    let mut events = Vec::new();
    loop {
        let received = receiver.recv_many(&mut events, IN_A_ROW).await;
        let mut to_all = Vec::new();
        for (id, event) in events.drain(..) {
            // Who leaves is not there any more, and nothing is left to be done.
            let StreamEvent::Item(Ok(lines)) = event else { continue };
            let (to_one, public) = sort(lines);
            to_all.extend(public);
            if !to_one.is_empty() {
                let _ = connections.try_send(id, Lines::Own(to_one));
            }
        }
        if !to_all.is_empty() {
            let _ = connections.try_send_to(CLIENTS, Lines::Shared(to_all.into()), |_, _| {});
        }
        if received == IN_A_ROW {
            yield_now().await;
        }
    }
}
