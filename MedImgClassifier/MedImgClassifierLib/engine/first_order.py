"""First-order statistics of an image as features: an encoder that has no weights and needs no runtime but numpy.

After the intensity operations each channel of each image gives the numbers of NAMES, in that order, channel after
channel. Definitions as of the Image Biomarker Standardisation Initiative (Zwanenburg et al. 2020, Radiology), over all
pixels of the image; the gradient and Laplacian ones are ours.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from .runtimes import Device, Encoded, Precision, RuntimeName

NETWORK = "first_order"
NAMES = (
    "mean",
    "standard_deviation",
    "skewness",
    "excess_kurtosis",  # 0 for a normal distribution; both moments are 0 where all pixels are the same
    "minimum",
    "percentile_5",
    "percentile_25",
    "median",
    "percentile_75",
    "percentile_95",
    "maximum",
    "root_mean_square",
    "entropy",  # in bits, of 32 bins of equal width from minimum to maximum
    "gradient_mean",  # length of the central differences, per pixel
    "gradient_percentile_95",
    "laplacian_root_mean_square",  # fine detail and noise: pixel minus the mean of its four neighbours
)
BINS = 32
_PERCENTILES = (0, 5, 25, 50, 75, 95, 100)


class FirstOrderRuntime:
    """Computes the statistics behind the same door as a network; there are no class maps."""

    name: RuntimeName = "numpy"
    device: Device = "cpu"
    precision: Precision = "float32"

    def encode(self, images: NDArray[np.float32], maps: bool) -> Encoded:
        return Encoded(first_order(images), None)


def first_order(images: NDArray[np.float32]) -> NDArray[np.float32]:
    """Images [N, C, H, W] -> [N, C * len(NAMES)], float32. Raises ValueError for fewer than 3 x 3 pixels."""
    if min(images.shape[2:]) < 3:
        raise ValueError(f"images of {images.shape[2]} x {images.shape[3]} pixels are too small for gradients")
    rows = [_statistics(channel.astype(np.float64)) for image in images for channel in image]
    return np.array(rows, np.float32).reshape(len(images), images.shape[1] * len(NAMES))


def _statistics(image: NDArray[np.float64]) -> tuple[float, ...]:
    """[H, W] -> one number for each of NAMES."""
    low, p5, p25, median, p75, p95, high = (float(value) for value in np.percentile(image, _PERCENTILES))
    mean = float(image.mean())
    deviation = float(image.std())
    skewness = kurtosis = entropy = 0.0
    if deviation > 0:  # exactly 0 where all pixels are the same, for sums of float32 are exact in float64
        scaled = (image - mean) / deviation
        skewness, kurtosis = float((scaled**3).mean()), float((scaled**4).mean()) - 3
        share = np.histogram(image, BINS, (low, high))[0] / image.size
        entropy = -float((share[share > 0] * np.log2(share[share > 0])).sum())
    down, across = np.gradient(image)
    gradient = np.hypot(down, across)
    inner = image[1:-1, 1:-1]
    neighbours = image[:-2, 1:-1] + image[2:, 1:-1] + image[1:-1, :-2] + image[1:-1, 2:]
    moments = (mean, deviation, skewness, kurtosis)
    quantiles = (low, p5, p25, median, p75, p95, high)
    texture = (
        float(np.sqrt((image**2).mean())),
        entropy,
        float(gradient.mean()),
        float(np.percentile(gradient, 95)),
        float(np.sqrt(((inner - neighbours / 4) ** 2).mean())),
    )
    return (*moments, *quantiles, *texture)
