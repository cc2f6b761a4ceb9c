//! `antiphon key`: API keys.

use std::process::ExitCode;

use anyhow::Result;
use clap::{Subcommand, ValueEnum};
use serde_json::json;

use super::output::{print_json, print_json_list, print_line, print_table, rows};
use super::server::{Server, ServerOptions, encoded};
use crate::cli::Globals;

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
        after_help = "Examples:\n  antiphon key create --role reader > reader.key\n  antiphon key create --role operator --json"
    )]
    Create {
        /// What the key allows.
        #[arg(long)]
        role: Role,
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
        Command::Create { role, server } => {
            let role = match role {
                Role::Operator => "operator",
                Role::Reader => "reader",
            };
            let key = Server::find(&server, globals)?.post("/api/v1/keys", &json!({"role": role}))?;
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
