"""The demo's command line: which weights it serves, and what it says when there are none."""

import errno
import os
from pathlib import Path
from unittest.mock import Mock

import pytest
from hub_client import serve_app

import app
from fcn.errors import InputError
from fcn.hub.pull import Pulled
from fcn.segmenter import Segmenter


def test_gradio_reads_its_environment_variables_itself(tiny_checkpoint, tmp_path, monkeypatch):
    given: dict[str, object] = {}
    monkeypatch.setenv("GRADIO_TEMP_DIR", str(tmp_path))  # what it becomes ends with the test
    monkeypatch.setattr("gradio.Blocks.launch", lambda self, **options: given.update(options))
    assert app.main(["--model", str(tiny_checkpoint)]) == 0
    assert not {"server_port", "server_name", "root_path", "share"} & set(given)


def test_a_host_that_stops_it_keeps_no_files(root: Path, tiny_checkpoint: Path, tmp_path: Path):
    files = tmp_path / "files"
    variables = {"GRADIO_TEMP_DIR": str(files), "FCN_MODEL": str(tiny_checkpoint)}
    with serve_app(root, tmp_path / "log", {**os.environ, **variables}):
        assert any(files.rglob("*.*"))
    assert not [one for one in files.rglob("*") if one.is_file() or one.name.startswith("fcn-")]


def test_a_pulled_network_that_fails_in_no_known_way_leaves_the_others(
    tiny_checkpoint, monkeypatch
):
    monkeypatch.setattr(app, "pull", lambda *_: Pulled(tiny_checkpoint, "me/odd", "0" * 40))
    monkeypatch.setattr(Segmenter, "scores", lambda *_: 1 // 0)
    with pytest.raises(InputError, match=r"cannot be used here \(ZeroDivisionError\)"):
        app.load_from_hub("me/odd")


def test_missing_weights_end_in_one_sentence(capsys):
    assert app.main(["--model", "no/such/folder"]) == 1
    assert capsys.readouterr().err.count("\n") == 1


def test_a_mistyped_folder_is_not_served_from_elsewhere(monkeypatch, tmp_path: Path):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "runs").mkdir()
    monkeypatch.setattr(app, "pull", lambda *_: pytest.fail("the Hub was asked"))
    with pytest.raises(InputError, match="no folder runs/mine"):
        app.load(["runs/mine"])


def test_model_comes_from_the_environment(monkeypatch):
    monkeypatch.setenv("FCN_MODEL", "runs/mine")
    assert app.parse([]).model == "runs/mine"
    assert app.parse(["--model", "other"]).model == "other"


def test_several_models_have_spaces_between_and_a_folder_may_have_some_in_its_name(tmp_path: Path):
    assert app.split("") == []
    assert app.split(" me/one  me/two@v1 ") == ["me/one", "me/two@v1"]
    (tmp_path / "my run").mkdir()
    assert app.split(str(tmp_path / "my run")) == [str(tmp_path / "my run")]


def test_a_network_that_is_named_twice_is_loaded_once(tiny_checkpoint, monkeypatch, capsys):
    pulled = Pulled(tiny_checkpoint, "me/tiny", "0" * 40)
    monkeypatch.setattr(app, "pull", lambda *_: pulled)
    asked = [str(tiny_checkpoint), "me/tiny", "me/tiny", "me/tiny@main", str(tiny_checkpoint)]
    segmenters, note = app.load(asked)
    assert [one.source for one in segmenters] == [str(tiny_checkpoint), "me/tiny@00000000"]
    assert note.count("me/tiny") == 1


def test_a_full_disk_is_one_sentence(tiny_checkpoint, monkeypatch, capsys):
    full = OSError(errno.ENOSPC, "No space left on device", "photo.jpg", None, "page/photo.jpg")
    monkeypatch.setattr(app, "build_page", Mock(side_effect=full))
    assert app.main(["--model", str(tiny_checkpoint)]) == 1
    assert capsys.readouterr().err == "page/photo.jpg: No space left on device\n"


def test_all_bundled_weights_are_offered_animals_first(monkeypatch, tmp_path: Path):
    monkeypatch.setattr(app, "BUNDLED", tmp_path)
    with pytest.raises(InputError, match="--model"):
        app.bundled()
    (tmp_path / "aborted").mkdir()
    for name in ("another", "street", "animals"):
        (tmp_path / name).mkdir()
        (tmp_path / name / "config.json").touch()
    assert [one.name for one in app.bundled()] == ["animals", "street", "another"]
