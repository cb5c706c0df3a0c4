"""Rules at work: a scope's rules compiled once, and the judgement of a request by four scopes.

Each scope collects every rule that matches; any deny denies, and where none matches the scope's default
decides. A rule that cannot be compiled fails its scope; it is never treated as one that does not match.
Rules with body checks are judged in two steps: by the head, and if they could still match, by the body.
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterable, Iterator
from functools import partial
from typing import Final, TypeVar

from models.body_checks import Body, BodyPatterns, CompiledBodyCheck, Watch
from models.checks import header_check, query_check
from models.decision import DEFAULT, Decision, Effect, ScopeOutcome
from models.errors import ConfigurationError, PatternError
from models.patterns import PatternSet, compile_set, subject
from models.request import CanonicalRequest
from models.resources.rule import Rule
from models.together import OpenScope, Undecided, put_together, remembered

__all__ = ["Decision", "FourScopes", "Scope", "ScopeOutcome", "Undecided", "compile_scope", "judge"]

_REMEMBERED: Final = 512
"""Entries of each of a scope's memories; a full one is emptied, so no caller can make it grow."""
_TOGETHER: Final = 200
"""How many path patterns of four scopes are put into one set; more would be compiled twice for little."""

_K = TypeVar("_K")
_V = TypeVar("_V")


class _Masks:
    """Which rules can match, as sets of bits: bit n is the n-th rule in order of priority.

    everything: all rules. methods: per method that some rule names, the rules for which it will do;
    any_method: the rules for which an unnamed one will do. exist, refuse: per path pattern, the rules that
    want it found and those that want it absent. free: the rules that need no pattern to be found.
    """

    __slots__ = ("any_method", "exist", "free", "methods", "refuse")

    def __init__(self, rules: list[Rule], patterns: dict[str, int]) -> None:
        self.exist = [0] * len(patterns)
        self.refuse = [0] * len(patterns)
        self.free = 0
        self.any_method = 0
        named = {method for rule in rules for method in rule.methods or ()}
        self.methods = dict.fromkeys((method.encode() for method in named), 0)
        for index, rule in enumerate(rules):
            bit = 1 << index
            if rule.path is None:
                self.free |= bit
            elif rule.path.presence == "must_exist":
                self.exist[patterns[rule.path.pattern]] |= bit
            else:
                self.refuse[patterns[rule.path.pattern]] |= bit
                self.free |= bit
            if rule.methods is None:
                self.any_method |= bit
            for method in named if rule.methods is None else rule.methods:
                self.methods[method.encode()] |= bit

    def candidates(self, method: bytes, found: list[int]) -> int:
        """The rules whose method and path checks hold. found: indexes of the path patterns that match."""
        bits, refused = self.free, 0
        for index in found:
            bits |= self.exist[index]
            refused |= self.refuse[index]
        return bits & ~refused & self.methods.get(method, self.any_method)


class _Pending:
    """What is left of a rule when its method and path hold: header and query checks, then body checks. bit: its own."""

    __slots__ = ("_headers", "_query", "bit", "body")

    def __init__(self, rule: Rule, bit: int, patterns: BodyPatterns) -> None:
        self.bit = bit
        place = f"rules[{rule.id}]"
        self._headers = [
            header_check(check, rule.effect, f"{place}.headerChecks[{index}]").holds
            for index, check in enumerate(rule.header_checks)
        ]
        self._query = [
            query_check(check, rule.effect, f"{place}.queryChecks[{index}]").holds
            for index, check in enumerate(rule.query_checks)
        ]
        self.body: list[CompiledBodyCheck] = [
            patterns.compile(check, rule.effect, f"{place}.bodyChecks[{index}]")
            for index, check in enumerate(rule.body_checks)
        ]

    def holds(self, request: CanonicalRequest) -> bool:
        """Whether all header and query checks hold."""
        for holds in self._headers:
            if not holds(request.headers):
                return False
        if self._query:
            pairs = request.query_pairs()
            for holds in self._query:
                if not holds(pairs):
                    return False
        return True


class Scope:
    """The compiled rules of one credential, target or proxy. Made by `compile_scope`; never altered.

    What it remembers is a function of the rules alone, so one scope may serve any number of proxies.
    """

    __slots__ = ("_bodies", "_checked", "_denials", "_enforced", "_masks", "_open", "_outcomes", "_paths", "_pending",
                 "_rules", "_scan", "_settled", "default", "name")  # fmt: skip

    def __init__(self, name: str, rules: list[Rule], default: Effect) -> None:
        self.name = name
        self.default: Final = default
        # Sorted once: the lowest bit of any set of matches is the rule that is reported.
        self._rules = sorted((rule for rule in rules if rule.active), key=lambda rule: -rule.priority)
        places: dict[str, str] = {}
        for rule in self._rules:
            if rule.path is not None:
                places.setdefault(rule.path.pattern, f"rules[{rule.id}].path.pattern")
        self._masks = _Masks(self._rules, {pattern: index for index, pattern in enumerate(places)})
        self._paths = compile_set([*places], field="rules", fields=[*places.values()]) if places else None
        self._scan: Callable[[bytes], list[int]] = _nothing if self._paths is None else self._paths.scan
        self._bodies = BodyPatterns()
        self._pending = {
            index: _Pending(rule, 1 << index, self._bodies)
            for index, rule in enumerate(self._rules)
            if rule.header_checks or rule.query_checks or rule.body_checks
        }
        self._bodies.seal()
        self._checked = sum(1 << index for index in self._pending)
        self._enforced = sum(1 << index for index, rule in enumerate(self._rules) if rule.mode == "enforce")
        self._denials = sum(1 << index for index, rule in enumerate(self._rules) if rule.effect == "deny")
        self._settled: dict[tuple[object, ...], ScopeOutcome] = {}
        self._open: dict[tuple[object, ...], tuple[int, list[_Pending]]] = {}
        self._outcomes: dict[int, ScopeOutcome] = {}

    @property
    def patterns(self) -> tuple[str, ...]:
        """The path patterns of all active rules, each once."""
        return tuple(dict.fromkeys(rule.path.pattern for rule in self._rules if rule.path is not None))

    @property
    def looks_further(self) -> bool:
        """Whether some rule asks for more than method and path."""
        return bool(self._pending)

    def judge(self, request: CanonicalRequest) -> ScopeOutcome | OpenScope:
        """What this scope decides about one request, as far as its head tells."""
        return self.weigh(request, subject(request.path))

    def weigh(self, request: CanonicalRequest, path: bytes) -> ScopeOutcome | OpenScope:
        """`judge` for a caller that has four scopes to ask. path: `subject(request.path)`."""
        found = self._scan(path)
        # Method and matching path patterns settle everything but the other checks. What is looked up is
        # the scan's answer as it came: one without the sentinel is never remembered.
        outcome = self._settled.get((request.method, *found))
        return self._settle(request, path, found) if outcome is None else outcome

    def _settle(self, request: CanonicalRequest, path: bytes, found: list[int]) -> ScopeOutcome | OpenScope:
        key = (request.method, *found)
        known = self._open.get(key)
        if known is None:
            patterns = self._paths
            whole = patterns is None or patterns.sentinel in found
            matching = [] if patterns is None else patterns.resolve(found, path)
            bits = self._masks.candidates(request.method, matching)
            if not bits & self._checked:
                outcome = self._outcome(bits)
                if whole:
                    _remember(self._settled, key, outcome)
                return outcome
            known = (bits & ~self._checked, [self._pending[index] for index in _each(bits & self._checked)])
            if whole:
                _remember(self._open, key, known)
        bits, pending = known
        left: list[_Pending] | None = None
        for rule in pending:
            if rule.holds(request):
                if not rule.body:
                    bits |= rule.bit
                elif left is None:
                    left = [rule]
                else:
                    left.append(rule)
        return self._outcome(bits) if left is None else self._left_open(bits, left)

    def _left_open(self, bits: int, left: list[_Pending]) -> OpenScope:
        """What is decided when the body is known. bits: the rules that match; left: those that the body decides."""
        undecided = sum(rule.bit for rule in left) & self._enforced
        matched = bits & self._enforced
        if matched or self.default == "allow":
            denies = bool(matched & self._denials)
        else:
            denies = not undecided & ~self._denials  # nothing is left that could allow
        return OpenScope(
            denies=denies,
            enforced=bool(undecided),
            without=self._outcome(bits),
            finish=partial(self._finish, bits, left),
        )

    def _finish(self, bits: int, left: list[_Pending], body: Body, watch: Watch) -> ScopeOutcome:
        tallies = [(rule.bit, [(check.place, check.begin()) for check in rule.body]) for rule in left]
        self._bodies.tell(body, [one for _, each in tallies for one in each], watch)
        for bit, each in tallies:
            if all(tally.holds for _, tally in each):
                bits |= bit
        return self._outcome(bits)

    def _outcome(self, bits: int) -> ScopeOutcome:
        """The outcome when exactly these rules match."""
        outcome = self._outcomes.get(bits)
        if outcome is None:
            matched = [self._rules[index] for index in _each(bits & self._enforced)]
            shadow = tuple(self._rules[index].id for index in _each(bits & ~self._enforced))
            deciding = next((rule for rule in matched if rule.effect == "deny"), next(iter(matched), None))
            effect, by = (self.default, DEFAULT) if deciding is None else (deciding.effect, deciding.id)
            outcome = ScopeOutcome(self.name, effect, by, tuple(rule.id for rule in matched), shadow)
            _remember(self._outcomes, bits, outcome)
        return outcome


def compile_scope(name: str, rules: Iterable[Rule], default: Effect) -> Scope:
    """Compiles the rules of one scope; inactive ones are left out.

    Raises PatternError for a pattern, or for patterns that are too much together, and ConfigurationError
    for a rule that a record could not name.
    """
    given = list(rules)
    if any(rule.id == DEFAULT for rule in given):
        raise ConfigurationError(f"no rule may be called {DEFAULT!r}", field="rules")
    return Scope(name, given, default)


def judge(scopes: tuple[Scope, Scope, Scope, Scope], request: CanonicalRequest) -> Decision | Undecided:
    """What four scopes decide together, as far as the head tells: all must allow.

    The same outcomes give the same object again. Rules with body checks do not match where the head decides.
    """
    path = request.path
    if not path.isascii():
        path = subject(path)
    caller, sender, proxy, target = scopes
    outcomes = (
        caller.weigh(request, path),
        sender.weigh(request, path),
        proxy.weigh(request, path),
        target.weigh(request, path),
    )
    decision = remembered.get(outcomes)
    return put_together(outcomes) if decision is None else decision


class FourScopes:
    """The scopes of one caller on one proxy, asked together. It decides exactly as `judge` does.

    Where no scope looks further than method and path, these settle the decision; then one set over all four
    scopes' patterns and one look-up replace four. What is remembered is bounded.
    """

    __slots__ = ("_patterns", "_scan", "_settled", "scopes")

    def __init__(self, scopes: tuple[Scope, Scope, Scope, Scope]) -> None:
        self.scopes = scopes
        self._settled: dict[tuple[object, ...], Decision] = {}
        self._patterns: PatternSet | None = None
        patterns = [pattern for scope in scopes for pattern in scope.patterns]
        if not any(scope.looks_further for scope in scopes) and 0 < len(patterns) <= _TOGETHER:
            with contextlib.suppress(PatternError):  # too much together; each scope by itself was not
                self._patterns = compile_set(list(dict.fromkeys(patterns)))
        self._scan = _nothing if self._patterns is None else self._patterns.scan

    def judge(self, request: CanonicalRequest) -> Decision | Undecided:
        """What the four scopes decide together, as far as the head tells: all must allow."""
        path = request.path
        if self._patterns is None or not path.isascii():
            return judge(self.scopes, request)
        found = self._scan(path)
        key = (request.method, *found)
        decision = self._settled.get(key)
        if decision is None:
            judged = judge(self.scopes, request)
            assert type(judged) is Decision  # no scope looks further than the path: see __init__
            decision = judged
            if self._patterns.sentinel in found:  # else the scan gave up, and tells nothing about other paths
                _remember(self._settled, key, decision)
        return decision


def _nothing(_path: bytes) -> list[int]:
    """The scan of a scope without path patterns."""
    return []


def _each(bits: int) -> Iterator[int]:
    """The numbers of the bits that are set, lowest first."""
    while bits:
        lowest = bits & -bits
        yield lowest.bit_length() - 1
        bits ^= lowest


def _remember(memory: dict[_K, _V], key: _K, value: _V) -> None:
    if len(memory) >= _REMEMBERED:
        memory.clear()
    memory[key] = value
