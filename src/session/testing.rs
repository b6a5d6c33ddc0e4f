//! Records for tests of stores, without any requests: what the layer would hand to them.

use super::{
    Data, Record, SecretHash, SessionConfig,
    id::Token,
    record::{Client, begin},
};
use crate::{UserId, clock::Timestamp};

/// A new session of nobody, begun at `now`.
pub fn record(config: &SessionConfig, now: Timestamp) -> Record {
    begin(&Token::random(), config, now)
}

/// The state of `record` after `user` logged in at `now`.
pub fn login(record: &Record, user: &UserId, config: &SessionConfig, now: Timestamp) -> Record {
    let mut next = record.next(record.data().clone(), now);
    next.rotate(Token::random().hash(), now);
    next.login(user.clone(), Client::default(), now, config)
}

/// The state of `record` after its secret was renewed at `now`.
pub fn renewal(record: &Record, now: Timestamp) -> Record {
    let mut next = record.next(record.data().clone(), now);
    next.renew(Token::random().hash(), now);
    next
}

/// The state of `record` after a change of its values at `now`.
pub fn change(record: &Record, data: Data, now: Timestamp) -> Record {
    record.next(data, now)
}

/// What the holder of `record` proves itself by.
pub fn secret(record: &Record) -> SecretHash {
    record.secret
}
