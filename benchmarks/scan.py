"""The sweep of all convolutions, compared with the bare network, in bfloat16, and zennit-crp."""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager, redirect_stderr, redirect_stdout
from dataclasses import dataclass
from functools import partial
from io import StringIO
from statistics import median
from tempfile import TemporaryDirectory

import torch

import retroscope as rs
from benchmarks.noise import noise_batches
from benchmarks.sweeping import TOP, RunningSweep
from benchmarks.timing import (
    at_least,
    at_most,
    describe_machine,
    format_factor,
    format_milliseconds,
    if_installed,
    markdown_table,
    median_ratio,
    ratio_if_timed,
    seconds,
    time_alternating,
)
from retroscope.engine.isolation import preserve_state
from retroscope.errors import RetroscopeError
from retroscope.scanning.freed_memory import keep_freed_memory
from retroscope.scanning.layer_choice import network_layers, scan_layers
from retroscope.scanning.precision import (
    Precision,
    candidate_count,
    refuse_slow_precision,
    to_bfloat16,
)

BF16_TARGET, RECALL_TARGET, CRP_TARGET = 0.6, 99.9, 10


@dataclass(frozen=True)
class Model:
    """A network, its batch size, and the target of its sweep, in bare forward passes."""

    name: str
    batch: int
    target: float


@dataclass(frozen=True)
class Sizes:
    """How much is measured."""

    models: Sequence[Model]
    crp_model: str
    batches: int = 44
    pixels: int = 224
    crp_batch: int = 8
    rounds: int = 5


# the batch sizes that a scan chooses on a processor
FULL = Sizes([Model("vgg16", 4, 1.04), Model("resnet50", 14, 1.12)], crp_model="vgg16")
TINY = Sizes(
    [Model("squeezenet1_1", 2, 1.12)],
    crp_model="squeezenet1_1",
    batches=4,
    pixels=64,
    crp_batch=2,
    rounds=1,
)
HEADER = (
    *("model", "images", "bare, ms/image", "sweep, ms/image"),
    *("ratio, all", "target of all", "ratio, last third"),
)


def report(sizes: Sizes = FULL) -> str:
    """The tables, in Markdown."""
    keep_freed_memory()
    full = [Run(model, sizes) for model in sizes.models]
    return "\n\n".join(
        (
            "# A sweep of every convolution",
            describe_machine("torchvision", "numba", "zennit", "zennit-crp"),
            "## Full-precision sweep and bare network",
            markdown_table(HEADER, [run.row(run.model.target) for run in full]),
            f"{sizes.batches} batches, each first through the bare network, then into the sweep: "
            f"top {TOP} and statistics of the output of every convolution, as a scan ranks them "
            "by default. `ratio, all` is the time of all batches over that of all bare batches; "
            "early images enter more rankings than later ones. `bare` is `model(x)` in inference "
            "mode, channels last. Reading images is not included.",
            "## bfloat16 sweep, bare network in float32",
            _report_bf16(full, sizes),
            "## Sweep and zennit-crp",
            _against_crp(sizes),
        )
    )


class Run:
    """A sweep of noise images, alternating with the bare network in float32."""

    def __init__(self, model: Model, sizes: Sizes, *, narrow: bool = False) -> None:
        self.model = model
        net = open_random(model.name, sizes.pixels)
        self._bare = net.module.eval()
        self._net = to_bfloat16(net) if narrow else net
        top = candidate_count(TOP) if narrow else TOP
        layers, exact = scan_layers(net), not narrow
        self.running = RunningSweep(self._net, layers, top=top, exact=exact)
        warm_up = RunningSweep(self._net, layers, top=top, exact=exact)
        self.bare, self.sweep = list[float](), list[float]()
        noise = partial(noise_batches, model.batch, pixels=sizes.pixels)
        joined = 2 if narrow else 1  # as a scan does: in bfloat16, they take the same memory
        self.batch = joined * model.batch
        with preserve_state(self._net.module):
            self._time(warm_up, torch.cat(list(noise(count=joined))))
            for batch in map(torch.cat, zip(*joined * [noise(count=sizes.batches)], strict=True)):
                for times, elapsed in zip(
                    (self.bare, self.sweep), self._time(self.running, batch), strict=True
                ):
                    times.append(elapsed)

    def _time(self, running: RunningSweep, batch: torch.Tensor) -> tuple[float, float]:
        stack = batch.to(self._net.device, memory_format=torch.channels_last)
        images = [self._net.prepare(image) for image in batch]
        with torch.inference_mode():
            bare = seconds(partial(self._bare, stack))
        return bare, seconds(partial(running.add, images))

    def row(self, target: float) -> list[object]:
        """Median times, and the ratios of all batches and of the last third."""
        bare, sweep, size = self.bare, self.sweep, self.batch
        late = slice(-(len(bare) // 3), None)
        ratio = sum(sweep) / sum(bare)
        return [
            self.model.name,
            len(bare) * size,
            f"{median(bare) / size * 1e3:.1f}",
            f"{median(sweep) / size * 1e3:.1f}",
            f"{ratio:.2f}",
            at_most(target, ratio),
            f"{median_ratio(sweep[late], bare[late]):.2f}",
        ]


def open_random(name: str, pixels: int) -> rs.Network:
    """A network with seeded weights, for square images."""
    return rs.open_model(name, random_weights=0, input_size=pixels)


def _report_bf16(full: Sequence[Run], sizes: Sizes) -> str:
    """Where bfloat16 is refused, the reason."""
    try:
        refuse_slow_precision(Precision.BF16, rs.open_model("demo").device)
    except RetroscopeError as error:
        rows = [[model.name, f"refused: {error}"] for model in sizes.models]
        return markdown_table(("model", f"target: at most {BF16_TARGET}"), rows)
    narrow = [Run(model, sizes, narrow=True) for model in sizes.models]
    recalls = [recall_of_candidates(*runs) for runs in zip(full, narrow, strict=True)]
    return "\n\n".join(
        (
            markdown_table(HEADER, [run.row(BF16_TARGET) for run in narrow]),
            "Batches are twice as large as in full precision and take the same memory, as in a "
            "scan. The images of the candidates run once more in full precision. That cost depends "
            "only on the number of channels and is not included in these ratios.",
            markdown_table(
                ("model", "hits among the candidates", "target"),
                [
                    (model.name, f"{recall:.3f} %", at_least(RECALL_TARGET, recall, " %"))
                    for model, recall in zip(sizes.models, recalls, strict=True)
                ],
            ),
        )
    )


def recall_of_candidates(full: Run, narrow: Run) -> float:
    """Percent of the true hits that are among the candidates, over both rankings."""
    recalled = total = 0
    for ranking in ("by_max", "by_mean"):
        hits = getattr(full.running.sweep, ranking).image
        candidates = getattr(narrow.running.sweep, ranking).image
        is_hit = hits >= 0
        is_candidate = (hits[:, :, None] == candidates[:, None, :]).any(dim=2)
        recalled += int((is_candidate & is_hit).sum())
        total += int(is_hit.sum())
    return 100 * recalled / total


def _against_crp(sizes: Sizes) -> str:
    """zennit-crp does more for each image: it also computes relevances."""
    size, net = sizes.crp_batch, open_random(sizes.crp_model, sizes.pixels)
    batch = next(noise_batches(size, count=1, pixels=sizes.pixels))
    ours = partial(_sweep_convolutions, net, batch)
    peer = if_installed("crp", partial(_run_crp, net, batch))
    our_times, peer_times = time_alternating(ours, peer, rounds=sizes.rounds)
    speedup = ratio_if_timed(peer_times, our_times)
    row = (
        net.name,
        format_milliseconds([time / size for time in our_times], 0),
        format_milliseconds([time / size for time in peer_times], 0),
        format_factor(speedup),
        at_least(CRP_TARGET, speedup),
    )
    header = ("model", "sweep, ms/image", "zennit-crp, ms/image", "speedup", "target")
    return f"{markdown_table(header, [row])}\n\nOne batch of {size}, all convolutions."


def _sweep_convolutions(net: rs.Network, batch: torch.Tensor) -> None:
    running = RunningSweep(net, network_layers(net, "conv"))
    with preserve_state(net.module):
        running.add([net.prepare(image) for image in batch])


def _run_crp(net: rs.Network, batch: torch.Tensor) -> None:
    from crp.attribution import CondAttribution
    from crp.concepts import ChannelConcept
    from crp.visualization import FeatureVisualization
    from zennit.composites import EpsilonPlusFlat

    size, data = len(batch), [(image, number) for number, image in enumerate(batch)]
    concepts = {layer.name: ChannelConcept() for layer in network_layers(net, "conv")}
    with TemporaryDirectory() as folder, _no_output():
        attribution = CondAttribution(net.module)
        view = FeatureVisualization(attribution, data, concepts, path=folder)
        view.run(EpsilonPlusFlat(), 0, size, size, size)


@contextmanager
def _no_output() -> Iterator[None]:
    with redirect_stdout(StringIO()), redirect_stderr(StringIO()):
        yield
