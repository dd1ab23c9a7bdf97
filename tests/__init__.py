"""A package, so that a `tests` in site-packages (torch-fidelity's wheel brings one) does not hide this folder."""
