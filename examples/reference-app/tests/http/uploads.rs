//! Files: kept, given back, and no larger than they may be.

use bytes::Bytes;
use http::{Method, Request, header};
use http_body_util::Full;
use serde_json::json;
use tokio::{
    io::{AsyncBufReadExt, AsyncWriteExt, BufReader},
    net::TcpStream,
};

use crate::{
    items,
    keys::{execute, get, key, on_both, send},
    suite,
    support::{Answer, App, Browser},
};

const UPLOADS: &str = "/api/v1/uploads";
const MIB: usize = 1024 * 1024;

suite![
    a_file_comes_back_to_its_owner_as_a_download,
    a_file_may_have_a_mebibyte_and_json_64_kibibytes,
    a_body_without_a_length_is_cut_off,
    an_upload_tells_what_is_wrong,
    another_users_files_are_not_there,
    keys_upload_and_download_by_their_scopes,
    ten_uploads_in_ten_minutes_are_enough,
];

async fn upload(app: &App, user: &mut Browser, query: &str, kind: &str, body: impl Into<Bytes>) -> Answer {
    let request = Request::post(format!("{}{UPLOADS}{query}", app.url())).header(header::CONTENT_TYPE, kind);
    user.request(request.body(Full::new(body.into())).expect("a request")).await
}

async fn a_file_comes_back_to_its_owner_as_a_download(app: App) {
    let mut alice = app.user("alice").await;
    let file = r#"{"some":"notes"}"#;
    let made = upload(&app, &mut alice, "?name=my%20n%C3%B6tes.json", "application/json", file).await;
    assert_eq!(made.status, 201, "{made:?}");
    let path = made.header("location").to_owned();
    assert_eq!(path, format!("{UPLOADS}/{}", made.body["id"]));
    assert_eq!((&made.body["name"], &made.body["size"]), (&json!("my nötes.json"), &json!(file.len())));
    let digest = "d4ec137b0b9c64d454838603583966292f8b18a17c6a08ebfb349543891c9a6b";
    assert_eq!(made.body["sha256"], digest);

    let back = alice.get(&path).await;
    assert_eq!((back.status, &back.body), (200, &json!({ "some": "notes" })));
    assert_eq!(back.header("content-length"), file.len().to_string());
    let named = "attachment; filename=\"my n_tes.json\"; filename*=UTF-8''my%20n%C3%B6tes.json";
    assert_eq!(back.header("content-disposition"), named);
    assert_eq!((back.header("x-content-type-options"), back.header("cache-control")), ("nosniff", "no-store"));
    assert_eq!(back.header("content-type"), "application/json");

    let page = upload(&app, &mut alice, "", "text/html", "<script>alert(1)</script>").await;
    assert_eq!((&page.body["name"], &page.body["content_type"]), (&json!("upload"), &json!("text/html")));
    let back = alice.get(page.header("location")).await;
    assert_eq!(back.header("content-type"), "application/octet-stream", "it does not run as this site");
    let empty = upload(&app, &mut alice, "", "image/png", "").await;
    assert_eq!((empty.status, &empty.body["size"]), (201, &json!(0)));

    assert_eq!(items(&alice.get(UPLOADS).await), &[empty.body, page.body, made.body]);
    assert_eq!((alice.delete(&path).await.status, alice.get(&path).await.status), (204, 404));
    assert_eq!(alice.delete(&path).await.status, 404);
}

async fn a_file_may_have_a_mebibyte_and_json_64_kibibytes(app: App) {
    let mut alice = app.user("alice").await;
    let made = upload(&app, &mut alice, "", "application/octet-stream", vec![7; MIB]).await;
    assert_eq!((made.status, &made.body["size"]), (201, &json!(MIB)), "{made:?}");
    assert_eq!(alice.get(made.header("location")).await.header("content-length"), MIB.to_string());
    let refused = upload(&app, &mut alice, "", "application/octet-stream", vec![7; MIB + 1]).await;
    assert_eq!((refused.status, refused.header("content-type")), (413, "application/problem+json"), "{refused:?}");

    let bookmark = |length: usize| {
        let empty = json!({ "title": "", "url": "" }).to_string().len();
        json!({ "title": "x".repeat(length - empty), "url": "" })
    };
    for (length, status) in [(64 * 1024, 422), (64 * 1024 + 1, 413), (MIB, 413), (MIB + 1, 413)] {
        assert_eq!(alice.post("/api/v1/bookmarks", bookmark(length)).await.status, status, "{length}");
    }
}

async fn a_body_without_a_length_is_cut_off(app: App) {
    let alice = app.user("alice").await;
    let cookie = format!("sid={}", alice.cookies()["sid"]);
    for (path, limit) in [(UPLOADS, MIB), ("/api/v1/bookmarks", 64 * 1024)] {
        let fits = chunked(&app, path, &cookie, limit).await;
        assert!(matches!(fits, (201 | 400, sent) if sent == limit), "{path} {fits:?}");
        let (status, sent) = chunked(&app, path, &cookie, 64 * MIB).await;
        assert_eq!(status, 413, "{path}");
        assert!(sent < 32 * MIB, "nobody reads it whole: {sent} of {} bytes", 64 * MIB);
    }
}

/// Sends so many bytes in chunks, unless it is told to stop; the status, and how many were sent by then.
async fn chunked(app: &App, path: &str, cookie: &str, length: usize) -> (u16, usize) {
    const CHUNK: usize = 16 * 1024;
    let address = app.url().trim_start_matches("http://");
    let stream = TcpStream::connect(address).await.expect("the app listens");
    let (read, mut write) = stream.into_split();
    let head = format!(
        "POST {path} HTTP/1.1\r\nhost: {address}\r\ncookie: {cookie}\r\ncontent-type: application/json\r\n\
         transfer-encoding: chunked\r\n\r\n"
    );
    write.write_all(head.as_bytes()).await.expect("sent");
    let mut lines = BufReader::new(read).lines();
    let chunk = [format!("{CHUNK:x}\r\n").as_bytes(), &[b'x'; CHUNK], b"\r\n"].concat();
    let mut sent = 0;
    let sending = async {
        while sent < length && write.write_all(&chunk).await.is_ok() {
            sent += CHUNK;
        }
        let _ = write.write_all(b"0\r\n\r\n").await;
        // What was refused is refused without an end to the body: only the answer ends the wait.
        std::future::pending::<()>().await;
    };
    let line = tokio::select! {
        line = lines.next_line() => line,
        () = sending => unreachable!(),
    };
    let line = line.expect("an answer").expect("an answer");
    (line.split(' ').nth(1).and_then(|status| status.parse().ok()).expect("a status"), sent)
}

async fn an_upload_tells_what_is_wrong(app: App) {
    let mut alice = app.user("alice").await;
    for (query, field) in [
        ("?name=", "name"),
        ("?name=a%00b", "name"),
        ("?name=..%2Fpasswd", "name"),
        ("?name=a&name=b", "name"),
        ("?colour=red", "colour"),
        (&*format!("?name={}", "x".repeat(10_000)), "name"),
    ] {
        assert_eq!(upload(&app, &mut alice, query, "image/png", "x").await.refused(), [field], "{query}");
    }
    assert_eq!(upload(&app, &mut alice, "", "png", "x").await.refused(), ["content-type"]);
    assert!(items(&alice.get(UPLOADS).await).is_empty());
}

async fn another_users_files_are_not_there(app: App) {
    let (mut alice, mut mallory) = (app.user("alice").await, app.user("mallory").await);
    let made = upload(&app, &mut alice, "", "text/plain", "private").await;
    let path = made.header("location").to_owned();
    assert_eq!((mallory.get(&path).await.status, mallory.delete(&path).await.status), (404, 404));
    assert!(items(&mallory.get(UPLOADS).await).is_empty());
    let mut visitor = app.visitor();
    assert_eq!((visitor.get(&path).await.status, visitor.get(UPLOADS).await.status), (401, 401));
    assert_eq!(upload(&app, &mut visitor, "", "text/plain", "x").await.status, 401);
    assert_eq!(alice.get(&path).await.status, 200);
}

async fn keys_upload_and_download_by_their_scopes(app: App) {
    let mut alice = app.user("alice").await;
    let (reads, writes) = (key(&mut alice, &["uploads:read"]).await, key(&mut alice, &["uploads:write"]).await);
    let made = send(&app, Method::POST, UPLOADS, &writes, Some(json!({ "by": "key" }))).await;
    let path = made.header("location").to_owned();
    assert_eq!(made.status, 201, "{made:?}");
    assert_eq!(send(&app, Method::POST, UPLOADS, &reads, Some(json!({}))).await.status, 403);
    assert_eq!(get(&app, &path, &reads).await.body, json!({ "by": "key" }));
    assert_eq!(get(&app, &path, &writes).await.status, 403);
    assert_eq!(alice.get(&path).await.status, 200);
}

async fn ten_uploads_in_ten_minutes_are_enough(app: App) {
    let (mut alice, mut bob) = (app.user("alice").await, app.user("bob").await);
    for n in 0..10 {
        assert_eq!(upload(&app, &mut alice, "", "text/plain", "x").await.status, 201, "upload {n}");
    }
    let refused = upload(&app, &mut alice, "", "text/plain", "x").await;
    assert_eq!(refused.status, 429, "{refused:?}");
    let after: u64 = refused.header("retry-after").parse().expect("seconds");
    assert!((50..=60).contains(&after), "one more each minute: {after}");
    assert_eq!(upload(&app, &mut bob, "", "text/plain", "x").await.status, 201, "another user");
    assert_eq!(alice.get(UPLOADS).await.status, 200);
}

/// Counted by the database, as API keys are.
#[tokio::test]
async fn a_hundred_files_are_the_most_however_many_are_sent_at_once() {
    on_both(async |database| {
        let app = App::start(&["--database", &database]);
        let mut alice = app.user("alice").await;
        let id = alice.get("/api/v1/auth/me").await.body["id"].clone();
        let rows: Vec<_> = (0..98).map(|_| format!("({id}, 'n', 'a/b', 1, 'd', 0, 'x')")).collect();
        let columns = "user_id, name, content_type, size, sha256, created_at, content";
        execute(&database, format!("INSERT INTO uploads ({columns}) VALUES {}", rows.join(", "))).await;
        let mut sending = tokio::task::JoinSet::new();
        for _ in 0..6 {
            let mut again = app.visitor();
            again.set_cookies(alice.cookies());
            sending.spawn(async move { again.post(UPLOADS, json!({})).await.status });
        }
        let mut statuses = sending.join_all().await;
        statuses.sort_unstable();
        assert_eq!(statuses, [201, 201, 409, 409, 409, 409]);
    })
    .await;
}
