//! One hand-written loop over a `SelectAll` of numbered streams, and a map of the sinks. The loop waits for no sink, flushes
//! each sink once per batch, and polls unflushed sinks again.

use super::{Reader, Writer, accept};
use crate::line::{Lines, sort};
use futures::stream::SelectAll;
use futures::{Sink, Stream, StreamExt};
use std::collections::HashMap;
use std::future::poll_fn;
use std::pin::Pin;
use std::task::{Context, Poll};
use tokio::net::TcpListener;
use tokio::sync::mpsc;
use tokio::task::unconstrained;

/// The number of items between flushes: so few that the sockets are still in the caches.
const IN_A_ROW: usize = 64;

pub async fn serve(listener: TcpListener) {
    let (joins, joining) = mpsc::channel(64);
    tokio::spawn(async move {
        loop {
            if joins.send(accept(&listener).await).await.is_err() {
                return;
            }
        }
    });
    let mut server = Server {
        joining,
        joined: 0,
        readers: SelectAll::new(),
        writers: HashMap::new(),
        unflushed: Vec::new(),
    };
    // The loop is bounded and needs no budget. When a budget is used up, no sink is ready.
    unconstrained(poll_fn(|cx| server.poll(cx))).await;
}

struct Server {
    joining: mpsc::Receiver<(Reader, Writer)>,
    joined: u64,
    readers: SelectAll<Numbered>,
    writers: HashMap<u64, Outgoing>,
    unflushed: Vec<u64>,
}

struct Outgoing {
    writer: Writer,
    is_unflushed: bool,
}

/// A numbered stream, which yields a last item at its end.
struct Numbered {
    number: u64,
    reader: Option<Reader>,
}

impl Stream for Numbered {
    type Item = (u64, Option<Vec<String>>);

    fn poll_next(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        let number = self.number;
        let Some(reader) = &mut self.reader else { return Poll::Ready(None) };
        reader.poll_next_unpin(cx).map(|lines| match lines {
            Some(Ok(lines)) => Some((number, Some(lines))),
            Some(Err(_)) | None => {
                self.reader = None;
                Some((number, None))
            }
        })
    }
}

impl Server {
    fn poll(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        while let Poll::Ready(Some((reader, writer))) = self.joining.poll_recv(cx) {
            self.readers.push(Numbered { number: self.joined, reader: Some(reader) });
            self.writers.insert(self.joined, Outgoing { writer, is_unflushed: false });
            self.joined += 1;
        }
        let mut taken = 0;
        let mut to_all = Vec::new();
        while taken < IN_A_ROW {
            // `None` while there is no client: a new client wakes this task.
            let Poll::Ready(Some((number, said))) = self.readers.poll_next_unpin(cx) else { break };
            taken += 1;
            let Some(lines) = said else {
                self.writers.remove(&number);
                continue;
            };
            let (to_one, public) = sort(lines);
            to_all.extend(public);
            if let Some(outgoing) = self.writers.get_mut(&number).filter(|_| !to_one.is_empty()) {
                outgoing.feed(number, Lines::Own(to_one), &mut self.unflushed, cx);
            }
        }
        if !to_all.is_empty() {
            let lines = Lines::Shared(to_all.into());
            for (number, outgoing) in &mut self.writers {
                outgoing.feed(*number, lines.clone(), &mut self.unflushed, cx);
            }
        }
        let Self { writers, unflushed, .. } = self;
        unflushed.retain(|number| {
            let Some(outgoing) = writers.get_mut(number) else { return false };
            // The stream reports a broken connection.
            outgoing.is_unflushed = flush(&mut outgoing.writer, cx).is_pending();
            outgoing.is_unflushed
        });
        if taken == IN_A_ROW {
            cx.waker().wake_by_ref();
        }
        Poll::Pending
    }
}

impl Outgoing {
    /// Passes a line to the sink if it has room. A client that does not read misses the line otherwise.
    fn feed(&mut self, number: u64, lines: Lines, unflushed: &mut Vec<u64>, cx: &mut Context<'_>) {
        let mut writer = Pin::new(&mut self.writer);
        if let Poll::Ready(Ok(())) = Sink::<Lines>::poll_ready(writer.as_mut(), cx) {
            let _ = writer.start_send(lines);
            if !self.is_unflushed {
                self.is_unflushed = true;
                unflushed.push(number);
            }
        }
    }
}

fn flush(writer: &mut Writer, cx: &mut Context<'_>) -> Poll<()> {
    Sink::<Lines>::poll_flush(Pin::new(writer), cx).map(drop)
}
