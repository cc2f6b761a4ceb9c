//! `GET /api/v1/algorithms`: the registry.

use antiphon_features::descriptor::{Descriptor, Hop, Kind, Output};
use antiphon_features::sets::SETS;
use antiphon_identity::Principal;
use antiphon_platform::http::{Page, Params, Problem, decode_cursor, nearest};
use axum::Json;
use axum::extract::{Path, RawQuery, State};
use serde::Serialize;
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use super::select::full_name;
use super::{Api, noise};
use crate::descriptors::{Known, annotation_type};

pub(super) fn routes() -> OpenApiRouter<Api> {
    OpenApiRouter::new().routes(routes!(list)).routes(routes!(get))
}

/// An algorithm, as everybody is told of it.
#[derive(Clone, Debug, PartialEq, Serialize, utoipa::ToSchema)]
pub struct AlgorithmInfo {
    /// Its name: the first part of every column.
    #[schema(example = "level")]
    pub name: &'static str,
    /// Raised whenever what it returns changes.
    pub version: u32,
    /// What it belongs with.
    pub family: &'static str,
    /// What it is, in one line.
    pub title: &'static str,
    /// What it measures, and what holds at the borders of recordings.
    pub about: &'static str,
    /// What it yields.
    pub outputs: Vec<OutputInfo>,
    /// What can be set.
    pub parameters: Vec<ParameterInfo>,
    /// Standards and implementations that define it.
    pub references: Vec<&'static str>,
    /// The sets that have it: see `GET /api/v1/plans`.
    #[schema(example = json!(["default", "level-only"]))]
    pub plans: Vec<&'static str>,
}

/// One thing that an algorithm yields.
#[derive(Clone, Debug, PartialEq, Serialize, utoipa::ToSchema)]
pub struct OutputInfo {
    /// What to ask for as a feature or find as a type.
    #[schema(example = "level.a")]
    pub name: String,
    /// What it is, in one line.
    pub title: &'static str,
    /// `series`, `annotation` or `summary`.
    pub kind: &'static str,
    /// The unit; `dBFS` reads `dB` for a calibrated sensor.
    pub unit: &'static str,
    /// Values at each time: 1, or as many columns as a vector has.
    pub dimensions: u16,
    /// What each column of a vector is.
    #[serde(skip_serializing_if = "<[_]>::is_empty")]
    pub labels: &'static [&'static str],
    /// What can be asked for as `stat`; the first is the default, `lNN` stands for `l01` to `l99`.
    pub stats: &'static [&'static str],
    /// Further stats that are of local days (`tz`), at `resolution=1d` only.
    #[serde(skip_serializing_if = "<[_]>::is_empty")]
    pub day_stats: &'static [&'static str],
    /// Seconds between frames, if frames can be kept.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub hop: Option<f64>,
    /// The shortest annotation that is shown, in seconds.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub minimum: Option<f64>,
    /// Whether it is computed when a plan names the algorithm without outputs.
    pub default: bool,
}

/// Something that can be set in a plan.
#[derive(Clone, Debug, PartialEq, Serialize, utoipa::ToSchema)]
pub struct ParameterInfo {
    /// Its name.
    pub name: &'static str,
    /// What it does.
    pub about: &'static str,
    /// Its unit.
    pub unit: &'static str,
    /// Smallest value allowed.
    pub minimum: f64,
    /// Largest value allowed.
    pub maximum: f64,
    /// The value when nothing is said.
    pub default: f64,
}

/// What everybody is told of an algorithm.
#[must_use]
pub fn algorithm_info(descriptor: &'static Descriptor) -> AlgorithmInfo {
    let parameters = descriptor.parameters.iter().map(|parameter| ParameterInfo {
        name: parameter.name,
        about: parameter.about,
        unit: parameter.unit,
        minimum: parameter.minimum,
        maximum: parameter.maximum,
        default: parameter.default,
    });
    AlgorithmInfo {
        name: descriptor.name,
        version: descriptor.version,
        family: descriptor.family,
        title: descriptor.title,
        about: descriptor.about,
        outputs: descriptor.outputs.iter().map(|output| output_info(descriptor, output)).collect(),
        parameters: parameters.collect(),
        references: Some(descriptor.reference).filter(|reference| !reference.is_empty()).into_iter().collect(),
        plans: SETS.iter().filter(|set| set.has(descriptor.name)).map(|set| set.name).collect(),
    }
}

fn output_info(descriptor: &'static Descriptor, output: &'static Output) -> OutputInfo {
    let seconds = |hop: Hop| f64::from(hop.samples) / f64::from(hop.rate);
    let (kind, dimensions, stats, hop, minimum) = match &output.kind {
        Kind::Series(series) => ("series", series.dimensions, series.stats, series.hop.map(seconds), None),
        Kind::Annotation { minimum } => ("annotation", 1, &[][..], None, Some(*minimum as f64 / 1e6)),
        Kind::Summary => ("summary", 1, &[][..], None, None),
    };
    let name = match output.kind {
        // Annotations are found by their type.
        Kind::Annotation { .. } => annotation_type(descriptor, output),
        Kind::Series(_) | Kind::Summary => full_name(descriptor, output),
    };
    OutputInfo {
        name,
        title: output.title,
        kind,
        unit: output.unit,
        dimensions,
        labels: output.labels,
        stats,
        day_stats: noise::stats_of(descriptor, output),
        hop,
        minimum,
        default: output.default,
    }
}

/// The algorithms of this server, and those of foreign groups that told of them.
#[utoipa::path(
    get, path = "/api/v1/algorithms", tag = "algorithms", operation_id = "list_algorithms",
    params(
        ("limit" = Option<u32>, Query, description = "How many, 1 to 1,000; default 100"),
        ("cursor" = Option<String>, Query, description = "`next` of the page before"),
    ),
    responses(
        (status = 200, body = Page<AlgorithmInfo>),
        (status = 400, description = "A parameter is wrong", body = Problem),
        (status = 401, description = "No valid key", body = Problem),
        (status = 403, description = "A sensor's key", body = Problem),
        (status = 503, description = "The database cannot be used now", body = Problem),
    )
)]
async fn list(
    principal: Principal,
    State(api): State<Api>,
    RawQuery(query): RawQuery,
) -> Result<Json<Page<AlgorithmInfo>>, Problem> {
    principal.may_read()?;
    let params = Params::parse(query.as_deref(), &["limit", "cursor"])?;
    let limit = params.limit()?;
    let after: Option<String> = decode_cursor(&params)?;
    let mut descriptors: Vec<_> = Known::load(&mut api.reader.read().await?).await?.newest().collect();
    descriptors.sort_by_key(|descriptor| descriptor.name);
    descriptors.retain(|descriptor| after.as_deref().is_none_or(|after| descriptor.name > after));
    let items = descriptors.into_iter().take(limit + 1).map(algorithm_info).collect();
    Ok(Json(Page::of(items, limit, |last: &AlgorithmInfo| last.name)))
}

/// One algorithm.
#[utoipa::path(
    get, path = "/api/v1/algorithms/{name}", tag = "algorithms", operation_id = "get_algorithm",
    params(("name" = String, Path, description = "The algorithm's name", example = "level")),
    responses(
        (status = 200, body = AlgorithmInfo),
        (status = 400, description = "A parameter; there are none", body = Problem),
        (status = 401, description = "No valid key", body = Problem),
        (status = 403, description = "A sensor's key", body = Problem),
        (status = 404, description = "No such algorithm; the hint is the nearest", body = Problem),
        (status = 503, description = "The database cannot be used now", body = Problem),
    )
)]
async fn get(
    principal: Principal,
    State(api): State<Api>,
    Path(name): Path<String>,
    RawQuery(query): RawQuery,
) -> Result<Json<AlgorithmInfo>, Problem> {
    principal.may_read()?;
    let known = Known::load(&mut api.reader.read().await?).await?;
    let Some(found) = known.find(&name) else {
        let names = known.newest().map(|descriptor| descriptor.name);
        let shown: String = name.chars().take(100).collect();
        return Err(Problem::not_found(format!("there is no algorithm {shown:?}")).hint(nearest(&name, names)));
    };
    Params::parse(query.as_deref(), &[])?;
    Ok(Json(algorithm_info(found)))
}
