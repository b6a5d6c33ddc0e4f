//! What became of a write, in one word.

use crate::{outcome::outcomes, telemetry};

/// Where the entries of an append are now. Each outcome tells how many they are.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Appended {
    /// In the store: every instance sees them.
    Everywhere(usize),
    /// In this instance, until the store is back.
    Local(usize),
}

impl Appended {
    /// How many entries were appended: all of the call's.
    pub const fn count(self) -> usize {
        match self {
            Self::Everywhere(count) | Self::Local(count) => count,
        }
    }

    /// The word for headers, traces and metrics.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Everywhere(_) => "everywhere",
            Self::Local(_) => "local",
        }
    }
}

outcomes! {
    /// What became of a clear.
    pub enum Cleared {
        /// The log is empty for every instance.
        Everywhere => "everywhere",
        /// Noted here, and told to the store when it is back. What was appended before does not return after that.
        Pending => "pending",
    }
}

outcomes! {
    /// What was done with entries in an outage; the label of `towerkeep_action_log_fallback_total`.
    pub(super) enum Kept {
        Held => "held",
        Merged => "merged",
        Refused => "refused",
        Dropped => "dropped",
    }
}

impl Kept {
    pub(super) fn count(self) {
        telemetry::count("towerkeep_action_log_fallback_total", [("outcome", self.as_str())]);
    }
}
