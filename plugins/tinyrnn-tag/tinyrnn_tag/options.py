"""Options of the task ``tag``."""

from dataclasses import dataclass

from tinyrnn.tasks import Options, TaskOptions, option


@dataclass(frozen=True, kw_only=True)
class ColumnOptions(Options):
    """How files in columns are read."""

    encoding: str | None = option(
        None, "Encoding of the files. Default: as in training.", "Data", encoding=True
    )
    token_column: int | None = option(
        None, "Column of the tokens, from 1. Default: the first; of .conllu files the second.", "Tags", low=1
    )
    tag_column: int | None = option(
        None, "Column of the tags, from 1. Default: the last; of .conllu files the fourth.", "Tags", low=1
    )


@dataclass(frozen=True, kw_only=True)
class TagOptions(TaskOptions):
    """Of ``--task tag``."""

    cell: str = "lstm"
    hidden: int = 128
    layers: int = 1
    dropout: float = 0.5
    batch_size: int = 32
    variational: bool = True
    embed: int = option(100, "Width of the embedding of words.", "Model", low=1)
    characters: int = option(
        32, "Width of the network that spells words, in one direction; 0: none.", "Model", low=0
    )
    affixes: int = option(
        16, "Width of the embeddings of shape, beginnings and ends of words; 0: none.", "Model", low=0
    )
    word_dropout: float = option(
        1.0, "A word seen n times is unknown in training with probability a / (a + n).", "Model", low=0
    )
    linear: bool = option(True, "Score tags by the forms of words directly, too.", "Model")
    token_column: int | None = option(
        None, "Column of the tokens, from 1. Default: the first; of .conllu files the second.", "Tags", low=1
    )
    tag_column: int | None = option(
        None, "Column of the tags, from 1. Default: the last; of .conllu files the fourth.", "Tags", low=1
    )
