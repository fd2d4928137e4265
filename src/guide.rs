//! Recipes. Each is a program that runs.
//!
//! | you want to | recipe |
//! |---|---|
//! | decide what becomes of a peer that does not read | [four policies](slow_peers) |
//! | serve one class before another | [priorities](classes#priorities), and [how often to yield](classes#how-often-to-yield) |
//! | serve classes at 4 : 1 | [weights](classes#weights) |
//! | admit no more than so many | [limits](classes#limits) |
//! | let a connection or a class wait | [pausing](classes#pausing) |
//! | see who gets what | [statistics](classes#statistics) |
//! | shut down, with a deadline | [shutdown] |
//! | speak WebSocket | [websockets] |
//! | close a connection that does not log in | [login timeout](connections#login-timeout) |
//! | answer a peer that has shut down its writing side | [half-closed peers](connections#half-closed-peers) |
//! | keep a name or a session beside each connection | [data beside a stream](connections#data-beside-a-stream) |
//! | name channels | [channels by name](connections#channels-by-name) |
//! | receive new connections in the same loop | [an accept loop as a member](streams#an-accept-loop-as-a-member) |
//! | receive ticks in the same loop | [timers as members](streams#timers-as-members) |
//! | mix streams of several types | [streams of several types](streams#streams-of-several-types) |
//! | use streams that are not `Send` | [streams that stay in their thread](streams#streams-that-stay-in-their-thread) |
//! | handle items on several threads | [a pool of workers](streams#a-pool-of-workers) |
//! | go on after a stream has panicked | [panics](streams#panics) |
//! | come from another crate | [moving here](moving_here) |
//! | know what it costs | [costs] |

pub mod classes;
pub mod connections;
pub mod costs;
pub mod moving_here;
pub mod shutdown;
pub mod slow_peers;
pub mod streams;
pub mod websockets;
