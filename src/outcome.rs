//! Outcomes have names: the same word in headers, traces, metrics and tests.

use std::fmt;

/// Defines an enum of outcomes, each with its one word.
macro_rules! outcomes {
    ($(#[$meta:meta])* $vis:vis enum $name:ident { $($(#[$doc:meta])* $variant:ident => $word:literal,)+ }) => {
        $(#[$meta])*
        #[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
        $vis enum $name { $($(#[$doc])* $variant,)+ }

        impl $name {
            /// The word for headers, traces and metrics.
            $vis const fn as_str(self) -> &'static str {
                match self { $(Self::$variant => $word,)+ }
            }
        }

        impl std::fmt::Display for $name {
            fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                f.write_str(self.as_str())
            }
        }
    };
}
pub(crate) use outcomes;

outcomes! {
    /// How the stores stand: in every request's extensions behind `keep.layer()`, and what `keep.status()` says.
    ///
    /// ```
    /// use towerkeep::Status;
    /// assert_eq!(Status::Degraded.as_str(), "degraded");
    /// ```
    pub enum Status {
        /// No Redis is configured; everything lives in this process.
        InMemory => "in_memory",
        /// Redis answers.
        Up => "up",
        /// Redis answers reads and refuses writes (out of memory, a failed save, a read-only replica).
        Degraded => "degraded",
        /// Redis does not answer, or an outage is forced; every concern works by its own rule.
        Down => "down",
    }
}

impl Status {
    /// Whether requests reach Redis.
    pub const fn is_up(self) -> bool {
        matches!(self, Self::Up)
    }
}

outcomes! {
    /// What a layer did in Redis' place for one request: a word of the field `Redis-Status`.
    ///
    /// ```
    /// use towerkeep::Detour;
    /// assert_eq!(Detour::Memory.as_str(), "memory");
    /// assert!(Detour::Memory < Detour::Denied); // the graver one is told
    /// ```
    #[derive(PartialOrd, Ord)]
    pub enum Detour {
        /// Served from this instance's own copy, or kept there.
        Memory => "memory",
        /// Counted by this instance alone.
        Local => "local",
        /// Left out.
        Skipped => "skipped",
        /// Not to be found out without Redis.
        Unavailable => "unavailable",
        /// Refused, because somebody chose so.
        Denied => "denied",
    }
}

outcomes! {
    /// Why Redis failed a check of [`Health`](crate::health::Health).
    pub enum Reason {
        /// Nothing listens there, or the connection broke, as it does where the server takes no more (`maxclients`).
        Unreachable => "unreachable",
        /// No answer within a quarter of a second.
        Slow => "slow",
        /// The password is wrong or missing.
        WrongPassword => "wrong_password",
        /// The provider of credentials failed.
        NoCredentials => "no_credentials",
        /// The access rules do not allow the command or the key.
        NoPermission => "no_permission",
        /// The server loads its data, runs somebody's endless script, or has no master.
        NotServing => "not_serving",
        /// The server is a replica, and takes no writes.
        ReadOnlyReplica => "read_only_replica",
        /// The server is at its `maxmemory`, and takes no writes.
        OutOfMemory => "out_of_memory",
        /// The server could not save to its disk, and takes no writes.
        FailedSave => "failed_save",
        /// The server has too few replicas for a write (`min-replicas-to-write`).
        TooFewReplicas => "too_few_replicas",
        /// What was read is not what was written.
        OtherValue => "other_value",
        /// An outage is forced.
        Forced => "forced",
        /// Something else; the log of the server may tell.
        Other => "other",
    }
}

/// How one check went.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Check {
    /// As it should.
    Passed,
    /// Not as it should.
    Failed(Reason),
    /// It was not made, because one before it failed.
    Untried,
}

impl Check {
    /// Whether it was made and went as it should.
    pub const fn is_passed(self) -> bool {
        matches!(self, Self::Passed)
    }

    /// `ok`, the reason's word, or `untried`.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Passed => "ok",
            Self::Failed(reason) => reason.as_str(),
            Self::Untried => "untried",
        }
    }
}

/// Shows a secret's place in `Debug` without the secret.
pub(crate) struct Redacted;

impl fmt::Debug for Redacted {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("[redacted]")
    }
}
