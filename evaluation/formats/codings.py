"""Every format that is read: how ffmpeg writes it, how its length is told, and how near to ffmpeg's decoder ours must be."""

from dataclasses import dataclass


@dataclass(frozen=True)
class File:
    """One container of an encoding."""

    name: str
    extension: str
    muxer: str
    # "exact": as long as what went in. "packet": less than a packet of the codec longer. "tag": the same, and as long as ffmpeg's
    # decoder says (where the padding of an MP3 file takes two frames, ffmpeg's muxer counts that of the last alone). "delayed": the
    # container cannot tell of the encoder's delay, so that a packet of silence comes first, and less than a packet behind.
    length: str = "exact"

    @property
    def is_delayed(self):
        return self.length == "delayed"


@dataclass(frozen=True)
class Encoding:
    """What an encoder makes once, put into one or more containers."""

    # Of the table of bounds; none of what loses nothing.
    coding: str | None
    encoder: str
    files: tuple[File, ...]
    # How ffmpeg decodes it, the least ratio of signal to difference in dB, the largest difference: docs/accuracy.md, "Formats against
    # ffmpeg". What loses nothing is compared with the PCM that went in.
    decoder: str = ""
    least_ratio: float = 100.0
    largest: float = 1e-5
    packet: int = 0
    rate: int = 44_100


OGG, WEBM = "f=ogg", "f=webm"
MP3 = {"decoder": "mp3float", "packet": 1_152}
VORBIS = {"decoder": "vorbis", "packet": 2_048}
OPUS = {"decoder": "libopus", "least_ratio": 120.0, "largest": 2e-6, "packet": 960, "rate": 48_000}
# Noise that an encoder leaves to the decoder (ffmpeg's does) is made of numbers that each decoder rounds in its own way.
AAC = {"decoder": "aac", "packet": 1_024, "largest": 2e-4}
FRAGMENTS = "f=mp4:movflags=frag_keyframe+empty_moov+default_base_moof:frag_duration=500000"

ENCODINGS = [
    Encoding(
        None,
        "pcm_s16le",
        (File("WAV", "wav", "f=wav"), File("RF64", "rf64", "f=wav:rf64=always"), File("AIFF-C", "aifc", "f=aiff")),
    ),
    Encoding(None, "pcm_s16be", (File("AIFF", "aiff", "f=aiff"),)),
    Encoding(None, "alac -flags +global_header", (File("ALAC in MP4", "m4a", "f=ipod"),)),
    Encoding(
        None,
        "flac -flags +global_header",
        (
            File("FLAC", "flac", "f=flac"),
            File("FLAC in Ogg", "ogg", OGG),
            File("FLAC in MP4", "mp4", "f=mp4:strict=-2"),
            File("FLAC in Matroska", "mka", "f=matroska"),
        ),
    ),
    Encoding("mp3 128", "libmp3lame -b:a 128k", (File("MP3 128 kbit/s", "mp3", "f=mp3", "tag"),), **MP3),
    Encoding("mp3 320", "libmp3lame -b:a 320k", (File("MP3 320 kbit/s", "mp3", "f=mp3", "tag"),), **MP3),
    Encoding("mp3 V2", "libmp3lame -q:a 2", (File("MP3 V2", "mp3", "f=mp3", "tag"),), **MP3),
    *(
        Encoding(
            f"vorbis q{quality}",
            f"libvorbis -q:a {quality}",
            (
                File(f"Vorbis q{quality} in Ogg", "ogg", OGG),
                File(f"Vorbis q{quality} in WebM", "webm", WEBM, "packet"),
            ),
            **VORBIS,
        )
        for quality in (3, 6)
    ),
    *(
        Encoding(
            f"opus {rate}",
            f"libopus -b:a {rate}k -ar 48000",
            (
                File(f"Opus {rate} kbit/s in Ogg", "opus", OGG),
                File(f"Opus {rate} kbit/s in WebM", "webm", WEBM, "packet"),
            ),
            **OPUS,
        )
        for rate in (64, 128)
    ),
    Encoding(
        "aac 128",
        "aac -b:a 128k -flags +global_header",
        (
            File("AAC 128 kbit/s in MP4", "m4a", "f=ipod"),
            File("AAC 128 kbit/s in ADTS", "aac", "f=adts", "delayed"),
            File("AAC 128 kbit/s in fragments of MP4", "mp4", FRAGMENTS, "delayed"),
        ),
        **AAC,
    ),
    Encoding("aac 256", "aac -b:a 256k -flags +global_header", (File("AAC 256 kbit/s in MP4", "m4a", "f=ipod"),), **AAC),
]

# Decoders of ffmpeg for native files, by suffix.
NATIVE = {".ogg": "vorbis", ".opus": "libopus", ".mp3": "mp3float", ".flac": "flac"}
