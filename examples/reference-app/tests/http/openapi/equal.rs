//! Routes and document are the same: what is documented exists, and what exists is documented.

use std::{
    collections::{BTreeMap, BTreeSet},
    path::Path,
};

use http::Method;

use super::document::Document;
use crate::support::App;

#[tokio::test]
async fn each_path_takes_the_documented_methods_and_no_other() {
    let app = App::start(&["--no-seed"]);
    let mut paths: BTreeMap<String, BTreeSet<String>> = BTreeMap::new();
    for operation in Document::of(&app).await.operations() {
        let methods = paths.entry(operation.path).or_default();
        if operation.method == Method::GET {
            methods.insert("HEAD".to_owned());
        }
        methods.insert(operation.method.to_string());
    }
    let mut visitor = app.visitor();
    for (path, documented) in paths {
        let path = path.replace(['{', '}'], "");
        let answer = visitor.send(Method::TRACE, &path, None).await;
        assert_eq!(answer.status, 405, "{path} {answer:?}");
        let allowed: BTreeSet<_> = answer.header("allow").split(',').map(|method| method.trim().to_owned()).collect();
        assert_eq!(allowed, documented, "{path}");
    }
}

#[tokio::test]
async fn each_operation_says_what_it_is() {
    let app = App::start(&["--no-seed"]);
    let mut ids = BTreeSet::new();
    for operation in Document::of(&app).await.operations() {
        let id = &operation.id;
        assert!(ids.insert(id.clone()), "{id} is there twice");
        let tag = operation.spec["tags"][0].as_str().unwrap_or_else(|| panic!("{id} has no tag"));
        assert!(id.starts_with(&format!("{tag}_")), "{id} is not named after {tag}");
        let summary = operation.spec["summary"].as_str().unwrap_or_default();
        assert!(!summary.is_empty(), "{id} has no summary");
        assert!(!operation.successes().is_empty(), "{id} has no success");
    }
}

#[tokio::test]
async fn the_readme_lists_every_route() {
    const README: &str = include_str!("../../../README.md");
    let app = App::start(&["--no-seed"]);
    let lists = |method: &str, path: &str| {
        README.lines().filter(|line| line.starts_with("| `")).flat_map(|line| line.split('`')).any(|code| {
            let mut words = code.split(' ');
            let route = words.next_back().and_then(|route| route.split('?').next());
            route == Some(path) && words.any(|word| word == method)
        })
    };
    for operation in Document::of(&app).await.operations() {
        assert!(lists(operation.method.as_str(), &operation.path), "{} {}", operation.method, operation.path);
    }
}

/// A route can get into the app only through the document: nothing else mounts one.
#[test]
fn no_route_is_mounted_past_the_document() {
    let mut mounted = Vec::new();
    let source = Path::new(env!("CARGO_MANIFEST_DIR")).join("src");
    for_each_file(&source, &mut |path, text| {
        let code = text.split("#[cfg(test)]").next().unwrap_or_default();
        for way in [".route(", ".route_service(", ".nest_service(", ".fallback(", ".nest(", "Router::new("] {
            if code.contains(way) && !path.ends_with("openapi.rs") {
                mounted.push(format!("{} has {way}", path.display()));
            }
        }
    });
    assert_eq!(mounted, Vec::<String>::new());
}

fn for_each_file(dir: &Path, look: &mut impl FnMut(&Path, &str)) {
    for entry in std::fs::read_dir(dir).expect("a directory") {
        let path = entry.expect("an entry").path();
        if path.is_dir() {
            for_each_file(&path, look);
        } else if path.extension().is_some_and(|extension| extension == "rs") {
            look(&path, &std::fs::read_to_string(&path).expect("a text"));
        }
    }
}
