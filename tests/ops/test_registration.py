"""What PyTorch asks of an operator: schema, fake, autograd twice, autocast, vmap, compile, export, a composition."""

import os
import shutil
import subprocess
import sys

import pytest
import roi_upsample_oracle as oracle
import torch
from torch.autograd import gradcheck, gradgradcheck
from torch.library import opcheck

from aunet_ops import RoIUpsample, build, roi_upsample
from aunet_ops.registration import _compose_backward, _compose_forward

OPS = torch.ops.aunet


def example(k=4, c=2, m=5, n=2, h=9, w=11, dtype=torch.float64, requires_grad=True):
    rois = oracle.random_rois(k, n, h, w, 2, 9, 0.25)
    return torch.randn(k, c, m, m, dtype=dtype, requires_grad=requires_grad), rois, (n, h, w)


@pytest.mark.parametrize(
    "sizes", [{}, {"k": 0}, {"c": 0}, {"n": 1, "h": 1}, {"dtype": torch.float32}, {"dtype": torch.bfloat16}], ids=str
)
def test_opcheck(sizes):
    masks, rois, size = example(**sizes)
    opcheck(OPS.roi_upsample.default, (masks, rois, size, 0.25))
    opcheck(OPS.roi_upsample.default, (masks, rois.float(), size, 0.25, 3, False))
    grad = torch.randn(size[0], masks.shape[1], *size[1:], dtype=masks.dtype, requires_grad=True)
    opcheck(OPS.roi_upsample_backward.default, (grad, rois, 5, 0.25))


def test_gradients_of_both_operators():
    masks, rois, size = example(k=3, c=1, m=2, n=1, h=5, w=6)
    rois[1, 0] = -1

    def forward(masks):
        return roi_upsample(masks, rois, size, 0.25)

    assert gradcheck(forward, (masks,), check_batched_grad=True)
    assert gradgradcheck(forward, (masks,), check_batched_grad=True)
    assert gradcheck(lambda x: roi_upsample(x, rois, size, 0.25, 3, False, "coverage"), (masks,))
    grad = torch.randn(size[0], 1, *size[1:], dtype=torch.float64, requires_grad=True)
    assert gradcheck(lambda x: OPS.roi_upsample_backward(x, rois, 2, 0.25), (grad,))


def test_rois_get_no_gradient():
    masks, rois, size = example()
    rois.requires_grad_()
    roi_upsample(masks, rois, size, 0.25).sum().backward()
    assert masks.grad is not None and rois.grad is None


def test_composition_equals_the_kernel():
    masks, rois, size = example(k=30, c=3, m=14, h=33, w=41, requires_grad=False)
    rois[4, 0] = -1
    for ratio, aligned in ((2, True), (3, False)):
        out = OPS.roi_upsample(masks, rois, size, 0.25, ratio, aligned)
        torch.testing.assert_close(_compose_forward(masks, rois, size, 0.25, ratio, aligned), out)
        back = OPS.roi_upsample_backward(out, rois, 14, 0.25, ratio, aligned)
        torch.testing.assert_close(_compose_backward(out, rois, 14, 0.25, ratio, aligned), back)


CHECK_COMPOSITION = """
import warnings
import torch
from aunet_ops import kernel_status, roi_upsample
assert not any(status.compiled for status in kernel_status())
masks = torch.randn(3, 1, 2, 2, dtype=torch.float64, requires_grad=True)
rois = torch.tensor([[0.0, 1, 2, 9, 7], [-1, 1, 2, 9, 7], [0, 0, 0, 30, 30]])
call = lambda masks: roi_upsample(masks, rois, (1, 4, 5), 0.5)
with warnings.catch_warnings(record=True) as caught:
    warnings.simplefilter("always")
    assert torch.autograd.gradcheck(call, (masks,)) and torch.autograd.gradgradcheck(call, (masks,))
    torch.compile(call, fullgraph=True, backend="aot_eager")(masks).sum().backward()
print([str(warning.message) for warning in caught if "aunet_ops" in str(warning.message)])
"""


def test_without_a_binary_the_composition_serves_and_says_so_once(tmp_path):
    shutil.copytree(build.PACKAGE, tmp_path / "aunet_ops", ignore=shutil.ignore_patterns("_lib", "__pycache__"))
    shutil.copytree(build.source_root(), tmp_path / "csrc")
    environment = os.environ | {"PYTHONPATH": str(tmp_path), "XDG_CACHE_HOME": str(tmp_path)}
    command = [sys.executable, "-c", CHECK_COMPOSITION]
    done = subprocess.run(command, env=environment, cwd=tmp_path, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    want = "aunet_ops runs slowly on cpu: PyTorch composition (not built); run: python -m aunet_ops.build"
    assert done.stdout.strip() == str([want])


@pytest.mark.parametrize("device", ["cpu", pytest.param("cuda", marks=pytest.mark.gpu)])
@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16], ids=str)
def test_autocast_sums_in_float32(device, dtype):
    rois = torch.tensor([[0.0, 2, 2, 2.01, 2.01]], device=device).expand(60, -1)
    masks = torch.full((60, 1, 28, 28), 2.0, device=device, dtype=dtype, requires_grad=True)
    with torch.autocast(device, dtype=dtype):
        out = roi_upsample(masks, rois, (1, 5, 5), 1.0)
    assert out.dtype == torch.float32 and out.max() > 65504
    out.sum().backward()
    assert masks.grad is not None and masks.grad.dtype == dtype


@pytest.mark.parametrize("in_dims", [(0, None), (1, None), (None, 0), (0, 0), (2, 1)])
def test_vmap(in_dims):
    batch, (masks, rois, size) = 3, example(requires_grad=False)
    masks = torch.stack([masks * i for i in (1, 2, 3)], in_dims[0]) if in_dims[0] is not None else masks
    rois[0, 0] = -1
    if in_dims[1] is not None:
        rois = torch.stack([rois + torch.tensor([0.0, i, 0, i, 0]) for i in (0, 3, 9)], in_dims[1])
    got = torch.vmap(lambda a, b: OPS.roi_upsample(a, b, size, 0.25), in_dims)(masks, rois)
    for i in range(batch):
        one_masks = masks if in_dims[0] is None else masks.select(in_dims[0], i)
        one_rois = rois if in_dims[1] is None else rois.select(in_dims[1], i)
        want = OPS.roi_upsample(one_masks, one_rois, size, 0.25)
        torch.testing.assert_close(got[i], want)
        if in_dims[1] is not None:
            back = torch.vmap(lambda a, b: OPS.roi_upsample_backward(a, b, 5, 0.25), (0, in_dims[1]))(got, rois)
            torch.testing.assert_close(back[i], OPS.roi_upsample_backward(want, one_rois, 5, 0.25))


def test_vmap_keeps_the_check_of_the_image_index():
    masks, rois, size = example(requires_grad=False)
    rois = torch.stack([rois, rois])
    rois[0, 1, 0] = 2  # would be image 0 of the second batch entry
    with pytest.raises(RuntimeError, match="image index"):
        torch.vmap(lambda b: OPS.roi_upsample(masks, b, size, 0.25))(rois)


@pytest.mark.parametrize("dynamic", [False, True])
def test_compile_full_graph(dynamic):
    torch._dynamo.reset()
    module = RoIUpsample(0.25, normalize="coverage" if dynamic else None)
    compiled = torch.compile(module, fullgraph=True, dynamic=dynamic, backend="aot_eager")
    for k, h, w in ((4, 9, 11), (7, 12, 8)):
        masks, rois, size = example(k=k, h=h, w=w, dtype=torch.float32)
        got = compiled(masks, rois, size)
        torch.testing.assert_close(got, module(masks, rois, size))
        (grad,) = torch.autograd.grad(got.sin().sum(), masks)
        (want,) = torch.autograd.grad(module(masks, rois, size).sin().sum(), masks)
        torch.testing.assert_close(grad, want)


def test_export_with_any_number_of_rois():
    class Head(torch.nn.Module):
        def forward(self, masks, rois, features):
            n, _, h, w = features.shape
            return features + roi_upsample(masks, rois, (n, h, w), 0.25)

    masks, rois, (n, h, w) = example(dtype=torch.float32, requires_grad=False)
    features = torch.randn(n, 2, h, w)
    k = torch.export.Dim("k", min=1, max=1000)
    program = torch.export.export(
        Head(), (masks, rois, features), dynamic_shapes={"masks": {0: k}, "rois": {0: k}, "features": {}}
    )
    masks, rois, _ = example(k=9, dtype=torch.float32, requires_grad=False)
    torch.testing.assert_close(program.module()(masks, rois, features), Head()(masks, rois, features))
