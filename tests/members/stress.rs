//! Many concurrent threads: each item is received exactly once and in order, each stay has one departure, and each send did
//! what it reported.

use crate::support;
use futures::{SinkExt, Stream, StreamExt, stream};
use pollster::block_on;
use std::collections::{HashMap, HashSet, VecDeque};
use std::pin::Pin;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, mpsc};
use std::task::{Context, Poll, Waker};
use std::thread::{self, JoinHandle};
use stream_multiplexer::StreamEvent::{self, Ended, Item, Moved, Removed};
use stream_multiplexer::{ChannelId, Multiplexer, SendError, StreamId};
use support::{Feed, Gate, Gatekeeper, Pipe, finishes, gate, pipe, poll, poll_future};

/// Pseudo-random numbers, the same in each run.
struct Dice(u64);

impl Dice {
    fn throw(&mut self, sides: usize) -> usize {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        usize::try_from(self.0 % sides as u64).unwrap()
    }

    fn is_one_of(&mut self, sides: usize) -> bool {
        self.throw(sides) == 0
    }
}

fn join_all<T>(threads: impl IntoIterator<Item = JoinHandle<T>>) -> Vec<T> {
    let join = |thread: JoinHandle<T>| thread.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic));
    threads.into_iter().map(join).collect()
}

/// Producers that add streams, feed them from their threads and move them; movers; a thread that removes; and receivers.
mod receiving {
    use super::*;

    const CHANNELS: [ChannelId; 3] = [10, 11, 12];
    const PRODUCERS: usize = 2;
    const STREAMS: usize = 32;
    const ITEMS: u32 = 1_000;
    const MOVERS: usize = 2;
    const MOVES: usize = 15_000;

    type Streams = Multiplexer<Kept>;
    type Events = Vec<(StreamId, StreamEvent<u32>)>;
    /// The events of each receiver, and its channel.
    type Received = Vec<(ChannelId, Events)>;
    /// The items that each stream still had when it was dropped.
    type Left = HashMap<usize, Vec<u32>>;

    /// A stream that leaves the items that it did not yield.
    struct Kept {
        at: usize,
        pipe: Option<Pipe<u32>>,
        left: mpsc::Sender<(usize, Pipe<u32>)>,
    }

    impl Stream for Kept {
        type Item = u32;

        fn poll_next(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<u32>> {
            Pin::new(self.pipe.as_mut().expect("until it is dropped")).poll_next(cx)
        }
    }

    impl Drop for Kept {
        fn drop(&mut self) {
            let pipe = self.pipe.take().expect("until it is dropped");
            self.left.send((self.at, pipe)).unwrap();
        }
    }

    /// A stream that was added.
    #[derive(Clone, Copy)]
    struct Added {
        id: StreamId,
        at: usize,
        first: ChannelId,
    }

    impl Added {
        /// Every fourth stream never ends, and is removed.
        fn is_to_be_removed(&self) -> bool {
            self.at % 4 == 0
        }
    }

    /// The shared state of all threads.
    struct Scene {
        multiplexer: Streams,
        /// The streams that were added so far.
        added: Mutex<Vec<Added>>,
    }

    impl Scene {
        fn new() -> Arc<Self> {
            let multiplexer = Multiplexer::new();
            for channel in CHANNELS {
                multiplexer.add_channel(channel).unwrap();
            }
            Arc::new(Self { multiplexer, added: Mutex::default() })
        }

        /// Runs all threads, with these receivers, to the end. Returns the received events, and the items that the
        /// streams left.
        fn run(self: &Arc<Self>, receivers: Vec<JoinHandle<(ChannelId, Events)>>) -> (Received, Left) {
            let (left, leaves) = mpsc::channel();
            let producers: Vec<_> = (0..PRODUCERS)
                .map(|producer| {
                    let (scene, left) = (Arc::clone(self), left.clone());
                    thread::spawn(move || scene.produce(producer, &left))
                })
                .collect();
            let others: Vec<_> = (0..MOVERS)
                .map(|mover| {
                    let scene = Arc::clone(self);
                    thread::spawn(move || scene.move_about(mover))
                })
                .chain([thread::spawn({
                    let scene = Arc::clone(self);
                    move || scene.remove()
                })])
                .collect();
            join_all(producers);
            join_all(others);
            // A closed channel ends when it is empty, although a stream could still have been moved there: closes when
            // all moves are done.
            self.multiplexer.close();
            let received = join_all(receivers);

            drop(left);
            let drain = |(at, mut pipe)| {
                let mut items = Vec::new();
                while let Poll::Ready(Some(item)) = poll(&mut pipe) {
                    items.push(item);
                }
                (at, items)
            };
            let left: HashMap<_, _> = leaves.into_iter().map(drain).collect();
            assert_eq!(left.len(), STREAMS, "each stream was dropped");
            (received, left)
        }

        /// Adds its share of the streams, one after the other, and feeds the present ones in turn.
        fn produce(&self, producer: usize, left: &mpsc::Sender<(usize, Pipe<u32>)>) {
            let mut dice = Dice(producer as u64 + 1);
            let mut waiting: VecDeque<_> = (producer..STREAMS).step_by(PRODUCERS).collect();
            let mut feeds: Vec<(Added, Feed<u32>, u32)> = Vec::new();
            while !(waiting.is_empty() && feeds.is_empty()) {
                if feeds.len() < 8 {
                    if let Some(at) = waiting.pop_front() {
                        let (feed, pipe) = pipe();
                        let first = CHANNELS[dice.throw(3)];
                        let stream = Kept { at, pipe: Some(pipe), left: left.clone() };
                        let id = self.multiplexer.add_stream(stream, first).unwrap();
                        let added = Added { id, at, first };
                        self.added.lock().unwrap().push(added);
                        feeds.push((added, feed, 0));
                    }
                }
                let next = dice.throw(feeds.len());
                let (added, feed, item) = &mut feeds[next];
                feed.push(*item);
                *item += 1;
                if *item == ITEMS {
                    if !added.is_to_be_removed() {
                        feed.end();
                    }
                    feeds.swap_remove(next);
                } else if dice.is_one_of(50) {
                    self.multiplexer.change_stream_channel(added.id, CHANNELS[dice.throw(3)]).ok();
                } else if dice.is_one_of(8) {
                    thread::yield_now();
                }
            }
        }

        fn move_about(&self, mover: usize) {
            let mut dice = Dice(mover as u64 + 101);
            for _ in 0..MOVES {
                if let Some(added) = self.any(&mut dice) {
                    self.multiplexer.change_stream_channel(added.id, CHANNELS[dice.throw(3)]).ok();
                }
                if dice.is_one_of(4) {
                    thread::yield_now();
                }
            }
        }

        fn remove(&self) {
            let mut dice = Dice(1_001);
            let mut removed = 0;
            while removed < STREAMS / 4 {
                let added = self.any(&mut dice).filter(Added::is_to_be_removed);
                let pair = added.and_then(|added| self.multiplexer.remove_stream(added.id));
                removed += usize::from(pair.is_some());
                for _ in 0..20 {
                    thread::yield_now();
                }
            }
        }

        fn any(&self, dice: &mut Dice) -> Option<Added> {
            let added = self.added.lock().unwrap();
            if added.is_empty() { None } else { Some(added[dice.throw(added.len())]) }
        }

        fn receive_by_next(&self, channel: ChannelId) -> JoinHandle<(ChannelId, Events)> {
            let mut receiver = self.multiplexer.receiver(channel).unwrap();
            thread::spawn(move || {
                let mut events = Vec::new();
                while let Some(event) = block_on(receiver.next()) {
                    events.push(event);
                }
                (channel, events)
            })
        }

        fn receive_many(&self, channel: ChannelId) -> JoinHandle<(ChannelId, Events)> {
            let mut receiver = self.multiplexer.receiver(channel).unwrap();
            thread::spawn(move || {
                let mut events = Vec::new();
                while block_on(receiver.recv_many(&mut events, 7)) > 0 {}
                (channel, events)
            })
        }

        /// With receivers that are dropped repeatedly, polled or not.
        fn receive_by_many(&self, channel: ChannelId) -> JoinHandle<(ChannelId, Events)> {
            let multiplexer = self.multiplexer.clone();
            thread::spawn(move || {
                let mut events = Vec::new();
                loop {
                    let mut aside = multiplexer.receiver(channel).unwrap();
                    match poll(&mut aside) {
                        Poll::Ready(Some(event)) => events.push(event),
                        Poll::Ready(None) => return (channel, events),
                        Poll::Pending => {}
                    }
                    let mut receiver = multiplexer.receiver(channel).unwrap();
                    match block_on(receiver.next()) {
                        Some(event) => events.push(event),
                        None => return (channel, events),
                    }
                }
            })
        }
    }

    /// With one receiver at a time for each channel, the items of a stream can be followed from channel to channel.
    #[test]
    fn items_of_each_stream_come_once_and_in_order_in_its_channel() {
        finishes(|| {
            let scene = Scene::new();
            let [one, two, three] = CHANNELS;
            let receivers =
                vec![scene.receive_by_next(one), scene.receive_many(two), scene.receive_by_many(three)];
            let (received, left) = scene.run(receivers);

            let mut by_stream: HashMap<(ChannelId, StreamId), VecDeque<StreamEvent<u32>>> = HashMap::new();
            for (channel, events) in received {
                for (id, event) in events {
                    by_stream.entry((channel, id)).or_default().push_back(event);
                }
            }
            let added = scene.added.lock().unwrap();
            let mut stays = 0;
            for added in &*added {
                let (items, of_stream) = follow(added, &mut by_stream);
                stays += of_stream;
                let all: Vec<_> = items.into_iter().chain(left[&added.at].iter().copied()).collect();
                assert!(all.into_iter().eq(0..ITEMS), "of stream {}", added.at);
            }
            assert!(by_stream.values().all(VecDeque::is_empty), "nothing is told beyond the last departure");
            assert!(stays > STREAMS, "they were moved");
        });
    }

    /// Follows a stream, stay by stay, and returns the number of stays.
    fn follow(
        added: &Added,
        received: &mut HashMap<(ChannelId, StreamId), VecDeque<StreamEvent<u32>>>,
    ) -> (Vec<u32>, usize) {
        let mut items = Vec::new();
        let mut channel = added.first;
        for stays in 1.. {
            let events = received.get_mut(&(channel, added.id)).expect("a departure, at least");
            let departure = loop {
                match events.pop_front().expect("a departure ends each stay") {
                    Item(item) => items.push(item),
                    departure => break departure,
                }
            };
            match departure {
                Moved(to) => channel = to,
                last => {
                    assert_eq!(last, if added.is_to_be_removed() { Removed } else { Ended });
                    return (items, stays);
                }
            }
        }
        unreachable!("the loop has no end but by return")
    }

    /// In a race of movers, a stream may leave, come back and leave for good during a single poll.
    #[test]
    fn the_departures_of_a_stream_come_in_the_order_of_its_stays() {
        let [here, there, elsewhere] = CHANNELS;
        type Moves = Box<dyn FnOnce() + Send>;
        for last in [Moved(elsewhere), Removed] {
            let multiplexer = Multiplexer::without_sinks();
            CHANNELS.iter().for_each(|channel| multiplexer.add_channel(*channel).unwrap());
            let while_polled: Arc<Mutex<Option<Moves>>> = Arc::default();
            let moves = Arc::clone(&while_polled);
            let stream = stream::poll_fn(move |_| {
                let moves = moves.lock().unwrap().take();
                moves.into_iter().for_each(|moves| moves());
                Poll::<Option<u32>>::Pending
            });
            let id = multiplexer.add_stream(stream.boxed(), here).unwrap();
            let movers = multiplexer.clone();
            *while_polled.lock().unwrap() = Some(Box::new(move || {
                movers.change_stream_channel(id, there).unwrap();
                movers.change_stream_channel(id, here).unwrap();
                match last {
                    Moved(to) => movers.change_stream_channel(id, to).unwrap(),
                    _ => drop(movers.remove_stream(id).unwrap()),
                }
            }));

            let mut receiver = multiplexer.receiver(here).unwrap();
            assert_eq!(poll(&mut receiver), Poll::Ready(Some((id, Moved(there)))));
            assert_eq!(poll(&mut receiver), Poll::Ready(Some((id, last))));
            assert_eq!(poll(&mut receiver), Poll::Pending);
        }
    }

    /// Several receivers receive in any order, but each event is received by one of them.
    #[test]
    fn each_event_goes_to_one_of_several_receivers() {
        finishes(|| {
            let scene = Scene::new();
            let receivers = CHANNELS.into_iter().flat_map(|channel| {
                [scene.receive_by_next(channel), scene.receive_many(channel), scene.receive_by_many(channel)]
            });
            let (received, left) = scene.run(receivers.collect());

            let mut items: HashMap<StreamId, Vec<u32>> = HashMap::new();
            let mut departures: HashMap<(ChannelId, StreamId), Vec<StreamEvent<u32>>> = HashMap::new();
            for (channel, events) in received {
                for (id, event) in events {
                    match event {
                        Item(item) => items.entry(id).or_default().push(item),
                        departure => departures.entry((channel, id)).or_default().push(departure),
                    }
                }
            }
            for added in &*scene.added.lock().unwrap() {
                let mut all = items.remove(&added.id).unwrap_or_default();
                all.extend(&left[&added.at]);
                all.sort_unstable();
                assert!(all.into_iter().eq(0..ITEMS), "of stream {}", added.at);
                let of_stream =
                    CHANNELS.map(|channel| departures.remove(&(channel, added.id)).unwrap_or_default());
                check_departures(added, &of_stream);
            }
            assert!(items.is_empty() && departures.is_empty());
        });
    }

    /// A stream left each channel as often as it entered it, and finally left for good.
    fn check_departures(added: &Added, departures: &[Vec<StreamEvent<u32>>; 3]) {
        for (channel, told) in CHANNELS.into_iter().zip(departures) {
            let arrivals = departures.iter().flatten().filter(|event| **event == Moved(channel)).count();
            let stays = arrivals + usize::from(channel == added.first);
            assert_eq!(told.len(), stays, "one departure for each stay");
        }
        let last = departures.iter().flatten().filter(|event| !matches!(event, Moved(_)));
        assert!(last.eq([if added.is_to_be_removed() { &Removed } else { &Ended }]));
    }
}

/// Senders in all ways, some of which are dropped in the middle, to sinks with little room, some of which are removed.
mod sending {
    use super::*;

    const CHANNEL: ChannelId = 1;
    const SENDERS: usize = 4;
    const STREAMS: usize = 8;
    const ITEMS: usize = 1_500;

    /// The sender of an item, and its number.
    type Letter = (usize, usize);
    type Pairs = Multiplexer<Pipe<()>, Gate<Letter>>;
    type Broken = SendError<support::Broken>;

    /// What a sender knows about an item that it sent to a stream.
    #[derive(Clone, Copy, Debug)]
    enum Knows {
        Arrived,
        Lost,
        Nothing,
    }

    impl Knows {
        fn by<T>(sent: &Result<T, Broken>) -> Self {
            match sent {
                Ok(_) | Err(SendError::Unflushed(_)) => Self::Arrived,
                Err(SendError::UnknownStream(_) | SendError::Closed(_)) => Self::Lost,
                Err(error) => panic!("no sink fails: {error}"),
            }
        }
    }

    /// An item, its stream, and its result.
    type Report = (Letter, usize, Knows);

    #[test]
    fn each_sink_gets_what_its_senders_say_and_in_their_order() {
        finishes(|| {
            let multiplexer = Multiplexer::new();
            multiplexer.add_channel(CHANNEL).unwrap();
            let (feeds, gates, ids) = add_streams(&multiplexer);
            let senders_left = Arc::new(AtomicBool::new(true));
            let sends = Arc::new(AtomicUsize::new(0));
            let peers = thread::spawn({
                let senders_left = Arc::clone(&senders_left);
                move || read(&gates, &senders_left)
            });
            let ends = thread::spawn({
                let multiplexer = multiplexer.clone();
                let (ids, sends) = (ids.clone(), Arc::clone(&sends));
                move || end_some(&multiplexer, &ids, &feeds, &sends)
            });
            let senders: Vec<_> = (0..SENDERS)
                .map(|sender| {
                    let (multiplexer, ids, sends) = (multiplexer.clone(), ids.clone(), Arc::clone(&sends));
                    thread::spawn(move || send(&multiplexer, &ids, sender, &sends))
                })
                .collect();

            let reports: Vec<Report> = join_all(senders).concat();
            ends.join().unwrap();
            senders_left.store(false, Ordering::SeqCst);
            let received = peers.join().unwrap();
            received.iter().for_each(|letters| check_order(letters));
            check_reports(&reports, &received);
        });
    }

    fn add_streams(multiplexer: &Pairs) -> (Vec<Feed<()>>, Vec<Gatekeeper<Letter>>, Vec<StreamId>) {
        let mut streams = (Vec::new(), Vec::new(), Vec::new());
        for _ in 0..STREAMS {
            let (feed, stream) = pipe();
            let (gate, sink) = gate(1);
            streams.0.push(feed);
            streams.1.push(gate);
            streams.2.push(multiplexer.add_stream_pair(sink, stream, CHANNEL).unwrap());
        }
        streams
    }

    /// The peers read, and make room for as many items. From time to time they do not let their sinks flush.
    fn read(gates: &[Gatekeeper<Letter>], senders_left: &AtomicBool) -> Vec<Vec<Letter>> {
        let mut dice = Dice(7);
        let mut received = vec![Vec::new(); gates.len()];
        let mut is_last = false;
        while !is_last {
            is_last = !senders_left.load(Ordering::SeqCst);
            for (gate, received) in gates.iter().zip(&mut received) {
                let letters = gate.take_items();
                gate.set_flushes(dice.throw(3) > 0);
                gate.make_room(letters.len());
                received.extend(letters);
            }
            thread::yield_now();
        }
        received
    }

    /// Half of the streams leave during the sends: removed, closed or ended, one after each tenth of all sends.
    fn end_some(multiplexer: &Pairs, ids: &[StreamId], feeds: &[Feed<()>], sends: &AtomicUsize) {
        for (at, id) in ids.iter().enumerate().take(STREAMS / 2) {
            while sends.load(Ordering::SeqCst) < (at + 1) * SENDERS * ITEMS / 10 {
                thread::yield_now();
            }
            match at % 3 {
                0 => drop(multiplexer.remove_stream(*id).unwrap()),
                1 => block_on(multiplexer.close_stream(*id)).unwrap(),
                _ => feeds[at].end(),
            }
            assert_eq!(block_on(multiplexer.recv(CHANNEL)), Ok((*id, None)));
        }
    }

    fn send(multiplexer: &Pairs, ids: &[StreamId], sender: usize, sends: &AtomicUsize) -> Vec<Report> {
        let mut dice = Dice(sender as u64 + 11);
        let mut senders: Vec<_> = ids.iter().map(|id| multiplexer.sender(*id).unwrap()).collect();
        let mut reports = Vec::new();
        for item in 0..ITEMS {
            sends.fetch_add(1, Ordering::SeqCst);
            let letter = (sender, item);
            let to = dice.throw(ids.len());
            let many: Vec<_> = (0..ids.len()).filter(|_| dice.is_one_of(2)).collect();
            let many_ids = many.iter().map(|to| ids[*to]);
            match dice.throw(5) {
                0 => {
                    let sent = block_on(multiplexer.send_one(ids[to], letter));
                    reports.push((letter, to, Knows::by(&sent)));
                }
                1 => {
                    let sent = block_on(senders[to].send(letter));
                    reports.push((letter, to, Knows::by(&sent)));
                }
                2 => {
                    let sent = block_on(multiplexer.send(many_ids, letter));
                    let sent = many.iter().zip(&sent);
                    reports.extend(sent.map(|(to, sent)| (letter, *to, Knows::by(sent))));
                }
                3 => {
                    let mut sending = multiplexer.send_one(ids[to], letter);
                    let knows = match poll_future(&mut sending, Waker::noop()) {
                        Poll::Ready(sent) => Knows::by(&sent),
                        Poll::Pending => Knows::Nothing,
                    };
                    reports.push((letter, to, knows));
                }
                _ => {
                    let mut sending = multiplexer.send(many_ids, letter);
                    let polled = poll_future(&mut sending, Waker::noop());
                    reports.extend(many.iter().enumerate().map(|(index, to)| match &polled {
                        Poll::Ready(sent) => (letter, *to, Knows::by(&sent.as_slice()[index])),
                        Poll::Pending => (letter, *to, Knows::Nothing),
                    }));
                }
            }
        }
        reports
    }

    /// The items of each sender are in order, and none comes twice.
    fn check_order(letters: &[Letter]) {
        for sender in 0..SENDERS {
            let items: Vec<_> =
                letters.iter().filter(|(by, _)| *by == sender).map(|(_, item)| item).collect();
            assert!(items.is_sorted_by(|item, next| item < next), "of sender {sender}: {items:?}");
        }
    }

    fn check_reports(reports: &[Report], received: &[Vec<Letter>]) {
        let received: Vec<HashSet<_>> = received.iter().map(|letters| letters.iter().collect()).collect();
        let mut known = HashSet::new();
        for (letter, to, knows) in reports {
            let arrived = received[*to].contains(letter);
            match knows {
                Knows::Arrived => assert!(arrived, "{letter:?} to {to}"),
                Knows::Lost => assert!(!arrived, "{letter:?} to {to}"),
                Knows::Nothing => {}
            }
            known.insert((*to, letter));
        }
        assert!(
            reports.iter().any(|(.., knows)| matches!(knows, Knows::Lost)),
            "some streams went meanwhile"
        );
        for (to, letters) in received.iter().enumerate() {
            assert!(letters.iter().all(|letter| known.contains(&(to, *letter))), "nothing that nobody sent");
        }
    }
}

/// The pairs move to other places in their channel while another call goes through them.
#[test]
fn memory_is_released_while_a_channel_is_removed() {
    const STREAMS: usize = 500;
    for _ in 0..100 {
        let multiplexer = Multiplexer::without_sinks();
        multiplexer.add_channel(1).unwrap();
        for _ in 0..STREAMS {
            multiplexer.add_stream(stream::pending::<()>(), 1).unwrap();
        }
        let is_removed = AtomicBool::new(false);
        thread::scope(|threads| {
            threads.spawn(|| {
                while !is_removed.load(Ordering::Relaxed) {
                    multiplexer.shrink_to_fit();
                }
            });
            let pairs = multiplexer.remove_channel(1).map(|pairs| pairs.len());
            is_removed.store(true, Ordering::Relaxed);
            assert_eq!(pairs, Some(STREAMS));
        });
    }
}
