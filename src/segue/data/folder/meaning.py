"""What masks mean: from the values or colours that they hold, and a file that names the classes, to labels.

In this order: what the recipe says in [data.map]; colours; two values of which one is 0 and the other 255; values that
count up from 0; any other values, each a class. 255 is ignored, as are classes called void, unlabelled or ignore.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from segue.data.folder.class_table import ClassTable
from segue.data.folder.mask_facts import MaskFacts
from segue.data.places import Place
from segue.errors import DataError
from segue.labels import IGNORE, UNKNOWN, Colour, Labels

MOST_COLOURS = 64  # that are taken for classes when nothing names them
SHORT = 8  # values or names that a line lists


@dataclass(frozen=True)
class Seen:
    """What all masks of a split hold together.

    values: (n,) sorted; colours as 0xRRGGBB. counts: (n,) pixels of each. palette: value -> packed colour, of palette
    pictures; {} when they do not agree, which `palettes_differ` says. first_blurred: the first mask of blurred edges.
    """

    values: np.ndarray
    counts: np.ndarray
    coloured: bool
    wide: bool
    palette: Mapping[int, int]
    palettes_differ: bool
    first_blurred: Place | None


@dataclass(frozen=True)
class Meaning:
    """Labels, and how they were come by, in a few lines for people."""

    labels: Labels
    lines: tuple[str, ...]


def together(masks: Sequence[Place], facts: Sequence[MaskFacts]) -> Seen:
    """What masks hold together. Raises DataError when some hold colours and others values."""
    coloured = [one.coloured for one in facts]
    if any(coloured) and not all(coloured):
        first, other = masks[0], masks[coloured.index(not coloured[0])]
        kinds = ("colours", "values") if coloured[0] else ("values", "colours")
        raise DataError(f"{first} is a mask of {kinds[0]}, {other} one of {kinds[1]}; save all masks alike")
    total: dict[int, int] = {}
    for one in facts:
        for value, count in zip(one.values.tolist(), one.counts.tolist(), strict=True):
            total[value] = total.get(value, 0) + count
    looks: dict[int, set[int]] = {}
    for one in facts:
        for value in one.values.tolist():
            if value < len(one.palette):
                looks.setdefault(value, set()).add(one.palette[value])
    differ = any(len(colours) > 1 for colours in looks.values())
    values = sorted(total)
    return Seen(
        values=np.array(values, dtype=np.int64),
        counts=np.array([total[value] for value in values], dtype=np.int64),
        coloured=coloured[0],
        wide=any(one.wide for one in facts),
        palette={} if differ else {value: min(colours) for value, colours in looks.items()},
        palettes_differ=differ,
        first_blurred=next((mask for mask, one in zip(masks, facts, strict=True) if one.blurred), None),
    )


def meaning_of(root: Place, seen: Seen, table: ClassTable | None, names: Sequence[str] = ()) -> Meaning:
    """Labels of masks from what they hold, and from what a class table or the recipe calls the classes.

    names: class names that the recipe gives, instead of a table's. Raises DataError when they do not fit, and for masks
    whose values are no labels.
    """
    if seen.coloured:
        grey = (seen.values >> 16 == seen.values & 255) & (seen.values >> 8 & 255 == seen.values & 255)
        if grey.all() and not (table is not None and table.has_colours):
            return _of_grey_colours(root, seen, table, names)
        return _of_colours(root, seen, table, names)
    _refuse_blurred(root, seen)
    return _of_values(root, seen, table, names)


def _refuse_blurred(root: Place, seen: Seen) -> None:
    if seen.first_blurred is not None and len(seen.values) > 3:
        kind = "a JPEG" if seen.first_blurred.suffix.lower() in (".jpg", ".jpeg") else "smoothed at its edges"
        raise DataError(
            f"{seen.first_blurred}: is {kind}: masks hold {len(seen.values)} values, most of them between the labels "
            f"at an edge; save masks as PNG without smoothing, or see `segue check {root}`"
        )


# Colours


def _of_colours(root: Place, seen: Seen, table: ClassTable | None, names: Sequence[str]) -> Meaning:
    colours = [_unpacked(value) for value in seen.values.tolist()]
    if table is not None and table.has_colours:
        known = {row.colour: row for row in table.rows if row.colour is not None}
        foreign = [colour for colour in colours if colour not in known]
        if foreign:
            share = seen.counts[[colour not in known for colour in colours]].sum() / seen.counts.sum()
            raise DataError(
                f"{root}: masks hold {_several(foreign, 'colour')} that {table.path.name} does not name "
                f"({share:.2%} of all pixels); add {'it' if len(foreign) == 1 else 'them'}"
                + (f", or save {seen.first_blurred} without smoothing" if seen.first_blurred is not None else "")
            )
        rows = [(row.name, colour, row.is_void) for colour, row in known.items()]
        source = f"named in {table.path.name}"
    else:
        _refuse_blurred(root, seen)
        if len(colours) > MOST_COLOURS:
            raise DataError(
                f"{root}: masks hold {len(colours)} colours, too many to be classes; name those that are in "
                "classes.txt, a line each: 128 64 128 road"
            )
        chosen = list(names) or [row.name for row in table.rows if not row.is_void] if table else list(names)
        if chosen and len(chosen) != len(colours):
            raise DataError(
                f"{root}: masks hold {len(colours)} colours, but {len(chosen)} classes are named; write each class's "
                "colour before its name in classes.txt: 128 64 128 road"
            )
        rows = [(name, colour, False) for name, colour in zip(chosen or map(_hex, colours), colours, strict=True)]
        source = "each colour a class" + (", in the order of their red, green and blue" if chosen else "")
    counted = [(name, colour) for name, colour, void in rows if not void]
    ignored = [colour for _, colour, void in rows if void]
    labels = Labels(
        classes=_enough(root, [name for name, _ in counted]),
        values={
            **{index: index for index in range(len(counted))},
            **{len(counted) + place: IGNORE for place in range(len(ignored))},
        },
        palette=tuple(colour for _, colour in counted),
        colour_key={colour: index for index, colour in enumerate([*(colour for _, colour in counted), *ignored])},
    )
    voids = f"; {', '.join(map(_hex, ignored))} ignored" if ignored else ""
    return Meaning(labels, (f"masks of colours, {source}{voids}",))


def _of_grey_colours(root: Place, seen: Seen, table: ClassTable | None, names: Sequence[str]) -> Meaning:
    """Values that were saved three times over, as red, green and blue."""
    plain = Seen(seen.values & 255, seen.counts, False, False, {}, False, seen.first_blurred)
    _refuse_blurred(root, plain)
    meaning = _of_values(root, plain, table, names)
    one = meaning.labels
    labels = Labels(one.classes, one.values, one.palette, one.written, {(v, v, v): v for v in range(256)})
    return Meaning(labels, (f"{meaning.lines[0]} (red, green and blue alike)", *meaning.lines[1:]))


def _unpacked(value: int) -> Colour:
    return value >> 16, value >> 8 & 255, value & 255


def _hex(colour: Colour) -> str:
    return "#{:02x}{:02x}{:02x}".format(*colour)


# Values


def _of_values(root: Place, seen: Seen, table: ClassTable | None, names: Sequence[str]) -> Meaning:
    kind = "16-bit masks" if seen.wide else "palette masks" if seen.palette or seen.palettes_differ else "masks"
    values = [value for value in seen.values.tolist() if value not in (IGNORE, 65535 if seen.wide else IGNORE)]
    highest = max(values, default=0)
    if table is not None and not names and table.has_values:
        return _of_named_values(root, seen, table, kind)
    if table is not None and not names and table.has_colours and seen.palette:
        return _of_palette(root, seen, table)
    named, ignored = _names_in_order(table) if table is not None and not names else (list(names), ())
    if set(seen.values.tolist()) <= {0, IGNORE} and IGNORE in seen.values and len(named) in (0, 2):
        labels = Labels(tuple(named or ("background", "foreground")), {0: 0, IGNORE: 1})
        return Meaning(labels, (f"{kind} of 0 and 255 alone, read as {' and '.join(labels.classes)}",))
    if named:
        if highest >= len(named) + len(ignored):
            raise DataError(
                f"{root}: masks hold the value {highest}, but only {len(named)} classes are named; name what each "
                "value from 0 is, a line each, or say which value is which class in [data.map]"
            )
        order = [value for value in range(len(named) + len(ignored)) if value not in ignored]
        colours = tuple(row.colour for row in table.rows if row.colour and not row.is_void) if table else ()
        line = f"{kind} of values from 0, in the order of their names"
        return _mapped(root, seen, order, named, line, ignored, colours)
    if 3 * len(values) > highest:  # a rare class may be missing from the training masks
        if highest >= UNKNOWN:
            raise DataError(f"{root}: masks hold {len(values)} values up to {highest}, too many to be classes")
        named = [f"class {index}" for index in range(max(highest + 1, 2))]
        return _mapped(root, seen, range(len(named)), named, f"{kind} of values 0 to {highest}, each a class")
    if _steps_to_white(seen.values):
        values = seen.values.tolist()
    if len(values) > UNKNOWN:
        raise DataError(
            f"{root}: masks hold {len(values)} different values ({_several(values, 'value')}), too many to be classes; "
            "if they number things instead of kinds, save the kinds, or say which is which in [data.map]"
        )
    named = [f"value {value}" for value in values]
    return _mapped(root, seen, values, named, f"{kind} of {len(values)} values, each a class")


def _steps_to_white(values: np.ndarray) -> bool:
    """Whether values are grey levels in even steps from 0 to 255, such as 0, 85, 170, 255: 255 is a class then."""
    even = np.linspace(0, 255, len(values))
    return 3 <= len(values) <= 52 and values[-1] == 255 and bool((np.abs(values - even) <= 1).all())


def _names_in_order(table: ClassTable) -> tuple[list[str], tuple[int, ...]]:
    """Class names, and the values that are ignored, of a table without values: a line's place is its value.

    A void class before all others has no value of its own: labelme writes it so.
    """
    rows = list(table.rows)
    if rows[0].name.strip().lower() == "__ignore__":
        rows = rows[1:]
    return [row.name for row in rows if not row.is_void], tuple(place for place, row in enumerate(rows) if row.is_void)


def _of_named_values(root: Place, seen: Seen, table: ClassTable, kind: str) -> Meaning:
    known = {row.value: row for row in table.rows if row.value is not None}
    foreign = [value for value in seen.values.tolist() if value not in known and value != IGNORE]
    if foreign:
        raise DataError(
            f"{root}: masks hold {_several(foreign, 'value')} that {table.path.name} does not name; "
            f"add {'it' if len(foreign) == 1 else 'them'}, as void if such pixels are not to count"
        )
    counted = [value for value, row in known.items() if not row.is_void]
    ignored = [value for value, row in known.items() if row.is_void]
    named = [known[value].name for value in counted]
    colours = tuple(row.colour for row in known.values() if not row.is_void and row.colour is not None)
    line = f"{kind} of the values that {table.path.name} names"
    return _mapped(root, seen, counted, named, line, ignored, colours)


def _of_palette(root: Place, seen: Seen, table: ClassTable) -> Meaning:
    """Values whose palette shows the colours that a table names: the colours decide, whatever the values' order."""
    value_of = {_unpacked(colour): value for value, colour in seen.palette.items() if value != IGNORE}
    known = [row.colour for row in table.rows]
    foreign = [colour for colour in value_of if colour not in known]
    if foreign:
        raise DataError(
            f"{root}: the masks' palette has {_several(foreign, 'colour')} that {table.path.name} does not name; "
            f"add {'it' if len(foreign) == 1 else 'them'}, or leave the colours away to go by values"
        )
    free = (value for value in range(IGNORE) if value not in seen.palette)  # for classes that do not occur
    rows = [(row, value_of.get(row.colour) if row.colour else None) for row in table.rows]
    placed = [(row, next(free) if value is None else value) for row, value in rows]
    counted = [(row, value) for row, value in placed if not row.is_void]
    return _mapped(
        root,
        seen,
        [value for _, value in counted],
        [row.name for row, _ in counted],
        f"palette masks, their colours named in {table.path.name}",
        [value for row, value in placed if row.is_void],
        tuple(row.colour for row, _ in counted if row.colour is not None),
    )


def _mapped(
    root: Place,
    seen: Seen,
    values: Sequence[int],
    named: Sequence[str],
    line: str,
    ignored: Sequence[int] = (),
    colours: tuple[Colour, ...] = (),
) -> Meaning:
    """Labels of values, a class each; colours are the masks' palette, if nothing names them and it tells them apart."""
    void = [*ignored, *(value for value in (IGNORE, 65535) if value not in values and (value < 256 or seen.wide))]
    palette = colours
    if not palette and all(value in seen.palette for value in values):
        own = tuple(_unpacked(seen.palette[value]) for value in values)
        palette = own if len(set(own)) == len(own) else ()
    labels = Labels(
        _enough(root, named),
        {**{value: index for index, value in enumerate(values)}, **dict.fromkeys(void, IGNORE)},
        palette if len(palette) == len(named) else (),
    )
    occur = [value for value in void if value in seen.values]
    lines = [line + (f"; {', '.join(map(str, occur))} ignored" if occur else "")]
    if seen.palettes_differ:
        lines.append("their palettes do not agree, and are not looked at")
    return Meaning(labels, tuple(lines))


def _enough(root: Place, named: Sequence[str]) -> tuple[str, ...]:
    if len(named) < 2:
        raise DataError(
            f"{root}: masks hold {len(named)} class{'' if len(named) == 1 else 'es'} ({', '.join(named)}); "
            "two are needed: name the others in classes.txt"
        )
    return tuple(named)


def _several(values: Sequence[object], what: str) -> str:
    shown = ", ".join(str(value) for value in values[:SHORT])
    if len(values) == 1:
        return f"the {what} {shown}"
    return f"the {what}s {shown}" + (f" and {len(values) - SHORT} more" if len(values) > SHORT else "")


def of_map(values: Mapping[int, int], names: Sequence[str], table: ClassTable | None) -> Meaning:
    """Labels by the recipe's [data.map]: the smallest raw value of each class is the one that is written."""
    count = max((label for label in values.values() if label != IGNORE), default=0) + 1
    named = list(names) or (_names_in_order(table)[0] if table is not None else [])
    named = named or [f"class {index}" for index in range(max(count, 2))]
    first = {values[raw]: raw for raw in sorted(values, reverse=True) if values[raw] != IGNORE}
    return Meaning(Labels(tuple(named), dict(values), written=first), ("masks of values, mapped by [data.map]",))
