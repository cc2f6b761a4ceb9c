-- The algorithms that this step adds to those of the first (features::registry); a test compares them. Every output is a mean
-- over frames: of scalars also the smallest and largest are stored, of vectors the deviation alone.
insert into layer_layouts (algorithm, version, layer, shape, rules)
select algorithm, 1, layer, 'fields', string_to_array(rtrim(repeat(fields, outputs), ','), ',') from (values
    ('chroma', 'stft', 12, 'frame_mean,frame_variance,'),
    ('chroma', 'tonnetz', 6, 'frame_mean,frame_variance,'),
    ('chroma_cqt', 'chroma_cqt', 12, 'frame_mean,frame_variance,'),
    ('hpss', 'main', 1, 'frame_mean,frame_variance,minimum,maximum,'),
    ('indices', 'bands', 4, 'frame_mean,frame_variance,minimum,maximum,'),
    ('indices', 'entropy', 3, 'frame_mean,frame_variance,minimum,maximum,'),
    ('mfcc', 'mfcc', 20, 'frame_mean,frame_variance,'),
    ('onset', 'strength', 1, 'frame_mean,frame_variance,minimum,maximum,'),
    ('pitch', 'aperiodicity', 1, 'frame_mean,frame_variance,minimum,maximum,'),
    ('pitch', 'f0', 1, 'frame_mean,frame_variance,minimum,maximum,'),
    ('pitch', 'probability', 1, 'frame_mean,frame_variance,minimum,maximum,'),
    ('pitch', 'voiced', 1, 'frame_mean,frame_variance,minimum,maximum,'),
    ('pitch', 'yin', 1, 'frame_mean,frame_variance,minimum,maximum,'),
    ('spectral', 'contrast', 7, 'frame_mean,frame_variance,'),
    ('spectral', 'detail', 2, 'frame_mean,frame_variance,minimum,maximum,'),
    ('spectral', 'main', 5, 'frame_mean,frame_variance,minimum,maximum,'),
    ('tempogram', 'tempogram', 384, 'frame_mean,frame_variance,'),
    ('melody', 'f0', 1, 'frame_mean,frame_variance,minimum,maximum,'),
    ('melody', 'probability', 1, 'frame_mean,frame_variance,minimum,maximum,'),
    ('melody', 'voiced', 1, 'frame_mean,frame_variance,minimum,maximum,'),
    ('waveform', 'main', 2, 'frame_mean,frame_variance,minimum,maximum,')
) as added (algorithm, layer, outputs, fields);

insert into layer_columns (algorithm, version, layer, feature, place, reading)
select algorithm, 1, layer, feature || stat, 4 * index + field, reading from (values
    ('hpss', 'main', 'hpss.percussive', 0),
    ('indices', 'bands', 'indices.aci', 0),
    ('indices', 'bands', 'indices.adi', 1),
    ('indices', 'bands', 'indices.bi', 2),
    ('indices', 'bands', 'indices.ndsi', 3),
    ('indices', 'entropy', 'indices.h', 0),
    ('indices', 'entropy', 'indices.ht', 1),
    ('indices', 'entropy', 'indices.hf', 2),
    ('onset', 'strength', 'onset.strength', 0),
    ('pitch', 'aperiodicity', 'pitch.aperiodicity', 0),
    ('pitch', 'f0', 'pitch.f0', 0),
    ('pitch', 'probability', 'pitch.probability', 0),
    ('pitch', 'voiced', 'pitch.voiced', 0),
    ('pitch', 'yin', 'pitch.yin', 0),
    ('spectral', 'detail', 'spectral.crest', 0),
    ('spectral', 'detail', 'spectral.entropy', 1),
    ('spectral', 'main', 'spectral.centroid', 0),
    ('spectral', 'main', 'spectral.bandwidth', 1),
    ('spectral', 'main', 'spectral.rolloff', 2),
    ('spectral', 'main', 'spectral.flatness', 3),
    ('spectral', 'main', 'spectral.flux', 4),
    ('melody', 'f0', 'melody.f0', 0),
    ('melody', 'probability', 'melody.probability', 0),
    ('melody', 'voiced', 'melody.voiced', 0),
    ('waveform', 'main', 'waveform.zero_crossing_rate', 0),
    ('waveform', 'main', 'waveform.rms', 1)
) as added (algorithm, layer, feature, index),
    (values ('', 1, 'value'), (':stddev', 2, 'deviation'), (':min', 3, 'value'), (':max', 4, 'value')) as fields (stat, field, reading);

insert into layer_columns (algorithm, version, layer, feature, place, reading)
select algorithm, 1, layer, prefix || '.' || dimension || stat, 2 * dimension + field, reading from (values
    ('chroma', 'stft', 'chroma.stft', 12),
    ('chroma', 'tonnetz', 'chroma.tonnetz', 6),
    ('chroma_cqt', 'chroma_cqt', 'chroma_cqt', 12),
    ('mfcc', 'mfcc', 'mfcc', 20),
    ('spectral', 'contrast', 'spectral.contrast', 7),
    ('tempogram', 'tempogram', 'tempogram', 384)
) as added (algorithm, layer, prefix, dimensions),
    generate_series(0, dimensions - 1) as dimension,
    (values ('', 1, 'value'), (':stddev', 2, 'deviation')) as fields (stat, field, reading);
