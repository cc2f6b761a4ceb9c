//! `GET /live?sensor=A&sensor=B`: everything that moves on a page, in one stream of events.
//!
//! A browser opens six connections to a server at most, so one stream carries what the API tells of each sensor apart: new
//! seconds with their rows of the preview (event `second`), the health of sensors (`health`), and what the pipeline is
//! doing (`pipeline`). Each part begins again by itself when the API was away; a script whose stream ends begins it anew.

use std::collections::{BTreeMap, VecDeque};
use std::convert::Infallible;
use std::time::Duration;

use antiphon_platform::clock::{Micros, SECOND};
use antiphon_platform::http::time;
use axum::body::BodyDataStream;
use axum::extract::{RawQuery, State};
use axum::response::sse::{Event, KeepAlive, Sse};
use axum::response::{IntoResponse, Response};
use chrono_tz::Tz;
use data_encoding::BASE64;
use futures::stream::{BoxStream, SelectAll, select_all};
use futures::{Stream, StreamExt};
use http::{HeaderName, HeaderValue, Method, header};
use serde::Deserialize;
use serde_json::{Value, json};

use crate::Web;
use crate::failure::Failure;
use crate::model::{List, Sensor};
use crate::paths;
use crate::pipeline::{Pipeline, rate};
use crate::series::{HEARD_ENOUGH, Kind, Stretch};
use crate::visitor::Visitor;

/// Sensors of one stream at most.
pub const SENSORS: usize = 6;

/// Bands of the preview, and its rows in a second.
const BANDS: usize = 64;
const ROWS: usize = 10;

/// Seconds before now that a stream begins with, so that pictures are not empty at first.
const PAST: Micros = 45 * SECOND;

/// What is older is of no use to who looks at what is heard now.
const STALE: Micros = 120 * SECOND;

/// How often figures are asked for, and the health of sensors.
const FIGURES_EVERY: Duration = Duration::from_secs(2);
const HEALTH_EVERY: Duration = Duration::from_secs(5);

/// Pause before the API is asked again after a fault.
const AWAY: Duration = Duration::from_secs(1);

/// The largest event of the API, in bytes.
const EVENT_LIMIT: usize = 256 * 1024;

/// Between signs of life, for proxies that cut silent connections.
const SIGN_OF_LIFE: Duration = Duration::from_secs(15);

type Events = BoxStream<'static, Event>;

/// The stream.
pub async fn events(State(web): State<Web>, visitor: Visitor, RawQuery(query): RawQuery) -> Result<Response, Failure> {
    let pairs = url::form_urlencoded::parse(query.as_deref().unwrap_or_default().as_bytes());
    let mut sensors: Vec<String> = Vec::new();
    for (_, sensor) in pairs.into_owned().filter(|(name, _)| name == "sensor") {
        if !sensors.contains(&sensor) {
            sensors.push(sensor);
        }
    }
    if sensors.len() > SENSORS {
        return Err(Failure::bad_request(format!("one stream carries {SENSORS} sensors at most")));
    }
    // Whoever may not read learns so by the status: from an event, scripts could not tell.
    web.api().bytes(&visitor, Method::GET, "/api/v1/sensors?limit=1").await?;
    let mut all: SelectAll<Events> = select_all([figures(web.clone(), visitor.clone()).boxed()]);
    all.push(health(web.clone(), visitor.clone(), sensors.clone()).boxed());
    for sensor in sensors {
        all.push(heard(Listening::new(web.clone(), visitor.clone(), sensor)).boxed());
    }
    let until = all.take_until(visitor.stopping.0.clone().cancelled_owned()).map(Ok::<_, Infallible>);
    let mut response = Sse::new(until).keep_alive(KeepAlive::new().interval(SIGN_OF_LIFE)).into_response();
    response.headers_mut().insert(header::CACHE_CONTROL, HeaderValue::from_static("no-store"));
    response.headers_mut().insert("x-accel-buffering", HeaderValue::from_static("no"));
    Ok(response)
}

fn event(name: &str, data: &Value) -> Event {
    Event::default().event(name).data(data.to_string())
}

/// What the pipeline is doing, every two seconds.
fn figures(web: Web, visitor: Visitor) -> impl Stream<Item = Event> {
    let ticks = tokio::time::interval(FIGURES_EVERY);
    futures::stream::unfold((web, visitor, ticks, None), |(web, visitor, mut ticks, before)| async move {
        loop {
            ticks.tick().await;
            let Ok(now) = Pipeline::ask(&web, &visitor).await else { continue };
            let moment = (web.now(), now.accepted);
            let rate = before.map(|before| rate(before, moment));
            let mut data = json!(now);
            data["rate"] = json!(rate);
            return Some((event("pipeline", &data), (web, visitor, ticks, Some(moment))));
        }
    })
}

/// How the sensors are doing.
fn health(web: Web, visitor: Visitor, sensors: Vec<String>) -> impl Stream<Item = Event> {
    let ticks = tokio::time::interval(HEALTH_EVERY);
    futures::stream::unfold((web, visitor, sensors, ticks), |(web, visitor, sensors, mut ticks)| async move {
        ticks.tick().await;
        let asked = sensors.iter().map(async |sensor| {
            let path = format!("/api/v1{}", paths::sensor(sensor));
            web.api().get::<Sensor>(&visitor, &path).await.ok()
        });
        let known = futures::future::join_all(asked).await;
        let told = known.iter().flatten().map(|sensor| {
            json!({ "id": sensor.id, "status": sensor.status, "last_heard": sensor.last_heard,
                    "gaps_today": sensor.gaps_today, "seconds_today": sensor.seconds_today })
        });
        let data = json!({ "now": time::format(web.now()), "sensors": told.collect::<Vec<_>>() });
        Some((event("health", &data), (web, visitor, sensors, ticks)))
    })
}

/// One sensor that is listened to.
struct Listening {
    web: Web,
    visitor: Visitor,
    sensor: String,
    /// The API's stream, while there is one.
    source: Option<BodyDataStream>,
    /// What came of an event that is not whole yet.
    text: Vec<u8>,
    /// The last event's id, to go on from.
    last: Option<String>,
    /// Whether the past was told.
    has_past: bool,
    waiting: VecDeque<Event>,
}

/// What the API says of a second.
#[derive(Deserialize)]
struct Second {
    time: String,
    coverage: f64,
    values: serde_json::Map<String, Value>,
}

fn heard(listening: Listening) -> impl Stream<Item = Event> {
    futures::stream::unfold(listening, |mut listening| async move {
        loop {
            if let Some(event) = listening.waiting.pop_front() {
                return Some((event, listening));
            }
            if let Err(failure) = listening.listen().await {
                if matches!(failure, Failure::Refused { .. } | Failure::KeyNeeded) {
                    // Nothing will come of asking again: the sensor is gone, or the key.
                    tracing::debug!(sensor = listening.sensor, ?failure, "live events end");
                    return None;
                }
                listening.source = None;
                tokio::time::sleep(AWAY).await;
            }
        }
    })
}

impl Listening {
    fn new(web: Web, visitor: Visitor, sensor: String) -> Self {
        let waiting = VecDeque::new();
        Self { web, visitor, sensor, source: None, text: Vec::new(), last: None, has_past: false, waiting }
    }

    /// Waits for the next piece of the API's stream, and makes events of what is whole.
    async fn listen(&mut self) -> Result<(), Failure> {
        let Some(source) = &mut self.source else { return self.begin().await };
        let Some(Ok(piece)) = source.next().await else { return Err(Failure::away("the stream ended")) };
        self.text.extend_from_slice(&piece);
        if self.text.len() > EVENT_LIMIT {
            return Err(Failure::away("an event is too long"));
        }
        while let Some(end) = self.text.windows(2).position(|pair| pair == b"\n\n") {
            let whole: Vec<u8> = self.text.drain(..end + 2).collect();
            self.take(&String::from_utf8_lossy(&whole)).await?;
        }
        Ok(())
    }

    async fn begin(&mut self) -> Result<(), Failure> {
        let path = format!("/api/v1{}/live?features=level.a", paths::sensor(&self.sensor));
        let last = self.last.as_ref().and_then(|last| HeaderValue::from_str(last).ok());
        let headers: Vec<_> = last.map(|last| (HeaderName::from_static("last-event-id"), last)).into_iter().collect();
        let response = self.web.api().ask(&self.visitor, Method::GET, &path, &headers).await?;
        if !response.status().is_success() {
            return Err(Failure::refused(response.status(), b""));
        }
        self.text.clear();
        self.source = Some(response.into_body().into_data_stream());
        if !self.has_past {
            // The stream is open, so nothing is lost between the past and it.
            let now = self.web.now().div_euclid(SECOND) * SECOND;
            self.tell_past(now - PAST, now + SECOND).await;
            self.has_past = true;
        }
        Ok(())
    }

    async fn tell_past(&mut self, from: Micros, to: Micros) {
        let stretch = Stretch { kind: Kind::Sensor, id: &self.sensor, from, to, zone: Tz::UTC };
        let rows = preview(&self.web, &self.visitor, &stretch);
        let level = stretch.ask(&self.web, &self.visitor, "&features=level.a&resolution=1s");
        let (rows, level) = futures::join!(rows, level);
        let levels: BTreeMap<Micros, f64> = level.iter().flat_map(|level| level.values(0)).collect();
        let seconds = (from / SECOND..to / SECOND).map(|second| second * SECOND).filter_map(|second| {
            let rows = Rows::of(&rows, second)?;
            let (time, level) = (time::format(second), levels.get(&second));
            Some(json!({ "sensor": self.sensor, "time": time, "level": level, "rows": rows.data, "mask": rows.mask }))
        });
        let seconds: Vec<Event> = seconds.map(|second| event("second", &second)).collect();
        self.waiting.extend(seconds);
    }

    /// Makes an event of one of the API's.
    async fn take(&mut self, text: &str) -> Result<(), Failure> {
        if let Some(id) = fields(text, "id:").next() {
            self.last = Some(id.to_owned());
        }
        if fields(text, "event:").next().is_some() {
            return Ok(());
        }
        let data: String = fields(text, "data:").collect();
        let Ok(second) = serde_json::from_str::<Second>(&data) else { return Ok(()) };
        let Ok(begin) = time::parse(&second.time) else { return Ok(()) };
        if begin < self.web.now() - STALE {
            return Ok(());
        }
        // What follows tells the second again, once more of it was heard.
        let level =
            second.values.get("level.a").filter(|_| second.coverage >= HEARD_ENOUGH).cloned().unwrap_or_default();
        let stretch = Stretch { kind: Kind::Sensor, id: &self.sensor, from: begin, to: begin + SECOND, zone: Tz::UTC };
        let rows = preview(&self.web, &self.visitor, &stretch).await;
        let mut told = json!({
            "sensor": self.sensor, "time": second.time, "coverage": second.coverage, "level": level,
        });
        if let Some(rows) = Rows::of(&rows, begin) {
            told["rows"] = json!(rows.data);
            told["mask"] = json!(rows.mask);
        }
        self.waiting.push_back(event("second", &told));
        Ok(())
    }
}

/// The values of an event's lines of a name.
fn fields<'a>(text: &'a str, name: &'static str) -> impl Iterator<Item = &'a str> {
    text.lines().filter_map(move |line| line.strip_prefix(name)).map(str::trim_start)
}

/// Rows of the preview with their times; none where the plan has none of it.
async fn preview(web: &Web, visitor: &Visitor, stretch: &Stretch<'_>) -> Vec<(Micros, Vec<u8>)> {
    let path = stretch.path("features", "&features=mel.preview&resolution=frame&format=csv");
    let Ok(body) = web.api().bytes(visitor, Method::GET, &path).await else { return Vec::new() };
    let text = String::from_utf8_lossy(&body);
    text.lines().skip(1).filter_map(row_of_csv).collect()
}

/// Time and bands of a line of CSV.
fn row_of_csv(line: &str) -> Option<(Micros, Vec<u8>)> {
    let mut fields = line.split(',');
    let time = time::parse(fields.next()?).ok()?;
    let bands: Vec<u8> = fields.skip(1).map(|field| field.parse::<f32>().map_or(0, |value| value as u8)).collect();
    (bands.len() == BANDS).then_some((time, bands))
}

/// The rows of one second: bytes in order, and which of the ten there are.
struct Rows {
    data: String,
    mask: u16,
}

impl Rows {
    fn of(rows: &[(Micros, Vec<u8>)], second: Micros) -> Option<Self> {
        let mut bytes = [0; BANDS * ROWS];
        let mut mask = 0;
        for (time, bands) in rows.iter().filter(|(time, _)| (second..second + SECOND).contains(time)) {
            let place = usize::try_from((time - second) * ROWS as i64 / SECOND).unwrap_or(0).min(ROWS - 1);
            bytes[place * BANDS..(place + 1) * BANDS].copy_from_slice(bands);
            mask |= 1 << place;
        }
        (mask != 0).then(|| Self { data: BASE64.encode(&bytes), mask })
    }
}

/// The sensors of a list that are worth a live picture: those that are heard now, first.
#[must_use]
pub fn followed(sensors: &List<Sensor>) -> Vec<&Sensor> {
    let mut all: Vec<&Sensor> = sensors.items.iter().collect();
    all.sort_by_key(|sensor| match sensor.status.as_str() {
        "live" => 0,
        "late" => 1,
        _ => 2,
    });
    all.truncate(SENSORS);
    all
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rows_of_a_second_are_packed_with_what_is_missing() {
        let bands = |value: u8| vec![f32::from(value).to_string(); BANDS].join(",");
        let row = |time: &str, value| row_of_csv(&format!("{time},1,{}", bands(value))).unwrap();
        let second = time::parse("2026-05-01T00:00:00Z").unwrap();
        let rows = [row("2026-05-01T00:00:00.300000Z", 7), row("2026-05-01T00:00:01.000000Z", 9)];
        let packed = Rows::of(&rows, second).unwrap();
        assert_eq!(packed.mask, 1 << 3);
        let bytes = BASE64.decode(packed.data.as_bytes()).unwrap();
        assert_eq!((bytes[2 * BANDS], bytes[3 * BANDS], bytes.len()), (0, 7, 640));
        assert!(Rows::of(&rows, second + 5 * SECOND).is_none());
        assert!(row_of_csv("2026-05-01T00:00:00Z,1,2,3").is_none() && row_of_csv("").is_none());
    }
}
