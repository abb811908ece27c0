from __future__ import annotations

import pytest


@pytest.mark.parametrize(
    ("arguments", "lines"),
    [
        (
            "seed=1,-2 kl.weight=0.1,abc model=mlp,mpl foo=1,2",
            [
                "seed=-2: must be greater than or equal to 0",
                "kl.weight=abc: must be a number",
                "model=mpl: there is no such choice; did you mean mlp?",
                "foo: unknown key",
            ],
        ),
        (
            "seed=range(0,0) kl.weight=interval(0,1) model=glob(*) dir=x",
            [
                "seed=range(0,0): has no values",
                "kl.weight=interval(0,1): write out the values, as in kl.weight=a,b or kl.weight=range(1,5)",
                "model=glob(*): write out the values, as in model=a,b or model=range(1,5)",
                "dir: is of a single run; say hydra.sweep.dir=DIR, each run of a sweep has a folder in it",
            ],
        ),
        ("seed=1,2 hydra.sweep.dir=file/x", ["hydra.sweep.dir=file/x: file is a file, not a directory"]),
    ],
)
def test_a_wrong_value_anywhere_in_a_sweep_stops_it_before_it_starts(refused, tmp_path, arguments, lines):
    (tmp_path / "here" / "file").write_text("x")
    assert sorted(refused("train", "-m", *arguments.split())) == sorted(lines)


def test_a_combination_that_cannot_work_is_found_where_one_value_makes_it(refused):
    (line,) = refused("train", "-m", "trainer.max_epochs=5,50", "kl.warmup=2,10")
    assert line.startswith("kl.hold=0 + kl.warmup=10 must be shorter than a training of 5 epochs")


def test_each_combination_is_one_run_in_a_directory_of_its_own(lehr, trainings):
    code, _, err = lehr("train", "-m", "kl.weight=0.5,2", "model.hidden=[8],[8,4]", "hydra.sweep.dir=grid")
    assert (code, err) == (0, "")
    assert [(t.config["kl"]["weight"], t.config["model"]["hidden"]) for t in trainings] == [
        (0.5, [8]),
        (0.5, [8, 4]),
        (2, [8]),
        (2, [8, 4]),
    ]
    assert len({t.path for t in trainings}) == 4
    assert all(t.path.parts[0] == "grid" for t in trainings)
    assert all(t.config["dir"] == str(t.path) for t in trainings)


def test_a_run_that_fails_does_not_stop_the_sweep_and_is_not_remembered_by_the_next_command(lehr, monkeypatch):
    done = []

    def train(config, *_, **__):
        if config["seed"] == 1:
            raise RuntimeError("no")
        done.append(config["seed"])
        return {"test/elbo": -1.0}

    monkeypatch.setattr("lehr.training.run.train", train)
    code, _, err = lehr("train", "-m", "seed=1,2", "hydra.sweep.dir=grid")
    assert (code, done) == (1, [2])
    assert err == "lehr train: RuntimeError: no (debug=true shows where)\n"
    assert lehr("train", "--cfg", "job")[0] == 0


def test_sampling_does_not_sweep(refused):
    assert refused("sample", "-m", "run=a,b") == ["-m: lehr sample takes one run at a time"]
