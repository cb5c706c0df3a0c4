"""Rules: bounds, methods, patterns and defaults."""

from __future__ import annotations

import httptools
import pytest
from pydantic import ValidationError

from models.resources import BodyCheck, FieldCheck, Matcher, PathCheck, Rule, problems
from models.resources.rule import METHODS


def read(**fields):
    return Rule.model_validate({"ruleId": "r", "effect": "deny", **fields}, by_alias=True, by_name=False)


def faults(**fields):
    with pytest.raises(ValidationError) as caught:
        read(**fields)
    return [(".".join(map(str, location)), message) for location, message in problems(Rule, caught.value)]


def test_a_rule_without_checks_has_the_defaults_of_the_contract():
    """Priority 0, enforced, active, and nothing to check."""
    assert read() == Rule(
        id="r", effect="deny", priority=0, methods=None, path=None, header_checks=(), query_checks=(), body_checks=(),
        mode="enforce", active=True, notes=None,
    )  # fmt: skip


def test_every_optional_field_may_be_null():
    """As if it were left out."""
    optional = ("methods", "path", "headerChecks", "queryChecks", "bodyChecks", "notes")
    assert read(**dict.fromkeys(optional)) == read()


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"path": "/x"}, "must be a mapping of fields"),
        ({"methods": []}, "must have at least 1 element"),
        ({"headerChecks": [{"name": "x"}] * 33}, "must have at most 32 elements"),
        ({"bodyChecks": [{"jsonPath": {"pattern": "x"}}] * 33}, "must have at most 32 elements"),
        ({"notes": "x" * 4097}, "must have at most 4096 characters"),
    ],
)
def test_refusals_name_no_type_of_ours(fields, message):
    """What the field must be, in the words of the contract."""
    assert faults(**fields) == [(next(iter(fields)), message)]


def test_checks_are_read_by_their_wire_names():
    """All of it at once, presence defaulting to must_exist."""
    rule = read(
        methods=["get", "POST"],
        path={"pattern": "^/admin"},
        headerChecks=[{"name": "^x-a$", "value": "^1$", "presence": "must_not_exist"}],
        queryChecks=[{"name": "debug"}],
        bodyChecks=[
            {"jsonPath": {"pattern": r"^\$\['a'\]$"}},
            {
                "jsonPath": {"pattern": "b"},
                "matchValue": {"pattern": "^1$"},
                "presence": "must_not_exist",
            },
        ],
    )
    assert rule.methods == ("GET", "POST")
    assert rule.path == PathCheck(pattern="^/admin", presence="must_exist")
    assert rule.header_checks == (FieldCheck(name="^x-a$", value="^1$", presence="must_not_exist"),)
    assert rule.query_checks == (FieldCheck(name="debug", value=None, presence="must_exist"),)
    assert rule.body_checks == (
        BodyCheck(json_path=Matcher(pattern=r"^\$\['a'\]$"), match_value=None, presence="must_exist"),
        BodyCheck(
            json_path=Matcher(pattern="b"), match_value=Matcher(pattern="^1$"), presence="must_not_exist"
        ),
    )
    assert (
        read(bodyChecks=[{"jsonPath": {"pattern": "a"}, "matchValue": None}]).body_checks[0].match_value
        is None
    )


@pytest.mark.parametrize("method", sorted(METHODS))
def test_every_method_a_rule_may_name_is_one_the_parser_accepts(method):
    """The list and the parser agree, so a rule can match what it names."""

    class Done:
        complete = False

        def on_message_complete(self):
            self.complete = True

    done = Done()
    head = f"{method} / HTTP/1.1\r\nHost: a\r\nContent-Length: 0\r\n\r\n"
    httptools.HttpRequestParser(done).feed_data(head.encode())
    assert done.complete


@pytest.mark.parametrize("method", ["CONNECT", "DELTE", "", "GET ", "PRI"])
def test_a_method_that_never_arrives_is_refused(method):
    """A misspelt deny rule would silently allow."""
    [(field, message)] = faults(methods=[method])
    assert field == "methods.0"
    assert "no method the edge accepts" in message


def test_a_misspelt_method_gets_a_suggestion():
    """The nearest method is named."""
    assert faults(methods=["DELTE"])[0][1].endswith("did you mean DELETE?")


@pytest.mark.parametrize("value", [[], "GET", {}, ["GET"] * 65])
def test_methods_are_a_list_that_is_not_empty(value):
    """An empty list would match nothing, which no rule means."""
    assert faults(methods=value)[0][0] == "methods"


@pytest.mark.parametrize("priority", [-1, 1001, "5", True, 1.5])
def test_priority_is_from_0_to_1000(priority):
    """The bounds of API.md, and nothing converted."""
    assert faults(priority=priority)[0][0] == "priority"


def test_every_pattern_is_compiled_before_it_is_accepted():
    """A pattern that RE2 refuses, or that exceeds 1 kB, is an error of its own field."""
    assert faults(path={"pattern": "("})[0][0] == "path.pattern"
    assert faults(path={"pattern": "a" * 1025})[0][0] == "path.pattern"
    assert faults(path={"pattern": "(a{200})"})[0][0] == "path.pattern"
    assert faults(headerChecks=[{"name": "a", "value": "["}])[0][0] == "headerChecks.0.value"
    assert faults(queryChecks=[{"name": "*"}])[0][0] == "queryChecks.0.name"
    assert faults(bodyChecks=[{"jsonPath": {"pattern": "["}}])[0][0] == "bodyChecks.0.jsonPath.pattern"
    assert (
        faults(bodyChecks=[{"jsonPath": {"pattern": "a"}, "matchValue": {"pattern": "*"}}])[0][0]
        == "bodyChecks.0.matchValue.pattern"
    )
    assert read(path={"pattern": "é" * 512}).path is not None
    assert faults(path={"pattern": "é" * 513})[0][0] == "path.pattern"


def test_checks_that_come_later_say_so():
    """A rule that cannot be enforced in full is never accepted in part."""
    assert faults(claimChecks=[]) == [("claimChecks", "not available in this version")]


@pytest.mark.parametrize(
    ("check", "field"),
    [
        ({}, "jsonPath"),
        ({"jsonPath": "$.a"}, "jsonPath"),
        ({"jsonPath": {}}, "jsonPath.pattern"),
        ({"jsonPath": {"pattern": "a", "flags": "i"}}, "jsonPath.flags"),
        ({"jsonPath": {"pattern": "a"}, "matchValue": "1"}, "matchValue"),
        ({"jsonPath": {"pattern": "a"}, "presence": "maybe"}, "presence"),
        ({"jsonPath": {"pattern": "a"}, "value": "1"}, "value"),
    ],
    ids=str,
)
def test_a_body_check_has_its_own_shape(check, field):
    """A pattern over the path, perhaps one over the value, and a presence; nothing else, and nothing shorter."""
    assert faults(bodyChecks=[check])[0][0] == f"bodyChecks.0.{field}"


@pytest.mark.parametrize(("field", "value"), [("effect", "alow"), ("mode", "off"), ("active", "yes")])
def test_words_outside_the_contract_are_refused(field, value):
    """Nothing is converted or guessed."""
    assert faults(**{field: value})[0][0] == field


def test_an_effect_is_required():
    """A rule that does not say what it does is an error."""
    with pytest.raises(ValidationError):
        Rule.model_validate({"ruleId": "r"})
