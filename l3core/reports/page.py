"""What all pages share: the frame, the escaping and the look of a chart."""

import io
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from jinja2 import Environment, PackageLoader, StrictUndefined
from markupsafe import Markup

if TYPE_CHECKING:
    from matplotlib.axes import Axes

# Okabe and Ito's colours, told apart by colour-blind people (jfly.uni-koeln.de/color).
COLOURS = ("#0072B2", "#E69F00", "#009E73", "#D55E00", "#56B4E9", "#CC79A7", "#F0E442", "#000000")
_LOOK: dict[Any, Any] = {
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.grid": True,
    "axes.axisbelow": True,
    "grid.alpha": 0.3,
    "font.size": 9,
    "legend.frameon": False,
    "svg.fonttype": "none",  # text stays text: it can be searched and copied
    "svg.hashsalt": "l3flow",  # the same chart is the same bytes
    "text.parse_math": False,  # a name with $ in it is a name
}


def render_page(template: str, **values: Any) -> str:
    """A page from a template of this package; every value is escaped but charts.

    Args:
        template: its name in `l3core/reports/templates`.
        values: what it shows; a name that the template uses and that is not here is an error.
    """
    environment = Environment(
        loader=PackageLoader("l3core.reports"),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    return environment.get_template(template).render(**values)


class Chart:
    """A chart in the making; `svg` is there when its block has ended."""

    def __init__(self, axes: "Axes") -> None:
        self.axes = axes
        self.svg = Markup()


@contextmanager
def drawing(*, width_in: float = 8.0, height_in: float = 2.6) -> Iterator[Chart]:
    """A chart to draw on within the block.

    Args:
        width_in: its width, inches.
        height_in: its height, inches.
    """
    # Figure without pyplot: no window system, no state that is shared with anybody
    from matplotlib import rc_context
    from matplotlib.figure import Figure

    with rc_context(_LOOK):
        figure = Figure(figsize=(width_in, height_in), layout="constrained")
        chart = Chart(figure.subplots())
        yield chart
        svg = io.StringIO()
        figure.savefig(svg, format="svg", metadata={"Date": None, "Creator": None})
    text = svg.getvalue()
    chart.svg = Markup(text[text.index("<svg") :])  # Matplotlib escapes what it writes
