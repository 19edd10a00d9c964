"""A run's parts: the loss, the step, and that stopping changes nothing."""

import dataclasses
import itertools
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from conftest import CLASSES, build_tiny
from layouts import write_mask, write_pair

from fcn import checkpoint, saving
from fcn.data import datasets
from fcn.data.datasets import open_dataset
from fcn.data.samples import EpochSampler
from fcn.demo.examples import find_examples
from fcn.errors import InputError
from fcn.head import NEEDED_AT
from fcn.inference.fusion import STRIDES
from fcn.metrics import IGNORE_INDEX
from fcn.training import plots, report, trainer
from fcn.training.config import TrainConfig
from fcn.training.feeding import build_samples
from fcn.training.learning import Objective, build_optimizer
from fcn.training.trainer import Trainer


def config_in(folder: Path, **changes: Any) -> TrainConfig:
    """A run on shapes that takes moments: random weights, small crops, float32."""
    small = {"dataset": "shapes", "backbone_weights": "none", "width": 8, "export": False}
    sizes = {"crop": (32, 40), "batch_size": 4, "workers": 0, "steps": 6, "warmup": 2}
    given = {**small, **sizes, "precision": "fp32", "output": str(folder / "run")}
    return TrainConfig(**{**given, **changes})


def take(trainer: Trainer, steps: int) -> list[float]:
    return [float(trainer.step(p)) for p in itertools.islice(trainer.batches(), steps)]


def assert_same_weights(one: Trainer, other: Trainer, **tolerance: float) -> None:
    theirs = other.model.state_dict()
    for name, value in one.model.state_dict().items():
        torch.testing.assert_close(value, theirs[name], **tolerance)


def test_the_loss_is_the_sum_over_labelled_pixels_averaged_over_strides() -> None:
    model = build_tiny(["a", "b"])
    images, labels = torch.rand(2, 3, 24, 30), torch.randint(0, 2, (2, 24, 30))
    labels[:, :10] = IGNORE_INDEX
    with torch.no_grad():
        loss = Objective(model, 8, torch.ones(2))(images, labels)
        by_stride = [
            F.cross_entropy(logits.movedim(1, -1)[labels < 2], labels[labels < 2], reduction="sum")
            for logits in model.forward_all(images).values()
        ]
    torch.testing.assert_close(loss, torch.stack(by_stride).mean())


def test_ignored_pixels_have_no_gradient() -> None:
    logits = torch.randn(1, 2, 6, 6, requires_grad=True)
    labels = torch.randint(0, 2, (1, 6, 6))
    labels[:, 2:4] = IGNORE_INDEX

    class Fixed(torch.nn.Module):
        @property
        def head(self) -> "Fixed":
            return self

        def features(self, images: torch.Tensor) -> torch.Tensor:
            return images

        def fuse(self, features: torch.Tensor, strides: tuple[int, ...]) -> dict[int, torch.Tensor]:
            return {8: logits}

        def upscore(self, stride: int, fused: torch.Tensor, like: torch.Tensor) -> torch.Tensor:
            return fused

    # All that is asked of a network are these four.
    Objective(Fixed(), 8, torch.ones(2))(torch.rand(1, 3, 6, 6), labels).backward()  # type: ignore[arg-type]
    assert not logits.grad[:, :, 2:4].any()
    assert logits.grad[:, :, :2].all()


def test_a_batch_without_labels_changes_nothing_and_breaks_nothing(tmp_path: Path) -> None:
    trainer = Trainer(config_in(tmp_path, weight_decay=0.0))
    before = {name: value.clone() for name, value in trainer.model.state_dict().items()}
    images, labels = next(trainer.batches())[0]
    assert float(trainer.step([(images, torch.full_like(labels, IGNORE_INDEX))])) == 0
    for name, value in trainer.model.state_dict().items():
        assert torch.equal(value, before[name])


def test_how_a_step_is_split_does_not_change_it(tmp_path: Path) -> None:
    whole = Trainer(config_in(tmp_path, dropout=0.0))
    parts = Trainer(config_in(tmp_path, dropout=0.0, accumulate=4))
    assert take(whole, 2) == pytest.approx(take(parts, 2), rel=1e-5)
    # Adam divides by the gradient's size, so where that is nearly zero its sign is all that counts.
    assert_same_weights(whole, parts, atol=2e-3, rtol=0)


def test_a_resumed_run_repeats_an_uninterrupted_one(tmp_path: Path) -> None:
    config = config_in(tmp_path)
    through = Trainer(config)
    losses = take(through, 4)
    stopped = Trainer(config)
    first = take(stopped, 2)
    stopped.save()
    resumed = Trainer(dataclasses.replace(config, resume=True))
    assert resumed.progress.step == 2
    assert first + take(resumed, 2) == losses
    assert_same_weights(through, resumed, atol=0, rtol=0)


def test_a_resumed_run_knows_the_best_network_that_it_published(tmp_path: Path) -> None:
    config = config_in(tmp_path)
    killed = Trainer(config)
    killed.save()
    score = killed.validate()  # and not saved any more
    best = checkpoint.resolve(tmp_path / "run")
    metrics = checkpoint.read_json(best, "metrics.json")
    checkpoint.write_json(best / "metrics.json", {**metrics, "mean_iou": 1.0})  # as if fitted
    assert Trainer(dataclasses.replace(config, resume=True)).progress.best == score


def test_the_best_score_counts_no_more_where_val_has_other_photos(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    config = config_in(tmp_path)
    first = Trainer(config)
    take(first, 1)
    first.validate()
    first.save()
    best = checkpoint.resolve(tmp_path / "run")
    told = checkpoint.read_json(best, "training.json")
    checkpoint.write_json(best / "training.json", {**told, "best": 2.0})  # no network is that good
    config = dataclasses.replace(config, resume=True)
    assert Trainer(config).progress.best == 2.0
    monkeypatch.setitem(datasets.SHAPES_COUNT, "val", 12)
    for _ in range(2):  # also where such a run was stopped before it was scored
        resumed = Trainer(config)
        assert "val has other photos than before" in capsys.readouterr().err
        assert (resumed.progress.best, resumed.progress.is_scored) == (-1.0, False)
        resumed.save()
    resumed.validate()
    assert 0 <= resumed.progress.best <= 1
    resumed.save()
    again = Trainer(config)
    assert "other photos" not in capsys.readouterr().err
    assert again.progress.best == resumed.progress.best and again.progress.is_scored


def test_other_photos_and_labels_of_equal_names_are_told_apart(tmp_path: Path) -> None:
    for split, label in (("train", 0), ("val", 1)):
        write_pair("folder", tmp_path, split, "a", [[label] * 90, [0, 1, 2] * 30])
    one, other = (open_dataset("folder", tmp_path, split) for split in ("train", "val"))
    told = report.describe_photos(one)
    assert told["images"] == 1 and told != report.describe_photos(other)
    write_mask(one.pairs[0][1], [list(range(3)) * 30, [0, 1, 1] * 30])
    assert told != report.describe_photos(one)


def test_another_batch_size_goes_on_with_the_photos_that_come_next(tmp_path: Path) -> None:
    config = config_in(tmp_path)
    first = Trainer(config)
    take(first, 3)
    first.save()
    smaller = Trainer(dataclasses.replace(config, resume=True, batch_size=2, accumulate=1))
    (images, _), *_ = next(smaller.batches())
    order = EpochSampler(len(first.train_set), config.seed, start=3 * config.batch_size)
    samples = build_samples(config, first.train_set)
    wanted = [samples[key][0] for key in itertools.islice(order, 2)]
    assert torch.equal(images, torch.stack(wanted))


@pytest.mark.parametrize("before", [torch.channels_last, torch.contiguous_format])
def test_a_run_is_resumed_where_memory_is_laid_out_otherwise(
    before: torch.memory_format, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    config = config_in(tmp_path)
    monkeypatch.setattr(trainer, "find_layout", lambda device: before)
    through = Trainer(config)
    take(through, 2)
    through.save()
    take(through, 2)
    after = {torch.channels_last: torch.contiguous_format}.get(before, torch.channels_last)
    monkeypatch.setattr(trainer, "find_layout", lambda device: after)
    resumed = Trainer(dataclasses.replace(config, resume=True))
    for group in resumed.optimizer.param_groups:
        for one in group["params"]:
            assert resumed.optimizer.state[one]["exp_avg"].stride() == one.stride()
    take(resumed, 2)
    assert_same_weights(through, resumed, atol=1e-5, rtol=0)


def test_a_run_that_another_process_went_on_with_is_left_to_it(tmp_path: Path) -> None:
    config = config_in(tmp_path)
    late, first = Trainer(config), Trainer(config)
    late.check_last()
    first.save()
    with pytest.raises(InputError, match="already holds a run"):
        late.check_last()
    resumed = Trainer(dataclasses.replace(config, resume=True))
    resumed.check_last()
    take(first, 1)
    first.save()
    with pytest.raises(InputError, match="Another process has trained in"):
        resumed.check_last()


def test_a_class_may_be_called_what_it_likes(tmp_path: Path) -> None:
    names = ["a", "$x^$", "_b_ & <c>"]
    shown = {name: 0.5 for name in names}
    metrics = {"per_class_iou": shown, "mean_iou": 0.5, "classes": names}
    for draw in (plots.plot_per_class, plots.plot_confusion):
        draw({**metrics, "confusion": [[1] * 3] * 3}).savefig(tmp_path / "plot.png")


def test_a_resumed_run_takes_new_rates_but_no_new_layers(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    config = config_in(tmp_path)
    Trainer(config).save()
    Trainer(dataclasses.replace(config, resume=True))
    assert "other settings" not in capsys.readouterr().err
    resumed = Trainer(dataclasses.replace(config, resume=True, lr=1e-5, backbone_lr=1e-6))
    assert f"--lr 1e-05 (was --lr {config.lr})" in capsys.readouterr().err
    assert [group["initial_lr"] for group in resumed.optimizer.param_groups] == [1e-6, 1e-5]
    assert resumed.model.normalisation == Trainer(config_in(tmp_path / "b")).model.normalisation
    larger = Trainer(dataclasses.replace(config, resume=True, size=64))
    assert larger.model.inference_size == 64


def test_what_a_resumed_run_must_keep_is_told_at_once_and_before_a_download(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    config = config_in(tmp_path, resume=True)
    begun = Trainer(dataclasses.replace(config, resume=False))
    begun.save()
    with monkeypatch.context() as patched, pytest.raises(InputError) as told:
        patched.setattr(trainer, "open_splits", lambda config: pytest.fail("it opened the data"))
        changes = {"dataset": "scene_parsing", "width": 16, "context": False, "frozen_stages": 0}
        Trainer(dataclasses.replace(config, **changes, learn_deconvolution=False, steps=9))
    before = "--dataset shapes --width 8 --context --frozen-stages 2 --learn-deconvolution"
    now = "--dataset scene_parsing --width 16 --no-context --frozen-stages 0"
    assert f"begun with {before}, not {now} --no-learn-deconvolution:" in str(told.value)
    with pytest.raises(InputError, match="with --classes, not --classes circle:"):
        Trainer(dataclasses.replace(config, classes=["circle"]))
    begun.model.classes = begun.model.classes[:-1]  # as if classes.txt were longer now
    with pytest.raises(InputError, match="differ in their classes"):
        begun.restore({})


@pytest.mark.parametrize("workers", [0, 1])
def test_a_file_that_is_found_damaged_is_named_and_nothing_lost(
    workers: int, tmp_path: Path
) -> None:
    for split in ("train", "val"):
        photo, _ = write_pair("folder", tmp_path / "data", split, "a", [[0, 1, 2] * 20] * 40)
    data = {"dataset": "folder", "data": str(tmp_path / "data")}
    trainer = Trainer(config_in(tmp_path, workers=workers, batch_size=1, **data))
    batches = trainer.batches()
    trainer.step(next(batches))
    (tmp_path / "data/train/images/a.jpg").write_bytes(b"no photo")
    with pytest.raises(InputError, match=r"^\S*a\.jpg cannot be read .*; replace the file$"):
        for passes in batches:
            trainer.step(passes)
    saved = saving.load_state(checkpoint.follow(tmp_path / "run" / "last"))
    assert saved["progress"]["step"] == trainer.progress.step >= 1


def test_validating_does_not_disturb_training(tmp_path: Path) -> None:
    config = config_in(tmp_path)
    plain, validated = Trainer(config), Trainer(config)
    first = take(validated, 1)
    score = validated.validate()
    assert (
        validated.progress.best
        == score
        == checkpoint.read_json(checkpoint.resolve(tmp_path / "run"), "metrics.json")["mean_iou"]
    )
    assert first + take(validated, 1) == take(plain, 2)


@pytest.mark.parametrize("stride", STRIDES)
def test_a_stride_trains_what_it_reaches(stride: int) -> None:
    model = build_tiny(CLASSES)
    build_optimizer(model, TrainConfig(stride=stride, frozen_stages=2))
    trained = {name for name, child in model.head.named_children() if child.weight.requires_grad}
    assert trained == {name for name, finest in NEEDED_AT.items() if finest >= stride}


def test_rates_of_old_and_new_layers_differ() -> None:
    model = build_tiny(CLASSES)
    old, new = build_optimizer(model, TrainConfig(frozen_stages=2)).param_groups
    assert (old["lr"], new["lr"]) == (TrainConfig.backbone_lr, TrainConfig.lr)
    assert len(old["params"]) == 2 * 9  # weights and biases of conv3_1 to conv5_3
    everything = build_optimizer(model, TrainConfig(frozen_stages=0)).param_groups
    assert sum(len(group["params"]) for group in everything) == len(list(model.parameters()))


def test_the_published_checkpoint_tells_its_whole_story(tmp_path: Path) -> None:
    trainer = Trainer(config_in(tmp_path, seed=3))
    take(trainer, 1)
    trainer.validate()
    folder = checkpoint.resolve(tmp_path / "run")
    files = {"config.json", "model.safetensors", "metrics.json", "training.json", "README.md"}
    assert files | {"curves.png", "per_class_iou.png", "confusion.png"} == {
        file.name for file in folder.iterdir()
    }
    training = checkpoint.read_json(folder, "training.json")
    assert TrainConfig(**training["config"]).seed == 3
    assert training["data"]["images"] == len(trainer.train_set)
    metrics = checkpoint.read_json(folder, "metrics.json")
    assert metrics["images"] == len(trainer.val_set)
    assert f"{100 * metrics['mean_iou']:.1f} %" in (folder / "README.md").read_text()
    assert 0 < saving.load(folder).doubt_below < 1


def test_a_finished_run_has_fitted_scored_and_reported(tmp_path: Path) -> None:
    portrait = find_examples(["person"])[0].file
    trainer = Trainer(config_in(tmp_path, watch=[str(portrait)], push="me/shapes"))
    take(trainer, 1)
    trainer.progress.step = 10
    trainer.look()
    trainer.validate()
    trainer.finish()
    run, folder = tmp_path / "run", checkpoint.resolve(tmp_path / "run")
    metrics = checkpoint.read_json(folder, "metrics.json")
    assert list(metrics["strides"]) == ["32", "16", "8"]
    assert metrics["strides"]["8"]["mean_iou"] == metrics["mean_iou"]
    model = saving.load(folder)
    assert model.temperature == metrics["fitted"]["temperature"]
    assert model.inference_size == metrics["fitted"]["inference_size"]
    assert (folder / "progress.png").is_file()
    assert "(progress.png)" in (folder / "README.md").read_text()
    page = (run / "report.html").read_text()
    assert {file.name for file in run.glob("*.png")} == {
        f"strip_{group}.png" for group in ("train", "val", "watched")
    }
    assert page.count("data:image/png;base64,") == 8
    for text in ("Worst validation photos", "python train.py --dataset shapes", "Every choice"):
        assert text in page
    assert "http" not in page
    # The command that repeats the run publishes nothing, and goes elsewhere.
    assert "--push" not in page and "--output" not in page


def test_a_photo_without_labels_is_not_the_worst(tmp_path: Path) -> None:
    for split, stem, values in (("train", "a", [0, 1]), ("val", "b", [1, 0]), ("val", "c", [255])):
        write_pair("folder", tmp_path / "data", split, stem, [values * 20] * 40)
    data = {"dataset": "folder", "data": str(tmp_path / "data")}
    trainer = Trainer(config_in(tmp_path, **data))
    take(trainer, 1)
    trainer.validate()
    trainer.finish()
    page = (tmp_path / "run" / "report.html").read_text()
    assert "images/b.jpg" in page and "images/c.jpg" not in page


def test_rates_rise_for_a_fifth_of_a_short_run_at_most(tmp_path: Path) -> None:
    trainer = Trainer(config_in(tmp_path, steps=10, warmup=100))
    group = trainer.optimizer.param_groups[0]
    shares = [group["lr"] / group["initial_lr"] for _ in range(4) if take(trainer, 1)]
    fallen = [(1 - step / 10) ** trainer.config.power for step in range(4)]
    assert shares == pytest.approx([0.01, fallen[1] / 2, fallen[2], fallen[3]])


def test_a_network_that_learns_nothing_is_told(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    trainer = Trainer(config_in(tmp_path, lr=1e-12, backbone_lr=1e-12))
    trainer.progress.step = 200  # its scores still are the zeros they start from
    trainer.look()
    told = capsys.readouterr().err
    assert "Step 200: nearly every pixel" in told
    assert "'background'" in told
    assert "--lr 1e-12" in told
    trainer.progress.step = 10
    trainer.look()
    assert not capsys.readouterr().err


@pytest.mark.parametrize(
    ("changes", "sentence"),
    [
        ({"batch_size": 5, "accumulate": 2}, "cannot be split evenly"),
        ({"resume": True}, "holds no run to resume"),
        ({"backbone_weights": "nowhere.safetensors"}, "nowhere.safetensors cannot be read"),
        ({"init": "nowhere"}, "nowhere is not a checkpoint"),
        ({"classes": ["sqare"]}, "square"),
        ({"split": "trian"}, "trian"),
    ],
)
def test_mistakes_are_one_sentence_before_training(
    tmp_path: Path, changes: dict[str, Any], sentence: str
) -> None:
    with pytest.raises(InputError, match=sentence):
        Trainer(config_in(tmp_path, **changes))


def test_a_checkpoint_is_never_taken_for_a_run(tmp_path: Path) -> None:
    saving.write(tmp_path / "run", build_tiny(CLASSES))
    for resume in (False, True):
        with pytest.raises(InputError, match="is a checkpoint, not a run"):
            Trainer(config_in(tmp_path, resume=resume))


def test_a_run_is_never_overwritten(tmp_path: Path) -> None:
    Trainer(config_in(tmp_path)).save()
    with pytest.raises(InputError, match="already holds a run: add --resume"):
        Trainer(config_in(tmp_path))


def test_the_best_network_alone_is_never_overwritten(tmp_path: Path) -> None:
    run = tmp_path / "run"
    checkpoint.publish(run, "best", 10, lambda folder: saving.write(folder, build_tiny(CLASSES)))
    told = "holds only the best network of a run: start from it"
    for resume, last in itertools.product((False, True), (None, "", "last-000010\n")):
        if last is not None:  # a pointer to what is not there
            (run / "last").write_text(last)
        with pytest.raises(InputError, match=told):
            Trainer(config_in(tmp_path, resume=resume))


def test_fine_tuning_starts_from_what_fits(
    tmp_path: Path, tiny_checkpoint: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    config = config_in(tmp_path, init=str(tiny_checkpoint), classes=["circle"])
    trainer, source = Trainer(config), saving.load(tiny_checkpoint)
    row = source.classes.index("circle")
    assert trainer.train_set.classes == ("background", "circle")
    assert torch.equal(trainer.model.head.score_fr.weight[1], source.head.score_fr.weight[row])
    assert "Started from" in capsys.readouterr().err


def test_labels_of_samples_are_classes_or_ignored(tmp_path: Path) -> None:
    trainer = Trainer(config_in(tmp_path))
    values = set(np.unique(torch.cat([labels for _, labels in next(trainer.batches())])))
    assert values <= {*range(len(CLASSES)), IGNORE_INDEX}


def test_weights_are_sent_to_other_processes_as_they_are_loaded(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What is sent is memory, and of channels last it would be other numbers."""
    one, sent = Trainer(config_in(tmp_path)), []
    one.validate()
    monkeypatch.setattr("fcn.training.trainer.broadcast", lambda value: sent.append(value) or value)
    monkeypatch.setattr(type(one.accelerator), "is_main_process", False)
    one.best_weights()
    assert sent and all(value.is_contiguous() for value in sent)


def test_without_git_a_run_says_of_no_commit(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", "")
    assert report.find_revision() == ""
