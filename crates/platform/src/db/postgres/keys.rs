//! Which statements a key may refuse. After an error PostgreSQL takes no more statements in a transaction unless a
//! savepoint was set before, and a savepoint is a round trip: so one is set only where a key may say no.

use super::super::{DbError, Row, Statement};

pub(super) const STATEMENT: Statement = crate::sql!("keys.sql");

/// What a statement changes.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Change<'a> {
    /// It only reads.
    None,
    /// It is of a form that is not understood here.
    Unknown,
    /// One table's rows.
    Of(TableChange<'a>),
}

/// How a statement changes a table.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct TableChange<'a> {
    pub(super) table: &'a str,
    pub(super) way: Way<'a>,
}

#[derive(Debug, PartialEq, Eq)]
pub(super) enum Way<'a> {
    /// A key that is there refuses the row.
    Insert,
    /// A key that is there, whichever it is, keeps the row out without an error.
    InsertOrLeave,
    /// A certain key that is there has its row changed.
    InsertOrUpdate,
    /// The text of its assignments.
    Update(&'a str),
    Delete,
}

/// The keys of a table.
#[derive(Debug)]
pub(super) struct Keys {
    unique: i64,
    refers: bool,
    is_referred_to: bool,
    columns: Vec<String>,
}

impl Keys {
    pub(super) fn from_row(row: &Row) -> Result<Self, DbError> {
        let columns: String = row.get(3)?;
        let columns = columns.split(' ').map(str::to_lowercase).collect();
        Ok(Self { unique: row.get(0)?, refers: row.get(1)?, is_referred_to: row.get(2)?, columns })
    }

    /// Whether one of the keys may refuse such a change.
    pub(super) fn may_refuse(&self, change: &TableChange<'_>) -> bool {
        match change.way {
            Way::Insert => self.unique > 0 || self.refers,
            Way::InsertOrLeave => self.refers,
            Way::InsertOrUpdate => self.unique > 1 || self.refers || self.is_referred_to,
            Way::Update(assignments) => words(assignments).any(|word| self.columns.iter().any(|name| name == word)),
            Way::Delete => self.is_referred_to,
        }
    }
}

/// Reads off a statement's text what it changes. Where in doubt: [`Change::Unknown`].
pub(super) fn change_of(text: &str) -> Change<'_> {
    let mut text = text.trim_start();
    while text.starts_with("--") {
        text = text.split_once('\n').map_or("", |(_, rest)| rest.trim_start());
    }
    let mut words = words(text);
    let mut next = || words.next().unwrap_or_default();
    let (first, second, third) = (next(), next(), next());
    let is = |word: &str, keyword: &str| word.eq_ignore_ascii_case(keyword);
    let (table, way) = if is(first, "select") && !has(text, "insert") && !has(text, "update") && !has(text, "delete") {
        return Change::None;
    } else if is(first, "insert") && is(second, "into") {
        let way = match text.to_ascii_lowercase().split_once("on conflict") {
            None => Way::Insert,
            Some((_, rest)) if rest.trim_start().starts_with("do nothing") => Way::InsertOrLeave,
            Some(_) => Way::InsertOrUpdate,
        };
        (third, way)
    } else if is(first, "update") && is(third, "set") {
        // What comes before the first WHERE holds all assignments, if not only those.
        let end = text.to_ascii_lowercase().find("where").unwrap_or(text.len());
        (
            second,
            Way::Update(
                text.get(..end).and_then(|head| head.find(third).and_then(|at| head.get(at..))).unwrap_or(text),
            ),
        )
    } else if is(first, "delete") && is(second, "from") {
        (third, Way::Delete)
    } else {
        return Change::Unknown;
    };
    Change::Of(TableChange { table, way })
}

fn has(text: &str, word: &str) -> bool {
    words(text).any(|found| found.eq_ignore_ascii_case(word))
}

/// Names and keywords.
fn words(text: &str) -> impl Iterator<Item = &str> {
    text.split(|letter: char| !letter.is_alphanumeric() && letter != '_').filter(|word| !word.is_empty())
}

#[cfg(test)]
mod tests {
    use super::*;

    const KEYS: fn(i64, bool, bool) -> Keys = |unique, refers, is_referred_to| Keys {
        unique,
        refers,
        is_referred_to,
        columns: vec![String::from("id"), String::from("source")],
    };

    #[test]
    fn what_a_text_changes_is_read_off() {
        let of = |table, way| Change::Of(TableChange { table, way });
        for (text, expected) in [
            ("SELECT 1", Change::None),
            ("-- why\n\n-- and how\nselect a from b where c = $1", Change::None),
            ("SELECT a FROM b FOR UPDATE", Change::Unknown),
            ("WITH gone AS (DELETE FROM a RETURNING b) SELECT b FROM gone", Change::Unknown),
            ("INSERT INTO item (id) VALUES ($1)", of("item", Way::Insert)),
            ("insert into item(id) values ($1) on conflict do nothing", of("item", Way::InsertOrLeave)),
            ("insert into item(id) values ($1) ON CONFLICT (id) DO NOTHING", of("item", Way::InsertOrUpdate)),
            ("delete from item where id = $1", of("item", Way::Delete)),
            ("UPDATE item\nSET note = $1 WHERE id = $2", of("item", Way::Update("SET note = $1 "))),
        ] {
            assert_eq!(change_of(text), expected, "{text}");
        }
    }

    #[test]
    fn a_key_refuses_only_what_touches_it() {
        let refuses = |keys: Keys, text| match change_of(text) {
            Change::Of(change) => keys.may_refuse(&change),
            other => panic!("{text}: {other:?}"),
        };
        assert!(refuses(KEYS(1, false, false), "INSERT INTO item (id) VALUES ($1)"));
        assert!(!refuses(KEYS(0, false, false), "INSERT INTO item (id) VALUES ($1)"));
        assert!(!refuses(KEYS(1, false, false), "INSERT INTO item (id) VALUES ($1) ON CONFLICT (id) DO NOTHING"));
        assert!(refuses(KEYS(2, false, false), "INSERT INTO item (id) VALUES ($1) ON CONFLICT (id) DO NOTHING"));
        assert!(refuses(KEYS(1, true, false), "INSERT INTO item (id) VALUES ($1) ON CONFLICT DO NOTHING"));
        assert!(!refuses(KEYS(1, false, false), "UPDATE item SET note = $1 WHERE id = $2"));
        assert!(refuses(KEYS(1, false, false), "UPDATE item SET source = $1 WHERE id = $2"));
        assert!(!refuses(KEYS(1, true, false), "DELETE FROM item WHERE id = $1"));
        assert!(refuses(KEYS(1, false, true), "DELETE FROM item WHERE id = $1"));
    }
}
