//! Operations on a slab or a multiplexer and its streams.

/// One step. Streams and receivers are numbered, modulo the number of present ones. A step that is not applicable at
/// the moment, for example because there is no stream, does nothing.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Operation {
    AddChannel {
        channel: usize,
        half_close: bool,
        report_departures: bool,
    },
    /// Clears a slab.
    RemoveChannel {
        channel: usize,
    },
    Close,
    CloseChannel {
        channel: usize,
    },
    /// Sets the limit of the channel.
    SetMaxStreams {
        channel: usize,
        limit: Option<usize>,
    },
    PauseChannel {
        channel: usize,
    },
    ResumeChannel {
        channel: usize,
    },
    PauseStream {
        stream: usize,
    },
    ResumeStream {
        stream: usize,
    },
    /// Releases memory.
    Shrink {
        channel: usize,
    },
    Insert {
        channel: usize,
    },
    /// Inserts so many streams that they occupy several words of the set of ready members, and that polling all of them
    /// makes a call yield.
    InsertMany {
        channel: usize,
    },
    Remove {
        stream: usize,
    },
    /// Removes the stream if it is in that channel.
    RemoveFrom {
        stream: usize,
        channel: usize,
    },
    /// Accesses the stream in place.
    With {
        stream: usize,
    },
    /// In a slab: removes the stream and inserts it again.
    Move {
        stream: usize,
        channel: usize,
    },
    /// Gives the stream one more item, and wakes it.
    Push {
        stream: usize,
    },
    /// Lets the stream end after its items, and wakes it.
    End {
        stream: usize,
    },
    /// Wakes a stream without an item.
    Wake {
        stream: usize,
    },
    /// Calls a waker that a removed stream left behind.
    WakeStale {
        waker: usize,
    },
    /// Wakes the stream, which then acts unusually.
    Trick {
        stream: usize,
        trick: Trick,
    },
    /// Replaces the previous receiver.
    AddReceiver {
        receiver: usize,
        channel: usize,
    },
    DropReceiver {
        receiver: usize,
    },
    /// Polls the receiver with another task's waker from now on.
    ChangeTask {
        receiver: usize,
    },
    /// Polls the receiver once. A slab has only one receiver.
    Receive {
        receiver: usize,
    },
    ReceiveMany {
        receiver: usize,
        limit: usize,
    },
    /// Polls `recv` once and drops it.
    Recv {
        channel: usize,
    },
    TryRecv {
        channel: usize,
    },
    /// Adds a channel to the select, with a share decoded from any number.
    Select {
        channel: usize,
        share: usize,
    },
    /// Removes a channel from the select.
    Unselect {
        channel: usize,
    },
    SetShare {
        channel: usize,
        share: usize,
    },
    /// Polls the select with another task's waker from now on.
    ChangeSelectTask,
    /// Polls the select once.
    ReceiveSelected,
    ReceiveManySelected {
        limit: usize,
    },
    /// Makes the select flush from now on, or not.
    DriveFlushes {
        drives: bool,
    },
    /// Replaces the select with a new one, which flushes.
    DropSelect,
    TrySend {
        stream: usize,
    },
    TryFeed {
        stream: usize,
    },
    TrySendTo {
        channel: usize,
    },
    TryFeedTo {
        channel: usize,
    },
    /// Sends to the stream and to the `more` next ones, of which some may be the same.
    TrySendMany {
        stream: usize,
        more: usize,
    },
    TryFeedMany {
        stream: usize,
        more: usize,
    },
    /// Sets the state of the stream's sink, and wakes it.
    SetSink {
        stream: usize,
        is_ready: bool,
        flushes: bool,
    },
    /// Makes the next poll of the stream's sink fail, and wakes it.
    FailSink {
        stream: usize,
    },
    /// Polls `close_sink` once and drops it.
    CloseSink {
        stream: usize,
    },
    /// Polls the flusher once, and creates it if there is none.
    Flush,
    DropFlusher,
}

/// An unusual action of a stream, once.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Trick {
    /// The next poll is in vain, and wakes itself.
    WakeItself,
    /// The next poll panics.
    Panic,
    /// The next poll performs these operations, and then checks for an item.
    BeforeLook(Vec<Operation>),
    /// The next poll checks for an item, then performs these operations, and then returns what it found.
    AfterLook(Vec<Operation>),
    /// The drop performs these operations.
    InDrop(Vec<Operation>),
}

/// The number of codes of operations.
const CODES: u8 = 76;

/// The number of channels. One more id is used that never belongs to a channel.
pub(crate) const CHANNELS: usize = 3;

/// Stands for the stream in whose poll the operation is performed, if any.
pub(crate) const ITSELF: usize = 255;

/// Decodes operations. Any bytes can be decoded.
pub(crate) fn operations(bytes: &[u8]) -> Vec<Operation> {
    let mut bytes = bytes.iter().copied();
    std::iter::from_fn(|| Operation::decode(&mut bytes)).collect()
}

impl Operation {
    fn decode(bytes: &mut impl Iterator<Item = u8>) -> Option<Self> {
        let code = bytes.next()? % CODES;
        let mut operand = || bytes.next().map_or(0, usize::from);
        Some(match code {
            38..=43 => {
                let stream = operand();
                let trick = Trick::decode(bytes);
                Self::Trick { stream, trick }
            }
            44..=45 => Self::Trick { stream: operand(), trick: Trick::WakeItself },
            46 => Self::Trick { stream: operand(), trick: Trick::Panic },
            code => Self::simple(code, operand),
        })
    }

    /// Decodes an operation without nested operations. Frequent operations have several codes, and destructive ones few
    /// operands.
    fn simple(code: u8, mut operand: impl FnMut() -> usize) -> Self {
        let first = operand();
        match code {
            0 => Self::AddChannel {
                channel: first % CHANNELS,
                half_close: first >= 128,
                report_departures: first % 64 < 48,
            },
            1 if first >= 192 => Self::RemoveChannel { channel: channel(first) },
            1 if first < 32 => Self::CloseChannel { channel: channel(first) },
            2 if first < 16 => Self::Close,
            2 if first >= 128 => Self::With { stream: first },
            3 if first < 64 => Self::InsertMany { channel: channel(first) },
            3..=8 => Self::Insert { channel: channel(first) },
            9 => Self::Remove { stream: first },
            10 => Self::RemoveFrom { stream: first, channel: channel(operand()) },
            11..=16 => Self::Move { stream: first, channel: channel(operand()) },
            17..=24 => Self::Push { stream: first },
            25..=26 => Self::End { stream: first },
            27 => Self::WakeStale { waker: first },
            28 => Self::AddReceiver { receiver: first, channel: channel(operand()) },
            29 if first >= 192 => Self::DropReceiver { receiver: first },
            30 => Self::ChangeTask { receiver: first },
            31..=32 => Self::ReceiveMany { receiver: first, limit: operand() % 5 },
            33..=34 => Self::Recv { channel: channel(first) },
            35..=36 => Self::TryRecv { channel: channel(first) },
            37 => Self::Wake { stream: first },
            47..=48 => Self::Shrink { channel: channel(first) },
            50 => Self::PauseStream { stream: first },
            51 => Self::ResumeStream { stream: first },
            52 if first >= 192 => Self::PauseChannel { channel: channel(first) },
            53 => Self::ResumeChannel { channel: channel(first) },
            49 => Self::SetMaxStreams {
                channel: channel(first),
                limit: Some(operand() % 8).filter(|limit| *limit < 5),
            },
            54..=55 => Self::Select { channel: channel(first), share: operand() },
            56 if first < 128 => Self::Unselect { channel: channel(first) },
            56 => Self::SetShare { channel: channel(first), share: operand() },
            57..=59 => Self::ReceiveSelected,
            60 if first < 128 => Self::ReceiveManySelected { limit: first % 5 },
            60 if first >= 240 => Self::DropSelect,
            60 => Self::TryFeedTo { channel: channel(first) },
            61 if first < 64 => Self::ChangeSelectTask,
            61 if first >= 128 => Self::DriveFlushes { drives: first % 2 == 0 },
            62..=63 => Self::TrySend { stream: first },
            64 => Self::TryFeed { stream: first },
            65 if first < 128 => Self::TrySendTo { channel: channel(first) },
            65 if first < 144 => Self::DropFlusher,
            65..=66 => Self::Flush,
            67..=68 => {
                let how = operand();
                Self::SetSink { stream: first, is_ready: how % 4 != 0, flushes: how / 4 % 2 == 0 }
            }
            69 if operand() < 128 => Self::CloseSink { stream: first },
            69 => Self::FailSink { stream: first },
            70 if first < 128 => Self::TrySendMany { stream: operand(), more: first % 4 },
            70 => Self::TryFeedMany { stream: operand(), more: first % 4 },
            _ => Self::Receive { receiver: first },
        }
    }
}

impl Trick {
    fn decode(bytes: &mut impl Iterator<Item = u8>) -> Self {
        let how = bytes.next().unwrap_or(0);
        let operations = (0..=how % 3).map(|_| Self::decode_operation(bytes)).collect();
        match how / 3 % 8 {
            0..=2 => Self::BeforeLook(operations),
            3..=5 => Self::AfterLook(operations),
            _ => Self::InDrop(operations),
        }
    }

    /// Decodes an operation that is useful inside a poll, usually one on the stream itself.
    fn decode_operation(bytes: &mut impl Iterator<Item = u8>) -> Operation {
        let mut operand = || bytes.next().map_or(0, usize::from);
        let code = operand();
        let stream = if code % 4 == 0 { operand() } else { ITSELF };
        match code / 4 % 16 {
            0..=1 => Operation::Remove { stream },
            2..=5 => Operation::Move { stream, channel: channel(operand()) },
            6..=7 => Operation::Push { stream },
            8 => Operation::Wake { stream },
            9 => Operation::PauseStream { stream },
            10 => Operation::ResumeStream { stream },
            11..=12 => Operation::Receive { receiver: operand() },
            _ => Operation::simple(bytes.next().unwrap_or(0) % CODES, || bytes.next().map_or(0, usize::from)),
        }
    }
}

fn channel(operand: usize) -> usize {
    operand % (CHANNELS + 1)
}
