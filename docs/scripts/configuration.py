"""The page of the configuration: every key with meaning, range and default, from the classes that validate it."""

from itertools import groupby

from probe.configuration import Key, keys

TITLE = """# Configuration

Every key, from the classes that validate it. Set a key in a YAML file or by `--set dotted.key=value`; the command line wins
over the file, and the file over the default. An unknown key is refused, and the nearest valid one is named. `NAME` stands for
a name that you choose.

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
        for section, members in groupby(own, key=lambda key: key.key.partition(".")[0]):
            text += _section(kind, section, list(members))
    return text


def _section(kind: str, section: str, members: list[Key]) -> str:
    head, inside = members[0], members[1:]
    text = f"### `{section}` {{ #{kind}-{section} }}\n\n"
    if inside and "." not in head.key:
        text += f"{_sentence(head.meaning)}\n\n"
        members = inside
    rows = (f"| `{key.key}` | {_meaning(key)} | {_default(key)} |\n" for key in members)
    return text + "| key | meaning | default |\n|---|---|---|\n" + "".join(rows) + "\n"


def _meaning(key: Key) -> str:
    said = _sentence(key.meaning).replace("|", "\\|")
    return f"{said}<br>*{key.type}*" if said else f"*{key.type}*"


def _default(key: Key) -> str:
    return "must be set" if key.default is None else f"`{key.default}`"


def _sentence(text: str) -> str:
    text = text.strip()
    return text[:1].upper() + text[1:] + ("" if text.endswith((".", ":")) else ".") if text else ""
