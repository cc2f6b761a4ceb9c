//! Configuration: defaults, `antiphon.toml`, environment, flags; every value knows where it came from.
//!
//! A module that can be configured has a static table of [`Setting`]s; the binary hands all tables to
//! [`Config::load`], which refuses what none of them declares. Any value may be a reference to where it
//! is kept ([`crate::secrets`]); it is looked up whenever it is asked for, and never shown. What AWS keeps takes a while:
//! [`Config::look_up`] does it once, before values are asked for; an [`crate::address::Address`] does it again.

use std::collections::BTreeMap;
use std::fmt;
use std::path::{Path, PathBuf};

use toml_edit::{Document, Item, TableLike, Value};

use crate::address::{Freshness, redacted};
use crate::http::nearest;
use crate::secrets::{self, Secret, Secrets};

/// The name of the settings file.
pub const FILE_NAME: &str = "antiphon.toml";

/// The largest settings file that is read, in bytes.
const FILE_LIMIT: u64 = 1024 * 1024;

/// What begins every environment variable that is a setting.
const PREFIX: &str = "ANTIPHON_";

/// Variables with our prefix that are options of commands and a test aid (`crate::crash`), not settings.
const NOT_SETTINGS: [&str; 5] =
    ["ANTIPHON_DATA", "ANTIPHON_SERVER", "ANTIPHON_KEY", "ANTIPHON_KEY_FILE", "ANTIPHON_CRASH_POINT"];

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
    /// Several texts without commas: an array in the file, a comma list in the environment.
    Texts,
}

impl fmt::Display for Kind {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Text => formatter.write_str("a text"),
            Self::Boolean => formatter.write_str("true or false"),
            Self::Integer(low, high) => write!(formatter, "a whole number from {low} to {high}"),
            Self::Number(low, high) => write!(formatter, "a number from {low} to {high}"),
            Self::Texts => formatter.write_str("an array of texts without commas"),
        }
    }
}

/// Where a value came from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Origin {
    /// Nobody said anything.
    Default,
    /// A line of the settings file, counted from 1.
    File(PathBuf, usize),
    /// An environment variable.
    Environment(String),
    /// An option of the command line.
    Flag(&'static str),
}

impl fmt::Display for Origin {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Default => formatter.write_str("default"),
            Self::File(path, line) => write!(formatter, "{}:{line}", path.display()),
            Self::Environment(name) => write!(formatter, "environment variable {name}"),
            Self::Flag(flag) => write!(formatter, "option {flag}"),
        }
    }
}

/// Everything that is wrong with the configuration, each with its place.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ConfigError {
    /// One sentence each: place, setting, what is wrong, the nearest valid name.
    pub faults: Vec<String>,
}

impl fmt::Display for ConfigError {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(&self.faults.join("\n"))
    }
}

impl std::error::Error for ConfigError {}

impl From<String> for ConfigError {
    fn from(fault: String) -> Self {
        Self { faults: vec![fault] }
    }
}

/// What is laid over the defaults, in this order.
#[derive(Clone, Debug, Default)]
pub struct Sources {
    /// The settings file and its text.
    pub file: Option<(PathBuf, String)>,
    /// Environment variables; those without our prefix are ignored.
    pub environment: Vec<(String, String)>,
    /// Settings that were given as options: option, key, value.
    pub flags: Vec<(&'static str, &'static str, String)>,
}

impl Sources {
    /// The settings file in `working_folder`, else in `data`, if there is one, and this process's environment.
    ///
    /// # Errors
    /// [`ConfigError`] for a file that is there but cannot be read.
    pub fn find(working_folder: &Path, data: &Path) -> Result<Self, ConfigError> {
        let candidates = [working_folder.join(FILE_NAME), data.join(FILE_NAME)];
        let file = match candidates.into_iter().find(|path| path.exists()) {
            Some(path) => Some(read_file(path)?),
            None => None,
        };
        let environment = std::env::vars_os()
            .filter_map(|(name, value)| Some((name.into_string().ok()?, value.into_string().unwrap_or_default())))
            .filter(|(name, _)| name.starts_with(PREFIX))
            .collect();
        Ok(Self { file, environment, flags: Vec::new() })
    }
}

fn read_file(path: PathBuf) -> Result<(PathBuf, String), ConfigError> {
    let failed = |reason: String| format!("{}: cannot be read: {reason}", path.display());
    let size = std::fs::metadata(&path).map_err(|error| failed(error.to_string()))?.len();
    if size > FILE_LIMIT {
        return Err(failed(format!("it has {size} bytes, {FILE_LIMIT} are allowed")).into());
    }
    let text = std::fs::read_to_string(&path).map_err(|error| failed(error.to_string()))?;
    Ok((path, text))
}

/// The value of every declared setting.
#[derive(Clone)]
pub struct Config {
    entries: BTreeMap<&'static str, Entry>,
    secrets: Secrets,
}

#[derive(Clone)]
struct Entry {
    setting: Setting,
    /// In the form that the environment has; perhaps a reference.
    text: String,
    origin: Origin,
}

/// A setting as it may be shown.
#[derive(Clone, Debug, PartialEq, Eq, serde::Serialize)]
pub struct Shown {
    /// Its name.
    pub key: &'static str,
    /// Its value, `***` for secrets; a reference is shown as such, not what it leads to.
    pub value: String,
    /// Where that came from.
    pub origin: String,
    /// What it does.
    pub help: &'static str,
}

impl Config {
    /// Lays the sources over the defaults of all declared settings.
    ///
    /// # Errors
    /// Everything that is wrong: unknown settings with the nearest known one, wrong types, wrong TOML; with file and
    /// line, variable, or option.
    pub fn load(tables: &[&[Setting]], sources: &Sources) -> Result<Self, ConfigError> {
        let entry =
            |setting: &Setting| Entry { setting: *setting, text: setting.default.to_owned(), origin: Origin::Default };
        let entries = tables.iter().copied().flatten().map(|setting| (setting.key, entry(setting))).collect();
        let mut config = Self { entries, secrets: Secrets::default() };
        let mut faults = Vec::new();
        if let Some((path, text)) = &sources.file {
            config.add_file(path, text, &mut faults);
        }
        for (name, value) in &sources.environment {
            config.add_variable(name, value, &mut faults);
        }
        for (flag, key, value) in &sources.flags {
            config.set(key, value.clone(), Origin::Flag(flag), &mut faults);
        }
        if faults.is_empty() { Ok(config) } else { Err(ConfigError { faults }) }
    }

    fn add_file(&mut self, path: &Path, text: &str, faults: &mut Vec<String>) {
        let line_of = |span: Option<std::ops::Range<usize>>| {
            let start = span.map_or(0, |span| span.start).min(text.len());
            text.as_bytes()[..start].iter().filter(|byte| **byte == b'\n').count() + 1
        };
        match Document::parse(text) {
            Ok(document) => {
                self.add_table(document.as_table(), "", &|span| Origin::File(path.to_owned(), line_of(span)), faults)
            }
            Err(error) => {
                let message = error.message().lines().collect::<Vec<_>>().join("; ");
                faults.push(format!("{}:{}: this is no TOML: {message}", path.display(), line_of(error.span())));
            }
        }
    }

    fn add_table(
        &mut self,
        table: &dyn TableLike,
        section: &str,
        origin: &dyn Fn(Option<std::ops::Range<usize>>) -> Origin,
        faults: &mut Vec<String>,
    ) {
        for (name, item) in table.iter() {
            let key = if section.is_empty() { name.to_owned() } else { format!("{section}.{name}") };
            let place = origin(table.key(name).and_then(toml_edit::Key::span).or_else(|| item.span()));
            let known = self.entries.keys().copied().find(|known| *known == key);
            let is_section = self.entries.keys().any(|known| known.starts_with(&format!("{key}.")));
            match (known, item.as_table_like()) {
                (Some(known), _) => match text_of(item, self.entries[known].setting.kind) {
                    Some(text) => self.set(known, text, place, faults),
                    None => {
                        let setting = self.entries[known].setting;
                        faults.push(wrong_type(&place, known, setting.kind, &shown(item, setting.secret)));
                    }
                },
                (None, Some(inner)) if is_section => self.add_table(inner, &key, origin, faults),
                (None, None) if is_section => {
                    faults.push(format!("{place}: {key} is a section, not a value: write [{key}] above its settings"));
                }
                (None, _) => faults.push(self.unknown(&place, &key)),
            }
        }
    }

    fn add_variable(&mut self, name: &str, value: &str, faults: &mut Vec<String>) {
        let Some(rest) = name.strip_prefix(PREFIX) else { return };
        if NOT_SETTINGS.contains(&name) || is_service_link(rest) {
            return;
        }
        let key = rest.to_lowercase().replace("__", ".");
        let origin = Origin::Environment(name.to_owned());
        match self.entries.keys().copied().find(|known| *known == key) {
            Some(known) => self.set(known, value.to_owned(), origin, faults),
            None => faults.push(self.unknown(&origin, &key)),
        }
    }

    fn set(&mut self, key: &str, text: String, origin: Origin, faults: &mut Vec<String>) {
        let Some(entry) = self.entries.get_mut(key) else {
            faults.push(format!("{origin}: there is no setting {key}"));
            return;
        };
        if !secrets::is_reference(&text) && !fits(&text, entry.setting.kind) {
            let said = if entry.setting.secret { String::from("that") } else { format!("{text:?}") };
            faults.push(wrong_type(&origin, key, entry.setting.kind, &said));
            return;
        }
        entry.text = text;
        entry.origin = origin;
    }

    fn unknown(&self, place: &Origin, key: &str) -> String {
        let sections = self.entries.keys().filter_map(|known| Some(known.rsplit_once('.')?.0));
        let hint = nearest(key, self.entries.keys().copied().chain(sections)).map(|near| match place {
            Origin::Environment(_) => format!("; did you mean {near} ({})?", variable(near)),
            _ => format!("; did you mean {near}?"),
        });
        format!("{place}: there is no setting {key}{}", hint.unwrap_or_default())
    }

    fn entry(&self, key: &str) -> Result<&Entry, ConfigError> {
        self.entries.get(key).ok_or_else(|| ConfigError::from(format!("the setting {key} is not declared")))
    }

    /// The value behind a setting, references followed; `None` when it is not set.
    fn value(&self, key: &str) -> Result<Option<Secret>, ConfigError> {
        let entry = self.entry(key)?;
        let value = self.secrets.resolve(&entry.text).map_err(|error| format!("{}: {key}: {error}", entry.origin))?;
        if value.reveal().is_empty() {
            return Ok(None);
        }
        if !fits(value.reveal(), entry.setting.kind) {
            return Err(wrong_type(&entry.origin, key, entry.setting.kind, "what the reference leads to").into());
        }
        Ok(Some(value))
    }

    fn parsed<T: std::str::FromStr>(&self, key: &str) -> Result<Option<T>, ConfigError> {
        let Some(value) = self.value(key)? else { return Ok(None) };
        let kind = self.entry(key)?.setting.kind;
        value.reveal().parse().map(Some).map_err(|_| format!("the setting {key} is declared as {kind}").into())
    }

    /// The same settings, with references followed by `secrets`.
    #[must_use]
    pub fn with_secrets(self, secrets: Secrets) -> Self {
        Self { secrets, ..self }
    }

    /// What follows references.
    pub(crate) fn secrets(&self) -> &Secrets {
        &self.secrets
    }

    /// A setting's text: its value, or the reference to it; empty when it is not set.
    pub(crate) fn said(&self, key: &str) -> Result<&str, ConfigError> {
        Ok(&self.entry(key)?.text)
    }

    /// Looks up what AWS keeps, so that every setting can be asked for. To be done once, before any is.
    ///
    /// # Errors
    /// All references that lead nowhere.
    pub async fn look_up(&self) -> Result<(), ConfigError> {
        let mut faults = Vec::new();
        for (key, entry) in &self.entries {
            if let Err(error) = self.secrets.look_up(&entry.text, Freshness::Cached).await {
                faults.push(format!("{}: {key}: {error}", entry.origin));
            }
        }
        if faults.is_empty() { Ok(()) } else { Err(ConfigError { faults }) }
    }

    /// A secret; `None` when it is not set.
    ///
    /// # Errors
    /// [`ConfigError`] when its reference leads nowhere.
    pub fn secret(&self, key: &str) -> Result<Option<Secret>, ConfigError> {
        self.value(key)
    }

    /// A text; `None` when it is not set.
    ///
    /// # Errors
    /// [`ConfigError`] when its reference leads nowhere.
    pub fn text(&self, key: &str) -> Result<Option<String>, ConfigError> {
        Ok(self.value(key)?.map(|value| value.reveal().to_owned()))
    }

    /// The entries of a [`Kind::Texts`].
    ///
    /// # Errors
    /// [`ConfigError`] when its reference leads nowhere.
    pub fn texts(&self, key: &str) -> Result<Vec<String>, ConfigError> {
        let text = self.text(key)?.unwrap_or_default();
        Ok(text.split(',').map(str::trim).filter(|entry| !entry.is_empty()).map(str::to_owned).collect())
    }

    /// A [`Kind::Boolean`]; false when it is not set.
    ///
    /// # Errors
    /// [`ConfigError`] when its reference leads nowhere.
    pub fn boolean(&self, key: &str) -> Result<bool, ConfigError> {
        Ok(self.parsed(key)?.unwrap_or(false))
    }

    /// A [`Kind::Integer`]; `None` when it is not set.
    ///
    /// # Errors
    /// [`ConfigError`] when its reference leads nowhere.
    pub fn integer(&self, key: &str) -> Result<Option<i64>, ConfigError> {
        self.parsed(key)
    }

    /// A [`Kind::Number`]; `None` when it is not set.
    ///
    /// # Errors
    /// [`ConfigError`] when its reference leads nowhere.
    pub fn number(&self, key: &str) -> Result<Option<f64>, ConfigError> {
        self.parsed(key)
    }

    /// Where a setting's value came from.
    ///
    /// # Errors
    /// [`ConfigError`] for a setting that is not declared.
    pub fn origin(&self, key: &str) -> Result<&Origin, ConfigError> {
        Ok(&self.entry(key)?.origin)
    }

    /// Every setting as it may be shown, by name.
    #[must_use]
    pub fn show(&self) -> Vec<Shown> {
        let shown = |entry: &Entry| {
            let hidden = entry.setting.secret && !entry.text.is_empty() && !secrets::is_reference(&entry.text);
            let value = if hidden { String::from("***") } else { redacted(&entry.text) };
            Shown { key: entry.setting.key, value, origin: entry.origin.to_string(), help: entry.setting.help }
        };
        self.entries.values().map(shown).collect()
    }

    /// Follows every reference.
    ///
    /// # Errors
    /// Those that lead nowhere, or to what the setting cannot be.
    pub fn check(&self) -> Result<(), ConfigError> {
        let faults: Vec<String> =
            self.entries.keys().filter_map(|key| self.value(key).err()).flat_map(|error| error.faults).collect();
        if faults.is_empty() { Ok(()) } else { Err(ConfigError { faults }) }
    }
}

/// The environment variable of a setting.
#[must_use]
pub fn variable(key: &str) -> String {
    format!("{PREFIX}{}", key.replace('.', "__").to_uppercase())
}

/// Kubernetes tells every container about a service called `antiphon` in variables of these forms; they
/// are not ours.
fn is_service_link(rest: &str) -> bool {
    rest == "PORT" || rest.starts_with("PORT_") || rest == "SERVICE_HOST" || rest.starts_with("SERVICE_PORT")
}

fn wrong_type(place: &Origin, key: &str, kind: Kind, said: &str) -> String {
    format!("{place}: {key} must be {kind}, not {said}")
}

/// A value of the file as an error may show it.
fn shown(item: &Item, secret: bool) -> String {
    match item.as_value() {
        Some(Value::String(text)) if !secret => format!("{:?}", text.value().chars().take(100).collect::<String>()),
        Some(Value::Integer(number)) if !secret => number.value().to_string(),
        Some(Value::Float(number)) if !secret => number.value().to_string(),
        Some(Value::Boolean(flag)) if !secret => flag.value().to_string(),
        _ => item.type_name().to_owned(),
    }
}

/// A value of the file in the form that the environment has; `None` when it is of another type.
fn text_of(item: &Item, kind: Kind) -> Option<String> {
    let value = item.as_value()?;
    match (value, kind) {
        (Value::String(text), Kind::Text) => Some(text.value().clone()),
        (Value::String(text), _) if secrets::is_reference(text.value()) => Some(text.value().clone()),
        (Value::Boolean(flag), Kind::Boolean) => Some(flag.value().to_string()),
        (Value::Integer(number), Kind::Integer(..) | Kind::Number(..)) => Some(number.value().to_string()),
        (Value::Float(number), Kind::Number(..)) => Some(number.value().to_string()),
        (Value::Array(array), Kind::Texts) => {
            let texts: Option<Vec<&str>> = array.iter().map(Value::as_str).collect();
            texts.filter(|texts| texts.iter().all(|text| !text.contains(','))).map(|texts| texts.join(","))
        }
        _ => None,
    }
}

fn fits(text: &str, kind: Kind) -> bool {
    match kind {
        Kind::Text | Kind::Texts => true,
        _ if text.is_empty() => true,
        Kind::Boolean => matches!(text, "true" | "false"),
        Kind::Integer(low, high) => text.parse().is_ok_and(|number: i64| (low..=high).contains(&number)),
        Kind::Number(low, high) => text.parse().is_ok_and(|number: f64| (low..=high).contains(&number)),
    }
}

#[cfg(test)]
mod tests;
