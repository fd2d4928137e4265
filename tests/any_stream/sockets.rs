//! Both halves of connections as pairs, with a peer at the other end.

use crate::{A, multiplexer, receive_and_move};
use futures::{Sink, SinkExt, Stream, StreamExt};
use std::fmt::Debug;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::{TcpListener, TcpStream};
use tokio_tungstenite::WebSocketStream;
use tokio_tungstenite::tungstenite::Message;
use tokio_tungstenite::tungstenite::protocol::Role;
use tokio_util::codec::{Framed, LinesCodec};

async fn tcp_pair() -> [TcpStream; 2] {
    let listener = TcpListener::bind(("127.0.0.1", 0)).await.unwrap();
    let client = TcpStream::connect(listener.local_addr().unwrap()).await.unwrap();
    [listener.accept().await.unwrap().0, client]
}

/// Serves a connection as a pair, and echoes until the peer closes. Returns the received items.
async fn echo<C, T, E>(connection: C) -> Vec<T>
where
    C: Stream<Item = Result<T, E>> + Sink<T, Error = E>,
    T: Clone,
    E: Debug,
{
    let (sink, stream) = connection.split();
    let multiplexer = multiplexer();
    let id = multiplexer.add_stream_pair(sink, stream, A).unwrap();
    let mut items = Vec::new();
    while let Some(item) = receive_and_move(&multiplexer, id).await {
        items.push(item.unwrap());
        // The closing frame of a WebSocket cannot be answered.
        let _ = multiplexer.send_one(id, items.last().unwrap().clone()).await;
    }
    assert_eq!(multiplexer.channel_of(id), None);
    items
}

/// Sends each item, and waits for its echo.
async fn say<C, T, E>(mut connection: C, items: impl IntoIterator<Item = T>) -> C
where
    C: Stream<Item = Result<T, E>> + Sink<T, Error = E> + Unpin,
    T: Clone + Debug + PartialEq,
    E: Debug,
{
    for item in items {
        connection.send(item.clone()).await.unwrap();
        assert_eq!(connection.next().await.unwrap().unwrap(), item);
    }
    connection
}

async fn lines_come_and_go<S: AsyncRead + AsyncWrite + Unpin>([ours, theirs]: [S; 2]) {
    let lines = ["one", "two", "three"].map(str::to_owned);
    let peer = async {
        let connection = say(Framed::new(theirs, LinesCodec::new()), lines.clone()).await;
        drop(connection);
    };
    let (received, ()) = tokio::join!(echo(Framed::new(ours, LinesCodec::new())), peer);
    assert_eq!(received, lines);
}

#[tokio::test]
async fn framed_over_tcp() {
    lines_come_and_go(tcp_pair().await).await;
}

#[cfg(unix)]
#[tokio::test]
async fn framed_over_unix() {
    let (ours, theirs) = tokio::net::UnixStream::pair().unwrap();
    lines_come_and_go([ours, theirs]).await;
}

#[tokio::test]
async fn web_socket() {
    let [ours, theirs] = tcp_pair().await;
    let messages = [Message::text("one"), Message::binary(vec![2; 100_000]), Message::text("three")];
    let peer = async {
        let connection = WebSocketStream::from_raw_socket(theirs, Role::Client, None).await;
        let mut connection = say(connection, messages.clone()).await;
        connection.close(None).await.unwrap();
        // The other side's closing frame.
        while connection.next().await.is_some() {}
    };
    let server = WebSocketStream::from_raw_socket(ours, Role::Server, None).await;
    let (received, ()) = tokio::join!(echo(server), peer);
    assert_eq!(received[..3], messages);
    assert_eq!(received[3..], [Message::Close(None)]);
}
