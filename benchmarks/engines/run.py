"""All measurements of the engine, or single parts: `python benchmarks/engines/run.py [PART [PIECE …]] [--quick]`.

    run.py                       everything but `joint` against nutpie, which takes up to two hours: ask for it
    run.py slopes lme4 collapsed the interleaved rounds alone
    run.py joint nutpie          one piece

A peer or an engine that is not there is named and left out. Results: results/<part>.json.
"""

import argparse
import os

for variable in ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS"):
    os.environ.setdefault(variable, "1")

from importlib import import_module  # noqa: E402

PARTS = ("slopes", "fallback", "shapes", "large", "participants", "joint", "sbc", "cold")


def main():
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("part", nargs="?", choices=PARTS)
    parser.add_argument("pieces", nargs="*")
    parser.add_argument(
        "--quick", action="store_true", help="small and few, nothing kept: to see that it runs"
    )
    arguments = parser.parse_args()
    if arguments.quick:
        os.environ["MIEN_QUICK"] = "1"
    for part in [arguments.part] if arguments.part else PARTS:
        module = import_module(part)
        known = getattr(module, "NAMES", ())
        wrong = [piece for piece in arguments.pieces if piece not in known]
        if wrong:
            raise SystemExit(
                f"{part}: expected pieces among {', '.join(known) or 'none'}, found {wrong[0]!r}"
            )
        from fits import NotThereError
        from record import not_there

        try:
            module.run(tuple(arguments.pieces), arguments.quick)
        except NotThereError as missing:
            not_there(part, "all", missing)


if __name__ == "__main__":
    main()
