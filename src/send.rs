//! Sending to streams: one item to one or to many, as a sink, and closing.

mod close;
mod delivery;
mod many;
mod one;
mod sender;

pub use close::CloseStream;
pub use many::Send;
pub use one::SendOne;
pub use sender::StreamSender;
