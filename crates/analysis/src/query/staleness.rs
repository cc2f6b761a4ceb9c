//! How far the answers of a standby may be behind.

use std::sync::Arc;
use std::time::{Duration, Instant};

use antiphon_platform::db::{Engine, Reader};
use axum::extract::{Request, State};
use axum::middleware::{Next, from_fn_with_state};
use axum::response::Response;
use http::{HeaderName, HeaderValue};
use tokio::sync::Mutex;
use utoipa_axum::router::OpenApiRouter;

/// Milliseconds, in the answers of a server that reads from a standby.
const HEADER: HeaderName = HeaderName::from_static("antiphon-staleness-ms");

/// How long an answer of the database counts; its age is added to it.
const KNOWN_FOR: Duration = Duration::from_secs(1);

/// The longest that a request waits for it. Who asks for data gets data, with or without the header.
const PATIENCE: Duration = Duration::from_millis(250);

#[derive(Clone)]
struct Staleness {
    reader: Reader,
    known: Arc<Mutex<Option<Known>>>,
}

/// What the database said last.
#[derive(Clone, Copy)]
struct Known {
    asked: Instant,
    /// `None` on a primary, and when it could not tell.
    behind: Option<Duration>,
}

/// Adds the header `Antiphon-Staleness-Ms` to the answers of `router` where `reader` reads from a standby: no commit of
/// the primary that is older is missing in them. A live stream has it as of its begin. The gauge
/// `antiphon_database_staleness_seconds` says the same as of the last request.
#[must_use]
pub fn tell(router: OpenApiRouter, reader: Reader) -> OpenApiRouter {
    if reader.engine() == Engine::Sqlite {
        return router;
    }
    router.layer(from_fn_with_state(Staleness { reader, known: Arc::default() }, add))
}

async fn add(State(staleness): State<Staleness>, request: Request, next: Next) -> Response {
    // Asked before the answer's snapshot is taken, which is newer then, if anything.
    let known = tokio::time::timeout(PATIENCE, staleness.ask()).await.ok();
    let mut response = next.run(request).await;
    if let Some(value) = known.and_then(|known| header(known, Instant::now())) {
        response.headers_mut().insert(HEADER, value);
    }
    response
}

impl Staleness {
    /// One request asks for all that come meanwhile.
    async fn ask(&self) -> Known {
        let mut last = self.known.lock().await;
        if let Some(known) = last.filter(|known| known.asked.elapsed() < KNOWN_FOR) {
            return known;
        }
        let asked = Instant::now();
        let behind = self.reader.staleness().await.unwrap_or_else(|error| {
            tracing::debug!(%error, "the database cannot tell how far it is behind");
            None
        });
        if let Some(behind) = behind {
            metrics::gauge!("antiphon_database_staleness_seconds").set(behind.as_secs_f64());
        }
        *last.insert(Known { asked, behind })
    }
}

fn header(known: Known, now: Instant) -> Option<HeaderValue> {
    let behind = known.behind? + now.saturating_duration_since(known.asked);
    Some(HeaderValue::from(u64::try_from(behind.as_millis()).unwrap_or(u64::MAX)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_asked_earlier_is_older_by_now() {
        let now = Instant::now();
        let value = |behind| header(Known { asked: now, behind }, now + Duration::from_millis(40));
        assert_eq!(value(Some(Duration::from_millis(1_500))).unwrap(), "1540");
        assert_eq!(value(Some(Duration::ZERO)).unwrap(), "40");
        assert_eq!(value(None), None, "a primary is never behind");
    }
}
