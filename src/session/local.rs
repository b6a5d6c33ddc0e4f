//! What one instance knows of sessions by itself: copies of those it has seen, and what ended.

use std::{
    collections::{HashMap, HashSet},
    time::Duration,
};

use super::{
    Record, SessionId,
    delta::Delta,
    journal::{Ended, JournalEntry},
};
use crate::{UserId, clock::Timestamp};

/// Bounded copies, tombstones and revocations. Every decision is a function of this and the time.
#[derive(Default)]
pub(super) struct Local {
    copies: HashMap<SessionId, Copy>,
    tombs: HashMap<SessionId, Tomb>,
    revocations: HashMap<UserId, Revocation>,
    limits: Limits,
    /// How many of the copies are of sessions that began here, and that the store does not know.
    births: usize,
    /// The store may have yet to hear of something.
    is_pending: bool,
}

/// The bounds of what is kept.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Limits {
    pub(super) max_stale: Duration,
    /// Of sessions that the store knows, and as many more that it does not.
    pub(super) copies: usize,
}

struct Copy {
    record: Record,
    /// When the store last said so.
    confirmed: Timestamp,
    pending: Option<Pending>,
    touched: bool,
}

impl Copy {
    fn is_born(&self) -> bool {
        matches!(self.pending, Some(Pending::Born))
    }
}

/// What the store does not know yet.
#[derive(Clone, Debug)]
pub(super) enum Pending {
    /// A session that began here.
    Born,
    /// A state that replaces `base`, by these changes. Without them, the values tell what changed.
    Over { base: Box<Record>, changes: Option<Box<Delta>> },
}

/// Of one session's changes so many that are computed anew are kept; beyond that the session's values stand.
const UPDATES: usize = 64;
/// The same, of all changes.
const CHANGES: usize = 256;
/// The same, of the bytes of values that were set and are no longer the session's, because of an update since.
const OUTDATED: usize = 64 * 1_024;

impl Pending {
    fn over(base: Record) -> Self {
        Self::Over { base: Box::new(base), changes: Some(Box::default()) }
    }

    /// Adds what made `next` of the state before.
    fn follow(&mut self, next: &Record) {
        let Self::Over { base, changes } = self else { return };
        // What a login takes away is told by the values alone.
        let is_same_generation = base.stamp().generation == next.stamp().generation;
        let more = next.changes.as_ref().filter(|_| is_same_generation);
        let (Some(known), Some(more)) = (changes.as_mut(), more) else {
            *changes = None;
            return;
        };
        known.append(more.to_replay());
        let heaviest = next.data().as_json().len() + OUTDATED;
        if known.updates() > UPDATES || known.len() > CHANGES || known.weight() > heaviest {
            *changes = None;
        }
    }
}

/// What the store does not know yet is known to it now.
pub(super) struct Told<'a> {
    /// The state that it was told of.
    pub(super) sent: &'a Record,
    /// What it holds since; nothing where the session is gone.
    pub(super) stored: Option<&'a Record>,
    /// Whether what it holds has our change in it.
    pub(super) is_merged: bool,
}

struct Tomb {
    user: Option<UserId>,
    at: Timestamp,
    until: Timestamp,
    pending: bool,
}

/// All of a user's sessions were revoked, but one.
#[derive(Clone)]
pub(super) struct Revocation {
    pub(super) except: Option<SessionId>,
    pub(super) lasting: Duration,
    pub(super) at: Timestamp,
    pending: bool,
}

impl Revocation {
    /// Whether it ended this session of its user: later logins stand.
    pub(super) fn covers(&self, record: &Record) -> bool {
        Some(record.id()) != self.except && record.logged_in.is_none_or(|login| login <= self.at)
    }
}

/// Tombstones that the store has are kept this many at most; those it does not have, all.
const TOMBS: usize = 100_000;

impl Local {
    pub(super) fn new(limits: Limits) -> Self {
        Self { limits, ..Self::default() }
    }

    /// Whether the session was ended by this instance.
    pub(super) fn is_ended(&self, id: SessionId) -> bool {
        self.tombs.contains_key(&id)
    }

    /// Whether the id is taken, by a session that is known here or by one that has ended.
    pub(super) fn is_taken(&self, id: SessionId) -> bool {
        self.is_ended(id) || self.copies.contains_key(&id)
    }

    /// Whether a revocation that the store does not know yet ended this session.
    pub(super) fn is_revoked(&self, record: &Record) -> bool {
        let revocation = record.user().and_then(|user| self.revocations.get(user));
        revocation.is_some_and(|revocation| revocation.pending && revocation.covers(record))
    }

    /// Takes note of what the store holds; older news than ours, and the ended, are no news.
    pub(super) fn confirm(&mut self, record: &Record, now: Timestamp) {
        if record.read_only || self.is_ended(record.id()) || self.is_revoked(record) {
            return;
        }
        if let Some(copy) = self.copies.get_mut(&record.id()) {
            if copy.pending.is_none() && copy.record.stamp() <= record.stamp() {
                copy.confirmed = now;
                if copy.record.stamp() < record.stamp() {
                    copy.record = record.bare();
                }
                copy.record.touch(record.last_seen());
            }
            return;
        }
        self.keep(record, now);
    }

    /// The store does not have it (any longer).
    pub(super) fn forget(&mut self, id: SessionId) {
        if self.copies.get(&id).is_some_and(|copy| copy.pending.is_none()) {
            self.remove(id);
        }
    }

    /// The copy, while it may still be served.
    pub(super) fn find(&self, id: SessionId, now: Timestamp) -> Option<&Record> {
        let copy = self.copies.get(&id)?;
        self.serves(copy, now).then_some(&copy.record)
    }

    /// The copy of a session with changes that the store does not know.
    pub(super) fn find_pending(&self, id: SessionId, now: Timestamp) -> Option<&Record> {
        self.copies.get(&id).filter(|copy| copy.pending.is_some())?;
        self.find(id, now)
    }

    /// The copy of what the store has confirmed, where that is newer than what it holds now.
    pub(super) fn newer_than(&self, stored: &Record, now: Timestamp) -> Option<Record> {
        let copy = self.copies.get(&stored.id()).filter(|copy| copy.pending.is_none() && self.serves(copy, now))?;
        (copy.record.stamp() > stored.stamp() && !stored.read_only).then(|| copy.record.clone())
    }

    fn serves(&self, copy: &Copy, now: Timestamp) -> bool {
        copy.record.is_live(now) && now.since(copy.confirmed) < self.limits.max_stale
    }

    /// A session of an id that is not [taken](Self::is_taken) begins here; whether there is room for it.
    pub(super) fn bear(&mut self, record: &Record, now: Timestamp) -> bool {
        if self.births >= self.limits.copies {
            return false;
        }
        self.put(record, now, Some(Pending::Born));
        self.births += 1;
        self.is_pending = true;
        true
    }

    /// A change of a session that is there.
    pub(super) fn change(&mut self, record: &Record) {
        if let Some(copy) = self.copies.get_mut(&record.id()) {
            let before = std::mem::replace(&mut copy.record, record.bare());
            copy.pending.get_or_insert_with(|| Pending::over(before)).follow(record);
            self.is_pending = true;
        }
    }

    pub(super) fn touch(&mut self, id: SessionId, generation: u32, now: Timestamp) -> bool {
        let max_stale = self.limits.max_stale;
        let Some(copy) = self.copies.get_mut(&id) else { return false };
        let serves = copy.record.is_live(now) && now.since(copy.confirmed) < max_stale;
        if !serves || copy.record.stamp().generation != generation {
            return false;
        }
        copy.record.touch(now);
        copy.touched = true;
        self.is_pending = true;
        true
    }

    /// Ends a session here; whether it was known. `pending` until the store knows.
    pub(super) fn end(&mut self, id: SessionId, user: Option<&UserId>, now: Timestamp, pending: bool) -> bool {
        let copy = self.remove(id);
        let user = user.or_else(|| copy.as_ref()?.record.user()).cloned();
        // Copies elsewhere serve, and are written back, no longer than this.
        let until = now + self.limits.max_stale;
        self.tombs.insert(id, Tomb { user, at: now, until, pending });
        self.is_pending |= pending;
        self.sweep_tombs(now);
        copy.is_some_and(|copy| self.serves(&copy, now))
    }

    /// A session was ended elsewhere, and the store knows; whether changes of it are dropped with it.
    #[cfg(any(test, feature = "redis"))]
    pub(super) fn heard_of_ending(&mut self, id: SessionId, now: Timestamp) -> bool {
        if self.is_ended(id) {
            return false;
        }
        let had_changes = self.copies.get(&id).is_some_and(|copy| copy.pending.is_some());
        self.end(id, None, now, false);
        had_changes
    }

    /// Ends all of a user's sessions known here but one; which.
    pub(super) fn revoke_all(
        &mut self,
        user: &UserId,
        except: Option<SessionId>,
        lasting: Duration,
        now: Timestamp,
        pending: bool,
    ) -> Vec<SessionId> {
        let theirs = |copy: &&Copy| copy.record.user() == Some(user) && Some(copy.record.id()) != except;
        let ids: Vec<SessionId> = self.copies.values().filter(theirs).map(|copy| copy.record.id()).collect();
        for id in &ids {
            self.end(*id, Some(user), now, pending);
        }
        self.revocations.retain(|_, old| old.pending || now.since(old.at) < self.limits.max_stale);
        self.is_pending |= pending;
        self.revocations.insert(user.clone(), Revocation { except, lasting, at: now, pending });
        ids
    }

    /// Whether the store may have yet to hear of something.
    pub(super) fn is_pending(&self) -> bool {
        self.is_pending
    }

    /// How many ends and revocations, and how many sessions with changes, the store does not know.
    pub(super) fn untold(&self) -> (usize, usize) {
        let revocations = self.revocations.values().filter(|revocation| revocation.pending).count();
        let endings = self.tombs.values().filter(|tomb| tomb.pending).count();
        (endings + revocations, self.copies.values().filter(|copy| copy.pending.is_some()).count())
    }

    /// Looks whether all has been told.
    pub(super) fn settle(&mut self) {
        self.is_pending = self.tombs.values().any(|tomb| tomb.pending)
            || self.revocations.values().any(|revocation| revocation.pending)
            || self.copies.values().any(|copy| copy.pending.is_some() || copy.touched);
    }

    /// The sessions that the store must hear have ended: those it does not know, or `all`; with the time they matter.
    pub(super) fn endings(&self, all: bool, now: Timestamp) -> Vec<(SessionId, Option<UserId>, Duration)> {
        let due = self.tombs.iter().filter(|(_, tomb)| tomb.pending || (all && now < tomb.until));
        due.map(|(id, tomb)| (*id, tomb.user.clone(), tomb.until.since(now))).collect()
    }

    pub(super) fn revocations(&self, all: bool, now: Timestamp) -> Vec<(UserId, Revocation)> {
        let is_due = |old: &Revocation| old.pending || (all && now.since(old.at) < self.limits.max_stale);
        self.revocations.iter().filter(|(_, old)| is_due(old)).map(|(user, old)| (user.clone(), old.clone())).collect()
    }

    /// Sessions with changes that the store does not know, the changed before the born, older logins first.
    pub(super) fn changes(&self) -> Vec<(Record, Pending)> {
        let mut changes: Vec<_> =
            self.copies.values().filter_map(|copy| Some((copy.record.clone(), copy.pending.clone()?))).collect();
        changes.sort_by_key(|(record, pending)| (matches!(pending, Pending::Born), record.logged_in, record.created));
        changes
    }

    /// Sessions that were used and that the store does not know of.
    pub(super) fn touches(&self) -> Vec<(SessionId, u32)> {
        let touched = self.copies.values().filter(|copy| copy.touched);
        touched.map(|copy| (copy.record.id(), copy.record.stamp().generation)).collect()
    }

    /// All sessions that may be written back to a store that lost its data.
    pub(super) fn survivors(&self, now: Timestamp) -> Vec<Record> {
        self.copies.values().filter(|copy| self.serves(copy, now)).map(|copy| copy.record.clone()).collect()
    }

    pub(super) fn told_ending(&mut self, id: SessionId) {
        if let Some(tomb) = self.tombs.get_mut(&id) {
            tomb.pending = false;
        }
    }

    /// The store knows of this revocation; a newer one of the same user is not told with it.
    pub(super) fn told_revocation(&mut self, user: &UserId, at: Timestamp, except: Option<SessionId>) {
        let revocation = self.revocations.get_mut(user);
        if let Some(told) = revocation.filter(|known| known.at == at && known.except == except) {
            told.pending = false;
        }
    }

    pub(super) fn told_touch(&mut self, id: SessionId) {
        if let Some(copy) = self.copies.get_mut(&id) {
            copy.touched = false;
        }
    }

    /// The store was told of a session's changes; unless it changed since, nothing is pending.
    pub(super) fn told_change(&mut self, told: &Told<'_>, now: Timestamp) {
        let Some(copy) = self.copies.get_mut(&told.sent.id()) else { return };
        let Some(stored) = told.stored else {
            self.remove(told.sent.id());
            return;
        };
        self.births -= usize::from(copy.is_born());
        if told.is_merged && copy.record.stamp() != told.sent.stamp() {
            // Without any, the store has confirmed what came after.
            let Some(pending) = copy.pending.take() else { return };
            // Of the changes kept, those that the store has by now are not made again.
            let changes = match pending {
                Pending::Over { changes, .. } => changes.map(|changes| Box::new(changes.beyond(&stored.applied))),
                Pending::Born => None,
            };
            copy.pending = Some(Pending::Over { base: Box::new(told.sent.clone()), changes });
            return;
        }
        copy.record = stored.bare();
        (copy.pending, copy.touched, copy.confirmed) = (None, false, now);
    }

    /// What ended before this instance began; the store may not know.
    pub(super) fn recall(&mut self, entry: JournalEntry) {
        let (at, until) = (entry.at, entry.until());
        self.is_pending = true;
        match entry.what {
            Ended::Session { id, user } => {
                self.remove(id);
                self.tombs.insert(id, Tomb { user, at, until, pending: true });
            }
            Ended::User { user, except, lasting } => {
                let newest = self.revocations.get(&user).is_none_or(|known| known.at <= at);
                if newest {
                    let revocation = Revocation { except, lasting, at, pending: true };
                    let theirs = |copy: &Copy| copy.record.user() == Some(&user) && revocation.covers(&copy.record);
                    self.copies.retain(|_, copy| !theirs(copy));
                    self.count_births();
                    self.revocations.insert(user, revocation);
                }
            }
        }
    }

    /// The sessions that ended last and that the store knew of, `most` at most.
    pub(super) fn told_endings(&self, most: usize, now: Timestamp) -> Vec<SessionId> {
        let told = self.tombs.iter().filter(|(_, tomb)| !tomb.pending && now < tomb.until);
        let mut told: Vec<_> = told.map(|(id, tomb)| (tomb.at, *id)).collect();
        told.sort_unstable_by(|a, b| b.cmp(a));
        told.into_iter().take(most).map(|(_, id)| id).collect()
    }

    /// The sessions with copies that nothing has confirmed since `then`, and that the store should have.
    #[cfg(any(test, feature = "redis"))]
    pub(super) fn unconfirmed_since(&self, then: Timestamp) -> Vec<SessionId> {
        let old = self.copies.values().filter(|copy| copy.pending.is_none() && copy.confirmed <= then);
        old.map(|copy| copy.record.id()).collect()
    }

    /// The copies that the store confirmed last, `most` at most.
    pub(super) fn settled(&self, most: usize, now: Timestamp) -> Vec<Record> {
        let settled = self.copies.values().filter(|copy| copy.pending.is_none() && self.serves(copy, now));
        let mut settled: Vec<&Copy> = settled.collect();
        settled.sort_unstable_by_key(|copy| std::cmp::Reverse(copy.confirmed));
        settled.into_iter().take(most).map(|copy| copy.record.clone()).collect()
    }

    fn remove(&mut self, id: SessionId) -> Option<Copy> {
        let copy = self.copies.remove(&id)?;
        self.births -= usize::from(copy.is_born());
        Some(copy)
    }

    fn count_births(&mut self) {
        self.births = self.copies.values().filter(|copy| copy.is_born()).count();
    }

    /// Keeps a copy of what the store knows; not where changes that it does not know take all the room.
    fn keep(&mut self, record: &Record, now: Timestamp) {
        if self.known() >= self.limits.copies {
            self.make_room(now);
        }
        if self.known() < self.limits.copies {
            self.put(record, now, None);
        }
    }

    #[cfg(test)]
    pub(super) fn births(&self) -> usize {
        self.births
    }

    fn known(&self) -> usize {
        self.copies.len() - self.births
    }

    fn put(&mut self, record: &Record, now: Timestamp, pending: Option<Pending>) {
        let copy = Copy { record: record.bare(), confirmed: now, pending, touched: false };
        self.copies.insert(record.id(), copy);
    }

    /// Drops what serves no more, else what was confirmed the longest ago, a quarter more than is needed. What is
    /// pending stays.
    fn make_room(&mut self, now: Timestamp) {
        let limits = self.limits;
        let serves = |copy: &Copy| copy.record.is_live(now) && now.since(copy.confirmed) < limits.max_stale;
        self.copies.retain(|_, copy| serves(copy));
        self.count_births();
        if self.known() < limits.copies {
            return;
        }
        let surplus = self.known() - limits.copies + limits.copies / 4 + 1;
        let mut idle: Vec<_> = self.copies.values().filter(|copy| copy.pending.is_none()).collect();
        idle.sort_by_key(|copy| copy.confirmed);
        let oldest: HashSet<_> = idle.iter().take(surplus).map(|copy| copy.record.id()).collect();
        self.copies.retain(|id, _| !oldest.contains(id));
    }

    fn sweep_tombs(&mut self, now: Timestamp) {
        if self.tombs.len() < TOMBS {
            return;
        }
        self.tombs.retain(|_, tomb| tomb.pending || now < tomb.until);
        if self.tombs.len() < TOMBS {
            return;
        }
        let mut known: Vec<_> =
            self.tombs.iter().filter(|(_, tomb)| !tomb.pending).map(|(id, t)| (t.at, *id)).collect();
        known.sort();
        for (_, id) in known.into_iter().take(TOMBS / 4) {
            self.tombs.remove(&id);
        }
    }
}
