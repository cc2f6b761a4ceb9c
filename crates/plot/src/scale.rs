//! Axes of values: round numbers around what is drawn.

/// A range of values with labels at even steps.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Scale {
    bottom: f64,
    top: f64,
    step: f64,
}

impl Scale {
    /// From `bottom` to `top`, which must be more, with a label at every `step` down from the top.
    pub fn new(bottom: f64, top: f64, step: f64) -> Scale {
        Scale { bottom, top, step }
    }

    /// Steps of 1, 2 or 5 times a power of ten, at most five of them, around all values; around 0 if there is none.
    pub fn around(values: impl Iterator<Item = f64>) -> Scale {
        let every = values.filter(|value| value.is_finite());
        let (low, high) = every.fold((f64::INFINITY, f64::NEG_INFINITY), |(l, h), value| (l.min(value), h.max(value)));
        let (low, high) = if low > high { (0.0, 0.0) } else { (low, high) };
        let range = if high - low > 1e-9 * high.abs().max(low.abs()) { high - low } else { high.abs().max(1.0) };
        let power = 10_f64.powi((range / 4.0).log10().floor() as i32);
        let step = [1.0, 2.0, 5.0].map(|factor| factor * power).into_iter().find(|step| range / step <= 4.0);
        let step = step.unwrap_or(10.0 * power);
        // A value on a label stays on it, whatever its last digits are.
        let bottom = (low / step + 1e-6).floor() * step;
        let top = (high / step - 1e-6).ceil() * step;
        Scale { bottom, top: if top > bottom { top } else { bottom + step }, step }
    }

    /// The place of a value: 0 at the bottom, 1 at the top, beyond these outside.
    pub fn share(&self, value: f64) -> f64 {
        (value - self.bottom) / (self.top - self.bottom)
    }

    /// The labels from the top down, with their values.
    pub fn labels(&self) -> impl Iterator<Item = (f64, String)> {
        let Scale { bottom, top, step } = *self;
        let digits = (-step.log10() - 1e-9).ceil().max(0.0) as usize;
        let count = ((top - bottom) / step + 1e-6) as u32;
        (0..=count).map(move |index| {
            // Without a minus before 0.
            let value = top - f64::from(index) * step + 0.0;
            let value = if value.abs() < 1e-6 * step { 0.0 } else { value };
            (value, format!("{value:.digits$}"))
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn texts(scale: &Scale) -> Vec<String> {
        scale.labels().map(|(_, text)| text).collect()
    }

    #[test]
    fn labels_are_round_and_hold_all_values() {
        let scale = |values: &[f64]| Scale::around(values.iter().copied());
        assert_eq!(texts(&scale(&[0.02, 0.97])), ["1.0", "0.5", "0.0"]);
        assert_eq!(texts(&scale(&[-61.0, f64::NAN, -12.0])), ["0", "-20", "-40", "-60", "-80"]);
        assert_eq!(texts(&scale(&[0.0, 8_000.0])), ["8000", "6000", "4000", "2000", "0"]);
        // On a label to seven digits is on it.
        assert_eq!(scale(&[-60.000_001, 0.000_001]), scale(&[-60.0, 0.0]));
        for (low, high) in [(0.001, 0.0017), (-3.0, 70.0), (1e6, 1e6 + 1.0), (-0.01, 0.0)] {
            let found = scale(&[low, high]);
            assert!(found.share(low) > -1e-5 && found.share(high) < 1.0 + 1e-5, "{found:?}");
            assert!((2..=6).contains(&texts(&found).len()), "{found:?}");
        }
    }

    #[test]
    fn nothing_and_one_value_have_a_scale_too() {
        for values in [vec![], vec![f64::NAN], vec![0.0], vec![-3.0, -3.0], vec![1e-12]] {
            let scale = Scale::around(values.into_iter());
            assert!(scale.top > scale.bottom && scale.labels().count() >= 2, "{scale:?}");
        }
    }
}
