//! `antiphon prepare`: makes what roles find, with accounts that may: the schema of the database, the groups of the
//! queue. Once before the first start, and again with each new version, before its roles start.

use std::process::ExitCode;

use antiphon_analysis::topics;
use antiphon_identity::has_operator;
use antiphon_platform::db::Database;
use antiphon_platform::queue::Access as QueueAccess;
use anyhow::{Context, Result};
use serde_json::json;

use super::output::{print_json, print_line};
use crate::cli::Globals;
use crate::roles::{Access, Permitted};
use crate::wiring::{QueueEngine, Settled, blobs_at, database_address, migrations};

/// Options of `antiphon prepare`.
#[derive(Debug, clap::Args)]
#[command(
    after_help = "Examples:\n  antiphon prepare\n  ANTIPHON_DATABASE__USERNAME=owner ANTIPHON_DATABASE__PASSWORD=file:/run/secrets/owner antiphon prepare\n\n\
                  The accounts that roles run with need no right to change the schema or to declare queues; the one of \
                  this command does. It may be run at any time, and changes nothing that is as it should be. Accounts get \
                  their rights by `antiphon roles --grants`."
)]
pub struct Arguments {}

/// Makes everything that is not there.
///
/// # Errors
/// What could not be made, and why.
pub fn run(_: Arguments, globals: &Globals) -> Result<ExitCode> {
    let everything = Permitted { database: Access::Write, blobs: Access::Write, queue: true };
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    runtime.block_on(async { prepare(&Settled::find(globals, &everything).await?, globals.json).await })
}

async fn prepare(settled: &Settled, json: bool) -> Result<ExitCode> {
    let locations = &settled.locations;
    let say = |what: &str, detail: &str| if json { Ok(()) } else { print_line(&format!("{what}: {detail}")) };

    let opened = Database::open(database_address(&locations.database), &migrations()).await;
    let database = opened.context("the database's schema could not be made")?;
    say("database", &format!("the schema is the one of this version ({})", locations.database.shown()))?;

    let opened = QueueEngine::open(&locations.queue, QueueAccess::default()).await.context("cannot open the queue")?;
    let declared = opened.handle().declare(&topics::ALL).await;
    declared.context("the queue's groups could not be declared")?;
    opened.close().await;
    let groups = topics::ALL.map(|group| group.name);
    say("queue", &format!("the groups are there: {} ({})", groups.join(", "), locations.queue.shown()))?;

    let blobs = blobs_at(&locations.blobs, Access::Write).await.context("cannot open the blobs")?;
    blobs.check().await.context("the blobs cannot be used")?;
    say("blobs", &format!("can be used ({})", locations.blobs.shown()))?;

    let has_operator = has_operator(&mut database.read().await?).await?;
    if json {
        print_json(&json!({ "ok": true, "groups": groups, "has_operator": has_operator }))?;
    } else if !has_operator {
        say("operator", "there is no key yet; make one: antiphon key create --role operator --in-database")?;
    }
    Ok(ExitCode::SUCCESS)
}
