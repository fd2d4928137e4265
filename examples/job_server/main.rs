//! A server that works for paying and for free clients.
//!
//! ```sh
//! cargo run --release --example job_server   # -- 0.0.0.0:9002 5000, for all machines and up to 5,000 free clients
//! python3 - <<'END'
//! import json, socket, struct
//! server = socket.create_connection(("127.0.0.1", 9002)).makefile("rwb")
//! for request in {"login": "free"}, {"job": 7}:   # or the keys "paid-1234" and "admin-1234"
//!     frame = json.dumps(request).encode()
//!     server.write(struct.pack(">I", len(frame)) + frame)
//!     server.flush()
//!     print(server.read(struct.unpack(">I", server.read(4))[0]))
//! END
//! ```
//!
//! A client's first frame is its login: `{"login": KEY}`. After that, the server answers each `{"job": NUMBER}` with
//! `{"done": NUMBER}`. When there are more jobs than the server can do, it does four jobs of the paying class for each job
//! of the free class, and within each class the clients take turns. An admin can send `"stats"`, and `{"pause": true}` to
//! pause the free clients until `{"pause": false}`.
//!
//! One loop handles all clients and waits for none. If a client does not read its answers, the server stops doing its jobs
//! until it does, and disconnects it after ten seconds. A client that finds no place, has no key, or sends a frame that is
//! too long receives `{"error": REASON}` and is closed. On Ctrl-C the server sends an error to all clients and closes them.

mod clients;
mod protocol;

use clients::{LINGER, accept, close, listen, refuse, send};
use futures::{FutureExt, StreamExt, future::join};
use protocol::{Answer, ClassStats, Connections, Incoming, Outgoing, Request, encode};
use std::hash::{DefaultHasher, Hasher};
use stream_multiplexer::{ChannelOptions, ChannelSelect, Share, StreamEvent::*, StreamId};
use tokio::time::timeout;
use tokio_util::bytes::Bytes;

const NEW: usize = 0;
const FREE: usize = 1;
const PAYING: usize = 2;
const ADMIN: usize = 3;
const CLASSES: [&str; 4] = ["new", "free", "paying", "admin"];

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), Box<dyn std::error::Error>> {
    let mut arguments = std::env::args().skip(1);
    let address = arguments.next().unwrap_or_else(|| "127.0.0.1:9002".to_owned());
    let [free_clients, new_clients] = [arguments.next(), arguments.next()];
    let listener = listen(&address).await?;
    println!("listening on {}", listener.local_addr()?);

    let connections = Connections::new();
    // A client may shut down its writing side and wait for its answers.
    let options = ChannelOptions::new().half_close(true);
    let limit = |limit: Option<String>| limit.map_or(Ok(1_000), |limit| limit.parse());
    connections.add_channel_with(FREE, options.max_streams(limit(free_clients)?))?;
    connections.add_channel_with(NEW, options.max_streams(limit(new_clients)?))?;
    connections.add_channel_with(PAYING, options)?;
    connections.add_channel_with(ADMIN, options)?;
    let accepting = tokio::spawn(accept(listener, connections.clone()));

    let mut requests = connections.select();
    requests.add(ADMIN, Share::new())?;
    requests.add(PAYING, Share::new().priority(1).weight(4))?;
    requests.add(FREE, Share::new().priority(1))?;
    requests.add(NEW, Share::new().priority(1))?;
    let mut interrupt = tokio::signal::ctrl_c().boxed();
    loop {
        let (class, id, event) = tokio::select! {
            interrupted = &mut interrupt => break interrupted?,
            Some(event) = requests.next() => event,
        };
        match event {
            Item(Ok(frame)) => {
                let answer = match serde_json::from_slice(&frame) {
                    Ok(Request::Login(key)) if class == NEW => log_in(&connections, id, &key),
                    Ok(Request::Job(job)) if class == PAYING || class == FREE => Ok(Answer::Done(work(job))),
                    Ok(Request::Stats) if class == ADMIN => Ok(stats(&connections, &requests)),
                    Ok(Request::Pause(pause)) if class == ADMIN => Ok(pause_free(&connections, pause)),
                    Ok(_) => Ok(Answer::Error("that is not for your class")),
                    Err(_) => Ok(Answer::Error("that is no request")),
                };
                match answer {
                    Ok(answer) => send(&connections, id, &answer),
                    Err(why) => refuse(connections.remove_stream(id), why),
                }
            }
            // A bad frame. The rest of the input cannot be decoded.
            Item(Err(_)) => refuse(connections.remove_stream(id), "that is no frame, or it is too long"),
            Ended => drop(tokio::spawn(close(connections.clone(), id))),
            SinkFailed => drop(connections.remove_stream(id)),
            Moved(_) | Removed => {}
        }
    }
    accepting.abort();
    shut_down(&connections, requests).await;
    Ok(())
}

/// Moves a new client to the class of its key.
fn log_in(connections: &Connections, id: StreamId, key: &str) -> Result<Answer, &'static str> {
    let class = match key {
        "free" => FREE,
        "paid-1234" => PAYING,
        "admin-1234" => ADMIN,
        _ => return Err("that is no key"),
    };
    let moved = connections.change_stream_channel(id, class);
    moved.map(|()| Answer::Welcome(CLASSES[class])).map_err(|_| "there are too many clients of your class")
}

/// About 20 µs of hashing, in place of real work. Much longer work belongs in its own threads.
fn work(job: u64) -> u64 {
    (0..1_000).fold(job, |number, _| {
        let mut hasher = DefaultHasher::new();
        hasher.write_u64(number);
        hasher.finish()
    })
}

fn stats(connections: &Connections, requests: &ChannelSelect<Incoming, Outgoing>) -> Answer {
    let classes = requests.stats().channels.into_iter().filter_map(|share| {
        let stats = connections.stats(share.channel)?;
        let class = ClassStats {
            clients: stats.members,
            slow: stats.paused,
            requests: stats.items,
            refused: stats.refused,
            longest_wait: share.longest_wait,
        };
        Some((CLASSES[share.channel], class))
    });
    Answer::Stats(classes.collect())
}

/// During a pause, the requests of free clients wait in their connections, and TCP slows the clients down. A client that
/// disconnects keeps its place until the pause is over.
fn pause_free(connections: &Connections, pause: bool) -> Answer {
    let done = if pause { connections.pause_channel(FREE) } else { connections.resume_channel(FREE) };
    done.map_or(Answer::Error("there are no free clients"), |()| Answer::Paused(pause))
}

/// Sends a farewell to all clients, and gives them time to read it.
async fn shut_down(connections: &Connections, requests: ChannelSelect<Incoming, Outgoing>) {
    let farewell = encode(&Answer::Error("the server ends"));
    for class in [NEW, FREE, PAYING, ADMIN] {
        let _ = connections.try_send_to(class, farewell.clone(), |_, _| {});
    }
    // A paused channel would not end.
    let _ = connections.resume_channel(FREE);
    let closing = connections.shutdown::<Bytes>().keep_streams();
    let _ = timeout(LINGER, join(closing, requests.for_each(async |_| {}))).await;
}
