"""Class names, colours and the map between a data set's own label values and classes.

The rules are in one place: a label value is turned into a class once, when a mask is read, and turned back once, when a
mask is written. Everything in between speaks of classes 0..K-1 and of `IGNORE`.
"""

from __future__ import annotations

import colorsys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import lru_cache

import numpy as np

IGNORE = 255
"""The class of pixels that no loss and no measure counts."""

UNKNOWN = 254  # a value that the map does not hold, between reading and refusing it

Colour = tuple[int, int, int]


class LabelError(ValueError):
    """A mask holds a value, or a colour, that the label map does not know."""

    def __init__(self, value: int | Colour, row: int, column: int) -> None:
        kind = "label" if isinstance(value, int) else "colour"
        super().__init__(f"pixel ({row}, {column}) has {kind} {value}, which the label map does not hold")
        self.value, self.row, self.column = value, row, column


def distinct_colours(count: int) -> tuple[Colour, ...]:
    """`count` colours that stay apart: hues by the golden angle, in three rings of lightness and saturation."""
    rings = ((0.62, 0.95), (0.85, 0.65), (0.45, 0.75))  # (saturation, value)
    colours = []
    for index in range(count):
        saturation, value = rings[index % len(rings)]
        red, green, blue = colorsys.hsv_to_rgb((index * 0.381966) % 1.0, saturation, value)
        colours.append((round(red * 255), round(green * 255), round(blue * 255)))
    return tuple(colours)


@dataclass(frozen=True)
class Labels:
    """What the classes of a data set are called, how they look, and which values its files use for them.

    classes: K names, in the order of the network's outputs.
    values: raw label value -> class, or `IGNORE`. Without it, values are classes and 255 is ignored.
    palette: K colours, for pictures and palette PNGs; distinct ones are made up where it is absent.
    written: class -> the raw value that is written for it, where several raw values make one class; of several that
    mean `IGNORE`, the smallest is written, unless `IGNORE` is given one here as well.
    colour_key: colour -> raw value, where masks are pictures whose exact colours stand for raw values.
    mirror: class -> the class that it becomes when a picture is mirrored (a left arm is then a right arm), as a tuple
    of K classes; () where mirroring changes none.
    """

    classes: tuple[str, ...]
    values: Mapping[int, int] = field(default_factory=dict)
    palette: tuple[Colour, ...] = ()
    written: Mapping[int, int] = field(default_factory=dict)
    colour_key: Mapping[Colour, int] = field(default_factory=dict)
    mirror: tuple[int, ...] = ()

    def __post_init__(self) -> None:
        count = len(self.classes)
        if count < 2:
            raise ValueError(f"a data set needs at least 2 classes, this one names {count}: {list(self.classes)}")
        if count > UNKNOWN:
            raise ValueError(f"{count} classes do not fit: targets are 8-bit, {IGNORE} is ignored, {UNKNOWN} unknown")
        if not self.values:
            object.__setattr__(self, "values", {**{k: k for k in range(count)}, IGNORE: IGNORE})
        for raw, label in self.values.items():
            if not (0 <= label < count or label == IGNORE):
                raise ValueError(f"label map: value {raw} is mapped to class {label}, but there are {count} classes")
            if not 0 <= raw <= 65535:
                raise ValueError(f"label map: value {raw} is not in 0..65535")
        for colour, raw in self.colour_key.items():
            if not 0 <= raw < 65535 or not all(0 <= channel <= 255 for channel in colour):
                raise ValueError(f"colour key: {colour} stands for {raw}: it must be 8-bit colour to 0..65534")
        if not self.palette:
            object.__setattr__(self, "palette", distinct_colours(count))
        if len(self.palette) != count:
            raise ValueError(f"the palette has {len(self.palette)} colours for {count} classes")
        written = dict(self.written)
        for label in range(count):
            raws = [raw for raw, mapped in sorted(self.values.items()) if mapped == label]
            if len(raws) > 1 and label not in written:
                raise ValueError(
                    f"the values {raws} all mean class {label} ({self.classes[label]}): "
                    "say in `written` which one masks are written with"
                )
            written.setdefault(label, raws[0] if raws else label)
        object.__setattr__(self, "written", written)
        if self.mirror and (
            sorted(self.mirror) != list(range(count)) or any(self.mirror[k] != i for i, k in enumerate(self.mirror))
        ):
            raise ValueError(
                f"mirror {list(self.mirror)}: it must pair the classes 0..{count - 1}, each with itself or one other"
            )

    @classmethod
    def from_table(
        cls, table: str, *, ignored: Sequence[int] = (), shift: int = 0, mirror: tuple[int, ...] = ()
    ) -> Labels:
        """Labels from a table in plain text: raw value, red, green, blue and name, a line for each class.

        ignored: raw values that mean `IGNORE`.
        shift: added to the raw values of the table, where another edition of the data set counts from elsewhere.
        """
        rows = [line.split(maxsplit=4) for line in table.strip().splitlines()]
        return cls(
            classes=tuple(name.strip() for *_, name in rows),
            values={
                **{int(raw) + shift: index for index, (raw, *_) in enumerate(rows)},
                **dict.fromkeys(ignored, IGNORE),
            },
            palette=tuple((int(red), int(green), int(blue)) for _, red, green, blue, _ in rows),
            mirror=mirror,
        )

    @property
    def num_classes(self) -> int:
        """K."""
        return len(self.classes)

    @property
    def ignored_values(self) -> tuple[int, ...]:
        """The raw values that mean `IGNORE`, smallest first."""
        return tuple(sorted(raw for raw, label in self.values.items() if label == IGNORE))

    def read(self, raw: np.ndarray) -> np.ndarray:
        """Raw values (H, W), any integer type, or colours (H, W, 3) uint8 -> classes (H, W) uint8.

        Raises `LabelError` with the first pixel whose value or colour the map does not hold.
        """
        if raw.ndim == 3:
            raw = self._values_of(raw)
        if raw.dtype == np.uint8:
            # Eight bits go through bytes.translate, which is several times as fast as indexing a table.
            translated = bytearray(np.ascontiguousarray(raw)).translate(self._byte_table())
            labels = np.frombuffer(translated, dtype=np.uint8).reshape(raw.shape)
        else:
            table = np.full(1 << 16, UNKNOWN, dtype=np.uint8)
            table[list(self.values)] = list(self.values.values())
            in_range = (raw >= 0) & (raw < 1 << 16)
            labels = np.where(in_range, table[np.where(in_range, raw, 0)], UNKNOWN).astype(np.uint8)
        unknown = labels == UNKNOWN
        if unknown.any():
            row, column = np.argwhere(unknown)[0]
            raise LabelError(int(raw[row, column]), int(row), int(column))
        return labels

    def _values_of(self, colours: np.ndarray) -> np.ndarray:
        """Colours (H, W, 3) uint8 -> raw values (H, W) uint16, by the colour key."""
        values = _colour_table(tuple(self.colour_key.items()))[packed(colours)]
        unknown = values == 0
        if unknown.any():
            row, column = (int(place) for place in np.argwhere(unknown)[0])
            red, green, blue = colours[row, column].tolist()
            raise LabelError((red, green, blue), row, column)
        return values - 1

    def _byte_table(self) -> bytes:
        table = np.full(256, UNKNOWN, dtype=np.uint8)
        for raw, label in self.values.items():
            if raw < 256:
                table[raw] = label
        return table.tobytes()

    def write(self, labels: np.ndarray) -> np.ndarray:
        """Classes (H, W) -> the data set's own values, uint8 or, where they need it, uint16; or its colours (H, W, 3).

        `IGNORE` becomes the smallest ignored value if `written` says nothing else, or 255 where the map has none; among
        colours, black.
        """
        ignored = self.ignored_values[0] if self.ignored_values else IGNORE
        table = np.full(256, ignored, dtype=np.uint16)
        table[list(self.written)] = list(self.written.values())
        raw = table[labels]
        if self.colour_key:
            colours = np.zeros((1 << 16, 3), dtype=np.uint8)
            colours[list(self.colour_key.values())] = list(self.colour_key)
            return colours[raw]
        return raw.astype(np.uint8) if raw.max(initial=0) <= 255 else raw

    def mirrored(self, labels: np.ndarray) -> np.ndarray:
        """The classes (H, W) of a mirrored picture: left is right, for the classes that have sides as well."""
        flipped = labels[:, ::-1]
        if not self.mirror:
            return flipped
        table = np.arange(256, dtype=np.uint8)
        table[: self.num_classes] = self.mirror
        return table[flipped]

    def colours(self, labels: np.ndarray) -> np.ndarray:
        """Classes (H, W) -> RGB (H, W, 3) uint8; ignored pixels are black."""
        table = np.zeros((256, 3), dtype=np.uint8)
        table[: self.num_classes] = self.palette
        return table[labels]

    def png_palette(self) -> list[int]:
        """The 768 numbers of a palette PNG whose indices are raw values (those below 256)."""
        table = np.zeros((256, 3), dtype=np.uint8)
        for label, raw in self.written.items():
            if raw < 256 and label != IGNORE:
                table[raw] = self.palette[label]
        return [int(number) for number in table.reshape(-1)]

    def to_dict(self) -> dict[str, object]:
        """Plain values, for JSON; `from_dict` reads them back."""
        return {
            "classes": list(self.classes),
            "values": {str(raw): label for raw, label in self.values.items()},
            "palette": [list(colour) for colour in self.palette],
            "written": {str(label): raw for label, raw in self.written.items()},
            "colour_key": [[*colour, raw] for colour, raw in self.colour_key.items()],
            "mirror": list(self.mirror),
        }

    @classmethod
    def from_dict(cls, mapping: Mapping[str, object]) -> Labels:
        """The inverse of `to_dict`."""

        def numbers(key: str) -> dict[int, int]:
            table = mapping.get(key, {})
            assert isinstance(table, Mapping)
            return {int(name): int(value) for name, value in table.items()}

        classes, palette, key = mapping["classes"], mapping.get("palette", ()), mapping.get("colour_key", ())
        mirror = mapping.get("mirror", ())
        assert isinstance(classes, Sequence)
        assert isinstance(palette, Sequence)
        assert isinstance(key, Sequence)
        assert isinstance(mirror, Sequence)
        return cls(
            classes=tuple(str(name) for name in classes),
            values=numbers("values"),
            palette=tuple((int(red), int(green), int(blue)) for red, green, blue in palette),
            written=numbers("written"),
            colour_key={(int(red), int(green), int(blue)): int(raw) for red, green, blue, raw in key},
            mirror=tuple(int(label) for label in mirror),
        )


def packed(colours: np.ndarray) -> np.ndarray:
    """Colours (..., 3) uint8 -> one number for each, 0xRRGGBB, uint32."""
    padded = np.zeros((*colours.shape[:-1], 4), dtype=np.uint8)
    padded[..., 2::-1] = colours
    return padded.view("<u4")[..., 0]


@lru_cache(maxsize=8)
def _colour_table(key: tuple[tuple[Colour, int], ...]) -> np.ndarray:
    """Packed colour -> raw value + 1, and 0 for colours without one; memory is touched only where colours are."""
    table = np.zeros(1 << 24, dtype=np.uint16)
    for (red, green, blue), raw in key:
        table[red << 16 | green << 8 | blue] = raw + 1
    return table
