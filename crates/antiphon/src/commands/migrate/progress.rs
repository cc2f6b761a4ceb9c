//! How far a migration is.

use indicatif::{ProgressBar, ProgressStyle};

/// A bar on a terminal's standard error; nothing elsewhere.
pub struct Progress(ProgressBar);

impl Progress {
    /// For so many things of a kind.
    pub fn new(what: &str, total: u64) -> Self {
        let template = "{prefix:28} [{bar:30}] {human_pos} of {human_len}, {per_sec}, {eta} left";
        let style = ProgressStyle::with_template(template).unwrap_or_else(|_| ProgressStyle::default_bar());
        Self(ProgressBar::new(total).with_style(style.progress_chars("=> ")).with_prefix(what.to_owned()))
    }

    /// Some more are done.
    pub fn add(&self, count: u64) {
        self.0.inc(count);
    }
}

impl Drop for Progress {
    fn drop(&mut self) {
        self.0.finish_and_clear();
    }
}
