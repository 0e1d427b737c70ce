"""What the conformance suite found: one named result per check."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

Status = Literal["passed", "warned", "skipped", "failed"]


@dataclass(frozen=True)
class CheckResult:
    """The outcome of one check; ``detail`` is one line: what was measured, or what is wrong.

    ``warned`` marks what is odd but allowed; ``skipped`` what does not apply to this codec. ``seconds`` is
    the wall time that the check took.
    """

    name: str
    status: Status
    detail: str = ""
    seconds: float = 0.0

    def __str__(self) -> str:
        return f"{self.status:8}{self.name}" + (f": {self.detail}" if self.detail else "")


@dataclass(frozen=True)
class Report:
    """The results of all checks of one codec, in the order in which they ran."""

    codec: str
    results: tuple[CheckResult, ...]

    @property
    def ok(self) -> bool:
        """Whether the codec conforms: checks ran, and none failed."""
        return any(r.status == "passed" for r in self.results) and not self.failed

    @property
    def failed(self) -> tuple[CheckResult, ...]:
        """The results of the checks that failed."""
        return tuple(r for r in self.results if r.status == "failed")

    def __getitem__(self, name: str) -> CheckResult:
        """Return the result of the check of that name; raises KeyError if it did not run."""
        for result in self.results:
            if result.name == name:
                return result
        raise KeyError(name)

    def summary(self) -> str:
        """Return one line: how many checks ended how, and whether the codec conforms."""
        counts = {status: sum(r.status == status for r in self.results) for status in ("passed", "warned", "skipped")}
        parts = [f"{len(self.failed)} failed", *(f"{n} {status}" for status, n in counts.items() if n)]
        return f"{self.codec} {'conforms' if self.ok else 'does NOT conform'}: {', '.join(parts)}"

    def __str__(self) -> str:
        return "\n".join([*map(str, self.results), self.summary()])

    def raise_if_failed(self) -> None:
        """Raise AssertionError with the whole report if a check failed, or if none ran."""
        if not self.ok:
            raise AssertionError(f"\n{self}")
