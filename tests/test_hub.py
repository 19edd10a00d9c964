"""Push and pull by the real huggingface_hub, against a Hub on this machine that can go wrong."""

import json
import math
import re
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace
from unittest.mock import Mock

import pytest
import torch
from fakehub import READ_TOKEN, TOKEN, FakeHub, Fault, sha256
from hub_client import ROOT, HubClient, environment
from huggingface_hub import ModelCard

from fcn import checkpoint, saving
from fcn.errors import InputError
from fcn.hub import pull as hub_pull
from fcn.hub.call import parse_id

CARD = """---
license: apache-2.0
tags: [fcn]
model-index:
- name: tiny
  results: []
---
# Tiny

    Segmenter.load("FOLDER")
"""
HOSTILE = "<img src=x onerror=alert(1)> ${1+1}"


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("home")


@pytest.fixture(scope="module")
def client(hub: FakeHub, home: Path) -> Iterator[HubClient]:
    with HubClient(hub.url, home, TOKEN) as client:
        yield client
    kept = b"".join(file.read_bytes() for file in home.rglob("*") if file.is_file())
    for token in (TOKEN, READ_TOKEN):
        assert token not in client.said
        assert token.encode() not in kept


@pytest.fixture(scope="module")
def loader(client: HubClient, tiny_checkpoint: Path) -> HubClient:
    """The client after it imported what takes long."""
    client.ask("load", models=[str(tiny_checkpoint)], bundled="", timeout="60")
    return client


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A checkpoint's files with a few bytes for weights, and more that does not belong there."""
    folder = tmp_path / "whole"
    folder.mkdir()
    checkpoint.write_json(folder / "config.json", {"classes": ["cat"]})
    checkpoint.write_json(folder / "metrics.json", {"mean_iou": 0.5})
    (folder / "model.safetensors").write_bytes(bytes(range(256)) * 4000)
    (folder / "README.md").write_text(CARD)
    (folder / "curves.png").write_bytes(b"\x89PNG\0curves")
    (folder / "notes.txt").write_text("mine")
    (folder / "state").mkdir()
    (folder / "state" / "trainer.pt").write_bytes(b"state")
    (folder / "state" / "seen.png").write_bytes(b"\x89PNG\0seen")
    return folder


def contents(folder: Path) -> dict[str, bytes]:
    return {one.name: one.read_bytes() for one in folder.iterdir() if one.is_file()}


def put(hub: FakeHub, repo_id: str, folder: Path, **more: bytes) -> str:
    """Put a checkpoint there without a client."""
    extra = {name.replace("_", "."): content for name, content in more.items()}
    return hub.put(repo_id, contents(folder) | extra)


def run_alone(
    url: str, home: Path, *arguments: str, patience: str = "60"
) -> subprocess.CompletedProcess[str]:
    """Run a command in a process of its own, which has to end by itself."""
    return subprocess.run(
        [sys.executable, "-m", "fcn", *arguments],
        cwd=ROOT,
        env=environment(url, home, TOKEN) | {"FCN_PULL_TIMEOUT": patience},
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )


def sentence(answer: dict[str, object]) -> str:
    """The one sentence that a failed command ends with; before it only progress is told."""
    *before, last = str(answer["err"]).splitlines()
    assert answer["status"] == 1
    assert answer["out"] == ""
    assert all(line.startswith(("Pushing to", "Pulling")) for line in before)
    return last


def test_a_push_is_one_commit_with_card_and_pictures(
    hub: FakeHub, client: HubClient, folder: Path
) -> None:
    answer = client.run("push", folder, "me/pushed", "--private", "--tag", "v1")
    repo = hub.model("me/pushed")
    assert answer["status"] == 0
    assert answer["out"] == f"Pushed: {hub.url}/me/pushed/commit/{repo.head.oid}\n"
    assert repo.private
    assert repo.tags == {"v1": repo.head.oid}
    assert len(repo.commits) == 2  # the Hub's own first one has .gitattributes
    whole = {"config.json", "model.safetensors", "metrics.json", "README.md", "curves.png"}
    assert set(repo.head.files) == {*whole, ".gitattributes"}
    for name in whole - {"README.md"}:
        assert repo.head.files[name] == (folder / name).read_bytes()
    card = ModelCard(repo.head.files["README.md"].decode(), ignore_metadata_errors=True)
    assert card.data.to_dict()["license"] == "apache-2.0"
    assert 'Segmenter.load("me/pushed")' in card.text


def test_the_same_content_again_changes_nothing(
    hub: FakeHub, client: HubClient, folder: Path
) -> None:
    client.run("push", folder, "me/again")
    answer = client.run("push", folder, "me/again", "--tag", "v1")
    assert answer["out"].startswith("Nothing changed: ")
    assert len(hub.model("me/again").commits) == 2
    assert hub.model("me/again").tags == {"v1": hub.model("me/again").head.oid}


def test_int8_weights_do_not_outlive_their_network(
    hub: FakeHub, client: HubClient, folder: Path
) -> None:
    (folder / "model_int8.onnx").write_bytes(b"\0onnx")
    client.run("push", folder, "me/int8")
    assert "model_int8.onnx" in hub.model("me/int8").head.files
    hub.model("me/int8").head.files["theirs.md"] = b"not ours to remove"
    (folder / "model_int8.onnx").unlink()
    client.run("push", folder, "me/int8")
    assert "model_int8.onnx" not in hub.model("me/int8").head.files
    assert "theirs.md" in hub.model("me/int8").head.files


def test_a_tag_is_not_moved(hub: FakeHub, client: HubClient, folder: Path) -> None:
    client.run("push", folder, "me/tagged", "--tag", "v1")
    (folder / "curves.png").write_bytes(b"\x89PNG\0others")
    answer = client.run("push", folder, "me/tagged", "--tag", "v1")
    assert "another commit already" in sentence(answer)
    assert hub.model("me/tagged").tags["v1"] == hub.model("me/tagged").commits[1].oid


def test_a_public_repository_is_not_taken_for_a_private_one(
    hub: FakeHub, client: HubClient, folder: Path
) -> None:
    hub.put("me/public", {})
    assert "is public already" in sentence(client.run("push", folder, "me/public", "--private"))
    assert hub.model("me/public").head.files == {}


@pytest.mark.parametrize(
    ("repo_id", "token", "told"),
    [
        ("me/x", "", "no token for the Hub: log in"),
        ("me/x", "hf_wrong", r"does not accept the token for me/x \(401\): log in"),
        ("me/x", "hf_\x0bnonsense", "broke off .LocalProtocolError: Illegal header"),
        ("me/x", READ_TOKEN, "may only read"),
        ("you/x", TOKEN, "neither that user nor an organisation"),
        ("x", TOKEN, "neither a folder nor USER/NAME"),
        ("me/x@v1", TOKEN, "has a revision"),
    ],
)
def test_who_may_not_push_is_told_so_first(
    hub: FakeHub, client: HubClient, folder: Path, repo_id: str, token: str, told: str
) -> None:
    hub.requests.clear()
    last = sentence(client.run("push", folder, repo_id, HF_TOKEN=token))
    assert re.search(told, last)
    assert "nonsense" not in last
    assert not any(line.startswith(("POST", "PUT")) for line in hub.requests)


def test_a_folder_that_is_not_there_is_told_before_a_token_is_asked_for(
    hub: FakeHub, client: HubClient, tmp_path: Path
) -> None:
    last = sentence(client.run("push", tmp_path / "nowhere", "me/nowhere", HF_TOKEN=""))
    assert "does not exist" in last and "token" not in last
    assert hub.asked("me/nowhere") == []


def test_no_half_checkpoint_is_pushed(hub: FakeHub, client: HubClient, folder: Path) -> None:
    (folder / "model.safetensors").unlink()
    assert "is missing" in sentence(client.run("push", folder, "me/half"))
    assert ("model", "me/half") not in hub.repos


def test_what_could_not_be_pulled_is_not_pushed(
    hub: FakeHub, client: HubClient, folder: Path
) -> None:
    (folder / "training.json").write_bytes(b" " * 5_000_001)
    last = sentence(client.run("push", folder, "me/large"))
    assert last.startswith(f"fcn: {folder} has more than 20 JSON files")
    assert ("model", "me/large") not in hub.repos


SILENT = "Nothing came from the Hub for 0.5 s"
# What the Hub may say to a push and to a pull alike.
REFUSALS = {
    "401": (Fault("status", 401), r"does not accept the token for me/x \(401\)"),
    "403": (Fault("status", 403), r"forbids this for me/x \(403\)"),
    "404": (Fault("status", 404), r"me/x is not on the Hub \(404\)"),
    "429": (Fault("status", 429), r"asks to wait for 1800 s \(429\)"),
    "302": (Fault("status", 302), "What answers for me/x is not the Hub"),  # and leads nowhere
}
# Where a push can break, and what is said then.
PUSH_FAULTS = {
    **REFUSALS,
    "400": (Fault("status", 400), r"refused me/x \(400\): refused \(token\)"),
    "402": (Fault("status", 402), r"refused me/x \(402\): refused \(token\)"),
    "429 for long": (Fault("status", 429, "preupload"), SILENT),
    "500": (Fault("status", 500), r"out of order \(500\): try again later"),
    "500 at the end": (Fault("status", 500, "commit"), r"out of order \(500\)"),
    "overtaken": (Fault("overtaken"), r"Somebody else pushed to me/x at the same time \(412\)"),
    "drop": (Fault("drop"), SILENT),
    "silence": (Fault("silence"), SILENT),
    "silence at the end": (Fault("silence", 0, "commit"), SILENT),
}


def patience(told: str) -> str:
    """Little where nothing will come, much where something has to."""
    return "0.5" if told == SILENT else "60"


@pytest.mark.parametrize("name", PUSH_FAULTS)
def test_a_push_that_fails_ends_in_one_sentence(
    hub: FakeHub, client: HubClient, folder: Path, name: str
) -> None:
    fault, told = PUSH_FAULTS[name]
    repo_id = f"me/push-{name.replace(' ', '-')}"
    hub.faults[repo_id] = fault
    # A file of its own, as the Hub takes those that it knows already without an upload.
    (folder / "curves.png").write_bytes(b"\x89PNG\0" + name.encode())
    answer = client.run("push", folder, repo_id, FCN_PULL_TIMEOUT=patience(told))
    assert re.search(told.replace("me/x", repo_id), sentence(answer))
    assert answer["seconds"] < 20
    repo = hub.repos.get(("model", repo_id))
    assert repo is None or list(repo.head.files) == [".gitattributes"]


def test_a_push_that_is_given_up_lets_the_process_end(
    hub: FakeHub, home: Path, folder: Path
) -> None:
    hub.faults["me/stuck"] = Fault("silence", 0, "_upload")
    (folder / "curves.png").write_bytes(b"\x89PNG\0stuck")
    (folder / "more.png").write_bytes(b"\x89PNG\0too")
    began = time.monotonic()
    done = run_alone(hub.url, home, "push", str(folder), "me/stuck", patience="2")
    assert done.returncode == 1
    assert "Nothing came from the Hub for 2 s." in done.stderr
    assert "Traceback" not in done.stderr
    assert time.monotonic() - began < 60


def test_a_pull_brings_what_was_pushed_and_nothing_else(
    hub: FakeHub, client: HubClient, folder: Path
) -> None:
    commit = put(hub, "me/all", folder, pytorch_model_bin=b"pickle", script_py=b"import os")
    files = hub.model("me/all").head.files
    files |= {"pytorch_model.bin": b"pickle", "state/seen.png": b"seen", "../../up.png": b"up"}
    answer = client.run("pull", "me/all")
    pulled = Path(answer["out"].strip())
    assert pulled.name == commit
    expected = {"config.json", "model.safetensors", "metrics.json", "curves.png"}
    assert set(contents(pulled)) == expected
    for name in expected:
        assert (pulled / name).read_bytes() == (folder / name).read_bytes()
    asked = {line.rpartition("/")[2] for line in hub.asked("me/all") if "resolve" in line}
    assert asked == expected


def test_a_commit_that_is_there_costs_no_request_and_a_name_one(
    hub: FakeHub, client: HubClient, folder: Path
) -> None:
    commit = put(hub, "me/cached", folder)
    client.run("pull", "me/cached")
    client.run("pull", f"me/cached@{commit}")
    hub.requests.clear()
    assert client.run("pull", "me/cached")["status"] == 0
    assert hub.asked("me/cached") == ["GET /api/models/me/cached"]
    assert client.run("pull", f"me/cached@{commit}")["status"] == 0
    assert len(hub.asked("me/cached")) == 1


def test_a_name_means_the_newest_commit_and_a_revision_that_one(
    hub: FakeHub, client: HubClient, folder: Path
) -> None:
    first = hub.put("me/moving", contents(folder), "v1")
    (folder / "metrics.json").write_text(json.dumps({"mean_iou": 0.5}))
    second = hub.put("me/moving", contents(folder))
    for name, commit in {"": second, "@main": second, "@v1": first, f"@{first}": first}.items():
        assert Path(client.run("pull", f"me/moving{name}")["out"].strip()).name == commit


PULL_FAULTS = {
    **REFUSALS,
    "429 for a file": (Fault("status", 429, "resolve"), SILENT),
    "500": (Fault("status", 500), r"out of order \(500\)"),
    "500 for a file": (Fault("status", 500, "resolve"), SILENT),
    "drop": (Fault("drop"), SILENT),
    "silence": (Fault("silence"), SILENT),
    "silence for weights": (Fault("silence", 0, "safetensors"), SILENT),
    "size": (Fault("size"), r"me/x came damaged: \w+.json"),
    "size of weights": (Fault("size", 0, "safetensors"), "sends more than it said"),
    "hash": (Fault("hash"), r"me/x came damaged: \w+.json"),
    "hash of weights": (Fault("hash", 0, "safetensors"), "me/x came damaged: model.safetensors"),
    "large": (Fault("large"), r"me/x has \d+\.0 GB, more than 1 GB"),
}


@pytest.mark.parametrize(
    "more",
    [{"metrics.json": b" " * 5_000_001}, {f"{number}.png": b"\x89PNG\0" for number in range(20)}],
    ids=["a large JSON file", "many pictures"],
)
def test_what_is_read_and_shown_whole_has_a_limit(
    hub: FakeHub, client: HubClient, folder: Path, more: dict[str, bytes]
) -> None:
    hub.put("me/much", {**contents(folder), **more})
    answer = client.run("pull", "me/much")
    assert "more than 20 JSON files and pictures, or one of more than 5 MB" in sentence(answer)


@pytest.mark.parametrize("name", PULL_FAULTS)
def test_a_pull_that_fails_leaves_the_bundled_weights(
    hub: FakeHub, loader: HubClient, folder: Path, tiny_checkpoint: Path, name: str
) -> None:
    fault, told = PULL_FAULTS[name]
    repo_id = f"me/pull-{name.replace(' ', '-')}"
    put(hub, repo_id, folder)
    hub.faults[repo_id] = fault
    hub.requests.clear()
    given = {"models": [repo_id], "bundled": str(tiny_checkpoint.parent)}
    answer = loader.ask("load", **given, timeout=patience(told))
    assert Path(answer["sources"][0]).name == "tiny"
    assert answer["note"].startswith(f"{repo_id} is not in use: ")
    assert re.search(told.replace("me/x", repo_id), answer["note"])
    assert answer["note"].endswith("These are bundled weights.")
    assert answer["seconds"] < 20
    fetched = hub.asked(f"{repo_id}/resolve")
    assert fault.kind != "large" or fetched == []
    if fetched:  # what came before it broke off is no checkpoint, even when the Hub is gone
        hub.faults[repo_id] = Fault("silence")
        assert Path(loader.ask("load", **given, timeout="0.5")["sources"][0]).name == "tiny"


@pytest.mark.parametrize("name", PULL_FAULTS)
def test_a_pull_that_fails_leaves_what_was_pulled_before(
    hub: FakeHub, client: HubClient, folder: Path, name: str
) -> None:
    fault, told = PULL_FAULTS[name]
    repo_id = f"me/cached-{name.replace(' ', '-')}"
    commit = put(hub, repo_id, folder)
    assert client.run("pull", repo_id)["status"] == 0
    changed = {one: content + b" " for one, content in contents(folder).items()}
    hub.put(repo_id, changed)
    hub.faults[repo_id] = fault
    answer = client.run("pull", repo_id, FCN_PULL_TIMEOUT=patience(told))
    assert Path(answer["out"].strip()).name == commit
    assert re.search(told.replace("me/x", repo_id), answer["err"])
    assert answer["err"].endswith("This is the copy of an earlier pull.\n")


def test_a_pull_that_would_fill_the_disk_begins_not(monkeypatch: pytest.MonkeyPatch) -> None:
    files = {one: hub_pull.RemoteFile(1_000_000, "") for one in hub_pull.FILES}
    listing = hub_pull.Listing("me/large", "0" * 40, files)
    monkeypatch.setattr(hub_pull, "read_listing", lambda name: listing)
    monkeypatch.setattr("shutil.disk_usage", lambda place: SimpleNamespace(free=54_000_000))
    with pytest.raises(InputError, match=r"me/large needs 55 MB in .*, where 54 MB are free"):
        hub_pull.pull("me/large")


@pytest.mark.parametrize("note", ["{}", '{"repo_id": "me/x"}', "[]", "no JSON"])
def test_a_note_of_a_pull_that_cannot_be_read_is_none(
    note: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "note").write_text(note)
    monkeypatch.setattr(hub_pull, "_note_of", lambda name: tmp_path / "note")
    monkeypatch.setattr(hub_pull, "ask", Mock(side_effect=InputError("The Hub is silent.")))
    with pytest.raises(InputError, match="The Hub is silent"):
        hub_pull.pull("me/x")


def test_a_wrong_patience_brings_no_older_copy(tmp_path: Path, monkeypatch) -> None:
    kept = hub_pull.Pulled(tmp_path, "me/x", "0" * 40)
    monkeypatch.setattr(hub_pull, "_find_kept", lambda name: kept)
    monkeypatch.setenv("FCN_PULL_TIMEOUT", "soon")
    with pytest.raises(InputError, match="must be a number of seconds"):
        hub_pull.pull("me/x")


# Puts a file into Xet's storage and says its name there; in a process of its own, which it locks.
STORE = """
import sys, hf_xet
with hf_xet.XetSession().new_upload_commit(endpoint=sys.argv[1]) as upload:
    stored = upload.start_upload_bytes(sys.stdin.buffer.read(), sha256=hf_xet.COMPUTE_SHA256)
print(stored.result().xet_info.hash, end="")
"""


@pytest.fixture
def xet(hub: FakeHub, folder: Path, tmp_path: Path) -> Iterator[FakeHub]:
    """The Hub with the checkpoint's weights in Xet's storage, which is a folder here."""
    content = (folder / "model.safetensors").read_bytes()
    hub.storage = f"local://{tmp_path}"
    command = [sys.executable, "-c", STORE, hub.storage]
    stored = subprocess.run(command, input=content, stdout=subprocess.PIPE, check=True)
    hub.xet = {sha256(content): stored.stdout.decode()}
    yield hub
    hub.xet = {}


def test_a_pull_over_xet_says_no_more_than_any(xet: FakeHub, home: Path, folder: Path) -> None:
    put(xet, "me/stored", folder)
    xet.requests.clear()
    done = run_alone(xet.url, home, "pull", "me/stored")
    assert done.returncode == 0
    assert contents(Path(done.stdout.strip())).items() <= contents(folder).items()
    assert len(done.stderr.splitlines()) == 1  # that it pulls
    assert any("xet-read-token" in line for line in xet.requests)


def test_storage_that_refuses_leaves_what_was_pulled_before(
    xet: FakeHub, home: Path, folder: Path
) -> None:
    commit = put(xet, "me/refused", folder)
    assert run_alone(xet.url, home, "pull", "me/refused").returncode == 0
    put(xet, "me/refused", folder, model_safetensors=b"others")
    xet.xet = {sha256(b"others"): "ab" * 32}
    xet.storage = f"{xet.url}/_nowhere"
    done = run_alone(xet.url, home, "pull", "me/refused")
    assert Path(done.stdout.strip()).name == commit
    assert re.search(r"^me/refused failed \(.*401.*\)\. This", done.stderr.splitlines()[-1])
    assert done.stderr.endswith("This is the copy of an earlier pull.\n")


def test_a_pull_that_broke_off_can_be_repeated(hub: FakeHub, home: Path, folder: Path) -> None:
    commit = put(hub, "me/repeated", folder)
    for fault, status in ((Fault("drop", 0, "safetensors"), 1), (Fault(""), 0)):
        hub.faults["me/repeated"] = fault
        done = run_alone(hub.url, home, "pull", "me/repeated", patience="3")
        assert done.returncode == status
    assert Path(done.stdout.strip()).name == commit


@pytest.mark.parametrize(
    ("name", "told"),
    [
        ("me/nothing", "me/nothing is not on the Hub, or is private"),
        ("me/empty", "me/empty is no checkpoint: it lacks config.json"),
        ("me/empty@v9", "me/empty@v9 names a revision that is not on the Hub"),
        ("me/a/b", "neither a folder nor USER/NAME"),
        ("me/a@", "neither a folder nor USER/NAME"),
    ],
)
def test_what_is_not_there_is_told(hub: FakeHub, client: HubClient, name: str, told: str) -> None:
    hub.put("me/empty", {"README.md": b"# Nothing", "pytorch_model.bin": b"pickle"})
    assert told in sentence(client.run("pull", name))


def test_a_private_repository_is_hidden_from_who_has_no_token(
    hub: FakeHub, client: HubClient, folder: Path
) -> None:
    put(hub, "me/private", folder)
    hub.model("me/private").private = True
    answer = client.run("pull", "me/private", HF_TOKEN="")
    assert "me/private is not on the Hub, or is private" in sentence(answer)
    assert client.run("pull", "me/private")["status"] == 0


def test_a_copy_that_rotted_in_the_cache_is_not_used(
    hub: FakeHub, client: HubClient, folder: Path
) -> None:
    put(hub, "me/rotten", folder)
    pulled = Path(client.run("pull", "me/rotten")["out"].strip())
    weights = (pulled / "model.safetensors").resolve()
    weights.write_bytes(b"rotten")
    hub.faults["me/rotten"] = Fault("silence")
    answer = client.run("pull", "me/rotten", FCN_PULL_TIMEOUT="2")
    assert "Nothing came" in sentence(answer)
    del hub.faults["me/rotten"]
    assert client.run("pull", "me/rotten")["status"] == 0
    assert weights.read_bytes() != b"rotten"


def test_a_pull_does_without_its_note(hub: FakeHub, folder: Path, tmp_path: Path) -> None:
    put(hub, "me/noted", folder)
    (tmp_path / "assets").write_text("no folder")  # where notes are kept
    done = run_alone(hub.url, tmp_path, "pull", "me/noted")
    assert done.returncode == 0, done.stderr


def test_a_hub_that_is_gone_is_told(home: Path) -> None:
    done = run_alone("http://127.0.0.1:9", home, "pull", "me/gone")
    assert done.returncode == 1
    assert done.stderr.startswith("fcn: The Hub cannot be reached or broke off (ConnectError")
    assert len(done.stderr.splitlines()) == 1


def test_a_mistyped_folder_is_not_asked_of_the_hub(client: HubClient, hub: FakeHub) -> None:
    answer = client.run("evaluate", "checkpoints/streat", "--dataset", "shapes")
    assert "There is no folder checkpoints/streat." in sentence(answer)
    assert hub.asked("checkpoints/streat") == []
    answer = client.run("evaluate", "checkpoints/streat@main", "--dataset", "shapes")
    assert "checkpoints/streat" in sentence(answer) and hub.asked("checkpoints/streat")


def test_the_deadline_must_be_a_number(client: HubClient) -> None:
    answer = client.run("pull", "me/any", FCN_PULL_TIMEOUT="soon")
    assert "FCN_PULL_TIMEOUT is 'soon'" in sentence(answer)


def test_from_pretrained_takes_the_same_weights_and_no_pickle(
    hub: FakeHub, loader: HubClient, tiny_checkpoint: Path
) -> None:
    whole = contents(tiny_checkpoint)
    hub.put("me/mixin", {**whole, "pytorch_model.bin": b"pickle"}, "v1")
    hub.put("me/mixin", {"config.json": whole["config.json"], "pytorch_model.bin": b"pickle"})
    model = saving.load(tiny_checkpoint)
    total = float(sum(value.double().sum() for value in model.state_dict().values()))
    hub.requests.clear()
    answer = loader.ask("from_pretrained", repo_id="me/mixin", revision="v1")
    assert tuple(answer["classes"]) == model.classes
    assert answer["total"] == total
    assert "error" in loader.ask("from_pretrained", repo_id="me/mixin", revision="main")
    assert not any("bin" in line for line in hub.asked("me/mixin"))


def test_the_segmenter_takes_a_hub_id(
    hub: FakeHub, loader: HubClient, tiny_checkpoint: Path
) -> None:
    commit = hub.put("me/segmenter", contents(tiny_checkpoint), "v1")
    answer = loader.ask("segmenter", source="me/segmenter@v1")
    assert answer["metrics"] == checkpoint.read_json(tiny_checkpoint, "metrics.json")
    assert answer["revision"] == commit


def test_several_models_are_loaded_and_those_that_fail_are_told(
    hub: FakeHub, loader: HubClient, tiny_checkpoint: Path
) -> None:
    commit = hub.put("me/one", contents(tiny_checkpoint))
    models = ["me/absent", "me/one", str(tiny_checkpoint)]
    answer = loader.ask("load", models=models, bundled="", timeout="60")
    assert answer["sources"] == [f"me/one@{commit[:8]}", str(tiny_checkpoint)]
    assert answer["revisions"] == [commit, ""]
    assert answer["note"] == (
        "me/absent is not in use: me/absent is not on the Hub, or is private and the token may"
        f" not see it. me/one, revision {commit[:8]}."
    )


def test_a_network_of_another_kind_is_not_used(
    hub: FakeHub, loader: HubClient, folder: Path, tiny_checkpoint: Path
) -> None:
    hub.put("me/other", {**contents(folder), "config.json": b'{"hidden_size": 768}'})
    bundled = str(tiny_checkpoint.parent)
    answer = loader.ask("load", models=["me/other"], bundled=bundled, timeout="60")
    assert Path(answer["sources"][0]).name == "tiny"
    assert answer["note"].startswith("me/other is not in use: me/other@")


def test_files_that_the_libraries_stumble_over_are_not_used(
    hub: FakeHub, loader: HubClient, tiny_checkpoint: Path
) -> None:
    hub.put("me/good", contents(tiny_checkpoint))
    hub.put("me/odd", {**contents(tiny_checkpoint), "config.json": b"[]"})
    hub.put("me/deep", {**contents(tiny_checkpoint), "metrics.json": b'{"int8": ' * 5000})
    models = ["me/odd", "me/deep", "me/good"]
    answer = loader.ask("load", models=models, bundled="", timeout="60")
    assert [source.partition("@")[0] for source in answer["sources"]] == ["me/good"]
    assert "me/odd is not in use: " in answer["note"]
    assert "me/deep is not in use: " in answer["note"]


def test_weights_that_answer_nothing_finite_are_not_used(
    hub: FakeHub, loader: HubClient, tiny_checkpoint: Path, tmp_path: Path
) -> None:
    model = saving.load(tiny_checkpoint)
    torch.nn.init.constant_(model.head.score_fr.bias, math.nan)
    saving.write(tmp_path / "endless", model)
    hub.put("me/endless", contents(tmp_path / "endless"))
    given = {"models": ["me/endless"], "bundled": str(tiny_checkpoint.parent)}
    answer = loader.ask("load", **given, timeout="60")
    assert Path(answer["sources"][0]).name == "tiny"
    assert "The weights from me/endless@" in answer["note"]


def test_class_names_and_notes_from_the_hub_are_text(
    hub: FakeHub, loader: HubClient, tiny_checkpoint: Path
) -> None:
    whole = contents(tiny_checkpoint)
    config = json.loads(whole["config.json"])
    config["classes"][1] = HOSTILE
    hub.put("me/hostile", {**whole, "config.json": json.dumps(config).encode()})
    answer = loader.ask("about", model="me/hostile", note=HOSTILE)
    assert answer["about"].count("&lt;img src=x onerror=alert(1)&gt; ${1+1}") == 2
    assert "<img" not in answer["about"]


@pytest.mark.parametrize(
    "text", ["", "a", "a/b/c", "a b/c", "a/b@", "a/b@v 1", "../a", "a/..", "@"]
)
def test_only_hub_ids_are_hub_ids(text: str) -> None:
    with pytest.raises(InputError):
        parse_id(text)
    assert parse_id("a-1/b.2") == ("a-1/b.2", None)
    assert parse_id("a/b@refs/pr/1") == ("a/b", "refs/pr/1")
