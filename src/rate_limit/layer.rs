//! The layer and its settings.

use std::{fmt, sync::Arc};

use bytes::Bytes;
use http::{HeaderValue, Response, header::CONTENT_TYPE, request, response};
use tower_layer::Layer;

use super::headers::policy_field;
use super::{Decision, Denied, LimitHeaders, Policies, RateLimitService, RateLimits};
use crate::Key;

/// Holds requests to policies. Made by [`RateLimits::layer`] and [`RateLimits::layer_with`].
///
/// 1. Defaults: by client IP, a request costs 1, draft headers, refused with 429; gRPC calls with `grpc-status: 8`.
/// 2. Layers around it see refusals too: mount tracing and CORS outside of it.
/// 3. A key that needs the user (`Key::user()`) must have the session layer, or what else knows the user, outside of it.
///
/// The wrong use: `.by(Key::header(..))` with a header that clients write themselves. Each request can be a new client.
#[derive(Clone)]
pub struct RateLimitLayer {
    pub(super) settings: Settings,
}

/// What a layer was told, shared by all clones of its service.
#[derive(Clone)]
pub(super) struct Settings {
    pub(super) limits: RateLimits,
    pub(super) choice: Choice,
    pub(super) key: Key,
    pub(super) cost: Option<Cost>,
    pub(super) skip: Option<Skip>,
    pub(super) refund_if: Option<RefundIf>,
    pub(super) deny_with: Option<DenyWith>,
    pub(super) headers: LimitHeaders,
    pub(super) is_shadow: bool,
    pub(super) is_enabled: bool,
}

/// Which policies hold for a request.
#[derive(Clone)]
pub(super) enum Choice {
    /// The same for all requests, with their ready field.
    Fixed(Policies, HeaderValue),
    Each(Choose),
}

pub(super) type Choose = Arc<dyn Fn(&request::Parts) -> Policies + Send + Sync>;
type Cost = Arc<dyn Fn(&request::Parts) -> u32 + Send + Sync>;
type Skip = Arc<dyn Fn(&request::Parts) -> bool + Send + Sync>;
type RefundIf = Arc<dyn Fn(&response::Parts) -> bool + Send + Sync>;
type DenyWith = Arc<dyn Fn(&Denied, &request::Parts) -> Response<Bytes> + Send + Sync>;

impl RateLimitLayer {
    pub(super) fn fixed(limits: RateLimits, policies: Policies) -> Self {
        let field = policy_field(policies.iter());
        Self::new(limits, Choice::Fixed(policies, field))
    }

    pub(super) fn chosen(limits: RateLimits, choose: Choose) -> Self {
        Self::new(limits, Choice::Each(choose))
    }

    fn new(limits: RateLimits, choice: Choice) -> Self {
        Self {
            settings: Settings {
                limits,
                choice,
                key: Key::client_ip(),
                cost: None,
                skip: None,
                refund_if: None,
                deny_with: None,
                headers: LimitHeaders::default(),
                is_shadow: false,
                is_enabled: true,
            },
        }
    }

    /// Counts by `key`. Defaults to [`Key::client_ip`].
    ///
    /// Requests for which it finds nothing share one bucket, and a warning says so.
    #[must_use]
    pub fn by(mut self, key: Key) -> Self {
        self.settings.key = key;
        self
    }

    /// What a request costs. Defaults to 1; 0 passes uncounted.
    #[must_use]
    pub fn cost(mut self, cost: impl Fn(&request::Parts) -> u32 + Send + Sync + 'static) -> Self {
        self.settings.cost = Some(Arc::new(cost));
        self
    }

    /// Lets requests pass uncounted for which `skip` is true. Defaults to none.
    #[must_use]
    pub fn skip(mut self, skip: impl Fn(&request::Parts) -> bool + Send + Sync + 'static) -> Self {
        self.settings.skip = Some(Arc::new(skip));
        self
    }

    /// Gives back what a request was charged if its response is one of these. Defaults to none.
    ///
    /// Charged before and given back after, so parallel guesses of a password cannot race past the limit.
    #[must_use]
    pub fn refund_if(mut self, refund: impl Fn(&response::Parts) -> bool + Send + Sync + 'static) -> Self {
        self.settings.refund_if = Some(Arc::new(refund));
        self
    }

    /// Counts and reports (`shadowed`) but lets all requests pass: to try a limit out. Defaults to off.
    #[must_use]
    pub fn shadow(mut self) -> Self {
        self.settings.is_shadow = true;
        self
    }

    /// Which fields responses carry. Defaults to [`LimitHeaders::Draft`].
    #[must_use]
    pub fn headers(mut self, style: LimitHeaders) -> Self {
        self.settings.headers = style;
        self
    }

    /// Makes the response of a refusal. Defaults to [`Denied::to_response`] with the fields of the chosen style.
    #[must_use]
    pub fn deny_with(
        mut self,
        respond: impl Fn(&Denied, &request::Parts) -> Response<Bytes> + Send + Sync + 'static,
    ) -> Self {
        self.settings.deny_with = Some(Arc::new(respond));
        self
    }

    /// Whether the layer does anything; the types stay the same. Defaults to true.
    #[must_use]
    pub fn enabled(mut self, is_enabled: bool) -> Self {
        self.settings.is_enabled = is_enabled;
        self
    }
}

impl Settings {
    /// Whether the request passes without being counted.
    pub(super) fn passes(&self, parts: &request::Parts) -> bool {
        !self.is_enabled || self.skip.as_ref().is_some_and(|skip| skip(parts))
    }

    pub(super) fn policies(&self, parts: &request::Parts) -> Policies {
        match &self.choice {
            Choice::Fixed(policies, _) => policies.clone(),
            Choice::Each(choose) => self.limits.resolve(choose(parts)),
        }
    }

    /// The ready field, unless some of the policies were charged by an outer layer.
    pub(super) fn policy_field(&self, decisions: &[Decision]) -> Option<&HeaderValue> {
        match &self.choice {
            Choice::Fixed(policies, field) if policies.len() == decisions.len() => Some(field),
            _ => None,
        }
    }

    pub(super) fn cost(&self, parts: &request::Parts) -> u32 {
        self.cost.as_ref().map_or(1, |cost| cost(parts))
    }

    pub(super) fn refuse(&self, denied: &Denied, parts: &request::Parts) -> Response<Bytes> {
        match &self.deny_with {
            Some(respond) => respond(denied, parts),
            None if is_grpc(parts) => denied.to_grpc_response_with(self.headers),
            None => denied.to_response_with(self.headers),
        }
    }
}

/// `application/grpc`, also with a format or parameters; gRPC-Web is another protocol.
fn is_grpc(parts: &request::Parts) -> bool {
    let kind = parts.headers.get(CONTENT_TYPE).map_or(&b""[..], HeaderValue::as_bytes);
    match kind.strip_prefix(b"application/grpc") {
        Some(rest) => matches!(rest.first(), None | Some(b'+' | b';')),
        None => false,
    }
}

impl<S> Layer<S> for RateLimitLayer {
    type Service = RateLimitService<S>;
    fn layer(&self, inner: S) -> RateLimitService<S> {
        RateLimitService::new(inner, Arc::new(self.settings.clone()))
    }
}

impl fmt::Debug for RateLimitLayer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.settings.fmt(f)
    }
}

impl fmt::Debug for Settings {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut out = f.debug_struct("RateLimit");
        match &self.choice {
            Choice::Fixed(policies, _) => out.field("policies", policies),
            Choice::Each(_) => out.field("policies", &"by request"),
        };
        out.field("by", &self.key).field("headers", &self.headers);
        out.field("shadow", &self.is_shadow).field("enabled", &self.is_enabled).finish_non_exhaustive()
    }
}
