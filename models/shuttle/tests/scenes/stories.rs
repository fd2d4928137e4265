//! Stories: the events that must have been received, given the operations.

use crate::parts::{Event, Numbers};
use shuttle::sync::{Condvar, Mutex};
use std::collections::HashMap;
use stream_multiplexer::{ChannelId, StreamEvent, StreamId};

/// The operations on a stream, as the threads that moved and removed it know them.
#[derive(Clone)]
pub(crate) struct Story {
    pub(crate) id: StreamId,
    pub(crate) numbers: Numbers,
    /// The channels of its stays. Only one thread moves the stream, so that their order is known.
    pub(crate) stays: Vec<ChannelId>,
}

impl Story {
    /// The numbers of items and departures that are received without further operations. The items that were left in a
    /// removed stream are not.
    fn awaits(&self, removed: bool) -> (usize, usize) {
        let (fed, ended) = self.numbers.fed();
        let items = if removed { 0 } else { fed };
        (items, self.stays.len() - 1 + usize::from(removed || ended))
    }
}

/// The numbers of items and departures of each stream that were received so far.
#[derive(Default)]
pub(crate) struct Tally {
    told: Mutex<HashMap<StreamId, (usize, usize)>>,
    changed: Condvar,
}

impl Tally {
    pub(crate) fn note(&self, events: &[(StreamId, Event)]) {
        let mut told = self.told.lock().unwrap();
        for (id, event) in events {
            let (items, departures) = told.entry(*id).or_default();
            *(if event.item().is_some() { items } else { departures }) += 1;
        }
        drop(told);
        self.changed.notify_all();
    }

    /// Waits until the events of all operations so far were received. No further operation comes in the meantime, so
    /// that the receivers must have been woken for these events.
    pub(crate) fn wait_for(&self, stories: &[Story], removed: &[StreamId]) {
        let is_told = |told: &HashMap<_, (usize, usize)>| {
            stories.iter().all(|story| {
                let (items, departures) = told.get(&story.id).copied().unwrap_or_default();
                let awaits = story.awaits(removed.contains(&story.id));
                items >= awaits.0 && departures >= awaits.1
            })
        };
        let mut told = self.told.lock().unwrap();
        while !is_told(&told) {
            told = self.changed.wait(told).unwrap();
        }
    }
}

/// The events of one receiver.
pub(crate) struct Told {
    pub(crate) channel: ChannelId,
    pub(crate) events: Vec<(StreamId, Event)>,
}

/// The operations, and the received events.
pub(crate) struct Record {
    pub(crate) stories: Vec<Story>,
    pub(crate) told: Vec<Told>,
    /// The streams that `remove_stream` returned.
    pub(crate) removed: Vec<StreamId>,
    /// A removed channel, and the streams that were returned with it.
    pub(crate) channel: Option<(ChannelId, Vec<StreamId>)>,
}

impl Record {
    /// Checks that the items of each stream were received completely and in order, and that each of its stays has one
    /// departure, in the order of the stays.
    pub(crate) fn check(&self) {
        let known: HashMap<_, _> = self.stories.iter().map(|story| (story.id, story)).collect();
        assert_eq!(known.len(), self.stories.len());
        for told in &self.told {
            assert!(told.events.iter().all(|(id, _)| known.contains_key(id)), "nobody is told of strangers");
        }
        self.stories.iter().for_each(|story| self.check_one(story));
    }

    fn check_one(&self, story: &Story) {
        let of_one = |told: &Told| -> Vec<Event> {
            told.events.iter().filter(|(id, _)| *id == story.id).map(|(_, event)| *event).collect()
        };
        let told: Vec<_> = self.told.iter().map(|told| (told.channel, of_one(told))).collect();

        let mut all: Vec<_> = told.iter().flat_map(|(_, events)| items(events)).collect();
        all.sort_unstable();
        assert!(all.into_iter().eq(0..story.numbers.yielded()), "each item comes once: {told:?}");
        for (_, events) in &told {
            assert!(items(events).is_sorted(), "and in order: {told:?}");
        }

        let expected = self.departures(story);
        for channel in self.channels() {
            let expected: Vec<_> =
                expected.iter().filter(|(of, _)| *of == channel).map(|(_, how)| *how).collect();
            let heard: Vec<Vec<_>> =
                told.iter().filter(|(of, _)| *of == channel).map(|(_, events)| departures(events)).collect();
            let fits = is_shuffle(&expected, &heard, !self.was_removed(channel));
            assert!(fits, "{channel}: {expected:?}, but {heard:?}");
        }
        self.check_stays(story, &told);
    }

    /// If one receiver received all events of each channel, every item belongs to a stay.
    fn check_stays(&self, story: &Story, told: &[(ChannelId, Vec<Event>)]) {
        if self.channel.is_some() || self.channels().len() != told.len() {
            return;
        }
        let mut left: HashMap<ChannelId, &[Event]> =
            told.iter().map(|(channel, events)| (*channel, events.as_slice())).collect();
        let mut next = 0;
        for channel in &story.stays {
            let events = left.get_mut(channel).expect("it has a receiver");
            let stay = events.iter().position(|event| event.item().is_none()).expect("each has a departure");
            for item in items(&events[..stay]) {
                assert_eq!(item, next, "received where it was: {told:?}, {:?}", story.stays);
                next += 1;
            }
            *events = &events[stay + 1..];
        }
        assert!(left.values().all(|events| events.is_empty()), "nothing after the last: {told:?}");
    }

    /// The departure of each stay, and its channel.
    fn departures(&self, story: &Story) -> Vec<(ChannelId, Event)> {
        let moves = story.stays.windows(2).map(|stays| (stays[0], StreamEvent::Moved(stays[1])));
        let last = *story.stays.last().expect("it was added somewhere");
        let with_channel = self.channel.as_ref().is_some_and(|(_, streams)| streams.contains(&story.id));
        let removed = self.removed.iter().filter(|id| **id == story.id).count();
        assert!(removed + usize::from(with_channel) <= 1, "handed back once");
        let end = match removed {
            _ if with_channel => None,
            0 => Some((last, StreamEvent::Ended)),
            _ => Some((last, StreamEvent::Removed)),
        };
        moves.chain(end).collect()
    }

    fn channels(&self) -> Vec<ChannelId> {
        let mut channels: Vec<_> = self.told.iter().map(|told| told.channel).collect();
        channels.sort_unstable();
        channels.dedup();
        channels
    }

    /// Whether the channel was removed. Its unread events are then never received.
    fn was_removed(&self, channel: ChannelId) -> bool {
        self.channel.as_ref().is_some_and(|(removed, _)| *removed == channel)
    }
}

fn items(events: &[Event]) -> Vec<usize> {
    events.iter().filter_map(|event| event.item()).collect()
}

fn departures(events: &[Event]) -> Vec<Event> {
    events.iter().filter(|event| event.item().is_none()).copied().collect()
}

/// Whether the parts, each in its order, make up the whole, or a beginning of it.
fn is_shuffle(whole: &[Event], parts: &[Vec<Event>], to_the_end: bool) -> bool {
    fn go(whole: &[Event], parts: &mut [&[Event]]) -> bool {
        if parts.iter().all(|part| part.is_empty()) {
            return true;
        }
        let Some((first, rest)) = whole.split_first() else { return false };
        (0..parts.len()).any(|at| {
            let part = parts[at];
            if part.first() != Some(first) {
                return false;
            }
            parts[at] = &part[1..];
            let fits = go(rest, parts);
            parts[at] = part;
            fits
        })
    }
    let all = parts.iter().map(Vec::len).sum::<usize>();
    (!to_the_end || all == whole.len()) && go(whole, &mut parts.iter().map(Vec::as_slice).collect::<Vec<_>>())
}
