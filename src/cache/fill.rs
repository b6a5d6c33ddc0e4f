//! Everything after the handler: keep its response, or serve a stale one instead.

use std::sync::Arc;

use bytes::Bytes;
use http::{
    HeaderMap, HeaderValue, Method, Response, StatusCode,
    header::{CONTENT_LENGTH, VARY},
    request,
};
use http_body::Body;

use super::{
    CacheHint, CachePolicy, Entry, Place, Purge, ResponseBody, Stored, Tag, Tags, Ticket,
    answer::{Answer, complete_control},
    body::Tee,
    claimed::Claimed,
    flight::{Landing, Lead, Passengers, Source},
    handle::Mount,
    invalidate::Invalidate,
    kept::Keep,
    outcome::{Answered, Counters, WhyAsked},
    policy::{self, Asked, Refusal, Span, Terms},
    refresh::Refreshing,
    vary,
};
use crate::{Cx, Result, StoreFuture, background::Background, clock::Timestamp};

/// What becomes of the handler's response.
pub(crate) enum Plan {
    /// The layer is off.
    Untouched,
    Pass(Arc<Mount>, Answered),
    Fill(Box<Fill>),
    /// Passed, though something is stored: it cannot fill.
    Beside(Box<Fill>, Answered),
    Invalidate(Box<Invalidate>),
}

impl Plan {
    /// A fill asks for a whole response, or whether the stored one still holds; whether the client has it already is
    /// not the handler's question.
    pub(crate) fn prepare(&self, request: &mut request::Parts) {
        if let Self::Fill(fill) = self {
            policy::ask_about(fill.asked_about().map(|entry| &entry.headers), &mut request.headers);
            policy::ask_for_all(&mut request.headers);
        }
    }
}

impl Mount {
    /// Counts an answer and says it in the header.
    pub(crate) fn report(&self, answered: Answered, headers: &mut HeaderMap) {
        self.cache.shared.counters.add(self.settings.name, answered.outcome());
        answered.write(headers);
    }
}

/// What comes after the handler has a deadline of its own: the request's budget may be spent.
pub(crate) fn aftermath(cx: &Cx) -> Cx {
    cx.now().map_or_else(Cx::new, |now| Cx::new().at(now))
}

/// A miss that the handler is asked about.
pub(crate) struct Fill {
    pub(crate) mount: Arc<Mount>,
    pub(crate) cx: Cx,
    pub(crate) place: Place,
    pub(crate) ticket: Ticket,
    pub(crate) stale: Option<Arc<Entry>>,
    pub(crate) lead: Option<Lead>,
    /// The right to fill for all instances.
    pub(crate) claimed: Option<Claimed>,
    /// The client has its answer already.
    pub(crate) refreshing: Option<Refreshing>,
    pub(crate) asked: Asked,
    pub(crate) method: Method,
    pub(crate) request: HeaderMap,
}

/// What of an entry is the response's own.
pub(super) struct Parts {
    pub(super) status: StatusCode,
    pub(super) headers: HeaderMap,
    pub(super) tags: Tags,
}

/// More tags than this on one response are a mistake: it would be checked against all of them on every hit.
pub(super) const MAX_TAGS: usize = 64;
/// Those of the cache, of the partition and of a fixed place come beside them.
pub(super) const OWN_TAGS: usize = 3;

impl Fill {
    /// The stale response that stands in for a failed handler, if it may; those who wait get it too.
    ///
    /// A handler that `is_gone` has given no response at all: a cache without it may serve whatever is not forbidden
    /// (RFC 9111, 4.2.4).
    pub(crate) fn rescue<B>(&mut self, is_gone: bool) -> Option<Response<ResponseBody<B>>> {
        let now = self.now();
        let is_rfc = self.mount.settings.policy == CachePolicy::rfc();
        let rescue = |entry: Arc<Entry>| match () {
            () if now < entry.stale_until => Some((entry, Answered::Stale)),
            () if is_gone && is_rfc && entry.standing(now).may_be_stale => Some((entry, Answered::Disconnected)),
            () => None,
        };
        let Some((entry, answered)) = self.stale.take().and_then(rescue) else {
            self.give_up(false);
            return None;
        };
        if let Some(lead) = self.lead.take() {
            lead.land(Landing::Shared(Arc::clone(&entry), Source::Rescue(answered)));
        }
        let answer = Answer { entry: &entry, settings: &self.mount.settings, answered, now };
        self.mount.cache.shared.counters.add(self.mount.settings.name, answered.outcome());
        Some(answer.to(&self.method, &self.request).map(ResponseBody::full))
    }

    /// The handler's response on its way: teed where it may be kept.
    pub(crate) fn respond<B: Body<Data = Bytes>>(
        mut self: Box<Self>,
        response: Response<B>,
    ) -> Response<ResponseBody<B>> {
        if response.status() == StatusCode::NOT_MODIFIED && self.asked_about().is_some() {
            return self.validated(response);
        }
        let rescued = if response.status().is_server_error() { self.rescue(false) } else { None };
        if let Some(stale) = rescued {
            return stale;
        }
        let (mut parts, body) = response.into_parts();
        let hint: CacheHint = parts.extensions.remove().unwrap_or_default();
        self.announce_vary(&mut parts.headers);
        let now = self.now();
        let decided = self.decide(&hint, parts.status, &parts.headers, now, &body);
        let span = decided.unwrap_or_default();
        let kept = policy::stored_headers(&parts.headers);
        complete_control(&mut parts.headers, &self.mount.settings, span.initial_age, span.fresh_for);
        let why_asked = self.why_asked();
        let answered = match decided {
            Err(why) => Answered::Refused { why, why_asked },
            Ok(_) => Answered::Kept { why_asked },
        };
        self.count(answered);
        answered.write(&mut parts.headers);
        let body = match decided {
            Err(why) => {
                self.refuse(parts.status, why);
                ResponseBody::inner(body)
            }
            Ok(span) => {
                let declared = declared_length(&parts.headers, &body).ok().flatten();
                let keep = self.keep(parts.status, kept, span, now, &hint);
                ResponseBody::teed(body, Tee::new(Box::new(keep), declared))
            }
        };
        Response::from_parts(parts, body)
    }

    /// The stored response that the handler is asked about: the same before and after it, however long it takes.
    fn asked_about(&self) -> Option<&Entry> {
        self.stale.as_deref().filter(|entry| entry.can_be_validated(self.asked.at))
    }

    pub(super) fn why_asked(&self) -> WhyAsked {
        match &self.stale {
            None => WhyAsked::Miss,
            Some(entry) if entry.is_fresh(self.now()) => WhyAsked::Request,
            Some(_) => WhyAsked::Stale,
        }
    }

    pub(super) fn entry_of(
        &self,
        Parts { status, headers, tags }: Parts,
        body: Bytes,
        span: Span,
        stored: Timestamp,
    ) -> Entry {
        let names = vary::names_of(&headers).unwrap_or_default();
        let fresh_until = stored + span.fresh_for - span.past;
        let (stale_until, refresh_until) = (fresh_until + span.stale_for, fresh_until + span.refresh_for);
        Entry {
            status,
            variant: vary::select(&names, &self.request),
            headers,
            body,
            stored,
            initial_age: span.initial_age,
            fresh_until,
            stale_until,
            refresh_until,
            kept_until: stale_until.max(refresh_until).max(stored + span.fresh_for + span.kept_for),
            may_be_stale: span.may_be_stale,
            has_validator: span.has_validator,
            tags,
            stamp: self.ticket.stamp,
        }
    }

    /// Hands the entry to the store, and to those who wait.
    ///
    /// Where other instances purge too, the store alone knows whether one did since: those who wait are told after it.
    pub(super) fn store(mut self: Box<Self>, entry: Arc<Entry>) {
        let claimed = self.claimed.take();
        self.ticket.claim = claimed.as_ref().map(Claimed::token);
        let shared = &self.mount.cache.shared;
        let mut storing = shared.store.store(&aftermath(&self.cx), &self.place, &self.ticket, Arc::clone(&entry));
        let stored = storing.take_ready();
        // Where each request has to ask, none waits for another, and none is served what another has asked about.
        let is_for_others = entry.is_fresh(entry.stored);
        shared.mark(&self.place, !is_for_others);
        let lead = self.lead.take().filter(|_| is_for_others);
        if matches!(stored, Some(Ok(Stored::Refused))) {
            return;
        }
        let mut waiting = lead.map(|lead| Waiting { passengers: lead.close(), entry });
        if claimed.map(Claimed::forget).is_none() {
            // No other instance fills, so none is known that purges.
            waiting.take().into_iter().for_each(|waiting| waiting.tell(&Ok(Stored::Kept)));
        }
        match stored {
            None => complete(&shared.background, storing, self.refreshing.take(), waiting),
            Some(stored) => waiting.into_iter().for_each(|waiting| waiting.tell(&stored)),
        }
    }

    pub(super) fn decide<B: Body>(
        &self,
        hint: &CacheHint,
        status: StatusCode,
        headers: &HeaderMap,
        now: Timestamp,
        body: &B,
    ) -> Result<Span, Refusal> {
        let settings = &self.mount.settings;
        let terms = Terms {
            policy: settings.policy,
            is_private: settings.sharing.is_private(),
            ttl: settings.ttl,
            also: &settings.also,
            stale_if_error: settings.stale_if_error,
            stale_while_revalidate: settings.stale_while_revalidate,
            hint_ttl: hint.ttl,
        };
        if hint.no_store || hint.tags.len() + settings.tags.len() > MAX_TAGS {
            return Err(Refusal::NoStore);
        }
        let most = u64::try_from(settings.max_body).unwrap_or(u64::MAX);
        if declared_length(headers, body)?.is_some_and(|length| length > most) || body.size_hint().lower() > most {
            return Err(Refusal::TooLarge);
        }
        // Under a fixed key there is room for one.
        if vary::names_of(headers).is_none_or(|names| !names.is_empty() && self.place.template().is_some()) {
            return Err(Refusal::VaryAny);
        }
        policy::decide(&terms, self.asked, status, headers, now)
    }

    /// Nobody waits for what cannot be kept, now and for a while.
    pub(super) fn refuse(mut self: Box<Self>, status: StatusCode, why: Refusal) {
        // What was answered to one client about itself leaves what is stored in its place.
        let is_about_all = !matches!(why, Refusal::Status | Refusal::SetCookie | Refusal::Authorization);
        let is_final = status.is_success() || status.is_redirection() || matches!(status.as_u16(), 404 | 410);
        if self.refreshing.is_some() {
            if is_about_all && is_final {
                self.give_up(true);
            }
        } else if why == Refusal::Authorization {
            self.step_aside();
        } else {
            self.give_up(!status.is_server_error());
        }
    }

    /// A client's `Authorization` says nothing about the URL: one without it leads in its place.
    fn step_aside(&mut self) {
        drop(self.claimed.take());
        if let Some(lead) = self.lead.take() {
            self.mount.cache.shared.mark_for_one(&self.place);
            lead.land(Landing::Gone);
        }
    }

    /// Only who leads marks a URL: a client's own `no-store` says nothing about it. A refresh that ended for good ends
    /// also what it was to renew.
    pub(super) fn give_up(&mut self, is_lasting: bool) {
        if is_lasting && self.refreshing.is_some() {
            let shared = &self.mount.cache.shared;
            // Dropped or not, a purge counts.
            drop(shared.store.purge(&aftermath(&self.cx), Purge::Places(vec![self.place.clone()])));
        }
        let claimed = self.claimed.take();
        if let Some(lead) = self.lead.take() {
            if is_lasting {
                self.mount.cache.shared.mark(&self.place, true);
                if let Some(claimed) = claimed {
                    claimed.alone();
                }
            }
            lead.land(Landing::Alone);
        }
    }

    fn keep(
        self: Box<Self>,
        status: StatusCode,
        mut headers: HeaderMap,
        span: Span,
        now: Timestamp,
        hint: &CacheHint,
    ) -> Keep {
        policy::complete_date(&mut headers, now);
        let settings = &self.mount.settings;
        let own = [Tag::of_name(settings.name)].into_iter();
        let own = own.chain(self.place.partition().map(|partition| Tag::of_partition(settings.name, partition)));
        let own: Vec<Tag> = own.chain(self.place.own_tag()).collect();
        let tags = Tags::new(own.iter().chain(&settings.tags).chain(&hint.tags));
        Keep { fill: self, status, headers, span, stored: now, tags }
    }

    pub(super) fn count(&self, answered: Answered) {
        let name = self.mount.settings.name;
        match self.refreshing {
            None => self.mount.cache.shared.counters.add(name, answered.outcome()),
            Some(_) => Counters::add_refresh(name, answered.outcome()),
        }
    }

    /// What the layer chooses by, beside what the handler says.
    pub(super) fn announce_vary(&self, headers: &mut HeaderMap) {
        for name in &self.mount.settings.vary_on {
            headers.append(VARY, HeaderValue::from_name(name.clone()));
        }
    }

    pub(super) fn now(&self) -> Timestamp {
        self.mount.cache.shared.store.now(&self.cx)
    }
}

/// Who waits for an entry that is on its way to the store.
struct Waiting {
    passengers: Passengers,
    entry: Arc<Entry>,
}

impl Waiting {
    /// What the store could not keep may be purged, and each request that comes later asks the handler as well.
    fn tell(self, stored: &Result<Stored>) {
        self.passengers.land(match stored {
            Ok(Stored::Kept) => Landing::Shared(self.entry, Source::Handler),
            Ok(Stored::Refused) => Landing::Gone,
            Err(_) => Landing::Unavailable,
        });
    }
}

/// Sees the storing through: the body is about to be dropped, and a command whose caller is gone may not be sent. Where
/// too much waits already, the entry is not kept. A refresh lasts until then.
fn complete(
    background: &Background,
    storing: StoreFuture<Stored>,
    refreshing: Option<Refreshing>,
    waiting: Option<Waiting>,
) {
    background.push(async move {
        let stored = storing.await;
        if let Err(error) = &stored {
            tracing::debug!(%error, "a response was not kept");
        }
        waiting.into_iter().for_each(|waiting| waiting.tell(&stored));
        drop(refreshing);
    });
}

/// How long the body says it is: by its field, else by what it knows of itself.
///
/// What is no number, and what is told twice, is no length (RFC 9110, 8.6): it would leave with each hit.
fn declared_length<B: Body>(headers: &HeaderMap, body: &B) -> Result<Option<u64>, Refusal> {
    let mut lines = headers.get_all(CONTENT_LENGTH).iter();
    let Some(told) = lines.next() else { return Ok(body.size_hint().exact()) };
    let digits = told.to_str().ok().filter(|told| told.bytes().all(|byte| byte.is_ascii_digit()));
    let length = digits.and_then(|digits| digits.parse().ok()).filter(|_| lines.next().is_none());
    length.map(Some).ok_or(Refusal::Length)
}
