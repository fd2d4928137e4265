//! [`Share`]: how much of a select is a channel's.

use std::num::NonZeroU32;

/// How a channel stands to the others of its [`ChannelSelect`](crate::ChannelSelect): its priority, and its weight among
/// those of the same priority.
///
/// ```
/// use stream_multiplexer::Share;
///
/// // Before all others.
/// let internal = Share::new();
/// // Behind that; of these two the first has three events for each one of the other.
/// let paying = Share::new().priority(1).weight(3);
/// let free = Share::new().priority(1);
/// assert_eq!(free, Share::default().priority(1).weight(1));
/// # assert_ne!(internal, paying);
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[must_use]
pub struct Share {
    pub(crate) priority: u32,
    pub(crate) weight: NonZeroU32,
}

impl Share {
    /// Priority 0, which is the highest, and weight 1.
    ///
    /// ```
    /// use stream_multiplexer::Share;
    ///
    /// assert_eq!(Share::new(), Share::new().priority(0).weight(1));
    /// ```
    pub const fn new() -> Self {
        Self { priority: 0, weight: NonZeroU32::MIN }
    }

    /// The priority: a channel with a **lower** number goes first, as in `nice`, in HAProxy and in RFC 9218.
    ///
    /// ```
    /// use stream_multiplexer::Share;
    ///
    /// let first = Share::new();
    /// let last = Share::new().priority(1);
    /// # drop((first, last));
    /// ```
    pub const fn priority(mut self, priority: u32) -> Self {
        self.priority = priority;
        self
    }

    /// The weight: among channels of equal priority that are ready, each is served in proportion to its weight.
    ///
    /// ```
    /// use stream_multiplexer::Share;
    ///
    /// let paying = Share::new().weight(4);
    /// let free = Share::new().weight(1);
    /// # drop((paying, free));
    /// ```
    ///
    /// # Panics
    ///
    /// When it is 0. A channel that is not to be served is not in the select, or
    /// [removed](crate::ChannelSelect::remove) from it.
    pub const fn weight(mut self, weight: u32) -> Self {
        match NonZeroU32::new(weight) {
            Some(weight) => self.weight = weight,
            None => panic!("a weight is at least 1"),
        }
        self
    }
}

impl Default for Share {
    fn default() -> Self {
        Self::new()
    }
}
