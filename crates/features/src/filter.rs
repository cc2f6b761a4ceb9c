//! Second-order sections: how their coefficients are made.

use std::f64::consts::PI;

/// y\[n\] = b0 x\[n\] + b1 x\[n-1\] + b2 x\[n-2\] - a1 y\[n-1\] - a2 y\[n-2\].
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) struct Section {
    pub(crate) b: [f64; 3],
    pub(crate) a: [f64; 2],
}

impl Section {
    /// A high-pass of two real poles (in Hz) and two zeros at 0 Hz, gain 1 far above: bilinear transform of
    /// s² / ((s + w1) (s + w2)), which is exact at 0 Hz and at half the rate.
    pub(crate) fn high_pass(first: f64, second: f64, rate: f64) -> Section {
        let (p, q) = (PI * first / rate, PI * second / rate);
        let gain = 1.0 / ((1.0 + p) * (1.0 + q));
        let (p, q) = ((1.0 - p) / (1.0 + p), (1.0 - q) / (1.0 + q));
        Section { b: [gain, -2.0 * gain, gain], a: [-(p + q), p * q] }
    }

    /// A section with the poles `a` whose |H|² equals `target` (of a frequency in Hz) at three frequencies, of which the
    /// first is 0 Hz: M. Vicanek, "Matched Second Order Digital Filters" (2016), but with free frequencies.
    pub(crate) fn matched(a: [f64; 2], target: impl Fn(f64) -> f64, others: [f64; 2], rate: f64) -> Section {
        let poles = power_terms([1.0, a[0], a[1]]);
        // |H|² x |poles|² = b0 φ0 + b1 φ1 + b2 φ2: b0 follows at 0 Hz, then two equations are left.
        let b0 = poles[0] * target(0.0);
        let [(p1, p2, p), (q1, q2, q)] = others.map(|frequency| {
            let phi = phi(2.0 * PI * frequency / rate);
            let wanted = target(frequency) * (poles[0] * phi[0] + poles[1] * phi[1] + poles[2] * phi[2]);
            (phi[1], phi[2], wanted - b0 * phi[0])
        });
        let determinant = p1 * q2 - p2 * q1;
        let b1 = ((p * q2 - p2 * q) / determinant).max(0.0);
        let b2 = (p1 * q - p * q1) / determinant;
        let half = (b0.sqrt() + b1.sqrt()) / 2.0;
        let first = (half + (half * half + b2).max(0.0).sqrt()) / 2.0;
        Section { b: [first, (b0.sqrt() - b1.sqrt()) / 2.0, -b2 / (4.0 * first)], a }
    }

    /// The denominator of a pair of poles exp(s / rate), s the roots of s² + (w / q) s + w², w in radians per
    /// second.
    pub(crate) fn matched_poles(w: f64, q: f64, rate: f64) -> [f64; 2] {
        let (w, damping) = (w / rate, 1.0 / (2.0 * q));
        let radius = (-damping * w).exp();
        let angle = w * (1.0 - damping * damping).abs().sqrt();
        let cosine = if damping <= 1.0 { angle.cos() } else { angle.cosh() };
        [-2.0 * radius * cosine, radius * radius]
    }

    /// |H|² at a frequency in Hz.
    pub(crate) fn power(&self, frequency: f64, rate: f64) -> f64 {
        let phi = phi(2.0 * PI * frequency / rate);
        let of = |terms: [f64; 3]| terms[0] * phi[0] + terms[1] * phi[1] + terms[2] * phi[2];
        of(power_terms(self.b)) / of(power_terms([1.0, self.a[0], self.a[1]]))
    }

    /// The same section with another gain.
    pub(crate) fn scaled(mut self, gain: f64) -> Section {
        self.b = self.b.map(|coefficient| coefficient * gain);
        self
    }
}

/// |c0 + c1 z⁻¹ + c2 z⁻²|² is the scalar product of these terms with [`phi`].
fn power_terms(c: [f64; 3]) -> [f64; 3] {
    [(c[0] + c[1] + c[2]).powi(2), (c[0] - c[1] + c[2]).powi(2), -4.0 * c[0] * c[2]]
}

fn phi(w: f64) -> [f64; 3] {
    let sine = (w / 2.0).sin().powi(2);
    [1.0 - sine, sine, 4.0 * sine * (1.0 - sine)]
}
