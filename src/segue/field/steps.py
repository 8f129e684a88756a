"""What is known of a map while its field is followed: the steps that led to it, and how an operator adds one."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Any

from torch import Tensor
from torch.utils._pytree import tree_leaves

from segue.field.axis import Axis


@dataclass(frozen=True)
class Step:
    """A layer that changed the field, and what its units see.

    name: the module it is in. what: the layer, in words. rows, columns: what its units see along each side.
    before: the step that its input came from; of several, the one that sees most.
    followed: False where no rule was known, so that the whole picture is a guess on the safe side.
    """

    name: str
    what: str
    rows: Axis
    columns: Axis
    before: Step | None = None
    followed: bool = True

    @property
    def bounded(self) -> bool:
        """Whether the field is finite."""
        return self.rows.bounded and self.columns.bounded

    def path(self) -> list[Step]:
        """The steps from the picture to this one, along the branch that sees most."""
        steps: list[Step] = []
        step: Step | None = self
        while step is not None:
            steps.insert(0, step)
            step = step.before
        return steps


@dataclass(frozen=True)
class Map:
    """What is known of a tensor: its last step, and its dimensions of rows and columns, counted from the end.

    Both are the same dimension where all places lie in one row, and None where they were pooled away.
    """

    step: Step
    rows: int | None = -2
    columns: int | None = -1

    @property
    def spatial(self) -> bool:
        """Whether rows and columns are the last two dimensions."""
        return (self.rows, self.columns) == (-2, -1)


@dataclass(frozen=True)
class Call:
    """An operator at work: its arguments, those of its inputs whose maps are known, and what it gave."""

    module: str
    args: Any
    kwargs: Any
    inputs: Sequence[tuple[Tensor, Map]]
    out: Any

    def argument(self, place: int, name: str, default: Any = None) -> Any:
        """An argument, whichever way it was passed."""
        return self.args[place] if len(self.args) > place else self.kwargs.get(name, default)

    @property
    def first(self) -> Map:
        """The first input."""
        return self.inputs[0][1]

    @property
    def outputs(self) -> list[Tensor]:
        """All tensors that it gave."""
        return [one for one in tree_leaves(self.out) if isinstance(one, Tensor)]

    @property
    def widest(self) -> Map:
        """The last of the inputs that see most."""
        return max((known for _, known in reversed(self.inputs)), key=lambda one: one.step.rows.size)

    def stepped(self, what: str, change: Callable[[int, Axis, int], Axis], base: Map | None = None) -> list[Map]:
        """All outputs after one further step.

        `change` gets 0 for rows and 1 for columns, what is seen along that side, and how many units there are then.
        """
        base = base or self.first
        shape = self.outputs[0].shape
        assert base.rows is not None
        assert base.columns is not None
        rows = change(0, base.step.rows, shape[base.rows])
        columns = change(1, base.step.columns, shape[base.columns])
        if not (rows.alike(base.step.rows) and columns.alike(base.step.columns)):
            base = replace(base, step=Step(self.module, what, rows, columns, base.step))
        return [base] * len(self.outputs)

    def kept(self, rows: int | None, columns: int | None) -> list[Map]:
        """All outputs as the first input, with other dimensions."""
        return [replace(self.first, rows=rows, columns=columns)] * len(self.outputs)

    def whole(self, what: str, *, followed: bool = True, rows: int | None = -2, columns: int | None = -1) -> list[Map]:
        """All outputs see the whole picture from here on."""
        step = self.widest.step
        if step.bounded:
            step = Step(self.module, what, step.rows.whole(), step.columns.whole(), step, followed)
        return [Map(step, rows, columns)] * len(self.outputs)

    def joined(self) -> list[Map]:
        """All outputs, each of whose units is made of one unit of every input."""
        widest = self.widest
        layouts = {(known.rows, known.columns) for _, known in self.inputs if known.rows is not None}
        if len(layouts) > 1:
            return self.whole("branches turned", followed=False)
        if not layouts:
            return [Map(widest.step, None, None)] * len(self.outputs)
        rows, columns = layouts.pop()
        maps = [known.step for _, known in self.inputs if known.rows is not None]
        met = max(reversed(maps), key=lambda one: one.rows.size)
        if met.bounded and not widest.step.bounded:
            met = Step(self.module, "joined with it", met.rows.whole(), met.columns.whole(), widest.step)
        if met.bounded and rows != columns:
            down, across = met.rows, met.columns
            for other in maps:
                down, across = down.joined(other.rows), across.joined(other.columns)
            if not (down.alike(met.rows) and across.alike(met.columns)):
                met = Step(self.module, "branches joined", down, across, met)
        return [Map(met, rows, columns)] * len(self.outputs)
