"""What is said of keys and groups: `--help`, and docs/configuration.md, both read from the schema."""

from dataclasses import dataclass, field
from pathlib import Path

import pytest

from lf_experiments.config import reference
from lf_experiments.config.help import WIDTH, help_text
from lf_experiments.config.options import description, group_choices, options_of
from lf_experiments.config.reference import keys, meanings, page, sections
from lf_experiments.config.schema import Config, Dtype
from lf_experiments.errors import InputError

PAGE = Path(__file__).parents[1] / "docs" / "configuration.md"
KEYS = {key.name: key for key in keys()}


def facts(name: str) -> tuple[str, str]:
    return KEYS[name].type, KEYS[name].default


def test_the_page_is_what_the_schema_says() -> None:
    assert PAGE.read_text(encoding="utf-8") == page(), "run `make docs`"


def test_every_key_has_a_meaning_that_is_a_sentence() -> None:
    for key in KEYS.values():
        assert key.meaning[:1].isupper() or key.meaning[:1] in "`{", key
        assert key.meaning.endswith("."), key
    assert all(sections().values())


def test_keys_have_types_and_defaults_as_one_types_them() -> None:
    assert facts("dataset.sentences") == ("integer, at least 2", "100")
    assert facts("model.dtype") == ("auto, float32, bfloat16, float16", "auto")
    assert facts("model.recipe.learning_rate") == ("number", "0.005")
    assert facts("model.hub.known_bad") == ("{integer: text}", "{}")
    assert facts("stages")[1] == "[capture, compare, baselines, probe, describe, deactivate, cloze, generate, tasks, report]"
    assert facts("language_set.languages") == ("list of text", "")
    assert facts("intervention.doses") == ("list of number", "[1.0]")
    assert facts("plan") == ("true or false", "false")
    assert facts("hardware.gpus") == ("text", "null")
    assert list(dict.fromkeys(name.split(".")[0] for name in KEYS)) == list(Config.__dataclass_fields__)


@dataclass
class Base:
    """Something shared."""

    first: int = 1
    """The first."""
    bare: int = 2


@dataclass
class Inner(Base):
    """Something more."""

    second: Dtype = Dtype.float32
    """The second,
    on two lines."""
    third: list[str] = field(default_factory=list)
    """The third."""


def test_meanings_are_inherited_and_a_field_without_one_has_none() -> None:
    assert meanings(Inner) == {"first": "The first.", "second": "The second, on two lines.", "third": "The third."}


def test_every_option_says_what_it_is() -> None:
    for group in group_choices():
        for option in options_of(group):
            assert len(description(group, option)) > 10, (group, option)
    assert description("experiment", "smoke").startswith("Every stage on a model")
    assert options_of("model")[:2] == ["apertus-8b", "apertus-70b"]


# --help -----------------------------------------------------------------------------------------------------------------


def test_help_is_one_screen() -> None:
    lines = help_text([]).splitlines()
    assert len(lines) <= 24
    assert max(map(len, lines)) <= 120
    for group in group_choices():
        assert any(line.startswith(f"  {group} ") for line in lines)
    assert f"apertus-70b ({len(options_of('model'))})" in help_text([])


def test_help_explains_a_key_with_its_type_default_and_meaning() -> None:
    found = help_text(["dataset.sentences"])
    assert found.startswith("  dataset.sentences (integer, at least 2; default 100)\n      Sentences per language")
    assert help_text(["dataset.sentences=50"]) == found


def test_help_explains_a_group_with_all_its_options_and_keys() -> None:
    found = help_text(["model"])
    for option in options_of("model"):
        assert f"\n  {option} " in found
    for name in KEYS:
        assert (f"\n  {name} (" in found) == name.startswith("model.")
    assert "step<N>" in help_text(["checkpoint"])
    assert "model.recipe.window" in help_text(["model.recipe"])
    assert "model.dtype" not in help_text(["model.recipe"])


def test_help_answers_several_names_and_no_flags() -> None:
    assert help_text(["seed", "--multirun", "plan=true"]) == f"{help_text(['seed'])}\n\n{help_text(['plan'])}"
    assert max(map(len, help_text(["seed", "runtime"]).splitlines())) <= WIDTH + 6


@pytest.mark.parametrize(
    ("name", "remedy"),
    [
        ("dataset.sentence", "similar names: dataset.sentences"),
        ("threshold", "similar names: probe.threshold"),
        ("modle", "similar names: model"),
        ("qqqq", "`--help` lists groups and keys"),
    ],
)
def test_an_unknown_name_is_an_error_with_similar_ones(name: str, remedy: str) -> None:
    with pytest.raises(InputError) as error:
        help_text([name])
    assert str(error.value).startswith(f"--help={name}: there is no such group or key\nRemedy: {remedy}")


def test_a_new_default_changes_the_page(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(reference.schema.RuntimeConfig.__dataclass_fields__["batch_tokens"], "default", 17)
    assert "| `runtime.batch_tokens` | integer, at least 1 | 17 |" in page()
