//! `ChannelSelect`: the same loop, as in a program with several channels. The select also flushes the sinks. The loop waits
//! for no client. A client misses lines for which its sink has no room.

use super::{Reader, Writer, accept};
use crate::line::{Lines, sort};
use std::num::NonZeroU32;
use stream_multiplexer::{Multiplexer, Share, StreamEvent};
use tokio::net::TcpListener;
use tokio::task::unconstrained;

const CLIENTS: usize = 1;
/// The number of events that are received together, as in `receiver`.
const AT_ONCE: usize = 16;
/// The number of events between yields.
const IN_A_ROW: NonZeroU32 = NonZeroU32::new(64).unwrap();

type Connections = Multiplexer<Reader, Writer>;

pub async fn serve(listener: TcpListener) {
    let connections = Connections::new();
    connections.add_channel(CLIENTS).expect("it is the first");
    tokio::spawn(admit(listener, connections.clone()));
    // The select yields on its own and needs no budget. When a budget is used up, no sink is ready.
    unconstrained(hear(connections)).await;
}

async fn admit(listener: TcpListener, connections: Connections) {
    loop {
        let (reader, writer) = accept(&listener).await;
        connections.add_stream_pair(writer, reader, CLIENTS).expect("the channel is open");
    }
}

async fn hear(connections: Connections) {
    let mut select = connections.select();
    select.add(CLIENTS, Share::new()).expect("it was added");
    select.yield_every(Some(IN_A_ROW));
    let mut events = Vec::new();
    while select.recv_many(&mut events, AT_ONCE).await > 0 {
        let mut to_all = Vec::new();
        for (_, id, event) in events.drain(..) {
            match event {
                StreamEvent::Item(Ok(lines)) => {
                    let (to_one, public) = sort(lines);
                    to_all.extend(public);
                    if !to_one.is_empty() {
                        let _ = connections.try_send(id, Lines::Own(to_one));
                    }
                }
                StreamEvent::SinkFailed => drop(connections.discard_stream(id)),
                // Clients that leave have already been removed.
                _ => {}
            }
        }
        if !to_all.is_empty() {
            let _ = connections.try_send_to(CLIENTS, Lines::Shared(to_all.into()), |_, _| {});
        }
    }
}
