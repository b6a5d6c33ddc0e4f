//! The names of all keys and channels in Redis: `tk:{resource}:{id}:{attribute}`, written in one place.

use std::{borrow::Cow, sync::Arc};

use sha2::{Digest, Sha256};

use crate::{Error, KeyValue, Result, UserId, request_key::push_hex};

/// Writes key names; two different things never share one.
///
/// 1. Ids are escaped: `%`, `:`, `{`, `}` and control characters become `%XX`. Inside a literal hash tag, the
///    braces that keep keys of one client or one challenge in one Redis Cluster slot, a colon stays readable.
/// 2. Ids over 128 bytes become `%#` and a 128-bit prefix of their SHA-256.
/// 3. An id that equals a reserved word of its family has its first byte escaped.
///
/// ```
/// use towerkeep::{KeyValue, UserId, key::Keyspace};
/// let keys = Keyspace::default();
/// assert_eq!(keys.user_sessions(&UserId::new(42)), "tk:user:sessions:42");
/// assert_eq!(keys.user_actions(&UserId::new("sessions")), "tk:user:%73essions:actions");
/// let ip: std::net::IpAddr = "203.0.113.7".parse().unwrap();
/// assert_eq!(keys.rate_limit(&KeyValue::from(ip), "general"), "tk:rl:{203.0.113.7}:general");
/// ```
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Keyspace {
    prefix: Arc<str>,
}

/// Longer ids are hashed.
const MAX_ID: usize = 128;
/// First segments that are families of their own, so that no board's resource is taken for one of them.
const FAMILIES: [&str; 10] =
    ["session", "user", "rl", "cache", "counter", "kv", "token", "instances", "canary", "marketplace"];
/// What follows `tk:user:` where a user's id could stand.
const USER_WORDS: [&str; 4] = ["sessions", "revoked", "actions", "cleared"];
/// What follows `tk:counter:` where a counter's name could stand.
const COUNTER_WORDS: [&str; 2] = ["views", "flush"];
/// The partition of responses that everybody shares.
const PUBLIC: &str = "public";

impl Default for Keyspace {
    fn default() -> Self {
        Self { prefix: "tk".into() }
    }
}

impl Keyspace {
    /// Keys that begin with `prefix` and a colon.
    ///
    /// # Errors
    /// Invalid, when the prefix is empty, over 64 bytes, or holds anything but letters, digits and `_-.:`.
    pub fn new(prefix: &str) -> Result<Self> {
        let is_fit = |byte: u8| byte.is_ascii_alphanumeric() || b"_-.:".contains(&byte);
        if prefix.is_empty() || prefix.len() > 64 || !prefix.bytes().all(is_fit) {
            return Err(Error::invalid(format!(
                "key prefix {prefix:?} is not fit: give 1 to 64 letters, digits or any of _-.: like \"tk\""
            )));
        }
        Ok(Self { prefix: prefix.into() })
    }

    /// The prefix, without the colon.
    pub fn prefix(&self) -> &str {
        &self.prefix
    }

    /// A session: `tk:session:{sid}`.
    pub fn session(&self, sid: &str) -> String {
        self.join(&["session", &id(sid, &["epoch", "ended"])])
    }

    /// The mark that tells lost data from expired sessions: `tk:session:epoch`.
    pub fn session_epoch(&self) -> String {
        self.join(&["session", "epoch"])
    }

    /// The channel that tells of sessions that ended: `tk:session:ended`.
    pub fn session_endings(&self) -> String {
        self.join(&["session", "ended"])
    }

    /// The index of a user's sessions: `tk:user:sessions:{user}`.
    pub fn user_sessions(&self, user: &UserId) -> String {
        self.join(&["user", "sessions", &id(user.as_str(), &[])])
    }

    /// When all of a user's sessions were revoked: `tk:user:revoked:{user}`.
    pub fn user_revoked(&self, user: &UserId) -> String {
        self.join(&["user", "revoked", &id(user.as_str(), &[])])
    }

    /// A user's action log: `tk:user:{user}:actions`.
    pub fn user_actions(&self, user: &UserId) -> String {
        self.join(&["user", &id(user.as_str(), &USER_WORDS), "actions"])
    }

    /// When a user's action log was cleared: `tk:user:cleared:{tk:user:42:actions}`, the log's key as a literal hash tag.
    pub fn user_actions_cleared(&self, user: &UserId) -> String {
        self.join(&["user", "cleared", &format!("{{{}}}", self.user_actions(user))])
    }

    /// The state of one policy for one client: `tk:rl:{client}:{policy}`, the client as a literal hash tag.
    pub fn rate_limit(&self, client: &KeyValue, policy: &str) -> String {
        self.join(&["rl", &tag(client.as_str()), &id(policy, &[])])
    }

    /// All variants of one cached URL in the shared partition: `tk:cache:{name}:public:{hash}`, the hash as a literal
    /// hash tag. The store appends `:v`, `:0`, `:l` and `:{generation}:{n}`.
    pub fn cache_public(&self, name: &str, url_hash: &str) -> String {
        self.join(&["cache", &id(name, &[]), PUBLIC, &tag(url_hash)])
    }

    /// As [`cache_public`](Self::cache_public), for one user or one other key: `tk:cache:{name}:{partition}:{hash}`.
    pub fn cache_private(&self, name: &str, partition: &str, url_hash: &str) -> String {
        self.join(&["cache", &id(name, &[]), &id(partition, &[PUBLIC]), &tag(url_hash)])
    }

    /// One cached response under a name of the application's: `tk:cache:{template}`, with the partition in place of
    /// `{partition}`: `user:{partition}:profile` is `tk:cache:user:42:profile`.
    pub fn cache_fixed(&self, template: &str, partition: Option<&str>) -> String {
        let partition = partition.map(|partition| id(partition, &[])).unwrap_or_default();
        self.join(&["cache", &template.replace("{partition}", &partition)])
    }

    /// The purges of tags in their order, one sorted set: `tk:cache:epochs`.
    pub fn cache_epochs(&self) -> String {
        self.join(&["cache", "epochs"])
    }

    /// The channel that tells other instances of purges: `tk:cache:purges`.
    pub fn cache_purges(&self) -> String {
        self.join(&["cache", "purges"])
    }

    /// The channel that tells other instances of claims given back: `tk:cache:fills`.
    pub fn cache_fills(&self) -> String {
        self.join(&["cache", "fills"])
    }

    /// A leaderboard: `tk:{resource}:{id}:leaderboard`, the id as a literal hash tag. The store appends
    /// `:{period}:{label}` and `:{part}`.
    pub fn leaderboard(&self, resource: &str, board: &str) -> String {
        self.join(&[&id(resource, &FAMILIES), &tag(board), "leaderboard"])
    }

    /// Views of a period: `tk:{marketplace:trending}:{period}`, with a literal hash tag.
    pub fn trending(&self, resource: &str, period: &str) -> String {
        let both = format!("{}:trending", id(resource, &[]));
        self.join(&[&format!("{{{both}}}"), &id(period, &[])])
    }

    /// Views of a piece of content: `tk:counter:views:{content_type}:{id}`.
    pub fn counter_views(&self, content_type: &str, content: &str) -> String {
        self.join(&["counter", "views", &id(content_type, &[]), &id(content, &[])])
    }

    /// A counter of one id: `tk:counter:{name}:{id}`, as in `tk:counter:downloads:17`.
    pub fn counter(&self, name: &str, counted: &str) -> String {
        self.join(&["counter", &id(name, &COUNTER_WORDS), &id(counted, &[])])
    }

    /// The number of a writer's last flush into the counters of one slot of Redis Cluster:
    /// `tk:counter:flush:{slot_tag}:{writer}`, the tag as a literal hash tag.
    pub fn counter_flush(&self, slot_tag: &str, writer: &str) -> String {
        self.join(&["counter", "flush", &tag(slot_tag), &id(writer, &[])])
    }

    /// A plain value: `tk:kv:{key}`.
    pub fn kv(&self, key: &str) -> String {
        self.join(&["kv", &id(key, &[])])
    }

    /// A temporary token: `tk:token:{purpose}:{digest}`.
    pub fn token(&self, purpose: &str, digest: &str) -> String {
        self.join(&["token", &id(purpose, &[]), &id(digest, &[])])
    }

    /// The live instances, by server time: `tk:instances`.
    pub fn instances(&self) -> String {
        self.join(&["instances"])
    }

    /// The key that one instance's probe writes and reads: `tk:canary:{instance}`.
    pub fn canary(&self, instance: &str) -> String {
        self.join(&["canary", &id(instance, &[])])
    }

    /// A channel: `tk:{family}:{id}`, as in `tk:messages:7` or `tk:events:system`.
    pub fn channel(&self, family: &str, channel: &str) -> String {
        self.join(&[&id(family, &FAMILIES), &id(channel, &[])])
    }

    fn join(&self, segments: &[&str]) -> String {
        let length = segments.iter().map(|segment| segment.len() + 1).sum::<usize>();
        let mut key = String::with_capacity(self.prefix.len() + length);
        key.push_str(&self.prefix);
        for segment in segments {
            key.push(':');
            key.push_str(segment);
        }
        key
    }
}

/// An id as one segment, never equal to a word of `reserved`.
fn id<'t>(text: &'t str, reserved: &[&str]) -> Cow<'t, str> {
    if reserved.contains(&text) {
        let mut escaped = String::with_capacity(text.len() + 2);
        push_escape(&mut escaped, text.as_bytes()[0]);
        escaped.push_str(&text[1..]);
        return escaped.into();
    }
    escape(text, |byte| matches!(byte, b'%' | b':' | b'{' | b'}') || byte.is_ascii_control())
}

/// An id in literal braces; an empty one is written `%`, because Redis ignores an empty hash tag.
fn tag(text: &str) -> String {
    let inner = escape(text, |byte| matches!(byte, b'%' | b'{' | b'}') || byte.is_ascii_control());
    format!("{{{}}}", if inner.is_empty() { "%" } else { &*inner })
}

/// Most ids need no escaping, and then no copy.
fn escape(text: &str, is_special: impl Fn(u8) -> bool) -> Cow<'_, str> {
    if text.len() > MAX_ID {
        let mut hashed = String::from("%#");
        push_hex(&mut hashed, &Sha256::digest(text)[..16]);
        return hashed.into();
    }
    if !text.bytes().any(&is_special) {
        return text.into();
    }
    let mut escaped = String::with_capacity(text.len());
    for character in text.chars() {
        match u8::try_from(character) {
            Ok(byte) if character.is_ascii() && is_special(byte) => push_escape(&mut escaped, byte),
            _ => escaped.push(character),
        }
    }
    escaped.into()
}

fn push_escape(text: &mut String, byte: u8) {
    text.push('%');
    push_hex(text, &[byte]);
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn writes_the_documented_keys() {
        let keys = Keyspace::default();
        let user = UserId::new(42);
        assert_eq!(keys.session("abc"), "tk:session:abc");
        assert_eq!(keys.user_revoked(&user), "tk:user:revoked:42");
        assert_eq!(keys.user_actions(&user), "tk:user:42:actions");
        assert_eq!(keys.user_actions_cleared(&user), "tk:user:cleared:{tk:user:42:actions}");
        assert_eq!(keys.cache_fixed("user:{partition}:profile", Some("42")), "tk:cache:user:42:profile");
        assert_eq!(keys.cache_fixed("user:{partition}:profile", Some("4:{2")), "tk:cache:user:4%3a%7b2:profile");
        assert_eq!(keys.cache_fixed("marketplace:trending", None), "tk:cache:marketplace:trending");
        assert_eq!(keys.cache_private("search", "1234", "9f"), "tk:cache:search:1234:{9f}");
        assert_eq!(keys.leaderboard("challenge", "42"), "tk:challenge:{42}:leaderboard");
        assert_eq!(keys.trending("marketplace", "day"), "tk:{marketplace:trending}:day");
        assert_eq!(keys.counter_views("post", "7"), "tk:counter:views:post:7");
        assert_eq!(keys.counter("downloads", "7"), "tk:counter:downloads:7");
        assert_eq!(keys.counter_flush("38", "4f2a"), "tk:counter:flush:{38}:4f2a");
        assert_eq!(keys.channel("messages", "7"), "tk:messages:7");
    }

    #[test]
    fn refuses_prefixes_that_would_break_hash_tags() {
        for prefix in ["", "a{b", "a b", &"x".repeat(65)] {
            assert!(Keyspace::new(prefix).is_err(), "{prefix:?}");
        }
        assert_eq!(Keyspace::new("shop:tk").expect("fit").session_epoch(), "shop:tk:session:epoch");
    }

    /// One thing that a key can name: the family and its ids.
    type Named = (usize, String, String, String);

    fn key_of((family, a, b, c): &Named) -> String {
        let keys = Keyspace::default();
        let user = UserId::new(a);
        match family {
            0 => keys.session(a),
            1 => keys.session_epoch(),
            2 => keys.user_sessions(&user),
            3 => keys.user_revoked(&user),
            4 => keys.user_actions(&user),
            5 => keys.rate_limit(&KeyValue::from(a), b),
            6 => keys.cache_public(a, b),
            7 => keys.cache_private(a, b, c),
            8 => keys.cache_epochs(),
            9 => keys.leaderboard(a, b),
            10 => keys.trending(a, b),
            11 => keys.counter_views(a, b),
            12 => keys.counter(a, b),
            13 => keys.kv(a),
            14 => keys.token(a, b),
            15 => keys.instances(),
            16 => keys.canary(a),
            17 => keys.counter_flush(a, b),
            18 => keys.session_endings(),
            _ => keys.user_actions_cleared(&user),
        }
    }

    /// How many of the three ids a family uses.
    fn arity(family: usize) -> usize {
        [1, 0, 1, 1, 1, 2, 2, 3, 0, 2, 2, 2, 2, 1, 2, 0, 1, 2, 0, 1][family]
    }

    fn ids() -> impl Strategy<Value = String> {
        let words: Vec<&str> = FAMILIES
            .into_iter()
            .chain(USER_WORDS)
            .chain(COUNTER_WORDS)
            .chain([PUBLIC, "epoch", "ended", "leaderboard", ""])
            .collect();
        prop_oneof![prop::sample::select(words).prop_map(String::from), "[a:{}%]{0,3}", "\\PC{0,5}", "[ab]{127,130}",]
    }

    fn named() -> impl Strategy<Value = Named> {
        (0usize..20, ids(), ids(), ids()).prop_map(|(family, a, b, c)| {
            let used = arity(family);
            let keep = |n: usize, text: String| if n < used { text } else { String::new() };
            (family, keep(0, a), keep(1, b), keep(2, c))
        })
    }

    fn has_one_tag(key: &str) -> bool {
        key.matches('{').count() <= 1 && !key.chars().any(|character| character.is_ascii_control())
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(4_000))]
        #[test]
        fn different_things_have_different_keys(left in named(), right in named()) {
            prop_assert_eq!(left == right, key_of(&left) == key_of(&right), "{} {}", key_of(&left), key_of(&right));
        }

        #[test]
        fn a_key_has_at_most_one_hash_tag_and_no_control_characters(thing in named()) {
            let key = key_of(&thing);
            prop_assert!(has_one_tag(&key));
        }
    }
}
