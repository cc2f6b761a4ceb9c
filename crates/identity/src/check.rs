//! Who makes a request: keys looked up in the database, remembered for a minute.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};

use antiphon_platform::clock::{Clock, Micros, SECOND};
use antiphon_platform::db::{DbError, Reader};
use antiphon_platform::http::{ClientAddress, Limiter, Problem};
use axum::extract::{Request, State};
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};
use http::header::AUTHORIZATION;
use http::{HeaderMap, Method};

use crate::keys::{self, Role};
use crate::principal::{Principal, key_needed};
use crate::token::LocalToken;

/// How long an answer of the database counts. Within it a key revoked by another process stops, and as long
/// known keys go on when the database is down.
const KEEP: Micros = 60 * SECOND;

/// The age from which an answer is asked for again, so that a database that goes down leaves most of [`KEEP`].
const REFRESH: Micros = 10 * SECOND;

/// Keys remembered at most; beyond it the memory is emptied, which costs a lookup each.
const REMEMBERED: usize = 10_000;

/// Names the key of a request among its extensions, for limits per key.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct KeyId(pub String);

/// Checks keys. Cheap to clone; clones share what they remember.
#[derive(Clone)]
pub struct Keys(Arc<Shared>);

struct Shared {
    reader: Reader,
    clock: Clock,
    public_reads: bool,
    local: Option<[u8; 32]>,
    guesses: Limiter,
    requests: Option<Limiter>,
    memory: Mutex<Memory>,
}

#[derive(Default)]
struct Memory {
    known: HashMap<[u8; 32], Known>,
    /// Raised by [`Keys::forget`], so that a lookup which began before it is not remembered after it.
    generation: u64,
}

#[derive(Clone)]
struct Known {
    id: String,
    role: Role,
    /// When the lookup began that confirmed it.
    confirmed: Micros,
    /// When the last lookup began, confirmed or not.
    asked: Micros,
}

/// How keys are checked.
#[derive(Debug, Default)]
pub struct Options<'a> {
    /// GETs need no key (`auth.public_reads`, `--demo`).
    pub public_reads: bool,
    /// The token that opens everything to peers on the loopback.
    pub local_token: Option<&'a LocalToken>,
    /// How many requests a second one key may make (`limits.requests_per_second`); `None` for any number.
    pub requests_per_second: Option<f64>,
}

impl Keys {
    /// Checks keys against the tables that `reader` reads.
    #[must_use]
    pub fn new(reader: Reader, clock: Clock, options: &Options<'_>) -> Self {
        Self(Arc::new(Shared {
            reader,
            guesses: Limiter::guesses(clock.clone()),
            requests: options.requests_per_second.map(|rate| Limiter::requests(rate, clock.clone())),
            clock,
            public_reads: options.public_reads,
            local: options.local_token.map(LocalToken::hash),
            memory: Mutex::default(),
        }))
    }

    /// Forgets what was looked up; call it after committing a revocation.
    pub fn forget(&self) {
        let mut memory = self.0.memory.lock().unwrap_or_else(PoisonError::into_inner);
        memory.known.clear();
        memory.generation += 1;
    }

    /// Who sends a request with these headers from `client`, and the id of the key.
    ///
    /// # Errors
    /// 401 without a valid key, 403 when it may not use the method, 429 after too many wrong keys from
    /// this address, 503 when the database does not answer and the key is not remembered.
    pub async fn identify(
        &self,
        method: &Method,
        headers: &HeaderMap,
        client: ClientAddress,
    ) -> Result<(Principal, KeyId), Problem> {
        let reads = *method == Method::GET || *method == Method::HEAD;
        let Some(key) = bearer(headers)? else {
            let public = self.0.public_reads && reads;
            return if public { Ok((Principal::Public, KeyId(String::from("public")))) } else { Err(key_needed()) };
        };
        let hash = keys::hash(key);
        if !keys::is_well_formed(key) {
            self.0.guesses.take(&client.limit_key())?;
            return Err(key_invalid());
        }
        if self.is_local_token(&hash, client) {
            return Ok((Principal::Operator, KeyId(String::from("local"))));
        }
        let Some((id, role)) = self.look_up(&hash, client).await? else {
            return Err(key_invalid());
        };
        match role {
            Role::Operator => Ok((Principal::Operator, KeyId(id))),
            Role::Reader if reads => Ok((Principal::Reader, KeyId(id))),
            Role::Reader => Err(Problem::forbidden("a reader's key may only read (GET)")),
            Role::Sensor(sensor) => Ok((Principal::Sensor(sensor), KeyId(id))),
        }
    }

    /// Takes one request from what the key may make in a second; without a key, from what the address may.
    fn count(&self, principal: &Principal, key: &KeyId, client: ClientAddress) -> Result<(), Problem> {
        let Some(limiter) = &self.0.requests else { return Ok(()) };
        if *principal == Principal::Public { limiter.take(&client.limit_key()) } else { limiter.take(&key.0) }
    }

    fn is_local_token(&self, hash: &[u8; 32], client: ClientAddress) -> bool {
        client.is_loopback() && self.0.local.is_some_and(|local| equal_in_constant_time(&local, hash))
    }

    /// The key with this hash: remembered, or asked of the database. Finding by hash tells a guesser nothing
    /// through its timing, since nobody can steer the hash of a guess towards that of a key. A valid key is let in
    /// however many wrong ones came from the same address, so that nobody is locked out by a neighbour.
    async fn look_up(&self, hash: &[u8; 32], client: ClientAddress) -> Result<Option<(String, Role)>, Problem> {
        let now = self.0.clock.now();
        let remembered = self.remembered(hash, now);
        if let Some((known, Age::Fresh)) = &remembered {
            return Ok(Some((known.id.clone(), known.role.clone())));
        }
        match (self.ask(hash, now).await, remembered) {
            (Ok(None), _) => {
                self.0.guesses.take(&client.limit_key())?;
                Ok(None)
            }
            (Ok(found), _) => Ok(found),
            (Err(error), Some((known, _))) => {
                tracing::warn!(%error, "a key was not looked up again; the last answer counts for up to a minute");
                Ok(Some((known.id, known.role)))
            }
            (Err(error), None) => Err(Problem::from(error)),
        }
    }

    fn remembered(&self, hash: &[u8; 32], now: Micros) -> Option<(Known, Age)> {
        let mut memory = self.0.memory.lock().unwrap_or_else(PoisonError::into_inner);
        let known = memory.known.get_mut(hash)?;
        // A clock that was set back makes ages negative: such an answer does not count.
        if !(0..KEEP).contains(&(now - known.confirmed)) {
            return None;
        }
        if (0..REFRESH).contains(&(now - known.asked)) {
            return Some((known.clone(), Age::Fresh));
        }
        // One request asks again; those beside it go on with the last answer.
        known.asked = now;
        Some((known.clone(), Age::Aging))
    }

    async fn ask(&self, hash: &[u8; 32], now: Micros) -> Result<Option<(String, Role)>, DbError> {
        let generation = self.0.memory.lock().unwrap_or_else(PoisonError::into_inner).generation;
        let mut tx = self.0.reader.read().await?;
        let found = keys::find_key(&mut tx, hash).await?;
        let mut memory = self.0.memory.lock().unwrap_or_else(PoisonError::into_inner);
        match &found {
            Some((id, role)) if memory.generation == generation => {
                if memory.known.len() >= REMEMBERED {
                    memory.known.clear();
                }
                let known = Known { id: id.clone(), role: role.clone(), confirmed: now, asked: now };
                memory.known.insert(*hash, known);
            }
            Some(_) => {}
            None => {
                memory.known.remove(hash);
            }
        }
        Ok(found)
    }
}

enum Age {
    Fresh,
    Aging,
}

/// The layer that answers 401 and 403 before anything else of a request is looked at, and hands on the [`Principal`]
/// and the [`KeyId`]. Use it with [`axum::middleware::from_fn_with_state`].
pub async fn authenticate(
    State(keys): State<Keys>,
    client: ClientAddress,
    mut request: Request,
    next: Next,
) -> Response {
    let identified = keys.identify(request.method(), request.headers(), client).await;
    let counted = identified.and_then(|(principal, key)| {
        keys.count(&principal, &key, client)?;
        Ok((principal, key))
    });
    match counted {
        Ok((principal, key)) => {
            request.extensions_mut().insert(principal);
            request.extensions_mut().insert(key);
            next.run(request).await
        }
        Err(problem) => problem.into_response(),
    }
}

/// The key of `Authorization: Bearer KEY`; the scheme's case does not matter (RFC 9110).
fn bearer(headers: &HeaderMap) -> Result<Option<&str>, Problem> {
    let Some(header) = headers.get(AUTHORIZATION) else { return Ok(None) };
    let credentials = header.to_str().ok().and_then(|text| text.split_once(' '));
    match credentials {
        Some((scheme, key)) if scheme.eq_ignore_ascii_case("bearer") && !key.trim().is_empty() => Ok(Some(key.trim())),
        _ => Err(Problem::unauthorized("the Authorization header holds no bearer key")
            .hint(Some("send `Authorization: Bearer KEY`"))),
    }
}

fn key_invalid() -> Problem {
    Problem::unauthorized("this key is not valid")
        .hint(Some("it may have been revoked; `antiphon key list` shows the valid ones"))
}

/// Looks at every byte whatever differs, so that timing does not tell how much of a guess was right.
fn equal_in_constant_time(left: &[u8; 32], right: &[u8; 32]) -> bool {
    let differing = left.iter().zip(right).fold(0, |differing, (a, b)| differing | (a ^ b));
    std::hint::black_box(differing) == 0
}
