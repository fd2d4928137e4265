//! Tests the example `line_server` as it is built, with real clients over TCP.

#![cfg(unix)]

use std::io::{BufRead, BufReader, Write};
use std::net::{Shutdown, SocketAddr, TcpStream};
use std::path::PathBuf;
use std::process::{Child, ChildStderr, Command, ExitStatus, Stdio};
use std::sync::{Arc, Condvar, Mutex};
use std::thread::{self, JoinHandle};
use std::time::Duration;

/// A test that waits longer has failed.
const HANGS: Duration = Duration::from_secs(60);
const LONGEST_LINE: usize = 8 * 1024;

mod login {
    use super::*;

    #[test]
    fn a_newcomer_is_answered_with_an_error_and_may_log_in() {
        let server = Server::start();
        let mut ann = server.client();
        ann.say("hello?");
        ann.hear_error();
        ann.say("LOGIN ann");
        ann.hear("OK");
    }

    #[test]
    fn a_name_that_is_none_is_refused() {
        let server = Server::start();
        let mut client = server.client();
        for name in ["", " ", "ann bob", "ann:", "a\tb", "a\u{200b}b", &"x".repeat(100)] {
            client.say(&format!("LOGIN {name}"));
            client.hear_error();
        }
        client.say("LOGIN");
        client.hear_error();
        client.say("login ann");
        client.hear_error();
        client.say("LOGIN ann");
        client.hear("OK");
    }

    #[test]
    fn one_of_many_gets_a_name_and_the_next_when_it_has_left() {
        let server = Server::start();
        let mut clients: Vec<_> = (0..20).map(|_| server.client()).collect();
        clients.iter_mut().for_each(|client| client.say("LOGIN ann"));
        let (winners, mut losers): (Vec<_>, Vec<_>) = clients
            .into_iter()
            .map(|mut client| (client.next().expect("an answer"), client))
            .partition(|(answer, _)| {
                assert!(answer == "OK" || answer.starts_with("ERR "), "{answer}");
                answer == "OK"
            });
        assert_eq!(winners.len(), 1);

        winners.into_iter().for_each(|(_, client)| client.leave());
        let (_, loser) = &mut losers[0];
        loser.say("LOGIN ann");
        loser.hear("OK");
        let (_, loser) = &mut losers[1];
        loser.say("LOGIN ann");
        loser.hear_error();
    }

    #[test]
    fn what_is_said_in_one_breath_with_the_login_is_heard_as_a_member() {
        let server = Server::start();
        let mut ann = server.client();
        ann.say("LOGIN ann\none\ntwo");
        ann.hear("OK");
        ann.hear("ann: one");
        ann.hear("ann: two");
    }
}

mod lines {
    use super::*;

    #[test]
    fn a_line_of_a_member_reaches_every_member_and_no_newcomer() {
        let server = Server::start();
        let mut newcomer = server.client();
        let [mut ann, mut bob, mut carl] = ["ann", "bob", "carl"].map(|name| server.member(name));
        ann.say("hello");
        for member in [&mut ann, &mut bob, &mut carl] {
            member.hear("ann: hello");
        }
        bob.say("hello yourself");
        for member in [&mut ann, &mut bob, &mut carl] {
            member.hear("bob: hello yourself");
        }
        newcomer.say("LOGIN dora");
        newcomer.hear("OK");
    }

    #[test]
    fn bad_lines_get_errors_and_nobody_else_notices() {
        let server = Server::start();
        let mut ann = server.member("ann");
        let mut bob = server.member("bob");
        let longest = "x".repeat(LONGEST_LINE);
        let bad = [
            b"\xff\xfe".to_vec(),
            b"\rbob: it was me".to_vec(),
            vec![b'x'; LONGEST_LINE + 1],
            vec![b'x'; LONGEST_LINE + 2],
            vec![b'x'; 20 * LONGEST_LINE],
        ];
        for line in &bad {
            ann.say_bytes(line);
            ann.hear_error();
            ann.say("sorry");
            ann.hear("ann: sorry");
        }
        for end in ["", "\r"] {
            ann.say(&format!("{longest}{end}"));
            ann.hear(&format!("ann: {longest}"));
        }

        let mut newcomer = server.client();
        for line in &bad {
            newcomer.say_bytes(line);
            newcomer.hear_error();
        }
        newcomer.say("LOGIN carl");
        newcomer.hear("OK");

        for _ in &bad {
            bob.hear("ann: sorry");
        }
        bob.hear(&format!("ann: {longest}"));
        bob.hear(&format!("ann: {longest}"));
    }

    #[test]
    fn everybody_hears_each_sender_in_its_order() {
        const LINES: usize = 500;
        let server = Server::start();
        let names: Vec<_> = (0..20).map(|number| format!("member-{number}")).collect();
        let members: Vec<_> = names.iter().map(|name| server.member(name)).collect();
        let talks: Vec<_> = members
            .into_iter()
            .map(|mut member| {
                let names = names.clone();
                thread::spawn(move || {
                    let mut sending = member.clone_stream();
                    let said: String = (0..LINES).map(|number| format!("{number}\n")).collect();
                    let sender = thread::spawn(move || sending.write_all(said.as_bytes()).unwrap());
                    let mut next: Vec<usize> = vec![0; names.len()];
                    for _ in 0..names.len() * LINES {
                        let line = member.next().expect("a line");
                        let (name, number) = line.split_once(": ").expect("name: line");
                        let sender = names.iter().position(|known| known == name).expect("a member");
                        assert_eq!(number, next[sender].to_string(), "of {name}");
                        next[sender] += 1;
                    }
                    join(sender);
                    assert_eq!(next, vec![LINES; names.len()]);
                    // Keeps the connection until all members have received the line.
                    member
                })
            })
            .collect();
        let _members: Vec<_> = talks.into_iter().map(join).collect();
    }
}

mod leaving {
    use super::*;

    #[test]
    fn who_stops_writing_still_gets_what_was_said() {
        let server = Server::start();
        let mut ann = server.client();
        ann.say("LOGIN ann\nhello\nand good-bye");
        ann.stream.shutdown(Shutdown::Write).unwrap();
        ann.hear("OK");
        ann.hear("ann: hello");
        ann.hear("ann: and good-bye");
        ann.hear_end();
    }

    /// More than the kernel buffers for the client.
    #[test]
    fn who_stops_writing_still_gets_what_it_has_not_read_yet() {
        const LINES: usize = 100;
        let server = Server::start();
        let [mut ann, mut bob] = ["ann", "bob"].map(|name| server.member(name));
        let long = "x".repeat(LONGEST_LINE);
        let heard = format!("bob: {long}");
        for _ in 0..LINES {
            bob.say(&long);
            bob.hear(&heard);
        }
        ann.stream.shutdown(Shutdown::Write).unwrap();
        server.wait_for_log("ann leaves");
        (0..LINES).for_each(|_| ann.hear(&heard));
        ann.hear_end();
    }

    #[test]
    fn the_last_line_needs_no_end() {
        let server = Server::start();
        let mut ann = server.member("ann");
        ann.stream.write_all(b"hello").unwrap();
        ann.stream.shutdown(Shutdown::Write).unwrap();
        ann.hear("ann: hello");
        ann.hear_end();
    }

    #[test]
    fn clients_that_vanish_in_the_middle_of_a_line_are_not_noticed() {
        let server = Server::start();
        let mut ann = server.member("ann");
        for _ in 0..10 {
            let mut ghost = server.member("ghost");
            ann.say("are you there?");
            ann.hear("ann: are you there?");
            ghost.stream.write_all(b"I am the").unwrap();
            // With unread input: its connection is reset.
            ghost.wait_for_something_unread();
            drop(ghost);
            server.wait_for_log("ghost is");
        }
        ann.say("hello?");
        ann.hear("ann: hello?");
    }
}

mod slow_readers {
    use super::*;

    #[test]
    fn a_member_that_never_reads_is_disconnected_and_the_others_hear_every_line() {
        let server = Server::start();
        let mut ann = server.member("ann");
        let mut bob = server.member("bob");
        let _slow = server.member("slow");
        let long = "x".repeat(LONGEST_LINE - 10);
        let said = (0..10_000).find(|number| {
            let line = format!("{number} {long}");
            ann.say(&line);
            let heard = format!("ann: {line}");
            ann.hear(&heard);
            bob.hear(&heard);
            server.has_logged("slow reads too slowly")
        });
        assert!(said.is_some(), "slow is still there");
        let mut again = server.member("slow");
        ann.say("better now?");
        for member in [&mut ann, &mut bob, &mut again] {
            member.hear("ann: better now?");
        }
    }

    #[test]
    fn a_newcomer_that_never_reads_its_answers_is_disconnected() {
        let server = Server::start();
        let rude = server.client();
        let mut sending = rude.clone_stream();
        let chatter = thread::spawn(move || {
            let questions = "?\n".repeat(1 << 20);
            // Until the client is disconnected.
            while sending.write_all(questions.as_bytes()).is_ok() {}
        });
        let mut ann = server.member("ann");
        server.wait_for_log("reads too slowly");
        ann.say("hello");
        ann.hear("ann: hello");
        join(chatter);
    }

    #[test]
    fn a_sender_that_is_faster_than_all_readers_is_slowed_down_and_nobody_is_disconnected() {
        const LINES: usize = 4_000;
        let server = Server::start();
        let line = "x".repeat(4_000);
        let mut members = ["ann", "bob", "carl"].map(|name| server.member(name));
        let mut sending = members[0].clone_stream();
        let paste = format!("{line}\n").repeat(LINES);
        let sender = thread::spawn(move || sending.write_all(paste.as_bytes()).unwrap());
        let heard = format!("ann: {line}");
        members = members.map(Client::in_small_bites);
        for _ in 0..LINES {
            members.iter_mut().for_each(|member| member.hear(&heard));
        }
        join(sender);
        members[0].say("done");
        members.iter_mut().for_each(|member| member.hear("ann: done"));
    }
}

mod interrupt {
    use super::*;

    #[test]
    fn what_was_said_is_delivered_and_all_connections_are_closed() {
        const LINES: usize = 1_000;
        let mut server = Server::start();
        let mut newcomer = server.client();
        newcomer.say("?");
        newcomer.hear_error();
        let mut members: Vec<_> =
            ["ann", "bob", "carl"].into_iter().map(|name| server.member(name)).collect();
        let said: Vec<_> = (0..LINES).map(|number| number.to_string()).collect();
        // The server notices both at the same time.
        server.signal("STOP");
        members[0].say(&said.join("\n"));
        server.signal("INT");
        server.signal("CONT");
        for mut member in members {
            said.iter().for_each(|number| member.hear(&format!("ann: {number}")));
            assert!(member.next().expect("good-bye").starts_with("BYE"));
            member.hear_end();
        }
        assert!(newcomer.next().expect("good-bye").starts_with("BYE"));
        newcomer.hear_end();
        drop(newcomer);
        assert!(server.exit().success());
        assert!(TcpStream::connect(server.address).is_err());
    }

    /// A connection that is closed with unread input is reset, and output in the kernel is lost.
    #[test]
    fn who_talks_on_gets_what_it_has_not_read_yet() {
        const LINES: usize = 100;
        let mut server = Server::start();
        let [mut ann, mut bob] = ["ann", "bob"].map(|name| server.member(name));
        let long = "x".repeat(LONGEST_LINE);
        let heard = format!("ann: {long}");
        for _ in 0..LINES {
            ann.say(&long);
            ann.hear(&heard);
        }
        server.signal("INT");
        assert!(ann.next().expect("good-bye").starts_with("BYE"));
        for _ in 0..LINES {
            bob.hear(&heard);
            bob.say("I am still reading");
        }
        assert!(bob.next().expect("good-bye").starts_with("BYE"));
        bob.hear_end();
        drop((ann, bob));
        assert!(server.exit().success());
    }

    #[test]
    fn the_second_time_it_does_not_wait_for_who_does_not_read() {
        let mut server = Server::start();
        let mut ann = server.member("ann");
        let reads_nothing = server.member("bob");
        // More than the buffers between the server and the client hold.
        for _ in 0..100 {
            ann.say(&"x".repeat(LONGEST_LINE));
            ann.next();
        }
        server.signal("TERM");
        server.wait_for_log("closing");
        ann.hear("BYE the server closes");
        server.signal("INT");
        server.wait_for_log("did not wait");
        assert!(server.process.wait().unwrap().success());
        drop(reads_nothing);
    }

    #[test]
    fn a_server_without_clients_ends() {
        let mut server = Server::start();
        let mut ann = server.member("ann");
        ann.say("hello");
        ann.hear("ann: hello");
        ann.leave();
        server.signal("INT");
        assert!(server.exit().success());
    }
}

mod arguments {
    use super::*;

    #[test]
    fn the_address_is_one_argument_or_two() {
        Server::start_with(&["127.0.0.1:0"]).member("ann");
        Server::start_with(&["127.0.0.1", "0"]).member("ann");
        Server::start_with(&["localhost", "0"]).member("ann");
        Server::start_with(&["0"]).member("ann");
    }

    #[test]
    fn an_address_that_is_none_is_told() {
        for arguments in [&["nowhere"] as &[&str], &["127.0.0.1", "many"], &["one", "two", "three"]] {
            let output = Command::new(example()).args(arguments).output().unwrap();
            assert!(!output.status.success());
            let told = String::from_utf8(output.stderr).unwrap();
            assert!(told.contains("usage: line_server"), "{told}");
        }
    }
}

/// The example, running on its own port. It ends when this is dropped.
struct Server {
    process: Child,
    address: SocketAddr,
    log: Arc<Log>,
}

#[derive(Default)]
struct Log {
    lines: Mutex<Vec<String>>,
    changed: Condvar,
}

impl Server {
    fn start() -> Self {
        Self::start_with(&["127.0.0.1:0"])
    }

    fn start_with(arguments: &[&str]) -> Self {
        let mut process = Command::new(example()).args(arguments).stderr(Stdio::piped()).spawn().unwrap();
        let log = Arc::new(Log::default());
        let stderr = process.stderr.take().expect("asked for above");
        thread::spawn({
            let log = Arc::clone(&log);
            move || log.read(stderr)
        });
        let listening = "listening on ";
        let address = log.wait_for(listening)[listening.len()..].parse().expect("an address");
        Self { process, address, log }
    }

    fn client(&self) -> Client {
        Client::new(TcpStream::connect(self.address).unwrap())
    }

    /// A client that has logged in.
    fn member(&self, name: &str) -> Client {
        let mut client = self.client();
        client.say(&format!("LOGIN {name}"));
        client.hear("OK");
        client
    }

    fn has_logged(&self, what: &str) -> bool {
        self.log.lines.lock().unwrap().iter().any(|line| line.contains(what))
    }

    /// Waits until this line is logged, and removes it from the log.
    fn wait_for_log(&self, what: &str) {
        self.log.wait_for(what);
    }

    /// `INT` is Ctrl-C.
    fn signal(&self, name: &str) {
        let process = self.process.id().to_string();
        let kill = Command::new("kill").args(["-s", name, &process]).status().unwrap();
        assert!(kill.success());
    }

    fn exit(&mut self) -> ExitStatus {
        self.wait_for_log("closed");
        self.process.wait().unwrap()
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

impl Log {
    fn read(&self, stderr: ChildStderr) {
        for line in BufReader::new(stderr).lines().map_while(Result::ok) {
            self.lines.lock().unwrap().push(line);
            self.changed.notify_all();
        }
    }

    fn wait_for(&self, what: &str) -> String {
        let place = |lines: &[String]| lines.iter().position(|line| line.contains(what));
        let lines = self.lines.lock().unwrap();
        let waited = self.changed.wait_timeout_while(lines, HANGS, |lines| place(lines).is_none());
        let mut lines = waited.unwrap().0;
        let found = place(&lines).unwrap_or_else(|| panic!("{what:?} is not in the log: {lines:#?}"));
        lines.remove(found)
    }
}

/// Cargo puts the examples next to the directory of this test.
fn example() -> PathBuf {
    let test = std::env::current_exe().unwrap();
    let profile = test.parent().and_then(|deps| deps.parent()).expect("target/PROFILE/deps/TEST");
    let example = profile.join("examples/line_server");
    assert!(example.exists(), "`cargo build --example line_server` comes first, or `cargo test` as a whole");
    example
}

struct Client {
    stream: TcpStream,
    reader: BufReader<TcpStream>,
}

impl Client {
    fn new(stream: TcpStream) -> Self {
        stream.set_nodelay(true).unwrap();
        stream.set_read_timeout(Some(HANGS)).unwrap();
        let reader = BufReader::new(stream.try_clone().unwrap());
        Self { stream, reader }
    }

    fn clone_stream(&self) -> TcpStream {
        self.stream.try_clone().unwrap()
    }

    /// Makes later reads take only a few bytes per system call.
    fn in_small_bites(self) -> Self {
        assert!(self.reader.buffer().is_empty());
        let reader = BufReader::with_capacity(16, self.reader.into_inner());
        Self { stream: self.stream, reader }
    }

    fn say(&mut self, line: &str) {
        self.say_bytes(line.as_bytes());
    }

    fn say_bytes(&mut self, line: &[u8]) {
        self.stream.write_all(&[line, b"\n"].concat()).unwrap();
    }

    /// Returns the next line, or `None` at the end.
    fn next(&mut self) -> Option<String> {
        let mut line = String::new();
        self.reader.read_line(&mut line).expect("a line within a minute");
        (!line.is_empty()).then(|| line.strip_suffix('\n').expect("a whole line").to_owned())
    }

    #[track_caller]
    fn hear(&mut self, line: &str) {
        let heard = self.next().expect("the server has hung up");
        assert!(heard == line, "heard {:.80?} and not {:.80?}", heard, line);
    }

    #[track_caller]
    fn hear_error(&mut self) {
        let heard = self.next().expect("the server has hung up");
        assert!(heard.starts_with("ERR "), "{heard}");
    }

    #[track_caller]
    fn hear_end(&mut self) {
        assert_eq!(self.next(), None);
    }

    fn leave(mut self) {
        self.stream.shutdown(Shutdown::Write).unwrap();
        while self.next().is_some() {}
    }

    fn wait_for_something_unread(&self) {
        assert_eq!(self.stream.peek(&mut [0]).unwrap(), 1);
    }
}

/// Returns the result of the thread, or continues its panic.
fn join<T>(thread: JoinHandle<T>) -> T {
    thread.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic))
}
