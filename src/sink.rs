//! The sending half: a sink shared by all who send to it, one item to one or to many, and closing.

pub(crate) mod close;
pub(crate) mod delivery;
pub(crate) mod many;
pub(crate) mod one;
pub(crate) mod sender;
pub(crate) mod sent;
pub(crate) mod slot;

pub use close::CloseStream;
pub use many::SendMany;
pub use one::SendOne;
pub use sender::StreamSender;
pub use sent::Sent;
