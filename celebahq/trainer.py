"""`trainer` under a name that no other project's package shares: `from celebahq import trainer`."""

import sys

from celebahq.entry import own_package

sys.modules[__name__] = own_package("trainer")
