//! The page at `/docs`: whole, and from this host alone.

use bytes::Bytes;
use http_body_util::BodyExt;

use crate::support::App;

async fn text(app: &App, path: &str) -> String {
    use http_body_util::Full;
    use hyper_util::{client::legacy::Client, rt::TokioExecutor};
    let client = Client::builder(TokioExecutor::new()).build_http::<Full<Bytes>>();
    let answer = client.get(format!("{}{path}", app.url()).parse().expect("a url")).await.expect("the app answers");
    assert_eq!(answer.status(), 200, "{path}");
    let body = answer.into_body().collect().await.expect("a whole body").to_bytes();
    String::from_utf8_lossy(&body).into_owned()
}

/// What stands in quotes after each `attribute="`.
fn values<'a>(html: &'a str, attribute: &'a str) -> impl Iterator<Item = &'a str> {
    html.split(attribute).skip(1).filter_map(|rest| rest.split('"').next())
}

#[tokio::test]
async fn the_page_loads_nothing_from_elsewhere() {
    let app = App::start(&["--no-seed"]);
    let moved = app.visitor().get("/docs").await;
    assert_eq!((moved.status, moved.header("location")), (303, "/docs/"));
    let html = text(&app, "/docs/").await;
    let sources: Vec<_> = values(&html, "src=\"").chain(values(&html, "href=\"")).collect();
    assert!(sources.iter().any(|source| source.ends_with(".js")), "{html}");
    for source in sources {
        assert!(!source.contains("//"), "{source} is elsewhere");
        let content = text(&app, &format!("/docs/{}", source.trim_start_matches("./"))).await;
        assert!(!content.is_empty(), "{source}");
        if source.ends_with(".css") {
            assert!(!content.contains("@import"), "{source}");
            let named = content.split("url(").skip(1).map(|rest| rest.trim_start_matches(['"', '\'']));
            assert!(named.into_iter().all(|url| url.starts_with("data:")), "{source} loads something");
        }
    }
    assert!(text(&app, "/docs/swagger-initializer.js").await.contains("/openapi.json"));
}
