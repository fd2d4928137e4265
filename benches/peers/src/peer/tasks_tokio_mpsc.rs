//! No set: one task per stream, and all tasks send into one tokio channel.

use super::Peer;
use crate::executor::run_on_tokio;
use futures::{Stream, StreamExt};
use send_wrapper::SendWrapper;
use std::collections::HashMap;
use std::marker::PhantomData;
use std::task::{Context, Poll, ready};
use tokio::sync::mpsc::{Receiver, Sender, channel};
use tokio::task::AbortHandle;

/// A message of the task with this key; `None` if its stream has ended.
type Message = (usize, Option<u64>);

pub struct Adapter<St> {
    tasks: HashMap<usize, AbortHandle>,
    next_key: usize,
    sender: Sender<Message>,
    receiver: Receiver<Message>,
    _streams: PhantomData<fn(St)>,
}

impl<St: Stream<Item = u64> + Unpin + 'static> Peer<St> for Adapter<St> {
    const NAME: &'static str = "a task each, tokio mpsc";
    const CAN_REMOVE: bool = true;
    const HAS_EXECUTOR: bool = true;
    type Key = usize;

    fn new(_: usize) -> Self {
        let (sender, receiver) = channel(128);
        Self { tasks: HashMap::new(), next_key: 0, sender, receiver, _streams: PhantomData }
    }

    fn insert(&mut self, stream: St) -> usize {
        self.next_key += 1;
        let (key, sender) = (self.next_key, self.sender.clone());
        // A task must be `Send`, but the members are not. This runtime has one thread.
        let mut stream = SendWrapper::new(stream);
        let task = tokio::spawn(async move {
            while let Some(item) = stream.next().await {
                if sender.send((key, Some(item))).await.is_err() {
                    return;
                }
            }
            // An error means that the receiver was dropped.
            let _ = sender.send((key, None)).await;
        });
        self.tasks.insert(key, task.abort_handle());
        key
    }

    fn remove(&mut self, key: usize) {
        self.tasks.remove(&key).expect("it is a member").abort();
    }

    #[inline]
    fn poll(&mut self, cx: &mut Context<'_>) -> Poll<Option<(usize, u64)>> {
        loop {
            match ready!(self.receiver.poll_recv(cx)).expect("this holds a sender") {
                (key, Some(item)) => return Poll::Ready(Some((key, item))),
                (key, None) => drop(self.tasks.remove(&key)),
            }
        }
    }

    fn run<F: Future>(future: F) -> F::Output {
        run_on_tokio(future)
    }
}

impl<St> Drop for Adapter<St> {
    fn drop(&mut self) {
        self.tasks.values().for_each(AbortHandle::abort);
    }
}
