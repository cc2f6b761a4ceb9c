//! Rate limits: a token bucket for each key or address.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};

use http::{HeaderName, HeaderValue};

use super::Problem;
use crate::clock::{Clock, Micros, SECOND};

/// The most buckets that are kept; above it full ones are forgotten, which changes nothing for their owners, and
/// then the fullest half, so that no flood of names grows the table.
const BUCKETS: usize = 10_000;

/// A limit on how often each of many callers may do something. Cheap to clone; clones share their buckets.
#[derive(Clone)]
pub struct Limiter {
    shared: Arc<Shared>,
}

struct Shared {
    name: &'static str,
    per_second: f64,
    burst: f64,
    clock: Clock,
    buckets: Mutex<HashMap<String, Bucket>>,
}

#[derive(Clone, Copy)]
struct Bucket {
    tokens: f64,
    filled_at: Micros,
}

impl Limiter {
    /// A limit called `name` in answers: `per_second` on average (above 0), `burst` (at least 1) at once.
    #[must_use]
    pub fn new(name: &'static str, per_second: f64, burst: f64, clock: Clock) -> Self {
        let (per_second, burst) = (per_second.max(f64::MIN_POSITIVE), burst.max(1.0));
        Self { shared: Arc::new(Shared { name, per_second, burst, clock, buckets: Mutex::default() }) }
    }

    /// The setting `limits.requests_per_second`: a burst of one second's worth.
    #[must_use]
    pub fn requests(per_second: f64, clock: Clock) -> Self {
        Self::new("requests", per_second, per_second.ceil(), clock)
    }

    /// For wrong keys: one address may guess ten at once and then one in three seconds.
    #[must_use]
    pub fn guesses(clock: Clock) -> Self {
        Self::new("guesses", 1.0 / 3.0, 10.0, clock)
    }

    /// Whether `caller` has used its burst up, without taking anything.
    ///
    /// # Errors
    /// 429 with `Retry-After`, `RateLimit` and `RateLimit-Policy`.
    pub fn check(&self, caller: &str) -> Result<(), Problem> {
        self.take_up_to(caller, 0.0)
    }

    /// Takes one token of `caller`.
    ///
    /// # Errors
    /// 429 with `Retry-After`, `RateLimit` and `RateLimit-Policy`; then nothing is taken.
    pub fn take(&self, caller: &str) -> Result<(), Problem> {
        self.take_up_to(caller, 1.0)
    }

    fn take_up_to(&self, caller: &str, cost: f64) -> Result<(), Problem> {
        let Shared { per_second, burst, clock, buckets, .. } = &*self.shared;
        let now = clock.now();
        let mut buckets = buckets.lock().unwrap_or_else(PoisonError::into_inner);
        let full = Bucket { tokens: *burst, filled_at: now };
        let mut bucket = buckets.get(caller).copied().unwrap_or(full);
        refill(&mut bucket, now, *per_second, *burst);
        if bucket.tokens < 1.0 {
            return Err(self.refusal(bucket.tokens));
        }
        if cost == 0.0 {
            return Ok(());
        }
        bucket.tokens -= cost;
        if buckets.len() >= BUCKETS && !buckets.contains_key(caller) {
            shrink(&mut buckets, now, *per_second, *burst);
        }
        buckets.insert(caller.to_owned(), bucket);
        Ok(())
    }

    /// The fields are those of draft-ietf-httpapi-ratelimit-headers-10: quota and window of the policy,
    /// remaining quota and seconds until there is some again.
    fn refusal(&self, tokens: f64) -> Problem {
        let Shared { name, per_second, burst, .. } = &*self.shared;
        let wait = ((1.0 - tokens) / per_second).ceil().clamp(1.0, 3_600.0) as u32;
        let window = (burst / per_second).ceil().max(1.0);
        let policy = format!("\"{name}\";q={};w={window}", burst.floor());
        let state = format!("\"{name}\";r=0;t={wait}");
        let mut problem = Problem::too_many(format!("too many {name}; the next may come in {wait} s"), wait);
        for (header, value) in [("ratelimit-policy", policy), ("ratelimit", state)] {
            if let Ok(value) = HeaderValue::from_str(&value) {
                problem = problem.header(HeaderName::from_static(header), value);
            }
        }
        problem
    }
}

fn refill(bucket: &mut Bucket, now: Micros, per_second: f64, burst: f64) {
    // A clock that is set back must not empty a bucket, nor fill it for the time that is then repeated.
    let passed = now.saturating_sub(bucket.filled_at).max(0);
    bucket.tokens = (bucket.tokens + passed as f64 / SECOND as f64 * per_second).min(burst);
    bucket.filled_at = now;
}

fn shrink(buckets: &mut HashMap<String, Bucket>, now: Micros, per_second: f64, burst: f64) {
    buckets.retain(|_, bucket| {
        refill(bucket, now, per_second, burst);
        bucket.tokens < burst
    });
    if buckets.len() < BUCKETS {
        return;
    }
    let mut tokens: Vec<f64> = buckets.values().map(|bucket| bucket.tokens).collect();
    let middle = tokens.len() / 2;
    let (_, median, _) = tokens.select_nth_unstable_by(middle, f64::total_cmp);
    let median = *median;
    buckets.retain(|_, bucket| bucket.tokens < median);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_burst_then_the_rate() {
        let clock = Clock::manual(0);
        let limiter = Limiter::new("requests", 2.0, 3.0, clock.clone());
        for _ in 0..3 {
            limiter.take("a").unwrap();
        }
        let problem = limiter.take("a").unwrap_err();
        assert_eq!((problem.status, problem.retry_after), (429, Some(1)));
        assert!(limiter.take("b").is_ok(), "another caller has a bucket of its own");
        clock.advance(SECOND / 2);
        assert!(limiter.take("a").is_ok());
        assert!(limiter.take("a").is_err());
        clock.advance(100 * SECOND);
        assert_eq!(
            (0..10).filter(|_| limiter.take("a").is_ok()).count(),
            3,
            "a bucket never holds more than its burst"
        );
    }

    #[test]
    fn a_refusal_carries_the_headers() {
        let limiter = Limiter::new("guesses", 0.5, 1.0, Clock::manual(0));
        limiter.take("a").unwrap();
        let problem = limiter.take("a").unwrap_err();
        let header =
            |name: &str| problem.headers.iter().find(|(n, _)| n == name).map(|(_, v)| v.to_str().unwrap().to_owned());
        assert_eq!(problem.retry_after, Some(2));
        assert_eq!(header("ratelimit-policy").unwrap(), "\"guesses\";q=1;w=2");
        assert_eq!(header("ratelimit").unwrap(), "\"guesses\";r=0;t=2");
    }

    #[test]
    fn checking_takes_nothing() {
        let limiter = Limiter::new("guesses", 1.0, 1.0, Clock::manual(0));
        assert!((0..5).all(|_| limiter.check("a").is_ok()));
        limiter.take("a").unwrap();
        assert!(limiter.check("a").is_err());
    }

    #[test]
    fn a_flood_of_names_does_not_grow_the_table() {
        let limiter = Limiter::new("requests", 1.0, 5.0, Clock::manual(0));
        for caller in 0..3 * BUCKETS {
            limiter.take(&caller.to_string()).unwrap();
        }
        assert!(limiter.shared.buckets.lock().unwrap().len() <= BUCKETS);
    }

    #[test]
    fn a_clock_set_back_refuses_nobody_for_ever() {
        let clock = Clock::manual(1_000 * SECOND);
        let limiter = Limiter::new("requests", 1.0, 2.0, clock.clone());
        limiter.take("a").unwrap();
        clock.advance(-900 * SECOND);
        limiter.take("a").unwrap();
        assert!(limiter.take("a").is_err());
        clock.advance(SECOND);
        assert!(limiter.take("a").is_ok());
    }
}
