"""The share of nearby points that end in different basins, against their distance."""

import numpy as np
from matplotlib.figure import Figure
from matplotlib.ticker import LogLocator, NullFormatter, NullLocator, StrMethodFormatter

from probe.methods import OURS, methods
from probe.report.figures.drawing import canvas
from probe.report.run.schema import BasinsReport


def nearby_starts(found: BasinsReport) -> Figure:
    """f(eps) with 95 % intervals, both axes logarithmic; the fitted line where there is an exponent. A share of 0 is
    drawn as the upper end of its interval."""
    rows = [(one.separation, one.different.mean, one.different.ci95) for one in found.nearby]
    known = [(x, mean, ends) for x, mean, ends in rows if mean is not None and ends is not None]
    colour = methods()[OURS].colour
    with canvas(5.4, 3.6) as figure:
        axes = figure.subplots()
        axes.set_xscale("log")
        axes.set_yscale("log")
        floor = 0.5 * min(mean if mean > 0 else ends[1] for _, mean, ends in known)
        some = [(x, mean, max(ends[0], floor), ends[1]) for x, mean, ends in known if mean > 0]
        if some:
            x, mean, low, high = np.array(some).T
            bars = [mean - low, high - mean]
            axes.errorbar(x, mean, yerr=bars, ls="none", marker="o", ms=5, color=colour, capsize=3, label="f(ε), 95 %")
        if none := [(x, ends[1]) for x, mean, ends in known if mean == 0]:
            x, top = np.array(none).T
            axes.plot(x, top, ls="none", marker="v", color=colour, mfc="none", label="none seen; f below (95 %)")
        if found.alpha is not None and found.prefactor is not None:
            error = "" if found.alpha_error is None else f" ± {found.alpha_error:.2f}"
            x = np.geomspace(known[0][0], known[-1][0])
            line = found.prefactor * x**found.alpha
            drawn = line <= (found.apart or 1)
            axes.plot(x[drawn], line[drawn], color="#222222", lw=1.2, label=f"alpha = {found.alpha:.2f}{error}")
        if found.apart:
            axes.axhline(found.apart, color="#888888", ls=":", lw=1.2, label="any two starts")
        axes.set_xticks([x for x, _, _ in known], [f"{x:g}" for x, _, _ in known])
        axes.xaxis.set_minor_formatter(NullFormatter())
        axes.yaxis.set_major_locator(LogLocator(subs=(1, 2, 5)))
        axes.yaxis.set_major_formatter(StrMethodFormatter("{x:g}"))
        axes.yaxis.set_minor_locator(NullLocator())
        axes.set_ylim(bottom=floor)
        axes.set_xlabel("distance ε of two starts / √d")
        axes.set_ylabel("end in different basins")
        figure.legend(loc="outside lower center", ncol=2, fontsize=9)
    return figure
