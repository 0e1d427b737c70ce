"""WebP, JPEG 2000, JPEG XL and AVIF for facebench. Only their descriptions are here: imagecodecs is imported on use."""

from __future__ import annotations

from collections.abc import Iterable

from facebench import CodecSpec, Setting, hookimpl

FACEBENCH_API = 1

_HEADERLESS = Setting("headerless", bool, False, "leave out what all files of these settings and size have in common")


@hookimpl
def facebench_codecs() -> Iterable[CodecSpec]:
    """Return the four codecs, each as lossy as it gets by default settings of most effort."""
    return (
        CodecSpec(
            "webp",
            "facebench_imagecodecs.webp:Webp",
            settings=(
                Setting("quality", int, 40, "libwebp quality", low=0, high=100),
                Setting("method", int, 6, "effort, 6 the most", low=0, high=6),
                _HEADERLESS,
            ),
            rate_setting="quality",
            sweep=(0, 1, 5, 10, 20, 40, 60, 80, 90),
            help="WebP, lossy (libwebp)",
        ),
        CodecSpec(
            "jpeg2000",
            "facebench_imagecodecs.jpeg2000:Jpeg2000",
            settings=(
                Setting("psnr", int, 28, "PSNR in dB that the encoder aims at", low=10, high=60),
                _HEADERLESS,
            ),
            rate_setting="psnr",
            sweep=(18, 20, 22, 24, 26, 28, 31, 35, 40),
            help="JPEG 2000 codestream, irreversible wavelet (OpenJPEG)",
        ),
        CodecSpec(
            "jpegxl",
            "facebench_imagecodecs.jpegxl:JpegXl",
            settings=(
                Setting("distance", float, 8.0, "butteraugli distance", low=0.1, high=25.0),
                Setting("effort", int, 9, "effort, 10 the most", low=1, high=10),
                _HEADERLESS,
            ),
            rate_setting="distance",
            sweep=(25.0, 18.0, 12.0, 8.0, 5.0, 3.0, 2.0, 1.0),
            help="JPEG XL codestream, lossy (libjxl)",
        ),
        CodecSpec(
            "avif",
            "facebench_imagecodecs.avif:Avif",
            settings=(
                Setting("quality", int, 40, "libavif quality", low=0, high=99),
                Setting("speed", int, 2, "libaom speed, 0 the slowest and best", low=0, high=10),
                Setting("chroma", str, "420", "chroma sampling", choices=("420", "444")),
                _HEADERLESS,
            ),
            rate_setting="quality",
            sweep=(0, 10, 20, 30, 40, 55, 70, 85),
            help="AVIF, lossy (libavif with libaom)",
        ),
    )
