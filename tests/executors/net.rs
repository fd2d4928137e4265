//! Listeners and connections of tokio, and of async-io, which work under any executor.

use async_io::Async;
use futures::future::BoxFuture;
use std::net::{self, Ipv4Addr, Shutdown};
use std::os::unix;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use tokio::io::{AsyncRead, AsyncWrite, AsyncWriteExt};
use tokio_util::compat::{Compat, FuturesAsyncReadCompatExt};

/// A listener at its own address. All have this one type, and so have their connections: each job is compiled once.
pub(crate) trait Net: Send + Sync {
    fn accept(&self) -> BoxFuture<'_, Connection>;

    fn connect(&self) -> BoxFuture<'_, Connection>;
}

pub(crate) type Connection = Box<dyn Socket>;

/// Starts to listen.
pub(crate) type Listen = fn() -> BoxFuture<'static, Arc<dyn Net>>;

pub(crate) trait Socket: AsyncRead + AsyncWrite + Send + Unpin {
    /// Shuts down the writing side of a client that still reads.
    fn fall_silent(&mut self) -> BoxFuture<'_, ()>;
}

fn boxed(socket: impl Socket + 'static) -> Connection {
    Box::new(socket)
}

pub(crate) struct TokioTcp(tokio::net::TcpListener);

impl TokioTcp {
    pub(crate) fn listen() -> BoxFuture<'static, Arc<dyn Net>> {
        Box::pin(async {
            Arc::new(Self(tokio::net::TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await.unwrap()))
                as Arc<dyn Net>
        })
    }
}

impl Net for TokioTcp {
    fn accept(&self) -> BoxFuture<'_, Connection> {
        Box::pin(async { boxed(self.0.accept().await.unwrap().0) })
    }

    fn connect(&self) -> BoxFuture<'_, Connection> {
        Box::pin(async { boxed(tokio::net::TcpStream::connect(self.0.local_addr().unwrap()).await.unwrap()) })
    }
}

impl Socket for tokio::net::TcpStream {
    fn fall_silent(&mut self) -> BoxFuture<'_, ()> {
        Box::pin(async {
            self.shutdown().await.unwrap();
        })
    }
}

pub(crate) struct TokioUnix(tokio::net::UnixListener, SocketPath);

impl TokioUnix {
    pub(crate) fn listen() -> BoxFuture<'static, Arc<dyn Net>> {
        Box::pin(async {
            let path = SocketPath::new();
            Arc::new(Self(tokio::net::UnixListener::bind(path.as_ref()).unwrap(), path)) as Arc<dyn Net>
        })
    }
}

impl Net for TokioUnix {
    fn accept(&self) -> BoxFuture<'_, Connection> {
        Box::pin(async { boxed(self.0.accept().await.unwrap().0) })
    }

    fn connect(&self) -> BoxFuture<'_, Connection> {
        Box::pin(async { boxed(tokio::net::UnixStream::connect(self.1.as_ref()).await.unwrap()) })
    }
}

impl Socket for tokio::net::UnixStream {
    fn fall_silent(&mut self) -> BoxFuture<'_, ()> {
        Box::pin(async {
            self.shutdown().await.unwrap();
        })
    }
}

pub(crate) struct Tcp(Async<net::TcpListener>);

impl Tcp {
    pub(crate) fn listen() -> BoxFuture<'static, Arc<dyn Net>> {
        Box::pin(async {
            Arc::new(Self(Async::<net::TcpListener>::bind((Ipv4Addr::LOCALHOST, 0)).unwrap())) as Arc<dyn Net>
        })
    }
}

impl Net for Tcp {
    fn accept(&self) -> BoxFuture<'_, Connection> {
        Box::pin(async { boxed(self.0.accept().await.unwrap().0.compat()) })
    }

    fn connect(&self) -> BoxFuture<'_, Connection> {
        Box::pin(async {
            let address = self.0.get_ref().local_addr().unwrap();
            boxed(Async::<net::TcpStream>::connect(address).await.unwrap().compat())
        })
    }
}

impl Socket for Compat<Async<net::TcpStream>> {
    fn fall_silent(&mut self) -> BoxFuture<'_, ()> {
        Box::pin(async {
            self.get_ref().get_ref().shutdown(Shutdown::Write).unwrap();
        })
    }
}

pub(crate) struct Unix(Async<unix::net::UnixListener>, SocketPath);

impl Unix {
    pub(crate) fn listen() -> BoxFuture<'static, Arc<dyn Net>> {
        Box::pin(async {
            let path = SocketPath::new();
            Arc::new(Self(Async::<unix::net::UnixListener>::bind(path.as_ref()).unwrap(), path))
                as Arc<dyn Net>
        })
    }
}

impl Net for Unix {
    fn accept(&self) -> BoxFuture<'_, Connection> {
        Box::pin(async { boxed(self.0.accept().await.unwrap().0.compat()) })
    }

    fn connect(&self) -> BoxFuture<'_, Connection> {
        Box::pin(async {
            boxed(Async::<unix::net::UnixStream>::connect(self.1.as_ref()).await.unwrap().compat())
        })
    }
}

impl Socket for Compat<Async<unix::net::UnixStream>> {
    fn fall_silent(&mut self) -> BoxFuture<'_, ()> {
        Box::pin(async {
            self.get_ref().get_ref().shutdown(Shutdown::Write).unwrap();
        })
    }
}

/// The path of a Unix socket, which is removed on drop.
struct SocketPath(PathBuf);

impl SocketPath {
    fn new() -> Self {
        static COUNT: AtomicUsize = AtomicUsize::new(0);
        let count = COUNT.fetch_add(1, Ordering::Relaxed);
        let name = format!("stream_multiplexer-{}-{count}", std::process::id());
        Self(std::env::temp_dir().join(name))
    }
}

impl AsRef<Path> for SocketPath {
    fn as_ref(&self) -> &Path {
        &self.0
    }
}

impl Drop for SocketPath {
    fn drop(&mut self) {
        std::fs::remove_file(&self.0).ok();
    }
}
