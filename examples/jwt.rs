//! A JWT instead of our sessions: insert a `Principal`, and per-user limits and caches follow it.
//!
//! ```sh
//! cargo run --example jwt                          # prints TOKEN=..., to paste where curl runs
//! curl -i -H "authorization: Bearer $TOKEN" http://127.0.0.1:3000/me
//! ```
use std::net::SocketAddr;

use axum::{
    Router,
    extract::Request,
    middleware::{Next, from_fn},
    response::Response,
    routing::get,
};
use jsonwebtoken::{DecodingKey, EncodingKey, Header, Validation, decode, encode};
use serde::{Deserialize, Serialize};
use tower::ServiceBuilder;
use towerkeep::prelude::*;

const PER_USER: Policy = Policy::token_bucket("per-user", 10, seconds(1));
const SECRET: &[u8] = b"read it from your secret store";

#[derive(Serialize, Deserialize)]
struct Claims {
    sub: String,
    exp: u64,
}

/// Who is asking, by the token; a token that does not hold is nobody.
async fn authenticate(mut request: Request, next: Next) -> Response {
    let header = request.headers().get("authorization").and_then(|value| value.to_str().ok());
    let token = header.and_then(|value| value.strip_prefix("Bearer "));
    let claims =
        token.and_then(|token| decode::<Claims>(token, &DecodingKey::from_secret(SECRET), &Validation::default()).ok());
    let principal = claims.map_or_else(Principal::anonymous, |token| Principal::user(token.claims.sub));
    request.extensions_mut().insert(principal);
    next.run(request).await
}

async fn me(user: CurrentUser<u64>) -> String {
    format!("user {}\n", user.0)
}

#[tokio::main]
async fn main() -> anyhow::Result<()> {
    let keep = Keep::from_env()?;
    let app = Router::new().route("/me", get(me).layer(keep.cache().per_user("me").ttl(minutes(1)))).layer(
        ServiceBuilder::new()
            .layer(keep.layer())
            .layer(from_fn(authenticate))
            .layer(keep.limits().layer(PER_USER).by(Key::user().or(Key::client_ip()))),
    );
    keep.verify()?;
    let claims = Claims { sub: "42".into(), exp: 4_102_444_800 };
    println!("TOKEN={}", encode(&Header::default(), &claims, &EncodingKey::from_secret(SECRET))?);
    let listener = tokio::net::TcpListener::bind("127.0.0.1:3000").await?;
    Ok(axum::serve(listener, app.into_make_service_with_connect_info::<SocketAddr>()).await?)
}
