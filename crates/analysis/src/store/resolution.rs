//! Lengths of time that values are merged over.

use antiphon_platform::clock::{Micros, SECOND};

/// The length of a cell.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Resolution {
    /// 1 s: made of partials.
    Second = 1,
    /// 10 s: always made when asked for.
    TenSeconds = 10,
    /// 1 min.
    Minute = 60,
    /// 10 min.
    TenMinutes = 600,
    /// 1 h.
    Hour = 3_600,
    /// 1 d (UTC).
    Day = 86_400,
}

impl Resolution {
    /// All, finest first.
    pub const ALL: [Self; 6] = [Self::Second, Self::TenSeconds, Self::Minute, Self::TenMinutes, Self::Hour, Self::Day];

    /// Those whose cells are kept as rows, finest first.
    pub const STORED: [Self; 4] = [Self::Minute, Self::TenMinutes, Self::Hour, Self::Day];

    /// Its length in µs.
    #[must_use]
    pub fn length(self) -> Micros {
        self as i64 * SECOND
    }

    /// Its name in the API.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Second => "1s",
            Self::TenSeconds => "10s",
            Self::Minute => "1m",
            Self::TenMinutes => "10m",
            Self::Hour => "1h",
            Self::Day => "1d",
        }
    }

    /// The start of the cell that holds an instant.
    #[must_use]
    pub fn floor(self, time: Micros) -> Micros {
        time.div_euclid(self.length()) * self.length()
    }

    /// The start of the first cell that begins at or after an instant.
    #[must_use]
    pub fn ceil(self, time: Micros) -> Micros {
        self.floor(time.saturating_add(self.length() - 1))
    }

    /// What its cells are merged of; a second is made of partials.
    #[must_use]
    pub fn child(self) -> Option<Self> {
        match self {
            Self::Second => None,
            Self::TenSeconds => Some(Self::Second),
            Self::Minute => Some(Self::TenSeconds),
            Self::TenMinutes => Some(Self::Minute),
            Self::Hour => Some(Self::TenMinutes),
            Self::Day => Some(Self::Hour),
        }
    }
}
