//! A server over real TCP and Unix sockets with real codecs, under each executor. Connections are accepted, received from,
//! answered, moved, broadcast to and lost; every line is accounted for.

#![cfg(unix)]

#[path = "executors/executor.rs"]
mod executor;
#[path = "executors/jobs.rs"]
mod jobs;
#[path = "executors/local_pool.rs"]
mod local_pool;
#[path = "executors/net.rs"]
mod net;
#[path = "executors/pollster.rs"]
mod on_pollster;
#[path = "executors/smol.rs"]
mod on_smol;
#[path = "executors/tokio_current_thread.rs"]
mod tokio_current_thread;
#[path = "executors/tokio_multi_thread.rs"]
mod tokio_multi_thread;
