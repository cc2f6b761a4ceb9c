//! The schema of the database. Tests that open one by hand include this file.

use antiphon_platform::db::Migration;

/// The schema of all capabilities.
pub fn migrations() -> Vec<Migration> {
    [
        antiphon_identity::MIGRATIONS,
        antiphon_catalog::MIGRATIONS,
        antiphon_analysis::store::MIGRATIONS,
        antiphon_analysis::alerts::MIGRATIONS,
        antiphon_notify::MIGRATIONS,
    ]
    .concat()
}
