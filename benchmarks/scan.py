"""The sweep of all convolutions, compared with the bare network and zennit-crp; its memory."""

import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager, redirect_stderr, redirect_stdout
from functools import partial
from io import StringIO
from pathlib import Path
from statistics import median
from tempfile import TemporaryDirectory
from time import perf_counter

import torch

import retroscope as rs
from benchmarks.timing import (
    describe_machine,
    markdown_table,
    median_ratio,
    seconds,
    time_alternating,
)
from retroscope.engine.batching import NetworkInput
from retroscope.engine.isolation import preserve_state
from retroscope.scanning.layer_choice import network_layers
from retroscope.scanning.one_pass import LayerSweeps, sweep_batch
from retroscope.scanning.precision import candidate_count, to_bfloat16
from retroscope.scanning.statistics.summary import Scratch

MODELS = {"vgg16": 4, "resnet50": 8}
"""The batch size of each network."""
TOP, BATCHES, DISTINCT_BATCHES = 9, 48, 6
GROWTH = (100, 1000)
HEADS = (
    *("model", "bare, ms/image", "sweep, ms/image"),
    *("ratio, all", "ratio, last third", "target ratio"),
)


def report() -> str:
    """The tables, in Markdown."""
    runs = {(name, narrow): Run(name, narrow=narrow) for name in MODELS for narrow in (False, True)}
    small, large = (peak_memory(count) for count in GROWTH)
    return "\n\n".join(
        (
            "# A sweep of every convolution",
            describe_machine("torchvision", "zennit", "zennit-crp"),
            "## Full-precision sweep and bare network",
            markdown_table(HEADS, [runs[name, False].row("1.05") for name in MODELS]),
            f"{BATCHES} batches, alternating with the bare network; top {TOP} and statistics of "
            "every channel. Early images enter more rankings than later ones.",
            "## bfloat16 sweep, bare network in float32",
            markdown_table(HEADS, [runs[name, True].row("0.6") for name in MODELS]),
            "The images of the candidates run once more in full precision. That cost depends only "
            "on the number of channels and is not included in these ratios.",
            markdown_table(
                ("model", "hits among the candidates", "target"),
                [
                    (name, _candidate_recall(runs[name, False], runs[name, True]), "99.9 %")
                    for name in MODELS
                ],
            ),
            "## Sweep and zennit-crp",
            _against_crp(),
            f"## Memory\n\nPeak memory of a scan of a small network: {small:.0f} MB with "
            f"{GROWTH[0]} images, {large:.0f} MB with {GROWTH[1]} ({large / small - 1:+.1%}; "
            "target: at most 5 %).\n",
        )
    )


class Run:
    """A sweep of noise images, alternating with the bare network in float32."""

    def __init__(self, name: str, *, narrow: bool) -> None:
        self.name, self.size = name, MODELS[name]
        net = rs.open_model(name, random_weights=0)
        self._bare = net.module.eval()
        self._net = to_bfloat16(net) if narrow else net
        layers = network_layers(net, "conv")
        top = candidate_count(TOP) if narrow else TOP
        self.gathered = LayerSweeps.empty(
            self._net, layers, top=top, classes=0, track_positions=not narrow
        )
        self._scratch, self.bare, self.sweep = Scratch(), list[float](), list[float]()
        with preserve_state(self._net.module):
            for number, batch in enumerate(_noise(self.size)):
                self._step(number * self.size, batch)

    def _step(self, first: int, batch: torch.Tensor) -> None:
        stack = batch.to(memory_format=torch.channels_last)
        with torch.inference_mode():
            self.bare.append(seconds(partial(self._bare, stack)))
        images = [self._net.prepare(image) for image in batch]
        start = perf_counter()
        self.gathered = _sweep_images(
            self._net, self.gathered, images, first=first, scratch=self._scratch
        )
        self.sweep.append(perf_counter() - start)

    def row(self, target: str) -> list[object]:
        """Median times without the first batch, and their ratios."""
        bare, sweep = self.bare[1:], self.sweep[1:]
        late = slice(-len(bare) // 3, None)
        return [
            self.name,
            f"{median(bare) / self.size * 1e3:.1f}",
            f"{median(sweep) / self.size * 1e3:.1f}",
            f"{sum(sweep) / sum(bare):.2f}",
            f"{median_ratio(sweep[late], bare[late]):.2f}",
            target,
        ]


def _sweep_images(
    net: rs.Network,
    gathered: LayerSweeps,
    images: list[NetworkInput],
    *,
    first: int,
    scratch: Scratch,
) -> LayerSweeps:
    indices = range(first, first + len(images))
    labels = [-1] * len(images)
    return sweep_batch(net, gathered, images, indices=indices, labels=labels, scratch=scratch)


def _noise(size: int) -> Iterator[torch.Tensor]:
    """Batches of smooth noise plus fine noise, each one different."""
    generator = torch.Generator().manual_seed(0)
    coarse = [torch.randn(size, 3, 28, 28, generator=generator) for _ in range(DISTINCT_BATCHES)]
    for number in range(BATCHES):
        smooth = torch.nn.functional.interpolate(
            coarse[number % DISTINCT_BATCHES], scale_factor=8.0
        )
        yield smooth + torch.randn(smooth.shape, generator=generator) / 4


def _candidate_recall(full: Run, narrow: Run) -> str:
    """The share of true hits among the candidates of a bfloat16 sweep, over both rankings."""
    recalled = total = 0
    for ranking in ("by_max", "by_mean"):
        hits = getattr(full.gathered.sweep, ranking).image
        candidates = getattr(narrow.gathered.sweep, ranking).image
        recalled += int((hits[:, :, None] == candidates[:, None, :]).any(dim=2).sum())
        total += hits.numel()
    return f"{recalled / total:.3%}"


def _against_crp() -> str:
    """zennit-crp does more for each image: it also computes relevances."""
    from crp.attribution import CondAttribution
    from crp.concepts import ChannelConcept
    from crp.visualization import FeatureVisualization
    from zennit.composites import EpsilonPlusFlat

    size, net = 8, rs.open_model("vgg16", random_weights=0)
    layers = network_layers(net, "conv")
    batch = next(_noise(size))
    concepts = {layer.name: ChannelConcept() for layer in layers}
    images = [net.prepare(image) for image in batch]

    def ours() -> None:
        empty = LayerSweeps.empty(net, layers, top=TOP, classes=0)
        with preserve_state(net.module):
            _sweep_images(net, empty, images, first=0, scratch=Scratch())

    def zennit_crp() -> None:
        with TemporaryDirectory() as folder, _no_output():
            module = rs.open_model("vgg16", random_weights=0).module.eval()
            data = [(image, number) for number, image in enumerate(batch)]
            view = FeatureVisualization(CondAttribution(module), data, concepts, path=folder)
            view.run(EpsilonPlusFlat(), 0, size, size, size)

    our_times, peer_times = time_alternating(ours, zennit_crp)
    return markdown_table(
        ("VGG16", "ms/image"),
        [
            ("sweep", f"{median(our_times) / size * 1e3:.0f}"),
            ("zennit-crp", f"{median(peer_times) / size * 1e3:.0f}"),
            ("speedup (target 10)", f"{median_ratio(peer_times, our_times):.1f}"),
        ],
    )


@contextmanager
def _no_output() -> Iterator[None]:
    with redirect_stdout(StringIO()), redirect_stderr(StringIO()):
        yield


def peak_memory(count: int) -> float:
    """The peak memory of a scan in megabytes, in a separate process."""
    program = f"from benchmarks.scan import scan_noise; print(scan_noise({count}))"
    process = subprocess.run(
        [sys.executable, "-c", program], check=True, capture_output=True, text=True
    )
    return float(process.stdout)


def scan_noise(count: int) -> float:
    """Scan noise images; return the process's peak memory in megabytes."""
    net = rs.open_model("squeezenet1_1", random_weights=0)
    with TemporaryDirectory() as folder:
        rs.scan(net, Noise(count), to=f"{folder}/noise.atlas", projections=False).close()
    return _peak()


def _peak() -> float:
    """In megabytes; `getrusage` would include that of the parent process."""
    status = Path("/proc/self/status").read_text("ascii")
    return int(status.partition("VmHWM:")[2].split()[0]) / 1024


class Noise:
    """A data set of noise images."""

    def __init__(self, count: int) -> None:
        self._count = count

    def __len__(self) -> int:
        return self._count

    def __getitem__(self, index: int) -> torch.Tensor:
        return torch.randn(3, 224, 224, generator=torch.Generator().manual_seed(index))
