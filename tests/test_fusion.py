"""The head in numpy: the numbers of the head in torch, for any picture and any kernels."""

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from fcn.head import SkipFusion, Upscore
from fcn.inference.fusion import KERNELS, MAPS, STRIDES, Upscored, fuse, upscore
from fcn.vgg import Features


@pytest.fixture(scope="module")
def head() -> SkipFusion:
    """A head whose every parameter is random, kernels too."""
    torch.manual_seed(0)
    head = SkipFusion((5, 6, 7), 3).eval().requires_grad_(False)
    for parameter in head.parameters():
        torch.nn.init.normal_(parameter)
    head.pool3_scale.fill_(0.5)
    return head


@settings(max_examples=40, deadline=None)
@given(height=st.integers(1, 150), width=st.integers(1, 150), stride=st.sampled_from(STRIDES))
def test_fusing_is_what_the_head_does(head: SkipFusion, height: int, width: int, stride: int):
    sizes = [(-(-height // cell), -(-width // cell)) for cell in (8, 16, 32)]
    pool3, pool4, fc7 = (torch.randn(1, c, *size) for c, size in zip((5, 6, 7), sizes, strict=True))
    features = Features(pool3, pool4, pool5=fc7, fc7=fc7)
    expected = head(features, torch.empty(1, 3, height, width), (stride,))[stride][0]
    maps = {name: one[0].numpy() for name, one in head.scores(features).items()}
    kernels = {name: head.get_submodule(name).weight.numpy() for name in KERNELS}
    assert set(maps) == set(MAPS)
    fused = fuse(maps, kernels, stride, (height, width))
    assert fused.dtype == np.float32
    np.testing.assert_allclose(fused, expected.numpy(), rtol=1e-4, atol=1e-4)


@settings(max_examples=40, deadline=None)
@given(data=st.data(), factor=st.sampled_from([2, 8, 16, 32]))
def test_a_window_is_what_the_whole_has_there(data: st.DataObject, factor: int):
    random = np.random.default_rng(factor)
    scores, kernel = random.normal(size=(3, 4, 5)), random.normal(size=(3, 1, *[2 * factor] * 2))
    shape = [data.draw(st.integers(1, side * factor)) for side in (4, 5)]
    ends = [sorted(data.draw(st.tuples(*[st.integers(0, side)] * 2))) for side in shape]
    rows, columns = (slice(start, max(stop, start + 1)) for start, stop in ends)
    upscored = Upscored(scores, kernel, shape)
    some, whole = upscored[:, rows, columns], np.asarray(upscored)
    assert whole.shape == upscored.shape == (3, *shape)
    np.testing.assert_allclose(some, whole[:, rows, columns], rtol=1e-5, atol=1e-5)


def test_a_bilinear_kernel_interpolates():
    kernel = Upscore(1, 2).weight.detach().numpy()
    assert upscore(np.ones((1, 1, 3), np.float32), kernel, (2, 6))[0, 0].tolist() == pytest.approx(
        [0.5625, 0.75, 0.75, 0.75, 0.75, 0.5625]
    )
