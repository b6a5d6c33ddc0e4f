//! Cache hits in memory over HTTP: requests per second and the server's CPU, beside peers and no cache at all.
//!
//! All connections ask for one URL of 2 KiB, and name a query as clients do.

use towerkeep::Keep;
use towerkeep_benches::{
    cache_apps::{CALL, bare, http_cache, ours, ours_alone, simple},
    over_http::{Contender, compare, serve},
};

const PATH: &str = "/items?page=2";

/// Whether two answers in a row are of one call of the handler.
async fn is_cached(contender: &Contender) -> bool {
    let mut calls = Vec::new();
    for _ in 0..2 {
        let answer = contender.ask(PATH).await;
        let call = answer.lines().find(|line| line.starts_with(CALL.as_str()));
        calls.push(call.expect("the handler tells its call").to_owned());
    }
    calls[0] == calls[1]
}

#[tokio::main(flavor = "current_thread")]
async fn main() {
    let arguments: Vec<String> = std::env::args().collect();
    if let [_, verb, which] = &arguments[..]
        && verb == "serve"
    {
        return serve(match which.as_str() {
            "bare" => bare(),
            "ours" => ours(&Keep::in_memory()),
            "ours_alone" => ours_alone(&Keep::in_memory()),
            "simple" => simple(),
            "http_cache" => http_cache(),
            other => panic!("no contender is called {other}"),
        })
        .await;
    }
    let mut contenders = Vec::new();
    for (label, which) in [
        ("towerkeep", "ours"),
        ("towerkeep, the cache layer alone", "ours_alone"),
        ("axum-response-cache 0.5", "simple"),
        ("http-cache-tower-server 0.2", "http_cache"),
        ("handler without a cache", "bare"),
    ] {
        let contender = Contender::start(label, &[which]);
        assert_eq!(is_cached(&contender).await, which != "bare", "{label}");
        contenders.push(contender);
    }
    compare("cache hit in memory over HTTP, 2 KiB", PATH, &mut contenders).await;
}
