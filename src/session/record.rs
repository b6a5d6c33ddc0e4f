//! What a store keeps of a session, and the pure decisions about it: is it live, whose is it, is it due.

use std::{fmt, net::IpAddr, sync::Arc, time::Duration};

use serde::Serialize;

use super::{Data, SecretHash, SessionConfig, SessionId, applied::Applied, csrf, delta::Delta, id::Token};
use crate::{Error, Result, UserId, clock::Timestamp};

/// How long the previous secret still works after a periodic renewal, so that requests under way are not lost.
pub(super) const GRACE: Duration = Duration::from_secs(10);

/// Which state of a session something is based on: a save must name the one it replaces.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub struct Stamp {
    /// Grows with each login and change of privilege; changes of before do not survive one.
    pub generation: u32,
    /// Grows with each save.
    pub version: u32,
}

/// A session as stores keep it.
///
/// A store treats it as opaque: [`encode`](Record::encode) and [`decode`](Record::decode) are its one string,
/// [`expires_at`](Record::expires_at) its time to live, [`stamp`](Record::stamp) what a save is compared with.
#[derive(Clone)]
pub struct Record {
    pub(super) id: SessionId,
    pub(super) stamp: Stamp,
    pub(super) secret: SecretHash,
    pub(super) previous: SecretHash,
    /// Until when the previous secret works.
    pub(super) previous_until: Timestamp,
    /// When the secret was made.
    pub(super) renewed: Timestamp,
    pub(super) last_seen: Timestamp,
    pub(super) idle: Duration,
    /// The absolute deadline.
    pub(super) ends: Timestamp,
    pub(super) logged_in: Option<Timestamp>,
    pub(super) user: Option<UserId>,
    pub(super) created: Timestamp,
    pub(super) device: Option<Box<str>>,
    pub(super) ip: Option<IpAddr>,
    pub(super) data: Data,
    /// Which changes of lately the data holds.
    pub(super) applied: Applied,
    /// Written by a newer version of the library.
    pub(super) read_only: bool,
    /// What made this state of the one before. No part of what is stored: it is for whoever must make it again.
    pub(super) changes: Option<Arc<Delta>>,
    /// Answered by this instance in place of the store, which may have a newer state. No part of what is stored either.
    pub(super) is_copy: bool,
    /// It is to be saved over a state of before its login, whatever came after that. No part of what is stored either.
    pub(super) is_login: bool,
}

/// What is noted of the client that logs in.
#[derive(Default)]
pub(super) struct Client {
    pub(super) device: Option<Box<str>>,
    pub(super) ip: Option<IpAddr>,
}

/// What a client's secret proves about a session.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Proof {
    /// It is the session's secret.
    Current,
    /// It was until a moment ago and still works.
    Previous,
    /// It was until a login a moment ago: it opens nothing, and its holder is just about to get the new one.
    Superseded,
    /// It is not.
    None,
}

impl Record {
    /// The session's handle.
    pub fn id(&self) -> SessionId {
        self.id
    }

    /// Which state of the session this is.
    pub fn stamp(&self) -> Stamp {
        self.stamp
    }

    /// The user who is logged in.
    pub fn user(&self) -> Option<&UserId> {
        self.user.as_ref()
    }

    /// The session's values.
    pub fn data(&self) -> &Data {
        &self.data
    }

    /// The absolute deadline: no use prolongs the session beyond it.
    pub fn ends(&self) -> Timestamp {
        self.ends
    }

    /// When the session was last known to be used; kept up to date in steps of
    /// [`touch_every`](super::SessionConfig::touch_every).
    pub fn last_seen(&self) -> Timestamp {
        self.last_seen
    }

    /// When the session ends if it is not used again: the earlier of both deadlines.
    pub fn expires_at(&self) -> Timestamp {
        self.ends.min(self.last_seen + self.idle)
    }

    /// Whether both deadlines are still ahead.
    pub fn is_live(&self, now: Timestamp) -> bool {
        now < self.expires_at()
    }

    /// How long a store keeps it from `now` on; at least a millisecond.
    pub fn time_to_live(&self, now: Timestamp) -> Duration {
        self.expires_at().since(now).max(Duration::from_millis(1))
    }

    /// Whether saving this over `over` logs somebody in, so that the session joins the user's index.
    pub fn logs_in_over(&self, over: Stamp) -> bool {
        let is_just_made = self.stamp.generation != over.generation && self.logged_in == Some(self.renewed);
        self.user.is_some() && (self.is_login || is_just_made)
    }

    /// Moves the last use forward, as a touch does.
    pub fn touch(&mut self, now: Timestamp) {
        self.last_seen = self.last_seen.max(now);
    }

    /// What a user is shown of it.
    pub fn info(&self) -> SessionInfo {
        SessionInfo {
            id: self.id,
            device: self.device.as_deref().map(Into::into),
            ip: self.ip,
            created: self.created.as_secs(),
            last_seen: self.last_seen.as_secs(),
            expires: self.expires_at().as_secs(),
        }
    }

    /// Whether this is the secret that opens the session, or was until a renewal a moment ago.
    pub fn opens(&self, secret: &SecretHash, now: Timestamp) -> bool {
        matches!(self.proof(secret, now), Proof::Current | Proof::Previous)
    }

    pub(super) fn proof(&self, secret: &SecretHash, now: Timestamp) -> Proof {
        let (current, previous) = (self.secret.matches(secret), self.previous.matches(secret));
        match (current, previous) {
            (true, _) => Proof::Current,
            (_, true) if now < self.previous_until => Proof::Previous,
            (_, true) if now < self.renewed + GRACE => Proof::Superseded,
            _ => Proof::None,
        }
    }

    pub(super) fn wants_touch(&self, now: Timestamp, every: Duration) -> bool {
        // Half of a short idle time: what is only read must not expire in use.
        !self.read_only && now.since(self.last_seen) > every.min(self.idle / 2)
    }

    /// A secret that the store does not hear of would open nothing on other instances.
    pub(super) fn wants_renewal(&self, now: Timestamp, every: Duration) -> bool {
        !self.read_only && !self.is_copy && now.since(self.renewed) >= every
    }

    /// The state after this one, used at `now`.
    pub(super) fn next(&self, data: Data, now: Timestamp) -> Self {
        let stamp = Stamp { version: self.stamp.version.saturating_add(1), ..self.stamp };
        let mut next = Self { stamp, data, ..self.bare() };
        next.touch(now);
        next
    }

    /// The state after this one with `changes` in it; nothing where they change nothing.
    pub(super) fn changed(&self, changes: &Arc<Delta>, now: Timestamp) -> Result<Option<Self>> {
        let data = changes.apply(&self.data, &self.applied)?;
        let idle = changes.idle.unwrap_or(self.idle);
        if data == self.data && idle == self.idle {
            return Ok(None);
        }
        let applied = self.applied.with(changes.ids(), now);
        Ok(Some(Self { idle, applied, changes: Some(Arc::clone(changes)), ..self.next(data, now) }))
    }

    /// This state, made of `changes`, to be stored at `now`: they are remembered from then on, however old they are.
    pub(super) fn stored_at(&self, changes: Option<&Delta>, now: Timestamp) -> Self {
        Self { applied: self.applied.with(changes.into_iter().flat_map(Delta::ids), now), ..self.clone() }
    }

    /// This state without what made it, and as the store's own.
    pub(super) fn bare(&self) -> Self {
        Self { changes: None, is_copy: false, is_login: false, ..self.clone() }
    }

    /// This state, answered in place of the store.
    pub(super) fn as_copy(&self) -> Self {
        Self { is_copy: true, ..self.clone() }
    }

    /// This state, to be saved over `older`: one of before its login, perhaps, with a renewal or a rotation after that.
    pub(super) fn replacing(&self, older: &Self) -> Self {
        Self { is_login: self.logged_in != older.logged_in, ..self.clone() }
    }

    /// This state, made from `base`, as the state after `stored`, which others made from `base` meanwhile: `changes` are
    /// made on theirs. Where only the values are known, each that differs from `base` stands.
    pub(super) fn rebased(&self, base: &Self, changes: Option<&Delta>, stored: &Self, now: Timestamp) -> Result<Self> {
        let data = match changes {
            Some(changes) => changes.apply_apart(&stored.data, &stored.applied)?,
            None => base.data.merge(&self.data, &stored.data)?,
        };
        // A login, a rotation or a renewal here stands; without one, theirs does.
        let mut next = if self.secret.matches(&base.secret) { stored.clone() } else { self.clone() };
        next.stamp.version = self.stamp.version.max(stored.stamp.version).saturating_add(1);
        next.idle = if self.idle == base.idle { stored.idle } else { self.idle };
        next.applied = stored.applied.with(changes.into_iter().flat_map(Delta::ids), now);
        next.data = data;
        next.touch(self.last_seen.max(stored.last_seen));
        Ok(next)
    }

    /// A new secret while the old one works a little longer.
    pub(super) fn renew(&mut self, secret: SecretHash, now: Timestamp) {
        (self.previous, self.previous_until) = (self.secret, now + GRACE);
        (self.secret, self.renewed) = (secret, now);
    }

    /// A new secret; the old one opens nothing from now on, and changes based on it are refused.
    pub(super) fn rotate(&mut self, secret: SecretHash, now: Timestamp) {
        self.renew(secret, now);
        self.previous_until = Timestamp::default();
        self.stamp.generation = self.stamp.generation.saturating_add(1);
    }

    /// Logs `user` in: a new absolute deadline from here on. The secret is set apart.
    pub(super) fn login(mut self, user: UserId, client: Client, now: Timestamp, config: &SessionConfig) -> Self {
        (self.user, self.logged_in) = (Some(user), Some(now));
        self.ends = now + config.absolute;
        (self.device, self.ip) = (client.device.or(self.device), client.ip.or(self.ip));
        // What forms of before the login carry is worth nothing after it.
        self.data = self.data.without(csrf::KEY).unwrap_or(self.data);
        self
    }

    pub(super) fn check_size(&self, max: usize) -> Result<()> {
        let size = self.data.as_json().len();
        if size <= max {
            return Ok(());
        }
        Err(Error::invalid(format!(
            "a session of {size} bytes is over the {max} allowed: keep large values elsewhere, or raise SessionConfig::max_size"
        )))
    }
}

/// A new session of nobody.
pub(super) fn begin(token: &Token, config: &SessionConfig, now: Timestamp) -> Record {
    Record {
        id: token.id,
        stamp: Stamp { generation: 1, version: 1 },
        secret: token.hash(),
        previous: SecretHash::NONE,
        previous_until: Timestamp::default(),
        renewed: now,
        last_seen: now,
        idle: config.idle,
        ends: now + config.absolute,
        logged_in: None,
        user: None,
        created: now,
        device: None,
        ip: None,
        data: Data::empty(),
        applied: Applied::default(),
        read_only: false,
        changes: None,
        is_copy: false,
        is_login: false,
    }
}

impl fmt::Debug for Record {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut out = f.debug_struct("Record");
        out.field("id", &self.id).field("stamp", &self.stamp).field("last_seen", &self.last_seen);
        out.field("ends", &self.ends).field("data", &self.data).finish_non_exhaustive()
    }
}

/// One of a user's sessions, as a page of "your devices" shows it. Times are Unix seconds.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[non_exhaustive]
pub struct SessionInfo {
    /// The session's handle, for [`Sessions::revoke`](super::Sessions::revoke).
    pub id: SessionId,
    /// The browser's or app's `User-Agent` at login.
    pub device: Option<String>,
    /// The client's address at login.
    pub ip: Option<IpAddr>,
    /// When the session began.
    pub created: u64,
    /// When it was last known to be used.
    pub last_seen: u64,
    /// When it ends if it is not used again.
    pub expires: u64,
}

#[cfg(test)]
pub(super) mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::clock::{days, hours, seconds};

    pub(in crate::session) fn record(token: &Token, now: Timestamp) -> Record {
        begin(token, &SessionConfig::new().idle(hours(24)).absolute(days(30)), now)
    }

    const NOW: Timestamp = Timestamp::from_micros(1_700_000_000_000_000);

    #[test]
    fn a_renewed_secret_leaves_ten_seconds_and_a_rotated_one_none() {
        let (old, new) = (Token::random(), Token::random());
        let mut renewed = record(&old, NOW);
        renewed.renew(new.hash(), NOW);
        assert_eq!(renewed.proof(&new.hash(), NOW), Proof::Current);
        assert_eq!(renewed.proof(&old.hash(), NOW + seconds(9)), Proof::Previous);
        assert_eq!(renewed.proof(&old.hash(), NOW + seconds(10)), Proof::None);
        assert_eq!(renewed.stamp.generation, 1);

        let mut rotated = record(&old, NOW);
        rotated.rotate(new.hash(), NOW);
        assert_eq!(rotated.proof(&old.hash(), NOW), Proof::Superseded);
        assert_eq!(rotated.proof(&old.hash(), NOW + seconds(10)), Proof::None);
        assert_eq!(rotated.stamp.generation, 2);
    }

    #[test]
    fn only_a_login_joins_the_users_index() {
        let token = Token::random();
        let before = record(&token, NOW);
        let mut login = before.next(Data::empty(), NOW);
        login.rotate(token.hash(), NOW);
        (login.user, login.logged_in) = (Some(UserId::new(1)), Some(NOW));
        assert!(login.logs_in_over(before.stamp));

        let mut later = login.next(Data::empty(), NOW + seconds(1));
        assert!(!later.logs_in_over(login.stamp));
        later.rotate(token.hash(), NOW + seconds(1));
        assert!(!later.logs_in_over(login.stamp));
        assert!(later.replacing(&before).logs_in_over(before.stamp));
        assert!(!later.replacing(&login).logs_in_over(login.stamp));
    }

    proptest! {
        #[test]
        fn a_session_lives_until_the_first_of_its_deadlines(idle in 1..100u64, absolute in 1..100u64, uses in proptest::collection::vec(0..40u64, 0..8), at in 0..200u64) {
            let token = Token::random();
            let mut session = Record { idle: seconds(idle), ends: NOW + seconds(absolute), ..record(&token, NOW) };
            let (mut clock, mut last) = (0, 0);
            for wait in uses {
                clock += wait;
                if session.is_live(NOW + seconds(clock)) {
                    session.touch(NOW + seconds(clock));
                    last = clock;
                }
            }
            let at = at.max(clock);
            prop_assert_eq!(session.is_live(NOW + seconds(at)), at < absolute && at < last + idle);
        }

        #[test]
        fn a_renewal_is_due_once_per_interval(every in 1..100u64, at in 0..300u64) {
            let session = record(&Token::random(), NOW);
            let now = NOW + seconds(at);
            prop_assert_eq!(session.wants_renewal(now, seconds(every)), at >= every);
            let mut renewed = session;
            renewed.renew(Token::random().hash(), now);
            prop_assert!(!renewed.wants_renewal(now, seconds(every)));
        }
    }
}
