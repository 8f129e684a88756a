"""DANet: its two attentions by hand, against the authors' modules, and what the network promises."""

import pytest
import torch

from parity import load
from segue.models import create
from segue.models.danet import CAM, PAM


def build(**options):
    torch.manual_seed(0)
    return create("danet", num_classes=5, backbone="resnet18", width=0.25, **options)


@pytest.mark.parametrize("block", [PAM(32, 4), CAM()])
def test_attention_starts_as_the_identity(block):  # alpha = beta = 0, Eq. 2 and 4
    features = torch.randn(2, 32, 5, 7)
    assert torch.equal(block(features), features)


def test_pam_matches_the_authors_module():
    fixture = load("danet_pam")
    state = fixture.weights()
    pam = PAM(64, 8)
    pam.load_state_dict(
        {name.replace("_conv", ""): tensor for name, tensor in state.items() if name != "gamma"}
        | {"alpha": state["gamma"].squeeze()}
    )
    features = fixture.image()
    fixture.check("out", pam(features))
    rows = pam.attention(features, range(0, 12 * 15, 7))  # (2, 26, 12, 15)
    fixture.check("attention", rows[:1].flatten(2))


def test_cam_matches_the_authors_module():
    fixture = load("danet_cam")
    cam = CAM()
    cam.load_state_dict({"beta": fixture.weights()["gamma"].squeeze()})
    features = fixture.image()
    fixture.check("out", cam(features))
    fixture.check("attention", cam.attention(features, range(64))[:1])


def test_channel_attention_prefers_unlike_channels_and_like_ones_by_the_papers_sign():
    # Two positions; channels (1, 0), (1, 0), (0, 1): the first has products 1, 1, 0 with the three.
    features = torch.tensor([[[[1.0, 0.0]], [[1.0, 0.0]], [[0.0, 1.0]]]])
    e = torch.e
    code = CAM().attention(features, [0])
    assert code.flatten().tolist() == pytest.approx([1 / (2 + e), 1 / (2 + e), e / (2 + e)])
    paper = CAM(paper_sign=True).attention(features, [0])
    assert paper.flatten().tolist() == pytest.approx([e / (2 * e + 1), e / (2 * e + 1), 1 / (2 * e + 1)])


def test_channel_attention_survives_half_precision():
    features = torch.full((1, 4, 64, 64), 8.0)  # products of 64 * 4096, past float16's largest
    features[:, 1] = 4.0
    cam = CAM()
    torch.nn.init.ones_(cam.beta)
    expected = cam(features)
    with torch.autocast("cpu", torch.float16):
        torch.testing.assert_close(cam(features), expected)
    torch.testing.assert_close(cam.half()(features.half()).float(), expected)


def test_autocast_trains_it():
    network = build()
    images, target = torch.randn(2, 3, 64, 64), torch.randint(0, 5, (2, 64, 64))
    for gate in (network.pam.alpha, network.cam.beta):
        torch.nn.init.constant_(gate, 0.5)
    with torch.autocast("cpu", torch.bfloat16):
        output = network(images)
    sum(network.loss(output, target).values()).backward()
    assert all(parameter.grad.isfinite().all() for parameter in network.parameters())


def test_the_three_losses_weigh_the_same_and_the_auxiliary_one_less():
    network = build(auxiliary=0.4)
    images, target = torch.randn(2, 3, 64, 64), torch.randint(0, 5, (2, 64, 64))
    output = network(images)
    terms = network.loss(output, target)
    assert list(terms) == ["logits", "pam", "cam", "auxiliary"]
    for name in ("logits", "pam", "cam"):
        assert terms[name] == network.criterion(getattr(output, name), target)
    assert terms["auxiliary"] == 0.4 * network.criterion(output.auxiliary, target)


def test_evaluation_leaves_out_what_only_the_loss_reads():
    network = build(auxiliary=0.4).eval()
    images = torch.randn(1, 3, 64, 64)
    output = network(images)
    assert output[1:] == (None, None, None)
    assert list(network.loss(output, torch.zeros(1, 64, 64, dtype=torch.int64))) == ["logits"]
    network.all_outputs = True
    assert all(maps.shape == (1, 5, 64, 64) for maps in network(images))


def test_the_defaults_are_the_papers():
    network = create("danet", num_classes=19, backbone="resnet50")
    dilations = [block.conv2.dilation[0] for block in network.backbone.body.layer4]
    assert dilations == [4, 8, 16]
    assert network.backbone.strides[-1] == 8
    assert network.backbone.body.conv1.kernel_size == (7, 7)
    assert network.pam.query.weight.shape == (64, 512, 1, 1)
    assert network.pam.value.weight.shape == (512, 512, 1, 1)
    assert network.auxiliary is None


def test_position_attention_gives_rows_as_maps():
    network = build().eval()
    images = torch.randn(2, 3, 65, 97)  # 9 x 13 cells of 8 pixels
    rows = network.position_attention(images, [0, 58])
    assert rows.shape == (2, 2, 9, 13)
    torch.testing.assert_close(rows.sum(dim=(2, 3)), torch.ones(2, 2))
    assert network.channel_attention(images, [3]).shape == (2, 1, 32)


def test_scores_are_what_forward_enlarges():
    network = build().eval()
    images = torch.randn(1, 3, 65, 97)
    scores = network.scores(images).logits
    assert scores.shape == (1, 5, 9, 13)
    corners = network(images).logits[..., ::8, ::8]  # with aligned corners, cell and pixel centres meet
    torch.testing.assert_close(corners, scores, rtol=1e-4, atol=1e-5)
