"""One page that runs a model in the browser, and needs nothing else."""

import base64
import hashlib
import html
import json
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from ...base.errors import InputError
from ...compiler.graph import Graph
from ...compiler.targets import javascript
from ...kernels.references import log_softmax, quantised
from ...training.screen import note
from . import How

_TEMPLATES = Path(__file__).parents[1] / "templates" / "page"
TOLERANCE = 0.005  # nats, or parts of an interval, that 8 bits may change where nobody says otherwise


def write(model, target, how: How) -> dict:
    """The page."""
    if model.task not in PAGES:
        raise InputError(f"there is no page yet for models of the task {model.task}: export another")
    model.eval()
    page = PAGES[model.task](model)
    in_bytes, said = _weights(model, page, how.weights)
    packed = Packed(page.graphs, in_bytes)
    text = _filled(model, page, packed, said)
    made = text.encode(errors="replace")
    note(f"{packed.count:,} {said} in {len(packed.bytes):,} bytes; the page has {len(made):,}")
    return {target: made}


# ---------------------------------------------------------------------- pages of the tasks


def _divergence(right, found):
    """The mean of those of Kullback and Leibler, in nats."""
    return float((np.exp(right) * (right - found)).sum(axis=-1).mean())


def _moved(right, found):
    """How far forecasts and ends of intervals ``[3, ...]`` moved, in parts of the mean interval."""
    return float(np.abs(right - found).mean() / np.abs(right[2] - right[1]).mean())


@dataclass
class Page:
    """What the page of a task is made of.

    Attributes:
        name: of its markup; scripts: what runs, after what all pages have.
        graphs: what is computed, by name.
        data: what its script reads.
        words: what its markup has in double braces.
        trial: from graphs with other constants to log-probabilities ``[..., n]`` that can be compared, or to
            what else ``apart`` takes.
        apart: how far two of these are apart, in ``unit``.
    """

    name: str
    scripts: tuple[str, ...]
    graphs: Mapping[str, Graph]
    data: dict[str, Any]
    trial: Callable[[Mapping[str, Graph]], np.ndarray]
    words: dict[str, str]
    apart: Callable[[np.ndarray, np.ndarray], float] = _divergence
    unit: str = "nats"


def _lm(model) -> Page:
    vocabulary = model.vocabulary
    graphs = model.graphs()
    states = {name: start.tolist() for name, (start, _) in graphs["step"].states.items()}
    start = vocabulary.ids.get(vocabulary.line_end, len(vocabulary) - 1)
    data = {"vocabulary": _stored(vocabulary), "states": states, "start": start, "prompt": ""}
    after = "a line end" if vocabulary.line_end in vocabulary.ids else "the last of its symbols"
    ids = _own_text(graphs["step"], start)

    def trial(graphs):
        return np.stack([log_softmax(logits) for logits in _read(graphs["step"], ids)])

    words = {"hint": f"Empty: it goes on after {after}. Ctrl+Enter writes."}
    return Page("lm", ("vocabulary", "lm"), graphs, data, trial, words)


def _read(graph, ids):
    """Logits after each of ids."""
    states: dict[str, np.ndarray] = {}
    for i in ids:
        outputs = graph.run(ids=np.array([i]), **states)
        states = {name: outputs[new] for name, (_, new) in graph.states.items()}
        yield outputs["logits"]


def _own_text(graph, start, length=200):
    """Ids that a language model writes itself."""
    random, ids = np.random.default_rng(0), [start]
    logits = _read(graph, ids)  # which reads what is appended
    for row in logits:
        if len(ids) >= length:
            return ids
        p = np.exp(log_softmax(row.astype(np.float64)))[0]
        ids.append(int(random.choice(p.size, p=p / p.sum())))
    return ids


def _classify(model) -> Page:
    graphs, random = model.graphs(), np.random.default_rng(0)
    given: dict[str, np.ndarray]
    several = model.thresholds is not None
    data = {"labels": model.labels, "thresholds": model.thresholds.tolist() if several else None}
    words = {"labels": "Labels" if several else "Label"}
    if hasattr(model, "vocabulary"):
        name, scripts = "classify", ("vocabulary", "texts", "classify")
        data |= {"vocabulary": _stored(model.vocabulary), "most": model.max_length}
        words["hint"] = "What it says changes as you type."
        given = {"ids": random.integers(0, len(model.vocabulary), (40, 16))}
    else:
        name, scripts, channels = "numbers", ("series", "numbers", "classify"), model.features.channels
        if model.features.rate:
            raise InputError("a page cannot hear: models of sounds are exported to the other formats")
        data |= {"features": model.features.stored(), "channels": list(channels), "steps": 100}
        one = len(channels) == 1
        words["hint"] = f"A step a line{'' if one else ': ' + ', '.join(channels)}; with decimal points."
        words["caption"] = f"{channels[0]}: draw here, or give numbers" if one else ""
        given = {"features": random.standard_normal((40, 16, model.features.width))}

    def trial(graphs):
        p = np.maximum(graphs["classify"].run(**given)["probabilities"].astype(np.float64), 1e-12)
        return np.log(np.stack([p, np.maximum(1 - p, 1e-12)], axis=-1) if several else p)

    return Page(name, scripts, graphs, data, trial, words)


def _translate(model) -> Page:
    graphs = model.graphs()
    states = {name: start.tolist() for name, (start, _) in graphs["step"].states.items()}
    data = {
        "source": _stored(model.source),
        "target": _stored(model.target),
        "states": states,
        "end": model.end,
        "most": model.max_length,
    }
    random = np.random.default_rng(0)
    ids, fed = random.integers(0, len(model.source), (20, 16)), random.integers(0, model.end, (20, 16))

    def trial(graphs):
        memory, found = graphs["read"].run(ids=ids), []
        kept = {name: memory[name] for name in states}
        for row in fed:
            given = {name: memory[name] for name in ("keys", "projected")}
            outputs = graphs["step"].run(ids=row, **given, **kept)
            kept = {name: outputs[f"new_{name}"] for name in states}
            found.append(log_softmax(outputs["logits"]))
        return np.stack(found)

    words = {"hint": "Enter translates, Shift+Enter begins a line."}
    return Page("translate", ("vocabulary", "translate"), graphs, data, trial, words)


def _forecast(model) -> Page:
    graphs, h = model.graphs(), model.horizon
    states = {name: start.tolist() for name, (start, _) in graphs["step"].states.items()}
    targets = [*model.targets.values()] or [model.transforms[0]]
    rows = max(model.needed, model.window)
    data = {
        "channels": model.columns,
        "states": states,
        "seasons": list(model.seasons),
        "horizon": h,
        "window": model.window,
        "needed": model.needed,
        "drawn": rows,
        "positive": targets[0].log,
    }
    random = np.random.default_rng(0)
    values = random.normal(0, targets[0].scale, (rows, 8, 1)).cumsum(axis=0)
    values = np.exp(values) if targets[0].log else values

    def trial(graphs):
        phases = np.zeros((8, len(model.seasons)))
        read = graphs["read"].run(values=values, first_phases=phases)
        said, kept = [read["said"]], {k: read[k] for k in _names(graphs["step"]) if k in read}
        for _ in range(h - 1):
            outputs = graphs["step"].run(**kept)
            said.append(outputs["said"])
            kept |= {name: outputs[new] for name, (_, new) in graphs["step"].states.items()}
        known = {k: read[k] for k in _names(graphs["end"]) if k in read}
        ends = graphs["end"].run(**known | {"said": np.concatenate(said, axis=-1)})
        return np.stack([ends[name] for name in ("forecast", "lower", "upper")])

    words = {
        "column": model.columns[0],
        "hint": f"A value a line, the oldest first, {model.needed} at least; with decimal points.",
        "places": "Of years of months 0 is January, of weeks of days Thursday, of a day of hours midnight; "
        "without dates it is the number of the row.",
        "caption": "Draw here, or give numbers.",
        "interval": f"{100 * model.interval:g}",
    }
    return Page("forecast", ("series", "forecast"), graphs, data, trial, words, _moved, "of an interval")


def _names(graph):
    return [x.name for x in graph.inputs]


PAGES: dict[str, Callable[[Any], Page]] = {
    "lm": _lm,
    "classify": _classify,
    "translate": _translate,
    "forecast": _forecast,
}


def _stored(vocabulary):
    return {**vocabulary.to_json(), "line_end": vocabulary.line_end}


# ---------------------------------------------------------------------- weights


def _weights(model, page, wanted):
    """Whether they are in 8 bits, and what there is to say of them."""
    if wanted is not None:
        model.precision_with(wanted if wanted == "int8" else None)  # refuses other dtypes
        return wanted == "int8", f"weights in {wanted}"
    if model.dtype != "float32":
        return False, "weights in float32"
    gap = page.apart(page.trial(page.graphs), page.trial(in_8_bits(page.graphs)))
    fits = gap <= TOLERANCE
    chosen = f"weights in {'int8' if fits else 'float32'}"
    changed = f"8 bits change what the model says by {gap:.2g} {page.unit}"
    note(f"{chosen}: {changed}, {TOLERANCE} are allowed (--weights)")
    return fits, chosen


def _by_rows(graph: Graph) -> dict[str, bool]:
    """Of the constants that are stored in 8 bits: whether each row has a scale, or each column."""
    return {n: by_rows for n, by_rows in graph.matrices.items() if min(graph.constants[n].shape) > 1}


def _quantised(array, by_rows):
    return quantised(np.ascontiguousarray(array, np.float32), int(by_rows), 127)


def in_8_bits(graphs: Mapping[str, Graph]) -> dict[str, Graph]:
    """The same graphs with the constants that 8 bits make of theirs."""
    found = {}
    for name, graph in graphs.items():
        rounded = {
            n: np.multiply(*_quantised(graph.constants[n], by_rows), dtype=np.float32)
            for n, by_rows in _by_rows(graph).items()
        }
        found[name] = Graph(**{**vars(graph), "constants": graph.constants | rounded})
    return found


class Packed:
    """The constants of graphs in one row of bytes.

    Attributes:
        entries: of each graph, of each constant: name, where it begins (``at``, in bytes), its size, and if
            it is in 8 bits its width, where the ``scales`` begin and whether they are of ``rows``.
        count: how many numbers there are.
    """

    def __init__(self, graphs, in_bytes):
        self.bytes, self.count = bytearray(), 0
        self.entries = {name: self._of(graph, in_bytes) for name, graph in graphs.items()}

    def _of(self, graph, in_bytes):
        scaled, entries = _by_rows(graph) if in_bytes else {}, []
        for name in javascript.constants_of(graph):
            array = graph.constants[name]
            entry = {"name": name, "size": array.size}
            if name in scaled:
                whole, scales = _quantised(array, scaled[name])
                entry |= {"at": self._put(whole), "scales": self._put(scales.astype("<f4"))}
                entry |= {"width": array.shape[1], "rows": scaled[name]}
            else:
                entry["at"] = self._put(np.ascontiguousarray(array, "<f4"))
            self.count += array.size
            entries.append(entry)
        return entries

    def _put(self, array):
        at = len(self.bytes)
        self.bytes += array.tobytes() + bytes(-array.nbytes % 4)
        return at


# ---------------------------------------------------------------------- the page


def _filled(model, page, packed, said) -> str:
    template = {p.name: p.read_text(encoding="utf-8") for p in _TEMPLATES.iterdir()}
    engine = javascript.source(page.graphs) + "\n" + template["engine.js"]
    scripts = {
        "engine": f"function engine(send) {{\n{engine}\n}}",
        "script": "\n".join(template[f"{name}.js"] for name in ("page", *page.scripts)),
    }
    of = model.settings
    shape = f"{of['cell']} {of['layers']} × {of['hidden']}"
    heading, does = _HEADINGS[page.name]
    about = f"{does}: {shape}, {sum(p.size for p in model.parameters()):,} parameters; {said}."
    data = page.data | {"constants": packed.entries}
    parts = {
        "title": html.escape(f"{page.name} {shape}"),
        "heading": heading,
        "about": html.escape(about),
        "footer": "Written by tinyrnn export; it computes here, in the browser, and sends nothing anywhere.",
        "css": template["page.css"],
        "styles": _digest(template["page.css"]),
        "scripts": " ".join(map(_digest, scripts.values())),
        "body": re.sub(r"{{(\w+)}}", lambda m: html.escape(page.words[m[1]]), template[f"{page.name}.html"]),
        "data": json.dumps(data, ensure_ascii=False).replace("<", "\\u003c"),  # neither </script> nor <!--
        "weights": base64.b64encode(packed.bytes).decode(),
        **scripts,
    }
    return re.sub(r"{{(\w+)}}", lambda m: parts[m[1]], template["page.html"])


_HEADINGS = {  # of each page, and what its model does
    "lm": ("A language model", "Writes symbol after symbol"),
    "classify": ("A classifier", "Labels texts"),
    "numbers": ("A classifier", "Labels sequences of numbers"),
    "translate": ("A translator", "Translates"),
    "forecast": ("A forecaster", "Goes on with a series"),
}


def _digest(text):
    """What lets a browser run this text and no other."""
    return f"'sha256-{base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()}'"
