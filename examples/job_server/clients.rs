//! Accepting, answering and closing clients. Everything that may take time runs in a task with a deadline.

use crate::NEW;
use crate::protocol::{Answer, Connections, Incoming, Outgoing, encode, framed};
use futures::SinkExt;
use std::time::Duration;
use stream_multiplexer::{StreamId, StreamPair, TrySendError};
use tokio::io::{self, AsyncWriteExt, copy, sink};
use tokio::net::{TcpListener, TcpSocket, TcpStream, lookup_host};
use tokio::sync::Semaphore;
use tokio::time::{sleep, timeout};
use tokio_util::bytes::Bytes;

/// How long a client may take to log in.
const LOGIN: Duration = Duration::from_secs(3);
/// How long a client may leave its answers unread when its sink is full.
const PATIENCE: Duration = Duration::from_secs(10);
/// How long a client may take to read the reason before its connection is closed.
pub(crate) const LINGER: Duration = Duration::from_secs(2);

/// The size of the kernel's send buffer for one client, in bytes. By default it grows to megabytes.
const SEND_BUFFER: u32 = 64 * 1024;

pub(crate) async fn listen(address: &str) -> io::Result<TcpListener> {
    let address = lookup_host(address).await?.next().ok_or(io::ErrorKind::AddrNotAvailable)?;
    let socket = if address.is_ipv4() { TcpSocket::new_v4()? } else { TcpSocket::new_v6()? };
    #[cfg(unix)]
    socket.set_reuseaddr(true)?;
    // Accepted connections inherit this setting.
    socket.set_send_buffer_size(SEND_BUFFER)?;
    socket.bind(address)?;
    socket.listen(1024)
}

pub(crate) async fn accept(listener: TcpListener, connections: Connections) {
    loop {
        match listener.accept().await {
            Ok((socket, _)) => welcome(socket, connections.clone()),
            // Usually too many open files. The error may pass.
            Err(_) => sleep(Duration::from_millis(100)).await,
        }
    }
}

/// Adds a client, and limits the time for its login.
fn welcome(socket: TcpStream, connections: Connections) {
    // Sends answers without delay.
    let _ = socket.set_nodelay(true);
    let (outgoing, incoming) = framed(socket);
    match connections.add_stream_pair(outgoing, incoming, NEW) {
        Ok(id) => drop(tokio::spawn(async move {
            sleep(LOGIN).await;
            // Does nothing if a login has moved the client.
            refuse(connections.remove_stream_from(id, NEW), "you have not logged in");
        })),
        Err(refused) => dismiss(refused.into_parts(), "there are too many clients"),
    }
}

pub(crate) fn send(connections: &Connections, id: StreamId, answer: &Answer) {
    match connections.try_send(id, encode(answer)) {
        Ok(()) => {}
        // The client does not read. Pause it until it does, so that at most one answer waits here.
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

/// Closes a connection whose client has shut down its writing side, but may still read.
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

/// Sends the reason to a client in a task, and reads until the client closes. (A connection that is dropped with unread
/// input is reset, and the client may lose the reason.)
fn dismiss((mut outgoing, mut incoming): (Outgoing, Incoming), why: &'static str) {
    // If there are too many such tasks, the client is dropped without a reason.
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
