//! The jobs: a server and its clients, under any executor and over any sockets.

use crate::executor::Executor;
use crate::net::{Connection, Listen, Net};
use futures::channel::oneshot;
use futures::future::{Either, LocalBoxFuture, join_all, select};
use futures::stream::{SplitSink, SplitStream};
use futures::{SinkExt, StreamExt, future, poll, stream};
use std::collections::HashMap;
use std::sync::Arc;
use stream_multiplexer::StreamEvent::{self, Ended, Item, Moved, Removed, SinkFailed};
use stream_multiplexer::{
    ChannelOptions, ChannelReceiver, Multiplexer, MultiplexerError, SendError, Share, StreamId,
};
use tokio::io::{AsyncRead, AsyncWrite, AsyncWriteExt};
use tokio_util::codec::{Framed, LinesCodec, LinesCodecError};

const CHANNEL_ONE: usize = 1;
const CHANNEL_TWO: usize = 2;

type Lines = Framed<Connection, LinesCodec>;
type Inward = SplitStream<Lines>;
type Outward = SplitSink<Lines, String>;
type Server = Multiplexer<Inward, Outward>;
type Receiver = ChannelReceiver<Inward, Outward>;
type Event = (StreamId, StreamEvent<Result<String, LinesCodecError>>);

/// A job whose future is boxed, so that an executor is compiled once for all jobs.
pub(crate) type Job = fn(Executor) -> LocalBoxFuture<'static, ()>;

/// Defines a test of each job, over both kinds of sockets.
macro_rules! test_each {
    ($run:ident, $tcp:ty, $unix:ty) => {
        #[test]
        fn echo_and_move() {
            $run(|executor| Box::pin(crate::jobs::echo_and_move(executor, <$tcp>::listen)));
            $run(|executor| Box::pin(crate::jobs::echo_and_move(executor, <$unix>::listen)));
        }

        #[test]
        fn broadcast() {
            $run(|executor| Box::pin(crate::jobs::broadcast(executor, <$tcp>::listen)));
            $run(|executor| Box::pin(crate::jobs::broadcast(executor, <$unix>::listen)));
        }

        #[test]
        fn peer_vanishes() {
            $run(|executor| Box::pin(crate::jobs::peer_vanishes(executor, <$tcp>::listen)));
            $run(|executor| Box::pin(crate::jobs::peer_vanishes(executor, <$unix>::listen)));
        }

        #[test]
        fn peer_half_closes() {
            $run(|executor| Box::pin(crate::jobs::peer_half_closes(executor, <$tcp>::listen)));
            $run(|executor| Box::pin(crate::jobs::peer_half_closes(executor, <$unix>::listen)));
        }

        #[test]
        fn thousands_of_lines() {
            $run(|executor| Box::pin(crate::jobs::thousands_of_lines(executor, <$tcp>::listen)));
            $run(|executor| Box::pin(crate::jobs::thousands_of_lines(executor, <$unix>::listen)));
        }

        #[test]
        fn two_channels_as_one() {
            $run(|executor| Box::pin(crate::jobs::two_channels_as_one(executor, <$tcp>::listen)));
            $run(|executor| Box::pin(crate::jobs::two_channels_as_one(executor, <$unix>::listen)));
        }

        #[test]
        fn peer_does_not_read() {
            $run(|executor| Box::pin(crate::jobs::peer_does_not_read(executor, <$tcp>::listen)));
            $run(|executor| Box::pin(crate::jobs::peer_does_not_read(executor, <$unix>::listen)));
        }
    };
}
pub(crate) use test_each;

/// Two channels, a task that accepts, a task that answers the first line of each connection and moves the connection, a task
/// that answers all other lines, and clients that send many lines before they read.
pub(crate) async fn echo_and_move(executor: Executor, listen: Listen) {
    const CLIENTS: usize = 12;
    const LINES: usize = 100;
    let (server, listener) = server(listen, ChannelOptions::new()).await;
    let accepted = executor.spawn(accept(server.clone(), Arc::clone(&listener), CLIENTS));
    let moved = executor.spawn(answer_and_move(server.clone()));
    let ended = executor.spawn(answer(server.clone(), server.receiver(CHANNEL_TWO).unwrap()));
    let clients = (0..CLIENTS).map(|client| {
        let listener = Arc::clone(&listener);
        executor.spawn(async move {
            let mut lines = connect(&*listener).await;
            say(&mut lines, [format!("it is {client}")]).await;
            assert_eq!(next(&mut lines).await, format!("one: it is {client}"));
            say(&mut lines, (0..LINES).map(|line| format!("{client} says {line}"))).await;
            for line in 0..LINES {
                assert_eq!(next(&mut lines).await, format!("two: {client} says {line}"));
            }
        })
    });

    let clients: Vec<_> = clients.collect();
    let ids = accepted.await;
    join_all(clients).await;
    // The first task has moved all connections, and has received their departures.
    server.close_channel(CHANNEL_ONE).unwrap();
    let moved = moved.await;
    server.close();
    let ended = ended.await;
    assert_eq!(moved.len(), CLIENTS);
    assert_eq!(ended.len(), CLIENTS);
    for id in ids {
        assert_eq!(moved[&id], (1, 1), "one line and one departure");
        assert_eq!(ended[&id], (LINES, 1), "all lines and one departure");
        assert_eq!(server.channel_of(id), None);
    }
    assert_eq!(server.channel_len(CHANNEL_TWO), Some(0));
}

/// For each stream, the number of lines and the number of departures.
type Account = HashMap<StreamId, (usize, usize)>;

async fn answer_and_move(server: Server) -> Account {
    let mut account = Account::new();
    loop {
        match server.recv(CHANNEL_ONE).await {
            Ok((id, Some(line))) => {
                account.entry(id).or_default().0 += 1;
                let answer = format!("one: {}", line.unwrap());
                for sent in server.send(vec![id], answer).await {
                    assert_eq!(sent.unwrap(), id);
                }
                server.change_stream_channel(id, CHANNEL_TWO).unwrap();
            }
            Ok((id, None)) => account.entry(id).or_default().1 += 1,
            Err(MultiplexerError::Closed) => return account,
            Err(error) => panic!("{error}"),
        }
    }
}

async fn answer(server: Server, mut receiver: Receiver) -> Account {
    let mut account = Account::new();
    while let Some((id, event)) = receiver.next().await {
        let (lines, departures) = account.entry(id).or_default();
        match event {
            Item(line) => {
                *lines += 1;
                server.send_one(id, format!("two: {}", line.unwrap())).await.unwrap();
            }
            Ended => *departures += 1,
            Moved(_) | Removed | SinkFailed => panic!("nobody did that"),
        }
    }
    account
}

/// Every line of each client is sent to all clients. All clients receive the same order, and the lines of each client
/// in order.
pub(crate) async fn broadcast(executor: Executor, listen: Listen) {
    const CLIENTS: usize = 8;
    const LINES: usize = 25;
    let (server, listener) = server(listen, ChannelOptions::new()).await;
    let clients = (0..CLIENTS).map(|client| {
        let listener = Arc::clone(&listener);
        executor.spawn(async move {
            let mut lines = connect(&*listener).await;
            say(&mut lines, (0..LINES).map(|line| format!("{client}: {line}"))).await;
            let mut heard = Vec::new();
            while heard.len() < CLIENTS * LINES {
                heard.push(next(&mut lines).await);
            }
            heard
        })
    });
    let clients: Vec<_> = clients.collect();
    let ids = accept(server.clone(), listener, CLIENTS).await;

    let mut receiver = server.receiver(CHANNEL_ONE).unwrap();
    for _ in 0..CLIENTS * LINES {
        let line = line(receiver.next().await).1;
        for (sent, id) in server.send(ids.clone(), line).await.into_iter().zip(&ids) {
            assert_eq!(sent.unwrap(), *id);
        }
    }

    let heard = join_all(clients).await;
    assert!(heard.iter().all(|lines| *lines == heard[0]), "all hear the same");
    for client in 0..CLIENTS {
        let name = format!("{client}: ");
        let said = heard[0].iter().filter(|line| line.starts_with(&name));
        assert!(said.eq(&(0..LINES).map(|line| format!("{name}{line}")).collect::<Vec<_>>()));
    }
    server.close();
    for _ in 0..CLIENTS {
        assert!(matches!(receiver.next().await, Some((_, Ended))));
    }
    assert!(receiver.next().await.is_none());
}

/// A peer disconnects in the middle of a line, with unread input. Its departure is received once, and no other peer is
/// affected.
pub(crate) async fn peer_vanishes(executor: Executor, listen: Listen) {
    let (server, listener) = server(listen, ChannelOptions::new()).await;
    let stays = executor.spawn({
        let listener = Arc::clone(&listener);
        async move {
            let mut lines = connect(&*listener).await;
            say(&mut lines, ["I stay".to_owned()]).await;
            assert_eq!(next(&mut lines).await, "to both");
            assert_eq!(next(&mut lines).await, "it is gone");
            say(&mut lines, ["still here".to_owned()]).await;
        }
    });
    let [stays_id] = accept(server.clone(), Arc::clone(&listener), 1).await[..] else { panic!("one") };
    let (reads_nothing, was_sent) = oneshot::channel::<()>();
    let vanishes = executor.spawn({
        let listener = Arc::clone(&listener);
        async move {
            let mut connection = listener.connect().await;
            connection.write_all(b"half a li").await.unwrap();
            connection.flush().await.unwrap();
            was_sent.await.unwrap();
        }
    });
    let [vanishes_id] = accept(server.clone(), listener, 1).await[..] else { panic!("one") };

    let mut receiver = server.receiver(CHANNEL_ONE).unwrap();
    assert_eq!(line(receiver.next().await), (stays_id, "I stay".to_owned()));
    for sent in server.send([stays_id, vanishes_id], "to both".to_owned()).await {
        sent.unwrap();
    }
    reads_nothing.send(()).unwrap();
    vanishes.await;
    loop {
        match receiver.next().await {
            Some((id, Ended)) if id == vanishes_id => break,
            // The rest of its lines, or the error that the connection was reset.
            Some((id, Item(_))) if id == vanishes_id => {}
            other => panic!("nobody else did anything: {other:?}"),
        }
    }
    let sent = server.send([vanishes_id, stays_id], "it is gone".to_owned()).await;
    assert!(matches!(sent.as_slice(), [Err(SendError::UnknownStream(gone)), Ok(_)] if *gone == vanishes_id));
    assert_eq!(line(receiver.next().await), (stays_id, "still here".to_owned()));
    stays.await;
    assert!(matches!(receiver.next().await, Some((id, Ended)) if id == stays_id));
    assert_eq!(server.channel_len(CHANNEL_ONE), Some(0));
}

/// In a half-closing channel, a peer that has shut down its writing side receives the answer and then the end.
pub(crate) async fn peer_half_closes(executor: Executor, listen: Listen) {
    assert_eq!(ask_and_fall_silent(&executor, listen, true).await, ["answer to 3 lines"]);
    assert!(ask_and_fall_silent(&executor, listen, false).await.is_empty());
}

/// Returns what a peer receives that sends three lines and shuts down its writing side.
async fn ask_and_fall_silent(executor: &Executor, listen: Listen, half_close: bool) -> Vec<String> {
    let (server, listener) = server(listen, ChannelOptions::new().half_close(half_close)).await;
    let asks = executor.spawn({
        let listener = Arc::clone(&listener);
        async move {
            let mut lines = connect(&*listener).await;
            say(&mut lines, ["a", "b", "c"].map(str::to_owned)).await;
            lines.get_mut().fall_silent().await;
            lines.map(Result::unwrap).collect().await
        }
    });
    let ids = accept(server.clone(), listener, 1).await;

    let mut receiver = server.receiver(CHANNEL_ONE).unwrap();
    for said in ["a", "b", "c"] {
        assert_eq!(line(receiver.next().await), (ids[0], said.to_owned()));
    }
    assert!(matches!(receiver.next().await, Some((id, Ended)) if id == ids[0]));
    let sent = server.send_one(ids[0], "answer to 3 lines".to_owned()).await;
    assert_eq!(sent.is_ok(), half_close);
    let closed = server.close_stream::<String>(ids[0]).await;
    assert_eq!(closed.is_ok(), half_close);
    asks.await
}

/// Echoes thousands of lines, at the pace of the slower side.
pub(crate) async fn thousands_of_lines(executor: Executor, listen: Listen) {
    const LINES: usize = 5_000;
    let (server, listener) = server(listen, ChannelOptions::new()).await;
    let client = executor.spawn({
        let listener = Arc::clone(&listener);
        async move {
            let (mut says, hears) = connect(&*listener).await.split();
            let mut lines = stream::iter(0..LINES).map(|line| Ok(line.to_string()));
            let hears = hears.take(LINES).map(Result::unwrap).collect::<Vec<_>>();
            let (said, heard) = future::join(says.send_all(&mut lines), hears).await;
            said.unwrap();
            assert!(heard.into_iter().eq((0..LINES).map(|line| line.to_string())));
        }
    });
    let ids = accept(server.clone(), listener, 1).await;

    let mut receiver = server.receiver(CHANNEL_ONE).unwrap();
    let mut sender = server.sender(ids[0]).unwrap();
    let mut events = Vec::new();
    let mut lines = 0;
    while lines < LINES {
        lines += receiver.recv_many(&mut events, 64).await;
        for event in events.drain(..) {
            sender.feed(line(Some(event)).1).await.unwrap();
        }
        sender.flush().await.unwrap();
    }
    client.await;
    assert!(matches!(receiver.next().await, Some((_, Ended))));
    assert!(matches!(sender.feed(String::new()).await, Err(SendError::UnknownStream(_))));
}

/// Every other client is moved to a channel of lower priority. A select answers all clients without flushing: the select
/// flushes before it sleeps.
pub(crate) async fn two_channels_as_one(executor: Executor, listen: Listen) {
    const CLIENTS: usize = 8;
    const LINES: usize = 200;
    let (server, listener) = server(listen, ChannelOptions::new()).await;
    let clients = (0..CLIENTS).map(|client| {
        let listener = Arc::clone(&listener);
        executor.spawn(async move {
            let mut lines = connect(&*listener).await;
            say(&mut lines, (0..LINES).map(|line| format!("{client}: {line}"))).await;
            for line in 0..LINES {
                assert_eq!(next(&mut lines).await, format!("{client}: {line}"));
            }
        })
    });
    let clients: Vec<_> = clients.collect();
    let ids = accept(server.clone(), listener, CLIENTS).await;
    for id in ids.iter().step_by(2) {
        server.change_stream_channel(*id, CHANNEL_TWO).unwrap();
    }
    server.close();

    let mut select = server.select();
    select.add(CHANNEL_ONE, Share::new()).unwrap();
    select.add(CHANNEL_TWO, Share::new().priority(1)).unwrap();
    let mut account = Account::new();
    let mut moved = 0;
    while let Some((channel, id, event)) = select.next().await {
        let (lines, ends) = account.entry(id).or_default();
        match event {
            Item(line) => {
                *lines += 1;
                if let Err(error) = server.try_feed(id, line.unwrap()) {
                    server.send_one(id, error.into_item().expect("no sink failed")).await.unwrap();
                }
            }
            Ended => *ends += 1,
            Moved(to) => {
                assert_eq!((channel, to), (CHANNEL_ONE, CHANNEL_TWO));
                moved += 1;
            }
            Removed | SinkFailed => panic!("nobody did that"),
        }
    }
    join_all(clients).await;
    assert_eq!(moved, CLIENTS / 2);
    assert!(ids.iter().all(|id| account[id] == (LINES, 1)), "{account:?}");
}

/// A peer that reads nothing makes the broadcast wait, and does not delay the other peer.
pub(crate) async fn peer_does_not_read(executor: Executor, listen: Listen) {
    const LINE: usize = 256 * 1024;
    let (server, listener) = server(listen, ChannelOptions::new()).await;
    let reads = executor.spawn({
        let listener = Arc::clone(&listener);
        async move {
            let mut lines = connect(&*listener).await;
            while let Some(line) = lines.next().await {
                assert_eq!(line.unwrap().len(), LINE);
                say(&mut lines, ["got it".to_owned()]).await;
            }
        }
    });
    let reads_id = accept(server.clone(), Arc::clone(&listener), 1).await[0];
    let (begin, begins) = oneshot::channel::<()>();
    let stuck = executor.spawn({
        let listener = Arc::clone(&listener);
        async move {
            let mut lines = connect(&*listener).await;
            begins.await.unwrap();
            let mut count = 0;
            while let Some(line) = lines.next().await {
                assert_eq!(line.unwrap().len(), LINE);
                count += 1;
            }
            count
        }
    });
    let stuck_id = accept(server.clone(), listener, 1).await[0];

    let mut receiver = server.receiver(CHANNEL_ONE).unwrap();
    let mut count = 0;
    let sent = loop {
        assert!(count < 1_000, "the buffers of a socket are not that big");
        count += 1;
        let mut sending = server.send([stuck_id, reads_id], "x".repeat(LINE));
        match select(&mut sending, receiver.next()).await {
            Either::Left((sent, got_it)) => {
                assert!(sent.iter().all(Result::is_ok), "{sent:?}");
                assert_eq!(line(got_it.await), (reads_id, "got it".to_owned()));
            }
            // The other peer has all lines. Checks that the broadcast waits for the stuck peer.
            Either::Right((got_it, _)) => {
                assert_eq!(line(got_it), (reads_id, "got it".to_owned()));
                if poll!(&mut sending).is_pending() {
                    begin.send(()).unwrap();
                    break sending.await;
                }
            }
        }
    };
    assert!(matches!(sent.as_slice(), [Ok(first), Ok(second)] if [*first, *second] == [stuck_id, reads_id]));
    server.close_stream::<String>(stuck_id).await.unwrap();
    server.close_stream::<String>(reads_id).await.unwrap();
    assert_eq!(stuck.await, count, "nothing is lost");
    reads.await;
}

/// A server with two channels, and its listener.
async fn server(listen: Listen, options: ChannelOptions) -> (Server, Arc<dyn Net>) {
    let server = Multiplexer::new();
    server.add_channel_with(CHANNEL_ONE, options).unwrap();
    server.add_channel_with(CHANNEL_TWO, options).unwrap();
    (server, listen().await)
}

/// Accepts `count` connections into the first channel.
async fn accept(server: Server, listener: Arc<dyn Net>, count: usize) -> Vec<StreamId> {
    let mut ids = Vec::new();
    while ids.len() < count {
        let (sink, stream) = Framed::new(listener.accept().await, LinesCodec::new()).split();
        ids.push(server.add_stream_pair(sink, stream, CHANNEL_ONE).unwrap());
    }
    ids
}

/// Connects a client.
async fn connect(listener: &dyn Net) -> Lines {
    Framed::new(listener.connect().await, LinesCodec::new())
}

/// Sends several lines together.
async fn say<C>(client: &mut Framed<C, LinesCodec>, lines: impl IntoIterator<Item = String>)
where
    C: AsyncRead + AsyncWrite + Unpin,
{
    for line in lines {
        client.feed(line).await.unwrap();
    }
    SinkExt::<String>::flush(client).await.unwrap();
}

/// Returns the next line that a client receives.
async fn next<C>(client: &mut Framed<C, LinesCodec>) -> String
where
    C: AsyncRead + AsyncWrite + Unpin,
{
    client.next().await.expect("the server goes on").unwrap()
}

/// Returns the line of an event.
fn line(event: Option<Event>) -> (StreamId, String) {
    match event {
        Some((id, Item(line))) => (id, line.unwrap()),
        other => panic!("a line was expected: {other:?}"),
    }
}
