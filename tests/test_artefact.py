"""Dictionaries as folders: written and read again byte by byte, read by others, refused when damaged, borrowed."""

import json
import pickle
import shutil
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import torch
from huggingface_hub import ModelCard
from PIL import Image
from safetensors.torch import load_file, save_file

import probe
from jobs.run import borrowed
from probe import AttractorDictionary, UserError
from probe.autoencoders.base import Autoencoder
from probe.autoencoders.coordinates import Coordinates
from probe.board.build import board
from probe.cli.main import main
from probe.config import Config, DictionaryConfig, parse_config
from probe.report.compare.build import compare
from probe.report.run import card
from probe.results.files import read_about, read_tensors, write_tensors
from probe.serve.policy import Allowance, Refused, refuse
from probe.studies.probing.artefact import Artefact, read_artefact

FINISHED = Path(__file__).parent / "jobs" / "finished"
FILES = ["README.md", "config.json", "model.safetensors", "thumbnails.png"]
IMAGES = {"datasets.digits.n": 12, "sparse.controls": ["random_orthogonal"]}
"""Enough for a verdict."""
Change = Callable[[dict[str, Any]], object]


@pytest.fixture(autouse=True)
def _where_they_were_made(monkeypatch: pytest.MonkeyPatch):
    """The model of the finished folders is named by a path from the root of the repository."""
    monkeypatch.chdir(FINISHED.parents[2])


@pytest.fixture(scope="module")
def own(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A small finished run of this version."""
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(FINISHED.parents[2])
        out = tmp_path_factory.mktemp("artefact") / "own"
        return probe.run(FINISHED / "run.yaml", out=out, set={"seeds.count": 8, **IMAGES}).path


@pytest.fixture(scope="module")
def saved(own: Path) -> Path:
    """The dictionary of that run."""
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(FINISHED.parents[2])
        probe.open_run(own).dictionary.save_pretrained(own.parent / "saved")
    return own.parent / "saved"


@pytest.fixture
def copy(saved: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(saved, tmp_path / "copy"))


def command(*words: object) -> int:
    """The exit status of a command line."""
    try:
        return main([*map(str, words)])
    except SystemExit as done:
        return int(done.code or 0)


def content(folder: Path) -> dict[str, bytes]:
    return {file.name: file.read_bytes() for file in folder.iterdir()}


def edit(folder: Path, change: Change) -> None:
    """Change config.json."""
    facts = json.loads((folder / "config.json").read_text())
    change(facts)
    (folder / "config.json").write_text(json.dumps(facts))


def rewrite(folder: Path, **changed: torch.Tensor | None) -> None:
    """Change tensors, with a checksum and a config.json that agree: whoever wrote them meant it."""
    tensors, _ = read_tensors(folder / "model.safetensors")
    whole = {name: value for name, value in {**tensors, **changed}.items() if value is not None}
    digest = write_tensors(folder / "model.safetensors", {name: value.clone() for name, value in whole.items()}, {})
    edit(folder, lambda facts: facts.update(sha256=digest))


def test_what_is_read_is_what_was_saved(own: Path, saved: Path, tmp_path: Path):
    assert sorted(content(saved)) == FILES
    theirs, ours = AttractorDictionary.from_pretrained(saved), probe.open_run(own).dictionary
    assert theirs.to_pandas().equals(ours.to_pandas())
    for name in ("atoms", "ends", "member"):
        assert torch.equal(getattr(theirs, name), getattr(ours, name))
    theirs.save_pretrained(tmp_path / "again")
    probe.open_run(own).dictionary.save_pretrained(tmp_path / "twice")
    assert content(tmp_path / "again") == content(tmp_path / "twice") == content(saved)
    assert repr(theirs) == repr(ours)


def test_others_read_the_files(own: Path, saved: Path):
    tensors, run = load_file(saved / "model.safetensors"), load_file(own / "dictionary.safetensors")
    assert tensors.keys() == run.keys()
    assert all(torch.equal(value.nan_to_num(-7), run[name].nan_to_num(-7)) for name, value in tensors.items())
    facts, report = json.loads((saved / "config.json").read_text()), probe.open_run(own).report
    assert facts["model"]["weights_sha256"] == report.model.weights_sha256
    assert facts["counts"]["atoms"] == len(tensors["atoms"]) == report.dictionary.atoms
    assert (facts["protocol"]["seeds"]["count"], facts["protocol"]["resolution"]) == (8, 8)
    pictures = np.asarray(Image.open(saved / "thumbnails.png"))
    decoded = load_file(own / "gallery.safetensors")["thumbnails"][0].permute(1, 2, 0).numpy()
    assert (pictures[: decoded.shape[0], : decoded.shape[1]] == decoded).all()
    assert (saved / "thumbnails.png").stat().st_size < 1 << 20


def test_the_card_has_the_numbers_of_the_report_and_no_path(own: Path, saved: Path):
    card, report = ModelCard.load(saved / "README.md"), json.loads((own / "report" / "report.json").read_text())
    found = {(one.dataset_name, one.metric_name): one for one in card.data.eval_results or []}
    data = report["datasets"]["digits"]
    level = next(one for one in data["levels"] if one["atoms"] == data["five_percent"])
    subject = {"attractors": "attractors", "random_orthogonal": "random orthogonal"}
    assert len(found) == 4
    for method, name in subject.items():
        for metric in ("latent_mse", "pixel_mse"):
            one = found["digits", f"{metric.replace('_mse', '')} MSE at 5 % of d, {name}"]
            expected = level["methods"][method][metric]
            assert (one.metric_value, one.metric_args["ci95"]) == (expected["mean"], expected["ci95"])
    assert card.data.library_name == "latent-probe"
    assert card.data.get("license") is None
    assert data["verdict"][:40] in card.text
    assert all(warning[:40] in card.text.replace("\\", "") for warning in report["warnings"])
    text = "".join((saved / name).read_text() for name in ("README.md", "config.json"))
    assert "tiny.py" not in text
    assert str(own) not in text


def test_three_lines_are_enough(own: Path, saved: Path):
    code = (saved / "README.md").read_text().partition("```python\n")[2].partition("```")[0]
    z = torch.randn(5, 3, 2, 2, dtype=torch.float64)
    names: dict[str, Any] = {"z": z}
    exec(code.replace("OWNER/NAME", str(saved)), names)
    assert names["codes"].support.shape[0] == 5
    whole = probe.open_run(own).dictionary.atoms.double()
    best = (whole @ z.flatten(1).T).abs().argmax(0)
    assert torch.equal(names["codes"].support[:, 0], best)


def test_a_dictionary_can_be_copied(saved: Path):
    found = AttractorDictionary.from_pretrained(saved)
    assert torch.equal(replace(found, member=None).atoms, found.atoms)
    again = pickle.loads(pickle.dumps(found))  # as for the workers of a DataLoader
    assert torch.equal(again.ends, found.ends)
    assert again.artefact == found.artefact
    with pytest.raises(UserError, match="belongs to no run"):
        _ = replace(found, origin=None).artefact


def test_a_copy_is_loaded_from_where_it_is_and_says_whose_it_is(saved: Path, tmp_path: Path):
    found = AttractorDictionary.from_pretrained(saved)
    found.save_pretrained(tmp_path / "first", model_card_kwargs={"repo_id": "first/a"})
    first = AttractorDictionary.from_pretrained(tmp_path / "first")
    pulled = replace(first, origin=lambda: replace(first.artefact, repository="first/a", commit="1" * 40))
    cards = {
        name: str(one.generate_model_card(name)) for one, name in ((first, "b/b"), (pulled, "c/c"), (pulled, "first/a"))
    }
    for name, text in cards.items():
        assert f'dictionary = AttractorDictionary.from_pretrained("{name}")' in text
        assert f"--set dictionary.source={name}` codes" in text
    assert "first/a" not in cards["b/b"]  # of a folder nobody knows whether it was ever pushed
    assert cards["c/c"].count("first/a") == cards["c/c"].count(f"the repository first/a, commit {'1' * 40}.") == 1
    assert "is a copy of" not in cards["first/a"]
    assert str(pulled.generate_model_card()) == (tmp_path / "first" / "README.md").read_text()


def test_an_atom_at_the_origin_has_no_direction(copy: Path):
    tensors = load_file(copy / "model.safetensors")
    rewrite(copy, atoms=tensors["atoms"] * torch.tensor([[1.0], [0.0]]))
    assert not AttractorDictionary.from_pretrained(copy).atoms[1].any()


def test_nothing_of_others_is_replaced_and_no_card_tells_of_another(own: Path, copy: Path, tmp_path: Path):
    dictionary = probe.open_run(own).dictionary
    (copy / "README.md").write_text("Mine")
    dictionary.save_pretrained(copy)
    assert (copy / "README.md").read_text() == "Mine"
    rewrite(copy, basin=load_file(copy / "model.safetensors")["basin"] + 1)
    before = content(copy)
    with pytest.raises(UserError, match=r"holds another dictionary, and its README.md, which tells of that one"):
        dictionary.save_pretrained(copy)
    assert content(copy) == before
    (copy / "README.md").unlink()
    dictionary.save_pretrained(copy)
    assert "model-index" in (copy / "README.md").read_text()
    model = tmp_path / "model"
    model.mkdir()
    for made in (
        lambda: model.joinpath("config.json").write_text('{"_class_name": "AutoencoderKL"}'),
        lambda: save_file({"weight": torch.ones(2)}, model / "model.safetensors"),
    ):
        made()
        before = content(model)
        with pytest.raises(UserError, match=r"files called config.json or model.safetensors that are no dictionary's"):
            dictionary.save_pretrained(model)
        assert content(model) == before
        (model / "config.json").unlink(missing_ok=True)


DAMAGE: dict[str, tuple[Callable[[Path], object], str]] = {
    "truncated": (lambda at: at.joinpath("model.safetensors").write_bytes(b"\x08"), "model.safetensors is damaged"),
    "one bit": (
        lambda at: at.joinpath("model.safetensors").write_bytes((at / "model.safetensors").read_bytes()[:-1] + b"\x7f"),
        "is damaged .*does not match its checksum",
    ),
    "another file": (
        lambda at: edit(at, lambda facts: facts.update(sha256="0" * 64)),
        "is not the file that config.json was written with; get an intact copy",
    ),
    "a pickle": (
        lambda at: at.joinpath("model.safetensors").write_bytes(pickle.dumps({"atoms": 1})),
        "model.safetensors is damaged",
    ),
    "of others": (
        lambda at: save_file({"weight": torch.ones(2)}, at / "model.safetensors"),
        "is damaged|is not the file",
    ),
    "newer": (
        lambda at: edit(at, lambda facts: facts.update(format_version=2)),
        r"has format 2, and this probe reads up to 1; update latent-probe\.",
    ),
    "no format": (
        lambda at: edit(at, lambda facts: facts.pop("format_version")),
        "not that of an attractor dictionary .format_version: Field required",
    ),
    "a model's": (lambda at: at.joinpath("config.json").write_text("{}"), "not that of an attractor dictionary"),
    "no JSON": (lambda at: at.joinpath("config.json").write_text("{"), "config.json cannot be read: it is not JSON"),
    "no config": (lambda at: at.joinpath("config.json").unlink(), "there is no .*config.json"),
    "no tensors": (lambda at: at.joinpath("model.safetensors").unlink(), "there is no .*model.safetensors"),
    "not finite": (lambda at: rewrite(at, ends=torch.full((2, 3, 2, 2), torch.nan)), "a value is not finite"),
    "atoms of other lengths": (
        lambda at: rewrite(at, atoms=2 * load_file(at / "model.safetensors")["atoms"]),
        "its atoms are not its end points divided by their norms",
    ),
    "atoms of the other sign": (
        lambda at: rewrite(at, atoms=-load_file(at / "model.safetensors")["atoms"]),
        "its atoms are not its end points",
    ),
    "atoms of nothing": (lambda at: rewrite(at, ends=torch.zeros(2, 3, 2, 2)), "its atoms are not its end points"),
    "a name that is none": (
        lambda at: edit(at, lambda facts: facts["model"].update(name={"a": 1})),
        "model.name: Input should be a valid string",
    ),
    "no protocol": (lambda at: edit(at, lambda facts: facts.update(protocol=[])), "protocol: Input should be"),
    "half a certificate": (
        lambda at: edit(at, lambda facts: facts["counts"].update(certified=0.5)),
        "counts.certified: Input should be a valid integer",
    ),
    "no ends": (lambda at: rewrite(at, ends=None), "ends is missing"),
    "an extra": (lambda at: rewrite(at, extra=torch.ones(2)), "'extra' is unknown"),
    "other shape": (lambda at: rewrite(at, ends=torch.ones(2, 12)), r"ends is torch.float32 \(2, 12\), not"),
    "other type": (lambda at: rewrite(at, steps=torch.ones(2)), r"steps is torch.float32 \(2,\), not int64"),
    "other rows": (lambda at: rewrite(at, basin=torch.ones(3, dtype=torch.long)), r"basin is torch.int64 \(3,\)"),
    "no outcome": (
        lambda at: rewrite(at, outcome=torch.full((2,), 9, dtype=torch.uint8)),
        "outcome has values outside",
    ),
    "no member": (lambda at: rewrite(at, member=torch.full((8,), 2)), "member names atoms that there are none of"),
    "other latents": (
        lambda at: edit(at, lambda facts: facts.update(latent_shape=[12])),
        r"ends is torch.float32 \(2, 3, 2, 2\), not",
    ),
}


@pytest.mark.parametrize("name", DAMAGE)
def test_damage_is_one_sentence(copy: Path, name: str):
    damage, message = DAMAGE[name]
    damage(copy)
    with pytest.raises(UserError, match=message) as raised:
        AttractorDictionary.from_pretrained(copy)
    assert str(raised.value).startswith(f"dictionary {copy}")
    assert str(raised.value).endswith(".")


def test_other_places_are_refused(own: Path, tmp_path: Path):
    with pytest.raises(UserError, match=r"is the directory of a run; write its dictionary .* `probe push"):
        AttractorDictionary.from_pretrained(own)
    with pytest.raises(UserError, match=r"is neither a local folder nor a hub id \(owner/name\)\."):
        AttractorDictionary.from_pretrained("no/such/id")
    for absent in ("nosuchfolder", "./nosuchfolder", str(tmp_path / "nosuchfolder"), "~/nosuchfolder"):
        with pytest.raises(
            UserError, match=r"^dictionary .*: there is no folder .*nosuchfolder; name one that has both"
        ):
            AttractorDictionary.from_pretrained(absent)
    with pytest.raises(UserError, match=r"owner/name is not in the local cache, and HF_HUB_OFFLINE is set"):
        AttractorDictionary.from_pretrained("owner/name", cache_dir=tmp_path)


def test_push_writes_a_folder_first(own: Path, saved: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]):
    assert command("push", own, "--dry-run", tmp_path, "--license", "mit", "--repo", "ours/tiny") == 0
    said = capsys.readouterr().out
    assert [line.partition(": ")[0] for line in said.splitlines()] == [str(tmp_path / name) for name in FILES]
    card = ModelCard.load(tmp_path / "README.md")
    assert card.data.get("license") == "mit"
    assert 'from_pretrained("ours/tiny")' in card.text
    same = ("config.json", "model.safetensors", "thumbnails.png")
    assert all((tmp_path / name).read_bytes() == (saved / name).read_bytes() for name in same)


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (
            lambda run, to: (run / "report" / "report.json").unlink(),
            "is stopped; rerun its `probe run` command to finish it, and push it then.",
        ),
        (lambda run, to: None, "cannot be pushed without a token: log in with `hf auth login`, or set HF_TOKEN."),
    ],
)
def test_push_refuses(own: Path, tmp_path: Path, capsys, monkeypatch, make, message):
    monkeypatch.setattr("huggingface_hub.get_token", lambda: None)
    run = Path(shutil.copytree(own, tmp_path / "run"))
    make(run, tmp_path)
    assert command("push", run, "--repo", "owner/name") == 2
    assert message in capsys.readouterr().err


def test_push_refuses_studies(capsys: pytest.CaptureFixture[str], tmp_path: Path):
    assert command("push", FINISHED / "study", "--dry-run", tmp_path) == 2
    assert "holds a study, which has no dictionary" in capsys.readouterr().err


# Borrowed


@pytest.fixture(scope="module")
def borrowing(own: Path, saved: Path) -> Path:
    """A run of other starts, whose images are coded in a copy of the saved dictionary; its first try was a mistake."""
    lent, out = Path(shutil.copytree(saved, own.parent / "lent")), own.parent / "borrowing"
    with pytest.raises(UserError, match=r"is of latents \(3, 2, 2\), and the model's are \(3, 4, 4\) at 16 pixels"):
        borrow(lent, out, resolution=16)
    assert not [*out.glob("**/*.safetensors")], "it was refused before anything was computed"
    return borrow(lent, out)


def borrow(source: str | Path, out: Path, **more: Any) -> Path:
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(FINISHED.parents[2])
        keys = {"seeds.count": 6, "seeds.seed": 3, "dictionary.source": source, **IMAGES, **more}
        return probe.run(FINISHED / "run.yaml", out=out, set=keys).path


def test_images_are_coded_in_the_borrowed_atoms(own: Path, borrowing: Path):
    """Same model, images and atoms: the same errors, although the starts are others."""
    theirs, ours = (probe.open_run(path).report.to_pandas() for path in (own, borrowing))
    same = [
        table[(table.method == "attractors") & ~table.metric.str.contains("_over_|_minus_")] for table in (theirs, ours)
    ]
    assert same[0][["metric", "atoms", "mean"]].values.tolist() == same[1][["metric", "atoms", "mean"]].values.tolist()
    assert probe.open_run(borrowing).report.solver.n == 6


def test_the_report_says_whose_atoms_they_are(own: Path, saved: Path, borrowing: Path):
    report, facts = probe.open_run(borrowing).report, json.loads((saved / "config.json").read_text())
    assert report.borrowed.sha256 == facts["sha256"]
    assert (report.borrowed.source, report.borrowed.revision) == (str(borrowing.parent / "lent"), None)
    assert report.borrowed.atoms == facts["counts"]["atoms"] == report.atoms
    assert "borrowed atoms" in report.datasets["digits"].verdict
    assert all("borrowed atoms" in one for one in report.headline.values())
    told = f"the dictionary of tiny (no weights), {report.atoms} atoms, from the folder '{borrowing.parent / 'lent'}'"
    assert f"{told}. These are end points of that model;" in report.warnings[0]
    assert report.summary[0] == f"Images are coded in {told}, not in this run's own end points."
    assert f"form a dictionary of this run's own {report.dictionary.atoms} distinct end point" in report.summary[2]
    assert not any("of the" in one and "atoms are certified" in one for one in report.warnings)
    for page in ("report.html", "report.md"):
        assert "borrowed atoms" in (borrowing / "report" / page).read_text()
    assert "orrowed" not in (own / "report" / "report.md").read_text()


def test_such_runs_are_compared_and_not_ranked(own: Path, borrowing: Path):
    rows = {row["id"]: row for group in board({"own": own, "other": borrowing})["groups"] for row in group["rows"]}
    assert rows["other"]["unranked"].startswith("It codes images in the dictionary of another run, from the folder '")
    found = compare([own, borrowing])
    assert "dictionary.source" in [one.key for one in found.differs]
    assert any("coded in a borrowed dictionary" in note for note in found.notes)
    assert found.similarities[0].chamfer == pytest.approx(1)
    assert (found.runs[0].borrowed, found.runs[1].borrowed) == (None, probe.open_run(borrowing).report.borrowed.atoms)


def test_it_cannot_be_pushed_as_its_own(borrowing: Path):
    with pytest.raises(UserError, match="coded its images in the dictionary of another run"):
        probe.open_run(borrowing).dictionary.save_pretrained(borrowing.parent / "not")
    assert not (borrowing.parent / "not" / "model.safetensors").exists()


def test_it_resumes_and_refuses_a_dictionary_that_changed(borrowing: Path, tmp_path: Path):
    run, lent = Path(shutil.copytree(borrowing, tmp_path / "run")), borrowing.parent / "lent"
    table = run / "reconstructions" / "digits.parquet"
    before = table.read_bytes()
    copy = read_about(run / "borrowed.safetensors")
    edit(lent, lambda facts: facts["model"].update(name="renamed"))  # the atoms are the same
    (run / "borrowed.safetensors").write_bytes(b"damaged")
    table.unlink()
    borrow(lent, run)
    assert table.read_bytes() == before
    assert read_about(run / "borrowed.safetensors") == copy
    table.unlink()
    rewrite(lent, basin=load_file(lent / "model.safetensors")["basin"] + 1)
    with pytest.raises(UserError, match=r"has changed since .* was begun: its sha256 is .* there and .* now; choose"):
        borrow(lent, run)
    shutil.rmtree(lent)
    borrow(lent, run)
    assert table.read_bytes() == before
    (run / "borrowed.safetensors").write_bytes(b"damaged")
    with pytest.raises(UserError, match=r"dictionary .*lent: there is no folder .*config.json"):
        borrow(lent, run)


def test_it_resumes_with_its_copy_of_a_commit_and_notices_another(saved: Path, tmp_path: Path, monkeypatch):
    asked = []

    def from_hub(source: str, revision: str | None) -> tuple[dict[str, torch.Tensor], Artefact]:
        asked.append((source, revision))
        tensors, artefact = read_artefact(str(saved))
        return tensors, replace(artefact, repository=source, commit="1" * 40)

    monkeypatch.setattr(borrowed, "read_artefact", from_hub)
    run = borrow("owner/name", tmp_path / "run", **{"dictionary.revision": "v1"})
    table = run / "reconstructions" / "digits.parquet"
    before = pd.read_parquet(table)
    table.unlink()
    borrow("owner/name", run, **{"dictionary.revision": "v1"})
    assert asked == [("owner/name", "v1")]
    pd.testing.assert_frame_equal(pd.read_parquet(table), before, check_exact=False, rtol=1e-6)
    (run / "borrowed.safetensors").write_bytes(b"damaged")
    borrow("owner/name", run, **{"dictionary.revision": "v1"})
    assert asked[1:] == [("owner/name", "1" * 40)]
    for other in ({"source": "owner/other", "dictionary.revision": "v1"}, {"source": "owner/name"}):
        with pytest.raises(UserError, match=r"holds another run, which differs in dictionary\.(source|revision): "):
            borrow(out=run, **other)
    assert len(asked) == 2


def test_over_http_a_folder_must_be_allowed_and_a_hub_id_may_be_named(saved: Path):
    def asked(source: str) -> Config:
        return parse_config({"dictionary": {"source": source}})

    refuse(asked("owner/name"), Allowance())
    refuse(asked(str(saved)), Allowance(folders=(saved.parent.resolve(),)))
    for source in (str(saved), "../saved", "tests/jobs", "file:x"):
        with pytest.raises(Refused, match=r"dictionary\.source .* is not allowed over HTTP"):
            refuse(asked(source), Allowance())
    with pytest.raises(Refused, match=r"dictionary\.revision"):
        refuse(parse_config({"dictionary": {"source": "a/b", "revision": "../x"}}), Allowance())


SCALED: dict[str, tuple[dict[str, Any], dict[str, Any], list[str]]] = {
    "both raw": ({"latents": "raw", "scaling_factor": 0.2, "shift_factor": 0.5}, {"latents": "raw"}, []),
    "a factor": ({"scaling_factor": 0.2}, {"scaling_factor": 0.7}, []),
    "a shift": ({"shift_factor": 0.5}, {"shift_factor": 0.1}, ["another shift_factor"]),
    "the same shift": ({"shift_factor": 0.5}, {"shift_factor": 0.5}, []),
    "statistics": (
        {"latents_mean": (0.1, 0.2, 0.3), "latents_std": (1.0, 1.0, 1.0)},
        {},
        ["another latents_mean", "another latents_std"],
    ),
    "a deviation": (
        {"latents_mean": (0.0, 0.0, 0.0), "latents_std": (1.0, 2.0, 3.0)},
        {"latents_mean": (0.0, 0.0, 0.0), "latents_std": (1.0, 2.0, 4.0)},
        ["another latents_std"],
    ),
    "one raw": ({"shift_factor": 0.5}, {"latents": "raw"}, ["latents raw"]),
}


@pytest.mark.parametrize("name", SCALED)
def test_other_coordinates_are_those_in_which_a_latent_has_another_direction(name: str):
    ours, theirs, found = SCALED[name]
    config = parse_config({"model": {"source": "x", "latents": ours.get("latents", "scaled")}})
    known: dict[str, Any] = {"source": "x", "class_name": "A", "encoder": abs, "decoder": abs, "modules": ()}
    model = Autoencoder(**{**known, **ours})
    facts = {"model": {**theirs, "class": "A"}, "protocol": {"model": {"latents": theirs.get("latents", "scaled")}}}
    facts = json.loads(json.dumps(facts))
    assert borrowed._coordinates(facts, config, model) == found
    z = torch.randn(4, 3, 2, 2, dtype=torch.float64)
    rows = [_scaled(z, one).flatten(1) for one in (ours, theirs)]
    same = torch.cosine_similarity(*rows).sub(1).abs().max() < 1e-12
    assert bool(same) == (not found)


def _scaled(z: torch.Tensor, known: dict[str, Any]) -> torch.Tensor:
    if known.get("latents") == "raw":
        return z
    mean, std = (torch.tensor(known.get(f"latents_{key}", [one] * 3)) for key, one in (("mean", 0.0), ("std", 1.0)))
    offset = mean[:, None, None] + known.get("shift_factor", 0.0)
    return Coordinates(known.get("scaling_factor", 1.0), offset[None], std[:, None, None][None]).scaled(z)


@pytest.mark.parametrize(
    ("source", "revision", "expected"),
    [
        ("owner/name", "a" * 40, "owner/name"),
        ("owner/name", None, None),
        ("https://huggingface.co/owner/name/blob/main/vae.safetensors", "a" * 40, "owner/name"),
        ("owner/name/vae/model.safetensors", "a" * 40, "owner/name"),
        ("/home/me/hub/models--owner--name/snapshots/" + "a" * 40 + "/vae.safetensors", "a" * 40, None),
        ("hub/models--owner--name/snapshots/" + "a" * 40 + "/vae.safetensors", "a" * 40, None),
    ],
)
def test_a_base_model_is_a_repository_and_no_path(own: Path, source: str, revision: str | None, expected: str | None):
    report = probe.open_run(own).report
    unused = f"model {source}: the weights hold 2 tensors outside of all parts of the A, not used here: b (2)."
    about = report.model.model_copy(update={"source": source, "revision": revision})
    report = report.model_copy(update={"model": about, "warnings": [unused]})
    assert card._repository(report) == expected
    told = card._without_paths(report).warnings[0]
    assert "/home/me" not in told
    assert "snapshots" not in told


def test_only_runs_borrow():
    assert "source" not in DictionaryConfig.model_fields
