//! Recipes. Each recipe is a tested program.
//!
//! | you want to | recipe |
//! |---|---|
//! | handle a peer that does not read | [four policies](slow_peers) |
//! | serve one class before another | [priorities](classes#priorities), and [how often to yield](classes#how-often-to-yield) |
//! | serve classes at 4 : 1 | [weights](classes#weights) |
//! | limit the connections of a class | [limits](classes#limits) |
//! | pause a connection or a class | [pausing](classes#pausing) |
//! | measure how much each class receives | [statistics](classes#statistics) |
//! | shut down, with a deadline | [shutdown] |
//! | use WebSockets | [websockets] |
//! | close a connection that does not log in | [login timeout](connections#login-timeout) |
//! | answer a peer that has shut down its writing side | [half-closed peers](connections#half-closed-peers) |
//! | keep a name or a session for each connection | [data beside a stream](connections#data-beside-a-stream) |
//! | give channels names | [channels by name](connections#channels-by-name) |
//! | accept connections in the same loop | [an accept loop as a member](streams#an-accept-loop-as-a-member) |
//! | receive timer ticks in the same loop | [timers as members](streams#timers-as-members) |
//! | mix streams of several types | [streams of several types](streams#streams-of-several-types) |
//! | use streams that are not `Send` | [streams that stay in their thread](streams#streams-that-stay-in-their-thread) |
//! | handle items on several threads | [a pool of workers](streams#a-pool-of-workers) |
//! | continue after a stream has panicked | [panics](streams#panics) |
//! | migrate from another crate | [moving here](moving_here) |
//! | look up the cost of an operation | [costs] |

pub mod classes;
pub mod connections;
pub mod costs;
pub mod moving_here;
pub mod shutdown;
pub mod slow_peers;
pub mod streams;
pub mod websockets;
