"""The deconvolution's kernel, the alignment of the maps, and the fusion of skips."""

import pytest
import torch
import torch.nn.functional as F
from hypothesis import given, settings
from hypothesis import strategies as st

from fcn.head import NEEDED_AT, STRIDES, SkipFusion, Upscore, bilinear_kernel, deconvolve
from fcn.vgg import Features

CHANNELS, CLASSES = (3, 4, 5), 2


def features_of(height: int, width: int) -> Features:
    sizes = [(-(-height // stride), -(-width // stride)) for stride in (8, 16, 32)]
    pool3, pool4, fc7 = (torch.rand(2, c, *size) for c, size in zip(CHANNELS, sizes, strict=True))
    return Features(pool3, pool4, pool5=fc7, fc7=fc7)


def random_head() -> SkipFusion:
    head = SkipFusion(CHANNELS, CLASSES)
    for layer in (head.score_fr, head.score_pool4, head.score_pool3):
        torch.nn.init.normal_(layer.weight)
    return head


def test_bilinear_kernel_golden() -> None:
    row = torch.tensor([1.0, 3.0, 3.0, 1.0]) / 4
    assert torch.equal(bilinear_kernel(2), torch.outer(row, row))


@pytest.mark.parametrize("factor", [2, 8, 16, 32])
def test_a_fresh_deconvolution_interpolates_bilinearly(factor: int) -> None:
    scores = torch.randn(1, 3, 5, 4)
    up = deconvolve(scores, Upscore(3, factor).weight)
    expected = F.interpolate(scores, scale_factor=factor, mode="bilinear", align_corners=False)
    inner = slice(factor, -factor)  # at the border a deconvolution sees zeros beyond the map
    torch.testing.assert_close(up[..., inner, inner], expected[..., inner, inner])


@pytest.mark.parametrize("factor", [2, 8])
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_blocks_are_the_transposed_convolution(factor: int, dtype: torch.dtype) -> None:
    scores = torch.randn(2, 3, 4, 5).to(dtype).requires_grad_()
    weight = torch.randn(3, 1, 2 * factor, 2 * factor, requires_grad=True)
    weigh = torch.randn(2, 3, 4 * factor, 5 * factor)
    expected = F.conv_transpose2d(
        scores.float(), weight, stride=factor, padding=factor // 2, groups=3
    )
    with torch.autocast("cpu", torch.bfloat16):
        blocks = deconvolve(scores, weight)
    torch.testing.assert_close(blocks, expected)
    found, wanted = (
        torch.autograd.grad((one * weigh).sum(), (scores, weight)) for one in (blocks, expected)
    )
    torch.testing.assert_close(found, wanted, rtol=1e-5, atol=1e-4)  # sums of 64, in any order


@given(st.integers(1, 130), st.integers(1, 130))
@settings(max_examples=40, deadline=None)
def test_logits_have_the_pictures_size_at_every_stride(height: int, width: int) -> None:
    logits = random_head()(features_of(height, width), torch.empty(2, 3, height, width))
    assert {s: tuple(one.shape) for s, one in logits.items()} == {
        stride: (2, CLASSES, height, width) for stride in STRIDES
    }


@pytest.mark.parametrize("stride", STRIDES)
def test_one_stride_alone_is_the_same_as_among_all(stride: int) -> None:
    head, features, images = random_head(), features_of(70, 90), torch.empty(2, 3, 70, 90)
    alone = head(features, images, (stride,))
    assert list(alone) == [stride]
    torch.testing.assert_close(alone[stride], head(features, images)[stride])


def test_a_fresh_head_scores_zero() -> None:
    logits = SkipFusion(CHANNELS, CLASSES)(features_of(64, 64), torch.empty(2, 3, 64, 64))
    assert all(not one.any() for one in logits.values())


@pytest.mark.parametrize(("tap", "stride"), [("score_fr", 32), ("score_pool4", 16)])
def test_a_cell_paints_its_own_block(tap: str, stride: int) -> None:
    """Maps are aligned: what one cell scores is centred on its pixels at every stride."""
    head, features = random_head(), features_of(96, 96)
    for name in ("score_fr", "score_pool4", "score_pool3"):
        head.get_submodule(name).weight.data.zero_()
    head.get_submodule(tap).weight.data.fill_(1)
    source = features.fc7 if tap == "score_fr" else features.pool4
    source.zero_()
    source[:, :, 1, 1] = 1
    for logits in head(features, torch.empty(2, 3, 96, 96)).values():
        if not logits.any():
            continue  # FCN-32s does not see pool4
        rows = logits[0, 0].sum(1).clamp_min(0)
        centre = (rows * (torch.arange(96) + 0.5)).sum() / rows.sum()
        assert centre.item() == pytest.approx(1.5 * stride, abs=1e-3)


@pytest.mark.parametrize("stride", STRIDES)
def test_reaches_says_which_layers_a_stride_trains(stride: int) -> None:
    head, features = random_head(), features_of(64, 64)
    supervised = tuple(one for one in STRIDES if one >= stride)
    sum(head(features, torch.empty(2, 3, 64, 64), supervised).values()).square().sum().backward()
    used = {name for name, child in head.named_children() if child.weight.grad is not None}
    assert used == {name for name, finest in NEEDED_AT.items() if finest >= stride}


def test_calibration_brings_the_finer_taps_to_size() -> None:
    head, features = SkipFusion(CHANNELS, CLASSES), features_of(64, 64)
    features = features._replace(pool3=700 * features.pool3)
    head.calibrate(features, pool3=0.5, pool4=1.0)
    for tap, scale, size in (
        (features.pool3, head.pool3_scale, 0.5),
        (features.pool4, head.pool4_scale, 1.0),
    ):
        assert (tap * scale).square().mean().sqrt().item() == pytest.approx(size, rel=1e-4)
