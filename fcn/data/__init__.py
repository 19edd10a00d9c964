"""Photos and labels: where they come from, what is wrong with them, how a network is fed.

``datasets`` is the table of data sets and opens them; ``source`` describes one that lies on disk,
``pairs`` finds and reads its files, ``download`` fetches them, and ``shapes`` draws its own.
``check`` reads all of one before it is trained on, with ``inspector`` for a single pair.
``transforms`` is the paired augmentation; ``samples`` makes it random by (seed, epoch, index) and
nothing else.
"""
