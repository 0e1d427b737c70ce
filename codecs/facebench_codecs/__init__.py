"""The built-in codecs of facebench. Only their descriptions are here: nothing heavy is imported."""

from __future__ import annotations

from collections.abc import Iterable

from facebench import CodecSpec, Setting, hookimpl

FACEBENCH_API = 1

#: Quantiser steps of the learned codecs' sweep, in standard deviations of the latent's own noise.
_LATENT_STEPS = (12.0, 8.0, 6.0, 4.0, 3.0, 2.0, 1.0)

_WEIGHTS = Setting("weights", str, "shipped", "shipped, or a file that facebench train wrote", names_file=True)


def _learned(name: str, help_text: str) -> CodecSpec:
    return CodecSpec(
        name,
        f"facebench_codecs.learned:{name.capitalize()}",
        settings=(
            Setting("step", float, 3.0, "quantiser step, in latent standard deviations", low=0.1, high=64.0),
            Setting("latent", str, "quantised", "the payload", choices=("quantised", "float32")),
            Setting(
                "weights",
                str,
                "flat",
                "flat (trained until flat), paper (the paper's epochs) or a .safetensors file of facebench train",
                names_file=True,
            ),
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
        _learned("cvae", "convolutional VAE of the student paper, 512 latent values, L1 loss"),
        _learned("dcgan", "DCGAN autoencoder of the student paper, 512 latent values, L1 x 10 + adversarial loss"),
    )
