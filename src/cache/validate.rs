//! What the handler said still holds (RFC 9111, 4.3.4).

use std::sync::Arc;

use http::{
    Response,
    header::{AGE, VARY},
};
use http_body_util::Full;

use super::{
    CacheHint, ResponseBody,
    answer::Answer,
    fill::{Fill, MAX_TAGS, OWN_TAGS, Parts},
    outcome::Answered,
    policy::{self, Refusal},
};
impl Fill {
    /// The stored response still holds: it is kept with the fields of the 304, and answers (RFC 9111, 4.3.4).
    ///
    /// One tag was asked about, so the answer is about its response, whatever tag the 304 has itself.
    pub(super) fn validated<B>(mut self: Box<Self>, response: Response<B>) -> Response<ResponseBody<B>> {
        let why_asked = self.why_asked();
        let stale = self.stale.take().expect("asked about");
        let (mut parts, _) = response.into_parts();
        let hint: CacheHint = parts.extensions.remove().unwrap_or_default();
        let now = self.now();
        policy::complete_date(&mut parts.headers, now);
        // Its own `Vary` takes the place of the stored one, in which what the layer chooses by stands already.
        if parts.headers.contains_key(VARY) {
            self.announce_vary(&mut parts.headers);
        }
        let mut headers = policy::freshened(&stale.headers, &policy::stored_headers(&parts.headers));
        let told_age = parts.headers.get(AGE).cloned();
        told_age.into_iter().for_each(|age| drop(headers.insert(AGE, age)));
        let tags = stale.tags.and(&hint.tags);
        let decided = match self.decide(&hint, stale.status, &headers, now, &Full::new(stale.body.clone())) {
            Ok(_) if tags.iter().count() > MAX_TAGS + OWN_TAGS => Err(Refusal::NoStore),
            decided => decided,
        };
        headers.remove(AGE);
        let own = Parts { status: stale.status, headers, tags };
        let entry = Arc::new(self.entry_of(own, stale.body.clone(), decided.unwrap_or_default(), now));
        let answered = Answered::Validated { why_asked, is_kept: decided.is_ok() };
        self.count(answered);
        let answer = Answer { entry: &entry, settings: &self.mount.settings, answered, now };
        let response = answer.to(&self.method, &self.request).map(ResponseBody::full);
        match decided {
            Ok(_) => self.store(entry),
            Err(why) => self.refuse(entry.status, why),
        }
        response
    }
}
