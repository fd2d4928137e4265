//! Clients come, are answered, and go. Nobody waits for one: what may take its time has a task, and a deadline.

use crate::NEW;
use crate::protocol::{Answer, Connections, Incoming, Outgoing, encode, framed};
use futures::SinkExt;
use std::time::Duration;
use stream_multiplexer::{StreamId, StreamPair, TrySendError};
use tokio::io::{AsyncWriteExt, copy, sink};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::Semaphore;
use tokio::time::{sleep, timeout};
use tokio_util::bytes::Bytes;

/// How long a client may take to log in.
const LOGIN: Duration = Duration::from_secs(3);
/// How long a client may leave its answers unread when there are too many.
const PATIENCE: Duration = Duration::from_secs(10);
/// How long a client that we close may take to read why.
pub(crate) const LINGER: Duration = Duration::from_secs(1);

pub(crate) async fn accept(listener: TcpListener, connections: Connections) {
    loop {
        match listener.accept().await {
            Ok((socket, _)) => welcome(socket, connections.clone()),
            // Too many open files, as a rule. It may pass.
            Err(_) => sleep(Duration::from_millis(100)).await,
        }
    }
}

/// Adds a client. It has to log in soon.
fn welcome(socket: TcpStream, connections: Connections) {
    // An answer goes out when it is there.
    let _ = socket.set_nodelay(true);
    let (outgoing, incoming) = framed(socket);
    match connections.add_stream_pair(outgoing, incoming, NEW) {
        Ok(id) => drop(tokio::spawn(async move {
            sleep(LOGIN).await;
            // Nothing, if its login has moved it away.
            refuse(connections.remove_stream_from(id, NEW), "you have not logged in");
        })),
        Err(refused) => dismiss(refused.into_parts(), "there are too many clients"),
    }
}

pub(crate) fn send(connections: &Connections, id: StreamId, answer: &Answer) {
    match connections.try_send(id, encode(answer)) {
        Ok(()) => {}
        // It does not read. Nothing more is received from it until it does, so one answer waits here and no more.
        Err(TrySendError::Full(answer)) => {
            let _ = connections.pause_stream(id);
            tokio::spawn(send_slowly(connections.clone(), id, answer));
        }
        Err(_) => drop(connections.remove_stream(id)),
    }
}

async fn send_slowly(connections: Connections, id: StreamId, answer: Bytes) {
    let sent = timeout(PATIENCE, connections.send_one(id, answer)).await;
    if !matches!(sent, Ok(Ok(()))) || connections.resume_stream(id).is_err() {
        connections.remove_stream(id);
    }
}

/// Closes a connection whose client says no more, but may still read.
pub(crate) async fn close(connections: Connections, id: StreamId) {
    if !matches!(timeout(PATIENCE, connections.close_stream::<Bytes>(id)).await, Ok(Ok(()))) {
        connections.remove_stream(id);
    }
}

pub(crate) fn refuse(client: Option<StreamPair<Incoming, Outgoing>>, why: &'static str) {
    if let Some(StreamPair { stream: Some(incoming), sink: Some(outgoing), .. }) = client {
        dismiss((outgoing, incoming), why);
    }
}

/// Says why a client has to go, and hears it out: a connection that is dropped with unread input is reset, and then the
/// client may not learn why. Nobody waits for it.
fn dismiss((mut outgoing, mut incoming): (Outgoing, Incoming), why: &'static str) {
    // Who comes in a crowd goes without a word.
    static PLACES: Semaphore = Semaphore::const_new(100);
    let Ok(place) = PLACES.try_acquire() else { return };
    let farewell = async move {
        let _place = place;
        outgoing.send(encode(&Answer::Error(why))).await?;
        outgoing.get_mut().shutdown().await?;
        copy(incoming.get_mut(), &mut sink()).await
    };
    tokio::spawn(timeout(LINGER, farewell));
}
