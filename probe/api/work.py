"""Run a configuration from Python, and open what it made."""

import copy
from collections.abc import Mapping
from functools import cached_property, partial
from html import escape
from os import PathLike
from pathlib import Path
from typing import TYPE_CHECKING, Any

from probe.api.reports import REPORTS, OodReport, Report, RoundtripReport, StudyReport
from probe.config import Tracked, assign, read_yaml
from probe.errors import Failure, UserError
from probe.kinds import WHAT, Kind, kind
from probe.names import did_you_mean, given_path, printable
from probe.packaged import given_config, naming
from probe.report.model import read_as

if TYPE_CHECKING:
    from matplotlib.figure import Figure
    from torch import Tensor

    from jobs.directory import Directory
    from jobs.status import Status
    from probe.dynamics import EndPoints
    from probe.studies.probing.attractor_dictionary import AttractorDictionary

Configuration = str | PathLike[str] | Mapping[str, Any] | Tracked


class Run:
    """A run, study, OOD experiment or round trip in a folder, finished or not. Results are read on first use and kept.

    Attributes:
        path: the run directory.
        kind: ``run``, ``study``, ``ood`` or ``roundtrip``.
        config: its configuration.
    """

    def __init__(self, path: str | PathLike[str]):
        from jobs.kinds import kind_of

        self.path = given_path(Path(path))
        self._directory: Directory[Any] = kind_of(self.path).directory.open(self.path)
        self.kind: Kind = self._directory.NOUN
        self.config: Any = self._directory.config

    @property
    def status(self) -> "Status":
        """Its state (``status.state``), its stages, and the last error, as ``probe status`` shows them."""
        from jobs.status import read_status

        return read_status(self.path)

    @cached_property
    def report(self) -> Report | StudyReport | OodReport | RoundtripReport:
        """The report, typed, with ``to_pandas()`` and ``verdicts``.

        Raises:
            UserError: it is not written yet, or damaged.
        """
        again = f"probe {self.kind} {self.path}/config.yaml --out {self.path}"
        return read_as(self.path, REPORTS[self.kind], again)

    @cached_property
    def end_points(self) -> "EndPoints":
        """Where every start of a run ended, with ``outcomes`` by name and ``to_pandas()``.

        Raises:
            UserError: this is no run, or some starts are missing.
        """
        from jobs.run.attractors import load_end_points

        return load_end_points(self._run_directory("end points"))

    @cached_property
    def dictionary(self) -> "AttractorDictionary":
        """The atoms of a run, largest basin first, with ``certificates`` by name and ``to_pandas()``; of a finished one
        to be saved with ``save_pretrained(folder)`` and ``push_to_hub("owner/name")``.

        Raises:
            UserError: this is no run, or the dictionary is missing.
        """
        from probe.report.run.card import artefact_of
        from probe.results import layout
        from probe.studies.probing.attractor_dictionary import AttractorDictionary

        tensors, about = self._run_directory("dictionary").load(layout.DICTIONARY.name)
        if "ends" not in tensors:  # of an earlier version
            tensors["ends"] = self.end_points.end[tensors["leader"]]
        return AttractorDictionary(**tensors, summary=about["summary"], origin=partial(artefact_of, self.path))

    def images(self, name: str) -> "Tensor":
        """The test images of a data set of a run, uint8 (n, 3, R, R), read again from its source.

        Raises:
            UserError: this is no run, it has no such data set, or the images have changed or cannot be read.
        """
        from jobs.run.images import read_again

        directory = self._run_directory("images")
        if name not in self.config.datasets:
            hint = did_you_mean(str(name), self.config.datasets) or f"choose one of {', '.join(self.config.datasets)}."
            raise UserError(f"{self.path} has no data set {printable(str(name))!r}; {hint}")
        return read_again(directory, name).images

    @property
    def figures(self) -> list[str]:
        """The names that ``figure`` takes."""
        return list(self._drawn())

    def figure(self, name: str) -> "Figure":
        """A figure of the report, drawn from the results; ``fractions`` is the paper's Figure 4 of a run.

        Raises:
            UserError: there is no such figure, or the results are not complete.
        """
        from probe.api.figures import shown

        drawn = self._drawn()
        if name not in drawn:
            hint = did_you_mean(str(name), drawn) or f"choose one of {', '.join(drawn)}."
            raise UserError(f"{self.path} has no figure {printable(str(name))!r}; {hint}")
        return shown(drawn[name])

    def __repr__(self) -> str:
        try:
            state = self.status.state
        except (UserError, Failure) as error:
            state = str(error)
        return f"<probe {self.kind} {str(self.path)!r}: {state}>"

    def _repr_html_(self) -> str:
        try:
            more = self.report._repr_html_()
        except UserError as error:
            more = f"<p>{escape(str(error))}</p>"
        return f"<p>{escape(repr(self)[1:-1])}</p>{more}"

    def _run_directory(self, what: str) -> Any:
        if self.kind != "run":
            raise UserError(f"{self.path} holds {WHAT[self.kind]}, which has no {what}; use `.report` and `.figure`.")
        return self._directory

    def _drawn(self) -> "dict[str, Figure]":
        from probe.api.figures import DRAWN

        return DRAWN[self.kind](self._directory)


def open_run(path: str | PathLike[str]) -> Run:
    """Open the folder of a run, study, OOD experiment or round trip, finished or not.

    Raises:
        UserError: it is no such folder.
    """
    return Run(path)


def run(
    config: Configuration,
    *,
    out: str | PathLike[str] | None = None,
    set: Mapping[str, Any] | None = None,
    trust_code: bool = False,
    **overrides: Any,
) -> Run:
    """Do the work of a configuration: a run, a study, an OOD experiment or a round trip, as its keys say.

    The same as ``probe run|study|ood|roundtrip``: what is in the folder already is kept, and the same call resumes
    after a stop. Progress and messages go to stderr.

    Args:
        config: a YAML file, the name of a configuration in the package (``quickstart``), a mapping of keys, or a
            configuration object.
        out: the run directory; by default runs/NAME of a file.
        set: values by dotted key, as ``--set``: ``{"solver.max_steps": 100}``.
        trust_code: run the code that the model brings, even if it is named by somebody else's run directory.
        overrides: the same by keyword, with two underscores for a dot: ``solver__max_steps=100``.

    Raises:
        UserError: a mistake in the configuration, the model or the data; the sentence says what to do.
        Failure: something else went wrong, such as a full disk.
    """
    from jobs.launcher import processors_given, ranks_here
    from probe.threads import before_torch

    before_torch(ranks_here(), processors_given())

    from jobs.doing import doing_of
    from jobs.kinds import KINDS
    from jobs.worker import work
    from probe.trust import is_in_run_directory

    if set is not None and not isinstance(set, Mapping):
        raise UserError("set takes a mapping, for example set={'solver.max_steps': 100}.")
    if isinstance(config, str | PathLike):
        file = given_config(Path(config) if isinstance(config, PathLike) else config)
        with naming(file):
            data = read_yaml(file)
    else:
        file = None
        data = config.model_dump(mode="json") if isinstance(config, Tracked) else copy.deepcopy(dict(config))
    for key, value in {**(set or {}), **{name.replace("__", "."): one for name, one in overrides.items()}}.items():
        assign(data, key, str(value) if isinstance(value, PathLike) else value, key)
    if out is None and file is None:
        raise UserError("out is missing: name the folder for the results, for example out='runs/mine'.")
    path = given_path(Path(out)) if out is not None else Path("runs") / Path(file or "").stem
    trusted = trust_code or file is None or not is_in_run_directory(file)
    chosen = next(one for one in KINDS if one.name == kind(data))
    with naming(file):
        settings = chosen.directory.parse(data)
    work(path, chosen, doing_of(chosen).all, settings, trusted=trusted)
    return Run(path)
