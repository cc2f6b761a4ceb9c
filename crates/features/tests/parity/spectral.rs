//! `spectral` against librosa 0.11.0 and Essentia 2.1.

use crate::golden::{check, check_except, frames};

fn scalar(output: &str, golden: &[u8]) {
    let largest = check(golden, 1, |signal| frames("spectral", output, signal));
    assert!(largest > 0.0, "nothing is equal to the last bit");
}

#[test]
fn centroids_are_librosas() {
    scalar("centroid", include_bytes!("golden/spectral_centroid.f32"));
}

#[test]
fn bandwidths_are_librosas() {
    scalar("bandwidth", include_bytes!("golden/spectral_bandwidth.f32"));
}

/// These are frequencies of bins, so they are equal or some bins off.
#[test]
fn roll_offs_are_librosas() {
    check(include_bytes!("golden/spectral_rolloff.f32"), 1, |signal| frames("spectral", "rolloff", signal));
}

#[test]
fn flatnesses_are_librosas() {
    scalar("flatness", include_bytes!("golden/spectral_flatness.f32"));
}

#[test]
fn fluxes_are_essentias() {
    scalar("flux", include_bytes!("golden/spectral_flux.f32"));
}

#[test]
fn crests_are_essentias() {
    scalar("crest", include_bytes!("golden/spectral_crest.f32"));
}

#[test]
fn entropies_are_essentias() {
    scalar("entropy", include_bytes!("golden/spectral_entropy.f32"));
}

/// An impulse has no contrast; what librosa finds in it, below 1e-6 dB, is rounding.
#[test]
fn contrasts_are_librosas() {
    let golden = include_bytes!("golden/spectral_contrast.f32");
    let exceptions = [("synthetic 1 at 22050", 0..7)];
    let largest = check_except(golden, 7, &exceptions, |signal| frames("spectral", "contrast", signal));
    assert!(largest > 0.0, "nothing is equal to the last bit");
}
