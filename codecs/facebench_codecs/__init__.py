"""The built-in codecs of facebench. Only their descriptions are here: nothing heavy is imported."""

from __future__ import annotations

from collections.abc import Iterable

from facebench import CodecSpec, Setting, hookimpl

FACEBENCH_API = 1

#: Quantiser steps of the learned codecs' sweep, in standard deviations of the latent's own noise.
_LATENT_STEPS = (12.0, 8.0, 6.0, 4.0, 3.0, 2.0, 1.0)

_WEIGHTS = Setting("weights", str, "shipped", "shipped, or a file that facebench train wrote", names_file=True)


_STEP = Setting("step", float, 3.0, "quantiser step, in latent standard deviations", low=0.1, high=64.0)


def _recipe_weights(names: str) -> Setting:
    """Return the setting of a learned codec that has weights of the recipes ``names``; the first is its default."""
    first = names.split(",")[0]
    return Setting("weights", str, first, f"{names} or a .safetensors file of facebench train", names_file=True)


def _learned(name: str, help_text: str, weights: str = "flat") -> CodecSpec:
    """Return a codec of :mod:`facebench_codecs.learned` whose latent is quantised uniformly."""
    return CodecSpec(
        name,
        f"facebench_codecs.learned:{name.title().replace('-', '')}",
        settings=(
            _STEP,
            Setting("latent", str, "quantised", "the payload", choices=("quantised", "float32")),
            _recipe_weights(weights),
        ),
        rate_setting="step",
        sweep=_LATENT_STEPS,
        help=help_text,
        trainer="facebench_codecs.learned:train_learned",
        parallel_training=True,
    )


@hookimpl
def facebench_codecs() -> Iterable[CodecSpec]:
    """Return the built-in codecs."""
    return (
        CodecSpec(
            "jpeg",
            "facebench_codecs.jpeg:Jpeg",
            settings=(
                Setting("quality", int, 85, "libjpeg quality", low=1, high=100),
                Setting("headerless", bool, False, "tables known to the decoder, no headers in the payload"),
                Setting("scale", float, 1.0, "downsample by this before encoding", low=0.05, high=1.0),
                Setting(
                    "weights",
                    str,
                    "shipped",
                    "Huffman tables of headerless: shipped, or a file that facebench train wrote",
                    names_file=True,
                ),
            ),
            rate_setting="quality",
            sweep=(2, 5, 10, 20, 35, 50, 70, 85, 95),
            help="JPEG (OpenCV, optimised Huffman tables)",
            trainer="facebench_codecs.jpeg_tables:train_jpeg",
        ),
        CodecSpec(
            "png",
            "facebench_codecs.png:Png",
            help="PNG (OpenCV, highest compression level): the lossless anchor",
            lossless=True,
        ),
        CodecSpec(
            "jpeg2000",
            "facebench_codecs.jpeg2000:Jpeg2000",
            settings=(
                Setting("bytes", int, 400, "the most that a payload may have", low=1, high=10_000_000),
                Setting("headerless", bool, False, "leave out what all files of a size have in common"),
            ),
            rate_setting="bytes",
            sweep=(40, 80, 150, 250, 400, 700, 1200, 2000),
            budget_setting="bytes",
            help="JPEG 2000 at byte targets (OpenCV with OpenJPEG, 5/3 wavelet)",
            version="2",
        ),
        CodecSpec(
            "eigenfaces",
            "facebench_codecs.eigenfaces:Eigenfaces",
            settings=(
                Setting(
                    "step",
                    float,
                    1.0,
                    "quantiser step on coefficients of pictures in [0, 1]",
                    low=0.02,
                    high=50.0,
                ),
                _WEIGHTS,
            ),
            rate_setting="step",
            sweep=(4.0, 2.5, 1.6, 1.0, 0.6, 0.4, 0.25, 0.12),
            help="PCA of the training faces, uniform quantiser, range coder (Turk & Pentland 1991)",
            trainer="facebench_codecs.eigenfaces:train_eigenfaces",
            baseline=True,
            version="2",
        ),
        CodecSpec(
            "facet",
            "facebench_codecs.facet.codec:Facet",
            settings=(
                Setting("rate", int, 24, "0 (smallest payload) to 63", low=0, high=63),
                Setting("bytes", int, 0, "the best picture that fits so many bytes; 0: by rate", low=0, high=65535),
                Setting(
                    "tune",
                    str,
                    "ssim",
                    "what encoder and decoder were trained for",
                    choices=("ssim", "mse", "identity"),
                ),
                _WEIGHTS,
            ),
            rate_setting="rate",
            sweep=(0, 7, 14, 21, 28, 35, 42, 49, 56, 63),
            budget_setting="bytes",
            help="learned transform around a PCA, range coder: aligned faces in 10 to 300 bytes",
            trainer="facebench_codecs.facet.train:train_facet",
            parallel_training=True,
        ),
        _learned("cvae", "convolutional VAE of the student paper, 512 latent values, L1 loss", "flat, paper"),
        _learned("cvae-mask", "cvae trained with masks: its loss is over face pixels"),
        _learned(
            "dcgan",
            "DCGAN autoencoder of the student paper, 512 latent values, L1 x 10 + adversarial loss",
            "flat, paper",
        ),
        _learned("dcgan-mask", "dcgan trained with masks: its L1 loss is over face pixels"),
        _learned(
            "maskvae",
            "VAEs with a mask decoder of Toledo & Antonelo 2021, hypotheses h1 to h10",
            ", ".join(f"h{number}" for number in range(1, 11)),
        ),
        _learned("dfcvae", "VAE with a loss of deep features (Hou et al. 2017, DFC-VAE)"),
        _learned("gmmvae", "VAE with a mixture of Gaussians as its prior (Qian et al. 2019, AF-VAE)"),
        CodecSpec(
            "nvae",
            "facebench_codecs.learned:Nvae",
            settings=(_STEP, _recipe_weights("flat")),
            rate_setting="step",
            sweep=_LATENT_STEPS,
            help="hierarchical VAE: three groups of latents, conditional prior (Vahdat & Kautz 2020, NVAE)",
            trainer="facebench_codecs.learned:train_learned",
            parallel_training=True,
        ),
        CodecSpec(
            "vqvae",
            "facebench_codecs.learned:Vqvae",
            settings=(Setting("stages", int, 4, "codes of each place", low=1, high=16), _recipe_weights("flat")),
            rate_setting="stages",
            sweep=(1, 2, 3, 4, 6, 8, 12, 16),
            help="residual vector quantiser with a context prior (van den Oord et al. 2017, VQ-VAE)",
            trainer="facebench_codecs.learned:train_learned",
            parallel_training=True,
        ),
    )
