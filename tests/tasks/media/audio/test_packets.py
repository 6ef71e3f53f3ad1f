import pytest

from storage.errors import ItemFault
from tasks.media.audio.packets import list_packets
from tasks.processes.tool import ToolLimits

LIMITS = ToolLimits(seconds=60)


def test_packets_are_counted_up_to_the_end_of_the_last_one(video):
    packets = list_packets(video("long-audio.m4a"), 0, 0.0, limits=LIMITS)
    assert packets.count == pytest.approx(12 * 48_000 / 1_024, abs=2)  # AAC's 1,024 samples each
    assert packets.end_time == pytest.approx(12.0, abs=0.02)
    later = list_packets(video("long-audio.m4a"), 0, 2.0, limits=LIMITS)
    assert later.end_time == pytest.approx(packets.end_time - 2.0)


def test_file_without_audio_is_rejected(video):
    with pytest.raises(ItemFault, match="the audio stream has no packet with a timestamp"):
        list_packets(video("no-audio.mp4"), 0, 0.0, limits=LIMITS)
