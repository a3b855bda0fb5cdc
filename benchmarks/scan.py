"""The sweep of all convolutions against the bare network and zennit-crp; its memory as it grows."""

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
from benchmarks.timing import in_turn, machine, ratio, seconds, table
from retroscope.engine.batching import NetworkInput
from retroscope.engine.isolation import preserve_state
from retroscope.scanning.layer_choice import network_layers
from retroscope.scanning.one_pass import LayerSweeps, sweep_batch
from retroscope.scanning.precision import candidate_count, to_bfloat16
from retroscope.scanning.statistics.summary import Scratch

MODELS = {"vgg16": 4, "resnet50": 8}
"""How many pictures run at once."""
TOP, BATCHES, DIFFERENT = 9, 48, 6
GROWTH = (100, 1000)
HEADS = ("model", "bare, ms/image", "sweep, ms/image", "ratio, all", "ratio, last third", "target")


def report() -> str:
    """The tables, in Markdown."""
    runs = {(name, narrow): Run(name, narrow=narrow) for name in MODELS for narrow in (False, True)}
    small, large = (peak_memory(count) for count in GROWTH)
    return "\n\n".join(
        (
            "# A sweep of every convolution",
            machine("torchvision", "zennit", "zennit-crp"),
            "## Against the bare network, in full precision",
            table(HEADS, [runs[name, False].row("1.05") for name in MODELS]),
            f"{BATCHES} batches in turn with the bare network, top-{TOP} and statistics of every "
            "channel. The first pictures enter more rankings than the later ones.",
            "## In bfloat16, against the bare network in float32",
            table(HEADS, [runs[name, True].row("0.6") for name in MODELS]),
            "The candidates' pictures run once more in full; that price is fixed by the number of "
            "channels, and not in these ratios.",
            table(
                ("model", "winners among the candidates", "target"),
                [(name, _kept(runs[name, False], runs[name, True]), "99.9 %") for name in MODELS],
            ),
            "## Against zennit-crp",
            _against_crp(),
            f"## Memory\n\nPeak of a scan of a small network: {small:.0f} MB with {GROWTH[0]} "
            f"images, {large:.0f} MB with {GROWTH[1]} ({large / small - 1:+.1%}; target within "
            "5 %).\n",
        )
    )


class Run:
    """A sweep of pictures of noise in turn with the bare network, which computes in float32."""

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
        images = [self._net.prepare(one) for one in batch]
        start = perf_counter()
        self.gathered = _swept(self._net, self.gathered, images, first=first, scratch=self._scratch)
        self.sweep.append(perf_counter() - start)

    def row(self, target: str) -> list[object]:
        """Times, without the first batch, and their ratios."""
        bare, sweep = self.bare[1:], self.sweep[1:]
        late = slice(-len(bare) // 3, None)
        return [
            self.name,
            f"{median(bare) / self.size * 1e3:.1f}",
            f"{median(sweep) / self.size * 1e3:.1f}",
            f"{sum(sweep) / sum(bare):.2f}",
            f"{ratio(sweep[late], bare[late]):.2f}",
            target,
        ]


def _swept(
    net: rs.Network,
    gathered: LayerSweeps,
    images: list[NetworkInput],
    *,
    first: int,
    scratch: Scratch,
) -> LayerSweeps:
    numbers = range(first, first + len(images))
    labels = [-1] * len(images)
    return sweep_batch(net, gathered, images, numbers=numbers, labels=labels, scratch=scratch)


def _noise(size: int) -> Iterator[torch.Tensor]:
    """Batches of smooth noise, no two alike."""
    generator = torch.Generator().manual_seed(0)
    coarse = [torch.randn(size, 3, 28, 28, generator=generator) for _ in range(DIFFERENT)]
    for number in range(BATCHES):
        smooth = torch.nn.functional.interpolate(coarse[number % DIFFERENT], scale_factor=8.0)
        yield smooth + torch.randn(smooth.shape, generator=generator) / 4


def _kept(full: Run, narrow: Run) -> str:
    """How many of the true hits a narrow sweep keeps as candidates, in both rankings."""
    found = total = 0
    for ranking in ("by_max", "by_mean"):
        hits = getattr(full.gathered.sweep, ranking).image
        kept = getattr(narrow.gathered.sweep, ranking).image
        found += int((hits[:, :, None] == kept[:, None, :]).any(dim=2).sum())
        total += hits.numel()
    return f"{found / total:.3%}"


def _against_crp() -> str:
    """What zennit-crp does for each picture is more: it computes relevances too."""
    from crp.attribution import CondAttribution
    from crp.concepts import ChannelConcept
    from crp.visualization import FeatureVisualization
    from zennit.composites import EpsilonPlusFlat

    size, net = 8, rs.open_model("vgg16", random_weights=0)
    layers = network_layers(net, "conv")
    batch = next(_noise(size))
    concepts = {layer.name: ChannelConcept() for layer in layers}
    images = [net.prepare(one) for one in batch]

    def ours() -> None:
        empty = LayerSweeps.empty(net, layers, top=TOP, classes=0)
        with preserve_state(net.module):
            _swept(net, empty, images, first=0, scratch=Scratch())

    def theirs() -> None:
        with TemporaryDirectory() as folder, _quiet():
            module = rs.open_model("vgg16", random_weights=0).module.eval()
            data = [(one, number) for number, one in enumerate(batch)]
            view = FeatureVisualization(CondAttribution(module), data, concepts, path=folder)
            view.run(EpsilonPlusFlat(), 0, size, size, size)

    own, other = in_turn(ours, theirs)
    return table(
        ("VGG16", "ms/image"),
        [
            ("sweep", f"{median(own) / size * 1e3:.0f}"),
            ("zennit-crp", f"{median(other) / size * 1e3:.0f}"),
            ("times faster (target 10)", f"{ratio(other, own):.1f}"),
        ],
    )


@contextmanager
def _quiet() -> Iterator[None]:
    with redirect_stdout(StringIO()), redirect_stderr(StringIO()):
        yield


def peak_memory(count: int) -> float:
    """Megabytes that a scan of so many images takes at most, in a process of its own."""
    program = f"from benchmarks.scan import scan_noise; print(scan_noise({count}))"
    done = subprocess.run(
        [sys.executable, "-c", program], check=True, capture_output=True, text=True
    )
    return float(done.stdout)


def scan_noise(count: int) -> float:
    """Scans so many pictures of noise; the process's peak memory in megabytes."""
    net = rs.open_model("squeezenet1_1", random_weights=0)
    with TemporaryDirectory() as folder:
        rs.scan(net, Noise(count), to=f"{folder}/noise.atlas", projections=False).close()
    return _peak()


def _peak() -> float:
    """Megabytes; what `getrusage` tells would be that of the process it was started by."""
    status = Path("/proc/self/status").read_text("ascii")
    return int(status.partition("VmHWM:")[2].split()[0]) / 1024


class Noise:
    """A data set of pictures of noise."""

    def __init__(self, count: int) -> None:
        self._count = count

    def __len__(self) -> int:
        return self._count

    def __getitem__(self, index: int) -> torch.Tensor:
        return torch.randn(3, 224, 224, generator=torch.Generator().manual_seed(index))
