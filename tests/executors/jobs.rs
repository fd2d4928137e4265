//! What the server does, and its clients, under whatever executor and over whatever sockets.

use crate::executor::Executor;
use crate::net::Net;
use futures::channel::oneshot;
use futures::future::{Either, join_all, select};
use futures::stream::{SplitSink, SplitStream};
use futures::{FutureExt, Sink, SinkExt, StreamExt, poll, stream};
use std::collections::HashMap;
use std::sync::Arc;
use stream_multiplexer::StreamEvent::{self, Ended, Item, Moved};
use stream_multiplexer::{ChannelOptions, Multiplexer, MultiplexerError, SendError, StreamId};
use tokio::io::AsyncWriteExt;
use tokio_util::codec::{Framed, LinesCodec, LinesCodecError};

const CHANNEL_ONE: usize = 1;
const CHANNEL_TWO: usize = 2;

type Lines<N> = Framed<<N as Net>::Connection, LinesCodec>;
type Server<N> = Multiplexer<SplitStream<Lines<N>>, SplitSink<Lines<N>, String>>;

/// A server with two channels, and its listener.
async fn server<N: Net>(options: ChannelOptions) -> (Server<N>, Arc<N>) {
    let multiplexer = Multiplexer::new();
    multiplexer.add_channel_with(CHANNEL_ONE, options).unwrap();
    multiplexer.add_channel_with(CHANNEL_TWO, options).unwrap();
    (multiplexer, Arc::new(N::listen().await))
}

/// Accepts so many connections into the first channel.
fn accept<N: Net>(
    executor: &impl Executor,
    server: &Server<N>,
    listener: &Arc<N>,
    count: usize,
) -> impl Future<Output = Vec<StreamId>> + use<N, impl Executor> {
    todo!()
}
