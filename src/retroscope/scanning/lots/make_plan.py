"""Making a plan: what workers must agree on is decided once, and written down."""

import json
import shutil
from collections.abc import Iterator, Sequence
from dataclasses import replace
from hashlib import blake2b
from itertools import pairwise
from pathlib import Path

import torch

from retroscope.argument_types import check_arguments
from retroscope.atlas.schema import Json
from retroscope.engine.rule_choice import AUTO, choose_rules
from retroscope.errors import RetroscopeError
from retroscope.network import AnyNetwork, Network, as_network
from retroscope.scanning.class_ranking_request import ClassRankingRequest
from retroscope.scanning.estimate import estimate_scan
from retroscope.scanning.illustrate import NO_RANKS
from retroscope.scanning.layer_choice import scan_layers
from retroscope.scanning.lots.network_source import (
    HELD,
    PICKLE,
    NetworkSource,
    source_of,
    write_network,
)
from retroscope.scanning.lots.plan_folder import LOTS, PlanFolder
from retroscope.scanning.lots.sweep_lot import list_shard
from retroscope.scanning.lots.sweep_plan import CHANGES, SweepPlan, open_plan
from retroscope.scanning.lots.whole_files import PlanError, explain_failure
from retroscope.scanning.one_pass import choose_batch_size
from retroscope.scanning.plan import (
    refuse_less_than_one,
    refuse_unsuitable_network,
    source_facts,
)
from retroscope.scanning.precision import Precision, to_bfloat16
from retroscope.scanning.size_limits import (
    refuse_large_class_rankings,
    refuse_too_many_hits,
)
from retroscope.scanning.sources import ImageSource, Shard
from retroscope.scanning.sources.class_rules import sort_classes
from retroscope.scanning.sources.clips import refuse_single_images
from retroscope.scanning.sources.paired_images import OtherSources, pair_shards
from retroscope.scanning.sources.scan_source import ScanSource
from retroscope.scanning.sources.shards import IMAGES_PER_SHARD, ShardKind

LOT_SECONDS = 120.0
"""What a lot is planned to take: long enough to cost little, short enough to lose little."""


@check_arguments
def make_plan(
    net: AnyNetwork,
    images: ImageSource,
    *,
    to: str | Path,
    opened: NetworkSource | None = None,
    inputs: OtherSources | None = None,
    layers: str | Sequence[str] | None = None,
    top: int = 9,
    per_class: int | None = None,
    ranked_classes: str | Sequence[str] | None = None,
    labels: str | Path | None = None,
    class_folder: str | None = None,
    classes: bool = True,
    glob: str | None = None,
    precision: str = "full",
    batch_size: int | None = None,
    threads: int | None = None,
    lot_images: int | None = None,
    restart: bool = False,
) -> SweepPlan:
    """Plans a scan that several processes or machines do together, into the folder `to`.

    The arguments are those of `scan`. `opened` is how workers open the network; without it, `net`
    is pickled. A lot has about `lot_images` images, by default as many as this machine sweeps in
    two minutes. `threads` are those of torch in each worker.

    The same call again finds the plan. Another one is refused, unless `restart` discards the plan
    and all that was swept.
    """
    net, folder = as_network(net).for_batches, PlanFolder(Path(to))
    _refuse_no_source(opened)
    refuse_unsuitable_network(net)
    refuse_less_than_one(
        top=top,
        per_class=per_class,
        batch_size=batch_size,
        threads=threads,
        lot_images=lot_images,
    )
    class_rankings = ClassRankingRequest.parse(per_class, ranked_classes, classes=classes)
    shards = ScanSource(images, glob, labels, class_folder).list_shards(net)
    source = pair_shards(net, shards, inputs)
    class_names = _known_classes(source.shards) if class_rankings.per_class else None
    if class_names is not None:
        class_rankings = class_rankings.resolve(class_names)
    existing = _open_existing(folder, restart=restart)
    if existing is None and net.preprocessing.takes_volumes:
        refuse_single_images(list_shard(source.shards[0]).keys)
    plan = SweepPlan.make(
        net,
        source_of(net, opened),
        layer_choice=[layers] if isinstance(layers, str) else layers and list(layers),
        top=top,
        precision=Precision.parse(precision),
        batch_size=batch_size or (existing.batch_size if existing else _batch_size(net, layers)),
        threads=threads or (existing.threads if existing else torch.get_num_threads()),
        with_classes=classes,
        per_class=class_rankings.per_class,
        ranked_classes=class_rankings.ranked_classes and list(class_rankings.ranked_classes),
        source={**_rule_facts(net), **source_facts(images, glob, inputs)},
        images=_count_images(source.shards),
        shard_digest=_digest(source.shards),
        others_digest=_digest_others(source.shards),
        lot_starts=existing.lot_starts if existing else [],
        lot_images=existing.lot_images if existing else [],
    )
    if existing is None or lot_images is not None:
        size = lot_images or _images_per_lot(net, plan, source.shards[0])
        starts = list(_lot_starts(source.shards, size))
        plan = replace(plan, lot_starts=starts, lot_images=_lot_images(source.shards, starts))
    if existing is None:
        _check(net, plan, class_names)
        _write(folder, plan, source.shards, net=net)
        return plan
    _refuse_change(folder, existing, plan)
    return existing


def _refuse_no_source(opened: object) -> None:
    if not (opened is None or isinstance(opened, NetworkSource)):
        raise RetroscopeError(
            "opened of make_plan() is a NetworkSource, such as NetworkSource.named('resnet50'), "
            f"not {type(opened).__name__}",
            parameter="opened",
        )


def _batch_size(net: Network, layers: str | Sequence[str] | None) -> int:
    return choose_batch_size(net, scan_layers(net, layers))


def _open_existing(folder: PlanFolder, *, restart: bool) -> SweepPlan | None:
    """The plan that the folder holds, unless it is to be discarded."""
    if not folder.path.exists():
        return None
    is_plan = folder.plan_file.exists()
    if not folder.path.is_dir() or not (is_plan or _is_unfinished(folder)):
        raise PlanError(
            f"{str(folder.path)!r} exists and is not a plan; give a folder that does not exist"
        )
    if is_plan and not restart:
        return open_plan(folder)
    with explain_failure(folder.path):
        folder.plan_file.unlink(missing_ok=True)  # first: what is left then is no plan
        shutil.rmtree(folder.path)
    return None


def _is_unfinished(folder: PlanFolder) -> bool:
    """Whether a folder holds nothing, or what is left of planning that was killed."""
    names = {path.name for path in folder.path.iterdir()}
    return all(name in (LOTS, PICKLE, HELD) or name.startswith(".") for name in names)


def _rule_facts(net: Network) -> dict[str, Json]:
    """What a scan records of the rules of its projections."""
    rules = choose_rules(AUTO, net.survey(net.input_size))
    return {"rules": rules.book.name, "rules_reason": rules.reason}


def _count_images(shards: Sequence[Shard]) -> int | None:
    """How many images there are, if all shards know it."""
    counts = [shard.images for shard in shards if shard.images is not None]
    return sum(counts) if len(counts) == len(shards) else None


def _digest(shards: Sequence[Shard]) -> str:
    """A digest of the shards: another one if images, classes or archives have changed."""
    digest = blake2b(digest_size=16)
    for shard in shards:
        facts = replace(shard, shown_location="", others={}).to_json()  # from any working directory
        digest.update(json.dumps(facts, sort_keys=True).encode())
    return digest.hexdigest()


def _digest_others(shards: Sequence[Shard]) -> str:
    """A digest of what comes with the images: another if files are renamed or numbers change."""
    digest = blake2b(digest_size=16)
    for shard in shards:
        for name, other in shard.others.items():
            facts = {"input": name, **replace(other, shown_root="").to_json()}
            digest.update(json.dumps(facts, sort_keys=True).encode())
    return digest.hexdigest()


def _images_per_lot(net: Network, plan: SweepPlan, shard: Shard) -> int:
    """How many images are swept in the time of a lot, by a trial on this machine."""
    images = list_shard(shard)
    estimate = estimate_scan(
        net, plan.layers, images, top=plan.top, ranks=NO_RANKS, precision=plan.precision
    )
    seconds = estimate.pass_seconds / max(estimate.images, 1)
    return max(int(LOT_SECONDS / max(seconds, _SHORTEST_SECONDS)), 1)


_SHORTEST_SECONDS = 1e-5


def _lot_starts(shards: Sequence[Shard], lot_images: int) -> Iterator[int]:
    """The first shard of each lot, and the number of shards at the end.

    A lot has as many shards as there is place for, but at least one. Shards that do not know how
    many images they have are taken to have `IMAGES_PER_SHARD`.
    """
    images = 0
    for shard, count in zip(shards, _shard_images(shards), strict=True):
        if shard.number == 0 or images + count > lot_images:
            yield shard.number
            images = 0
        images += count
    yield len(shards)


def _lot_images(shards: Sequence[Shard], starts: Sequence[int]) -> list[int]:
    counts = _shard_images(shards)
    return [sum(counts[start:stop]) for start, stop in pairwise(starts)]


def _shard_images(shards: Sequence[Shard]) -> list[int]:
    return [IMAGES_PER_SHARD if shard.images is None else shard.images for shard in shards]


def _check(net: Network, plan: SweepPlan, class_names: Sequence[str] | None) -> None:
    """Refuses what workers would refuse."""
    refuse_too_many_hits(min(plan.top, plan.images or plan.top), plan.layers)
    if class_names is not None:
        count = plan.class_rankings.count(class_names)
        refuse_large_class_rankings(plan.per_class, count, plan.layers, net.device)
    if plan.precision != Precision.FULL:
        to_bfloat16(net)


def _known_classes(shards: Sequence[Shard]) -> list[str] | None:
    """The classes of files, known without reading them; None if some are in archives."""
    if any(shard.kind is not ShardKind.FILES for shard in shards):
        return None
    return sort_classes(list({name for shard in shards for name in list_shard(shard).class_names}))


def _write(folder: PlanFolder, plan: SweepPlan, shards: Sequence[Shard], *, net: Network) -> None:
    """Writes a plan: what it names comes first, so that it is complete once it is there."""
    with explain_failure(folder.path):
        folder.lots.mkdir(parents=True, exist_ok=True)
    write_network(net, plan.network, folder.path)
    for number, lot in enumerate(plan.lots):
        folder.write_shards(number, shards[lot.start : lot.stop])
    folder.write_plan(plan.to_json())


def _refuse_change(folder: PlanFolder, existing: SweepPlan, plan: SweepPlan) -> None:
    """Raises if the folder holds another plan than this one."""
    before, after = existing.comparable, plan.comparable
    changed = [name for name in CHANGES if before[name] != after[name]]
    if "shard_digest" in changed:  # others follow from it
        changed = [name for name in changed if name not in ("lot_starts", "others_digest")]
    changes = [CHANGES[name] for name in changed]
    if changes:
        raise RetroscopeError(
            f"{str(folder.path)!r} holds another plan: {' and '.join(changes)} changed; plan to "
            "another folder, or start over with restart",
            parameter="restart",
        )
