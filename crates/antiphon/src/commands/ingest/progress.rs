//! How far an ingest is: bytes sent and bytes analysed, with rate and time left.

use anyhow::Result;
use indicatif::{MultiProgress, ProgressBar, ProgressStyle};

/// Two bars on a terminal's standard error; nothing elsewhere.
pub struct Progress {
    bars: MultiProgress,
    sent: ProgressBar,
    stored: Option<ProgressBar>,
}

impl Progress {
    /// For this many bytes; the second bar only if their analysis is waited for.
    pub fn new(bytes: u64, wait: bool) -> Self {
        let bars = MultiProgress::new();
        let bar = |name: &'static str| {
            let template =
                "{prefix:9} [{bar:30}] {decimal_bytes} of {decimal_total_bytes}, {decimal_bytes_per_sec}, {eta} left";
            let style = ProgressStyle::with_template(template).unwrap_or_else(|_| ProgressStyle::default_bar());
            bars.add(ProgressBar::new(bytes).with_style(style.progress_chars("=> ")).with_prefix(name))
        };
        let sent = bar("sending");
        let stored = wait.then(|| bar("analysing"));
        Self { bars, sent, stored }
    }

    /// More bytes were sent.
    pub fn add_sent(&self, bytes: u64) {
        self.sent.inc(bytes);
    }

    /// Bytes that were sent have to be sent again.
    pub fn take_back_sent(&self, bytes: u64) {
        self.sent.set_position(self.sent.position().saturating_sub(bytes));
    }

    /// A file of this many bytes is done.
    pub fn add_stored(&self, bytes: u64) {
        if let Some(stored) = &self.stored {
            stored.inc(bytes);
        }
    }

    /// Prints something without tearing the bars.
    pub fn hidden_while(&self, print: impl FnOnce() -> Result<()>) -> Result<()> {
        self.bars.suspend(print)
    }

    /// Removes the bars.
    pub fn finish(&self) {
        self.sent.finish_and_clear();
        if let Some(stored) = &self.stored {
            stored.finish_and_clear();
        }
    }
}
