"""RTP, key presses, G.711, tones and where packets land in a recording."""

from __future__ import annotations

import wave
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from tests.stack.rtp import linear, read_wav

from ringline.sandbox.audio import g711, rtp, tones
from ringline.sandbox.audio.ports import Exhausted, Ports
from ringline.sandbox.audio.recording import Recording, Timeline


def event(code: int, timestamp: int, duration: int, *, end: bool = False, marker: bool = False) -> rtp.Packet:
    return rtp.Packet(101, marker, 0, timestamp, 1, rtp.event_payload(code, duration, end=end))


class TestKeyPresses:
    def test_each_once_in_order_though_repeated_late_or_lost(self) -> None:
        keys = rtp.KeyPresses()
        packets = [
            event(5, 1000, 160, marker=True),
            event(5, 1000, 320),
            event(5, 1000, 800, end=True),
            event(5, 1000, 800, end=True),
            event(5, 3000, 160, marker=True),  # pressed again; its end is lost
            event(11, 5000, 800, end=True),  # only its end arrived
            event(5, 3000, 800, end=True),  # late
            event(0, 7000, 160, marker=True),
        ]
        assert "".join(keys.feed(packet) for packet in packets) == "55#0"

    def test_a_key_held_for_twelve_seconds_is_one(self) -> None:
        keys = rtp.KeyPresses()
        heard = keys.feed(event(3, 0, 160, marker=True))
        for duration in range(320, 0xFFFF, 16000):
            heard += keys.feed(event(3, 0, duration))
        heard += keys.feed(event(3, 0, 0xFFFF))
        heard += keys.feed(event(3, 0xFFFF, 160))
        heard += keys.feed(event(3, 0xFFFF, 30000, end=True))
        assert heard == "3"

    def test_hook_flash_and_rubbish_are_no_keys(self) -> None:
        keys = rtp.KeyPresses()
        assert keys.feed(event(16, 0, 160)) == ""
        assert keys.feed(rtp.Packet(101, True, 0, 0, 1, b"\x01")) == ""


class TestPackets:
    def test_there_and_back(self) -> None:
        packet = rtp.parse(rtp.pack(8, 70000, 1 << 33, 5, b"abc", marker=True))
        assert packet == rtp.Packet(8, True, 70000 & 0xFFFF, 0, 5, b"abc")

    def test_extension_and_padding_are_no_audio(self) -> None:
        data = bytes([0xB1, 0]) + bytes(10) + b"srcc" + b"\xbe\xde\x00\x01extn" + b"audio" + b"\0\0\x03"
        packet = rtp.parse(data)
        assert packet is not None
        assert packet.payload == b"audio"

    @given(st.binary(max_size=64))
    def test_any_bytes(self, data: bytes) -> None:
        packet = rtp.parse(data)
        assert packet is None or len(packet.payload) <= len(data)


class TestG711:
    def test_law_of_the_standard(self) -> None:
        every = bytes(range(256))
        assert np.array_equal(np.frombuffer(g711.decode("PCMU", every), "<i2"), linear(every))
        a_law = np.frombuffer(g711.decode("PCMA", bytes([0xD5, 0x55, 0xAA, 0x2A, 0x80])), "<i2")
        assert a_law.tolist() == [8, -8, 32256, -32256, 5504]

    @pytest.mark.parametrize("law", ["PCMU", "PCMA"])
    def test_decoded_values_encode_to_themselves(self, law: str) -> None:
        values = np.frombuffer(g711.decode(law, bytes(range(256))), "<i2").astype(np.int16)
        again = np.frombuffer(g711.decode(law, g711.encode(law, values)), "<i2")
        assert np.array_equal(again, values)


class TestTones:
    @pytest.mark.parametrize("digit", "0123456789*#ABCD")
    def test_keys_have_their_two_frequencies(self, digit: str) -> None:
        samples = tones.key(digit, 200)
        spectrum = np.abs(np.fft.rfft(samples, 8000))
        peaks = sorted(np.argsort(spectrum)[-20:])
        rows = {697: "123A", 770: "456B", 852: "789C", 941: "*0#D"}
        columns = {1209: "147*", 1336: "2580", 1477: "369#", 1633: "ABCD"}
        low = min(rows, key=lambda f: min(abs(f - peak) for peak in peaks))
        high = min(columns, key=lambda f: min(abs(f - peak) for peak in peaks))
        assert set(rows[low]) & set(columns[high]) == {digit}

    def test_greeting_lasts_some_five_seconds(self) -> None:
        assert 4.5 <= tones.greeting().size / 8000 <= 5.5
        assert np.abs(tones.greeting().astype(int)).max() > 8000


class TestTimeline:
    @staticmethod
    def places(packets: list[tuple[int, int, int]]) -> list[int | None]:
        """(sequence, timestamp, elapsed) of 160 samples each."""
        timeline = Timeline()
        return [
            timeline.place(1, sequence, stamp & 0xFFFFFFFF, 160, elapsed)
            for sequence, stamp, elapsed in packets
        ]

    def test_follows_timestamps_whatever_the_arrival(self) -> None:
        stamp = 2**32 - 160
        assert self.places([(65535, stamp, 800), (0, stamp + 160, 3000), (1, stamp + 320, 3000)]) == [
            800,
            960,
            1120,
        ]

    def test_a_lost_packet_leaves_its_room_and_a_late_one_finds_it(self) -> None:
        assert self.places([(1, 0, 0), (3, 320, 320), (2, 160, 330), (4, 480, 480)]) == [0, 320, 160, 480]

    def test_a_pause_is_as_long_as_it_was(self) -> None:
        assert self.places([(1, 0, 0), (2, 8160, 8200)]) == [0, 8160]

    def test_a_sender_that_was_held_up_leaves_no_hole(self) -> None:
        assert self.places([(1, 0, 0), (2, 160 + 900, 1100), (3, 320 + 900, 1200)]) == [0, 160, 320]

    def test_a_key_keeps_its_distance(self) -> None:
        timeline = Timeline()
        assert timeline.place(1, 1, 0, 160, 0) == 0
        assert timeline.place(1, 4, 640, 800, 1500, key=True) == 640
        assert timeline.place(1, 5, 640 + 800 + 480, 160, 2000) == 1920

    def test_timestamps_that_stop_in_a_pause_are_anchored_again(self) -> None:
        assert self.places([(1, 0, 0), (2, 160, 24000)]) == [0, 24000]

    def test_a_jump_far_ahead_is_not_believed(self) -> None:
        assert self.places([(1, 0, 0), (2, 80000, 400)]) == [0, 400]

    def test_a_new_source_goes_on_where_the_old_one_ended(self) -> None:
        timeline = Timeline()
        assert timeline.place(1, 1, 0, 160, 0) == 0
        assert timeline.place(2, 9, 99999, 160, 100) == 160
        assert timeline.place(2, 8, 99999 - 160, 160, 110) is None

    @given(st.lists(st.tuples(*[st.integers(0, 2**32 - 1)] * 3, st.integers(0, 10**6)), max_size=30))
    def test_positions_are_never_negative(self, packets: list[tuple[int, int, int, int]]) -> None:
        timeline = Timeline()
        for ssrc, sequence, stamp, elapsed in packets:
            position = timeline.place(ssrc % 2, sequence & 0xFFFF, stamp, 160, elapsed)
            assert position is None or position >= 0


class TestRecording:
    def test_gaps_are_silence_and_the_end_is_filled(self, tmp_path: Path) -> None:
        recording = Recording(tmp_path / "x.wav", limit=10)
        piece = np.arange(160, dtype="<i2").tobytes()
        recording.write(100, piece)
        recording.write(30000, piece)
        recording.write(29000, piece)  # late, but still in memory
        recording.write(0, piece)  # already on disk: ignored
        recording.write(79999, piece)  # past the limit: ignored
        recording.close(40000)
        recording.close(50000)
        samples = read_wav(tmp_path / "x.wav")
        assert samples.size == 40000
        expected = np.zeros(40000)
        for at in (100, 29000, 30000):
            expected[at : at + 160] = np.arange(160)
        assert np.array_equal(samples, expected)

    def test_nothing_heard_is_a_file_too(self, tmp_path: Path) -> None:
        recording = Recording(tmp_path / "x.wav", limit=1)
        recording.close(0)
        with wave.open(str(tmp_path / "x.wav")) as file:
            assert file.getnframes() == 0


def test_ports_rest_before_they_are_used_again() -> None:
    ports = Ports(11001, 11006)
    assert [ports.take(), ports.take()] == [11002, 11004]
    ports.give_back(11002)
    assert [ports.take(), ports.take()] == [11006, 11002]
    assert (ports.used, ports.total) == (3, 3)
    with pytest.raises(Exhausted):
        ports.take()
