"""The project as a client of ``fakehub``, in a process of its own: it reads an address once.

As a program it takes a request a line and gives an answer a line, both JSON; ``HubClient`` starts
it and asks.
"""

import contextlib
import io
import json
import os
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Self
from urllib.request import urlopen

import numpy as np
from gradio_client import Client, handle_file
from PIL import Image

ROOT = Path(__file__).parent.parent


def environment(url: str, home: Path, token: str = "") -> dict[str, str]:
    """The environment of a process whose Hub is at ``url`` and whose cache is in ``home``."""
    kept = {key: value for key, value in os.environ.items() if not key.startswith(("HF_", "FCN_"))}
    return {
        **kept,
        "HF_ENDPOINT": url,
        "HF_HOME": str(home),
        "HF_TOKEN": token,
        "HF_HUB_DISABLE_TELEMETRY": "1",
        "FCN_PULL_TIMEOUT": "60",
        "OMP_NUM_THREADS": "1",
        "PYTHONPATH": str(ROOT),
        "PYTHONUNBUFFERED": "1",
    }


class HubClient:
    """Runs the project's commands against a Hub; a context manager.

    Attributes:
        said: All that it printed so far.
    """

    def __init__(self, url: str, home: Path, token: str) -> None:
        self.said = ""
        self.process = subprocess.Popen(
            [sys.executable, __file__],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            cwd=ROOT,
            env=environment(url, home, token),
        )

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *error: object) -> None:
        with self.process:
            self.process.kill()

    def ask(self, action: str, **given: Any) -> dict[str, Any]:
        """Let it do something; ``status``, ``out``, ``err`` and ``seconds`` are in the answer."""
        assert self.process.stdin is not None
        assert self.process.stdout is not None
        self.process.stdin.write(json.dumps({"action": action, **given}) + "\n")
        self.process.stdin.flush()
        line = self.process.stdout.readline()
        assert line, "the client ended"
        answer = json.loads(line)
        self.said += answer["out"] + answer["err"]
        return answer

    def run(self, *arguments: object, **variables: str) -> dict[str, Any]:
        """Run ``python -m fcn`` with some environment variables set."""
        return self.ask("run", arguments=[str(one) for one in arguments], variables=variables)


@dataclass
class Served:
    """An ``app.py`` that runs: its address, the seconds until it answered, and its log."""

    url: str
    seconds: float
    log: Path

    def about(self) -> str:
        """What the page says in HTML about its weights."""
        with urlopen(f"{self.url}config") as answer:
            components = json.load(answer)["components"]
        (about,) = (one for one in components if one["props"].get("elem_id") == "about")
        return about["props"]["value"]

    def segment(self, photo: Path) -> tuple[np.ndarray, dict[str, Any]]:
        """The labels (H, W) and the summary that ``/segment`` gives for a photo."""
        client = Client(self.url, verbose=False)
        answer = client.predict(handle_file(photo), api_name="/segment")
        with Image.open(answer[0]) as labels:
            return np.array(labels), next(one for one in answer if isinstance(one, dict))


@contextlib.contextmanager
def serve_app(
    folder: Path, log: Path, variables: dict[str, str], python: str = sys.executable
) -> Iterator[Served]:
    """Run a folder's ``app.py`` until the block ends."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    url, began = f"http://127.0.0.1:{port}/", time.monotonic()
    variables = {**variables, "GRADIO_SERVER_PORT": str(port)}
    with log.open("w") as out:
        process = subprocess.Popen(
            [python, "app.py"], cwd=folder, env=variables, stdout=out, stderr=subprocess.STDOUT
        )
    try:
        while True:
            assert process.poll() is None, log.read_text()
            assert time.monotonic() - began < 300, log.read_text()
            with contextlib.suppress(OSError), urlopen(f"{url}config", timeout=10):
                break
            time.sleep(0.1)
        yield Served(url, time.monotonic() - began, log)
    finally:
        process.terminate()
        process.wait(60)


@contextlib.contextmanager
def variables_set(variables: dict[str, str]) -> Iterator[None]:
    """Set environment variables for a while; an empty one is one that is not set."""
    before = dict(os.environ)
    os.environ.update(variables)
    for name in [name for name, value in variables.items() if not value]:
        del os.environ[name]
    try:
        yield
    finally:
        os.environ.clear()
        os.environ.update(before)


def run(arguments: list[str], variables: dict[str, str]) -> dict[str, Any]:
    """``python -m fcn``."""
    from fcn.__main__ import main

    with variables_set(variables):
        return {"status": main(arguments)}


def train(arguments: list[str], variables: dict[str, str]) -> dict[str, Any]:
    """``python train.py``."""
    from train import main

    with variables_set(variables):
        return {"status": main(arguments)}


def publish(run: str, model: str, space: str, force: bool) -> dict[str, Any]:
    """What ``train.py`` does after training."""
    from fcn.errors import InputError
    from fcn.hub import refresh

    try:
        refresh.publish(Path(run), model, space, force)
    except InputError as error:
        return {"error": str(error)}
    return {}


def load(models: list[str], bundled: str, timeout: str) -> dict[str, Any]:
    """What ``app.py`` would serve."""
    import app

    app.BUNDLED = Path(bundled)
    os.environ["FCN_PULL_TIMEOUT"] = timeout
    segmenters, note = app.load(models)
    sources = [one.source for one in segmenters]
    return {"sources": sources, "revisions": [one.revision for one in segmenters], "note": note}


def from_pretrained(repo_id: str, revision: str) -> dict[str, Any]:
    """The mixin's way to a network, as its classes and the sum of its parameters."""
    from fcn.model import FCN

    try:
        model = FCN.from_pretrained(repo_id, revision=revision)
    except OSError as error:
        return {"error": type(error).__name__}
    total = sum(value.double().sum() for value in model.state_dict().values())
    return {"classes": model.classes, "total": float(total)}


def segmenter(source: str) -> dict[str, Any]:
    """The project's way to a network that runs."""
    from fcn.segmenter import Segmenter

    loaded = Segmenter.load(source)
    return {"revision": loaded.revision, "metrics": loaded.metrics}


def about(model: str, note: str) -> dict[str, Any]:
    """What the page says in HTML of a network."""
    from fcn.demo import page
    from fcn.segmenter import Segmenter

    return {"about": page.about(Segmenter.load(model), note)}


def serve() -> None:
    """Answer requests until there are no more."""
    known = run, train, publish, load, from_pretrained, segmenter, about
    actions = {one.__name__: one for one in known}
    for line in sys.stdin:
        request = json.loads(line)
        out, err, start = io.StringIO(), io.StringIO(), time.monotonic()
        with contextlib.redirect_stdout(out), contextlib.redirect_stderr(err):
            answer = actions[request.pop("action")](**request)
        answer |= {"out": out.getvalue(), "err": err.getvalue()}
        print(json.dumps(answer | {"seconds": time.monotonic() - start}), flush=True)


if __name__ == "__main__":
    serve()
