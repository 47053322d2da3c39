"""Reports of numbered checks: of a server by ``agentwire conform``, of a client by ``agentwire conform-client``.

    report = Report(kind="server", subject="http://127.0.0.1:8000/v1", profile="openai", rows=[...])
    Path("report.html").write_text(to_html(report))

A report is a value: it is written as JSON and read again without loss, and as one HTML file that needs nothing else.
"""

from __future__ import annotations

from agentwire.testing.report.as_html import to_html as to_html
from agentwire.testing.report.as_json import from_json as from_json
from agentwire.testing.report.as_json import to_json as to_json
from agentwire.testing.report.model import LEVELS as LEVELS
from agentwire.testing.report.model import VERDICTS as VERDICTS
from agentwire.testing.report.model import Level as Level
from agentwire.testing.report.model import Reference as Reference
from agentwire.testing.report.model import Report as Report
from agentwire.testing.report.model import Row as Row
from agentwire.testing.report.model import Tally as Tally
from agentwire.testing.report.model import Verdict as Verdict
from agentwire.testing.report.model import without_secrets as without_secrets

__all__ = [
    "LEVELS",
    "VERDICTS",
    "Level",
    "Reference",
    "Report",
    "Row",
    "Tally",
    "Verdict",
    "from_json",
    "to_html",
    "to_json",
    "without_secrets",
]
