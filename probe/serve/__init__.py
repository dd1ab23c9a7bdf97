"""``probe serve``: a queue, an index and pages over the run directories below one folder. They stay the truth."""
