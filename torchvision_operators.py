"""Beside a torch without CUDA, torchvision's wheel (which has it) cannot load its operators, and then fails at import
(``operator torchvision::nms does not exist``), and with it diffusers and transformers, which import it if it is there.

`make install` puts this file into the environment's site-packages, and a .pth file that imports it when Python starts.
It waits, and declares the operators if torchvision did not; nothing calls them. Where torchvision works, it does
nothing.
"""

import importlib.abc
import sys

NEEDS = "torchvision._meta_registrations"
"""What torchvision imports next after its operators, and what fails without them."""
OPERATORS = ("nms(Tensor dets, Tensor scores, float iou_threshold) -> Tensor",)
OPERATORS += ("qnms(Tensor dets, Tensor scores, float iou_threshold) -> Tensor",)


class Declare(importlib.abc.MetaPathFinder):
    """Finds nothing; it is asked before everyone else."""

    def find_spec(self, name, path=None, target=None):
        if name == NEEDS:
            import torch

            if not hasattr(torch.ops.torchvision, "nms"):
                self.library = torch.library.Library("torchvision", "DEF")  # as long as this lives, so do they
                for operator in OPERATORS:
                    self.library.define(operator)
        return


sys.meta_path.insert(0, Declare())
