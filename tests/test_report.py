import math
import re
from html.parser import HTMLParser

import numpy as np
import pytest
from PIL import Image

from segue.labels import IGNORE, Labels
from segue.pictures import MISS
from segue.report import (
    Panel,
    confusion_picture,
    curves,
    html_table,
    labels_picture,
    markdown_table,
    predictions_picture,
    text_table,
    write_report,
)
from segue.report.canvas import drawable, shortened, typeface
from segue.report.curves import _spread

LONG = "a class whose name says rather more than a name should, and then goes on"
STRANGE = "裂缝 <b>&\"'$x$\n\t\x07|*_`"

TWO = Labels(classes=("background", STRANGE))
MANY = Labels(classes=tuple(f"{LONG} {k}" if k % 17 == 0 else f"class {k}" for k in range(150)))
FULL = Labels(classes=tuple(f"class {k}" for k in range(254)))


def panel(labels: Labels, height: int, width: int, truth: bool = True) -> Panel:
    rng = np.random.default_rng(height * width)
    classes = rng.integers(0, labels.num_classes, (height, width), dtype=np.uint8)
    target = classes.copy()
    target[: height // 3] = 0
    target[:, :1] = IGNORE
    image = rng.integers(0, 256, (height, width, 3), dtype=np.uint8)
    return Panel(f"{LONG}/{STRANGE}", image, target if truth else None, classes)


def size_of(path) -> tuple[int, int]:
    with Image.open(path) as file:
        file.load()
        assert file.mode == "RGB"  # without transparency: it reads the same on a dark page
        return file.size


def row(step: int, **more: float) -> dict[str, float]:
    measures = {"miou": 0.5, "pixel_accuracy": 0.9, "mean_accuracy": 0.6, "fwiou": 0.8, "dice": 0.6}
    rest = {"epoch": 1.0, "lr": 1e-3, "loss": 2.0 / step, "loss/logits": 1.0 / step, "loss/aux": 1.0 / step}
    return {"step": step, **measures, **rest, "images_per_s": 30.0, "waiting": 0.01, "seconds": 9.0, **more}


CLASS_ROWS = [
    {"class": "road", "iou": 0.5, "accuracy": 0.75, "dice": 2 / 3, "pixels": 1200, "colour": (1, 2, 3)},
    {"class": STRANGE, "iou": 0.25, "accuracy": math.nan, "dice": 0.4, "pixels": 0},
    {"class": "absent", "iou": math.nan, "accuracy": math.nan, "dice": math.nan, "pixels": 0},
]


@pytest.mark.parametrize(
    "rows",
    [
        [],
        [{}],
        [row(1)],
        [row(step) for step in range(1, 501)],
        [row(1, loss=math.nan, miou=math.inf), row(2, loss=math.inf)],
        [row(1, **{f"loss/{'term ' * 9}{k}": 10.0**-k for k in range(40)}), row(2)],
        [{"step": 1, "miou": ""}, {"miou": 0.5}],
        [{"step": 7, "loss": 0.0, "lr": 0.0}],
        [row(3), row(3)],
    ],
    ids=["none", "empty", "one", "many", "not finite", "many terms", "holes", "zeros", "one step twice"],
)
def test_curves_are_drawn_from_any_log(rows, tmp_path):
    curves(rows, tmp_path / "curves.png")
    width, height = size_of(tmp_path / "curves.png")
    assert width > height


def test_names_at_the_ends_of_curves_stay_a_line_apart():
    assert _spread([50.0, 49.0, 20.0], 0.0) == [50.0, 39.0, 20.0]
    assert _spread([50.0, 5.0, 4.0], 0.0) == [50.0, 11.0, 0.0]


@pytest.mark.parametrize("labels", [TWO, MANY, FULL], ids=["2", "150", "254"])
def test_a_confusion_matrix_is_drawn_for_any_number_of_classes(labels, tmp_path):
    table = np.random.default_rng(0).integers(0, 1000, (labels.num_classes,) * 2)
    table[1] = 0
    confusion_picture(table, labels, tmp_path / "confusion.png")
    assert min(size_of(tmp_path / "confusion.png")) > 3 * labels.num_classes


def test_a_confusion_matrix_shows_hits_blue_confusions_orange_and_empty_rows_grey(tmp_path):
    labels = Labels(classes=("a", "b", "c"))
    confusion_picture(np.array([[9, 0, 0], [5, 0, 0], [0, 0, 0]]), labels, tmp_path / "confusion.png")
    with Image.open(tmp_path / "confusion.png") as file:
        colours = {colour for _, colour in file.getcolors(1 << 20)}
    assert (0, 84, 147) in colours
    assert MISS in colours
    assert (176, 176, 176) in colours


def test_a_confusion_matrix_of_other_classes_is_refused(tmp_path):
    with pytest.raises(ValueError, match="there are 2 classes"):
        confusion_picture(np.zeros((3, 3)), TWO, tmp_path / "confusion.png")


@pytest.mark.parametrize("labels", [TWO, MANY], ids=["2", "150"])
def test_predictions_of_all_sizes_share_a_picture(labels, tmp_path):
    samples = [panel(labels, 40, 300), panel(labels, 300, 40), panel(labels, 1, 1), panel(labels, 30, 31, truth=False)]
    predictions_picture(samples, labels, tmp_path / "predictions.png")
    width, height = size_of(tmp_path / "predictions.png")
    assert width < 2000
    assert height > 1000


def test_predictions_without_any_truth_have_two_columns(tmp_path):
    predictions_picture([panel(TWO, 20, 30)], TWO, tmp_path / "four.png")
    predictions_picture([panel(TWO, 20, 30, truth=False)], TWO, tmp_path / "two.png")
    assert size_of(tmp_path / "two.png")[0] < 0.6 * size_of(tmp_path / "four.png")[0]


def test_a_huge_picture_is_shown_small(tmp_path):
    predictions_picture([panel(TWO, 3000, 4000)], TWO, tmp_path / "predictions.png")
    assert max(size_of(tmp_path / "predictions.png")) < 2000


def test_predictions_of_nothing_are_an_empty_picture(tmp_path):
    predictions_picture([], TWO, tmp_path / "predictions.png")
    size_of(tmp_path / "predictions.png")


@pytest.mark.parametrize("labels", [TWO, MANY], ids=["2", "150"])
def test_labels_are_drawn_with_and_without_shares(labels, tmp_path):
    shares = np.zeros(labels.num_classes)
    shares[0], shares[1] = 1 - 1e-7, math.nan
    labels_picture(labels, shares, tmp_path / "with.png")
    labels_picture(labels, None, tmp_path / "without.png")
    assert size_of(tmp_path / "with.png")[0] >= size_of(tmp_path / "without.png")[0]
    with pytest.raises(ValueError, match="shares are"):
        labels_picture(labels, np.zeros(3), tmp_path / "with.png")


def test_labels_show_the_raw_values_of_a_class_and_of_what_is_ignored(tmp_path):
    labels = Labels(classes=("a", "b"), values={10: 0, 20: 1, 21: 1, 0: IGNORE}, written={1: 20})
    labels_picture(labels, np.array([0.25, 0.75]), tmp_path / "labels.png")
    size_of(tmp_path / "labels.png")


def test_equal_data_give_equal_bytes(tmp_path):
    for name in ("first", "second"):
        folder = tmp_path / name
        curves([row(step) for step in range(1, 9)], folder / "curves.png")
        predictions_picture([panel(MANY, 40, 50)], MANY, folder / "predictions.png")
        confusion_picture(np.eye(2), TWO, folder / "confusion.png")
        labels_picture(TWO, None, folder / "labels.png")
        pictures = [("p", folder / "predictions.png"), ("c", folder / "curves.png")]
        report(folder, pictures=pictures)
    first, second = ({path.name: path.read_bytes() for path in (tmp_path / n).iterdir()} for n in ("first", "second"))
    assert first == second
    assert len(first) == 5


def test_shortened_text_fits_and_says_that_it_was_cut():
    font = typeface(20)
    short = shortened(LONG, 200, font)
    assert short.endswith("…")
    assert font.getlength(short) <= 200
    assert LONG.startswith(short[:-1])
    assert shortened("road", 200, font) == "road"
    assert shortened("road", 0, font) == ""


def test_text_in_pictures_is_one_line_with_boxes_for_unknown_characters():
    assert drawable("a\n\tb\x07c  裂") == "a b c □"


def test_a_text_table_holds_classes_means_and_dashes():
    lines = text_table(CLASS_ROWS, {"pixel_accuracy": 0.9, "fwiou": 0.8}).splitlines()
    assert lines[0].split() == ["class", "IoU", "accuracy", "Dice", "pixels"]
    assert lines[2].split() == ["road", "50.00", "75.00", "66.67", "1,200"]
    assert lines[4].split() == ["absent", "–", "–", "–", "0"]
    assert lines[6].split() == ["mean", "37.50", "75.00", "53.33"]  # IoU: (50 + 25) / 2
    assert lines[7] == "pixel accuracy 90.00   frequency-weighted IoU 80.00"


def test_a_text_table_takes_the_means_of_the_summary():
    assert text_table(CLASS_ROWS, {"miou": 0.4321}).splitlines()[6].split()[1] == "43.21"


def test_a_text_table_cuts_long_names_and_aligns_wide_ones():
    rows = [{"class": LONG, "iou": 0.5}, {"class": "裂缝", "iou": 0.5}, {"class": "crack", "iou": 0.5}]
    lines = text_table(rows).splitlines()
    assert "…" in lines[2]
    assert lines[4].index("50.00") - lines[3].index("50.00") == 2  # two characters, four columns


def test_a_markdown_table_has_a_row_per_class_and_survives_strange_names():
    lines = markdown_table(CLASS_ROWS, {}).splitlines()
    assert lines[2] == "| road | 50.00 | 75.00 | 66.67 | 1,200 |"
    assert len({len(re.findall(r"(?<!\\)\|", line)) for line in lines}) == 1
    assert r"\<b\>\&" in lines[3]


class Checker(HTMLParser):
    """Follows the elements of a page: each is closed in its turn."""

    VOID = frozenset({"meta", "link", "img", "br"})

    def __init__(self) -> None:
        super().__init__()
        self.open: list[str] = []
        self.seen: list[tuple[str, dict[str, str | None]]] = []
        self.text: list[str] = []

    def handle_starttag(self, tag, attrs):
        assert len(attrs) == len(dict(attrs)), f"an attribute of <{tag}> occurs twice"
        self.seen.append((tag, dict(attrs)))
        if tag not in self.VOID:
            self.open.append(tag)

    def handle_endtag(self, tag):
        assert self.open.pop() == tag

    def handle_data(self, data):
        if not self.open or self.open[-1] not in ("style", "script"):
            self.text.append(data)


def read_page(text: str) -> Checker:
    checker = Checker()
    checker.feed(text)
    checker.close()
    assert checker.open == []
    return checker


def report(folder, **more):
    given = {
        "title": f"run {STRANGE}",
        "summary": {"mIoU": 0.8123, "Dice": math.nan, STRANGE: STRANGE, "split": "val", "steps": 900, "none": None},
        "recipe": f'[data]\nname = "{STRANGE}" # $title </pre>\n',
        "environment": {"devices": ["cpu", "cpu"], "nested": {"command": f"segue train {STRANGE}"}, "git_commit": None},
        "class_rows": CLASS_ROWS,
        "pictures": [],
    }
    return write_report(folder, **(given | more))


def test_a_report_is_valid_html_and_escapes_everything(tmp_path):
    text = report(tmp_path).read_text(encoding="utf-8")
    assert text.startswith("<!DOCTYPE html>")
    page = read_page(text)
    tags = {tag for tag, _ in page.seen}
    assert tags.isdisjoint({"b", "iframe", "object", "link"})
    shown = "".join(page.text)
    assert shown.count("裂缝 <b>&\"'$x$") == 7  # title, heading, summary twice, class, recipe, environment
    assert "81.23" in shown
    assert "$title" in shown
    assert "\n[data]" in shown or "[data]\n" in shown


def test_a_report_refers_to_nothing_outside(tmp_path):
    curves([row(1)], tmp_path / "curves.png")
    text = report(tmp_path, pictures=[("Training", tmp_path / "curves.png")]).read_text(encoding="utf-8")
    page = read_page(text)
    for tag, attributes in page.seen:
        assert "href" not in attributes, tag
        assert (attributes.get("src") or "data:").startswith("data:"), tag
    without_pictures = re.sub(r"data:image/[a-z]+;base64,[A-Za-z0-9+/=]+", "", text)
    assert not re.search(r"https?:|//[a-z]|@import|url\(|fetch|XMLHttp|localStorage", without_pictures)
    policy = next(attributes["content"] for tag, attributes in page.seen if attributes.get("http-equiv"))
    assert "default-src 'none'" in policy


def test_a_report_shrinks_huge_pictures_and_leaves_out_missing_ones(tmp_path):
    rng = np.random.default_rng(0)
    Image.fromarray(rng.integers(0, 256, (400, 6000, 3), dtype=np.uint8)).save(tmp_path / "photo.png")
    text = report(tmp_path, pictures=[("Photo", tmp_path / "photo.png"), ("Gone", tmp_path / "gone.png")]).read_text()
    images = [attributes for tag, attributes in read_page(text).seen if tag == "img"]
    assert [image["alt"] for image in images] == ["Photo"]
    assert int(images[0]["width"]) == 2600
    assert images[0]["src"].startswith("data:image/jpeg;base64,")
    assert len(text) < 3_000_000


def test_a_report_keeps_drawings_sharp_and_small(tmp_path):
    confusion_picture(np.eye(2), TWO, tmp_path / "confusion.png")
    text = report(tmp_path, pictures=[("Confusion", tmp_path / "confusion.png")]).read_text()
    assert "data:image/png;base64," in text
    assert len(text) < 60_000


def test_a_report_of_nothing_is_still_a_page(tmp_path):
    path = write_report(tmp_path / "new", title="", summary={}, recipe="", environment={}, class_rows=[], pictures=[])
    read_page(path.read_text(encoding="utf-8"))


def test_an_html_table_can_be_sorted_by_its_values():
    page = read_page(html_table(CLASS_ROWS))
    values = [attributes["data-value"] for _, attributes in page.seen if "data-value" in attributes]
    assert values[:5] == ["0", "0.5", "0.75", "0.666667", "1200"]
    assert values[10:] == ["2", "", "", "", "0"]
    assert [tag for tag, _ in page.seen].count("button") == 5


def test_an_html_table_shows_a_colour_where_it_is_given():
    swatches = [attributes for tag, attributes in read_page(html_table(CLASS_ROWS)).seen if tag == "i"]
    assert [one["style"] for one in swatches] == ["background:rgb(1,2,3)"]
