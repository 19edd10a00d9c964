"""What tests share: the real data, a tiny checkpoint, and where the project's parts lie."""

import atexit
import copy
import os
import shutil
import tempfile
from collections.abc import Callable, Iterator, Sequence
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import pytest
import torch
from accelerate.state import AcceleratorState
from fakehub import FakeHub

from fcn import checkpoint, saving
from fcn.data import datasets
from fcn.data.shapes import SHAPES, draw_scene
from fcn.model import FCN
from fcn.palette import distinct
from fcn.training import fitting

if TYPE_CHECKING:  # or every test would wait for Gradio's import
    from playwright.sync_api import Browser
    from visiting import Served, Visitor

if "PYTEST_XDIST_WORKER" in os.environ:  # each has one of the cores, as have those that it starts
    os.environ.setdefault("OMP_NUM_THREADS", "1")
    torch.set_num_threads(1)

# The same numbers on every machine; CUDA_VISIBLE_DEVICES=0 asks for those of a GPU.
os.environ.setdefault("CUDA_VISIBLE_DEVICES", "")

# Where Gradio keeps files of a page; its usual folder has those of every page that ever ran here.
os.environ["GRADIO_TEMP_DIR"] = tempfile.mkdtemp(prefix="fcn-tests-")
atexit.register(shutil.rmtree, os.environ["GRADIO_TEMP_DIR"], ignore_errors=True)

ROOT = Path(__file__).parent.parent
CLASSES = list(SHAPES)
CALIBRATED_ON = ((96, 64), (72, 96), (96, 96))  # pixels of the drawn photos


@pytest.fixture(scope="session")
def root() -> Path:
    """The repository."""
    return ROOT


@pytest.fixture(scope="session")
def real_data() -> Path:
    """The folder with CamVid, VOC 2012 and Scene Parsing's sample (``FCN_DATA``)."""
    if "FCN_DATA" not in os.environ and "CI" not in os.environ:
        pytest.skip("FCN_DATA does not name a folder of real data")
    return Path(os.environ["FCN_DATA"])


@pytest.fixture(autouse=True)
def fresh_accelerate() -> Iterator[None]:
    """Let each test choose its own precision: Accelerate keeps one for the whole process."""
    yield
    AcceleratorState._reset_state(reset_partial_state=True)


@pytest.fixture(autouse=True)
def scores_few(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let runs be scored, and choose how they are served, on few photos: most of their time."""
    monkeypatch.setattr(fitting, "PHOTOS", 10)
    monkeypatch.setattr(fitting, "TRAINING_PHOTOS", 10)
    monkeypatch.setitem(datasets.SHAPES_COUNT, "val", 10)


def build_tiny(classes: Sequence[str], **arguments: object) -> FCN:
    """A network with random weights that answers with every one of its classes."""
    model = copy.deepcopy(_build_tiny(tuple(classes), **arguments))
    torch.manual_seed(1)  # for what is drawn next, whether it had to be built or not
    return model


@cache
def _build_tiny(classes: tuple[str, ...], **arguments: object) -> FCN:
    torch.manual_seed(0)
    palette = [list(color) for color in distinct(len(classes))]
    # Tests give any of FCN's arguments, of many types.
    model = FCN(classes, palette, width=8, **{"inference_size": 96, **arguments})  # type: ignore[arg-type]
    for layer in (model.head.score_fr, model.head.score_pool4, model.head.score_pool3):
        torch.nn.init.normal_(layer.weight)
    with torch.no_grad():
        model.head.calibrate(model.features(torch.rand(1, 3, 96, 96)))
    return model.eval()


@pytest.fixture(scope="session")
def tiny_checkpoint(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A whole checkpoint folder of random weights for the classes of ``shapes``."""
    folder = tmp_path_factory.mktemp("checkpoints") / "tiny"
    metrics = {"mean_iou": 0.125, "dataset": "shapes", "split": "val"}
    saving.write(folder, build_tiny(CLASSES))
    checkpoint.write_json(folder / "metrics.json", metrics)
    return folder


@pytest.fixture(scope="session")
def tiny_int8(tiny_checkpoint: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A copy of it with its int8 file."""
    from fcn.export import export_checkpoint

    folder = shutil.copytree(tiny_checkpoint, tmp_path_factory.mktemp("int8") / "tiny")
    photos = [draw_scene(seed)[0].resize(size) for seed, size in enumerate(CALIBRATED_ON)]
    export_checkpoint(folder, [np.array(photo) for photo in photos])
    return folder


@pytest.fixture(scope="session")
def real_weights(real_data: Path) -> Path:
    """ImageNet's VGG16 convolutions, beside the real data."""
    return real_data.parent / "weights" / "vgg16_features.safetensors"


@pytest.fixture(scope="module")
def hub() -> Iterator[FakeHub]:
    """A Hub on this machine, which must not have met a request that it does not know."""
    with FakeHub() as hub:
        yield hub
    assert hub.errors == []


@pytest.fixture(scope="session")
def served() -> Iterator["Served"]:
    """The page, with an engine that goes by colour."""
    from visiting import by_color, serve

    yield from serve(by_color())


@pytest.fixture(scope="session")
def chromium() -> Iterator["Browser"]:
    """A browser for the whole session."""
    from visiting import browse

    yield from browse()


@pytest.fixture
def visit(chromium: "Browser", served: "Served") -> Iterator[Callable[..., "Visitor"]]:
    """A function that opens the page in a fresh tab, of a width and a colour scheme."""
    from visiting import visits

    yield from visits(chromium, served)


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    """Name the skips that CI does not allow."""
    for report in unexplained_skips(terminalreporter):
        terminalreporter.write_line(f"CI allows no skip here: {report.nodeid}", red=True)


def pytest_sessionfinish(session: pytest.Session) -> None:
    """In CI, fail on any skip that is not for want of a GPU."""
    reporter = session.config.pluginmanager.get_plugin("terminalreporter")
    if reporter is not None and unexplained_skips(reporter):
        session.exitstatus = pytest.ExitCode.TESTS_FAILED


def unexplained_skips(reporter: pytest.TerminalReporter) -> list[pytest.TestReport]:
    """The skipped tests whose reason is not a missing GPU; none outside CI."""
    if "CI" not in os.environ:
        return []
    return [one for one in reporter.stats.get("skipped", []) if "GPU" not in str(one.longrepr)]
