//! The pages: made on the server, of what the API says over HTTP, and of nothing else.
//!
//! [`Web::around`] puts the pages beside an API: requests for pages are answered here, all others go to the API, those of
//! a visitor who is signed in with the key that his cookie holds. In `up` the API is a router of the same process, elsewhere
//! a server ([`Api`]); the pages see requests and answers either way.
//!
//! A handler asks the API, and gives a `page::Page` or a `failure::Failure`; what is around it (head, navigation, the
//! visitor's choices, headers) is put there in one place, `frame::dress`. No page needs scripts to tell its facts; scripts
//! make them live.

mod alerts;
mod algorithms;
mod api;
mod assets;
mod chart;
mod failure;
mod forms;
mod frame;
mod letters;
mod live;
mod markdown;
mod model;
mod now;
mod page;
mod paths;
mod picture;
mod pipeline;
mod sensor;
mod series;
mod session;
mod song;
mod songs;
mod ticks;
mod visitor;
mod words;

use std::sync::Arc;

use antiphon_platform::clock::Clock;
use antiphon_platform::config::{Kind, Setting};
use antiphon_platform::http::finish_pages;
use axum::Router;
use axum::middleware::{from_fn_with_state, map_response_with_state};
use axum::routing::{get, post};

pub use api::{Api, ApiError};
use session::Sessions;

/// The settings of the role.
pub const SETTINGS: &[Setting] = &[
    Setting {
        key: "web.api",
        kind: Kind::Text,
        default: "http://127.0.0.1:8470",
        secret: false,
        help: "where role web finds the API; not used where the role api runs in the same process",
    },
    Setting {
        key: "web.secret",
        kind: Kind::Text,
        default: "",
        secret: true,
        help: "what visitors' cookies are sealed with, the same for all processes of role web; not set: kept in the data \
               folder, and where there is none, made anew at each start",
    },
];

/// The pages, and whom they ask. Cheap to clone.
#[derive(Clone)]
pub struct Web(Arc<Shared>);

struct Shared {
    api: Api,
    sessions: Sessions,
    clock: Clock,
}

impl Web {
    /// Pages of what `api` says; cookies are sealed with a key made of `secret`.
    #[must_use]
    pub fn new(api: Api, secret: &[u8], clock: Clock) -> Self {
        Self(Arc::new(Shared { api, sessions: Sessions::new(secret, clock.clone()), clock }))
    }

    /// The pages, and `others` for all that is none of them: the API of this process, or what this process has beside one
    /// that is elsewhere.
    pub fn around(self, others: Router) -> Router {
        let pages = Router::new()
            .route("/", get(now::page))
            .route("/live", get(live::events))
            .route("/sensors", get(now::find))
            .route("/sensors/{sensor}", get(sensor::page))
            .route("/sensors/{sensor}/chart", get(sensor::chart))
            .route("/sensors/{sensor}/picture.png", get(sensor::picture))
            .route("/songs", get(songs::page))
            .route("/songs/{song}", get(song::page))
            .route("/songs/{song}/picture.png", get(song::picture))
            .route("/dead-letters", get(letters::list))
            .route("/dead-letters/{id}", get(letters::show).post(letters::act))
            .route("/algorithms", get(algorithms::list))
            .route("/algorithms/{name}", get(algorithms::show))
            .route("/algorithms/{name}/picture.svg", get(algorithms::picture))
            .route("/sign-in", get(forms::sign_in_page).post(forms::sign_in))
            .route("/sign-out", post(forms::sign_out))
            .route("/choices", post(forms::choose))
            .route("/assets/{version}/{name}", get(assets::serve))
            .with_state(self.clone())
            .route_layer(from_fn_with_state(self.clone(), frame::dress));
        let others = others
            .layer(from_fn_with_state(self.clone(), visitor::with_key_of_cookie))
            .layer(map_response_with_state(self, frame::no_such_page));
        finish_pages(pages).fallback_service(others)
    }

    /// A router for a process whose API is elsewhere: it passes on what is the API's.
    pub fn pass_on(&self) -> Router {
        api::pass_on(self.0.api.clone())
    }

    fn api(&self) -> &Api {
        &self.0.api
    }

    fn sessions(&self) -> &Sessions {
        &self.0.sessions
    }

    fn now(&self) -> antiphon_platform::clock::Micros {
        self.0.clock.now()
    }
}
