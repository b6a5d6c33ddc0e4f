//! Sessions that another library wrote: each is read once, when its holder comes, and taken over; nobody logs in again.
//!
//! ```sh
//! REDIS_URL=redis://127.0.0.1 cargo run --example migrate_sessions --features full
//! curl -i --cookie "id=<an old cookie>" http://127.0.0.1:3000/me
//! ```
use std::{collections::HashMap, net::SocketAddr};

use axum::{Router, extract::Request, extract::State, http::HeaderMap, middleware, response::Response, routing::get};
use serde::de::IgnoredAny;
use serde_json::Value;
use tower::ServiceBuilder;
use towerkeep::{prelude::*, session::SessionState};

type Values = HashMap<String, Value>;

/// Where the old sessions lie.
#[derive(Clone)]
pub struct Old(pub redis::aio::MultiplexedConnection);

impl Old {
    /// Takes the session of the old cookie out of Redis, so that it is taken over once.
    pub async fn take(&mut self, headers: &HeaderMap) -> redis::RedisResult<Option<Values>> {
        let Some(id) = old_cookie(headers) else { return Ok(None) };
        // tower-sessions-redis-store: the key is the cookie's value, 128 bits in base64. Others: `session:abc123`.
        let key = if id.len() == 22 { id } else { format!("session:{id}") };
        let stored: Option<Vec<u8>> = redis::cmd("GETDEL").arg(key).query_async(&mut self.0).await?;
        Ok(stored.and_then(|stored| read(&stored)))
    }
}

/// The value of the cookie `id`. It becomes part of a key: anything but letters, digits, `-` and `_` is nobody's.
fn old_cookie(headers: &HeaderMap) -> Option<String> {
    let pairs = headers.get_all("cookie").iter().filter_map(|line| line.to_str().ok()).flat_map(|line| line.split(';'));
    let id = pairs.filter_map(|pair| pair.trim().strip_prefix("id=")).next()?;
    let is_fit = |byte: u8| byte.is_ascii_alphanumeric() || b"-_".contains(&byte);
    ((6..=64).contains(&id.len()) && id.bytes().all(is_fit)).then(|| id.to_owned())
}

/// MessagePack of `(id, values, expiry)`, as tower-sessions writes it, or a plain JSON object.
fn read(stored: &[u8]) -> Option<Values> {
    let packed = rmp_serde::from_slice::<(IgnoredAny, Values, IgnoredAny)>(stored);
    packed.map(|(_, values, _)| values).or_else(|_| serde_json::from_slice(stored)).ok()
}

/// The values go on in a session of ours, and the user whom they name is logged in.
async fn adopt(session: &Session, values: Values) -> towerkeep::Result<()> {
    for (key, value) in &values {
        session.insert(key, value)?;
    }
    match values.get("user_id") {
        Some(Value::String(user)) => session.login(user).await,
        Some(Value::Number(user)) => session.login(user).await,
        _ => Ok(()),
    }
}

/// Stands inside of the session layer. Without Redis it goes on, and the old cookie waits for the next request.
pub async fn take_over(
    State(mut old): State<Old>,
    session: Session,
    request: Request,
    next: middleware::Next,
) -> Response {
    if session.state().await == SessionState::Anonymous
        && let Ok(Some(values)) = old.take(request.headers()).await
        && let Err(error) = adopt(&session, values).await
    {
        tracing::warn!(%error, "an old session is not taken over");
    }
    next.run(request).await
}

/// The routes, with the middleware inside of the session layer.
pub fn app(keep: &Keep, old: Old) -> Router {
    let me = async |user: CurrentUser<u64>| format!("user {}\n", user.0);
    Router::new().route("/me", get(me)).layer(
        ServiceBuilder::new()
            .layer(keep.layer())
            .layer(keep.sessions().layer())
            .layer(middleware::from_fn_with_state(old, take_over)),
    )
}

#[tokio::main]
async fn main() -> anyhow::Result<()> {
    let url = std::env::var("REDIS_URL")?;
    let old = redis::Client::open(url)?.get_multiplexed_async_connection().await?;
    let app = app(&Keep::from_env()?, Old(old));
    let listener = tokio::net::TcpListener::bind("127.0.0.1:3000").await?;
    Ok(axum::serve(listener, app.into_make_service_with_connect_info::<SocketAddr>()).await?)
}
