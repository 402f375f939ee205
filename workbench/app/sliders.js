// One labelled slider for each choice, and the picture that belongs to where they stand. Pictures
// that are there already are shown without a kernel.
function render({ model, el }) {
  const label = (text, input) => {
    const row = document.createElement("label");
    const name = document.createElement("span");
    const value = document.createElement("output");
    name.textContent = text;
    row.append(name, input, value);
    return [row, value];
  };
  const rows = model.get("choices").map(([name, values], place) => {
    const input = document.createElement("input");
    Object.assign(input, { type: "range", min: 0, max: values.length - 1, step: 1 });
    const [row, value] = label(name, input);
    input.addEventListener("input", () => {
      const index = [...model.get("index")];
      index[place] = Number(input.value);
      model.set("index", index);
      model.save_changes();
    });
    return { row, input, value, values };
  });
  const image = document.createElement("img");
  const said = document.createElement("p");
  said.setAttribute("role", "status");
  let shown = null;
  const show = () => {
    const index = model.get("index");
    rows.forEach(({ input, value, values }, place) => {
      input.value = index[place];
      value.textContent = values[index[place]];
      input.setAttribute("aria-valuetext", values[index[place]]);
    });
    const frame = model.get("frames")[index.join(",")];
    el.classList.toggle("wb-slider-waits", !frame);
    said.textContent = frame ? frame.error : "is being drawn …";
    if (!frame || frame === shown) return;
    shown = frame;
    image.hidden = !frame.png;
    if (!frame.png) return;
    image.src = `data:image/png;base64,${frame.png}`;
    image.alt = frame.alt;
    image.width = frame.width;
  };
  el.classList.add("wb-slider");
  // JupyterLab would take the arrow keys as shortcuts.
  const keep = (event) => event.key.startsWith("Arrow") && event.stopPropagation();
  el.addEventListener("keydown", keep);
  el.append(...rows.map(({ row }) => row), image, said);
  model.on("change:index", show);
  model.on("change:frames", show);
  show();
  return () => {
    el.removeEventListener("keydown", keep);
    model.off("change:index", show);
    model.off("change:frames", show);
  };
}
export default { render };
