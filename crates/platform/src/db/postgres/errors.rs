//! What PostgreSQL's errors mean to a caller (<https://www.postgresql.org/docs/current/errcodes-appendix.html>).

use super::super::DbError;
use super::super::engine::{Mode, statement_error};
use super::Server;

/// Codes of errors that end a connection's use: the server goes, came back as a standby, or has lost what this
/// connection relied on.
fn ends_connection(code: &str) -> bool {
    // Shutdown and recovery; a session that was ended; a write at a standby; a statement that a pooler has forgotten.
    matches!(code, "57P01" | "57P02" | "57P03" | "57P04" | "57P05" | "25P03" | "25006" | "26000")
        || code.starts_with("08")
}

/// Whether a connection that has met this cannot be used again.
pub(super) fn is_broken(error: &sqlx::Error) -> bool {
    match code(error) {
        Some(code) => ends_connection(&code),
        None => !matches!(error, sqlx::Error::ColumnDecode { .. } | sqlx::Error::Encode(_) | sqlx::Error::Decode(_)),
    }
}

/// Whether the server did not take the credentials.
pub(super) fn is_refused_login(error: &sqlx::Error) -> bool {
    code(error).is_some_and(|code| code.starts_with("28"))
}

fn code(error: &sqlx::Error) -> Option<String> {
    Some(error.as_database_error()?.code()?.into_owned())
}

pub(super) fn unavailable(server: &Server, reason: &str) -> DbError {
    DbError::Unavailable(format!("{}: {reason}", server.name()))
}

pub(super) fn translate(statement: &str, error: &sqlx::Error, mode: Mode, server: &Server) -> DbError {
    let Some(database) = error.as_database_error() else {
        return match error {
            sqlx::Error::Encode(_) | sqlx::Error::Decode(_) | sqlx::Error::ColumnDecode { .. } => {
                statement_error(statement, error.to_string())
            }
            // Lost, refused, not encrypted as asked, or not speaking PostgreSQL's protocol.
            _ => unavailable(server, &error.to_string()),
        };
    };
    let message = database.message();
    let advise = |advice: &str| unavailable(server, &format!("{message}: {advice}"));
    let code = database.code().unwrap_or_default();
    match &*code {
        "23505" | "23503" | "23P01" => DbError::Conflict(message.to_owned()),
        // Through a handle that may not write it is our mistake.
        "25006" if mode == Mode::Read => statement_error(statement, message.to_owned()),
        "25006" => advise("it is a standby or was made read-only; the address must lead to the primary"),
        "40001" | "40P01" => advise("try again"),
        "55P03" => advise("another process holds the write lock, or is changing the schema, for too long"),
        "57014" => advise("it took too long, or a standby gave it up to keep pace with its primary"),
        "42501" => advise("give this account the rights that `antiphon roles --json` prints for the role"),
        "42P01" | "3F000" => {
            DbError::Broken(format!("{statement}: {message}: restore a backup, or choose another database"))
        }
        "3D000" => advise("make it first"),
        "53100" => advise("free some space on the server's disk"),
        "53300" => advise("raise the server's max_connections, or start fewer processes"),
        "XX001" | "XX002" => DbError::Broken(format!("{message}: restore a backup of the database")),
        // A result's columns have changed under a statement that was prepared before; the standby's words for 25006.
        "0A000" if message.contains("cached plan") || message.contains("during recovery") => advise("try again"),
        code if is_passing(code) => unavailable(server, message),
        _ => statement_error(statement, message.to_owned()),
    }
}

/// Classes of what passes or is to be mended at the server: connections, logins, transactions that were ended, resources,
/// an operator's doing, its system, its own faults.
fn is_passing(code: &str) -> bool {
    ["08", "25", "26", "28", "40", "53", "55", "57", "58", "F0", "XX"].iter().any(|class| code.starts_with(class))
}
