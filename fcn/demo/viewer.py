"""The live overlay: a photo under its segments, and a legend whose sliders recolour it.

The server sends a photo, a mask and a table; the scripts in ``web`` blend and recolour in the
browser, so that no slider costs a request. The convention: the mask is deflated bytes, a class id
for each pixel and then a confidence in 255ths for each, which a browser inflates without a way
through a canvas. The template is constant and the script writes every name as text: class names
come with the weights, and weights may come from anyone.
"""

import time
import zlib
from collections.abc import Mapping, Sequence
from io import BytesIO
from pathlib import Path
from typing import Any

import gradio as gr
import numpy as np
from gradio.data_classes import FileData
from PIL import Image

from ..inference.fusion import STRIDES
from ..palette import BACKGROUND, hex_code, safe_colors
from ..segmentation import Segmentation, encode_png
from .photo_input import offer

WEB = Path(__file__).parent / "web"
SCRIPTS = ("keep.js", "viewer.js", "paint.js", "legend.js", "stage.js", "save.js", "controls.js")
LONGEST_SIDE = 1600  # pixels of a photo on the page
QUIET: dict[str, Any] = {"show_progress": "hidden", "api_visibility": "private"}  # of events
SMALL = 640 * 480  # pixels up to which a photo goes to the browser as it is, as PNG

TEMPLATE = """
<figure class="fcn" data-state="empty" aria-label="Segments">
  <div class="fcn-view">
    <div class="fcn-stage" tabindex="-1">
      <canvas role="img" aria-label="No photo" width="1" height="1" tabindex="0"></canvas>
      <p class="fcn-blank" aria-hidden="true"></p>
      <span class="fcn-chip" hidden></span><span class="fcn-chip" hidden></span>
      <span class="fcn-chip" hidden></span>
      <div class="fcn-divider" role="slider" tabindex="0" aria-valuemin="0" aria-valuemax="100"
        aria-valuenow="0" aria-label="Divider" hidden></div>
      <div class="fcn-divider" role="slider" tabindex="0" aria-valuemin="0" aria-valuemax="100"
        aria-valuenow="0" aria-label="Divider" hidden></div>
      <div class="fcn-scale" role="img" aria-label="Scale from 0 % sure, dark, to 100 %, yellow"
        hidden>0 %<i></i>100 % sure</div>
      <div class="fcn-corner" role="group" aria-label="Zoom">
        <button type="button" class="fcn-in" aria-label="Zoom in">+</button>
        <button type="button" class="fcn-out" aria-label="Zoom out">−</button>
        <button type="button" class="fcn-reset" aria-label="Reset zoom">⤢</button>
        <button type="button" class="fcn-keys" aria-label="Keys">?</button>
      </div>
      <div class="fcn-bar" role="progressbar" aria-label="Segmenting" hidden><i></i></div>
      <button type="button" class="fcn-cancel" hidden>Cancel</button>
      <div class="fcn-tip" aria-hidden="true" hidden></div>
    </div>
    <div class="fcn-looks">
      <div class="fcn-switch fcn-views" role="radiogroup" aria-label="View">
        <label><input type="radio" name="fcn-view" value="overlay" checked><span>Overlay</span>
        </label><label><input type="radio" name="fcn-view" value="colours"><span>Colours</span>
        </label><label><input type="radio" name="fcn-view" value="outlines"><span>Outlines</span>
        </label><label><input type="radio" name="fcn-view" value="confidence">
        <span>Confidence</span></label>
      </div>
      <div class="fcn-compare">Compare
        <div class="fcn-switch" role="radiogroup" aria-label="Compare">
          <label><input type="radio" name="fcn-compare" value="off" checked><span>Off</span>
          </label><label><input type="radio" name="fcn-compare" value="photo"><span>Photo</span>
          </label><label>
          <input type="radio" name="fcn-compare" value="strides"><span>32s 16s 8s</span></label>
        </div>
      </div>
    </div>
    <div class="fcn-words"><div><p class="fcn-status" role="status"></p>
      <p class="fcn-save" role="group" aria-label="Save">Save
        <span class="fcn-size" title="The API answers at the photo's own size" hidden></span>
        <button disabled class="fcn-save-mask" aria-label="Save mask as PNG">Mask</button>
        <button disabled class="fcn-save-overlay" aria-label="Save overlay as PNG">Overlay</button>
        <button disabled class="fcn-save-json" aria-label="Save summary as JSON">JSON</button>
      </p></div>
      <p class="fcn-caution" role="status"></p><p class="fcn-spoken" role="status"></p></div>
  </div>
  <div class="fcn-legend" role="group" aria-label="Classes">
    <div class="fcn-head"><label><input class="fcn-covered" type="checkbox" checked
        aria-label="Show overlay">Overlay</label>
      <input class="fcn-overlay fcn-range" type="range" min="0" max="1" step="0.01" value="0.6"
        aria-label="Overlay opacity">
      <output class="fcn-overlay-text"></output></div>
    <div class="fcn-head"><span>Fade unsure</span>
      <input class="fcn-unsure fcn-range" type="range" min="0" max="1" step="0.01" value="0"
        aria-label="Fade unsure pixels">
      <output class="fcn-unsure-text"></output></div>
    <div class="fcn-tools">Show <button type="button" class="fcn-all">all</button>
      <button type="button" class="fcn-none">none</button>
      <select class="fcn-palettes" aria-label="Palette" hidden>
        <option value="safe">Colour-blind safe</option><option value="own">Data set’s own</option>
      </select></div>
    <input class="fcn-filter" type="search" placeholder="Find a class" aria-label="Find a class"
      hidden>
    <div class="fcn-rows"><table>
      <thead><tr><th scope="col"><span class="fcn-spoken">Shown</span></th>
        <th scope="col">Class</th><th scope="col">Share</th><th scope="col">Sure</th>
        <th scope="col">Opacity</th></tr></thead>
      <tbody></tbody></table></div>
  </div>
  <dialog aria-labelledby="fcn-keys">
    <h2 id="fcn-keys">Keys</h2>
    <dl>
      <dt><kbd>O</kbd></dt><dd>overlay on or off</dd>
      <dt><kbd>N</kbd> <kbd>P</kbd></dt><dd>only the next or the previous class</dd>
      <dt><kbd>Esc</kbd></dt><dd>all classes again</dd>
      <dt><kbd>V</kbd></dt><dd>next view</dd>
      <dt><kbd>C</kbd></dt><dd>next comparison</dd>
      <dt><kbd>+</kbd> <kbd>-</kbd> <kbd>0</kbd></dt><dd>zoom in, out, reset</dd>
      <dt><kbd>Ctrl</kbd> + wheel</dt><dd>zoom where the pointer is</dd>
      <dt><kbd>← ↑ ↓ →</kbd></dt><dd>move a slider, a divider, or the zoomed photo</dd>
    </dl>
    <label><input class="fcn-anywhere" type="checkbox" checked>
      Keys work anywhere on the page, not only on the photo</label>
    <form method="dialog"><button>Close</button></form>
  </dialog>
</figure>
"""


def read_web(*names: str) -> str:
    """Put files of ``web`` together, in this order."""
    return "\n".join((WEB / name).read_text(encoding="utf-8") for name in names)


def build_viewer(value: dict[str, Any] | None = None) -> gr.HTML:
    """Place the live overlay on the page.

    Its events ask: ``segment`` for a ``result`` or ``failure`` of the new photo, ``again`` for that
    of the photo in its own value, ``strides`` for ``strides`` of its own value, ``lesson`` for the
    lesson, which is open, to be of its own value, ``cancel`` for an end of the run, and ``forget``
    for an empty photo input.

    Args:
        value: What it opens with: ``result`` or None.

    Returns:
        A component whose values are those of the functions below, or None for no photo.
    """
    return gr.HTML(
        value,
        html_template=TEMPLATE,
        css_template=read_web("viewer.css"),
        js_on_load=read_web(*SCRIPTS),
        apply_default_css=False,
        elem_id="viewer",
        longest=LONGEST_SIDE,
    )


def result(
    photo: Image.Image,
    segmentation: Segmentation,
    *,
    name: str = "photo",
    file: str = "",
    trained: Sequence[int] = STRIDES,
    message: str = "",
    caution: str = "",
    opacity: float = 1.0,
) -> dict[str, Any]:
    """Describe a segmented photo to the viewer.

    Args:
        photo: RGB, of the segmentation's size.
        segmentation: What was found in it.
        name: What files to take away are called, without an ending.
        file: An upload that the browser shows as this photo, and may have decoded already.
        trained: The strides that may be compared, coarse to fine; the last is the segmentation's.
        message: A line under the photo.
        caution: A second, more urgent line.
        opacity: The most that the overlay starts with; the visitor's own choice may be less.

    Returns:
        JSON types; pictures as files in Gradio's cache.
    """
    return {
        **_payload("done", message, caution),
        **_layer(segmentation),
        "photo": FileData(path=file).model_dump() if file else offer(*_encode(photo)),
        "name": name,
        "trained": list(trained),
        "opacity": opacity,
        "weights": segmentation.weights,
        "seconds": round(segmentation.seconds, 3),
    }


def strides(run: object, segmentations: Mapping[int, Segmentation]) -> dict[str, Any]:
    """Describe the photo of a ``result`` as segmented at other strides.

    Args:
        run: What the result has under this name; the viewer drops what is about another photo.
        segmentations: Stride to segmentation, at the photo's size.
    """
    layers = {str(stride): _layer(one) for stride, one in segmentations.items()}
    return {"state": "strides", "run": run, "strides": layers}


def failure(message: str) -> dict[str, Any]:
    """Describe to the viewer why there is nothing to see."""
    return _payload("failed", message)


def mask_of(segmentation: Segmentation) -> bytes:
    """The class ids and then the confidences in 255ths, row by row, deflated."""
    sure = np.rint(segmentation.confidence * 255).astype(np.uint8)
    return zlib.compress(np.concatenate([segmentation.labels, sure]).tobytes(), 1)


def _payload(state: str, message: str, caution: str = "") -> dict[str, Any]:
    # Gradio tells the browser about changes only, and the same sentence twice would be none.
    run = time.time_ns() // 1000
    return {"state": state, "run": run, "message": message, "caution": caution}


def _layer(segmentation: Segmentation) -> dict[str, Any]:
    safe = safe_colors(segmentation.classes)
    classes = [
        {
            **one,
            "safe": hex_code(safe[one["id"]]) if safe else None,
            "painted": one["name"] != BACKGROUND,
        }
        for one in segmentation.summary()["classes"]
    ]
    classes.sort(key=lambda one: not one["painted"])  # stable: the background comes last
    return {"mask": offer(mask_of(segmentation), "mask.zlib"), "classes": classes}


def _encode(photo: Image.Image) -> tuple[bytes, str]:
    if photo.width * photo.height <= SMALL:
        return encode_png(photo), "photo.png"
    file = BytesIO()
    photo.save(file, "JPEG", quality=92, subsampling=0)  # WebP takes far longer
    return file.getvalue(), "photo.jpg"
