//! The plans that songs were analysed by, each with a number.
//!
//! A sensor has a history of its own; songs share one plan, which changes with the setting `songs.plan` and with every
//! build whose algorithms or sets are others. Each plan that was ever asked for keeps its number, so the plan version of
//! a song's recording says what its results are results of.

use antiphon_features::session::Item;
use antiphon_features::sets;
use antiphon_platform::clock::Clock;
use antiphon_platform::db::{Database, DbError, ReadTransaction, Statement, WriteTransaction};
use antiphon_platform::sql;
use serde::{Deserialize, Serialize};

use crate::messages;
use crate::plan::{self, Choice};

const ALL: Statement = sql!("sql/song_plans.sql");
const INSERT: Statement = sql!("sql/song_plan_insert.sql");

pub(super) const STATEMENTS: &[Statement] = &[ALL, INSERT];

/// What every song was analysed by before plans were numbered, as version 1.
const FIRST: &str = r#"[
    {"algorithm":"level","version":1,"outputs":["a","bands","c","clipping","peak","z"],"parameters":{},"frames":false},
    {"algorithm":"loudness","version":1,"outputs":["integrated","momentary","range","short_term","true_peak"],"parameters":{},"frames":false},
    {"algorithm":"mel","version":1,"outputs":["","preview"],"parameters":{},"frames":false},
    {"algorithm":"silence","version":1,"outputs":["silence"],"parameters":{},"frames":false}
]"#;

/// What is computed of songs, spelled out: two plans are the same if they compute the same, whatever they are called.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct SongPlan(Vec<Computed>);

/// What is computed of one algorithm.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
struct Computed {
    algorithm: String,
    version: u32,
    /// Every output, in the order of their names.
    outputs: Vec<String>,
    parameters: serde_json::Map<String, serde_json::Value>,
    frames: bool,
}

impl SongPlan {
    /// What this build computes for a plan.
    pub(super) fn of(choices: &[Choice]) -> Self {
        let computed = |choice: &Choice| {
            let Choice { algorithm, outputs, parameters, frames } = choice.clone();
            let item = Item { algorithm, outputs, parameters, frames };
            let mut outputs = sets::outputs(&item);
            outputs.sort_unstable();
            outputs.dedup();
            let version = antiphon_features::find(&item.algorithm).map_or(0, |descriptor| descriptor.version);
            Computed { algorithm: item.algorithm, version, outputs, parameters: item.parameters, frames: item.frames }
        };
        let mut all: Vec<Computed> = choices.iter().map(computed).collect();
        all.sort_unstable_by(|one, other| one.algorithm.cmp(&other.algorithm));
        Self(all)
    }

    fn from_text(text: &str) -> Result<Self, DbError> {
        serde_json::from_str(text).map(Self).map_err(|error| DbError::Broken(format!("song_plans: {error}")))
    }

    fn to_text(&self) -> String {
        serde_json::json!(self.0).to_string()
    }

    /// Whether results of this plan have all that another one would give, in its version or a newer one. What they
    /// have beyond it is no fault.
    pub(super) fn covers(&self, wanted: &Self) -> bool {
        wanted.0.iter().all(|wanted| {
            let found = self.0.iter().find(|found| found.algorithm == wanted.algorithm);
            found.is_some_and(|found| {
                found.version >= wanted.version
                    && found.parameters == wanted.parameters
                    && (found.frames || !wanted.frames)
                    && wanted.outputs.iter().all(|output| found.outputs.contains(output))
            })
        })
    }
}

/// Every plan that there ever was, with its version, in rising order.
pub(super) async fn all(tx: &mut ReadTransaction) -> Result<Vec<(u32, SongPlan)>, DbError> {
    let mut plans = vec![(1, SongPlan::from_text(FIRST)?)];
    for row in tx.rows(&ALL, &[]).await? {
        plans.push((row.get(0)?, SongPlan::from_text(&row.get::<String>(1)?)?));
    }
    Ok(plans)
}

/// The number of a plan: the newest that it has above `least`, or else a new one.
pub(super) async fn number(
    tx: &mut WriteTransaction,
    clock: &Clock,
    plan: &SongPlan,
    least: u32,
) -> Result<u32, DbError> {
    let known = all(tx).await?;
    if let Some((version, _)) = known.iter().rev().find(|(version, known)| *version > least && known == plan) {
        return Ok(*version);
    }
    let version = known.last().map_or(1, |(version, _)| *version).max(least).saturating_add(1);
    tx.execute(&INSERT, &[version.into(), clock.now().into(), plan.to_text().into()]).await?;
    Ok(version)
}

/// What the messages of new songs carry: their plan under its number, which it is given if it is new.
///
/// # Errors
/// Those of the database.
pub async fn plan_of_songs(db: &Database, clock: &Clock, choices: &[Choice]) -> Result<messages::Plan, DbError> {
    let plan = SongPlan::of(choices);
    let mut tx = db.write().await?;
    let version = number(&mut tx, clock, &plan, 0).await?;
    tx.commit().await?;
    Ok(plan::of_song(version, choices))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::plan::named;

    fn plan(names: &str) -> SongPlan {
        SongPlan::of(&named(names).unwrap())
    }

    #[test]
    fn a_plan_covers_what_it_has_in_the_same_or_an_older_version() {
        let level = plan("level.a,level.c");
        assert!(level.covers(&plan("level.a")) && !plan("level.a").covers(&level));
        assert!(plan("level,silence").covers(&plan("level")) && !plan("level").covers(&plan("silence")));
        assert!(level.covers(&plan("level.c,level.a")), "order is no matter");
        let mut newer = level.clone();
        newer.0[0].version += 1;
        assert!(newer.covers(&level) && !level.covers(&newer));
        let mut framed = level.clone();
        framed.0[0].frames = true;
        assert!(framed.covers(&level) && !level.covers(&framed));
        let mut other = plan("silence");
        other.0[0].parameters.insert(String::from("threshold"), serde_json::json!(-50));
        assert!(!other.covers(&plan("silence")) && !plan("silence").covers(&other));
    }

    #[test]
    fn a_plan_is_read_as_it_was_written() {
        let music = SongPlan::of(&crate::plan::song_default());
        assert_eq!(SongPlan::from_text(&music.to_text()).unwrap(), music);
        assert!(matches!(SongPlan::from_text("{}"), Err(DbError::Broken(_))));
        let first = SongPlan::from_text(FIRST).unwrap();
        assert_eq!(first.0.len(), 4);
        let sorted = |plan: &SongPlan| plan.0.iter().all(|item| item.outputs.is_sorted());
        assert!(sorted(&first) && sorted(&music) && first.0.is_sorted_by_key(|item| &item.algorithm));
    }
}
