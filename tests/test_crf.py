import math
import os
import sys
from pathlib import Path

import pytest
import torch
from torch import Tensor

from segue.crf import (
    Bilateral,
    DenseCRF,
    Gaussian,
    dense_crf,
    dense_crf_steps,
    filters,
    permutohedral,
    unary_from_labels,
)
from segue.labels import IGNORE

FOLDER = Path(__file__).parent / "parity" / "crf"
SHARED = Path(os.environ.get("SEGUE_SHARED", Path(__file__).parents[2] / "shared")) / "parity" / "crf"
sys.path.insert(0, str(FOLDER))
import crf_cases  # noqa: E402


def kernels(case: crf_cases.Case) -> dict[str, Gaussian | Bilateral | None]:
    return {
        "gaussian": case.gaussian and Gaussian(**case.gaussian),
        "bilateral": case.bilateral and Bilateral(**case.bilateral),
    }


def tensors(case: crf_cases.Case) -> tuple[Tensor, Tensor]:
    return torch.from_numpy(case.probability)[None], torch.from_numpy(case.image).permute(2, 0, 1)[None]


def scene(height: int, width: int, num_classes: int, batch: int = 1) -> tuple[Tensor, Tensor]:
    """Probabilities and images with regions in them: messages of a random unary would cancel each other."""
    y, x = torch.meshgrid(torch.linspace(0, 1, height), torch.linspace(0, 1, width), indexing="ij")
    waves = [torch.cos(7 * x * math.cos(k) + 5 * y * math.sin(k) + k) for k in range(batch * num_classes)]
    scores = 2 * torch.stack(waves).view(batch, num_classes, height, width)
    red = 255 * (x > y)
    green = 120 + 100 * torch.sin(9 * x + 4 * y)
    blue = 40 + 200 * y * x
    image = torch.stack([red, green, blue]).to(torch.uint8)
    return scores.softmax(1), torch.stack([image.roll(3 * b, -1) for b in range(batch)])


def softmax_of_unary(probabilities: Tensor) -> Tensor:
    return probabilities.clamp(min=1e-5).log().softmax(1)


# Equal to the reference


@pytest.mark.parametrize("name", crf_cases.names(FOLDER))
def test_every_recorded_case_of_the_reference_is_matched_after_1_5_and_10_updates(name):
    case = crf_cases.load(name, FOLDER)
    for iteration, marginals in enumerate(dense_crf_steps(*tensors(case), **kernels(case), iterations=10)):
        if iteration in case.iterations:
            case.check(iteration, marginals[0].numpy())


@pytest.mark.skipif(
    not (SHARED / "crf_case3.npz").is_file(),
    reason="the case on a CamVid photo is not ours to ship: set SEGUE_SHARED to the folder that holds it",
)
def test_the_case_on_a_photo_is_matched_after_1_5_and_10_updates():
    case = crf_cases.load("crf_case3", SHARED)
    for iteration, marginals in enumerate(dense_crf_steps(*tensors(case), **kernels(case), iterations=10)):
        if iteration in case.iterations:
            case.check(iteration, marginals[0].numpy())


@pytest.mark.parametrize("name", ["crf_case1", "crf_case4_after", "crf_case5_before", "crf_case8_matrix"])
def test_normalised_filters_come_close_to_exact_sums_over_all_pixels(name):
    case = crf_cases.load(name, FOLDER)
    for iteration in case.iterations:
        marginals = dense_crf(*tensors(case), **kernels(case), iterations=iteration)
        found = case.check(iteration, marginals[0].numpy(), max_difference=1, agreement=0.99, exact=True)
        assert found["mean"] <= 0.003


@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a GPU")
def test_a_gpu_computes_the_same_numbers():
    case = crf_cases.load("crf_case1", FOLDER)
    marginals = dense_crf(*(tensor.cuda() for tensor in tensors(case)), **kernels(case))
    case.check(10, marginals[0].cpu().numpy())


# The update, by hand


@pytest.mark.parametrize("normalization", ["symmetric", "after", "before"])
def test_a_lone_pixel_hears_only_itself_with_the_kernel_s_weight(normalization):
    probabilities = torch.tensor([0.6, 0.4]).view(1, 2, 1, 1)
    image = torch.full((1, 3, 1, 1), 90, dtype=torch.uint8)
    first = dense_crf(
        probabilities, image, Gaussian(3, 2.0, normalization), Bilateral(40, 9, 5.0, normalization), iterations=1
    )
    expected = (probabilities.log() + (2 + 5) * probabilities).softmax(
        1
    )  # a kernel at distance 0 is 1, and so its norm
    assert torch.allclose(first, expected, atol=1e-6)


def test_deviations_far_below_a_pixel_leave_every_pixel_to_itself():
    probabilities, images = scene(6, 8, 3)
    first = dense_crf(probabilities, images, Gaussian(0.01, 2.0), Bilateral(0.01, 0.01, 5.0), iterations=1)
    assert torch.allclose(first, (probabilities.log() + 7 * probabilities).softmax(1), atol=1e-5)


def test_zero_iterations_are_the_softmax_of_the_unary():
    probabilities, images = scene(9, 7, 4)
    assert torch.allclose(dense_crf(probabilities, images, iterations=0), softmax_of_unary(probabilities))


def test_no_kernels_and_weights_of_zero_leave_the_softmax_of_the_unary():
    probabilities, images = scene(9, 7, 4)
    expected = softmax_of_unary(probabilities)
    assert torch.allclose(dense_crf(probabilities, images, None, None), expected)
    assert torch.allclose(
        dense_crf(probabilities, images, Gaussian(compat=0), Bilateral(compat=0)), expected, atol=1e-6
    )


@pytest.mark.parametrize("weight", [60.0, 500.0, -500.0])
def test_messages_too_large_for_an_exponential_are_a_softmax_still(weight):
    probabilities = torch.tensor([[0.51, 0.3, 1.0], [0.49, 0.7, 0.0]]).view(1, 2, 1, 3)
    image = torch.tensor([0, 120, 240], dtype=torch.uint8).expand(1, 3, 1, 3)  # nobody hears anybody else
    first = dense_crf(probabilities, image, None, Bilateral(40, 1, weight), iterations=1)
    clamped = probabilities.double().clamp(min=1e-5)
    expected = (clamped.log() + weight * clamped / clamped.sum(1, keepdim=True)).softmax(1)
    assert torch.allclose(first.double(), expected, atol=1e-4)


def test_no_label_is_impossible():
    probabilities = torch.tensor([1.0, 0.0]).view(1, 2, 1, 1)
    image = torch.zeros(1, 3, 1, 1, dtype=torch.uint8)
    assert dense_crf(probabilities, image, iterations=0)[0, 1].item() == pytest.approx(1e-5, rel=1e-3)


def test_a_weight_is_minus_the_weight_times_the_identity_as_a_matrix():
    probabilities, images = scene(13, 17, 3)
    as_number = dense_crf(probabilities, images, Gaussian(3, 3.0), Bilateral(20, 10, 4.0))
    as_matrix = dense_crf(probabilities, images, Gaussian(3, -3 * torch.eye(3)), Bilateral(20, 10, -4 * torch.eye(3)))
    assert torch.allclose(as_number, as_matrix, atol=1e-5)


def test_a_matrix_counts_with_its_symmetric_part():
    probabilities, images = scene(13, 17, 2)
    matrix = torch.tensor([[-3.0, 2.0], [0.0, -1.0]])
    assert torch.equal(
        dense_crf(probabilities, images, None, Bilateral(20, 10, matrix)),
        dense_crf(probabilities, images, None, Bilateral(20, 10, (matrix + matrix.t()) / 2)),
    )


# What a CRF does


def test_a_constant_image_with_a_flat_unary_stays_flat():
    marginals = dense_crf(torch.full((1, 4, 11, 9), 0.25), torch.full((1, 3, 11, 9), 80, dtype=torch.uint8))
    assert torch.allclose(marginals, torch.tensor(0.25))


def test_certain_labels_stay():
    labels = scene(20, 24, 3)[0].argmax(1)
    certain = torch.nn.functional.one_hot(labels, 3).permute(0, 3, 1, 2).float()
    assert torch.equal(dense_crf(certain, scene(20, 24, 3)[1], Gaussian(3, 1), Bilateral(20, 10, 1)).argmax(1), labels)


def test_permuting_the_classes_permutes_the_result():
    probabilities, images = scene(14, 19, 5)
    order = [3, 0, 4, 1, 2]
    permuted = dense_crf(probabilities[:, order], images)
    assert torch.allclose(permuted, dense_crf(probabilities, images)[:, order], atol=1e-5)


def test_labels_move_to_the_edge_of_a_colour():
    images = torch.zeros(1, 3, 20, 40, dtype=torch.uint8)
    images[..., 24:] = 255
    scores = torch.zeros(1, 2, 20, 40)
    scores[:, 0, :, :20] = scores[:, 1, :, 20:] = 1.5  # the network sees the border four columns too early
    labels = dense_crf(scores.softmax(1), images, Gaussian(), Bilateral(30, 10, 10)).argmax(1)
    assert torch.equal(labels[0], (torch.arange(40) >= 24).long().expand(20, 40))


@pytest.mark.parametrize("num_classes", [2, 16, 17, 150])
@pytest.mark.parametrize("size", [(1, 1), (1, 9), (7, 1), (3, 5), (40, 23)])
def test_any_size_and_number_of_classes_gives_probabilities(num_classes, size):
    probabilities, images = scene(*size, num_classes)
    marginals = dense_crf(probabilities, images)
    assert marginals.shape == probabilities.shape
    assert marginals.dtype == torch.float32
    assert torch.allclose(marginals.sum(1), torch.tensor(1.0), atol=1e-5)


# Batches, steps, precision, reuse


def test_a_batch_is_its_pictures_one_by_one():
    probabilities, images = scene(12, 16, 4, batch=3)
    together = dense_crf(probabilities, images)
    for one, probability, image in zip(together, probabilities, images, strict=True):
        assert torch.equal(one, dense_crf(probability[None], image[None])[0])


def test_memory_order_of_the_probabilities_changes_nothing():
    probabilities, images = scene(12, 16, 20, batch=2)
    kept = probabilities.clone()
    other = dense_crf(probabilities.contiguous(memory_format=torch.channels_last), images)
    assert torch.equal(other, dense_crf(probabilities, images))
    assert torch.equal(probabilities, kept)


@pytest.mark.parametrize("num_classes", [3, 20])
def test_steps_give_every_update_from_0_on_and_keep_those_given_before(num_classes):
    probabilities, images = scene(12, 16, num_classes, batch=2)
    steps = list(dense_crf_steps(probabilities, images, iterations=3))
    assert len(steps) == 4
    for iterations, marginals in enumerate(steps):
        assert torch.equal(marginals, dense_crf(probabilities, images, iterations=iterations))
    assert len(list(dense_crf_steps(probabilities, images, None, None, iterations=3))) == 4


def test_autocast_changes_nothing():
    probabilities, images = scene(12, 16, 4)
    matrix = Bilateral(20, 10, -4 * torch.eye(4) + 0.3)
    with torch.autocast("cpu", torch.bfloat16):
        under = dense_crf(probabilities, images, bilateral=matrix)
    assert under.dtype == torch.float32
    assert torch.equal(under, dense_crf(probabilities, images, bilateral=matrix))


def test_trying_other_weights_builds_no_lattice_anew(monkeypatch):
    probabilities, images = scene(12, 16, 4)
    built = []
    respond = filters.respond
    monkeypatch.setattr("segue.crf.inference.respond", lambda *given: built.append(given) or respond(*given))
    crf = DenseCRF(images[0])
    for compat, normalization in [(1, "symmetric"), (2, "after"), (2, "none")]:
        kernels = Gaussian(3, compat, normalization), Bilateral(20, 10, compat, normalization)
        assert torch.equal(crf(probabilities[0], *kernels), dense_crf(probabilities, images, *kernels)[0])
    assert len(built) == 2 + 3 * 2  # twice by `crf`, and twice by each `dense_crf`
    crf(probabilities[0], Gaussian(3, 1), Bilateral(25, 10, 1))
    assert len(built) == 9  # another deviation: one lattice more


# Gradients


def slope(function, point: Tensor, direction: Tensor, step: float) -> float:
    """Central difference of a scalar function in one direction."""
    with torch.no_grad():
        return ((function(point + step * direction) - function(point - step * direction)) / (2 * step)).item()


def judge(marginals: Tensor) -> Tensor:
    """Some scalar of Q, in float64 so that differences of it say something."""
    weights = torch.cos(torch.arange(marginals.numel(), dtype=torch.float64)).view(marginals.shape)
    return (weights * marginals.double()).sum()


@pytest.mark.parametrize("normalization", ["symmetric", "after", "before", "none"])
def test_gradients_of_the_unary_are_finite_differences(normalization):
    scores, images = scene(11, 13, 3)[0].log(), scene(11, 13, 3)[1]
    scale = 0.05 if normalization == "none" else 1
    kernels = Gaussian(2, 1.5 * scale, normalization), Bilateral(9, 30, 2 * scale, normalization)

    def function(scores: Tensor) -> Tensor:
        return judge(dense_crf(scores.softmax(1), images, *kernels, iterations=3))

    scores.requires_grad_()
    (gradient,) = torch.autograd.grad(function(scores), scores)
    direction = torch.sin(torch.arange(scores.numel()) * 1.7).view_as(scores)
    expected = slope(function, scores.detach(), direction, 1e-2)
    assert (gradient * direction).sum().item() == pytest.approx(expected, rel=1e-2)


@pytest.mark.parametrize("shape", [(), (3, 3)])
def test_gradients_of_compatibilities_are_finite_differences(shape):
    probabilities, images = scene(11, 13, 3)

    def function(weights: Tensor) -> Tensor:
        gaussian, bilateral = Gaussian(2, weights[0]), Bilateral(9, 30, weights[1], "after")
        return judge(dense_crf(probabilities, images, gaussian, bilateral, iterations=3))

    start = torch.tensor([1.5, 2.0]) if shape == () else torch.stack([-1.5 * torch.eye(3), -2 * torch.eye(3)])
    weights = start.clone().requires_grad_()
    (gradient,) = torch.autograd.grad(function(weights), weights)
    for index in range(start.numel()):
        direction = torch.zeros(start.numel())
        direction[index] = 1
        expected = slope(function, start, direction.view_as(start), 1e-2)
        assert gradient.flatten()[index].item() == pytest.approx(expected, rel=2e-2, abs=2e-3)


def test_gradients_pass_a_batch_and_every_step():
    probabilities, images = scene(6, 8, 3, batch=2)
    probabilities.requires_grad_()
    *_, last = dense_crf_steps(probabilities, images, iterations=2)
    assert torch.equal(last, dense_crf(probabilities.detach(), images, iterations=2))
    judge(last).backward()
    assert probabilities.grad is not None
    assert (probabilities.grad.abs().sum((1, 2, 3)) > 0).all()


def test_without_gradients_nothing_is_recorded():
    probabilities, images = scene(6, 8, 3)
    with torch.no_grad():
        assert not dense_crf(probabilities.requires_grad_(), images).requires_grad


@pytest.mark.parametrize("normalization", ["symmetric", "after", "before", "none"])
@pytest.mark.parametrize("size", [90, 16])
def test_the_transposed_filter_is_the_transpose(normalization, size):
    images = scene(9, 10, 2)[1]
    response = filters.respond(images[0], (5.0, 5.0, 9.0, 9.0, 9.0), size)

    def matrix(lattice: permutohedral.Lattice) -> Tensor:
        return lattice.slice(lattice.blurred(lattice.splat(torch.eye(90))))

    forward = matrix(response.normalised(normalization))
    assert torch.allclose(matrix(response.normalised(normalization, transposed=True)), forward.t(), atol=1e-5)
    assert not torch.allclose(forward, forward.t(), atol=1e-5)  # vertices are missing: the order of the axes matters


# The lattice


def features(height: int, width: int, *deviations: float) -> Tensor:
    return filters._features(scene(height, width, 2)[1][0], deviations)


def test_weights_of_a_point_are_a_share_of_one():
    _, _, weights = permutohedral._enclosing(features(30, 40, 7, 7, 9, 9, 9))
    assert weights.min() >= -1e-5
    assert torch.allclose(weights.sum(1), torch.tensor(1.0), atol=1e-5)


@pytest.mark.parametrize("size", [4800, 1000])
def test_the_lattice_has_the_vertices_that_were_counted_in_the_reference(size):
    def vertices(lattice: permutohedral.Lattice) -> int:
        return len(lattice.blur[0].offsets) - 1

    assert vertices(permutohedral.build_lattice(features(60, 80, 3, 3), 4800, size)) == 687
    assert vertices(permutohedral.build_lattice(features(60, 80, 1, 1), 4800, size)) == 5627
    image = tensors(crf_cases.load("crf_case1", FOLDER))[1][0]
    assert vertices(filters.respond(image, (67, 67, 3, 3, 3), size).lattice) == 8669


def test_every_vertex_has_itself_and_half_of_two_neighbours_at_most():
    lattice = permutohedral.build_lattice(features(30, 40, 3, 3), 1200, 1200)
    count = len(lattice.merge.offsets) - 1
    for axis in lattice.blur:
        matrix = axis @ torch.eye(count)
        assert torch.equal(matrix, matrix.t())
        assert (matrix.diagonal() == 1).all()
        assert set((matrix - torch.eye(count)).unique().tolist()) == {0, 0.5}
        assert matrix.sum(1).max() == 2


def test_a_large_product_is_that_of_its_blocks(monkeypatch):
    lattice = permutohedral.build_lattice(features(30, 40, 3, 3), 1200, 400)
    touched = torch.sin(torch.arange(5.0 * len(lattice.merge.columns))).view(-1, 5)
    expected = lattice.merge @ touched
    monkeypatch.setattr(permutohedral, "BLOCK", 7)
    room = torch.full_like(expected, torch.nan)
    assert lattice.merge.multiply(touched, room) is room
    assert torch.equal(room, expected)


# In pieces


@pytest.mark.parametrize(("height", "width", "piece"), [(12, 16, 64), (12, 16, 192), (9, 15, 32), (9, 15, 135)])
def test_a_picture_in_pieces_is_the_picture(monkeypatch, height, width, piece):
    probabilities, images = scene(height, width, 5)
    kernels = Gaussian(3, 3, "after"), Bilateral(20, 10, 4, "before")
    whole = list(dense_crf_steps(probabilities, images, *kernels, iterations=4))
    monkeypatch.setattr("segue.crf.inference.PIECE", piece)
    monkeypatch.setattr(permutohedral, "BLOCK", 50)
    for expected, found in zip(whole, dense_crf_steps(probabilities, images, *kernels, iterations=4), strict=True):
        assert torch.allclose(found, expected, atol=1e-6)


def test_a_picture_in_pieces_has_the_gradients_of_the_picture(monkeypatch):
    def gradients() -> tuple[Tensor, ...]:
        probabilities, images = scene(9, 15, 3)
        weights = torch.tensor([2.0, 3.0], requires_grad=True)
        probabilities.requires_grad_()
        kernels = Gaussian(3, weights[0]), Bilateral(20, 10, weights[1], "after")
        return torch.autograd.grad(judge(dense_crf(probabilities, images, *kernels, 3)), (probabilities, weights))

    whole = gradients()
    monkeypatch.setattr("segue.crf.inference.PIECE", 32)
    for expected, found in zip(whole, gradients(), strict=True):
        assert torch.allclose(found, expected, rtol=1e-3, atol=1e-5)


def test_cells_too_many_to_count_are_hashed_with_the_same_result(monkeypatch):
    probabilities, images = scene(30, 41, 3)
    expected = dense_crf(probabilities, images)
    hashed = [permutohedral._REMAINDERS * multiplier for multiplier in permutohedral._MULTIPLIERS]
    monkeypatch.setattr(permutohedral, "_strides", lambda cells: (hashed[: len(cells[0])], torch.int64))
    assert torch.allclose(dense_crf(probabilities, images), expected, atol=1e-5)


# Labels as a unary


def test_a_label_has_the_confidence_and_the_others_share_the_rest():
    probabilities = unary_from_labels(torch.tensor([[[0, 2, IGNORE]]], dtype=torch.uint8), 3, confidence=0.6)
    assert torch.allclose(
        probabilities[0, :, 0].t(), torch.tensor([[0.6, 0.2, 0.2], [0.2, 0.2, 0.6], [1 / 3, 1 / 3, 1 / 3]])
    )


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ((torch.tensor([[[0, 3]]]), 3), r"pixel \(0, 1\): label 3, but num_classes is 3; raise num_classes"),
        ((torch.tensor([[[0, -1]]]), 3), r"pixel \(0, 1\): label -1"),
        ((torch.tensor([[[0, 1]]]), 3, 1.0), r"confidence is 1.0, but a probability lies between 0 and 1"),
        ((torch.tensor([[[0, 0]]]), 1), r"num_classes is 1"),
    ],
)
def test_labels_that_are_no_classes_and_confidences_that_are_none_are_refused(arguments, message):
    with pytest.raises(ValueError, match=message):
        unary_from_labels(*arguments)


# Bad input


@pytest.mark.parametrize(
    ("build", "message"),
    [
        (lambda: Gaussian(0), "Gaussian: sxy is 0, but a deviation is above 0; to leave a kernel out, give None"),
        (lambda: Gaussian((3, -1)), "Gaussian: sxy is -1"),
        (lambda: Gaussian((3, 3, 3)), "Gaussian: sxy has 3 numbers"),
        (lambda: Gaussian(math.nan), "Gaussian: sxy is nan"),
        (lambda: Bilateral(math.inf, 5), "Bilateral: sxy is inf"),
        (lambda: Bilateral(49, 0), "Bilateral: srgb is 0"),
        (lambda: Bilateral(49, (5, 5)), "Bilateral: srgb has 2 numbers"),
        (
            lambda: Bilateral(49, 5, torch.ones(2, 3)),
            r"Bilateral: compat has shape \(2, 3\); give a number, or a matrix",
        ),
        (lambda: Gaussian(3, torch.ones(4)), r"Gaussian: compat has shape \(4,\)"),
        (lambda: Gaussian(3, math.nan), "Gaussian: compat holds nan; give finite numbers"),
        (lambda: Gaussian(3, 3, "mean"), "normalization is 'mean', which is none of symmetric, after, before, none"),
    ],
)
def test_kernels_that_are_none_are_refused(build, message):
    with pytest.raises(ValueError, match=message):
        build()


def changed(**given) -> dict:
    probabilities, images = scene(4, 6, 3)
    return {"probabilities": probabilities, "images": images} | given


def with_value(value: float) -> Tensor:
    probabilities = scene(4, 6, 3)[0]
    probabilities[0, 1, 2, 5] = value
    return probabilities


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (changed(probabilities=2 * scene(4, 6, 3)[0]), r"pixel \(0, 0\): probabilities sum to 2, .* give a softmax"),
        (changed(probabilities=with_value(math.nan)), r"picture 0, pixel \(2, 5\): probabilities sum to nan"),
        (changed(probabilities=with_value(math.inf)), r"pixel \(2, 5\): probabilities sum to inf"),
        (changed(probabilities=with_value(-0.5)), r"pixel \(2, 5\): probabilities .* smallest is -0.5"),
        (changed(probabilities=scene(4, 6, 3)[0][0]), r"probabilities are torch.float32 of shape \(3, 4, 6\)"),
        (changed(probabilities=torch.ones(1, 3, 4, 6, dtype=torch.int64)), "probabilities are torch.int64"),
        (changed(probabilities=torch.ones(1, 3, 0, 6)), r"of shape \(1, 3, 0, 6\); give float32"),
        (changed(images=scene(4, 7, 3)[1]), "B, H and W must agree: resize scores"),
        (changed(images=scene(4, 6, 3, batch=2)[1]), "B, H and W must agree"),
        (changed(images=scene(4, 6, 3)[1].float()), "images are torch.float32 .* give the 8-bit RGB pictures"),
        (changed(images=scene(4, 6, 3)[1][:, :1]), r"images are torch.uint8 of shape \(1, 1, 4, 6\)"),
        (changed(images=scene(4, 6, 3)[1].permute(0, 2, 3, 1)), r"images are torch.uint8 of shape \(1, 4, 6, 3\)"),
        (changed(iterations=-1), "iterations is -1; give 0"),
        (changed(gaussian=Gaussian(3, torch.eye(4))), r"compat has shape \(4, 4\), but there are 3 classes"),
        (
            changed(bilateral=Bilateral(1, 1e-4)),
            "deviations, but float32 tells at most 131072 apart; raise sxy or srgb",
        ),
    ],
)
@pytest.mark.parametrize("function", [dense_crf, dense_crf_steps])
def test_input_that_means_nothing_is_refused_with_the_mend(function, arguments, message):
    with pytest.raises(ValueError, match=message) as failure:
        list(function(**arguments))
    assert "\n" not in str(failure.value)


def test_steps_refuse_bad_input_before_the_first_is_taken():
    with pytest.raises(ValueError, match="iterations is -1"):
        dense_crf_steps(**changed(iterations=-1))
