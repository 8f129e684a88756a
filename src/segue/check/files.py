"""Findings about files: what is missing, cannot be read, or does not fit the others."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator

from segue.check.examination import PictureFacts
from segue.check.finding import Finding, and_others, by, finding
from segue.check.survey import One, Survey
from segue.data.folder.mask_facts import MaskFacts

TINY = 32  # pixels along a side
QUARTER_TURNS = (5, 6, 7, 8)  # EXIF orientations that change height and width


def not_understood(found: Survey) -> Iterator[Finding]:
    """What could not even be listed."""
    for line in found.troubles:
        yield Finding(True, "Not understood", line)
    for line in found.absent:
        yield Finding(False, "Splits that are not here", line)
    for split in found.splits:
        if len(split.data) or found.troubles:
            continue
        needed = split.name in ("train", "val")  # for training
        mend = ", or make train/ and val/ folders to say which picture is where" if needed else ""
        yield Finding(needed, "Empty split", f"{found.name}: {split.name} holds no picture with a mask; add some{mend}")


def left_over(found: Survey) -> Iterator[Finding]:
    """Files without a partner; each once, though train and val may be parts of one listing."""
    listings = [split.listing for split in found.splits if split.listing is not None]
    bare = list(dict.fromkeys(one for listing in listings for one in listing.bare))
    orphans = list(dict.fromkeys(one for listing in listings for one in listing.orphans))
    clashes = list(dict.fromkeys(one for listing in listings for one in listing.clashes))
    if bare:
        yield Finding(
            True,
            "Pictures without a mask",
            f"{bare[0]}: has no mask{and_others(len(bare))}; add it, or take the picture out",
            tuple((str(one), "") for one in bare),
        )
    if orphans:
        yield Finding(
            True,
            "Masks without a picture",
            f"{orphans[0]}: has no picture{and_others(len(orphans))}; add the picture, or take the mask out",
            tuple((str(one), "") for one in orphans),
        )
    if clashes:
        other, kept = clashes[0]
        yield Finding(
            True,
            "Two files of one name",
            f"{other}: has the same name as {kept.name}{and_others(len(clashes))}; one of the two must go",
            tuple((str(one), f"as {kept.name}") for one, kept in clashes),
        )


def unreadable(found: Survey) -> Iterator[Finding]:
    """Pictures and masks that cannot be decoded."""
    lines = [line for one in found.ones() for line in (one.found.image, one.found.mask) if isinstance(line, str)]
    if lines:
        more = f" (and {len(lines) - 1:,} more cannot be read)" if len(lines) > 1 else ""
        parts = [line.partition(": ") for line in lines]
        yield Finding(True, "Files that cannot be read", lines[0] + more, tuple((file, why) for file, _, why in parts))


def unlike(found: Survey) -> Iterator[Finding]:
    """Pictures of another number of channels or bits than most."""
    kinds = {one: one.found.image for one in found.ones() if isinstance(one.found.image, PictureFacts)}
    counts = Counter((image.channels, image.kind) for image in kinds.values())
    if len(counts) < 2:
        return
    usual, _ = counts.most_common(1)[0]
    others = [one for one, image in kinds.items() if (image.channels, image.kind) != usual]
    first = kinds[others[0]]
    yield finding(
        True,
        "Pictures of different kinds",
        f"{others[0].file}: has {first.channels} channels of {first.kind}{and_others(len(others))}, where most have "
        f"{usual[0]} of {usual[1]}; make all pictures alike",
        others,
        what=[f"{kinds[one].channels} channels of {kinds[one].kind}" for one in others],
    )


def other_sizes(found: Survey) -> Iterator[Finding]:
    """Masks that are not of their picture's size; by the picture's EXIF tag, or for no reason."""
    wrong: list[tuple[One, str]] = []
    lying: list[tuple[One, str]] = []
    for one in found.ones():
        image, mask = one.found.image, one.found.mask
        if isinstance(image, PictureFacts) and isinstance(mask, MaskFacts) and image.size != mask.size:
            turned = image.turned in QUARTER_TURNS and image.size == mask.size[::-1]
            (lying if turned else wrong).append((one, f"picture {by(image.size)}, mask {by(mask.size)}"))
    if wrong:
        yield finding(
            True,
            "Sizes that differ",
            f"{wrong[0][0].file}: {wrong[0][1]} (width x height){and_others(len(wrong))}; make them the same size, "
            "masks by nearest neighbour",
            [one for one, _ in wrong],
            what=[what for _, what in wrong],
        )
    if lying:
        yield finding(
            True,
            "Masks that were not turned with their pictures",
            f"{lying[0][0].file}: its EXIF tag turns it by a quarter, but its mask lies as the camera held it"
            f"{and_others(len(lying))}; turn the mask as well, or take the tag off the picture",
            [one for one, _ in lying],
            what=[what for _, what in lying],
        )


def tags_apart(found: Survey) -> Iterator[Finding]:
    """Pictures that an EXIF tag turns without changing their size: nobody can know whether the mask was turned, too."""
    doubtful = []
    for one in found.ones():
        image, mask = one.found.image, one.found.mask
        if isinstance(image, PictureFacts) and isinstance(mask, MaskFacts) and image.size == mask.size:
            hidden = image.turned not in QUARTER_TURNS or image.size[0] == image.size[1]
            if image.turned != 1 and hidden and image.turned != one.found.mask_turned:
                doubtful.append(one)
    if doubtful:
        yield finding(
            False,
            "EXIF tags that the mask does not have",
            f"{doubtful[0].file}: its EXIF tag turns or mirrors it, its mask has none{and_others(len(doubtful))}; look "
            "whether they fit, and save both without a tag",
            doubtful,
        )


def tiny(found: Survey) -> Iterator[Finding]:
    """Pictures of next to no pixels."""
    small = {
        one: image.size
        for one in found.ones()
        if isinstance(image := one.found.image, PictureFacts) and min(image.size) < TINY
    }
    if small:
        first, size = next(iter(small.items()))
        yield finding(
            False,
            "Tiny pictures",
            f"{first.file}: is {by(size)}{and_others(len(small))}; networks shrink pictures by 8 to 32 times: "
            f"give them {TINY} pixels or more along each side",
            list(small),
            what=[by(one) for one in small.values()],
        )
