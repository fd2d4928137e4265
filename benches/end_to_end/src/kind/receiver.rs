//! `ChannelReceiver`: one loop over a channel, which waits for no client. A client misses lines for which its sink has no
//! room. A flusher in another task sends the rest of a sink's buffer when the client reads.

use super::{Reader, Writer, accept};
use crate::line::{Lines, sort};
use futures::StreamExt;
use stream_multiplexer::{Multiplexer, StreamEvent};
use tokio::net::TcpListener;
use tokio::task::{unconstrained, yield_now};

const CLIENTS: usize = 1;
/// The number of events that are received together: so few that line and socket are still in the first-level cache when the
/// answer is sent.
const AT_ONCE: usize = 16;
/// The number of events between yields.
const IN_A_ROW: usize = 64;

type Connections = Multiplexer<Reader, Writer>;

pub async fn serve(listener: TcpListener) {
    let connections = Connections::new();
    connections.add_channel(CLIENTS).expect("it is the first");
    tokio::spawn(admit(listener, connections.clone()));
    tokio::spawn(flush(connections.clone()));
    // The loop yields on its own and needs no budget. When a budget is used up, no sink is ready.
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
    let mut taken = 0;
    loop {
        let received = receiver.recv_many(&mut events, AT_ONCE).await;
        let mut to_all = Vec::new();
        for (id, event) in events.drain(..) {
            // Clients that leave have already been removed.
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
        taken += received;
        if taken >= IN_A_ROW {
            taken = 0;
            yield_now().await;
        }
    }
}
