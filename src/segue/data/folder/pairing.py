"""Which mask belongs to which picture, by their names; and what is left over, for whoever wants to know of it."""

from __future__ import annotations

import re
import zlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from unicodedata import normalize

from segue.data.places import Place, files_below
from segue.data.source import MASK_SUFFIXES, Pair
from segue.errors import DataError
from segue.reading import IMAGE_SUFFIXES

IMAGE_WORDS = ("image", "img", "im", "sat", "rgb", "leftImg8bit")
MASK_WORDS = (
    "mask",
    "masks",
    "label",
    "labels",
    "gt",
    "seg",
    "segmentation",
    "annotation",
    "groundtruth",
    "(?:gtFine_)?label(?:Train)?Ids",
    "(?-i:[LP])",
)
LOSSY = (".jpg", ".jpeg", ".webp")  # of two masks of one name, the other one is meant


@dataclass(frozen=True)
class Listing:
    """The pictures of a split with their masks, and what has no partner.

    where: the folders they are from, for people. bare: pictures without a mask. orphans: masks without a picture.
    clashes: files whose name, but for the suffix, another one has already.
    """

    where: str
    pairs: tuple[Pair, ...]
    bare: tuple[Place, ...] = ()
    orphans: tuple[Place, ...] = ()
    clashes: tuple[tuple[Place, Place], ...] = ()

    def whole(self) -> tuple[Pair, ...]:
        """The pairs. Raises DataError that names the first file which is left over."""
        for other, kept in self.clashes:
            raise DataError(f"{other}: has the same name as {kept.name}; one of the two must go")
        for image in self.bare:
            raise DataError(
                f"{image}: has no mask in {self.where}{_others(self.bare)}; add it, or take the picture out"
            )
        for mask in self.orphans:
            raise DataError(
                f"{mask}: has no picture in {self.where}{_others(self.orphans)}; add the picture, or take the mask out"
            )
        return self.pairs

    def part(self, keep: Callable[[str], bool]) -> Listing:
        """The pairs whose names are to be kept; what is left over stays."""
        return replace(self, pairs=tuple(pair for pair in self.pairs if keep(pair.name)))


def _others(left: Sequence[Place]) -> str:
    count = len(left) - 1
    return f", nor {'has 1 other' if count == 1 else f'have {count} others'}" if count else ""


def in_validation(name: str) -> bool:
    """Whether a picture of a folder without a validation split belongs to it: a fifth of all names, by their CRC-32.

    The rule looks at the name alone, so a picture stays on its side when others come or go.
    """
    return zlib.crc32(name.encode()) % 5 == 0


def pair_folders(images: Place, masks: Place) -> Listing:
    """The pictures of one folder and the masks of another.

    Names without suffix are compared first, then names without words such as `_mask`, `_L` or `img_`. Raises DataError
    when there are no pictures.
    """
    where = f"{images} and {masks}"
    pictures, clashes = files_by_stem(images, IMAGE_SUFFIXES)
    found, more = files_by_stem(masks, MASK_SUFFIXES)
    if not pictures:
        raise DataError(f"{images}: holds no pictures ({', '.join(IMAGE_SUFFIXES)})")
    return _paired(where, pictures, found, clashes + tuple(one for one in more if one[0].suffix.lower() not in LOSSY))


def pair_mixed(folder: Place) -> Listing:
    """Pictures and masks in one folder: `a.jpg` with `a_mask.png`, or with `a.png`."""
    pictures: dict[str, Place] = {}
    masks: dict[str, Place] = {}
    files = list(_pictures_in(folder, {*IMAGE_SUFFIXES, *MASK_SUFFIXES}))
    photographs = {stem for stem, file in files if file.suffix.lower() in (".jpg", ".jpeg")}
    for stem, file in files:
        second = stem in photographs and file.suffix.lower() not in LOSSY
        is_mask = second or (bare_name(stem, MASK_WORDS) != stem and bare_name(stem, IMAGE_WORDS) == stem)
        (masks if is_mask and file.suffix.lower() in MASK_SUFFIXES else pictures).setdefault(stem, file)
    return _paired(str(folder), pictures, masks, ())


def _paired(
    where: str, pictures: dict[str, Place], masks: dict[str, Place], clashes: tuple[tuple[Place, Place], ...]
) -> Listing:
    by_bare_name: dict[str, str] = {}
    for stem in masks:
        by_bare_name.setdefault(bare_name(stem, MASK_WORDS), stem)
    pairs, bare, used = [], [], set()
    for stem, image in pictures.items():
        names = (stem, by_bare_name.get(stem), by_bare_name.get(bare_name(stem, IMAGE_WORDS)))
        mask = next((name for name in names if name in masks and name not in used), None)
        if mask is None:
            bare.append(image)
        else:
            used.add(mask)
            pairs.append(Pair(stem, image, masks[mask]))
    orphans = tuple(place for stem, place in masks.items() if stem not in used)
    return Listing(where, tuple(pairs), tuple(bare), orphans, clashes)


def bare_name(stem: str, words: Sequence[str]) -> str:
    """A name without a word that only says what kind of file it is: `a_mask`, `mask_a` and `mask7` are a, a and 7."""
    folder, slash, name = stem.rpartition("/")
    either = "|".join(words)
    match = re.fullmatch(rf"(?:(?:{either})(?:[-_. ]|(?=\d)))?(.+?)(?:[-_. ](?:{either}))?", name, re.IGNORECASE)
    return folder + slash + (match[1] if match else name)


def files_by_stem(folder: Place, suffixes: Sequence[str]) -> tuple[dict[str, Place], tuple[tuple[Place, Place], ...]]:
    """The files below a folder by their way from it without suffix; and those whose way another one has already."""
    found: dict[str, Place] = {}
    clashes = []
    for stem, file in _pictures_in(folder, set(suffixes)):
        if stem not in found:
            found[stem] = file
        elif found[stem].suffix.lower() in LOSSY and file.suffix.lower() not in LOSSY:
            clashes.append((found[stem], file))
            found[stem] = file
        else:
            clashes.append((file, found[stem]))
    return found, tuple(clashes)


def _pictures_in(folder: Place, suffixes: set[str]) -> list[tuple[str, Place]]:
    """The pictures below a folder, by their way from it without suffix.

    An accented letter is one character there, whichever way the file has it: macOS takes letter and accent for two.
    """
    return [
        (normalize("NFC", way.removesuffix(file.suffix)), file)
        for way, file in files_below(folder)
        if file.suffix.lower() in suffixes
    ]
