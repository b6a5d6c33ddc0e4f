//! The shape of the tree, held by a test: tiers, lengths, scripts, the book.

mod rules;
mod source;

use std::{
    fs,
    path::{Path, PathBuf},
};

use rules::Tree;
use source::Source;

fn root() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR"))
}

/// Every file below `dir` that ends with `.{extension}`: its path from there, and what it holds.
fn files(dir: &Path, extension: &str) -> Vec<(String, String)> {
    let mut files = Vec::new();
    for entry in fs::read_dir(dir).expect("a readable directory") {
        let path = entry.expect("a readable directory").path();
        let name = path.file_name().expect("an entry has a name").to_string_lossy().into_owned();
        if path.is_dir() {
            let below = crate::files(&path, extension);
            files.extend(below.into_iter().map(|(path, text)| (format!("{name}/{path}"), text)));
        } else if path.extension().is_some_and(|found| found == extension) {
            files.push((name, fs::read_to_string(&path).expect("a readable text")));
        }
    }
    files.sort();
    files
}

fn tree() -> Tree {
    let sources = files(&root().join("src"), "rs");
    assert!(sources.iter().any(|(path, _)| path == "lib.rs"), "no src/lib.rs: the tree is read from a wrong place");
    Tree::new(sources.iter().map(|(path, text)| Source::new(path, text)).collect())
}

#[track_caller]
fn none(broken: &[String]) {
    assert!(broken.is_empty(), "\n{}\n", broken.join("\n"));
}

#[test]
fn imports_go_down_the_tiers_only() {
    none(&tree().imports());
}

#[test]
fn only_conn_names_the_crates_that_reach_redis() {
    none(&tree().crates());
}

#[test]
fn files_and_functions_are_short() {
    none(&tree().lengths());
}

#[test]
fn nothing_unwraps_outside_of_tests() {
    none(&tree().unwraps());
}

#[test]
fn what_may_run_late_is_told_why() {
    none(&rules::late(&files(&root().join("src"), "rs")));
}

#[test]
fn scripts_tell_keys_arguments_reply_and_cost() {
    let scripts = files(&root().join("src"), "lua");
    assert!(!scripts.is_empty(), "no scripts found");
    none(&scripts.iter().flat_map(|(path, text)| rules::script(path, text)).collect::<Vec<_>>());
}

#[test]
fn nothing_is_left_for_later() {
    let mut broken = Vec::new();
    for (dir, extension) in [("src", "rs"), ("src", "lua"), ("examples", "rs"), ("docs", "md")] {
        for (path, text) in files(&root().join(dir), extension) {
            broken.extend(rules::reminders(&format!("{dir}/{path}"), &text));
        }
    }
    none(&broken);
}

#[test]
fn the_book_lists_its_pages() {
    let pages = files(&root().join("docs"), "md");
    let summary = pages.iter().find(|(path, _)| path == "SUMMARY.md").expect("docs/SUMMARY.md");
    let names: Vec<_> = pages.iter().map(|(path, _)| path.clone()).collect();
    none(&rules::summary(&summary.1, &names));
}

#[test]
fn no_page_holds_itself_twice() {
    let mut pages = files(&root().join("docs"), "md");
    for page in ["README.md", "CHANGELOG.md", "examples/reference-app/README.md"] {
        pages.push((page.to_owned(), fs::read_to_string(root().join(page)).expect("a readable text")));
    }
    none(&pages.iter().flat_map(|(path, text)| rules::headings(path, text)).collect::<Vec<_>>());
}

/// The rules themselves: a checker that finds nothing must be seen to find something.
mod checker {
    use super::{
        rules::{self, Tree},
        source::{Source, without_comments_and_literals},
    };

    fn tree(files: &[(&str, &str)]) -> Tree {
        Tree::new(files.iter().map(|(path, text)| Source::new(*path, text)).collect())
    }

    #[track_caller]
    fn finds(broken: &[String], expected: &[&str]) {
        let all_there = broken.iter().zip(expected).all(|(found, wanted)| found.contains(wanted));
        assert!(broken.len() == expected.len() && all_there, "found {broken:#?}, expected {expected:#?}");
    }

    #[test]
    fn a_sibling_is_found_however_it_is_named() {
        for code in [
            "use crate::cache::Frame;",
            "use crate::{Error, cache::{self, Frame}};",
            "use super::super::cache::Frame;",
            "use crate::ResponseCache;",
            "fn f() { let x = 1;\n crate::cache::frame(x) }",
            "use crate::{key::Keyspace, ResponseCache as Cache};",
        ] {
            let tree =
                tree(&[("lib.rs", "pub use cache::{layer::CacheLayer, ResponseCache};"), ("session/layer.rs", code)]);
            finds(&tree.imports(), &["sibling `cache`"]);
        }
    }

    #[test]
    fn the_module_of_a_concern_itself_meets_no_sibling_by_super() {
        finds(&tree(&[("session/mod.rs", "use super::cache::Frame;")]).imports(), &["sibling `cache`"]);
        finds(&tree(&[("session/layer.rs", "use super::{cache::Frame, store};")]).imports(), &[]);
    }

    #[test]
    fn imports_upwards_are_found_with_their_line() {
        finds(
            &tree(&[("error.rs", "//! Doc.\n\nuse crate::conn::Fault;")]).imports(),
            &["src/error.rs:3: `error` (tier 0)"],
        );
        finds(&tree(&[("conn/link.rs", "use crate::session;")]).imports(), &["(tier 2)"]);
        finds(
            &tree(&[("cache/layer.rs", "use crate::Keep;"), ("lib.rs", "pub use keep::Keep;")]).imports(),
            &["`keep`"],
        );
        finds(&tree(&[("cache/layer.rs", "use crate::*;")]).imports(), &["`*`"]);
    }

    #[test]
    fn imports_downwards_are_fine() {
        let lib = ("lib.rs", "pub use error::{Error, Result};\npub use store::Cx;");
        let layer = "use crate::{Cx, Error, clock::Clock};\nuse super::store::Record;\npub(crate) fn f() {}";
        let keep = "use crate::{cache::ResponseCache, conn::Redis, session::Sessions};";
        finds(
            &tree(&[lib, ("session/layer.rs", layer), ("keep.rs", keep), ("fallback/layer.rs", "use crate::keep;")])
                .imports(),
            &[],
        );
    }

    #[test]
    fn a_module_without_a_tier_is_found() {
        finds(&tree(&[("locks/mod.rs", "")]).imports(), &["`locks` has no tier"]);
    }

    #[test]
    fn only_redis_files_of_a_concern_name_the_connection() {
        let code = "use crate::conn::Redis;";
        finds(&tree(&[("cache/store.rs", code)]).imports(), &["outside of its redis.rs"]);
        finds(&tree(&[("cache/redis.rs", code), ("cache/redis/claim.rs", code), ("keep.rs", code)]).imports(), &[]);
        let root = ("lib.rs", "pub use conn::Redis;");
        finds(&tree(&[root, ("cache/store.rs", "use crate::Redis;")]).imports(), &["outside of its redis.rs"]);
    }

    #[test]
    fn the_crates_are_found_and_a_module_of_that_name_is_not() {
        for code in
            ["use redis::Value;", "fn f(v: redis::Value) {}", "use ::redis::Value;", "use {bb8::Pool};", "use redis;"]
        {
            finds(&tree(&[("cache/store.rs", code)]).crates(), &["outside of conn/"]);
        }
        for code in ["mod redis;\npub use redis::Store;", "use super::redis::Store;", "let redis = redis.clone();"] {
            finds(&tree(&[("cache/mod.rs", code)]).crates(), &[]);
        }
        finds(&tree(&[("cache/mod.rs", "mod redis;\nuse ::redis::Value;")]).crates(), &["names `redis`"]);
        finds(&tree(&[("conn/link.rs", "use redis::Value;")]).crates(), &[]);
    }

    #[test]
    fn unwraps_are_found_outside_of_tests_only() {
        let code = "fn f() {\n    x\n        .unwrap();\n}\n#[cfg(test)]\nmod tests {\n    fn g() { x.unwrap() }\n}\n";
        finds(&tree(&[("key.rs", code)]).unwraps(), &["src/key.rs:3"]);
        let after = "#[cfg(test)]\nfn f(x: [u8; 3]) { x.unwrap() }\nfn g() { x.unwrap_or(1); y.unwrap() }";
        finds(&tree(&[("key.rs", after)]).unwraps(), &["src/key.rs:3"]);
        finds(
            &tree(&[("key.rs", "#[cfg(any(test, feature = \"x\"))]\nfn f() { x.unwrap() }")]).unwraps(),
            &["key.rs:2"],
        );
    }

    #[test]
    fn long_functions_and_files_are_found() {
        let body = |lines: usize| {
            format!("impl X {{\n    fn long(a: [u8; 2]) {{\n{}    }}\n}}\n", "        a();\n".repeat(lines))
        };
        finds(&tree(&[("key.rs", &body(58))]).lengths(), &[]);
        finds(&tree(&[("key.rs", &body(59))]).lengths(), &["src/key.rs:2: `long` has 61 lines"]);
        finds(&tree(&[("key.rs", &"// a line\n".repeat(501))]).lengths(), &["501 lines"]);
        let tested = format!("// a line\n#[cfg(test)]\nmod tests {{\n{}}}\n", body(600));
        finds(&tree(&[("key.rs", &tested)]).lengths(), &[]);
        finds(&tree(&[("key.rs", "trait X {\n    fn without_a_body(&self);\n}")]).lengths(), &[]);
    }

    #[test]
    fn comments_and_literals_are_no_code() {
        let texts = [
            r##"r#"crate::cache "quoted" "#"##,
            r#""a \" crate::cache""#,
            "// crate::cache",
            "/* a /* nested */ crate::cache */",
            r"'\''",
            "'\"'",
        ];
        for text in texts {
            assert_eq!(without_comments_and_literals(text).trim(), "", "{text}");
        }
        assert_eq!(without_comments_and_literals("&'a str, b'x', r#type"), "&'a str, b , r#type");
        assert_eq!(without_comments_and_literals("a /*\n\n*/ b").lines().count(), 3);
    }

    #[test]
    fn a_script_without_its_header_is_found() {
        let whole =
            "-- Takes one.\n-- KEYS: 1 the window\n-- ARGV: 1 limit\n-- Reply: 1 or 0\n-- Cost: O(1)\nreturn 1\n";
        finds(&rules::script("cache/claim.lua", whole), &[]);
        finds(
            &rules::script("cache/claim.lua", "return KEYS[1] -- ARGV Reply Cost"),
            &["KEYS", "ARGV", "Reply", "Cost"],
        );
        finds(&rules::script("cache/claim.lua", &whole.replace("Cost", "Price")), &["src/cache/claim.lua"]);
    }

    #[test]
    fn a_plain_write_that_is_not_listed_is_found() {
        let source = |text: &str| ("kv/redis.rs".to_owned(), text.to_owned());
        let broken = rules::late(&[source("Command::write(\"SET\").arg(key)")]);
        assert!(broken[0].starts_with("src/kv/redis.rs: SET may run"), "{broken:?}");
        let broken = rules::late(&[source("Command::in_time(\"SET\").arg(key)")]);
        assert!(broken.iter().all(|line| line.starts_with("LATE names")), "{broken:?}");
    }

    #[test]
    fn reminders_are_found_as_words() {
        finds(
            &rules::reminders("src/key.rs", "fine\n// TODO: later\n// fixme(me) FIXME"),
            &["src/key.rs:2", "key.rs:3"],
        );
        finds(&rules::reminders("src/key.rs", "// a METHODTODO, all the todos"), &[]);
    }

    #[test]
    fn second_headings_are_found_and_comments_in_code_are_none() {
        finds(&rules::headings("a.md", "# a\n\n## b\n```sh\n# c\n# c\n```\n## d\n### e\n### e\n"), &[]);
        finds(&rules::headings("a.md", "# a\n## b\n# c\n## b\n"), &["# c", "## b"]);
    }

    #[test]
    fn pages_and_summary_are_held_together() {
        let pages = ["SUMMARY.md".to_owned(), "redis.md".to_owned()];
        finds(&rules::summary("- [Redis](redis.md)", &pages), &[]);
        finds(&rules::summary("- [Testing](testing.md)", &pages), &["docs/redis.md", "testing.md"]);
    }
}
