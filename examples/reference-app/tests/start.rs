//! Starting, refusing to start, and stopping.
mod support;

use std::net::TcpListener;

use rustix::process::{Pid, Signal, kill_process};
use serde_json::json;
use support::{App, command};

/// Starts the app with what cannot work; answers its one line of complaint.
fn complaint(args: &[&str]) -> String {
    let dir = tempfile::tempdir().expect("a temporary directory");
    std::fs::write(dir.path().join("text.db"), "this is no database, however long it is".repeat(100)).expect("a file");
    let listen: &[&str] = if args.contains(&"--listen") { &[] } else { &["--listen", "127.0.0.1:0"] };
    let output = support::outcome(&mut command(dir.path(), &[args, listen].concat()));
    let stderr = String::from_utf8(output.stderr).expect("text");
    assert_eq!(output.status.code(), Some(1), "{stderr}");
    assert_eq!(stderr.lines().count(), 1, "{stderr}");
    assert!(stderr.starts_with("reference-app: ") && !stderr.contains("panicked"), "{stderr}");
    assert!(output.stdout.is_empty(), "nothing was served");
    stderr
}

#[test]
fn a_database_url_that_is_none_is_named() {
    assert!(complaint(&["--database", "mysql://root:secret@localhost/x"]).contains("DATABASE_URL"));
    let malformed = complaint(&["--database", "postgres://user:secret@host:port/x"]);
    assert!(malformed.contains("DATABASE_URL"), "{malformed}");
    assert!(!malformed.contains("secret"), "{malformed}");
}

#[test]
fn a_database_that_cannot_be_used_is_named() {
    assert!(complaint(&["--database", "sqlite:no/such/directory/x.db"]).contains("no/such/directory/x.db"));
    assert!(complaint(&["--database", "sqlite:text.db"]).contains("text.db"));
    let unused = TcpListener::bind("127.0.0.1:0").and_then(|l| l.local_addr()).expect("a free port");
    let place = unused.to_string();
    assert!(complaint(&["--database", &format!("postgres://app:secret@{place}/x")]).contains(&place));
}

#[test]
fn a_database_without_a_file_is_named() {
    assert!(complaint(&["--database", "sqlite:"]).contains("sqlite:towerkeep.db"));
}

#[test]
fn a_port_in_use_is_named() {
    let taken = TcpListener::bind("127.0.0.1:0").expect("a free port");
    let address = taken.local_addr().expect("bound").to_string();
    assert!(complaint(&["--listen", &address]).contains(&address));
}

#[test]
fn a_listen_address_that_is_none_is_named() {
    assert!(complaint(&["--listen", "everywhere"]).contains("everywhere"));
}

#[test]
fn a_redis_url_that_is_none_is_named() {
    let malformed = complaint(&["--redis", "http://:secret@localhost"]);
    assert!(malformed.to_lowercase().contains("redis") && !malformed.contains("secret"), "{malformed}");
}

#[test]
fn a_proxy_network_that_is_none_is_named() {
    assert!(complaint(&["--trusted-proxy", "10.0.0.0/99"]).contains("10.0.0.0/99"));
}

#[tokio::test]
async fn it_greets_with_what_to_try() {
    let app = App::start(&[]);
    let curls: Vec<_> = app.greeting().iter().filter(|line| line.trim_start().starts_with("curl ")).collect();
    assert_eq!(curls.len(), 4, "{curls:?}");
    assert!(app.greeting().iter().any(|line| line.ends_with("/docs")), "{:?}", app.greeting());
    assert!(curls.iter().all(|line| line.contains(app.url())), "{curls:?}");
}

#[tokio::test]
async fn the_administrators_password_is_told_once() {
    let app = App::start(&[]);
    let line = app.greeting().iter().find(|line| line.starts_with("user admin")).expect("a password is told");
    let password = line.split([' ', ',']).nth(5).expect("the password");
    let login = json!({ "username": "admin", "password": password });
    let admin = app.visitor().post("/api/v1/auth/login", login).await;
    assert_eq!((admin.status, &admin.body["is_admin"]), (200, &json!(true)), "{admin:?}");
    let again = App::start_in(app.stop(), &[]);
    assert!(!again.greeting().iter().any(|line| line.starts_with("user admin")));
}

#[tokio::test]
async fn data_outlives_the_process() {
    let app = App::start(&[]);
    app.user("alice").await;
    let again = App::start_in(app.stop(), &[]);
    let taken = json!({ "username": "alice", "password": "another password" });
    assert_eq!(again.visitor().post("/api/v1/auth/register", taken).await.status, 409);
}

#[tokio::test]
async fn no_demo_data_where_none_is_wanted() {
    let login = json!({ "username": "demo", "password": "demo-password" });
    for args in [["--no-seed"].as_slice(), &["--database", "sqlite:own.db"]] {
        let app = App::start(args);
        assert_eq!(app.visitor().post("/api/v1/auth/login", login.clone()).await.status, 401, "{args:?}");
    }
}

#[tokio::test]
async fn stops_at_once_when_asked_to() {
    for signal in [Signal::TERM, Signal::INT] {
        let mut app = App::start(&[]);
        assert_eq!(app.visitor().get("/livez").await.status, 200);
        kill_process(Pid::from_raw(i32::try_from(app.pid()).expect("a pid")).expect("a pid"), signal).expect("ours");
        assert_eq!(app.wait().code(), Some(0));
    }
}
