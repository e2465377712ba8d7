"""Worker: turns a recording of Asterisk's (8 kHz, 16 bits, mono) into a compressed file."""

from __future__ import annotations

import soundfile

from ringline.media.workers.serve import Job, Refused, limit, serve

MEMORY_BYTES = 1024**3
FILE_BYTES = 512 * 1024**2
BLOCK_FRAMES = 65_536
_KINDS = {"mp3": ("MP3", "MPEG_LAYER_III"), "ogg": ("OGG", "VORBIS")}


def encode(job: Job) -> Job:
    """``source`` (WAV) to ``target`` as ``kind``: ``mp3`` or ``ogg``. Answers ``duration_ms``."""
    container, subtype = _KINDS[job["kind"]]
    frames = 0
    try:
        with (
            soundfile.SoundFile(job["source"]) as sound,
            soundfile.SoundFile(
                job["target"],
                "w",
                samplerate=sound.samplerate,
                channels=sound.channels,
                format=container,
                subtype=subtype,
            ) as made,
        ):
            rate = int(sound.samplerate)
            while len(block := sound.read(BLOCK_FRAMES, dtype="int16")):
                made.write(block)
                frames += len(block)
    except (soundfile.LibsndfileError, soundfile.SoundFileRuntimeError) as error:
        raise Refused(f"the recording cannot be converted: {error}") from error
    return {"duration_ms": frames * 1000 // rate}


if __name__ == "__main__":
    limit(memory_bytes=MEMORY_BYTES, file_bytes=FILE_BYTES)
    serve({"encode": encode})
