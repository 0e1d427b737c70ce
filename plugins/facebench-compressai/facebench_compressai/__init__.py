"""CompressAI's learned codecs for facebench. Only their description is here: compressai is imported on use."""

from __future__ import annotations

from collections.abc import Iterable

from facebench import CodecSpec, Setting, hookimpl

FACEBENCH_API = 1

MODELS = (
    "bmshj2018-factorized",
    "bmshj2018-factorized-relu",
    "bmshj2018-hyperprior",
    "mbt2018-mean",
    "mbt2018",
    "cheng2020-anchor",
    "cheng2020-attn",
)
DEFAULT_QUALITY = 3


@hookimpl
def facebench_codecs() -> Iterable[CodecSpec]:
    """Return the one codec, whose settings choose model and weights."""
    return (
        CodecSpec(
            "compressai",
            "facebench_compressai.codec:CompressAi",
            settings=(
                Setting("model", str, "mbt2018-mean", "architecture, by its name in CompressAI's zoo", choices=MODELS),
                Setting("quality", int, DEFAULT_QUALITY, "which of the zoo's weights, 1 the smallest", low=1, high=8),
                Setting("metric", str, "mse", "what the zoo's weights were trained for", choices=("mse", "ms-ssim")),
                Setting(
                    "checkpoint",
                    str,
                    "",
                    "weights file instead of the zoo's; {quality} in its path stands for the quality",
                    names_file=True,
                ),
                Setting("download", bool, False, "fetch missing weights of the zoo from the network"),
            ),
            rate_setting="quality",
            sweep=(1, 2, 3, 4, 5, 6, 7, 8),
            help="learned codecs of CompressAI, of its zoo or of a checkpoint",
        ),
    )
