//! `antiphon key`: API keys.

use std::process::ExitCode;

use antiphon_platform::clock::Clock;
use antiphon_platform::db::Database;
use anyhow::{Context, Result};
use clap::{Subcommand, ValueEnum};
use serde_json::{Value, json};

use super::output::{print_json, print_json_list, print_line, print_table, rows};
use super::server::{Server, ServerOptions, encoded};
use crate::cli::Globals;
use crate::roles::{Access, Permitted};
use crate::wiring::{Settled, database_address, migrations};

/// Options of `antiphon key`.
#[derive(Debug, clap::Args)]
#[command(after_help = "Examples:\n  antiphon key create --role reader > reader.key\n  antiphon key list")]
pub struct Arguments {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Make a key; it is printed once and not kept.
    #[command(
        after_help = "Examples:\n  antiphon key create --role reader > reader.key\n  antiphon key create --role operator --json\n  \
                      antiphon key create --role operator --in-database > operator.key"
    )]
    Create {
        /// What the key allows.
        #[arg(long)]
        role: Role,
        /// Write it into the database of the settings, without a server and without a key: for the first operator, and
        /// when every operator's key is lost.
        #[arg(long, conflicts_with_all = ["server", "key_file"])]
        in_database: bool,
        #[command(flatten)]
        server: ServerOptions,
    },
    /// List the keys that are valid, those of sensors included.
    #[command(after_help = "Examples:\n  antiphon key list\n  antiphon key list --json")]
    List {
        #[command(flatten)]
        server: ServerOptions,
    },
    /// Revoke a key: it stops within a minute everywhere.
    #[command(after_help = "Examples:\n  antiphon key revoke 019a8f2e-6f3c-7c52-9d6e-0f3b6f0a4b11")]
    Revoke {
        /// The key's id, as `antiphon key list` shows it.
        id: String,
        #[command(flatten)]
        server: ServerOptions,
    },
}

#[derive(Clone, Copy, Debug, ValueEnum)]
enum Role {
    /// Everything.
    Operator,
    /// Reading.
    Reader,
}

/// Runs `antiphon key`.
pub fn run(arguments: Arguments, globals: &Globals) -> Result<ExitCode> {
    match arguments.command {
        Command::Create { role, in_database, server } => {
            let key = if in_database {
                create_in_database(role, globals)?
            } else {
                Server::find(&server, globals)?.post("/api/v1/keys", &json!({"role": role.name()}))?
            };
            if globals.json { print_json(&key)? } else { print_line(key["key"].as_str().unwrap_or_default())? }
        }
        Command::List { server } => {
            let keys = Server::find(&server, globals)?.get_all("/api/v1/keys")?;
            if globals.json {
                print_json_list(&keys)?;
            } else {
                let rows = rows(&keys, &["id", "role", "sensor", "created_at"]);
                print_table(&["ID", "ROLE", "SENSOR", "CREATED"], &rows, "no keys")?;
            }
        }
        Command::Revoke { id, server } => {
            Server::find(&server, globals)?.delete(&format!("/api/v1/keys/{}", encoded(&id)))?;
            if globals.json { print_json(&json!({"id": id, "revoked": true}))? } else { eprintln!("revoked {id}") }
        }
    }
    Ok(ExitCode::SUCCESS)
}

impl Role {
    fn name(self) -> &'static str {
        match self {
            Self::Operator => "operator",
            Self::Reader => "reader",
        }
    }
}

fn create_in_database(role: Role, globals: &Globals) -> Result<Value> {
    let database_only = Permitted { database: Access::Write, blobs: Access::None, queue: false };
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    runtime.block_on(async {
        let settled = Settled::find(globals, &database_only).await?;
        let opened = Database::open(database_address(&settled.locations.database), &migrations()).await;
        let mut tx = opened.context("cannot open the database")?.write().await?;
        let role = match role {
            Role::Operator => antiphon_identity::Role::Operator,
            Role::Reader => antiphon_identity::Role::Reader,
        };
        let made = antiphon_identity::create_key(&mut tx, &Clock::system(), &role).await?;
        tx.commit().await?;
        Ok(serde_json::to_value(&made)?)
    })
}
