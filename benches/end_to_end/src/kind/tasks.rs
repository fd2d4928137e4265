//! A reading and a writing task for each connection, and one actor between them, with bounded channels.

use super::{Reader, Writer, accept};
use crate::line::{Lines, sort};
use futures::{SinkExt, StreamExt};
use std::collections::HashMap;
use tokio::net::TcpListener;
use tokio::sync::mpsc;

/// The capacity of the channel to the actor. When it is full, the readers wait.
const INBOX: usize = 1024;
/// The number of items that the actor receives together.
const IN_A_ROW: usize = 1024;
/// The capacity of the channel to one client. When it is full, the client misses lines.
const OUTBOX: usize = 64;

enum News {
    Joined(u64, mpsc::Sender<Lines>),
    Said(u64, Vec<String>),
    Left(u64),
}

pub async fn serve(listener: TcpListener) {
    let (actor, inbox) = mpsc::channel(INBOX);
    tokio::spawn(act(inbox));
    for id in 0.. {
        let (reader, writer) = accept(&listener).await;
        let (outbox, lines) = mpsc::channel(OUTBOX);
        if actor.send(News::Joined(id, outbox)).await.is_err() {
            return;
        }
        tokio::spawn(read(id, reader, actor.clone()));
        tokio::spawn(write(writer, lines));
    }
}

async fn act(mut inbox: mpsc::Receiver<News>) {
    let mut outboxes: HashMap<u64, mpsc::Sender<Lines>> = HashMap::new();
    let mut news = Vec::new();
    while inbox.recv_many(&mut news, IN_A_ROW).await > 0 {
        let mut to_all = Vec::new();
        for news in news.drain(..) {
            match news {
                News::Joined(id, outbox) => drop(outboxes.insert(id, outbox)),
                News::Left(id) => drop(outboxes.remove(&id)),
                News::Said(id, lines) => {
                    let (to_one, public) = sort(lines);
                    to_all.extend(public);
                    // A client that does not read misses lines for which its channel has no room.
                    if let Some(outbox) = outboxes.get(&id).filter(|_| !to_one.is_empty()) {
                        let _ = outbox.try_send(Lines::Own(to_one));
                    }
                }
            }
        }
        if !to_all.is_empty() {
            let lines = Lines::Shared(to_all.into());
            for outbox in outboxes.values() {
                let _ = outbox.try_send(lines.clone());
            }
        }
    }
}

async fn read(id: u64, mut reader: Reader, actor: mpsc::Sender<News>) {
    while let Some(Ok(lines)) = reader.next().await {
        if actor.send(News::Said(id, lines)).await.is_err() {
            return;
        }
    }
    let _ = actor.send(News::Left(id)).await;
}

/// Ends when the actor has dropped the other end, or the peer has disconnected.
async fn write(mut writer: Writer, mut lines: mpsc::Receiver<Lines>) {
    while let Some(line) = lines.recv().await {
        let mut written = writer.feed(line).await;
        // Sends all waiting items in one system call.
        while let (Ok(()), Ok(line)) = (&written, lines.try_recv()) {
            written = writer.feed(line).await;
        }
        if written.is_err() || SinkExt::<Lines>::flush(&mut writer).await.is_err() {
            return;
        }
    }
}
