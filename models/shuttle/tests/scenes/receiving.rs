//! Streams are fed, moved, removed and added while several receivers receive from them.

use crate::explore;
use crate::parts::{Numbers, join_all, pause, pick, throw};
use crate::stories::{Record, Story, Tally, Told};
use crate::support::poll;
use futures::StreamExt;
use shuttle::future::block_on;
use shuttle::thread;
use std::slice;
use std::sync::Arc;
use std::task::Poll;
use stream_multiplexer::{ChannelId, ChannelReceiver, Multiplexer, MultiplexerError, StreamId};

const CHANNELS: [ChannelId; 3] = [1, 2, 3];
const ITEMS: usize = 4;

type Mux = Multiplexer<Numbers>;
type Receiver = ChannelReceiver<Numbers, ()>;

/// The threads of a scene.
struct Cast {
    /// The first channel of each stream.
    streams: &'static [ChannelId],
    /// The channel of each receiver.
    receivers: &'static [ChannelId],
    /// Threads that poll a channel a few times, and then never again.
    passers: &'static [ChannelId],
    /// Each mover moves its own streams.
    movers: usize,
    feeders: usize,
    removers: usize,
    adders: usize,
    /// Threads that take streams out as a poll does.
    peekers: usize,
    /// Threads that call `shrink_to_fit`, after which members have other slots.
    shrinkers: usize,
    /// Threads that pause and resume streams and channels.
    pausers: usize,
    /// Whether a thread closes a channel, or all channels, during the scene.
    closes: bool,
    /// The channel that a thread removes.
    removes: Option<ChannelId>,
}

/// No thread. Each scene adds its own.
const NOBODY: Cast = Cast {
    streams: &[],
    receivers: &[],
    passers: &[],
    movers: 0,
    feeders: 0,
    removers: 0,
    adders: 0,
    peekers: 0,
    shrinkers: 0,
    pausers: 0,
    closes: false,
    removes: None,
};

/// Eight threads. Each channel has one receiver, so that the order of all events is known.
#[test]
fn one_receiver_for_each_channel() {
    const CAST: Cast = Cast { streams: &[1, 2, 3], receivers: &[1, 2, 3], movers: 2, feeders: 2, ..NOBODY };
    explore(|| CAST.play());
}

/// Eleven threads.
#[test]
fn streams_are_moved_removed_and_added() {
    const CAST: Cast = Cast {
        streams: &[1, 1, 2, 2],
        receivers: &[1, 2, 3],
        passers: &[1],
        movers: 2,
        feeders: 1,
        removers: 1,
        adders: 2,
        ..NOBODY
    };
    explore(|| CAST.play());
}

/// Eleven threads.
#[test]
fn several_receivers_for_one_channel() {
    const CAST: Cast = Cast {
        streams: &[1, 1, 2],
        receivers: &[1, 1, 1, 2, 3],
        passers: &[1, 2],
        movers: 1,
        feeders: 1,
        removers: 1,
        ..NOBODY
    };
    explore(|| CAST.play());
}

/// Nine threads.
#[test]
fn streams_are_used_in_place() {
    const CAST: Cast = Cast {
        streams: &[1, 2],
        receivers: &[1, 2, 3],
        movers: 1,
        feeders: 1,
        removers: 1,
        peekers: 2,
        ..NOBODY
    };
    explore(|| CAST.play());
}

/// Eleven threads.
#[test]
fn memory_is_given_back() {
    const CAST: Cast = Cast {
        streams: &[1, 1, 2, 2],
        receivers: &[1, 2, 2, 3],
        movers: 1,
        feeders: 1,
        removers: 1,
        adders: 1,
        shrinkers: 2,
        ..NOBODY
    };
    explore(|| CAST.play());
}

/// Eleven threads.
#[test]
fn streams_and_channels_are_paused() {
    const CAST: Cast = Cast {
        streams: &[1, 1, 2],
        receivers: &[1, 1, 2, 3],
        movers: 2,
        feeders: 1,
        removers: 1,
        shrinkers: 1,
        pausers: 2,
        ..NOBODY
    };
    explore(|| CAST.play());
}

/// Eleven threads.
#[test]
fn channels_are_closed() {
    const CAST: Cast = Cast {
        streams: &[1, 2, 2],
        receivers: &[1, 2, 2, 3],
        movers: 2,
        feeders: 1,
        removers: 1,
        adders: 1,
        closes: true,
        ..NOBODY
    };
    explore(|| CAST.play());
}

/// Eleven threads.
#[test]
fn a_channel_is_removed() {
    const CAST: Cast = Cast {
        streams: &[1, 1, 2],
        receivers: &[1, 1, 2, 3],
        passers: &[2],
        movers: 2,
        feeders: 1,
        removers: 1,
        removes: Some(1),
        ..NOBODY
    };
    explore(|| CAST.play());
}

impl Cast {
    fn play(&self) {
        let multiplexer = Mux::new();
        CHANNELS.iter().for_each(|channel| multiplexer.add_channel(*channel).unwrap());
        // At the end the multiplexer is closed, or all handles are dropped.
        let closes = throw(2) == 0;
        let tally = Arc::new(Tally::default());
        let receive = |channel: &ChannelId| {
            let receiver = multiplexer.receiver(*channel).unwrap();
            let (multiplexer, tally) = (closes.then(|| multiplexer.clone()), Arc::clone(&tally));
            thread::spawn(move || receive(receiver, multiplexer.as_ref(), &tally))
        };
        // Some receivers start before the streams are added.
        let drained = closes.then(|| {
            let multiplexer = multiplexer.clone();
            // `drained` fails if the channel is removed first.
            thread::spawn(move || block_on(multiplexer.drained(1)).is_ok())
        });
        let early: Vec<_> = self.receivers[1..].iter().map(receive).collect();
        let stories: Vec<_> =
            self.streams.iter().map(|channel| add(&multiplexer, *channel).unwrap()).collect();
        let late = receive(&self.receivers[0]);

        let pass_by = |channel: &ChannelId| {
            let receiver = multiplexer.receiver(*channel).unwrap();
            let tally = Arc::clone(&tally);
            thread::spawn(move || pass_by(receiver, &tally))
        };
        let passers: Vec<_> = self.passers.iter().map(pass_by).collect();
        let movers: Vec<_> = (0..self.movers)
            .map(|mover| {
                let multiplexer = multiplexer.clone();
                let stories: Vec<_> = stories.iter().skip(mover).step_by(self.movers).cloned().collect();
                thread::spawn(move || move_about(&multiplexer, stories))
            })
            .collect();
        let feeders: Vec<_> = (0..self.feeders)
            .map(|feeder| {
                let stories = stories.iter().skip(feeder).step_by(self.feeders);
                let streams: Vec<_> = stories.map(|story| story.numbers.clone()).collect();
                thread::spawn(move || feed(&streams))
            })
            .collect();
        let removers: Vec<_> = (0..self.removers)
            .map(|_| {
                let multiplexer = multiplexer.clone();
                let ids: Vec<_> = stories.iter().map(|story| story.id).collect();
                thread::spawn(move || remove(&multiplexer, &ids))
            })
            .collect();
        let adders: Vec<_> = (0..self.adders)
            .map(|_| {
                let multiplexer = multiplexer.clone();
                thread::spawn(move || come_and_go(&multiplexer))
            })
            .collect();
        let peekers: Vec<_> = (0..self.peekers)
            .map(|_| {
                let multiplexer = multiplexer.clone();
                let ids: Vec<_> = stories.iter().map(|story| story.id).collect();
                thread::spawn(move || peek(&multiplexer, &ids))
            })
            .collect();
        let shrinkers: Vec<_> = (0..self.shrinkers)
            .map(|_| {
                let multiplexer = multiplexer.clone();
                thread::spawn(move || shrink(&multiplexer))
            })
            .collect();
        let pausers: Vec<_> = (0..self.pausers)
            .map(|_| {
                let multiplexer = multiplexer.clone();
                let ids: Vec<_> = stories.iter().map(|story| story.id).collect();
                thread::spawn(move || pause_and_resume(&multiplexer, &ids))
            })
            .collect();
        let closer = self.closes.then(|| {
            let multiplexer = multiplexer.clone();
            thread::spawn(move || close(&multiplexer))
        });
        let channel = self.removes.map(|channel| {
            let multiplexer = multiplexer.clone();
            thread::spawn(move || remove_channel(&multiplexer, channel))
        });

        join_all(feeders);
        let moved = join_all(movers).into_iter().flatten();
        let stories: Vec<_> = moved.chain(join_all(adders).into_iter().flatten()).collect();
        join_all(peekers);
        join_all(shrinkers);
        join_all(pausers);
        join_all(closer);
        let removed: Vec<_> = join_all(removers).into_iter().flatten().collect();
        let channel = channel.map(|thread| (self.removes.unwrap(), thread.join().unwrap()));
        // Events in a removed channel may never be received.
        if channel.is_none() {
            tally.wait_for(&stories, &removed);
        }
        for story in &stories {
            story.numbers.end();
            if channel.is_none() {
                tally.wait_for(slice::from_ref(story), &removed);
            }
        }
        if closes {
            multiplexer.close();
        }
        drop(multiplexer);
        join_all(drained);
        let told = join_all(early.into_iter().chain([late]).chain(passers));
        Record { stories, told, removed, channel }.check();
    }
}

/// Adds a stream. Returns `None` if the channel is closed.
fn add(multiplexer: &Mux, channel: ChannelId) -> Option<Story> {
    let numbers = Numbers::default();
    match multiplexer.add_stream(numbers.clone(), channel) {
        Ok(id) => Some(Story { id, numbers, stays: vec![channel] }),
        Err(refused) => {
            assert_eq!(refused.reason(), MultiplexerError::Closed);
            None
        }
    }
}

/// Receives until the channel has ended.
fn receive(mut receiver: Receiver, multiplexer: Option<&Mux>, tally: &Tally) -> Told {
    let channel = receiver.channel_id();
    let mut events = Vec::new();
    loop {
        let before = events.len();
        match throw(4) {
            // Another receiver polls once, and is dropped when it is woken, or before.
            0 => {
                let other = multiplexer.map(|multiplexer| multiplexer.receiver(channel));
                if let Some(Ok(mut other)) = other {
                    if let Poll::Ready(Some(event)) = poll(&mut other) {
                        events.push(event);
                    }
                    pause();
                }
            }
            1 => {
                if block_on(receiver.recv_many(&mut events, 3)) == 0 {
                    break;
                }
            }
            _ => match block_on(receiver.next()) {
                Some(event) => events.push(event),
                None => break,
            },
        }
        tally.note(&events[before..]);
    }
    Told { channel, events }
}

/// Polls a few times, and leaves the other events to other receivers.
fn pass_by(mut receiver: Receiver, tally: &Tally) -> Told {
    let mut events = Vec::new();
    for _ in 0..3 {
        pause();
        if let Poll::Ready(Some(event)) = poll(&mut receiver) {
            tally.note(&[event]);
            events.push(event);
        }
    }
    Told { channel: receiver.channel_id(), events }
}

fn move_about(multiplexer: &Mux, mut stories: Vec<Story>) -> Vec<Story> {
    for _ in 0..4 * stories.len() {
        let at = throw(stories.len());
        let story = &mut stories[at];
        let to = pick(&CHANNELS);
        match multiplexer.change_stream_channel(story.id, to) {
            Ok(()) if story.stays.last() != Some(&to) => story.stays.push(to),
            Ok(()) => {}
            Err(
                MultiplexerError::UnknownStream(_)
                | MultiplexerError::UnknownChannel(_)
                | MultiplexerError::Closed,
            ) => {}
            Err(error) => panic!("{error}"),
        }
    }
    stories
}

fn feed(streams: &[Numbers]) {
    for _ in 0..ITEMS * streams.len() {
        let stream = &streams[throw(streams.len())];
        match throw(8) {
            0 => stream.wake(),
            1 => stream.end(),
            _ => stream.feed(),
        }
    }
}

fn remove(multiplexer: &Mux, ids: &[StreamId]) -> Vec<StreamId> {
    (0..2).filter_map(|_| multiplexer.remove_stream(pick(ids))).map(|pair| pair.id).collect()
}

/// A stream that is added late, is moved, and ends.
fn come_and_go(multiplexer: &Mux) -> Option<Story> {
    let story = add(multiplexer, pick(&CHANNELS))?;
    story.numbers.feed();
    let story = move_about(multiplexer, vec![story]).pop()?;
    story.numbers.feed();
    story.numbers.end();
    Some(story)
}

fn peek(multiplexer: &Mux, ids: &[StreamId]) {
    for _ in 0..3 {
        // If the stream is present and not being polled.
        let _ = multiplexer.with_stream(pick(ids), |_| pause());
    }
}

fn pause_and_resume(multiplexer: &Mux, ids: &[StreamId]) {
    for _ in 0..2 {
        // Unless the stream has left.
        let (id, channel) = (pick(ids), pick(&CHANNELS));
        let _ = multiplexer.pause_stream(id);
        pause();
        let _ = multiplexer.pause_channel(channel);
        pause();
        let _ = multiplexer.resume_stream(id);
        let _ = multiplexer.resume_channel(channel);
    }
}

fn shrink(multiplexer: &Mux) {
    for _ in 0..2 {
        (0..throw(4)).for_each(|_| pause());
        multiplexer.shrink_to_fit();
    }
}

fn close(multiplexer: &Mux) {
    (0..throw(8)).for_each(|_| pause());
    match throw(4) {
        0 => multiplexer.close(),
        channel => multiplexer.close_channel(channel).unwrap(),
    }
}

fn remove_channel(multiplexer: &Mux, channel: ChannelId) -> Vec<StreamId> {
    (0..throw(8)).for_each(|_| pause());
    multiplexer.remove_channel(channel).unwrap().into_iter().map(|pair| pair.id).collect()
}
