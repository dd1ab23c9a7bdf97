"""The pipeline in one process: the contract, resuming, and refusals."""

import json
import shutil

import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import torch
import yaml
from PIL import Image

from jobs import doing
from jobs.kinds import RUN
from jobs.run.attractors import load_end_points
from jobs.run.directory import RunDirectory
from jobs.run.work import RunWork
from jobs.worker import work
from probe.config import load_config, parse_config
from probe.dynamics import iterate
from probe.errors import UserError
from probe.methods import METHODS
from probe.results.files import read_tensors

from ..conftest import do


@pytest.fixture
def settings(tiny_vae, tmp_path):
    return {
        "model": {"source": str(tiny_vae)},
        "resolution": 16,
        "seeds": {"count": 10, "seed": 3, "shard_size": 4},
        "solver": {"max_steps": 20, "batch_size": 4, "accelerate": False, "exponents": 0},
        "sparse": {"levels": [1, 4, 64], "batch_size": 8},
        "datasets": {"digits": {"n": 6, "holdout": 5}},
    }


@pytest.fixture
def run(settings, tmp_path):
    return RunDirectory.create(tmp_path / "a run's folder", parse_config(settings))


def test_the_run_directory_holds_what_the_contract_names(run):
    report = do(run)
    for name in (
        "config.yaml",
        "manifest.json",
        "dictionary.safetensors",
        "reconstructions/digits.parquet",
        "report/report.json",
        "report/report.md",
        "report/report.html",
    ):
        assert (run.path / name).is_file(), name
    assert not list(run.path.rglob("*.tmp"))
    assert json.loads((run.path / "report" / "report.json").read_text()) == report
    assert report["solver"]["n"] == 10
    assert sum(report["solver"]["outcomes"].values()) == 10
    assert report["model"]["d"] == 64
    methods = report["datasets"]["digits"]["levels"][0]["methods"]
    assert set(methods) == {one.name for one in METHODS}
    rows = pd.read_parquet(run.path / "reconstructions" / "digits.parquet")
    # Floor, zero code, mean image; five random bases and nine other dictionaries at 1, 3 (5 %), 4 and 64 atoms.
    assert len(rows) == 6 * (3 + 22 * 4)
    spread = rows[(rows.method == "random_orthogonal") & (rows.atoms == 4)].groupby("basis").latent_mse.mean()
    assert spread.index.tolist() == [0, 1, 2, 3, 4]
    assert spread.nunique() == 5
    full = rows[(rows.method == "dct") & (rows.atoms == 64)]
    floor = rows[rows.method == "autoencoder"]
    assert full.latent_mse.max() < 1e-10  # a whole basis reconstructs everything,
    assert full.pixel_mse.to_numpy() == pytest.approx(floor.pixel_mse.to_numpy(), abs=1e-6)  # down to the floor
    assert load_config(run.path / "config.yaml") == run.config
    assert run.manifest["data"]["digits"]["n_used"] == 6


def test_parts_of_the_dictionaries_are_coded_as_well(run):
    do(run)
    rows = pd.read_parquet(run.path / "reconstructions" / "digits.parquet")
    file = run.path / "subsets" / "digits.safetensors"
    subsets, about = read_tensors(file)
    assert about["blocks"] == 10  # as many as there are starts
    for method in ("attractors", "one_step"):
        whole = rows[(rows.method == method) & (rows.atoms == 3)].sort_values("image").latent_mse.to_numpy()
        assert subsets[f"size/{method}"][-1].numpy() == pytest.approx(whole)
    assert subsets["left_out/attractors"].shape == subsets["left_out/one_step"].shape == (10, 6)
    member = read_tensors(run.path / "dictionary.safetensors")[0]["member"]
    assert member.shape == (10,)
    flip(file, -5)
    do(run, "reconstruct")
    assert read_tensors(file)[1] == about


def test_end_points_do_not_depend_on_the_batch_size(run, settings, tmp_path):
    do(run, "attractors")
    other = RunDirectory.create(
        tmp_path / "b", parse_config({**settings, "solver": {**settings["solver"], "batch_size": 10}})
    )
    do(other, "attractors")
    one, two = load_end_points(run), load_end_points(other)
    assert torch.equal(one.outcome, two.outcome)
    assert torch.allclose(one.end, two.end, atol=1e-4)


def test_a_stopped_run_goes_on_and_does_nothing_twice(run, monkeypatch):
    stages = RunWork(run)
    do(stages, "attractors")
    files = sorted(run.path.glob("attractors/*.safetensors"))
    assert len(files) == 3
    before = load_end_points(run)
    files[1].unlink()
    with pytest.raises(UserError, match=rf"{files[1].name} is missing"):
        load_end_points(run)
    kept = {file: file.stat().st_mtime_ns for file in files if file.exists()}
    do(run, "attractors")
    assert kept == {file: file.stat().st_mtime_ns for file in kept}
    assert torch.equal(load_end_points(run).end, before.end)
    do(run)
    for place in ("attractors.solve", "dictionary.certify_points", "reconstruct.reconstruct_images"):
        monkeypatch.setattr(f"jobs.run.{place}", lambda *_, **__: pytest.fail("all is there already"))
    do(run)


def test_another_run_or_folder_is_refused(run, settings, tmp_path):
    do(run, "attractors")
    changed = parse_config({**settings, "seeds": {**settings["seeds"], "seed": 4}})
    with pytest.raises(UserError, match=r"differs in seeds.seed: 3 there, 4 now"):
        RunDirectory.create(run.path, changed)
    assert RunDirectory.create(run.path, parse_config(settings)).config == run.config
    (tmp_path / "other").mkdir()
    (tmp_path / "other" / "thesis.tex").touch()
    with pytest.raises(UserError, match="is not the directory of a run"):
        RunDirectory.create(tmp_path / "other", changed)
    with pytest.raises(UserError, match=r"has no config\.yaml"):
        RunDirectory.open(tmp_path / "other")


def test_other_weights_are_refused(run, settings, tiny_vae, tmp_path):
    from diffusers import AutoencoderKL

    do(run, "attractors")
    finished = RunDirectory.create(tmp_path / "finished", parse_config(settings))
    do(finished)
    model = AutoencoderKL.from_pretrained(tiny_vae)
    backup = (tiny_vae / "diffusion_pytorch_model.safetensors").read_bytes()
    with torch.no_grad():
        next(model.parameters()).add_(0.1)
    try:
        model.save_pretrained(tiny_vae)
        with pytest.raises(UserError, match="another model, which differs in weights_sha256"):
            do(run, "dictionary")
        with pytest.raises(UserError, match="another model, which differs in weights_sha256"):
            do(finished)  # nothing is left to do there, and still
    finally:
        (tiny_vae / "diffusion_pytorch_model.safetensors").write_bytes(backup)


def test_stages_out_of_order_and_damaged_files_are_named(run):
    stages = RunWork(run)
    with pytest.raises(UserError, match="probe attractors"):
        do(stages, "dictionary")
    with pytest.raises(UserError, match="no dictionary yet"):
        do(stages, "reconstruct")
    with pytest.raises(UserError, match="not complete"):
        do(stages, "report")
    do(stages, "attractors")
    file = sorted(run.path.glob("attractors/*.safetensors"))[0]
    file.write_bytes(file.read_bytes()[:-100])
    with pytest.raises(UserError, match=f"{file.name} is damaged"):
        load_end_points(run)


def flip(file, place):
    data = bytearray(file.read_bytes())
    data[place] ^= 1
    file.write_bytes(data)


def forge(file):
    table = pq.read_table(file)
    rows = table.to_pandas()
    rows.loc[5, "latent_mse"] += 1e-9
    pq.write_table(
        pa.Table.from_pandas(rows, preserve_index=False).replace_schema_metadata(table.schema.metadata), file
    )


def test_damaged_and_foreign_files_are_named_and_computed_again(run, settings, tmp_path, caplog):
    whole = do(run)
    other = RunDirectory.create(
        tmp_path / "other", parse_config({**settings, "seeds": {**settings["seeds"], "seed": 4}})
    )
    do(other, "attractors")
    shards = sorted(run.path.glob("attractors/*.safetensors"))
    before = [read_tensors(file)[1]["sha256"] for file in shards]
    foreign = other.path / "attractors" / shards[2].name
    whole_bytes = shards[2].read_bytes()
    shutil.copy(foreign, shards[2])  # of another run
    with pytest.raises(UserError, match=rf"{shards[2].name} belongs to another run \(seeds.seed: 4 there, 3 now\)"):
        do(run)
    assert shards[2].read_bytes() == foreign.read_bytes()
    shards[2].write_bytes(whole_bytes)
    shards[0].write_bytes(shards[0].read_bytes()[:-1])  # truncated
    flip(shards[1], -5)  # one bit of a tensor
    forge(run.path / "reconstructions" / "digits.parquet")
    flip(run.path / "gallery.safetensors", -5)
    caplog.set_level("WARNING")
    again = do(run)
    told = [record.getMessage() for record in caplog.records if "computed again" in record.getMessage()]
    assert [any(file.name in line for line in told) for file in shards] == [True, True, False]
    assert "checksum" in next(line for line in told if shards[1].name in line)
    assert any("digits.parquet" in line for line in told)
    assert any("gallery.safetensors" in line for line in told)
    assert before == [read_tensors(file)[1]["sha256"] for file in shards]
    assert again["datasets"] == whole["datasets"]


def test_a_shard_under_another_shards_name_is_foreign(run):
    do(run, "attractors")
    one, two, _ = sorted(run.path.glob("attractors/*.safetensors"))
    shutil.copy(one, two)
    with pytest.raises(UserError, match=f"{two.name} was written as 'attractors/{one.name}'"):
        load_end_points(run)
    (run.path / "attractors" / "00000099-00000102.safetensors").write_bytes(one.read_bytes())
    with pytest.raises(UserError, match="is no shard of this run"):
        do(run, "attractors")


def test_changed_images_are_refused(settings, tmp_path):
    folder = tmp_path / "images"
    folder.mkdir()
    for i in range(4):
        Image.new("RGB", (16, 16), (i, 0, 0)).save(folder / f"{i}.png")
    mine = {"mine": {"source": f"folder:{folder}", "n": 3, "holdout": 1}}
    run = RunDirectory.create(tmp_path / "run", parse_config({**settings, "datasets": mine}))
    do(run)
    assert not (run.path / "work").exists()
    do(run)
    Image.new("RGB", (16, 16), (9, 9, 9)).save(folder / "2.png")
    with pytest.raises(UserError, match="data set 'mine' has changed"):
        do(run)


def test_images_of_the_hub_are_read_once(run, monkeypatch):
    monkeypatch.setattr("jobs.run.images.is_remote", lambda source: True)
    do(run, "images")
    monkeypatch.setattr("jobs.run.images.load_images", lambda *_, **__: pytest.fail("they are there"))
    do(run)
    do(run)
    assert run.manifest["data"]["digits"]["n_used"] == 6


def test_a_mistake_leaves_the_folder_to_the_corrected_command(settings, tmp_path, caplog):
    wrong = parse_config({**settings, "datasets": {"digits": {"source": "bundled:digit", "n": 6}}})
    with pytest.raises(UserError, match="digit"):
        work(tmp_path / "run", RUN, doing.RUN.all, wrong)
    right = RunDirectory.create(tmp_path / "run", parse_config(settings))
    assert (
        "was begun with other settings and holds no results yet: datasets.digits.holdout: 500 there, 5 now"
        in caplog.text
    )
    do(right, "attractors")
    with pytest.raises(UserError, match="holds another run"):
        RunDirectory.create(tmp_path / "run", wrong)


def test_a_removed_file_is_made_again_by_the_same_command(run):
    do(run)
    for name in ("dictionary.safetensors", "gallery.safetensors", "reconstructions/digits.safetensors"):
        before = read_tensors(run.path / name)[1]["sha256"]
        (run.path / name).unlink()
        do(run)
        assert read_tensors(run.path / name)[1]["sha256"] == before
    assert len(run.manifest["sessions"]) == 4


def test_a_lost_or_damaged_manifest_is_not_guessed(run):
    do(run, "attractors")
    (run.path / "manifest.json").write_text("{")
    with pytest.raises(UserError, match=r"manifest\.json is damaged"):
        do(run, "dictionary")
    (run.path / "manifest.json").unlink()
    with pytest.raises(UserError, match=r"no manifest\.json"):
        do(run, "dictionary")


def test_changed_code_of_a_users_model_is_refused(settings, tmp_path):
    file = tmp_path / "own.py"
    source = (
        "import torch\nclass A:\n    encode = staticmethod(torch.nn.AvgPool2d(4))\n"
        "    decode = staticmethod(torch.nn.Upsample(scale_factor=4))\ndef load(): return A()\n"
    )
    file.write_text(source)
    config = parse_config({**settings, "model": {"source": f"python:{file}:load"}})
    run = RunDirectory.create(tmp_path / "run", config)
    do(run, "attractors")
    file.write_text(source + "A.decode = staticmethod(lambda z: 0.5 * torch.nn.Upsample(scale_factor=4)(z))\n")
    with pytest.raises(UserError, match="differs in code_sha256"):
        do(run, "dictionary")


def test_a_dictionary_needs_end_points(settings, tmp_path):
    only = parse_config({**settings, "dictionary": {"outcomes": ["cycle"]}})
    stages = RunWork(RunDirectory.create(tmp_path / "run", only))
    do(stages, "attractors")
    with pytest.raises(UserError, match="no start can enter the dictionary"):
        do(stages, "dictionary")


def test_the_config_in_the_run_is_complete(run):
    saved = yaml.safe_load((run.path / "config.yaml").read_text())
    assert saved["dictionary"]["cosine"] == 0.99
    assert saved["datasets"]["digits"]["source"] == "bundled:digits"  # the preset, written out


def test_each_data_set_is_centred_on_its_own_held_out_images(settings, tmp_path):
    settings["sparse"]["centre"] = "heldout"
    settings["datasets"] = {"digits": {"n": 6, "holdout": 5}, "textures": {"n": 6, "holdout": 5}}
    both = RunDirectory.create(tmp_path / "both", parse_config(settings))
    assert any("held-out images was subtracted from all latents" in said for said in do(both)["summary"])
    del settings["datasets"]["digits"]
    alone = RunDirectory.create(tmp_path / "alone", parse_config(settings))
    do(alone)
    table = "reconstructions/textures.parquet"
    pd.testing.assert_frame_equal(pd.read_parquet(both.path / table), pd.read_parquet(alone.path / table))


def test_one_step_is_the_first_application(run):
    stages = RunWork(run)
    do(stages, "attractors")
    from probe.dynamics import gaussian_starts

    again = iterate(stages.f, gaussian_starts(3, range(10), (4, 4, 4)), max_steps=1)
    assert torch.allclose(load_end_points(run).first, again.end, atol=1e-5)


WANDERING = '''
import torch

class Logistic:
    """z <- 3.9 z (1 - z) of |z| folded into [0, 1]: chaos, with a Lyapunov exponent of about 0.5."""
    def decode(self, z):
        z = (z.abs() % 1)
        return torch.nn.functional.interpolate(3.9 * z * (1 - z), scale_factor=4)

    def encode(self, x):
        return torch.nn.functional.avg_pool2d(x, 4)

def load():
    return Logistic()
'''


def test_starts_that_wander_get_exponents_and_the_report_says_so(tmp_path):
    (tmp_path / "logistic.py").write_text(WANDERING)
    settings = {
        "model": {"source": f"python:{tmp_path}/logistic.py:load", "device": "cpu"},
        "resolution": 8,
        "seeds": {"count": 12},
        "solver": {"max_steps": 60, "exponents": 5},
    }
    report = do(RunDirectory.create(tmp_path / "run", parse_config(settings)))
    found = report["solver"]["wandering"]
    assert (found["n"], found["examined"], found["sensitive"]) == (12, 5, 5)
    assert 0.3 < found["exponent"] < 0.8  # the largest of twelve coordinates' finite-time exponents, about 0.5
    # The slope 3.9 (1 - 2 z) of a mean of sixteen equal pixels, at the largest of twelve coordinates.
    assert 1 < found["spectral_radius"]["median"] <= 3.9
    said = report["summary"][0]
    assert "12 did not converge within 60 steps (of 5 examined, 5 are chaotic (neighbouring points separate);" in said
    assert "mean Lyapunov exponent 0." in said
    assert any("None of the 12 atoms are certified attractors" in warning for warning in report["warnings"])


ROTATION = WANDERING.replace("z = (z.abs() % 1)", "first, rest = z[:, :1], z[:, 1:2]").replace(
    "3.9 * z * (1 - z)", "torch.cat([0.6 * first - 0.8 * rest, 0.8 * first + 0.6 * rest, 0 * z[:, 2:]], 1)"
)


def test_a_quasi_periodic_orbit_is_neither_sensitive_nor_slow(tmp_path):
    (tmp_path / "rotation.py").write_text(ROTATION)
    settings = {
        "model": {"source": f"python:{tmp_path}/rotation.py:load", "device": "cpu"},
        "resolution": 8,
        "seeds": {"count": 6},
        "solver": {"max_steps": 60},
    }
    found = do(RunDirectory.create(tmp_path / "run", parse_config(settings)))["solver"]["wandering"]
    assert [found[name] for name in ("n", "sensitive", "neutral", "slow")] == [6, 0, 6, 0]
