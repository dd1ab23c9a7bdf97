"""The paper's convolutional autoencoder (Table 4), and shallower ones, in diffusers' own save format."""

from diffusers import ConfigMixin, ModelMixin
from diffusers.configuration_utils import register_to_config
from torch import Tensor, nn

CONVOLUTIONS = 4
"""Of the paper's encoder, each of stride 2, so that it halves the side."""


class ConvAutoencoder(ModelMixin, ConfigMixin):
    """3x3 convolutions of stride 2 (d, 2d, 4d, 8d channels), a linear bottleneck k, and the mirrored decoder.

    Args:
        in_channels: channels of an image.
        sample_size: side of an image, divisible by 2^convolutions: by 16 for the paper's four.
        base_channels: d.
        latent_dim: k, at most the number of features before the bottleneck: 8 d (side / 16)^2 for four.
        convolutions: of the encoder; the decoder has as many.

    Raises:
        ValueError: the side or k does not fit.
    """

    image_range = (0.0, 1.0)

    @register_to_config
    def __init__(
        self,
        in_channels: int = 3,
        sample_size: int = 32,
        base_channels: int = 16,
        latent_dim: int = 128,
        convolutions: int = CONVOLUTIONS,
    ):
        super().__init__()
        if sample_size % 2**convolutions:
            raise ValueError(
                f"{convolutions} strides of 2 need a side divisible by {2**convolutions}, not {sample_size}"
            )
        side, last = sample_size // 2**convolutions, base_channels * 2 ** (convolutions - 1)
        if latent_dim > last * side**2:
            raise ValueError(f"latent_dim {latent_dim} is more than the {last * side**2} features before it")
        widths = [base_channels * 2**i for i in range(convolutions)]
        pairs = list(zip([in_channels, *widths[:-1]], widths, strict=True))
        down = [layer for a, b in pairs for layer in (nn.Conv2d(a, b, 3, 2, 1), nn.ReLU())]
        self.encoder = nn.Sequential(*down, nn.Flatten(), nn.Linear(last * side**2, latent_dim))
        up: list[nn.Module] = []
        for a, b in reversed(pairs):
            up += [nn.ConvTranspose2d(b, a, 3, 2, 1, output_padding=1), nn.ReLU()]
        up[-1] = nn.Sigmoid()
        linear = nn.Linear(latent_dim, last * side**2)
        self.decoder = nn.Sequential(linear, nn.Unflatten(1, (last, side, side)), nn.ReLU(), *up)

    def encode(self, x: Tensor) -> Tensor:
        """Images (n, channels, side, side) in [0, 1] to latents (n, k)."""
        return self.encoder(x)

    def decode(self, z: Tensor) -> Tensor:
        """Latents (n, k) to images in [0, 1]."""
        return self.decoder(z)

    def forward(self, x: Tensor) -> Tensor:
        """The reconstruction."""
        return self.decode(self.encode(x))
