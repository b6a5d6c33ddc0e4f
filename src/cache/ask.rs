//! Everything before the handler: whose partition, who leads, what the store has.

use std::{
    future::Future as _,
    mem,
    pin::Pin,
    sync::Arc,
    task::{Context, Poll, ready},
    time::Duration,
};

use http::{
    Method,
    header::{AUTHORIZATION, RANGE},
    request::Parts,
};
use tokio::time::Instant;

use super::{
    Claim, Entry, Lookup, Place, Ticket,
    claimed::Claimed,
    fill::{Fill, Plan, aftermath},
    flight::{Boarding, Landing, Lead, Source, landed},
    handle::Mount,
    invalidate::Invalidate,
    outcome::Answered,
    place,
    policy::{self, Asked, Reuse},
    reference::Base,
};
use crate::{Cx, Detour, Result, StoreFuture, clock::Timestamp};

/// How long a request waits for another one's fill; then it asks the handler itself. Not time in Redis.
const PATIENCE: Duration = Duration::from_secs(2);
/// So often a lookup is repeated because the store has learned what chooses variants.
const LOOKUPS: u8 = 3;
/// So often a request joins others of its moment; they may be of other variants.
const BOARDINGS: u8 = 4;

/// What is to be done.
pub(crate) enum Verdict {
    Answer {
        entry: Arc<Entry>,
        answered: Answered,
        now: Timestamp,
        /// What the request does afterwards, when it is answered.
        refresh: Option<Box<Fill>>,
    },
    /// The client wants a stored answer or none.
    OnlyIfCached,
    Serve(Plan),
}

/// A request on its way to a verdict.
pub(crate) struct Ask {
    mount: Arc<Mount>,
    cx: Cx,
    step: Step,
    /// When waiting for others ends.
    until: Option<Instant>,
    boardings: u8,
}

enum Step {
    Keying(StoreFuture<Option<Arc<str>>>),
    Waiting(Place, StoreFuture<Option<Landing>>),
    Checking(Place, StoreFuture<Lookup>, Option<Lead>, u8),
    /// Before the handler is asked for all instances.
    Claiming(StoreFuture<Claim>, Claimed, Box<Fill>),
    /// Another instance asks its handler.
    Yielding(Place, StoreFuture<()>, Option<Lead>),
    Done,
}

/// Where a step leads.
enum Next {
    Verdict(Verdict),
    Step(Step),
}

impl Ask {
    /// Begins; requests that are none of the cache's business get their plan at once.
    pub(crate) fn begin(mount: &Arc<Mount>, parts: &Parts) -> std::result::Result<Self, Plan> {
        if !mount.settings.enabled {
            return Err(Plan::Untouched);
        }
        let pass = |answered| Err(Plan::Pass(Arc::clone(mount), answered));
        match parts.method {
            Method::GET | Method::HEAD if policy::is_for_the_handler(&parts.headers) => {
                return pass(Answered::Bypassed("conditional"));
            }
            Method::OPTIONS | Method::TRACE => return pass(Answered::Method),
            _ => {}
        }
        let step = Step::Keying(mount.settings.sharing.partition(parts));
        Ok(Self { mount: Arc::clone(mount), cx: Cx::of(&parts.extensions), step, until: None, boardings: 0 })
    }

    pub(crate) fn poll(&mut self, cx: &mut Context<'_>, parts: &Parts) -> Poll<Verdict> {
        loop {
            let next = match &mut self.step {
                Step::Keying(partition) => {
                    let partition = ready!(Pin::new(partition).poll(cx));
                    self.keyed(partition.ok().flatten(), parts)
                }
                Step::Waiting(_, landing) => {
                    let landing = ready!(Pin::new(landing).poll(cx));
                    self.landed(landing.ok().flatten(), parts)
                }
                Step::Checking(_, lookup, ..) => {
                    let lookup = ready!(Pin::new(lookup).poll(cx));
                    self.checked(lookup, parts)
                }
                Step::Claiming(claim, ..) => {
                    let claim = ready!(Pin::new(claim).poll(cx));
                    self.claimed(claim)
                }
                Step::Yielding(_, told, _) => {
                    // Whatever it was, it is time to look again.
                    let _ = ready!(Pin::new(told).poll(cx));
                    self.look_again(parts)
                }
                Step::Done => unreachable!("polled again after the verdict"),
            };
            match next {
                Next::Verdict(verdict) => return Poll::Ready(verdict),
                Next::Step(step) => self.step = step,
            }
        }
    }

    fn keyed(&mut self, partition: Option<Arc<str>>, parts: &Parts) -> Next {
        let settings = &self.mount.settings;
        let is_anonymous = settings.sharing.is_private() && partition.is_none();
        let url = place::of_request(parts, &self.mount.cache.hosts, &settings.ignored).filter(|_| !is_anonymous);
        let place = url.map(|url| Place::new(settings.name, partition, url).fixed(settings.template));
        if !policy::is_safe(&parts.method) {
            let invalidate = Invalidate::new(&self.mount, &self.cx, place, Base::of(parts));
            return Next::Verdict(Verdict::Serve(Plan::Invalidate(Box::new(invalidate))));
        }
        match place {
            None => self.pass(Answered::Bypassed(if is_anonymous { "no-partition" } else { "host" })),
            // None of these can fill for others.
            Some(place)
                if parts.method == Method::HEAD
                    || parts.headers.contains_key(RANGE)
                    || policy::is_no_store(&parts.headers) =>
            {
                self.look(place, parts, None, 1)
            }
            Some(place) => match self.recall(&place, parts) {
                Some(verdict) => Next::Verdict(verdict),
                None => self.board(place, parts),
            },
        }
    }

    /// What this process has at hand and is fresh: its flight would end where it begins.
    fn recall(&self, place: &Place, parts: &Parts) -> Option<Verdict> {
        let store = &self.mount.cache.shared.store;
        let entry = store.recall(&self.cx, place, &parts.headers).filter(|entry| is_of(place, entry))?;
        let now = self.now();
        let is_fresh = self.reuse(&entry, now, parts) == Reuse::Fresh;
        is_fresh.then(|| Verdict::Answer { answered: hit(&entry, Reuse::Fresh, now), entry, now, refresh: None })
    }

    /// Leads, or waits for who does; alone where waiting was in vain before.
    fn board(&mut self, place: Place, parts: &Parts) -> Next {
        let shared = &self.mount.cache.shared;
        self.boardings += 1;
        let is_for_one = || parts.headers.contains_key(AUTHORIZATION) && shared.is_for_one(&place);
        if self.boardings > BOARDINGS || is_for_one() {
            return self.look(place, parts, None, 1);
        }
        match shared.flights.board(&place) {
            Boarding::Lead(lead) => self.look(place, parts, Some(lead), 1),
            Boarding::Wait(_) if shared.is_uncacheable(&place) => self.look(place, parts, None, 1),
            Boarding::Wait(passenger) => {
                let until = *self.until.get_or_insert_with(|| Instant::now() + PATIENCE);
                Next::Step(Step::Waiting(place, StoreFuture::boxed(async move { Ok(landed(passenger, until).await) })))
            }
        }
    }

    fn look(&self, place: Place, parts: &Parts, lead: Option<Lead>, times: u8) -> Next {
        let lookup = self.mount.cache.shared.store.lookup(&self.cx, &place, &parts.headers);
        Next::Step(Step::Checking(place, lookup, lead, times))
    }

    fn landed(&mut self, landing: Option<Landing>, parts: &Parts) -> Next {
        let Step::Waiting(place, _) = mem::replace(&mut self.step, Step::Done) else {
            unreachable!("only who waited is told of a landing")
        };
        match landing {
            None => self.pass(Answered::NotKept("collapse-timeout")),
            Some(Landing::Shared(entry, source)) => match self.share(&entry, source, parts) {
                Some((answered, now)) => Next::Verdict(Verdict::Answer { entry, answered, now, refresh: None }),
                // Another variant, or too old for this request.
                None => self.board(place, parts),
            },
            Some(Landing::Alone) => self.pass(Answered::NotKept("not-shareable")),
            Some(Landing::Unavailable) => self.pass(Answered::Unavailable),
            Some(Landing::Gone | Landing::Flying) => self.board(place, parts),
        }
    }

    /// Whether this request may have what another one got, and what it is then.
    fn share(&self, entry: &Entry, source: Source, parts: &Parts) -> Option<(Answered, Timestamp)> {
        let now = self.now();
        if !entry.matches(&parts.headers) {
            return None;
        }
        let answered = match (source, self.reuse(entry, now, parts)) {
            (Source::Rescue(answered), _) => answered,
            (_, Reuse::Refused) => return None,
            (Source::Handler, Reuse::Fresh) => Answered::Collapsed,
            (_, reuse) => hit(entry, reuse, now),
        };
        Some((answered, now))
    }

    fn checked(&mut self, lookup: Result<Lookup>, parts: &Parts) -> Next {
        let Step::Checking(place, _, lead, times) = mem::replace(&mut self.step, Step::Done) else {
            unreachable!("only who looked is told of a result")
        };
        let now = self.now();
        match lookup {
            Ok(Lookup::Found(entry, ticket)) if !is_of(&place, &entry) => self.miss(place, ticket, None, lead, parts),
            Ok(Lookup::Found(entry, ticket)) => match self.reuse(&entry, now, parts) {
                Reuse::Refused => self.miss(place, ticket, Some(entry), lead, parts),
                reuse => {
                    if let Some(lead) = lead {
                        lead.land(Landing::Shared(Arc::clone(&entry), Source::Store));
                    }
                    let refresh = self.refresh(place, ticket, &entry, reuse, parts);
                    Next::Verdict(Verdict::Answer { answered: hit(&entry, reuse, now), entry, now, refresh })
                }
            },
            Ok(Lookup::Again) if times < LOOKUPS => self.look(place, parts, lead, times + 1),
            Ok(Lookup::Miss(ticket)) => self.miss(place, ticket, None, lead, parts),
            // A store that cannot make up its mind is one that does not answer.
            Ok(Lookup::Again) | Err(_) => {
                if let Some(lead) = lead {
                    lead.land(Landing::Unavailable);
                }
                self.pass(Answered::Unavailable)
            }
        }
    }

    fn miss(&self, place: Place, ticket: Ticket, stale: Option<Arc<Entry>>, lead: Option<Lead>, parts: &Parts) -> Next {
        if policy::is_only_if_cached(self.mount.settings.policy, &parts.headers) {
            return Next::Verdict(Verdict::OnlyIfCached);
        }
        let is_stale = stale.is_some();
        let fill = Box::new(Fill { lead, ..self.fill(place, ticket, stale, parts) });
        match () {
            () if parts.method == Method::HEAD => self.beside(fill, is_stale, "head"),
            () if parts.headers.contains_key(RANGE) => self.beside(fill, is_stale, "range"),
            () => self.claim(fill),
        }
    }

    /// What cannot fill; if there is something stored it is there should the handler fail.
    fn beside(&self, fill: Box<Fill>, is_stale: bool, why: &'static str) -> Next {
        let answered = Answered::NotKept(why);
        if is_stale { Next::Verdict(Verdict::Serve(Plan::Beside(fill, answered))) } else { self.pass(answered) }
    }

    /// Who leads here asks for all instances; not where nobody would wait, or has waited long enough.
    fn claim(&self, fill: Box<Fill>) -> Next {
        let shared = &self.mount.cache.shared;
        let is_patient = self.until.is_none_or(|until| Instant::now() < until);
        if fill.lead.is_none() || !is_patient || shared.is_uncacheable(&fill.place) {
            return Next::Verdict(Verdict::Serve(Plan::Fill(fill)));
        }
        let (claimed, mut claim) = Claimed::ask(shared, &self.cx, &fill.place);
        match claim.take_ready() {
            Some(Ok(Claim::Unshared)) => {
                claimed.forget();
                Next::Verdict(Verdict::Serve(Plan::Fill(fill)))
            }
            Some(claim) => Next::Step(Step::Claiming(StoreFuture::ready(claim), claimed, fill)),
            None => Next::Step(Step::Claiming(claim, claimed, fill)),
        }
    }

    fn claimed(&mut self, claim: Result<Claim>) -> Next {
        let Step::Claiming(_, claimed, mut fill) = mem::replace(&mut self.step, Step::Done) else {
            unreachable!("only who asked is told of a claim")
        };
        match claim {
            Ok(Claim::Granted) => fill.claimed = Some(claimed),
            // What became of the claim is not known; nobody has to wait for it.
            Err(_) => drop(claimed),
            Ok(Claim::Unshared) => claimed.forget(),
            Ok(Claim::Taken(told)) => {
                claimed.forget();
                self.until.get_or_insert_with(|| Instant::now() + PATIENCE);
                return Next::Step(Step::Yielding(fill.place.clone(), told, fill.lead.take()));
            }
            Ok(Claim::Alone) => {
                claimed.forget();
                self.mount.cache.shared.mark(&fill.place, true);
                if let Some(lead) = fill.lead.take() {
                    lead.land(Landing::Alone);
                }
            }
        }
        Next::Verdict(Verdict::Serve(Plan::Fill(fill)))
    }

    fn look_again(&mut self, parts: &Parts) -> Next {
        let Step::Yielding(place, _, lead) = mem::replace(&mut self.step, Step::Done) else {
            unreachable!("only who yielded looks again")
        };
        self.look(place, parts, lead, 1)
    }

    fn fill(&self, place: Place, ticket: Ticket, stale: Option<Arc<Entry>>, parts: &Parts) -> Fill {
        Fill {
            mount: Arc::clone(&self.mount),
            cx: self.cx.clone(),
            place,
            ticket,
            stale,
            lead: None,
            claimed: None,
            refreshing: None,
            asked: Asked::of(&parts.headers, self.now()),
            method: parts.method.clone(),
            request: parts.headers.clone(),
        }
    }

    /// What is to be done about an entry that is served while it is refreshed, where nobody does it yet.
    fn refresh(
        &self,
        place: Place,
        ticket: Ticket,
        entry: &Arc<Entry>,
        reuse: Reuse,
        parts: &Parts,
    ) -> Option<Box<Fill>> {
        let can_fill = parts.method == Method::GET && !policy::is_no_store(&parts.headers);
        if reuse != Reuse::WhileRefreshed || !can_fill {
            return None;
        }
        let refreshing = Some(self.mount.cache.shared.refreshes.begin(&place, entry.variant)?);
        let fill = self.fill(place, ticket, Some(Arc::clone(entry)), parts);
        Some(Box::new(Fill { refreshing, cx: aftermath(&self.cx), ..fill }))
    }

    fn reuse(&self, entry: &Entry, now: Timestamp, parts: &Parts) -> Reuse {
        policy::reuse(self.mount.settings.policy, &parts.headers, entry.standing(now))
    }

    fn now(&self) -> Timestamp {
        self.mount.cache.shared.store.now(&self.cx)
    }

    fn pass(&self, answered: Answered) -> Next {
        if matches!(answered, Answered::Unavailable) {
            self.cx.note("cache", Detour::Skipped);
        }
        Next::Verdict(Verdict::Serve(Plan::Pass(Arc::clone(&self.mount), answered)))
    }
}

/// Under a fixed key another URL's response can lie.
fn is_of(place: &Place, entry: &Entry) -> bool {
    place.own_tag().is_none_or(|own| entry.tags.iter().any(|tag| tag == own.as_str()))
}

/// How an entry from the store answers.
fn hit(entry: &Entry, reuse: Reuse, now: Timestamp) -> Answered {
    match reuse {
        Reuse::WhileRefreshed | Reuse::Stale => Answered::HitStale { past: now.since(entry.fresh_until) },
        Reuse::Fresh | Reuse::Refused => Answered::Hit { left: entry.left(now) },
    }
}
