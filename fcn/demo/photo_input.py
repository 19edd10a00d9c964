"""The photos of the page and the API, and the rules for files that go to and fro.

The convention: an upload travels as a name and a path, and the handler of an event opens it, at
the size that it needs, and says in the page's own way and not Gradio's what is wrong with it. Only
what came through this server is opened, and nothing is fetched from elsewhere.
"""

import secrets
from contextlib import suppress
from pathlib import Path
from typing import Any, NamedTuple, Self

import gradio as gr
from gradio import processing_utils, routes
from gradio.data_classes import FileData
from gradio.utils import get_upload_folder, is_in_or_equal
from PIL import Image
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import Response

from ..photo import PhotoError
from .decoder import Decoder, decode

NO_LINKS = "Send the file itself, not a link to it."


class Given(NamedTuple):
    """An upload, not opened yet.

    Attributes:
        name: What it is called, with its ending.
        path: Where a browser or a program says that it is; empty if there is none. A browser knows
            by it which of its uploads an answer is about.
    """

    name: str
    path: str

    @classmethod
    def of(cls, value: dict[str, Any] | None) -> Self:
        """Take what an image input holds, as an event without Gradio's ``preprocess`` gets it.

        Gradio itself would open the photo, wherever it is said to lie and at its full size, and
        say of a bad one what it likes.
        """
        value = value or {}
        path, url = value.get("path") or "", value.get("url") or ""
        if url.startswith("data:"):  # as the API's schema offers
            with suppress(ValueError):  # it is no base64: there is no photo
                path = processing_utils.save_base64_to_cache(url, get_upload_folder())
        return cls(value.get("orig_name") or Path(path).name, path)

    @property
    def stem(self) -> str:
        """The name without its ending."""
        return Path(self.name).stem

    def check(self) -> Self:
        """Insist that it came through this server and was not swept since.

        Gradio asks that of a file too, but not where a program leaves ``meta`` out of what it sends
        in place of an image.

        Raises:
            PhotoError: If it did not, or was.
        """
        if not (is_in_or_equal(self.path, get_upload_folder()) and Path(self.path).is_file()):
            raise PhotoError(f"{self.name} is not here any more: upload it again.")
        return self

    def open(self, longest: int = 0) -> Image.Image:
        """Open it as RGB, scaled down to a longer side of so many pixels unless that is 0.

        Raises:
            PhotoError: If it is not here, or is no photo.
        """
        return self.decode(longest)[0]

    def decode(self, longest: int, by: Decoder = decode) -> tuple[Image.Image, bool]:
        """Open it, and tell whether browsers show the file like that, see ``Decoder``."""
        if not self.path:
            raise PhotoError("There is no photo: upload one.")
        return by(self.check().path, self.name, longest)


async def _refuse_link(url: str, cache_dir: str) -> str:
    raise gr.Error(NO_LINKS, print_exception=False)


async def _refuse_address(url: str, request: Request) -> Response:
    raise HTTPException(403, "Nothing is fetched from elsewhere.")


def refuse_links() -> None:
    """Answer with a sentence where a visitor sends a link in a file's place, to any component.

    Gradio would fetch it itself, all of it into memory and for as long as that takes, before it
    asks any component, and while others wait; and it passes on what any address has, without end.
    It has no setting for either, only these functions.
    """
    processing_utils.async_ssrf_protected_download = _refuse_link
    routes.secure_url_stream_response = _refuse_address


def sent(name: str, path: object) -> Given:
    """Take a file that a browser names, if it came through this server and was not swept since.

    Raises:
        PhotoError: If it did not, or was.
    """
    return Given(name, path if isinstance(path, str) else "").check()


def shown_photo(value: Any) -> Given:
    """The photo that a browser says its viewer shows, by the viewer's value.

    Raises:
        PhotoError: If it did not come through this server, or was swept since.
        LookupError, TypeError, AttributeError: If it is no value of a viewer that shows one.
    """
    path = value.get("of") or value["photo"]["path"]
    return sent(f"{value['name']}{Path(path).suffix}", path)


def offer(content: bytes, name: str) -> dict[str, Any]:
    """Write a file that a browser may fetch, as Gradio's values name files."""
    # Gradio's own function would write a file of the same content anew while it is being sent.
    path = Path(get_upload_folder(), secrets.token_hex(16), name)
    path.parent.mkdir(parents=True)
    path.write_bytes(content)
    return FileData(path=str(path)).model_dump()
