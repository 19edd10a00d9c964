"""The live overlay: a photo under its segments, and a legend whose sliders recolour it.

The server sends two pictures and a table; ``viewer.js`` blends and recolours in the browser, so
that no slider costs a request. The convention: the mask is an RGB PNG without alpha (a browser
would multiply that into the colours) whose red is the class id and whose green is the confidence
in 255ths. The template is constant and the script writes every name as text: class names come
with the weights, and weights may come from anyone.
"""

import time
from io import BytesIO
from pathlib import Path
from typing import Any

import gradio as gr
import numpy as np
from gradio.data_classes import FileData
from gradio.processing_utils import save_bytes_to_cache
from gradio.utils import get_upload_folder
from PIL import Image

from .segmentation import BACKGROUND, Found, Segmentation

SMALL = 640 * 480  # pixels up to which a photo goes to the browser as it is, as PNG

TEMPLATE = """
<figure class="fcn" data-state="empty" aria-label="Segments">
  <div class="fcn-view">
    <div class="fcn-stage">
      <canvas role="img" aria-label="No photo" width="1" height="1"></canvas>
      <div class="fcn-bar" role="progressbar" aria-label="Segmenting" hidden><i></i></div>
      <div class="fcn-tip" aria-hidden="true" hidden></div>
    </div>
    <div class="fcn-words"><p class="fcn-status" role="status"></p>
    <p class="fcn-caution" role="status"></p></div>
  </div>
  <div class="fcn-legend" role="group" aria-label="Classes">
    <label class="fcn-head"><span>Overlay</span>
      <input class="fcn-overlay fcn-range" type="range" min="0" max="1" step="0.01" value="0.6"
        aria-label="Overlay opacity">
      <output class="fcn-overlay-text"></output></label>
    <p class="fcn-tools">Show <button type="button" class="fcn-all">all</button>
      <button type="button" class="fcn-none">none</button></p>
    <ul class="fcn-rows"></ul>
  </div>
</figure>
"""


def build_viewer(value: dict[str, Any] | None = None, elem_id: str = "viewer") -> gr.HTML:
    """Place the live overlay on the page.

    Args:
        value: What it opens with: ``result`` or None.
        elem_id: Its id in the page.

    Returns:
        A component whose values are those of ``result`` and ``failure``, or None for no photo.
    """
    here = Path(__file__).parent
    return gr.HTML(
        value,
        html_template=TEMPLATE,
        css_template=(here / "viewer.css").read_text(encoding="utf-8"),
        js_on_load=(here / "viewer.js").read_text(encoding="utf-8"),
        apply_default_css=False,
        elem_id=elem_id,
    )


def result(
    photo: Image.Image,
    segmentation: Segmentation,
    message: str = "",
    caution: str = "",
    opacity: float = 1.0,
) -> dict[str, Any]:
    """Describe a segmented photo to the viewer.

    Args:
        photo: RGB, of the segmentation's size.
        segmentation: What was found in it.
        message: A line under the photo.
        caution: A second, more urgent line.
        opacity: The most that the overlay starts with; the visitor's own choice may be less.

    Returns:
        JSON types; pictures as files in Gradio's cache.
    """
    found = sorted(segmentation.found(), key=lambda one: one.name == BACKGROUND)  # stable: last
    return {
        **_payload("done", message, caution),
        "photo": _cached(*_encode(photo), "photo"),
        "mask": _cached(_png(mask_of(segmentation)), "png", "mask"),
        "classes": [_entry(one) for one in found],
        "opacity": opacity,
    }


def failure(message: str) -> dict[str, Any]:
    """Describe to the viewer why there is nothing to see."""
    return _payload("failed", message)


def mask_of(segmentation: Segmentation) -> Image.Image:
    """The RGB picture of class ids (red) and confidences in 255ths (green)."""
    sure = np.rint(segmentation.confidence * 255).astype(np.uint8)
    return Image.fromarray(
        np.dstack([segmentation.labels, sure, np.zeros_like(sure)])  # (H, W, 3)
    )


def _payload(state: str, message: str, caution: str = "") -> dict[str, Any]:
    # Gradio tells the browser about changes only, and the same photo twice would be none.
    run = time.time_ns() // 1000
    return {"state": state, "run": run, "message": message, "caution": caution}


def _entry(found: Found) -> dict[str, Any]:
    return {
        "id": found.id,
        "name": found.name,
        "color": list(found.color),
        "share": found.share,
        "painted": found.name != BACKGROUND,
    }


def _encode(photo: Image.Image) -> tuple[bytes, str]:
    if photo.width * photo.height <= SMALL:
        return _png(photo), "png"
    file = BytesIO()
    photo.save(file, "JPEG", quality=92, subsampling=0)  # a tenth of the time that WebP takes
    return file.getvalue(), "jpg"


def _png(image: Image.Image) -> bytes:
    file = BytesIO()
    image.save(file, "PNG", compress_level=1)
    return file.getvalue()


def _cached(content: bytes, kind: str, name: str) -> dict[str, Any]:
    path = save_bytes_to_cache(content, f"{name}.{kind}", get_upload_folder())
    return FileData(path=path).model_dump()
