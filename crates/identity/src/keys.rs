//! API keys in the database.
//!
//! A key is 256 random bits, so what is stored is its plain SHA-256. A slow hash such as Argon2 protects
//! secrets that people choose, because those can be guessed from a list; nobody guesses 256 random bits,
//! and a slow hash would cost every request tens of milliseconds and megabytes.

use antiphon_platform::clock::{Clock, Micros};
use antiphon_platform::db::{DbError, Migration, ReadTransaction, Row, Statement, Value, WriteTransaction};
use antiphon_platform::sql;
use data_encoding::BASE32_NOPAD;
use sha2::{Digest, Sha256};

/// The tables of this crate.
pub const MIGRATIONS: &[Migration] = &[Migration {
    owner: "identity",
    version: 1,
    sqlite: include_str!("sql/migration-1.sql"),
    postgres: include_str!("sql/migration-1.postgres.sql"),
}];

/// Every statement of this crate, for the test that prepares them on each engine.
pub const STATEMENTS: &[Statement] =
    &[INSERT_KEY, FIND_KEY, LIST_KEYS, LIST_SENSOR_KEYS, REVOKE_KEY, REVOKE_SENSOR_KEY, REVOKE_SENSOR, ANY_OPERATOR];

const INSERT_KEY: Statement = sql!("sql/insert_key.sql");
const FIND_KEY: Statement = sql!("sql/find_key.sql");
const LIST_KEYS: Statement = sql!("sql/list_keys.sql");
const LIST_SENSOR_KEYS: Statement = sql!("sql/list_sensor_keys.sql");
const REVOKE_KEY: Statement = sql!("sql/revoke_key.sql");
const REVOKE_SENSOR_KEY: Statement = sql!("sql/revoke_sensor_key.sql");
const REVOKE_SENSOR: Statement = sql!("sql/revoke_sensor.sql");
const ANY_OPERATOR: Statement = sql!("sql/any_operator.sql");

/// What a key allows.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Role {
    /// Everything.
    Operator,
    /// Every GET but dead letters and keys.
    Reader,
    /// To add recordings to this sensor, and to read its status and its own recordings.
    Sensor(String),
}

impl Role {
    /// Its name in API and database: `operator`, `reader` or `sensor`.
    #[must_use]
    pub fn name(&self) -> &'static str {
        match self {
            Self::Operator => "operator",
            Self::Reader => "reader",
            Self::Sensor(_) => "sensor",
        }
    }

    fn sensor(&self) -> &str {
        match self {
            Self::Operator | Self::Reader => "",
            Self::Sensor(sensor) => sensor,
        }
    }

    fn from_columns(role: &str, sensor: String) -> Result<Self, DbError> {
        match role {
            "operator" => Ok(Self::Operator),
            "reader" => Ok(Self::Reader),
            "sensor" => Ok(Self::Sensor(sensor)),
            other => Err(DbError::Broken(format!("api_keys holds the unknown role {other:?}"))),
        }
    }
}

/// A key that was just made: the only time that its text is known.
#[derive(Clone, PartialEq, Eq, serde::Serialize, utoipa::ToSchema)]
pub struct NewKey {
    /// Names the key in lists and for revoking it.
    pub id: String,
    /// The secret itself, `ak_` and 52 letters; it is shown once and not stored.
    pub key: String,
}

/// Without the secret, so that no log line can show it.
impl std::fmt::Debug for NewKey {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("NewKey").field("id", &self.id).finish_non_exhaustive()
    }
}

/// What is known of a key that exists.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct StoredKey {
    /// Names the key.
    pub id: String,
    /// What it allows.
    pub role: Role,
    /// When it was made, µs since 1970.
    pub created: Micros,
}

/// Makes a key; it is valid once the transaction is committed.
///
/// # Errors
/// Those of the database; [`DbError::Broken`] when the machine gives no random bytes.
pub async fn create_key(tx: &mut WriteTransaction, clock: &Clock, role: &Role) -> Result<NewKey, DbError> {
    let now = clock.now();
    let key = random_key()?;
    let id = key_id(now)?;
    let values: [Value; 5] =
        [id.as_str().into(), hash(&key).as_slice().into(), role.name().into(), role.sensor().into(), now.into()];
    tx.execute(&INSERT_KEY, &values).await?;
    Ok(NewKey { id, key })
}

/// At most `limit` valid keys of all roles, in the order of their making, after the id `after` (`""`: from the first).
///
/// # Errors
/// Those of the database.
pub async fn list_keys(tx: &mut ReadTransaction, after: &str, limit: usize) -> Result<Vec<StoredKey>, DbError> {
    tx.rows(&LIST_KEYS, &[after.into(), rows(limit)]).await?.iter().map(stored_key).collect()
}

/// As [`list_keys`], the keys of one sensor.
///
/// # Errors
/// Those of the database.
pub async fn list_sensor_keys(
    tx: &mut ReadTransaction,
    sensor: &str,
    after: &str,
    limit: usize,
) -> Result<Vec<StoredKey>, DbError> {
    tx.rows(&LIST_SENSOR_KEYS, &[sensor.into(), after.into(), rows(limit)]).await?.iter().map(stored_key).collect()
}

/// Revokes a key of any role; whether there was a valid one. After the commit call
/// [`Keys::forget`](crate::Keys::forget), so that this process stops answering it at once.
///
/// # Errors
/// Those of the database.
pub async fn revoke_key(tx: &mut WriteTransaction, clock: &Clock, id: &str) -> Result<bool, DbError> {
    Ok(tx.execute(&REVOKE_KEY, &[id.into(), clock.now().into()]).await? > 0)
}

/// As [`revoke_key`], but only a key of that sensor.
///
/// # Errors
/// Those of the database.
pub async fn revoke_sensor_key(
    tx: &mut WriteTransaction,
    clock: &Clock,
    sensor: &str,
    id: &str,
) -> Result<bool, DbError> {
    Ok(tx.execute(&REVOKE_SENSOR_KEY, &[sensor.into(), id.into(), clock.now().into()]).await? > 0)
}

/// Revokes all keys of a sensor (it is deleted); how many there were.
///
/// # Errors
/// Those of the database.
pub async fn revoke_sensor(tx: &mut WriteTransaction, clock: &Clock, sensor: &str) -> Result<u64, DbError> {
    tx.execute(&REVOKE_SENSOR, &[sensor.into(), clock.now().into()]).await
}

/// Whether there is a valid operator key; if not, this is a first start.
///
/// # Errors
/// Those of the database.
pub async fn has_operator(tx: &mut ReadTransaction) -> Result<bool, DbError> {
    Ok(tx.row(&ANY_OPERATOR, &[]).await?.is_some())
}

/// The valid key with this hash.
pub(crate) async fn find_key(tx: &mut ReadTransaction, hash: &[u8; 32]) -> Result<Option<(String, Role)>, DbError> {
    let Some(row) = tx.row(&FIND_KEY, &[hash.as_slice().into()]).await? else { return Ok(None) };
    let role = Role::from_columns(&row.get::<String>(1)?, row.get(2)?)?;
    Ok(Some((row.get(0)?, role)))
}

/// SHA-256 of a key's text.
pub(crate) fn hash(key: &str) -> [u8; 32] {
    Sha256::digest(key.as_bytes()).into()
}

/// `ak_` and 256 random bits in lower-case base32.
pub(crate) fn random_key() -> Result<String, DbError> {
    let mut bits = [0u8; 32];
    random(&mut bits)?;
    Ok(format!("ak_{}", BASE32_NOPAD.encode(&bits).to_ascii_lowercase()))
}

/// Whether a text has the form of our keys; others need no look into the database.
pub(crate) fn is_well_formed(key: &str) -> bool {
    let letters = key.strip_prefix("ak_").unwrap_or_default();
    letters.len() == 52 && letters.bytes().all(|byte| matches!(byte, b'a'..=b'z' | b'2'..=b'7'))
}

/// A UUIDv7, so that ids sort by the time of their making.
fn key_id(now: Micros) -> Result<String, DbError> {
    let mut bits = [0u8; 10];
    random(&mut bits)?;
    let milliseconds = u64::try_from(now / 1000).unwrap_or(0);
    Ok(uuid::Builder::from_unix_timestamp_millis(milliseconds, &bits).into_uuid().to_string())
}

/// A number of rows as the database takes it.
fn rows(limit: usize) -> Value {
    Value::Int(i64::try_from(limit).unwrap_or(i64::MAX))
}

fn random(bytes: &mut [u8]) -> Result<(), DbError> {
    getrandom::fill(bytes).map_err(|error| DbError::Broken(format!("the machine gives no random bytes: {error}")))
}

fn stored_key(row: &Row) -> Result<StoredKey, DbError> {
    let role = Role::from_columns(&row.get::<String>(1)?, row.get(2)?)?;
    Ok(StoredKey { id: row.get(0)?, role, created: row.get(3)? })
}
