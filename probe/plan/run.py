"""The stages of a run before it is begun: images, attractors, dictionary, reconstruct, report.

| symbol | meaning |
|---|---|
| N, m | starts, atoms |
| d | latent dimension |
| n, k | test images and held-out images of a data set |
| L | levels of sparsity |
"""

from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, replace
from math import prod

from probe.config import Config, DatasetConfig
from probe.dynamics.certificate import TOGETHER
from probe.methods import FEWEST, OURS, SANITY, Method, methods, metrics
from probe.plan.behaviour import PLAIN, Behaviour
from probe.plan.cost import ModelCost, Pass
from probe.plan.machines import Here
from probe.plan.stage import Load, Range, StagePlan
from probe.results import layout
from probe.sparse.cost import cholesky_path, direct_path, greedy_depth, projected_path
from probe.sparse.dictionary import GRAM
from probe.sparse.omp import LONG
from probe.studies.probing import basins, subsets
from probe.studies.probing.dictionary import COMPARED, LEADERS, PICTURES, THUMBNAILS
from probe.studies.probing.end_points import MOST_ROWS, batches
from probe.studies.probing.reconstruction import EXAMPLES, PICTURE, decoded_levels

FAR = 0.55
"""Share of the evaluations in reduced precision on a GPU (docs/developing/learned.md, "Precision")."""
LOOP = 330
"""Operations of a step of the loop beside f, with extrapolation (docs/benchmarks.md, "On a GPU")."""
DIFFERENTIAL = 4
"""Calls of kernels of a product with the Jacobian, over those of f."""
JUDGED = Pass(0.0, 400.0, 0.0, 60)
"""Of the metrics: bytes moved for each number of an image, and operations for a batch."""
START, FIGURE, REPORT = 7.0, 0.4, 1.0
"""Seconds of the processor, measured on one core of a server: to import everything, to draw a figure, and for the rest
of a report."""
READ, READ_PIXEL = 6e-4, 8e-8
"""The same to read an image, and for each pixel of the side's square."""
DRAWN_BYTES, PAGE_BYTES = 170_000, 570_000
"""Bytes of a figure (PNG and SVG), and of report.html and report.json by data set."""
STATE = (layout.CONFIG, layout.MANIFEST, layout.PROGRESS, layout.LOCK, layout.LOG, layout.PLAN, layout.SPENT)
"""Files of every folder that was finished without an error, on one rank."""
STATE_BYTES = 25_000
LARGE = 64 * 2**30
"""Bytes in which Gram matrices are taken to fit."""
OVER = 1.4
"""Times the floor of its cost model that the pursuit takes on a GPU (docs/benchmarks.md, "On a GPU")."""


@dataclass(frozen=True)
class RunPlanner:
    """Plans the stages of one configuration.

    Attributes:
        cost: of the model, for one row.
        behaviour: what the starts are expected to do.
        config: with the presets of its data sets written out.
        host: the processor, for what is done there whatever the card.
    """

    config: Config
    cost: ModelCost
    behaviour: Behaviour
    host: Here

    def stages(self) -> tuple[StagePlan, ...]:
        """In the order of the run."""
        found = (self.images(), self.attractors(), self.dictionary())
        return (*found, self.reconstruct(), self.report()) if self.config.datasets else (*found, self.report())

    @property
    def datasets(self) -> dict[str, DatasetConfig]:
        return self.config.datasets

    @property
    def sizes(self) -> dict[str, int]:
        """The counts that columns of result files name."""
        shape = self.cost.latent_shape
        c, h, w = shape if len(shape) == 3 else (prod(shape), 1, 1)
        return {"c": c, "h": h, "w": w, "d": self.cost.d, "N": self.config.seeds.count, "m": self.atoms}

    @property
    def atoms(self) -> int:
        """Expected atoms."""
        return max(round(self.behaviour.atoms.expected), 1)

    # images

    def images(self) -> StagePlan:
        sets = self.datasets.values()
        many = sum(one.n + one.holdout for one in sets)
        bytes_of_one = 3 * self.config.resolution**2
        return StagePlan(
            "images",
            "data sets",
            len(self.datasets),
            (
                Load("start", Range.exactly(1), seconds=START, alone=True),
                Load("read images", Range.exactly(many), seconds=READ + READ_PIXEL * self.config.resolution**2),
            ),
            host=2.0 * max(((one.n + one.holdout) * bytes_of_one for one in sets), default=0),
            files=len(STATE),
            disk=STATE_BYTES,
            scratch=many * bytes_of_one,
            shards=max(len(self.datasets), 1),
            assumes="downloads are not counted",
        )

    # attractors

    def attractors(self) -> StagePlan:
        seeds = self.config.seeds
        parts = batches(seeds.count, seeds.shard_size)
        rows = min(seeds.count, MOST_ROWS)
        alike = Counter(map(len, parts))  # all shards but the last: with many starts, each one would take seconds
        return StagePlan(
            "attractors",
            "starts",
            seeds.count,
            tuple(self._iterated(self.behaviour.evaluations.times(seeds.count))),
            memory=self.cost.weights + rows * self._row_bytes,
            least=self.cost.weights + self._row_bytes,
            host=3.0 * max(map(len, parts)) * self.cost.d * self.cost.element,  # of a shard: starts, end points, a copy
            disk=sum(
                number * layout.SHARD.bytes(self.sizes | {"n": size}, self.cost.element)
                for size, number in alike.items()
            ),
            files=len(parts),
            shards=len(parts),
            assumes=self.behaviour.says,
        )

    def _iterated(self, evaluations: Range) -> Iterator[Load]:
        """Evaluations of f in the loop: the first ones of a start in reduced precision, where a card has it."""
        f, rows = self.cost.f, min(self.config.seeds.count, MOST_ROWS)
        far = self.config.solver.far_precision
        reduced = "tf32" if far == "auto" else far
        exact = self.config.model.dtype
        calls = (f.operations + LOOP) / rows
        shares = {exact: 1.0} if reduced == "float32" or exact == "float64" else {reduced: FAR, exact: 1 - FAR}
        for arithmetic, share in shares.items():
            yield Load("f", evaluations.times(share), f.flops, f.moved, calls, arithmetic)

    @property
    def _row_bytes(self) -> float:
        """Of a row in the batch: what f keeps, and some ten latents of the loop."""
        return self.cost.f.peak + 10 * self.cost.d * self.cost.element

    # dictionary

    def dictionary(self) -> StagePlan:
        config, behaviour = self.config, self.behaviour
        n, solver = config.seeds.count, config.solver
        settled = behaviour.settled.times(n)
        points = {
            "certificates": behaviour.certified.at_most(solver.certificates),
            "checks": self._checked(settled),
            "exponents": behaviour.limited.times(n).at_most(solver.exponents),
        }
        spans = [span for count in points.values() for span in batches(round(count.expected), TOGETHER)]
        probes, kicked, runs = self._basins(settled)
        graph = self.cost.graph or 0.0
        together = min(TOGETHER, max((len(span) for span in spans), default=0))
        return StagePlan(
            "dictionary",
            "shards",
            1 + len(spans),
            (
                self._products("certificates", points["certificates"].times(behaviour.certificate)),
                self._products("exponents", points["exponents"].times(behaviour.exponent)),
                *self._named("plain checks", points["checks"].times(behaviour.evaluations).times(PLAIN)),
                *self._named("basins", runs.times(behaviour.evaluations)),
                *self._merging(),
                self._decoding(behaviour.atoms.at_most(THUMBNAILS)),
            ),
            memory=self.cost.weights + max(together, 1) * max(graph, self._row_bytes),
            least=self.cost.weights + max(graph, self._row_bytes),
            host=n * self.cost.d * (2.0 * self.cost.element + 8),  # end points, and once more to be merged in float64
            disk=self._dictionary_bytes(round(points["exponents"].expected), probes, kicked),
            files=4,
            shards=max(len(spans), 1),
            assumes=f"{self.atoms} atoms ({round(behaviour.atoms.low)} to {round(behaviour.atoms.high)}), "
            f"{round(points['certificates'].expected)} of them given a certificate; the graphs of {together} points "
            "are kept, or of as many as fit",
        )

    def _checked(self, settled: Range) -> Range:
        """Starts that are iterated again, plainly: a sample, and the leaders of the largest basins."""
        sample = settled.at_most(self.config.solver.plain_checks)
        leaders = self.behaviour.certified.at_most(LEADERS)
        return Range(*(a + b if a else 0.0 for a, b in zip(sample, leaders, strict=True)))

    def _basins(self, settled: Range) -> tuple[int, int, Range]:
        """Probes, kicked attractors, and the starts that are iterated for them."""
        one = self.config.basins
        probes = settled.at_most(one.probes)
        kicked = self.behaviour.certified.at_most(one.attractors)
        pairs = len(one.separations) * one.partners
        kicks = one.directions * (len(one.kicks) + one.bisections) + len(basins.STOPS) + one.bisections
        both = [
            p * pairs + k * kicks if atoms >= 2 else 0.0  # it takes two to have a boundary
            for p, k, atoms in zip(probes, kicked, self.behaviour.certified, strict=True)
        ]
        there = both[1] > 0
        return round(probes.expected) * there, round(kicked.expected) * there, Range(*both)

    def _products(self, what: str, evaluations: Range) -> Load:
        f = self.cost.f
        exact = "float64" if self.config.solver.certificate_dtype == "float64" else self.config.model.dtype
        return Load(what, evaluations, f.flops, f.moved, DIFFERENTIAL * f.operations / TOGETHER, exact, kind="f")

    def _named(self, what: str, evaluations: Range) -> Iterator[Load]:
        """``_iterated``, under another name."""
        for one in self._iterated(evaluations):
            yield replace(one, what=what, kind="f")

    def _merging(self) -> Iterator[Load]:
        """Products of end points with leaders, by cosine and by distance, and two Vendi scores."""
        n, d = self.config.seeds.count, self.cost.d
        products = self.behaviour.atoms.times(2 * 2 * n * d)
        yield self._linear("merging", products)
        yield self._linear("diversity", self.behaviour.atoms.at_most(COMPARED).cubed().times(2 * 10))

    def _linear(self, what: str, flops: Range) -> Load:
        """Linear algebra in float64 on the processor, whatever the card."""
        return Load(what, flops, 1.0, 0.0, seconds=1 / self.host.flops["linear"], alone=True)

    def _decoding(self, points: Range) -> Load:
        one = self.cost.decode
        return Load("decode", points, one.flops, one.moved, one.operations, self.config.model.dtype, alone=True)

    def _dictionary_bytes(self, wandering: int, probes: int, kicked: int) -> float:
        one, m = self.config.basins, self.atoms
        element = self.cost.element
        side = self.config.resolution
        small = min(side, PICTURE)
        gallery = 3 * (min(m, PICTURES) * side**2 + min(m, THUMBNAILS) * small**2)
        sizes = {"k": probes, "s": len(one.separations), "p": one.partners}
        sizes |= {"a": kicked, "r": one.directions, "g": len(one.kicks)}
        return (
            layout.DICTIONARY.bytes(self.sizes, element)
            + layout.GALLERY.bytes({}, element)
            + gallery
            + layout.WANDERING.bytes({"n": wandering})
            + layout.BASINS.bytes(sizes)
        )

    # reconstruct

    @property
    def bases(self) -> list[tuple[Method, int, int]]:
        """Every method with its number of dictionaries, and of their atoms."""
        sparse, known = self.config.sparse, methods()
        holdout = max((one.holdout for one in self.datasets.values()), default=0)
        rows = {
            "end points": self.atoms,
            "starts": self.config.seeds.count,
            "dimension": self.cost.d,
            "held-out images": min(holdout, self.cost.d),
        }
        found = []
        for method in (known[name] for name in (OURS, *sparse.controls)):
            many = sparse.random_bases if method.random else 1
            absent = (method.sees_data and not holdout) or (method.name == "matched_gaussian" and self.atoms < FEWEST)
            if not absent:
                found.append((method, many, rows[method.rows]))
        return found

    def reconstruct(self) -> StagePlan:
        sparse, d, sets = self.config.sparse, self.cost.d, self.datasets
        levels = sparse.atoms(d)
        n = sum(one.n for one in sets.values())
        held = sum(one.holdout for one in sets.values())
        dictionaries = sum(many for _, many, _ in self.bases)
        pictures = n * (sum(many * decoded_levels(levels, rows) for _, many, rows in self.bases) + 1 + len(SANITY))
        encode, numbers = self.cost.encode, prod(self.cost.sample_shape)
        decode, exact = self.cost.decode, self.config.model.dtype
        batch = sparse.batch_size
        loads = [
            Load("encode", Range.exactly(n + held), encode.flops, encode.moved, encode.operations / batch, exact),
            Load(
                "pictures",
                Range.exactly(pictures),
                decode.flops,
                decode.moved + JUDGED.moved * numbers,
                (decode.operations + JUDGED.operations) / batch,
                exact,
            ),
            *self._pursuits(n, levels),
            *self._bases_made(len(sets)),
        ]
        shards = sum(len(batches(one.n, batch)) for one in sets.values())
        return StagePlan(
            "reconstruct",
            "shards",
            shards,
            tuple(loads),
            memory=self._coding_bytes() + self.cost.weights + batch * decode.peak,
            least=self._coding_bytes(grams=False) + self.cost.weights + batch * decode.peak,
            host=self._coding_bytes(grams=False) / 2
            + max((2.0 * (one.n + one.holdout) * numbers for one in sets.values()), default=0.0),
            disk=sum(self._table_bytes(one, dictionaries, len(levels)) for one in sets.values()),
            files=3 * len(sets),
            shards=shards,
            assumes=f"{dictionaries} dictionaries at {len(levels)} levels up to {levels[-1]}, "
            f"{pictures:,} pictures decoded and judged",
        )

    def _pursuits(self, n: int, levels: list[int]) -> Iterator[Load]:
        """Greedy paths of all images in all dictionaries that are not orthonormal, and in their parts."""
        d = self.cost.d
        for method, many, rows in self.bases:
            if not method.orthonormal:
                yield self._pursuit("pursuit", Range.exactly(n * many), rows, greedy_depth(rows, d, levels))
        level = self.config.sparse.five_percent(d)
        N, m = self.config.seeds.count, self.atoms
        blocks = min(subsets.BLOCKS, N)
        examined = sum(min(one.n, subsets.EXAMINED) for one in self.datasets.values())
        lost = 1 - (1 - 1 / blocks) ** level if blocks > 1 else 0.0
        for rows, starts in ((m, N), (N, N)):
            yield self._pursuit("pursuit in parts", Range(0, lost, 1).times(blocks * examined), rows, level)
            for size in subsets.first_sizes(starts, level):
                yield self._pursuit("pursuit in parts", Range(0.5 * n, n, n), min(rows, size), level)
        for size in subsets.first_sizes(subsets.gaussian_atoms(N, d), level):
            yield self._pursuit("pursuit in parts", Range.exactly(n), size, level)

    def _pursuit(self, what: str, paths: Range, rows: int, depth: int) -> Load:
        depth = min(depth, max(rows - 1, 0))
        width = 4 if self.config.sparse.dtype == "float32" else 8
        on_cpu = projected_path(rows, depth, width)
        path = cholesky_path(rows, depth, width) if depth > LONG and width == 8 else on_cpu
        if not self._gram_fits(rows):
            path = on_cpu = direct_path(rows, self.cost.d, depth, width)
        arithmetic = "float32" if width == 4 else "float64"
        calls = path.calls / self.config.sparse.batch_size
        return Load(
            what, paths, OVER * path.flops, OVER * path.moved, calls, arithmetic, kind="pursuit", elsewhere=on_cpu.flops
        )

    def _gram_fits(self, rows: int) -> bool:
        """Whether a Gram matrix of so many atoms fits into the memory of the larger cards."""
        return GRAM * rows**2 * 8 <= LARGE

    def _bases_made(self, sets: int) -> Iterator[Load]:
        """Random bases and principal components on the processor; Gram matrices where the codes are computed."""
        d, sparse = self.cost.d, self.config.sparse
        random = any(method.random and method.orthonormal for method, _, _ in self.bases)
        made = (8 / 3) * d**3 * sparse.random_bases * random  # QR, and Q formed
        held = [min(one.holdout, d) for one in self.datasets.values()]
        made += sum(14.0 * k**2 * max(d, k) for k in held)  # SVD
        yield self._linear("bases", Range.exactly(made))
        gram = 2.0 * d * sum(rows**2 for rows in self._grams)
        yield Load("Gram matrices", Range.exactly(1), gram, arithmetic="float64", alone=True, kind="linear")

    def _coding_bytes(self, *, grams: bool = True) -> float:
        """Dictionaries as they are and of unit norm, and Gram matrices, which pursuits can do without."""
        d, width = self.cost.d, 4 if self.config.sparse.dtype == "float32" else 8
        atoms = sum(many * rows * d for _, many, rows in self.bases)
        atoms += subsets.gaussian_atoms(self.config.seeds.count, d) * d
        return float(width * (2 * atoms + grams * sum(rows**2 for rows in self._grams)))

    @property
    def _grams(self) -> list[int]:
        """Sides of the Gram matrices: of dictionaries that are not orthonormal, and of the large Gaussian one."""
        rows = [rows for method, many, rows in self.bases if not method.orthonormal for _ in range(many)]
        return [*filter(self._gram_fits, (*rows, subsets.gaussian_atoms(self.config.seeds.count, self.cost.d)))]

    def _table_bytes(self, one: DatasetConfig, dictionaries: int, levels: int) -> float:
        """The table, the pictures and the subsets of a data set."""
        rows = one.n * (1 + len(SANITY) + dictionaries * levels)
        # Every metric is a float64; the other columns repeat, and take about 4 bytes together.
        table = rows * (8 * sum(not metric.optional for metric in metrics().values()) + 4) + 25_000
        side = min(self.config.resolution, PICTURE)
        sizes = {"e": min(one.n, EXAMPLES), "H": side, "W": side, "L": levels}
        pictures = layout.PICTURES.bytes(sizes, copies={"{method}": len(self.bases)})
        n, level = self.config.seeds.count, self.config.sparse.five_percent(self.cost.d)
        parts = sum(
            layout.SUBSETS.bytes(
                {"B": min(subsets.BLOCKS, n), "k": min(one.n, subsets.EXAMINED), "n": one.n, "sizes": len(sizes_of)},
                copies={"left_out/{method}": left, "size/{method}": 1},
            )
            - (layout.HEADER if at else 0)
            for at, (left, sizes_of) in enumerate(
                (
                    (1, subsets.first_sizes(n, level)),
                    (1, subsets.first_sizes(n, level)),
                    (0, subsets.first_sizes(subsets.gaussian_atoms(n, self.cost.d), level)),
                )
            )
        )
        return table + pictures + parts

    # report

    def report(self) -> StagePlan:
        figures = 4 + 4 * len(self.datasets) + (3 if self.datasets else 0)
        return StagePlan(
            "report",
            "files",
            1,
            (Load("report", Range.exactly(1), seconds=REPORT + FIGURE * figures, alone=True),),
            disk=figures * DRAWN_BYTES + (1 + len(self.datasets)) * PAGE_BYTES,
            files=3 + 2 * figures,
            assumes=f"{figures} figures",
        )
