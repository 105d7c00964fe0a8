"use strict";
(() => {
  const data = JSON.parse(document.getElementById("data").textContent);
  const byId = (id) => document.getElementById(id);
  const canvas = byId("map"), pen = canvas.getContext("2d"), tip = byId("tip");
  const count = data.clips.length, STEPS = 65535, SHAPES = 7, NEAR = 12, LISTED = 50;
  const RADIUS = count < 1000 ? 5 : count < 6000 ? 3.5 : 2.5;
  const dark = matchMedia("(prefers-color-scheme: dark)");
  const view = { scale: 1, x: 0, y: 0 };  // of the picture that fits: pixels = fit * scale + (x, y)
  let column = data.columns.find((col) => col.name === data.colour), only = null, words = "";
  let lit = new Uint8Array(count).fill(1), sprites = [], sprite = new Int32Array(count);
  let hovered = -1, chosen = -1, waiting = false, pixels = 1;

  // A text without what turns its direction or has no width: as commands print it.
  const shown = (text) => String(text).replace(/[\p{C}\p{Zl}\p{Zp}]/gu, (char) =>
    "\\u" + char.codePointAt(0).toString(16).padStart(4, "0"));

  function element(name, text, attributes = {}) {
    const made = document.createElement(name);
    if (text !== undefined) made.textContent = text;
    for (const [key, value] of Object.entries(attributes)) made.setAttribute(key, value);
    return made;
  }

  data.columns.forEach((col, place) => {
    const option = element("option", shown(col.name), { value: place });
    option.selected = col === column;
    byId("colour").append(option);
  });

  // ---- values
  const rounded = (value) => Number.isInteger(value) ? String(value) : String(Number(value.toPrecision(4)));
  const when = (value) => new Date(value * 1000).toISOString().replace("T", " ").slice(0, 16);

  function valueOf(col, clip) {
    const value = col.values[clip];
    if (value === null || (col.kind === "names" && value < 0)) return "none";
    return col.kind === "names" ? col.names[value] : col.kind === "times" ? when(value) : rounded(value);
  }

  function range(col) {
    let low = Infinity, high = -Infinity;
    for (const value of col.values) if (value !== null) {
      low = Math.min(low, value);
      high = Math.max(high, value);
    }
    const log = col.kind === "numbers" && low > 0 && high > 100 * low;
    const share = (value) => high === low ? 0.5 : log
      ? Math.log(value / low) / Math.log(high / low) : (value - low) / (high - low);
    const at = (part) => log ? low * (high / low) ** part : low + part * (high - low);
    return { low, high, log, share, at };
  }

  // ---- colours: a sprite for each category, or for each of 64 steps of a scale; 0 is for no value
  const channels = (hex) => [1, 3, 5].map((at) => parseInt(hex.slice(at, at + 2), 16));
  function mixed(share) {
    const place = share * (data.scale.length - 1), step = Math.min(data.scale.length - 2, Math.floor(place));
    const [from, to] = [data.scale[step], data.scale[step + 1]].map(channels);
    return `rgb(${from.map((low, n) => Math.round(low + (place - step) * (to[n] - low))).join()})`;
  }
  const paletteColour = (number) => {
    const colour = data.colours[number % data.colours.length];
    return dark.matches && colour === "#000000" ? "#ffffff" : colour;
  };
  const grey = () => dark.matches ? "#6b727c" : "#b4b4b4";
  const styleOf = (place) => place < SHAPES * data.colours.length
    ? [paletteColour(place), Math.floor(place / data.colours.length)] : [grey(), 0];

  function outline(to, shape, r) {
    to.beginPath();
    if (shape === 0) to.arc(0, 0, r, 0, 7);
    else if (shape === 1) to.rect(-0.85 * r, -0.85 * r, 1.7 * r, 1.7 * r);
    else {
      const star = shape > 4, corners = shape === 2 || shape === 3 ? 3 : star ? 4 + 2 * (shape - 5) : 4;
      const turn = shape === 3 ? Math.PI : 0, points = star ? 2 * corners : corners;
      for (let n = 0; n < points; n++) {
        const angle = turn - Math.PI / 2 + (2 * Math.PI * n) / points;
        const far = 1.25 * r * (star && n % 2 ? 0.42 : 1);
        to.lineTo(far * Math.cos(angle), far * Math.sin(angle));
      }
      to.closePath();
    }
  }

  function drawn(colour, shape, radius) {
    const made = document.createElement("canvas"), half = Math.ceil((1.3 * radius + 1.5) * pixels);
    made.width = made.height = 2 * half;
    const to = made.getContext("2d");
    to.translate(half, half);
    to.scale(pixels, pixels);
    outline(to, shape, radius);
    to.fillStyle = colour;
    to.fill();
    to.lineWidth = 0.7;
    to.strokeStyle = dark.matches ? "#ffffff73" : "#00000073";
    to.stroke();
    return made;
  }

  function paint() {
    const radius = RADIUS * Math.min(2.2, view.scale ** 0.3);
    if (column.kind === "names") {
      sprites = [drawn(grey(), 0, 0.8 * radius), ...column.names.map((_, n) => drawn(...styleOf(n), radius))];
      sprite = Int32Array.from(column.values, (value) => value + 1);
    } else {
      const { share } = range(column);
      sprites = [drawn(grey(), 0, 0.8 * radius)];
      for (let n = 0; n < 64; n++) sprites.push(drawn(mixed(n / 63), 0, radius));
      sprite = Int32Array.from(column.values, (value) => value === null ? 0 : 1 + Math.round(63 * share(value)));
    }
  }

  // ---- the picture
  function size() {
    const box = canvas.getBoundingClientRect();
    return [box.width, box.height];
  }
  function extent() {
    let left = STEPS, right = 0, top = STEPS, bottom = 0;
    for (let n = 0; n < count; n++) {
      left = Math.min(left, data.points[2 * n]);
      right = Math.max(right, data.points[2 * n]);
      top = Math.min(top, data.points[2 * n + 1]);
      bottom = Math.max(bottom, data.points[2 * n + 1]);
    }
    return { x: (left + right) / 2, y: (top + bottom) / 2, width: right - left || 1, height: bottom - top || 1 };
  }
  const whole = extent();
  let fitted = { factor: 1, width: 0, height: 0 };
  function place(clip) {
    const at = view.scale * fitted.factor;
    return [fitted.width / 2 + view.x + at * (data.points[2 * clip] - whole.x),
      fitted.height / 2 + view.y + at * (data.points[2 * clip + 1] - whole.y)];
  }

  function draw() {
    waiting = false;
    pen.setTransform(1, 0, 0, 1, 0, 0);
    pen.clearRect(0, 0, canvas.width, canvas.height);
    for (const shining of [0, 1]) {
      pen.globalAlpha = shining ? 1 : 0.1;
      for (let n = 0; n < count; n++) {
        if (lit[n] !== shining) continue;
        const [x, y] = place(n), image = sprites[sprite[n]], half = image.width / 2;
        if (x < -20 || y < -20 || x > fitted.width + 20 || y > fitted.height + 20) continue;
        pen.drawImage(image, Math.round(x * pixels - half), Math.round(y * pixels - half));
      }
    }
    pen.globalAlpha = 1;
    pen.setTransform(pixels, 0, 0, pixels, 0, 0);
    const mark = getComputedStyle(document.documentElement).getPropertyValue("--mark");
    for (const [clip, width] of [[hovered, 1.5], [chosen, 3]]) if (clip >= 0) {
      pen.beginPath();
      pen.arc(...place(clip), RADIUS * Math.min(2.2, view.scale ** 0.3) + 4, 0, 7);
      pen.strokeStyle = mark;
      pen.lineWidth = width;
      pen.stroke();
    }
  }
  function redraw() {
    if (waiting) return;
    waiting = true;
    requestAnimationFrame(draw);
  }
  function resize() {
    const [width, height] = size();
    pixels = window.devicePixelRatio || 1;
    canvas.width = Math.round(width * pixels);
    canvas.height = Math.round(height * pixels);
    const factor = Math.min(Math.max(10, width - 48) / whole.width, Math.max(10, height - 48) / whole.height);
    fitted = { factor, width, height };
    paint();
    redraw();
  }

  function zoom(by, x = fitted.width / 2, y = fitted.height / 2) {
    const scale = Math.min(200, Math.max(0.5, view.scale * by)), ratio = scale / view.scale;
    view.x = (x - fitted.width / 2) * (1 - ratio) + view.x * ratio;
    view.y = (y - fitted.height / 2) * (1 - ratio) + view.y * ratio;
    view.scale = scale;
    paint();
    redraw();
  }
  function showAll() {
    Object.assign(view, { scale: 1, x: 0, y: 0 });
    paint();
    redraw();
  }
  function bringIn(clip) {
    const [x, y] = place(clip);
    if (x < 10 || y < 10 || x > fitted.width - 10 || y > fitted.height - 10) {
      view.x += fitted.width / 2 - x;
      view.y += fitted.height / 2 - y;
    }
  }

  // ---- clips
  function nearest(x, y) {
    let best = -1, least = NEAR * NEAR;
    for (let n = 0; n < count; n++) {
      const [a, b] = place(n), far = (a - x) ** 2 + (b - y) ** 2;
      if (lit[n] && far < least) [best, least] = [n, far];
    }
    return best;
  }
  const label = data.columns.find((col) => col.name === "label");
  const length = data.columns.find((col) => col.name === "duration_s");
  function facts(clip) {
    const told = [[column.name, valueOf(column, clip)]];
    if (label && label !== column) told.push([label.name, valueOf(label, clip)]);
    if (length && length !== column) told.push([length.name, valueOf(length, clip)]);
    return told;
  }
  function point(clip) {
    if (clip === hovered) return;
    hovered = clip;
    tip.hidden = clip < 0;
    if (clip >= 0) {
      tip.replaceChildren(element("div", shown(data.clips[clip])));
      for (const [name, value] of facts(clip)) tip.append(element("div", shown(`${name}: ${value}`)));
      const [x, y] = place(clip);
      tip.style.left = `${Math.max(4, Math.min(x + 14, fitted.width - tip.offsetWidth - 4))}px`;
      tip.style.top = `${Math.max(4, y + 14 + tip.offsetHeight > fitted.height ? y - 14 - tip.offsetHeight : y + 14)}px`;
    }
    redraw();
  }
  const uriOf = (clip) => data.uris[clip] === 0 ? data.root + data.clips[clip] : data.uris[clip];

  // A path as an address. Bytes of names that are no UTF-8 are in tables as U+E080 to U+E0FF.
  function addressOf(uri) {
    if (/^https?:\/\//i.test(uri)) return uri;
    if (uri.includes("://") || !uri.startsWith("/")) return null;
    return "file://" + Array.from(uri, (char) => {
      const code = char.codePointAt(0);
      if (code >= 0xe080 && code <= 0xe0ff) return "%" + (code - 0xe000).toString(16).toUpperCase();
      return char === "/" ? "/" : encodeURIComponent(char);
    }).join("");
  }

  function choose(clip, play) {
    chosen = clip;
    const uri = uriOf(clip), address = addressOf(uri), box = byId("clip");
    box.replaceChildren(element("h2", "Clip"), element("div", shown(data.clips[clip]), { class: "id" }));
    if (address === null) box.append(element("p", shown(`It lies at ${uri}: a browser cannot play it from there.`)));
    else {
      const audio = element("audio", undefined, { controls: "", preload: "metadata" });
      const trouble = element("p", "", { class: "hint", role: "alert" });
      audio.addEventListener("error", () => {
        trouble.textContent = shown(`It cannot be played: ${uri} is not there any more, or in a format that this browser does not know.`);
      });
      audio.src = address;
      box.append(audio, trouble);
      if (play) audio.play().catch(() => {});  // the event above tells why
    }
    const list = element("dl");
    for (const col of data.columns) {
      const value = valueOf(col, clip);
      if (value !== "none") list.append(element("dt", shown(col.name)), element("dd", shown(value)));
    }
    list.append(element("dt", "place"), element("dd", shown(uri)));
    box.append(list);
    byId("told").textContent = shown(`${data.clips[clip]}, ${facts(clip).map(([name, value]) => `${name} ${value}`).join(", ")}`);
    redraw();
  }
  function step(right, down) {
    const begun = chosen >= 0 && lit[chosen], from = begun ? place(chosen) : [fitted.width / 2, fitted.height / 2];
    let best = -1, least = Infinity;
    for (let n = 0; n < count; n++) {
      if (!lit[n] || n === chosen) continue;
      const [x, y] = place(n), along = (x - from[0]) * right + (y - from[1]) * down;
      const aside = Math.abs((x - from[0]) * down) + Math.abs((y - from[1]) * right);
      const far = Math.abs(along) + 2 * aside;
      if ((!begun || (along > 0 && aside <= 2 * along)) && far < least) [best, least] = [n, far];
    }
    if (best < 0) return;
    bringIn(best);
    choose(best, false);
  }

  // ---- legend and search
  function light() {
    const asked = words.toLowerCase();
    const found = [];
    for (let n = 0; n < count; n++) {
      const text = `${data.clips[n]}\n${valueOf(column, n)}\n${label ? valueOf(label, n) : ""}`.toLowerCase();
      const hit = !asked || text.includes(asked);
      lit[n] = hit && (only === null || column.values[n] === only) ? 1 : 0;
      if (asked && lit[n]) found.push(n);
    }
    const box = byId("found");
    box.hidden = !asked;
    const list = element("ul");
    for (const clip of found.slice(0, LISTED)) {
      const button = element("button", shown(data.clips[clip]), { type: "button" });
      button.addEventListener("click", () => { bringIn(clip); choose(clip, true); });
      const item = element("li");
      item.append(button);
      list.append(item);
    }
    const more = found.length > LISTED ? `, the first ${LISTED} are` : "";
    box.replaceChildren(element("h2", `Found: ${found.length}${more}`), list);
    point(-1);
    redraw();
  }
  function entry(name, value, amount, image) {
    const item = element("li"), button = element("button", undefined, { type: "button" });
    button.setAttribute("aria-pressed", String(only === value));
    const swatch = element("canvas", undefined, { "aria-hidden": "true", width: 16 * pixels, height: 16 * pixels });
    swatch.getContext("2d").drawImage(image, swatch.width / 2 - image.width / 2, swatch.height / 2 - image.height / 2);
    button.append(swatch, element("span", shown(name)), element("span", String(amount), { class: "count" }));
    button.addEventListener("click", () => {
      only = only === value ? null : value;
      for (const other of byId("legend").querySelectorAll("button")) other.setAttribute("aria-pressed", "false");
      button.setAttribute("aria-pressed", String(only === value));
      light();
    });
    item.append(button);
    return item;
  }
  function explain() {
    const box = byId("legend"), list = element("ul"), amounts = new Map();
    for (const value of column.values) amounts.set(value, (amounts.get(value) || 0) + 1);
    box.replaceChildren(element("h2", shown(column.name)));
    const none = column.kind === "names" ? -1 : null;
    if (column.kind === "names") column.names.forEach((name, place) => {
      list.append(entry(name, place, amounts.get(place) || 0, drawn(...styleOf(place), 5.5)));
    });
    else if (amounts.size > (amounts.has(null) ? 1 : 0)) {
      const { at, log } = range(column), write = column.kind === "times" ? when : rounded;
      const bar = element("div", undefined, { class: "bar" }), ticks = element("div", undefined, { class: "ticks" });
      bar.style.background = `linear-gradient(to right, ${data.scale.join()})`;
      const places = column.kind === "times" ? [0, 1] : [0, 0.5, 1];
      ticks.append(...places.map((part) => element("span", write(at(part)))));
      box.append(bar, ticks);
      if (log) box.append(element("p", "The scale is logarithmic.", { class: "hint" }));
    }
    if (amounts.has(none)) list.append(entry("none", none, amounts.get(none), drawn(grey(), 0, 4.5)));
    if (list.children.length) box.append(list);
  }

  // ---- what people do
  byId("controls").addEventListener("submit", (event) => event.preventDefault());
  byId("colour").addEventListener("change", (event) => {
    column = data.columns[event.target.value];
    only = null;
    paint();
    explain();
    light();
  });
  byId("search").addEventListener("input", (event) => { words = event.target.value.trim(); light(); });
  byId("in").addEventListener("click", () => zoom(1.5));
  byId("out").addEventListener("click", () => zoom(1 / 1.5));
  byId("all").addEventListener("click", showAll);
  canvas.addEventListener("wheel", (event) => {
    event.preventDefault();
    zoom(Math.exp(-Math.max(-60, Math.min(60, event.deltaY)) / 250), event.offsetX, event.offsetY);
  }, { passive: false });

  const fingers = new Map();
  let moved = 0;
  canvas.addEventListener("pointerdown", (event) => {
    canvas.setPointerCapture(event.pointerId);
    fingers.set(event.pointerId, [event.offsetX, event.offsetY]);
    if (fingers.size === 1) moved = 0;
  });
  canvas.addEventListener("pointermove", (event) => {
    const now = [event.offsetX, event.offsetY], before = fingers.get(event.pointerId);
    if (!before) return point(nearest(...now));
    if (fingers.size === 2) {
      const other = [...fingers].find(([id]) => id !== event.pointerId)[1];
      const apart = (one) => Math.hypot(one[0] - other[0], one[1] - other[1]);
      zoom(Math.max(1, apart(now)) / Math.max(1, apart(before)), (now[0] + other[0]) / 2, (now[1] + other[1]) / 2);
      moved = Infinity;
    }
    view.x += (now[0] - before[0]) / fingers.size;
    view.y += (now[1] - before[1]) / fingers.size;
    moved += Math.hypot(now[0] - before[0], now[1] - before[1]);
    fingers.set(event.pointerId, now);
    if (moved > 4) point(-1);
    redraw();
  });
  canvas.addEventListener("pointerup", (event) => {
    fingers.delete(event.pointerId);
    const clip = nearest(event.offsetX, event.offsetY);
    if (moved <= 4 && clip >= 0) choose(clip, true);
  });
  canvas.addEventListener("pointercancel", (event) => fingers.delete(event.pointerId));
  canvas.addEventListener("pointerleave", () => point(-1));
  canvas.addEventListener("keydown", (event) => {
    const does = {
      ArrowLeft: () => step(-1, 0), ArrowRight: () => step(1, 0), ArrowUp: () => step(0, -1),
      ArrowDown: () => step(0, 1), Enter: () => chosen >= 0 && choose(chosen, true),
      " ": () => chosen >= 0 && choose(chosen, true), "+": () => zoom(1.5), "=": () => zoom(1.5),
      "-": () => zoom(1 / 1.5), 0: showAll, Escape: () => { chosen = -1; redraw(); },
    }[event.key];
    if (!does || event.ctrlKey || event.metaKey || event.altKey) return;
    event.preventDefault();
    does();
  });
  const repaint = () => { paint(); explain(); redraw(); };
  dark.addEventListener("change", repaint);
  new ResizeObserver(resize).observe(canvas);
  resize();
  explain();
})();
