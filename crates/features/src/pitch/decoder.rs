//! The second half of probabilistic YIN: the most likely path through the candidates of all frames, by the Viterbi
//! algorithm, given out as soon as no later frame can change it.

use std::ops::{Range, RangeInclusive};

use super::candidates::BINS;

/// Bins once voiced, once unvoiced.
const STATES: usize = 2 * BINS;
/// How far a pitch may move from frame to frame, in bins to either side: five semitones.
const REACH: usize = 50;
/// The probability of going from voiced to unvoiced or back.
const SWITCH: f64 = 0.01;
/// The logarithm of what a probability of zero counts as: that of the smallest normal number.
const LOG_ZERO: f64 = -708.396_418_532_264_1;
/// Frames between attempts to give out.
const ATTEMPT: usize = 64;
/// Frames that are kept at most (47 s, 5 MB): if all of them are still open, the likeliest path so far decides for the first
/// half.
pub(super) const KEPT: usize = 2_048;

/// Which bin the pitch of a frame is in; `None` if it is unvoiced.
pub(super) type Decision = Option<u16>;

/// Decodes one stream.
pub(super) struct Decoder {
    /// ln of (REACH + 1 - |d|) / (REACH + 1), by |d|.
    kernel: [f64; REACH + 1],
    /// ln of the sum of the kernel's part that lies inside the range, by the bin that is left.
    norms: Vec<f64>,
    /// ln of the probability of the best path into each state, less that of the best of all.
    values: Vec<f64>,
    next: Vec<f64>,
    sources: Sources,
    /// Predecessors: `STATES` for each frame that is open.
    pointers: Vec<u16>,
    open: usize,
    survivors: Vec<u16>,
    earlier: Vec<u16>,
    /// Attempts are numbered, so that marks of earlier ones do not count.
    marks: Vec<u32>,
    mark: u32,
    decisions: Vec<Option<Decision>>,
    started: bool,
}

/// What states are entered from, for one destination, voiced or unvoiced.
struct Sources {
    /// The better of the two states of each bin.
    values: Vec<f64>,
    states: Vec<u16>,
    /// The bin that each bin is best entered from.
    best: Vec<usize>,
}

impl Decoder {
    /// A decoder to which no frame has come.
    pub(super) fn new() -> Decoder {
        let weight = |distance: usize| (REACH + 1 - distance) as f64 / (REACH + 1) as f64;
        let norm = |bin: usize| {
            let inside = bin.saturating_sub(REACH)..=(bin + REACH).min(BINS - 1);
            inside.map(|other| weight(other.abs_diff(bin))).sum::<f64>().ln()
        };
        Decoder {
            kernel: std::array::from_fn(|distance| weight(distance).ln()),
            norms: (0..BINS).map(norm).collect(),
            values: vec![0.0; STATES],
            next: vec![0.0; STATES],
            sources: Sources { values: vec![0.0; BINS], states: vec![0; BINS], best: vec![0; BINS] },
            pointers: Vec::with_capacity(KEPT * STATES),
            open: 0,
            survivors: Vec::with_capacity(STATES),
            earlier: Vec::with_capacity(STATES),
            marks: vec![0; STATES],
            mark: 0,
            decisions: Vec::with_capacity(KEPT),
            started: false,
        }
    }

    /// The next frame: its candidates, and the probability that it is voiced. Calls `each` for every frame that is decided
    /// by it, in order.
    pub(super) fn push(&mut self, candidates: &[(usize, f64)], voiced: f64, each: impl FnMut(Decision)) {
        self.step();
        let unvoiced = logarithm((1.0 - voiced) / BINS as f64);
        let (with_pitch, without) = self.next.split_at_mut(BINS);
        for &(bin, probability) in candidates {
            with_pitch[bin] += logarithm(probability) - LOG_ZERO;
        }
        with_pitch.iter_mut().for_each(|value| *value += LOG_ZERO);
        without.iter_mut().for_each(|value| *value += unvoiced);
        let largest = self.next.iter().copied().fold(f64::NEG_INFINITY, f64::max);
        self.values.iter_mut().zip(&self.next).for_each(|(value, next)| *value = next - largest);
        self.open += 1;
        if self.open == KEPT {
            let best = self.best();
            self.trace(best..best + 1);
            self.give_out(KEPT / 2, each);
        } else if self.open.is_multiple_of(ATTEMPT) {
            self.trace(0..STATES as u16);
            self.give_out(self.open, each);
        }
    }

    /// There are no more frames: calls `each` for all that are open.
    pub(super) fn finish(&mut self, each: impl FnMut(Decision)) {
        if self.open > 0 {
            let best = self.best();
            self.trace(best..best + 1);
            self.give_out(self.open, each);
        }
    }

    /// The best path into every state, before what is observed in it; and where it came from.
    fn step(&mut self) {
        let base = self.pointers.len();
        self.pointers.resize(base + STATES, 0);
        if !self.started {
            self.started = true;
            self.next.fill(0.0);
            return;
        }
        // Anything may follow anything, at the price of a probability of zero.
        let anywhere = self.best();
        let jump = self.values[usize::from(anywhere)] + LOG_ZERO;
        let (stay, switch) = ((1.0 - SWITCH).ln(), SWITCH.ln());
        for destination in 0..2 {
            let [with_pitch, without] = if destination == 0 { [stay, switch] } else { [switch, stay] };
            for bin in 0..BINS {
                let (a, b) = (self.values[bin] + with_pitch, self.values[BINS + bin] + without);
                let (value, state) = if a >= b { (a, bin) } else { (b, BINS + bin) };
                self.sources.values[bin] = value - self.norms[bin];
                self.sources.states[bin] = state as u16;
            }
            self.sources.search(&self.kernel);
            let first = destination * BINS;
            for bin in 0..BINS {
                let source = self.sources.best[bin];
                let value = self.sources.values[source] + self.kernel[bin.abs_diff(source)];
                let (value, state) =
                    if value >= jump { (value, self.sources.states[source]) } else { (jump, anywhere) };
                self.next[first + bin] = value;
                self.pointers[base + first + bin] = state;
            }
        }
    }

    /// The state that the best path ends in.
    fn best(&self) -> u16 {
        let better = |best: usize, state: usize| if self.values[state] > self.values[best] { state } else { best };
        (1..STATES).fold(0, better) as u16
    }

    /// Follows paths from states of the last frame back to the first that is open, and writes down what they agree about.
    fn trace(&mut self, last: Range<u16>) {
        self.survivors.clear();
        self.survivors.extend(last);
        self.decisions.clear();
        self.decisions.resize(self.open, None);
        for frame in (0..self.open).rev() {
            self.decisions[frame] = agreed(&self.survivors);
            self.mark = self.mark.wrapping_add(1);
            self.earlier.clear();
            let row = &self.pointers[frame * STATES..(frame + 1) * STATES];
            for &state in &self.survivors {
                let from = row[usize::from(state)];
                if self.marks[usize::from(from)] != self.mark {
                    self.marks[usize::from(from)] = self.mark;
                    self.earlier.push(from);
                }
            }
            std::mem::swap(&mut self.survivors, &mut self.earlier);
        }
    }

    /// Gives out the first frames, up to `limit`, as far as all paths agree.
    fn give_out(&mut self, limit: usize, mut each: impl FnMut(Decision)) {
        let decided = self.decisions.iter().take(limit).map_while(|decision| *decision);
        let count = decided.map(&mut each).count();
        self.pointers.drain(..count * STATES);
        self.open -= count;
    }
}

impl Sources {
    /// For every bin the one that it is best entered from. The kernel is concave, so that this rises with the bin: every
    /// second answer bounds the search for those between.
    fn search(&mut self, kernel: &[f64; REACH + 1]) {
        self.best[0] = self.among(0, 0..=BINS - 1, kernel);
        let mut stride = BINS.next_power_of_two() / 2;
        while stride > 0 {
            for bin in (stride..BINS).step_by(2 * stride) {
                let low = self.best[bin - stride];
                let high = self.best.get(bin + stride).copied().unwrap_or(BINS - 1);
                self.best[bin] = self.among(bin, low..=high, kernel);
            }
            stride /= 2;
        }
    }

    /// The best of some bins, as far as they are in reach.
    fn among(&self, bin: usize, sources: RangeInclusive<usize>, kernel: &[f64; REACH + 1]) -> usize {
        let first = bin.saturating_sub(REACH).max(*sources.start());
        let last = (bin + REACH).min(*sources.end());
        let mut best = (f64::NEG_INFINITY, first);
        for source in first..=last {
            let value = self.values[source] + kernel[bin.abs_diff(source)];
            if value > best.0 {
                best = (value, source);
            }
        }
        best.1
    }
}

/// What all states say: `None` if they differ.
fn agreed(states: &[u16]) -> Option<Decision> {
    let decision = |state: u16| (usize::from(state) < BINS).then_some(state);
    let first = decision(*states.first()?);
    states.iter().all(|&state| decision(state) == first).then_some(first)
}

fn logarithm(probability: f64) -> f64 {
    (probability + f64::MIN_POSITIVE).ln()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::noise;

    type Observed = (Vec<(usize, f64)>, f64);

    fn decode(frames: &[Observed]) -> Vec<Decision> {
        let mut decoder = Decoder::new();
        let mut found = Vec::new();
        for (candidates, voiced) in frames {
            decoder.push(candidates, *voiced, |decision| found.push(decision));
            assert!(decoder.open < KEPT && decoder.pointers.len() == decoder.open * STATES);
        }
        decoder.finish(|decision| found.push(decision));
        found
    }

    /// Every transition of every frame, and all pointers kept.
    fn decode_plainly(frames: &[Observed]) -> Vec<Decision> {
        let transition = |from: usize, to: usize| {
            let (a, b) = (from % BINS, to % BINS);
            let weight = |other: usize| (REACH + 1).saturating_sub(other.abs_diff(a)) as f64;
            let sum: f64 = (0..BINS).map(weight).sum();
            let switch = if (from < BINS) == (to < BINS) { 1.0 - SWITCH } else { SWITCH };
            logarithm(switch * weight(b) / sum)
        };
        let transitions: Vec<f64> = (0..STATES * STATES).map(|n| transition(n % STATES, n / STATES)).collect();
        let mut values = vec![0.0; STATES];
        let mut pointers: Vec<Vec<usize>> = Vec::new();
        for (number, (candidates, voiced)) in frames.iter().enumerate() {
            let mut observed = vec![logarithm(0.0); STATES];
            observed[BINS..].fill(logarithm((1.0 - voiced) / BINS as f64));
            candidates.iter().for_each(|(bin, probability)| observed[*bin] = logarithm(*probability));
            if number == 0 {
                values = observed;
                continue;
            }
            let best = |to: usize| {
                let value = |from: usize| values[from] + transitions[to * STATES + from];
                (1..STATES)
                    .fold((0, value(0)), |best, from| if value(from) > best.1 { (from, value(from)) } else { best })
            };
            let found: Vec<(usize, f64)> = (0..STATES).map(best).collect();
            values = found.iter().zip(observed).map(|((_, value), observed)| value + observed).collect();
            pointers.push(found.iter().map(|(from, _)| *from).collect());
        }
        let mut state = (0..STATES).fold(0, |best, state| if values[state] > values[best] { state } else { best });
        let mut path = vec![state];
        for row in pointers.iter().rev() {
            state = row[state];
            path.push(state);
        }
        path.iter().rev().map(|&state| (state < BINS).then_some(state as u16)).collect()
    }

    /// Notes that wander and leap, rivals, rests, and stretches that are surely voiced.
    fn frames(count: usize) -> Vec<Observed> {
        let random: Vec<f64> = noise(11, 8 * count).into_iter().map(|value| f64::from(value.abs()).fract()).collect();
        let mut pitch = 300.0;
        (0..count)
            .map(|frame| {
                let random = &random[8 * frame..8 * frame + 8];
                pitch += if frame % 40 == 39 { 4_000.0 * (random[0] - 0.1) } else { 60.0 * (random[0] - 0.1) };
                pitch = pitch.clamp(0.0, 599.0);
                let bin = pitch as usize;
                match frame / 50 % 4 {
                    0 => (vec![(bin, 0.7 + random[1]), ((bin + 120) % BINS, 0.1 * random[2] + 0.01)], 0.9),
                    1 => (vec![], 0.0),
                    2 => (vec![(bin, 1.0)], 1.0),
                    _ => (vec![(bin, random[3]), ((bin + 37) % BINS, random[4]), (bin / 2 + 1, random[5])], 0.5),
                }
            })
            .collect()
    }

    #[test]
    fn the_path_is_the_likeliest_of_all() {
        let frames = frames(420);
        let (found, expected) = (decode(&frames), decode_plainly(&frames));
        assert!(expected.iter().filter(|decision| decision.is_some()).count() > 100);
        assert!(expected.iter().filter(|decision| decision.is_none()).count() > 60);
        assert_eq!(found, expected);
    }

    #[test]
    fn rests_of_any_length_are_given_out() {
        let mut decoder = Decoder::new();
        let mut found = 0;
        for frame in 0..20_000 {
            let candidates: &[(usize, f64)] = if frame == 100 { &[(300, 0.9)] } else { &[] };
            decoder.push(candidates, if frame == 100 { 0.9 } else { 0.0 }, |_| found += 1);
            assert!(frame + 1 - found < 4 * ATTEMPT, "{frame}");
        }
    }

    #[test]
    fn two_equal_voices_are_decided_in_time() {
        let frames = vec![(vec![(100, 0.5), (500, 0.5)], 1.0); 3 * KEPT];
        let found = decode(&frames);
        assert_eq!(found.len(), frames.len());
        assert!(found.iter().all(|decision| *decision == found[0] && decision.is_some()));
    }
}
