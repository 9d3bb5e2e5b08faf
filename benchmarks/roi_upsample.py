"""RoIUpsample against all rivals that compute the same numbers, in one run: ``python benchmarks/roi_upsample.py``.

Setting: K = 512 FPN-like RoIs (14 to 28 cells on a side) on one 200 x 304 map, float32. Rivals: the composition of
torch.index_add that Eq. 5 suggests and its autograd, and the best of three ways to write that; torchvision's roi_align
backward, which writes as many points from as many bins; torchvision's roi_align forward, which reads as many.

CPU, one thread: the time is the thread's own CPU time (least of the repetitions), so other jobs on the machine
disturb it little. Two threads: wall time, against the bytes that must move over the measured bandwidth of a copy. CUDA:
events around repetitions. Every implementation returns a new tensor and pays for its memory.
"""

import argparse
import functools
import json
import math
import sys
import time
from collections.abc import Callable
from pathlib import Path

import torch
import torchvision
from torch import Tensor

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from aunet_ops import kernel_status
from benchmarks.machine import RESULTS, cpu_name

HEIGHT, WIDTH, NUM_ROIS, SCALE = 200, 304, 512, 0.25
CASES = [(1, 14), (1, 28), (80, 14), (80, 28)]


def fpn_like_rois(device: str) -> Tensor:
    """``Tensor[512, 5]``: sides of 14 to 28 cells, as FPN's assignment leaves them, anywhere on the map."""
    g = torch.Generator().manual_seed(0)
    side = 14 * 2 ** torch.rand(NUM_ROIS, 2, generator=g)
    corner = torch.rand(NUM_ROIS, 2, generator=g) * (torch.tensor([WIDTH, HEIGHT]) - side)
    return torch.cat([torch.zeros(NUM_ROIS, 1), corner / SCALE, (corner + side) / SCALE], 1).to(device)


def grid(rois: Tensor, m: int) -> tuple[Tensor, Tensor]:
    """Pixel ``Tensor[K, 4m, 4m]`` (flat index) and weight of every write of Eq. 5, C left out."""
    axes = []
    for first, size in ((1, WIDTH), (2, HEIGHT)):
        start = rois[:, first] * SCALE - 0.5
        length = rois[:, first + 2] * SCALE - 0.5 - start
        x = start[:, None] + (torch.arange(2 * m, device=rois.device) + 0.5) * (length / (2 * m))[:, None]
        x = x.clamp(0, size - 1)
        low = x.floor()
        f = x - low
        value = f * f + (1 - f) * (1 - f)
        pixel = torch.stack([low, (low + 1).clamp(max=size - 1)], -1).long()
        axes.append((pixel.flatten(1), torch.stack([(1 - f) / value, f / value], -1).flatten(1)))
    (x, weight_x), (y, weight_y) = axes
    return y[:, :, None] * WIDTH + x[:, None, :], weight_y[:, :, None] * weight_x[:, None, :] / 4


def composition(masks: Tensor, rois: Tensor) -> Tensor:
    """Eq. 5 as written: 16 m^2 weighted copies of each mask's bins, added to their pixels channel by channel."""
    _, c, m, _ = masks.shape
    pixel, weight = grid(rois, m)
    values = masks.repeat_interleave(4, 2).repeat_interleave(4, 3) * weight[:, None]
    out = masks.new_zeros(c, HEIGHT * WIDTH)
    return out.index_add(1, pixel.flatten(), values.transpose(0, 1).reshape(c, -1)).view(1, c, HEIGHT, WIDTH)


def composition_channels_last(masks: Tensor, rois: Tensor) -> Tensor:
    """The same with the channels side by side, which is faster for index_add when there are many."""
    _, c, m, _ = masks.shape
    pixel, weight = grid(rois, m)
    values = masks.permute(0, 2, 3, 1).repeat_interleave(4, 1).repeat_interleave(4, 2) * weight[..., None]
    out = masks.new_zeros(HEIGHT * WIDTH, c).index_add(0, pixel.flatten(), values.flatten(0, 2))
    return out.T.reshape(1, c, HEIGHT, WIDTH)


def composition_in_chunks(masks: Tensor, rois: Tensor) -> Tensor:
    """The same, 16 RoIs at a time, so that the copies stay in the cache."""
    chunks = zip(masks.split(16), rois.split(16), strict=True)
    return sum((composition_channels_last(*chunk) for chunk in chunks), masks.new_zeros(()))


COMPOSITIONS = (composition, composition_channels_last, composition_in_chunks)


def torchvision_backward(masks: Tensor, rois: Tensor) -> Tensor:
    """The kernel alone: m x m bins of four points each, so as many writes as ours."""
    m = masks.shape[-1]
    arguments = (rois, SCALE, m, m, 1, masks.shape[1], HEIGHT, WIDTH, 2, True)
    return torch.ops.torchvision._roi_align_backward(masks, *arguments)


def seconds(run: Callable[[], object], device: str, repetitions: int, cpu_time: bool) -> float:
    """Least time of one call."""
    run()
    times = []
    for _ in range(repetitions):
        if device == "cuda":
            begin, end = torch.cuda.Event(enable_timing=True), torch.cuda.Event(enable_timing=True)
            begin.record()
            for _ in range(10):
                run()
            end.record()
            end.synchronize()
            times.append(begin.elapsed_time(end) / 1e4)
        else:
            clock = time.thread_time if cpu_time else time.perf_counter
            begin_time = clock()
            run()
            times.append(clock() - begin_time)
    return min(times)


def beside_a_copy(c: int, m: int, device: str, budget: float) -> tuple[dict[str, float], float]:
    """Wall time of ours and the bandwidth (bytes read and written per second) of a copy of 128 MiB, taken in turns for
    ``budget`` seconds: the least of each, so that both are measured when the machine is quietest."""
    rois = fpn_like_rois(device)
    masks, grad = torch.randn(NUM_ROIS, c, m, m, device=device), torch.randn(1, c, HEIGHT, WIDTH, device=device)
    source = torch.ones(1 << 25, device=device)
    target = torch.empty_like(source)
    runs: dict[str, Callable[[], object]] = {
        "forward": lambda: torch.ops.aunet.roi_upsample(masks, rois, [1, HEIGHT, WIDTH], SCALE),
        "backward": lambda: torch.ops.aunet.roi_upsample_backward(grad, rois, m, SCALE),
        "copy": lambda: target.copy_(source),
    }
    times = dict.fromkeys(runs, math.inf)
    end = time.monotonic() + budget
    while time.monotonic() < end:
        for name, run in runs.items():
            times[name] = min(times[name], seconds(run, device, 1, cpu_time=False))
    return times, 2 * 4 * source.numel() / times.pop("copy")


def measure_case(c: int, m: int, device: str, quick: bool) -> dict[str, float]:
    """Seconds of ours and of the rivals, for one case."""
    cpu_time = device == "cpu"
    rois = fpn_like_rois(device)
    masks = torch.randn(NUM_ROIS, c, m, m, device=device)
    grad = torch.randn(1, c, HEIGHT, WIDTH, device=device)
    ops = torch.ops.aunet
    often, seldom = (5, 1) if quick else (60, 2 if c > 1 and device == "cpu" else 10)
    times = {
        "forward": seconds(lambda: ops.roi_upsample(masks, rois, [1, HEIGHT, WIDTH], SCALE), device, often, cpu_time),
        "backward": seconds(lambda: ops.roi_upsample_backward(grad, rois, m, SCALE), device, often, cpu_time),
    }
    times["torchvision roi_align backward"] = seconds(
        lambda: torchvision_backward(masks, rois), device, seldom, cpu_time
    )
    times["torchvision roi_align forward"] = seconds(
        lambda: torch.ops.torchvision.roi_align(grad, rois, SCALE, m, m, 2, True), device, seldom, cpu_time
    )
    want = ops.roi_upsample(masks, rois, [1, HEIGHT, WIDTH], SCALE)
    leaf = masks.clone().requires_grad_()
    forwards, backwards = [], []
    for compose in COMPOSITIONS:
        torch.testing.assert_close(compose(masks, rois), want, rtol=1e-3, atol=1e-3)
        forwards.append(seconds(functools.partial(compose, masks, rois), device, seldom, cpu_time))
        out = compose(leaf, rois)
        gradient = functools.partial(torch.autograd.grad, out, leaf, grad, retain_graph=True)
        backwards.append(seconds(gradient, device, seldom, cpu_time))
        del out, gradient
    times["composition forward"], times["composition backward"] = forwards[0], backwards[0]
    times["best composition forward"], times["best composition backward"] = min(forwards), min(backwards)
    return times


def bytes_that_must_move(c: int, m: int) -> int:
    """Bytes of masks and map, once each, in float32."""
    return 4 * (NUM_ROIS * c * m * m + c * HEIGHT * WIDTH)


def main() -> None:
    """Measure, print the table, write the JSON."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--device", default="cuda" if torch.cuda.is_available() else "cpu", choices=("cpu", "cuda"))
    parser.add_argument("--quick", action="store_true", help="fewer repetitions")
    parser.add_argument("--no-write", action="store_true", help="print only")
    arguments = parser.parse_args()
    device = arguments.device
    hardware = torch.cuda.get_device_name() if device == "cuda" else cpu_name()
    kernel = str(kernel_status()[device == "cuda"])
    print(f"{hardware}; torch {torch.__version__}, torchvision {torchvision.__version__}; {kernel}")

    rows = []
    for c, m in CASES:
        torch.set_num_threads(1)
        times = measure_case(c, m, device, arguments.quick)
        row = {"channels": c, "m": m, "milliseconds, one thread" if device == "cpu" else "milliseconds": scaled(times)}
        row["ratios"] = {
            f"{ours} vs {rival}": times[rival] / times[ours]
            for ours, rival in (
                ("forward", "composition forward"),
                ("forward", "best composition forward"),
                ("forward", "torchvision roi_align backward"),
                ("backward", "composition backward"),
                ("backward", "best composition backward"),
                ("backward", "torchvision roi_align forward"),
            )
        }
        torch.set_num_threads(2)
        beside, bandwidth = beside_a_copy(c, m, device, 2 if arguments.quick else 10)
        if device == "cpu":
            row["milliseconds, two threads"] = scaled(beside)
        floor = bytes_that_must_move(c, m) / bandwidth
        row["copy bandwidth GB/s"] = bandwidth / 1e9
        row["megabytes that must move"] = bytes_that_must_move(c, m) / 1e6
        row["times the memory floor"] = {name: value / floor for name, value in beside.items()}
        rows.append(row)
        print(f"\nC = {c}, m = {m}")
        print_nested(row)

    record = {"hardware": hardware, "date": time.strftime("%Y-%m-%d"), "torch": torch.__version__, "kernel": kernel}
    record |= {"torchvision": torchvision.__version__, "rois": NUM_ROIS, "map": [HEIGHT, WIDTH], "cases": rows}
    if not arguments.no_write:
        RESULTS.mkdir(exist_ok=True)
        path = RESULTS / f"roi_upsample_{device}.json"
        path.write_text(json.dumps(record, indent=1) + "\n")
        print(f"\nwritten to {path.relative_to(Path(__file__).parent.parent)}")


def scaled(times: dict[str, float]) -> dict[str, float]:
    """Seconds to milliseconds."""
    return {name: round(1e3 * value, 4) for name, value in times.items()}


def print_nested(row: dict) -> None:
    """One line per number."""
    for name, value in row.items():
        if isinstance(value, dict):
            print(f"  {name}: " + ", ".join(f"{key} {number:.4g}" for key, number in value.items()))
        elif isinstance(value, float):
            print(f"  {name}: {value:.4g}")


if __name__ == "__main__":
    main()
