"""C99 without dependencies: a header and a source, which compile as C++ too."""

import importlib.resources
import re
from typing import Any, NamedTuple

import numpy as np

from ...base.errors import InputError
from ...compiler.graph import Graph
from ...compiler.targets.c import Functions, Unit
from ...tasks.text.vocabulary import Vocabulary
from ...training import runs
from ...training.screen import note
from . import How

MARK = "written by tinyrnn export"
_KINDS = {"uint64_t": 8, "double": 8, "tr_real": 0, "int": 4}  # of fields, those that are aligned most first
TABLE = 16_384  # numbers of a table of products that are always worth their place
_BLOCK = re.compile(r"\n\n(?=static|/\*)")


class Part(NamedTuple):
    """What a task adds to a unit: macros, by name; declarations with comments; source after the functions of
    its graphs; the name of the template of ``main`` and what is put for words in it.
    """

    macros: dict[str, object]
    head: str
    source: str
    main: str
    words: dict[str, str]

    def after(self, macros, head, source, main) -> "Part":
        """What stands there on symbols, and this of a task."""
        return Part(
            macros | self.macros, f"{head}\n\n{self.head}", f"{self.source}\n\n{source}", main, self.words
        )


def write(model, target, how: How) -> dict:
    """``NAME.h`` and ``NAME.c``; names in them begin with NAME.

    Args:
        model: of a task, or a `Graph` of one step or a sequence.
    """
    name = re.sub(r"\W", "_", target.stem, flags=re.ASCII)
    name = name if re.match("[A-Za-z]", name) else f"m{name}"
    header = target.with_suffix(".h")
    if target.suffix == ".h":
        raise InputError(
            f"--out {target} is the name of the header, which stands beside the source: use {target.stem}.c"
        )
    runs.refuse_foreign(header, "model.h")
    graphs = {"rows": model} if isinstance(model, Graph) else model.graphs()
    if not isinstance(model, Graph):
        model.precision_with(how.weights)
    form = None if how.weights in (None, "float32", "float64") else how.weights
    if how.max_length is not None and not hasattr(model, "features") and not hasattr(model, "horizon"):
        raise InputError("--max-length is for models that read sequences of numbers: leave it out")
    most = getattr(model, "max_length", how.max_length or 1000)
    if form is None:  # a table in 8 bits would be another one
        graphs = {name: graph.tabled(TABLE) for name, graph in graphs.items()}
    unit = Unit(next(iter(graphs.values())).dtype, most, form)
    task = "rows" if isinstance(model, Graph) else model.task
    if task not in TASKS:
        raise InputError(f"--format c has no form for models of the task {task}: use another format")
    part = TASKS[task](unit, model, graphs)
    unit.finish()
    files = _files(unit, part, name, header.name, how.main)
    found = {header: files[0].encode(), target: files[1].encode()}
    note(
        f"weights {unit.bytes_of_weights:,} bytes, the struct {struct_size(unit):,}; source without weights "
        f"{len(_without_numbers(files[1])):,} bytes"
    )
    return found


def struct_size(unit: Unit) -> int:
    """Bytes of the struct on a machine where numbers are aligned as they are long."""
    sizes = [size for _, _, size, _ in unit.fields.values()]
    wide = unit.real == "double" or {"double", "uint64_t"} & {kind for kind, *_ in unit.fields.values()}
    align = 8 if wide else 4
    return -(-sum(sizes) // align) * align


def _without_numbers(source):
    return re.sub(r"= \{\n[^}]*\}", "= {}", source)


def _files(unit, part, name, header, with_main):
    """Header and source with the names of this model."""
    macros = "".join(f"#define TR_{k} {v}\n" for k, v in part.macros.items())
    order = sorted(unit.fields.items(), key=lambda f: -(_KINDS[f[1][0]] or np.dtype(unit.dtype).itemsize))
    fields = [
        f"    {kind} {n}{'' if count == '1' and kind != 'tr_real' else f'[{count}]'}; /* {words} */"
        for n, (kind, count, _, words) in order
    ]
    head = f"""/* {MARK}: a model without dependencies, C99 or C++.
   Weights are {unit.bytes_of_weights} bytes of constants; the struct holds all that changes. */
#ifndef TR_H
#define TR_H

#include <stddef.h>
#include <stdint.h>

#ifdef __cplusplus
extern "C" {{
#endif

{macros}
typedef {unit.real} tr_real;

typedef struct {{
{chr(10).join(fields)}
}} tr_state;

{part.head.strip()}

#ifdef __cplusplus
}}
#endif
#endif
"""
    if with_main and "tr_encode" in _template(part.main) and "tr_encode" not in part.head:
        raise InputError(
            "--main reads text, of which C makes no byte pairs: leave it out, or train with another --level"
        )
    mains = [part.source, *([_template(part.main, part.words)] if with_main else [])]
    vocabulary = _used("\n".join(mains), part.words)
    rest = "\n".join([vocabulary, *mains])
    libraries = ["math.h", "string.h", *(["stdio.h", "stdlib.h", "time.h"] if with_main else [])]
    source = f"""/* {MARK}: see {header}. Compile with -O3 (and -march=native where it runs on the same
   machine), without -ffast-math: rounding tricks would be lost. */
#include "{header}"

{chr(10).join(f"#include <{x}>" for x in libraries)}

#if defined(__GNUC__) || defined(__clang__)
#define TR_R __restrict__
#elif defined(_MSC_VER)
#define TR_R __restrict
#elif defined(__STDC_VERSION__) && !defined(__cplusplus)
#define TR_R restrict
#else
#define TR_R
#endif
#define F(x) ((tr_real)(x))

{unit.source(rest)}

{vocabulary}

{(chr(10) * 2).join(mains)}

#undef F
#undef TR_R
"""
    return [
        re.sub(r"\bTR_", f"{name.upper()}_", re.sub(r"\btr_", f"{name}_", text)) for text in (head, source)
    ]


# ------------------------------------------------------------------ templates


def _template(name, words=None):
    """The text of one, words in capitals replaced."""
    text = (
        importlib.resources.files("tinyrnn.tools").joinpath(f"templates/{name}").read_text("utf-8").rstrip()
    )
    for word, put in (words or {}).items():
        text = re.sub(rf"{word}(?![A-Z_])", lambda _, put=put: put, text)
    return text


def _used(text, words):
    """What a text needs of ``c_text.c``, and what that needs itself, in order."""
    blocks, wanted, todo = {}, set(), {*re.findall(r"\btr_\w+", text)}
    for block in _BLOCK.split(_template("c_text.c", words)):
        named = re.search(r"^static .*?\b(tr_\w+)\(", block, re.M) or re.search(r"^\} (tr_\w+);", block, re.M)
        blocks[named[1]] = block.strip()
    while todo:
        name = todo.pop()
        if name in blocks and name not in wanted:
            wanted.add(name)
            todo |= {*re.findall(r"\btr_\w+", blocks[name])}
    return "\n\n".join(block for name, block in blocks.items() if name in wanted)


def _literal(text: str) -> str:
    """A text as C writes it, of ASCII: three octal digits never swallow what follows."""
    plain = {*range(32, 127)} - set(b'"\\?')
    return (
        '"'
        + "".join(chr(b) if b in plain else f"\\{b:03o}" for b in text.encode("utf-8", "surrogatepass"))
        + '"'
    )


# ------------------------------------------------------------------ symbols


def _text(unit, source: Vocabulary, target: Vocabulary, *, single: bool) -> Part:
    """Functions that read texts as ``source`` does, ``single`` ones as tasks of them do, and write as
    ``target`` does.
    """
    names = {"symbols": source} if source is target else {"source": source, "target": target}
    lines, head = [_table(unit, name, vocabulary) for name, vocabulary in names.items()], []
    reads, writes = next(iter(names)), [*names][-1]
    if source.level != "bpe":  # whose merges C does not do
        level = source.level + "_single" * (single and source.spaced)
        if source.level == "word":
            unit.table("words", "uint32_t", _word_ranges())
        lines.append(_template("c_encode.c", {"TR_LEVEL": level, "TR_NAME": reads}))
        head.append(_template("c_encode.h"))
    level = "char" if target.level == "bpe" else target.level
    lines.append(_template("c_decode.c", {"TR_LEVEL": level, "TR_NAME": writes}))
    longest = 1 + max([1, *map(len, _symbols(target))])
    find = "tr_find_any_case" if source.any_case else "tr_find"
    head.append(_template("c_decode.h"))
    return Part({"LONGEST": longest}, "\n\n".join(head), "\n\n".join(lines), "", {"TR_FIND": find})


def _symbols(vocabulary) -> list[bytes]:
    if vocabulary.level == "bpe":
        return vocabulary.bytes
    return (
        [] if vocabulary.level == "byte" else [s.encode("utf-8", "surrogatepass") for s in vocabulary.symbols]
    )


def _table(unit, name, vocabulary):
    """The line of a vocabulary, whose tables the unit has."""
    symbols, word = _symbols(vocabulary), re.compile(r"\w")
    if not symbols:
        return f"static const tr_vocabulary tr_{name} = {{0, 0, 0, 0, 256, -1}};"
    edges = [
        bool(word.match(s[:1])) + 2 * bool(word.match(s[-1:])) + 4 * (s == vocabulary.line_end == "<eos>")
        for s in vocabulary.symbols
    ]
    unit.table(f"{name}_bytes", "unsigned char", np.frombuffer(b"".join(symbols) or b"\0", np.uint8))
    unit.table(f"{name}_starts", "uint32_t", np.cumsum([0, *map(len, symbols)]).astype(np.uint32))
    order = sorted(range(len(symbols)), key=symbols.__getitem__)
    unit.table(f"{name}_sorted", "uint32_t", np.array(order, np.uint32))
    unit.table(f"{name}_edges", "unsigned char", np.array(edges, np.uint8))
    parts = ", ".join(f"tr_{name}_{what}" for what in ("bytes", "starts", "sorted", "edges"))
    unknown = -1 if vocabulary.unknown is None else vocabulary.unknown
    return f"static const tr_vocabulary tr_{name} = {{{parts}, {len(symbols)}, {unknown}}};"


def _word_ranges() -> np.ndarray:
    """The first and the last code point of each range of letters and digits, as Python's ``\\w`` has them."""
    is_word = [chr(c).isalnum() or c == ord("_") for c in range(0x110000)]
    ends = np.flatnonzero(np.diff([False, *is_word, False])).reshape(-1, 2)
    return (ends - [0, 1]).ravel().astype(np.uint32)


# ------------------------------------------------------------------ tasks


def _unknown(vocabulary):
    return -1 if vocabulary.unknown is None else vocabulary.unknown


def _language_model(unit, model, graphs) -> Part:
    count, vocabulary = len(model.vocabulary), model.vocabulary
    unit.field("key", 1, "of random numbers", kind="uint64_t")
    unit.field("drawn", 1, "how many of these were drawn", kind="uint64_t")
    unit.field("odds", count, "of symbols, to choose by", kind="double")
    unit.field("order", count, "of symbols, to choose by", kind="int")
    Functions(
        unit, "step", graphs["step"], places={"logits": unit.field("logits", count, "of what may follow")}
    )
    text = _text(unit, vocabulary, vocabulary, single=False)
    first = f"{vocabulary.ids.get(vocabulary.line_end, count - 1)} /* to begin with without a text */"
    macros = {"SYMBOLS": count, "UNKNOWN": _unknown(vocabulary), "FIRST": first}
    return text.after(macros, _template("c_lm.h"), _template("c_lm.c"), "c_lm_main.c")


def _classifier(unit, model, graphs) -> Part:
    features, labels = getattr(model, "features", None), model.labels
    unit.field("length", 1, "how many steps were read", kind="int")
    places = {"probabilities": unit.field("probabilities", len(labels), "of labels")}
    streamed = ("features" if features else "ids",)
    functions = Functions(unit, "classify", graphs["classify"], streamed=streamed, places=places)
    bound = not features or bool(functions.whole)  # else any number of steps
    macros = {"LABELS": len(labels), **({"MAX_LENGTH": unit.most} if bound else {})}
    words = {
        "TR_NAMES": ",\n".join(f"    {_literal(label)}" for label in labels),
        "TR_FULL": "m->length == TR_MAX_LENGTH" if bound else "m->length == INT32_MAX",
        "TR_START": "tr_run_classify_start(m);" if functions.starts else "",
    }
    if model.thresholds is None:
        words["TR_SAID"] = _template("c_said.c")
    else:
        unit.table("thresholds", "double", model.thresholds)
        words["TR_SAID"] = "return (double)m->probabilities[i] >= tr_thresholds[i];"
    if not features:
        words |= {
            "TR_READ": "a symbol, 0 to TR_SYMBOLS - 1", "TR_GIVEN": "int id", "TR_FED": "id", "TR_SCALED": "",
            "TR_SOMETHING": "if (m->length == 0) tr_feed(m, 0);",
        }  # fmt: skip
        macros["SYMBOLS"] = len(model.vocabulary)
        text = _text(unit, model.vocabulary, model.vocabulary, single=True)
        return text.after(
            macros, _template("c_classify.h", words), _template("c_classify.c", words), "c_classify_main.c"
        )
    macros["INPUTS"] = features.width
    words |= {"TR_GIVEN": "const tr_real *row", "TR_FED": "row", "TR_SCALED": "", "TR_SOMETHING": ""}
    words["TR_READ"] = f"a row of TR_INPUTS numbers, as tinyrnn makes them: {features.words}"
    if not features.rate and not features.deltas and features.joined == 1:
        unit.table("mean", "double", np.array(features.mean))
        unit.table("deviation", "double", np.array(features.deviation))
        words |= {"TR_FED": "scaled", "TR_SCALED": _template("c_scaled.c")}
        words["TR_READ"] = "a row of TR_INPUTS numbers, as they were measured"
    return Part(
        macros, _template("c_classify.h", words), _template("c_classify.c", words), "c_signals_main.c", {}
    )


def _translator(unit, model, graphs) -> Part:
    read, step, count = graphs["read"], graphs["step"], model.end + 1
    unit.field("length", 1, "of the source", kind="int")
    unit.field("written", 1, "symbols so far", kind="int")
    unit.field("last", 1, "symbol that was written", kind="int")
    places = {
        "logits": unit.field("logits", count, "of what may follow"),
        "weights": unit.field("weights", 1, "of the source's steps, by attention", over_time=True),
    }
    for item in step.inputs:
        if item.over_time or item.name in step.states:
            words = "state" if item.name in step.states else "of the source, for attention"
            places[item.name] = unit.field(item.name, item.width, words, over_time=item.over_time)
    reading = Functions(unit, "read", read, streamed=("ids",), places=places, alone=False)
    Functions(unit, "step", step, places=places, alone=False)
    macros = {"SOURCE_SYMBOLS": len(model.source), "SYMBOLS": count, "MAX_LENGTH": unit.most}
    macros |= {"END": model.end, "UNKNOWN": _unknown(model.target)}
    text = _text(unit, model.source, model.target, single=True)
    source = _template("c_translate.c", {"TR_START": "tr_run_read_start(m);" if reading.starts else ""})
    return text.after(macros, _template("c_translate.h"), source, "c_translate_main.c")


def _forecaster(unit, model, graphs) -> Part:
    read, step, end = (graphs[name] for name in ("read", "step", "end"))
    horizon = model.horizon
    unit.field("length", 1, "values so far", kind="int")
    places = {"said": unit.field("said", 3, "what the networks say of the next step")}
    of_read = {"first_phases": unit.field("first_phases", len(model.seasons), "of the first value")}
    taken = {x.name for graph in (step, end) for x in graph.inputs} - {"said"}
    for name, item in read.outputs.items():
        if name in taken:
            places[name] = unit.field(name, item.width, "after the last value")
    of_end = {"said": unit.field("all", 3 * horizon, "what they say of all steps")}
    for name in ("forecast", "lower", "upper"):
        of_end[name] = unit.field(name, horizon, "of the steps that follow")
    reading = Functions(unit, "read", read, streamed=("values",), places=places | of_read, alone=False)
    # what is forecast changes states that more values, read afterwards, need as they were
    Functions(unit, "step", step, places=places, alone=False)
    Functions(unit, "end", end, places=places | of_end, alone=False)
    macros = {"HORIZON": horizon, "NEEDED": model.needed, "SEASONS": len(model.seasons)}
    words = {
        "TR_START": "tr_run_read_start(m);" if reading.starts else "",
        "TR_PERIODS": ", ".join(repr(float(p)) for p in model.seasons),
    }
    source = _template("c_forecast.c", words)
    return Part(
        macros | {"MAX_LENGTH": unit.most}, _template("c_forecast.h"), source, "c_forecast_main.c", {}
    )


def _rows(unit, graph, graphs) -> Part:
    """A `Graph` of one step, of rows to rows."""
    given = [x for x in graph.inputs if x.name not in graph.states]
    outs = {name: i for name, i in graph.outputs.items() if name not in {n for _, n in graph.states.values()}}
    if len(given) != 1 or given[0].over_time or given[0].count or len(outs) != 1:
        raise InputError("a graph becomes C that has one input, rows of one step, and one output: give such")
    (name, out), (x,) = next(iter(outs.items())), given
    made = unit.field(name, out.width, "what the last step gave")
    functions = Functions(unit, "rows", graph, places={name: made})
    words = {"TR_START": "tr_run_rows_start(m);" if functions.starts else "", "TR_MADE": made}
    macros = {"INPUTS": x.width, "OUTPUTS": out.width}
    return Part(
        macros, _template("c_rows.h"), _template("c_rows.c", words), "c_rows_main.c", {"TR_OUT": name}
    )


TASKS: dict[str, Any] = {
    "lm": _language_model, "classify": _classifier, "translate": _translator, "forecast": _forecaster,
    "rows": _rows,
}  # fmt: skip
