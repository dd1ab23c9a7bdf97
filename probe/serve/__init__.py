"""``probe serve``: a queue, an index and a page over the run directories below a folder.

Run directories are the truth. What the service was asked about a run is its ``ticket``; what is so, ``facts`` reads
from the run directory and its processes; ``states`` derives the state from both; ``supervisor`` acts on it; ``index``
is a copy for quick lists, made again whenever it is gone.
"""
