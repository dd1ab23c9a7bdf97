"""``probe language MODEL``: a causal language model iterated over its residual stream."""

import json
from pathlib import Path
from typing import Annotated

import typer

from probe.cli.options import Json, OutDir, Overrides, config_of_model, save_figure
from probe.cli.watch import watching

DEFAULTS = (
    "solver.max_steps=300",
    "solver.accelerate=false",
    "solver.far_precision=float32",
    "solver.certificates=4",
    "seeds.count=16",
)
"""The paper's Appendix B.8. All steps are plain, so that outcomes and norms describe the same iteration."""
PROMPT = "The quick brown fox jumps over the lazy dog"


def language(
    model: Annotated[str, typer.Argument(metavar="MODEL", help="Folder or hub id of a causal LM of transformers.")],
    prompt: Annotated[str, typer.Option(metavar="TEXT", help="Its embeddings are one start.")] = PROMPT,
    tokens: Annotated[
        str | None, typer.Option(metavar="IDS", help="Token ids instead, for a model without a tokenizer: '5 17 3'.")
    ] = None,
    overrides: Overrides = None,
    out: OutDir = Path("runs/language"),
    as_json: Json = False,
) -> None:
    """Iterate a causal language model over its residual stream.

    h <- f(h), from the embedding output through all blocks to the final norm: norms at every step, and outcomes. Starts
    are the embeddings of a prompt, and seeds.count draws from N(0, I) of the same shape. Writes language.png,
    language.svg, language.md and language.json.
    """
    from probe.errors import UserError

    config = config_of_model(model, overrides, DEFAULTS)
    try:
        given = None if tokens is None else [int(token) for token in tokens.replace(",", " ").split()]
    except ValueError:
        raise UserError(f"--tokens {tokens!r} must be whole numbers, for example --tokens '5 17 3'.") from None

    from jobs.provenance import describe_process
    from probe.autoencoders import device_of
    from probe.autoencoders.residual_stream import load_residual_stream, tokens_of
    from probe.dynamics import gaussian_starts
    from probe.files import write_atomically
    from probe.report.figures.language import language_figure, language_page, language_table
    from probe.studies.language import iterated, record

    f = load_residual_stream(config.model, device_of(config.model.device))
    ids = tokens_of(config.model, prompt) if given is None else given
    start = f.embed(ids)
    noise = gaussian_starts(config.seeds.seed, range(config.seeds.count), start.shape[1:]).to(start)
    solver, kinds = config.solver, {}
    most = (len(start) + len(noise)) * 2 * (solver.max_steps + 1) + solver.certificates * solver.products
    with watching("language", most) as watch:
        counted = watch.counting(f)
        for name, starts in (("prompt", start), ("noise", noise)):
            watch.say(f"{name} starts")
            kinds[name] = iterated(counted, starts, solver)
        watch.say("certificates")
        found = record(counted, kinds, solver=solver, dictionary=config.dictionary, device=f.device)
    content = {
        "model": {"source": model, "class": f.class_name, "width": f.width, "weights_sha256": f.weights_sha256()},
        "solver": config.solver.model_dump(),
        "seeds": config.seeds.model_dump(),
        "prompt": None if given is not None else prompt,
        "token_ids": ids,
        "tokens": len(ids),
        **found,
        **describe_process(),
    }
    text = json.dumps(content, allow_nan=False) + "\n"
    save_figure(out, "language", language_figure(content))
    write_atomically(out / "language.md", language_page(content))
    write_atomically(out / "language.json", text)
    files = f"\n{out}/language.png, language.svg, language.md, language.json\n"
    print(text if as_json else language_table(content) + files, end="")
