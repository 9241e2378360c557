"""TIFF and BigTIFF, with the descriptions of OME, ImageJ and instruments, by tifffile."""

from __future__ import annotations

import io
import json
import logging
import math
import zlib
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import replace
from datetime import datetime, timedelta, tzinfo
from functools import partial
from pathlib import Path
from typing import Any

import imagecodecs
import numpy as np
import numpy.typing as npt
import tifffile

from model.strips import Rows
from monitor.capture.formats import micro_manager
from monitor.capture.formats.exif import check_upright, time_from_exif
from monitor.capture.formats.ifd_chain import check_ifd_chain
from monitor.capture.formats.image import (
    MANY_ZEROS,
    ONE_EACH,
    Image,
    check_size,
    choose_channel,
    ends_as_jpeg,
    ends_in_zeros,
    grey,
    plain,
    refuse,
    sharpness_of,
)
from monitor.capture.formats.imagej import imagej_pages, imagej_pixel_size_um, imagej_settings
from monitor.capture.formats.metadata import Said, XmlRefusedError, square_pixel_um
from monitor.capture.formats.micro_manager import MicroManagerPage, page_of, pages_to_read
from monitor.capture.formats.ome_xml import Ome, ome_of
from monitor.capture.formats.tiff_rows import FileBytes, TiffRows, is_readable_by_rows
from monitor.capture.formats.vendor_tags import said_by
from monitor.capture.names.light import channel_called
from monitor.capture.names.parts import shown_name

_Pixels = npt.NDArray[Any] | Rows
# What tifffile has to say about odd files is said by our own checks, once and with the file's name.
logging.getLogger("tifffile").setLevel(logging.CRITICAL + 1)


def read_tiff(
    data: bytes | FileBytes, zone: tzinfo, channel: str | None, path: Path, large: int | None
) -> Image:
    check_ifd_chain(data)
    # tifffile would look for the other files of an OME-TIFF set; bytes have no neighbours, and
    # an open file is not asked for any.
    source = data.file if isinstance(data, FileBytes) else io.BytesIO(data)
    source.seek(0)
    decode = _decode_page if large is None else partial(_decode_large, data=data, large=large)
    with tifffile.TiffFile(source, _multifile=False) as tiff:
        tiff.pages.useframes = False
        pages: list[Any] = list(tiff.pages)
        for page in pages:
            _check_page(page, data)
        _check_kind(tiff)
        for page in pages:
            check_upright(page.tags.valueof(_ORIENTATION))
        picture = _described(tiff, pages, zone, channel, path, decode)
        if picture.pixel_size_um is None:
            # NIS-Elements writes its private tag beside any description.
            return replace(picture, pixel_size_um=_nikon_pixel_size_um(pages[0]))
        return picture


def _described(
    tiff: tifffile.TiffFile,
    pages: Sequence[Any],
    zone: tzinfo,
    channel: str | None,
    path: Path,
    decode: Callable[[Any], _Pixels],
) -> Image:
    """The picture, as the first page's description or private tag says, in this order of trust."""
    description = str(pages[0].description or "")
    name = "BigTIFF" if tiff.is_bigtiff else "TIFF"
    manager = page_of(pages[0].tags.valueof(micro_manager.TAG), zone, _summary(tiff))
    ome = ome_of(description, zone, path)
    if ome is not None:
        picture = _ome(ome, pages, channel, decode)
        return picture if manager is None else _completed(picture, manager)
    said = _said(pages[0], zone)
    if said is not None:
        # Gen5 writes a page a channel, MetaMorph a page a file.
        chosen = _pages_of_channel(pages, zone, channel) if len(pages) > 1 else [0]
        pixels = _sharpest(chosen, pages, decode)[1]
        of_channel = (_said(pages[chosen[0]], zone) or said).channel
        return Image(pixels, said.pixel_size_um, said.acquired_at, said.stage, name, of_channel)
    if manager is not None:
        return _micro_manager(tiff, pages, zone, channel, decode, name)
    acquired_at = time_from_exif(pages[0].tags.valueof(34665), zone)
    size_um = None
    if description.startswith("ImageJ="):
        settings = imagej_settings(description)
        chosen = imagej_pages(settings, len(pages), channel)
        size_um, name = imagej_pixel_size_um(settings, pages[0]), "ImageJ TIFF"
    else:
        chosen = _plain_pages(pages, channel)
    return Image(_sharpest(chosen, pages, decode)[1], size_um, acquired_at, None, name)


_ORIENTATION = 274


def _ome(
    ome: Ome, pages: Sequence[Any], channel: str | None, decode: Callable[[Any], _Pixels]
) -> Image:
    planes = ome.planes(len(pages), int(pages[0].samplesperpixel), channel)
    best = _sharpest([plane.page for plane in planes], pages, decode)
    plane = next(plane for plane in planes if plane.page == best[0])
    said = ome.said_of(plane, channel)
    return Image(
        best[1],
        said.pixel_size_um,
        said.acquired_at,
        said.stage,
        "OME-TIFF",
        said.channel,
        is_chosen=said.is_chosen,
        beside=said.beside,
    )


# --- Micro-Manager ------------------------------------------------------------------------------


def _summary(tiff: tifffile.TiffFile) -> Mapping[str, Any]:
    with suppress(Exception):  # a damaged side note does not make the pixels worse
        said = tiff.micromanager_metadata or {}
        summary = said.get("Summary")
        if isinstance(summary, Mapping):
            return summary
    return {}


def _completed(picture: Image, manager: MicroManagerPage) -> Image:
    """With what the OME-XML leaves out."""
    return replace(
        picture,
        channel=picture.channel if picture.channel.name else channel_called(manager.channel),
        pixel_size_um=picture.pixel_size_um or manager.pixel_size_um,
        acquired_at=picture.acquired_at or manager.acquired_at,
        stage=picture.stage or manager.stage,
    )


def _micro_manager(
    tiff: tifffile.TiffFile,
    pages: Sequence[Any],
    zone: tzinfo,
    channel: str | None,
    decode: Callable[[Any], _Pixels],
    name: str,
) -> Image:
    summary = _summary(tiff)
    full = _full_size_pages(pages)
    known = [
        page_of(pages[number].tags.valueof(micro_manager.TAG), zone, summary) or MicroManagerPage()
        for number in full
    ]
    chosen = [full[number] for number in pages_to_read(known, channel)]
    best, pixels = _sharpest(chosen, pages, decode)
    of = known[full.index(best)]
    return Image(
        pixels, of.pixel_size_um, of.acquired_at, of.stage, name, channel_called(of.channel)
    )


# --- pages --------------------------------------------------------------------------------------


def _said(page: Any, zone: tzinfo) -> Said | None:
    try:
        return said_by(str(page.description or ""), zone)
    except XmlRefusedError as problem:
        refuse("corrupt", f"has a description with XML that is not read ({problem})")


def _pages_of_channel(pages: Sequence[Any], zone: tzinfo, wanted: str | None) -> list[int]:
    """The pages of the wanted channel, among those of the first one's size."""
    chosen = _full_size_pages(pages)
    said = [(_said(pages[index], zone) or Said()).channel for index in chosen]
    known = list(dict.fromkeys(said))
    if len(known) == 1 and len(chosen) > 1 and not known[0].name:
        said = [replace(known[0], name=str(index + 1)) for index in chosen]
        known = said
    best = known[choose_channel(known, len(known), wanted)]
    return [index for index, of in zip(chosen, said, strict=True) if of == best]


def _check_page(page: Any, data: bytes | FileBytes) -> None:
    """Everything that a page declares must be there; nothing is decoded or allocated yet."""
    if not isinstance(page, tifffile.TiffPage):
        refuse("corrupt", "has an image directory that cannot be read")
    if page.dtype is None or not page.shaped:
        reason = "unsupported" if page.bitspersample else "corrupt"
        refuse(reason, f"has pixels of {page.bitspersample} bits of an unknown kind")
    decoded_bytes = math.prod(page.shaped) * page.dtype.itemsize
    check_size(int(page.imagelength), int(page.imagewidth), decoded_bytes, len(data))
    if page.tags.valueof(277) == 0:
        refuse("corrupt", "declares no samples per pixel")
    if page.imagedepth != 1:
        refuse("unsupported", "has three-dimensional tiles")
    offsets, byte_counts = page.dataoffsets, page.databytecounts
    expected = math.prod(page.chunked)
    if len(offsets) < expected or len(byte_counts) < expected:
        refuse("corrupt", f"has {len(offsets)} of {expected} strips or tiles")
    for offset, count in zip(offsets[:expected], byte_counts[:expected], strict=True):
        if offset <= 0 or count <= 0:
            refuse("truncated", "has strips or tiles that were never written")
        if offset + count > len(data):
            refuse("truncated", f"should have {offset + count} bytes and has {len(data)}")
        _check_end(page.compression, data, offset, offset + count)
    if page.compression == 1:
        packed = math.prod(page.shaped) * int(page.bitspersample) // 8
        if sum(byte_counts[:expected]) < packed:
            refuse("truncated", f"has {sum(byte_counts)} of {packed} bytes of pixels")


# Programs of whose pages we do not know what they are; tifffile tells them by their private tags.
_STACKS = {"is_lsm": "Zeiss LSM", "is_fluoview": "FluoView", "is_scanimage": "ScanImage"}
# MetaMorph's stacks have one directory for all planes, and a tag with a value a plane.
_METAMORPH_PLANES = 33629


def _check_kind(tiff: tifffile.TiffFile) -> None:
    first = tiff.pages.first
    name = next((name for kind, name in _STACKS.items() if getattr(tiff, kind)), None)
    planes = len(tiff.pages)
    if name is None and _METAMORPH_PLANES in first.tags:
        name, planes = "MetaMorph", int(first.tags[_METAMORPH_PLANES].count)
    if name is not None and planes > 1:
        refuse(
            "unsupported",
            f"is a stack of {planes} planes by {name}, whose axes are not read",
            "export it as OME-TIFF, one file for each field of view and each time point",
        )


_JPEG_IN_TIFF = (6, 7, 34892, 33007)


def _check_end(compression: int, data: bytes | FileBytes, start: int, end: int) -> None:
    """Of a strip or tile whose decoder would go on where it ends too early."""
    if compression in _ENDING_IN_A_MARK and not ends_as_jpeg(data[start:end]):
        refuse("truncated", "has a truncated JPEG strip or tile")
    last = max(start, end - MANY_ZEROS)
    if compression in _WITHOUT_AN_END and ends_in_zeros(data[last:end]):
        refuse("truncated", "has a strip or tile that ends in zeros")


# JPEG 2000 ends as JPEG does; what its decoder misses it leaves grey.
_ENDING_IN_A_MARK = (*_JPEG_IN_TIFF, 33003, 33004, 33005, 34712)
# WebP and JPEG XR have no mark at their end, and their decoders go on with what is there.
_WITHOUT_AN_END = (34927, 50001, 22610, 34934)


def _full_size_pages(pages: Sequence[Any]) -> list[int]:
    """Pages of the largest one's size: the others are thumbnails, labels or a pyramid."""
    whole = [index for index, page in enumerate(pages) if not int(page.subfiletype) & _NOT_WHOLE]
    if not whole:
        if pages[0].subifds:
            refuse(
                "unsupported",
                "holds only reduced copies of its image; the image itself is stored "
                "elsewhere, as in a camera's raw file",
                "export it as TIFF or PNG",
            )
        return [0]
    largest = max((pages[index] for index in whole), key=lambda one: math.prod(one.shaped[2:4]))
    return [
        index
        for index in whole
        if pages[index].shape == largest.shape and pages[index].dtype == largest.dtype
    ]


# A reduced copy of another page, or a mask.
_NOT_WHOLE = 1 | 4
# Heights of one visit are taken in one go.
_LONGEST_STACK = timedelta(minutes=5)


def _plain_pages(pages: Sequence[Any], channel: str | None) -> list[int]:
    """The pages of a file that says of its pages nothing but, perhaps, along which axes they lie.

    Several without a word are taken for heights, unless they were made one long after the other.
    """
    full = _full_size_pages(pages)
    said = _shaped(pages[0])
    if said is None:
        times = [_written_at(pages[number]) for number in full]
        known = [time for time in times if time is not None]
        if known and max(known) - min(known) > _LONGEST_STACK:
            refuse(
                "unsupported",
                f"holds {len(full)} pages that were made between {min(known)} and {max(known)}; "
                "one time point per file is read",
                ONE_EACH,
            )
        return full
    shape, axes = said
    sizes = _planes_along(shape, axes, int(pages[0].samplesperpixel))
    planes = math.prod(shape) // max(1, math.prod(pages[0].shape))
    if planes > len(full):
        refuse("truncated", f"declares {planes} planes and has {len(full)}")
    channels = sizes.get("C", 1)
    if channels == 1 or math.prod(sizes.values()) != len(full):
        return full
    wanted = choose_channel([], channels, channel)
    inner = math.prod(list(sizes.values())[list(sizes).index("C") + 1 :])
    return [number for at, number in enumerate(full) if at // inner % channels == wanted]


def _planes_along(shape: Sequence[int], axes: str, samples: int) -> dict[str, int]:
    """How many planes lie along each axis but those of a picture; empty where no axes are said."""
    if len(axes) != len(shape):
        return {}
    sizes = {axis: size for axis, size in zip(axes, shape, strict=True) if axis not in "YXS"}
    if sizes.get("T", 1) > 1:
        refuse("unsupported", f"holds {sizes['T']} time points; one per file is read", ONE_EACH)
    if any(size > 1 and axis not in "ZCQI" for axis, size in sizes.items()):
        refuse(
            "unsupported",
            f"has axes {shown_name(axes[:20])}; focal planes and channels are read",
            ONE_EACH,
        )
    if samples > 1 and "S" not in axes and math.prod(sizes.values()) > 1:
        # Three or four grey planes that were written without a word on their colours.
        refuse(
            "unsupported",
            f"has the planes of its axes {shown_name(axes[:20])} stored as the colours "
            "of one image",
            "write them as pages of grey (tifffile: photometric='minisblack')",
        )
    return sizes


def _shaped(page: Any) -> tuple[tuple[int, ...], str] | None:
    """Shape and axes of all pages, as tifffile notes them: ``{"shape": [3, 96, 128], ...}``."""
    for text in (page.description, page.description1):
        if str(text).startswith('{"shape":'):
            with suppress(ValueError, TypeError, KeyError):
                said = json.loads(text)
                return tuple(int(size) for size in said["shape"]), str(said.get("axes", ""))
    return None


def _written_at(page: Any) -> datetime | None:
    with suppress(ValueError, TypeError):
        return datetime.strptime(str(page.tags.valueof(306)), "%Y:%m:%d %H:%M:%S")  # noqa: DTZ007
    return None


def _nikon_pixel_size_um(page: Any) -> float | None:
    """NIS-Elements keeps the side of a pixel, um, in a private tag of one double."""
    tag = page.tags.get(65326)
    if tag is None or tag.count != 1 or int(tag.dtype) != 12:
        return None
    return square_pixel_um(float(tag.value), None)


def _sharpest(
    chosen: Sequence[int], pages: Sequence[Any], decode: Callable[[Any], _Pixels]
) -> tuple[int, _Pixels]:
    """Number and grey pixels of the sharpest of the chosen pages."""
    best = chosen[0], decode(pages[chosen[0]])
    if len(chosen) == 1:
        return best
    best_sharpness = sharpness_of(best[1])
    for index in chosen[1:]:
        pixels = decode(pages[index])
        sharpness = sharpness_of(pixels)
        if sharpness > best_sharpness or pixels.shape != best[1].shape:
            best, best_sharpness = (index, pixels), sharpness
    return best


def _decode_large(page: Any, data: bytes | FileBytes, large: int) -> _Pixels:
    """A page of a large picture is left in its file; what can be told before is checked."""
    if page.imagelength * page.imagewidth <= large or not is_readable_by_rows(page):
        return _decode_page(page)
    _check_colours(page)
    return TiffRows(page, data, partial(_finish, page=page))


def _decode_page(page: Any) -> npt.NDArray[Any]:
    _check_colours(page)
    decoded = page.asarray(squeeze=False, maxworkers=1)  # (planes, 1, H, W, samples)
    if int(page.photometric) == 2 and decoded.shape[0] > 1:
        _check_one_picture(decoded[:3, 0, :, :, 0])
    decoded = decoded[0, 0] if decoded.shape[0] == 1 else np.moveaxis(decoded[:, 0, :, :, 0], 0, -1)
    return _finish(decoded, page)


# Colours of one picture in transmitted light are all but the same.
_ALIKE = 0.5
_LOOKED_AT = 512


def _check_one_picture(planes: npt.NDArray[Any]) -> None:
    """planes : (3, H, W), red, green and blue as the file says

    Three or four grey pictures in one array are written as the colours of one by common libraries,
    unless they are told otherwise. Their mean would show none of them.
    """
    step = max(1, max(planes.shape[1:]) // _LOOKED_AT)
    some = planes[:, ::step, ::step].reshape(len(planes), -1).astype(np.float64)
    some = some[some.std(axis=1) > 0]  # an empty colour says nothing
    if len(some) > 1 and np.corrcoef(some).min() < _ALIKE:
        refuse(
            "unsupported",
            "calls three planes red, green and blue that show different things; they are "
            "likely channels, focal planes or times written without saying so",
            ONE_EACH,
        )


def _check_colours(page: Any) -> None:
    photometric, samples = int(page.photometric), int(page.samplesperpixel)
    if photometric not in (0, 1, 2, 3, 6):
        refuse("unsupported", f"has colours of kind {page.photometric!r}")
    if photometric in (2, 6) and samples < 3:
        refuse("corrupt", f"declares colour with {samples} samples per pixel")
    if photometric == 6 and page.compression not in _JPEG_IN_TIFF:
        refuse("unsupported", "has YCbCr colours without JPEG compression")
    if photometric == 0 and page.dtype.kind == "f":
        refuse("unsupported", "has floating-point pixels with white as zero")
    if page.compression in _DEFLATE:
        _check_deflate(page)


def _finish(decoded: npt.NDArray[Any], page: Any) -> npt.NDArray[Any]:
    """(h, W, samples) as they are stored -> (h, W) grey, row by row."""
    photometric = int(page.photometric)
    if photometric == 3:
        return _from_palette(decoded[:, :, 0], page)
    if photometric in (0, 1):
        decoded = decoded[:, :, 0]
    pixels = plain(grey(decoded))
    bits = int(page.bitspersample)
    if pixels.dtype == np.uint8 and 1 < bits < 8:
        pixels = (pixels.astype(np.uint16) * 255 // (2**bits - 1)).astype(np.uint8)
    if photometric == 0:
        if pixels.dtype == np.float32:
            refuse("unsupported", "has floating-point pixels with white as zero")
        top = 2**bits - 1 if 8 < bits < 16 else np.iinfo(pixels.dtype).max
        pixels = pixels.dtype.type(top) - pixels
    return pixels


_DEFLATE = (8, 32946)


def _check_deflate(page: Any) -> None:
    """zlib's checksum lies past the last pixel, where the decoder of the pixels stops reading."""
    file = page.parent.filehandle
    decoded_bytes = math.prod(page.chunks) * page.dtype.itemsize
    for offset, count in zip(page.dataoffsets, page.databytecounts, strict=False):
        file.seek(offset)
        rest = file.read(count)
        # In half the time, where all is well; what is not can only be told apart by zlib.
        with suppress(imagecodecs.DeflateError):
            imagecodecs.deflate_decode(rest, out=decoded_bytes)
            continue
        stream = zlib.decompressobj()
        try:
            while rest and not stream.eof:
                stream.decompress(rest, 1 << 20)
                rest = stream.unconsumed_tail
        except zlib.error as problem:
            refuse("corrupt", f"has damaged pixels ({problem})")
        if not stream.eof:
            refuse("truncated", "has a truncated strip or tile")


def _from_palette(indices: npt.NDArray[Any], page: Any) -> npt.NDArray[Any]:
    colours = page.colormap
    if colours is None or indices.dtype not in (np.uint8, np.uint16):
        refuse("corrupt", "is a palette image without a palette")
    colours = np.asarray(colours, dtype=np.uint16)
    if colours.ndim != 2 or colours.shape[0] != 3 or indices.max() >= colours.shape[1]:
        refuse("corrupt", "has a palette that does not fit its pixels")
    table = grey(np.ascontiguousarray(colours.T)[None])[0]
    # Palettes hold 16-bit values; some writers fill in 8-bit ones.
    if indices.dtype == np.uint8:
        table = table.astype(np.uint8) if colours.max() < 256 else (table >> 8).astype(np.uint8)
    return np.ascontiguousarray(table[indices])
