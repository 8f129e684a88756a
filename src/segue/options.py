"""Everything that a recipe can say, as frozen dataclasses.

A TOML file and the command line are read into the same classes: the key `lr` of the table `[optim]` is the option
`--optim.lr`. Nothing here imports torch, so that the command line answers at once.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any, Literal, get_args

PolicyName = Literal["fixed", "step", "exp", "inv", "multistep", "poly", "sigmoid"]
NormalizationName = Literal["symmetric", "after", "before", "none"]
CacheName = Literal["auto", "ram", "disk", "off"]
BlendName = Literal["gaussian", "uniform"]
ProbabilityType = Literal["none", "uint8", "float16"]


@dataclass(frozen=True)
class DataOptions:
    """Which pictures, and how they are read."""

    name: str = "scenes"
    """A data set's name, or a folder of images and masks. `--data` for short."""
    root: str = ""
    """Where a named data set lies. `--root` for short."""
    train: str = "train"
    """The split to train on."""
    val: str = "val"
    """The split to validate on."""
    map: dict[str, int] = field(default_factory=dict)
    """Raw label value = class, 255 to ignore: the table [data.map]. Empty: the data set's own map."""
    classes: tuple[str, ...] = ()
    """Class names. Empty: the data set's own, or classes.txt, or class 0, class 1, ..."""
    hold_out: tuple[str, ...] = ()
    """Classes that the network is not shown: their pixels are ignored, and `segue anomalies` asks whether it finds
    them. `--hold-out` for short."""
    shrink: float = 1.0
    """The network sees pictures shrunk by this factor; its scores are enlarged back to the picture's size."""
    mean: tuple[float, ...] = (123.675, 116.28, 103.53)
    """Subtracted from each channel (0..255) before the network; ImageNet's by default."""
    std: tuple[float, ...] = (58.395, 57.12, 57.375)
    """Each channel is divided by it."""
    workers: int = -1
    """Processes that decode and augment; -1 chooses by the machine, 0 uses none."""
    cache: CacheName | bool = "auto"
    """Decoded pictures are kept in memory that all processes share (ram), compressed in files (disk), or not at all
    (off); auto takes the memory if they fit into a quarter of what is free. true is ram, false is off. The files lie
    in ~/.cache/segue, or in $SEGUE_CACHE."""


@dataclass(frozen=True)
class AugmentOptions:
    """What happens to training pictures."""

    crop: tuple[int, int] = (0, 0)
    """Height and width that the network sees; 0 0 takes the first picture's, 512 at most."""
    scale: tuple[float, float] = (0.5, 2.0)
    """Range of the random factor on a picture's size."""
    max_share: float = 0.75
    """A crop with more than this share of one class is drawn again, up to ten times."""
    mirror: bool = True
    """Mirror half of the pictures."""
    photometric: float = 1.0
    """Strength of the changes of brightness, contrast, saturation and hue; 0 for none."""
    rare: float = 0.0
    """Share of crops that are centred on a pixel of a class drawn for its rarity."""


@dataclass(frozen=True)
class LossOptions:
    """The criterion that every segmentation map of the network is trained with."""

    name: Literal["cross_entropy", "ohem"] = "cross_entropy"
    """Cross entropy of all pixels, or of the hard ones."""
    weights: Literal["none", "median", "enet"] | tuple[float, ...] = "none"
    """Class weights: none, from the training masks by median frequency (SegNet) or by inverse log frequency (ENet), or
    one number per class."""
    smoothing: float = 0.0
    """Label smoothing."""
    threshold: float = 0.7
    """ohem: pixels whose true class has at most this probability are kept."""
    min_kept: int = 100_000
    """ohem: at least so many pixels of a forward pass are kept; 0 keeps all."""


@dataclass(frozen=True)
class OptimOptions:
    """The optimiser."""

    name: Literal["sgd", "adamw"] = "adamw"
    """SGD with momentum, or AdamW."""
    lr: float = 1e-3
    """Base learning rate."""
    head_lr: float = 1.0
    """Multiple of the rate for everything but the backbone; the papers use 10 with a pretrained one."""
    momentum: float = 0.9
    """Of SGD; AdamW's first beta."""
    weight_decay: float = 0.01
    """Decay of weights; 1e-4 to 5e-4 is usual for SGD."""
    decay_norms: bool = False
    """Decay scales, shifts and biases as well."""
    clip: float = 0.0
    """Largest norm of the gradient; 0 for no limit."""


@dataclass(frozen=True)
class ScheduleOptions:
    """The learning-rate policy; t counts iterations from 0 after the warm-up."""

    policy: PolicyName = "poly"
    """fixed, step: gamma^floor(t/stepsize), exp: gamma^t, inv: (1 + gamma t)^-power, multistep: gamma per stepvalue
    passed, poly: (1 - t/T)^power, sigmoid: 1/(1 + exp(-gamma (t - stepsize))), which falls for gamma < 0."""
    power: float = 0.9
    """Of poly and inv."""
    gamma: float = 0.1
    """Of step, exp, inv, multistep and sigmoid."""
    stepsize: int = 1000
    """Of step and sigmoid, in iterations."""
    stepvalues: tuple[int, ...] = ()
    """Of multistep, in iterations."""
    floor: float = 0.0
    """poly ends at this share of the base rate."""
    warmup: int = 0
    """Iterations of a linear warm-up before the policy."""
    warmup_ratio: float = 0.0
    """Share of the base rate that the warm-up starts from."""


@dataclass(frozen=True)
class TrainingOptions:
    """How long, how many at a time, and with which arithmetic."""

    steps: int = 0
    """Optimiser steps; 0 takes `epochs`."""
    epochs: float = 50.0
    """Passes over the training split, where `steps` is 0."""
    batch: int = 8
    """Pictures per optimiser step, over all processes together."""
    per_device: int = 0
    """Pictures per forward pass of one process, at most; fewer than its share are accumulated. 0: no limit."""
    validate_every: int = 0
    """Steps between validations; 0: ten over the run."""
    save_every: int = 0
    """Steps between checkpoints; 0: at each validation."""
    validation_batch: int = 8
    """Pictures per forward pass of validation."""
    ema: float = 0.0
    """Decay of an exponential moving average of the weights, which is what is validated and kept; 0 for none."""
    precision: Literal["auto", "bfloat16", "float32"] = "auto"
    """auto is bfloat16 where the processor has it."""
    channels_last: bool = True
    """Keep maps channels-last in memory, which convolutions like."""
    compile: bool = False
    """Compile the network with torch.compile."""
    freeze_backbone: bool = False
    """Train the rest only."""
    freeze_norm: bool = False
    """BatchNorm keeps its statistics, scales and shifts."""
    seed: int = 0
    """Of the weights, the order and the augmentation."""
    trackers: tuple[str, ...] = ()
    """Experiment trackers that Accelerate knows: tensorboard, wandb, mlflow. log.csv is written in any case."""


@dataclass(frozen=True)
class Recipe:
    """A network, its data and how it is trained."""

    network: str = "unet"
    """A network's name; `segue list networks` lists them."""
    model: dict[str, Any] = field(default_factory=dict)
    """The options of the network and of its backbone, as the table [model]."""
    data: DataOptions = field(default_factory=DataOptions)
    augment: AugmentOptions = field(default_factory=AugmentOptions)
    loss: LossOptions = field(default_factory=LossOptions)
    optim: OptimOptions = field(default_factory=OptimOptions)
    schedule: ScheduleOptions = field(default_factory=ScheduleOptions)
    training: TrainingOptions = field(default_factory=TrainingOptions)


@dataclass(frozen=True)
class InferenceOptions:
    """How a picture is looked at: at once or in windows, at which scales, and mirrored as well.

    Probabilities are averaged over all of it.
    """

    window: tuple[int, ...] = ()
    """Side, or height and width, of the windows that slide over the picture at each scale; without it, the whole
    picture is looked at."""
    overlap: float = 0.5
    """Share of a window that the next one looks at again, from 0 to below 1."""
    blend: BlendName = "gaussian"
    """What counts where windows overlap: gaussian, the middle of a window more than its rim; uniform, all alike."""
    scales: tuple[float, ...] = (1.0,)
    """Factors on the picture's height and width."""
    mirror: bool = False
    """Look at the mirror image as well; classes that have a left and a right are swapped back."""
    batch: int = 0
    """Windows that go through the network together; 0: as many as make a million pixels, one at least."""

    def __post_init__(self) -> None:
        if len(self.window) > 2 or any(side < 1 for side in self.window):
            raise ValueError(f"window {_listed(self.window)}: give one side, or height and width, each 1 or more")
        if not 0 <= self.overlap < 1:
            raise ValueError(f"overlap {self.overlap:g}: it must be 0 or more and below 1")
        if self.blend not in get_args(BlendName):
            raise ValueError(f"blend {self.blend!r}: it must be {' or '.join(get_args(BlendName))}")
        if not self.scales or not all(0 < scale < float("inf") for scale in self.scales):
            raise ValueError(f"scales {_listed(self.scales)}: give one number or more, each above 0")
        if self.batch < 0:
            raise ValueError(f"batch {self.batch}: it must be 0 or more")

    @property
    def plain(self) -> bool:
        """Whether there is nothing to average: the whole picture at its own size."""
        return not self.window and self.scales == (1.0,) and not self.mirror

    def described(self) -> str:
        """In words, for a line on the terminal."""
        words = []
        if self.window:
            height, width = self.window[0], self.window[-1]
            words.append(f"windows of {height}x{width}, overlap {self.overlap:g}, {self.blend}")
        if self.scales != (1.0,):
            words.append(f"scales {_listed(self.scales)}")
        if self.mirror:
            words.append("mirrored as well")
        return "; ".join(words) or "the whole picture at once"


def _listed(values: tuple[float, ...]) -> str:
    return " ".join(f"{value:g}" for value in values) or "(none)"


@dataclass(frozen=True)
class CRFOptions:
    """The dense CRF that sharpens a network's probabilities; the defaults are those of DeepLab v2 with VGG-16."""

    gaussian_sxy: float = 3.0
    """Standard deviation of the smoothness kernel, in pixels."""
    gaussian_compat: float = 3.0
    """Weight of the smoothness kernel, in units of logits; 0 leaves it out."""
    bilateral_sxy: float = 49.0
    """Standard deviation of the appearance kernel, in pixels."""
    bilateral_srgb: float = 5.0
    """Standard deviation of the appearance kernel, in grey levels of 0..255."""
    bilateral_compat: float = 4.0
    """Weight of the appearance kernel, in units of logits; 0 leaves it out."""
    normalization: NormalizationName = "symmetric"
    """How kernels are normalised: symmetric as in pydensecrf, after as by the authors of DeepLab, before, or none."""
    iterations: int = 10
    """Mean field updates."""

    def __post_init__(self) -> None:
        for name in ("gaussian_sxy", "bilateral_sxy", "bilateral_srgb"):
            if not 0 < getattr(self, name) < float("inf"):
                raise ValueError(f"crf.{name} = {getattr(self, name)}: it must be above 0")
        for name in ("gaussian_compat", "bilateral_compat", "iterations"):
            if not 0 <= getattr(self, name) < float("inf"):
                raise ValueError(f"crf.{name} = {getattr(self, name)}: it must be 0 or more")


@dataclass(frozen=True)
class CRFSearch:
    """Which CRF parameters `segue tune-crf` tries."""

    pictures: int = 100
    """Pictures of the split that are looked at, evenly apart."""
    compat: tuple[float, ...] = (3.0, 4.0, 5.0, 6.0)
    """Weights of the appearance kernel to begin with."""
    sxy: tuple[float, ...] = (30.0, 50.0, 75.0, 100.0)
    """Its standard deviations in pixels to begin with."""
    srgb: tuple[float, ...] = (3.0, 4.0, 5.0, 6.0)
    """Its standard deviations in grey levels to begin with."""
    refinements: int = 1
    """How often the steps are halved around the best."""
    normalization: NormalizationName = "symmetric"
    """How kernels are normalised: symmetric, after, before or none."""
    iterations: int = 10
    """Mean field updates."""

    def __post_init__(self) -> None:
        if self.pictures < 1:
            raise ValueError(f"--pictures {self.pictures}: it must be 1 or more")
        if min(self.refinements, self.iterations) < 0:
            raise ValueError("--refinements and --iterations must be 0 or more")
        for name in ("sxy", "srgb", "compat"):
            values = getattr(self, name)
            lowest = "0 or more" if name == "compat" else "above 0"
            if not values or any(value < 0 or (value == 0 and name != "compat") for value in values):
                raise ValueError(f"--{name} {' '.join(map(str, values))}: give one number or more, each {lowest}")
