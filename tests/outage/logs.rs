//! One warning when Redis goes, one line when it is back: never one per request.

use std::sync::{Arc, LazyLock, Mutex};

use tracing::{Dispatch, Event, Level, Metadata, Subscriber, field::Visit, span};

use crate::{
    app::{Client, app, keep},
    support::{RedisServer, eventually},
};

/// Keeps every event of the library with its level.
#[derive(Clone, Default)]
pub(crate) struct Lines(Arc<Mutex<Vec<(Level, String)>>>);

impl Lines {
    /// Hears this thread's lines until the answer is dropped.
    pub(crate) async fn listen(&self) -> tracing::subscriber::DefaultGuard {
        // With one subscriber alone, a line that another test's thread comes to first would be taken for one that nobody
        // listens to.
        static SECOND: LazyLock<Dispatch> = LazyLock::new(|| Dispatch::new(Lines::default()));
        LazyLock::force(&SECOND);
        let guard = tracing::subscriber::set_default(self.clone());
        // Another test may just be registering the same line as one that nobody listens to.
        tokio::time::sleep(std::time::Duration::from_millis(5)).await;
        tracing::callsite::rebuild_interest_cache();
        guard
    }

    pub(crate) fn at(&self, level: Level) -> Vec<String> {
        let lines = self.0.lock().expect("no panic");
        lines.iter().filter(|(own, _)| *own == level).map(|(_, text)| text.clone()).collect()
    }
}

struct Text(String);

impl Visit for Text {
    fn record_debug(&mut self, field: &tracing::field::Field, value: &dyn std::fmt::Debug) {
        self.0.push_str(&format!("{}={value:?} ", field.name()));
    }
}

impl Subscriber for Lines {
    fn enabled(&self, metadata: &Metadata<'_>) -> bool {
        metadata.target().starts_with("towerkeep") && *metadata.level() <= Level::INFO
    }
    fn new_span(&self, _: &span::Attributes<'_>) -> span::Id {
        span::Id::from_u64(1)
    }
    fn record(&self, _: &span::Id, _: &span::Record<'_>) {}
    fn record_follows_from(&self, _: &span::Id, _: &span::Id) {}
    fn event(&self, event: &Event<'_>) {
        let mut text = Text(String::new());
        event.record(&mut text);
        self.0.lock().expect("no panic").push((*event.metadata().level(), text.0));
    }
    fn enter(&self, _: &span::Id) {}
    fn exit(&self, _: &span::Id) {}
}

#[tokio::test]
async fn an_outage_is_one_warning_and_its_end_one_line() {
    let lines = Lines::default();
    let _guard = lines.listen().await;
    let mut server = RedisServer::start();
    let keep = keep(&server.url()).await;
    let router = app(&keep);
    let mut user = Client::logged_in(&router, 42).await;
    let before = lines.at(Level::WARN).len();
    server.kill();
    for _ in 0..50 {
        user.get("/me").await;
        user.get("/clock").await;
        user.get("/limited").await;
    }
    let warnings = lines.at(Level::WARN).split_off(before);
    assert_eq!(warnings.len(), 1, "{warnings:#?}");
    assert!(warnings[0].contains("redis is down") && warnings[0].contains("cause="), "{}", warnings[0]);
    assert_eq!(lines.at(Level::ERROR), Vec::<String>::new());

    server.launch();
    let told = async || lines.at(Level::INFO).iter().filter(|line| line.contains("redis is up")).count() == 2;
    eventually("the end is told", told).await;
}

#[tokio::test]
async fn a_start_without_redis_is_one_warning() {
    let lines = Lines::default();
    let _guard = lines.listen().await;
    let mut server = RedisServer::stopped();
    let keep = towerkeep::Keep::builder().redis(&server.url()).build().expect("never waits");
    let mut visitor = Client::new(&app(&keep), 7);
    eventually("the outage is told", async || !lines.at(Level::WARN).is_empty()).await;
    for _ in 0..20 {
        visitor.get("/limited").await;
        tokio::time::sleep(std::time::Duration::from_millis(20)).await;
    }
    let warnings = lines.at(Level::WARN);
    assert_eq!(warnings.len(), 1, "{warnings:#?}");
    assert!(warnings[0].contains("redis is not reached") && warnings[0].contains("cause=\"dropped\""), "{warnings:?}");
    server.launch();
    eventually("redis is used", async || keep.status() == towerkeep::Status::Up).await;
    assert_eq!(lines.at(Level::WARN).len(), 1);
}
