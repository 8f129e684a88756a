"""A trained network with all that belongs to it: classes, colours, preprocessing. What `segue.load` gives.

A model is a folder of two files, `model.safetensors` and `card.json`, and nothing in it runs code.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import torch
from huggingface_hub import ModelHubMixin
from PIL import Image
from safetensors.torch import load_file, save_file
from torch import Tensor

from segue.convert import load_reference
from segue.errors import DataError
from segue.files import write_atomically, write_json
from segue.labels import Labels
from segue.models import Network, create
from segue.options import BlendName, InferenceOptions
from segue.pictures import overlay, viewable
from segue.prediction import Averaged, Predictor, Preprocessing, as_batch
from segue.reading import read_image

WEIGHTS, CARD = "model.safetensors", "card.json"
FETCHED = ("pretrained", "weights")
"""Options that only say where first weights come from: a saved model has its own."""
WHOLE = InferenceOptions()


class ModelError(ValueError):
    """A model's folder is not what it should be; the message names the file and the mend."""


@dataclass(frozen=True)
class Prediction:
    """What a model says of one picture.

    labels: (H, W) uint8 numpy, classes 0..K-1.
    probabilities: (K, H, W) float32 numpy, adding up to one at each pixel.
    image: (H, W, C) numpy, what was looked at: uint8 RGB, or what else the network was trained on.
    meaning: the classes' names, colours and raw values.
    """

    labels: np.ndarray
    probabilities: np.ndarray
    image: np.ndarray
    meaning: Labels

    def overlay(self, opacity: float = 0.5) -> Image.Image:
        """The picture with the classes' colours laid over it."""
        return Image.fromarray(overlay(viewable(self.image), self.labels, self.meaning, opacity))

    def mask(self) -> Image.Image:
        """The data set's own label values with its palette, to be saved as PNG."""
        return mask_image(self.labels, self.meaning)


def mask_image(labels: np.ndarray, meaning: Labels) -> Image.Image:
    """Classes (H, W) -> a picture as the data set's masks are: palette PNG, 16-bit where values need it, or colours."""
    raw = meaning.write(labels)
    image = Image.fromarray(raw)
    if raw.dtype == np.uint8 and raw.ndim == 2:
        image.putpalette(meaning.png_palette())
    return image


@dataclass(frozen=True)
class Card:
    """How to build the network again, and what its inputs and outputs mean; JSON beside the weights.

    reference: of a converted checkpoint, whose it is (`source`) and its codebase's arguments (`args`); the weights
    are then kept under their own codebase's names, and converted again when they are read.
    temperature: what scores are divided by before they become probabilities, as `segue calibrate` finds it.
    pixels: the type of the training pictures' values, uint8 mostly; "" where it is not known.
    """

    network: str
    options: Mapping[str, Any]
    labels: Labels
    preprocessing: Preprocessing
    measured: Mapping[str, Any] = field(default_factory=dict)
    reference: Mapping[str, Any] = field(default_factory=dict)
    temperature: float = 1.0
    pixels: str = ""

    def to_dict(self) -> dict[str, Any]:
        """Plain values, for JSON."""
        return {
            "format": 1,
            "network": self.network,
            "options": {key: value for key, value in self.options.items() if key not in FETCHED},
            "labels": self.labels.to_dict(),
            "preprocessing": asdict(self.preprocessing),
            "measured": dict(self.measured),
            "reference": dict(self.reference),
            "temperature": self.temperature,
            "pixels": self.pixels,
        }

    @classmethod
    def from_dict(cls, mapping: Mapping[str, Any]) -> Card:
        """The inverse of `to_dict`."""
        if mapping.get("format") != 1:
            raise ModelError(f"the card has format {mapping.get('format')!r}, this segue reads format 1: update segue")
        how = mapping["preprocessing"]
        return cls(
            network=mapping["network"],
            options=mapping["options"],
            labels=Labels.from_dict(mapping["labels"]),
            preprocessing=Preprocessing(tuple(how["mean"]), tuple(how["std"]), how["shrink"], how.get("bgr", False)),
            measured=mapping.get("measured", {}),
            reference=mapping.get("reference", {}),
            temperature=float(mapping.get("temperature", 1.0)),
            pixels=mapping.get("pixels", ""),
        )


class Model(
    ModelHubMixin,
    library_name="segue",
    tags=["semantic-segmentation", "image-segmentation"],
    pipeline_tag="image-segmentation",
):
    """A network, its classes and its preprocessing, ready to predict, save and share.

    `Model.from_pretrained(FOLDER_OR_HUB_NAME)` and `push_to_hub(NAME)` are those of huggingface_hub.
    """

    def __init__(self, network: Network[Any], card: Card, original: Mapping[str, Tensor] | None = None) -> None:
        self.network = network
        self.card = card
        self.original = original  # a converted checkpoint's tensors, by their own codebase's names
        self._predictor: Predictor | None = None

    @property
    def labels(self) -> Labels:
        """Classes, colours and raw values."""
        return self.card.labels

    @property
    def preprocessing(self) -> Preprocessing:
        """What is done to a picture first."""
        return self.card.preprocessing

    def check(self, pixels: np.ndarray, where: object) -> None:
        """Raise DataError for a picture (H, W, C) of other channels or bits than those that the network takes."""
        channels, wanted = pixels.shape[2], len(self.preprocessing.mean)
        mend = "take it out, or predict it with a network of its kind"
        if channels != wanted:
            plural = "" if channels == 1 else "s"
            raise DataError(f"{where}: has {channels} channel{plural}, where the network takes {wanted}; {mend}")
        if self.card.pixels and pixels.dtype != self.card.pixels:
            raise DataError(f"{where}: holds {pixels.dtype}, where the network takes {self.card.pixels}; {mend}")

    def to(self, device: str | torch.device) -> Model:
        """Move the network to a device."""
        self.network.to(device)
        self._predictor = None
        return self

    def predictor(self, inference: InferenceOptions = WHOLE) -> Predictor | Averaged:
        """The network made ready to predict; behind windows, scales and mirror images, if they are asked for.

        Weights are prepared once, and anew after `to`.
        """
        if self._predictor is None:
            self._predictor = Predictor(self.network, self.preprocessing, temperature=self.card.temperature)
        if inference.plain:
            return self._predictor
        return Averaged(self._predictor, inference, self.labels.mirror)

    def predict(
        self,
        image: str | Path | Image.Image | np.ndarray | Tensor,
        *,
        window: int | tuple[int, int] | None = None,
        overlap: float = 0.5,
        blend: BlendName = "gaussian",
        scales: Sequence[float] = (1.0,),
        mirror: bool = False,
    ) -> Prediction:
        """Segment one picture at its own size.

        window: the side, or height and width, of windows that slide over the picture; None for the whole picture.
        overlap, blend: the share of a window that the next one looks at again, and how they are put together.
        scales, mirror: factors on the picture's size, and whether its mirror image is looked at as well; the
        probabilities of all of it are averaged.
        image: a file's path, a PIL image, an array (H, W, C) or a tensor (C, H, W) of 8 or 16 bits or float32, C being
        what the network was trained on: RGB, mostly. Raises ValueError for anything else, and for files that cannot be
        decoded.
        """
        pixels = as_pixels(image)
        size = () if window is None else (window,) if isinstance(window, int) else tuple(window)
        inference = InferenceOptions(size, overlap, blend, tuple(scales), mirror)
        probabilities = self.predictor(inference).probabilities(as_batch([pixels]))[0]
        labels = probabilities.argmax(dim=0).to(torch.uint8).cpu().numpy()
        return Prediction(labels, probabilities.cpu().numpy(), pixels, self.labels)

    def save(self, folder: str | Path) -> None:
        """Write `model.safetensors` and `card.json`; each is replaced in one stroke."""
        folder = Path(folder)
        kept = self.original if self.original is not None else self.network.state_dict()
        tensors = {name: tensor.detach().cpu().contiguous() for name, tensor in kept.items()}
        write_atomically(folder / WEIGHTS, lambda temporary: save_file(tensors, temporary, {"format": "pt"}))
        write_json(folder / CARD, self.card.to_dict())

    def _save_pretrained(self, save_directory: Path) -> None:
        self.save(save_directory)

    @classmethod
    def _from_pretrained(
        cls, *, model_id: str, revision: str | None = None, cache_dir: str | Path | None = None, **options: Any
    ) -> Model:
        if Path(model_id).is_dir():
            return load(model_id)
        from huggingface_hub import snapshot_download

        folder = snapshot_download(model_id, revision=revision, cache_dir=cache_dir, allow_patterns=[WEIGHTS, CARD])
        return load(folder)


def as_pixels(image: str | Path | Image.Image | np.ndarray | Tensor) -> np.ndarray:
    """Any form of a picture that `Model.predict` takes -> (H, W, C) uint8, uint16 or float32."""
    if isinstance(image, str | Path):
        return read_image(Path(image))
    if isinstance(image, Image.Image):
        return np.asarray(image.convert("RGB"))
    if isinstance(image, Tensor):
        image = image.movedim(0, -1).cpu().numpy() if image.ndim == 3 else image.cpu().numpy()
    if image.dtype not in (np.uint8, np.uint16, np.float32) or image.ndim != 3:
        raise ValueError(
            f"a picture of shape {image.shape} and type {image.dtype}: height, width and channels are needed, "
            "as RGB of 8 bits, or uint16 or float32"
        )
    return image


def model_folder(run: Path) -> Path:
    """Where a run's card and weights lie: in its folder `model`, or in the folder itself if it is that of a model."""
    return run / "model" if (run / "model" / CARD).is_file() else run


def load(folder: str | Path, device: str | torch.device | None = None) -> Model:
    """A model from a run's folder, or from the folder of a model itself.

    device: where the network goes; by default a GPU when there is one. Raises ModelError when a file is absent, or
    card and weights do not belong together.
    """
    folder = model_folder(Path(folder))
    if not (folder / CARD).is_file():
        hint = "train has not validated yet" if (folder / "recipe.toml").is_file() else "name a run's folder"
        raise ModelError(f"{folder}: holds no model ({CARD} and {WEIGHTS}): {hint}")
    try:
        card = Card.from_dict(json.loads((folder / CARD).read_text(encoding="utf-8")))
    except (json.JSONDecodeError, KeyError, TypeError) as error:
        raise ModelError(f"{folder / CARD}: is not a model's card ({error})") from error
    try:
        state = load_file(folder / WEIGHTS)
    except Exception as error:
        raise ModelError(f"{folder / WEIGHTS}: cannot be read ({error})") from error
    chosen = usable_device(device) if device else default_device()
    if card.reference:
        network = load_reference(
            state, card.reference["source"], card.reference["args"], strict=card.reference["strict"]
        )
        network.all_outputs = False
        return Model(network.to(chosen), card, state)
    network = create(card.network, card.labels.num_classes, **card.options)
    own = network.state_dict()
    for name in sorted(set(own) | set(state)):
        if name not in state or name not in own or own[name].shape != state[name].shape:
            found = tuple(state[name].shape) if name in state else "absent"
            wanted = tuple(own[name].shape) if name in own else "nothing"
            raise ModelError(
                f"{folder / WEIGHTS}: does not belong to the card beside it: {name} is {found}, where {card.network} "
                f"with {card.labels.num_classes} classes has {wanted}"
            )
    network.load_state_dict(state)
    return Model(network.eval().to(chosen), card)


def usable_device(device: str | torch.device) -> torch.device:
    """The device of that name. Raises ValueError for one that this machine does not have."""
    try:
        chosen = torch.device(device)
        torch.empty(0, device=chosen)
    except (RuntimeError, AssertionError) as error:  # of a name that is none, of one that is not there
        known = ["cpu", *(f"cuda:{index}" for index in range(torch.cuda.device_count()))]
        known += ["mps"] if torch.backends.mps.is_available() else []
        raise ValueError(f"device {str(device)!r}: is not there; this machine has {', '.join(known)}") from error
    return chosen


def default_device() -> torch.device:
    """The accelerator, if there is one that works; the processor otherwise."""
    if torch.cuda.is_available():
        return torch.device("cuda")
    if torch.backends.mps.is_available():
        return torch.device("mps")
    return torch.device("cpu")
