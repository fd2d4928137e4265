//! What may be done to a slab or to a multiplexer and its streams.

/// One step. Streams and receivers are named by any number, taken modulo what is there; a step that makes
/// no sense at the moment, such as one for a stream before there is any, does nothing.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Operation {
    AddChannel {
        channel: usize,
        half_close: bool,
        report_departures: bool,
    },
    /// A slab is cleared.
    RemoveChannel {
        channel: usize,
    },
    Close,
    CloseChannel {
        channel: usize,
    },
    /// From now on it admits so many.
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
    /// Gives memory back.
    Shrink {
        channel: usize,
    },
    Insert {
        channel: usize,
    },
    /// So many that they are in several words of the set of ready members, and that polling them all makes
    /// a call yield.
    InsertMany {
        channel: usize,
    },
    Remove {
        stream: usize,
    },
    /// Removes it if it is in that channel.
    RemoveFrom {
        stream: usize,
        channel: usize,
    },
    /// Does something with the stream where it is.
    With {
        stream: usize,
    },
    /// In a slab: removed, and inserted again.
    Move {
        stream: usize,
        channel: usize,
    },
    /// The stream has one more item, and wakes.
    Push {
        stream: usize,
    },
    /// The stream ends after its items, and wakes.
    End {
        stream: usize,
    },
    /// Wakes a stream for nothing.
    Wake {
        stream: usize,
    },
    /// Wakes by a waker that a stream left behind when it left.
    WakeStale {
        waker: usize,
    },
    /// The stream wakes, and then does something unusual.
    Trick {
        stream: usize,
        trick: Trick,
    },
    /// In the place of the one that was there.
    AddReceiver {
        receiver: usize,
        channel: usize,
    },
    DropReceiver {
        receiver: usize,
    },
    /// From now on it polls as another task.
    ChangeTask {
        receiver: usize,
    },
    /// Polls once. A slab has but one receiver.
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
    /// To the select; with a share made of any number.
    Select {
        channel: usize,
        share: usize,
    },
    /// From the select.
    Unselect {
        channel: usize,
    },
    SetShare {
        channel: usize,
        share: usize,
    },
    /// From now on the select polls as another task.
    ChangeSelectTask,
    /// Polls the select once.
    ReceiveSelected,
    ReceiveManySelected {
        limit: usize,
    },
    /// From now on the select flushes, or not.
    DriveFlushes {
        drives: bool,
    },
    /// Another takes its place, which flushes.
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
    /// From now on the stream's sink does so. It wakes.
    SetSink {
        stream: usize,
        is_ready: bool,
        flushes: bool,
    },
    /// The next poll of the stream's sink fails. It wakes.
    FailSink {
        stream: usize,
    },
    /// Polls `close_sink` once and drops it.
    CloseSink {
        stream: usize,
    },
    /// Polls the flusher once, which is made if there is none.
    Flush,
    DropFlusher,
}

/// What a stream does, once.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Trick {
    /// Its next poll is in vain, and wakes itself.
    WakeItself,
    /// Its next poll panics.
    Panic,
    /// Its next poll does this, and then looks whether there is an item.
    BeforeLook(Vec<Operation>),
    /// Its next poll looks whether there is an item, then does this, and then returns what it saw.
    AfterLook(Vec<Operation>),
    /// Its drop does this.
    InDrop(Vec<Operation>),
}

/// How many codes of operations there are.
const CODES: u8 = 76;

/// How many channels there may be; one more is named that never is.
pub(crate) const CHANNELS: usize = 3;

/// Names the stream in whose poll the operation is done, if it is done in one.
pub(crate) const ITSELF: usize = 255;

/// The operations that some bytes stand for. Any bytes stand for some.
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

    /// One that holds no other. What is frequent has several codes, and what undoes much has few operands.
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

    /// One that is worth doing at such a time, more often than not to the stream itself.
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
