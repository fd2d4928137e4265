//! Tests the example `job_server` as it is built, with real clients over TCP.

#![cfg(unix)]

use serde_json::{Value, json};
use std::io::{BufRead, BufReader, ErrorKind, Read, Write};
use std::net::{Shutdown, TcpStream};
use std::process::{Child, Command, Stdio};
use std::sync::atomic::{AtomicU64, Ordering::SeqCst};
use std::sync::{Arc, mpsc};
use std::thread;
use std::time::Duration;
use tokio::net::TcpSocket;

/// A test that waits longer has failed.
const HANGS: Duration = Duration::from_secs(60);

const FREE: &str = "free";
const PAYING: &str = "paid-1234";
const ADMIN: &str = "admin-1234";

#[test]
fn a_client_logs_in_and_has_its_jobs_done() {
    let server = Server::start(&[]);
    let mut client = server.client();
    client.say(&json!({"job": 7}));
    client.hear_error("that is not for your class");
    client.log_in(FREE);
    client.say(&json!({"job": 7}));
    client.say(&json!({"job": 7}));
    let done = client.hear();
    assert!(done["done"].is_u64(), "{done}");
    assert_eq!(client.hear(), done);
    // The client cannot log in twice, and is no admin.
    for request in [json!({"login": PAYING}), json!("stats"), json!({"pause": true})] {
        client.say(&request);
        client.hear_error("that is not for your class");
    }

    let mut stranger = server.client();
    stranger.say(&json!({"login": "open sesame"}));
    stranger.hear_error("that is no key");
    stranger.hear_end();
}

#[test]
fn bad_json_has_an_answer_and_the_client_goes_on() {
    let server = Server::start(&[]);
    let mut client = server.member(FREE);
    for bad in [&b"{"[..], b"", b"\xff", br#"{"job": "seven"}"#, br#"{"job": -1}"#, br#"{"jobs": 7}"#] {
        client.say_bytes(bad);
        client.hear_error("that is no request");
    }
    client.do_a_job();
}

#[test]
fn a_frame_that_is_too_long_ends_that_connection_alone_and_it_learns_why() {
    let server = Server::start(&[]);
    let mut ann = server.member(PAYING);
    let mut client = server.member(FREE);
    let longest = format!("{:4096}", "{\"job\": 7}");
    client.say_bytes(longest.as_bytes());
    assert!(client.hear()["done"].is_u64());
    client.say_bytes(&[b' '; 300_000]);
    client.hear_error("that is no frame, or it is too long");
    client.hear_end();
    ann.do_a_job();
}

#[test]
fn a_client_that_does_not_log_in_is_closed() {
    let server = Server::start(&[]);
    let mut ann = server.member(FREE);
    let mut silent = server.client();
    silent.hear_error("you have not logged in");
    silent.hear_end();
    // The login time would have passed for Ann, too.
    ann.do_a_job();
}

#[test]
fn a_free_client_too_many_is_refused_and_a_place_is_free_when_one_has_left() {
    let server = Server::start(&["2"]);
    let [_ann, bob] = [server.member(FREE), server.member(FREE)];
    let mut carl = server.client();
    carl.say(&json!({"login": FREE}));
    carl.hear_error("there are too many clients of your class");
    carl.hear_end();
    // Paying clients still find a place.
    server.member(PAYING).do_a_job();
    bob.leave();
    server.member(FREE).do_a_job();
    assert_eq!(server.member(ADMIN).stats()["free"]["refused"], 1);
}

/// The pair is returned and answered. The place is free after the previous new client has logged in.
#[test]
fn a_new_client_too_many_is_refused() {
    let server = Server::start(&["10", "1"]);
    let mut ann = server.client();
    ann.say(&json!("stats"));
    ann.hear_error("that is not for your class");
    let mut bob = server.client();
    bob.hear_error("there are too many clients");
    bob.hear_end();
    ann.log_in(FREE);
    server.member(FREE).do_a_job();
    ann.do_a_job();
}

#[test]
fn a_pause_stops_the_free_clients_alone_and_they_go_on_after_it() {
    let server = Server::start(&[]);
    let [mut free, mut paying, mut admin] = [FREE, PAYING, ADMIN].map(|key| server.member(key));
    free.do_a_job();
    admin.say(&json!({"pause": true}));
    assert_eq!(admin.hear(), json!({"paused": true}));
    free.say(&json!({"job": 1}));
    // The late client is admitted, and waits.
    let mut late = server.member(FREE);
    late.say(&json!({"job": 2}));
    for _ in 0..100 {
        paying.do_a_job();
    }
    let stats = admin.stats();
    assert_eq!((&stats["free"]["requests"], &stats["paying"]["requests"]), (&json!(1), &json!(100)));
    admin.say(&json!({"pause": false}));
    assert_eq!(admin.hear(), json!({"paused": false}));
    assert!(free.hear()["done"].is_u64());
    assert!(late.hear()["done"].is_u64());
    assert_eq!(admin.stats()["free"]["requests"], 3);
}

/// A connection that is dropped with unread input is reset, and output that waits in the server's kernel is lost.
#[test]
fn the_reason_comes_behind_answers_that_were_not_read_yet() {
    const REQUESTS: u64 = 500;
    let server = Server::start(&[]);
    let mut admin = server.member(ADMIN);
    let mut client = server.client_with_a_small_buffer();
    client.log_in(PAYING);
    client.say_nonsense(REQUESTS);
    while admin.requests()[1] != REQUESTS {}
    client.say_bytes(&[b' '; 300_000]);
    client.hear_answers_to_nonsense(REQUESTS);
    client.hear_error("that is no frame, or it is too long");
    client.hear_end();
}

/// The server stops receiving from the client, and loses none of its answers.
#[test]
fn a_client_that_does_not_read_waits_and_stalls_nobody_and_gets_all_its_answers() {
    const BLOCK: u64 = 1_000;
    let server = Server::start(&[]);
    let [mut ann, mut admin] = [server.member(FREE), server.member(ADMIN)];
    let mut slow = server.client_with_a_small_buffer();
    slow.log_in(PAYING);
    let (mut said, mut received) = (0, 0);
    while received == said {
        slow.say_nonsense(BLOCK);
        said += BLOCK;
        ann.do_a_job();
        loop {
            let paying = &admin.stats()["paying"];
            assert_eq!(paying["clients"], 1, "it has gone");
            received = paying["requests"].as_u64().expect("a number");
            if received == said || paying["slow"] == 1 {
                break;
            }
        }
    }
    for _ in 0..100 {
        ann.do_a_job();
    }
    assert_eq!(admin.requests()[1], received);
    slow.end();
    slow.hear_answers_to_nonsense(said);
    slow.hear_end();
}

/// A client sends all its jobs, and ends its half of the connection before it reads. It receives the same answers as a client
/// that reads each answer, in the same order, and then the end.
#[test]
fn a_client_that_ends_its_half_gets_all_its_answers_and_then_the_end() {
    const JOBS: u64 = 200;
    let server = Server::start(&[]);
    let job = |job: u64| json!({"job": job});
    let mut client = server.client();
    client.say(&json!({"login": FREE}));
    (0..JOBS).for_each(|number| client.say(&job(number)));
    client.end();

    let mut patient = server.member(PAYING);
    let expected = (0..JOBS).map(|number| {
        patient.say(&job(number));
        patient.hear()
    });
    assert_eq!(client.hear(), json!({"welcome": "free"}));
    expected.for_each(|answer| assert_eq!(client.hear(), answer));
    client.hear_end();
}

/// A client ends its half of the connection, and reads only when the server has noticed that. The kernel's buffers are full
/// then, and the server's own buffer holds answers: they would be lost if the pair left with its stream.
#[test]
fn a_client_that_ends_its_half_gets_the_answers_that_the_server_still_holds() {
    /// The requests whose answers fill about half of the server's buffer for a client.
    const HALF: u64 = 1_000;
    let server = Server::start(&[]);
    let mut admin = server.member(ADMIN);
    // How many requests fill all buffers of a client.
    let mut full = server.client_with_a_small_buffer();
    full.log_in(PAYING);
    let mut most = 0;
    while admin.stats()["paying"]["slow"] != 1 {
        if admin.requests()[1] == most {
            full.say_nonsense(100);
            most += 100;
        }
    }
    let before = admin.requests()[1];
    drop(full);
    while admin.stats()["paying"]["clients"] != 0 {}

    let mut client = server.client_with_a_small_buffer();
    client.log_in(PAYING);
    client.say_nonsense(most - HALF);
    loop {
        let paying = &admin.stats()["paying"];
        assert_eq!(paying["slow"], 0, "its buffers are smaller than those of the other client");
        if paying["requests"] == before + most - HALF {
            break;
        }
    }
    client.end();
    while admin.stats()["paying"]["clients"] != 0 {}
    client.hear_answers_to_nonsense(most - HALF);
    client.hear_end();
}

/// Each class has more jobs in flight than the server can do. The test checks this: before the first reading each class had
/// sent more jobs than were done at the second reading. Each class therefore always had a job waiting.
#[test]
fn in_an_overload_paying_clients_have_four_jobs_done_for_one_of_the_free_ones() {
    const FREE_JOBS: u64 = 500;
    let server = Server::start(&[]);
    let mut admin = server.member(ADMIN);
    let [free, paying] = [FREE, PAYING].map(|key| Crowd::start(&server, key));
    for _ in 0..10 {
        let said = [&free, &paying].map(|crowd| crowd.said.load(SeqCst));
        let before = admin.requests();
        let mut after = before;
        while after[0] < before[0] + FREE_JOBS {
            free.hear_some();
            after = admin.requests();
        }
        if said[0] <= after[0] || said[1] <= after[1] {
            continue;
        }
        let done = [after[0] - before[0], after[1] - before[1]];
        let ratio = done[1] as f64 / done[0] as f64;
        assert!((3.9..=4.1).contains(&ratio), "{done:?}, which is {ratio}");
        return;
    }
    panic!("the clients do not keep up");
}

#[test]
fn ctrl_c_says_goodbye_to_all_and_closes_them() {
    let mut server = Server::start(&[]);
    let mut clients = Vec::from([FREE, PAYING, ADMIN].map(|key| server.member(key)));
    clients[2].say(&json!({"pause": true}));
    assert_eq!(clients[2].hear(), json!({"paused": true}));
    clients.push(server.client());
    // The new client was admitted.
    clients[3].say(&json!("stats"));
    clients[3].hear_error("that is not for your class");
    let mut ends_early = server.member(PAYING);
    ends_early.end();
    ends_early.hear_end();
    server.interrupt();
    for client in &mut clients {
        client.hear_error("the server ends");
        client.hear_end();
    }
    drop(clients);
    assert!(server.process.wait().unwrap().success());
    assert!(TcpStream::connect(&server.address).is_err());
}

/// The client neither reads nor answers the closing.
#[test]
fn ctrl_c_does_not_wait_for_ever_for_a_client_that_stays() {
    let mut server = Server::start(&[]);
    let _silent = server.member(FREE);
    server.interrupt();
    assert!(server.process.wait().unwrap().success());
}

/// The example, running on its own port. It ends when this is dropped.
struct Server {
    process: Child,
    address: String,
}

impl Server {
    fn start(limits: &[&str]) -> Self {
        // Cargo puts the examples next to the directory of this test.
        let test = std::env::current_exe().unwrap();
        let profile = test.parent().and_then(|deps| deps.parent()).expect("target/PROFILE/deps/TEST");
        let example = profile.join("examples/job_server");
        assert!(
            example.exists(),
            "`cargo build --example job_server` comes first, or `cargo test` as a whole"
        );
        let mut command = Command::new(example);
        let mut process =
            command.arg("127.0.0.1:0").args(limits).stdout(Stdio::piped()).spawn().expect("it starts");
        let mut line = String::new();
        BufReader::new(process.stdout.take().expect("asked for above")).read_line(&mut line).unwrap();
        let address = line.trim().strip_prefix("listening on ").expect("it says where").to_owned();
        Self { process, address }
    }

    fn client(&self) -> Client {
        Client::new(TcpStream::connect(&self.address).unwrap())
    }

    fn client_with_a_small_buffer(&self) -> Client {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_io().build().unwrap();
        let connection = runtime.block_on(async {
            let socket = TcpSocket::new_v4().unwrap();
            socket.set_recv_buffer_size(4_096).unwrap();
            socket.connect(self.address.parse().unwrap()).await.unwrap().into_std().unwrap()
        });
        connection.set_nonblocking(false).unwrap();
        Client::new(connection)
    }

    /// A client that has logged in.
    fn member(&self, key: &str) -> Client {
        let mut client = self.client();
        client.log_in(key);
        client
    }

    /// Ctrl-C.
    fn interrupt(&self) {
        let process = self.process.id().to_string();
        assert!(Command::new("kill").args(["-s", "INT", &process]).status().unwrap().success());
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

struct Client(BufReader<TcpStream>);

impl Client {
    fn new(connection: TcpStream) -> Self {
        connection.set_nodelay(true).unwrap();
        connection.set_read_timeout(Some(HANGS)).unwrap();
        connection.set_write_timeout(Some(HANGS)).unwrap();
        Self(BufReader::new(connection))
    }

    fn say_bytes(&mut self, frame_content: &[u8]) {
        // The server may close the connection in the meantime.
        let _ = self.0.get_mut().write_all(&frame(frame_content));
    }

    fn say(&mut self, request: &Value) {
        self.say_bytes(request.to_string().as_bytes());
    }

    /// Requests that are answered without work.
    fn say_nonsense(&mut self, requests: u64) {
        let requests = usize::try_from(requests).unwrap();
        self.0.get_mut().write_all(&frame(b"7").repeat(requests)).unwrap();
    }

    fn hear_answers_to_nonsense(&mut self, requests: u64) {
        for _ in 0..requests {
            self.hear_error("that is no request");
        }
    }

    fn hear(&mut self) -> Value {
        let answer = next_frame(&mut self.0).expect("the server has hung up");
        serde_json::from_slice(&answer).unwrap()
    }

    #[track_caller]
    fn hear_error(&mut self, why: &str) {
        assert_eq!(self.hear(), json!({"error": why}));
    }

    /// Expects the end of the connection, and not a reset, which might lose an answer.
    #[track_caller]
    fn hear_end(&mut self) {
        assert_eq!(next_frame(&mut self.0), None);
    }

    fn log_in(&mut self, key: &str) {
        self.say(&json!({"login": key}));
        let welcome = self.hear();
        assert!(welcome["welcome"].is_string(), "{welcome}");
    }

    fn do_a_job(&mut self) {
        self.say(&json!({"job": 7}));
        let done = self.hear();
        assert!(done["done"].is_u64(), "{done}");
    }

    /// The statistics, for an admin.
    fn stats(&mut self) -> Value {
        self.say(&json!("stats"));
        self.hear()["stats"].take()
    }

    /// The jobs of free and paying clients so far, at one moment.
    fn requests(&mut self) -> [u64; 2] {
        let stats = self.stats();
        ["free", "paying"].map(|class| stats[class]["requests"].as_u64().expect("a number"))
    }

    /// Ends its half of the connection: it sends no more, and still reads.
    fn end(&mut self) {
        self.0.get_mut().shutdown(Shutdown::Write).unwrap();
    }

    /// After this returns, the client's place is free: the server closes its side when it has removed the client.
    fn leave(mut self) {
        self.end();
        self.hear_end();
    }
}

fn frame(content: &[u8]) -> Vec<u8> {
    let length = u32::try_from(content.len()).unwrap();
    [&length.to_be_bytes(), content].concat()
}

fn next_frame(connection: &mut impl Read) -> Option<Vec<u8>> {
    let mut length = [0; 4];
    match connection.read_exact(&mut length) {
        Err(error) if error.kind() == ErrorKind::UnexpectedEof => return None,
        read => read.expect("an answer within a minute"),
    }
    let mut content = vec![0; u32::from_be_bytes(length) as usize];
    connection.read_exact(&mut content).expect("the rest of the answer");
    Some(content)
}

/// Clients of one class that send jobs as fast as TCP takes them, and read their answers. They end with the server.
struct Crowd {
    /// The number of jobs that were sent.
    said: Arc<AtomicU64>,
    heard: mpsc::Receiver<()>,
}

impl Crowd {
    const CLIENTS: usize = 4;

    /// Returns when each client has sent thousands of jobs.
    fn start(server: &Server, key: &str) -> Self {
        let said = Arc::new(AtomicU64::new(0));
        let (hear, heard) = mpsc::channel();
        let (begin, begun) = mpsc::channel();
        for _ in 0..Self::CLIENTS {
            let Client(mut reads) = server.member(key);
            let mut writes = reads.get_ref().try_clone().unwrap();
            let (said, begin, hear) = (Arc::clone(&said), begin.clone(), hear.clone());
            thread::spawn(move || {
                let jobs = frame(br#"{"job":7}"#).repeat(1_000);
                for block in 1.. {
                    if writes.write_all(&jobs).is_err() {
                        return;
                    }
                    said.fetch_add(1_000, SeqCst);
                    if block == 4 {
                        begin.send(()).expect("it is waited for");
                    }
                }
            });
            thread::spawn(move || {
                let mut answers = [0; 4_096];
                while reads.read(&mut answers).is_ok_and(|length| length > 0) && hear.send(()).is_ok() {}
            });
        }
        for _ in 0..Self::CLIENTS {
            begun.recv_timeout(HANGS).expect("the server reads");
        }
        Self { said, heard }
    }

    /// Waits until some clients have received an answer.
    fn hear_some(&self) {
        self.heard.recv_timeout(HANGS).expect("they have answers");
    }
}
