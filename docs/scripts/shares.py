"""Where the time goes: ``python docs/scripts/shares.py quickstart|taef2|paper`` prints one table, and
``python docs/scripts/shares.py draw`` draws all that were measured.

A part is a few named functions. The time of a call is that of the innermost part that it is in; parts marked ``WHOLE``
keep what they call. Measured on one process; ``--set KEY=VALUE`` goes to the configuration, and ``--images N`` sets the
size of ``paper``. Each table is kept in build/shares/NAME.json.
"""

import argparse
import builtins
import functools
import importlib
import inspect
import json
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

ROOT = Path(__file__).parents[2]
KEPT, DRAWING = ROOT / "build" / "shares", ROOT / "docs" / "images" / "shares.svg"
OTHER = "everything else"
PARTS: dict[str, tuple[str, ...]] = {
    "imports": (),
    "network f": ("probe.dynamics.latent_map:LatentMap.__call__",),
    "extrapolation and host": (
        "probe.dynamics.iterate:iterate_batches",
        "probe.studies.probing.end_points:iterate_batches",
    ),
    "certificates": ("jobs.run.dictionary:certify_points",),
    "unsettled starts": ("jobs.run.dictionary:lyapunov_exponents", "jobs.run.dictionary:radius_anywhere"),
    "merge": ("jobs.run.dictionary:merge_end_points", "jobs.run.dictionary:assemble_dictionary"),
    "basins": ("jobs.run.dictionary:measure_basins",),
    "image reading": ("jobs.run.images:load_images",),
    "encoding": ("jobs.run.reconstruct:encode", "probe.studies.probing.reconstruction:encode"),
    "Gram products": ("probe.sparse.dictionary:Dictionary.gram", "probe.sparse.dictionary:Dictionary.orthonormal"),
    "pursuit": ("probe.sparse.compiled:pursue", "probe.sparse.batched:pursue", "probe.sparse.omp:largest"),
    "projection": ("probe.sparse.omp:project", "probe.sparse.dictionary:Dictionary.span"),
    "codes to latents": ("probe.sparse.codes:SparseCodes.reconstruct",),
    "decoding": ("probe.studies.probing.reconstruction:_Judge._decoded",),
    "metrics": ("probe.studies.probing.reconstruction:measured",),
    "figures": ("probe.report.run.write:drawn",),
    "report": ("probe.report.run.write:write_report",),
}
WHOLE = {
    "imports",
    "certificates",
    "unsettled starts",
    "merge",
    "basins",
    "image reading",
    "decoding",
    "metrics",
    "figures",
}
COLOURS = {"networks": "#0072B2", "sparse codes": "#D55E00", "the rest": "#7A7A7A"}
NETWORKS = {"network f", "certificates", "unsettled starts", "basins", "encoding", "decoding"}
SPARSE = {"Gram products", "pursuit", "projection", "codes to latents"}


class Clock:
    """Seconds by part. ``now`` is the part that runs; all time since ``since`` is its own."""

    def __init__(self) -> None:
        self.seconds: Counter[str] = Counter()
        self.now, self.since = OTHER, time.perf_counter()

    def restart(self) -> None:
        """Forget what was measured, which was preparation."""
        self.seconds.clear()
        self.since = time.perf_counter()

    def switch(self, part: str) -> str:
        """Enter a part; the one before."""
        instant, before = time.perf_counter(), self.now
        self.seconds[before] += instant - self.since
        self.now, self.since = part, instant
        return before

    @contextmanager
    def inside(self, part: str) -> Iterator[None]:
        """Within, time belongs to the part."""
        before = self.switch(self.now if self.now in WHOLE else part)
        try:
            yield
        finally:
            self.switch(before)

    def timed(self, part: str, function: Callable[..., Any]) -> Callable[..., Any]:
        """The function, with its time counted; of a generator, the time between its values."""

        @functools.wraps(function)
        def call(*arguments: Any, **named: Any) -> Any:
            with self.inside(part):
                return function(*arguments, **named)

        def values(*arguments: Any, **named: Any) -> Iterator[Any]:
            made, done = function(*arguments, **named), object()
            while True:
                with self.inside(part):
                    value = next(made, done)
                if value is done:
                    return
                yield value

        return values if inspect.isgeneratorfunction(function) else call

    def watch(self) -> None:
        """Time every function of ``PARTS``, and imports."""
        for part, places in PARTS.items():
            for place in places:
                module, _, path = place.partition(":")
                *owners, name = path.split(".")
                owner = functools.reduce(getattr, owners, importlib.import_module(module))
                found = vars(owner)[name]
                if isinstance(found, functools.cached_property):
                    found.func = self.timed(part, found.func)
                else:
                    setattr(owner, name, self.timed(part, found))
        builtins.__import__ = self.timed("imports", builtins.__import__)


def main(arguments: list[str]) -> None:
    """Measure one workload, or draw all that were measured."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("what", choices=[*WORK, "draw"])
    parser.add_argument("--set", action="append", default=[], dest="overrides")
    parser.add_argument("--images", type=int, default=300)
    options = parser.parse_args(arguments)
    if options.what == "draw":
        draw({name: json.loads((KEPT / f"{name}.json").read_text()) for name in WORK})
        return
    from probe.heap import keep_freed_memory

    keep_freed_memory()
    clock = Clock()
    with clock.inside("imports"):
        clock.watch()
    WORK[options.what](options, clock)
    clock.switch(OTHER)
    KEPT.mkdir(parents=True, exist_ok=True)
    (KEPT / f"{options.what}.json").write_text(json.dumps(clock.seconds))
    whole = sum(clock.seconds.values())
    print(f"| {options.what} | share of {whole:.0f} s |\n|---|---|")
    for part, seconds in clock.seconds.most_common():
        print(f"| {part} | {seconds / whole:.1%} |")


def run(config: str) -> Callable[[argparse.Namespace, Clock], None]:
    """``probe run`` of a configuration, in a folder of its own."""

    def work(options: argparse.Namespace, clock: Clock) -> None:
        from probe.cli.main import main as command

        overrides = [part for one in options.overrides for part in ("--set", one)]
        with tempfile.TemporaryDirectory() as folder:
            try:
                status = command(["run", str(ROOT / config), "--out", f"{folder}/run", *overrides])
            except SystemExit as left:
                status = left.code
            if status:
                sys.exit(status)

    return work


def paper(options: argparse.Namespace, clock: Clock) -> None:
    """``reconstruct`` in the paper's shape: d = N = 4096, levels to 2048, three dictionaries that need the pursuit, and
    a small untrained decoder to 64 px. Atoms are smooth random fields, images rougher ones."""
    import torch

    from probe.autoencoders import load_autoencoder
    from probe.bench.sparse import smooth_fields
    from probe.config import ModelConfig, SparseConfig
    from probe.dictionary import gaussian, random_orthogonal
    from probe.studies.probing.reconstruction import mean_image, prepare, reconstruct

    with tempfile.TemporaryDirectory() as folder:
        (Path(folder) / "paper_shaped.py").write_text(MODEL)
        model = load_autoencoder(ModelConfig(source=f"python:{folder}/paper_shaped.py:load", device="cpu"))
    d = 4096
    noise = smooth_fields(options.images, d, decay=1.0, seed=1).view(-1, 4, 32, 32)[:, :3]
    images = torch.nn.functional.interpolate(((noise * 40 + 0.5) * 255).clamp(0, 255), 64).to(torch.uint8)
    bases = {
        "attractors": smooth_fields(d, d, decay=3.0, seed=0),
        "random_orthogonal": random_orthogonal(d, 0),
        "gaussian": gaussian(d, d, 1),
        "one_step": smooth_fields(d, d, decay=2.0, seed=2),
    }
    sparse = SparseConfig(levels=[8, 64, 205, 410, 1024, 2048])
    ready, mean = prepare(bases, sparse, model.device), mean_image(images)
    clock.restart()
    for part in images.split(sparse.batch_size):
        reconstruct(model, ready, part, sparse, mean)


MODEL = """
import torch

class PaperShaped(torch.nn.Module):
    def __init__(self):
        super().__init__()
        torch.manual_seed(0)
        wide = [torch.nn.Conv2d(16, 16, 3, padding=1), torch.nn.ReLU()]
        self.down = torch.nn.Conv2d(3, 4, 3, stride=2, padding=1)
        self.up = torch.nn.Sequential(
            torch.nn.Conv2d(4, 16, 3, padding=1), torch.nn.ReLU(), *wide, torch.nn.Upsample(scale_factor=2), *wide,
            torch.nn.Conv2d(16, 3, 3, padding=1), torch.nn.Sigmoid(),
        )

    def encode(self, x):
        return self.down(x)

    def decode(self, z):
        return self.up(z)

def load():
    return PaperShaped()
"""
WORK: dict[str, Callable[[argparse.Namespace, Clock], None]] = {
    "quickstart": run("configs/quickstart.yaml"),
    "taef2": run("configs/taef2.yaml"),
    "paper": paper,
}


def draw(measured: dict[str, dict[str, float]], file: Path = DRAWING) -> None:
    """A bar for every workload, parts below 1.5 % put together."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=(9, 2.6), layout="constrained")
    axes = figure.subplots()
    for row, seconds in enumerate(measured.values()):
        whole, left = sum(seconds.values()), 0.0
        for part, share in shown({part: value / whole for part, value in seconds.items()}).items():
            colour = COLOURS["networks" if part in NETWORKS else "sparse codes" if part in SPARSE else "the rest"]
            axes.barh(row, share, left=left, color=colour, edgecolor="white", linewidth=1)
            if share > 0.07:
                text = f"{part.replace(' ', chr(10), 1)}\n{share:.0%}"
                axes.text(left + share / 2, row, text, ha="center", va="center", color="white", fontsize=7)
            left += share
    axes.set_yticks(range(len(measured)), list(measured))
    axes.set_xticks([])
    axes.set_xlim(0, 1)
    axes.invert_yaxis()
    handles = [axes.bar(0, 0, color=colour, label=name) for name, colour in COLOURS.items()]
    axes.legend(handles=handles, loc="upper center", bbox_to_anchor=(0.5, 0), ncols=3, frameon=False, fontsize=8)
    figure.savefig(file, metadata={"Date": None})


def shown(shares: dict[str, float]) -> dict[str, float]:
    """Parts by kind, the largest first; what is below 1.5 % is part of everything else."""
    small = sum(share for share in shares.values() if share < 0.015) + max(shares.get(OTHER, 0), 0)
    kept = {part: share for part, share in shares.items() if share >= 0.015 and part != OTHER}
    kind = {part: (part not in NETWORKS, part not in SPARSE) for part in kept}
    ordered = sorted(kept, key=lambda part: (*kind[part], -kept[part]))
    return {part: kept[part] for part in ordered} | {OTHER: small}


if __name__ == "__main__":
    main(sys.argv[1:])
