//! What the accounts of roles need on each server, as operators apply it: made of the role table, of nothing else.

use antiphon_platform::queue::Access as QueueAccess;
use antiphon_platform::queue::amqp::names::{self, Declares, Permissions, TopicPermission};
use serde_json::{Value, json};

use super::tables::{self, ByTable, Right};
use super::{Access, Permitted, Role};

/// Functions that do with the rights of the schema's owner what an account could not do itself, and whom they are for:
/// who may do that with that table.
const FUNCTIONS: &[(&str, Right, &str)] = &[("blocks", Right::Insert, "make_blocks_partition(bigint)")];

/// What things are called where grants are applied.
#[derive(Clone, Debug, clap::Args)]
pub struct Names {
    /// The account on PostgreSQL and RabbitMQ. [default: antiphon_ROLE]
    #[arg(long, value_name = "NAME", requires = "grants")]
    pub account: Option<String>,
    /// The schema of PostgreSQL that the tables are in.
    #[arg(long, value_name = "NAME", default_value = "public", requires = "grants")]
    pub schema: String,
    /// The virtual host of RabbitMQ.
    #[arg(long, value_name = "NAME", default_value = "/", requires = "grants")]
    pub vhost: String,
    /// The bucket, and below it the prefix.
    #[arg(long, value_name = "BUCKET[/PREFIX]", default_value = "antiphon", requires = "grants")]
    pub bucket: String,
}

impl Default for Names {
    fn default() -> Self {
        let text = String::from;
        Self { account: None, schema: text("public"), vhost: text("/"), bucket: text("antiphon") }
    }
}

/// Rights on the tables of the roles together.
#[must_use]
pub fn tables(roles: &[&Role]) -> ByTable {
    tables::together(roles.iter().flat_map(|role| role.tables).copied())
}

/// Functions that those who hold `tables` call.
#[must_use]
pub fn functions(tables: &ByTable) -> Vec<&'static str> {
    let needs = |(table, right, _): &&(&str, Right, &str)| tables.get(table).is_some_and(|has| has.contains(right));
    FUNCTIONS.iter().filter(needs).map(|(_, _, function)| *function).collect()
}

/// Permissions on RabbitMQ of the roles together; none for those that do not open it.
#[must_use]
pub fn permissions(roles: &[&Role]) -> Option<Permissions> {
    Permitted::of(roles).queue.then(|| names::permissions(&queue_access(roles), Declares::Nothing))
}

/// What a handle of the queue may do that the roles share.
#[must_use]
pub fn queue_access(roles: &[&Role]) -> QueueAccess {
    let mut together = QueueAccess::default();
    for role in roles {
        let QueueAccess { publish, consume, dead } = role.queue_access();
        together.publish.extend(publish);
        together.consume.extend(consume);
        together.dead.extend(dead);
    }
    together
}

/// The policy of an S3 account of the roles together; none for those that do not open it.
#[must_use]
pub fn policy(roles: &[&Role], bucket: &str) -> Option<Value> {
    let actions: &[&str] = match Permitted::of(roles).blobs {
        Access::None => return None,
        Access::Read => &["s3:GetObject"],
        Access::Write => &["s3:GetObject", "s3:PutObject", "s3:DeleteObject", "s3:AbortMultipartUpload"],
    };
    let (bucket, prefix) = bucket.split_once('/').unwrap_or((bucket, ""));
    let below = if prefix.is_empty() { String::from("*") } else { format!("{}/*", prefix.trim_end_matches('/')) };
    let of_bucket = format!("arn:aws:s3:::{bucket}");
    // Without it, S3 answers "forbidden" where an object is not there; with a condition on the prefix too, for a GET
    // has none.
    let list = json!({ "Effect": "Allow", "Action": ["s3:ListBucket"], "Resource": of_bucket });
    let objects = json!({ "Effect": "Allow", "Action": actions, "Resource": format!("{of_bucket}/{below}") });
    Some(json!({ "Version": "2012-10-17", "Statement": [list, objects] }))
}

/// The grants of one role, for programs.
#[must_use]
pub fn of(role: &Role, names: &Names) -> Value {
    let tables = tables(&[role]);
    let permission = |Permissions { configure, write, read, topics }: Permissions| {
        let topic = |TopicPermission { exchange, write, read }: &TopicPermission| json!({ "exchange": exchange, "write": write, "read": read });
        let topics: Vec<Value> = topics.iter().map(topic).collect();
        json!({ "configure": configure, "write": write, "read": read, "topics": topics })
    };
    let postgresql = (!tables.is_empty()).then(
        || json!({ "tables": tables, "functions": functions(&tables), "temporary": makes_temporary_tables(&tables) }),
    );
    json!({
        "postgresql": postgresql,
        "rabbitmq": permissions(&[role]).map(permission),
        "s3": policy(&[role], &names.bucket),
    })
}

/// Whether those who hold `tables` make temporary tables: rows in bulk go into one first.
#[must_use]
pub fn makes_temporary_tables(tables: &ByTable) -> bool {
    tables.values().any(|rights| rights.contains(&Right::Insert))
}

/// SQL that gives an account exactly what the roles need, to be run by the owner of the schema; it takes away what
/// an earlier version needed. None for roles that do not open the database.
#[must_use]
pub fn sql(roles: &[&Role], names: &Names) -> Option<String> {
    let tables = tables(roles);
    if tables.is_empty() {
        return None;
    }
    let account = identifier(&account(roles, names));
    let schema = identifier(&names.schema);
    let temporary = if makes_temporary_tables(&tables) { ", TEMPORARY" } else { "" };
    let mut lines = vec![
        format!("-- The account itself: CREATE ROLE {account} LOGIN PASSWORD '...';"),
        String::from("BEGIN;"),
        format!("REVOKE ALL ON ALL TABLES IN SCHEMA {schema} FROM {account};"),
        format!("REVOKE ALL ON ALL SEQUENCES IN SCHEMA {schema} FROM {account};"),
        format!("REVOKE ALL ON ALL FUNCTIONS IN SCHEMA {schema} FROM {account};"),
        format!(
            "DO $$ BEGIN EXECUTE format('GRANT CONNECT{temporary} ON DATABASE %I TO {}', current_database()); END $$;",
            account.replace('\'', "''")
        ),
        format!("GRANT USAGE ON SCHEMA {schema} TO {account};"),
    ];
    for (table, rights) in &tables {
        let rights: Vec<&str> = rights.iter().map(|right| right.words()).collect();
        lines.push(format!("GRANT {} ON {schema}.{table} TO {account};", rights.join(", ")));
    }
    for function in functions(&tables) {
        lines.push(format!("GRANT EXECUTE ON FUNCTION {schema}.{function} TO {account};"));
    }
    lines.push(String::from("COMMIT;"));
    Some(lines.join("\n"))
}

/// Commands that give an account on RabbitMQ exactly what the roles need.
#[must_use]
pub fn rabbitmqctl(roles: &[&Role], names: &Names) -> Option<String> {
    let account = quoted(&account(roles, names));
    Some(commands(&account, &quoted(&names.vhost), &permissions(roles)?))
}

/// The account of a sensor, unless another name is said.
#[must_use]
pub fn account_of_sensor(sensor: &str) -> String {
    format!("sensor-{sensor}")
}

/// Commands that give an account on RabbitMQ [what a sensor needs](names::permissions_of_sensor).
#[must_use]
pub fn rabbitmqctl_of_sensor(sensor: &str, names: &Names) -> String {
    let account = names.account.clone().unwrap_or_else(|| account_of_sensor(sensor));
    commands(&quoted(&account), &quoted(&names.vhost), &names::permissions_of_sensor(sensor))
}

/// The command that makes an account on RabbitMQ.
#[must_use]
pub fn add_user(account: &str, password: &str) -> String {
    format!("rabbitmqctl add_user {} {}", quoted(account), quoted(password))
}

fn commands(account: &str, vhost: &str, permissions: &Permissions) -> String {
    let Permissions { configure, write, read, topics } = permissions;
    let mut lines = vec![
        format!("# The account itself: rabbitmqctl add_user {account}"),
        format!("rabbitmqctl set_permissions -p {vhost} {account} '{configure}' '{write}' '{read}'"),
        format!("rabbitmqctl clear_topic_permissions -p {vhost} {account}"),
    ];
    lines.extend(topics.iter().map(|TopicPermission { exchange, write, read }| {
        format!("rabbitmqctl set_topic_permissions -p {vhost} {account} {exchange} '{write}' '{read}'")
    }));
    lines.join("\n")
}

fn account(roles: &[&Role], names: &Names) -> String {
    let default = || format!("antiphon_{}", roles.first().map_or("", |role| role.name).replace('-', "_"));
    names.account.clone().unwrap_or_else(default)
}

/// A name in SQL.
fn identifier(name: &str) -> String {
    let plain = name.bytes().all(|byte| byte.is_ascii_lowercase() || byte == b'_' || byte.is_ascii_digit());
    if plain && name.starts_with(|first: char| first.is_ascii_lowercase()) {
        name.to_owned()
    } else {
        format!("\"{}\"", name.replace('"', "\"\""))
    }
}

/// A word for a shell.
fn quoted(word: &str) -> String {
    let plain = |byte: u8| byte.is_ascii_alphanumeric() || b"_-/.".contains(&byte);
    if word.bytes().all(plain) { word.to_owned() } else { format!("'{}'", word.replace('\'', r"'\''")) }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::roles::find;

    fn sql_of(role: &str) -> Option<String> {
        sql(&[find(role).unwrap()], &Names::default())
    }

    #[test]
    fn a_role_gets_what_its_row_says_and_no_more() {
        assert_eq!(sql_of("analyze"), None);
        let query = sql_of("query").unwrap();
        assert!(query.contains("GRANT SELECT ON public.cells TO antiphon_query;"), "{query}");
        for forbidden in ["INSERT", "UPDATE", "DELETE", "TEMPORARY", "FUNCTION public.", "outbox", "dead_letters"] {
            assert!(!query.contains(forbidden), "{forbidden}: {query}");
        }
        let write = sql_of("write").unwrap();
        assert!(write.contains("GRANT EXECUTE ON FUNCTION public.make_blocks_partition(bigint)"), "{write}");
        assert!(write.contains("GRANT CONNECT, TEMPORARY ON DATABASE"), "{write}");
        assert!(!write.contains("api_keys"), "{write}");
    }

    #[test]
    fn names_cannot_break_out_of_what_is_printed() {
        let names =
            Names { account: Some(String::from("o'\"; drop")), vhost: String::from("a b'c"), ..Names::default() };
        let query = sql(&[find("query").unwrap()], &names).unwrap();
        assert!(query.contains("TO \"o'\"\"; drop\";"), "{query}");
        assert!(query.contains("TO \"o''\"\"; drop\"'"), "{query}");
        let analyze = rabbitmqctl(&[find("analyze").unwrap()], &names).unwrap();
        assert!(analyze.contains(r#"-p 'a b'\''c' 'o'\''"; drop' "#), "{analyze}");
    }

    #[test]
    fn a_sensor_may_send_recordings_of_its_own_only() {
        let lines = rabbitmqctl_of_sensor("roof", &Names::default());
        assert!(lines.contains(r"set_permissions -p / sensor-roof '^$' '^amq\.topic$' '^$'"), "{lines}");
        assert!(lines.contains(r"sensor-roof amq.topic '^sensors\.roof\.recordings$' '^$'"), "{lines}");
    }

    #[test]
    fn a_policy_ends_at_its_prefix() {
        let read = policy(&[find("analyze-songs").unwrap()], "audio/antiphon/").unwrap();
        assert_eq!(read["Statement"][1]["Resource"], "arn:aws:s3:::audio/antiphon/*");
        assert_eq!(read["Statement"][1]["Action"], json!(["s3:GetObject"]));
        let write = policy(&[find("api").unwrap()], "audio").unwrap();
        assert_eq!(write["Statement"][1]["Resource"], "arn:aws:s3:::audio/*");
        assert!(write["Statement"][1]["Action"].as_array().unwrap().contains(&json!("s3:DeleteObject")));
        assert_eq!(policy(&[find("write").unwrap()], "audio"), None);
    }
}
