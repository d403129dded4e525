"""Sequences of numbers for `--task classify`: sounds, long tables, arrays."""

import json
import struct
import wave
from pathlib import Path

import numpy as np
import pytest
from click.testing import CliRunner

import tinyrnn as tr
from tinyrnn.cli import main
from tinyrnn.tasks.classify.options import ClassifyOptions
from tinyrnn.tasks.classify.signals import SignalClassifier
from tinyrnn.tasks.signals import sound
from tinyrnn.tasks.signals.features import Features, varied
from tinyrnn.tasks.signals.reader import read_signals
from tinyrnn.training.experiments import Configuration

SMALL = ["--task", "classify", "--hidden", "8", "--layers", "1", "--batch-size", "8"]
PATTERN = "{label}_{speaker}_{index}.wav"


def invoke(*arguments):
    return CliRunner().invoke(main, [str(a) for a in arguments])


def write_wav(path, samples, rate=8000, width=2, channels=1):
    """Samples between -1 and 1, ``[N]`` or ``[N, channels]``."""
    path.parent.mkdir(parents=True, exist_ok=True)
    whole = np.round(np.asarray(samples) * (2.0 ** (8 * width - 1) - 1)).astype(np.int64) + 128 * (width == 1)
    data = b"".join(int(v).to_bytes(width, "little", signed=width > 1) for v in whole.ravel())
    with wave.open(str(path), "wb") as file:
        file.setparams((channels, width, rate, 0, "NONE", ""))
        file.writeframes(data)
    return path


def tone(hertz, seconds=0.2, rate=8000, random=None):
    wave_ = 0.5 * np.sin(2 * np.pi * hertz * np.arange(round(seconds * rate)) / rate)
    return wave_ if random is None else wave_ + 0.02 * random.standard_normal(len(wave_))


@pytest.fixture
def sounds(tmp_path, rng):
    """A flat folder: high and low tones, "spoken" by two that differ in length."""
    for label, hertz in (("high", 2000), ("low", 300)):
        for speaker, seconds in (("ann", 0.15), ("bob", 0.3)):
            for index in range(5):
                path = tmp_path / "flat" / f"{label}_{speaker}_{index}.wav"
                write_wav(path, tone(hertz, seconds, random=rng))
    return tmp_path / "flat"


@pytest.fixture
def table(tmp_path, rng):
    """A long table: gestures that go up or down, of different lengths."""
    lines = ["gesture;t;x;y;who;move"]
    for i in range(24):
        up, n = i % 2, int(rng.integers(4, 9))
        slope = (1 if up else -1) * np.arange(n) + 0.1 * rng.standard_normal(n)
        for t in range(n):
            lines.append(
                f"g{i};{t};{slope[t]:.3f};{rng.standard_normal():.3f};{'ab'[i % 4 // 2]};{['down', 'up'][up]}"
            )
    path = tmp_path / "gestures.csv"
    path.write_text("\n".join(line.replace(".", ",") for line in lines) + "\n")
    return path


OF_TABLE = ["--id-column", "gesture", "--time-column", "t", "--label-column", "move"]


@pytest.fixture
def arrays(tmp_path, rng):
    """``.npz``: 30 sequences of 3 to 6 steps of 2 channels."""
    lengths, y = rng.integers(3, 7, 30), np.arange(30) % 3
    x = np.concatenate([rng.standard_normal((n, 2)) + 2 * label for n, label in zip(lengths, y, strict=True)])
    path = tmp_path / "a.npz"
    np.savez(path, x=x, lengths=lengths, y=y, part=np.where(np.arange(30) < 21, "train", "test"))
    return path


# ------------------------------------------------------------------ sound


@pytest.mark.parametrize("width", [1, 2, 3, 4])
def test_wav_of_all_widths(tmp_path, width):
    samples = tone(440)
    found, rate, channels = sound.read_wav(write_wav(tmp_path / "a.wav", samples, 16000, width))
    assert (rate, channels, found.dtype) == (16000, 1, np.float32)
    np.testing.assert_allclose(found, samples, atol=2.0 ** (2 - 8 * width) + 1e-6)
    both = np.stack([samples, 0.5 - samples], axis=1)
    found, _, channels = sound.read_wav(write_wav(tmp_path / "b.wav", both, 8000, width, 2))
    assert channels == 2
    np.testing.assert_allclose(found, 0.25, atol=2.0 ** (2 - 8 * width) + 1e-6)


def test_what_is_no_wav_is_one_sentence(tmp_path):
    floats = struct.pack(
        "<4sI4s4sIHHIIHH4sI", b"RIFF", 40, b"WAVE", b"fmt ", 16, 3, 1, 8000, 32000, 4, 32, b"data", 4
    )
    whole = write_wav(tmp_path / "e.wav", tone(440)).read_bytes()
    for name, data, said in (
        ("a.wav", b"no sound", "is not a WAV file that can be read"),
        ("b.wav", b"", "is not a WAV file that can be read (it is cut short)"),
        ("c.wav", floats + bytes(4), "unknown format: 3"),
        ("e.wav", whole[:-2], "(it is cut short)"),
        ("f.wav", whole.replace(b"\x10\0d", b"\x28\0d"), "40 bits"),
    ):
        (tmp_path / name).write_bytes(data)
        with pytest.raises(tr.InputError) as caught:
            sound.read_wav(tmp_path / name)
        assert said in str(caught.value) and str(caught.value).endswith("or take it away")
    with pytest.raises(tr.InputError, match="holds no sound"):
        sound.read_wav(write_wav(tmp_path / "d.wav", []))


def test_the_same_tone_at_another_rate():
    high, low = tone(440, rate=16000), tone(440, rate=8000)
    found = sound.resampled(high.astype(np.float32), 16000, 8000)
    assert len(found) == len(low)
    np.testing.assert_allclose(found[50:-50], low[50:-50], atol=0.01)
    assert (
        np.abs(sound.resampled(tone(5000, rate=16000), 16000, 8000)).max() < 0.05
    )  # beyond what the rate can hold


def test_log_mel_finds_a_tone_in_its_band():
    """At each rate the band of the largest energy is that of the tone, by the formula of mel."""
    for rate in (8000, 16000, 44100):
        for hertz in (300, 1000, 3000):
            energies = sound.log_mel(tone(hertz, rate=rate), rate, 32)
            assert energies.shape == (1 + (round(0.2 * rate) - round(0.025 * rate)) // round(0.01 * rate), 32)
            mel = 2595 * np.log10([1 + hertz / 700, 1 + rate / 2 / 700])
            assert abs(energies.mean(axis=0).argmax() - (mel[0] / mel[1] * 33 - 1)) <= 1
    assert sound.log_mel(np.zeros(3), 8000).shape == (1, 32)  # shorter than a window
    assert np.isfinite(sound.levelled(np.zeros(5, np.float32))).all()


def test_log_mel_is_what_its_parts_are():
    audio = np.random.default_rng(0).standard_normal(500)
    frame = audio[80:280] * np.hamming(200)  # the second, 10 ms on
    energy = np.abs(np.fft.rfft(frame, 512)) ** 2
    at = 2595 * np.log10(1 + np.fft.rfftfreq(512, 1 / 8000) / 700) / (2595 * np.log10(1 + 4000 / 700)) * 33
    expected = [np.log(energy @ np.maximum(0, 1 - np.abs(at - band)) + 1e-4) for band in range(1, 33)]
    np.testing.assert_allclose(sound.log_mel(audio, 8000)[1], expected, rtol=1e-5)


# ------------------------------------------------------------------ features, and variations


def test_features_are_scaled_joined_and_stored(rng):
    sequences = [3 + 2 * rng.standard_normal((n, 2)).astype(np.float32) for n in (5, 8)]
    plain = Features(("a", "b"), 0, 32, 1, False).fitted(sequences)
    rows = np.concatenate([plain(s) for s in sequences])
    np.testing.assert_allclose(rows.mean(axis=0), 0, atol=1e-6)
    np.testing.assert_allclose(rows.std(axis=0), 1, atol=1e-6)
    pairs = Features(("a", "b"), 0, 32, 2, False).fitted(sequences)
    assert pairs.width == 4 and pairs(sequences[0]).shape == (3, 4)
    np.testing.assert_allclose(
        pairs(sequences[0])[2], np.tile(plain(sequences[0])[4], 2), rtol=1e-6
    )  # the last again
    changes = Features(("a", "b"), 0, 32, 1, True).fitted(sequences)
    raw = changes(sequences[0]) * changes.deviation + changes.mean
    np.testing.assert_allclose(raw[1:-1, 2:], (sequences[0][2:] - sequences[0][:-2]) / 2, atol=1e-5)
    assert Features.of(json.loads(json.dumps(changes.stored()))) == changes
    flat = Features(("a",), 0, 32, 1, False).fitted([np.ones((3, 1), np.float32)])
    assert (flat(np.full((2, 1), 2.0)) == 1).all()  # one that never changes is shifted only


@pytest.mark.parametrize(
    "entry", [{"mean": [0.0]}, {"deviation": [1.0, 0.0]}, {"joined": 0}, {"rate": "x"}, {"bands": None}]
)
def test_stored_features_are_looked_at(entry):
    good = Features(("a", "b"), 0, 32, 1, False, (0.0, 0.0), (1.0, 1.0)).stored()
    with pytest.raises(ValueError, match=r"its features|mean|deviation|joined|rate|bands"):
        Features.of(good | entry)


def test_variations_do_what_they_say(rng):
    ramp = np.arange(101.0, dtype=np.float32)
    assert varied(ramp, rng) is ramp
    lengths, starts = [], []
    for _ in range(200):
        faster = varied(ramp, rng, speed=0.2)
        assert faster.dtype == np.float32 and faster[0] == 0
        np.testing.assert_allclose(np.diff(faster), faster[1], rtol=1e-3)
        lengths.append(len(faster))
        shifted = varied(ramp + 7, rng, shift=0.1)
        starts.append(len(shifted) - 101)
        assert shifted[0] == 7 if starts[-1] >= 0 else shifted[0] == 7 - starts[-1]
    assert 83 <= min(lengths) < 90 and 115 < max(lengths) <= 126
    assert -10 <= min(starts) < -5 and 5 < max(starts) <= 10
    both = np.stack([ramp, 10 * ramp], axis=1)
    loud = [(varied(both, rng, noise=0.1) - both).std(axis=0) / both.std(axis=0) for _ in range(100)]
    assert np.min(loud) * 1.3 > 0.1 / 30 and 0.05 < np.max(loud) < 0.13
    assert varied(ramp[:1], rng, speed=0.2, shift=0.1, noise=0.1).shape == (1,)


def test_a_batch_is_a_function_of_seed_and_step(arrays):
    def task(**own):
        configuration = Configuration.make("classify", [str(arrays)], own)
        return configuration.task.build(configuration.options, configuration.texts)

    one, two, other = (
        task(speed=0.2, noise=0.1),
        task(speed=0.2, noise=0.1),
        task(speed=0.2, noise=0.1, seed=1),
    )
    batch = [0, 1, 2]
    first = one.examples(5, batch)
    assert all((a == b).all() for a, b in zip(first, two.examples(5, batch), strict=True))
    two.examples(1, batch)
    assert all((a == b).all() for a, b in zip(first, two.examples(5, batch), strict=True))
    assert any(len(a) != len(b) or (a != b).any() for a, b in zip(first, one.examples(6, batch), strict=True))
    assert any(
        len(a) != len(b) or (a != b).any() for a, b in zip(first, other.examples(5, batch), strict=True)
    )
    assert task().examples(5, [0])[0] is not None and (task().examples(5, [0])[0] == task().train[0]).all()


# ------------------------------------------------------------------ reading


def test_what_is_held_out_is_not_learned_from(tmp_path, rng):
    """Nor are means and deviations fitted on it."""
    x = np.concatenate([rng.standard_normal((12, 5, 2)), 100 + rng.standard_normal((4, 5, 2))])
    np.savez(tmp_path / "a.npz", x=x, y=np.arange(16) % 2, part=np.repeat(["a", "b"], [12, 4]))
    configuration = Configuration.make("classify", [str(tmp_path / "a.npz")], {"hold_out": "part=b"})
    task = configuration.task.build(configuration.options, configuration.texts)
    assert [len(task.train), len(task.val)] == [12, 4]
    np.testing.assert_allclose(task.model.features.mean, x[:12].mean(axis=(0, 1)), rtol=1e-5)
    np.testing.assert_allclose(task.model.features.deviation, x[:12].std(axis=(0, 1)), rtol=1e-5)


def test_folders_and_patterns_name_labels(tmp_path, sounds):
    for file in sounds.iterdir():
        label, speaker, index = file.stem.split("_")
        write_wav(tmp_path / "tree" / label / speaker / f"{index}.wav", sound.read_wav(file)[0])
    (tmp_path / "tree" / "README").write_text("how it was recorded")
    tree = read_signals([tmp_path / "tree"], ClassifyOptions())
    assert len(tree) == 20 and sorted(set(tree.of("label", "--label-column"))) == ["high", "low"]
    assert tree.said == ["1 files that are no sounds are left out: README"]
    flat = read_signals([sounds], ClassifyOptions(label_pattern=PATTERN))
    assert set(flat.fields) == {"label", "speaker", "index"} and set(flat.fields["speaker"]) == {"ann", "bob"}
    assert flat.names[0].endswith("high_ann_0.wav") and flat.fields["index"][:5] == list("01234")
    deep = read_signals([tmp_path / "tree"], ClassifyOptions(label_pattern="{label}/{speaker}/{index}.wav"))
    assert deep.fields["speaker"] == flat.fields["speaker"]


def test_sounds_of_several_rates_are_read_at_the_lowest(tmp_path):
    for label, rate in (("a", 8000), ("b", 16000), ("b", 16001)):
        write_wav(tmp_path / label / f"{rate}.wav", tone(440, rate=rate), rate)
    write_wav(tmp_path / "a" / "two.wav", np.stack([tone(440)] * 2, axis=1), 8000, channels=2)
    found = read_signals([tmp_path], ClassifyOptions())
    assert found.rates == [8000] * 4 and {len(v) for v in found.values} == {1600}
    assert found.said == [
        "channels are mixed down in 1 of 4 files",
        "sounds of 16,000 Hz (1), 16,001 Hz (1) are read at 8,000 Hz",
    ]
    assert {len(v) for v in read_signals([tmp_path], ClassifyOptions(), rate=4000).values} == {800}


def test_a_long_table_is_read(table):
    options = ClassifyOptions(id_column="gesture", time_column="t", label_column="move", group_column="who")
    found = read_signals([table], options)
    assert len(found) == 24 and found.channels == ("x", "y") and found.names[:2] == ["g0", "g1"]
    assert found.fields == {"move": ["down", "up"] * 12, "who": ["a", "a", "b", "b"] * 6}
    assert any("';'" in said for said in found.said) and any("','" in said for said in found.said)
    assert found.values[1][1, 0] == pytest.approx(1, abs=0.5) and found.values[0][1, 0] == pytest.approx(
        -1, abs=0.5
    )
    lines = table.read_text().splitlines()
    shuffled = [lines[0], *np.random.default_rng(0).permutation(lines[1:])]
    table.write_text("\n".join(shuffled))
    mixed = read_signals([table], options)
    assert any("do not stand together" in said for said in mixed.said)
    for name, values in zip(mixed.names, mixed.values, strict=True):
        assert (values == found.values[found.names.index(name)]).all()  # by time they are what they were


def test_what_is_no_channel_is_said(tmp_path):
    path = tmp_path / "a.csv"
    path.write_text(
        "id,x,subject,note,label\n"
        + "".join(f"{i},{t},{i % 3},calm,{i % 2}\n" for i in range(6) for t in range(3))
    )
    found = read_signals([path], ClassifyOptions(id_column="id"))
    assert found.channels == ("x", "subject")
    assert "left out, since they hold no numbers: note" in found.said
    assert "subject never changes within a sequence: --columns chooses others" in found.said
    assert read_signals([path], ClassifyOptions(id_column="id", columns="x")).channels == ("x",)


def test_arrays_of_every_form(tmp_path, rng):
    x, lengths, path = rng.standard_normal((4, 5, 2)), np.array([5, 2, 3, 1]), tmp_path / "a.npz"
    y = np.array(["a", "b", "a", "b"])
    for given, shapes in (
        (dict(x=x), [(5, 2)] * 4),
        (dict(x=x[:, :, 0]), [(5, 1)] * 4),
        (dict(x=x, lengths=lengths), [(n, 2) for n in lengths]),
        (
            dict(X=np.concatenate([s[:n] for s, n in zip(x, lengths, strict=True)]), lengths=lengths),
            [(n, 2) for n in lengths],
        ),
        (dict(x=np.arange(11), lengths=lengths), [(n, 1) for n in lengths]),
    ):
        np.savez(path, y=y, who=np.arange(4), scale=3.0, **given)
        found = read_signals([path], ClassifyOptions())
        assert [v.shape for v in found.values] == shapes and found.fields == {
            "label": list("abab"),
            "who": list("0123"),
        }
        assert found.said == ["left out of a.npz: scale"]
    np.testing.assert_allclose(found.values[1][:, 0], [5, 6])


SENTENCES = [
    (dict(x=np.array([[1.0]], object), y=[0]), "objects, which only running code could read"),
    (dict(z=np.ones(3)), "holds z and no x"),
    (dict(x=np.ones((2, 3, 4, 5)), y=[0, 1]), "x has shape [2, 3, 4, 5]"),
    (
        dict(x=np.ones((3, 2)), lengths=[2, 2], y=[0, 1]),
        "by its lengths [2, steps, channels] or [4, channels] is needed",
    ),
    (dict(x=np.ones((3, 2)), lengths=[3, 0], y=[0, 1]), "lengths are [3, 0]"),
    (dict(x=[[1.0, np.nan], [1, 2]], y=[0, 1]), "sequence 0 holds what is no finite number"),
    (dict(x=np.ones((3, 2)), y=[0, 1]), "has no labels, an array y of 3"),
    (dict(x=np.array(["a"]), y=[0]), "store numbers"),
]


@pytest.mark.parametrize(("held", "said"), SENTENCES, ids=[said[:20] for _, said in SENTENCES])
def test_arrays_that_cannot_be_used(tmp_path, held, said):
    np.savez(tmp_path / "a.npz", **held)
    result = invoke("train", tmp_path / "a.npz", *SMALL, "--out", tmp_path / "r")
    assert result.exit_code == 2 and said in result.output and "Traceback" not in result.output
    assert "tell apart" not in said and result.output.strip().count("\n") == 0


def test_sounds_that_cannot_be_used(tmp_path, sounds):
    def said(*arguments):
        result = invoke("train", sounds, *SMALL, *arguments, "--out", tmp_path / "r")
        assert result.exit_code == 2 and result.output.strip().count("\n") == 0, result.output
        return result.output

    assert "high_ann_0.wav lies in no folder of a label" in said()
    assert "is not named like --label-pattern {label}-{x}.wav" in said("--label-pattern", "{label}-{x}.wav")
    assert "write it like {label}_{speaker}_{index}.wav" in said("--label-pattern", "{label")
    assert "--label-column names 'label', which the sequences do not have" in said(
        "--label-pattern", "{a}_{b}_{c}.wav"
    )
    assert "can be read as label high, x ann_0 or as label high_ann, x 0" in said(
        "--label-pattern", "{label}_{x}.wav"
    )
    assert "these are no numbers: leave --inputs out" in said(
        "--label-pattern", PATTERN, "--inputs", "numbers"
    )
    held = said("--label-pattern", PATTERN, "--hold-out", "index=9")
    assert "no sequence has index '9': there are 0, 1, 2, 3, 4" in held
    assert "holds out all 20" in said("--label-pattern", PATTERN, "--hold-out", "index=0,1,2,3,4")
    alone = said("--label-pattern", PATTERN, "--hold-out", "label=low")
    assert "the label 'low' is in the validation part alone (those of label=low)" in alone


def test_tables_that_cannot_be_used(tmp_path):
    path = tmp_path / "a.csv"

    def said(text, *arguments):
        path.write_text(text)
        result = invoke("train", path, *SMALL, "--id-column", "id", *arguments, "--out", tmp_path / "r")
        assert result.exit_code == 2 and result.output.strip().count("\n") == 0, result.output
        return result.output

    rows = "id,t,x,label\na,1,1.5,u\na,2,2.5,u\nb,1,3.5,v\nb,2,4.5,v\n"
    assert "column 'label' of sequence b holds 'v' in row 4 and 'w' in row 5" in said(
        rows.replace("4.5,v", "4.5,w")
    )
    assert "row 4: column 'x' is empty: mend it" in said(rows.replace("3.5", ""))
    assert "row 4: column 'x' holds 'off', which is no number" in said(rows.replace("3.5", "off"))
    assert "row 3: column 'id' is empty" in said(rows.replace("a,2", ",2"))
    assert "has no column 'id'" in said(rows.replace("id", "name"))
    assert "has no numeric column beside" in said("id,label\na,u\na,u\nb,v\nb,v\n")
    twice = said(rows.replace("b,2", "b,1"), "--time-column", "t")
    assert "row 5: column 't' holds '1' twice in sequence b" in twice
    assert "has one example only" in said(rows)
    path.write_text(rows)
    result = invoke("train", path, *SMALL, "--inputs", "numbers", "--out", tmp_path / "r")
    assert (
        result.exit_code == 2
        and "name the column that tells its sequences apart by --id-column" in result.output
    )


# ------------------------------------------------------------------ the commands


def test_sounds_train_evaluate_predict(tmp_path, sounds):
    run, held = tmp_path / "run", ["--label-pattern", PATTERN, "--hold-out", "index=0,1"]
    result = invoke(
        "train", sounds, *SMALL, *held, "--steps", 40, "--lr", 0.02, "--eval-every", 10, "--out", run
    )
    assert result.exit_code == 0, result.output
    told = " ".join(result.output.split())
    assert "12 sequences of 8,000 Hz, 0.15 to 0.3 s, 8 for validation, those of index=0,1" in told
    read = "log-mel energies of 32 bands every 10 ms, 2 steps read as one: 7 to 14 steps of 64"
    assert f"{read}; labels: high 6, low 6" in told
    assert f"next: tinyrnn predict {run} FILE.wav" in result.output
    config = json.loads((run / "config.json").read_text())
    assert (
        config["task"] == "classify"
        and config["options"]["inputs"] == "sound"
        and config["options"]["speed"] == 0.15
    )
    found = json.loads(invoke("evaluate", run, "--json").stdout)
    assert found["accuracy"] == 1.0 and found["confusion"] == [[4, 0], [0, 4]]
    assert json.loads(invoke("evaluate", run, sounds, "--json").stdout)["accuracy"] == 1.0
    new = [write_wav(tmp_path / "new" / f"{h}.wav", tone(h, rate=16000), 16000) for h in (1900, 320)]
    result = invoke("predict", run, *new)
    assert "sounds of 16,000 Hz (2) are read at 8,000 Hz" in result.stderr
    lines = result.stdout.splitlines()
    assert [line.split("\t")[0] for line in lines] == ["high", "low"] and lines[0].endswith("1900.wav")
    rows = [
        json.loads(line) for line in invoke("predict", run, tmp_path / "new", "--json").stdout.splitlines()
    ]
    assert {Path(row["sequence"]).name: row["label"] for row in rows} == {
        "1900.wav": "high",
        "320.wav": "low",
    }
    assert tr.Run(run).predict([new[0]])[0]["label"] == "high"
    rows = tr.Run(run).robust(kinds=["noise", "missing", "fgsm"], strengths=[0.1])
    assert [row["kind"] for row in rows] == ["none", "noise", "missing", "fgsm"] and rows[3]["loss"] > rows[
        0
    ]["loss"]
    by_speaker = ["--label-pattern", PATTERN, "--label-column", "speaker", "--hold-out", "index=0"]
    by_speaker += ["--level", "char", "--id-column", "x"]
    result = invoke("train", sounds, *SMALL, *by_speaker, "--steps", 2, "--out", tmp_path / "speaker")
    told = " ".join(result.output.split())
    assert "labels: ann 8, bob 8" in told
    assert "--level has no effect on sound; --id-column has no effect on sound" in told
    result = invoke("predict", run)
    assert result.exit_code == 2 and "name files of sequences after RUN" in result.output


def test_a_group_lies_in_one_part(tmp_path, sounds):
    given = ["--label-pattern", PATTERN, "--group-column", "speaker", "--val-fraction", "0.3"]
    result = invoke("train", sounds, *SMALL, *given, "--steps", 2, "--out", tmp_path / "run")
    told = " ".join(result.output.split())
    assert any(f"10 for validation, those of speaker {name};" in told for name in ("ann", "bob"))
    given = dict(label_pattern=PATTERN, group_column="speaker", val_fraction=0.3)
    configuration = Configuration.make("classify", [str(sounds)], given)
    task = configuration.task.build(configuration.options, configuration.texts)
    parts = [{len(s) for s in part} for part in (task.train, task.val)]  # one speaker is slower
    assert parts in ([{7}, {14}], [{14}, {7}])
    assert task.varying_by == {"speed": 0.15, "shift": 0.1, "noise": 0.03} and "noise" not in task.hardening


def test_tables_train_evaluate_predict(tmp_path, table):
    run = tmp_path / "run"
    result = invoke("train", table, *SMALL, *OF_TABLE, "--steps", 60, "--lr", 0.02, "--out", run)
    assert result.exit_code == 0, result.output
    told = " ".join(result.output.split())
    assert (
        "22 sequences, 2 for validation, 10% of each label" in told
        and "2 channels (x, y): 4 to 8 steps of 2" in told
    )
    assert "left out, since they hold no numbers: who" in told
    assert f"next: tinyrnn predict {run} FILE.csv\n" in result.output
    found = json.loads(invoke("evaluate", run, table, "--json").stdout)
    assert found["accuracy"] == 1.0
    rows = [json.loads(line) for line in invoke("predict", run, table, "--json").stdout.splitlines()]
    assert [(r["sequence"], r["label"]) for r in rows[:2]] == [("g0", "down"), ("g1", "up")] and len(
        rows
    ) == 24
    head, *lines = table.read_text().splitlines()
    unlabelled = tmp_path / "new.csv"
    unlabelled.write_text("\n".join(line.rpartition(";")[0] for line in (head, *lines)))
    assert [json.loads(l) for l in invoke("predict", run, unlabelled, "--json").stdout.splitlines()] == rows
    table.write_text(table.read_text().replace(";x;", ";z;"))
    assert "has no column 'x'" in invoke("predict", run, table).output


def test_arrays_from_files_and_from_memory(tmp_path, arrays, monkeypatch):
    monkeypatch.chdir(tmp_path)
    small = dict(task="classify", hidden=8, layers=1, batch_size=8, steps=40, lr=0.02, quiet=True)
    run = tr.train(arrays, hold_out="part=test", out=tmp_path / "run", **small)
    found = run.evaluate()
    assert (
        found["labels"] == ["0", "1", "2"]
        and found["accuracy"] > 0.8
        and sum(map(sum, found["confusion"])) == 9
    )
    with np.load(arrays) as held:
        xs = np.split(held["x"], np.cumsum(held["lengths"])[:-1])
        ys = held["y"]
    said = run.model.predict(xs)
    assert said.shape == (30, 3) and (said.argmax(axis=1) == ys).mean() > 0.8
    assert [p["label"] for p in run.predict(arrays)] == [run.model.labels[i] for i in said.argmax(axis=1)]
    for data in (
        (xs, ys),
        (xs, [f"label {y}" for y in ys]),
        (np.ones((30, 4, 2)), ys),
        ([[1, 2], [3]] * 15, list(ys)),
    ):
        own = tr.train(data, **{**small, "steps": 2})
        assert own.model.features.width in (1, 2) and len(own.model.labels) == 3
        assert own.resume(steps=4, quiet=True).log[-1]["step"] == 4
    for wrong, sentence in (
        ((xs, ys[1:]), "there are 30 sequences and labels"),
        ((xs, None), "there are 30 sequences and labels None"),
        (([xs[0], xs[1][:, :1]], [0, 1]), "the sequences have shapes"),
    ):
        with pytest.raises(tr.InputError, match=sentence):
            tr.train(wrong, **small)
    for wrong, sentence in ((xs[0][:, :1], r"has shape \[\d, 1\]"), ("text", "give a list of arrays")):
        with pytest.raises(tr.InputError, match=sentence):
            run.model.predict(wrong)
    np.savez(tmp_path / "b.npz", x=np.ones((2, 3, 3)), y=[0, 1])
    with pytest.raises(tr.InputError, match="reads 1, 2"):
        run.evaluate(tmp_path / "b.npz")


def test_resuming_is_exact(tmp_path, sounds):
    """Variations and noise on what is read included."""
    options = [
        *SMALL,
        "--label-pattern",
        PATTERN,
        "--schedule",
        "constant",
        "--warmup",
        1,
        "--adversarial",
        0.1,
    ]
    options += ["--dropout", 0.3, "--pooling", "attention", "--deltas", "--quiet"]
    invoke("train", sounds, *options, "--steps", 12, "--out", tmp_path / "whole")
    invoke("train", sounds, *options, "--steps", 5, "--out", tmp_path / "parts")
    assert invoke("train", "--resume", tmp_path / "parts", "--steps", 12, "--quiet").exit_code == 0
    one, two = (tr.load(tmp_path / name / "last.safetensors").state_dict() for name in ("whole", "parts"))
    assert one.keys() == two.keys() and all((one[k] == two[k]).all() for k in one)
    write_wav(sounds / "low_ann_0.wav", tone(330))
    result = invoke("train", "--resume", tmp_path / "parts", "--steps", 14)
    assert result.exit_code == 2 and "was trained on another text" in result.output
    result = invoke("evaluate", tmp_path / "parts")
    assert result.exit_code == 2 and "sequences of this run have" in result.output


def test_a_checkpoint_alone_predicts(tmp_path, sounds):
    """Everything that reads a sound is in it."""
    run = tmp_path / "run"
    invoke(
        "train",
        sounds,
        *SMALL,
        "--label-pattern",
        PATTERN,
        "--steps",
        2,
        "--bands",
        20,
        "--joined",
        3,
        "--out",
        run,
    )
    model = tr.load(run / "best.safetensors")
    assert isinstance(model, SignalClassifier) and model.features.bands == 20 and model.features.rate == 8000
    samples = sound.read_wav(sounds / "low_bob_1.wav")[0]
    row = json.loads(invoke("predict", run, sounds / "low_bob_1.wav", "--json").stdout)
    np.testing.assert_allclose(model.predict([samples])[0], list(row["probabilities"].values()), atol=1e-5)


def test_cells_are_compared(tmp_path, arrays, table):
    """The size that a comparison gives each model is that of its run; of texts too."""
    texts = tmp_path / "texts.csv"
    texts.write_text("text,label\n" + "a lovely film,pos\nan awful bore,neg\n" * 10)
    small = ["--cells", "gru,lstm", *SMALL, "--steps", 2, "--json"]
    for data, own in ((arrays, []), (table, OF_TABLE), (texts, ["--embed", 4])):
        out = tmp_path / f"{data.stem}-compared"
        result = invoke("compare", data, *small, *own, "--out", out)
        assert result.exit_code == 0, result.output
        for row in json.loads(result.stdout)["cells"]:
            parameters = sum(p.size for p in tr.load(out / f"{row['cell']}-0").parameters())
            assert row["parameters"] == parameters and (row["hidden"] == 8) == (row["cell"] == "gru")
        assert invoke("compare", data, *small, *own, "--out", out).exit_code == 0  # its runs are found again


def test_padding_changes_nothing(rng):
    features = Features(("a",), 0, 32, 1, False, (0.0,), (1.0,))
    for pooling in ("last", "mean", "max", "attention"):
        model = SignalClassifier(features, ["x", "y"], pooling=pooling, bidirectional=True, hidden=4).eval()
        xs = [rng.standard_normal((n, 1)) for n in (2, 9, 5)]
        together = model.predict(xs)
        alone = np.concatenate([model.predict([x]) for x in xs])
        np.testing.assert_allclose(together, alone, rtol=1e-5)


def test_texts_are_texts_still(tmp_path):
    """A table without --id-column, and a folder of texts beside which no sound lies."""
    path = tmp_path / "a.csv"
    path.write_text("text,label\n" + "a lovely film,pos\nan awful bore,neg\n" * 10)
    result = invoke("train", path, *SMALL, "--embed", 4, "--steps", 2, "--joined", 3, "--out", tmp_path / "r")
    assert "vocabulary" in result.output and "--joined has no effect on texts" in result.output
    assert json.loads((tmp_path / "r" / "config.json").read_text())["options"]["inputs"] is None


@pytest.mark.shared
@pytest.mark.slow
def test_spoken_digits(corpora, tmp_path):
    given = ["--label-pattern", PATTERN, "--hold-out", "index=0,1", "--out", tmp_path / "r", "--quiet"]
    assert invoke("train", corpora / "spoken-digits", "--task", "classify", *given).exit_code == 0
    assert json.loads(invoke("evaluate", tmp_path / "r", "--json").stdout)["accuracy"] >= 0.97


def test_thousands_or_fractions_of_a_long_table_are_a_question(tmp_path):
    """What separates its columns was found, and tells as much as if it was given."""
    table = tmp_path / "t.csv"
    table.write_text(
        "id;label;x\n" + "".join(f"{i // 3};{'ab'[i // 3 % 2]};{i + 1},234\n" for i in range(24))
    )
    with pytest.raises(tr.InputError, match=r"holds '1,234', which is 1234 or 1\.234: say by decimal="):
        tr.train(table, "classify", id_column="id", steps=1, out=tmp_path / "run", quiet=True)


def test_the_extensible_form_of_wav(tmp_path):
    samples, path = np.array([0, 1 << 22, -(1 << 22), 0]), tmp_path / "a.wav"
    data = b"".join(int(s).to_bytes(3, "little", signed=True) for s in samples)
    for kind, of in ((1, "PCM"), (3, "floats")):
        form = struct.pack("<HHIIHHHHIH", 0xFFFE, 1, 8000, 24_000, 3, 24, 22, 24, 4, kind)
        form += bytes.fromhex("000000001000800000aa00389b71")
        chunks = b"WAVEfmt " + struct.pack("<I", 40) + form + b"data" + struct.pack("<I", len(data)) + data
        path.write_bytes(b"RIFF" + struct.pack("<I", len(chunks)) + chunks)
        if of == "PCM":
            read, rate, channels = sound.read_wav(path)
            assert (read.tolist(), rate, channels) == ([0, 0.5, -0.5, 0], 8000, 1)
        else:
            with pytest.raises(tr.InputError, match="is not a WAV file that can be read"):
                sound.read_wav(path)


def test_folders_of_sound_that_are_parts_of_data(tmp_path):
    for folder in ("train/yes", "test/yes"):
        (tmp_path / folder).mkdir(parents=True)
        write_wav(tmp_path / folder / "a.wav", np.zeros(800))
    with pytest.raises(tr.InputError, match="holds test, train, which are parts of a data set and no labels"):
        read_signals([tmp_path], ClassifyOptions())
