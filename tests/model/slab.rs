//! A [`StreamSlab`] compared with the oracle. The slab is the oracle's only channel, which is closed, so that it ends
//! when it is empty.

use super::operation::Operation;
use super::oracle::{Event, Oracle, Received};
use super::script::{Script, World, perform_on_stream, receive};
use super::task::Task;
use futures::Stream;
use std::cell::RefCell;
use std::collections::HashMap;
use std::pin::Pin;
use std::rc::{Rc, Weak};
use std::task::{Context, Poll};
use stream_multiplexer::StreamSlab;

/// Performs the operations, and then receives the remaining events.
pub(crate) fn run(operations: &[Operation]) {
    let world = Slab::new();
    operations.iter().for_each(|operation| world.perform(operation));
    world.receive_the_rest();
    world.perform(&Operation::RemoveChannel { channel: 0 });
    assert_eq!(world.members.borrow().slab.iter().count(), 0);
}

struct Slab {
    oracle: Rc<RefCell<Oracle>>,
    /// Borrowed during a poll, in which no other operation on the slab is possible.
    members: RefCell<Members>,
    this: Weak<Self>,
}

#[derive(Default)]
struct Members {
    slab: StreamSlab<Script>,
    task: Task,
}

const SLAB: usize = 0;

impl Slab {
    fn new() -> Rc<Self> {
        let mut oracle = Oracle::default();
        oracle.add_channel(SLAB, false, true);
        oracle.close();
        let oracle = Rc::new(RefCell::new(oracle));
        Rc::new_cyclic(|this| Self { oracle, members: RefCell::default(), this: Weak::clone(this) })
    }

    fn perform_on_members(&self, members: &mut Members, operation: &Operation) {
        let picked = |stream| self.oracle.borrow().pick(stream);
        match *operation {
            Operation::Insert { .. } => self.insert(members),
            Operation::InsertMany { .. } => (0..40).for_each(|_| self.insert(members)),
            Operation::Remove { stream } => {
                picked(stream).into_iter().for_each(|stream| drop(self.remove(members, stream)));
            }
            Operation::Move { stream, .. } => {
                let script = picked(stream).and_then(|stream| self.remove(members, stream));
                script.into_iter().for_each(|script| self.put(members, script));
            }
            Operation::RemoveChannel { .. } => self.clear(members),
            Operation::ChangeTask { .. } => members.task.change(),
            Operation::Shrink { .. } => members.slab.shrink_to_fit(),
            Operation::ReceiveMany { limit, .. } => self.receive_many(members, limit),
            Operation::Receive { .. } | Operation::Recv { .. } | Operation::TryRecv { .. } => {
                _ = self.receive(members);
            }
            _ => {}
        }
    }

    fn insert(&self, members: &mut Members) {
        let number = self.oracle.borrow_mut().add_stream();
        let oracle = Rc::clone(&self.oracle);
        self.put(members, Script { number, oracle, world: Weak::<Self>::clone(&self.this) });
    }

    fn put(&self, members: &mut Members, script: Script) {
        let number = script.number;
        self.oracle.borrow_mut().enter(number, SLAB);
        let key = members.slab.insert(script);
        assert!(members.slab.contains(key));
        assert_eq!(members.slab.get(key).map(|script| script.number), Some(number));
    }

    fn remove(&self, members: &mut Members, stream: usize) -> Option<Script> {
        let (key, _) = members.slab.iter().find(|(_, script)| script.number == stream)?;
        let script = members.slab.remove(key);
        assert!(!members.slab.contains(key));
        self.oracle.borrow_mut().leave_silently(stream, SLAB);
        script
    }

    fn clear(&self, members: &mut Members) {
        for (_, script) in &members.slab {
            self.oracle.borrow_mut().leave_silently(script.number, SLAB);
        }
        members.slab.clear();
        assert!(members.slab.is_empty());
    }

    fn receive(&self, members: &mut Members) -> Received {
        let Members { slab, task } = members;
        let keys = keys(slab);
        let waker = task.unpark();
        self.oracle.borrow_mut().begin_call(SLAB, true);
        let mut events = Vec::new();
        let received = receive(|| match Pin::new(slab).poll_next(&mut Context::from_waker(&waker)) {
            Poll::Ready(Some(event)) => {
                events.push(event);
                Received::Events
            }
            Poll::Ready(None) => Received::End,
            Poll::Pending => Received::Nothing { woken: task.park() },
        });
        self.oracle.borrow_mut().end_call(&told(&keys, events), received);
        received
    }

    fn receive_many(&self, members: &mut Members, limit: usize) {
        let Members { slab, task } = members;
        let keys = keys(slab);
        let waker = task.unpark();
        self.oracle.borrow_mut().begin_call(SLAB, false);
        let mut events = Vec::new();
        let received =
            receive(|| match slab.poll_recv_many(&mut Context::from_waker(&waker), &mut events, limit) {
                Poll::Ready(0) if limit > 0 => Received::End,
                Poll::Ready(count) => {
                    assert_eq!(count, events.len());
                    Received::Events
                }
                Poll::Pending => Received::Nothing { woken: task.park() },
            });
        assert!(events.len() <= limit);
        assert!(received == Received::Events || received == Received::Panicked || events.is_empty());
        self.oracle.borrow_mut().end_call(&told(&keys, events), received);
    }

    fn receive_the_rest(&self) {
        let mut members = self.members.borrow_mut();
        let polls = self.oracle.borrow().polls_to_the_rest();
        for _ in 0..polls {
            let received = self.receive(&mut members);
            if matches!(received, Received::Nothing { woken: false } | Received::End) {
                return;
            }
        }
        panic!("it does not come to rest");
    }

    fn check(&self, members: &Members) {
        let oracle = self.oracle.borrow();
        let mut present = oracle.members(SLAB);
        // Members whose poll panicked stay until their end is reported.
        present.extend(oracle.untold(SLAB));
        present.sort_unstable();
        let mut members_there: Vec<_> = members.slab.iter().map(|(_, script)| script.number).collect();
        members_there.sort_unstable();
        assert_eq!(members_there, present);
        assert_eq!(members.slab.len(), present.len());
        assert_eq!(members.slab.is_empty(), present.is_empty());
        members.task.check(oracle.has_something(SLAB));
    }
}

/// The keys of the members before a call.
fn keys(slab: &StreamSlab<Script>) -> HashMap<usize, usize> {
    slab.iter().map(|(key, script)| (key, script.number)).collect()
}

/// Translates the events of these keys.
fn told(keys: &HashMap<usize, usize>, events: Vec<(usize, Option<u32>)>) -> Vec<Event> {
    let event = |(key, item)| match item {
        Some(item) => Event::Item { stream: keys[&key], item },
        None => Event::Left { stream: keys[&key], why: None, from: None },
    };
    events.into_iter().map(event).collect()
}

impl World for Slab {
    fn perform(&self, operation: &Operation) {
        self.oracle.borrow_mut().disturb();
        let done = perform_on_stream(&self.oracle, operation);
        if let Ok(mut members) = self.members.try_borrow_mut() {
            if !done {
                self.perform_on_members(&mut members, operation);
            }
            self.check(&members);
        }
    }
}
