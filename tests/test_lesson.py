"""The lesson: its pictures are those of the network, its source is that of the files."""

import importlib
import inspect
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from conftest import CLASSES, build_tiny
from PIL import Image
from torchvision.transforms.v2 import functional as F

from fcn import checkpoint, head, saving
from fcn.data.shapes import draw_scene
from fcn.data.transforms import Augmentation
from fcn.demo import excerpt, lesson, sketches
from fcn.demo.subject import Part, Subject
from fcn.inference import fusion
from fcn.palette import safe_colors
from fcn.segmenter import Segmenter

SIZE = (131, 90)  # no multiple of any stride


@pytest.fixture(scope="module")
def segmenter(tiny_checkpoint: Path) -> Segmenter:
    return Segmenter.load(tiny_checkpoint)


@pytest.fixture(scope="module")
def photo() -> Image.Image:
    return draw_scene(3, 160)[0].resize(SIZE)


@pytest.fixture(scope="module")
def subject(segmenter: Segmenter, photo: Image.Image) -> Subject:
    return Subject(segmenter, photo)


@pytest.fixture(scope="module")
def parts(subject: Subject) -> dict[str, Part]:
    return {title: make(subject) for title, (make, _) in lesson.PARTS.items()}


def pixels(part: Part, caption: str) -> np.ndarray:
    """The only picture whose caption starts so."""
    (found,) = [one for one in part.pictures if one.caption.startswith(caption)]
    return np.asarray(found.image)


def test_six_parts_have_words_and_pictures(parts):
    assert list(parts) == list(lesson.PARTS) and len(parts) == 6
    assert all(part.words and part.pictures for part in parts.values())


@pytest.mark.parametrize(
    ("module", "name"), sorted({one for _, functions in lesson.PARTS.values() for one in functions})
)
def test_source_is_that_of_the_function(module: str, name: str):
    found = importlib.import_module("fcn." + module.replace("/", "."))
    for part in name.split("."):
        found = getattr(found, part)
    shown = excerpt.excerpt(module, name)
    assert shown.code == inspect.cleandoc("\n" + inspect.getsource(found))
    assert shown.place == f"fcn/{module}.py, line {inspect.getsourcelines(found)[1]}"


def test_shapes_and_weights_are_those_of_the_network(segmenter, photo, tiny_checkpoint, parts):
    model = saving.load(tiny_checkpoint)
    shapes: dict[str, tuple[int, ...]] = {}
    watched = {f"pool{i + 1}": stage for i, stage in enumerate(model.backbone.stages)}
    watched |= {name: model.backbone.classifier.get_submodule(name) for name in ("fc6", "fc7")}
    watched |= {name: model.head.get_submodule(name) for name in fusion.MAPS}
    for name, layer in watched.items():
        layer.register_forward_hook(
            lambda _, given, made, name=name: shapes.update({name: tuple(made.shape[1:])})
        )
    seen = F.to_image(segmenter.resize(photo)).float()[None] / 255
    model(seen)
    _, first, *rows = parts["Building VGG"].table
    assert first[2] == f"{seen.shape[3]} x {seen.shape[2]}"
    for (name, channels, cells, _, weights), layer in zip(rows, watched.values(), strict=True):
        shape = shapes[name.split(", ")[-1]]
        assert (channels, cells) == (str(shape[0]), f"{shape[2]} x {shape[1]}"), name
        assert weights == f"{sum(one.numel() for one in layer.parameters()):,}", name


def test_answers_of_the_first_layer_are_the_networks(subject, tiny_checkpoint):
    model = saving.load(tiny_checkpoint)
    images = F.to_image(subject.seen.reduce(3)).float()[None] / 255
    stage = model.backbone.stages[0]
    with torch.no_grad():
        expected = stage.relu1_1(stage.conv1_1((images - model.mean) / model.std))[0]
    answers = lesson.respond(subject, *lesson.read_first_layer(subject.segmenter))
    np.testing.assert_allclose(answers, expected.numpy(), rtol=1e-4, atol=1e-4)


def test_without_the_weights_file_there_is_a_sentence(photo, tiny_checkpoint):
    live = Segmenter.of(saving.load(tiny_checkpoint), "here")
    part = lesson.tell_weights(Subject(live, photo))
    assert part.pictures == [] and "model.safetensors" in part.words


def test_each_found_class_has_its_scores_at_stride_32(segmenter, photo, subject, parts):
    scores = subject.maps["score_fr"]
    part, found = parts["The new classifier"], segmenter(photo).found()
    assert len(part.pictures) == len(found) + 1
    for one in found:
        shown = pixels(part, f"{one.name}: ").astype(int)
        assert shown.shape[:2] == scores[one.id].shape
        orange, blue = shown[..., 0] - shown[..., 2], -scores[one.id]
        assert ((orange > 9) <= (blue < 0)).all() and ((orange < -9) <= (blue > 0)).all()
    best = np.array(safe_colors(segmenter.classes))[scores.argmax(0)]
    np.testing.assert_array_equal(pixels(part, "The best class"), best)


@pytest.mark.parametrize("factor", [2, 8, 16, 32])
def test_the_bilinear_kernel_is_the_heads(factor: int):
    np.testing.assert_array_equal(lesson.bilinear_kernel(factor), head.bilinear_kernel(factor))


def test_fused_scores_are_what_the_segmenter_decides_by(segmenter, photo, subject, parts):
    kernels, part = segmenter.kernels, parts["Fusing skips"]
    shape = (subject.seen.height, subject.seen.width)
    for stride, decisive in segmenter._scores(photo, (16, 8)).items():
        fused = fusion.add_skips(subject.maps, kernels, stride)
        logits = fusion.upscore(fused, kernels[f"upscore{stride}"], shape)
        np.testing.assert_allclose(logits, decisive, rtol=1e-3, atol=1e-3)
        expected = sketches.heat(fused[subject.main.id], subject.reach)
        np.testing.assert_array_equal(pixels(part, f"Fused at stride {stride}"), expected)
    for stride, found in segmenter.at_strides(photo, (32, 16, 8)).items():
        found = replace(found, palette=subject.palette)
        overlay = found.overlay(photo, 0.75).resize(subject.seen.size)
        np.testing.assert_array_equal(pixels(part, f"FCN-{stride}s"), overlay)


@pytest.mark.parametrize(
    ("stride", "skips", "words"),
    [(16, ["score_pool4"], "the skip from pool4 changes"), (32, [], "trained without them")],
)
def test_no_skip_is_shown_that_was_not_trained(photo, stride: int, skips: list[str], words: str):
    live = Segmenter.of(build_tiny(CLASSES, stride=stride), "live")
    part = lesson.tell_skips(Subject(live, photo))
    captions = [one.caption for one in part.pictures]
    assert [one.split()[0] for one in captions if " adds" in one] == skips
    shown = [one for one in captions if one.startswith("FCN-")]
    assert shown == [f"FCN-{one}s" for one in live.trained_strides]
    assert words in part.words and "three strides" not in part.words
    assert len(list(lesson.tell(live, photo))) == len(lesson.PARTS)


def test_context_is_told_of_where_there_is_any(photo):
    for context in (False, True):
        live = Segmenter.of(build_tiny(CLASSES, context=context), "live")
        words = lesson.tell_vgg(Subject(live, photo)).words
        assert ("the mean of pool5" in words) == context


def test_a_photo_of_one_pixel_has_a_lesson(segmenter):
    told = list(lesson.tell(segmenter, Image.new("RGB", (1, 1))))
    assert [title for title, _, _ in told] == list(lesson.PARTS)
    assert all(excerpts for _, _, excerpts in told)


@pytest.mark.parametrize("config", [{}, {"crop": "x"}, {"crop": [8, 8], "scale": [1]}])
def test_settings_that_cannot_be_meant_are_the_defaults(config):
    assert lesson.choose_augmentation(config) == Augmentation()


def test_settings_are_the_runs_and_within_bounds(root: Path):
    given = {"crop": [10**9, 0], "scale": [0, 1e9], "color": 5, "size": 64, "flip": False}
    assert lesson.choose_augmentation(given) == Augmentation((1024, 1), 64, (0.1, 10.0), False, 0.9)
    street = checkpoint.read_json(root / "checkpoints" / "street", "training.json")
    config = street["config"]
    crop, scale = tuple(config["crop"]), tuple(config["scale"])
    augmentation = Augmentation(crop, config["size"], scale, config["flip"], config["color"])
    assert lesson.choose_augmentation(config) == augmentation
    # The trainer's choice, and not the size that the network is served at.
    assert lesson.choose_augmentation({**config, "size": 0}) == augmentation._replace(size=480)
    assert (
        lesson.choose_augmentation({**config, "size": 0, "dataset": ["camvid"]}) == Augmentation()
    )
