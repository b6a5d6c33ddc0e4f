//! Lua scripts: loaded on each connect, called by digest, guarded by a deadline.

use std::sync::OnceLock;

/// What every script begins with; it sets `now` and refuses to run late.
const GUARD: &str = include_str!("guard.lua");

/// A script behind the guard.
macro_rules! guarded_script {
    ($(#[$meta:meta])* $vis:vis static $name:ident = $label:literal, $file:literal) => {
        $(#[$meta])*
        $vis static $name: $crate::conn::Script =
            $crate::conn::Script::new($label, concat!(include_str!(concat!(env!("CARGO_MANIFEST_DIR"), "/src/conn/guard.lua")), include_str!($file)));
    };
}
pub(crate) use guarded_script;

/// One script, defined once as a `static` by [`guarded_script!`].
pub(crate) struct Script {
    pub(super) name: &'static str,
    source: &'static str,
    digest: OnceLock<redis::Script>,
}

impl Script {
    /// Does not compile without the guard: a script that runs late does what nobody waits for any more.
    pub(crate) const fn new(name: &'static str, source: &'static str) -> Self {
        assert!(begins_with(source.as_bytes(), GUARD.as_bytes()), "a script begins with guard.lua");
        Self { name, source, digest: OnceLock::new() }
    }

    pub(super) fn source(&self) -> &'static str {
        self.source
    }

    /// The SHA-1 of the source, by which `EVALSHA` finds it.
    pub(super) fn digest(&self) -> &str {
        self.digest.get_or_init(|| redis::Script::new(self.source)).get_hash()
    }
}

const fn begins_with(text: &[u8], start: &[u8]) -> bool {
    let mut n = 0;
    while n < start.len() && n < text.len() && text[n] == start[n] {
        n += 1;
    }
    n == start.len()
}

guarded_script! {
    /// One command that must not run late.
    pub(super) static VERB = "verb", "verb.lua"
}

/// The keys and arguments of one call; the guard's two arguments are appended by the handle.
#[derive(Default)]
pub(crate) struct ScriptCall {
    pub(super) keys: Vec<String>,
    pub(super) args: Vec<Vec<u8>>,
    /// What an error names, where it is not the script.
    pub(super) name: Option<&'static str>,
}

impl ScriptCall {
    pub(crate) fn new() -> Self {
        Self::default()
    }

    pub(crate) fn key(mut self, key: impl Into<String>) -> Self {
        self.keys.push(key.into());
        self
    }

    pub(crate) fn arg(mut self, arg: impl Into<Vec<u8>>) -> Self {
        self.args.push(arg.into());
        self
    }

    pub(crate) fn int(self, number: impl Into<i128>) -> Self {
        self.arg(number.into().to_string())
    }

    /// The keys and arguments of `other` after these.
    #[cfg(feature = "rate-limit")]
    pub(crate) fn append(mut self, mut other: Self) -> Self {
        self.keys.append(&mut other.keys);
        self.args.append(&mut other.args);
        self
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    #[should_panic(expected = "a script begins with guard.lua")]
    fn a_script_without_the_guard_is_none() {
        let _ = Script::new("late", "return redis.call('SET', KEYS[1], ARGV[1])");
    }
}
