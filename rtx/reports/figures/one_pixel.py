"""The figure of the one-pixel task: what a feature trained against perturbations of norm eps still tells apart."""

from __future__ import annotations

from collections.abc import Sequence

import matplotlib as mpl
import numpy as np
from matplotlib.figure import Figure
from numpy.typing import NDArray

from rtx.reports.figures.style import RC, RULE, legend, looks, new_figure, title


@mpl.rc_context(RC)
def draw(
    eps: Sequence[float], beta: Sequence[float], accuracy: NDArray[np.float64], response: NDArray[np.float64]
) -> Figure:
    """Accuracy of the transferred head, and response of the frozen feature, over the margin of the task.

    Args:
        eps: a line each; a dotted line stands where beta equals it.
        beta: margins, ascending.
        accuracy: fractions (eps, beta).
        response: in units of the feature (eps, beta).
    """
    figure = new_figure(3.1)
    upper, lower = figure.subplots(2, 1, sharex=True)
    figure.subplots_adjust(left=0.115, right=0.98, top=0.87, bottom=0.2, hspace=0.12)
    order = np.argsort(beta)
    margins, handles = np.asarray(beta)[order], []
    for index, (value, look) in enumerate(zip(eps, looks(len(eps)), strict=True)):
        # Lines of equal height are drawn a little apart.
        handles += upper.plot(margins, 100 * accuracy[index][order] - 1.2 * index, markevery=2, **look)
        lower.plot(margins, response[index][order], markevery=2, **look)
        for axes in (upper, lower) if value > 0 else ():
            axes.axvline(value, color=look["color"], linewidth=0.6, linestyle=":")
    upper.axhline(50, color=RULE, linewidth=0.6)
    upper.set(xscale="log", ylabel="accuracy, % (lines set apart)", ylim=(42, 104))
    lower.set(xscale="log", ylabel="response", xlabel="beta: margin of the only pixel that says the class")
    lower.xaxis.set_major_formatter(lambda value, place: f"{value:g}")
    names = ["standard" if value == 0 else f"robust, eps {value:g}" for value in eps]
    legend(figure, handles, names, 3)
    title(upper, "A feature invariant to perturbations of norm eps transfers where beta > eps, and nowhere else")
    return figure
