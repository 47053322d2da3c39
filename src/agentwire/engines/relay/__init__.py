"""What the engines share whose upstream speaks the Responses protocol itself, over whatever transport.

`asking` makes the upstream's request of what is asked, and `hearing` makes of its events what the client is told;
`healing` fills in what its events leave out, item by item.
"""

from __future__ import annotations
