"""The page of the configuration: every key with meaning, range and default, from the classes that validate it."""

from itertools import groupby

from probe.configuration import Key, keys

TITLE = """# Configuration

Every key, from the classes that validate it. Set a key in a YAML file or by `--set dotted.key=value`; the command line
wins over the file, and the file over the default. An unknown key is refused, and the nearest valid one is named. `NAME`
stands for a name that you choose.

`probe config KEY` prints the same, and `probe config --example run` writes a commented file.

"""
KINDS = {
    "run": "`probe run`",
    "bottleneck": "`probe study`, `study: bottleneck`",
    "training_size": "`probe study`, `study: training_size`",
    "across_training": "`probe study`, `study: across_training`",
    "convergence": "`probe study`, `study: convergence`",
    "contraction": "`probe study`, `study: contraction`",
    "ood": "`probe ood`",
    "roundtrip": "`probe roundtrip`",
}


def page() -> str:
    """The page as Markdown: for each kind of work a table of its keys by section, those of an earlier kind left out."""
    text, seen = TITLE, set[Key]()
    for kind in {one: None for key in keys() for one in key.kinds}:
        own = [key for key in keys(kind) if key not in seen]
        if not own:
            continue
        same = [name for name in KINDS if name != kind and set(keys(name)) == set(keys(kind))]
        text += f"## {KINDS.get(kind, f'`{kind}`')} {{ #{kind} }}\n\n"
        text += "".join(f"`{name}` has the same keys.\n\n" for name in same)
        shared = len(keys(kind)) - len(own)
        if shared:
            text += f"Besides {shared} keys that are listed above:\n\n"
        seen |= set(own)
        parts = [(head, list(found)) for head, found in groupby(own, key=lambda key: key.key.partition(".")[0])]
        text += _table([found[0] for _, found in parts if len(found) == 1])
        text += "".join(_section(kind, head, found) for head, found in parts if len(found) > 1)
    return text


def _section(kind: str, head: str, members: list[Key]) -> str:
    """A heading, what the section is, and its keys."""
    text = f"### `{head}` {{ #{kind}-{head} }}\n\n"
    if members[0].key == head:
        text += f"{_sentence(members[0].meaning)}\n\n"
        members = members[1:]
    return text + _table(members)


def _table(members: list[Key]) -> str:
    rows = "".join(f"| `{key.key}` | {_meaning(key)} | {_default(key)} |\n" for key in members)
    return f"| key | meaning | default |\n|---|---|---|\n{rows}\n" if rows else ""


def _meaning(key: Key) -> str:
    said = _sentence(key.meaning).replace("|", "\\|")
    return f"{said}<br>*{key.type}*" if said else f"*{key.type}*"


def _default(key: Key) -> str:
    return "must be set" if key.default is None else f"`{key.default}`"


def _sentence(text: str) -> str:
    text = text.strip()
    return text[:1].upper() + text[1:] + ("" if text.endswith((".", ":")) else ".") if text else ""
