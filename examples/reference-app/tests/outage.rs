//! 500 requests a second through HTTP while Redis is killed and comes back empty: what users notice of it.
mod support;

use std::{
    collections::BTreeMap,
    time::{Duration, Instant},
};

use bytes::Bytes;
use http::{Request, header};
use http_body_util::{BodyExt, Full};
use hyper_util::{
    client::legacy::{Client, connect::HttpConnector},
    rt::TokioExecutor,
};
use support::{
    App,
    servers::{Load, RedisServer},
};

type Http = Client<HttpConnector, Full<Bytes>>;

const RATE: u32 = 500;
const USERS: usize = 8;
const PATHS: [&str; 4] = ["/api/v1/auth/me", "/api/v1/bookmarks", "/livez", "/nowhere"];

/// What the load asks, as a proxy that many clients stand behind.
#[derive(Clone)]
struct Clients {
    http: Http,
    url: String,
    /// One for each user.
    cookies: Vec<String>,
}

impl Clients {
    async fn of(app: &App) -> Self {
        let mut cookies = Vec::new();
        for user in 0..USERS {
            let pairs = app.user(&format!("user-{user}")).await.cookies();
            let pairs: Vec<_> = pairs.into_iter().map(|(name, value)| format!("{name}={value}")).collect();
            cookies.push(pairs.join("; "));
        }
        Self { http: Client::builder(TokioExecutor::new()).build_http(), url: app.url().to_owned(), cookies }
    }

    /// The `n`th request, in a word.
    async fn ask(self, n: u64) -> &'static str {
        let n = usize::try_from(n).expect("small");
        let path = PATHS[n % PATHS.len()];
        let request = Request::get(format!("{}{path}", self.url))
            .header("x-forwarded-for", format!("198.51.{}.{}", n / 250 % 4, n % 250))
            .header(header::COOKIE, &self.cookies[n / PATHS.len() % USERS])
            .body(Full::default())
            .expect("a request");
        let Ok(response) = self.http.request(request).await else { return "no answer" };
        let status = response.status().as_u16();
        let is_whole = response.into_body().collect().await.is_ok();
        match (status, path) {
            (200, _) | (404, "/nowhere") if is_whole => "right",
            (401, _) => "logged out",
            (500.., _) => "5xx",
            _ => "wrong",
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn users_notice_nothing_when_redis_is_killed_and_comes_back_empty() {
    let mut redis = RedisServer::start();
    let app = App::start(&["--no-seed", "--trusted-proxy", "127.0.0.1/32", "--redis", &redis.url()]);
    app.says("ok").await;
    let clients = Clients::of(&app).await;
    let calm = app.log().len();

    let asking = clients.clone();
    let load = Load::new(RATE, Duration::from_secs(4)).run(move |n| asking.clone().ask(n));
    let load = tokio::spawn(load);
    tokio::time::sleep(Duration::from_secs(1)).await;
    redis.kill();
    app.says("degraded").await;
    tokio::time::sleep(Duration::from_secs(1)).await;
    redis.launch();
    let launched = Instant::now();
    app.says("ok").await;
    let back = launched.elapsed();
    let report = load.await.expect("the load ends");

    println!("p99 {:?}, worst {:?}, back after {back:?}", report.quantile(0.99), report.quantile(1.0));
    assert_eq!(report.outcomes(|word| word), BTreeMap::from([("right", report.samples().len())]));
    assert_eq!(report.slower_than(Duration::from_secs(1)), 0, "nothing waits long: {:?}", report.quantile(1.0));
    assert!(back < Duration::from_secs(2), "back on Redis after {back:?}");

    let log = app.log().split_off(calm);
    let warnings: Vec<_> = log.lines().filter(|line| line.contains(" WARN ") || line.contains(" ERROR ")).collect();
    assert_eq!(warnings.len(), 1, "one outage is one line: {warnings:#?}");
    let requests = log.lines().filter(|line| line.contains("finished processing request")).count();
    assert!(log.lines().count() < requests + 10, "nothing but the access log for each request");

    // Everybody's session is in the empty Redis again, so another instance knows them too.
    let ids: Vec<String> =
        redis::cmd("KEYS").arg("tk:user:sessions:*").query_async(&mut redis.client().await).await.expect("keys");
    assert_eq!(ids.len(), USERS, "{ids:?}");
}
