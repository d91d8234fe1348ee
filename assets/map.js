// The map of places: pan, zoom, filters, and the details of a place. Draws on a canvas,
// so that thousands of places stay usable. Uses nothing but this page.
(() => {
  const data = JSON.parse(document.getElementById("map-data").textContent);
  const root = document.getElementById("place-map");
  const canvas = root.querySelector("canvas");
  const context = canvas.getContext("2d");
  const status = root.querySelector(".map-status");
  const panel = root.querySelector(".map-panel");
  const least = root.querySelector("input[type=range]");
  const boxes = [...root.querySelectorAll(".map-scenes input")];
  const places = data.places;
  const middle = places.reduce((sum, place) => sum + place.lat, 0) / (places.length || 1);
  // Equirectangular with the mean latitude as standard parallel.
  const ratio = Math.max(Math.cos(middle * Math.PI / 180), 0.05);
  const view = { x: 0, y: 0, scale: 1 };
  let width = 0, height = 0, selected = -1, visible = [], waiting = false;

  const picture = data.background ? new Image() : null;
  if (picture) { picture.onload = draw; picture.src = data.background.image; }

  const toScreen = (lon, lat) => [
    (lon * ratio - view.x) * view.scale + width / 2,
    (view.y - lat) * view.scale + height / 2,
  ];

  // Bounds across the 180th meridian end at more than 180 degrees.
  const across = data.bounds[2] > 180;
  const center = (data.bounds[0] + data.bounds[2]) / 2;
  const eastward = lon => lon < data.bounds[0] ? lon + 360 : lon;
  const placeToScreen = place => toScreen(eastward(place.lon), place.lat);

  function fit() {
    let [west, south, east, north] = data.bounds;
    const pad = Math.max(0.08 * Math.max((east - west) * ratio, north - south), 0.002);
    view.x = (west + east) / 2 * ratio;
    view.y = (south + north) / 2;
    view.scale = Math.min(
      width / ((east - west) * ratio + 2 * pad), height / (north - south + 2 * pad));
    draw();
  }

  function resize() {
    const box = canvas.getBoundingClientRect();
    const before = width;
    width = Math.max(box.width, 1);
    height = Math.max(box.height, 1);
    const density = window.devicePixelRatio || 1;
    canvas.width = Math.round(width * density);
    canvas.height = Math.round(height * density);
    context.setTransform(density, 0, 0, density, 0, 0);
    if (before) draw(); else fit();
  }

  function filter() {
    const shown = boxes.map(box => box.checked);
    const limit = Number(least.value) / 100;
    root.querySelector(".map-least").textContent = `${least.value} %`;
    visible = [];
    places.forEach((place, index) => {
      const low = place.confidence !== null && place.confidence < limit;
      if (shown[place.scene] && !low) visible.push(index);
    });
    status.textContent = `${visible.length} of ${places.length} places`;
    draw();
  }

  function draw() {
    if (waiting) return;
    waiting = true;
    requestAnimationFrame(() => { waiting = false; paint(); });
  }

  function paint() {
    const style = getComputedStyle(root);
    const color = name => style.getPropertyValue(name).trim();
    context.fillStyle = color("--sea");
    context.fillRect(0, 0, width, height);
    context.beginPath();
    for (const shift of across ? [0, 360] : [0]) {
      for (const ring of data.coastline) {
        for (let k = 0; k < ring.length; k += 2) {
          const [x, y] = toScreen(ring[k] + shift, ring[k + 1]);
          if (k) context.lineTo(x, y); else context.moveTo(x, y);
        }
        context.closePath();
      }
    }
    context.fillStyle = color("--land");
    context.fill("evenodd");
    context.strokeStyle = color("--shore");
    context.lineWidth = 0.7;
    context.stroke();
    if (picture && picture.complete && picture.naturalWidth) {
      const [west, south, east, north] = data.background.bounds;
      const shift = 360 * Math.round((center - (west + east) / 2) / 360);
      const [left, top] = toScreen(west + shift, north);
      const [right, bottom] = toScreen(east + shift, south);
      context.drawImage(picture, left, top, right - left, bottom - top);
    }
    drawGrid(color);
    const radius = places.length > 2000 ? 3.5 : 5;
    context.strokeStyle = "#ffffff";
    context.lineWidth = 1;
    const groups = data.scenes.map(() => []);
    for (const index of visible) groups[places[index].scene].push(index);
    groups.forEach((group, scene) => {
      context.fillStyle = data.colors[scene];
      context.beginPath();
      for (const index of group) {
        const [x, y] = placeToScreen(places[index]);
        if (x < -9 || y < -9 || x > width + 9 || y > height + 9) continue;
        context.moveTo(x + radius, y);
        context.arc(x, y, radius, 0, 2 * Math.PI);
      }
      context.fill();
      context.stroke();
    });
    if (selected >= 0) {
      const [x, y] = placeToScreen(places[selected]);
      context.beginPath();
      context.arc(x, y, radius + 5, 0, 2 * Math.PI);
      context.lineWidth = 4;
      context.strokeStyle = "#ffffff";
      context.stroke();
      context.lineWidth = 2;
      context.strokeStyle = "#000000";
      context.stroke();
    }
    drawScale(color);
    canvas.dataset.painted = String(visible.length);
  }

  function write(text, x, y, align, color) {
    context.font = "11px system-ui, sans-serif";
    context.textAlign = align;
    context.textBaseline = "middle";
    context.lineJoin = "round";
    context.lineWidth = 3;
    context.strokeStyle = color("--surface");
    context.strokeText(text, x, y);
    context.fillStyle = color("--quiet");
    context.fillText(text, x, y);
  }

  // Meridians and parallels at a round distance of at least 90 pixels.
  function drawGrid(color) {
    const least = 90 / view.scale;
    const step = least > 5
      ? [10, 15, 30, 60].find(one => one >= least) || 90 : roundUp(least);
    const digits = Math.max(0, -Math.floor(Math.log10(step) + 1e-9));
    const degrees = (value, letters) => `${Math.abs(value).toFixed(digits)}°` +
      (value ? ` ${letters[value < 0 ? 0 : 1]}` : "");
    const meridian = value => degrees(value > 180 ? value - 360 : value, "WE");
    const farWest = across ? center - 180 : -180, farEast = across ? center + 180 : 180;
    const lines = (from, to, first, last) => {
      const found = [];
      for (let k = Math.ceil(Math.max(from, first) / step);
        k * step <= Math.min(to, last); k++) found.push(k * step);
      return found;
    };
    const wide = width / 2 / view.scale, high = height / 2 / view.scale;
    const east = lines(
      (view.x - wide) / ratio, (view.x + wide) / ratio, farWest, farEast);
    const north = lines(view.y - high, view.y + high, -90, 90);
    context.strokeStyle = color("--grid");
    context.lineWidth = 1;
    context.beginPath();
    for (const lon of east) {
      const [x, y] = toScreen(lon, Math.min(90, view.y + high));
      context.moveTo(x, y);
      context.lineTo(x, toScreen(lon, Math.max(-90, view.y - high))[1]);
    }
    for (const lat of north) {
      const [x, y] = toScreen(Math.max(farWest, (view.x - wide) / ratio), lat);
      context.moveTo(x, y);
      context.lineTo(toScreen(Math.min(farEast, (view.x + wide) / ratio), lat)[0], y);
    }
    context.stroke();
    for (const lon of east) {
      const x = toScreen(lon, 0)[0];
      if (x > 30 && x < width - 80) write(meridian(lon), x, 10, "center", color);
    }
    for (const lat of north) {
      const y = toScreen(0, lat)[1];
      if (y > 24 && y < height - 40) write(degrees(lat, "SN"), 6, y, "left", color);
    }
  }

  // The smallest of 1, 2 and 5 times a power of ten that is not below a value.
  function roundUp(value) {
    const power = 10 ** Math.floor(Math.log10(value));
    return [1, 2, 5, 10].find(one => one * power >= value * (1 - 1e-9)) * power;
  }

  // A round length of 50 to 150 pixels on the ground, north to south in the middle.
  function scaleBar() {
    const degree = 111132.95 - 559.85 * Math.cos(2 * middle * Math.PI / 180);
    const metres = roundUp(50 * degree / view.scale);
    return { metres, pixels: metres * view.scale / degree };
  }

  function drawScale(color) {
    const { metres, pixels } = scaleBar();
    const text = metres < 1000 ? `${metres} m` : `${metres / 1000} km`;
    const [x, y] = [10, height - 12];
    for (const [name, line] of [["--surface", 5], ["--ink", 2]]) {
      context.beginPath();
      context.moveTo(x, y - 5);
      context.lineTo(x, y);
      context.lineTo(x + pixels, y);
      context.lineTo(x + pixels, y - 5);
      context.lineWidth = line;
      context.strokeStyle = color(name);
      context.stroke();
    }
    write(text, x + pixels / 2, y - 11, "center", color);
  }

  function zoom(factor, x = width / 2, y = height / 2) {
    const next = Math.min(Math.max(view.scale * factor, 0.5), 4e6);
    const lon = (x - width / 2) / view.scale, lat = (y - height / 2) / view.scale;
    view.x += lon - (x - width / 2) / next;
    view.y -= lat - (y - height / 2) / next;
    view.scale = next;
    draw();
  }

  const element = (name, text, parent, kind) => {
    const made = document.createElement(name);
    if (text) made.textContent = text;
    if (kind) made.className = kind;
    if (parent) parent.append(made);
    return made;
  };

  function ranking(title, rows, parent, shown = rows.length) {
    if (!rows.length) return;
    element("h4", title, parent);
    let list = element("ol", "", parent, "ranking");
    rows.forEach(([name, value, color], index) => {
      if (index === shown) {
        const others = element("details", "", parent, "small");
        element("summary", "Other scenes", others);
        list = element("ol", "", others, "ranking");
      }
      const item = element("li", "", list);
      element("span", name, item);
      element("span", `${(100 * value).toFixed(1)} %`, item, "number");
      const bar = element("i", "", element("span", "", item, "bar"));
      bar.style.width = `${100 * value}%`;
      if (color) bar.style.background = color;
    });
  }

  function select(index, move = false) {
    selected = index;
    panel.replaceChildren();
    if (index < 0) { draw(); return; }
    const place = places[index];
    const heading = element("h3", place.name, panel);
    heading.tabIndex = -1;
    const scene = element("p", "", panel);
    const swatch = element("i", "", scene, "swatch");
    swatch.style.background = data.colors[place.scene];
    const percent = place.confidence !== null
      ? `, ${(100 * place.confidence).toFixed(1)} %` : "";
    scene.append(` ${data.scenes[place.scene]}${percent}`);
    element(
      "p", `${place.lat.toFixed(5)}, ${place.lon.toFixed(5)}`, panel, "quiet small");
    for (const note of place.notes || []) element("p", note, panel, "small");
    if (place.image) {
      const image = element("img", "", panel);
      image.alt = `Image of ${place.name}`;
      image.src = place.image;
    }
    if (place.sound) {
      const sound = element("audio", "", panel);
      sound.controls = true;
      sound.src = place.sound;
    }
    if (!place.image && !place.sound) {
      element("p", "Image and sound are not in this page.", panel, "quiet small");
    }
    const order = place.probs.map((value, k) => [data.scenes[k], value, data.colors[k]]);
    order.sort((one, other) => other[1] - one[1]);
    ranking("Scenes", order, panel, 5);
    ranking("Events", place.events, panel);
    if (move) {
      view.x = eastward(place.lon) * ratio;
      view.y = place.lat;
      heading.focus({ preventScroll: true });
    }
    draw();
  }

  function nearest(x, y) {
    let best = -1, distance = 16 * 16;
    for (const index of visible) {
      const [px, py] = placeToScreen(places[index]);
      const square = (px - x) ** 2 + (py - y) ** 2;
      if (square <= distance) { distance = square; best = index; }
    }
    return best;
  }

  function step(direction) {
    if (!visible.length) return;
    const at = visible.indexOf(selected);
    const next = at < 0 ? 0 : (at + direction + visible.length) % visible.length;
    select(visible[next], true);
  }

  // One pointer drags, two pinch.
  const pointers = new Map();
  let moved = 0;
  canvas.addEventListener("pointerdown", event => {
    canvas.setPointerCapture(event.pointerId);
    pointers.set(event.pointerId, [event.offsetX, event.offsetY]);
    if (pointers.size === 1) moved = 0;
  });
  canvas.addEventListener("pointermove", event => {
    const before = pointers.get(event.pointerId);
    if (!before) {
      canvas.style.cursor = nearest(event.offsetX, event.offsetY) < 0 ? "grab" : "pointer";
      return;
    }
    const now = [event.offsetX, event.offsetY];
    moved += Math.hypot(now[0] - before[0], now[1] - before[1]);
    if (pointers.size === 1) {
      view.x -= (now[0] - before[0]) / view.scale;
      view.y += (now[1] - before[1]) / view.scale;
    } else {
      const other = [...pointers].find(([id]) => id !== event.pointerId)[1];
      const length = point => Math.hypot(point[0] - other[0], point[1] - other[1]);
      zoom(length(now) / Math.max(length(before), 1),
        (now[0] + other[0]) / 2, (now[1] + other[1]) / 2);
    }
    pointers.set(event.pointerId, now);
    draw();
  });
  const release = event => {
    const was = pointers.delete(event.pointerId);
    if (was && event.type === "pointerup" && moved < 6 && !pointers.size) {
      const found = nearest(event.offsetX, event.offsetY);
      if (found >= 0) select(found);
    }
  };
  canvas.addEventListener("pointerup", release);
  canvas.addEventListener("pointercancel", release);
  canvas.addEventListener("wheel", event => {
    event.preventDefault();
    zoom(Math.exp(-event.deltaY / 400), event.offsetX, event.offsetY);
  }, { passive: false });
  canvas.addEventListener("keydown", event => {
    const steps = {
      ArrowLeft: [-60, 0], ArrowRight: [60, 0], ArrowUp: [0, -60], ArrowDown: [0, 60],
    };
    if (steps[event.key]) {
      view.x += steps[event.key][0] / view.scale;
      view.y -= steps[event.key][1] / view.scale;
      draw();
    } else if (event.key === "+" || event.key === "=") zoom(1.5);
    else if (event.key === "-") zoom(1 / 1.5);
    else if (event.key === "Enter") step(1);
    else return;
    event.preventDefault();
  });
  const actions = {
    in: () => zoom(1.6), out: () => zoom(1 / 1.6), all: fit,
    previous: () => step(-1), next: () => step(1),
    every: () => { boxes.forEach(box => { box.checked = true; }); filter(); },
    none: () => { boxes.forEach(box => { box.checked = false; }); filter(); },
  };
  root.querySelectorAll("button[data-action]").forEach(button => {
    button.addEventListener("click", actions[button.dataset.action]);
  });
  boxes.forEach(box => box.addEventListener("change", filter));
  least.addEventListener("input", filter);
  new ResizeObserver(resize).observe(canvas);
  resize();
  filter();
  // For tests, and for other scripts of the page.
  window.placeMap = {
    select, paint, scaleBar,
    screen: index => placeToScreen(places[index]),
    get selected() { return selected; },
  };
})();
