"""The whole network: any size in and the same out, one set of weights, saved and loaded."""

import json
from pathlib import Path

import pytest
import torch
from conftest import build_tiny
from huggingface_hub import ModelCard
from hypothesis import given, settings
from hypothesis import strategies as st
from safetensors.torch import load_file, save_file

from fcn.checkpoint import publish
from fcn.errors import InputError
from fcn.inference.fusion import STRIDES
from fcn.model import FCN
from fcn.vgg import DEPTHS, HEADS

MODEL = build_tiny(["sky", "road", "car"])


@given(st.integers(1, 80), st.integers(1, 80), st.sampled_from(STRIDES))
@settings(max_examples=25, deadline=None)
def test_any_size_in_same_size_out(height: int, width: int, stride: int) -> None:
    with torch.inference_mode():
        logits = MODEL(torch.rand(1, 3, height, width), stride=stride)
    assert logits.shape == (1, 3, height, width)
    assert logits.isfinite().all()


@pytest.mark.parametrize("backbone", DEPTHS)
@pytest.mark.parametrize("head", HEADS)
def test_every_backbone_and_head_answers(backbone: str, head: str) -> None:
    model = FCN(["a", "b"], backbone=backbone, head=head, width=8).eval()
    with torch.inference_mode():
        assert model(torch.rand(1, 3, 40, 33)).shape == (1, 2, 40, 33)


@torch.inference_mode()
def test_one_set_of_weights_answers_at_every_stride() -> None:
    images = torch.rand(2, 3, 60, 70)
    together = MODEL.forward_all(images)
    for stride in STRIDES:
        torch.testing.assert_close(together[stride], MODEL(images, stride=stride))
    assert not torch.equal(together[32], together[8])
    assert torch.equal(MODEL(images), MODEL(images, stride=8))


@torch.inference_mode()
def test_the_parameters_do_not_depend_on_the_stride() -> None:
    coarse = FCN(["sky", "road", "car"], width=8, stride=32).eval()
    coarse.load_state_dict(MODEL.state_dict(), strict=True)
    images = torch.rand(1, 3, 40, 40)
    assert torch.equal(coarse(images), MODEL(images, stride=32))


@torch.inference_mode()
def test_pictures_are_normalised_inside() -> None:
    plain = FCN(["a"], width=8, mean=[0.5] * 3, std=[0.25] * 3).eval()
    image = torch.rand(1, 3, 32, 32)
    expected = plain.backbone((image - 0.5) / 0.25)
    for ours, theirs in zip(plain.features(image), expected, strict=True):
        torch.testing.assert_close(ours, theirs)


@torch.inference_mode()
def test_saving_and_loading_gives_the_same_logits(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    model = build_tiny(
        ["sky", "road"], temperature=1.25, absent_below=0.75, doubt_below=0.5, stride=16
    )
    model.save_pretrained(tmp_path)
    loaded = FCN.from_pretrained(str(tmp_path))
    images = torch.rand(1, 3, 50, 40)
    assert torch.equal(loaded(images), model(images))
    assert loaded.config == model.config == json.loads((tmp_path / "config.json").read_text())
    assert not loaded.training
    assert capsys.readouterr().out == ""


def test_a_folder_without_a_network_is_told(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="is not a checkpoint: it has no config.json"):
        FCN.from_pretrained(str(tmp_path))


def test_a_run_is_loaded_as_its_checkpoint(tmp_path: Path) -> None:
    publish(tmp_path, "best", 10, MODEL.save_pretrained)
    for path in (tmp_path, tmp_path / "best", tmp_path / "best-000010"):
        assert FCN.from_pretrained(path).config == MODEL.config
    with pytest.raises(InputError, match="is a folder, and has no revision v1"):
        FCN.from_pretrained(tmp_path, revision="v1")


def test_loading_is_strict(tmp_path: Path) -> None:
    MODEL.save_pretrained(tmp_path)
    weights = load_file(tmp_path / "model.safetensors")
    del weights["head.score_fr.bias"]
    save_file(weights, tmp_path / "model.safetensors")
    with pytest.raises(RuntimeError, match=r"head\.score_fr\.bias"):
        FCN.from_pretrained(str(tmp_path))


def test_a_pickle_is_never_read(tmp_path: Path) -> None:
    MODEL.save_pretrained(tmp_path)
    (tmp_path / "model.safetensors").unlink()
    torch.save(MODEL.state_dict(), tmp_path / "pytorch_model.bin")
    with pytest.raises(FileNotFoundError):
        FCN.from_pretrained(str(tmp_path))


@pytest.mark.parametrize(
    "arguments",
    [
        {"classes": []},
        {"classes": ["a", "a"]},
        {"palette": [[0, 0, 0]]},
        {"stride": 4},
        {"backbone": "vgg11"},
        {"head": "huge"},
    ],
)
def test_wrong_arguments_are_refused(arguments: dict[str, object]) -> None:
    with pytest.raises(ValueError):
        FCN(**{"classes": ["a", "b"], "width": 8, **arguments})


def test_an_unknown_stride_is_refused() -> None:
    with pytest.raises(ValueError, match="must be one of"):
        MODEL(torch.rand(1, 3, 8, 8), stride=4)


def test_a_network_that_is_saved_alone_claims_no_licence(tmp_path: Path) -> None:
    """What its weights may be used for depends on the data, of which it knows nothing."""
    MODEL.save_pretrained(tmp_path)
    assert ModelCard.load(tmp_path / "README.md").data.license == "other"
