"""What players make of a score: a tempo, instruments, an accompaniment, drums, small errors. All of it seeded."""

import math

# Beats a minute by time signature, smallest and largest; drawn evenly in the logarithm.
TEMPI = {
    "2/4": (66, 132),
    "3/4": (72, 176),
    "4/4": (60, 152),
    "2/2": (60, 112),
    "6/8": (60, 126),
    "9/8": (60, 116),
    "12/8": (54, 104),
}
CHORALE = (58, 104)
# Onsets a second that a tempo must give: music is neither still nor a blur.
ONSETS = (1.2, 9.0)

# General MIDI programs by the part that they play.
ENSEMBLES = [
    {"lead": [0], "middle": [0], "bass": [0]},
    {"lead": [40, 41], "middle": [41, 48], "bass": [42, 43]},
    {"lead": [48], "middle": [48], "bass": [48]},
    {"lead": [73, 68, 71], "middle": [71, 60], "bass": [70]},
    {"lead": [19, 16], "middle": [19], "bass": [19]},
    {"lead": [24, 25], "middle": [24, 25], "bass": [32, 33]},
    {"lead": [56, 60], "middle": [57, 60], "bass": [58]},
    {"lead": [6], "middle": [6], "bass": [42]},
    {"lead": [11, 12], "middle": [4, 0], "bass": [32]},
    {"lead": [65, 64], "middle": [26, 4], "bass": [33, 32]},
    {"lead": [22, 110, 21], "middle": [24, 21], "bass": [32]},
    {"lead": [80, 81], "middle": [88, 50], "bass": [38]},
    {"lead": [27, 29], "middle": [18, 27], "bass": [33, 34]},
]

KICK, SNARE, STICK, HAT, OPEN_HAT, RIDE, TAMBOURINE = 36, 38, 37, 42, 46, 51, 54

# Patterns of one bar by time signature: (place in beats, drum, velocity).
PATTERNS = {
    "4/4": [
        [(0, KICK, 100), (2, KICK, 95), (1, SNARE, 95), (3, SNARE, 95)] + [(n / 2, HAT, 70) for n in range(8)],
        [(0, KICK, 100), (1.5, KICK, 85), (2.5, KICK, 90), (1, SNARE, 95), (3, SNARE, 95)] + [(n / 2, HAT, 70) for n in range(8)],
        [(n, KICK, 100) for n in range(4)] + [(n + 0.5, OPEN_HAT, 75) for n in range(4)] + [(1, SNARE, 80), (3, SNARE, 80)],
        [(0, KICK, 90), (2, KICK, 80)] + [(n, RIDE, 75) for n in range(4)] + [(1 + 2 / 3, RIDE, 60), (3 + 2 / 3, RIDE, 60), (1, STICK, 60), (3, STICK, 60)],
        [(0, KICK, 100), (2, SNARE, 95), (1.75, KICK, 70)] + [(n / 4, HAT, 65 if n % 2 == 0 else 45) for n in range(16)],
        [(0, KICK, 95), (0.75, KICK, 85), (1.5, STICK, 80), (2, KICK, 90), (2.5, STICK, 80), (3.5, STICK, 70)] + [(n / 2, TAMBOURINE, 55) for n in range(8)],
    ],
    "2/4": [
        [(0, KICK, 100), (1, SNARE, 90), (0.5, HAT, 70), (1.5, HAT, 70)],
        [(0, KICK, 100), (0.5, SNARE, 80), (1, KICK, 90), (1.5, SNARE, 85)],
        [(0, KICK, 95), (1, SNARE, 90)] + [(n / 4, SNARE, 45) for n in range(8) if n % 4],
    ],
    "3/4": [
        [(0, KICK, 100), (1, SNARE, 75), (2, SNARE, 75)],
        [(0, KICK, 95), (2, SNARE, 80)] + [(n / 2, HAT, 65) for n in range(6)],
        [(0, KICK, 90), (0, RIDE, 75), (1, RIDE, 65), (2, RIDE, 65), (1, STICK, 55)],
    ],
    "6/8": [
        [(0, KICK, 100), (1, SNARE, 90)] + [(n / 3, HAT, 70 if n % 3 == 0 else 55) for n in range(6)],
        [(0, KICK, 100), (2 / 3, KICK, 70), (1, SNARE, 85), (5 / 3, STICK, 60)] + [(n / 3, TAMBOURINE, 55) for n in range(6)],
    ],
}
PATTERNS["2/2"] = PATTERNS["2/4"]
PATTERNS["9/8"] = [[(n, (KICK, SNARE, SNARE)[n], 90) for n in range(3)] + [(n / 3, HAT, 60) for n in range(9)]]
PATTERNS["12/8"] = [[(0, KICK, 100), (1, SNARE, 90), (2, KICK, 95), (3, SNARE, 90)] + [(n / 3, HAT, 60) for n in range(12)]]

DIATONIC = {"major": [(0, 4, 7), (2, 5, 9), (5, 9, 0), (7, 11, 2), (9, 0, 4)], "minor": [(0, 3, 7), (5, 8, 0), (7, 11, 2), (8, 0, 3), (3, 7, 10)]}
TONICS = {"C": 0, "D": 2, "E": 4, "F": 5, "G": 7, "A": 9, "B": 11}
DRUM_CHANNEL = 9


def tonic_of(name):
    """Pitch class of the tonic of "F# minor"."""
    return (TONICS[name[0]] + name.count("#") - name.split()[0][1:].count("b")) % 12


def tempo_of(score, faster, random):
    """Beats a minute: within the range of the time signature, and neither too few nor too many notes a second; `faster` times as
    many."""
    low, high = CHORALE if score["name"].startswith("bach/") else TEMPI[score["metre"]]
    starts = {round(note[0], 3) for part in score["parts"] for note in part}
    per_beat = len(starts) / ((score["end"] - score["start"]) / score["beat"])
    low, high = max(low, min(high - 5, 60 * ONSETS[0] / per_beat)), min(high, max(low + 5, 60 * ONSETS[1] / per_beat))
    return faster * math.exp(random.uniform(math.log(low), math.log(high)))


def chords(score):
    """A triad for each half bar (bar, in threes), that shares most with the melody: (start, length, pitch classes)."""
    name = score["key"]
    tonic, triads = tonic_of(name), DIATONIC[name.split()[1]]
    step = score["bar"] if score["metre"] in ("3/4", "9/8") else score["bar"] / 2
    found, at = [], score["first"]
    while at < score["end"] - 1e-6:
        weights = [0.0] * 12
        for start, length, number in score["parts"][0]:
            weights[number % 12] += max(0.0, min(start + length, at + step) - max(start, at))
        likeness = lambda triad: sum(weights[(tonic + tone) % 12] for tone in triad) + (0.2 if triad[0] in (0, 7) else 0.0)
        best = max(triads, key=likeness)
        found.append((at, step, [(tonic + tone) % 12 for tone in best]))
        at += step
    return found


def accompaniment(score, random):
    """Parts for chords and bass under one melody."""
    style = random.choice(["march", "pad", "arpeggio", "strum", "none"])
    beat, middle, bass = score["beat"], [], []
    if style == "none":
        return []
    for start, length, classes in chords(score):
        voicing = sorted(54 + (pitch_class - 54) % 12 for pitch_class in classes)
        root = 36 + (classes[0] - 36) % 12
        beats = round(length / beat)
        if style == "pad":
            middle += [[start, length, number] for number in voicing]
            bass.append([start, length, root])
        elif style == "arpeggio":
            division = beat / (3 if score["metre"].endswith("/8") else 2)
            for n in range(round(length / division)):
                middle.append([start + n * division, division, voicing[n % 3]])
            bass.append([start, length, root])
        else:
            for n in range(max(beats, 1)):
                at = start + n * beat
                if style == "strum" or n > 0:
                    middle += [[at, beat * 0.5, number] for number in voicing]
                elif beats <= 1:
                    middle += [[at + beat / 2 if beat != 1.5 else at + 1.0, beat * 0.3, number] for number in voicing]
                if n == 0 or (beats > 2 and n == 2):
                    bass.append([at, beat * 0.8, root if n == 0 else root + 7])
    return [sorted(middle), sorted(bass)]


class Clock:
    """Seconds of places in the score, at a tempo that may sway."""

    def __init__(self, score, tempo, sway, lead, random):
        self.start, self.second = score["start"], 60.0 / tempo / score["beat"]
        self.lead, self.depth = lead, sway
        self.period = random.uniform(8.0, 20.0) / self.second
        self.phase = random.uniform(0, 2 * math.pi)

    def __call__(self, place):
        x = place - self.start
        w = 2 * math.pi / self.period
        swayed = x + self.depth / w * (math.cos(self.phase) - math.cos(w * x + self.phase))
        return self.lead + self.second * swayed


def perform(score, drums, hard, seconds, faster, random):
    """Events and truth of a piece of about `seconds`. Events: (start, end, number, velocity, channel), in seconds."""
    tempo = tempo_of(score, faster, random)
    sway = random.uniform(0.03, 0.08) if hard and random.random() < 0.6 else 0.0
    bar, beat, first = score["bar"], score["beat"], score["first"]
    bar_seconds = bar / beat * 60.0 / tempo
    available = round((score["end"] - first) / bar)
    wanted = max(4, int(seconds / bar_seconds))
    clock = Clock(score, tempo, sway, random.uniform(0.05, 1.0), random)
    parts = [list(part) for part in score["parts"]]
    if score["melody"]:
        parts += accompaniment(score, random)
    # A short tune is played again.
    repeated = []
    for part in parts:
        inside = [note for note in part if note[0] >= first - 1e-6]
        upbeat = [note for note in part if note[0] < first - 1e-6]
        for round_number in range(-(-wanted // available)):
            shift = round_number * available * bar
            inside_now = [[start + shift, length, number] for start, length, number in inside]
            upbeat += [note for note in inside_now if note[0] < first + wanted * bar - 1e-6]
        repeated.append(upbeat)
    end = first + min(wanted, -(-wanted // available) * available) * bar

    ensemble = random.choice(ENSEMBLES)
    order = sorted(range(len(repeated)), key=lambda n: -sum(note[2] for note in repeated[n]) / max(1, len(repeated[n])))
    accent, jitter = random.uniform(0.0, 14.0), 0.012 if hard else 0.006
    events, programs = [], {}
    for rank, place in enumerate(order):
        role = "lead" if rank == 0 else "bass" if rank == len(order) - 1 else "middle"
        channel = rank if rank < DRUM_CHANNEL else rank + 1
        if channel > 15:
            continue
        programs[channel] = random.choice(ensemble[role])
        level = random.uniform(70, 100) if role == "lead" else random.uniform(55, 85)
        for start, length, number in repeated[place]:
            beats_in = (start - first) / beat
            on_bar, on_beat = abs(beats_in % (bar / beat)) < 1e-3, abs(beats_in - round(beats_in)) < 1e-3
            velocity = level + (accent if on_bar else accent / 2 if on_beat else 0) + random.gauss(0, 5)
            at = max(0.0, clock(start) + random.gauss(0, jitter))
            stop = max(at + 0.05, clock(start + 0.95 * length))
            events.append((at, stop, number, int(max(20, min(120, velocity))), channel))
    if drums:
        pattern, level = random.choice(PATTERNS[score["metre"]]), random.uniform(0.7, 1.0)
        for number in range(round((end - first) / bar)):
            for place, drum, velocity in pattern:
                at = clock(first + number * bar + place * beat) + random.gauss(0, jitter / 2)
                loudness = velocity * level + random.gauss(0, 4)
                events.append((at, at + 0.1, drum, int(max(10, min(120, loudness))), DRUM_CHANNEL))
    events.sort()
    beats, downbeats = [], []
    place = first - beat * math.floor((first - score["start"]) / beat + 1e-6)
    while place < end - 1e-6:
        beats.append(clock(place))
        if abs(((place - first) / bar) - round((place - first) / bar)) < 1e-6:
            downbeats.append(clock(place))
        place += beat
    gaps = sorted(b - a for a, b in zip(beats, beats[1:]))
    truth = {
        "tempo": 60.0 / gaps[len(gaps) // 2],
        "metre": score["metre"],
        "key": score["key"],
        "beats": [round(time, 4) for time in beats],
        "downbeats": [round(time, 4) for time in downbeats],
        "onsets": merged(event[0] for event in events),
        "notes": [[round(start, 4), round(stop, 4), number, channel] for start, stop, number, _, channel in events],
        "drums": drums,
        "sway": round(sway, 4),
    }
    return events, programs, truth


def merged(times, together=0.05):
    """Onsets of one chord, which lie less than 50 ms after its first, are one."""
    found = []
    for time in times:
        if not found or time - found[-1] > together:
            found.append(round(time, 4))
    return found
