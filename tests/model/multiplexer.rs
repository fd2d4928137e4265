//! A [`Multiplexer`] compared with the oracle.

use super::operation::{CHANNELS, Operation};
use super::oracle::{Counts, Departure, Event, Oracle, Received};
use super::outlet::{Account, Outlet};
use super::script::{Script, World, perform_on_stream, receive};
use super::sending::Outlets;
use super::task::Task;
use futures::Stream;
use std::cell::{Cell, RefCell};
use std::collections::BTreeMap;
use std::mem;
use std::num::NonZeroU32;
use std::pin::Pin;
use std::rc::{Rc, Weak};
use std::task::{Context, Poll};
use stream_multiplexer::{
    ChannelOptions, ChannelReceiver, ChannelSelect, Multiplexer, MultiplexerError, Share, StreamEvent,
    StreamId, StreamPair, TryRecvError,
};

/// Performs the operations in a multiplexer that has two channels, with a receiver each. After that, receives the remaining
/// events.
pub(crate) fn run(operations: &[Operation]) {
    let world = Channels::new();
    for channel in 0..2 {
        world.perform(&Operation::AddChannel {
            channel,
            half_close: channel == 1,
            report_departures: channel != 2,
        });
        world.perform(&Operation::AddReceiver { receiver: channel, channel });
        world.perform(&Operation::Select { channel, share: 0 });
    }
    // Half of the runs begin without a flusher.
    world.perform(&Operation::DriveFlushes { drives: operations.len() % 2 == 0 });
    for operation in operations {
        world.perform(operation);
        world.check_what_is_kept();
        world.check_sinks();
    }
    world.receive_the_rest();
    world.flush_the_rest();
    world.check_places();
    world.resume_all();
    world.receive_the_rest();
    world.check_places();
    world.remove_all();
}

pub(super) struct Channels {
    pub(super) oracle: Rc<RefCell<Oracle>>,
    pub(super) multiplexer: Pairs,
    /// By the numbers of their streams.
    ids: RefCell<BTreeMap<usize, StreamId>>,
    /// Each is borrowed during its poll.
    receivers: [RefCell<Option<Receiver>>; 4],
    select: RefCell<Selected>,
    pub(super) outlets: Outlets,
    /// Counts the sinks that were not dropped, and their flushes.
    sinks: Rc<Cell<usize>>,
    this: Weak<Self>,
}

/// A select may yield after this number of flushes since it last waited. (The limit is 64, but some turns flush nothing.)
const FLUSHES_IN_A_ROW: usize = 32;

type SelectEvent = (usize, StreamId, StreamEvent<u32>);

type Pairs = Multiplexer<Script, Outlet>;

struct Receiver {
    receiver: ChannelReceiver<Script, Outlet>,
    channel: usize,
    task: Task,
}

/// A select, and its channels. The select may not have noticed yet that some of them have ended.
struct Selected {
    select: ChannelSelect<Script, Outlet>,
    channels: Vec<usize>,
    task: Task,
    flushes: bool,
    /// The number of flushes when it last waited.
    flushes_before: usize,
}

impl Selected {
    fn new(multiplexer: &Pairs) -> Self {
        let mut select = multiplexer.select();
        // Only the streams cause yields.
        select.yield_every(None).starvation_bound(NonZeroU32::new(3));
        Self { select, channels: Vec::new(), task: Task::default(), flushes: true, flushes_before: 0 }
    }
}

fn share(number: usize) -> Share {
    let [priority, weight] =
        [number % 3, number / 3 % 5 + 1].map(|part| u32::try_from(part).expect("it is small"));
    Share::new().priority(priority).weight(weight)
}

impl Channels {
    fn new() -> Rc<Self> {
        let multiplexer = Multiplexer::new();
        Rc::new_cyclic(|this| Self {
            oracle: Rc::default(),
            select: RefCell::new(Selected::new(&multiplexer)),
            multiplexer,
            ids: RefCell::default(),
            receivers: Default::default(),
            outlets: Outlets::default(),
            sinks: Rc::default(),
            this: Weak::clone(this),
        })
    }

    fn perform_on_channels(&self, operation: &Operation) {
        match *operation {
            Operation::AddChannel { channel, half_close, report_departures } => {
                self.add_channel(channel, half_close, report_departures);
            }
            Operation::RemoveChannel { channel } => self.remove_channel(channel),
            Operation::Close => self.close(),
            Operation::CloseChannel { channel } => self.close_channel(channel),
            Operation::SetMaxStreams { channel, limit } => self.set_max_streams(channel, limit),
            Operation::PauseChannel { channel } => {
                self.pause_channel(channel, true, Multiplexer::pause_channel);
            }
            Operation::ResumeChannel { channel } => {
                self.pause_channel(channel, false, Multiplexer::resume_channel);
            }
            Operation::PauseStream { stream } => self.with_id(stream, |stream, id| {
                self.pause_stream(stream, id, true, Multiplexer::pause_stream);
            }),
            Operation::ResumeStream { stream } => self.with_id(stream, |stream, id| {
                self.pause_stream(stream, id, false, Multiplexer::resume_stream);
            }),
            Operation::Shrink { .. } => {
                self.multiplexer.shrink_to_fit();
                self.oracle.borrow_mut().change_all();
            }
            Operation::Insert { channel } => self.insert(channel),
            Operation::InsertMany { channel } => (0..40).for_each(|_| self.insert(channel)),
            Operation::Remove { stream } => self.with_id(stream, |stream, id| self.remove(stream, id)),
            Operation::RemoveFrom { stream, channel } => {
                self.with_id(stream, |stream, id| self.remove_from(stream, id, channel));
            }
            Operation::With { stream } => self.with_id(stream, |stream, id| self.change(stream, id)),
            Operation::Move { stream, channel } => {
                self.with_id(stream, |stream, id| self.change_channel(stream, id, channel));
            }
            Operation::AddReceiver { receiver, channel } => {
                self.with_receiver(receiver, |receiver| self.add_receiver(receiver, channel));
            }
            Operation::DropReceiver { receiver } => {
                self.with_receiver(receiver, |receiver| drop(receiver.take()));
            }
            Operation::ChangeTask { receiver } => self.with_receiver(receiver, |receiver| {
                receiver.iter_mut().for_each(|receiver| receiver.task.change());
            }),
            Operation::Receive { receiver } => self.with_receiver(receiver, |receiver| {
                receiver.iter_mut().for_each(|receiver| _ = self.receive(receiver));
            }),
            Operation::ReceiveMany { receiver, limit } => self.with_receiver(receiver, |receiver| {
                receiver.iter_mut().for_each(|receiver| self.receive_many(receiver, limit));
            }),
            Operation::Recv { channel } => self.recv(channel),
            Operation::TryRecv { channel } => self.try_recv(channel),
            Operation::Select { channel, share } => {
                self.with_select(|selected| self.add_to_select(selected, channel, share));
            }
            Operation::Unselect { channel } => {
                self.with_select(|selected| self.remove_from_select(selected, channel));
            }
            Operation::SetShare { channel, share: number } => self.with_select(|selected| {
                let is_in = selected.select.contains(channel);
                assert_eq!(selected.select.set_share(channel, share(number)), is_in);
            }),
            Operation::ChangeSelectTask => self.with_select(|selected| selected.task.change()),
            Operation::ReceiveSelected => self.with_select(|selected| _ = self.receive_selected(selected)),
            Operation::ReceiveManySelected { limit } => {
                self.with_select(|selected| self.receive_many_selected(selected, limit));
            }
            Operation::DriveFlushes { drives } => self.with_select(|selected| {
                selected.select.drive_flushes(drives);
                selected.flushes = drives;
            }),
            Operation::DropSelect => {
                self.with_select(|selected| *selected = Selected::new(&self.multiplexer));
            }
            Operation::Push { .. }
            | Operation::End { .. }
            | Operation::Wake { .. }
            | Operation::WakeStale { .. }
            | Operation::Trick { .. } => unreachable!("performed on streams"),
            _ => unreachable!("performed on sinks"),
        }
    }

    /// Calls `perform` with a stream that was added, if there is one.
    pub(super) fn with_id(&self, stream: usize, perform: impl FnOnce(usize, StreamId)) {
        let stream = self.oracle.borrow().pick(stream);
        let id = stream.and_then(|stream| self.ids.borrow().get(&stream).copied());
        if let (Some(stream), Some(id)) = (stream, id) {
            perform(stream, id);
        }
    }

    /// Calls `perform` with the place of a receiver, unless the receiver is in the middle of a poll.
    fn with_receiver(&self, receiver: usize, perform: impl FnOnce(&mut Option<Receiver>)) {
        if let Ok(mut receiver) = self.receivers[receiver % self.receivers.len()].try_borrow_mut() {
            perform(&mut receiver);
        }
    }

    /// Calls `perform` with the select, unless it is in the middle of a poll.
    fn with_select(&self, perform: impl FnOnce(&mut Selected)) {
        if let Ok(mut selected) = self.select.try_borrow_mut() {
            perform(&mut selected);
        }
    }

    pub(super) fn stream(&self, id: StreamId) -> usize {
        let ids = self.ids.borrow();
        let (stream, _) = ids.iter().find(|(_, other)| **other == id).expect("an id that was given out");
        *stream
    }
}

/// Control.
impl Channels {
    fn add_channel(&self, channel: usize, half_close: bool, report_departures: bool) {
        let error = match self.oracle.borrow().is_closed() {
            true => MultiplexerError::Closed,
            false => MultiplexerError::DuplicateChannel(channel),
        };
        let options = ChannelOptions::new().half_close(half_close).report_departures(report_departures);
        let added = self.multiplexer.add_channel_with(channel, options);
        let expected = self.oracle.borrow_mut().add_channel(channel, half_close, report_departures);
        assert_eq!(added, expected.then_some(()).ok_or(error));
    }

    fn remove_channel(&self, channel: usize) {
        let pairs = self.multiplexer.remove_channel(channel);
        let members = self.oracle.borrow_mut().remove_channel(channel);
        let removed = pairs.as_ref().map(|pairs| pairs.iter().map(|pair| self.stream(pair.id)).collect());
        assert_eq!(removed, members, "who was in it, the oldest first");
        for pair in pairs.into_iter().flatten() {
            let stream = self.stream(pair.id);
            let is_polled = self.oracle.borrow().is_polled(stream);
            let has_sink = !self.outlets.is_closed(stream);
            assert_eq!((pair.stream.is_none(), pair.sink.is_some()), (is_polled, has_sink));
        }
    }

    fn close(&self) {
        self.multiplexer.close();
        self.oracle.borrow_mut().close();
        assert!(self.multiplexer.is_closed());
    }

    fn close_channel(&self, channel: usize) {
        let closed = self.multiplexer.close_channel(channel);
        let place = self.oracle.borrow().channel(channel);
        assert_eq!(closed, place.map(|_| ()).ok_or(MultiplexerError::UnknownChannel(channel)));
        place.into_iter().for_each(|place| self.oracle.borrow_mut().close_channel(place));
    }

    fn set_max_streams(&self, channel: usize, limit: Option<usize>) {
        let set = self.multiplexer.set_max_streams(channel, limit);
        let place = self.oracle.borrow().channel(channel);
        assert_eq!(set, place.map(|_| ()).ok_or(MultiplexerError::UnknownChannel(channel)));
        place.into_iter().for_each(|place| self.oracle.borrow_mut().set_max_streams(place, limit));
    }

    /// Pauses or resumes a channel.
    fn pause_channel(
        &self,
        channel: usize,
        paused: bool,
        pause: fn(&Pairs, usize) -> Result<(), MultiplexerError>,
    ) {
        let done = pause(&self.multiplexer, channel);
        let place = self.oracle.borrow().channel(channel);
        assert_eq!(done, place.map(|_| ()).ok_or(MultiplexerError::UnknownChannel(channel)));
        place.into_iter().for_each(|place| self.oracle.borrow_mut().pause_channel(place, paused));
    }

    /// Pauses or resumes a stream.
    fn pause_stream(
        &self,
        stream: usize,
        id: StreamId,
        paused: bool,
        pause: fn(&Pairs, StreamId) -> Result<(), MultiplexerError>,
    ) {
        let done = pause(&self.multiplexer, id);
        let mut oracle = self.oracle.borrow_mut();
        let expected = match () {
            () if !oracle.has_pair(stream) => Err(MultiplexerError::UnknownStream(id)),
            () if oracle.is_kept(stream) => Err(MultiplexerError::Ended(id)),
            () => Ok(()),
        };
        assert_eq!(done, expected);
        if done.is_ok() {
            oracle.pause_stream(stream, paused);
        }
    }

    fn insert(&self, channel: usize) {
        let number = self.oracle.borrow_mut().add_stream();
        let script =
            Script { number, oracle: Rc::clone(&self.oracle), world: Weak::<Self>::clone(&self.this) };
        let place = self.oracle.borrow().channel(channel);
        let error = match self.oracle.borrow().is_closed() {
            true => Some(MultiplexerError::Closed),
            false => match place {
                None => Some(MultiplexerError::UnknownChannel(channel)),
                Some(place) if self.oracle.borrow().is_channel_closed(place) => {
                    Some(MultiplexerError::Closed)
                }
                Some(_) => None,
            },
        };
        let full = place.map_or(Some(false), |place| self.oracle.borrow().is_full(place));
        let account = Rc::new(RefCell::new(Account::new()));
        self.outlets.accounts.borrow_mut().insert(number, Rc::clone(&account));
        let outlet = Outlet { account, count: Rc::clone(&self.sinks) };
        match self.multiplexer.add_stream_pair(outlet, script, channel) {
            Ok(id) => {
                assert_eq!(error, None);
                assert_ne!(full, Some(true));
                let place = place.expect("there is no error");
                self.oracle.borrow_mut().enter(number, place);
                let mut ids = self.ids.borrow_mut();
                assert!(ids.values().all(|older| *older < id), "an id is new, and greater than all before");
                ids.insert(number, id);
            }
            Err(refused) => {
                let is_full = error.is_none() && full != Some(false);
                if is_full {
                    self.oracle.borrow_mut().refuse(place.expect("it is full"));
                }
                let error = error.or(is_full.then_some(MultiplexerError::ChannelFull(channel)));
                assert_eq!(Some(refused.reason()), error);
                assert_eq!(refused.into_parts().1.number, number, "it comes back");
            }
        }
    }

    fn remove(&self, stream: usize, id: StreamId) {
        let pair = self.multiplexer.remove_stream(id);
        assert_eq!(pair.is_some(), self.oracle.borrow().has_pair(stream));
        pair.into_iter().for_each(|pair| self.removed(stream, id, pair));
    }

    fn remove_from(&self, stream: usize, id: StreamId, channel: usize) {
        let pair = self.multiplexer.remove_stream_from(id, channel);
        assert_eq!(pair.is_some(), self.oracle.borrow().channel_of(stream) == Some(channel));
        pair.into_iter().for_each(|pair| self.removed(stream, id, pair));
    }

    fn removed(&self, stream: usize, id: StreamId, pair: StreamPair<Script, Outlet>) {
        let mut oracle = self.oracle.borrow_mut();
        let is_handed_back = !oracle.is_polled(stream);
        let has_sink = !self.outlets.is_closed(stream);
        assert_eq!((pair.id, pair.stream.is_some(), pair.sink.is_some()), (id, is_handed_back, has_sink));
        if oracle.is_kept(stream) {
            oracle.lose(stream);
        } else {
            oracle.leave(stream, Departure::Removed);
        }
        drop(oracle);
        drop(pair);
    }

    fn change(&self, stream: usize, id: StreamId) {
        let changed = self.multiplexer.with_stream(id, |script| script.number);
        let mut oracle = self.oracle.borrow_mut();
        let expected = match () {
            () if !oracle.has_pair(stream) => Err(MultiplexerError::UnknownStream(id)),
            () if oracle.is_kept(stream) => Err(MultiplexerError::Ended(id)),
            () if oracle.is_polled(stream) => Err(MultiplexerError::Busy(id)),
            () => Ok(stream),
        };
        assert_eq!(changed, expected);
        if changed.is_ok() {
            oracle.change(stream);
        }
    }

    fn change_channel(&self, stream: usize, id: StreamId, channel: usize) {
        let moved = self.multiplexer.change_stream_channel(id, channel);
        let mut oracle = self.oracle.borrow_mut();
        match (oracle.channel_of(stream), oracle.channel(channel)) {
            (None, _) => assert_eq!(moved, Err(MultiplexerError::UnknownStream(id))),
            (Some(_), None) => assert_eq!(moved, Err(MultiplexerError::UnknownChannel(channel))),
            (Some(from), Some(_)) if from == channel => assert_eq!(moved, Ok(())),
            (Some(_), Some(to)) if oracle.is_channel_closed(to) => {
                assert_eq!(moved, Err(MultiplexerError::Closed));
            }
            (Some(_), Some(_)) if oracle.is_kept(stream) => {
                assert_eq!(moved, Err(MultiplexerError::Ended(id)));
            }
            (Some(_), Some(to)) if moved == Err(MultiplexerError::ChannelFull(channel)) => {
                assert_ne!(oracle.is_full(to), Some(false));
                oracle.refuse(to);
            }
            (Some(_), Some(to)) => {
                assert_eq!((moved, oracle.is_full(to).unwrap_or(false)), (Ok(()), false));
                oracle.leave(stream, Departure::Moved(channel));
                oracle.enter(stream, to);
            }
        }
    }

    fn add_receiver(&self, place: &mut Option<Receiver>, channel: usize) {
        let receiver = self.multiplexer.receiver(channel);
        let expected = self.oracle.borrow().channel(channel);
        assert_eq!(receiver.as_ref().ok().map(ChannelReceiver::channel_id), expected.map(|_| channel));
        if let (Ok(receiver), Some(channel)) = (receiver, expected) {
            *place = Some(Receiver { receiver, channel, task: Task::default() });
        }
    }
}

/// Selects.
impl Channels {
    fn add_to_select(&self, selected: &mut Selected, channel: usize, number: usize) {
        let oracle = self.oracle.borrow();
        let added = selected.select.add(channel, share(number));
        let Some(place) = oracle.channel(channel) else {
            return assert_eq!(added, Err(MultiplexerError::UnknownChannel(channel)));
        };
        let was_in = selected.channels.contains(&place);
        match added {
            // The channel may have ended and left the select.
            Ok(()) => assert!(!was_in || oracle.has_ended(place)),
            Err(error) => assert!(was_in && error == MultiplexerError::DuplicateChannel(channel)),
        }
        // An earlier channel with this id is not in the select any more.
        selected.channels.retain(|other| *other != place && !oracle.is_named(*other, channel));
        selected.channels.push(place);
        assert!(selected.select.contains(channel));
    }

    fn remove_from_select(&self, selected: &mut Selected, channel: usize) {
        let oracle = self.oracle.borrow();
        let is_in = |place: &&usize| oracle.is_named(**place, channel);
        let place = selected.channels.iter().find(is_in).copied();
        let may_be_out = place.is_none_or(|place| oracle.has_ended(place));
        assert!(selected.select.remove(channel) || may_be_out);
        assert!(!selected.select.contains(channel));
        selected.channels.retain(|other| Some(*other) != place);
    }

    fn receive_selected(&self, selected: &mut Selected) -> Received {
        let Selected { select, channels, task, .. } = selected;
        let waker = task.unpark();
        let mut events = Vec::new();
        self.oracle.borrow_mut().begin_call_of(channels.clone(), true);
        let received = receive(|| match Pin::new(&mut *select).poll_next(&mut Context::from_waker(&waker)) {
            Poll::Ready(Some(event)) => {
                events.push(event);
                Received::Events
            }
            Poll::Ready(None) => Received::End,
            Poll::Pending => Received::Nothing { woken: task.park() },
        });
        self.end_selected(selected, events, received);
        received
    }

    fn receive_many_selected(&self, selected: &mut Selected, limit: usize) {
        let Selected { select, channels, task, .. } = selected;
        let waker = task.unpark();
        let mut buffer = Vec::new();
        self.oracle.borrow_mut().begin_call_of(channels.clone(), false);
        let received = receive(|| {
            let cx = &mut Context::from_waker(&waker);
            match select.poll_recv_many(cx, &mut buffer, limit) {
                Poll::Ready(0) if limit > 0 => Received::End,
                Poll::Ready(count) => {
                    assert_eq!(count, buffer.len());
                    Received::Events
                }
                Poll::Pending => Received::Nothing { woken: task.park() },
            }
        });
        assert!(buffer.len() <= limit);
        self.end_selected(selected, buffer, received);
    }

    /// Checks the end of a call of a select.
    fn end_selected(&self, selected: &mut Selected, events: Vec<SelectEvent>, received: Received) {
        let events: Vec<_> = events.into_iter().filter_map(|event| self.selected_event(event)).collect();
        if let Received::Nothing { woken } = received {
            let before = mem::replace(&mut selected.flushes_before, self.sinks.get());
            if woken && selected.flushes && self.sinks.get() - before >= FLUSHES_IN_A_ROW {
                self.oracle.borrow_mut().disturb();
            }
        }
        self.oracle.borrow_mut().end_call(&events, received);
        self.check_select(selected, received);
    }

    /// Returns `None` for an event of a sink.
    fn selected_event(&self, (channel, id, event): SelectEvent) -> Option<Event> {
        if event == StreamEvent::SinkFailed {
            let stream = self.stream(id);
            let oracle = self.oracle.borrow();
            assert!(!oracle.is_single_undisturbed() || oracle.channel_of(stream) == Some(channel));
            self.outlets.told(stream);
            return None;
        }
        Some(match self.event(id, event) {
            Event::Left { stream, why, .. } => Event::Left { stream, why, from: Some(channel) },
            item => item,
        })
    }

    /// A select that sleeps has polled all its channels, and knows which have ended.
    fn check_select(&self, selected: &mut Selected, received: Received) {
        let Selected { select, channels, flushes, .. } = selected;
        let oracle = self.oracle.borrow();
        if let Received::Nothing { woken: false } | Received::End = received {
            channels.retain(|channel| !oracle.has_ended(*channel) || oracle.is_uncertain(*channel));
        }
        match received {
            Received::Nothing { woken: false } => {
                assert!(select.len() >= channels.len());
                assert!(
                    !*flushes || !self.has_something_to_flush(),
                    "it sleeps, and there is something to flush"
                );
            }
            Received::End => assert!(select.is_empty()),
            _ => {}
        }
    }
}

/// Receiving.
impl Channels {
    fn receive(&self, receiver: &mut Receiver) -> Received {
        let Receiver { receiver, channel, task } = receiver;
        let waker = task.unpark();
        let mut events = Vec::new();
        self.oracle.borrow_mut().begin_call(*channel, true);
        let received = receive(|| match Pin::new(receiver).poll_next(&mut Context::from_waker(&waker)) {
            Poll::Ready(Some((id, event))) => {
                events.push(self.event(id, event));
                Received::Events
            }
            Poll::Ready(None) => Received::End,
            Poll::Pending => Received::Nothing { woken: task.park() },
        });
        self.oracle.borrow_mut().end_call(&events, received);
        received
    }

    fn receive_many(&self, receiver: &mut Receiver, limit: usize) {
        let Receiver { receiver, channel, task } = receiver;
        let waker = task.unpark();
        let mut buffer = Vec::new();
        self.oracle.borrow_mut().begin_call(*channel, false);
        let received = receive(|| {
            let cx = &mut Context::from_waker(&waker);
            match receiver.poll_recv_many(cx, &mut buffer, limit) {
                Poll::Ready(0) if limit > 0 => Received::End,
                Poll::Ready(count) => {
                    assert_eq!(count, buffer.len());
                    Received::Events
                }
                Poll::Pending => Received::Nothing { woken: task.park() },
            }
        });
        assert!(buffer.len() <= limit);
        assert!(received == Received::Events || received == Received::Panicked || buffer.is_empty());
        let events: Vec<_> = buffer.into_iter().map(|(id, event)| self.event(id, event)).collect();
        self.oracle.borrow_mut().end_call(&events, received);
    }

    fn recv(&self, channel: usize) {
        let mut recv = self.multiplexer.recv(channel);
        let mut task = Task::default();
        let waker = task.unpark();
        let cx = &mut Context::from_waker(&waker);
        let unknown = MultiplexerError::UnknownChannel(channel);
        let Some(place) = self.oracle.borrow().channel(channel) else {
            assert!(matches!(Pin::new(&mut recv).poll(cx), Poll::Ready(Err(error)) if error == unknown));
            return;
        };
        if self.oracle.borrow().is_uncertain(place) {
            return;
        }
        let mut events = Vec::new();
        self.oracle.borrow_mut().begin_call(place, true);
        let received = receive(|| match Pin::new(&mut recv).poll(cx) {
            Poll::Ready(Ok((id, item))) => {
                events.push(self.event_without_reason(id, item));
                Received::Events
            }
            Poll::Ready(Err(error)) => {
                // The channel may have been removed in the meantime.
                assert!(error == MultiplexerError::Closed || error == unknown);
                Received::End
            }
            Poll::Pending => Received::Nothing { woken: task.park() },
        });
        self.oracle.borrow_mut().end_call(&events, received);
    }

    fn try_recv(&self, channel: usize) {
        let unknown = TryRecvError::UnknownChannel(channel);
        let Some(place) = self.oracle.borrow().channel(channel) else {
            assert!(matches!(self.multiplexer.try_recv(channel), Err(error) if error == unknown));
            return;
        };
        if self.oracle.borrow().is_uncertain(place) {
            return;
        }
        let mut events = Vec::new();
        self.oracle.borrow_mut().begin_call(place, true);
        let received = receive(|| match self.multiplexer.try_recv(channel) {
            Ok((id, item)) => {
                events.push(self.event_without_reason(id, item));
                Received::Events
            }
            Err(TryRecvError::Empty) => Received::NothingAtOnce,
            Err(error) => {
                assert!(error == TryRecvError::Closed || error == unknown);
                Received::End
            }
        });
        self.oracle.borrow_mut().end_call(&events, received);
    }

    fn event(&self, id: StreamId, event: StreamEvent<u32>) -> Event {
        let why = match event {
            StreamEvent::Item(_) => None,
            StreamEvent::Ended => Some(Departure::Ended),
            StreamEvent::Moved(channel) => Some(Departure::Moved(channel)),
            StreamEvent::Removed => Some(Departure::Removed),
            StreamEvent::SinkFailed => unreachable!("a select reports it, which drives them"),
        };
        match self.event_without_reason(id, event.item()) {
            Event::Left { stream, from, .. } => Event::Left { stream, why, from },
            item => item,
        }
    }

    fn event_without_reason(&self, id: StreamId, item: Option<u32>) -> Event {
        let stream = self.stream(id);
        match item {
            Some(item) => Event::Item { stream, item },
            None => Event::Left { stream, why: None, from: None },
        }
    }
}

/// Checks of the state.
impl Channels {
    fn check(&self) {
        self.check_flusher();
        let oracle = self.oracle.borrow();
        assert_eq!(self.multiplexer.channels(), oracle.names());
        for channel in 0..=CHANNELS {
            let len = oracle.channel(channel).map(|channel| oracle.pairs_in(channel).len());
            assert_eq!(self.multiplexer.channel_len(channel), len);
            assert_eq!(self.multiplexer.has_channel(channel), len.is_some());
            let max = oracle.channel(channel).map(|channel| oracle.max_streams(channel));
            assert_eq!(self.multiplexer.max_streams(channel).ok(), max);
            self.check_stats(&oracle, channel);
            let paused = oracle.channel(channel).map(|channel| oracle.is_channel_paused(channel));
            assert_eq!(self.multiplexer.is_channel_paused(channel), paused);
        }
        for receiver in self.receivers.iter().filter_map(|receiver| receiver.try_borrow().ok()) {
            if let Some(Receiver { channel, task, .. }) = &*receiver {
                task.check(oracle.has_something(*channel) || oracle.has_ended(*channel));
            }
        }
        self.check_select_wakes(&oracle);
    }

    /// A sleeping select is woken when one of its channels has an event, or all have ended.
    pub(super) fn check_select_wakes(&self, oracle: &Oracle) {
        if let Ok(Selected { channels, task, flushes, .. }) = self.select.try_borrow().as_deref() {
            let has_something = channels.iter().any(|channel| oracle.has_something(*channel));
            let is_to_flush = *flushes && self.has_something_to_flush();
            // In the list of the slots, and in that of one channel.
            task.check_in_lists(has_something || is_to_flush || oracle.have_ended(channels), 2);
        }
    }

    fn check_stats(&self, oracle: &Oracle, name: usize) {
        let stats = self.multiplexer.stats(name);
        assert_eq!(stats.is_some(), oracle.channel(name).is_some());
        let (Some(stats), Some(channel)) = (stats, oracle.channel(name)) else { return };
        let members = oracle.members(channel);
        let paused = members.iter().filter(|stream| oracle.is_paused(**stream)).count();
        let half_closed = oracle.pairs_in(channel).len() - members.len();
        assert_eq!((stats.members, stats.half_closed, stats.paused), (members.len(), half_closed, paused));
        let Some(counts) = oracle.counts(channel) else { return };
        let Counts { told, items, polls_in_vain, ends, .. } = counts;
        assert_eq!(stats.unread_departures, oracle.unread(channel));
        assert_eq!((stats.events, stats.items), (items + told, items));
        assert_eq!((stats.polls, stats.polls_in_vain), (items + polls_in_vain + ends, polls_in_vain));
        let departed = [stats.ended, stats.moved, stats.removed, stats.refused];
        assert_eq!(departed, [counts.ended, counts.moved, counts.removed, counts.refused]);
    }

    /// Nothing leaks. (In the middle of a poll, more values are alive.)
    fn check_what_is_kept(&self) {
        let oracle = self.oracle.borrow();
        assert_eq!(Rc::strong_count(&self.sinks) - 1, oracle.open_sinks(), "sinks");
        assert_eq!(Rc::strong_count(&self.oracle) - 1, oracle.pairs(), "streams");
    }

    fn check_places(&self) {
        let oracle = self.oracle.borrow();
        for (stream, id) in &*self.ids.borrow() {
            assert_eq!(self.multiplexer.channel_of(*id), oracle.channel_of(*stream));
            let paused = oracle.has_pair(*stream).then(|| oracle.is_paused(*stream));
            assert_eq!(self.multiplexer.is_paused(*id), paused);
        }
    }

    fn resume_all(&self) {
        let ids = self.ids.borrow().clone();
        for (stream, id) in ids {
            self.pause_stream(stream, id, false, Multiplexer::resume_stream);
        }
        (0..CHANNELS).for_each(|channel| self.perform(&Operation::ResumeChannel { channel }));
    }

    fn receive_the_rest(&self) {
        let mut receivers: Vec<_> =
            self.oracle.borrow().names().into_iter().map(|name| self.receiver(name)).collect();
        let polls = self.oracle.borrow().polls_to_the_rest();
        for _ in 0..polls {
            let is_at_rest =
                |received| matches!(received, Received::Nothing { woken: false } | Received::End);
            if receivers.iter_mut().all(|receiver| is_at_rest(self.receive(receiver))) {
                return;
            }
        }
        panic!("it does not come to rest");
    }

    fn receiver(&self, name: usize) -> Receiver {
        let channel = self.oracle.borrow().channel(name).expect("it is there");
        let receiver = self.multiplexer.receiver(name).expect("it is there");
        Receiver { receiver, channel, task: Task::default() }
    }

    fn remove_all(&self) {
        self.close();
        (0..CHANNELS).for_each(|channel| self.perform(&Operation::RemoveChannel { channel }));
        let ids = self.ids.borrow().clone();
        ids.keys().for_each(|stream| self.perform(&Operation::Remove { stream: *stream }));
        self.check_what_is_kept();
        assert_eq!(self.oracle.borrow().pairs(), 0);
        self.check_flusher();
    }
}

impl World for Channels {
    fn perform(&self, operation: &Operation) {
        self.oracle.borrow_mut().disturb();
        if !perform_on_stream(&self.oracle, operation) && !self.perform_on_sinks(operation) {
            self.perform_on_channels(operation);
        }
        self.check();
    }
}
