//! The oracle: a naive record of the place and the contents of every stream, which predicts all results.
//!
//! The library may poll a stream only while it is in the channel that is received from, and only after it was woken.
//! The result of a poll must be returned by the same call. A call may return nothing else, except unread departures:
//! those of each stream in order, and before the stream is polled in that channel again. If a call returns no event and
//! does not yield, there must be no event.

use super::operation::{ITSELF, Operation, Trick};
use std::collections::{BTreeMap, VecDeque};
use std::task::Waker;

/// The reason why a stream left a channel. `Moved` contains the id of the new channel.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Departure {
    Ended,
    Moved(usize),
    Removed,
}

/// An event of a stream.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Event {
    Item {
        stream: usize,
        item: u32,
    },
    Left {
        stream: usize,
        /// `None` if the library does not report the reason.
        why: Option<Departure>,
        /// The id of the channel. `None` if there is only one.
        from: Option<usize>,
    },
}

/// How a call that receives ended, in addition to its events.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Received {
    Events,
    /// No event now. Contains whether the call woke its task.
    Nothing {
        woken: bool,
    },
    /// No event, from a call without a task.
    NothingAtOnce,
    End,
    Panicked,
}

/// What a stream found in its poll.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Look {
    Item(u32),
    Nothing,
    End,
    Panic,
}

/// The result of a stream's poll.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Outcome {
    Item(u32),
    /// `told`: the stream was still in the channel, so that this call reports its departure.
    Ended {
        told: bool,
    },
    Pending {
        self_woken: bool,
    },
    Panicked,
}

/// After how many polls in vain a call yields, as documented.
const FRUITLESS_POLLS: usize = 64;

/// The number of wakers of removed streams that are kept.
const STALE_WAKERS: usize = 8;

#[derive(Default)]
pub(crate) struct Oracle {
    streams: Vec<StreamAccount>,
    /// All channels that were ever added.
    channels: Vec<ChannelAccount>,
    /// The index of each present channel, by id.
    names: BTreeMap<usize, usize>,
    closed: bool,
    /// The number of stays so far.
    stays: usize,
    /// Wakes by wakers of slots that may contain another stream now. Each may cause one poll in vain.
    stale_wakes: usize,
    stale_wakers: VecDeque<Waker>,
    /// The calls in progress that receive, innermost last.
    calls: Vec<Call>,
    /// The streams that are being polled, innermost last.
    in_poll: Vec<usize>,
}

#[derive(Default)]
struct StreamAccount {
    pushed: u32,
    items: VecDeque<u32>,
    ends: bool,
    trick: Option<Trick>,
    in_drop: Vec<Operation>,
    /// The stream's current stay, which may begin when its poll returns.
    stay: Option<Stay>,
    polled: Option<Polled>,
    /// The half-closing channel in which the stream ended, and which keeps its pair.
    kept_in: Option<usize>,
    /// In any channel.
    is_paused: bool,
    /// The pair is then not kept after the end of the stream.
    is_sink_closed: bool,
    /// The stream was added, was woken or had an item, and was not polled since.
    is_ready: bool,
    /// The waker of its last poll in this stay.
    waker: Option<(Waker, Stay)>,
}

/// A stay of a stream in a channel.
#[derive(Clone, Copy, PartialEq, Eq)]
struct Stay {
    channel: usize,
    number: usize,
}

/// The current poll of a stream.
struct Polled {
    stay: Stay,
    /// The departures of the stay in which the poll began, if it has ended, and of later stays in the same channel. They are
    /// reported in order, after the result of this poll.
    departures: Vec<Departure>,
    self_woken: bool,
}

struct ChannelAccount {
    name: usize,
    half_close: bool,
    report_departures: bool,
    max_streams: Option<usize>,
    is_paused: bool,
    is_closed: bool,
    is_removed: bool,
    counts: Counts,
    /// The unread departures of each stream, in order.
    untold: BTreeMap<usize, VecDeque<Departure>>,
}

/// The counters of a channel.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Counts {
    /// The received departures.
    pub(crate) told: u64,
    pub(crate) items: u64,
    pub(crate) polls_in_vain: u64,
    /// The polls that returned the end.
    pub(crate) ends: u64,
    pub(crate) ended: u64,
    pub(crate) moved: u64,
    pub(crate) removed: u64,
    pub(crate) refused: u64,
}

impl Counts {
    fn depart(&mut self, departure: Departure) {
        match departure {
            Departure::Ended => self.ended += 1,
            Departure::Moved(_) => self.moved += 1,
            Departure::Removed => self.removed += 1,
        }
    }
}

/// A call that receives.
struct Call {
    /// One channel, unless a select makes the call.
    channels: Vec<usize>,
    polls: Vec<(usize, Outcome)>,
    /// The call receives one event.
    is_single: bool,
    /// The channel was paused when the call began.
    is_paused: bool,
    /// Another operation was performed in the middle of the call, which may therefore wake its own task.
    is_disturbed: bool,
}

/// Channels.
impl Oracle {
    /// Adds a channel. Returns whether that is possible.
    pub(crate) fn add_channel(&mut self, name: usize, half_close: bool, report_departures: bool) -> bool {
        let may = !self.closed && !self.names.contains_key(&name);
        if may {
            self.names.insert(name, self.channels.len());
            self.channels.push(ChannelAccount {
                name,
                half_close,
                report_departures,
                max_streams: None,
                is_paused: false,
                counts: Counts::default(),
                is_closed: false,
                is_removed: false,
                untold: BTreeMap::new(),
            });
        }
        may
    }

    /// Removes a channel, and returns its streams.
    pub(crate) fn remove_channel(&mut self, name: usize) -> Option<Vec<usize>> {
        let channel = self.names.remove(&name)?;
        let pairs = self.pairs_in(channel);
        for stream in &pairs {
            match self.streams[*stream].kept_in.take() {
                Some(_) => {}
                None => self.leave(*stream, Departure::Removed),
            }
        }
        self.channels[channel].is_removed = true;
        if !self.is_uncertain(channel) {
            self.channels[channel].untold.clear();
        }
        Some(pairs)
    }

    pub(crate) fn close(&mut self) {
        self.closed = true;
        self.channels.iter_mut().for_each(|channel| channel.is_closed = true);
    }

    pub(crate) fn close_channel(&mut self, channel: usize) {
        self.channels[channel].is_closed = true;
    }

    /// The counters of a channel. `None` while a call that receives is in progress.
    pub(crate) fn counts(&self, channel: usize) -> Option<Counts> {
        self.calls.is_empty().then_some(self.channels[channel].counts)
    }

    /// A stream or a move was refused because the channel is full.
    pub(crate) fn refuse(&mut self, channel: usize) {
        self.channels[channel].counts.refused += 1;
    }

    pub(crate) fn pause_channel(&mut self, channel: usize, paused: bool) {
        self.channels[channel].is_paused = paused;
    }

    pub(crate) fn is_channel_paused(&self, channel: usize) -> bool {
        self.channels[channel].is_paused
    }

    pub(crate) fn set_max_streams(&mut self, channel: usize, limit: Option<usize>) {
        self.channels[channel].max_streams = limit;
    }

    pub(crate) fn max_streams(&self, channel: usize) -> Option<usize> {
        self.channels[channel].max_streams
    }

    /// Whether the channel is full. `None` if this depends on events that a call in progress has received.
    pub(crate) fn is_full(&self, channel: usize) -> Option<bool> {
        let account = &self.channels[channel];
        let Some(limit) = account.max_streams else { return Some(false) };
        let pairs = self.pairs_in(channel).len();
        let is_full = pairs >= limit || pairs + self.unread(channel) >= 2 * limit;
        if is_full && pairs < limit && self.is_uncertain(channel) { None } else { Some(is_full) }
    }

    /// The number of unread departures.
    pub(crate) fn unread(&self, channel: usize) -> usize {
        let account = &self.channels[channel];
        let is_reported =
            |departure: &&Departure| account.report_departures || **departure == Departure::Ended;
        let polled = self.streams.iter().filter_map(|stream| stream.polled.as_ref());
        let held = polled.filter(|polled| polled.stay.channel == channel);
        let held = held.map(|polled| polled.departures.iter().filter(is_reported).count());
        account.untold.values().map(VecDeque::len).sum::<usize>() + held.sum::<usize>()
    }

    pub(crate) fn is_channel_closed(&self, channel: usize) -> bool {
        self.channels[channel].is_closed
    }

    pub(crate) fn is_closed(&self) -> bool {
        self.closed
    }

    pub(crate) fn names(&self) -> Vec<usize> {
        self.names.keys().copied().collect()
    }

    pub(crate) fn channel(&self, name: usize) -> Option<usize> {
        self.names.get(&name).copied()
    }

    /// Whether the channel has, or had, this id.
    pub(crate) fn is_named(&self, channel: usize, name: usize) -> bool {
        self.channels[channel].name == name
    }

    pub(crate) fn members(&self, channel: usize) -> Vec<usize> {
        let is_in = |stream: &usize| self.streams[*stream].stay.is_some_and(|stay| stay.channel == channel);
        (0..self.streams.len()).filter(is_in).collect()
    }

    /// The members, and the kept pairs.
    pub(crate) fn pairs_in(&self, channel: usize) -> Vec<usize> {
        let is_in = |stream: &usize| {
            let account = &self.streams[*stream];
            account.stay.map(|stay| stay.channel).or(account.kept_in) == Some(channel)
        };
        (0..self.streams.len()).filter(is_in).collect()
    }

    pub(crate) fn untold(&self, channel: usize) -> impl Iterator<Item = usize> {
        self.channels[channel].untold.keys().copied()
    }

    /// Whether the channel has an event, or a panic, to receive.
    pub(crate) fn has_something(&self, channel: usize) -> bool {
        let has_something = |stream: &StreamAccount| {
            let is_here = stream.stay.is_some_and(|stay| stay.channel == channel) && stream.polled.is_none();
            let panics = stream.trick == Some(Trick::Panic);
            is_here && !stream.is_paused && (!stream.items.is_empty() || stream.ends || panics)
        };
        let ChannelAccount { is_removed, is_paused, untold, .. } = &self.channels[channel];
        let has_untold = !untold.is_empty() && !self.is_uncertain(channel);
        !is_removed && !is_paused && (has_untold || self.streams.iter().any(has_something))
    }

    /// Whether a call in progress may already have received departures.
    pub(crate) fn is_uncertain(&self, channel: usize) -> bool {
        self.calls.iter().any(|call| call.channels.contains(&channel) && !call.is_single)
    }

    /// After this number of polls no event is left, whatever the streams still do.
    pub(crate) fn polls_to_the_rest(&self) -> usize {
        let items: usize = self.streams.iter().map(|account| account.items.len()).sum();
        let untold = self.channels.iter().flat_map(|account| account.untold.values());
        let untold: usize = untold.map(VecDeque::len).sum();
        items + untold + 8 * (self.streams.len() + self.channels.len() + 1)
    }

    pub(crate) fn has_ended(&self, channel: usize) -> bool {
        let is_polled_here = |stream: &StreamAccount| {
            stream.polled.as_ref().is_some_and(|polled| polled.stay.channel == channel)
        };
        let account = &self.channels[channel];
        let is_empty = self.members(channel).is_empty() && account.untold.is_empty();
        account.is_removed || account.is_closed && is_empty && !self.streams.iter().any(is_polled_here)
    }
}

/// Streams.
impl Oracle {
    /// A new stream, which is in no channel.
    pub(crate) fn add_stream(&mut self) -> usize {
        self.streams.push(StreamAccount::default());
        self.streams.len() - 1
    }

    /// Picks a stream with a present pair. The greatest numbers pick any stream that ever existed.
    pub(crate) fn pick(&self, stream: usize) -> Option<usize> {
        if let (ITSELF, Some(itself)) = (stream, self.in_poll.last()) {
            return Some(*itself);
        }
        let pairs: Vec<_> = (0..self.streams.len()).filter(|stream| self.has_pair(*stream)).collect();
        match stream.checked_rem(pairs.len()) {
            Some(nth) if stream < 240 => Some(pairs[nth]),
            _ => stream.checked_rem(self.streams.len()),
        }
    }

    pub(crate) fn enter(&mut self, stream: usize, channel: usize) {
        self.stays += 1;
        let account = &mut self.streams[stream];
        account.stay = Some(Stay { channel, number: self.stays });
        account.is_ready = true;
    }

    /// Ends the stay of a stream. If it is being polled in that channel, the departure is reported after the poll.
    pub(crate) fn leave(&mut self, stream: usize, departure: Departure) {
        let account = &mut self.streams[stream];
        let stay = account.stay.take().expect("it is somewhere");
        self.channels[stay.channel].counts.depart(departure);
        // An unanswered wake stays in the slot, and may cause a poll of the next tenant.
        self.stale_wakes += usize::from(std::mem::take(&mut account.is_ready));
        if let Some((waker, _)) = &account.waker {
            self.stale_wakers.push_front(waker.clone());
            self.stale_wakers.truncate(STALE_WAKERS);
        }
        match &mut account.polled {
            Some(polled) if polled.stay.channel == stay.channel => polled.departures.push(departure),
            _ => self.owe(stay.channel, stream, departure),
        }
    }

    /// As [`leave`](Self::leave), without a report. The stream may have left already, with an unread departure.
    pub(crate) fn leave_silently(&mut self, stream: usize, channel: usize) {
        if self.streams[stream].stay.is_some() {
            self.leave(stream, Departure::Removed);
        }
        self.channels[channel].untold.remove(&stream);
    }

    /// The id of the stream's channel.
    pub(crate) fn channel_of(&self, stream: usize) -> Option<usize> {
        let account = &self.streams[stream];
        let channel = account.stay.map(|stay| stay.channel).or(account.kept_in)?;
        Some(self.channels[channel].name)
    }

    pub(crate) fn is_polled(&self, stream: usize) -> bool {
        self.streams[stream].polled.is_some()
    }

    /// Whether the stream's pair is present.
    pub(crate) fn has_pair(&self, stream: usize) -> bool {
        let account = &self.streams[stream];
        account.stay.is_some() || account.kept_in.is_some()
    }

    pub(crate) fn pairs(&self) -> usize {
        (0..self.streams.len()).filter(|stream| self.has_pair(*stream)).count()
    }

    /// A resumed stream has a turn.
    pub(crate) fn pause_stream(&mut self, stream: usize, paused: bool) {
        let account = &mut self.streams[stream];
        account.is_ready |= account.is_paused && !paused;
        account.is_paused = paused;
    }

    pub(crate) fn is_paused(&self, stream: usize) -> bool {
        self.streams[stream].is_paused
    }

    /// The number of pairs with a sink that was not closed.
    pub(crate) fn open_sinks(&self) -> usize {
        let has_sink = |stream: &usize| self.has_pair(*stream) && !self.streams[*stream].is_sink_closed;
        (0..self.streams.len()).filter(has_sink).count()
    }

    /// Whether the stream's pair is kept after its end.
    pub(crate) fn is_kept(&self, stream: usize) -> bool {
        self.streams[stream].kept_in.is_some()
    }

    /// The sink of the stream was closed: a pair that was kept for it leaves.
    pub(crate) fn sink_closed(&mut self, stream: usize) {
        self.streams[stream].is_sink_closed = true;
        self.lose(stream);
    }

    pub(crate) fn lose(&mut self, stream: usize) {
        self.streams[stream].kept_in = None;
    }

    /// All streams may have changed, and each may have a turn.
    pub(crate) fn change_all(&mut self) {
        let present = self.streams.iter_mut().filter(|account| account.stay.is_some());
        present.for_each(|account| account.is_ready = true);
    }

    /// The stream was accessed in place, and has a turn.
    pub(crate) fn change(&mut self, stream: usize) {
        self.streams[stream].is_ready = true;
    }

    /// The operations of the stream's drop.
    pub(crate) fn dropped(&mut self, stream: usize) -> Vec<Operation> {
        assert!(self.streams[stream].stay.is_none(), "stream {stream} was dropped and had not left");
        std::mem::take(&mut self.streams[stream].in_drop)
    }

    fn owe(&mut self, channel: usize, stream: usize, departure: Departure) {
        let account = &mut self.channels[channel];
        if !account.is_removed && (account.report_departures || departure == Departure::Ended) {
            account.untold.entry(stream).or_default().push_back(departure);
        }
    }
}

/// Inputs of streams. Each method returns a waker, to be called outside of the borrow.
impl Oracle {
    pub(crate) fn push(&mut self, stream: usize) -> Option<Waker> {
        let stream = self.pick(stream)?;
        let account = &mut self.streams[stream];
        if !account.ends {
            account.items.push_back(account.pushed);
            account.pushed += 1;
        }
        self.wake(stream)
    }

    pub(crate) fn end(&mut self, stream: usize) -> Option<Waker> {
        let stream = self.pick(stream)?;
        self.streams[stream].ends = true;
        self.wake(stream)
    }

    pub(crate) fn wake_any(&mut self, stream: usize) -> Option<Waker> {
        let stream = self.pick(stream)?;
        self.wake(stream)
    }

    pub(crate) fn trick(&mut self, stream: usize, trick: &Trick) -> Option<Waker> {
        let stream = self.pick(stream)?;
        match trick {
            Trick::InDrop(operations) => self.streams[stream].in_drop.clone_from(operations),
            trick => self.streams[stream].trick = Some(trick.clone()),
        }
        self.wake(stream)
    }

    pub(crate) fn stale_waker(&mut self, waker: usize) -> Option<Waker> {
        let waker = waker.checked_rem(self.stale_wakers.len())?;
        self.stale_wakes += 1;
        self.disturb();
        Some(self.stale_wakers[waker].clone())
    }

    pub(crate) fn wake(&mut self, stream: usize) -> Option<Waker> {
        let account = &mut self.streams[stream];
        let (waker, stay) = account.waker.as_ref()?;
        if account.stay == Some(*stay) {
            account.is_ready = true;
            account.polled.iter_mut().for_each(|polled| polled.self_woken = true);
        } else {
            self.stale_wakes += 1;
        }
        Some(waker.clone())
    }
}

/// Polls and calls.
impl Oracle {
    pub(crate) fn begin_poll(&mut self, stream: usize, waker: &Waker) -> Option<Trick> {
        let account = &mut self.streams[stream];
        let stay = account.stay.expect("only streams that are in a channel are polled");
        let call = self.calls.last().expect("streams are polled by those who receive");
        assert!(call.channels.contains(&stay.channel), "stream {stream} was polled for another channel");
        assert!(account.polled.is_none(), "stream {stream} was polled while it was polled");
        assert!(!account.is_paused, "stream {stream} was polled while it is paused");
        assert!(!self.channels[stay.channel].is_paused, "stream {stream} was polled in a paused channel");
        if !account.is_ready {
            assert!(self.stale_wakes > 0, "stream {stream} was polled again unwoken");
            self.stale_wakes -= 1;
        }
        account.is_ready = false;
        account.waker = Some((waker.clone(), stay));
        account.polled = Some(Polled { stay, departures: Vec::new(), self_woken: false });
        let trick = account.trick.take();
        let has_left = self.channels[stay.channel].untold.contains_key(&stream);
        assert!(!has_left || self.is_uncertain(stay.channel), "stream {stream} is back before it left");
        self.in_poll.push(stream);
        trick
    }

    /// What a poll finds.
    pub(crate) fn look(&mut self, stream: usize, trick: Option<&Trick>) -> Look {
        let account = &mut self.streams[stream];
        match trick {
            Some(Trick::Panic) => Look::Panic,
            Some(Trick::WakeItself) => Look::Nothing,
            _ => match account.items.pop_front() {
                Some(item) => Look::Item(item),
                None if account.ends => Look::End,
                None => Look::Nothing,
            },
        }
    }

    pub(crate) fn end_poll(&mut self, stream: usize, look: Look) -> Outcome {
        self.in_poll.pop();
        let account = &mut self.streams[stream];
        let polled = account.polled.take().expect("it began");
        let lasted = account.stay == Some(polled.stay);
        let outcome = match look {
            Look::Panic => Outcome::Panicked,
            Look::Nothing => Outcome::Pending { self_woken: polled.self_woken },
            Look::Item(item) => Outcome::Item(item),
            Look::End => Outcome::Ended { told: lasted },
        };
        let counts = &mut self.channels[polled.stay.channel].counts;
        match outcome {
            Outcome::Item(_) => counts.items += 1,
            Outcome::Pending { .. } => counts.polls_in_vain += 1,
            Outcome::Ended { told } => {
                counts.ends += 1;
                counts.told += u64::from(told);
            }
            Outcome::Panicked => {}
        }
        for departure in polled.departures {
            self.owe(polled.stay.channel, stream, departure);
        }
        let account = &mut self.streams[stream];
        match outcome {
            Outcome::Item(_) => account.is_ready = true,
            // The stream arrives in the channel to which it was moved in the meantime.
            Outcome::Pending { .. } => account.is_ready |= !lasted,
            Outcome::Ended { told } => self.finish(stream, (!told).then_some(Departure::Ended)),
            Outcome::Panicked => self.finish(stream, Some(Departure::Removed)),
        }
        let call = self.calls.last_mut().expect("it is the call of this poll");
        call.polls.push((stream, outcome));
        outcome
    }

    /// A stream ends, or panics, in its own poll.
    fn finish(&mut self, stream: usize, owed: Option<Departure>) {
        let Some(stay) = self.streams[stream].stay.take() else { return };
        let ended = owed != Some(Departure::Removed);
        self.channels[stay.channel].counts.depart(owed.unwrap_or(Departure::Ended));
        let half_close = self.channels[stay.channel].half_close && !self.streams[stream].is_sink_closed;
        let is_kept = ended && half_close;
        self.streams[stream].kept_in = is_kept.then_some(stay.channel);
        self.streams[stream].is_paused = false;
        if let Some(departure) = owed {
            self.owe(stay.channel, stream, departure);
        }
    }

    /// Another operation is performed, perhaps in the middle of a call.
    pub(crate) fn disturb(&mut self) {
        self.calls.iter_mut().for_each(|call| call.is_disturbed = true);
    }

    /// Whether the state is as at the last event of the innermost call.
    pub(crate) fn is_single_undisturbed(&self) -> bool {
        self.calls.last().is_some_and(|call| call.is_single && !call.is_disturbed)
    }

    pub(crate) fn is_in_call(&self) -> bool {
        !self.calls.is_empty()
    }

    pub(crate) fn begin_call(&mut self, channel: usize, is_single: bool) {
        self.begin_call_of(vec![channel], is_single);
    }

    /// Begins a call: of a select if there are several channels.
    pub(crate) fn begin_call_of(&mut self, channels: Vec<usize>, is_single: bool) {
        let is_paused = channels.iter().all(|channel| self.channels[*channel].is_paused);
        self.calls.push(Call { channels, polls: Vec::new(), is_single, is_paused, is_disturbed: false });
    }

    /// Checks the result of a call.
    pub(crate) fn end_call(&mut self, events: &[Event], received: Received) {
        let call = self.calls.pop().expect("it began");
        self.check_events(&call, events);
        assert!(!call.is_paused || call.is_disturbed || events.is_empty(), "received from a paused channel");
        if call.is_single && !call.is_disturbed {
            Self::check_bounds(&call);
        }
        let panicked = call.polls.last().is_some_and(|(_, outcome)| *outcome == Outcome::Panicked);
        assert_eq!(received == Received::Panicked, panicked, "a panic, or its loss");
        match received {
            Received::Nothing { woken: true } => assert!(self.may_yield(&call), "it yields for no reason"),
            Received::Nothing { woken: false } => self.check_nothing(&call),
            Received::NothingAtOnce if self.may_yield(&call) => {}
            Received::NothingAtOnce => self.check_nothing(&call),
            Received::End if call.channels.iter().any(|channel| self.is_uncertain(*channel)) => {}
            Received::End => assert!(self.have_ended(&call.channels), "a channel has not ended"),
            Received::Events | Received::Panicked => {}
        }
    }

    /// The results of polls must be returned in order, and besides them only unread departures.
    fn check_events(&mut self, call: &Call, events: &[Event]) {
        let gives =
            |poll: &&(usize, Outcome)| matches!(poll.1, Outcome::Item(_) | Outcome::Ended { told: true });
        let mut given = call.polls.iter().filter(gives).copied().peekable();
        for event in events {
            match *event {
                Event::Item { stream, item } => {
                    let item = Some((stream, Outcome::Item(item)));
                    assert_eq!(given.next(), item, "left: given by a stream; right: received");
                }
                Event::Left { stream, why: None | Some(Departure::Ended), .. }
                    if given.peek() == Some(&(stream, Outcome::Ended { told: true })) =>
                {
                    given.next();
                }
                Event::Left { stream, why, from } => {
                    let is_it =
                        |channel: &&usize| from.is_none_or(|name| self.channels[**channel].name == name);
                    let owes = |channel: &&usize| self.channels[**channel].untold.contains_key(&stream);
                    let mut channels = call.channels.iter().filter(is_it);
                    // There may have been other channels with this id.
                    let one = channels.clone().find(owes).or_else(|| channels.next());
                    self.tell(*one.expect("it is of a channel that was asked"), stream, why);
                }
            }
        }
        assert_eq!(given.next(), None, "it was taken out of a stream and is lost");
    }

    /// The departures of a stream are reported in order, except those that outer calls have received and not returned yet.
    fn tell(&mut self, channel: usize, stream: usize, why: Option<Departure>) {
        let is_uncertain = self.is_uncertain(channel);
        let all_untold = &mut self.channels[channel].untold;
        let untold = all_untold.get_mut(&stream).unwrap_or_else(|| panic!("stream {stream} has not left"));
        let matches = |departure: &Departure| why.is_none_or(|why| why == *departure);
        let at = untold.iter().position(matches);
        let at = at.unwrap_or_else(|| panic!("stream {stream} has not left so: {why:?}"));
        assert!(at == 0 || is_uncertain, "stream {stream} has left {:?} before {why:?}", untold[0]);
        untold.remove(at);
        self.channels[channel].counts.told += 1;
        let all_untold = &mut self.channels[channel].untold;
        let untold = &all_untold[&stream];
        if untold.is_empty() {
            all_untold.remove(&stream);
        }
    }

    fn check_nothing(&self, call: &Call) {
        for channel in &call.channels {
            assert!(!self.has_something(*channel), "nothing is received, and there is something");
        }
        assert!(!self.have_ended(&call.channels), "nothing is received, and it has ended");
    }

    /// Whether all of these channels have ended.
    pub(crate) fn have_ended(&self, channels: &[usize]) -> bool {
        channels.iter().all(|channel| self.has_ended(*channel))
    }

    /// A call may yield after many polls in vain, and after two consecutive streams that wake themselves.
    fn may_yield(&self, call: &Call) -> bool {
        let self_woken = |poll: &&(usize, Outcome)| poll.1 == Outcome::Pending { self_woken: true };
        let in_a_row = call.polls.iter().rev().take_while(self_woken).count();
        let in_vain = call.polls.len() + self.stale_wakes;
        call.is_disturbed || in_a_row >= 2 || in_vain >= FRUITLESS_POLLS
    }

    /// A call must not continue when it should yield.
    fn check_bounds(call: &Call) {
        let self_woken = |poll: &(usize, Outcome)| poll.1 == Outcome::Pending { self_woken: true };
        // With several channels, the polls of one channel are counted when it has no more events.
        let limit = if call.channels.len() == 1 { FRUITLESS_POLLS } else { 2 * FRUITLESS_POLLS - 1 };
        assert!(call.polls.len() <= limit, "{} polls in one call", call.polls.len());
        let rest = call.polls.iter().skip(1);
        let pair = call.polls.iter().zip(rest).position(|(one, next)| self_woken(one) && self_woken(next));
        assert!(pair.is_none_or(|at| at + 2 == call.polls.len()), "two streams in a row woke themselves");
    }
}
