//! What one mounted cache does.

use std::{fmt, sync::Arc, time::Duration};

use http::{HeaderName, StatusCode, request::Parts};

use super::{CachePolicy, Tag};
use crate::{Identity, Key, Principal, StoreFuture};

/// Who shares a stored response.
#[derive(Clone)]
pub(crate) enum Sharing {
    Everybody,
    PerUser,
    Per(Key),
}

impl Sharing {
    pub(crate) fn is_private(&self) -> bool {
        !matches!(self, Self::Everybody)
    }

    /// The partition of this request; `None` for requests that have none and so are not cached.
    pub(crate) fn partition(&self, parts: &Parts) -> StoreFuture<Option<Arc<str>>> {
        match self {
            // Nobody asks: a public cache has no partition.
            Self::Everybody => StoreFuture::ok(None),
            Self::PerUser => map(Principal::of(&parts.extensions).resolve(), |identity| match identity {
                Identity::Known(user) => Some(user.as_str().into()),
                Identity::Anonymous | Identity::Unavailable => None,
            }),
            Self::Per(key) => map(key.resolve(parts), |value| value.map(|value| value.as_str().into())),
        }
    }
}

/// Waits only for what is not known yet. Who cannot be proven now has no partition.
fn map<T: Send + 'static, U: Send + 'static>(
    mut asked: StoreFuture<T>,
    of: impl FnOnce(T) -> Option<U> + Send + 'static,
) -> StoreFuture<Option<U>> {
    match asked.take_ready() {
        Some(answer) => StoreFuture::ok(answer.ok().and_then(of)),
        None => StoreFuture::boxed(async move { Ok(asked.await.ok().and_then(of)) }),
    }
}

impl fmt::Debug for Sharing {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Everybody => f.write_str("public"),
            Self::PerUser => f.write_str("per_user"),
            Self::Per(key) => write!(f, "per({key:?})"),
        }
    }
}

/// A layer's settings; `Debug` is also how two caches of one name are told apart.
#[derive(Clone, Debug)]
pub(crate) struct Settings {
    pub(crate) name: &'static str,
    pub(crate) sharing: Sharing,
    pub(crate) ttl: Option<Duration>,
    pub(crate) client_ttl: Option<Duration>,
    pub(crate) stale_if_error: Option<Duration>,
    pub(crate) stale_while_revalidate: Option<Duration>,
    pub(crate) also: Vec<(StatusCode, Duration)>,
    pub(crate) tags: Vec<Tag>,
    pub(crate) vary_on: Vec<HeaderName>,
    pub(crate) ignored: Vec<Box<str>>,
    pub(crate) max_body: usize,
    pub(crate) policy: CachePolicy,
    pub(crate) enabled: bool,
    /// The template of the key, in place of one that is made of the URL.
    pub(crate) template: Option<&'static str>,
}

impl Settings {
    pub(crate) fn new(name: &'static str, sharing: Sharing) -> Self {
        Self {
            name,
            sharing,
            ttl: None,
            client_ttl: None,
            stale_if_error: None,
            stale_while_revalidate: None,
            also: Vec::new(),
            tags: Vec::new(),
            vary_on: Vec::new(),
            ignored: Vec::new(),
            max_body: super::MAX_BODY,
            policy: CachePolicy::default(),
            enabled: true,
            template: None,
        }
    }

    /// Whether the key's template is one: segments of letters, digits and `_-.`, one of which is the partition where there
    /// is one, and none of ours.
    pub(crate) fn is_key_fit(&self) -> bool {
        let Some(template) = self.template else { return true };
        let is_plain = |byte: u8| byte.is_ascii_alphanumeric() || b"_-.".contains(&byte);
        let is_segment = |segment: &str| !segment.is_empty() && segment.bytes().all(is_plain);
        let (partitions, others): (Vec<_>, Vec<_>) = template.split(':').partition(|segment| *segment == "{partition}");
        let has_its_partition = partitions.len() == usize::from(self.sharing.is_private());
        has_its_partition && others.into_iter().all(is_segment) && !matches!(template, "epochs" | "purges")
    }
}
