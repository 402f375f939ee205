// A picture of one's own: chosen, dropped or pasted. It goes to Python in pieces, for a server takes
// no message of more than 10 MB; what is too large is told before it is sent.
const PIECE = 2 ** 20;

function render({ model, el }) {
  const input = document.createElement("input");
  const button = document.createElement("button");
  const said = document.createElement("span");
  Object.assign(input, { type: "file", accept: model.get("accept"), hidden: true });
  Object.assign(button, { type: "button", textContent: "Own picture", title: "Choose a file; or drop it here, or paste it" });
  button.className = "jupyter-button wb-upload";
  said.className = "wb-upload-said";
  said.setAttribute("role", "status");
  el.classList.add("wb-own");
  const show = () => { said.textContent = model.get("said"); };
  const give = async (file) => {
    if (!file) return;
    const most = model.get("limit");
    if (file.size > most) {
      model.send({ do: "refused", name: file.name, size: file.size });
      return;
    }
    const number = Math.random();
    for (let at = 0; at < Math.max(file.size, 1); at += PIECE) {
      const piece = await file.slice(at, at + PIECE).arrayBuffer();
      said.textContent = `${file.name}: ${Math.floor((100 * at) / Math.max(file.size, 1))} %`;
      model.send({ do: "piece", of: number, at, name: file.name, size: file.size }, undefined, [new DataView(piece)]);
    }
    show();
  };
  const drop = (event) => {
    const file = (event.dataTransfer ?? event.clipboardData)?.files?.[0];
    if (!file) return;
    event.preventDefault();
    event.stopPropagation();
    give(file);
  };
  button.onclick = () => input.click();
  input.onchange = () => {
    give(input.files[0]);
    input.value = ""; // the same file can be chosen again
  };
  const over = (event) => event.preventDefault();
  el.addEventListener("dragover", over);
  el.addEventListener("drop", drop);
  el.addEventListener("paste", drop);
  el.append(button, input, said);
  model.on("change:said", show);
  show();
  return () => {
    el.removeEventListener("dragover", over);
    el.removeEventListener("drop", drop);
    el.removeEventListener("paste", drop);
    model.off("change:said", show);
  };
}
export default { render };
