//! Streams of all kinds as members: from async blocks, channels and sockets; `Unpin` or not, `Send` or not, boxed or not.

mod support;

#[path = "any_stream/member.rs"]
mod member;

#[path = "any_stream/addresses.rs"]
mod addresses;
#[path = "any_stream/async_blocks.rs"]
mod async_blocks;
#[path = "any_stream/boxed.rs"]
mod boxed;
#[path = "any_stream/channels.rs"]
mod channels;
#[path = "any_stream/pinned.rs"]
mod pinned;
#[path = "any_stream/sockets.rs"]
mod sockets;

use member::{A, B, as_member, multiplexer, receive_and_move};
