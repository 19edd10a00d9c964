"""What the chooser says of a network, and what it takes from a browser."""

import pytest
from visiting import HOSTILE, by_color

from fcn.demo import chooser


def test_a_network_is_described_in_a_few_words():
    segmenter = by_color()
    segmenter.source = "me/net@01234567"
    assert chooser.describe(segmenter) == {
        "source": "me/net@01234567",
        "name": "net",
        "score": "12.5 % mIoU on shapes val",
        "classes": f"{HOSTILE}, square and triangle",
    }


def test_only_networks_that_are_there_are_chosen():
    networks = {"here": by_color()}
    assert chooser.pick(networks, "here") is networks["here"]
    for source in ("elsewhere", "", None, 0, ["here"], {}):
        with pytest.raises(chooser.gr.Error, match="reload the page"):
            chooser.pick(networks, source)
