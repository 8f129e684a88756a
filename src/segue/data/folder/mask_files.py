"""Masks that are pictures: where they lie beside the pictures that they belong to.

train/images/  train/masks/     and val, test
images/train/  masks/train/     and val, test
train/         trainannot/      and val, test; also train_labels/, train_masks/
images/        masks/           with ImageSets/Segmentation/{train,val}.txt, or train.txt and val.txt, or by a rule
train/                          picture and mask side by side, a.jpg with a_mask.png; and val, test
.                               the same, without split folders
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cache, partial

from segue.data.folder.arrangement import SPLITS, Arrangement, names_of
from segue.data.folder.mask_facts import look_at
from segue.data.folder.meaning import Meaning, meaning_of, of_map, together
from segue.data.folder.pairing import Listing, pair_folders, pair_mixed
from segue.data.places import Place, any_below, is_aside
from segue.data.source import MASK_SUFFIXES, FileDataSet
from segue.errors import DataError
from segue.labels import Labels

IMAGE_FOLDERS = (
    "images", "image", "imgs", "img", "jpegimages", "pictures", "photos", "inputs", "input", "leftimg8bit",
)  # fmt: skip
MASK_FOLDERS = (
    "masks", "mask", "labels", "label", "annotations", "annotation", "segmentationclass", "segmentationclasspng",
    "segmentations", "segmentation", "targets", "target", "gt", "groundtruth", "ground_truth", "gtfine",
)  # fmt: skip
"""What folders of pictures and of masks may be called, in small letters; the first one that is there is taken."""

MASK_ENDINGS = ("annot", "_annot", "_labels", "_label", "_masks", "_mask", "_gt", "masks", "labels")
"""What may stand behind a split's name to call the folder of its masks."""

LISTS = ("ImageSets/Segmentation/{}.txt", "splits/{}.txt", "{}.txt")
"""Files that list the names of a split, a line each."""


@dataclass(frozen=True)
class MaskFiles(Arrangement):
    """Pictures with masks that are pictures. find: how each declared split is listed."""

    find: Mapping[str, Callable[[], Listing]]

    def kind(self) -> str:
        where = self.listing_of(self.declared[0]).where
        return (
            f"pictures and masks in {where.replace(f'{self.root}/', '') if where != str(self.root) else 'one folder'}"
        )

    def listing_of(self, declared: str) -> Listing:
        return self.find[declared]()

    def meaning(self, training: str, values: Mapping[int, int], names: Sequence[str]) -> Meaning:
        table = self.class_table()
        masks = [pair.mask for pair in self.listing(training).pairs]
        if values:
            return of_map(values, names, table)
        return meaning_of(self.root, together(masks, look_at(masks)), table, names)

    def data_set(self, listing: Listing, labels: Labels) -> FileDataSet:
        return FileDataSet(listing.pairs, labels)


def find_mask_files(root: Place) -> MaskFiles | None:
    """The first of the layouts that is there; None when none is."""
    for layout in (_split_folders, _plain_folders, _side_by_side):
        found = {split: cache(find) for split, find in layout(root)}
        if found:
            return MaskFiles(root, tuple(found), found)
    return None


Found = Iterator[tuple[str, Callable[[], Listing]]]


def _split_folders(root: Place) -> Found:
    """Splits with folders of pictures and masks of their own."""
    inside = _folders(root)
    for split in SPLITS:
        for name in names_of(split):
            places = (
                _both(inside.get(name)),
                (_below(root, IMAGE_FOLDERS, name), _below(root, MASK_FOLDERS, name)),
                (inside.get(name), next((inside[name + end] for end in MASK_ENDINGS if name + end in inside), None)),
            )
            both = next(((images, masks) for images, masks in places if images and masks), None)
            if both is not None:
                yield split, partial(pair_folders, *both)
                break
    known = {name for split in SPLITS for name in names_of(split)}
    own = {folder.name: _both(folder) for name, folder in inside.items() if name not in known}
    whole = {name: (images, masks) for name, (images, masks) in own.items() if images and masks}
    if len(whole) > 1:  # splits of one's own, such as fold1/images and fold1/masks
        for name, (images, masks) in whole.items():
            yield name, partial(pair_folders, images, masks)


def _plain_folders(root: Place) -> Found:
    """One folder of pictures and one of masks, with lists of names where there are any."""
    images, masks = _both(root)
    if images is None or masks is None:
        return
    lists = {split: found for split in SPLITS if (found := _list_file(root, split)) is not None}
    if "train" not in lists:
        yield "", partial(pair_folders, images, masks)
    else:
        for split, path in lists.items():
            yield split, partial(_listed, path, images, masks)


def _side_by_side(root: Place) -> Found:
    """Pictures and masks in one folder, for each split or for all."""
    inside = _folders(root)
    for split in SPLITS:
        folder = next((inside[name] for name in names_of(split) if name in inside), None)
        if folder is not None and pair_mixed(folder).pairs:
            yield split, partial(pair_mixed, folder)
    if not any(name in inside for split in SPLITS for name in names_of(split)) and pair_mixed(root).pairs:
        yield "", partial(pair_mixed, root)


def _folders(place: Place) -> dict[str, Place]:
    """The folders in a folder, by their names in small letters."""
    return {one.name.lower(): one for one in place.iterdir() if not is_aside(one.name) and one.is_dir()}


def _both(place: Place | None) -> tuple[Place | None, Place | None]:
    """The folders of pictures and of masks in a folder; pictures may lie in the only other one, whatever its name."""
    inside = _folders(place) if place is not None else {}
    images = next((inside[name] for name in IMAGE_FOLDERS if name in inside), None)
    # PASCAL VOC's annotations/ are of XML, beside the masks
    masks = next((inside[name] for name in MASK_FOLDERS if name in inside and _holds_pictures(inside[name])), None)
    if images is None and masks is not None:
        others = [one for one in inside.values() if one != masks and _holds_pictures(one)]
        images = others[0] if len(others) == 1 else None
    return images, masks


def _holds_pictures(folder: Place) -> bool:
    return any_below(folder, MASK_SUFFIXES)


def _below(root: Place, names: Sequence[str], split: str) -> Place | None:
    """`images/train` and the like."""
    for name in names:
        outer = _folders(root).get(name)
        inner = _folders(outer).get(split) if outer is not None else None
        if inner is not None and _holds_pictures(inner):
            return inner
    return None


def _list_file(root: Place, split: str) -> Place | None:
    return next(
        (root / way.format(name) for way in LISTS for name in names_of(split) if (root / way.format(name)).is_file()),
        None,
    )


def _listed(path: Place, images: Place, masks: Place) -> Listing:
    """The pairs whose names a file lists. Raises DataError for a name that is no picture with a mask."""
    whole = pair_folders(images, masks)
    pairs = {pair.name: pair for pair in whole.pairs}
    lines = (line.split() for line in path.read_text(encoding="utf-8").splitlines())
    stems = [words[0].rpartition("/")[2] for words in lines if words]
    names = [stem if stem in pairs else stem.rpartition(".")[0] for stem in stems]
    missing = next((stem for name, stem in zip(names, stems, strict=True) if name not in pairs), None)
    if missing is not None:
        raise DataError(f"{path}: lists {missing}, which has no picture and mask in {images} and {masks}; add it")
    return Listing(f"{images} and {masks}", tuple(pairs[name] for name in names))
