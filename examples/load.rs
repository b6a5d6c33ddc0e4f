//! A steady load on the reference app: 500 requests a second of logged-in users and public pages.
//!
//! ```sh
//! export REDIS_URL=redis://127.0.0.1:6379
//! cargo run --release -p reference-app -- --trusted-proxy 127.0.0.1        # in one terminal
//! cargo run --release --example load -- 127.0.0.1:3000 500 20              # in another: address, rate, seconds
//! ```
//! It plays a proxy with a thousand clients behind it, so that no address is over its limit. Kill and restart Redis
//! meanwhile. What should be seen: no 5xx, nobody logged out, and how much the worst request waited. A request's time
//! counts from when it was due, so waiting in line is not hidden.
use std::{collections::BTreeMap, time::Duration};

use anyhow::{Context, bail, ensure};
use bytes::Bytes;
use http::{Request, StatusCode, header};
use http_body_util::{BodyExt, Full};
use hyper_util::{
    client::legacy::{Client, connect::HttpConnector},
    rt::TokioExecutor,
};

#[allow(dead_code, unreachable_pub, reason = "shared with the tests")]
#[path = "../tests/support/load.rs"]
mod load;

type Http = Client<HttpConnector, Full<Bytes>>;

const USERS: u64 = 10;

/// One request's answer.
struct Answer {
    status: StatusCode,
    /// A logged-in user was taken for nobody.
    logged_out: bool,
}

/// A request of the `n`th of a thousand clients.
fn request(
    base: &str,
    n: u64,
    target: (&str, &str),
    cookie: &str,
    body: String,
) -> anyhow::Result<Request<Full<Bytes>>> {
    let (method, path) = target;
    let client = format!("198.51.{}.{}", n / 250 % 4, n % 250);
    let request =
        Request::builder().method(method).uri(format!("http://{base}{path}")).header("x-forwarded-for", client);
    let request = request.header(header::COOKIE, cookie).header(header::CONTENT_TYPE, "application/json");
    Ok(request.body(Full::from(body))?)
}

/// Registers and logs in, and answers the cookie.
async fn login(http: &Http, base: &str, user: u64) -> anyhow::Result<String> {
    let credentials = format!(r#"{{"username":"load-{user}","password":"only for this load"}}"#);
    http.request(request(base, user, ("POST", "/api/v1/auth/register"), "", credentials.clone())?).await?;
    let response = http.request(request(base, user, ("POST", "/api/v1/auth/login"), "", credentials)?).await?;
    let cookie = response.headers().get(header::SET_COOKIE).context("no cookie: is this the reference app?")?;
    Ok(cookie.to_str()?.split(';').next().unwrap_or_default().to_owned())
}

async fn ask(http: Http, base: String, cookie: String, n: u64) -> anyhow::Result<Answer> {
    let path = ["/api/v1/auth/me", "/api/v1/bookmarks", "/livez", "/readyz"][usize::try_from(n % 4)?];
    let response = http.request(request(&base, n, ("GET", path), &cookie, String::new())?).await?;
    let status = response.status();
    response.into_body().collect().await?;
    Ok(Answer { status, logged_out: status == StatusCode::UNAUTHORIZED })
}

#[tokio::main]
async fn main() -> anyhow::Result<()> {
    let mut words = std::env::args().skip(1);
    let base = words.next().unwrap_or_else(|| "127.0.0.1:3000".to_owned());
    let rate: u32 = words.next().map_or(Ok(500), |word| word.parse()).context("the rate is requests per second")?;
    let seconds: u64 = words.next().map_or(Ok(20), |word| word.parse()).context("the length is in seconds")?;
    ensure!(rate > 0 && seconds > 0, "a load of nothing shows nothing");
    let http: Http = Client::builder(TokioExecutor::new()).build_http();
    let mut cookies = Vec::new();
    for user in 0..USERS {
        cookies.push(login(&http, &base, user).await.with_context(|| format!("logging in at {base}"))?);
    }
    println!("{rate} requests a second for {seconds} s, {USERS} users");
    let report = load::Load::new(rate, Duration::from_secs(seconds))
        .run(|n| ask(http.clone(), base.clone(), cookies[usize::try_from(n / 4 % USERS).unwrap_or(0)].clone(), n))
        .await;
    let mut statuses = BTreeMap::new();
    let (mut failed, mut logged_out) = (0, 0);
    for sample in report.samples() {
        match &sample.outcome {
            Ok(answer) => {
                *statuses.entry(answer.status.as_u16()).or_insert(0) += 1;
                failed += usize::from(answer.status.is_server_error());
                logged_out += usize::from(answer.logged_out);
            }
            Err(_) => failed += 1,
        }
    }
    println!("status: {statuses:?}");
    println!("p50 {:?}, p99 {:?}, worst {:?}", report.quantile(0.5), report.quantile(0.99), report.quantile(1.0));
    println!("5xx or no answer: {failed}, logged out: {logged_out}");
    if failed + logged_out > 0 {
        bail!("the outage was seen by users");
    }
    Ok(())
}
