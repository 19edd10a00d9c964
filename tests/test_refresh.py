"""From training to the page: push, serve, refresh, roll back, all from the command line."""

import json
import shlex
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from fakehub import TOKEN, FakeHub, Fault
from hub_client import ROOT, HubClient, environment, serve_app
from PIL import Image

from fcn import checkpoint
from fcn.data.datasets import open_dataset
from fcn.data.shapes import SHAPES
from fcn.errors import InputError
from fcn.hub import refresh
from fcn.segmenter import Segmenter

TINY = (
    "--backbone-weights none --width 8 --size 32 --crop 32 32 --batch-size 2 --workers 0 --steps 10"
    " --eval-every 10"
)


@pytest.fixture(scope="module")
def variables(hub: FakeHub, tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    """The environment of a process that talks to the Hub, with a token."""
    return environment(hub.url, tmp_path_factory.mktemp("home"), TOKEN)


def train(variables: dict[str, str], *flags: object) -> str:
    """Train from the command line and return what it printed."""
    command = [sys.executable, "train.py", *TINY.split(), *map(str, flags)]
    done = subprocess.run(
        command,
        cwd=ROOT,
        env={**variables, "OMP_NUM_THREADS": "2"},
        capture_output=True,
        text=True,
        check=False,
    )
    assert TOKEN not in done.stdout + done.stderr
    assert done.returncode == 0, done.stderr
    return done.stdout


@pytest.fixture(scope="module")
def run(
    hub: FakeHub,
    variables: dict[str, str],
    few_shapes: Path,
    tmp_path_factory: pytest.TempPathFactory,
) -> Path:
    """A run that was pushed as ``me/net``; the commit is tagged v1."""
    run = tmp_path_factory.mktemp("runs") / "shapes"
    data = ["--dataset", "folder", "--data", few_shapes]
    printed = train(variables, *data, "--output", run, "--push", "me/net")
    commit = hub.model("me/net").head.oid
    assert printed.endswith(f"Pushed: {hub.url}/me/net/commit/{commit}\n")
    hub.model("me/net").tags["v1"] = commit
    return run


@pytest.fixture(scope="module")
def few_shapes(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Two small pictures a split as files: soon trained on."""
    folder = tmp_path_factory.mktemp("data")
    for split in ("train", "val"):
        data = open_dataset("shapes", folder, split)
        for index in range(2):
            for kind, image in zip(("images", "masks"), data.read(index), strict=True):
                (folder / split / kind).mkdir(parents=True, exist_ok=True)
                small = Image.fromarray(np.asarray(image)[::2, ::2])
                small.save(folder / split / kind / f"{index}.png")
    (folder / "classes.txt").write_text("\n".join(SHAPES))
    return folder


@pytest.fixture(scope="module")
def photo(tmp_path_factory: pytest.TempPathFactory) -> Path:
    photo, _ = open_dataset("shapes", Path("unused"), "val").read(3)
    file = tmp_path_factory.mktemp("photos") / "photo.png"
    photo.save(file)
    return file


def test_what_was_trained_and_pushed_is_what_the_app_serves(
    hub: FakeHub, run: Path, photo: Path, variables: dict[str, str], tmp_path: Path
) -> None:
    commit = hub.model("me/net").head.oid
    with serve_app(ROOT, tmp_path / "log", {**variables, "FCN_MODEL": "me/net"}) as served:
        assert f"me/net, revision {commit[:8]}." in served.about()
        labels, summary = served.segment(photo)
    local = Segmenter.load(run)
    np.testing.assert_array_equal(labels, local(Image.open(photo)).labels)
    assert summary["weights"] == f"me/net@{commit[:8]}"
    log = served.log.read_text()
    assert f"Pulling me/net at {commit[:8]}: " in log
    assert TOKEN not in log


def test_what_was_pushed_has_a_card_and_no_trace_of_the_push(hub: FakeHub, run: Path) -> None:
    files = hub.model("me/net").head.files
    card = files["README.md"].decode()
    assert "model-index:" in card
    assert "license:" in card
    assert 'Segmenter.load("me/net")' in card
    assert any(name.endswith(".png") for name in files)
    assert not any("trainer.pt" in name for name in files)
    config = json.loads(files["training.json"])["config"]
    assert not {"push", "space", "force", "output", "token"} & set(config)
    for content in files.values():
        assert TOKEN.encode() not in content


def test_a_refresh_moves_the_space_and_the_next_start_but_not_what_is_pinned(
    hub: FakeHub,
    run: Path,
    few_shapes: Path,
    photo: Path,
    variables: dict[str, str],
    tmp_path: Path,
) -> None:
    first = hub.model("me/net").tags["v1"]
    command = [sys.executable, "-m", "fcn", "space", "me/demo", "--model"]
    subprocess.run([*command, "me/net@v1"], cwd=ROOT, env=variables, check=True)
    space = hub.space("me/demo")
    restarts = space.restarts

    recipe = checkpoint.resolve(run) / "training.json"
    flags = ["--config", recipe, "--data", few_shapes, "--steps", 20, "--force"]
    flags += ["--output", tmp_path / "new", "--push", "me/net", "--space", "me/demo"]
    printed = train(variables, *flags)
    second = hub.model("me/net").head.oid
    assert second != first
    assert f"{hub.url}/spaces/me/demo serves me/net@{second}." in printed
    assert space.variables["FCN_MODEL"]["value"] == f"me/net@{second}"
    assert space.restarts == restarts + 1

    for model, folder, commit in (
        ("me/net", tmp_path / "new", second),
        ("me/net@v1", run, first),
    ):
        with serve_app(ROOT, tmp_path / "log", {**variables, "FCN_MODEL": model}) as served:
            assert f"me/net, revision {commit[:8]}." in served.about()
            labels, _ = served.segment(photo)
        np.testing.assert_array_equal(labels, Segmenter.load(folder)(Image.open(photo)).labels)

    subprocess.run([*command, "me/net@v1"], cwd=ROOT, env=variables, check=True)
    assert space.variables["FCN_MODEL"]["value"] == "me/net@v1"
    assert space.restarts == restarts + 2


def test_a_hub_that_never_answers_leaves_the_page_on_bundled_weights(
    hub: FakeHub, variables: dict[str, str], tmp_path: Path
) -> None:
    hub.put("me/silent", {})
    hub.faults["me/silent"] = Fault("silence")
    given = {**variables, "FCN_MODEL": "me/silent", "FCN_PULL_TIMEOUT": "2"}
    with serve_app(ROOT, tmp_path / "log", given) as served:
        about = served.about()
    told = "me/silent is not in use: Nothing came from the Hub for 2 s."
    assert f"{told} These are bundled weights." in about
    assert told in served.log.read_text()


@pytest.fixture(scope="module")
def client(hub: FakeHub, tmp_path_factory: pytest.TempPathFactory) -> Iterator[HubClient]:
    with HubClient(hub.url, tmp_path_factory.mktemp("client"), TOKEN) as client:
        yield client
    assert TOKEN not in client.said


@pytest.mark.usefixtures("run")
def test_a_run_may_start_from_a_network_of_the_hub(
    client: HubClient, few_shapes: Path, tmp_path: Path
) -> None:
    arguments = [*TINY.split(), "--dataset", "folder", "--data", str(few_shapes)]
    arguments += ["--init", "me/net@v1", "--output", str(tmp_path / "run")]
    answer = client.ask("train", arguments=arguments, variables={})
    assert answer["status"] == 0, answer["err"]
    assert "Started from me/net@v1; new or left out: " in answer["err"]


def write_run(folder: Path, **metrics: object) -> Path:
    """A checkpoint with these scores and a few bytes for weights."""
    folder.mkdir(exist_ok=True)
    checkpoint.write_json(folder / "config.json", {"classes": ["cat"]})
    known = {"dataset": "voc", "split": "val", "classes": ["cat"], "mean_iou": 0.5}
    checkpoint.write_json(folder / "metrics.json", {**known, **metrics})
    (folder / "model.safetensors").write_bytes(b"\0weights")
    return folder


@pytest.mark.parametrize(
    ("metrics", "told"),
    [
        ({"mean_iou": 0.4999}, "49.99 % mIoU is less than the 50.00 % of me/"),
        ({"mean_iou": None}, "0.00 % mIoU is less than the 50.00 % of me/"),
        ({"mean_iou": 0.9, "dataset": "camvid"}, "was scored on another data set"),
        ({"mean_iou": 0.9, "split": "train"}, "was scored on another split"),
        ({"mean_iou": 0.9, "classes": ["dog"]}, "was scored on other classes"),
    ],
)
def test_what_scored_worse_is_pushed_by_force_alone(
    hub: FakeHub, client: HubClient, tmp_path: Path, metrics: dict[str, object], told: str
) -> None:
    model = f"me/{tmp_path.name.replace('_', '-')}"
    old = write_run(tmp_path / "old")
    assert "error" not in client.ask("publish", run=str(old), model=model, space="", force=False)
    commits = hub.model(model).commits
    new = write_run(tmp_path / "new", **metrics)
    answer = client.ask("publish", run=str(new), model=model, space="", force=False)
    assert told in answer["error"]
    assert f"python -m fcn push {new} {model}" in answer["error"]
    assert len(commits) == 2
    answer = client.ask("publish", run=str(new), model=model, space="", force=True)
    assert answer["out"].startswith("Pushed: ")
    assert len(commits) == 3


def test_what_a_threshold_cost_is_not_compared() -> None:
    def scored(mean_iou: float, bare: object) -> dict[str, object]:
        return {"mean_iou": mean_iou, "fitted": {"mean_iou_by_absent_below": {"0.0": bare}}}

    refresh.refuse_worse(scored(0.79, 0.81), scored(0.8, 0.8), "me/net")
    with pytest.raises(InputError, match=r"80\.00 % .* 81\.00 % of me/net, both"):
        refresh.refuse_worse(scored(0.8, 0.8), scored(0.79, 0.81), "me/net")
    for bare in ("0.9", None, 9.0):  # what the Hub has may be anything
        refresh.refuse_worse(scored(0.8, 0.8), scored(0.79, bare), "me/net")


@pytest.mark.parametrize("score", ["0.5", None, float("nan"), True, []])
def test_what_has_no_score_is_no_hindrance(score: object) -> None:
    refresh.refuse_worse({"mean_iou": 0.1}, {"mean_iou": score}, "me/net")


@pytest.mark.parametrize("score", [0.5, 0.6])
def test_what_scored_no_worse_is_pushed(
    hub: FakeHub, client: HubClient, tmp_path: Path, score: float
) -> None:
    model = f"me/no-worse-{int(10 * score)}"
    for run in (write_run(tmp_path / "old"), write_run(tmp_path / "new", mean_iou=score, x=1)):
        answer = client.ask("publish", run=str(run), model=model, space="", force=False)
        assert answer["out"].startswith("Pushed: ")


def test_a_push_that_fails_after_training_tells_the_command_that_repeats_it(
    hub: FakeHub, client: HubClient, tmp_path: Path
) -> None:
    run = write_run(tmp_path / "my run")
    hub.faults["me/later"] = Fault("status", 500)
    given = {"run": str(run), "model": "me/later", "space": "me/page", "force": False}
    error = client.ask("publish", **given)["error"]
    assert "out of order (500)" in error
    again = f"python -m fcn push '{run}' me/later && python -m fcn space me/page --model me/later"
    assert error.endswith(again)
    assert len(error.splitlines()) == 1
    del hub.faults["me/later"]
    for words in again.split(" && "):
        assert client.run(*shlex.split(words)[3:])["status"] == 0
    assert hub.space("me/page").variables["FCN_MODEL"]["value"] == "me/later"


def test_a_space_that_fails_after_the_push_tells_its_command(
    hub: FakeHub, client: HubClient, tmp_path: Path
) -> None:
    run = write_run(tmp_path / "run")
    hub.faults["me/closed"] = Fault("status", 403)
    given = {"run": str(run), "model": "me/fresh", "space": "me/closed", "force": False}
    answer = client.ask("publish", **given)
    commit = hub.model("me/fresh").head.oid
    assert answer["out"].startswith("Pushed: ")
    assert "forbids this for me/closed (403)" in answer["error"]
    assert answer["error"].endswith(f"python -m fcn space me/closed --model me/fresh@{commit}")


def test_a_retrained_network_keeps_its_place_among_the_others_of_a_space(
    hub: FakeHub, client: HubClient, tmp_path: Path
) -> None:
    for name in ("me/one", "me/two"):
        hub.put(name, {one.name: one.read_bytes() for one in write_run(tmp_path / "run").iterdir()})
    client.run("space", "me/several", "--model", "me/two me/one@main")
    for name, also in (("me/one", "me/two "), ("me/alone", "")):
        given = {"run": str(tmp_path / "run"), "model": name, "space": "me/several", "force": True}
        answer = client.ask("publish", **given)
        served = f"{also}{name}@{hub.model(name).head.oid}"
        assert answer["out"].endswith(f"spaces/me/several serves {served}.\n")
        assert hub.space("me/several").variables["FCN_MODEL"]["value"] == served


@pytest.mark.parametrize(
    ("flags", "token", "told"),
    [
        (["--push", "me/x"], "", "There is no token for the Hub"),
        (["--push", "me/x"], "hf_wrong", "does not accept the token"),
        (["--push", "you/x"], TOKEN, "neither that user nor an organisation"),
        (["--push", "me/x", "--space", "you/x"], TOKEN, "neither that user nor an organisation"),
        (["--space", "me/x"], TOKEN, "--space needs --push"),
    ],
)
def test_the_token_is_looked_at_before_training(
    client: HubClient, tmp_path: Path, flags: list[str], token: str, told: str
) -> None:
    arguments = [*TINY.split(), "--dataset", "shapes", "--output", str(tmp_path / "run"), *flags]
    answer = client.ask("train", arguments=arguments, variables={"HF_TOKEN": token})
    assert answer["status"] == 1
    assert told in answer["err"]
    assert len(answer["err"].splitlines()) == 1
    assert not (tmp_path / "run").exists()
