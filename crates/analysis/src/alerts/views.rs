//! Alerts and their changes, as answers show them.

use antiphon_identity::Principal;
use antiphon_notify::{Delivery, State};
use antiphon_platform::clock::SECOND;
use antiphon_platform::db::{DbError, ReadTransaction};
use antiphon_platform::http::time;
use serde::Serialize;

use super::machine::Side;
use super::message::notice_id;
use super::quiet::QuietHours;
use super::rows::{self, Alert, Stored, Told};

/// What became of a notice.
#[derive(Clone, Debug, Serialize, utoipa::ToSchema)]
pub struct DeliveryView {
    /// The header `webhook-id` that it is sent with.
    id: String,
    /// `waiting`, `arrived` (the receiver answered 2xx), `given-up` (`problem` says why), or `dropped`: the web hook was
    /// changed or taken away before it was sent.
    #[schema(example = "arrived")]
    state: &'static str,
    /// How often it was sent.
    attempts: u32,
    /// HTTP status of the last answer.
    status: Option<u32>,
    /// What went wrong the last time, in words.
    problem: Option<String>,
    /// When it arrived or was given up; while it waits, when it is sent next. Null before it was taken up.
    at: Option<String>,
}

impl DeliveryView {
    fn of(found: Delivery) -> Self {
        let state = match found.state {
            State::Waiting => "waiting",
            State::Arrived => "arrived",
            State::GivenUp => "given-up",
        };
        let at = Some(time::format(found.at));
        Self { id: found.id, state, attempts: found.attempts, status: found.status, problem: found.problem, at }
    }

    /// Of a notice that is not in the table: it has not come in yet, or its hook was taken away before it was sent.
    fn missing(id: String, state: &'static str) -> Self {
        Self { id, state, attempts: 0, status: None, problem: None, at: None }
    }
}

/// An alert, and where it stands.
#[derive(Clone, Debug, Serialize, utoipa::ToSchema)]
pub struct AlertView {
    /// Its id.
    pub(super) id: String,
    /// The sensor that it looks at.
    #[schema(example = "roof")]
    sensor: String,
    /// What people call it.
    name: Option<String>,
    /// One column of values by the second.
    #[schema(example = "level.a")]
    feature: String,
    /// One of the feature's stats; null: its default one.
    stat: Option<String>,
    /// On which side of the threshold a value is beyond it.
    side: Side,
    /// In the feature's unit.
    threshold: f64,
    /// How far behind the threshold a value must be to count as back.
    hysteresis: f64,
    /// Of how many seconds the value is that is compared.
    average: u32,
    /// For how many seconds on end values must be beyond, each of them.
    seconds: u32,
    /// For how many seconds they must be back.
    off_seconds: u32,
    /// When nothing is sent, by the clock of the sensor's time zone.
    quiet: Vec<QuietHours>,
    /// Where changes are sent, without path and query, which may be secret. Null without one, and for who is no operator.
    #[schema(example = "https://example.org")]
    webhook: Option<String>,
    /// Whether it looks at anything.
    enabled: bool,
    /// `on` or `off`.
    #[schema(example = "off")]
    state: &'static str,
    /// How often that changed.
    changes: i64,
    /// Up to when the sensor's audio has been looked at, UTC; what was not stored by then may still come.
    looked_until: String,
    /// The newest change.
    last_change: Option<ChangeView>,
    /// When it was made, UTC.
    created_at: String,
    /// The newest test of its web hook; for operators.
    last_test: Option<DeliveryView>,
}

/// An alert, with the secret of a web hook that was just made.
#[derive(Clone, Serialize, utoipa::ToSchema)]
pub(super) struct NewAlertView {
    /// The alert.
    #[serde(flatten)]
    pub(super) alert: AlertView,
    /// What the web hook is signed with, `whsec_` and base64 (Standard Webhooks); it is not shown again.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) secret: Option<String>,
}

/// A change of state.
#[derive(Clone, Debug, Serialize, utoipa::ToSchema)]
pub struct ChangeView {
    /// 1 for the first.
    number: i64,
    /// `on` or `off`.
    #[schema(example = "on")]
    state: &'static str,
    /// The beginning of what led to it, UTC.
    began: String,
    /// When the duration was over.
    at: String,
    /// When it was told.
    told_at: String,
    /// Whether it is news of the past: it came from audio older than what had been looked at, or was told more than 5
    /// minutes after `at`.
    late: bool,
    /// The value that was compared last.
    value: f64,
    /// What became of its notice; null if the alert had no web hook, and for who is no operator.
    delivery: Option<DeliveryView>,
}

/// A test that was sent.
#[derive(Clone, Debug, Serialize, utoipa::ToSchema)]
pub(super) struct TestView {
    /// The header `webhook-id` that it is sent with; `last_test` of the alert says what became of it.
    pub(super) id: String,
}

impl AlertView {
    /// As `principal` may see it.
    pub(super) async fn of(tx: &mut ReadTransaction, stored: Stored, principal: &Principal) -> Result<Self, DbError> {
        let Stored { alert, is_enabled, created_at } = stored;
        let (mut webhook, mut last_test) = (None, None);
        if let Some(hook) = alert.hook.as_ref().filter(|_| sees_hooks(principal)) {
            webhook = antiphon_notify::told_to(tx, hook).await?;
            last_test = antiphon_notify::last_test(tx, hook).await?;
        }
        let last_change = match rows::history(tx, &alert.id, i64::MAX, 1).await?.first() {
            Some(told) => Some(ChangeView::of(tx, &alert, told, principal).await?),
            None => None,
        };
        let definition = alert.definition;
        Ok(Self {
            id: alert.id,
            sensor: alert.sensor,
            name: definition.name,
            feature: definition.feature,
            stat: definition.stat,
            side: definition.side,
            threshold: definition.threshold,
            hysteresis: definition.hysteresis,
            average: definition.average,
            seconds: definition.seconds,
            off_seconds: definition.off_seconds,
            quiet: definition.quiet,
            webhook,
            enabled: is_enabled,
            state: state_of(alert.standing.is_on),
            changes: alert.number,
            looked_until: time::format(alert.standing.position * SECOND),
            last_change,
            created_at: time::format(created_at),
            last_test: last_test.map(DeliveryView::of),
        })
    }
}

impl ChangeView {
    /// As `principal` may see it. `alert` is the one that changed, as it is now.
    pub(super) async fn of(
        tx: &mut ReadTransaction,
        alert: &Alert,
        told: &Told,
        principal: &Principal,
    ) -> Result<Self, DbError> {
        let mut delivery = None;
        if let Some(hook) = told.hook.as_ref().filter(|_| sees_hooks(principal)) {
            let id = notice_id(&alert.id, told.number);
            let state = if alert.hook.as_ref() == Some(hook) { "waiting" } else { "dropped" };
            delivery = Some(match antiphon_notify::delivery(tx, &id).await? {
                Some(found) => DeliveryView::of(found),
                None => DeliveryView::missing(id, state),
            });
        }
        Ok(Self {
            number: told.number,
            state: state_of(told.change.is_on),
            began: time::format(told.change.began * SECOND),
            at: time::format((told.change.last + 1) * SECOND),
            told_at: time::format(told.told_at),
            late: told.is_late,
            value: told.change.value,
            delivery,
        })
    }

    /// 1 for the first.
    pub(super) fn number(&self) -> i64 {
        self.number
    }
}

/// Whether where notices go, and what became of them, is shown: both tell of somebody's network.
fn sees_hooks(principal: &Principal) -> bool {
    principal.may_operate().is_ok()
}

fn state_of(is_on: bool) -> &'static str {
    if is_on { "on" } else { "off" }
}
