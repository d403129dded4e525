"""Regularisation of a recurrent layer while it trains, for any cell: the step is changed, and runs as
compiled as before.

Masks are functions of the generator's keys and of positions: equal for any number of threads.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

from ..autograd import Tensor, where
from ..autograd.functional import ones
from ..base.errors import InputError, TraceError
from ..compiler import next_states
from ..kernels.generator import Generator
from .checks import checked_flag, checked_generator, checked_rate
from .functional import dropout
from .module import Module


def drop_mask(shape: Sequence[int], like: Tensor, p: float, generator: Generator) -> Tensor:
    """A Tensor of zeros (with probability ``p``) and ``1 / (1 - p)``."""
    return dropout(ones(shape, dtype=like.dtype, device=like.device), p, generator=generator)


class Regulariser(Module):
    """What `RNN` does to the step of a cell while training.

    Args:
        recurrent_dropout: probability of dropping an element of what recurrent products multiply (``h`` in
            ``h @ U``). A state that is carried on is not touched, so memory is not lost (Semeniuta, Severyn &
            Barth 2016).
        variational: the same elements at every step of a sequence (Gal & Ghahramani 2016), not others at
            each.
        weight_drop: probability of dropping an element of the matrices ``U`` of recurrent products, once for
            each call (Merity, Keskar & Socher 2018, section 3).
        zoneout: probability that an element of a state keeps its old value (Krueger et al. 2017, eq. 4): one
            number, or a dict from names of states. Out of training, the expectation of that.
    """

    def __init__(
        self,
        states: Sequence[str],
        *,
        recurrent_dropout: float = 0.0,
        variational: bool = False,
        weight_drop: float = 0.0,
        zoneout: float | Mapping[str, float] = 0.0,
        generator: Generator | None = None,
    ) -> None:
        rates = dict(zoneout) if isinstance(zoneout, Mapping) else dict.fromkeys(states, zoneout)
        if unknown := set(rates) - set(states):
            raise InputError(f"zoneout names the state {unknown.pop()!r}: this cell has {', '.join(states)}")
        self.recurrent_dropout = checked_rate("recurrent_dropout", recurrent_dropout)
        self.weight_drop = checked_rate("weight_drop", weight_drop)
        self.variational = checked_flag("variational", variational)
        self.zoneout = [checked_rate("zoneout", rates.get(s, 0.0)) for s in states]
        self.generator = checked_generator(generator)

    def forward(
        self, step: Callable[..., Any], xs: Tensor, init: Sequence[Tensor]
    ) -> tuple[Callable[..., Any], tuple[Tensor, ...]]:
        """``(step, (xs, masks...))`` for `scan`, from those of the plain recurrence: ``xs [T, B, F]``,
        ``init`` a tuple.
        """
        dropped, drops = self._dropped(step, xs, init)
        zoned, zones = self._zoned(xs, init)

        def regularised(streams: Sequence[Tensor], *states: Tensor) -> Any:
            x, *masks = streams
            new = dropped(x, masks[: len(drops)], states) if dropped else next_states(step, x, states)
            return zoned(masks[len(drops) :], new, states) if zoned else new

        regularised.__wrapped__ = step  # type: ignore[attr-defined]  # what messages are about
        return regularised, (xs, *drops, *zones)

    def _mask(self, shape: Sequence[int], xs: Tensor, p: float) -> Tensor:
        return drop_mask(shape, xs, p, self.generator)

    def _dropped(
        self, step: Callable[..., Any], xs: Tensor, init: Sequence[Tensor]
    ) -> tuple[Any, list[Tensor]]:
        """The step with drops in its recurrent products, and the masks over time that it is to be given;
        (None, []): none.
        """
        p, (T, B) = self.recurrent_dropout, xs.shape[:2]
        if not (self.training and (p or self.weight_drop)):
            return None, []
        from ..compiler.products import RecurrentProducts  # and Numba with it

        try:
            products = RecurrentProducts(step, xs[0], init)
        except TraceError as error:
            raise InputError(f"recurrent dropout and weight drop cannot take this cell: {error}") from None
        matrices = [dropout(m, self.weight_drop, generator=self.generator) for m in products.matrices]
        held = [self._mask((B, w), xs, p) for w in products.widths] if p and self.variational else []
        over_time = [self._mask((T, B, w), xs, p) for w in products.widths] if p and not held else []
        return lambda x, masks, states: products.step(x, states, held or masks, matrices), over_time

    def _zoned(self, xs: Tensor, init: Sequence[Tensor]) -> tuple[Any, list[Tensor]]:
        """What brings old states into new ones, and the masks over time that it is to be given; (None, []):
        nothing does.
        """
        rates = [p for p in self.zoneout if p]
        if not rates:
            return None, []

        def zoned(
            masks: Sequence[Tensor], new: Sequence[Tensor], old: Sequence[Tensor]
        ) -> tuple[Tensor, ...]:
            hows: Iterator[Any] = iter(masks or rates)
            return tuple(
                self._joined(n, o, next(hows)) if p else n
                for n, o, p in zip(new, old, self.zoneout, strict=True)
            )

        if not self.training:
            return zoned, []
        return zoned, [
            self._mask((*xs.shape[:2], *s.shape[1:]), xs, p)
            for s, p in zip(init, self.zoneout, strict=True)
            if p
        ]

    @staticmethod
    def _joined(new: Tensor, old: Tensor, how: Tensor | float) -> Tensor:
        """``new`` where the mask ``how`` is not 0, else ``old``; their mean, if ``how`` is the part of the
        old.
        """
        return where(how, new, old) if isinstance(how, Tensor) else how * old + (1 - how) * new
