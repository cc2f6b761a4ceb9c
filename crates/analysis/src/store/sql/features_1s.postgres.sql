-- What every layer holds, and the columns that can be read from it: rows of the algorithms' registry, which a test
-- compares with it. A release whose registry says more adds rows in a migration.
create table layer_layouts (
    algorithm text collate "C" not null,
    version bigint not null,
    layer text collate "C" not null,
    -- fields: a row of numbers, each merged by its rule; histogram: counts of 125 ms levels in bins of 0.1 dB;
    -- loudness: energies of 100 ms, and the true peak.
    shape text collate "C" not null,
    -- Of fields: time_mean, frame_mean, frame_variance (of the mean before it), minimum, maximum.
    rules text[] collate "C" not null,
    primary key (algorithm, version, layer)
);
create table layer_columns (
    algorithm text collate "C" not null,
    version bigint not null,
    layer text collate "C" not null,
    -- As the range query calls it: level.a, level.a:max, level.a:l90, level.bands.17.
    feature text collate "C" not null,
    -- Which of the layer's numbers, from 1; of a histogram the percentile.
    place bigint not null,
    -- value: the number as it is; level: 10 lg of it, at least -150; deviation: its root; percentile: the level
    -- exceeded that share of the time.
    reading text collate "C" not null,
    primary key (algorithm, version, layer, feature)
);

-- The partials in the bytes of a block (features::cells). Absent numbers are null; those of a histogram are bin and
-- count in turn.
create function partials_of_block(shape text, width int, minute bigint, stored bytea)
returns table (second bigint, heard_from int, heard_to int, frames bigint, numbers float8[])
language plpgsql immutable strict parallel safe as $$
declare
    -- A copy in memory: of what is kept apart from its row, each look at a byte would fetch all.
    data bytea := stored || ''::bytea;
    size int := length(stored);
    at int := 1;
    place int := 0;
    head bigint[];
    wanted int;
    value bigint;
    shift int;
    byte int;
    codes int;
    code int;
    previous bigint[] := array_fill(0::bigint, array[width]);
    bin bigint;
    used int;
    zeros int;
begin
    if get_byte(data, 0) <> 1 then
        raise exception 'a block has format %, which this schema does not know', get_byte(data, 0);
    end if;
    while at < size loop
        -- Numbers of 7 bits a byte, lowest first: how many seconds are skipped, with a bit that says that the interval
        -- follows; the interval; how many frames or bins; the first bin.
        head := '{}';
        wanted := 1;
        while cardinality(head) < wanted loop
            value := 0;
            shift := 0;
            loop
                byte := get_byte(data, at);
                at := at + 1;
                value := value | ((byte & 127)::bigint << shift);
                exit when byte < 128;
                shift := shift + 7;
            end loop;
            head := head || value;
            if cardinality(head) = 1 then
                wanted := case when value & 1 = 1 then 3 else 1 end + case shape when 'loudness' then 0 else 1 end;
            elsif shape = 'histogram' and cardinality(head) = wanted and value > 0 and wanted in (2, 4) then
                wanted := wanted + 1;
            end if;
        end loop;
        place := place + (head[1] >> 1)::int;
        second := minute * 60 + place;
        place := place + 1;
        heard_from := case when head[1] & 1 = 1 then head[2] else 0 end;
        heard_to := case when head[1] & 1 = 1 then head[2] + head[3] else 1000000 end;
        numbers := '{}';
        frames := 0;
        if shape = 'histogram' then
            frames := head[case when head[1] & 1 = 1 then 4 else 2 end];
            if frames > 0 then
                value := head[wanted];
                bin := (value >> 1) # -(value & 1);
                used := 0;
                -- Elias' gamma code: as many zeros as the number has bits after its first, then its bits.
                for index in 1 .. 2 * frames - 1 loop
                    zeros := 0;
                    while (get_byte(data, at + used / 8) >> (7 - used % 8)) & 1 = 0 loop
                        zeros := zeros + 1;
                        used := used + 1;
                    end loop;
                    value := 0;
                    for bit in 0 .. zeros loop
                        value := value << 1 | ((get_byte(data, at + used / 8) >> (7 - used % 8)) & 1);
                        used := used + 1;
                    end loop;
                    if index % 2 = 1 then
                        numbers := numbers || array[bin::float8, value::float8];
                    else
                        bin := bin + value;
                    end if;
                end loop;
                at := at + (used + 7) / 8;
            end if;
        else
            if shape = 'fields' then
                frames := head[wanted];
            end if;
            -- Two bits a number: 0 as before, 1 absent, 2 without its top byte, which is as before, 3 whole.
            codes := at;
            at := at + (width + 3) / 4;
            for index in 1 .. width loop
                code := (get_byte(data, codes + (index - 1) / 4) >> ((index - 1) % 4 * 2)) & 3;
                if code = 1 then
                    numbers[index] := null;
                    continue;
                elsif code = 2 then
                    value := (previous[index] & x'ff000000'::bigint) | (get_byte(data, at + 2) << 16)
                        | (get_byte(data, at + 1) << 8) | get_byte(data, at);
                    previous[index] := value;
                    at := at + 3;
                elsif code = 3 then
                    value := (get_byte(data, at + 3)::bigint << 24) | (get_byte(data, at + 2) << 16)
                        | (get_byte(data, at + 1) << 8) | get_byte(data, at);
                    previous[index] := value;
                    at := at + 4;
                else
                    value := previous[index];
                end if;
                -- The bits of a float of 32: sign, 8 of the exponent, 23 of the fraction.
                shift := (value >> 23)::int & 255;
                numbers[index] := case when value >= 2147483648 then -1 else 1 end * case
                    when shift = 0 then (value & 8388607) * power(2::float8, -149)
                    else (value & 8388607 | 8388608) * power(2::float8, shift - 150) end;
            end loop;
        end if;
        return next;
    end loop;
end
$$;

-- What one recording says about one second.
create type partial_of_second as (heard_from int, heard_to int, frames bigint, numbers float8[]);

-- Lengths in us of the ten blocks of 100 ms of a partial of loudness; 0 where there is no energy.
create function slot_lengths(heard_from int, heard_to int, numbers float8[]) returns int[]
language sql immutable parallel safe as $$
    select array_agg(case when numbers[slot] is null then 0
        else greatest(0, least(heard_to, slot * 100000) - greatest(heard_from, (slot - 1) * 100000)) end order by slot)
    from generate_series(1, 10) as slot
$$;

-- Merges the partials of a second that count, in their order, as features::cells does: in float8, rounded to float4.
-- Of loudness come ten energies, the true peak, and the ten lengths.
create function merge_partials(shape text, rules text[], parts partial_of_second[]) returns partial_of_second
language plpgsql immutable parallel safe as $$
declare
    merged partial_of_second;
    part partial_of_second;
    weight float8;
    weights float8;
    total float8;
    mean float8;
    delta float8;
    value float8;
    width int := cardinality(rules);
begin
    if cardinality(parts) = 1 then
        merged := parts[1];
        if shape = 'loudness' then
            merged.numbers := merged.numbers || slot_lengths(merged.heard_from, merged.heard_to, merged.numbers)::float8[];
        end if;
        return merged;
    end if;
    merged.frames := 0;
    merged.numbers := '{}';
    if shape = 'histogram' then
        select array_agg(number order by bin, place) into merged.numbers from (
            select bin, sum(count) as count from (
                select p.numbers[2 * i - 1] as bin, p.numbers[2 * i] as count
                from unnest(parts) as p, generate_series(1, cardinality(p.numbers) / 2) as i) as every
            group by bin) as summed,
            lateral (values (1, bin), (2, count)) as flat (place, number);
        merged.numbers := coalesce(merged.numbers, '{}');
        return merged;
    elsif shape = 'loudness' then
        for slot in 1 .. 10 loop
            total := 0;
            weights := 0;
            foreach part in array parts loop
                weight := (slot_lengths(part.heard_from, part.heard_to, part.numbers))[slot];
                total := total + coalesce(part.numbers[slot], 0) * weight;
                weights := weights + weight;
            end loop;
            merged.numbers[slot] := case when weights > 0 then (total / weights)::real end;
            merged.numbers[11 + slot] := weights;
        end loop;
        foreach part in array parts loop
            merged.numbers[11] := greatest(merged.numbers[11], part.numbers[11]);
        end loop;
        return merged;
    end if;
    foreach part in array parts loop
        merged.frames := merged.frames + part.frames;
    end loop;
    for index in 1 .. width loop
        total := 0;
        weights := 0;
        mean := 0;
        value := null;
        foreach part in array parts loop
            continue when part.numbers[index] is null;
            weight := case when rules[index] = 'time_mean' then part.heard_to - part.heard_from else part.frames end;
            if rules[index] = 'minimum' then
                value := least(value, part.numbers[index]);
            elsif rules[index] = 'maximum' then
                value := greatest(value, part.numbers[index]);
            elsif rules[index] = 'frame_variance' then
                -- Chan, Golub and LeVeque (1979), one partial after the other.
                continue when weight = 0 or part.numbers[index - 1] is null;
                delta := part.numbers[index - 1] - mean;
                total := total + (part.numbers[index] * weight + delta * delta * weights * weight / (weights + weight));
                mean := mean + delta * weight / (weights + weight);
                weights := weights + weight;
            else
                weights := weights + weight;
                total := total + weight * part.numbers[index];
            end if;
        end loop;
        merged.numbers[index] := case when rules[index] in ('minimum', 'maximum') then value
            when weights > 0 then (total / weights)::real end;
    end loop;
    return merged;
end
$$;

-- Of a histogram: the level in dB exceeded a percentage of the time, as the centre of its bin.
create function exceeded(numbers float8[], percentile bigint) returns float8
language plpgsql immutable parallel safe as $$
declare
    total float8 := 0;
    seen float8 := 0;
begin
    for index in 1 .. cardinality(numbers) / 2 loop
        total := total + numbers[2 * index];
    end loop;
    for index in reverse cardinality(numbers) / 2 .. 1 loop
        seen := seen + numbers[2 * index] * 100;
        if seen >= total * percentile then
            return (numbers[2 * index - 1] + 0.5) / 10;
        end if;
    end loop;
    return null;
end
$$;

-- Loudness in LUFS of an energy; digital silence is -150 (ITU-R BS.1770-5).
create function lufs(energy float8) returns float8 language sql immutable parallel safe as $$
    select case when energy > 0 then greatest(10 * log(energy) - 0.691, -150) else -150 end
$$;

-- Loudness of the second whose blocks of 100 ms are the last ten of forty: largest and smallest momentary, largest and
-- smallest short-term, gated loudness, range, true peak. BS.1770-5 annex 1, EBU Tech 3341 and 3342.
create function loudness_of_second(energies float8[], lengths float8[], true_peak float8) returns float8[]
language plpgsql immutable parallel safe as $$
declare
    found float8[] := '{}';
    total float8;
    heard float8;
    level real;
    least_level real;
    most_level real;
    loud int;
    mean float8;
    gate float8;
    bins bigint[];
    found_bin float8;
    found_count float8;
    energy float8;
    every float8;
    above float8;
    counted float8;
    integrated real;
    spread real;
begin
    foreach loud in array array[4, 30] loop
        least_level := null;
        most_level := null;
        bins := '{}';
        mean := 0;
        for ending in 31 .. 40 loop
            total := 0;
            heard := 0;
            for slot in ending - loud + 1 .. ending loop
                if lengths[slot] < 80000 then
                    heard := null;
                    exit;
                end if;
                total := total + energies[slot] * lengths[slot];
                heard := heard + lengths[slot];
            end loop;
            continue when heard is null;
            level := lufs(total / heard);
            least_level := least(least_level, level);
            most_level := greatest(most_level, level);
            if level >= -70 then
                bins := bins || least(greatest(floor(level::float8 * 10), -1500), 4000)::bigint;
                mean := mean + total / heard;
            end if;
        end loop;
        found := found || array[most_level, least_level]::float8[];
        continue when cardinality(bins) = 0;
        mean := (mean / cardinality(bins))::real;
        bins := array(select bin from unnest(bins) as bin order by bin);
        if loud = 4 then
            gate := lufs(mean) - 10;
            every := 0;
            above := 0;
            counted := 0;
            for found_bin, found_count in select bin, count(*) from unnest(bins) as bin group by bin order by bin loop
                energy := power(10::float8, ((found_bin + 0.5) / 10 + 0.691) / 10) * found_count;
                every := every + energy;
                if (found_bin + 0.5) / 10 > gate then
                    above := above + energy;
                    counted := counted + found_count;
                end if;
            end loop;
            integrated := lufs(above / nullif(counted, 0) * (mean / (every / cardinality(bins))));
        else
            gate := lufs(mean) - 20;
            bins := array(select bin from unnest(bins) as bin where (bin + 0.5) / 10 >= gate order by bin);
            spread := ((bins[round((0.95 * (cardinality(bins) - 1))::numeric)::int + 1] + 0.5::float8) / 10)
                - ((bins[round((0.10 * (cardinality(bins) - 1))::numeric)::int + 1] + 0.5::float8) / 10);
        end if;
    end loop;
    return found || array[integrated, spread, true_peak]::float8[];
end
$$;

-- The 1 s cells of a layer of a source in one minute of the epoch. Of a second with several recordings, those count
-- that do not overlap the earlier ones (by start and id) by more than 20 ms in all.
create function seconds_of_minute(source bigint, layer bigint, shape text, rules text[], minute bigint)
returns table (second bigint, numbers float8[])
language plpgsql stable parallel safe rows 60 cost 100000 as $$
declare
    lookback int := case shape when 'loudness' then 3 else 0 end;
    width int := case shape when 'loudness' then 11 else cardinality(rules) end;
    partial record;
    parts partial_of_second[];
    taken int4multirange;
    overlap bigint;
    merged partial_of_second;
    energies float8[] := array_fill(0::float8, array[40]);
    lengths float8[] := array_fill(0::float8, array[40]);
    before bigint;
begin
    for partial in
        select found.second, found.heard_from, found.heard_to, found.frames, found.numbers,
            lead(found.second) over every is distinct from found.second as is_last
        from blocks join recordings on recordings.id = blocks.recording
            cross join lateral partials_of_block(shape, width, blocks.minute, blocks.data) as found
        where blocks.source = seconds_of_minute.source and blocks.layer = seconds_of_minute.layer
            and blocks.minute >= seconds_of_minute.minute - sign(lookback)::bigint and blocks.minute <= seconds_of_minute.minute
            and found.second >= seconds_of_minute.minute * 60 - lookback
        window every as (order by found.second, blocks.start, recordings.name)
        order by found.second, blocks.start, recordings.name
    loop
        select coalesce(sum(upper(range) - lower(range)), 0) into overlap
        from unnest(coalesce(taken, '{}') * int4multirange(int4range(partial.heard_from, partial.heard_to))) as range;
        if overlap <= 20000 then
            taken := coalesce(taken, '{}') + int4multirange(int4range(partial.heard_from, partial.heard_to));
            parts := parts || row(partial.heard_from, partial.heard_to, partial.frames, partial.numbers)::partial_of_second;
        end if;
        continue when not partial.is_last;
        merged := merge_partials(shape, rules, parts);
        taken := null;
        parts := null;
        second := partial.second;
        numbers := merged.numbers;
        if shape = 'loudness' then
            -- The forty blocks slide on, with nothing where nothing was heard.
            for step in 1 .. least(coalesce(second - before, 4), 4) loop
                energies := energies[11 : 40] || array_fill(0::float8, array[10]);
                lengths := lengths[11 : 40] || array_fill(0::float8, array[10]);
            end loop;
            energies[31 : 40] := merged.numbers[1 : 10];
            lengths[31 : 40] := merged.numbers[12 : 21];
            before := second;
            continue when second < minute * 60;
            numbers := loudness_of_second(energies, lengths, merged.numbers[11]);
        end if;
        return next;
    end loop;
end
$$;

-- Every value of 1 s that the range query has, for those who ask in SQL: a row for each sensor, second and column, where
-- there is one. `feature` is the query's name of the column, `version` the algorithm's version, `minute` that of the
-- epoch: a condition on it is what an index serves. The function of the same name adds it to a range of time.
create view features_1s as
select sources.name as sensor, to_timestamp(found.second) as time, columns.feature, columns.version, reading.value, minutes.minute
from sources
    join source_layers on source_layers.source = sources.id
    join layers on layers.id = source_layers.layer and layers.kind = 1
    join layer_layouts as layouts
        on layouts.algorithm = layers.algorithm and layouts.version = layers.version and layouts.layer = layers.layer
    cross join lateral (
        select distinct blocks.minute from blocks where blocks.source = sources.id and blocks.layer = layers.id
    ) as minutes
    cross join lateral seconds_of_minute(sources.id, layers.id, layouts.shape, layouts.rules, minutes.minute) as found
    join layer_columns as columns
        on columns.algorithm = layers.algorithm and columns.version = layers.version and columns.layer = layers.layer
    cross join lateral (
        select case columns.reading
            when 'level' then case
                when found.numbers[columns.place] > 0 then greatest(10 * log(found.numbers[columns.place]), -150)
                when found.numbers[columns.place] = 0 then -150 end
            when 'deviation' then sqrt(greatest(found.numbers[columns.place], 0))
            when 'percentile' then exceeded(found.numbers, columns.place)
            else found.numbers[columns.place]
        end::real as value
    ) as reading
where sources.kind = 1 and reading.value is not null;

create function features_1s(of_sensor text, since timestamptz, until timestamptz)
returns table (sensor text, "time" timestamptz, feature text, version bigint, value real)
language sql stable parallel safe as $$
    select found.sensor, found.time, found.feature, found.version, found.value from features_1s as found
    where found.sensor = $1 and found.time >= $2 and found.time < $3
        and found.minute >= floor(extract(epoch from $2) / 60)::bigint and found.minute <= floor(extract(epoch from $3) / 60)::bigint
$$;
