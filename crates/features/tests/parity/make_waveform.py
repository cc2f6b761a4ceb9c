"""Writes golden/waveform_NAME.f32: librosa's zero-crossing rate and root mean square."""

import librosa

import signals

ys = signals.all()
rates = [librosa.feature.zero_crossing_rate(y, frame_length=2_048, hop_length=512).T for y in ys]
signals.write("waveform_zero_crossing_rate", rates)
signals.write("waveform_rms", [librosa.feature.rms(y=y, frame_length=2_048, hop_length=512).T for y in ys])
