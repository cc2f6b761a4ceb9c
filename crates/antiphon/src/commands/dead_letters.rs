//! `antiphon dead-letters`: what was set aside, and why.

use std::process::ExitCode;

use anyhow::{Result, bail};
use clap::Subcommand;
use serde_json::{Value, json};

use super::output::{cell, print_json, print_json_list, print_line, print_table, rows};
use super::server::{Server, ServerOptions, encoded};
use crate::cli::Globals;

const PATH: &str = "/api/v1/dead-letters";

/// Options of `antiphon dead-letters`.
#[derive(Debug, clap::Args)]
#[command(after_help = "Examples:\n  antiphon dead-letters list\n  antiphon dead-letters replay --all")]
pub struct Arguments {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// List what was set aside.
    #[command(after_help = "Examples:\n  antiphon dead-letters list\n  antiphon dead-letters list --json")]
    List {
        #[command(flatten)]
        server: ServerOptions,
    },
    /// Show all that is known of one dead letter.
    #[command(after_help = "Examples:\n  antiphon dead-letters show 019a8f2e-6f3c-7c52-9d6e-0f3b6f0a4b11")]
    Show {
        /// Its id, as `antiphon dead-letters list` shows it.
        id: String,
        #[command(flatten)]
        server: ServerOptions,
    },
    /// Send dead letters through again, each to the group that set it aside.
    #[command(
        after_help = "Examples:\n  antiphon dead-letters replay 019a8f2e-6f3c-7c52-9d6e-0f3b6f0a4b11\n  antiphon dead-letters replay --all"
    )]
    Replay {
        #[command(flatten)]
        which: Which,
        #[command(flatten)]
        server: ServerOptions,
    },
    /// Forget dead letters, with the audio that they hold.
    #[command(
        after_help = "Examples:\n  antiphon dead-letters drop 019a8f2e-6f3c-7c52-9d6e-0f3b6f0a4b11\n  antiphon dead-letters drop --all"
    )]
    Drop {
        #[command(flatten)]
        which: Which,
        #[command(flatten)]
        server: ServerOptions,
    },
}

#[derive(Debug, clap::Args)]
#[group(required = true, multiple = false)]
struct Which {
    /// Their ids, as `antiphon dead-letters list` shows them.
    #[arg(value_name = "ID")]
    ids: Vec<String>,
    /// All that are listed now.
    #[arg(long)]
    all: bool,
}

/// Runs `antiphon dead-letters`.
pub fn run(arguments: Arguments, globals: &Globals) -> Result<ExitCode> {
    match arguments.command {
        Command::List { server } => {
            let letters = Server::find(&server, globals)?.get_all(PATH)?;
            if globals.json {
                print_json_list(&letters)?;
            } else {
                let rows = rows(&letters, &["id", "group", "source", "died_at", "deliveries", "reason"]);
                print_table(&["ID", "GROUP", "SOURCE", "SET ASIDE", "TRIES", "REASON"], &rows, "no dead letters")?;
            }
        }
        Command::Show { id, server } => show(&Server::find(&server, globals)?, &id, globals)?,
        Command::Replay { which, server } => {
            let server = Server::find(&server, globals)?;
            each(&which, &server, globals, "replayed", |id| {
                server.post_empty(&format!("{PATH}/{id}/replay")).map(|_| ())
            })?;
        }
        Command::Drop { which, server } => {
            let server = Server::find(&server, globals)?;
            each(&which, &server, globals, "dropped", |id| server.delete(&format!("{PATH}/{id}")))?;
        }
    }
    Ok(ExitCode::SUCCESS)
}

fn show(server: &Server, id: &str, globals: &Globals) -> Result<()> {
    let letters = server.get_all(PATH)?;
    let Some(letter) = letters.into_iter().find(|letter| letter["id"] == *id) else {
        bail!("there is no dead letter {id}; `antiphon dead-letters list` shows them");
    };
    match letter {
        letter if globals.json => print_json(&letter),
        Value::Object(members) => {
            let width = members.keys().map(String::len).max().unwrap_or(0);
            members.iter().try_for_each(|(name, value)| print_line(&format!("{name:width$}  {}", cell(value))))
        }
        other => print_json(&other),
    }
}

/// Does one thing with each; the first that fails ends it, those before it are done.
fn each(
    which: &Which,
    server: &Server,
    globals: &Globals,
    done: &str,
    act: impl Fn(&str) -> Result<(), super::server::RequestError>,
) -> Result<()> {
    let ids = if which.all {
        server.get_all(PATH)?.iter().filter_map(|letter| letter["id"].as_str().map(str::to_owned)).collect()
    } else {
        which.ids.clone()
    };
    for id in &ids {
        act(&encoded(id))?;
        if !globals.json {
            eprintln!("{done} {id}");
        }
    }
    if globals.json { print_json(&json!({"ids": ids, "done": done})) } else { Ok(()) }
}
