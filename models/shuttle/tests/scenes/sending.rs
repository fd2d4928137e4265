//! Many threads send to the same slow sinks, which are closed, removed and moved in the meantime.

use crate::explore;
use crate::parts::{Numbers, Slow, join_all, pause, pick, throw};
use crate::support::{Broken, Gate, Gatekeeper, gate, poll_future};
use futures::{SinkExt, StreamExt};
use shuttle::future::block_on;
use shuttle::thread;
use std::collections::HashMap;
use std::task::{Poll, Waker};
use stream_multiplexer::{ChannelId, Multiplexer, SendError, StreamId};

const A: ChannelId = 1;
const B: ChannelId = 2;

type Mux = Multiplexer<Numbers, Slow<Gate<Parcel>>>;

/// The sender, and the number of the parcel among the sender's.
type Parcel = (usize, usize);

/// What the sender knows about a parcel.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Arrival {
    Sure,
    /// The sender did not wait for the result.
    Unknown,
    None,
}

type Arrivals = Vec<(StreamId, Parcel, Arrival)>;

/// Six threads.
#[test]
fn to_slow_sinks() {
    explore(|| Cast { closed: 0, removed: 0, others: 2, senders: 3, echoes: 0 }.play());
}

/// Eight threads.
#[test]
fn to_a_sink_that_is_removed() {
    explore(|| Cast { closed: 0, removed: 1, others: 1, senders: 4, echoes: 0 }.play());
}

/// Nine threads.
#[test]
fn to_a_sink_that_is_closed_twice() {
    explore(|| Cast { closed: 1, removed: 0, others: 1, senders: 4, echoes: 0 }.play());
}

/// Eleven threads. Received items are sent back while the streams are moved.
#[test]
fn echoes() {
    explore(|| Cast { closed: 1, removed: 0, others: 1, senders: 2, echoes: 2 }.play());
}

/// The threads of a scene. In addition, each pair has a thread that opens its sink, and with echoes a thread that feeds and
/// moves its stream.
struct Cast {
    /// Pairs that two threads close. Their sinks may stay shut until then.
    closed: usize,
    /// Pairs that are removed. Their sinks may stay shut until then.
    removed: usize,
    others: usize,
    senders: usize,
    /// Threads that receive and send back, half of them in each channel.
    echoes: usize,
}

/// The number of sends of each sender.
const SENDS: usize = 3;

/// How often each stream is fed, if there are echoes.
const FED: usize = 3;

impl Cast {
    fn play(&self) {
        let multiplexer = Mux::new();
        multiplexer.add_channel(A).unwrap();
        multiplexer.add_channel(B).unwrap();
        let pairs: Vec<_> =
            (0..self.closed + self.removed + self.others).map(|_| Pair::add(&multiplexer)).collect();
        let ids: Vec<_> = pairs.iter().map(|pair| pair.id).collect();
        let (closed, others) = ids.split_at(self.closed);
        let (removed, _) = others.split_at(self.removed);

        let openers: Vec<_> = pairs
            .iter()
            .map(|pair| {
                let (keeper, ends) =
                    (pair.keeper.clone(), closed.contains(&pair.id) || removed.contains(&pair.id));
                // Otherwise there must be room for all parcels that may arrive.
                let room = if ends { 2 } else { self.senders * SENDS + FED };
                thread::spawn(move || open(&keeper, room, ends))
            })
            .collect();
        let feeders: Vec<_> = pairs
            .iter()
            .filter(|_| self.echoes > 0)
            .map(|pair| {
                let (multiplexer, id, numbers) = (multiplexer.clone(), pair.id, pair.numbers.clone());
                thread::spawn(move || feed_and_move(&multiplexer, id, &numbers))
            })
            .collect();
        let senders: Vec<_> = (0..self.senders)
            .map(|sender| {
                let (multiplexer, ids) = (multiplexer.clone(), ids.clone());
                thread::spawn(move || send(&multiplexer, &ids, sender))
            })
            .collect();
        let echoes: Vec<_> = (0..self.echoes)
            .map(|echo| {
                let (multiplexer, channel) = (multiplexer.clone(), [A, B][echo % 2]);
                let sender = self.senders + echo;
                thread::spawn(move || send_back(&multiplexer, channel, sender))
            })
            .collect();
        let closers: Vec<_> = closed
            .iter()
            .flat_map(|id| [*id; 2])
            .map(|id| {
                let multiplexer = multiplexer.clone();
                thread::spawn(move || close(&multiplexer, id))
            })
            .collect();
        let removers: Vec<_> = removed
            .iter()
            .map(|id| {
                let (multiplexer, id) = (multiplexer.clone(), *id);
                thread::spawn(move || {
                    (0..throw(8)).for_each(|_| pause());
                    assert!(multiplexer.remove_stream(id).is_some());
                })
            })
            .collect();

        join_all(openers);
        let mut arrivals: Vec<_> = join_all(senders);
        join_all(closers);
        join_all(removers);
        join_all(feeders);
        pairs.iter().for_each(|pair| pair.numbers.end());
        multiplexer.close();
        arrivals.extend(join_all(echoes));
        drop(multiplexer);
        for pair in &pairs {
            assert!(pair.keeper.is_dropped(), "with the last handle");
            check(pair, &arrivals.concat());
        }
    }
}

struct Pair {
    id: StreamId,
    numbers: Numbers,
    keeper: Gatekeeper<Parcel>,
}

impl Pair {
    fn add(multiplexer: &Mux) -> Self {
        let (keeper, gate) = gate(0);
        let numbers = Numbers::default();
        let id = multiplexer.add_stream_pair(Slow(gate), numbers.clone(), A).unwrap();
        Self { id, numbers, keeper }
    }
}

/// Sent parcels have arrived once, refused ones have not, and those of each sender are in order.
fn check(pair: &Pair, arrivals: &[(StreamId, Parcel, Arrival)]) {
    let items = pair.keeper.take_items();
    let arrivals: HashMap<_, _> = arrivals
        .iter()
        .filter(|(id, ..)| *id == pair.id)
        .map(|(_, parcel, arrival)| (*parcel, *arrival))
        .collect();
    for (parcel, arrival) in &arrivals {
        let found = items.iter().filter(|item| *item == parcel).count();
        match arrival {
            Arrival::Sure => assert_eq!(found, 1, "{parcel:?} of {items:?}"),
            Arrival::Unknown => assert!(found <= 1, "{parcel:?} of {items:?}"),
            Arrival::None => assert_eq!(found, 0, "{parcel:?} of {items:?}"),
        }
    }
    assert!(items.iter().all(|item| arrivals.contains_key(item)), "nothing comes from nobody");
    for sender in 0..=arrivals.len() {
        assert!(items.iter().filter(|item| item.0 == sender).is_sorted(), "in order: {items:?}");
    }
}

fn arrival<T>(result: &Result<T, SendError<Broken>>) -> Arrival {
    match result {
        Ok(_) | Err(SendError::Unflushed(_)) => Arrival::Sure,
        Err(SendError::UnknownStream(_) | SendError::Closed(_)) => Arrival::None,
        Err(error) => panic!("{error}"),
    }
}

/// Opens the sink for one item after the other, and lets it flush and close only from time to time. If the pair `ends`, the
/// sink may stay shut.
fn open(keeper: &Gatekeeper<Parcel>, room: usize, ends: bool) {
    for _ in 0..room {
        match throw(4) {
            0 => keeper.set_flushes(false),
            1 => keeper.set_flushes(true),
            2 => keeper.set_closes(false),
            _ => {}
        }
        keeper.make_room(1);
        pause();
    }
    keeper.set_closes(true);
    if !ends {
        keeper.set_flushes(true);
    }
}

fn send(multiplexer: &Mux, ids: &[StreamId], sender: usize) -> Arrivals {
    let mut arrivals = Arrivals::new();
    for at in 0..SENDS {
        let (id, parcel) = (pick(ids), (sender, at));
        match throw(5) {
            0 => {
                // Gives up, as a timeout does.
                let mut send = multiplexer.send_one(id, parcel);
                let known = match poll_future(&mut send, Waker::noop()) {
                    Poll::Ready(result) => arrival(&result),
                    Poll::Pending => Arrival::Unknown,
                };
                pause();
                arrivals.push((id, parcel, known));
            }
            1 => {
                let results = block_on(multiplexer.send(ids.iter().copied(), parcel));
                arrivals.extend(ids.iter().zip(results).map(|(id, result)| (*id, parcel, arrival(&result))));
            }
            2 => {
                // A failure does not show whether the sink has the parcel.
                let Ok(mut to) = multiplexer.sender(id) else { continue };
                let sent = block_on(to.send(parcel));
                arrivals.push((id, parcel, if sent.is_ok() { Arrival::Sure } else { Arrival::Unknown }));
            }
            _ => arrivals.push((id, parcel, arrival(&block_on(multiplexer.send_one(id, parcel))))),
        }
    }
    arrivals
}

fn close(multiplexer: &Mux, id: StreamId) {
    (0..throw(8)).for_each(|_| pause());
    let mut closes = multiplexer.close_stream::<Parcel>(id);
    let began = poll_future(&mut closes, Waker::noop());
    let late = block_on(multiplexer.send_one(id, (usize::MAX, 0)));
    assert_eq!(arrival(&late), Arrival::None, "it is closing, or closed");
    let closed = if let Poll::Ready(closed) = began { closed } else { block_on(closes) };
    assert!(matches!(closed, Ok(()) | Err(SendError::UnknownStream(_))), "{closed:?}");
}

fn feed_and_move(multiplexer: &Mux, id: StreamId, numbers: &Numbers) {
    for _ in 0..FED {
        numbers.feed();
        let _ = multiplexer.change_stream_channel(id, pick(&[A, B]));
    }
}

/// Sends items back until the channel has ended.
fn send_back(multiplexer: &Mux, channel: ChannelId, sender: usize) -> Arrivals {
    let mut arrivals = Arrivals::new();
    let mut receiver = multiplexer.receiver(channel).unwrap();
    while let Some((id, event)) = block_on(receiver.next()) {
        if event.item().is_some() {
            let parcel = (sender, arrivals.len());
            arrivals.push((id, parcel, arrival(&block_on(multiplexer.send_one(id, parcel)))));
        }
    }
    arrivals
}
