from __future__ import annotations

import re
import unicodedata

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from lehr.sweeps.names import DIGITS, digits_of, name_of

ID = "0123456789abcdef" * 2 + "01234567"
OTHER = "f" + ID[1:]

keys = st.lists(st.from_regex(r"[a-z_]{1,12}(\.[a-z_]{1,12}){0,3}", fullmatch=True), max_size=4, unique=True)
values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=60),
    lambda items: st.lists(items, max_size=5) | st.dictionaries(st.text(max_size=5), items, max_size=2),
    max_leaves=5,
)
swept = keys.flatmap(lambda names: st.fixed_dictionaries(dict.fromkeys(names, values)))


@pytest.mark.parametrize(
    ("swept", "name"),
    [
        ({"kl.weight": 0.1, "kl.warmup": 5, "seed": 0}, "weight=0.1,warmup=5,seed=0"),
        ({"model": "mlp", "trainer.precision": "bf16-mixed"}, "model=mlp,precision=bf16-mixed"),
        (
            {"model.hidden": [400, 200], "compile": True, "trainer.max_steps": None},
            "hidden=400-200,compile=true,max_steps=null",
        ),
        ({"kl.weight": 1e-05, "optimizer.lr": -2.5e22}, "weight=1e-05,lr=-2.5e+22"),
        # two keys that end alike are written in full
        ({"data.seed": 1, "kl.seed": 2, "seed": 3}, "data.seed=1,kl.seed=2,seed=3"),
        ({"data.path": "/a b/c,d=e.npy"}, "path=a-b-c-d-e.npy"),
        ({"data.path": "größe/数据/données"}, "path=größe-数据-données"),
        ({"data.path": "cafe\u0301"}, "path=caf\u00e9"),  # a letter and its accent, composed
        ({"data.path": "हिन्दी"}, "path=हिन्दी"),  # whose vowel signs are combining characters
        ({"data.key": "👩‍🔬 and 🎲"}, "key=👩-🔬-and-🎲"),
        ({"hydra/launcher": "pool"}, "launcher=pool"),
        ({"data.key": "a\x00b\nc\td"}, "key=a-b-c-d"),
        ({"data.path": "../x", "data.key": "--x--"}, "path=..-x,key=-x"),
        ({"data.path": "../.."}, "path"),
        ({"model.hidden": []}, "hidden"),
        ({"trainer": {"max_epochs": 3}}, "trainer=max_epochs-3"),
    ],
)
def test_a_name_shows_the_values_and_ends_in_the_identity(swept, name):
    assert name_of(swept, ID) == f"{name}-{ID[:DIGITS]}"


def test_without_swept_keys_the_name_is_the_identity():
    assert name_of({}, ID) == ID[:DIGITS]


def test_long_values_and_long_lists_are_cut_where_a_character_ends():
    name = name_of({"data.path": "ü" * 500, "model.hidden": list(range(1000)), "seed": 1}, ID)
    assert name.startswith(f"path={'ü' * 40},hidden=0-1-2-3-")
    assert name.endswith(f",seed=1-{ID[:DIGITS]}")
    many = name_of({f"a.key{i}": "数" * 40 for i in range(20)}, ID)
    assert many.startswith("key0=数数数")
    assert len(many.encode()) <= 200
    assert many.endswith(f"-{ID[:DIGITS]}")


@settings(deadline=None, max_examples=20, derandomize=True)
@given(swept)
@pytest.mark.slow
def test_every_name_is_one_that_a_file_system_takes(swept):
    name = name_of(swept, ID)
    assert 0 < len(name.encode()) <= 200
    assert not name.startswith(("-", ".", "="))
    assert not re.search(r"[\s/\\\x00-\x1f\x7f:*?\"'<>|$&;()\[\]{}!#~`^%]", name)
    assert unicodedata.is_normalized("NFC", name)
    assert digits_of(name) == ID[:DIGITS]


@settings(deadline=None, max_examples=20, derandomize=True)
@given(swept, swept)
def test_names_of_different_points_differ_whatever_their_values(one, other):
    assert name_of(one, ID) != name_of(other, OTHER)


@settings(deadline=None, max_examples=20, derandomize=True)
@given(keys, st.data())
def test_short_plain_values_can_be_read_in_the_name(names, data):
    plain = st.integers(-999, 999) | st.from_regex(r"[a-z0-9]{1,6}", fullmatch=True)
    shown = {name: data.draw(plain) for name in names[:3]}
    said = name_of(shown, ID)
    assert said.count(",") == max(0, len(shown) - 1)
    for key, value in shown.items():
        assert f"{key.rpartition('.')[2]}={value}" in said


@pytest.mark.parametrize(
    ("name", "digits"),
    [
        ("seed=1-0123456789", "0123456789"),
        ("0123456789", "0123456789"),
        ("seed=1-012345678", ""),
        ("seed=1-0123456789x", ""),
        ("seed=1-0123456789.tmp", ""),
        ("a0123456789", ""),
        ("sweep.yaml", ""),
        ("seed=1-0123456789\n", ""),
        ("", ""),
    ],
)
def test_only_the_name_of_a_point_has_digits(name, digits):
    assert digits_of(name) == digits
