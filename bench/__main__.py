"""`make bench`: everything that is measured, one after the other on a quiet machine, and what came out in writing.

A bench that misses its bar fails the run, after all have run and RESULTS.md and docs/performance.md are written.
"""

import subprocess
import sys
from pathlib import Path
from tempfile import TemporaryDirectory

BENCHES = ("acknowledgements", "drain", "growth")


def main() -> None:
    """Run the benches and write the report."""
    with TemporaryDirectory(prefix="senang-bench-") as folder:
        documents = [str(Path(folder) / f"{name}.json") for name in BENCHES]
        codes = [
            subprocess.run([sys.executable, "-m", f"bench.{name}", "--json", document], check=False).returncode  # noqa: S603
            for name, document in zip(BENCHES, documents, strict=True)
        ]
        written = [document for document in documents if Path(document).exists()]
        subprocess.run([sys.executable, "-m", "bench.report", *written], check=True)  # noqa: S603 - our own modules
    sys.exit(any(codes))


if __name__ == "__main__":
    main()
