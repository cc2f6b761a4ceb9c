//! Decode, resample, frame and transform audio in constant memory.

pub mod stft;
