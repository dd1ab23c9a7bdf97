"""The dictionary of a run as an object: its atoms, what is known of each, and the way to a folder or the hub."""

import html
import re
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from functools import cached_property, partial
from pathlib import Path
from typing import Any, ClassVar, Self

import pandas as pd
from huggingface_hub import ModelCard, ModelHubMixin
from torch import Tensor

from probe.dynamics import Outcome
from probe.dynamics.certificate import NO, UNDECIDED, YES
from probe.errors import UserError
from probe.hub import be_patient, not_pushed
from probe.studies.probing.artefact import FORMS, Artefact, check_place, read_artefact

CERTIFICATES = {YES: "attractor", NO: "not an attractor", UNDECIDED: "undecided"}
MEASURED = ("residual", "spectral_radius", "radius_error", "spectral_norm", "norm_error", "distance", "from_one")
LIBRARY = "latent-probe"
TAGS = ("attractors", "dictionary", "autoencoder", "latent-dynamics")
ANYWHERE = "OWNER/NAME"
"""Stands for the repository in a card that is in none yet."""
LOADING = re.compile(r'(AttractorDictionary\.from_pretrained\("|dictionary\.source=)[\w./-]+')
"""Where a card names its own repository."""
COPIED = "\nThis is a copy of the dictionary in the repository {}, commit {}.\n"


@dataclass(frozen=True, eq=False)
class AttractorDictionary(ModelHubMixin, library_name=LIBRARY, tags=[*TAGS]):
    """Distinct end points, merged and certified, largest basin first. Tensors have m rows, on the CPU.

    ``save_pretrained(folder)`` writes a finished run's dictionary as safetensors, config.json (model, weights hash,
    protocol, counts), a card with the run's metrics, and a picture; ``push_to_hub`` puts these on the hub, and
    ``from_pretrained`` reads either. A README.md that is in the folder already stays as it is. ``==`` asks whether two
    are the same object, as of all dataclasses here that hold tensors; ``torch.equal`` compares their tensors.

    Attributes:
        atoms: unit-norm end points (m, d), float32; 0 for an attractor at the origin, which has no direction.
        ends: the end points themselves (m, *latent shape), after the plain steps of the certificate.
        leader: the index of the start that ended there.
        basin: starts merged into the atom, including the leader.
        settled: how many of these converged.
        outcome, steps: of the leader.
        residual: of the leader; where there is a certificate, of ``ends``.
        spectral_radius, radius_error, spectral_norm, norm_error, distance, from_one, products: as in ``Certificates``;
            NaN and 0 if there is no certificate. None: not known to earlier versions (distance, from_one).
        certificate: 1 attractor, 0 no attractor, -1 undecided; see ``Certificates``.
        predicted_steps: log(eps / ||z0 - z*||) / log(rho), the steps from the leader's start z0 to the tolerance if f
            were linear with this spectral radius everywhere (Proposition A.9); see ``predicted_steps``. NaN without a
            certificate.
        plain_steps: steps of that start without acceleration, in full precision; -1 if not known.
        summary: counts and rules, for the report.
        member: for every start of the run the row of its atom (N,), -1 for a start outside the dictionary; None in
            dictionaries of older versions.
        origin: gives what is saved beside the tensors; None for a dictionary that belongs to no run.
    """

    _hub_mixin_config: ClassVar[dict[str, Any]] = {}  # type: ignore[misc]  # the mixin would set it, on a frozen object

    atoms: Tensor
    ends: Tensor
    leader: Tensor
    basin: Tensor
    settled: Tensor
    outcome: Tensor
    steps: Tensor
    residual: Tensor
    spectral_radius: Tensor
    radius_error: Tensor
    spectral_norm: Tensor
    norm_error: Tensor
    products: Tensor
    certificate: Tensor
    predicted_steps: Tensor
    plain_steps: Tensor
    summary: dict[str, object]
    distance: Tensor | None = None
    from_one: Tensor | None = None
    member: Tensor | None = None
    origin: Callable[[], Artefact] | None = field(default=None, repr=False)

    @property
    def certificates(self) -> list[str]:
        """What is known of each atom: ``attractor``, ``not an attractor``, ``undecided``."""
        return [CERTIFICATES[code] for code in self.certificate.tolist()]

    @cached_property
    def artefact(self) -> Artefact:
        """What is saved beside the tensors: ``facts`` (model, protocol, counts), the card, a picture.

        Raises:
            UserError: the run is not finished; or the dictionary belongs to no run.
        """
        if self.origin is None:
            raise UserError(
                "this dictionary belongs to no run, so nothing says what it was made with: save that of "
                "`probe.open_run(path).dictionary`, or keep its tensors yourself."
            )
        return self.origin()

    @classmethod
    def from_pretrained(  # the mixin's reads config.json itself, and fails with tracebacks
        cls, pretrained_model_name_or_path: str | Path, *, revision: str | None = None, **options: Any
    ) -> Self:
        """Read a dictionary that ``save_pretrained`` or ``push_to_hub`` wrote. Nothing in it is run or unpickled.

        Args:
            pretrained_model_name_or_path: a folder, or an id of the hub (``owner/name``).
            revision: branch, tag or commit on the hub.
            options: ``token``, ``cache_dir``, ``force_download`` and ``local_files_only``, as for
                ``huggingface_hub.hf_hub_download``.

        Raises:
            UserError: it is unavailable, damaged, of a newer format, or no dictionary.
        """
        tensors, artefact = read_artefact(str(pretrained_model_name_or_path), revision, **options)
        summary = dict(artefact.facts["summary"])
        return cls(**tensors, summary=summary, origin=partial(replace, artefact))  # unlike a lambda, it can be pickled

    def save_pretrained(self, save_directory: str | Path, **options: Any) -> str | None:
        """Write the dictionary into a folder, which is made if there is none.

        Args:
            options: ``model_card_kwargs`` (``repo_id`` and ``license``), and others of
                ``ModelHubMixin.save_pretrained``.

        Raises:
            UserError: as ``artefact``; or the folder holds other files of these names, or another dictionary's card.
        """
        check_place(Path(save_directory), self._saved_tensors())  # the mixin's begins by removing config.json
        return super().save_pretrained(save_directory, **options)

    def push_to_hub(self, repo_id: str, *, branch: str | None = None, **options: Any) -> str:
        """Save the dictionary in a repository of the hub, in one commit; the repository is made if there is none.

        Args:
            repo_id: ``owner/name``.
            branch: where to commit; made from main if there is none.
            options: ``private``, ``token``, ``commit_message`` and others of ``ModelHubMixin.push_to_hub``.

        Returns:
            The address of the commit.

        Raises:
            UserError: as ``artefact``; or the hub refuses it.
        """
        from huggingface_hub import HfApi, get_token

        self._saved_tensors()
        token = options.get("token") or get_token()
        if not token:
            raise UserError(
                f"{repo_id} cannot be pushed without a token: log in with `hf auth login`, or set HF_TOKEN."
            )
        options = {"commit_message": self._title(), **options}
        options["model_card_kwargs"] = {"repo_id": repo_id, **(options.get("model_card_kwargs") or {})}
        be_patient()
        try:
            if branch:
                api = HfApi(token=token)
                api.create_repo(repo_id, private=options.get("private"), exist_ok=True)
                api.create_branch(repo_id, branch=branch, exist_ok=True)
            made = super().push_to_hub(repo_id, branch=branch, **options)
        except Exception as error:  # of the client or of its library for HTTP
            if (why := not_pushed(error, repo_id)) is None:
                raise
            raise UserError(f"{repo_id} {why}") from error
        return str(getattr(made, "commit_url", made))

    def generate_model_card(self, repo_id: str = ANYWHERE, license: str | None = None, **_: Any) -> ModelCard:
        """The card of the artefact, with the name of a repository and a license if they are given: its lines load the
        dictionary from there, and where it was read from another one, it says so."""
        text = self.artefact.card
        if repo_id != ANYWHERE:
            text = LOADING.sub(lambda found: found[1] + repo_id, text)
            if (read_from := self.artefact.repository) not in (None, repo_id):
                about, heading, rest = text.partition("\n## ")
                text = about + COPIED.format(read_from, self.artefact.commit) + heading + rest
        card = ModelCard(text or f"---\nlibrary_name: {LIBRARY}\n---\n")
        if license:
            card.data["license"] = license
        return card

    def _save_pretrained(self, save_directory: Path) -> None:
        self.artefact.save(save_directory, self._saved_tensors())

    def _saved_tensors(self) -> dict[str, Tensor]:
        _ = self.artefact  # a run that is not finished is refused before anything is written
        known = {name: getattr(self, name) for name in FORMS}
        return {name: value for name, value in known.items() if value is not None}

    def _title(self) -> str:
        from probe import __version__

        model = self.artefact.facts["model"]
        return (
            f"Dictionary of {len(self)} atoms of {model.get('name') or model.get('class')}, by {LIBRARY} {__version__}"
        )

    def to_pandas(self) -> pd.DataFrame:
        """A row per atom, largest basin first, outcomes and certificates by name; unknown numbers are NaN or NA."""
        outcomes = [Outcome(code).label for code in self.outcome.tolist()]
        columns: dict[str, Any] = {name: getattr(self, name).tolist() for name in ("leader", "basin", "settled")}
        columns["certificate"] = pd.Categorical(self.certificates, list(CERTIFICATES.values()))
        columns["outcome"] = pd.Categorical(outcomes, [outcome.label for outcome in Outcome])
        columns["steps"] = self.steps.tolist()
        known = [name for name in (*MEASURED, "predicted_steps") if getattr(self, name) is not None]
        columns |= {name: getattr(self, name).double().numpy() for name in known}
        columns["products"] = self.products.tolist()
        columns["plain_steps"] = pd.array([n if n >= 0 else None for n in self.plain_steps.tolist()], dtype="Int64")
        return pd.DataFrame(columns).rename_axis("atom")

    def __len__(self) -> int:
        return len(self.atoms)

    def __repr__(self) -> str:
        certified = self.certificates.count("attractor")
        return f"<AttractorDictionary: {len(self)} atoms of {self.atoms.shape[1]} dimensions, {certified} certified>"

    def _repr_html_(self) -> str:
        return f"<p>{html.escape(repr(self)[1:-1])}</p>{self.to_pandas().head(10).to_html()}"
