"""The table of tags, the features of an extract, and the scene of a place."""

import pytest
import shapely

from advance_tf import labels
from advance_tf.geo.osm_labels import Feature, SceneMap, count_features, read_features
from advance_tf.geo.osm_rules import SceneRule, read_rules
from advance_tf.geo.projection import local_transformer
from tests.geo.factories import GEOD, LATITUDE, LONGITUDE, place, scene_map, square
from tests.geo.factories import write_extract as write


def test_the_table_has_every_scene_and_its_conditions():
    rules = read_rules()
    assert {rule.scene for rule in rules} == set(labels.scenes())

    def scenes(**tags):
        tags = {key.replace("__", ":"): value for key, value in tags.items()}
        return {rule.scene for rule in rules if rule.matches(tags)}

    assert scenes(railway="station") == {"train station"}
    assert scenes(railway="station", station="subway") == set()
    assert scenes(railway="station", disused="yes") == set()
    assert scenes(natural="water") == {"lake"}
    assert scenes(natural="water", water="pond") == {"lake"}
    assert scenes(natural="water", water="river") == set()
    assert scenes(bridge="yes", highway="primary") == {"bridge"}
    assert scenes(bridge="no", highway="primary") == set()
    assert scenes(bridge="yes", waterway="canal") == set()
    assert scenes(seamark__type="harbour") == {"harbour"}
    assert scenes(landuse="farm") == scenes(landuse="farmland") == {"farmland"}


def test_points_lines_and_areas_are_counted(tmp_path):
    path = write(
        tmp_path / "a.osm.pbf",
        areas=[({"landuse": "forest"}, square(0, 0, 100))] * 2,
        lines=[
            ({"bridge": "yes", "highway": "road"}, [(0, 0), (60, 0)]),
            # Shorter than the 50 m of the table.
            ({"bridge": "yes", "railway": "rail"}, [(0, 0), (40, 0)]),
        ],
        points=[({"railway": "station"}, (500, 0)), ({"shop": "bakery"}, (0, 0))],
    )
    features = list(read_features(path, read_rules()))
    counts = count_features(features)
    expected = {"forest": 2, "bridge": 1, "train station": 1}
    assert counts == dict.fromkeys(labels.scenes(), 0) | expected
    assert {feature.osm_id for feature in features} == {"n13", "w1", "w2", "w3"}


def test_point_in_feature_then_buffer_then_share(tmp_path):
    rules = [
        SceneRule("airport", "aeroway=runway", 1, 50, 0.3, 0),
        SceneRule("forest", "landuse=forest", 3, 0, 0.3, 0),
        SceneRule("orchard", "landuse=orchard", 2, 0, 0.3, 0),
    ]
    areas = [
        ({"landuse": "forest"}, square(0, 0, 400)),
        ({"landuse": "orchard"}, square(0, 0, 100)),
        ({"aeroway": "runway"}, square(250, 0, 60)),
    ]
    path = write(tmp_path / "a.osm.pbf", areas=areas)
    scenes = SceneMap(list(read_features(path, rules)), 256)

    def label(east, north):
        found = scenes.label(*place(east, north))
        return found.scene, found.rule

    # In both areas: the smaller priority.
    assert label(0, 0) == ("orchard", "inside")
    # In the forest and 30 m from the runway: an area around the place is first.
    assert label(190, 0) == ("forest", "inside")
    assert label(250, 70) == ("airport", "buffer")
    # The tile reaches 128 m; of its 256 m the forest covers 80 m in both axes.
    share = scenes.label(*place(0, 248))
    assert (share.scene, share.rule) == ("forest", "share")
    assert share.evidence["shares"]["forest"] == pytest.approx(80 / 256, abs=2e-3)
    # 70 m of 256 m are less than 30 %.
    none = scenes.label(*place(0, 258))
    assert none.scene == ""
    assert "27.3% of at least 30%" in none.reason
    evidence = scenes.label(*place(0, 0)).evidence
    assert [one["id"] for one in evidence["features"]] == ["w2", "w1"]
    assert evidence["features"][0]["tags"] == {"landuse": "orchard"}


def test_priority_comes_before_distance(tmp_path):
    rules = [
        SceneRule("lake", "natural=water", 5, 60, 0.3, 0),
        SceneRule("airport", "aeroway=runway", 1, 60, 0.3, 0),
    ]
    areas = [
        ({"natural": "water"}, square(40, 0, 60)),
        ({"aeroway": "runway"}, square(-70, 0, 60)),
    ]
    path = write(tmp_path / "a.osm.pbf", areas=areas)
    label = SceneMap(list(read_features(path, rules)), 256).label(*place(0, 0))
    assert (label.scene, label.rule) == ("airport", "buffer")
    assert [one["metres"] for one in label.evidence["features"]] == [40.0, 10.0]


def test_nodes_and_lines_reach_as_far_as_their_buffer(tmp_path):
    path = write(
        tmp_path / "a.osm.pbf",
        areas=[({"landuse": "residential"}, square(0, 0, 2000))],
        points=[({"railway": "station"}, (0, 0))],
    )
    scenes = scene_map(path)
    assert scenes.label(*place(149, 0)).scene == "train station"
    assert scenes.label(*place(151, 0)).scene == "residential"


def test_local_metres_are_those_of_the_ellipsoid():
    east, north = local_transformer(LATITUDE, LONGITUDE).transform(
        *reversed(place(300, -400))
    )
    assert (east, north) == pytest.approx((300, -400), abs=1e-3)


def test_files_and_tables_that_are_not_valid(tmp_path):
    with pytest.raises(ValueError, match="labels must name an OpenStreetMap extract"):
        list(read_features(tmp_path / "missing.osm.pbf", read_rules()))
    with pytest.raises(ValueError, match="at least one feature of a scene"):
        SceneMap([], 256)
    (tmp_path / "rules.csv").write_text(
        "scene,tags,priority,buffer_metres,least_share,least_metres\n"
        "moon,natural=rock,1,0,0.3,0\n"
    )
    with pytest.raises(ValueError, match=r"line 2.*moon"):
        read_rules(tmp_path / "rules.csv")


def test_a_feature_beyond_the_180th_meridian_is_near():
    rule = SceneRule("lake", "natural=water", 1, 50, 0.3, 0)
    areas = [
        shapely.box(west, -17.001, west + 0.001, -16.999)
        for west in (-179.9999, 179.98)
    ]
    features = [Feature(f"w{k}", {}, rule, area) for k, area in enumerate(areas)]
    scenes = SceneMap(features, 256)
    apart = GEOD.inv(179.9999, -17, -179.9999, -17)[2]  # 21.3 m
    for longitude, how, metres in (
        (179.9999, "buffer", apart),
        (-179.9995, "inside", 0.0),
    ):
        label = scenes.label(-17, longitude)
        assert (label.scene, label.rule) == ("lake", how)
        found = [(one["id"], one["metres"]) for one in label.evidence["features"]]
        assert found == [("w0", pytest.approx(metres, abs=0.06))]
    assert scenes.bounds == pytest.approx((179.98, -17.001, 180.0011, -16.999))
