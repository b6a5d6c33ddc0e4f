//! The fields that tell a client how it stands.

use bytes::Bytes;
use http::{HeaderMap, HeaderName, HeaderValue};

use super::{Decision, Policy, quota::tightest};
use crate::error::whole_seconds;

/// Which fields responses carry. `Retry-After` is on every refusal that waiting helps, in any style.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub enum LimitHeaders {
    /// `RateLimit-Policy: "general";q=100;w=60` and `RateLimit: "general";r=12;t=7`
    /// (draft-ietf-httpapi-ratelimit-headers): `r` requests remain, in `t` seconds there are more. Of a bucket `q` is what fits,
    /// [`Policy::capacity`], and `w` how long it takes to fill. Concurrency is
    /// `"uploads";q=3;qu="concurrent-requests"` and `"uploads";r=2`.
    #[default]
    Draft,
    /// `X-RateLimit-Limit`, `X-RateLimit-Remaining` and `X-RateLimit-Reset` (seconds), of the policy with least left. The
    /// limit is `q`.
    XRateLimit,
    /// None of these.
    RetryAfterOnly,
}

const POLICY: HeaderName = HeaderName::from_static("ratelimit-policy");
const LIMIT: HeaderName = HeaderName::from_static("ratelimit");
const X_LIMIT: HeaderName = HeaderName::from_static("x-ratelimit-limit");
const X_REMAINING: HeaderName = HeaderName::from_static("x-ratelimit-remaining");
const X_RESET: HeaderName = HeaderName::from_static("x-ratelimit-reset");

/// Writes the fields beside those that an inner layer wrote; `policies` is their ready [`policy_field`], if there is one.
pub(super) fn write(
    headers: &mut HeaderMap,
    style: LimitHeaders,
    decisions: &[Decision],
    policies: Option<&HeaderValue>,
) {
    match style {
        LimitHeaders::Draft => write_draft(headers, decisions, policies),
        LimitHeaders::XRateLimit => write_x(headers, decisions),
        LimitHeaders::RetryAfterOnly => {}
    }
}

/// Both are lists (RFC 9651), which may stand on several lines: each layer appends its own.
fn write_draft(headers: &mut HeaderMap, decisions: &[Decision], policies: Option<&HeaderValue>) {
    let counted = || decisions.iter().filter(|decision| decision.counts());
    if counted().next().is_none() {
        return;
    }
    let ready = policies.filter(|_| counted().count() == decisions.len()).cloned();
    headers.append(POLICY, ready.unwrap_or_else(|| policy_field(counted().map(Decision::policy))));
    headers.append(LIMIT, list(counted().map(Item::Standing)));
}

/// The value of `RateLimit-Policy`, the same for all requests under the same policies.
pub(super) fn policy_field<'p>(policies: impl Iterator<Item = &'p Policy> + Clone) -> HeaderValue {
    list(policies.map(Item::Policy))
}

/// One member of a list: a policy's name and its parameters.
enum Item<'a> {
    Policy(&'a Policy),
    Standing(&'a Decision),
}

impl Item<'_> {
    fn write(&self, text: &mut impl Write) {
        match self {
            Self::Policy(policy) => {
                name(text, policy);
                parameter(text, b";q=", u64::from(policy.capacity()));
                if policy.is_concurrency() {
                    text.write(b";qu=\"concurrent-requests\"");
                } else {
                    parameter(text, b";w=", whole_seconds(policy.refill()));
                }
            }
            Self::Standing(decision) => {
                name(text, decision.policy());
                parameter(text, b";r=", u64::from(decision.remaining()));
                // Nobody knows when a slot is free.
                if !decision.policy().is_concurrency() {
                    parameter(text, b";t=", seconds(decision));
                }
            }
        }
    }
}

fn name(text: &mut impl Write, policy: &Policy) {
    text.write(b"\"");
    text.write(policy.name().as_bytes());
    text.write(b"\"");
}

fn parameter(text: &mut impl Write, name: &[u8], number: u64) {
    text.write(name);
    text.write(itoa::Buffer::new().format(number).as_bytes());
}

trait Write {
    fn write(&mut self, text: &[u8]);
}

/// Counts what is written.
struct Length(usize);

impl Write for Length {
    fn write(&mut self, text: &[u8]) {
        self.0 += text.len();
    }
}

impl Write for Vec<u8> {
    fn write(&mut self, text: &[u8]) {
        self.extend_from_slice(text);
    }
}

/// Written twice, because a value of exactly its capacity needs no second allocation.
fn list<'a>(items: impl Iterator<Item = Item<'a>> + Clone) -> HeaderValue {
    let mut length = Length(0);
    write_list(&mut length, items.clone());
    let mut text = Vec::with_capacity(length.0);
    write_list(&mut text, items);
    HeaderValue::from_maybe_shared(Bytes::from(text)).expect("names, digits and punctuation are visible ASCII")
}

fn write_list<'a>(text: &mut impl Write, items: impl Iterator<Item = Item<'a>>) {
    for (n, item) in items.enumerate() {
        if n > 0 {
            text.write(b", ");
        }
        item.write(text);
    }
}

/// One policy only: an inner layer's figures stay where it has less left.
fn write_x(headers: &mut HeaderMap, decisions: &[Decision]) {
    let Some(decision) = tightest(decisions) else { return };
    let inner = headers.get(X_REMAINING).and_then(|value| value.to_str().ok()?.parse::<u32>().ok());
    if inner.is_some_and(|inner| inner <= decision.remaining()) {
        return;
    }
    headers.insert(X_LIMIT, HeaderValue::from(decision.policy().capacity()));
    headers.insert(X_REMAINING, HeaderValue::from(decision.remaining()));
    if decision.policy().is_concurrency() {
        headers.remove(X_RESET);
    } else {
        headers.insert(X_RESET, HeaderValue::from(seconds(decision)));
    }
}

/// Until more remains, rounded up; 0 when all is there.
fn seconds(decision: &Decision) -> u64 {
    let after = decision.reset_after();
    if after.is_zero() { 0 } else { whole_seconds(after) }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use proptest::prelude::*;

    use super::{super::Outcome, super::Policy, *};
    use crate::clock::minutes;

    fn decision(name: &'static str, remaining: u32) -> Decision {
        let policy = Policy::sliding_window(name, 100, minutes(1));
        let decision = Decision::new(policy, Outcome::Admitted).with_remaining(remaining);
        decision.with_reset_after(Duration::from_millis(6_001))
    }

    #[test]
    fn the_draft_lists_all_policies() {
        let mut headers = HeaderMap::new();
        write(&mut headers, LimitHeaders::Draft, &[decision("general", 12), decision("search", 3)], None);
        assert_eq!(headers["ratelimit-policy"], "\"general\";q=100;w=60, \"search\";q=100;w=60");
        assert_eq!(headers["ratelimit"], "\"general\";r=12;t=7, \"search\";r=3;t=7");
    }

    #[test]
    fn concurrency_has_a_unit_and_no_time() {
        let policy = Policy::concurrency("uploads", 3);
        let decision = Decision::new(policy, Outcome::Admitted).with_remaining(2);
        let mut headers = HeaderMap::new();
        write(&mut headers, LimitHeaders::Draft, std::slice::from_ref(&decision), None);
        assert_eq!(headers["ratelimit-policy"], "\"uploads\";q=3;qu=\"concurrent-requests\"");
        assert_eq!(headers["ratelimit"], "\"uploads\";r=2");
        write(&mut headers, LimitHeaders::XRateLimit, &[decision], None);
        assert!(headers["x-ratelimit-remaining"] == "2" && !headers.contains_key("x-ratelimit-reset"));
    }

    #[test]
    fn x_fields_show_the_least_of_all_layers() {
        let mut headers = HeaderMap::new();
        write(&mut headers, LimitHeaders::XRateLimit, &[decision("general", 12), decision("search", 3)], None);
        write(&mut headers, LimitHeaders::XRateLimit, &[decision("outer", 50)], None);
        assert_eq!(
            (&headers["x-ratelimit-remaining"], &headers["x-ratelimit-reset"]),
            (&"3".parse().expect("value"), &"7".parse().expect("value"))
        );
    }

    fn policies() -> impl Strategy<Value = Policy> {
        let (limit, per) = (1u32..10_000, 1u64..60_000);
        prop_oneof![
            (limit.clone(), per.clone()).prop_map(|(limit, per)| Policy::sliding_window(
                "p",
                limit,
                Duration::from_millis(per)
            )),
            (limit.clone(), 1u32..10_000, per).prop_map(|(limit, burst, per)| {
                Policy::token_bucket("p", limit, Duration::from_millis(per)).burst(burst)
            }),
            limit.prop_map(|limit| Policy::concurrency("p", limit)),
        ]
    }

    proptest! {
        /// Clients take one from the other.
        #[test]
        fn no_more_remains_than_the_limit_that_is_told(policy in policies(), share in 0u32..=100) {
            let remaining = u32::try_from(u64::from(policy.capacity()) * u64::from(share) / 100).expect("below it");
            let decision = Decision::new(policy, Outcome::Admitted).with_remaining(remaining);
            let mut headers = HeaderMap::new();
            write(&mut headers, LimitHeaders::XRateLimit, std::slice::from_ref(&decision), None);
            write(&mut headers, LimitHeaders::Draft, &[decision], None);
            let number = |name: &str, before: &str| -> u32 {
                let text = headers[name].to_str().expect("ascii");
                let text = text.split_once(before).expect("there").1;
                text.split(';').next().expect("one at least").parse().expect("a number")
            };
            let (quota, remaining) = (number("ratelimit-policy", ";q="), number("ratelimit", ";r="));
            prop_assert!(remaining <= quota, "{headers:?}");
            prop_assert!(number("x-ratelimit-remaining", "") <= number("x-ratelimit-limit", ""), "{headers:?}");
        }
    }

    #[test]
    fn a_bucket_tells_what_fits_and_how_long_it_takes_to_fill() {
        let told = |policy: Policy| policy_field([policy].iter());
        assert_eq!(told(Policy::token_bucket("all", 1, Duration::from_secs(2)).burst(5)), "\"all\";q=5;w=10");
        assert_eq!(told(Policy::token_bucket("ai", 20, minutes(1)).burst(5)), "\"ai\";q=5;w=15");
        assert_eq!(told(Policy::token_bucket("even", 20, minutes(1))), "\"even\";q=20;w=60");
        assert_eq!(told(Policy::token_bucket("fast", 1_000, Duration::from_secs(1)).burst(1)), "\"fast\";q=1;w=1");
    }

    #[test]
    fn nothing_is_said_of_policies_that_nobody_counts() {
        let mut headers = HeaderMap::new();
        let skipped = Decision::new(*decision("general", 1).policy(), Outcome::Skipped);
        write(&mut headers, LimitHeaders::Draft, &[skipped], None);
        assert!(headers.is_empty());
    }
}
