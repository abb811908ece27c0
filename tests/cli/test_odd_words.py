"""Words that nobody types on purpose: each mistake stays one line of a terminal, whatever is in it."""

from __future__ import annotations

import pytest

from lehr.errors import printable


@pytest.mark.parametrize(
    ("word", "shown"),
    [
        ("a\nb\x1b[31m\0=1", "a\\nb\\x1b[31m\\x00=1: cannot be read"),
        ("kl.shape='a\r\nb'", "kl.shape=a\\r\\nb: must be 'linear', 'cosine' or 'sigmoid'"),
        ("kl.shape='\u202eabc\u2028\udcff'", "kl.shape=\\u202eabc\\u2028\\udcff: must be "),
    ],
)
def test_what_is_no_printable_character_is_escaped(refused, word, shown):
    (line,) = refused("train", word)
    assert line.startswith(shown)
    assert line.isprintable()


def test_of_a_very_long_word_the_two_ends_are_shown(refused):
    (line,) = refused("train", "kl.shape=" + "x" * 10_000)
    assert line.startswith("kl.shape=xxx")
    assert line.endswith("must be 'linear', 'cosine' or 'sigmoid'")
    assert len(line) < 1100
    assert printable("x" * 1000) == "x" * 1000


@pytest.mark.parametrize(
    ("command", "line"),
    [
        ("train --resolve", "--resolve: goes with --cfg job"),
        ("train --package model", "--package: goes with --cfg job"),
        ("train --cfg job --package nothing", "package 'nothing' not found in config"),
        ("sample --run --cfg job", "ValueError: Only one of --run, --multirun, --cfg, --info and --shell_completion"),
        ("train --shell-completion", "--shell-completion: is not for lehr; there is lehr completion bash|zsh"),
        ("train ~likelihood=1", "~likelihood=1: to leave out a group, say ~likelihood alone"),
        (
            "train -m hydra.sweeper=0.5 seed=0,1",
            "hydra.sweeper=0.5: is a section; its keys are set as hydra.sweeper.KEY",
        ),
        ("train hydra.run=x", "hydra.run=x: is a section; its keys are set as hydra.run.KEY"),
        ("train model@x=1", "model@x=1: must be the name of a choice"),
        ("train likelihood@x=null", "likelihood@x=null: must be the name of a choice"),
        ("train -m kl.weight={1:2} seed=0,1", "kl.weight={1: 2}: must be a number"),
    ],
)
def test_what_hydra_answers_with_a_traceback_is_one_line(refused, command, line):
    assert refused(*command.split())[0].startswith(line)


def test_of_many_wrong_values_in_a_list_the_first_is_told(refused):
    (line,) = refused("train", f"trust=[a,{','.join(map(str, range(40)))}]")
    assert line.startswith("trust.1=0: must be a string")


@pytest.mark.parametrize(
    ("word", "line"),
    [
        ("kl.weight=18446744073709551616", "kl.weight=18446744073709551616: must be between -2^63 and 2^63"),
        ("seed=9223372036854775808", "seed=9223372036854775808: must be between -2^63 and 2^63"),
        ("model.hidden=[1,9223372036854775808]", "model.hidden.1=9223372036854775808: must be between -2^63 and 2^63"),
        (
            "-m hydra/sweeper=optuna kl.weight=interval(0,1) hydra.sweeper.seed=4294967296",
            "hydra.sweeper.seed=4294967296: must be less than 4294967296",
        ),
    ],
)
def test_an_integer_that_nothing_can_compute_with_is_refused(refused, word, line):
    assert refused("train", *word.split()) == [line]
