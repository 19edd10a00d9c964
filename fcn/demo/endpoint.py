"""The page's API: one documented endpoint, ``/segment``, that answers at the photo's own size."""

from collections.abc import Callable
from typing import Any

import gradio as gr

from ..errors import InputError
from ..segmentation import encode_png
from .chooser import Networks
from .photo_input import Given, offer

OPACITY = 0.6  # of the overlay, if none is given


def add_endpoint(networks: Networks, **limits: Any) -> None:
    """Add ``/segment`` to the page that is being built: its components are never drawn.

    Args:
        networks: What segments, by source.
        limits: Gradio's limits of concurrency.
    """
    with gr.Column(visible=False):
        gr.Button().click(
            build_endpoint(networks),
            [
                gr.Image(label="Photo"),
                gr.Number(OPACITY, label="Opacity of the overlay", minimum=0, maximum=1),
                gr.Number(None, label="Stride: 8, 16 or 32; empty for the network's", precision=0),
                gr.Dropdown(list(networks), value=next(iter(networks)), label="Network"),
            ],
            [gr.File(label="Labels"), gr.File(label="Overlay"), gr.JSON(label="Summary")],
            api_name="segment",
            preprocess=False,
            **limits,
        )


def build_endpoint(networks: Networks) -> Callable[..., tuple[str, str, dict[str, Any]]]:
    """The function behind ``/segment``."""
    first = next(iter(networks))

    def segment(
        photo: dict[str, Any] | None,
        opacity: float | None = OPACITY,
        stride: int | None = None,
        network: str | None = first,
    ) -> tuple[str, str, dict[str, Any]]:
        """Segment a photo at its own size.

        Args:
            photo: A picture of any common kind, of at most 20 MB and 40 megapixels; as base64 it
                must be under 1 MB.
            opacity: How much the colours cover the photo in the overlay, from 0 to 1.
            stride: The finest score map that is used: 32, 16 or 8 pixels per score; the network's
                own if null.
            network: Where its weights came from, for a page that offers several; the first of them
                if null.

        Returns:
            A palette PNG of class ids; an overlay PNG; and a JSON summary: every class that occurs
            with its id, name, color, pixels, share and confidence, the size as [width, height],
            where the weights came from, and the seconds it took.
        """
        opacity = OPACITY if opacity is None else opacity  # a cleared number sends none
        network = network or first
        try:
            image = Given.of(photo).open()
            if network not in list(networks):  # a list, as it may be something without a hash
                raise InputError(f"Network is {network!r}, but must be {' or '.join(networks)}.")
            found = networks[network](image, stride)
            pictures = (found.palette_png(), "labels"), (found.overlay(image, opacity), "overlay")
        except InputError as error:
            raise gr.Error(str(error), print_exception=False) from error
        labels, overlay = (offer(encode_png(one), f"{name}.png")["path"] for one, name in pictures)
        return labels, overlay, found.summary()

    return segment
