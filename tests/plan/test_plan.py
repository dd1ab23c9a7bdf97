"""Plans against closed forms, and against what a real run leaves."""

import gc
import json
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from torch.nn.attention import SDPBackend, sdpa_kernel

from probe.autoencoders import load_autoencoder
from probe.autoencoders.adapter import autoencoder_classes
from probe.autoencoders.compatibility import small_configurations
from probe.cli.main import app
from probe.config import Config, ModelConfig, parse_config
from probe.dynamics import LatentMap
from probe.dynamics.jacobian import _Graph as Graph
from probe.dynamics.jacobian import kept
from probe.errors import UserError
from probe.plan.behaviour import Pilot, expected, expected_groups
from probe.plan.cost import _Traffic as Traffic
from probe.plan.cost import cost_of, model_cost, passing
from probe.plan.machines import CARDS, Here, card
from probe.plan.measure import paced
from probe.plan.plan import plan_run, priced
from probe.plan.run import RunPlanner
from probe.plan.show import lines
from probe.plan.stage import Load, Plan, Range, StagePlan
from probe.precision import full_float32
from probe.results import layout

TINY = "python:tests/jobs/finished/tiny.py:load"
ARITHMETIC = ("float32", "tf32", "bfloat16", "float64")
HOST = Here("host", 2.0**34, {}, {"linear": 1e10})


@pytest.fixture(scope="module")
def config() -> Config:
    """A run of seconds, whose files are mostly content."""
    return parse_config(
        {
            "model": {"source": TINY, "device": "cpu"},
            "resolution": 64,
            "seeds": {"count": 12, "shard_size": 5},
            "solver": {"max_steps": 30},
            "sparse": {"levels": [4, 16], "random_bases": 2, "batch_size": 8},
            "datasets": {"digits": {"n": 20, "holdout": 12}, "textures": {"n": 9, "holdout": 12}},
        }
    )


@pytest.fixture(scope="module")
def planned(config: Config) -> Plan:
    """With a pilot of all starts: nothing is left to guess."""
    (plan,) = plan_run(config, pilot=12)
    return plan


def _stage(plan: Plan, name: str) -> StagePlan:
    return next(stage for stage in plan.stages if stage.name == name)


# What a model costs


def test_flops_and_traffic_of_a_convolution_are_those_of_the_closed_form():
    conv = torch.nn.Conv2d(3, 8, 3, padding=1, bias=False, device="meta")
    x = torch.zeros(1, 3, 10, 10, device="meta")
    found, y = passing(lambda x: conv(x).relu(), x, list(conv.parameters()))
    assert found.flops == 2 * 8 * 10 * 10 * 3 * 9
    # The convolution reads 300 numbers and writes 800; ReLU reads and writes 800.
    assert found.moved == 4 * (300 + 800 + 800 + 800)
    assert found.peak == 4 * (800 + 800)
    assert found.operations == 2
    assert y.shape == (1, 8, 10, 10)


def test_a_model_costs_the_same_by_its_config_alone_as_by_its_weights(monkeypatch: pytest.MonkeyPatch):
    spec = ModelConfig(source="embedded:cifar-attractors", device="cpu")
    outlined = model_cost(spec, 32)
    monkeypatch.setattr("probe.plan.cost.outline", lambda spec: None)
    loaded = model_cost(spec, 32)
    assert outlined.model is None
    assert loaded.model is not None
    assert replace(loaded, model=None, graph=None) == replace(outlined, graph=None)
    assert loaded.graph == pytest.approx(outlined.graph, rel=0.01)
    assert outlined.weights == 4 * 165_043
    assert outlined.latent_shape == (4, 8, 8)


def test_attention_is_counted_alike_with_weights_and_without(tmp_path: Path):
    config = small_configurations()["AutoencoderKL"]["config"]
    autoencoder_classes()["AutoencoderKL"](**config).save_pretrained(tmp_path)
    spec = ModelConfig(source=str(tmp_path), device="cpu")
    assert model_cost(spec, 16).f == cost_of(load_autoencoder(spec), spec, 16).f


def test_only_config_json_of_a_folder_is_needed(tmp_path: Path):
    folder = Path("probe/autoencoders/embedded/cifar-attractors")
    (tmp_path / "config.json").write_text((folder / "config.json").read_text())
    assert model_cost(ModelConfig(source=str(tmp_path)), 64).latent_shape == (4, 16, 16)
    with pytest.raises(UserError, match="not divisible by 4"):
        model_cost(ModelConfig(source=str(tmp_path)), 30)


# How starts behave


def test_distinct_end_points_are_extrapolated():
    apart = expected_groups([1] * 30, 30, 1000)  # every start ended elsewhere: of 628 as likely as not, or of 1000
    assert apart == pytest.approx((30, (628 * 1000) ** 0.5, 1000), rel=0.001)
    assert 1 - torch.arange(30).div(628).neg().log1p().sum().exp() == pytest.approx(0.5, abs=0.01)
    assert expected_groups([1] * 3, 4, 4).expected == 3
    assert expected_groups([1] * 80, 80, 1000).expected == 1000
    assert expected_groups([4, 4], 8, 100).expected == 2  # nothing was met only once
    assert expected_groups([5, 3], 8, 8) == Range(2, 2, 2)  # nothing is left to draw
    # 50 equally likely groups: the mean number that n draws meet is known.
    drawn = torch.randint(50, (200, 40), generator=torch.Generator().manual_seed(0))
    estimates = [expected_groups(torch.bincount(one)[torch.bincount(one) > 0].tolist(), 40, 200) for one in drawn]
    known = 50 * (1 - (1 - 1 / 50) ** 200)
    assert sum(one.expected for one in estimates) / 200 == pytest.approx(known, rel=0.15)


# A plan of a run


@pytest.fixture(scope="module")
def run(config: Config, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The same run, really done, without its report."""
    folder = tmp_path_factory.mktemp("planned")
    file, path = folder / "run.yaml", folder / "run"
    file.write_text(json.dumps(config.model_dump(mode="json", exclude_unset=True)))
    app(["images", str(file), "--out", str(path), "--trust-code"], standalone_mode=False)
    for stage in ("attractors", "dictionary", "reconstruct"):
        app([stage, str(path), "--trust-code"], standalone_mode=False)
    return path


@pytest.mark.parametrize(
    ("stage", "patterns"),
    [
        ("attractors", ["attractors/*"]),
        (
            "dictionary",
            ["dictionary.safetensors", "gallery.safetensors", "wandering.safetensors", "basins.safetensors"],
        ),
        ("reconstruct", ["reconstructions/*", "subsets/*"]),
    ],
)
def test_files_of_a_stage_are_those_that_a_run_leaves(planned: Plan, run: Path, stage: str, patterns: list[str]):
    made = [file for pattern in patterns for file in run.glob(pattern)]
    found = _stage(planned, stage)
    assert found.files == len(made)
    assert found.disk == pytest.approx(sum(file.stat().st_size for file in made), rel=0.08)


def test_starts_and_shards_are_those_of_a_run(planned: Plan, run: Path):
    attractors = _stage(planned, "attractors")
    assert attractors.units == 12
    assert attractors.shards == len(list(run.glob(layout.SHARD.glob))) == 3
    assert _stage(planned, "reconstruct").shards == 3 + 2  # batches of 8 images of 20 and of 9


def _changed(config: Config, **sections: dict[str, object]) -> Plan:
    """Without a pilot, on an H100."""
    data = config.model_dump(mode="json", exclude_unset=True)
    changed = parse_config({**data, **{name: {**data.get(name, {}), **values} for name, values in sections.items()}})
    cost = model_cost(changed.model, changed.resolution)
    stages = RunPlanner(changed, cost, expected(changed, None), HOST).stages()
    return Plan("run", stages, card("H100"))


def test_twice_the_starts_are_twice_the_work(config: Config):
    once, twice = (_changed(config, seeds={"count": n}) for n in (1000, 2000))
    assert _stage(twice, "attractors").flops == _stage(once, "attractors").flops.times(2)
    assert _stage(twice, "attractors").disk == pytest.approx(2 * _stage(once, "attractors").disk)
    assert twice.seconds.expected > once.seconds.expected


def test_two_ranks_share_what_can_be_shared(config: Config):
    plan = _changed(config, seeds={"count": 1000})
    alone, shared = (_stage(plan, "attractors").seconds(plan.machine, ranks) for ranks in (1, 2))
    assert shared.expected == pytest.approx(alone.expected / 2)
    report = _stage(plan, "report")
    assert report.seconds(plan.machine, 2) == report.seconds(plan.machine, 1)


def test_bounds_hold_what_is_expected(config: Config):
    plan = _changed(config)
    for stage in plan.stages:
        for load in stage.loads:
            assert load.units.low <= load.units.expected <= load.units.high, load.what


def test_a_pilot_tells_more_than_no_pilot(config: Config):
    pilot = Pilot((10.0, 12.0, 14.0), 3, 0, (2, 1), (2, 1), 50.0, None)
    known, unknown = expected(config, pilot), expected(config, None)
    assert known.evaluations.expected == 12
    assert known.certificate.expected == 50
    assert known.evaluations.high - known.evaluations.low < unknown.evaluations.high - unknown.evaluations.low


def test_what_dominates_is_named_and_halving_it_helps():
    big, small = (Load("f", Range.exactly(n), flops=1e12) for n in (1e4, 1.0))

    def stages(config: Config) -> tuple[StagePlan, ...]:
        part = config.seeds.count / 256
        return (StagePlan("attractors", "starts", 1, (replace(big, units=big.units.times(part)), small)),)

    plan = priced("run", stages, Config(), card("H100"), 1)
    assert plan.dominating[0][:2] == ("attractors", "f in float32")
    assert plan.dominating[0].share > 0.99
    assert plan.advice[0].change == "seeds.count=128"
    assert plan.advice[0].share == pytest.approx(0.5, abs=0.01)
    assert plan.halving is None or plan.halving.share >= 0.5


def test_the_step_limit_is_no_advice_where_half_of_it_was_assumed(config: Config):
    cost = model_cost(config.model, config.resolution)

    def advised(pilot: Pilot | None) -> Plan:
        def stages(config: Config) -> tuple[StagePlan, ...]:
            return RunPlanner(config, cost, expected(config, pilot), HOST).stages()

        return priced("run", stages, config, card("T4"), 1, pilot is not None)

    config = config.model_copy(update={"seeds": config.seeds.model_copy(update={"count": 20_000})})
    all_of_them, few = (Pilot((steps,) * 4, 4, 0, (2, 2), (2, 2), 50.0, None) for steps in (30.0, 8.0))
    plans = [advised(pilot) for pilot in (None, all_of_them, few)]
    said = [any("max_steps" in one.change for one in plan.advice) for plan in plans]
    assert said == [False, True, False]  # eight steps are as many under half of the limit
    assert "max_steps" not in (plans[0].halving.change if plans[0].halving else "")
    assert "--set datasets.digits.n=10 --set datasets.textures.n=4" in "\n".join(lines(plans))


def test_a_card_is_bound_by_the_slowest_of_operations_memory_and_calls():
    h100 = card("h100")
    assert h100.seconds("f", 30.5 * 0.895e12, 0, 0, "float32") == pytest.approx(1)  # as measured there
    assert h100.seconds("f", 0, 2962e9, 0, "float32") == pytest.approx(1, rel=0.01)
    assert h100.seconds("f", 1, 1, 90, "tf32") == pytest.approx(1.2e-3)
    t4 = card("T4")
    assert t4.seconds("f", 1e12, 0, 0, "tf32") == t4.seconds("f", 1e12, 0, 0, "float32")  # it has no TF32
    assert t4.how(1e12, 0, 0, "tf32") == " in float32"
    assert h100.how(1, 1, 90, "tf32") == " in tf32, bound by the host's calls of kernels"


def test_the_memory_of_a_stage_is_what_there_is_and_at_least_what_it_needs(config: Config):
    stage, small = StagePlan("dictionary", "shards", 1, memory=234e9, least=7e9, host=1e9), replace(HOST, memory=8.5e9)
    assert stage.taken(card("H100")) == card("H100").memory
    assert stage.taken(card("T4")) == card("T4").memory
    assert stage.taken(small) == small.memory
    needy = replace(stage, least=8e9)
    assert (stage.fits(small), needy.fits(small), needy.taken(small)) == (True, False, 9e9)
    shown = "\n".join(lines([Plan("run", (needy,), small)]))
    assert "dictionary needs 8.38 GiB of memory, and host has 7.92 GiB: it will not fit." in shown


def test_a_faster_loop_is_a_faster_network_and_nothing_else():
    here = replace(HOST, rates={"f": 2.0, "encode": 1.0}, flops={"float32": 1e9, "linear": 1e10})
    found = paced(here, 0.5)
    assert (found.rates, found.flops) == ({"f": 0.5, "encode": 1.0}, {"float32": 4e9, "linear": 1e10})


def test_the_graph_of_a_row_is_what_the_process_keeps():
    """The bytes of a graph, against those of tensors that are alive after both kinds of products."""
    f = LatentMap(load_autoencoder(ModelConfig(source="embedded:cifar-attractors", device="cpu")))
    known = [p for module in f.autoencoder.modules for p in module.parameters()]
    z = torch.zeros(1, 4, 8, 8)
    with full_float32(), sdpa_kernel(SDPBackend.MATH), Traffic(known) as traffic:
        graph = Graph(f, z)
        graph.times(torch.ones_like(z))
        gc.collect()
    assert kept(f, z)[1] == pytest.approx(traffic.now, rel=0.05)


@pytest.mark.parametrize(
    ("name", "means"),
    [
        ("a100", "A100-80"),
        ("RTX 4090", "RTX4090"),
        ("h100_pcie", "H100-PCIe"),
        ("NVIDIA H100", "H100"),
        ("H100 80GB HBM3", "H100"),
        ("NVIDIA H100 PCIe", "H100-PCIe"),
        ("NVIDIA A100-SXM4-40GB", "A100-40"),
        ("Tesla V100-SXM2-32GB", "V100"),
        ("NVIDIA GeForce RTX 4090", "RTX4090"),
    ],
)
def test_cards_are_found_as_people_write_them(name: str, means: str):
    assert card(name).name == means


def test_another_card_is_refused_with_the_table():
    for other in ("H20O", "B200", "RTX A6000", "A10G", "NVIDIA"):
        with pytest.raises(UserError, match=rf"no GPU '{other}' in the table, which has H100, .*T4\.$"):
            card(other)
    assert len({one.name for one in CARDS}) == len(CARDS)


def test_the_command_prints_a_table_and_writes_json(config: Config, tmp_path: Path, capsys: pytest.CaptureFixture[str]):
    file, to = tmp_path / "run.yaml", tmp_path / "plan.json"
    file.write_text(json.dumps(config.model_dump(mode="json", exclude_unset=True)))
    given = ["plan", str(file), "--gpu", "H100", "--gpu", "T4", "--gpus", "2", "--pilot", "0", "--json", str(to)]
    app(given, standalone_mode=False)
    said = capsys.readouterr().out
    assert "2 x H100" in said
    assert "2 x T4" in said
    assert "GPU hours" in said
    assert "The time goes to:" in said
    first, _ = json.loads(to.read_text())
    assert [stage["name"] for stage in first["stages"]] == [
        "images",
        "attractors",
        "dictionary",
        "reconstruct",
        "report",
    ]
    assert first["machine_hours"][1] == pytest.approx(2 * first["seconds"][1] / 3600)


def test_a_cluster_profile_is_no_configuration(root: Path):
    with pytest.raises(UserError, match=r"array\.yaml is a cluster profile, no configuration: probe plan CONFIG"):
        app(["plan", str(root / "slurm" / "array.yaml")], standalone_mode=False)


def test_the_guide_shows_the_table_of_cards(root: Path):
    rows = [line.split("|")[1:-1] for line in (root / "docs" / "guides" / "plan.md").read_text().splitlines()]
    shown = {cells[0].strip(" `"): [cell.strip() for cell in cells[1:]] for cells in rows if len(cells) == 7}
    for one in CARDS:
        peaks = [f"{one.peaks[kind] / 1e12:g}" if kind in one.peaks else "" for kind in ARITHMETIC]
        assert shown[one.name] == [f"{one.memory / 2**30:.0f} GiB", f"{one.bandwidth / 1e9:.0f}", *peaks]


@pytest.mark.parametrize(("ranks", "rounds"), [(1, 12), (4, 3), (8, 2), (12, 1), (100, 1)])
def test_ranks_take_one_shard_after_the_other(ranks, rounds):
    stage = StagePlan("attractors", "starts", 12, (Load("f", Range.exactly(12), seconds=1.0),), shards=12)
    assert stage.seconds(HOST, ranks) == pytest.approx((rounds,) * 3)
    assert Plan("run", (stage,), HOST, ranks).dominating[0].share == pytest.approx(1)


@pytest.mark.parametrize(("count", "steps"), [(1, 1), (3, 5), (100, 12), (100, 1000)])
def test_what_is_assumed_lies_within_its_bounds(config, count, steps):
    few = config.model_copy(
        update={
            "seeds": config.seeds.model_copy(update={"count": count}),
            "solver": config.solver.model_copy(update={"max_steps": steps}),
        }
    )
    ranges = [value for value in vars(expected(few, None)).values() if isinstance(value, Range)]
    assert all(one.low <= one.expected <= one.high for one in ranges)
