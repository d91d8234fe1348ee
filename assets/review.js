// The review of proposed labels: one pair at a time, keys, and the file of corrections.
(() => {
  const data = JSON.parse(document.getElementById("review-data").textContent);
  const pairs = data.pairs;
  const find = name => document.querySelector(name);
  const [image, audio, canvas, choice, remark] =
    [".review img", "audio", "canvas", "select", "input"].map(find);
  const store = `advance-review-${data.key}`;
  let decisions = {};
  load();
  let at = 0;
  const OSM = "https://www.openstreetmap.org";
  const KINDS = { n: "node", w: "way", r: "relation" };
  const RULES = {
    inside: "a feature contains the place",
    buffer: "a feature is near the place",
    share: "largest share of the image",
    review: "corrected in a review",
  };
  const key = pair => `${pair.recording}\n${pair.shift}`;

  function load() {
    try { decisions = JSON.parse(localStorage.getItem(store)) || {}; } catch { /* none */ }
  }

  function save() {
    try { localStorage.setItem(store, JSON.stringify(decisions)); } catch { /* full */ }
  }

  function counts() {
    const known = pairs.map(pair => decisions[key(pair)]).filter(Boolean);
    find(".done").textContent = known.length;
    find(".changed").textContent =
      known.filter(one => one.decision !== "accept").length;
  }

  function drawMap() {
    const box = canvas.getBoundingClientRect(), density = window.devicePixelRatio || 1;
    canvas.width = box.width * density;
    canvas.height = box.height * density;
    const context = canvas.getContext("2d");
    context.scale(density, density);
    const [west, south, east, north] = data.bounds;
    const ratio = Math.cos((south + north) / 2 * Math.PI / 180);
    const wide = Math.max((east - west) * ratio, 1e-4), high = Math.max(north - south, 1e-4);
    const scale = 0.85 * Math.min(box.width / wide, box.height / high);
    // Bounds across the 180th meridian end at more than 180 degrees.
    const eastward = lon => lon < west ? lon + 360 : lon;
    const point = pair => [
      box.width / 2 + (eastward(pair.lon) - (west + east) / 2) * ratio * scale,
      box.height / 2 - (pair.lat - (south + north) / 2) * scale,
    ];
    for (const pair of pairs) {
      const [x, y] = point(pair);
      context.beginPath();
      context.arc(x, y, 2.5, 0, 2 * Math.PI);
      context.fillStyle = data.colors[data.scenes.indexOf(pair.scene)];
      context.fill();
    }
    const [x, y] = point(pairs[at]);
    context.beginPath();
    context.arc(x, y, 7, 0, 2 * Math.PI);
    context.fillStyle = data.colors[data.scenes.indexOf(pairs[at].scene)];
    context.fill();
    context.lineWidth = 2;
    context.strokeStyle = getComputedStyle(canvas).color;
    context.stroke();
  }

  function cell(row, content, kind) {
    const made = document.createElement(kind === "th" ? "th" : "td");
    made.append(content);
    if (kind === "text") made.className = "text";
    row.append(made);
  }

  function link(text, address) {
    const made = document.createElement("a");
    made.textContent = text;
    made.href = address;
    made.target = "_blank";
    made.rel = "noreferrer";
    return made;
  }

  function show(index) {
    at = (index + pairs.length) % pairs.length;
    const pair = pairs[at], decision = decisions[key(pair)];
    image.src = pair.image;
    image.alt = `Image of ${pair.stem}`;
    audio.src = pair.sound;
    find(".position").textContent = `Pair ${at + 1} of ${pairs.length}`;
    find(".name").textContent =
      `${pair.recording}${pair.shift ? `, shifted to the ${pair.shift}` : ""}`;
    find(".scene").textContent = pair.scene;
    find(".swatch").style.background = data.colors[data.scenes.indexOf(pair.scene)];
    find(".rule").textContent = `(${RULES[pair.rule] || pair.rule})`;
    const place = [pair.lat.toFixed(5), pair.lon.toFixed(5)];
    find(".where").replaceChildren(
      `${pair.stem}: `,
      link(place.join(", "),
        `${OSM}/?mlat=${place[0]}&mlon=${place[1]}#map=16/${place.join("/")}`),
      pair.date ? `, image of ${pair.date}` : "");
    choice.value = decision && decision.scene || pair.scene;
    remark.value = decision && decision.remark || "";
    document.querySelectorAll("[data-decision]").forEach(button => {
      button.setAttribute(
        "aria-pressed", String(!!decision && decision.decision === button.dataset.decision));
    });
    const rows = find(".features");
    rows.replaceChildren();
    for (const feature of pair.evidence.features) {
      const row = document.createElement("tr");
      const kind = KINDS[feature.id[0]];
      cell(row, link(`${kind} ${feature.id.slice(1)}`,
        `${OSM}/${kind}/${feature.id.slice(1)}`), "th");
      cell(row, feature.scene, "text");
      const tags = document.createDocumentFragment();
      for (const [name, value] of Object.entries(feature.tags)) {
        // A line may end after the equals sign.
        tags.append(`${name}=`, document.createElement("wbr"), `${value} `);
      }
      cell(row, tags, "text");
      cell(row, feature.metres.toFixed(1));
      rows.append(row);
    }
    const shares = Object.entries(pair.evidence.shares);
    find(".shares").textContent = shares.length
      ? `Shares of the image: ${shares.map(([scene, share]) =>
        `${scene} ${(100 * share).toFixed(1)} %`).join(", ")}.` : "";
    counts();
    drawMap();
  }

  function decide(decision) {
    const pair = pairs[at];
    if (decision === "correct" && choice.value === pair.scene) {
      choice.focus();
      return;
    }
    decisions[key(pair)] = {
      decision, remark: remark.value, scene: decision === "correct" ? choice.value : "",
    };
    save();
    show(at + 1);
  }

  function nextOpen() {
    for (let step = 1; step <= pairs.length; step++) {
      const index = (at + step) % pairs.length;
      if (!decisions[key(pairs[index])]) { show(index); return; }
    }
  }

  function table() {
    const quote = text => /[",\n]/.test(text) ? `"${text.replaceAll('"', '""')}"` : text;
    const lines = [["recording", "shift", "decision", "scene", "remark"]];
    for (const pair of pairs) {
      const one = decisions[key(pair)];
      if (one) {
        lines.push([pair.recording, pair.shift, one.decision, one.scene, one.remark]);
      }
    }
    return lines.map(line => line.map(quote).join(",")).join("\n") + "\n";
  }

  document.querySelectorAll("[data-decision]").forEach(button => {
    button.addEventListener("click", () => decide(button.dataset.decision));
  });
  document.querySelectorAll("[data-step]").forEach(button => {
    button.addEventListener("click", () =>
      button.dataset.step === "open" ? nextOpen() : show(at + Number(button.dataset.step)));
  });
  find(".save").addEventListener("click", () => {
    const link = document.createElement("a");
    link.href = URL.createObjectURL(new Blob([table()], { type: "text/csv" }));
    link.download = "corrections.csv";
    link.click();
    setTimeout(() => URL.revokeObjectURL(link.href), 10_000);
  });
  document.addEventListener("keydown", event => {
    if (event.target.matches("input, select") && event.key !== "Enter") return;
    if (event.ctrlKey || event.metaKey || event.altKey) return;
    const actions = {
      a: () => decide("accept"), c: () => choice.focus(), r: () => decide("reject"),
      p: () => audio.paused ? audio.play() : audio.pause(),
      ArrowLeft: () => show(at - 1), ArrowRight: () => show(at + 1),
    };
    if (event.target === choice && event.key === "Enter") {
      choice.blur();
      decide("correct");
    } else if (actions[event.key]) actions[event.key]();
    else return;
    event.preventDefault();
  });
  // With the keyboard each key selects a scene, and Enter confirms it.
  let typed = false;
  choice.addEventListener("pointerdown", () => { typed = false; });
  choice.addEventListener("keydown", event => { typed = event.key !== "Enter"; });
  choice.addEventListener("blur", () => { typed = false; });
  choice.addEventListener("change", () => {
    if (typed) return;
    choice.blur();
    if (choice.value !== pairs[at].scene) decide("correct");
  });
  remark.addEventListener("change", () => {
    const decided = decisions[key(pairs[at])];
    if (decided) {
      decided.remark = remark.value;
      save();
    }
  });
  // The page in another tab has written: the next decision here keeps those of the other.
  addEventListener("storage", event => {
    if (event.key !== store) return;
    load();
    show(at);
  });
  new ResizeObserver(drawMap).observe(canvas);
  show(0);
  // For tests.
  window.review = { table, show };
})();
