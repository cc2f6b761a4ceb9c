//! A page before it is dressed: what it says, not what is around it.

use axum::response::{IntoResponse, Response};
use http::StatusCode;
use maud::Markup;

/// The part of the site that a page belongs to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Section {
    /// What is heard now, and sensors.
    Now,
    /// Songs.
    Songs,
    /// What was set aside.
    Letters,
    /// Algorithms.
    Algorithms,
}

/// A page.
#[derive(Clone, Debug)]
pub struct Page {
    /// What it is called in tabs, histories and by screen readers.
    pub title: String,
    /// Which entry of the navigation is marked.
    pub section: Option<Section>,
    /// What it says.
    pub body: Markup,
    /// Scripts of its own, by name.
    pub scripts: &'static [&'static str],
    /// The status.
    pub status: StatusCode,
    /// Seconds after which browsers ask again by themselves.
    pub again: Option<u32>,
}

impl Page {
    /// A page of no section, without scripts of its own.
    #[must_use]
    pub fn new(title: impl Into<String>, body: Markup) -> Self {
        Self { title: title.into(), section: None, body, scripts: &[], status: StatusCode::OK, again: None }
    }

    /// Marks its entry of the navigation.
    #[must_use]
    pub fn of(self, section: Section) -> Self {
        Self { section: Some(section), ..self }
    }

    /// Scripts that make it live.
    #[must_use]
    pub fn with_scripts(self, scripts: &'static [&'static str]) -> Self {
        Self { scripts, ..self }
    }

    /// Another status than 200.
    #[must_use]
    pub fn with_status(self, status: StatusCode) -> Self {
        Self { status, ..self }
    }

    /// Asked for again by browsers after that many seconds.
    #[must_use]
    pub fn again_after(self, seconds: u32) -> Self {
        Self { again: Some(seconds), ..self }
    }
}

impl IntoResponse for Page {
    fn into_response(self) -> Response {
        let mut response = self.status.into_response();
        response.extensions_mut().insert(self);
        response
    }
}
