//! `GET /api/v1/plans`: the sets that plans are asked for by.

use antiphon_features::sets::{SETS, Set, bytes_per_day};
use antiphon_identity::Principal;
use antiphon_platform::http::{Page, Params, Problem};
use axum::Json;
use axum::extract::RawQuery;
use serde::Serialize;
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use super::Api;
use crate::plan::Choice;

pub(super) fn routes() -> OpenApiRouter<Api> {
    OpenApiRouter::new().routes(routes!(list))
}

/// A set, as everybody is told of it.
#[derive(Clone, Debug, PartialEq, Serialize, utoipa::ToSchema)]
pub struct PlanInfo {
    /// What to say as `plan` of a sensor, as the setting `songs.plan`, or as a feature.
    #[schema(example = "soundscape")]
    pub name: &'static str,
    /// What it is for, in one line.
    pub about: &'static str,
    /// What it computes, in this version of the server.
    pub algorithms: Vec<Choice>,
    /// Bytes of a sensor-day that its values take at 1 s, before coarser rows and the database's own overhead.
    #[schema(example = 18_500_000)]
    pub bytes_per_day: u64,
    /// Seconds of one core for an hour of 44.1 kHz stereo FLAC with its decoding, on the machine of `docs/benchmarks.md`.
    #[schema(example = 12.3)]
    pub cpu_seconds_per_hour: f32,
}

/// What everybody is told of a set.
#[must_use]
pub fn plan_info(set: &'static Set) -> PlanInfo {
    let items = set.to_items();
    PlanInfo {
        name: set.name,
        about: set.about,
        bytes_per_day: bytes_per_day(&items),
        algorithms: items.into_iter().map(Choice::from).collect(),
        cpu_seconds_per_hour: set.cpu_seconds_per_hour,
    }
}

/// The plans that have a name: what each computes, stores and costs.
#[utoipa::path(
    get, path = "/api/v1/plans", tag = "algorithms", operation_id = "list_plans",
    responses(
        (status = 200, body = Page<PlanInfo>),
        (status = 400, description = "A parameter; there are none", body = Problem),
        (status = 401, description = "No valid key", body = Problem),
        (status = 403, description = "A sensor's key", body = Problem),
    )
)]
async fn list(principal: Principal, RawQuery(query): RawQuery) -> Result<Json<Page<PlanInfo>>, Problem> {
    principal.may_read()?;
    Params::parse(query.as_deref(), &[])?;
    Ok(Json(Page { items: SETS.iter().map(plan_info).collect(), next: None }))
}
