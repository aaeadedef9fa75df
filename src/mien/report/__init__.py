"""What a recording's faces showed, as one page to read, print and keep: `write_report`.

May import annotate, companions, events, results, metrics, sources and what lies below them. The
data goes one way: `intake` adds tables up (`recording`), `findings` draws the figures out of them
with `statistics`, `thumbnails` cuts out peaks, `views` says what is told to whom and in which
words, `sections`, `timelines`, `comparisons` and `grounds` write it down on a `page` with `charts`,
and `figures` as numbers.
"""

from mien.report.views import VIEWS
from mien.report.write import Faces, Outcome, write_report

__all__ = ["VIEWS", "Faces", "Outcome", "write_report"]
