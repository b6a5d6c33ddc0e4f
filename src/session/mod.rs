//! Sessions: lazy, split tokens, changes that add up, and what holds of them without Redis.
//!
//! 1. The cookie holds `sid.secret`. The sid (128 random bits) is a handle and no secret; of the secret (256 random
//!    bits) the store keeps only the SHA-256. A dump of Redis opens no session.
//! 2. A request that does not ask for its session costs no I/O. Reading is one `GET`, changing `GET` and one script.
//! 3. Changes are a delta, saved by compare-and-set and replayed on conflict: concurrent requests lose nothing.
//! 4. A save never creates, so a session that was logged out does not come back by a slower request.
//! 5. A login replaces the secret at once, keeps the sid, and shuts out requests begun before it. A session in use gets
//!    a new secret each hour, and the previous one works ten seconds longer.
//! 6. A user's sessions are listed, revoked one by one or all together; the index leaks nothing.
//! 7. The value is JSON behind a header of fixed width, readable with `redis-cli`. One of a newer format is read and
//!    never written; one that cannot be read is left alone, counted, and its holder is anonymous.
//!
//! ```
//! use http::{Request, Response, StatusCode, header};
//! use tower::{Layer, ServiceExt, service_fn};
//! use towerkeep::{clock::Clock, session::{MemorySessionStore, Session, Sessions}};
//! # #[tokio::main(flavor = "current_thread")] async fn main() -> towerkeep::Result<()> {
//! let sessions = Sessions::new(MemorySessionStore::new(Clock::system()));
//! let login_or_greet = service_fn(async |request: Request<()>| {
//!     let session = Session::of(&request).expect("the layer is mounted");
//!     match session.user().await? {
//!         Some(user) => Ok::<_, towerkeep::Error>(Response::new(format!("hello {user}"))),
//!         None => {
//!             session.login("ada").await?;
//!             Ok(Response::new("logged in".into()))
//!         }
//!     }
//! });
//! let app = sessions.layer().layer(login_or_greet);
//!
//! let response = app.clone().oneshot(Request::new(())).await?;
//! let cookie = response.headers()[header::SET_COOKIE].to_str().unwrap().split(';').next().unwrap();
//! let again = Request::builder().header("cookie", cookie).body(()).unwrap();
//! assert_eq!(app.clone().oneshot(again).await?.body(), "hello ada");
//!
//! let guess = Request::builder().header("cookie", cookie.replace(['1', '2'], "3")).body(()).unwrap();
//! assert_eq!(app.oneshot(guess).await?.body(), "logged in"); // a session of their own
//! # Ok(()) }
//! ```
//!
//! # When Redis is down
//! Nothing hangs and nobody is logged out. [`FallbackSessionStore`] serves the sessions that this instance has seen, keeps
//! changes, logins and logouts, and tells Redis when it is back, logouts first. Of a session never seen here nothing is
//! known: reading it is unavailable (503 by `?`), the cookie stays, and routes that do not ask go on. Without the
//! fallback that holds of all sessions.
//!
//! # Caveats
//! The layer stands outside of whatever asks for the user, see [`SessionLayer`]. Over plain HTTP browsers drop the
//! default cookie, see [`SessionCookie::local_dev`].

mod applied;
mod codec;
mod commit;
mod config;
mod cookie;
mod csrf;
mod data;
mod delta;
mod endings;
#[cfg(feature = "axum")]
mod extract;
mod fallback;
mod future;
mod handle;
mod id;
mod in_place;
mod journal;
mod layer;
mod local;
mod memory;
mod outcome;
mod record;
#[cfg(feature = "redis")]
mod redis;
mod replay;
mod service;
mod sessions;
mod store;
#[cfg(any(test, feature = "testing"))]
pub mod testing;
mod touch;
mod turns;

/// What a session is called where a request's concerns are told apart.
const CONCERN: &str = "session";

pub use config::{SessionConfig, SessionOutage};
pub use cookie::SessionCookie;
pub use data::Data;
pub use endings::Endings;
pub use fallback::{FallbackSessionStore, SessionFallback};
pub use future::ResponseFuture;
pub use handle::Session;
pub use id::{SecretHash, SessionId};
pub use journal::{FileJournal, JournalEntry, MemoryJournal, SessionJournal};
pub use layer::SessionLayer;
pub use memory::MemorySessionStore;
pub use outcome::{SessionLoad, SessionSave, SessionState};
pub use record::{Record, SessionInfo, Stamp};
#[cfg(feature = "redis")]
pub use redis::RedisSessionStore;
pub use service::SessionService;
pub use sessions::{Issued, Sessions};
pub use store::{Create, Save, SessionStore};
