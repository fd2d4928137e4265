//! No set: one task per stream, and all tasks send into one async-channel.

use super::Peer;
use crate::executor::run_parking;
use async_channel::{Receiver, Sender, bounded};
use async_executor::{LocalExecutor, Task};
use futures::{Stream, StreamExt};
use std::cell::RefCell;
use std::collections::HashMap;
use std::marker::PhantomData;
use std::pin::Pin;
use std::rc::Rc;
use std::task::{Context, Poll, ready};

thread_local! {
    static EXECUTOR: RefCell<Rc<LocalExecutor<'static>>> = RefCell::default();
}

/// A message of the task with this key; `None` if its stream has ended.
type Message = (usize, Option<u64>);

pub struct Adapter<St> {
    tasks: HashMap<usize, Task<()>>,
    next_key: usize,
    sender: Sender<Message>,
    receiver: Pin<Box<Receiver<Message>>>,
    _streams: PhantomData<fn(St)>,
}

impl<St: Stream<Item = u64> + Unpin + 'static> Peer<St> for Adapter<St> {
    const NAME: &'static str = "a task each, async-channel";
    const CAN_REMOVE: bool = true;
    const HAS_EXECUTOR: bool = true;
    type Key = usize;

    fn new(_: usize) -> Self {
        let (sender, receiver) = bounded(128);
        Self {
            tasks: HashMap::new(),
            next_key: 0,
            sender,
            receiver: Box::pin(receiver),
            _streams: PhantomData,
        }
    }

    fn insert(&mut self, mut stream: St) -> usize {
        self.next_key += 1;
        let (key, sender) = (self.next_key, self.sender.clone());
        let task = EXECUTOR.with_borrow(|executor| {
            executor.spawn(async move {
                while let Some(item) = stream.next().await {
                    if sender.send((key, Some(item))).await.is_err() {
                        return;
                    }
                }
                // An error means that the receiver was dropped.
                let _ = sender.send((key, None)).await;
            })
        });
        self.tasks.insert(key, task);
        key
    }

    fn remove(&mut self, key: usize) {
        // The drop cancels the task.
        drop(self.tasks.remove(&key).expect("it is a member"));
    }

    #[inline]
    fn poll(&mut self, cx: &mut Context<'_>) -> Poll<Option<(usize, u64)>> {
        loop {
            match ready!(self.receiver.as_mut().poll_next(cx)).expect("this holds a sender") {
                (key, Some(item)) => return Poll::Ready(Some((key, item))),
                (key, None) => drop(self.tasks.remove(&key)),
            }
        }
    }

    /// Each run has its own executor, so that no task remains for the next run.
    fn run<F: Future>(future: F) -> F::Output {
        let executor = Rc::new(LocalExecutor::new());
        EXECUTOR.set(Rc::clone(&executor));
        let output = run_parking(executor.run(future));
        EXECUTOR.take();
        output
    }
}
