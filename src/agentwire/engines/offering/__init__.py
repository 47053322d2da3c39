"""Every tool that a request can offer, as plain functions for a backend that knows nothing else, and the way back.

Going up, each tool is a function with a unique name. Coming back, a call of such a function is the very item that the
client waits for; and in a conversation's history such items and their outputs are functions' calls and outputs again.
"""

from agentwire.engines.offering.catalogue import Catalogue as Catalogue
from agentwire.engines.offering.history import SEALED as SEALED
from agentwire.engines.offering.history import answer_text as answer_text
from agentwire.engines.offering.history import as_function as as_function
from agentwire.engines.offering.history import between_agents as between_agents
from agentwire.engines.offering.history import in_words as in_words
from agentwire.engines.offering.history import screenshot as screenshot
from agentwire.engines.offering.history import tools_in as tools_in
from agentwire.engines.offering.history import unsealed as unsealed
from agentwire.engines.offering.names import LONGEST_NAME as LONGEST_NAME
from agentwire.engines.offering.offers import Offers as Offers
from agentwire.engines.offering.tool import Offer as Offer
from agentwire.engines.offering.writing import CallWriter as CallWriter

__all__ = [
    "LONGEST_NAME",
    "SEALED",
    "CallWriter",
    "Catalogue",
    "Offer",
    "Offers",
    "answer_text",
    "as_function",
    "between_agents",
    "in_words",
    "screenshot",
    "tools_in",
    "unsealed",
]
