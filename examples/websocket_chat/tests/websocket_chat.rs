//! Tests the example `websocket_chat` as it is built, with the clients of tokio-tungstenite.

#![cfg(unix)]

use futures::{SinkExt, StreamExt, future::join};
use std::io::{BufRead, BufReader};
use std::net::SocketAddr;
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::Arc;
use std::time::Duration;
use tokio::io::AsyncReadExt;
use tokio::net::{TcpSocket, TcpStream};
use tokio::sync::Semaphore;
use tokio::time::timeout;
use tokio_tungstenite::tungstenite::Message;
use tokio_tungstenite::tungstenite::protocol::frame::coding::CloseCode;
use tokio_tungstenite::{WebSocketStream, client_async};

/// A test that waits longer has failed.
const HANGS: Duration = Duration::from_secs(60);
const LONGEST: usize = 16 << 10;
const AN_HOUR: &str = "3600000";

/// How many messages of the floods a member may have to receive: half as many bytes as the server allows.
const WINDOW: usize = 128;

#[tokio::test]
async fn what_a_member_says_reaches_every_member_and_no_newcomer() {
    let server = Server::start(AN_HOUR);
    let mut newcomer = server.client().await;
    let [mut ann, mut bob] = [server.member("ann").await, server.member("bob").await];
    ann.hear("* bob is here").await;
    ann.say("hello").await;
    bob.say("hello yourself").await;
    for member in [&mut ann, &mut bob] {
        let mut heard = [member.next_text().await, member.next_text().await];
        heard.sort();
        assert_eq!(heard, ["ann: hello", "bob: hello yourself"]);
    }
    for taken in ["ann", "", " ", "a\tb", &"x".repeat(100)] {
        newcomer.say(taken).await;
        newcomer.hear("* another name, please").await;
    }
    drop(bob);
    ann.hear("* bob has left").await;
    newcomer.say("bob").await;
    newcomer.hear("* bob is here").await;
    ann.hear("* bob is here").await;
}

/// The test shortens the server's own deadline. When it has passed for the next client, it has also passed for the
/// client that has logged in.
#[tokio::test]
async fn who_gives_no_name_in_time_is_closed_with_1008() {
    let server = Server::start("300");
    // A client that does not even use WebSocket.
    let mut silent = TcpStream::connect(server.address).await.unwrap();
    let mut ann = server.member("ann").await;
    let mut nobody = server.client().await;
    nobody.hear_close(CloseCode::Policy).await;
    assert_eq!(timeout(HANGS, silent.read(&mut [0])).await.expect("it hangs").unwrap(), 0);
    ann.say("I am here").await;
    ann.hear("ann: I am here").await;
}

#[tokio::test]
async fn who_says_too_much_is_closed_with_1009() {
    let server = Server::start(AN_HOUR);
    let mut ann = server.member("ann").await;
    for length in [LONGEST + 1, 40 * LONGEST] {
        let mut bob = server.member("bob").await;
        ann.hear("* bob is here").await;
        bob.say(&"x".repeat(LONGEST)).await;
        ann.hear(&format!("bob: {}", "x".repeat(LONGEST))).await;
        bob.hear(&format!("bob: {}", "x".repeat(LONGEST))).await;
        bob.say(&"x".repeat(length)).await;
        bob.hear_close(CloseCode::Size).await;
        ann.hear("* bob has left").await;
    }
    // As a newcomer.
    let mut carl = server.client().await;
    carl.say(&"x".repeat(LONGEST + 1)).await;
    carl.hear_close(CloseCode::Size).await;
    ann.say("hello").await;
    ann.hear("ann: hello").await;
}

/// A connection that is dropped with unread input is reset, and output in the kernel is lost.
#[tokio::test]
async fn the_reason_comes_behind_what_was_not_read_yet() {
    let server = Server::start(AN_HOUR);
    let (mut ann, mut bob, unread) = server.two_of_whom_one_has_much_to_read().await;
    bob.say(&"x".repeat(4 * LONGEST)).await;
    ann.hear("* bob has left").await;
    for line in unread {
        bob.hear(&line).await;
    }
    bob.hear_close(CloseCode::Size).await;
}

/// The server disconnects a member that is too far behind, so the flooding clients send no more than a window of
/// messages that some member has not received.
#[tokio::test]
async fn pings_are_answered_while_others_flood() {
    const FLOODS: usize = 4;
    const PINGS: u8 = 50;
    let server = Server::start(AN_HOUR);
    let mut member = server.member("pings").await;
    let mut newcomer = server.client().await;
    let windows: Arc<[_]> = (0..=FLOODS).map(|_| Semaphore::new(WINDOW)).collect();
    let mut clients = Vec::new();
    for number in 0..FLOODS {
        clients.push(server.member(&format!("flood-{number}")).await);
    }
    let floods = clients.into_iter().enumerate();
    let floods = floods.map(|(number, client)| tokio::spawn(client.flood(Arc::clone(&windows), number)));
    let floods: Vec<_> = floods.collect();
    for number in 0..PINGS {
        for client in [&mut member, &mut newcomer] {
            client.0.send(Message::Ping(vec![number].into())).await.unwrap();
        }
        let mut answers = 0;
        while answers < 2 {
            let message = tokio::select! {
                message = member.next() => message,
                message = newcomer.next() => message,
            };
            answers += usize::from(message == Message::Pong(vec![number].into()));
            windows[FLOODS].add_permits(usize::from(is_of_a_flood(&message)));
        }
    }
    // The flooding clients are still running.
    assert!(floods.iter().all(|flood| !flood.is_finished()));
    while !is_of_a_flood(&member.next().await) {}
    floods.iter().for_each(|flood| flood.abort());
}

#[tokio::test]
async fn who_never_reads_is_disconnected_and_the_others_hear_everything() {
    let server = Server::start(AN_HOUR);
    let [mut ann, mut bob] = [server.member("ann").await, server.member("bob").await];
    ann.hear("* bob is here").await;
    let mut slow = server.client_with_a_small_buffer().await;
    slow.say("slow").await;
    for member in [&mut ann, &mut bob] {
        member.hear("* slow is here").await;
    }
    let long = "x".repeat(LONGEST - 10);
    let mut has_left = [false; 2];
    for number in 0.. {
        assert!(number < 10_000, "slow is still there");
        let said = format!("{number} {long}");
        ann.say(&said).await;
        let heard = format!("ann: {said}");
        ann.hear_while_slow_leaves(&heard, &mut has_left[0]).await;
        bob.hear_while_slow_leaves(&heard, &mut has_left[1]).await;
        if has_left == [true; 2] {
            return;
        }
    }
}

#[tokio::test]
async fn ctrl_c_closes_all_with_1001() {
    let mut server = Server::start(AN_HOUR);
    let mut newcomer = server.client().await;
    let [mut ann, mut bob] = [server.member("ann").await, server.member("bob").await];
    ann.hear("* bob is here").await;
    server.interrupt();
    for client in [&mut newcomer, &mut ann, &mut bob] {
        client.hear_close(CloseCode::Away).await;
    }
    assert!(server.exit().success());
    assert!(TcpStream::connect(server.address).await.is_err());
}

/// The server keeps reading from a client that keeps sending; otherwise its connection would be reset.
#[tokio::test]
async fn ctrl_c_comes_behind_what_was_not_read_yet() {
    let mut server = Server::start(AN_HOUR);
    let (mut ann, mut bob, unread) = server.two_of_whom_one_has_much_to_read().await;
    server.interrupt();
    ann.hear_close(CloseCode::Away).await;
    bob.say("wait for me").await;
    for line in unread {
        bob.hear(&line).await;
    }
    bob.hear_close(CloseCode::Away).await;
    assert!(server.exit().success());
}

/// The client does not answer the closing either.
#[tokio::test]
async fn ctrl_c_does_not_wait_for_ever_for_who_does_not_read() {
    let mut server = Server::start(AN_HOUR);
    let mut ann = server.member("ann").await;
    let _slow = server.member("slow").await;
    ann.hear("* slow is here").await;
    server.interrupt();
    ann.hear_close(CloseCode::Away).await;
    assert!(server.exit().success());
}

/// The example, running on its own port. It ends when this is dropped.
struct Server {
    process: Child,
    address: SocketAddr,
}

impl Server {
    fn start(login_milliseconds: &str) -> Self {
        // Cargo puts the examples next to the directory of this test.
        let test = std::env::current_exe().unwrap();
        let profile = test.parent().and_then(|deps| deps.parent()).expect("target/PROFILE/deps/TEST");
        let example = profile.join("examples/websocket_chat");
        assert!(
            example.exists(),
            "`cargo build --example websocket_chat` comes first, or `cargo test` as a whole"
        );
        let mut command = Command::new(example);
        let mut process =
            command.args(["127.0.0.1:0", login_milliseconds]).stdout(Stdio::piped()).spawn().unwrap();
        let mut line = String::new();
        BufReader::new(process.stdout.take().expect("asked for above")).read_line(&mut line).unwrap();
        let address = line.trim().strip_prefix("listening on ").expect("it listens");
        Self { address: address.parse().unwrap(), process }
    }

    async fn client(&self) -> Client {
        Client::new(TcpStream::connect(self.address).await.unwrap()).await
    }

    async fn client_with_a_small_buffer(&self) -> Client {
        let socket = TcpSocket::new_v4().unwrap();
        socket.set_recv_buffer_size(4096).unwrap();
        Client::new(socket.connect(self.address).await.unwrap()).await
    }

    /// A client that has logged in.
    async fn member(&self, name: &str) -> Client {
        let mut client = self.client().await;
        client.say(name).await;
        client.hear(&format!("* {name} is here")).await;
        client
    }

    /// The unread messages are in the kernel's buffers.
    async fn two_of_whom_one_has_much_to_read(&self) -> (Client, Client, Vec<String>) {
        let mut ann = self.member("ann").await;
        let mut bob = self.client_with_a_small_buffer().await;
        bob.say("bob").await;
        bob.hear("* bob is here").await;
        ann.hear("* bob is here").await;
        let said = "x".repeat(LONGEST - 10);
        let unread = vec![format!("ann: {said}"); 12];
        for line in &unread {
            ann.say(&said).await;
            ann.hear(line).await;
        }
        (ann, bob, unread)
    }

    /// Ctrl-C.
    fn interrupt(&self) {
        let process = self.process.id().to_string();
        assert!(Command::new("kill").args(["-s", "INT", &process]).status().unwrap().success());
    }

    fn exit(&mut self) -> ExitStatus {
        self.process.wait().unwrap()
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

struct Client(WebSocketStream<TcpStream>);

impl Client {
    async fn new(socket: TcpStream) -> Self {
        socket.set_nodelay(true).unwrap();
        Self(client_async("ws://localhost/", socket).await.unwrap().0)
    }

    /// The server may close the connection in the meantime.
    async fn say(&mut self, text: &str) {
        let _ = self.0.send(text.into()).await;
    }

    async fn next(&mut self) -> Message {
        let message = timeout(HANGS, self.0.next()).await.expect("a message within a minute");
        message.expect("the server has hung up").unwrap()
    }

    async fn next_text(&mut self) -> String {
        match self.next().await {
            Message::Text(text) => text.to_string(),
            other => panic!("heard {other:.80}"),
        }
    }

    async fn hear(&mut self, text: &str) {
        let heard = self.next_text().await;
        assert!(heard == text, "heard {heard:.80?} and not {text:.80?}");
    }

    /// Expects the closing frame, and then the end of the connection: not a reset, which might lose the frame.
    async fn hear_close(&mut self, code: CloseCode) {
        match self.next().await {
            Message::Close(Some(frame)) => assert_eq!(frame.code, code),
            other => panic!("heard {other:.80}"),
        }
        // Sends the answer.
        let _ = self.0.flush().await;
        let end = timeout(HANGS, self.0.get_mut().read(&mut [0])).await.expect("it hangs");
        assert_eq!(end.unwrap(), 0);
    }

    /// Sends as fast as the windows allow, of which each counts what one member may still be sent. This is the member of
    /// the window with this number.
    async fn flood(self, windows: Arc<[Semaphore]>, number: usize) {
        let said = "x".repeat(1_000);
        let (mut outgoing, mut incoming) = self.0.split();
        let send = async {
            loop {
                for window in windows.iter() {
                    window.acquire().await.unwrap().forget();
                }
                outgoing.send(said.as_str().into()).await.unwrap();
            }
        };
        let receive = async {
            while let Some(message) = incoming.next().await {
                windows[number].add_permits(usize::from(is_of_a_flood(&message.unwrap())));
            }
        };
        join(send, receive).await;
    }

    /// Expects this message, perhaps preceded by the news that `slow` has left.
    async fn hear_while_slow_leaves(&mut self, text: &str, has_left: &mut bool) {
        let mut heard = self.next_text().await;
        if heard == "* slow has left" {
            *has_left = true;
            heard = self.next_text().await;
        }
        assert!(heard == text, "heard {heard:.80?} and not {text:.80?}");
    }
}

fn is_of_a_flood(message: &Message) -> bool {
    matches!(message, Message::Text(text) if text.starts_with("flood-"))
}
