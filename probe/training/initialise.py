"""Weights before training."""

from typing import Literal

from torch import nn

from probe.autoencoders.convolutional import ConvAutoencoder

Initialisation = Literal["torch", "he"]


def initialise(model: ConvAutoencoder, kind: Initialisation) -> None:
    """Draw the weights again, with torch's global generator.

    ``torch`` leaves what the layers' constructors drew: variance 1 / (3 fan_in), by which every layer with a ReLU
    divides the second moment by 6. After the ten layers here the output hardly depends on the input, and training
    spends its first epochs (at 10,000 images, most of 20) on leaving the mean image. ``he`` keeps the second moment
    (He et al. 2015, arXiv 1502.01852, Equation 10).
    """
    if kind == "torch":
        return
    for layer in model.modules():
        if isinstance(layer, nn.ConvTranspose2d):
            # At stride 2 an output pixel meets a quarter of the kernel on average.
            height, width = layer.kernel_size
            inputs = layer.in_channels * height * width / (layer.stride[0] * layer.stride[1])
            nn.init.normal_(layer.weight, std=(2 / inputs) ** 0.5)
        elif isinstance(layer, (nn.Conv2d, nn.Linear)):
            nn.init.kaiming_normal_(layer.weight, nonlinearity="relu")
        else:
            continue
        if layer.bias is not None:
            nn.init.zeros_(layer.bias)
