"""The page and its API.

``page`` lays it out, with ``photo_input``, ``examples`` and, where there are several networks,
``chooser``. ``decoder`` opens what visitors send, within limits. ``answer`` makes what the page is
sent for a photo, ``viewer`` shows it; the scripts in ``web`` recolour it in the browser.
``gallery`` takes several photos at once, with ``rle`` for masks as COCO writes them. ``endpoint``
is ``/segment``, ``sweep`` deletes what visitors left.

``model_tab`` tells what a network is good for. ``learn`` is the tab "How it works": ``lesson``
tells it in six parts, of a photo that ``subject`` holds; ``sketches`` draws, ``excerpt`` reads
source.
"""
