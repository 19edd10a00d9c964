"""The Space: what its folder holds, how it is made and moved, and that it runs from its files."""

import json
import subprocess
import sys
from collections.abc import Iterator
from importlib.metadata import version
from pathlib import Path
from urllib.request import urlopen

import numpy as np
import pytest
from fakehub import READ_TOKEN, TOKEN, FakeHub, Fault
from hub_client import ROOT, HubClient, environment, serve_app
from huggingface_hub import RepoCard
from PIL import Image

from fcn.demo.lesson import MODULES
from fcn.demo.model_tab import ENGINE_TITLES
from fcn.inference.engines import ONNX_NAME
from fcn.segmenter import Segmenter


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("home")


@pytest.fixture(scope="module")
def hub(hub: FakeHub) -> FakeHub:
    """A Hub with a model of two revisions; only the second has an int8 file."""
    whole = {"config.json": b"{}", "model.safetensors": b"\0float", "metrics.json": b"{}"}
    hub.put("me/model", whole, "v1")
    hub.put("me/model", {**whole, ONNX_NAME: b"\0int8"}, "v2")
    return hub


@pytest.fixture(scope="module")
def client(hub: FakeHub, home: Path) -> Iterator[HubClient]:
    with HubClient(hub.url, home, TOKEN) as client:
        yield client
    assert TOKEN not in client.said


def rehearse(client: HubClient, folder: Path, *flags: str) -> tuple[str, dict[str, object]]:
    """The requirements and the front matter that a dry run writes."""
    answer = client.run("space", "me/demo", "--dry-run", folder, *flags)
    assert ("FCN_MODEL=" in answer["out"]) == ("--model" in flags)
    assert answer["status"] == 0, answer["err"]
    card = RepoCard.load(folder / "README.md")
    return (folder / "requirements.txt").read_text(), card.data.to_dict()


def test_a_dry_run_asks_nothing_of_the_hub_and_writes_what_the_page_needs(
    client: HubClient, hub: FakeHub, root: Path, tmp_path: Path
) -> None:
    hub.requests.clear()
    _, front = rehearse(client, tmp_path / "dry")
    assert hub.requests == []
    ours = RepoCard.load(root / "README.md").data.to_dict()
    assert {key: front[key] for key in ours} == ours
    assert front["sdk_version"] == version("gradio")
    assert front["python_version"] == "3.11"
    written = {one.relative_to(tmp_path / "dry").as_posix() for one in tmp_path.rglob("*")}
    assert {"app.py", "LICENSE", "fcn/hub/pull.py"} <= written
    assert {"fcn/demo/page.py", "fcn/demo/web/viewer.js"} <= written
    assert {f"fcn/{module}.py" for module in MODULES} <= written
    assert "checkpoints/street/config.json" in written
    assert (
        not {"train.py", "fcn/training/trainer.py", "fcn/hub/space.py", "tests", "docs"} & written
    )
    assert not any("__pycache__" in one for one in written)
    # Whatever else lies about in the package stays here.
    package = {one.suffix for one in (tmp_path / "dry" / "fcn").rglob("*") if one.is_file()}
    assert package == {".py", ".css", ".js"}


def test_int8_weights_on_a_cpu_need_no_torch(client: HubClient, tmp_path: Path) -> None:
    lean, front = rehearse(client, tmp_path / "lean", "--model", "me/model@v2")
    assert "torch" not in lean
    assert {"gradio", "onnxruntime", "huggingface-hub"} <= {
        line.split(">")[0] for line in lean.splitlines()
    }
    assert front["models"] == ["me/model"]
    (preload,) = front["preload_from_hub"]
    assert preload.startswith(f"me/model config.json,metrics.json,{ONNX_NAME} ")
    assert list((tmp_path / "lean").rglob("*.safetensors")) == []


@pytest.mark.parametrize(
    "flags", [("--model", "me/model@v1"), ("--model", "me/model@v2", "--hardware", "t4-small")]
)
def test_other_weights_and_a_gpu_need_torch(
    client: HubClient, hub: FakeHub, tmp_path: Path, flags: tuple[str, ...]
) -> None:
    requirements, front = rehearse(client, tmp_path / "full", *flags)
    assert "torch>=" in requirements
    tag = flags[1].partition("@")[2]
    commit = hub.model("me/model").tags[tag]
    (preload,) = front["preload_from_hub"]
    assert "model.safetensors" in preload
    assert preload.endswith(f" {commit}")
    assert front["suggested_hardware"] == ("t4-small" if "t4-small" in flags else "cpu-basic")


def test_zero_gpu_serves_int8_weights_alone(
    client: HubClient, hub: FakeHub, tmp_path: Path
) -> None:
    flags = "--hardware", "zero-a10g", "--model"
    requirements, front = rehearse(client, tmp_path / "zero", *flags, "me/model@v2")
    assert "torch" not in requirements
    assert front["suggested_hardware"] == "zero-a10g"
    assert front["python_version"] == "3.12.12"
    answer = client.run("space", "me/zero", *flags, "me/model@v1")
    assert answer["status"] == 1
    assert "add them with `python -m fcn export`" in answer["err"]
    assert ("space", "me/zero") not in hub.repos


def test_zero_gpu_finds_the_function_that_it_asks_for(
    hub: FakeHub, tiny_int8: Path, tmp_path: Path
) -> None:
    """With the package that such a Space has; with torch, for which it plays a GPU."""
    Image.new("RGB", (160, 120)).save(tmp_path / "photo.png")
    variables = environment(hub.url, tmp_path / "home", "")
    variables |= {"SPACES_ZERO_GPU": "true", "SPACES_ZERO_DEVICE_API_URL": hub.url}
    variables |= {"FCN_MODEL": str(tiny_int8)}
    with serve_app(ROOT, tmp_path / "log", variables) as served:
        assert "POST /startup-report" in hub.requests
        with urlopen(f"{served.url}config") as answer:
            assert ENGINE_TITLES["onnx"] in answer.read().decode()
        served.segment(tmp_path / "photo.png")


def test_a_space_may_serve_several_and_goes_on_to(client: HubClient, hub: FakeHub) -> None:
    models = "me/model@v2 me/model@v1"
    client.run("space", "me/both", "--model", models)
    space = hub.space("me/both")
    assert space.variables["FCN_MODEL"]["value"] == models
    assert "torch>=" in space.head.files["requirements.txt"].decode()  # for v1
    answer = client.run("space", "me/both")
    assert answer["out"].endswith(f"serves {models}.\n")
    front = RepoCard(space.head.files["README.md"].decode()).data.to_dict()
    commits = [hub.model("me/model").tags[tag] for tag in ("v2", "v1")]
    assert [one.rpartition(" ")[2] for one in front["preload_from_hub"]] == commits


def test_a_space_is_made_moved_and_moved_back(client: HubClient, hub: FakeHub) -> None:
    answer = client.run("space", "me/demo", "--model", "me/model@v1")
    assert answer["out"] == f"{hub.url}/spaces/me/demo serves me/model@v1.\n"
    space = hub.space("me/demo")
    assert space.variables["FCN_MODEL"]["value"] == "me/model@v1"
    assert space.hardware == "cpu-basic"
    assert "torch>=" in space.head.files["requirements.txt"].decode()
    assert ".gitattributes" in space.head.files
    space.head.files["stale.py"] = b"of an older version"

    client.run("space", "me/demo", "--model", "me/model@v2")
    assert space.variables["FCN_MODEL"]["value"] == "me/model@v2"
    assert "torch>=" not in space.head.files["requirements.txt"].decode()
    assert "stale.py" not in space.head.files

    restarts = space.restarts
    client.run("space", "me/demo", "--model", "me/model@v1")
    assert space.variables["FCN_MODEL"]["value"] == "me/model@v1"
    assert space.restarts == restarts + 1


def test_a_space_keeps_its_weights_and_its_hardware(client: HubClient, hub: FakeHub) -> None:
    client.run("space", "me/kept", "--model", "me/model@v2", "--hardware", "t4-small")
    space = hub.space("me/kept")
    commits = len(space.commits)
    answer = client.run("space", "me/kept")
    assert answer["out"].endswith("serves me/model@v2.\n")
    assert (space.hardware, len(space.commits)) == ("t4-small", commits)
    client.run("space", "me/kept", "--hardware", "cpu-basic")
    assert space.hardware == "cpu-basic"
    assert "torch>=" not in space.head.files["requirements.txt"].decode()


def test_a_space_of_something_else_is_left_alone(client: HubClient, hub: FakeHub) -> None:
    client.run("space", "me/other")
    space = hub.space("me/other")
    del space.head.files["fcn/segmenter.py"]
    files, commits = dict(space.head.files), len(space.commits)
    answer = client.run("space", "me/other")
    assert answer["status"] == 1
    assert "me/other is a Space of something else: it holds LICENSE" in answer["err"]
    assert (space.head.files, len(space.commits)) == (files, commits)
    # One that was made on the web has these two files from the start.
    for name in files.keys() - {".gitattributes", "README.md"}:
        del space.head.files[name]
    assert client.run("space", "me/other")["status"] == 0
    assert "app.py" in space.head.files


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        (["me/x", "--model", "me/none"], "me/none is not on the Hub"),
        (["me/x", "--model", "model"], "neither a folder nor USER/NAME"),
        (["me/x", "--model", "tests"], "'tests' is here, but a name on the Hub is needed"),
        (["me/x", "--hardware", "abacus"], "There is no hardware 'abacus'; choose from cpu-basic"),
        (["me/x@v1"], "has a revision"),
        (["you/x"], "neither that user nor an organisation"),
    ],
)
def test_what_cannot_be_a_space_is_told_and_none_is_made(
    client: HubClient, hub: FakeHub, arguments: list[str], told: str
) -> None:
    answer = client.run("space", *arguments)
    assert answer["status"] == 1
    assert told in answer["err"]
    assert len(answer["err"].splitlines()) == 1
    assert ("space", "me/x") not in hub.repos


def test_faults_while_a_space_is_made_end_in_one_sentence(client: HubClient, hub: FakeHub) -> None:
    for fault, told, patience in (
        (Fault("status", 403, "variables"), "The Hub forbids this for me/broken (403)", "60"),
        (Fault("status", 500, "commit"), "out of order (500)", "60"),
        (Fault("silence", 0, "restart"), "Nothing came from the Hub for 1 s", "1"),
    ):
        client.run("space", "me/broken", "--model", "me/model@v1")
        hub.faults["me/broken"] = fault
        answer = client.run(
            "space", "me/broken", "--model", "me/model@v2", FCN_PULL_TIMEOUT=patience
        )
        assert answer["status"] == 1
        assert told in answer["err"].splitlines()[-1]
        del hub.faults["me/broken"]
    answer = client.run("space", "me/broken", HF_TOKEN=READ_TOKEN)
    assert "may only read" in answer["err"]


def test_a_dry_run_overwrites_nothing(client: HubClient, tmp_path: Path) -> None:
    (tmp_path / "mine.txt").write_text("mine")
    answer = client.run("space", "me/demo", "--dry-run", tmp_path)
    assert answer["status"] == 1
    assert "is not empty" in answer["err"]
    assert [one.name for one in tmp_path.iterdir()] == ["mine.txt"]


def test_the_space_runs_in_an_environment_of_its_own_without_torch(
    client: HubClient, hub: FakeHub, tiny_int8: Path, tmp_path: Path, home: Path
) -> None:
    """Installs what the folder asks for, and nothing else, then asks the running page."""
    space, own = tmp_path / "space", tmp_path / "environment"
    photo = np.tile(np.arange(120, dtype=np.uint8)[:, None, None], (1, 160, 3))
    Image.fromarray(photo).save(tmp_path / "photo.png")
    client.run("push", tiny_int8, "me/tiny")
    commit = hub.model("me/tiny").head.oid
    rehearse(client, space, "--model", f"me/tiny@{commit}")

    subprocess.run([sys.executable, "-m", "venv", own], check=True)
    python = str(own / "bin" / "python")
    install = [python, "-m", "pip", "install", "--quiet", "-r", str(space / "requirements.txt")]
    subprocess.run(install, check=True)
    listed = subprocess.run(
        [python, "-m", "pip", "list", "--format", "json"], capture_output=True, check=True
    )
    assert "torch" not in {one["name"] for one in json.loads(listed.stdout)}

    variables = environment(hub.url, tmp_path / "home", "")
    variables |= {"FCN_MODEL": f"me/tiny@{commit} me/model@v1", "PYTHONPATH": ""}
    hub.requests.clear()
    with serve_app(space, tmp_path / "log", variables, python) as served:
        assert f"me/tiny, revision {commit[:8]}." in served.about()
        assert f"me/model@v1 has no {ONNX_NAME}, and without torch nothing" in served.about()
        labels, summary = served.segment(tmp_path / "photo.png")
    assert summary["weights"] == f"me/tiny@{commit[:8]}"
    expected = Segmenter.load(tiny_int8, "onnx")(Image.open(tmp_path / "photo.png")).labels
    np.testing.assert_array_equal(labels, expected)
    assert not any("safetensors" in line for line in hub.requests)
