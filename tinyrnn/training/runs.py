"""The run folder: `config.json`, checkpoints, logs. Every file is replaced whole or not at all."""

import hashlib
import itertools
import json
import math
import os
import re
import secrets
import shutil
import zlib
from collections.abc import Sequence
from contextlib import contextmanager, suppress
from pathlib import Path

import numpy as np

from ..base.errors import InputError, TinyrnnError, shown
from ..base.files import PARTIAL, digest_of, is_whole, lock_file, parsed, read_file, replace_file, sealed
from ..base.options import Rule, path_of, taken
from ..base.version import __version__
from .packing import unpacked
from .screen import note

# Of checkpoints and config.json; a reader accepts its own and older ones. Since 2 a digest covers all of a
# file (of 1, a sum the arrays of a checkpoint alone), and each line of a log bears a checksum.
FORMAT = 2
CONFIG, LOG, TABLE = "config.json", "log.jsonl", "log.csv"
LOCK = "train.lock"  # is there, and locked, while the run is trained
CREATING = ".tinyrnn-creating"  # ends the name of the file that is locked while a run's folder is made
TRAINING = "train.jsonl"  # training losses between evaluations; runs of earlier versions have none
_COUNT, _NUMBER, _MAYBE = Rule(int, low=0, high=10**12), Rule(float), Rule(float, optional=True)
# What a log's line must have, and what else of it is looked at.
_LINES = {LOG: {"step": _COUNT, "val_loss": _NUMBER, "seconds": _NUMBER}}
_LINES[TRAINING] = {"step": _COUNT, "train_loss": _NUMBER, "seconds": _NUMBER}
_BESIDE = dict.fromkeys(("train_loss", "tokens_per_s", "epoch", "lr"), _MAYBE)
_TEXT = Rule(str)
TEXTS = Rule(str, many=True, path=True)
_NAMES = {"cell": _TEXT, "texts": TEXTS}  # of options, whatever the task
CHECKSUM = "crc32"  # of a log's line
PICTURES = ".png", ".svg", ".pdf"
ANOTHER = "use another checkpoint of the run"
# What stands near the beginning of the files that commands write; no other file is ever replaced by one.
_MARKS = {
    "compare.json": b'{\n "budget":',
    "model.c": b"written by tinyrnn export",
    "model.h": b"written by tinyrnn export",
    "curve.png": b"Software\0tinyrnn",
    "inspect.html": b"<title>tinyrnn inspect</title>",
    "model.html": b"<title>tinyrnn export",
    "model.json": b'{"made_by": "tinyrnn',
    "model.onnx": b"\x12\x07tinyrnn",  # its producer
    "model.py": b"model trained with tinyrnn",
    "model.safetensors": b'"tinyrnn":"export"',
    "robust.png": b"Software\0tinyrnn",
}
BEST, LAST, TRAINER, STABLE = (
    "best.safetensors",
    "last.safetensors",
    "trainer.safetensors",
    "stable.safetensors",
)
_FILES = (CONFIG, LOG, TABLE, TRAINING, BEST, LAST, TRAINER, STABLE)


@contextmanager
def _write_errors(path):
    """Failures to write (disk full, no permission) as one sentence."""
    try:
        yield
    except OSError as error:
        raise InputError(
            f"{path} could not be written ({error.strerror or error}): what was saved before is unharmed; "
            "make room or choose another --out"
        ) from error


def write_atomically(path: Path, data: bytes):
    """``replace_file`` with its errors as one sentence."""
    with _write_errors(path):
        replace_file(path, data)


def refuse_moved(run: object, texts: Sequence[str], where: str) -> None:
    """InputError if the files ``texts``, which ``run`` was trained on, are no longer there; ``where`` others
    are to be named.
    """
    if gone := [text for text in texts if text != "-" and not os.path.exists(text)]:
        raise InputError(f"{run} was trained on {gone[0]}, which is not here: name the same data {where}")


@contextmanager
def reading(path: Path, mend: str):
    """A block that uses what was read from ``path``: whatever is wrong with that is one sentence, which names
    the file and ends in ``mend``.
    """
    try:
        yield
    except TinyrnnError as error:
        if str(error).startswith(str(path)):  # an inner block has named it
            raise
        raise InputError(f"{path}: {error}") from error
    except (OSError, ValueError) as error:
        raise InputError(f"{path} cannot be used ({error}): {mend}") from error


def save_tensors(path: Path, tensors: dict, meta: dict):
    """Write arrays and JSON-able ``meta`` as safetensors, with a digest over all of it."""
    from safetensors.numpy import save

    tensors = {
        name: np.asarray(a, order="C") for name, a in tensors.items()
    }  # keeps 0-d, unlike ascontiguousarray
    header = {"format": str(FORMAT), "tinyrnn": __version__}
    write_atomically(path, sealed(save(tensors, header | {k: json.dumps(v) for k, v in meta.items()})))


def load_tensors(path: Path, mend: str = ANOTHER) -> tuple[dict, dict]:
    """Arrays and meta of a file that ``save_tensors`` wrote; ``mend``: what to do where it is damaged.

    Raises:
        InputError: no such file, truncated or damaged, not written by tinyrnn, or by a newer version.
    """
    from safetensors import SafetensorError
    from safetensors.numpy import load

    try:
        data = read_file(path)
        tensors, header = load(data), parsed(data[8 : 8 + int.from_bytes(data[:8], "little")])
    except FileNotFoundError:
        mend = "give a run folder or a checkpoint file" if mend == ANOTHER else mend
        raise InputError(f"{path} does not exist: {mend}") from None
    except (SafetensorError, OSError, ValueError) as error:
        raise InputError(f"{path} is damaged or not a checkpoint ({error}): {mend}") from None
    except KeyError as error:  # a dtype that the library knows and NumPy has not
        raise InputError(f"{path} holds arrays of dtype {error}, no weights of tinyrnn: {mend}") from None
    header = header.get("__metadata__", {})
    if "format" not in header:
        exported = header.get("tinyrnn") == "export"
        what = (
            "holds weights that were exported for another library"
            if exported
            else "was not written by tinyrnn"
        )
        raise InputError(f"{path} {what}: give a run folder or one of its checkpoints")
    with reading(path, mend):
        form = refuse_newer(int(header.pop("format")), header.pop("tinyrnn", "?"))
        digest, crc32 = header.pop("digest", None), header.pop("crc32", None)
        whole = is_whole(data) if digest or form > 1 else crc32 == str(_checksum(tensors))
        if not whole:
            raise ValueError("its digest differs: something changed it after it was written")
        meta = {k: parsed(v.encode()) for k, v in header.items()}
        if "packed" in meta:
            tensors = unpacked(tensors, meta["packed"])
    return tensors, meta


def refuse_newer(form, version) -> int:
    """``form``, that of a file; InputError if it was written by a tinyrnn that this one does not know."""
    if _COUNT.checked(form, "format") > FORMAT:
        formats = f"of format {form}, and this tinyrnn {__version__} knows those up to {FORMAT}"
        raise InputError(f"it was written by tinyrnn {version}, {formats}: upgrade tinyrnn")
    return form


def _checksum(tensors):
    """As format 1 has it."""
    value = 0
    for name in sorted(tensors):
        value = zlib.crc32(tensors[name].tobytes(), zlib.crc32(name.encode(), value))
    return value


def put_weights(model, tensors: dict):
    """Overwrite the weights of ``model`` by those of a checkpoint; ValueError as `refuse_other`."""
    refuse_other({name: p.data for name, p in model.named_parameters()}, tensors, "weight")
    model.load_state_dict(tensors)


def refuse_other(own: dict, stored: dict, what: str, *, finite=True):
    """ValueError unless the arrays ``stored`` have names, shapes and dtypes of ``own``, and hold finite
    numbers.

    Training stops before a weight leaves the finite, so one that has was not written by it.
    """
    if strange := sorted(own.keys() ^ stored.keys()):
        raise ValueError(f"it is of another model: the {what} {strange[0]!r} stands on one side only")
    for name, array in stored.items():
        found, wanted = (f"{a.dtype} {list(a.shape)}" for a in (array, own[name]))
        if found != wanted:
            raise ValueError(f"it is of another model: the {what} {name!r} is {found}, not {wanted}")
        if finite and not np.isfinite(array).all():
            raise ValueError(f"the {what} {name!r} holds NaN or infinity")


class RunFolder:
    """An existing run folder, given by its path or that of a checkpoint in it."""

    def __init__(self, path):
        self._lock = None  # the open file, while this object has the run for itself
        self._told = set()  # what was said of its logs
        self.path = path_of(path, "run")
        if self.path.is_file():
            self.path = self.path.parent
        if not (self.path / CONFIG).is_file():
            raise InputError(
                f"{self.path} is not a run folder (it has no {CONFIG}): give the path that train printed"
            )

    @staticmethod
    def refuse_existing(path: Path):
        """InputError if there is something at ``path``: runs are never overwritten."""
        if path.exists():
            go_on = f", or --resume {path}" if (path / CONFIG).is_file() else ""
            raise InputError(f"{path} exists and is never overwritten: choose another --out{go_on}")

    @classmethod
    def create(cls, path: Path, config: dict, fill):
        """Make a run folder that is complete from the moment it appears: ``fill(folder)`` writes its first
        checkpoints.

        Raises:
            InputError: ``path`` exists, or cannot be made.
        """
        cls.refuse_existing(path)
        with _write_errors(path):
            path.parent.mkdir(parents=True, exist_ok=True)
            _remove_abandoned(path.parent)
            work, lock = _hidden_folder(path)
            try:
                write_atomically(work / CONFIG, _pretty(config))
                (work / LOG).touch()
                (work / TRAINING).touch()
                fill(work)
                os.rename(work, path)
            except BaseException:  # also on Ctrl-C: no unfinished folder may stay
                shutil.rmtree(work, ignore_errors=True)
                raise
            finally:
                with suppress(OSError):  # Windows keeps an open file: the next run removes it
                    work.with_name(work.name + CREATING).unlink()
                lock.close()
        return cls(path)

    @property
    def config(self) -> dict:
        """As `config.json` holds it: ``task``, ``fingerprint``, ``options`` and what tinyrnn wrote it.

        Raises:
            InputError: it is damaged, was changed, or is of a newer tinyrnn.
        """
        with reading(self.path / CONFIG, "restore it from a copy, or give the path that train printed"):
            config = parsed(read_file(self.path / CONFIG))
            if not isinstance(config, dict):
                raise ValueError(f"it is {shown(config)}, which has no entries")
            form = refuse_newer(config.get("format", 0), config.get("tinyrnn"))
            digest = config.pop("digest", None if form < 2 else "")
            if digest is not None and digest != digest_of(config):
                mend = "if you did so on purpose, make null its digest"
                raise ValueError(f"its digest differs, so something changed it after it was written; {mend}")
            known = {"task": _TEXT, "fingerprint": _TEXT, "from": _TEXT}
            taken(config, known, "list of entries", lacking=("from",), others=True)
            taken(config.get("options"), _NAMES, "options", others=True)
            if not isinstance(texts := config["options"]["texts"], list):
                raise ValueError(f"its texts are {shown(texts)}, which is no list")
        return config

    @property
    def options(self) -> dict:
        """What it was trained with, as `config.json` holds it."""
        return self.config["options"]

    def refuse_changed(self, fingerprint, what="text of this run has"):
        """InputError unless ``fingerprint`` is that of the data that the run was trained on."""
        if fingerprint != self.config["fingerprint"]:
            raise InputError(f"the {what} changed since it was trained: name a TEXT to evaluate on")

    def update_config(self, **changes):
        """Store what a resumed run changed."""
        write_atomically(self.path / CONFIG, _pretty({**self.config, **changes}))

    def append_log(self, record: dict, name=LOG):
        """Add one line to the log."""
        with _write_errors(self.path / name), (self.path / name).open("a", encoding="utf-8") as file:
            file.write(_line(record))

    def read_log(self, name=LOG) -> list[dict]:
        """The log's records. A line that is damaged, or that a crash cut short, is left out, and that is
        said; so is that a log is missing. (That one ends early, after a whole line, cannot be seen.)

        Raises:
            InputError: it cannot be read at all.
        """
        path = self.path / name
        if not path.exists():
            if name == LOG or self.config.get("format", 0) > 1:  # runs of earlier versions lack the other
                self._tell(f"{path} is missing: what was logged so far is not known")
            return []
        with reading(path, "move it away, and the run has a log without what was in it"):
            lines = read_file(path).split(b"\n")
        ends = lines.pop()  # empty, if the last line is whole
        records = [_record(line, _LINES[name]) for line in lines]
        if any(record and CHECKSUM in record for record in records):
            records = [r if r and r.pop(CHECKSUM, None) is not None else None for r in records]
        damaged = [n for n, record in enumerate([*records, *([None] if ends else [])], 1) if not record]
        for number in damaged:
            self._tell(f"{path}: line {number} is damaged and left out")
        return [record for record in records if record]

    def _tell(self, text):
        """Say something once."""
        if text not in self._told:
            self._told.add(text)
            note(text)

    def rewind_log(self, last: int, name=LOG):
        """Drop the records that a resumed run will write again: those of steps after ``last``."""
        lines = [_line(r) for r in self.read_log(name) if r["step"] <= last]
        write_atomically(self.path / name, "".join(lines).encode())

    def training_losses(self) -> list[dict]:
        """Records with ``step train_loss seconds``, denser than evaluations; where an earlier version
        trained, those of the evaluations.
        """
        found = self.read_log(TRAINING)
        first = found[0]["step"] if found else math.inf
        return [r for r in self.read_log() if r.get("train_loss") is not None and r["step"] < first] + found

    def lock(self):
        """Have the run for this object alone until `unlock`, or until the process ends, however it does.

        Raises:
            InputError: another process trains it, or another object in this one.
        """
        if self._lock is None:
            with _write_errors(self.path / LOCK):
                self._lock, holder = lock_file(self.path / LOCK)
            if self._lock is None:
                by = f"process {holder}" if holder else "another process"
                raise InputError(
                    f"{self.path} is being trained by {by}: wait until that ends, or stop it with Ctrl-C"
                )

    def unlock(self):
        """Let others train the run."""
        if self._lock is not None:
            with suppress(OSError):  # Windows keeps an open file, which harms nobody
                (self.path / LOCK).unlink()
            self._lock.close()
            self._lock = None

    __del__ = unlock  # of what is taken up and never trained

    def discard(self):
        """Remove what tinyrnn wrote into the folder, and the folder if it is empty then."""
        self.unlock()
        self.empty(self.path)

    @staticmethod
    def empty(path: Path):
        """Remove tinyrnn's files from the folder ``path``, and the folder if it is empty then."""
        for name in _FILES:
            for file in (path / name, *path.glob(f".{name}.*{PARTIAL}")):
                file.unlink(missing_ok=True)
        if not any(path.iterdir()):
            path.rmdir()

    def keep_best(self, step: int) -> str:
        """Keep the best checkpoint of a run of ``step`` steps under a name of its own, which is returned."""
        name = f"best-{step}.safetensors"
        if (self.path / BEST).exists():
            write_atomically(self.path / name, (self.path / BEST).read_bytes())
        return name

    def clean(self):
        """Remove temporary files that a killed process left, also one that had just made this run."""
        _remove_abandoned(self.path.parent)
        clean(self.path)


def clean(folder: Path):
    """Remove what a killed process was writing into a folder of tinyrnn's, or making in it."""
    _remove_abandoned(folder)
    for leftover in folder.glob(f".*{PARTIAL}"):
        leftover.unlink(missing_ok=True)


def _hidden_folder(path):
    """A folder beside ``path`` to fill before it gets that name, and the open file beside it that is locked
    as long as somebody does.
    """
    while True:
        work = path.with_name(f".{path.name[:50]}.{secrets.token_hex(4)}")  # no name may be too long
        lock, _ = lock_file(work.with_name(work.name + CREATING))
        if lock is not None:
            work.mkdir()
            return work, lock


def _remove_abandoned(parent):
    """What processes left that were killed while they made a run in the folder ``parent``: of each that holds
    no lock any more, tinyrnn's files and the folder that they are in.
    """
    for file in parent.glob(f".*.????????{CREATING}"):
        if file.is_symlink() or not re.fullmatch(r"\..+\.[0-9a-f]{8}", file.name.removesuffix(CREATING)):
            continue  # somebody else's
        with suppress(OSError):  # another process was quicker, or it is somebody else's
            lock, _ = lock_file(file)
            if lock is not None:
                with lock:
                    work = file.with_name(file.name.removesuffix(CREATING))
                    if work.is_dir() and not work.is_symlink():
                        RunFolder.empty(work)
                    file.unlink()


def keep_data(text: str | bytes, suffix: str, encoding: str) -> tuple[list[Path], list[str]]:
    """Store ``text`` as a file beside the runs: what was made for that, and the texts that it is.

    Raises:
        InputError: the text has no such encoding, or cannot be written.
    """
    try:
        data = text if isinstance(text, bytes) else text.encode(encoding)
    except UnicodeEncodeError as error:
        strange = f"{str(error.object)[error.start]!r}, which is no character of {encoding}"
        raise InputError(f"the data holds {strange}: replace it, or use another encoding") from None
    path = Path("runs") / f"data-{hashlib.sha256(data).hexdigest()[:8]}.{suffix}"
    made = [p for p in (path, path.parent) if not p.exists()]
    with _write_errors(path):
        path.parent.mkdir(exist_ok=True)
        replace_file(path, data)
    return made, [str(path)]


def remove(made: list[Path]):
    """Take away files, and folders that are empty then."""
    for path in made:
        with suppress(OSError):  # a folder that others use meanwhile stays
            path.rmdir() if path.is_dir() else path.unlink()


def refuse_foreign(path: Path, name: str):
    """InputError if there is something at ``path`` that tinyrnn did not make, as a file of the kind that it
    calls ``name``.
    """
    if path.is_file():
        with path.open("rb") as file:
            if name in _MARKS and _MARKS[name] in file.read(1024):
                return
    if path.exists():
        raise InputError(
            f"{path} exists and is no {name} that tinyrnn made: it is not overwritten, choose another name"
        )
    if name.endswith(".png") and path.suffix not in (*PICTURES, ""):  # which is a PNG as well
        raise InputError(f"{path} is no name of a picture: let it end in {' or '.join(PICTURES)}")


def output_file(out, run, name: str) -> Path:
    """Where a command writes its ``name``: to ``out``, else into the folder of ``run``.

    Raises:
        InputError: something is there that tinyrnn did not make. (In a run folder what bears that name is
            tinyrnn's.)
    """
    folder = Path(run) if Path(run).is_dir() else Path(run).parent
    target = Path(out) if out else folder / name
    if not target.parent.is_dir():
        raise InputError(f"{target} cannot be written: there is no folder {target.parent}")
    if out or not (folder / CONFIG).is_file():
        refuse_foreign(target, name)
    return target


def judged(log: list[dict]) -> list[dict]:
    """The records that may be of the best model: of a run that is pruned those of when it was."""
    most = max((record.get("sparsity", 0.0) for record in log), default=0.0)
    return [record for record in log if record.get("sparsity", 0.0) == most]


def free_name(path: Path) -> Path:
    """``path``, or the first of ``path-2``, ``path-3`` ... that does not exist."""
    candidates = itertools.chain([path], (path.with_name(f"{path.name}-{n}") for n in itertools.count(2)))
    return next(p for p in candidates if not p.exists())


def weights_file(path) -> Path:
    """The checkpoint to use of a run folder (best, else last), or ``path`` itself if it is a file."""
    path = Path(path)
    if path.is_dir():
        RunFolder(path)
        return next((path / name for name in (BEST, LAST) if (path / name).exists()), path / LAST)
    return path


def _pretty(config):
    head = {"format": FORMAT, "tinyrnn": __version__}
    whole = {**config, **head}
    config = {**head, "digest": digest_of(whole), **whole}
    return (json.dumps(config, indent=2, ensure_ascii=False) + "\n").encode()


def _line(record):
    """A record as a log has it: with a checksum of what it would be without one."""
    return json.dumps({**record, CHECKSUM: zlib.crc32(json.dumps(record).encode())}) + "\n"


def _record(line, rules):
    """What a log's line says, its checksum included if it has one; None if it is damaged."""
    try:
        record = parsed(line)
        if not isinstance(record, dict):
            return None
        bare = {name: value for name, value in record.items() if name != CHECKSUM}
        taken(bare, {**_BESIDE, **rules}, "line", lacking=_BESIDE.keys() - rules, others=True)
    except ValueError:
        return None
    right = zlib.crc32(json.dumps(bare).encode())
    return record if record.get(CHECKSUM, right) == right else None
