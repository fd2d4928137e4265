//! Tests the example `quickstart` as it is built, with real clients over TCP.

use std::io::{BufRead, BufReader, Read, Write};
use std::net::TcpStream;
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::time::Duration;

/// A test that waits longer has failed.
const HANGS: Duration = Duration::from_secs(60);

struct Server {
    process: Child,
    address: String,
}

impl Server {
    fn start() -> Self {
        let test = std::env::current_exe().unwrap();
        let profile: PathBuf = test.parent().and_then(|deps| deps.parent()).unwrap().to_owned();
        let mut server = Command::new(profile.join("examples/quickstart"));
        let mut process = server.arg("127.0.0.1:0").stdout(Stdio::piped()).spawn().unwrap();
        let mut line = String::new();
        BufReader::new(process.stdout.take().unwrap()).read_line(&mut line).unwrap();
        let address = line.trim().strip_prefix("listening on ").expect("it says where").to_owned();
        Self { process, address }
    }

    fn client(&self) -> Client {
        let connection = TcpStream::connect(&self.address).unwrap();
        connection.set_read_timeout(Some(HANGS)).unwrap();
        connection.set_write_timeout(Some(HANGS)).unwrap();
        Client(BufReader::new(connection))
    }

    fn member(&self) -> Client {
        let mut client = self.client();
        // The answer shows that the guest was admitted. After the login, the client receives its own line.
        client.say("hello?");
        client.hear("say LOGIN");
        client.say("LOGIN\nI am in");
        client.hear("welcome");
        client.hear("I am in");
        client
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
    fn say(&mut self, line: &str) {
        self.0.get_mut().write_all(format!("{line}\n").as_bytes()).unwrap();
    }

    #[track_caller]
    fn hear(&mut self, expected: &str) {
        let mut line = String::new();
        self.0.read_line(&mut line).unwrap();
        assert_eq!(line.trim_end(), expected);
    }
}

#[test]
fn a_line_of_a_member_goes_to_all_members() {
    let server = Server::start();
    let mut ann = server.member();
    let mut bob = server.member();
    ann.hear("I am in");
    bob.say("hello");
    ann.hear("hello");
    bob.hear("hello");
}

#[test]
fn a_line_that_is_too_long_ends_that_connection_alone() {
    let server = Server::start();
    let mut ann = server.member();
    let mut long = server.client();
    long.say(&"x".repeat(2_000));
    assert_eq!(long.0.read(&mut [0]).unwrap_or(0), 0);
    ann.say("still here");
    ann.hear("still here");
}

#[test]
fn a_member_that_sends_much_and_never_reads_stalls_nobody() {
    let server = Server::start();
    let mut guest = server.client();
    let flood = server.member();
    let mut writes = flood.0.get_ref().try_clone().unwrap();
    let writer = std::thread::spawn(move || {
        let lines = format!("{}\n", "x".repeat(1_000)).repeat(32);
        // 32 MB, or until the client is disconnected.
        (0..1_000).all(|_| writes.write_all(lines.as_bytes()).is_ok())
    });
    while !writer.is_finished() {
        guest.say("hello?");
        guest.hear("say LOGIN");
    }
    assert!(!writer.join().unwrap(), "a member that never reads is disconnected");
    drop(flood);
    let mut ann = server.member();
    ann.say("still here");
    ann.hear("still here");
}

/// More members than a tokio task can write to within one poll, unless its budget is lifted.
#[test]
fn no_line_of_a_fast_member_is_missing_anywhere() {
    const MEMBERS: usize = 250;
    const LINES: usize = 200;
    let server = Server::start();
    let mut members: Vec<_> = (0..MEMBERS).map(|_| server.client()).collect();
    for member in &mut members {
        member.say("hello?");
        member.hear("say LOGIN");
        member.say("LOGIN");
        member.hear("welcome");
    }
    let mut last = server.member();
    let lines: String = (0..LINES).map(|number| format!("{number:0500}\n")).collect();
    last.0.get_mut().write_all(lines.as_bytes()).unwrap();
    members.iter_mut().for_each(|member| member.hear("I am in"));
    for member in members.iter_mut().chain([&mut last]) {
        let mut heard = vec![0; lines.len()];
        member.0.read_exact(&mut heard).expect("it is still connected, and gets every line");
        assert!(heard == lines.as_bytes());
    }
}
