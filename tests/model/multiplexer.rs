//! A [`Multiplexer`] compared with the oracle.

use super::operation::{CHANNELS, Operation};
use super::oracle::{Departure, Event, Oracle, Received};
use super::outlet::{Account, Outlet};
use super::script::{Script, World, perform_on_stream, receive};
use super::sending::Outlets;
use super::task::Task;
use futures::Stream;
use std::cell::RefCell;
use std::collections::BTreeMap;
use std::pin::Pin;
use std::rc::{Rc, Weak};
use std::task::{Context, Poll};
use stream_multiplexer::{
    ChannelOptions, ChannelReceiver, Multiplexer, MultiplexerError, StreamEvent, StreamId, StreamPair,
    TryRecvError,
};

/// Performs the operations in a multiplexer that has two channels, with a receiver each; then receives what
/// is left.
pub(crate) fn run(operations: &[Operation]) {
    let world = Channels::new();
    for channel in 0..2 {
        world.perform(&Operation::AddChannel {
            channel,
            half_close: channel == 1,
            report_departures: channel != 2,
        });
        world.perform(&Operation::AddReceiver { receiver: channel, channel });
    }
    for operation in operations {
        world.perform(operation);
        world.check_what_is_kept();
        world.check_sinks();
    }
    world.receive_the_rest();
    world.flush_the_rest();
    world.check_places();
    world.remove_all();
}

pub(super) struct Channels {
    pub(super) oracle: Rc<RefCell<Oracle>>,
    pub(super) multiplexer: Multiplexer<Script, Outlet>,
    /// By the numbers of their streams.
    ids: RefCell<BTreeMap<usize, StreamId>>,
    /// Each is borrowed while it polls.
    receivers: [RefCell<Option<Receiver>>; 4],
    pub(super) outlets: Outlets,
    /// Counts the sinks that were not dropped.
    sinks: Rc<()>,
    this: Weak<Self>,
}

struct Receiver {
    receiver: ChannelReceiver<Script, Outlet>,
    channel: usize,
    task: Task,
}

impl Channels {
    fn new() -> Rc<Self> {
        Rc::new_cyclic(|this| Self {
            oracle: Rc::default(),
            multiplexer: Multiplexer::new(),
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
            Operation::Push { .. }
            | Operation::End { .. }
            | Operation::Wake { .. }
            | Operation::WakeStale { .. }
            | Operation::Trick { .. } => unreachable!("performed on streams"),
            _ => unreachable!("performed on sinks"),
        }
    }

    /// A stream that was added, if there is any.
    pub(super) fn with_id(&self, stream: usize, perform: impl FnOnce(usize, StreamId)) {
        let stream = self.oracle.borrow().pick(stream);
        let id = stream.and_then(|stream| self.ids.borrow().get(&stream).copied());
        if let (Some(stream), Some(id)) = (stream, id) {
            perform(stream, id);
        }
    }

    /// A receiver's place, unless it is in the middle of a poll.
    fn with_receiver(&self, receiver: usize, perform: impl FnOnce(&mut Option<Receiver>)) {
        if let Ok(mut receiver) = self.receivers[receiver % self.receivers.len()].try_borrow_mut() {
            perform(&mut receiver);
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
        let account = Rc::new(RefCell::new(Account::new()));
        self.outlets.accounts.borrow_mut().insert(number, Rc::clone(&account));
        let outlet = Outlet { account, count: Rc::clone(&self.sinks) };
        match self.multiplexer.add_stream_pair(outlet, script, channel) {
            Ok(id) => {
                assert_eq!(error, None);
                let place = place.expect("there is no error");
                self.oracle.borrow_mut().enter(number, place);
                let mut ids = self.ids.borrow_mut();
                assert!(ids.values().all(|older| *older < id), "an id is new, and greater than all before");
                ids.insert(number, id);
            }
            Err(refused) => {
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
            (Some(_), Some(to)) => {
                assert_eq!(moved, Ok(()));
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
                // It may have been removed meanwhile.
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
        };
        match self.event_without_reason(id, event.item()) {
            Event::Left { stream, .. } => Event::Left { stream, why },
            item => item,
        }
    }

    fn event_without_reason(&self, id: StreamId, item: Option<u32>) -> Event {
        let stream = self.stream(id);
        match item {
            Some(item) => Event::Item { stream, item },
            None => Event::Left { stream, why: None },
        }
    }
}

/// Looking whether all is as it must be.
impl Channels {
    fn check(&self) {
        self.check_flusher();
        let oracle = self.oracle.borrow();
        assert_eq!(self.multiplexer.channels(), oracle.names());
        for channel in 0..=CHANNELS {
            let len = oracle.channel(channel).map(|channel| oracle.pairs_in(channel).len());
            assert_eq!(self.multiplexer.channel_len(channel), len);
            assert_eq!(self.multiplexer.has_channel(channel), len.is_some());
        }
        for receiver in self.receivers.iter().filter_map(|receiver| receiver.try_borrow().ok()) {
            if let Some(Receiver { channel, task, .. }) = &*receiver {
                task.check(oracle.has_something(*channel) || oracle.has_ended(*channel));
            }
        }
    }

    /// Nothing leaks. (In the middle of a poll there is more.)
    fn check_what_is_kept(&self) {
        let oracle = self.oracle.borrow();
        assert_eq!(Rc::strong_count(&self.sinks) - 1, oracle.open_sinks(), "sinks");
        assert_eq!(Rc::strong_count(&self.oracle) - 1, oracle.pairs(), "streams");
    }

    fn check_places(&self) {
        let oracle = self.oracle.borrow();
        for (stream, id) in &*self.ids.borrow() {
            assert_eq!(self.multiplexer.channel_of(*id), oracle.channel_of(*stream));
        }
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
