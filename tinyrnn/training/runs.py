"""The run folder: `config.json`, checkpoints, logs. Every file is replaced whole or not at all."""

import hashlib
import itertools
import json
import math
import os
import secrets
import shutil
import zlib
from contextlib import contextmanager, suppress
from pathlib import Path

import numpy as np

from ..base.errors import InputError
from ..base.files import PARTIAL, lock_file, replace_file, sorted_header
from ..base.options import path_of
from ..base.version import __version__

FORMAT = 1  # of checkpoints and config.json; a reader accepts its own and older ones
CONFIG, LOG, TABLE = "config.json", "log.jsonl", "log.csv"
LOCK = "train.lock"  # is there, and locked, while the run is trained
CREATING = ".tinyrnn-creating"  # ends the name of the file that is locked while a run's folder is made
TRAINING = "train.jsonl"  # training losses between evaluations; runs of earlier versions have none
_NUMBERS = {LOG: ("step", "val_loss", "seconds"), TRAINING: ("step", "train_loss", "seconds")}
ANOTHER = "use another checkpoint of the run"
# What stands near the beginning of the files that commands write; no other file is ever replaced by one.
_MARKS = {
    "compare.json": b'{\n "budget":',
    "curve.png": b"Software\0tinyrnn",
    "inspect.html": b"<title>tinyrnn inspect</title>",
    "model.onnx": b"\x12\x07tinyrnn",  # its producer
    "model.py": b"One step of a language model trained with tinyrnn",
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


@contextmanager
def reading(path: Path, mend: str):
    """A block that uses what was read from ``path``: whatever is wrong with that is one sentence, which names
    the file and ends in ``mend``.
    """
    try:
        yield
    except InputError as error:
        if str(error).startswith(str(path)):  # an inner block has named it
            raise
        raise InputError(f"{path}: {error}") from error
    except (OSError, ValueError, TypeError, AttributeError, LookupError) as error:
        said = f"it lacks {error}" if isinstance(error, KeyError) else error
        raise InputError(f"{path} cannot be used ({said}): {mend}") from error


def save_tensors(path: Path, tensors: dict, meta: dict):
    """Write arrays and JSON-able ``meta`` as safetensors, with a checksum over the arrays."""
    from safetensors.numpy import save

    tensors = {
        name: np.asarray(a, order="C") for name, a in tensors.items()
    }  # keeps 0-d, unlike ascontiguousarray
    header = {"format": str(FORMAT), "tinyrnn": __version__, "crc32": str(_checksum(tensors))}
    data = save(tensors, header | {k: json.dumps(v) for k, v in meta.items()})
    write_atomically(path, sorted_header(data))


def load_tensors(path: Path, mend: str = ANOTHER) -> tuple[dict, dict]:
    """Arrays and meta of a file that ``save_tensors`` wrote; ``mend``: what to do where it is damaged.

    Raises:
        InputError: no such file, truncated or damaged, not written by tinyrnn, or by a newer version.
    """
    from safetensors import SafetensorError, safe_open

    try:
        with safe_open(path, framework="numpy") as file:
            header = file.metadata() or {}
            tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118 (not a mapping)
    except FileNotFoundError:
        mend = "give a run folder or a checkpoint file" if mend == ANOTHER else mend
        raise InputError(f"{path} does not exist: {mend}") from None
    except (SafetensorError, OSError, TypeError, ValueError) as error:
        raise InputError(f"{path} is damaged or not a checkpoint ({error}): {mend}") from None
    if "format" not in header:
        exported = header.get("tinyrnn") == "export"
        what = (
            "holds weights that were exported for another library"
            if exported
            else "was not written by tinyrnn"
        )
        raise InputError(f"{path} {what}: give a run folder or one of its checkpoints")
    with reading(path, mend):
        refuse_newer(header["format"], header["tinyrnn"])
        if int(header["crc32"]) != _checksum(tensors):
            raise ValueError("its checksum differs")
        meta = {k: json.loads(v) for k, v in header.items() if k not in ("format", "tinyrnn", "crc32")}
    return tensors, meta


def refuse_newer(form, version):
    """InputError if a file of format ``form`` was written by a tinyrnn that this one does not know."""
    if int(form) > FORMAT:
        raise InputError(f"it was written by tinyrnn {version}, this is {__version__}: upgrade tinyrnn")


def _checksum(tensors):
    value = 0
    for name in sorted(tensors):
        value = zlib.crc32(tensors[name].tobytes(), zlib.crc32(name.encode(), value))
    return value


class RunFolder:
    """An existing run folder, given by its path or that of a checkpoint in it."""

    def __init__(self, path):
        self._lock = None  # the open file, while this object has the run for itself
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
                write_atomically(work / CONFIG, _pretty({"format": FORMAT, "tinyrnn": __version__, **config}))
                (work / LOG).touch()
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
        with reading(self.path / CONFIG, "restore it from a copy, or give the path that train printed"):
            config = json.loads((self.path / CONFIG).read_text(encoding="utf-8"))
            refuse_newer(config.get("format", 0), config.get("tinyrnn"))
            options = config["options"]
            wanted = [config["task"], config["fingerprint"], options["cell"], *options["texts"]]
            if strange := [entry for entry in wanted if not isinstance(entry, str)]:
                raise ValueError(f"{strange[0]!r} stands where there should be a text")
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
            file.write(json.dumps(record) + "\n")

    def read_log(self, name=LOG) -> list[dict]:
        """The log's records; a last line that a crash cut short is left out.

        Raises:
            InputError: a line is no record of a step.
        """
        if name == TRAINING and not (self.path / name).exists():
            return []
        path = self.path / name
        with reading(path, "restore it from a copy, or start a new run"):
            lines = path.read_text(encoding="utf-8").split("\n")[:-1]  # what follows the last is cut short
        records = []
        for number, line in enumerate(lines, 1):
            with reading(path, f"delete line {number}"):
                record = json.loads(line)
                for key in _NUMBERS[name]:
                    if not isinstance(record[key], int | float):
                        raise ValueError(f"{key} is {record[key]!r}")
            records.append(record)
        return records

    def rewind_log(self, last: int, name=LOG):
        """Drop the records that a resumed run will write again: those of steps after ``last``."""
        lines = [json.dumps(r) + "\n" for r in self.read_log(name) if r["step"] <= last]
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
        """Remove temporary files that a killed process left."""
        clean(self.path)


def clean(folder: Path):
    """Remove files from a folder of tinyrnn's that a killed process was writing."""
    for leftover in folder.glob(f".*{PARTIAL}"):
        leftover.unlink(missing_ok=True)


def _hidden_folder(path):
    """A folder beside ``path`` to fill before it gets that name, and the open file beside it that is locked
    as long as somebody does.
    """
    while True:
        work = path.with_name(f".{path.name}.{secrets.token_hex(4)}")
        lock, _ = lock_file(work.with_name(work.name + CREATING))
        if lock is not None:
            work.mkdir()
            return work, lock


def _remove_abandoned(parent):
    """What processes left that were killed while they made a run in the folder ``parent``: of each that holds
    no lock any more, tinyrnn's files and the folder that they are in.
    """
    for file in parent.glob(f".*{CREATING}"):
        with suppress(OSError):  # another process was quicker, or it is somebody else's
            lock, _ = lock_file(file)
            if lock is not None:
                with lock:
                    work = file.with_name(file.name.removesuffix(CREATING))
                    if work.is_dir() and not work.is_symlink():
                        RunFolder.empty(work)
                    file.unlink()


def keep_data(text: str, suffix: str, encoding: str) -> tuple[list[Path], list[str]]:
    """Store ``text`` as a file beside the runs: what was made for that, and the texts that it is.

    Raises:
        InputError: the text has no such encoding, or cannot be written.
    """
    try:
        data = text.encode(encoding)
    except UnicodeEncodeError as error:
        strange = f"{text[error.start]!r}, which is no character of {encoding}"
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


def output_file(out, run, name: str) -> Path:
    """Where a command writes its ``name``: to ``out``, else into the folder of ``run``.

    Raises:
        InputError: something is there that tinyrnn did not make. (In a run folder what bears that name is
            tinyrnn's.)
    """
    folder = Path(run) if Path(run).is_dir() else Path(run).parent
    target = Path(out) if out else folder / name
    if out or not (folder / CONFIG).is_file():
        refuse_foreign(target, name)
    return target


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
    return (json.dumps(config, indent=2, ensure_ascii=False) + "\n").encode()
