//! The tables of the analysis capability.

use antiphon_platform::db::Migration;

/// Every schema step, in order.
pub const MIGRATIONS: &[Migration] = &[
    Migration {
        owner: "analysis",
        version: 1,
        sqlite: include_str!("sql/schema_1.sqlite.sql"),
        postgres: concat!(
            include_str!("sql/schema_1.postgres.sql"),
            include_str!("sql/features_1s.postgres.sql"),
            include_str!("sql/layers_1.postgres.sql"),
        ),
    },
    Migration {
        owner: "analysis",
        version: 2,
        sqlite: include_str!("sql/schema_2.sqlite.sql"),
        postgres: include_str!("sql/schema_2.postgres.sql"),
    },
    Migration {
        owner: "analysis",
        version: 3,
        sqlite: include_str!("sql/schema_3.sql"),
        postgres: concat!(include_str!("sql/schema_3.sql"), include_str!("sql/layers_3.postgres.sql")),
    },
    Migration {
        owner: "analysis",
        version: 4,
        // SQLite has no view of features, and so no table of what layers hold.
        sqlite: "",
        postgres: include_str!("sql/layers_4.postgres.sql"),
    },
];
