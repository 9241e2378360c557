"""Bad files of every kind that a folder may come to hold. Nothing of it is a capture to be judged.

python -m tests.monitor.capture.corpus FOLDER    writes them all, to be looked at
"""

from __future__ import annotations

import contextlib
import io
import os
import random
import socket
import struct
import sys
import zlib
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import cv2
import imagecodecs
import numpy as np
import tifffile

from tests.monitor.capture.foreign_files import czi, lif
from tests.monitor.capture.pictures import colonies

OME = "http://www.openmicroscopy.org/Schemas/OME/2016-06"
GREY = colonies((64, 96))
GREY16 = GREY.astype(np.uint16) * 16  # 12 bit in 16
RGB = np.dstack([GREY, GREY[::-1], GREY[:, ::-1]])


@dataclass(frozen=True)
class BadFile:
    """kind : a word for the damage; data : None for what is not a regular file"""

    kind: str
    name: str
    data: bytes | None


def tiff(pixels: np.ndarray = GREY, **how: object) -> bytes:
    file = io.BytesIO()
    tifffile.imwrite(file, pixels, **({"photometric": "minisblack"} | how))
    return file.getvalue()


def described(text: str) -> bytes:
    return tiff(description=text.encode(), metadata=None)


def whole_files() -> dict[str, bytes]:
    """Good files of every container, by name with extension."""
    film = np.stack([GREY, GREY])
    buffer = io.BytesIO()
    with tifffile.TiffWriter(buffer, ome=True) as writer:
        writer.write(film, photometric="minisblack", metadata={"axes": "ZYX"})
    progressive = [cv2.IMWRITE_JPEG_PROGRESSIVE, 1]
    return {
        "plain.tif": tiff(metadata=None),
        "lzw.tif": tiff(compression="lzw"),
        "tiled.tif": tiff(compression="deflate", tile=(32, 32)),
        "big.btf": tiff(GREY16, bigtiff=True, compression="zstd"),
        "jpeg.tif": tiff(compression="jpeg"),
        "float.tif": tiff(GREY.astype(np.float32), compression="zstd"),
        "rgb.tif": tiff(RGB, photometric="rgb", compression="lzw"),
        "field.ome.tif": buffer.getvalue(),
        "imagej.tif": tiff(film, imagej=True),
        "grey.png": imagecodecs.png_encode(GREY),
        "deep.png": imagecodecs.png_encode(GREY16),
        "grey.jpg": imagecodecs.jpeg_encode(GREY, level=90),
        "colour.jpeg": cv2.imencode(".jpg", RGB, progressive)[1].tobytes(),
        "leica.lif": lif(GREY[None, None]),
        "zeiss.czi": czi([({"C": 0}, GREY)]),
    }


def bad_files() -> list[BadFile]:
    """Regular files that no picture may come of."""
    found = [
        *_cut(),
        *_cut_and_filled(),
        *_wrong_magic(),
        *_bombs(),
        *_lying_directories(),
        *_circles(),
        *_numbers(),
        *_xml(),
        *_other_files(),
    ]
    names = [one.name for one in found]
    if len(set(names)) != len(names):
        raise ValueError("two bad files have one name")
    return found


def _cut() -> Iterator[BadFile]:
    for name, data in whole_files().items():
        for number in range(8):
            at = max(1, len(data) * number // 8) if number else 5
            yield BadFile("truncated", f"cut{number}_{name}", data[:at])
        yield BadFile("truncated", f"cut8_{name}", data[:-2])


def _cut_and_filled() -> Iterator[BadFile]:
    """Given their full length before they were written. Plain TIFF is left to the pixels."""
    for name, data in whole_files().items():
        if name in ("plain.tif", "leica.lif", "zeiss.czi"):
            continue
        for part in (0.3, 0.6):
            at = int(len(data) * part)
            yield BadFile("preallocated", f"zeros{part}_{name}", data[:at] + bytes(len(data) - at))


def _wrong_magic() -> Iterator[BadFile]:
    whole = whole_files()
    for name, data in whole.items():
        yield BadFile("wrong magic", f"magic_{name}", b"\x01\x02\x03\x04" + data[4:])
    yield BadFile("wrong magic", "swapped.tif", b"MM" + whole["plain.tif"][2:])
    yield BadFile("wrong magic", "version.tif", b"II\x2c\0" + whole["plain.tif"][4:])


def png(width: int, height: int, pixels: bytes, *, bits: int = 8, extra: bytes = b"") -> bytes:
    header = struct.pack(">IIBBBBB", width, height, bits, 0, 0, 0, 0)
    return (
        b"\x89PNG\r\n\x1a\n"
        + section(b"IHDR", header)
        + extra
        + section(b"IDAT", zlib.compress(pixels, 9))
        + section(b"IEND", b"")
    )


def section(kind: bytes, body: bytes) -> bytes:
    return struct.pack(">I", len(body)) + kind + body + struct.pack(">I", zlib.crc32(kind + body))


def patched(data: bytes, **tags: tuple[int, int]) -> bytes:
    """A little-endian TIFF whose first directory has other values: name -> (tag, value)."""
    changed = bytearray(data)
    with tifffile.TiffFile(io.BytesIO(data)) as file:
        for tag, value in tags.values():
            entry = file.pages[0].tags[tag]
            struct.pack_into("<HHII", changed, entry.offset, tag, 4, 1, value)
    return bytes(changed)


WIDTH, HEIGHT, BITS, COMPRESSION, PHOTOMETRIC = 256, 257, 258, 259, 262
OFFSETS, SAMPLES, ROWS, COUNTS = 273, 277, 278, 279


def _bombs() -> Iterator[BadFile]:
    zeros = bytes(9000 * 9001)
    yield BadFile("bomb", "bomb_small_file.png", png(9000, 9000, zeros))
    yield BadFile("bomb", "bomb_huge.png", png(60_000, 60_000, bytes(1000)))
    yield BadFile("bomb", "bomb_deep.png", png(2**31 - 1, 2**31 - 1, b"", bits=16))
    lzw = tiff(compression="lzw", metadata=None)
    for side in (9000, 60_000, 2**31):
        grown = patched(lzw, w=(WIDTH, side), h=(HEIGHT, side), r=(ROWS, side))
        yield BadFile("bomb", f"bomb_{side}.tif", grown)
    flat = tiff(np.zeros((9000, 9000), np.uint8), compression="deflate", metadata=None)
    yield BadFile("bomb", "bomb_deflate.tif", flat)
    flat = tiff(np.zeros((9000, 9000), np.uint8), compression="zstd", metadata=None)
    yield BadFile("bomb", "bomb_zstd.tif", flat)
    jpeg = bytearray(imagecodecs.jpeg_encode(GREY, level=90))
    frame = jpeg.index(b"\xff\xc0")
    for side in (20_000, 65_500):
        struct.pack_into(">HH", jpeg, frame + 5, side, side)
        yield BadFile("bomb", f"bomb_{side}.jpg", bytes(jpeg))


def _lying_directories() -> Iterator[BadFile]:
    plain = tiff(metadata=None)
    lzw = tiff(compression="lzw", metadata=None)
    lies = {
        "width0": (WIDTH, 0),
        "height0": (HEIGHT, 0),
        "width_max": (WIDTH, 2**32 - 1),
        "height_max": (HEIGHT, 2**32 - 1),
        "wider": (WIDTH, 97_000),
        "higher": (HEIGHT, 65_000),
        "bits0": (BITS, 0),
        "bits1000": (BITS, 1000),
        "samples0": (SAMPLES, 0),
        "samples_many": (SAMPLES, 65_535),
        "compression": (COMPRESSION, 65_535),
        "colours": (PHOTOMETRIC, 32_844),
        "offset0": (OFFSETS, 0),
        "offset_past": (OFFSETS, 2**32 - 1),
        "count0": (COUNTS, 0),
        "count_past": (COUNTS, 2**32 - 1),
        "count_short": (COUNTS, 100),
    }
    for name, lie in lies.items():
        yield BadFile("absurd", f"plain_{name}.tif", patched(plain, lie=lie))
        # A compressed strip may decode with another colour model; all other lies must show.
        yield BadFile("absurd", f"lzw_{name}.tif", patched(lzw, lie=lie))
    for count in (0, 5000, 65_535):
        data = bytearray(plain)
        (first,) = struct.unpack_from("<I", data, 4)
        struct.pack_into("<H", data, first, count)
        yield BadFile("absurd", f"entries_{count}.tif", bytes(data))
    big = bytearray(tiff(bigtiff=True, metadata=None))
    struct.pack_into("<Q", big, 8, 2**63)
    yield BadFile("absurd", "far_directory.btf", bytes(big))


def _circles() -> Iterator[BadFile]:
    one = bytearray(tiff(metadata=None))
    with tifffile.TiffFile(io.BytesIO(one)) as file:
        page = file.pages[0]
        end = page.offset + 2 + 12 * len(page.tags)
        first = page.offset
    struct.pack_into("<I", one, end, first)
    yield BadFile("circle", "circle_of_one.tif", bytes(one))
    buffer = io.BytesIO()
    with tifffile.TiffWriter(buffer) as writer:
        for _ in range(3):
            writer.write(GREY, photometric="minisblack", metadata=None)
    three = bytearray(buffer.getvalue())
    with tifffile.TiffFile(io.BytesIO(three)) as file:
        last = file.pages[2]
        end = last.offset + 2 + 12 * len(last.tags)
        first, second = file.pages[0].offset, file.pages[1].offset
    for name, to in (("first", first), ("second", second), ("itself", last.offset)):
        struct.pack_into("<I", three, end, to)
        yield BadFile("circle", f"circle_to_{name}.tif", bytes(three))
    struct.pack_into("<I", three, end, len(three) + 100)
    yield BadFile("circle", "chain_to_nowhere.tif", bytes(three))


def _numbers() -> Iterator[BadFile]:
    for name, value in (("nan", np.nan), ("inf", np.inf), ("minus_inf", -np.inf)):
        for kind in (np.float32, np.float64, np.float16):
            pixels = GREY.astype(kind)
            pixels[3, 4] = value
            yield BadFile("not finite", f"{name}_{np.dtype(kind).name}.tif", tiff(pixels))
    yield BadFile("not finite", "too_large.tif", tiff(GREY.astype(np.float64) * 1e300))
    yield BadFile("unsupported", "complex.tif", tiff(GREY.astype(np.complex64)))


def _xml() -> Iterator[BadFile]:
    laughs = "<!DOCTYPE OME [<!ENTITY e0 'ha'>" + "".join(
        f"<!ENTITY e{n} '{f'&e{n - 1};' * 10}'>" for n in range(1, 10)
    )
    pixels = (
        '<Pixels ID="Pixels:0" DimensionOrder="XYZCT" Type="uint8" SizeX="96" SizeY="64" '
        'SizeZ="{z}" SizeC="{c}" SizeT="{t}"><TiffData/></Pixels>'
    )

    def document(image: str) -> str:
        return f'<OME xmlns="{OME}"><Image ID="Image:0">{image}</Image></OME>'

    texts = {
        "laughs": f"{laughs}]><OME><Image Name='&e9;'/></OME>",
        "outside": "<!DOCTYPE OME SYSTEM 'file:///etc/passwd'><OME></OME>",
        "unclosed": "<OME><Image></OME>",
        "cut": document(pixels.format(z=1, c=1, t=1))[:-12],
        "empty": "<OME></OME>",
        "no_pixels": document(""),
        "two_images": f'<OME xmlns="{OME}"><Image/><Image/></OME>',
        "absent_planes": document(pixels.format(z=5, c=1, t=1)),
        "absent_channels": document(pixels.format(z=1, c=4, t=1)),
        "film": document(pixels.format(z=1, c=1, t=2)),
        "zero_planes": document(pixels.format(z=0, c=1, t=1)),
        "minus_planes": document(pixels.format(z=-1, c=1, t=1)),
        "many_planes": document(pixels.format(z=10**9, c=10**9, t=1)),
        "words_for_numbers": document(pixels.format(z="many", c=1, t=1)),
        "no_order": document(pixels.format(z=1, c=1, t=1).replace("XYZCT", "ABCDE")),
        "deep": "<OME>" + "<a>" * 20_000 + "</a>" * 20_000 + "</OME>",
        "companion": f'<OME xmlns="{OME}"><BinaryOnly MetadataFile="c.ome" UUID="u"/></OME>',
        "gen5_laughs": f"{laughs.replace('OME', 'BTIImageMetaData')}]>"
        "<BTIImageMetaData>&e9;</BTIImageMetaData>",
    }
    for name, text in texts.items():
        yield BadFile("xml", f"xml_{name}.tif", described(text))


def _other_files() -> Iterator[BadFile]:
    chance = random.Random(5)
    others = {
        "empty.tif": b"",
        "empty.png": b"",
        "zeros.tif": bytes(50_000),
        "zeros.png": bytes(7),
        "words.tif": b"well A1 looks fine today\n" * 10,
        "page.jpg": b"<!DOCTYPE html><html><body>404 not found</body></html>",
        "moving.png": b"GIF89a" + bytes(90),
        "map.png": b"BM" + bytes(90),
        "paper.tif": b"%PDF-1.7\n" + bytes(90),
        "cube.tif": b"\x89HDF\r\n\x1a\n" + bytes(90),
        "packed.tif": b"PK\x03\x04" + bytes(90),
        "program.tif": b"\x7fELF" + bytes(90),
        "nikon.nd2": b"\xda\xce\xbe\x0a" + chance.randbytes(500),
        "olympus.oib": b"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1" + chance.randbytes(600),
        "no_pixels.jpg": b"\xff\xd8\xff\xd9",
        "no_pixels.png": b"\x89PNG\r\n\x1a\n" + section(b"IEND", b""),
        "late_header.png": b"\x89PNG\r\n\x1a\n" + section(b"IDAT", b"") + section(b"IEND", b""),
    }
    for name, data in others.items():
        yield BadFile("other", name, data)
    for number, magic in enumerate(
        (
            b"",
            b"II*\0",
            b"MM\0*",
            b"II+\0",
            b"\x89PNG\r\n\x1a\n",
            b"\xff\xd8\xff\xe0",
            b"\x70\0\0\0",
        )
    ):
        yield BadFile("other", f"noise{number}.tif", magic + chance.randbytes(3000))


# Names that a message, a database or a terminal may stumble over; what is in the files is good.
BAD_NAMES = (
    b"not utf-8 \xff\xfe.tif",
    b"two\nlines.tif",
    b"bell\x07 and colour \x1b[31m.tif",
    "right to left \u202etif.exe.tif".encode(),
    "zero\u200bwidth_20261102_0300.tif".encode(),
    b"x" * 251 + b".tif",
    b"y" * 236 + b"_20261102_0300.tif",
    b" leading and trailing .tif",
    b"quote'; DROP TABLE capture; --.tif",
    b"[red]markup[-].tif",
    b"%s %d {0} ${HOME}.tif",
    b"dish_20261131_2561.tif",
    b"dish_99999999_9999.tif",
    b"2611/../../etc.tif".replace(b"/", b"_"),
    b"_20261102_0300.tif",
)


def write_special(folder: Path) -> list[Path]:
    """What is not a regular file, or must not be followed or entered. Returns what was made.

    Making a device needs the superuser; where it is refused there is none.
    """
    outside = folder.parent / f"{folder.name}_outside"
    outside.mkdir()
    (outside / "good_20261102_0300.tif").write_bytes(tiff())
    made = []

    def at(name: str) -> Path:
        made.append(folder / name)
        return folder / name

    os.mkfifo(at("fifo_20261102_0300.tif"))
    with contextlib.suppress(OSError):
        os.mknod(folder / "device_20261102_0300.tif", 0o20644, os.makedev(1, 5))
        made.append(folder / "device_20261102_0300.tif")
    place = socket.socket(socket.AF_UNIX)
    here = Path.cwd()
    try:
        os.chdir(folder)  # a socket's path may have 107 bytes only
        place.bind("socket_20261102_0300.tif")
    finally:
        os.chdir(here)
        place.close()
    made.append(folder / "socket_20261102_0300.tif")
    at("dangling_20261102_0300.tif").symlink_to(folder / "missing.tif")
    at("circle_20261102_0300.tif").symlink_to(folder / "circle_20261102_0300.tif")
    at("out_20261102_0300.tif").symlink_to(outside / "good_20261102_0300.tif")
    at("out_folder").symlink_to(outside, target_is_directory=True)
    at("round").symlink_to(folder, target_is_directory=True)
    at("zero_device_20261102_0300.tif").symlink_to("/dev/zero")
    at("folder_20261102_0300.tif").mkdir()
    return made


def write_corpus(folder: Path) -> tuple[list[Path], list[Path], list[Path]]:
    """Write all of it. Returns regular bad files, good files with bad names, special files."""
    bad = []
    for one in bad_files():
        if one.data is not None:
            path = folder / one.name
            path.write_bytes(one.data)
            bad.append(path)
    named = []
    for name in BAD_NAMES:
        path = folder / os.fsdecode(name)
        path.write_bytes(tiff())
        named.append(path)
    return bad, named, write_special(folder)


if __name__ == "__main__":
    target = Path(sys.argv[1])
    target.mkdir(parents=True)
    counts = [len(group) for group in write_corpus(target)]
    sys.stdout.write(f"{counts} files in {target}\n")
