//! What the tree promises, as functions of its files.

use std::collections::BTreeMap;

use crate::source::{NamedPath, Source};

/// Each module's tier: it may name its own tier and those below, and in tier 2 only itself.
const TIERS: [&[&str]; 4] = [
    &[
        "background",
        "client_ip",
        "clock",
        "error",
        "expiring",
        "identity",
        "key",
        "outcome",
        "request_key",
        "service",
        "store",
        "telemetry",
    ],
    &["conn"],
    &["session", "rate_limit", "cache", "leaderboard", "counter", "action_log", "trending", "kv", "token", "pubsub"],
    &["fallback", "health", "keep", "prelude", "testing"],
];
const TOP: usize = 3;
const CONCERNS: usize = 2;
const LONGEST_FILE: usize = 500;
const LONGEST_FUNCTION: usize = 60;

/// The tree: every file, and which module each name at the crate's root comes from.
pub(crate) struct Tree {
    pub(crate) sources: Vec<Source>,
    roots: BTreeMap<String, String>,
}

impl Tree {
    pub(crate) fn new(sources: Vec<Source>) -> Self {
        let lib = sources.iter().find(|source| source.path == "lib.rs");
        let uses = lib.map(Source::paths).unwrap_or_default().into_iter().filter(|path| path.is_use);
        let roots = uses.filter_map(|path| {
            let from = path.segments.iter().find(|segment| !matches!(segment.as_str(), "crate" | "self"))?;
            Some((path.segments.last()?.clone(), from.clone()))
        });
        Self { roots: roots.collect(), sources }
    }

    /// The module of ours, just below the root, that `path` leads into.
    fn target(&self, source: &Source, path: &NamedPath) -> Option<String> {
        let module = source.module();
        let supers = path.segments.iter().take_while(|segment| *segment == "super").count();
        let below = match path.segments.first()?.as_str() {
            "crate" => path.segments.get(1)?,
            "super" if supers < module.len() => return Some(module[0].to_owned()),
            "super" => path.segments.get(supers)?,
            _ => return None,
        };
        Some(self.roots.get(below).unwrap_or(below).clone())
    }

    /// Imports go down the tiers, tier 2 never sideways, and only `redis.rs` names the connection.
    pub(crate) fn imports(&self) -> Vec<String> {
        self.sources.iter().flat_map(|source| self.imports_of(source)).collect()
    }

    fn imports_of(&self, source: &Source) -> Vec<String> {
        let Some(own) = source.module().first().map(|module| (*module).to_owned()) else { return Vec::new() };
        let Some(tier) = tier(&own) else {
            return vec![format!("src/{}: module `{own}` has no tier; give it one in TIERS", source.path)];
        };
        let mut broken = Vec::new();
        for path in source.paths() {
            let Some(target) = self.target(source, &path) else { continue };
            let Some(below) = tier_of_target(&target) else { continue };
            let rule = if below > tier {
                format!("`{own}` (tier {tier}) names `{target}` (tier {below}): imports go down the tiers only")
            } else if tier == CONCERNS && below == CONCERNS && target != own {
                format!("`{own}` names its sibling `{target}`: they meet in keep.rs")
            } else if tier == CONCERNS && target == "conn" && !is_redis(source) {
                format!("`{own}` names `conn` outside of its redis.rs")
            } else {
                continue;
            };
            broken.push(format!("src/{}:{}: {rule}", source.path, path.line));
        }
        broken.dedup();
        broken
    }

    /// Only `conn/` names the crates that reach Redis.
    pub(crate) fn crates(&self) -> Vec<String> {
        let is_outside = |source: &&Source| source.module().first() != Some(&"conn");
        self.sources.iter().filter(is_outside).flat_map(crates_of).collect()
    }

    pub(crate) fn lengths(&self) -> Vec<String> {
        let long_file = |source: &Source| {
            let lines = source.lines();
            (lines > LONGEST_FILE).then(|| format!("src/{}: {lines} lines; split it by meaning", source.path))
        };
        let long_functions = |source: &Source| -> Vec<String> {
            let long = source.functions().into_iter().filter(|function| function.length > LONGEST_FUNCTION);
            long.map(|f| format!("src/{}:{}: `{}` has {} lines; split it", source.path, f.line, f.name, f.length))
                .collect()
        };
        self.sources.iter().flat_map(|source| long_file(source).into_iter().chain(long_functions(source))).collect()
    }

    pub(crate) fn unwraps(&self) -> Vec<String> {
        let of = |source: &Source| -> Vec<String> {
            let lines = source.find(&[".", "unwrap", "(", ")"]);
            lines.map(|line| format!("src/{}:{line}: unwrap() outside of tests", source.path)).collect()
        };
        self.sources.iter().flat_map(of).collect()
    }
}

fn crates_of(source: &Source) -> Vec<String> {
    let is_foreign = |path: &NamedPath| {
        let first = path.segments[0].as_str();
        let is_ours = !path.is_global && source.declares(first);
        let is_path = path.is_use || path.is_global || path.segments.len() > 1;
        matches!(first, "redis" | "bb8" | "bb8_redis") && is_path && !is_ours
    };
    let foreign = source.paths().into_iter().filter(is_foreign);
    foreign
        .map(|path| format!("src/{}:{}: names `{}` outside of conn/", source.path, path.line, path.segments[0]))
        .collect()
}

fn tier(module: &str) -> Option<usize> {
    TIERS.iter().position(|tier| tier.contains(&module))
}

/// The tier of what a path names; the root itself, all of it, is the top.
fn tier_of_target(target: &str) -> Option<usize> {
    if target == "*" { Some(TOP) } else { tier(target) }
}

/// `redis.rs`, or a folder of that name where one file is not enough.
fn is_redis(source: &Source) -> bool {
    source.module().get(1) == Some(&"redis")
}

/// A script's header comment names its keys, arguments, reply and cost.
pub(crate) fn script(path: &str, text: &str) -> Vec<String> {
    let header: Vec<_> = text.lines().take_while(|line| line.starts_with("--")).collect();
    let header = header.join("\n").to_lowercase();
    let missing = ["KEYS", "ARGV", "Reply", "Cost"].into_iter().filter(|word| !header.contains(&word.to_lowercase()));
    missing.map(|word| format!("src/{path}: its header comment does not tell {word}")).collect()
}

/// The commands that run whenever the server gets to them, and why that does no harm. All others that write are scripts, which do
/// not compile without their guard, or `Command::in_time`.
const LATE: &[(&str, &str, &str)] = &[
    ("cache/redis/mirror.rs", "SET", "a URL that is purged twice is filled once more"),
    ("session/redis.rs", "SET", "a session under an id that nobody was told; the mark of one that has ended"),
    ("session/redis.rs", "ZREM", "of a session that has ended"),
    ("session/redis/endings.rs", "DEL", "of a session that was ended; ids are never used again"),
    ("session/redis/endings.rs", "PUBLISH", "who hears that a session has ended looks for itself"),
    ("session/redis/endings.rs", "ZREM", "of a session that was ended"),
    ("session/redis/epoch.rs", "SET", "only where there is none"),
    ("session/redis/index.rs", "PEXPIRE", "an index that lives longer is cleaned with each login"),
    ("session/redis/index.rs", "ZADD", "an entry without a session is passed over"),
    ("session/redis/index.rs", "ZREMRANGEBYSCORE", "of sessions that are over"),
    ("token/redis.rs", "SET", "a token that nobody was told"),
    ("token/redis.rs", "UNLINK", "a token that was to be worth nothing"),
];

/// Plain commands that write are few, and each is in the list.
pub(crate) fn late(sources: &[(String, String)]) -> Vec<String> {
    let is_tested = |path: &str| path.ends_with("tests.rs");
    let mut found = Vec::new();
    for (path, text) in sources.iter().filter(|(path, _)| !is_tested(path)) {
        let verbs = text.split("Command::write(").skip(1).map(|rest| rest.split('"').nth(1).unwrap_or_default());
        found.extend(verbs.map(|verb| (path.as_str(), verb)));
    }
    let is_listed = |path: &str, verb: &str| LATE.iter().any(|(own, known, _)| (*own, *known) == (path, verb));
    let unlisted = found.iter().filter(|(path, verb)| !is_listed(path, verb)).map(|(path, verb)| {
        format!(
            "src/{path}: {verb} may run after its caller has given up: use Command::in_time, or say in LATE why not"
        )
    });
    let unused = LATE.iter().filter(|(path, verb, _)| !found.contains(&(*path, *verb)));
    unlisted
        .chain(unused.map(|(path, verb, _)| format!("LATE names {verb} in src/{path}, which is not there")))
        .collect()
}

/// Nothing is left for later.
pub(crate) fn reminders(path: &str, text: &str) -> Vec<String> {
    let is_reminder = |line: &str| {
        let mut words = line.split(|sign: char| !sign.is_alphanumeric() && sign != '_');
        words.any(|word| matches!(word, "TODO" | "FIXME"))
    };
    let lines = text.lines().enumerate().filter(|(_, line)| is_reminder(line));
    lines.map(|(number, line)| format!("{path}:{}: {}", number + 1, line.trim())).collect()
}

/// A page has one title, and no section twice.
pub(crate) fn headings(path: &str, text: &str) -> Vec<String> {
    let mut is_code = false;
    let mut found: Vec<&str> = Vec::new();
    for line in text.lines() {
        is_code ^= line.starts_with("```");
        if !is_code && (line.starts_with("# ") || line.starts_with("## ")) {
            found.push(line);
        }
    }
    let again = |(n, line): (usize, &&str)| {
        let before = &found[..n];
        before.contains(line) || line.starts_with("# ") && before.iter().any(|line| line.starts_with("# "))
    };
    let again = found.iter().enumerate().filter(|(n, line)| again((*n, line)));
    again.map(|(_, line)| format!("{path}: a second {line:?}")).collect()
}

/// The book's summary lists every page, and no page that is not there.
pub(crate) fn summary(summary: &str, pages: &[String]) -> Vec<String> {
    let links: Vec<_> = summary.split("](").skip(1).filter_map(|rest| rest.split(')').next()).collect();
    let unlisted = pages.iter().filter(|page| *page != "SUMMARY.md" && !links.contains(&page.as_str()));
    let absent = links.iter().filter(|link| !pages.iter().any(|page| page == *link));
    let unlisted = unlisted.map(|page| format!("docs/{page} is not in SUMMARY.md"));
    unlisted.chain(absent.map(|link| format!("SUMMARY.md names {link}, which is not there"))).collect()
}
