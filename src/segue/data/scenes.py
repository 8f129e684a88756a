"""Pictures that segue draws itself: a little town between hills and water, in any weather.

A picture and its classes are a pure function of a seed, so there is nothing to download, and any number of pictures to
train on. They are made so that a better network scores better: a class has no colour of its own (cars, walls, clothes
and skies share theirs), far things are small and hazy, near ones hide them, and poles and wires are a pixel wide.

Everything stands on one plane, seen by a camera a few metres above it, so that sizes and places agree: a thing whose
foot is in row y has (y - horizon) / (camera's height) pixels for each of its metres. Far things are drawn first.
Drawing is done at twice the size; the picture is averaged down to soft edges, the classes are sampled and stay exact.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TypeVar

import numpy as np
from PIL import Image, ImageDraw

from segue.labels import IGNORE, Colour, Labels

LABELS = Labels(
    classes=("sky", "ground", "water", "road", "building", "tree", "car", "person", "pole"),
    palette=(
        (125, 180, 225),
        (150, 190, 95),
        (45, 95, 190),
        (130, 125, 135),
        (205, 120, 75),
        (30, 110, 60),
        (215, 35, 70),
        (245, 195, 50),
        (75, 30, 105),
    ),
)
SKY, GROUND, WATER, ROAD, BUILDING, TREE, CAR, PERSON, POLE = range(9)

FINE = 2  # drawn pixels for each side of a pixel
SMALLEST = 16  # a scene of fewer rows or columns has no room for its things
FOCAL = 0.55  # the camera's focal length in heights of the picture: some 85 degrees from top to bottom

Point = tuple[float, float]
Choice = TypeVar("Choice")

# How much of each kind of noise (white, fine, middling, coarse) is on the surfaces of each class.
ROUGHNESS = np.zeros((256, 4), dtype=np.float32)
ROUGHNESS[[SKY, GROUND, WATER, ROAD, BUILDING, TREE, CAR, PERSON, POLE]] = (
    (0.00, 0.00, 0.01, 0.02),
    (0.08, 0.16, 0.10, 0.12),
    (0.02, 0.04, 0.03, 0.10),
    (0.09, 0.05, 0.04, 0.10),
    (0.04, 0.04, 0.05, 0.14),
    (0.16, 0.34, 0.14, 0.08),
    (0.02, 0.02, 0.02, 0.08),
    (0.05, 0.08, 0.05, 0.05),
    (0.05, 0.03, 0.03, 0.10),
)


@dataclass(frozen=True)
class Weather:
    """Colours of the sky, of the light, and how far one sees.

    top, bottom: of the sky, overhead and at the horizon. light: a factor on every colour. sight: metres at which two
    thirds of a colour are lost in the haze. clouds: how opaque they are.
    """

    top: Colour
    bottom: Colour
    light: tuple[float, float, float]
    sight: float
    clouds: float
    night: bool = False


WEATHERS = (
    Weather((72, 128, 200), (188, 214, 232), (1.04, 1.02, 0.98), 260, 0.8),  # fair
    Weather((72, 128, 200), (188, 214, 232), (1.10, 1.06, 0.96), 400, 0.3),  # bright
    Weather((140, 148, 158), (206, 208, 208), (0.88, 0.90, 0.92), 130, 1.0),  # overcast
    Weather((84, 82, 140), (248, 176, 116), (1.08, 0.88, 0.74), 150, 0.7),  # evening
    Weather((196, 200, 196), (222, 220, 210), (0.94, 0.94, 0.90), 60, 0.2),  # mist
    Weather((16, 22, 52), (62, 66, 104), (0.50, 0.53, 0.70), 200, 0.4, night=True),
)

WALLS = (
    (178, 84, 62),
    (214, 182, 128),
    (226, 216, 196),
    (150, 150, 154),
    (112, 138, 168),
    (128, 152, 108),
    (196, 140, 84),
)
ROOFS = ((150, 68, 48), (96, 70, 58), (84, 90, 104), (120, 112, 98), (70, 96, 84))
LEAVES = ((62, 116, 48), (92, 134, 52), (40, 92, 58), (186, 122, 40), (168, 76, 44), (150, 140, 60), (204, 150, 160))
MEADOWS = ((108, 146, 66), (132, 152, 76), (170, 156, 92), (92, 124, 70), (186, 178, 150), (206, 210, 214))
ROADS = ((120, 120, 126), (98, 98, 104), (150, 144, 136), (166, 144, 112), (112, 126, 110))
WATERS = ((60, 104, 140), (84, 120, 124), (110, 122, 132), (70, 108, 88))
SKINS = ((240, 204, 176), (214, 164, 124), (160, 108, 76), (96, 64, 48))
HAIRS = ((40, 30, 26), (96, 66, 40), (200, 170, 110), (130, 130, 130))
RAILINGS = ((230, 226, 216), (120, 92, 66), (70, 74, 80))
WOOD, BARK, DOOR, GLASS = (96, 80, 66), (96, 72, 54), (84, 56, 40), (62, 76, 94)
TYRE, METAL, WHITE, LAMPLIGHT = (28, 28, 30), (150, 150, 154), (235, 233, 226), (255, 232, 170)


def draw(seed: int, size: tuple[int, int] = (120, 160)) -> tuple[np.ndarray, np.ndarray]:
    """The picture of a seed: RGB (H, W, 3) uint8, and its classes (H, W) uint8, `IGNORE` where there is none.

    seed: 0 or more. size: (H, W), 16 or more each. Equal arguments give equal bytes. Raises ValueError for a negative
    seed or a smaller size.
    """
    if seed < 0:
        raise ValueError(f"seed = {seed}: it must be 0 or more")
    if min(size) < SMALLEST:
        raise ValueError(f"size = {tuple(size)}: a scene needs {SMALLEST} rows and columns or more")
    scene = Scene(seed, size)
    hills(scene)
    populate(scene)
    scene.draw_things()
    return scene.photograph()


class Scene:
    """A scene while it is drawn. Places are in drawn pixels, x to the right and y down; sizes of things in metres."""

    def __init__(self, seed: int, size: tuple[int, int]) -> None:
        # Only `random` is asked for numbers: NumPy's other distributions may change from version to version.
        self.random: Callable[..., np.ndarray] = np.random.Generator(np.random.PCG64(seed)).random
        self.size = size
        self.height, self.width = size[0] * FINE, size[1] * FINE
        self.weather = self.one_of(WEATHERS)
        self.horizon = self.between(0.34, 0.48) * self.height
        self.eye = self.between(3.2, 5.2)  # the camera's height
        self.sun = 1.0 if self.chance(0.5) else -1.0  # the side that it shines from
        self.leaves = [self.one_of(LEAVES) for _ in range(3)]
        self.noise = self._noise()
        self.things: list[tuple[float, Callable[[], None]]] = []

        self.along = self.chance(0.5)  # does the road run away from the viewer, or across?
        self.bend, self.start, self.half_road = self.between(-0.35, 0.35), self.between(-4, 4), self.between(2.6, 4.2)
        self.band = self.between(0.42, 0.62)  # where a road that runs across has its middle, as `row` counts
        picture, self.floor = stage(self)
        shape = (self.width, self.height)
        self.picture = Image.fromarray(picture).resize(shape, Image.Resampling.BILINEAR)
        self.classes = Image.fromarray(self.floor).resize(shape, Image.Resampling.NEAREST)
        self.ink, self.mark = ImageDraw.Draw(self.picture), ImageDraw.Draw(self.classes)
        self.glaze = ImageDraw.Draw(self.picture, "RGBA")  # for colours that one sees through

    def _noise(self) -> np.ndarray:
        """(4, H, W) float32, about -1 to 1: white, fine, middling and coarse noise."""
        height, width = self.size
        fields = [self.random((height, width), dtype=np.float32) * 2 - 1]
        fields += [self.smooth_noise(math.ceil(width / height * rows), rows) for rows in (60, 20, 6)]
        return np.stack(fields)

    def smooth_noise(self, columns: int, rows: int) -> np.ndarray:
        """(H, W) float32, about -1 to 1, that varies over `columns` by `rows` cells."""
        grid = self.random((max(2, rows), max(2, columns)), dtype=np.float32) * 2 - 1
        return np.asarray(Image.fromarray(grid).resize(self.size[::-1], Image.Resampling.BICUBIC))

    # Chance

    def between(self, low: float, high: float) -> float:
        return low + (high - low) * float(self.random())

    def chance(self, share: float) -> bool:
        return float(self.random()) < share

    def one_of(self, choices: Sequence[Choice]) -> Choice:
        return choices[int(float(self.random()) * len(choices))]

    def varied(self, colour: Colour, amount: float = 22) -> Colour:
        """A colour near the given one."""
        brighter = self.between(-amount, amount)
        red, green, blue = (round(channel + brighter + self.between(-amount, amount) / 3) for channel in colour)
        return red, green, blue

    def any_colour(self) -> Colour:
        """Of a car or of clothes: grey or bright."""
        if self.chance(0.45):
            grey = round(self.between(30, 225))
            return self.varied((grey, grey, grey), 10)
        red, green, blue = (round(self.between(25, 225)) for _ in range(3))
        return red, green, blue

    # Space and light

    def row(self, near: float) -> float:
        """The row of a nearness: 0 at the horizon, 1 at the lower border."""
        return self.horizon + near * (self.height - self.horizon)

    def metre(self, y: float) -> float:
        """Pixels of a metre for a thing whose foot is in row y."""
        return max(y - self.horizon, 1.0) / self.eye

    def ahead(self, y: float) -> float:
        """Metres to the ground in row y."""
        return FOCAL * self.height / self.metre(y)

    def middle_of_road(self, y: float) -> float:
        """Where a road that runs away from the viewer has its middle."""
        return self.width / 2 + (self.start + self.bend * self.ahead(y)) * self.metre(y)

    def seen(self, colour: Colour, y: float, shade: float = 1.0) -> Colour:
        """A surface's colour in this light, through the haze of as many metres as to row y."""
        kept = math.exp(-self.ahead(y) / self.weather.sight)
        red, green, blue = (
            round(min(max(own * shade * light * kept + far * (1 - kept), 0), 255))
            for own, light, far in zip(colour, self.weather.light, self.weather.bottom, strict=True)
        )
        return red, green, blue

    # Marks on picture and classes alike

    def area(self, points: Sequence[Point], colour: Colour, label: int) -> None:
        self.ink.polygon(points, fill=colour)
        self.mark.polygon(points, fill=label)

    def box(self, left: float, top: float, right: float, bottom: float, colour: Colour, label: int) -> None:
        self.area(((left, top), (right, top), (right, bottom), (left, bottom)), colour, label)

    def oval(self, x: float, y: float, across: float, down: float, colour: Colour, label: int) -> None:
        where = (x - across, y - down, x + across, y + down)
        self.ink.ellipse(where, fill=colour)
        self.mark.ellipse(where, fill=label)

    def line(self, points: Sequence[Point], width: float, colour: Colour, label: int) -> None:
        thick = max(FINE, round(width))  # a pixel of the finished picture at least
        self.ink.line(points, fill=colour, width=thick)
        self.mark.line(points, fill=label, width=thick)

    def shadow(self, x: float, y: float, across: float, down: float) -> None:
        """A dark patch away from the sun, of no class: the ground stays what it is."""
        x -= self.sun * across * 0.5
        dull = self.weather.night or self.weather.clouds == 1.0
        self.glaze.ellipse((x - across, y - down, x + across, y + down), fill=(12, 14, 36, 30 if dull else 80))

    # Things, each drawn when its turn comes

    def put(self, near: float, thing: Callable[[Scene, float, float], None], x: float) -> None:
        """Let a thing be drawn with its foot at x in the row of this nearness."""
        y = self.row(near)
        self.things.append((y, lambda: thing(self, x, y)))

    def floor_at(self, x: float, near: float) -> int:
        """The class of the floor in a place; beyond the picture it is as at its border."""
        row = min(int(self.row(near)) // FINE, self.size[0] - 1)
        column = min(max(int(x) // FINE, 0), self.size[1] - 1)
        return int(self.floor[row, column])

    def place(
        self, near: float, thing: Callable[[Scene, float, float], None], floors: Sequence[int], clear: float = 0.0
    ) -> None:
        """Put a thing where the floor suits it for `clear` metres to both sides, if a few tries find such a place."""
        reach = clear * self.metre(self.row(near))
        for _ in range(6):
            x = self.between(-0.05, 1.05) * self.width
            if all(self.floor_at(x + shift, near) in floors for shift in (-reach, 0.0, reach)):
                self.put(near, thing, x)
                return

    def draw_things(self) -> None:
        """Draw what was put into the scene, far things first."""
        for _, thing in sorted(self.things, key=lambda one: one[0]):
            thing()

    def photograph(self) -> tuple[np.ndarray, np.ndarray]:
        """What the camera keeps: averaged to the picture's size, with rough surfaces, uneven light and grain."""
        height, width = self.size
        picture = np.asarray(self.picture.reduce(FINE), dtype=np.float32)
        classes = np.ascontiguousarray(np.asarray(self.classes)[::FINE, ::FINE])
        rough = sum(ROUGHNESS[:, kind][classes] * field for kind, field in enumerate(self.noise))
        rows = np.linspace(-1, 1, height, dtype=np.float32)[:, None]
        columns = np.linspace(-1, 1, width, dtype=np.float32)[None, :]
        angle = self.between(0, 2 * math.pi)
        slope = 0.12 * (math.sin(angle) * rows + math.cos(angle) * columns)
        corners = -0.06 * (rows**2 + columns**2)
        grain = self.random((2, height, width, 3), dtype=np.float32)
        picture *= (1 + rough + slope + corners)[..., None]
        picture += (grain[0] - grain[1]) * self.between(2, 10)
        return np.clip(np.rint(picture), 0, 255).astype(np.uint8), classes


# --- Sky and floor ----------------------------------------------------------------------------------------------------


@dataclass
class Plane:
    """The ground before anything stands on it, for each pixel of the finished picture.

    below: (H, W) bool, under the horizon. ahead, aside: (H, W) metres from the viewer. colour: (H, W, 3) float32,
    without light and haze. label: (H, W) uint8.
    """

    below: np.ndarray
    ahead: np.ndarray
    aside: np.ndarray
    colour: np.ndarray
    label: np.ndarray


def _rgb(colour: Sequence[float]) -> np.ndarray:
    return np.array(colour, dtype=np.float32)


def stage(scene: Scene) -> tuple[np.ndarray, np.ndarray]:
    """Sky, ground, water and road: colours (H, W, 3) uint8 and classes (H, W) uint8."""
    (height, width), weather = scene.size, scene.weather
    rows = np.arange(height, dtype=np.float32)[:, None] + 0.5
    columns = np.arange(width, dtype=np.float32)[None, :] + 0.5 - width / 2
    horizon = scene.horizon / FINE
    metre = np.maximum(rows - horizon, 0.5) / scene.eye
    below = np.broadcast_to(rows > horizon, scene.size)
    plane = Plane(
        below=below,
        ahead=np.broadcast_to(FOCAL * height / metre, scene.size),
        aside=columns / metre,
        colour=meadows(scene),
        label=np.where(below, np.uint8(GROUND), np.uint8(SKY)),
    )
    if scene.chance(0.3):  # furrows, which run away from the viewer
        wave = np.sin((plane.aside + plane.ahead * scene.between(-0.4, 0.4)) * scene.between(2, 4))
        plane.colour *= (1 + 0.12 * wave * np.clip((rows - horizon) / height * 4, 0, 1))[..., None]
    flood(scene, plane)
    pave(scene, plane)
    kept = np.exp(-plane.ahead / weather.sight)[..., None]
    ground = plane.colour * _rgb(weather.light) * kept + _rgb(weather.bottom) * (1 - kept)
    picture = np.where(below[..., None], ground, sky(scene, rows / horizon))
    return np.clip(picture, 0, 255).astype(np.uint8), plane.label


def sky(scene: Scene, share: np.ndarray) -> np.ndarray:
    """(H, W, 3): from the one colour to the other, with clouds; `share` (H, 1) is 0 overhead and 1 at the horizon."""
    top, bottom = _rgb(scene.weather.top), _rgb(scene.weather.bottom)
    _, _, middling, coarse = scene.noise
    clear = top + (bottom - top) * np.clip(share, 0, 1)[..., None]
    cloud = np.clip((0.35 * middling + coarse + scene.between(-0.4, 0.2)) * 1.2, 0, 1) * scene.weather.clouds
    return clear + (0.6 * cloud)[..., None] * (np.minimum(bottom * 1.08 + 12, 252) - clear)


def meadows(scene: Scene) -> np.ndarray:
    """(H, W, 3): two kinds of them in patches."""
    first, second = (_rgb(scene.varied(scene.one_of(MEADOWS))) for _ in range(2))
    patch = np.clip(scene.noise[3] * 2 + scene.between(-1, 1.5), 0, 1)
    return first + (second - first) * patch[..., None]


def flood(scene: Scene, plane: Plane) -> None:
    """A sea behind the town, a canal in front of it, or a lake beside the road."""
    kind = scene.between(0, 1)
    if kind < 0.08:
        return
    shore = 0.6 * scene.noise[2] + scene.noise[3]
    closest = scene.ahead(scene.height)
    if kind < 0.35:
        wet = plane.ahead > closest / scene.between(0.16, 0.3) * (1 + 0.15 * shore)
    elif not scene.along and kind < 0.8:
        wet = plane.ahead < closest / scene.between(0.74, 0.88) * (1 + 0.08 * shore)
    else:
        side = scene.one_of((-1.0, 1.0))
        off = side * (plane.aside - scene.start - scene.bend * plane.ahead)
        wet = off > scene.half_road + scene.between(2, 9) + 1.5 * shore
        wet &= plane.ahead > closest / scene.between(0.7, 1.3)
        wet &= plane.ahead < 3 * closest / scene.between(0.2, 0.5)
    wet &= plane.below
    tint = _rgb(scene.varied(scene.one_of(WATERS)))
    mirrored = (0.6 * _rgb(scene.weather.top) + 0.4 * _rgb(scene.weather.bottom)) / _rgb(scene.weather.light)
    surface = tint + (mirrored - tint) * scene.between(0.25, 0.75)
    ripples = scene.smooth_noise(scene.size[1] // 12, scene.size[0])  # wide and low
    plane.colour[wet] = (surface * (1 + 0.14 * ripples)[..., None])[wet]
    plane.label[wet] = WATER


def pave(scene: Scene, plane: Plane) -> None:
    """The road with its kerbs and markings."""
    if scene.along:
        off = plane.aside - scene.start - scene.bend * plane.ahead
        dashes = np.mod(plane.ahead, 5.0) < 2.5
    else:
        off = plane.ahead - scene.ahead(scene.row(scene.band)) + plane.aside * scene.bend * 0.3
        dashes = np.mod(plane.aside, 5.0) < 2.5
    paved = (np.abs(off) < scene.half_road) & plane.below
    colour = _rgb(scene.varied(scene.one_of(ROADS), 16))
    plane.colour[paved] = colour
    if scene.chance(0.6):
        plane.colour[paved & (np.abs(off) > 0.8 * scene.half_road)] = colour * 1.25
    if scene.chance(0.6):
        plane.colour[paved & (np.abs(off) < 0.13) & dashes] = (225, 220, 205)
    plane.label[paved] = ROAD


def hills(scene: Scene) -> None:
    """Ridges along the horizon, the far ones paler; the nearer ones may be wooded."""
    foot = scene.horizon + 1
    for layer in range(int(scene.between(1, 4))):
        wooded = layer > 0 and scene.chance(0.5)
        colour = scene.varied(scene.one_of(scene.leaves if wooded else MEADOWS), 12)
        tall = scene.height * scene.between(0.03, 0.16) / (1 + 0.5 * layer)
        phases = [scene.between(0, 2 * math.pi) for _ in range(3)]
        steps = max(16, scene.width // (4 if wooded else 8))
        ridge = []
        for step in range(steps + 1):
            share = step / steps
            wave = sum(math.sin(share * (3 + 4 * k) + phase) / (1 + k) for k, phase in enumerate(phases))
            rough = scene.between(0, 0.35) if wooded else 0.0
            ridge.append((share * scene.width, scene.horizon - max(tall * (0.5 + 0.4 * wave + rough), -1)))
        seen = scene.seen(colour, scene.row(0.015 + 0.02 * layer), 0.85 if wooded else 1.0)
        scene.area([(0, foot), *ridge, (scene.width, foot)], seen, TREE if wooded else GROUND)


# --- Who stands where -------------------------------------------------------------------------------------------------


def populate(scene: Scene) -> None:
    """Put things into the scene."""
    if scene.chance(0.3):
        scene.put(0.0, balloon, scene.between(0.1, 0.9) * scene.width)
    if scene.along:
        for _ in range(int(scene.between(3, 7))):
            scene.place(scene.between(0.1, 0.36), building, (GROUND,), clear=3)
    else:
        front = scene.band - scene.between(0.14, 0.24)
        x = scene.between(-0.2, 0.3) * scene.width
        while x < scene.width:
            if scene.floor_at(x, front) == GROUND and scene.chance(0.85):
                scene.put(front + scene.between(-0.02, 0.02), building, x)
            x += scene.metre(scene.row(front)) * scene.between(8, 17)
    for _ in range(int(scene.between(3, 8))):
        scene.place(scene.between(0.08, 0.75), tree, (GROUND,), clear=3)
    traffic(scene)
    for _ in range(int(scene.between(3, 8))):
        scene.place(scene.between(0.55, 1.1), person, (GROUND, ROAD))
    for _ in range(int(scene.between(1, 4))):
        scene.place(scene.between(0.4, 0.95), scene.one_of((lamp, lamp, sign)), (GROUND,))
    if scene.chance(0.15):
        telegraph(scene)
    if scene.chance(0.25):
        scene.place(scene.between(0.4, 0.9), railing, (GROUND,))
    for _ in range(int(scene.between(0, 2.5))):
        scene.place(scene.between(0.05, 0.6), boat, (WATER,))


def traffic(scene: Scene) -> None:
    """Cars on the road, on either side of it."""
    first = int(scene.between(0, 3))
    for index in range(int(scene.between(1, 4))):
        lane = scene.one_of((-0.45, 0.45)) * scene.half_road
        if scene.along:
            near = 0.24 + 0.25 * ((first + index) % 3) + scene.between(0, 0.22)
            y = scene.row(near)
            scene.put(near, car_along, scene.middle_of_road(y) + lane * scene.metre(y))
        else:
            x = (index + scene.between(-0.4, 0.6)) * 0.45 * scene.width
            aside = (x - scene.width / 2) / scene.metre(scene.row(scene.band))
            ahead = scene.ahead(scene.row(scene.band)) - aside * scene.bend * 0.3 + lane
            y = scene.horizon + FOCAL * scene.height * scene.eye / ahead
            scene.put((y - scene.horizon) / (scene.height - scene.horizon), car_across, x)


# --- Things: each draws itself with its foot at (x, y) ----------------------------------------------------------------


def building(scene: Scene, x: float, y: float) -> None:
    """A house with a gable, or a tower with a flat roof, and the side wall that one sees."""
    metre = scene.metre(y)
    wide, tall = scene.between(6, 12) * metre, scene.between(4, 8) * metre
    tower = scene.chance(0.2)
    if tower:
        wide, tall = wide * 0.6, tall * 2
    wall, roof = scene.varied(scene.one_of(WALLS)), scene.varied(scene.one_of(ROOFS))
    left, right, top = x - wide / 2, x + wide / 2, y - tall
    scene.shadow(x, y, wide * 0.6, max(1.0, 0.8 * metre))
    front, side = (1.0, 0.72) if (scene.sun > 0) == (x < scene.width / 2) else (0.82, 1.0)
    depth = scene.between(0.1, 0.3)

    def back(point: Point) -> Point:
        """The same point of the back wall: further towards the vanishing point."""
        return point[0] + (scene.width / 2 - point[0]) * depth, point[1] + (scene.horizon - point[1]) * depth

    corner = right if x < scene.width / 2 else left
    low, high = (corner, y), (corner, top)
    scene.area((low, back(low), back(high), high), scene.seen(wall, y, side), BUILDING)
    scene.box(left, top, right, y, scene.seen(wall, y, front), BUILDING)
    if not tower and scene.chance(0.75):
        ridge, eaves = (x, top - scene.between(0.25, 0.5) * wide), 0.4 * metre
        scene.area((high, back(high), back(ridge), ridge), scene.seen(roof, y, side), BUILDING)
        scene.area(((left - eaves, top), ridge, (right + eaves, top)), scene.seen(roof, y, front), BUILDING)
        if scene.chance(0.5):
            chimney = x + scene.between(-0.25, 0.1) * wide
            scene.box(chimney, ridge[1] - 0.2 * metre, chimney + 0.8 * metre, top, scene.seen(wall, y, 0.7), BUILDING)
    else:
        edge = 0.3 * metre
        scene.box(left - edge, top - 0.5 * metre, right + edge, top, scene.seen(roof, y, front), BUILDING)
    if metre >= 4:  # smaller ones would be all lines
        if scene.chance(0.65):
            courses(scene, left, top, right, y)
        windows(scene, left, top, right, y)
    elif metre >= 2.5:
        windows(scene, left, top, right, y)


def courses(scene: Scene, left: float, top: float, right: float, y: float) -> None:
    """Courses of bricks, or boards."""
    step = max(0.45 * scene.metre(y), 3.0)
    dark = (20, 10, 10, 46)
    if scene.chance(0.5):
        for index in range(int((y - top) / step) + 1):
            scene.glaze.line((left, top + index * step, right, top + index * step), fill=dark)
    else:
        for index in range(int((right - left) / step) + 1):
            scene.glaze.line((left + index * step, top, left + index * step, y), fill=dark)


def windows(scene: Scene, left: float, top: float, right: float, y: float) -> None:
    """A door and windows in rows, some of them lit at night."""
    metre = scene.metre(y)
    glass, wood = scene.seen(scene.varied(GLASS), y), scene.seen(DOOR, y)
    columns, floors = max(1, int((right - left) / (2.3 * metre))), max(1, int((y - top) / (2.7 * metre)))
    door = int(scene.between(0, columns))
    for column in range(columns):
        middle = left + (column + 0.5) * (right - left) / columns
        for floor in range(floors):
            if floor == 0 and column == door:
                scene.box(middle - 0.5 * metre, y - 2.1 * metre, middle + 0.5 * metre, y, wood, BUILDING)
                continue
            sill = y - (floor * 2.7 + 0.9) * metre
            fill = (250, 214, 130) if scene.weather.night and scene.chance(0.45) else glass
            scene.box(middle - 0.55 * metre, sill - 1.4 * metre, middle + 0.55 * metre, sill, fill, BUILDING)


def tree(scene: Scene, x: float, y: float) -> None:
    """A bush, a conifer, a poplar or a broad tree."""
    metre = scene.metre(y)
    leaf = scene.varied(scene.one_of(scene.leaves), 16)
    kind, tall = scene.between(0, 1), scene.between(4, 8.5) * metre
    if kind < 0.15:
        crown(scene, x, y - 0.8 * metre, 1.5 * metre, 0.9 * metre, leaf, y)
        return
    scene.shadow(x, y, 0.35 * tall, 0.09 * tall)
    scene.line(((x, y), (x, y - 0.5 * tall)), 0.07 * tall, scene.seen(BARK, y, 0.8), TREE)
    if kind < 0.4:
        for tier in range(5):
            foot, half = y - tall * (0.14 + 0.17 * tier), tall * (0.26 - 0.045 * tier)
            shade = 0.62 + 0.07 * tier + scene.between(-0.04, 0.04)
            points = ((x - half, foot), (x, foot - 0.34 * tall), (x + half, foot))
            scene.area(points, scene.seen(leaf, y, shade), TREE)
    elif kind < 0.55:
        crown(scene, x, y - 0.56 * tall, 0.15 * tall, 0.46 * tall, leaf, y)
    else:
        crown(scene, x, y - 0.66 * tall, scene.between(0.3, 0.4) * tall, 0.34 * tall, leaf, y)


def crown(scene: Scene, x: float, y: float, across: float, down: float, leaf: Colour, foot: float) -> None:
    """Foliage around (x, y): round tufts, lighter towards the sun, and gaps between the outer ones."""
    tufts = 14 if across < 12 else 30
    size = min(across, down) * 0.34
    for index in range(tufts):
        radius = math.sqrt(1 - index / tufts)  # the outer ones first, so that the middle covers them
        angle = scene.between(0, 2 * math.pi)
        aside, up = math.cos(angle) * radius, math.sin(angle) * radius
        shade = 0.8 + 0.16 * aside * scene.sun - 0.2 * up + scene.between(-0.1, 0.1)
        own = size * scene.between(0.7, 1.25)
        scene.oval(x + aside * across, y + up * down, own, own, scene.seen(leaf, foot, shade), TREE)


def car_across(scene: Scene, x: float, y: float) -> None:
    """A car or a van from its side."""
    metre, ahead = scene.metre(y), scene.one_of((-1.0, 1.0))
    long, paint = 4.2 * metre, scene.any_colour()
    scene.shadow(x, y, 0.55 * long, 0.25 * metre)

    def at(*places: Point) -> list[Point]:
        """Places in shares of the car's length and in metres of height."""
        return [(x + ahead * share * long, y - up * metre) for share, up in places]

    if scene.chance(0.25):
        cabin = at((-0.5, 0.85), (-0.48, 2.0), (0.3, 2.0), (0.44, 0.8))
        glass = at((0.1, 1.1), (0.1, 1.8), (0.27, 1.8), (0.36, 1.1))
    else:
        cabin = at((-0.42, 0.85), (-0.3, 1.45), (0.1, 1.45), (0.26, 0.8))
        glass = at((-0.34, 0.9), (-0.26, 1.33), (0.07, 1.33), (0.18, 0.88))
    body = at((-0.5, 0.25), (-0.5, 0.9), (0.5, 0.75), (0.5, 0.25))
    scene.area(cabin, scene.seen(paint, y, 0.92), CAR)
    scene.area(body, scene.seen(paint, y), CAR)
    scene.area(glass, scene.seen(GLASS, y), CAR)
    scene.line(at((-0.48, 0.5), (0.48, 0.45)), 0.1 * metre, scene.seen(paint, y, 0.75), CAR)
    for place in at((-0.3, 0.3), (0.3, 0.3)):
        scene.oval(*place, 0.34 * metre, 0.34 * metre, scene.seen(TYRE, y), CAR)
        scene.oval(*place, 0.14 * metre, 0.14 * metre, scene.seen(METAL, y), CAR)
    scene.oval(*at((0.47, 0.62))[0], 0.1 * metre, 0.1 * metre, (255, 240, 190), CAR)


def car_along(scene: Scene, x: float, y: float) -> None:
    """A car from behind, or from the front."""
    metre, paint = scene.metre(y), scene.any_colour()
    half, roof = 0.9 * metre, scene.between(1.4, 2.1)
    lights = scene.one_of(((255, 244, 200), (200, 40, 36)))
    scene.shadow(x, y, 1.15 * half, 0.2 * metre)

    def at(*places: Point) -> list[Point]:
        """Places in halves of the car's width and in metres of height."""
        return [(x + share * half, y - up * metre) for share, up in places]

    for side in (-0.7, 0.7):
        scene.area(
            at((side - 0.15, 0), (side - 0.15, 0.4), (side + 0.15, 0.4), (side + 0.15, 0)), scene.seen(TYRE, y), CAR
        )
    cabin = at((-0.95, 0.85), (-0.72, roof), (0.72, roof), (0.95, 0.85))
    glass = at((-0.8, 0.9), (-0.64, roof - 0.12), (0.64, roof - 0.12), (0.8, 0.9))
    scene.area(cabin, scene.seen(paint, y, 0.9), CAR)
    scene.area(glass, scene.seen(GLASS, y), CAR)
    scene.area(at((-1, 0.22), (-1, 0.9), (1, 0.9), (1, 0.22)), scene.seen(paint, y), CAR)
    scene.area(at((-0.9, 0.22), (-0.9, 0.36), (0.9, 0.36), (0.9, 0.22)), scene.seen(paint, y, 0.6), CAR)
    for place in at((-0.78, 0.66), (0.78, 0.66)):
        scene.oval(*place, 0.14 * metre, 0.12 * metre, lights, CAR)


def person(scene: Scene, x: float, y: float) -> None:
    """Somebody who walks, grown-up or child."""
    tall = scene.between(1.75, 2.3) * (0.7 if scene.chance(0.15) else 1.0) * scene.metre(y)
    coat, trousers = scene.any_colour(), scene.any_colour()
    skin, hair = scene.one_of(SKINS), scene.one_of(HAIRS)
    stride, swing = scene.between(0.02, 0.14), scene.between(0.15, 0.26)
    scene.shadow(x, y, 0.22 * tall, 0.05 * tall)

    def at(*places: Point) -> list[Point]:
        """Places in shares of the height."""
        return [(x + share * tall, y - up * tall) for share, up in places]

    for side in (-1, 1):
        scene.line(at((0.03 * side, 0.48), (stride * side, 0)), 0.1 * tall, scene.seen(trousers, y), PERSON)
    if scene.chance(0.25):  # a skirt, or a long coat
        skirt = at((-0.1, 0.48), (0.1, 0.48), (0.17, 0.22), (-0.17, 0.22))
        scene.area(skirt, scene.seen(coat, y, 0.9), PERSON)
    scene.area(at((-0.13, 0.84), (0.13, 0.84), (0.1, 0.46), (-0.1, 0.46)), scene.seen(coat, y), PERSON)
    for side in (-1, 1):
        scene.line(at((0.12 * side, 0.82), (swing * side, 0.48)), 0.06 * tall, scene.seen(coat, y, 0.85), PERSON)
    scene.oval(*at((0, 0.92))[0], 0.065 * tall, 0.08 * tall, scene.seen(skin, y), PERSON)
    cap = at((-0.065, 0.95), (-0.065, 1.0), (0.065, 1.0), (0.065, 0.95))
    scene.area(cap, scene.seen(hair, y), PERSON)


def lamp(scene: Scene, x: float, y: float) -> None:
    """A street lamp, which glows at night."""
    metre = scene.metre(y)
    top = y - scene.between(4.5, 6) * metre
    head = x + (1.2 if x < scene.width / 2 else -1.2) * metre
    post = scene.seen(scene.varied((88, 92, 96)), y)
    scene.line(((x, y), (x, top), (head, top - 0.2 * metre)), 0.44 * metre, post, POLE)
    light = scene.seen(WHITE, y)
    if scene.weather.night:
        light = LAMPLIGHT
        for glow in (1.7 * metre, 1.3 * metre, 0.9 * metre, 0.5 * metre):
            scene.glaze.ellipse((head - glow, top - glow, head + glow, top + glow), fill=(255, 220, 140, 22))
    scene.oval(head, top, 0.35 * metre, 0.18 * metre, light, POLE)


def sign(scene: Scene, x: float, y: float) -> None:
    """A traffic sign, round or three-cornered."""
    metre = scene.metre(y)
    top = y - scene.between(2.4, 3.2) * metre
    rim = scene.seen(scene.one_of(((200, 36, 40), (40, 80, 180), (226, 190, 40))), y)
    scene.line(((x, y), (x, top)), 0.42 * metre, scene.seen(METAL, y), POLE)
    if scene.chance(0.5):
        scene.oval(x, top, 0.5 * metre, 0.5 * metre, rim, POLE)
        scene.oval(x, top, 0.3 * metre, 0.3 * metre, scene.seen(WHITE, y), POLE)
    else:
        scene.area(((x - 0.6 * metre, top), (x + 0.6 * metre, top), (x, top - metre)), rim, POLE)


def telegraph(scene: Scene) -> None:
    """A row of telegraph poles that comes nearer, with wires from each one to the next."""
    aside = scene.one_of((-1.0, 1.0)) * (scene.half_road + scene.between(1.5, 4))
    wood = scene.varied(WOOD)
    before: list[Point] = []
    for index in range(5):
        near = 0.14 * 1.55**index
        y = scene.row(near)
        metre = scene.metre(y)
        x = scene.middle_of_road(y) + aside * metre
        arms = [(x - 0.8 * metre, y - 6.6 * metre), (x + 0.8 * metre, y - 6.6 * metre)]
        scene.put(near, telegraph_pole(before, arms, wood), x)
        before = arms


def telegraph_pole(
    before: Sequence[Point], arms: Sequence[Point], wood: Colour
) -> Callable[[Scene, float, float], None]:
    """One pole, and the wires from its arms to those of the pole behind it."""

    def pole(scene: Scene, x: float, y: float) -> None:
        metre, colour = scene.metre(y), scene.seen(wood, y)
        for (x0, y0), (x1, y1) in zip(before, arms, strict=False):
            wire = []
            for share in (0.0, 0.2, 0.4, 0.6, 0.8, 1.0):
                sag = 2 * metre * share * (1 - share)
                wire.append((x0 + (x1 - x0) * share, y0 + (y1 - y0) * share + sag))
            scene.line(wire, 0, colour, POLE)
        scene.line(((x, y), (x, y - 7 * metre)), 0.36 * metre, colour, POLE)
        scene.line(arms, 0.16 * metre, colour, POLE)

    return pole


def railing(scene: Scene, x: float, y: float) -> None:
    """Posts and two rails."""
    metre, posts = scene.metre(y), int(scene.between(4, 12))
    colour = scene.seen(scene.varied(scene.one_of(RAILINGS)), y)
    places = [x + (index - (posts - 1) / 2) * 1.4 * metre for index in range(posts)]
    for place in places:
        scene.line(((place, y), (place, y - 1.15 * metre)), 0.24 * metre, colour, POLE)
    for up in (0.5, 1.0):
        scene.line(((places[0], y - up * metre), (places[-1], y - up * metre)), 0.1 * metre, colour, POLE)


# Balloons and boats have no class: they are what a data set leaves out.


def balloon(scene: Scene, x: float, y: float) -> None:
    """A striped balloon somewhere in the sky."""
    size, middle = scene.between(0.05, 0.11) * scene.height, scene.between(0.3, 0.7) * scene.horizon
    far = scene.row(0.2)
    stripes = (scene.any_colour(), scene.any_colour())
    basket = middle + 1.75 * size
    scene.box(x - 0.2 * size, basket, x + 0.2 * size, basket + 0.3 * size, scene.seen(DOOR, far), IGNORE)
    skirt = ((x - 0.8 * size, middle + 0.6 * size), (x + 0.8 * size, middle + 0.6 * size))
    ropes = ((x + 0.15 * size, basket), (x - 0.15 * size, basket))
    scene.area((*skirt, *ropes), scene.seen(stripes[0], far, 0.85), IGNORE)
    for index, share in enumerate((1.0, 0.66, 0.3)):
        scene.oval(x, middle, share * size, size * 1.05, scene.seen(stripes[index % 2], far), IGNORE)


def boat(scene: Scene, x: float, y: float) -> None:
    """A sailing boat."""
    metre = scene.metre(y)

    def at(*places: Point) -> list[Point]:
        """Places in metres."""
        return [(x + aside * metre, y - up * metre) for aside, up in places]

    scene.area(at((-2, 0.8), (2.2, 0.8), (1.5, 0), (-1.5, 0)), scene.seen(scene.any_colour(), y), IGNORE)
    scene.area(at((0, 0.8), (0, 5.3), (1.8, 1.2)), scene.seen(WHITE, y), IGNORE)
    scene.line(at((0, 0.8), (0, 5.5)), 0.1 * metre, scene.seen(WOOD, y), IGNORE)
