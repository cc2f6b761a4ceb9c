//! Configuration: defaults, `antiphon.toml`, environment, flags; every value knows where it came from.

/// One setting, declared by the module that uses it.
#[derive(Clone, Copy, Debug)]
pub struct Setting {
    /// Its name, with dots between sections: `auth.public_reads`. In the environment `ANTIPHON_AUTH__PUBLIC_READS`.
    pub key: &'static str,
    /// What may be set.
    pub kind: Kind,
    /// The value when nothing is said, in the form that the environment has; empty: not set.
    pub default: &'static str,
    /// Whether its value is never shown.
    pub secret: bool,
    /// What it does, with unit and range, for people.
    pub help: &'static str,
}

/// What a setting may be.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Kind {
    /// Any text.
    Text,
    /// `true` or `false`.
    Boolean,
    /// A whole number from the first to the second.
    Integer(i64, i64),
    /// A number from the first to the second.
    Number(f64, f64),
    /// Several texts: an array in the file, a comma list in the environment.
    Texts,
}
