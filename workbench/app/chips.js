// The words of a prompt as chips: switched off and on, brought into order, edited, added, cut.
// Texts are only ever set as text, never as markup. Python is told the whole list, and tells it back.
const HELP = "Click or Space: off and on. Drag, or Alt with the arrow keys: order. Double-click or F2: edit. Delete: remove.";
const FAR = 5; // pixels after which a press is a drag

function h(tag, attributes = {}, ...children) {
  const made = document.createElement(tag);
  for (const [name, value] of Object.entries(attributes)) made.setAttribute(name, value);
  made.append(...children);
  return made;
}

function render({ model, el }) {
  const list = h("div", { role: "group", "aria-label": "Words of the prompt", class: "wbc-list" });
  const add = h("select", { "aria-label": "Add a word that the model knows", class: "wbc-add" });
  const range = h("input", { type: "range", min: 0, step: 1 });
  const count = h("output");
  const length = h("label", { class: "wbc-length" }, h("span", {}, "Length"), range, count);
  const buttons = []; // kept, so that nothing is rebuilt under the pointer
  let editing = null, drag = null;

  // What a person did last is shown at once; what Python says before it has heard of that is older.
  let mine = model.get("words"), sent = model.get("heard");
  const words = () => mine;
  const tell = (changed) => {
    mine = changed.map((word) => ({ note: "", read: true, ...word }));
    sent += 1;
    model.send({ kind: "words", stamp: sent, words: changed.map(({ text, on }) => ({ text, on })) });
    show();
  };
  const change = (place, values) => tell(words().map((word, i) => (i === place ? { ...word, ...values } : word)));
  const focus = (place) => buttons[Math.max(0, Math.min(place, words().length - 1))]?.focus();

  const remove = (place) => {
    tell(words().filter((_, i) => i !== place));
    focus(place === words().length - 1 ? place - 1 : place);
  };
  const move = (from, to) => {
    if (to < 0 || to >= words().length || from === to) return;
    const changed = [...words()];
    changed.splice(to, 0, ...changed.splice(from, 1));
    tell(changed);
    focus(to);
  };
  const edit = (place) => {
    const input = h("input", { type: "text", "aria-label": "This word, edited", class: "wbc-edit", dir: "auto" });
    const before = words()[place].text;
    input.value = before;
    const button = buttons[place];
    let over = false;
    const end = (keep) => {
      if (over) return;
      over = true;
      input.remove();
      button.hidden = false;
      editing = null;
      changed();
      const text = input.value.trim();
      if (keep && text !== before) text ? change(place, { text }) : remove(place);
      show();
      button.focus();
    };
    input.addEventListener("keydown", (event) => {
      event.stopPropagation();
      if (event.key !== "Enter" && event.key !== "Escape") return;
      event.preventDefault(); // Enter would press the chip, which is then in focus
      end(event.key === "Enter");
    });
    input.addEventListener("blur", () => end(true));
    editing = input;
    button.hidden = true;
    button.after(input);
    input.focus();
    input.select();
  };

  // The place that a chip dragged to a point would have.
  const placeAt = (x, y) => {
    const over = document.elementFromPoint(x, y)?.closest?.(".wbc-chip");
    return buttons.indexOf(over);
  };
  const chip = (place) => {
    const button = h("button", { type: "button", class: "wbc-chip", dir: "auto" });
    button.addEventListener("click", () => {
      if (!drag?.moved) change(place, { on: !words()[place].on });
      drag = null;
    });
    button.addEventListener("dblclick", () => edit(place));
    button.addEventListener("pointerdown", (event) => {
      if (event.button !== 0) return;
      button.setPointerCapture(event.pointerId); // a quick move begins outside of the chip
      drag = { place, x: event.clientX, y: event.clientY, moved: false };
    });
    button.addEventListener("pointermove", (event) => {
      if (drag?.place !== place || !event.buttons) return;
      if (!drag.moved && Math.hypot(event.clientX - drag.x, event.clientY - drag.y) < FAR) return;
      drag.moved = true;
      const over = placeAt(event.clientX, event.clientY);
      buttons.forEach((other, i) => other.classList.toggle("wbc-over", i === over && i !== place));
      button.classList.add("wbc-drag");
    });
    const drop = (event) => {
      if (!drag?.moved) return;
      buttons.forEach((other) => other.classList.remove("wbc-over", "wbc-drag"));
      const to = event.type === "pointerup" ? placeAt(event.clientX, event.clientY) : -1;
      if (to >= 0) move(place, to);
      setTimeout(() => { drag = null; }); // after the click that follows
    };
    button.addEventListener("pointerup", drop);
    button.addEventListener("pointercancel", drop);
    button.addEventListener("keydown", (event) => {
      const by = { ArrowLeft: -1, ArrowUp: -1, ArrowRight: 1, ArrowDown: 1 }[event.key];
      const act = by
        ? () => (event.altKey ? move(place, place + by) : focus(place + by))
        : { F2: () => edit(place), Delete: () => remove(place) }[event.key];
      if (!act) return;
      event.preventDefault();
      event.stopPropagation();
      act();
    });
    return button;
  };

  add.addEventListener("change", () => {
    const text = add.value;
    add.selectedIndex = 0;
    if (text) tell([...words(), { text, on: true }]);
  });
  range.addEventListener("input", () => tell(words().map((word, i) => ({ ...word, on: i < Number(range.value) }))));

  const show = () => {
    const now = words();
    while (buttons.length > now.length) buttons.pop().remove();
    now.forEach((word, place) => {
      const button = buttons[place] ?? (buttons[place] = list.appendChild(chip(place)));
      button.textContent = word.text;
      button.setAttribute("aria-pressed", word.on);
      button.classList.toggle("wbc-strange", word.note !== "");
      button.classList.toggle("wbc-unread", !word.read);
      const notes = [word.note, word.read ? "" : "the text encoder does not read it"].filter(Boolean).join("; ");
      button.title = notes ? `${notes}. ${HELP}` : HELP;
      button.setAttribute("aria-description", button.title);
    });
    const kept = now.filter((word) => word.on).length;
    range.max = now.length;
    range.value = kept;
    count.textContent = `${kept} of ${now.length}`;
    range.setAttribute("aria-valuetext", `${kept} of ${now.length} words`);
  };
  const offer = () => {
    const groups = Object.entries(model.get("groups"));
    add.hidden = !groups.length;
    add.replaceChildren(h("option", { value: "" }, "Add a word …"), ...groups.map(([label, tags]) => {
      const group = h("optgroup", { label });
      group.append(...tags.map((tag) => h("option", { value: tag }, tag)));
      return group;
    }));
  };
  // JupyterLab would take keys as shortcuts.
  const keep = (event) => event.stopPropagation();
  el.classList.add("wbc");
  el.addEventListener("keydown", keep);
  el.append(list, add, length);
  const changed = () => {
    if (editing || model.get("heard") < sent) return;
    mine = model.get("words");
    sent = model.get("heard");
    show();
  };
  model.on("change:words", changed);
  model.on("change:heard", changed);
  model.on("change:groups", offer);
  show();
  offer();
  return () => {
    el.removeEventListener("keydown", keep);
    model.off("change:words", changed);
    model.off("change:heard", changed);
    model.off("change:groups", offer);
  };
}
export default { render };
