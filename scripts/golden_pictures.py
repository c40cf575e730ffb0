#!/usr/bin/env python3
"""Writes engine/data/picture/testdata: small files of every format, and
golden.json, which has the size and the SHA-256 of the pixels that Pillow reads
from each, and from the files in testdata/cases. Needs Pillow 13.0.0 with
libjpeg-turbo 3.2, numpy 2, and cjpeg of libjpeg-turbo 2.1 or newer.

    python3 -m venv /tmp/venv && /tmp/venv/bin/pip install pillow==13.0.0 numpy==2.4.6
    /tmp/venv/bin/python scripts/golden_pictures.py
"""
import hashlib
import io
import json
import pathlib
import struct
import subprocess
import zlib

import numpy as np
from PIL import Image, ImageOps, features

DIR = pathlib.Path(__file__).resolve().parent.parent / "engine/data/picture/testdata"
MADE = DIR / "made"
rng = np.random.default_rng(7)
golden = {}


def picture(h, w):
    """A smooth field of colors with noise and a few hard edges."""
    y, x = np.mgrid[0:h, 0:w]
    a = np.stack([x * 255 / max(w - 1, 1), y * 255 / max(h - 1, 1), (x * 13 + y * 7) % 256], -1)
    a += rng.normal(0, 8, a.shape)
    a[h // 4 : h // 2, w // 3 : w // 2] = (250, 10, 30)
    return Image.fromarray(np.clip(a, 0, 255).astype(np.uint8))


def expect(name, pixels, exif=None):
    """Notes what a file should give: an array, or an image that is converted."""
    def digest(p):
        a = np.ascontiguousarray(p if isinstance(p, np.ndarray) else np.asarray(p.convert("RGB")))
        return {"w": a.shape[1], "h": a.shape[0], "sha256": hashlib.sha256(a.tobytes()).hexdigest()}

    golden[name] = digest(pixels)
    if exif is not None:
        golden[name]["exif"] = digest(exif)


def add(name, data, pixels=None):
    """Writes a file, and expects what Pillow reads from it."""
    (MADE / name).write_bytes(data)
    expect("made/" + name, Image.open(io.BytesIO(data)) if pixels is None else pixels)


def saved(im, fmt, **options):
    out = io.BytesIO()
    im.save(out, fmt, **options)
    return out.getvalue()


def cjpeg(im, *options):
    return subprocess.run(["cjpeg", *options], input=saved(im, "PPM"), capture_output=True, check=True).stdout


def markers(data):
    """The places of a JPEG's scan headers."""
    return [i for i in range(len(data) - 1) if data[i] == 0xFF and data[i + 1] == 0xDA]


def jpegs():
    im, small = picture(37, 51), picture(17, 19)
    for s, n in ((0, "444"), (1, "422"), (2, "420")):
        add(f"jpeg-{n}.jpg", saved(im, "JPEG", quality=85, subsampling=s))
        add(f"jpeg-{n}-progressive.jpg", saved(im, "JPEG", quality=85, subsampling=s, progressive=True))
    for n in ("1x2", "4x1", "4x2", "2x4", "1x4"):
        add(f"jpeg-sample-{n}.jpg", cjpeg(small, "-quality", "80", "-sample", n))
    add("jpeg-narrow.jpg", saved(picture(9, 3), "JPEG", subsampling=2))
    add("jpeg-1x1.jpg", saved(picture(1, 1), "JPEG", subsampling=2))
    add("jpeg-gray.jpg", saved(small.convert("L"), "JPEG", quality=90))
    add("jpeg-coarse.jpg", saved(im, "JPEG", quality=3))
    add("jpeg-fine.jpg", saved(small, "JPEG", quality=100, subsampling=0))
    add("jpeg-restart.jpg", saved(im, "JPEG", restart_marker_blocks=3))
    cmyk = saved(im.convert("CMYK"), "JPEG", quality=85)
    add("jpeg-cmyk.jpg", cmyk)
    adobe = cmyk.index(b"Adobe")
    add("jpeg-ycck.jpg", cmyk[: adobe + 11] + b"\x02" + cmyk[adobe + 12 :])
    add("jpeg-arithmetic-progressive.jpg", cjpeg(im, "-arithmetic", "-progressive"))
    add("jpeg-arithmetic-restart.jpg", cjpeg(small, "-arithmetic", "-restart", "2B"))
    scans = MADE / "scans"
    scans.write_text("0; 2; 1;")
    add("jpeg-planes.jpg", cjpeg(im, "-scans", str(scans)))
    add("jpeg-planes-restart.jpg", cjpeg(im, "-restart", "3B", "-scans", str(scans)))
    scans.unlink()
    whole = saved(im, "JPEG", quality=85, progressive=True)
    at = markers(whole)
    for n in (1, 2, 4, 7):  # the first n scans: what is missing is smoothed
        end = whole.rindex(b"\xff\xc4", 0, at[n]) if b"\xff\xc4" in whole[at[n - 1] : at[n]] else at[n]
        add(f"jpeg-scans-{n}.jpg", whole[:end] + b"\xff\xd9")
    middle = (at[1] + at[2]) // 2
    add("jpeg-scan-cut.jpg", whole[:middle] + b"\xff\xd9")
    base = saved(small, "JPEG")
    add("jpeg-rubbish.jpg", base[:20] + b"\0rub\xff\0bish" + base[20:])
    add("jpeg-thumbnail-after.jpg", base + saved(picture(8, 8), "JPEG"))


def exif():
    im = picture(5, 8)
    for o in range(1, 9):
        tags = Image.Exif()
        tags[0x0112] = o
        for fmt, name, options in (("JPEG", "jpg", {}), ("PNG", "png", {}), ("WEBP", "webp", {"lossless": True}), ("TIFF", "tif", {})):
            if fmt != "JPEG" and o not in (2, 6):
                continue
            data = saved(im, fmt, exif=tags, **options)
            name = f"exif-{o}.{name}"
            (MADE / name).write_bytes(data)
            as_it_is = Image.open(io.BytesIO(data))
            as_it_is.load()  # turns TIFF
            expect("made/" + name, as_it_is, ImageOps.exif_transpose(as_it_is))


def pngs():
    im = picture(11, 13)
    for mode in ("1", "L", "LA", "RGB", "RGBA", "P"):
        add(f"png-{mode.lower()}.png", saved(im.convert(mode), "PNG"))
    alpha = im.convert("RGBA")
    alpha.putalpha(Image.fromarray(np.arange(143, dtype=np.uint8).reshape(11, 13)))
    add("png-alpha.png", saved(alpha, "PNG"))
    palette = im.quantize(12)
    for bits in (4, 8):
        add(f"png-palette-{bits}.png", saved(palette, "PNG", bits=bits))
    add("png-palette-transparent.png", saved(palette, "PNG", transparency=3))
    deep = (np.asarray(im).astype(np.uint16) << 8 | rng.integers(0, 256, (11, 13, 3), np.uint16))
    add("png-rgb16.png", png16(deep, 2))
    gray = deep[..., :1]
    add("png-gray16.png", png16(gray, 0), np.repeat((gray >> 8).astype(np.uint8), 3, 2))


def png16(a, color):
    """A PNG of 16 bits, which Pillow does not write in color."""
    h, w, _ = a.shape
    rows = b"".join(b"\0" + row.astype(">u2").tobytes() for row in a)
    chunks = ((b"IHDR", struct.pack(">IIBBBBB", w, h, 16, color, 0, 0, 0)), (b"IDAT", zlib.compress(rows)), (b"IEND", b""))
    return b"\x89PNG\r\n\x1a\n" + b"".join(
        struct.pack(">I", len(d)) + k + d + struct.pack(">I", zlib.crc32(k + d)) for k, d in chunks)


def others():
    im, odd = picture(18, 20), picture(15, 17)
    add("webp-even.webp", saved(im, "WEBP", quality=70))
    add("webp-odd.webp", saved(odd, "WEBP", quality=70))
    add("webp-1x1.webp", saved(picture(1, 1), "WEBP", quality=70))
    add("webp-lossless.webp", saved(im, "WEBP", lossless=True))
    alpha = odd.convert("RGBA")
    alpha.putalpha(Image.fromarray(np.arange(255, dtype=np.uint8).reshape(15, 17)))
    add("webp-alpha.webp", saved(alpha, "WEBP", quality=70))
    add("webp-animation.webp", saved(im, "WEBP", save_all=True, append_images=[picture(18, 20)], quality=70))
    for mode in ("1", "L", "P", "RGB", "RGBA"):
        add(f"bmp-{mode.lower()}.bmp", saved(odd.convert(mode), "BMP"))
    bmps(odd)
    for compression in (None, "tiff_lzw", "tiff_deflate", "packbits"):
        add(f"tiff-{compression or 'raw'}.tif", saved(odd, "TIFF", compression=compression))
    add("tiff-bilevel.tif", saved(odd.convert("1"), "TIFF", compression="group4"))
    add("tiff-gray.tif", saved(odd.convert("L"), "TIFF"))
    add("tiff-palette.tif", saved(odd.quantize(200), "TIFF"))
    add("tiff-alpha.tif", saved(alpha, "TIFF"))
    add("gif-plain.gif", saved(odd.quantize(64), "GIF", interlace=1))
    transparent = odd.quantize(16)
    add("gif-transparent.gif", saved(transparent, "GIF", transparency=5))
    add("gif-animation.gif", saved(im.quantize(32), "GIF", save_all=True, append_images=[picture(18, 20).quantize(32)]))
    whole = bytearray(saved(odd.quantize(16), "GIF"))
    whole[6:10] = struct.pack("<HH", 23, 19)  # a screen larger than the picture
    add("gif-screen.gif", bytes(whole))
    netpbm(odd)


def bmp(w, h, depth, packing, data, masks=(), palette=b"", header=40, colors=0):
    """A BMP of any kind; data go from the bottom row up."""
    info = struct.pack("<IHHHH", 12, w, h, 1, depth) if header == 12 else struct.pack(
        "<IiiHHIIiiII", header, w, h, 1, depth, packing, len(data), 2835, 2835, colors, 0)
    info += struct.pack(f"<{len(masks)}I", *masks)
    info += bytes(max(0, header - len(info)))
    start = 14 + len(info) + len(palette)
    return b"BM" + struct.pack("<IHHI", start + len(data), 0, 0, start) + info + palette + data


def bmps(im):
    a = np.asarray(im)[::-1].astype(np.uint32)
    h, w, _ = a.shape

    def packed(v, kind):
        return b"".join(r.tobytes() + bytes(-len(r.tobytes()) % 4) for r in v.astype(kind))

    add("bmp-555.bmp", bmp(w, h, 16, 0, packed((a[..., 0] >> 3 << 10) | (a[..., 1] >> 3 << 5) | a[..., 2] >> 3, "<u2")))
    v565 = (a[..., 0] >> 3 << 11) | (a[..., 1] >> 2 << 5) | a[..., 2] >> 3
    add("bmp-565.bmp", bmp(w, h, 16, 3, packed(v565, "<u2"), masks=(0xF800, 0x7E0, 0x1F)))
    v32 = (a[..., 0] << 24) | (a[..., 1] << 16) | (a[..., 2] << 8) | 77
    add("bmp-masks32.bmp", bmp(w, h, 32, 3, packed(v32, "<u4"), masks=(0xFF000000, 0xFF0000, 0xFF00, 0xFF), header=56))
    palette = bytes(rng.integers(0, 256, 3 * 256, np.uint8))
    index = a[..., 1]
    add("bmp-os2.bmp", bmp(w, h, 8, 0, packed(index, "u1"), palette=palette, header=12))
    four = b"".join(palette[3 * i : 3 * i + 3] + b"\0" for i in range(200))
    add("bmp-badindex.bmp", bmp(w, h, 8, 0, packed(index, "u1"), palette=four, colors=200))
    runs = b""
    for r in index:
        runs += b"".join(bytes((1, x)) for x in r[:5]) + bytes((0, 5, *r[5:10], 0)) + bytes((w - 10, r[10])) + b"\0\0"
    add("bmp-rle8.bmp", bmp(w, h, 8, 1, runs[:-2] + b"\0\1", palette=four, colors=200))
    add("bmp-rle4.bmp", bmp(w, h, 4, 2, (bytes((5, 0x12, 0, 3, 0x34, 0x50, 0, 2, 2, 0, w - 10, 0x66)) + b"\0\0") * h, palette=four[:64]))


def netpbm(im):
    a = np.asarray(im)
    h, w, _ = a.shape
    size = b"%d %d\n" % (w, h)
    bits = a[..., 0] > 100
    text = lambda v: b" ".join(b"%d" % x for x in v.reshape(-1))
    add("p1.pbm", b"P1\n# a comment\n" + size + b"".join(b"%d" % x for x in bits.reshape(-1)))
    add("p2.pgm", b"P2 " + size + b"# another\n100\n" + text(a[..., 1].astype(int) * 100 // 255))
    add("p3.ppm", b"P3\n" + size + b"255\n" + text(a))
    add("p4.pbm", b"P4\n" + size + np.packbits(bits, axis=1).tobytes())
    add("p5.pgm", b"P5\n" + size + b"255\n" + a[..., 0].tobytes())
    add("p6.ppm", b"P6\n" + size + b"255\n" + a.tobytes())
    add("p6-31.ppm", b"P6\n" + size + b"31\n" + (a >> 3).tobytes())
    deep = a.astype(np.uint16) * 16 + 7
    add("p6-4095.ppm", b"P6\n" + size + b"4095\n" + deep.astype(">u2").tobytes())
    gray = np.rint(deep[..., :1] / 4095 * 255).astype(np.uint8)
    add("p5-4095.pgm", b"P5\n" + size + b"4095\n" + deep[..., 0].astype(">u2").tobytes(), np.repeat(gray, 3, 2))


def cases():
    """The files of bug reports. What Pillow refuses is repaired for it first."""
    for f in sorted((DIR / "cases").glob("*/*")):
        data = f.read_bytes()
        if f.name == "tem-marker.jpg":
            data = data.replace(b"\xff\x01", b"", 1)
        if f.name == "profile-before-the-pixels.png":
            data = data[:33] + data[data.index(b"IDAT") - 4 :]
        im = Image.open(io.BytesIO(data))
        if im.mode == "I;16":
            a = np.asarray(im)
            im = np.repeat((a >> 8).astype(np.uint8)[..., None], 3, 2)
        expect(str(f.relative_to(DIR)), im)


MADE.mkdir(parents=True, exist_ok=True)
for make in (jpegs, exif, pngs, others, cases):
    make()
versions = {"pillow": Image.__version__, "libjpeg-turbo": features.version("libjpeg_turbo"), "numpy": np.__version__}
(DIR / "golden.json").write_text(json.dumps({"made with": versions, "files": golden}, indent=1) + "\n")
print(versions, len(golden), "files")
