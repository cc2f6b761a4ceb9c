use super::*;

const RATES: [u32; 8] = [8_000, 16_000, 22_050, 32_000, 44_100, 48_000, 96_000, 192_000];

/// (exponent of G, smallest, largest relative attenuation in dB): octave-band limits of class 1 in
/// IEC 61260-1:2014, table 1.
const MASK: [(f64, f64, f64); 9] = [
    (0.0, -0.4, 0.4),
    (0.125, -0.4, 0.5),
    (0.25, -0.4, 0.7),
    (0.375, -0.4, 1.4),
    (0.5 - 1e-9, -0.4, 5.3),
    (0.5 + 1e-9, 1.6, f64::INFINITY),
    (1.0, 16.6, f64::INFINITY),
    (2.0, 40.5, f64::INFINITY),
    (3.0, 60.0, f64::INFINITY),
];

/// From here on at least this.
const FAR: (f64, f64) = (4.0, 70.0);

/// The frequency, as a share of the centre, of a breakpoint of a third-octave filter (5.10 of the standard).
fn breakpoint(exponent: f64) -> f64 {
    let g = 10f64.powf(0.3);
    let octave = g.powf(exponent);
    1.0 + (g.powf(1.0 / 6.0) - 1.0) / (g.sqrt() - 1.0) * (octave - 1.0)
}

/// |H|² from a sine at the input to the band's output: through decimators, folding, and the band's sections.
fn response(band: usize, rate: u32, frequency: f64) -> f64 {
    let halved = halvings(band, rate).expect("the band exists at this rate");
    let (mut at, mut f, mut power) = (f64::from(rate), frequency, 1.0);
    for _ in 0..halved {
        power *= half_band_power(2.0 * PI * f / at);
        at /= 2.0;
        f = (f - at * (f / at).round()).abs();
    }
    design(band, at).iter().fold(power, |power, section| power * section.power(f.max(1e-9), at))
}

fn half_band_power(w: f64) -> f64 {
    // Allpass phases: the branches add as vectors.
    let phase = |branch: usize| -> f64 {
        ALLPASS
            .iter()
            .map(|stage| {
                let (a, w) = (stage[branch], 2.0 * w);
                // (a + e^-jw) / (1 + a e^-jw)
                (-w.sin()).atan2(a + w.cos()) - (-a * w.sin()).atan2(1.0 + a * w.cos())
            })
            .sum()
    };
    ((phase(0) - (phase(1) - w)) / 2.0).cos().powi(2)
}

fn attenuation(band: usize, rate: u32, frequency: f64) -> f64 {
    -10.0 * response(band, rate, frequency).max(1e-30).log10()
}

#[test]
fn bands_hold_the_masks_of_class_1() {
    for rate in RATES {
        for band in (0..BANDS).filter(|&band| halvings(band, rate).is_some()) {
            let centre = centre(band);
            for (exponent, least, most) in MASK {
                let upper = breakpoint(exponent);
                for frequency in [centre * upper, centre / upper] {
                    if frequency < f64::from(rate) / 2.0 {
                        let found = attenuation(band, rate, frequency);
                        assert!(
                            (least..=most).contains(&found),
                            "{} Hz at {rate}: {found:.2} dB at {frequency:.1} Hz, not {least} to {most}",
                            NOMINAL[band]
                        );
                    }
                }
            }
        }
    }
}

#[test]
fn far_from_the_band_nothing_comes_through() {
    let far = breakpoint(FAR.0);
    for rate in RATES {
        for band in (0..BANDS).filter(|&band| halvings(band, rate).is_some()) {
            let centre = centre(band);
            let nyquist = f64::from(rate) / 2.0;
            for step in 1..400 {
                let frequency = nyquist * f64::from(step) / 400.0;
                if frequency > centre * far || frequency < centre / far {
                    let found = attenuation(band, rate, frequency);
                    assert!(found >= FAR.1, "{} Hz at {rate}: {found:.2} dB at {frequency:.1} Hz", NOMINAL[band]);
                }
            }
        }
    }
}

#[test]
fn no_more_bands_share_a_rate_than_there_are_lanes() {
    for rate in (1_000..200_000).step_by(50).chain(RATES) {
        for octave in Bank::new(rate).octaves {
            assert!(octave.lanes.is_none_or(|lanes| lanes.bands.len() <= LANES), "at {rate}");
        }
    }
}

#[test]
fn the_running_filters_do_what_the_design_says() {
    for (rate, band, relative) in
        [(44_100, 27, 1.0), (44_100, 27, 0.8), (16_000, 24, 1.1), (48_000, 16, 1.2), (48_000, 5, 0.9), (8_000, 0, 1.05)]
    {
        let frequency = centre(band) * relative;
        let mut bank = Bank::new(rate);
        let step = 2.0 * PI * frequency / f64::from(rate);
        let tone: Vec<f32> = (0..6 * rate).map(|n| (step * f64::from(n)).sin() as f32).collect();
        let silence = vec![0.0; tone.len()];
        let (settle, body) = tone.split_at(2 * rate as usize);
        bank.run(0, &[settle, &silence[..settle.len()]], false);
        bank.run(settle.len() as i64, &[body, &silence[..body.len()]], true);
        let [left, right] = bank.take_mean_squares()[band];
        let expected = response(band, rate, frequency) * 0.5;
        let difference = 10.0 * (left / expected).log10();
        assert!(difference.abs() < 0.01, "{frequency:.1} Hz at {rate}: {difference:.4} dB");
        assert_eq!(right, 0.0);
    }
}

#[test]
fn bands_above_the_rate_do_not_exist() {
    let means = Bank::new(16_000).take_mean_squares();
    assert!(means[25][0].is_nan(), "8 kHz is above 0.4 of 16 kHz");
    assert_eq!(halvings(24, 16_000), Some(0));
    assert_eq!(halvings(29, 192_000), Some(1));
}
