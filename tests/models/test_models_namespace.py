import subprocess
import sys

import mien.models
import mien.models.engines as engines


def test_every_public_name_loads():
    for name in mien.models.__all__:
        assert getattr(mien.models, name) is not None
    assert sorted(mien.models.__all__) == dir(mien.models)


def test_a_spec_needs_neither_pymc_nor_bambi():
    script = (
        "import sys, mien.models; mien.models.valence(); mien.models.FAMILIES\n"
        "assert not {'pymc', 'bambi', 'nutpie', 'arviz_stats', 'xarray'} & set(sys.modules)"
    )
    done = subprocess.run([sys.executable, "-c", script], check=False, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr


def test_registered_engines_keep_the_contract():
    for name in engines.ENGINES:
        engine = engines.load_engine(name)
        assert engine.name == name
        assert callable(engine.can_fit)
        assert callable(engine.sample)
