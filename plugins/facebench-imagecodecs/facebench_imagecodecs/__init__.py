"""The lossy picture formats that wheels encode, for facebench. Only descriptions are here: libraries come on use."""

from __future__ import annotations

from collections.abc import Iterable

from facebench import CodecSpec, Setting, hookimpl

FACEBENCH_API = 1

_HEADERLESS = Setting("headerless", bool, False, "leave out what all files of these settings and size have in common")
_CHROMA = Setting("chroma", str, "420", "chroma sampling", choices=("420", "444"))
_PRESETS = ("ultrafast", "superfast", "veryfast", "faster", "fast", "medium", "slow", "slower", "veryslow", "placebo")

#: Block sides, from the fewest bytes to the most.
_ASTC_BLOCKS = (
    *("12x12", "12x10", "10x10", "10x8", "8x8", "10x6", "8x6", "10x5", "8x5"),
    *("6x6", "6x5", "5x5", "5x4", "4x4"),
)


@hookimpl
def facebench_codecs() -> Iterable[CodecSpec]:
    """Return the codecs; by default each is set to the most effort that stays within some 30 ms for a small face."""
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
                _CHROMA,
                _HEADERLESS,
            ),
            rate_setting="quality",
            sweep=(0, 10, 20, 30, 40, 55, 70, 85),
            help="AVIF, lossy (libavif with libaom)",
        ),
        CodecSpec(
            "heic",
            "facebench_imagecodecs.heic:Heic",
            settings=(
                Setting("quality", int, 35, "libheif quality", low=0, high=99),
                Setting("preset", str, "veryslow", "x265 preset; placebo needs 32 pixels a side", choices=_PRESETS),
                Setting("tune", str, "ssim", "what x265 optimises", choices=("ssim", "psnr", "grain", "fastdecode")),
                _CHROMA,
                _HEADERLESS,
            ),
            rate_setting="quality",
            sweep=(0, 8, 16, 24, 32, 42, 55, 75),
            help="HEIC, lossy (libheif with x265)",
        ),
        CodecSpec(
            "jpegxr",
            "facebench_imagecodecs.jpegxr:JpegXr",
            settings=(
                Setting("quality", float, 10.0, "jxrlib quality; 4:2:0 chroma below 50", low=0.5, high=99.0),
                _HEADERLESS,
            ),
            rate_setting="quality",
            sweep=(0.5, 4.0, 10.0, 18.0, 28.0, 40.0, 60.0, 80.0),
            help="JPEG XR, lossy (jxrlib)",
        ),
        CodecSpec(
            "htj2k",
            "facebench_imagecodecs.htj2k:Htj2k",
            settings=(
                Setting("step", float, 0.15, "base quantiser step, samples in [0, 1]", low=0.001, high=1.0),
                Setting("levels", int, 3, "levels of the wavelet transform", low=0, high=6),
                _HEADERLESS,
            ),
            rate_setting="step",
            sweep=(1.0, 0.7, 0.5, 0.3, 0.2, 0.1, 0.05, 0.02),
            help="High-throughput JPEG 2000 codestream, irreversible wavelet (OpenJPH)",
        ),
        CodecSpec(
            "mozjpeg",
            "facebench_imagecodecs.jpeg_family:Mozjpeg",
            settings=(Setting("quality", int, 30, "libjpeg quality", low=1, high=100), _CHROMA, _HEADERLESS),
            rate_setting="quality",
            sweep=(1, 5, 10, 20, 35, 50, 70, 85, 95),
            help="JPEG by mozjpeg: trellis quantisation, optimised Huffman tables (libvips)",
        ),
        CodecSpec(
            "jpegli",
            "facebench_imagecodecs.jpeg_family:Jpegli",
            settings=(
                Setting("distance", float, 12.0, "butteraugli distance", low=0.1, high=200.0),
                _CHROMA,
                _HEADERLESS,
            ),
            rate_setting="distance",
            sweep=(200.0, 50.0, 25.0, 15.0, 8.0, 4.0, 2.0, 1.0),
            help="JPEG by jpegli: adaptive quantisation, optimised Huffman tables (ajpegli)",
        ),
        CodecSpec(
            "jpegls",
            "facebench_imagecodecs.jpegls:JpegLs",
            settings=(
                Setting("near", int, 24, "the most that a sample may be off, in grey levels", low=1, high=64),
                _HEADERLESS,
            ),
            rate_setting="near",
            sweep=(64, 48, 36, 24, 16, 10, 6, 3),
            help="JPEG-LS, near-lossless (CharLS)",
        ),
        CodecSpec(
            "vp9",
            "facebench_imagecodecs.key_frame:Vp9",
            settings=(
                Setting("quantiser", int, 44, "libvpx quantiser, 63 the coarsest", low=1, high=63),
                _CHROMA,
                _HEADERLESS,
            ),
            rate_setting="quantiser",
            sweep=(63, 58, 53, 48, 42, 35, 24, 8),
            help="VP9 key frame (libvpx, deadline best)",
        ),
        CodecSpec(
            "h264",
            "facebench_imagecodecs.key_frame:H264",
            settings=(
                Setting("crf", int, 36, "x264 constant rate factor, 51 the coarsest", low=1, high=51),
                Setting("preset", str, "placebo", "x264 preset, placebo the most effort", choices=_PRESETS),
                Setting("tune", str, "ssim", "what x264 optimises", choices=("ssim", "psnr", "stillimage", "grain")),
                _CHROMA,
                _HEADERLESS,
            ),
            rate_setting="crf",
            sweep=(51, 47, 43, 39, 35, 30, 24, 17),
            help="H.264 key frame (x264)",
        ),
        CodecSpec(
            "astc",
            "facebench_imagecodecs.astc:Astc",
            settings=(
                Setting("block", str, "12x12", "pixels that share 16 bytes, width x height", choices=_ASTC_BLOCKS),
                Setting("effort", int, 80, "astcenc quality, 100 the most", low=0, high=100),
                _HEADERLESS,
            ),
            rate_setting="block",
            sweep=("12x12", "10x10", "8x8", "8x6", "6x6", "5x5", "4x4"),
            help="ASTC texture, fixed rate (astcenc)",
        ),
        CodecSpec(
            "palettepng",
            "facebench_imagecodecs.palette_png:PalettePng",
            settings=(
                Setting("colours", int, 8, "the most colours there may be", low=2, high=256),
                Setting("dither", float, 0.0, "strength of error diffusion", low=0.0, high=1.0),
                _HEADERLESS,
            ),
            rate_setting="colours",
            sweep=(2, 3, 4, 6, 8, 12, 20, 40, 100),
            help="PNG with few colours (libimagequant, as in pngquant; libdeflate)",
        ),
    )
