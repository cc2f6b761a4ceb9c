//! The tables of the analysis capability.

use antiphon_platform::db::Migration;

/// Every schema step, in order.
pub const MIGRATIONS: &[Migration] = &[Migration {
    owner: "analysis",
    version: 1,
    sqlite: include_str!("sql/schema_1.sqlite.sql"),
    postgres: include_str!("sql/schema_1.postgres.sql"),
}];
