//! Streams and sinks that run an action, or panic, at a chosen moment.

use super::{Broken, Gate, Pipe};
use futures::{Sink, Stream};
use std::collections::HashMap;
use std::panic::panic_any;
use std::pin::Pin;
use std::sync::{Arc, Mutex};
use std::task::{Context, Poll};

/// The moment at which foreign code runs.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) enum Moment {
    Poll,
    Ready,
    StartSend,
    Flush,
    Close,
    Wake,
    Clone,
    Drop,
}

/// Actions for chosen moments, each of which runs once.
#[derive(Clone, Default)]
pub(crate) struct Hooks(Arc<Mutex<HashMap<Moment, Action>>>);

pub(crate) type Action = Box<dyn FnOnce() + Send>;

/// The payload of the panics.
pub(crate) struct Bang;

impl Hooks {
    pub(crate) fn on(&self, moment: Moment, action: impl FnOnce() + Send + 'static) {
        self.0.lock().unwrap().insert(moment, Box::new(action));
    }

    pub(crate) fn panic_on(&self, moment: Moment) {
        self.on(moment, move || panic_any(Bang));
    }

    pub(crate) fn run(&self, moment: Moment) {
        let action = self.0.lock().unwrap().remove(&moment);
        if let Some(action) = action {
            action();
        }
    }
}

/// A stream or sink with hooks.
pub(crate) struct Hooked<T> {
    pub(crate) inner: T,
    pub(crate) hooks: Hooks,
}

impl<T> Drop for Hooked<T> {
    fn drop(&mut self) {
        self.hooks.run(Moment::Drop);
    }
}

impl<T> Stream for Hooked<Pipe<T>> {
    type Item = T;

    fn poll_next(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<T>> {
        self.hooks.run(Moment::Poll);
        Pin::new(&mut self.inner).poll_next(cx)
    }
}

impl<T> Sink<T> for Hooked<Gate<T>> {
    type Error = Broken;

    fn poll_ready(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Result<(), Broken>> {
        self.hooks.run(Moment::Ready);
        Pin::new(&mut self.inner).poll_ready(cx)
    }

    fn start_send(mut self: Pin<&mut Self>, item: T) -> Result<(), Broken> {
        self.hooks.run(Moment::StartSend);
        Pin::new(&mut self.inner).start_send(item)
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Result<(), Broken>> {
        self.hooks.run(Moment::Flush);
        Pin::new(&mut self.inner).poll_flush(cx)
    }

    fn poll_close(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Result<(), Broken>> {
        self.hooks.run(Moment::Close);
        Pin::new(&mut self.inner).poll_close(cx)
    }
}
