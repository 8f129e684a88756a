"""MCIBI: its memory by hand and over several processes, and what the network promises beside the contract."""

import socket

import pytest
import torch
import torch.distributed as dist
import torch.multiprocessing as mp

from segue.labels import IGNORE
from segue.models import Progress, create
from segue.models.mcibi import CONTEXTS, MCIBI, BeyondImage, ClassMemory, OCRContext

SECOND_EPOCH = Progress(step=3, total_steps=10, epoch=1, lr=0.01, base_lr=0.01)


def build(**options):
    torch.manual_seed(0)
    small = {"backbone": "resnet18c", "width": 0.25, "channels": 16, "transform_channels": 8}
    return create("mcibi", num_classes=5, **{**small, **options})


def draw(batch=2, size=(49, 65)):
    torch.manual_seed(1)
    target = torch.randint(0, 5, (batch, *size))
    target[:, :4] = IGNORE
    return torch.randn(batch, 3, *size), target


def pixels(*vectors):
    """A map of one row, (1, C, 1, N)."""
    return torch.tensor(vectors).T[None, :, None]


def test_a_class_seen_first_takes_the_mean_of_its_pixels():
    memory = ClassMemory(3, 2)
    memory.update(pixels([1.0, 3.0], [3.0, 5.0], [9.0, 9.0]), torch.tensor([[[1, 1, IGNORE]]]), momentum=0.1)
    assert memory.rows.tolist() == [[0, 0], [2, 4], [0, 0]]


def test_a_row_moves_by_the_momentum():
    memory = ClassMemory(2, 2)
    memory.rows[0] = torch.tensor([1.0, 0.0])
    memory.update(pixels([0.0, 1.0], [0.0, 3.0]), torch.tensor([[[0, 0]]]), momentum=0.25)
    assert memory.rows.tolist() == [[0.75, 0.5], [0, 0]]


def test_pixels_unlike_the_row_weigh_more_unless_told_otherwise():
    for cosine, expected in ((True, [0.0, 4.0]), (False, [1.0, 2.0])):
        memory = ClassMemory(1, 2, cosine=cosine)
        memory.rows[0] = torch.tensor([1.0, 0.0])
        memory.update(pixels([2.0, 0.0], [0.0, 4.0]), torch.tensor([[[0, 0]]]), momentum=1.0)
        assert memory.rows.tolist() == [expected]


def test_a_row_stays_where_nothing_is_to_be_learnt():
    memory = ClassMemory(2, 2)
    memory.rows.copy_(torch.tensor([[1.0, 0.0], [0.0, 1.0]]))
    memory.update(pixels([3.0, 0.0]), torch.tensor([[[0]]]), momentum=0.5)  # exactly like its row: no pixel weighs
    memory.update(pixels([3.0, 0.0]), torch.tensor([[[IGNORE]]]), momentum=0.5)
    assert memory.rows.tolist() == [[1, 0], [0, 1]]


def test_the_memory_learns_in_float32_under_autocast():
    features, target = torch.rand(2, 16, 5, 6), draw()[1]
    plain, mixed = ClassMemory(5, 16), ClassMemory(5, 16)
    for memory in (plain, mixed):
        memory.rows.copy_(torch.arange(80.0).view(5, 16))
    plain.update(features.bfloat16().float(), target, 0.5)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        mixed.update(features.bfloat16(), target, 0.5)
    assert mixed.rows.dtype == torch.float32
    assert torch.equal(plain.rows, mixed.rows)


def learn(rank, world, port, rows, features, target, results):
    dist.init_process_group("gloo", init_method=f"tcp://127.0.0.1:{port}", rank=rank, world_size=world)
    memory = ClassMemory(*rows.shape)
    memory.rows.copy_(rows)
    memory.update(features[rank : rank + 1], target[rank : rank + 1], 0.6)
    results[rank] = memory.rows.clone()
    dist.destroy_process_group()


@pytest.mark.slow
def test_several_processes_learn_the_memory_of_one():
    torch.manual_seed(0)
    rows, features = torch.rand(5, 8), torch.rand(2, 8, 4, 4)
    rows[3] = 0.0
    target = torch.randint(0, 5, (2, 16, 16))
    target[0][target[0] == 3] = IGNORE  # a class that only the second process sees, and for the first time
    alone = ClassMemory(5, 8)
    alone.rows.copy_(rows)
    alone.update(features, target, 0.6)
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    with mp.Manager() as manager:
        results = manager.dict()
        mp.spawn(learn, (2, port, rows, features, target, results), nprocs=2)
        shared = dict(results)
    assert torch.equal(shared[0], shared[1])
    torch.testing.assert_close(shared[0], alone.rows)


def test_what_a_pixel_takes_from_the_memory():
    # Row of the class that it is sure to be; sure of nothing, the mean of all rows.
    rows = torch.tensor([[0.0, 2.0], [4.0, 6.0]])
    taken = []
    beyond = BeyondImage(2, 2)
    beyond.refine.register_forward_pre_hook(lambda module, inputs: taken.append(inputs[1].flatten(2)[0].T.tolist()))
    first = pixels([1000.0, 0.0], [0.0, 0.0], [0.0, 0.1])
    beyond.eval()(torch.zeros(1, 2, 1, 3), first, rows)
    assert taken[-1][:2] == [[0, 2], [2, 4]]
    beyond.hard = True
    beyond(torch.zeros(1, 2, 1, 3), first, rows)
    assert taken[-1][::2] == [[0, 2], [4, 6]]


def test_the_memory_is_saved_but_not_trained():
    network = build()
    assert network.state_dict()["memory.rows"].shape == (5, 16)
    assert "memory.rows" not in dict(network.named_parameters())


def test_only_training_changes_the_memory():
    network = build()
    images, target = draw()
    network(images)
    network.eval()(images)
    assert not network.memory.rows.any()
    network.observe(network.train()(images), target, SECOND_EPOCH)
    assert network.memory.rows.any(dim=1).all()


def test_an_iteration_reads_the_old_memory_and_its_loss_the_new_one():
    network = build()
    images, target = draw()
    network.eval().all_outputs = True
    with torch.no_grad():
        old = network(images)
        network.observe(old, target, SECOND_EPOCH)
        new = network(images)
    assert not torch.equal(old.logits, new.logits)
    terms = network.loss(old, target)
    torch.testing.assert_close(terms["memory"], network.consistency())
    sum(terms.values()).backward()  # nothing that it needs was changed in place


def test_consistency_counts_from_the_second_epoch_and_teaches_the_classifier_alone():
    network = build()
    images, target = draw()
    output = network(images)
    assert list(network.loss(output, target)) == ["logits", "first", "auxiliary"]
    network.observe(output, target, SECOND_EPOCH)
    network.loss(output, target)["memory"].backward()
    taught = {name.split(".")[0] for name, parameter in network.named_parameters() if parameter.grad is not None}
    assert taught == {"classify"}


def test_the_losses_have_their_weights():
    images, target = draw()
    whole = build(alpha=1.0, auxiliary=1.0, beta=1.0)
    half = build(alpha=0.5, auxiliary=0.25, beta=2.0)
    half.load_state_dict(whole.state_dict())
    terms = []
    for network in (whole, half):
        network.eval().all_outputs = True
        output = network(images)
        network.observe(output, target, SECOND_EPOCH)
        terms.append(network.loss(output, target))
    ratios = {name: (terms[1][name] / terms[0][name]).item() for name in terms[0]}
    assert ratios == pytest.approx({"logits": 1.0, "first": 0.5, "auxiliary": 0.25, "memory": 2.0})


@pytest.mark.parametrize("context", CONTEXTS)
def test_every_context_trains(context):
    network = build(context=context).train()
    images, target = draw()
    output = network(images)
    with torch.no_grad():
        network.observe(output, target, SECOND_EPOCH)
    sum(network.loss(output, target).values()).backward()
    assert all(parameter.grad.isfinite().all() for parameter in network.parameters())
    with torch.inference_mode():
        assert network.eval()(images[:1]).logits.shape == (1, 5, 49, 65)


def test_an_unknown_context_is_refused_with_the_known_ones():
    with pytest.raises(ValueError, match="context = 'pyramid': it must be one of none, ppm, aspp, ocr, upernet"):
        build(context="pyramid")


def test_object_context_needs_the_auxiliary_head():
    network = build()
    with pytest.raises(ValueError, match="auxiliary must be more than 0"):
        MCIBI(network.backbone, 5, OCRContext(network.backbone.channels, 16, 8), channels=16, auxiliary=0.0)


def test_momentum_is_in_the_ratio_of_the_learning_rates():
    network = build(momentum=0.8)
    at = Progress(step=0, total_steps=10, epoch=0, lr=0.005, base_lr=0.01)
    assert network.momentum_at(at) == pytest.approx(0.4)
    network.momentum_lr = 0.02
    assert network.momentum_at(at) == pytest.approx(0.2)
