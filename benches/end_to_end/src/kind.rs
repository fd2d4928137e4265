//! The servers. Each answers lines that begin with `E`, and broadcasts lines that begin with `B`.
//!
//! The servers differ only in how they hold their connections; runtime, sockets, codec and lines are the same.

mod receiver;
mod select;
mod select_all;
mod tasks;

use crate::line::Codec;
use crate::system;
use std::io::Write;
use std::net::Ipv4Addr;
use tokio::net::tcp::{OwnedReadHalf, OwnedWriteHalf};
use tokio::net::{TcpListener, TcpSocket, TcpStream};
use tokio_util::codec::{FramedRead, FramedWrite};

/// The size of the kernel's send buffer for one client.
const SEND_BUFFER: u32 = 64 * 1024;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    Receiver,
    Select,
    Tasks,
    SelectAll,
}

impl Kind {
    /// All kinds, those with this crate first.
    pub const ALL: [Self; 4] = [Self::Receiver, Self::Select, Self::Tasks, Self::SelectAll];

    /// The name in the table.
    pub fn title(self) -> &'static str {
        match self {
            Self::Receiver => "`ChannelReceiver`",
            Self::Select => "`ChannelSelect`",
            Self::Tasks => "tasks, actor, `mpsc`",
            Self::SelectAll => "`SelectAll`, map of sinks",
        }
    }

    /// The name on the command line.
    pub fn name(self) -> &'static str {
        match self {
            Self::Receiver => "receiver",
            Self::Select => "select",
            Self::Tasks => "tasks",
            Self::SelectAll => "select_all",
        }
    }

    pub fn named(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|kind| kind.name() == name)
    }

    /// Serves forever, on the first core. Prints its port as soon as it listens.
    pub fn serve(self) -> ! {
        system::end_with_parent();
        system::pin(0);
        let runtime = tokio::runtime::Builder::new_current_thread().enable_io().build().expect("a runtime");
        runtime.block_on(async {
            let listener = listen().expect("loopback has a free port");
            println!("{}", listener.local_addr().expect("it is bound").port());
            std::io::stdout().flush().expect("who started it reads that");
            let server = match self {
                Self::Select => tokio::spawn(select::serve(listener)),
                Self::Receiver => tokio::spawn(receiver::serve(listener)),
                Self::Tasks => tokio::spawn(tasks::serve(listener)),
                Self::SelectAll => tokio::spawn(select_all::serve(listener)),
            };
            server.await.expect("it does not panic");
            unreachable!("it serves for ever");
        })
    }
}

fn listen() -> std::io::Result<TcpListener> {
    let socket = TcpSocket::new_v4()?;
    // For each connection: by default the kernel buffers megabytes for a client that does not read.
    socket.set_send_buffer_size(SEND_BUFFER)?;
    socket.bind((Ipv4Addr::LOCALHOST, 0).into())?;
    socket.listen(1024)
}

type Reader = FramedRead<OwnedReadHalf, Codec>;
type Writer = FramedWrite<OwnedWriteHalf, Codec>;

async fn accept(listener: &TcpListener) -> (Reader, Writer) {
    let (connection, _) = listener.accept().await.expect("there are descriptors enough");
    frame(connection)
}

fn frame(connection: TcpStream) -> (Reader, Writer) {
    connection.set_nodelay(true).expect("it is a socket");
    let (read, write) = connection.into_split();
    (FramedRead::new(read, Codec::new()), FramedWrite::new(write, Codec::new()))
}
