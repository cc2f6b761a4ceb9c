//! `GET .../live`: one server-sent event for each 1 s cell that is new or changed.

use std::collections::VecDeque;
use std::convert::Infallible;
use std::time::Duration;

use antiphon_features::cells::value;
use antiphon_identity::Principal;
use antiphon_platform::clock::{Micros, SECOND};
use antiphon_platform::db::{ReadTransaction, Reader};
use antiphon_platform::http::{Params, Problem, Stopping, time};
use axum::extract::{Path, RawQuery, State};
use axum::response::sse::{Event, KeepAlive, Sse};
use axum::response::{IntoResponse, Response};
use futures::Stream;
use http::{HeaderMap, HeaderValue, header};
use serde::Serialize;
use serde_json::{Map, Value, json};
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use super::columns::output_of;
use super::format::number;
use super::heard::coverage;
use super::select::{self, Selected};
use super::{Api, open};
use crate::descriptors::Known;
use crate::store::{self, Change, LayerKind, LayerRow, Resolution, Source, SourceKind};

/// Events that are made at a time; the rest waits in the database.
const BATCH: i64 = 300;

/// Changes that are looked at for that.
const CHANGES: u32 = 64;

/// Between signs of life, for proxies that cut silent connections.
const SIGN_OF_LIFE: Duration = Duration::from_secs(15);

/// Waits when the database cannot be used.
const AWAY: Duration = Duration::from_secs(1);

pub(super) fn routes() -> OpenApiRouter<Api> {
    OpenApiRouter::new().routes(routes!(live))
}

/// What an event says.
#[derive(Debug, Serialize, utoipa::ToSchema)]
struct LiveEvent {
    /// The second, UTC.
    #[schema(example = "2026-05-01T00:00:00.000000Z")]
    time: String,
    /// The share of the second that was heard, 0 to 1.
    #[schema(example = 1.0)]
    coverage: f64,
    /// The value of each column, or null.
    #[schema(value_type = Object, example = json!({"level.a": -31.2}))]
    values: Map<String, Value>,
}

/// The seconds of a sensor as they are stored, as server-sent events.
///
/// A later event for the same time replaces an earlier one. `Last-Event-ID` resumes within 24 h; one that is
/// unknown, malformed or older gets the event `reset` first, whose `id` is the newest.
#[utoipa::path(
    get, path = "/api/v1/sensors/{sensor}/live", tag = "features", operation_id = "get_sensor_live",
    params(
        ("sensor" = String, Path, description = "The sensor's id"),
        ("features" = Option<String>, Query, description = "Comma list of algorithms, outputs, families or sets; default `level.a`"),
        ("Last-Event-ID" = Option<String>, Header, description = "`id` of the last event that was seen"),
    ),
    responses(
        (status = 200, description = "Events without end", body = LiveEvent, content_type = "text/event-stream"),
        (status = 400, description = "A parameter is wrong; the problem names it", body = Problem),
        (status = 401, description = "No valid key", body = Problem),
        (status = 403, description = "A sensor's key", body = Problem),
        (status = 404, description = "No such sensor", body = Problem),
        (status = 503, description = "The database cannot be used now", body = Problem),
    )
)]
async fn live(
    principal: Principal,
    State(api): State<Api>,
    Path(sensor): Path<String>,
    RawQuery(query): RawQuery,
    headers: HeaderMap,
    Stopping(stopping): Stopping,
) -> Result<Response, Problem> {
    let mut tx = open(&api, &principal, SourceKind::Sensor, &sensor).await?;
    let params = Params::parse(query.as_deref(), &["features"])?;
    let asked = params.list("features")?;
    let known = Known::for_names(&mut tx, asked.iter().flatten().copied()).await?;
    let features = select::features(asked.as_deref(), &known)?;
    let selected = select::stats(&features, None)?;
    let source = store::source(&mut tx, SourceKind::Sensor, &sensor).await?;
    let newest = source.as_ref().map_or(0, |source| source.sequence);
    let mut following =
        Following { reader: api.reader.clone(), sensor, selected, seen: newest, waiting: VecDeque::new() };
    if let Some(last) = headers.get("last-event-id") {
        let last = last.to_str().ok().and_then(|last| last.parse::<i64>().ok()).filter(|last| *last >= 0);
        let resumed = match (last, &source) {
            (Some(last), Some(source)) if store::can_resume(&mut tx, source, last).await? => Some(last),
            (Some(0), None) => Some(0),
            _ => None,
        };
        match resumed {
            Some(last) => following.seen = last,
            None => following.waiting.push_back(Event::default().event("reset").id(newest.to_string()).data("{}")),
        }
    }
    drop(tx);
    let until = futures::StreamExt::take_until(following.events(), stopping.cancelled_owned());
    let mut response = Sse::new(until).keep_alive(KeepAlive::new().interval(SIGN_OF_LIFE)).into_response();
    response.headers_mut().insert(header::CACHE_CONTROL, HeaderValue::from_static("no-store"));
    // For proxies that gather answers before they pass them on (nginx).
    response.headers_mut().insert("x-accel-buffering", HeaderValue::from_static("no"));
    Ok(response)
}

/// One client that follows a sensor.
struct Following {
    reader: Reader,
    sensor: String,
    selected: Vec<Selected>,
    /// The number of the last event that was sent, or passed over.
    seen: i64,
    waiting: VecDeque<Event>,
}

impl Following {
    fn events(self) -> impl Stream<Item = Result<Event, Infallible>> {
        futures::stream::unfold(self, |mut following| async move {
            loop {
                if let Some(event) = following.waiting.pop_front() {
                    return Some((Ok(event), following));
                }
                match following.read().await {
                    Ok(()) if following.waiting.is_empty() => following.reader.changed().await,
                    Ok(()) => {}
                    Err(problem) => {
                        tracing::debug!(detail = problem.detail, "live events wait");
                        tokio::time::sleep(AWAY).await;
                    }
                }
            }
        })
    }

    /// Makes the next events of one snapshot.
    async fn read(&mut self) -> Result<(), Problem> {
        let mut tx = self.reader.read().await?;
        let Some(source) = store::source(&mut tx, SourceKind::Sensor, &self.sensor).await? else { return Ok(()) };
        if source.sequence < self.seen {
            // The sensor was deleted with its data and begins anew.
            self.seen = source.sequence;
            self.waiting.push_back(Event::default().event("reset").id(self.seen.to_string()).data("{}"));
            return Ok(());
        }
        let changes = store::changes_since(&mut tx, source.id, self.seen, CHANGES).await?;
        let layers = store::layers_of(&mut tx, source.id).await?;
        let mut left = BATCH;
        for change in changes {
            let number_of = |second: i64| change.sequence - (change.last - second);
            let first = change.first.max(change.last - (change.sequence - self.seen - 1));
            let last = change.last.min(first + left - 1);
            let cut = Change { first, last, sequence: number_of(last) };
            self.add(&mut tx, &source, &layers, cut).await?;
            self.seen = cut.sequence;
            left -= last - first + 1;
            if left <= 0 {
                break;
            }
        }
        Ok(())
    }

    async fn add(
        &mut self,
        tx: &mut ReadTransaction,
        source: &Source,
        layers: &[LayerRow],
        change: Change,
    ) -> Result<(), Problem> {
        let (from, to) = (change.first * SECOND, (change.last + 1) * SECOND);
        let spans = store::spans(tx, source.id, from, to).await?;
        let mut values: Vec<Map<String, Value>> = (change.first..=change.last).map(|_| Map::new()).collect();
        for (layer, columns) in self.layers(layers) {
            let cells = match layer {
                Some(layer) => store::read_cells(tx, source.id, layer, Resolution::Second, from, to).await?,
                None => Vec::new(),
            };
            for (values, second) in values.iter_mut().zip(change.first..) {
                let time: Micros = second * SECOND;
                let cell = cells.binary_search_by_key(&time, |(time, _)| *time).ok().map(|index| &cells[index].1);
                for selected in &columns {
                    let feature = selected.feature;
                    for dimension in 0..usize::from(feature.series.dimensions) {
                        let found = cell.and_then(|cell| value(cell, feature.output, &selected.stat, dimension));
                        values.insert(feature.column(dimension), number(found));
                    }
                }
            }
        }
        for (values, second) in values.into_iter().zip(change.first..) {
            let start = second * SECOND;
            let coverage = coverage(&spans, start, start + SECOND, None);
            // A change also marks the seconds whose loudness looks back at it, heard or not.
            if coverage == 0.0 && values.values().all(Value::is_null) {
                continue;
            }
            let event = LiveEvent { time: time::format(start), coverage, values };
            let id = (change.sequence - (change.last - second)).to_string();
            self.waiting.push_back(Event::default().id(id).data(json!(event).to_string()));
        }
        Ok(())
    }

    /// The columns that are asked for, by the layer of the newest version that holds them.
    fn layers<'a>(&self, layers: &'a [LayerRow]) -> Vec<(Option<&'a LayerRow>, Vec<Selected>)> {
        let mut found: Vec<(Option<&LayerRow>, Vec<Selected>)> = Vec::new();
        for selected in &self.selected {
            let holds = |row: &&LayerRow| {
                row.kind == LayerKind::Series
                    && row.algorithm == selected.feature.descriptor.name
                    && row.layer == selected.layer
                    && output_of(row, &selected.feature).is_some()
            };
            let layer = layers.iter().filter(holds).max_by_key(|row| row.version);
            match found.iter_mut().find(|(known, _)| *known == layer) {
                Some((_, columns)) => columns.push(selected.clone()),
                None => found.push((layer, vec![selected.clone()])),
            }
        }
        found
    }
}
