// A person gives a control by hand. Everything is drawn here, at the map's own pixels and without
// anti-aliasing; Python gets the whole of it once after each stroke, never while it is drawn.

const MOST_UNDO = 60;
const MANY = 24;
const SVG = "http://www.w3.org/2000/svg";
const WAYS = { ArrowLeft: [-1, 0], ArrowRight: [1, 0], ArrowUp: [0, -1], ArrowDown: [0, 1] };

function make(tag, props = {}, ...children) {
  const node = document.createElement(tag);
  for (const [key, value] of Object.entries(props)) {
    if (key in node && key !== "list") node[key] = value;
    else node.setAttribute(key, value);
  }
  node.append(...children);
  return node;
}

function button(text, title, action, keys = "") {
  const props = { type: "button", textContent: text, title, onclick: action };
  if (keys) props["aria-keyshortcuts"] = keys;
  return make("button", props);
}

function bytes(buffer) {
  return new Uint8Array(buffer.buffer ?? buffer, buffer.byteOffset ?? 0, buffer.byteLength);
}

function url(buffer) {
  return URL.createObjectURL(new Blob([bytes(buffer)], { type: "image/png" }));
}

// What all modes share: a history of values, and telling Python of each one.
class Easel {
  constructor(model, scene) {
    this.model = model;
    this.scene = scene;
    this.past = [];
    this.future = [];
    this.undoer = button("Undo", "Ctrl+Z", () => this.undo(), "Control+Z");
    this.redoer = button("Redo", "Ctrl+Shift+Z", () => this.redo(), "Control+Shift+Z");
    this.bar = make("div", { className: "wb-canvas-bar", role: "toolbar", ariaLabel: "Tools" });
    this.said = make("p", { className: "wb-canvas-said", role: "status" });
    this.body = make("div", { className: "wb-canvas-body" });
    this.entry = null; // where the keyboard begins
  }

  get steps() {
    this.undoer.disabled = !this.past.length;
    this.redoer.disabled = !this.future.length;
    return [this.undoer, this.redoer];
  }

  // The value was changed by a person; `before` is what it was.
  changed(before) {
    this.past.push(before);
    if (this.past.length > MOST_UNDO) this.past.shift();
    this.future = [];
    this.tell();
  }

  undo() { this.step(this.past, this.future); }

  redo() { this.step(this.future, this.past); }

  step(from, to) {
    if (!from.length) return;
    to.push(this.value);
    this.value = from.pop();
    this.show();
    this.tell();
  }

  tell() {
    void this.steps;
    this.send();
  }

  key(event) {
    const command = event.ctrlKey || event.metaKey;
    const key = event.key.toLowerCase();
    if (command && key === "z") {
      if (event.shiftKey) this.redo();
      else this.undo();
      return true;
    }
    if (command && key === "y") {
      this.redo();
      return true;
    }
    return false;
  }

  close() {}
}

// Lines and classes: marks are one byte for each pixel, the number of a colour of the palette.
class Marks extends Easel {
  constructor(model, scene, buffers) {
    super(model, scene);
    const [source, marks, found, palette] = buffers;
    this.value = bytes(marks).slice();
    this.first = this.value;
    this.found = found.byteLength ? bytes(found).slice() : null;
    this.palette = bytes(palette);
    this.side = scene.side;
    this.lines = scene.mode === "draw";
    this.tool = "brush";
    this.mark = scene.mark;
    this.width = scene.width;
    this.pen = null; // the last point of the stroke under way
    this.spot = [this.side >> 1, this.side >> 1];
    this.url = source.byteLength ? url(source) : "";
    this.build();
    this.show();
  }

  build() {
    const tools = [
      ["brush", "Brush", "Draws (B)"],
      ["eraser", "Eraser", this.lines ? "Rubs out (E)" : "Brings back what the map began with (E)"],
    ];
    if (!this.lines) tools.push(["fill", "Fill", "Fills what hangs together (F)"]);
    this.tools = Object.fromEntries(tools.map(([name, text, title]) =>
      [name, button(text, title, () => this.take(name))]));
    this.size = make("input", { type: "range", min: 1, max: Math.round(this.side / 4), step: 1, value: this.width });
    this.sized = make("output", {});
    this.size.oninput = () => this.widen(Number(this.size.value));
    const blank = button(this.lines ? "Clear" : "Fill all", this.lines ? "Nothing is drawn" : "All of it takes the chosen class",
      () => this.replace(new Uint8Array(this.value.length).fill(this.lines ? 0 : this.mark)));
    const found = button("From the map", "Goes on from the map of the source", () => this.replace(this.found.slice()));
    found.hidden = !this.found;
    this.behind = make("input", { type: "checkbox", checked: true });
    this.behind.onchange = () => this.show();
    const behind = make("label", { hidden: !this.url }, this.behind, "Source behind");
    this.bar.append(...Object.values(this.tools), make("label", {}, "Width", this.size, this.sized),
      ...this.steps, blank, found, behind);

    this.board = make("canvas", { width: this.side, height: this.side, tabIndex: 0, role: "application", ariaLabel: this.scene.label });
    this.board.setAttribute("aria-describedby", this.scene.id);
    this.entry = this.board;
    this.ink = this.board.getContext("2d");
    this.ring = make("div", { className: "wb-canvas-ring", ariaHidden: "true" });
    this.under = make("img", { alt: "", hidden: !this.url, draggable: false });
    if (this.url) this.under.src = this.url;
    this.stage = make("div", { className: "wb-canvas-stage" }, this.under, this.board, this.ring);
    this.stage.classList.toggle("wb-canvas-lines", this.lines);
    this.listen();
    this.body.append(this.stage);
    if (!this.lines) this.body.append(this.classes());
    this.take("brush");
    this.widen(this.width);
  }

  // The classes to paint with: one is chosen by a click, the arrow keys, or its name.
  classes() {
    const list = make("div", { className: "wb-canvas-classes" });
    const rows = this.scene.names.map((name, mark) => {
      const [red, green, blue] = this.palette.subarray(3 * mark, 3 * mark + 3);
      const input = make("input", { type: "radio", name: `classes-${this.scene.number}`, checked: mark === this.mark });
      input.onchange = () => { this.mark = mark; };
      const swatch = make("span", { className: "wb-canvas-swatch", ariaHidden: "true" });
      swatch.style.background = `rgb(${red} ${green} ${blue})`;
      return make("label", {}, input, swatch, name);
    });
    list.append(...rows);
    const box = make("fieldset", {}, make("legend", { textContent: "Class" }));
    if (rows.length > MANY) {
      const find = make("input", { type: "search", placeholder: "Find a class", ariaLabel: "Find a class" });
      find.oninput = () => rows.forEach((row) => { row.hidden = !row.textContent.includes(find.value.toLowerCase()); });
      box.append(find);
    }
    box.append(list);
    return box;
  }

  listen() {
    const board = this.board;
    board.onpointerdown = (event) => {
      if (!event.isPrimary || this.pen || (event.pointerType === "mouse" && event.button)) return;
      event.preventDefault();
      board.focus({ preventScroll: true });
      board.setPointerCapture(event.pointerId);
      const rubber = (event.buttons & 32) !== 0; // the other end of a pen
      this.down(this.place(event), rubber ? "eraser" : this.tool);
    };
    board.onpointermove = (event) => {
      this.circle(this.place(event));
      if (!this.pen || !event.isPrimary) return;
      const all = event.getCoalescedEvents?.() ?? [];
      for (const one of all.length ? all : [event]) this.move(this.place(one));
    };
    board.onpointerup = board.onpointercancel = (event) => event.isPrimary && this.up();
    board.onpointerleave = () => { if (!this.pen && board !== document.activeElement) this.ring.hidden = true; };
    board.onfocus = () => this.circle(this.spot);
    board.onblur = () => { this.up(); this.ring.hidden = true; };
    this.ring.hidden = true;
  }

  // A pointer's place in pixels of the map; the middle of the first pixel is 0.5.
  place(event) {
    const box = this.board.getBoundingClientRect();
    return [((event.clientX - box.left) / box.width) * this.side, ((event.clientY - box.top) / box.height) * this.side];
  }

  take(tool) {
    this.tool = tool;
    for (const [name, one] of Object.entries(this.tools)) one.setAttribute("aria-pressed", String(name === tool));
  }

  widen(width) {
    this.width = Math.min(Math.max(width, 1), Number(this.size.max));
    this.size.value = this.width;
    this.sized.textContent = `${this.width} px`;
    this.circle(this.spot);
  }

  circle(spot) {
    this.spot = spot;
    const share = 100 / this.side;
    const wide = Math.max(this.width, 1);
    Object.assign(this.ring.style, {
      left: `${(spot[0] - wide / 2) * share}%`, top: `${(spot[1] - wide / 2) * share}%`,
      width: `${wide * share}%`, height: `${wide * share}%`,
    });
    this.ring.hidden = false;
  }

  down(spot, tool) {
    this.before = this.value;
    this.value = this.value.slice();
    this.using = tool;
    this.pen = spot;
    if (tool === "fill") {
      this.flood(spot);
      this.up();
    } else this.segment(spot, spot);
  }

  move(spot) {
    if (!this.pen) return;
    this.segment(this.pen, spot);
    this.pen = spot;
  }

  up() {
    if (!this.pen) return;
    this.pen = null;
    if (this.value.some((mark, i) => mark !== this.before[i])) this.changed(this.before);
    else this.value = this.before;
  }

  // Every pixel whose middle is within half the width of the way from a to b.
  segment(a, b) {
    const { side, value } = this;
    const reach = Math.max(this.width, 1) / 2;
    const ends = (axis, most) => [
      Math.max(Math.floor(Math.min(a[axis], b[axis]) - reach), 0),
      Math.min(Math.ceil(Math.max(a[axis], b[axis]) + reach), most),
    ];
    const [left, right] = ends(0, side);
    const [top, bottom] = ends(1, side);
    const [dx, dy] = [b[0] - a[0], b[1] - a[1]];
    const length = dx * dx + dy * dy;
    for (let y = top; y < bottom; y += 1) {
      for (let x = left; x < right; x += 1) {
        const [px, py] = [x + 0.5 - a[0], y + 0.5 - a[1]];
        const along = length ? Math.min(Math.max((px * dx + py * dy) / length, 0), 1) : 0;
        const far = (px - along * dx) ** 2 + (py - along * dy) ** 2;
        if (far <= reach * reach) value[y * side + x] = this.ground(y * side + x);
      }
    }
    this.paint(left, top, right, bottom);
  }

  ground(i) {
    if (this.using !== "eraser") return this.mark;
    return this.lines ? 0 : this.first[i];
  }

  flood(spot) {
    const { side, value } = this;
    const [x, y] = spot.map((at) => Math.min(Math.max(Math.floor(at), 0), side - 1));
    const old = value[y * side + x];
    if (old === this.mark) return;
    const todo = [y * side + x];
    value[todo[0]] = this.mark;
    while (todo.length) {
      const i = todo.pop();
      const column = i % side;
      for (const next of [column > 0 ? i - 1 : -1, column < side - 1 ? i + 1 : -1, i - side, i + side]) {
        if (value[next] !== old) continue; // undefined outside
        value[next] = this.mark;
        todo.push(next);
      }
    }
    this.paint(0, 0, side, side);
  }

  replace(value) {
    this.up();
    const before = this.value;
    this.value = value;
    this.show();
    this.changed(before);
  }

  show() {
    const behind = Boolean(this.url) && this.behind.checked;
    this.stage.classList.toggle("wb-canvas-behind", behind);
    this.paint(0, 0, this.side, this.side);
  }

  paint(left, top, right, bottom) {
    const [wide, tall] = [right - left, bottom - top];
    if (wide <= 0 || tall <= 0) return;
    const image = this.ink.createImageData(wide, tall);
    const clear = this.lines && this.url && this.behind.checked;
    for (let y = 0, to = 0; y < tall; y += 1) {
      for (let x = 0; x < wide; x += 1, to += 4) {
        const mark = this.value[(top + y) * this.side + left + x];
        for (let c = 0; c < 3; c += 1) image.data[to + c] = clear ? 255 : this.palette[3 * mark + c];
        image.data[to + 3] = clear ? mark : 255;
      }
    }
    this.ink.putImageData(image, left, top);
  }

  send() {
    this.model.send({ do: "marks", of: this.scene.number }, undefined, [new DataView(this.value.slice().buffer)]);
  }

  key(event) {
    if (super.key(event)) return true;
    if (event.ctrlKey || event.metaKey || event.altKey) return false;
    const tool = { b: "brush", e: "eraser", f: "fill" }[event.key.toLowerCase()];
    if (tool && this.tools[tool]) {
      this.take(tool);
      return true;
    }
    if (event.key === "[" || event.key === "]") {
      this.widen(this.width + (event.key === "]" ? 1 : -1));
      return true;
    }
    if (event.target !== this.board) return false;
    const way = WAYS[event.key];
    if (way) {
      const step = event.shiftKey ? 8 : 1;
      const spot = this.spot.map((at, axis) => Math.min(Math.max(Math.floor(at) + 0.5 + step * way[axis], 0.5), this.side - 0.5));
      this.circle(spot);
      this.move(spot);
      return true;
    }
    if (event.key === " " || event.key === "Enter") {
      if (this.pen) this.up();
      else this.down(this.spot.map((at) => Math.floor(at) + 0.5), this.tool);
      this.hear(this.pen ? "The pen is down: arrow keys draw, the space bar lifts it." : "The pen is up.");
      return true;
    }
    return false;
  }

  hear(text) { this.said.textContent = text; }

  close() { if (this.url) URL.revokeObjectURL(this.url); }
}

// People of 18 joints, x and y as shares of the picture, 1 or 0 for shown or hidden.
class Joints extends Easel {
  constructor(model, scene, buffers) {
    super(model, scene);
    this.value = scene.people;
    this.url = buffers[0].byteLength ? url(buffers[0]) : "";
    const figure = (text, title, people) => {
      const one = button(text, title, () => this.replace(people));
      one.hidden = !people;
      return one;
    };
    this.behind = make("input", { type: "checkbox", checked: true });
    this.behind.onchange = () => this.show();
    this.bar.append(
      ...this.steps,
      figure("From the picture", "The people found in the source", scene.found),
      figure("Standing figure", "One person who stands", scene.standing),
      make("label", { hidden: !this.url }, this.behind, "Source behind"),
    );
    this.svg = document.createElementNS(SVG, "svg");
    this.svg.setAttribute("viewBox", "0 0 100 100");
    this.svg.setAttribute("role", "group");
    this.svg.setAttribute("aria-label", scene.label);
    this.under = make("img", { alt: "", hidden: !this.url, draggable: false });
    if (this.url) this.under.src = this.url;
    this.stage = make("div", { className: "wb-canvas-stage wb-canvas-lines" }, this.under, this.svg);
    this.body.append(this.stage);
    this.build();
    this.entry = this.spots[0]?.node;
    this.show();
  }

  node(tag, names) {
    const node = document.createElementNS(SVG, tag);
    for (const [name, value] of Object.entries(names)) node.setAttribute(name, value);
    return node;
  }

  build() {
    const { limbs, colours } = this.scene;
    const colour = (number) => `rgb(${colours[number].join(" ")})`;
    this.lines = [];
    this.spots = [];
    this.value.forEach((_, person) => {
      limbs.forEach(([a, b], number) => this.lines.push({ person, a, b, node: this.node("line", { stroke: colour(number) }) }));
    });
    this.value.forEach((joints, person) => joints.forEach((__, joint) => {
      const node = this.node("circle", { r: 1.7, fill: colour(joint), tabindex: 0, role: "button" });
      const spot = { person, joint, node };
      node.addEventListener("pointerdown", (event) => this.grab(event, spot));
      node.addEventListener("contextmenu", (event) => {
        event.preventDefault();
        event.stopPropagation(); // JupyterLab has a menu of its own
        this.toggle(spot);
      });
      this.spots.push(spot);
    }));
    this.svg.replaceChildren(...this.lines.map((one) => one.node), ...this.spots.map((one) => one.node));
  }

  at({ person, joint }) { return this.value[person][joint]; }

  show() {
    if (this.spots.length !== this.value.length * this.scene.names.length) this.build();
    this.stage.classList.toggle("wb-canvas-behind", Boolean(this.url) && this.behind.checked);
    for (const { person, a, b, node } of this.lines) {
      const [from, to] = [this.value[person][a], this.value[person][b]];
      node.setAttribute("visibility", from[2] && to[2] ? "visible" : "hidden");
      [["x1", from[0]], ["y1", from[1]], ["x2", to[0]], ["y2", to[1]]].forEach(([name, at]) => node.setAttribute(name, 100 * at));
    }
    for (const spot of this.spots) {
      const [x, y, shown] = this.at(spot);
      spot.node.setAttribute("cx", 100 * x);
      spot.node.setAttribute("cy", 100 * y);
      spot.node.classList.toggle("wb-canvas-hidden-joint", !shown);
      spot.node.setAttribute("aria-pressed", String(Boolean(shown)));
      const who = this.value.length > 1 ? `person ${spot.person + 1}: ` : "";
      const where = `${Math.round(100 * x)} % across, ${Math.round(100 * y)} % down`;
      spot.node.setAttribute("aria-label", `${who}${this.scene.names[spot.joint]}, ${where}${shown ? "" : ", hidden"}`);
    }
  }

  // A copy in which a joint, or with `all` its whole person, has moved; the picture's edge stops it.
  moved(value, { person, joint }, [dx, dy], all) {
    const inside = (at) => Math.min(Math.max(at, 0), 0.9999);
    return value.map((joints, who) => (who !== person ? joints : joints.map(([x, y, shown], which) => (
      all || which === joint ? [inside(x + dx), inside(y + dy), shown] : [x, y, shown]))));
  }

  grab(event, spot) {
    if (!event.isPrimary || event.button) return;
    event.preventDefault();
    spot.node.focus({ preventScroll: true });
    spot.node.setPointerCapture(event.pointerId);
    const before = this.value;
    const box = this.svg.getBoundingClientRect();
    spot.node.onpointermove = (now) => {
      const way = [(now.clientX - event.clientX) / box.width, (now.clientY - event.clientY) / box.height];
      this.value = this.moved(before, spot, way, event.shiftKey);
      this.show();
    };
    spot.node.onpointerup = spot.node.onpointercancel = () => {
      spot.node.onpointermove = spot.node.onpointerup = spot.node.onpointercancel = null;
      if (this.value !== before) this.changed(before);
    };
  }

  toggle({ person, joint }) {
    const flip = ([x, y, shown]) => [x, y, shown ? 0 : 1];
    this.replace(this.value.map((joints, who) => joints.map((one, which) => (who === person && which === joint ? flip(one) : one))));
  }

  replace(value) {
    const before = this.value;
    this.value = value;
    this.show();
    this.changed(before);
  }

  send() { this.model.send({ do: "joints", of: this.scene.number, people: this.value }); }

  key(event) {
    if (super.key(event)) return true;
    const spot = this.spots.find((one) => one.node === event.target);
    if (!spot || event.ctrlKey || event.metaKey || event.altKey) return false;
    if ([" ", "Enter", "h", "H", "Delete"].includes(event.key)) {
      this.toggle(spot);
      return true;
    }
    const way = WAYS[event.key];
    if (!way) return false;
    const step = 1 / this.scene.side;
    this.replace(this.moved(this.value, spot, way.map((one) => one * step), event.shiftKey));
    return true;
  }

  close() { if (this.url) URL.revokeObjectURL(this.url); }
}

// A square part of a picture: left, top and side in its pixels.
class Crop extends Easel {
  constructor(model, scene, buffers) {
    super(model, scene);
    this.value = scene.box;
    this.url = url(buffers[0]);
    const centre = button("Middle", "The largest square in the middle", () => this.replace(scene.centre));
    this.bar.append(...this.steps, centre);
    const picture = make("img", { alt: scene.alt, src: this.url, draggable: false });
    this.box = make("div", { className: "wb-canvas-crop", tabIndex: 0 });
    this.box.setAttribute("role", "application");
    this.box.setAttribute("aria-describedby", scene.id);
    this.box.onpointerdown = (event) => this.grab(event, [0, 0]);
    for (const corner of [[-1, -1], [1, -1], [-1, 1], [1, 1]]) {
      const handle = make("span", { className: "wb-canvas-handle", ariaHidden: "true" });
      Object.assign(handle.style, { left: corner[0] < 0 ? "0" : "100%", top: corner[1] < 0 ? "0" : "100%" });
      handle.style.cursor = corner[0] * corner[1] > 0 ? "nwse-resize" : "nesw-resize";
      handle.onpointerdown = (event) => { event.stopPropagation(); this.grab(event, corner); };
      this.box.append(handle);
    }
    this.entry = this.box;
    this.stage = make("div", { className: "wb-canvas-stage wb-canvas-picture" }, picture, this.box);
    this.stage.style.aspectRatio = `${scene.wide} / ${scene.high}`;
    if (scene.wide < scene.high) this.stage.style.width = `min(100%, ${Math.round((400 * scene.wide) / scene.high)}px)`;
    this.body.append(this.stage);
    this.show();
  }

  show() {
    const [left, top, side] = this.value;
    const { wide, high } = this.scene;
    const share = (of, all) => `${(100 * of) / all}%`;
    Object.assign(this.box.style, { left: share(left, wide), top: share(top, high), width: share(side, wide), height: share(side, high) });
    this.box.setAttribute("aria-label", `The part that is kept: ${side} × ${side} pixels, ${left} from the left, ${top} from the top`);
  }

  // The box moved by so many pixels, whole in the picture.
  shifted([left, top, side], [dx, dy]) {
    const inside = (at, most) => Math.min(Math.max(Math.round(at), 0), most - side);
    return [inside(left + dx, this.scene.wide), inside(top + dy, this.scene.high), side];
  }

  // The box grown by so many pixels; the corner opposite to `corner` stays, [0, 0] keeps the middle.
  grown([left, top, side], by, corner) {
    const { wide, high, least } = this.scene;
    const room = (at, way, all) => (way > 0 ? all - at : way < 0 ? at + side : all);
    const most = Math.min(room(left, corner[0], wide), room(top, corner[1], high));
    const now = Math.round(Math.min(Math.max(side + by, least), most));
    const move = (at, way) => at - (way > 0 ? 0 : way < 0 ? now - side : Math.floor((now - side) / 2));
    return this.shifted([move(left, corner[0]), move(top, corner[1]), now], [0, 0]);
  }

  grab(event, corner) {
    if (!event.isPrimary || event.button) return;
    event.preventDefault();
    this.box.focus({ preventScroll: true });
    const target = event.target;
    target.setPointerCapture(event.pointerId);
    const before = this.value;
    const scale = this.scene.wide / this.stage.getBoundingClientRect().width;
    target.onpointermove = (now) => {
      const [dx, dy] = [(now.clientX - event.clientX) * scale, (now.clientY - event.clientY) * scale];
      this.value = corner[0] ? this.grown(before, Math.max(dx * corner[0], dy * corner[1]), corner) : this.shifted(before, [dx, dy]);
      this.show();
    };
    target.onpointerup = target.onpointercancel = () => {
      target.onpointermove = target.onpointerup = target.onpointercancel = null;
      if (!same(this.value, before)) this.changed(before);
    };
  }

  replace(value) {
    if (same(value, this.value)) return;
    const before = this.value;
    this.value = value;
    this.show();
    this.changed(before);
  }

  send() { this.model.send({ do: "crop", of: this.scene.number, box: this.value }); }

  key(event) {
    if (super.key(event)) return true;
    if (event.target !== this.box || event.ctrlKey || event.metaKey || event.altKey) return false;
    const step = Math.max(Math.round(Math.min(this.scene.wide, this.scene.high) / (event.shiftKey ? 10 : 100)), 1);
    const way = WAYS[event.key];
    if (way) this.replace(this.shifted(this.value, way.map((one) => one * step)));
    else if (event.key === "+" || event.key === "=") this.replace(this.grown(this.value, step, [0, 0]));
    else if (event.key === "-" || event.key === "_") this.replace(this.grown(this.value, -step, [0, 0]));
    else return false;
    return true;
  }

  close() { URL.revokeObjectURL(this.url); }
}

const EASELS = { draw: Marks, paint: Marks, joints: Joints, crop: Crop };

function render({ model, el }) {
  let easel = null;
  const begin = (scene, buffers) => {
    const before = easel;
    easel = new EASELS[scene.mode](model, scene, buffers);
    if (before && before.scene.topic === scene.topic && same(before.value, easel.value)) {
      Object.assign(easel, { past: before.past, future: before.future });
      void easel.steps;
    }
    before?.close();
    const help = make("p", { className: "wb-canvas-help", id: scene.id, textContent: scene.help });
    el.replaceChildren(easel.bar, easel.body, easel.said, help);
    if (document.activeElement?.closest(".wb-draw, .wb-own")) easel.entry?.focus();
  };
  const receive = (message, buffers) => {
    if (message.kind === "begin") begin(message, buffers);
    else if (message.kind === "said" && easel) easel.said.textContent = message.text;
  };
  const key = (event) => {
    const typing = event.target.matches("input[type=search]");
    if (!typing && easel?.key(event)) {
      event.preventDefault();
      event.stopPropagation();
    } else if (!event.ctrlKey && !event.metaKey) event.stopPropagation(); // letters are shortcuts of JupyterLab
  };
  el.classList.add("wb-canvas");
  el.setAttribute("data-lm-suppress-shortcuts", "true");
  el.addEventListener("keydown", key);
  model.on("msg:custom", receive);
  model.send({ do: "ready" });
  return () => {
    el.removeEventListener("keydown", key);
    model.off("msg:custom", receive);
    easel?.close();
  };
}

function same(a, b) {
  if (a instanceof Uint8Array) return a.length === b.length && a.every((mark, i) => mark === b[i]);
  return JSON.stringify(a) === JSON.stringify(b);
}

export default { render };
