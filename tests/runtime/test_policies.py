from __future__ import annotations

import pytest

from agentwire.runtime.policies import Cancel, Resume


@pytest.mark.parametrize("within", [0, -1, float("nan")])
def test_a_time_to_resume_is_positive(within: float) -> None:
    with pytest.raises(ValueError, match="must be greater than 0 seconds"):
        Resume(within=within)


def test_policies_are_values() -> None:
    assert Cancel() == Cancel()
    assert Resume(within=3) == Resume(3) != Resume(4)
