//! Where an algorithm puts what it finds.

use super::clock::Clock;
use super::{Analysis, Annotation, Block, Summary, SummaryValue};
use crate::cells::{self, FRAMES, FrameEncoder, Layer, PREVIEW_BANDS, Partial, PreviewRows, Values};
use crate::descriptor::{Aggregate, Descriptor, Hop};
use crate::registry::Request;

/// Gathers the results of one algorithm: drops what belongs to the lead-in, sums frames by second, and packs
/// minutes into blocks.
pub struct Sink {
    descriptor: &'static Descriptor,
    clock: Clock,
    /// The number after the last sample, once it is known.
    end: Option<i64>,
    layers: Vec<Open>,
    moments: Vec<Moments>,
    hop: Option<Hop>,
    keeps_frames: bool,
    frames: Option<FrameEncoder>,
    preview: Option<(i64, PreviewRows)>,
    blocks: Vec<Block>,
    annotations: Vec<Annotation>,
    summaries: Vec<Summary>,
}

/// A layer with the partials of its current minute.
struct Open {
    layer: &'static Layer,
    partials: Vec<Partial>,
}

/// Sums of the frames of the current second, of one layer whose outputs are stored as moments.
struct Moments {
    layer: &'static Layer,
    second: i64,
    count: u64,
    /// For each dimension: where it is in a frame.
    columns: Vec<usize>,
    /// Whether minimum and maximum are stored too, for each dimension.
    extremes: Vec<bool>,
    sums: Vec<Sums>,
}

/// Welford's sums of one dimension.
#[derive(Clone, Copy)]
struct Sums {
    mean: f64,
    m2: f64,
    minimum: f32,
    maximum: f32,
}

const NO_FRAMES: Sums = Sums { mean: 0.0, m2: 0.0, minimum: f32::NAN, maximum: f32::NAN };

impl Sink {
    pub(super) fn new(request: &Request<'_>, clock: Clock) -> Sink {
        let descriptor = request.descriptor();
        let layers: Vec<Open> = crate::layers()
            .iter()
            .filter(|layer| layer.id.algorithm == descriptor.name && request.wants_layer(layer.id.layer))
            .map(|layer| Open { layer, partials: Vec::new() })
            .collect();
        let moments = layers.iter().filter_map(|open| Moments::new(descriptor, open.layer)).collect();
        Sink {
            descriptor,
            clock,
            end: None,
            layers,
            moments,
            hop: descriptor.hop(),
            keeps_frames: request.keeps_frames(),
            frames: None,
            preview: None,
            blocks: Vec::new(),
            annotations: Vec::new(),
            summaries: Vec::new(),
        }
    }

    /// What of a second is body, as µs inside it: the interval that a partial of it will have. `None` if nothing
    /// is. Whole seconds may be asked for when their last sample was pushed, the last one in `finish`.
    pub fn interval(&self, second: i64) -> Option<(u32, u32)> {
        self.clock.interval(second, self.end)
    }

    /// What was found in the body samples of one second. Layers that were not asked for are ignored, and so is a
    /// second that has no body samples. Seconds must rise.
    pub fn partial(&mut self, layer: &str, second: i64, values: Values) {
        let Some((from, to)) = self.interval(second) else {
            return;
        };
        let Some(open) = self.layers.iter_mut().find(|open| open.layer.id.layer == layer) else {
            return;
        };
        let minute = second.div_euclid(60);
        if open.partials.first().is_some_and(|first| first.second.div_euclid(60) != minute) {
            self.blocks.extend(open.close());
        }
        open.partials.push(Partial { second, from, to, values });
    }

    /// Whether frames go anywhere: they are kept, or summed by second.
    pub fn wants_frames(&self) -> bool {
        self.keeps_frames || !self.moments.is_empty()
    }

    /// One frame: all outputs that have frames side by side ([`cells::frame_columns`]), NaN where one was not
    /// computed or has no value. A frame with such a value does not count in the layer of that output, so an output
    /// that may have none (a pitch) has a layer of its own, and its mean is over the frames that have one. `index` counts hops; the frame's time is `index` hops after the epoch (of songs: its centre, from
    /// the start). `last_input` is the number of the last source sample that went into it: frames of the
    /// lead-in are dropped.
    pub fn frame(&mut self, index: i64, last_input: i64, values: &[f32]) {
        if last_input < self.clock.first_body_sample() {
            return;
        }
        let Some(hop) = self.hop else {
            return;
        };
        let start = cells::frame_start(hop, index);
        let second = if self.clock.is_song() {
            let last = self.end.map_or(i64::MAX, |end| self.clock.second(end - 1));
            start.div_euclid(i64::from(cells::SECOND)).min(last)
        } else {
            self.clock.second(last_input)
        };
        for place in 0..self.moments.len() {
            if self.moments[place].second != second {
                self.close_second(place);
                self.moments[place].second = second;
            }
            self.moments[place].add(values);
        }
        if self.keeps_frames {
            self.keep_frame(hop, index, start.div_euclid(60 * i64::from(cells::SECOND)), values);
        }
    }

    /// One row of the preview, for the tenth of a second (counted since the epoch, or the start of a song) that
    /// `last_input` lies in.
    pub fn preview(&mut self, tenth: i64, last_input: i64, bands: &[u8; PREVIEW_BANDS]) {
        if last_input < self.clock.first_body_sample() {
            return;
        }
        let second = tenth.div_euclid(10);
        if self.preview.as_ref().is_none_or(|(open, _)| *open != second) {
            self.close_preview();
            self.preview = Some((second, [None; 10]));
        }
        if let Some((_, rows)) = &mut self.preview {
            rows[tenth.rem_euclid(10) as usize] = Some(*bands);
        }
    }

    /// An interval of samples `from..to`, clipped to the body; one that lies in the lead-in is dropped. `kind` is
    /// the name of an output. Intervals that touch a border of a sensor's recording are marked open.
    pub fn annotation(
        &mut self,
        kind: &'static str,
        label: &str,
        samples: std::ops::Range<i64>,
        value: Option<f32>,
        confidence: Option<f32>,
    ) {
        let first = self.clock.first_body_sample();
        let (from, to) = (self.clock.micros(samples.start.max(first)), self.clock.micros(samples.end));
        if from >= to {
            return;
        }
        self.annotations.push(Annotation {
            algorithm: self.descriptor.name,
            version: self.descriptor.version,
            kind,
            label: label.to_owned(),
            from,
            to,
            value: value.filter(|value| value.is_finite()),
            confidence: confidence.filter(|confidence| confidence.is_finite()),
            open_start: !self.clock.is_song() && samples.start <= first,
            open_end: false,
        });
    }

    /// A value of the whole song; ignored for sensors.
    pub fn summary(&mut self, output: &'static str, value: SummaryValue) {
        if self.clock.is_song() {
            let (algorithm, version) = (self.descriptor.name, self.descriptor.version);
            self.summaries.push(Summary { algorithm, version, output, value });
        }
    }

    pub(super) fn algorithm(&self) -> &'static str {
        self.descriptor.name
    }

    pub(super) fn set_end(&mut self, end: i64) {
        self.end = Some(end);
    }

    pub(super) fn take_blocks(&mut self, into: &mut Vec<Block>) {
        into.append(&mut self.blocks);
    }

    pub(super) fn finish(mut self, analysis: &mut Analysis) {
        for place in 0..self.moments.len() {
            self.close_second(place);
        }
        self.close_preview();
        self.close_frames();
        self.blocks.extend(self.layers.iter_mut().filter_map(Open::close));
        if let Some(end) = self.end.map(|end| self.clock.micros(end)) {
            for annotation in &mut self.annotations {
                annotation.to = annotation.to.min(end);
                annotation.open_end = !self.clock.is_song() && annotation.to == end;
            }
        }
        self.annotations.retain(|annotation| annotation.from < annotation.to);
        analysis.blocks.append(&mut self.blocks);
        analysis.annotations.append(&mut self.annotations);
        analysis.summaries.append(&mut self.summaries);
    }

    fn close_second(&mut self, place: usize) {
        let moments = &mut self.moments[place];
        if moments.count > 0 {
            let (layer, second, values) = (moments.layer.id.layer, moments.second, moments.take());
            self.partial(layer, second, values);
        }
    }

    fn close_preview(&mut self) {
        if let Some((second, rows)) = self.preview.take() {
            let layer = self.layers.iter().find(|open| !open.layer.rolls_up());
            if let Some(layer) = layer.map(|open| open.layer.id.layer) {
                self.partial(layer, second, Values::Preview(Box::new(rows)));
            }
        }
    }

    fn keep_frame(&mut self, hop: Hop, index: i64, minute: i64, values: &[f32]) {
        if self.frames.as_ref().is_some_and(|frames| frames.minute() != minute) {
            self.close_frames();
        }
        let descriptor = self.descriptor;
        self.frames.get_or_insert_with(|| FrameEncoder::new(descriptor, hop, minute)).push(index, values);
    }

    fn close_frames(&mut self) {
        if let Some(frames) = self.frames.take() {
            let (algorithm, version) = (self.descriptor.name, self.descriptor.version);
            let minute = frames.minute();
            self.blocks.push(Block { algorithm, version, layer: FRAMES, minute, data: frames.finish() });
        }
    }
}

impl Open {
    /// Packs the minute that is open.
    fn close(&mut self) -> Option<Block> {
        let minute = self.partials.first()?.second.div_euclid(60);
        let data = cells::encode_block(self.layer, &self.partials);
        self.partials.clear();
        let (algorithm, layer) = (self.layer.id.algorithm, self.layer.id.layer);
        Some(Block { algorithm, version: self.layer.version, layer, minute, data })
    }
}

impl Moments {
    /// Sums for the outputs of a layer that are stored as moments of frames; `None` if there are none.
    fn new(descriptor: &'static Descriptor, layer: &'static Layer) -> Option<Moments> {
        let (mut columns, mut extremes) = (Vec::new(), Vec::new());
        for (output, series) in descriptor.series().filter(|(_, series)| series.layer == layer.id.layer) {
            if series.aggregate == Aggregate::Moments {
                columns.extend(cells::frame_columns(descriptor, output.name));
                extremes.resize(columns.len(), series.dimensions == 1);
            }
        }
        let sums = vec![NO_FRAMES; columns.len()];
        (!columns.is_empty()).then_some(Moments { layer, second: i64::MIN, count: 0, columns, extremes, sums })
    }

    fn add(&mut self, values: &[f32]) {
        if !self.columns.iter().all(|&column| values[column].is_finite()) {
            return;
        }
        self.count += 1;
        let share = 1.0 / self.count as f64;
        for (sums, &column) in self.sums.iter_mut().zip(&self.columns) {
            let value = values[column];
            let delta = f64::from(value) - sums.mean;
            sums.mean += delta * share;
            sums.m2 += delta * (f64::from(value) - sums.mean);
            sums.minimum = sums.minimum.min(value);
            sums.maximum = sums.maximum.max(value);
        }
    }

    fn take(&mut self) -> Values {
        let mut values = Vec::with_capacity(self.layer.width());
        for (sums, &extremes) in self.sums.iter().zip(&self.extremes) {
            values.extend([sums.mean as f32, (sums.m2 / self.count as f64) as f32]);
            if extremes {
                values.extend([sums.minimum, sums.maximum]);
            }
        }
        let count = std::mem::take(&mut self.count);
        self.sums.fill(NO_FRAMES);
        Values::Fields { count, values }
    }
}
