"""What a page's tables and curves say, against values computed beside the call."""

import dataclasses
import re

import numpy as np
import pytest

from advance_tf import labels
from advance_tf.data.dataset import make_dataset
from advance_tf.labels import asset_path
from advance_tf.studies import page
from advance_tf.studies.evaluated import evaluate_run
from advance_tf.studies.evidence import event_pulls
from advance_tf.studies.mistakes import most_confident
from advance_tf.studies.taught import load_taught_run
from tests.studies.parsed_page import parse_page
from tests.untrained_run import with_validation, write_run

POLICY = "default-src 'none'; img-src data:; media-src data:; style-src 'unsafe-inline'"


@pytest.fixture(scope="module")
def taught(tmp_path_factory):
    return with_validation(load_taught_run(write_run(tmp_path_factory.mktemp("run"))))


@pytest.fixture(scope="module")
def evaluation(taught):
    return evaluate_run(taught, "test")


@pytest.fixture(scope="module")
def values(taught, evaluation):
    return page.page_values(taught, evaluation, mistakes=3)


@pytest.fixture(scope="module")
def root(values):
    return parse_page(page.render(values))


def number(text):
    """A number as it is written, with a true minus."""
    return float(text.replace("−", "-").replace("<", "").replace("+", ""))


def close(text, value):
    """Whether a text is a number to the two digits that it shows."""
    return number(text) == pytest.approx(value, rel=0.05, abs=0.0051)


def test_the_policy_allows_nothing_else(root):
    (meta,) = [m for m in root.all("meta") if "http-equiv" in m.attrs]
    assert meta.attrs == {"http-equiv": "Content-Security-Policy", "content": POLICY}
    (head,) = [e for e in root.one("html").children if getattr(e, "tag", "") == "head"]
    assert meta in head.children


def test_events_are_what_the_teacher_heard(root, taught, evaluation):
    knowledge, names = taught.knowledge, labels.scenes()
    places = most_confident(evaluation, 3)
    articles = root.all("article", class_="mistake")
    assert len(articles) == 3
    event_names = [event.name for event in labels.events()]
    for place, article in zip(places, articles, strict=True):
        pair = taught.run.pairs_of("test")[place]
        true, predicted = evaluation.true[place], evaluation.predicted[place]
        heard = knowledge.targets_for([pair])["soft_labels"][0]
        p, q = knowledge.posteriors[true], knowledge.posteriors[predicted]
        pulls = np.where(knowledge.event_mask, event_pulls(heard, p, q), 0)
        table = article.one("table", class_="events")
        head, *rows = table.rows()
        assert head == [
            *("Event", "heard here", f"in {names[predicted]}", f"in {names[true]}"),
            "pull",
        ]
        assert rows.pop(0) == ["heard most"]
        assert rows.pop(5) == ["telling most, heard or missed"]
        total = rows.pop()
        assert total[0] == "all events"
        assert close(total[1], pulls.sum())
        assert len(rows) == 8
        for name, *cells in rows:
            k = event_names.index(name)
            for text, value in zip(cells, (heard, q, p, pulls), strict=True):
                assert close(text, value[k]), (name, cells)
        groups = table.all("th", scope="rowgroup")
        assert len(groups) == len(table.all("tbody")) == 2


def test_margins_are_parts_of_the_log_odds(root, taught, evaluation):
    run = taught.run
    head = run.recognizer.get_layer("scene_head")
    kernel, bias = head.kernel.numpy(), head.bias.numpy()
    for place, article in zip(
        most_confident(evaluation, 3),
        root.all("article", class_="mistake"),
        strict=True,
    ):
        pair = run.pairs_of("test")[place]
        inputs, _ = next(
            iter(make_dataset([pair], taught.data_dir, run.config.features, 1))
        )
        seen = run.recognizer.get_layer("image_tower")(inputs["image"]).numpy()[0]
        heard = run.recognizer.get_layer("audio_tower")(inputs["log_mel"][..., None])
        true, predicted = evaluation.true[place], evaluation.predicted[place]
        weight = kernel[:, predicted] - kernel[:, true]
        parts = {
            "image": seen @ weight[: len(seen)],
            "sound": heard.numpy()[0] @ weight[len(seen) :],
            "bias": bias[predicted] - bias[true],
        }
        rows = article.one("table", class_="parts").rows()
        assert [name for name, _ in rows] == [*parts, "log-odds"]
        for name, text in rows:
            value = parts[name] if name in parts else sum(parts.values())
            assert number(text) == pytest.approx(value, abs=0.0051)
            assert text[0] == ("−" if round(value, 2) < 0 else "+")


def test_colours_say_which_way_and_nothing_of_zero(values):
    """Only what is shown as more or less than zero has a colour."""
    mistake = values["mistakes"][0]
    margins = {"image": 1.234, "sound": -1.2, "bias": -0.004}
    made = values | {"mistakes": [dataclasses.replace(mistake, margins=margins)]}
    root = parse_page(page.render(made))
    table = root.one("table", class_="parts")
    assert [(c.text, c.attrs.get("class")) for c in table.all("td")] == [
        ("+1.23", "to-predicted"),
        ("−1.20", "to-true"),
        ("+0.00", None),
        ("+0.03", "to-predicted"),
    ]
    (events,) = root.all("table", class_="events")
    (article,) = root.all("article")
    assert "Pull, in nats" in article.text
    for cell in [row.all("td")[-1] for row in events.all("tr") if row.all("td")]:
        shown = number(cell.text)
        wanted = "to-predicted" if shown > 0 else "to-true" if shown < 0 else None
        assert cell.attrs.get("class") == wanted


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


def test_curves_go_through_the_log(root):
    """Epoch 1: loss 2.5, val_loss 3; epoch 2: 2 and 2.5. Ticks give the scale."""
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


def test_regions_have_names_of_their_own(root):
    names = [e.attrs["aria-label"] for e in root.all("div", role="region")]
    titles = [title.text for title in root.all("h2")]
    assert len({*names, *titles}) == len(names) + len(titles)


def test_the_way_to_knowledge_is_a_whole_command(taught, evaluation):
    alone = dataclasses.replace(taught, knowledge=None)
    root = parse_page(page.render(page.page_values(alone, evaluation, mistakes=1)))
    (code,) = [
        code.text
        for code in root.one("section", id="mistakes").all("code")
        if "teach" in code.text
    ]
    assert code == (
        f"python -m advance_tf.teach --workdir={taught.run.workdir} "
        f"--data_dir={taught.data_dir} --clip_seconds=1.0 --image_size=32 "
        "--teacher=yamnet.tflite"
    )


@pytest.mark.parametrize("modality", ["image", "sound"])
def test_a_run_of_one_input(modality, tmp_path):
    taught = load_taught_run(write_run(tmp_path, modality))
    evaluation = evaluate_run(taught, "test")
    root = parse_page(page.render(page.page_values(taught, evaluation, mistakes=1)))
    (article,) = root.all("article")
    unused = {"image": "sound", "sound": "image"}[modality]
    remark = {
        "image": "This model does not listen to the sound.",
        "sound": "This model does not look at the image.",
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
def test_counts_can_be_read_on_every_share(dark, cell):
    """A contrast of 4.5, WCAG 2.2 AA, of the ink on each mix with the surface."""
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
