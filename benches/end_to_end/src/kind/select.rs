//! Ours, over a `ChannelSelect`, as one would write it for several channels: that passes on what lies in the sinks' buffers,
//! too. It waits for no client. What a client has no room for it misses.

use super::{Reader, Writer, accept};
use crate::line::{Lines, sort};
use std::num::NonZeroU32;
use stream_multiplexer::{Multiplexer, Share, StreamEvent};
use tokio::net::TcpListener;
use tokio::task::unconstrained;

const CLIENTS: usize = 1;
/// How many events are taken at a time, and before others may run: as in `receiver`.
const IN_A_ROW: NonZeroU32 = NonZeroU32::new(64).unwrap();

type Connections = Multiplexer<Reader, Writer>;

pub async fn serve(listener: TcpListener) {
    let connections = Connections::new();
    connections.add_channel(CLIENTS).expect("it is the first");
    tokio::spawn(admit(listener, connections.clone()));
    // The select yields by itself, so it needs no budget: when that is used up, each sink says that it is not ready.
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
    while select.recv_many(&mut events, IN_A_ROW.get() as usize).await > 0 {
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
                // Who leaves is not there any more, and nothing is left to be done.
                _ => {}
            }
        }
        if !to_all.is_empty() {
            let _ = connections.try_send_to(CLIENTS, Lines::Shared(to_all.into()), |_, _| {});
        }
    }
}
