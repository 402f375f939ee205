// The explorer of a run: trade-off, contact sheet and the picture in hand, linked.
// One module for two hosts. A notebook calls `render({model, el})` with anywidget's model; a page
// calls it with an object that has `get`. Texts are only ever set as text, never as markup.

const SHAPES = [
  (x, y) => `M${x - 5},${y}a5,5 0 1,0 10,0a5,5 0 1,0 -10,0`,
  (x, y) => `M${x - 4.5},${y - 4.5}h9v9h-9z`,
  (x, y) => `M${x},${y - 6}l6,10.5h-12z`,
  (x, y) => `M${x},${y - 6.5}l6.5,6.5l-6.5,6.5l-6.5,-6.5z`,
];
const LAYOUT = 1;
const SCALE = "scale";
const EMPTY = "data:image/gif;base64,R0lGODlhAQABAAAAACH5BAEKAAEALAAAAAABAAEAAAICTAEAOw==";

function h(tag, attributes = {}, ...children) {
  const made = document.createElement(tag);
  for (const [name, value] of Object.entries(attributes)) {
    if (name.startsWith("on")) made.addEventListener(name.slice(2), value);
    else if (value !== null && value !== false) made.setAttribute(name, value === true ? "" : value);
  }
  made.append(...children);
  return made;
}

function s(tag, attributes = {}, text) {
  const made = document.createElementNS("http://www.w3.org/2000/svg", tag);
  for (const [name, value] of Object.entries(attributes)) made.setAttribute(name, value);
  if (text !== undefined) made.textContent = text;
  return made;
}

const colour = (prompt) => `var(--curve-${prompt % 8})`;
const clamp = (value, low, high) => Math.max(low, Math.min(high, value));
const distinct = (values) => [...new Set(values)];
const known = (value) => value !== null && value !== undefined && !Number.isNaN(value);
const minus = (text) => text.replace("-", "−");

function figure(value) {
  if (!known(value)) return "–";
  const size = Math.abs(value);
  return minus(size >= 100 ? value.toFixed(0) : size >= 10 ? value.toFixed(1) : value.toFixed(2));
}

// ---------------------------------------------------------------------------------- the data

class Data {
  constructor(raw) {
    if (raw.version !== LAYOUT) throw new Error(`this explorer reads layout ${LAYOUT}, not ${raw.version}`);
    Object.assign(this, raw);
    this.count = this.cells.prompt.length;
    this.paired = this.controls.some((control) => control.paired); // at scale 0 of one steers the other
    this.places = new Map();
    const seen = this.controls.map(() => ({ source: new Set(), seed: new Set(), prompt: new Set(), scale: new Set() }));
    for (let i = 0; i < this.count; i++) {
      const at = this.place(i);
      this.places.set(this.key(at), i);
      for (const [name, values] of Object.entries(seen[at.control])) values.add(at[name]);
    }
    // Every value of each place that occurs together with a control.
    this.there = seen.map((one) => Object.fromEntries(Object.entries(one).map(([name, values]) => [name, [...values].sort((a, b) => a - b)])));
    this.means = null;
    this.wordy = this.metrics.words?.values.some(known) ?? false;
  }

  place(cell) {
    const c = this.cells;
    return { control: c.control[cell], source: c.source[cell], seed: c.seed[cell], prompt: c.prompt[cell], scale: c.scale[cell] };
  }

  key(at) {
    return `${at.control}|${at.source}|${at.seed}|${at.prompt}|${at.scale}`;
  }

  find(at) {
    return this.places.get(this.key(at)) ?? -1;
  }

  values(name, control) {
    return this.there[control][name];
  }

  // Pictures that came since; the kernel has put the same into its own data.
  grow(cells) {
    for (const one of cells) {
      this.cells.sample[one.cell] = one.sample;
      this.cells.read[one.cell] = one.read;
      if (one.failed) {
        if (!this.cells.failed.length) this.cells.failed = Array(this.count).fill("");
        this.cells.failed[one.cell] = one.failed;
      }
      this.tags.cells[one.cell] = one.tags;
      for (const [name, [value, chance, ceiling, reason]] of Object.entries(one.values)) {
        const metric = this.metrics[name];
        metric.values[one.cell] = value;
        let at = metric.references.findIndex(([a, b]) => a === chance && b === ceiling);
        if (at < 0) at = metric.references.push([chance, ceiling]) - 1;
        metric.at[one.cell] = at;
        if (reason) metric.reasons[one.cell] = reason;
      }
    }
    this.means = new Map();
    this.wordy ||= this.metrics.words?.values.some(known) ?? false;
  }

  // The points of a curve: [prompt, scale, mean, low, high, on the front]. Of a run that has grown
  // since its intervals were computed the means alone, over seeds and then over sources.
  curve(name, control) {
    if (!this.means) return this.curves[name]?.[this.controls[control].label] ?? [];
    const key = `${name}|${control}`;
    if (!this.means.has(key)) {
      const points = new Map();
      for (let i = 0; i < this.count; i++) {
        const at = this.place(i), value = at.control === control && this.prompts[at.prompt].curve ? this.reading(name, i) : null;
        if (!known(value)) continue;
        const point = `${at.prompt}|${at.scale}`;
        if (!points.has(point)) points.set(point, { at, sources: new Map() });
        const { sources } = points.get(point);
        if (!sources.has(at.source)) sources.set(at.source, []);
        sources.get(at.source).push(value);
      }
      const mean = (values) => values.reduce((a, b) => a + b, 0) / values.length;
      const rows = [...points.values()].map(({ at, sources }) => [at.prompt, this.scales[at.scale], mean([...sources.values()].map(mean)), null, null, false]);
      this.means.set(key, rows.sort((a, b) => a[0] - b[0] || a[1] - b[1]));
    }
    return this.means.get(key);
  }

  value(metric, cell) {
    return cell < 0 ? null : this.metrics[metric]?.values[cell];
  }

  references(metric, cell) {
    const m = this.metrics[metric];
    return (cell >= 0 && m && m.at[cell] >= 0 && m.references[m.at[cell]]) || [null, null];
  }

  adherence(metric, cell) {
    const [chance, ceiling] = this.references(metric, cell);
    const value = this.value(metric, cell);
    if (!this.metrics[metric]?.adheres || !known(value) || !known(chance) || !known(ceiling)) return null;
    return ceiling === chance ? null : (value - chance) / (ceiling - chance);
  }

  promptMetric() {
    return this.wordy ? "words" : "clip_used";
  }

  // The metric that a name stands for: "control" and "prompt" are roles, not metrics.
  metric(name, control) {
    if (name === "control") return this.controls[control].primary;
    return name === "prompt" ? this.promptMetric() : name;
  }

  // What a picture reads by a name of an axis: adherence where the metric has one.
  reading(name, cell) {
    if (name === SCALE) return this.scales[this.cells.scale[cell]];
    const metric = this.metric(name, this.cells.control[cell]);
    return this.metrics[metric]?.adheres ? this.adherence(metric, cell) : this.value(metric, cell);
  }

  adheres(name, control) {
    return Boolean(this.metrics[this.metric(name, control)]?.adheres);
  }

  axisLabel(name, control) {
    if (name === SCALE) return "Conditioning scale";
    if (name === "control") return "Control adherence";
    if (name === "prompt") return "Prompt adherence";
    return this.metrics[name].label + (this.adheres(name, control) ? " (adherence)" : "");
  }

  axes(control) {
    const own = new Set(this.controls.flatMap((c) => c.metrics));
    const mine = new Set(this.controls[control].metrics);
    const rest = Object.keys(this.metrics).filter((m) => !own.has(m) || mine.has(m));
    return ["control", "prompt", SCALE, ...rest.filter((m) => this.curves[m])];
  }

  scaleName(index) {
    const scale = this.scales[index];
    return scale === 0 && !this.paired ? "text only" : `scale ${scale}`;
  }
}

// ---------------------------------------------------------------------------------- pictures

class Pictures {
  constructor(model) {
    this.model = model;
    this.urls = new Map();
    this.asked = new Set();
    this.waiting = new Map();
    this.queue = new Set();
    this.inside = model.get("images") ?? null;
    model.on?.("msg:custom", (message, buffers) => this.receive(message, buffers));
  }

  url(number) {
    if (this.inside && this.inside[number]) return `data:image/webp;base64,${this.inside[number]}`;
    return this.urls.get(number) ?? null;
  }

  show(img, number, alt) {
    img.alt = alt;
    img.dataset.number = number;
    const url = number < 0 ? null : this.url(number);
    img.classList.toggle("wbx-none", !url);
    if (img.getAttribute("src") !== (url ?? EMPTY)) img.setAttribute("src", url ?? EMPTY);
    if (url || number < 0 || this.inside) return;
    if (!this.waiting.has(number)) this.waiting.set(number, new Set());
    this.waiting.get(number).add(img);
    if (this.asked.has(number)) return;
    this.asked.add(number);
    if (this.queue.size === 0) requestAnimationFrame(() => this.ask());
    this.queue.add(number);
  }

  ask() {
    this.model.send?.({ kind: "pictures", numbers: [...this.queue] });
    this.queue.clear();
  }

  // At its full size, once; a page has no larger one.
  large(number, then) {
    if (this.inside || number < 0 || !this.model.send) return;
    this.awaited = { number, then };
    this.model.send({ kind: "large", numbers: [number] });
  }

  receive(message, buffers) {
    if (message?.kind === "large" && message.numbers[0] === this.awaited?.number) {
      this.awaited.then(URL.createObjectURL(new Blob([buffers[0]], { type: "image/webp" })));
      this.awaited = null;
    }
    if (message?.kind !== "pictures") return;
    message.numbers.forEach((number, i) => {
      this.urls.set(number, URL.createObjectURL(new Blob([buffers[i]], { type: "image/webp" })));
      for (const img of this.waiting.get(number) ?? []) {
        if (Number(img.dataset.number) === number) this.show(img, number, img.alt);
      }
      this.waiting.delete(number);
    });
  }

  // Numbers may mean other pictures after new data.
  forget() {
    this.close();
    this.urls.clear();
    this.asked.clear();
    this.waiting.clear();
  }

  close() {
    for (const url of this.urls.values()) URL.revokeObjectURL(url);
  }
}

// ---------------------------------------------------------------------------------- chart

function ticks(low, high, wanted = 6) {
  const raw = (high - low) / wanted;
  const size = 10 ** Math.floor(Math.log10(raw));
  const step = [1, 2, 2.5, 5, 10].map((f) => f * size).find((f) => f >= raw);
  const found = [];
  for (let v = Math.ceil(low / step) * step; v <= high + step * 1e-6; v += step) found.push(Math.abs(v) < step * 1e-6 ? 0 : v);
  return found.map((v) => Number(v.toPrecision(10)));
}

function span(values, keep) {
  const all = [...values.filter(known), ...keep];
  if (!all.length) return [0, 1];
  const low = Math.min(...all), high = Math.max(...all);
  const margin = (high - low || Math.abs(high) || 1) * 0.07;
  return [low - margin, high + margin];
}

class Chart {
  constructor(explorer) {
    this.explorer = explorer;
    this.svg = s("svg", { role: "img" });
    this.legend = h("div", { class: "wbx-legend", role: "group", "aria-label": "Prompt length" });
    this.x = h("select", { "aria-label": "Horizontal axis", onchange: (e) => explorer.axis("x", e.target.value) });
    this.y = h("select", { "aria-label": "Vertical axis", onchange: (e) => explorer.axis("y", e.target.value) });
    this.plot = h("div", { class: "wbx-plot" }, this.svg);
    this.el = h("div", { class: "wbx-chart" }, h("div", { class: "wbx-axes" }, this.y, h("span", {}, "over"), this.x, this.legend), this.plot);
    this.drawn = "";
    this.observer = new ResizeObserver(() => explorer.at && this.update()); // there is no place while nothing is made
    this.observer.observe(this.plot);
  }

  update() {
    const { at, data } = this.explorer;
    if (!at) return; // nothing has been made yet
    const width = Math.max(260, this.plot.clientWidth), height = Math.max(180, this.plot.clientHeight);
    const what = [at.control, this.explorer.x, this.explorer.y, width, height, this.explorer.stamp].join();
    if (what !== this.drawn) {
      this.drawn = what;
      this.draw(width, height, data, at);
    }
    this.mark(data, at);
  }

  options(select, chosen, data, control) {
    const names = data.axes(control);
    select.replaceChildren(...names.map((name) => h("option", { value: name, selected: name === chosen }, data.axisLabel(name, control))));
  }

  draw(width, height, data, at) {
    const { x, y } = this.explorer;
    this.options(this.x, x, data, at.control);
    this.options(this.y, y, data, at.control);
    const left = 46, bottom = 40, top = 12, right = 14;
    const label = data.controls[at.control].label;
    const rows = (name) => data.curve(name, at.control);
    const other = new Map(rows(x).map((r) => [`${r[0]}|${r[1]}`, r]));
    const source = x === SCALE ? rows(y).map((r) => [r, [r[0], r[1], r[1], null, null]]) : rows(y).map((r) => [r, other.get(`${r[0]}|${r[1]}`)]);
    const own = y === SCALE ? rows(x).map((r) => [[r[0], r[1], r[1], null, null], r]) : source;
    this.points = own.filter(([, b]) => b).map(([a, b]) => ({
      prompt: a[0], scale: data.scales.indexOf(a[1]),
      x: b[2], xl: b[3], xh: b[4], y: a[2], yl: a[3], yh: a[4], front: Boolean(b[5]) && x === "control" && y === "prompt",
    }));
    const refs = (name) => (name !== SCALE && data.adheres(name, at.control) ? [0, 1] : []);
    this.xs = span(this.points.map((p) => p.x), x === SCALE ? [] : refs(x));
    this.ys = span(this.points.map((p) => p.y), refs(y));
    this.X = (v) => left + ((v - this.xs[0]) / (this.xs[1] - this.xs[0])) * (width - left - right);
    this.Y = (v) => height - bottom - ((v - this.ys[0]) / (this.ys[1] - this.ys[0])) * (height - bottom - top);
    this.box = { left, right: width - right, top, bottom: height - bottom };
    const svg = this.svg;
    svg.setAttribute("viewBox", `0 0 ${width} ${height}`);
    svg.setAttribute("width", width);
    svg.setAttribute("height", height);
    svg.replaceChildren();
    for (const v of ticks(...this.xs)) {
      svg.append(s("line", { class: "wbx-grid", x1: this.X(v), x2: this.X(v), y1: top, y2: height - bottom }));
      svg.append(s("text", { x: this.X(v), y: height - bottom + 15, "text-anchor": "middle" }, minus(String(v))));
    }
    for (const v of ticks(...this.ys, 5)) {
      svg.append(s("line", { class: "wbx-grid", x1: left, x2: width - right, y1: this.Y(v), y2: this.Y(v) }));
      svg.append(s("text", { x: left - 6, y: this.Y(v) + 4, "text-anchor": "end" }, minus(String(v))));
    }
    const names = ["chance", "ceiling"];
    refs(x).forEach((v, i) => {
      svg.append(s("line", { class: "wbx-ref", x1: this.X(v), x2: this.X(v), y1: top, y2: height - bottom }));
      svg.append(s("text", { class: "wbx-refname", x: this.X(v) + 3, y: height - bottom - 4 }, names[i]));
    });
    refs(y).forEach((v, i) => {
      svg.append(s("line", { class: "wbx-ref", x1: left, x2: width - right, y1: this.Y(v), y2: this.Y(v) }));
      svg.append(s("text", { class: "wbx-refname", x: width - right - 2, y: this.Y(v) - 4, "text-anchor": "end" }, names[i]));
    });
    svg.append(s("text", { class: "wbx-title", x: (left + width - right) / 2, y: height - 6, "text-anchor": "middle" }, `${data.axisLabel(x, at.control)} →`));
    svg.append(s("text", { class: "wbx-title", transform: `translate(12 ${(top + height - bottom) / 2}) rotate(-90)`, "text-anchor": "middle" }, `${data.axisLabel(y, at.control)} →`));
    svg.setAttribute("aria-label", `${data.axisLabel(y, at.control)} over ${data.axisLabel(x, at.control)}, a curve for each prompt length`);
    this.lines = new Map();
    this.marks = new Map();
    const prompts = distinct(this.points.map((p) => p.prompt)).sort((a, b) => a - b);
    for (const prompt of prompts) {
      const mine = this.points.filter((p) => p.prompt === prompt);
      const line = s("path", { class: "wbx-curve", style: `stroke: ${colour(prompt)}`, d: `M${mine.map((p) => `${this.X(p.x)},${this.Y(p.y)}`).join("L")}` });
      svg.append(line);
      this.lines.set(prompt, line);
    }
    for (const p of this.points) {
      const x0 = this.X(p.x), y0 = this.Y(p.y);
      const group = s("g", { class: "wbx-point" });
      group.append(s("circle", { class: "wbx-hit", cx: x0, cy: y0, r: 11 }));
      group.append(s("path", { d: SHAPES[p.prompt % SHAPES.length](x0, y0), style: `fill: ${colour(p.prompt)}`, stroke: p.front ? "currentColor" : "none" }));
      group.append(s("title", {}, `${data.prompts[p.prompt].label}, ${data.scaleName(p.scale)}${p.front ? "; no other point clearly beats it" : ""}`));
      group.addEventListener("pointerenter", () => this.explorer.look({ prompt: p.prompt, scale: p.scale }));
      group.addEventListener("click", () => this.explorer.pin({ prompt: p.prompt, scale: p.scale }));
      svg.append(group);
      this.marks.set(`${p.prompt}|${p.scale}`, group);
    }
    if (x === "control" && y === "prompt") {
      for (const spot of data.spots.filter((w) => w.control === label)) {
        const p = this.points.find((q) => q.prompt === spot.prompt && data.scales[q.scale] === spot.scale);
        if (!p) continue;
        const star = s("text", { class: "wbx-star", x: this.X(p.x) - 19, y: this.Y(p.y) + 5, style: `fill: ${colour(p.prompt)}` }, "★");
        const range = spot.low === spot.high ? "" : `, not clearly worse from ${spot.low} to ${spot.high}`;
        star.append(s("title", {}, `the best balance with ${data.prompts[spot.prompt].label}: scale ${spot.scale}${range}`));
        svg.append(star);
      }
    }
    this.over = s("g", { class: "wbx-over" });
    svg.append(this.over);
    this.legend.replaceChildren(...prompts.map((prompt) => {
      const icon = s("svg", { width: 14, height: 14, "aria-hidden": "true" });
      icon.append(s("path", { d: SHAPES[prompt % SHAPES.length](7, 7), style: `fill: ${colour(prompt)}` }));
      const button = h("button", { type: "button", "data-prompt": prompt, onclick: () => this.explorer.go({ prompt }) }, icon, data.prompts[prompt].label);
      return button;
    }));
  }

  mark(data, at) {
    for (const [prompt, line] of this.lines) line.classList.toggle("wbx-on", prompt === at.prompt);
    for (const [key, group] of this.marks) {
      group.classList.toggle("wbx-on", key === `${at.prompt}|${at.scale}`);
      group.classList.toggle("wbx-mine", key.startsWith(`${at.prompt}|`));
    }
    for (const b of this.legend.children) b.setAttribute("aria-pressed", Number(b.dataset.prompt) === at.prompt);
    this.over.replaceChildren();
    const point = this.points.find((p) => p.prompt === at.prompt && p.scale === at.scale);
    if (point) this.interval(point);
    this.ring(this.explorer.cell, "wbx-ring");
    this.explorer.pins.forEach((cell) => this.ring(cell, "wbx-ring wbx-pinned"));
    this.names(data, at);
  }

  interval(p) {
    const { left, right, top, bottom } = this.box;
    const reach = (low, high, to, from, until) => [low, high].map((v) => (known(v) ? clamp(to(v), from, until) : null));
    const [x0, x1] = reach(p.xl, p.xh, this.X, left, right);
    const [y0, y1] = reach(p.yh, p.yl, this.Y, top, bottom);
    const cx = this.X(p.x), cy = this.Y(p.y);
    const arrow = (x, y, dx, dy) => this.over.append(s("path", { class: "wbx-arrow", d: `M${x},${y}l${-5 * dx - 4 * dy},${-5 * dy - 4 * dx}l${8 * dy},${8 * dx}z` }));
    if (known(x0)) {
      this.over.append(s("line", { class: "wbx-interval", x1: x0, x2: x1, y1: cy, y2: cy }));
      if (this.X(p.xh) > right) arrow(right, cy, 1, 0);
      if (this.X(p.xl) < left) arrow(left, cy, -1, 0);
    }
    if (known(y0)) {
      this.over.append(s("line", { class: "wbx-interval", x1: cx, x2: cx, y1: y0, y2: y1 }));
      if (this.Y(p.yh) < top) arrow(cx, top, 0, -1);
      if (this.Y(p.yl) > bottom) arrow(cx, bottom, 0, 1);
    }
  }

  // The picture in hand beside the mean over all sources and seeds; at the frame where it is outside.
  ring(cell, name) {
    if (cell < 0 || this.explorer.data.cells.control[cell] !== this.explorer.at.control) return;
    const x = this.explorer.data.reading(this.explorer.x, cell), y = this.explorer.data.reading(this.explorer.y, cell);
    if (!known(x) || !known(y)) return;
    const { left, right, top, bottom } = this.box;
    const ring = s("circle", { class: name, cx: clamp(this.X(x), left, right), cy: clamp(this.Y(y), top, bottom), r: 9 });
    ring.append(s("title", {}, `this picture: ${figure(x)} over, ${figure(y)} up`));
    this.over.append(ring);
  }

  // The scales beside the points of the curve in hand, where there is room.
  names(data, at) {
    const mine = this.points.filter((p) => p.prompt === at.prompt);
    const taken = this.points.map((p) => ({ x: this.X(p.x) - 6, y: this.Y(p.y) - 6, w: 12, h: 12 }));
    const { left, right, top, bottom } = this.box;
    const order = [...mine].sort((a, b) => (b.scale === at.scale) - (a.scale === at.scale));
    for (const p of order) {
      const text = String(data.scales[p.scale]), w = 7 * text.length + 2;
      for (const [dx, dy] of [[9, -8], [9, 16], [-9 - w, -8], [-9 - w, 16], [-w / 2, -12], [-w / 2, 22]]) {
        const box = { x: this.X(p.x) + dx, y: this.Y(p.y) + dy - 10, w, h: 12 };
        const inside = box.x > left && box.x + w < right && box.y > top && box.y + 12 < bottom;
        const free = taken.every((t) => box.x + box.w < t.x || t.x + t.w < box.x || box.y + box.h < t.y || t.y + t.h < box.y);
        if (!inside || !free) continue;
        taken.push(box);
        this.over.append(s("text", { class: "wbx-scale", x: box.x + 1, y: box.y + 10 }, text));
        break;
      }
    }
  }
}

// ---------------------------------------------------------------------------------- sheet

class Sheet {
  constructor(explorer) {
    this.explorer = explorer;
    this.grid = h("div", { class: "wbx-sheet", role: "grid", "aria-label": "Pictures: prompt lengths down, scales across" });
    this.key = h("p", { class: "wbx-key" }, h("i", { class: "wbx-p" }), " prompt  ", h("i", { class: "wbx-c" }), " control adherence. Hover to look, click to pin, arrow keys walk.");
    this.el = h("div", { class: "wbx-sheetbox" }, this.grid, this.key);
    this.built = "";
    this.observer = new ResizeObserver(() => this.size());
    this.observer.observe(this.el);
  }

  build(data, at) {
    this.rows = [...data.values("prompt", at.control)].reverse();
    this.columns = data.values("scale", at.control);
    this.cells = new Map();
    const head = h("div", { role: "row", class: "wbx-row" }, h("span", { role: "columnheader" }, h("span", { class: "wbx-hidden" }, "prompt")),
      ...this.columns.map((k) => h("span", { role: "columnheader", class: "wbx-head" }, data.scales[k] === 0 ? data.scaleName(k) : String(data.scales[k]))));
    const lines = this.rows.map((p) => {
      const buttons = this.columns.map((k) => {
        const img = h("img", { alt: "", draggable: "false" });
        const button = h("button", { type: "button", tabindex: -1, onpointerenter: () => this.explorer.look({ prompt: p, scale: k }), onclick: () => this.explorer.pin({ prompt: p, scale: k }) },
          img, h("i", { class: "wbx-p" }), h("i", { class: "wbx-c" }));
        this.cells.set(`${p}|${k}`, { button, img });
        return h("span", { role: "gridcell" }, button);
      });
      return h("div", { role: "row", class: "wbx-row" }, h("span", { role: "rowheader", class: "wbx-label", dir: "auto" }, data.prompts[p].label), ...buttons);
    });
    this.grid.replaceChildren(head, ...lines);
    this.grid.style.setProperty("--columns", this.columns.length);
    this.size();
  }

  size() {
    if (!this.columns) return;
    const width = this.el.clientWidth - 76, height = this.el.clientHeight - 46;
    const wide = (width - 4 * this.columns.length) / this.columns.length;
    const high = (height - 4 * this.rows.length) / this.rows.length;
    this.grid.style.setProperty("--side", `${Math.floor(clamp(Math.min(wide, high), 44, 190))}px`);
  }

  update() {
    const { at, data, pictures } = this.explorer;
    // Not built anew under the pointer while a run grows.
    const rows = data.values("prompt", at.control).map((p) => [p, data.prompts[p].label]);
    const columns = data.values("scale", at.control).map((k) => [k, data.scales[k]]);
    const what = JSON.stringify([at.control, rows, columns]);
    if (what !== this.built) {
      this.built = what;
      this.build(data, at);
    }
    for (const p of this.rows) {
      for (const k of this.columns) {
        const { button, img } = this.cells.get(`${p}|${k}`);
        const cell = data.find({ ...at, prompt: p, scale: k });
        const on = p === at.prompt && k === at.scale;
        button.classList.toggle("wbx-on", on);
        button.classList.toggle("wbx-pinned", cell >= 0 && this.explorer.pins.includes(cell));
        button.tabIndex = on ? 0 : -1;
        const failed = cell >= 0 && data.cells.failed[cell];
        const unmade = cell >= 0 && !failed && data.cells.sample[cell] < 0;
        button.classList.toggle("wbx-empty", cell < 0 || Boolean(failed) || unmade);
        button.title = failed || (unmade && this.explorer.model.get("makes") ? "not made yet: click to make it" : "");
        const control = data.reading("control", cell), prompt = cell < 0 ? null : data.reading("prompt", cell);
        button.style.setProperty("--c", clamp(control ?? 0, 0, 1));
        button.style.setProperty("--p", clamp(prompt ?? 0, 0, 1));
        const told = cell < 0 || unmade ? "not made yet" : failed ? `no picture: ${failed}` : `prompt ${figure(prompt)}, control ${figure(control)}`;
        button.setAttribute("aria-label", `${data.prompts[p].label}, ${data.scaleName(k)}: ${told}`);
        if (on) button.setAttribute("aria-current", "true");
        else button.removeAttribute("aria-current");
        pictures.show(img, cell < 0 || failed ? -1 : data.cells.sample[cell], "");
      }
    }
  }

  focus() {
    const { at } = this.explorer;
    this.cells.get(`${at.prompt}|${at.scale}`)?.button.focus({ preventScroll: true });
  }
}

// ---------------------------------------------------------------------------------- in hand

const BLENDS = {
  maps: ["wanted map", "map read back"],
  source: ["source", "picture"],
  pinned: ["pinned picture", "picture"],
};

class Hand {
  constructor(explorer) {
    this.explorer = explorer;
    const tile = (name) => {
      const img = h("img", { alt: "", onclick: () => explorer.zoom(img) });
      const caption = h("figcaption", {}, name);
      return { el: h("figure", { class: "wbx-tile" }, img, caption), img, caption };
    };
    this.tiles = Object.fromEntries([["source", "source"], ["wanted", "wanted map"], ["sample", "picture"], ["read", "map read back"]].map(([key, name]) => [key, tile(name)]));
    this.pinned = tile("pinned");
    this.under = h("img", { alt: "" });
    this.upper = h("img", { alt: "" });
    this.mix = h("input", { type: "range", min: 0, max: 1, step: 0.02, value: 0.5, "aria-label": "Blend", oninput: () => this.blend() });
    this.pair = h("select", { "aria-label": "What is blended", onchange: () => this.update() }, ...Object.entries(BLENDS).map(([key, [a, b]]) => h("option", { value: key }, `${a} ↔ ${b}`)));
    this.wipe = h("input", { type: "checkbox", onchange: () => this.blend() });
    this.stack = h("div", { class: "wbx-stack" }, this.under, this.upper);
    const mixer = h("figure", { class: "wbx-tile" }, this.stack, h("figcaption", {}, this.pair, h("span", { class: "wbx-mix" }, this.mix, h("label", {}, this.wipe, "wipe"))));
    this.scrubs = { scale: this.scrub("scale", "Conditioning scale"), prompt: this.scrub("prompt", "Prompt length") };
    this.words = h("div", { class: "wbx-words", role: "list", "aria-label": "Words of the prompt" });
    this.bars = h("div", { class: "wbx-bars", role: "table", tabindex: "0", "aria-label": "Readings of this picture" });
    this.rows = new Map();
    this.look = h("img", { alt: "The picture in the making" });
    this.growing = h("div", { class: "wbx-growing", hidden: true }, this.look, h("span"));
    this.el = h("div", { class: "wbx-hand" },
      h("div", { class: "wbx-tiles" }, this.tiles.source.el, this.tiles.sample.el, this.pinned.el, this.tiles.wanted.el, this.tiles.read.el, mixer),
      h("div", { class: "wbx-scrubs" }, ...Object.values(this.scrubs).flatMap((x) => [x.name, x.input, x.value])),
      this.words, this.bars);
  }

  scrub(place, name) {
    const id = `wbx-${place}-${Math.random().toString(36).slice(2)}`;
    const input = h("input", { type: "range", min: 0, step: 1, id, oninput: () => this.explorer.go({ [place]: this.scrubs[place].values[Number(input.value)] }) });
    return { name: h("label", { for: id }, name), input, value: h("output", { for: id }), values: [] };
  }

  update() {
    const { at, data, pictures, cell } = this.explorer;
    const source = data.sources[at.source], pin = this.explorer.pins.find((c) => c !== cell) ?? -1;
    const numbers = {
      source: source.picture,
      wanted: cell < 0 ? -1 : data.cells.wanted[cell],
      sample: cell < 0 ? -1 : data.cells.sample[cell],
      read: cell < 0 ? -1 : data.cells.read[cell],
      pinned: pin < 0 ? -1 : data.cells.sample[pin],
    };
    const what = `${data.prompts[at.prompt].label}, ${data.scaleName(at.scale)}, seed ${data.seeds[at.seed]}`;
    pictures.show(this.tiles.source.img, numbers.source, `Source: ${source.label}`);
    pictures.show(this.tiles.wanted.img, numbers.wanted, `Wanted map: ${data.controls[at.control].name}`);
    pictures.show(this.tiles.sample.img, numbers.sample, `Picture: ${what}`);
    pictures.show(this.tiles.read.img, numbers.read, "Map read back from the picture");
    pictures.show(this.pinned.img, numbers.pinned, pin < 0 ? "" : `Pinned: ${this.told(pin)}`);
    this.tiles.source.caption.textContent = `source: ${source.label}`;
    this.tiles.sample.caption.textContent = cell < 0 || (data.cells.sample[cell] < 0 && !data.cells.failed[cell]) ? "not made yet" : data.cells.failed[cell] || what;
    this.tiles.read.caption.textContent = numbers.read < 0 ? "map read back: not in this page" : "map read back";
    this.pinned.caption.textContent = pin < 0 ? "click a picture to pin it here" : `pinned: ${this.told(pin)}`;
    this.pinned.el.classList.toggle("wbx-vacant", pin < 0);
    const [a, b] = { maps: [numbers.wanted, numbers.read], source: [numbers.source, numbers.sample], pinned: [numbers.pinned, numbers.sample] }[this.pair.value];
    pictures.show(this.under, a, BLENDS[this.pair.value][0]);
    pictures.show(this.upper, b, BLENDS[this.pair.value][1]);
    this.blend();
    for (const place of ["scale", "prompt"]) this.slide(place, data, at);
    this.chips(data, at, cell);
    this.readings(data, at, cell, pin);
  }

  // A picture in the making lies over the one in hand, which is then that of before, as are its
  // figures; `making` is {told, look}, empty when none is being made.
  grow(making) {
    const busy = Boolean(making?.told);
    const root = this.explorer.root, place = root.classList.contains("wbx-vacant") ? root : this.tiles.sample.el;
    if (this.growing.parentNode !== place) place.append(this.growing);
    this.el.classList.toggle("wbx-stale", busy);
    this.growing.hidden = !busy;
    if (this.grown) URL.revokeObjectURL(this.grown);
    this.grown = busy && making.look?.byteLength ? URL.createObjectURL(new Blob([making.look], { type: "image/png" })) : null;
    this.look.hidden = !this.grown; // until there is something to see, that of before is seen
    this.look.src = this.grown ?? EMPTY;
    this.growing.lastChild.textContent = busy ? making.told : "";
  }

  told(cell) {
    const { data } = this.explorer, at = data.place(cell);
    return `${data.prompts[at.prompt].label}, ${data.scaleName(at.scale)}, seed ${data.seeds[at.seed]}`;
  }

  blend() {
    const share = Number(this.mix.value);
    this.upper.style.opacity = this.wipe.checked ? 1 : share;
    this.upper.style.clipPath = this.wipe.checked ? `inset(0 ${100 - 100 * share}% 0 0)` : "none";
  }

  slide(place, data, at) {
    const scrub = this.scrubs[place];
    scrub.values = data.values(place, at.control);
    scrub.input.max = Math.max(0, scrub.values.length - 1);
    scrub.input.value = scrub.values.indexOf(at[place]);
    const text = place === "scale" ? data.scaleName(at.scale) : data.prompts[at.prompt].label;
    scrub.value.textContent = text;
    scrub.input.setAttribute("aria-valuetext", text);
  }

  chips(data, at, cell) {
    const whole = cell < 0 ? [] : data.wholes[data.cells.whole[cell]];
    const used = cell < 0 ? "" : data.texts[data.cells.text[cell]];
    const read = new Map((cell < 0 ? [] : data.tags.cells[cell]).map((row) => [row[0], row]));
    if (!whole.length) {
      this.words.replaceChildren(h("span", { role: "listitem", class: "wbx-text", dir: "auto" }, used || "no prompt"));
      return;
    }
    const cut = new Set(data.cuts[data.cells.cut[cell]]);
    while (this.words.children.length > whole.length) this.words.lastChild.remove();
    whole.forEach((word, i) => {
      const chip = this.words.children[i] ?? this.words.appendChild(h("span", { role: "listitem", dir: "auto" }));
      const name = data.tags.names[word], kept = !cut.has(word);
      const [, percent = -1, obeyed = -1, shown = -1] = read.get(word) ?? [];
      const state = !kept ? "cut" : obeyed === 1 ? "obeyed" : obeyed === 0 ? "lost" : "unknown";
      chip.textContent = name;
      chip.className = `wbx-word wbx-${state}`;
      chip.style.setProperty("--share", clamp(percent / 100, 0, 1));
      const said = { cut: "not in the prompt that is read", obeyed: "obeyed", lost: "asked for and not to be seen", unknown: "not judged" }[state];
      const sees = percent < 0 ? "" : `; the judge sees it with ${percent} %`;
      const source = shown < 0 ? "" : shown ? "; the source shows it too" : "; the source contradicts it";
      chip.title = `${said}${sees}${source}`;
      chip.setAttribute("aria-label", `${name}: ${chip.title}`);
    });
  }

  readings(data, at, cell, pin) {
    const control = data.controls[at.control], prompt = data.promptMetric();
    const names = distinct(["prompt", "control", ...control.metrics.slice(1), "clip_used", "clip_full", "clip_source", ...Object.keys(data.metrics).filter((m) => m.startsWith("diversity") || m.startsWith("bases"))]);
    const wanted = names.filter((n) => n === "control" || n === "prompt" || (data.metrics[n] && n !== prompt));
    for (const [name, row] of this.rows) if (!wanted.includes(name)) { row.el.remove(); this.rows.delete(name); }
    wanted.forEach((name, i) => {
      if (!this.rows.has(name)) {
        const parts = { name: h("span", { role: "rowheader" }), mark: h("u"), other: h("u", { class: "wbx-other" }), value: h("span", { role: "cell", class: "wbx-value" }) };
        parts.bar = h("span", { role: "cell", class: "wbx-bar" }, parts.other, parts.mark);
        parts.el = h("div", { role: "row", class: "wbx-reading" }, parts.name, parts.bar, parts.value);
        this.rows.set(name, parts);
      }
      const row = this.rows.get(name), metric = data.metric(name, at.control), m = data.metrics[metric];
      if (this.bars.children[i] !== row.el) this.bars.insertBefore(row.el, this.bars.children[i] ?? null);
      const value = data.value(metric, cell), share = data.adherence(metric, cell), before = data.adherence(metric, pin);
      const [chance, ceiling] = data.references(metric, cell);
      const headline = name === "control" || name === "prompt";
      row.el.classList.toggle("wbx-first", headline);
      row.el.dataset.role = headline ? name : "";
      row.name.textContent = headline ? (name === "control" ? "Control obeyed" : "Prompt obeyed") : m?.label ?? metric;
      row.value.textContent = headline ? figure(share ?? value) : figure(value) + (m?.unit && m.unit !== "/255" ? m.unit : "");
      row.bar.classList.toggle("wbx-plain", !known(share));
      this.at(row.mark, share);
      this.at(row.other, before);
      const why = m?.reasons[cell] ? `. ${m.reasons[cell]}` : "";
      row.el.title = m ? `${m.label}: ${figure(value)}; chance ${figure(chance)}, ceiling ${figure(ceiling)}, ${m.better > 0 ? "higher" : "lower"} is better${why}. ${m.about}` : "not measured";
    });
  }

  at(mark, share) {
    mark.hidden = !known(share);
    if (known(share)) mark.style.left = `${((clamp(share, -0.25, 1.25) + 0.25) / 1.5) * 100}%`;
  }
}

// ---------------------------------------------------------------------------------- who is driving

const PARTS = { text: "var(--prompt)", control: "var(--control)", interaction: "var(--dim)" };
const PULLS = { ahead: "who pulls harder", text: "where the text pulls", control: "where the control pulls", interaction: "where they change each other" };
const TINTS = { text: [230, 159, 0], control: [0, 114, 178], interaction: [181, 81, 140] };

// Text, control and interaction over the denoising steps; the picture so far, and who pulls where.
class Driving {
  constructor(explorer) {
    this.explorer = explorer;
    this.step = 0;
    this.drawn = "";
    this.svg = s("svg", { role: "img" });
    this.svg.addEventListener("click", (e) => this.go(this.stepAt(e)));
    this.svg.addEventListener("pointermove", (e) => (e.buttons ? this.go(this.stepAt(e)) : null));
    this.plot = h("div", { class: "wbx-plot" }, this.svg);
    const change = () => this.update();
    this.kind = h("select", { "aria-label": "Influence", onchange: change }, h("option", { value: "guided" }, "on the step taken"), h("option", { value: "before" }, "before guidance"));
    this.map = h("select", { "aria-label": "Map on the picture", onchange: () => this.show() }, ...Object.entries(PULLS).map(([key, text]) => h("option", { value: key }, text)));
    this.key = h("div", { class: "wbx-drivekey" }, ...Object.entries(PARTS).map(([part, ink]) => h("span", {}, h("i", { style: `background: ${ink}` }), part)));
    this.picture = h("img", { alt: "", onclick: () => explorer.zoom(this.picture) });
    this.raw = h("img", { alt: "", hidden: true, onload: () => this.paint() });
    this.canvas = h("canvas", { "aria-hidden": "true" });
    this.caption = h("span", {});
    const id = `wbx-step-${Math.random().toString(36).slice(2)}`;
    this.input = h("input", { type: "range", min: 1, step: 1, id, oninput: () => this.go(Number(this.input.value)) });
    this.value = h("output", { for: id });
    this.told = h("p", { class: "wbx-driven", tabindex: 0 }); // it may scroll
    this.el = h("div", { class: "wbx-driving" },
      h("div", { class: "wbx-axes" }, h("span", {}, "Influence"), this.kind, this.key),
      h("div", { class: "wbx-drivebody" }, this.plot, h("figure", { class: "wbx-tile" }, h("div", { class: "wbx-stack" }, this.picture, this.canvas, this.raw), h("figcaption", {}, this.map, this.caption))),
      h("div", { class: "wbx-scrubs" }, h("label", { for: id }, "Denoising step"), this.input, this.value), this.told);
    this.observer = new ResizeObserver(() => this.update());
    this.observer.observe(this.plot);
  }

  // Who is driving in the picture in hand, and in all of its control, prompt and scale.
  look() {
    const { data, at, cell } = this.explorer;
    if (this.of !== data) {
      this.of = data;
      this.groups = new Map();
      for (const [seen, one] of Object.entries(data.driving.cells)) {
        const place = data.place(Number(seen));
        this.groups.set(`${place.control}|${place.prompt}|${place.scale}`, one.group);
      }
    }
    this.own = data.driving.cells[cell] ?? null;
    const group = this.own?.group ?? this.groups.get(`${at.control}|${at.prompt}|${at.scale}`);
    this.group = data.driving.groups[group] ?? null;
  }

  update() {
    const { data } = this.explorer;
    if (this.el.hidden || !data?.driving) return;
    this.look();
    const none = !this.group;
    this.told.textContent = none ? "Nobody looked at this picture: at scale 0 the text drives alone, and other pictures are looked at by “workbench influence”." : this.group.said;
    this.told.title = this.told.textContent;
    this.steps = none ? 1 : this.group.figures.text.length;
    this.input.max = this.steps;
    if (!this.step) this.step = Math.ceil(this.steps / 4);
    this.step = clamp(this.step, 1, this.steps);
    const width = Math.max(220, this.plot.clientWidth), height = Math.max(120, this.plot.clientHeight);
    const what = [this.explorer.stamp, this.explorer.cell, data.driving.groups.indexOf(this.group), this.kind.value, width, height].join();
    if (what !== this.drawn) {
      this.drawn = what;
      this.draw(width, height);
    }
    this.show();
  }

  draw(width, height) {
    const { svg, group, steps } = this, left = 40, bottom = 34, top = 14, right = 8;
    svg.setAttribute("viewBox", `0 0 ${width} ${height}`);
    svg.setAttribute("width", width);
    svg.setAttribute("height", height);
    svg.replaceChildren();
    this.line = s("line", { class: "wbx-stepline", y1: top, y2: height - bottom });
    if (!group) return;
    const guided = this.kind.value === "guided", name = (part) => (guided ? `guided ${part}` : part);
    const rows = Object.keys(PARTS).map((part) => [part, group.figures[name(part)], this.own?.figures[name(part)]]);
    // Intervals of few sources may be far wider than anything that was seen: the frame cuts them.
    const most = Math.max(...rows.flatMap(([, means, own]) => [...means.map(([mean]) => mean), ...(own ?? [])]).filter(known), 1e-9) * 1.5;
    this.X = (step) => left + ((step - 0.5) / steps) * (width - left - right);
    const Y = (v) => height - bottom - (clamp(v, 0, most) / most) * (height - bottom - top);
    for (const v of ticks(0, most, 4)) {
      svg.append(s("line", { class: "wbx-grid", x1: left, x2: width - right, y1: Y(v), y2: Y(v) }));
      svg.append(s("text", { x: left - 5, y: Y(v) + 4, "text-anchor": "end" }, String(v)));
    }
    for (const v of ticks(1, steps, 5).filter((t) => Number.isInteger(t) && t > 0)) svg.append(s("text", { x: this.X(v), y: height - bottom + 14, "text-anchor": "middle" }, String(v)));
    svg.append(s("text", { class: "wbx-title", x: (left + width - right) / 2, y: height - 5, "text-anchor": "middle" }, "Denoising step →"));
    const each = (width - left - right) / steps;
    group.ahead[this.kind.value].forEach((who, i) => {
      if (!who) return;
      const mark = s("rect", { x: this.X(i + 1) - each / 2, width: each, y: 3, height: 6, style: `fill: ${PARTS[who]}` });
      mark.append(s("title", {}, `step ${i + 1}: the ${who} clearly pulls harder`));
      svg.append(mark);
    });
    for (const [part, means, own] of rows) {
      const band = means.map(([, low, high], i) => [this.X(i + 1), low, high]).filter(([, low, high]) => known(low) && known(high));
      if (band.length) svg.append(s("path", { class: "wbx-band", style: `fill: ${PARTS[part]}`, d: `M${[...band.map(([x, low]) => `${x},${Y(low)}`), ...band.reverse().map(([x, , high]) => `${x},${Y(high)}`)].join("L")}Z` }));
      const path = (values) => `M${values.map((v, i) => `${this.X(i + 1)},${Y(v ?? 0)}`).join("L")}`;
      svg.append(s("path", { class: "wbx-curve wbx-on", style: `stroke: ${PARTS[part]}`, d: path(means.map(([mean]) => mean)) }));
      if (own) svg.append(s("path", { class: "wbx-own", style: `stroke: ${PARTS[part]}`, d: path(own) }));
    }
    svg.append(this.line);
    svg.setAttribute("aria-label", `Influence of text, control and interaction ${guided ? "on the step taken" : "on the prediction before guidance"} over ${steps} denoising steps. ${group.said}`);
  }

  stepAt(event) {
    const box = this.svg.getBoundingClientRect();
    return Math.round(((event.clientX - box.left - 40) / (box.width - 48)) * this.steps + 0.5);
  }

  go(step) {
    this.step = clamp(step, 1, this.steps);
    this.show();
  }

  // What belongs to the step; the curves stay.
  show() {
    const { pictures } = this.explorer;
    this.input.value = this.step;
    this.value.textContent = `${this.step} of ${this.steps}`;
    this.input.setAttribute("aria-valuetext", `step ${this.step} of ${this.steps}`);
    if (this.group) for (const end of ["x1", "x2"]) this.line.setAttribute(end, this.X(this.step));
    const kept = this.own?.steps ?? [];
    const near = kept.reduce((a, b) => (!a || Math.abs(b[0] - this.step) < Math.abs(a[0] - this.step) ? b : a), null);
    const [step, pull, soFar] = near ?? [0, -1, -1];
    const final = this.explorer.cell < 0 ? -1 : this.explorer.data.cells.sample[this.explorer.cell];
    pictures.show(this.picture, soFar >= 0 ? soFar : final, soFar >= 0 ? `The picture so far, at step ${step} of ${this.steps}` : "The picture at the end");
    pictures.show(this.raw, pull, "");
    this.canvas.hidden = pull < 0;
    this.caption.textContent = near ? `at step ${step}${soFar >= 0 ? ", picture so far" : ", picture at the end"}` : "no maps are here";
    this.caption.title = `Maps are kept of steps ${kept.map(([n]) => n).join(", ") || "none"}; they show the prediction before guidance.`;
    this.paint();
  }

  paint() {
    const { naturalWidth: w, naturalHeight: high } = this.raw;
    if (!this.raw.complete || this.canvas.hidden || !w) return;
    this.canvas.width = w;
    this.canvas.height = high;
    const pen = this.canvas.getContext("2d", { willReadFrequently: true });
    pen.drawImage(this.raw, 0, 0);
    const map = pen.getImageData(0, 0, w, high), what = this.map.value, part = Object.keys(PARTS).indexOf(what);
    for (let i = 0; i < map.data.length; i += 4) {
      const [text, control] = [map.data[i], map.data[i + 1]];
      const share = (what === "ahead" ? Math.abs(text - control) : map.data[i + part]) / 255;
      map.data.set(TINTS[what === "ahead" ? (text > control ? "text" : "control") : what], i);
      map.data[i + 3] = Math.round(225 * Math.sqrt(share));
    }
    pen.putImageData(map, 0, 0);
  }
}

// ---------------------------------------------------------------------------------- the whole

class Explorer {
  constructor(model, el) {
    this.model = model;
    this.stamp = 0;
    this.x = "control";
    this.y = "prompt";
    this.pins = [];
    this.pictures = new Pictures(model);
    this.tabs = h("div", { class: "wbx-tabs", role: "tablist", "aria-label": "Control type" });
    this.selects = {};
    this.picks = h("div", { class: "wbx-picks" });
    this.said = h("p", { class: "wbx-hidden", "aria-live": "polite" });
    this.headline = h("p", { class: "wbx-headline", dir: "auto" });
    this.dialog = h("dialog", { class: "wbx-zoom", onclick: () => this.dialog.close() }, h("img", { alt: "" }), h("p", { dir: "auto" }));
    this.chart = new Chart(this);
    this.sheet = new Sheet(this);
    this.hand = new Hand(this);
    this.driving = new Driving(this);
    this.views = h("div", { class: "wbx-views", role: "group", "aria-label": "What is shown above the pictures" },
      ...[["tradeoff", "Trade-off"], ["driving", "Who is driving?"]].map(([view, name]) => h("button", { type: "button", "data-view": view, onclick: () => this.see(view) }, name)));
    this.root = h("section", { class: "wbx", "aria-label": "Explorer of a run", onkeydown: (e) => this.key(e) },
      h("header", {}, this.tabs, this.picks), this.headline,
      h("div", { class: "wbx-left" }, h("div", { class: "wbx-top" }, this.views, this.chart.el, this.driving.el), this.sheet.el), this.hand.el, this.said, this.dialog);
    el.append(this.root);
    this.see("tradeoff");
    this.load();
    this.hand.grow(model.get("making"));
    model.on?.("change:making", () => this.hand.grow(model.get("making")));
    model.on?.("change:data", () => this.load());
    model.on?.("msg:custom", (message) => {
      if (message?.kind === "grown") this.grow(message.cells);
      if (message?.kind === "come") requestAnimationFrame(() => this.come(message.to));
    });
    model.on?.("change:beside", () => this.compare(model.get("beside")));
    model.on?.("change:picked", () => this.take(model.get("picked")));
  }

  load() {
    const raw = this.model.get("data");
    const before = this.at && this.data?.count ? this.describe() : null;
    const pins = this.data?.count ? this.pins.map((cell) => this.describe(this.data.place(cell))) : [];
    if (!raw.catalogue || raw.catalogue !== this.data?.catalogue) this.pictures.forget();
    this.data = new Data(raw);
    this.pins = pins.map((pin) => this.placed(pin)).filter((at) => at).map((at) => this.data.find(at)).filter((cell) => cell >= 0);
    this.stamp += 1;
    this.views.hidden = !this.data.driving;
    if (!this.data.driving) this.see("tradeoff");
    const vacant = this.data.count === 0;
    this.root.classList.toggle("wbx-vacant", vacant);
    const vacantly = "There is nothing to explore: no picture that one control steers has been measured in this run.";
    this.headline.textContent = this.data.notes.join(" ") || (vacant ? vacantly : "");
    if (vacant) {
      this.at = null; // the place of a run that was here before is none
      return;
    }
    this.at = (before && this.placed(before)) ?? this.start();
    this.fill();
    this.update(!before); // told again, an old place could overtake a new one that the kernel sets
  }

  grow(cells) {
    if (!this.data?.count) return;
    this.data.grow(cells);
    this.stamp += 1;
    this.update(false);
  }

  // Into sight; so that what is told or made is not below the window.
  come(to) {
    const calm = window.matchMedia("(prefers-reduced-motion: reduce)").matches;
    const part = to ? this.root.closest(".wb-app")?.querySelector(to) : this.root;
    part?.scrollIntoView({ block: "nearest", behavior: calm ? "auto" : "smooth" });
  }

  // Where people see most: the full prompt, steered neither not at all nor fully.
  start() {
    const { data } = this, control = 0;
    const first = [...Array(data.count).keys()].find((i) => data.cells.control[i] === control) ?? 0;
    const at = data.place(first), scales = data.values("scale", at.control), prompts = data.values("prompt", at.control).filter((p) => data.prompts[p].curve);
    const wanted = { ...at, scale: scales[Math.floor(scales.length / 2)], prompt: prompts[prompts.length - 1] ?? at.prompt };
    return data.find(wanted) >= 0 ? wanted : at;
  }

  // A place by names, which outlive the numbers of one set of data.
  describe(at = this.at) {
    const { data } = this;
    return { control: data.controls[at.control].label, source: data.sources[at.source].name, seed: data.seeds[at.seed], prompt: data.prompts[at.prompt].label, scale: data.scales[at.scale] };
  }

  placed(named) {
    const { data } = this;
    const at = {
      control: data.controls.findIndex((c) => c.label === named.control), source: data.sources.findIndex((x) => x.name === named.source),
      seed: data.seeds.indexOf(named.seed), prompt: data.prompts.findIndex((p) => p.label === named.prompt), scale: data.scales.indexOf(named.scale),
    };
    return Object.values(at).every((i) => i >= 0) ? at : null;
  }

  fill() {
    const { data } = this;
    const names = distinct(data.controls.map((c) => c.name));
    this.tabs.replaceChildren(...names.map((name) => h("button", { type: "button", role: "tab", onclick: () => this.choose("name", name) }, name)));
    const choice = (key, label, values) => {
      const select = h("select", { "aria-label": label, onchange: (e) => this.choose(key, values[e.target.selectedIndex][0]) }, ...values.map(([, text]) => h("option", {}, text)));
      this.selects[key] = { select, values: values.map(([v]) => v) };
      return h("label", { class: values.length < 2 ? "wbx-single" : "" }, `${label} `, select);
    };
    this.picks.replaceChildren(
      choice("base", "Base model", distinct(data.controls.map((c) => c.base)).map((b) => [b, b])),
      choice("source", "Source", data.sources.map((x, i) => [i, x.label])),
      choice("seed", "Seed", data.seeds.map((v, i) => [i, String(v)])));
  }

  // The trade-off, or who is driving.
  see(view) {
    for (const button of this.views.children) button.setAttribute("aria-pressed", button.dataset.view === view);
    this.chart.el.hidden = view !== "tradeoff";
    this.driving.el.hidden = view !== "driving";
    this.driving.update();
  }

  choose(key, value) {
    if (key === "source" || key === "seed") return this.go({ [key]: value });
    const now = this.data.controls[this.at.control];
    const name = key === "name" ? value : now.name, base = key === "base" ? value : now.base;
    let control = this.data.controls.findIndex((c) => c.name === name && c.base === base);
    if (control < 0) control = this.data.controls.findIndex((c) => c[key] === value);
    return this.go({ control });
  }

  axis(which, name) {
    this[which] = name;
    this.chart.update();
  }

  // Move, staying inside of what the control type in hand has.
  go(change) {
    const at = { ...this.at, ...change }, { data } = this;
    for (const place of ["prompt", "scale", "source", "seed"]) {
      const there = data.values(place, at.control);
      if (!there.includes(at[place])) at[place] = there.reduce((a, b) => (Math.abs(b - at[place]) < Math.abs(a - at[place]) ? b : a));
    }
    const axes = data.axes(at.control);
    if (!axes.includes(this.x)) this.x = "control";
    if (!axes.includes(this.y)) this.y = "prompt";
    if (data.key(at) === data.key(this.at)) return;
    this.at = at;
    this.update();
  }

  look(change) {
    if (this.pins.length < 2) this.go(change);
  }

  pin(change) {
    this.go(change);
    const cell = this.cell;
    if (cell < 0) return;
    if (this.data.cells.sample[cell] < 0) {
      if (this.model.get("makes") && !this.data.cells.failed[cell]) this.model.send?.({ kind: "make", place: this.describe() });
      return;
    }
    if (this.pins.includes(cell)) this.pins = this.pins.filter((c) => c !== cell);
    else this.pins = [...this.pins.slice(0, 1), cell];
    this.update();
    this.sheet.focus();
  }

  get cell() {
    return this.data.find(this.at);
  }

  take(named) {
    const at = named && this.data.count ? this.placed(named) : null;
    if (at && this.data.key(at) !== this.data.key(this.at)) {
      this.at = at;
      this.update(false);
    }
  }

  compare(named) {
    const at = named && this.data.count ? this.placed(named) : null;
    if (!at) return;
    this.pins = [this.data.find(at)];
    this.update(false);
  }

  update(tell = true) {
    const { data, at } = this, control = data.controls[at.control];
    for (const tab of this.tabs.children) {
      const on = tab.textContent === control.name;
      tab.setAttribute("aria-selected", on);
      tab.tabIndex = on ? 0 : -1;
    }
    const chosen = { base: control.base, source: at.source, seed: at.seed };
    for (const [key, { select, values }] of Object.entries(this.selects)) select.selectedIndex = values.indexOf(chosen[key]);
    this.chart.update();
    this.sheet.update();
    this.hand.update();
    this.driving.update();
    const cell = this.cell;
    this.said.textContent = `${control.name}, ${data.prompts[at.prompt].label}, ${data.scaleName(at.scale)}, seed ${data.seeds[at.seed]}: prompt ${figure(cell < 0 ? null : data.reading("prompt", cell))}, control ${figure(cell < 0 ? null : data.reading("control", cell))}`;
    if (tell && this.model.set) {
      this.model.set("picked", this.describe());
      this.model.save_changes?.();
    }
  }

  zoom(img) {
    if (img.classList.contains("wbx-none")) return;
    const shown = this.dialog.querySelector("img");
    shown.src = img.src;
    shown.alt = img.alt;
    this.pictures.large(Number(img.dataset.number), (url) => {
      shown.onload = shown.onerror = () => URL.revokeObjectURL(url);
      if (this.dialog.open) shown.src = url;
    });
    this.dialog.querySelector("p").textContent = img.alt;
    this.dialog.showModal();
  }

  step(place, by) {
    const values = this.data.values(place, this.at.control);
    const next = values[clamp(values.indexOf(this.at[place]) + by, 0, values.length - 1)];
    this.go({ [place]: next });
  }

  key(event) {
    if (!this.data?.count || event.altKey || event.ctrlKey || event.metaKey || this.dialog.open) return;
    const tag = event.target.tagName;
    if (tag === "SELECT" || tag === "INPUT") return;
    const tab = event.target.getAttribute("role") === "tab";
    const act = {
      ArrowRight: () => (tab ? this.tab(1) : this.step("scale", 1)),
      ArrowLeft: () => (tab ? this.tab(-1) : this.step("scale", -1)),
      ArrowDown: () => this.step("prompt", -1),
      ArrowUp: () => this.step("prompt", 1),
      "]": () => this.step("seed", 1),
      "[": () => this.step("seed", -1),
      p: () => this.pin({}),
      Enter: () => (this.sheet.grid.contains(event.target) ? this.zoom(this.hand.tiles.sample.img) : null),
      Escape: () => { this.pins = []; this.update(); },
    }[event.key];
    if (!act || (event.key === "Enter" && !this.sheet.grid.contains(event.target))) return;
    event.preventDefault();
    event.stopPropagation();
    act();
    if (!tab && event.key.startsWith("Arrow")) this.sheet.focus();
  }

  tab(by) {
    const tabs = [...this.tabs.children], now = tabs.findIndex((t) => t.getAttribute("aria-selected") === "true");
    const next = tabs[clamp(now + by, 0, tabs.length - 1)];
    this.choose("name", next.textContent);
    next.focus();
  }

  close() {
    this.chart.observer.disconnect();
    this.sheet.observer.disconnect();
    this.driving.observer.disconnect();
    this.pictures.close();
    this.root.remove();
  }
}

function render({ model, el }) {
  const explorer = new Explorer(model, el);
  return () => explorer.close();
}

export default { render };
