//! Values over time as SVG: panels one below the other over one axis of time, with curves, marks and maps of colours.
//!
//! It knows nothing of audio: who draws gives seconds and places in panels. Coordinates have one decimal, so that the same
//! values give the same bytes.
//!
//! ```
//! use antiphon_plot::{Drawing, Layout, Panel, Scale, colours};
//!
//! let levels = [-30.0, -24.5, -27.0];
//! let layout = Layout { width: 400.0, height: 240.0, left: 60.0, right: 390.0, seconds: 3.0 };
//! let mut drawing = Drawing::new(layout, "Three seconds", "of levels", "Level over time.");
//! let panel = Panel { top: 80.0, height: 100.0 };
//! let scale = Scale::around(levels.into_iter());
//! drawing.panel(panel, "level in dB");
//! drawing.scale(panel, &scale);
//! let points = levels.iter().zip(0..).map(|(level, second)| (f64::from(second), Some(scale.share(*level))));
//! drawing.curve(panel, points, colours::BLUE, "level");
//! drawing.time_axis(panel.top, panel.bottom());
//! assert!(drawing.finish().ends_with("</svg>\n"));
//! ```

pub mod colours;
mod map;
mod scale;

pub use map::{Map, SHADES, shade};
pub use png::EncodingError;
pub use scale::Scale;

/// Steps of the time axis in seconds; the first that leaves room for its labels is taken.
const STEPS: [f64; 17] =
    [0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 1.0, 2.0, 5.0, 10.0, 30.0, 60.0, 300.0, 600.0, 1_800.0, 3_600.0, 7_200.0];
/// Pixels for a label of the time axis.
const LABEL_WIDTH: f64 = 100.0;
/// Pixels between marks, on average, below which they would be a grey area.
const MARK_DISTANCE: f64 = 5.0;

/// Pixels of the whole, where panels begin and end, and how long the axis of time is.
#[derive(Clone, Copy, Debug)]
pub struct Layout {
    /// Width of the picture.
    pub width: f64,
    /// Its height.
    pub height: f64,
    /// Where panels begin.
    pub left: f64,
    /// Where they end.
    pub right: f64,
    /// Seconds from there to there.
    pub seconds: f64,
}

/// The place of a panel, in pixels from the top.
#[derive(Clone, Copy, Debug)]
pub struct Panel {
    /// Where it begins.
    pub top: f64,
    /// How high it is.
    pub height: f64,
}

impl Panel {
    /// Where it ends.
    pub fn bottom(&self) -> f64 {
        self.top + self.height
    }

    /// The place of a share of the height, 0 at the bottom; what lies outside is moved to the nearest border.
    pub fn at(&self, share: f64) -> f64 {
        self.bottom() - share.clamp(0.0, 1.0) * self.height
    }
}

/// A picture while it is drawn: what comes later lies above.
pub struct Drawing {
    layout: Layout,
    svg: String,
}

impl Drawing {
    /// A white sheet with two lines of text above, and a description for who does not see it.
    pub fn new(layout: Layout, title: &str, facts: &str, description: &str) -> Drawing {
        let Layout { width, height, left, .. } = layout;
        let (title, facts, description) = (escape(title), escape(facts), escape(description));
        let svg = format!(
            "<svg xmlns=\"http://www.w3.org/2000/svg\" viewBox=\"0 0 {width} {height}\" width=\"{width}\" height=\"{height}\" \
             role=\"img\" aria-labelledby=\"name facts\" font-family=\"system-ui, sans-serif\" font-size=\"13\">\n\
             <title id=\"name\">{title}</title>\n<desc id=\"facts\">{description}</desc>\n\
             <rect width=\"{width}\" height=\"{height}\" fill=\"#fff\"/>\n\
             <text x=\"{left}\" y=\"26\" font-size=\"18\" font-weight=\"600\">{title}</text>\n\
             <text x=\"{left}\" y=\"48\" fill=\"#444\">{facts}</text>\n"
        );
        Drawing { layout, svg }
    }

    /// The finished document.
    pub fn finish(mut self) -> String {
        self.svg.push_str("</svg>\n");
        self.svg
    }

    /// Where an instant lies.
    pub fn x(&self, seconds: f64) -> f64 {
        let Layout { left, right, seconds: all, .. } = self.layout;
        let share = if all > 0.0 { seconds / all } else { 0.0 };
        left + share.clamp(0.0, 1.0) * (right - left)
    }

    /// The background of a panel, and above it what it shows.
    pub fn panel(&mut self, panel: Panel, title: &str) {
        let Layout { left, right, .. } = self.layout;
        self.add(&format!(
            "<text x=\"{left}\" y=\"{}\" fill=\"#444\">{}</text>\n\
             <rect x=\"{left}\" y=\"{}\" width=\"{}\" height=\"{}\" fill=\"#f4f4f6\"/>\n",
            panel.top - 6.0,
            escape(title),
            panel.top,
            right - left,
            panel.height
        ));
    }

    /// A label beside a panel.
    pub fn label(&mut self, y: f64, text: &str) {
        let left = self.layout.left;
        let (start, end, baseline) = (left - 5.0, left - 8.0, y + 4.0);
        self.add(&format!(
            "<path stroke=\"#888\" d=\"M{start} {y:.1}h5\"/>\
             <text x=\"{end}\" y=\"{baseline:.1}\" text-anchor=\"end\">{}</text>\n",
            escape(text)
        ));
    }

    /// The labels of a scale beside a panel.
    pub fn scale(&mut self, panel: Panel, scale: &Scale) {
        for (value, text) in scale.labels() {
            self.label(panel.at(scale.share(value)), &text);
        }
    }

    /// Words with a colour each, above a panel at its right end.
    pub fn legend(&mut self, panel: Panel, entries: &[(&str, String)]) {
        if entries.is_empty() {
            return;
        }
        let words: Vec<String> =
            entries.iter().map(|(colour, text)| format!("<tspan fill=\"{colour}\">{}</tspan>", escape(text))).collect();
        let (x, y) = (self.layout.right, panel.top - 6.0);
        self.add(&format!("<text x=\"{x}\" y=\"{y}\" text-anchor=\"end\">{}</text>\n", words.join("  ")));
    }

    /// Text at a place.
    pub fn text(&mut self, x: f64, y: f64, text: &str) {
        self.add(&format!("<text x=\"{x:.1}\" y=\"{y:.1}\">{}</text>\n", escape(text)));
    }

    /// A line through points (seconds, share of the height) that breaks where there is no value.
    pub fn curve(&mut self, panel: Panel, points: impl Iterator<Item = (f64, Option<f64>)>, colour: &str, name: &str) {
        let mut path = String::new();
        let mut pen_is_down = false;
        for (seconds, share) in points {
            if let Some(share) = share {
                let (x, y) = (self.x(seconds), panel.at(share));
                path.push_str(&format!("{}{x:.1} {y:.1}", if pen_is_down { "L" } else { "M" }));
                if !pen_is_down {
                    // A lone value is a dot: the line cap makes it visible.
                    path.push_str(&format!("L{x:.1} {y:.1}"));
                }
            }
            pen_is_down = share.is_some();
        }
        if !path.is_empty() {
            self.add(&format!(
                "<path fill=\"none\" stroke=\"{colour}\" stroke-width=\"1.6\" stroke-linejoin=\"round\" \
                 stroke-linecap=\"round\" d=\"{path}\"><title>{}</title></path>\n",
                escape(name)
            ));
        }
    }

    /// The area between the lower and the upper of each pair of shares.
    pub fn band(&mut self, panel: Panel, bounds: &[(f64, (f64, f64))], colour: &str) {
        if bounds.is_empty() {
            return;
        }
        let upper = bounds.iter().map(|(seconds, (_, high))| (*seconds, *high));
        let lower = bounds.iter().rev().map(|(seconds, (low, _))| (*seconds, *low));
        let mut path = String::new();
        for (count, (seconds, share)) in upper.chain(lower).enumerate() {
            let (x, y) = (self.x(seconds), panel.at(share));
            path.push_str(&format!("{}{x:.1} {y:.1}", if count == 0 { "M" } else { "L" }));
        }
        self.add(&format!("<path fill=\"{colour}\" stroke=\"{colour}\" stroke-width=\"0.5\" d=\"{path}Z\"/>\n"));
    }

    /// Upright marks at instants, between two shares of the height. None if there are so many that they would be an area.
    pub fn marks(&mut self, panel: Panel, times: &[f64], (from, to): (f64, f64), colour: &str, name: &str) {
        if times.is_empty() || !self.can_tell_apart(times.len()) {
            return;
        }
        let mut path = String::new();
        for time in times {
            path.push_str(&format!("M{:.1} {:.1}V{:.1}", self.x(*time), panel.at(from), panel.at(to)));
        }
        self.add(&format!(
            "<path stroke=\"{colour}\" stroke-width=\"1\" stroke-opacity=\"0.8\" d=\"{path}\"><title>{}</title></path>\n",
            escape(name)
        ));
    }

    /// Whether so many marks are drawn.
    pub fn can_tell_apart(&self, count: usize) -> bool {
        count as f64 * MARK_DISTANCE <= self.layout.right - self.layout.left
    }

    /// Shades an interval of a panel.
    pub fn interval(&mut self, panel: Panel, (from, to): (f64, f64), colour: &str) {
        let (left, right) = (self.x(from), self.x(to));
        self.add(&format!(
            "<rect x=\"{left:.1}\" y=\"{}\" width=\"{:.1}\" height=\"{}\" fill=\"{colour}\" fill-opacity=\"0.25\"/>\n",
            panel.top,
            right - left,
            panel.height
        ));
    }

    /// A map of colours, from the start to an instant.
    ///
    /// # Errors
    /// When its image cannot be packed.
    pub fn map(&mut self, panel: Panel, map: &Map, end: f64) -> Result<(), EncodingError> {
        if map.is_empty() {
            return Ok(());
        }
        let left = self.layout.left;
        let width = self.x(end) - left;
        // Where a value is larger than a pixel, its borders are seen; where it is smaller, pixels are means.
        let rendering = if map.columns() as f64 <= width { " style=\"image-rendering:pixelated\"" } else { "" };
        self.add(&format!(
            "<image x=\"{left}\" y=\"{}\" width=\"{width:.1}\" height=\"{}\" preserveAspectRatio=\"none\"{rendering} \
             href=\"{}\"/>\n",
            panel.top,
            panel.height,
            map.address()?
        ));
        Ok(())
    }

    /// Lines of time from `top` to `bottom`, and their labels below.
    pub fn time_axis(&mut self, top: f64, bottom: f64) {
        let Layout { left, right, seconds: all, .. } = self.layout;
        let most = ((right - left) / LABEL_WIDTH).max(1.0);
        let step = STEPS.into_iter().find(|step| all / step <= most).unwrap_or(STEPS[STEPS.len() - 1]);
        let mut mark = 0;
        while f64::from(mark) * step <= all {
            let seconds = f64::from(mark) * step;
            let x = self.x(seconds);
            self.add(&format!(
                "<path stroke=\"#000\" stroke-opacity=\"0.12\" d=\"M{x:.1} {top}V{}\"/>\
                 <text x=\"{x:.1}\" y=\"{}\" text-anchor=\"middle\">{}</text>\n",
                bottom + 6.0,
                bottom + 22.0,
                clock(seconds, step)
            ));
            mark += 1;
        }
        let middle = (left + right) / 2.0;
        let y = bottom + 42.0;
        self.add(&format!("<text x=\"{middle}\" y=\"{y}\" text-anchor=\"middle\" fill=\"#444\">time</text>\n"));
    }

    fn add(&mut self, element: &str) {
        self.svg.push_str(element);
    }
}

/// `1:02:03`, `2:03`, or seconds with as many decimals as the step needs (`2.5 s`).
pub fn clock(seconds: f64, step: f64) -> String {
    let digits = if step < 0.1 { 2 } else { usize::from(step < 1.0) };
    if seconds < 60.0 {
        return format!("{seconds:.digits$} s");
    }
    let whole = seconds.round() as u64;
    let (hours, minutes, rest) = (whole / 3_600, whole / 60 % 60, whole % 60);
    if hours > 0 { format!("{hours}:{minutes:02}:{rest:02}") } else { format!("{minutes}:{rest:02}") }
}

/// Text for SVG. Control characters are not allowed in XML 1.0, section 2.2.
fn escape(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for character in text.chars() {
        match character {
            '&' => out.push_str("&amp;"),
            '<' => out.push_str("&lt;"),
            '>' => out.push_str("&gt;"),
            '"' => out.push_str("&quot;"),
            other if other.is_control() || matches!(other, '\u{fffe}' | '\u{ffff}') => out.push('\u{fffd}'),
            other => out.push(other),
        }
    }
    out
}
