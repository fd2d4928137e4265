//! [`Share`]: a channel's share of a select.

use std::num::NonZeroU32;

/// The share of a channel in a [`ChannelSelect`](crate::ChannelSelect): its priority, and its weight among channels of the
/// same priority.
///
/// ```
/// use stream_multiplexer::Share;
///
/// // Served before all other channels.
/// let internal = Share::new();
/// // Served after `internal`: three events of `paying` for each event of `free`.
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
    /// Creates a share with priority 0, the highest, and weight 1.
    ///
    /// ```
    /// use stream_multiplexer::Share;
    ///
    /// assert_eq!(Share::new(), Share::new().priority(0).weight(1));
    /// ```
    pub const fn new() -> Self {
        Self { priority: 0, weight: NonZeroU32::MIN }
    }

    /// Sets the priority. A channel with a **lower** number is served first, as with `nice`, HAProxy and RFC 9218.
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

    /// Sets the weight. Ready channels of equal priority are served in proportion to their weights.
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
    /// If `weight` is 0. To stop serving a channel, [remove](crate::ChannelSelect::remove) it from the select.
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
