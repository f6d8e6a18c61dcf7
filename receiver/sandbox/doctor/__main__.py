"""The doctor in a process of its own, for the page: a diagnosis can take seconds, and it must be possible to stop it.

Standard input is JSON: the captured deliveries as `Captured.to_json()` has them, the one to examine first, the secrets,
the texts that may be signed beside it, and the seconds that it may take. The secrets are not in the arguments or the
environment, which others on the machine can read.
"""

import json
import sys

from receiver.protocol.captured import Captured
from receiver.sandbox.doctor import diagnose


def main() -> None:
    """Diagnose, and write the diagnosis as JSON."""
    asked = json.load(sys.stdin)
    captured, *others = [Captured.from_json(text) for text in asked["captures"]]
    diagnosis = diagnose(captured, asked["secrets"], captures=others, texts=asked["texts"], seconds=asked["seconds"])
    json.dump(diagnosis.as_dict(), sys.stdout)


if __name__ == "__main__":
    main()
