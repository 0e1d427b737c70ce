"""The tables: FFHQ on clusters of several sizes, and other ways to cut the run into tasks."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Any

from cluster.ffhq import PICTURES, POINTS_OF_A_CODEC, SIZE
from cluster.inputs import load_of, rates_of, storages
from cluster.simulation import Load, Outcome, Rates, Simulation, by_pictures, by_point
from facebench.runner import shard_pictures


@dataclass(frozen=True)
class Order:
    """How the run is cut into tasks, and their order; see :func:`load_of` and :class:`Simulation`."""

    name: str
    order: Callable[[Load], Iterator[tuple[int, int]]] = by_point
    sticky: bool = False
    group: int = 1
    longer: int = 1


RUNNER = Order("point by point (the runner's)")
OTHERS = (
    Order("all points of the same pictures", by_pictures),
    Order("point by point, a range at its own worker", sticky=True),
    Order("shards of four times the pictures", longer=4),
    Order("ten points of a codec in a task", group=10),
    Order("ten points of a codec in a task, a range at its own worker", sticky=True, group=10),
)


def sliced(load: Load, rates: Rates, workers: int, order: Order, parts: int) -> Outcome:
    """Return the outcome of a run from that of one of ``parts`` equal parts of the pictures, at all points.

    A part keeps all workers as busy as the whole: what differs is the last minute, when some have nothing more to do.
    """
    part = replace(load, ranges=load.ranges // parts, kept=max(1, load.kept // parts))
    outcome = Simulation(part, replace(rates, lead=rates.lead / parts), workers, order.order(part), order.sticky).run()
    scale = load.ranges / part.ranges
    return Outcome(**{name: type(value)(value * scale) for name, value in vars(outcome).items()})


def simulate(
    costs: dict[str, Any],
    counts: Sequence[int],
    *,
    compare: int,
    storage: float,
    network: float,
    memory: float,
    disk: float,
    parts: int,
) -> None:
    """Print the tables: the runner's order on ``counts`` workers, the other orders on ``compare``.

    ``storage`` and ``network`` are bytes/s of all readers and of one; ``memory`` and ``disk`` the bytes of pictures
    that a worker keeps; see :func:`sliced` for ``parts``.
    """
    step = shard_pictures((SIZE, SIZE))
    shards = PICTURES // step * len(costs["picture"]["codec_seconds"]) * POINTS_OF_A_CODEC
    rates = rates_of(costs, shards, storage, network)
    sent, client, messages = costs["message_bytes"], costs["client"], costs["messages"]
    work = sum(load_of(costs, storages(costs, 0, 0)[0]).seconds) * (PICTURES // step)
    print(
        f"{shards:,} shards of {step} pictures, {work / 3600:,.0f} h of CPU in codecs and metrics, "
        f"{work / shards:.2f} s a shard"
    )
    print(
        f"client: {client['peak_bytes_per_shard'] * shards / 1e9:.1f} GB of memory, "
        f"{client['cache_bytes_per_shard'] * shards / 1e9:.1f} GB of cache in {shards:,} files, "
        f"{rates.lead:,.0f} s before the first task and {rates.tail * shards:,.0f} s after the last, then "
        f"{costs['report']['seconds_per_record'] * shards * step:,.0f} s for leaderboard and files; before all that "
        f"{PICTURES * costs['worker']['prepare_seconds_per_picture'] / 3600:.2f} h of CPU prepare the pictures"
    )
    print(
        f"messages: {sent['task'] * shards / 1e9:.1f} GB of tasks from the client (with a metric over the whole set "
        f"{sent['task_of_a_whole_set_metric'] * shards / 1e12:.1f} TB), {sent['result'] * shards / 1e9:.1f} GB of "
        f"results to it, both through the scheduler; {sum(messages.values()) * shards / 1e6:.1f} million "
        f"messages between scheduler and workers"
    )
    print(f"scheduler: at most {1 / rates.scheduler_task:,.0f} tasks/s")
    print("\nShares of the wall time; of workers: measuring, preparing pictures, waiting for the storage.\n")
    shares = "measuring|preparing|waiting|scheduler|client|storage"
    columns = f"workers|pictures from|order|hours|{shares}|read".split("|")
    print(f"| {' | '.join(columns)} |\n|{'---|' * len(columns)}")
    runs = [(count, RUNNER) for count in counts] + [(compare, order) for order in OTHERS]
    for way in storages(costs, memory, disk):
        for count, order in runs:
            load = load_of(costs, way, order.group, order.longer)
            outcome = sliced(load, rates, count, order, parts)
            busy = outcome.wall * count
            print(
                f"| {count:,} | {way.name} | {order.name} | {outcome.wall / 3600:.2f} | "
                f"{outcome.measuring / busy:.0%} | {(outcome.working - outcome.measuring) / busy:.0%} | "
                f"{outcome.waiting / busy:.0%} | "
                f"{outcome.scheduler / outcome.wall:.1%} | {outcome.client / outcome.wall:.1%} | "
                f"{outcome.storage / outcome.wall:.0%} | {outcome.reads * load.read / 1e12:.1f} TB |",
                flush=True,
            )
