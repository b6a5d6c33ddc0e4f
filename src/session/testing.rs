//! Records for tests of stores, without any requests: what the layer would hand to them.

use super::{Data, Record, SessionConfig, id::Token, record::begin};
use crate::{UserId, clock::Timestamp};

/// A new session of nobody, begun at `now`.
pub fn record(config: &SessionConfig, now: Timestamp) -> Record {
    begin(&Token::random(), config, now)
}

/// The state of `record` after `user` logged in at `now`.
pub fn login(record: &Record, user: &UserId, config: &SessionConfig, now: Timestamp) -> Record {
    let mut next = record.next(record.data().clone(), now);
    next.rotate(Token::random().hash(), now);
    next.login(user.clone(), None, now, config)
}

/// The state of `record` after a change of its values at `now`.
pub fn change(record: &Record, data: Data, now: Timestamp) -> Record {
    record.next(data, now)
}
