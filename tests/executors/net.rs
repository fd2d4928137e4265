//! Listeners and connections of tokio, and of async-io, which work under any executor.

use async_io::Async;
use std::net::{self, Ipv4Addr, Shutdown};
use std::os::unix;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicUsize, Ordering};
use tokio::io::{AsyncRead, AsyncWrite, AsyncWriteExt};
use tokio_util::compat::{Compat, FuturesAsyncReadCompatExt};

/// A listener at its own address.
pub(crate) trait Net: Sized + Send + Sync + 'static {
    type Connection: AsyncRead + AsyncWrite + Unpin + Send + 'static;

    fn listen() -> impl Future<Output = Self> + Send;

    fn accept(&self) -> impl Future<Output = Self::Connection> + Send;

    fn connect(&self) -> impl Future<Output = Self::Connection> + Send;

    /// Shuts down the writing side of a client that still reads.
    fn fall_silent(connection: &mut Self::Connection) -> impl Future<Output = ()> + Send;
}

pub(crate) struct TokioTcp(tokio::net::TcpListener);

impl Net for TokioTcp {
    type Connection = tokio::net::TcpStream;

    async fn listen() -> Self {
        Self(tokio::net::TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await.unwrap())
    }

    async fn accept(&self) -> Self::Connection {
        self.0.accept().await.unwrap().0
    }

    async fn connect(&self) -> Self::Connection {
        tokio::net::TcpStream::connect(self.0.local_addr().unwrap()).await.unwrap()
    }

    async fn fall_silent(connection: &mut Self::Connection) {
        connection.shutdown().await.unwrap();
    }
}

pub(crate) struct TokioUnix(tokio::net::UnixListener, SocketPath);

impl Net for TokioUnix {
    type Connection = tokio::net::UnixStream;

    async fn listen() -> Self {
        let path = SocketPath::new();
        Self(tokio::net::UnixListener::bind(path.as_ref()).unwrap(), path)
    }

    async fn accept(&self) -> Self::Connection {
        self.0.accept().await.unwrap().0
    }

    async fn connect(&self) -> Self::Connection {
        tokio::net::UnixStream::connect(self.1.as_ref()).await.unwrap()
    }

    async fn fall_silent(connection: &mut Self::Connection) {
        connection.shutdown().await.unwrap();
    }
}

pub(crate) struct Tcp(Async<net::TcpListener>);

impl Net for Tcp {
    type Connection = Compat<Async<net::TcpStream>>;

    async fn listen() -> Self {
        Self(Async::<net::TcpListener>::bind((Ipv4Addr::LOCALHOST, 0)).unwrap())
    }

    async fn accept(&self) -> Self::Connection {
        self.0.accept().await.unwrap().0.compat()
    }

    async fn connect(&self) -> Self::Connection {
        let address = self.0.get_ref().local_addr().unwrap();
        Async::<net::TcpStream>::connect(address).await.unwrap().compat()
    }

    async fn fall_silent(connection: &mut Self::Connection) {
        connection.get_ref().get_ref().shutdown(Shutdown::Write).unwrap();
    }
}

pub(crate) struct Unix(Async<unix::net::UnixListener>, SocketPath);

impl Net for Unix {
    type Connection = Compat<Async<unix::net::UnixStream>>;

    async fn listen() -> Self {
        let path = SocketPath::new();
        Self(Async::<unix::net::UnixListener>::bind(path.as_ref()).unwrap(), path)
    }

    async fn accept(&self) -> Self::Connection {
        self.0.accept().await.unwrap().0.compat()
    }

    async fn connect(&self) -> Self::Connection {
        Async::<unix::net::UnixStream>::connect(self.1.as_ref()).await.unwrap().compat()
    }

    async fn fall_silent(connection: &mut Self::Connection) {
        connection.get_ref().get_ref().shutdown(Shutdown::Write).unwrap();
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
