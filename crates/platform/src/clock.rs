//! Time as a parameter: everything that needs "now" is handed a [`Clock`].

use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};
use std::time::{Duration, Instant};

/// Microseconds since 1970-01-01T00:00:00Z, without leap seconds (POSIX time).
pub type Micros = i64;

/// Microseconds in one second.
pub const SECOND: Micros = 1_000_000;

/// A length of time in µs; one beyond all reason is one that can still be added to a time.
#[must_use]
pub fn micros(length: Duration) -> Micros {
    Micros::try_from(length.as_micros()).unwrap_or(Micros::MAX / 4)
}

/// How long that many µs are; none where the end is past already.
#[must_use]
pub fn duration(length: Micros) -> Duration {
    Duration::from_micros(u64::try_from(length).unwrap_or(0))
}

/// Where "now" comes from. Cheap to clone; clones of a manual clock move together.
#[derive(Clone, Debug)]
pub struct Clock(Source);

#[derive(Clone, Debug)]
enum Source {
    System,
    Manual(Arc<AtomicI64>),
    Paced { start: Micros, begun: Instant, times: u32 },
}

impl Clock {
    /// The machine's own clock.
    #[must_use]
    pub fn system() -> Self {
        Self(Source::System)
    }

    /// A clock that stands at `now` until it is moved; for tests.
    #[must_use]
    pub fn manual(now: Micros) -> Self {
        Self(Source::Manual(Arc::new(AtomicI64::new(now))))
    }

    /// A clock that stands at `start` now, and runs `times` as fast as the machine's own; for tests of long stretches.
    #[must_use]
    pub fn paced(start: Micros, times: u32) -> Self {
        Self(Source::Paced { start, begun: Instant::now(), times })
    }

    /// Now, in microseconds since 1970.
    #[must_use]
    pub fn now(&self) -> Micros {
        match &self.0 {
            #[expect(clippy::disallowed_methods, reason = "the one place that asks the machine")]
            Source::System => std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).map_or(0, micros),
            Source::Manual(now) => now.load(Ordering::SeqCst),
            Source::Paced { start, begun, times } => {
                start.saturating_add(micros(begun.elapsed()).saturating_mul(i64::from(*times)))
            }
        }
    }

    /// Moves a manual clock forward by `by` microseconds; others are not moved.
    pub fn advance(&self, by: Micros) {
        if let Source::Manual(now) = &self.0 {
            now.fetch_add(by, Ordering::SeqCst);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lengths_are_told_both_ways() {
        assert_eq!(
            (micros(Duration::from_millis(1_500)), duration(1_500_000)),
            (1_500_000, Duration::from_millis(1_500))
        );
        assert_eq!(duration(-1), Duration::ZERO);
        let in_3000 = 32_503_680_000 * SECOND;
        assert!(in_3000.checked_add(2 * micros(Duration::MAX)).is_some());
    }
}
