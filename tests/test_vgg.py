"""Our VGG against torchvision's, layer for layer and number for number."""

import json
import re
from pathlib import Path

import pytest
import torch
from safetensors.torch import save_file
from torchvision import models

from fcn.errors import InputError
from fcn.vgg import (
    CAFFE,
    DEPTHS,
    HEADS,
    PRETRAINED,
    TORCHVISION,
    VGG,
    Normalisation,
    download_backbone_weights,
    load_pretrained,
    read_backbone_weights,
)


@pytest.mark.parametrize("name", DEPTHS)
def test_paper_head_scores_as_torchvision_does(name: str) -> None:
    torch.manual_seed(0)
    theirs = models.get_model(name, weights=None).eval()
    ours = VGG(name, head="paper").eval()
    load_pretrained(ours, theirs.state_dict())
    image = torch.randn(1, 3, 224, 224)
    with torch.inference_mode():
        centre = ours(image).fc7[:, :, 3, 3]  # (1, 4096): where the 7x7 kernel sees all of pool5
        torch.testing.assert_close(theirs.classifier[6](centre), theirs(image))


@pytest.mark.parametrize("name", DEPTHS)
def test_stages_compute_torchvisions_features(name: str) -> None:
    torch.manual_seed(0)
    theirs = models.get_model(name, weights=None).features.eval()
    ours = VGG(name, width=8).eval()
    load_pretrained(ours, {f"features.{key}": value for key, value in theirs.state_dict().items()})
    x = image = torch.randn(2, 3, 64, 96)
    with torch.inference_mode():
        for stage in ours.stages:
            x = stage(x)
        torch.testing.assert_close(x, theirs(image))


@torch.inference_mode()
def test_vgg19_with_vgg16s_weights_is_vgg16(real_weights: Path) -> None:
    weights, _ = read_backbone_weights(real_weights, "compact")
    sixteen, nineteen = (VGG(name, width=8).eval() for name in ("vgg16", "vgg19"))
    for vgg in (sixteen, nineteen):
        load_pretrained(vgg, weights)
    one = other = 50 * torch.randn(1, 3, 64, 96, generator=torch.Generator().manual_seed(0))
    for stage, deeper in zip(sixteen.stages, nineteen.stages, strict=True):
        one, other = stage(one), deeper(other)
        torch.testing.assert_close(one, other, rtol=1e-5, atol=1e-5)
    assert one.std() > 1


@pytest.mark.parametrize("head", HEADS)
def test_taps_lie_at_strides_8_16_and_32(head: str) -> None:
    vgg = VGG(head=head, width=8).eval()
    pool3, pool4, fc7 = vgg.channels
    for size in [(1, 1), (33, 64), (65, 31)]:
        with torch.inference_mode():
            features = vgg(torch.rand(1, 3, *size))
        taps = zip(features, (8, 16, 32, 32), (pool3, pool4, 512, fc7), strict=True)
        for tap, stride, channels in taps:
            assert tap.shape == (1, channels, *(-(-side // stride) for side in size))


def test_layers_have_the_papers_names() -> None:
    names = {name.rpartition(".")[0] for name in VGG("vgg19", width=8).state_dict()}
    assert {"stage1.conv1_1", "stage5.conv5_4", "classifier.fc6", "classifier.fc7"} <= names
    assert len(names) == 16 + 2


def test_with_context_a_cell_knows_the_whole_picture() -> None:
    torch.manual_seed(0)
    plain, wide = (VGG(width=8, context=context).eval() for context in (False, True))
    assert wide.load_state_dict(plain.state_dict(), strict=False).missing_keys == [
        "classifier.fc6.context.weight"
    ]
    one = torch.rand(1, 3, 32, 512)
    other = one.clone()
    other[..., -64:] += 1
    with torch.inference_mode():
        assert torch.equal(plain(one).fc7, wide(one).fc7)  # it has to be learnt
        torch.nn.init.normal_(wide.classifier.get_parameter("fc6.context.weight"))
        for vgg, is_same in ((plain, True), (wide, False)):
            far = [vgg(images).fc7[..., 0] for images in (one, other)]
            assert torch.equal(*far) == is_same


def test_freezing_stops_gradients_of_the_first_stages() -> None:
    vgg = VGG(width=8)
    vgg.freeze(2)
    vgg(torch.rand(1, 3, 32, 32)).fc7.sum().backward()
    grads = [stage[0].weight.grad is not None for stage in vgg.stages]
    assert grads == [False, False, True, True, True]


@pytest.mark.parametrize("arguments", [{"name": "vgg11"}, {"head": "huge"}])
def test_unknown_parts_are_refused(arguments: dict[str, str]) -> None:
    with pytest.raises(ValueError, match="must be one of"):
        VGG(**arguments)


def test_weights_of_another_network_are_refused() -> None:
    vgg19 = models.vgg19(weights=None).features.state_dict()
    weights = {f"features.{key}": value for key, value in vgg19.items()}
    with pytest.raises(InputError, match="16 convolutions, but this network has 13"):
        load_pretrained(VGG("vgg16", width=8), weights)
    for shape in ((64, 3, 1, 1), (3, 3, 3, 64)):  # the latter as Keras has it: as many numbers
        weights["features.0.weight"] = torch.zeros(shape)
        with pytest.raises(InputError, match=rf"weight has shape {re.escape(str(shape))} in"):
            load_pretrained(VGG("vgg19", width=8), weights)
    del weights["features.0.weight"]
    with pytest.raises(InputError, match=r"features\.0\.weight is missing"):
        load_pretrained(VGG("vgg19", width=8), weights)


def test_normalisation_comes_with_the_weights(tmp_path: Path) -> None:
    file, tensors = tmp_path / "vgg.safetensors", {"features.0.bias": torch.arange(64.0)}
    save_file(tensors, file, metadata={"mean": json.dumps([0.1, 0.2, 0.3]), "std": "[1, 2, 3]"})
    weights, normalisation = read_backbone_weights(file, "compact")
    assert normalisation == ((0.1, 0.2, 0.3), (1, 2, 3))
    assert torch.equal(weights["features.0.bias"], tensors["features.0.bias"])


@pytest.mark.parametrize(
    ("count", "head", "normalisation"),
    [(13, "compact", CAFFE), (13, "paper", TORCHVISION), (16, "compact", TORCHVISION)],
)
def test_without_metadata_it_is_that_of_the_published_weights(
    tmp_path: Path, count: int, head: str, normalisation: Normalisation
) -> None:
    tensors = {f"features.{number}.weight": torch.zeros(1, 1, 1, 1) for number in range(count)}
    biases = {f"features.{number}.bias": torch.zeros(1) for number in range(count)}
    file = tmp_path / "vgg.safetensors"
    save_file(tensors | biases, file)
    assert read_backbone_weights(file, head)[1] == normalisation
    # fc6 of numbers comes with torchvision's own training; that of Caffe's file has none.
    for value, expected in ((0.0, TORCHVISION), (torch.nan, normalisation)):
        save_file(tensors | biases | {"classifier.0.weight": torch.full((1,), value)}, file)
        assert read_backbone_weights(file, head)[1] == expected


def test_files_that_are_no_weights_are_refused(tmp_path: Path) -> None:
    file = tmp_path / "vgg.safetensors"
    with pytest.raises(InputError, match="cannot be read as backbone weights"):
        read_backbone_weights(file, "compact")
    for mean in ("[1", "3", "[1]", '["a", "b", "c"]'):
        save_file({"a": torch.zeros(1)}, file, metadata={"mean": mean})
        with pytest.raises(InputError, match="cannot be read as backbone weights"):
            read_backbone_weights(file, "compact")
    file.write_bytes(b"not weights")
    with pytest.raises(InputError, match="cannot be read as backbone weights"):
        read_backbone_weights(file, "compact")


def test_weights_that_cannot_be_fetched_are_one_sentence(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("TORCH_HOME", str(tmp_path))  # nothing is cached there
    monkeypatch.setenv("https_proxy", "http://127.0.0.1:9")
    monkeypatch.delenv("no_proxy", raising=False)
    with pytest.raises(InputError, match="vgg16.*--backbone-weights FILE") as raised:
        download_backbone_weights("vgg16", "compact")
    assert "\n" not in str(raised.value)


@pytest.mark.parametrize("key", PRETRAINED)
def test_published_normalisation_is_torchvisions(key: tuple[str, str]) -> None:
    name, normalisation = PRETRAINED[key]
    preset = models.get_weight(name).transforms()
    assert preset.mean == pytest.approx(list(normalisation.mean))
    assert preset.std == pytest.approx(list(normalisation.std))


def test_real_weights_load(real_weights: Path) -> None:
    weights, normalisation = read_backbone_weights(real_weights, "compact")
    vgg = VGG(width=8)
    load_pretrained(vgg, weights)
    assert normalisation.mean == pytest.approx(CAFFE.mean)
    first = vgg.get_parameter("stage1.conv1_1.weight")
    assert torch.equal(first, weights["features.0.weight"].float())
