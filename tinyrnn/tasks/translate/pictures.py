"""The picture of what a translator attended to."""

from ...training.pictures import canvas, save


def draw_attention(source: list[str], target: list[str], weights, path):
    """What each symbol of ``target`` (downwards) attended to in ``source``, as a PNG: weights ``[target,
    source]``.

    Raises:
        InputError: matplotlib is missing, or ``path`` cannot be written.
    """
    width = 3 + 0.25 * len(source) + 0.06 * max(map(len, target))
    figure, (axis,) = canvas(figsize=(max(width, 4.5), max(1.8 + 0.25 * len(target), 3)))
    drawn = axis.imshow(weights, cmap="Greys", vmin=0, vmax=1)
    turned = 90 if max(map(len, source)) > 2 else 0
    axis.set_xticks(range(len(source)), [s.strip() or "␣" for s in source], rotation=turned)
    axis.set_yticks(range(len(target)), [s.strip() or "␣" for s in target])
    axis.xaxis.tick_top()
    axis.xaxis.set_label_position("top")
    axis.set_xlabel("source, as read")
    axis.set_ylabel("translation, as written")
    figure.colorbar(drawn, label="attention weight", shrink=0.8)
    save(figure, path)
