"""The chooser: which of several networks looks at the photos, and what is known of each.

The convention: a network goes by its ``source``, in the browser too. What a browser sends is looked
up among those that there are, and the script writes all that it shows as text.
"""

from collections.abc import Mapping

import gradio as gr

from ..palette import things
from ..scores import score_line
from ..segmenter import Segmenter
from .answer import listed
from .viewer import read_web

Networks = Mapping[str, Segmenter]
TEMPLATE = "<fieldset><legend>Network</legend></fieldset>"


def build_chooser(networks: Networks) -> gr.HTML:
    """Place a radio button for each network; nothing is seen of it where there is only one.

    Its event ``choose`` says that another one was chosen; it has told the viewer already.

    Args:
        networks: By source, the one to begin with first.

    Returns:
        A component whose value is the source of the chosen network.
    """
    return gr.HTML(
        next(iter(networks)),
        html_template=TEMPLATE,
        css_template=read_web("chooser.css"),
        js_on_load=read_web("chooser.js"),
        apply_default_css=False,
        visible=len(networks) > 1,
        elem_id="chooser",
        networks=[describe(one) for one in networks.values()],
    )


def describe(segmenter: Segmenter) -> dict[str, str]:
    """What the chooser says of a network: its source, which is its key, its name, and two lines."""
    return {
        "source": segmenter.source,
        "name": segmenter.name,
        "classes": listed(things(segmenter.classes), 6),
        "score": score_line(segmenter.metrics),
    }


def pick(networks: Networks, source: object) -> Segmenter:
    """The network that a browser has chosen.

    Raises:
        gr.Error: If it is none of these, as on a page that is older than the server.
    """
    if not isinstance(source, str) or source not in networks:
        message = "This network is not here any more: reload the page."
        raise gr.Error(message, print_exception=False)
    return networks[source]
