//! Pairs of [`Pipe`]s and [`Gate`]s in one channel.

#![allow(dead_code, reason = "each test file uses its part")]

use crate::support::hooked::{Hooked, Hooks};
use crate::support::{Feed, Gate, Gatekeeper, Pipe, gate, pipe};
use stream_multiplexer::{Multiplexer, StreamId};

pub(crate) const CHANNEL: usize = 1;

pub(crate) type Pairs = Multiplexer<Pipe<u32>, Gate<u32>>;

pub(crate) type HookedPairs = Multiplexer<Pipe<u32>, Hooked<Gate<u32>>>;

/// A pair, with the test's ends of it.
pub(crate) struct Peer {
    pub(crate) id: StreamId,
    pub(crate) gate: Gatekeeper<u32>,
    pub(crate) feed: Feed<u32>,
}

/// A multiplexer with the channel and no pair.
pub(crate) fn pairs() -> Pairs {
    let multiplexer = Multiplexer::new();
    multiplexer.add_channel(CHANNEL).unwrap();
    multiplexer
}

/// A pair whose sink has room for `room` items.
pub(crate) fn add(multiplexer: &Pairs, room: usize) -> Peer {
    let (gate, sink) = gate(room);
    let (feed, stream) = pipe();
    Peer { id: multiplexer.add_stream_pair(sink, stream, CHANNEL).unwrap(), gate, feed }
}

/// Peers whose sinks have room for these numbers of items.
pub(crate) fn peers<const N: usize>(rooms: [usize; N]) -> (Pairs, [Peer; N]) {
    let multiplexer = pairs();
    let peers = rooms.map(|room| add(&multiplexer, room));
    (multiplexer, peers)
}

/// A pair whose sink does not flush, and has one item.
pub(crate) fn unflushed(multiplexer: &Pairs) -> Peer {
    let peer = add(multiplexer, 9);
    peer.gate.set_flushes(false);
    multiplexer.try_send(peer.id, 1).unwrap();
    peer
}

/// A pair whose sink has hooks, and room for nine items.
pub(crate) fn hooked() -> (HookedPairs, StreamId, Gatekeeper<u32>, Hooks) {
    let multiplexer = Multiplexer::new();
    multiplexer.add_channel(CHANNEL).unwrap();
    let (gate, inner) = gate(9);
    let hooks = Hooks::default();
    let sink = Hooked { inner, hooks: hooks.clone() };
    let id = multiplexer.add_stream_pair(sink, pipe().1, CHANNEL).unwrap();
    (multiplexer, id, gate, hooks)
}
