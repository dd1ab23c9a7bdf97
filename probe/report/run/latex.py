"""table.tex: a run's errors at 5 % of d as a LaTeX table with booktabs."""

import pandas as pd

from probe.methods import label, methods, metrics
from probe.names import printable
from probe.report.page.text import count, interval, number
from probe.report.run.export import model_name
from probe.report.run.schema import DatasetErrors, MethodErrors, Report
from probe.report.run.tables import methods_shown
from probe.report.run.verdict import JUDGED

HEAD = "% Made by probe export. It needs \\usepackage{booktabs}.\n"
SIZE = "\\scriptsize\n\\setlength{\\tabcolsep}{2pt}\n\\begin{tabular}"
"""Six data sets then are 14 cm wide, and all methods fit onto a page."""
BOLD = "textbf: --rwrap;"
SMALL = "tiny: --wrap;"
ESCAPED: dict[str, str | int | None] = {
    **{sign: f"\\{sign}" for sign in "&%$#_{}"},
    "\\": "\\textbackslash{}",
    "~": "\\textasciitilde{}",
    "^": "\\textasciicircum{}",
    "<": "\\textless{}",  # these three are other signs in TeX's default encoding
    ">": "\\textgreater{}",
    "|": "\\textbar{}",
}


def table_tex(report: Report) -> str:
    """A row per method, a column per data set, by latent and by pixel MSE; means in bold for the best data-free one."""
    rows, styles = _rows(report)
    if not rows:
        return f"{HEAD}% The run has no errors at 5 % of d.\n"
    table = pd.DataFrame(rows, columns=["", *map(printable, report.datasets)])
    styled = table.style.hide(axis="index").format(_escaped).format_index(_escaped, axis=1)
    styled = styled.apply(lambda _: pd.DataFrame(styles, columns=table.columns), axis=None)
    text: str = styled.to_latex(
        hrules=True,
        column_format="l" + "r" * len(report.datasets),
        caption=_caption(report),
        label="tab:probe",
        position_float="centering",
        position="t",
    )
    return HEAD + text.replace("\\begin{tabular}", SIZE, 1)


def _rows(report: Report) -> tuple[list[list[str]], list[list[str]]]:
    """The cells, and how each is set: a head for each metric, and for each method a row of means and one of ends."""
    rows, styles, sets = [], [], list(report.datasets.values())
    for metric in JUDGED if methods_shown(report) else ():
        rows.append([f"{metrics()[metric].label}", *[""] * len(sets)])
        styles.append(["textit: --rwrap;", *[""] * len(sets)])
        best = [_best(data, metric) for data in sets]
        for method in methods_shown(report):
            found = [_errors(data, method) for data in sets]
            means = [None if one is None else one.of(metric) for one in found]
            name = label(method, report.subject)
            rows.append([name, *("-" if mean is None else number(mean.mean) for mean in means)])
            styles.append(["", *(BOLD if method == one else "" for one in best)])
            rows.append(["", *("" if mean is None else interval(mean) for mean in means)])
            styles.append(["", *[SMALL] * len(sets)])
    return rows, styles


def _errors(data: DatasetErrors, method: str) -> MethodErrors | None:
    return data.at_five_percent.methods.get(method) if data.at_five_percent else None


def _best(data: DatasetErrors, metric: str) -> str | None:
    """The method with the smallest mean, oracles left out."""
    level = data.at_five_percent
    known = [name for name, one in methods().items() if level and name in level.methods and not one.sees_data]
    means = {name: mean for name in known if level and (mean := level.methods[name].of(metric).mean) is not None}
    return min(means, key=means.__getitem__) if means else None


def _caption(report: Report) -> str:
    levels = sorted({data.five_percent for data in report.datasets.values()})
    atoms = count(levels[0], "atom") if len(levels) == 1 else "5\\,\\% of $d$ atoms"
    return (
        f"Errors of images of which the latent ($d = {report.model.d}$) is written with {atoms}, 5\\,\\% of $d$: means "
        f"and 95\\,\\% intervals over images. Model: {_escaped(model_name(report))}. Bold: the "
        "smallest, oracles left out."
    )


def _escaped(text: str) -> str:
    """As LaTeX shows it. In front of a row, [ and * would be taken for arguments of the line's end before."""
    found = printable(text).translate(str.maketrans(ESCAPED))
    return f"{{}}{found}" if found[:1] in ("[", "*") else found
