//! Sending in the model: each item is delivered once or returned, in the order of the calls. No sink stays unflushed that a
//! flusher can flush. A failure is reported once.

use super::multiplexer::Channels;
use super::operation::Operation;
use super::outlet::{Account, Broken, Fate};
use super::task::Task;
use futures::Stream;
use std::cell::RefCell;
use std::collections::BTreeMap;
use std::pin::Pin;
use std::rc::Rc;
use std::task::{Context, Poll, Waker};
use stream_multiplexer::{Flusher, MultiplexerError, SendError, StreamId, TrySendError};

/// The sinks by the numbers of their streams, and the flusher.
#[derive(Default)]
pub(crate) struct Outlets {
    pub(crate) accounts: RefCell<BTreeMap<usize, Rc<RefCell<Account>>>>,
    flusher: RefCell<Option<Flushing>>,
}

/// The item that is sent to several sinks. It has a number that no other item has, instead of each sink's next number.
const ITEM: u32 = u32::MAX;

/// The expected result for an item. The fate is `None` if the pair does not exist.
fn expected(item: u32, fate: Option<Fate>) -> Result<(), TrySendError<u32, Broken>> {
    match fate {
        Some(Fate::Taken) => Ok(()),
        Some(Fate::Full) => Err(TrySendError::Full(item)),
        Some(Fate::Closed) => Err(TrySendError::Closed(item)),
        Some(Fate::Fails) => Err(TrySendError::Sink { item: Some(item), error: Broken }),
        None => Err(TrySendError::Unknown(item)),
    }
}

struct Flushing {
    flusher: Flusher<super::script::Script, super::outlet::Outlet, u32>,
    task: Task,
}

impl Outlets {
    pub(crate) fn is_closed(&self, stream: usize) -> bool {
        self.account(stream).borrow().is_closed()
    }

    /// A call reported that the sink failed.
    pub(crate) fn told(&self, stream: usize) {
        self.account(stream).borrow_mut().told();
    }

    fn account(&self, stream: usize) -> Rc<RefCell<Account>> {
        Rc::clone(&self.accounts.borrow()[&stream])
    }
}

impl Channels {
    pub(super) fn perform_on_sinks(&self, operation: &Operation) -> bool {
        match *operation {
            Operation::TrySend { stream } => self.with_id(stream, |stream, id| self.try_send(stream, id)),
            Operation::TryFeed { stream } => self.with_id(stream, |stream, id| self.try_feed(stream, id)),
            Operation::TrySendTo { channel } => self.try_all_of(channel, true),
            Operation::TryFeedTo { channel } => self.try_all_of(channel, false),
            Operation::TrySendMany { stream, more } => self.try_many(stream, more, true),
            Operation::TryFeedMany { stream, more } => self.try_many(stream, more, false),
            Operation::CloseSink { stream } => self.with_id(stream, |stream, id| self.close_sink(stream, id)),
            Operation::SetSink { stream, is_ready, flushes } => self.with_id(stream, |stream, _| {
                self.change_sink(stream, |account| {
                    (account.is_ready, account.flushes) = (is_ready, flushes);
                });
            }),
            Operation::FailSink { stream } => self.with_id(stream, |stream, _| {
                self.change_sink(stream, |account| account.fails = true);
            }),
            Operation::Flush => _ = self.flush(),
            Operation::DropFlusher => drop(self.outlets.flusher.borrow_mut().take()),
            _ => return false,
        }
        true
    }

    fn try_send(&self, stream: usize, id: StreamId) {
        let (item, fate) = self.next_item(stream);
        self.check_fate(stream, item, fate, self.multiplexer.try_send(id, item), true);
    }

    fn try_feed(&self, stream: usize, id: StreamId) {
        let (item, fate) = self.next_item(stream);
        self.check_fate(stream, item, fate, self.multiplexer.try_feed(id, item), false);
    }

    /// The fate is `None` if the pair does not exist.
    fn next_item(&self, stream: usize) -> (u32, Option<Fate>) {
        let (item, fate) = self.outlets.account(stream).borrow().next();
        (item, self.oracle.borrow().has_pair(stream).then_some(fate))
    }

    fn check_fate(
        &self,
        stream: usize,
        item: u32,
        fate: Option<Fate>,
        sent: Result<(), TrySendError<u32, Broken>>,
        was_flushed: bool,
    ) {
        let account = self.outlets.account(stream);
        assert_eq!(sent, expected(item, fate), "what became of item {item} for stream {stream}");
        match fate {
            Some(Fate::Taken) => account.borrow_mut().accepted([item], was_flushed),
            Some(Fate::Fails) => account.borrow_mut().told(),
            _ => {}
        }
    }

    /// Sends or feeds to a channel. All sinks receive the same item.
    fn try_all_of(&self, channel: usize, flushes: bool) {
        let mut refused = Vec::new();
        let fates: Option<BTreeMap<_, _>> = {
            let oracle = self.oracle.borrow();
            let pairs = oracle.channel(channel).map(|channel| oracle.pairs_in(channel));
            let fate = |stream| (stream, self.outlets.account(stream).borrow().next().1);
            pairs.map(|pairs| pairs.into_iter().map(fate).collect())
        };
        let note = |id, error| refused.push((id, error));
        let sent = match flushes {
            true => self.multiplexer.try_send_to(channel, ITEM, note),
            false => self.multiplexer.try_feed_to(channel, ITEM, note),
        };
        let Some(fates) = fates else {
            assert_eq!(sent, Err(MultiplexerError::UnknownChannel(channel)));
            return;
        };
        assert_eq!(sent, Ok(fates.len() - refused.len()));
        let mut errors: BTreeMap<_, _> =
            refused.iter().map(|(id, error)| (self.stream(*id), *error)).collect();
        assert_eq!(errors.len(), refused.len(), "each is refused once");
        for (stream, fate) in fates {
            let sent = errors.remove(&stream).map_or(Ok(()), Err);
            self.check_fate(stream, ITEM, Some(fate), sent, flushes);
        }
        assert!(errors.is_empty(), "who is not in the channel is not sent to");
    }

    /// Sends or feeds to a stream and to the next ones. They are tried in their order, and each as often as it is named.
    fn try_many(&self, stream: usize, more: usize, flushes: bool) {
        let mut named = Vec::new();
        (stream..=stream + more)
            .for_each(|stream| self.with_id(stream, |stream, id| named.push((stream, id))));
        let (mut taken, mut failed) = (BTreeMap::<usize, usize>::new(), Vec::new());
        let mut expected_errors = Vec::new();
        for (stream, id) in &named {
            let fate = match self.next_item(*stream).1 {
                Some(Fate::Fails) if failed.contains(stream) => Some(Fate::Closed),
                fate => fate,
            };
            match fate {
                Some(Fate::Taken) => *taken.entry(*stream).or_default() += 1,
                Some(Fate::Fails) => failed.push(*stream),
                _ => {}
            }
            expected_errors.extend(expected(ITEM, fate).err().map(|error| (*id, error)));
        }
        let mut refused = Vec::new();
        let ids = named.iter().map(|(_, id)| id);
        let note = |id, error| refused.push((id, error));
        let sent = match flushes {
            true => self.multiplexer.try_send_many(ids, ITEM, note),
            false => self.multiplexer.try_feed_many(ids, ITEM, note),
        };
        assert_eq!(refused, expected_errors);
        assert_eq!(sent, named.len() - refused.len());
        for (stream, times) in taken {
            let items = std::iter::repeat_n(ITEM, times);
            self.outlets.account(stream).borrow_mut().accepted(items, flushes);
        }
        failed.into_iter().for_each(|stream| self.outlets.told(stream));
    }

    /// Polls `close_sink` once.
    fn close_sink(&self, stream: usize, id: StreamId) {
        let account = self.outlets.account(stream);
        let has_pair = self.oracle.borrow().has_pair(stream);
        let expected = {
            let mut account = account.borrow_mut();
            let had_failed = account.has_failed();
            if has_pair && !had_failed {
                account.close();
            }
            match () {
                () if !has_pair => Poll::Ready(Err(SendError::UnknownStream(id))),
                () if had_failed => Poll::Ready(Err(SendError::Closed(id))),
                () if account.is_closed() => Poll::Ready(Ok(())),
                () if account.fails => Poll::Ready(Err(SendError::Sink { id, error: Broken })),
                () if account.flushes => Poll::Ready(Ok(())),
                () => Poll::Pending,
            }
        };
        if let Poll::Ready(Ok(())) = expected {
            // A pair that was kept for this sink is gone when its stream is dropped.
            self.oracle.borrow_mut().sink_closed(stream);
        }
        let closed = {
            let mut close = self.multiplexer.close_sink::<u32>(id);
            Pin::new(&mut close).poll(&mut Context::from_waker(Waker::noop()))
        };
        assert_eq!(closed, expected);
        if let Poll::Ready(Err(SendError::Sink { .. })) = closed {
            account.borrow_mut().told();
        }
    }

    fn change_sink(&self, stream: usize, change: impl FnOnce(&mut Account)) {
        let account = self.outlets.account(stream);
        change(&mut account.borrow_mut());
        let waker = account.borrow_mut().take_waker();
        waker.into_iter().for_each(Waker::wake);
    }

    /// Polls the flusher, which is created if there is none. Returns whether it is idle.
    fn flush(&self) -> bool {
        let mut flusher = self.outlets.flusher.borrow_mut();
        let make = || Flushing { flusher: self.multiplexer.flusher(), task: Task::default() };
        let Flushing { flusher, task } = flusher.get_or_insert_with(make);
        let waker = task.unpark();
        match Pin::new(flusher).poll_next(&mut Context::from_waker(&waker)) {
            Poll::Ready(Some((id, Broken))) => {
                self.outlets.told(self.stream(id));
                false
            }
            Poll::Ready(None) => {
                assert!(self.has_flusher_ended(), "there may be more to flush");
                true
            }
            Poll::Pending => !task.park(),
        }
    }

    fn has_flusher_ended(&self) -> bool {
        let oracle = self.oracle.borrow();
        oracle.is_closed() && oracle.pairs() == 0
    }

    pub(super) fn has_something_to_flush(&self) -> bool {
        let oracle = self.oracle.borrow();
        let accounts = self.outlets.accounts.borrow();
        accounts
            .iter()
            .any(|(stream, account)| oracle.has_pair(*stream) && account.borrow().is_to_be_flushed())
    }

    /// A sleeping flusher has no work.
    pub(super) fn check_flusher(&self) {
        if let Ok(flusher) = self.outlets.flusher.try_borrow() {
            // In the middle of a call, the wake for the end may still be outstanding.
            let has_ended = || !self.oracle.borrow().is_in_call() && self.has_flusher_ended();
            let has_something = || self.has_something_to_flush() || has_ended();
            flusher.iter().for_each(|Flushing { task, .. }| task.check(has_something()));
        }
    }

    pub(super) fn check_sinks(&self) {
        self.outlets.accounts.borrow().values().for_each(|account| account.borrow().check());
    }

    /// Makes all sinks ready, after which every sink is flushed.
    pub(super) fn flush_the_rest(&self) {
        let streams: Vec<_> = self.outlets.accounts.borrow().keys().copied().collect();
        for stream in &streams {
            self.change_sink(*stream, |account| (account.is_ready, account.flushes) = (true, true));
            self.check_flusher();
            self.check_select_wakes(&self.oracle.borrow());
        }
        let polls = 2 * streams.len() + 8;
        assert!((0..polls).any(|_| self.flush()), "the flusher does not come to rest");
        assert!(!self.has_something_to_flush(), "something is unflushed, and the flusher rests");
        self.check_sinks();
    }
}
