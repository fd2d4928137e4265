//! The same scenes with `event_listener` and with crates that are built on it.

use crate::executor::BoxFuture;
use crate::scenes::Awaited;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

/// A count and an event that notifies all listeners, as a channel wakes all receivers.
#[derive(Clone, Default)]
pub(crate) struct Event(Arc<(event_listener::Event, AtomicUsize)>);

impl Event {
    fn take(&self) -> bool {
        self.0.1.fetch_update(Ordering::SeqCst, Ordering::SeqCst, |count| count.checked_sub(1)).is_ok()
    }
}

impl Awaited for Event {
    fn wait(&self) -> BoxFuture {
        let this = self.clone();
        Box::pin(async move {
            while !this.take() {
                let listener = this.0.0.listen();
                if this.take() {
                    return;
                }
                listener.await;
            }
        })
    }

    fn let_go(&self) {
        self.0.1.fetch_add(1, Ordering::SeqCst);
        self.0.0.notify(usize::MAX);
    }
}

/// An `async_channel`.
pub(crate) struct Channel {
    sender: async_channel::Sender<()>,
    receiver: async_channel::Receiver<()>,
}

impl Default for Channel {
    fn default() -> Self {
        let (sender, receiver) = async_channel::unbounded();
        Self { sender, receiver }
    }
}

impl Awaited for Channel {
    fn wait(&self) -> BoxFuture {
        let receiver = self.receiver.clone();
        Box::pin(async move { receiver.recv().await.unwrap() })
    }

    fn let_go(&self) {
        self.sender.try_send(()).unwrap();
    }
}

/// An `async_lock` semaphore that begins without permits.
pub(crate) struct Semaphore(Arc<async_lock::Semaphore>);

impl Default for Semaphore {
    fn default() -> Self {
        Self(Arc::new(async_lock::Semaphore::new(0)))
    }
}

impl Awaited for Semaphore {
    fn wait(&self) -> BoxFuture {
        let semaphore = Arc::clone(&self.0);
        Box::pin(async move { semaphore.acquire().await.forget() })
    }

    fn let_go(&self) {
        self.0.add_permits(1);
    }
}
