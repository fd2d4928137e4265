//! The sending half: sinks that senders share, sends to one or many sinks, flushing and closing.

pub(crate) mod close;
pub(crate) mod closing;
pub(crate) mod delivery;
pub(crate) mod flush_set;
pub(crate) mod flush_turn;
pub(crate) mod flusher;
pub(crate) mod many;
pub(crate) mod one;
pub(crate) mod sender;
pub(crate) mod sender_closed;
pub(crate) mod sent;
pub(crate) mod shutdown;
pub(crate) mod slot;
pub(crate) mod try_send;

pub use close::{CloseSink, CloseStream};
pub use flusher::Flusher;
pub use many::SendMany;
pub use one::SendOne;
pub use sender::StreamSender;
pub use sender_closed::SenderClosed;
pub use sent::Sent;
pub use shutdown::Shutdown;
