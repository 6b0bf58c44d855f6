import pytest

from mien.models import to_bambi
from mien.study.errors import SpecError

pytestmark = pytest.mark.filterwarnings("ignore")


def test_bambi_has_the_same_coding_terms_and_priors(trials):
    model = to_bambi(
        "activation ~ valence + (valence || participant) + (1 | stimulus)", trials, blend_shape="mouthSmile"
    )
    component = model.components["mu"]
    assert set(component.common_terms) == {"valence"}
    assert set(component.group_specific_terms) == {"1|participant", "valence|participant", "1|stimulus"}
    assert sorted(set(model.data["valence"])) == [-0.5, 0.5]
    slope = component.group_specific_terms["valence|participant"].prior
    assert slope.args["sigma"].name == "HalfNormal"


def test_correlated_effects_and_several_shapes_are_refused(trials):
    with pytest.raises(SpecError, match=r"write \(valence \|\| participant\)"):
        to_bambi("activation ~ valence + (valence | participant)", trials, blend_shape="mouthSmile")
    with pytest.raises(SpecError, match="name one with blend_shape="):
        to_bambi("activation ~ valence + (1 | participant)", trials)
