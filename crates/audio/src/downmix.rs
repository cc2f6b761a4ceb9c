//! Many channels to one.

/// Appends the mono mix-down of `channels` to `mono`: the *mean* of all channels, each with the same weight.
///
/// The mean keeps a signal that is equal in all channels as it is and never exceeds full scale. It halves what
/// is in one of two channels only (-6 dB in amplitude), and what is in antiphase vanishes. Channels are added in
/// their order in f32, so the result is the same bits wherever a block begins.
///
/// All slices must have one length; the shortest decides.
pub fn mono(channels: &[&[f32]], mono: &mut Vec<f32>) {
    match channels {
        [] => {}
        [only] => mono.extend_from_slice(only),
        [left, right] => mono.extend(left.iter().zip(*right).map(|(left, right)| (left + right) * 0.5)),
        [first, others @ ..] => {
            let frames = channels.iter().map(|channel| channel.len()).min().unwrap_or(0);
            let start = mono.len();
            mono.extend_from_slice(&first[..frames]);
            let mixed = &mut mono[start..];
            for channel in others {
                mixed.iter_mut().zip(*channel).for_each(|(sum, sample)| *sum += sample);
            }
            let weight = 1.0 / channels.len() as f32;
            mixed.iter_mut().for_each(|sum| *sum *= weight);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn mono_is_the_mean() {
        let mut mixed = vec![9.0];
        mono(&[&[1.0, 0.5], &[0.0, -0.5]], &mut mixed);
        assert_eq!(mixed, [9.0, 0.5, 0.0]);
        mixed.clear();
        mono(&[&[1.0], &[1.0], &[1.0], &[1.0]], &mut mixed);
        mono(&[&[0.25]], &mut mixed);
        mono(&[&[0.3], &[0.6], &[0.0]], &mut mixed);
        assert_eq!(mixed[..2], [1.0, 0.25]);
        assert!((mixed[2] - 0.3).abs() < 1e-7);
    }
}
