//! What became of loading and saving a session.

use crate::outcome::outcomes;

outcomes! {
    /// What became of reading a session; the label of `towerkeep_session_load_total`.
    pub enum SessionLoad {
        /// The session is there and the secret fits.
        Hit => "hit",
        /// There is no such session, or no longer.
        Miss => "miss",
        /// The session is there and past one of its deadlines.
        Expired => "expired",
        /// The session is there and the secret is not its own.
        Refused => "refused",
        /// What is stored there is not a session of ours; it is left alone.
        Corrupt => "corrupt",
        /// The store did not answer.
        Unavailable => "unavailable",
    }
}

outcomes! {
    /// What became of writing a session; the label of `towerkeep_session_save_total`.
    pub enum SessionSave {
        /// There was nothing to write.
        Unchanged => "unchanged",
        /// A new session was stored.
        Created => "created",
        /// The changes were stored.
        Saved => "saved",
        /// The session got a new secret.
        Rotated => "rotated",
        /// The session was ended.
        Deleted => "deleted",
        /// The session was gone; nothing came back to life and the changes are dropped.
        Gone => "gone",
        /// Somebody logged in or out in between; the changes are dropped.
        Superseded => "superseded",
        /// Others kept writing it; the changes are dropped.
        Contended => "contended",
        /// A newer version of the library wrote it; this one only reads it.
        ReadOnly => "read_only",
        /// The changes cannot be stored: too large, or a closure of `update` failed on replay.
        Invalid => "invalid",
        /// The store did not answer.
        Unavailable => "unavailable",
    }
}

outcomes! {
    /// How a request's session stands.
    pub enum SessionState {
        /// There is none.
        Anonymous => "anonymous",
        /// There is one, and the client proved it.
        Live => "live",
        /// It cannot be found out now. Not the same as anonymous.
        Unavailable => "unavailable",
    }
}

impl SessionLoad {
    pub(super) fn count(self) {
        crate::telemetry::count("towerkeep_session_load_total", [("outcome", self.as_str())]);
    }
}

impl SessionSave {
    pub(super) fn count(self) {
        crate::telemetry::count("towerkeep_session_save_total", [("outcome", self.as_str())]);
    }
}
