//! x
mod channel;
mod error;
mod event;
mod id;
mod multiplexer;
mod options;
mod ready_set;
mod receive;
mod registry;
mod rotation;
mod send;
mod sink_slot;
mod stream_slab;
mod sync;
mod wait_list;

pub use error::{AddStreamError, MultiplexerError, SendError, TryRecvError};
pub use event::{StreamEvent, StreamPair};
pub use id::{ChannelId, StreamId};
pub use multiplexer::Multiplexer;
pub use options::ChannelOptions;
pub use receive::{ChannelReceiver, Recv, RecvMany};
pub use send::{CloseStream, Send, SendOne, StreamSender};
pub use stream_slab::{Iter, IterMut, StreamSlab};
