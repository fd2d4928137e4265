//! Receiving from a channel: as a stream, one at a time, or many at once.

mod receiver;
mod recv;
mod recv_many;

pub use receiver::ChannelReceiver;
pub use recv::Recv;
pub(crate) use recv::try_recv;
pub use recv_many::RecvMany;
