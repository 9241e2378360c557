"""Small LIF, CZI and ND2 files, written by hand: no library writes them."""

from __future__ import annotations

import struct

import imagecodecs
import numpy as np

# Where the stage of the ND2 files stood, um.
STAGE = {"X": 1200.5, "Y": -350.25, "Z": 12.0}


def lif(planes: np.ndarray, *, pixel_size_um: float = 0.65, images: int = 1) -> bytes:
    """A LIF file of uint8 planes, (C, Z, H, W)."""
    channels, heights, rows, columns = planes.shape

    def dimension(number: int, count: int, step: int, length_m: float) -> str:
        return (
            f'<DimensionDescription DimID="{number}" NumberOfElements="{count}" Origin="0" '
            f'Length="{length_m!r}" Unit="m" BitInc="0" BytesInc="{step}"/>'
        )

    plane = rows * columns
    channel = "".join(
        '<ChannelDescription DataType="0" ChannelTag="0" Resolution="8" '
        'NameOfMeasuredQuantity="" Min="0" Max="255" Unit="" LUTName="Gray" IsLUTInverted="0" '
        f'BytesInc="{number * heights * plane}" BitInc="0"/>'
        for number in range(channels)
    )
    dimensions = dimension(1, columns, 1, pixel_size_um * 1e-6 * (columns - 1))
    dimensions += dimension(2, rows, columns, pixel_size_um * 1e-6 * (rows - 1))
    if heights > 1:
        dimensions += dimension(3, heights, plane, 1e-5)
    elements = "".join(
        f'<Element Name="field{number}" UniqueID="u{number}"><Data><Image>'
        f"<ImageDescription><Channels>{channel}</Channels><Dimensions>{dimensions}</Dimensions>"
        '</ImageDescription><TimeStampList NumberOfTimeStamps="1">'
        "1dd1234aabbccdd</TimeStampList></Image></Data>"
        f'<Memory Size="{planes.size}" MemoryBlockID="MemBlock_{number}"/></Element>'
        for number in range(images)
    )
    xml = (
        '<LMSDataContainerHeader Version="2"><Element Name="run.lif" UniqueID="r"><Data/>'
        f'<Memory Size="0" MemoryBlockID="MemBlock_r"/><Children>{elements}</Children></Element>'
        "</LMSDataContainerHeader>"
    ).encode("utf-16-le")
    file = struct.pack("<IIBI", 0x70, len(xml) + 5, 0x2A, len(xml) // 2) + xml
    for number in range(images):
        name = f"MemBlock_{number}".encode("utf-16-le")
        file += struct.pack(
            "<IIBQBI", 0x70, len(name) + 14, 0x2A, planes.size, 0x2A, len(name) // 2
        )
        file += name + planes.astype(np.uint8).tobytes()
    return file


CZI_KINDS = {("uint8", 2): 0, ("uint16", 2): 1, ("float32", 2): 2, ("uint8", 3): 3}
CZI_KINDS |= {("uint16", 3): 4}


def _stored(tile: np.ndarray) -> bytes:
    """As CZI has it in memory: blue first."""
    return (tile if tile.ndim == 2 else tile[:, :, ::-1]).tobytes()


def _halves_apart(tile: np.ndarray) -> bytes:
    return np.frombuffer(_stored(tile), np.uint8).reshape(-1, 2).T.tobytes()


CZI_PACKINGS = {
    # name: (number of the compression, from pixels to what is stored)
    "plain": (0, _stored),
    "lzw": (2, lambda tile: imagecodecs.lzw_encode(_stored(tile))),
    "jpeg xr": (4, lambda tile: imagecodecs.jpegxr_encode(tile, level=1.0)),
    "zstd0": (5, lambda tile: imagecodecs.zstd_encode(_stored(tile))),
    "zstd1": (6, lambda tile: b"\3\1\0" + imagecodecs.zstd_encode(_stored(tile))),
    "zstd1, halves apart": (
        6,
        lambda tile: b"\3\1\1" + imagecodecs.zstd_encode(_halves_apart(tile)),
    ),
    "zstd1, short header": (6, lambda tile: b"\1" + imagecodecs.zstd_encode(_stored(tile))),
    "zstd1, unknown header": (6, lambda tile: b"\7\1\1" + bytes(20)),
    "of a camera": (100, _stored),
}


def czi(
    tiles: list[tuple[dict[str, int], np.ndarray]],
    *,
    pixel_size_um: float = 0.65,
    channels: tuple[str, ...] = ("Phase",),
    packing: str = "plain",
) -> bytes:
    """A CZI file of tiles: ({"X": start, "Y": ..., "Z": ..., "C": ..., "S": ...}, (H, W[, RGB])).

    packing : one of `CZI_PACKINGS`; the tiles that libCZI writes of the same pixels have the same
        headers
    """
    compression, pack = CZI_PACKINGS[packing]

    def segment(kind: bytes, body: bytes) -> bytes:
        return struct.pack("<16sqq", kind, len(body), len(body)) + body

    def entry(where: dict[str, int], tile: np.ndarray, position: int) -> bytes:
        sizes = {"X": tile.shape[1], "Y": tile.shape[0]}
        starts = {"X": 0, "Y": 0} | where
        kind = CZI_KINDS[tile.dtype.name, tile.ndim]
        body = struct.pack(
            "<2siqiiBB4si", b"DV", kind, position, 0, compression, 0, 0, b"", len(starts)
        )
        for axis, start in starts.items():
            size = sizes.get(axis, 1)
            body += struct.pack("<4siifi", axis.encode(), start, size, float(start), size)
        return body

    named = "".join(
        f'<Channel Id="Channel:{number}" Name="{name}"/>' for number, name in enumerate(channels)
    )
    distances = "".join(
        f'<Distance Id="{axis}"><Value>{pixel_size_um * 1e-6!r}</Value></Distance>' for axis in "XY"
    )
    xml = (
        "<ImageDocument><Metadata><Information><Image>"
        "<AcquisitionDateAndTime>2026-11-02T03:00:00.1234567Z</AcquisitionDateAndTime>"
        f"<Dimensions><Channels>{named}</Channels></Dimensions></Image></Information>"
        f"<Scaling><Items>{distances}</Items></Scaling></Metadata></ImageDocument>"
    ).encode()
    metadata = segment(
        b"ZISRAWMETADATA", struct.pack("<ii", len(xml), 0) + bytes(248) + xml + bytes(7)
    )
    header_bytes = 32 + 512
    file = bytes(header_bytes) + metadata
    entries = b""
    for where, tile in tiles:
        described = entry(where, tile, len(file))
        entries += described
        packed = pack(tile)
        body = struct.pack("<iiq", 0, 0, len(packed)) + described
        body += bytes(max(240 - len(described), 0)) + packed
        file += segment(b"ZISRAWSUBBLOCK", body)
    directory_at = len(file)
    file += segment(b"ZISRAWDIRECTORY", struct.pack("<i", len(tiles)) + bytes(124) + entries)
    header = struct.pack(
        "<iiii16s16siqqiq", 1, 0, 0, 0, b"", b"", 0, directory_at, header_bytes, 0, 0
    )
    return segment(b"ZISRAWFILE", header.ljust(512, b"\0")) + file[header_bytes:]


def nd2(
    frames: list[np.ndarray | None],
    *,
    pixel_size_um: float | None = 0.65,
    channels: tuple[str, ...] = ("Phase",),
    julian_day: float | None = None,
) -> bytes:
    """An ND2 file of uint8 frames, one a height; None is a frame that was not written.

    frames : (H, W), or (H, W, C) with several channels. Version 3: chunks and a map of them.
    """
    shape = next(frame.shape[:2] for frame in frames if frame is not None)
    places: dict[bytes, tuple[int, int]] = {}
    file = b""

    def named(kind: int, name: str, value: bytes) -> bytes:
        text = (name + "\0").encode("utf-16-le")
        return struct.pack("<BB", kind, len(name) + 1) + text + value

    def number(name: str, value: int) -> bytes:
        return named(3, name, struct.pack("<I", value))

    def level(name: str, items: list[bytes]) -> bytes:
        body = b"".join(items)
        head = named(11, name, b"")
        length = len(head) + 12 + len(body)
        return head + struct.pack("<IQ", len(items), length) + body + bytes(8 * len(items))

    def chunk(name: bytes, data: bytes, reserve: int) -> None:
        nonlocal file
        places[name] = (len(file), len(data))
        file += struct.pack("<IIQ", 0x0ABECEDA, reserve, len(data)) + name.ljust(reserve, b"\0")
        file += data

    chunk(b"ND2 FILE SIGNATURE CHUNK NAME01!", b"Ver3.0".ljust(64, b"\0"), 32)
    places.clear()
    attributes = {
        "uiWidth": shape[1],
        "uiWidthBytes": shape[1] * len(channels),
        "uiHeight": shape[0],
        "uiComp": len(channels),
        "uiBpcInMemory": 8,
        "uiBpcSignificant": 8,
        "uiSequenceCount": len(frames),
        "eCompression": 2,
    }
    said = level("SLxImageAttributes", [number(name, one) for name, one in attributes.items()])
    chunk(b"ImageAttributesLV!", said, 80)
    planes = [
        level(
            f"a{n}",
            [
                named(8, "sDescription", (name + "\0").encode("utf-16-le")),
                level("pFluorescentProbe", [number("m_uiColor", 1)]),
            ],
        )
        for n, name in enumerate(channels)
    ]
    about = [
        named(1, "bCalibrated", struct.pack("<B", pixel_size_um is not None)),
        named(6, "dCalibration", struct.pack("<d", pixel_size_um or 0.0)),
        *(named(6, f"d{axis}Pos", struct.pack("<d", at)) for axis, at in STAGE.items()),
        *([] if julian_day is None else [named(6, "dTimeAbsolute", struct.pack("<d", julian_day))]),
        level("sPicturePlanes", [number("uiCount", len(planes)), level("sPlaneNew", planes)]),
    ]
    for index in range(len(frames)):
        chunk(f"ImageMetadataSeqLV|{index}!".encode(), level("SLxPictureMetadata", about), 80)
    if len(frames) > 1:
        count = number("uiCount", len(frames))
        stack = level("SLxExperiment", [number("eType", 4), level("uLoopPars", [count])])
        chunk(b"ImageMetadataLV!", stack, 80)
    for index, frame in enumerate(frames):
        if frame is not None:
            data = bytes(8) + frame.astype(np.uint8).tobytes()
            chunk(f"ImageDataSeq|{index}!".encode(), data, 4072)
    chunk(b"CustomData|AcqTimesCache!", struct.pack(f"<{len(frames)}d", *range(len(frames))), 80)
    at = len(file)
    table = b"".join(name + struct.pack("<QQ", *place) for name, place in places.items())
    table += b"ND2 CHUNK MAP SIGNATURE 0000001!" + struct.pack("<Q", at)
    file += struct.pack("<IIQ", 0x0ABECEDA, 32, len(table)) + b"ND2 FILEMAP SIGNATURE NAME 0001!"
    return file + table
