"""What /metrics shows of parts that know nothing of the registry."""

from __future__ import annotations

from ringline import telemetry
from ringline.metrics import registry


class Media:
    def __init__(self) -> None:
        self.jobs = {"decoder": 7, "piper": 0}
        self.engines = {"piper": "open", "espeak": "ready", "openai": "did not start in time"}

    def queues(self) -> dict[str, int]:
        return self.jobs

    def health(self) -> dict[str, str]:
        return self.engines


def test_queues_of_media_and_engines_at_rest_are_shown() -> None:
    media = Media()
    telemetry.read_media(media)
    assert registry.get_sample_value("ringline_media_jobs", {"program": "decoder"}) == 7
    assert registry.get_sample_value("ringline_media_jobs", {"program": "piper"}) == 0
    ready = [
        registry.get_sample_value("ringline_speech_engine_ready", {"engine": engine})
        for engine in media.engines
    ]
    assert ready == [0, 1, 0]
    media.jobs["decoder"] = 0
    media.engines["piper"] = "ready"
    telemetry.read_media(media)
    assert registry.get_sample_value("ringline_media_jobs", {"program": "decoder"}) == 0
    assert registry.get_sample_value("ringline_speech_engine_ready", {"engine": "piper"}) == 1
