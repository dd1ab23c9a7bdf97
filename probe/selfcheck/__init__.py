"""``probe selfcheck``: does this machine's device give the numbers of a CPU, and how fast is it?

It needs torch, numpy and scipy alone, so that it runs from a plain checkout: ``python -m probe.selfcheck --device
cuda --out FOLDER``. ``checks.py`` lists the checks; to add one, add it there. ``runner.py`` runs them within a time.
"""
