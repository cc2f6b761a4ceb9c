-- The algorithms' registry as of this step (features::registry); a test compares it.
insert into layer_layouts (algorithm, version, layer, shape, rules) values
    ('level', 1, 'main', 'fields', '{time_mean,minimum,maximum,time_mean,minimum,maximum,time_mean,minimum,maximum,maximum,time_mean}'),
    ('level', 1, 'histogram', 'histogram', '{}'),
    ('level', 1, 'bands', 'fields', array_fill('time_mean'::text, array[30])),
    ('loudness', 1, 'main', 'loudness', '{}'),
    ('mel', 1, 'mel', 'fields', (select array_agg(rule order by band, place) from generate_series(1, 128) as band,
        lateral (values (1, 'frame_mean'), (2, 'frame_variance')) as every (place, rule)));

insert into layer_columns (algorithm, version, layer, feature, place, reading) values
    ('level', 1, 'main', 'level.a', 1, 'level'),
    ('level', 1, 'main', 'level.a:min', 2, 'value'),
    ('level', 1, 'main', 'level.a:max', 3, 'value'),
    ('level', 1, 'main', 'level.c', 4, 'level'),
    ('level', 1, 'main', 'level.c:min', 5, 'value'),
    ('level', 1, 'main', 'level.c:max', 6, 'value'),
    ('level', 1, 'main', 'level.z', 7, 'level'),
    ('level', 1, 'main', 'level.z:min', 8, 'value'),
    ('level', 1, 'main', 'level.z:max', 9, 'value'),
    ('level', 1, 'main', 'level.peak', 10, 'value'),
    ('level', 1, 'main', 'level.clipping', 11, 'value'),
    ('loudness', 1, 'main', 'loudness.momentary', 1, 'value'),
    ('loudness', 1, 'main', 'loudness.momentary:min', 2, 'value'),
    ('loudness', 1, 'main', 'loudness.short_term', 3, 'value'),
    ('loudness', 1, 'main', 'loudness.short_term:min', 4, 'value'),
    ('loudness', 1, 'main', 'loudness.integrated', 5, 'value'),
    ('loudness', 1, 'main', 'loudness.range', 6, 'value'),
    ('loudness', 1, 'main', 'loudness.true_peak', 7, 'value');
insert into layer_columns (algorithm, version, layer, feature, place, reading)
select 'level', 1, 'histogram', 'level.a:l' || to_char(percent, 'FM00'), percent, 'percentile' from generate_series(1, 99) as percent
union all
select 'level', 1, 'bands', 'level.bands.' || band, band + 1, 'level' from generate_series(0, 29) as band
union all
select 'mel', 1, 'mel', 'mel.' || band || stat, 2 * band + place, reading
from generate_series(0, 127) as band, (values (1, '', 'value'), (2, ':stddev', 'deviation')) as every (place, stat, reading);
