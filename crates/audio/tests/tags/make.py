"""Writes the same tags into a file of every format, with mutagen: what crates/audio/tests/tags.rs reads back.

Needs ffmpeg and mutagen 1.47. Run it from the root of the repository:
    python3 crates/audio/tests/tags/make.py fuzz/corpus/tags
"""

import base64
import pathlib
import subprocess
import sys

from mutagen import aiff, apev2, flac, id3, mp3, mp4, oggopus, oggvorbis, wave

FOLDER = pathlib.Path(sys.argv[1])

# The smallest images that decoders take: 1x1 pixels.
PNG = base64.b64decode(
    "iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAYAAAAfFcSJAAAADUlEQVR42mNk+M9QDwADhgGAWjR9awAAAABJRU5ErkJggg=="
)
GIF = base64.b64decode("R0lGODlhAQABAIAAAAAAAP///yH5BAEAAAAALAAAAAABAAEAAAIBRAA7")

RECORDING = "11111111-aaaa-4aaa-8aaa-000000000001"
TRACK = "22222222-aaaa-4aaa-8aaa-000000000002"
RELEASE = "33333333-aaaa-4aaa-8aaa-000000000003"
GROUP = "44444444-aaaa-4aaa-8aaa-000000000004"
ARTISTS = ["55555555-aaaa-4aaa-8aaa-000000000005", "66666666-aaaa-4aaa-8aaa-000000000006"]
ALBUM_ARTIST = "77777777-aaaa-4aaa-8aaa-000000000007"
ACOUSTID = "88888888-aaaa-4aaa-8aaa-000000000008"

# As Vorbis comments, the simplest form; MusicBrainz Picard's table of tags says what they are elsewhere.
COMMENTS = {
    "TITLE": ["Café Müller"],
    "ARTIST": ["Ana & Βασίλης"],
    "ARTISTS": ["Ana", "Βασίλης"],
    "ALBUM": ["夜の歌"],
    "ALBUMARTIST": ["Various"],
    "COMPOSER": ["C. One", "C. Two"],
    "GENRE": ["Folk", "Jazz"],
    "TRACKNUMBER": ["3"],
    "TRACKTOTAL": ["12"],
    "DISCNUMBER": ["1"],
    "DISCTOTAL": ["2"],
    "DATE": ["2004-05-17"],
    "ORIGINALDATE": ["1968"],
    "COMMENT": ["live"],
    "LANGUAGE": ["deu"],
    "BPM": ["128"],
    "INITIALKEY": ["F#m"],
    "COMPILATION": ["1"],
    "LABEL": ["Blue Ear"],
    "CATALOGNUMBER": ["BE 007"],
    "ISRC": ["DEA230400042"],
    "MUSICBRAINZ_TRACKID": [RECORDING],
    "MUSICBRAINZ_RELEASETRACKID": [TRACK],
    "MUSICBRAINZ_ALBUMID": [RELEASE],
    "MUSICBRAINZ_RELEASEGROUPID": [GROUP],
    "MUSICBRAINZ_ARTISTID": ARTISTS,
    "MUSICBRAINZ_ALBUMARTISTID": [ALBUM_ARTIST],
    "ACOUSTID_ID": [ACOUSTID],
    "REPLAYGAIN_TRACK_GAIN": ["-7.25 dB"],
    "REPLAYGAIN_TRACK_PEAK": ["0.988"],
    "REPLAYGAIN_ALBUM_GAIN": ["-6.5 dB"],
    "REPLAYGAIN_ALBUM_PEAK": ["1.001"],
    "LYRICS": ["la la"],
}


def sound(name, *arguments):
    """A file of 20 ms of silence, without tags."""
    path = FOLDER / name
    silence = ["-f", "lavfi", "-i", "anullsrc=r=48000:cl=mono", "-t", "0.02"]
    plain = ["-map_metadata", "-1", "-fflags", "+bitexact", "-flags:a", "+bitexact"]
    command = ["ffmpeg", "-y", "-v", "error", *silence, *plain, *arguments, str(path)]
    subprocess.run(command, check=True)
    return str(path)


def block_picture(image, kind, media_type):
    picture = flac.Picture()
    picture.data, picture.type, picture.mime, picture.desc = image, kind, media_type, "x"
    return picture


def frames(tag, encoding):
    """The same as ID3v2 frames."""
    text = {
        "TIT2": "TITLE", "TPE1": "ARTIST", "TALB": "ALBUM", "TPE2": "ALBUMARTIST", "TCOM": "COMPOSER", "TCON": "GENRE",
        "TDRC": "DATE", "TDOR": "ORIGINALDATE", "TLAN": "LANGUAGE", "TBPM": "BPM", "TKEY": "INITIALKEY",
        "TCMP": "COMPILATION", "TPUB": "LABEL", "TSRC": "ISRC",
    }
    for name, comment in text.items():
        tag.add(getattr(id3, name)(encoding=encoding, text=COMMENTS[comment]))
    tag.add(id3.TRCK(encoding=encoding, text=["3/12"]))
    tag.add(id3.TPOS(encoding=encoding, text=["1/2"]))
    tag.add(id3.COMM(encoding=encoding, lang="deu", desc="", text=COMMENTS["COMMENT"]))
    tag.add(id3.COMM(encoding=encoding, lang="eng", desc="iTunNORM", text=["00000E30"]))
    tag.add(id3.USLT(encoding=encoding, lang="deu", desc="", text=COMMENTS["LYRICS"][0]))
    tag.add(id3.UFID(owner="http://musicbrainz.org", data=RECORDING.encode()))
    described = {
        "ARTISTS": "ARTISTS", "CATALOGNUMBER": "CATALOGNUMBER", "Acoustid Id": "ACOUSTID_ID",
        "MusicBrainz Release Track Id": "MUSICBRAINZ_RELEASETRACKID", "MusicBrainz Album Id": "MUSICBRAINZ_ALBUMID",
        "MusicBrainz Release Group Id": "MUSICBRAINZ_RELEASEGROUPID", "MusicBrainz Artist Id": "MUSICBRAINZ_ARTISTID",
        "MusicBrainz Album Artist Id": "MUSICBRAINZ_ALBUMARTISTID",
        "REPLAYGAIN_TRACK_GAIN": "REPLAYGAIN_TRACK_GAIN", "REPLAYGAIN_TRACK_PEAK": "REPLAYGAIN_TRACK_PEAK",
        "REPLAYGAIN_ALBUM_GAIN": "REPLAYGAIN_ALBUM_GAIN", "REPLAYGAIN_ALBUM_PEAK": "REPLAYGAIN_ALBUM_PEAK",
    }
    for name, comment in described.items():
        tag.add(id3.TXXX(encoding=encoding, desc=name, text=COMMENTS[comment]))
    tag.add(id3.APIC(encoding=encoding, mime="image/jpeg", type=4, desc="back", data=GIF))
    # What it says to be is wrong on purpose.
    tag.add(id3.APIC(encoding=encoding, mime="image/jpeg", type=3, desc="front", data=PNG))


def with_id3(file, version=4):
    if file.tags is None:
        file.add_tags()
    frames(file.tags, encoding=1 if version == 3 else 3)
    if version == 3:
        file.tags.update_to_v23()
        file.save(v2_version=3, v23_sep=None)
    else:
        file.save()


def with_comments(file):
    for name, values in COMMENTS.items():
        file[name] = values


FOLDER.mkdir(parents=True, exist_ok=True)

MP3 = ["-c:a", "libmp3lame", "-b:a", "32k", "-id3v2_version", "0", "-write_xing", "0"]
with_id3(mp3.MP3(sound("id3v24.mp3", *MP3)))
with_id3(mp3.MP3(sound("id3v23.mp3", *MP3)), version=3)
with_id3(aiff.AIFF(sound("id3.aiff")))
with_id3(wave.WAVE(sound("id3.wav", "-c:a", "pcm_s16le")))

file = apev2.APEv2()
for name, value in {"Title": "Ape", "Artist": "Ana", "Album": "Tree", "Track": "4/9", "Year": "2001"}.items():
    file[name] = value
file["REPLAYGAIN_TRACK_GAIN"] = "-3.5 dB"
file.save(sound("ape.mp3", *MP3))

old = id3.ID3()
for name, value in {"TIT2": "One", "TPE1": "Two", "TALB": "Three", "TDRC": "1999", "TRCK": "7", "TCON": "Jazz"}.items():
    old.add(getattr(id3, name)(encoding=0, text=[value]))
old["COMM"] = id3.COMM(encoding=0, lang="eng", desc="", text=["old"])
with open(sound("id3v1.mp3", *MP3), "ab") as file:
    file.write(id3.MakeID3v1(old))

file = flac.FLAC(sound("vorbis.flac"))
with_comments(file)
file.add_picture(block_picture(GIF, 4, "image/gif"))
file.add_picture(block_picture(PNG, 3, "image/jpeg"))
file.save(padding=lambda info: 0)

for kind, name, codec in [
    (oggvorbis.OggVorbis, "vorbis.ogg", "libvorbis"),
    (oggopus.OggOpus, "vorbis.opus", "libopus"),
]:
    file = kind(sound(name, "-c:a", codec))
    with_comments(file)
    if name.endswith("opus"):
        file["R128_TRACK_GAIN"] = ["-1856"]
        file["R128_ALBUM_GAIN"] = ["256"]
    pictures = [block_picture(GIF, 4, "image/gif"), block_picture(PNG, 3, "image/jpeg")]
    file["METADATA_BLOCK_PICTURE"] = [base64.b64encode(picture.write()).decode() for picture in pictures]
    file.save(padding=lambda info: 0)

file = mp4.MP4(sound("ilst.m4a", "-c:a", "aac", "-b:a", "16k"))
file.add_tags() if file.tags is None else None
names = {
    "\xa9nam": "TITLE", "\xa9ART": "ARTIST", "\xa9alb": "ALBUM", "aART": "ALBUMARTIST", "\xa9wrt": "COMPOSER",
    "\xa9gen": "GENRE", "\xa9day": "DATE", "\xa9cmt": "COMMENT", "\xa9lyr": "LYRICS",
}
for name, comment in names.items():
    file[name] = COMMENTS[comment]
file["trkn"], file["disk"], file["cpil"], file["tmpo"] = [(3, 12)], [(1, 2)], True, [128]
freeform = {
    "ARTISTS": "ARTISTS", "LANGUAGE": "LANGUAGE", "initialkey": "INITIALKEY", "LABEL": "LABEL", "ISRC": "ISRC",
    "CATALOGNUMBER": "CATALOGNUMBER", "ORIGINALDATE": "ORIGINALDATE", "Acoustid Id": "ACOUSTID_ID",
    "MusicBrainz Track Id": "MUSICBRAINZ_TRACKID", "MusicBrainz Release Track Id": "MUSICBRAINZ_RELEASETRACKID",
    "MusicBrainz Album Id": "MUSICBRAINZ_ALBUMID", "MusicBrainz Release Group Id": "MUSICBRAINZ_RELEASEGROUPID",
    "MusicBrainz Artist Id": "MUSICBRAINZ_ARTISTID", "MusicBrainz Album Artist Id": "MUSICBRAINZ_ALBUMARTISTID",
    "replaygain_track_gain": "REPLAYGAIN_TRACK_GAIN", "replaygain_track_peak": "REPLAYGAIN_TRACK_PEAK",
    "replaygain_album_gain": "REPLAYGAIN_ALBUM_GAIN", "replaygain_album_peak": "REPLAYGAIN_ALBUM_PEAK",
}
for name, comment in freeform.items():
    file[f"----:com.apple.iTunes:{name}"] = [mp4.MP4FreeForm(value.encode()) for value in COMMENTS[comment]]
# It has no kinds of pictures: the first is the cover. The format that it says is wrong on purpose.
file["covr"] = [mp4.MP4Cover(PNG, imageformat=mp4.MP4Cover.FORMAT_JPEG)]
file.save()

INFO = ["-c:a", "pcm_s16le", "-metadata", "title=Café", "-metadata", "artist=Ana", "-metadata", "album=Tree",
        "-metadata", "date=2001-02", "-metadata", "track=5", "-metadata", "genre=Folk", "-metadata", "comment=note"]
for name, rf64 in [("info.wav", "never"), ("info-rf64.wav", "always")]:
    sound(name, *INFO, "-rf64", rf64)
sound("texts.aiff", "-metadata", "title=Café", "-metadata", "author=Ana", "-metadata", "comment=note", "-write_id3v2", "0")
for path in sorted(FOLDER.iterdir()):
    print(path.name, path.stat().st_size)
