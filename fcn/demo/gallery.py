"""Several photos at once: each a row that opens in the viewer, and one ZIP of all results.

The browser uploads the photos one by one and names the files; the server answers with the whole
list again after each photo. The convention: a photo that cannot be used is a row with a sentence,
and the others go on.
"""

import json
import os
import re
import shutil
import tempfile
from collections.abc import Iterator, Sequence
from dataclasses import replace
from io import BytesIO
from pathlib import Path
from typing import Any
from zipfile import ZipFile

import gradio as gr
from gradio.data_classes import FileData
from gradio.utils import get_upload_folder
from PIL import Image

from ..errors import InputError
from ..palette import Color, safe_colors
from ..photo import MAX_MEGABYTES
from ..segmentation import Segmentation, choose_stems, encode_png
from ..segmenter import Segmenter
from . import rle
from .answer import listed, named, result_for_page
from .decoder import decode_listed
from .photo_input import offer, sent
from .viewer import LONGEST_SIDE, read_web

MOST = 24  # photos at once
THUMBNAIL = (112, 112)
SCRIPTS = ("keep.js", "gallery.js")

TEMPLATE = f"""
<section aria-label="Several photos" data-state="empty">
  <button type="button" class="several-choose">Several photos (up to {MOST})…</button>
  <input type="file" accept="image/*" multiple hidden aria-label="Several photos">
  <div class="several-run" hidden>
    <progress aria-label="Photos done"></progress>
    <button type="button" class="several-cancel">Cancel</button>
  </div>
  <p class="several-status" role="status"></p>
  <ul></ul>
  <a class="several-zip" hidden>Download all as ZIP</a>
</section>
"""


def build_gallery() -> gr.HTML:
    """Place the button, the progress bar and the list of results.

    Its event ``segment`` comes with the files of a run as its value and asks for ``segment_all``;
    its event ``cancel`` asks for an end of the run.
    """
    return gr.HTML(
        None,
        html_template=TEMPLATE,
        css_template=read_web("gallery.css"),
        js_on_load=read_web(*SCRIPTS),
        apply_default_css=False,
        elem_id="several",
        most=MOST,
    )


def segment_all(segmenter: Segmenter, given: Any) -> Iterator[dict[str, Any]]:
    """Segment photos one by one.

    Args:
        segmenter: What segments.
        given: What the browser sent: ``{"files": [{"name": ..., "path": ...}], "turn": ...,
            "palette": ...}``, a path being null where the upload failed and the palette that of the
            viewer, ``safe`` or ``own``. Nothing in it is trusted.

    Yields:
        The state of the list after each photo, with the ``turn`` and the network's name. Its
        ``zip`` is the file of all results so far: it is replaced at once, so that it is whole after
        a cancelled run too.
    """
    given = given if isinstance(given, dict) else {}
    files = _listed_files(given.get("files"))
    stems = choose_stems([Path(_file_name(name)) for name, _ in files])
    items: list[dict[str, Any]] = [{"name": name, "state": "waiting"} for name, _ in files]
    folder = Path(tempfile.mkdtemp(dir=get_upload_folder()))
    results = folder / "segments.zip"
    palette = segmenter.palette
    if given.get("palette") != "own" and (safe := safe_colors(segmenter.classes)):
        palette = tuple(safe)
    for i, ((name, path), stem) in enumerate(zip(files, stems, strict=True)):
        try:
            items[i] = _segment_one(segmenter, name, path, stem, results, palette)
        except InputError as error:
            items[i] = {"name": name, "state": "failed", "line": str(error)}
        file = FileData(path=str(results)).model_dump() if results.exists() else None
        told = {"turn": given.get("turn"), "network": segmenter.name}
        yield {**told, "items": list(items), "zip": file}


def _segment_one(
    segmenter: Segmenter,
    name: str,
    path: object,
    stem: str,
    results: Path,
    palette: tuple[Color, ...],
) -> dict[str, Any]:
    if path is None:
        limit = f"{MAX_MEGABYTES} MB"
        raise InputError(f"{name} could not be uploaded: it may be larger than {limit}.")
    photo, _ = sent(name, path).decode(LONGEST_SIDE, decode_listed)
    segmentation = segmenter(photo)
    shown = replace(segmentation, palette=palette)
    overlay = shown.overlay(photo)
    _add(results, stem, shown, overlay)
    names = named(segmentation)
    payload = result_for_page(segmenter, photo, segmentation, stem)
    return {
        "name": name,
        "state": "done",
        "line": listed(names, 3) if names else "Nothing found",
        "thumbnail": _thumbnail(overlay),
        "payload": {**payload, "message": f"{name}: {payload['message']}"},
    }


def _listed_files(files: object) -> Sequence[tuple[str, object]]:
    if not isinstance(files, list):
        return []
    entries = [one for one in files if isinstance(one, dict)]
    return [(str(one.get("name", "photo")), one.get("path")) for one in entries[:MOST]]


def _file_name(name: str) -> str:
    """A name that every file system takes, and that leads out of no folder."""
    return re.sub(r"[^\w.() -]", "_", name).strip(". ")[-100:] or "photo"


def _add(results: Path, stem: str, segmentation: Segmentation, overlay: Image.Image) -> None:
    """Add a photo's three files to the ZIP, which is whole at any moment."""
    summary = segmentation.summary()
    masks = rle.encode(segmentation.labels)
    for one in summary["classes"]:
        one["rle"] = masks[one["id"]]
    draft = results.with_suffix(".part")
    if results.exists():
        shutil.copyfile(results, draft)
    with ZipFile(draft, "a") as archive:
        archive.writestr(f"{stem}.png", encode_png(segmentation.palette_png()))
        archive.writestr(f"{stem}_overlay.png", encode_png(overlay))
        archive.writestr(f"{stem}.json", json.dumps(summary, ensure_ascii=False))
    os.replace(draft, results)


def _thumbnail(overlay: Image.Image) -> dict[str, Any]:
    small, file = overlay.copy(), BytesIO()
    small.thumbnail(THUMBNAIL)
    small.save(file, "JPEG", quality=85)
    return offer(file.getvalue(), "thumbnail.jpg")
