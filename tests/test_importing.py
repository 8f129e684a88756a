import numpy as np
import pytest
import torch
import torchvision
from PIL import Image

import segue
from segue import cli
from segue.convert import ConversionError
from segue.importing import convert_file


@pytest.fixture(scope="module")
def checkpoint(tmp_path_factory):
    torch.manual_seed(0)
    theirs = torchvision.models.segmentation.fcn_resnet50(
        weights=None, weights_backbone=None, num_classes=5, aux_loss=True
    ).eval()
    path = tmp_path_factory.mktemp("theirs") / "fcn.pth"
    torch.save({"model": theirs.state_dict()}, path)
    return theirs, path


def test_a_converted_checkpoint_computes_what_it_did(checkpoint, tmp_path, capsys):
    theirs, path = checkpoint
    cli.main(["convert", str(path), "--out", str(tmp_path / "model")])
    assert "fcn of torchvision" in capsys.readouterr().out
    model = segue.load(tmp_path / "model", device="cpu")
    images = torch.randn(1, 3, 65, 97)
    with torch.no_grad():
        ours = model.network(images).logits
        expected = theirs(images)["out"]
    torch.testing.assert_close(ours, expected, rtol=1e-4, atol=1e-5)


def test_a_converted_model_is_saved_again_and_predicts(checkpoint, tmp_path):
    convert_file(checkpoint[1], out=str(tmp_path / "one"))
    segue.load(tmp_path / "one").save(tmp_path / "two")
    pixels = np.random.default_rng(0).integers(0, 256, (33, 47, 3), dtype=np.uint8)
    one, two = (segue.load(tmp_path / name, device="cpu").predict(pixels) for name in ("one", "two"))
    assert np.array_equal(one.labels, two.labels)
    Image.fromarray(pixels).save(tmp_path / "a.png")
    cli.main(["predict", str(tmp_path / "two"), str(tmp_path / "a.png"), "--out", str(tmp_path / "masks")])
    assert (tmp_path / "masks" / "a.png").is_file()


def test_names_and_inputs_can_be_said(checkpoint, tmp_path):
    (tmp_path / "names.txt").write_text("a\nb\nc\nd\ne\n")
    convert_file(
        checkpoint[1],
        out=str(tmp_path / "m"),
        classes=str(tmp_path / "names.txt"),
        mean=(1, 2, 3),
        std=(1, 1, 1),
        bgr=True,
    )
    model = segue.load(tmp_path / "m", device="cpu")
    assert model.labels.classes == ("a", "b", "c", "d", "e")
    assert model.preprocessing.bgr
    image = torch.tensor([10, 20, 30], dtype=torch.uint8).view(1, 3, 1, 1)
    assert model.preprocessing.normalise(image).flatten().tolist() == [29, 18, 7]


def test_tensors_without_a_place_are_listed_unless_allowed(checkpoint, tmp_path):
    state = checkpoint[0].state_dict()
    state["backbone.extra.weight"] = torch.zeros(3)
    del state["classifier.4.bias"]
    torch.save(state, tmp_path / "odd.pth")
    with pytest.raises(ConversionError, match=r"1 tensors without a place: .*extra\.weight.*1 places without a tensor"):
        convert_file(tmp_path / "odd.pth", out=str(tmp_path / "m"))
    assert not (tmp_path / "m").exists()
    convert_file(tmp_path / "odd.pth", out=str(tmp_path / "m"), partly=True)
    segue.load(tmp_path / "m", device="cpu")


class Evil:
    def __reduce__(self):
        return (print, ("code has run",))


def test_a_file_that_would_run_code_is_refused_with_the_reason(tmp_path, capsys):
    torch.save({"weight": torch.zeros(1), "evil": Evil()}, tmp_path / "evil.pth")
    with pytest.raises(ValueError, match=r"evil\.pth: not a file of .* running code .*wants to call print\)") as error:
        convert_file(tmp_path / "evil.pth")
    assert "\n" not in str(error.value)
    assert "code has run" not in capsys.readouterr().out


def test_foreign_tensors_and_wrong_arguments_are_one_line(tmp_path, capsys):
    torch.save({"mystery": torch.zeros(1)}, tmp_path / "m.pth")
    for words, message in (
        ((), f"{tmp_path / 'm.pth'}: no known source has tensors of these names"),
        (("--source", "nobody/nothing"), "there is no converter for 'nobody/nothing'"),
        (("--args", "os=8"), "is not JSON"),
    ):
        with pytest.raises(SystemExit) as end:
            cli.main(["convert", str(tmp_path / "m.pth"), *words])
        assert end.value.code == 2
        assert message in capsys.readouterr().err
