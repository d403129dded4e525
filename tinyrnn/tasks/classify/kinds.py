"""The one task that people name, for texts, numbers and sounds."""

from types import MappingProxyType

from ...training.screen import note
from ..signals.reader import ARRAYS, holds_sound
from .options import OF_SEQUENCES, OF_SOUNDS, OF_TABLES
from .signals import NumbersClassification, SoundClassification, stored_arrays
from .task import Classification


class Classify(Classification):
    """Labels of texts, of sounds, of sequences of numbers: sentiment, topic, spoken words, gestures.

    Data: .csv, .tsv or .jsonl files with columns text and label (or --text-column, --label-column), or a
    folder of text files whose names are the labels of their lines. Sounds: folders of .wav, named after
    labels, or a folder and --label-pattern. Numbers: a long table and --id-column, or .npz with x, y and
    lengths. Both have defaults of their own, see docs/tasks.md. From Python also pairs (text, label), or
    sequences and labels (xs, ys).
    """

    in_memory = f"{Classification.in_memory}, or sequences and labels (xs, ys)"

    @classmethod
    def on(cls, texts, entries):
        """What is classified in files: as ``entries`` of options say, or by what the files are."""
        if (named := entries.get("inputs")) is not None:
            return KINDS.get(str(named), cls)
        if any(holds_sound(str(t)) for t in texts):
            return SoundClassification
        arrays = any(str(t).lower().endswith(ARRAYS) for t in texts)
        return NumbersClassification if arrays or entries.get("id_column") is not None else cls

    @classmethod
    def build(cls, options, texts, origin=None):
        """As of texts; what is for sequences alone is told."""
        for said in options.without_effect((*OF_SOUNDS, *OF_TABLES, *OF_SEQUENCES)):
            note(said)
        return super().build(options, texts, origin)

    @classmethod
    def store(cls, data):
        """Sequences and labels, ``(xs, ys)``, or as of texts."""
        arrays = stored_arrays(data)
        return super().store(data) if arrays is None else ("npz", arrays)


KINDS = MappingProxyType({kind.inputs: kind for kind in (NumbersClassification, SoundClassification)})
