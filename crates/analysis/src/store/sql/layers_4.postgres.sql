-- The layer that this step adds to those of the first and third (features::registry); a test compares them.
insert into layer_layouts (algorithm, version, layer, shape, rules) values
    ('mfcc_top_db', 1, 'mfcc_top_db', 'fields',
        string_to_array(rtrim(repeat('frame_mean,frame_variance,', 20), ','), ','));

insert into layer_columns (algorithm, version, layer, feature, place, reading)
select 'mfcc_top_db', 1, 'mfcc_top_db', 'mfcc_top_db.' || dimension || stat, 2 * dimension + field, reading
from generate_series(0, 19) as dimension,
    (values ('', 1, 'value'), (':stddev', 2, 'deviation')) as fields (stat, field, reading);
