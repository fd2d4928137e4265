//! A stream as a member that moves.

use futures::Stream;
use stream_multiplexer::{ChannelId, ChannelOptions, Multiplexer, StreamId};

pub(crate) const A: ChannelId = 1;
pub(crate) const B: ChannelId = 2;

/// Creates channels `A` and `B`, which report no departures except ends.
pub(crate) fn multiplexer<St, Si>() -> Multiplexer<St, Si> {
    let multiplexer = Multiplexer::new();
    for channel in [A, B] {
        let options = ChannelOptions::new().report_departures(false);
        multiplexer.add_channel_with(channel, options).unwrap();
    }
    multiplexer
}

/// Adds the stream as a member, and returns its items from the first to the last.
pub(crate) async fn as_member<St: Stream>(stream: St) -> Vec<St::Item> {
    let multiplexer = multiplexer::<St, ()>();
    let id = multiplexer.add_stream(stream, A).unwrap();
    let mut items = Vec::new();
    while let Some(item) = receive_and_move(&multiplexer, id).await {
        items.push(item);
    }
    items
}

/// Receives the next item of the only stream, and then moves the stream to the other channel.
pub(crate) async fn receive_and_move<St: Stream, Si>(
    multiplexer: &Multiplexer<St, Si>,
    id: StreamId,
) -> Option<St::Item> {
    let here = multiplexer.channel_of(id)?;
    let (from, item) = multiplexer.recv(here).await.unwrap();
    assert_eq!(from, id);
    if item.is_some() {
        multiplexer.change_stream_channel(id, A + B - here).unwrap();
    }
    item
}
